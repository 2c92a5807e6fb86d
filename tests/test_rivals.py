"""What is audited is what others compute: boosters' gradients are read to the last bit, formulas are the published."""

import importlib.util

import numpy as np
import pytest

from reflosses import (
    BiTempered,
    BiTemperedBinary,
    CategoricalFocal,
    ClassificationMAE,
    CrossEntropy,
    LabelSmoothing,
    SigmoidFocal,
    SoftLabelSmoothing,
    SparseLSR,
)
from reflosses.audit import boosters
from reflosses.audit.formulas import as_rows
from reflosses.audit.judge import judge
from reflosses.audit.rivals import FORMULAS, IMPLEMENTATIONS, version
from reflosses.audit.truth import batches
from reflosses.compat import fastai, google, incendio, sparse_lsr
from reflosses.compat import torch as torch_door

RANDOM = np.random.default_rng(0)
Z, Y = 2 * RANDOM.standard_normal((9, 4)), np.arange(9) % 4
SOFT = RANDOM.dirichlet(np.ones(4), 9)

# Boosters -------------------------------------------------------------------------------------


def scattered():
    """Return float32 numbers of all sizes with all their digits, exact 0 among them."""
    exponents = np.array([0, -1, -3, -10, -24, -30, -31, -60, -100, -110, -115])
    return np.concatenate([RANDOM.uniform(1, 2, 11) * 2.0**exponents, [0.0]]).astype(np.float32)


@pytest.mark.parametrize("booster, objective", [("lightgbm", "regression"), ("xgboost", "reg:squarederror")])
def test_what_is_read_is_what_the_objective_computed(booster, objective):
    """Of (z - y)²/2 all is known: the gradient is z - y, the Hessian 1."""
    pytest.importorskip(booster)
    z = np.concatenate([scattered(), -scattered()])
    value, gradient, hessian = getattr(boosters, booster)(objective)(None, z, np.zeros_like(z))
    assert value is None and gradient.dtype == hessian.dtype == np.float32
    kept = np.abs(z) > 2.0**-97 if booster == "xgboost" else np.ones(len(z), bool)  # beyond, its leaf is subnormal
    assert gradient[kept].tolist() == z[kept].tolist() and hessian.tolist() == [1.0] * len(z)


@pytest.mark.parametrize("booster, objective", [("lightgbm", "cross_entropy"), ("xgboost", "binary:logistic")])
def test_small_hessians_are_read_too(booster, objective):
    """At y = σ(z) the gradient is 0, which hides nothing; in the tail both are e^-|z|."""
    pytest.importorskip(booster)
    z = np.float32([0, -5, -20, -30, -60, -70])
    read = getattr(boosters, booster)(objective)(None, z, np.float32([0.5, 0, 0, 0, 0, 0]))
    p = 1 / (1 + np.exp(-z.astype(np.float64)))
    gradient, hessian = np.append(0, p[1:]), p * (1 - p)
    assert read[1] == pytest.approx(gradient, rel=3e-7, abs=0)
    floor = 1e-16 if booster == "xgboost" else 0.0  # XGBoost's own
    assert read[2] == pytest.approx(np.maximum(hessian, floor), rel=3e-7, abs=0)


@pytest.mark.parametrize("booster, objective", [("lightgbm", "multiclass"), ("xgboost", "multi:softprob")])
def test_the_classes_of_a_row_are_not_mixed_up(booster, objective):
    pytest.importorskip(booster)
    z = Z.astype(np.float32)
    _, gradient, hessian = getattr(boosters, booster)(objective)(None, z, Y)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    assert gradient == pytest.approx(p - np.eye(4)[Y], abs=3e-7)
    factor = {"lightgbm": 4 / 3, "xgboost": 2.0}[booster]  # theirs: 1 would be the second derivative
    assert hessian == pytest.approx(factor * p * (1 - p), rel=1e-5)


def test_a_booster_without_soft_labels_gets_the_hard_ones():
    binary = next(x for x in IMPLEMENTATIONS if x.name == "binary" and x.system == "lightgbm")
    batch, digits = batches(binary.loss(), np.float32)
    part = binary.accepted(batch)
    assert set(part.labels) == {0, 1} and 100 < len(part.labels) < len(batch.labels) == len(batch.groups)
    assert len(part.logits) == len(part.labels) == len(part.groups) == len(part.ordinary)
    assert binary.accepted(digits) is digits
    rows = next(x for x in IMPLEMENTATIONS if x.name == "multiclass")
    assert [rows.accepted(x) for x in batches(rows.loss(), np.float32) if x.soft].count(None) > 3


# Formulas -------------------------------------------------------------------------------------


def rival(system, loss):
    found = [x for x in IMPLEMENTATIONS if x.system == system and x.loss is type(loss) and x.expresses(loss)]
    assert len(found) == 1
    if version(system) is None:
        pytest.skip(f"{FORMULAS.get(system, system)} is not installed")
    return found[0]


