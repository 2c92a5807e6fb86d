"""Keras's cross entropies and focal losses: functions per row, classes that weigh and reduce.

Probabilities are clipped to [ε, 1 - ε], in the dtype of the predictions (in float32 the upper end is
0.99999988), after rows of classes are divided by their sum; there the gradient is 0.  ``epsilon``
is that ε, 0 for none.  ``variant="tf2.1"`` is tf.keras of TensorFlow 2.1, which adds ε once more
inside the logarithms of binary losses.  Lists count as float64, where Keras takes its ``floatx``.

Source: https://keras.io/api/losses/probabilistic_losses/ and TensorFlow 2.1's ``tf.keras.backend``.
"""

from dataclasses import KW_ONLY, dataclass, fields
from enum import StrEnum

import numpy as np

from .. import losses
from ..api import value_and_gradient
from ..arrays import as_logits, as_real
from ..domain import BELOW_ONE, NONNEGATIVE, UNIT
from ..transfer import sigmoid, softmax
from ._door import as_points, as_rows, door, legal, mass_times, one_of, reduced, weighted, wide

__all__ = [
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "Reduction",
    "SparseCategoricalCrossentropy",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "sparse_categorical_crossentropy",
]

EPSILON = 1e-7
VARIANTS = "keras3", "tf2.1"


class Reduction(StrEnum):
    """What a loss class makes of its weighted values.

    "auto", "sum_over_batch_size" and "mean" divide their sum by their number, weights or not;
    "mean_with_sample_weight" divides it by the sum of the weights.
    """

    AUTO = "auto"
    NONE = "none"
    SUM = "sum"
    SUM_OVER_BATCH_SIZE = "sum_over_batch_size"
    MEAN = "mean"
    MEAN_WITH_SAMPLE_WEIGHT = "mean_with_sample_weight"


# ---- functions ----------------------------------------------------------------------------


@door("y_pred", labels="y_true")
def binary_crossentropy(
    y_true, y_pred, from_logits=False, label_smoothing=0.0, axis=-1, *, variant="keras3", epsilon=EPSILON
):
    """Return the mean over an axis of -y log p - (1 - y) log(1 - p).

    Parameters
    ----------
    y_true, y_pred : array_like
        Numbers in [0, 1] and predictions, in one shape.
    from_logits : bool
        Whether predictions are logits rather than probabilities.
    label_smoothing : float
        s in [0, 1): labels become y (1 - s) + s/2.
    axis : int
        What the mean is over; the values have the other axes.
    variant : {"keras3", "tf2.1"}
        "tf2.1" takes log(p + ε) and log(1 - p + ε) of the clipped p.
    epsilon : float
        ε in [0, 1].

    Raises
    ------
    ValueError
        For labels outside [0, 1], parameters out of their domain, and shapes that do not match.

    Examples
    --------
    >>> binary_crossentropy([[0, 1], [0, 0]], [[0.6, 0.4], [0.4, 0.6]])
    array([0.91629073, 0.71355818])
    """
    p, y = wide(y_pred), _smooth(as_points(y_true, wide(y_pred)), label_smoothing, 2)
    more = _added(variant, epsilon)
    if from_logits:
        values, slopes = value_and_gradient(losses.BinaryCrossEntropy(), p, y)
    else:
        values, slopes = binary_terms(y, p, 1 - p, clip_bounds(y_pred, epsilon), more)
    return _mean(values, slopes, axis)


@door("y_pred", labels="y_true")
def binary_focal_crossentropy(
    y_true,
    y_pred,
    apply_class_balancing=False,
    alpha=0.25,
    gamma=2.0,
    from_logits=False,
    label_smoothing=0.0,
    axis=-1,
    *,
    variant="keras3",
    epsilon=EPSILON,
):
    """Return the mean over an axis of -a (1 - p_t)^γ (y log p + (1 - y) log(1 - p)).

    p_t = y p + (1 - y)(1 - p) and a = α y + (1 - α)(1 - y).  Only the logarithms see the clipped p;
    Keras clips it from logits, too.

    Parameters
    ----------
    y_true, y_pred, from_logits, label_smoothing, axis, variant, epsilon
        As in ``binary_crossentropy``.
    apply_class_balancing : bool
        Whether there is an a; without it α has no effect.
    alpha : float
        α in [0, 1].
    gamma : float
        γ >= 0.

    Examples
    --------
    >>> binary_focal_crossentropy([[0, 1], [0, 0]], [[0.6, 0.4], [0.4, 0.6]])
    array([0.32986466, 0.20579838])
    """
    z, y = wide(y_pred), _smooth(as_points(y_true, wide(y_pred)), label_smoothing, 2)
    p, not_p = (sigmoid(z), sigmoid(-z)) if from_logits else (z, 1 - z)
    balance = alpha if apply_class_balancing else None
    more = _added(variant, epsilon)
    values, slopes = binary_focal_terms(y, p, not_p, balance, gamma, clip_bounds(y_pred, epsilon), more)
    return _mean(values, slopes * p * not_p if from_logits else slopes, axis)


