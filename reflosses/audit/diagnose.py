"""Which mistake it is: hypotheses are run on the target's own inputs and compared with its answers.

The right answer is tried first, then every hypothesis alone, its numbers fitted by least squares, then
pairs of different stages.  A result is explained if it is what the hypothesis computes to ``EXACT``
ulps of the terms it is a sum of; explanations are ranked by the share of results that they explain and
by simplicity.  Where no single cause serves all results, value, gradient and Hessian get one each.
"""

import time
import warnings
from itertools import combinations
from typing import NamedTuple

import ml_dtypes
import numpy as np
from scipy import optimize

from ..domain import classes_of, identity
from ..spelling import spelled
from ..transfer import predicted
from . import model as m
from .findings import Finding
from .hypotheses import hypotheses
from .model import Inputs, Model, Result, evaluate, modelled

VERBS = "value", "gradient", "hessian"
EXACT = 64.0  # ulps of the terms: what sums in another order, and a logit's rounding, may differ by
ENOUGH = 0.95  # of the results: an explanation of fewer leaves too much unexplained
LOST = 1024.0  # ulps of the terms: an implementation that is no farther off has lost digits, and is the loss
FEW_DIGITS = 2.0**-6, 2.0**-3  # of the terms: these two are no more than that, however few digits a dtype has
LARGE = 32.0  # times the results: no more are the terms that they are sums of
ROWS = 24
TRIAL = 12  # evaluations by which a fit that leads somewhere has come near
ROUGHLY = 0.3  # of the results: how near
SECONDS = 5.0  # for pairs: there are thousands


class Observed(NamedTuple):
    """Inputs and what an implementation made of them; what it does not return is None."""

    inputs: Inputs
    answers: dict


class Explanation(NamedTuple):
    """Hypotheses with their numbers, the share of every verb's results they explain, and the worst error."""

    causes: tuple  # of (hypothesis, numbers)
    shares: dict
    ulps: float
    median: float = 0.0  # of all errors in ulps

    @property
    def cost(self):
        return sum(x.cost + (0 if _nice(numbers) else 0.3) for x, numbers in self.causes) + len(self.causes) - 1

    def share(self, verbs):
        return min(self.shares[verb] for verb in verbs)


def _nice(numbers):
    """Whether numbers are such as people type."""
    return all(abs(x - float(f"{x:.2g}")) <= 1e-6 * abs(x) for x in numbers)


def samples(loss, rows=True):
    """Return mild inputs: every probability is ordinary, so that only the formula matters."""
    random, made = np.random.default_rng(1), []
    if not loss.targets.rows:
        z = np.concatenate([np.linspace(-3.5, 3.5, ROWS), [0.4]])
        for y in (np.ones, np.zeros):
            made.append(Inputs(predicted(loss, z), y(len(z))))
        if loss.targets.value.startswith("a number") and rows:
            made.append(Inputs(predicted(loss, z), random.uniform(0.05, 0.95, len(z))))
        return [Inputs(*(np.concatenate(x) for x in zip(*made[:2], strict=True))), *made[2:]]
    fixed = classes_of(loss)
    for n in (fixed,) if fixed else (3, 5, 2):
        z = 1.3 * random.standard_normal((ROWS + n, n))
        made.append(Inputs(predicted(loss, z), np.arange(ROWS + n) % n))
    if rows:
        made.append(Inputs(made[0].logits, random.dirichlet(np.ones(made[0].classes), len(made[0].logits))))
    return made


def observe(implementation, loss, dtype):
    """Return what an implementation answers on the samples, as ``Observed``."""
    found = []
    for inputs in samples(loss, implementation.rows):
        z = inputs.logits.astype(dtype)
        y = inputs.labels if inputs.labels.dtype.kind == "i" else inputs.labels.astype(dtype)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                results = implementation.function(loss, z.copy(), y.copy())
            except Exception:  # a stranger's code
                continue
        answers = {
            verb: np.asarray(x).astype(np.float64)
            for verb, x in zip(VERBS, results, strict=False)
            if x is not None and np.shape(x) == (z.shape if verb != "value" else z.shape[:1])
        }
        found.append(
            Observed(Inputs(z.astype(np.float64), np.asarray(y, None if y.dtype.kind == "i" else float)), answers)
        )
    return found


