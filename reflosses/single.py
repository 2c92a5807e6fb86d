"""The functions of ``special``, as short as a float32 result allows.

A result that will be rounded to 24 bits needs a relative error of 2^-34 to stay within 0.501 ulp
of the truth.  These versions keep 2^-36: arithmetic is still float64, but polynomials are half
as long and nothing travels as ``high + low``.  ``dispatch`` puts them in the place of their
namesakes when it compiles a kernel for float32 data, so a loss is written once.

Inputs come from float32 numbers: below -708 an exponential may return 3e-308 instead of 0 and
above 709 it may return 8e307 instead of infinity; both round to the right float32.
"""

import math

from .special import (
    LN2_HIGH,
    LN2_LOW,
    LOG2_E,
    MAGIC,
    SQRT_HALF_BITS,
    bits_to_float,
    float_to_bits,
    fma,
    inline,
    two_sum,
)

LN2 = LN2_HIGH + LN2_LOW

# (exp(f) - 1 - f) / f^2 on |f| <= log(2)/2: Chebyshev fit, off by 2^-37.8 of exp(f)
EXP_TAIL = (
    0.5,
    0.166666667191548,
    0.04166666671913807,
    0.008333298413941455,
    0.0013888853979832356,
    0.00019899332056564083,
    2.485963629410833e-05,
)
# (log((1+s)/(1-s)) - 2s) / s^3 in s^2, |s| <= 0.1716: Chebyshev fit, off by 2^-43.1 of 2s
LOG_TAIL = (
    0.6666666666738229,
    0.399999987875307,
    0.28571756536232323,
    0.22191273957130947,
    0.19365116363462445,
)
# the same on |s| <= 1/3, for logarithms of 1 to 2 without a reduction: off by 2^-36.5 of 2s
LOG_UNIT_TAIL = (
    0.6666666665002361,
    0.4000001076994966,
    0.2857030572188366,
    0.22264711209001325,
    0.17464702465440773,
    0.20787616855746752,
)


@inline
def product(a, b):
    """Return (a·b, 0): a float32's worth of digits does not see the rounding error."""
    return a * b, 0.0


@inline
def exp(x, low=0.0):
    """Return exp(x) with relative error below 2^-37; a float32's worth of digits does not see ``low``."""
    x = -708.0 if x < -708.0 else x
    x = 709.0 if x > 709.0 else x
    shifted = fma(x, LOG2_E, MAGIC)
    f = fma(shifted - MAGIC, -LN2, x)
    a0, a1, a2, a3, a4, a5, a6 = EXP_TAIL
    f2 = f * f
    tail = fma(f2, fma(f2, fma(f2, a6, fma(f, a5, a4)), fma(f, a3, a2)), fma(f, a1, a0))
    result = fma(f2, tail, 1.0 + f)
    return bits_to_float(float_to_bits(result) + (float_to_bits(shifted) << 52))


@inline
def exp_sum(high, low):
    """Return exp(high); a float32's worth of digits does not see ``low``."""
    return exp(high)


@inline
def log1p(x):
    """Return log(1 + x) for x >= 0 with relative error below 2^-42."""
    s, s_low = two_sum(1.0, x)
    k = (float_to_bits(s) - SQRT_HALF_BITS) >> 52
    m = bits_to_float(float_to_bits(s) - (k << 52))
    f = (m - 1.0) + s_low * bits_to_float((1023 - min(k, 1000)) << 52)
    q = f / fma(0.5, f, 1.0)
    s = 0.5 * q
    w = s * s
    a0, a1, a2, a3, a4 = LOG_TAIL
    series = fma(w, fma(w, fma(w, fma(w, a4, a3), a2), a1), a0)
    n = bits_to_float(k + float_to_bits(MAGIC)) - MAGIC
    return fma(n, LN2, fma(s, w * series, q))


