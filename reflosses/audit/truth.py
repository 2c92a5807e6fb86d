"""What is audited on: hard points and real logits in batches, with the certified results beside.

A batch is certified once and judges every implementation, so the oracle's time does not grow with
the number of implementations.
"""

from functools import cache, cached_property
from importlib.resources import files

import ml_dtypes
import numpy as np
from flint import arb

from ..domain import REAL, classes_of, identity, predictions
from ..oracle import certify, magnitude
from ..transfer import predicted
from .points import points

REAL_ROWS = 160  # of the digits; a worst error over ten times as many costs ten times as long
DIGIT = 8  # the binary problem made of the digits: is it an eight?
EXACT_SLOPES = 3  # classes up to which a sensitivity is summed exactly, one Hessian column a class
LONG = 1000  # rows of so many classes cost seconds, and are judged once a loss: at its defaults, in float32
FEW = 20  # classes up to which the diagonal of a Hessian is certified: a hundred take minutes
PROBES = 2  # random directions that estimate it beyond: a column of a thousand classes costs 0.1 s


class _Made(dict):
    """A dict whose entries are made when they are first asked for."""

    def __init__(self, make):
        super().__init__()
        self.make = make

    def __missing__(self, key):
        self[key] = made = self.make(key)
        return made


class Batch:
    """Rows (or logits) of one shape, and the truth about them.

    Parameters
    ----------
    loss : NamedTuple
        What they are inputs of.
    logits, labels : ndarray
        Shape (n,) or (n, C), and labels to go with them.
    groups : sequence of str
        For every row the kind of input it is.
    ordinary : ndarray of bool
        Whether a row is what a loss meets every day, as opposed to a hard case.
    real : bool
        Whether they come from a trained model.
    """

    def __init__(self, loss, logits, labels, groups, ordinary, real=False):
        self.loss, self.logits, self.labels = loss, logits, labels
        self.groups, self.ordinary, self.real = groups, ordinary, real
        self._sensitivities = {}

    @property
    def soft(self):
        """Whether the labels are rows of probabilities."""
        return self.logits.ndim == 2 and self.labels.ndim == 2

    @cached_property
    def hard(self):
        """The part of a batch whose labels are classes, or 0 and 1; None if there is none."""
        if self.soft:
            return None
        kept = np.isin(self.labels, (0, 1)) if self.logits.ndim == 1 else np.ones(len(self.labels), bool)
        if kept.all() or not kept.any():
            return self if kept.all() else None
        groups = [group for group, keep in zip(self.groups, kept, strict=True) if keep]
        return Batch(self.loss, self.logits[kept], self.labels[kept], groups, self.ordinary[kept], self.real)

    @cached_property
    def mild(self):
        """Whether no probability of a row is so near to 0 or 1 that a clip in use or its rounding can show."""
        z, least_seen = self.logits.astype(np.float64), max(1e-4, 4 * float(ml_dtypes.finfo(self.logits.dtype).eps))
        if predictions(self.loss) != REAL:
            with np.errstate(over="ignore"):  # rows of any sum
                least = z.min(axis=1) / z.sum(axis=1) if z.ndim == 2 else np.minimum(z, 1 - z)
            return self.ordinary & (least > least_seen)
        spread = np.ptp(z, axis=1) if z.ndim == 2 else np.abs(z)
        return self.ordinary & (spread < min(7.0, -np.log(least_seen)))

    def _each(self, function, verb):
        """Return a function of every row, flattened, as the balls that ``errors`` takes."""
        found = []
        for z, y in zip(self.logits, self.labels, strict=True):
            nothing = [arb.nan()] * (1 if verb == "value" else np.size(z))
            edge = on_kink(self.loss, z, y, self.logits.dtype)
            try:
                found += nothing if edge and verb != "value" else function(self.loss, z, y, verb)
            except ArithmeticError:
                if not edge:
                    raise
                found += nothing  # log p, where no number of bits tells p from 0
        return found

    @cached_property
    def certified(self):
        """Verb → the certified results, flat, made when they are first asked for."""
        return _Made(lambda verb: self._each(certify, verb))

    @cached_property
    def terms(self):
        """Verb → Σ |terms| of every result, flat; the results themselves where the loss states no terms."""
        stated = _stated(self.loss)
        return _Made(
            lambda verb: self._each(magnitude, verb) if verb in stated else [abs(x) for x in self.certified[verb]]
        )

    def certifies(self, verb):
        """Whether the truth of a verb is had in seconds."""
        return verb != "hessian_diagonal" or self.logits.ndim == 1 or self.logits.shape[1] <= FEW

    def shape(self, verb):
        """Return the shape of a result."""
        return self.logits.shape[:1] if verb == "value" else self.logits.shape

    def truth(self, verb):
        """Return the certified results as float64, for display and for yardsticks."""
        return _floats(self.certified[verb]).reshape(self.shape(verb))

    def sensitivity(self, verb, i):
        """Return Σ |∂result/∂z_k| |z_k|: what a relative change of row i's logits does to it."""
        if (verb, i) not in self._sensitivities:
            self._sensitivities[verb, i] = self._sensitivity(verb, i)
        return self._sensitivities[verb, i]

    def _sensitivity(self, verb, i):
        z = np.atleast_1d(self.logits[i].astype(np.float64))
        size = np.where(np.isfinite(z), np.abs(z), 0.0)  # a masked class does not move
        if verb == "hessian_diagonal":  # a third derivative, bounded as those of exponentials are
            return np.abs(self.truth(verb)[i]) * (1 + size.max(initial=0.0))
        if verb == "value":
            slope = np.atleast_1d(self.truth("gradient")[i])
            return np.sum(np.abs(slope) * size)
        if len(z) <= EXACT_SLOPES:
            directions = np.diag(size)[size > 0]
        else:
            directions = np.random.default_rng(0).choice([-1.0, 1.0], (PROBES, len(z))) * size
        total = np.zeros(len(z))
        for direction in directions:
            vector = direction if self.loss.targets.rows else direction[0]
            product = certify(self.loss, self.logits[i], self.labels[i], "hessian_vector_product", vector)
            total += np.abs(_floats(product))
        return total if self.logits.ndim == 2 else total[0]


