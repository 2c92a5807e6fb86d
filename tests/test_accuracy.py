"""Every loss in every dtype is as accurate as docs/accuracy.md says, judged by the oracle."""

import ml_dtypes
import numpy as np
import pytest
from accuracy import PAGE, groups_of, measure, read_worst_cases, too_far, verbs_of
from hypothesis import given
from hypothesis import strategies as st
from strategies import CASES, DTYPES, inputs, losses, paste

import reflosses
from reflosses.losses import LOSSES


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
