"""What must hold between losses and between verbs, whatever the numbers are."""

from typing import NamedTuple

import numpy as np
import pytest
from strategies import (
    ALL,
    OWN,
    PAIRS,
    USUAL,
    VERBS,
    arrays,
    bits,
    each_kind,
    paste,
    same,
    sample,
    takes_logits,
    weights_like,
)

import reflosses
from reflosses import (
    BinaryCrossEntropy,
    BinaryFocal,
    BinaryLabelSmoothing,
    BinaryProbabilityCrossEntropy,
    CategoricalFocal,
    ClassificationMAE,
    CrossEntropy,
    LabelSmoothing,
    OtherClassesSmoothing,
    ProbabilityCrossEntropy,
    RescaledProbabilityCrossEntropy,
    SigmoidFocal,
    SoftLabelSmoothing,
    SparseLSR,
    gradient,
    hessian,
    hessian_diagonal,
    parameter_gradient,
    value,
    value_and_gradient,
)
from reflosses.domain import Targets, is_loss
from reflosses.transfer import predicted

CLOSE = {"rtol": 4e-15, "atol": 0}
each_input = pytest.mark.parametrize("loss, kind", each_kind(ALL), ids=str)
usual_input = pytest.mark.parametrize("loss, kind", each_kind(USUAL), ids=str)

# Between losses -------------------------------------------------------------------------------

Z = np.array([-800.0, -37.5, -3.0, -1e-9, 0.0, 0.7, 16.7, 40.0, 1e4])
HARD = np.arange(Z.size) % 2 * 1.0
SOFT = np.linspace(0.0, 1.0, Z.size)
ROWS = np.array([[40.0, 0.0, -3.0], [1.0, 2.0, 3.0], [-800.0, 0.5, 0.25], [1e-9, 0.0, -1e-9]])
CLASSES = np.array([0, 2, 1, 1])
P = np.linspace(0.0, 0.75, Z.size)
SHARES = np.array([[0.5, 0.25, 0.25], [0.0, 0.0, 1.0], [0.125, 0.375, 0.5], [1.0, 0.0, 0.0]])


class Side(NamedTuple):
    """One side of an identity: a loss, its inputs or the logits they come from, what is done to (value, gradient)."""

    loss: tuple
    logits: np.ndarray
    labels: np.ndarray
    then: object = lambda value, gradient: (value, gradient)


def scaled(weight):
    return lambda value, gradient: (weight * value, np.reshape(weight, (-1,) + (1,) * (gradient.ndim - 1)) * gradient)


def margin(z):
    """Return rows of two classes whose difference is z."""
    return np.stack([np.zeros_like(z), z], axis=1)


def one_hot(classes):
    return np.eye(3)[classes]


def pairs(y):
    """Return the rows of two labels that labels of single logits stand for."""
    return np.stack([1 - y, y], axis=1)


def of_second(value, gradient):
    """Leave of rows of two classes the derivative in the margin."""
    return value, gradient[:, 1]


def not_likely(value, gradient):
    """Return 2 (1 - p) and its gradient from -log p and its own."""
    return -2 * np.expm1(-value), 2 * np.exp(-value)[:, None] * gradient


def difference(value, gradient):
    """Leave of rows of 1 - p and p the derivative in p."""
    return value, gradient[:, 1] - gradient[:, 0]


def scaled_gradient(factor):
    return lambda value, gradient: (value, factor * gradient)


INNER = [loss for loss in USUAL if not any(map(is_loss, loss))]  # what may stand within a change of labels
OF_ROWS = [loss for loss in INNER if loss.targets is Targets.CLASSES]
OF_LOGITS = [loss for loss in INNER if loss.targets is Targets.PROBABILITY]

