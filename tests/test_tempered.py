"""Tempered functions against the textbook in ball arithmetic, and the limits they are known for."""

import math

import numba
import numpy as np
import pytest
from flint import arb, ctx
from strategies import DTYPES

import reflosses
from reflosses import (
    BiTempered,
    BiTemperedBinary,
    exp_t,
    gradient,
    hessian,
    hessian_diagonal,
    log_t,
    softmax,
    tempered_normalization,
    tempered_sigmoid,
    tempered_softmax,
    textbook,
    value,
)
from reflosses.arrays import rounded
from reflosses.audit.measure import errors, is_within
from reflosses.divergence import payment
from reflosses.oracle import Variable, certify, magnitude, number
from reflosses.special import log_parts

TEMPERATURES = 0.3, 0.8, 1 - 1e-9, 1 - 2**-53, 1.0, 1 + 2**-52, 1 + 1e-5, 1.2, 2.0, 4.0
INF = math.inf
H = arb(2) ** -700


def slope(f, x):
    """Return f'(x) by central differences of a formula in 4,096 bits."""
    return (f(x + H) - f(x - H)) / (2 * H)


def bend(f, x):
    return slope(lambda a: slope(f, a), x)


@pytest.mark.parametrize("t", TEMPERATURES)
@pytest.mark.parametrize("ours, formula", [(log_t, textbook.log_t), (exp_t, textbook.exp_t)], ids=["log_t", "exp_t"])
def test_scalars_and_all_their_derivatives(ours, formula, t):
    x = np.array([1e-300, 1e-8, 0.1, 0.5, 0.999, 1.0, 1.5, 3.0]) if ours is log_t else np.linspace(-4.9, 0.9, 12) / 1.5
    x = x[[bool(1 + (1 - t) * a > 1e-3) for a in x]] if ours is exp_t else x
    found = ours(x, t), ours.derivative(x, t), ours.second_derivative(x, t), ours.derivative_in_temperature(x, t)
    with ctx.workprec(4096):
        truth = [], [], [], []
        for a in map(arb, map(float, x)):
            exact = arb(float(t))
            truth[0].append(formula(a, exact))
            truth[1].append(slope(lambda u, exact=exact: formula(u, exact), a))
            truth[2].append(bend(lambda u, exact=exact: formula(u, exact), a))
            truth[3].append(slope(lambda s, a=a: formula(a, s), exact))
    for values, exact, limit in zip(found, truth, (2, 2, 4, 8), strict=True):
        assert errors(values, exact).max() <= limit


@pytest.mark.parametrize("t", TEMPERATURES)
@pytest.mark.parametrize("z", [[0.5, -1.25, 2.0], [20.0, 0.0, 0.0], [0.0] * 7, [-3.0, 4.0], [1e4, 0.0, -INF]])
def test_the_softmax_is_certified(t, z):
    with ctx.workprec(2048):
        numbers = [Variable(arb(x)) for x in z]
        exact = [number(p).value for p in textbook.tempered_softmax(numbers, number(t))]
        normalization = textbook.tempered_normalization(numbers, number(t)).value
    assert errors(tempered_softmax(z, t), exact).max() <= 3
    assert errors(np.array([tempered_normalization(z, t)]), [normalization]).max() <= 2


@pytest.mark.parametrize("dtype, ulps", [(np.float64, 1), (np.float32, 0.501)], ids=["float64", "float32"])
@pytest.mark.parametrize("t", [0.6, 1.0, 1.3, 4.0])
@pytest.mark.parametrize("n", [1, 2, 5, 66, 130])
def test_probabilities_in_lanes_are_certified(n, t, dtype, ulps):
    """Next to the edge of a support (t < 1), dp = -p^t dλ is large beside p: λ has some 60 correct bits."""
    random = np.random.default_rng(n)
    z = (random.standard_normal((5, n)) * [[0.01], [1.0], [3.0], [30.0], [100.0]]).astype(dtype)
    found = tempered_softmax(z, t)
    with ctx.workprec(512):
        for row, p in zip(z, found, strict=True):
            exact = textbook.tempered_softmax([Variable(arb(float(x))) for x in row], number(t))
            exact = [number(x).value for x in exact]
            moved = [x + x ** arb(t) / 128 if x > 0 else x for x in exact]
            assert errors(p, exact, moved).max() <= ulps


