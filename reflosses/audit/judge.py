"""The judgement of one implementation: errors in ulps, where they are worst, and a grade.

Grades rest on three yardsticks, none of which is a lone tolerance:

- the result: an error of at most ``GOOD`` ulps of it (of Σ |terms| where terms cancel) is as good
  as a careful implementation gets;
- the input: an error that a change of the logits by ``STABLE`` ulps would explain is backward
  stable, and no fault of the implementation; nor is one of a few last bits of 1 in a gradient, if
  it leaves digits of the result, as in p - y for smoothed labels;
- the ordinary: errors that are invisible beside the largest results on ordinary inputs do no harm
  there, whatever happens at saturation.
"""

import warnings
from operator import attrgetter
from typing import NamedTuple

import ml_dtypes
import numpy as np

from .call import AnswerError
from .clip import Clip, clip
from .examples import CERTAIN, Worst, obscurity
from .explain import explained
from .grades import GOOD
from .measure import errors, is_within
from .probes import differs
from .scatter import scatter
from .truth import batches

STABLE = 32  # ulps of the logits: a thousand terms added one by one lose about √1000 of them
ROUNDING = 64  # ulps of the largest ordinary result: a few times as much, since several such sums meet
VISIBLE = 2.0**-6  # of it: however few digits a dtype has, more can be seen
FAR = 1e-3  # of a result: more has lost all but three digits, or is, where rounding cannot be why, a bias
MOST = 0.1  # of the mild rows: fewer may be hit by accident, a different formula hits more
VERBS = "value", "gradient", "hessian_diagonal"


class Measured(NamedTuple):
    """The errors of one verb over many results.

    The worst of them; how many there are, are off by more than ``GOOD`` ulps, are not finite but
    should be; and all of them for a plot, as (log-odds, error).
    """

    worst: Worst
    results: int
    off: int
    nonfinite: int
    scatter: np.ndarray

    @property
    def share_off(self):
        return self.off / self.results


class Verdict(NamedTuple):
    """What was found about one implementation of one loss in one dtype.

    ``measured`` maps a verb to its ``Measured`` on all inputs and ``real`` on the real ones;
    ``example`` maps a verb to the simplest input that shows why the grade is no better.
    ``broken`` counts results of ours that break the promise of docs/accuracy.md; ``clip`` is the
    ``Clip`` of values that stop growing, if they do; ``single`` tells that every result in
    float64 is a number of float32; ``one_hot``, ``line`` and ``framework`` are the implementation's.
    ``findings`` say what is wrong, the most important first.
    """

    system: str
    name: str
    loss: tuple
    dtype: str
    grade: str
    measured: dict
    real: dict
    example: dict
    broken: int
    worst_broken: Worst | None
    clip: Clip | None
    single: bool
    one_hot: bool
    line: str
    framework: str | None = None
    findings: tuple = ()


