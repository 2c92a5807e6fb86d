# ruff: noqa: N803, N806 - X is scikit-learn's name for it
"""Few positives, and what focal loss does about them: ``python -m benchmarks.imbalance``.

Generated data with 3 % positives and 1 % of all labels wrong, 4000 rows to train, 2000 to validate and
6000 to test.  The number of trees is the one whose average precision, the area under the curve of
precision and recall, is best on the validation set.
"""

import numpy as np
from lightgbm import LGBMClassifier
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import train_test_split

from reflosses import BinaryCrossEntropy, SigmoidFocal
from reflosses.boosting import LGBMLossClassifier
from reflosses.linear import LossLinearClassifier

from .experiments import options, publish, spread, table, tell

FOCAL = SigmoidFocal(2.0, None)
TREES = 120
STEPS = range(3, TREES + 1, 3)
BOOSTER = {"n_estimators": TREES, "num_leaves": 15, "learning_rate": 0.1, "n_jobs": 1, "verbose": -1}
ALPHAS = 1e-5, 1e-4, 1e-3, 1e-2


def main():
    """Fit everything and print the table."""
    chosen = options(__doc__.splitlines()[0])
    found: dict = {}
    for seed in range(chosen.seeds):
        X, y = make_classification(
            12000, 20, n_informative=8, n_clusters_per_class=3, weights=[0.975], flip_y=0.01, random_state=seed
        )
        X_train, X_rest, y_train, y_rest = train_test_split(X, y, test_size=8000, stratify=y, random_state=seed)
        X_valid, X_test, y_valid, y_test = train_test_split(
            X_rest, y_rest, test_size=6000, stratify=y_rest, random_state=seed
        )
        for name, model in boosters().items():
            prior = np.log(y_train.mean() / (1 - y_train.mean()))
            start = {"init_score": np.full(len(y_train), prior)} if name.endswith("the prior's logit") else {}
            model.fit(X_train, y_train, **start)
            valid, test = (
                {k: precision(model, X, y, k) for k in STEPS} for X, y in ((X_valid, y_valid), (X_test, y_test))
            )
            found.setdefault(("LightGBM", name), []).append((test[TREES], test[max(valid, key=valid.get)]))
        for name, models in linear_models(len(y_train)).items():
            fitted = [model.fit(X_train, y_train) for model in models]
            best = max(fitted, key=lambda model: precision(model, X_valid, y_valid))
            found.setdefault(("linear", name), []).append((np.nan, precision(best, X_test, y_test)))
        tell(f"seed {seed}, {y.mean():.1%} positive")
    rows = []
    for (model, name), scores in found.items():
        every, tuned = np.transpose(scores)
        usual = np.transpose(found[model, "built-in"])[1]
        more = spread(tuned - usual) if name != "built-in" else ""
        rows.append([model, name, "" if np.isnan(every).any() else spread(every), spread(tuned), more])
    head = ["model", "objective", "all trees", "tuned on the validation set", "tuned, minus built-in"]
    text = table(head, rows)
    print(text)
    if chosen.publish:
        publish("imbalance", text)


def boosters():
    """Return {name: model}."""
    found = {
        "built-in": LGBMClassifier(**BOOSTER),
        "cross entropy": LGBMLossClassifier(BinaryCrossEntropy(), **BOOSTER),
    }
    for curvature in "cross_entropy", "gauss_newton", "exact", "absolute_gradient":
        found[f"focal, {curvature}"] = LGBMLossClassifier(FOCAL, curvature=curvature, **BOOSTER)
    found["focal, cross_entropy, from 0"] = LGBMLossClassifier(FOCAL, start="zero", **BOOSTER)
    found["focal, cross_entropy, from the prior's logit"] = LGBMLossClassifier(FOCAL, **BOOSTER)
    found["focal, exact, from the prior's logit"] = LGBMLossClassifier(FOCAL, curvature="exact", **BOOSTER)
    return found


def linear_models(count):
    """Return {name: models to choose from} for so many rows."""
    ours = {"cross entropy": BinaryCrossEntropy(), "focal": FOCAL}
    found = {"built-in": [LogisticRegression(C=1 / (alpha * count), max_iter=1000) for alpha in ALPHAS]}
    for name, loss in ours.items():
        found[name] = [LossLinearClassifier(loss, alpha=alpha, solver="lbfgs") for alpha in ALPHAS]
    return found


def precision(model, X, y, trees=None):
    """Return the average precision of a model's scores, which order rows as its probabilities do."""
    if trees is not None:
        return average_precision_score(y, model.predict_proba(X, raw_score=True, num_iteration=trees))
    return average_precision_score(y, model.decision_function(X))


if __name__ == "__main__":
    main()
