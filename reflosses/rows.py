"""One row of logits: its softmax without cancellation, and what follows from it.

A row loss is a sum over classes of a function F of u = log p, so one pass over the classes gives
F, F' and F'' and one identity (B = Σ F') gives every derivative:

    gradient   g_j  = F'_j (1 - p_j) - p_j Σ_{k≠j} F'_k
    Hessian    H_ij = Σ_k F''_k (δ_ik - p_i)(δ_jk - p_j) - B (p_i δ_ij - p_i p_j)

Three quantities lose their digits at a confident prediction if they are got by subtraction:
1 - p_m of the largest class m, log p_m, and Σ_{k≠m} F'_k.  All three are summed over the other
classes instead.  For every other class p_j <= 1/2, and subtracting is harmless.

The functions work on one row at a time and know nothing of drivers or devices.
"""

import math

import numpy as np
from numba import njit

from . import single, special
from .dispatch import by_contract, by_precision
from .special import INLINED, fma, inline, mass_times, overload, two_sum
from .vectors import by_layout, sum_parts

SHORT = 32  # sums of fewer terms are quicker in order than in vectors
LONG = 256  # rows of this many classes or more are worked on one at a time


@by_precision(lambda loss, a, b: single.exp(np.float64(a) - np.float64(b)))
def exp_difference(loss, a, b):
    """Return exp(a - b) for two logits, as exactly as the loss's precision asks."""
    return special.exp_sum(*two_sum(np.float64(a), -np.float64(b)))


@by_precision(lambda loss, a, b: (a - b, 0.0))
def margin(loss, a, b):
    """Return a - b as high + low, as exactly as the loss's precision asks."""
    high, low = two_sum(a, -b)
    return high, low if low == low else 0.0  # an infinite margin has no error term


@by_precision(lambda loss, high, low: single.logistic(high, low))
def logistic(loss, high, low):
    """Return σ(x), σ(-x) and log(1 + exp(-|x|)), as exactly as the loss's precision asks."""
    return special.logistic(high, low)


@by_precision(lambda loss, x, low: (single.log1p(x), 0.0))
def log1p_parts(loss, x, low):
    """Return log(1 + x + low) as high + low, as exactly as the loss's precision asks."""
    return special.log1p_parts(x, low)


@by_precision(lambda loss, total, low, x: (total + x, 0.0))
def add(loss, total, low, x):
    """Return total + low + x as high + low, as exactly as the loss's precision asks."""
    total, error = two_sum(total, x)
    return total, low + error


def label(labels, row, k):
    """Return the label of class k: of a row of probabilities, or 1 for the class named."""
    return np.float64(labels[row, k] if labels.ndim == 2 else labels[row] == k)


@overload(label)
def _(labels, row, k):
    if labels.ndim == 2:
        return lambda labels, row, k: np.float64(labels[row, k])
    return lambda labels, row, k: 1.0 if labels[row] == k else 0.0


@inline
def fill(x, value):
    """Set every entry of x."""
    for k in range(x.size):
        x[k] = value


@inline
def per_class(class_weight, k):
    """Return the weight of class k, 1 if the classes have none."""
    if class_weight is None:
        return 1.0
    return class_weight[k]


def _sum_in_order(x):
    total = 0.0
    for k in range(x.size):
        total += x[k]
    return total


sum_in_any_order = njit(fastmath={"reassoc", "nsz"}, **INLINED)(_sum_in_order)
sum_in_best_order = by_layout(_sum_in_order)(sum_in_any_order)


def _sum_plain(loss, x):
    """Return (Σ x, 0); a float32's worth of digits does not see the order."""
    if x.size >= SHORT:
        return sum_in_best_order(x), 0.0
    total = 0.0
    for k in range(x.size):
        total += x[k]
    return total, 0.0


@by_precision(_sum_plain)
def total_parts(loss, x):
    """Return Σ x as high + low, as exactly as the loss's precision asks."""
    total, low = sum_parts(x)
    return total, low if low == low else 0.0  # an infinite sum has no error term


@inline
def total(loss, x):
    """Return Σ x, rounded."""
    high, low = total_parts(loss, x)
    return high + low


@inline
def total_without(loss, x, k):
    """Return Σ x without x[k]."""
    here = x[k]
    x[k] = 0.0
    others = total(loss, x)
    x[k] = here
    return others


@inline
def share_of_one(rest, rest_low):
    """Return 1/(1 + rest), rounded about once."""
    s, low = two_sum(1.0, rest)
    low += rest_low
    r = 1.0 / s
    return fma(r, fma(-r, s, 1.0) - r * low, r)


@inline
def _order(x):
    """Return an integer that grows with x, so that a maximum is a loop LLVM can vectorise."""
    bits = special.float_to_bits(np.float64(x))
    return bits ^ ((bits >> 63) & 0x7FFFFFFFFFFFFFFF)


@inline
def argmax(z):
    """Return the first index of the largest entry; a positive nan counts as the largest."""
    n = z.size
    best = _order(z[0])
    for k in range(n):
        here = _order(z[k])
        best = here if here > best else best
    first = n
    for k in range(n):  # to the end: a loop that may leave earlier is not vectorised
        first = min(first, k if _order(z[k]) == best else n)
    return first


