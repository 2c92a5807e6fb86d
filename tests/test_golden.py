"""Numbers that the published systems gave, through the doors of ``reflosses.compat``.

A record is evidence of what a system returns, not of what is right.  Each is reproduced within what
the arithmetic of its source explains; where that is more than rounding, the reason stands below, and
the last tests show with the oracle that it is the source that is off.
"""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from reflosses import BinaryCrossEntropy, CrossEntropy, LabelSmoothing, SigmoidFocal, value_and_gradient
from reflosses.compat import fastai, google, incendio, keras, sparse_lsr, tensorflow, torch
from reflosses.oracle import certify

DATA = Path(__file__).parent / "data" / "golden"
SINGLE = 2.0**-24  # what one rounding to float32 may change, relatively
SYSTEMS = {
    "fastai": (fastai, 216),
    "google-bi-tempered-jax": (google, 214),
    "incendio": (incendio, 180),
    "keras-3": (keras, 1440),
    "sparse-lsr-repository": (sparse_lsr, 72),
    "torch": (torch, 276),
}


def records(system):
    """Return the records of one system."""
    with gzip.open(DATA / f"{system}.json.gz", "rt", encoding="utf-8") as file:
        return json.load(file)["records"]


def inputs_of(record):
    """Return the inputs as arrays of the dtype that the source computed in."""
    arrays = [np.asarray(x) for x in record["inputs"].values()]
    return [x.astype(record["dtype"]) if x.dtype.kind == "f" else x for x in arrays]


def smoothed_in_single(record, inputs, parameters):
    """Return inputs and parameters with labels smoothed as the source does it: partly in float32.

    In JAX, C/(C - 1) of integers is float32; incendio counts positive entries in float32.
    """
    if parameters.get("label_smoothing") and record["system"] == "google-bi-tempered-jax":
        classes, s = np.float32(inputs[1].shape[-1]), parameters["label_smoothing"]
        keep = 1 - classes / (classes - 1) * np.float32(s)
        labels = float(keep) * inputs[1] + s / float(classes - 1)
        return [inputs[0], labels], parameters | {"label_smoothing": 0.0}
    if parameters.get("alpha") and record["function"].startswith("soft_label"):
        share = 1 / np.sum(inputs[1] > 0, axis=-1, keepdims=True, dtype=np.float32)
        rest = inputs[1] - (np.float32(parameters["alpha"]) * share).astype(record["dtype"])
        return [inputs[0], np.maximum(rest, 0) + parameters["alpha"] / rest.shape[-1]], parameters | {"alpha": 0.0}
    return inputs, parameters


def call(record):
    """Return (value, gradient) of a record's call of our door."""
    door = getattr(SYSTEMS[record["system"]][0], record["function"])
    inputs, parameters = smoothed_in_single(record, inputs_of(record), dict(record["params"]))
    if not isinstance(door, type):
        return door(*inputs, **parameters), door.gradient(*inputs, **parameters)
    if door is sparse_lsr.LSRLoss or door is sparse_lsr.SparseLSRLoss:
        parameters["variant"] = "published_code"
    weight = [parameters.pop("sample_weight")] if "sample_weight" in parameters else []
    loss = door(**parameters)
    return loss(*inputs, *weight), loss.gradient(*inputs, *weight)


def tolerance(record):
    """Return the (relative, absolute) error that the arithmetic of the source explains."""
    function, parameters = record["function"], record["params"]
    predictions = np.asarray(record["inputs"].get("y_pred", next(iter(record["inputs"].values()))))
    if record["dtype"] == "float32":
        if function == "BinaryFocalCrossentropy" and parameters["from_logits"]:
            return 4 * SINGLE * np.exp(np.abs(predictions).max()), 0.0  # 1 - p is rounded as if it were 1
        # logarithms of probabilities are as uncertain as the logits that they are differences of
        return 8 * SINGLE, 2 * SINGLE * np.ptp(predictions)
    if function.startswith("Binary"):
        return (predictions.shape[-1] + 2) * SINGLE, 0.0  # means are taken in float32
    if function == "smooth_soft_labels":
        return 2 * SINGLE, 0.0  # α/nnz is float32
    t = parameters.get("t2", parameters.get("t", 1.0))
    if t < 1:  # the bracket of the bisection is float32: a difference, by 1 - t
        return 1e-12, 4 * SINGLE / (1 - t)
    return 1e-12, 1e-15


@pytest.mark.parametrize("system", SYSTEMS)
def test_records(system):
    found = records(system)
    assert len(found) == SYSTEMS[system][1]
    for record in found:
        relative, absolute = tolerance(record)
        for computed, recorded in zip(call(record), (record["value"], record["gradient"]), strict=True):
            if recorded is not None:
                shape = np.shape(recorded)  # the (n, 1) of sparse_lsr was flattened
                np.testing.assert_allclose(
                    computed.reshape(shape), recorded, rtol=relative, atol=absolute, err_msg=str(record)
                )