SMOOTHED = LabelSmoothing(CrossEntropy(), 0.3)


@pytest.mark.parametrize(
    "system, loss, door, labels",
    [
        ("fastai", SMOOTHED, fastai.LabelSmoothingCrossEntropy(0.3, reduction="none"), Y),
        ("fastai", CategoricalFocal(1.7), fastai.FocalLoss(1.7, reduction="none"), Y),
        ("sparse_lsr", SMOOTHED, sparse_lsr.LSRLoss(0.3, "none", "published_code"), Y),
        ("sparse_lsr", SparseLSR(0.3), sparse_lsr.SparseLSRLoss(0.3, "none", "published_code"), Y),
    ],
)
def test_a_formula_is_the_one_of_its_door(system, loss, door, labels):
    """The doors repeat what the published code returned, by its recorded numbers."""
    value, gradient = rival(system, loss).function(loss, Z, labels)
    assert value == pytest.approx(door(Z, labels).reshape(-1), rel=2e-7)
    assert gradient == pytest.approx(door.gradient(Z, labels), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize(
    "system, loss, door, options",
    [
        ("incendio", SoftLabelSmoothing(CrossEntropy(), 0.1), incendio.soft_label_cross_entropy_with_logits, (0.1,)),
        ("incendio", ClassificationMAE(), incendio.classification_mae_with_logits, ()),
        ("google", BiTempered(0.8, 1.2), google.bi_tempered_logistic_loss, (0.8, 1.2)),
        ("google", BiTempered(0.2, 4.0), google.bi_tempered_logistic_loss, (0.2, 4.0)),
        ("google", BiTempered(1.0, 1.0), google.bi_tempered_logistic_loss, (1.0, 1.0)),
        ("google", BiTempered(0.5, 1.0), google.bi_tempered_logistic_loss, (0.5, 1.0)),
    ],
)
@pytest.mark.parametrize("labels", [SOFT, Y], ids=["soft", "classes"])
def test_a_formula_of_soft_labels_is_the_one_of_its_door(system, loss, door, options, labels):
    value, gradient = rival(system, loss).function(loss, Z, labels)
    reduction = {"reduction": "none"} if system == "incendio" else {}
    given = as_rows(Z, labels)
    assert value == pytest.approx(door(Z, given, *options, **reduction), rel=1e-7)
    assert gradient == pytest.approx(door.gradient(Z, given, *options, **reduction), rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("loss", [BiTemperedBinary(0.8, 1.2), BiTemperedBinary(1.0, 1.0)])
def test_the_binary_tempered_formula_is_the_one_of_its_door(loss):
    z, y = Z[:, 0], np.linspace(0, 1, 9)
    value, gradient = rival("google", loss).function(loss, z, y)
    door = google.bi_tempered_binary_logistic_loss
    assert value == pytest.approx(door(z, y, *loss), rel=1e-9)
    assert gradient == pytest.approx(door.gradient(z, y, *loss), rel=1e-9)


def test_torchvisions_focal_formula_is_the_one_of_its_door():
    loss, z, y = SigmoidFocal(1.7, 0.25), Z[:, 0], np.arange(9.0) % 2
    value, gradient = rival("torch", loss).function(loss, z, y)
    door = torch_door.sigmoid_focal_loss
    assert value == pytest.approx(door(z, y, alpha=0.25, gamma=1.7), rel=1e-12)
    assert gradient == pytest.approx(door.gradient(z, y, alpha=0.25, gamma=1.7), rel=1e-12)


def test_a_version_says_what_computes_a_formula():
    for system, framework in FORMULAS.items():
        found = version(framework)
        assert version(system) == (found and f"formulas in {framework} {found}")


def test_a_version_of_keras_says_its_backend(monkeypatch):
    if importlib.util.find_spec("keras") is None:
        pytest.skip("keras is not installed")
    for name, said in (("torch", "on torch"), ("jax", "on jax"), ("openvino", None)):
        monkeypatch.setenv("KERAS_BACKEND", name)
        found = version("keras")
        assert found is None if said is None else found.endswith(said)


# Judgements that were unfair ----------------------------------------------------------------------


def test_either_side_of_a_kink_is_right_in_the_dtype():
    """At labels that are p as float32 shows it, float32 cannot know the sign of p - y."""
    loss = ClassificationMAE()
    assert judge(rival("incendio", loss), loss, np.float32, explain=False).grade == "C"


def test_where_terms_cancel_an_error_is_measured_against_the_terms():
    """Smoothed in float32, labels that are p leave 1e-10 of a gradient that is 0: lost digits, not another function."""
    loss = SoftLabelSmoothing(CrossEntropy(), 0.1)
    assert judge(rival("incendio", loss), loss, np.float64, explain=False).grade == "D"
