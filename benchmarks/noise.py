# ruff: noqa: N803, N806 - X is scikit-learn's name for it
"""Wrong labels under a linear model and under boosters: ``python -m benchmarks.noise``.

scikit-learn's digits, of whose training and validation labels a share is wrong; those of the test are
right.  Regularisation, temperatures and the number of trees are those that are best on the validation
set, which is as noisy as the training set: whoever has wrong labels has no others.  One half of the
digits is for training, a quarter for validation, a quarter for the test.
"""

import warnings

import numpy as np
from lightgbm import LGBMClassifier
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from reflosses import BiTempered, ClassificationMAE, CrossEntropy
from reflosses.boosting import LGBMLossClassifier
from reflosses.linear import LossLinearClassifier

from .experiments import flipped, options, publish, spread, table, tell

SHARES = 0.0, 0.2, 0.4
ALPHAS = 1e-5, 1e-4, 1e-3, 1e-2, 1e-1
TEMPERED = BiTempered(0.8, 1.2), BiTempered(0.5, 2.0)
TREES = 60  # of each class
BOOSTER = {"n_estimators": TREES, "num_leaves": 8, "learning_rate": 0.1, "n_jobs": 1, "verbose": -1}


def main():
    """Fit everything and print the tables."""
    chosen = options(__doc__.splitlines()[0])
    X, digits = load_digits(return_X_y=True)
    linear, boosted = {}, {}
    for seed in range(chosen.seeds):
        X_train, X_rest, right, y_rest = train_test_split(X / 16, digits, test_size=0.5, random_state=seed)
        X_valid, X_test, valid, y_test = train_test_split(X_rest, y_rest, test_size=0.5, random_state=seed)
        random = np.random.default_rng(seed)
        for share in SHARES:
            train = X_train, flipped(right, share, random)
            validation = X_valid, flipped(valid, share, random)
            for name, models in linear_models(len(right)).items():
                model = best(models, train, validation)
                linear.setdefault((name, share), []).append(model.score(X_test, y_test))
            for name, (all_trees, some) in boosted_accuracies(train, validation, X_test, y_test).items():
                boosted.setdefault((name, "all trees", share), []).append(all_trees)
                boosted.setdefault((name, "early stopping", share), []).append(some)
            tell(f"seed {seed}, {share:.0%} wrong")
    head = [f"{share:.0%} wrong" for share in SHARES]
    tables = {
        "linear": table(["linear model, accuracy", *head], rows(linear)),
        "boosters": table(["LightGBM, accuracy", "trees", *head], rows(boosted)),
    }
    for name, text in tables.items():
        print(text, end="\n\n")
        if chosen.publish:
            publish(name, text)


def rows(found):
    """Return a row for each key without its share."""
    names = dict.fromkeys(key[:-1] for key in found)
    return [[*name, *(spread(found[*name, share]) for share in SHARES)] for name in names]


def linear_models(count):
    """Return {name: models to choose from} for so many rows."""

    def ours(*losses):
        return [
            LossLinearClassifier(loss, alpha=alpha, solver="lbfgs", max_iter=200) for loss in losses for alpha in ALPHAS
        ]

    return {
        "scikit-learn's LogisticRegression": [
            LogisticRegression(C=1 / (alpha * count), max_iter=200) for alpha in ALPHAS
        ],
        "cross entropy": ours(CrossEntropy()),
        "bi-tempered": ours(*TEMPERED),
        "MAE": ours(ClassificationMAE()),
    }


def best(models, train, validation):
    """Return the model, fitted, that is best on the validation set."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # at 200 iterations: a stop as good as another
        fitted = [model.fit(*train) for model in models]
    return max(fitted, key=lambda model: model.score(*validation))


def boosted_accuracies(train, validation, X_test, y_test):
    """Return {name: (accuracy of all trees, of as many as are best on the validation set)}."""
    found = {}
    for name, models in {
        "built-in objective": [LGBMClassifier(**BOOSTER)],
        "cross entropy": [LGBMLossClassifier(CrossEntropy(), **BOOSTER)],
        "bi-tempered": [LGBMLossClassifier(loss, **BOOSTER) for loss in TEMPERED],
    }.items():
        last, stopped = [], []
        for model in models:
            model.fit(*train)
            scores = [np.mean(model.predict(validation[0], num_iteration=k) == validation[1]) for k in STEPS]
            k = STEPS[int(np.argmax(scores))]
            last.append((scores[-1], np.mean(model.predict(X_test) == y_test)))
            stopped.append((max(scores), np.mean(model.predict(X_test, num_iteration=k) == y_test)))
        found[name] = max(last)[1], max(stopped)[1]
    return found


STEPS = range(3, TREES + 1, 3)

if __name__ == "__main__":
    main()
