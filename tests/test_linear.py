"""The linear classifier keeps scikit-learn's conventions, equals its logistic regression, and takes every loss."""

# ruff: noqa: N803, N806 - rows are X to scikit-learn

import pickle
import warnings

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import check_grad, minimize
from scipy.special import expit, log_softmax, softmax
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from strategies import USUAL, each_kind, sample

from reflosses import (
    BinaryCrossEntropy,
    BiTempered,
    BiTemperedBinary,
    ClassificationMAE,
    CrossEntropy,
    ProbabilityCrossEntropy,
    SigmoidFocal,
    api,
    gradient,
    hessian,
    scipy_objective,
    tempered_sigmoid,
    tempered_softmax,
    value,
)
from reflosses.domain import classes_of
from reflosses.linear import LossLinearClassifier
from reflosses.solve import solve, steepness

TIGHT = {"tol": 1e-10}


@parametrize_with_checks(
    [LossLinearClassifier(), LossLinearClassifier(SigmoidFocal()), LossLinearClassifier(solver="lbfgs")]
)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


# The objective ----------------------------------------------------------------------------------


def table(n=60, features=3, classes=3, seed=0):
    """Return rows, classes that hang on them, and weights, some of them 0."""
    random = np.random.default_rng(seed)
    X = random.standard_normal((n, features)) * [1.0, 0.5, 2.0, 1.0][:features] + 0.3
    logits = X @ random.standard_normal((features, classes)) + random.standard_normal(classes)
    y = (logits + 2 * random.gumbel(size=logits.shape)).argmax(axis=1)
    return X, y, random.integers(0, 4, n).astype(float)


def in_numpy(X, y, weight, alpha, intercept, w, classes):
    """Return value, gradient and Hessian of cross entropy's objective: the textbook, dense, with matrices."""
    design = np.column_stack([X, np.ones(len(X))]) if intercept else X
    A = w.reshape(classes, -1)
    p, share = softmax(design @ A.T, axis=1), weight / weight.sum()
    penalised = np.ones_like(A)
    penalised[:, X.shape[1] :] = 0.0
    value = -(share * log_softmax(design @ A.T, axis=1)[np.arange(len(y)), y]).sum()
    value += alpha / 2 * (penalised * A * A).sum()
    slope = (share[:, None] * (p - np.eye(classes)[y])).T @ design + alpha * penalised * A
    bends = share[:, None, None] * (p[:, :, None] * np.eye(classes) - p[:, :, None] * p[:, None, :])
    matrix = np.einsum("iab,ij,ik->ajbk", bends, design, design).reshape(w.size, w.size)
    return value, slope.reshape(-1), matrix + alpha * np.diag(penalised.reshape(-1))


def matrix_of(f, w):
    return np.array([f.hessp(w, e) for e in np.eye(w.size)])


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array, sparse.csc_matrix, sparse.coo_array], ids=str)
@pytest.mark.parametrize("intercept", [False, True])
def test_the_objective_is_the_formula_in_numpy(form, intercept):
    X, y, weight = table(classes=4)
    X[np.abs(X) < 0.3] = 0.0
    f = scipy_objective(CrossEntropy(), form(X), y, 0.1, weight, intercept)
    w = np.random.default_rng(1).standard_normal(f.x0.size)
    expected_value, slope, bend = in_numpy(X, y, weight, 0.1, intercept, w, 4)
    assert f.fun(w) == pytest.approx(expected_value, rel=1e-14)
    assert np.allclose(f.jac(w), slope, rtol=1e-12, atol=1e-15)
    assert np.allclose(matrix_of(f, w), bend, rtol=1e-12, atol=1e-15)


