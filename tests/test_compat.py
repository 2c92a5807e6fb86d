"""The doors to the published systems: signatures, gradients, dtypes, reductions, axes, edges, refusals.

What the systems themselves return is in ``test_golden``.
"""

import inspect
from functools import partial

import conventions
import ml_dtypes
import numpy as np
import pytest

from reflosses import (
    BinaryLabelSmoothing,
    BinaryProbabilityCrossEntropy,
    CrossEntropy,
    LabelSmoothing,
    RescaledProbabilityCrossEntropy,
    gradient,
    value,
)
from reflosses.arrays import rounded
from reflosses.compat import fastai, google, incendio, keras, sparse_lsr, tensorflow, torch

# Signatures: the names of SPEC's table, with the published order and defaults ---------------------

OURS = ", *, variant='keras3', epsilon=1e-07)"  # what we add to Keras's arguments
SIGNATURES = {
    google: {
        "log_t": "(u, t)",
        "exp_t": "(u, t)",
        "compute_normalization": "(activations, t, num_iters=5)",
        "tempered_sigmoid": "(activations, t, num_iters=5)",
        "tempered_softmax": "(activations, t, num_iters=5)",
        "bi_tempered_logistic_loss": (
            "(activations, labels, t1, t2, label_smoothing=0.0, num_iters=5, *, variant='jax')"
        ),
        "bi_tempered_binary_logistic_loss": (
            "(activations, labels, t1, t2, label_smoothing=0.0, num_iters=5, *, variant='jax')"
        ),
        "sparse_bi_tempered_logistic_loss": "(activations, labels, t1, t2, num_iters=5)",
    },
    incendio: {
        "InvalidArgumentError": None,
        "smooth_soft_labels": "(labels, alpha=0.1)",
        "soft_label_cross_entropy_with_logits": "(y_pred, y_true, alpha=0.0, reduction='mean')",
        "soft_label_cross_entropy": "(y_pred, y_true, alpha=0.0, reduction='mean')",
        "classification_mae_with_logits": "(y_pred, y_true, reduction='mean')",
        "plot_loss_by_alpha": "(y_pred, y_true, loss_func=None, loss_class=None)",
    },
    fastai: {
        "LabelSmoothingCrossEntropy": "(eps=0.1, weight=None, reduction='mean')",
        "LabelSmoothingCrossEntropyFlat": "(eps=0.1, weight=None, reduction='mean', axis=-1)",
        "FocalLoss": "(gamma=2.0, weight=None, reduction='mean')",
    },
    keras: {
        "Reduction": None,
        "binary_crossentropy": ("(y_true, y_pred, from_logits=False, label_smoothing=0.0, axis=-1" + OURS),
        "categorical_crossentropy": ("(y_true, y_pred, from_logits=False, label_smoothing=0.0, axis=-1" + OURS),
        "sparse_categorical_crossentropy": ("(y_true, y_pred, from_logits=False, ignore_class=None, axis=-1" + OURS),
        "binary_focal_crossentropy": (
            "(y_true, y_pred, apply_class_balancing=False, alpha=0.25, gamma=2.0, from_logits=False, "
            "label_smoothing=0.0, axis=-1" + OURS
        ),
        "categorical_focal_crossentropy": (
            "(y_true, y_pred, alpha=0.25, gamma=2.0, from_logits=False, label_smoothing=0.0, axis=-1" + OURS
        ),
        "BinaryCrossentropy": (
            "(from_logits=False, label_smoothing=0.0, axis=-1, reduction='sum_over_batch_size', "
            "name='binary_crossentropy', dtype=None" + OURS
        ),
        "CategoricalCrossentropy": (
            "(from_logits=False, label_smoothing=0.0, axis=-1, reduction='sum_over_batch_size', "
            "name='categorical_crossentropy', dtype=None" + OURS
        ),
        "SparseCategoricalCrossentropy": (
            "(from_logits=False, ignore_class=None, reduction='sum_over_batch_size', axis=-1, "
            "name='sparse_categorical_crossentropy', dtype=None" + OURS
        ),
        "BinaryFocalCrossentropy": (
            "(apply_class_balancing=False, alpha=0.25, gamma=2.0, from_logits=False, label_smoothing=0.0, axis=-1, "
            "reduction='sum_over_batch_size', name='binary_focal_crossentropy', dtype=None" + OURS
        ),
        "CategoricalFocalCrossentropy": (
            "(alpha=0.25, gamma=2.0, from_logits=False, label_smoothing=0.0, axis=-1, "
            "reduction='sum_over_batch_size', name='categorical_focal_crossentropy', dtype=None" + OURS
        ),
    },
    tensorflow: {
        "sigmoid_cross_entropy_with_logits": "(labels, logits)",
        "softmax_cross_entropy_with_logits": "(labels, logits)",
        "sigmoid_focal_crossentropy": "(y_true, y_pred, alpha=0.25, gamma=2.0, from_logits=False)",
        "SigmoidFocalCrossEntropy": "(from_logits=False, alpha=0.25, gamma=2.0, reduction='none')",
    },
    sparse_lsr: {
        "SparseLSRLoss": "(smoothing=0.0, reduction='mean', variant='paper')",
        "LSRLoss": "(smoothing=0.0, reduction='mean', variant='paper')",
    },
    torch: {
        "cross_entropy": ("(input, target, weight=None, ignore_index=-100, reduction='mean', label_smoothing=0.0)"),
        "binary_cross_entropy_with_logits": "(input, target, weight=None, reduction='mean', pos_weight=None)",
        "sigmoid_focal_loss": "(inputs, targets, alpha=0.25, gamma=2, reduction='none')",
    },
}


