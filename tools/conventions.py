"""Measure where the published systems disagree: ``python tools/conventions.py`` updates docs/conventions.md.

Every line asks one question of two or more doors of ``reflosses.compat``, on inputs small enough to
check by hand.  A test compares the page with what this gives.
"""

import re
from pathlib import Path

import numpy as np

from reflosses import CrossEntropy, value
from reflosses.compat import fastai, google, incendio, keras, sparse_lsr, tensorflow, torch

PAGE = Path(__file__).resolve().parent.parent / "docs" / "conventions.md"
BEGIN, END = "<!-- written by tools/conventions.py -->", "<!-- to here -->"

Z, Y, W = [[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]], [0, 2], [1.0, 1.0, 3.0]
ONE_HOT = np.eye(3)[Y]
WRONG = {"y_true": [[1.0]], "y_pred": [[-40.0]], "from_logits": True}
EVEN = {"y_true": [[1.0]], "y_pred": [[0.0]], "from_logits": True}
NEVER = {"y_true": [[1, 0]], "y_pred": [[0.0, 1.0]]}
GAMBLE = np.float32([1, 1, 1, 0])
TEMPERED = [-0.5, 0.1, 2.0], [0.2, 0.5, 0.3]


def cross_entropies():
    """Yield (question, {source: number}) for softmax cross entropies."""
    keras_mean = keras.CategoricalCrossentropy(from_logits=True)
    keras_weighted = keras.CategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
    per_row = np.asarray(W)[Y]
    yield (
        "What a weighted mean divides by",
        {
            "torch, classes: Σ w_y": torch.cross_entropy(Z, Y, W),
            "torch, probabilities: n": torch.cross_entropy(Z, ONE_HOT, W),
            "Keras: n": keras_mean(ONE_HOT, Z, per_row),
            "Keras, `mean_with_sample_weight`": keras_weighted(ONE_HOT, Z, per_row),
        },
    )
    yield (
        "Class weights with smoothing 0.1",
        {
            "torch weights both parts": torch.cross_entropy(Z, Y, W, label_smoothing=0.1),
            "fastai the NLL only": fastai.LabelSmoothingCrossEntropy(0.1, W)(Z, Y),
        },
    )
    ignored = [0, -100]
    yield (
        "Mean when the second row is ignored, smoothing 0.1",
        {
            "torch: it is absent": torch.cross_entropy(Z, ignored, label_smoothing=0.1),
            "fastai: its uniform part stays": fastai.LabelSmoothingCrossEntropy(0.1)(Z, ignored),
        },
    )
    smoothing = {"t1": 1.0, "t2": 1.0, "label_smoothing": 0.3, "variant": "tensorflow"}
    yield (
        "What smoothing 0.3 leaves the true class of three, by the value at its logit 5",
        {
            "uniform, 1 - s + s/C": torch.cross_entropy([[5.0, 0, 0]], [0], label_smoothing=0.3),
            "others (Google), 1 - s": google.bi_tempered_logistic_loss([[5.0, 0, 0]], [0], **smoothing)[0],
        },
    )
    soft = [[0.9, 0.1, 0.0]]
    yield (
        "Smoothing 0.3 of the soft label (0.9, 0.1, 0), by the value at the logit 5 of its first class",
        {
            "uniform": torch.cross_entropy([[5.0, 0, 0]], soft, label_smoothing=0.3),
            "incendio, what nonzero classes can give": incendio.soft_label_cross_entropy_with_logits(
                [[5.0, 0, 0]], soft, 0.3
            ),
        },
    )
    yield (
        "Smoothing 0.1 with 2 classes on axis 1 of (1, 2, 3), by the value at equal logits",
        {
            "C = 2": torch.cross_entropy(np.zeros((1, 2, 3)), np.full((1, 2, 3), 0.5), label_smoothing=0.1),
            "Keras, C = 3, the last axis": keras.categorical_crossentropy(
                np.full((1, 2, 3), 0.5), np.zeros((1, 2, 3)), True, 0.1, axis=1
            )[0, 0],
        },
    )
    yield (
        "Sparse smoothing 0.2 of three classes at the true logit 10",
        {
            "the paper": sparse_lsr.SparseLSRLoss(0.2)([[10.0, 0, 0]], [0]),
            "the repository: the other sign": sparse_lsr.SparseLSRLoss(0.2, "mean", "published_code")(
                [[10.0, 0, 0]], [0]
            ),
        },
    )