# name: the two sides, equal to the bit or (close) to a few ulps
IDENTITIES = {
    "focal without focus and balance is binary cross entropy": (
        "close",
        Side(SigmoidFocal(0.0, None), Z, HARD),
        Side(BinaryCrossEntropy(), Z, HARD),
    ),
    "focal without focus is binary cross entropy, weighted": (
        "close",
        Side(SigmoidFocal(0.0, 0.3), Z, HARD),
        Side(BinaryCrossEntropy(), Z, HARD, scaled(np.where(HARD == 1, 0.3, 0.7))),
    ),
    "an even balance halves": (
        "equal",
        Side(SigmoidFocal(2.0, 0.5), Z, HARD),
        Side(SigmoidFocal(2.0, None), Z, HARD, scaled(0.5)),
    ),
    "focal on the other label is its mirror image": (
        "equal",
        Side(SigmoidFocal(1.7, None), -Z, 1 - HARD),
        Side(SigmoidFocal(1.7, None), Z, HARD, lambda value, gradient: (value, -gradient)),
    ),
    "pos_weight multiplies the positives": (
        "close",
        Side(BinaryCrossEntropy(3.0), Z, HARD),
        Side(BinaryCrossEntropy(), Z, HARD, scaled(np.where(HARD == 1, 3.0, 1.0))),
    ),
    "binary cross entropy of the other label is its mirror image": (
        "equal",
        Side(BinaryCrossEntropy(), -Z, 1 - SOFT),
        Side(BinaryCrossEntropy(), Z, SOFT, lambda value, gradient: (value, -gradient)),
    ),
    "two classes are one margin, hard": (
        "close",
        Side(CrossEntropy(), margin(Z), HARD.astype(int), of_second),
        Side(BinaryCrossEntropy(), Z, HARD),
    ),
    "two classes are one margin, soft": (
        "close",
        Side(CrossEntropy(), margin(Z), pairs(SOFT)),
        Side(BinaryCrossEntropy(), Z, SOFT, lambda value, gradient: (value, np.stack([-gradient, gradient], axis=1))),
    ),
    "classes are one-hot rows": (
        "close",
        Side(CrossEntropy(), ROWS, CLASSES),
        Side(CrossEntropy(), ROWS, one_hot(CLASSES)),
    ),
    "smoothed classes are smoothed one-hot rows": (
        "equal",
        Side(LabelSmoothing(), ROWS, CLASSES),
        Side(LabelSmoothing(), ROWS, one_hot(CLASSES)),
    ),
    "no smoothing is cross entropy": (
        "equal",
        Side(LabelSmoothing(CrossEntropy(), 0.0), ROWS, SHARES),
        Side(CrossEntropy(), ROWS, SHARES),
    ),
    "no smoothing is cross entropy, weighted": (
        "equal",
        Side(LabelSmoothing(CrossEntropy((0.5, 2.0, 1.0)), 0.0), ROWS, SHARES),
        Side(CrossEntropy((0.5, 2.0, 1.0)), ROWS, SHARES),
    ),
    **{
        f"smoothing smooths the labels of {loss}": (
            "close",
            Side(LabelSmoothing(loss, 0.25), ROWS, CLASSES),
            Side(loss, ROWS, 0.75 * one_hot(CLASSES) + 0.25 / 3),
        )
        for loss in OF_ROWS
    },
    **{
        f"binary smoothing smooths the labels of {loss}": (
            "close",
            Side(BinaryLabelSmoothing(loss, 0.25), Z, SOFT),
            Side(loss, Z, 0.75 * SOFT + 0.125),
        )
        for loss in OF_LOGITS
    },
    **{
        f"smoothing to the others smooths the labels of {loss} by more": (
            "close",
            Side(OtherClassesSmoothing(loss, 0.25), ROWS, SHARES),
            Side(LabelSmoothing(loss, 0.375), ROWS, SHARES),
        )
        for loss in OF_ROWS
    },
    **{
        f"soft smoothing of classes is smoothing, {loss}": (
            "close",
            Side(SoftLabelSmoothing(loss, 0.25), ROWS, CLASSES),
            Side(LabelSmoothing(loss, 0.25), ROWS, CLASSES),
        )
        for loss in OF_ROWS
    },
    "soft smoothing takes the same from every positive label": (
        "close",
        Side(SoftLabelSmoothing(CrossEntropy(), 0.5), ROWS, SHARES),
        Side(CrossEntropy(), ROWS, np.array([[12, 6, 6], [4, 4, 16], [4, 9, 12], [16, 4, 4]]) / 24),
    ),
    "two smoothings are one": (
        "close",
        Side(LabelSmoothing(LabelSmoothing(CrossEntropy(), 0.5), 0.25), ROWS, SHARES),
        Side(LabelSmoothing(CrossEntropy(), 0.625), ROWS, SHARES),
    ),
    "soft smoothing counts the labels that it is given": (
        "close",
        Side(LabelSmoothing(SoftLabelSmoothing(CrossEntropy(), 0.75), 0.375), ROWS, CLASSES),
        Side(CrossEntropy(), ROWS, 0.5 * one_hot(CLASSES) + 0.25),
    ),
    "smoothing within soft smoothing": (
        "close",
        Side(SoftLabelSmoothing(LabelSmoothing(CrossEntropy(), 0.5), 0.25), ROWS, CLASSES),
        Side(LabelSmoothing(CrossEntropy(), 0.625), ROWS, CLASSES),
    ),
    "binary smoothing is smoothing of two classes": (
        "close",
        Side(BinaryLabelSmoothing(BinaryCrossEntropy(), 0.25), Z, SOFT),
        Side(LabelSmoothing(CrossEntropy(), 0.25), margin(Z), pairs(SOFT), of_second),
    ),
    "soft focal of hard labels is sigmoid focal": (
        "close",
        Side(BinaryFocal(1.7, 0.3), Z, HARD),
        Side(SigmoidFocal(1.7, 0.3), Z, HARD),
    ),
    "soft focal without focus is binary cross entropy": (
        "close",
        Side(BinaryFocal(0.0, None), Z, SOFT),
        Side(BinaryCrossEntropy(), Z, SOFT),
    ),
    "soft focal of the other label is its mirror image": (
        "equal",
        Side(BinaryFocal(1.7, 0.25), -Z, 1 - SOFT),
        Side(BinaryFocal(1.7, 0.75), Z, SOFT, lambda value, gradient: (value, -gradient)),
    ),
    "focal of two classes is focal of the margin": (
        "close",
        Side(CategoricalFocal(1.7), margin(Z), HARD.astype(int), of_second),
        Side(SigmoidFocal(1.7, None), Z, HARD),
    ),
    "categorical focal without focus is cross entropy": (
        "close",
        Side(CategoricalFocal(0.0), ROWS, SHARES),
        Side(CrossEntropy(), ROWS, SHARES),
    ),
    "categorical focal without focus is cross entropy, weighted": (
        "close",
        Side(CategoricalFocal(0.0, (0.5, 2.0, 1.0)), ROWS, CLASSES),
        Side(CrossEntropy((0.5, 2.0, 1.0)), ROWS, CLASSES),
    ),
    "sparse smoothing by nothing is cross entropy": (
        "close",
        Side(SparseLSR(0.0), ROWS, SHARES),
        Side(CrossEntropy(), ROWS, SHARES),
    ),
    "sparse smoothing of two classes is smoothing": (
        "close",
        Side(SparseLSR(0.25), margin(Z), HARD.astype(int)),
        Side(LabelSmoothing(CrossEntropy(), 0.25), margin(Z), HARD.astype(int)),
    ),
    "the absolute error of a class is twice what its probability lacks": (
        "close",
        Side(ClassificationMAE(), ROWS, CLASSES),
        Side(CrossEntropy(), ROWS, CLASSES, not_likely),
    ),
    "a probability is the second of a row of two": (
        "close",
        Side(BinaryProbabilityCrossEntropy(0.05), P, SOFT, lambda value, gradient: (value, gradient)),
        Side(ProbabilityCrossEntropy(0.05), np.stack([1 - P, P], 1), pairs(SOFT), difference),
    ),
    "a number added to a probability that is clipped": (
        "close",
        Side(BinaryProbabilityCrossEntropy(0.0, 0.25), P, np.ones(9)),
        Side(
            ProbabilityCrossEntropy(),
            P[:, None] + 0.25,
            np.zeros(9, int),
            lambda value, gradient: (value, gradient[:, 0]),
        ),
    ),
    "shares do not feel a common factor": (
        "equal",
        Side(RescaledProbabilityCrossEntropy(0.05), SHARES + 0.5, SHARES),
        Side(RescaledProbabilityCrossEntropy(0.05), (SHARES + 0.5) * 2.0**-700, SHARES, scaled_gradient(2.0**-700)),
    ),
    "shares do not feel a factor that overflows": (
        "close",
        Side(RescaledProbabilityCrossEntropy(), SHARES + 0.5, CLASSES),
        Side(RescaledProbabilityCrossEntropy(), (SHARES + 0.5) * 1e308, CLASSES, scaled_gradient(1e308)),
    ),
    "weights of one are no weights": (
        "equal",
        Side(CrossEntropy((1.0, 1.0, 1.0)), ROWS, SHARES),
        Side(CrossEntropy(), ROWS, SHARES),
    ),
    "the class's weight multiplies its rows": (
        "close",
        Side(CrossEntropy((0.5, 2.0, 3.0)), ROWS, CLASSES),
        Side(CrossEntropy(), ROWS, CLASSES, scaled(np.array([0.5, 2.0, 3.0])[CLASSES])),
    ),
}


