"""Blocks of rows under the tempered softmax: what ``tempered`` does, in vector lanes.

A block is an array [k, lane].  A row of few classes has a lane of its own; a longer one is dealt out
to 2, 4, ... 64 neighbouring lanes, which share what the row has one of.  Every inner loop runs over
the lanes.  The largest class m of a row, of which p - 1 and log p must keep their digits, has the
last line of the block, and the last class of all takes the place that m leaves empty.  Room that no
class fills is at distance ∞, where p = 0.

The normaliser is that of ``tempered``, its first steps in float32.  From there a last sweep in twice
the precision makes a step δ that is small, and with S - 1 = r, T = Σ p/b, U = Σ p/b², V = Σ p/b³ the
equation Σ p = 1 is a series in it,

    r - T δ + t U δ²/2 - t (2t - 1) V δ³/6 + ... = 0,

whose inverse is good to δ⁴; so is log p - δ/b + β δ²/(2b²) - ...: no further power is needed, not
for the escorts p^t = p/b either.  Rows whose δ is not small go on in float64 first, and next to the
edge of a support (t < 1), where there is no such series, δ is small enough for its first term.
"""

import math

import numpy as np

from . import rough, special
from .dispatch import core, tempered_curvature
from .dispatch import tempered as tempered_kernel
from .geometry import changed_label, positive_labels
from .rows import fill, hessian_entry
from .special import fast_two_sum, fma, inline, mass_times, overload, two_sum
from .tempered import GOOD, SWEEPS, newton_step, rough_share

WIDTH = 64  # lanes of a block
DEPTH = 64  # classes of a lane, unless a row has all lanes
SMALL = 2.0**-14  # steps δ, relative to μ, whose fourth power does not matter
ROUGH = 2.0**-9  # the last step in float32: the next one would be small
FLAT = 2.0**-40  # a β that float32 need not tell from 0
STEPS = 20  # in float32, more than rows need that float32 can hold


def is_narrow(x):
    """Whether the numbers of an array need fewer digits than a float64 has."""
    return x.itemsize < 8


@overload(is_narrow)
def _(x):
    narrow = x.dtype.bitwidth < 64
    return lambda x: narrow


@inline
def add(narrow, x, total, low, w):
    """Add x to total[w] + low[w]; sums of float64 have digits enough for narrow results."""
    if narrow:
        total[w] += x
    else:
        total[w], error = two_sum(total[w], x)
        low[w] += error


@inline
def lanes_of(n):
    """Return how many lanes a row of n classes has."""
    lanes = 1
    while lanes < WIDTH and n - 1 > lanes * DEPTH:
        lanes *= 2
    return lanes


@inline
def four_rows():
    """Return four arrays of one number a lane."""
    return np.empty(WIDTH), np.empty(WIDTH), np.empty(WIDTH), np.empty(WIDTH)


@inline
def share(total, lost, lanes):
    """Give all lanes of a row the sum of what they hold, as total + lost."""
    if lanes > 1:
        for first in range(0, WIDTH, lanes):
            whole, rest = 0.0, 0.0
            for w in range(first, first + lanes):
                whole, error = two_sum(whole, np.float64(total[w]))
                rest += error + lost[w]
            for w in range(first, first + lanes):
                total[w], lost[w] = whole, rest


@inline
def exponent_of(lanes):
    """Return e of lanes = 2^e: shifts are quick, divisions are not."""
    e = 0
    while 1 << e < lanes:
        e += 1
    return e


@inline
def place(y, m, n, e, depth):
    """Return line and lane, among the 2^e of its row, of class y where m is the largest of n classes."""
    if y == m:
        return depth, 0
    y = m if y == n - 1 else y
    return y >> e, y & ((1 << e) - 1)


@inline
def deal(z, r, n, e, x):
    """Copy n entries of row r to its 2^e lanes: lane after lane, or, where there are many, line after line."""
    lanes, lines, first = 1 << e, n >> e, r << e
    if lanes < 32:
        for i in range(lanes):
            for k in range((n - i + lanes - 1) >> e):
                x[k, first + i] = z[r, (k << e) + i]
    else:
        for k in range(lines):
            for i in range(lanes):
                x[k, first + i] = z[r, (k << e) + i]
        for i in range(n - (lines << e)):
            x[lines, first + i] = z[r, (lines << e) + i]


