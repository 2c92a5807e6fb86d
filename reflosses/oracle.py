"""The certified value and derivatives of a loss, from its formula alone.

``textbook``, the formula as the paper prints it, is evaluated on python-flint balls: numbers with
an error bound that every operation enlarges as it must.  Derivatives come from one reverse sweep
over the recorded operations, second derivatives from the same sweep over power series of length
2.  Nothing here is derived by hand, and nothing is shared with the kernels: this module is handed
a loss and imports none of the library.

A run at too little precision gives wide balls, never wrong ones, so the oracle repeats it with
more until every result is certain to 100 bits.

A logit of -inf is a masked class.  Its probability is an exact zero and its logarithm -inf, and
the label mass 0 that meets them is an exact zero too: a zero that is *given*, as opposed to one
that is approached, absorbs whatever it multiplies.  The same holds for a probability of 0.
"""

from math import inf, isfinite, isnan, ldexp

import ml_dtypes
import numpy as np
from flint import arb, arb_series, ctx

PRECISIONS = 128, 256, 512, 2048, 11200  # bits; the last resolves 1 - p to 2^-11000
CERTAIN_BITS = 100  # twice what float64 shows, so that a rounded result is hardly ever in doubt
YARDSTICK_BITS = 20  # an ulp is a power of 2
NOTHING = arb(2) ** -1300  # far below the smallest float64, 2^-1074: rounds to zero everywhere

ONE, NAN = arb(1), arb.nan()


class Variable:
    """A number that remembers how it was made, for one sweep backwards.

    Parameters
    ----------
    value : arb or arb_series
        The number itself; a series of length 2 also carries its slope along one direction.
    tape : list, optional
        Where the number is recorded; constants are not.
    parents : sequence of (Variable, arb or arb_series)
        The numbers it was made of and its partial derivative with respect to each.
    """

    __slots__ = ("value", "tape", "parents", "adjoint")

    def __init__(self, value, tape=None, parents=()):
        self.value, self.tape, self.parents, self.adjoint = value, tape, parents, None
        if tape is not None:
            tape.append(self)

    def __add__(self, other):
        other = number(other)
        if self is ZERO or other is ZERO:
            return other if self is ZERO else self
        return _record(self.value + other.value, (self, ONE), (other, ONE))

    def __mul__(self, other):
        other = number(other)
        if self is ZERO or other is ZERO:
            return ZERO
        return _record(self.value * other.value, (self, other.value), (other, self.value))

    def __truediv__(self, other):
        other = number(other)
        if self is ZERO:
            return ZERO
        inverse = _reciprocal(other.value)
        quotient = self.value * inverse
        return _record(quotient, (self, inverse), (other, -quotient * inverse))

    def __pow__(self, exponent):
        if isinstance(exponent, int) and exponent >= 0:  # exact for a base of zero, or below it
            result = number(1)
            for _ in range(exponent):
                result = result * self
            return result
        return (self.log() * exponent).exp()

    def __neg__(self):
        return self if self is ZERO else _record(-self.value, (self, -ONE))

    def __sub__(self, other):
        return self + -number(other)

    def __abs__(self):
        sign = _leading(self.value).sgn()  # the ball [-1, 1] across zero
        sign = ONE if sign == 0 else sign  # an exact zero is a masked probability's, which is approached from above
        return self if self is ZERO else _record(self.value * sign, (self, sign))

    def exp(self):
        value = self.value.exp()
        return _record(value, (self, value))

    def log(self):
        if _leading(self.value) == 0:  # the slope has no limit; only an absorbing zero may meet it
            return _record(arb.neg_inf(), (self, NAN))
        return _record(self.value.log(), (self, _reciprocal(self.value)))

    def power(self, exponent):
        """Return x^a for x >= 0; a ball that cannot tell x from 0 has no slope, but for a > 0 a power."""
        exponent, base = number(exponent), _leading(self.value)
        if not (base.contains(arb(0)) and exponent > 0):
            return (exponent * self.log()).exp()
        highest = (exponent * Variable(base.abs_upper()).log()).exp()
        return _record(_leading(highest.value).union(arb(0)), (self, NAN), (exponent, NAN))

    def falling_root(self, f, slope, arguments):
        """Return where f(x, *arguments) falls through 0 beyond self, with its derivatives.

        The place is found by Newton's method, enclosed by a change of sign, and only then improved
        by Newton steps in the numbers that remember: each doubles the order of what is right.
        """
        detached = [_detached(x) for x in arguments]
        key = (
            ctx.prec,
            f.__qualname__,
            *(leaf.value.man_exp() if leaf.value.is_finite() else None for leaf in _leaves(detached)),
        )
        if key not in _roots:
            if len(_roots) > 100:
                _roots.clear()
            _roots[key] = _enclosed_root(f, slope, detached, _leading(self.value))
        place = _roots[key]
        x = Variable(place)
        for _ in range(1 + any(isinstance(leaf.value, arb_series) for leaf in _leaves(arguments))):
            x = x - f(x, *arguments) / slope(x, *arguments)
        return x

    def __rsub__(self, other):
        return number(other) - self

    def __rtruediv__(self, other):
        return number(other) / self

    def __rpow__(self, base):
        return number(base) ** self

    __radd__, __rmul__ = __add__, __mul__

    def __eq__(self, other):
        return _leading(self.value) == _leading(number(other).value)

    def __lt__(self, other):
        return _leading(self.value) < _leading(number(other).value)

    def __gt__(self, other):
        return _leading(self.value) > _leading(number(other).value)

    def __le__(self, other):
        return _leading(self.value) <= _leading(number(other).value)

    def __ge__(self, other):
        return _leading(self.value) >= _leading(number(other).value)

    __hash__ = None  # type: ignore[assignment]


