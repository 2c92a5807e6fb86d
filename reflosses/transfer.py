"""Transfer functions of arrays, from logits to probabilities, with their derivatives.

``softmax`` and ``log_softmax`` work along the last axis, ``sigmoid`` and ``log_sigmoid`` on each
element.  All keep the dtype of the logits, as the verbs do, and treat -inf as a masked class.

All of them, and their derivatives, compute where their arrays are: those of a GPU stay there, and
so do the results, in the order of the caller's stream.  With ``device="cuda"`` NumPy arrays go
there and back.

The tempered functions take a temperature t after their argument; at t = 1 they are the logarithm,
the exponential, log-sum-exp, softmax and sigmoid, and no neighbourhood of 1 is treated apart.
"""

import math
from functools import cache
from typing import NamedTuple

from . import threads
from .arrays import WIDE, as_logits, as_real, finish, place, scalar, where
from .dispatch import Single
from .divergence import expm1_over, integral_of_moment
from .domain import NONNEGATIVE, POSITIVE, REAL, predictions
from .special import expit, inline, log_expit, log_parts, log_tempered, mass_times, power, two_sum
from .stamp import stamp
from .tempered import stretch

__all__ = [
    "exp_t",
    "log_sigmoid",
    "log_softmax",
    "log_t",
    "sigmoid",
    "softmax",
    "tempered_normalization",
    "tempered_sigmoid",
    "tempered_softmax",
]


class _Call:
    """The checked arguments of one call; ``device`` has the other half of one for arrays on a GPU."""

    as_logits = staticmethod(as_logits)
    as_real = staticmethod(as_real)
    finish = staticmethod(finish)

    def __init__(self, logits, vectors, rows):
        self.drivers = self.build()
        z, self.dtype = self.as_logits(logits, rows)
        self.shape = tuple(z.shape)
        batch = self.shape[:-1] if rows else self.shape
        self.flat = (math.prod(batch), *self.shape[len(batch) :])
        self.logits, self.vectors = z.reshape(self.flat), None
        if vectors is not None:
            vectors = self.as_real(vectors, "vector")
            if tuple(vectors.shape) != self.shape:
                raise ValueError(f"vector of shape {tuple(vectors.shape)} does not fit logits of shape {self.shape}")
            self.vectors = vectors.reshape(self.flat)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        """Leave the GPU, where there is one."""

    def build(self):
        """Return the drivers."""
        from . import cpu  # only who computes has to wait for it

        return cpu.build(stamp())

    def wide_logits(self):
        """Return the logits as the drivers take them."""
        return self.logits

    def place(self, out, shape, flat):
        """Return (result, buffer): what the caller gets and what the driver fills."""
        return place(out, shape, flat, self.dtype)

    def spread(self, driver, shared, arrays):
        """Run a driver over all rows."""
        threads.run(driver, shared, arrays, self.logits.size)

    def precision(self, definition, cancels):
        """Return a definition marked for short functions if narrow logits and uncancelled terms allow it."""
        return definition if cancels or self.dtype == WIDE else Single(definition)

    def fill(self, driver, shared, given, output, outputs, axes=None):
        """Return one of a driver's outputs, of as many of the logits' axes."""
        shape = self.shape if axes in (None, len(self.flat)) else self.shape[:-1]
        result, buffer = self.place(None, shape, self.flat[:axes])
        filled = [buffer if k == output else None for k in range(outputs)]
        self.spread(driver, shared, (self.wide_logits(), *given, *filled))
        return self.finish(result, buffer)


@cache
def _call_on_device():
    from .device import OnDevice

    class CallOnDevice(OnDevice, _Call):
        """The checked arguments of one call, on a GPU."""

    return CallOnDevice


def _begin(logits, vectors, rows, device):
    """Return a call, on the CPU or where its arrays are."""
    if where(device, logits, vectors) == "cpu":
        return _Call(logits, vectors, rows)
    return _call_on_device()((logits, vectors), logits, vectors, rows)


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

    def __call__(self, logits, *, device=None):
        """Return the function of every logit."""
        return self._run(logits, None, 0, device)

    def derivative(self, logits, *, device=None):
        """Return the derivative at every logit."""
        return self._run(logits, None, 1, device)

    def second_derivative(self, logits, *, device=None):
        """Return the second derivative at every logit."""
        return self._run(logits, None, 2, device)

    def vjp(self, logits, cotangent, *, device=None):
        """Return the derivative times ``cotangent``, of the logits' shape."""
        return self._run(logits, cotangent, 1, device)

    jvp = vjp  # the Jacobian is diagonal

    def _run(self, logits, vector, order, device):
        with _begin(logits, vector, False, device) as call:
            definition = call.precision(self.definition, order == 2 or not self.short)
            return call.fill(call.drivers.pointwise, (definition, 1.0), (None, None, call.vectors), order, 3)


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

    def __call__(self, logits, *, device=None):
        """Return the function of every row."""
        return self._run(logits, None, self._outputs[0], device)

    def jvp(self, logits, tangent, *, device=None):
        """Return every row's Jacobian times ``tangent``, of the logits' shape."""
        return self._run(logits, tangent, self._outputs[1], device)

    def vjp(self, logits, cotangent, *, device=None):
        """Return ``cotangent``, of the logits' shape, times every row's Jacobian."""
        return self._run(logits, cotangent, self._outputs[2], device)

    def _run(self, logits, vectors, output, device):
        with _begin(logits, vectors, True, device) as call:
            return call.fill(call.drivers.softmax, (call.precision(Sigmoid(), output > 1),), (call.vectors,), output, 5)


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

    t2: float
    contract = "tempered_pair"  # type: ignore[misc]

    def kernel(self, sides, y, low):
        (log_0, low_0, _, _), (log_1, low_1, _, _) = sides
        a, b = power(log_0, low_0, self.t2, 0.0), power(log_1, low_1, self.t2, 0.0)
        e_0, e_1 = a / (a + b), b / (a + b)
        double, double_low = two_sum(2.0 * self.t2, -1.0)
        bend_0, bend_1 = power(log_0, low_0, double, double_low), power(log_1, low_1, double, double_low)
        bend = self.t2 * (mass_times(e_0 * e_0 * e_0, bend_1) - mass_times(e_1 * e_1 * e_1, bend_0))
        return power(log_1, low_1, 1.0, 0.0), e_0 * b, bend


