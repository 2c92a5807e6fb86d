"""What a class pays under the bi-tempered loss: integrals between a label and a probability.

A label y and a probability p, given by its logarithm in twice the precision, pay

    F = ∫ (x - y) x^(b-1) dx from y to p,        b = 1 - t1,

the Bregman divergence of the tempered logarithm.  The textbook's closed form loses its digits where
p is near y, a confident prediction included; the integral has only terms of one sign.
"""

import math

from .special import (
    exp,
    exp_parts,
    exp_sum,
    expm1,
    expm1_parts,
    fma,
    inline,
    log_parts,
    mass_times,
    power,
    power_parts,
    product,
    times,
    two_sum,
)

LN_SCALE_HIGH = 138.62943611198907  # 200 log 2
LN_SCALE_LOW = -3.3555121496085278e-15
# (exp(x) - 1 - x - x^2/2)/x^3 on |x| <= 1: Chebyshev fit, off by 2^-58.7 of it
EXP_TAIL = (
    0.16666666666666666,
    0.041666666666666664,
    0.008333333333333299,
    0.001388888888888887,
    0.00019841269841324198,
    2.480158730161747e-05,
    2.7557319191381816e-06,
    2.7557319205890157e-07,
    2.5052117695907823e-08,
    2.0876762155587967e-09,
    1.6057679623801638e-10,
    1.146998832606381e-11,
    7.746178593018827e-13,
    4.83445137390608e-14,
)
NODES = (  # of Gauss and Legendre's rule for integrals from 0 to 1
    0.005299532504175033,
    0.02771248846338371,
    0.06718439880608412,
    0.12229779582249849,
    0.19106187779867811,
    0.2709916111713863,
    0.35919822461037054,
    0.4524937450811813,
    0.5475062549188188,
    0.6408017753896295,
    0.7290083888286137,
    0.8089381222013219,
    0.8777022041775016,
    0.9328156011939158,
    0.9722875115366163,
    0.994700467495825,
)
NODES_LOW = (  # what rounding took from them
    3.549625692697504e-19,
    1.6866932153615707e-18,
    5.6578389899249184e-18,
    -3.742755139400722e-18,
    1.1061760986731832e-17,
    -8.331202085479629e-18,
    1.0979395626296066e-18,
    -6.775096516135573e-18,
    -4.8736054715122254e-17,
    -1.0979395626296066e-18,
    -4.7179949145778197e-17,
    -1.1061760986731832e-17,
    -3.789060828404265e-17,
    4.985331224133291e-17,
    -1.2095034071222413e-17,
    -2.957047783234961e-18,
)
WEIGHTS = (  # of the same rule
    0.013576229705877048,
    0.031126761969323947,
    0.04757925584124639,
    0.06231448562776694,
    0.07479799440828837,
    0.08457825969750127,
    0.09130170752246179,
    0.09472530522753425,
    0.09472530522753425,
    0.09130170752246179,
    0.08457825969750127,
    0.07479799440828837,
    0.06231448562776694,
    0.04757925584124639,
    0.031126761969323947,
    0.013576229705877048,
)


@inline
def expm1_over(d, d_low, a, a_low):
    """Return (exp(a d) - 1)/a, which is d at a = 0."""
    if a == 0.0 or abs(a * d) < 2.0**-60:
        return d + d_low
    return expm1(*power_parts(d, d_low, a, a_low)) / a


@inline
def expm1_over_parts(d, d_low, a, a_low):
    """Return (exp(a d) - 1)/a as high + low with relative error below 2^-56, d at a = 0."""
    high, low = expm1_parts(*power_parts(d, d_low, a, a_low))
    q = high / a
    q_low = (fma(-q, a, high) + (low - q * a_low)) / a
    return (d, d_low) if a == 0.0 else (q, q_low)


@inline
def power_times(log_x, low, a, a_low, y, y_low):
    """Return x^a (y + y_low), rounded about once, where x^a alone may overflow."""
    high, low = power_parts(log_x, low, a, a_low)
    shift = 2.0 if high > 300.0 else 0.0
    high, error = two_sum(high, -shift * LN_SCALE_HIGH)
    factor, factor_low = exp_parts(min(high, 600.0), error + (low - shift * LN_SCALE_LOW) if high < 600.0 else 0.0)
    result = times(factor, factor_low, y, y_low)
    return result * 2.0**200 * 2.0**200 if shift > 0.0 else result


