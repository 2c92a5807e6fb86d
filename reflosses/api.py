"""The verbs: check the arguments, allocate the results, run the driver.

Every verb has the same arguments::

    verb(loss, logits, labels, *, weight=None, upstream=None, reduction="none",
         normalized=True, out=None, device=None, precision="reference")

Parameters
----------
loss : NamedTuple
    A loss with its parameters, such as ``SigmoidFocal(gamma=2.0, alpha=0.25)``, one of
    ``reflosses.losses`` or your own.
logits : array_like
    Shape (..., C) for losses of rows, any shape for losses of single logits.  A loss that takes
    probabilities instead is given these, and derived in them.  float16, bfloat16
    (``ml_dtypes``), float32 and float64 keep their dtype; integers and lists become float64.
    Everything is computed in float64 and rounded at the end; one logit of -inf is a masked class, one of
    inf the limit, and two that differ by more than the largest float64 count as infinitely far apart.
labels : array_like
    For losses of rows, integer classes of shape (...) or probabilities of shape (..., C).  For
    losses of single logits, numbers in [0, 1] (0 or 1 where the loss says so) in the shape of the
    logits.
weight : array_like, optional
    Multiplies each row's (or element's) value; broadcast to the unreduced values.  Rows of weight
    zero count as absent, whatever they hold.
upstream : array_like, optional
    The derivative of whatever follows with respect to each unreduced value, by which derivatives
    are multiplied; values do not depend on it.
reduction : {"none", "sum", "mean", "weighted_mean"}
    What becomes of the values, and so what is differentiated: nothing, their sum, the sum divided
    by the number of rows (or elements), or divided by the sum of the weights.  The mean of nothing
    is nan.
normalized : bool
    Whether rows of probabilities must sum to 1, to the square root of their dtype's precision.
out : array or tuple of arrays, optional
    Where to put the results: exactly their shape and dtype.  May overlap an input.
device : {None, "cpu", "cuda"}
    Where to compute.  Left out, it is where the arrays are: those of a GPU stay there, and so do the
    results, in the order of the caller's stream.  NumPy arrays go to ``"cuda"`` and back.
precision : {"reference", "native"}
    How a GPU computes results of float32: in float64, rounded once, or with ``"native"`` in float32
    where rows have hard labels, within 4 ulps where nothing cancels.

Raises
------
TypeError
    For logits or labels that are not real numbers, and for what is not a loss.
ValueError
    For illegal labels or probabilities (with the first offending index and its value), shapes that do not match,
    parameters out of their domain, unsuitable ``out``, arrays on different devices; before anything
    is computed.
RuntimeError
    Where there is no GPU, or nothing that compiles for it.
"""

import math
from functools import cache
from typing import Any, NamedTuple

import numba
import numpy as np

from . import threads
from .arrays import NARROW, WIDE, as_logits, as_real, finish, place, rounded, scalar, where
from .dispatch import LINEAR, Single, changes_labels, contract, core
from .domain import REAL, Interval, Targets, is_loss, parameters, predictions
from .labels import as_labels, as_weights, check_predictions
from .odds import UNSHIFTED
from .stamp import stamp

__all__ = [
    "gradient",
    "gradient_and_hessian_diagonal",
    "hessian",
    "hessian_diagonal",
    "hessian_vector_product",
    "parameter_gradient",
    "value",
    "value_and_gradient",
]

RESULTS = ("value", "gradient", "hessian_diagonal")
REDUCTIONS = ("none", "sum", "mean", "weighted_mean")
PRECISIONS = ("reference", "native")


# ---- losses -------------------------------------------------------------------------------


class _Prepared(NamedTuple):
    """A loss, checked, with what the drivers need of it."""

    double: tuple  # parameters are floats, class weights taken out
    single: tuple  # the same with short functions, for narrow results that nothing cancels in
    no_cancellation: frozenset
    classes: list  # of the loss and the losses within it
    class_weight: np.ndarray | None
    contract: str
    predictions: Interval
    least_classes: int
    rows: bool
    sparse: bool
    log_likelihood: bool
    binary: bool
    drivers: Any


