"""Mistakes that people make in derivatives written by hand are named: a term, a factor, a weight, a chain rule."""

import numpy as np
import pytest
from scipy.special import expit, log_expit, log_softmax, softmax

from reflosses.audit.diagnose import diagnose
from reflosses.audit.formulas import as_rows
from reflosses.audit.rivals import Implementation
from reflosses.losses import (
    BinaryCrossEntropy,
    CategoricalFocal,
    ClassificationMAE,
    CrossEntropy,
    LabelSmoothing,
    SigmoidFocal,
)


def names(loss, function):
    return [x.name for x in diagnose(Implementation("", "f", type(loss), function), loss)]


# Sigmoid focal loss: slope = -α (1 - p)^γ · (1 - p) + α γ (1 - p)^γ p log p ------------------


def focal(z, y, first=1.0, second=1.0, power=0, a1=0.25, a0=0.75, gamma=2.0):
    t, a = np.where(y == 1, z, -z), np.where(y == 1, a1, a0)
    q, c, log_q = expit(t), expit(-t), log_expit(t)
    slope = -first * a * c**gamma * c + second * a * gamma * c ** (gamma + power) * q * log_q
    return -a * c**gamma * log_q, np.where(y == 1, slope, -slope)


def with_slope(**wrong):
    return lambda loss, z, y: (focal(z, y)[0], focal(z, y, **wrong)[1])


def with_curvature(f):
    return lambda loss, z, y: (None, focal(z, y)[1], f(z, y, focal(z, y)[1]))


OF_FOCAL = {
    "focus-term-negated": with_slope(second=-1.0),
    "focus-term-without-gamma": with_slope(second=0.5),
    "focus-term-alone": with_slope(first=0.0),
    "focus-detached": with_slope(second=0.0),
    "alpha-ignored": with_slope(a1=1.0, a0=1.0),
    "alpha-swapped": with_slope(a1=0.75, a0=0.25),
    "chain-rule-missing": lambda loss, z, y: (focal(z, y)[0], focal(z, y)[1] / (expit(z) * expit(-z))),
    "hessian-of-cross-entropy": with_curvature(lambda z, y, g: expit(z) * expit(-z)),
    "hessian-of-gradient": with_curvature(lambda z, y, g: abs(g) * (1 - abs(g))),
}


@pytest.mark.parametrize("name", OF_FOCAL)
def test_derivatives_of_the_focal_loss(name):
    assert names(SigmoidFocal(), OF_FOCAL[name]) == [name]


@pytest.mark.parametrize("power", [-1, 1])
def test_a_wrong_power_in_the_slope_of_the_focus(power):
    assert names(SigmoidFocal(), with_slope(power=power)) == ["focus-term-exponent"]


# Categorical focal loss ------------------------------------------------------------------------


def of_rows(second=1.0, first=1.0, gamma=2.0):
    def function(loss, z, y):
        y, p, log_p = as_rows(z, y), softmax(z, axis=1), log_softmax(z, axis=1)
        f = y * (second * gamma * (1 - p) ** (gamma - 1) * p * log_p - first * (1 - p) ** gamma)
        return -(y * (1 - p) ** gamma * log_p).sum(axis=1), f - p * f.sum(axis=1, keepdims=True)

    return function


def of_both(loss, z, y):
    y, p = as_rows(z, y), softmax(z, axis=1)
    return (-(y * (1 - p) ** 2 * np.log(p) + (1 - y) * p**2 * np.log(1 - p)).sum(axis=1),)


def per_class(loss, z, y):
    y = as_rows(z, y)
    return (-(y * expit(-z) ** 2 * log_expit(z) + (1 - y) * expit(z) ** 2 * log_expit(-z)).sum(axis=1),)


@pytest.mark.parametrize(
    "name, function",
    [
        ("focus-detached", of_rows(second=0.0)),
        ("focus-term-negated", of_rows(second=-1.0)),
        ("focus-term-without-gamma", of_rows(second=0.5)),
        ("binary-of-softmax", of_both),
        ("focal-per-class", per_class),
    ],
)
def test_categorical_focal_losses(name, function):
    assert names(CategoricalFocal(), of_rows()) == []
    assert names(CategoricalFocal(), function) == [name]


# Weights ---------------------------------------------------------------------------------------

WEIGHTS = np.array([0.5, 1.0, 2.0])