def test_logarithms_in_the_hundreds_keep_their_digits():
    """p is e^-189 here, and 58 correct bits of its logarithm were 4.8 ulp of the value."""
    loss, z = BiTempered(0.8597281038454163, 0.9978090379094101), np.array([189.0, 34.0])
    for y in 0, np.array([1.0, 0.0]):
        found = value(loss, z, y)
        assert errors(np.array([found]), certify(loss, z, y)).max() <= 2


@numba.njit
def paid(t1, p, y):
    out = np.empty(p.size)
    for i in range(p.size):
        log_p, low = log_parts(p[i], 0.0)
        out[i] = payment(t1[i], log_p, low, y[i])
    return out


@pytest.mark.parametrize("highest", [2.0, 8.0])
def test_what_a_class_pays_is_rounded_about_once(highest):
    """Of its own size, not of the terms of the closed form: these cancel, and the gate of accuracy forgives them."""
    random = np.random.default_rng(3)
    t1 = np.append(random.uniform(0, highest, 1500), [0.0, 0.5, 1.0, 1.5, 2.0])
    p = 10.0 ** random.uniform(-9, 0, t1.size)
    y = np.where(random.random(t1.size) < 0.5, random.random(t1.size), 10.0 ** random.uniform(-6, 0, t1.size))
    kept = np.abs(np.log(p / y)) > 0.05  # nearer the difference of two logarithms is lost, whatever comes then
    with ctx.workprec(400):
        truth = [textbook.tempered_divergence(*map(arb, x)) for x in zip(y[kept], p[kept], t1[kept], strict=True)]
    with np.errstate(all="ignore"):  # machine code does not warn, the simulator's Python does
        found = paid(t1[kept], p[kept], y[kept])
    assert errors(found, truth).max() <= 1.1


def test_huge_slopes_do_not_reach_classes_without_mass():
    """Σ F'' is infinite here, and 0 times it would be nan."""
    loss, z = BiTempered(1.5, 1.0), np.array([0.0, 0.0, 1419.0])
    for found, verb in (hessian_diagonal(loss, z, 0), "hessian_diagonal"), (hessian(loss, z, 0).ravel(), "hessian"):
        truth, terms = certify(loss, z, 0, verb), magnitude(loss, z, 0, verb)
        assert np.isfinite(found).all() and is_within(found[:1], truth[:1], terms[:1]).all()


@pytest.mark.parametrize("verb", ["gradient", "hessian_diagonal"])
def test_a_power_may_overflow_where_the_slope_does_not(verb):
    """p^-1.5 is e^500 and more, and p - y some e^-500."""
    loss, z, y = BiTempered(2.5, 1.0), np.array([381.0, -119.0, 341.0]), np.array([1.0, 6e-218, 2e-18])
    found, truth = getattr(reflosses, verb)(loss, z, y), certify(loss, z, y, verb)
    assert errors(found, truth, magnitude(loss, z, y, verb)).max() <= 4


def test_values_beyond_float64_are_infinite():
    """Both terms of the closed form overflow; the truth is 7.7e1518."""
    assert value(BiTempered(8.0, 1.0), [0.0, 0.0, 500.0], [0.25, 0.25, 0.5]) == INF


@pytest.mark.parametrize("t", TEMPERATURES)
def test_products_are_slopes(t):
    z, v, h = np.array([[0.2, -0.1, 0.3], [0.0, 0.1, -0.2]]), np.array([[1.0, -2.0, 0.5], [0.3, 0.2, 0.1]]), 1e-6
    along = (tempered_softmax(z + h * v, t) - tempered_softmax(z - h * v, t)) / (2 * h)
    np.testing.assert_allclose(tempered_softmax.jvp(z, t, v), along, atol=1e-9)
    np.testing.assert_array_equal(tempered_softmax.vjp(z, t, v), tempered_softmax.jvp(z, t, v))
    in_t = (tempered_softmax(z, t + h) - tempered_softmax(z, t - h)) / (2 * h)
    np.testing.assert_allclose(tempered_softmax.derivative_in_temperature(z, t), in_t, atol=1e-9)


