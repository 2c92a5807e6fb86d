"""Objectives against the libraries' own, formulas written out again, and minima found by brute force."""

import copy
import pickle
import warnings

import catboost
import lightgbm
import numpy as np
import pytest
import xgboost
from scipy.optimize import minimize, root

from reflosses import (
    BinaryCrossEntropy,
    BinaryFocal,
    BinaryLabelSmoothing,
    BinaryProbabilityCrossEntropy,
    BiTempered,
    CategoricalFocal,
    ClassificationMAE,
    CrossEntropy,
    LabelSmoothing,
    OtherClassesSmoothing,
    SigmoidFocal,
    SoftLabelSmoothing,
    SparseLSR,
    gradient,
    gradient_and_hessian_diagonal,
    hessian,
    hessian_diagonal,
    log_t,
    tempered_softmax,
    value,
)
from reflosses.objectives import CURVATURES, Metric, Objective, init_score, predict_proba

QUIET = {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 5, "learning_rate": 0.3}
XGB = {"nthread": 1, "max_depth": 3, "eta": 0.3}


def table(classes, rows=300, seed=0):
    """Return features, classes that depend on them, and weights."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((rows, 5))
    y = np.argmax(x[:, :classes] + 0.5 * random.standard_normal((rows, classes)), axis=1)
    return x, y, random.uniform(0.2, 2.0, rows)


# What the libraries hand over ------------------------------------------------------------------


class Recorder:
    """An objective that notes its arguments."""

    __name__ = "recorder"

    def __init__(self, inner):
        self.inner, self.seen = inner, None

    def __deepcopy__(self, memo):
        return self  # LightGBM copies its parameters

    def __call__(self, y_true, y_pred, sample_weight=None):
        self.seen = (y_true, y_pred, sample_weight)
        return self.inner(y_true, y_pred, sample_weight)


def test_lightgbm_hands_over_what_is_documented():
    x, y, w = table(3)
    recorder = Recorder(Objective(CrossEntropy()))
    lightgbm.LGBMClassifier(n_estimators=1, objective=recorder, n_jobs=1, verbose=-1).fit(x, y, sample_weight=w)
    labels, margins, weights = recorder.seen
    assert margins.shape == (300, 3) and margins.dtype == np.float64 and margins.flags.f_contiguous
    assert labels.dtype == weights.dtype == np.float32


def test_xgboost_hands_over_what_is_documented():
    x, y, w = table(3)
    recorder = Recorder(Objective(CrossEntropy()))
    xgboost.XGBClassifier(n_estimators=1, objective=recorder, n_jobs=1).fit(x, y, sample_weight=w)
    labels, margins, weights = recorder.seen
    assert margins.shape == (300, 3) and margins.dtype == np.float32 and margins.flags.c_contiguous
    assert labels.dtype == weights.dtype == np.float32


def test_layouts_and_dtypes_give_the_same():
    x, y, w = table(3)
    objective, z = Objective(CrossEntropy()), x[:, :3]
    expected = objective(y, z, w)
    for margins in (np.asfortranarray(z), np.repeat(z, 2, axis=0)[::2]):
        for found, wanted in zip(objective(y.astype(np.float32), margins, w), expected):
            np.testing.assert_array_equal(found, wanted)
    for found, wanted in zip(objective(y, z.astype(np.float32), w.astype(np.float32)), expected):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)


# The same trees as the libraries' own ----------------------------------------------------------


def leaves_of_lightgbm(booster):
    """Return split features, thresholds and values of all trees."""
    frame = booster.trees_to_dataframe()
    return frame["split_feature"].fillna("").tolist(), frame["value"].to_numpy()


def leaves_of_xgboost(booster):
    """Return split features and leaf values of all trees."""
    frame = booster.trees_to_dataframe()
    return frame["Feature"].tolist(), frame.loc[frame["Feature"] == "Leaf", "Gain"].to_numpy()


@pytest.mark.parametrize("loss, classes", [(BinaryCrossEntropy(), 2), (CrossEntropy(), 2), (CrossEntropy(), 3)])
def test_cross_entropy_grows_the_trees_of_lightgbm(loss, classes):
    x, y, w = table(classes)
    params = QUIET | ({"num_class": classes} if classes > 2 else {}) | {"boost_from_average": False}
    own = "multiclass" if classes > 2 else "binary"
    ours, theirs = (
        leaves_of_lightgbm(
            lightgbm.train(params | {"objective": objective}, lightgbm.Dataset(x, y, weight=w), num_boost_round=8)
        )
        for objective in (Objective(loss).lightgbm(), own)
    )
    assert ours[0] == theirs[0] and len(ours[1]) > 8 * classes
    np.testing.assert_allclose(ours[1], theirs[1], atol=1e-6)


@pytest.mark.parametrize("loss, classes", [(BinaryCrossEntropy(), 2), (CrossEntropy(), 2), (CrossEntropy(), 3)])
def test_cross_entropy_grows_the_trees_of_xgboost(loss, classes):
    x, y, w = table(classes)
    data = xgboost.DMatrix(x, y, weight=w)
    params = XGB | {"base_score": 0.5} | ({"num_class": classes} if classes > 2 else {})
    own = {"objective": "multi:softprob" if classes > 2 else "binary:logistic"}
    start = {} if classes > 2 else {"base_score": 0.0}  # a margin, where theirs is a probability
    ours = leaves_of_xgboost(xgboost.train(params | start, data, 8, obj=Objective(loss).xgboost()))
    theirs = leaves_of_xgboost(xgboost.train(params | own, data, 8))
    assert ours[0] == theirs[0] and len(ours[1]) > 8 * classes
    np.testing.assert_allclose(ours[1], theirs[1], atol=1e-6)


def test_cross_entropy_in_catboost_is_its_own_logloss():
    x, y, w = table(2)
    options = {
        "iterations": 8,
        "depth": 3,
        "learning_rate": 0.3,
        "leaf_estimation_method": "Newton",
        "leaf_estimation_iterations": 1,
        "boost_from_average": False,
        "thread_count": 1,
        "verbose": False,
        "allow_writing_files": False,
        "random_seed": 0,
        "bootstrap_type": "No",
        "score_function": "L2",
        "boosting_type": "Plain",
    }
    margins = []
    for objective in ("Logloss", Objective(BinaryCrossEntropy()).catboost()):
        metric = "Logloss" if objective == "Logloss" else Objective(BinaryCrossEntropy()).metric("catboost")
        model = catboost.CatBoostClassifier(loss_function=objective, eval_metric=metric, **options)
        model.fit(x, y, sample_weight=w)
        margins.append(model.predict(x, prediction_type="RawFormulaVal"))
    np.testing.assert_allclose(margins[1], margins[0], atol=1e-6)
    assert np.abs(margins[0]).max() > 1


def test_catboost_is_for_two_classes():
    with pytest.raises(ValueError, match="two classes"):
        Objective(CrossEntropy()).catboost().calc_ders_multi([0.0, 0.0, 0.0], 1, 1.0)


# Curvature -------------------------------------------------------------------------------------


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def test_the_menu_against_its_formulas():
    x, y, w = table(3)
    z, loss = 2 * x[:, :3], CategoricalFocal(2.0)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    slope, bend = gradient(loss, z, y), hessian_diagonal(loss, z, y)
    expected = {
        "exact": 3 * bend,
        "absolute": 3 * np.abs(bend),
        "absolute_gradient": 3 * np.abs(slope),
        "cross_entropy": p * (1 - p),
        "constant": np.full_like(z, 0.25),
    }
    assert set(expected) == set(CURVATURES) - {"gauss_newton"}
    for kind, wanted in expected.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            objective = Objective(loss, kind, scale=3.0, floor=0.0)
        found = objective(y, z, w)
        np.testing.assert_allclose(found[0], 3 * w[:, None] * slope, rtol=1e-12)
        np.testing.assert_allclose(found[1], w[:, None] * wanted, rtol=1e-9, atol=1e-15)


def test_gauss_newton_of_bi_tempered_is_its_fisher_form():
    x, y, w = table(3)
    z, t1, t2 = x[:, :3], 0.7, 1.4
    p = tempered_softmax(z, t2)
    escort = p**t2 / (p**t2).sum(axis=1, keepdims=True)
    steps = np.eye(3) - escort[:, None, :]  # row i, column j: δ_ij - π_j
    wanted = np.einsum("ni,nij->nj", p ** (2 * t2 - t1), steps**2)
    found = Objective(BiTempered(t1, t2), scale=2.0, floor=0.0)(y, z, w)[1]
    np.testing.assert_allclose(found, 2 * w[:, None] * wanted, rtol=1e-10)


@pytest.mark.parametrize("loss", [CrossEntropy(), BiTempered(), LabelSmoothing(BiTempered(), 0.1)], ids=str)
def test_soft_labels_have_the_gradient_and_hard_ones_are_soft_ones(loss):
    x, y, w = table(3)
    z, rows, objective = x[:, :3], np.eye(3)[y], Objective(loss, "gauss_newton", scale=1.0, floor=0.0)
    soft = 0.7 * rows + 0.1
    slope, bend = objective(soft, z, w)
    np.testing.assert_allclose(slope, gradient(loss, z, soft, weight=w), rtol=1e-12, atol=1e-15)
    for hard in y, rows:
        found = objective(hard, z, w)
        np.testing.assert_allclose(found[0], gradient(loss, z, y, weight=w), rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(found[1], bend, rtol=1e-12)  # it does not ask for labels


@pytest.mark.parametrize("loss", [SigmoidFocal(2.0, 0.25), CategoricalFocal(1.7), SparseLSR(0.25)], ids=str)
def test_gauss_newton_is_the_hessian_of_the_expected_loss_at_its_minimum(loss):
    random = np.random.default_rng(1)
    z = random.standard_normal((20, 3) if loss.targets.rows else 20) * 0.5
    eta, n = predict_proba(loss, z), len(z)
    wanted = sum(eta[:, [k]] * hessian_diagonal(loss, z, np.full(n, k)).reshape(n, -1) for k in range(eta.shape[1]))
    found = Objective(loss, "gauss_newton", scale=1.0, floor=0.0)(np.zeros(n, int), z)[1].reshape(n, -1)
    np.testing.assert_allclose(found, wanted, rtol=1e-9)
    assert (found > 0).all()


def test_auto_decides_by_what_a_loss_is():
    kinds = {
        CrossEntropy(): "exact",
        LabelSmoothing(): "exact",
        BinaryCrossEntropy(3.0): "exact",
        BinaryFocal(): "cross_entropy",
        LabelSmoothing(CategoricalFocal(1.5), 0.2): "cross_entropy",
        BiTempered(): "gauss_newton",
        BiTempered(1.0, 1.0): "exact",
    }
    assert {loss: Objective(loss).kind for loss in kinds} == kinds


@pytest.mark.parametrize("t1, t2, classes", [(0.2, 4.0, 10), (0.8, 1.2, 3), (0.5, 0.8, 4), (1.0, 1.0, 5)])
def test_the_scale_of_bi_tempered_is_a_power_of_the_classes(t1, t2, classes):
    objective = Objective(BiTempered(t1, t2), "gauss_newton", floor=0.0)
    assert objective.scale_for(classes) == pytest.approx(classes ** (2 * t2 - t1 - 1), rel=1e-10)
    start = objective([0], np.zeros((1, classes)))[1]
    np.testing.assert_allclose(start, (classes - 1) / classes**2, rtol=1e-10)
    assert Objective(BiTempered(t1, t2), scale=7.0).scale_for(classes) == 7.0


def test_scale_saves_xgboost_from_growing_nothing():
    x, _, _ = table(3)
    y = np.digitize(x[:, 0], np.quantile(x[:, 0], np.arange(0.1, 1, 0.1)))
    data = xgboost.DMatrix(x, y)
    grown = [
        xgboost.train(
            XGB | {"num_class": 10}, data, 1, obj=Objective(BiTempered(0.2, 4.0), scale=scale).xgboost()
        ).trees_to_dataframe()
        for scale in (1.0, "auto")
    ]
    assert (grown[0]["Feature"] == "Leaf").all() and (grown[1]["Feature"] != "Leaf").sum() > 10


@pytest.mark.filterwarnings("ignore:SigmoidFocal is not convex")
def test_floor_and_constant_save_focal_losses_from_growing_nothing():
    """At the logit of a rare class's share the exact second derivatives sum to less than 0."""
    random = np.random.default_rng(0)
    x = random.standard_normal((3000, 5))
    y = (x[:, 0] + 0.5 * random.standard_normal(3000) > 2.1).astype(float)
    loss, prior = SigmoidFocal(), float(np.log(y.mean() / (1 - y.mean())))

    def exact(margins, data):
        return gradient_and_hessian_diagonal(loss, margins, data.get_label())

    def splits(objective, start):
        data = lightgbm.Dataset(x, y, init_score=np.full(len(y), start))
        found = lightgbm.train({"objective": objective, "verbose": -1}, data, 5).dump_model()["tree_info"]
        return sum(tree["num_leaves"] - 1 for tree in found)

    ours = Objective(loss, "exact").lightgbm()
    assert exact(np.full(len(y), prior), lightgbm.Dataset(x, y))[1].sum() < 0
    assert splits(exact, prior) == 0 < splits(ours, prior) < splits(ours, float(init_score(loss, y)))


