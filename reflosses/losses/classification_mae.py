"""Mean absolute error of probabilities."""

from typing import NamedTuple

from .. import textbook
from ..domain import Targets
from ..special import inline


@inline
def below(q, y):
    """Return 1 where p < y, 1/2 where they are equal, 0 elsewhere; a p that rounds to 0 or 1 still lies between."""
    if y == 0.0 or y == 1.0:
        return y
    return 1.0 if q < y else 0.5 if q == y else y - y  # 0, or nan for nan


class ClassificationMAE(NamedTuple):
    """How far, class by class, the probabilities are from the labels: robust to wrong labels.

    Definition
    ----------
    Let z be C logits, p = softmax(z) and y their labels (a class, or a row of probabilities). Then

        ℓ(z) = Σ_i |p_i - y_i|,

    which for a class is 2 (1 - p_y).  The mean is over rows, the sum over classes.

    Derivation
    ----------
    |p - y| = 2 max(y - p, 0) + (p - y), and Σ_i p_i is constant: the second part has a value and no
    derivative.  So a class pays F(u) = |e^u - y| as a function of u = log p, and its derivatives
    may be taken to be those of 2 max(y - e^u, 0),

        F'      = F'' = -2 p h,       h = 1 where p < y, 0 where p > y
        ∂ℓ/∂y_i = 2 h - 1,

    and B = Σ F'_i gives ∂ℓ/∂z_j = F'_j - p_j B.  At a kink, p_i = y_i, h is 1/2, so that |p - y| has
    the slope 0, as automatic differentiation has it; at p_i = y_i = 0, a masked class, and at 1 it is
    the limit from within, h = y_i.

    Accuracy
    --------
    1 - p_y comes uncancelled, and for a hard label the gradient is 2 p_y (p_k - [k = y]): one term.
    For soft labels |p - y| is as exact as p itself, and next to a kink the side taken is that of
    the rounded p.

    References
    ----------
    Ghosh, Kumar, Sastry. Robust loss functions under label noise for deep neural networks. 2017.
    """

    targets = Targets.CLASSES
    no_cancellation = ("value", "gradient")  # for hard labels
    settings = ((),)

    def textbook(self, z, y):
        p = textbook.softmax(z)
        return sum(abs(p_i - y_i) for p_i, y_i in zip(p, y))

    def kinks(self, z, y):
        """Return how far each class is from the kink at p = y, relative to it."""
        return [abs(p_i - y_i) / p_i if p_i > 0 else 1 for p_i, y_i in zip(textbook.softmax(z), y)]

    def magnitudes(self, z, y):
        p, n = textbook.softmax(z), range(len(z))
        c, f1 = textbook.rests(p), [2 * p[i] if y[i] > 0 else 0 for i in n]
        others, total = textbook.rests(f1), sum(f1)

        def entry(i, j):
            if i == j:
                return f1[i] * c[i] * c[i] + p[i] * (p[i] * others[i] + total * c[i])
            without = sum(f1[k] for k in n if k != i and k != j)
            return p[i] * p[j] * (without + total) + f1[i] * c[i] * p[j] + f1[j] * c[j] * p[i]

        return {
            "value": sum(c[i] if y[i] == 1 else p[i] + y[i] for i in n),
            "gradient": [f1[i] * c[i] + p[i] * others[i] for i in n],
            "hessian_diagonal": [entry(i, i) for i in n],
            "hessian": lambda: [entry(i, j) for i in n for j in n],
            "label_gradient": [1 for i in n],
            "parameter_gradient": [],
        }

    def kernel(self, u, q, c, y, n):
        slope = -2.0 * q * below(q, y)
        return c if y == 1.0 else abs(q - y), slope, slope

    def label_kernel(self, u, q, c, y, n):
        return 2.0 * below(q, y) - 1.0

    def parameter_kernel(self, u, q, c, y, n):
        return ()
