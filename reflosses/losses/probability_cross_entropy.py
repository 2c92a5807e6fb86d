"""Cross entropy of rows of probabilities, as they are given."""

from typing import Annotated, NamedTuple

from .. import textbook
from ..domain import UNIT, UP_TO_HALF, Targets
from ..special import inline, log_parts, two_sum


@inline
def entropy(u, q, c, epsilon):
    """Return (-log r, its first, its second derivative in u = log q) of r = min(max(q, ε), 1 - ε), c = 1 - q."""
    inside = not (q < epsilon or c < epsilon)
    end, end_low = two_sum(0.0 if q < epsilon else 1.0, epsilon if q < epsilon else -epsilon)
    log_end, log_low = log_parts(end, end_low)
    return -u if inside else -(log_end + log_low), -1.0 if inside else 0.0, 0.0


@inline
def slope_in_epsilon(q, c, epsilon):
    """Return the derivative of -log r in ε."""
    return -1.0 / epsilon if q < epsilon else 1.0 / (1.0 - epsilon) if c < epsilon else 0.0


class ProbabilityCrossEntropy(NamedTuple):
    """The negative log-likelihood of the labels under probabilities, which may be clipped.

    Definition
    ----------
    Let p be C numbers in [0, 1] that need not sum to 1, y their labels (a class, or a row of
    probabilities) and q_i = min(max(p_i, ε), 1 - ε). Then

        ℓ(p) = -Σ_i y_i log q_i,

    where 0·log 0 = 0.  ε = 0 is the likelihood itself, ∞ where a label has the probability 0.

    Derivation
    ----------
    A label pays φ(u) = -u as a function of u = log p, with φ' = -1 and φ'' = 0 between the ends of the
    clip; beyond them φ is constant.  Every derivative is then that of one class,

        ∂ℓ/∂p_j    = -y_j/p_j,      ∂²ℓ/∂p_j² = y_j/p_j²      where ε <= p_j <= 1 - ε, else 0
        ∂ℓ/∂y_j    = -log q_j
        ∂ℓ/∂ε      = Σ_i -y_i/ε where p_i < ε, y_i/(1 - ε) where p_i > 1 - ε, else 0,

    and the Hessian is diagonal.  At an end, a kink, derivatives are those from between the ends.

    Accuracy
    --------
    Nothing cancels, but for terms of two signs in ∂ℓ/∂ε: each result is a sum of positive terms, each
    rounded about once, and 1 - ε is not rounded.

    References
    ----------
    Goodfellow, Bengio, Courville. Deep Learning. 2016, section 6.2.2.3.
    Mamdani. incendio, `soft_label_cross_entropy`. 2020: where it counts infinite terms as 0, this is ∞.
    """

    epsilon: Annotated[float, UP_TO_HALF] = 0.0  # p is clipped to [epsilon, 1 - epsilon]; 0 is no clip

    targets = Targets.CLASSES
    predictions = UNIT
    contract = "given"
    no_cancellation = ("value", "gradient", "hessian_diagonal")  # for hard labels
    settings = (0.0,), (1e-7,), (0.0625,)

    def textbook(self, z, y):
        return sum(-y_i * textbook.log(textbook.clip(p_i, self.epsilon)) for p_i, y_i in zip(z, y))

    def kinks(self, z, y):
        return [end for p_i in z for end in textbook.ends_of_clip(p_i, self.epsilon)]

    def magnitudes(self, z, y):
        outside = [p_i < self.epsilon or 1 - p_i < self.epsilon for p_i in z]
        terms = [y_i / textbook.clip(p_i, self.epsilon) for p_i, y_i in zip(z, y)]
        return {"parameter_gradient": [sum(t if out else 0 * t for t, out in zip(terms, outside))]}

    def kernel(self, u, q, c):
        return entropy(u, q, c, self.epsilon)

    def parameter_kernel(self, u, q, c):
        return (slope_in_epsilon(q, c, self.epsilon),)