@inline
def collect(x, r, n, e, out):
    """Copy n entries of row r back, as they were dealt."""
    lanes, lines, first = 1 << e, n >> e, r << e
    if lanes < 32:
        for i in range(lanes):
            for k in range((n - i + lanes - 1) >> e):
                out[r, (k << e) + i] = x[k, first + i]
    else:
        for k in range(lines):
            for i in range(lanes):
                out[r, (k << e) + i] = x[k, first + i]
        for i in range(n - (lines << e)):
            out[r, (lines << e) + i] = x[lines, first + i]


@inline
def load(z, lanes, x, x_low, x_rough, m):
    """Fill the distances from the largest logits, and the largest classes, -1 for rows of nan."""
    n, depth, e = z.shape[1], x.shape[0] - 1, exponent_of(lanes)
    largest, infinite, line = np.empty(WIDTH), np.empty(WIDTH), np.empty(WIDTH, np.int64)
    empty = n >> e if m.size << e == WIDTH else 0  # where lines begin that have room for more than there is
    for k in range(empty, depth + 1):
        fill(x[k], -math.inf)
    for r in range(m.size):
        deal(z, r, n, e, x)
    fill(largest, -math.inf)
    fill(infinite, 0.0)
    fill(line, 0)
    for k in range(depth + 1):
        for w in range(WIDTH):
            above = x[k, w] > largest[w]
            largest[w], line[w] = x[k, w] if above else largest[w], k if above else line[w]
            infinite[w] += math.nan if x[k, w] != x[k, w] else 1.0 if x[k, w] == math.inf else 0.0
    for r in range(m.size):
        best, limits, m[r] = -math.inf, 0.0, -1
        for w in range(r * lanes, (r + 1) * lanes):
            k = (line[w] << e) + w - (r << e)
            limits += infinite[w]
            if largest[w] > best or (largest[w] == best and k < m[r]):
                best, m[r] = largest[w], k
        m[r] = m[r] if limits < 2.0 else -1
        for w in range(r << e, (r + 1) << e):
            largest[w] = best
        last = n - 1
        if m[r] >= 0:
            k, w = m[r] >> e, m[r] & (lanes - 1)
            x[k, (r << e) + w] = x[last >> e, (r << e) + (last & (lanes - 1))]
        x[last >> e, (r << e) + (last & (lanes - 1))] = -math.inf
    for k in range(depth):
        for w in range(WIDTH):
            x[k, w], low = two_sum(largest[w], -x[k, w])
            x_low[k, w] = low if x[k, w] < math.inf else 0.0
            x_rough[k, w] = np.float32(x[k, w])
    fill(x[depth], 0.0)
    fill(x_low[depth], 0.0)


@inline
def approach(beta, lanes, x, mu, lost):
    """Fill μ by Newton's method in float32: to some four digits, or to anything where float32 overflows."""
    beta = beta if abs(beta) > FLAT else FLAT
    inverse, beta = np.float32(1.0 / beta), np.float32(beta)
    at, others, slope = np.zeros(WIDTH, np.float32), np.empty(WIDTH, np.float32), np.empty(WIDTH, np.float32)
    moving = np.ones(WIDTH, np.float32)
    for _ in range(STEPS):
        fill(others, rough.ZERO)
        fill(slope, rough.ZERO)
        for k in range(x.shape[0] - 1):
            for w in range(WIDTH):
                p, b = rough.exp_tempered(at[w] + x[k, w], beta, inverse)
                others[w] += p
                slope[w] += p / b
        fill(lost, 0.0)
        share(others, lost, lanes)
        fill(lost, 0.0)
        share(slope, lost, lanes)
        count = 0
        for w in range(WIDTH):
            step = rough.newton_step(beta, inverse, at[w], others[w], slope[w])
            further = at[w] + step if at[w] + step > rough.ZERO else rough.ZERO
            goes_on = abs(step) > np.float32(ROUGH) * further
            at[w] = further if moving[w] > rough.ZERO else at[w]
            moving[w] = moving[w] if goes_on else rough.ZERO
            count += 1 if moving[w] > rough.ZERO else 0
        if count == 0:
            break
    for w in range(WIDTH):
        mu[w] = np.float64(at[w]) if at[w] < rough.INFINITY else 0.0