@pytest.mark.parametrize("t", TEMPERATURES)
def test_the_sigmoid_is_the_second_of_two_classes(t):
    z, h = np.array([-3.0, -0.5, 0.0, 1e-9, 0.25, 2.0]), 1e-5
    rows = np.stack([0 * z, z], axis=1)
    np.testing.assert_allclose(tempered_sigmoid(z, t), tempered_softmax(rows, t)[:, 1], rtol=1e-15, atol=1e-300)
    ahead, behind = tempered_sigmoid(z + h, t), tempered_sigmoid(z - h, t)
    np.testing.assert_allclose(tempered_sigmoid.derivative(z, t), (ahead - behind) / (2 * h), atol=1e-9)
    ahead, behind = tempered_sigmoid.derivative(z + h, t), tempered_sigmoid.derivative(z - h, t)
    np.testing.assert_allclose(tempered_sigmoid.second_derivative(z, t), (ahead - behind) / (2 * h), atol=1e-8)
    np.testing.assert_array_equal(tempered_sigmoid.vjp(z, t, z), tempered_sigmoid.derivative(z, t) * z)
    ahead, behind = tempered_sigmoid(z, t + h), tempered_sigmoid(z, t - h)
    np.testing.assert_allclose(tempered_sigmoid.derivative_in_temperature(z, t), (ahead - behind) / (2 * h), atol=1e-9)


def test_limits():
    assert log_t(0.0, 0.5) == -2.0 and log_t(0.0, 1.0) == -INF and log_t(0.0, 2.0) == -INF
    assert log_t(INF, 2.0) == 1.0 and np.isnan(log_t(-1.0, 0.5))
    assert exp_t(-2.0, 0.5) == 0.0 and exp_t(-3.0, 0.5) == 0.0 and exp_t(1.0, 2.0) == INF and exp_t(2.0, 2.0) == INF
    assert exp_t(-INF, 1.5) == 0.0 and exp_t(-INF, 1.0) == 0.0 and exp_t(800.0, 1.0) == INF
    np.testing.assert_array_equal(tempered_softmax([1.0, -INF, 1.0], 1.7), [0.5, 0.0, 0.5])
    np.testing.assert_array_equal(tempered_softmax([INF, 0.0], 1.7), [1.0, 0.0])
    assert (
        np.isnan(tempered_softmax([INF, INF, 0.0], 1.7)).all() and np.isnan(tempered_softmax([np.nan, 0.0], 0.7)).all()
    )


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="many numbers for Python")
def test_long_rows_sum_to_one():
    z = np.random.default_rng(0).standard_normal((5, 50_000)) * 3
    for t in (0.5, 1.0, 1.5, 4.0):
        assert abs(tempered_softmax(z, t).sum(axis=1) - 1).max() < 1e-13
    np.testing.assert_allclose(tempered_softmax(z, 1.0), softmax(z), rtol=2e-15)


@pytest.mark.parametrize("dtype", DTYPES[1:], ids=lambda dtype: dtype.__name__)
def test_narrow_numbers_are_rounded_once(dtype):
    z = np.array([0.5, -1.25, 2.0], dtype)
    for ours in (tempered_softmax, tempered_sigmoid, exp_t):
        exact = ours(z.astype(np.float64), 1.3)
        assert ours(z, 1.3).dtype == dtype and np.array_equal(ours(z, 1.3), rounded(exact, np.dtype(dtype)))


@pytest.mark.parametrize(
    "call", [lambda: log_t(1.0, -0.1), lambda: tempered_softmax([1.0], 0.0), lambda: exp_t(1.0, INF)]
)
def test_temperatures_outside_their_domain(call):
    with pytest.raises(ValueError, match="t must lie in"):
        call()


PRINTED = [  # what the published code prints, for labels and activations of three rows
    (0.5, 1.5, [0.02301914, 0.18972909, 0.93874922]),
    (0.5, 0.8, [0.21646356, 0.41836615, 1.33997854]),
]


@pytest.mark.parametrize("t1, t2, expected", PRINTED)
def test_printed_values(t1, t2, expected):
    labels = np.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1], [0.2, 0.8, 0.0]])
    activations = np.array([[-0.5, 0.1, 2.0], [0.1, 1.5, -5.0], [4.0, -3.0, -6.0]])
    np.testing.assert_allclose(value(BiTempered(t1, t2), activations, labels), expected, atol=1e-4)


def test_binary_is_two_classes():
    z, y = np.array([-3.0, 0.0, 0.7, 40.0]), np.array([0.0, 0.25, 1.0, 1.0])
    rows, labels = np.stack([0 * z, z], axis=1), np.stack([1 - y, y], axis=1)
    one, two = BiTemperedBinary(0.7, 1.3), BiTempered(0.7, 1.3)
    np.testing.assert_allclose(value(one, z, y), value(two, rows, labels), rtol=1e-14)
    np.testing.assert_allclose(gradient(one, z, y), gradient(two, rows, labels)[:, 1], rtol=1e-14)
    np.testing.assert_allclose(hessian_diagonal(one, z, y), hessian_diagonal(two, rows, labels)[:, 1], rtol=1e-13)
