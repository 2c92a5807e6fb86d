"""fastai's label smoothing and focal loss.

Source: https://docs.fast.ai/losses.html (release 2).  Classes lie on axis 1, and -100 is PyTorch's
``ignore_index``, which fastai leaves at its default.
"""

from dataclasses import dataclass

import numpy as np

from .. import losses
from ..api import value_and_gradient
from ..domain import BELOW_ONE, NONNEGATIVE
from ._door import door, legal, mass_times, reduced, wide
from .torch import cross_entropy

__all__ = ["FocalLoss", "LabelSmoothingCrossEntropy", "LabelSmoothingCrossEntropyFlat"]


@dataclass
class LabelSmoothingCrossEntropy:
    """Cross entropy with label smoothing, (1 - ε) NLL + ε/C Σ_i (-log p_i).

    Without weights it is PyTorch's.  Class weights multiply the NLL only, whose mean divides by
    Σ w_y; the uniform part is unweighted, and its mean divides by n.  (PyTorch weights both parts
    and divides both by Σ w_y.)  A target of -100 costs no NLL, but its uniform part.

    Parameters
    ----------
    eps : float
        ε in [0, 1).
    weight : array_like, optional
        One for each class, shape (C,).
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    ValueError
        When called: for illegal targets, weights, ε or reduction, and shapes that do not match.

    Examples
    --------
    >>> loss = LabelSmoothingCrossEntropy()
    >>> loss([[2.0, 0.0, -1.0]], [0]).round(8)
    np.float64(0.33651269)
    >>> loss.gradient([[2.0, 0.0, -1.0]], [0])
    array([[-0.0895386 ,  0.08086187,  0.00867673]])
    """

    eps: float = 0.1
    weight: np.ndarray | None = None
    reduction: str = "mean"

    @door("output", labels="target", class_weight="weight")
    def __call__(self, output, target):
        """Return the loss of logits, shape (N, C) or (N, C, d1, …), and classes, the shape without C."""
        legal(BELOW_ONE, eps=self.eps)
        z = wide(output)
        nll = cross_entropy.formula(z, target, self.weight, reduction=self.reduction)
        rows = np.moveaxis(z, 1, -1)
        values, slopes = value_and_gradient(losses.CrossEntropy(), rows, np.full(rows.shape, 1 / rows.shape[-1]))
        uniform = reduced(values, np.moveaxis(slopes, -1, 1), self.reduction)
        return tuple((1 - self.eps) * x + self.eps * y for x, y in zip(nll, uniform, strict=True))

    gradient = __call__.gradient


@dataclass
class LabelSmoothingCrossEntropyFlat(LabelSmoothingCrossEntropy):
    """The same of inputs of any shape, flattened to rows first, with the classes on any axis.

    Parameters
    ----------
    eps : float
        ε in [0, 1).
    weight : array_like, optional
        One for each class, shape (C,).
    reduction : {"mean", "sum", "none"}
        "none" gives one axis of values, in the order of the input with its classes swapped to the end.
    axis : int
        Where the classes are.

    Examples
    --------
    >>> LabelSmoothingCrossEntropyFlat(reduction="none")([[[2.0, 0.0], [0.0, 0.0]]], [[0, 1]])
    array([0.22692801, 0.69314718])
    """

    axis: int = -1

    @door("output", labels="target", class_weight="weight")
    def __call__(self, output, target):
        """Return the loss of logits with classes on the axis and targets of the shape without it."""
        z, y = np.swapaxes(wide(output), self.axis, -1), np.asarray(target)
        y = np.swapaxes(y, self.axis, -1) if -y.ndim <= self.axis < y.ndim else y
        if y.shape != z.shape[:-1]:
            raise ValueError(f"target of shape {y.shape} does not fit {z.shape[:-1]}, the output without its classes")
        value, slopes = super().__call__.formula(self, z.reshape(-1, z.shape[-1]), y.reshape(-1))
        return value, np.swapaxes(slopes.reshape(z.shape), self.axis, -1)

    gradient = __call__.gradient


@dataclass
class FocalLoss:
    """Softmax focal loss, (1 - e^-s)^γ s with s = -w_y log p_y.

    Weights enter the focus, too: e^-s is p_y to the power of w_y.  The mean divides by n.

    Parameters
    ----------
    gamma : float
        γ >= 0.
    weight : array_like, optional
        One for each class, shape (C,).
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    ValueError
        When called: for illegal targets, weights, γ or reduction, and shapes that do not match.

    Examples
    --------
    >>> FocalLoss()([[2.0, 0.0, -1.0]], [0]).round(8)
    np.float64(0.00414426)
    """

    gamma: float = 2.0
    weight: np.ndarray | None = None
    reduction: str = "mean"

    @door("inp", labels="targ", input="inp", target="targ", class_weight="weight")
    def __call__(self, inp, targ):
        """Return the loss of logits, shape (N, C) or (N, C, d1, …), and classes, the shape without C."""
        legal(NONNEGATIVE, gamma=self.gamma)
        s, slopes = cross_entropy.formula(inp, targ, self.weight, reduction="none")
        p, c = np.exp(-s), -np.expm1(-s)
        focus, ratio = c**self.gamma, np.where(c == 0, 1.0, s / c)
        slope = focus * (1 + self.gamma * mass_times(p, ratio))  # of focus · s in s
        return reduced(focus * s, mass_times(np.expand_dims(slope, min(1, s.ndim)), slopes), self.reduction)

    gradient = __call__.gradient