def test_all_records_are_here():
    assert sum(count for _, count in SYSTEMS.values()) == 2398
    assert {path.name.removesuffix(".json.gz") for path in DATA.iterdir()} == set(SYSTEMS)


# Records that are wrong -------------------------------------------------------------------------


def off(system, function, dtype, certified, **parameters):
    """Return the largest relative error, in units of the dtype's rounding, of records against the oracle."""
    worst = 0.0
    for record in records(system):
        if (record["function"], record["dtype"]) == (function, dtype) and parameters.items() <= record[
            "params"
        ].items():
            true = np.array(certified(record, *inputs_of(record)))
            worst = max(worst, np.max(np.abs(record["value"] - true) / np.abs(true)) * 2 / np.finfo(dtype).eps)
    return worst


def mean_of_logits(loss):
    """Return what certifies the mean over the last axis of a loss of single logits."""

    def certified(record, y, z):
        rows = np.array([[float(certify(loss, *pair)[0]) for pair in zip(*row, strict=True)] for row in zip(z, y)])
        return rows.mean(axis=-1)

    return certified


def test_keras_takes_means_of_float64_in_float32():
    wrong = off(
        "keras-3", "BinaryCrossentropy", "float64", mean_of_logits(BinaryCrossEntropy()),
        from_logits=True, label_smoothing=0.0, reduction=None, sample_weight=None,
    )  # fmt: skip
    assert 1e8 < wrong < 2e9


def test_keras_focal_loss_forms_1_minus_p_in_float32():
    wrong = off(
        "keras-3", "BinaryFocalCrossentropy", "float32", mean_of_logits(SigmoidFocal(2.0, None)),
        from_logits=True, gamma=2.0, apply_class_balancing=False, reduction=None,
    )  # fmt: skip
    assert wrong > 1000


def test_incendio_smooths_float64_labels_in_float32():
    def certified(record, z, y):
        labels = incendio.smooth_soft_labels(y, record["params"]["alpha"])
        return [float(certify(CrossEntropy(), *pair)[0]) for pair in zip(z, labels, strict=True)]

    name = "soft_label_cross_entropy_with_logits"
    assert off("incendio", name, "float64", certified, alpha=0.35, reduction="none") > 1e7
    assert off("incendio", name, "float64", certified, alpha=0.0, reduction="none") < 32


def test_the_lsr_repository_smooths_float64_labels_in_float32():
    def certified(record, z, y):
        loss = LabelSmoothing(CrossEntropy(), record["params"]["smoothing"])
        return [float(certify(loss, *pair)[0]) for pair in zip(z, y, strict=True)]

    assert off("sparse-lsr-repository", "LSRLoss", "float64", certified, smoothing=0.1) > 1e7
    assert off("sparse-lsr-repository", "LSRLoss", "float64", certified, smoothing=0.0) < 32


# Numbers that the sources print ------------------------------------------------------------------

LABELS = np.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1], [0.2, 0.8, 0]])
ACTIVATIONS = np.array([[-0.5, 0.1, 2], [0.1, 1.5, -5], [4, -3, -6]])


@pytest.mark.parametrize(
    "labels, options, printed, error",
    [
        (LABELS, {"t1": 0.5, "t2": 1.5}, [0.02301914, 0.18972909, 0.93874922], 1e-4),
        (LABELS, {"t1": 0.5, "t2": 0.8, "num_iters": 20}, [0.21646356, 0.41836615, 1.33997854], 1e-4),
        (np.eye(3), {"t1": 0.5, "t2": 1.5, "label_smoothing": 0.1}, [0.76652711, 0.08627685, 1.35443510], 1e-5),
    ],
)
def test_google_prints_rows(labels, options, printed, error):
    assert google.bi_tempered_logistic_loss(ACTIVATIONS, labels, **options) == pytest.approx(printed, abs=error)


@pytest.mark.parametrize(
    "t1, t2, variant, printed",
    [
        (1.0, 1.0, "jax", 0.628705),
        (1.0, 1.0, "tensorflow", 1.6583576),
        (0.9, 1.1, "jax", 0.45677936),
        (0.8, 1.2, "jax", 0.34298314),
        (0.7, 1.3, "jax", 0.26295574),
    ],
)
def test_google_prints_temperatures(t1, t2, variant, printed):
    loss = google.bi_tempered_logistic_loss([-0.5, 0.1, 2], [0.2, 0.5, 0.3], t1, t2, variant=variant)
    assert loss == pytest.approx(printed, abs=1e-6)


def test_google_prints_binary():
    loss = google.bi_tempered_binary_logistic_loss(np.zeros(3), [1.0, 0.0, 1.0], 1.0, 1.0)
    assert loss == pytest.approx(0.69314718, abs=1e-8)


