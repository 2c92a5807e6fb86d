"""Probes of shapes: no rows, one class, three axes, labels that do not sum to 1, and rows that lie far apart."""

import contextlib
import mmap

import numpy as np

from ...domain import REAL, classes_of, predictions
from ..call import Call
from ..expected import expected, row
from .bench import GIT, differs
from .calls import laid_out

FAR_ROWS = 3
STEP = 2**30 + 32  # entries from row to row: the third row begins beyond 2^31
SPARE = 2**31  # bytes that a target may take while rows lie far apart: a copy of everything between them is refused


def empty(bench):
    """Ask for the loss of no rows."""
    if getattr(bench.implementation.call, "scalar", False):
        return None
    try:
        found = bench.ask(bench.z[:0].copy(), bench.y[:0].copy())
    except Exception:  # refusing is legal
        return None
    for x, wanted, what in ((found.value, (0,), "values"), (found.gradient, bench.z[:0].shape, "a gradient")):
        if x is not None and x.shape != wanted:
            return "empty-batch", f"no rows give {what} of shape {x.shape} where {wanted} is expected", None
    return None


def one_class(bench):
    """Ask for a softmax of one class, which is always 1."""
    if not bench.rows or classes_of(bench.loss) or predictions(bench.loss) != REAL:
        return None
    z, y = bench.z[:, :1].copy(), bench.hard * 0
    try:
        wanted = np.array([row(bench.loss, x, 0)[0] for x in z])
        found = bench.ask(z, np.ones_like(z) if bench.implementation.one_hot else y)
    except Exception:  # a loss or a target that needs two
        return None
    if found.value is None or found.value.shape != wanted.shape or not differs(found.value, wanted):
        return None
    return "one-class", f"with one class the value is {found.value[0]:.4g}, and should be {wanted[0]:.4g}", None


def axes(bench):
    """Ask for logits of three axes, classes last or second, of whoever answers with a value for every label."""
    if getattr(bench.implementation.call, "scalar", False) or bench.implementation.one_hot:
        return None
    n, d = 2, 4
    random = np.random.default_rng(3)
    shape = (n, d, bench.classes) if bench.rows else (n, d)
    logits = np.resize(bench.z, shape) if predictions(bench.loss) != REAL else random.standard_normal(shape).round(1)
    logits = logits.astype(bench.dtype)
    labels = np.resize(bench.hard, (n, d))
    flat = bench.ask(logits.reshape(n * d, *shape[2:]), labels.ravel()).value
    if flat is None or flat.shape != (n * d,):
        return None
    for name, order in (("last", (0, 1, 2)), ("second", (0, 2, 1))) if bench.rows else (("last", (0, 1)),):
        z = logits.transpose(order).copy()
        try:
            found = bench.ask(z, labels.copy())
        except Exception:  # refusing is legal
            continue
        if found.value is not None and found.value.shape == (n, d) and differs(found.value, flat.reshape(n, d)):
            said = f"logits of shape {z.shape}" + (f" with the classes {name}" if bench.rows else "")
            return (
                "wrong-axis",
                f"{said} give other values than the same rows one after the other",
                GIT + "tensorflow/tensorflow/issues/32231",
            )
    return None


def unnormalised(bench):
    """Ask for label rows that sum to 2: nobody owes them an answer, but p - y is not the gradient of Σ -y log p."""
    if not (bench.rows and bench.implementation.rows):
        return None
    y = 2 * np.resize([0.5, 0.3, 0.2], (len(bench.z), bench.classes)).astype(bench.dtype)
    right = []
    try:
        for labels in (y / 2, y):
            found = bench.ask(bench.z.copy(), labels)
            value, gradient = expected(bench.loss, Call(bench.z, labels))
            right.append((not differs(found.value, value), not differs(found.gradient, gradient)))
    except Exception:  # refusing is right
        return None
    if right != [(True, True), (True, False)]:  # a gradient that is wrong anyway is told elsewhere
        return None
    return (
        "labels-sum-dropped",
        "of labels that do not sum to 1 the values are right and the gradient is of others",
        GIT + "NVIDIA-NeMo/Automodel/pull/2428",
    )


def far_apart(bench):
    """Ask for rows of a view so long that an index of 32 bits overflows; only the pages of the rows have memory."""
    if bench.implementation.call.framework not in (None, "numpy", "torch") or len(bench.z) < FAR_ROWS:
        return None
    if laid_out(bench) is not None:  # not for the distance
        return None
    plain, z = bench.ask(bench.z[:FAR_ROWS].copy(), bench.y[:FAR_ROWS].copy()), _spread(bench.z[:FAR_ROWS])
    if z is None:
        return None
    bench.asked.append(bench.asked[-1]._replace(layout=f"spread({{}}, {STEP})"))
    try:
        with _limited(SPARE):
            found = bench.quietly(Call(z, bench.y[:FAR_ROWS].copy()))
    except Exception:  # it copies what lies between the rows, or needs memory of its own
        return None
    if not any(differs(x, y) for x, y in zip(found, plain) if y is not None):
        return None
    return (
        "index-overflow",
        f"rows that lie {STEP} entries apart give other answers than rows side by side: an index has 32 bits",
        GIT + "PaddlePaddle/Paddle/pull/30590",
    )


def spread(z, step):
    """Return the same rows, or numbers, ``step`` entries apart, in memory that is there only where they lie.

    >>> z = spread(np.float32([[1, 2], [3, 4], [5, 6]]), 2**20)
    >>> z.tolist(), z.strides
    ([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], (4194304, 4))
    """
    size = (step * (len(z) - 1) + z[0].size) * z.itemsize
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0))
    made = np.ndarray(z.shape, z.dtype, memory, strides=(step * z.itemsize, *z.strides[1:]))
    made[...] = z
    return made


def _spread(z):
    """Return rows far apart, or None where a system has no such memory."""
    try:
        return spread(np.ascontiguousarray(z), STEP)
    except (AttributeError, OSError, ValueError, OverflowError, MemoryError):
        return None


@contextlib.contextmanager
def _limited(spare):
    """Allow the process so many more bytes than it has; raise OSError where that cannot be said."""
    import resource

    with open("/proc/self/statm", encoding="ascii") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    free = resource.RLIM_INFINITY
    allowed = min(now + spare, *(x for x in (soft, hard) if x != free)) if {soft, hard} != {free} else now + spare
    resource.setrlimit(resource.RLIMIT_AS, (allowed, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