@pytest.mark.parametrize("module", SIGNATURES, ids=lambda module: module.__name__)
def test_signatures(module):
    assert sorted(module.__all__) == sorted(SIGNATURES[module])
    for name, expected in SIGNATURES[module].items():
        if expected is not None:
            signature = inspect.signature(getattr(module, name))
            plain = [x.replace(annotation=inspect.Parameter.empty) for x in signature.parameters.values()]
            assert str(inspect.Signature(plain)) == expected, name


# Calls: every callable in every mode, as a function of its predictions alone -----------------------

RANDOM = np.random.default_rng(7)
Z = 2 * RANDOM.standard_normal((4, 3))
P = 0.05 + 0.9 * RANDOM.random((4, 3))  # in (0, 1), rows that do not sum to 1
SOFT = RANDOM.dirichlet(np.ones(3), 4)
HARD = np.array([0, 2, 1, 2])
BITS = np.array([[1.0, 0, 0], [0, 1, 1], [0, 0, 1], [1, 1, 0]])
W = 0.5, 2.0, 1.3
CONVERGED = {"num_iters": 300}  # where the published gradient is the derivative


def first(door, *rest, **options):
    """Return (door, its arguments after the predictions) for predictions that come first."""
    return partial(door, **options), partial(door.gradient, **options), rest


def second(door, *rest, **options):
    """Return the same for Keras and TensorFlow, whose labels come first."""
    functions = (door, door.gradient)
    return *(lambda x, y, *more, f=f: f(y, x, *more, **options) for f in functions), rest


def google_calls():
    for t in 0.7, 1.0, 1.4:
        yield f"log_t {t}", P, first(google.log_t, t)
        yield f"exp_t {t}", Z / 2, first(google.exp_t, t)
        yield f"normalization {t}", Z, first(google.compute_normalization, t, 300)
        yield f"softmax {t}", Z, first(google.tempered_softmax, t, 300)
        yield f"sigmoid {t}", Z, first(google.tempered_sigmoid, t, 300)
        for t1 in 0.0, 0.8, 1.0:
            for loss, labels in (
                (google.bi_tempered_logistic_loss, SOFT),
                (google.bi_tempered_binary_logistic_loss, P),
                (google.sparse_bi_tempered_logistic_loss, HARD),
            ):
                yield f"{loss.__name__} {t1} {t}", Z / 4, first(loss, labels, t1, t, **CONVERGED)
    smoothed = first(google.bi_tempered_logistic_loss, SOFT, 0.8, 1.4, 0.1, **CONVERGED)
    yield "smoothed", Z, smoothed
    yield "tensorflow", Z, first(google.bi_tempered_logistic_loss, SOFT, 1.0, 1.0, variant="tensorflow")


def torch_calls():
    for reduction in "none", "sum", "mean":
        rest = {"reduction": reduction}
        yield f"torch {reduction}", Z, first(torch.cross_entropy, HARD, W, 1, label_smoothing=0.1, **rest)
        yield f"torch soft {reduction}", Z, first(torch.cross_entropy, SOFT, W, label_smoothing=0.1, **rest)
        yield f"torch bce {reduction}", Z, first(torch.binary_cross_entropy_with_logits, P, W, pos_weight=W, **rest)
        yield f"torch focal {reduction}", Z, first(torch.sigmoid_focal_loss, P, 0.3, 1.7, **rest)
        yield f"torch focal bare {reduction}", Z, first(torch.sigmoid_focal_loss, P, -1, 0.5, **rest)
        for weight in None, W:
            smoothing = fastai.LabelSmoothingCrossEntropy(0.2, weight, reduction)
            flat = fastai.LabelSmoothingCrossEntropyFlat(0.2, weight, reduction, axis=0)
            yield f"fastai {weight} {reduction}", Z, first(smoothing, HARD)
            yield f"fastai flat {weight} {reduction}", Z.T.copy(), first(flat, HARD)
            for gamma in 0.0, 0.5, 2.0:
                yield (
                    f"fastai focal {gamma} {weight} {reduction}",
                    Z,
                    first(fastai.FocalLoss(gamma, weight, reduction), HARD),
                )
        for variant in "paper", "published_code":
            for loss in sparse_lsr.LSRLoss, sparse_lsr.SparseLSRLoss:
                yield f"{loss.__name__} {variant} {reduction}", Z, first(loss(0.2, reduction, variant), HARD)
        yield f"incendio {reduction}", Z, first(incendio.soft_label_cross_entropy_with_logits, SOFT, 0.3, **rest)
        yield f"incendio p {reduction}", P, first(incendio.soft_label_cross_entropy, SOFT, 0.3, **rest)
        yield f"incendio mae {reduction}", Z, first(incendio.classification_mae_with_logits, SOFT, **rest)
    yield "incendio labels", SOFT, first(incendio.smooth_soft_labels, 0.3)


