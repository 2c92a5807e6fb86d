"""What an objective of ours costs beside a booster's own: ``python -m benchmarks.objectives``.

Both train the same trees on 100,000 rows of 5 classes, one thread each, taking turns; the ratio is taken
within a round, and its median and quartiles are printed and written to objectives.csv.
"""

import argparse
import csv
import time

import lightgbm
import numpy as np
import xgboost

from reflosses import BiTempered, CategoricalFocal, CrossEntropy, set_thread_count
from reflosses.objectives import Objective

from . import RESULTS

ROWS, CLASSES, FEATURES = 100_000, 5, 10
COLUMNS = "library", "loss", "seconds of its own", "seconds", "ratio", "ratio_q1", "ratio_q3", "rounds"
LOSSES = CrossEntropy(), CategoricalFocal(), BiTempered()


def table():
    """Return features and classes that depend on them."""
    random = np.random.default_rng(0)
    x = random.standard_normal((ROWS, FEATURES)).astype(np.float32)
    return x, np.argmax(x[:, :CLASSES] + random.standard_normal((ROWS, CLASSES)), axis=1)


def trainers(trees, threads):
    """Return {library: a function that trains with an objective, or its own for None}."""
    x, y = table()
    dataset, matrix = lightgbm.Dataset(x, y, free_raw_data=False).construct(), xgboost.DMatrix(x, y)
    params = {"num_class": CLASSES, "num_threads": threads, "verbose": -1, "boost_from_average": False}

    def train_lightgbm(objective):
        own = "multiclass" if objective is None else objective.lightgbm()
        lightgbm.train(params | {"objective": own}, dataset, trees)

    def train_xgboost(objective):
        own = {"objective": "multi:softprob"} if objective is None else {}
        call = None if objective is None else objective.xgboost()
        xgboost.train({"num_class": CLASSES, "nthread": threads} | own, matrix, trees, obj=call)

    return {"lightgbm": train_lightgbm, "xgboost": train_xgboost}


def seconds(call, *arguments):
    """Return how long a call takes."""
    start = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - start


def main():
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trees", type=int, default=10, help="rounds of boosting in a training")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    set_thread_count(options.threads)
    with (RESULTS / "objectives.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for library, train in trainers(options.trees, options.threads).items():
            for loss in LOSSES:
                objective = Objective(loss)
                train(objective)  # compiles
                pairs = [(seconds(train, None), seconds(train, objective)) for _ in range(options.rounds)]
                own, ours = np.array(pairs).T
                low, middle, high = np.percentile(ours / own, (25, 50, 75))
                row = library, repr(loss), *(f"{x:.3g}" for x in (np.median(own), np.median(ours), middle, low, high))
                writer.writerow([*row, options.rounds])
                print(*row, flush=True)


if __name__ == "__main__":
    main()