class _Outcome:
    """One verb of one batch: computed results, their errors, and which of them break which rule."""

    def __init__(self, batch, verb, computed, largest):
        self.batch, self.verb = batch, verb
        self.computed = computed
        self.truth = batch.truth(verb)
        self.terms = np.array([float(x.mid()) for x in batch.terms[verb]]).reshape(self.truth.shape)
        self.ulps = errors(computed, batch.certified[verb], batch.terms[verb])
        self.nonfinite = ~np.isfinite(computed) & (self.ulps == np.inf)
        with np.errstate(invalid="ignore", over="ignore"):
            distance = np.abs(computed.astype(np.float64) - self.truth)
        self.distance = np.where(self.ulps == 0, 0.0, distance)  # equal infinities, and truths that are nan
        limits = ml_dtypes.finfo(computed.dtype)
        self.off = self.ulps > GOOD
        ordinary, mild = (min(ROUNDING * float(limits.eps), VISIBLE) * x for x in largest)
        self.wrong = ~(self.distance <= ordinary)  # visibly, beside the largest
        self.wrong_mildly = ~(self.distance <= mild)
        self.unstable = self._unstable(limits)

    def _unstable(self, limits):
        """Return which results neither a small change of the logits nor rounding of terms explains."""
        unit, tiny = float(limits.eps), float(limits.smallest_normal)  # flushing subnormals is allowed
        unstable = self.off.copy()
        for i in np.flatnonzero(self.off.reshape(len(self.off), -1).any(axis=1)):
            with np.errstate(over="ignore"):
                size = np.maximum(np.abs(self.truth[i]), self.terms[i])
                yardstick = size + self.batch.sensitivity(self.verb, i)
                unstable[i] &= ~(self.distance[i] <= STABLE * unit * yardstick + tiny)
                if self.verb == "gradient":
                    unstable[i] &= self.wrong[i] | ~(self.distance[i] <= FAR * size)
        return unstable

    def far(self):
        """Return for every mild row whether it is off by a visible part of its own largest entry, or sum of terms."""
        sizes = np.fmax(np.abs(self.truth), self.terms).reshape(len(self.truth), -1)
        largest = np.fmax.reduce(sizes, axis=1, initial=0.0)  # both are nan at kinks
        distance = np.where(self.wrong_mildly, self.distance, 0.0).reshape(len(self.truth), -1).max(axis=1)
        return ~(distance <= FAR * largest)

    def at(self, index):
        """Return one result as a ``Worst``."""
        i = index[0]
        return Worst(
            self.verb,
            self.batch.groups[i],
            self.batch.logits[i],
            self.batch.labels[i],
            tuple(int(k) for k in index[1:]),
            float(self.computed[index]),
            float(self.truth[index]),
            float(self.ulps[index]),
        )


def judge(implementation, loss, dtype, explain=True, given=None):
    """Run one implementation of a loss in a dtype on every batch it accepts and return the ``Verdict``.

    With ``explain``, what a target does with its options is probed, and results that are wrong on
    ordinary inputs are diagnosed.  ``given`` are other batches than those of ``truth.batches``.
    """
    asked = batches(loss, np.dtype(dtype)) if given is None else given
    accepted = [part for batch in asked if (part := implementation.accepted(batch)) is not None]
    answers = [dict(zip(VERBS, run(implementation, batch), strict=False)) for batch in accepted]
    verbs = [verb for verb in VERBS if any(x.get(verb) is not None for x in answers)]
    largest = {
        v: [max(_largest(x, v, rows(x)) for x in accepted if x.certifies(v)) for rows in (_ordinary, _mild)]
        for v in verbs
    }
    outcomes = [
        _Outcome(batch, verb, answer[verb], largest[verb])
        for batch, answer in zip(accepted, answers, strict=True)
        for verb in verbs
        if answer.get(verb) is not None and batch.certifies(verb)
    ]
    grade, culprits = _grade(outcomes)
    clipped = clip(outcomes) if grade > "B" else None
    findings, lowest = (), "A"
    if explain:
        again = dict(zip(VERBS, run(implementation, accepted[0]), strict=False))
        kept = not any(differs(again[verb], x) for verb, x in answers[0].items() if x is not None)
        findings, lowest = explained(implementation, loss, dtype, grade, outcomes, clipped, kept)
    return Verdict(
        implementation.system,
        implementation.name,
        loss,
        np.dtype(dtype).name,
        max(grade, lowest),
        {verb: _measured([x for x in outcomes if x.verb == verb]) for verb in verbs},
        {
            x.verb: _measured([y for y in outcomes if y.verb == x.verb and y.batch.real])
            for x in outcomes
            if x.batch.real
        },
        {verb: _example([x for x in culprits if x[0].verb == verb]) for verb in verbs},
        *(_broken(outcomes) if implementation.ours else (0, None)),
        clipped,
        "value" in verbs and all(_is_single(x.computed) for x in outcomes if x.verb == "value"),
        implementation.one_hot,
        implementation.line,
        getattr(implementation.call, "framework", None),
        findings,
    )


