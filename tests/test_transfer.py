"""Softmax, sigmoid and their logarithms: values, derivatives and Jacobian products, certified."""

import math

import ml_dtypes
import numpy as np
import pytest
from flint import arb, ctx
from strategies import DTYPES, arrays, bits, layouts, weights_like

from reflosses import log_sigmoid, log_softmax, sigmoid, softmax
from reflosses.audit.measure import errors, narrow_errors
from reflosses.audit.points import GAPS

INF, NAN = math.inf, math.nan
ROWS = {"softmax": softmax, "log_softmax": log_softmax}
SINGLE = {"sigmoid": sigmoid, "log_sigmoid": log_sigmoid}
FLOOR = 2.0**-1010  # below, results inherit the absolute error of a subnormal exponential

each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)


def clipped(z, dtype):
    bound = float(ml_dtypes.finfo(dtype).max)
    return np.clip(z, -bound, bound).astype(dtype)


def logits(dtype):
    random = np.random.default_rng(0)
    tiny = [0.0, -0.0, float(ml_dtypes.finfo(dtype).smallest_subnormal), 1e-8]
    return clipped(np.concatenate([3 * random.standard_normal(60), GAPS, [-x for x in GAPS], tiny]), dtype)


def rows(dtype, n):
    random = np.random.default_rng(n)
    z = 3 * random.standard_normal((30, n))
    z[10:20, 0] += np.array(GAPS)
    z[20:25, -1] -= np.array(GAPS[:5])
    return clipped(z, dtype)


def judge(computed, truth, terms=None, ulps=4):
    """Compare rows of results with rows of balls by the gate of the dtype."""
    for result, exact, magnitude in zip(computed, truth, terms or truth, strict=True):
        magnitude = [abs(x) for x in magnitude]
        if computed.dtype == np.float64:
            magnitude = [max(x, arb(FLOOR)) if x > 0 else x for x in magnitude]
            assert (errors(result, exact, magnitude) <= ulps).all(), (result, exact)
        else:
            assert (narrow_errors(result, exact, magnitude) <= 0.501).all(), (result, exact)


@pytest.fixture(autouse=True)
def many_bits():
    with ctx.workprec(3000):
        yield


def settled(x):
    return arb(0) if abs(x) < arb(2) ** -1300 else x


def sigma(x):
    return 1 / (1 + (-x).exp()) if x > -5000 else x.exp()


def log_sigma(x):
    return -(1 + (-x).exp()).log() if x > -2000 else x - (x.exp() if x > -2000 else 0)


SCALAR_TRUTH = {
    "sigmoid": (
        sigma,
        lambda x: sigma(x) * sigma(-x),
        lambda x: sigma(x) * sigma(-x) * (sigma(-x) - sigma(x)),
    ),
    "log_sigmoid": (log_sigma, lambda x: sigma(-x), lambda x: -sigma(x) * sigma(-x)),
}


@each_dtype
@pytest.mark.parametrize("name", SINGLE)
def test_scalar_functions_and_their_derivatives(name, dtype):
    function, z = SINGLE[name], logits(dtype)
    z = z[np.abs(z.astype(float)) < 2000]
    exact = [[settled(f(arb(float(x)))) for x in z] for f in SCALAR_TRUTH[name]]
    judge(np.array([function(z)]), exact[:1], ulps=2)
    judge(np.array([function.derivative(z)]), exact[1:2])
    magnitude = [[sigma(arb(float(x))) * sigma(-arb(float(x))) for x in z]]
    judge(np.array([function.second_derivative(z)]), exact[2:], magnitude)
    vector = weights_like(z)
    expected = vector * function.derivative(z.astype(np.float64))
    for product in function.vjp(z, vector), function.jvp(z, vector):
        assert product.dtype == dtype
        close = 1e-15 if dtype is np.float64 else 0.51 * float(ml_dtypes.finfo(dtype).eps)
        tiny = float(ml_dtypes.finfo(dtype).smallest_subnormal)
        assert np.allclose(product.astype(float), expected, rtol=close, atol=tiny)


def exact_row(row):
    """Return p, log p and 1 - p of a row as balls."""
    x = [arb(float(a)) for a in row]
    top = max(x)
    e = [settled((a - top).exp()) for a in x]
    total = sum(e, arb(0))
    p = [a / total for a in e]
    rest = [sum(e[:i] + e[i + 1 :], arb(0)) / total for i in range(len(e))]
    return p, [a - top - total.log() for a in x], rest


