"""The constant that a booster starts at: the best prediction without any tree."""

import numpy as np

from .. import api
from ..domain import classes_of
from .curvature import automatic_scale
from .probabilities import refuse_non_finite

ROUNDS = 200  # Newton needs about 5; a loss that has no minimum walks away by at most WALK each
WALK = 2.0  # the longest step along an axis of the Hessian, in logits
SMALL = 1e-12  # a step that changes nothing any more


def init_score(loss, y, sample_weight=None, *, classes=None):
    """Return the constant logits with the least loss over all labels.

    For cross entropy that is the logarithm of how often classes occur.  For other losses it is not: the
    prior's logits are where focal loss is nearly flat, and a booster with its exact curvature may never
    leave them.  They are found by Newton's method on the loss's own derivatives, along the directions in
    which it curves down too (|λ| for each eigenvalue λ of the Hessian), with steps that are bounded,
    and halved until the loss falls.

    LightGBM takes the result as ``init_score`` of a Dataset, one row for every sample, and leaves it out
    again when it predicts; XGBoost takes it as ``base_score`` and keeps it in the model.

    Parameters
    ----------
    loss : NamedTuple
        A loss of logits.
    y : array_like
        Classes of shape (n,), or probabilities: of shape (n,) for single logits, (n, C) for rows.
    sample_weight : array_like, optional
        Shape (n,).
    classes : int, optional
        How many there are; otherwise the largest label tells.

    Returns
    -------
    ndarray or float
        Shape (C,), summing to 0, for a loss of rows; the logit of class 1 for one of single logits.

    Raises
    ------
    ValueError
        If labels or weights are not legal, or there is no such constant: for cross entropy where a class
        does not occur, for ``ClassificationMAE`` always.

    Examples
    --------
    >>> from reflosses import BinaryCrossEntropy, BinaryFocal
    >>> round(init_score(BinaryCrossEntropy(), [0, 0, 0, 1]), 6)
    -1.098612
    >>> round(init_score(BinaryFocal(2.0, None), [0, 0, 0, 1]), 6)
    -0.410367
    """
    labels, weights = _summary(loss, y, sample_weight, classes)
    basis = _directions(labels.shape[1] if labels.ndim == 2 else int(weights.size)) if loss.targets.rows else None
    scale = automatic_scale(loss, len(basis) if loss.targets.rows else 2) / weights.sum()
    theta = np.zeros(1 if basis is None else basis.shape[1])
    value, slope, bend = _derivatives(loss, basis, theta, labels, scale * weights)
    for _ in range(ROUNDS):
        sizes, axes = np.linalg.eigh(bend)
        along = axes.T @ slope
        sizes = np.maximum(np.maximum(np.abs(sizes), np.abs(along) / WALK), np.finfo(float).tiny)
        step = -axes @ (along / sizes)
        if np.linalg.norm(step) <= SMALL * (1.0 + np.linalg.norm(theta)):
            return float(theta[0]) if basis is None else basis @ theta
        found = _derivatives(loss, basis, theta + step, labels, scale * weights)
        while not found[0] <= value + 4 * np.finfo(float).eps * abs(value) and np.linalg.norm(step) > SMALL:
            step = step / 2
            found = _derivatives(loss, basis, theta + step, labels, scale * weights)
        theta, (value, slope, bend) = theta + step, found
    raise ValueError(
        f"{type(loss).__name__} has no optimal constant for these labels: its mean falls for ever (a class that "
        "does not occur, or a loss whose minimum is certainty); start at 0"
    )


def _summary(loss, y, sample_weight, classes):
    """Return distinct labels and the weight of each: classes are counted, probabilities stay as they are."""
    y = np.asarray(y)
    weight = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    if weight.shape != y.shape[:1]:
        raise ValueError(f"sample_weight of shape {weight.shape} does not fit labels of shape {y.shape}")
    refuse_non_finite(weight, "sample_weight")
    if (weight < 0.0).any() or not weight.sum() > 0.0:
        raise ValueError("sample_weight must not be negative, and not all 0")
    if y.ndim == 2 or (not loss.targets.rows and (y != np.floor(y)).any()):
        return y, weight
    refuse_non_finite(y, "labels")
    whole = y.astype(np.int64)
    if (whole != y).any() or (whole < 0).any():
        raise ValueError("labels must be classes 0, 1, … or rows of probabilities")
    count = classes or classes_of(loss) or max(int(whole.max()) + 1, 2)
    counts = np.bincount(whole, weights=weight, minlength=count)
    if len(counts) > count:
        raise ValueError(f"labels[{int(np.argmax(whole))}] = {whole.max()} must be in [0, {count})")
    return (np.arange(count) if loss.targets.rows else np.arange(count, dtype=np.float64)), counts


def _directions(classes):
    """Return C - 1 orthonormal directions, all orthogonal to (1, …, 1), of shape (C, C - 1)."""
    return np.linalg.qr(np.eye(classes)[:, :-1] - 1.0 / classes)[0]


def _derivatives(loss, basis, theta, labels, weights):
    """Return the weighted loss of the constant, its gradient and its Hessian, along the basis."""
    present = weights > 0.0  # what does not occur must not count, even where it would pay infinitely
    labels, weights = labels[present], weights[present]
    if basis is None:
        z = np.full(len(labels), theta[0])
        value = api.value(loss, z, labels, weight=weights, reduction="sum")
        slope, bend = api.gradient_and_hessian_diagonal(loss, z, labels, weight=weights)
        return float(value), np.array([slope.sum()]), np.array([[bend.sum()]])
    z = np.broadcast_to(basis @ theta, (len(labels), len(basis)))
    value, slope = api.value_and_gradient(loss, z, labels, weight=weights)
    along = [
        api.hessian_vector_product(loss, z, labels, np.broadcast_to(axis, z.shape), weight=weights).sum(axis=0)
        for axis in basis.T
    ]
    return float(value.sum()), basis.T @ slope.sum(axis=0), basis.T @ np.array(along).T