def run(implementation, batch):
    """Return the value and the gradient (or None) of a batch, in its dtype, without any warnings."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        results = implementation.function(batch.loss, batch.logits.copy(), batch.labels.copy())
        return [None if x is None else _shaped(x, verb, batch) for x, verb in zip(results, VERBS, strict=False)]


def _shaped(x, verb, batch):
    """Return results in the dtype of the logits."""
    x, shape = np.asarray(x), batch.shape(verb)
    if x.shape != shape:
        said = f"the target returns a {verb.replace('_', ' ').replace('hess', 'Hess')} of shape {x.shape}"
        raise AnswerError(f"{said} where {shape} is expected, for logits of shape {batch.logits.shape}")
    return x.astype(batch.logits.dtype)


def _measured(outcomes):
    worst = max(outcomes, key=lambda x: x.ulps.max())
    return Measured(
        worst.at(np.unravel_index(np.argmax(worst.ulps), worst.ulps.shape)),
        sum(x.ulps.size for x in outcomes),
        sum(int(np.count_nonzero(x.off)) for x in outcomes),
        sum(int(np.count_nonzero(x.nonfinite)) for x in outcomes),
        scatter(outcomes),
    )


def _grade(outcomes):
    """Return the grade and, for every outcome, which results stand in the way of a better one."""
    if not any(x.off.any() for x in outcomes):
        return "A", []
    if not any(x.unstable.any() for x in outcomes):
        return "B", [(x, x.off) for x in outcomes]
    ordinary = [(x, _along(x.batch.ordinary, x.wrong)) for x in outcomes]
    if not any(mask.any() for _, mask in ordinary):
        return "C", [(x, x.unstable) for x in outcomes]
    for verb in VERBS:
        mild = [(x.far() & x.batch.mild, x.batch.mild) for x in outcomes if x.verb == verb]
        if sum(hit.sum() for hit, _ in mild) > MOST * sum(rows.sum() for _, rows in mild):
            return "F", [(x, _along(x.batch.mild, x.wrong)) for x in outcomes]
    return "D", ordinary


_ordinary, _mild = attrgetter("ordinary"), attrgetter("mild")


def _largest(batch, verb, rows):
    return np.fmax.reduce(np.abs(batch.truth(verb)[rows]), axis=None, initial=0.0)  # nan at kinks


def _along(rows, results):
    return results & rows.reshape(-1, *[1] * (results.ndim - 1))


def _example(culprits):
    """Return the simplest input among those that show a fault best, or None."""
    found = []
    for outcome, mask in culprits:
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            lost = np.where(outcome.truth == 0, 1.0, outcome.distance / np.abs(outcome.truth))
        lost = np.where(outcome.nonfinite, np.inf, np.minimum(lost, 1.0))
        found += [(lost[index], outcome, index) for index in map(tuple, np.argwhere(mask))]
    if not found:
        return None
    most = max(lost for lost, _, _ in found)
    shown = [(outcome, index) for lost, outcome, index in found if lost >= CERTAIN * most]
    outcome, index = min(shown, key=lambda x: obscurity(x[0].batch, x[1][0]))
    return outcome.at(index)


def _is_single(x):
    """Whether float64 results are all numbers of float32."""
    with np.errstate(over="ignore"):
        return x.dtype == np.float64 and np.array_equal(x.astype(np.float32), x, equal_nan=True)


def _broken(outcomes):
    """Return how many results are outside of what the library promises, and the worst of them."""
    broken = []
    for x in outcomes:
        ulps = 2 if x.verb == "value" else GOOD
        kept = is_within(x.computed, x.batch.certified[x.verb], x.batch.terms[x.verb], ulps)
        broken += [x.at(index) for index in map(tuple, np.argwhere(~kept))]
    return len(broken), max(broken, key=lambda worst: worst.ulps, default=None)
