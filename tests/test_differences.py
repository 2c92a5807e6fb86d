"""Every derivative of every loss is the slope of what it derives, by SciPy's finite differences."""

import numpy as np
import pytest
from scipy.differentiate import derivative, hessian, jacobian
from scipy.optimize import approx_fprime, check_grad
from strategies import ALL, arrays, each_kind, flat, paste, rebuilt, sample, takes_logits

import reflosses
from reflosses import gradient, hessian_diagonal, hessian_vector_product, parameter_gradient, value
from reflosses.domain import Targets, is_loss, parameters

each_input = pytest.mark.parametrize("loss, kind", each_kind(ALL), ids=str)
TOLERANCE = {"rtol": 1e-7, "atol": 1e-9}  # of 8th-order differences with steps of about 1/2


def points(loss, kind):
    """Return logits between which the loss is smooth, ordinary and rather confident; or mild probabilities."""
    if not takes_logits(loss):
        return sample(loss, rows=12, kind=kind, scale=0.5)
    logits, labels = sample(loss, rows=6, kind=kind)
    return np.concatenate([logits, 2 * logits]), np.concatenate([labels, labels])


@each_input
def test_gradients_with_check_grad(loss, kind):
    logits, labels = points(loss, kind)
    for z, y in zip(logits, labels, strict=True):
        error = check_grad(
            lambda z, y=y: _one(value, loss, z, y), lambda z, y=y: _one(gradient, loss, z, y), np.ravel(z)
        )
        assert error < 1e-6, paste(loss, z, y, "gradient")


def _one(f, loss, z, y):
    """Return f of one row, or of one logit that SciPy hands over as a row of one."""
    return f(loss, z if loss.targets.rows else z[0], y)


@each_input
def test_gradients_and_hessians_with_scipy_differentiate(loss, kind):
    for z, y in zip(*points(loss, kind), strict=True):
        if loss.targets.rows:
            slope = jacobian(lambda x, y=y: _columns(value, loss, x, y), z, **step(loss)).df
            bend = hessian(lambda x, y=y: _columns(value, loss, x, y), z, **step(loss)).ddf
        else:
            slope = derivative(lambda x, y=y: value(loss, x, np.full(x.shape, y)), z, **step(loss)).df
            bend = derivative(lambda x, y=y: gradient(loss, x, np.full(x.shape, y)), z, **step(loss)).df
        assert np.allclose(slope, gradient(loss, z, y), **TOLERANCE), paste(loss, z, y, "gradient")
        matrix = reflosses.hessian(loss, z, y)
        floor = 1e-7 if takes_logits(loss) else 1e-6 * np.abs(matrix).max()  # 1/p² is not bounded, nor are differences
        assert np.allclose(bend, matrix, rtol=1e-5, atol=floor), paste(loss, z, y, "hessian")


def step(loss):
    """Return the first step of SciPy's differences, with which probabilities stay inside of 0 and 1, and of a clip."""
    return {} if takes_logits(loss) else {"initial_step": 0.03}


def _columns(f, loss, x, y):
    """Return f of rows that lie in the columns of x."""
    z = np.moveaxis(x, 0, -1)
    return f(loss, z, np.broadcast_to(y, z.shape if np.ndim(y) else z.shape[:-1]))


@each_input
def test_hessians_are_jacobians_of_gradients(loss, kind):
    for z, y in zip(*points(loss, kind), strict=True):
        if loss.targets.rows:
            bend = jacobian(lambda x, y=y: np.moveaxis(_columns(gradient, loss, x, y), -1, 0), z, **step(loss)).df
            vector = np.array([1.0, -2.0, 0.5])
            product = hessian_vector_product(loss, z, y, vector)
            assert np.allclose(bend @ vector, product, **TOLERANCE), paste(loss, z, y, "hessian_vector_product")
        else:
            bend = derivative(lambda x, y=y: gradient(loss, x, np.full(x.shape, y)), z, **step(loss)).df
        assert np.allclose(bend, reflosses.hessian(loss, z, y), **TOLERANCE), paste(loss, z, y, "hessian")
        diagonal = hessian_diagonal(loss, z, y)
        assert np.allclose(np.diag(bend) if np.ndim(bend) else bend, diagonal, **TOLERANCE)


@pytest.mark.parametrize("loss", [loss for loss in ALL if loss.targets is not Targets.BINARY], ids=repr)
def test_label_gradients(loss):
    for z, y in zip(*points(loss, 1), strict=True):
        slopes = np.ravel(gradient(loss, z, y, wrt="labels"))
        y = np.ravel(y)

        def of_labels(y, z=z):
            return value(loss, z, y if loss.targets.rows else y[0], normalized=False)

        step = np.where(y < 0.5, 1e-5, -1e-5)  # labels stay in [0, 1]
        once, twice = ([of_labels(y + k * step * row) - of_labels(y) for row in np.eye(y.size)] for k in (1, 2))
        found = (4 * np.array(once) - twice) / (2 * step)  # exact for a parabola
        assert np.allclose(found, slopes, rtol=1e-6, atol=1e-8), paste(loss, z, y, "label_gradient")


@pytest.mark.parametrize("loss", [loss for loss in ALL if loss.targets is Targets.BINARY], ids=repr)
def test_label_gradients_where_labels_are_0_or_1(loss):
    """Between the labels it allows, such a loss is its textbook formula."""
    for z, y in zip(*points(loss, 0), strict=True):
        inward = 1e-7 if y == 0 else -1e-7
        slope = (loss.textbook(z, y + inward) - loss.textbook(z, y)) / inward
        assert np.isclose(gradient(loss, z, y, wrt="labels"), slope, rtol=1e-5, atol=1e-6), paste(loss, z, y)


@each_input
def test_parameter_gradients(loss, kind):
    logits, labels = points(loss, kind)
    numbers = flat(loss)
    if not numbers:
        return
    slopes = np.array(
        [
            np.atleast_1d(x)
            for part in arrays(parameter_gradient(loss, logits, labels, reduction="sum"))
            for x in np.ravel(part)
        ]
    )
    inward = [1e-7 if inside(loss, k, 1e-7) else -1e-7 for k in range(len(numbers))]
    for k, (slope, step) in enumerate(zip(slopes, inward, strict=True)):

        def of_parameter(x, k=k):
            moved = [*numbers]
            moved[k] = float(np.ravel(x)[0])
            return value(rebuilt(loss, iter(moved)), logits, labels, reduction="sum")

        difference = approx_fprime(np.array([numbers[k]]), of_parameter, step)
        assert np.allclose(difference, slope, rtol=2e-6, atol=2e-6), (loss, k)


def inside(loss, k, step):
    """Whether the k-th parameter may grow by a step."""
    moved = flat(loss)
    moved[k] += step
    try:
        value(rebuilt(loss, iter(moved)), *sample(loss))
    except ValueError:
        return False
    return True


def test_the_helpers_reach_every_parameter():
    for loss in ALL:
        assert rebuilt(loss, iter(flat(loss))) == loss
        names = [parameter.name for parameter in parameters(type(loss))]
        assert any(map(is_loss, loss)) or set(names) == set(loss._fields)
