"""SPEC's table of edges, row by row, on every loss and every verb."""

import math
import re

import ml_dtypes
import numpy as np
import pytest
from strategies import (
    ALL,
    ALL_VERBS,
    CASES,
    CLASSES,
    DTYPES,
    OWN,
    PAIRS,
    USUAL,
    VERBS,
    arrays,
    bits,
    corners,
    each_kind,
    holes,
    layouts,
    paste,
    same,
    sample,
    takes_logits,
    weights_like,
)

from reflosses import (
    BinaryProbabilityCrossEntropy,
    CrossEntropy,
    LabelSmoothing,
    OtherClassesSmoothing,
    ProbabilityCrossEntropy,
    RescaledProbabilityCrossEntropy,
    SparseLSR,
    hessian_vector_product,
    value,
    value_and_gradient,
)
from reflosses.domain import Targets, classes_of, is_loss, parameters, predictions
from reflosses.losses import LOSSES
from reflosses.oracle import certify
from reflosses.transfer import predicted

INF, NAN = math.inf, math.nan
ROWS = [loss for loss in USUAL if loss.targets.rows]
SINGLE = [loss for loss in USUAL if not loss.targets.rows]
OF_LOGITS = [loss for loss in ALL if takes_logits(loss)]
OF_PROBABILITIES = [loss for loss in ALL if not takes_logits(loss)]

each_loss = pytest.mark.parametrize("loss", USUAL, ids=repr)
each_verb = pytest.mark.parametrize("verb", OWN)
every_verb = pytest.mark.parametrize("verb", ALL_VERBS)  # where no call is answered: nothing is compiled
each_input = pytest.mark.parametrize("loss, kind", each_kind(USUAL), ids=str)


def run(verb, loss, logits, labels, **options):
    return ALL_VERBS[verb](loss, logits, labels, **options)


def least_classes(loss):
    """Return how many classes a loss, or a loss within it, needs."""
    return max([getattr(loss, "least_classes", 1), *(least_classes(field) for field in loss if is_loss(field))])


def row(result, i):
    """Return the bits of one row of every array of a result."""
    return [array[i].tobytes() for array in arrays(result)]


# Infinite and nan logits ----------------------------------------------------------------------


@each_verb
@each_input
@pytest.mark.parametrize("hole", [NAN, INF, -INF])
def test_a_row_that_has_no_answer_is_nan_and_no_other_row_changes(loss, kind, verb, hole):
    logits, labels = sample(loss, kind=kind)
    clean = run(verb, loss, logits, labels)
    logits[1] = hole
    if math.isinf(hole) and not (loss.targets.rows and takes_logits(loss)):
        return
    result = run(verb, loss, logits, labels)
    for i in (0, 2, 3):
        assert row(result, i) == row(clean, i), paste(loss, logits, labels, verb)
    assert all(np.isnan(array[1]).all() for array in arrays(result)), paste(loss, logits, labels, verb)


@each_verb
@each_input
def test_one_nan_is_enough(loss, kind, verb):
    logits, labels = sample(loss, kind=kind)
    clean = run(verb, loss, logits, labels)
    for place in "logits", "labels":
        z, y = logits.copy(), labels.astype(np.float64)
        {"logits": z, "labels": y}[place][(1, 0) if (z if place == "logits" else y).ndim == 2 else 1] = NAN
        result = run(verb, loss, z, y)
        for i in (0, 2, 3):
            assert row(result, i) == row(clean, i), paste(loss, z, y, verb)
        assert all(np.isnan(array[1]).all() for array in arrays(result)), paste(loss, z, y, verb)


@pytest.mark.parametrize("loss", [corner for loss in LOSSES for corner in corners(loss)], ids=repr)
def test_at_the_ends_of_the_parameters_domains(loss):
    logits, labels = sample(loss, rows=6, scale=20.0 if takes_logits(loss) else 5.0)  # none of them rounds to 1
    for verb in OWN:
        assert all(np.isfinite(array).all() for array in arrays(run(verb, loss, logits, labels))), verb
    logits[(1, 0) if logits.ndim == 2 else 1] = NAN
    for verb in OWN:
        assert all(np.isnan(array[1]).all() for array in arrays(run(verb, loss, logits, labels))), verb


