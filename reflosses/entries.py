"""What a driver does for one logit or one row, on any device: drivers only choose who does which.

A row is worked on in ``room``, six arrays of its length that a driver owns.  An output that is
``None`` costs nothing: Numba removes its branch and LLVM the arithmetic behind it.  Derivatives are
multiplied by ``factor * weights[i] * upstream[i]``, values by ``weights[i]`` alone; both arrays may
be ``None``.
"""

import math

import numpy as np

from . import tempered
from .dispatch import core, pointwise_parameters, slope_in_label
from .dispatch import pointwise as pointwise_kernel
from .geometry import (
    changed_label,
    class_terms,
    gradient_row,
    hessian_diagonal_row,
    hessian_row,
    hessian_vector_row,
    label_of_logit,
    label_slope,
    open_logit,
    open_row,
    pair_terms,
    parameter_slopes,
    pointwise_label_slope,
    pointwise_slopes_of_changes,
    positive_labels,
    positive_of_two,
    shared_slope,
    slopes_of_changes,
    terms,
)
from .rows import centered_row, fill, label, margin, per_class, softmax_row, total
from .rows import gradient_row as softmax_gradient_row
from .special import inline, mass_times, overload, two_sum


@inline
def row_scale(factor, weights, upstream, i):
    """Return what multiplies the derivatives of row or element i."""
    scale = factor
    if weights is not None:
        scale *= weights[i]
    if upstream is not None:
        scale *= upstream[i]
    return scale


@inline
def logit_and_label(logits, labels, i):
    """Return element i as two float64; a nan label makes the logit nan, which every kernel passes on."""
    if labels is None:
        return np.float64(logits[i]), 0.0
    y = np.float64(labels[i])
    return np.float64(logits[i]) + (y - y), y


@inline
def labelled(labels, i, n):
    """Whether no label of row i is nan."""
    doubt = 0.0
    for k in range(n):
        y = label(labels, i, k)
        doubt += y - y
    return doubt == 0.0


@inline
def weighted(weights, i, value):
    """Return the value of row or element i times its weight, 0 for weight 0."""
    if weights is None:
        return value
    return mass_times(weights[i], value)


def add_slopes(sums, lost, first, mass, slopes):
    """Add mass times each of a tuple of slopes to sums[j] + lost[j], j from ``first``."""
    for j in range(len(slopes)):
        sums[first + j], error = two_sum(sums[first + j], mass_times(mass, slopes[j]))
        lost[first + j] += error


@overload(add_slopes)
def _(sums, lost, first, mass, slopes):
    return add_slopes if len(slopes) else lambda sums, lost, first, mass, slopes: None  # () has no entry to type


@inline
def element(i, loss, factor, logits, labels, weights, upstream, values, gradient, hessian):
    """Value, gradient and second derivative of one logit."""
    z, y = logit_and_label(logits, labels, i)
    opened, (y, low) = open_logit(loss, z), label_of_logit(loss, y)
    opened_element(i, loss, factor, opened, 1.0, y, low, weights, upstream, values, gradient, hessian)


@inline
def opened_element(i, loss, factor, opened, turn, y, low, weights, upstream, values, gradient, hessian):
    """Value, gradient and second derivative of one logit, from what a kernel is asked with.

    ``turn`` is -1 where that is not of the logit but of its negative, and y the label of that.
    """
    value, slope, bend = pointwise_kernel(core(loss), opened, y, low)
    scale = row_scale(factor, weights, upstream, i)
    if values is not None:
        values[i] = weighted(weights, i, value)
    if gradient is not None:
        gradient[i] = mass_times(scale, turn * slope)
    if hessian is not None:
        hessian[i] = mass_times(scale, bend)


@inline
def pair_of_logits(i, loss, class_weight, factor, logits, labels, weights, upstream, values, gradient):
    """Value and gradient of a row of two logits with an integer label; arrays of rows come flat."""
    first = labels[i] == 0
    a, b = np.float64(logits[2 * i]), np.float64(logits[2 * i + 1])
    high, low = margin(loss, b if first else a, a if first else b)
    value, slope = pair_terms(loss, high, low, 2)
    w = per_class(class_weight, labels[i])
    if values is not None:
        values[i] = weighted(weights, i, mass_times(w, value))
    if gradient is not None:
        of_label = mass_times(row_scale(factor, weights, upstream, i), mass_times(w, slope))
        gradient[2 * i] = of_label if first else -of_label
        gradient[2 * i + 1] = -of_label if first else of_label


# ---- one logit, other derivatives ---------------------------------------------------------


