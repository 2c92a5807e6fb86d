"""PyTorch's ``torch.nn.functional``, and torchvision's focal loss.

Source: https://docs.pytorch.org/docs/stable/nn.functional.html,
https://docs.pytorch.org/vision/stable/generated/torchvision.ops.sigmoid_focal_loss.html.
"""

import numpy as np

from .. import losses
from ..api import value_and_gradient
from ._door import door, reduced, weighted, wide

__all__ = ["binary_cross_entropy_with_logits", "cross_entropy", "sigmoid_focal_loss"]


@door("input", labels="target", smoothing="label_smoothing", class_weight="weight")
def cross_entropy(input, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    """Softmax cross entropy.

    A row costs -Σ_i w_i t_i log p_i with t_i = y_i (1 - s) + s/C: class weights multiply the smoothed
    labels.  With classes as target the mean is Σ ℓ / Σ w_y over the rows that count, without the
    smoothing's part of the weights; with probabilities it is Σ ℓ / n.

    Parameters
    ----------
    input : array_like
        Logits, of shape (C,), (N, C) or (N, C, d1, …): classes on axis 1.
    target : array_like
        Classes, in the shape of the input without its classes, or probabilities, in its shape.
    weight : array_like, optional
        One for each class, shape (C,).
    ignore_index : int
        Rows of this class cost nothing and do not count.
    reduction : {"mean", "sum", "none"}
    label_smoothing : float
        s in [0, 1).

    Raises
    ------
    ValueError
        For illegal targets, weights, smoothing or reduction, and shapes that do not match.

    Examples
    --------
    >>> cross_entropy([[2.0, 0.0], [0.0, 0.0]], [0, 1], weight=[1.0, 3.0]).round(8)
    np.float64(0.55159239)
    """
    z, y = wide(input), np.asarray(target)
    axis = min(1, z.ndim - 1)
    soft = y.shape == z.shape
    counts = np.True_ if soft else y != ignore_index
    labels = np.moveaxis(y, axis, -1) if soft else np.where(counts, y, 0)
    loss = losses.LabelSmoothing(losses.CrossEntropy(weight), label_smoothing)
    values, slopes = value_and_gradient(loss, np.moveaxis(z, axis, -1), labels, normalized=False)
    values, slopes = weighted(values, slopes, counts)
    divisor = None
    if not soft:
        divisor = np.sum(counts if weight is None else counts * np.asarray(weight)[np.nan_to_num(labels).astype(int)])
    return reduced(values, np.moveaxis(slopes, -1, axis), reduction, divisor)


@door("input", labels="target")
def binary_cross_entropy_with_logits(input, target, weight=None, reduction="mean", pos_weight=None):
    """Sigmoid cross entropy, ℓ = -v (w y log p + (1 - y) log(1 - p)).

    The mean divides by the number of elements, whatever the weights.

    Parameters
    ----------
    input, target : array_like
        Logits, and numbers in [0, 1] of the same shape.
    weight : array_like, optional
        v, broadcast to the input.
    reduction : {"mean", "sum", "none"}
    pos_weight : array_like, optional
        w, broadcast to the input: one for all, or one for each of the last axis.

    Raises
    ------
    ValueError
        For illegal targets, weights or reduction, and shapes that do not match.

    Examples
    --------
    >>> binary_cross_entropy_with_logits([0.0, 2.0], [0.0, 1.0], pos_weight=[1.0, 3.0], reduction="none")
    array([0.69314718, 0.38078403])
    """
    z, y = wide(input), np.asarray(target)
    if pos_weight is None or np.ndim(pos_weight) == 0:
        values, slopes = value_and_gradient(losses.BinaryCrossEntropy(1.0 if pos_weight is None else pos_weight), z, y)
    else:
        values, slopes = value_and_gradient(losses.BinaryCrossEntropy(), z, y)  # and the targets are legal
        pos_weight = np.broadcast_to(pos_weight, z.shape)
        for w in np.unique(pos_weight):
            here = pos_weight == w
            values[here], slopes[here] = value_and_gradient(losses.BinaryCrossEntropy(w), z[here], y[here])
    return reduced(*weighted(values, slopes, 1.0 if weight is None else weight), reduction)


@door("inputs", labels="targets")
def sigmoid_focal_loss(inputs, targets, alpha=0.25, gamma=2, reduction="none"):
    """Sigmoid focal loss of torchvision.ops, ℓ = -a (1 - p_t)^γ (y log p + (1 - y) log(1 - p)).

    p_t = y p + (1 - y)(1 - p) and a = α y + (1 - α)(1 - y), or 1 for a negative α.  The mean divides
    by the number of elements, not by that of the positive ones, as Lin et al. do.

    Parameters
    ----------
    inputs, targets : array_like
        Logits, and numbers in [0, 1] of the same shape.
    alpha : float
        Weight of y = 1, in [0, 1], or negative.
    gamma : float
        γ >= 0.
    reduction : {"none", "mean", "sum"}

    Raises
    ------
    ValueError
        For illegal targets, α, γ or reduction, and shapes that do not match.

    Examples
    --------
    >>> sigmoid_focal_loss([2.0, -1.0], [1.0, 0.0])
    array([0.00045089, 0.01699354])
    """
    values, slopes = value_and_gradient(losses.BinaryFocal(gamma, None if alpha < 0 else alpha), wide(inputs), targets)
    return reduced(values, slopes, reduction)