def predictions(side):
    """Return the inputs of a side: of a loss of probabilities, what it gets from a model if logits are given."""
    return side.logits if (side.logits >= 0).all() else predicted(side.loss, side.logits)


@pytest.mark.parametrize("how, left, right", IDENTITIES.values(), ids=IDENTITIES)
def test_losses_agree(how, left, right):
    results = [
        side.then(*value_and_gradient(side.loss, predictions(side), side.labels, normalized=False))
        for side in (left, right)
    ]
    for a, b in zip(*results, strict=True):
        if how == "equal":
            assert np.array_equal(a, b)
        else:
            cancels = [
                ((side.labels > 0) & (side.labels < 1)).any() or any(map(is_loss, side.loss)) for side in (left, right)
            ]
            tiny = 4e-16 * any(cancels)
            assert np.allclose(a, b, rtol=4e-15, atol=tiny)


# Between verbs --------------------------------------------------------------------------------


@usual_input
def test_verbs_alone_and_in_pairs_give_the_same_bits(loss, kind):
    logits, labels = sample(loss, rows=12, kind=kind)
    single = {verb: bits(f(loss, logits, labels)) for verb, f in VERBS.items()}
    for pair, f in PAIRS.items():
        first, second = pair.split("_and_")
        head, tail = f(loss, logits, labels)
        assert bits(tail) == single[second], pair
        if pair == "value_and_gradient":
            assert bits(head) == single[first]
        else:  # what rows of classes need alone has a quicker driver, which cancels in other places
            alone = VERBS[first](loss, logits, labels)
            size = np.abs(alone).max(axis=1, keepdims=True) if alone.ndim == 2 else np.abs(alone)
            assert (np.abs(head - alone) <= CLOSE["rtol"] * size).all(), pair