def _coerce(loss):
    """Return the loss with float parameters, and its class weights."""
    fields, class_weight = [], None
    domains = {parameter.name: parameter for parameter in parameters(type(loss))}
    for name, given in zip(loss._fields, loss, strict=True):
        if name not in domains or is_loss(given):
            if not is_loss(given) or (changes_labels(loss) and getattr(given, "targets", None) is not loss.targets):
                raise TypeError(f"{type(loss).__name__}.{name} must be a loss with {loss.targets}, got {given!r}")
            inner, class_weight = _coerce(given)
            fields.append(inner)
            continue
        _, interval, optional, per_class = domains[name]
        if given is None and optional:
            fields.append(None)
            continue
        try:
            number = np.array(given, dtype=np.float64) if per_class else scalar(given)
        except (TypeError, ValueError):
            raise TypeError(f"{type(loss).__name__}.{name} must be a number, got {given!r}") from None
        entries = number.ravel().tolist() if per_class else [number]
        if interval is not None and not all(entry in interval for entry in entries):
            raise ValueError(f"{type(loss).__name__}.{name} must lie in {interval}, got {given!r}")
        if per_class and number.ndim != 1:
            raise ValueError(f"{type(loss).__name__}.{name} must have shape (C,), got {number.shape}")
        class_weight = number if per_class else class_weight
        fields.append(None if per_class else number)
    return type(loss)(*fields), class_weight


def _classes(loss):
    """Return the class of a loss and those of the losses within it."""
    return [type(loss), *(part for field in loss if is_loss(field) for part in _classes(field))]


def _shorten(loss):
    """Return the loss, and the losses within it, marked for the short functions of ``single``."""
    return Single(type(loss)(*(_shorten(field) if is_loss(field) else field for field in loss)))


def _prepare(loss):
    from . import cpu  # only who computes has to wait for it

    if not is_loss(loss):
        raise TypeError(f"loss must be a NamedTuple with a kernel, such as CrossEntropy(), got {loss!r}")
    if not isinstance(getattr(loss, "targets", None), Targets):
        raise TypeError(f"{type(loss).__name__}.targets must be a member of reflosses.Targets")
    (double, class_weight), classes = _coerce(loss), _classes(loss)
    return _Prepared(
        double,
        _shorten(double),
        frozenset(getattr(loss, "no_cancellation", ())),
        classes,
        class_weight,
        contract(double),
        predictions(double),
        max(getattr(part, "least_classes", 1) for part in classes),
        loss.targets.rows,
        getattr(loss, "sparse", False),
        getattr(core(double), "log_likelihood", False),
        loss.targets is Targets.BINARY,
        cpu.build(stamp(*classes)),
    )


_prepared: dict = {}


def prepare(loss):
    """Return the ``_Prepared`` of a loss, remembered for losses whose parameters are numbers."""
    try:
        known = _prepared.get((type(loss), loss))
    except TypeError:  # an array among the parameters
        return _prepare(loss)
    # losses of different classes may be equal as tuples, and so may tuples that hold them
    if known is not None and (len(known.classes) == 1 or known.classes == _classes(loss)):
        return known
    if len(_prepared) > 1000:
        _prepared.clear()
    _prepared[type(loss), loss] = prepared = _prepare(loss)
    return prepared


# ---- calls --------------------------------------------------------------------------------