class TemperedSigmoidInTemperature(NamedTuple):
    """∂p_1/∂t = p_1^t π_0 (τ_1 - τ_0)."""

    t2: float
    contract = "tempered_pair"  # type: ignore[misc]

    def kernel(self, sides, y, low):
        (log_0, low_0, _, _), (log_1, low_1, _, _) = sides
        a, b = power(log_0, low_0, self.t2, 0.0), power(log_1, low_1, self.t2, 0.0)
        return mass_times(a / (a + b) * b, stretch(self.t2, log_1, low_1) - stretch(self.t2, log_0, low_0)), 0.0, 0.0


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

    def __call__(self, x, t, *, device=None):
        """Return the function of every number."""
        return self._at(self._definition, t)(x, device=device)

    def derivative(self, x, t, *, device=None):
        """Return the derivative at every number."""
        return self._at(self._definition, t).derivative(x, device=device)

    def second_derivative(self, x, t, *, device=None):
        """Return the second derivative at every number."""
        return self._at(self._definition, t).second_derivative(x, device=device)

    def derivative_in_temperature(self, x, t, *, device=None):
        """Return the derivative in t at every number."""
        return self._at(self._in_temperature, t)(x, device=device)

    def vjp(self, x, t, cotangent, *, device=None):
        """Return the derivative times ``cotangent``, of the shape of x."""
        return self._at(self._definition, t).vjp(x, cotangent, device=device)

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

    def __call__(self, logits, t, *, device=None):
        """Return the probabilities of every row."""
        definition = _Tempered(_temperature(t, POSITIVE))
        with _begin(logits, None, True, device) as call:
            return call.fill(call.drivers.tempered_probabilities, (definition,), (), 0, 1)

    def vjp(self, logits, t, cotangent, *, device=None):
        """Return ``cotangent``, of the logits' shape, times every row's Jacobian."""
        return self._run(logits, t, cotangent, 1, device)

    jvp = vjp  # the Jacobian is symmetric

    def derivative_in_temperature(self, logits, t, *, device=None):
        """Return ∂p/∂t of every row."""
        return self._run(logits, t, None, 2, device)

    def normalization(self, logits, t, *, device=None):
        """Return the λ of every row."""
        return self._run(logits, t, None, 0, device)

    def _run(self, logits, t, vectors, output, device):
        definition, axes = _Tempered(_temperature(t, POSITIVE)), 2 if output else 1
        with _begin(logits, vectors, True, device) as call:
            return call.fill(call.drivers.tempered_softmax, (definition,), (call.vectors,), output, 3, axes)


def _temperature(t, domain):
    t = scalar(t)
    if t not in domain:
        raise ValueError(f"t must lie in {domain}, got {t!r}")
    return t


log_t = TemperedElementwise(TemperedLogarithm, TemperedLogarithmInTemperature, NONNEGATIVE)
exp_t = TemperedElementwise(TemperedExponential, TemperedExponentialInTemperature, NONNEGATIVE)
tempered_sigmoid = TemperedElementwise(TemperedSigmoid, TemperedSigmoidInTemperature, POSITIVE)
tempered_softmax = TemperedSoftmax()


def tempered_normalization(logits, t, *, device=None):
    """Return the λ with Σ_i exp_t(z_i - λ) = 1 of every row: log-sum-exp at t = 1.

    Parameters
    ----------
    logits : array_like
        Shape (..., C).
    t : float
        Temperature above 0.
    device : {None, "cpu", "cuda"}
        Where to compute; left out, it is where the logits are.

    Returns
    -------
    ndarray
        Shape (...), in the dtype of the logits; on a GPU where these were on one.

    Raises
    ------
    ValueError
        If t is not above 0 or there are no classes.

    Examples
    --------
    >>> tempered_normalization([0.0, 0.0], 1.0)
    np.float64(0.6931471805599453)
    """
    return tempered_softmax.normalization(logits, t, device=device)


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
