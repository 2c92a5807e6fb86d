"""What a class pays under the bi-tempered loss: integrals between a label and a probability.

A label y and a probability p, given by its logarithm in twice the precision, pay

    F = ∫ (x - y) x^(b-1) dx from y to p,        b = 1 - t1,

the Bregman divergence of the tempered logarithm.  The textbook's closed form loses its digits where
p is near y, a confident prediction included: there a series in log(p/y) takes its place, elsewhere it
is carried to more digits than cancel.
"""

import math

from .special import (
    exp,
    exp_parts,
    exp_sum,
    expm1,
    expm1_parts,
    fast_two_sum,
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
# (exp(x) - 1 - x - x²/2 - x³/6 - x⁴/24)/x⁵ on |x| <= 0.8: Chebyshev fit, off by 2^-50.8 of it
EXP_TAIL = (
    0.008333333333333333,
    0.0013888888888889442,
    0.00019841269841270167,
    2.480158729985479e-05,
    2.7557319222967374e-06,
    2.7557320739524914e-07,
    2.5052109276430695e-08,
    2.0876216016701074e-09,
    1.6058725780501731e-10,
    1.1555173026675582e-11,
    7.696807777979237e-13,
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
def _cubic(x):
    """Return (exp(x) - 1 - x - x²/2 - x³/6 - x⁴/24)/x² for |x| <= 0.8."""
    a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10 = EXP_TAIL
    x2 = x * x
    first = fma(x2, fma(x, a3, a2), fma(x, a1, a0))
    second = fma(x2, fma(x, a7, a6), fma(x, a5, a4))
    return x2 * x * fma(x2 * x2, fma(x2 * x2, fma(x2, a10, fma(x, a9, a8)), second), first)


@inline
def _near_divergence(d, d_low, b, b_low, next_b, next_low):
    """Return D (E((b+1) D) - E(bD)) as high + low for |D| (1 + |b|) <= 0.8, as D²/2 times a series in D.

    It is 1 + (2b + 1) D/3 + (3b² + 3b + 1) D²/12 + ..., whose second term is carried to twice the precision.
    """
    square = 0.5 * d * d
    square_low = fma(0.5 * d, d, -square) + d * d_low
    twice, lost = two_sum(next_b, b)
    third = twice / 3.0
    third_low = (fma(-3.0, third, twice) + (lost + b_low + next_low)) / 3.0
    u, u_low = product(d, third)
    rest = 2.0 * (next_b * _cubic(next_b * d) - b * _cubic(b * d))
    u_low += fma(d, third_low, d_low * third) + fma(d * d, fma(3.0 * b, next_b, 1.0) / 12.0, rest)
    change, error = product(square, u)
    high, low = fast_two_sum(square, change)
    return high, low + (error + fma(square, u_low, square_low * (1.0 + u)))


@inline
def divergence(log_p, low, log_y, log_low, b, b_low):
    """Return ∫ (x - y) x^(b-1) dx from y to p, b <= 1, without a branch: never negative, and ∞ for p = 0 >= b.

    With D = log(p/y) and E(x) = (e^x - 1)/x it is y^(b+1) D (E((b+1) D) - E(bD)), and near D = 0 a
    series whose first two terms are exact; beyond, the two terms are carried to more digits than cancel.  For
    p above y all of it is taken relative to p there, unless y^b is the larger by far.
    """
    d, error = two_sum(log_p, -log_y)
    d, d_low = fast_two_sum(d, error + (low - log_low) if abs(d) < math.inf else 0.0)
    d_low = d_low if abs(d) < math.inf else 0.0
    next_b, next_low = two_sum(b, 1.0)
    next_low += b_low
    near = abs(d) * (1.0 + abs(b)) <= 0.8
    series, series_low = _near_divergence(d if near else 0.0, d_low, b, b_low, next_b, next_low)
    from_p = log_y < 0.0 and d > 0.0 and b >= -0.5
    x, x_low = -d if from_p else d, -d_low if from_p else d_low
    whole, whole_low = expm1_over_parts(x, x_low, next_b, next_low)
    beside, beside_low = expm1_over_parts(x, x_low, b, b_low)
    e, e_low = exp_parts(x if from_p else 0.0, x_low if from_p else 0.0)
    scaled, scaled_low = product(beside, e)
    scaled_low += beside * e_low + beside_low * e
    total, error = two_sum(scaled if from_p else whole, -(whole if from_p else beside))
    error += scaled_low - whole_low if from_p else whole_low - beside_low
    total, error = series if near else total, series_low if near else error
    from_p = from_p and not near
    result = power_times(log_p if from_p else log_y, low if from_p else log_low, next_b, next_low, total, error)
    return math.inf if beside == -math.inf and not near else result  # both terms are infinite


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
    apart = divergence(log_p, low, *log_parts(y, 0.0), b, b_low)
    next_b, next_low = two_sum(b, 1.0)
    whole = power(log_p, low, next_b, next_low + b_low) / next_b if next_b > 0.0 else math.inf
    return apart if y != 0.0 else 0.0 if log_p == -math.inf else whole


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
    half = power(log_p, low, 0.5 * a, 0.5 * a_low)
    beyond = part == math.inf and y != 1.0  # p - y may be as small as the power is large
    slope = whole if y == 0.0 else (apart * half) * half if beyond else apart * part
    steep = power(log_p, low, *two_sum(t2, -1.0)) if log_p > -math.inf else 0.0
    return slope, mass_times(whole, steep) + a * mass_times(slope, steep)  # a F' alone may overflow
