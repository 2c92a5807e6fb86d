"""Google's bi-tempered logistic loss, in the number of iterations that it is given.

The published code stops the normaliser λ, for which Σ exp_t(a - λ) = 1, after ``num_iters`` rounds.
Five may leave the sum of the probabilities some percent away from 1: 1.038 for a logit 10 among 99
zeros at t = 1.5.  ``reflosses.BiTempered`` is the loss itself.

Gradients are the published custom gradient: with the truncated probabilities p and their escorts
e = p^t / Σ p^t, the derivatives that the converged λ would have, ∂λ/∂a = e.

Source: Amid, Warmuth, Anil, Koren. Robust bi-tempered logistic loss based on Bregman divergences.
2019; https://github.com/google/bi-tempered-loss.
"""

import math

import numpy as np

from .. import losses
from ..api import value
from ..arrays import as_logits
from ..domain import BELOW_ONE, NONNEGATIVE, Interval
from ..transfer import softmax
from ._door import as_points, as_rows, door, legal, mass_times, one_of, wide

__all__ = [
    "bi_tempered_binary_logistic_loss",
    "bi_tempered_logistic_loss",
    "compute_normalization",
    "exp_t",
    "log_t",
    "sparse_bi_tempered_logistic_loss",
    "tempered_sigmoid",
    "tempered_softmax",
]

REAL = Interval(-math.inf, math.inf, True, True)
POSITIVE = Interval(0.0, math.inf, True, True)


@door("u")
def log_t(u, t):
    """Return (u^(1-t) - 1)/(1 - t), elementwise; log u at t = 1.

    Examples
    --------
    >>> log_t([0.25, 1.0], 0.5)
    array([-1.,  0.])
    >>> log_t.gradient([0.25, 1.0], 0.5)
    array([2., 1.])
    """
    legal(REAL, t=t)
    u = wide(u)
    return _log_t(u, t), u**-t


@door("u")
def exp_t(u, t):
    """Return [1 + (1 - t) u]_+^(1/(1-t)), elementwise; e^u at t = 1.

    Examples
    --------
    >>> exp_t([-3.0, 0.0, 1.0], 0.5)
    array([0.  , 1.  , 2.25])
    """
    legal(REAL, t=t)
    p = _exp_t(wide(u), t)
    return p, p**t


@door("activations")
def compute_normalization(activations, t, num_iters=5):
    """Return the λ of every row, after ``num_iters`` rounds, with the classes' axis kept as 1.

    For t > 1 a fixed point: from x = a - max a, repeat x ← (a - max a) Z^(1-t) with Z = Σ exp_t(x),
    then λ = max a - log_t(1/Z).  For t < 1 bisection of λ - max a between 0 and -log_t(1/d), where
    d counts the classes with a - max a > -1/(1-t).  At t = 1, log Σ e^a.

    Parameters
    ----------
    activations : array_like
        Shape (..., C).
    t : float
        Temperature, t > 0.
    num_iters : int
        Rounds, at least 0.

    Examples
    --------
    >>> compute_normalization([[4.0, -3.0, -6.0]], 1.5)
    array([[4.08053509]])
    """
    a = _activations(activations, num_iters, t=t)
    top = a.max(axis=-1, keepdims=True)
    return top + _normalization(a, t, num_iters)[1], _escorts(_softmax(a, t, num_iters), t)


@door("activations")
def tempered_softmax(activations, t, num_iters=5):
    """Return exp_t(a - λ), shape (..., C), with λ from ``compute_normalization``.

    Examples
    --------
    >>> tempered_softmax([[4.0, -3.0, -6.0]], 4.0)
    array([[0.4136935 , 0.30534994, 0.28299214]])
    """
    a = _activations(activations, num_iters, t=t)
    p = _softmax(a, t, num_iters)
    return p, p**t - _escorts(p, t) * np.sum(p**t, axis=-1, keepdims=True)