ZERO = Variable(arb(0))  # the one zero that is given, not approached


def number(x):
    """Return x, an exact Python or NumPy number or a Variable, as a Variable."""
    if isinstance(x, Variable):
        return x
    x = x if isinstance(x, int) else float(x)
    return ZERO if x == 0 else Variable(arb(x))


def _leaves(x):
    """Return the Variables in nested lists."""
    return [leaf for part in x for leaf in _leaves(part)] if isinstance(x, (list, tuple)) else [number(x)]


def _detached(x):
    """Return a number, or a list of them, without memory and without slopes."""
    if isinstance(x, list):
        return [_detached(part) for part in x]
    return x if x is ZERO or not isinstance(x, Variable) else Variable(_leading(x.value))


_roots: dict = {}  # every derivative at a point asks for the same one


def _enclosed_root(f, slope, arguments, low):
    """Return a ball in which a falling function changes sign, or nan; Newton's method starts from ``low``."""
    x, last = low.mid(), None
    for _ in range(400):
        here = Variable(x)
        step = number(f(here, *arguments)).value / -number(slope(here, *arguments)).value
        if not step.is_finite():
            return NAN
        x, step = (x + step).mid(), abs(step).upper()
        small = step < arb(2) ** -40 * abs(x - low.mid())
        if step < arb(2) ** (24 - ctx.prec) * (1 + abs(x)) or (small and last is not None and not step < last):
            break
        last = step
    radius = 16 * step + arb(2) ** (32 - ctx.prec) * (1 + abs(x))
    for _ in range(4):
        left, right = (number(f(Variable(x + side * radius), *arguments)).value for side in (-1, 1))
        if left > 0 and right < 0:
            return arb(x, radius)
        radius = radius * 256
    return NAN


def _record(value, *parents):
    recorded = tuple(link for link in parents if link[0].tape is not None)
    if recorded:
        return Variable(value, recorded[0][0].tape, recorded)
    return ZERO if value == 0 else Variable(value)  # an exact zero made of what is given is given


