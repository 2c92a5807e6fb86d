"""Label smoothing that spreads over the other classes."""

from typing import Annotated, NamedTuple

from .. import textbook
from ..domain import BELOW_ONE, Targets
from .classification_mae import ClassificationMAE
from .cross_entropy import CrossEntropy
from .label_smoothing import kinks_within, smoothed
from .soft_label_smoothing import SoftLabelSmoothing


class OtherClassesSmoothing(NamedTuple):
    """A row loss whose label gives up a share s, spread evenly over all other classes.

    Definition
    ----------
    Let L(z, t) be the loss of C >= 2 logits z and labels t, and 0 <= s < 1. Then

        ℓ(z) = L(z, t),   t_i = y_i (1 - s C/(C - 1)) + s/(C - 1):

    a true class keeps 1 - s and every other one gets s/(C - 1).  That is `LabelSmoothing` with
    s C/(C - 1) in the place of s.

    Derivation
    ----------
    t is affine in y and in s, so derivatives in the logits are L's own at the labels t, and

        ∂ℓ/∂y_i = (1 - s C/(C - 1)) ∂L/∂t_i,      ∂ℓ/∂s = Σ_i (1 - y_i C)/(C - 1) ∂L/∂t_i.

    Accuracy
    --------
    t is carried to twice the precision, and rounded once.  Where the gradient of L cancels for soft
    labels, so it does here.

    References
    ----------
    Amid, Warmuth, Anil, Koren. Robust bi-tempered logistic loss based on Bregman divergences. 2019,
    whose published code smooths labels so.
    """

    loss: tuple = CrossEntropy()  # any loss of rows
    smoothing: Annotated[float, BELOW_ONE] = 0.1  # s; 0 is the loss itself

    targets = Targets.CLASSES
    least_classes = 2
    settings = (
        (CrossEntropy(), 0.1),
        (CrossEntropy(), 0.0),
        (CrossEntropy((0.5, 2.0, 1.0)), 0.3),
        (ClassificationMAE(), 0.2),
        (SoftLabelSmoothing(CrossEntropy(), 0.25), 0.2),
    )

    def textbook(self, z, y):
        return self.loss.textbook(z, self._smooth(y))

    def magnitudes(self, z, y):
        n, s = len(z), self.smoothing
        slopes = [1 + s / (n - 1)] * n, [(1 + y_i * n) / (n - 1) for y_i in y]
        return textbook.magnitudes_of_changed(self.loss.magnitudes(z, self._smooth(y)), *slopes)

    def kinks(self, z, y):
        return kinks_within(self.loss, z, self._smooth(y))

    def _smooth(self, y):
        n, s = len(y), self.smoothing
        return [y_i * (1 - s * n / (n - 1)) + s / (n - 1) for y_i in y]

    def relabel(self, y, low, n, positive):
        return smoothed(y, low, self.smoothing, n, n - 1.0)

    def relabel_slopes(self, y, low, n, positive):
        return (1.0 - self.smoothing) - self.smoothing / (n - 1.0), (1.0 - y) / (n - 1.0) - y
