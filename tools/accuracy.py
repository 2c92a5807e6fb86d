"""Measure every loss against the oracle: ``python tools/accuracy.py`` writes docs/accuracy.md.

The tests judge by the same functions.  With ``--search N`` it first looks at N times as many
ordinary points, and keeps the worst it finds in tests/data/worst_cases.json, which every later
run repeats: the list only grows.
"""

import argparse
import json
import sys
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from flint import arb, ctx

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from strategies import CASES, PAIRS, VERBS, arrays, paste, weights_like  # noqa: E402

from reflosses import losses  # noqa: E402
from reflosses.audit.measure import ROUNDING, errors, floored, narrow_errors  # noqa: E402
from reflosses.audit.points import points  # noqa: E402
from reflosses.audit.truth import on_kink  # noqa: E402
from reflosses.oracle import certify, magnitude  # noqa: E402

PAGE = ROOT / "docs" / "accuracy.md"
WORST_CASES = ROOT / "tests" / "data" / "worst_cases.json"

CORE = "value", "gradient", "hessian_diagonal"  # what every dtype is judged by
ULPS = {"value": 2, "gradient": 4, "hessian_diagonal": 4}  # allowed in float64 ...
OTHERS = 8  # ... and in the results made of many of these
MANY = 10, 100, 1000  # classes at which only a loss's defaults are judged
HUGE = 2.0**1000  # slopes up to which there are claims; those of bi-tempered losses grow as p^(t2 - t1)
FEW = 20  # classes up to which whole Hessians are certified; beyond, three entries of the diagonal


def verbs_of(dtype):
    """Return the verbs that a dtype is judged by: float16 and bfloat16 run float32's code."""
    return tuple(VERBS) if np.dtype(dtype).itemsize > 2 else CORE


def allowed(verb, dtype):
    """Return the largest error, in ulps, that a verb may have."""
    return ULPS.get(verb, OTHERS) if np.dtype(dtype) == np.float64 else ROUNDING


# Measuring ------------------------------------------------------------------------------------


class Worst(NamedTuple):
    """The largest error of a verb, where it is, and over how many inputs."""

    error: float
    loss: tuple
    logits: np.ndarray
    labels: np.ndarray
    count: int = 1

    def __or__(self, other):
        """Return the worse of two, which stands for both."""
        worse = other if other.error > self.error else self
        return worse._replace(count=self.count + other.count)


def measure(loss, groups, verbs):
    """Return verb -> ``Worst`` of a loss over groups of (logits, labels)."""
    found = {}
    for logits, labels in groups:
        results = _computed(loss, logits, labels, verbs)
        vectors = weights_like(logits)
        for row, (z, y, vector) in enumerate(zip(logits, labels, vectors, strict=True)):
            for verb, truth, terms, entries in _certified(loss, z, y, vector, verbs):
                error = max(_error(result[row][entries], truth, terms) for result in results[verb])
                here = Worst(error, loss, z, y)
                found[verb] = found[verb] | here if verb in found else here
    return {verb: found[verb] for verb in verbs if verb in found}


def too_far(found, dtype):
    """Return a line for every verb whose worst error is more than its dtype allows, "" if all are well."""
    return "\n".join(
        f"{verb} is {worst.error:.4g} ulp off: {paste(worst.loss, worst.logits, worst.labels, verb)}"
        for verb, worst in found.items()
        if not worst.error <= allowed(verb, dtype)
    )


def groups_of(loss, dtype, seed=0, count=8):
    """Return the (logits, labels) of all test points of a loss, those of many classes only at its defaults.

    What depends on the number of classes does not depend on the parameters, and costs the oracle most.
    """
    groups = [(group.logits, group.labels) for group in points(loss, dtype, seed=seed, count=count)]
    return [group for group in groups if loss == type(loss)() or group[0].ndim == 1 or group[0].shape[1] not in MANY]


