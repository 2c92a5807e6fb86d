"""Errors in ulps: how far computed results lie from certified ones.

Two gates decide whether a result is good (``is_within``).  The yardstick of both is Σ |terms|,
which is the result itself where nothing cancels:

- float64: the error is at most k ulps of Σ |terms|, of 2^-1010 where that is less: there is no
  wider type to compute the last subnormals in;
- narrower dtypes, which are computed in float64 and rounded once: what is left of the error after
  k float64 ulps of Σ |terms| is at most 0.501 ulps of the result, half of one being the rounding.
"""

from math import inf, ldexp

import ml_dtypes
import numpy as np
from flint import arb, ctx

from ..oracle import PRECISIONS, round_to

FLOAT64_ULPS = 4  # what a computation in float64 may lose before it is rounded
FLOOR = 2.0**-1010  # float64 results below carry the rounding of subnormal factors: an absolute error
LARGEST = np.finfo(np.float64).max
ROUNDING = 0.501  # one rounding is 0.5; the rest is the float64 error that shifts a near tie


def ulp(x, dtype):
    """Return the spacing of a dtype at |x|; below the smallest normal number, that of subnormals.

    >>> ulp(arb(1), np.float32) == 2.0**-23, ulp(arb(0), np.float64) == 2.0**-1074
    (True, True)
    """
    limits = ml_dtypes.finfo(dtype)
    mantissa, exponent = x.mid().man_exp()
    top = int(mantissa.bit_length() + exponent) if mantissa else limits.minexp
    return ldexp(1.0, min(max(top - 1, limits.minexp), limits.maxexp - 1) - limits.nmant)


def errors(computed, certified, magnitudes=None):
    """Return |computed - certified| in ulps of the larger of |certified| and its magnitude.

    Parameters
    ----------
    computed : ndarray
        Its dtype sets the ulp.
    certified : list of arb
        The truth, one ball per entry.  A nan makes no claim: its error is 0.
    magnitudes : list of arb, optional
        Σ |terms| of every entry.

    Returns
    -------
    ndarray of float64
        inf for a nan or an infinity that should be finite, for anything but the same infinity
        where the truth overflows, and for anything but 0 where the truth is 0 without terms.
        Only where Σ |terms| overflows in float64 is nan no error: terms may be infinities of both signs.
    """
    return _measure(computed, certified, magnitudes, _in_ulps)


def narrow_errors(computed, certified, magnitudes=None):
    """Return the ulps of error that float64 arithmetic does not excuse, for narrower dtypes.

    Like ``errors``, but ``FLOAT64_ULPS`` float64 ulps of the magnitude are forgiven first and the
    rest is counted in the dtype's ulps of the certified result.
    """
    return _measure(computed, certified, magnitudes, _in_narrow_ulps)


def is_within(computed, certified, magnitudes=None, ulps=FLOAT64_ULPS):
    """Return, entry by entry, whether a result passes the gate of its dtype."""
    if np.dtype(computed.dtype) == np.float64:
        return errors(computed, certified, floored(certified, magnitudes)) <= ulps
    return narrow_errors(computed, certified, magnitudes) <= ROUNDING


def floored(certified, magnitudes=None):
    """Return the yardsticks of float64 results: Σ |terms|, but at least 2^-1010 where not 0."""
    magnitudes = [abs(x) for x in certified] if magnitudes is None else magnitudes
    return [max(x, arb(FLOOR)) if x > 0 else x for x in magnitudes]


def _measure(computed, certified, magnitudes, unit):
    computed = np.asarray(computed)
    magnitudes = [abs(x) for x in certified] if magnitudes is None else magnitudes
    with ctx.workprec(PRECISIONS[-1]):  # every difference is exact, and 128 bits would not be
        found = [
            _error(x, truth, terms, unit)
            for x, truth, terms in zip(computed.ravel(), certified, magnitudes, strict=True)
        ]
    return np.array(found, dtype=np.float64).reshape(computed.shape)


def _error(x, truth, terms, unit):
    value = float(x)
    if truth.is_nan() or (not np.isfinite(value) and value == float(round_to(truth, x.dtype))):
        return 0.0
    if np.isnan(value) and truth.is_finite() and max(abs(truth), terms) > LARGEST:
        return 0.0
    if not (np.isfinite(value) and truth.is_finite()):
        return inf
    if truth == 0 and terms == 0:
        return 0.0 if value == 0 else inf
    return float(unit(arb(value), truth, terms, x.dtype))


def _in_ulps(x, truth, terms, dtype):
    return abs(x - truth) / ulp(max(abs(truth), terms), dtype)


def _in_narrow_ulps(x, truth, terms, dtype):
    excused = arb(FLOAT64_ULPS) * ulp(max(abs(truth), terms), np.float64)
    return max(abs(x - truth) - excused, arb(0)) / ulp(truth, dtype)
