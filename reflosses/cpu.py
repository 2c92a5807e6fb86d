"""Drivers: the loops over arrays, compiled for the CPU, one for each contract and result.

A driver takes a loss and contiguous arrays, or the same range of rows of each: rows do not know of
each other, so that any thread may take any part.  An output that is ``None`` costs nothing: Numba
removes its branch and LLVM the arithmetic behind it.  Derivatives are multiplied by
``factor * weights[i] * upstream[i]``, values by ``weights[i]`` alone; both arrays may be ``None``.

Everything stands inside ``build`` because Numba's disk cache watches only the file of the function
that it compiled: every driver carries a digest of all sources, the ``stamp``, in its name, so that
an edited kernel is never answered by yesterday's machine code, and so that the cache of a user's
loss is a file of its own, which nobody without that user's module has to read.
"""

import math
from functools import cache
from types import SimpleNamespace

import numpy as np
from numba import config, njit
from numba.extending import overload

from . import single
from .dispatch import Single, classwise, classwise_label, classwise_parameters, pointwise_label, pointwise_parameters
from .dispatch import pointwise as pointwise_kernel
from .rows import (
    LONG,
    centered_row,
    class_terms,
    exp_difference,
    gradient_row,
    hessian_diagonal_row,
    hessian_row,
    hessian_vector_row,
    label,
    log1p_parts,
    per_class,
    share_of_one,
    softmax_row,
    sum_compensated,
    total,
)
from .special import inline, mass_times, two_sum

BLOCK = 2048  # logits that a block of short rows holds; their exponentials stay in the L1 cache


@inline
def row_scale(factor, weights, upstream, i):
    """Return what multiplies the derivatives of row or element i."""
    scale = factor
    if weights is not None:
        scale *= weights[i]
    if upstream is not None:
        scale *= upstream[i]
    return scale


@inline
def logit_and_label(logits, labels, i):
    """Return element i as two float64; a nan label makes the logit nan, which every kernel passes on."""
    y = np.float64(labels[i])
    return np.float64(logits[i]) + (y - y), y


@inline
def labelled(labels, i, n):
    """Whether no label of row i is nan."""
    doubt = 0.0
    for k in range(n):
        y = label(labels, i, k)
        doubt += y - y
    return doubt == 0.0


@inline
def weighted(weights, i, value):
    """Return the value of row or element i times its weight, 0 for weight 0."""
    if weights is None:
        return value
    return mass_times(weights[i], value)


def _exponentials_precise(loss, z, y, e):
    """Fill e with exp(z - z_y) of a block of rows; the label's own entry is 1."""
    rows, n = z.shape
    for r in range(rows):
        own = np.float64(z[r, y[r]])
        for k in range(n):
            e[r, k] = own
    z, e = z.reshape(z.size), e.reshape(e.size)
    for k in range(z.size):
        e[k] = exp_difference(loss, z[k], e[k])


def _exponentials_single(loss, z, y, e):
    """Fill e with exp(z) of a block of rows: float32 logits need no shift unless they are huge."""
    z, e = z.reshape(z.size), e.reshape(e.size)
    for k in range(z.size):
        e[k] = single.exp(np.float64(z[k]))


fill_exponentials = _exponentials_precise  # for any logits; compiled code takes the short way for float32


@overload(fill_exponentials, jit_options={"error_model": "numpy", "forceinline": True})
def _(loss, z, y, e):
    return _exponentials_single if loss.instance_class is Single else _exponentials_precise


@inline
def fill(x, value):
    """Set every entry of x."""
    for k in range(x.size):
        x[k] = value


@inline
def copy(x, y):
    """Set x to y."""
    for k in range(x.size):
        x[k] = y[k]


def driver(function, stamp):
    """Compile without the interpreter lock, cached on disk where there is a place to write."""
    function.__qualname__ = f"{function.__name__}-{stamp}"  # names the cache file
    compiled = njit(error_model="numpy", fastmath=False, nogil=True)(function)
    try:
        if not config.DISABLE_JIT:
            compiled.enable_caching()
    except RuntimeError:  # no writable cache folder: compile in every process
        pass
    return compiled


