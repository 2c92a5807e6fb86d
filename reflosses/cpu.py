"""Drivers: the loops over arrays, compiled for the CPU, one for each contract and result.

A driver takes a loss and contiguous arrays, or the same range of rows of each: rows do not know of
each other, so that any thread may take any part.  An output that is ``None`` costs nothing: Numba
removes its branch and LLVM the arithmetic behind it.  Derivatives are multiplied by
``factor * weights[i] * upstream[i]``, values by ``weights[i]`` alone; both arrays may be ``None``.

Everything stands inside ``build`` because Numba's disk cache watches only the file of the function
that it compiled: every driver carries a digest of all sources, the ``stamp``, in its name, so that
an edited kernel is never answered by yesterday's machine code, and so that the cache of a user's
loss is a file of its own, which nobody without that user's module has to read.
"""

import math
from contextlib import suppress
from functools import cache
from types import SimpleNamespace

import numpy as np
from numba import config, njit

from .columns import (
    class_terms_columns,
    gradient_columns,
    hessian_diagonal_columns,
    softmax_columns,
    sums_of_columns,
)
from .dispatch import bare, by_contract, core, tempered_curvature
from .entries import (
    element,
    element_in_label,
    element_in_parameters,
    logit_and_label,
    opened_element,
    pair_of_logits,
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
from .geometry import hard_terms, label_of_logit
from .lanes import (
    WIDTH,
    add_lines,
    bend_entry,
    bend_expected,
    bend_lines,
    close_escorts,
    deal_labels,
    derive_lines,
    exponentials,
    four_rows,
    gather,
    is_narrow,
    leave_out,
    pay_all,
    pay_label,
    pay_others,
    room_for_block,
    share,
    solve,
    solve_distances,
    take_out,
    unload,
)
from .masses import largest_classes, masses, pair_of_masses, pay, room_for_masses, shared_masses, take_masses
from .odds import PIECE, TINY, odds_against
from .rows import LONG, fill, gradient_entry, largest_entry, per_class
from .special import fast_two_sum, fma, inline, mass_times, reciprocal_parts, times, two_sum
from .tempered import sides
from .vectors import for_each, lane_sums, scale_rows

FEW = 32  # rows of up to this many classes are transposed, see columns.py
TILE = 1024  # logits that a block of transposed rows holds


@inline
def room_for(n):
    """Return what a row of n classes is worked on in; arrays of one allocation would look like one to LLVM."""
    return np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n)


@inline
def flat(x):
    """Return the entries of x in a row, or None."""
    if x is None:
        return None
    return x.reshape(x.size)


