"""Implementations of the losses that are found on this machine, ours among them.

Each is a function ``(loss, logits, labels) -> (value, gradient or None)`` on NumPy arrays, unreduced.
Frameworks are imported where they are used, so that a table of all of them costs nothing.
"""

import os
import sys
from collections.abc import Callable
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import NamedTuple

import ml_dtypes
import numpy as np
from scipy import special

from ..domain import identity
from ..losses import (
    LOSSES,
    BinaryCrossEntropy,
    BinaryFocal,
    BinaryLabelSmoothing,
    CategoricalFocal,
    ClassificationMAE,
    CrossEntropy,
    LabelSmoothing,
    OtherClassesSmoothing,
    SigmoidFocal,
    SoftLabelSmoothing,
    SparseLSR,
)
from ..spelling import parse
from ..version import __version__

WIDE = np.float32, np.float64
DTYPES = np.float16, ml_dtypes.bfloat16, np.float32, np.float64
ROWS = 512  # jax gets batches filled up to a multiple of this: compiling for a new shape takes 0.2 s
DISTRIBUTIONS = {"sklearn": "scikit-learn"}  # where it is not called what is imported
KERAS_BACKENDS = "jax", "torch"  # those whose gradients are taken here


class Implementation(NamedTuple):
    """One way in which somebody computes a loss."""

    system: str  # the package it comes from
    name: str
    loss: type
    function: Callable
    expresses: Callable = lambda loss: True  # whether it has the parameters that a loss has
    rows: bool = True  # whether it takes rows of probabilities as labels
    dtypes: tuple = WIDE
    one_hot: bool = False  # whether a line to paste gives it rows for classes,
    argument: str = "{}"  # and what it makes of an array,
    line: str = "{target}({z}, {y})"  # and how it is called
    call: Callable | None = None  # of a ``Call``: what a target does with options and upstream derivatives,
    takes: tuple = ()  # and which options it takes

    @property
    def ours(self):
        return self.system == "reflosses"

    def accepts(self, batch):
        """Whether the implementation takes labels of a batch's kind."""
        return self.rows or not batch.soft

    def cases(self, dtypes=DTYPES):
        """Return (loss, dtype) for two settings that it can compute; one in 16 bits, and where it is ours.

        The tests certify ours at every setting.
        """
        losses = [loss for loss in (self.loss(*s) for s in self.loss.settings) if self.expresses(loss)]
        return [(x, t) for t in self.dtypes if t in dtypes for x in losses[: 2 if t in WIDE and not self.ours else 1]]


# Ours ---------------------------------------------------------------------------------------


def kernels(loss, logits, labels):
    from ..api import value_and_gradient

    return value_and_gradient(loss, logits, labels, normalized=False)


# NumPy and SciPy, as people write them -------------------------------------------------------


def as_rows(logits, labels):
    """Return labels as rows of probabilities in the dtype of the logits."""
    if labels.ndim == logits.ndim:
        return labels
    return (labels[:, None] == np.arange(logits.shape[1])).astype(logits.dtype)


def weighted_rows(loss, logits, labels):
    """Return what multiplies -log p_i: the label, smoothed and weighted as the loss says."""
    y = smoothed(loss, as_rows(logits, labels))
    weight = class_weight(loss)
    return y if weight is None else y * np.asarray(weight, logits.dtype)


def smoothed(loss, y):
    """Return rows of labels as a loss smooths them, if it does."""
    number, n = y.dtype.type, y.shape[1]
    if isinstance(loss, LabelSmoothing):
        return y * number(1 - loss.smoothing) + number(loss.smoothing / n)
    if isinstance(loss, OtherClassesSmoothing):
        return y * number(1 - loss.smoothing * n / (n - 1)) + number(loss.smoothing / (n - 1))
    if isinstance(loss, SoftLabelSmoothing):
        share = number(loss.smoothing) / np.count_nonzero(y, axis=1, keepdims=True).astype(y.dtype)
        return np.maximum(y - share, 0) + number(loss.smoothing / n)
    return y


def entropy_within(loss):
    """Return the cross entropy whose labels a loss smooths, or the loss itself."""
    return getattr(loss, "loss", loss)


def class_weight(loss):
    """Return the weights of the classes of a cross entropy, smoothed or not."""
    return entropy_within(loss).class_weight