def test_exact_curvature_of_a_loss_that_is_not_convex_warns():
    with pytest.warns(UserWarning, match="SigmoidFocal is not convex"):
        Objective(SigmoidFocal(), "exact")
    Objective(BinaryCrossEntropy(), "exact")


def test_the_floor_is_that_of_a_row_of_weight_1():
    objective = Objective(BinaryCrossEntropy(), floor=1e-3)
    _, bend = objective([1, 1, 1], [30.0, 0.0, 30.0], [1.0, 1.0, 0.5])
    np.testing.assert_allclose(bend, [1e-3, 0.25, 5e-4])
    assert Objective(BinaryCrossEntropy(), floor=0.0)([1], [30.0])[1] < 1e-12


@pytest.mark.parametrize("factor, times", [("lightgbm", 1.5), ("xgboost", 2.0), (0.7, 0.7)])
def test_the_factor_is_for_rows(factor, times):
    z = table(3)[0][:5, :3]
    plain, more = (Objective(CrossEntropy(), factor=f)(np.arange(5) % 3, z)[1] for f in (None, factor))
    np.testing.assert_allclose(more, times * plain)
    one = Objective(BinaryCrossEntropy(), factor=factor)([1], [0.3])[1]
    np.testing.assert_array_equal(one, Objective(BinaryCrossEntropy())([1], [0.3])[1])


