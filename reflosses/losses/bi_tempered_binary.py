"""Bi-tempered logistic loss of single logits."""

from typing import Annotated, NamedTuple

from .. import textbook
from ..divergence import label_slope, moment, payment, slopes
from ..domain import NONNEGATIVE, POSITIVE, Targets
from ..special import inline, mass_times, power, two_sum
from ..tempered import stretch


@inline
def escorts(zero, one, t):
    """Return the escort probabilities of the two classes."""
    a, b = power(zero[0], zero[1], t, 0.0), power(one[0], one[1], t, 0.0)
    return a / (a + b), b / (a + b)


@inline
def slope_in_label(t1, side, y):
    """Return ∂F/∂y of a class, at an infinite logit the limit along finite ones."""
    return label_slope(t1, side[0] if y != 0.0 else max(side[0], -1e308), side[1], y)


class BiTemperedBinary(NamedTuple):
    """The bi-tempered loss of a yes-or-no label: robust to wrong ones.

    Definition
    ----------
    Let z be a logit and y in [0, 1] its target. Then ℓ(z) is `BiTempered` of the two logits 0 and z
    with the labels 1 - y and y; the second entry of their tempered softmax is the tempered sigmoid.

    Derivation
    ----------
    With F'_k, F''_k of the two classes, the escorts π_k, B = F'_0 + F'_1 and r_k = t2 π_k p_k^(t2-1),

        ℓ'    = π_0 F'_1 - π_1 F'_0
        ℓ''   = π_0² (F''_1 - B r_1) + π_1² (F''_0 - B r_0)
        ∂ℓ/∂y = ∂F_1/∂y_1 - ∂F_0/∂y_0,

    and ∂ℓ/∂t1, ∂ℓ/∂t2 as for rows.

    Accuracy
    --------
    The smaller probability is found directly and the larger one's complement is that; log p is carried
    to twice the precision.  For soft labels ℓ' vanishes at p = y, and near there only its absolute
    error is small.  For t1 > t2 and slopes of 2^1000 or more, second derivatives may be ∞ or nan.

    References
    ----------
    Amid, Warmuth, Anil, Koren. Robust bi-tempered logistic loss based on Bregman divergences. 2019.
    """

    t1: Annotated[float, NONNEGATIVE] = 0.8  # of the logarithm; below 1 the loss is bounded
    t2: Annotated[float, POSITIVE] = 1.2  # of the exponential; above 1 the tails are heavy

    targets = Targets.PROBABILITY
    contract = "tempered_pair"
    settings = (0.8, 1.2), (1.0, 1.0), (0.2, 4.0), (0.5, 0.8)

    def textbook(self, z, y):
        p = textbook.tempered_softmax([0 * z, z], self.t2)
        return sum(textbook.tempered_divergence(*pair, self.t1) for pair in zip([1 - y, y], p))

    def kinks(self, z, y):
        return textbook.tempered_supports([0 * z, z], self.t2)

    def magnitudes(self, z, y):
        terms = textbook.bi_tempered_magnitudes([0 * z, z], [1 - y, y], self.t1, self.t2)
        own = {verb: terms[verb][1] for verb in ("gradient", "hessian_diagonal")}
        return {**terms, **own, "label_gradient": sum(terms["label_gradient"])}

    def kernel(self, sides, y, low):
        (zero, one), not_y = sides, (1.0 - y) - low
        e0, e1 = escorts(zero, one, self.t2)
        slope0, bend0 = slopes(self.t1, self.t2, *zero, not_y)
        slope1, bend1 = slopes(self.t1, self.t2, *one, y)
        pull = slope0 + slope1
        beta, beta_low = two_sum(self.t2, -1.0)
        bend0 = bend0 - mass_times(e0, pull * (self.t2 * power(zero[0], zero[1], beta, beta_low)))
        bend1 = bend1 - mass_times(e1, pull * (self.t2 * power(one[0], one[1], beta, beta_low)))
        value = payment(self.t1, zero[0], zero[1], not_y) + payment(self.t1, one[0], one[1], y)
        return value, e0 * slope1 - e1 * slope0, e0 * e0 * bend1 + e1 * e1 * bend0

    def label_kernel(self, sides, y, low):
        (zero, one), not_y = sides, (1.0 - y) - low
        return slope_in_label(self.t1, one, y) - slope_in_label(self.t1, zero, not_y)

    def parameter_kernel(self, sides, y, low):
        (zero, one), not_y = sides, (1.0 - y) - low
        e0, e1 = escorts(zero, one, self.t2)
        slope0, _ = slopes(self.t1, self.t2, *zero, not_y)
        slope1, _ = slopes(self.t1, self.t2, *one, y)
        apart = stretch(self.t2, one[0], one[1]) - stretch(self.t2, zero[0], zero[1])
        moments = moment(self.t1, zero[0], zero[1], not_y) + moment(self.t1, one[0], one[1], y)
        return moments, mass_times(e0 * slope1 - e1 * slope0, apart)