@each_input
def test_the_hessian_is_symmetric_and_holds_its_diagonal(loss, kind):
    logits, labels = sample(loss, rows=12, kind=kind)
    if not loss.targets.rows:
        assert bits(hessian(loss, logits, labels)) == bits(hessian_diagonal(loss, logits, labels))
        return
    matrices = hessian(loss, logits, labels)
    assert np.allclose(matrices, matrices.swapaxes(1, 2), rtol=1e-13, atol=0)
    assert np.array_equal(np.diagonal(matrices, axis1=1, axis2=2), hessian_diagonal(loss, logits, labels))
    if takes_logits(loss):
        assert np.abs(matrices.sum(axis=2)).max() < 1e-15


@pytest.mark.parametrize("epsilon", [0.0, 0.05])
@pytest.mark.parametrize("kind", [0, 1])
def test_shares_are_homogeneous(epsilon, kind):
    """A function of p/Σp has g·p = 0 and H p = -g."""
    loss = RescaledProbabilityCrossEntropy(epsilon)
    p, labels = sample(loss, rows=12, kind=kind, scale=1.0)
    p = p * np.linspace(0.1, 7, 12)[:, None]
    slopes, matrices = gradient(loss, p, labels), hessian(loss, p, labels)
    assert np.allclose((slopes * p).sum(axis=1), 0, atol=1e-15)
    assert np.allclose(np.einsum("rij,rj->ri", matrices, p), -slopes, rtol=1e-12, atol=1e-14)
    product = reflosses.hessian_vector_product(loss, p, labels, p)
    assert np.allclose(product, -slopes, rtol=1e-12, atol=1e-14)