def _leading(value):
    return value[0] if isinstance(value, arb_series) else value


def _reciprocal(value):
    return NAN if _leading(value).contains(arb(0)) else 1 / value  # series raise where balls give nan


def _derivatives(f, point, direction=None):
    """Return the gradient of f at a point, or the gradient's slope along a direction.

    A masked coordinate, -inf, is a constant: the limit of every derivative there is 0.
    """
    tape = []
    slopes = [None] * len(point) if direction is None else direction
    leaves = [
        Variable(arb(x) if slope is None else arb_series([x, slope]), tape if x > -inf else None)
        for x, slope in zip(point, slopes)
    ]
    result = f(leaves)
    result.adjoint = ONE
    for node in reversed(tape):
        if node.adjoint is not None:
            for parent, partial in node.parents:
                term = node.adjoint if partial is ONE else node.adjoint * partial
                parent.adjoint = term if parent.adjoint is None else parent.adjoint + term
    result.adjoint = None if result.tape is None else result.adjoint  # constants are shared
    adjoints = [arb(0) if leaf.adjoint is None else leaf.adjoint for leaf in leaves]
    if direction is None:
        return adjoints
    return [x[1] if isinstance(x, arb_series) else 0 * x for x in adjoints]  # 0 for a constant, nan for no slope


def _parameters(field):
    """Return the real numbers a loss, or a field of one, is made of, in order."""
    if field is None:
        return []
    return [x for part in field for x in _parameters(part)] if _is_many(field) else [float(field)]


def _with_parameters(field, numbers):
    """Return the loss, or the field of one, with its real numbers taken from an iterator."""
    if field is None:
        return None
    if not _is_many(field):
        return next(numbers)
    parts = [_with_parameters(part, numbers) for part in field]
    return field._replace(**dict(zip(field._fields, parts))) if hasattr(field, "_fields") else parts


def _is_many(x):
    return hasattr(x, "__len__") and getattr(x, "ndim", 1) > 0


class _Point:
    """One row (or one logit) with its labels: the arguments of a loss, as exact numbers."""

    def __init__(self, loss, logits, labels):
        self.loss, self.rows = loss, loss.targets.rows
        self.z = [float(x) for x in logits] if self.rows else [float(logits)]
        if self.rows and not _is_many(labels):
            labels = [int(i == int(labels)) for i in range(len(self.z))]
        self.y = [float(x) for x in labels] if self.rows else [float(labels)]
        self.theta = _parameters(loss)
        self.masked = -inf in self.z
        self.edge = any(x in (-inf, 0, 1) for x in self.z)  # a masked class, or a probability, may cost infinity
        if any(isnan(x) or x == inf or (x == -inf and not self.rows) for x in self.z):
            raise ValueError(f"no certified answer for the logits {self.z}")
        if not all(map(isfinite, self.y)) or self.rows and len(self.y) != len(self.z):
            raise ValueError(f"no certified answer for the labels {self.y}")
        if self.masked and max(self.z) == -inf:
            raise ValueError("no certified answer for a row whose classes are all masked")

    def call(self, method="textbook", z=None, y=None, theta=None):
        """Return the loss's formula at the point; what is given replaces what is stored."""
        z, y, theta = (
            [Variable(arb(x)) for x in self.z] if z is None else z,
            [number(x) for x in self.y] if y is None else y,
            [number(x) for x in self.theta] if theta is None else theta,
        )
        formula = getattr(_with_parameters(self.loss, iter(theta)), method)
        return formula(z, y) if self.rows else formula(z[0], y[0])

    def value(self):
        return [number(self.call()).value]

    def gradient(self):
        return _derivatives(lambda z: number(self.call(z=z)), self.z)

    def label_gradient(self):
        return _derivatives(lambda y: number(self.call(y=y)), self.y)

    def parameter_gradient(self):
        # A parameter of 0 absorbs only as a constant, so each such one has a sweep of its own.
        sweeps = [[i] for i, x in enumerate(self.theta) if x == 0]
        sweeps.append([i for i, x in enumerate(self.theta) if x != 0])
        slopes = {i: slope for chosen in sweeps for i, slope in zip(chosen, self._slopes(chosen))}
        return [slopes[i] for i in range(len(self.theta))]

    def _slopes(self, chosen):
        def formula(leaves):
            theta = list(self.theta)
            for i, leaf in zip(chosen, leaves):
                theta[i] = leaf
            return number(self.call(theta=[number(x) for x in theta]))

        return _derivatives(formula, [self.theta[i] for i in chosen])

    def hessian_vector_product(self, vector):
        return _derivatives(lambda z: number(self.call(z=z)), self.z, vector)

    def _column(self, j):
        return self.hessian_vector_product([int(i == j) for i in range(len(self.z))])

    def hessian(self):
        return [x for j in range(len(self.z)) for x in self._column(j)]

    def hessian_diagonal(self):
        return [self._column(j)[j] for j in range(len(self.z))]

    def magnitude(self, verb):
        terms = self.call("magnitudes").get(verb, [])
        terms = terms() if callable(terms) else terms  # whole Hessians only on demand
        return [number(x).value for x in (terms if isinstance(terms, list) else [terms])]