@inline
def divergence(log_p, low, log_y, log_low, b, b_low):
    """Return ∫ (x - y) x^(b-1) dx from y to p, b <= 1: never negative, and ∞ for p = 0 >= b.

    With D = log(p/y) it is y^(b+1) ∫ (e^w - 1) e^(bw) dw from 0 to D.  Where D is moderate, sixteen
    nodes of Gauss and Legendre do it, whose terms share a sign; beyond, the two terms of the closed
    form are far apart, and carried to more digits than cancel.  For p above y all of it is taken
    relative to p, unless y^b is the larger by far.
    """
    d, error = two_sum(log_p, -log_y)
    d_low = error + (low - log_low) if abs(d) < math.inf else 0.0
    next_b, next_low = two_sum(b, 1.0)
    next_low += b_low
    if abs(d) * (1.0 + abs(b)) <= 6.0 and not (d > 1.5 and b >= 0.0):
        total, lost = 0.0, 0.0
        for k in range(16):
            w, w_low = product(d, NODES[k])
            w_low += d * NODES_LOW[k]
            term = WEIGHTS[k] * (expm1(w, w_low) * exp_sum(*power_parts(w, w_low, b, b_low)))
            total, error = two_sum(total, term)
            lost += error
        high, error = product(d, total)
        error += d * lost + expm1(d) * exp(b * d) * d_low
        return power_times(log_y, log_low, next_b, next_low, high, error)
    from_p = d > 0.0 and b >= -0.5
    x, x_low = (-d, -d_low) if from_p else (d, d_low)
    whole, whole_low = expm1_over_parts(x, x_low, next_b, next_low)
    beside, beside_low = expm1_over_parts(x, x_low, b, b_low)
    if beside == -math.inf:  # both terms are infinite
        return math.inf
    if from_p:
        e, e_low = exp_parts(x, x_low)
        high, error = product(beside, e)
        whole, whole_low, beside, beside_low = high, error + (beside * e_low + beside_low * e), whole, whole_low
    total, error = two_sum(whole, -beside)
    error += whole_low - beside_low
    if from_p:
        return power_times(log_p, low, next_b, next_low, total, error)
    return power_times(log_y, log_low, next_b, next_low, total, error)


@inline
def _beyond_half(x):
    """Return (exp(x) - 1)/x - 1 - x/2 for |x| <= 1."""
    a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13 = EXP_TAIL
    x2 = x * x
    x4 = x2 * x2
    first = fma(x2, fma(x, a3, a2), fma(x, a1, a0))
    second = fma(x2, fma(x, a7, a6), fma(x, a5, a4))
    third = fma(x4, fma(x, a13, a12), fma(x2, fma(x, a11, a10), fma(x, a9, a8)))
    return x2 * fma(x4, fma(x4, third, second), first)


@inline
def divergence_from_one(log_p, low, b, b_low):
    """Return ∫ (1 - x) x^(b-1) dx from p to 1, b <= 1, without a branch: what a hard label pays.

    It is (p^(b+1) - 1)/(b+1) - (p^b - 1)/b, the halves carried to more digits than cancel.  Near 1,
    with E(x) = (e^x - 1)/x and D = log p, it is D (E((b+1) D) - E(b D)), of which D²/2 is exact.
    """
    next_b, next_low = two_sum(b, 1.0)
    next_low += b_low
    near = abs(log_p) * (1.0 + abs(b)) <= 1.0
    d = log_p if near else 0.0
    square = 0.5 * d * d
    rest = fma(0.5 * d, d, -square) + d * low
    series = square + fma(d, _beyond_half(next_b * d) - _beyond_half(b * d), rest)
    high, high_rest = expm1_over_parts(log_p, low, next_b, next_low)
    other, other_rest = expm1_over_parts(log_p, low, b, b_low)
    far = (high - other) + (high_rest - other_rest) if other > -math.inf else math.inf
    nothing = 1.0 / b - 1.0 / next_b if b > 0.0 else math.inf
    return series if near else nothing if log_p == -math.inf else far


@inline
def integral_of_moment(d, d_low, a, a_low):
    """Return ∫ w e^(aw) dw from 0 to d."""
    x, x_low = power_parts(d, d_low, a, a_low)
    if abs(x) <= 1.0:
        total, term = 0.0, 1.0
        for k in range(20):
            total += term / (k + 2.0)
            term *= x / (k + 1.0)
        return d * d * total
    return (power(x, x_low, 1.0, 0.0) * (x - 1.0) + 1.0) / (a * a)


@inline
def _power_times(log_x, low, a, a_low, y):
    """Return x^a y, where x^a alone may underflow."""
    high, low = power_parts(log_x, low, a, a_low)
    if not high <= -600.0:
        return exp_sum(high, low) * y
    high, error = two_sum(high, LN_SCALE_HIGH)
    return exp_sum(high, error + (low + LN_SCALE_LOW)) * y * 2.0**-200


