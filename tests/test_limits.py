"""A target is judged at the limits of the parameters that it takes, and in 16 bits if that is asked for."""

from importlib.util import find_spec

import ml_dtypes
import numpy as np
import pytest

import reflosses
from reflosses import BiTempered, ClassificationMAE, CrossEntropy, LabelSmoothing, SigmoidFocal
from reflosses.audit.judge import judge
from reflosses.audit.limits import limits
from reflosses.audit.target import recognise
from reflosses.audit.variants import accusations, examined, variant

FOCAL = SigmoidFocal()
NARROW = "float16", "bfloat16"


# Limits -------------------------------------------------------------------------------------------


def log_expit(z):
    return np.minimum(z, 0) - np.log1p(np.exp(-np.abs(z)))


def focal(logits, targets, gamma=2.0, alpha=0.25):
    t = np.where(targets == 1, logits, -logits)
    return -np.where(targets == 1, alpha, 1 - alpha) * np.exp(gamma * log_expit(-t)) * log_expit(t)


def focal_of_a_logarithm(logits, targets, gamma=2.0, alpha=0.25):
    """0 times -inf where 1 - p is 0, at γ = 0 alone."""
    with np.errstate(all="ignore"):
        faded = np.exp(gamma * np.log(np.exp(log_expit(np.where(targets == 1, -logits, logits)))))
        return np.where(np.isnan(faded), np.nan, focal(logits, targets, gamma, alpha))


def focal_without_zeros(logits, targets, gamma=2.0, alpha=0.25):
    return focal(logits, targets, gamma or 2.0, alpha or 0.25)


def test_limits_are_those_of_the_parameters_that_are_taken():
    assert SigmoidFocal(2.0, 0.0) in limits(FOCAL, ("alpha",)) and SigmoidFocal(2.0, 1.0) in limits(FOCAL, ("alpha",))
    assert {x.alpha for x in limits(FOCAL, ("gamma",))} == {0.25} and SigmoidFocal(0.0) in limits(FOCAL, ("gamma",))
    assert BiTempered(0.0, 1.2) in limits(BiTempered(), ("t1", "t2"))
    assert BiTempered(1.0, 1.0) in limits(BiTempered(), ("t1", "t2"))
    assert LabelSmoothing(CrossEntropy(), 0.0) in limits(LabelSmoothing(), ("smoothing",))
    assert limits(CrossEntropy(), ("class_weight", "reduction")) == [] and limits(FOCAL, ()) == []


def test_who_is_right_at_every_limit_keeps_the_grade():
    report = reflosses.audit(focal, FOCAL)
    assert report.grade <= "B" and not any(x.name.startswith("limit") for x in report.findings)


def test_a_power_that_is_nan_at_gamma_0_is_found():
    report = reflosses.audit(focal_of_a_logarithm, FOCAL, dtypes=["float32"])
    assert report.grade == "C"
    (found,) = (x for x in report.findings if x.name == "limit-gamma")
    assert "with gamma=0, the value is nan" in found.sentence
    z, y = found.example.logits, found.example.labels
    assert np.isnan(focal_of_a_logarithm(z[None], y[None], gamma=0.0))
    assert np.isfinite(focal_of_a_logarithm(z[None], y[None]))
    assert any("gamma=0.0" in line for line in found.snippet)


def test_a_default_in_place_of_zero_is_another_function():
    report = reflosses.audit(focal_without_zeros, FOCAL, dtypes=["float64"])
    assert report.grade == "F"
    assert any(x.name in ("limit-gamma", "limit-alpha") and x.kind == "mistake" for x in report.findings)


def test_without_parameters_there_are_no_limits():
    report = reflosses.audit(lambda logits, labels: focal_of_a_logarithm(logits, labels), FOCAL, dtypes=["float32"])
    assert report.grade <= "B"


# 16 bits ------------------------------------------------------------------------------------------


def entropy_in_wide(logits, labels):
    """What careful code does: wide inside, rounded once."""
    z = logits.astype(np.float64)
    z = z - z.max(axis=1, keepdims=True)
    rest = np.where(np.arange(z.shape[1]) == labels[:, None], 0, np.exp(z)).sum(axis=1)
    own = np.take_along_axis(z, labels[:, None], axis=1)[:, 0]
    with np.errstate(divide="ignore"):
        large = np.log(np.exp(own) + rest) - own
        return np.where(own == 0, np.log1p(rest), large).astype(logits.dtype)


@pytest.mark.parametrize("dtype", NARROW)
def test_careful_code_is_as_good_as_it_gets(dtype):
    report = reflosses.audit(entropy_in_wide, CrossEntropy(), dtypes=[dtype])
    assert report.grade == "A" and [x.dtype for x in report.verdicts] == [dtype]


@pytest.mark.parametrize("dtype", NARROW)
def test_a_wrong_sign_is_named(dtype):
    report = reflosses.audit(lambda logits, labels: -entropy_in_wide(logits, labels), CrossEntropy(), dtypes=[dtype])
    assert report.grade == "F" and report.findings[0].name == "negated"


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("number", [7, 19, 35, 53, 208])
def test_a_correct_implementation_is_not_accused(number, dtype):
    drawn = variant(number).asked_in(dtype)
    assert not accusations(examined(drawn)), drawn


def test_rows_at_a_kink_are_no_mistake():
    """In bfloat16 p = y is near, and the slope of |p - y| either sign: nothing is claimed there."""
    loss, dtype = ClassificationMAE(), np.dtype(ml_dtypes.bfloat16)

    def function(logits, labels):
        z, y = logits.astype(np.float64), labels
        y = y if y.ndim == 2 else y[:, None] == np.arange(z.shape[1])
        e = np.exp(z - z.max(axis=1, keepdims=True))
        p = e / e.sum(axis=1, keepdims=True)
        s = np.sign(p - y.astype(np.float64))
        return np.abs(p - y.astype(np.float64)).sum(axis=1), p * (s - (s * p).sum(axis=1, keepdims=True))

    assert judge(recognise(function, loss, "f"), loss, dtype).grade < "D"


@pytest.mark.parametrize("framework", ["numpy", "torch", "jax"])
@pytest.mark.parametrize("dtype", NARROW)
def test_lines_to_paste_are_of_that_dtype(framework, dtype):
    if not find_spec(framework):
        pytest.skip(f"{framework} is not installed")
    seen = []

    def halved(logits, labels):
        seen.append(str(logits.dtype))
        return 0.5 * logits * (1 - labels) - 0.5 * logits * labels

    target = recognise(halved, reflosses.BinaryCrossEntropy(), "halved", framework)
    verdict = judge(target, reflosses.BinaryCrossEntropy(), np.dtype(dtype))
    report = reflosses.audit.report.Report((verdict._replace(name="halved"),), {})
    (lines,) = (x.snippet for x in report.findings if x.kind == "mistake" or x.name == "unknown")
    seen.clear()
    exec("\n".join(lines), {"halved": halved})  # noqa: S102  what a user does with them
    assert seen and all(dtype in x for x in seen)
