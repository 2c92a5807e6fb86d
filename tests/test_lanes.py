"""Rows and single logits under the tempered softmax, worked on in lanes, beside rows that are worked on alone."""

import math

import numpy as np
import pytest

import reflosses
from reflosses import (
    BinaryLabelSmoothing,
    BiTempered,
    BiTemperedBinary,
    LabelSmoothing,
    gradient_and_hessian_diagonal,
    rough,
    value_and_gradient,
)
from reflosses.api import gradient_and_curvature, prepare

TEMPERATURES = (0.8, 1.2), (1.0, 1.0), (0.2, 4.0), (0.5, 0.8), (0.9, 1 + 1e-9)
INF = math.inf


def alone(loss, z, y):
    """Return value, gradient and Hessian diagonal of rows, each worked on alone."""
    results = np.empty(len(z), z.dtype), np.empty_like(z), np.empty_like(z)
    prepare(loss).drivers.rows(loss, None, 1.0, z, y, None, None, *results)
    return results


def in_lanes(loss, z, y):
    """Return the same from lanes, and value and gradient from those of hard labels where they are hard."""
    value, *derivatives = reflosses.value(loss, z, y), *gradient_and_hessian_diagonal(loss, z, y)
    return value, *derivatives, *value_and_gradient(loss, z, y)


def agree(loss, z, y, ulps=64):
    """Assert that lanes and rows alone give the same, but for roundings.

    A derivative is a difference: its yardstick is the largest of its row, of a second one the slopes too.
    """
    expected = alone(loss, z, y)
    sizes = [np.abs(other) if other.ndim == 1 else np.abs(other).max(axis=1, keepdims=True) for other in expected]
    sizes[2] += sizes[1]
    for k, ours in zip((0, 1, 2, 0, 1), in_lanes(loss, z, y), strict=True):
        assert (np.abs(ours - expected[k]) <= ulps * np.finfo(z.dtype).eps * sizes[k]).all()


