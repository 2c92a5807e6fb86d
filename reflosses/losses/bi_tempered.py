"""Bi-tempered logistic loss."""

import math
from typing import Annotated, NamedTuple

from .. import textbook
from ..divergence import label_slope, moment, payment, slopes
from ..domain import NONNEGATIVE, POSITIVE, Targets
from ..special import power, two_sum


class BiTempered(NamedTuple):
    """A logistic loss with a bounded logarithm and a heavy-tailed softmax: robust to wrong labels.

    Definition
    ----------
    Let z be C logits, y their labels (a class, or a row of probabilities), p_i = exp_t2(z_i - λ)
    the tempered softmax, and log_t u = (u^(1-t) - 1)/(1 - t). Then

        ℓ(z) = Σ_i y_i (log_t1 y_i - log_t1 p_i) - (y_i^(2-t1) - p_i^(2-t1))/(2 - t1).

    t1 < 1 bounds it, t2 > 1 gives p heavy tails; t1 = t2 = 1 is KL(y ‖ softmax(z)), cross entropy
    less the entropy of the labels, and for t1 >= 2 the value is ∞ where a label is 0.

    Derivation
    ----------
    A class pays F = ∫ (x - y) x^(-t1) dx from y to p.  With u = z_i - λ and dp/du = p^t2,

        F'      = (p - y) p^(t2-t1)
        F''     = p^(2 t2 - t1 - 1) (p + (t2 - t1)(p - y))
        ∂ℓ/∂y_i = log_t1 y_i - log_t1 p_i = -y^b (e^(bD) - 1)/b
        ∂F/∂t1  = -∫ (x - y) x^(-t1) log x dx,

    b = 1 - t1, D = log(p/y), and for y > 0, F = y^(b+1) J with J = ∫ (e^w - 1) e^(bw) dw from 0 to D.
    `reflosses.tempered` turns F' and F'' into the row's derivatives, ∂ℓ/∂t2 among them.

    Accuracy
    --------
    J has no cancellation, so that a confident row's value, about (1 - p)²/2, keeps its digits; it is
    log p that is carried to twice the precision.  For soft labels p - y cancels near p = y.  For
    t1 > t2, F' of a tiny p is huge: in rows where it reaches 2^1000, sums may be ∞ or nan.

    References
    ----------
    Amid, Warmuth, Anil, Koren. Robust bi-tempered logistic loss based on Bregman divergences. 2019,
    eqs. (4), (5) and section 3.
    """

    t1: Annotated[float, NONNEGATIVE] = 0.8  # of the logarithm; below 1 the loss is bounded
    t2: Annotated[float, POSITIVE] = 1.2  # of the exponential; above 1 the tails are heavy

    targets = Targets.CLASSES
    contract = "tempered"
    settings = (0.8, 1.2), (1.0, 1.0), (0.2, 4.0), (0.5, 0.8)

    def textbook(self, z, y):
        p = textbook.tempered_softmax(z, self.t2)
        return sum(textbook.tempered_divergence(y_i, p_i, self.t1) for y_i, p_i in zip(y, p))

    def kinks(self, z, y):
        return textbook.tempered_supports(z, self.t2)

    def magnitudes(self, z, y):
        return textbook.bi_tempered_magnitudes(z, y, self.t1, self.t2)

    def kernel(self, log_p, low, q, c, y):
        return payment(self.t1, log_p, low, y), *slopes(self.t1, self.t2, log_p, low, q, c, y)

    def curvature_kernel(self, log_p, low):
        a, a_low = two_sum(2.0 * self.t2, -self.t1)
        return power(log_p, low, a, a_low) if log_p > -math.inf else 0.0  # outside of a support nothing bends

    def label_kernel(self, log_p, low, q, c, y):
        return label_slope(self.t1, log_p, low, y)

    def parameter_kernel(self, log_p, low, q, c, y):
        return moment(self.t1, log_p, low, y), 0.0
