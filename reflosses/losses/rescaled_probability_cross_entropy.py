"""Cross entropy of rows of probabilities, divided by their sum."""

from typing import Annotated, NamedTuple

from .. import textbook
from ..domain import NONNEGATIVE, UP_TO_HALF, Targets
from .probability_cross_entropy import entropy, slope_in_epsilon


class RescaledProbabilityCrossEntropy(NamedTuple):
    """The negative log-likelihood of the labels under the shares of a row of numbers, which may be clipped.

    Definition
    ----------
    Let p be C numbers >= 0 with a positive sum s, y their labels (a class, or a row of probabilities),
    q = p/s and r_i = min(max(q_i, ε), 1 - ε). Then

        ℓ(p) = -Σ_i y_i log r_i,

    where 0·log 0 = 0.  ε = 1e-7 is Keras's categorical cross entropy of probabilities.

    Derivation
    ----------
    A label pays φ(u) = -u as a function of u = log q, with φ' = -1 and φ'' = 0 between the ends of the
    clip; beyond them φ is constant.  Let F'_i = -y_i between them, else 0.  From
    ∂u_i/∂p_j = δ_ij/p_j - 1/s and ∂²u_i/∂p_j∂p_k = 1/s² - δ_ij δ_jk/p_j²,

        ∂ℓ/∂p_j      = F'_j (1 - q_j)/p_j - (1/s) Σ_{i≠j} F'_i
        ∂²ℓ/∂p_j²    = (1/s²) Σ_{i≠j} F'_i - F'_j (1 - q_j)(1 + q_j)/p_j²
        ∂²ℓ/∂p_j∂p_k = (1/s²) Σ_i F'_i
        ∂ℓ/∂y_j      = -log r_j
        ∂ℓ/∂ε        = Σ_i -y_i/ε where q_i < ε, y_i/(1 - ε) where q_i > 1 - ε, else 0.

    At an end of the clip, a kink, derivatives are those from between the ends.

    Accuracy
    --------
    The value is a sum of positive terms, and 1 - q of the largest class a sum over the others: for a
    hard label nothing cancels, at any confidence.  For soft labels the two terms of the gradient cancel
    at q = y.  Next to a kink the side taken is that of the rounded q.

    References
    ----------
    Goodfellow, Bengio, Courville. Deep Learning. 2016, section 6.2.2.3.
    Keras, `keras.losses.categorical_crossentropy`, 2015.
    """

    epsilon: Annotated[float, UP_TO_HALF] = 0.0  # q is clipped to [epsilon, 1 - epsilon]; 0 is no clip

    targets = Targets.CLASSES
    predictions = NONNEGATIVE
    contract = "rescaled"
    no_cancellation = ("value", "gradient")  # for hard labels
    settings = (0.0,), (1e-7,), (0.0625,)

    def textbook(self, z, y):
        shares = textbook.shares(z)
        return sum(-y_i * textbook.log(textbook.clip(q_i, self.epsilon)) for q_i, y_i in zip(shares, y))

    def kinks(self, z, y):
        return [end for q_i in textbook.shares(z) for end in textbook.ends_of_clip(q_i, self.epsilon)]

    def magnitudes(self, z, y):
        n, s, q = range(len(z)), sum(z), textbook.shares(z)
        outside = [q_i < self.epsilon or 1 - q_i < self.epsilon for q_i in q]
        f1 = [0 if outside[i] else y[i] for i in n]
        others, rest, total = textbook.rests(f1), textbook.rests(z), sum(f1)
        own = [f1[i] * rest[i] / (z[i] * s) for i in n]
        diagonal = [
            others[i] / (s * s) + own[i] * (s + z[i]) / (z[i] * s) if f1[i] != 0 else total / (s * s) for i in n
        ]
        at_ends = [y[i] / textbook.clip(q[i], self.epsilon) for i in n if outside[i]]
        return {
            "gradient": [own[i] + others[i] / s for i in n],
            "hessian_diagonal": diagonal,
            "hessian": lambda: [diagonal[i] if i == j else total / (s * s) for i in n for j in n],
            "parameter_gradient": [sum(at_ends)],
        }

    def kernel(self, u, q, c):
        return entropy(u, q, c, self.epsilon)

    def parameter_kernel(self, u, q, c):
        return (slope_in_epsilon(q, c, self.epsilon),)