@door("y_pred", labels="y_true")
def categorical_crossentropy(
    y_true, y_pred, from_logits=False, label_smoothing=0.0, axis=-1, *, variant="keras3", epsilon=EPSILON
):
    """Return -Σ_i y_i log p_i of probabilities as labels.

    Parameters
    ----------
    y_true, y_pred : array_like
        Probabilities and predictions, in one shape.
    from_logits : bool
        Whether predictions are logits rather than probabilities.
    label_smoothing : float
        s in [0, 1): labels become y (1 - s) + s/C.  Keras's C is the length of the last axis, even
        if the classes are on another.
    axis : int
        Where the classes are; the values have the other axes.
    variant : {"keras3", "tf2.1"}
        Here the two agree.
    epsilon : float
        ε in [0, 1].

    Raises
    ------
    ValueError
        For labels outside [0, 1], parameters out of their domain, and shapes that do not match.

    Examples
    --------
    >>> categorical_crossentropy([[0, 1, 0], [0, 0, 1]], [[0.05, 0.95, 0], [0.1, 0.8, 0.1]])
    array([0.05129329, 2.30258509])
    """
    one_of(VARIANTS, variant=variant)
    z, y, classes = _rows(y_true, y_pred, axis)
    y = _smooth(y, label_smoothing, classes)
    if from_logits:
        values, slopes = value_and_gradient(losses.CrossEntropy(), z, y, normalized=False)
    else:
        values, slopes = _of_shares(_categorical_terms, z, y, clip_bounds(y_pred, epsilon))
    return values, np.moveaxis(slopes, -1, axis)


@door("y_pred", labels="y_true")
def sparse_categorical_crossentropy(
    y_true, y_pred, from_logits=False, ignore_class=None, axis=-1, *, variant="keras3", epsilon=EPSILON
):
    """Return -log p_y of integer classes.

    Parameters
    ----------
    y_true : array_like
        Classes, in the shape of the predictions without their classes, or with 1 of them.
    y_pred : array_like
        Logits or probabilities.
    from_logits : bool
    ignore_class : int, optional
        A class whose rows cost nothing.
    axis : int
        Where the classes are.
    variant : {"keras3", "tf2.1"}
        "tf2.1" clips probabilities first and divides by their sum afterwards.
    epsilon : float
        ε in [0, 1].

    Raises
    ------
    ValueError
        For illegal classes, parameters out of their domain, and shapes that do not match.

    Examples
    --------
    >>> sparse_categorical_crossentropy([1, 2], [[0.05, 0.95, 0], [0.1, 0.8, 0.1]])
    array([0.05129329, 2.30258509])
    """
    one_of(VARIANTS, variant=variant)
    classes, z = _classes(y_true, y_pred, axis), np.moveaxis(wide(y_pred), axis, -1)
    counts = np.True_ if ignore_class is None else classes != ignore_class
    y = np.where(counts, classes, 0)
    bounds = clip_bounds(y_pred, epsilon)
    if from_logits:
        values, slopes = value_and_gradient(losses.CrossEntropy(), z, y)
    elif variant == "tf2.1":
        clipped, inside = _clip(z, bounds)
        values, slopes = value_and_gradient(losses.CrossEntropy(), np.log(clipped), y)
        slopes = mass_times(inside, slopes / clipped)
    else:
        values, slopes = _of_shares(_categorical_terms, z, as_rows(y, z), bounds)
    values, slopes = weighted(values, slopes, counts)
    return values, np.moveaxis(slopes, -1, axis)


