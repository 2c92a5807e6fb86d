"""Blocks of rows with hard labels: the odds against each label.

With the odds r = Σ_{k≠y} exp(z_k - z_y) against its label y, a row has

    log p_y = -log(1 + r),    p_y = 1/(1 + r),    1 - p_y = r/(1 + r),    p_k = exp(z_k - z_y) p_y,

each without cancellation.  Logits that are not huge are not shifted by z_y: exp(z_k) / exp(z_y)
spares every class a subtraction in twice the digits, and one long loop can run over a block.
"""

import math

import numpy as np
from numba import njit

from . import single
from .dispatch import by_contract, by_precision
from .rows import exp_difference, sum_in_any_order, total_parts
from .special import exp_parts, exp_within, float_to_bits, fma, inline, two_sum
from .vectors import for_each, row_sums

spliced = njit(error_model="numpy", fastmath=False, inline="always")  # a third quicker to compile than a call
UNSHIFTED = 300.0  # up to here exponentials, their sums and their ratios neither overflow nor underflow
TRANSPOSED = 64  # rows of fewer classes are summed eight at a time
TINY = 2.0**-960  # far enough above the numbers that have lost digits
PIECE = 2048  # entries of a block, or of a part of a long row: while they are summed they stay in the L1 cache


@inline
def _exponential_of_single(k, z, e):
    e[k] = single.exp(np.float64(z[k]))


@inline
def _exponential(k, z, e):
    e[k] = exp_within(np.float64(z[k]))


@inline
def _exponential_in_parts(k, z, e, e_low):
    e[k], e_low[k] = exp_parts(np.float64(z[k]))


@by_contract(one_against_rest=lambda loss, z, e, e_low: for_each(z.size, _exponential_in_parts, (z, e, e_low), 4))
def _exponentials(loss, z, e, e_low):
    for_each(z.size, _exponential, (z, e), 4)


def _fill_of_single(loss, z, e, e_low):
    for_each(z.size, _exponential_of_single, (z, e), 8)
    return True


@by_precision(_fill_of_single)
def fill(loss, z, e, e_low):
    """Fill e, or e + e_low for losses of the log-odds, with exp(z); return whether every logit allows it."""
    largest = 0
    for k in range(z.size):
        bits = float_to_bits(abs(np.float64(z[k])))
        largest = bits if bits > largest else largest
    _exponentials(loss, z, e, e_low)
    return largest <= float_to_bits(UNSHIFTED)


def _shift_in_parts(loss, z, y, e, e_low):
    far = 0  # logits that are not masked: the shares of the rest they are compared in would underflow
    for k in range(z.size):
        far += 1 if abs(z[k]) > UNSHIFTED and z[k] > -math.inf else 0
        difference, low = two_sum(np.float64(z[k]), -np.float64(z[y]))
        huge = difference > 600.0
        e[k], e_low[k] = exp_parts(600.0 if huge else difference, 0.0 if huge else low)
    e[y], e_low[y] = 0.0, 0.0
    return 0.0 if far == 0 else math.nan


@by_contract(one_against_rest=_shift_in_parts)
def shifted_exponentials(loss, z, y, e, e_low):
    """Fill e, or e + e_low, with exp(z - z_y), 0 for the label; return 0, or nan for a row that it cannot do."""
    for k in range(z.size):
        e[k] = exp_difference(loss, z[k], z[y])
    e[y] = 0.0
    return 0.0


@by_precision(lambda loss, z, y, e, unit, odds, odds_low: None)  # every logit allows the short exponential
def shift(loss, z, y, e, unit, odds, odds_low):
    """Do again, with exp(z - z_y), the rows in which a logit is too large for exp(z)."""
    for r in range(z.shape[0]):
        largest = 0
        for k in range(z.shape[1]):
            bits = float_to_bits(abs(np.float64(z[r, k])))
            largest = bits if bits > largest else largest
        if largest > float_to_bits(UNSHIFTED):
            e_low = lows(loss, e[r])
            unit[r] = shifted_exponentials(loss, z[r], y[r], e[r], e_low)
            odds[r], odds_low[r] = total_parts(loss, e[r])
            add_lows(loss, e_low, z.shape[1], odds_low[r : r + 1])


