"""The one place where cases are made: losses at their settings, dtypes, inputs, and what to call."""

from functools import partial
from itertools import product
from typing import NamedTuple

import ml_dtypes
import numpy as np

import reflosses
from reflosses.domain import REAL, Targets, classes_of, parameters, predictions
from reflosses.losses import LOSSES
from reflosses.testing.strategies import CLASSES, within
from reflosses.transfer import predicted

DTYPES = np.float64, np.float32, np.float16, ml_dtypes.bfloat16
ALL = [loss(*setting) for loss in LOSSES for setting in loss.settings]  # every loss at every setting
USUAL = [loss() for loss in LOSSES]  # every loss at its defaults


def corners(loss_class):
    """Return a loss class at all combinations of the ends of its parameters' domains."""
    domains = {parameter.name: parameter for parameter in parameters(loss_class)}
    choices = []
    for name in loss_class._fields:
        if name not in domains:
            choices.append([corner for inner in within(loss_class, name) for corner in corners(inner)])
            continue
        _, interval, optional, per_class = domains[name]
        ends = [x for x in interval[:2] if x in interval]
        ends = [(x, 1.0, x) for x in ends] if per_class else ends
        choices.append([*ends, None] if optional else ends)
    return [loss_class(*fields) for fields in product(*choices)]


class Case(NamedTuple):
    """A loss and the dtype of its logits."""

    loss: tuple
    dtype: type

    def __str__(self):
        return f"{self.loss}-{np.dtype(self.dtype).name}"


# float16 and bfloat16 run float32's code
CASES = [Case(loss, dtype) for dtype in DTYPES for loss in (ALL if np.dtype(dtype).itemsize > 2 else USUAL)]


def flat(loss):
    """Return the real parameters of a loss in order, those of losses within it in place."""
    return [x for field in loss if field is not None for x in (flat(field) if hasattr(field, "__len__") else [field])]


def rebuilt(loss, numbers):
    """Return the loss, or the row of class weights, with its real parameters from an iterator."""
    fields = [rebuilt(x, numbers) if hasattr(x, "__len__") else x if x is None else next(numbers) for x in loss]
    return type(loss)(*fields) if hasattr(loss, "_fields") else tuple(fields)


# Inputs ---------------------------------------------------------------------------------------


def sample(loss, rows=4, kind=0, dtype=np.float64, scale=3.0, seed=0):
    """Return random logits, or the probabilities that they have, and labels: rows of them, or single ones.

    ``kind`` 0 means classes, or 0 and 1; ``kind`` 1 probabilities, where the loss takes them.
    """
    random = np.random.default_rng(seed)
    n = classes_of(loss, CLASSES)
    logits = (scale * random.standard_normal((rows, n) if loss.targets.rows else rows)).astype(dtype)
    logits = predicted(loss, logits)
    if loss.targets.rows:
        return logits, random.dirichlet(np.ones(n), rows) if kind else random.integers(0, n, rows)
    return logits, random.random(rows) if kind else random.integers(0, 2, rows).astype(np.float64)


def kinds(loss):
    """Return the kinds of labels that a loss takes, for ``sample``."""
    return (0,) if loss.targets is Targets.BINARY else (0, 1)


def each_kind(losses):
    """Return (loss, kind) for every kind of labels of every loss."""
    return [(loss, kind) for loss in losses for kind in kinds(loss)]


def layouts(x):
    """Yield (name, an array equal to x that lies differently in memory)."""
    yield "big-endian", x.astype(x.dtype.newbyteorder(">"))
    yield "Fortran", np.asfortranarray(x)
    yield "strided", np.repeat(x, 2, axis=0)[::2]
    yield "last axis strided", np.repeat(x, 3, axis=-1)[..., ::3]
    yield "backwards", np.ascontiguousarray(x[::-1])[::-1]
    yield "last axis backwards", np.ascontiguousarray(x[..., ::-1])[..., ::-1]
    unaligned = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    unaligned[...] = x
    yield "unaligned", unaligned
    read_only = x.copy()
    read_only.flags.writeable = False
    yield "read-only", read_only


# Verbs ----------------------------------------------------------------------------------------


def weights_like(logits):
    """Return numbers of both signs in the shape of the logits, none of them a power of 2."""
    return np.linspace(-1.3, 1.9, np.size(logits)).reshape(np.shape(logits)) + 0.05


def hessian_vector_product(loss, logits, labels, **options):
    """The verb, at a vector made for the logits."""
    return reflosses.hessian_vector_product(loss, logits, labels, weights_like(logits), **options)


label_gradient = partial(reflosses.gradient, wrt="labels")
VERBS = {  # one result each, under the oracle's names
    "value": reflosses.value,
    "gradient": reflosses.gradient,
    "hessian_diagonal": reflosses.hessian_diagonal,
    "hessian": reflosses.hessian,
    "hessian_vector_product": hessian_vector_product,
    "label_gradient": label_gradient,
    "parameter_gradient": reflosses.parameter_gradient,
}
PAIRS = {
    "value_and_gradient": reflosses.value_and_gradient,
    "value_and_label_gradient": partial(reflosses.value_and_gradient, wrt="labels"),
    "gradient_and_hessian_diagonal": reflosses.gradient_and_hessian_diagonal,
}
ALL_VERBS = VERBS | PAIRS
# verbs that run code of their own; test_identities shows that the others are parts of them, to the bit
OWN = "value_and_gradient", *(verb for verb in VERBS if verb not in ("value", "gradient"))


def arrays(result):
    """Return all arrays of a result, which may be a tuple or a loss, absent ones left out."""
    if isinstance(result, tuple):
        return [array for part in result for array in arrays(part)]
    return [] if result is None else [np.asarray(result)]


def bits(result):
    """Return a result as bytes: equal only if every bit is."""
    return [(array.shape, array.dtype.name, array.tobytes()) for array in arrays(result)]


def same(result, expected):
    """Whether two results have equal numbers, nan counted as equal to nan, in equal shapes and dtypes."""
    pairs = zip(arrays(result), arrays(expected), strict=True)
    return all(a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b, equal_nan=True) for a, b in pairs)


def paste(loss, logits, labels, verb="value"):
    """Return a line that repeats a call when pasted into Python."""
    call = {"label_gradient": "gradient", "value_and_label_gradient": "value_and_gradient"}.get(verb, verb)
    more = ', wrt="labels"' if call != verb else ""
    more = f", {_line(weights_like(logits))}" if "vector" in verb else more
    return (
        "import ml_dtypes; from numpy import *; from reflosses import *; "
        f"{call}({loss!r}, {_line(logits)}, {_line(labels)}{more})"
    )


def _line(x):
    x = np.asarray(x)
    return f'array({x.tolist()}, "{x.dtype.name}")'


# Predictions ----------------------------------------------------------------------------------


def holes(loss):
    """Return the predictions of a loss that are no ordinary numbers: infinite logits, or certain probabilities."""
    return (np.inf, -np.inf) if takes_logits(loss) else (0.0, 1.0)


def takes_logits(loss):
    """Whether a loss is one of logits, not of probabilities."""
    return predictions(loss) == REAL