class Bench:
    """Observations, the unit in which differences count, and how hypotheses do on them."""

    def __init__(self, observed, unit):
        self.observed, self.unit = observed, unit
        self.exact, self.lost = (min(x, most / unit) for x, most in zip((EXACT, LOST), FEW_DIGITS, strict=True))
        self.verbs = [v for v in VERBS if any(v in x.answers for x in observed)]

    def errors(self, model):
        """Return for every verb the differences in ulps of the terms, over all observations."""
        found = {verb: [] for verb in self.verbs}
        for inputs, answers in self.observed:
            result = evaluate(model, inputs)
            size = np.nan_to_num(result.size + np.abs(result.value))
            for verb, x in answers.items():
                expected = getattr(result, verb)
                with np.errstate(all="ignore"):
                    given = np.abs(x[np.isfinite(x)]).max(initial=0.0)
                    largest = min(np.abs(expected).max(initial=0.0), given)
                    sizes = np.minimum(size, LARGE * given)  # a change must not excuse itself by huge terms
                    terms = np.abs(expected) + (sizes if expected.ndim == 1 else sizes[:, None]) / 8
                    terms = np.maximum(terms, largest * 1e-3)
                    found[verb].append(
                        np.where(x == expected, 0.0, (x - expected) / (terms + 1e-300) / self.unit).ravel()
                    )
        return {
            verb: np.nan_to_num(np.concatenate(x), nan=1e30, posinf=1e30, neginf=-1e30) for verb, x in found.items()
        }

    def explain(self, model, causes):
        """Return the ``Explanation`` that a model is."""
        errors = self.errors(model)
        shares = {verb: float(np.mean(np.abs(x) <= self.exact)) for verb, x in errors.items()}
        near = [np.abs(x[np.abs(x) <= self.exact]).max(initial=0.0) for x in errors.values()]
        median = np.median(np.abs(np.concatenate(list(errors.values()))))
        return Explanation(causes, shares, float(max(near, default=0.0)), float(median))

    def is_near(self, model):
        """Whether everything is what a model computes, but for digits that rounding may have cost."""
        return all((np.abs(x) <= self.lost).all() for x in self.errors(model).values())

    def fitted(self, change, starts, legal, verb):
        """Yield the numbers with which a change comes nearest to a verb's results, from every start."""

        for start in starts:
            found = self.of(verb, 1)._nearest(change, start, verb, TRIAL)  # most come near nothing
            if found is None or np.median(np.abs(found.fun)) > ROUGHLY:
                continue
            found = self.of(verb)._nearest(change, found.x, verb, 30)
            if found is not None and legal(*found.x) and np.median(np.abs(found.fun)) < 0.05:
                yield tuple(float(x) for x in found.x)
                if np.abs(found.fun).max() < 1e-6:
                    return

    def of(self, verb, inputs=None):
        """Return a bench of one verb's results, on some of the inputs."""
        with_verb = [x for x in self.observed if verb in x.answers][:inputs]
        return Bench([Observed(x.inputs, {verb: x.answers[verb]}) for x in with_verb], self.unit)

    def _nearest(self, change, start, verb, evaluations):
        """Return what least squares find from a start, or None."""

        def residuals(numbers):
            try:
                x = self.errors(change(*numbers))[verb] * self.unit
            except (ArithmeticError, ValueError):
                return np.full(1, 1e6)
            return np.clip(x, -1e3, 1e3)

        scale = np.maximum(np.abs(start), 1e-12)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return optimize.least_squares(
                    residuals, start, x_scale=scale, xtol=1e-15, ftol=1e-15, gtol=1e-15, max_nfev=evaluations
                )
        except ValueError:
            return None

    def tried(self, base, hypothesis, verbs):
        """Return the best ``Explanation`` that one more hypothesis gives, or None."""
        try:
            if not hypothesis.starts:
                return self.explain(hypothesis.change(base), ((hypothesis, ()),))
            found = []
            for verb in verbs:
                for numbers in self.fitted(
                    lambda *x: hypothesis.change(base, *x), hypothesis.starts, hypothesis.legal, verb
                ):
                    found.append(self.explain(hypothesis.change(base, *numbers), ((hypothesis, numbers),)))
                    if found[-1].share(verbs) == 1:
                        return found[-1]
        except (ArithmeticError, ValueError, IndexError):
            return None
        return max(found, key=lambda x: sum(x.shares.values()), default=None)


def _base(loss):
    """Return the model of a loss, or one of the library's own results where it has no stages."""
    base = modelled(loss)
    return base if base is not None else Model(answers=(_from_library(loss),))


