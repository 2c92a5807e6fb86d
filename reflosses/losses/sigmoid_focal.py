"""Sigmoid focal loss."""

from typing import Annotated, NamedTuple

from .. import textbook
from ..domain import NONNEGATIVE, UNIT, Targets
from ..special import expit, expit_power, inline, log_expit, mass_times, product, two_sum
from .focus import focus, times


@inline
def balance(alpha, y):
    """Return the weight of the label's class and its slope in y: α for y = 1, 1 - α for y = 0."""
    if alpha is None:
        return 1.0, 0.0
    return (alpha if y == 1.0 else 1.0 - alpha), alpha - (1.0 - alpha)


@inline
def rounding(alpha, y):
    """Return what 1 - α loses by its rounding."""
    if alpha is None:
        return 0.0
    return 0.0 if y == 1.0 else two_sum(1.0, -alpha)[1]


class SigmoidFocal(NamedTuple):
    """Binary cross entropy that fades where the prediction is already right.

    Definition
    ----------
    Let z be a logit, y in {0, 1} its target, t = z if y = 1 else -z, q = σ(t) the
    probability of the true class and a = α if y = 1 else 1 - α its weight (1 if α is absent).
    Then

        ℓ(z) = -a (1 - q)^γ log q.

    Derivation
    ----------
    With c = 1 - q, s = log q, w = a c^γ, so that ℓ = -w s,

        q' = q c,   c' = -q c,   s' = c,   w' = -γ q w    (in t), hence
        ℓ'  = w (γ q s - c)
        ℓ'' = w (q c (1 + 2γ) + γ q s (c - γ q));

    from t to z the sign of ℓ' flips when y = 0.  In the parameters,

        ∂ℓ/∂γ = -w s log c,   ∂ℓ/∂α = ∓ c^γ s    (- for y = 1, + for y = 0).

    Between the two targets the loss is continued, as in TensorFlow Addons, torchvision and optax,
    by a = α y + (1 - α)(1 - y), c = y (1 - p) + (1 - y) p and -s = -y log p - (1 - y) log(1 - p)
    with p = σ(z); with a' = 2α - 1 and ± for y = 1 and y = 0,

        ∂ℓ/∂y = c^γ ( -s (a' ± a (1 + γ (c - q)/c)) ± a log c ).

    Accuracy
    --------
    s <= 0: the terms of ℓ' share a sign and never cancel.  c^γ is exp(γ log c) with log c carried
    to twice the precision, so a large γ does not multiply its error, and w goes on with the error of
    its rounding.  ℓ'' changes sign (the loss is not convex for γ > 0) as do ∂ℓ/∂y and, near their
    roots, only the absolute error of these two is small.

    References
    ----------
    Lin, Goyal, Girshick, He, Dollár. Focal loss for dense object detection. 2017, eq. (5).
    """

    gamma: Annotated[float, NONNEGATIVE] = 2.0  # focus; 0 is plain cross entropy
    alpha: Annotated[float | None, UNIT] = 0.25  # weight of y = 1; y = 0 gets 1 - alpha

    targets = Targets.BINARY
    no_cancellation = ("value", "gradient")  # for hard labels
    settings = (2.0, 0.25), (0.0, None), (0.5, 1.0), (1.7, 0.0), (5.0, 0.25)

    def textbook(self, z, y):
        p, not_p = textbook.sigmoid(z), textbook.sigmoid(-z)
        a = 1 if self.alpha is None else self.alpha * y + (1 - self.alpha) * (1 - y)
        focus = textbook.power(y * not_p + (1 - y) * p, self.gamma)
        return -a * focus * (y * textbook.log(p) + (1 - y) * textbook.log(not_p))

    def magnitudes(self, z, y):
        q, c = (textbook.sigmoid(x) for x in ((z, -z) if y == 1 else (-z, z)))
        a = 1 if self.alpha is None else self.alpha if y == 1 else 1 - self.alpha
        s, g = -textbook.log(q), self.gamma
        w = textbook.power(c, g)
        da = 0 if self.alpha is None else abs(2 * self.alpha - 1)
        return {
            "hessian_diagonal": a * w * (q * c * (1 + 2 * g) + g * q * s * (c + g * q)),
            "label_gradient": w * (s * (da + a * (1 + g * (1 + q / c))) - a * textbook.log(c)),
        }

    def kernel(self, z, y):
        t = z if y == 1.0 else -z
        faded, faded_low, s, s_low, slope, bend = focus(t, 0.0, self.gamma)
        a = balance(self.alpha, y)[0]
        w, rest = product(a, faded)
        rest = rest + (rounding(self.alpha, y) * faded + a * faded_low)
        slope = times(w, rest, slope)
        return -times(w, rest, s, s_low), slope if y == 1.0 else -slope, times(w, rest, bend)

    def label_kernel(self, z, y):
        t, sign = (z, 1.0) if y == 1.0 else (-z, -1.0)
        a, a_slope = balance(self.alpha, y)
        q, c, s = expit(t), expit(-t), log_expit(t)
        if c > 0.5:  # -s is large: one product, so that it may be infinite
            slope = -mass_times(a_slope + sign * a * (1.0 + self.gamma * ((c - q) / c)), s)
        else:  # -s is about c, which may underflow: their ratio is about 1
            ratio = s / c if c > 0.0 else -1.0
            slope = -((a_slope + sign * a) * s + sign * a * self.gamma * ((c - q) * ratio))
        return mass_times(expit_power(-t, self.gamma), slope + sign * mass_times(a, log_expit(-t)))

    def parameter_kernel(self, z, y):
        t, sign = (z, 1.0) if y == 1.0 else (-z, -1.0)
        a, _ = balance(self.alpha, y)
        loss, log_c = -mass_times(expit_power(-t, self.gamma), log_expit(t)), log_expit(-t)
        of_gamma = 0.0 if log_c == 0.0 else mass_times(a * loss, log_c)  # loss·log c vanishes at both ends
        return of_gamma, sign * loss
