"""The scalar functions are as exact as their docstrings say, and right in every limit."""

import math
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from flint import arb, ctx
from numba import njit
from numba.core.registry import CPUDispatcher

from reflosses import single, special
from reflosses.audit.measure import ulp

INF, NAN = math.inf, math.nan


def around(*centres, count=300, seed=0):
    """Return numbers near some centres, at all distances, and the centres."""
    random = np.random.default_rng(seed)
    steps = np.ldexp(random.standard_normal((len(centres), count)), random.integers(-40, 4, (len(centres), count)))
    return np.unique(np.concatenate([centres, (np.array(centres)[:, None] + steps).ravel()]))


LOGS = np.arange(-12, 13) * math.log(2) / 2  # where the reductions change over
ANY = around(0.0, *LOGS, 37.0, -37.0, 300.0, -300.0, -700.0, 700.0)
TINY = np.ldexp(1.0, -np.arange(10, 1075, 7))
DEEP = np.linspace(-745.0, -700.0, 400)
POSITIVE = np.concatenate([np.ldexp(1.0 + np.random.default_rng(1).random(1500), np.arange(1500) % 120 - 90), TINY])
BOTH = np.concatenate([ANY, TINY, -TINY, DEEP, -DEEP])


def expit(x):
    return 1 / (1 + (-x).exp())


def log_expit(x):
    return -(1 + (-x).exp()).log() if x > -5000 else x - (1 + x.exp()).log()


# function, exact formula, inputs: the bound is read from the docstring
EXACT = {
    "exp_within": (lambda x: x.exp(), BOTH[abs(BOTH) <= 700]),
    "exp": (lambda x: x.exp(), np.concatenate([BOTH[np.abs(BOTH) < 709], DEEP])),
    "expm1": (lambda x: x.exp() - 1, BOTH[(np.abs(BOTH) < 709) & (BOTH != 0)]),
    "log1p": (lambda x: (1 + x).log(), POSITIVE),
    "expit": (expit, BOTH),
    "log_expit": (log_expit, BOTH),
    "softplus_tail": (lambda x: (1 + (-abs(x)).exp()).log(), BOTH),
}
POWERS = [0.0, 1e-300, 1e-3, 0.5, 1.0, 1.7, 2.0, 3.0, 5.0]


def stated(function):
    """Return the bound that a docstring states, as (ulps, relative error), one of them absent."""
    text = " ".join((function.py_func if isinstance(function, CPUDispatcher) else function).__doc__.split())
    ulps = re.search(r"[Ww]orst error ([\d.]+) ulp", text)
    relative = re.search(r"relative error below 2\^-(\d+)", text)
    return ulps and float(ulps[1]), relative and 2.0 ** -int(relative[1])


def worst(function, exact, inputs):
    """Return the largest error of a function, in ulps, and where it is."""
    with ctx.workprec(2300):
        found = [
            (abs(arb(float(function(x))) - (truth := exact(arb(float(x))))) / ulp(truth, np.float64), x) for x in inputs
        ]
        return max((float(error), float(x)) for error, x in found)


@pytest.mark.parametrize("name", EXACT)
def test_a_function_is_as_exact_as_its_docstring_says(name):
    function = getattr(special, name)
    error, x = worst(function, *EXACT[name])
    bound, _ = stated(function)
    assert error <= bound, f"special.{name}({x!r}) is {error:.3f} ulp off"


@pytest.mark.parametrize("name", [name for name in EXACT if hasattr(single, name)])
def test_its_short_namesake_has_a_float32s_worth_of_digits(name):
    function, (exact, inputs) = getattr(single, name), EXACT[name]
    _, bound = stated(function)
    with ctx.workprec(2300):
        for x in inputs:
            truth = exact(arb(float(x)))
            if truth > arb(2.0**-1000):
                error = float(abs(arb(float(function(x))) - truth) / truth)
                assert error < (bound or 2.0**-34), f"single.{name}({float(x)!r}) is off by {error:.3g}"


