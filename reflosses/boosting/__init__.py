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

from ..lazy import attributes

HOMES = {"HistLoss": "hist", "LGBMLossClassifier": "lgbm", "XGBLossClassifier": "xgb"}

__all__ = ["HistLoss", "LGBMLossClassifier", "XGBLossClassifier"]

__getattr__ = attributes(__name__, HOMES, "gbdt")
