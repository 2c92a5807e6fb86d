"""Why digits are lost at saturation: naive arithmetic leaves traces by which it is known.

A difference from 1 is a multiple of the last bit of 1; an overflowed exponential gives nan or
infinity; a flushed or rounded probability gives 0 or infinity where the truth is neither.
"""

import ml_dtypes
import numpy as np

from ..domain import REAL, predictions
from ..oracle import certify
from ..spelling import spelled
from .findings import Finding
from .scatter import log_odds

MOST = 0.8  # of the results that are off and show no surer trace: fewer are differences from 1 by accident
GIT = "https://github.com/"
NAMES = {"value": "the value", "gradient": "the gradient", "hessian_diagonal": "the Hessian"}


def saturated(outcomes, loss):
    """Return a finding for every known trace that the lost digits of a verb show, or one without a trace."""
    found = []
    for verb in NAMES:
        mine = [x for x in outcomes if x.verb == verb and x.unstable.any()]
        if mine:
            found += _traced(mine, verb, loss)
    return found


def _traced(outcomes, verb, loss):
    left = [x.unstable.copy() for x in outcomes]
    total, found = sum(int(x.sum()) for x in left), []
    for trace, sure, name, phrase, link in TRACES[verb == "value"]:
        hits = [mask & _shows(trace, x) for x, mask in zip(outcomes, left, strict=True)]
        count, rest = (sum(int(x.sum()) for x in masks) for masks in (hits, left))
        if count == 0 or not (sure or count >= MOST * rest):
            continue
        found.append(_finding(outcomes, hits, verb, loss, name, phrase, link, count / total))
        left = [mask & ~hit for mask, hit in zip(left, hits, strict=True)]
    if not found:
        found.append(_finding(outcomes, left, verb, loss, "digits-lost", "lost digits", None, 1.0))
    return found


def _shows(trace, outcome):
    with np.errstate(invalid="ignore", over="ignore"):
        return trace(outcome.computed.astype(np.float64), outcome)


def _finding(outcomes, hits, verb, loss, name, phrase, link, share):
    worst, mask = max(zip(outcomes, hits, strict=True), key=lambda pair: np.where(pair[1], pair[0].ulps, -1).max())
    example = worst.at(np.unravel_index(np.argmax(np.where(mask, worst.ulps, -1)), worst.ulps.shape))
    thread = f", as in {link}" if link else ""
    percent = f"{100 * share:.0f} %" if share >= 0.01 else "less than 1 %"
    said = f"{NAMES[verb]} of {spelled(loss)} shows {phrase} on {percent} of the results that are off{thread}"
    return Finding("accuracy", name, said, link, share, example=example)


def _infinite(x, outcome):
    return np.isinf(x) & np.isfinite(outcome.truth)


def _undefined(x, outcome):
    return np.isnan(x)


def _zero(x, outcome):
    return (x == 0) & (outcome.truth != 0)


def _quantum(x, outcome):
    """Whether results are 0 or multiples of half the last bit of 1, as differences from 1 are."""
    unit = float(ml_dtypes.finfo(outcome.computed.dtype).eps)
    steps = x / (unit / 4)
    return np.isfinite(x) & (np.abs(x) < 1) & (steps == np.round(steps))


def _floored(x, outcome):
    """Whether derivatives are the right ones times p (1 - p)/ε, as if that were divided by no less than ε."""
    if predictions(outcome.batch.loss) != REAL:
        return np.zeros(x.shape, bool)
    odds = np.reshape(log_odds(outcome.batch, outcome.verb), x.shape)
    log_spread = -np.abs(odds) - 2 * np.log1p(np.exp(-np.abs(odds)))
    off = outcome.unstable & (x * outcome.truth > 0) & (np.abs(x) < 0.5 * np.abs(outcome.truth))
    if not off.any():
        return off
    log_epsilon = np.where(off, log_spread + np.log(np.where(off, outcome.truth / np.where(off, x, 1), 1)), np.inf)
    some = log_epsilon[off]
    level = some[(np.abs(some[:, None] - some) < 0.01).sum(axis=0).argmax()]  # where most of them agree
    shown = off & (np.abs(log_epsilon - level) < 0.01)
    return shown & (len(np.unique(np.round(log_spread[shown]))) >= 3)


def _unmasked(x, outcome):
    """Whether results are those of rows whose -inf is 0."""
    z, y, loss = outcome.batch.logits, outcome.batch.labels, outcome.batch.loss
    shown = np.zeros(x.shape, bool)
    if z.ndim == 1 or predictions(loss) != REAL:
        return shown
    for i in np.flatnonzero(np.isneginf(z).any(axis=1)):  # by the oracle: nothing is compiled for a few rows
        expected = certify(loss, np.where(np.isneginf(z[i]), 0, z[i]), y[i], outcome.verb)
        expected = np.reshape([float(ball.mid()) for ball in expected], x[i].shape)
        shown[i] = np.isclose(x[i], expected, rtol=1e-3, atol=1e-30)
    return shown


UNMASKED = (
    _unmasked,
    True,
    "mask-as-zero",
    "logits of 0 in the place of the mask's -inf",
    GIT + "google-deepmind/optax/issues/1335",
)
TRACES = {  # of values, and of derivatives: what is seen, whether one result is proof enough, name, phrase, thread
    True: (
        UNMASKED,
        (
            _undefined,
            True,
            "nan-at-saturation",
            "nan: an exponential overflows, or 0 times infinity",
            GIT + "pytorch/pytorch/issues/13773",
        ),
        (
            _infinite,
            True,
            "log-of-zero",
            "the logarithm of a probability that was rounded to 0",
            GIT + "onnx/onnx/issues/3525",
        ),
        (
            _zero,
            True,
            "log-of-one",
            "the logarithm of a probability that was rounded to 1",
            GIT + "ml-explore/mlx/pull/4169",
        ),
        (
            _quantum,
            False,
            "difference-of-large",
            "a difference of numbers that are nearly equal",
            GIT + "ml-explore/mlx/pull/4169",
        ),
    ),
    False: (
        UNMASKED,
        (
            _undefined,
            True,
            "nan-at-saturation",
            "nan: 0 times infinity in a derivative",
            GIT + "tensorflow/tensorflow/issues/70326",
        ),
        (_infinite, True, "infinite-at-saturation", "an infinite derivative", None),
        (
            _floored,
            True,
            "epsilon-in-gradient",
            "a division by no less than an epsilon, in the derivative alone,",
            GIT + "pytorch/pytorch/issues/103316",
        ),
        (
            _quantum,
            False,
            "probability-minus-one",
            "p - 1, which cancels where p is near 1",
            GIT + "pytorch/pytorch/issues/195678",
        ),
    ),
}
