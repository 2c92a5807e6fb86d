"""Losses of torch, JAX with optax, and Keras, each as a torch or JAX function of logits and labels.

A function here takes a loss and returns such a function; ``torch``, ``jax`` and ``keras`` make of it
what ``rivals.Implementation`` holds.  Frameworks are imported where they are used.
"""

import os
import sys
from importlib import import_module
from importlib.util import find_spec

import numpy as np

from ..domain import identity
from ..losses import LabelSmoothing
from .formulas import as_rows, class_weight

ROWS = 512  # jax gets batches filled up to a multiple of this: compiling for a new shape takes 0.2 s
KERAS_BACKENDS = "jax", "torch", "tensorflow"  # the first one installed is that of a Keras that nobody told


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


def by_tape(function, z, y):
    """Return the values of a TensorFlow function and the gradient of their sum, as NumPy arrays."""
    import tensorflow

    logits = tensorflow.Variable(z)
    with tensorflow.GradientTape() as tape:
        value = function(logits, tensorflow.constant(y))
    return value.numpy(), tape.gradient(value, logits).numpy()


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


def torch(make, one_hot=False):
    """Return an implementation from a torch one."""
    return lambda loss, z, y: by_autograd(make(loss), z, as_rows(z, y) if one_hot else y)


def tensorflow(make, one_hot=False):
    """Return an implementation from a TensorFlow one."""
    return lambda loss, z, y: by_tape(make(loss), z, as_rows(z, y) if one_hot else y)


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
        backend = keras_module().backend.backend()
        return {"jax": jax, "torch": torch, "tensorflow": tensorflow}[backend](make, one_hot)(loss, z, y)

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


def keras_backend():
    """Return the backend that Keras has or will have: the user's, or one that is installed; None if none serves."""
    installed = [name for name in KERAS_BACKENDS if find_spec(name)]
    if installed and "keras" not in sys.modules:
        os.environ.setdefault("KERAS_BACKEND", installed[0])
    chosen = os.environ.get("KERAS_BACKEND")
    return chosen if chosen in installed else None


def keras_module():
    """Import Keras on a backend that is installed."""
    keras_backend()
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
