"""A metric of rows that many workers have."""

import numpy as np
from xgboost import collective

from ..objectives import Metric as OfOneWorker

__all__ = ["Metric"]


class Metric(OfOneWorker):
    """``reflosses.objectives.Metric`` over the rows of all workers, for ``xgboost.dask``.

    A worker of XGBoost knows its own rows only, and XGBoost takes the unweighted mean of what the workers'
    metrics return: ten rows count as much as a million, and early stopping goes by that.  This metric adds
    up Σ w ℓ and Σ w over the workers before it divides, so that all return the same number, that of one
    process.  Outside of a cluster it is the metric that it is made of.

    LightGBM gives a metric no way to reach other workers: there, workers should have about equally many rows.

    Examples
    --------
    >>> from reflosses import BinaryCrossEntropy
    >>> Metric(BinaryCrossEntropy(), "xgboost")([1, 0], [0.0, 0.0])
    0.6931471805599453
    """

    def mean(self, y_true, y_pred, sample_weight=None):
        """Return Σ w ℓ/Σ w over all workers."""
        if not collective.is_distributed():
            return super().mean(y_true, y_pred, sample_weight)
        rows = len(y_true)
        weight = float(np.sum(sample_weight)) if sample_weight is not None and np.size(sample_weight) else float(rows)
        total = super().mean(y_true, y_pred, sample_weight) * weight if weight else 0.0
        total, weight = collective.allreduce(np.array([total, weight]), collective.Op.SUM)
        return float(total / weight)
