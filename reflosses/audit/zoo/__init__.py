"""Faults that shipped, as the smallest changes to correct implementations, in plain NumPy.

Nothing here comes from the diagnosis: each implementation is written as its authors might have written
it.  ``Fault.names`` are the findings that name it correctly.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from ...spelling import parse
from .focal import (
    Remembers,
    focus_of_mean,
    in_probability,
    pow_rule,
    smoothed_everywhere,
    swaps,
    times_gamma,
    value_without_focus,
)
from .ignored import gathers_first, ignored, smooths_ignored, writes_out_of_bounds
from .labels import (
    any_shape,
    counts_from_one,
    first_upstream,
    halved_in_place,
    no_rows_upstream,
    off_target,
    smoothing_of,
    unsigned,
    wraps,
    zero_gradient,
)
from .parts import focal, of_rows, rows, softmax
from .saturation import (
    clips,
    epsilon_in_gradient,
    half_tiny,
    log_of_softmax,
    loses_normaliser,
    masks_first,
    minus_one,
    no_shift,
    tempered_branches,
    through_half,
    zero_times_infinity,
)
from .shapes import as_if_contiguous, curvature, narrow_index, one_channel, padded, smoothed_over, wide

GIT = "https://github.com/"


class Fault(NamedTuple):
    """A fault: where it shipped, what it was, and the implementation that has it."""

    link: str
    kind: str
    loss: tuple
    function: Callable
    names: tuple


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
