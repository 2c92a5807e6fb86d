"""Implementations of the losses that are found on this machine, ours among them: the one list.

Each is a function ``(loss, logits, labels) -> (value, gradient, Hessian diagonal)`` on NumPy arrays,
unreduced; what it does not give is None or left out.  Frameworks are imported where they are used, so
that a table of all of them costs nothing.
"""

from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from typing import NamedTuple

import ml_dtypes
import numpy as np

from ..losses import (
    LOSSES,
    BinaryCrossEntropy,
    BinaryFocal,
    BinaryLabelSmoothing,
    BiTempered,
    BiTemperedBinary,
    CategoricalFocal,
    ClassificationMAE,
    CrossEntropy,
    LabelSmoothing,
    OtherClassesSmoothing,
    SigmoidFocal,
    SoftLabelSmoothing,
    SparseLSR,
)
from ..spelling import parse
from ..version import __version__
from . import formulas, published
from . import frameworks as of
from .boosters import lightgbm, xgboost
from .formulas import entropy_within
from .frameworks import jax, keras, keras_backend, torch

SINGLE = (np.float32,)
WIDE = np.float32, np.float64
DTYPES = np.float16, ml_dtypes.bfloat16, np.float32, np.float64
DISTRIBUTIONS = {"sklearn": "scikit-learn"}  # where it is not called what is imported


class Implementation(NamedTuple):
    """One way in which somebody computes a loss."""

    system: str  # the package it comes from
    name: str
    loss: type
    function: Callable
    expresses: Callable = lambda loss: True  # whether it has the parameters that a loss has
    rows: bool = True  # whether it takes probabilities as labels
    dtypes: tuple = WIDE
    one_hot: bool = False  # whether a line to paste gives it rows for classes,
    line: str = "{target}({z}, {y})"  # and how it calls it
    call: Callable | None = None  # of a ``Call``: what a target does with options and upstream derivatives,
    takes: tuple = ()  # and which options it takes

    @property
    def ours(self):
        return self.system == "reflosses"

    def accepted(self, batch):
        """Return what of a batch has labels that the implementation takes: all, some, or None."""
        return batch if self.rows else batch.hard

    def cases(self, dtypes=DTYPES):
        """Return (loss, dtype) for two settings that it can compute; one in 16 bits, and where it is ours.

        The tests certify ours at every setting.
        """
        losses = [loss for loss in (self.loss(*s) for s in self.loss.settings) if self.expresses(loss)]
        return [(x, t) for t in self.dtypes if t in dtypes for x in losses[: 2 if t in WIDE and not self.ours else 1]]


# Ours ---------------------------------------------------------------------------------------


def kernels(loss, logits, labels):
    from ..api import value_and_gradient

    return value_and_gradient(loss, logits, labels, normalized=False)


# The list -----------------------------------------------------------------------------------


def entropy(loss):
    """Whether a loss is a cross entropy, perhaps of smoothed labels."""
    return isinstance(entropy_within(loss), (CrossEntropy, BinaryCrossEntropy))


def unweighted(loss):
    """Whether a loss is a cross entropy without weights, perhaps of smoothed labels."""
    return entropy(loss) and entropy_within(loss) in (CrossEntropy(), BinaryCrossEntropy())


def heavy_tailed(loss):
    """Whether the published normaliser of a bi-tempered loss is a fixed point, not bisection."""
    return loss.t2 >= 1


