"""Single results as examples, and which of them a reader should be shown."""

from typing import NamedTuple

import numpy as np

CERTAIN = 0.9  # of the largest relative error: any input with this much shows a fault as well as the worst


class Worst(NamedTuple):
    """One result and its truth: the row, and the entry of it for a gradient."""

    verb: str
    group: str
    logits: np.ndarray
    labels: np.ndarray
    entry: tuple
    computed: float
    truth: float
    ulps: float


def obscurity(batch, i):
    """Return what makes row i a bad example: soft labels, unheard of, many numbers, long ones, large ones."""
    numbers = np.atleast_1d(batch.logits[i])
    long = any(len(str(x)) > len("-12.34") for x in numbers)
    size = np.abs(numbers[np.isfinite(numbers)].astype(np.float64)).max(initial=0.0)
    return batch.soft, not batch.groups[i].startswith("reported"), len(numbers) not in (1, 3), len(numbers), long, size
