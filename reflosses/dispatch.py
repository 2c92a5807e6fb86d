"""How compiled code reaches a loss's methods.

A loss is a NamedTuple.  In Python ``loss.kernel(z, y)`` is an ordinary method call; here the same
expression is given a meaning in compiled code, on every target: Numba compiles the method that
belongs to the tuple's class and inlines it.  A driver is therefore written once for all losses,
and a user's own NamedTuple enters by the same door as ours.

Passing compiled functions as arguments, or closing over them, would do the same job but miss
Numba's disk cache in every process; the type of a tuple is part of the cache key.
"""

from functools import cache, wraps
from inspect import signature
from types import FunctionType
from typing import NamedTuple

from . import single as short
from . import special
from .special import overload

# special's function -> its namesake in single, wherever the two differ
SHORT = {
    id(vars(special)[name]): f for name, f in vars(short).items() if callable(f) and vars(special).get(name, f) is not f
}


class Single(NamedTuple):
    """A loss whose kernels are compiled from the short functions of ``single.py``.

    The drivers receive ``Single(loss)`` for float32 data and ``loss`` for float64.
    """

    loss: tuple

    def __getattr__(self, name):
        method = _with_short_functions(getattr(type(self.loss), name))
        return lambda *arguments: method(self.loss, *arguments)


@cache
def _with_short_functions(method):
    """Return the method with every function of ``special``, in its helpers too, replaced by its short namesake."""
    given = method.__globals__
    names = {name: _shortened(given[name]) for name in method.__code__.co_names if name in given}
    return FunctionType(method.__code__, given | names, method.__name__, method.__defaults__)


def _shortened(value):
    function = getattr(value, "py_func", value)
    if id(value) in SHORT:
        return SHORT[id(value)]
    if isinstance(function, FunctionType) and function.__module__ != special.__name__:
        return special.inline(_with_short_functions(function))
    return value


def by_precision(short_function):
    """Give a function of a loss and numbers a second body, for the loss that is a ``Single``."""

    def decorate(function):
        @overload(function)
        def _(loss, *arguments):
            return short_function if loss.instance_class is Single else function

        return function

    return decorate


# ---- which contract a loss fulfils -------------------------------------------------------
# These look at a loss, or, while Numba compiles, at the type of one.


def _is_single(loss):
    return getattr(loss, "instance_class", type(loss)) is Single


def _first(loss):
    return loss.types[0] if hasattr(loss, "types") else loss[0]


def _class_of(loss):
    own = _first(loss) if _is_single(loss) else loss
    return getattr(own, "instance_class", type(own))


def changes_labels(loss):
    """Whether a loss is another loss, its first field, of labels that ``relabel`` changes."""
    return hasattr(_class_of(loss), "relabel")


def _inner(loss):
    return _first(_first(loss)) if _is_single(loss) else _first(loss)


def counts_positive(loss):
    """Whether a change of labels asks how many labels of a row are above 0."""
    return getattr(_class_of(loss), "counts_positive", False)


def contract(loss):
    """Return the name of the contract that a loss, or the loss within it, fulfils."""
    while changes_labels(loss):
        loss = _inner(loss)
    kind = _class_of(loss)
    rows = hasattr(kind, "targets") and kind.targets.rows  # a transfer function has no targets
    return getattr(kind, "contract", "classwise" if rows else "pointwise")


def takes_logits(loss):
    """Whether a loss, or the loss within it, is one of logits and not of probabilities."""
    while changes_labels(loss):
        loss = _inner(loss)
    return not hasattr(_class_of(loss), "predictions")


LINEAR = "one_against_rest", "given", "rescaled"  # contracts in which a class pays its label times the kernel


def chosen_by(question, bodies):
    """Give a function of a loss and more another body for each answer about the loss that is named."""
    bodies = {answer: getattr(body, "py_func", body) for answer, body in bodies.items()}

    def decorate(function):
        @wraps(function)
        def chosen(loss, *arguments):
            return bodies.get(question(loss), function)(loss, *arguments)

        @overload(chosen)
        def _(loss, *arguments):
            return bodies.get(question(loss), function)

        return chosen

    return decorate


