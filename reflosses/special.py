"""Accurate scalar functions that LLVM turns into SIMD loops.

Every function here is a few dozen additions, multiplications and selects on one float64,
without tables, branches or calls, so that a loop over it becomes packed vector code on any
processor.  The C library's ``exp`` does the same job one element at a time and costs ten times
as much; NumPy's cannot be fused with the loop around it.

Three habits make the results accurate:

* a number that needs more than 53 bits travels as an unevaluated sum ``high + low``;
* ``fma`` gives the rounding error of a product, and ``two_sum`` that of a sum, exactly;
* a quantity that would have to be recovered by subtraction (``1 - p``) is computed directly.

No function may be compiled with fast-math: the magic-number rounding in ``exp`` and the error
terms are algebraically zero, and a compiler that is allowed to will delete them.

Errors quoted are the worst seen by ``tests/test_special.py`` against ball arithmetic; functions
for float32 results, which need fewer bits, are in ``single.py`` under the same names.

References
----------
T. J. Dekker. A floating-point technique for extending the available precision. 1971.
P. T. P. Tang. Table-driven implementation of the exponential function. ACM TOMS 15, 1989.
K. C. Ng. log1p, in FDLIBM 5.3, Sun Microsystems, 1995 (the variable s = f/(2+f)).
"""

import ctypes
import ctypes.util
import math
import struct
from functools import partial

from llvmlite import ir
from numba import config, njit, types
from numba.extending import intrinsic
from numba.extending import overload as any_overload

# What is compiled into its callers needs no entry for C, which would be a seventh of the time to compile it.
INLINED = {"error_model": "numpy", "forceinline": True, "no_cfunc_wrapper": True}
inline = njit(fastmath=False, **INLINED)
overload = partial(any_overload, jit_options=INLINED, strict=False)  # a body chosen by the types of the arguments

LOG2_E = math.log2(math.e)
LN2_HIGH = float.fromhex("0x1.62e42fefa3800p-1")  # 42 bits: n * LN2_HIGH is exact for |n| < 2^11
LN2_LOW = float.fromhex("0x1.ef35793c76730p-45")
MAGIC = 1.5 * 2.0**52  # x + MAGIC holds round(x) in the lowest bits of its significand
MAGIC_128 = MAGIC + 128.0  # the same with round(x) + 128
SQRT_HALF_BITS = 0x3FE6A09E667F3BCD

EXP_OVERFLOW = 709.782712893384  # the largest x whose exponential is finite
EXP_UNDERFLOW = -745.1332191019412  # the smallest x whose exponential is not rounded to 0

# (exp(f) - 1 - f - f^2/2) / f^3 on |f| <= log(2)/2: Chebyshev fit, off by 2^-59.8 of exp(f)
EXP_TAIL = (
    0.16666666666666669,
    0.041666666666666664,
    0.008333333333330051,
    0.0013888888888886545,
    0.00019841269863105968,
    2.4801587317181886e-05,
    2.7557268378684192e-06,
    2.755728291148268e-07,
    2.5100424157005067e-08,
    2.0911264239196083e-09,
)
# (log((1+s)/(1-s)) - 2s) / s^3 in s^2, |s| <= 0.1716: Chebyshev fit, off by 2^-64.8 of 2s
LOG_TAIL = (
    0.6666666666666666,
    0.4000000000000088,
    0.28571428570803614,
    0.22222222391713917,
    0.18181795640132906,
    0.15386239702814658,
    0.13268773138656886,
    0.13086626147840102,
)
LOG_TAIL_LOW = 3.49901420455894e-17  # what the first of these lacks
# the same on |s| <= 1/3, for logarithms of 1 to 2 without a reduction: off by 2^-58.9 of 2s
LOG_UNIT_TAIL = (
    0.6666666666666666,
    0.4,
    0.2857142857142882,
    0.22222222222172736,
    0.18181818186885482,
    0.15384615076440555,
    0.1333334533255595,
    0.11764393893702013,
    0.10531840951885413,
    0.0945713213102443,
    0.09232138849125736,
    0.05282713911890719,
    0.14939922758019583,
)


# ---- machine operations -------------------------------------------------------------------
# LLVM instructions in compiled code, plain Python where Numba's compiler is switched off.


@intrinsic
def fma(typing_context, x, y, z):
    """Return x·y + z, rounded once."""

    def emit(context, builder, signature, arguments):
        return builder.fma(*arguments)

    return types.float64(types.float64, types.float64, types.float64), emit