@inline
def element_in_label(i, loss, factor, logits, labels, weights, upstream, values, gradient):
    """Value, and derivative in the label, of one logit."""
    z, y = logit_and_label(logits, labels, i)
    if values is not None:
        values[i] = weighted(weights, i, pointwise_kernel(core(loss), open_logit(loss, z), *label_of_logit(loss, y))[0])
    scale = row_scale(factor, weights, upstream, i)
    slope, mass = pointwise_label_slope(loss, z, y)
    slope = mass * slope_in_label(loss, y, 0.0, 2, positive_of_two(loss, y, 0.0), slope)
    gradient[i] = mass_times(scale, slope)


@inline
def element_in_parameters(i, loss, factor, logits, labels, weights, upstream, gradient, lost):
    """Derivatives of one logit's loss in the loss's parameters; ``lost`` is room for one of each."""
    z, y = logit_and_label(logits, labels, i)
    slopes = pointwise_parameters(core(loss), open_logit(loss, z), *label_of_logit(loss, y))
    changes, mass = pointwise_slopes_of_changes(loss, z, y)
    scale = row_scale(factor, weights, upstream, i)
    fill(gradient[i], 0.0)
    add_slopes(gradient[i], lost, 0, scale, slopes)
    add_slopes(gradient[i], lost, len(slopes), mass * scale, changes)


# ---- one row ------------------------------------------------------------------------------


@inline
def row(i, loss, class_weight, factor, logits, labels, weights, upstream, values, gradient, hessian, room):
    """Value, gradient and Hessian diagonal of any row."""
    u, q, c, f, f1, f2 = room
    scale = row_scale(factor, weights, upstream, i)
    m = open_row(loss, logits[i], u, q, c, f1, f2)
    lost = math.nan
    if m >= 0:
        lost = class_terms(loss, class_weight, labels, i, m, u, q, c, f, f1, f2)
    if values is not None:
        values[i] = weighted(weights, i, total(loss, f) + lost)
    if gradient is not None:
        if m >= 0:
            gradient_row(loss, m, u, q, c, f1, scale, gradient[i])
        else:
            fill(gradient[i], mass_times(scale, math.nan))
    if hessian is not None:
        if m >= 0:
            hessian_diagonal_row(loss, m, u, q, c, f1, f2, scale, hessian[i])
        else:
            fill(hessian[i], mass_times(scale, math.nan))


@inline
def row_hessian(i, loss, class_weight, factor, logits, labels, weights, upstream, hessian, room):
    """The full Hessian of a row."""
    u, q, c, f, f1, f2 = room
    scale = row_scale(factor, weights, upstream, i)
    m = open_row(loss, logits[i], u, q, c, f1, f2)
    if m >= 0:
        class_terms(loss, class_weight, labels, i, m, u, q, c, f, f1, f2)
        hessian_row(loss, m, u, q, c, f1, f2, scale, f, hessian[i])
    else:
        for k in range(logits.shape[1]):
            fill(hessian[i, k], mass_times(scale, math.nan))


@inline
def row_hessian_vector(i, loss, class_weight, factor, logits, labels, weights, upstream, vectors, product, room):
    """The product of a row's Hessian with its vector."""
    u, q, c, f, f1, f2 = room
    scale = row_scale(factor, weights, upstream, i)
    m = open_row(loss, logits[i], u, q, c, f1, f2)
    if m >= 0:
        class_terms(loss, class_weight, labels, i, m, u, q, c, f, f1, f2)
        hessian_vector_row(loss, m, u, q, c, f1, f2, vectors[i], scale, f, product[i])
    else:
        fill(product[i], mass_times(scale, math.nan))


@inline
def open_labelled_row(i, loss, logits, labels, room):
    """Fill u, q and c; return the largest class, or -1 for a row with a nan among logits or labels."""
    u, q, c, _, f1, f2 = room
    m = open_row(loss, logits[i], u, q, c, f1, f2)
    return m if labelled(labels, i, logits.shape[1]) else -1


@inline
def row_in_labels(i, loss, class_weight, factor, logits, labels, weights, upstream, values, gradient, room):
    """Value, and derivative in the label of every class."""
    n = logits.shape[1]
    u, q, c, f, f1, f2 = room
    scale = row_scale(factor, weights, upstream, i)
    m = open_labelled_row(i, loss, logits, labels, room)
    positive = positive_labels(loss, labels, i, n)
    for k in range(n):
        y, t = label(labels, i, k), changed_label(loss, labels, i, positive, k, n)
        slope = slope_in_label(loss, y, 0.0, n, positive, label_slope(loss, u[k], q[k], c[k], t, n))
        slope = mass_times(per_class(class_weight, k), slope)
        gradient[i, k] = mass_times(scale, slope if m >= 0 else math.nan)
    if values is not None:
        lost = math.nan
        if m >= 0:
            lost = class_terms(loss, class_weight, labels, i, m, u, q, c, f, f1, f2)
        values[i] = weighted(weights, i, total(loss, f) + lost)