def log_of_softmax(loss, z, y):
    t = weighted_rows(loss, z, y)
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return -np.sum(t * np.log(p), axis=1), p * t.sum(axis=1, keepdims=True) - t


def log_sum_exp(loss, z, y):
    t = weighted_rows(loss, z, y)
    m = z.max(axis=1, keepdims=True)
    lse = m + np.log(np.sum(np.exp(z - m), axis=1, keepdims=True))
    return np.sum(t * (lse - z), axis=1), np.exp(z - lse) * t.sum(axis=1, keepdims=True) - t


def scipy_log_softmax(loss, z, y):
    t = weighted_rows(loss, z, y)
    p = special.softmax(z, axis=1)
    return -np.sum(t * special.log_softmax(z, axis=1), axis=1), p * t.sum(axis=1, keepdims=True) - t


def log_of_expit(loss, z, y):
    w = z.dtype.type(loss.pos_weight)
    p = 1 / (1 + np.exp(-z))
    return -(w * y * np.log(p) + (1 - y) * np.log(1 - p)), (1 - y) * p - w * y * (1 - p)


def logaddexp(loss, z, y):
    return np.logaddexp(0, z) - y * z, special.expit(z) - y


def xlogy(loss, z, y):
    w, p = z.dtype.type(loss.pos_weight), special.expit(z)
    return -(w * special.xlogy(y, p) + special.xlog1py(1 - y, -p)), (1 - y) * p - w * y * (1 - p)


def log_expit(loss, z, y):
    w = z.dtype.type(loss.pos_weight)
    value = -(w * y * special.log_expit(z) + (1 - y) * special.log_expit(-z))
    return value, (1 - y) * special.expit(z) - w * y * special.expit(-z)


def balance(loss, y):
    """Return α for y = 1 and 1 - α for y = 0, or 1."""
    return y.dtype.type(1) if loss.alpha is None else np.where(y == 1, loss.alpha, 1 - loss.alpha).astype(y.dtype)


def focal_of_p(loss, z, y):
    p, gamma = 1 / (1 + np.exp(-z)), z.dtype.type(loss.gamma)
    q, a = np.where(y == 1, p, 1 - p), balance(loss, y)
    slope = a * (1 - q) ** gamma * (gamma * q * np.log(q) - (1 - q))
    return -a * (1 - q) ** gamma * np.log(q), np.where(y == 1, slope, -slope)


def focal_of_log_expit(loss, z, y):
    t, gamma = np.where(y == 1, z, -z), z.dtype.type(loss.gamma)
    s, q, c, a = special.log_expit(t), special.expit(t), special.expit(-t), balance(loss, y)
    slope = a * c**gamma * (gamma * q * s - c)
    return -a * c**gamma * s, np.where(y == 1, slope, -slope)


def categorical_focal(loss, z, y):
    y = as_rows(z, y) * (1 if loss.alpha is None else np.asarray(loss.alpha, z.dtype))
    p, s, gamma = special.softmax(z, axis=1), special.log_softmax(z, axis=1), z.dtype.type(loss.gamma)
    slope = y * (gamma * (1 - p) ** (gamma - 1) * p * s - (1 - p) ** gamma)
    return -np.sum(y * (1 - p) ** gamma * s, axis=1), slope - p * slope.sum(axis=1, keepdims=True)


def absolute_error(loss, z, y):
    p = special.softmax(z, axis=1)
    difference = p - as_rows(z, y)
    slope = np.sign(difference) * p
    return np.abs(difference).sum(axis=1), slope - p * slope.sum(axis=1, keepdims=True)


def sparse_smoothing(loss, z, y):
    n, y = z.shape[1], as_rows(z, y)
    p, given = special.softmax(z, axis=1), z.dtype.type(loss.smoothing * (n - 1) / n)
    slope = y * (given * p / (1 - p) - (1 - given))
    value = -np.sum(y * ((1 - given) * np.log(p) + given * np.log((1 - p) / (n - 1))), axis=1)
    return value, slope - p * slope.sum(axis=1, keepdims=True)


# scikit-learn -------------------------------------------------------------------------------


