"""Finds the ε of an implementation that clips probabilities, from where its values stop growing."""

from typing import NamedTuple

import numpy as np
from scipy import optimize

from ..oracle import certify
from .examples import Worst, obscurity

PLATEAU = 4  # hard inputs with one and the same value are no accident
SAME = 1e-5  # relative: the values of a plateau differ by rounding only
CLEAR = 100.0  # a logit far beyond every ε in use, and still a number that one meets
TOO_LOW = 0.9  # of the truth: a value that stopped growing lies far below it


class Clip(NamedTuple):
    """Values that level off as if probabilities were clipped at ε, and an example."""

    epsilon: float
    example: Worst


def clip(outcomes):
    """Return the ``Clip`` of an implementation, or None if its values do not level off.

    Values that should differ but are equal are compared with the truth: between no confidence
    and the input's own there is one at which the loss has that value, and the probability of the
    label there is the ε.
    """
    for x in outcomes:
        if x.verb == "value" and not x.batch.soft:
            single = x.batch.logits.ndim == 1  # ε is exact at y = 1; 1 - ε is rounded
            for rows in [x.batch.labels == 1, x.batch.labels == 0] if single else [np.ones(len(x.truth), bool)]:
                found = _plateau(x, rows)
                if found is not None:
                    return found
    return None


def _plateau(x, rows):
    """Return the ``Clip`` that some rows of an outcome show, or None."""
    stuck = rows & np.isfinite(x.computed) & (x.computed < TOO_LOW * x.truth)
    top = x.computed[stuck].astype(np.float64).max(initial=0.0)
    level = stuck & (np.abs(x.computed - top) <= SAME * top)
    if top == 0 or len(set(x.truth[level])) < PLATEAU:
        return None
    plain = {i: obscurity(x.batch, i) for i in np.flatnonzero(level)}
    i = min(plain, key=lambda i: (plain[i][:-1], abs(plain[i][-1] - CLEAR)))
    epsilon = _probability(x.batch, i, top)
    return None if epsilon is None else Clip(epsilon, x.at((int(i),)))


def _probability(batch, i, value):
    """Return the label's probability on the way from 0 to logits i, where the loss has a value."""
    z, y = batch.logits[i].astype(np.float64), batch.labels[i]
    if not np.isfinite(z).all():
        return None

    def excess(share):
        return float(certify(batch.loss, share * z, y)[0].mid()) - value

    if not excess(0.0) < 0 < excess(1.0):
        return None
    share = optimize.brentq(excess, 0.0, 1.0, xtol=1e-300, rtol=1e-10)
    if z.ndim:
        return float(np.exp(share * z[y] - np.logaddexp.reduce(share * z)))
    return float(1 / (1 + np.exp(share * (-z if y == 1 else z))))
