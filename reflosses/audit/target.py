"""A loss that somebody wrote, found by ``module:callable`` and recognised by what it takes and returns."""

import contextlib
import importlib
import inspect
import os
import sys
import warnings
from typing import Any

import numpy as np

from ..domain import classes_of
from ..transfer import predicted
from .call import Answer, AnswerError, Call, parameters_of, role
from .formulas import as_rows
from .frames import FRAMES, PACKAGES, detected
from .rivals import Implementation

SIZE = 5, 3  # rows and classes of the first call: unequal, so that no shape fits by accident
DATA = {  # what a booster hands over with the scores; in scikit-learn's interface the labels themselves
    "lightgbm": "lightgbm.Dataset(np.zeros((1, 1)), {})",
    "xgboost": "xgboost.DMatrix(np.zeros((1, 1)), {})",
}
BOOSTERS = tuple(DATA)


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


class Adapted:
    """A target as a function of a ``Call``: its arguments in its order, its answer as NumPy arrays.

    ``takes`` maps the options that it takes to its names of them; ``order`` is that of logits and
    labels.  Whatever returns one number for a batch is called row by row where values of rows are asked.
    """

    def __init__(self, function, loss, framework=None, arguments=None):
        rows = loss.targets.rows
        self.constructed = _construction(function, loss, rows) if inspect.isclass(function) else None
        self.function = function if self.constructed is None else _made(function, self.constructed)
        self.loss, self.framework = loss, framework
        self.defaults = {name: x.default for name, x in _parameters(self.function).items()}
        names = arguments or list(self.defaults)
        booster = framework in BOOSTERS
        roles = [(name, role(name, rows and not booster)) for name in names]  # a booster's weights are the rows'
        self.takes = {r: name for name, r in roles if r not in (None, "logits", "labels")}
        first = [r for _, r in roles if r in ("logits", "labels")]
        self.swapped = first[:2] == ["labels", "logits"] or (first[:1] == ["labels"] and roles[0][1] == "labels")
        self.weighed = booster and "sample_weight" in self.takes
        self.scalar = False
        self.watch = contextlib.nullcontext  # around every call, with what differentiates it

    def named(self, call):
        """Return the options of a call by the target's names of them."""
        options = {**parameters_of(self.loss, self.takes), **call.options}
        if "reduction" in self.takes:
            options.setdefault("reduction", "none")
        if "from_logits" in self.takes:
            options["from_logits"] = True
        if "upstream" in self.takes and call.upstream is not None:
            options["upstream"] = call.upstream
        if self.weighed:
            options.setdefault("sample_weight", np.ones(len(call.logits), call.logits.dtype))
        return {self.takes[k]: v for k, v in options.items() if k in self.takes}

    def __call__(self, call):
        frame, named = FRAMES[self.framework], self.named(call)
        if self.scalar and "reduction" not in call.options:
            return self._row_by_row(frame, call, named)
        with self.watch():
            return frame(self._ordered, call, named)

    def text(self, z, y, options=None):
        """Return a call as text, of arrays as the framework has them; ``{target}`` stands for the target."""
        y = y if self.swapped else DATA.get(self.framework, "{}").format(y)
        pair = (y, z) if self.swapped else (z, y)
        given = [f"{name}={self._spelled(x)}" for name, x in (options or {}).items() if not self._is_default(name, x)]
        made = "" if self.constructed is None else f"({', '.join(f'{k}={v!r}' for k, v in self.constructed.items())})"
        return f"{{target}}{made}({', '.join([*pair, *given])})"

    def _is_default(self, name, x):
        """Whether an option need not be written."""
        return type(x) in (int, float, str) and self.defaults.get(name) == x

    def _spelled(self, x):
        """Return an option as text."""
        if not isinstance(x, tuple | list | np.ndarray):
            return repr(x)
        numbers = np.asarray(x).tolist()
        return f"torch.tensor({numbers})" if self.framework == "torch" else f"np.array({numbers})"

    def _ordered(self, z, y, **named):
        return self.function(y, z, **named) if self.swapped else self.function(z, y, **named)

    def _row_by_row(self, frame, call, named):
        up = call.upstream
        found = []
        for i, (z, y) in enumerate(zip(call.logits, call.labels, strict=True)):
            with self.watch():
                row = Call(z[None], y[None], {}, None if up is None else up[i])
                found.append(frame(self._ordered, row, named))
        value = np.array([x.value for x in found]).reshape(len(found))
        gradient = None if found[0].gradient is None else np.concatenate([x.gradient for x in found])
        return Answer(value, gradient)


def _construction(function, loss, rows):
    """Return the options with which a class that was given in place of a function is constructed."""
    named = {r: name for name in _parameters(function) if (r := role(name, rows))}
    options = {named[k]: v for k, v in parameters_of(loss, named).items()}
    if "reduction" in named:
        options[named["reduction"]] = "none"
    if "from_logits" in named:
        options[named["from_logits"]] = True
    return options


