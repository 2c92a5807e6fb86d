"""incendio's losses for soft labels.

Source: https://github.com/hdmamin/incendio, ``incendio/losses.py`` and ``incendio/metrics.py``.
"""

import numpy as np

from .. import losses
from ..api import value_and_gradient
from ._door import as_rows, door, reduced, wide

__all__ = [
    "InvalidArgumentError",
    "classification_mae_with_logits",
    "plot_loss_by_alpha",
    "smooth_soft_labels",
    "soft_label_cross_entropy",
    "soft_label_cross_entropy_with_logits",
]


class InvalidArgumentError(ValueError):
    """An argument that the published code refuses."""


@door("labels")
def smooth_soft_labels(labels, alpha=0.1):
    """Return max(y - α/nnz(y), 0) + α/C, where nnz counts the positive entries of a row.

    Mass α is taken from the classes that have some, in equal parts, and spread over all.  Where a
    class has less than α/nnz to give, the row sums to more than 1 afterwards.

    Parameters
    ----------
    labels : array_like
        Shape (..., C).
    alpha : float
        α >= 0; 0 returns the labels as they are.

    Raises
    ------
    InvalidArgumentError
        If α is negative.

    Examples
    --------
    >>> smooth_soft_labels([[0.9, 0.1, 0, 0, 0]])
    array([[0.87, 0.07, 0.02, 0.02, 0.02]])
    """
    if not alpha >= 0:
        raise InvalidArgumentError(f"alpha must lie in [0, ∞), got {alpha!r}")
    y = wide(labels)
    if alpha == 0:
        return y, np.ones_like(y)
    rest = y - alpha / np.sum(y > 0, axis=-1, keepdims=True)
    return np.maximum(rest, 0) + alpha / y.shape[-1], np.where(rest > 0, 1.0, 0.0)


@door("y_pred", labels="y_true")
def soft_label_cross_entropy_with_logits(y_pred, y_true, alpha=0.0, reduction="mean"):
    """Return -Σ_i t_i log p_i of logits, for the labels t that ``smooth_soft_labels`` gives.

    Parameters
    ----------
    y_pred : array_like
        Logits, shape (n, C).
    y_true : array_like
        Probabilities, shape (n, C).
    alpha : float
        α >= 0.
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    ValueError
        For illegal labels, α or reduction, and shapes that do not match.

    Examples
    --------
    >>> soft_label_cross_entropy_with_logits([[6, 1, 3, 1, 2]], [[0.9, 0.1, 0, 0, 0]], reduction="none")
    array([0.57842164])
    """
    z = wide(y_pred)
    labels, _ = smooth_soft_labels.formula(as_rows(y_true, z), alpha)
    return reduced(*value_and_gradient(losses.CrossEntropy(), z, labels, normalized=False), reduction)


@door("y_pred", labels="y_true")
def soft_label_cross_entropy(y_pred, y_true, alpha=0.0, reduction="mean"):
    """The same of probabilities: -Σ_i t_i log p_i, in which terms that are not finite count as 0.

    A class of probability 0 that the labels do not rule out is therefore free, and has no gradient.

    Parameters
    ----------
    y_pred, y_true : array_like
        Probabilities, shape (n, C).
    alpha : float
        α >= 0.
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    ValueError
        For illegal labels, α or reduction, and shapes that do not match.

    Examples
    --------
    >>> soft_label_cross_entropy([[0.5, 0.5, 0.0]], [[0.5, 0.0, 0.5]]).round(8)
    np.float64(0.34657359)
    """
    p = wide(y_pred)
    labels, _ = smooth_soft_labels.formula(as_rows(y_true, p), alpha)
    terms = -labels * np.log(p)
    finite = np.isfinite(terms)
    return reduced(np.where(finite, terms, 0).sum(axis=-1), np.where(finite, -labels / p, 0), reduction)


@door("y_pred", labels="y_true")
def classification_mae_with_logits(y_pred, y_true, reduction="mean"):
    """Return Σ_i |p_i - y_i|, summed over the classes and then reduced.

    Parameters
    ----------
    y_pred : array_like
        Logits, shape (n, C).
    y_true : array_like
        Probabilities or one-hot rows, shape (n, C).
    reduction : {"mean", "sum", "none"}

    Examples
    --------
    >>> classification_mae_with_logits([[6, 1, 3, 1, 2]], [[1, 0, 0, 0, 0]]).round(8)
    np.float64(0.15085099)
    """
    rows = value_and_gradient(losses.ClassificationMAE(), wide(y_pred), y_true, normalized=False)
    return reduced(*rows, reduction)


def plot_loss_by_alpha(y_pred, y_true, loss_func=None, loss_class=None):
    """Draw the loss of every row as a function of α = 0, 0.05, …, 0.95.

    The published code shows the figure, draws three rows and returns nothing.

    Parameters
    ----------
    y_pred, y_true : array_like
        Shape (n, C).
    loss_func : callable, optional
        Called as ``loss_func(y_pred, y_true, α, "none")``; ``soft_label_cross_entropy_with_logits`` if
        neither is given.
    loss_class : type, optional
        Called as ``loss_class(α, "none")(y_pred, y_true)``.

    Returns
    -------
    matplotlib.figure.Figure
        With one curve for every row.

    Raises
    ------
    InvalidArgumentError
        If both a function and a class are given.
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    from ..plots import axes_of_figure

    if loss_func is not None and loss_class is not None:
        raise InvalidArgumentError("loss_func and loss_class exclude each other")
    figure, ((axes,),) = axes_of_figure(columns=1)
    loss_func = loss_func or soft_label_cross_entropy_with_logits
    alphas = np.arange(0, 1, 0.05)
    if loss_class is not None:
        values = [loss_class(alpha, "none")(y_pred, y_true) for alpha in alphas]
    else:
        values = [loss_func(y_pred, y_true, alpha, "none") for alpha in alphas]
    axes.plot(alphas, values, label=range(len(values[0])))
    axes.set(xlabel="Alpha (Smoothing Parameter)", ylabel="Loss")
    axes.legend()
    return figure