class _Call:
    """The checked arguments of one call of a verb; ``device`` has one for arrays on a GPU."""

    __slots__ = (
        "batch",
        "classes",
        "drivers",
        "dtype",
        "factor",
        "hard",
        "kernel",
        "labels",
        "logits",
        "prepared",
        "reduction",
        "shape",
        "upstream",
        "wanted",
        "weights",
    )
    as_logits = staticmethod(as_logits)
    as_labels = staticmethod(as_labels)
    as_real = staticmethod(as_real)
    as_weights = staticmethod(as_weights)
    check_predictions = staticmethod(check_predictions)
    finish = staticmethod(finish)

    def __init__(self, loss, logits, labels, weight, upstream, reduction, normalized):
        self.prepared = prepared = prepare(loss)
        self.drivers = self.build()
        z, self.dtype = self.as_logits(logits, prepared.rows)
        self.shape = tuple(z.shape)
        self.batch = self.shape[:-1] if prepared.rows else self.shape
        self.check_predictions(z, prepared)
        self.labels, self.hard, absent = self.as_labels(labels, z, prepared, normalized)
        self.logits = z.reshape(self.batch_size, self.shape[-1]) if prepared.rows else z.reshape(self.batch_size)
        self.kernel = prepared.double
        self.classes = self.shape[-1] if prepared.rows else None
        if prepared.rows and self.classes < prepared.least_classes:
            raise ValueError(
                f"{type(loss).__name__} needs at least {prepared.least_classes} classes, "
                f"got logits of shape {self.shape} and labels of shape {np.shape(labels)}"
            )
        if prepared.class_weight is not None and prepared.class_weight.shape != (self.classes,):
            raise ValueError(
                f"class weights of shape {prepared.class_weight.shape} do not fit logits of shape {self.shape}"
            )
        self.weights = None if weight is None else self.as_weights(weight, "weight", self.batch)
        if absent is not None:
            self.forget(absent)
        self.upstream = None if upstream is None else self.as_weights(upstream, "upstream", self.batch)
        self.reduction = reduction
        if reduction == "none" or reduction == "sum":
            self.factor = 1.0
        elif reduction == "mean" or (reduction == "weighted_mean" and self.weights is None):
            self.factor = 1.0 / rows if (rows := self.batch_size) else math.nan
        elif reduction == "weighted_mean":
            self.factor = self.reciprocal_of_weights()
        else:
            raise ValueError(f"reduction must be one of {', '.join(REDUCTIONS)}, got {reduction!r}")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        """Leave the GPU, where there is one."""

    def empty(self, shape, dtype):
        """Return a new array."""
        return np.empty(shape, dtype)

    def build(self):
        """Return the drivers."""
        return self.prepared.drivers

    @property
    def batch_size(self):
        """How many rows, or single logits, there are."""
        return math.prod(self.batch)

    def reciprocal_of_weights(self):
        """Return 1/Σ weights."""
        total = float(self.drivers.sum_of(self.weights))
        return 1.0 / total if total else math.nan

    def forget(self, absent):
        """Answer nan for absent labels, except where the weight is 0."""
        weights = np.ones(absent.shape) if self.weights is None else self.weights
        self.weights = np.where(absent & (weights != 0.0), math.nan, weights)

    def place(self, out, shape, flat):
        """Return (result, buffer) for an output that may have been given."""
        if out is not None:
            self.check_out(out, shape)
        return place(out, shape, flat, self.dtype)

    def place_derivatives(self, out):
        """Return (result, buffer) for an output in the shape of the logits."""
        return self.place(out, self.shape, tuple(self.logits.shape))

    def check_out(self, out, shape):
        """Refuse an unsuitable ``out``; move inputs that it overlaps out of its way."""
        if not isinstance(out, np.ndarray) or out.shape != shape or out.dtype != self.dtype:
            found = f"{out.shape} and {out.dtype}" if isinstance(out, np.ndarray) else type(out).__name__
            raise ValueError(f"out must be an array of shape {shape} and {self.dtype}, got {found}")
        if not out.flags.writeable:
            raise ValueError("out is read-only")
        self.move_aside(out)

    def move_aside(self, out):
        """Copy the inputs that an output overlaps."""
        self.logits, self.labels = self.aside(out, self.logits), self.aside(out, self.labels)
        self.weights = None if self.weights is None else self.aside(out, self.weights)
        self.upstream = None if self.upstream is None else self.aside(out, self.upstream)

    def aside(self, out, x):
        """Return an input, or a copy of one that the output overlaps."""
        return x if out is None or not np.may_share_memory(out, x) else x.copy()

    def times(self, x, y):
        """Return the products of numbers for every logit, x of which may be ``None``."""
        return np.ascontiguousarray(y if x is None else x * y)

    def run(self, driver, *outputs):
        """Run a driver over all rows and return what its chunks returned."""
        prepared = self.prepared
        shared = (self.kernel, prepared.class_weight, self.factor) if prepared.rows else (self.kernel, self.factor)
        arrays = (self.logits, self.labels, self.weights, self.upstream, *outputs)
        size = self.logits.size
        if size < threads.SERIAL:
            return (driver(*shared, *arrays),)
        return threads.run(driver, shared, arrays, size)

    def derive(self, values, gradient, hessian):
        """Fill value, gradient and Hessian diagonal, each unless it is ``None``."""
        self.choose_precision(values, gradient, hessian)
        if not self.prepared.rows:
            self.run(self.drivers.pointwise, values, gradient, hessian)
        elif hessian is None and self.labels.ndim == 1 and self.quick():
            self.derive_hard(values, gradient)
        elif hessian is None and self.quick_masses():
            self.run(self.drivers.mass_pairs if self.classes == 2 else self.drivers.mass_rows, values, gradient)
        elif self.in_lanes():
            if sum(self.run(self.drivers.tempered_rows, values, gradient, hessian)):
                self.mend(values, gradient, hessian)
        else:
            self.run(self.rows_driver(), values, gradient, hessian)

    def derive_hessian(self, matrices):
        """Fill the Hessian of every row, whose diagonal is that of ``derive``."""
        self.run(self.drivers.rows_hessian, matrices)
        if self.in_lanes():
            diagonal = np.empty_like(matrices[:, 0])
            self.derive(None, None, diagonal)
            matrices[:, np.arange(self.classes), np.arange(self.classes)] = diagonal

    def choose_precision(self, *outputs):
        """Take the short functions where the results are narrow and nothing cancels in them."""
        wanted = (k for k, x in zip(RESULTS, outputs, strict=True) if x is not None)
        if self.hard and self.logits.dtype != WIDE and self.prepared.no_cancellation.issuperset(wanted):
            self.kernel = self.prepared.single

    def derive_hard(self, values, gradient):
        """Fill value and gradient of rows with integer labels that have a driver of their own."""
        if sum(self.run(self.hard_driver(), values, gradient)):
            self.mend(values, gradient, None)

    def rows_driver(self):
        """Return the driver of any rows."""
        short = self.classes <= self.drivers.few and self.prepared.contract == "classwise"
        return self.drivers.short_rows if short else self.drivers.rows

    def quick(self):
        """Whether rows with integer labels have a driver of their own: only the label pays, or labels never change."""
        if self.prepared.contract == "tempered":
            return not changes_labels(self.prepared.double)
        return self.prepared.sparse

    def in_lanes(self):
        """Whether rows of any labels are solved in vector lanes."""
        return self.prepared.contract == "tempered" and self.prepared.class_weight is None

    def quick_masses(self):
        """Whether rows of any labels have a driver of their own: a class pays its label mass times -log p."""
        return self.prepared.log_likelihood

    def hard_driver(self):
        """Return the driver of rows with integer labels."""
        if self.prepared.contract == "tempered":
            return self.drivers.hard_tempered_rows
        return self.drivers.hard_pairs if self.classes == 2 else self.drivers.hard_rows

    def derive_in_labels(self, wrt, values, gradient):
        """Fill value, unless it is ``None``, and the gradient with respect to the labels."""
        if wrt != "labels":
            raise ValueError(f'wrt must be "logits" or "labels", got {wrt!r}')
        self.need("label_kernel")
        drivers = self.drivers
        self.run(drivers.rows_in_labels if self.prepared.rows else drivers.pointwise_in_labels, values, gradient)

    def need(self, method):
        """Refuse what the loss has no kernel for."""
        loss = core(self.prepared.double)
        linear = method == "label_kernel" and contract(loss) in LINEAR  # the kernel is the slope
        if not (hasattr(loss, method) or linear):
            raise TypeError(f"{type(loss).__name__} has no {method}, which this derivative needs")

    def mend(self, values, gradient, hessian):
        """Do again, the general way, the rows whose numbers a quick driver finds too large."""
        (strange,) = np.nonzero(self.strange_rows(gradient, hessian))
        inputs = [x if x is None else x[strange] for x in (self.logits, self.labels, self.weights, self.upstream)]
        results = [x if x is None else x[strange] for x in (values, gradient, hessian)]
        self.drivers.rows(self.kernel, self.prepared.class_weight, self.factor, *inputs, *results)
        for whole, part in zip((values, gradient, hessian), results, strict=True):
            if whole is not None:
                whole[strange] = part

    def strange_rows(self, gradient, hessian):
        """Return for every row whether its numbers are too large for a quick driver."""
        if self.prepared.contract == "tempered":
            return ~np.logical_and.reduce([np.isfinite(x).all(axis=1) for x in (gradient, hessian) if x is not None])
        with np.errstate(invalid="ignore", over="ignore"):
            z = self.logits.astype(np.float64)
            largest, own = z.max(axis=1), z[np.arange(z.shape[0]), self.labels]
            strange = ~((largest - own <= UNSHIFTED) & (largest <= UNSHIFTED) & (own >= -UNSHIFTED))
            if self.prepared.contract == "one_against_rest":
                strange |= ((np.abs(z) > UNSHIFTED) & (z > -math.inf)).any(axis=1)
        return strange

    def reduce(self, values):
        """Return the reduced value of unreduced float64 values."""
        total = float(self.drivers.sum_of(values))
        if self.reduction == "sum":
            return total
        if self.reduction == "mean" or self.weights is None:
            return total / values.size if values.size else math.nan
        weights = float(self.drivers.sum_of(self.weights))
        return total / weights if weights else math.nan

    def place_values(self, out):
        """Return (result, buffer) for the values; a reduction needs them in float64."""
        if self.reduction == "none":
            return self.place(out, self.batch, (self.batch_size,))
        if out is not None:
            self.check_out(out, ())
        return out, self.empty(self.batch_size, WIDE)

    def finish_values(self, result, buffer):
        if self.reduction == "none":
            return self.finish(result, buffer)
        reduced = rounded(np.array(self.reduce(buffer)), self.dtype)[()]
        if result is None:
            return reduced
        result[()] = reduced
        return result

    def derive_in_parameters(self, columns):
        """Return the derivatives in the scalar parameters, a row each, and in the class weights or ``None``."""
        slopes, of_classes = np.zeros((self.batch_size, columns)), None
        if not self.prepared.rows:
            self.run(self.drivers.pointwise_in_parameters, slopes)
        elif columns:
            self.run(self.drivers.rows_in_parameters, slopes)
        if self.prepared.class_weight is not None:
            of_classes = np.empty((self.batch_size, self.classes))
            arrays = (self.logits, self.labels, self.weights, self.upstream, of_classes)
            threads.run(self.drivers.rows_in_class_weights, (self.kernel, self.factor), arrays, self.logits.size)
        return slopes.T, of_classes

    def finish_slopes(self, column, out):
        """Return the derivatives in one parameter, or in the class weights, reduced."""
        tail = column.shape[1:]
        if self.reduction == "none":
            shape, flat = (*self.batch, *tail), column
        else:
            columns = column.reshape(len(column), math.prod(tail)).T
            shape, flat = tail, np.array([self.drivers.sum_of(np.ascontiguousarray(c)) for c in columns], dtype=WIDE)
        if out is not None:
            self.check_out(out, shape)
        result = np.empty(shape, self.dtype) if out is None else out
        result[...] = rounded(flat, self.dtype).reshape(shape)
        return result if result.ndim else result[()]


