"""Blocks of rows with hard labels under the tempered softmax: what ``tempered`` does, in vector lanes.

A block is an array [k, lane].  A row of few classes has a lane of its own; a longer one is dealt out
to 2, 4, ... 64 neighbouring lanes, which share what the row has one of.  Every inner loop runs over
the lanes.  Room that no class fills, and the largest class m of each row, is at distance ∞, where
p = 0; m itself, of which p - 1 and log p must keep their digits, is worked on beside the block.

The normaliser is that of ``tempered``, to its last sweep.  The step δ of that sweep is small, and
changes log p by -δ/b + β δ²/(2b²): no further power is needed.
"""

import math

import numpy as np

from . import single, special
from .dispatch import core
from .dispatch import tempered as tempered_kernel
from .rows import argmax
from .special import fast_two_sum, inline, two_sum
from .tempered import GOOD, SWEEPS, complement, expm1_over

WIDTH = 64  # lanes of a block
NEAR = 2.0**-20  # steps of log p whose third power does not matter
DEPTH = 64  # classes of a lane, unless a row has all lanes


@inline
def lanes_of(n):
    """Return how many lanes a row of n classes has."""
    lanes = 1
    while lanes < WIDTH and n > lanes * DEPTH:
        lanes *= 2
    return lanes


@inline
def fill(x, value):
    """Set every entry of x."""
    for k in range(x.size):
        x[k] = value


@inline
def share(total, lost, lanes):
    """Give all lanes of a row the sum of what they hold, as total + lost."""
    if lanes > 1:
        for first in range(0, WIDTH, lanes):
            whole, rest = 0.0, 0.0
            for w in range(first, first + lanes):
                whole, error = two_sum(whole, total[w])
                rest += error + lost[w]
            for w in range(first, first + lanes):
                total[w], lost[w] = whole, rest