def _from_library(loss):
    def results(result, context):
        from ..api import hessian_diagonal, value_and_gradient

        z, y = context.inputs
        value, gradient = value_and_gradient(loss, z, y, normalized=False)
        return Result(value, gradient, hessian_diagonal(loss, z, y, normalized=False), np.abs(value))

    return results


_last: list = []  # the last diagnosis: two dtypes ask for the same


def diagnose(implementation, loss, dtype=np.float64):
    """Return the ``Finding``s that explain an implementation's ordinary results; none if they are right."""
    asked = implementation, identity(loss), np.dtype(dtype)
    if not _last or _last[0] is not asked[0] or _last[1:3] != list(asked[1:]):
        _last[:] = [*asked, _diagnosed(implementation, loss, dtype)]
    return _last[3]


def _diagnosed(implementation, loss, dtype):
    observed = observe(implementation, loss, dtype)
    if not any(x.answers for x in observed):
        return ()
    unit = float(ml_dtypes.finfo(dtype).eps)
    base = _base(loss)
    bench = Bench(observed, unit)
    if bench.is_near(base):
        return ()
    if dtype == np.float64 and _is_single(observed):  # float64 that is computed in float32
        bench = Bench(observed, float(np.finfo(np.float32).eps))
        if bench.is_near(base):
            return ()
    end = time.monotonic() + SECONDS
    found = _findings(bench, base, loss, end)
    if dtype == np.float64 and _unexplained(found):  # some constant may have been a float32
        again = _findings(Bench(observed, float(np.finfo(np.float32).eps)), base, loss, end)
        if not _unexplained(again):
            return tuple(
                x._replace(sentence=f"{x.sentence}; float64 results have the digits of float32") for x in again
            )
    classes = [x for x in observed if x.inputs.single or x.inputs.labels.ndim == 1]
    if _unexplained(found) and len(classes) < len(observed):
        again = _findings(Bench(classes, bench.unit), base, loss, end)
        if not _unexplained(again):
            return tuple(x._replace(sentence=f"{x.sentence}; for classes as labels") for x in again)
    return found


def _unexplained(findings):
    return any(x.name == "unknown" for x in findings)


def _is_single(observed):
    """Whether all values in float64 are numbers of float32."""
    values = [x.answers["value"] for x in observed if "value" in x.answers]
    return bool(values) and all((x.astype(np.float32) == x).all() for x in values)


def _findings(bench, base, loss, end):
    right = bench.explain(base, ())
    wrong = [v for v in bench.verbs if right.shares[v] < 1]
    everything = sorted(hypotheses(loss), key=lambda h: len(h.starts))
    singles = []
    for fixed in (True, False):  # numbers are fitted only where no hypothesis without numbers serves
        tried = (bench.tried(base, h, wrong) for h in everything if fixed == (not h.starts))
        singles += [x for x in tried if x is not None]
        best = _best(singles, bench.verbs)
        if best is not None and best.share(bench.verbs) == 1 and (fixed is False or not _has_smoothing(loss)):
            break
    if best is None:
        each = {v: _best(singles, [v]) for v in wrong}
        if all(each.values()) and (
            len(wrong) < len(bench.verbs) or len({x.causes[0][0].name for x in each.values()}) > 1
        ):
            return tuple(_finding(x, loss, [v], right, bench) for v, x in each.items())
        best = _pairs(bench, base, loss, singles, wrong, end)
        if best is None and any(each.values()):
            rest = [v for v in wrong if each[v] is None]
            known = tuple(_finding(x, loss, [v], right, bench) for v, x in each.items() if x)
            return known + ((_unknown(loss, rest, right, bench),) if rest else ())
    if best is None:
        return (_unknown(loss, wrong, right, bench),)
    return tuple(_finding(best, loss, bench.verbs, right, bench, which) for which in range(len(best.causes)))


def _has_smoothing(loss):
    """Whether a loss has a smoothing, whose conventions may agree at one number of classes."""
    return "smoothing" in m.settings(loss)


def _best(explanations, verbs):
    """Return the simplest explanation of (nearly) all results of some verbs, or None."""
    good = [x for x in explanations if x.share(verbs) >= ENOUGH]
    return min(good, key=lambda x: (x.share(verbs) < 1, x.cost), default=None)  # of equals the first: the commonest