@pytest.mark.parametrize("t", TEMPERATURES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("n", [1, 2, 3, 33, 64, 65, 66, 129, 130, 257, 4097])
def test_rows_of_any_length(n, dtype, t):
    random = np.random.default_rng(n)
    z = (random.normal(size=(7, n)) * np.array([[0.01, 0.3, 1, 3, 10, 30, 2]]).T).astype(dtype)
    agree(BiTempered(*t), z, random.integers(0, n, 7))
    agree(BiTempered(*t), z, z.argmax(axis=1))
    agree(BiTempered(*t), z, np.full(7, n - 1))
    labels = random.random((7, n))
    labels[1:, 1::3], labels[2] = 0.0, np.eye(n)[n // 2]
    labels = (labels / labels.sum(axis=1, keepdims=True)).astype(dtype)
    agree(BiTempered(*t), z, labels)
    if n > 1:
        agree(LabelSmoothing(BiTempered(*t), 0.2), z, random.integers(0, n, 7))


@pytest.mark.parametrize("n", [2, 65, 131, 135, 1100, 3000])
def test_a_row_does_not_know_of_the_blocks_before_it(n):
    """Blocks of 64 lanes that are full, of 1 to 64 lanes a row, and one that is not."""
    random = np.random.default_rng(n)
    rows = 2 * 64 * 64 // n + 3 if n > 64 else 131
    z, y = random.normal(size=(rows, n)) * 3, random.integers(0, n, rows)
    soft = np.where(np.arange(rows)[:, None] % 3 > 0, np.eye(n)[y], 1 / n)
    weight, upstream = random.random(rows) + 0.5, random.random(rows)
    for labels in y, soft:
        for verb in value_and_gradient, gradient_and_hessian_diagonal:
            whole = verb(BiTempered(), z, labels, weight=weight, upstream=upstream)
            for i in range(rows):
                k = slice(i, i + 1)
                one = verb(BiTempered(), z[k], labels[k], weight=weight[k], upstream=upstream[k])
                for ours, other in zip(whole, one, strict=True):
                    np.testing.assert_array_equal(ours[k], other)


@pytest.mark.parametrize("t", TEMPERATURES)
@pytest.mark.parametrize("dtype, rtol", [(np.float32, 1e-5), (np.float64, 1e-12)], ids=["float32", "float64"])
@pytest.mark.parametrize("n", [1, 2, 3, 66, 131])
def test_expected_curvature_is_that_at_the_predictions(n, dtype, rtol, t):
    random, loss = np.random.default_rng(n), BiTempered(*t)
    z, y, w = random.normal(size=(70, n)).astype(dtype) * 2, random.integers(0, n, 70), random.random(70) + 0.5
    y[::2] = z[::2].argmax(axis=1)
    slopes, bend = gradient_and_curvature(loss, z, y, w)
    np.testing.assert_array_equal(slopes, reflosses.gradient(loss, z, y, weight=w))
    p = reflosses.tempered_softmax(z.astype(np.float64), t[1])
    expected = reflosses.hessian_diagonal(loss, z.astype(np.float64), p, weight=w, normalized=False)
    assert (bend >= 0).all()
    np.testing.assert_allclose(bend, expected, rtol=rtol, atol=rtol * expected.max())


@pytest.mark.parametrize("t", TEMPERATURES)
@pytest.mark.parametrize("size", [1, 63, 64, 65, 200])
def test_a_logit_does_not_know_of_its_block(size, t):
    """Blocks of 64 logits that are full and that are not, of hard labels, of any, and of changed ones."""
    random = np.random.default_rng(size)
    z, y = random.normal(size=size) * 4, random.integers(0, 2, size).astype(float)
    z[::7] = 0.0
    pure = BiTemperedBinary(*t)
    for loss in pure, BinaryLabelSmoothing(pure, 0.1), BinaryLabelSmoothing(pure, 1e-20):  # 1 - 1e-20 is not 1
        for labels in y, np.where(np.arange(size) % 5 == 3, 0.3, y):
            for verb in value_and_gradient, gradient_and_hessian_diagonal:
                found = verb(loss, z, labels)
                ones = [verb(loss, z[i : i + 1], labels[i : i + 1]) for i in range(size)]
                for ours, other in zip(found, zip(*ones, strict=True), strict=True):
                    np.testing.assert_array_equal(ours, np.concatenate(other))


@pytest.mark.parametrize("t", TEMPERATURES)
@pytest.mark.parametrize("y", [0.0, 1.0, 0.3, 1e-9])
def test_a_logit_is_a_row_of_two(y, t):
    z = np.concatenate([np.linspace(-12, 12, 121), [40.0, -1e3, 1e300, -1e300, INF, -INF]])
    rows, labels = np.stack([np.zeros_like(z), z], axis=1), np.broadcast_to([1.0 - y, y], (z.size, 2))
    found, expected = (
        value_and_gradient(BiTemperedBinary(*t), z, y * np.ones_like(z)),
        value_and_gradient(BiTempered(*t), rows, labels),
    )
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-13)
    np.testing.assert_allclose(found[1], expected[1][:, 1], rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("t", TEMPERATURES)
@pytest.mark.parametrize(
    "row",
    [
        [1000.0, 0.0, 3.0],  # p below the smallest number
        [100.0, 0.0, -INF],  # p below the smallest float32
        [1e30, 0.0, 9e29],
        [1e300, -1e300, 0.0],  # logits that are infinite in float32
        [0.0, 0.0, 0.0],
        [1.0, 1.0, 1.0 - 2**-50],
        [3.0, -2.0, -2.0],  # at t = 0.8, where a support ends
        [INF, 0.0, 1.0],
    ],
)
def test_rows_where_float32_is_no_beginning(row, t):
    z = np.array([row] * 3)
    beside = np.array([[0.3, -0.2, 1.0]])
    for y in np.array([0, 1, 2]), np.array([2, 2, 2]), np.array([[0.5, 0.25, 0.25]] * 3):
        found, general = in_lanes(BiTempered(*t), z, y), alone(BiTempered(*t), z, y)
        for ours, k in zip(found, (0, 1, 2, 0, 1), strict=True):
            np.testing.assert_allclose(ours, general[k], rtol=1e-13, atol=1e-300)
        if y.ndim == 1:
            np.testing.assert_array_equal(gradient_and_curvature(BiTempered(*t), z, y)[0], found[4])
        both = in_lanes(BiTempered(*t), np.concatenate([beside, z]), np.concatenate([y[:1], y]))
        for ours, other in zip(both, found, strict=True):
            np.testing.assert_array_equal(ours[1:], other)


def test_slopes_that_overflow_are_found_again():
    """F' is p^-0.5 here, and some of the three rows are too much for lanes; weights reach all of them."""
    loss, weight = BiTempered(1.5, 1.0), np.array([0.5, 2.0, 1.0])
    z, y = np.array([[0.0, 0.0, 1419.0], [1.0, 0.0, 2.0], [0.0, 1418.0, 2.0]]), np.array([0, 1, 0])
    expected = [x * weight[:, None] for x in alone(loss, z, y)[1:]]
    found = gradient_and_hessian_diagonal(loss, z, y, weight=weight)
    for ours, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-12)
    slopes, bend = gradient_and_curvature(loss, z, y, weight)
    np.testing.assert_allclose(slopes, expected[0], rtol=1e-12)
    assert np.isfinite(slopes).all() and (bend >= 0).all()


def test_functions_in_float32():
    x = np.concatenate([np.linspace(-0.991, 4.0, 500), [1e-30, -1e-30, 1e30, 1e-5]]).astype(np.float32)
    for w in x:
        found, one_more = rough.log2_1p(w)
        assert abs(found / (math.log1p(w) / math.log(2)) - 1) < 2**-18
        assert one_more == np.float32(1) + w
    for y in np.concatenate([np.linspace(-99, 100, 999), [1e-30, -1e-20]]).astype(np.float32):
        assert abs(rough.exp2m1(y) / math.expm1(y * math.log(2)) - 1) < 2**-18
    beta = np.float32(0.5)
    for v in np.linspace(0, 50, 77, dtype=np.float32):
        p, b = rough.exp_tempered(v, beta, np.float32(2))
        assert (abs(p / (1 + 0.5 * v) ** -2.0 - 1) < 2**-17, b) == (True, 1 + beta * v)
    assert rough.exp_tempered(np.float32(3), -beta, np.float32(-2)) == (0, 1)  # outside of a support
    assert rough.exp_tempered(np.float32(INF), beta, np.float32(2))[0] == 0
