"""Recorded outputs of the published systems, expressed by our verbs.

A record is evidence of what a system returns, not of what is right, so each system has the
tolerance that its own arithmetic explains.  Records of losses that are not in the library yet
(focal losses of rows, sparse label smoothing with the published sign, probabilities as inputs)
are counted below and wait for those losses.
"""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from reflosses import BinaryCrossEntropy, CrossEntropy, LabelSmoothing, SigmoidFocal, value, value_and_gradient

DATA = Path(__file__).parent / "data"
IGNORED = -100


def records(system):
    """Return the records of one system."""
    with gzip.open(DATA / f"golden-{system}.json.gz", "rt", encoding="utf-8") as file:
        return json.load(file)["records"]


class Reduced:
    """Rows reduced by one denominator: their values, and the gradient of what remains."""

    def __init__(self, loss, logits, labels, reduction, weight=None, denominator=None):
        if reduction in ("none", None, "sum"):
            scale = 1.0
        else:
            scale = 1.0 / (len(logits) if denominator is None else denominator)
        rows, self.gradient = value_and_gradient(loss, logits, labels, weight=weight, upstream=scale, normalized=False)
        self.value = rows if reduction in ("none", None) else scale * rows.sum()


def torch_cross_entropy(z, y, weight, label_smoothing, reduction, ignore_index=IGNORED):
    loss = LabelSmoothing(CrossEntropy(weight), label_smoothing)
    if y.ndim == 2:
        return Reduced(loss, z, y, reduction)
    counts = y != ignore_index
    y = np.where(counts, y, 0)
    weights = counts * (1.0 if weight is None else np.asarray(weight)[y])
    return Reduced(loss, z, y, reduction, weight=counts, denominator=weights.sum())


def torch_binary(z, y, pos_weight, reduction):
    return Reduced(BinaryCrossEntropy(1.0 if pos_weight is None else pos_weight), z, y, reduction)


class FastAI:
    """(1 - ε) NLL, whose mean divides by Σ w_y, plus ε/C of the unweighted Σ -log p."""

    def __init__(self, z, y, eps, weight, reduction):
        total = len(y) if weight is None else np.asarray(weight)[y].sum()
        nll = Reduced(CrossEntropy(weight), z, y, reduction, denominator=total)
        uniform = Reduced(CrossEntropy(), z, np.full(z.shape, 1 / z.shape[1]), reduction)
        self.value = (1 - eps) * nll.value + eps * uniform.value
        self.gradient = (1 - eps) * nll.gradient + eps * uniform.gradient


def sparse_lsr(z, y, smoothing, reduction):
    return Reduced(LabelSmoothing(CrossEntropy(), smoothing), z, y, reduction)


def keras_rows(loss, z, y, reduction, sample_weight=None):
    denominator = None
    if reduction == "mean_with_sample_weight" and sample_weight is not None:
        denominator = np.sum(sample_weight)
    return Reduced(loss, z, y, reduction, weight=sample_weight, denominator=denominator)


class KerasBinary:
    """A loss of single logits averaged over the last axis, then reduced as rows are."""

    slack = 0.0

    def __init__(self, loss, z, y, reduction, sample_weight=None):
        rows = value(loss, z, y).mean(axis=-1)
        weight = np.ones(len(rows)) if sample_weight is None else np.asarray(sample_weight)
        if reduction is None:
            self.value = weight * rows
        else:
            total = {"sum": 1.0, "sum_over_batch_size": len(rows), "mean_with_sample_weight": weight.sum()}
            self.value = (weight * rows).sum() / total[reduction]
        self.gradient = None


def keras(function, z, y, reduction, from_logits, label_smoothing=0.0, sample_weight=None, **parameters):
    if not from_logits or function == "CategoricalFocalCrossentropy":
        return None
    if function == "BinaryCrossentropy":
        y = y * (1 - label_smoothing) + label_smoothing / 2
        return KerasBinary(BinaryCrossEntropy(), z, y, reduction, sample_weight)
    if function == "BinaryFocalCrossentropy":
        alpha = parameters["alpha"] if parameters["apply_class_balancing"] else None
        result = KerasBinary(SigmoidFocal(parameters["gamma"], alpha), z, y, reduction)
        if z.dtype == np.float32:  # 1 - p is off by up to 2^-24 there, and its logarithm by 2^-24 / (1 - p)
            result.slack = 2.0**-24 * np.exp(np.abs(z).max()) * (z.shape[0] if reduction == "sum" else 1)
        return result
    if function == "SparseCategoricalCrossentropy":
        return keras_rows(CrossEntropy(), z, y, reduction)
    return keras_rows(LabelSmoothing(CrossEntropy(), label_smoothing), z, y, reduction, sample_weight)


