"""Softmax cross entropy."""

from typing import Annotated, NamedTuple

import numpy as np

from .. import textbook
from ..domain import NONNEGATIVE, PER_CLASS, Targets
from ..special import mass_times


class CrossEntropy(NamedTuple):
    """The negative log-likelihood of the labels under softmax.

    Definition
    ----------
    Let z be C logits, p = softmax(z), y their labels (a class, or a row of probabilities) and
    w the weights of the classes, all 1 if absent. Then

        ℓ(z) = -Σ_i w_i y_i log p_i.

    Derivation
    ----------
    A class pays F(u) = -y u as a function of u = log p, so that F' = -y and F'' = 0; the
    weight w multiplies all three.  With B = Σ w_i F'_i = -Σ w_i y_i, the row's derivatives are

        ∂ℓ/∂z_j      = w_j F'_j - p_j B          = p_j Σ_i w_i y_i - w_j y_j
        ∂²ℓ/∂z_i∂z_j = -B p_i (δ_ij - p_j)       = (p_i δ_ij - p_i p_j) Σ_k w_k y_k
        ∂ℓ/∂y_j      = -w_j log p_j,      ∂ℓ/∂w_j = -y_j log p_j.

    Accuracy
    --------
    Every term of the value is positive.  The gradient is summed as
    p_j Σ_{i≠j} w_i y_i - w_j y_j (1 - p_j) with 1 - p_j = Σ_{i≠j} p_i: for a hard label one of
    the two terms is zero and nothing cancels, at any confidence; for soft labels the gradient
    vanishes at p = y and near there only its absolute error is small.

    References
    ----------
    Bridle. Probabilistic interpretation of feedforward classification network outputs. 1990.
    Goodfellow, Bengio, Courville. Deep Learning. 2016, section 6.2.2.3.
    """

    class_weight: Annotated[np.ndarray | None, NONNEGATIVE, PER_CLASS] = None

    targets = Targets.CLASSES
    no_cancellation = ("value", "gradient", "hessian_diagonal")  # for hard labels
    sparse = True  # classes without label mass pay nothing
    log_likelihood = True  # a class pays -y log p and nothing else
    settings = ((None,), ((0.5, 2.0, 1.0),))

    def textbook(self, z, y):
        w = [1] * len(z) if self.class_weight is None else self.class_weight
        p = textbook.softmax(z)
        return sum(-w[i] * y[i] * textbook.log(p[i]) for i in range(len(z)))

    def magnitudes(self, z, y):
        p = textbook.softmax(z)
        w = [1] * len(z) if self.class_weight is None else self.class_weight
        t = [w_j * y_j for w_j, y_j in zip(w, y)]
        total = sum(t)
        return {
            "gradient": [p_j * (total - t_j) + t_j * (1 - p_j) for p_j, t_j in zip(p, t)],
            "label_gradient": [-w_j * textbook.log(p_j) for w_j, p_j in zip(w, p)],
            "parameter_gradient": [-y_j * textbook.log(p_j) for y_j, p_j in zip(y, p) if self.class_weight is not None],
        }

    def kernel(self, u, q, c, y, n):
        return -mass_times(y, u), -y, 0.0

    def label_kernel(self, u, q, c, y, n):
        return -u

    def parameter_kernel(self, u, q, c, y, n):
        return ()