@door("activations")
def tempered_sigmoid(activations, t, num_iters=5):
    """Return the second probability of the activations [0, a], for activations of any shape.

    Examples
    --------
    >>> tempered_sigmoid([0.0, 3.0, 6.0], 4.0)
    array([0.5       , 0.58516019, 0.6421035 ])
    """
    p = _softmax(_pairs(_activations(activations, num_iters, rows=False, t=t)), t, num_iters)
    return p[..., 1], p[..., 1] ** t * _escorts(p, t)[..., 0]


@door("activations")
def bi_tempered_logistic_loss(activations, labels, t1, t2, label_smoothing=0.0, num_iters=5, *, variant="jax"):
    """Bi-tempered logistic loss, for labels that are probabilities.

    A row costs Σ_i y_i (log_t1(y_i + 1e-10) - log_t1 p_i) - (y_i^(2-t1) - p_i^(2-t1))/(2 - t1) with
    p = tempered_softmax(a, t2).  Its gradient is δ - e Σ δ, δ = (p - y) p^(t2-t1), e = p^t2 / Σ p^t2.

    Parameters
    ----------
    activations, labels : array_like
        Shape (..., C); labels may be classes, too, of shape (...).
    t1, t2 : float
        Temperatures, t1 >= 0 (below 1 the loss is bounded) and t2 > 0 (above 1 its tail is heavy).
    label_smoothing : float
        s in [0, 1): labels become y (1 - sC/(C-1)) + s/(C-1), so that the true class keeps 1 - s.
    num_iters : int
        Rounds of the normaliser.
    variant : {"jax", "tensorflow"}
        What t1 = t2 = 1 means: the JAX code gives Σ y (log(y + 1e-15) - log p), the TensorFlow code
        -Σ y log p, without the labels' entropy.

    Raises
    ------
    ValueError
        For labels outside [0, 1], temperatures and smoothing out of their domain, one class with
        smoothing, and shapes that do not match.

    Examples
    --------
    >>> bi_tempered_logistic_loss([[-0.5, 0.1, 2.0]], [[0.2, 0.5, 0.3]], 0.8, 1.2)
    array([0.34298315])
    """
    one_of(("jax", "tensorflow"), variant=variant)
    legal(BELOW_ONE, label_smoothing=label_smoothing)
    a = _activations(activations, num_iters, t2=t2)
    y = as_rows(labels, a)
    classes = a.shape[-1]
    if label_smoothing:
        if classes < 2:
            raise ValueError(f"label_smoothing needs two classes, got activations of shape {a.shape}")
        y = y * (1 - label_smoothing * classes / (classes - 1)) + label_smoothing / (classes - 1)
    values, slopes = _bi_tempered(a, y, t1, t2, num_iters, 1e-10)
    if t1 == t2 == 1:
        entropy = mass_times(y, np.log(y + 1e-15)).sum(axis=-1) if variant == "jax" else 0.0
        values = value(losses.CrossEntropy(), a, y, normalized=False) + entropy
    return values, slopes


@door("activations")
def bi_tempered_binary_logistic_loss(activations, labels, t1, t2, label_smoothing=0.0, num_iters=5, *, variant="jax"):
    """Bi-tempered logistic loss of the activations [0, a] and the labels [1 - y, y], elementwise.

    Parameters
    ----------
    activations, labels : array_like
        Any shape, and numbers in [0, 1] of that shape.
    t1, t2, label_smoothing, num_iters, variant
        As in ``bi_tempered_logistic_loss``; smoothing makes y (1 - 2s) + s of y.

    Examples
    --------
    >>> bi_tempered_binary_logistic_loss([0.0], [1.0], 1.0, 1.0)
    array([0.69314718])
    """
    a = _activations(activations, num_iters, rows=False, t2=t2)
    y = as_points(labels, a)
    values, slopes = bi_tempered_logistic_loss.formula(
        _pairs(a), np.stack([1 - y, y], axis=-1), t1, t2, label_smoothing, num_iters, variant=variant
    )
    return values, slopes[..., 1]


