"""What losses of log-odds have in common, above all focal ones: powers of how far a prediction is from its label."""

import math

from ..special import (
    exp_parts,
    fast_two_sum,
    fma,
    inline,
    log1p_unit_parts,
    log_parts,
    mass_times,
    product,
    reciprocal_parts,
    two_sum,
)


@inline
def times(w, rest, x, x_low=0.0):
    """Return (w + rest)(x + x_low), rounded once; 0 for no weight."""
    small = rest * x + w * x_low
    return 0.0 if w == 0.0 else fma(w, x, small if abs(small) < math.inf else 0.0)


@inline
def power(log_x, low, a):
    """Return x^a, a >= 0, as high + low from log x = log_x + low, with 0^0 = 1."""
    high, error = product(a, log_x)
    x, x_low = exp_parts(high, error + a * low)
    nothing = a == 0.0 and log_x == log_x
    return 1.0 if nothing else x, 0.0 if nothing else x_low


@inline
def likely(x, low):
    """Return e = exp(-|x + low|) as high + low, 1/(1 + e), e/(1 + e), and log(1 + e) as high + low."""
    e, e_low = exp_parts(-abs(x), -low if x >= 0.0 else low)
    tail, tail_low = log1p_unit_parts(e, e_low)
    s, s_low = fast_two_sum(1.0, e)
    p, p_low = reciprocal_parts(s, s_low + e_low)
    q = e * p
    return e, e_low, p, q + (fma(e, p, -q) + (e * p_low + e_low * p)), tail, tail_low


@inline
def probabilities(x, low):
    """Return q = σ(x + low) and 1 - q, then the logarithms of both as high + low each."""
    _, _, p, not_p, near, near_low = likely(x, low)
    far, error = two_sum(abs(x), near)
    far_low = error + (near_low + (low if x >= 0.0 else -low)) if far < math.inf else 0.0
    if x >= 0.0:
        return p, not_p, -near, -near_low, -far, -far_low
    return not_p, p, -far, -far_low, -near, -near_low


@inline
def focus(x, low, gamma):
    """Return (1 - q)^γ and log q, q = σ(x + low), as high + low each, and the first's factors in the derivatives.

    These are the derivatives of -(1 - q)^γ log q in x.
    """
    q, c, s, s_low, log_c, log_low = probabilities(x, low)
    w, w_low = power(log_c, log_low, gamma)
    drag = gamma * q  # which may meet an infinite s
    pull = mass_times(drag, s)
    slope = fma(drag, s, -c) if drag != 0.0 else -c
    return w, w_low, s, s_low, slope, q * c * (1.0 + 2.0 * gamma) + pull * (c - drag)


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
    e, e_low, p, q, tail, tail_low = likely(z, 0.0)
    near, near_low = product(rest, e)
    total, error = two_sum(weight, near)
    log_c, log_low = log_parts(total, error + (weight_low + (near_low + (rest * e_low + rest_low * e))))
    log_c, log_low = (-abs(z), 0.0) if weight == 0.0 else (log_c, log_low)
    log_c, error = two_sum(log_c, -tail)
    far = abs(z) if weight > 0.0 else 0.0
    linear, linear_low = product(weight, far)
    b, b_error = two_sum(linear, tail)
    b_low = (b_error + tail_low) + (linear_low + weight_low * far)
    p, q = (p, q) if z >= 0.0 else (q, p)
    return log_c, error + (log_low - tail_low), b, b_low if b < math.inf else 0.0, p, q