@cache
def _call_on_device():
    from .device import VerbOnDevice

    class CallOnDevice(VerbOnDevice, _Call):
        """The checked arguments of one call of a verb, on a GPU."""

    return CallOnDevice


def _begin(loss, logits, labels, weight, upstream, reduction, normalized, device, precision, *others):
    """Return the call of a verb, on the CPU or where its arrays are; ``others`` are its further arrays."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    arguments = (loss, logits, labels, weight, upstream, reduction, normalized)
    if where(device, logits, labels, weight, upstream, *others) == "cpu":
        return _Call(*arguments)
    return _call_on_device()(*arguments, precision)


# ---- small calls --------------------------------------------------------------------------


class _Plan(NamedTuple):
    """The compiled functions for one kind of plain call, past Numba's look at every argument."""

    dimensions: int  # of the logits
    classes: int | None  # that the loss has weights for
    check: Any  # (labels, bound) -> first illegal index
    bound: Any  # of the labels; None for the number of classes
    legal: tuple  # what the check may answer
    driver: Any
    shared: tuple


ENDS = {(1,): 1, (2,): 2}  # of shapes whose number of classes some losses refuse, or have a driver of their own
_plans: dict = {}


def _plain(wanted, loss, logits, labels, outs):
    """Run a small, plain call without ceremony and return its results; None if it is not plain.

    Plain are contiguous logits of a few rows with int64 classes, or single logits with labels of
    their own dtype, unweighted and unreduced.  Numba's look at the types of the arguments costs as
    much as a small batch's loss; here identity of the dtypes stands for it.
    """
    if type(logits) is not np.ndarray or type(labels) is not np.ndarray:
        return None
    dtype, shape = logits.dtype, logits.shape
    try:
        plan = _plans.get((wanted, type(loss), loss, dtype, labels.dtype, ENDS.get(shape[-1:])))
    except TypeError:  # an array among the parameters
        return None
    if plan is None:
        return None
    dimensions, classes, check, bound, legal, driver, shared = plan
    batch = shape[:1] if dimensions == 2 else shape
    if labels.shape != batch or len(shape) != dimensions or not 0 < logits.size < threads.SERIAL:
        return None
    if (classes is not None and classes != shape[1]) or not (logits.flags.carray and labels.flags.carray):
        return None
    if check(labels, shape[1] if bound is None else bound) not in legal:
        return None  # the long way says what is wrong
    results: list = [None, None, None]
    for k, out in zip(wanted, outs):
        expected = shape if k else batch
        if out is None:
            results[k] = np.empty(expected, dtype)
        elif type(out) is np.ndarray and out.shape == expected and out.dtype is dtype and _apart(out, logits, labels):
            results[k] = out
        else:
            return None
    if dimensions == 2:
        value, gradient, _ = results
        strange = driver(*shared, logits, labels, None, None, value, gradient)
    else:
        strange = driver(*shared, logits, labels, None, None, *results)
    return None if strange else results  # logits beyond the quick driver's range


