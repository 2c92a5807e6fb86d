"""The derivatives are those that PyTorch and JAX find in the textbook formula by themselves."""

import operator

import numpy as np
import pytest
from strategies import ALL, arrays, each_kind, flat, paste, rebuilt, sample

from reflosses import gradient, hessian, parameter_gradient, value

each_input = pytest.mark.parametrize("loss, kind", each_kind(ALL), ids=str)
CLOSE = {"rtol": 1e-12, "atol": 1e-14}


def formula(loss, z, y, theta):
    """Return the textbook value of one row or logit, given as arrays that can be unpacked."""
    loss = rebuilt(loss, iter(theta))
    return loss.textbook(list(z), list(y)) if loss.targets.rows else loss.textbook(z[0], y[0])


def rows(loss, kind):
    """Yield logits, labels, the labels as a row of numbers, and the parameters."""
    logits, labels = sample(loss, rows=5, kind=kind)
    for z, y in zip(logits, labels, strict=True):
        masses = np.eye(z.size)[y] if loss.targets.rows and not kind else np.atleast_1d(y)
        yield z, y, np.atleast_1d(z), masses, np.array(flat(loss), dtype=float)


def compare(loss, z, y, found):
    """Compare (value, slopes in logits, labels and parameters, Hessian) with the verbs."""
    slopes = [np.ravel(x) for x in arrays(parameter_gradient(loss, z, y))]
    expected = {
        "value": value(loss, z, y),
        "gradient": gradient(loss, z, y),
        "label_gradient": gradient(loss, z, y, wrt="labels"),
        "parameter_gradient": np.concatenate(slopes) if slopes else np.empty(0),
        "hessian": hessian(loss, z, y),
    }
    for (verb, ours), theirs in zip(expected.items(), found, strict=True):
        theirs = np.asarray(theirs, dtype=float)
        ours, theirs = np.ravel(ours), np.ravel(theirs)
        if (loss.targets.rows and not np.ndim(y)) or np.isin(y, (0, 1)).any():  # a label of 0: 0 log 0 is nan there
            theirs = np.where(np.isnan(theirs), ours, theirs)
        assert np.allclose(ours, theirs, **CLOSE), paste(loss, z, y, verb)


@each_input
def test_torch(loss, kind):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    for z, y, *points in rows(loss, kind):
        inputs = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in points]
        result = formula(loss, *(x.unbind() for x in inputs))
        slopes = torch.autograd.grad(result, inputs, allow_unused=True, materialize_grads=True)
        labels, theta = (x.detach().unbind() for x in inputs[1:])
        bend = torch.autograd.functional.hessian(
            lambda z, labels=labels, theta=theta: formula(loss, z.unbind(), labels, theta), inputs[0]
        )
        compare(loss, z, y, [x.detach() for x in (result, *slopes, bend)])


class Number:
    """A JAX number with the methods that the textbook formulas use."""

    def __init__(self, x):
        self.x = getattr(x, "x", x)

    def exp(self):
        import jax.numpy

        return Number(jax.numpy.exp(self.x))

    def log(self):
        import jax.numpy

        return Number(jax.numpy.log(self.x))

    def __neg__(self):
        return Number(-self.x)

    def __abs__(self):
        return Number(abs(self.x))


def _operation(name, swapped):
    function = getattr(operator, name)
    if swapped:
        return lambda self, other: Number(function(Number(other).x, self.x))
    return lambda self, other: Number(function(self.x, Number(other).x))


def _comparison(function):
    return lambda self, other: bool(function(self.x, Number(other).x))


for _name in "add", "sub", "mul", "truediv":
    setattr(Number, f"__{_name}__", _operation(_name, swapped=False))
    setattr(Number, f"__r{_name}__", _operation(_name, swapped=True))
for _name in "eq", "lt", "le", "gt", "ge":
    setattr(Number, f"__{_name}__", _comparison(getattr(operator, _name)))


@each_input
def test_jax(loss, kind):
    jax = pytest.importorskip("jax", reason="jax is not installed")

    def f(*inputs):
        return formula(loss, *([Number(x) for x in part] for part in inputs)).x

    with jax.enable_x64(True):
        for z, y, *points in rows(loss, kind):
            slopes = jax.grad(f, argnums=(0, 1, 2))(*points)
            compare(loss, z, y, [f(*points), *slopes, jax.hessian(f)(*points)])