def test_google_prints_probabilities():
    printed = [
        [0.3205458, 0.32714278, 0.3523402],
        [0.3430056, 0.36491093, 0.29220778],
        [0.41369352, 0.30534995, 0.28299212],
    ]
    assert google.tempered_softmax(ACTIVATIONS, 4.0) == pytest.approx(np.array(printed), abs=1e-6)
    assert google.tempered_sigmoid([0, 3, 6], 4.0) == pytest.approx([0.5, 0.58516014, 0.6421035], abs=1e-6)


Y_SMOOTH = np.array([[0.9, 0.1, 0, 0, 0], [0.35, 0.65, 0, 0, 0], [0, 0.1, 0.2, 0.7, 0]])
Y_OHE = np.eye(5)[[0, 1, 3]]
LOGITS = np.array([[6.0, 1, 3, 1, 2], [5, 8, 1, 1, 2], [1, 3, 4, 2, 0]])


def test_incendio_prints_labels():
    printed = [[0.87, 0.07, 0.02, 0.02, 0.02], [0.32, 0.62, 0.02, 0.02, 0.02], [0.02, 0.0867, 0.1867, 0.6867, 0.02]]
    assert incendio.smooth_soft_labels(Y_SMOOTH, 0.1) == pytest.approx(np.array(printed), abs=5e-5)


@pytest.mark.parametrize("of", ["logits", "probabilities"])
@pytest.mark.parametrize(
    "labels, alpha, rows, total, mean",
    [
        (Y_OHE, 0.0, [0.0784, 0.0527, 2.4519], 2.5830, 0.8610),
        (Y_SMOOTH, 0.0, [0.5784, 1.1027, 1.9519], 3.6330, 1.2110),
        (Y_SMOOTH, 0.2, [0.7584, 1.7227, 2.1519], 4.6330, 1.5443),
    ],
)
def test_incendio_prints_cross_entropies(of, labels, alpha, rows, total, mean):
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    loss = incendio.soft_label_cross_entropy if of == "probabilities" else incendio.soft_label_cross_entropy_with_logits
    predictions = p if of == "probabilities" else LOGITS
    for reduction, printed in (("none", rows), ("sum", total), ("mean", mean)):
        assert loss(predictions, labels, alpha, reduction) == pytest.approx(printed, abs=5.1e-5)


def test_incendio_prints_mae():
    for reduction, printed in (("none", [0.1509, 0.1026, 1.8277]), ("sum", 2.0812), ("mean", 0.6937)):
        assert incendio.classification_mae_with_logits(LOGITS, Y_OHE, reduction) == pytest.approx(printed, abs=5e-5)


def test_tensorflow_prints_binary():
    p = np.array([1, 1, 1, 0], np.float32)
    assert keras.BinaryCrossentropy(variant="tf2.1")([0, 0, 1, 1], p) == pytest.approx(11.522857, abs=1e-6)


def test_tensorflow_prints_categorical():
    p, y = np.float32([[0.05, 0.95, 0], [0.1, 0.8, 0.1]]), [[0, 1, 0], [0, 0, 1]]
    loss = keras.CategoricalCrossentropy
    assert loss(reduction="none")(y, p) == pytest.approx([0.0513, 2.303], abs=5e-4)
    assert loss()(y, p) == loss(reduction="auto")(y, p) == pytest.approx(1.177, abs=5e-4)
    assert loss()(y, p, sample_weight=[0.3, 0.7]) == pytest.approx(0.814, abs=5e-4)
    assert loss(reduction="sum")(y, p) == pytest.approx(2.354, abs=5e-4)
    for variant in keras.VARIANTS:
        sparse = keras.SparseCategoricalCrossentropy(reduction="none", variant=variant)
        assert sparse([1, 2], p) == pytest.approx([0.0513, 2.303], abs=5e-4)


def test_addons_prints_focal():
    p = np.float32([[0.97], [0.91], [0.03]])
    printed = [6.8532745e-06, 1.9097870e-04, 2.0559824e-05]
    rounding = 2 * 2 * SINGLE / 0.03  # of 1 - p_t, twice, and squared
    assert tensorflow.sigmoid_focal_crossentropy([[1], [1], [0]], p) == pytest.approx(printed, rel=rounding)


def test_smoothing_prints():
    labels = google.tempered_softmax([[3.3322, 0, 0]], 1.0)
    assert labels == pytest.approx(np.array([[0.9333, 0.0333, 0.0333]]), abs=5e-5)
    _, gradient = value_and_gradient(LabelSmoothing(CrossEntropy(), 0.1), np.array([[3.3322, 0.0, 0.0]]), [0])
    assert np.abs(gradient).max() < 1e-6
    gradient = torch.cross_entropy.gradient(1000 * np.eye(3), [1, 1, 1], label_smoothing=0.1, reduction="sum")
    assert np.abs(gradient).max() <= 1
