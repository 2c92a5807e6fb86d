"""A linear classifier with any loss, in scikit-learn's conventions; needs scikit-learn."""

# ruff: noqa: N803, N806 - rows are X to scikit-learn

import warnings
from typing import NamedTuple

import numpy as np

from .dispatch import core
from .losses import CrossEntropy
from .risk import LinearObjective
from .solve import solve, steepness
from .transfer import softmax, tempered_softmax

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.utils.class_weight import compute_class_weight
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import _check_sample_weight, check_is_fitted, column_or_1d, validate_data
except ModuleNotFoundError as error:
    message = f"reflosses.linear needs {error.name}, which is not installed: pip install 'reflosses[gbdt]'"
    raise ModuleNotFoundError(message, name=error.name) from None

ADVICE = "More iterations (max_iter), scaled features or a larger alpha may help."

__all__ = ["LossLinearClassifier", "probabilities"]


class LossLinearClassifier(ClassifierMixin, BaseEstimator):
    """A linear classifier that minimises any loss of this library, or one of your own.

    What is minimised is `scipy_objective`: the mean loss, each row times its weight, and
    alpha/2 times the sum of the squared coefficients; intercepts are free.  With cross entropy it is
    scikit-learn's ``LogisticRegression`` of ``C = 1/(alpha Σ weights)``.

    Parameters
    ----------
    loss : NamedTuple, optional
        A loss of rows, for two classes or more, or one of single logits, for two; by default
        ``CrossEntropy()``.
    alpha : float
        Of the penalty, at least 0.
    fit_intercept : bool
    class_weight : dict or "balanced", optional
        By which weights are multiplied, class by class, as everywhere in scikit-learn.
    warm_start : bool
        Whether ``fit`` begins where the last one ended, if there was one, and not at 0.
    solver : {"trust-krylov", "lbfgs"}
        Of ``scipy.optimize.minimize``: a trust region with the loss's exact Hessian-vector products, which
        leaves saddles behind, or L-BFGS, which needs gradients only.  The first reserves up to 16 GB of
        addresses where there are more than 20 000 coefficients, and uses little of it.
    max_iter : int
        Iterations after which to give up, with a ``ConvergenceWarning``.
    tol : float
        The gradient at which to stop, for a loss as steep as cross entropy; for another one it is as much
        smaller as that one is flatter where all logits are equal.

    Attributes
    ----------
    classes_ : ndarray
        Shape (C,); the numbers of the columns, if it was fitted to probabilities.
    coef_, intercept_ : ndarray
        Shapes (C, F) and (C,); (1, F) and (1,) for two classes, whose logits are 0 and the one output.
    n_iter_ : ndarray
        Shape (1,).
    n_features_in_, feature_names_in_
        As everywhere in scikit-learn.

    Notes
    -----
    Cross entropy, its smoothed forms and the bi-tempered loss with t1 = t2 = 1 are convex, and have one
    minimum where alpha > 0.  The others may have several, and the one found is that of the start: of
    equal logits, unless ``warm_start`` provides another.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from reflosses import BiTempered
    >>> from reflosses.linear import LossLinearClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LossLinearClassifier(BiTempered(0.8, 1.2), alpha=1e-3).fit(X, y)
    >>> round(model.score(X, y), 2)
    0.99
    >>> model.predict_proba(X[:1]).round(2)
    array([[0.98, 0.02, 0.  ]])
    """

    def __init__(
        self,
        loss=None,
        *,
        alpha=1e-4,
        fit_intercept=True,
        class_weight=None,
        warm_start=False,
        solver="trust-krylov",
        max_iter=1000,
        tol=1e-6,
    ):
        self.loss = loss
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol

    def fit(self, X, y, sample_weight=None):
        """Fit the model.

        Parameters
        ----------
        X : array_like or sparse matrix
            Shape (n, F).  For dask arrays there is ``reflosses.dask.fit``.
        y : array_like
            Classes, numbers or strings, of shape (n,); or probabilities of shape (n, C), each row of
            which counts as rows of all classes in these shares.
        sample_weight : array_like, optional
            Shape (n,), none below 0.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            For dask arrays, which would be loaded whole.
        ValueError
            For data that does not fit, fewer than two classes, more than two under a loss of single logits,
            and parameters that are not legal.
        """
        if hasattr(X, "__dask_graph__"):
            raise TypeError("X is a dask collection: reflosses.dask.fit(model, X, y) fits it block by block")
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=np.float64, order="C", multi_output=True)
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        target = encoded(y, weight, self.class_weight, self._loss)
        objective = LinearObjective(
            self._loss,
            X,
            target.labels,
            self.alpha,
            None if sample_weight is None and self.class_weight is None else target.weight,
            self.fit_intercept,
            classes=len(target.classes),
        )
        return self._fit(objective, target.classes)

    def _fit(self, objective, classes):
        """Minimise an objective, from the last solution or from 0, and keep what was found."""
        start = self._start(objective, classes)
        unit = steepness(objective.loss, len(classes))
        result = solve(objective, start, solver=self.solver, max_iter=self.max_iter, tol=self.tol, unit=unit)
        if not result.success:
            message = f"{self.solver} did not converge in {result.nit} iterations: {result.message} {ADVICE}"
            warnings.warn(message, ConvergenceWarning, stacklevel=3)
        self.classes_ = classes
        self.coef_, self.intercept_ = objective.split(result.x)
        self.n_iter_ = np.array([result.nit], dtype=np.int32)
        return self

    def _start(self, objective, classes):
        if not (self.warm_start and hasattr(self, "coef_")):
            return objective.x0
        columns = objective.shape[1] - objective.fit_intercept
        if not np.array_equal(self.classes_, classes) or self.coef_.shape != (objective.shape[0], columns):
            raise ValueError(
                f"a warm start needs the classes and features of the last fit, {self.classes_} and "
                f"{self.coef_.shape[1]}, got {classes} and {columns}"
            )
        return objective.join(self.coef_, self.intercept_)

    @property
    def _loss(self):
        return CrossEntropy() if self.loss is None else self.loss

    def decision_function(self, X):
        """Return the logits of all classes, of shape (n, C), or for two classes the one output, of shape (n,)."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=np.float64, reset=False)
        products = X @ self.coef_.T + self.intercept_
        return products[:, 0] if products.shape[1] == 1 else products

    def predict(self, X):
        """Return the likeliest class of every row."""
        products = self.decision_function(X)
        return self.classes_[(products > 0).astype(int) if products.ndim == 1 else products.argmax(axis=1)]

    def predict_proba(self, X):
        """Return the loss's own probabilities, of shape (n, C): softmax, or the tempered one."""
        products = self.decision_function(X)
        return probabilities(self._loss, np.stack([0 * products, products], 1) if products.ndim == 1 else products)

    def score(self, X, y, sample_weight=None):
        """Return the mean accuracy; for probabilities y of shape (n, C), the share that the predicted class has."""
        y = np.asarray(y)
        if y.ndim == 1 or y.shape[1] == 1:
            return super().score(X, y, sample_weight)
        shares = np.take_along_axis(y, np.searchsorted(self.classes_, self.predict(X))[:, np.newaxis], axis=1)
        return float(np.average(shares[:, 0], weights=sample_weight))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.classifier_tags.multi_class = self._loss.targets.rows
        return tags


