"""Rows in which every class pays its label mass times -log p: soft or smoothed cross entropy.

With the masses t_k, weights and smoothing included, T = Σ t_k and the largest class m,

    ℓ = T log(1 + r) + Σ_{k≠m} t_k (z_m - z_k),        r = Σ_{k≠m} exp(z_k - z_m),
    ∂ℓ/∂z_k = p_k T - t_k,

where no term of ℓ is negative, and to subtract t_k costs no digits that the masses have not cost
already, since p_k <= 1/2.  For the largest class ∂ℓ/∂z_m = p_m Σ_{k≠m} t_k - t_m (1 - p_m).

Where labels are classes, and classes have no weights, all but the label have the same mass: t[r] then
is that of any other class of row r, and the label is put right afterwards.

Rows of two classes need no sums: with x = z_0 - z_1 and p = σ(x),

    ℓ = (t_0 + t_1) log(1 + exp(-|x|)) + t_{1-m} |x|,        ∂ℓ/∂z_0 = t_1 p - t_0 (1 - p) = -∂ℓ/∂z_1.
"""

import numpy as np
from numba import types

from .dispatch import relabelled
from .entries import row_scale, weighted
from .geometry import changed_label, positive_labels
from .odds import TINY, add_sums
from .rows import argmax, margin, per_class
from .special import exp_parts, inline, log1p_unit_parts, mass_times, overload
from .vectors import distance_rows, subtract_rows

FEW = 16  # classes that are compared one after the other as quick as in vectors


@inline
def largest_classes(z, m, largest):
    """Fill m with the largest class of every row, and its logit; rows of nan get any."""
    for r in range(m.size):
        if z.shape[1] < FEW:
            best, here = 0, z[r, 0]
            for k in range(1, z.shape[1]):
                best, here = (k, z[r, k]) if z[r, k] > here else (best, here)
        else:
            best = argmax(z[r])
        m[r], largest[r] = best, z[r, best]


# ---- masses of every class, or of one for all ----------------------------------------------


def _by_evenness(even):
    """Give a function of (loss, class_weight, labels, …) a body for labels that are classes without weights."""

    def decorate(function):
        @overload(function)
        def _(loss, class_weight, labels, *arguments):
            return even if labels.ndim == 1 and class_weight in (None, types.none) else function

        return function

    return decorate


@inline
def masses_of_classes(loss, labels, n):
    """Return what a label that is a class counts, and what every other class does, without their weights."""
    positive = positive_labels(loss, labels, 0, n)  # of one label, whichever it is
    return relabelled(loss, 1.0, 0.0, n, positive)[0], relabelled(loss, 0.0, 0.0, n, positive)[0]


@_by_evenness(lambda loss, class_weight, labels, block, n: np.full(block, masses_of_classes(loss, labels, n)[1]))
def room_for_masses(loss, class_weight, labels, block, n):
    """Return room for the masses of a block of rows."""
    return np.empty((block, n))


def _even_masses(loss, class_weight, labels, t, m, n, of_largest, others, lost):
    own, other = masses_of_classes(loss, labels, n)
    for r in range(m.size):
        of_largest[r] = own if labels[r] == m[r] else other
        others[r] = (n - 1) * other if labels[r] == m[r] else own + (n - 2) * other
        lost[r] = 0.0


@_by_evenness(_even_masses)
def masses(loss, class_weight, labels, t, m, n, of_largest, others, lost):
    """Fill t[r, k] with what class k counts, but 0 for the largest, which has its own, and Σ t = others + lost."""
    rows = m.size
    fill_masses(loss, class_weight, labels, t)
    for r in range(rows):
        of_largest[r], t[r, m[r]], others[r], lost[r] = t[r, m[r]], 0.0, 0.0, 0.0
    add_sums(loss, t.reshape(t.size), n, others, lost)
    for r in range(rows):
        others[r] += lost[r]


def fill_masses(loss, class_weight, labels, t):
    """Fill t[r, k] with what class k of row r counts: its changed label times its weight."""
    rows, n = t.shape
    for r in range(rows):
        positive = positive_labels(loss, labels, r, n)
        for k in range(n):
            t[r, k] = mass_times(per_class(class_weight, k), changed_label(loss, labels, r, positive, k, n))


def _fill_masses_of_classes(loss, class_weight, labels, t):
    rows, n = t.shape
    own, other = masses_of_classes(loss, labels, n)
    for r in range(rows):
        for k in range(n):
            t[r, k] = mass_times(class_weight[k], other)
        t[r, labels[r]] = mass_times(class_weight[labels[r]], own)


@overload(fill_masses)
def _(loss, class_weight, labels, t):
    return fill_masses if labels.ndim == 2 else _fill_masses_of_classes


def _correct_label(loss, class_weight, labels, z, m, largest, paid):
    own, _ = masses_of_classes(loss, labels, z.shape[1])
    for r in range(m.size):
        paid[r, labels[r]] = mass_times(own, largest[r] - z[r, labels[r]])
        paid[r, m[r]] = 0.0


