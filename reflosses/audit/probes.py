"""How a target behaves beside its numbers: options, upstream derivatives, layouts, repetition, guards.

One list, ``PROBES``: every probe says why it exists and where the world met it, calls the target, and
returns what is wrong, or None.  ``lowers`` is the grade that a failure leaves at best; advice about
calls that nobody owes an answer to lowers none.
"""

import contextlib
import io
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..domain import classes_of
from ..spelling import spelled
from ..transfer import predicted
from .call import Call
from .expected import counted, divisors, expected
from .findings import Finding

GIT = "https://github.com/"
NEAR = 1e-3  # relative to the largest: probes look for other rules, not for lost digits


class Probe(NamedTuple):
    """One question about behaviour."""

    name: str
    reason: str
    ask: Callable  # Bench -> None, or (finding's name, phrase, link)
    needs: tuple = ()  # the options without which there is nothing to ask
    lowers: str = "A"


class Bench:
    """A target, its loss, and rows to call it on."""

    def __init__(self, implementation, loss, dtype):
        self.implementation, self.loss, self.dtype = implementation, loss, np.dtype(dtype)
        random = np.random.default_rng(5)
        self.rows = loss.targets.rows
        self.classes = classes_of(loss, 3) if self.rows else 1
        z = 1.5 * random.standard_normal((6, self.classes) if self.rows else 6)
        self.z = predicted(loss, z.astype(self.dtype))
        y = np.arange(6) % self.classes if self.rows else (np.arange(6) % 2).astype(self.dtype)
        self.y = self.labels(y)

    def labels(self, y):
        if self.rows and self.implementation.one_hot:
            return (y[:, None] == np.arange(self.classes)).astype(self.dtype)
        return y

    def ask(self, z, y, options=None, upstream=None):
        """Return the target's answer, with whatever it prints or warns kept quiet."""
        with warnings.catch_warnings(), np.errstate(all="ignore"), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            return self.implementation.call(Call(z, y, options or {}, upstream))

    def plain(self):
        return self.ask(self.z.copy(), self.y.copy())

    def weights(self):
        return tuple(np.linspace(0.5, 2.0, self.classes).tolist())


def differs(found, wanted):
    """Whether an array is visibly another one."""
    if found is None:
        return False
    found, wanted = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    if found.shape != wanted.shape:
        return True
    scale = np.abs(wanted[np.isfinite(wanted)]).max(initial=0.0)
    return not np.allclose(found, wanted, rtol=NEAR, atol=NEAR * scale + 1e-30, equal_nan=True)


def same(a, b):
    return all(
        (x is None and y is None) or np.array_equal(np.asarray(x), np.asarray(y), equal_nan=True) for x, y in zip(a, b)
    )


def repeated(bench):
    z, y = bench.z[::-1], bench.y[::-1]  # classes in another order than before: what is kept may fit the old one
    first, second = (bench.ask(z.copy(), y.copy()) for _ in range(2))
    if any(differs(x, y) for x, y in zip(second, first) if y is not None):
        return (
            "state-kept",
            "a second call with the same inputs gives another answer: state is kept",
            GIT + "yatengLG/Focal-Loss-Pytorch/issues/9",
        )
    return None


def unchanged(bench):
    z, y = bench.z.copy(), bench.y.copy()
    bench.ask(z, y)
    for x, before, what in ((z, bench.z, "logits"), (y, bench.y, "labels")):
        if not np.array_equal(x, before):
            return (
                "inputs-changed",
                f"the {what} are changed in place by the call",
                GIT + "eladhoffer/utils.pytorch/issues/13",
            )
    return None


def printed(bench):
    said = io.StringIO()
    with warnings.catch_warnings(), np.errstate(all="ignore"), contextlib.redirect_stdout(said):
        warnings.simplefilter("ignore")
        bench.implementation.call(Call(bench.z.copy(), bench.y.copy()))
    return ("prints", f"it prints {said.getvalue()[:40]!r}", None) if said.getvalue() else None


def kept_dtype(bench):
    found = bench.plain()
    for x, what in ((found.value, "values"), (found.gradient, "gradients")):
        if x is not None and x.dtype != bench.dtype:
            return (
                "dtype-changed",
                f"{what} are {x.dtype.name} for {bench.dtype.name} logits",
                GIT + "pytorch/pytorch/issues/197098",
            )
    return None


