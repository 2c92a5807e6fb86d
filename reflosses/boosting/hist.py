"""Any loss for scikit-learn's histogram boosting, through the class that its own losses have."""

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

try:
    from sklearn._loss.link import IdentityLink
    from sklearn._loss.loss import BaseLoss
except ImportError:  # private: another version may have moved them
    BaseLoss = None

from ..api import value
from ..objectives import Objective, predict_proba
from ..objectives.probabilities import paired
from .common import constant

if BaseLoss is None or BaseLoss not in HistGradientBoostingClassifier._parameter_constraints["loss"]:
    raise ImportError("this version of scikit-learn takes no losses of others for HistGradientBoostingClassifier")


class HistLoss(BaseLoss):
    """The ``loss`` of a ``HistGradientBoostingClassifier``.

    Parameters
    ----------
    loss : NamedTuple
        A loss of logits; of rows for any number of classes, of single logits for two.
    classes : int
        How many the labels have.
    curvature : str
        As for ``Objective``.
    start : {"auto", "zero"}
        Margins before the first tree: the loss's optimal constant if it has one, or 0.

    Raises
    ------
    ImportError
        On import, if scikit-learn's private class of losses is not where it was (1.6 to 1.9).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.ensemble import HistGradientBoostingClassifier
    >>> from reflosses import BiTempered
    >>> x = np.linspace(0, 1, 300)[:, None]
    >>> y = np.digitize(x[:, 0], [0.3, 0.6])
    >>> model = HistGradientBoostingClassifier(loss=HistLoss(BiTempered(), 3), max_iter=20).fit(x, y)
    >>> model.predict([[0.1], [0.5], [0.9]])
    array([0, 1, 2])
    """

    def __init__(self, loss, classes, curvature="auto", start="auto"):
        super().__init__(closs=None, link=IdentityLink(), n_classes=classes)
        self.own, self.curvature, self.start = loss, curvature, start
        self.objective, self.is_multiclass, self.approx_hessian = Objective(loss, curvature), classes > 2, True

    def gradient_hessian(
        self, y_true, raw_prediction, sample_weight=None, gradient_out=None, hessian_out=None, n_threads=1
    ):
        """Return gradient and curvature, in the arrays given for them."""
        slope, bend = self.objective(y_true, self._margins(raw_prediction), sample_weight)
        gradient = np.empty_like(raw_prediction) if gradient_out is None else gradient_out
        hessian = np.empty_like(raw_prediction) if hessian_out is None else hessian_out
        gradient[...], hessian[...] = slope.reshape(gradient.shape), bend.reshape(hessian.shape)
        return gradient, hessian

    def loss(self, y_true, raw_prediction, sample_weight=None, loss_out=None, n_threads=1):
        """Return the loss of every row, times its weight."""
        z = self._margins(raw_prediction).astype(np.float64)
        rows = self.own.targets.rows
        values = value(self.own, paired(z) if rows else z, np.asarray(y_true, np.float64), weight=sample_weight)
        if loss_out is None:
            return values
        loss_out[...] = values
        return loss_out

    def fit_intercept_only(self, y_true, sample_weight=None):
        """Return the constant to start at."""
        found = constant(self.own, np.asarray(y_true, np.int64), sample_weight, self.n_classes, self.start)
        return np.asarray(found, dtype=np.float64)

    def predict_proba(self, raw_prediction):
        """Return the loss's probabilities, of shape (n, C)."""
        return predict_proba(self.own, self._margins(raw_prediction))

    def _margins(self, raw_prediction):
        """Return margins of shape (n,) for two classes, (n, C) for more."""
        z = np.asarray(raw_prediction)
        return z if self.is_multiclass else z.reshape(-1)