@_by_evenness(_correct_label)
def correct_label(loss, class_weight, labels, z, m, largest, paid):
    """Put right what the label and the largest class pay, where all classes have one mass."""
    return None


@inline
def pay(loss, class_weight, labels, z, t, paid, m, largest, sums, errors):
    """Set sums + errors to Σ_k t_k (z_m - z_k) of every row; ``paid`` is room for the terms."""
    for r in range(m.size):
        sums[r], errors[r] = 0.0, 0.0
    distance_rows(t, largest, z, paid)
    correct_label(loss, class_weight, labels, z, m, largest, paid)
    add_sums(loss, paid.reshape(paid.size), z.shape[1], sums, errors)
    for r in range(m.size):
        errors[r] = errors[r] if errors[r] == errors[r] else 0.0  # an infinite sum has no error term


def _even_mass_of(loss, class_weight, labels, t, r, k, n):
    own, other = masses_of_classes(loss, labels, n)
    return own if labels[r] == k else other


@_by_evenness(_even_mass_of)
def mass_of(loss, class_weight, labels, t, r, k, n):
    """Return what class k of row r counts."""
    return t[r, k]


def _slope_of_label(loss, class_weight, labels, e, t, pull, scale, g):
    own, _ = masses_of_classes(loss, labels, e.shape[1])
    for r in range(e.shape[0]):
        g[r, labels[r]] = scale[r] * (e[r, labels[r]] * pull[r] - own)


@_by_evenness(_slope_of_label)
def slope_of_label(loss, class_weight, labels, e, t, pull, scale, g):
    """Put right the slope of the label, where all classes have one mass."""
    return None


@inline
def take_masses(loss, class_weight, labels, e, t, mass, unit, pull, scale, g):
    """Fill g with scale · (mass · unit · e - t); the largest class has a formula of its own."""
    n = e.shape[1]
    for r in range(e.shape[0]):
        pull[r] = mass[r] * unit[r]
    subtract_rows(e, pull, t, scale, g)
    slope_of_label(loss, class_weight, labels, e, t, pull, scale, g)
    for r in range(e.shape[0]):
        if abs(pull[r]) < TINY and scale[r] != 0.0:  # large exponentials would show the digits it lost
            for k in range(n):
                own = mass_of(loss, class_weight, labels, t, r, k, n)
                g[r, k] = scale[r] * (mass[r] * (unit[r] * e[r, k]) - own)


# ---- two classes ---------------------------------------------------------------------------


def shared_masses(loss, labels):
    """Return what labels that are classes count in every row, own and other; nothing of other labels."""
    return 0.0, 0.0


@overload(shared_masses)
def _(loss, labels):
    return shared_masses if labels.ndim == 2 else lambda loss, labels: masses_of_classes(loss, labels, 2)


def masses_of_pair(loss, labels, i, own, other):
    """Return what both classes of row i count, without their weights."""
    positive = positive_labels(loss, labels, i, 2)
    return changed_label(loss, labels, i, positive, 0, 2), changed_label(loss, labels, i, positive, 1, 2)


def _masses_of_labelled_pair(loss, labels, i, own, other):
    return (own, other) if labels[i] == 0 else (other, own)


@overload(masses_of_pair)
def _(loss, labels, i, own, other):
    return masses_of_pair if labels.ndim == 2 else _masses_of_labelled_pair


@inline
def pair_terms(x, low, t_0, t_1):
    """Return the value of a row whose logits are x + low apart, and its slope in the first of them."""
    above = x > 0.0
    e, e_low = exp_parts(-abs(x), -low if above else low)
    tail, tail_low = log1p_unit_parts(e, e_low)
    larger = 1.0 / (1.0 + e)
    smaller = e * larger
    away, both = t_1 if above else t_0, t_0 + t_1
    far = both * tail_low + mass_times(away, low if above else -low)
    value = mass_times(away, abs(x)) + (both * tail + far)
    return value, t_1 * larger - t_0 * smaller if above else t_1 * smaller - t_0 * larger


@inline
def pair_of_masses(i, loss, class_weight, factor, logits, labels, own, other, weights, upstream, values, gradient):
    """Value and gradient of a row of two logits, each of which pays its mass; arrays of rows come flat."""
    high, low = margin(loss, np.float64(logits[2 * i]), np.float64(logits[2 * i + 1]))
    t_0, t_1 = masses_of_pair(loss, labels, i, own, other)
    t_0, t_1 = mass_times(per_class(class_weight, 0), t_0), mass_times(per_class(class_weight, 1), t_1)
    value, slope = pair_terms(high, low, t_0, t_1)
    if values is not None:
        values[i] = weighted(weights, i, value)
    if gradient is not None:
        of_first = mass_times(row_scale(factor, weights, upstream, i), slope)
        gradient[2 * i] = of_first
        gradient[2 * i + 1] = -of_first
