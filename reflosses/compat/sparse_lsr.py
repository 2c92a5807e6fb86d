"""Label smoothing and sparse label smoothing of Raymond et al., as printed and as published.

Source: Raymond, Chen, Xue, Zhang. Learning symbolic model-agnostic loss functions via meta-learning.
2023; https://github.com/Decadz/Sparse-Label-Smoothing-Regularization.
"""

from dataclasses import dataclass

import numpy as np

from .. import losses
from ..api import value_and_gradient
from ..domain import BELOW_ONE
from ._door import as_rows, door, legal, one_of, reduced, wide

__all__ = ["LSRLoss", "SparseLSRLoss"]


@dataclass
class _Loss:
    smoothing: float = 0.0
    reduction: str = "mean"
    variant: str = "paper"

    @door("y_pred", labels="y_target")
    def __call__(self, y_pred, y_target):
        """Return the loss of logits, shape (n, C), and classes, shape (n,)."""
        one_of(("paper", "published_code"), variant=self.variant)
        legal(BELOW_ONE, smoothing=self.smoothing)
        z, y = wide(y_pred), np.asarray(y_target)
        if z.ndim != 2 or y.shape != z.shape[:1]:
            raise ValueError(f"y_target of shape {y.shape} does not fit y_pred of shape {z.shape}: not (n,) and (n, C)")
        return reduced(*getattr(self, f"_{self.variant}")(z, y), self.reduction)

    gradient = __call__.gradient


@dataclass
class LSRLoss(_Loss):
    """Cross entropy with uniform label smoothing, labels y (1 - s) + s/C.

    ``variant="published_code"`` repeats what the published code does: it smooths the labels in
    float32, whatever the dtype of the logits.

    Parameters
    ----------
    smoothing : float
        s in [0, 1).
    reduction : {"mean", "sum", "none"}
    variant : {"paper", "published_code"}

    Raises
    ------
    ValueError
        When called: for illegal classes, smoothing, reduction or variant, and shapes that do not match.

    Examples
    --------
    >>> LSRLoss(smoothing=0.1)([[2.0, 0.0, -1.0]], [0]).round(8)
    np.float64(0.33651269)
    """

    def _paper(self, z, y):
        return value_and_gradient(losses.LabelSmoothing(losses.CrossEntropy(), self.smoothing), z, y)

    def _published_code(self, z, y):
        keep, share = np.float32(1 - self.smoothing), np.float32(self.smoothing) * (1 / np.float32(z.shape[1]))
        labels = as_rows(y, z).astype(np.float32) * keep + share
        return value_and_gradient(losses.CrossEntropy(), z, labels, normalized=False)


@dataclass
class SparseLSRLoss(_Loss):
    """Sparse label smoothing, -(1 - s + s/C) log p_y - (s (C-1)/C) log((1 - p_y)/(C-1)).

    It is what label smoothing costs if the other classes share 1 - p_y equally.
    ``variant="published_code"`` repeats what the published code does: the second term has the
    opposite sign, 1 - p_y is kept above 1e-7, the coefficients are rounded to float32, and values
    that are not reduced have shape (n, 1).

    Parameters
    ----------
    smoothing : float
        s in [0, 1).
    reduction : {"mean", "sum", "none"}
    variant : {"paper", "published_code"}

    Raises
    ------
    ValueError
        When called: for illegal classes, smoothing, reduction or variant, and shapes that do not match.

    Examples
    --------
    >>> SparseLSRLoss(smoothing=0.1)([[2.0, 0.0, -1.0]], [0]).round(8)
    np.float64(0.32850505)
    >>> SparseLSRLoss(smoothing=0.1, variant="published_code")([[2.0, 0.0, -1.0]], [0]).round(8)
    np.float64(-0.01145916)
    """

    def _paper(self, z, y):
        return value_and_gradient(losses.SparseLSR(self.smoothing), z, y)

    def _published_code(self, z, y):
        s, classes, others = np.float32([self.smoothing, z.shape[1], z.shape[1] - 1])
        own, rest = float(np.float32(1 - self.smoothing) + s * (1 / classes)), float(s * others / classes)
        nll, slopes = value_and_gradient(losses.CrossEntropy(), z, y)
        p, c = np.exp(-nll), -np.expm1(-nll)
        values = own * nll + rest * np.log(np.maximum(c, 1e-7) / others)
        slope = own + np.where(c > 1e-7, rest * p / c, 0.0)  # of the value in -log p
        return values[:, None], slope[:, None] * slopes
