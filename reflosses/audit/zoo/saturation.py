"""Faults that show where p is next to 0 or 1, and branches that fail."""

import numpy as np

from .parts import expit, log_softmax, of_rows, rows, softmax, softplus


def minus_one(z, y):
    t = rows(z, y)
    return of_rows(z, t)[0], softmax(z) - t


def log_of_softmax(z, y):
    t = rows(z, y)
    with np.errstate(all="ignore"):
        return -np.sum(np.where(t == 0, 0, t * np.log(softmax(z))), axis=1), softmax(z) - t


def zero_times_infinity(z, y):
    with np.errstate(all="ignore"):
        return -np.sum(rows(z, y) * log_softmax(z), axis=1), softmax(z) - rows(z, y)


def through_half(z, y):
    t = rows(z, y)
    p = softmax(z)
    short = p.astype(np.float32).view(np.uint32) & 0xFFFF0000
    return of_rows(z, t)[0], short.astype(np.uint32).view(np.float32).astype(z.dtype) - t


def no_shift(z, y):
    with np.errstate(all="ignore"):
        value = 20 * y * np.log(1 + np.exp(-z)) + (1 - y) * (z + np.log(1 + np.exp(-z)))
    return value, (1 - y) * expit(z) - 20 * y * expit(-z)


def tempered_branches(z, y, t1=0.5, t2=1.0):
    """The bi-tempered loss, one of whose branches uses a name that only the others have set."""
    t = rows(z, y)
    if t2 != 1:
        shift = z.max(axis=1, keepdims=True)
    p = np.exp(z - shift) / np.exp(z - shift).sum(axis=1, keepdims=True)
    return ((t - t * p ** (1 - t1)) / (1 - t1) - (t - p ** (2 - t1)) / (2 - t1)).sum(axis=1)


def epsilon_in_gradient(z, y):
    p = expit(z)
    return softplus(z) - y * z, (p - y) / np.maximum(p * (1 - p), 1e-12) * p * (1 - p)


def clips(epsilon):
    def function(z, y):
        with np.errstate(all="ignore"):
            p = np.clip(expit(z), z.dtype.type(epsilon), z.dtype.type(1 - epsilon))
            return -y * np.log(p) - (1 - y) * np.log(1 - p), p - y

    return function


def half_tiny(z, y):
    with np.errstate(all="ignore"):
        p = expit(z).astype(np.float16).astype(z.dtype)
        tiny = np.float16(np.finfo(np.float32).tiny).astype(z.dtype)
        return -y * np.log(np.maximum(p, tiny)) - (1 - y) * np.log(np.maximum(1 - p, tiny)), p - y


def loses_normaliser(z, y):
    top = z.max(axis=1, keepdims=True)
    lse = top + np.log(np.exp(z - top).sum(axis=1, keepdims=True))
    t = rows(z, y)
    return np.sum(np.where(t == 0, 0, t * (lse - z)), axis=1), np.exp(z - lse) * t.sum(axis=1, keepdims=True) - t


def masks_first(z, y):
    t = rows(z, y)
    shown = np.where(np.isfinite(z), z, 0)
    return of_rows(shown, t)