def half_multinomial(loss, z, y):
    from sklearn._loss import HalfMultinomialLoss

    return HalfMultinomialLoss(n_classes=z.shape[1]).loss_gradient(y.astype(z.dtype), np.ascontiguousarray(z))


def half_binomial(loss, z, y):
    from sklearn._loss import HalfBinomialLoss

    return HalfBinomialLoss().loss_gradient(y.astype(z.dtype), z)


def log_loss(loss, z, y):
    """scikit-learn's metric, which clips probabilities and has no gradient, one row at a time."""
    from sklearn.metrics import log_loss

    p = special.softmax(z, axis=1)
    classes = np.arange(z.shape[1])
    return np.array([log_loss([label], row[None], labels=classes) for label, row in zip(y, p, strict=True)]), None


# Frameworks: each function below returns the loss as a function of logits and labels ------------


def by_autograd(function, z, y):
    """Return the values of a torch function and the gradient of their sum, as NumPy arrays."""
    import torch

    with torch.enable_grad():
        logits = torch.from_numpy(z).requires_grad_()
        value = function(logits, torch.from_numpy(y))
        (gradient,) = torch.autograd.grad(value.sum(), logits)
    return value.detach().numpy(), gradient.numpy()


def by_jax(function, z, y):
    """Return the values of a jax function and the gradient of their sum, as NumPy arrays."""
    import jax

    with jax.enable_x64(z.dtype == np.float64):
        value, pullback = jax.vjp(lambda z: function(z, jax.numpy.asarray(y)), jax.numpy.asarray(z))
        return np.asarray(value), np.asarray(pullback(jax.numpy.ones_like(value))[0])


_compiled: dict = {}


def compiled(make, loss):
    """Return value and gradient of a jax function of a loss, compiled once for every shape."""
    import jax

    def both(z, y):
        value, pullback = jax.vjp(lambda z: make(loss)(z, y), z)
        return value, pullback(jax.numpy.ones_like(value))[0]

    key = make, identity(loss)
    if key not in _compiled:
        _compiled[key] = jax.jit(both)
    return _compiled[key]


def torch(make):
    """Return an implementation from a torch one."""
    return lambda loss, z, y: by_autograd(make(loss), z, y)


def jax(make, one_hot=False):
    """Return an implementation from a jax one, compiled as users compile it."""

    def function(loss, z, y):
        from jax import enable_x64

        y = as_rows(z, y) if one_hot else y
        full = [np.concatenate([x, np.repeat(x[-1:], -len(x) % ROWS, axis=0)]) for x in (z, y)]
        with enable_x64(z.dtype == np.float64):
            return [np.asarray(x)[: len(z)] for x in compiled(make, loss)(*full)]

    return function


def keras(make, one_hot=False):
    """Return an implementation from a Keras one, differentiated by Keras's backend."""

    def function(loss, z, y):
        keras = keras_module()
        if keras.backend.backend() == "jax":
            return jax(make, one_hot)(loss, z, y)
        return by_autograd(make(loss), z, as_rows(z, y) if one_hot else y)

    return function


def torch_cross_entropy(loss):
    import torch

    def formula(z, y):
        weight = class_weight(loss)
        weight = None if weight is None else torch.tensor(weight, dtype=z.dtype)
        return torch.nn.functional.cross_entropy(
            z, y, weight=weight, label_smoothing=getattr(loss, "smoothing", 0.0), reduction="none"
        )

    return formula


def torch_binary_cross_entropy(loss):
    import torch

    def formula(z, y):
        weight = None if loss.pos_weight == 1 else torch.tensor(loss.pos_weight, dtype=z.dtype)
        return torch.nn.functional.binary_cross_entropy_with_logits(z, y, pos_weight=weight, reduction="none")

    return formula


def torchvision_focal(loss):
    """The formula of torchvision.ops.sigmoid_focal_loss, line by line."""
    import torch

    def formula(inputs, targets):
        p = torch.sigmoid(inputs)
        ce_loss = torch.nn.functional.binary_cross_entropy_with_logits(inputs, targets, reduction="none")
        p_t = p * targets + (1 - p) * (1 - targets)
        focal = ce_loss * ((1 - p_t) ** loss.gamma)
        if loss.alpha is None:
            return focal
        return (loss.alpha * targets + (1 - loss.alpha) * (1 - targets)) * focal

    return formula