@door("y_pred", labels="y_true")
def categorical_focal_crossentropy(
    y_true,
    y_pred,
    alpha=0.25,
    gamma=2.0,
    from_logits=False,
    label_smoothing=0.0,
    axis=-1,
    *,
    variant="keras3",
    epsilon=EPSILON,
):
    """Return -Σ_i α_i y_i (1 - p_i)^γ log p_i.

    The clipped p is seen by the logarithm and the focus, from logits, too.

    Parameters
    ----------
    y_true, y_pred, from_logits, label_smoothing, axis, variant, epsilon
        As in ``categorical_crossentropy``.
    alpha : array_like
        α >= 0, for all classes or one for each.
    gamma : float
        γ >= 0.

    Examples
    --------
    >>> categorical_focal_crossentropy([[0, 1, 0], [0, 0, 1]], [[0.05, 0.9, 0.05], [0.1, 0.85, 0.05]])
    array([2.63401289e-04, 6.75912094e-01])
    """
    one_of(VARIANTS, variant=variant)
    legal(NONNEGATIVE, alpha=alpha, gamma=gamma)
    z, y, classes = _rows(y_true, y_pred, axis)
    if np.shape(alpha) not in ((), z.shape[-1:]):
        raise ValueError(f"alpha of shape {np.shape(alpha)} does not fit the classes of y_pred of shape {z.shape}")
    y = _smooth(y, label_smoothing, classes)
    p = softmax(z) if from_logits else z
    values, slopes = _of_shares(_focal_terms, p, y, clip_bounds(y_pred, epsilon), np.asarray(alpha), gamma)
    if from_logits:
        slopes = p * (slopes - np.sum(slopes * p, axis=-1, keepdims=True))
    return values, np.moveaxis(slopes, -1, axis)


# ---- classes ------------------------------------------------------------------------------


class _Loss:
    """A function above, its options, and what becomes of its values."""

    def __call__(self, y_true, y_pred, sample_weight=None):
        """Return the values of the function, times weights that broadcast to them, reduced."""
        return self._value(y_true, np.asarray(y_pred, self.dtype), sample_weight)

    def gradient(self, y_true, y_pred, sample_weight=None):
        """Return the derivative of that in ``y_pred``."""
        return self._gradient(y_true, np.asarray(y_pred, self.dtype), sample_weight)

    @door("y_pred", labels="y_true", weight="sample_weight")
    def _value(self, y_true, y_pred, sample_weight):
        y_true = np.asarray(y_true)
        if (*y_true.shape, 1) == y_pred.shape:
            y_true = y_true[..., None]
        options = {x.name: getattr(self, x.name) for x in fields(self) if x.name not in ("reduction", "name", "dtype")}
        values, slopes = self.function.formula(y_true, y_pred, **options)
        return reduce(values, slopes, self.reduction, sample_weight, self._counts(y_true, y_pred), self.axis)

    _gradient = _value.gradient

    def _counts(self, y_true, y_pred):
        """Return which values count."""
        return np.True_


@dataclass
class BinaryCrossentropy(_Loss):
    """``binary_crossentropy``, weighted and reduced.

    Examples
    --------
    >>> p = np.array([1, 1, 1, 0], dtype=np.float32)
    >>> BinaryCrossentropy()([0, 0, 1, 1], p), BinaryCrossentropy(variant="tf2.1")([0, 0, 1, 1], p)
    (np.float32(12.000716), np.float32(11.522857))
    """

    from_logits: bool = False
    label_smoothing: float = 0.0
    axis: int = -1
    reduction: str | None = "sum_over_batch_size"
    name: str = "binary_crossentropy"
    dtype: type | str | None = None  # of the computation, for predictions of another
    _: KW_ONLY
    variant: str = "keras3"
    epsilon: float = EPSILON

    function = staticmethod(binary_crossentropy)