@each_dtype
@pytest.mark.parametrize("n", [1, 2, 3, 10, 40])
def test_softmax_its_logarithm_and_their_jacobians(n, dtype):
    z = rows(dtype, n)
    vector = weights_like(z)
    p, log_p, rest = zip(*map(exact_row, z), strict=True)
    judge(softmax(z), p)
    judge(log_softmax(z), log_p)
    forward, forward_terms, backward, backward_terms = [], [], [], []
    for p_row, c_row, v_row in zip(p, rest, vector.tolist(), strict=True):
        v = [arb(x) for x in v_row]
        mean = [sum((p_row[k] * v[k] for k in range(n) if k != i), arb(0)) for i in range(n)]
        size = [sum((p_row[k] * abs(v[k]) for k in range(n) if k != i), arb(0)) for i in range(n)]
        others = [sum((v[k] for k in range(n) if k != i), arb(0)) for i in range(n)]
        forward.append([c_row[i] * v[i] - mean[i] for i in range(n)])
        forward_terms.append([c_row[i] * abs(v[i]) + size[i] for i in range(n)])
        backward.append([c_row[i] * v[i] - p_row[i] * others[i] for i in range(n)])
        size = [sum((abs(v[k]) for k in range(n) if k != i), arb(0)) for i in range(n)]
        backward_terms.append([c_row[i] * abs(v[i]) + p_row[i] * size[i] for i in range(n)])
    judge(log_softmax.jvp(z, vector), forward, forward_terms, ulps=8)
    judge(log_softmax.vjp(z, vector), backward, backward_terms, ulps=8)
    both = [[p[i][j] * forward[i][j] for j in range(n)] for i in range(len(z))]
    terms = [[p[i][j] * forward_terms[i][j] for j in range(n)] for i in range(len(z))]
    judge(softmax.jvp(z, vector), both, terms, ulps=8)
    judge(softmax.vjp(z, vector), both, terms, ulps=8)


@pytest.mark.parametrize("name", ROWS)
def test_products_are_adjoint_and_linear(name):
    function, z = ROWS[name], rows(np.float64, 5)
    left, right = weights_like(z), np.cos(weights_like(z))
    there = (function.vjp(z, left) * right).sum(axis=1)
    back = (left * function.jvp(z, right)).sum(axis=1)
    assert np.allclose(there, back, rtol=1e-12, atol=1e-14)
    step = 1e-6
    difference = (function(z[:10] + step * right[:10]) - function(z[:10] - step * right[:10])) / (2 * step)
    assert np.allclose(difference, function.jvp(z, right)[:10], rtol=1e-6, atol=1e-8)


def test_edges_of_rows():
    assert softmax([1.0, -INF, 1.0]).tolist() == [0.5, 0.0, 0.5]
    assert log_softmax([1.0, -INF, 1.0])[1] == -INF
    assert softmax([INF, 0.0, 1.0]).tolist() == [1.0, 0.0, 0.0]
    for nothing in [NAN, 0.0], [INF, INF], [-INF, -INF]:
        for function in ROWS.values():
            assert np.isnan(function(nothing)).all()
            assert (
                np.isnan(function.jvp(nothing, [1.0, 2.0])).all() and np.isnan(function.vjp(nothing, [1.0, 2.0])).all()
            )
            pair = function([nothing, [0.0, 1.0]])
            assert np.isnan(pair[0]).all() and pair[1].tobytes() == function([0.0, 1.0]).tobytes()
    for function in ROWS.values():
        for shape in (), (0,), (3, 0):
            with pytest.raises(ValueError, match="C >= 1"):
                function(np.zeros(shape))
        assert function(np.zeros((0, 3))).shape == (0, 3)


def test_edges_of_single_logits():
    assert sigmoid([-INF, INF]).tolist() == [0.0, 1.0] and log_sigmoid([-INF, INF]).tolist() == [-INF, 0.0]
    assert sigmoid.derivative([-INF, INF]).tolist() == [0.0, 0.0]
    for function in SINGLE.values():
        assert np.isnan(function(NAN)) and np.isnan(function.derivative(NAN)) and function([]).shape == (0,)
        assert function(np.zeros((2, 3, 4))).shape == (2, 3, 4)


@pytest.mark.parametrize("name", ROWS | SINGLE)
def test_layouts_dtypes_and_shapes(name):
    function = (ROWS | SINGLE)[name]
    z = rows(np.float64, 4)
    for layout, x in layouts(z):
        before = x.tobytes()
        assert bits(function(x)) == bits(function(z)) and x.tobytes() == before, layout
        assert bits(function.vjp(x, x)) == bits(function.vjp(z, z)), layout
    assert bits(function(z.reshape(2, 3, 5, 4))) == [((2, 3, 5, 4), "float64", function(z).tobytes())]
    assert all(array.dtype == np.float64 for array in arrays((function([[1, 2]]), function([[True, False]]))))
    with pytest.raises(TypeError):
        function(np.zeros((2, 2), complex))
    with pytest.raises(ValueError, match=r"\(3,\).*\(30, 4\)"):
        function.vjp(z, np.zeros(3))