LAYOUTS = (
    ("Fortran order", np.asfortranarray),
    ("every second row of an array", lambda x: np.repeat(x, 2, axis=0)[::2]),
    ("every third entry of its last axis", lambda x: np.repeat(x, 3, axis=-1)[..., ::3]),
)


def laid_out(bench):
    plain = bench.plain()
    for name, layout in LAYOUTS:
        try:
            found = bench.ask(layout(bench.z.copy()), bench.y.copy())
        except Exception:
            continue
        if any(differs(x, y) for x, y in zip(found, plain) if y is not None):
            return (
                "layout",
                f"logits in {name} give other answers than the same logits in C order",
                GIT + "pytorch/pytorch/issues/67167",
            )
    return None


def alone(bench):
    plain = bench.plain()
    if plain.value is None or plain.value.shape == ():
        return None
    for i in range(len(bench.z)):
        one = bench.ask(bench.z[i : i + 1].copy(), bench.y[i : i + 1].copy())
        if differs(one.value, plain.value[i : i + 1]):
            return (
                "rows-mixed",
                "a row's value depends on the other rows of its batch",
                GIT + "kaidic/LDAM-DRW/issues/6",
            )
    z = bench.z.copy()
    z[0] = np.nan
    found = bench.ask(z, bench.y.copy())
    if not np.isfinite(np.asarray(found.value, np.float64)[1:]).all():
        return "nan-spreads", "nan in one row reaches the values of others", None
    return None


def upstreamed(bench):
    plain = bench.plain()
    if plain.gradient is None or plain.value is None or plain.value.shape == () or _frame(bench) is None:
        return None
    up = np.array([0.5, -2.0, 0.0, 3.0, 1.25, -0.75]).astype(bench.dtype)
    found = bench.ask(bench.z.copy(), bench.y.copy(), upstream=up).gradient
    g = np.asarray(plain.gradient, np.float64)
    along = up.astype(np.float64).reshape(-1, *[1] * (g.ndim - 1))
    if not differs(found, g * along):
        return None
    rules = (
        ("upstream-ignored", "the upstream derivative is ignored", g),
        ("upstream-of-row-0", "every row is multiplied by the upstream derivative of row 0", g * along[0]),
        ("upstream-mean", "every row is multiplied by the mean of the upstream derivatives", g * along.mean()),
        ("upstream-sum", "every row is multiplied by the sum of the upstream derivatives", g * along.sum()),
        ("upstream-squared", "the upstream derivative is applied twice", g * along**2),
        ("upstream-absolute", "the upstream derivative loses its sign", g * abs(along)),
        ("upstream-last", "every row is multiplied by the upstream derivative of the last row", g * along[-1]),
        ("upstream-mean-of-batch", "the upstream derivative is divided by the number of rows", g * along / len(g)),
        ("upstream-reversed", "rows are multiplied by the upstream derivatives in reverse order", g * along[::-1]),
        ("upstream-shifted", "every row is multiplied by the upstream derivative of another", g * np.roll(along, 1, 0)),
    )
    for name, phrase, rule in rules:
        if not differs(found, rule):
            return (
                name,
                f"{phrase}, with upstream derivatives that differ between rows",
                GIT + "linkedin/Liger-Kernel/pull/1298",
            )
    return (
        "upstream-wrong",
        "gradients under an upstream derivative that differs between rows are wrong",
        GIT + "linkedin/Liger-Kernel/pull/680",
    )


def _frame(bench):
    call = bench.implementation.call
    differentiated = getattr(call, "framework", None) in ("torch", "jax", "keras", "tensorflow")
    return True if differentiated or "upstream" in bench.implementation.takes else None


TYPES = np.uint8, np.int8, np.int16, np.int32, np.int64, np.bool_


