"""A loss as the metric that a booster watches, and stops early by."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import api
from ..spelling import snake
from .probabilities import paired

LIBRARIES = "lightgbm", "xgboost"
LEAST = 0.1  # values below it are scaled: XGBoost prints, and stops by, 6 decimals


@dataclass(frozen=True)
class Metric:
    """The weighted mean of a loss over margins, in the form that a library wants.

    XGBoost rounds what a metric returns to 6 decimals, in early stopping too.  For it, a loss that is below
    0.1 at zero logits is multiplied by a power of 10, which is then part of the name.

    Parameters
    ----------
    loss : NamedTuple
        A loss of logits.
    library : {None, "lightgbm", "xgboost"}
        Whose metric it is.  Called with margins and a Dataset or DMatrix it is that of ``lightgbm.train`` or
        ``xgboost.train``; called with labels, margins and weights that of ``LGBMClassifier`` (None, value and
        False in a tuple) or of ``XGBClassifier`` and scikit-learn (a number).
    classes : int, optional
        How many there are, which decides the power of 10; left out, margins tell, or it is 2.
    targets : sequence of (lightgbm.Dataset, array_like), optional
        Rows of probabilities in the place of the labels of these very objects, which are one number a row.

    Examples
    --------
    >>> from reflosses import CrossEntropy, SigmoidFocal
    >>> Metric(CrossEntropy(), "lightgbm")([1, 0], [0.0, 0.0])
    ('cross_entropy', 0.6931471805599453, False)
    >>> Metric(SigmoidFocal(5.0), "xgboost").__name__
    'sigmoid_focal_times_1e2'
    """

    loss: Any
    library: str | None = None
    classes: int | None = None
    targets: tuple = ()

    def __post_init__(self):
        if self.library is not None and self.library not in LIBRARIES:
            raise ValueError(f"library must be one of {', '.join(LIBRARIES)}, got {self.library!r}")

    @property
    def __name__(self):
        """How the library shall call it."""
        return self._name(self._exponent(self.classes or 2))

    def __call__(self, y_true, y_pred, sample_weight=None):
        """Return the metric of labels and margins, or, as the libraries have it, of margins and data."""
        if hasattr(y_pred, "get_label"):
            margins, data = y_true, y_pred
            labels = next((y for held, y in self.targets if held is data), None)
            value = self.mean(data.get_label() if labels is None else labels, margins, data.get_weight())
            exponent = self._exponent(self.classes or (np.shape(margins)[1] if np.ndim(margins) == 2 else 2))
            named = self._name(exponent), value * 10.0**exponent
            return (*named, False) if type(data).__module__.startswith("lightgbm") else named
        exponent = self._exponent(self.classes or 2)
        value = self.mean(y_true, y_pred, sample_weight) * 10.0**exponent
        return (self._name(exponent), value, False) if self.library == "lightgbm" else value

    def mean(self, y_true, y_pred, sample_weight=None):
        """Return Σ w ℓ/Σ w."""
        z, y = np.asarray(y_pred, dtype=np.float64), np.asarray(y_true)
        if self.loss.targets.rows and z.ndim == 1:
            z, y = paired(z), (y if (y == np.floor(y)).all() else np.stack([1.0 - y, y], axis=1))
        weight = None if sample_weight is None or not np.size(sample_weight) else np.asarray(sample_weight)
        return float(api.value(self.loss, z, y, weight=weight, reduction="weighted_mean"))

    def _exponent(self, classes):
        if self.library == "lightgbm":
            return 0
        z = np.zeros((classes, classes)) if self.loss.targets.rows else np.zeros(2)
        start = float(np.mean(api.value(self.loss, z, np.arange(len(z)))))
        return math.ceil(-math.log10(start)) if 0.0 < start < LEAST else 0

    def _name(self, exponent):
        return snake(type(self.loss)) + (f"_times_1e{exponent}" if exponent else "")


class CatBoostMetric:
    """The ``eval_metric`` of CatBoost."""

    _jited = True  # CatBoost's mark of what it has tried to compile: it would try, fail and warn

    def __init__(self, metric):
        self.metric = metric

    def is_max_optimal(self):
        """Whether more is better."""
        return False

    def evaluate(self, approxes, target, weight):
        """Return Σ w ℓ and Σ w."""
        margins = np.asarray(approxes[0]) if len(approxes) == 1 else np.stack(approxes, axis=1)
        total = float(np.sum(weight)) if weight is not None and len(weight) else float(len(margins))
        return self.metric.mean(np.asarray(target), margins, weight) * total, total

    def get_final_error(self, error, weight):
        """Return their quotient."""
        return error / weight if weight else math.nan
