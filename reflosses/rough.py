"""Functions in float32, good to 2^-18: where an iteration begins, not where it ends.

Sixteen of these go where eight float64 numbers do, and each is half as long.  They work in powers
of 2, so that an exponential needs no reduction but a rounding to the nearest integer.
"""

import struct

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from .special import inline

ZERO, ONE = np.float32(0.0), np.float32(1.0)
MAGIC = np.float32(1.5 * 2.0**23)  # x + MAGIC holds round(x) in the lowest bits of its significand
LOWEST = np.float32(-125.0)  # exponent of the smallest power that is told from 0
SQRT_HALF_BITS = 0x3F3504F3
INFINITY = np.float32(np.inf)

# log2(1 + f)/f on sqrt(1/2) <= 1 + f < sqrt(2), off by 2^-19.8 of it
LOG_SERIES = tuple(map(np.float32, (1.4426965, -0.7213629, 0.48062477, -0.3593965, 0.29577026, -0.26913637, 0.1711169)))
# (2^f - 1)/f on |f| <= 1/2, off by 2^-21.3 of it
EXP_SERIES = tuple(map(np.float32, (0.6931471, 0.2402235, 0.055505157, 0.0096665043, 0.0013332368)))


@intrinsic
def fma(typing_context, x, y, z):
    """Return x·y + z in float32, rounded once."""

    def emit(context, builder, signature, arguments):
        return builder.fma(*arguments)

    return types.float32(types.float32, types.float32, types.float32), emit


@intrinsic
def split(typing_context, x):
    """Write x > 0 as 2^k m with m from sqrt(1/2) to sqrt(2); return k and m."""

    def emit(context, builder, signature, arguments):
        word, shift = ir.IntType(32), ir.Constant(ir.IntType(32), 23)
        bits = builder.bitcast(arguments[0], word)
        k = builder.ashr(builder.sub(bits, ir.Constant(word, SQRT_HALF_BITS)), shift)
        m = builder.bitcast(builder.sub(bits, builder.shl(k, shift)), ir.FloatType())
        return context.make_tuple(builder, signature.return_type, [builder.sitofp(k, ir.FloatType()), m])

    return types.UniTuple(types.float32, 2)(types.float32), emit


@intrinsic
def times_power(typing_context, x, shifted):
    """Return x·2^n from n + MAGIC."""

    def emit(context, builder, signature, arguments):
        word = ir.IntType(32)
        bits, n = (builder.bitcast(argument, word) for argument in arguments)
        bits = builder.add(bits, builder.shl(n, ir.Constant(word, 23)))
        return builder.bitcast(bits, ir.FloatType())

    return types.float32(types.float32, types.float32), emit


if config.DISABLE_JIT:

    def _bits(x):
        return struct.unpack("<i", struct.pack("<f", x))[0]

    def _number(bits):
        return np.float32(struct.unpack("<f", struct.pack("<I", bits & 0xFFFFFFFF))[0])

    def fma(x, y, z):
        return np.float32(np.float64(x) * np.float64(y) + np.float64(z))

    def split(x):
        k = (_bits(x) - SQRT_HALF_BITS) >> 23
        return np.float32(k), _number(_bits(x) - (k << 23))

    def times_power(x, shifted):
        return _number(_bits(x) + (_bits(shifted) << 23))


@inline
def log2_1p(x):
    """Return log2(1 + x) for x > -1, and 1 + x."""
    s = ONE + x
    k, m = split(s)
    f = (m - ONE) + (x - (s - ONE) if k == ZERO else ZERO)
    a0, a1, a2, a3, a4, a5, a6 = LOG_SERIES
    series = fma(fma(fma(fma(fma(fma(a6, f, a5), f, a4), f, a3), f, a2), f, a1), f, a0)
    return fma(series, f, k), s


@inline
def _exp2(x):
    """Write 2^x as power·(1 + rest), |rest| < 1/2; return n + MAGIC of the power 2^n, and the rest."""
    x = LOWEST if x < LOWEST else x
    x = -LOWEST if x > -LOWEST else x
    shifted = x + MAGIC
    f = x - (shifted - MAGIC)
    a0, a1, a2, a3, a4 = EXP_SERIES
    return shifted, f * fma(fma(fma(fma(a4, f, a3), f, a2), f, a1), f, a0)


@inline
def exp2m1(x):
    """Return 2^x - 1."""
    shifted, rest = _exp2(x)
    power = times_power(ONE, shifted)
    return fma(power, rest, power - ONE)


@inline
def exp_tempered(v, beta, inverse):
    """Return p = [1 + β v]_+^(-1/β), 0 where it is below 2^-125, and 1 + β v, or 1 where that is not above 0."""
    exponent, b = log2_1p(beta * v)
    exponent *= -inverse
    inside = (b > ZERO) & (v < INFINITY) & (exponent > LOWEST)
    shifted, rest = _exp2(exponent)
    return times_power(ONE + rest, shifted) if inside else ZERO, b if b > ZERO else ONE


@inline
def newton_step(beta, inverse, mu, others, slope):
    """Return the step from μ where the other classes have Σ p = others and Σ p/b = slope."""
    exponent, b = log2_1p(beta * mu)
    minus_short = exp2m1(-inverse * exponent)  # p - 1 of the largest class
    excess = others + minus_short
    log_s, s = log2_1p(excess)
    return s / (slope + (ONE + minus_short) / b) * (exp2m1(beta * log_s) * inverse)
