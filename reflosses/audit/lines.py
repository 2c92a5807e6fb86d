"""Verdicts put together: one line for each implementation of a class of losses in a dtype."""

from typing import NamedTuple

from ..losses import LOSSES
from .rivals import IMPLEMENTATIONS


class Line(NamedTuple):
    """The verdicts on one implementation of one class of losses in one dtype: one line of the table."""

    verdicts: list

    @property
    def key(self):
        first = self.verdicts[0]
        return first.system, first.name, type(first.loss), first.dtype

    @property
    def worst(self):
        """Return the verdict that decides the grade."""
        return max(self.verdicts, key=lambda x: (x.grade, x.broken, _error(x)))

    def worst_of(self, verb):
        """Return the worst measured error of a verb and the loss it belongs to, or None."""
        found = [(x.measured[verb].worst, x.loss) for x in self.verdicts if verb in x.measured]
        return max(found, key=lambda x: x[0].ulps, default=None)

    def total(self, what, where="measured"):
        return sum(getattr(m, what) for x in self.verdicts for m in getattr(x, where).values())


def _error(verdict):
    return max(x.worst.ulps for x in verdict.measured.values())


def lines(verdicts):
    """Return the lines of the table, by loss, then in the order of the list of implementations."""
    together = {}
    for verdict in verdicts:
        together.setdefault(Line([verdict]).key, []).append(verdict)
    order = [(x.system, x.name) for x in IMPLEMENTATIONS]

    def place(line):
        system, name, loss, _ = line.key
        known = (system, name) in order
        return LOSSES.index(loss) if loss in LOSSES else len(LOSSES), order.index((system, name)) if known else -1

    return sorted((Line(x) for x in together.values()), key=place)
