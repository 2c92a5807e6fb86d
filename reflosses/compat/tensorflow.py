"""TensorFlow's cross entropies of logits, and TensorFlow Addons' focal loss.

Source: https://www.tensorflow.org/api_docs/python/tf/nn,
https://www.tensorflow.org/addons/api_docs/python/tfa/losses/SigmoidFocalCrossEntropy.
"""

from dataclasses import dataclass

import numpy as np

from .. import losses
from ..api import value_and_gradient
from ..domain import NONNEGATIVE, UNIT
from ._door import as_points, door, legal, wide
from .keras import EPSILON, binary_focal_terms, clip_bounds, reduce

__all__ = [
    "SigmoidFocalCrossEntropy",
    "sigmoid_cross_entropy_with_logits",
    "sigmoid_focal_crossentropy",
    "softmax_cross_entropy_with_logits",
]


@door("logits")
def sigmoid_cross_entropy_with_logits(labels, logits):
    """Return -y log p - (1 - y) log(1 - p), elementwise.

    Parameters
    ----------
    labels, logits : array_like
        Numbers in [0, 1] and logits, in one shape.

    Examples
    --------
    >>> sigmoid_cross_entropy_with_logits([1.0, 0.0], [2.0, 2.0])
    array([0.12692801, 2.12692801])
    """
    return value_and_gradient(losses.BinaryCrossEntropy(), wide(logits), labels)


@door("logits")
def softmax_cross_entropy_with_logits(labels, logits):
    """Return -Σ_i y_i log p_i over the last axis.

    Parameters
    ----------
    labels, logits : array_like
        Probabilities and logits, shape (..., C).

    Examples
    --------
    >>> softmax_cross_entropy_with_logits([[1.0, 0.0, 0.0]], [[2.0, 0.0, -1.0]])
    array([0.16984602])
    """
    z, y = wide(logits), np.asarray(labels)
    if y.shape != z.shape:
        raise ValueError(f"labels of shape {y.shape} do not fit logits of shape {z.shape}")
    return value_and_gradient(losses.CrossEntropy(), z, y, normalized=False)


@door("y_pred", labels="y_true")
def sigmoid_focal_crossentropy(y_true, y_pred, alpha=0.25, gamma=2.0, from_logits=False):
    """Return Addons' focal loss, -Σ a (1 - p_t)^γ (y log p + (1 - y) log(1 - p)) over the last axis.

    p_t = y p + (1 - y)(1 - p) and a = α y + (1 - α)(1 - y).  The logarithms of probabilities are
    those of TensorFlow 2's Keras: clipped to [1e-7, 1 - 1e-7], with 1e-7 added.

    Parameters
    ----------
    y_true, y_pred : array_like
        Numbers in [0, 1] and predictions, in one shape.
    alpha : float, optional
        α in [0, 1]; for None and, as in the published code, for 0, a = 1.
    gamma : float, optional
        γ >= 0; None is 0.
    from_logits : bool
        Whether predictions are logits rather than probabilities.

    Raises
    ------
    ValueError
        For labels outside [0, 1], α or γ out of their domain, and shapes that do not match.

    Examples
    --------
    >>> sigmoid_focal_crossentropy([[1.0], [0.0]], [[0.97], [0.03]])
    array([6.85329849e-06, 2.05598955e-05])
    """
    alpha, gamma, p = alpha or None, gamma or 0.0, wide(y_pred)
    legal(UNIT, alpha=alpha or 0.0)
    legal(NONNEGATIVE, gamma=gamma)
    if from_logits:
        values, slopes = value_and_gradient(losses.BinaryFocal(gamma, alpha), p, y_true)
    else:
        y, bounds = as_points(y_true, p), clip_bounds(y_pred, EPSILON)
        values, slopes = binary_focal_terms(y, p, 1 - p, alpha, gamma, bounds, EPSILON)
    return values.sum(axis=-1), slopes


@dataclass
class SigmoidFocalCrossEntropy:
    """``sigmoid_focal_crossentropy``, weighted and reduced as Keras reduces.

    Examples
    --------
    >>> SigmoidFocalCrossEntropy(reduction="sum")([[1.0], [0.0]], [[0.97], [0.03]]).round(12)
    np.float64(2.7413194e-05)
    """

    from_logits: bool = False
    alpha: float | None = 0.25
    gamma: float | None = 2.0
    reduction: str = "none"

    @door("y_pred", labels="y_true", weight="sample_weight")
    def __call__(self, y_true, y_pred, sample_weight=None):
        """Return the values of the function, times weights that broadcast to them, reduced."""
        rows = sigmoid_focal_crossentropy.formula(y_true, y_pred, self.alpha, self.gamma, self.from_logits)
        return reduce(*rows, self.reduction, sample_weight)

    gradient = __call__.gradient
