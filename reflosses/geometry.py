"""From logits to what every class pays and back: one set of functions for each contract.

Drivers call these six functions of a row, and each loss is answered by the module of its contract:
``rows`` for functions of u = log p under softmax, ``one_against_rest`` for functions of the log-odds,
``tempered`` for functions of u = log_t p under the tempered softmax, ``probabilities`` for functions of
log p where p is given, or made of what is given by a division.  Between ``open_row`` and the
rest the arrays u, q and c hold what the contract's kernel is asked with.
"""

import math

from . import one_against_rest as rest
from . import probabilities, rows, tempered
from .dispatch import (
    LINEAR,
    bare,
    by_change_of_labels,
    by_contract,
    change_slopes,
    chosen_by,
    classwise,
    classwise_label,
    classwise_parameters,
    core,
    counts_positive,
    of_probability,
    of_probability_parameters,
    one_against_rest,
    one_against_rest_parameters,
    pointwise_label,
    relabel,
    relabelled,
    takes_logits,
    tempered_label,
    tempered_parameters,
    within,
)
from .dispatch import tempered as tempered_kernel
from .rows import label, per_class
from .special import inline, mass_times, product

# ---- one class ----------------------------------------------------------------------------


@by_contract(
    given=lambda loss, u, q, c, n: of_probability(core(loss), u, q, 1.0 - q),
    rescaled=lambda loss, u, q, c, n: of_probability(core(loss), u, q, tempered.complement(loss, u, 0.0, q)),
)
def per_label(loss, u, q, c, n):
    """Return what a whole label of a class pays, and its two derivatives, where a part of it pays that part."""
    return one_against_rest(core(loss), u, c, n)


@by_contract(
    given=lambda loss, u, q, c, n: of_probability_parameters(core(loss), u, q, 1.0 - q),
    rescaled=lambda loss, u, q, c, n: of_probability_parameters(core(loss), u, q, tempered.complement(loss, u, 0.0, q)),
)
def parameters_per_label(loss, u, q, c, n):
    """Return the derivatives of what a whole label of a class pays in the parameters."""
    return one_against_rest_parameters(core(loss), u, c, n)


def linear(body):
    """Return the bodies, for ``by_contract``, of what every label pays a part of."""
    return dict.fromkeys(LINEAR, body)


def _terms_of_label(loss, u, q, c, y, n):
    value, slope, bend = per_label(loss, u, q, c, n)
    return mass_times(y, value), mass_times(y, slope), mass_times(y, bend)


def _exact_terms_of_label(loss, w, u, q, c, y, n):
    value, slope, bend = per_label(loss, u, q, c, n)
    mass, mass_low = product(w, y)
    value = value if mass != 0.0 else 0.0
    paid, error = product(mass, value)
    low = error + mass_low * value if abs(paid) < math.inf else 0.0
    return paid, low, mass_times(mass, slope), mass_times(mass, bend)


def _tempered_terms(loss, u, q, c, y, n):
    return tempered_kernel(core(loss), u, c, q, tempered.complement(loss, u, c, q), y)


@by_contract(**linear(_terms_of_label), tempered=_tempered_terms)
def terms(loss, u, q, c, y, n):
    """Return what a class with the changed label y pays, and its two derivatives."""
    return classwise(core(loss), u, q, c, y, n)


@by_contract(**linear(_exact_terms_of_label))
def weighted_terms(loss, w, u, q, c, y, n):
    """Return what a class with the weight w pays, with the rounding error that is known of it, and its derivatives."""
    value, slope, bend = terms(loss, u, q, c, y, n)
    return mass_times(w, value), 0.0, mass_times(w, slope), mass_times(w, bend)


def _tempered_label_slope(loss, u, q, c, y, n):
    return tempered_label(core(loss), u, c, q, tempered.complement(loss, u, c, q), y)


@by_contract(
    **linear(lambda loss, u, q, c, y, n: per_label(loss, u, q, c, n)[0]),
    tempered=_tempered_label_slope,
)
def label_slope(loss, u, q, c, y, n):
    """Return the derivative of what a class pays in its changed label."""
    return classwise_label(core(loss), u, q, c, y, n)


def _tempered_parameter_slopes(loss, u, q, c, y, n):
    return tempered_parameters(core(loss), u, c, q, tempered.complement(loss, u, c, q), y), 1.0


@by_contract(
    **linear(lambda loss, u, q, c, y, n: (parameters_per_label(loss, u, q, c, n), y)),
    tempered=_tempered_parameter_slopes,
)
def parameter_slopes(loss, u, q, c, y, n):
    """Return the derivatives of what a class pays in the parameters, and what multiplies them."""
    return classwise_parameters(core(loss), u, q, c, y, n), 1.0


