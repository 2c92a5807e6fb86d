# ruff: noqa: N803, N806 - X is scikit-learn's name for it
"""Models fitted to dask arrays on two processes are those of one process."""

import os
import signal

import numpy as np
import pytest
from sklearn.datasets import make_classification

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")

import reflosses.dask  # noqa: E402
from reflosses import BinaryCrossEntropy, BinaryFocal, BiTempered, CrossEntropy  # noqa: E402
from reflosses.linear import LossLinearClassifier  # noqa: E402
from reflosses.objectives import Metric, Objective  # noqa: E402

UNEVEN = (700, 0, 30, 70)
FAR_APART = 760, 40  # rows of the two workers


def table(classes=3):
    """Return features, classes and weights.

    Each feature has five equally frequent values, so that the bins of histograms are the same whoever makes
    them: LightGBM has each worker make some, from the rows that it has.
    """
    X, y = make_classification(800, 6, n_informative=5, n_redundant=0, n_classes=classes, flip_y=0.2, random_state=2)
    weight = np.random.default_rng(3).random(800) + 0.1
    return X.argsort(axis=0).argsort(axis=0) // 160 - 2.0, y, weight


def cut(x, rows):
    return da.from_array(x, chunks=(rows, *[-1] * (np.ndim(x) - 1)))


def placed(client, *arrays, first=FAR_APART[0]):
    """Return dask arrays in two blocks of very different lengths, one on each worker."""
    workers = sorted(client.scheduler_info(n_workers=-1)["workers"])
    found = []
    for x in arrays:
        halves = np.split(x, [first])
        parts = [client.persist(cut(half, len(half)), workers=[at]) for half, at in zip(halves, workers, strict=True)]
        distributed.wait(parts)
        found.append(da.concatenate(parts))
    return found


