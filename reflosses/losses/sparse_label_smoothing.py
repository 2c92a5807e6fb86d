"""Sparse label smoothing."""

import math
from typing import Annotated, NamedTuple

from .. import textbook
from ..domain import BELOW_ONE, Targets
from ..special import fma, inline, log_parts, product, two_sum
from .focus import probabilities


@inline
def shares(s, n):
    """Return, as high + low each, what the label keeps, A = 1 - B, and what all others get, B = s (n - 1)/n."""
    part = (n - 1.0) / n
    others, error = product(s, part)
    others_low = error + s * (fma(-part, n, n - 1.0) / n)
    kept, error = two_sum(1.0, -others)
    return kept, error - others_low, others, others_low


@inline
def times(mass, mass_low, x, x_low):
    """Return (mass + mass_low)(x + x_low) as high + low; no mass pays nothing."""
    x = x if mass > 0.0 else 0.0
    high, error = product(mass, x)
    low = error + (mass * x_low + mass_low * x)
    return high, low if abs(high) < math.inf else 0.0


class SparseLSR(NamedTuple):
    """Label smoothing that asks for little probability beside the label, however it is spread.

    Definition
    ----------
    Let z be C logits, p = softmax(z), y a class and 0 <= s < 1. Then

        ℓ(z) = -A log p_y - B log((1 - p_y)/(C - 1)),   A = 1 - s + s/C,   B = s (C - 1)/C,

    which is label smoothing whose probabilities beside the label are replaced by their mean; a row
    of label masses t pays Σ_y t_y ℓ_y.

    Derivation
    ----------
    In the label's log-odds x against the rest, p_y = σ(x) =: q and 1 - p_y = σ(-x) =: c, so that
    a label pays, with A + B = 1,

        φ    = A log(1 + exp(-x)) + B (log(1 + exp(x)) + log(C - 1))
        φ'   = B q - A c
        φ''  = q c
        ∂ℓ/∂y_i = φ(x_i),      ∂ℓ/∂s = Σ_i t_i (1 - 1/C) (x_i + log(C - 1)).

    With a_k = p_k/c (a_y = 0) the row's derivatives are φ' (e_y - a) and
    φ'' (e_y - a)(e_y - a)ᵀ - φ' (diag(a) - a aᵀ).

    Accuracy
    --------
    The terms of φ are positive.  φ' vanishes at p_y = A, and near there only its absolute error is
    small.  Nothing depends on how log(1 - p_y) is found: x is there before 1 - p_y underflows.

    References
    ----------
    Raymond, Chen, Xue, Zhang. Learning symbolic model-agnostic loss functions via meta-learning. 2022,
    sparse label smoothing regularization.  Its published code has the other sign before B.
    """

    smoothing: Annotated[float, BELOW_ONE] = 0.1  # s; 0 is cross entropy

    targets = Targets.CLASSES
    contract = "one_against_rest"
    no_cancellation = ("value",)  # for hard labels
    sparse = True  # classes without label mass pay nothing
    least_classes = 2
    settings = (0.1,), (0.0,), (0.25,), (0.9,)

    def textbook(self, z, y):
        p, n = textbook.softmax(z), len(z)
        a, b = self._shares(n)
        rest = [not_p / (n - 1) for not_p in textbook.rests(p)]
        return sum(y[i] * (-a * textbook.log(p[i]) - b * textbook.log(rest[i])) for i in range(n))

    def magnitudes(self, z, y):
        p, n = textbook.softmax(z), range(len(z))
        a, b = self._shares(len(z))
        c = textbook.rests(p)
        f1 = [y[i] * (a * c[i] + b * p[i]) for i in n]
        terms = [-a * textbook.log(p[i]) - b * textbook.log(c[i] / (len(z) - 1)) for i in n]
        odds = [textbook.log(p[i]) + textbook.log(c[i] / (len(z) - 1)) for i in n]
        return {
            **textbook.magnitudes_against_rest(p, c, f1, [y[i] * p[i] * c[i] for i in n]),
            "label_gradient": terms,
            "parameter_gradient": [sum(-y[i] * odds[i] for i in n)],
        }

    def _shares(self, n):
        return 1 - self.smoothing * (n - 1) / n, self.smoothing * (n - 1) / n

    def kernel(self, x, low, n):
        kept, kept_low, given, given_low = shares(self.smoothing, n)
        q, c, log_q, q_low, log_c, c_low = probabilities(x, low)
        log_n, n_low = log_parts(n - 1.0, 0.0)
        beside, error = two_sum(log_n, -log_c)
        own, own_low = times(kept, kept_low, -log_q, -q_low)
        others, others_low = times(given, given_low, beside, error + (n_low - c_low) if beside < math.inf else 0.0)
        value, error = two_sum(own, others)
        value = value + (error + (own_low + others_low)) if value < math.inf else value
        pull, pull_low = times(given, given_low, q, 0.0)
        push, push_low = times(kept, kept_low, c, 0.0)
        slope, error = two_sum(pull, -push)
        return value, slope + (error + (pull_low - push_low)), q * c

    def parameter_kernel(self, x, low, n):
        log_n, log_low = log_parts(n - 1.0, 0.0)
        return ((n - 1.0) / n * (x + (log_n + (log_low + low))),)
