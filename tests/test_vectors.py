"""Loops in vector registers: the same numbers as plain Python, and nothing beyond the edges."""

import math

import numpy as np
import pytest
from numba import njit

from reflosses import vectors
from reflosses.special import inline

SHAPES = [(1, 1), (1, 7), (3, 3), (8, 8), (7, 9), (9, 16), (17, 10), (24, 33), (5, 100)]
GUARD = -7.0


@inline
def put(i, x, y, factor):
    y[i] = factor * x[i]


@njit
def put_all(count, x, y, factor):
    vectors.for_each(count, put, (x, y, factor), 4)


@njit
def lane_sums(x):
    return vectors.lane_sums(x)


@njit
def row_sums(x, sums, errors):
    vectors.row_sums(x, sums, errors)


@njit
def scale_rows(x, factors, z):
    vectors.scale_rows(x, factors, z)


@njit
def subtract_rows(x, factors, y, scales, z):
    vectors.subtract_rows(x, factors, y, scales, z)


@njit
def distance_rows(t, largest, z, paid):
    vectors.distance_rows(t, largest, z, paid)


def entries(shape):
    """Return positive numbers of many magnitudes, whose plain sums lose digits."""
    random = np.random.default_rng(sum(shape))
    return random.random(shape) * 2.0 ** random.integers(-60, 3, shape)


def assert_nearly_exact(pair, terms):
    error = math.fsum([*pair, *(-x for x in terms)])
    assert abs(error) <= 1.01 * 2.0**-53 * math.fsum(abs(terms)), (pair, error)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 31, 32, 33, 100])
def test_every_index_is_visited_once_and_none_beyond(count):
    x, y = np.arange(120.0), np.full(120, GUARD)
    put_all(count, x, y, 3.0)
    assert np.array_equal(y, np.where(x < count, 3.0 * x, GUARD))


@pytest.mark.parametrize("size", [*range(40), 100, 1000])
def test_sums_lose_at_most_one_rounding(size):
    for x in (entries((size,)), entries((size,)) * np.resize([1.0, -1.0], size)):
        assert_nearly_exact(lane_sums(x), x)


def test_neighbouring_vectors_alone_are_added_plainly():
    x = np.zeros(32)
    x[0], x[16], x[24] = 1.0, 2.0**-60, 2.0**-61
    assert lane_sums(x) == (1.0, 2.0**-60 + 2.0**-61)


@pytest.mark.parametrize("shape", SHAPES)
def test_sums_of_rows(shape):
    rows = shape[0]
    x, sums, errors = entries(shape), np.full(rows + 8, GUARD), np.full(rows + 8, GUARD)
    row_sums(x, sums, errors)
    for r in range(rows):
        assert_nearly_exact((sums[r], errors[r]), x[r])
    assert (sums[rows:] == GUARD).all() and (errors[rows:] == GUARD).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_scaled_rows(shape, dtype):
    x, factors = entries(shape), np.linspace(-2, 3, shape[0])
    whole = np.full(math.prod(shape) + 16, GUARD, dtype)
    scale_rows(x, factors, whole[8:-8].reshape(shape))
    assert np.array_equal(whole[8:-8].reshape(shape), (x * factors[:, None]).astype(dtype))
    assert (whole[:8] == GUARD).all() and (whole[-8:] == GUARD).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_differences_of_scaled_rows(shape, dtype):
    x, y = entries(shape), entries(shape[::-1]).T.copy()
    factors, scales = np.linspace(-2, 3, shape[0]), np.linspace(5, -1, shape[0])
    whole = np.full(math.prod(shape) + 16, GUARD, dtype)
    subtract_rows(x, factors, y, scales, whole[8:-8].reshape(shape))
    assert np.array_equal(whole[8:-8].reshape(shape), ((x * factors[:, None] - y) * scales[:, None]).astype(dtype))
    assert (whole[:8] == GUARD).all() and (whole[-8:] == GUARD).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_distances_from_the_largest_of_a_row(shape, dtype):
    t, z, largest = entries(shape), entries(shape).astype(dtype), np.linspace(2, 9, shape[0])
    t[0, 0], z[0, 0], z[-1, -1] = 0.0, -np.inf, -np.inf
    t[-1, shape[1] // 2] = np.nan
    whole = np.full(math.prod(shape) + 16, GUARD)
    distance_rows(t, largest, z, whole[8:-8].reshape(shape))
    with np.errstate(invalid="ignore"):
        expected = np.where(t == 0, 0.0, t * (largest[:, None] - z.astype(np.float64)))
    assert np.array_equal(whole[8:-8].reshape(shape), expected, equal_nan=True)
    assert (whole[:8] == GUARD).all() and (whole[-8:] == GUARD).all()