def _apart(out, logits, labels):
    """Whether an output is writable, contiguous and its own memory."""
    if not out.flags.carray:
        return False
    if out.base is None and logits.base is None and labels.base is None:
        return out is not logits and out is not labels
    return not (np.may_share_memory(out, logits) or np.may_share_memory(out, labels))


def _remember(wanted, call, loss, logits, labels, results):
    """Keep the compiled functions of a call just made, if ``_plain`` can make it."""
    try:
        hash(loss)
    except TypeError:  # an array among the parameters
        return
    prepared, drivers = call.prepared, call.prepared.drivers
    plain = type(logits) is type(labels) is np.ndarray and logits.dtype == call.dtype and call.dtype in (NARROW, WIDE)
    if (
        not plain
        or len(prepared.classes) > 1  # a key of ``_plans`` does not tell the losses within
        or prepared.predictions != REAL  # nor does a plan check them
        or not (call.hard or call.dtype == WIDE)
        or not (logits.flags.carray and labels.flags.carray)
        or not 0 < logits.size < threads.SERIAL
    ):
        return
    if prepared.rows:
        if not call.quick() or 2 in wanted or labels.dtype != np.int64 or (logits.ndim, labels.ndim) != (2, 1):
            return
        check, bound, driver, results = drivers.first_illegal_class, None, call.hard_driver(), results[:2]
        shared = (call.kernel, prepared.class_weight, 1.0)
    else:
        if labels.dtype != logits.dtype or logits.ndim != 1:
            return
        check, bound, driver = drivers.first_illegal_probability, prepared.binary, drivers.pointwise
        shared = (call.kernel, 1.0)
    compiled_check = _compiled(check, labels, call.classes if bound is None else bound)
    compiled = _compiled(driver, *shared, logits, labels, None, None, *results)
    legal = (-1, -2) if call.kernel is prepared.double else (-1,)
    if compiled_check and compiled:
        classes = None if prepared.class_weight is None else prepared.class_weight.size
        plan = _Plan(logits.ndim, classes, compiled_check, bound, legal, compiled, shared)
        _plans[wanted, type(loss), loss, logits.dtype, labels.dtype, ENDS.get(logits.shape[-1:])] = plan


