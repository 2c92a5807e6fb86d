# ruff: noqa: N803 - scikit-learn calls a table X
"""LightGBM's classifier with any loss."""

import numpy as np
from lightgbm import LGBMClassifier
from sklearn.preprocessing import LabelEncoder
from sklearn.utils.class_weight import compute_sample_weight

from ..objectives import Metric, predict_proba
from .common import DEFAULT, constant, objective_of, refuse_objective, rows_of, spread

OWN = "loss", "curvature", "start"
IGNORED = "is_unbalance", "unbalance", "unbalanced_sets", "scale_pos_weight"  # by objectives of others


class LGBMLossClassifier(LGBMClassifier):
    """``lightgbm.LGBMClassifier`` with a loss of this library.

    Parameters
    ----------
    loss : NamedTuple
        A loss of logits; of rows for any number of classes, of single logits for two.
    curvature : str
        As for ``Objective``.
    start : {"auto", "zero"}
        Margins before the first tree: the loss's optimal constant if it has one, or 0.
    **kwargs
        Those of ``LGBMClassifier``, but for ``objective``.  ``metric`` is "None" unless given, for LightGBM's
        own would read margins as probabilities.

    Attributes
    ----------
    start_ : float or ndarray
        The constant, which LightGBM's trees do not hold: all predictions of this class have it, those of
        ``booster_`` do not.

    Raises
    ------
    ValueError
        When fitting, if the labels have more classes than the loss, or a parameter is given that LightGBM
        ignores for objectives of others.

    Examples
    --------
    >>> import numpy as np
    >>> from reflosses import BinaryFocal
    >>> x = np.linspace(0, 1, 200)[:, None]
    >>> y = np.where(x[:, 0] > 0.7, "yes", "no")
    >>> model = LGBMLossClassifier(BinaryFocal(), n_estimators=20, n_jobs=1, verbose=-1).fit(x, y)
    >>> model.predict([[0.1], [0.9]])
    array(['no', 'yes'], dtype='<U3')
    """

    _in_lightgbm = False

    def __init__(self, loss=DEFAULT, *, curvature="auto", start="auto", **kwargs):
        refuse_objective(kwargs)
        super().__init__(**{"metric": "None", **kwargs})
        self.loss, self.curvature, self.start = loss, curvature, start

    def get_params(self, deep=True):
        """Return all parameters; the objective is none of them."""
        params = super().get_params(deep)
        for name in ("objective", *(OWN if self._in_lightgbm else ())):
            params.pop(name, None)
        return params

    def _process_params(self, stage):
        """Hide what LightGBM does not know: for it, "loss" is another name of the objective."""
        self._in_lightgbm = True
        try:
            return super()._process_params(stage)
        finally:
            self._in_lightgbm = False

    def fit(self, X, y, sample_weight=None, init_score=None, eval_set=None, **options):
        """Fit to classes of any kind; all arguments are those of ``LGBMClassifier.fit``.

        A given ``init_score`` takes the place of the constant, and is not known when predicting.  The loss
        is the metric unless ``eval_metric`` names another.
        """
        ignored = [name for name in IGNORED if self.get_params().get(name)]
        if ignored:
            raise ValueError(f"LightGBM ignores {ignored[0]} for objectives of others: use class_weight")
        encoder = LabelEncoder().fit(y)
        classes = len(encoder.classes_)
        weight = compute_sample_weight(self.class_weight, y)
        weight = weight if sample_weight is None else weight * np.asarray(sample_weight, dtype=np.float64)
        own = init_score is None
        self.start_ = constant(self.loss, encoder.transform(y), weight, classes, self.start if own else "zero")
        self.objective = self._objective = objective_of(self, "lightgbm")
        if own:
            init_score = spread(self.start_, rows_of(X))
            tables = [x for x, _ in _listed(eval_set)] or _tuple(options.get("eval_X"))
            if options.get("eval_init_score") is None and tables:
                options["eval_init_score"] = [spread(self.start_, rows_of(x)) for x in tables]
        if "eval_y" in options:  # LightGBM 4.7 encodes the labels of eval_set, but not these
            options["eval_y"] = tuple(encoder.transform(labels) for labels in _tuple(options["eval_y"]))
            options["eval_X"] = _tuple(options["eval_X"])
        if options.get("eval_metric") is None:
            options["eval_metric"] = Metric(self.loss, "lightgbm", classes)
        return super().fit(X, y, sample_weight=sample_weight, init_score=init_score, eval_set=eval_set, **options)

    def decision_function(self, X, **options):
        """Return margins, the constant among them."""
        return super().predict_proba(X, raw_score=True, **options) + self.start_

    def predict_proba(self, X, raw_score=False, pred_leaf=False, pred_contrib=False, **options):
        """Return the loss's probabilities, of shape (n, C); options are those of ``LGBMClassifier``."""
        if pred_leaf or pred_contrib:
            return super().predict_proba(X, pred_leaf=pred_leaf, pred_contrib=pred_contrib, **options)
        margins = self.decision_function(X, **options)
        return margins if raw_score else predict_proba(self.loss, margins)

    def predict(self, X, raw_score=False, pred_leaf=False, pred_contrib=False, **options):
        """Return the most likely classes."""
        found = self.predict_proba(X, raw_score=raw_score, pred_leaf=pred_leaf, pred_contrib=pred_contrib, **options)
        return found if raw_score or pred_leaf or pred_contrib else self.classes_[np.argmax(found, axis=1)]


def _listed(eval_set):
    return [eval_set] if isinstance(eval_set, tuple) else eval_set or []


def _tuple(x):
    return () if x is None else x if isinstance(x, tuple) else (x,)