@each_verb
@pytest.mark.parametrize("loss, kind", each_kind([loss for loss in ROWS if takes_logits(loss)]), ids=str)
def test_an_infinite_logit_is_the_limit(loss, kind, verb):
    logits, labels = sample(loss, kind=kind)
    for k in range(logits.shape[1]):
        logits[:, k] = INF
        result = run(verb, loss, logits, labels)
        logits[:, k] = 1e300
        agree_with_limit(verb, result, run(verb, loss, logits, labels), paste(loss, logits, labels, verb))
        logits[:, k] = 0.0


@each_verb
@pytest.mark.parametrize("loss", [loss for loss in OF_LOGITS if not loss.targets.rows], ids=repr)
def test_an_infinite_single_logit_is_the_limit(loss, verb):
    labels = np.array([0.0, 1.0])
    for sign in 1, -1:
        result = run(verb, loss, [sign * INF] * 2, labels)
        far = np.array([sign * 1e300] * 2)
        agree_with_limit(verb, result, run(verb, loss, far, labels), paste(loss, far, labels, verb))


def agree_with_limit(verb, result, far, line):
    for at_infinity, nearby in zip(arrays(result), arrays(far), strict=True):
        limit = np.where(np.abs(nearby) > 1e250, np.copysign(INF, nearby), nearby)
        if verb == "parameter_gradient":  # Σ over classes, which documents that ∞ - ∞ is nan
            limit = np.where(np.isinf(limit) & np.isnan(at_infinity), np.nan, limit)
        # heavy tails are 1e-80 away from where they lead
        assert np.allclose(at_infinity, limit, rtol=0, atol=1e-70, equal_nan=True), line


@pytest.mark.parametrize("loss, kind", each_kind([loss for loss in ROWS if takes_logits(loss)]), ids=str)
def test_two_infinite_logits_have_no_answer(loss, kind):
    logits, labels = sample(loss, kind=kind)
    logits[2, :2] = INF
    for verb in OWN:
        for array in arrays(run(verb, loss, logits, labels)):
            assert np.isnan(array[2]).all() and np.isfinite(array[[0, 1, 3]]).all(), verb


@pytest.mark.parametrize("loss", [loss for loss in ALL if loss.targets.rows], ids=repr)
@pytest.mark.parametrize("labels", [0, [0.25, 0.0, 0.75]], ids=["class", "probabilities"])
def test_a_masked_class_without_mass_is_absent(loss, labels):
    logits = predicted(loss, [1.0, -INF, 2.0])
    [expected] = (float(x) for x in certify(loss, logits, labels))
    assert value(loss, logits, labels) == pytest.approx(expected, rel=1e-14)
    if math.isinf(expected):
        return  # the loss itself gives every class mass
    for verb in "gradient", "hessian_diagonal":
        result = run(verb, loss, logits, labels)
        # shares of a sum feel all that is added to it
        assert np.isfinite(result).all() and (result[1] == 0 or predictions(loss).high > 1 and not takes_logits(loss))
    matrix = run("hessian", loss, logits, labels)
    assert np.isfinite(matrix).all() and (result[1] != 0 or not matrix[1].any() and not matrix[:, 1].any())
    assert np.isfinite(run("hessian_vector_product", loss, logits, labels)).all()


@pytest.mark.parametrize("loss", [loss for loss in ALL if loss.targets.rows], ids=repr)
@pytest.mark.parametrize("labels", [1, [0.25, 0.25, 0.5]], ids=["class", "probabilities"])
def test_mass_on_a_masked_class_costs_infinity_or_all_that_a_bounded_loss_can(loss, labels):
    masked, lost, seen = (predicted(loss, np.array([1.0, z, 2.0])) for z in (-INF, -1e30, 0.0))
    [expected] = (float(x) for x in certify(loss, masked, labels))
    [far] = (float(x) for x in certify(loss, lost, labels))
    assert expected == INF and far > 1e4 or far == pytest.approx(expected, rel=1e-7)  # tails may be heavy
    assert value(loss, masked, labels) == pytest.approx(expected, rel=1e-14)
    values, slopes = value_and_gradient(loss, [masked, seen], [labels] * 2)
    assert values[0] == pytest.approx(expected, rel=1e-14) and np.isfinite(values[1])
    assert np.isfinite(slopes[1]).all() and (math.isinf(expected) or np.isfinite(slopes[0]).all())


# Probabilities --------------------------------------------------------------------------------


def illegal(loss):
    """Return probabilities that a loss does not take."""
    return [-1.0, np.nextafter(0.0, -1.0), -INF, INF] + [1.5, np.nextafter(1.0, 2.0)] * (predictions(loss).high == 1)


