"""Drivers for CUDA: the names and arguments of those of ``cpu``, with threads in the place of turns of a loop.

What is done for one logit or one row is the code of ``entries`` and of the losses, compiled for the
GPU as it stands.  A driver only says which thread does which, and where a thread may work: ``room``
holds six numbers a class for every thread, those of neighbouring threads side by side so that they
are fetched together.
"""

import math
from contextlib import suppress
from functools import cache
from types import SimpleNamespace

import numpy as np
from llvmlite import ir
from numba import config, cuda, types
from numba.extending import intrinsic

from . import tempered
from .dispatch import bare, core
from .entries import (
    element,
    element_in_label,
    element_in_parameters,
    row,
    row_hessian,
    row_hessian_vector,
    row_in_class_weights,
    row_in_labels,
    row_in_parameters,
    row_scale,
    softmax_of_row,
    tempered_softmax_of_row,
    weighted,
)
from .geometry import changed_label, hard_terms, pair_terms, positive_labels, terms
from .one_against_rest import exp_parts, log_parts
from .rows import add, exp_difference, gradient_entry, hessian_entry, largest_entry, margin, per_class, softmax_entry
from .special import float_to_bits, inline, mass_times, overload, product, two_sum

THREADS = 4 if config.ENABLE_CUDASIM else 128  # of a block; a power of 2, which sums rely on
BLOCKS = 2 if config.ENABLE_CUDASIM else 4096  # of a grid at the most: more than any GPU has at work at once
ROOM = 6  # arrays that a row is worked on in
SHARED = 4 if config.ENABLE_CUDASIM else 256  # threads that share a long row
WARP = 2 if config.ENABLE_CUDASIM else 32  # threads that share a row of some length
ALONE, LONG = (3, 6) if config.ENABLE_CUDASIM else (16, 1024)  # classes that one thread does, and that SHARED do
SUMMERS = SHARED  # threads that add up an array
NEAR = 300.0  # up to here exponentials of a gap, times any number of classes, are ordinary numbers
SUBNORMAL = 2.0**133  # bfloat16's smallest numbers are multiples of its reciprocal


def number(x):
    """Return a number, given as one or as an array of one."""
    return x[0] if hasattr(x, "shape") else x


@overload(number)
def _(x):
    return (lambda x: x[0]) if hasattr(x, "dtype") else (lambda x: x)


@inline
def room_of(room, thread):
    """Return the arrays in which a thread works on a row."""
    return (
        room[0, :, thread],
        room[1, :, thread],
        room[2, :, thread],
        room[3, :, thread],
        room[4, :, thread],
        room[5, :, thread],
    )