VERBS = (
    "value",
    "gradient",
    "hessian_diagonal",
    "hessian",
    "hessian_vector_product",
    "label_gradient",
    "parameter_gradient",
)


def certify(loss, logits, labels, verb="value", vector=None):
    """Return a loss's value or derivatives at one row or one logit, each certain to 100 bits.

    Parameters
    ----------
    loss : NamedTuple
        Anything with ``textbook`` and ``targets``; its fields are its parameters.
    logits : float or sequence of float
        One logit, or one row of C; taken exactly.  In a row, -inf masks a class.
    labels : float, int or sequence of float
        One label; for a row its class or its C label masses.
    verb : str
        One of ``VERBS``.  Parameters count in the order of the fields, nested losses in place.
    vector : sequence of float, optional
        What ``hessian_vector_product`` multiplies.

    Returns
    -------
    list of arb
        Flat, the Hessian row by row.  What is certainly below 2^-1300 in magnitude is an exact 0.
        A masked class without label mass has the derivatives 0 and the label gradient +inf; with
        mass the value is +inf, and derivatives in the logits are nan: there are none.  The same holds
        for probabilities.

    Raises
    ------
    ValueError
        If an input is nan or +inf, or all classes of a row are masked.
    ArithmeticError
        If 11,200 bits do not decide a result, as on a kink.
    """
    point = _Point(loss, logits, labels)
    if verb not in VERBS:
        raise ValueError(f"verb must be one of {', '.join(VERBS)}, got {verb!r}")
    if _has_no_slope(point, logits, labels, verb):
        return [NAN] * len(point.z) ** (2 if verb == "hessian" else 1)
    if verb == "parameter_gradient" and not point.masked and not certify(loss, logits, labels)[0].is_finite():
        return [NAN] * len(point.theta)
    arguments = ([float(x) for x in (vector if point.rows else [vector])],) if vector is not None else ()
    return _until_certain(lambda: getattr(point, verb)(*arguments), point, verb)


def _has_no_slope(point, logits, labels, verb):
    """Whether a derivative in the logits is asked for where the value is infinite."""
    in_logits = verb in ("gradient", "hessian_diagonal", "hessian", "hessian_vector_product")
    return in_logits and point.edge and not certify(point.loss, logits, labels)[0].is_finite()