@inline
def load(z, lanes, x, x_low, m):
    """Fill the distances from the largest logits, and the largest classes, -1 for rows of nan."""
    n = z.shape[1]
    for k in range(x.shape[0]):
        for w in range(WIDTH):
            x[k, w], x_low[k, w] = math.inf, 0.0
    for r in range(z.shape[0]):
        m[r] = argmax(z[r])
        largest, infinite = np.float64(z[r, m[r]]), 0
        for first in range(0, n, lanes):
            k = first // lanes
            for j in range(first, min(first + lanes, n)):
                w = r * lanes + j - first
                x[k, w], low = two_sum(largest, -np.float64(z[r, j]))
                x_low[k, w] = low if x[k, w] < math.inf else 0.0
                infinite += 1 if z[r, j] == math.inf else 0
        x[m[r] // lanes, r * lanes + m[r] % lanes] = math.inf
        if infinite == 1:
            for j in range(n):
                x[j // lanes, r * lanes + j % lanes] = math.inf
        m[r] = m[r] if largest > -math.inf and infinite < 2 else -1


@inline
def sweep(beta, mu, x, others, slope):
    """Fill Σ p and Σ p/b of all classes but the largest, good to 2^-35."""
    fill(others, 0.0)
    fill(slope, 0.0)
    for k in range(x.shape[0]):
        for w in range(WIDTH):
            log_p, _, b = single.log_tempered(mu[w] + x[k, w], 0.0, beta, 0.0)
            inside = log_p > -math.inf
            p = single.exp(log_p) if inside else 0.0
            others[w] += p
            slope[w] += p / b if inside else 0.0


@inline
def advance(beta, mu, others, slope, moving):
    """Make Newton's step where μ still moves; return in how many lanes it goes on."""
    count = 0
    for w in range(WIDTH):
        log_p, _, b = single.log_tempered(mu[w], 0.0, beta, 0.0)
        short = -single.expm1(log_p)
        excess = others[w] - short
        above = excess > 0.0
        log_s = single.log1p(excess if above else -excess / (1.0 + excess))
        log_s = log_s if above else -log_s
        step = (1.0 + excess) / (slope[w] + (1.0 - short) / b) * log_s * expm1_over(beta * log_s)
        further = max(mu[w] + step, 0.0)
        goes_on = abs(step) > GOOD * further
        mu[w] = further if moving[w] > 0.0 else mu[w]
        moving[w] = moving[w] if goes_on else 0.0
        count += 1 if moving[w] > 0.0 else 0
    return count


@inline
def normalize(beta, lanes, mu, x, others, slope, lost, moving):
    """Fill μ by Newton's method, but for a last step; no row waits for another one or is moved by it."""
    fill(mu, 0.0)
    fill(moving, 1.0)
    for _ in range(SWEEPS):
        sweep(beta, mu, x, others, slope)
        share(others, lost, lanes)
        share(slope, lost, lanes)
        if advance(beta, mu, others, slope, moving) == 0:
            break


@inline
def settle(t, lanes, mu, x, x_low, log_p, log_low, b, others, slope, lost, step):
    """Fill μ but for a last step δ, and what belongs to it in twice the precision."""
    beta, beta_low = two_sum(t, -1.0)
    normalize(beta, lanes, mu, x, others, slope, lost, step)
    fill(others, 0.0)
    fill(step, 0.0)
    fill(slope, 0.0)
    for k in range(x.shape[0]):
        for w in range(WIDTH):
            v, low = two_sum(mu[w], x[k, w])
            low = low + x_low[k, w] if v < math.inf else 0.0
            log_p[k, w], log_low[k, w], b[k, w] = special.log_tempered(v, low, beta, beta_low)
            p, p_low = special.exp_parts(log_p[k, w], log_low[k, w])
            others[w], error = two_sum(others[w], p)
            step[w] += error + p_low
            slope[w] += p / b[k, w] if p > 0.0 else 0.0
    share(others, step, lanes)
    share(slope, lost, lanes)
    for w in range(WIDTH):
        log_m, low, b_m = special.log_tempered(mu[w], 0.0, beta, beta_low)
        minus_short, short_low = special.expm1_parts(log_m, low)
        excess, error = two_sum(others[w], minus_short)
        step[w] = (excess + (error + short_low + step[w])) / (slope[w] + (1.0 + minus_short) / b_m)


@inline
def correct(t, mu, step, x, x_low, log_p, log_low, b, escort):
    """Move log p by the last step, and fill the escorts p^t as escort + b."""
    beta, beta_low = two_sum(t, -1.0)
    far = 0
    for k in range(x.shape[0]):
        for w in range(WIDTH):
            inside = log_p[k, w] > -math.inf
            d = step[w] / b[k, w] if inside else 0.0
            far += 1 if abs(d) > NEAR else 0
            high, low = fast_two_sum(log_p[k, w], log_low[k, w] - d * (1.0 - 0.5 * beta * d))
            log_p[k, w], log_low[k, w] = high, low if inside else 0.0
    if far > 0:  # next to the edge of a support
        for k in range(x.shape[0]):
            for w in range(WIDTH):
                if abs(step[w] / b[k, w]) > NEAR:
                    v, low = two_sum(mu[w], x[k, w])
                    low += step[w] + x_low[k, w]
                    log_p[k, w], log_low[k, w], _ = special.log_tempered(v, low, beta, beta_low)
    for k in range(x.shape[0]):
        for w in range(WIDTH):
            escort[k, w], b[k, w] = special.power_within(log_p[k, w], log_low[k, w], t)


@inline
def largest_terms(loss, t, mu, step, log_p, log_low, p, c, escort, escort_low):
    """Fill log p, p, 1 - p and p^t of the largest classes."""
    beta, beta_low = two_sum(t, -1.0)
    for w in range(WIDTH):
        high, low = two_sum(mu[w], step[w])
        log_p[w], log_low[w], _ = special.log_tempered(high, low, beta, beta_low)
        p[w] = special.exp_sum(log_p[w], log_low[w])
        c[w] = complement(loss, log_p[w], log_low[w], p[w])
        escort[w], escort_low[w] = special.power_within(log_p[w], log_low[w], t)


@inline
def pay(loss, y, log_p, log_low, p, c, f, f1):
    """Fill what the classes with the label y, one a lane, pay, and its derivative."""
    for w in range(WIDTH):
        f[w], f1[w], _ = tempered_kernel(core(loss), log_p[w], log_low[w], p[w], c[w], y)


@inline
def pay_all(loss, log_p, log_low, escort, escort_low, f1, paid, paid_low, slope, slope_low, mass, mass_low):
    """Fill the derivatives of what the classes without label pay; add it, these and the escorts to the sums."""
    for k in range(f1.shape[0]):
        for w in range(WIDTH):
            value, f1[k, w], _ = tempered_kernel(core(loss), log_p[k, w], log_low[k, w], 0.0, 1.0, 0.0)
            paid[w], error = two_sum(paid[w], value)
            paid_low[w] += error
            slope[w], error = two_sum(slope[w], f1[k, w])
            slope_low[w] += error
            mass[w], error = two_sum(mass[w], escort[k, w])
            mass_low[w] += error + escort_low[k, w]


@inline
def unload(lanes, x, out):
    """Copy a block to rows."""
    n = out.shape[1]
    for r in range(out.shape[0]):
        for k in range(x.shape[0]):
            for i in range(min(lanes, n - k * lanes)):
                out[r, k * lanes + i] = x[k, r * lanes + i]
