"""A user's own loss, of either contract, enters by the same door as ours."""

import os
import subprocess
import sys
from typing import Annotated, NamedTuple

import numpy as np
import pytest

import reflosses
from reflosses import Targets, textbook
from reflosses.domain import NONNEGATIVE
from reflosses.oracle import certify
from reflosses.special import expit


class Brier(NamedTuple):
    """The squared error of a probability."""

    scale: Annotated[float, NONNEGATIVE] = 1.0

    targets = Targets.PROBABILITY

    def textbook(self, z, y):
        return self.scale * (textbook.sigmoid(z) - y) * (textbook.sigmoid(z) - y)

    def kernel(self, z, y):
        p, not_p = expit(z), expit(-z)
        error, slope = p - y, p * not_p
        bend = 2.0 * self.scale * slope * (slope + error * (not_p - p))
        return self.scale * error * error, 2.0 * self.scale * error * slope, bend

    def label_kernel(self, z, y):
        return -2.0 * self.scale * (expit(z) - y)

    def parameter_kernel(self, z, y):
        error = expit(z) - y
        return (error * error,)


class PowerLoss(NamedTuple):
    """A row loss without a label kernel: Σ y (1 - p)."""

    targets = Targets.CLASSES

    def textbook(self, z, y):
        p = textbook.softmax(z)
        return sum(y_i * (1 - p_i) for y_i, p_i in zip(y, p, strict=True))

    def kernel(self, u, q, c, y, n):
        return y * c, -y * q, -y * q


CASES = [
    (Brier(2.0), np.array([0.3, -2.0, 5.0]), np.array([0.0, 1.0, 0.25])),
    (PowerLoss(), np.array([[0.3, -2.0, 5.0], [1.0, 1.0, 0.0]]), np.array([1, 0])),
]


@pytest.mark.parametrize("loss, logits, labels", CASES)
@pytest.mark.parametrize("verb", ["value", "gradient", "hessian_diagonal", "hessian"])
def test_every_verb_is_right(loss, logits, labels, verb):
    found = getattr(reflosses, verb)(loss, logits, labels)
    truth = [[float(x.mid()) for x in certify(loss, *point, verb)] for point in zip(logits, labels, strict=True)]
    np.testing.assert_allclose(found.ravel(), np.ravel(truth), rtol=1e-13, atol=1e-15)


def test_label_and_parameter_kernels():
    loss, logits, labels = CASES[0]
    slopes = reflosses.gradient(loss, logits, labels, wrt="labels")
    of_scale = reflosses.parameter_gradient(loss, logits, labels).scale
    for i, point in enumerate(zip(logits, labels, strict=True)):
        assert slopes[i] == pytest.approx(float(certify(loss, *point, "label_gradient")[0].mid()), rel=1e-14)
        assert of_scale[i] == pytest.approx(float(certify(loss, *point, "parameter_gradient")[0].mid()), rel=1e-14)


def test_float32_is_computed_in_float64():
    loss, logits, labels = CASES[0]
    single = logits.astype(np.float32)
    expected = reflosses.gradient(loss, single.astype(np.float64), labels).astype(np.float32)
    assert np.array_equal(reflosses.gradient(loss, single, labels), expected)


def test_a_parameter_out_of_its_domain():
    with pytest.raises(ValueError, match=r"Brier.scale must lie in \[0, ∞\), got -1"):
        reflosses.value(Brier(-1), [0.0], [0])


@pytest.mark.parametrize("loss", [None, 3, (1.0,), Brier])
def test_what_is_no_loss(loss):
    with pytest.raises(TypeError, match="NamedTuple with a kernel"):
        reflosses.value(loss, [0.0], [0])


def test_a_loss_without_targets():
    class Nameless(NamedTuple):
        def kernel(self, z, y):
            return z, 1.0, 0.0

    with pytest.raises(TypeError, match="Nameless.targets must be"):
        reflosses.value(Nameless(), [0.0], [0])


@pytest.mark.parametrize(
    "call",
    [
        lambda loss: reflosses.gradient(loss, [[0.0, 1.0]], [0], wrt="labels"),
        lambda loss: reflosses.parameter_gradient(loss._replace(), [[0.0, 1.0]], [0]),
    ],
)
def test_a_missing_kernel_is_named(call):
    class Bare(NamedTuple):
        shift: float = 0.0

        targets = Targets.CLASSES

        def kernel(self, u, q, c, y, n):
            return -y * u, -y, 0.0

    with pytest.raises(TypeError, match="Bare has no (label|parameter)_kernel"):
        call(Bare())


def test_a_users_cache_is_not_read_by_others(tmp_path):
    """Numba's index holds the types it compiled for, and unpickling them imports their modules."""
    (tmp_path / "mine.py").write_text(MODULE.format(factor=2.0))
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    use = "import numpy as np, reflosses as r; print(r.value({loss}, np.ones(3), np.ones(3)).sum())"
    for code in ("import mine; " + use.format(loss="mine.Scaled()"), use.format(loss="r.BinaryCrossEntropy()")):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr
        (tmp_path / "mine.py").unlink(missing_ok=True)


MODULE = """
from typing import NamedTuple
from reflosses import Targets

class Scaled(NamedTuple):
    targets = Targets.PROBABILITY

    def kernel(self, z, y):
        return {factor} * z, {factor}, 0.0
"""


def test_an_edited_loss_is_not_answered_from_the_cache(tmp_path):
    code = "import reflosses, mine; print(reflosses.value(mine.Scaled(), [1.0], [0.0])[0])"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    for factor in ("2.0", "3.0", "2.0"):
        (tmp_path / "mine.py").write_text(MODULE.format(factor=factor))
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment, check=True
        )
        assert float(done.stdout) == float(factor)