def _slopes_of_changes(loss, u, q, c, y, n, positive):
    slope = label_slope(loss, u, q, c, relabelled(loss, y, 0.0, n, positive)[0], n)
    return change_slopes(loss, y, 0.0, n, positive, slope)


@by_change_of_labels(_slopes_of_changes)
def slopes_of_changes(loss, u, q, c, y, n, positive):
    """Return the derivatives of what a class pays in the parameters of the changes of its label."""
    return ()


@by_contract(tempered_pair=lambda loss, z: tempered.sides(z, *tempered.pair(z, bare(core(loss)).t2)))
def open_logit(loss, z):
    """Return what a pointwise kernel is asked with: the logit, or its two classes."""
    return z


def _label_slope_at(loss, p, y):
    return pointwise_label(core(loss), p, *label_of_logit(loss, y)), 1.0


@chosen_by(takes_logits, {False: _label_slope_at})
def pointwise_label_slope(loss, z, y):
    """Return the derivative of a logit's loss in its changed label, and what multiplies it.

    A slope that overflows at a finite logit is taken nearer, where it is as linear: what multiplies
    it, or the slope of the change, may bring it back.
    """
    y, low = label_of_logit(loss, y)
    slope = pointwise_label(core(loss), open_logit(loss, z), y, low)
    if abs(slope) == math.inf and abs(z) < math.inf:
        return pointwise_label(core(loss), open_logit(loss, z / 4096.0), y, low), 4096.0
    return slope, 1.0


def _pointwise_slopes_of_changes(loss, z, y):
    slope, mass = pointwise_label_slope(loss, z, y)
    return change_slopes(loss, y, 0.0, 2, positive_of_two(loss, y, 0.0), slope), mass


@by_change_of_labels(_pointwise_slopes_of_changes)
def pointwise_slopes_of_changes(loss, z, y):
    """Return the derivatives of a logit's loss in the parameters of its label's changes, and what multiplies them."""
    return (), 1.0


# ---- labels that change -------------------------------------------------------------------


def _of_two(loss, y, low):
    count = (1.0 if y > 0.0 else 0.0) + (1.0 if (1.0 - y) - low > 0.0 else 0.0)
    return (count, *positive_of_two(within(loss), *relabel(loss, y, low, 2, count)))


@by_change_of_labels(_of_two)
def positive_of_two(loss, y, low):
    """Return how many of the labels y + low and 1 - y - low are above 0 before each change, outermost first."""
    return ()


@inline
def label_of_logit(loss, y):
    """Return the changed label of a logit as high + low."""
    return relabelled(loss, y, 0.0, 2, positive_of_two(loss, y, 0.0))


def _count(change, loss, positive, labels, row, n):
    count = 0.0
    for k in range(n):
        count += 1.0 if relabelled(loss, label(labels, row, k), 0.0, n, positive)[0] > 0.0 else 0.0
    return count


@chosen_by(counts_positive, {True: _count})
def positive_before(change, loss, positive, labels, row, n):
    """Return how many labels of a row are above 0 before a change, ``positive`` of those around it; 0 unless asked."""
    return 0.0


def _counts(change, loss, positive, labels, row, n):
    count = positive_before(change, loss, positive, labels, row, n)
    return _each_count(within(change), loss, (*positive, count), labels, row, n)


@by_change_of_labels(_counts)
def _each_count(change, loss, positive, labels, row, n):
    return positive


@inline
def positive_labels(loss, labels, row, n):
    """Return how many labels of a row are above 0 before each change that asks for it, outermost first."""
    return _each_count(loss, loss, (), labels, row, n)


# ---- one row ------------------------------------------------------------------------------


def _open_tempered_row(loss, z, u, q, c, x, x_low):
    return tempered.open_row(loss, bare(core(loss)).t2, z, u, q, c, x, x_low)


@by_contract(
    one_against_rest=lambda loss, z, u, q, c, x, x_low: rest.open_row(loss, z, u, q, c),
    tempered=_open_tempered_row,
    given=lambda loss, z, u, q, c, x, x_low: probabilities.open_given_row(loss, z, u, q, c),
    rescaled=lambda loss, z, u, q, c, x, x_low: probabilities.open_row(loss, z, u, q, c),
)
def open_row(loss, z, u, q, c, x, x_low):
    """Fill what the kernels are asked with; return the largest class, or -1 for a row of nan.

    x and x_low are room to work in.
    """
    return rows.softmax_row(loss, z, u, q, c)


def _close_tempered_terms(loss, m, u, q, c, f1, f2):
    tempered.close_terms(loss, bare(core(loss)).t2, m, u, q, c, f1, f2)


@by_contract(
    one_against_rest=rest.close_terms,
    tempered=_close_tempered_terms,
    given=probabilities.close_given_terms,
    rescaled=probabilities.close_terms,
)
def close_terms(loss, m, u, q, c, f1, f2):
    """Leave in u, q, c, f1 and f2 what the derivatives of the row are made of."""
    return None