def test_two_classes_with_one_margin_are_the_logits_0_and_z():
    z, y = np.linspace(-4, 4, 9), np.arange(9) % 2
    for ours, binary in ((CrossEntropy(), BinaryCrossEntropy()), (CategoricalFocal(2.0), BinaryFocal(2.0, None))):
        for found, wanted in zip(Objective(ours)(y, z), Objective(binary)(y, z)):
            np.testing.assert_allclose(found, wanted, rtol=1e-12)
    soft = np.linspace(0, 1, 9)
    for found, wanted in zip(Objective(CrossEntropy())(soft, z), Objective(BinaryCrossEntropy())(soft, z)):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-16)


# What is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "y, z, w, message",
    [
        ([0, 1], [[0.0, np.nan], [0.0, 0.0]], None, r"y_pred\[0, 1\] = nan"),
        ([0, 1], [[0.0, 0.0], [np.inf, -np.inf]], None, r"y_pred\[1, 0\] = inf"),
        ([0.0, np.nan], [[0.0, 0.0], [0.0, 0.0]], None, r"y_true\[1\] = nan"),
        ([0, 2], [[0.0, 0.0], [0.0, 0.0]], None, r"labels\[1\] = 2"),
        ([0.0, 0.5], [[0.0, 0.0], [0.0, 0.0]], None, r"labels\[1\] = 0.5"),
        ([0, 1], [[0.0, 0.0], [0.0, 0.0]], [1.0, np.inf], r"sample_weight\[1\] = inf"),
        ([0, 1], [[0.0, 0.0], [0.0, 0.0]], [1.0, -1.0], r"sample_weight\[1\] = -1"),
        ([0, 1], [[0.0, 0.0], [0.0, 0.0]], [1.0], "does not fit 2 rows"),
    ],
)
def test_what_would_spoil_a_model_is_refused_with_its_index(y, z, w, message):
    with pytest.raises(ValueError, match=message):
        Objective(CrossEntropy())(y, np.array(z), w)


