"""What the scores of a model mean: the probabilities for which they are the best answer.

Whoever minimises a loss finds, at every x, the logits z with the least expected loss

    R(z) = Σ_k η_k ℓ(z, k),

η the probabilities of the classes at x.  There the gradient vanishes, and that can be turned round: given
z, which η has it as its minimum?  For cross entropy that is softmax(z), for focal losses it is not.

One logit: with g_1 and g_0 the slopes for the two labels, η g_1 + (1 - η) g_0 = 0, so that

    η = g_0/(g_0 - g_1).

That is the whole of it: for cross entropy η = σ(z), for the bi-tempered loss the tempered sigmoid.

A row in which only the label pays, φ(log p_k) for class k: with w_k = -φ', ∂ℓ/∂z_j = w_k (p_j - δ_jk), hence

    Σ_k η_k w_k (p_j - δ_jk) = p_j Σ_k η_k w_k - η_j w_j = 0,   that is   η_j ∝ p_j/w_j.

The loss's own gradient holds w_j as -g_j/(1 - p_j), so that weights of classes are taken out too: they say
how a model is trained, not how often a class occurs.  Where w_j <= 0 no η has its minimum at z, and all
of it goes to that class: SparseLSR beyond its own optimum.

A Bregman divergence between label and p, as the bi-tempered loss: δ_i = (p_i - η_i) p_i^(t2-t1) vanishes
at η = p, the tempered softmax.

A change of labels: a class becomes a on itself and b elsewhere, and the loss within sees the labels
t = b + (a - b) η.  If t are those that it has its minimum for, scaled to the same sum, η = (t - b)/(a - b);
what comes out below 0, beyond the smoothing's own optimum, is 0.

The first two are the recalibration that Charoenphakdee, Vongkulbhisirikun, Chairatanakit and Sugiyama
found for the focal loss (On focal loss for class-posterior probability estimation, 2021).
"""

import numpy as np

from .. import api
from ..dispatch import changes_labels, core
from ..transfer import log_softmax, sigmoid, softmax, tempered_softmax

SURE = 1e4  # a logit that is infinite for softmax, and may occur twice
FAR = 300.0  # logits further apart give probabilities of 1e-130, and products of these still are numbers


def predict_proba(loss, raw):
    """Return the class probabilities for which raw scores minimise the expected loss.

    Parameters
    ----------
    loss : NamedTuple
        A loss of logits.
    raw : array_like
        Scores of shape (n,) for two classes, the logit of class 1, or of shape (n, C).

    Returns
    -------
    ndarray
        float64 of shape (n, 2) or (n, C); rows sum to 1.  Weights of classes within the loss (α, ``pos_weight``,
        ``class_weight``) are taken out again.  A loss that has no such probabilities, as
        ``ClassificationMAE``, whose minimum is certainty, gets softmax or sigmoid.

    Raises
    ------
    ValueError
        If scores are not finite, their shape does not fit the loss, or its change of labels leaves none.

    Examples
    --------
    >>> from reflosses import CategoricalFocal, CrossEntropy
    >>> predict_proba(CrossEntropy(), [[2.0, 0.0]]).round(4)
    array([[0.8808, 0.1192]])
    >>> predict_proba(CategoricalFocal(2.0), [[2.0, 0.0]]).round(4)
    array([[0.9955, 0.0045]])
    """
    z = as_scores(raw)
    if not loss.targets.rows:
        if z.ndim != 1:
            raise ValueError(f"{type(loss).__name__} takes scores of shape (n,), got {z.shape}")
        positive = _of_single(loss, z)
        return np.stack([1.0 - positive, positive], axis=1)
    z = paired(z)
    t = inner_labels(loss, z)
    return softmax(z) if t is None else _before_changes(loss, t)


def as_scores(raw):
    """Return finite scores in float64, of one or two axes."""
    z = np.asarray(raw, dtype=np.float64)
    if z.ndim not in (1, 2):
        raise ValueError(f"scores must have shape (n,) or (n, C), got {z.shape}")
    refuse_non_finite(z, "scores")
    return z


def refuse_non_finite(x, name):
    """Refuse numbers that are infinite or nan, with the index of the first one."""
    with np.errstate(invalid="ignore", over="ignore"):
        if np.isfinite(x.sum(dtype=np.float64)):  # one quick pass; a single nan or inf reaches the sum
            return
    found = np.argwhere(~np.isfinite(x))
    if len(found):
        index = tuple(found[0].tolist())
        raise ValueError(f"{name}[{', '.join(map(str, index))}] = {x[index]} must be finite")


def paired(z):
    """Return scores of two classes, of which one has the score 0, as rows."""
    return np.stack([np.zeros_like(z), z], axis=1) if z.ndim == 1 else z


def _of_single(loss, z):
    slope = api.gradient(loss, z, np.ones(z.shape))
    other = api.gradient(loss, z, np.zeros(z.shape))
    total = other - slope
    flat = total == 0.0  # both slopes have underflown: as sure as can be
    return np.where(flat, sigmoid(z), np.clip(other / np.where(flat, 1.0, total), 0.0, 1.0))


def inner_labels(loss, z):
    """Return the labels for which z minimises the loss within all changes of labels; None if there are none."""
    inner = core(loss)
    if getattr(inner, "contract", None) == "tempered":
        return tempered_softmax(z, inner.t2)
    if not getattr(inner, "sparse", False):
        return None
    z = np.maximum(z, z.max(axis=1, keepdims=True) - FAR)
    log_p = log_softmax(z)
    odds = np.empty_like(z)
    for k in range(z.shape[1]):
        pull = -api.gradient(inner, z, np.full(len(z), k))[:, k]  # w_k (1 - p_k)
        rest = -np.expm1(log_p[:, k])
        with np.errstate(divide="ignore"):
            odds[:, k] = np.where(pull > 0.0, log_p[:, k] + np.log(rest) - np.log(np.maximum(pull, 0.0)), SURE)
    return softmax(np.minimum(odds, SURE))


def _before_changes(loss, t):
    """Return the labels that the changes of labels turn into t."""
    if not changes_labels(loss):
        return t
    t = _before_changes(loss[0], t)
    n = t.shape[1]
    own, other = (sum(loss.relabel(y, 0.0, float(n), 1.0)) for y in (1.0, 0.0))
    if not own > other:
        raise ValueError(f"{loss!r} turns all classes into the same labels: its scores have no probabilities")
    t = np.maximum((t * (own + (n - 1) * other) - other) / (own - other), 0.0)
    return t / t.sum(axis=1, keepdims=True)