IMPLEMENTATIONS = (
    *(Implementation("reflosses", "kernels", loss, kernels, dtypes=DTYPES) for loss in LOSSES),
    Implementation("numpy", "log(softmax)", CrossEntropy, formulas.log_of_softmax),
    Implementation("numpy", "log-sum-exp", CrossEntropy, formulas.log_sum_exp),
    Implementation("scipy", "log_softmax", CrossEntropy, formulas.scipy_log_softmax),
    Implementation("sklearn", "HalfMultinomialLoss", CrossEntropy, formulas.half_multinomial, unweighted, rows=False),
    Implementation("sklearn", "log_loss", CrossEntropy, formulas.log_loss, unweighted, rows=False),
    Implementation("lightgbm", "multiclass", CrossEntropy, lightgbm("multiclass"), unweighted, False, SINGLE),
    Implementation("xgboost", "multi:softprob", CrossEntropy, xgboost("multi:softprob"), unweighted, False, SINGLE),
    Implementation("torch", "cross_entropy", CrossEntropy, torch(of.torch_cross_entropy)),
    Implementation("optax", "softmax_cross_entropy", CrossEntropy, jax(of.optax_softmax, one_hot=True), unweighted),
    Implementation(
        "optax", "…_with_integer_labels", CrossEntropy, jax(of.optax_softmax_integer), unweighted, rows=False
    ),
    Implementation("keras", "sparse_categorical", CrossEntropy, keras(of.keras_sparse), unweighted, rows=False),
    Implementation("keras", "categorical", CrossEntropy, keras(of.keras_categorical, one_hot=True), unweighted),
    Implementation(
        "keras", "categorical of p", CrossEntropy, keras(of.keras_categorical_of_p, one_hot=True), unweighted
    ),
    Implementation("scipy", "log_softmax", LabelSmoothing, formulas.scipy_log_softmax, entropy),
    Implementation("torch", "cross_entropy", LabelSmoothing, torch(of.torch_cross_entropy), entropy),
    Implementation("optax", "softmax_cross_entropy", LabelSmoothing, jax(of.optax_softmax, one_hot=True), unweighted),
    Implementation("keras", "categorical", LabelSmoothing, keras(of.keras_categorical, one_hot=True), unweighted),
    Implementation(
        "fastai", "LabelSmoothingCrossEntropy", LabelSmoothing, torch(published.fastai_smoothing), unweighted, False
    ),
    Implementation("sparse_lsr", "LSRLoss", LabelSmoothing, torch(published.lsr), unweighted, False),
    Implementation("scipy", "log_softmax", OtherClassesSmoothing, formulas.scipy_log_softmax, entropy),
    Implementation("scipy", "log_softmax", SoftLabelSmoothing, formulas.scipy_log_softmax, entropy),
    Implementation(
        "incendio",
        "soft_label_cross_entropy_with_logits",
        SoftLabelSmoothing,
        torch(published.incendio_soft, one_hot=True),
        unweighted,
    ),
    Implementation("scipy", "softmax", CategoricalFocal, formulas.categorical_focal),
    Implementation("keras", "categorical_focal", CategoricalFocal, keras(of.keras_categorical_focal, one_hot=True)),
    Implementation(
        "fastai", "FocalLoss", CategoricalFocal, torch(published.fastai_focal), lambda x: x.alpha is None, False
    ),
    Implementation("scipy", "softmax", ClassificationMAE, formulas.absolute_error),
    Implementation(
        "incendio",
        "classification_mae_with_logits",
        ClassificationMAE,
        torch(published.incendio_absolute, one_hot=True),
    ),
    Implementation("scipy", "softmax", SparseLSR, formulas.sparse_smoothing),
    Implementation("sparse_lsr", "SparseLSRLoss", SparseLSR, torch(published.sparse_lsr), rows=False),
    Implementation(
        "google", "bi_tempered_logistic_loss", BiTempered, jax(published.bi_tempered, one_hot=True), heavy_tailed
    ),
    Implementation(
        "google", "bi_tempered_binary_logistic_loss", BiTemperedBinary, jax(published.bi_tempered_binary), heavy_tailed
    ),
    Implementation("numpy", "log(1/(1+exp))", BinaryCrossEntropy, formulas.log_of_expit),
    Implementation("numpy", "logaddexp", BinaryCrossEntropy, formulas.logaddexp, unweighted),
    Implementation("scipy", "xlogy", BinaryCrossEntropy, formulas.xlogy),
    Implementation("scipy", "log_expit", BinaryCrossEntropy, formulas.log_expit),
    Implementation("sklearn", "HalfBinomialLoss", BinaryCrossEntropy, formulas.half_binomial, unweighted),
    Implementation("lightgbm", "binary", BinaryCrossEntropy, lightgbm("binary"), unweighted, False, SINGLE),
    Implementation(
        "lightgbm", "cross_entropy", BinaryCrossEntropy, lightgbm("cross_entropy"), unweighted, dtypes=SINGLE
    ),
    Implementation(
        "xgboost", "binary:logistic", BinaryCrossEntropy, xgboost("binary:logistic"), unweighted, dtypes=SINGLE
    ),
    Implementation(
        "torch", "binary_cross_entropy_with_logits", BinaryCrossEntropy, torch(of.torch_binary_cross_entropy)
    ),
    Implementation("optax", "sigmoid_binary_cross_entropy", BinaryCrossEntropy, jax(of.optax_sigmoid), unweighted),
    Implementation("keras", "binary", BinaryCrossEntropy, keras(of.keras_binary), unweighted),
    Implementation("keras", "binary of p", BinaryCrossEntropy, keras(of.keras_binary_of_p), unweighted),
    Implementation("keras", "binary", BinaryLabelSmoothing, keras(of.keras_binary), unweighted),
    Implementation("numpy", "(1 - p)^γ log p", SigmoidFocal, formulas.focal_of_p),
    Implementation("scipy", "log_expit", SigmoidFocal, formulas.focal_of_log_expit),
    Implementation("torch", "torchvision's sigmoid_focal_loss", SigmoidFocal, torch(published.torchvision_focal)),
    Implementation("optax", "sigmoid_focal_loss", SigmoidFocal, jax(of.optax_focal)),
    Implementation("keras", "binary_focal", SigmoidFocal, keras(of.keras_focal)),
    Implementation("torch", "torchvision's sigmoid_focal_loss", BinaryFocal, torch(published.torchvision_focal)),
    Implementation("optax", "sigmoid_focal_loss", BinaryFocal, jax(of.optax_focal)),
    Implementation("keras", "binary_focal", BinaryFocal, keras(of.keras_focal)),
)


def run(name, loss, logits, labels):
    """Return value and gradient of an implementation named as in the audit's table.

    >>> value, gradient = run("scipy log_expit", "binary_cross_entropy", np.float32([-2]), np.float32([0]))
    >>> print(value, gradient)
    [0.126928] [0.11920292]
    """
    loss, logits, labels = parse(loss), np.asarray(logits), np.asarray(labels)
    for implementation in IMPLEMENTATIONS:
        if f"{implementation.system} {implementation.name}" == name and implementation.loss is type(loss):
            return implementation.function(loss, logits, labels)
    raise ValueError(f"there is no implementation {name!r} of {type(loss).__name__}")


FORMULAS = {"fastai": "torch", "google": "jax", "incendio": "torch", "sparse_lsr": "torch"}  # and what runs them


def version(system):
    """Return the version of an installed system, or None; nothing is imported, which takes seconds.

    Of formulas that are stated in ``published``, the version of what they are computed with.
    """
    if system == __package__.partition(".")[0]:
        return __version__
    if system in FORMULAS:
        found = version(FORMULAS[system])
        return found and f"formulas in {FORMULAS[system]} {found}"
    if find_spec(system) is None:
        return None
    found = metadata.version(DISTRIBUTIONS.get(system, system))
    if system != "keras":
        return found
    backend = keras_backend()
    return backend and f"{found} on {backend}"
