"""One row of logits, each class against the rest: losses of a label's log-odds.

A label y that is likely or not, by how much: its log-odds x = z_y - log Σ_{k≠y} exp(z_k) say it all.
A loss that is a function φ of them pays Σ_i t_i φ(x_i) for a row of label masses t.  With the shares
of the rest a_k = p_k / (1 - p_i), and a_i = 0, the derivatives of x_i are

    ∂x_i/∂z = e_i - a,        ∂²x_i/∂z² = a aᵀ - diag(a),

so that nothing cancels for a hard label, however confident: 1 - p is never formed, log(1 - p) never
lost.  For soft labels the sums over i are carried along, and only one class is special: the largest,
m, whose 1 - p_m may underflow while the shares of its rest, s, are ordinary numbers.  Every other
class has 1 - p >= 1/2, and its shares are quotients.

The functions have the names and the arguments of those in ``rows``.
"""

import math

import numpy as np

from . import single, special
from .dispatch import by_precision
from .rows import add, argmax, centered_row, log1p_parts, margin, total_parts
from .special import fma, inline, mass_times, product, reciprocal_parts, two_sum


@by_precision(lambda loss, x, low: single.log_parts(x, low))
def log_parts(loss, x, low):
    """Return log(x + low) as high + low, as exactly as the loss's precision asks."""
    return special.log_parts(x, low)


@by_precision(lambda loss, x, low: (single.exp(x), 0.0))
def exp_parts(loss, x, low):
    """Return exp(x + low) as high + low, as exactly as the loss's precision asks."""
    return special.exp_parts(x, low)


@by_precision(lambda loss, a, b: (single.exp(np.float64(a) - np.float64(b)), 0.0))
def exp_difference_parts(loss, a, b):
    """Return exp(a - b), a <= b, as high + low, as exactly as the loss's precision asks."""
    return special.exp_parts(*two_sum(np.float64(a), -np.float64(b)))


@by_precision(lambda loss, a, a_low, b, b_low: (a - b, 0.0))
def difference(loss, a, a_low, b, b_low):
    """Return (a + a_low) - (b + b_low) as high + low, as exactly as the loss's precision asks."""
    high, low = two_sum(a, -b)
    return high, low + (a_low - b_low) if abs(high) < math.inf else 0.0


def _logistic_of_single(loss, x, low):
    q, c, _ = single.logistic(x, 0.0)
    return q, 0.0, c, 0.0


@by_precision(_logistic_of_single)
def logistic_parts(loss, x, low):
    """Return σ(x + low) and σ(-x - low) as high + low each, as exactly as the loss's precision asks."""
    return special.logistic_parts(x, low)


@inline
def open_row(loss, z, u, q, c):
    """Fill u + c = x, the log-odds, and q = s, the shares beside the largest class; return that, or -1 for nan."""
    m = argmax(z)
    largest, runner = np.float64(z[m]), -math.inf
    for k in range(z.size):
        runner = z[k] if k != m and z[k] > runner else runner
    for k in range(z.size):
        q[k], c[k] = exp_difference_parts(loss, z[k], runner if runner > -math.inf else 0.0)
    q[m], c[m] = 0.0, 0.0
    rest, rest_low = total_parts(loss, q)
    rest_low += total_parts(loss, c)[0]
    if not (largest > -math.inf and rest < math.inf):
        return -1
    log_rest, log_low = log_parts(loss, rest, rest_low)
    x, low = difference(loss, *margin(loss, largest, np.float64(runner)), log_rest, log_low)
    odds, odds_low = exp_parts(loss, -x, -low)
    share, share_low = reciprocal_parts(rest if rest > 0.0 else 1.0, rest_low)
    for k in range(z.size):
        s, error = product(q[k], share)
        s_low = error + (q[k] * share_low + c[k] * share)
        not_s, error = two_sum(1.0, -s)
        others, others_low = product(odds, not_s)  # of class k, beside 1 for the largest
        others_low += odds * (error - s_low) + odds_low * not_s
        log_others, others_low = log1p_parts(loss, max(others, 0.0), others_low if others > 0.0 else 0.0)
        q[k] = s + s_low
        u[k], c[k] = difference(loss, *margin(loss, np.float64(z[k]), largest), log_others, others_low)
    u[m], c[m], q[m] = x, low, 0.0
    return m


@inline
def close_terms(loss, m, u, q, c, f1, f2):
    """Turn log-odds into u = s, q = p and c = 1 - p, once every class has been asked what it pays."""
    q_m, _, c_m, low = logistic_parts(loss, u[m], c[m])
    for k in range(u.size):
        u[k], q[k] = q[k], fma(q[k], c_m, q[k] * low)
        c[k] = 1.0 - q[k]
    q[m], c[m] = q_m, c_m


@by_precision(lambda loss, x, q: (x / (1.0 - q), 0.0))
def over_rest(loss, x, q):
    """Return x/(1 - q) as high + low, as exactly as the loss's precision asks."""
    c, c_low = two_sum(1.0, -q)
    ratio = x / c
    return ratio, (fma(-ratio, c, x) - ratio * c_low) / c