@inline
def hard_tempered(loss, class_weight, factor, logits, labels, weights, upstream, values, gradient, curvature):
    """Value, gradient and expected curvature of rows under the tempered softmax, by their integer labels, in lanes.

    Returns how many rows have slopes that overflow, or nan.
    """
    n, t, narrow = logits.shape[1], bare(core(loss)).t2, is_narrow(logits)
    room = room_for_block(n)
    lanes, x, _, _, _, log_p, log_low, escort, escort_low, _, _, mass, mass_low = room
    depth, largest = x.shape[0] - 1, np.empty(WIDTH, np.int64)
    is_largest, of_label, f_y, f1_y = four_rows()
    log_y, low_y, escort_y, escort_y_low = four_rows()
    f, f_low, f1, f1_low = four_rows()
    scale, f_m, slopes, rest = four_rows()
    strange = 0
    for first in range(0, logits.shape[0], WIDTH // lanes):
        last = min(first + WIDTH // lanes, logits.shape[0])
        z, y, m = logits[first:last], labels[first:last], largest[: last - first]
        solve(narrow, t, z, room, m)
        gather(y, m, n, lanes, (log_p, log_low, escort, escort_low), (log_y, low_y, escort_y, escort_y_low))
        take_out(y, m, n, lanes, log_p)
        pay_label(loss, narrow, log_y, low_y, f_y, f1_y)
        pay_others(loss, narrow, log_p, log_low, x, f, f_low, f1, f1_low, f_m)
        share(f, f_low, lanes)
        share(f1, f1_low, lanes)
        share(mass, mass_low, lanes)
        for i in range(m.size):
            own = mass_times(row_scale(factor, weights, upstream, first + i), per_class(class_weight, y[i]))
            own, here = own if m[i] >= 0 else mass_times(own, math.nan), 1.0 if y[i] == m[i] else 0.0
            for w in range(i * lanes, (i + 1) * lanes):
                scale[w], is_largest[w] = own, here
        if values is not None:
            for w in range(WIDTH):
                f[w], error = two_sum(f[w], f_y[w])
                f[w], lost = two_sum(f[w], f_m[w])
                error += lost + f_low[w]
                f[w] += error if error == error else 0.0  # an infinite sum has no error term
            for i in range(m.size):
                value = f[i * lanes] if m[i] >= 0 else math.nan
                values[first + i] = weighted(weights, first + i, mass_times(per_class(class_weight, y[i]), value))
        if gradient is not None:
            for w in range(WIDTH):
                whole, lost = two_sum(mass[w], escort[depth, w])
                whole, lost = fast_two_sum(whole, lost + (mass_low[w] + escort_low[depth, w]))
                inverse, inverse_low = reciprocal_parts(whole, lost)
                unlabelled = f1[w] + (f1_low[w] if f1_low[w] == f1_low[w] else 0.0)
                own = f1_y[w] if is_largest[w] > 0.0 else x[depth, w]
                others = unlabelled + (0.0 if is_largest[w] > 0.0 else f1_y[w])
                slopes[w] = others + own
                q = times(escort[depth, w], escort_low[depth, w], inverse, inverse_low)
                rest[w] = (mass[w] + mass_low[w]) * inverse
                f_m[w] = mass_times(scale[w], gradient_entry(q, rest[w], own, others))
                q = times(escort_y[w], escort_y_low[w], inverse, inverse_low)
                of_label[w] = mass_times(scale[w], gradient_entry(q, 1.0 - q, f1_y[w], unlabelled + x[depth, w]))
                mass[w], mass_low[w] = inverse, inverse_low
            for k in range(depth):
                for w in range(WIDTH):
                    q = times(escort[k, w], escort_low[k, w], mass[w], mass_low[w])
                    x[k, w] = mass_times(scale[w], fma(-q, slopes[w], x[k, w]) if q > 0.0 else x[k, w])
            for i in range(m.size):
                strange += 0 if abs(slopes[i * lanes]) < math.inf else 1
            unload(y, m, n, lanes, x, of_label, f_m, gradient[first:last])
        if curvature is not None:
            bend_expected(loss, log_p, log_low, x, f, f_low)
            share(f, f_low, lanes)
            for w in range(WIDTH):
                of_label[w] = tempered_curvature(core(loss), log_y[w], low_y[w])
                own = of_label[w] if is_largest[w] > 0.0 else x[depth, w]
                f[w] += 0.0 if is_largest[w] > 0.0 else of_label[w]
                q_m, q_y = escort[depth, w] * mass[w], escort_y[w] * mass[w]
                f_m[w] = mass_times(scale[w], bend_entry(q_m, rest[w], own, f[w]))
                f[w] += own
                of_label[w] = mass_times(scale[w], bend_entry(q_y, 1.0 - q_y, of_label[w], f[w] - of_label[w]))
            for k in range(depth):
                for w in range(WIDTH):
                    q = escort[k, w] * mass[w]
                    x[k, w] = mass_times(scale[w], bend_entry(q, 1.0 - q, x[k, w], f[w] - x[k, w]))
            unload(y, m, n, lanes, x, of_label, f_m, curvature[first:last])
    return strange


def _pairs_in_lanes(loss, factor, logits, labels, weights, upstream, values, gradient, hessian):
    t, room = bare(core(loss)).t2, room_for_block(2)  # for rows of the other class and the likelier one
    _, x, x_low, x_rough, _, log_p, log_low, _, _, _, _, _, _ = room
    for block in (x, x_low):
        for k in range(2):
            fill(block[k], 0.0)
    z, y, y_low, _ = four_rows()
    for first in range(0, logits.size, WIDTH):
        count, soft = min(WIDTH, logits.size - first), 0
        for w in range(count):
            z[w], y[w] = logit_and_label(logits, labels, first + w)
            y[w], y_low[w] = label_of_logit(loss, y[w])
            x[0, w] = abs(z[w])
            soft += 0 if y_low[w] == 0.0 and (y[w] == 0.0 or y[w] == 1.0) else 1
        for w in range(WIDTH):
            x_rough[0, w] = np.float32(x[0, w])
        solve_distances(False, t, room)
        if labels is not None and soft == 0:  # two mirror images, and one branch of the kernel
            for w in range(count):
                turn = 1.0 if y[w] == 1.0 else -1.0
                opened = sides(turn * z[w], log_p[1, w], log_low[1, w], log_p[0, w], log_low[0, w])
                opened_element(
                    first + w, loss, factor, opened, turn, 1.0, 0.0, weights, upstream, values, gradient, hessian
                )
        else:
            for w in range(count):
                opened = sides(z[w], log_p[1, w], log_low[1, w], log_p[0, w], log_low[0, w])
                opened_element(
                    first + w, loss, factor, opened, 1.0, y[w], y_low[w], weights, upstream, values, gradient, hessian
                )


@by_contract(tempered_pair=_pairs_in_lanes)
def elements(loss, factor, logits, labels, weights, upstream, values, gradient, hessian):
    """Value, gradient and second derivative of every logit, in vector lanes where something is solved for."""
    arguments = (loss, factor, logits, labels, weights, upstream, values, gradient, hessian)
    for_each(logits.size, element, arguments, 4)


def driver(function, stamp):
    """Compile without the interpreter lock, cached on disk where there is a place to write."""
    function.__qualname__ = f"{function.__name__}-{stamp}"  # names the cache file
    if config.DISABLE_JIT:
        return np.errstate(all="ignore")(function)  # machine code does not warn either
    compiled = njit(error_model="numpy", fastmath=False, nogil=True, no_cfunc_wrapper=True)(function)
    with suppress(RuntimeError):  # no writable cache folder: compile in every process
        compiled.enable_caching()
    return compiled


@cache
def build(stamp):
    """Return the drivers of the sources whose digest is ``stamp``, as a namespace."""

    def pointwise(loss, factor, logits, labels, weights, upstream, values, gradient, hessian):
        """Value, gradient and second derivative of every logit."""
        elements(loss, factor, logits, labels, weights, upstream, values, gradient, hessian)

    def pointwise_in_labels(loss, factor, logits, labels, weights, upstream, values, gradient):
        """Value, and derivative in the label, of every logit."""
        for i in range(logits.size):
            element_in_label(i, loss, factor, logits, labels, weights, upstream, values, gradient)

    def pointwise_in_parameters(loss, factor, logits, labels, weights, upstream, gradient):
        """Derivatives of every logit's loss in the loss's parameters, one column each."""
        lost = np.empty(gradient.shape[1])
        for i in range(logits.size):
            element_in_parameters(i, loss, factor, logits, labels, weights, upstream, gradient, lost)

    def hard_pairs(loss, class_weight, factor, logits, labels, weights, upstream, values, gradient):
        """Value and gradient of rows of two logits, for losses as in ``hard_rows``."""
        arguments = (loss, class_weight, factor, flat(logits), labels, weights, upstream, values, flat(gradient))
        for_each(logits.shape[0], pair_of_logits, arguments, 8)
        return 0

    def hard_rows(loss, class_weight, factor, logits, labels, weights, upstream, values, gradient):
        """Value and gradient of rows whose unlabelled classes pay nothing, by their integer labels.

        The gradient is (1 - p_y) F' for the label and -p_k F' elsewhere: one kernel call a row, and
        one multiplication a class.  Returns how many rows have odds too close to overflow, or nan;
        ``rows`` can do those.
        """
        n = logits.shape[1]
        block = PIECE // n if n < LONG else 1
        e = np.empty((block, n))
        unit, odds, odds_low = np.empty(block), np.empty(block), np.empty(block)
        of_label, of_others, mass = np.empty(block), np.empty(block), np.empty(block)
        strange = 0
        for first in range(0, logits.shape[0], block):
            last = min(first + block, logits.shape[0])
            z, y, rows = logits[first:last], labels[first:last], last - first
            odds_against(loss, z, y, e[:rows], unit, odds, odds_low)
            for r in range(rows):
                strange += 0 if 1e-140 < unit[r] < 1e140 and odds[r] < 1e140 * unit[r] else 1
            if values is not None:
                block_values = values[first:last]
            for r in range(rows):
                value, slope, others = hard_terms(loss, odds[r], odds_low[r], n)
                w = per_class(class_weight, y[r])
                mass[r] = mass_times(row_scale(factor, weights, upstream, first + r), w)
                of_label[r] = mass_times(mass[r], slope)
                unit[r] *= -others
                of_others[r] = mass_times(mass[r], unit[r])
                if values is not None:
                    block_values[r] = weighted(weights, first + r, mass_times(w, value))
            if gradient is not None:
                g = gradient[first:last]
                scale_rows(e[:rows], of_others, g)
                for r in range(rows):
                    if abs(of_others[r]) < TINY and mass[r] != 0.0:  # large exponentials would show the digits it lost
                        for k in range(n):
                            g[r, k] = mass[r] * (unit[r] * e[r, k])
                    g[r, y[r]] = of_label[r]
        return strange

    def mass_pairs(loss, class_weight, factor, logits, labels, weights, upstream, values, gradient):
        """Value and gradient of rows of two logits, for losses as in ``mass_rows``."""
        own, other = shared_masses(loss, labels)
        arguments = (loss, class_weight, factor, flat(logits), labels, own, other, weights, upstream, values)
        for_each(logits.shape[0], pair_of_masses, (*arguments, flat(gradient)), 8)

    def mass_rows(loss, class_weight, factor, logits, labels, weights, upstream, values, gradient):
        """Value and gradient of rows in which every class pays its label mass times -log p."""
        n = logits.shape[1]
        block = PIECE // n if n < LONG else 1
        e, t, paid = np.empty((block, n)), room_for_masses(loss, class_weight, labels, block, n), np.empty((block, n))
        largest, largest_class = np.empty(block), np.empty(block, np.int64)
        unit, odds, odds_low, log_p = np.empty(block), np.empty(block), np.empty(block), np.empty(block)
        of_largest, others, lost, mass = np.empty(block), np.empty(block), np.empty(block), np.empty(block)
        scale, pull = np.empty(block), np.empty(block)
        for first in range(0, logits.shape[0], block):
            last = min(first + block, logits.shape[0])
            z, y, rows = logits[first:last], labels[first:last], last - first
            m = largest_class[:rows]
            largest_classes(z, m, largest)
            odds_against(loss, z, m, e[:rows], unit, odds, odds_low)
            masses(loss, class_weight, y, t[:rows], m, n, of_largest, others, lost)
            for r in range(rows):
                finite = largest[r] > -math.inf and odds[r] < math.inf
                log_p[r], low, p_m, rest = largest_entry(loss, odds[r], odds_low[r])
                log_p[r] += low
                unit[r] *= p_m
                mass[r] = others[r] + of_largest[r] if finite else math.nan
                of_largest[r] = p_m * others[r] - of_largest[r] * rest
            for r in range(rows):
                scale[r] = row_scale(factor, weights, upstream, first + r)
                of_largest[r] = mass_times(scale[r], of_largest[r])
            if values is not None:
                pay(loss, class_weight, y, z, t[:rows], paid[:rows], m, largest, odds_low, lost)
                for r in range(rows):
                    value = odds_low[r] + lost[r] - mass_times(mass[r], log_p[r])
                    values[first + r] = weighted(weights, first + r, value)
            if gradient is not None:
                g = gradient[first:last]
                take_masses(loss, class_weight, y, e[:rows], t[:rows], mass, unit, pull, scale, g)
                for r in range(rows):
                    g[r, m[r]] = of_largest[r]
                    if mass[r] != mass[r]:
                        fill(g[r], mass_times(scale[r], math.nan))

    def hard_tempered_rows(loss, class_weight, factor, logits, labels, weights, upstream, values, gradient):
        """Value and gradient of rows under the tempered softmax, by their integer labels, in vector lanes.

        Returns how many rows have slopes that overflow, or nan; ``rows`` can do those.
        """
        arguments = (loss, class_weight, factor, logits, labels, weights, upstream, values, gradient)
        return hard_tempered(*arguments, None)

    def curved_tempered_rows(loss, class_weight, factor, logits, labels, weights, upstream, gradient, curvature):
        """Gradient as by ``hard_tempered_rows``, and Σ_k p_k ∂²ℓ/∂z² of labels k, in one pass."""
        arguments = (loss, class_weight, factor, logits, labels, weights, upstream, None, gradient)
        return hard_tempered(*arguments, curvature)

    def tempered_rows(loss, class_weight, factor, logits, labels, weights, upstream, values, gradient, hessian):
        """Value, gradient and Hessian diagonal of rows under the tempered softmax, without ``class_weight``, in lanes.

        Returns how many rows have derivatives that overflow, or nan; ``rows`` can do those.
        """
        n, t, strange = logits.shape[1], bare(core(loss)).t2, 0
        room = room_for_block(n)
        lanes, x, f1, _, f2, log_p, log_low, escort, escort_low, _, _, mass, mass_low = room
        depth, bends = x.shape[0] - 1, None if hessian is None else f2
        y, targets, largest = np.zeros(x.shape), np.empty((WIDTH // lanes, n)), np.empty(WIDTH, np.int64)
        f, f_low, f_m, rest = four_rows()
        others, low, everything, scale = four_rows()
        for first in range(0, logits.shape[0], WIDTH // lanes):
            last = min(first + WIDTH // lanes, logits.shape[0])
            m = largest[: last - first]
            solve(False, t, logits[first:last], room, m)
            deal_labels(loss, labels, first, m, lanes, targets, y)
            leave_out(m, n, lanes, log_p)
            pay_all(loss, log_p, log_low, y, f1, bends, f, f_low, f_m)
            if values is not None:
                share(f, f_low, lanes)
                for w in range(WIDTH):
                    f[w], error = two_sum(f[w], f_m[w])
                    error += f_low[w]
                    f[w] += error if error == error else 0.0  # an infinite sum has no error term
                for r in range(m.size):
                    values[first + r] = weighted(weights, first + r, f[r * lanes] if m[r] >= 0 else math.nan)
            if gradient is not None or hessian is not None:
                for r in range(m.size):
                    own = row_scale(factor, weights, upstream, first + r)
                    for w in range(r * lanes, (r + 1) * lanes):
                        scale[w], f_m[w] = own, mass_times(own, math.nan)
                share(mass, mass_low, lanes)
                close_escorts(escort, escort_low, mass, mass_low, rest)
                add_lines(f1, lanes, others, low, everything)
            if gradient is not None:
                derive_lines(gradient_entry, scale, escort, rest, f1, others, everything, x)
                unload(m, m, n, lanes, x, f_m, x[depth], gradient[first:last])
            if hessian is not None:
                bend_lines(t, log_p, log_low, escort, everything, f2)
                add_lines(f2, lanes, others, low, everything)
                derive_lines(bend_entry, scale, escort, rest, f2, others, everything, x)
                unload(m, m, n, lanes, x, f_m, x[depth], hessian[first:last])
            if gradient is not None or hessian is not None:
                for r in range(m.size):
                    strange += 0 if abs(everything[r * lanes]) < math.inf else 1
        return strange

    def rows(loss, class_weight, factor, logits, labels, weights, upstream, values, gradient, hessian):
        """Value, gradient and Hessian diagonal of any rows."""
        room = room_for(logits.shape[1])
        for i in range(logits.shape[0]):
            row(i, loss, class_weight, factor, logits, labels, weights, upstream, values, gradient, hessian, room)

    def short_rows(loss, class_weight, factor, logits, labels, weights, upstream, values, gradient, hessian):
        """Value, gradient and Hessian diagonal of rows of few classes."""
        n = logits.shape[1]
        width = max(TILE // n, 1)
        block = (n, width)  # arrays of one allocation would look like one to LLVM, and loops over two of them unsafe
        u, q, c, f = np.empty(block), np.empty(block), np.empty(block), np.empty(block)
        f1, f2, largest, rest = np.empty(block), np.empty(block), np.empty(width), np.empty(width)
        low, here, here_low, scale = np.empty(width), np.empty(width), np.empty(width), np.empty(width)
        largest_class = np.empty(width, np.int64)
        for first in range(0, logits.shape[0], width):
            last = min(first + width, logits.shape[0])
            z, y, m = logits[first:last], labels[first:last], largest_class[: last - first]
            softmax_columns(loss, z, u, q, c, m, rest, low, largest, here, here_low)
            class_terms_columns(loss, class_weight, y, low, u, q, c, f, f1, f2)
            for r in range(m.size):
                scale[r] = row_scale(factor, weights, upstream, first + r)
            if values is not None:
                sums_of_columns(loss, f, None, m.size, rest, low)
                for r in range(m.size):
                    values[first + r] = weighted(weights, first + r, rest[r] if m[r] >= 0 else math.nan)
            if gradient is not None:
                gradient_columns(loss, m, q, c, f1, scale, rest, low, gradient[first:last])
            if hessian is not None:
                hessian_diagonal_columns(loss, m, q, c, f1, f2, scale, largest, rest, low, hessian[first:last])

    def rows_hessian(loss, class_weight, factor, logits, labels, weights, upstream, hessian):
        """The full Hessian of every row."""
        room = room_for(logits.shape[1])
        for i in range(logits.shape[0]):
            row_hessian(i, loss, class_weight, factor, logits, labels, weights, upstream, hessian, room)

    def rows_hessian_vector(loss, class_weight, factor, logits, labels, weights, upstream, vectors, product):
        """The product of every row's Hessian with its vector."""
        room = room_for(logits.shape[1])
        for i in range(logits.shape[0]):
            row_hessian_vector(i, loss, class_weight, factor, logits, labels, weights, upstream, vectors, product, room)

    def rows_in_labels(loss, class_weight, factor, logits, labels, weights, upstream, values, gradient):
        """Value, and derivative in the label of every class."""
        room = room_for(logits.shape[1])
        for i in range(logits.shape[0]):
            row_in_labels(i, loss, class_weight, factor, logits, labels, weights, upstream, values, gradient, room)

    def rows_in_parameters(loss, class_weight, factor, logits, labels, weights, upstream, gradient):
        """Derivatives of every row's loss in the loss's parameters, one column each."""
        room, lost = room_for(logits.shape[1]), np.empty(gradient.shape[1])
        for i in range(logits.shape[0]):
            row_in_parameters(i, loss, class_weight, factor, logits, labels, weights, upstream, gradient, room, lost)

    def rows_in_class_weights(loss, factor, logits, labels, weights, upstream, gradient):
        """Derivatives of every row's loss in the weights of the classes: what each class pays."""
        room = room_for(logits.shape[1])
        for i in range(logits.shape[0]):
            row_in_class_weights(i, loss, factor, logits, labels, weights, upstream, gradient, room)

    def softmax(loss, logits, vectors, values, logarithms, product, log_product, pullback):
        """Softmax, its logarithm, and products of their Jacobians with the rows of ``vectors``."""
        room = room_for(logits.shape[1])
        for i in range(logits.shape[0]):
            softmax_of_row(i, loss, logits, vectors, values, logarithms, product, log_product, pullback, room)

    def tempered_probabilities(loss, logits, values):
        """Tempered softmax alone, in vector lanes."""
        n, narrow = logits.shape[1], is_narrow(logits)
        room = room_for_block(n)
        lanes, x, _, _, _, log_p, log_low, _, _, _, _, mass, _ = room
        largest = np.empty(WIDTH, np.int64)
        for first in range(0, logits.shape[0], WIDTH // lanes):
            last = min(first + WIDTH // lanes, logits.shape[0])
            m = largest[: last - first]
            solve(narrow, loss.t, logits[first:last], room, m)
            exponentials(log_p, log_low, x)
            fill(mass, math.nan)  # where there is no largest class
            unload(m, m, n, lanes, x, mass, x[x.shape[0] - 1], values[first:last])

    def tempered_softmax(loss, logits, vectors, normalizations, products, slopes):
        """What belongs to a tempered softmax: normaliser, products of its symmetric Jacobian, derivative in t."""
        room = room_for(logits.shape[1])
        for i in range(logits.shape[0]):
            tempered_softmax_of_row(i, loss, logits, vectors, None, normalizations, products, slopes, room)

    def first_illegal_class(labels, classes):
        """Return the first index whose label is not in [0, classes), or -1."""
        illegal = 0
        for i in range(labels.size):
            illegal += (labels[i] < 0) | (labels[i] >= classes)
        if illegal > 0:
            for i in range(labels.size):
                if labels[i] < 0 or labels[i] >= classes:
                    return i
        return -1

    def first_illegal_probability(labels, binary):
        """Return the first index whose label is outside [0, 1], or -1 if all are 0 or 1, else -2.

        With ``binary``, labels between 0 and 1 are illegal too; nan counts as legal.
        """
        outside, between = 0, 0
        for i in range(labels.size):
            outside += (labels[i] < 0.0) | (labels[i] > 1.0)
            between += (labels[i] > 0.0) & (labels[i] < 1.0)
        if outside > 0 or (binary and between > 0):
            for i in range(labels.size):
                if labels[i] < 0.0 or labels[i] > 1.0 or (binary and labels[i] > 0.0 and labels[i] < 1.0):
                    return i
        return -1 if between == 0 else -2

    def first_outside(x, low, high):
        """Return the first index of a number outside [low, high], or -1; nan passes."""
        outside = 0
        for i in range(x.size):
            outside += (x[i] < low) | (x[i] > high)
        if outside > 0:
            for i in range(x.size):
                if x[i] < low or x[i] > high:
                    return i
        return -1

    def first_unnormalized_row(labels, tolerance):
        """Return the first row whose sum is not 1, or -1; nan passes."""
        for i in range(labels.shape[0]):
            row_sum = 0.0
            for k in range(labels.shape[1]):
                row_sum += np.float64(labels[i, k])
            if abs(row_sum - 1.0) > tolerance:
                return i
        return -1

    def sum_of(values):
        """Return Σ values, rounded about once, in an order that threads do not change."""
        total, low = lane_sums(values)
        return total + low if low == low else total  # an infinite sum has no error term

    functions = {name: f for name, f in locals().items() if name != "stamp"}
    return SimpleNamespace(few=FEW, **{name: driver(f, stamp) for name, f in functions.items()})
