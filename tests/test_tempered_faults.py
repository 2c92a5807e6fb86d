"""Mistakes in bi-tempered losses are named, with the rounds of their normaliser and their temperatures."""

import numpy as np
import pytest

from reflosses.audit.diagnose import diagnose
from reflosses.audit.rivals import Implementation
from reflosses.losses import BiTempered, BiTemperedBinary, CrossEntropy, SparseLSR


def log_t(u, t):
    return np.log(u) if t == 1 else (u ** (1 - t) - 1) / (1 - t)


def exp_t(u, t):
    return np.exp(u) if t == 1 else np.maximum(1 + (1 - t) * u, 0) ** (1 / (1 - t))


def total(z, t):
    return exp_t(z, t).sum(axis=1, keepdims=True)


def after(rounds):
    """Probabilities by so many rounds of Amid et al., algorithm 1."""

    def probabilities(z, t):
        top = z.max(axis=1, keepdims=True)
        if t == 1:
            return np.exp(z - top) / total(z - top, 1)
        shrunk = z - top
        for _ in range(rounds):
            shrunk = (z - top) * total(shrunk, t) ** (1 - t)
        return exp_t(z - top + log_t(1 / total(shrunk, t), t), t)

    return probabilities


def bisected(z, t):
    """Probabilities to the last bits, for t < 1 too."""
    low = z.max(axis=1, keepdims=True)
    high = low + 60.0
    for _ in range(200):
        middle = (low + high) / 2
        above = total(z - middle, t) > 1
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return exp_t(z - low, t)


def divided(z, t):
    e = exp_t(z - z.max(axis=1, keepdims=True), t)
    return e / e.sum(axis=1, keepdims=True)


def written(t1=None, t2=None, probabilities=bisected, added=0.0, to_label=0.0, second=1.0, escort=None, sign=1.0):
    """Return a bi-tempered loss as somebody may have written it."""

    def function(loss, z, y):
        a, b = t1 or loss.t1, t2 or loss.t2
        if z.ndim == 1:
            value, slope = rows(a, b, np.stack([0 * z, z], axis=1), np.stack([1 - y, y], axis=1))
            return value, slope[:, 1]
        return rows(a, b, z, np.eye(z.shape[1])[y] if y.ndim == 1 else y)

    def rows(a, b, z, y):
        p = probabilities(z, b)
        first = np.where(y > 0, y * (log_t(np.where(y > 0, y, 1) + to_label, a) - log_t(p + added, a)), 0)
        value = first - second * (y ** (2 - a) - p ** (2 - a)) / (2 - a)
        delta = (p - y) * p ** (b - a)
        w = p**b if escort is None else escort(p)
        return value.sum(axis=1), sign * (delta - w / w.sum(axis=1, keepdims=True) * delta.sum(axis=1, keepdims=True))

    return function


def names(loss, function):
    return diagnose(Implementation("", "f", type(loss), function), loss)


MISTAKES = {
    "normaliser-unconverged": written(probabilities=after(5)),
    "divided-by-its-sum": written(probabilities=divided),
    "escort-missing": written(escort=lambda p: p),
    "gradient-negated": written(sign=-1.0),
    "second-part-missing": written(second=0.0),
    "second-part-negated": written(second=-1.0),
    "epsilon-added": written(added=1e-7),
    "epsilon-in-labels": written(to_label=1e-10),
    "softmax-not-tempered": written(t2=1),
    "log-not-tempered": written(t1=1),
}


@pytest.mark.parametrize("loss", [BiTempered(), BiTemperedBinary(0.3, 1.6)], ids=repr)
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named(loss, name):
    found = names(loss, MISTAKES[name])
    assert [x.name for x in found] == [name], found


@pytest.mark.parametrize(
    "loss", [BiTempered(), BiTempered(0.2, 4.0), BiTempered(0.5, 0.8), BiTemperedBinary()], ids=repr
)
def test_nobody_right_is_accused(loss):
    assert not names(loss, written())


