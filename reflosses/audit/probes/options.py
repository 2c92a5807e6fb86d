"""Probes of options: reductions, ignored rows, weights of classes and rows, one number for a batch."""

import warnings

import numpy as np

from ..call import Call
from ..expected import counted, divisors, expected
from .bench import GIT, differs


def reduced(bench):
    for reduction in ("mean", "sum"):
        for soft in (False, True):
            found = _options(bench, {"reduction": reduction}, soft)
            if found:
                return found
    return None


def _options(bench, options, soft=False, y=None):
    """Call with options and compare with what is expected; return what is wrong."""
    if soft and not (bench.rows and bench.implementation.rows):
        return None
    if "class_weight" in options and soft:
        return None
    y = bench.y if y is None else y
    if soft:
        y = np.random.default_rng(2).dirichlet(np.ones(bench.classes), len(bench.z)).astype(bench.dtype)
    elif bench.implementation.one_hot:
        y = bench.hard
    call = Call(bench.z, y, options)
    try:
        given = bench.labels(y) if not soft and bench.implementation.one_hot else y
        found = bench.ask(bench.z.copy(), given.copy(), options)
    except Exception:
        return None
    counts = counted(call)
    if not counts.any():  # nobody owes a mean of nothing
        return None
    value, gradient = expected(bench.loss, call)
    slopes = found.gradient
    if slopes is not None and slopes.shape == gradient.shape and (slopes[~counts] != 0).any():
        phrase = "an ignored row has a gradient that is not 0"
        return "ignored-row-gradient", phrase, GIT + "PaddlePaddle/Paddle/pull/28622"
    if not differs(found.value, value) and not differs(found.gradient, gradient):
        return None
    return _other_rule(bench, call, found, value, gradient)


def _other_rule(bench, call, found, value, gradient):
    options = call.options
    said = ", ".join(f"{k}={v}" for k, v in options.items())
    if options.get("reduction") == "mean":
        total, slopes = expected(bench.loss, call._replace(options={**options, "reduction": "sum"}))
        for name, divisor in divisors(bench.loss, call).items():
            if divisor and not differs(found.value, total / divisor) and not differs(found.gradient, slopes / divisor):
                if "sample_weight" in options and divisor == np.sum(options["sample_weight"]):
                    return None
                if "class_weight" not in options and divisor == counted(call).sum():
                    return None  # the weights are the loss's own, and need not be those of a mean
                return (
                    "mean-divisor",
                    f"the mean divides by {name} where it should divide by the weights of the rows that count",
                    GIT + "llvm/torch-mlir/pull/3585",
                )
        if "sample_weight" in options and not differs(found.value, total / np.sum(options["sample_weight"])):
            return None
        rows = value if np.ndim(value) else None
        gamma = options.get("gamma", getattr(bench.loss, "gamma", None))
        if gamma and rows is None:
            entropy = bench.loss._replace(gamma=0.0)
            if getattr(entropy, "alpha", None) is not None and not bench.rows:
                entropy = entropy._replace(alpha=None)
            mean = float(expected(entropy, call)[0])
            if not differs(found.value, (1 - np.exp(-mean)) ** gamma * mean):
                return (
                    "focus-of-the-mean",
                    "the focus is applied to the mean cross entropy, not to every row",
                    GIT + "kaidic/LDAM-DRW/issues/6",
                )
        if np.size(found.value) == 1 and np.isfinite(found.value).all() and float(found.value) != 0:
            return (
                "mean-divisor",
                f"with {said} the sum of the rows is divided by {total / float(found.value):.6g}",
                None,
            )
    if "ignore_index" in options:
        return "ignored-rows", f"with {said} ignored rows are not left out", GIT + "pytorch/pytorch/issues/95794"
    option = next(iter(k for k in options if k != "reduction"), "reduction")
    return f"option-{option}", f"with {said} results are wrong", None


def ignoring(bench):
    if not bench.rows or bench.implementation.one_hot:
        return None
    hidden = np.arange(len(bench.y)) % 3 == 1
    for index in (-100, -1, bench.classes, bench.classes + 5, 0):
        y = bench.y.copy()
        y[hidden] = index
        z = bench.z
        for options in _with_weights(bench, {"ignore_index": index}):
            found = _options(bench, options, y=y)
            if found:
                return found
        try:
            dirty = z.copy()
            dirty[hidden] = np.nan
            x = bench.ask(dirty, y.copy(), {"ignore_index": index})
        except Exception:
            continue
        kept = np.flatnonzero(y != index)
        if x.value is not None and x.value.shape == y.shape and not np.isfinite(x.value[kept]).all():
            return "ignored-nan", "nan in an ignored row reaches others", GIT + "pytorch/pytorch/issues/95794"
    return None


def _with_weights(bench, options):
    """Yield options alone and with reductions and weights, as far as a target takes them."""
    takes = bench.implementation.takes
    reductions = ("none", "sum", "mean") if "reduction" in takes else (None,)
    for reduction in reductions:
        for weighted in (False, True) if "class_weight" in takes and bench.rows else (False,):
            for s in (
                (0.0, 0.1) if "smoothing" in takes and "smoothing" not in getattr(bench.loss, "_fields", ()) else (0.0,)
            ):
                made = dict(options)
                made |= {"reduction": reduction} if reduction else {}
                made |= {"class_weight": bench.weights()} if weighted else {}
                made |= {"smoothing": s} if s else {}
                yield made


def weighted(bench):
    for options in _with_weights(bench, {}):
        if "class_weight" in options and not hasattr(bench.loss, "class_weight"):
            continue
        if options and (found := _options(bench, options)):
            return found
    return None


def sampled(bench):
    w = np.array([0.5, 2.0, 0.0, 1.0, 3.0, 0.25])[: len(bench.z)].astype(bench.dtype)
    for reduction in ("none", "sum", "mean") if "reduction" in bench.implementation.takes else (None,):
        options = {"sample_weight": w, **({"reduction": reduction} if reduction else {})}
        if found := _options(bench, options):
            return found
    return None


def pos_weighted(bench):
    return _options(bench, {"pos_weight": 3.0}) if type(bench.loss).__name__ == "BinaryCrossEntropy" else None


def batch_of_numbers(bench):
    """A target with one number for a batch: the sum, or the mean."""
    if not getattr(bench.implementation.call, "scalar", False):
        return None
    call = bench.implementation.call
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        call.scalar = False
        try:
            found = bench.ask(bench.z.copy(), bench.y.copy())
        finally:
            call.scalar = True
    hard = Call(bench.z, bench.y, {})
    rows, slopes = expected(bench.loss, hard)
    total = rows.sum()
    known = divisors(bench.loss, hard)
    legal = {1.0, float(len(rows)), known["weights of the rows that count"]}
    if any(not differs(found.value, total / d) and not differs(found.gradient, slopes / d) for d in legal):
        return None
    call_mean = hard._replace(options={"reduction": "mean"})
    mean, slope = expected(bench.loss, call_mean)
    return _other_rule(bench, call_mean, found, mean, slope)
