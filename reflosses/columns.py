"""Blocks of rows of few classes, transposed: what ``rows`` does, for many rows at a time.

Short loops over classes waste a vector processor; here every inner loop runs over rows.  A block
lies in arrays [class, row], and what a row has one of in arrays [row].
"""

import math

from .geometry import changed_label, positive_labels, terms
from .rows import (
    add,
    exp_difference,
    gradient_entry,
    hessian_entry,
    largest_entry,
    per_class,
    softmax_entry,
)
from .special import inline, mass_times


@inline
def kept(x, m, k, r):
    """Return x[k, r], or 0 for k = m[r]."""
    if m is None:
        return x[k, r]
    return 0.0 if m[r] == k else x[k, r]


@inline
def parts_of_columns(loss, x, m, rows, total, low):
    """Fill Σ_k x[k, r] = total + low, without k = m[r] unless m is ``None``."""
    for r in range(rows):
        total[r], low[r] = 0.0, 0.0
    for k in range(x.shape[0]):
        for r in range(rows):
            total[r], low[r] = add(loss, total[r], low[r], kept(x, m, k, r))
    for r in range(rows):
        low[r] = low[r] if low[r] == low[r] else 0.0  # an infinite sum has no error term


@inline
def sums_of_columns(loss, x, m, rows, total, low):
    """Fill Σ_k x[k, r], rounded, without k = m[r] unless m is ``None``."""
    parts_of_columns(loss, x, m, rows, total, low)
    for r in range(rows):
        total[r] += low[r]


@inline
def sums_around(loss, x, m, others, everything):
    """Fill Σ_{k≠m} x[k, r], and the same with k = m."""
    sums_of_columns(loss, x, m, m.size, others, everything)
    for r in range(m.size):
        everything[r] = others[r] + x[max(m[r], 0), r]


@inline
def without(x, m, others, everything, j, r):
    """Return Σ_{k≠j} x[k, r]: where j is the largest class, not by subtraction."""
    return others[r] if m[r] == j else everything[r] - x[j, r]


@inline
def softmax_columns(loss, z, u, q, c, m, rest, low, largest, here, here_low):
    """Fill u = log p, q = p, c = 1 - p and the largest classes m, -1 for rows of nan."""
    n, rows = z.shape[1], m.size
    for k in range(n):
        for r in range(rows):
            u[k, r] = z[r, k]
    for r in range(rows):
        largest[r], m[r] = u[0, r], 0
    for k in range(1, n):
        for r in range(rows):
            greater = u[k, r] > largest[r]
            largest[r] = u[k, r] if greater else largest[r]
            m[r] = k if greater else m[r]
    for k in range(n):
        for r in range(rows):
            q[k, r] = exp_difference(loss, u[k, r], largest[r])
    parts_of_columns(loss, q, m, m.size, rest, low)
    for r in range(rows):
        m[r] = m[r] if largest[r] > -math.inf and rest[r] < math.inf else -1
        here[r], here_low[r], low[r], rest[r] = largest_entry(loss, rest[r], low[r])
    for k in range(n):
        for r in range(rows):
            entry, p, not_p = softmax_entry(u[k, r], largest[r], q[k, r], low[r], here[r], here_low[r])
            mine = m[r] == k
            u[k, r] = here[r] if mine else entry
            q[k, r] = low[r] if mine else p
            c[k, r] = rest[r] if mine else not_p


@inline
def class_terms_columns(loss, class_weight, labels, y, u, q, c, f, f1, f2):
    """Fill what every class pays, F, and its two derivatives in u; y is a row's worth of room."""
    n, rows = u.shape[0], labels.shape[0]
    for k in range(n):
        w = per_class(class_weight, k)
        for r in range(rows):
            y[r] = changed_label(loss, labels, r, positive_labels(loss, labels, r, n), k, n)
        for r in range(rows):
            value, slope, bend = terms(loss, u[k, r], q[k, r], c[k, r], y[r], n)
            f[k, r], f1[k, r], f2[k, r] = mass_times(w, value), mass_times(w, slope), mass_times(w, bend)


@inline
def gradient_columns(loss, m, q, c, f1, scale, others, everything, out):
    """Fill scale · ∇ℓ."""
    sums_around(loss, f1, m, others, everything)
    for k in range(out.shape[1]):
        for r in range(m.size):
            slope = gradient_entry(q[k, r], c[k, r], f1[k, r], without(f1, m, others, everything, k, r))
            out[r, k] = mass_times(scale[r], slope if m[r] >= 0 else math.nan)


@inline
def hessian_diagonal_columns(loss, m, q, c, f1, f2, scale, slopes, others, everything, out):
    """Fill scale · diag ∇²ℓ."""
    sums_of_columns(loss, f1, None, m.size, slopes, everything)
    sums_around(loss, f2, m, others, everything)
    for k in range(out.shape[1]):
        for r in range(m.size):
            bend = hessian_entry(q[k, r], c[k, r], f2[k, r], without(f2, m, others, everything, k, r), slopes[r])
            out[r, k] = mass_times(scale[r], bend if m[r] >= 0 else math.nan)
