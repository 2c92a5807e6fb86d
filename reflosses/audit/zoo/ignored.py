"""Faults of ignored rows, and of what a mean divides by."""

import numpy as np

from .parts import of_rows, reduce, rows, softmax


def ignoring(z, y, weight, index, reduction, *, which="right"):
    """Weighted cross entropy with ignored rows, with one thing wrong."""
    keep = y != index
    w = np.ones(z.shape[1], z.dtype) if weight is None else np.asarray(weight, z.dtype)
    t = rows(z, np.where(keep, y, 0)) * w
    value, g = of_rows(z, t)
    value = np.where(keep, value, 0)
    g = g if which == "gradient" else np.where(keep[:, None], g, 0)
    of_row = w[np.where((y >= 0) & (y < len(w)), y, -1)]
    divisor = {
        "numel": len(y),
        "pads": max((~keep).sum(), 1),
        "wrapped": of_row.sum(),
        "halves": keep.sum() / 2,
    }.get(which, (of_row * keep).sum())
    return reduce(value, g, reduction, divisor)


def ignored(which):
    def function(z, y, weight=None, ignore_index=-100, reduction="mean"):
        return ignoring(z, y, weight, ignore_index, reduction, which=which)

    return function


def gathers_first(z, y, ignore_index=-100, reduction="mean"):
    value, g = of_rows(z, rows(z, np.where(y == ignore_index, -1, y) % z.shape[1]))
    return reduce(value, g, reduction, (y != ignore_index).sum())


def writes_out_of_bounds(z, y, ignore_index=-100, reduction="mean"):
    keep = y != ignore_index
    value, _ = of_rows(z, rows(z, np.where(keep, y, 0)))
    g = np.where(keep[:, None], softmax(z), 0)
    flat = np.append(g.ravel(), 0)
    for i, label in enumerate(y):
        at = i * z.shape[1] + label
        if 0 <= at < len(flat):
            flat[at] -= 1
    return reduce(np.where(keep, value, 0), flat[:-1].reshape(z.shape), reduction, keep.sum())


def smooths_ignored(z, y, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    keep, n = y != ignore_index, z.shape[1]
    t = rows(z, np.where(keep, y, 0)) * keep[:, None] * (1 - label_smoothing) + label_smoothing / n
    value, g = of_rows(z, t.astype(z.dtype))
    return reduce(value, g, reduction, keep.sum())
