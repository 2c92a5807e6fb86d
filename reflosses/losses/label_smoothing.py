"""Uniform label smoothing of a row loss."""

from typing import Annotated, NamedTuple

from ..domain import BELOW_ONE, Targets
from ..special import fma, inline, two_sum
from .categorical_focal import CategoricalFocal
from .cross_entropy import CrossEntropy


@inline
def smoothed(y, s, n):
    """Return y + s (1/n - y), rounded about once."""
    uniform = 1.0 / n
    uniform_low = fma(-uniform, n, 1.0) * uniform
    step, step_low = two_sum(uniform, -y)
    move = s * step
    t, error = two_sum(y, move)
    return t + (error + (fma(s, step, -move) + s * (step_low + uniform_low)))


def magnitudes_of_changed(inner, in_label, in_parameter):
    """Return the magnitudes of a loss whose labels are changed, from those of the loss within it.

    ``in_label`` and ``in_parameter`` are the changed labels' absolute slopes, one a class or, for
    losses of single logits, one.
    """
    slopes = inner["label_gradient"]
    if not isinstance(slopes, list):
        own, of_parameter = in_label * slopes, in_parameter * slopes
    else:
        own = [slope * factor for slope, factor in zip(slopes, in_label)]
        of_parameter = sum(slope * factor for slope, factor in zip(slopes, in_parameter))
    return {**inner, "label_gradient": own, "parameter_gradient": [*inner["parameter_gradient"], of_parameter]}


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
    t = y + s (1/C - y) is rounded about once.  The gradient of smoothed cross entropy
    vanishes at p = t, and near there only its absolute error is small.

    References
    ----------
    Szegedy, Vanhoucke, Ioffe, Shlens, Wojna. Rethinking the Inception architecture for computer
    vision. 2016, section 7.
    """

    loss: CrossEntropy = CrossEntropy()
    smoothing: Annotated[float, BELOW_ONE] = 0.1  # s; 0 is the loss itself

    targets = Targets.CLASSES
    no_cancellation = ("value",)  # for hard labels
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
        return magnitudes_of_changed(inner, [1 - self.smoothing] * len(z), [1 / len(z) + y_i for y_i in y])

    def _smooth(self, y):
        return [y_i * (1 - self.smoothing) + self.smoothing / len(y) for y_i in y]

    def relabel(self, y, n, positive):
        return smoothed(y, self.smoothing, n)

    def relabel_slopes(self, y, n, positive):
        return 1.0 - self.smoothing, 1.0 / n - y