def probabilities(loss, logits):
    """Return the probabilities of rows of logits that a loss stands for: its softmax, or its tempered one.

    A binary loss has the sigmoid of z, or the tempered one, for the logits 0 and z.

    Examples
    --------
    >>> from reflosses import BiTemperedBinary, CrossEntropy
    >>> probabilities(CrossEntropy(), [0.0, 3.0]).round(3), probabilities(BiTemperedBinary(t2=4.0), [0.0, 3.0]).round(3)
    (array([0.047, 0.953]), array([0.415, 0.585]))
    """
    temperature = getattr(core(loss), "t2", None)
    return softmax(logits) if temperature is None else tempered_softmax(logits, temperature)


# Labels -----------------------------------------------------------------------------------------


class Target(NamedTuple):
    """The labels of a fit, as a loss takes them."""

    classes: np.ndarray
    labels: np.ndarray  # integers, or rows of probabilities; for a loss of single logits, those of the second class
    weight: np.ndarray


def encoded(y, weight, class_weight, loss):
    """Return the ``Target`` of classes, or of rows of probabilities, with class weights put into the weights."""
    if y.ndim == 2 and y.shape[1] > 1:
        classes, labels = np.arange(y.shape[1]), shares(y)
    else:
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        classes, labels = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"a classifier needs rows of at least 2 classes, got one class, {classes[0]!r}")
    if len(classes) > 2 and not loss.targets.rows:
        kind = "continuous-multioutput" if labels.ndim == 2 else "multiclass"
        raise ValueError(
            f"Only binary classification is supported. The type of the target is {kind}. "
            f"{type(loss).__name__} is a loss of single logits"
        )
    if class_weight is not None:
        labels, weight = weighted(labels, weight, class_weight, classes)
    if not loss.targets.rows:
        labels = (labels[:, 1] if labels.ndim == 2 else labels).astype(np.float64)
    return Target(classes, labels, weight)


def shares(y):
    """Return rows of probabilities as float64, refused where they do not sum to 1."""
    y = np.asarray(y, np.float64)
    wrong = np.flatnonzero(~((np.abs(y.sum(axis=1) - 1.0) < 1e-6) & (y >= 0.0).all(axis=1)))
    if wrong.size:
        raise ValueError(f"y[{wrong[0]}] = {y[wrong[0]]} must be probabilities that sum to 1")
    return y


def weighted(labels, weight, class_weight, classes):
    """Return labels and weights under class weights: a row of shares counts as rows of its classes."""
    if labels.ndim == 1:
        factors = compute_class_weight(class_weight, classes=classes, y=classes[labels], sample_weight=weight)
        return labels, weight * factors[labels]
    masses = weight[:, np.newaxis] * labels
    everyone = np.broadcast_to(classes, labels.shape).reshape(-1)
    factors = compute_class_weight(class_weight, classes=classes, y=everyone, sample_weight=masses.reshape(-1))
    scaled = labels * factors
    sums = scaled.sum(axis=1)
    return np.divide(scaled, sums[:, np.newaxis], out=labels.copy(), where=sums[:, np.newaxis] > 0), weight * sums
