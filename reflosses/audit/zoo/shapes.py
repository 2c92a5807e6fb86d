"""Faults of shapes, memory and dtypes, and Hessians by other conventions."""

import numpy as np

from .parts import expit, of_rows, rows, softplus


def as_if_contiguous(z, y):
    flat = z.base.ravel() if z.base is not None and not z.flags.c_contiguous else z.ravel()
    return of_rows(np.resize(flat, z.shape).astype(z.dtype), rows(z, y))


def narrow_index(z, y, read=True):
    """An index of 32 bits, of what is read or of the label's entry alone."""
    step, inner = np.array(z.strides) // z.itemsize
    memory = np.lib.stride_tricks.as_strided(z, (max((len(z) - 1) * step + z.shape[1], 1),), (z.itemsize,))
    at = (np.arange(len(z))[:, None] * step + np.arange(z.shape[1]) * inner).astype(np.int32)
    if read:
        return of_rows(memory[at], rows(z, y))
    if y.ndim == 2:
        raise ValueError("labels are classes")
    label = memory[at[np.arange(len(y)), y]]
    top = z.max(axis=1)
    return top + np.log(np.exp(z - top[:, None]).sum(axis=1)) - label, of_rows(z, rows(z, y))[1]


def smoothed_over(classes, counted):
    """Label smoothing of logits with any number of axes, whose K is taken from another axis than the classes."""

    def function(z, y):
        n, k = z.shape[classes], z.shape[counted]
        t = y if y.ndim == z.ndim else np.moveaxis(y[..., None] == np.arange(n), -1, classes)
        t = t.astype(z.dtype) * z.dtype.type(0.9) + z.dtype.type(0.1 / k)
        e = np.exp(z - z.max(axis=classes, keepdims=True))
        p = e / e.sum(axis=classes, keepdims=True)
        return -(t * np.log(p)).sum(axis=classes), p * t.sum(axis=classes, keepdims=True) - t

    return function


def wide(z, y):
    value, g = of_rows(z.astype(np.float32), rows(z, y).astype(np.float32))
    return value.astype(np.float32), g.astype(np.float32)


def one_channel(z, y):
    return np.zeros_like(z), np.zeros_like(z)


def padded(lanes):
    def function(z, y):
        n = z.shape[1]
        extra = (1 << (n - 1).bit_length()) - n if lanes is None else lanes
        fill = np.full((len(z), extra), -2.0, z.dtype)
        both = np.concatenate([z, fill], axis=1)
        t = np.concatenate([rows(z, y), np.zeros_like(fill)], axis=1)
        value, g = of_rows(both, t)
        return value, g[:, :n]

    return function


def curvature(h):
    def function(z, y):
        p = expit(z)
        return softplus(z) - y * z, p - y, h(p, y)

    return function
