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

from llvmlite import ir
from numba import config, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

inline = njit(error_model="numpy", fastmath=False, forceinline=True)

LOG2_E = math.log2(math.e)
LN2_HIGH = float.fromhex("0x1.62e42fefa3800p-1")  # 42 bits: n * LN2_HIGH is exact for |n| < 2^11
LN2_LOW = float.fromhex("0x1.ef35793c76730p-45")
MAGIC = 1.5 * 2.0**52  # x + MAGIC holds round(x) in the lowest bits of its significand
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
# (log((1+s)/(1-s)) - 2s) / s^3 in s^2, |s| <= 0.1716: Chebyshev fit, off by 2^-60.7 of 2s
LOG_TAIL = (
    0.6666666666666666,
    0.4000000000000089,
    0.28571428570795937,
    0.22222222393451754,
    0.18181795454619548,
    0.15386249783145214,
    0.13268503447792365,
    0.1308944373626974,
)
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


@intrinsic
def lane_sums(typing_context, x):
    """Return Σ of the first n - n % 8 entries of x as (sum, error), as if added with twice the digits.

    Eight partial sums and their exact errors stay in vector registers.  LLVM does not find this
    form by itself: an error term forbids it to reorder a sum, so the order is spelled out.
    """

    from numba.np import arrayobj  # imports SciPy, which only a compiler needs

    def emit(context, builder, signature, arguments):
        (array_type,) = signature.args
        array = arrayobj.make_array(array_type)(context, builder, arguments[0])
        count = builder.udiv(builder.extract_value(array.shape, 0), ir.Constant(ir.IntType(64), 8))
        vector = ir.VectorType(ir.DoubleType(), 8)
        zero = ir.Constant(vector, [ir.Constant(ir.DoubleType(), 0.0)] * 8)
        sums = cgutils.alloca_once_value(builder, zero)
        errors = cgutils.alloca_once_value(builder, zero)

        def two_sum(a, b):
            s = builder.fadd(a, b)
            c = builder.fsub(s, a)
            return s, builder.fadd(builder.fsub(a, builder.fsub(s, c)), builder.fsub(b, c))

        start = builder.bitcast(array.data, vector.as_pointer())
        with cgutils.for_range(builder, count) as loop:
            entries = builder.load(builder.gep(start, [loop.index]), align=8)
            s, error = two_sum(builder.load(sums), entries)
            builder.store(s, sums)
            builder.store(builder.fadd(builder.load(errors), error), errors)
        s, low = builder.load(sums), builder.load(errors)
        for half in (4, 2, 1):
            masks = [ir.Constant(ir.VectorType(ir.IntType(32), half), list(range(k, k + half))) for k in (0, half)]
            (s_left, s_right), (low_left, low_right) = (
                [builder.shuffle_vector(x, x, mask) for mask in masks] for x in (s, low)
            )
            s, error = two_sum(s_left, s_right)
            low = builder.fadd(builder.fadd(low_left, low_right), error)
        index = ir.Constant(ir.IntType(32), 0)
        pair = [builder.extract_element(x, index) for x in (s, low)]
        return context.make_tuple(builder, signature.return_type, pair)

    return types.UniTuple(types.float64, 2)(x), emit


if config.DISABLE_JIT:
    fma = ctypes.CDLL(ctypes.util.find_library("m")).fma
    fma.restype, fma.argtypes = ctypes.c_double, [ctypes.c_double] * 3

    def lane_sums(x):
        total, low = 0.0, 0.0
        for entry in x[: len(x) - len(x) % 8]:
            total, error = two_sum(total, entry)
            low += error
        return total, low

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
def mass_times(mass, x):
    """Return mass·x where no mass pays nothing: 0·∞ = 0."""
    return 0.0 if mass == 0.0 else mass * x


# ---- exponential --------------------------------------------------------------------------


@inline
def _reduce(high, low):
    """Write high + low = n log 2 + f + g with |f| <= log(2)/2; return n's bits, f and g."""
    shifted = fma(high, LOG2_E, MAGIC)
    n = shifted - MAGIC
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
def _scale(x, shifted):
    """Return 2^(n+s) as bits to add to an exponent and 2^-s, so that subnormals round once."""
    deep = x < -700.0
    shifted = shifted + 128.0 if deep else shifted
    return float_to_bits(shifted) << 52, 2.0**-128 if deep else 1.0


@inline
def _exp_limits(x, result):
    """Return exp(x) beyond the range of the polynomial, nan for nan, else the result."""
    result = result if x <= EXP_OVERFLOW else x * math.inf
    return 0.0 if x < EXP_UNDERFLOW else result


@inline
def exp_sum(high, low):
    """Return exp(high + low), |low| <= ulp(high).  Worst error 0.8 ulp."""
    shifted, f, g = _reduce(high, low)
    one_f, error = fast_two_sum(1.0, f)
    f2 = f * f
    result = one_f + (error + (g + f2 * fma(f, _exp_tail(f), 0.5)))
    power, unscale = _scale(high, shifted)
    return _exp_limits(high, bits_to_float(float_to_bits(result) + power) * unscale)


@inline
def exp(x):
    """Return exp(x).  Worst error 0.8 ulp."""
    return exp_sum(x, 0.0)