@inline
def sweep(beta, mu, x, others, slope):
    """Fill Σ p and Σ p/b of all classes but the largest, good to 2^-35."""
    fill(others, 0.0)
    fill(slope, 0.0)
    for k in range(x.shape[0] - 1):
        for w in range(WIDTH):
            p, p_over_b = rough_share(mu[w] + x[k, w], beta)
            others[w] += p
            slope[w] += p_over_b


@inline
def advance(beta, mu, others, slope, moving):
    """Make Newton's step where μ still moves; return in how many lanes it goes on."""
    count = 0
    for w in range(WIDTH):
        step = newton_step(mu[w], beta, others[w], slope[w])
        further = max(mu[w] + step, 0.0)
        goes_on = abs(step) > GOOD * further
        mu[w] = further if moving[w] > 0.0 else mu[w]
        moving[w] = moving[w] if goes_on else 0.0
        count += 1 if moving[w] > 0.0 else 0
    return count


@inline
def go_on(beta, lanes, mu, x, others, slope, lost, moving):
    """Move μ by Newton's method where ``moving`` is not 0; no row waits for another one or is moved by it."""
    for _ in range(SWEEPS):
        sweep(beta, mu, x, others, slope)
        fill(lost, 0.0)
        share(others, lost, lanes)
        fill(lost, 0.0)
        share(slope, lost, lanes)
        if advance(beta, mu, others, slope, moving) == 0:
            break


@inline
def settle(narrow, t, lanes, mu, x, x_low, log_p, log_low, r, escort, escort_low, step):
    """Fill μ but for a last step δ, and what belongs to μ: log p, 1/b and the escorts p^t."""
    beta, beta_low = two_sum(t, -1.0)
    depth = x.shape[0] - 1
    others, slope, bend, twist = four_rows()
    lost, moving, _, _ = four_rows()
    small = SMALL if t >= 1.0 else GOOD
    for attempt in range(2):
        for vector in (others, step, slope, bend, twist):
            fill(vector, 0.0)
        for k in range(depth + 1):
            for w in range(WIDTH):
                v, low = two_sum(mu[w], x[k, w])
                if narrow:
                    log_p[k, w], b = special.log_tempered_rounded(v, low if v < math.inf else 0.0, beta)
                    p = special.exp_within(log_p[k, w])
                    p, p_low = p if log_p[k, w] > -700.0 else 0.0, 0.0
                else:
                    low = low + x_low[k, w] if v < math.inf else 0.0
                    log_p[k, w], log_low[k, w], b = special.log_tempered(v, low, beta, beta_low)
                    p, p_low = special.exp_parts(log_p[k, w], log_low[k, w])
                inside = (log_p[k, w] > -math.inf) & (b < math.inf)
                inverse = 1.0 / b if inside else 0.0
                q = p * inverse
                r[k, w], escort[k, w] = inverse, q
                escort_low[k, w] = 0.0 if narrow or not inside else (fma(-q, b, p) + p_low) * inverse
                if k < depth:
                    add(narrow, p, others, step, w)
                    step[w] += 0.0 if narrow else p_low
                    slope[w] += q
                    bend[w] += q * inverse
                    twist[w] += q * inverse * inverse
        share(others, step, lanes)
        for vector in (slope, bend, twist):
            fill(lost, 0.0)
            share(vector, lost, lanes)
        far = 0
        for w in range(WIDTH):
            inverse = r[depth, w]
            minus_short, short_low = special.expm1_parts(log_p[depth, w], 0.0 if narrow else log_low[depth, w])
            excess, error = two_sum(others[w], minus_short)
            own = (1.0 + minus_short) * inverse
            whole = slope[w] + own
            first = (excess + (error + short_low + step[w])) / whole
            second = 0.5 * t * (bend[w] + own * inverse) / whole
            third = t * (2.0 * t - 1.0) / 6.0 * (twist[w] + own * inverse * inverse) / whole
            series = fma(first, fma(first, fma(2.0 * second, second, -third), second), 1.0)
            step[w] = first * series if t >= 1.0 else first
            moving[w] = 1.0 if abs(first) > small * mu[w] else 0.0
            far += 1 if moving[w] > 0.0 else 0
        if far == 0 or attempt == 1:
            break
        go_on(beta, lanes, mu, x, others, slope, lost, moving)


