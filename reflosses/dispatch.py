"""How compiled code reaches a loss's methods.

A loss is a NamedTuple.  In Python ``loss.kernel(z, y)`` is an ordinary method call; here the same
expression is given a meaning in compiled code, on every target: Numba compiles the method that
belongs to the tuple's class and inlines it.  A driver is therefore written once for all losses,
and a user's own NamedTuple enters by the same door as ours.

Passing compiled functions as arguments, or closing over them, would do the same job but miss
Numba's disk cache in every process; the type of a tuple is part of the cache key.
"""

from functools import cache
from types import FunctionType
from typing import NamedTuple

from numba.extending import overload

from . import single as short
from . import special

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
    """Return the method with every function of ``special`` replaced by its short namesake."""
    names = {name: SHORT.get(id(value), value) for name, value in method.__globals__.items()}
    return FunctionType(method.__code__, names, method.__name__, method.__defaults__)


def by_precision(short_function):
    """Give a function of a loss and numbers a second body, for the loss that is a ``Single``."""

    def decorate(function):
        @overload(function, jit_options={"error_model": "numpy", "forceinline": True}, strict=False)
        def _(loss, *arguments):
            return short_function if loss.instance_class is Single else function

        return function

    return decorate


def pointwise(self, z, y):
    """Return (ℓ, ℓ', ℓ'') of a pointwise loss at the logit z and label y."""
    return self.kernel(z, y)


def pointwise_label(self, z, y):
    """Return ∂ℓ/∂y."""
    return self.label_kernel(z, y)


def pointwise_parameters(self, z, y):
    """Return ∂ℓ/∂θ for every real parameter θ, in order."""
    return self.parameter_kernel(z, y)


def classwise(self, u, q, c, y, n):
    """Return (F, F', F'') of what one class pays, as a function of u = log q."""
    return self.kernel(u, q, c, y, n)


def classwise_label(self, u, q, c, y, n):
    """Return ∂F/∂y."""
    return self.label_kernel(u, q, c, y, n)


def classwise_parameters(self, u, q, c, y, n):
    """Return ∂F/∂θ for every real parameter θ, in order."""
    return self.parameter_kernel(u, q, c, y, n)


def _open(door, method):
    @overload(door, jit_options={"error_model": "numpy", "forceinline": True}, strict=False)
    def _(self, *arguments):
        if self.instance_class is not Single:
            return getattr(self.instance_class, method)
        kernel = special.inline(_with_short_functions(getattr(self.types[0].instance_class, method)))
        if len(arguments) == 2:  # Numba takes the names from the signature
            return lambda self, z, y: kernel(self.loss, z, y)
        return lambda self, u, q, c, y, n: kernel(self.loss, u, q, c, y, n)


_open(pointwise, "kernel")
_open(pointwise_label, "label_kernel")
_open(pointwise_parameters, "parameter_kernel")
_open(classwise, "kernel")
_open(classwise_label, "label_kernel")
_open(classwise_parameters, "parameter_kernel")