def on_kink(loss, z, y, dtype=np.float64):
    """Whether a row, or a logit, is so near to where a loss has no derivative that a dtype may see either side."""
    return hasattr(loss, "kinks") and _nearest_kink(loss, z, y) < 8 * float(ml_dtypes.finfo(dtype).eps)


def _nearest_kink(loss, z, y):
    """Return how near a point is to where a loss is not differentiable, relative to what meets there."""
    if not loss.targets.rows:
        return min(map(float, loss.kinks(float(z), float(y))), default=np.inf)
    labels = y if np.ndim(y) else np.arange(z.size) == y
    z = np.asarray(z, dtype=np.float64)
    z = z - np.max(z) if predictions(loss) == REAL else z  # whose exponentials do not overflow
    return min(map(float, loss.kinks([float(x) for x in z], [float(x) for x in labels])), default=np.inf)


def _stated(loss):
    """Return the verbs for which a loss states the terms whose sum the result is."""
    if not hasattr(loss, "magnitudes"):
        return ()
    classes = classes_of(loss, 2)
    z = predicted(loss, np.zeros(classes)).tolist()
    return loss.magnitudes(z, [1 / classes] * classes) if loss.targets.rows else loss.magnitudes(z[0], 1.0)


def _floats(balls):
    return np.array([float(x.mid()) for x in balls])


_batches: dict = {}


def batches(loss, dtype):
    """Return the batches of a loss in a dtype, made once: hard points by shape, then real ones."""
    key = identity(loss), np.dtype(dtype)
    if key not in _batches:
        if len(_batches) > 200:
            _batches.clear()
        _batches[key] = _made(loss, np.dtype(dtype))
    return _batches[key]


def _made(loss, dtype):
    together = {}
    for group in points(loss, dtype):
        if (
            group.logits.shape[-1] >= LONG
            and group.logits.ndim == 2
            and not (loss == type(loss)() and dtype.itemsize == 4)
        ):
            continue
        together.setdefault((group.logits.shape[1:], group.labels.ndim), []).append(group)
    made = []
    for groups in together.values():
        names = [group.name for group in groups for _ in group.logits]
        made.append(
            Batch(
                loss,
                np.concatenate([group.logits for group in groups]),
                np.concatenate([group.labels for group in groups]),
                names,
                np.array([name.startswith("ordinary") and "saturated" not in name for name in names]),
            )
        )
    classes = made[0].logits.shape[1] if len({shape for shape, _ in together}) == 1 and loss.targets.rows else None
    logits, labels = real(loss.targets.rows, classes)
    labels = labels if loss.targets.rows else labels.astype(dtype)
    everyday = np.ones(len(logits), dtype=bool)
    logits = predicted(loss, logits.astype(dtype))
    return [*made, Batch(loss, logits, labels, ["digits"] * len(logits), everyday, real=True)]


@cache
def digits():
    """Return the logits (n, 10) and classes of a classifier of digits, see tools/make_digits_logits.py."""
    with files(__package__).joinpath("digits.npz").open("rb") as file, np.load(file) as arrays:
        return arrays["logits"], arrays["labels"].astype(np.int64)


def real(rows, classes=None):
    """Return logits and labels of a real model: of ten digits, of the first few, or of one against the rest."""
    logits, labels = digits()
    if not rows:
        others = np.delete(logits, DIGIT, axis=1).astype(np.float64)
        margin = logits[:, DIGIT] - np.logaddexp.reduce(others, axis=1)
        return margin[:REAL_ROWS], (labels == DIGIT)[:REAL_ROWS].astype(np.float32)
    classes = classes or logits.shape[1]
    kept = labels < classes
    return logits[kept, :classes][:REAL_ROWS], labels[kept][:REAL_ROWS]