def magnitude(loss, logits, labels, verb="value", vector=None, certified=None):
    """Return Σ |terms| for every result of ``certify``, the yardstick where terms cancel.

    ``certified``, what ``certify`` returned if that is at hand, saves asking it again.  The
    yardstick is what the loss states in ``magnitudes``; for a Hessian-vector product Σ_j |H_ij| |v_j|;
    where nothing is stated, nothing cancels: the result's own magnitude.
    """
    if verb == "hessian_vector_product":
        h = magnitude(loss, logits, labels, "hessian")
        v = [abs(float(x)) for x in (vector if loss.targets.rows else [vector])]
        n = len(v)
        with ctx.workprec(PRECISIONS[0]):
            return [sum((h[i * n + j] * v[j] for j in range(n)), arb(0)) for i in range(n)]
    if certified is not None and all(x.is_nan() for x in certified) and certified:
        return certified  # there is nothing to measure
    point = _Point(loss, logits, labels)
    if _has_no_slope(point, logits, labels, verb):
        return [NAN] * len(point.z) ** (2 if verb == "hessian" else 1)
    stated = "hessian_diagonal" if verb == "hessian" and not point.rows else verb
    if hasattr(loss, "magnitudes"):
        terms = _until_certain(lambda: point.magnitude(stated), point, f"magnitude of {verb}", YARDSTICK_BITS)
        if terms:
            return terms
    with ctx.workprec(PRECISIONS[0]):
        return [abs(x) for x in (certify(loss, logits, labels, verb) if certified is None else certified)]


def _settled(x):
    if abs(x) < NOTHING:
        return arb(0)
    infinite = [end for end in (arb.pos_inf(), arb.neg_inf()) if x == end]
    return infinite[0] if infinite else x  # inf + x keeps the radius of x, which counts as doubt


def _until_certain(attempt, point, verb, bits=CERTAIN_BITS):
    cap = ctx.cap
    ctx.cap = 2  # a value and one slope
    try:
        for precision in PRECISIONS:
            with ctx.workprec(precision):
                results = [_settled(x) for x in attempt()]
                if all(x.rel_accuracy_bits() >= bits for x in results):
                    return results
    finally:
        ctx.cap = cap
    raise ArithmeticError(
        f"{PRECISIONS[-1]} bits do not decide the {verb} of {point.loss} at logits {point.z}, labels {point.y}"
    )


def round_to(x, dtype):
    """Return the number of a dtype nearest to x, ties to even, subnormals and overflow included.

    A ball that holds two answers is taken to be the tie between them: balls this narrow that
    reach across a tie are exact ties, dressed in a rounding error.

    >>> round_to(arb(1) / 3, np.float16)
    np.float16(0.3333)
    """
    dtype = np.dtype(dtype)
    if x.is_nan() or abs(x) == arb.pos_inf():
        return dtype.type(float(x.mid()))
    with ctx.workprec(PRECISIONS[-1] + 64):
        low, high = (_nearest(end, dtype) for end in (x.lower(), x.upper()))
        if low == high:
            return dtype.type(low)
        if not (isfinite(low) and isfinite(high)):
            return dtype.type(low if isfinite(high) else high)
        return dtype.type(_nearest((arb(low) + arb(high)) / 2, dtype))


def _nearest(x, dtype):
    """Return the float nearest to an exact x among those of a dtype."""
    if x == 0:
        return 0.0
    limits = ml_dtypes.finfo(dtype)
    mantissa, exponent = (int(part) for part in x.man_exp())
    top = mantissa.bit_length() + exponent  # 2^(top - 1) <= |x| < 2^top
    spacing = max(top - 1, limits.minexp) - limits.nmant  # an exponent; subnormals share the lowest
    infinity = inf if mantissa > 0 else -inf
    if top < spacing:  # below half of the smallest: 2^shift would be astronomical
        return 0 / infinity
    if top > limits.maxexp:
        return infinity
    shift = max(spacing - exponent, 0)
    steps, rest = divmod(mantissa << max(exponent - spacing, 0), 1 << shift)
    steps += 2 * rest > 1 << shift or (2 * rest == 1 << shift and steps % 2)
    return infinity if steps.bit_length() + spacing > limits.maxexp else ldexp(steps, spacing)