def by_contract(**bodies):
    """Give a function of a loss and more another body for each contract that is named."""
    return chosen_by(contract, bodies)


def by_change_of_labels(changed):
    """Give a function of a loss and more another body for losses that change labels."""
    return chosen_by(changes_labels, {True: changed})


def bare(loss):
    """Return the loss that a ``Single`` marks, or the loss itself."""
    return loss.loss if _is_single(loss) else loss


@overload(bare)
def _(loss):
    return (lambda loss: loss.loss) if _is_single(loss) else (lambda loss: loss)


# ---- the methods of a loss ---------------------------------------------------------------


def pointwise(self, z, y, low):
    """Return (ℓ, ℓ', ℓ'') of a pointwise loss at the label y, or y + low for kernels that ask for it.

    z is the logit, or what ``open_logit`` made of it.
    """
    return _asked(self, "kernel", z, y, low)


def pointwise_label(self, z, y, low):
    """Return ∂ℓ/∂y."""
    return _asked(self, "label_kernel", z, y, low)


def pointwise_parameters(self, z, y, low):
    """Return ∂ℓ/∂θ for every real parameter θ, in order."""
    return _asked(self, "parameter_kernel", z, y, low)


def _asked(loss, name, z, y, low):
    both = getattr(_class_of(loss), name).__code__.co_argcount == 4
    return getattr(loss, name)(z, y, low) if both else getattr(loss, name)(z, y)


def classwise(self, u, q, c, y, n):
    """Return (F, F', F'') of what one class pays, as a function of u = log q."""
    return self.kernel(u, q, c, y, n)


def classwise_label(self, u, q, c, y, n):
    """Return ∂F/∂y."""
    return self.label_kernel(u, q, c, y, n)


def classwise_parameters(self, u, q, c, y, n):
    """Return ∂F/∂θ for every real parameter θ, in order."""
    return self.parameter_kernel(u, q, c, y, n)


def one_against_rest(self, x, low, n):
    """Return (φ, φ', φ'') of what a label pays, as a function of its log-odds x + low."""
    return self.kernel(x, low, n)


def one_against_rest_parameters(self, x, low, n):
    """Return ∂φ/∂θ for every real parameter θ, in order."""
    return self.parameter_kernel(x, low, n)


def of_probability(self, u, q, c):
    """Return (φ, φ', φ'') of what a label pays, as a function of u = log q."""
    return self.kernel(u, q, c)


def of_probability_parameters(self, u, q, c):
    """Return ∂φ/∂θ for every real parameter θ, in order."""
    return self.parameter_kernel(u, q, c)


def tempered(self, log_p, low, q, c, y):
    """Return (F, F', F'') of what one class pays, as a function of u = log_t p."""
    return self.kernel(log_p, low, q, c, y)


def tempered_label(self, log_p, low, q, c, y):
    """Return ∂F/∂y."""
    return self.label_kernel(log_p, low, q, c, y)


def tempered_parameters(self, log_p, low, q, c, y):
    """Return ∂F/∂θ for every real parameter θ, in order, at a fixed p."""
    return self.parameter_kernel(log_p, low, q, c, y)


def tempered_curvature(self, log_p, low):
    """Return F'' of a class whose label is its probability."""
    return self.curvature_kernel(log_p, low)


