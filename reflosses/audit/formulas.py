"""Losses as people write them in NumPy and SciPy, and scikit-learn's: (loss, logits, labels) -> value, gradient, …"""

import numpy as np
from scipy import special

from ..losses import LabelSmoothing, OtherClassesSmoothing, SoftLabelSmoothing


def as_rows(logits, labels):
    """Return labels as rows of probabilities in the dtype of the logits."""
    if labels.ndim == logits.ndim:
        return labels
    return (labels[:, None] == np.arange(logits.shape[1])).astype(logits.dtype)


def weighted_rows(loss, logits, labels):
    """Return what multiplies -log p_i: the label, smoothed and weighted as the loss says."""
    y = smoothed(loss, as_rows(logits, labels))
    weight = class_weight(loss)
    return y if weight is None else y * np.asarray(weight, logits.dtype)


def smoothed(loss, y):
    """Return rows of labels as a loss smooths them, if it does."""
    number, n = y.dtype.type, y.shape[1]
    if isinstance(loss, LabelSmoothing):
        return y * number(1 - loss.smoothing) + number(loss.smoothing / n)
    if isinstance(loss, OtherClassesSmoothing):
        return y * number(1 - loss.smoothing * n / (n - 1)) + number(loss.smoothing / (n - 1))
    if isinstance(loss, SoftLabelSmoothing):
        share = number(loss.smoothing) / np.count_nonzero(y, axis=1, keepdims=True).astype(y.dtype)
        return np.maximum(y - share, 0) + number(loss.smoothing / n)
    return y


def entropy_within(loss):
    """Return the cross entropy whose labels a loss smooths, or the loss itself."""
    return getattr(loss, "loss", loss)


def class_weight(loss):
    """Return the weights of the classes of a cross entropy, smoothed or not."""
    return entropy_within(loss).class_weight


def log_of_softmax(loss, z, y):
    t = weighted_rows(loss, z, y)
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return -np.sum(t * np.log(p), axis=1), p * t.sum(axis=1, keepdims=True) - t


def log_sum_exp(loss, z, y):
    t = weighted_rows(loss, z, y)
    m = z.max(axis=1, keepdims=True)
    lse = m + np.log(np.sum(np.exp(z - m), axis=1, keepdims=True))
    return np.sum(t * (lse - z), axis=1), np.exp(z - lse) * t.sum(axis=1, keepdims=True) - t


def scipy_log_softmax(loss, z, y):
    t = weighted_rows(loss, z, y)
    p = special.softmax(z, axis=1)
    return -np.sum(t * special.log_softmax(z, axis=1), axis=1), p * t.sum(axis=1, keepdims=True) - t


def log_of_expit(loss, z, y):
    w = z.dtype.type(loss.pos_weight)
    p = 1 / (1 + np.exp(-z))
    return -(w * y * np.log(p) + (1 - y) * np.log(1 - p)), (1 - y) * p - w * y * (1 - p)


def logaddexp(loss, z, y):
    return np.logaddexp(0, z) - y * z, special.expit(z) - y


def xlogy(loss, z, y):
    w, p = z.dtype.type(loss.pos_weight), special.expit(z)
    return -(w * special.xlogy(y, p) + special.xlog1py(1 - y, -p)), (1 - y) * p - w * y * (1 - p)


def log_expit(loss, z, y):
    w = z.dtype.type(loss.pos_weight)
    value = -(w * y * special.log_expit(z) + (1 - y) * special.log_expit(-z))
    return value, (1 - y) * special.expit(z) - w * y * special.expit(-z)


def balance(loss, y):
    """Return α for y = 1 and 1 - α for y = 0, or 1."""
    return y.dtype.type(1) if loss.alpha is None else np.where(y == 1, loss.alpha, 1 - loss.alpha).astype(y.dtype)


def focal_of_p(loss, z, y):
    p, gamma = 1 / (1 + np.exp(-z)), z.dtype.type(loss.gamma)
    q, a = np.where(y == 1, p, 1 - p), balance(loss, y)
    slope = a * (1 - q) ** gamma * (gamma * q * np.log(q) - (1 - q))
    return -a * (1 - q) ** gamma * np.log(q), np.where(y == 1, slope, -slope)


def focal_of_log_expit(loss, z, y):
    t, gamma = np.where(y == 1, z, -z), z.dtype.type(loss.gamma)
    s, q, c, a = special.log_expit(t), special.expit(t), special.expit(-t), balance(loss, y)
    slope = a * c**gamma * (gamma * q * s - c)
    return -a * c**gamma * s, np.where(y == 1, slope, -slope)


def categorical_focal(loss, z, y):
    y = as_rows(z, y) * (1 if loss.alpha is None else np.asarray(loss.alpha, z.dtype))
    p, s, gamma = special.softmax(z, axis=1), special.log_softmax(z, axis=1), z.dtype.type(loss.gamma)
    slope = y * (gamma * (1 - p) ** (gamma - 1) * p * s - (1 - p) ** gamma)
    return -np.sum(y * (1 - p) ** gamma * s, axis=1), slope - p * slope.sum(axis=1, keepdims=True)


def absolute_error(loss, z, y):
    p = special.softmax(z, axis=1)
    difference = p - as_rows(z, y)
    slope = np.sign(difference) * p
    return np.abs(difference).sum(axis=1), slope - p * slope.sum(axis=1, keepdims=True)


def sparse_smoothing(loss, z, y):
    n, y = z.shape[1], as_rows(z, y)
    p, given = special.softmax(z, axis=1), z.dtype.type(loss.smoothing * (n - 1) / n)
    slope = y * (given * p / (1 - p) - (1 - given))
    value = -np.sum(y * ((1 - given) * np.log(p) + given * np.log((1 - p) / (n - 1))), axis=1)
    return value, slope - p * slope.sum(axis=1, keepdims=True)


# scikit-learn -------------------------------------------------------------------------------


def half_multinomial(loss, z, y):
    from sklearn._loss import HalfMultinomialLoss

    return _with_hessian(HalfMultinomialLoss(n_classes=z.shape[1]), y.astype(z.dtype), np.ascontiguousarray(z))


def half_binomial(loss, z, y):
    from sklearn._loss import HalfBinomialLoss

    return _with_hessian(HalfBinomialLoss(), y.astype(z.dtype), z)


def _with_hessian(theirs, y, z):
    return *theirs.loss_gradient(y, z), theirs.gradient_hessian(y, z)[1]


def log_loss(loss, z, y):
    """scikit-learn's metric, which clips probabilities and has no gradient, one row at a time."""
    from sklearn.metrics import log_loss

    p = special.softmax(z, axis=1)
    classes = np.arange(z.shape[1])
    return np.array([log_loss([label], row[None], labels=classes) for label, row in zip(y, p, strict=True)]), None
