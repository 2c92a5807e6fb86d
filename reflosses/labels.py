"""Predictions, labels and weights: what is legal, found before anything is computed."""

import math

import numpy as np

from . import threads
from .arrays import WIDE, as_real, unlocked
from .domain import REAL


def as_weights(x, name, shape):
    """Return weights or upstream derivatives as one float64 for each value."""
    x = as_real(x, name)
    try:
        return unlocked(np.ascontiguousarray(np.broadcast_to(x, shape)).reshape(-1))
    except ValueError:
        raise ValueError(f"{name} of shape {x.shape} does not fit values of shape {shape}") from None


def _at(name, index, shape):
    return f"{name}[{', '.join(map(str, np.unravel_index(index, shape)))}]" if shape else name


def illegal(name, index, shape, found, legal):
    """Return the error of an entry that is not legal."""
    return ValueError(f"{_at(name, index, shape)} = {found} must be {legal}")


def unnormalized(row, shape, found):
    """Return the error of a row of labels that sums to what it should not."""
    return ValueError(
        f"{_at('labels', row, shape)} sums to {found}, not to 1; "
        "pass normalized=False for labels that are no probabilities"
    )


def _answer(check, *arguments):
    """Run a check, over all threads for large arrays: an illegal index, else -1 or -2."""
    labels = arguments[0]
    found = threads.run(lambda x: check(x, *arguments[1:]), (), (labels,), labels.size)
    if len(found) == 1 or max(found) < 0:
        return min(found)
    return check(*arguments)


def check_predictions(z, prepared):
    """Refuse predictions outside of the interval in which a loss takes them; nan passes."""
    legal = prepared.predictions
    if legal == REAL:
        return
    high = math.nextafter(legal.high, -math.inf) if legal.high_open else legal.high
    index = _answer(prepared.drivers.first_outside, z.reshape(-1), legal.low, high)
    if index >= 0:
        raise illegal("logits", index, z.shape, z.reshape(-1)[index], f"in {legal}")


def as_labels(labels, z, prepared, normalized):
    """Return checked labels for the drivers, whether all are hard, and which classes are nan (or ``None``)."""
    y = np.asarray(labels)
    if y.dtype.kind not in "biuf" and y.dtype.name != "bfloat16":
        raise TypeError(f"labels must be real numbers, got {y.dtype}")
    if prepared.rows and y.shape == z.shape[:-1]:
        y, absent = _classes(y, z.shape[-1], prepared)
        return y, True, absent
    if y.shape != z.shape:
        expected = f"{z.shape[:-1]} or {z.shape}" if prepared.rows else f"{z.shape}"
        raise ValueError(f"labels of shape {y.shape} do not fit logits of shape {z.shape}: expected {expected}")
    given = y.dtype
    exact = z.dtype if given.kind in "biu" or given.itemsize <= z.itemsize else WIDE
    y = unlocked(np.ascontiguousarray(y, dtype=exact).reshape(y.shape))
    answer = _answer(prepared.drivers.first_illegal_probability, y.reshape(-1), prepared.binary)
    if answer >= 0:
        legal = "0 or 1" if prepared.binary else "in [0, 1]"
        raise illegal("labels", answer, y.shape, y.reshape(-1)[answer], legal)
    if not prepared.rows:
        return y.reshape(-1), answer == -1, None
    y = y.reshape(-1, z.shape[-1])
    if normalized:
        tolerance = 0.0 if given.kind in "biu" else math.sqrt(precision_of(given))
        index = _answer(prepared.drivers.first_unnormalized_row, y, tolerance)
        if index >= 0:
            raise unnormalized(index, z.shape[:-1], y[index].sum(dtype=WIDE))
    return y, False, None


def precision_of(dtype, bfloat16=False):
    """Return the distance from 1 to the next number of a dtype, or of bfloat16."""
    if dtype.name == "bfloat16" or bfloat16:
        return 2.0**-7
    return float(np.finfo(dtype).eps)


def _classes(y, classes, prepared):
    """Return integer classes as int64; floats with integer values will do."""
    absent = None
    whole = y
    if y.dtype.kind not in "biu":
        given = np.asarray(y, dtype=np.float64)
        absent = np.isnan(given)
        whole = np.where(absent, 0.0, given)
        fraction = (whole != np.floor(whole)) | (np.abs(whole) > 2.0**53)
        if fraction.any():
            index = int(np.argmax(fraction))
            raise illegal("labels", index, y.shape, y.reshape(-1)[index], "an integer class")
    elif y.dtype.kind == "u" and y.size and y.dtype.itemsize == 8:
        whole = np.minimum(y, np.uint64(2**62))
    whole = unlocked(np.ascontiguousarray(whole, dtype=np.int64).reshape(-1))
    index = _answer(prepared.drivers.first_illegal_class, whole, classes)
    if index >= 0:
        raise illegal("labels", index, y.shape, y.reshape(-1)[index], f"in [0, {classes})")
    if absent is not None and absent.any():
        return whole, absent.reshape(-1)
    return whole, None