@inline
def row_in_parameters(i, loss, class_weight, factor, logits, labels, weights, upstream, gradient, room, lost):
    """Derivatives of a row's loss in the loss's parameters; ``lost`` is room for one of each."""
    n = logits.shape[1]
    u, q, c, _, _, _ = room
    scale = row_scale(factor, weights, upstream, i)
    m = open_labelled_row(i, loss, logits, labels, room)
    positive = positive_labels(loss, labels, i, n)
    fill(gradient[i], 0.0)
    fill(lost, 0.0)
    for k in range(n):
        w, t = per_class(class_weight, k), changed_label(loss, labels, i, positive, k, n)
        slopes, mass = parameter_slopes(loss, u[k], q[k], c[k], t, n)
        changes = slopes_of_changes(loss, u[k], q[k], c[k], label(labels, i, k), n, positive)
        add_slopes(gradient[i], lost, 0, mass_times(w, mass), slopes)
        add_slopes(gradient[i], lost, len(slopes), w, changes)
    shared = shared_slope(loss, class_weight, labels, i, positive, u, q, c)
    gradient[i, len(slopes) - 1] += shared
    for j in range(gradient.shape[1]):
        slope = gradient[i, j] + (lost[j] if lost[j] == lost[j] else 0.0)  # infinite sums lose nothing
        gradient[i, j] = mass_times(scale, slope if m >= 0 else math.nan)


@inline
def row_in_class_weights(i, loss, factor, logits, labels, weights, upstream, gradient, room):
    """Derivatives of a row's loss in the weights of the classes: what each class pays."""
    n = logits.shape[1]
    u, q, c, _, _, _ = room
    scale = row_scale(factor, weights, upstream, i)
    m = open_labelled_row(i, loss, logits, labels, room)
    positive = positive_labels(loss, labels, i, n)
    for k in range(n):
        value, _, _ = terms(loss, u[k], q[k], c[k], changed_label(loss, labels, i, positive, k, n), n)
        gradient[i, k] = mass_times(scale, value if m >= 0 else math.nan)


# ---- transfer functions of one row --------------------------------------------------------


@inline
def copy(x, y):
    """Set x to y."""
    for k in range(x.size):
        x[k] = y[k]


@inline
def softmax_of_row(i, loss, logits, vectors, values, logarithms, product, log_product, pullback, room):
    """Softmax of a row, its logarithm, and products of their Jacobians with the row's vector."""
    u, q, c, centered, f1, _ = room
    m = softmax_row(loss, logits[i], u, q, c)
    if m < 0:
        fill(u, math.nan)
        fill(q, math.nan)
        fill(c, math.nan)
    if values is not None:
        copy(values[i], q)
    if logarithms is not None:
        copy(logarithms[i], u)
    if product is not None or log_product is not None:
        centered_row(max(m, 0), q, c, vectors[i], centered)
    if product is not None:
        for k in range(logits.shape[1]):
            product[i, k] = q[k] * centered[k]
    if log_product is not None:
        copy(log_product[i], centered)
    if pullback is not None:
        copy(f1, vectors[i])  # which is changed on the way
        softmax_gradient_row(loss, max(m, 0), u, q, c, f1, 1.0, pullback[i])


@inline
def tempered_softmax_of_row(i, loss, logits, vectors, values, normalizations, products, slopes, room):
    """Tempered softmax of a row, its normaliser, the product of its symmetric Jacobian, and its derivative in t."""
    u, q, c, p, f1, f2 = room
    m = tempered.open_row(loss, loss.t, logits[i], u, q, c, f1, f2)
    if m < 0:
        fill(u, math.nan)
        fill(q, math.nan)
    if values is not None:
        copy(values[i], q)
    if normalizations is not None:
        shift = tempered.shift(loss.t, u[max(m, 0)], c[max(m, 0)])
        normalizations[i] = np.float64(logits[i, max(m, 0)]) + shift
    if products is not None or slopes is not None:
        for k in range(logits.shape[1]):
            p[k] = tempered.power(loss, u[k], c[k], loss.t, 0.0)
            if slopes is not None:
                f1[k] = tempered.stretch(loss.t, u[k], c[k])
        tempered.close_terms(loss, loss.t, max(m, 0), u, q, c, None, None)
    if products is not None:
        centered_row(max(m, 0), q, c, vectors[i], u)
        for k in range(logits.shape[1]):
            products[i, k] = p[k] * u[k]
    if slopes is not None:
        centered_row(max(m, 0), q, c, f1, u)
        for k in range(logits.shape[1]):
            slopes[i, k] = p[k] * u[k]