@pytest.mark.parametrize("loss", OF_PROBABILITIES, ids=repr)
@pytest.mark.parametrize("verb", OWN)
def test_illegal_probabilities_are_named_before_anything_is_computed(loss, verb):
    clean, labels = sample(loss)
    for wrong in illegal(loss):
        logits = clean.copy()
        logits.ravel()[3:] = wrong
        place = "logits[1, 0]" if loss.targets.rows else "logits[3]"
        message = re.escape(f"{place} = {np.float64(wrong)} must be in {predictions(loss)}")
        for _ in range(2):  # the second call might be a quick one
            run(verb, loss, clean, labels)
            with pytest.raises(ValueError, match=message):
                run(verb, loss, logits, labels)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("loss", OF_PROBABILITIES, ids=repr)
def test_certain_probabilities_are_the_limit(loss, dtype):
    """p = 0 costs a label infinity, and slopes as far as the clip lets them; p = 1 costs it nothing but the clip."""
    end = loss.epsilon
    added = getattr(loss, "added", 0.0)
    costs = -np.log(end + added) if end + added else INF
    nearly = -np.log1p(added - end)
    rows = loss.targets.rows
    p = np.array([[0.0, 1.0], [-0.0, 1.0], [1.0, 0.0]] if rows else [0.0, -0.0, 1.0]).astype(dtype)
    labels = np.zeros(3, int) if rows else np.ones(3, dtype)
    expected = np.array([costs, costs, nearly]).astype(dtype)
    np.testing.assert_allclose(value(loss, p, labels), expected, rtol=float(ml_dtypes.finfo(dtype).eps), atol=0)
    slopes, bends = run("gradient_and_hessian_diagonal", loss, p, labels)
    own = (slopes[:, 0], bends[:, 0]) if rows else (slopes, bends)
    if end > 0:
        assert not slopes.any() and not bends.any()
        return
    assert (own[0][:2] == -INF).all() and (own[1][:2] == INF).all()
    assert own[0][2] == (0 if predictions(loss).high > 1 else -1)


def test_the_ends_of_a_clip_belong_to_the_inside():
    for loss in BinaryProbabilityCrossEntropy(0.25), ProbabilityCrossEntropy(0.25):
        given = [0.25, 0.75, 0.2, 0.8]
        logits, labels = (np.array([given]), np.ones((1, 4))) if loss.targets.rows else (given, np.ones(4))
        slopes = np.ravel(run("gradient", loss, logits, labels, normalized=False))
        assert np.array_equal(slopes, [-4, -1 / 0.75, 0, 0])


def test_a_row_of_zeros_has_no_shares():
    for verb in OWN:
        result = run(verb, RescaledProbabilityCrossEntropy(), [[0.0, 0.0], [1.0, 3.0]], [0, 1])
        for array in arrays(result):
            assert np.isnan(array[0]).all() and np.isfinite(array[1]).all(), verb


# Labels ---------------------------------------------------------------------------------------


def illegal_labels(loss):
    """Yield (labels that no loss of these targets takes, index, value) for 2 by 2 batches."""
    n = classes_of(loss, CLASSES)
    classes = np.zeros((2, 2) if loss.targets.rows else (2, 2, n))
    wrong = [-1, 1.5, INF, -INF, *([n, 2**40] if loss.targets.rows else [2, -0.25])]
    wrong += [0.5] if loss.targets is Targets.BINARY else []
    for x in wrong:
        y = classes.copy()
        y[1, 0], y[1, 1] = x, x
        yield y, "labels[1, 0" + (", 0]" if y.ndim == 3 else "]"), x
    if loss.targets.rows:
        for x in 1.25, -0.25, INF:
            y = np.zeros((2, 2, n))
            y[..., 0] = 1.0
            y[1, 0, 1] = y[1, 1, 1] = x
            yield y, "labels[1, 0, 1]", x


@each_verb
@each_loss
def test_illegal_labels_are_named_before_anything_is_computed(loss, verb):
    n = classes_of(loss, CLASSES)
    logits = np.zeros((2, 2, n))
    fitting = [np.full_like(array, 7.0) for array in arrays(run(verb, loss, logits, legal_labels(loss, logits)))]
    for labels, place, wrong in illegal_labels(loss):
        out = None if verb == "parameter_gradient" else tuple(fitting) if verb in PAIRS else fitting[0]
        with pytest.raises(ValueError, match=re.escape(place)) as error:
            run(verb, loss, logits, labels, out=out)
        assert f" = {wrong} must be" in str(error.value) or f" = {float(wrong)} must be" in str(error.value)
        assert all((array == 7.0).all() for array in fitting)