def probabilities():
    """Yield the same for losses of probabilities."""
    yield (
        "Label on a class of probability 0",
        {
            "exact": value(CrossEntropy(), [[-np.inf, 0.0]], [0])[0],
            "Keras 3, clipped to 1e-7": keras.binary_crossentropy([[1]], [[0.0]])[0],
            "TensorFlow 2.1, 1e-7 added again": keras.binary_crossentropy([[1]], [[0.0]], variant="tf2.1")[0],
            "incendio: not finite, so 0": incendio.soft_label_cross_entropy(NEVER["y_pred"], NEVER["y_true"]),
        },
    )
    yield (
        "Binary, float32, y = (0, 0, 1, 1), p = (1, 1, 1, 0)",
        {
            "Keras 3": keras.BinaryCrossentropy()([0, 0, 1, 1], GAMBLE),
            "TensorFlow 2.1": keras.BinaryCrossentropy(variant="tf2.1")([0, 0, 1, 1], GAMBLE),
            "Keras 3 in float64": keras.BinaryCrossentropy()([0, 0, 1, 1], GAMBLE.astype(float)),
        },
    )
    yield (
        "A row (1, 3) that does not sum to 1, label on the first class",
        {
            "Keras divides it by its sum": keras.categorical_crossentropy([[1, 0]], [[1.0, 3.0]])[0],
            "incendio takes it as it is": incendio.soft_label_cross_entropy([[1.0, 3.0]], [[1, 0]]),
        },
    )


def focal_losses():
    """Yield the same for focal losses."""
    yield (
        "Focal loss at z = 0, y = 1, all defaults",
        {
            "torchvision, Addons: α = 0.25": torch.sigmoid_focal_loss([0.0], [1.0])[0],
            "Keras: no α unless `apply_class_balancing`": keras.binary_focal_crossentropy(**EVEN)[0],
        },
    )
    yield (
        "α = 0 at z = 0, y = 1",
        {
            "Keras, torchvision: weight 0": torch.sigmoid_focal_loss([0.0], [1.0], alpha=0)[0],
            "Addons: no α": tensorflow.sigmoid_focal_crossentropy(alpha=0, **EVEN)[0],
        },
    )
    yield (
        "Focal loss from the logit -40, y = 1, without α",
        {
            "Addons": tensorflow.sigmoid_focal_crossentropy(alpha=None, **WRONG)[0],
            "Keras, clipped to 1e-7": keras.binary_focal_crossentropy(**WRONG)[0],
        },
    )
    row = {"y_true": [[1.0, 0.0, 0.0, 0.0]], "y_pred": np.zeros((1, 4)), "from_logits": True}
    yield (
        "One row of four logits 0, α = 0.25",
        {
            "Addons sums": tensorflow.sigmoid_focal_crossentropy(**row)[0],
            "Keras averages": keras.binary_focal_crossentropy(apply_class_balancing=True, **row)[0],
        },
    )
    yield (
        "Softmax focal loss, class weight 3, logits (0, 1, 0), label 2",
        {
            "fastai: 3 is in the focus, too": fastai.FocalLoss(2.0, W)([Z[1]], [2]),
            "Keras: α = 3 outside": keras.categorical_focal_crossentropy([ONE_HOT[1]], [Z[1]], W, 2.0, True)[0],
        },
    )


def temperatures():
    """Yield the same for the bi-tempered loss."""
    yield (
        "Bi-tempered loss at t1 = t2 = 1",
        {
            "JAX: KL(y ‖ p)": google.bi_tempered_logistic_loss(*TEMPERED, 1.0, 1.0),
            "TensorFlow: cross entropy": google.bi_tempered_logistic_loss(*TEMPERED, 1.0, 1.0, variant="tensorflow"),
        },
    )
    logits = [[10.0, *np.zeros(99)]]
    for t, row, rows in (
        (1.5, "one logit 10 and 99 zeros", logits),
        (0.5, "the logits (1, 0.5, 0)", [[1.0, 0.5, 0.0]]),
    ):
        yield (
            f"Σ p at t = {t} of {row}",
            {f"{n} rounds": google.tempered_softmax(rows, t, n).sum() for n in (5, 10, 50)},
        )
    yield (
        "Bi-tempered loss, t1 = 0.5, t2 = 1.5, of one logit 10 and 99 zeros, label on a zero",
        {f"{n} rounds": google.sparse_bi_tempered_logistic_loss(logits, [1], 0.5, 1.5, n)[0] for n in (5, 10, 50)},
    )
    sparse = google.sparse_bi_tempered_logistic_loss([[9.0, 0.0]], [0], 0.5, 1.0)[0]
    dense = google.bi_tempered_logistic_loss([[9.0, 0.0]], [0], 0.5, 1.0)[0]
    yield (
        "A confident row, t1 = 0.5, t2 = 1, logits (9, 0)",
        {"sparse": sparse, "dense, 1e-10 inside log_t(y + 1e-10)": dense},
    )


def table():
    """Return the table of disagreements."""
    lines = ["| question | what the sources give |", "|---|---|"]
    for family in cross_entropies, probabilities, focal_losses, temperatures:
        for question, answers in family():
            numbers = "; ".join(f"{source}: **{float(x):.6g}**" for source, x in answers.items())
            lines.append(f"| {question} | {numbers} |".replace("‖", "\\|\\|"))
    return "\n".join(lines)


def main():
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(re.sub(f"(?s){BEGIN}.*{END}", f"{BEGIN}\n{table()}\n{END}", page), encoding="utf-8")


if __name__ == "__main__":
    main()