def keras_calls():
    for x, logits in (Z, True), (P, False):
        rest = {"from_logits": logits}
        for smoothing in 0.0, 0.2:
            more = rest | {"label_smoothing": smoothing}
            name = f"{logits} {smoothing}"
            yield f"keras categorical {name}", x, second(keras.categorical_crossentropy, SOFT, **more)
            yield (
                f"keras categorical focal {name}",
                x,
                second(keras.categorical_focal_crossentropy, SOFT, W, 0.5, **more),
            )
            for balance in False, True:
                yield (
                    f"keras binary focal {name} {balance}",
                    x,
                    second(keras.binary_focal_crossentropy, SOFT, balance, 0.3, 1.7, **more),
                )
            yield f"keras binary {name}", x, second(keras.binary_crossentropy, P, **more)
        for variant in keras.VARIANTS:
            more = rest | {"variant": variant}
            yield f"keras sparse {logits} {variant}", x, second(keras.sparse_categorical_crossentropy, HARD, **more)
            yield f"keras binary {logits} {variant}", x, second(keras.binary_crossentropy, BITS, **more)
        for reduction in (*keras.Reduction, None):
            rest["reduction"] = reduction
            for loss, labels in (
                (keras.BinaryCrossentropy, BITS),
                (keras.CategoricalCrossentropy, SOFT),
                (keras.SparseCategoricalCrossentropy, HARD),
                (keras.BinaryFocalCrossentropy, BITS),
                (keras.CategoricalFocalCrossentropy, SOFT),
            ):
                name = f"{loss.__name__} {logits} {reduction}"
                yield name, x, second(loss(**rest), labels)
                yield f"{name} weighted", x, second(loss(**rest), labels, [0.3, 0.0, 2.0, 1.1])
            ignoring = keras.SparseCategoricalCrossentropy(ignore_class=2, **rest)
            yield f"keras ignoring {logits} {reduction}", x, second(ignoring, HARD[:, None], [0.3, 0.0, 2.0, 1.1])


def tensorflow_calls():
    yield "tf sigmoid", Z, second(tensorflow.sigmoid_cross_entropy_with_logits, P)
    yield "tf softmax", Z, second(tensorflow.softmax_cross_entropy_with_logits, SOFT)
    for x, logits in (Z, True), (P, False):
        for alpha, gamma in (0.25, 2.0), (None, 0.5), (0.6, None):
            yield (
                f"addons {logits} {alpha} {gamma}",
                x,
                second(tensorflow.sigmoid_focal_crossentropy, BITS, alpha, gamma, logits),
            )
            loss = tensorflow.SigmoidFocalCrossEntropy(logits, alpha, gamma, "sum_over_batch_size")
            yield f"Addons {logits} {alpha} {gamma}", x, second(loss, BITS, [0.3, 0.0, 2.0, 1.1])


CALLS = {
    name: (x, *call)
    for calls in (google_calls, torch_calls, keras_calls, tensorflow_calls)
    for name, x, call in calls()
}


