"""Boosters with any loss, as scikit-learn has classifiers.

``LGBMLossClassifier`` and ``XGBLossClassifier`` are LightGBM's and XGBoost's own classes with ``loss=`` in the
place of ``objective=``: they start at the loss's optimal constant, watch the loss itself, and turn scores
into its probabilities.  ``HistLoss`` gives a loss to scikit-learn's ``HistGradientBoostingClassifier``.

Each needs its library, and is imported when it is first asked for.

Examples
--------
>>> from reflosses.boosting import LGBMLossClassifier
>>> LGBMLossClassifier(n_estimators=10).get_params()["loss"]
CrossEntropy(class_weight=None)
"""

from importlib import import_module

HOMES = {"HistLoss": "hist", "LGBMLossClassifier": "lgbm", "XGBLossClassifier": "xgb"}

__all__ = ["HistLoss", "LGBMLossClassifier", "XGBLossClassifier"]


def __getattr__(name):
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f".{HOMES[name]}", __name__), name)
    except ModuleNotFoundError as error:
        message = f"{name} needs {error.name}, which is not installed: pip install 'reflosses[gbdt]'"
        raise ModuleNotFoundError(message, name=error.name) from None
