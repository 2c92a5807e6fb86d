"""Categorical focal loss."""

from typing import Annotated, NamedTuple

import numpy as np

from .. import textbook
from ..domain import NONNEGATIVE, PER_CLASS, Targets
from ..special import expit_power, log_expit, mass_times
from .focus import focus, times


class CategoricalFocal(NamedTuple):
    """Softmax cross entropy that fades where the label is already likely.

    Definition
    ----------
    Let z be C logits, p = softmax(z), y their labels (a class, or a row of probabilities), γ >= 0
    and α the weights of the classes, all 1 if absent. Then

        ℓ(z) = -Σ_i α_i y_i (1 - p_i)^γ log p_i.

    Derivation
    ----------
    A label pays φ(x) = -c^γ log q as a function of its log-odds x against the rest, with q = σ(x)
    and c = 1 - q: the sigmoid focal loss.  With s = log q, w = c^γ and q' = q c, s' = c, w' = -γ q w,

        φ    = -w s
        φ'   = w (γ q s - c)
        φ''  = w (q c (1 + 2γ) + γ q s (c - γ q))
        ∂ℓ/∂y_i = α_i φ(x_i),   ∂ℓ/∂α_i = y_i φ(x_i),   ∂ℓ/∂γ = -Σ_i α_i y_i c_i^γ log q_i log c_i.

    With the shares of the rest a_k = p_k/c_y (a_y = 0), a hard label y has

        ∂ℓ/∂z     = α_y φ'(x) (e_y - a)
        ∂²ℓ/∂z²   = α_y (φ''(x) (e_y - a)(e_y - a)ᵀ - φ'(x) (diag(a) - a aᵀ)),

    and soft labels the sums of these over y.

    Accuracy
    --------
    s <= 0: the terms of φ and φ' never cancel; φ'' changes sign, and near its root only its absolute
    error is small.  x is carried to twice the precision, so that neither a confident prediction nor
    a large γ multiplies an error.

    References
    ----------
    Lin, Goyal, Girshick, He, Dollár. Focal loss for dense object detection. 2017, eq. (4), for rows
    of classes as in Keras, `CategoricalFocalCrossentropy`.
    """

    gamma: Annotated[float, NONNEGATIVE] = 2.0  # focus; 0 is cross entropy
    alpha: Annotated[np.ndarray | None, NONNEGATIVE, PER_CLASS] = None  # weights of the classes

    targets = Targets.CLASSES
    contract = "one_against_rest"
    no_cancellation = ("value", "gradient")  # for hard labels
    sparse = True  # classes without label mass pay nothing
    settings = (2.0, None), (0.0, None), (0.5, (0.25, 0.25, 0.5)), (1.7, None), (5.0, None)

    def textbook(self, z, y):
        a = [1] * len(z) if self.alpha is None else self.alpha
        p, n = textbook.softmax(z), range(len(z))
        not_p = textbook.rests(p)
        return sum(-a[i] * y[i] * textbook.power(not_p[i], self.gamma) * textbook.log(p[i]) for i in n)

    def magnitudes(self, z, y):
        p, n, g = textbook.softmax(z), range(len(z)), self.gamma
        alpha = [1] * len(z) if self.alpha is None else self.alpha
        a = [y_i * a_i for y_i, a_i in zip(y, alpha)]
        c = textbook.rests(p)
        s = [-textbook.log(p_i) for p_i in p]
        w = [a[i] * textbook.power(c[i], g) for i in n]
        f1 = [w[i] * (g * p[i] * s[i] + c[i]) for i in n]
        f2 = [w[i] * (p[i] * c[i] * (1 + 2 * g) + g * p[i] * s[i] * (c[i] + g * p[i])) for i in n]
        focus = [textbook.power(c_i, g) * s_i for c_i, s_i in zip(c, s)]
        return {
            **textbook.magnitudes_against_rest(p, c, f1, f2),
            "label_gradient": [alpha[i] * focus[i] for i in n],
            "parameter_gradient": [
                sum(-a[i] * focus[i] * textbook.log(c[i]) for i in n if c[i] != 0 and p[i] != 0),
                *(y[i] * focus[i] for i in n if self.alpha is not None),
            ],
        }

    def kernel(self, x, low, n):
        w, rest, s, s_low, slope, bend = focus(x, low, self.gamma)
        return -times(w, rest, s, s_low), times(w, rest, slope), times(w, rest, bend)

    def parameter_kernel(self, x, low, n):
        log_c = log_expit(-x, -low)
        loss = -mass_times(expit_power(-x, self.gamma, -low), log_expit(x, low))
        return (0.0 if log_c == 0.0 else mass_times(loss, log_c),)  # loss·log c vanishes at both ends
