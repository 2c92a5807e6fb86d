"""Arrays that carry their derivatives, so that a hypothesis is its formula and nothing else.

A ``Jet`` is an array with its first and pure second derivative in each of some directions.  What a
diagnosis supposes about somebody's loss is written as a value; gradient and Hessian diagonal are
whatever follows from it, in the dtype of the arrays.
"""

import numpy as np


class Jet:
    """An array ``v``, and its slopes ``d`` and bends ``h`` along directions on an axis before its own."""

    __slots__ = ("v", "d", "h")
    __array_ufunc__ = None  # an array on the left leaves the operation to the jet

    def __init__(self, v, d, h):
        self.v, self.d, self.h = v, d, h

    def chain(self, v, slope, bend):
        """Return a function of the array, whose value, slope and bend there are given."""
        return Jet(v, slope * self.d, bend * self.d * self.d + slope * self.h)

    def __add__(self, other):
        if isinstance(other, Jet):
            return Jet(self.v + other.v, self.d + other.d, self.h + other.h)
        return Jet(self.v + other, self.d, self.h)

    def __mul__(self, other):
        if isinstance(other, Jet):
            bend = self.h * other.v + 2 * (self.d * other.d) + self.v * other.h
            return Jet(self.v * other.v, self.d * other.v + self.v * other.d, bend)
        return Jet(self.v * other, self.d * other, self.h * other)

    def reciprocal(self):
        r = 1 / self.v
        return self.chain(r, -r * r, 2 * r * r * r)

    def exp(self):
        e = np.exp(self.v)
        return self.chain(e, e, e)

    def log(self):
        r = 1 / self.v
        return self.chain(np.log(self.v), r, -r * r)

    def tanh(self):
        t = np.tanh(self.v)
        slope = 1 - t * t
        return self.chain(t, slope, -2 * t * slope)

    def __pow__(self, a):
        if a == 0:
            return self * 0 + 1
        return self.chain(self.v**a, a * self.v ** (a - 1), a * (a - 1) * self.v ** (a - 2))

    def __abs__(self):
        return self * np.where(self.v < 0, -1.0, 1.0).astype(self.v.dtype)

    def clip(self, low, high):
        """Return the array brought into [low, high], without slope where it was outside."""
        inside = (self.v >= low) & (self.v <= high)
        return Jet(np.clip(self.v, low, high), self.d * inside, self.h * inside)

    def sum(self):
        """Return the sums over the last axis, which stays."""
        return Jet(*(x.sum(axis=-1, keepdims=True) for x in (self.v, self.d, self.h)))

    def max(self):
        """Return the largest of the last axis, which stays, with its own slopes."""
        own = self.v.argmax(axis=-1)[..., None]
        return Jet(
            np.take_along_axis(self.v, own, -1), *(np.take_along_axis(x, own[None], -1) for x in (self.d, self.h))
        )

    def across(self):
        """Return the sums over the first axis, which stays."""
        return Jet(*(x.sum(axis=-2, keepdims=True) for x in (self.v, self.d, self.h)))

    def times_matrix(self, matrix):
        """Return the products of the last axis with a matrix."""
        matrix = np.asarray(matrix, self.v.dtype)
        return Jet(self.v @ matrix, self.d @ matrix, self.h @ matrix)

    def still(self):
        """Return the same numbers as constants: detached, as autograd has it."""
        return Jet(self.v, self.d * 0, self.h * 0)

    def __neg__(self):
        return self * -1

    def __sub__(self, other):
        return self + -other

    def __rsub__(self, other):
        return -self + other

    def __truediv__(self, other):
        return self * other.reciprocal() if isinstance(other, Jet) else self * (1 / other)

    def __rtruediv__(self, other):
        return self.reciprocal() * other

    __radd__, __rmul__ = __add__, __mul__


def seeded(rows, directions):
    """Return rows (n, C) as a jet along the given classes; in its row a class moves alone."""
    n, classes = rows.shape
    d = np.zeros((len(directions), n, classes), rows.dtype)
    for k, j in enumerate(directions):
        d[k, :, j] = 1
    return Jet(rows, d, np.zeros_like(d))