@pytest.mark.parametrize("weights", [[0.5, 2.0, 1.0], np.array([0.5, 2.0, 1.0])], ids=["list", "array"])
def test_class_weights_may_be_what_cannot_be_hashed(weights):
    logits, labels = np.zeros((2, 3)), np.array([1, 0])
    expected = value(CrossEntropy((0.5, 2.0, 1.0)), logits, labels)
    for _ in range(2):  # the second call is the one that might be remembered
        assert np.array_equal(value(CrossEntropy(weights), logits, labels), expected)


def legal_labels(loss, logits):
    return np.zeros(logits.shape[:-1] if loss.targets.rows else logits.shape)


@each_loss
def test_a_masked_label_must_be_a_class(loss):
    if loss.targets.rows:
        with pytest.raises(ValueError, match=r"labels\[0\] = 18446744073709551615"):
            value(loss, np.zeros((1, 3)), np.array([2**64 - 1], np.uint64))
        with pytest.raises(ValueError, match=r"labels = 3 must be in \[0, 3\)"):
            value(loss, np.zeros(3), 3)


@pytest.mark.parametrize("loss", ROWS, ids=repr)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
def test_rows_of_probabilities_must_sum_to_one_as_nearly_as_their_dtype_allows(loss, dtype):
    eps = float(ml_dtypes.finfo(dtype).eps)
    labels, logits = np.full((3, 10), 0.1).astype(dtype), predicted(loss, np.zeros((3, 10), dtype))
    value(loss, logits, labels)
    labels[2, 0] += dtype(3 * math.sqrt(eps))
    with pytest.raises(ValueError, match=r"labels\[2\] sums to 1\..*normalized=False"):
        value(loss, logits, labels)
    assert np.isfinite(value(loss, logits, labels, normalized=False)).all()
    with pytest.raises(ValueError, match=r"labels\[0\] sums to 2"):
        value(loss, np.zeros((1, 3)), [[1, 0, 1]])


@each_verb
@each_input
def test_every_dtype_of_labels_gives_the_same_result(loss, kind, verb):
    logits, _ = sample(loss)
    logits = logits[:, :2] if loss.targets.rows else logits
    labels = np.array([0, 1, 1, 0])
    labels = np.eye(2)[labels] if loss.targets.rows and kind else labels
    expected = bits(run(verb, loss, logits, labels))
    for dtype in (bool, *np.typecodes["AllInteger"], *DTYPES, ">i4", ">f8"):
        assert bits(run(verb, loss, logits, labels.astype(dtype))) == expected, dtype
    assert bits(run(verb, loss, logits, labels.tolist())) == expected


@each_loss
def test_labels_that_are_no_numbers(loss):
    logits, labels = sample(loss)
    for wrong in labels.astype(complex), labels.astype(str), labels.astype(object):
        with pytest.raises(TypeError, match="labels must be real numbers"):
            value(loss, logits, wrong)


# Shapes ---------------------------------------------------------------------------------------


@every_verb
@each_input
def test_shapes_that_do_not_match_are_both_named(loss, kind, verb):
    logits, labels = sample(loss, kind=kind)
    for wrong in labels[:3], labels[None], labels[:1]:
        with pytest.raises(ValueError) as error:
            run(verb, loss, logits, wrong)
        assert str(wrong.shape) in str(error.value) and str(logits.shape) in str(error.value)


@every_verb
@each_loss
def test_weights_must_fit_the_values(loss, verb):
    logits, labels = sample(loss)
    for name in "weight", "upstream":
        with pytest.raises(ValueError, match=rf"{name} of shape \(3,\) does not fit values of shape \(4,\)"):
            run(verb, loss, logits, labels, **{name: [1.0, 2.0, 3.0]})
        with pytest.raises(TypeError, match=f"{name} must be real numbers"):
            run(verb, loss, logits, labels, **{name: "heavy"})