@pytest.mark.parametrize("name", CALLS)
def test_gradients_are_differences(name):
    x, door, gradient, rest = CALLS[name]
    h, slopes = 1e-5, np.empty_like(x)
    for k in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[k] = h
        slopes[k] = (np.sum(door(x + step, *rest)) - np.sum(door(x - step, *rest))) / (2 * h)
    np.testing.assert_allclose(gradient(x, *rest), slopes, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("name", CALLS)
def test_dtypes_are_kept_and_rounded_once(name):
    x, door, gradient, rest = CALLS[name]
    for dtype in np.float16, np.float32, ml_dtypes.bfloat16:
        narrow = x.astype(dtype)
        for function in door, gradient:
            result, exact = function(narrow, *rest), function(narrow.astype(np.float64), *rest)
            assert result.dtype == dtype
            assert np.array_equal(result, rounded(np.asarray(exact), np.dtype(dtype)))


@pytest.mark.parametrize("name", CALLS)
def test_lists_and_read_only_arrays_do(name):
    x, door, gradient, rest = CALLS[name]
    locked = np.asfortranarray(x)
    locked.flags.writeable = False
    for function in door, gradient:
        expected = function(x, *rest)
        assert isinstance(expected, np.ndarray | np.generic) and expected.dtype == np.float64
        lists = [np.asarray(y).tolist() if isinstance(y, np.ndarray) else y for y in rest]
        for result in (function(locked, *rest), function(x.tolist(), *lists)):
            np.testing.assert_allclose(result, expected, rtol=1e-15)


def with_rows(rows, x):
    """Return an argument with the first rows only, if it has rows."""
    return np.asarray(x)[:rows] if np.shape(x)[:1] == (4,) else x


@pytest.mark.parametrize("name", [name for name in CALLS if "flat" not in name])
def test_empty_batches(name):
    x, door, gradient, rest = CALLS[name]
    empty = [with_rows(0, y) for y in rest]
    assert gradient(x[:0], *empty).shape == (0, 3)
    result, full = door(x[:0], *empty), door(x, *rest)
    if full.ndim:
        assert result.shape == (0, *full.shape[1:])
    else:
        summed = name.split()[-1] == "sum" or name.split()[-2:] == ["sum", "weighted"]
        assert np.array_equal(result, 0.0 if summed else np.nan, equal_nan=True)


# Conventions ----------------------------------------------------------------------------------


def test_classes_lie_on_axis_1_in_torch():
    z, y = RANDOM.standard_normal((2, 3, 4, 5)), RANDOM.integers(0, 3, (2, 4, 5))
    rows = np.moveaxis(z, 1, -1).reshape(-1, 3)
    for reduction in "sum", "mean":
        call = partial(torch.cross_entropy, weight=W, reduction=reduction, label_smoothing=0.1)
        assert call(z, y) == pytest.approx(call(rows, y.reshape(-1)), rel=1e-14)
    assert torch.cross_entropy(z, y, reduction="none").shape == y.shape
    for door in torch.cross_entropy, fastai.FocalLoss():  # one row alone
        assert door(Z[0], 2) == door(Z[:1], [2])
        assert np.array_equal(door.gradient(Z[0], 2), door.gradient(Z[:1], [2])[0])


def test_a_target_that_is_nan_has_no_answer():
    values = torch.cross_entropy(Z, [0.0, np.nan, 1.0, 2.0], W, reduction="none")
    assert np.isnan(values).tolist() == [False, True, False, False]
    assert np.isnan(torch.cross_entropy(Z, [0.0, np.nan, 1.0, 2.0], W))


def test_torch_ignores_whatever_an_ignored_row_holds():
    z, y = np.vstack([Z, np.full((1, 3), np.nan)]), [*HARD, -100]
    for weight in None, W:
        for reduction in "sum", "mean":
            expected = torch.cross_entropy(Z, HARD, weight, reduction=reduction)
            assert torch.cross_entropy(z, y, weight, reduction=reduction) == pytest.approx(expected, rel=1e-15)
    assert not torch.cross_entropy.gradient(z, y)[-1].any()
    assert np.isnan(torch.cross_entropy(Z, np.full(4, -100)))


def test_fastai_lets_an_ignored_row_pay_its_uniform_part():
    loss = fastai.LabelSmoothingCrossEntropy(eps=0.3, reduction="none")
    uniform = value(CrossEntropy(), Z[0], np.full(3, 1 / 3))
    assert loss(Z, [-100, 2, 1, 2])[0] == pytest.approx(0.3 * uniform)
    assert fastai.FocalLoss(reduction="none")(Z, [-100, 2, 1, 2])[0] == 0


def test_fastai_flattens():
    z, y = RANDOM.standard_normal((2, 4, 3)), RANDOM.integers(0, 3, (2, 4))
    last = fastai.LabelSmoothingCrossEntropyFlat(reduction="none")(z, y)
    assert last.shape == (8,)
    second = fastai.LabelSmoothingCrossEntropyFlat(reduction="none", axis=1)
    assert np.array_equal(second(np.moveaxis(z, -1, 1), y), last)
    assert second.gradient(np.moveaxis(z, -1, 1), y).shape == (2, 3, 4)


def test_weights_of_fastai_enter_the_focus_but_not_the_uniform_part():
    p = np.exp(-value(CrossEntropy(), Z, HARD))
    w = np.array(W)[HARD]
    focal = fastai.FocalLoss(1.7, W, "none")(Z, HARD)
    np.testing.assert_allclose(focal, (1 - p**w) ** 1.7 * -w * np.log(p), rtol=1e-12)
    nll, uniform = value(CrossEntropy(W), Z, HARD), value(CrossEntropy(), Z, np.full((4, 3), 1 / 3))
    expected = 0.9 * nll.sum() / w.sum() + 0.1 * uniform.mean()
    assert fastai.LabelSmoothingCrossEntropy(0.1, W)(Z, HARD) == pytest.approx(expected, rel=1e-14)
    assert torch.cross_entropy(Z, HARD, W, label_smoothing=0.1) != pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("logits", [True, False])
def test_keras_axes(logits):
    x = (Z if logits else P).reshape(2, 2, 3)
    moved, soft, hard = np.moveaxis(x, -1, 1), np.moveaxis(SOFT.reshape(2, 2, 3), -1, 1), HARD.reshape(2, 2)
    for f, y, same in (
        (keras.categorical_crossentropy, soft, SOFT.reshape(2, 2, 3)),
        (keras.categorical_focal_crossentropy, soft, SOFT.reshape(2, 2, 3)),
        (keras.sparse_categorical_crossentropy, hard, hard),
        (keras.binary_crossentropy, soft, SOFT.reshape(2, 2, 3)),
        (keras.binary_focal_crossentropy, soft, SOFT.reshape(2, 2, 3)),
    ):
        options = {"from_logits": logits, "axis": 1}
        np.testing.assert_allclose(f(y, moved, **options), f(same, x, from_logits=logits), rtol=1e-14)
        expected = np.moveaxis(f.gradient(same, x, from_logits=logits), -1, 1)
        np.testing.assert_allclose(f.gradient(y, moved, **options), expected, rtol=1e-14)


def test_keras_smooths_by_the_length_of_the_last_axis():
    z, y = np.zeros((1, 2, 3)), np.full((1, 2, 3), 0.5)
    expected = np.log(2) * 2 * (0.5 * 0.9 + 0.1 / 3)
    assert keras.categorical_crossentropy(y, z, True, 0.1, axis=1) == pytest.approx(np.full((1, 3), expected))


def test_keras_reductions():
    rows, weight = keras.categorical_crossentropy(SOFT, P), np.array([0.3, 0.0, 2.0, 1.1])
    of = {
        "none": weight * rows,
        "sum": weight @ rows,
        "mean": weight @ rows / 4,
        "mean_with_sample_weight": weight @ rows / weight.sum(),
    }
    of |= {None: of["none"], "auto": of["mean"], "sum_over_batch_size": of["mean"]}
    assert set(of) == {*keras.Reduction, None}
    for reduction, expected in of.items():
        loss = keras.CategoricalCrossentropy(reduction=reduction)
        assert loss(SOFT, P, weight) == pytest.approx(expected, rel=1e-14)
        assert loss(SOFT, P, weight[:, None]) == pytest.approx(expected, rel=1e-14)
    assert keras.CategoricalCrossentropy(reduction="mean_with_sample_weight")(SOFT, P, np.zeros(4)) == 0
    ignoring = keras.SparseCategoricalCrossentropy(ignore_class=2)
    assert ignoring(HARD, P) == keras.SparseCategoricalCrossentropy()(HARD[HARD != 2], P[HARD != 2])


def test_variants_of_keras_part_in_binary_logarithms_only():
    for loss in keras.CategoricalCrossentropy, keras.CategoricalFocalCrossentropy:
        assert loss(variant="tf2.1")(SOFT, P) == loss()(SOFT, P)
    p = [[1e-9, 0.3]]
    focal = keras.binary_focal_crossentropy([[1, 0]], p, gamma=0.0, variant="tf2.1")
    assert focal == pytest.approx([(-np.log(2e-7) - np.log(0.7 + 1e-7)) / 2], rel=1e-12)


def test_keras_fits_labels_of_one_column():
    loss = keras.BinaryCrossentropy(reduction=None)
    assert np.array_equal(loss([1, 0], [[0.3], [0.6]]), loss([[1], [0]], [[0.3], [0.6]]))
    assert keras.BinaryCrossentropy(dtype="float32")([1.0], [0.3]).dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_keras_clips_to_epsilon_and_has_no_gradient_there(dtype):
    low, high = float(dtype(1e-7)), float(dtype(1 - 1e-7))
    p, y = np.array([[0.0], [1.0]], dtype), [[1], [0]]
    assert keras.binary_crossentropy(y, p) == pytest.approx([-np.log(low), -np.log1p(-high)], rel=1e-7)
    assert not keras.binary_crossentropy.gradient(y, p).any()
    more = [-np.log(low + 1e-7), -np.log(1 - high + 1e-7)]
    assert keras.binary_crossentropy(y, p, variant="tf2.1") == pytest.approx(more, rel=1e-7)
    assert np.array_equal(keras.binary_crossentropy(y, p, epsilon=0), [np.inf, np.inf])
    rows = np.array([[0.0, 3.0]], dtype)
    assert keras.categorical_crossentropy([[1, 0]], rows) == pytest.approx([-np.log(low)], rel=1e-7)
    assert not keras.categorical_crossentropy.gradient([[1, 0]], rows).any()


def test_keras_clips_focal_losses_of_logits_too():
    for focal in (
        keras.binary_focal_crossentropy([[1.0]], [[-40.0]], from_logits=True),
        keras.categorical_focal_crossentropy([[1.0, 0.0]], [[-40.0, 0.0]], alpha=1.0, from_logits=True),
    ):
        assert focal == pytest.approx([-np.log(1e-7)], rel=1e-6)
    exact = keras.binary_focal_crossentropy([[1.0]], [[-40.0]], from_logits=True, epsilon=0)
    assert exact == pytest.approx([40.0], rel=1e-15)
    confident = keras.categorical_focal_crossentropy([[1, 0]], [[40.0, 0]], 1.0, 1.0, True, epsilon=0)
    assert confident == pytest.approx([np.exp(-80)], rel=1e-12)


def test_addons_switches_factors_off():
    call = partial(tensorflow.sigmoid_focal_crossentropy, BITS, Z, from_logits=True)
    plain = tensorflow.sigmoid_cross_entropy_with_logits(BITS, Z).sum(axis=-1)
    np.testing.assert_allclose(call(alpha=None, gamma=None), plain, rtol=1e-14)
    np.testing.assert_allclose(call(alpha=0.5, gamma=0), plain / 2, rtol=1e-14)
    assert np.array_equal(call(alpha=0), call(alpha=None))  # and is not (1 - y)


def test_sparse_lsr_differs_by_the_sign():
    s, nll = 0.25, value(CrossEntropy(), Z, HARD)
    own, rest = (1 - s + s / 3) * nll, s * 2 / 3 * np.log(-np.expm1(-nll) / 2)
    paper = sparse_lsr.SparseLSRLoss(s, "none")(Z, HARD)
    np.testing.assert_allclose(paper, own - rest, rtol=1e-13)
    code = sparse_lsr.SparseLSRLoss(s, "none", "published_code")(Z, HARD)
    np.testing.assert_allclose(code[:, 0], own + rest, rtol=1e-6)  # coefficients are float32
    confident = sparse_lsr.SparseLSRLoss(s, "sum", "published_code")([[50.0, 0, 0]], [0])
    assert confident == pytest.approx(s * 2 / 3 * np.log(1e-7 / 2), rel=1e-6)


def test_incendio_counts_infinite_terms_as_nothing():
    assert incendio.soft_label_cross_entropy([[0.0, 1.0]], [[1.0, 0.0]]) == 0
    assert not incendio.soft_label_cross_entropy.gradient([[0.0, 1.0]], [[1.0, 0.0]]).any()
    assert np.array_equal(incendio.smooth_soft_labels(SOFT, 0), SOFT)


def test_incendio_draws():
    def curves(*arguments, **options):
        (axes,) = incendio.plot_loss_by_alpha(*arguments, **options).axes
        assert [text.get_text() for text in axes.get_legend().texts] == [line.get_label() for line in axes.lines]
        return axes.lines[0].get_xdata(), np.array([line.get_ydata() for line in axes.lines])

    alphas, losses = curves(Z, SOFT)
    np.testing.assert_allclose(alphas, np.arange(20) / 20, atol=1e-15)
    for column in 0, 7, 19:
        expected = incendio.soft_label_cross_entropy_with_logits(Z, SOFT, alphas[column], "none")
        np.testing.assert_array_equal(losses[:, column], expected)

    class Smoothing:
        def __init__(self, alpha, reduction):
            self.alpha = alpha
            assert reduction == "none"

        def __call__(self, y_pred, y_true):
            return self.alpha * np.arange(len(y_pred))

    np.testing.assert_array_equal(curves(Z, SOFT, loss_class=Smoothing)[1], np.outer(np.arange(len(Z)), alphas))
    assert curves(P, SOFT, incendio.soft_label_cross_entropy)[1].shape == losses.shape
    with pytest.raises(incendio.InvalidArgumentError, match="exclude"):
        incendio.plot_loss_by_alpha(Z, SOFT, len, Smoothing)


# Google's temperatures ----------------------------------------------------------------------------


def test_temperatures_meet_their_limit():
    """No branch by tolerance: t = 1 is where the neighbours go."""
    for t in 1 - 1e-9, 1 + 1e-9:
        np.testing.assert_allclose(google.log_t(P, t), np.log(P), rtol=1e-8)
        np.testing.assert_allclose(google.exp_t(Z, t), np.exp(Z), rtol=1e-7)
        args = t, 200
        np.testing.assert_allclose(google.tempered_softmax(Z, *args), google.tempered_softmax(Z, 1.0), rtol=1e-7)


def test_temperatures_invert_each_other_and_end():
    for t in 0.3, 1.0, 2.5:
        np.testing.assert_allclose(google.exp_t(google.log_t(P, t), t), P, rtol=1e-13)
    assert google.exp_t(-2.0, 0.5) == 0 and google.exp_t(-2.1, 0.5) == 0  # below the support
    assert google.exp_t(1.0, 2.0) == np.inf  # the pole
    assert google.log_t(0.0, 0.5) == -2 and google.log_t(0.0, 1.0) == -np.inf


def test_any_leading_shape_does():
    z, y, rows = Z.reshape(2, 1, 2, 3), SOFT.reshape(2, 1, 2, 3), HARD.reshape(2, 1, 2)
    for door, labels, flat in (
        (google.bi_tempered_logistic_loss, y, SOFT),
        (google.sparse_bi_tempered_logistic_loss, rows, HARD),
    ):
        assert np.array_equal(door(z, labels, 0.5, 1.5), door(Z, flat, 0.5, 1.5).reshape(2, 1, 2))
        assert np.array_equal(door.gradient(z, labels, 0.5, 1.5), door.gradient(Z, flat, 0.5, 1.5).reshape(z.shape))
    assert google.compute_normalization(z, 1.5).shape == (2, 1, 2, 1)


def test_rounds_truncate():
    sums = [np.abs(google.tempered_softmax(5 * Z, 4.0, n).sum(axis=-1) - 1).max() for n in (0, 5, 200)]
    assert sums[0] > sums[1] > 1e-4 and sums[2] < 1e-14


def test_bi_tempered_special_cases():
    p = google.tempered_softmax(Z, 1.0)
    kl = np.sum(SOFT * np.log(SOFT / p), axis=-1)
    np.testing.assert_allclose(google.bi_tempered_logistic_loss(Z, SOFT, 1.0, 1.0), kl, rtol=1e-12)
    q, own = 0.3, p[np.arange(4), HARD]  # generalized cross entropy, and its bias
    expected = (1 - own**q) / q - (1 - np.sum(p ** (1 + q), axis=-1)) / (1 + q)
    np.testing.assert_allclose(google.sparse_bi_tempered_logistic_loss(Z, HARD, 0.7, 1.0), expected, rtol=1e-12)
    assert np.isfinite(google.bi_tempered_logistic_loss(Z, SOFT, 2.0, 1.2)).all()  # 2 - t1 divides nothing


def test_sparse_and_dense_bi_tempered_differ_by_the_offset():
    sparse = google.sparse_bi_tempered_logistic_loss(Z, HARD, 0.5, 1.5)
    dense = google.bi_tempered_logistic_loss(Z, np.eye(3)[HARD], 0.5, 1.5)
    np.testing.assert_allclose(dense - sparse, 1e-10, rtol=1e-4)


# Edges ----------------------------------------------------------------------------------------

ROW_DOORS = {
    "google 0.7": lambda z, y: google.bi_tempered_logistic_loss(z, y, 0.5, 0.7),
    "google 1": lambda z, y: google.bi_tempered_logistic_loss(z, y, 1.0, 1.0),
    "google 1.4": lambda z, y: google.bi_tempered_logistic_loss(z, y, 0.5, 1.4),
    "torch": lambda z, y: torch.cross_entropy(z, y, reduction="none"),
    "tensorflow": lambda z, y: tensorflow.softmax_cross_entropy_with_logits(y, z),
    "keras": lambda z, y: keras.categorical_crossentropy(y, z, from_logits=True),
    "keras focal": lambda z, y: keras.categorical_focal_crossentropy(y, z, from_logits=True),
    "incendio": lambda z, y: incendio.soft_label_cross_entropy_with_logits(z, y, reduction="none"),
    "incendio mae": lambda z, y: incendio.classification_mae_with_logits(z, y, reduction="none"),
}


@pytest.mark.parametrize("name", ROW_DOORS)
def test_infinite_and_undefined_logits(name):
    door, y = ROW_DOORS[name], np.eye(3)[[0, 0, 0, 1]]
    z = np.array([[1.0, 0.5, -np.inf], [np.nan, 0.5, 1.0], [-np.inf] * 3, [1.0, np.inf, 0.5]])
    values = door(z, y)
    np.testing.assert_allclose(values[0], door(z[:1, :2], y[:1, :2])[0], rtol=1e-13)  # a masked class is no class
    assert np.isnan(values[1]) and np.isnan(values[2])
    assert values[3] == pytest.approx(0, abs=1e-9)  # an infinite logit is sure (1e-10, clipped 1e-7 stay)


# Refusals -------------------------------------------------------------------------------------

BAD = [
    (lambda: torch.cross_entropy(Z, [0, 3, 0, 0]), r"target\[1\] = 3 must be in \[0, 3\)"),
    (lambda: torch.cross_entropy(Z, [0, 0, 0]), r"target of shape \(3,\) do not fit input of shape \(4, 3\)"),
    (lambda: torch.cross_entropy(Z, 2 * SOFT), r"target\[.*must be in \[0, 1\]"),
    (lambda: torch.cross_entropy(Z, HARD, [1, -1, 1]), r"weight must lie in \[0, ∞\), got"),
    (lambda: torch.cross_entropy(Z, HARD, reduction="avg"), r"reduction must be one of .*, got 'avg'"),
    (lambda: torch.cross_entropy(Z, HARD, label_smoothing=1.5), r"label_smoothing must lie in \[0, 1\), got 1.5"),
    (lambda: torch.binary_cross_entropy_with_logits(Z, 1 + P), r"target\[0, 0\] = .* must be in \[0, 1\]"),
    (lambda: torch.binary_cross_entropy_with_logits(Z, P, pos_weight=-1), r"pos_weight must lie in \[0, ∞\)"),
    (lambda: torch.binary_cross_entropy_with_logits(Z, P, W[:2]), r"weight of shape \(2,\)"),
    (lambda: torch.sigmoid_focal_loss(Z, P, gamma=-1), r"gamma must lie in \[0, ∞\), got -1"),
    (lambda: torch.sigmoid_focal_loss(Z, P, alpha=1.5), r"alpha must lie in \[0, 1\], got 1.5"),
    (lambda: fastai.LabelSmoothingCrossEntropy(1.5)(Z, HARD), r"eps must lie in \[0, 1\), got 1.5"),
    (lambda: fastai.LabelSmoothingCrossEntropyFlat()(Z, HARD[:2]), r"target of shape \(2,\)"),
    (lambda: fastai.FocalLoss(-1)(Z, HARD), r"gamma must lie in \[0, ∞\), got -1"),
    (lambda: fastai.FocalLoss()(Z, [0, 0, 0, 9]), r"targ\[3\] = 9"),
    (lambda: keras.binary_crossentropy(2 * P, P), r"y_true\[.*must be in \[0, 1\]"),
    (lambda: keras.binary_crossentropy(P[:2], P), r"y_true of shape \(2, 3\) do not fit y_pred of shape \(4, 3\)"),
    (lambda: keras.binary_crossentropy(P, P, variant="tf3"), r"variant must be one of 'keras3', 'tf2.1', got 'tf3'"),
    (lambda: keras.binary_crossentropy(P, P, epsilon=-1), r"epsilon must lie in \[0, 1\], got -1"),
    (lambda: keras.binary_crossentropy(P, P, label_smoothing=2), r"label_smoothing must lie in"),
    (lambda: keras.categorical_crossentropy(HARD, P), r"y_true of shape \(4,\) does not fit y_pred of shape \(4, 3\)"),
    (lambda: keras.sparse_categorical_crossentropy([0, 3, 0, 0], P), r"y_true\[1\] = 3"),
    (lambda: keras.sparse_categorical_crossentropy(SOFT, P), r"y_true of shape \(4, 3\)"),
    (lambda: keras.binary_focal_crossentropy(P, P, True, 2.0), r"alpha must lie in \[0, 1\], got 2.0"),
    (lambda: keras.categorical_focal_crossentropy(SOFT, P, -1), r"alpha must lie in \[0, ∞\), got -1"),
    (
        lambda: keras.categorical_focal_crossentropy(SOFT, P, [1, 2]),
        r"alpha of shape \(2,\) .* y_pred of shape \(4, 3\)",
    ),
    (lambda: keras.CategoricalCrossentropy(reduction="avg")(SOFT, P), r"reduction must be one of .*, got 'avg'"),
    (lambda: keras.CategoricalCrossentropy()(SOFT, P, W), r"sample_weight of shape \(3,\)"),
    (lambda: tensorflow.softmax_cross_entropy_with_logits(HARD, Z), r"labels of shape \(4,\)"),
    (lambda: tensorflow.sigmoid_focal_crossentropy(P, P, gamma=-1), r"gamma must lie in \[0, ∞\), got -1"),
    (lambda: tensorflow.sigmoid_focal_crossentropy(P, P, alpha=2), r"alpha must lie in \[0, 1\], got 2"),
    (lambda: sparse_lsr.LSRLoss(1.0)(Z, HARD), r"smoothing must lie in \[0, 1\), got 1.0"),
    (lambda: sparse_lsr.SparseLSRLoss(variant="code")(Z, HARD), r"variant must be one of .*, got 'code'"),
    (lambda: sparse_lsr.SparseLSRLoss()(Z, SOFT), r"y_target of shape \(4, 3\) does not fit y_pred of shape \(4, 3\)"),
    (lambda: incendio.smooth_soft_labels(SOFT, -0.1), r"alpha must lie in \[0, ∞\), got -0.1"),
    (lambda: incendio.soft_label_cross_entropy(P, SOFT, -1), r"alpha must lie in"),
    (lambda: incendio.soft_label_cross_entropy_with_logits(Z, 2 * SOFT), r"y_true\[.*must be in \[0, 1\]"),
    (lambda: google.bi_tempered_logistic_loss(Z, 2 * SOFT, 1, 1), r"labels\[.*must be in \[0, 1\]"),
    (lambda: google.bi_tempered_logistic_loss(Z, SOFT, -1, 1), r"t1 must lie in \[0, ∞\), got -1"),
    (lambda: google.bi_tempered_logistic_loss(Z, SOFT, 1, 0), r"t2 must lie in \(0, ∞\), got 0"),
    (lambda: google.bi_tempered_logistic_loss(Z, SOFT, 1, 1, 1), r"label_smoothing must lie in \[0, 1\), got 1"),
    (lambda: google.bi_tempered_logistic_loss(Z, SOFT, 1, 1, num_iters=2.5), r"num_iters must be an integer"),
    (lambda: google.bi_tempered_logistic_loss(Z, SOFT, 1, 1, variant="tf"), r"variant must be one of"),
    (lambda: google.bi_tempered_logistic_loss(Z[:, :1], np.ones((4, 1)), 1, 1, 0.1), r"two classes.*\(4, 1\)"),
    (lambda: google.sparse_bi_tempered_logistic_loss(Z, SOFT, 1, 1), r"labels of shape \(4, 3\)"),
    (lambda: google.tempered_softmax(0.0, 1.5), r"activations must have shape \(\.\.\., C\)"),
    (lambda: google.tempered_softmax(Z, np.nan), r"t must lie in \(0, ∞\), got nan"),
]


@pytest.mark.parametrize("call, message", BAD, ids=[message for _, message in BAD])
def test_illegal_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_negative_alpha_is_incendios_own_error():
    for call in incendio.smooth_soft_labels, partial(incendio.soft_label_cross_entropy_with_logits, Z):
        with pytest.raises(incendio.InvalidArgumentError):
            call(SOFT, alpha=-1)


@pytest.mark.parametrize("door", [torch.cross_entropy, fastai.FocalLoss(), partial(google.tempered_softmax, t=1.5)])
def test_what_is_no_number_is_a_type_error(door):
    with pytest.raises(TypeError, match="input must be|inp must be|activations must be"):
        door(Z.astype(complex), *([HARD] if not isinstance(door, partial) else []))


def test_smoothing_of_torch_is_the_librarys():
    expected = value(LabelSmoothing(CrossEntropy(W), 0.2), Z, HARD)
    assert np.array_equal(torch.cross_entropy(Z, HARD, W, reduction="none", label_smoothing=0.2), expected)


def test_the_page_of_disagreements_is_current():
    assert conventions.table() in conventions.PAGE.read_text(encoding="utf-8")


# Probabilities: Keras's formulas are losses of the library -----------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("variant, added", [("keras3", 0.0), ("tf2.1", 1e-7)])
def test_keras_of_probabilities_is_a_loss_of_the_library(variant, added, smoothing):
    options = {"label_smoothing": smoothing, "variant": variant}
    rows = np.vstack([P, [[0.0, 2.0, 0.0], [1.0, 0.0, 0.25]]])
    soft = np.vstack([SOFT, np.eye(3)[:2]])
    loss = LabelSmoothing(RescaledProbabilityCrossEntropy(1e-7), smoothing)
    for door, verb in (keras.categorical_crossentropy, value), (keras.categorical_crossentropy.gradient, gradient):
        np.testing.assert_allclose(door(soft, rows, **options), verb(loss, rows, soft), rtol=2e-9, atol=1e-15)
    single, labels = np.append(P.ravel(), [0.0, 1.0, 0.0, 1.0]), np.append(SOFT.ravel(), [0.0, 0.0, 1.0, 1.0])
    loss = BinaryLabelSmoothing(BinaryProbabilityCrossEntropy(1e-7, added), smoothing)
    for door, verb in (keras.binary_crossentropy, value), (keras.binary_crossentropy.gradient, gradient):
        found = door(labels[:, None], single[:, None], **options).ravel()
        np.testing.assert_allclose(found, verb(loss, single, labels), rtol=2e-9, atol=1e-15)