@inline
def log1p_unit_parts(x, low):
    """Return (log(1 + x), 0), 0 <= x <= 1."""
    t = x / fma(0.5, x, 1.0)
    s = 0.5 * t
    w = s * s
    a0, a1, a2, a3, a4, a5 = LOG_UNIT_TAIL
    series = fma(w, fma(w, fma(w, fma(w, fma(w, a5, a4), a3), a2), a1), a0)
    return fma(s, w * series, t), 0.0


@inline
def exp_parts(x, x_low=0.0):
    """Return (exp(x), 0)."""
    return exp(x), 0.0


@inline
def logistic(high, low):
    """Return σ(x), σ(-x) and log(1 + exp(-|x|)) of x = high."""
    e = exp(-abs(high))
    r = 1.0 / (1.0 + e)
    q = e * r
    above = high >= 0.0
    tail, _ = log1p_unit_parts(e, 0.0)
    return r if above else q, q if above else r, tail


@inline
def expit(x):
    """Return σ(x) = 1/(1 + exp(-x))."""
    p, _, _ = logistic(x, 0.0)
    return p


@inline
def softplus_tail(x):
    """Return log(1 + exp(-|x|)), what softplus has beyond max(x, 0)."""
    _, _, tail = logistic(x, 0.0)
    return tail


@inline
def log_parts(x, low):
    """Return (log(x + low), 0), x > 0; only next to 1 does a float32's worth of digits see ``low``."""
    tiny = x < 2.0**-960
    x = x * (2.0**120 if tiny else 1.0)
    k = (float_to_bits(x) - SQRT_HALF_BITS) >> 52
    f = (bits_to_float(float_to_bits(x) - (k << 52)) - 1.0) + (low if k == 0 else 0.0)
    q = f / fma(0.5, f, 1.0)
    s = 0.5 * q
    w = s * s
    a0, a1, a2, a3, a4 = LOG_TAIL
    series = fma(w, fma(w, fma(w, fma(w, a4, a3), a2), a1), a0)
    n = bits_to_float(k + float_to_bits(MAGIC)) - MAGIC - (120.0 if tiny else 0.0)
    result = fma(n, LN2, fma(s, w * series, q))
    return result if 0.0 < x < math.inf else (-math.inf if x == 0.0 else x), 0.0


@inline
def log_expit(x, x_low=0.0):
    """Return log σ(x)."""
    return -((-x if x < 0.0 else 0.0) + softplus_tail(x))


@inline
def log_expit_parts(x, x_low=0.0):
    """Return (log σ(x), 0)."""
    return log_expit(x), 0.0


@inline
def expit_power(x, a, x_low=0.0):
    """Return σ(x)^a for a >= 0, with 0^0 = 1."""
    result = exp(a * log_expit(x))
    return 1.0 if a == 0.0 and x == x else result


@inline
def expm1(x, x_low=0.0):
    """Return exp(x) - 1."""
    f = x if abs(x) <= 0.34 else 0.0
    a0, a1, a2, a3, a4, a5, a6 = EXP_TAIL
    tail = fma(f, fma(f, fma(f, fma(f, fma(f, fma(f, a6, a5), a4), a3), a2), a1), a0)
    return fma(f * f, tail, f) if abs(x) <= 0.34 else exp(x) - 1.0


@inline
def log_tempered(v, v_low, beta, beta_low):
    """Return (log p, 0) of p = [1 + β v]_+^(-1/β), and 1 + β v."""
    w = beta * v
    b = 1.0 + w
    high, _ = log_parts(b if b > 0.0 else 0.0, 0.0)
    straight = abs(w) < 2.0**-12
    q = v * (1.0 - w * (0.5 - w * (1.0 / 3.0 - 0.25 * w))) if straight else high / beta
    return -math.inf if v == math.inf or b <= 0.0 else -q, 0.0, b


@inline
def power(log_x, low, a, a_low):
    """Return x^a from log x; 1 for a = 0, and 0 for x = 0 and any other a."""
    result = exp(a * log_x) if log_x > -math.inf or log_x != log_x else 0.0
    return 1.0 if a == 0.0 and log_x == log_x else result