@dataclass
class CategoricalCrossentropy(_Loss):
    """``categorical_crossentropy``, weighted and reduced.

    Examples
    --------
    >>> y, p = [[0, 1, 0], [0, 0, 1]], [[0.05, 0.95, 0], [0.1, 0.8, 0.1]]
    >>> CategoricalCrossentropy()(y, p, sample_weight=[0.3, 0.7]).round(8)
    np.float64(0.81359878)
    """

    from_logits: bool = False
    label_smoothing: float = 0.0
    axis: int = -1
    reduction: str | None = "sum_over_batch_size"
    name: str = "categorical_crossentropy"
    dtype: type | str | None = None
    _: KW_ONLY
    variant: str = "keras3"
    epsilon: float = EPSILON

    function = staticmethod(categorical_crossentropy)


@dataclass
class SparseCategoricalCrossentropy(_Loss):
    """``sparse_categorical_crossentropy``, weighted and reduced; rows of the ignored class count in no mean.

    Examples
    --------
    >>> SparseCategoricalCrossentropy(ignore_class=-1)([1, -1], [[0.05, 0.95, 0], [0.1, 0.8, 0.1]]).round(8)
    np.float64(0.05129329)
    """

    from_logits: bool = False
    ignore_class: int | None = None
    reduction: str | None = "sum_over_batch_size"
    axis: int = -1
    name: str = "sparse_categorical_crossentropy"
    dtype: type | str | None = None
    _: KW_ONLY
    variant: str = "keras3"
    epsilon: float = EPSILON

    function = staticmethod(sparse_categorical_crossentropy)

    def _counts(self, y_true, y_pred):
        return np.True_ if self.ignore_class is None else _classes(y_true, y_pred, self.axis) != self.ignore_class


@dataclass
class BinaryFocalCrossentropy(_Loss):
    """``binary_focal_crossentropy``, weighted and reduced.

    Examples
    --------
    >>> BinaryFocalCrossentropy()([[0, 1], [0, 0]], [[0.6, 0.4], [0.4, 0.6]]).round(8)
    np.float64(0.26783152)
    """

    apply_class_balancing: bool = False
    alpha: float = 0.25
    gamma: float = 2.0
    from_logits: bool = False
    label_smoothing: float = 0.0
    axis: int = -1
    reduction: str | None = "sum_over_batch_size"
    name: str = "binary_focal_crossentropy"
    dtype: type | str | None = None
    _: KW_ONLY
    variant: str = "keras3"
    epsilon: float = EPSILON

    function = staticmethod(binary_focal_crossentropy)


@dataclass
class CategoricalFocalCrossentropy(_Loss):
    """``categorical_focal_crossentropy``, weighted and reduced.

    Examples
    --------
    >>> CategoricalFocalCrossentropy()([[0, 1, 0], [0, 0, 1]], [[0.05, 0.9, 0.05], [0.1, 0.85, 0.05]]).round(8)
    np.float64(0.33808775)
    """

    alpha: float | tuple = 0.25
    gamma: float = 2.0
    from_logits: bool = False
    label_smoothing: float = 0.0
    axis: int = -1
    reduction: str | None = "sum_over_batch_size"
    name: str = "categorical_focal_crossentropy"
    dtype: type | str | None = None
    _: KW_ONLY
    variant: str = "keras3"
    epsilon: float = EPSILON

    function = staticmethod(categorical_focal_crossentropy)


def reduce(values, slopes, reduction, sample_weight=None, counts=np.True_, axis=-1):
    """Return (value, gradient) of weighted values, of which some may not count, as Keras reduces them."""
    one_of((*map(str, Reduction), None), reduction=reduction)
    weight = as_real(1.0 if sample_weight is None else sample_weight, "weight")
    if weight.ndim == values.ndim + 1 and weight.shape[-1] == 1:
        weight = weight[..., 0]
    divisor = np.sum(np.broadcast_to(counts, values.shape))
    if reduction == "mean_with_sample_weight" and sample_weight is not None:
        divisor = np.sum(weight * counts)
    values, slopes = weighted(values, slopes, weight * counts, axis)
    if divisor == 0 and values.size:
        return 0.0, np.zeros_like(slopes)  # Keras's division by nothing gives 0
    return reduced(values, slopes, {None: "none", "none": "none", "sum": "sum"}.get(reduction, "mean"), divisor)


# ---- formulas -----------------------------------------------------------------------------


def binary_terms(y, p, not_p, bounds, more=0.0):
    """Return binary cross entropies of clipped probabilities, and their derivatives in p."""
    low, high = bounds
    q, inside = _clip(p, bounds)
    q, c = q + more, np.clip(not_p, 1 - high, 1 - low) + more
    values = -mass_times(y, np.log(q)) - mass_times(1 - y, np.log(c))
    return values, mass_times(inside, mass_times(1 - y, 1 / c) - mass_times(y, 1 / q))