def ours(record):
    """Return what our verbs make of a record, or None if its loss is not in the library."""
    inputs = [np.asarray(x) for x in record["inputs"].values()]
    parameters, function = record["params"], record["function"]
    if record["system"] == "keras-3":
        y, z = inputs
        return keras(function, z.astype(record["dtype"]), y, **parameters)
    z, y = inputs
    z = z.astype(record["dtype"])
    adapters = {
        "cross_entropy": torch_cross_entropy,
        "binary_cross_entropy_with_logits": torch_binary,
        "LabelSmoothingCrossEntropy": FastAI,
        "LSRLoss": sparse_lsr,
    }
    return adapters[function](z, y, **parameters) if function in adapters else None


# How many records a system has, how many of them are covered, and the relative error that its own
# arithmetic explains, in float64 and in float32.
SYSTEMS = [
    ("torch", 276, 276, 1e-12, 2e-6),
    ("fastai", 216, 216, 1e-12, 2e-6),
    ("sparse-lsr-repository", 72, 36, 5e-8, 2e-6),  # it smooths labels in float32
    ("keras-3", 1440, 624, 3e-7, 2e-6),  # Keras takes means of float64 in float32
]


@pytest.mark.parametrize("system, total, covered, wide, narrow", SYSTEMS)
def test_records(system, total, covered, wide, narrow):
    count = 0
    found = records(system)
    for record in found:
        result = ours(record)
        if result is None:
            continue
        count += 1
        tolerance = (wide if record["dtype"] == "float64" else narrow) + getattr(result, "slack", 0.0)
        for computed, recorded in ((result.value, record["value"]), (result.gradient, record["gradient"])):
            if recorded is not None and computed is not None:
                np.testing.assert_allclose(computed, recorded, rtol=tolerance, atol=tolerance, err_msg=str(record))
    assert (len(found), count) == (total, covered)


# Numbers that the sources print (to the digits that they print)

LABELS = np.array([[0.9, 0.1, 0, 0, 0], [0.35, 0.65, 0, 0, 0], [0, 0.1, 0.2, 0.7, 0]])
LOGITS = np.array([[6.0, 1, 3, 1, 2], [5, 8, 1, 1, 2], [1, 3, 4, 2, 0]])


@pytest.mark.parametrize(
    "labels, printed, total, mean",
    [([0, 1, 3], [0.0784, 0.0527, 2.4519], 2.5830, 0.8610), (LABELS, [0.5784, 1.1027, 1.9519], 3.6330, 1.2110)],
)
def test_incendio_prints(labels, printed, total, mean):
    assert value(CrossEntropy(), LOGITS, labels) == pytest.approx(printed, abs=5e-5)
    assert value(CrossEntropy(), LOGITS, labels, reduction="sum") == pytest.approx(total, abs=5e-5)
    assert value(CrossEntropy(), LOGITS, labels, reduction="mean") == pytest.approx(mean, abs=5e-5)


def test_tensorflow_prints_rows_of_cross_entropy():
    logits = np.log([[0.05, 0.95, 1e-300], [0.1, 0.8, 0.1]])
    assert value(CrossEntropy(), logits, [1, 2]) == pytest.approx([0.0513, 2.303], abs=5e-4)
    weighted = value(CrossEntropy(), logits, [1, 2], weight=[0.3, 0.7], reduction="mean")
    assert weighted == pytest.approx(0.814, abs=5e-4)


def test_addons_prints_focal():
    p = np.array([0.97, 0.91, 0.03])
    printed = [6.8532745e-06, 1.9097870e-04, 2.0559824e-05]
    assert value(SigmoidFocal(2.0, 0.25), np.log(p / (1 - p)), [1, 1, 0]) == pytest.approx(printed, rel=1e-5)


def test_the_gradient_of_smoothing_vanishes_at_the_smoothed_label():
    z = np.array([[3.3322, 0.0, 0.0]])
    _, gradient = value_and_gradient(LabelSmoothing(CrossEntropy(), 0.1), z, [0])
    assert np.abs(gradient).max() < 1e-6
