"""Bi-tempered logistic loss."""

import math
from typing import Annotated, NamedTuple

from .. import textbook
from ..divergence import label_slope, moment, payment, slopes
from ..domain import NONNEGATIVE, POSITIVE, Targets

SUBNORMAL = 2.0**-1022  # F' below it is a multiple of the smallest number


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
        ∂F/∂y   = log_t1 y - log_t1 p = -y^b (e^(bD) - 1)/b
        ∂F/∂t1  = -∫ (x - y) x^(-t1) log x dx,

    b = 1 - t1, D = log(p/y), and for y > 0, F = y^(b+1) J with J = ∫ (e^w - 1) e^(bw) dw from 0 to D.
    `reflosses.tempered` turns F' and F'' into the row's derivatives, ∂ℓ/∂t2 among them.

    Accuracy
    --------
    J has no cancellation, so that a confident row's value, about (1 - p)²/2, keeps its digits; it is
    log p that is carried to twice the precision.  For soft labels p - y cancels near p = y.

    References
    ----------
    Amid, Warmuth, Anil, Koren. Robust bi-tempered logistic loss based on Bregman divergences. 2019,
    eqs. (4), (5) and section 3.
    """

    t1: Annotated[float, NONNEGATIVE] = 0.8  # of the logarithm; below 1 the loss is bounded
    t2: Annotated[float, POSITIVE] = 1.2  # of the exponential; above 1 the tails are heavy

    targets = Targets.CLASSES
    contract = "tempered"
    settings = (0.8, 1.2), (0.5, 1.5), (1.0, 1.0), (0.2, 4.0), (0.5, 0.8), (1.5, 2.0), (1.0 - 1e-9, 1.0 + 1e-15)

    def textbook(self, z, y):
        p = textbook.tempered_softmax(z, self.t2)
        return sum(self._divergence(y_i, p_i) for y_i, p_i in zip(y, p))

    def _divergence(self, y, p):
        if p == 0 and self.t1 >= 2:
            return y * math.inf
        linear = y * (textbook.log_t(y, self.t1) - textbook.log_t(p, self.t1))
        return linear - (textbook.log_t(y, self.t1 - 1) - textbook.log_t(p, self.t1 - 1))

    def kinks(self, z, y):
        normalization = textbook.tempered_normalization(z, self.t2)
        return [abs(1 + (1 - self.t2) * (z_i - normalization)) if z_i > -math.inf else 1 for z_i in z]

    def magnitudes(self, z, y):
        t1, t, n = self.t1, self.t2, range(len(z))
        p = textbook.tempered_softmax(z, t)
        seen = [i for i in n if p[i] != 0]
        c = [sum(p[:i] + p[i + 1 :]) for i in n]
        apart = [c[i] if y[i] == 1 else p[i] + y[i] for i in n]
        f1 = [apart[i] * textbook.power(p[i], t - t1) if i in seen else 0 for i in n]
        bend = [textbook.power(p[i], 2 * t - t1 - 1) * (p[i] + abs(t - t1) * apart[i]) if i in seen else 0 for i in n]
        escort = [textbook.power(p[i], t) if i in seen else 0 for i in n]
        mass = sum(escort)
        e = [escort[i] / mass for i in n]
        rest = [sum(e[:i] + e[i + 1 :]) for i in n]
        f2 = [bend[i] + sum(f1) * t * textbook.power(p[i], 2 * t - 1) / mass if i in seen else 0 for i in n]
        far = [[rest[k] if k == i else e[i] for k in n] for i in n]
        return {
            "value": sum(self._magnitude(y[i], p[i]) for i in n),
            "gradient": [sum(f1[k] * far[i][k] for k in n) for i in n],
            "hessian_diagonal": [sum(f2[k] * far[i][k] * far[i][k] for k in n) for i in n],
            "hessian": [sum(f2[k] * far[i][k] * far[j][k] for k in n) for i in n for j in n],
            "label_gradient": [self._slope(y[i], p[i]) for i in n],
            "parameter_gradient": [
                sum(self._magnitude(y[i], p[i]) * self._logs(y[i], p[i]) for i in seen),
                sum((f1[i] + e[i] * sum(f1) + SUBNORMAL) * textbook.tempered_stretch(p[i], t) for i in seen),
            ],
        }

    def _logs(self, y, p):
        return 1 - textbook.log(p) - (0 if y == 0 else textbook.log(y))

    def _slope(self, y, p):
        far = abs(textbook.log_t(p, self.t1))
        return far + abs(textbook.log_t(y, self.t1)) if y > 0 else abs(textbook.log_t(p, self.t1))

    def _magnitude(self, y, p):
        if y == 0 or y == 1 or p == 0:
            return self._divergence(y, p)
        whole = [abs(y * textbook.log_t(x, self.t1)) + abs(textbook.log_t(x, self.t1 - 1)) for x in (y, p)]
        return sum(whole)

    def kernel(self, log_p, low, q, c, y):
        return payment(self.t1, log_p, low, y), *slopes(self.t1, self.t2, log_p, low, q, c, y)

    def label_kernel(self, log_p, low, q, c, y):
        return label_slope(self.t1, log_p, low, y)

    def parameter_kernel(self, log_p, low, q, c, y):
        return moment(self.t1, log_p, low, y), 0.0