@inline
def softmax_entry(z, largest, e, share, here, here_low):
    """Return u = log p, p and 1 - p of a class that is not the largest, from e = exp(z - largest)."""
    q = e * share
    difference, low = two_sum(np.float64(z), -np.float64(largest))
    logarithm, error = two_sum(difference, here)
    u = logarithm + (error + (low + here_low)) if difference > -math.inf else difference
    return u, q, 1.0 - q


@inline
def gradient_entry(q, c, f1, without):
    """Return ∂ℓ/∂z of a class; ``without`` is Σ F' over the others."""
    return f1 * c - q * without


@inline
def hessian_entry(q, c, f2, without, slopes):
    """Return ∂²ℓ/∂z² of a class; ``without`` is Σ F'' over the others and ``slopes`` Σ F' over all."""
    bend = f2 * c * c + mass_times(q * q, without)  # a sum of huge terms does not reach a class without mass
    return bend - slopes * (q * c)


@inline
def largest_entry(loss, rest, low):
    """Return log p in two parts, p and 1 - p of the largest class; the others sum to rest + low times it."""
    logarithm, error = log1p_parts(loss, rest, low)
    share = share_of_one(rest, low)
    return -logarithm, -error, share, (rest + low) * share


@inline
def softmax_row(loss, z, u, q, c):
    """Fill u = log p, q = p and c = 1 - p of one row; return its largest class, or -1 for nan.

    A nan, a second +inf, or nothing but -inf makes a row nan.
    """
    n = z.size
    m = argmax(z)
    largest = z[m]
    for k in range(n):
        q[k] = exp_difference(loss, z[k], largest)
    q[m] = 0.0
    rest, low = total_parts(loss, q)
    if not (largest > -math.inf and rest < math.inf):
        return -1
    here, here_low, share, others = largest_entry(loss, rest, low)
    for k in range(n):
        u[k], q[k], c[k] = softmax_entry(z[k], largest, q[k], share, here, here_low)
    u[m], q[m], c[m] = here, share, others
    return m


@by_contract(tempered=lambda loss, f1: 0.0)
def pull(loss, f1):
    """Return B = Σ F', which the second derivatives of softmax multiply; those of other contracts are in F''."""
    return total(loss, f1)


@inline
def gradient_row(loss, m, u, q, c, f1, scale, out):
    """Fill scale · ∇ℓ."""
    n = q.size
    others = total_without(loss, f1, m)
    everything = others + f1[m]
    for j in range(n):
        without_j = others if j == m else everything - f1[j]
        out[j] = mass_times(scale, gradient_entry(q[j], c[j], f1[j], without_j))


@inline
def hessian_diagonal_row(loss, m, u, q, c, f1, f2, scale, out):
    """Fill scale · diag ∇²ℓ."""
    n = q.size
    slopes = pull(loss, f1)
    others = total_without(loss, f2, m)
    everything = others + f2[m]
    for j in range(n):
        without_j = others if j == m else everything - f2[j]
        out[j] = mass_times(scale, hessian_entry(q[j], c[j], f2[j], without_j, slopes))


@inline
def hessian_row(loss, m, u, q, c, f1, f2, scale, diagonal, out):
    """Fill scale · ∇²ℓ."""
    n = q.size
    slopes = pull(loss, f1)
    others = total_without(loss, f2, m)
    everything = others + f2[m]
    for i in range(n):
        for j in range(n):
            without_both = others - f2[j] if i == m else others - f2[i] if j == m else everything - f2[i] - f2[j]
            bend = mass_times(q[j], mass_times(q[i], without_both)) - f2[i] * c[i] * q[j] - f2[j] * c[j] * q[i]
            out[i, j] = mass_times(scale, bend + slopes * q[i] * q[j])
    hessian_diagonal_row(loss, m, u, q, c, f1, f2, scale, diagonal)
    for i in range(n):
        out[i, i] = diagonal[i]


@inline
def centered_row(m, q, c, vector, out):
    """Fill v - (p·v) 1, whose m-th entry is Σ_{k≠m} p_k (v_m - v_k)."""
    n = q.size
    others = 0.0
    for k in range(n):
        others += 0.0 if k == m else mass_times(q[k], np.float64(vector[k]))
    mean = others + q[m] * np.float64(vector[m])
    for k in range(n):
        out[k] = c[m] * np.float64(vector[m]) - others if k == m else np.float64(vector[k]) - mean


@inline
def hessian_vector_row(loss, m, u, q, c, f1, f2, vector, scale, centered, out):
    """Fill scale · ∇²ℓ v."""
    n = q.size
    slopes = pull(loss, f1)
    centered_row(m, q, c, vector, centered)
    others = 0.0
    for k in range(n):
        others += 0.0 if k == m else f2[k] * centered[k]
    everything = others + f2[m] * centered[m]
    for k in range(n):
        here = f2[k] * centered[k]
        without_k = others if k == m else everything - here
        out[k] = mass_times(scale, here * c[k] - mass_times(q[k], without_k) - slopes * (q[k] * centered[k]))
