"""What the doors share: one formula for value and gradient, legal arguments, reductions.

Formulas compute in float64.  The door rounds once, to the dtype of the predictions, and makes the
errors of the library's verbs speak of the published argument names.
"""

import functools
import inspect
import re

import numpy as np

from ..api import prepare
from ..arrays import WIDE, as_logits, rounded
from ..labels import as_labels, as_weights
from ..losses import BinaryCrossEntropy, CrossEntropy


def door(prediction, **names):
    """Make a published function, with its ``gradient``, of a formula that returns both.

    Parameters
    ----------
    prediction : str
        The argument whose dtype the results have, and in which the gradient is taken.
    **names : str
        What the published function calls the ``labels``, ``smoothing``, … of the library.
    """
    names = {"logits": prediction, **names}
    words = re.compile(rf"(?:\b[A-Z]\w+\.)?\b({'|'.join(names)})\b")

    def decorate(formula):
        signature = inspect.signature(formula)

        def answer(which, arguments, named):
            given = signature.bind(*arguments, **named).arguments[prediction]
            try:
                _, dtype = as_logits(given, rows=False)
                # infinite and undefined results are answers here, not accidents
                with np.errstate(all="ignore"):
                    result = np.asarray(formula(*arguments, **named)[which], WIDE)
            except (TypeError, ValueError) as error:
                error.args = (words.sub(lambda found: names[found[1]], str(error)),)
                raise
            return rounded(result, dtype)[()]

        @functools.wraps(formula)
        def call(*arguments, **named):
            return answer(0, arguments, named)

        @functools.wraps(formula)
        def gradient(*arguments, **named):
            return answer(1, arguments, named)

        call.gradient, call.formula = gradient, formula
        return call

    return decorate


# ---- arguments ----------------------------------------------------------------------------


def wide(x):
    """Return predictions as a float64 array."""
    return np.asarray(x).astype(WIDE)


def legal(interval, **parameters):
    """Refuse parameters outside an interval."""
    for name, x in parameters.items():
        if not all(entry in interval for entry in np.ravel(x).tolist()):
            raise ValueError(f"{name} must lie in {interval}, got {x!r}")


def one_of(choices, **parameters):
    """Refuse parameters that are none of the choices."""
    for name, x in parameters.items():
        if x not in choices:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {x!r}")


def as_rows(labels, z):
    """Return classes or probabilities, checked, as one row of probabilities for each row of z."""
    y, _, absent = as_labels(labels, as_logits(z, rows=True)[0], prepare(CrossEntropy()), normalized=False)
    if y.ndim == 1:
        classes, y = y, np.zeros((y.size, z.shape[-1]))
        y[np.arange(classes.size), classes] = 1
        y[slice(0) if absent is None else absent] = np.nan
    return y.reshape(z.shape)


def as_points(labels, z):
    """Return numbers in [0, 1], checked, in the shape of z."""
    return as_labels(labels, z, prepare(BinaryCrossEntropy()), normalized=True)[0].reshape(z.shape)


def mass_times(mass, x):
    """Return mass · x; no mass makes nothing of an infinite x."""
    return np.where(mass == 0, 0.0, mass * x)


# ---- reductions ---------------------------------------------------------------------------


def weighted(values, slopes, weight, axis=-1):
    """Multiply values and slopes, which may have one axis more, by weights; weight 0 is absence."""
    weight = as_weights(weight, "weight", values.shape).reshape(values.shape)
    wider = weight if slopes.ndim == values.ndim else np.expand_dims(weight, axis)
    return mass_times(weight, values), mass_times(wider, slopes)


def reduced(values, slopes, reduction, divisor=None):
    """Return (value, gradient) of "none", "sum" or "mean": the sum by the divisor, or the number of values."""
    one_of(("none", "sum", "mean"), reduction=reduction)
    if reduction == "none":
        return values, slopes
    if reduction == "sum":
        return values.sum(), slopes
    share = 1.0 / np.float64(values.size if divisor is None else divisor)
    return (values.sum() * share if values.size else np.nan), mass_times(slopes, share)
