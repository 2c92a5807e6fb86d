# ruff: noqa: N803, N806 - X is scikit-learn's name for it
"""What an objective in Python costs beside the built-in one: ``python -m benchmarks.overhead``.

100,000 rows, 20 features and 5 classes on one thread, our objective and the built-in cross entropy in turns; the
ratio of the processor's time is taken within a turn.
"""

import time

import lightgbm
import numpy as np
import xgboost

from reflosses import BiTempered, CategoricalFocal, CrossEntropy, set_thread_count
from reflosses.objectives import Objective

from .experiments import publish, table

SECONDS = 25  # for a library and a loss
LOSSES = {"cross entropy": CrossEntropy(), "focal": CategoricalFocal(2.0), "bi-tempered": BiTempered(0.8, 1.2)}
ROUNDS = 4  # of boosting, in a turn


def main():
    """Time both libraries, print the table and put it on the page."""
    set_thread_count(1)
    random = np.random.default_rng(0)
    X = random.standard_normal((100_000, 20)).astype(np.float32)
    y = (X[:, :5] + random.standard_normal((100_000, 5))).argmax(axis=1)
    rows = []
    for name, library in (("LightGBM", with_lightgbm), ("XGBoost", with_xgboost)):
        for loss_name, loss in LOSSES.items():
            ratios = measured(library(X, y, Objective(loss)))
            low, middle, high = np.percentile(ratios, (25, 50, 75))
            rows.append([name, loss_name, f"{middle:.2f}", f"{low:.2f} to {high:.2f}", len(ratios)])
    text = table(["library", "loss", "ours / built-in cross entropy", "quartiles", "turns"], rows)
    print(text)
    publish("overhead", text)


def with_lightgbm(X, y, objective):
    """Return a function that boosts with our objective or with the built-in one."""
    data = lightgbm.Dataset(X, y, params={"verbose": -1}).construct()
    params = {"num_class": 5, "verbose": -1, "num_threads": 1, "boost_from_average": False}
    objectives = {True: objective.lightgbm(), False: "multiclass"}
    return lambda ours: lightgbm.train({**params, "objective": objectives[ours]}, data, ROUNDS)


def with_xgboost(X, y, objective):
    """Return a function that boosts with our objective or with the built-in one."""
    data = xgboost.QuantileDMatrix(X, y, nthread=1)
    params = {"num_class": 5, "nthread": 1, "tree_method": "hist"}
    options = {
        True: ({"disable_default_eval_metric": 1}, {"obj": objective.xgboost()}),
        False: ({"objective": "multi:softprob"}, {}),
    }
    return lambda ours: xgboost.train(params | options[ours][0], data, ROUNDS, **options[ours][1])


def measured(boost):
    """Return the ratios of the times, one for each turn."""
    boost(True)
    ratios: list = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(ratios) < 3:
        times = []
        for ours in True, False:
            start = time.process_time()
            boost(ours)
            times.append(time.process_time() - start)
        ratios.append(times[0] / times[1])
    return ratios


if __name__ == "__main__":
    main()
