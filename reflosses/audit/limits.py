"""A target at the limits of the parameters that it takes: 0^0 at γ = 0, 0/0 at t = 1, no weight at α = 0.

Limits are the ends that belong to a parameter's interval, one at a time, and the loss's own settings.
"""

from math import isfinite

import numpy as np

from ..domain import parameters
from ..spelling import spelled
from .call import Call, parameters_of
from .findings import Finding, importance
from .judge import judge
from .probes.bench import Asked, Bench
from .probes.snippet import called
from .sentences import fact
from .truth import batches

CLASSES = 3  # of more, a limit of a parameter shows nothing else


def judge_target(implementation, loss, dtype, given=None):
    """Return the ``Verdict`` on a target, lowered to that at the worst limit of what it takes.

    Whoever computes another function is not asked for its limits.
    """
    verdict = judge(implementation, loss, dtype, given=given)
    if verdict.grade == "F":
        return verdict
    lowest, found = verdict.grade, ()
    for changed in limits(loss, implementation.takes):
        few = [x for x in batches(changed, np.dtype(dtype)) if x.logits.ndim == 1 or x.logits.shape[1] <= CLASSES]
        there = judge(implementation, changed, dtype, explain=False, given=few)
        if there.grade > max(lowest, "B"):
            lowest, found = there.grade, (_finding(implementation, loss, changed, there),)
    return verdict._replace(grade=lowest, findings=tuple(sorted(verdict.findings + found, key=importance)))


def limits(loss, takes):
    """Return a loss with its parameters at their limits, as far as a target takes them.

    >>> from reflosses import SigmoidFocal
    >>> limits(SigmoidFocal(2.0), ("gamma",))[:2]
    [SigmoidFocal(gamma=0.0, alpha=0.25), SigmoidFocal(gamma=0.5, alpha=0.25)]
    """
    taken = [x for x in parameters(type(loss)) if x.name in takes and x.interval and not x.per_class]
    made = [
        loss._replace(**{x.name: end}) for x in taken for end in x.interval[:2] if isfinite(end) and end in x.interval
    ]
    for setting in getattr(loss, "settings", ()):
        given = dict(zip(loss._fields, setting, strict=False))
        made.append(loss._replace(**{x.name: given[x.name] for x in taken if given.get(x.name) is not None}))
    return [x for x in dict.fromkeys(made) if x != loss]


def _finding(implementation, loss, changed, verdict):
    """Return what is wrong at a limit, by an input that shows it."""
    worst = next(filter(None, verdict.example.values()))
    options = {k: x for k, x in parameters_of(changed, implementation.takes).items() if x != getattr(loss, k, None)}
    said = ", ".join(f"{name}={x:g}" for name, x in options.items())
    bench = Bench(implementation, loss, verdict.dtype, worst.logits[None], np.asarray(worst.labels)[None])
    asked = Asked(Call(bench.z, bench.y, options), "{}")
    return Finding(
        "mistake" if verdict.grade > "C" else "accuracy",
        f"limit-{next(iter(options))}",
        f"{spelled(loss)}: with {said}, {fact(worst)}",
        explained=1.0,
        example=worst,
        snippet=(called(implementation.call, asked),),
    )