def test_derivatives_that_overflow_are_refused():
    with pytest.raises(ValueError, match=r"gradient\[0"):
        Objective(BiTempered(3.0, 1.0), "constant")([0], [[-400.0, 0.0, 0.0]])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"curvature": "newton"}, "curvature must be"),
        ({"scale": 0.0}, "scale must be"),
        ({"floor": -1.0}, "floor must be"),
        ({"factor": "catboost"}, "factor must be"),
        ({"loss": BinaryProbabilityCrossEntropy()}, "takes probabilities"),
    ],
)
def test_parameters_are_checked(change, message):
    with pytest.raises(ValueError, match=message):
        Objective(**({"loss": CrossEntropy()} | change))


def test_gauss_newton_needs_probabilities():
    with pytest.raises(ValueError, match="has no gauss_newton"):
        Objective(ClassificationMAE(), "gauss_newton")([0], [[0.0, 0.0]])


# An object that travels ------------------------------------------------------------------------


def test_objectives_are_values():
    objective = Objective(CrossEntropy(np.array([1.0, 2.0])))
    assert copy.copy(objective) is copy.deepcopy(objective) is objective
    again = pickle.loads(pickle.dumps(objective))
    assert again == objective and hash(again) == hash(objective) and again.kind == "exact"
    assert Objective(SigmoidFocal(2.0, 0.25)) != Objective(BinaryFocal(2.0, 0.25))  # equal as tuples
    assert objective.__name__ == "cross_entropy"
    with pytest.raises(AttributeError):
        objective.floor = 1.0
    native = pickle.loads(pickle.dumps(objective.lightgbm()))
    assert native.objective == Objective(objective.loss, factor="lightgbm")


