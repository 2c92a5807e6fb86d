"""Faults that shipped are caught and named, conventions are recovered with their numbers, nobody right is accused."""

import math
import signal
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from reflosses.audit.child import examine
from reflosses.audit.diagnose import diagnose
from reflosses.audit.faults import kill
from reflosses.audit.formulas import as_rows
from reflosses.audit.judge import judge
from reflosses.audit.rivals import Implementation
from reflosses.audit.target import TargetError, recognise
from reflosses.audit.zoo import FAULTS
from reflosses.losses import BinaryCrossEntropy, CrossEntropy, LabelSmoothing, SigmoidFocal

QUICK = {"alpha ignored", "swapped params", "wrong formula", "wrong gradient (upstream)", "index base", "denominator"}
QUICK |= {"int32 overflow", "wrong axis", "branch", "eps clipping gradient", "dtype"}


@pytest.mark.parametrize("fault", [x for x in FAULTS if x.kind in QUICK], ids=lambda x: x.link[19:])
def test_a_fault_is_caught_and_named(fault):
    found = kill(fault)
    assert found.seen["audit"] and found.seen["named"], found.found


def test_every_fault_is_expressed():
    assert len(FAULTS) >= 54 and all(x.names for x in FAULTS)


# Hypotheses, recovered from implementations written without them ------------------------------


def entropy(z, t):
    p = special.softmax(z, axis=1)
    return -np.sum(t * special.log_softmax(z, axis=1), axis=1), p * t.sum(axis=1, keepdims=True) - t


def focal(z, y, gamma, a1, a0):
    t, a = np.where(y == 1, z, -z), np.where(y == 1, a1, a0)
    q, c, s = special.expit(t), special.expit(-t), special.log_expit(t)
    slope = a * c**gamma * (gamma * q * s - c)
    return -a * c**gamma * s, np.where(y == 1, slope, -slope)


def names(loss, function):
    return diagnose(Implementation("", "f", type(loss), function), loss)


@pytest.mark.parametrize("s", [0.05, 0.2])
@pytest.mark.parametrize(
    "name, on, off",
    [
        ("smoothing-uniform", lambda n, s: 1 - s + s / n, lambda n, s: s / n),
        ("smoothing-others", lambda n, s: 1 - s, lambda n, s: s / (n - 1)),
        ("smoothing-keeps-too-much", lambda n, s: 1, lambda n, s: s / n),
    ],
)
def test_a_smoothing_is_solved_for(name, on, off, s):
    def function(loss, z, y):
        y, n = as_rows(z, y), z.shape[1]
        return entropy(z, y * on(n, s) + (1 - y) * off(n, s))

    (found,) = names(CrossEntropy(), function)
    assert found.name == name and f"s = {s:g}" in found.sentence and found.explained == 1


@pytest.mark.parametrize("gamma", [0.5, 1.5, 3.0])
def test_a_gamma_is_solved_for(gamma):
    (found,) = names(SigmoidFocal(), lambda loss, z, y: focal(z, y, gamma, 0.25, 0.75))
    assert found.name == "gamma" and f"γ = {gamma:g}" in found.sentence


@pytest.mark.parametrize("t", [0.7, 1.8])
def test_a_temperature_is_solved_for(t):
    def function(loss, z, y):
        value, gradient = entropy(z / t, as_rows(z, y))
        return value, gradient / t

    (found,) = names(CrossEntropy(), function)
    assert found.name == "temperature" and f"{t:g}" in found.sentence


@pytest.mark.parametrize(
    "factor, name", [(1 / math.log(2), "log-base-2"), (-1.0, "negated"), (0.5, "halved"), (1.37, "factor")]
)
def test_a_factor_is_named(factor, name):
    (found,) = names(CrossEntropy(), lambda loss, z, y: tuple(factor * x for x in entropy(z, as_rows(z, y))))
    assert found.name == name


@pytest.mark.parametrize("epsilon", [1e-8, 1e-5])
def test_two_causes_of_different_sizes_are_told_apart(epsilon):
    """The larger hides the smaller; what comes nearest alone is tried first together with others."""

    def function(loss, z, y):
        q, sign = special.expit(np.where(y == 1, z, -z)), np.where(y == 1, 1, -1)
        s, a = np.log(q + epsilon), np.where(y == 1, 0.25, 0.25)
        slope = a * (2 * (1 - q) * s - (1 - q) ** 2 / (q + epsilon)) * q * (1 - q) * sign
        return -a * (1 - q) ** 2 * s, slope

    found = names(SigmoidFocal(), function)
    assert {x.name for x in found} == {"alpha-on-both", "epsilon-added"}
    assert all(f"ε = {epsilon:.3g}" in x.sentence and x.explained == 1 for x in found)


@pytest.mark.parametrize(
    "floor, said", [(np.maximum, "max(p (1 - p), ε)"), (np.add, "p (1 - p) + ε")], ids=["at least", "plus"]
)
def test_an_epsilon_in_the_gradient_alone_is_solved_for(floor, said):
    def function(loss, z, y):
        p = special.expit(z)
        return np.logaddexp(0, z) - y * z, (p - y) / floor(p * (1 - p), 0.08) * p * (1 - p)

    (found,) = names(BinaryCrossEntropy(), function)
    assert found.name == "epsilon-in-gradient" and "ε = 0.08" in found.sentence and said in found.sentence


def test_one_diagnosis_serves_both_dtypes(monkeypatch):
    calls = []

    def function(loss, z, y):
        calls.append(z.dtype)
        return tuple(2 * x for x in entropy(z, as_rows(z, y)))

    implementation = Implementation("", "f", CrossEntropy, function)
    first = diagnose(implementation, CrossEntropy())
    many = len(calls)
    assert diagnose(implementation, CrossEntropy()) is first and len(calls) == many > 0
    assert diagnose(implementation, LabelSmoothing()) is not first