def _computed(loss, logits, labels, verbs):
    """Return verb -> the library's results for a group of points, one row of numbers for each.

    Values and gradients come twice: rows of classes have a quick driver for these two alone, and
    the second derivatives and label gradients another that gives them too.
    """
    results = {verb: [] for verb in verbs}
    for pair, f in PAIRS.items():
        names = pair.split("_and_")
        if set(names) <= set(verbs):
            for verb, result in zip(names, f(loss, logits, labels), strict=True):
                results[verb].append(_flat(result, logits))
    return {verb: found or [_flat(VERBS[verb](loss, logits, labels), logits)] for verb, found in results.items()}


def _flat(result, logits):
    nothing = np.empty((len(logits), 0), logits.dtype)
    return np.concatenate([nothing, *(part.reshape(len(logits), -1) for part in arrays(result))], axis=1)


def _certified(loss, z, y, vector, verbs):
    """Yield (verb, certified results, magnitudes, which entries they are) of one input."""
    n = z.size
    edge = on_kink(loss, z, y)
    if edge:
        verbs = [verb for verb in verbs if verb == "value"]  # the others are one of two answers
    large = {"hessian", "hessian_diagonal", "hessian_vector_product"} if n > FEW else {"hessian_vector_product"}
    matrix: list = []
    wanted = [verb for verb in verbs if verb not in large]
    for verb in sorted(wanted, key="hessian_diagonal".__eq__):  # last: it may be had from the Hessian
        try:
            truth = matrix[:: n + 1] if verb == "hessian_diagonal" and matrix else certify(loss, z, y, verb)
        except ArithmeticError:  # a slope in a label at p = 1 that 11,200 bits do not tell from 0/0, or one of ∞
            infinite = verb == "parameter_gradient" and np.isinf(z).any()
            assert edge or verb == "label_gradient" or infinite, paste(loss, z, y)
            continue
        terms = magnitude(loss, z, y, verb, certified=truth)
        if verb == "gradient" and any(x > HUGE for x in terms):
            return  # sums of slopes, and second derivatives, may overflow: nothing is claimed
        yield verb, truth, terms, slice(None)
        matrix = truth if verb == "hessian" else matrix
        if verb == "hessian" and "hessian_vector_product" in verbs:
            v = [arb(float(x)) for x in np.ravel(vector)]
            yield "hessian_vector_product", _product(truth, v), _product(terms, [abs(x) for x in v]), slice(None)
    if "hessian_diagonal" in verbs and n > FEW:
        for k in (int(np.argmax(z)), int(np.argmin(z)), n // 2):
            truth = certify(loss, z, y, "hessian_vector_product", np.eye(n)[k])[k : k + 1]
            terms = magnitude(loss, z, y, "hessian_diagonal", certified=truth)  # of all classes, if they are stated
            yield "hessian_diagonal", truth, terms[k : k + 1] if len(terms) > 1 else terms, slice(k, k + 1)


def _product(matrix, vector):
    n = len(vector)
    with ctx.workprec(256):
        return [sum((matrix[i * n + j] * vector[j] for j in range(n)), arb(0)) for i in range(n)]


def _error(numbers, truth, terms):
    """Return the worst error among numbers, in ulps by the gate of their dtype."""
    unit = errors if numbers.dtype == np.float64 else narrow_errors
    if numbers.dtype == np.float64:
        terms = floored(truth, terms)
    return float(np.max(unit(numbers, truth, terms), initial=0.0))


# The worst cases, kept ------------------------------------------------------------------------


def read_worst_cases():
    """Return the kept cases as (loss, logits, labels) in batches of one."""
    cases = []
    for case in json.loads(WORST_CASES.read_text(encoding="utf-8")):
        dtype = np.dtype(case["dtype"])
        loss = eval(case["loss"], {name: getattr(losses, name) for name in losses.__all__})  # noqa: S307
        z, y = (_from_hex(case[part]) for part in ("logits", "labels"))
        y = np.asarray(y) if isinstance(y, int) else np.asarray(y).astype(dtype)
        cases.append((loss, np.asarray(z).astype(dtype)[None], y[None]))
    return cases


def write_worst_cases(found):
    """Add the inputs of the worst errors to the kept ones; those of long rows are test points already."""
    kept = json.loads(WORST_CASES.read_text(encoding="utf-8")) if WORST_CASES.exists() else []
    for (_, dtype, _), worst in found.items():
        case = {
            "loss": repr(worst.loss),
            "dtype": dtype,
            "logits": _to_hex(worst.logits),
            "labels": _to_hex(worst.labels),
        }
        if worst.error and np.size(worst.logits) <= FEW and case not in kept:
            kept.append(case)
    lines = ",\n".join(map(json.dumps, kept))
    WORST_CASES.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def _to_hex(x):
    x = np.asarray(x)
    if x.dtype.kind == "i":
        return int(x)
    return [float(entry).hex() for entry in x] if x.ndim else float(x).hex()


def _from_hex(x):
    if isinstance(x, int):
        return x
    return [float.fromhex(entry) for entry in x] if isinstance(x, list) else float.fromhex(x)


# The page -------------------------------------------------------------------------------------

TEXT = f"""# Accuracy

Generated by `python tools/accuracy.py`; the tests repeat what it does.

Every number below is an error against a result certified to 100 bits (`reflosses.oracle`), the
worst over all settings of the loss and all entries of the result, in ulps of the dtype.

- float64: the ulp is that of the sum of the magnitudes of the terms, which is the result itself
  where nothing cancels: every value, and gradients for hard labels. At most {ULPS["value"]} for values,
  {ULPS["gradient"]} for gradients and Hessian diagonals, {OTHERS} elsewhere. Results below 2^-1010 inherit the absolute
  error of a subnormal probability: their ulp is that of 2^-1010.
- float32, float16, bfloat16: at most {ROUNDING}, half of one being the rounding of the exact result.
  What cancellation between terms leaves of float64's rounding is not counted.
  float16 and bfloat16 run float32's code, so that three verbs and one setting stand for all.
- Rows of 10, 100 and 1000 classes are judged at the default setting, those of 2, 3, 5 and 17 at all.
- An error of 0 is a result that is exact, or exact but for a last bit that cancellation excuses.

| loss | dtype | verb | worst error, ulp | at | inputs |
|---|---|---|---|---|---|
"""


def page(found):
    """Return the text of docs/accuracy.md."""
    lines = [
        f"| {name} | {dtype} | {verb.replace('_', ' ')} | {worst.error:.3f} | `{_place(worst)}` | {worst.count} |"
        for (name, dtype, verb), worst in found.items()
    ]
    return TEXT + "\n".join(lines) + "\n"


def _place(worst):
    def short(x):
        entries = [repr(entry) for entry in np.ravel(x).tolist()]
        if len(entries) > 6:
            entries = [*entries[:4], f"... {len(entries)} in all"]
        return f"[{', '.join(entries)}]" if np.ndim(x) else entries[0]

    return f"{worst.loss!r}, {short(worst.logits)}, {short(worst.labels)}"


def judged(case, kept, searches):
    """Return verb -> ``Worst`` of a case over its points, the kept ones and ``searches`` more sets of points."""
    groups = groups_of(*case) + kept
    for seed in range(1, searches + 1):
        groups += [g for g in groups_of(*case, seed, 64) if g[0].ndim == 1 or g[0].shape[1] <= 10]
    return measure(case.loss, groups, verbs_of(case.dtype))


def survey(searches):
    """Return (loss, dtype, verb) -> ``Worst`` over all cases, a process for each core."""
    found = {}
    kept = defaultdict(list)
    for loss, logits, labels in read_worst_cases() if WORST_CASES.exists() else []:
        kept[repr(loss), logits.dtype.name].append((logits, labels))
    with ProcessPoolExecutor() as pool:
        points = [kept[repr(case.loss), np.dtype(case.dtype).name] for case in CASES]
        for case, worsts in zip(CASES, pool.map(judged, CASES, points, [searches] * len(CASES)), strict=True):
            for verb, worst in worsts.items():
                key = type(case.loss).__name__, np.dtype(case.dtype).name, verb
                found[key] = found[key] | worst if key in found else worst
            print(case, file=sys.stderr)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--search", type=int, default=0, metavar="N", help="look at N more sets of points")
    found = survey(parser.parse_args().search)
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(found), encoding="utf-8")
    write_worst_cases(found)


if __name__ == "__main__":
    main()
