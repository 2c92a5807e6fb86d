"""Faults that shipped, as the smallest changes to correct implementations, in plain NumPy.

Nothing here comes from the diagnosis: each implementation is written as its authors might have written
it.  ``Fault.names`` are the findings that name it correctly.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from ..spelling import parse

GIT = "https://github.com/"


class Fault(NamedTuple):
    """A fault: where it shipped, what it was, and the implementation that has it."""

    link: str
    kind: str
    loss: tuple
    function: Callable
    names: tuple


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def log_softmax(z):
    top = z - z.max(axis=1, keepdims=True)
    return top - np.log(np.exp(top).sum(axis=1, keepdims=True))


def rows(z, y):
    if y.ndim == 2:
        return y
    if y.size and (y.min() < 0 or y.max() >= z.shape[1]):
        raise ValueError("illegal label")
    return (y[:, None] == np.arange(z.shape[1])).astype(z.dtype)


def of_rows(z, t, g=None):
    """Cross entropy of rows of masses, and its gradient."""
    value = -np.sum(np.where(t == 0, 0, t * log_softmax(z)), axis=1)
    return value, softmax(z) * t.sum(axis=1, keepdims=True) - t


def reduce(value, gradient, reduction, divisor):
    if reduction == "none":
        return value, gradient
    if reduction == "sum":
        return value.sum(), gradient
    return value.sum() / divisor, gradient / divisor


def expit(x):
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def focal(z, y, gamma=2.0, a1=0.25, a0=0.75):
    t, a = np.where(y == 1, z, -z), np.where(y == 1, a1, a0).astype(z.dtype)
    q, c, s = expit(t), expit(-t), -softplus(-t)
    slope = a * c**gamma * (gamma * q * s - c)
    return -a * c**gamma * s, np.where(y == 1, slope, -slope)


# Upstream -------------------------------------------------------------------------------------


def first_upstream(z, y, upstream=1.0):
    value, g = of_rows(z, rows(z, y))
    return value, g * np.ravel(upstream)[0]


def no_rows_upstream(z, y, upstream=1.0):
    value, g = of_rows(z, rows(z, y))
    return value, g * np.asarray(upstream).flat[0]


def zero_gradient(z, y):
    value, g = of_rows(z, rows(z, y))
    return value, g * 0


# Labels and their smoothing -------------------------------------------------------------------


def smoothing_of(mass):
    """Return cross entropy of labels that a function of (one-hot rows, C, s) makes."""
    return lambda z, y: of_rows(z, mass(rows(z, y), z.shape[1], z.dtype.type(0.1)))


def off_target(y, n, s):
    return np.where(y > 0, (1 - s) * y, (1 - s) / n)


def wraps(z, y):
    t = np.zeros_like(z)
    t[np.arange(len(y)), y] = 1
    return of_rows(z, t)


def counts_from_one(z, y):
    return of_rows(z, rows(z, (y - 1) % z.shape[1]) if y.ndim == 1 else np.roll(y, -1, axis=1))


def unnormalised(z, y):
    value, _ = of_rows(z, rows(z, y))
    return value, softmax(z) - rows(z, y)


def halved_in_place(z, y):
    if y.ndim == 1:
        y = rows(z, y)
    y += 0.1
    y /= 2
    return of_rows(z, y)


def unsigned(z, y):
    value = np.maximum(z, 0) * (1 - y) + np.maximum(-z, 0) * y + np.log1p(np.exp(-np.abs(z)))
    return value, (1 - y) * expit(z) + -y * expit(-z)  # the minus belongs to y, which may be unsigned


def any_shape(z, y):
    return softplus(z) - y * z, expit(z) - y


# Ignored rows and weights ---------------------------------------------------------------------


def ignoring(z, y, weight, index, reduction, *, which="right"):
    """Weighted cross entropy with ignored rows, with one thing wrong."""
    keep = y != index
    w = np.ones(z.shape[1], z.dtype) if weight is None else np.asarray(weight, z.dtype)
    t = rows(z, np.where(keep, y, 0)) * w
    value, g = of_rows(z, t)
    value = np.where(keep, value, 0)
    g = g if which == "gradient" else np.where(keep[:, None], g, 0)
    of_row = w[np.where((y >= 0) & (y < len(w)), y, -1)]
    divisor = {
        "numel": len(y),
        "pads": max((~keep).sum(), 1),
        "wrapped": of_row.sum(),
        "halves": keep.sum() / 2,
    }.get(which, (of_row * keep).sum())
    return reduce(value, g, reduction, divisor)


def ignored(which):
    def function(z, y, weight=None, ignore_index=-100, reduction="mean"):
        return ignoring(z, y, weight, ignore_index, reduction, which=which)

    return function


def gathers_first(z, y, ignore_index=-100, reduction="mean"):
    value, g = of_rows(z, rows(z, np.where(y == ignore_index, -1, y) % z.shape[1]))
    return reduce(value, g, reduction, (y != ignore_index).sum())


def writes_out_of_bounds(z, y, ignore_index=-100, reduction="mean"):
    keep = y != ignore_index
    value, _ = of_rows(z, rows(z, np.where(keep, y, 0)))
    g = np.where(keep[:, None], softmax(z), 0)
    flat = np.append(g.ravel(), 0)
    for i, label in enumerate(y):
        at = i * z.shape[1] + label
        if 0 <= at < len(flat):
            flat[at] -= 1
    return reduce(np.where(keep, value, 0), flat[:-1].reshape(z.shape), reduction, keep.sum())


def smooths_ignored(z, y, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    keep, n = y != ignore_index, z.shape[1]
    t = rows(z, np.where(keep, y, 0)) * keep[:, None] * (1 - label_smoothing) + label_smoothing / n
    value, g = of_rows(z, t.astype(z.dtype))
    return reduce(value, g, reduction, keep.sum())


# Focal losses ---------------------------------------------------------------------------------


def times_gamma(z, y):
    t = np.where(y == 1, z, -z)
    a = np.where(y == 1, 0.25, 0.75).astype(z.dtype)
    q, c, s = expit(t), expit(-t), -softplus(-t)
    slope = 2 * a * c * (q * s - c)
    return -2 * a * c * s, np.where(y == 1, slope, -slope)


def smoothed_everywhere(z, y):
    y = y * z.dtype.type(0.9) + z.dtype.type(0.05)
    p = expit(z)
    a, miss = 0.25 * y + 0.75 * (1 - y), y * (1 - p) + (1 - y) * p
    entropy = softplus(z) - y * z
    slope = a * (2 * miss * (1 - 2 * y) * p * (1 - p) * entropy + miss**2 * (p - y))
    return a * miss**2 * entropy, slope


class Remembers:
    """A focal loss that gathers its α once and for all."""

    def __init__(self):
        self.alpha = np.array([0.75, 0.25])

    def __call__(self, z, y):
        self.alpha = self.alpha[np.minimum(y.astype(int), len(self.alpha) - 1)]
        value, g = focal(z, y, a1=1.0, a0=1.0)
        a = self.alpha.astype(z.dtype)
        return value * a, g * a


def focus_of_mean(z, y, reduction="mean"):
    value, g = focal(z, y, a1=1.0, a0=1.0)
    if reduction == "none":
        return value, g
    entropy, slope = focal(z, y, 0.0, 1.0, 1.0)
    mean = entropy.mean() if reduction == "mean" else entropy.sum()
    focus = 1 - np.exp(-mean)
    share = len(z) if reduction == "mean" else 1
    return focus**2 * mean, slope / share * (focus**2 + 2 * focus * np.exp(-mean) * mean)


def pow_rule(z, y):
    t = np.where(y == 1, z, -z)
    q = expit(t)
    c, s = 1 - q, np.log(q)
    slope = c**0.0 * 0 * c**-1.0 * -q * c * -s - c
    return -s, np.where(y == 1, slope, -slope)


def swaps(z, y):
    return focal(z, y, 0.25, 2.0, -1.0)


def value_without_focus(z, y):
    return focal(z, y, 0.0)[0], focal(z, y)[1]


def in_probability(z, y):
    value, g = focal(z, y)
    return value, g / (expit(z) * expit(-z))


# Saturation ------------------------------------------------------------------------------------


def minus_one(z, y):
    t = rows(z, y)
    return of_rows(z, t)[0], softmax(z) - t


def log_of_softmax(z, y):
    t = rows(z, y)
    with np.errstate(all="ignore"):
        return -np.sum(np.where(t == 0, 0, t * np.log(softmax(z))), axis=1), softmax(z) - t


def zero_times_infinity(z, y):
    with np.errstate(all="ignore"):
        return -np.sum(rows(z, y) * log_softmax(z), axis=1), softmax(z) - rows(z, y)


def through_half(z, y):
    t = rows(z, y)
    p = softmax(z)
    short = p.astype(np.float32).view(np.uint32) & 0xFFFF0000
    return of_rows(z, t)[0], short.astype(np.uint32).view(np.float32).astype(z.dtype) - t


def no_shift(z, y):
    with np.errstate(all="ignore"):
        value = 20 * y * np.log(1 + np.exp(-z)) + (1 - y) * (z + np.log(1 + np.exp(-z)))
    return value, (1 - y) * expit(z) - 20 * y * expit(-z)


def tempered_branches(z, y, t1=0.5, t2=1.0):
    """The bi-tempered loss, one of whose branches uses a name that only the others have set."""
    t = rows(z, y)
    if t2 != 1:
        shift = z.max(axis=1, keepdims=True)
    p = np.exp(z - shift) / np.exp(z - shift).sum(axis=1, keepdims=True)
    return ((t - t * p ** (1 - t1)) / (1 - t1) - (t - p ** (2 - t1)) / (2 - t1)).sum(axis=1)


def epsilon_in_gradient(z, y):
    p = expit(z)
    return softplus(z) - y * z, (p - y) / np.maximum(p * (1 - p), 1e-12) * p * (1 - p)


def clips(epsilon):
    def function(z, y):
        with np.errstate(all="ignore"):
            p = np.clip(expit(z), z.dtype.type(epsilon), z.dtype.type(1 - epsilon))
            return -y * np.log(p) - (1 - y) * np.log(1 - p), p - y

    return function


def half_tiny(z, y):
    with np.errstate(all="ignore"):
        p = expit(z).astype(np.float16).astype(z.dtype)
        tiny = np.float16(np.finfo(np.float32).tiny).astype(z.dtype)
        return -y * np.log(np.maximum(p, tiny)) - (1 - y) * np.log(np.maximum(1 - p, tiny)), p - y


def loses_normaliser(z, y):
    top = z.max(axis=1, keepdims=True)
    lse = top + np.log(np.exp(z - top).sum(axis=1, keepdims=True))
    t = rows(z, y)
    return np.sum(np.where(t == 0, 0, t * (lse - z)), axis=1), np.exp(z - lse) * t.sum(axis=1, keepdims=True) - t


def masks_first(z, y):
    t = rows(z, y)
    shown = np.where(np.isfinite(z), z, 0)
    return of_rows(shown, t)


# Shapes, memory, Hessians -----------------------------------------------------------------------


def as_if_contiguous(z, y):
    flat = z.base.ravel() if z.base is not None and not z.flags.c_contiguous else z.ravel()
    return of_rows(np.resize(flat, z.shape).astype(z.dtype), rows(z, y))


def narrow_index(z, y, read=True):
    """An index of 32 bits, of what is read or of the label's entry alone."""
    step, inner = np.array(z.strides) // z.itemsize
    memory = np.lib.stride_tricks.as_strided(z, (max((len(z) - 1) * step + z.shape[1], 1),), (z.itemsize,))
    at = (np.arange(len(z))[:, None] * step + np.arange(z.shape[1]) * inner).astype(np.int32)
    if read:
        return of_rows(memory[at], rows(z, y))
    if y.ndim == 2:
        raise ValueError("labels are classes")
    label = memory[at[np.arange(len(y)), y]]
    top = z.max(axis=1)
    return top + np.log(np.exp(z - top[:, None]).sum(axis=1)) - label, of_rows(z, rows(z, y))[1]