@inline
def slopes_over_rest(loss, m, q, f1):
    """Return Σ φ'/(1 - p) over all classes but m, as high + low."""
    total, low = 0.0, 0.0
    for k in range(q.size):
        if k != m:
            ratio, ratio_low = over_rest(loss, f1[k], q[k])
            total, low = add(loss, total, low + ratio_low, ratio)
    return total, low


@inline
def gradient_row(loss, m, u, q, c, f1, scale, out):
    """Fill scale · ∇ℓ."""
    slopes, low = slopes_over_rest(loss, m, q, f1)
    for k in range(u.size):
        if k == m:
            out[k] = mass_times(scale, f1[m] - fma(q[m], slopes, q[m] * low))
        else:
            ratio, ratio_low = over_rest(loss, f1[k], q[k])
            of_others = fma(q[k], slopes - ratio, q[k] * (low - ratio_low))
            out[k] = mass_times(scale, (f1[k] - mass_times(u[k], f1[m])) - of_others)


@inline
def curvature(f1, f2, c, k):
    """Return (φ'' + φ')/(1 - p)² of a class."""
    return (f2[k] + f1[k]) / (c[k] * c[k])


@inline
def hessian_diagonal_row(loss, m, u, q, c, f1, f2, scale, out):
    """Fill scale · diag ∇²ℓ: Σ_i φ''_i a_k² - φ'_i a_k (1 - a_k) over the other classes i, and φ''_k."""
    slopes, slopes_low = slopes_over_rest(loss, m, q, f1)
    bends, bends_low, of_largest, low = 0.0, 0.0, 0.0, 0.0
    for k in range(u.size):
        if k != m:
            bends, bends_low = add(loss, bends, bends_low, curvature(f1, f2, c, k))
            a, a_low = over_rest(loss, q[m], q[k])
            without = (1.0 - a) - a_low if a <= 0.5 else c[m] * (1.0 - u[k]) / c[k]
            of_largest, low = add(loss, of_largest, low, a * (f2[k] * a - f1[k] * without))
    bends += bends_low
    for k in range(u.size):
        if k != m:
            s = u[k]
            of_m = mass_times(s, s * f2[m] - (1.0 - s) * f1[m])
            ratio, ratio_low = over_rest(loss, f1[k], q[k])
            bend = fma(q[k], bends - curvature(f1, f2, c, k), ratio - slopes) + (ratio_low - slopes_low)
            out[k] = mass_times(scale, (f2[k] + of_m) + q[k] * bend)
    out[m] = mass_times(scale, f2[m] + (of_largest + low))


@inline
def hessian_row(loss, m, u, q, c, f1, f2, scale, diagonal, out):
    """Fill scale · ∇²ℓ."""
    n = u.size
    bends, low = 0.0, 0.0
    for k in range(n):
        bends, low = add(loss, bends, low, 0.0 if k == m else curvature(f1, f2, c, k))
    bends += low
    for i in range(n):
        for j in range(i):
            if i == m or j == m:
                k = i + j - m
                bend = q[m] * (q[k] * (bends - curvature(f1, f2, c, k)) - f2[k] / c[k]) - mass_times(u[k], f2[m])
            else:
                of_both = q[i] * q[j] * (bends - curvature(f1, f2, c, i) - curvature(f1, f2, c, j))
                of_each = f2[i] * (q[j] / c[i]) + f2[j] * (q[i] / c[j])
                bend = mass_times(u[i] * u[j], f2[m] + f1[m]) + (of_both - of_each)
            out[i, j] = out[j, i] = mass_times(scale, bend)
    hessian_diagonal_row(loss, m, u, q, c, f1, f2, scale, diagonal)
    for i in range(n):
        out[i, i] = diagonal[i]


@inline
def hessian_vector_row(loss, m, u, q, c, f1, f2, vector, scale, centered, out):
    """Fill scale · ∇²ℓ v, through v - (p·v) 1, whose mean over any rest is -p_i v_i / (1 - p_i)."""
    n = u.size
    centered_row(m, q, c, vector, centered)
    slopes, bends, mean = 0.0, 0.0, 0.0
    for k in range(n):
        if k != m:
            slopes += f1[k] / c[k]
            bends += (f2[k] + f1[k] * q[k]) * centered[k] / (c[k] * c[k])
            mean += u[k] * centered[k]
    step = centered[m] - mean
    for k in range(n):
        if k == m:
            out[k] = mass_times(scale, mass_times(step, f2[m]) - q[k] * (bends + centered[k] * slopes))
        else:
            v, own = centered[k], (f2[k] + f1[k] * q[k]) * centered[k] / (c[k] * c[k])
            of_m = mass_times(u[k], f2[m] * step + f1[m] * (v - mean))
            of_others = q[k] * ((bends - own) + v * (slopes - f1[k] / c[k]))
            out[k] = mass_times(scale, (f2[k] * (v / c[k]) - of_m) - of_others)
