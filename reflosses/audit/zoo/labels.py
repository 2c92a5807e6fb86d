"""Faults of labels, of their smoothing, and of upstream derivatives."""

import numpy as np

from .parts import expit, of_rows, rows, softmax, softplus


def first_upstream(z, y, upstream=1.0):
    value, g = of_rows(z, rows(z, y))
    return value, g * np.ravel(upstream)[0]


def no_rows_upstream(z, y, upstream=1.0):
    value, g = of_rows(z, rows(z, y))
    return value, g * np.asarray(upstream).flat[0]


def zero_gradient(z, y):
    value, g = of_rows(z, rows(z, y))
    return value, g * 0


def smoothing_of(mass):
    """Return cross entropy of labels that a function of (one-hot rows, C, s) makes."""
    return lambda z, y: of_rows(z, mass(rows(z, y), z.shape[1], z.dtype.type(0.1)))


def off_target(y, n, s):
    return np.where(y > 0, (1 - s) * y, (1 - s) / n)


def wraps(z, y):
    t = np.zeros_like(z)
    t[np.arange(len(y)), y] = 1
    return of_rows(z, t)


def counts_from_one(z, y):
    return of_rows(z, rows(z, (y - 1) % z.shape[1]) if y.ndim == 1 else np.roll(y, -1, axis=1))


def unnormalised(z, y):
    value, _ = of_rows(z, rows(z, y))
    return value, softmax(z) - rows(z, y)


def halved_in_place(z, y):
    if y.ndim == 1:
        y = rows(z, y)
    y += 0.1
    y /= 2
    return of_rows(z, y)


def unsigned(z, y):
    value = np.maximum(z, 0) * (1 - y) + np.maximum(-z, 0) * y + np.log1p(np.exp(-np.abs(z)))
    return value, (1 - y) * expit(z) + -y * expit(-z)  # the minus belongs to y, which may be unsigned


def any_shape(z, y):
    return softplus(z) - y * z, expit(z) - y