def _pairs(bench, base, loss, singles, wrong, end):
    """Return the best explanation by two hypotheses of different stages, or None."""
    found = []
    known = {x.causes[0][0].name: x for x in singles}
    ranked = [h for h in hypotheses(loss) if h.cost < 3]
    near = {h: _nearness(known.get(h.name)) for h in ranked}
    couples = sorted(
        combinations(ranked, 2),
        key=lambda c: (min(near[c[0]], near[c[1]]), bool(c[0].starts) + bool(c[1].starts), c[0].cost + c[1].cost),
    )
    first = bench.of(wrong[0], 1)
    for a, b in couples:
        if time.monotonic() > end or (found and len(found[0].causes) and found[0].share(bench.verbs) == 1):
            break
        if a.stage == b.stage and a.stage != "answers":
            continue
        a, b = (b, a) if a.stage == "answers" and b.stage != "answers" else (a, b)
        hint = _both(first, base, a, b, wrong[:1])  # on some of the inputs: most pairs fail there
        explanation = hint and _both(bench, base, a, b, wrong)
        if explanation is not None and explanation.share(bench.verbs) >= ENOUGH:
            found.append(explanation)
    return _best(found, bench.verbs)


def _nearness(explanation):
    """Return how near a hypothesis comes alone, in steps: with the right one, what is left is another's."""
    return 9 if explanation is None else min(int(np.log10(explanation.median + 1) / 3), 9)


def _both(bench, base, a, b, verbs):
    """Return the explanation by two hypotheses at once, their numbers fitted together."""
    starts = [(*x, *y) for x in a.starts or ((),) for y in b.starts or ((),)][:2]
    width = len(a.starts[0]) if a.starts else 0
    try:
        if not starts[0]:
            found = bench.explain(b.change(a.change(base)), ((a, ()), (b, ())))
            return found if found.share(bench.verbs) >= ENOUGH else None
        change = lambda *x: b.change(a.change(base, *x[:width]), *x[width:])  # noqa: E731
        for numbers in bench.fitted(change, starts, lambda *x: a.legal(*x[:width]) and b.legal(*x[width:]), verbs[0]):
            found = bench.explain(change(*numbers), ((a, numbers[:width]), (b, numbers[width:])))
            if found.share(bench.verbs) >= ENOUGH:
                return found
    except (ArithmeticError, ValueError, IndexError, TypeError):
        return None
    return None


# Words --------------------------------------------------------------------------------------

NAMES = {"value": "the value", "gradient": "the gradient", "hessian": "the Hessian"}


def _listed(verbs):
    return (
        " and ".join([", ".join(NAMES[v] for v in verbs[:-1]), NAMES[verbs[-1]]]) if len(verbs) > 1 else NAMES[verbs[0]]
    )


def _finding(explanation, loss, verbs, right, bench, which=0):
    hypothesis, numbers = explanation.causes[which]
    share = explanation.share(verbs)
    link = f": this is {hypothesis.link}" if hypothesis.link else ""
    phrase = "; and ".join(
        h.phrase.format(*x)
        for h, x in (explanation.causes[which], *explanation.causes[:which], *explanation.causes[which + 1 :])
    )
    subject, verb = _listed(verbs), "match" if len(verbs) > 1 else "matches"
    fine = [v for v in bench.verbs if right.shares[v] == 1 and v not in verbs]
    rest = f"; {_listed(fine)} {'are' if len(fine) > 1 else 'is'} right" if fine else ""
    matched = f"to {max(explanation.ulps, 1):.0f} ulps on {100 * share:.0f} % of inputs"
    sentence = f"{subject} {verb} {spelled(loss)} {phrase}, {matched}{rest}{link}"
    return Finding(hypothesis.kind, hypothesis.name, sentence, hypothesis.link, share, explanation.ulps)


SHORT = {"float32": 64 * 2.0**-24, "float16": 4 * 2.0**-11, "bfloat16": 4 * 2.0**-8}  # a few roundings


def _unknown(loss, verbs, right, bench):
    """Say that no known cause explains the results, or that they are right in a shorter type only."""
    for name, error in SHORT.items():
        short = Bench(bench.observed, error / EXACT).explain(_base(loss), ())
        if short.share(verbs) == 1:
            have = "have" if len(verbs) > 1 else "has"
            said = f"{_listed(verbs)} of {spelled(loss)} {have} the precision of {name} only"
            return Finding("accuracy", "short-precision", said, None, 1.0)
    share = min(right.shares[v] for v in verbs)
    sentence = (
        f"{_listed(verbs)} {'are' if len(verbs) > 1 else 'is'} not {spelled(loss)} on {100 * (1 - share):.0f} % "
        "of ordinary inputs, and no convention or mistake that is known here explains it"
    )
    return Finding("mistake", "unknown", sentence, None, share)