@door("activations")
def sparse_bi_tempered_logistic_loss(activations, labels, t1, t2, num_iters=5):
    """Bi-tempered logistic loss for integer classes, without the 1e-10 in the logarithm.

    A row costs -log_t1 p_y - (1 - Σ_i p_i^(2-t1))/(2 - t1).

    Parameters
    ----------
    activations : array_like
        Shape (..., C).
    labels : array_like
        Classes, shape (...).
    t1, t2, num_iters
        As in ``bi_tempered_logistic_loss``.

    Examples
    --------
    >>> sparse_bi_tempered_logistic_loss([[-0.5, 0.1, 2.0]], [2], 0.5, 1.5)
    array([0.18155909])
    """
    a = _activations(activations, num_iters, t2=t2)
    if np.shape(labels) != a.shape[:-1]:
        raise ValueError(f"labels of shape {np.shape(labels)} do not fit activations of shape {a.shape}")
    return _bi_tempered(a, as_rows(labels, a), t1, t2, num_iters, 0.0)


def _activations(activations, num_iters, rows=True, **temperature):
    """Return activations in float64, once temperature and rounds are legal."""
    legal(POSITIVE, **temperature)
    if not (num_iters >= 0 and num_iters == num_iters // 1):
        raise ValueError(f"num_iters must be an integer in [0, ∞), got {num_iters!r}")
    return as_logits(wide(activations), rows)[0]


def _pairs(a):
    return np.stack([np.zeros_like(a), a], axis=-1)


def _log_t(u, t):
    log_u = np.log(u)
    return log_u if t == 1 else np.expm1((1 - t) * log_u) / (1 - t)


def _exp_t(u, t):
    return np.exp(u) if t == 1 else np.exp(np.log1p(np.maximum((1 - t) * u, -1)) / (1 - t))


def _normalization(a, t, num_iters):
    """Return a - max a, and λ - max a."""
    alone = (a == np.inf) & (np.sum(a == np.inf, axis=-1, keepdims=True) == 1)
    x = np.where(alone, 0.0, a - a.max(axis=-1, keepdims=True))  # one infinite activation has the limit

    def total(u):
        return _exp_t(u, t).sum(axis=-1, keepdims=True)

    if t == 1:
        return x, np.log(total(x))
    if t > 1:
        shrunk = x
        for _ in range(int(num_iters)):
            shrunk = x * total(shrunk) ** (1 - t)
        return x, -_log_t(1 / total(shrunk), t)
    low, high = 0.0, -_log_t(1 / np.sum(x > -1 / (1 - t), axis=-1, keepdims=True), t)
    for _ in range(int(num_iters)):
        middle = (low + high) / 2
        enough = total(x - middle) >= 1
        low, high = np.where(enough, middle, low), np.where(enough, high, middle)
    return x, (low + high) / 2


def _softmax(a, t, num_iters):
    x, shift = _normalization(a, t, num_iters)
    return softmax(a) if t == 1 else _exp_t(x - shift, t)


def _escorts(p, t):
    return p**t / np.sum(p**t, axis=-1, keepdims=True)


def _bi_tempered(a, y, t1, t2, num_iters, offset):
    """Return (values, gradient) of rows; (y^(2-t1) - 1)/(2 - t1) is log_(t1-1) y, at t1 = 2 too."""
    legal(NONNEGATIVE, t1=t1)
    p = _softmax(a, t2, num_iters)
    gap = mass_times(y, _log_t(y + offset, t1) - _log_t(p, t1)) - (_log_t(y, t1 - 1) - _log_t(p, t1 - 1))
    delta = mass_times(p - y, p ** (t2 - t1))
    return gap.sum(axis=-1), delta - _escorts(p, t2) * delta.sum(axis=-1, keepdims=True)