def test_two_classes_share_one_output_whose_logits_are_0_and_it():
    X, y, weight = table(classes=2)
    f, g = (scipy_objective(loss, X, y, 0.1, weight) for loss in (CrossEntropy(), BinaryCrossEntropy()))
    w = np.array([0.5, -1.0, 2.0, 0.3])
    z = X @ w[:3] + w[3]
    expected = (weight * -np.log(expit(np.where(y == 1, z, -z)))).sum() / weight.sum() + 0.05 * (w[:3] ** 2).sum()
    assert f.shape == g.shape == (1, 4)
    assert f.fun(w) == pytest.approx(expected, rel=1e-14) and g.fun(w) == pytest.approx(expected, rel=1e-14)
    assert np.allclose(f.jac(w), g.jac(w), rtol=1e-13) and np.allclose(f.hessp(w, w), g.hessp(w, w), rtol=1e-13)


@pytest.mark.parametrize("loss, kind", each_kind(USUAL), ids=str)
def test_derivatives_of_every_loss_are_slopes(loss, kind):
    _, labels = sample(loss, rows=20, kind=kind)
    X, _, weight = table(20)
    f = scipy_objective(loss, X, labels, 0.1, weight, classes=classes_of(loss, 3))
    random = np.random.default_rng(2)
    w, v = 0.3 * random.standard_normal((2, f.x0.size))
    assert check_grad(f.fun, f.jac, w) < 1e-6
    step = 1e-5
    assert np.allclose(f.hessp(w, v), (f.jac(w + step * v) - f.jac(w - step * v)) / (2 * step), rtol=1e-6, atol=1e-8)


def test_the_product_is_made_of_the_losses_own_hessians():
    X, y, weight = table()
    loss, alpha = BiTempered(0.5, 1.5), 0.3
    f = scipy_objective(loss, X, y, alpha, weight)
    w = np.random.default_rng(3).standard_normal(f.x0.size)
    coef, intercept = f.split(w)
    z, design, share = X @ coef.T + intercept, np.column_stack([X, np.ones(len(X))]), weight / weight.sum()
    assert f.fun(w) == pytest.approx((share * value(loss, z, y)).sum() + alpha / 2 * (coef**2).sum(), rel=1e-13)
    slope = (share[:, None] * gradient(loss, z, y)).T @ design + alpha * np.column_stack([coef, 0 * intercept])
    assert np.allclose(f.jac(w), slope.reshape(-1), rtol=1e-12, atol=1e-15)
    bend = np.einsum("i,iab,ij,ik->ajbk", share, hessian(loss, z, y), design, design).reshape(w.size, w.size)
    penalty = alpha * np.diag(np.tile([1.0, 1.0, 1.0, 0.0], 3))
    assert np.allclose(matrix_of(f, w), bend + penalty, rtol=1e-11, atol=1e-14)


def test_a_point_is_evaluated_once(monkeypatch):
    X, y, _ = table()
    f, calls = scipy_objective(CrossEntropy(), X, y), []
    original = api.value_and_gradient
    monkeypatch.setattr(api, "value_and_gradient", lambda *a, **k: calls.append(1) or original(*a, **k))
    here, there = f.x0, f.x0 + 1.0
    for w in (here, here.copy(), there, here):
        f.fun(w), f.jac(w), f.hessp(w, there)
    assert len(calls) == 2
    f.jac(here)[:] = np.nan
    moving = here.copy()
    f.fun(moving)
    moving[0] += 0.5  # in place, as solvers do
    assert f.fun(moving) != f.fun(here) and np.isfinite(f.jac(here)).all()


def test_scipy_minimises_it_by_any_method():
    X, y, weight = table()
    f = scipy_objective(CrossEntropy(), X, y, 0.1, weight)
    tight = {"trust-ncg": {"gtol": 1e-7}, "L-BFGS-B": {"gtol": 1e-8, "ftol": 0}, "Newton-CG": {"xtol": 1e-10}}
    found = []
    for method, options in tight.items():
        more = {} if method == "L-BFGS-B" else {"hessp": f.hessp}
        found.append(minimize(f.fun, f.x0, jac=f.jac, method=method, options=options, **more).x)
    assert np.ptp(found, axis=0).max() < 1e-5