def optax_softmax(loss):
    import optax

    if isinstance(loss, LabelSmoothing):
        return lambda z, y: optax.softmax_cross_entropy(z, optax.smooth_labels(y, loss.smoothing))
    return optax.softmax_cross_entropy


def optax_softmax_integer(loss):
    import optax

    return optax.softmax_cross_entropy_with_integer_labels


def optax_sigmoid(loss):
    import optax

    return optax.sigmoid_binary_cross_entropy


def optax_focal(loss):
    import optax

    return lambda z, y: optax.sigmoid_focal_loss(z, y, alpha=loss.alpha, gamma=loss.gamma)


def choose_keras_backend():
    """Choose a backend that is installed, unless the user has; return whether it is one that serves."""
    installed = [name for name in KERAS_BACKENDS if find_spec(name)]
    if installed and "keras" not in sys.modules:
        os.environ.setdefault("KERAS_BACKEND", installed[0])
    return os.environ.get("KERAS_BACKEND") in KERAS_BACKENDS


def keras_module():
    """Import Keras on a backend that is installed."""
    choose_keras_backend()
    return import_module("keras")


def keras_categorical(loss, from_logits=True):
    keras = keras_module()

    def formula(z, y):
        prediction = z if from_logits else keras.ops.softmax(z)
        smoothing = getattr(loss, "smoothing", 0.0)
        return keras.losses.categorical_crossentropy(y, prediction, from_logits, label_smoothing=smoothing)

    return formula


def keras_categorical_of_p(loss):
    return keras_categorical(loss, from_logits=False)


def keras_sparse(loss):
    keras = keras_module()

    return lambda z, y: keras.losses.sparse_categorical_crossentropy(y, z, from_logits=True)


def keras_binary(loss, from_logits=True):
    keras = keras_module()

    def formula(z, y):
        prediction = z if from_logits else keras.ops.sigmoid(z)
        smoothing = getattr(loss, "smoothing", 0.0)
        return keras.losses.binary_crossentropy(y[:, None], prediction[:, None], from_logits, smoothing)

    return formula


def keras_binary_of_p(loss):
    return keras_binary(loss, from_logits=False)


def keras_focal(loss):
    keras = keras_module()

    options = {"apply_class_balancing": loss.alpha is not None, "alpha": loss.alpha, "gamma": loss.gamma}
    function = keras.losses.binary_focal_crossentropy
    return lambda z, y: function(y[:, None], z[:, None], from_logits=True, **options)


def keras_categorical_focal(loss):
    keras = keras_module()

    alpha = 1.0 if loss.alpha is None else list(loss.alpha)
    return lambda z, y: keras.losses.categorical_focal_crossentropy(y, z, alpha, loss.gamma, from_logits=True)


# The list -----------------------------------------------------------------------------------


def entropy(loss):
    """Whether a loss is a cross entropy, perhaps of smoothed labels."""
    return isinstance(entropy_within(loss), (CrossEntropy, BinaryCrossEntropy))


def unweighted(loss):
    """Whether a loss is a cross entropy without weights, perhaps of smoothed labels."""
    return entropy(loss) and entropy_within(loss) in (CrossEntropy(), BinaryCrossEntropy())


