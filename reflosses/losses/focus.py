"""What focal losses have in common: powers of how far a prediction is from its label."""

import math

from ..special import (
    exp_parts,
    exp_sum,
    expit_power,
    fast_two_sum,
    fma,
    inline,
    log1p_unit_parts,
    log_expit,
    log_parts,
    logistic,
    mass_times,
    product,
    reciprocal_parts,
    two_sum,
)


@inline
def times(w, rest, x):
    """Return (w + rest) x, rounded once; 0 for no weight."""
    small = rest * x
    return 0.0 if w == 0.0 else fma(w, x, small if abs(small) < math.inf else 0.0)


@inline
def focus(x, low, gamma):
    """Return w = (1 - q)^γ, q = σ(x + low), and its factors in the derivatives of -w log q."""
    q, c, _ = logistic(x, low)
    pull = gamma * mass_times(q, log_expit(x, low))
    return expit_power(-x, gamma, -low), pull - c, q * c * (1.0 + 2.0 * gamma) + pull * (c - gamma * q)


@inline
def sides(z, y, low):
    """Return, as high + low each, the label mass that z speaks against, and the rest."""
    not_y, error = two_sum(1.0, -y)
    not_y, not_low = two_sum(not_y, error - low)
    return (not_y, not_low, y, low) if z >= 0.0 else (y, low, not_y, not_low)


@inline
def parts(z, y, low):
    """Return log c and the cross entropy b, each as high + low, and σ(z) and σ(-z)."""
    weight, weight_low, rest, rest_low = sides(z, y, low)
    e, e_low = exp_parts(-abs(z))
    tail, tail_low = log1p_unit_parts(e, e_low)
    near, near_low = product(rest, e)
    total, error = two_sum(weight, near)
    log_c, log_low = log_parts(total, error + (weight_low + (near_low + (rest * e_low + rest_low * e))))
    log_c, log_low = (-abs(z), 0.0) if weight == 0.0 else (log_c, log_low)
    log_c, error = two_sum(log_c, -tail)
    far = abs(z) if weight > 0.0 else 0.0
    linear, linear_low = product(weight, far)
    b, b_error = two_sum(linear, tail)
    b_low = (b_error + tail_low) + (linear_low + weight_low * far)
    s, s_low = fast_two_sum(1.0, e)
    p, p_low = reciprocal_parts(s, s_low + e_low)
    q = e * p
    q += fma(e, p, -q) + (e * p_low + e_low * p)
    p, q = (p, q) if z >= 0.0 else (q, p)
    return log_c, error + (log_low - tail_low), b, b_low if b < math.inf else 0.0, p, q


@inline
def power(log_x, low, a):
    """Return x^a, a >= 0, from log x = log_x + low, with 0^0 = 1."""
    high = a * log_x
    result = exp_sum(high, fma(a, log_x, -high) + a * low)
    return 1.0 if a == 0.0 and log_x == log_x else result
