"""Nobody who is right is accused: correct implementations drawn by number; and one that is wrong still is."""

import numpy as np
import pytest

from reflosses.audit.diagnose import diagnose
from reflosses.audit.formulas import as_rows
from reflosses.audit.rivals import Implementation
from reflosses.audit.target import recognise
from reflosses.audit.variants import accusations, examined, variant
from reflosses.losses import CrossEntropy, SigmoidFocal

# The first numbers that show every way there is, and mixtures of each loss that has them.  They take about
# 25 seconds; ``python -m reflosses.audit.variants`` draws a thousand.
WAYS = *range(10), 13, 14, 16, 17, 18, 19, 21, 22, 23, 25, 27, 28, 30, 33, 35, 36, 40, 41, 42, 45, 47, 52, 53, 54, 57
WAYS += 61, 62, 71, 169, 51, 67
ACCUSED = 573, 734  # where the audit once accused: weights of a mean, three axes; and number 22, lost digits


@pytest.mark.parametrize("number", [*WAYS, *ACCUSED])
def test_a_correct_implementation_is_not_accused(number):
    drawn = variant(number)
    assert not accusations(examined(drawn)), drawn


def test_no_way_is_left_out():
    shown = {way for number in WAYS for way in variant(number).made}
    assert shown == {way for number in range(1000) for way in variant(number).made}


@pytest.mark.parametrize("number", [3, 8, 12])
def test_the_same_implementation_with_a_mistake_is(number):
    drawn = variant(number)

    def scaled(logits, labels):
        answer = drawn.function(logits, labels)
        return tuple(1.1 * x for x in answer) if isinstance(answer, tuple) else 1.1 * answer

    assert accusations(examined(drawn._replace(function=scaled))), drawn


def test_a_number_is_one_implementation():
    first, again = variant(5), variant(5)
    assert first.made == again.made and first.loss == again.loss and first.made != variant(6).made


def test_lost_digits_are_no_other_function():
    """Digits that rounding may cost are left to the grade; an ε of 1e-10 in the logarithm is not."""

    def lossy(loss, z, y):
        c = 1 - 1 / (1 + np.exp(np.where(y == 1, -z, z)))
        return np.where(y == 1, 0.25, 0.75) * c**9 * np.log1p(c / (1 - c)), None

    def shifted(loss, z, y):
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        return -(as_rows(z, y) * np.log(p + 1e-10)).sum(axis=1), None

    assert diagnose(Implementation("", "f", SigmoidFocal, lossy), SigmoidFocal(gamma=9.0)) == ()
    (found,) = diagnose(Implementation("", "f", CrossEntropy, shifted), CrossEntropy())
    assert found.name == "epsilon-added" and "1e-10" in found.sentence


def test_one_number_for_a_batch_keeps_its_upstream_derivative():
    torch = pytest.importorskip("torch")
    target = recognise(lambda input, target: torch.nn.functional.cross_entropy(input, target), CrossEntropy(), "f")
    z, y = np.eye(3), np.array([0, 1, 1])
    up = np.array([2.0, -1.0, 0.5])
    call = target.call
    assert call.scalar
    plain, along = (call(call_of(z, y, x)).gradient for x in (None, up))
    np.testing.assert_allclose(along, plain * up[:, None], rtol=1e-12)


def call_of(z, y, upstream):
    from reflosses.audit.call import Call

    return Call(z, y, {}, upstream)