# Soft labels -----------------------------------------------------------------------------------


def test_soft_labels_are_held_for_lightgbm_and_given_to_xgboost():
    x, y, _ = table(3)
    soft = 0.9 * np.eye(3)[y] + 0.1 / 3
    smooth = LabelSmoothing(CrossEntropy(), 0.1)
    boosters = [
        lightgbm.train(
            QUIET | {"num_class": 3, "objective": objective}, lightgbm.Dataset(x, y), num_boost_round=4
        ).predict(x, raw_score=True)
        for objective in (Objective(CrossEntropy()).lightgbm(targets=soft), Objective(smooth).lightgbm())
    ]
    np.testing.assert_allclose(*boosters, atol=1e-6)
    params = XGB | {"base_score": 0.0}
    margins = [
        xgboost.train(params | more, data, 4, obj=Objective(loss).xgboost()).predict(data, output_margin=True)
        for loss, data, more in (
            (CrossEntropy(), xgboost.DMatrix(x, soft), {}),
            (smooth, xgboost.DMatrix(x, y), {"num_class": 3}),
        )
    ]
    np.testing.assert_allclose(*margins, atol=1e-5)


# Where to start --------------------------------------------------------------------------------


def brute(loss, y, w, n):
    """Return the constant with the least loss, by a minimiser that is given values alone."""

    def mean(theta):
        if not loss.targets.rows:
            return value(loss, np.full(len(y), theta[0]), y, weight=w, reduction="weighted_mean")
        return value(loss, np.tile([*theta, 0.0], (len(y), 1)), y, weight=w, reduction="weighted_mean")

    size = n - 1 if loss.targets.rows else 1
    found = minimize(mean, np.zeros(size), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 0, "maxfev": 4000})
    if not loss.targets.rows:
        return found.x[0]
    z = np.array([*found.x, 0.0])
    return z - z.mean()


@pytest.mark.parametrize(
    "loss",
    [CrossEntropy(), CategoricalFocal(2.0), BiTempered(), LabelSmoothing(), BinaryFocal(2.0, 0.25), SigmoidFocal(5.0)],
    ids=str,
)
def test_the_constant_is_the_best(loss):
    n = 3 if loss.targets.rows else 2
    random = np.random.default_rng(3)
    y, w = random.choice(n, 40, p=(0.7, 0.2, 0.1)[:n] if n == 3 else (0.9, 0.1)), random.uniform(0.1, 2.0, 40)
    y = y if loss.targets.rows else y.astype(float)
    np.testing.assert_allclose(init_score(loss, y, w), brute(loss, y, w, n), atol=2e-6)