IMPLEMENTATIONS = (
    *(Implementation("reflosses", "kernels", loss, kernels, dtypes=DTYPES) for loss in LOSSES),
    Implementation("numpy", "log(softmax)", CrossEntropy, log_of_softmax),
    Implementation("numpy", "log-sum-exp", CrossEntropy, log_sum_exp),
    Implementation("scipy", "log_softmax", CrossEntropy, scipy_log_softmax),
    Implementation("sklearn", "HalfMultinomialLoss", CrossEntropy, half_multinomial, unweighted, rows=False),
    Implementation("sklearn", "log_loss", CrossEntropy, log_loss, unweighted, rows=False),
    Implementation("torch", "cross_entropy", CrossEntropy, torch(torch_cross_entropy)),
    Implementation("optax", "softmax_cross_entropy", CrossEntropy, jax(optax_softmax, one_hot=True), unweighted),
    Implementation("optax", "…_with_integer_labels", CrossEntropy, jax(optax_softmax_integer), unweighted, rows=False),
    Implementation("keras", "sparse_categorical", CrossEntropy, keras(keras_sparse), unweighted, rows=False),
    Implementation("keras", "categorical", CrossEntropy, keras(keras_categorical, one_hot=True), unweighted),
    Implementation("keras", "categorical of p", CrossEntropy, keras(keras_categorical_of_p, one_hot=True), unweighted),
    Implementation("scipy", "log_softmax", LabelSmoothing, scipy_log_softmax, entropy),
    Implementation("torch", "cross_entropy", LabelSmoothing, torch(torch_cross_entropy), entropy),
    Implementation("optax", "softmax_cross_entropy", LabelSmoothing, jax(optax_softmax, one_hot=True), unweighted),
    Implementation("keras", "categorical", LabelSmoothing, keras(keras_categorical, one_hot=True), unweighted),
    Implementation("scipy", "log_softmax", OtherClassesSmoothing, scipy_log_softmax, entropy),
    Implementation("scipy", "log_softmax", SoftLabelSmoothing, scipy_log_softmax, entropy),
    Implementation("scipy", "softmax", CategoricalFocal, categorical_focal),
    Implementation("keras", "categorical_focal", CategoricalFocal, keras(keras_categorical_focal, one_hot=True)),
    Implementation("scipy", "softmax", ClassificationMAE, absolute_error),
    Implementation("scipy", "softmax", SparseLSR, sparse_smoothing),
    Implementation("numpy", "log(1/(1+exp))", BinaryCrossEntropy, log_of_expit),
    Implementation("numpy", "logaddexp", BinaryCrossEntropy, logaddexp, unweighted),
    Implementation("scipy", "xlogy", BinaryCrossEntropy, xlogy),
    Implementation("scipy", "log_expit", BinaryCrossEntropy, log_expit),
    Implementation("sklearn", "HalfBinomialLoss", BinaryCrossEntropy, half_binomial, unweighted),
    Implementation("torch", "binary_cross_entropy_with_logits", BinaryCrossEntropy, torch(torch_binary_cross_entropy)),
    Implementation("optax", "sigmoid_binary_cross_entropy", BinaryCrossEntropy, jax(optax_sigmoid), unweighted),
    Implementation("keras", "binary", BinaryCrossEntropy, keras(keras_binary), unweighted),
    Implementation("keras", "binary of p", BinaryCrossEntropy, keras(keras_binary_of_p), unweighted),
    Implementation("keras", "binary", BinaryLabelSmoothing, keras(keras_binary), unweighted),
    Implementation("numpy", "(1 - p)^γ log p", SigmoidFocal, focal_of_p),
    Implementation("scipy", "log_expit", SigmoidFocal, focal_of_log_expit),
    Implementation("torch", "torchvision's sigmoid_focal_loss", SigmoidFocal, torch(torchvision_focal)),
    Implementation("optax", "sigmoid_focal_loss", SigmoidFocal, jax(optax_focal)),
    Implementation("keras", "binary_focal", SigmoidFocal, keras(keras_focal)),
    Implementation("torch", "torchvision's sigmoid_focal_loss", BinaryFocal, torch(torchvision_focal)),
    Implementation("optax", "sigmoid_focal_loss", BinaryFocal, jax(optax_focal)),
    Implementation("keras", "binary_focal", BinaryFocal, keras(keras_focal)),
)


def run(name, loss, logits, labels):
    """Return value and gradient of an implementation named as in the audit's table.

    >>> value, gradient = run("scipy log_expit", "binary_cross_entropy", np.float32([-2]), np.float32([0]))
    >>> print(value, gradient)
    [0.126928] [0.11920292]
    """
    loss, logits, labels = parse(loss), np.asarray(logits), np.asarray(labels)
    for implementation in IMPLEMENTATIONS:
        if f"{implementation.system} {implementation.name}" == name and implementation.loss is type(loss):
            return implementation.function(loss, logits, labels)
    raise ValueError(f"there is no implementation {name!r} of {type(loss).__name__}")


def version(system):
    """Return the version of an installed system, or None; nothing is imported, which takes seconds."""
    if system == __package__.partition(".")[0]:
        return __version__
    if find_spec(system) is None or (system == "keras" and not choose_keras_backend()):
        return None
    return metadata.version(DISTRIBUTIONS.get(system, system))