SIGNATURES = {  # Numba takes the names from the signature
    "z, y": lambda kernel: lambda self, z, y, low: kernel(bare(self), z, y),
    "z, y, low": lambda kernel: lambda self, z, y, low: kernel(bare(self), z, y, low),
    "sides, y, low": lambda kernel: lambda self, z, y, low: kernel(bare(self), z, y, low),
    "u, q, c, y, n": lambda kernel: lambda self, u, q, c, y, n: kernel(bare(self), u, q, c, y, n),
    "log_p, low, q, c, y": lambda kernel: lambda self, log_p, low, q, c, y: kernel(bare(self), log_p, low, q, c, y),
    "log_p, low": lambda kernel: lambda self, log_p, low: kernel(bare(self), log_p, low),
    "u, q, c": lambda kernel: lambda self, u, q, c: kernel(bare(self), u, q, c),
    "x, low, n": lambda kernel: lambda self, x, low, n: kernel(bare(self), x, low, n),
    "y, low, n, positive": lambda kernel: lambda self, y, low, n, positive: kernel(bare(self), y, low, n, positive),
}


def _open(door, method):
    @overload(door)
    def _(self, *arguments):
        function = getattr(_class_of(self), method)
        kernel = special.inline(_with_short_functions(function) if _is_single(self) else function)
        return SIGNATURES[", ".join(list(signature(function).parameters)[1:])](kernel)


def relabel(self, y, low, n, positive):
    """Return, as high + low, what becomes of the label y + low of one of n classes, ``positive`` of them above 0."""
    return self.relabel(y, low, n, positive)


def relabel_slopes(self, y, low, n, positive):
    """Return the derivatives of a changed label in the label, and in the parameter of the change."""
    return self.relabel_slopes(y, low, n, positive)


_open(pointwise, "kernel")
_open(pointwise_label, "label_kernel")
_open(pointwise_parameters, "parameter_kernel")
_open(classwise, "kernel")
_open(classwise_label, "label_kernel")
_open(classwise_parameters, "parameter_kernel")
_open(one_against_rest, "kernel")
_open(one_against_rest_parameters, "parameter_kernel")
_open(of_probability, "kernel")
_open(of_probability_parameters, "parameter_kernel")
_open(tempered, "kernel")
_open(tempered_label, "label_kernel")
_open(tempered_parameters, "parameter_kernel")
_open(tempered_curvature, "curvature_kernel")
_open(relabel, "relabel")
_open(relabel_slopes, "relabel_slopes")


# ---- losses of changed labels ------------------------------------------------------------


def within(loss):
    """Return the loss that another one holds as its first field."""
    return bare(loss)[0]


@overload(within)
def _(loss):
    return within


@by_change_of_labels(lambda loss: core(within(loss)))
def core(loss):
    """Return the loss within all changes of labels."""
    return loss


def relabelled(loss, y, low, n, positive):
    """Return a label after the changes, outermost first, for which ``positive`` holds a count."""
    if len(positive) == 0:
        return y, low
    return relabelled(within(loss), *relabel(loss, y, low, n, positive[0]), n, positive[1:])


@overload(relabelled)
def _(loss, y, low, n, positive):
    return relabelled if len(positive) else lambda loss, y, low, n, positive: (y, low)


def _slope_through(loss, y, low, n, positive, slope):
    inner = slope_in_label(within(loss), *relabel(loss, y, low, n, positive[0]), n, positive[1:], slope)
    return special.mass_times(relabel_slopes(loss, y, low, n, positive[0])[0], inner)


@by_change_of_labels(_slope_through)
def slope_in_label(loss, y, low, n, positive, slope):
    """Return ∂ℓ/∂y from the slope in the label after all changes."""
    return slope


def _slopes_of_changes(loss, y, low, n, positive, slope):
    t, t_low = relabel(loss, y, low, n, positive[0])
    inner = slope_in_label(within(loss), t, t_low, n, positive[1:], slope)
    own = special.mass_times(relabel_slopes(loss, y, low, n, positive[0])[1], inner)
    return (*change_slopes(within(loss), t, t_low, n, positive[1:], slope), own)


@by_change_of_labels(_slopes_of_changes)
def change_slopes(loss, y, low, n, positive, slope):
    """Return ∂ℓ/∂s for the parameter s of every change, innermost first, from the same slope."""
    return ()
