"""The one list of test points: inputs chosen because implementations break there.

Every group says why it exists, and names the bug in public software that it would have caught,
where there is one.  Rows come with classes as labels and with probabilities as labels.  A loss of
probabilities gets those of the same logits, and some that no logits have.
"""

from typing import NamedTuple

import ml_dtypes
import numpy as np

from ..domain import REAL, Targets, classes_of, predictions
from ..transfer import predicted

# Where things happen: p leaves float32 at 17 and float64 at 37, exp overflows at 88 and 709 and
# underflows at 104 and 745, and beyond them only max-shifts and limits are left.
GAPS = 16.7, 20.0, 37.0, 50.0, 88.0, 100.0, 500.0, 745.0, 1e4, 1e30
FULL = 2, 3, 10  # numbers of classes at which every group runs
OTHERS = 5, 17, 100, 1000  # where a few rows show that nothing depends on C


class Points(NamedTuple):
    """Inputs of one kind: a short name, why they are hard, logits, and labels to go with them."""

    name: str
    reason: str
    logits: np.ndarray
    labels: np.ndarray


def points(loss, dtype, *, seed=0, count=8):
    """Return the test points of a loss as a list of ``Points``.

    Parameters
    ----------
    loss : NamedTuple
        Its targets decide between single logits and rows; a field with one number per class
        fixes the number of classes.
    dtype : dtype
        Of the logits and of soft labels; float16, bfloat16, float32 or float64.
    seed, count : int
        Of the ordinary points: the random generator's seed, and how many there are in a group.

    Returns
    -------
    list of Points
        Logits, or the probabilities that the loss takes instead, of shape (n,) or (n, C).  Labels
        have their shape and dtype, or, for rows, shape (n,) and dtype int64.  Soft rows sum to 1 as
        nearly as the dtype allows.
    """
    random, dtype = np.random.default_rng(seed), np.dtype(dtype)
    groups = _points(loss, dtype, random, count)
    if predictions(loss) == REAL:
        return groups
    made = [group._replace(logits=predicted(loss, group.logits)) for group in groups]
    shapes = dict.fromkeys(group.logits.shape[1:] for group in groups)
    few = [shape for shape in shapes if not shape or shape[0] < min(OTHERS)]
    return made + [group for shape in few for group in _probabilities(loss, shape, dtype)]


def _points(loss, dtype, random, count):
    """Return the test points of a loss of logits."""
    if not loss.targets.rows:
        return _pointwise_points(loss.targets, dtype, random, count)
    fixed = classes_of(loss)
    if fixed:
        return _row_points(fixed, dtype, random, count)
    groups = [group for classes in FULL for group in _row_points(classes, dtype, random, count)]
    return groups + [group for classes in OTHERS for group in _many_classes(classes, dtype, random)]


# Single logits ------------------------------------------------------------------------------


def _pointwise_points(targets, dtype, random, count):
    limits = ml_dtypes.finfo(dtype)
    smallest, largest = float(limits.smallest_subnormal), float(limits.max)
    gaps = np.array(GAPS)
    hard = np.array([0.0, 1.0])
    ordinary = np.concatenate([scale * random.standard_normal(4 * count) for scale in (1, 5)])
    nearly = 2.0 ** -np.arange(1.0, 60.0, 8.0)
    soft = np.concatenate([nearly, 1 - nearly, [1e-30, 1e-10, 1 / 3]])
    groups = [
        ("ordinary", "logits a trained model gives", ordinary, hard),
        (
            "reported",
            "where public implementations were caught: log(1 + exp(-14.81)) is lost beside 14.81 in float32, and "
            "https://github.com/pytorch/pytorch/issues/13773 https://github.com/pytorch/pytorch/issues/103316",
            _both_signs([14.81, 50.0, 100.0]),
            hard,
        ),
        (
            "saturated",
            "σ(z) rounds to 0 or 1, where clipping and 1 - p lose all digits or give nan",
            _both_signs(np.append(gaps, largest)),
            hard,
        ),
        (
            "half-saturated focus",
            "(1 - p)^γ underflows or is 0^0: https://github.com/tensorflow/tensorflow/issues/70326",
            _both_signs(gaps[:8] / 2),
            hard,
        ),
        (
            "subnormal probability",
            "exp(-|z|) is subnormal in the dtype, so that flushing it is visible",
            _both_signs(np.linspace(-np.log(float(limits.smallest_normal)), -np.log(smallest), 6)),
            hard,
        ),
        (
            "tiny",
            "logits next to 0, subnormal ones included, where log(1 + x) must keep x",
            _both_signs([1e-8, 1e-16, float(limits.eps), float(limits.smallest_normal), smallest]),
            hard,
        ),
        ("zero", "both zeros", np.array([0.0, -0.0]), hard),
    ]
    if targets is Targets.PROBABILITY:
        groups.append(
            (
                "soft labels",
                "labels next to 0 and 1, whose 1 - y or y must not vanish",
                _both_signs([0.0, 1.0, 16.7, 50.0, 745.0]),
                soft,
            )
        )
    made = [Points(name, reason, *_crossed(_clipped(z, dtype), y.astype(dtype))) for name, reason, z, y in groups]
    if targets is Targets.PROBABILITY:
        z = _clipped(_both_signs(np.linspace(0.1, 12.0, count)), dtype)
        root = (1 / (1 + np.exp(-z.astype(np.float64)))).astype(dtype)
        reason = "the label is the probability as the dtype shows it: the gradient cancels to a few last bits"
        made.append(Points("root", reason, z, root))
    return made