def test_exp_of_a_sum():
    random = np.random.default_rng(2)
    highs = BOTH[(BOTH > -708) & (BOTH < 600)]
    lows = random.uniform(-1, 1, highs.size) * np.spacing(np.abs(highs))
    errors = []
    with ctx.workprec(2300):
        for high, low in zip(highs.tolist(), lows.tolist(), strict=True):
            truth = (arb(high) + arb(low)).exp()
            errors.append((float(abs(arb(special.exp_sum(high, low)) - truth) / ulp(truth, np.float64)), high, low))
    assert max(errors)[0] <= stated(special.exp_sum)[0], max(errors)


@pytest.mark.parametrize("a", POWERS)
def test_powers_of_the_logistic_function(a):
    def exact(x):
        return (arb(a) * log_expit(x)).exp()

    error, x = worst(lambda x: special.expit_power(x, a), exact, BOTH[np.abs(BOTH) * a < 700])
    assert error <= stated(special.expit_power)[0], (x, a, error)
    with ctx.workprec(2300):
        for x in BOTH[np.abs(BOTH) * a < 500]:
            truth = exact(arb(float(x)))
            assert abs(arb(float(single.expit_power(x, a))) - truth) < truth * 2.0**-34, (x, a)


PARTS = {
    "exp_parts": (lambda x: special.exp_parts(x), lambda x: x.exp(), BOTH[(BOTH <= 600) & (BOTH > -660)]),
    "expm1_parts": (
        lambda x: special.expm1_parts(x, 0.0),
        lambda x: x.exp() - 1,
        BOTH[(np.abs(BOTH) < 700) & (np.abs(BOTH) > 1e-280)],
    ),
    "power_within": (
        lambda x: special.power_within(-x, 0.0, 1.7),
        lambda x: (-arb(1.7) * x).exp(),
        POSITIVE[POSITIVE < 380],
    ),
    "log1p_parts": (lambda x: special.log1p_parts(x, 0.0), lambda x: (1 + x).log(), POSITIVE[POSITIVE > 1e-280]),
    "log1p_unit_parts": (
        lambda x: special.log1p_unit_parts(x, 0.0),
        lambda x: (1 + x).log(),
        POSITIVE[(POSITIVE > 1e-280) & (POSITIVE <= 1)],
    ),
}


@pytest.mark.parametrize("name", PARTS)
def test_sums_of_two_have_more_digits_than_one(name):
    function, exact, inputs = PARTS[name]
    _, bound = stated(getattr(special, name))
    with ctx.workprec(2300):
        for x in inputs:
            high, low = map(float, function(x))
            truth = exact(arb(float(x)))
            error = float(abs((arb(high) + arb(low) - truth) / truth))
            assert error < bound, f"special.{name}({float(x)!r}) is off by 2^{math.log2(error):.1f}"


@njit
def rounding_error_of_product(x, y):
    return special.fma(x, y, -(x * y))


def test_fma_rounds_once():
    x, y = 1.0 + 2.0**-30, 1.0 - 2.0**-30
    assert rounding_error_of_product(x, y) == -(2.0**-60)


LIMITS = {
    "exp": {-INF: 0.0, INF: INF, 0.0: 1.0, -1e300: 0.0, 1e300: INF, 709.8: INF, -745.2: 0.0, -745.1: 5e-324},
    "expm1": {-INF: -1.0, INF: INF, 0.0: 0.0, -1e300: -1.0, 1e300: INF, 5e-324: 5e-324, -1e-320: -1e-320},
    "log1p": {0.0: 0.0, INF: INF, 5e-324: 5e-324, 1e-320: 1e-320},
    "expit": {-INF: 0.0, INF: 1.0, 0.0: 0.5, 1e300: 1.0, -1e300: 0.0, -745.1: 5e-324},
    "log_expit": {-INF: -INF, INF: 0.0, -1e300: -1e300, 1e300: 0.0, 745.1: -5e-324},
    "softplus_tail": {-INF: 0.0, INF: 0.0, 1e300: 0.0, 745.1: 5e-324},
}


@pytest.mark.parametrize("name", LIMITS)
def test_limits(name):
    function = getattr(special, name)
    for x, limit in LIMITS[name].items():
        assert function(x) == limit, (name, x)
    assert math.isnan(function(NAN))