def smoothed_over(classes, counted):
    """Label smoothing of logits with any number of axes, whose K is taken from another axis than the classes."""

    def function(z, y):
        n, k = z.shape[classes], z.shape[counted]
        t = y if y.ndim == z.ndim else np.moveaxis(y[..., None] == np.arange(n), -1, classes)
        t = t.astype(z.dtype) * z.dtype.type(0.9) + z.dtype.type(0.1 / k)
        top = z - z.max(axis=classes, keepdims=True)
        return -(t * (top - np.log(np.exp(top).sum(axis=classes, keepdims=True)))).sum(axis=classes)

    return function


def wide(z, y):
    value, g = of_rows(z.astype(np.float32), rows(z, y).astype(np.float32))
    return value.astype(np.float32), g.astype(np.float32)


def one_channel(z, y):
    return np.zeros_like(z), np.zeros_like(z)


def padded(lanes):
    def function(z, y):
        n = z.shape[1]
        extra = (1 << (n - 1).bit_length()) - n if lanes is None else lanes
        fill = np.full((len(z), extra), -2.0, z.dtype)
        both = np.concatenate([z, fill], axis=1)
        t = np.concatenate([rows(z, y), np.zeros_like(fill)], axis=1)
        value, g = of_rows(both, t)
        return value, g[:, :n]

    return function