def _compiled(driver, *arguments):
    """Return what Numba compiled for arguments of these types; nothing where it is switched off."""
    found = getattr(driver, "overloads", {}).get(tuple(map(numba.typeof, arguments)))
    return found and found.entry_point


def _derivatives(wanted, outs, loss, logits, labels, weight, upstream, reduction, normalized, device, precision):
    """Return [value, gradient, Hessian diagonal], those that are wanted (0, 1, 2)."""
    plain = weight is upstream is device is None and reduction == "none" and precision == "reference"
    if plain:
        results = _plain(wanted, loss, logits, labels, outs)
        if results is not None:
            return results
    with _begin(loss, logits, labels, weight, upstream, reduction, normalized, device, precision, *outs) as call:
        call.wanted = wanted
        results, buffers = [None, None, None], [None, None, None]
        for k, out in zip(wanted, outs, strict=True):
            place = call.place_values if k == 0 else call.place_derivatives
            results[k], buffers[k] = place(out)
        call.derive(*buffers)
        if plain and type(call) is _Call:
            _remember(wanted, call, loss, logits, labels, results)
        for k in wanted:
            finished = call.finish_values if k == 0 else call.finish
            results[k] = finished(results[k], buffers[k])
        return results


def gradient_and_curvature(loss, logits, labels, weight=None):
    """Return the gradient, and the second derivatives that are expected if the predictions are right.

    Of rows with integer labels, of a loss with a ``curvature_kernel``; the latter are Σ_k p_k ∂²ℓ(z, k)/∂z².
    """
    with _Call(loss, logits, labels, weight, None, "none", True) as call:
        (slopes, slope_buffer), (bend, bend_buffer) = call.place_derivatives(None), call.place_derivatives(None)
        if sum(call.run(call.drivers.curved_tempered_rows, slope_buffer, bend_buffer)):
            call.mend(None, slope_buffer, None)
        return call.finish(slopes, slope_buffer), call.finish(bend, bend_buffer)


def _pair(out, verb):
    if out is None:
        return None, None
    if not isinstance(out, tuple) or len(out) != 2:
        raise ValueError(f"out of {verb} must be a tuple of two arrays")
    first, second = out
    if type(first) is type(second) is np.ndarray and first.base is None and second.base is None:
        overlap = first is second  # each its own memory: the quick answer
    else:
        overlap = (
            isinstance(first, np.ndarray) and isinstance(second, np.ndarray) and np.may_share_memory(first, second)
        )
    if overlap:
        raise ValueError(f"the two arrays in out of {verb} overlap")
    return out


# ---- the verbs ----------------------------------------------------------------------------


def value(
    loss,
    logits,
    labels,
    *,
    weight=None,
    upstream=None,
    reduction="none",
    normalized=True,
    out=None,
    device=None,
    precision="reference",
):
    """Return the loss: one value per row (or per logit), or their reduction.

    Examples
    --------
    >>> import numpy as np
    >>> from reflosses import CrossEntropy, value
    >>> value(CrossEntropy(), [[2.0, 0.0, -1.0], [0.0, 40.0, 0.0]], [0, 1])
    array([1.69846020e-01, 8.49670851e-18])
    """
    return _derivatives((0,), (out,), loss, logits, labels, weight, upstream, reduction, normalized, device, precision)[
        0
    ]


