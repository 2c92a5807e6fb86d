"""Transfer functions of arrays, from logits to probabilities, with their derivatives.

``softmax`` and ``log_softmax`` work along the last axis, ``sigmoid`` and ``log_sigmoid`` on each
element.  All keep the dtype of the logits, as the verbs do, and treat -inf as a masked class.

The tempered functions take a temperature t after their argument; at t = 1 they are the logarithm,
the exponential, log-sum-exp, softmax and sigmoid, and no neighbourhood of 1 is treated apart.
"""

import math
from typing import NamedTuple

import numpy as np

from . import cpu, threads
from .arrays import as_logits, as_real, finish, place
from .dispatch import Single
from .divergence import expm1_over, integral_of_moment
from .domain import NONNEGATIVE, POSITIVE, REAL, predictions
from .special import expit, inline, log_expit, log_parts, log_tempered, mass_times, power, two_sum
from .stamp import stamp
from .tempered import pair, stretch


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
    short : bool
        Whether short functions are exact enough for narrow results.

    Examples
    --------
    >>> sigmoid([0.0, -800.0])
    array([0.5, 0. ])
    >>> sigmoid.derivative(0.0)
    np.float64(0.25)
    """

    def __init__(self, definition, short=True):
        self.definition, self.short, self.__doc__ = definition, short, type(definition).__doc__

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
        definition = _precision(self.definition, z, order == 2 or not self.short)
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


# ---- the tempered family ------------------------------------------------------------------


class TemperedLogarithm(NamedTuple):
    """log_t u = (u^(1-t) - 1)/(1 - t), u >= 0: the logarithm at t = 1, bounded below for t < 1 and above for t > 1."""

    t: float

    def kernel(self, z, y):
        b, b_low = two_sum(1.0, -self.t)
        log_u, low = log_parts(z if z >= 0.0 else math.nan, 0.0)
        value = log_u if b == 0.0 else expm1_over(log_u, low, b, b_low)
        next_t, next_low = two_sum(-self.t, -1.0)
        bend = -self.t * power(log_u, low, next_t, next_low) if self.t > 0.0 else 0.0
        return value, power(log_u, low, -self.t, 0.0), bend


class TemperedLogarithmInTemperature(NamedTuple):
    """∂ log_t u/∂t = -∫ w e^((1-t)w) dw from 0 to log u."""

    t: float

    def kernel(self, z, y):
        b, b_low = two_sum(1.0, -self.t)
        log_u, low = log_parts(z if z >= 0.0 else math.nan, 0.0)
        return -integral_of_moment(log_u, low, b, b_low), 0.0, 0.0


class TemperedExponential(NamedTuple):
    """exp_t u = [1 + (1-t) u]_+^(1/(1-t)): 0 below the support for t < 1, infinite beyond the pole for t > 1."""

    t: float

    def kernel(self, z, y):
        log_p, low = log_of_exponential(self.t, z)
        double, double_low = two_sum(2.0 * self.t, -1.0)
        bend = self.t * power(log_p, low, double, double_low) if log_p > -math.inf else 0.0
        return power(log_p, low, 1.0, 0.0), power(log_p, low, self.t, 0.0), bend


class TemperedExponentialInTemperature(NamedTuple):
    """∂ exp_t u/∂t = p^t τ, p = exp_t u, τ = (b log b - b + 1)/(t - 1)² with b = p^(1-t)."""

    t: float

    def kernel(self, z, y):
        log_p, low = log_of_exponential(self.t, z)
        return mass_times(power(log_p, low, self.t, 0.0), stretch(self.t, log_p, low)), 0.0, 0.0


@inline
def log_of_exponential(t, u):
    """Return log exp_t(u) as high + low."""
    log_p, low, b = log_tempered(-u, 0.0, *two_sum(t, -1.0))
    return (math.inf, 0.0) if b <= 0.0 and t > 1.0 else (log_p, low)


class TemperedSigmoid(NamedTuple):
    """The second entry of the tempered softmax of (0, z)."""

    t: float

    def kernel(self, z, y):
        log_0, low_0, log_1, low_1 = two_classes(z, self.t)
        a, b = power(log_0, low_0, self.t, 0.0), power(log_1, low_1, self.t, 0.0)
        e_0, e_1 = a / (a + b), b / (a + b)
        double, double_low = two_sum(2.0 * self.t, -1.0)
        bend_0, bend_1 = power(log_0, low_0, double, double_low), power(log_1, low_1, double, double_low)
        bend = self.t * (mass_times(e_0 * e_0 * e_0, bend_1) - mass_times(e_1 * e_1 * e_1, bend_0))
        return power(log_1, low_1, 1.0, 0.0), e_0 * b, bend


class TemperedSigmoidInTemperature(NamedTuple):
    """∂p_1/∂t = p_1^t π_0 (τ_1 - τ_0)."""

    t: float

    def kernel(self, z, y):
        log_0, low_0, log_1, low_1 = two_classes(z, self.t)
        a, b = power(log_0, low_0, self.t, 0.0), power(log_1, low_1, self.t, 0.0)
        return mass_times(a / (a + b) * b, stretch(self.t, log_1, low_1) - stretch(self.t, log_0, low_0)), 0.0, 0.0


@inline
def two_classes(z, t):
    """Return log p of class 0 and of class 1, whose logits are 0 and z, as high + low each."""
    log_m, low_m, log_o, low_o = pair(z, t)
    return (log_o, low_o, log_m, low_m) if z >= 0.0 else (log_m, low_m, log_o, low_o)


class TemperedElementwise:
    """A tempered function of single numbers: call it with a temperature, or one of its derivatives.

    Examples
    --------
    >>> log_t([1.0, 4.0], 0.5)
    array([0., 2.])
    >>> exp_t([0.0, 2.0, -3.0], 0.5)
    array([1., 4., 0.])
    >>> tempered_sigmoid([0.0, 3.0, 6.0], 4.0).round(8)
    array([0.5       , 0.58502951, 0.64192236])
    """

    def __init__(self, definition, in_temperature, domain):
        self.__doc__ = definition.__doc__
        self._definition, self._in_temperature, self._domain = definition, in_temperature, domain

    def _at(self, definition, t):
        return Elementwise(definition(_temperature(t, self._domain)), short=False)

    def __call__(self, x, t):
        """Return the function of every number."""
        return self._at(self._definition, t)(x)

    def derivative(self, x, t):
        """Return the derivative at every number."""
        return self._at(self._definition, t).derivative(x)

    def second_derivative(self, x, t):
        """Return the second derivative at every number."""
        return self._at(self._definition, t).second_derivative(x)

    def derivative_in_temperature(self, x, t):
        """Return the derivative in t at every number."""
        return self._at(self._in_temperature, t)(x)

    def vjp(self, x, t, cotangent):
        """Return the derivative times ``cotangent``, of the shape of x."""
        return self._at(self._definition, t).vjp(x, cotangent)

    jvp = vjp  # the Jacobian is diagonal


class _Tempered(NamedTuple):
    t: float


class TemperedSoftmax:
    """p_i = exp_t(z_i - λ) with Σ p_i = 1, along the last axis; its Jacobian p_i^t (δ_ij - π_j) is symmetric.

    π_j = p_j^t/Σ_k p_k^t are the escort probabilities.

    Examples
    --------
    >>> tempered_softmax([-0.5, 0.1, 2.0], 4.0).round(8)
    array([0.32053767, 0.32713398, 0.35232835])
    >>> tempered_softmax([1.0, 0.0, -4.0], 0.5)
    array([0.83071891, 0.16928109, 0.        ])
    """

    def __call__(self, logits, t):
        """Return the probabilities of every row."""
        return self._run(logits, t, None, 0)

    def vjp(self, logits, t, cotangent):
        """Return ``cotangent``, of the logits' shape, times every row's Jacobian."""
        return self._run(logits, t, cotangent, 2)

    jvp = vjp  # the Jacobian is symmetric

    def derivative_in_temperature(self, logits, t):
        """Return ∂p/∂t of every row."""
        return self._run(logits, t, None, 3)

    def normalization(self, logits, t):
        """Return the λ of every row."""
        return self._run(logits, t, None, 1)

    def _run(self, logits, t, vectors, output):
        z, dtype = as_logits(logits, rows=True)
        flat = z.reshape(-1, z.shape[-1])
        vectors = None if vectors is None else _matching(vectors, z).reshape(flat.shape)
        shape = (z.shape[:-1], flat.shape[:1]) if output == 1 else (z.shape, flat.shape)
        result, buffer = place(None, *shape, dtype)
        outputs = [buffer if k == output else None for k in range(4)]
        definition = _Tempered(_temperature(t, POSITIVE))
        threads.run(cpu.build(stamp()).tempered_softmax, (definition,), (flat, vectors, *outputs), z.size)
        return finish(result, buffer)


def _temperature(t, domain):
    t = float(t)
    if t not in domain:
        raise ValueError(f"t must lie in {domain}, got {t!r}")
    return t


log_t = TemperedElementwise(TemperedLogarithm, TemperedLogarithmInTemperature, NONNEGATIVE)
exp_t = TemperedElementwise(TemperedExponential, TemperedExponentialInTemperature, NONNEGATIVE)
tempered_sigmoid = TemperedElementwise(TemperedSigmoid, TemperedSigmoidInTemperature, POSITIVE)
tempered_softmax = TemperedSoftmax()


def tempered_normalization(logits, t):
    """Return the λ with Σ_i exp_t(z_i - λ) = 1 of every row: log-sum-exp at t = 1.

    Parameters
    ----------
    logits : array_like
        Shape (..., C).
    t : float
        Temperature above 0.

    Returns
    -------
    ndarray
        Shape (...), in the dtype of the logits.

    Raises
    ------
    ValueError
        If t is not above 0 or there are no classes.

    Examples
    --------
    >>> tempered_normalization([0.0, 0.0], 1.0)
    np.float64(0.6931471805599453)
    """
    return tempered_softmax.normalization(logits, t)


def predicted(loss, logits):
    """Return what a model with these logits hands to a loss: the logits, or their probabilities in the same dtype.

    Examples
    --------
    >>> from reflosses import BinaryProbabilityCrossEntropy, CrossEntropy
    >>> predicted(CrossEntropy(), [0.0, 0.0]), predicted(BinaryProbabilityCrossEntropy(), [0.0, 0.0])
    ([0.0, 0.0], array([0.5, 0.5]))
    """
    if predictions(loss) == REAL:
        return logits
    return softmax(logits) if loss.targets.rows else sigmoid(logits)