@pytest.mark.parametrize(
    "change, message",
    [
        ({"y": [0, 1]}, "does not fit y"),
        ({"X": [0.0, 1.0, 2.0]}, "does not fit y"),
        ({"alpha": -1.0}, "alpha must lie"),
        ({"alpha": np.nan}, "alpha must lie"),
        ({"sample_weight": [1.0, 1.0]}, "3 numbers"),
        ({"sample_weight": [1.0, -1.0, 1.0]}, "none below 0"),
        ({"sample_weight": [np.nan, 1.0, 1.0]}, "none below 0"),
        ({"sample_weight": [0.0, 0.0, 0.0]}, "sum to 0"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    given = {"loss": CrossEntropy(), "X": [[0.0], [1.0], [2.0]], "y": [0, 1, 2]} | change
    with pytest.raises(ValueError, match=message):
        scipy_objective(**given)


# Minimising -------------------------------------------------------------------------------------


def test_gradients_judge_the_last_steps():
    X, y = load_iris(return_X_y=True)
    f = scipy_objective(CrossEntropy(), StandardScaler().fit_transform(X), y, 1e-4)
    result = solve(f, f.x0, tol=1e-12)
    assert result.success and np.linalg.norm(f.jac(result.x)) < 1e-12  # values differ by 1e-24 there


def test_a_unit_changes_the_tolerance_and_not_the_minimum():
    X, y, _ = table()
    f = scipy_objective(BiTempered(), X, y, 0.01)
    one, thousandth = (solve(f, f.x0, tol=1e-9, unit=unit) for unit in (1.0, 1e-3))
    assert np.allclose(one.x, thousandth.x, atol=1e-6)
    assert thousandth.nit < 30  # hundreds, with products of the wrong scale
    assert one.fun == pytest.approx(f.fun(one.x)) and thousandth.fun == pytest.approx(1000 * one.fun)


@pytest.mark.parametrize("solver", ["trust-krylov", "lbfgs"])
def test_a_flat_loss_does_not_stop_at_the_start(solver):
    X, y = load_digits(return_X_y=True)
    X, y, loss = X[:300] / 16, y[:300], BiTempered(0.2, 4.0)
    assert np.abs(scipy_objective(loss, X, y).jac(np.zeros(650))).max() < 1e-4
    assert steepness(loss, 10) < 1e-3
    assert LossLinearClassifier(loss, alpha=1e-8, tol=1e-3, solver=solver).fit(X, y).score(X, y) > 0.9


# The classifier ---------------------------------------------------------------------------------


def logistic(weight, alpha, **options):
    """Return scikit-learn's logistic regression of the same penalty."""
    return LogisticRegression(C=1 / (alpha * np.sum(weight)), solver="newton-cholesky", tol=1e-12, **options)


@pytest.mark.parametrize("solver", ["trust-krylov", "lbfgs"])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix], ids=["dense", "sparse"])
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_cross_entropy_is_logistic_regression(classes, intercept, form, solver):
    X, y, weight = table(200, classes=classes)
    X[np.abs(X) < 0.3] = 0.0
    ours = LossLinearClassifier(alpha=0.01, fit_intercept=intercept, solver=solver, **TIGHT)
    ours.fit(form(X), y, weight)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # its line search, at 1e-12
        theirs = logistic(weight, 0.01, fit_intercept=intercept).fit(X, y, weight)
    assert ours.coef_.shape == theirs.coef_.shape and ours.intercept_.shape == theirs.intercept_.shape
    assert np.allclose(ours.coef_, theirs.coef_, rtol=0, atol=1e-6)
    assert np.allclose(ours.intercept_, theirs.intercept_, rtol=0, atol=1e-6)
    assert np.allclose(ours.predict_proba(form(X)), theirs.predict_proba(X), atol=1e-6)
    assert np.allclose(ours.decision_function(X), theirs.decision_function(X), atol=1e-5)


@pytest.mark.parametrize("class_weight", ["balanced", {"a": 3.0, "b": 0.5, "c": 1.0}])
def test_class_weights_are_those_of_logistic_regression(class_weight):
    X, y, weight = table(200)
    names = np.array(["a", "b", "c"])[y]
    ours = LossLinearClassifier(alpha=0.01, class_weight=class_weight, **TIGHT).fit(X, names, weight)
    factors = {"a": 3.0, "b": 0.5, "c": 1.0}
    if class_weight == "balanced":
        factors = {name: weight.sum() / (3 * weight[names == name].sum()) for name in names}
    total = sum(weight * [factors[name] for name in names])
    theirs = logistic(total, 0.01, class_weight=class_weight).fit(X, names, weight)
    assert np.allclose(ours.coef_, theirs.coef_, rtol=0, atol=1e-6)
    assert list(ours.classes_) == ["a", "b", "c"] and (ours.predict(X) == theirs.predict(X)).all()


@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 2.0, 1: 0.5, 2: 1.0}])
def test_a_row_of_probabilities_counts_as_rows_of_its_classes(class_weight):
    X, _, weight = table()
    shares = np.random.default_rng(4).dirichlet(np.ones(3), len(X))
    model = LossLinearClassifier(alpha=0.01, class_weight=class_weight, **TIGHT)
    soft = clone(model).fit(X, shares, weight)
    hard = clone(model).fit(np.repeat(X, 3, axis=0), np.tile([0, 1, 2], len(X)), (weight[:, None] * shares).ravel())
    assert np.allclose(soft.coef_, hard.coef_, atol=1e-8) and np.allclose(soft.intercept_, hard.intercept_, atol=1e-8)
    chosen = shares[np.arange(len(X)), soft.predict(X)]
    assert soft.score(X, shares, weight) == pytest.approx((weight * chosen).sum() / weight.sum())


