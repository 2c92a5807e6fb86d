# ruff: noqa: N803, N806 - X is scikit-learn's name for it
"""A linear classifier fitted to dask arrays: the objective is summed where the rows are."""

from collections import deque

import dask
import dask.array as da
import numpy as np
from sklearn.utils.class_weight import compute_class_weight

from ..losses import CrossEntropy
from ..risk import LinearObjective, outputs
from ..risk import _Point as Point
from .verbs import MERGED, known

__all__ = ["fit"]


def fit(model, X, y, sample_weight=None):
    """Fit a ``LossLinearClassifier`` to dask arrays, and return it.

    It minimises what ``model.fit`` minimises.  Every evaluation goes through all blocks, each of which
    returns one row of sums, so that ``persist`` pays if the blocks fit into the memories of the workers;
    nothing else of the length of the data is ever made.  The sums are merged in an order that the blocks
    alone decide.

    Parameters
    ----------
    model : LossLinearClassifier
    X : dask.array.Array
        Shape (n, F), dense.
    y : dask.array.Array
        Classes, numbers or strings, of shape (n,); or probabilities of shape (n, C).
    sample_weight : dask.array.Array, optional
        Shape (n,), none below 0.

    Raises
    ------
    ValueError
        For shapes that do not fit, weights that are negative or sum to 0, fewer than two classes, numbers that
        are not finite, ``class_weight`` with probabilities, and blocks of unknown length.

    Examples
    --------
    >>> import dask.array as da
    >>> from sklearn.datasets import load_iris
    >>> from reflosses import BiTempered
    >>> from reflosses.linear import LossLinearClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> X, y = da.from_array(X, chunks=(50, 4)), da.from_array(y, chunks=50)
    >>> model = fit(LossLinearClassifier(BiTempered(0.8, 1.2), alpha=1e-3), X, y)
    >>> round(model.score(X.compute(), y.compute()), 2)
    0.99
    """
    X, y = known(X, "X"), known(y, "y")
    loss = CrossEntropy() if model.loss is None else model.loss
    if X.ndim != 2 or y.shape[:1] != X.shape[:1] or y.ndim not in (1, 2):
        raise ValueError(f"X of shape {X.shape} does not fit y of shape {y.shape}")
    weight = da.ones(len(y), chunks=y.chunks[0]) if sample_weight is None else known(sample_weight, "sample_weight")
    if weight.shape != y.shape[:1]:
        raise ValueError(f"sample_weight of shape {weight.shape} does not fit {len(y)} rows")
    X = X.rechunk({1: -1})
    y, weight = y.rechunk({0: X.chunks[0], **({1: -1} if y.ndim == 2 else {})}), weight.rechunk(X.chunks[:1])
    classes, totals, legal = _seen(X, y, weight)
    if not legal:
        raise ValueError("X and sample_weight must be finite, and no weight below 0")
    if len(classes) < 2:
        raise ValueError(f"a classifier needs rows of at least 2 classes, got {len(classes)}")
    if len(classes) > 2 and not loss.targets.rows:
        raise ValueError(f"{type(loss).__name__} is a loss of two classes, the labels have {len(classes)}")
    if y.ndim == 1:
        y = y.map_blocks(_numbered, classes, meta=np.empty(0, np.int64))
    if model.class_weight is not None:
        if y.ndim == 2:
            raise ValueError("class_weight needs classes, not probabilities: put it into sample_weight")
        factors = compute_class_weight(model.class_weight, classes=classes, y=classes, sample_weight=totals)
        weight = weight * y.map_blocks(factors.take, meta=np.empty(0))
        totals = totals * factors
    if not loss.targets.rows:
        y = (y[:, 1] if y.ndim == 2 else y).astype(np.float64)
    objective = _Objective(loss, X, y, model.alpha, weight, totals.sum(), model.fit_intercept, len(classes))
    model.n_features_in_ = X.shape[1]
    return model._fit(objective, classes)