@each_input
def test_the_hessian_times_a_vector(loss, kind):
    logits, labels = sample(loss, rows=12, kind=kind)
    vector = weights_like(logits)
    product = reflosses.hessian_vector_product(loss, logits, labels, vector)
    matrices = hessian(loss, logits, labels)
    expected = np.einsum("rij,rj->ri", matrices, vector) if loss.targets.rows else matrices * vector
    terms = np.abs(matrices).max(initial=1.0)
    assert np.allclose(product, expected, rtol=1e-13, atol=1e-15 * terms)


# Symmetries of rows ---------------------------------------------------------------------------

row_input = pytest.mark.parametrize("loss, kind", [pair for pair in each_kind(ALL) if pair[0].targets.rows], ids=str)
row_of_logits = pytest.mark.parametrize(
    "loss, kind", [pair for pair in each_kind(ALL) if pair[0].targets.rows and takes_logits(pair[0])], ids=str
)


@row_of_logits
def test_rows_do_not_feel_a_shift(loss, kind):
    logits, labels = sample(loss, rows=12, kind=kind)
    logits = np.round(logits * 64) / 64  # exact sums
    for verb, f in VERBS.items():
        for shift in 1.0, -1024.0, 2.0**40:
            moved, still = (arrays(f(loss, z, labels)) for z in (logits + shift, logits))
            assert all(np.allclose(a, b, rtol=1e-13, atol=1e-16) for a, b in zip(moved, still, strict=True)), verb


@row_of_logits
def test_gradients_sum_to_zero(loss, kind):
    logits, labels = sample(loss, rows=12, kind=kind, scale=8.0)
    slopes = gradient(loss, logits, labels)
    assert (np.abs(slopes.sum(axis=1)) <= 1e-15 * np.abs(slopes).sum(axis=1)).all()


@row_input
def test_classes_may_change_places(loss, kind):
    logits, labels = sample(loss, rows=12, kind=kind)
    order = np.array([2, 0, 1])
    moved = permuted(loss, order)
    labels_moved = labels[:, order] if labels.ndim == 2 else np.argsort(order)[labels]
    for verb in "value", "gradient", "hessian_diagonal", "label_gradient":
        there = VERBS[verb](moved, logits[:, order], labels_moved)
        here = VERBS[verb](loss, logits, labels)
        here = here[:, order] if here.ndim == 2 else here
        assert np.allclose(there, here, rtol=1e-13, atol=1e-15), verb


def permuted(loss, order):
    """Return a loss with its weights of the classes in another order."""
    fields = [
        permuted(x, order) if hasattr(x, "_fields") else tuple(np.take(x, order)) if isinstance(x, tuple) else x
        for x in loss
    ]
    return type(loss)(*fields)


# Weights, upstream, reductions ----------------------------------------------------------------


def times(scale, array):
    return np.reshape(scale, (-1,) + (1,) * (array.ndim - 1)) * array