def gradient(
    loss,
    logits,
    labels,
    *,
    weight=None,
    upstream=None,
    reduction="none",
    normalized=True,
    out=None,
    wrt="logits",
    device=None,
    precision="reference",
):
    """Return the derivative with respect to the logits, or with ``wrt="labels"`` to the labels.

    The result has the shape of the logits; integer classes count as the rows they stand for.

    Examples
    --------
    >>> from reflosses import CrossEntropy, gradient
    >>> gradient(CrossEntropy(), [[0.0, 40.0, 0.0]], [1])
    array([[ 4.24835426e-18, -8.49670851e-18,  4.24835426e-18]])
    """
    if wrt == "logits":
        return _derivatives(
            (1,), (out,), loss, logits, labels, weight, upstream, reduction, normalized, device, precision
        )[1]
    with _begin(loss, logits, labels, weight, upstream, reduction, normalized, device, precision, out) as call:
        result, buffer = call.place_derivatives(out)
        call.derive_in_labels(wrt, None, buffer)
        return call.finish(result, buffer)


def value_and_gradient(
    loss,
    logits,
    labels,
    *,
    weight=None,
    upstream=None,
    reduction="none",
    normalized=True,
    out=None,
    wrt="logits",
    device=None,
    precision="reference",
):
    """Return (value, gradient) for little more than the price of one; ``out`` is a pair.

    Examples
    --------
    >>> from reflosses import BinaryCrossEntropy, value_and_gradient
    >>> value_and_gradient(BinaryCrossEntropy(), [0.0, 2.0], [1, 1], reduction="mean")
    (np.float64(0.4100375958014589), array([-0.25      , -0.05960146]))
    """
    outs = _pair(out, "value_and_gradient")
    if wrt == "logits":
        return tuple(
            _derivatives(
                (0, 1), outs, loss, logits, labels, weight, upstream, reduction, normalized, device, precision
            )[:2]
        )
    with _begin(loss, logits, labels, weight, upstream, reduction, normalized, device, precision, *outs) as call:
        values, value_buffer = call.place_values(outs[0])
        slopes, slope_buffer = call.place_derivatives(outs[1])
        call.derive_in_labels(wrt, value_buffer, slope_buffer)
        return call.finish_values(values, value_buffer), call.finish(slopes, slope_buffer)


def part(loss, logits, labels, *, weight, upstream, normalized, wanted, factor, wrt="logits"):
    """Return {0: Σ values, 1: gradient} of some rows of a larger call, those that are wanted (0, 1).

    The sum is a float64 that has not been rounded to the dtype of the logits, for the caller to add up;
    the gradient is that of ``factor`` times the sum over all rows.
    """
    with _Call(loss, logits, labels, weight, upstream, "sum", normalized) as call:
        call.factor = factor
        values = call.empty(call.batch_size, WIDE) if 0 in wanted else None
        slopes, buffer = call.place_derivatives(None) if 1 in wanted else (None, None)
        if wrt == "logits":
            call.derive(values, buffer, None)
        else:
            call.derive_in_labels(wrt, values, buffer)
        total = None if values is None else float(call.drivers.sum_of(values))
        return {0: total, 1: None if slopes is None else call.finish(slopes, buffer)}


def hessian_diagonal(
    loss,
    logits,
    labels,
    *,
    weight=None,
    upstream=None,
    reduction="none",
    normalized=True,
    out=None,
    device=None,
    precision="reference",
):
    """Return the second derivative with respect to each logit, in the shape of the logits.

    Examples
    --------
    >>> from reflosses import SigmoidFocal, hessian_diagonal
    >>> hessian_diagonal(SigmoidFocal(gamma=0.0, alpha=None), [0.0, -50.0], [1, 1])
    array([2.50000000e-01, 1.92874985e-22])
    """
    return _derivatives((2,), (out,), loss, logits, labels, weight, upstream, reduction, normalized, device, precision)[
        2
    ]


def gradient_and_hessian_diagonal(
    loss,
    logits,
    labels,
    *,
    weight=None,
    upstream=None,
    reduction="none",
    normalized=True,
    out=None,
    device=None,
    precision="reference",
):
    """Return (gradient, Hessian diagonal) in one pass, as boosters want them; ``out`` is a pair.

    Examples
    --------
    >>> from reflosses import BinaryCrossEntropy, gradient_and_hessian_diagonal
    >>> gradient_and_hessian_diagonal(BinaryCrossEntropy(), [0.0, 0.0], [0, 1])
    (array([ 0.5, -0.5]), array([0.25, 0.25]))
    """
    outs = _pair(out, "gradient_and_hessian_diagonal")
    return tuple(
        _derivatives((1, 2), outs, loss, logits, labels, weight, upstream, reduction, normalized, device, precision)[1:]
    )