def typed(bench):
    y = np.arange(6) % 2
    try:
        plain = bench.ask(bench.z.copy(), bench.labels(y) if bench.rows else y.astype(bench.dtype))
    except Exception:
        return None
    if bench.implementation.one_hot:
        return None
    for kind in TYPES:
        try:
            found = bench.ask(bench.z.copy(), y.astype(kind))
        except Exception:  # refusing a dtype is legal
            continue
        if any(differs(x, w) for x, w in zip(found, plain) if w is not None):
            return (
                "label-dtype",
                f"labels of {np.dtype(kind).name} give other answers than the same labels in int64",
                GIT + "google-deepmind/optax/commit/a77d69c4ed1df077bcb431a86ddca0093e2441dd",
            )
    return None


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
        y = np.arange(6) % bench.classes
    call = Call(bench.z, y, options)
    try:
        given = bench.labels(y) if not soft and bench.implementation.one_hot else y
        found = bench.ask(bench.z.copy(), given.copy(), options)
    except Exception:
        return None
    value, gradient = expected(bench.loss, call)
    counts = counted(call)
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
    for index in (-100, -1, bench.classes, bench.classes + 5, 0):
        y = bench.y.copy()
        y[[1, 4]] = index
        z = bench.z
        for options in _with_weights(bench, {"ignore_index": index}):
            found = _options(bench, options, y=y)
            if found:
                return found
        try:
            dirty = z.copy()
            dirty[[1, 4]] = np.nan
            x = bench.ask(dirty, y.copy(), {"ignore_index": index})
        except Exception:
            continue
        kept = np.setdiff1d(np.arange(6), np.flatnonzero(y == index))
        if x.value is not None and x.value.shape == (6,) and not np.isfinite(x.value[kept]).all():
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
    w = np.array([0.5, 2.0, 0.0, 1.0, 3.0, 0.25]).astype(bench.dtype)
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


def refused(bench):
    if not bench.rows or bench.implementation.one_hot or "ignore_index" in bench.implementation.takes:
        return None
    for label in (-1, bench.classes, bench.classes + 3):
        y = bench.y.copy()
        y[2] = label
        try:
            found = bench.ask(bench.z.copy(), y)
        except Exception:
            continue
        value = np.asarray(found.value, np.float64) if found.value is not None else found.gradient
        if np.isfinite(value).all():
            return (
                "illegal-label-accepted",
                f"the label {label} of {bench.classes} classes is accepted without a word",
                GIT + "pytorch/pytorch/issues/32049",
            )
    return None


def misshapen(bench):
    if bench.y.ndim != 1:
        return None
    try:
        found = bench.ask(bench.z.copy(), bench.y[:, None].copy())
    except Exception:
        return None
    n = len(bench.z)
    if found.value is not None and found.value.shape == (n, n):
        return (
            "shapes-broadcast",
            f"labels of shape ({n}, 1) are broadcast against {n} rows to ({n}, {n}) results",
            GIT + "tensorflow/addons/pull/810",
        )
    return None


PROBES = (
    Probe("repeated", "a call must not change what the next one gives", repeated, lowers="F"),
    Probe("inputs kept", "inputs are the caller's", unchanged, lowers="D"),
    Probe("layout", "an array is its numbers, however they lie in memory", laid_out, lowers="F"),
    Probe("rows alone", "rows know nothing of each other", alone, lowers="F"),
    Probe("upstream", "tests with upstream ones pass whatever multiplies them", upstreamed, lowers="F"),
    Probe("label types", "1 - y and -y wrap in uint8", typed, lowers="F"),
    Probe("batch", "a number for a batch is its sum or its mean", batch_of_numbers, lowers="F"),
    Probe("reductions", "sums and means, over what counts", reduced, ("reduction",), "F"),
    Probe("ignored rows", "they pay nothing, whatever they hold", ignoring, ("ignore_index",), "F"),
    Probe("class weights", "and what their mean divides by", weighted, ("class_weight",), "F"),
    Probe("sample weights", "they multiply rows", sampled, ("sample_weight",), "F"),
    Probe("pos_weight", "it multiplies the part of y = 1", pos_weighted, ("pos_weight",), "F"),
    Probe("quiet", "a function returns, it does not print", printed),
    Probe("dtype", "results have the dtype of the logits", kept_dtype),
    Probe("illegal labels", "a label that is no class must not become another one", refused),
    Probe("shapes", "(n,) and (n, 1) broadcast to (n, n)", misshapen),
)


def probed(implementation, loss, dtype):
    """Return the grade that the probes leave at best, and what they found."""
    bench, lowest, found = Bench(implementation, loss, dtype), "A", []
    for probe in PROBES:
        if not set(probe.needs) <= set(implementation.takes):
            continue
        try:
            wrong = probe.ask(bench)
        except Exception as error:
            wrong = (
                "raises",
                f"the probe of {probe.name} raises {type(error).__name__}: {' '.join(str(error).split())[:120]}",
                None,
            )
        if wrong is None:
            continue
        name, phrase, link = wrong
        lowest = max(lowest, probe.lowers)
        said = f"{spelled(loss)}: {phrase}" + (f": this is {link}" if link else "")
        found.append(Finding("advice" if probe.lowers == "A" else "mistake", name, said, link, 1.0))
    return lowest, found
