"""A loss that somebody wrote, found by ``module:callable`` and recognised by what it takes and returns."""

import contextlib
import importlib
import os
import sys
import warnings

import numpy as np

from ..transfer import predicted
from .rivals import Implementation, as_rows, by_autograd, by_jax

SIZE = 5, 3  # rows and classes of the first call: unequal, so that no shape fits by accident


class TargetError(Exception):
    """Why a target cannot be audited, in one sentence."""


def load(name):
    """Return the callable that ``module:callable`` names; the current directory comes first."""
    module, _, attribute = name.partition(":")
    if not (module and attribute):
        raise TargetError(f"a target is written module:callable, got {name!r}")
    sys.path.insert(0, os.getcwd())
    try:
        found = importlib.import_module(module)
    except (Exception, SystemExit) as error:  # whatever a stranger's module raises
        raise TargetError(f"cannot import {module!r}: {_short(error)}") from None
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(os.getcwd())
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise TargetError(f"{module!r} has no {attribute!r}")
        found = getattr(found, part)
    if not callable(found):
        raise TargetError(f"{name!r} is not callable")
    return found


def recognise(function, loss, name):
    """Return a callable as an ``Implementation`` of a loss.

    It is called as ``function(logits, labels)`` with NumPy arrays and, if it does not take them
    and torch is loaded, with tensors.  An array as answer is the values; a pair is values and
    gradient; torch and jax functions are differentiated.

    Raises
    ------
    TargetError
        If no call succeeds or the answer does not have the shape of the values.
    """
    random = np.random.default_rng(0)
    z = random.standard_normal(SIZE if loss.targets.rows else SIZE[:1]).astype(np.float32)
    z = z[:, : _classes(loss)] if loss.targets.rows and _classes(loss) else z
    z = predicted(loss, z)
    if not loss.targets.rows:
        adapted, argument = _adapted(function, z, (np.arange(len(z)) % 2).astype(np.float32))
        return Implementation("", name, type(loss), adapted, argument=argument)
    hard = np.arange(len(z)) % z.shape[1]
    soft = np.full(z.shape, 1 / z.shape[1], dtype=np.float32)
    try:
        rows, argument = _adapted(function, z, soft)
    except TargetError:
        rows = None
    try:
        adapted, argument = _adapted(function, z, hard)
    except TargetError:
        if rows is None:
            raise

        def adapted(loss, z, y):
            return rows(loss, z, as_rows(z, y))

        return Implementation("", name, type(loss), adapted, one_hot=True, argument=argument)
    return Implementation("", name, type(loss), adapted, rows=rows is not None, argument=argument)


def _classes(loss):
    """Return the number of classes that a loss with a parameter per class is made for, or None."""
    for part in loss:
        if hasattr(part, "__len__"):
            found = _classes(part) if hasattr(part, "_fields") else len(part)
            if found:
                return found
    return None


def _adapted(function, z, y):
    """Return the implementation that the answer to a first call shows, and what a pasted argument is wrapped in."""
    try:
        answer = _call(function, z, y)
        kind = _kind(answer)
    except Exception as error:
        if "torch" not in sys.modules:
            raise TargetError(f"the target raises {_short(error)}") from None
        kind, answer = _tensors(function, z, y)
    first = answer[0] if kind == "pair" else answer
    _check_shape(first, z.shape[:1], "values")
    if kind == "pair":
        _check_shape(answer[1], z.shape, "a gradient")
    made = {
        "values": lambda loss, z, y: (_numpy(function(z, y)), None),
        "pair": lambda loss, z, y: tuple(_numpy(x) for x in function(z, y)),
        "torch": lambda loss, z, y: by_autograd(function, z, y),
        "jax": lambda loss, z, y: by_jax(function, z, y),
    }[kind]
    try:  # torch and jax functions may be without a derivative
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made(None, z.copy(), y.copy())
    except Exception as error:
        raise TargetError(f"the target's gradient raises {_short(error)}") from None
    return made, "torch.tensor({})" if kind == "torch" else "{}"


def _call(function, z, y):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return function(z.copy(), y.copy())


def _tensors(function, z, y):
    import torch

    try:
        return "torch", _call(lambda z, y: function(torch.from_numpy(z), torch.from_numpy(y)), z, y)
    except Exception as error:
        raise TargetError(f"the target raises {_short(error)}") from None


def _kind(answer):
    if isinstance(answer, tuple | list) and len(answer) == 2:
        return "pair"
    framework = type(answer).__module__.partition(".")[0]
    return {"torch": "torch", "jax": "jax", "jaxlib": "jax"}.get(framework, "values")


def _check_shape(x, shape, what):
    try:
        found = np.shape(_numpy(x))
    except Exception:
        raise TargetError(f"the target returns {type(x).__name__}, not numbers") from None
    if found != shape:
        hint = "; an audit needs one value for every row, without a reduction" if found == () else ""
        raise TargetError(f"the target returns {what} of shape {found} where {shape} is expected{hint}")


def _numpy(x):
    """Return an answer as an array of real numbers."""
    array = np.asarray(x.detach() if hasattr(x, "detach") else x)
    if array.dtype.kind not in "fiub" and array.dtype.name != "bfloat16":
        raise TypeError(f"{array.dtype} is not a dtype of real numbers")
    return array


def _short(error):
    """Return an exception in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
