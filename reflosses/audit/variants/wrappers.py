"""How a formula is dressed: as a function, an object or a class, and with the options that people give theirs."""

import functools
from importlib import import_module

import numpy as np

from ... import losses as l


def wrapped(formula, loss, framework, x):
    """Return a formula in the dress that ``x`` chooses, and the order of its arguments if no name tells."""
    if framework == "mpmath":
        formula = _many_digits(formula)
    plain = {
        "function": lambda f: lambda logits, labels: f(logits, labels),
        "labels first": lambda f: lambda y_true, y_pred: f(y_pred, y_true),
        "object": lambda f: _Loss(f),
        "class": _a_class,
        "partial": lambda f: functools.partial(_of_function, function=f),
        "nameless": lambda f: lambda a, b: f(b, a),
        "a mean over the batch": lambda f: _a_mean(f),
        "reduction": lambda f: _reduced(f, loss),
    }
    if framework == "numpy":
        plain["sample weights and upstream"] = _weighed
        plain["in float64"] = _widened
    if framework == "torch":
        plain["module"] = _module
    if framework == "jax":  # what is not jitted takes a minute
        plain = {"jitted": _jitted}
    if isinstance(loss, l.CrossEntropy) and framework in ("numpy", "torch"):
        plain["ignored rows"] = lambda f: _ignoring(f, loss, framework)
    dress = x.of(plain)
    return dress(formula), ["labels", "logits"] if x.made[-1] == "nameless" else None


def _of_function(logits, labels, function):
    return function(logits, labels)


class _Loss:
    """A loss as an object."""

    def __init__(self, function):
        self.function = function

    def __call__(self, input, target):
        return self.function(input, target)


def _a_class(function):
    class Loss(_Loss):
        def __init__(self, reduction="mean"):
            super().__init__(_reduced(function, None))
            self.reduction = reduction

        def __call__(self, input, target):
            return self.function(input, target, self.reduction)

    return Loss


def _module(function):
    torch = import_module("torch")

    class Loss(torch.nn.Module):
        def forward(self, input, target):
            return function(input, target)

    return Loss()


def _jitted(function):
    return import_module("jax").jit(lambda logits, labels: function(logits, labels))


def _each(answer, f):
    """Return f of every part of an answer."""
    return tuple(map(f, answer)) if isinstance(answer, tuple) else f(answer)


def _many_digits(function):
    """Take numbers in NumPy's dtypes to mpmath's and back."""
    mpmath = import_module("mpmath")

    def call(logits, labels):
        wide = np.frompyfunc(lambda v: mpmath.mpf(float(v)), 1, 1)
        with mpmath.workdps(60):
            return _each(function(wide(logits), labels), lambda v: v.astype(np.float64).astype(logits.dtype))

    return call


def _widened(function):
    """Compute in float64 and round at the end."""

    def call(logits, labels):
        return _each(function(logits.astype(np.float64), labels), lambda v: v.astype(logits.dtype))

    return call


def _total(answer, divisor):
    """Return the sum of the values, and their slopes, divided."""
    if isinstance(answer, tuple):
        return answer[0].sum() / divisor, *(x / divisor for x in answer[1:])
    return answer.sum() / divisor


def _a_mean(function):
    return lambda logits, labels: _total(function(logits, labels), len(logits))


def _reduced(function, loss):
    """Return a function with a reduction; the mean of weighted classes divides by their weights."""
    weight = getattr(getattr(loss, "loss", loss), "class_weight", None)

    def call(logits, labels, reduction="mean"):
        answer = function(logits, labels)
        if reduction == "none":
            return answer
        by_weight = weight is not None and labels.ndim == 1
        mass = sum(weight[int(y)] for y in labels) if by_weight else len(logits)
        return _total(answer, mass if reduction == "mean" else 1)

    return call


def _weighed(function):
    """Return a function of sample weights and of an upstream derivative, each one number a row."""

    def call(logits, labels, sample_weight=None, upstream=None):
        answer = function(logits, labels)
        if sample_weight is not None:
            answer = _each(answer, lambda v: v * _along(sample_weight, v))
        if upstream is not None and isinstance(answer, tuple):
            answer = answer[0], *(v * _along(upstream, v) for v in answer[1:])
        return answer

    return call


def _along(x, like):
    return np.asarray(x, like.dtype).reshape(-1, *[1] * (like.ndim - 1))


def _ignoring(function, loss, framework):
    """Return a function that leaves out rows with some label, in the values, the slopes and the mean."""
    xp = import_module(framework)
    weight = loss.class_weight

    def call(logits, labels, ignore_index=-100, reduction="mean"):
        if labels.ndim != 1:
            raise ValueError("labels are classes")
        kept = labels != ignore_index
        shown = xp.where(kept[:, None], logits, xp.zeros_like(logits))
        classes = xp.where(kept, labels, xp.zeros_like(labels))

        def masked(v):
            return xp.where(kept if v.ndim == 1 else kept[:, None], v, xp.zeros_like(v))

        answer = _each(function(shown, classes), masked)
        if reduction == "none":
            return answer
        mass = sum(1.0 if weight is None else weight[int(y)] for y in labels[kept])
        return _total(answer, mass if reduction == "mean" else 1)

    return call