@each_verb
@pytest.mark.parametrize("loss", ROWS, ids=repr)
def test_no_classes_and_one_class(loss, verb):
    for shape in (), (0,), (2, 0):
        with pytest.raises(ValueError, match=re.escape(str(shape))):
            run(verb, loss, np.zeros(shape), np.zeros(shape[:-1], int))
    least, logits = least_classes(loss), predicted(loss, [[3.0], [-800.0]])
    for labels in ([0, 0], [[1.0], [1.0]]):
        if least > 1:
            with pytest.raises(ValueError, match=rf"{least} classes.* \(2, 1\) .*{re.escape(str(np.shape(labels)))}"):
                run(verb, loss, logits, labels)
            continue
        found = arrays(run(verb, loss, logits, labels))
        free = verb != "label_gradient" and predictions(loss).high > 1  # one class has all the probability
        assert all((array == 0 if free else np.isfinite(array)).all() for array in found)
        assert not arrays(value(loss, logits, labels))[0].any()


@pytest.mark.parametrize("loss", [LabelSmoothing(SparseLSR()), LabelSmoothing(OtherClassesSmoothing())], ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_loss_within_may_need_two_classes(loss, dtype):
    for _ in range(2):  # the second call is the quick one
        value_and_gradient(loss[0], np.zeros((2, 2), dtype), np.zeros(2, int))
        value_and_gradient(loss[0], np.zeros((2, 3), dtype), np.zeros(2, int))
        for refused in loss, loss[0]:
            with pytest.raises(ValueError, match=r"2 classes, got logits of shape \(2, 1\) and labels of shape \(2,\)"):
                value_and_gradient(refused, np.zeros((2, 1), dtype), np.zeros(2, int))


@each_verb
@each_input
def test_empty_batches(loss, kind, verb):
    logits, labels = sample(loss, kind=kind)
    full = arrays(run(verb, loss, logits, labels))
    empty = arrays(run(verb, loss, logits[:0], labels[:0]))
    assert [array.shape for array in empty] == [(0, *array.shape[1:]) for array in full]
    assert value(loss, logits[:0], labels[:0], reduction="sum") == 0.0
    for reduction in "mean", "weighted_mean":
        assert np.isnan(value(loss, logits[:0], labels[:0], reduction=reduction))
        assert np.isnan(value(loss, logits[:0], labels[:0], reduction=reduction, weight=np.ones(0)))
        run(verb, loss, logits[:0], labels[:0], reduction=reduction)


@each_verb
@each_input
def test_any_number_of_leading_axes(loss, kind, verb):
    logits, labels = sample(loss, rows=6, kind=kind)
    flat = run(verb, loss, logits, labels)
    deep = run(verb, loss, logits.reshape(1, 2, 3, *logits.shape[1:]), labels.reshape(1, 2, 3, *labels.shape[1:]))
    for a, b in zip(arrays(deep), arrays(flat), strict=True):
        assert a.shape == (1, 2, 3, *b.shape[1:]) and a.tobytes() == b.tobytes()
    if verb == "parameter_gradient" or "vector" in verb:
        return
    for i in range(6):
        alone = arrays(run(verb, loss, logits[i], labels[i]))
        assert all(a.shape == b.shape[1:] and np.array_equal(a, b[i]) for a, b in zip(alone, arrays(flat), strict=True))


# Dtypes and layouts ---------------------------------------------------------------------------


@pytest.mark.parametrize("case", [case for case in CASES if case.loss in USUAL], ids=str)
def test_results_have_the_dtype_of_the_logits(case):
    logits, labels = sample(case.loss, dtype=case.dtype)
    for verb in OWN:
        assert all(array.dtype == case.dtype for array in arrays(run(verb, case.loss, logits, labels))), verb
    for array in arrays(value_and_gradient(case.loss, logits, labels, reduction="mean")):
        assert array.dtype == case.dtype


@each_verb
@each_loss
def test_lists_and_integers_become_float64(loss, verb):
    logits, labels = sample(loss)
    logits = np.rint(logits)
    expected = bits(run(verb, loss, logits, labels))
    for given in logits.tolist(), logits.astype(int), logits.astype(np.int8), logits.astype(int).tolist():
        assert bits(run(verb, loss, given, labels)) == expected
    assert same(run(verb, loss, logits > 0, labels), run(verb, loss, (logits > 0) * 1.0, labels))


@every_verb
@each_loss
def test_logits_that_are_no_floats(loss, verb):
    logits, labels = sample(loss)
    for dtype in complex, object, str, np.longdouble, "datetime64[s]":
        if dtype is np.longdouble and np.dtype(np.longdouble) == np.float64:
            continue
        wrong = np.zeros(logits.shape, dtype)
        with pytest.raises(TypeError, match="logits must be .*, got"):
            run(verb, loss, wrong, labels)


@every_verb
@each_loss
def test_losses_that_are_none(loss, verb):
    logits, labels = sample(loss)
    for wrong in None, type(loss), "cross_entropy", (2.0, 0.25):
        with pytest.raises(TypeError, match="loss must be a NamedTuple with a kernel"):
            run(verb, wrong, logits, labels)


@each_verb
@each_input
def test_layouts_do_not_matter_and_inputs_are_never_written(loss, kind, verb):
    logits, labels = sample(loss, kind=kind)
    weight = np.linspace(0.5, 2.0, len(logits))
    plain, weighted = (
        bits(run(verb, loss, logits, labels, **options)) for options in ({}, {"weight": weight, "upstream": weight})
    )
    for (name, z), (_, y), (_, w) in zip(layouts(logits), layouts(labels), layouts(weight), strict=True):
        before = bits((z, y, w))
        assert bits(run(verb, loss, z, y)) == plain, name
        assert bits(run(verb, loss, z, y, weight=w, upstream=w)) == weighted, name
        assert bits((z, y, w)) == before, name


@each_verb
@each_input
def test_stride_zero_arrays(loss, kind, verb):
    logits, labels = sample(loss, kind=kind)
    z, y = (np.broadcast_to(x[:1], x.shape) for x in (logits, labels))
    assert bits(run(verb, loss, z, y)) == bits(run(verb, loss, z.copy(), y.copy()))
    options = {"weight": np.broadcast_to(0.7, 4), "upstream": -1.5}
    copied = {name: np.full(4, x) for name, x in options.items()}
    assert bits(run(verb, loss, logits, labels, **options)) == bits(run(verb, loss, logits, labels, **copied))


# out= -----------------------------------------------------------------------------------------


def outs_like(verb, result):
    """Return buffers for the arrays of a result, and the ``out`` that a verb takes of them."""
    buffers = [np.full_like(array, 7.0) for array in arrays(result)]
    if verb == "parameter_gradient":
        pool = iter(buffers)
        return buffers, refill(result, pool)
    return buffers, tuple(buffers) if verb in PAIRS else buffers[0]


def refill(result, pool):
    return type(result)(*(refill(x, pool) if is_loss(x) else None if x is None else next(pool) for x in result))


@each_verb
@pytest.mark.parametrize("dtype", [np.float64, np.float16], ids=lambda dtype: dtype.__name__)
@each_loss
def test_out_is_filled_and_returned(loss, dtype, verb):
    logits, labels = sample(loss, dtype=dtype)
    expected = run(verb, loss, logits, labels)
    buffers, out = outs_like(verb, expected)
    result = run(verb, loss, logits, labels, out=out)
    assert bits(result) == bits(expected)
    assert all(a is b for a, b in zip(arrays(result), buffers, strict=True))


@each_verb
@each_loss
def test_unsuitable_out_is_refused(loss, verb):
    logits, labels = sample(loss)
    expected = run(verb, loss, logits, labels)
    buffers, out = outs_like(verb, expected)
    if not buffers:
        return
    frozen = np.empty_like(buffers[0])
    frozen.flags.writeable = False
    wrong = {
        "shape": np.empty((5, *buffers[0].shape[1:])),
        "float32": np.empty_like(buffers[0], dtype=np.float32),
        "list": buffers[0].tolist(),
        "read-only": frozen,
    }
    for reason, given in wrong.items():
        if verb in PAIRS:
            given = (given, buffers[1])
        elif verb == "parameter_gradient":
            given = refill(expected, iter([given, *buffers[1:]]))
        with pytest.raises(ValueError, match="out") as error:
            run(verb, loss, logits, labels, out=given)
        assert reason in str(error.value)
    if verb in PAIRS:
        with pytest.raises(ValueError, match="tuple of two arrays"):
            run(verb, loss, logits, labels, out=buffers[0])


@each_verb
@each_loss
def test_out_may_lie_anyhow_in_memory(loss, verb):
    logits, labels = sample(loss)
    expected = run(verb, loss, logits, labels)
    apart = [np.full((2, *array.shape), 7.0)[:, ::-1][1] for array in arrays(expected)]
    strided = [np.full((*array.shape[:-1], 2 * array.shape[-1]), 7.0) for array in arrays(expected)]
    for buffers in apart, [array[..., ::2] for array in strided]:
        out = tuple(buffers) if verb in PAIRS else buffers[0] if verb in VERBS and buffers else None
        out = refill(expected, iter(buffers)) if verb == "parameter_gradient" else out
        assert same(run(verb, loss, logits, labels, out=out), expected)
        assert same(tuple(buffers), tuple(arrays(expected)))
    assert all((array[..., 1::2] == 7.0).all() for array in strided)


@pytest.mark.parametrize("verb", ["gradient", "hessian_diagonal", "hessian_vector_product", "label_gradient"])
@each_input
def test_out_may_overlap_the_inputs(loss, kind, verb):
    logits, labels = sample(loss, kind=kind)
    expected = run(verb, loss, logits, labels)
    z = logits.copy()
    assert run(verb, loss, z, labels, out=z) is z and same(z, expected)
    buffer = np.zeros(logits.size + 1)
    z, shifted = buffer[1:].reshape(logits.shape), buffer[:-1].reshape(logits.shape)
    z[...] = logits
    assert same(run(verb, loss, z, labels, out=shifted), expected)
    if labels.shape == logits.shape:
        y = labels.copy()
        assert same(run(verb, loss, logits, y, out=y), expected)


@each_loss
def test_out_may_be_the_vector(loss):
    logits, labels = sample(loss)
    vector = weights_like(logits)
    expected = hessian_vector_product(loss, logits, labels, vector)
    assert same(hessian_vector_product(loss, logits, labels, vector, out=vector), expected)


@each_loss
def test_out_may_be_the_weights(loss):
    logits, labels = sample(loss)
    weight = np.array([0.5, 0.0, 2.0, -1.0])
    expected = value(loss, logits, labels, weight=weight)
    assert same(value(loss, logits, labels, weight=weight, out=weight), expected)


@each_loss
def test_two_outs_may_not_be_one(loss):
    logits, labels = sample(loss)
    if not loss.targets.rows:
        out = np.empty(4)
        with pytest.raises(ValueError, match="overlap"):
            value_and_gradient(loss, logits, labels, out=(out, out))


@each_loss
def test_the_quick_path_checks_as_much_as_the_long_one(loss):
    logits, labels = sample(loss)
    for _ in range(3):
        expected = value_and_gradient(loss, logits, labels)
        bad = labels.copy()
        bad[2] = -1
        with pytest.raises(ValueError, match=r"labels\[2\] = -1"):
            value_and_gradient(loss, logits, bad)
        with pytest.raises(ValueError, match=r"\(3,\).*\(4"):
            value_and_gradient(loss, logits, labels[:3])
        assert bits(value_and_gradient(loss, logits, labels)) == bits(expected)


@pytest.mark.parametrize("loss", [loss for loss in ALL if classes_of(loss)], ids=repr)
def test_class_weights_fit_the_classes(loss):
    n = classes_of(loss, CLASSES)
    for verb in OWN:
        for labels in np.zeros(2, int), None:
            for classes in n, n + 1, n - 1:
                y = np.eye(classes)[:2] if labels is None else labels
                if classes == n:
                    run(verb, loss, np.zeros((2, classes)), y)
                    run(verb, loss, np.zeros((2, classes)), y)
                    continue
                with pytest.raises(ValueError, match=rf"\({n},\) do not fit logits of shape \(2, {classes}\)"):
                    run(verb, loss, np.zeros((2, classes)), y)


# Weights --------------------------------------------------------------------------------------


@each_verb
@each_input
def test_a_row_of_weight_zero_is_absent_whatever_it_holds(loss, kind, verb):
    logits, labels = sample(loss, kind=kind)
    labels = labels.astype(np.float64)
    options = {"weight": np.array([0.5, 0.0, 1.5, 1.0]), "upstream": np.array([2.0, 1.0, -1.0, 0.5])}
    for hole in NAN, *holes(loss):
        z, y = logits.copy(), labels.copy()
        z[1] = hole
        for reduction in "sum", "weighted_mean":
            result = run(verb, loss, z, y, reduction=reduction, **options)
            assert all(np.isfinite(array).all() for array in arrays(result)), paste(loss, z, y, verb)
        result = run(verb, loss, z, y, **options)
        assert all((array[1] == 0).all() for array in arrays(result))
        y[1] = NAN
        assert all((array[1] == 0).all() for array in arrays(run(verb, loss, z, y, **options)))
    keep = np.array([0, 2, 3])
    kept = {name: x[keep] for name, x in options.items()}
    alone = run(verb, loss, logits[keep], labels[keep], reduction="weighted_mean", **kept)
    whole = run(verb, loss, z, y, reduction="weighted_mean", **options)
    if "vector" in verb:
        return  # three rows get another vector than four
    for a, b in zip(arrays(whole), arrays(alone), strict=True):
        assert np.allclose(a[keep] if a.shape[:1] == (4,) else a, b, rtol=1e-14, atol=0)


@every_verb
@each_loss
def test_reductions_have_names(loss, verb):
    logits, labels = sample(loss)
    with pytest.raises(ValueError, match="reduction must be one of none, sum, mean, weighted_mean, got 'average'"):
        run(verb, loss, logits, labels, reduction="average")


@each_loss
def test_wrt_has_two_names(loss):
    for verb in ("value_and_gradient", "gradient"):
        with pytest.raises(ValueError, match='wrt must be "logits" or "labels"'):
            run(verb, loss, *sample(loss), wrt="weights")


@each_loss
def test_a_vector_has_the_shape_of_the_logits(loss):
    logits, labels = sample(loss)
    with pytest.raises(ValueError, match=re.escape(f"does not fit logits of shape {logits.shape}")):
        hessian_vector_product(loss, logits, labels, weights_like(logits)[:3])


# Parameters -----------------------------------------------------------------------------------


def outside(loss):
    """Yield (the loss with one parameter out of its domain, the domain, the parameter's name)."""
    for parameter in parameters(type(loss)):
        interval = parameter.interval
        ends = [interval.low] * interval.low_open + [interval.high] * interval.high_open
        beyond = [np.nextafter(interval.low, -INF), np.nextafter(interval.high, INF), -INF, INF, NAN, *ends]
        for wrong in beyond:
            if wrong not in interval:
                field = (1.0, wrong, 1.0) if parameter.per_class else float(wrong)
                yield loss._replace(**{parameter.name: field}), parameter, wrong


@every_verb
@each_loss
def test_parameters_out_of_their_domain(loss, verb):
    logits, labels = sample(loss)
    for wrong, parameter, x in outside(loss):
        with pytest.raises(ValueError) as error:
            run(verb, wrong, logits, labels)
        for part in (f"{type(loss).__name__}.{parameter.name}", str(parameter.interval), repr(float(x))):
            assert part in str(error.value)


@pytest.mark.parametrize("loss", [loss for loss in USUAL if is_loss(loss[:1] and loss[0])], ids=repr)
def test_a_loss_within_has_the_same_kind_of_labels(loss):
    logits, labels = sample(loss)
    others = [other for other in USUAL if other.targets is not loss.targets]
    for wrong in (*others, 3.0, None, type(loss[0])):
        with pytest.raises(TypeError, match=rf"{type(loss).__name__}.loss must be a loss with {loss.targets}"):
            value(loss._replace(loss=wrong), logits, labels)
    with pytest.raises(ValueError, match=rf"{type(loss).__name__}.smoothing must lie in"):
        value(loss._replace(loss=loss._replace(smoothing=-1.0)), logits, labels)


@each_loss
def test_parameters_are_numbers(loss):
    logits, labels = sample(loss)
    for parameter in parameters(type(loss)):
        for wrong in "two", [[1.0]], 1j:
            with pytest.raises((TypeError, ValueError), match=f"{type(loss).__name__}.{parameter.name}"):
                value(loss._replace(**{parameter.name: wrong}), logits, labels)


@each_loss
def test_integers_and_numpy_scalars_are_parameters_too(loss):
    logits, labels = sample(loss)
    for parameter in parameters(type(loss)):
        if not parameter.per_class and 0 in parameter.interval:
            results = [value(loss._replace(**{parameter.name: x}), logits, labels) for x in (0, 0.0, np.float32(0))]
            assert bits(results[0]) == bits(results[1]) == bits(results[2])


def test_a_precision_that_is_none():
    """Not even where the call before has left its plan."""
    z, y = np.zeros((1, 2)), np.zeros(1, np.int64)
    value(CrossEntropy(), z, y)
    with pytest.raises(ValueError, match="precision must be one of reference, native, got 'fast'"):
        value(CrossEntropy(), z, y, precision="fast")
