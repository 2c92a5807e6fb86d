"""Focal loss of soft labels."""

from typing import Annotated, NamedTuple

from .. import textbook
from ..domain import NONNEGATIVE, UNIT, Targets
from ..special import fma, inline, log1p, mass_times, product, softplus_tail, two_sum
from .focus import parts, power, sides, times


@inline
def balance(alpha, y, low):
    """Return a = α y + (1 - α)(1 - y) as high + low, and its slope in y; 1 and 0 for no α."""
    if alpha is None:
        return 1.0, 0.0, 0.0
    not_y, not_low, _, _ = sides(0.0, y, low)
    beta, beta_low = two_sum(1.0, -alpha)
    one, one_low = product(alpha, y)
    other, other_low = product(beta, not_y)
    a, error = two_sum(one, other)
    return a, error + (one_low + other_low) + (beta_low * not_y + (beta * not_low + alpha * low)), alpha - beta


@inline
def ratio(p, not_p, y, low, not_y, not_low):
    """Return h = p (1 - p)/c, c = y (1 - p) + (1 - y) p, rounded about once."""
    top, top_low = product(p, not_p)
    one, one_low = product(y, not_p)
    other, other_low = product(not_y, p)
    c, error = two_sum(one, other)
    error += (one_low + other_low) + (low * not_p + not_low * p)
    h = top / c
    return h + (fma(-h, c, top) + (top_low - h * error)) / c


class BinaryFocal(NamedTuple):
    """Binary cross entropy of soft labels that fades where the prediction is already right.

    Definition
    ----------
    Let z be a logit, p = σ(z), y in [0, 1] its target, c = y (1 - p) + (1 - y) p how far the two
    are apart, and a = α y + (1 - α)(1 - y), or 1 if α is absent. Then, as with `SigmoidFocal` for
    y = 0 and y = 1,

        ℓ(z) = a c^γ b,   b = -y log p - (1 - y) log(1 - p).

    Derivation
    ----------
    With h = p (1 - p)/c = 1/(y/p + (1 - y)/(1 - p)) and r = (1 - 2y) h,

        c'/c = r,   c''/c = r (1 - 2p),   b' = p - y,   b'' = p (1 - p),  hence
        ℓ'    = a c^γ (γ r b + b')
        ℓ''   = a c^γ (γ b r ((γ - 1) r + 1 - 2p) + 2γ r b' + b'')
        ∂ℓ/∂y = c^γ (a' b + a (γ b (1 - 2p)/c - z)),   a' = 2α - 1 or 0
        ∂ℓ/∂γ = ℓ log c,      ∂ℓ/∂α = (2y - 1) c^γ b.

    Accuracy
    --------
    All terms of the value are positive, and log c is carried to twice the precision, so that a large
    γ does not multiply its error.  For y = 0 and y = 1 the terms of ℓ' share a sign; for other labels
    ℓ' has a root, and near there only its absolute error is small.

    References
    ----------
    Lin, Goyal, Girshick, He, Dollár. Focal loss for dense object detection. 2017; for soft labels as
    TensorFlow Addons, torchvision and optax continue it.
    """

    gamma: Annotated[float, NONNEGATIVE] = 2.0  # focus; 0 is cross entropy
    alpha: Annotated[float | None, UNIT] = 0.25  # weight of y = 1; y = 0 gets 1 - alpha

    targets = Targets.PROBABILITY
    no_cancellation = ("value", "gradient")  # for hard labels
    settings = (2.0, 0.25), (0.0, None), (0.5, 1.0), (1.7, 0.0), (5.0, 0.25)

    def textbook(self, z, y):
        p, not_p = textbook.sigmoid(z), textbook.sigmoid(-z)
        a = 1 if self.alpha is None else self.alpha * y + (1 - self.alpha) * (1 - y)
        focus = textbook.power(y * not_p + (1 - y) * p, self.gamma)
        return -a * focus * (y * textbook.log(p) + (1 - y) * textbook.log(not_p))

    def magnitudes(self, z, y):
        p, not_p, g = textbook.sigmoid(z), textbook.sigmoid(-z), self.gamma
        a = 1 if self.alpha is None else self.alpha * y + (1 - self.alpha) * (1 - y)
        da = 0 if self.alpha is None else abs(2 * self.alpha - 1)
        c = y * not_p + (1 - y) * p
        w, r = textbook.power(c, g), abs(1 - 2 * y) * p * not_p / c
        b, slope = -y * textbook.log(p) - (1 - y) * textbook.log(not_p), y * not_p + (1 - y) * p
        return {
            "gradient": a * w * (g * r * b + slope),
            "hessian_diagonal": a * w * (g * b * r * (abs(g - 1) * r + 1) + 2 * g * r * slope + p * not_p),
            "label_gradient": w * (da * b + a * (g * b / c - textbook.log(p) - textbook.log(not_p))),
            "parameter_gradient": [-a * w * b * textbook.log(c)] + [abs(1 - 2 * y) * w * b] * (self.alpha is not None),
        }

    def kernel(self, z, y, low):
        log_c, log_low, b, b_low, p, not_p = parts(z, y, low)
        faded, faded_low = power(log_c, log_low, self.gamma)
        a, a_low, _ = balance(self.alpha, y, low)
        w, rest = product(a, faded)
        rest = rest + (a_low * faded + a * faded_low)
        not_y, not_low, _, _ = sides(0.0, y, low)
        h = not_p if y == 0.0 else p if not_y == 0.0 else ratio(p, not_p, y, low, not_y, not_low)
        r, error = ((not_y - y) + (not_low - low)) * h, not_y * p - y * not_p
        pull = self.gamma * mass_times(r, b)
        bend = pull * ((self.gamma - 1.0) * r + (not_p - p)) + (2.0 * self.gamma * r * error + p * not_p)
        return times(w, rest, b, b_low), times(w, rest, pull + error), times(w, rest, bend)

    def label_kernel(self, z, y, low):
        log_c, log_low, _, _, p, not_p = parts(z, y, low)
        a, _, a_slope = balance(self.alpha, y, low)
        tail = softplus_tail(z)
        weight, _, rest, _ = sides(z, y, low)
        c = weight * max(p, not_p) + rest * min(p, not_p)
        pull = a * self.gamma * (not_p - p)  # times b/c, b = weight |z| + tail
        of_z = a_slope * weight + (pull * (weight / c) if weight > 0.0 else 0.0) - (a if z >= 0.0 else -a)
        near = a_slope * tail + pull * (tail / c if c > 0.0 else 1.0)  # a tail is about c, which may underflow
        slope = mass_times(of_z, abs(z) / 256) + near / 256  # so that the terms of a finite slope are finite
        return mass_times(power(log_c, log_low, self.gamma)[0], slope) * 256

    def parameter_kernel(self, z, y, low):
        log_c, log_low, b, _, p, not_p = parts(z, y, low)
        not_y, not_low, _, _ = sides(0.0, y, low)
        c, agreement = y * not_p + not_y * p, y * p + not_y * not_p
        focal = mass_times(power(log_c, log_low, self.gamma)[0], b)
        log_c = -log1p(agreement / c) if agreement < c else log_c  # next to 0 for a hopeless prediction
        of_gamma = 0.0 if log_c == 0.0 else mass_times(balance(self.alpha, y, low)[0] * focal, log_c)
        return of_gamma, ((y - not_y) + (low - not_low)) * focal