@inline
def changed_label(loss, labels, row, positive, k, n):
    """Return the label of class k after all changes."""
    return relabelled(loss, label(labels, row, k), 0.0, n, positive)[0]


@inline
def class_terms(loss, class_weight, labels, row, m, u, q, c, f, f1, f2):
    """Fill what every class pays, F, and its two derivatives; return what the sum of F loses by rounding them."""
    n, lost = u.size, 0.0
    positive = positive_labels(loss, labels, row, n)
    for k in range(n):
        w, y = per_class(class_weight, k), changed_label(loss, labels, row, positive, k, n)
        f[k], low, f1[k], f2[k] = weighted_terms(loss, w, u[k], q[k], c[k], y, n)
        lost += low
    close_terms(loss, m, u, q, c, f1, f2)
    return lost


def _temperature_slope(loss, class_weight, labels, row, positive, u, q, c):
    t, n, mean, mass = bare(core(loss)).t2, u.size, 0.0, 0.0
    for k in range(n):
        escort = tempered.power(loss, u[k], c[k], t, 0.0)
        mass += escort
        mean += mass_times(escort, tempered.stretch(t, u[k], c[k]))
    total, low = 0.0, 0.0
    for k in range(n):
        y = changed_label(loss, labels, row, positive, k, n)
        slope = mass_times(per_class(class_weight, k), terms(loss, u[k], q[k], c[k], y, n)[1])
        total, low = rows.add(loss, total, low, mass_times(slope, tempered.stretch(t, u[k], c[k]) - mean / mass))
    return total + low


@by_contract(tempered=_temperature_slope)
def shared_slope(loss, class_weight, labels, row, positive, u, q, c):
    """Return the derivative in the last parameter that p itself depends on, at fixed logits; else 0."""
    return 0.0


@by_contract(
    one_against_rest=rest.gradient_row,
    given=probabilities.given_gradient_row,
    rescaled=probabilities.gradient_row,
)
def gradient_row(loss, m, u, q, c, f1, scale, out):
    """Fill scale · ∇ℓ."""
    rows.gradient_row(loss, m, u, q, c, f1, scale, out)


@by_contract(
    one_against_rest=rest.hessian_diagonal_row,
    given=probabilities.given_hessian_diagonal_row,
    rescaled=probabilities.hessian_diagonal_row,
)
def hessian_diagonal_row(loss, m, u, q, c, f1, f2, scale, out):
    """Fill scale · diag ∇²ℓ."""
    rows.hessian_diagonal_row(loss, m, u, q, c, f1, f2, scale, out)


@by_contract(
    one_against_rest=rest.hessian_row,
    given=probabilities.given_hessian_row,
    rescaled=probabilities.hessian_row,
)
def hessian_row(loss, m, u, q, c, f1, f2, scale, diagonal, out):
    """Fill scale · ∇²ℓ."""
    rows.hessian_row(loss, m, u, q, c, f1, f2, scale, diagonal, out)


@by_contract(
    one_against_rest=rest.hessian_vector_row,
    given=probabilities.given_hessian_vector_row,
    rescaled=probabilities.hessian_vector_row,
)
def hessian_vector_row(loss, m, u, q, c, f1, f2, vector, scale, centered, out):
    """Fill scale · ∇²ℓ v."""
    rows.hessian_vector_row(loss, m, u, q, c, f1, f2, vector, scale, centered, out)


# ---- a row with a hard label --------------------------------------------------------------


def _hard_against_rest(loss, odds, odds_low, n):
    log_odds, low = rest.log_parts(loss, odds, odds_low)
    value, slope, _ = one_against_rest(core(loss), -log_odds, -low, n)
    return value, slope, slope


@by_contract(one_against_rest=_hard_against_rest)
def hard_terms(loss, odds, odds_low, n):
    """Return what a label pays at the odds against it, its slope g_y, and the others' -g_k in ``unit``s of ``odds``."""
    q = rows.share_of_one(odds, odds_low)
    c = odds * q
    value, slope, _ = classwise(loss, -rows.log1p_parts(loss, odds, odds_low)[0], q, c, 1.0, n)
    return value, c * slope, slope * q


def _pair_against_rest(loss, high, low, n):
    value, slope, _ = one_against_rest(core(loss), -high, -low, n)
    return value, slope


@by_contract(one_against_rest=_pair_against_rest)
def pair_terms(loss, high, low, n):
    """Return what a label of n classes pays, and its slope, where the others' odds are exp(high + low)."""
    c, q, tail = rows.logistic(loss, high, low)
    u = -((high if high > 0.0 else 0.0) + (tail + (low if high > 0.0 else 0.0)))
    value, slope, _ = classwise(loss, u, q, c, 1.0, n)
    return value, c * slope
