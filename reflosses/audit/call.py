"""One call of a loss as data, what is expected of it, and the names by which people pass its parts."""

from typing import NamedTuple

import numpy as np

from ..domain import is_loss
from ..losses import BinaryCrossEntropy, CrossEntropy, LabelSmoothing

LOGITS = [
    "z",
    "x",
    "a",
    "logit",
    "logits",
    "input",
    "inputs",
    "inp",
    "y_pred",
    "pred",
    "preds",
    "prediction",
    "predictions",
    "output",
    "outputs",
    "activations",
    "scores",
    "predt",
    "y_hat",
    "yhat",
    "raw",
    "margin",
]
LABELS = [
    "y",
    "t",
    "label",
    "labels",
    "target",
    "targets",
    "targ",
    "y_true",
    "true",
    "truth",
    "classes",
    "gt",
    "onehot",
    "one_hot",
    "dtrain",
    "train_data",
]
OPTIONS = {  # name here -> names in use; those of a loss's parameters stand for themselves
    "class_weight": ("class_weight", "class_weights"),
    "sample_weight": ("sample_weight", "sample_weights", "row_weight"),
    "pos_weight": ("pos_weight",),
    "ignore_index": ("ignore_index", "ignore_class", "ignore_label", "ignore_lb", "pad_id", "padding_idx"),
    "reduction": ("reduction", "reduce"),
    "smoothing": ("label_smoothing", "smoothing", "smooth"),
    "upstream": ("upstream", "grad_output", "grad_outputs", "cotangent", "dout"),
    "alpha": ("alpha",),
    "gamma": ("gamma",),
    "t1": ("t1",),
    "t2": ("t2",),
    "epsilon": ("epsilon",),
    "from_logits": ("from_logits",),
}


def role(name, rows):
    """Return what a parameter of a target is: "logits", "labels", an option, or None."""
    plain = name.lower().lstrip("_")
    if plain in LOGITS:
        return "logits"
    if plain in LABELS:
        return "labels"
    if plain in ("weight", "weights"):
        return "class_weight" if rows else "sample_weight"
    return next((option for option, names in OPTIONS.items() if plain in names), None)


class AnswerError(TypeError):
    """What is wrong with something that a target returns, in one sentence."""


class Call(NamedTuple):
    """Logits, labels, the options that are passed, and the derivative of what follows."""

    logits: np.ndarray
    labels: np.ndarray
    options: dict = {}
    upstream: np.ndarray | None = None


class Answer(NamedTuple):
    """What came back, as NumPy arrays; None for what a target does not return."""

    value: np.ndarray | None
    gradient: np.ndarray | None = None
    hessian: np.ndarray | None = None


def with_options(loss, options):
    """Return the loss that a call with options computes for every row."""
    fields = {k: v for k, v in options.items() if k in loss._fields}
    if "class_weight" in options and isinstance(loss, LabelSmoothing) and isinstance(loss.loss, CrossEntropy):
        fields["loss"] = CrossEntropy(tuple(options["class_weight"]))
    if "pos_weight" in options and isinstance(loss, BinaryCrossEntropy):
        fields["pos_weight"] = float(options["pos_weight"])
    if "class_weight" in fields:
        fields["class_weight"] = tuple(float(x) for x in options["class_weight"])
    made = loss._replace(**fields)
    if "smoothing" in options and isinstance(made, CrossEntropy):
        return LabelSmoothing(made, options["smoothing"])
    return made


def parameters_of(loss, takes):
    """Return the options that pass a loss's own parameters to a target that takes them."""
    found: dict = {}
    for name, x in loss._asdict().items():
        if is_loss(x):
            found.update(parameters_of(x, takes))
        elif name in takes and x is not None:
            found[name] = x
    return found