def test_probabilities_of_two_classes_suit_losses_of_rows_and_of_single_logits():
    X, _, _ = table()
    shares = np.random.default_rng(5).dirichlet(np.ones(2), len(X))
    rows, single = (LossLinearClassifier(loss, **TIGHT).fit(X, shares) for loss in (None, BinaryCrossEntropy()))
    assert np.allclose(rows.coef_, single.coef_, atol=1e-8) and list(single.classes_) == [0, 1]
    with pytest.raises(ValueError, match="must be 0 or 1"):
        LossLinearClassifier(SigmoidFocal()).fit(X, shares)


SMOOTH = [case for case in each_kind(USUAL) if case != (ClassificationMAE(), 1)]


@pytest.mark.parametrize("loss, kind", SMOOTH, ids=str)
def test_every_loss_is_fitted(loss, kind):
    classes = 3 if loss.targets.rows else 2
    X, y, weight = table(classes=classes)
    labels = np.random.default_rng(6).dirichlet(np.ones(classes), len(X)) if kind else np.array(["a", "b", "c"])[y]
    if loss.targets.rows or not kind:
        model = LossLinearClassifier(loss, alpha=0.01).fit(X, labels, weight)
    else:
        model = LossLinearClassifier(loss, alpha=0.01).fit(X, np.column_stack([1 - labels[:, 1], labels[:, 1]]), weight)
    given = labels if kind and loss.targets.rows else labels[:, 1] if kind else y
    f = scipy_objective(loss, X, given, 0.01, weight)
    w = f.join(model.coef_, model.intercept_)
    assert np.linalg.norm(f.jac(w)) <= 1e-6 * steepness(loss, classes) and f.fun(w) < f.fun(f.x0)
    p = model.predict_proba(X)
    assert p.shape == (len(X), classes) and np.allclose(p.sum(axis=1), 1.0)
    assert (model.classes_[p.argmax(axis=1)] == model.predict(X)).all()


def test_absolute_errors_of_probabilities_have_their_minimum_at_a_kink():
    X, _, _ = table()
    labels = np.random.default_rng(6).dirichlet(np.ones(3), len(X))
    with pytest.warns(ConvergenceWarning, match="did not converge in 100 iterations"):
        LossLinearClassifier(ClassificationMAE(), alpha=0.01, max_iter=100).fit(X, labels)


def test_probabilities_are_tempered_where_the_loss_is():
    X, y, _ = table()
    model = LossLinearClassifier(BiTempered(0.5, 2.0), alpha=1e-3).fit(X, y)
    assert np.allclose(model.predict_proba(X), tempered_softmax(model.decision_function(X), 2.0), atol=1e-15)
    model = LossLinearClassifier(BiTemperedBinary(0.5, 2.0), alpha=1e-3).fit(X, y == 1)
    expected = tempered_sigmoid(model.decision_function(X), 2.0)
    assert np.allclose(model.predict_proba(X)[:, 1], expected, atol=1e-15) and set(model.predict(X)) == {False, True}


