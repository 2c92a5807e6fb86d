"""One row of probabilities, not of logits: taken as given, or divided by its sum.

A label y that has the probability q pays y φ(u), a function of u = log q.  Given probabilities do not
know of each other: q = p, and

    g_j  = F'_j / p_j,        H_jj = (F''_j - F'_j) / p_j²,        F = y φ.

Rescaled ones are the shares q = p/s of the sum s = Σ p of numbers p >= 0, with

    ∂u_i/∂p_j = δ_ij/p_j - 1/s,        ∂²u_i/∂p_j∂p_k = 1/s² - δ_ij δ_jk/p_j²,

so that with the rests r_j = Σ_{i≠j} p_i = s (1 - q_j), for which 1/p_j - 1/s = (1 - q_j)/p_j =: a_j,

    g_j  = F'_j a_j - (1/s) Σ_{i≠j} F'_i
    H_jj = F''_j a_j² - F'_j a_j (1/p_j + 1/s) + (1/s²) Σ_{i≠j} (F''_i + F'_i)
    H_jk = (1/s²) (Σ_i F'_i + Σ_{i≠j,k} F''_i) - (1/s) (F''_j a_j + F''_k a_k),

and nothing cancels for a hard label, however confident: the rest of the largest class is summed.
A class with p = 0 and F' = 0 contributes nothing to its own entries.

The functions have the names and the arguments of those in ``rows``.  For log p - log s, which loses
nothing if s is near 1, rows are multiplied by a power of 2, and so they are for derivatives if 1/s²
would overflow, or s.
"""

import math

import numpy as np

from .one_against_rest import log_parts
from .rows import argmax, log1p_parts, total, total_parts, total_without
from .special import (
    LN2_HIGH,
    LN2_LOW,
    bits_to_float,
    float_to_bits,
    inline,
    mass_times,
    over,
    product,
    quotient,
    reciprocal_parts,
    two_sum,
)

MOST = 1000  # binary orders that one multiplication changes: 2^1000 and 2^-1000 are normal numbers
EXACT = 2.0**-960  # a number above, multiplied by a power of 2, has kept its digits


# ---- as given -----------------------------------------------------------------------------


@inline
def open_given_row(loss, z, u, q, c):
    """Fill u = log p and q = c = p; return the largest class, or -1 for a row of nan."""
    doubt = 0
    for k in range(z.size):
        p = np.float64(z[k]) + 0.0  # -0 becomes 0
        high, low = log_parts(loss, p, 0.0)
        u[k], q[k], c[k] = high + low, p, p
        doubt += 1 if p != p else 0
    return argmax(z) if doubt == 0 else -1


@inline
def close_given_terms(loss, m, u, q, c, f1, f2):
    """Let one nan among the labels be known to all classes, which nothing else does here."""
    doubt = 0
    for k in range(q.size):
        doubt += 1 if f1[k] != f1[k] else 0
    for k in range(q.size):
        f1[k] = math.nan if doubt > 0 else f1[k]
        f2[k] = math.nan if doubt > 0 else f2[k]


@inline
def given_gradient_row(loss, m, u, q, c, f1, scale, out):
    """Fill scale · ∇ℓ."""
    for k in range(q.size):
        out[k] = mass_times(scale, over(f1[k], q[k]))


@inline
def given_hessian_diagonal_row(loss, m, u, q, c, f1, f2, scale, out):
    """Fill scale · diag ∇²ℓ."""
    for k in range(q.size):
        out[k] = mass_times(scale, over(over(f2[k] - f1[k], q[k]), q[k]))


@inline
def given_hessian_row(loss, m, u, q, c, f1, f2, scale, diagonal, out):
    """Fill scale · ∇²ℓ, a diagonal matrix."""
    given_hessian_diagonal_row(loss, m, u, q, c, f1, f2, scale, diagonal)
    for i in range(q.size):
        for j in range(q.size):
            out[i, j] = diagonal[i] if i == j else mass_times(scale, 0.0 if f1[i] == f1[i] else math.nan)


@inline
def given_hessian_vector_row(loss, m, u, q, c, f1, f2, vector, scale, diagonal, out):
    """Fill scale · ∇²ℓ v."""
    given_hessian_diagonal_row(loss, m, u, q, c, f1, f2, 1.0, diagonal)
    for k in range(q.size):
        out[k] = mass_times(scale, mass_times(vector[k], diagonal[k]))


# ---- divided by their sum -----------------------------------------------------------------


@inline
def order(x):
    """Return the exponent of x > 0, cut to what one multiplication can undo."""
    exponent = (float_to_bits(x) >> 52) - 1023
    return min(max(exponent, -MOST), MOST)


@inline
def power_of_two(n):
    """Return 2^n."""
    return bits_to_float((1023 + n) << 52)


@inline
def brought_to_one(loss, m, p, out):
    """Fill p 2^-(a + b), whose sum is in [1, 2); return a, b, that sum and the sum without class m, high + low each."""
    a = order(p[m])
    for k in range(p.size):
        out[k] = p[k] * power_of_two(-a)
    s, low = total_parts(loss, out)
    b = order(s)
    for k in range(p.size):
        out[k] = out[k] * power_of_two(-b)
    own = out[m]
    out[m] = 0.0
    rest, rest_low = total_parts(loss, out)
    out[m] = own
    return a, b, s * power_of_two(-b), low * power_of_two(-b), rest, rest_low


