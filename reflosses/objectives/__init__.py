"""Losses as boosters want them: ``Objective``, the constant to start at, and probabilities of raw scores.

LightGBM, XGBoost and CatBoost take gradient and curvature from an ``Objective``; ``init_score`` is where
to start, and ``predict_proba`` what the scores of the trees mean.  ``reflosses.boosting`` does all three.
"""

from .curvature import CURVATURES
from .metric import Metric
from .objective import Objective
from .probabilities import predict_proba
from .start import init_score

__all__ = ["CURVATURES", "Metric", "Objective", "init_score", "predict_proba"]