def curvature(h):
    def function(z, y):
        p = expit(z)
        return softplus(z) - y * z, p - y, h(p, y)

    return function


BRANCH = parse("bi_tempered(t1=0.5, t2=1)")
CE, SMOOTH = parse("cross_entropy"), parse("label_smoothing(smoothing=0.1)")
BCE, FOCAL = parse("binary_cross_entropy"), parse("sigmoid_focal")
UNFOCUSED, UNBALANCED = parse("sigmoid_focal(gamma=0, alpha=none)"), parse("sigmoid_focal(alpha=none)")
WEIGHTED, LOPSIDED = parse("cross_entropy((0.5, 2, 1))"), parse("binary_cross_entropy(20)")


def _fault(link, kind, loss, function, *names):
    return Fault(GIT + link, kind, loss, function, names)


FAULTS = (
    _fault("linkedin/Liger-Kernel/pull/1329", "half-precision cancellation", CE, through_half, "half-precision"),
    _fault("linkedin/Liger-Kernel/pull/1298", "wrong gradient (upstream)", CE, first_upstream, "upstream-of-row-0"),
    _fault("linkedin/Liger-Kernel/pull/680", "wrong gradient (upstream)", CE, no_rows_upstream, "upstream-of-row-0"),
    _fault("unslothai/unsloth/pull/10616", "tile padding", CE, padded(1), "tile-padding"),
    _fault("apple/ml-cross-entropy/pull/59", "tile padding", CE, padded(None), "tile-padding"),
    Fault(
        GIT + "NVIDIA/Megatron-LM/issues/7464",
        "wrong K in smoothing",
        SMOOTH,
        smoothing_of(lambda y, n, s: y * (1 - s) + s / (n // 2 or 1)),
        ("smoothing-number-of-classes",),
    ),
    _fault(
        "NVIDIA-NeMo/Automodel/pull/2428",
        "soft label not normalised",
        WEIGHTED,
        lambda z, y: (
            of_rows(z, rows(z, y) * np.array([0.5, 2, 1], z.dtype))[0],
            softmax(z) - rows(z, y) * np.array([0.5, 2, 1], z.dtype),
        ),
        "labels-sum-dropped",
    ),
    _fault("pytorch/pytorch/issues/67167", "non-contiguous", CE, as_if_contiguous, "layout"),
    _fault("pytorch/pytorch/issues/72056", "ignore_index x weight", CE, ignored("wrapped"), "mean-divisor"),
    _fault("pytorch/pytorch/issues/95794", "ignore_index", CE, gathers_first, "ignored-rows", "ignored-row-gradient"),
    _fault("pytorch/pytorch/issues/32049", "label OOB", CE, wraps, "illegal-label-accepted"),
    _fault(
        "PaddlePaddle/Paddle/pull/25549",
        "label OOB write",
        CE,
        writes_out_of_bounds,
        "ignored-row-gradient",
        "ignored-rows",
    ),
    _fault(
        "pytorch/pytorch/issues/13773",
        "NaN saturation",
        LOPSIDED,
        no_shift,
        "nan-at-saturation",
        "log-of-zero",
    ),
    _fault(
        "pytorch/pytorch/issues/103316",
        "eps clipping gradient",
        BCE,
        epsilon_in_gradient,
        "epsilon-in-gradient",
    ),
    _fault("pytorch/pytorch/issues/195678", "lost tail gradient", CE, minus_one, "probability-minus-one"),
    _fault("tensorflow/tensorflow/issues/70326", "NaN gradient", UNFOCUSED, pow_rule, "nan-at-saturation"),
    _fault("google-deepmind/optax/issues/896", "0*inf", CE, zero_times_infinity, "nan-at-saturation"),
    _fault("google-deepmind/optax/issues/1335", "mask", CE, masks_first, "mask-as-zero"),
    _fault(
        "google-deepmind/optax/commit/a77d69c4ed1df077bcb431a86ddca0093e2441dd",
        "dtype promotion",
        BCE,
        unsigned,
        "label-dtype",
    ),
    _fault(
        "tensorflow/tensorflow/issues/61519",
        "alpha ignored",
        FOCAL,
        lambda z, y: focal(z, y, a1=1.0, a0=1.0),
        "alpha-ignored",
    ),
    _fault("qubvel/segmentation_models/issues/258", "swapped params", FOCAL, swaps, "alpha-and-gamma-swapped"),
    _fault("fudannlp16/focal-loss/issues/8", "wrong formula", FOCAL, times_gamma, "gamma-multiplied"),
    _fault("keras-team/keras-cv/issues/672", "LS x focal", FOCAL, smoothed_everywhere, "smoothing-uniform"),
    _fault("yatengLG/Focal-Loss-Pytorch/issues/9", "state mutation", FOCAL, Remembers, "state-kept"),
    _fault("kaidic/LDAM-DRW/issues/6", "reduction order", UNBALANCED, focus_of_mean, "focus-of-the-mean"),
    _fault("Project-MONAI/MONAI/issues/2509", "shape edge", UNBALANCED, one_channel, "softmax-of-one"),
    _fault("facebookresearch/sam3/pull/576", "NaN gradient", UNFOCUSED, pow_rule, "nan-at-saturation"),
    _fault("open-mmlab/mmcv/issues/1488", "half precision", BCE, half_tiny, "log-of-zero", "half-precision", "unknown"),
    _fault("rahowa/catboost_focal_loss/issues/2", "missing chain rule", FOCAL, in_probability, "chain-rule-missing"),
    _fault("lightgbm-org/LightGBM/issues/2052", "missing chain rule", FOCAL, in_probability, "chain-rule-missing"),
    _fault(
        "dmlc/xgboost/issues/5769",
        "hessian convention",
        BCE,
        curvature(lambda p, y: 2 * p * (1 - p)),
        "hessian-doubled",
    ),
    _fault(
        "scikit-learn/scikit-learn/issues/24315",
        "eps clipping dtype",
        BCE,
        clips(1e-15),
        "log-of-zero",
        "clip",
        "nan-at-saturation",
    ),
    _fault(
        "autogluon/autogluon/pull/2345",
        "eps clipping dtype",
        BCE,
        clips(1e-15),
        "log-of-zero",
        "clip",
        "nan-at-saturation",
    ),
    _fault("qubvel-org/segmentation_models.pytorch/issues/852", "denominator", CE, ignored("numel"), "mean-divisor"),
    _fault("llvm/torch-mlir/pull/3585", "denominator", CE, ignored("numel"), "mean-divisor"),
    _fault("huggingface/transformers/issues/6331", "denominator", CE, ignored("pads"), "mean-divisor"),
    _fault("huggingface/transformers/pull/35438", "denominator", CE, ignored("halves"), "mean-divisor"),
    _fault(
        "paiml/aprender/pull/2199", "LS convention", SMOOTH, smoothing_of(off_target), "smoothing-off-target-complement"
    ),
    _fault(
        "ildoonet/pytorch-randaugment/issues/30",
        "LS convention",
        SMOOTH,
        smoothing_of(lambda y, n, s: y * (1 - s / n) + s / n),
        "smoothing-keeps-too-much",
    ),
    _fault(
        "eladhoffer/utils.pytorch/issues/13",
        "LS convention + mutation",
        SMOOTH,
        halved_in_place,
        "smoothing-added-and-halved",
        "inputs-changed",
    ),
    _fault("PaddlePaddle/Paddle/pull/28622", "ignored-row gradient", CE, ignored("gradient"), "ignored-row-gradient"),
    _fault("tinygrad/tinygrad/pull/3570", "ignore x LS", CE, smooths_ignored, "ignored-rows", "ignored-row-gradient"),
    _fault("ml-explore/mlx/pull/4169", "saturation", CE, loses_normaliser, "log-of-one", "difference-of-large"),
    _fault("microsoft/DirectML/issues/739", "zero gradient", CE, zero_gradient, "gradient-zero"),
    _fault("pytorch/pytorch/issues/197098", "dtype", CE, wide, "dtype-changed"),
    _fault(
        "onnx/onnx/blob/main/onnx/reference/ops/op_softmax_cross_entropy_loss.py",
        "saturation IN THE ORACLE",
        CE,
        log_of_softmax,
        "log-of-zero",
    ),
    _fault("davisking/dlib/pull/2552", "value/gradient mismatch", FOCAL, value_without_focus, "focus-missing"),
    _fault("tensorflow/addons/pull/810", "broadcast", BCE, any_shape, "shapes-broadcast"),
    _fault("mlverse/torch/pull/681", "index base", CE, counts_from_one, "index-base-1"),
    _fault("PaddlePaddle/Paddle/pull/30590", "int32 overflow", CE, narrow_index, "index-overflow"),
    _fault("pytorch/pytorch/issues/90793", "int32 overflow", CE, partial(narrow_index, read=False), "index-overflow"),
    _fault("tensorflow/tensorflow/issues/32231", "wrong axis", SMOOTH, smoothed_over(-1, 1), "wrong-axis"),
    _fault("keras-team/keras/pull/23437", "wrong axis", SMOOTH, smoothed_over(1, -1), "wrong-axis"),
    _fault("google/bi-tempered-loss/issues/2", "branch", BRANCH, tempered_branches, "raises"),
)
