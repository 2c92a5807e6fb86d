"""Binary cross entropy of a probability."""

from typing import Annotated, NamedTuple

from .. import textbook
from ..domain import NONNEGATIVE, UNIT, UP_TO_HALF, Targets
from ..special import inline, log_parts, mass_times, over, two_sum


@inline
def arguments(p, epsilon, added):
    """Return q + a and 1 - q + a of the clipped q as high + low each, and whether the clip left p alone.

    The smaller one of p and 1 - p, and what the clip makes of it, are numbers without an error.
    """
    upper = p > 0.5
    x = 1.0 - p if upper else p
    inside = not x < epsilon
    x = x if inside else epsilon
    near, near_low = two_sum(x, added)
    move, move_low = two_sum(added, -x)
    far, far_low = two_sum(1.0, move)
    far, far_low = two_sum(far, far_low + move_low)
    if upper:
        return far, far_low, near, near_low, inside
    return near, near_low, far, far_low, inside


@inline
def log(x, low):
    """Return log(x + low)."""
    high, low = log_parts(x, low)
    return high + low


class BinaryProbabilityCrossEntropy(NamedTuple):
    """The negative log-likelihood of a yes-or-no label under a probability, which may be clipped.

    Definition
    ----------
    Let p in [0, 1] be the probability that a label y in [0, 1] is 1, q = min(max(p, ε), 1 - ε), and
    a >= 0 a number added inside of the logarithms. Then

        ℓ(p) = -y log(q + a) - (1 - y) log(1 - q + a),

    where 0·log 0 = 0.  ε = a = 0 is the likelihood itself, ∞ where it is ∞; ε = 1e-7 is the formula
    of Keras 3, and with a = 1e-7 that of tf.keras in TensorFlow 2.1.

    Derivation
    ----------
    Between the ends of the clip q = p, and with b = y/(q + a), d = (1 - y)/(1 - q + a),

        ℓ'    = d - b
        ℓ''   = b/(q + a) + d/(1 - q + a)
        ∂ℓ/∂y = log(1 - q + a) - log(q + a)
        ∂ℓ/∂a = -b - d.

    Beyond the ends ℓ' = ℓ'' = 0, and ∂ℓ/∂ε is d - b where p < ε and b - d where p > 1 - ε; between
    them it is 0.  At an end, a kink, derivatives are those from between the ends.

    Accuracy
    --------
    q + a and 1 - q + a are carried as two numbers each, without an error: logarithms keep their digits
    where they are next to 0, and 1 - ε is not rounded.  For soft labels the two terms of ℓ' cancel at
    q = y, for a = 0, and for a > 0 those of ℓ may have two signs; there only absolute errors are small.

    References
    ----------
    Cox. The regression analysis of binary sequences. 1958.
    Keras, `keras.losses.binary_crossentropy`, 2015; TensorFlow 2.1, `tf.keras.backend`, 2020.
    """

    epsilon: Annotated[float, UP_TO_HALF] = 0.0  # p is clipped to [epsilon, 1 - epsilon]; 0 is no clip
    added: Annotated[float, NONNEGATIVE] = 0.0  # a, inside of both logarithms

    targets = Targets.PROBABILITY
    predictions = UNIT
    no_cancellation = ("value", "gradient", "hessian_diagonal")  # for hard labels
    settings = (0.0, 0.0), (1e-7, 0.0), (1e-7, 1e-7), (0.0625, 0.25)

    def textbook(self, z, y):
        q = textbook.clip(z, self.epsilon)
        return -y * textbook.log(q + self.added) - (1 - y) * textbook.log(1 - q + self.added)

    def kinks(self, z, y):
        return textbook.ends_of_clip(z, self.epsilon)

    def magnitudes(self, z, y):
        q = textbook.clip(z, self.epsilon)
        b, d = y / (q + self.added), (1 - y) / (1 - q + self.added)
        log_q, log_c = abs(textbook.log(q + self.added)), abs(textbook.log(1 - q + self.added))
        inside = not (z < self.epsilon or 1 - z < self.epsilon)
        return {
            "value": y * log_q + (1 - y) * log_c,
            "gradient": b + d if inside else 0,
            "label_gradient": log_q + log_c,
            "parameter_gradient": [0 if inside else b + d, b + d],
        }

    def kernel(self, z, y, low):
        q, q_low, c, c_low, inside = arguments(z, self.epsilon, self.added)
        not_y = (1.0 - y) - low
        value = mass_times(y, -log(q, q_low)) + mass_times(not_y, -log(c, c_low))
        b, d = over(y, q), over(not_y, c)
        return value, d - b if inside else 0.0, over(b, q) + over(d, c) if inside else 0.0

    def label_kernel(self, z, y):
        q, q_low, c, c_low, _ = arguments(z, self.epsilon, self.added)
        return log(c, c_low) - log(q, q_low)

    def parameter_kernel(self, z, y, low):
        q, _, c, _, inside = arguments(z, self.epsilon, self.added)
        b, d = over(y, q), over((1.0 - y) - low, c)
        of_end = d - b if z < 0.5 else b - d
        return z - z if inside else of_end, -b - d  # 0, or nan for nan