@pytest.mark.parametrize("name", LIMITS)
def test_limits_of_the_short_functions(name):
    """A float32 shows neither the subnormal nor the huge numbers at which they stop."""
    function = getattr(single, name)
    for x, limit in LIMITS[name].items():
        if name in ("exp", "expm1", "log1p") and x > 700:
            continue  # rows whose logits reach so far go the long way
        with np.errstate(over="ignore"):
            assert np.float32(function(x)) == np.float32(limit), (name, x)
    assert math.isnan(function(NAN))


def test_powers_in_the_limit():
    for power in special.expit_power, single.expit_power:
        assert power(-INF, 0.0) == 1.0 and power(-800.0, 0.0) == 1.0
        assert np.float32(power(-INF, 0.5)) == 0.0 and power(INF, 3.0) == 1.0
        assert math.isnan(power(NAN, 2.0))


def test_no_mass_pays_nothing():
    assert special.mass_times(0.0, INF) == 0.0 and special.mass_times(-0.0, NAN) == 0.0
    assert special.mass_times(2.0, INF) == INF and math.isnan(special.mass_times(NAN, 0.0))


BITS = """
import hashlib, math, sys
import numpy as np
from reflosses import single, special
x = np.array({inputs})
digest = hashlib.sha256()
for module in special, single:
    for name in [name for name in {names} if hasattr(module, name)]:
        f = getattr(module, name)
        digest.update(np.array([f(abs(float(a)) if name == "log1p" else float(a)) for a in x]).tobytes())
        digest.update(np.array([module.expit_power(float(a), 1.7) for a in x]).tobytes())
print(digest.hexdigest())
"""


def test_compiled_and_plain_python_give_the_same_bits():
    inputs = [*BOTH[np.abs(BOTH) <= 700][::17].tolist(), -720.0, 1e-310, 1000.0, -1000.0]
    program = BITS.format(inputs=inputs, names=list(EXACT))
    compiled, plain = (
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "NUMBA_DISABLE_JIT": jit_off},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for jit_off in ("0", "1")
    )
    assert compiled == plain


@pytest.mark.parametrize("beta", [3.0, 0.2, 1e-9, 2.0**-53, 0.0, -(2.0**-53), -0.2, -0.7])
def test_tempered_logarithms_have_twice_the_digits(beta):
    """Of p = [1 + β v]_+^(-1/β), the edge of a support included, from v = -u in two parts."""
    v = np.concatenate([POSITIVE[(POSITIVE > 1e-250) & (POSITIVE < 1e6)][::3], 1.4 - 2.0 ** -np.arange(1.0, 40.0)])
    with ctx.workprec(2300):
        for high in v[1 + beta * v > 0].tolist():
            low = high * 2.0**-54
            exact = arb(high) + arb(low)
            truth = -exact if beta == 0 else -(1 + arb(beta) * exact).log() / arb(beta)
            log_p, log_low, b = special.log_tempered(high, low, beta, 0.0)
            assert abs((arb(float(log_p)) + arb(float(log_low)) - truth) / truth) < 2.0**-58
            assert abs(arb(float(b)) / (1 + arb(beta) * exact) - 1) < 2.0**-52
            log_p, b = special.log_tempered_rounded(high, low, beta)
            assert abs((arb(float(log_p)) - truth) / truth) < 2.0**-51
            assert abs(arb(float(b)) / (1 + arb(beta) * exact) - 1) < 2.0**-52


def test_quotients_of_sums_are_rounded_once():
    random = np.random.default_rng(4)
    with ctx.workprec(400):
        for x, total, a, b in zip(*random.random((4, 500)).tolist(), strict=True):
            x_low, total_low = (a - 0.5) * np.spacing(x), (b - 0.5) * np.spacing(total)
            truth = (arb(x) + arb(x_low)) / (arb(total) + arb(total_low))
            error = abs(arb(float(special.quotient(x, x_low, total, total_low))) - truth) / ulp(truth, np.float64)
            assert error < 0.501