def test_losses_of_probabilities_find_what_those_of_logits_find():
    X, y, _ = table()
    given, logits = (LossLinearClassifier(loss, **TIGHT).fit(X, y) for loss in (ProbabilityCrossEntropy(), None))
    assert np.allclose(given.coef_, logits.coef_, atol=1e-7)


def test_a_warm_start_goes_on_from_the_last_fit():
    X, y = load_iris(return_X_y=True)
    model = LossLinearClassifier(warm_start=True).fit(X, y)
    first, cold = model.coef_, model.n_iter_[0]
    assert model.fit(X, y).n_iter_[0] <= 1 < cold and np.allclose(model.coef_, first, atol=1e-6)
    model.set_params(loss=BiTempered()).fit(X, y)
    assert model.n_iter_[0] < clone(model).fit(X, y).n_iter_[0]
    with pytest.raises(ValueError, match="warm start"):
        model.fit(X, y + 1)
    with pytest.raises(ValueError, match="warm start"):
        model.fit(X[:, 1:], y)


@pytest.mark.parametrize("solver", ["trust-krylov", "lbfgs"])
def test_a_fit_that_did_not_converge_says_so(solver):
    X, y = load_iris(return_X_y=True)
    with pytest.warns(ConvergenceWarning, match=f"{solver} did not converge in 2 iterations"):
        model = LossLinearClassifier(max_iter=2, solver=solver).fit(X, y)
    assert list(model.n_iter_) == [2]


@pytest.mark.parametrize(
    "options, labels, message",
    [
        ({"solver": "newton"}, None, "solver must be one of trust-krylov, lbfgs"),
        ({"max_iter": 0}, None, "max_iter must be at least 1"),
        ({"tol": 0.0}, None, "tol above 0"),
        ({"alpha": -1.0}, None, "alpha must lie"),
        ({"loss": BinaryCrossEntropy()}, None, "Only binary classification.*multiclass.*BinaryCrossEntropy"),
        ({"loss": BinaryCrossEntropy()}, np.full((60, 3), 1 / 3), "Only binary classification"),
        ({"loss": CrossEntropy((1.0, 2.0))}, None, "class weights of shape"),
        ({}, np.zeros(60), "at least 2 classes"),
        ({}, np.full((60, 3), 0.5), r"y\[0\] = .* must be probabilities that sum to 1"),
        ({}, np.tile([2.0, -1.0], (60, 1)), "must be probabilities"),
    ],
)
def test_fits_that_make_no_sense_are_refused(options, labels, message):
    X, y, _ = table()
    with pytest.raises(ValueError, match=message):
        LossLinearClassifier(**options).fit(X, y if labels is None else labels)


def test_it_works_in_pipelines_and_searches_and_travels():
    X, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), LossLinearClassifier())
    losses = [CrossEntropy(), BiTempered(0.8, 1.2)]
    grid = {"losslinearclassifier__loss": losses, "losslinearclassifier__alpha": [1e-3, 1e-2]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(X, y)
    assert search.best_score_ > 0.95 and len(search.cv_results_["params"]) == 4
    again = pickle.loads(pickle.dumps(search))
    assert (again.predict_proba(X) == search.predict_proba(X)).all()


@pytest.mark.parametrize("solver", ["trust-krylov", "lbfgs"])
def test_sparse_rows_stay_sparse(solver):
    n, features = 200_000, 200_000  # 320 GB, if they were dense
    columns = np.random.default_rng(7).integers(0, features, n)
    X = sparse.csr_array((np.ones(n), columns, np.arange(n + 1)), shape=(n, features))
    y = columns % 2
    model = LossLinearClassifier(alpha=1e-8, solver=solver, tol=1e-4).fit(X, y)
    assert model.coef_.shape == (1, features) and model.score(X, y) == 1.0
