"""What a hypothesis is: a change of one stage of a model, its numbers to be fitted, and how it is said."""

from collections.abc import Callable
from typing import NamedTuple

GIT = "https://github.com/"
UNIT = (0.1,), (0.3,)  # where the search for a share starts


class Hypothesis(NamedTuple):
    """A change of one stage, with its numbers to be fitted."""

    name: str
    stage: str
    phrase: str  # may name its numbers as {0:.4g} and {1:.4g}
    change: Callable  # (model, *numbers) -> model
    starts: tuple = ()  # where to start fitting: a tuple of numbers each
    kind: str = "mistake"
    link: str | None = None
    cost: float = 1.0  # what makes an explanation less simple
    legal: Callable = lambda *numbers: True


def at(name, phrase, change, **more):
    """Return a hypothesis; its stage is that of the family it stands in."""
    return Hypothesis(name, "", phrase, change, **more)


def within(low, high):
    return lambda s, *rest: low < s < high