def _both_signs(z):
    return np.concatenate([z, np.negative(z)])


def _crossed(z, y):
    return np.repeat(z, len(y)), np.tile(y, len(z))


# Probabilities --------------------------------------------------------------------------------


def _probabilities(loss, shape, dtype):
    """Return probabilities that are chosen as such: single ones for the shape (), rows for (C,)."""
    limits = ml_dtypes.finfo(dtype)
    smallest, largest = float(limits.smallest_subnormal), float(limits.max)
    small = np.array([0.0, smallest, float(limits.smallest_normal), float(limits.eps) / 2, 1e-7, 0.05])
    ends = np.concatenate([small, 1 - small, [0.5]])
    reason = "the ends of [0, 1] and numbers next to them, where a clip at 1 - ε rounds to 1"
    if not shape:
        p = _in_steps(ends.astype(dtype))
        hard, soft = np.array([0.0, 1.0]), np.array([1e-30, 1 / 3, 1 - 2.0**-20])
        return [Points("ends", reason, *_crossed(p, np.concatenate([hard, soft]).astype(dtype)))]
    first = np.arange(shape[0]) == 0
    rows = [np.where(first, end, (1 - end) / max(shape[0] - 1, 1)) for end in ends]
    groups = [("ends", reason, np.array(rows))]
    if predictions(loss).high > 1:
        row = np.where(first, 1.0, np.linspace(0.1, 0.7, shape[0]))
        reason = "rows of any sum: it may overflow, or be a subnormal number"
        groups.append(
            (
                "any sum",
                reason,
                np.outer([smallest * 16, float(limits.smallest_normal) ** 0.6, 1 / 3, 3.0, 1e4, largest], row),
            )
        )
    made = []
    for name, reason, p in groups:
        p = np.minimum(p, largest).astype(dtype)
        soft = np.tile((np.where(first, 0.5, 0.5 / (shape[0] - 1))).astype(dtype), (len(p), 1))
        classes = np.arange(len(p)) % 2
        made.append(Points(f"{name}, {shape[0]} classes", reason, p, classes))
        made.append(Points(f"{name}, {shape[0]} classes, soft", reason, p, soft))
    return made


def _in_steps(p):
    """Return probabilities and their neighbours in their dtype, none outside of [0, 1]."""
    up, down = (np.nextafter(p, np.array(end, p.dtype)) for end in (1, 0))
    return np.unique(np.concatenate([p, up, down]))


# Rows ---------------------------------------------------------------------------------------


