"""What the classifiers share: classes, the constant to start at, and weights."""

import numpy as np

from ..losses import CrossEntropy
from ..objectives import Objective, init_score

DEFAULT = CrossEntropy()  # type: ignore[call-arg]
STARTS = "auto", "zero"


def constant(loss, labels, weight, classes, start):
    """Return the margins to start at: a float for two classes, (C,) for more; 0 where there is no optimum.

    Raises
    ------
    ValueError
        If ``start`` is neither "auto" nor "zero", or a loss of single logits is asked for more than two classes.
    """
    if start not in STARTS:
        raise ValueError(f"start must be one of {', '.join(STARTS)}, got {start!r}")
    if classes > 2 and not loss.targets.rows:
        raise ValueError(f"{type(loss).__name__} is a loss of two classes, the labels have {classes}")
    zero = 0.0 if classes <= 2 else np.zeros(classes)
    if start == "zero":
        return zero
    try:
        found = init_score(loss, labels, weight, classes=classes)
    except ValueError as error:
        if "no optimal constant" not in str(error):
            raise
        return zero
    return float(found[1] - found[0]) if np.ndim(found) and classes <= 2 else found


def spread(start, rows):
    """Return the same margins for every row."""
    return np.tile(start, (rows, 1)) if np.ndim(start) else np.full(rows, start)


def rows_of(x):
    """Return how many rows a table has."""
    return x.shape[0] if hasattr(x, "shape") else len(x)


def objective_of(estimator, library):
    """Return the objective of a classifier with ``loss`` and ``curvature``."""
    return Objective(estimator.loss, estimator.curvature, factor=library)


def refuse_objective(kwargs):
    """Refuse an objective beside the loss."""
    if "objective" in kwargs:
        raise TypeError("the objective is made of loss= and curvature=: do not give another one")
