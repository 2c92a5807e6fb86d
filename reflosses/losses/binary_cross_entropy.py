"""Sigmoid (binary) cross entropy."""

from typing import Annotated, NamedTuple

from .. import textbook
from ..domain import NONNEGATIVE, Targets
from ..special import expit, log_expit, mass_times, softplus_tail


class BinaryCrossEntropy(NamedTuple):
    """The negative log-likelihood of a yes-or-no label under the logistic function.

    Definition
    ----------
    Let z be a logit, y in [0, 1] its target, p = σ(z) and w the weight of the positive part. Then

        ℓ(z) = -w y log p - (1 - y) log(1 - p).

    Derivation
    ----------
    Write a = w y, b = 1 - y, and use log p = -max(-z, 0) - L, log(1 - p) = -max(z, 0) - L
    with L = log(1 + exp(-|z|)); then (log p)' = 1 - p, (log(1 - p))' = -p, p' = p (1 - p) and

        ℓ       = (a + b) L + |z| (b if z > 0 else a)
        ℓ'      = b p - a (1 - p)
        ℓ''     = (a + b) p (1 - p)
        ∂ℓ/∂y   = log(1 - p) - w log p = (w - 1) L + w max(-z, 0) - max(z, 0)
        ∂ℓ/∂w   = -y log p.

    Accuracy
    --------
    The terms of ℓ are positive, p and 1 - p come from one exponential without a subtraction, and
    for y = 0 or 1 one term of ℓ' is zero.  For other y, ℓ' vanishes at p = a/(a + b) and near
    there only its absolute error is small.

    References
    ----------
    Cox. The regression analysis of binary sequences. 1958.
    Bishop. Pattern Recognition and Machine Learning. 2006, eq. (4.90).
    """

    pos_weight: Annotated[float, NONNEGATIVE] = 1.0  # multiplies the part of y; 1 is unweighted

    targets = Targets.PROBABILITY
    no_cancellation = ("value", "gradient", "hessian_diagonal")  # for hard labels
    settings = (1.0,), (0.0,), (0.3,), (20.0,)

    def textbook(self, z, y):
        p, not_p = textbook.sigmoid(z), textbook.sigmoid(-z)
        return -self.pos_weight * y * textbook.log(p) - (1 - y) * textbook.log(not_p)

    def magnitudes(self, z, y):
        p, not_p = textbook.sigmoid(z), textbook.sigmoid(-z)
        return {
            "gradient": self.pos_weight * y * not_p + (1 - y) * p,
            "label_gradient": -self.pos_weight * textbook.log(p) - textbook.log(not_p),
            "parameter_gradient": [-y * textbook.log(p)],
        }

    def kernel(self, z, y, low):
        a, b = self.pos_weight * y, (1.0 - y) - low
        p, not_p = expit(z), expit(-z)
        value = (a + b) * softplus_tail(z) + mass_times(b if z > 0.0 else a, abs(z))
        return value, b * p - a * not_p, (a + b) * p * not_p

    def label_kernel(self, z, y):
        above, below = max(z, 0.0), max(-z, 0.0)
        balance = (self.pos_weight - 1.0) * softplus_tail(z)
        return balance + (mass_times(self.pos_weight, below) - above)

    def parameter_kernel(self, z, y):
        return (-mass_times(y, log_expit(z)),)
