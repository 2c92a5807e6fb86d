"""Every loss in every dtype is as accurate as docs/accuracy.md says, judged by the oracle."""

from typing import NamedTuple

import ml_dtypes
import numpy as np
import pytest
from accuracy import PAGE, allowed, groups_of, measure, read_worst_cases, too_far, verbs_of
from hypothesis import given
from hypothesis import strategies as st
from strategies import CASES, DTYPES, paste

import reflosses
from reflosses import Targets, textbook
from reflosses.domain import NONNEGATIVE, UNIT
from reflosses.losses import LOSSES
from reflosses.special import mass_times
from reflosses.testing.strategies import inputs, losses


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_points(case):
    found = measure(case.loss, groups_of(*case), verbs_of(case.dtype))
    assert set(found) == set(verbs_of(case.dtype))
    assert not (wrong := too_far(found, case.dtype)), wrong


@pytest.mark.parametrize("dtype", DTYPES[:2], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("loss_class", LOSSES)
@given(data=st.data())
def test_whatever_hypothesis_draws(loss_class, dtype, data):
    loss = data.draw(losses(loss_class))
    found = measure(loss, [data.draw(inputs(loss, dtype))], verbs_of(np.float16))
    assert not (wrong := too_far(found, dtype)), wrong


def test_the_worst_cases_found_so_far():
    for loss, logits, labels in read_worst_cases():
        dtype = logits.dtype
        assert not (wrong := too_far(measure(loss, [(logits, labels)], verbs_of(dtype)), dtype)), wrong


def test_the_page_covers_every_loss_dtype_and_verb():
    rows = [line.split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    shown = {(row[0].strip("| "), row[1], row[2].replace(" ", "_")) for row in rows[1:]}
    pairs = [(loss.__name__, dtype) for loss in LOSSES for dtype in DTYPES]
    assert shown == {(name, np.dtype(dtype).name, verb) for name, dtype in pairs for verb in verbs_of(dtype)}


def test_a_failure_can_be_pasted():
    loss = reflosses.SigmoidFocal(1.5, None)
    z = np.array([1.5, -np.inf], ml_dtypes.bfloat16)
    line = paste(loss, z, np.array([0, 1]), "label_gradient")
    space = {}
    *imports, call = line.split("; ")
    exec("; ".join(imports), space)
    expected = reflosses.gradient(loss, z, [0, 1], wrt="labels")
    assert eval(call, space).tobytes() == expected.tobytes()
    assert "\n" not in line


class RowFocal(NamedTuple):
    """Σ -y (1 - p)² log p: no loss of the library has an F'' yet, and the shared code must not wait for one."""

    targets = Targets.CLASSES

    def textbook(self, z, y):
        p = textbook.softmax(z)
        return -sum(y_i * (1 - p_i) ** 2 * textbook.log(p_i) for y_i, p_i in zip(y, p, strict=True))

    def magnitudes(self, z, y):
        p, n = textbook.softmax(z), range(len(z))
        c = [sum(p[:i] + p[i + 1 :]) for i in n]
        u = [-textbook.log(p_i) for p_i in p]
        f1 = [y[i] * (2 * p[i] * c[i] * u[i] + c[i] * c[i]) for i in n]
        f2 = [y[i] * (2 * u[i] * (p[i] * c[i] + p[i] * p[i]) + 4 * p[i] * c[i]) for i in n]
        far = [[c[k] if k == i else p[i] for k in n] for i in n]
        return {
            "gradient": [f1[i] * c[i] + p[i] * sum(f1[:i] + f1[i + 1 :]) for i in n],
            "hessian_diagonal": [sum(f2[k] * far[i][k] * far[i][k] for k in n) + sum(f1) * p[i] * c[i] for i in n],
            "hessian": [
                sum(f2[k] * far[i][k] * far[j][k] for k in n) + sum(f1) * p[i] * far[j][i] for i in n for j in n
            ],
        }

    def kernel(self, u, q, c, y, n):
        pull = 2.0 * mass_times(q, u)
        return -mass_times(y * c * c, u), y * c * (pull - c), y * (pull * (c - q) + 4.0 * q * c)

    def label_kernel(self, u, q, c, y, n):
        return -mass_times(c * c, u)

    def parameter_kernel(self, u, q, c, y, n):
        return ()


class SquaredLog(NamedTuple):
    """Σ y (log p)² of probabilities as given: the same for their contract."""

    targets = Targets.CLASSES
    predictions = UNIT
    contract = "given"

    def textbook(self, z, y):
        return sum(y_i * textbook.log(p_i) * textbook.log(p_i) for y_i, p_i in zip(y, z, strict=True))

    def kernel(self, u, q, c):
        return u * u, 2.0 * u, 2.0

    def parameter_kernel(self, u, q, c):
        return ()


class SquaredLogOfShare(NamedTuple):
    """Σ y (log q)² of shares q = p/Σp."""

    targets = Targets.CLASSES
    predictions = NONNEGATIVE
    contract = "rescaled"

    def textbook(self, z, y):
        return sum(y_i * textbook.log(q_i) * textbook.log(q_i) for y_i, q_i in zip(y, textbook.shares(z), strict=True))

    def magnitudes(self, z, y):
        n, s, rest = range(len(z)), sum(z), textbook.rests(z)
        f1 = [-2 * y_i * textbook.log(q_i) for y_i, q_i in zip(y, textbook.shares(z), strict=True)]
        slopes, bends = textbook.rests(f1), textbook.rests([2 * y_i for y_i in y])
        own, bent = ([f[i] * rest[i] / (z[i] * s) for i in n] for f in (f1, [2 * y_i for y_i in y]))
        diagonal = [
            (slopes[i] + bends[i]) / (s * s) + (bent[i] * rest[i] + own[i] * (s + z[i])) / (z[i] * s)
            if y[i] != 0
            else (slopes[i] + bends[i]) / (s * s)
            for i in n
        ]

        def entry(i, j):
            return (sum(f1) + bends[i] - 2 * y[j]) / (s * s) + (bent[i] + bent[j]) / s

        return {
            "gradient": [own[i] + slopes[i] / s for i in n],
            "hessian_diagonal": diagonal,
            "hessian": [diagonal[i] if i == j else entry(i, j) for i in n for j in n],
        }

    def kernel(self, u, q, c):
        return u * u, 2.0 * u, 2.0

    def parameter_kernel(self, u, q, c):
        return ()


@pytest.mark.parametrize("dtype", DTYPES[:2], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("loss", [RowFocal(), SquaredLog(), SquaredLogOfShare()], ids=lambda loss: type(loss).__name__)
def test_a_loss_with_curvature(loss, dtype):
    groups = [(z, y) for z, y in groups_of(loss, dtype) if z.shape[1] <= 10 and (z > -np.inf).all()]
    groups = [(z, y) for z, y in groups if not ((y > 0) & (y < 1e-300)).any()]  # whose products have no digits
    found = measure(loss, groups, verbs_of(dtype))
    limit = 8 if dtype is np.float64 else allowed("gradient", dtype)
    wrong = [(verb, worst.error, paste(loss, *worst[2:4], verb)) for verb, worst in found.items()]
    assert not [line for line in wrong if not line[1] <= limit]