@usual_input
@pytest.mark.parametrize("verb", OWN)
def test_weights_and_upstream_multiply(loss, kind, verb):
    logits, labels = sample(loss, rows=12, kind=kind)
    weight, upstream = np.linspace(0.25, 3.0, 12), np.linspace(-1.0, 2.0, 12)
    f = VERBS.get(verb) or PAIRS[verb]
    plain = arrays(f(loss, logits, labels))
    result = arrays(f(loss, logits, labels, weight=weight, upstream=upstream))
    for k, (a, b) in enumerate(zip(result, plain, strict=True)):
        is_value = verb == "value_and_gradient" and k == 0
        assert np.allclose(a, times(weight if is_value else weight * upstream, b), **CLOSE), paste(
            loss, logits, labels, verb
        )


@usual_input
@pytest.mark.parametrize("verb", OWN)
def test_reductions_reduce(loss, kind, verb):
    logits, labels = sample(loss, rows=12, kind=kind)
    weight, upstream = np.linspace(0.25, 3.0, 12), np.linspace(-1.0, 2.0, 12)
    f = VERBS.get(verb) or PAIRS[verb]
    plain = arrays(f(loss, logits, labels, weight=weight, upstream=upstream))
    for reduction, share in {"sum": 1.0, "mean": 1 / 12, "weighted_mean": 1 / weight.sum()}.items():
        result = f(loss, logits, labels, weight=weight, upstream=upstream, reduction=reduction)
        for k, (a, b) in enumerate(zip(arrays(result), plain, strict=True)):
            summed = verb == "parameter_gradient" or (verb == "value_and_gradient" and k == 0)
            assert np.allclose(a, share * (b.sum(axis=0) if summed else b), rtol=1e-13, atol=1e-15), (reduction, verb)


@usual_input
def test_an_unweighted_weighted_mean_is_the_mean(loss, kind):
    logits, labels = sample(loss, rows=12, kind=kind)
    for f in (VERBS | PAIRS).values():
        weighted, plain = (f(loss, logits, labels, reduction=reduction) for reduction in ("weighted_mean", "mean"))
        assert same(weighted, plain)


@usual_input
def test_upstream_is_the_chain_rule(loss, kind):
    """The gradient of Σ ℓ² is that of Σ ℓ with upstream 2 ℓ."""
    logits, labels = sample(loss, rows=12, kind=kind, scale=1.0)
    values, slopes = value_and_gradient(loss, logits, labels)
    chained = gradient(loss, logits, labels, upstream=2 * values, weight=1.0)
    assert np.allclose(chained, times(2 * values, slopes), **CLOSE)
    step = 1e-6 * weights_like(logits)
    squares = [(value(loss, logits + sign * step, labels) ** 2).sum() for sign in (1, -1)]
    assert np.isclose((squares[0] - squares[1]) / 2, (chained * step).sum(), rtol=1e-7)


@pytest.mark.parametrize("loss", ALL, ids=repr)
def test_parameter_gradients_come_in_the_shape_of_the_loss(loss):
    logits, labels = sample(loss, rows=5)
    slopes = parameter_gradient(loss, logits, labels)

    def compare(slope, field):
        assert (slope is None) == (field is None)
        if hasattr(field, "_fields"):
            assert type(slope) is type(field)
            for pair in zip(slope, field, strict=True):
                compare(*pair)
        elif field is not None:
            assert slope.shape == (5, *np.shape(field))

    compare(slopes, loss)


@pytest.mark.parametrize("loss", USUAL, ids=repr)
def test_values_beside_label_gradients_are_the_values(loss):
    logits, labels = sample(loss)
    weight = np.linspace(0.5, 2, len(logits))
    beside, _ = reflosses.value_and_gradient(loss, logits, labels, weight=weight, wrt="labels")
    np.testing.assert_allclose(beside, reflosses.value(loss, logits, labels, weight=weight), rtol=1e-14)


def test_at_a_kink_an_absolute_value_has_no_slope():
    for wrt in "logits", "labels":
        assert not gradient(reflosses.ClassificationMAE(), [[0.0, 0.0]], [[0.5, 0.5]], wrt=wrt).any()
