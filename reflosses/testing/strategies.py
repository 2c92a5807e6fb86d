"""What Hypothesis draws: losses with legal parameters, and hard logits and labels for them."""

from functools import reduce
from operator import or_

import ml_dtypes
import numpy as np
from hypothesis import strategies as st

from ..audit.points import GAPS
from ..domain import REAL, Targets, classes_of, predictions
from ..domain import parameters as fields_of
from ..losses import LOSSES
from ..transfer import predicted

__all__ = ["inputs", "labels", "logits", "losses", "parameters"]

CLASSES = 3  # of a row, unless the loss has one number for each


def parameters(interval, high=8.0):
    """Draw a number from an interval, often one of its ends or one next to them.

    Parameters
    ----------
    interval : Interval
        As in ``reflosses.domain``: ``parameters(UNIT)``.
    high : float
        The largest number, if the interval has no upper end.

    Examples
    --------
    >>> from hypothesis import find
    >>> from reflosses.domain import UNIT
    >>> find(parameters(UNIT), lambda x: x > 0.5)
    1.0
    """
    top = min(interval.high, high)
    ends = [interval.low, top, interval.low + 1e-300, float(np.nextafter(top, -np.inf)), 1.0, 1e-8]
    return st.sampled_from([x for x in ends if x in interval]) | st.floats(interval.low, top).filter(
        lambda x: x in interval
    )


def losses(loss_class=None, classes=CLASSES):
    """Draw a loss with parameters from all of their domains.

    Parameters
    ----------
    loss_class : type, optional
        By default any of ``reflosses.LOSSES``.
    classes : int
        How many numbers a parameter with one for each class has.

    Examples
    --------
    >>> from hypothesis import find
    >>> from reflosses import SigmoidFocal
    >>> find(losses(SigmoidFocal), lambda loss: loss.gamma > 1)
    SigmoidFocal(gamma=8.0, alpha=None)
    """
    if loss_class is None:
        return reduce(or_, [losses(each, classes) for each in LOSSES])
    domains = {parameter.name: parameter for parameter in fields_of(loss_class)}
    fields = []
    for name in loss_class._fields:
        if name not in domains:
            fields.append(st.one_of([losses(inner, classes) for inner in within(loss_class, name)]))
            continue
        _, interval, optional, per_class = domains[name]
        field = parameters(interval)
        field = st.lists(field, min_size=classes, max_size=classes).map(tuple) if per_class else field
        fields.append(st.none() | field if optional else field)
    return st.tuples(*fields).map(lambda drawn: loss_class(*drawn))


def within(loss_class, name):
    """Return the classes of the losses that a field of a loss class holds in its settings."""
    fields = [loss_class(*setting)._asdict()[name] for setting in loss_class.settings]
    return list(dict.fromkeys(type(field) for field in fields))


def logits(shape=(), dtype=np.float64):
    """Draw an array of finite logits: ordinary, at gaps where something saturates, or anything at all.

    Two of them differ by a finite float64: the verbs count a larger difference as infinite.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(logits((2, 3), "float32"), lambda z: (abs(z) > 100).any()).shape
    (2, 3)
    """
    dtype = np.dtype(dtype)
    bound = min(float(ml_dtypes.finfo(dtype).max), float(np.finfo(np.float64).max) / 2)
    hard = [0.0, *GAPS, *(-gap for gap in GAPS), float(ml_dtypes.finfo(dtype).smallest_subnormal)]
    drawn = st.floats(-30, 30) | st.sampled_from(hard) | st.floats(-bound, bound)
    size = int(np.prod(shape))
    return st.lists(drawn.map(lambda z: np.clip(z, -bound, bound)), min_size=size, max_size=size).map(
        lambda numbers: np.array(numbers, np.float64).astype(dtype).reshape(shape)
    )


@st.composite
def labels(draw, loss, rows=1, classes=CLASSES, dtype=np.float64):
    """Draw labels of a loss: for rows classes or rows of probabilities, else 0 and 1 or all between.

    Examples
    --------
    >>> from hypothesis import find
    >>> from reflosses import CrossEntropy
    >>> find(labels(CrossEntropy(), rows=2), lambda y: y.ndim == 1)
    array([0, 0])
    """
    if not loss.targets.rows:
        label = st.sampled_from([0.0, 1.0])
        label = label | st.floats(0, 1) if loss.targets is Targets.PROBABILITY else label
        return np.array(draw(st.lists(label, min_size=rows, max_size=rows)), np.float64).astype(dtype)
    if draw(st.booleans()):
        return np.array(draw(st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows)), np.int64)
    mass = st.lists(st.floats(0, 1), min_size=classes, max_size=classes).filter(any)
    masses = np.array(draw(st.lists(mass, min_size=rows, max_size=rows))).reshape(rows, classes)
    return (masses / masses.sum(axis=1, keepdims=True)).astype(dtype)


@st.composite
def inputs(draw, loss, dtype=np.float64, rows=1, classes=CLASSES):
    """Draw predictions, which are logits or for a loss of those probabilities, and labels to go with them.

    A loss with one number for each class decides how many there are.

    Examples
    --------
    >>> from hypothesis import given
    >>> import numpy as np, reflosses
    >>> @given(inputs(reflosses.SigmoidFocal()))
    ... def test(drawn):
    ...     assert np.isfinite(reflosses.value(reflosses.SigmoidFocal(), *drawn)).all()
    """
    classes = classes_of(loss, classes)
    z = draw(logits((rows, classes) if loss.targets.rows else (rows,), dtype))
    y = draw(labels(loss, rows, classes, dtype))
    if predictions(loss) == REAL:
        return z, y
    p = predicted(loss, z)
    if predictions(loss).high > 1:  # rows of any sum
        factor = draw(st.sampled_from([1.0, 3.0, 1e4, float(ml_dtypes.finfo(dtype).max)]) | st.floats(1e-3, 1e3))
        return (p.astype(np.float64) * factor).astype(dtype), y
    ends = st.sampled_from([0.0, 1.0, 0.5, 1e-7, 1 - 1e-7]) | st.floats(0, 1)
    chosen = draw(st.lists(st.none() | ends, min_size=p.size, max_size=p.size))
    moved = np.where([x is None for x in chosen], p.ravel(), np.array(chosen, float))
    return moved.reshape(p.shape).astype(dtype), y
