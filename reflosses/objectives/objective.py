"""A loss as an objective of boosters."""

import copy
import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..api import prepare
from ..domain import REAL, identity, is_loss
from ..domain import predictions as predictions_of
from ..spelling import snake
from .curvature import CURVATURES, automatic, automatic_scale, convex, derivatives
from .metric import CatBoostMetric, Metric
from .probabilities import paired, refuse_non_finite

FACTORS = {"lightgbm": lambda classes: classes / (classes - 1), "xgboost": lambda classes: 2.0}


@dataclass(frozen=True, eq=False)
class Objective:
    """Gradient and curvature of a loss, as LightGBM, XGBoost and CatBoost ask for them.

    Parameters
    ----------
    loss : NamedTuple
        A loss of logits.  A loss of rows given margins of shape (n,) takes them for the logits (0, z) of
        two classes.
    curvature : {"auto", "exact", "gauss_newton", "cross_entropy", "absolute_gradient", "absolute", "constant"}
        What the booster divides by; ``reflosses.objectives.curvature`` says when which is right.
    scale : "auto" or float
        Multiplies the loss.  A booster adds its λ to the curvature, and refuses leaves with little of it,
        so a loss must be about as large as cross entropy: ``auto`` is 1, and for the bi-tempered loss of C
        classes C^(2 t2 - t1 - 1), which gives it cross entropy's curvature at zero logits.
    floor : float
        The least curvature of a row of weight 1.
    factor : float, "lightgbm" or "xgboost"
        Multiplies the curvature of rows: C/(C - 1) as LightGBM's own multiclass objective does, or 2 as
        XGBoost's does.  ``lightgbm()`` and ``xgboost()`` set it unless it is given.

    Raises
    ------
    TypeError
        If the loss is none.
    ValueError
        If a parameter is not legal, or the loss takes probabilities; in a call if margins, labels, weights or
        derivatives are not finite, with the first index: one such number would zero a whole LightGBM model.

    Notes
    -----
    Objectives are frozen, hashable, and may be pickled; a copy is the object itself.  A call takes
    (y_true, y_pred, sample_weight) as the scikit-learn classes of LightGBM and XGBoost give them, and
    multiplies by the weights, which neither library does for an objective of others.

    Examples
    --------
    >>> from reflosses import BinaryFocal
    >>> objective = Objective(BinaryFocal(2.0, 0.25))
    >>> objective([0, 1], [0.0, 0.0])
    (array([ 0.2237151, -0.0745717]), array([0.25, 0.25]))
    >>> objective.curvature, objective.kind
    ('auto', 'cross_entropy')
    """

    loss: Any
    curvature: str = "auto"
    scale: float | str = "auto"
    floor: float = 1e-6
    factor: float | str | None = None

    def __post_init__(self):
        object.__setattr__(self, "loss", _frozen(self.loss))
        prepare(self.loss)
        if predictions_of(self.loss) != REAL:
            raise ValueError(f"{type(self.loss).__name__} takes probabilities: boosters need a loss of logits")
        if self.curvature not in ("auto", *CURVATURES):
            raise ValueError(f"curvature must be auto or one of {', '.join(CURVATURES)}, got {self.curvature!r}")
        if self.scale != "auto" and not _positive(self.scale):
            raise ValueError(f'scale must be "auto" or a number above 0, got {self.scale!r}')
        if not (self.floor == 0 or _positive(self.floor)):
            raise ValueError(f"floor must be a number, 0 or above, got {self.floor!r}")
        if self.factor is not None and self.factor not in FACTORS and not _positive(self.factor):
            raise ValueError(f"factor must be a number above 0 or one of {', '.join(FACTORS)}, got {self.factor!r}")
        if self.curvature == "exact" and not convex(self.loss):
            message = f"{type(self.loss).__name__} is not convex: leaves divide by exact curvature that may be negative"
            warnings.warn(message, UserWarning, stacklevel=3)

    @property
    def __name__(self):
        """How boosters call it in their messages."""
        return snake(type(self.loss))

    @cached_property
    def kind(self):
        """The curvature, with ``auto`` decided."""
        return automatic(self.loss) if self.curvature == "auto" else self.curvature

    def __eq__(self, other):
        return isinstance(other, Objective) and self._key() == other._key()

    def __hash__(self):
        return hash(self._key())

    def _key(self):
        return identity(self.loss), self.curvature, self.scale, self.floor, self.factor

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    def scale_for(self, classes):
        """Return the scale, with ``auto`` decided for a number of classes."""
        return automatic_scale(self.loss, classes) if self.scale == "auto" else float(self.scale)

    def __call__(self, y_true, y_pred, sample_weight=None):
        """Return (gradient, curvature) of margins, each in their shape and dtype (float32 or float64).

        Parameters
        ----------
        y_true : array_like
            Classes or probabilities of shape (n,), or rows of probabilities of shape (n, C).
        y_pred : array_like
            Margins of shape (n,) or (n, C), in any order of memory.
        sample_weight : array_like, optional
            Shape (n,).
        """
        z = np.asarray(y_pred)
        z = z if z.dtype in (np.float32, np.float64) else z.astype(np.float64)
        refuse_non_finite(z, "y_pred")
        pair = self.loss.targets.rows and z.ndim == 1
        logits, labels = (paired(z), _pair_of(y_true)) if pair else (z, _labels(y_true, self.loss.targets.rows))
        weight = None if sample_weight is None or not np.size(sample_weight) else _weights(sample_weight, len(z))
        classes = logits.shape[1] if logits.ndim == 2 else 2
        slope, bend = derivatives(self.loss, self.kind, logits, labels, weight, self.scale_for(classes))
        if pair:
            slope, bend = np.ascontiguousarray(slope[:, 1]), np.ascontiguousarray(bend[:, 1])
        elif self.loss.targets.rows and self.factor is not None:
            factor = FACTORS[self.factor](classes) if self.factor in FACTORS else self.factor
            bend *= bend.dtype.type(factor)
        if self.floor:
            least = self.floor if weight is None else self.floor * weight.astype(bend.dtype)
            np.maximum(bend.T, least, out=bend.T)
        refuse_non_finite(slope, "gradient")
        refuse_non_finite(bend, "curvature")
        return slope, bend

    def lightgbm(self, targets=None):
        """Return the objective of ``lightgbm.train``, for ``params["objective"]``.

        Parameters
        ----------
        targets : array_like, optional
            Rows of probabilities in the place of a Dataset's labels, which are one number a row.
        """
        return Native(self._with_factor_of("lightgbm"), None if targets is None else np.array(targets))

    def xgboost(self):
        """Return the objective of ``xgboost.train``, for ``obj``; labels of shape (n, C) need no ``num_class``."""
        return Native(self._with_factor_of("xgboost"))

    def catboost(self):
        """Return the ``loss_function`` of ``CatBoostClassifier``, for two classes.

        CatBoost asks for the derivatives of multiclass objectives one object at a time, which takes some
        50 times as long as its own; so these are refused.
        """
        return CatBoostObjective(self)

    def metric(self, library=None, *, classes=None, targets=()):
        """Return the loss as a metric to be watched, of "lightgbm", "xgboost" or "catboost"; see ``Metric``."""
        if library == "catboost":
            return CatBoostMetric(Metric(self.loss, None, classes))
        return Metric(self.loss, library, classes, tuple(targets))

    def _with_factor_of(self, library):
        return self if self.factor is not None else replace(self, factor=library)