@inline
def exp_parts(x):
    """Return exp(x) for x <= 0 as high + low, relative error below 2^-57 where normal."""
    shifted, f, g = _reduce(x, 0.0)
    one_f, error = fast_two_sum(1.0, f)
    f2 = f * f
    head, head_error = fast_two_sum(one_f, 0.5 * f2)
    f2_error = 0.5 * fma(f, f, -f2)
    rest = (error + head_error) + (fma(f, g, g) + f2_error) + f2 * (f * _exp_tail(f))
    high, low = fast_two_sum(head, rest)
    power, unscale = _scale(x, shifted)
    scale = bits_to_float(float_to_bits(1.0) + power)
    high = _exp_limits(x, (high * scale) * unscale)
    low = 0.0 if x < -700.0 else low * scale
    return high, low


# ---- logarithm ----------------------------------------------------------------------------


@inline
def log1p_parts(x, low):
    """Return log(1 + x + low), x >= 0, as high + low with relative error below 2^-56."""
    s, s_low = two_sum(1.0, x)
    s_low = s_low + low
    k = (float_to_bits(s) - SQRT_HALF_BITS) >> 52
    m = bits_to_float(float_to_bits(s) - (k << 52))  # in [sqrt(1/2), sqrt(2))
    m_low = s_low * bits_to_float((1023 - min(k, 1000)) << 52)
    f, g = two_sum(m - 1.0, m_low)
    # q = f/(1 + f/2) = 2s to twice the working precision
    divisor, divisor_low = fast_two_sum(1.0, 0.5 * f)
    reciprocal = 1.0 / divisor
    q = f * reciprocal
    q_low = (fma(-q, divisor, f) + (g - q * fma(0.5, g, divisor_low))) * reciprocal
    w = 0.25 * (q * q)
    a0, a1, a2, a3, a4, a5, a6, a7 = LOG_TAIL
    w2 = w * w
    series = fma(w2 * w2, fma(w2, fma(w, a7, a6), fma(w, a5, a4)), fma(w2, fma(w, a3, a2), fma(w, a1, a0)))
    n = bits_to_float(k + float_to_bits(MAGIC)) - MAGIC
    high, error = fast_two_sum(n * LN2_HIGH, q)
    high, error = fast_two_sum(high, error + (fma(n, LN2_LOW, q_low) + (0.5 * q) * (w * series)))
    finite = x < math.inf
    return high if finite else x, error if finite else 0.0


@inline
def log1p(x):
    """Return log(1 + x) for x >= 0.  Worst error 0.53 ulp."""
    high, _ = log1p_parts(x, 0.0)
    return high


@inline
def _log1p_unit_parts(x, low):
    """Return log(1 + x + low), 0 <= x <= 1, as high + low with relative error below 2^-54."""
    divisor, divisor_low = fast_two_sum(1.0, 0.5 * x)
    reciprocal = 1.0 / divisor
    q = x * reciprocal
    q_low = (fma(-q, divisor, x) + (low - q * fma(0.5, low, divisor_low))) * reciprocal
    w = 0.25 * (q * q)
    a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12 = LOG_UNIT_TAIL
    w2 = w * w
    w4 = w2 * w2
    first = fma(w2, fma(w, a3, a2), fma(w, a1, a0))
    second = fma(w2, fma(w, a7, a6), fma(w, a5, a4))
    third = fma(w4, a12, fma(w2, fma(w, a11, a10), fma(w, a9, a8)))
    series = fma(w4, fma(w4, third, second), first)
    return fast_two_sum(q, fma(0.5 * q, w * series, q_low))


# ---- the logistic function ----------------------------------------------------------------


@inline
def expit(x):
    """Return σ(x) = 1/(1 + exp(-x)).  Worst error 1.5 ulp."""
    e = exp(-abs(x))
    s, s_low = fast_two_sum(1.0, e)
    r = 1.0 / s
    r = fma(r, fma(-r, s, 1.0) - r * s_low, r)
    q = e * r
    q = fma(r, fma(-q, s, e) - q * s_low, q)
    return r if x >= 0.0 else q


@inline
def softplus_tail(x):
    """Return log(1 + exp(-|x|)), what softplus has beyond max(x, 0).  Worst error 1.5 ulp."""
    high, _ = _log1p_unit_parts(exp(-abs(x)), 0.0)
    return high


@inline
def _log_expit_parts(x):
    """Return log σ(x) = -max(-x, 0) - log(1 + exp(-|x|)) as high + low."""
    e, e_low = exp_parts(-abs(x))
    tail, tail_low = _log1p_unit_parts(e, e_low)
    above = -x if x < 0.0 else 0.0
    high, low = two_sum(above, tail)
    return -high, -(low + tail_low) if high < math.inf else 0.0


@inline
def log_expit(x):
    """Return log σ(x).  Worst error 0.8 ulp."""
    high, low = _log_expit_parts(x)
    return high + low


@inline
def expit_power(x, a):
    """Return σ(x)^a for a >= 0, with 0^0 = 1.  Worst error 1.4 ulp for a <= 5."""
    high, low = _log_expit_parts(x)
    power = a * high
    result = exp_sum(power, fma(a, high, -power) + a * low)
    return 1.0 if a == 0.0 and x == x else result
