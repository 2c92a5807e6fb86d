"""Transfer functions of arrays, from logits to probabilities, with their derivatives.

``softmax`` and ``log_softmax`` work along the last axis, ``sigmoid`` and ``log_sigmoid`` on each
element.  All keep the dtype of the logits, as the verbs do, and treat -inf as a masked class.
"""

from typing import NamedTuple

import numpy as np

from . import cpu, threads
from .arrays import as_logits, as_real, finish, place
from .dispatch import Single
from .special import expit, log_expit
from .stamp import stamp


class Sigmoid(NamedTuple):
    """σ(z) = 1/(1 + e^-z), in the form that drivers of single logits take."""

    def kernel(self, z, y):
        p, not_p = expit(z), expit(-z)
        return p, p * not_p, p * not_p * (not_p - p)


class LogSigmoid(NamedTuple):
    """log σ(z), in the form that drivers of single logits take."""

    def kernel(self, z, y):
        not_p = expit(-z)
        return log_expit(z), not_p, -expit(z) * not_p


class Elementwise:
    """A transfer function of single logits: call it, or one of its derivatives.

    Parameters
    ----------
    definition : NamedTuple
        Its kernel returns the function and its first and second derivative.

    Examples
    --------
    >>> sigmoid([0.0, -800.0])
    array([0.5, 0. ])
    >>> sigmoid.derivative(0.0)
    np.float64(0.25)
    """

    def __init__(self, definition):
        self.definition, self.__doc__ = definition, type(definition).__doc__

    def __call__(self, logits):
        """Return the function of every logit."""
        return self._run(logits, None, 0)

    def derivative(self, logits):
        """Return the derivative at every logit."""
        return self._run(logits, None, 1)

    def second_derivative(self, logits):
        """Return the second derivative at every logit."""
        return self._run(logits, None, 2)

    def vjp(self, logits, cotangent):
        """Return the derivative times ``cotangent``, of the logits' shape."""
        return self._run(logits, cotangent, 1)

    jvp = vjp  # the Jacobian is diagonal

    def _run(self, logits, vector, order):
        z, dtype = as_logits(logits, rows=False)
        vector = None if vector is None else _matching(vector, z).reshape(-1)
        result, buffer = place(None, z.shape, (z.size,), dtype)
        definition = _precision(self.definition, z, order == 2)
        outputs = [buffer if k == order else None for k in range(3)]
        flat = z.reshape(-1)
        arrays = (flat, np.zeros_like(flat), None, vector, *outputs)
        threads.run(cpu.build(stamp()).pointwise, (definition, 1.0), arrays, z.size)
        return finish(result, buffer)


class RowTransfer:
    """A transfer function of rows of logits, along the last axis, with its Jacobian products.

    Examples
    --------
    >>> softmax([0.0, 0.0, -float("inf")])
    array([0.5, 0.5, 0. ])
    >>> softmax.vjp([0.0, 0.0], [1.0, 0.0])
    array([ 0.25, -0.25])
    """

    def __init__(self, doc, outputs):
        self.__doc__, self._outputs = doc, outputs

    def __call__(self, logits):
        """Return the function of every row."""
        return self._run(logits, None, self._outputs[0])

    def jvp(self, logits, tangent):
        """Return every row's Jacobian times ``tangent``, of the logits' shape."""
        return self._run(logits, tangent, self._outputs[1])

    def vjp(self, logits, cotangent):
        """Return ``cotangent``, of the logits' shape, times every row's Jacobian."""
        return self._run(logits, cotangent, self._outputs[2])

    def _run(self, logits, vectors, output):
        z, dtype = as_logits(logits, rows=True)
        flat = z.reshape(-1, z.shape[-1])
        vectors = None if vectors is None else _matching(vectors, z).reshape(flat.shape)
        result, buffer = place(None, z.shape, flat.shape, dtype)
        outputs = [buffer if k == output else None for k in range(5)]
        precision = _precision(Sigmoid(), z, output > 1)
        threads.run(cpu.build(stamp()).softmax, (precision,), (flat, vectors, *outputs), z.size)
        return finish(result, buffer)


def _precision(definition, z, cancels):
    """Return a definition marked for short functions if narrow logits and uncancelled terms allow it."""
    return definition if cancels or z.dtype == np.float64 else Single(definition)


def _matching(vector, z):
    vector = as_real(vector, "vector")
    if vector.shape != z.shape:
        raise ValueError(f"vector of shape {vector.shape} does not fit logits of shape {z.shape}")
    return vector


sigmoid = Elementwise(Sigmoid())
log_sigmoid = Elementwise(LogSigmoid())

# positions among the outputs of the driver: value, Jacobian times vector, vector times Jacobian
softmax = RowTransfer("p_i = e^z_i / Σ_k e^z_k; its Jacobian p_i (δ_ij - p_j) is symmetric.", (0, 2, 2))
log_softmax = RowTransfer("log p_i = z_i - log Σ_k e^z_k; its Jacobian is δ_ij - p_j.", (1, 3, 4))
