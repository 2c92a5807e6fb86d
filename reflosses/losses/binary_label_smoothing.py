"""Label smoothing of single logits."""

from typing import Annotated, NamedTuple

from .. import textbook
from ..domain import BELOW_ONE, Targets
from .binary_cross_entropy import BinaryCrossEntropy
from .binary_focal import BinaryFocal
from .label_smoothing import kinks_within, smoothed


class BinaryLabelSmoothing(NamedTuple):
    """A loss of single logits whose labels move towards one half.

    Definition
    ----------
    Let L(z, t) be the loss of a logit z with a label t in [0, 1], and 0 <= s < 1. Then

        ℓ(z) = L(z, t),   t = y (1 - s) + s/2,

    which is `LabelSmoothing` of the two classes 1 - y and y.

    Derivation
    ----------
    t is affine in y and in s, so derivatives in the logit are L's own at the label t, and

        ∂ℓ/∂y = (1 - s) ∂L/∂t,      ∂ℓ/∂s = (1/2 - y) ∂L/∂t.

    Accuracy
    --------
    t is carried to twice the precision, so that 1 - t loses nothing either.  The gradient of smoothed
    cross entropy vanishes at p = t, and near there only its absolute error is small.

    References
    ----------
    Szegedy, Vanhoucke, Ioffe, Shlens, Wojna. Rethinking the Inception architecture for computer
    vision. 2016, section 7, for two classes as in Keras, `BinaryCrossentropy`.
    """

    loss: tuple = BinaryCrossEntropy()  # any loss of single logits and of labels in [0, 1]
    smoothing: Annotated[float, BELOW_ONE] = 0.1  # s; 0 is the loss itself

    targets = Targets.PROBABILITY
    settings = (
        (BinaryCrossEntropy(), 0.1),
        (BinaryCrossEntropy(), 0.0),
        (BinaryCrossEntropy(2.0), 0.3),
        (BinaryFocal(1.5, 0.25), 0.2),
    )

    def textbook(self, z, y):
        return self.loss.textbook(z, self._smooth(y))

    def magnitudes(self, z, y):
        inner = self.loss.magnitudes(z, self._smooth(y))
        return textbook.magnitudes_of_changed(inner, 1 - self.smoothing, 0.5 + y)

    def kinks(self, z, y):
        return kinks_within(self.loss, z, self._smooth(y))

    def _smooth(self, y):
        return y * (1 - self.smoothing) + self.smoothing / 2

    def relabel(self, y, low, n, positive):
        return smoothed(y, low, self.smoothing, n, n)

    def relabel_slopes(self, y, low, n, positive):
        return 1.0 - self.smoothing, 1.0 / n - y