@inline
def open_row(loss, z, u, q, c):
    """Fill u = log q, q = p/s and c = p; return the largest class, or -1 for a row of nan or of zeros."""
    m, doubt = argmax(z), 0
    for k in range(z.size):
        c[k] = np.float64(z[k]) + 0.0  # -0 becomes 0
        doubt += 1 if c[k] != c[k] else 0
    if not (c[m] > 0.0 and doubt == 0):
        return -1
    a, b, s, s_low, rest, rest_low = brought_to_one(loss, m, c, q)
    log_s, log_s_low = log_parts(loss, s, s_low)
    for k in range(z.size):
        exact = q[k] > EXACT
        n = 0.0 if exact else np.float64(a + b)  # what the power of 2 may have rounded is left as it was
        log_p, low = log_parts(loss, q[k] if exact else c[k], 0.0)
        log_p, error = two_sum(log_p, -n * LN2_HIGH)
        low += error - n * LN2_LOW
        log_q, error = two_sum(log_p, -log_s)
        u[k] = log_q + (error + (low - log_s_low)) if log_p > -math.inf else log_p
    share, share_low = reciprocal_parts(q[m], 0.0)
    odds, odds_low = product(rest, share)
    log_q, low = log1p_parts(loss, odds, odds_low + (rest * share_low + rest_low * share))
    u[m] = -(log_q + low)
    for k in range(z.size):
        q[k] = quotient(q[k], 0.0, s, s_low)
    return m


@inline
def lifted(n):
    """Return the power of 2 that makes the square of 1/s a number where s is about 2^n, and leaves most rows alone."""
    return 2.0**600 if n < -400 else 2.0**-24 if n > 990 else 1.0


@inline
def close_terms(loss, m, u, q, c, f1, f2):
    """Turn u, q and c into 1 - q, p t and the power of 2 t, once every class has been asked what it pays."""
    for k in range(q.size):
        u[k] = 1.0 - q[k]
    a, b, s, s_low, rest, rest_low = brought_to_one(loss, m, c, q)
    u[m] = quotient(rest, rest_low, s, s_low)
    t = lifted(a + b)
    for k in range(q.size):
        q[k], c[k] = c[k] * t, t


@inline
def reciprocal_of_sum(loss, q):
    """Return 1/Σ q."""
    s, low = total_parts(loss, q)
    r, r_low = reciprocal_parts(s, low)
    return r + r_low


@inline
def gradient_row(loss, m, u, q, c, f1, scale, out):
    """Fill scale · ∇ℓ."""
    r, others = reciprocal_of_sum(loss, q), total_without(loss, f1, m)
    everything = others + f1[m]
    for k in range(q.size):
        without = others if k == m else everything - f1[k]
        out[k] = mass_times(scale, (over(f1[k] * u[k], q[k]) - without * r) * c[k])


@inline
def hessian_diagonal_row(loss, m, u, q, c, f1, f2, scale, out):
    """Fill scale · diag ∇²ℓ."""
    r, others, bends = reciprocal_of_sum(loss, q), total_without(loss, f1, m), total_without(loss, f2, m)
    everything, all_bends = others + f1[m], bends + f2[m]
    for k in range(q.size):
        without = (others if k == m else everything - f1[k]) + (bends if k == m else all_bends - f2[k])
        own = f2[k] * u[k] - f1[k] * (2.0 - u[k])
        bend = over(over(own * u[k], q[k]), q[k]) + without * r * r
        out[k] = mass_times(scale, bend * c[k] * c[k])


@inline
def hessian_row(loss, m, u, q, c, f1, f2, scale, diagonal, out):
    """Fill scale · ∇²ℓ."""
    r, slopes, bends = reciprocal_of_sum(loss, q), total(loss, f1), total_without(loss, f2, m)
    all_bends = bends + f2[m]
    for i in range(q.size):
        for j in range(q.size):
            without = bends - f2[j] if i == m else bends - f2[i] if j == m else all_bends - f2[i] - f2[j]
            of_each = over(f2[i] * u[i], q[i]) + over(f2[j] * u[j], q[j])
            bend = (slopes + without) * r * r - of_each * r
            out[i, j] = mass_times(scale, bend * c[i] * c[j])
    hessian_diagonal_row(loss, m, u, q, c, f1, f2, scale, diagonal)
    for i in range(q.size):
        out[i, i] = diagonal[i]


@inline
def hessian_vector_row(loss, m, u, q, c, f1, f2, vector, scale, bent, out):
    """Fill scale · ∇²ℓ v: that of F', row by row, and Σ_i F''_i (∇u_i·v) ∇u_i."""
    r, slopes, others = reciprocal_of_sum(loss, q), total(loss, f1), total_without(loss, f1, m)
    rest, bends = 0.0, 0.0
    for k in range(q.size):
        rest += 0.0 if k == m else np.float64(vector[k])
    whole = rest + np.float64(vector[m])
    for k in range(q.size):
        without = rest if k == m else whole - vector[k]
        bent[k] = over(f2[k] * u[k], q[k]) * vector[k] - f2[k] * r * without
        bends += 0.0 if k == m else bent[k]
    everything = bends + bent[m]
    for k in range(q.size):
        without = others if k == m else slopes - f1[k]
        own = without * r * r - over(over(f1[k] * (2.0 - u[k]) * u[k], q[k]), q[k])
        aside = slopes * r * r * (rest if k == m else whole - vector[k])
        beside = bends if k == m else everything - bent[k] if abs(bent[k]) < math.inf else 0.0
        of_bends = over(bent[k] * u[k], q[k]) - beside * r
        bend = (mass_times(np.float64(vector[k]), own) + aside) + of_bends
        out[k] = mass_times(scale, bend * c[k] * c[k])