def test_a_gradient_of_another_function_is_told_apart():
    (found,) = names(SigmoidFocal(), lambda loss, z, y: (focal(z, y, 2, 0.25, 0.75)[0], focal(z, y, 0, 0.25, 0.75)[1]))
    assert found.name == "focus-missing" and found.sentence.startswith("the gradient") and "right" in found.sentence


def test_softmax_applied_twice_is_known_by_its_values():
    (found,) = names(CrossEntropy(), lambda loss, z, y: (entropy(special.softmax(z, axis=1), as_rows(z, y))[0], None))
    assert found.name == "softmax-twice"


# Nobody who is right is accused ---------------------------------------------------------------


def accused(smoothing):
    """Audit a correct smoothed cross entropy, or without a smoothing a binary one."""
    if smoothing is None:
        loss = BinaryCrossEntropy()

        def function(z, y):
            e = np.exp(-np.abs(z))
            p, c = np.where(z >= 0, 1, e) / (1 + e), np.where(z >= 0, e, 1) / (1 + e)
            value = (1 - y) * np.maximum(z, 0) + y * np.maximum(-z, 0) + np.log1p(e)
            return value, (1 - y) * p - y * c

    else:
        loss = LabelSmoothing(CrossEntropy(), smoothing)

        def function(z, y):
            wide = z.astype(np.float64)
            t = as_rows(wide, y)
            t = t * (1 - smoothing) + smoothing / z.shape[1]
            gap = wide - wide.max(axis=1, keepdims=True)
            log_p = gap - np.log(np.exp(gap).sum(axis=1, keepdims=True))
            value = -np.sum(np.where(t == 0, 0, t * log_p), axis=1)
            return value.astype(z.dtype), (np.exp(log_p) * t.sum(axis=1, keepdims=True) - t).astype(z.dtype)

    verdict = judge(recognise(function, loss, "correct"), loss, np.float32)
    kinds = [x for x in verdict.findings if x.kind != "advice"]
    return verdict.grade > "B" or bool(kinds), verdict


@settings(max_examples=5)
@given(st.none() | st.floats(0.01, 0.9))
def test_a_correct_implementation_is_not_accused(smoothing):
    wrong, verdict = accused(smoothing)
    assert not wrong, (verdict.grade, verdict.findings)


# Bad targets ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body, words",
    [
        ("import time; time.sleep(60)", "does not return within 2 seconds"),
        ("import os; os._exit(3)", "exit code 3"),
        ("raise RuntimeError('no')", "raises RuntimeError: no"),
    ],
)
def test_a_bad_target_is_one_sentence(body, words, tmp_path, monkeypatch):
    (tmp_path / "strange_loss.py").write_text(f"def f(z, y):\n    {body}\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TargetError) as error:
        examine("strange_loss:f", BinaryCrossEntropy(), timeout=2)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_gradient_that_hangs_is_one_sentence(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    body = """import time, torch
class Slow(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z):
        ctx.slow = len(z) > 5
        return z.clone()
    @staticmethod
    def backward(ctx, up):
        time.sleep(60 * ctx.slow)
        return up
def f(z, y):
    return torch.nn.functional.binary_cross_entropy_with_logits(Slow.apply(z), y, reduction="none")
"""
    (tmp_path / "slow_loss.py").write_text(body)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TargetError, match="does not return within 2 seconds"):
        examine("slow_loss:f", BinaryCrossEntropy(), framework="torch", timeout=2)


def forever(z, y):
    while True:
        try:
            sum(range(1000))
        except Exception:  # which an alarm is not
            continue


def later(z, y):
    """The same, when the first calls are over."""
    return forever(z, y) if len(z) > 5 else np.logaddexp(0, z) - y * z


def ended(z, y):
    raise SystemExit(3)


@pytest.mark.parametrize(
    "function, words", [(forever, "within 1 seconds"), (later, "within 1 seconds"), (ended, "with exit code 3")]
)
def test_a_bad_function_is_one_sentence(function, words):
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(TargetError, match=words):
        examine(function, BinaryCrossEntropy(), timeout=1)
    assert signal.getsignal(signal.SIGALRM) is before and signal.getitimer(signal.ITIMER_REAL) == (0, 0)


@pytest.mark.parametrize("guard", ["", "if __name__ == '__main__':\n    "], ids=["bare", "guarded"])
def test_a_script_needs_no_guard(guard, tmp_path):
    """A spawned process must not run the script again that asked for the audit."""
    (tmp_path / "entropy.py").write_text("import numpy as np\ndef f(z, y):\n    return np.logaddexp(0, z) - y * z\n")
    call = 'print(reflosses.audit("entropy:f", "binary_cross_entropy", dtypes=["float32"]).grade)'
    (tmp_path / "script.py").write_text(f"import reflosses\nprint('once')\n{guard}{call}\n")
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["once", "C"], done.stderr


def test_a_loss_of_the_script_is_sent_too(tmp_path):
    (tmp_path / "entropy.py").write_text("import numpy as np\ndef f(z, y):\n    return np.logaddexp(0, z) - y * z\n")
    (tmp_path / "script.py").write_text(
        "from typing import NamedTuple\n"
        "import reflosses\n"
        "class Mine(NamedTuple):\n"
        "    targets = reflosses.BinaryCrossEntropy.targets\n"
        "    textbook = lambda self, z, y: reflosses.BinaryCrossEntropy().textbook(z, y)\n"
        "    kernel = reflosses.BinaryCrossEntropy.kernel\n"
        "if __name__ == '__main__':\n"
        "    print(reflosses.audit('entropy:f', Mine(), dtypes=['float32']).grade)\n"
    )
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["C"], done.stderr