@pytest.mark.parametrize("rounds", [1, 10])
def test_rounds_are_counted(rounds):
    found = names(BiTempered(0.4, 2.5), written(probabilities=after(rounds)))
    assert f"after {rounds} of the published rounds" in found[0].sentence


def test_autograd_through_the_rounds_is_known():
    torch = pytest.importorskip("torch")

    def function(loss, z, y):
        y = torch.from_numpy(np.eye(z.shape[1])[y] if y.ndim == 1 else y)
        leaf = torch.from_numpy(z).requires_grad_()
        top = leaf.max(dim=1, keepdim=True).values

        def mass(u):
            return (1 + (1 - loss.t2) * u).clamp(min=0) ** (1 / (1 - loss.t2))

        shrunk = leaf - top
        for _ in range(5):
            shrunk = (leaf - top) * mass(shrunk).sum(dim=1, keepdim=True) ** (1 - loss.t2)
        total = mass(shrunk).sum(dim=1, keepdim=True)
        p = mass(leaf - top + ((1 / total) ** (1 - loss.t2) - 1) / (1 - loss.t2))
        b = 1 - loss.t1
        value = (y * (y**b - p**b) / b - (y ** (b + 1) - p ** (b + 1)) / (b + 1)).sum(dim=1)
        value.sum().backward()
        return value.detach().numpy(), leaf.grad.numpy()

    (found,) = diagnose(Implementation("", "f", BiTempered, function), BiTempered())
    assert "after 5 of the published rounds, differentiated by autograd" in found.sentence
    assert found.sentence.startswith("the value and the gradient")


def test_temperatures_are_solved_for():
    assert "t1 = 0.63," in names(BiTempered(), written(t1=0.63))[0].sentence
    assert "t2 = 1.37," in names(BiTempered(), written(t2=1.37))[0].sentence


def test_exchanged_temperatures_are_named():
    assert names(BiTempered(0.7, 1.4), written(1.4, 0.7))[0].name == "temperatures-swapped"


# The two terms of LSRLoss ---------------------------------------------------------------------


def two_terms(sign=1.0, spread=1.0):
    def function(loss, z, y):
        n, s = z.shape[1], loss.smoothing
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        own = p[np.arange(len(y)), y]
        rest = np.log((1 - own) / (n - 1) ** spread)
        return (-(1 - s + s / n) * np.log(own) - sign * s * (n - 1) / n * rest,)

    return function


@pytest.mark.parametrize(
    "name, function",
    [("second-term-negated", two_terms(-1.0)), ("second-term-not-spread", two_terms(spread=0.0))],
)
def test_terms_of_sparse_smoothing(name, function):
    assert [x.name for x in names(SparseLSR(0.2), function)] == [name]
    assert not names(SparseLSR(0.2), two_terms())


def test_a_mistake_shows_through_constants_of_float32():
    """The published loss has the wrong sign, and computes its weights in float32 whatever the logits are."""
    torch = pytest.importorskip("torch")

    def function(loss, z, y):
        n, log_p = torch.tensor(z.shape[1]), np.log(np.exp(z) / np.exp(z).sum(axis=1, keepdims=True))
        own = log_p[np.arange(len(y)), y]
        given = float(loss.smoothing * (n - 1) / n)
        return (given * np.log((1 - np.exp(own)) / (z.shape[1] - 1)) - (1 - given) * own,)

    (found,) = diagnose(Implementation("", "f", SparseLSR, function), SparseLSR(0.1))
    assert found.name == "second-term-negated" and found.sentence.endswith("have the digits of float32")


def test_huge_terms_excuse_nothing():
    """A margin that takes all mass from the label makes a huge value; a Hessian twice as large is no part of it."""
    random = np.random.default_rng(0)

    def function(loss, z, y):
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        y = np.eye(z.shape[1])[y] if y.ndim == 1 else y
        noise = 1 + 2.0**-40 * (random.random(z.shape) < 0.01)  # a few lost digits
        return None, (p * y.sum(axis=1, keepdims=True) - y) * noise, 2 * p * (1 - p) * y.sum(axis=1, keepdims=True)

    assert [x.name for x in names(CrossEntropy(), function)] == ["hessian-doubled"]