# The linear classifier ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "options"),
    [
        (CrossEntropy(), {"class_weight": "balanced"}),
        (BiTempered(0.8, 1.2), {"fit_intercept": False}),
        (BinaryCrossEntropy(), {"solver": "lbfgs"}),
    ],
    ids=str,
)
def test_a_linear_classifier_is_that_of_one_process(client, loss, options):
    X, y, weight = table(3 if loss.targets.rows else 2)
    names = np.array(["no", "perhaps", "yes"])[y]
    alone = LossLinearClassifier(loss, alpha=0.1, **options).fit(X, names, weight)
    there = LossLinearClassifier(loss, alpha=0.1, **options)
    # the default scheduler is the client's: it is the last that was made
    assert reflosses.dask.fit(there, cut(X, UNEVEN), cut(names, 300), cut(weight, 500)) is there
    np.testing.assert_allclose(there.coef_, alone.coef_, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(there.intercept_, alone.intercept_, rtol=1e-5, atol=1e-6)
    assert list(there.classes_) == list(alone.classes_) and there.n_features_in_ == 6
    assert (there.predict(X) == alone.predict(X)).all()


def test_a_worker_killed_in_mid_fit_changes_nothing(client, tmp_path):
    X, y, weight = table()

    def fitted(X):
        model = LossLinearClassifier(BiTempered(0.8, 1.2), alpha=0.1)
        return reflosses.dask.fit(model, X, cut(y, UNEVEN), cut(weight, UNEVEN))

    def deadly(x, block_info=None):
        """Kill this process when it comes to the last block for the sixth time."""
        if block_info and block_info[0]["chunk-location"][0] == len(UNEVEN) - 1 and not (tmp_path / "5").exists():
            marker = tmp_path / str(len(os.listdir(tmp_path)))
            marker.write_text(str(os.getpid()))
            if marker.name == "5":
                os.kill(os.getpid(), signal.SIGKILL)
        return x

    undisturbed = fitted(cut(X, UNEVEN))
    pids = set(client.run(os.getpid).values())
    there = fitted(cut(X, UNEVEN).map_blocks(deadly, meta=X[:0]))
    client.wait_for_workers(2)
    assert int((tmp_path / "5").read_text()) in pids - set(client.run(os.getpid).values())
    assert there.n_iter_ == undisturbed.n_iter_
    assert there.coef_.tobytes() == undisturbed.coef_.tobytes()


def test_derivatives_are_those_of_one_process():
    from reflosses.dask.linear import _Objective
    from reflosses.risk import LinearObjective

    X, y, weight = table()
    alone = LinearObjective(BiTempered(0.8, 1.2), X, y, 0.3, weight)
    there = _Objective(
        BiTempered(0.8, 1.2), cut(X, UNEVEN), cut(y, UNEVEN), 0.3, cut(weight, UNEVEN), weight.sum(), True, 3
    )
    w, v = np.random.default_rng(0).standard_normal((2, alone.x0.size))
    with dask.config.set(scheduler="synchronous"):
        assert there.fun(w) == pytest.approx(alone.fun(w), rel=1e-14)
        np.testing.assert_allclose(there.jac(w), alone.jac(w), rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(there.hessp(w, v), alone.hessp(w, v), rtol=1e-11, atol=1e-13)


def test_shares_are_fitted_and_mistakes_refused():
    X, y, weight = table()
    shares = np.eye(3)[y] * 0.7 + 0.1
    with dask.config.set(scheduler="synchronous"):
        there = reflosses.dask.fit(LossLinearClassifier(alpha=0.1), cut(X, UNEVEN), cut(shares, 400))
        np.testing.assert_allclose(
            there.coef_, LossLinearClassifier(alpha=0.1).fit(X, shares).coef_, rtol=1e-5, atol=1e-7
        )
        fit, model = reflosses.dask.fit, LossLinearClassifier()
        with pytest.raises(ValueError, match="does not fit y of shape"):
            fit(model, cut(X, 100), cut(y[:-1], 100))
        with pytest.raises(ValueError, match="no weight below 0"):
            fit(model, cut(X, 100), cut(y, 100), cut(-weight, 100))
        with pytest.raises(ValueError, match="X and sample_weight must be finite"):
            fit(model, cut(np.where(X > 1, np.nan, X), 100), cut(y, 100))
        with pytest.raises(ValueError, match="at least 2 classes, got 1"):
            fit(model, cut(X, 100), cut(0 * y, 100))
        with pytest.raises(ValueError, match="a loss of two classes, the labels have 3"):
            fit(LossLinearClassifier(BinaryCrossEntropy()), cut(X, 100), cut(y, 100))
        with pytest.raises(ValueError, match="sum to 0"):
            fit(model, cut(X, 100), cut(y, 100), cut(0 * weight, 100))
        with pytest.raises(ValueError, match="class_weight needs classes"):
            fit(LossLinearClassifier(class_weight="balanced"), cut(X, 100), cut(shares, 100))


def test_a_classifier_does_not_load_dask_arrays():
    X, y, _ = table()
    with pytest.raises(TypeError, match=r"reflosses\.dask\.fit"):
        LossLinearClassifier().fit(cut(X, UNEVEN), cut(y, UNEVEN))


# XGBoost ---------------------------------------------------------------------------------------------


def boosted(client, loss, data, metric):
    """Return margins and the history of the metric: of a cluster, or without a client of this process."""
    xgboost = pytest.importorskip("xgboost")
    pytest.importorskip("pyarrow", reason="xgboost.dask imports dask.dataframe")
    from xgboost import dask as spread

    X, y, weight = data
    params = {"tree_method": "hist", "max_depth": 3, "eta": 0.5, "nthread": 1, "disable_default_eval_metric": 1}
    params |= {"num_class": 3} if loss.targets.rows and y.max() > 1 else {}
    params |= {"base_score": 0.0}
    options = {"num_boost_round": 6, "obj": Objective(loss).xgboost(), "custom_metric": metric, "verbose_eval": False}
    if client is None:
        matrix, history = xgboost.DMatrix(X, y, weight=weight), {}
        booster = xgboost.train(params, matrix, evals=[(matrix, "train")], evals_result=history, **options)
    else:
        X_, y_, weight_ = placed(client, X, y, weight)
        matrix = spread.DaskDMatrix(client, X_, y_, weight=weight_)
        found = spread.train(client, params, matrix, evals=[(matrix, "train")], **options)
        booster, history = found["booster"], found["history"]
    (watched,) = history["train"].values()
    return booster.predict(xgboost.DMatrix(X), output_margin=True), watched


@pytest.mark.parametrize("loss", [CrossEntropy(), BinaryFocal()], ids=str)
def test_xgboost_on_two_workers_is_that_of_one_process(client, loss):
    data = table(3 if loss == CrossEntropy() else 2)
    classes = int(data[1].max()) + 1
    margins, history = boosted(None, loss, data, Metric(loss, "xgboost", classes))
    there, watched = boosted(client, loss, data, reflosses.dask.Metric(loss, "xgboost", classes))
    np.testing.assert_allclose(there, margins, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(watched, history, rtol=1e-5)
    _, unweighted = boosted(client, loss, data, Metric(loss, "xgboost", classes))
    assert np.abs(np.array(unweighted) / history - 1).max() > 1e-3, "the trap: workers count alike"


def stopped(client, data, metric):
    """Return after how many rounds rows that both workers have, but unevenly, end the boosting."""
    xgboost = pytest.importorskip("xgboost")
    pytest.importorskip("pyarrow", reason="xgboost.dask imports dask.dataframe")
    from xgboost import dask as spread

    X, y, weight = data
    params = {"tree_method": "hist", "max_depth": 6, "eta": 0.5, "nthread": 1, "disable_default_eval_metric": 1}
    params |= {"num_class": 3, "base_score": 0.0}
    options = {"num_boost_round": 60, "obj": Objective(CrossEntropy()).xgboost(), "custom_metric": metric}
    options |= {"early_stopping_rounds": 4, "verbose_eval": False}
    train, held = slice(0, None, 2), slice(1, None, 2)
    if client is None:
        matrices = [xgboost.DMatrix(X[half], y[half], weight=weight[half]) for half in (train, held)]
        booster = xgboost.train(params, matrices[0], evals=[(matrices[1], "held")], **options)
        return booster.best_iteration, booster.best_score
    halves = [placed(client, X[half], y[half], weight[half], first=380) for half in (train, held)]
    matrices = [spread.DaskDMatrix(client, X_, y_, weight=weight_) for X_, y_, weight_ in halves]
    booster = spread.train(client, params, matrices[0], evals=[(matrices[1], "held")], **options)["booster"]
    return booster.best_iteration, booster.best_score


def test_two_workers_stop_early_where_one_process_does(client):
    rounds, score = stopped(None, table(), Metric(CrossEntropy(), "xgboost", 3))
    there, its = stopped(client, table(), reflosses.dask.Metric(CrossEntropy(), "xgboost", 3))
    assert there == rounds < 55 and its == pytest.approx(score, rel=1e-5)


# LightGBM --------------------------------------------------------------------------------------------


def margins_of_lightgbm(client, data, rounds, **options):
    """Return margins: of a cluster, or without a client of this process."""
    lightgbm = pytest.importorskip("lightgbm")
    pytest.importorskip("pyarrow", reason="lightgbm.dask imports dask.dataframe")
    X, y, weight = data
    options |= {"n_estimators": rounds, "num_leaves": 7, "learning_rate": 0.3, "min_child_samples": 5}
    options |= {"verbose": -1, "min_data_in_bin": 1}
    if client is None:
        return lightgbm.LGBMClassifier(n_jobs=1, **options).fit(X, y, sample_weight=weight).predict(X, raw_score=True)
    model = lightgbm.DaskLGBMClassifier(client=client, **options)
    X_, y_, weight_ = placed(client, X, y, weight)
    return model.fit(X_, y_, sample_weight=weight_).to_local().predict(X, raw_score=True)


@pytest.mark.filterwarnings("ignore:Parameter n_jobs will be ignored")  # LightGBM's about its own default
@pytest.mark.parametrize(("loss", "rounds"), [(BinaryFocal(), 6), (CrossEntropy(), 1)], ids=str)
def test_lightgbm_on_two_workers_is_that_of_one_process(client, loss, rounds):
    data = table(2 if rounds > 1 else 3)
    alone, there = (margins_of_lightgbm(at, data, rounds, objective=Objective(loss)) for at in (None, client))
    np.testing.assert_allclose(there, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:Parameter n_jobs will be ignored")  # LightGBM's about its own default
def test_cross_entropy_is_lightgbms_own_objective_on_two_workers(client):
    """With several classes and rounds, LightGBM's own objective grows other trees there than in one process."""
    own = margins_of_lightgbm(client, table(), 6, objective="multiclass", boost_from_average=False)
    ours = margins_of_lightgbm(client, table(), 6, objective=Objective(CrossEntropy(), factor="lightgbm"))
    np.testing.assert_allclose(ours, own, rtol=1e-6, atol=1e-6)
