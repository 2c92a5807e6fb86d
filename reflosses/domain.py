"""What is legal, as data: intervals for parameters and predictions, kinds of targets for labels.

Validation, test points, documentation and the command line all read these; none repeats them.
"""

import math
from enum import Enum
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints


class Interval(NamedTuple):
    """A set of real numbers, low to high; an end is included unless it is marked open."""

    low: float
    high: float
    low_open: bool = False
    high_open: bool = False

    def __contains__(self, x):
        above = self.low < x if self.low_open else self.low <= x
        below = x < self.high if self.high_open else x <= self.high
        return above and below

    def __str__(self):
        low, high = (f"{end:g}".replace("inf", "∞") for end in self[:2])
        return f"{'(' if self.low_open else '['}{low}, {high}{')' if self.high_open else ']'}"


REAL = Interval(-math.inf, math.inf)  # logits, infinite ones included
NONNEGATIVE = Interval(0.0, math.inf, high_open=True)
POSITIVE = Interval(0.0, math.inf, low_open=True, high_open=True)
UNIT = Interval(0.0, 1.0)
BELOW_ONE = Interval(0.0, 1.0, high_open=True)
UP_TO_HALF = Interval(0.0, 0.5)


class Targets(Enum):
    """What the labels of a loss are."""

    BINARY = "0 or 1 for every logit"
    PROBABILITY = "a number in [0, 1] for every logit"
    CLASSES = "an integer class, or a row of probabilities, for every row of logits"

    @property
    def rows(self):
        """Whether a loss with these targets has one value per row rather than per logit."""
        return self is Targets.CLASSES


class Parameter(NamedTuple):
    """One field of a loss: where it may lie, whether it may be absent or is one number a class."""

    name: str
    interval: Interval | None
    optional: bool = False
    per_class: bool = False


PER_CLASS = "per class"


def is_loss(x):
    """Whether x is a loss: a NamedTuple with a kernel, or one that changes the labels of another loss."""
    return isinstance(x, tuple) and hasattr(x, "_fields") and (hasattr(x, "kernel") or hasattr(x, "relabel"))


def predictions(loss):
    """Return where the predictions of a loss, or of the loss within it, lie: unless it says so, they are logits."""
    inner = [field for field in loss if is_loss(field)]
    return predictions(inner[0]) if inner else getattr(loss, "predictions", REAL)


def classes_of(loss, default=None):
    """Return how many classes a loss fixes by a parameter with one number for each, or the default."""
    for part in loss:
        fixed = classes_of(part) if is_loss(part) else len(part) if hasattr(part, "__len__") else None
        if fixed:
            return fixed
    return default


def identity(loss):
    """Return what tells a loss from all others: as tuples, losses of different classes may be equal."""
    return type(loss), *(identity(field) if is_loss(field) else field for field in loss)


def parameters(loss_class):
    """Return the fields of a loss class as ``Parameter``s, nested losses left out.

    >>> from reflosses.losses import SigmoidFocal
    >>> for parameter in parameters(SigmoidFocal):
    ...     print(parameter.name, parameter.interval, parameter.optional)
    gamma [0, ∞) False
    alpha [0, 1] True
    """
    hints = get_type_hints(loss_class, include_extras=True)
    found = []
    for name in loss_class._fields:
        hint: Any = hints.get(name, float)
        marks = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
        if isinstance(hint, type) and issubclass(hint, tuple):
            continue
        intervals = [mark for mark in marks if isinstance(mark, Interval)]
        optional = type(None) in get_args(get_args(hint)[0]) if marks else False
        found.append(Parameter(name, intervals[0] if intervals else None, optional, PER_CLASS in marks))
    return found