@cache
def build(stamp):
    """Return the drivers of the sources whose digest is ``stamp``, as a namespace."""

    def pointwise(loss, factor, logits, labels, weights, upstream, values, gradient, hessian):
        """Value, gradient and second derivative of every logit."""
        for i in range(logits.size):
            value, slope, bend = pointwise_kernel(loss, *logit_and_label(logits, labels, i))
            scale = row_scale(factor, weights, upstream, i)
            if values is not None:
                values[i] = weighted(weights, i, value)
            if gradient is not None:
                gradient[i] = mass_times(scale, slope)
            if hessian is not None:
                hessian[i] = mass_times(scale, bend)

    def pointwise_in_labels(loss, factor, logits, labels, weights, upstream, values, gradient):
        """Value, and derivative in the label, of every logit."""
        for i in range(logits.size):
            z, y = logit_and_label(logits, labels, i)
            if values is not None:
                values[i] = weighted(weights, i, pointwise_kernel(loss, z, y)[0])
            scale = row_scale(factor, weights, upstream, i)
            gradient[i] = mass_times(scale, pointwise_label(loss, z, y))

    def pointwise_in_parameters(loss, factor, logits, labels, weights, upstream, gradient):
        """Derivatives of every logit's loss in the loss's parameters, one column each."""
        for i in range(logits.size):
            slopes = pointwise_parameters(loss, *logit_and_label(logits, labels, i))
            scale = row_scale(factor, weights, upstream, i)
            for k in range(len(slopes)):
                gradient[i, k] = mass_times(scale, slopes[k])

    def hard_rows(loss, class_weight, factor, logits, labels, weights, upstream, values, gradient):
        """Value and gradient of rows whose unlabelled classes pay nothing, by their integer labels.

        With the odds r = Σ_{k≠y} exp(z_k - z_y) against the label, a row has log p_y = -log(1 + r),
        p_y = 1/(1 + r) and 1 - p_y = r/(1 + r); the gradient is (1 - p_y) F' for the label and
        -p_k F' elsewhere: one kernel call a row, and one multiplication a class.  Returns how many
        rows have exponentials too close to overflow or underflow, or nan; ``rows`` can do those.
        """
        n = logits.shape[1]
        block = BLOCK // n if n < LONG else 1
        exponentials = np.empty((block, n))
        odds, unit, of_label, of_others = np.empty(block), np.empty(block), np.empty(block), np.empty(block)
        strange = 0
        for first in range(0, logits.shape[0], block):
            z, y = logits[first : first + block], labels[first : first + block]
            rows = y.size
            e = exponentials[:rows]
            if n == 2:
                for r in range(rows):
                    a, b = z[r, 0], z[r, 1]
                    odds[r], unit[r] = exp_difference(loss, b if y[r] == 0 else a, a if y[r] == 0 else b), 1.0
            else:
                fill_exponentials(loss, z, y, e)
                for r in range(rows):
                    unit[r] = 1.0 / e[r, y[r]]
                    e[r, y[r]] = 0.0
                for r in range(rows):
                    odds[r] = total(loss, e[r]) * unit[r]
            if values is not None:
                block_values = values[first : first + block]
            for r in range(rows):
                strange += 0 if 1e-140 < unit[r] < 1e140 and odds[r] < 1e140 * unit[r] else 1
                q = share_of_one(odds[r])
                c = odds[r] * q
                value, slope, _ = classwise(loss, -log1p_parts(loss, odds[r])[0], q, c, 1.0, n)
                w = per_class(class_weight, y[r])
                scale = row_scale(factor, weights, upstream, first + r)
                of_label[r] = mass_times(scale, mass_times(w, c * slope))
                of_others[r] = -mass_times(scale, mass_times(w, slope)) * (q * unit[r])
                if values is not None:
                    block_values[r] = weighted(weights, first + r, mass_times(w, value))
            if gradient is not None:
                g = gradient[first : first + block]
                if n == 2:
                    for r in range(rows):
                        g[r, 0] = -of_label[r] if y[r] == 1 else of_label[r]
                        g[r, 1] = of_label[r] if y[r] == 1 else -of_label[r]
                elif n >= LONG:
                    for r in range(rows):
                        for k in range(n):
                            g[r, k] = e[r, k] * of_others[r]
                        g[r, y[r]] = of_label[r]
                else:  # short loops of doubles, then one long loop that converts them
                    for r in range(rows):
                        for k in range(n):
                            e[r, k] *= of_others[r]
                        e[r, y[r]] = of_label[r]
                    flat, from_flat = g.reshape(g.size), e.reshape(e.size)
                    for k in range(g.size):
                        flat[k] = from_flat[k]
        return strange

    def rows(loss, class_weight, factor, logits, labels, weights, upstream, values, gradient, hessian):
        """Value, gradient and Hessian diagonal of any rows."""
        n = logits.shape[1]
        u, q, c, f, f1, f2 = np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n)
        for i in range(logits.shape[0]):
            scale = row_scale(factor, weights, upstream, i)
            m = softmax_row(loss, logits[i], u, q, c)
            if m >= 0:
                class_terms(loss, class_weight, labels, i, u, q, c, f, f1, f2)
            if values is not None:
                values[i] = weighted(weights, i, total(loss, f) if m >= 0 else math.nan)
            if gradient is not None:
                if m >= 0:
                    gradient_row(loss, m, q, c, f1, scale, gradient[i])
                else:
                    fill(gradient[i], mass_times(scale, math.nan))
            if hessian is not None:
                if m >= 0:
                    hessian_diagonal_row(loss, m, q, c, f1, f2, scale, hessian[i])
                else:
                    fill(hessian[i], mass_times(scale, math.nan))

    def rows_hessian(loss, class_weight, factor, logits, labels, weights, upstream, hessian):
        """The full Hessian of every row."""
        n = logits.shape[1]
        u, q, c, f, f1, f2 = np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n)
        for i in range(logits.shape[0]):
            scale = row_scale(factor, weights, upstream, i)
            m = softmax_row(loss, logits[i], u, q, c)
            if m >= 0:
                class_terms(loss, class_weight, labels, i, u, q, c, f, f1, f2)
                hessian_row(loss, m, q, c, f1, f2, scale, f, hessian[i])
            else:
                fill(hessian[i].reshape(n * n), mass_times(scale, math.nan))

    def rows_hessian_vector(loss, class_weight, factor, logits, labels, weights, upstream, vectors, product):
        """The product of every row's Hessian with its vector."""
        n = logits.shape[1]
        u, q, c, f, f1, f2 = np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n)
        for i in range(logits.shape[0]):
            scale = row_scale(factor, weights, upstream, i)
            m = softmax_row(loss, logits[i], u, q, c)
            if m >= 0:
                class_terms(loss, class_weight, labels, i, u, q, c, f, f1, f2)
                hessian_vector_row(loss, m, q, c, f1, f2, vectors[i], scale, f, product[i])
            else:
                fill(product[i], mass_times(scale, math.nan))

    def rows_in_labels(loss, class_weight, factor, logits, labels, weights, upstream, values, gradient):
        """Value, and derivative in the label of every class."""
        n = logits.shape[1]
        u, q, c, f, f1, f2 = np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n)
        for i in range(logits.shape[0]):
            scale = row_scale(factor, weights, upstream, i)
            m = softmax_row(loss, logits[i], u, q, c)
            m = m if labelled(labels, i, n) else -1
            if values is not None:
                if m >= 0:
                    class_terms(loss, class_weight, labels, i, u, q, c, f, f1, f2)
                values[i] = weighted(weights, i, total(loss, f) if m >= 0 else math.nan)
            for k in range(n):
                slope = classwise_label(loss, u[k], q[k], c[k], label(labels, i, k), n)
                slope = mass_times(per_class(class_weight, k), slope)
                gradient[i, k] = mass_times(scale, slope if m >= 0 else math.nan)

    def rows_in_parameters(loss, class_weight, factor, logits, labels, weights, upstream, gradient):
        """Derivatives of every row's loss in the loss's parameters, one column each."""
        n = logits.shape[1]
        u, q, c, lost = np.empty(n), np.empty(n), np.empty(n), np.empty(gradient.shape[1])
        for i in range(logits.shape[0]):
            scale = row_scale(factor, weights, upstream, i)
            m = softmax_row(loss, logits[i], u, q, c)
            m = m if labelled(labels, i, n) else -1
            fill(gradient[i], 0.0)
            fill(lost, 0.0)
            for k in range(n):
                slopes = classwise_parameters(loss, u[k], q[k], c[k], label(labels, i, k), n)
                for j in range(len(slopes)):
                    slope = mass_times(per_class(class_weight, k), slopes[j])
                    gradient[i, j], error = two_sum(gradient[i, j], slope)
                    lost[j] += error
            for j in range(gradient.shape[1]):
                slope = gradient[i, j] + (lost[j] if lost[j] == lost[j] else 0.0)  # infinite sums lose nothing
                gradient[i, j] = mass_times(scale, slope if m >= 0 else math.nan)

    def rows_in_class_weights(loss, factor, logits, labels, weights, upstream, gradient):
        """Derivatives of every row's loss in the weights of the classes: what each class pays."""
        n = logits.shape[1]
        u, q, c = np.empty(n), np.empty(n), np.empty(n)
        for i in range(logits.shape[0]):
            scale = row_scale(factor, weights, upstream, i)
            m = softmax_row(loss, logits[i], u, q, c)
            m = m if labelled(labels, i, n) else -1
            for k in range(n):
                value, _, _ = classwise(loss, u[k], q[k], c[k], label(labels, i, k), n)
                gradient[i, k] = mass_times(scale, value if m >= 0 else math.nan)

    def softmax(loss, logits, upstream, values, logarithms, product, log_product, pullback):
        """Softmax, its logarithm, and products of their Jacobians with the rows of ``upstream``."""
        n = logits.shape[1]
        u, q, c, centered = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
        for i in range(logits.shape[0]):
            m = softmax_row(loss, logits[i], u, q, c)
            if m < 0:
                fill(u, math.nan)
                fill(q, math.nan)
                fill(c, math.nan)
            if values is not None:
                copy(values[i], q)
            if logarithms is not None:
                copy(logarithms[i], u)
            if product is not None or log_product is not None:
                centered_row(max(m, 0), q, c, upstream[i], centered)
            if product is not None:
                for k in range(n):
                    product[i, k] = q[k] * centered[k]
            if log_product is not None:
                copy(log_product[i], centered)
            if pullback is not None:
                copy(centered, upstream[i])
                gradient_row(loss, max(m, 0), q, c, centered, 1.0, pullback[i])

    def first_illegal_class(labels, classes):
        """Return the first index whose label is not in [0, classes), or -1."""
        illegal = 0
        for i in range(labels.size):
            illegal += (labels[i] < 0) | (labels[i] >= classes)
        if illegal > 0:
            for i in range(labels.size):
                if labels[i] < 0 or labels[i] >= classes:
                    return i
        return -1

    def first_illegal_probability(labels, binary):
        """Return the first index whose label is outside [0, 1], or -1 if all are 0 or 1, else -2.

        With ``binary``, labels between 0 and 1 are illegal too; nan counts as legal.
        """
        outside, between = 0, 0
        for i in range(labels.size):
            outside += (labels[i] < 0.0) | (labels[i] > 1.0)
            between += (labels[i] > 0.0) & (labels[i] < 1.0)
        if outside > 0 or (binary and between > 0):
            for i in range(labels.size):
                if labels[i] < 0.0 or labels[i] > 1.0 or (binary and labels[i] > 0.0 and labels[i] < 1.0):
                    return i
        return -1 if between == 0 else -2

    def first_unnormalized_row(labels, tolerance):
        """Return the first row whose sum is not 1, or -1; nan passes."""
        for i in range(labels.shape[0]):
            row_sum = 0.0
            for k in range(labels.shape[1]):
                row_sum += np.float64(labels[i, k])
            if abs(row_sum - 1.0) > tolerance:
                return i
        return -1

    def sum_of(values):
        """Return Σ values, rounded about once, in an order that threads do not change."""
        return sum_compensated(values)

    functions = {name: f for name, f in locals().items() if name != "stamp"}
    return SimpleNamespace(**{name: driver(f, stamp) for name, f in functions.items()})