class Native:
    """An objective of ``lightgbm.train`` or ``xgboost.train``: called with margins and the data."""

    def __init__(self, objective, targets=None):
        self.objective, self.targets = objective, targets
        self.__name__ = objective.__name__

    def __deepcopy__(self, memo):
        """LightGBM copies its parameters, the targets among them."""
        return self

    def __call__(self, y_pred, data):
        """Return (gradient, curvature)."""
        labels = data.get_label() if self.targets is None else self.targets
        return self.objective(labels, y_pred, data.get_weight())


class CatBoostObjective:
    """An objective of CatBoost, which maximises, and so wants derivatives with the other sign."""

    _jited = True  # CatBoost's mark of what it has tried to compile: it would try, fail and warn

    def __init__(self, objective):
        self.objective = objective

    def calc_ders_range(self, approxes, targets, weights):
        """Return pairs of -gradient and -curvature, times the weights, which CatBoost leaves to objectives."""
        slope, bend = self.objective(np.asarray(targets), np.asarray(approxes), weights)
        return list(zip((-slope).tolist(), (-bend).tolist(), strict=True))

    def calc_ders_multi(self, approx, target, weight):
        """Refuse several classes."""
        raise ValueError("CatBoost calls objectives of several classes once for every object: use two classes")


def _frozen(x):
    """Return a loss with tuples in the place of arrays and lists, so that it can be hashed."""
    if is_loss(x):
        return type(x)(*map(_frozen, x))
    return tuple(np.asarray(x).tolist()) if isinstance(x, np.ndarray | list) else copy.copy(x)


def _positive(x):
    try:
        return 0.0 < float(x) < np.inf
    except (TypeError, ValueError):
        return False


def _labels(y, rows):
    """Return labels, classes of shape (n,) as integers."""
    y = np.asarray(y)
    refuse_non_finite(y, "y_true")
    if not rows or y.ndim != 1 or y.dtype.kind != "f":
        return y
    whole = y.astype(np.int64)
    return whole if (whole == y).all() else y  # the verb names the first that is no class


def _pair_of(y):
    """Return labels of two classes, or a row (1 - y, y) for each if they are not all whole."""
    y = _labels(y, True)
    return y if y.ndim != 1 or y.dtype.kind != "f" else np.stack([1.0 - y, y], axis=1)


def _weights(x, rows):
    x = np.asarray(x, dtype=np.float64)
    if x.shape != (rows,):
        raise ValueError(f"sample_weight of shape {x.shape} does not fit {rows} rows")
    refuse_non_finite(x, "sample_weight")
    if x.min(initial=0.0) < 0.0:
        index = int(np.argmax(x < 0.0))
        raise ValueError(f"sample_weight[{index}] = {x[index]} must not be negative")
    return x