def binary_focal_terms(y, p, not_p, alpha, gamma, bounds, more=0.0):
    """Return binary focal losses with clipped logarithms, and their derivatives in p; α may be None."""
    legal(NONNEGATIVE, gamma=gamma)
    legal(UNIT, alpha=0.0 if alpha is None else alpha)
    balance = 1.0 if alpha is None else alpha * y + (1 - alpha) * (1 - y)
    entropy, slope = binary_terms(y, p, not_p, bounds, more)
    miss = y * not_p + (1 - y) * p  # 1 - p_t
    focus, focus_slope = miss**gamma, mass_times(gamma, miss ** (gamma - 1)) * (1 - 2 * y)
    return balance * focus * entropy, balance * (focus_slope * entropy + focus * slope)


def _categorical_terms(y, q, c):
    return -mass_times(y, np.log(q)), -mass_times(y, 1 / q)


def _focal_terms(y, q, c, alpha, gamma):
    """Return the terms of the categorical focal loss, and their derivatives in q = 1 - c."""
    y, log_q = alpha * y, np.log(q)
    return -mass_times(y, c**gamma * log_q), mass_times(y, gamma * c ** (gamma - 1) * log_q - c**gamma / q)


def _of_shares(terms, p, y, bounds, *parameters):
    """Return values of rows, which are divided by their sums and clipped, and derivatives in p."""
    total = p.sum(axis=-1, keepdims=True)
    share = p / total
    q, inside = _clip(share, bounds)
    rest = np.clip(_others(share), 1 - bounds[1], 1 - bounds[0])
    values, slopes = terms(y, q, rest, *parameters)
    slopes = mass_times(inside, slopes)
    return values.sum(axis=-1), (slopes - mass_times(share, slopes).sum(axis=-1, keepdims=True)) / total


def _others(p):
    """Return 1 - p of rows that sum to 1; for the largest, where that cancels, the sum of the others."""
    largest = np.arange(p.shape[-1]) == p.argmax(axis=-1)[..., None]
    return np.where(largest, np.where(largest, 0, p).sum(axis=-1, keepdims=True), 1 - p)


def _clip(p, bounds):
    return np.clip(p, *bounds), ~(p < bounds[0]) & ~(p > bounds[1])


def clip_bounds(y_pred, epsilon):
    """Return ε and 1 - ε as the dtype of the predictions has them."""
    legal(UNIT, epsilon=epsilon)
    dtype = as_logits(y_pred, rows=False)[1]
    return float(dtype.type(epsilon)), float(dtype.type(1 - epsilon))


def _added(variant, epsilon):
    """Return what a variant adds inside binary logarithms."""
    one_of(VARIANTS, variant=variant)
    return epsilon if variant == "tf2.1" else 0.0


def _smooth(y, label_smoothing, classes):
    legal(BELOW_ONE, label_smoothing=label_smoothing)
    return y * (1 - label_smoothing) + label_smoothing / classes if label_smoothing else y


def _mean(values, slopes, axis):
    n = values.shape[axis]
    return values.sum(axis=axis) / n, slopes / n


def _rows(y_true, y_pred, axis):
    """Return predictions and labels with their classes last, and Keras's number of classes."""
    z, y = wide(y_pred), np.asarray(y_true)
    if y.shape != z.shape:
        raise ValueError(f"y_true of shape {y.shape} does not fit y_pred of shape {z.shape}")
    z = np.moveaxis(z, axis, -1)
    return z, as_rows(np.moveaxis(y, axis, -1), z), y.shape[-1]


def _classes(y_true, y_pred, axis):
    """Return integer classes in the shape of the predictions without theirs."""
    y, z = np.asarray(y_true), np.asarray(y_pred)
    y = y.squeeze(axis) if y.ndim == z.ndim and y.shape[axis] == 1 else y
    expected = np.moveaxis(z, axis, -1).shape[:-1]
    if y.shape != expected:
        raise ValueError(f"y_true of shape {y.shape} does not fit y_pred of shape {z.shape}: expected {expected}")
    return y
