"""The mean loss of a linear model with a quadratic penalty, in the form that SciPy minimises."""

from collections import deque
from typing import NamedTuple

import numpy as np

from . import api
from .domain import REAL, classes_of, predictions
from .transfer import predicted, sigmoid, softmax

__all__ = ["LinearObjective", "scipy_objective"]


def scipy_objective(loss, X, y, alpha=0.0, sample_weight=None, fit_intercept=True, *, classes=None):
    """Return the mean loss of a linear model, with derivatives, for ``scipy.optimize.minimize``.

    With rows x_i, labels y_i, weights s_i, coefficients A and intercepts b, it is

        f(A, b) = Σ_i s_i ℓ(A x_i + b, y_i) / Σ_i s_i + α/2 Σ A²,

    its gradient, and the exact product of its Hessian with a vector.  Intercepts are not penalised.
    Losses that take probabilities get the softmax or the sigmoid of A x_i + b.  Two classes have one
    row of A, and their logits are 0 and its product: what that leaves out changes no loss.

    Parameters
    ----------
    loss : NamedTuple
        Any loss, as the verbs take it.
    X : array_like or sparse array
        Shape (n, F); computed in float64.  A sparse one is never made dense.
    y : array_like
        Labels, as the verbs take them: for a loss of rows, integer classes of shape (n,) or
        probabilities of shape (n, C); for a loss of single logits, numbers of shape (n,).
    alpha : float
        α of the penalty, at least 0.
    sample_weight : array_like, optional
        The s_i, of shape (n,), not negative; 1 by default.
    fit_intercept : bool
        Whether there is b.
    classes : int, optional
        How many classes integer labels are of, where the largest one does not tell.

    Returns
    -------
    LinearObjective
        With ``fun(w)``, ``jac(w)``, ``hessp(w, v)`` and a start ``x0`` of zeros.  w is A with b as its last
        column, flat; ``split(w)`` returns the two.

    Raises
    ------
    TypeError, ValueError
        For shapes that do not fit, weights that are negative or sum to 0, a negative alpha; and, when it is
        first evaluated, for what the verbs refuse.

    Examples
    --------
    >>> from scipy.optimize import minimize
    >>> from reflosses import CrossEntropy, scipy_objective
    >>> f = scipy_objective(CrossEntropy(), [[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1], alpha=0.1)
    >>> best = minimize(f.fun, f.x0, jac=f.jac, hessp=f.hessp, method="trust-krylov")
    >>> best.x.round(4)
    array([ 0.6367, -0.9551])
    """
    return LinearObjective(loss, X, y, alpha, sample_weight, fit_intercept, classes=classes)


class _Point(NamedTuple):
    """Where the objective was evaluated last, and what came out."""

    weights: np.ndarray
    logits: np.ndarray
    value: float
    gradient: np.ndarray