@intrinsic
def float_to_bits(typing_context, x):
    """Return the 64 bits of a float as a signed integer."""

    def emit(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.int64(types.float64), emit


@intrinsic
def bits_to_float(typing_context, n):
    """Return the float whose bits are those of the 64-bit integer n."""

    def emit(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), emit


if config.DISABLE_JIT:
    fma = ctypes.CDLL(ctypes.util.find_library("m")).fma
    fma.restype, fma.argtypes = ctypes.c_double, [ctypes.c_double] * 3

    def float_to_bits(x):
        return struct.unpack("<q", struct.pack("<d", x))[0]

    def bits_to_float(n):
        return struct.unpack("<d", struct.pack("<Q", n & (2**64 - 1)))[0]


@inline
def two_sum(a, b):
    """Return a + b as (rounded, error), exactly (Knuth)."""
    s = a + b
    c = s - a
    return s, (a - (s - c)) + (b - c)


@inline
def fast_two_sum(a, b):
    """Return a + b as (rounded, error), exactly if |a| >= |b| or a = 0 (Dekker)."""
    s = a + b
    return s, (a - s) + b


@inline
def product(a, b):
    """Return a·b as (rounded, error), exactly where nothing underflows."""
    p = a * b
    return p, fma(a, b, -p)


@inline
def reciprocal_parts(x, low):
    """Return 1/(x + low) as high + low, exactly but for 2^-100 or so."""
    r = 1.0 / x
    return r, (fma(-r, x, 1.0) - r * low) * r


@inline
def mass_times(mass, x):
    """Return mass·x where no mass pays nothing: 0·∞ = 0."""
    return 0.0 if mass == 0.0 else mass * x


@inline
def over(x, p):
    """Return x/p where nothing is nothing: 0/0 = 0."""
    return 0.0 if x == 0.0 else x / p


# ---- exponential --------------------------------------------------------------------------


@inline
def _reduce(high, low, magic):
    """Write high + low = n log 2 + f + g with |f| <= log(2)/2; return n + magic, f and g."""
    shifted = fma(high, LOG2_E, magic)
    n = shifted - magic
    f, g = fast_two_sum(fma(n, -LN2_HIGH, high), fma(n, -LN2_LOW, low))
    return shifted, f, g


@inline
def _exp_tail(f):
    """Return (exp(f) - 1 - f - f²/2)/f³ (Estrin's scheme, for short dependency chains)."""
    a0, a1, a2, a3, a4, a5, a6, a7, a8, a9 = EXP_TAIL
    f2 = f * f
    f4 = f2 * f2
    low = fma(f2, fma(f, a3, a2), fma(f, a1, a0))
    high = fma(f2, fma(f, a7, a6), fma(f, a5, a4))
    return fma(f4, fma(f4, fma(f, a9, a8), high), low)


@inline
def _limited(x, result):
    """Return 0 where exp(x) is no longer a number above 0, nan for nan, else the result."""
    result = result if x == x else x
    return 0.0 if x < EXP_UNDERFLOW else result


@inline
def _times_power(x, shifted):
    """Return x·2^n as x·2^(n+128)·2^-128, so that subnormal results round once."""
    return bits_to_float(float_to_bits(x) + (float_to_bits(shifted) << 52)) * 2.0**-128


@inline
def _exp_reduced(high, low, magic):
    """Write exp(high + low) = 2^n e; return n + magic, and e."""
    shifted, f, g = _reduce(high, low, magic)
    one_f, error = fast_two_sum(1.0, f)
    return shifted, one_f + (error + fma(f * f, fma(f, _exp_tail(f), 0.5), g))


@inline
def exp_sum(high, low):
    """Return exp(high + low), |low| <= ulp(high); a high beyond 600 counts as 600.  Worst error 0.8 ulp."""
    low = 0.0 if high > 600.0 else low  # an infinite sum has no error term
    high = 600.0 if high > 600.0 else high
    shifted, e = _exp_reduced(high, low, MAGIC_128)
    return _limited(high, _times_power(e, shifted))


@inline
def exp_within(x):
    """Return exp(x) for |x| <= 700, and anything beyond.  Worst error 0.8 ulp."""
    shifted, e = _exp_reduced(x, 0.0, MAGIC)
    return bits_to_float(float_to_bits(e) + (float_to_bits(shifted) << 52))


@inline
def exp(x, low=0.0):
    """Return exp(x + low), |low| <= ulp(x).  Worst error 0.8 ulp."""
    shifted, e = _exp_reduced(x, low, MAGIC_128)
    large = x > 600.0
    result = _limited(x, _times_power(e, shifted - 256.0 if large else shifted) * (2.0**256 if large else 1.0))
    return result if not x > EXP_OVERFLOW else math.inf


@inline
def exp_parts(x, x_low=0.0):
    """Return exp(x + x_low) for x <= 600 as high + low, relative error below 2^-57 where normal."""
    shifted, f, g = _reduce(x, x_low, MAGIC_128)
    one_f, error = fast_two_sum(1.0, f)
    f2 = f * f
    head, head_error = fast_two_sum(one_f, 0.5 * f2)
    f2_error = 0.5 * fma(f, f, -f2)
    rest = (error + head_error) + (fma(f, g, g) + f2_error) + f2 * (f * _exp_tail(f))
    high, low = fast_two_sum(head, rest)
    return _limited(x, _times_power(high, shifted)), _limited(x, low * _times_power(1.0, shifted))


@inline
def expm1_parts(x, x_low):
    """Return exp(x + x_low) - 1 as high + low with relative error below 2^-56, or ∞."""
    small, large = abs(x) <= 0.34, x > 300.0
    reduced, error = two_sum(x, -200.0 * LN2_HIGH)
    rest = x_low + (error - 200.0 * LN2_LOW) if reduced < 600.0 else 0.0
    e, e_low = exp_parts(min(reduced, 600.0) if large else x, rest if large else x_low)
    scale = 2.0**200 if large else 1.0
    far, far_low = two_sum(e * scale, -1.0)
    far_low = far_low + e_low * scale if far < math.inf else 0.0
    f = x if small else 0.0
    square = 0.5 * f * f
    near, near_low = two_sum(f, square)
    near_low += fma(0.5 * f, f, -square) + (fma(f, x_low, x_low) + f * f * (f * _exp_tail(f)))
    near, near_low = fast_two_sum(near, near_low)
    return near if small else far, near_low if small else far_low


@inline
def expm1(x, x_low=0.0):
    """Return exp(x + x_low) - 1.  Worst error 0.6 ulp."""
    high, low = expm1_parts(x, x_low)
    return high + low


# ---- logarithm ----------------------------------------------------------------------------


@inline
def _log_quotient(f, g):
    """Write log(1 + f + g), sqrt(1/2) <= 1 + f < sqrt(2), as q + low + tail with q = f/(1 + f/2).

    Of the series q + q³ (a0 + ...), the first term of the tail has a low part too: where |log p| is
    in the hundreds, its error would be seen in p.
    """
    divisor, divisor_low = fast_two_sum(1.0, 0.5 * f)
    reciprocal = 1.0 / divisor
    q = f * reciprocal
    q_low = (fma(-q, divisor, f) + (g - q * fma(0.5, g, divisor_low))) * reciprocal
    s = 0.5 * q
    w, w_low = product(s, s)
    cube, cube_low = product(s, w)
    cube_low += fma(s, w_low, 1.5 * (q_low * w))
    a0, a1, a2, a3, a4, a5, a6, a7 = LOG_TAIL
    w2 = w * w
    series = fma(w2, fma(w2, fma(w2, a7, fma(w, a6, a5)), fma(w, a4, a3)), fma(w, a2, a1))
    tail, tail_low = product(a0, cube)
    low = q_low + (tail_low + fma(a0, cube_low, fma(LOG_TAIL_LOW, cube, cube * (w * series))))
    return q, low, tail


@inline
def log1p_parts(x, low):
    """Return log(1 + x + low), x >= 0, as high + low with relative error below 2^-59."""
    s, s_low = two_sum(1.0, x)
    s_low = s_low + low
    k = (float_to_bits(s) - SQRT_HALF_BITS) >> 52
    m = bits_to_float(float_to_bits(s) - (k << 52))  # in [sqrt(1/2), sqrt(2))
    m_low = s_low * bits_to_float((1023 - min(k, 1000)) << 52)
    f, g = two_sum(m - 1.0, m_low)
    q, q_low, tail = _log_quotient(f, g)
    n = bits_to_float(k + float_to_bits(MAGIC)) - MAGIC
    high, error = fast_two_sum(n * LN2_HIGH, q)
    high, error = fast_two_sum(high, error + (fma(n, LN2_LOW, q_low) + tail))
    finite = x < math.inf
    return high if finite else x, error if finite else 0.0


@inline
def log1p(x):
    """Return log(1 + x) for x >= 0.  Worst error 0.53 ulp."""
    high, _ = log1p_parts(x, 0.0)
    return high


@inline
def log1p_unit_parts(x, low):
    """Return log(1 + x + low), 0 <= x <= 1, as high + low with relative error below 2^-54."""
    divisor, divisor_low = fast_two_sum(1.0, 0.5 * x)
    reciprocal = 1.0 / divisor
    q = x * reciprocal
    q_low = (fma(-q, divisor, x) + (low - q * fma(0.5, low, divisor_low))) * reciprocal
    w = (0.5 * q) * (0.5 * q)
    a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12 = LOG_UNIT_TAIL
    w2 = w * w
    w4 = w2 * w2
    first = fma(w2, fma(w, a3, a2), fma(w, a1, a0))
    second = fma(w2, fma(w, a7, a6), fma(w, a5, a4))
    third = fma(w4, a12, fma(w2, fma(w, a11, a10), fma(w, a9, a8)))
    series = fma(w4, fma(w4, third, second), first)
    return fast_two_sum(q, fma(0.5 * q, w * series, q_low))


@inline
def log_parts(x, low):
    """Return log(x + low), x > 0, as high + low with an error below 2^-59 of the larger of it and 2^-1074."""
    tiny = x < 2.0**-960
    x, low = x * (2.0**120 if tiny else 1.0), low * (2.0**120 if tiny else 1.0)
    k = (float_to_bits(x) - SQRT_HALF_BITS) >> 52
    m = bits_to_float(float_to_bits(x) - (k << 52))  # in [sqrt(1/2), sqrt(2))
    f, g = two_sum(m - 1.0, low * bits_to_float((1023 - k) << 52))
    q, q_low, tail = _log_quotient(f, g)
    n = bits_to_float(k + float_to_bits(MAGIC)) - MAGIC - (120.0 if tiny else 0.0)
    high, error = fast_two_sum(n * LN2_HIGH, q)
    high, error = fast_two_sum(high, error + (fma(n, LN2_LOW, q_low) + tail))
    usual = 0.0 < x < math.inf
    return high if usual else (-math.inf if x == 0.0 else x), error if usual else 0.0


# ---- tempered logarithm and exponential ---------------------------------------------------


@inline
def log_tempered(v, v_low, beta, beta_low):
    """Return log p of p = [1 + β v]_+^(-1/β) as high + low, and 1 + β v.

    v + v_low is -u, and β + beta_low = t - 1 may have either sign or be 0, where log p = -v; no
    neighbourhood of 0 is treated apart but one in which two terms of a series are exact.
    """
    huge = abs(v) > 2.0**900  # β v might overflow, and does not see the 1
    scale = 2.0**-64 if huge else 1.0
    w, error = product(beta, v * scale)
    w_low = (fma(beta, v_low * scale, error) + beta_low * (v * scale)) if abs(w) < math.inf else 0.0
    b, b_low = two_sum(scale, w)
    b_low = b_low + w_low
    high, low = log_parts(b if b > 0.0 else 0.0, b_low)
    unscaled, error = two_sum(high, 64.0 * LN2_HIGH)
    high, low = (unscaled, low + (error + 64.0 * LN2_LOW)) if huge else (high, low)
    factor, factor_low = reciprocal_parts(beta, beta_low)
    q, q_low = product(high, factor)
    q_low = q_low + fma(high, factor_low, low * factor)
    straight = abs(w) < 2.0**-40
    q = v if straight else q
    q_low = v_low - v * (w * (0.5 - w / 3.0)) if straight else q_low
    outside = v == math.inf or b <= 0.0
    q, q_low = fast_two_sum(q, q_low)
    whole = (b + b_low) * (2.0**64 if huge else 1.0)
    return -math.inf if outside else -q, -q_low if not outside and q < math.inf else 0.0, whole


@inline
def log_tempered_rounded(v, v_low, beta):
    """Return log p of p = [1 + β v]_+^(-1/β), and 1 + β v, for v + v_low below 2^900.  Worst error 4 ulp."""
    w, error = product(beta, v)
    b, b_low = two_sum(1.0, w)
    b_low += fma(beta, v_low, error)
    k = (float_to_bits(b) - SQRT_HALF_BITS) >> 52
    f = (bits_to_float(float_to_bits(b) - (k << 52)) - 1.0) + b_low * bits_to_float((1023 - k) << 52)
    s = f / (2.0 + f)
    x = s * s
    a0, a1, a2, a3, a4, a5, a6, a7 = LOG_TAIL
    x2 = x * x
    series = fma(x2 * x2, fma(x2, fma(x, a7, a6), fma(x, a5, a4)), fma(x2, fma(x, a3, a2), fma(x, a1, a0)))
    n = bits_to_float(k + float_to_bits(MAGIC)) - MAGIC
    high = fma(n, LN2_HIGH, fma(s * x, series, 2.0 * s) + n * LN2_LOW)
    q = v * (1.0 - w * (0.5 - w / 3.0)) if abs(w) < 2.0**-40 else high * (1.0 / beta)
    return -math.inf if v == math.inf or b <= 0.0 else -q, b + b_low


@inline
def power_parts(log_x, low, a, a_low):
    """Return the high and low part of a log x, as ``exp_sum`` takes them for x^a."""
    high = a * log_x
    small = fma(a, log_x, -high) + (a * low + a_low * log_x)
    return high, small if abs(high) < math.inf else 0.0


@inline
def power(log_x, low, a, a_low):
    """Return x^a from log x = log_x + low; 1 for a = 0, and 0 for x = 0 and any other a."""
    result = exp(*power_parts(log_x, low, a, a_low))
    result = result if log_x > -math.inf or log_x != log_x else 0.0
    return 1.0 if a == 0.0 and log_x == log_x else result


@inline
def power_within(log_x, low, a):
    """Return x^a for x <= 1 and a > 0 as high + low, relative error below 2^-57 where normal."""
    high, low = exp_parts(*power_parts(log_x, low, a, 0.0))
    return (high, low) if log_x > -math.inf else (0.0, 0.0)


@inline
def times(x, low, y, y_low):
    """Return (x + low)·(y + y_low), rounded about once."""
    return fma(x, y, fma(x, y_low, low * y))


@inline
def quotient(x, low, total, total_low):
    """Return (x + low)/(total + total_low), rounded about once."""
    q = x / total
    return q + (fma(-q, total, x) + (low - q * total_low)) / total


# ---- the logistic function ----------------------------------------------------------------


@inline
def logistic(high, low):
    """Return σ(x), σ(-x) and log(1 + exp(-|x|)) of x = high + low.  Worst errors 1.5 ulp."""
    above = high >= 0.0
    e = exp_sum(-abs(high), -low if above else low)
    tail, _ = log1p_unit_parts(e, 0.0)
    s, s_low = fast_two_sum(1.0, e)
    r = 1.0 / s
    r = fma(r, fma(-r, s, 1.0) - r * s_low, r)
    q = e * r
    q = fma(r, fma(-q, s, e) - q * s_low, q)
    return r if above else q, q if above else r, tail


@inline
def logistic_parts(x, x_low):
    """Return σ(x + x_low) and σ(-x - x_low), each as high + low with relative error below 2^-56."""
    above = x >= 0.0
    e, e_low = exp_parts(-abs(x), -x_low if above else x_low)
    s, s_low = fast_two_sum(1.0, e)
    r, r_low = reciprocal_parts(s, s_low + e_low)
    q = e * r
    q_low = fma(e, r, -q) + (e * r_low + e_low * r)
    return (r, r_low, q, q_low) if above else (q, q_low, r, r_low)


@inline
def expit(x):
    """Return σ(x) = 1/(1 + exp(-x)).  Worst error 1.5 ulp."""
    p, _, _ = logistic(x, 0.0)
    return p


@inline
def softplus_tail(x):
    """Return log(1 + exp(-|x|)), what softplus has beyond max(x, 0).  Worst error 1.5 ulp."""
    _, _, tail = logistic(x, 0.0)
    return tail


@inline
def log_expit_parts(x, x_low=0.0):
    """Return log σ(x + x_low) = -max(-x, 0) - log(1 + exp(-|x|)) as high + low."""
    above = x >= 0.0
    e, e_low = exp_parts(-abs(x), -x_low if above else x_low)
    tail, tail_low = log1p_unit_parts(e, e_low)
    high, low = two_sum(0.0 if above else -x, tail)
    low += tail_low - (0.0 if above else x_low)
    return -high, -low if high < math.inf else 0.0


@inline
def log_expit(x, x_low=0.0):
    """Return log σ(x + x_low).  Worst error 0.8 ulp."""
    high, low = log_expit_parts(x, x_low)
    return high + low


@inline
def expit_power(x, a, x_low=0.0):
    """Return σ(x + x_low)^a for a >= 0, with 0^0 = 1.  Worst error 1.4 ulp for a <= 5."""
    high, low = log_expit_parts(x, x_low)
    power = a * high
    result = exp_sum(power, fma(a, high, -power) + a * low)
    return 1.0 if a == 0.0 and x == x else result