@by_precision(lambda loss, x: (single.exp(x), 0.0))
def exponential(loss, x):
    """Return exp(x) as high + low."""
    return exp_parts(x)


def _add_sums_of_single(loss, e, n, sums, errors):
    length = min(n, e.size)
    for r in range(e.size // length):
        total, _ = total_parts(loss, e[r * length : (r + 1) * length])
        sums[r] += total


@by_precision(_add_sums_of_single)
def add_sums(loss, e, n, sums, errors):
    """Add the sums of rows of n entries, or of a piece of one such row, to sums + errors, which begin at 0."""
    if n < TRANSPOSED:
        row_sums(e.reshape(e.size // n, n), sums, errors)
    else:
        length = min(n, e.size)
        for r in range(e.size // length):
            total, low = total_parts(loss, e[r * length : (r + 1) * length])
            sums[r], error = two_sum(sums[r], total)
            errors[r] += error + low


def _add_lows(loss, e_low, n, errors):
    length = min(n, e_low.size)
    for r in range(e_low.size // length):
        errors[r] += sum_in_any_order(e_low[r * length : (r + 1) * length])


@by_contract(one_against_rest=_add_lows)
def _add_lows_if_any(loss, e_low, n, errors):
    return None


@by_precision(lambda loss, e_low, n, errors: None)
def add_lows(loss, e_low, n, errors):
    """Add the sums of what exponentials lack, in rows as in ``add_sums``, for losses of the log-odds."""
    _add_lows_if_any(loss, e_low, n, errors)


@by_contract(one_against_rest=lambda loss, e: np.empty_like(e))
def lows(loss, e):
    """Return room for what exponentials lack, which is e itself where nobody asks."""
    return e


def _reciprocal(loss, of_label, total, low):
    r = 1.0 / total
    return fma(r, fma(-total, r, 1.0) - low * r, r) if total > 0.0 else total - total  # 0, or nan for nan


@by_contract(one_against_rest=_reciprocal)
def unit_of(loss, of_label, total, low):
    """Return 1/exp(z_y), or for losses of the log-odds the reciprocal of the sum of the other exponentials."""
    return of_label


@spliced
def odds_against(loss, z, y, e, unit, odds, odds_low):
    """Fill the odds, as high + low, and e · unit with exp(z - z_y) or, for the labels, 0.

    For losses of the log-odds e · unit are the shares of the rest, whose sum is 1.
    The rows are short ones of together at most PIECE entries, or one, which is worked on in pieces.
    """
    rows, n = z.shape
    logits, entries, usual = z.reshape(z.size), e.reshape(e.size), True
    for r in range(rows):
        unit[r], odds[r], odds_low[r] = z[r, y[r]], 0.0, 0.0
    for start in range(0, z.size, PIECE):
        piece = entries[start : min(start + PIECE, z.size)]
        piece_low = lows(loss, piece)
        usual &= fill(loss, logits[start : start + piece.size], piece, piece_low)
        for r in range(rows):
            own = r * n + y[r] - start
            if 0 <= own < piece.size:
                piece[own], piece_low[own] = 0.0, 0.0
        add_sums(loss, piece, n, odds, odds_low)
        add_lows(loss, piece_low, n, odds_low)
    if not usual:
        shift(loss, z, y, e, unit, odds, odds_low)
    for r in range(y.size):
        total, lost = odds[r], odds_low[r]
        own, low = exponential(loss, unit[r])
        reciprocal = 1.0 / own
        quotient = total * reciprocal
        odds_low[r] = (fma(-quotient, own, total) + (lost - quotient * low)) * reciprocal
        odds[r], unit[r] = quotient, unit_of(loss, reciprocal, total, lost)
