"""Uniform label smoothing of a row loss."""

from typing import Annotated, NamedTuple

from .. import textbook
from ..domain import BELOW_ONE, Targets
from ..special import fast_two_sum, fma, inline, product, two_sum
from .categorical_focal import CategoricalFocal
from .cross_entropy import CrossEntropy


@inline
def quotient(a, b):
    """Return a/b as high + low."""
    q = a / b
    return q, fma(-q, b, a) / b


@inline
def smoothed(y, low, s, n, others):
    """Return y + low + s (1 - n (y + low))/others as high + low."""
    share, share_low = quotient(1.0, others)
    loss, loss_low = quotient(n, others)
    given, given_low = product(loss, y)
    step, step_low = two_sum(share, -given)
    step_low += share_low - (given_low + (loss_low * y + loss * low))
    move, move_low = product(s, step)
    t, error = two_sum(y, move)
    return fast_two_sum(t, error + (low + (move_low + s * step_low)))


def kinks_within(loss, z, t):
    """Return the kinks of a loss at changed labels, none if it states none."""
    return loss.kinks(z, t) if hasattr(loss, "kinks") else []


class LabelSmoothing(NamedTuple):
    """A row loss whose labels give up a share s, spread evenly over all classes.

    Definition
    ----------
    Let L(z, t) be the loss of C logits z and labels t. Then

        ℓ(z) = L(z, t),   t_i = y_i (1 - s) + s/C.

    With cross entropy this is the LSR of Inception-v3, and what Keras, PyTorch and fastai call
    label smoothing.  The true class keeps 1 - s + s/C; conventions that spread s over the other
    C - 1 classes only differ from this one by the choice of s.

    Derivation
    ----------
    t is affine in y and in s, so derivatives in the logits are L's own at the labels t, and

        ∂ℓ/∂y_i = (1 - s) ∂L/∂t_i,      ∂ℓ/∂s = Σ_i (1/C - y_i) ∂L/∂t_i.

    Accuracy
    --------
    t is carried to twice the precision, and rounded once.  The gradient of smoothed cross entropy
    vanishes at p = t, and near there only its absolute error is small.

    References
    ----------
    Szegedy, Vanhoucke, Ioffe, Shlens, Wojna. Rethinking the Inception architecture for computer
    vision. 2016, section 7.
    """

    loss: tuple = CrossEntropy()  # any loss of rows
    smoothing: Annotated[float, BELOW_ONE] = 0.1  # s; 0 is the loss itself

    targets = Targets.CLASSES
    settings = (
        (CrossEntropy(), 0.1),
        (CrossEntropy(), 0.0),
        (CrossEntropy((0.5, 2.0, 1.0)), 0.3),
        (CategoricalFocal(1.5), 0.2),
    )

    def textbook(self, z, y):
        return self.loss.textbook(z, self._smooth(y))

    def magnitudes(self, z, y):
        inner = self.loss.magnitudes(z, self._smooth(y))
        slopes = [1 - self.smoothing] * len(z), [1 / len(z) + y_i for y_i in y]
        return textbook.magnitudes_of_changed(inner, *slopes)

    def kinks(self, z, y):
        return kinks_within(self.loss, z, self._smooth(y))

    def _smooth(self, y):
        return [y_i * (1 - self.smoothing) + self.smoothing / len(y) for y_i in y]

    def relabel(self, y, low, n, positive):
        return smoothed(y, low, self.smoothing, n, n)

    def relabel_slopes(self, y, low, n, positive):
        return 1.0 - self.smoothing, 1.0 / n - y
