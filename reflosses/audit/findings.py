"""What an audit says about an implementation: one ``Finding`` for everything that is wrong with it."""

from typing import NamedTuple

from .examples import Worst

KINDS = "mistake", "convention", "behaviour", "accuracy", "advice"


class Finding(NamedTuple):
    """One thing that is wrong, and what it is.

    ``kind`` is "accuracy" for lost digits, "convention" for another function that somebody means by
    the same name, "mistake" for a known bug, "behaviour" for a broken promise of
    this library, and "advice" for what nobody is owed, and which lowers no grade (it prints, accepts
    illegal labels, broadcasts).  ``name`` is the slug of the
    convention, fault or rule, ``sentence`` tells it in one sentence, and ``link`` is where the world
    met it.  ``explained`` is the share of the inputs on which the explanation computes what the
    implementation does, to ``ulps``.  ``example`` is the smallest input that shows it and
    ``snippet`` are lines to paste that reproduce it.
    """

    kind: str
    name: str
    sentence: str
    link: str | None = None
    explained: float = 0.0
    ulps: float = 0.0
    example: Worst | None = None
    snippet: tuple = ()


def importance(finding):
    """Return what findings are sorted by: causes first, advice last, and of a kind what explains most first."""
    return max(KINDS.index(finding.kind), 1), -finding.explained
