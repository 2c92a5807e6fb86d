"""The classifiers do what scikit-learn asks of one, start at the constant, and give the loss's probabilities."""

import pickle

import lightgbm
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from reflosses import BinaryCrossEntropy, ClassificationMAE, CrossEntropy, SigmoidFocal, value
from reflosses.boosting import HistLoss, LGBMLossClassifier, XGBLossClassifier
from reflosses.objectives import init_score, predict_proba

DEFAULT = CrossEntropy()
FEW = {LGBMLossClassifier: {"verbose": -1, "min_child_samples": 5}, XGBLossClassifier: {"max_depth": 3}}
BOTH = pytest.mark.parametrize("booster", FEW, ids=lambda booster: booster.__name__)


def made(booster, loss=DEFAULT, **options):
    """Return a small, quick classifier."""
    return booster(loss, **FEW[booster] | {"n_estimators": 15, "n_jobs": 1, "learning_rate": 0.3} | options)


def table(classes=3, rows=240, seed=0):
    """Return features and classes with names."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((rows, 4))
    y = np.argmax(x[:, :classes] + 0.4 * random.standard_normal((rows, classes)), axis=1)
    return x, np.array(["ant", "bee", "cat"])[y]


@BOTH
@pytest.mark.parametrize("loss, classes", [(CrossEntropy(), 3), (CrossEntropy(), 2), (SigmoidFocal(), 2)], ids=str)
def test_they_learn_names_and_give_probabilities(booster, loss, classes):
    x, y = table(classes)
    model = made(booster, loss).fit(x, y)
    assert model.classes_.tolist() == ["ant", "bee", "cat"][:classes]
    p = model.predict_proba(x)
    assert p.shape == (240, classes)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    np.testing.assert_array_equal(model.predict(x), model.classes_[p.argmax(axis=1)])
    assert model.score(x, y) > 0.9
    np.testing.assert_allclose(p, predict_proba(loss, model.decision_function(x)))
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(x), p)


@BOTH
@pytest.mark.parametrize("loss, classes", [(CrossEntropy(), 3), (SigmoidFocal(), 2)], ids=str)
def test_they_start_at_the_constant_and_keep_it(booster, loss, classes):
    x, y = table(classes)
    y[: len(y) // 2] = "ant"
    w = np.linspace(0.5, 2, len(y))
    start = init_score(loss, np.searchsorted(np.unique(y), y), w)
    still = made(booster, loss, learning_rate=1e-9).fit(x, y, sample_weight=w)
    np.testing.assert_allclose(still.start_, start, rtol=1e-9)
    margins = still.decision_function(x)
    np.testing.assert_allclose(margins, np.broadcast_to(start, margins.shape), atol=1e-6)
    zero = made(booster, loss, learning_rate=1e-9, start="zero").fit(x, y)
    np.testing.assert_allclose(zero.predict_proba(x), predict_proba(loss, np.zeros(margins.shape)), atol=1e-6)
    np.testing.assert_array_equal(zero.start_, 0)


@BOTH
def test_a_loss_without_a_constant_starts_at_0(booster):
    x, y = table()
    np.testing.assert_array_equal(made(booster, ClassificationMAE(), n_estimators=2).fit(x, y).start_, 0)


def test_cross_entropy_is_lightgbms_own_classifier():
    x, y = table()
    ours = made(LGBMLossClassifier, class_weight={"ant": 3.0, "bee": 1.0, "cat": 0.5}).fit(x, y)
    options = FEW[LGBMLossClassifier] | {"n_estimators": 15, "n_jobs": 1, "learning_rate": 0.3}
    theirs = lightgbm.LGBMClassifier(class_weight={"ant": 3.0, "bee": 1.0, "cat": 0.5}, **options).fit(x, y)
    np.testing.assert_allclose(ours.predict_proba(x), theirs.predict_proba(x), atol=1e-5)


@BOTH
def test_weights_of_classes_are_weights_of_rows(booster):
    x, y = table()
    balance = {"ant": 3.0, "bee": 1.0, "cat": 0.5}
    by_class = made(booster, class_weight=balance).fit(x, y)
    by_row = made(booster).fit(x, y, sample_weight=[balance[name] for name in y])
    np.testing.assert_allclose(by_class.predict_proba(x), by_row.predict_proba(x), rtol=1e-6)
    assert np.abs(by_class.predict_proba(x) - made(booster).fit(x, y).predict_proba(x)).max() > 0.01
    absent = np.where(y == "cat", 1e-9, 1.0)
    assert (made(booster, start="zero").fit(x, y, sample_weight=absent).predict(x) != "cat").all()


@BOTH
def test_scikit_learn_can_copy_and_cross_validate_them(booster):
    x, y = table()
    model = made(booster, curvature="cross_entropy")
    params = clone(model).get_params()
    assert params["loss"] == CrossEntropy() and params["curvature"] == "cross_entropy" and "objective" not in params
    assert clone(model).set_params(n_estimators=3, start="zero").get_params()["n_estimators"] == 3
    scores = cross_val_score(make_pipeline(StandardScaler(), model), x, y, cv=3)
    assert scores.min() > 0.6
    likelihood = cross_val_score(model, x, y, cv=3, scoring="neg_log_loss")
    assert likelihood.min() > -np.log(3)


def test_early_stopping_of_lightgbm_watches_the_loss():
    x, y = table(rows=400)
    seen = {}
    model = made(LGBMLossClassifier, n_estimators=200).fit(
        x[:200],
        y[:200],
        eval_X=x[200:],
        eval_y=y[200:],
        callbacks=[lightgbm.early_stopping(5, verbose=False), lightgbm.record_evaluation(seen)],
    )
    check_stopped(model, x[200:], y[200:], seen["valid_0"]["cross_entropy"], model.best_iteration_ - 1)
    assert list(seen["valid_0"]) == ["cross_entropy"], "LightGBM's own metric would take margins for probabilities"


def test_early_stopping_of_xgboost_watches_the_loss():
    x, y = table(rows=400)
    model = made(XGBLossClassifier, n_estimators=200, early_stopping_rounds=5)
    model.fit(x[:200], y[:200], eval_set=[(x[200:], y[200:])])
    seen = model.evals_result()["validation_0"]
    check_stopped(model, x[200:], y[200:], seen["cross_entropy"], model.best_iteration)
    assert list(seen) == ["cross_entropy"] and model.eval_metric is None


def check_stopped(model, x, y, curve, best):
    """Assert that training stopped at the least loss, which is that of the predictions."""
    assert 5 < len(curve) < 200 and int(np.argmin(curve)) == best
    assert log_loss(y, model.predict_proba(x)) == pytest.approx(curve[best], abs=1e-5)


@BOTH
def test_what_would_be_ignored_is_refused(booster):
    x, y = table(2)
    with pytest.raises(ValueError, match="scale_pos_weight"):
        made(booster, scale_pos_weight=3.0).fit(x, y)
    with pytest.raises(TypeError, match="objective"):
        booster(objective="binary")
    with pytest.raises(ValueError, match="two classes, the labels have 3"):
        made(booster, BinaryCrossEntropy()).fit(*table(3))
    with pytest.raises(ValueError, match="start must be"):
        made(booster, start="one").fit(x, y)


def test_margins_of_ones_own_take_the_place_of_the_constant():
    x, y = table()
    given = np.tile([0.5, 0.0, -0.5], (len(y), 1))
    lgbm = made(LGBMLossClassifier).fit(x, y, init_score=given)
    xgb = made(XGBLossClassifier).fit(x, y, base_margin=given)
    np.testing.assert_array_equal(lgbm.start_, 0)
    np.testing.assert_allclose(
        xgb.predict(x, output_margin=True, base_margin=given), xgb.predict(x, output_margin=True) + given, atol=1e-5
    )


# scikit-learn's own -----------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 3])
def test_cross_entropy_is_histogram_boostings_own(classes):
    x, y = table(classes)
    w = np.linspace(0.5, 2, len(y))
    options = {"max_iter": 15, "min_samples_leaf": 5, "early_stopping": False}
    ours, theirs = (
        HistGradientBoostingClassifier(loss=loss, **options).fit(x, y, sample_weight=w)
        for loss in (HistLoss(CrossEntropy(), classes), "log_loss")
    )
    np.testing.assert_allclose(ours.predict_proba(x), theirs.predict_proba(x), atol=1e-5)


def test_histogram_boosting_stops_early_by_the_loss():
    x, y = table(2, rows=400)
    loss = SigmoidFocal()
    model = HistGradientBoostingClassifier(loss=HistLoss(loss, 2), max_iter=200, early_stopping=True, random_state=0)
    model = clone(model).fit(x, y)
    assert 10 < model.n_iter_ < 200 and model.score(x, y) > 0.85
    np.testing.assert_allclose(model.predict_proba(x), predict_proba(loss, model.decision_function(x)))
    labels = (y == "bee").astype(float)
    start = value(loss, np.full(len(y), init_score(loss, labels)), labels, reduction="mean")
    assert -model.train_score_[0] == pytest.approx(start, rel=0.02)
    assert model.train_score_[-1] > model.train_score_[0]
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(x), model.predict_proba(x))