class LinearObjective:
    """What ``scipy_objective`` returns; its arguments are there.

    Attributes
    ----------
    shape : tuple
        Of A with b: outputs, and features with one more for the intercept.
    x0 : ndarray
        As many zeros.
    total : float
        Σ_i s_i.
    """

    def __init__(self, loss, X, y, alpha=0.0, sample_weight=None, fit_intercept=True, *, classes=None):
        self.loss, self.alpha, self.fit_intercept = loss, float(alpha), bool(fit_intercept)
        # no sparse format but the compressed ones multiplies quickly; SciPy itself is not needed to know it
        self.X = X.tocsr().astype(np.float64, copy=False) if hasattr(X, "tocsr") else np.asarray(X, np.float64)
        self.y = np.asarray(y)
        if self.X.ndim != 2 or self.y.shape[:1] != self.X.shape[:1]:
            raise ValueError(f"X of shape {self.X.shape} does not fit y of shape {self.y.shape}")
        if not 0.0 <= self.alpha < np.inf:
            raise ValueError(f"alpha must lie in [0, ∞), got {alpha!r}")
        self.weight, self.total = None, float(len(self.y))
        if sample_weight is not None:
            self.weight = np.asarray(sample_weight, np.float64)
            self.total = float(self.weight.sum())
            if self.weight.shape != self.y.shape[:1] or not (self.weight >= 0.0).all():
                raise ValueError(f"sample_weight must be {len(self.y)} numbers, none below 0")
        if not 0.0 < self.total < np.inf:
            raise ValueError(f"the weights of the rows sum to {self.total:g}")
        self.shape = outputs(loss, self.y, classes), self.X.shape[1] + self.fit_intercept
        self.x0 = np.zeros(self.shape[0] * self.shape[1])
        self._known = deque(maxlen=2)  # the point that a trust region left and the one that it tries

    def fun(self, w):
        """Return f(w)."""
        return self._at(w).value

    def jac(self, w):
        """Return the gradient of f at w."""
        return self._at(w).gradient.copy()

    def hessp(self, w, v):
        """Return the Hessian of f at w times v."""
        coef, intercept = self.split(np.asarray(v, np.float64))
        moved = spread(self.loss, self._outputs(coef, intercept))
        curves = curved(self.loss, self._at(w).logits, self.y, moved, **self._mean)
        return self._pulled(curves, coef)

    def split(self, w):
        """Return (A, b) of w, of the shapes (outputs, F) and (outputs,)."""
        w = np.asarray(w).reshape(self.shape)
        features = self.X.shape[1]
        return w[:, :features], w[:, features] if self.fit_intercept else np.zeros(self.shape[0])

    def join(self, coef, intercept):
        """Return the w of A and b."""
        return (np.column_stack([coef, intercept]) if self.fit_intercept else np.array(coef)).reshape(-1)

    @property
    def _mean(self):
        return {"weight": self.weight, "reduction": "weighted_mean"}

    def _at(self, w):
        for point in self._known:
            if np.array_equal(point.weights, w):
                return point
        w = np.array(w, np.float64)
        coef, intercept = self.split(w)
        logits = spread(self.loss, self._outputs(coef, intercept))
        mean, slopes = sloped(self.loss, logits, self.y, **self._mean)
        value = float(mean) + 0.5 * self.alpha * float(np.vdot(coef, coef))
        self._known.append(_Point(w, logits, value, self._pulled(slopes, coef)))
        return self._known[-1]

    def _outputs(self, coef, intercept):
        """Return A x + b of every row, of shape (n, outputs)."""
        products = self.X @ np.ascontiguousarray(coef.T)
        products += intercept
        return products

    def _pulled(self, slopes, coef):
        """Return the derivative in w from derivatives in the logits, with the penalty's, α times the coefficients."""
        slopes = np.ascontiguousarray(gathered(self.loss, slopes, self.shape[0]))
        return self.join((self.X.T @ slopes).T + self.alpha * coef, slopes.sum(axis=0))


# The model's outputs and the loss's logits --------------------------------------------------------


def outputs(loss, y, classes=None):
    """Return how many outputs a linear model has for a loss: one for a binary loss, and for two classes."""
    if not loss.targets.rows:
        return 1
    if y.ndim == 2:
        classes = y.shape[1]
    elif classes is None:
        classes = classes_of(loss, int(y.max()) + 1)
    return 1 if classes == 2 else classes


def spread(loss, products):
    """Return the logits of a loss from a model's outputs, of shape (n, outputs)."""
    if not loss.targets.rows:
        return products[:, 0]
    if products.shape[1] == 1:
        return np.concatenate([np.zeros_like(products), products], axis=1)
    return products


def gathered(loss, slopes, outputs):
    """Return derivatives in a model's outputs from those in the logits: the transpose of ``spread``."""
    return slopes[:, np.newaxis] if not loss.targets.rows else slopes[:, slopes.shape[1] - outputs :]


# Losses of logits, whatever they take -------------------------------------------------------------


def sloped(loss, logits, labels, **options):
    """Return (value, gradient in the logits), of a loss of probabilities too."""
    if predictions(loss) == REAL:
        return api.value_and_gradient(loss, logits, labels, **options)
    value, slopes = api.value_and_gradient(loss, predicted(loss, logits), labels, **options)
    return value, (softmax if loss.targets.rows else sigmoid).vjp(logits, slopes)


def curved(loss, logits, labels, vector, **options):
    """Return the Hessian in the logits times ``vector``, of a loss of probabilities too.

    With p the softmax or sigmoid, J its Jacobian, and g and H the derivatives in p, it is J'Hv̇ + J̇'g,
    where a dot is the derivative along the vector v: v̇ = Jv.
    """
    if predictions(loss) == REAL:
        return api.hessian_vector_product(loss, logits, labels, vector, **options)
    p, rows = predicted(loss, logits), loss.targets.rows
    transfer = softmax if rows else sigmoid
    moved, slopes = transfer.jvp(logits, vector), api.gradient(loss, p, labels, **options)
    bent = transfer.vjp(logits, api.hessian_vector_product(loss, p, labels, moved, **options))
    if not rows:
        return bent + slopes * sigmoid.second_derivative(logits) * vector
    mean, change = (p * slopes).sum(axis=1), (moved * slopes).sum(axis=1)
    return bent + moved * (slopes - mean[:, np.newaxis]) - p * change[:, np.newaxis]
