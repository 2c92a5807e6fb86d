"""From a grade to findings: what is wrong on ordinary inputs, at saturation, and with options."""

import numpy as np

from ..spelling import spelled
from .diagnose import diagnose
from .findings import Finding, importance
from .probes import probed
from .probes.bench import Bench
from .probes.snippet import repetition
from .saturation import saturated

STATE = Finding(
    "mistake",
    "state-kept",
    "the same inputs get other answers after other calls: state is kept",
    "https://github.com/yatengLG/Focal-Loss-Pytorch/issues/9",
    1.0,
)


def explained(implementation, loss, dtype, grade, outcomes, clipped, repeatable):
    """Return the findings on an implementation, and the grade to which they lower its own.

    ``repeatable`` tells whether the first inputs, given again after all others, had the same answers.
    """
    found: list[Finding] = []
    if grade in "DF":
        found += diagnose(implementation, loss, np.float64 if np.float64 in implementation.dtypes else dtype)
    if clipped is not None:
        epsilon = clipped.epsilon
        said = f"values of {spelled(loss)} level off as if probabilities were clipped at {epsilon:.2g}"
        found.append(Finding("accuracy", "clip", said, example=clipped.example))
    if grade > "B" and all(x.kind == "accuracy" or x.name == "unknown" for x in found):
        found += saturated(outcomes, loss)
    dtype = max(np.dtype(dtype), np.dtype(np.float32), key=lambda x: x.itemsize)  # probes look at rules, not digits
    if not repeatable:  # whatever else is asked, the answer depends on what was asked before
        shown = repetition(Bench(implementation, loss, dtype)) if implementation.call is not None else ()
        lowest, behaviour = "F", [STATE._replace(snippet=shown)]
    else:
        lowest, behaviour = probed(implementation, loss, dtype) if implementation.call is not None else ("A", [])
    if grade == "F":  # options of rows that are wrong are wrong with them
        behaviour = [x for x in behaviour if not x.name.startswith("option-")]
    return tuple(sorted([*found, *behaviour], key=importance)), lowest