@inline
def divergence_moment(log_p, low, log_y, log_low, b, b_low):
    """Return ∫ (x - y) x^(b-1) log x dx from y to p, never positive for p and y up to 1: the slope in b."""
    d, error = two_sum(log_p, -log_y)
    d_low = error + (low - log_low) if abs(d) < math.inf else 0.0
    next_b, next_low = two_sum(b, 1.0)
    next_low += b_low
    if abs(d) * (1.0 + abs(b)) <= 6.0:
        total = 0.0
        for k in range(16):
            w = d * NODES[k]
            total += WEIGHTS[k] * (expm1(w) * exp(b * w)) * (w + log_y)
        return _power_times(log_y, log_low, next_b, next_low, d * total)
    if d == -math.inf:
        whole = mass_times(log_y, 1.0 / b - 1.0 / next_b) if b > 0.0 else -math.inf
        moments = 1.0 / (next_b * next_b) - 1.0 / (b * b) if b > 0.0 else 0.0
        return _power_times(log_y, log_low, next_b, next_low, moments + whole)
    if d > 0.0:
        if b >= 0.0:
            beside = exp_sum(-d, -d_low) * integral_of_moment(-d, -d_low, b, b_low)
        else:  # the same, where the moment may overflow
            beside = (power(d, d_low, -next_b, -next_low) * (-b * d - 1.0) + exp_sum(-d, -d_low)) / (b * b)
        moments = integral_of_moment(-d, -d_low, next_b, next_low) - beside
        whole = mass_times(log_p, divergence(log_p, low, log_y, log_low, b, b_low))
        return whole - power(log_p, low, next_b, next_low) * moments
    moments = integral_of_moment(d, d_low, next_b, next_low) - integral_of_moment(d, d_low, b, b_low)
    whole = log_y * (expm1_over(d, d_low, next_b, next_low) - expm1_over(d, d_low, b, b_low))
    return _power_times(log_y, log_low, next_b, next_low, moments + whole)


@inline
def payment(t1, log_p, low, y):
    """Return F; for y = 0 that is p^(b+1)/(b+1), ∞ for t1 >= 2 unless p = 0."""
    b, b_low = two_sum(1.0, -t1)
    if y == 1.0:
        return divergence_from_one(log_p, low, b, b_low)
    if y != 0.0:
        return divergence(log_p, low, *log_parts(y, 0.0), b, b_low)
    next_b, next_low = two_sum(b, 1.0)
    value = power(log_p, low, next_b, next_low + b_low) / next_b if next_b > 0.0 else math.inf
    return 0.0 if log_p == -math.inf else value


@inline
def label_slope(t1, log_p, low, y):
    """Return ∂F/∂y = log_t1 y - log_t1 p = -y^b (e^(bD) - 1)/b; for y = 0 that is -p^b/b, or has no limit."""
    b, b_low = two_sum(1.0, -t1)
    if y == 0.0:
        if b > 0.0:
            return -power(log_p, low, b, b_low) / b
        return math.inf if log_p == -math.inf else -math.inf
    log_y, log_low = log_parts(y, 0.0)
    d, error = two_sum(log_p, -log_y)
    d_low = error + (low - log_low) if abs(d) < math.inf else 0.0
    if d > 0.0:
        return power(log_p, low, b, b_low) * expm1_over(-d, -d_low, b, b_low)
    return -power(log_y, log_low, b, b_low) * expm1_over(d, d_low, b, b_low)


@inline
def moment(t1, log_p, low, y):
    """Return ∂F/∂t1 at a fixed p, which is never negative."""
    b, b_low = two_sum(1.0, -t1)
    if y != 0.0:
        return -divergence_moment(log_p, low, *log_parts(y, 0.0), b, b_low)
    value = payment(t1, log_p, low, y)
    return 0.0 if value == 0.0 else value * (1.0 / (b + 1.0) - log_p)


@inline
def slopes(t1, t2, log_p, low, q, c, y):
    """Return F' = (p - y) p^(t2 - t1) and F'' = p^(2 t2 - t1 - 1) (p + (t2 - t1)(p - y))."""
    a, a_low = two_sum(t2, -t1)
    next_a, next_low = two_sum(a, 1.0)
    inside = log_p > -math.inf or t2 >= 1.0  # outside of a support there are no slopes
    whole = power(log_p, low, next_a, next_low + a_low) if inside else 0.0  # p^(1 + t2 - t1), seen where p is not
    part = power(log_p, low, a, a_low) if inside else 0.0
    apart = -c if y == 1.0 else q - y
    slope = whole if y == 0.0 else apart * part
    steep = power(log_p, low, *two_sum(t2, -1.0)) if log_p > -math.inf else 0.0
    return slope, mass_times(whole, steep) + a * mass_times(slope, steep)  # a F' alone may overflow