@inline
def correct(narrow, t, mu, step, x, x_low, log_p, log_low, r, escort, escort_low, mass, mass_low):
    """Move log p and the escorts p^t by the last step δ: the powers of δ beyond the fourth do not matter."""
    beta, beta_low = two_sum(t, -1.0)
    far = 0
    for k in range(x.shape[0]):
        for w in range(WIDTH):
            d = step[w] * r[k, w]
            far += 1 if abs(d) > 2.0**-10 else 0
            w_d = beta * d
            d = d * fma(w_d, fma(w_d, fma(w_d, -0.25, 1.0 / 3.0), -0.5), 1.0)
            inside = log_p[k, w] > -math.inf
            high, low = fast_two_sum(log_p[k, w], (0.0 if narrow else log_low[k, w]) - d)
            log_p[k, w], log_low[k, w] = high, low if inside and not narrow else 0.0
            d *= -t
            change = d * fma(d, fma(d, fma(d, fma(d, 1.0 / 120.0, 1.0 / 24.0), 1.0 / 6.0), 0.5), 1.0)
            moved = fma(escort[k, w], change, escort_low[k, w])
            escort[k, w], low = (escort[k, w] + moved, 0.0) if narrow else fast_two_sum(escort[k, w], moved)
            escort_low[k, w] = low
    if far > 0:  # next to the edge of a support
        for k in range(x.shape[0]):
            for w in range(WIDTH):
                if abs(step[w] * r[k, w]) > 2.0**-10:
                    v, low = two_sum(mu[w], x[k, w])
                    low += step[w] + x_low[k, w]
                    log_p[k, w], log_low[k, w], _ = special.log_tempered(v, low, beta, beta_low)
                    escort[k, w], escort_low[k, w] = special.power_within(log_p[k, w], log_low[k, w], t)
    fill(mass, 0.0)
    fill(mass_low, 0.0)
    for k in range(x.shape[0] - 1):
        for w in range(WIDTH):
            add(narrow, escort[k, w], mass, mass_low, w)
            mass_low[w] += 0.0 if narrow else escort_low[k, w]