def _seen(X, y, weight):
    """Return the classes, the weight of each, and whether all numbers are legal, in one pass."""
    legal = da.isfinite(X).all() & (da.isfinite(weight) & (weight >= 0)).all()
    if y.ndim == 2:
        total, legal = dask.compute(weight.sum(), legal)
        return np.arange(y.shape[1]), np.array([total]), legal
    blocks = [dask.delayed(_counted)(*both) for both in zip(y.to_delayed(), weight.to_delayed(), strict=True)]
    parts, legal = dask.compute(blocks, legal)
    classes, inverse = np.unique(np.concatenate([part[0] for part in parts]), return_inverse=True)
    return classes, np.bincount(inverse, np.concatenate([part[1] for part in parts]), len(classes)), legal


def _counted(y, weight):
    """Return the classes of one block and their weights."""
    classes, inverse = np.unique(y, return_inverse=True)
    return classes, np.bincount(inverse, weight, len(classes))


def _numbered(y, classes):
    return np.searchsorted(classes, y)


class _Objective(LinearObjective):
    """The same objective, of blocks of rows, each of which makes its logits again rather than keep them."""

    def __init__(self, loss, X, y, alpha, weight, total, fit_intercept, classes):
        self.loss, self.alpha, self.fit_intercept, self.classes = loss, float(alpha), bool(fit_intercept), classes
        if not 0.0 <= self.alpha < np.inf:
            raise ValueError(f"alpha must lie in [0, ∞), got {alpha!r}")
        if not 0.0 < total < np.inf:
            raise ValueError(f"the weights of the rows sum to {total:g}")
        self.X, self.total = X, float(total)
        self.shape = outputs(loss, y, classes), X.shape[1] + self.fit_intercept
        self.x0 = np.zeros(self.shape[0] * self.shape[1])
        delayed = (x.to_delayed(optimize_graph=False).reshape(-1) for x in (X, y, weight))
        self._blocks = [block for *block, rows in zip(*delayed, X.chunks[0], strict=True) if rows]
        self._known = deque(maxlen=2)

    def hessp(self, w, v):
        """Return the Hessian of f at w times v."""
        coef, intercept = self.split(np.asarray(v, np.float64))
        return self._mean_over_rows(w, v) + self.alpha * self.join(coef, 0 * intercept)

    def _at(self, w):
        for point in self._known:
            if np.array_equal(point.weights, w):
                return point
        w = np.array(w, np.float64)
        coef, intercept = self.split(w)
        *slopes, value = self._mean_over_rows(w)
        value += 0.5 * self.alpha * float(np.vdot(coef, coef))
        self._known.append(Point(w, None, float(value), slopes + self.alpha * self.join(coef, 0 * intercept)))
        return self._known[-1]

    def _mean_over_rows(self, *vectors):
        """Return what ``_sums`` returns for all rows, divided by Σ weights."""
        sums = [
            dask.delayed(_sums)(self.loss, *block, self.fit_intercept, self.classes, *vectors) for block in self._blocks
        ]
        while len(sums) > 1:
            sums = [dask.delayed(sum)(sums[k : k + MERGED]) for k in range(0, len(sums), MERGED)]
        return sums[0].compute() / self.total


class _Rows(LinearObjective):
    """The part of an objective that some rows have: a sum, without the penalty."""

    def __init__(self, loss, X, y, weight, fit_intercept, classes):
        super().__init__(loss, X, y, 0.0, None, fit_intercept, classes=classes)
        self.weight = weight

    @property
    def _mean(self):
        return {"weight": self.weight, "reduction": "sum"}


def _sums(loss, X, y, weight, fit_intercept, classes, w, v=None):
    """Return gradient and value of some rows at w, or their Hessian times v."""
    rows = _Rows(loss, X, y, weight, fit_intercept, classes)
    return np.append(rows.jac(w), rows.fun(w)) if v is None else rows.hessp(w, v)
