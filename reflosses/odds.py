"""Blocks of rows with hard labels: the odds against each label.

With the odds r = Σ_{k≠y} exp(z_k - z_y) against its label y, a row has

    log p_y = -log(1 + r),    p_y = 1/(1 + r),    1 - p_y = r/(1 + r),    p_k = exp(z_k - z_y) p_y,

each without cancellation.  Logits that are not huge are not shifted by z_y: exp(z_k) / exp(z_y)
spares every class a subtraction in twice the digits, and one long loop can run over a block.
"""

import numpy as np

from . import single
from .dispatch import by_precision
from .rows import LONG, exp_difference, total_parts
from .special import exp_parts, exp_within, float_to_bits, fma, inline, two_sum
from .vectors import row_sums

UNSHIFTED = 300.0  # up to here exponentials, their sums and their ratios neither overflow nor underflow
TRANSPOSED = 64  # rows of fewer classes are summed eight at a time
PIECE = 2048  # entries of a long row that are summed while they are in the L1 cache


def _fill_of_single(loss, z, e):
    for k in range(z.size):
        e[k] = single.exp(np.float64(z[k]))
    return True


@by_precision(_fill_of_single)
def fill(loss, z, e):
    """Fill e with exp(z); return whether every logit allows it."""
    largest = 0
    for k in range(z.size):
        x = np.float64(z[k])
        bits = float_to_bits(abs(x))
        largest = bits if bits > largest else largest
        e[k] = exp_within(x)
    return largest <= float_to_bits(UNSHIFTED)


@inline
def shift(loss, z, label, e):
    """Fill e with exp(z - z_y) if a logit of the row asks for it; return whether."""
    largest = 0
    for k in range(z.size):
        bits = float_to_bits(abs(np.float64(z[k])))
        largest = bits if bits > largest else largest
    if largest <= float_to_bits(UNSHIFTED):
        return False
    for k in range(z.size):
        e[k] = exp_difference(loss, z[k], z[label])
    e[label] = 0.0
    return True


@by_precision(lambda loss, x: (single.exp(x), 0.0))
def exponential(loss, x):
    """Return exp(x) as high + low."""
    return exp_parts(x)


def _fill_sums_of_single(loss, e, sums, errors):
    for r in range(e.shape[0]):
        sums[r], errors[r] = total_parts(loss, e[r])


@by_precision(_fill_sums_of_single)
def fill_sums(loss, e, sums, errors):
    """Fill sums + errors with the sum of each row of e."""
    if e.shape[1] < TRANSPOSED:
        row_sums(e, sums, errors)
    else:
        for r in range(e.shape[0]):
            sums[r], errors[r] = total_parts(loss, e[r])


@inline
def sum_in_pieces(loss, z, label, e):
    """Fill e with exp(z) of a long row, 0 for its label; return its sum, and whether every logit allows it."""
    usual, total, low = True, 0.0, 0.0
    for start in range(0, z.size, PIECE):
        stop = min(start + PIECE, z.size)
        piece = e[start:stop]
        usual &= fill(loss, z[start:stop], piece)
        if start <= label < stop:
            piece[label - start] = 0.0
        high, error = total_parts(loss, piece)
        total, lost = two_sum(total, high)
        low += error + lost
    return total, low, usual


@inline
def odds_against(loss, z, y, e, unit, unit_low, odds, odds_low):
    """Fill the odds, as high + low, and e · unit with exp(z - z_y) or, for the labels, 0."""
    rows, n = z.shape
    if n >= LONG:
        usual = True
        for r in range(rows):
            odds[r], odds_low[r], here = sum_in_pieces(loss, z[r], y[r], e[r])
            usual &= here
    else:
        usual = fill(loss, z.reshape(z.size), e.reshape(e.size))
        for r in range(rows):
            e[r, y[r]] = 0.0
        fill_sums(loss, e, odds, odds_low)
    for r in range(rows):
        unit[r] = z[r, y[r]]
    if not usual:
        for r in range(rows):
            if shift(loss, z[r], y[r], e[r]):
                odds[r], odds_low[r] = total_parts(loss, e[r])
                unit[r] = 0.0
    for r in range(rows):
        unit[r], unit_low[r] = exponential(loss, unit[r])
    for r in range(rows):
        total, own, reciprocal = odds[r], unit[r], 1.0 / unit[r]
        quotient = total * reciprocal
        odds_low[r] = (fma(-quotient, own, total) + (odds_low[r] - quotient * unit_low[r])) * reciprocal
        odds[r], unit[r] = quotient, reciprocal