def test_constants_in_closed_form():
    y = np.repeat([0, 1, 2], [1, 2, 7])
    shares = np.array([0.1, 0.2, 0.7])
    for loss, z in ((CrossEntropy(), np.log(shares)), (BiTempered(0.2, 4.0), log_t(shares, 4.0))):
        np.testing.assert_allclose(init_score(loss, y), z - z.mean(), rtol=1e-9)
    rare = np.r_[np.zeros(10**6), 1.0]
    assert init_score(BinaryCrossEntropy(), rare) == pytest.approx(-np.log(1e6), rel=1e-9)
    soft = np.array([[0.1, 0.3, 0.6], [0.1, 0.1, 0.8]])
    np.testing.assert_allclose(init_score(CrossEntropy(), soft), np.log(shares) - np.log(shares).mean(), rtol=1e-9)


def test_a_constant_that_does_not_exist_is_refused():
    for loss, y in ((CrossEntropy(), [0, 0]), (ClassificationMAE(), [0, 1, 1]), (BinaryCrossEntropy(), [1.0, 1.0])):
        with pytest.raises(ValueError, match="no optimal constant"):
            init_score(loss, y)
    assert np.isfinite(init_score(LabelSmoothing(), [0, 0])).all()


# What scores mean ------------------------------------------------------------------------------


def least_expected_loss(loss, eta):
    """Return the logits with the least Σ η_k ℓ(z, k), the last of them 0, and where the gradient vanishes."""
    n, labels = len(eta), np.arange(len(eta))

    def at(verb, theta):
        z = np.tile([*theta, 0.0], (n, 1)) if loss.targets.rows else np.full(n, theta[0])
        found = verb(loss, z, labels if loss.targets.rows else labels.astype(float), weight=eta).sum(axis=0)
        rest = slice(-1) if loss.targets.rows else slice(None)
        return np.atleast_1d(found)[(rest,) * max(np.ndim(found), 1)]

    size = n - 1 if loss.targets.rows else 1
    found = minimize(
        lambda theta: at(value, theta).sum() if not loss.targets.rows else _sum(loss, theta, eta),
        np.zeros(size),
        jac=lambda theta: at(gradient, theta),
        method="BFGS",
    )
    bend = (lambda theta: at(hessian, theta)) if loss.targets.rows else None
    theta = root(lambda theta: at(gradient, theta), found.x, jac=bend, tol=1e-15).x
    return np.array([*theta, 0.0])[None] if loss.targets.rows else theta


def _sum(loss, theta, eta):
    z = np.tile([*theta, 0.0], (len(eta), 1))
    return value(loss, z, np.arange(len(eta)), weight=eta).sum()


@pytest.mark.parametrize(
    "loss",
    [
        CrossEntropy((0.5, 2.0, 1.0)),
        CategoricalFocal(2.0),
        CategoricalFocal(0.5, (0.25, 0.25, 0.5)),
        LabelSmoothing(CategoricalFocal(1.5), 0.2),
        OtherClassesSmoothing(CrossEntropy(), 0.1),
        SoftLabelSmoothing(CrossEntropy(), 0.3),
        SparseLSR(0.1),
        BiTempered(0.5, 1.5),
        SigmoidFocal(2.0, 0.25),
        BinaryFocal(5.0, None),
        BinaryLabelSmoothing(BinaryCrossEntropy(), 0.1),
        BinaryCrossEntropy(20.0),
    ],
    ids=str,
)
def test_probabilities_are_those_whose_best_answer_the_scores_are(loss):
    random = np.random.default_rng(5)
    for _ in range(6):
        eta = 0.05 + 0.85 * random.dirichlet(np.ones(3)) if loss.targets.rows else None
        eta = eta / eta.sum() if loss.targets.rows else np.array([1 - (q := random.uniform(0.05, 0.95)), q])
        z = least_expected_loss(loss, eta)
        np.testing.assert_allclose(predict_proba(loss, z)[0], eta, atol=1e-8)


def test_probabilities_far_out():
    for loss in (CategoricalFocal(2.0), CrossEntropy(), SparseLSR(0.1), BiTempered(), LabelSmoothing()):
        found = predict_proba(loss, [[900.0, 0.0, -900.0], [0.0, 0.0, 0.0]])
        np.testing.assert_allclose(found[0], [1, 0, 0], atol=1e-2 if loss == BiTempered() else 1e-12)
        np.testing.assert_allclose(found[1], 1 / 3)
    np.testing.assert_array_equal(predict_proba(SigmoidFocal(5.0), [900.0, -900.0]), [[0, 1], [1, 0]])
    np.testing.assert_allclose(predict_proba(CrossEntropy(), [0.3]), [[1 - sigmoid(0.3), sigmoid(0.3)]])