@inline
def entry(x, i):
    """Return entry i, in C's order, of an array of four dimensions."""
    i, d = i // x.shape[3], i % x.shape[3]
    i, c = i // x.shape[2], i % x.shape[2]
    return x[i // x.shape[1], i % x.shape[1], c, d]


@inline
def bfloat16_bits(x):
    """Return the bits of the bfloat16 next to x, ties to even."""
    bits = float_to_bits(x)
    sign = (bits >> 48) & 0x8000
    size = bits & 0x7FFFFFFFFFFFFFFF
    if x != x:
        return sign | 0x7FC0
    if abs(x) < 2.0**-126:
        return sign | np.int64((abs(x) * SUBNORMAL + 2.0**52) - 2.0**52)
    near = ((size + ((1 << 44) - 1) + ((size >> 45) & 1)) >> 45) - ((1023 - 127) << 7)
    return sign | (near if near < 0x7F80 else 0x7F80)


@intrinsic
def bits_to_float32(typing_context, n):
    """Return the float32 whose bits are those of the 32-bit integer n."""

    def emit(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), emit


@intrinsic
def float32_to_bits(typing_context, x):
    """Return the 32 bits of a float32."""

    def emit(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.uint32(types.float32), emit


if config.DISABLE_JIT:

    def bits_to_float32(n):
        return n.view(np.float32)

    def float32_to_bits(x):
        return x.view(np.uint32)


def narrow(x):
    """Return a number as float32; an integer of 16 bits holds a bfloat16."""
    return bits_to_float32(np.uint32(x) << np.uint32(16)) if isinstance(x, np.uint16) else np.float32(x)


@overload(narrow)
def _(x):
    if x == types.uint16:
        return lambda x: bits_to_float32(types.uint32(x) << types.uint32(16))
    return lambda x: np.float32(x)


def wide(x):
    """Return a number as float64; an integer of 16 bits holds a bfloat16."""
    return np.float64(narrow(x) if isinstance(x, np.uint16) else x)


@overload(wide)
def _(x):
    return (lambda x: np.float64(narrow(x))) if x == types.uint16 else (lambda x: np.float64(x))


@inline
def bfloat16_bits_of_single(x):
    """Return the bits of the bfloat16 next to a float32, ties to even."""
    bits = float32_to_bits(x)
    near = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return near if x == x else np.uint32(0x7FC0)


def fitting(x, entry):
    """Return what to store for a number in the array x, rounded once: in one of 16-bit integers, a bfloat16."""
    if x.dtype != np.uint16:
        return entry
    return bfloat16_bits_of_single(entry) if isinstance(entry, np.float32) else bfloat16_bits(entry)


@overload(fitting)
def _(x, entry):
    if x.dtype != types.uint16:
        return lambda x, entry: entry
    if entry == types.float32:
        return lambda x, entry: bfloat16_bits_of_single(entry)
    return lambda x, entry: bfloat16_bits(entry)


# ---- a row and the threads that share it --------------------------------------------------
# blockDim.x threads share a row, and blockDim.y rows a block.  One thread alone never waits.


@inline
def wait():
    """Wait for all threads of the block, where a row has several."""
    if cuda.blockDim.x > 1:
        cuda.syncthreads()


@inline
def joined_sum(total, low, sums, lows):
    """Return Σ total + low over the threads of a row, to each of them; sums and lows are room in shared memory."""
    first = cuda.threadIdx.y * cuda.blockDim.x
    me = first + cuda.threadIdx.x
    sums[me], lows[me] = total, low
    wait()
    half = cuda.blockDim.x // 2
    while half > 0:
        if cuda.threadIdx.x < half:
            sums[me], error = two_sum(sums[me], sums[me + half])
            lows[me] += lows[me + half] + error
        wait()
        half //= 2
    total, low = sums[first], lows[first]
    wait()  # before anybody writes there again
    return total, low if low == low else 0.0  # an infinite sum has no error term


@inline
def joined_largest(x, room):
    """Return the largest x of the threads of a row, to each of them, or nan if there is one."""
    first = cuda.threadIdx.y * cuda.blockDim.x
    me = first + cuda.threadIdx.x
    room[me] = x
    wait()
    half = cuda.blockDim.x // 2
    while half > 0:
        if cuda.threadIdx.x < half:
            room[me] = larger(room[me], room[me + half])
        wait()
        half //= 2
    x = room[first]
    wait()  # before anybody writes there again
    return x


@inline
def joined_argmax(z, room):
    """Return the largest logit of a row, nan if there is one, and its class, to each of its threads."""
    largest, place = -math.inf, -math.inf
    for k in range(cuda.threadIdx.x, z.size, cuda.blockDim.x):
        x = wide(z[k])
        place = place if largest >= x else -float(k)
        largest = largest if largest >= x else x  # a nan will show in the sum
    whole = joined_largest(largest, room)
    return whole, int(-joined_largest(place if largest == whole else -math.inf, room)) if whole > -math.inf else 0


@inline
def larger(x, y):
    """Return the larger of two numbers, or nan if one is."""
    return x if x >= y or x != x else y


@inline
def joined_any(condition):
    """Return whether a condition holds for any thread of a block whose threads share rows, else for this one."""
    if cuda.blockDim.x > 1:
        return cuda.syncthreads_or(1 if condition else 0) != 0
    return condition


@inline
def slice_sum(x):
    """Return the sum of a thread's part of x as high + low."""
    total, low = 0.0, 0.0
    for i in range(cuda.threadIdx.x, x.size, cuda.blockDim.x):
        total, error = two_sum(total, np.float64(x[i]))
        low += error
    return total, low


def cast(kind, x):
    """Return x, bfloat16's bits too, as a number of the type of ``kind``: float32 or float64."""
    return narrow(x) if isinstance(kind, np.float32) else wide(x)


@overload(cast)
def _(kind, x):
    return (lambda kind, x: narrow(x)) if kind == types.float32 else (lambda kind, x: wide(x))


def exp_native(x):
    """Return exp(x) as the GPU's own function has it."""
    return np.exp(x)


@overload(exp_native)
def _(x):
    return lambda x: math.exp(x)


def share_of_largest(loss, x, largest):
    """Return exp(x - largest) for a finite largest one, in the type of x."""
    return _share_in_float32(loss, x, largest) if isinstance(x, np.float32) else exp_difference(loss, x, largest)


@overload(share_of_largest)
def _(loss, x, largest):
    if x == types.float32:
        return _share_in_float32
    return lambda loss, x, largest: exp_difference(loss, x, largest)


def _share_in_float32(loss, x, largest):
    """Return exp(x - largest) with the error of the difference taken back."""
    difference = x - largest
    back = difference - x
    low = (x - (difference - back)) - (largest + back)
    e = exp_native(difference)
    return e + e * low if e > np.float32(0.0) else e


@inline
def against_label(loss, z, largest, total, low, n):
    """Return what the label of the logit z pays and its slope; total + low is Σ exp(z_k - largest) of the others."""
    gap, gap_low = margin(loss, largest, z)
    if -NEAR <= gap <= NEAR:
        e, e_low = exp_parts(loss, gap, gap_low)
        odds, error = product(total, e)
        value, slope, _ = hard_terms(loss, odds, error + (total * e_low + low * e), n)
        return value, slope
    log_total, log_low = log_parts(loss, total, low)
    high, error = two_sum(gap, log_total)
    return pair_terms(loss, high, error + (gap_low + log_low) if abs(high) < math.inf else 0.0, n)


@inline
def shared_rows(loss, class_weight, factor, logits, labels, weights, upstream, values, gradient, kind):
    """Do ``hard_rows`` in numbers of the type of ``kind``.

    Loops count their turns, so that the compiler puts four of them in flight, and classes are unsigned: a
    range, or an index that might be negative, would cost as much as the arithmetic.
    """
    sums = cuda.shared.array(SHARED, np.float64)
    lows = cuda.shared.array(SHARED, np.float64)  # the simulator allows one a line
    n, step = logits.shape[1], cuda.gridDim.x * cuda.blockDim.y
    me, width = np.uint64(cuda.threadIdx.x), np.uint64(cuda.blockDim.x)
    turns = (n - cuda.threadIdx.x + cuda.blockDim.x - 1) // cuda.blockDim.x
    for first in range(cuda.blockIdx.x * cuda.blockDim.y, logits.shape[0], step):
        i = min(first + cuda.threadIdx.y, logits.shape[0] - 1)  # several may do the last row, and write the same
        z, y = logits[i], np.uint64(labels[i])
        largest = cast(kind, -math.inf)
        turn = 0
        while turn < turns:
            k = me + np.uint64(turn) * width
            x = cast(kind, z[k])
            largest = largest if k == y or largest >= x else x  # a nan will show in the sum
            turn += 1
        largest = cast(kind, joined_largest(np.float64(largest), sums))
        total, low = 0.0, 0.0
        turn = 0
        while turn < turns:
            k = me + np.uint64(turn) * width
            e = np.float64(share_of_largest(loss, cast(kind, z[k]), largest))
            total, low = add(loss, total, low, 0.0 if k == y else e)
            turn += 1
        total, low = joined_sum(total, low, sums, lows)
        if abs(largest) == math.inf:  # where a difference of two infinities is none
            total, low = infinite_sum(z, y), 0.0
        value, slope = against_label(loss, wide(z[y]), np.float64(largest), total, low, n)
        broken = value != value
        w, scale = per_class(class_weight, labels[i]), row_scale(factor, weights, upstream, i)
        of_label = mass_times(scale, math.nan if broken else mass_times(w, slope))
        if values is not None and cuda.threadIdx.x == 0:
            values[i] = fitting(values, weighted(weights, i, math.nan if broken else mass_times(w, value)))
        if gradient is not None:
            g = gradient[i]
            if of_label != of_label or of_label == 0.0:
                turn = 0
                while turn < turns:
                    k = me + np.uint64(turn) * width
                    g[k] = fitting(g, of_label)
                    turn += 1
            elif abs(largest) == math.inf:
                turn = 0
                while turn < turns:
                    k = me + np.uint64(turn) * width
                    g[k] = fitting(g, of_label if k == y else -of_label if wide(z[k]) == math.inf else 0.0)
                    turn += 1
            else:
                of_others = cast(kind, -of_label / total)
                turn = 0
                while turn < turns:
                    k = me + np.uint64(turn) * width
                    g[k] = fitting(g, of_others * share_of_largest(loss, cast(kind, z[k]), largest))
                    turn += 1
                if y % width == me:  # who has just written there
                    g[y] = fitting(g, of_label)


@inline
def class_of_row(loss, class_weight, z, labels, i, k, m, positive, largest, here, here_low, share, others):
    """Return p and 1 - p of class k, and what it pays with its derivatives; m is the class of the largest logit."""
    x, n = wide(z[k]), z.size
    u, q, c = softmax_entry(x, largest, exp_difference(loss, x, largest), share, here, here_low)
    u, q, c = (here, share, others) if k == m else (u, q, c)
    value, slope, bend = terms(loss, u, q, c, changed_label(loss, labels, i, positive, k, n), n)
    w = per_class(class_weight, k)
    return q, c, mass_times(w, value), mass_times(w, slope), mass_times(w, bend)


@inline
def derive(i, k, largest, q, c, slope, bend, slopes, slope_m, bends, bend_m, pull, broken, scale, gradient, hessian):
    """Write gradient and Hessian diagonal of class k of row i; slopes and bends leave out the largest class m."""
    if gradient is not None:
        g = gradient_entry(q, c, slope, slopes if largest else slopes + slope_m - slope)
        gradient[i, k] = fitting(gradient, mass_times(scale, math.nan if broken else g))
    if hessian is not None:
        h = hessian_entry(q, c, bend, bends if largest else bends + bend_m - bend, pull)
        hessian[i, k] = fitting(hessian, mass_times(scale, math.nan if broken else h))


@inline
def tempered_share(loss, x, x_low, mu, beta, beta_low, rough):
    """Return p as high + low, and p/b: to 2^-35 on the way, as exactly as the loss's precision asks at the end."""
    if rough:
        p, p_over_b = tempered.rough_share(mu + x, beta)
        return p, 0.0, p_over_b
    log_p, low, b = tempered.share_at(loss, x, x_low, mu, 0.0, beta, beta_low)
    p, p_low = tempered.exp_parts(loss, log_p, low)
    return p, p_low, p / b if p > 0.0 else 0.0


@inline
def tempered_class(loss, class_weight, z, labels, i, k, m, positive, whole, mu, mu_low, beta, beta_low):
    """Return log p of class k as high + low, and what it pays with its derivatives; m is the largest class."""
    x, x_low = tempered.distance(whole, wide(z[k]))
    x, x_low = (0.0, 0.0) if k == m else (x, x_low)
    log_p, low, _ = tempered.share_at(loss, x, x_low, mu, mu_low, beta, beta_low)
    q = tempered.exp_sum(loss, log_p, low)
    value, slope, bend = terms(loss, log_p, q, low, changed_label(loss, labels, i, positive, k, z.size), z.size)
    w = per_class(class_weight, k)
    return log_p, low, mass_times(w, value), mass_times(w, slope), mass_times(w, bend)


@inline
def infinite_sum(z, y):
    """Return how many other logits are infinite, nan if more than one, for rows whose largest other one is."""
    count = 0.0
    for k in range(z.size):
        count += 1.0 if np.uint64(k) != y and wide(z[k]) == math.inf else 0.0
    return count if count < 2.0 else math.nan


def driver(function, stamp):
    """Return a kernel, cached on disk where there is a place to write."""
    function.__qualname__ = f"{function.__name__}-{stamp}"  # names the cache file
    if config.ENABLE_CUDASIM:
        return cuda.jit(function)
    from .ptx import kernel

    compiled = kernel(function)
    with suppress(RuntimeError):  # no writable cache folder: compile in every process
        compiled.enable_caching()
    return compiled


@cache
def build(stamp):
    """Return the drivers of the sources whose digest is ``stamp``, as a namespace."""

    def pointwise(loss, factor, logits, labels, weights, upstream, values, gradient, hessian):
        """Value, gradient and second derivative of every logit."""
        for i in range(cuda.grid(1), logits.size, cuda.gridsize(1)):
            element(i, loss, number(factor), logits, labels, weights, upstream, values, gradient, hessian)

    def pointwise_in_labels(loss, factor, logits, labels, weights, upstream, values, gradient):
        """Value, and derivative in the label, of every logit."""
        for i in range(cuda.grid(1), logits.size, cuda.gridsize(1)):
            element_in_label(i, loss, number(factor), logits, labels, weights, upstream, values, gradient)

    def pointwise_in_parameters(loss, factor, logits, labels, weights, upstream, gradient, lost):
        """Derivatives of every logit's loss in the loss's parameters, one column each."""
        me = cuda.grid(1)
        for i in range(me, logits.size, cuda.gridsize(1)):
            element_in_parameters(i, loss, number(factor), logits, labels, weights, upstream, gradient, lost[me])

    def rows(loss, class_weight, factor, logits, labels, weights, upstream, values, gradient, hessian, room):
        """Value, gradient and Hessian diagonal of any rows."""
        me = cuda.grid(1)
        mine, scale = room_of(room, me), number(factor)
        for i in range(me, logits.shape[0], cuda.gridsize(1)):
            row(i, loss, class_weight, scale, logits, labels, weights, upstream, values, gradient, hessian, mine)

    def hard_rows(loss, class_weight, factor, logits, labels, weights, upstream, values, gradient):
        """Value and gradient of rows whose unlabelled classes pay nothing, by their integer labels.

        The threads of a row read it three times: for the largest of the other logits, for the sum of
        the exponentials beside it, and for the gradient, g_k = -g_y exp(z_k) / Σ_{j≠y} exp(z_j).
        """
        scale, kind = number(factor), np.float64(0.0)
        shared_rows(loss, class_weight, scale, logits, labels, weights, upstream, values, gradient, kind)

    def hard_rows_native(loss, class_weight, factor, logits, labels, weights, upstream, values, gradient):
        """Do the same in float32, but for what a row has one of."""
        scale, kind = number(factor), np.float32(0.0)
        shared_rows(loss, class_weight, scale, logits, labels, weights, upstream, values, gradient, kind)

    def softmax_rows(loss, class_weight, factor, logits, labels, weights, upstream, values, gradient, hessian):
        """Value, gradient and Hessian diagonal of rows under softmax, whose classes threads share.

        What a class pays is asked again for each result, in the place of room for every class.
        """
        sums = cuda.shared.array(SHARED, np.float64)
        lows = cuda.shared.array(SHARED, np.float64)  # the simulator allows one a line
        n, step = logits.shape[1], cuda.gridDim.x * cuda.blockDim.y
        me, width = cuda.threadIdx.x, cuda.blockDim.x
        for first in range(cuda.blockIdx.x * cuda.blockDim.y, logits.shape[0], step):
            i = min(first + cuda.threadIdx.y, logits.shape[0] - 1)  # several may do the last row, and write the same
            z, scale = logits[i], row_scale(number(factor), weights, upstream, i)
            positive = positive_labels(loss, labels, i, n)
            whole, m = joined_argmax(z, sums)
            rest, low = 0.0, 0.0
            for k in range(me, n, width):
                rest, low = add(loss, rest, low, 0.0 if k == m else exp_difference(loss, wide(z[k]), whole))
            rest, low = joined_sum(rest, low, sums, lows)
            here, here_low, share, others = largest_entry(loss, rest, low)
            known = (positive, whole, here, here_low, share, others)
            paid, slopes, bends, slope_m, bend_m = 0.0, 0.0, 0.0, 0.0, 0.0
            paid_low, slopes_low, bends_low = 0.0, 0.0, 0.0
            for k in range(me, n, width):
                _, _, value, slope, bend = class_of_row(loss, class_weight, z, labels, i, k, m, *known)
                paid, paid_low = add(loss, paid, paid_low, value)
                slopes, slopes_low = add(loss, slopes, slopes_low, 0.0 if k == m else slope)
                bends, bends_low = add(loss, bends, bends_low, 0.0 if k == m else bend)
                slope_m, bend_m = (slope, bend) if k == m else (slope_m, bend_m)
            paid, paid_low = joined_sum(paid, paid_low, sums, lows)
            slopes, slopes_low = joined_sum(slopes, slopes_low, sums, lows)
            bends, bends_low = joined_sum(bends, bends_low, sums, lows)
            slope_m, _ = joined_sum(slope_m, 0.0, sums, lows)
            bend_m, _ = joined_sum(bend_m, 0.0, sums, lows)
            slopes, bends = slopes + slopes_low, bends + bends_low
            broken = not (whole > -math.inf and rest < math.inf)
            if values is not None and me == 0:
                values[i] = fitting(values, weighted(weights, i, math.nan if broken else paid + paid_low))
            if gradient is not None or hessian is not None:
                for k in range(me, n, width):
                    q, c, _, slope, bend = class_of_row(loss, class_weight, z, labels, i, k, m, *known)
                    derived = (k == m, q, c, slope, bend, slopes, slope_m, bends, bend_m, slopes + slope_m)
                    derive(i, k, *derived, broken, scale, gradient, hessian)

    def tempered_rows(loss, class_weight, factor, logits, labels, weights, upstream, values, gradient, hessian):
        """Value, gradient and Hessian diagonal of rows under the tempered softmax, whose classes threads share.

        It is what ``tempered`` does with a row, in the place of whose arrays everything is asked again.
        """
        sums = cuda.shared.array(SHARED, np.float64)
        lows = cuda.shared.array(SHARED, np.float64)  # the simulator allows one a line
        n, step, t = logits.shape[1], cuda.gridDim.x * cuda.blockDim.y, bare(core(loss)).t2
        me, width = cuda.threadIdx.x, cuda.blockDim.x
        beta, beta_low = two_sum(t, -1.0)
        for first in range(cuda.blockIdx.x * cuda.blockDim.y, logits.shape[0], step):
            i = min(first + cuda.threadIdx.y, logits.shape[0] - 1)  # several may do the last row, and write the same
            z, scale = logits[i], row_scale(number(factor), weights, upstream, i)
            positive = positive_labels(loss, labels, i, n)
            whole, m = joined_argmax(z, sums)
            infinite = 0.0
            for k in range(me, n, width):
                infinite += 1.0 if wide(z[k]) == math.inf else 0.0
            infinite, _ = joined_sum(infinite, 0.0, sums, lows)
            broken = not (whole > -math.inf and infinite < 2.0)
            mu, others, low, slope = 0.0, 0.0, 0.0, 0.0
            moving, sweeps = not broken, 0
            while True:  # every thread of the block goes round until the last row has its normaliser
                others, low, slope = 0.0, 0.0, 0.0
                for k in range(me, n, width):
                    x, x_low = tempered.distance(whole, wide(z[k]))
                    p, p_low, p_over_b = tempered_share(loss, x, x_low, mu, beta, beta_low, moving)
                    others, low = add(loss, others, low, 0.0 if k == m else p)
                    low += 0.0 if k == m else p_low
                    slope += 0.0 if k == m else p_over_b
                others, low = joined_sum(others, low, sums, lows)
                slope, _ = joined_sum(slope, 0.0, sums, lows)
                still = joined_any(moving)
                if not still:
                    break
                if moving:
                    change = tempered.newton_step(mu, beta, others + low, slope)
                    mu, sweeps = max(mu + change, 0.0), sweeps + 1
                    moving = abs(change) > tempered.GOOD * mu and sweeps < tempered.SWEEPS
            mu, mu_low = tempered.last_step(loss, mu, beta, beta_low, others, low, slope)
            known = (positive, whole, mu, mu_low, beta, beta_low)
            paid, slopes, slope_m, mass, mass_m = 0.0, 0.0, 0.0, 0.0, 0.0
            paid_low, slopes_low, mass_low, mass_m_low = 0.0, 0.0, 0.0, 0.0
            for k in range(me, n, width):
                log_p, low, value, slope, _ = tempered_class(loss, class_weight, z, labels, i, k, m, *known)
                escort = tempered.power(loss, log_p, low, t, 0.0)
                paid, paid_low = add(loss, paid, paid_low, value)
                slopes, slopes_low = add(loss, slopes, slopes_low, 0.0 if k == m else slope)
                mass, mass_low = add(loss, mass, mass_low, 0.0 if k == m else escort)
                slope_m, mass_m = (slope, escort) if k == m else (slope_m, mass_m)
            paid, paid_low = joined_sum(paid, paid_low, sums, lows)
            slopes, slopes_low = joined_sum(slopes, slopes_low, sums, lows)
            mass, mass_low = joined_sum(mass, mass_low, sums, lows)
            slope_m, _ = joined_sum(slope_m, 0.0, sums, lows)
            mass_m, mass_m_low = joined_sum(mass_m, 0.0, sums, lows)
            slopes += slopes_low
            everything, low = two_sum(mass, mass_m)
            everything, everything_low = two_sum(everything, low + (mass_low + mass_m_low))
            if values is not None and me == 0:
                values[i] = fitting(values, weighted(weights, i, math.nan if broken else paid + paid_low))
            bends, bends_low, bend_m = 0.0, 0.0, 0.0
            if hessian is not None:
                for k in range(me, n, width):
                    log_p, low, _, _, bend = tempered_class(loss, class_weight, z, labels, i, k, m, *known)
                    q = tempered.share_of_power(loss, log_p, low, t, everything, everything_low)
                    bend = tempered.bend_of_row(loss, t, log_p, low, q, slopes + slope_m, bend)
                    bends, bends_low = add(loss, bends, bends_low, 0.0 if k == m else bend)
                    bend_m = bend if k == m else bend_m
                bends, bends_low = joined_sum(bends, bends_low, sums, lows)
                bend_m, _ = joined_sum(bend_m, 0.0, sums, lows)
                bends += bends_low
            if gradient is not None or hessian is not None:
                for k in range(me, n, width):
                    log_p, low, _, slope, bend = tempered_class(loss, class_weight, z, labels, i, k, m, *known)
                    q = tempered.share_of_power(loss, log_p, low, t, everything, everything_low)
                    c = (mass + mass_low) / everything if k == m else 1.0 - q
                    if hessian is not None:
                        bend = tempered.bend_of_row(loss, t, log_p, low, q, slopes + slope_m, bend)
                    derived = (k == m, q, c, slope, bend, slopes, slope_m, bends, bend_m, 0.0)
                    derive(i, k, *derived, broken, scale, gradient, hessian)

    def rows_hessian(loss, class_weight, factor, logits, labels, weights, upstream, hessian, room):
        """The full Hessian of every row."""
        me = cuda.grid(1)
        mine, scale = room_of(room, me), number(factor)
        for i in range(me, logits.shape[0], cuda.gridsize(1)):
            row_hessian(i, loss, class_weight, scale, logits, labels, weights, upstream, hessian, mine)

    def rows_hessian_vector(loss, class_weight, factor, logits, labels, weights, upstream, vectors, product, room):
        """The product of every row's Hessian with its vector."""
        me = cuda.grid(1)
        mine, scale = room_of(room, me), number(factor)
        for i in range(me, logits.shape[0], cuda.gridsize(1)):
            row_hessian_vector(i, loss, class_weight, scale, logits, labels, weights, upstream, vectors, product, mine)

    def rows_in_labels(loss, class_weight, factor, logits, labels, weights, upstream, values, gradient, room):
        """Value, and derivative in the label of every class."""
        me = cuda.grid(1)
        mine, scale = room_of(room, me), number(factor)
        for i in range(me, logits.shape[0], cuda.gridsize(1)):
            row_in_labels(i, loss, class_weight, scale, logits, labels, weights, upstream, values, gradient, mine)

    def rows_in_parameters(loss, class_weight, factor, logits, labels, weights, upstream, gradient, room, lost):
        """Derivatives of every row's loss in the loss's parameters, one column each."""
        me = cuda.grid(1)
        mine, scale = room_of(room, me), number(factor)
        for i in range(me, logits.shape[0], cuda.gridsize(1)):
            row_in_parameters(i, loss, class_weight, scale, logits, labels, weights, upstream, gradient, mine, lost[me])

    def rows_in_class_weights(loss, factor, logits, labels, weights, upstream, gradient, room):
        """Derivatives of every row's loss in the weights of the classes: what each class pays."""
        me = cuda.grid(1)
        mine, scale = room_of(room, me), number(factor)
        for i in range(me, logits.shape[0], cuda.gridsize(1)):
            row_in_class_weights(i, loss, scale, logits, labels, weights, upstream, gradient, mine)

    def softmax(loss, logits, vectors, values, logarithms, product, log_product, pullback, room):
        """Softmax, its logarithm, and products of their Jacobians with the rows of ``vectors``."""
        me = cuda.grid(1)
        mine = room_of(room, me)
        for i in range(me, logits.shape[0], cuda.gridsize(1)):
            softmax_of_row(i, loss, logits, vectors, values, logarithms, product, log_product, pullback, mine)

    def tempered_probabilities(loss, logits, values, room):
        """Tempered softmax alone."""
        me = cuda.grid(1)
        mine = room_of(room, me)
        for i in range(me, logits.shape[0], cuda.gridsize(1)):
            tempered_softmax_of_row(i, loss, logits, None, values, None, None, None, mine)

    def tempered_softmax(loss, logits, vectors, normalizations, products, slopes, room):
        """What belongs to a tempered softmax: normaliser, products of its symmetric Jacobian, derivative in t."""
        me = cuda.grid(1)
        mine = room_of(room, me)
        for i in range(me, logits.shape[0], cuda.gridsize(1)):
            tempered_softmax_of_row(i, loss, logits, vectors, None, normalizations, products, slopes, mine)

    # What is illegal: the least index of all that threads find, in ``found``, which begins above all of them.

    def find_illegal_class(labels, classes, found):
        """Set found[0] to the first index whose label is not in [0, classes)."""
        for i in range(cuda.grid(1), labels.size, cuda.gridsize(1)):
            if labels[i] < 0 or labels[i] >= classes:
                cuda.atomic.min(found, 0, i)

    def find_classes(numbers, classes, labels, absent, found):
        """Fill integer classes from numbers, absent ones nan; found[1] is no integer, and found[2] absent."""
        for i in range(cuda.grid(1), numbers.size, cuda.gridsize(1)):
            y = np.float64(numbers[i])
            absent[i] = y != y
            if y != y:
                labels[i] = 0
                cuda.atomic.min(found, 2, i)
            elif abs(y) > 2.0**53 or y != np.float64(np.int64(y)):
                labels[i] = 0
                cuda.atomic.min(found, 1, i)
            else:
                labels[i] = np.int64(y)
                if y < 0.0 or y >= classes:
                    cuda.atomic.min(found, 0, i)

    def find_illegal_probability(labels, binary, found):
        """Set found[0] to the first index whose label is outside [0, 1], found[1] to the first that is between."""
        for i in range(cuda.grid(1), labels.size, cuda.gridsize(1)):
            between = labels[i] > 0.0 and labels[i] < 1.0
            if labels[i] < 0.0 or labels[i] > 1.0 or (binary and between):
                cuda.atomic.min(found, 0, i)
            if between:
                cuda.atomic.min(found, 1, i)

    def find_outside(x, low, high, found):
        """Set found[0] to the first index of a number outside [low, high]."""
        for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
            if x[i] < low or x[i] > high:
                cuda.atomic.min(found, 0, i)

    def find_unnormalized_row(labels, tolerance, found):
        """Set found[2] to the first row whose sum is not 1."""
        for i in range(cuda.grid(1), labels.shape[0], cuda.gridsize(1)):
            row_sum = 0.0
            for k in range(labels.shape[1]):
                row_sum += np.float64(labels[i, k])
            if abs(row_sum - 1.0) > tolerance:
                cuda.atomic.min(found, 2, i)

    # Arrays: other dtypes and layouts.

    def fill_all(target, x):
        """Set every entry."""
        for i in range(cuda.grid(1), target.size, cuda.gridsize(1)):
            target[i] = x

    def copy(source, target):
        """Copy an array of four dimensions and any strides."""
        for i in range(cuda.grid(1), target.size, cuda.gridsize(1)):
            target[i] = entry(source, i)

    def copy_out(source, target):
        """Copy to an array of four dimensions and any strides."""
        a, b, c, d = target.shape
        for i in range(cuda.grid(1), source.size, cuda.gridsize(1)):
            k = i // d
            target[k // c // b, k // c % b, k % c, i % d] = source[i]

    def from_bfloat16(source, target):
        """Set the bits of float32 numbers from those of bfloat16."""
        for i in range(cuda.grid(1), target.size, cuda.gridsize(1)):
            target[i] = np.uint32(entry(source, i)) << np.uint32(16)

    def to_bfloat16(source, target):
        """Set the bits of bfloat16 numbers, rounded once."""
        for i in range(cuda.grid(1), target.size, cuda.gridsize(1)):
            target[i] = bfloat16_bits(np.float64(source[i]))

    def forget(absent, weights, target):
        """Set weights to nan where labels are absent, except where they are 0."""
        for i in range(cuda.grid(1), target.size, cuda.gridsize(1)):
            w = 1.0
            if weights is not None:
                w = weights[i]
            target[i] = math.nan if absent[i] and w != 0.0 else w

    def products(x, y, target):
        """Fill the products of x, or of 1 where it is ``None``, and y."""
        for i in range(cuda.grid(1), target.size, cuda.gridsize(1)):
            w = 1.0
            if x is not None:
                w = x[i]
            target[i] = w * y[i]

    def mean(values, weights, count, target):
        """Set target[0] to Σ values, divided by Σ weights, or by count where these are ``None``, but not by 0.

        One block does it, so that the order is always the same.
        """
        sums = cuda.shared.array(SHARED, np.float64)
        lows = cuda.shared.array(SHARED, np.float64)  # the simulator allows one a line
        total, low = slice_sum(values)
        total, low = joined_sum(total, low, sums, lows)
        divisor = count
        if weights is not None:
            of_weights, of_weights_low = slice_sum(weights)
            of_weights, of_weights_low = joined_sum(of_weights, of_weights_low, sums, lows)
            divisor = of_weights + of_weights_low
        if cuda.threadIdx.x == 0:
            target[0] = (total + low) / divisor if divisor != 0.0 else math.nan

    def reciprocal(weights, target):
        """Set target[0] to 1/Σ weights, or to nan if that is 0; one block does it."""
        sums = cuda.shared.array(SHARED, np.float64)
        lows = cuda.shared.array(SHARED, np.float64)  # the simulator allows one a line
        total, low = slice_sum(weights)
        total, low = joined_sum(total, low, sums, lows)
        if cuda.threadIdx.x == 0:
            target[0] = 1.0 / (total + low) if total + low != 0.0 else math.nan

    hard_rows_native.launch_bounds = SHARED, 4  # so many blocks find room in a multiprocessor's registers
    functions = {name: f for name, f in locals().items() if name != "stamp"}
    return SimpleNamespace(**{name: driver(f, stamp) for name, f in functions.items()})
