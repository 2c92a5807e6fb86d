# ruff: noqa: N803 - scikit-learn calls a table X
"""XGBoost's classifier with any loss."""

import numpy as np
from sklearn.preprocessing import LabelEncoder
from sklearn.utils.class_weight import compute_sample_weight
from xgboost import XGBClassifier

from ..objectives import Metric, predict_proba
from .common import DEFAULT, constant, objective_of, refuse_objective, rows_of, spread


class XGBLossClassifier(XGBClassifier):
    """``xgboost.XGBClassifier`` with a loss of this library, and with classes of any kind.

    Parameters
    ----------
    loss : NamedTuple
        A loss of logits; of rows for any number of classes, of single logits for two.
    curvature : str
        As for ``Objective``.
    start : {"auto", "zero"}
        Margins before the first tree: the loss's optimal constant if it has one, or 0.
    class_weight : dict, "balanced" or None
        As in scikit-learn; multiplies the sample weights.
    **kwargs
        Those of ``XGBClassifier``, but for ``objective``.  ``eval_metric`` is the loss unless given.

    Attributes
    ----------
    start_ : float or ndarray
        The constant, given to XGBoost as ``base_margin``: ``base_score`` is a probability in float32 for two
        classes, and cannot hold it.

    Raises
    ------
    ValueError
        When fitting, if the labels have more classes than the loss, or ``scale_pos_weight`` is given, which
        XGBoost ignores for objectives of others.

    Examples
    --------
    >>> import numpy as np
    >>> from reflosses import BinaryFocal
    >>> x = np.linspace(0, 1, 200)[:, None]
    >>> y = np.where(x[:, 0] > 0.7, "yes", "no")
    >>> model = XGBLossClassifier(BinaryFocal(), n_estimators=20, n_jobs=1).fit(x, y)
    >>> model.predict([[0.1], [0.9]])
    array(['no', 'yes'], dtype='<U3')
    """

    _labels = None

    def __init__(self, loss=DEFAULT, *, curvature="auto", start="auto", class_weight=None, **kwargs):
        refuse_objective(kwargs)
        super().__init__(**kwargs)
        self.loss, self.curvature, self.start, self.class_weight = loss, curvature, start, class_weight

    def get_params(self, deep=True):
        """Return all parameters; the objective is none of them."""
        params = super().get_params(deep)
        params.pop("objective", None)
        return params

    def get_xgb_params(self):
        """Return the parameters that are XGBoost's own."""
        params = super().get_xgb_params()
        for name in ("loss", "curvature", "start", "class_weight"):
            params.pop(name, None)
        return params | {"disable_default_eval_metric": 1}

    @property
    def classes_(self):
        """The classes, sorted; while fitting 0, 1, …, which is what XGBoost takes."""
        return np.arange(self.n_classes_) if self._labels is None else self._labels

    def fit(self, X, y, *, sample_weight=None, base_margin=None, eval_set=None, verbose=False, **options):
        """Fit to classes of any kind; all arguments are those of ``XGBClassifier.fit``, quiet unless asked.

        A given ``base_margin`` takes the place of the constant, and must be given when predicting too.
        """
        if self.get_params().get("scale_pos_weight") not in (None, 1):
            raise ValueError("XGBoost ignores scale_pos_weight for objectives of others: use class_weight")
        encoder = LabelEncoder().fit(y)
        labels, classes = encoder.transform(y), len(encoder.classes_)
        weight = sample_weight
        if self.class_weight is not None:
            weight = compute_sample_weight(self.class_weight, y)
            weight = weight if sample_weight is None else weight * np.asarray(sample_weight, dtype=np.float64)
        own = base_margin is None
        self.start_ = constant(self.loss, labels, weight, classes, self.start if own else "zero")
        if own:
            base_margin = spread(self.start_, rows_of(X))
            if eval_set and options.get("base_margin_eval_set") is None:
                options["base_margin_eval_set"] = [spread(self.start_, rows_of(x)) for x, _ in eval_set]
        if eval_set:
            eval_set = [(x, encoder.transform(target)) for x, target in eval_set]
        self.objective, given, self._labels = objective_of(self, "xgboost"), self.eval_metric, None
        self.eval_metric = Metric(self.loss, "xgboost", classes) if given is None else given
        try:
            super().fit(
                X,
                labels,
                sample_weight=weight,
                base_margin=base_margin,
                eval_set=eval_set,
                verbose=verbose,
                **options,
            )
        finally:
            self.eval_metric = given
        self._labels = encoder.classes_
        return self

    def decision_function(self, X, *, base_margin=None, **options):
        """Return margins, the constant among them; options are those of ``XGBClassifier.predict``."""
        base_margin = spread(self.start_, rows_of(X)) if base_margin is None else base_margin
        return super().predict(X, output_margin=True, base_margin=base_margin, **options)

    def predict_proba(self, X, **options):
        """Return the loss's probabilities, of shape (n, C)."""
        return predict_proba(self.loss, self.decision_function(X, **options))

    def predict(self, X, *, output_margin=False, **options):
        """Return the most likely classes, or margins."""
        if output_margin:
            return self.decision_function(X, **options)
        return self.classes_[np.argmax(self.predict_proba(X, **options), axis=1)]