def test_labels_that_say_nothing_have_no_probabilities():
    with pytest.raises(ValueError, match="same labels"):
        predict_proba(SoftLabelSmoothing(CrossEntropy(), 1.5), [[0.0, 1.0]])
    with pytest.raises(ValueError, match=r"scores\[1\] = nan"):
        predict_proba(SigmoidFocal(), [0.0, np.nan])


# Metrics ---------------------------------------------------------------------------------------


def test_metrics_speak_every_library():
    x, y, w = table(3)
    loss, z = CategoricalFocal(2.0), x[:, :3]
    mean = value(loss, z, y, weight=w, reduction="weighted_mean")
    assert Metric(loss, "lightgbm")(y, z, w) == ("categorical_focal", pytest.approx(mean), False)
    assert Metric(loss)(y, z, w) == pytest.approx(mean)
    data = xgboost.DMatrix(x, y, weight=w)
    assert Metric(loss)(z, data) == ("categorical_focal", pytest.approx(mean, rel=1e-6))
    data = lightgbm.Dataset(x, y, weight=w).construct()
    assert Metric(loss)(z, data) == ("categorical_focal", pytest.approx(mean, rel=1e-6), False)
    for_catboost = Objective(loss).metric("catboost")
    assert for_catboost.get_final_error(*for_catboost.evaluate(list(z.T), y, w)) == pytest.approx(mean)
    assert not for_catboost.is_max_optimal()


def test_metrics_take_the_soft_labels_of_xgboost():
    random = np.random.default_rng(0)
    z, w = random.standard_normal((8, 3)), random.random(8) + 0.5
    y = random.dirichlet(np.ones(3), 8).astype(np.float32)
    mean = value(CrossEntropy(), z, y.astype(np.float64), weight=w, reduction="weighted_mean", normalized=False)
    data = xgboost.DMatrix(random.standard_normal((8, 2)), y, weight=w)
    assert Objective(CrossEntropy()).metric("xgboost")(z, data) == ("cross_entropy", pytest.approx(mean, rel=1e-6))


def test_lightgbm_stops_early_by_soft_labels_that_the_metric_holds():
    x, y, _ = table(3)
    soft = 0.7 * np.eye(3)[y] + 0.1
    train, valid = lightgbm.Dataset(x[::2], y[::2]), lightgbm.Dataset(x[1::2], y[1::2])
    objective = Objective(CrossEntropy())
    params = QUIET | {"num_class": 3, "objective": objective.lightgbm(targets=soft[::2]), "learning_rate": 0.5}
    seen = {}
    booster = lightgbm.train(
        params,
        train,
        300,
        valid_sets=[valid],
        feval=objective.metric("lightgbm", targets=[(valid, soft[1::2])]),
        callbacks=[lightgbm.early_stopping(5, verbose=False), lightgbm.record_evaluation(seen)],
    )
    found = seen["valid_0"]["cross_entropy"]
    assert booster.best_iteration == 1 + int(np.argmin(found)) < 290
    raw = booster.predict(x[1::2], raw_score=True, num_iteration=booster.best_iteration)
    mean = value(CrossEntropy(), raw, soft[1::2], reduction="mean", normalized=False)
    assert min(found) == pytest.approx(mean, rel=1e-6)
    assert mean != pytest.approx(value(CrossEntropy(), raw, y[1::2], reduction="mean"), rel=1e-2)


def test_small_losses_reach_xgboost_with_their_digits():
    x, y, _ = table(2)
    data, loss = xgboost.DMatrix(x, y), SigmoidFocal(8.0)
    seen = {}
    metric = Objective(loss).metric("xgboost")
    xgboost.train(
        XGB | {"base_score": 0.0, "disable_default_eval_metric": 1},
        data,
        1,
        obj=Objective(loss).xgboost(),
        evals=[(data, "train")],
        custom_metric=metric,
        evals_result=seen,
        verbose_eval=False,
    )
    (name, (found,)) = next(iter(seen["train"].items()))
    assert name == metric.__name__ == "sigmoid_focal_times_1e3"
    start = value(loss, np.zeros(len(y)), y.astype(float), reduction="mean")
    assert 0 < found < 1e3 * start < 10