@pytest.mark.parametrize(
    "name, slope",
    [
        (None, lambda p, y: (WEIGHTS * y).sum(axis=1, keepdims=True) * p - WEIGHTS * y),
        ("weight-of-every-class", lambda p, y: WEIGHTS * (p - y)),
        ("weight-on-p-only", lambda p, y: (WEIGHTS * y).sum(axis=1, keepdims=True) * p - y),
        ("labels-sum-dropped", lambda p, y: p - WEIGHTS * y),
    ],
)
def test_weights_of_classes_in_the_gradient(name, slope):
    def function(loss, z, y):
        y = as_rows(z, y)
        return -(WEIGHTS * y * log_softmax(z, axis=1)).sum(axis=1), slope(softmax(z, axis=1), y)

    assert names(CrossEntropy((0.5, 1.0, 2.0)), function) == [name] * (name is not None)


@pytest.mark.parametrize(
    "name, slope",
    [("labels-sum-dropped", lambda p, y: p - 3 * y), ("pos-weight-on-both", lambda p, y: 3 * (p - y))],
)
def test_a_weight_of_positives_in_the_gradient(name, slope):
    def function(loss, z, y):
        return -(3 * y * log_expit(z) + (1 - y) * log_expit(-z)), slope(expit(z), y)

    assert names(BinaryCrossEntropy(3.0), function) == [name]


# Chains ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, slope",
    [
        (None, lambda sign, p: p * (sign - (sign * p).sum(axis=1, keepdims=True))),
        ("chain-rule-missing", lambda sign, p: sign),
        ("jacobian-diagonal-only", lambda sign, p: sign * p * (1 - p)),
    ],
)
def test_the_jacobian_of_the_softmax(name, slope):
    def function(loss, z, y):
        y, p = as_rows(z, y), softmax(z, axis=1)
        return abs(p - y).sum(axis=1), slope(np.sign(p - y), p)

    assert names(ClassificationMAE(), function) == [name] * (name is not None)


def test_a_temperature_that_the_gradient_forgets():
    def function(loss, z, y):
        y = as_rows(z, y)
        return -(y * log_softmax(z / 2, axis=1)).sum(axis=1), softmax(z / 2, axis=1) - y

    (found,) = diagnose(Implementation("", "f", CrossEntropy, function), CrossEntropy())
    assert found.name == "temperature" and "derivatives that are not divided by it" in found.sentence


def test_a_smoothing_of_the_gradient_alone():
    def function(loss, z, y):
        y, n, log_p = as_rows(z, y), z.shape[1], log_softmax(z, axis=1)
        return -((0.9 * y + 0.1 / n) * log_p).sum(axis=1), np.exp(log_p) - 0.8 * y - 0.2 / n

    (found,) = diagnose(Implementation("", "f", LabelSmoothing, function), LabelSmoothing(CrossEntropy(), 0.1))
    assert "s = 0.2," in found.sentence and found.sentence.startswith("the gradient")


def test_scores_taken_for_probabilities():
    assert names(BinaryCrossEntropy(), lambda loss, z, y: (None, z - y, z * (1 - z))) == ["takes-probabilities"]


def test_a_half_of_the_absolute_error():
    half = lambda loss, z, y: (abs(softmax(z, axis=1) - as_rows(z, y)).sum(axis=1) / 2,)  # noqa: E731
    assert names(ClassificationMAE(), half) == ["halved"]


# Digits ----------------------------------------------------------------------------------------


def test_an_epsilon_that_costs_nine_digits_is_a_mistake_and_not_rounding():
    def function(loss, z, y):
        return (-(y * np.log(expit(z) + 1e-9) + (1 - y) * np.log(expit(-z) + 1e-9)),)

    (found,) = diagnose(Implementation("", "f", BinaryCrossEntropy, function), BinaryCrossEntropy())
    assert found.name == "epsilon-added" and "ε = 1e-09" in found.sentence


@pytest.mark.parametrize("name, digits", [("float32", 24), ("float32", 19), ("float16", 11), ("bfloat16", 8)])
def test_results_of_fewer_digits_are_said_to_have_fewer(name, digits):
    """Values that are off by one rounding of a shorter type, or by a few."""
    random = np.random.default_rng(0)

    def function(loss, z, y):
        value = np.logaddexp(0, z) - y * z
        return (value * (1 + random.uniform(-1, 1, value.shape) * 2.0**-digits),)

    (found,) = diagnose(Implementation("", "f", BinaryCrossEntropy, function), BinaryCrossEntropy())
    assert found.name == "short-precision" and found.sentence.endswith(f"has the precision of {name} only")