def _row_points(classes, dtype, random, count):
    """Return every group at one number of classes."""
    limits = ml_dtypes.finfo(dtype)
    smallest, largest = float(limits.smallest_subnormal), float(limits.max)
    ordinary = np.concatenate([scale * random.standard_normal((count // 2, classes)) for scale in (1, 5)])
    first = np.arange(classes) == 0
    edges = np.linspace(-np.log(float(limits.smallest_normal)), -np.log(smallest), 4)
    noise = random.standard_normal((len(GAPS), classes))
    gaps = np.array(GAPS)[:, None]
    spread = noise + gaps / 2 * (first * 1.0 - (np.arange(classes) == classes - 1))
    groups = [
        ("ordinary", "logits a trained model gives", ordinary),
        (
            "saturated",
            "one class has all the probability; p - 1 and log p of it lose every digit",
            gaps * first,
        ),
        (
            "spread",
            "one class far above and one far below the rest, so that each label is right, lost or "
            "wrong by a lot: https://github.com/ml-explore/mlx/pull/4169",
            spread,
        ),
        (
            "neighbours",
            "logits one last bit or less apart, near 0 and far from it",
            np.array([1e-8 * first, 1e-16 * first] + [_one_ulp_up(base, first, dtype) for base in (1.0, 1e2, 1e4)]),
        ),
        (
            "equal",
            "all logits equal, at sizes where exp or a sum of them overflows",
            np.array([0.0, 1e4, -1e4, 1e30, -1e30, largest / 4])[:, None] * np.ones(classes),
        ),
        (
            "masked",
            "classes at -inf without label mass: 0·log 0 and inf - inf: "
            "https://github.com/google-deepmind/optax/issues/896 "
            "https://github.com/google-deepmind/optax/issues/1335",
            np.array([np.where(first, -np.inf, ordinary[0]), np.where(first, ordinary[-1], -np.inf)]),
        ),
        (
            "subnormal",
            "subnormal logits, and logits that give subnormal probabilities",
            np.concatenate([edges[:, None] * first, [smallest * first, float(limits.smallest_normal) * first]]),
        ),
        ("zero", "both zeros in one row", np.array([np.where(first, -0.0, 0.0), np.where(first, 0.0, -0.0)])),
    ]
    if classes == 3:
        reason = "where p - 1 is 0 in float32 and in float64: https://github.com/pytorch/pytorch/issues/195678"
        groups.append(("reported", reason, np.array([20.0, 40.0])[:, None] * first))
    made = []
    for name, reason, z in groups:
        z = _clipped(z, dtype)
        rows, labels = _hard_labels(z, all_ranks=name in ("reported", "saturated", "spread"))
        made.append(Points(f"{name}, {classes} classes", reason, rows, labels))
        kinds = np.arange(len(z)) % len(KINDS)
        soft = np.array([_soft_labels(row, KINDS[kind], random) for row, kind in zip(z, kinds, strict=True)])
        made.append(Points(f"{name}, {classes} classes, soft", reason, z, soft.astype(dtype)))
    reason = (
        "one-hot, uniform, sparse, nearly one-hot and random label rows, and labels equal to p, where the gradient "
        "cancels to a few last bits: https://github.com/NVIDIA-NeMo/Automodel/pull/2428"
    )
    z = _clipped(np.repeat(ordinary[[0, -1]], len(KINDS), axis=0), dtype)
    soft = np.array([_soft_labels(row, kind, random) for row, kind in zip(z, KINDS * 2, strict=True)])
    return made + [Points(f"soft labels, {classes} classes", reason, z, soft.astype(dtype))]


def _many_classes(classes, dtype, random):
    """Return the few rows that show that nothing depends on the number of classes."""
    reason = (
        "vector tails, sums of many terms and C in the smoothing: "
        "https://github.com/NVIDIA/Megatron-LM/issues/7464 https://github.com/keras-team/keras/pull/23437"
    )
    saturated = np.where(np.arange(classes) == classes // 2, 50.0, 0.0)
    z = _clipped(np.array([5 * random.standard_normal(classes), saturated]), dtype)
    hard = np.array([random.integers(classes), classes // 2])
    soft = np.array([_soft_labels(row, kind, random) for row, kind in zip(z, (_dirichlet, _softmax), strict=True)])
    return [
        Points(f"ordinary and saturated, {classes} classes", reason, z, hard),
        Points(f"ordinary and saturated, {classes} classes, soft", reason, z, soft.astype(dtype)),
    ]


def _one_ulp_up(base, chosen, dtype):
    """Return a row at a base, the chosen classes one step of the dtype above it."""
    base = np.full(len(chosen), base).astype(dtype)
    return np.where(chosen, np.nextafter(base, np.array(np.inf, dtype)), base).astype(np.float64)


def _clipped(z, dtype):
    """Return z in a dtype, brought inside its range; -inf stays."""
    z, bound = np.asarray(z, dtype=np.float64), float(ml_dtypes.finfo(dtype).max)
    return np.where(z == -np.inf, z, np.clip(z, -bound, bound)).astype(dtype)


def _hard_labels(z, all_ranks):
    """Return rows and labels: the likeliest, the least likely and the middle class, or one of them in turn."""
    ranked = [[j for j in np.argsort(row.astype(np.float64), kind="stable") if row[j] > -np.inf] for row in z]
    ranks = [[classes[-1], classes[0], classes[len(classes) // 2]] for classes in ranked]
    if all_ranks:
        return np.repeat(z, 3, axis=0), np.array(ranks, dtype=np.int64).ravel()
    return z, np.array([row[i % 3] for i, row in enumerate(ranks)], dtype=np.int64)


def _soft_labels(z, kind, random):
    """Return a row of probabilities of one kind, without mass on masked classes."""
    z = z.astype(np.float64)
    seen = np.flatnonzero(z > -np.inf)
    y = np.zeros(len(z))
    y[seen] = kind(z[seen], random)
    return y / y.sum()


def _softmax(z, random):
    e = np.exp(z - z.max())
    return e / e.sum()


def _dirichlet(z, random):
    return random.dirichlet(np.full(len(z), 0.5))


def _one_hot(z, random):
    return np.eye(len(z))[np.argmin(z)]


def _uniform(z, random):
    return np.ones(len(z))


def _nearly_one_hot(z, random):
    return np.where(np.arange(len(z)) == np.argmax(z), 1 - 1e-10, 1e-10)


def _tiny_mass(z, random):
    return np.where(np.arange(len(z)) == np.argmin(z), 1.0, 1e-30)


def _two_classes(z, random):
    return np.isin(np.arange(len(z)), [0, len(z) - 1]) * 1.0


KINDS = (_softmax, _dirichlet, _one_hot, _uniform, _nearly_one_hot, _tiny_mass, _two_classes)