@inline
def room_for_block(n):
    """Return what ``solve`` works on for rows of n classes; arrays of one allocation would look like one to LLVM."""
    lanes = lanes_of(n)
    block = ((n - 2) // lanes + 2, WIDTH)
    x, x_low, x_rough, r = np.empty(block), np.empty(block), np.empty(block, np.float32), np.empty(block)
    log_p, log_low, escort, escort_low = np.empty(block), np.empty(block), np.empty(block), np.empty(block)
    return lanes, x, x_low, x_rough, r, log_p, log_low, escort, escort_low, *four_rows()


@inline
def solve(narrow, t, z, room, m):
    """Fill the largest classes m, and leave in ``room`` what ``solve_distances`` does."""
    lanes, x, x_low, x_rough, _, _, _, _, _, _, _, _, _ = room
    load(z, lanes, x, x_low, x_rough, m)
    solve_distances(narrow, t, room)


@inline
def solve_distances(narrow, t, room):
    """Turn the distances x into log p, the escorts p^t and their sums, the largest classes apart."""
    lanes, x, x_low, x_rough, r, log_p, log_low, escort, escort_low, mu, step, mass, mass_low = room
    approach(t - 1.0, lanes, x_rough, mu, step)
    settle(narrow, t, lanes, mu, x, x_low, log_p, log_low, r, escort, escort_low, step)
    correct(narrow, t, mu, step, x, x_low, log_p, log_low, r, escort, escort_low, mass, mass_low)


@inline
def gather(y, m, n, lanes, blocks, here):
    """Copy what four blocks hold of the classes y to all lanes of their rows."""
    depth, e = blocks[0].shape[0] - 1, exponent_of(lanes)
    for r in range(m.size):
        k, w = place(y[r], m[r], n, e, depth)
        for i in range(r << e, (r + 1) << e):
            for j in range(4):
                here[j][i] = blocks[j][k, (r << e) + w]


@inline
def take_out(y, m, n, lanes, log_p):
    """Set log p to nan where no class is, and in the places of the classes y: nothing is paid there."""
    depth, e = log_p.shape[0] - 1, exponent_of(lanes)
    for r in range(m.size):
        k, w = place(y[r], m[r], n, e, depth)
        for i in range(lanes) if k == depth else range(w, w + 1):
            log_p[k, (r << e) + i] = math.nan
        for i in range(n - 1 - ((depth - 1) << e), lanes):
            log_p[depth - 1, (r << e) + i] = math.nan


@inline
def leave_out(m, n, lanes, log_p):
    """Set log p to nan where no class is."""
    depth = log_p.shape[0] - 1
    for r in range(m.size):
        for i in range(n - 1 - (depth - 1) * lanes, lanes):
            log_p[depth - 1, r * lanes + i] = math.nan


@inline
def deal_labels(loss, labels, first, m, lanes, targets, y):
    """Fill the changed labels of every class, those of the largest in all lanes of their rows; targets is room."""
    n, depth, e = targets.shape[1], y.shape[0] - 1, exponent_of(lanes)
    last = n - 1
    line, lane = last >> e, last & (lanes - 1)
    for r in range(m.size):
        positive = positive_labels(loss, labels, first + r, n)
        for k in range(n):
            targets[r, k] = changed_label(loss, labels, first + r, positive, k, n)
        deal(targets, r, n, e, y)
        k, w = (m[r] >> e, m[r] & (lanes - 1)) if m[r] >= 0 else (line, lane)
        y[k, (r << e) + w] = targets[r, last]
        for w in range(r << e, (r + 1) << e):
            y[depth, w] = targets[r, m[r]]


@inline
def pay_all(loss, log_p, log_low, y, f1, f2, paid, paid_low, of_largest):
    """Fill the derivatives of what every class pays, and sum that, the largest classes apart."""
    fill(paid, 0.0)
    fill(paid_low, 0.0)
    depth = f1.shape[0] - 1
    for k in range(depth + 1):
        for w in range(WIDTH):
            p = special.exp_sum(log_p[k, w], log_low[k, w])
            c = -special.expm1(log_p[k, w], log_low[k, w])
            value, first, second = tempered_kernel(
                core(loss), log_p[k, w], log_low[k, w], p, c if log_p[k, w] > -0.3 else 1.0 - p, y[k, w]
            )
            there = log_p[k, w] == log_p[k, w]
            value, f1[k, w] = value if there else 0.0, first if there else 0.0
            if f2 is not None:
                f2[k, w] = second if there else 0.0
            if k < depth:
                add(False, value, paid, paid_low, w)
            else:
                of_largest[w] = value


@inline
def add_lines(x, lanes, others, low, everything):
    """Give all lanes of a row the sum of its classes but the largest, and that of all."""
    depth = x.shape[0] - 1
    fill(others, 0.0)
    fill(low, 0.0)
    for k in range(depth):
        for w in range(WIDTH):
            add(False, x[k, w], others, low, w)
    share(others, low, lanes)
    for w in range(WIDTH):
        others[w] += low[w] if low[w] == low[w] else 0.0  # an infinite sum has no error term
        everything[w] = others[w] + x[depth, w]


@inline
def close_escorts(escort, escort_low, mass, mass_low, rest):
    """Divide the escorts p^t by their sums; fill what remains to 1 of those of the largest classes."""
    depth = escort.shape[0] - 1
    for w in range(WIDTH):
        whole, lost = two_sum(mass[w], escort[depth, w])
        whole, lost = fast_two_sum(whole, lost + (mass_low[w] + escort_low[depth, w]))
        inverse, inverse_low = special.reciprocal_parts(whole, lost)
        rest[w] = (mass[w] + mass_low[w]) * inverse
        mass[w], mass_low[w] = inverse, inverse_low
    for k in range(depth + 1):
        for w in range(WIDTH):
            escort[k, w] = special.times(escort[k, w], escort_low[k, w], mass[w], mass_low[w])


@inline
def bend_lines(t, log_p, log_low, escort, slopes, f2):
    """Turn F'' into F'' - B r, B = Σ F'."""
    beta, beta_low = two_sum(t, -1.0)
    for k in range(f2.shape[0]):
        for w in range(WIDTH):
            power = special.power(log_p[k, w], log_low[k, w], beta, beta_low)
            f2[k, w] -= mass_times(escort[k, w], slopes[w] * (t * power))


@inline
def derive_lines(entry, scale, escort, rest, f, others, everything, out):
    """Fill scale · entry(π, 1 - π, F, Σ F of the other classes) for every class."""
    depth = f.shape[0] - 1
    for k in range(depth + 1):
        for w in range(WIDTH):
            without = everything[w] - f[k, w] if k < depth else others[w]
            c = 1.0 - escort[k, w] if k < depth else rest[w]
            out[k, w] = mass_times(scale[w], entry(escort[k, w], c, f[k, w], without))


@inline
def bend_entry(q, c, f2, without):
    """Return ∂²ℓ/∂z² of a class whose F'' has lost B r already."""
    return hessian_entry(q, c, f2, without, 0.0)


@inline
def pay_label(loss, narrow, log_p, low, f, f1):
    """Fill what the labels pay, one in a lane, and its derivative."""
    for w in range(WIDTH):
        short, short_low = special.expm1_parts(log_p[w], low[w])
        p = special.exp_sum(log_p[w], low[w])
        c = -(short + short_low) if log_p[w] > -0.3 else 1.0 - p
        f[w], f1[w], _ = tempered_kernel(core(loss), log_p[w], 0.0 if narrow else low[w], p, c, 1.0)


@inline
def pay_others(loss, narrow, log_p, log_low, f1, paid, paid_low, slope, slope_low, of_largest):
    """Fill the derivatives of what classes without label pay; sum it and these, the largest classes apart."""
    for vector in (paid, paid_low, slope, slope_low):
        fill(vector, 0.0)
    depth = f1.shape[0] - 1
    for k in range(depth + 1):
        for w in range(WIDTH):
            low = 0.0 if narrow else log_low[k, w]
            value, first, _ = tempered_kernel(core(loss), log_p[k, w], low, 0.0, 1.0, 0.0)
            there = log_p[k, w] == log_p[k, w]
            value, f1[k, w] = value if there else 0.0, first if there else 0.0
            if k < depth:
                add(narrow, value, paid, paid_low, w)
                add(narrow, f1[k, w], slope, slope_low, w)
            else:
                of_largest[w] = value


@inline
def bend_expected(loss, log_p, log_low, bends, total, low):
    """Fill F'' of every class that pays at its own probability, but for the labels; sum it, the largest apart."""
    for k in range(bends.shape[0]):
        for w in range(WIDTH):
            bend = tempered_curvature(core(loss), log_p[k, w], log_low[k, w])
            bends[k, w] = bend if log_p[k, w] == log_p[k, w] else 0.0
    fill(total, 0.0)
    fill(low, 0.0)
    for k in range(bends.shape[0] - 1):
        for w in range(WIDTH):
            total[w] += bends[k, w]


@inline
def exponentials(log_p, log_low, out):
    """Fill p of its logarithms."""
    for k in range(out.shape[0]):
        for w in range(WIDTH):
            out[k, w] = special.exp_sum(log_p[k, w], log_low[k, w])


@inline
def unload(y, m, n, lanes, x, of_label, of_largest, out):
    """Copy a block to rows, and what belongs to the labels and the largest classes."""
    depth, e = x.shape[0] - 1, exponent_of(lanes)
    for r in range(m.size):
        collect(x, r, n - 1, e, out)
        if m[r] < 0:  # nan, or 0 for weight 0
            fill(out[r], of_label[r << e])
            continue
        k, w = place(n - 1, m[r], n, e, depth)
        if k < depth:
            out[r, n - 1] = x[k, (r << e) + w]
        out[r, y[r]] = of_label[r << e]
        out[r, m[r]] = of_largest[r << e]
