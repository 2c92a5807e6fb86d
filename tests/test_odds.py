"""The odds against hard labels: as exact as one exponential, and row by row independent."""

import numpy as np
import pytest
from flint import arb, ctx
from numba import njit

from reflosses import CategoricalFocal, CrossEntropy, hessian_diagonal, odds, value_and_gradient


@njit
def fill(loss, z, y, e, unit, high, low):
    odds.odds_against(loss, z, y, e, unit, high, low)


def odds_of(z, y):
    """Return the odds as (high, low), and exp(z - z_y) with 0 for the labels."""
    e, (unit, high, low) = np.empty(z.shape), np.empty((3, len(z)))
    fill(CrossEntropy(), z, y, e, unit, high, low)
    return high, low, e * unit[:, None]


def test_odds_of_one_rival_are_as_exact_as_one_exponential():
    random = np.random.default_rng(7)
    z = np.concatenate([random.normal(0, 20, (3000, 2)), np.full((3000, 1), -250.0)], axis=1)
    blocks = [odds_of(block, np.zeros(600, np.int64)) for block in z.reshape(5, 600, 3)]
    high, low = (np.concatenate([block[k] for block in blocks]) for k in range(2))
    with ctx.workprec(200):
        errors = [
            abs((arb(h) + arb(g)) / ((arb(b) - arb(a)).exp() + (arb(c) - arb(a)).exp()) - 1) * 2.0**53
            for h, g, (a, b, c) in zip(high, low, z.tolist(), strict=True)
        ]
    assert max(map(float, errors)) < 1.65  # of half an ulp, 0.8 ulp of the rival's exponential at worst


@pytest.mark.parametrize("distance", [2.0**12, 420.0, -420.0, -715.0])
def test_a_row_far_away_is_shifted_and_its_neighbours_are_not_touched(distance):
    random = np.random.default_rng(8)
    z, y = random.normal(0, 3, (20, 5)), random.integers(0, 5, 20)
    alone = odds_of(z, y)
    far = z.copy()
    far[7] += distance
    for before, after in zip(alone, odds_of(far, y), strict=True):
        assert np.array_equal(np.delete(before, 7, 0), np.delete(after, 7, 0))
    near = odds_of(z[7:8], y[7:8])[0]
    assert abs(odds_of(far[7:8], y[7:8])[0] - near) <= 1e-12 * near


def test_long_rows_are_worked_on_in_pieces():
    random = np.random.default_rng(9)
    for label in (0, odds.PIECE - 1, odds.PIECE, 2 * odds.PIECE + 3):
        z = random.normal(0, 3, (1, 2 * odds.PIECE + 7))
        high, _, e = odds_of(z, np.array([label]))
        expected = np.exp(z - z[0, label])
        expected[0, label] = 0.0
        np.testing.assert_allclose(e, expected, rtol=1e-14)
        np.testing.assert_allclose(high, expected.sum(), rtol=1e-14)


LENGTHS = {
    CrossEntropy(): (2, 3, 32, 33, 63, 64, 65, 255, 256, 2047, 2049, 2055, 4111),
    CategoricalFocal(1.7): (2, 9, 65, 2055),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss, n", [(loss, n) for loss in LENGTHS for n in LENGTHS[loss]], ids=str)
def test_a_class_and_its_row_of_probabilities_cost_the_same(loss, n, dtype):
    random = np.random.default_rng(n)
    z, y = random.normal(0, 3, (9, n)).astype(dtype), random.integers(0, n, 9)
    tolerance = 8 * np.finfo(dtype).eps
    by_odds, by_rows = value_and_gradient(loss, z, y), value_and_gradient(loss, z, np.eye(n)[y])
    for ours, other in zip(by_odds, by_rows, strict=True):
        np.testing.assert_allclose(ours, other, rtol=tolerance)


@pytest.mark.parametrize("n", [2, 3, 40])
def test_the_weight_of_a_class_weighs_its_rows(n):
    random = np.random.default_rng(n)
    z, y, of_class = random.normal(0, 3, (20, n)), random.integers(0, n, 20), random.random(n) + 0.5
    by_class = value_and_gradient(CrossEntropy(class_weight=tuple(of_class)), z, y)
    by_row = value_and_gradient(CrossEntropy(), z, y, weight=of_class[y])
    for ours, other in zip(by_class, by_row, strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-14)


INF, NAN = np.inf, np.nan
ODD = [[0, INF], [-INF, 0], [INF, INF], [-INF, -INF], [INF, -INF], [NAN, 0], [3e38, -3e38], [1e30, 0], [-745.5, 0]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [3, 33, 64, 300, 2100])
def test_masked_classes_change_nothing_by_whatever_road(n, dtype):
    pairs = np.array([*ODD, *(pair[::-1] for pair in ODD), [1.5, -0.5]], dtype)
    if dtype is np.float64:
        pairs = np.concatenate([pairs, [[1e308, -1e308], [-1e308, 1e308], [500.0, -300.0]]])
    masked = np.concatenate([pairs, np.full((len(pairs), n - 2), -INF, dtype)], axis=1)
    for y in (0, 1):
        for labels in (lambda width, y=y: np.full(len(pairs), y), lambda width, y=y: np.eye(width)[[y] * len(pairs)]):
            for two, many in zip(results(pairs, labels(2)), results(masked, labels(n)), strict=True):
                np.testing.assert_allclose(many[..., :2] if many.ndim == 2 else many, two, rtol=1e-15)


def results(z, y):
    """Return value, gradient and Hessian diagonal."""
    return *value_and_gradient(CrossEntropy(), z, y), hessian_diagonal(CrossEntropy(), z, y)
