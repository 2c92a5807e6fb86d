"""Rows in which every class pays its label mass times -log p: soft or smoothed cross entropy.

With the masses t_k, weights and smoothing included, T = Σ t_k and the largest class m,

    ℓ = T log(1 + r) + Σ_{k≠m} t_k (z_m - z_k),        r = Σ_{k≠m} exp(z_k - z_m),
    ∂ℓ/∂z_k = p_k T - t_k,

where no term of ℓ is negative, and to subtract t_k costs no digits that the masses have not cost
already, since p_k <= 1/2.  For the largest class ∂ℓ/∂z_m = p_m Σ_{k≠m} t_k - t_m (1 - p_m).
"""

from numba.extending import overload

from .dispatch import relabelled
from .geometry import changed_label, positive_labels
from .odds import add_sums
from .rows import argmax, fill, per_class
from .special import inline, mass_times
from .vectors import distance_rows

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


@inline
def masses(loss, class_weight, labels, t, m, of_largest, others, lost):
    """Fill t[r, k] with what class k counts, but 0 for the largest, which has its own, and Σ t = others + lost."""
    rows, n = t.shape
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
    positive = positive_labels(loss, labels, 0, n)  # of one label, whichever it is
    other, _ = relabelled(loss, 0.0, 0.0, n, positive)
    own, _ = relabelled(loss, 1.0, 0.0, n, positive)
    if class_weight is None:
        fill(t.reshape(t.size), other)
    else:
        for r in range(rows):
            for k in range(n):
                t[r, k] = mass_times(class_weight[k], other)
    for r in range(rows):
        t[r, labels[r]] = mass_times(per_class(class_weight, labels[r]), own)


@overload(fill_masses, jit_options={"forceinline": True})
def _(loss, class_weight, labels, t):
    return fill_masses if labels.ndim == 2 else _fill_masses_of_classes


@inline
def pay(loss, z, t, paid, largest, sums, errors):
    """Set sums + errors to Σ_k t_k (z_m - z_k) of every row; ``paid`` is room for the terms."""
    for r in range(t.shape[0]):
        sums[r], errors[r] = 0.0, 0.0
    distance_rows(t, largest, z, paid)
    add_sums(loss, paid.reshape(paid.size), z.shape[1], sums, errors)
    for r in range(t.shape[0]):
        errors[r] = errors[r] if errors[r] == errors[r] else 0.0  # an infinite sum has no error term
