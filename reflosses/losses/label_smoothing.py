"""Uniform label smoothing of a row loss."""

from typing import Annotated, NamedTuple

from ..dispatch import classwise, classwise_label, classwise_parameters
from ..domain import BELOW_ONE, Targets
from ..special import fma, inline, mass_times, two_sum
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
    settings = (CrossEntropy(), 0.1), (CrossEntropy(), 0.0), (CrossEntropy((0.5, 2.0, 1.0)), 0.3)

    def textbook(self, z, y):
        return self.loss.textbook(z, self._smooth(y))

    def magnitudes(self, z, y):
        inner = self.loss.magnitudes(z, self._smooth(y))
        slopes = inner["label_gradient"]
        of_smoothing = sum((1 / len(z) + y_i) * slope for y_i, slope in zip(y, slopes))
        return {
            **inner,
            "label_gradient": [(1 - self.smoothing) * slope for slope in slopes],
            "parameter_gradient": [*inner["parameter_gradient"], of_smoothing],
        }

    def _smooth(self, y):
        return [y_i * (1 - self.smoothing) + self.smoothing / len(y) for y_i in y]

    def kernel(self, u, q, c, y, n):
        return classwise(self.loss, u, q, c, smoothed(y, self.smoothing, n), n)

    def label_kernel(self, u, q, c, y, n):
        t = smoothed(y, self.smoothing, n)
        return (1.0 - self.smoothing) * classwise_label(self.loss, u, q, c, t, n)

    def parameter_kernel(self, u, q, c, y, n):
        t = smoothed(y, self.smoothing, n)
        smoothing = mass_times(1.0 / n - y, classwise_label(self.loss, u, q, c, t, n))
        return classwise_parameters(self.loss, u, q, c, t, n) + (smoothing,)