def hessian(
    loss,
    logits,
    labels,
    *,
    weight=None,
    upstream=None,
    reduction="none",
    normalized=True,
    out=None,
    device=None,
    precision="reference",
):
    """Return the matrix of second derivatives of every row, of shape (..., C, C).

    A loss of single logits has one second derivative each, and the result is the Hessian diagonal.

    Examples
    --------
    >>> from reflosses import CrossEntropy, hessian
    >>> hessian(CrossEntropy(), [0.0, 0.0], 1)
    array([[ 0.25, -0.25],
           [-0.25,  0.25]])
    """
    with _begin(loss, logits, labels, weight, upstream, reduction, normalized, device, precision, out) as call:
        if not call.prepared.rows:
            result, buffer = call.place_derivatives(out)
            call.derive(None, None, buffer)
            return call.finish(result, buffer)
        n = call.classes
        result, buffer = call.place(out, (*call.shape, n), (call.batch_size, n, n))
        call.derive_hessian(buffer)
        return call.finish(result, buffer)


def hessian_vector_product(
    loss,
    logits,
    labels,
    vector,
    *,
    weight=None,
    upstream=None,
    reduction="none",
    normalized=True,
    out=None,
    device=None,
    precision="reference",
):
    """Return each row's Hessian times its ``vector``, which has the shape of the logits, in O(C).

    Examples
    --------
    >>> from reflosses import CrossEntropy, hessian_vector_product
    >>> hessian_vector_product(CrossEntropy(), [0.0, 0.0], 1, [1.0, 0.0])
    array([ 0.25, -0.25])
    """
    with _begin(loss, logits, labels, weight, upstream, reduction, normalized, device, precision, out, vector) as call:
        vector = call.as_real(vector, "vector")
        if vector.shape != call.shape:
            raise ValueError(f"vector of shape {tuple(vector.shape)} does not fit logits of shape {call.shape}")
        result, buffer = call.place_derivatives(out)
        vector = call.aside(out, vector.reshape(call.logits.shape))
        if call.prepared.rows:
            call.run(call.drivers.rows_hessian_vector, vector, buffer)
        else:
            call.upstream = call.times(call.upstream, vector)
            call.derive(None, None, buffer)
        return call.finish(result, buffer)


def parameter_gradient(
    loss,
    logits,
    labels,
    *,
    weight=None,
    upstream=None,
    reduction="none",
    normalized=True,
    out=None,
    device=None,
    precision="reference",
):
    """Return the derivatives in the loss's parameters, as a tuple of the loss's own type.

    Each field holds an array of the values' shape (a scalar after a reduction); class weights add
    an axis of length C; absent parameters are ``None``; a loss within a loss is a tuple within.
    At an infinite logit, a slope that is a difference of infinite terms is nan.

    Examples
    --------
    >>> from reflosses import SigmoidFocal, parameter_gradient
    >>> parameter_gradient(SigmoidFocal(gamma=2.0, alpha=0.25), [0.0], [1])
    SigmoidFocal(gamma=array([-0.03002831]), alpha=array([0.1732868]))
    """
    with _begin(
        loss, logits, labels, weight, upstream, reduction, normalized, device, precision, *_outputs(out)
    ) as call:
        call.need("parameter_kernel")
        slopes, of_classes = call.derive_in_parameters(len(list(_scalar_names(call.prepared.double))))
        return _fold(loss, call, iter(slopes), of_classes, out)


def _outputs(out):
    """Return the arrays in a tuple of outputs, which may have tuples within."""
    if isinstance(out, tuple):
        return [array for part in out for array in _outputs(part)]
    return [out]


def _scalar_names(loss):
    """Yield the names of the scalar parameters of a loss and the losses within it, in order."""
    domains = {parameter.name: parameter for parameter in parameters(type(loss))}
    for name, field in zip(loss._fields, loss, strict=True):
        if is_loss(field):
            yield from _scalar_names(field)
        elif not domains[name].per_class:
            yield name


def _fold(loss, call, scalars, of_classes, out):
    """Return a tuple of the loss's type from ``scalars``, an iterator over their columns."""
    domains = {parameter.name: parameter for parameter in parameters(type(loss))}
    fields = []
    for k, (name, given) in enumerate(zip(loss._fields, loss, strict=True)):
        given_out = None if out is None else out[k]
        if is_loss(given):
            fields.append(_fold(given, call, scalars, of_classes, given_out))
            continue
        column = of_classes if domains[name].per_class else next(scalars)
        if given is None:
            fields.append(None)
            continue
        fields.append(call.finish_slopes(column, given_out))
    return type(loss)(*fields)