def _made(function, options):
    try:
        return function(**options)
    except Exception as error:
        raise TargetError(f"the target cannot be constructed: {_short(error)}") from None


def _parameters(function):
    """Return a callable's parameters by name, those of a module's ``forward`` where it has one."""
    inner = getattr(function, "forward", None) if not inspect.isfunction(function) else None
    inner = inner or (getattr(function, "call", None) if not inspect.isfunction(function) else None)
    try:
        found = inspect.signature(inner or function).parameters
    except (TypeError, ValueError):
        return {}
    return {name: x for name, x in found.items() if x.kind not in (x.VAR_POSITIONAL, x.VAR_KEYWORD)}


def recognise(function, loss, name, framework=None, arguments=None):
    """Return a callable as an ``Implementation`` of a loss.

    Parameters
    ----------
    function : callable
        Of logits and labels, in the order that the names of its parameters tell, or a class of such.
        A parameter with a name in use, such as ``weight``, ``ignore_index`` or ``gamma``, is passed.
    framework : str, optional
        numpy, torch, jax, keras, tensorflow, lightgbm or xgboost; left out, it is found by trying.
    arguments : sequence of str, optional
        The names of the parameters in order, where the signature does not tell.

    An array as answer is the values, a pair values and gradient, three arrays the Hessian diagonal
    as well; a boosting objective's pair is gradient and Hessian.  What torch, jax and Keras return is
    differentiated.

    Raises
    ------
    TargetError
        If no call succeeds or the answer does not have the shape of the values.
    """
    if framework is not None and framework not in FRAMES:
        raise TargetError(f"framework must be one of {', '.join(FRAMES)}, got {framework!r}")
    adapted = Adapted(function, loss, framework, arguments)
    random = np.random.default_rng(0)
    z = random.standard_normal(SIZE if loss.targets.rows else SIZE[:1]).astype(np.float32)
    z = predicted(loss, z[:, : classes_of(loss)] if loss.targets.rows else z)

    def implementation(**more):
        one_hot = more.get("one_hot", False)

        def plain(loss, z, y):
            answer = adapted(Call(z, as_rows(z, y) if one_hot else y, parameters_of(loss, adapted.takes)))
            return answer[:2] if answer.hessian is None else tuple(answer)

        options = adapted.named(Call(z[:1], z[:1]))
        made: dict[str, Any] = {"call": adapted, "takes": tuple(adapted.takes), **more}
        made["line"] = adapted.text("{z}", "{y}", options)
        return Implementation("", name, type(loss), plain, **made)

    if not loss.targets.rows:
        _first(adapted, z, (np.arange(len(z)) % 2).astype(np.float32))
        return implementation()
    hard = np.arange(len(z)) % z.shape[1]
    soft = np.full(z.shape, 1 / z.shape[1], dtype=np.float32)
    try:
        _first(adapted, z, soft)
        rows = True
    except TargetError:
        rows = False
    try:
        _first(adapted, z, hard)
    except TargetError:
        if not rows:
            raise
        return implementation(one_hot=True)
    return implementation(rows=rows)


def _first(adapted, z, y):
    """Make a first call; find the framework by it, and whether there is one number for a batch."""
    framework = adapted.framework if adapted.framework in PACKAGES else None
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        if adapted.framework is None:
            try:
                adapted.framework = detected(adapted._ordered, z, y, adapted.named(Call(z, y)))
            except Exception as error:
                raise TargetError(told(error)) from None
        try:
            adapted.scalar = False
            answer = adapted(Call(z.copy(), y.copy()))
        except Exception as error:
            raise TargetError(told(error, framework)) from None
    if answer.value is not None:
        if np.shape(answer.value) == () and answer.value.dtype.kind == "f" and adapted.framework not in BOOSTERS:
            adapted.scalar = True
        else:
            _check_shape(answer.value, z.shape[:1], "values")
    for x, what in ((answer.gradient, "a gradient"), (answer.hessian, "a Hessian diagonal")):
        if x is not None:
            _check_shape(x, z.shape, what)


def _check_shape(x, shape, what):
    found = np.shape(x)
    if found != shape:
        raise TargetError(f"the target returns {what} of shape {found} where {shape} is expected")


def told(error, framework=None):
    """Return in a sentence what a call of a target raised, with a framework's arrays if that was asked for."""
    if isinstance(error, TargetError | AnswerError):
        return str(error)
    given = f", called with arrays of {framework}," if framework else ""
    return f"the target{given} raises {_short(error)}"


def _short(error):
    """Return an exception in one line."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # a stranger's exception
        text = ""
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
