"""What other projects test with: assert_conforms, pytest's plugin and what Hypothesis draws."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

import reflosses
import reflosses_pytest
from reflosses import BinaryCrossEntropy, CrossEntropy, SigmoidFocal
from reflosses.api import prepare
from reflosses.audit.grades import GRADES
from reflosses.domain import BELOW_ONE, NONNEGATIVE, POSITIVE, UNIT, UP_TO_HALF, Targets, classes_of, predictions
from reflosses.losses import LOSSES
from reflosses.testing import assert_conforms, strategies

ROOT = Path(__file__).parent.parent


def right(z, y):
    return (1 - y) * np.maximum(z, 0) + y * np.maximum(-z, 0) + np.log1p(np.exp(-np.abs(z)))


def naive(z, y):
    p = 1 / (1 + np.exp(-z))
    return -(y * np.log(p) + (1 - y) * np.log(1 - p))


# assert_conforms ------------------------------------------------------------------------------


def test_a_right_implementation_passes():
    assert assert_conforms(right, BinaryCrossEntropy()).grade <= "B"


def test_a_wrong_one_fails_with_the_report():
    with pytest.raises(AssertionError) as failure:
        assert_conforms(naive, BinaryCrossEntropy())
    said = str(failure.value)
    assert said.startswith("grade B is wanted\n\nnaive as binary_cross_entropy\nGrade D in")
    assert "should be" in said and "naive(np.float" in said


def test_the_grade_decides():
    assert assert_conforms(naive, BinaryCrossEntropy(), grade="D").grade == "D"
    with pytest.raises(AssertionError, match="grade C is wanted"):
        assert_conforms(naive, BinaryCrossEntropy(), grade="C", dtypes=["float32"])
    with pytest.raises(ValueError, match="there is no grade 'E'; choose from A, B, C, D, F"):
        assert_conforms(right, BinaryCrossEntropy(), grade="E")


def test_a_target_that_cannot_be_audited_fails_with_one_sentence():
    with pytest.raises(AssertionError, match="returns NoneType") as failure:
        assert_conforms(lambda z, y: None, BinaryCrossEntropy())
    assert "\n" not in str(failure.value)


# The plugin -----------------------------------------------------------------------------------

SUITE = """
import sys
import numpy as np

def test_nothing_is_imported_for_those_who_do_not_use_it():
    assert not {name.partition(".")[0] for name in sys.modules} & {"reflosses", "flint", "numba", "hypothesis"}

def test_naive(assert_conforms):
    from reflosses import BinaryCrossEntropy

    def naive(z, y):
        p = 1 / (1 + np.exp(-z))
        return -(y * np.log(p) + (1 - y) * np.log(1 - p))

    assert_conforms(naive, BinaryCrossEntropy(), dtypes=["float32"])
"""


def pytest_run(folder, *arguments):
    """Run the suite in a process of its own with the plugin and no other."""
    (folder / "test_it.py").write_text(SUITE)
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", "-p", "reflosses_pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8").stdout


def test_the_plugin_costs_nothing_and_gives_the_fixture(tmp_path):
    said = pytest_run(tmp_path)
    assert "1 failed, 1 passed" in said and "FAILED test_it.py::test_naive" in said
    assert "AssertionError: grade B is wanted" in said and "naive as binary_cross_entropy" in said
    assert "raise AssertionError" not in said, "our own lines are not shown"


def test_the_option_and_the_ini_file_set_the_grade(tmp_path):
    assert "2 passed" in pytest_run(tmp_path, "--reflosses-grade=D")
    (tmp_path / "pytest.ini").write_text("[pytest]\nreflosses_grade = F\n")
    assert "2 passed" in pytest_run(tmp_path)
    assert "grade C is wanted" in pytest_run(tmp_path, "--reflosses-grade=C"), "the option wins"


def test_the_plugin_knows_the_grades():
    assert tuple(GRADES) == reflosses_pytest.GRADES


# What Hypothesis draws ------------------------------------------------------------------------


@pytest.mark.parametrize("loss_class", LOSSES)
@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_what_is_drawn_is_legal(loss_class, data):
    loss = data.draw(strategies.losses(loss_class))
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    z, y = data.draw(strategies.inputs(loss, dtype, rows=3))
    n = classes_of(loss, strategies.CLASSES)
    prepare(loss)  # refuses illegal parameters
    assert type(loss) is loss_class and z.dtype == dtype
    assert z.shape == ((3, n) if loss.targets.rows else (3,)) and all(x in predictions(loss) for x in z.ravel())
    if y.dtype == np.int64:
        assert y.shape == (3,) and y.min() >= 0 and y.max() < n and loss.targets.rows
    else:
        assert y.shape == z.shape and y.dtype == dtype and y.min() >= 0 and y.max() <= 1
        assert loss.targets is not Targets.BINARY or set(y) <= {0, 1}
        assert not loss.targets.rows or y.sum(axis=1) == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize(
    "strategy, condition",
    [
        (strategies.logits((4,), "float32"), lambda z: (z > 88).any() and (z < -88).any()),
        (strategies.logits((), "float64"), lambda z: 0 < z < 1e-300),
        (strategies.logits((2,), "float16"), lambda z: np.isfinite(z).all() and (abs(z) == 65504).any()),
        (strategies.labels(CrossEntropy(), rows=2), lambda y: y.ndim == 1 and y.dtype == np.int64 and y.any()),
        (strategies.labels(CrossEntropy(), rows=2, classes=4), lambda y: y.shape == (2, 4) and (y > 0).sum() > 4),
        (strategies.labels(BinaryCrossEntropy()), lambda y: 0 < y[0] < 1),
        (strategies.inputs(CrossEntropy((1.0, 2.0))), lambda drawn: drawn[0].shape == (1, 2)),
        (strategies.inputs(reflosses.ProbabilityCrossEntropy()), lambda drawn: (drawn[0] == 1).any()),
        (strategies.losses(SigmoidFocal), lambda loss: loss.gamma == 0 and loss.alpha == 1),
        (strategies.losses(), lambda loss: type(loss) is LOSSES[-1]),
    ],
)
def test_hard_cases_are_drawn(strategy, condition):
    found = find(strategy, condition, settings=settings(max_examples=5000, derandomize=True))
    assert condition(found)


@pytest.mark.parametrize("interval", [NONNEGATIVE, POSITIVE, UNIT, BELOW_ONE, UP_TO_HALF])
def test_parameters_stay_in_their_interval_and_reach_its_ends(interval):
    seen = set()

    @settings(max_examples=200)
    @given(strategies.parameters(interval))
    def look(x):
        assert x in interval
        seen.add(x)

    look()
    assert {end for end in interval[:2] if end in interval} <= seen
    assert min(seen) <= interval.low + 1e-300


def test_the_strategies_are_documented():
    for name in strategies.__all__:
        assert ">>> " in getattr(strategies, name).__doc__, name
    assert predictions(reflosses.ProbabilityCrossEntropy()) == UNIT
