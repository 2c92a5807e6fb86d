"""Label smoothing of soft labels."""

from typing import Annotated, NamedTuple

from .. import textbook
from ..domain import NONNEGATIVE, Targets
from ..special import fast_two_sum, inline, product, two_sum
from .cross_entropy import CrossEntropy
from .label_smoothing import kinks_within, quotient
from .sparse_label_smoothing import SparseLSR


@inline
def surplus(y, low, alpha, m):
    """Return m (y + low) - α as high + low, whose sign is that of y + low - α/m."""
    high, rest = product(m, y)
    high, error = two_sum(high, -alpha)
    return two_sum(high, error + (rest + m * low))


class SoftLabelSmoothing(NamedTuple):
    """A row loss whose positive labels give up a share α together, spread evenly over all classes.

    Definition
    ----------
    Let L(z, t) be the loss of C logits z and labels t, α >= 0, and m the number of positive
    labels of the row. Then

        ℓ(z) = L(z, t),   t_i = max(y_i - α/m, 0) + α/C.

    For a class, or a row with a single 1, and α <= 1 that is `LabelSmoothing`; otherwise a label
    below α/m gives up no more than it has, and t sums to more than 1.

    Derivation
    ----------
    t is piecewise affine in y and in α, so derivatives in the logits are L's own at t, and

        ∂ℓ/∂y_i = [y_i > α/m] ∂L/∂t_i,      ∂ℓ/∂α = Σ_i (1/C - [y_i > α/m]/m) ∂L/∂t_i;

    at the kink y_i = α/m that is the derivative towards smaller y, and m does not change.

    Accuracy
    --------
    y - α/m is (m y - α)/m, whose sign is exact; t is carried to twice the precision, and rounded once.

    References
    ----------
    The incendio library's `smooth_soft_labels`, 2020, documented with htools.
    """

    loss: tuple = CrossEntropy()  # any loss of rows
    smoothing: Annotated[float, NONNEGATIVE] = 0.1  # α; 0 is the loss itself

    targets = Targets.CLASSES
    counts_positive = True
    settings = (
        (CrossEntropy(), 0.1),
        (CrossEntropy(), 0.0),
        (CrossEntropy((0.5, 2.0, 1.0)), 0.3),
        (CrossEntropy(), 1.5),
        (SparseLSR(0.25), 0.2),
    )

    def textbook(self, z, y):
        return self.loss.textbook(z, self._smooth(y))

    def magnitudes(self, z, y):
        m, share = max(sum(y_i > 0 for y_i in y), 1), self._share(y)
        slopes = [int(y_i > share) for y_i in y]
        of_alpha = [1 / len(y) + slope / m for slope in slopes]
        return textbook.magnitudes_of_changed(self.loss.magnitudes(z, self._smooth(y)), slopes, of_alpha)

    def kinks(self, z, y):
        return kinks_within(self.loss, z, self._smooth(y))

    def _share(self, y):
        return self.smoothing / max(sum(y_i > 0 for y_i in y), 1)

    def _smooth(self, y):
        share = self._share(y)
        return [(y_i - share if y_i > share else 0) + self.smoothing / len(y) for y_i in y]

    def relabel(self, y, low, n, positive):
        m = max(positive, 1.0)
        left, left_low = surplus(y, low, self.smoothing, m)
        kept, kept_low = quotient(left, m)
        keeps = not left <= 0.0  # nan stays nan
        share, share_low = quotient(self.smoothing, n)
        t, error = two_sum(kept if keeps else 0.0, share)
        return fast_two_sum(t, error + (share_low + (kept_low + left_low / m if keeps else 0.0)))

    def relabel_slopes(self, y, low, n, positive):
        m = max(positive, 1.0)
        gives = surplus(y, low, self.smoothing, m)[0] > 0.0
        return 1.0 if gives else 0.0, 1.0 / n - (1.0 / m if gives else 0.0)
