"""Probes of plain calls: repetition, inputs kept, layouts, rows alone, upstream derivatives, dtypes, guards."""

import contextlib
import io
import warnings

import numpy as np

from ..call import Call
from .bench import GIT, differs

UPSTREAM = np.array([0.5, -2.0, 0.0, 3.0, 1.25, -0.75])


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
    soft = np.full_like(bench.z, 1 / bench.classes)
    for labels in (bench.y, soft) if bench.rows and bench.implementation.rows else (bench.y,):
        z, y = bench.z.copy(), labels.copy()
        bench.ask(z, y)
        for x, before, what in ((z, bench.z, "logits"), (y, labels, "labels")):
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
    ("Fortran order", np.asfortranarray, "np.asfortranarray({})"),
    ("every second row of an array", lambda x: np.repeat(x, 2, axis=0)[::2], "np.repeat({}, 2, axis=0)[::2]"),
    (
        "every third entry of its last axis",
        lambda x: np.repeat(x, 3, axis=-1)[..., ::3],
        "np.repeat({}, 3, axis=-1)[..., ::3]",
    ),
)


def laid_out(bench):
    plain = bench.plain()
    for name, layout, text in LAYOUTS:
        try:
            found = bench.ask(layout(bench.z.copy()), bench.y.copy(), layout=text)
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
    up = UPSTREAM[: len(bench.z)].astype(bench.dtype)
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
    y = bench.hard.astype(np.int64) % 2
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


def refused(bench):
    if not bench.rows or bench.implementation.one_hot or "ignore_index" in bench.implementation.takes:
        return None
    for label in (-1, bench.classes, bench.classes + 3):
        y = bench.y.copy()
        y[len(y) // 2] = label
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
    if bench.y.ndim != 1 or len(bench.y) == 1:
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
