"""What stands in the place of the second derivative when a booster divides by it.

A leaf's value is -Σ g/(Σ h + λ).  Where a loss is not convex its own second derivative is no good divisor:
it may be negative, or vanish where the gradient does not.  The menu, for one row with gradient g, p the
softmax (or sigmoid) of its margins, s the scale and ℓ_jj the second derivative in z_j:

==================  ================================  ==================================================
exact               s ℓ_jj                            convex losses: Newton's method itself
gauss_newton        s Σ_k η_k ∂²ℓ(z, k)/∂z_j²         η = ``predict_proba``: the Hessian of the expected
                                                      loss at its minimum, so never negative; Fisher's
                                                      information for likelihoods
cross_entropy       p_j (1 - p_j)                     losses near cross entropy, whose gradient is a
                                                      fraction of its gradient, as focal ones
absolute_gradient   s abs(g_j)                        leaves become means of signs, each step at most 1
absolute            s abs(ℓ_jj)                       convex nearly everywhere
constant            1/4                               plain gradient descent; the most that p (1 - p) can be
==================  ================================  ==================================================

``auto`` is ``exact`` for a convex loss, ``gauss_newton`` for a loss with a temperature of its own (bi-tempered)
and ``cross_entropy`` for all others.
"""

import numpy as np

from .. import api
from ..dispatch import core
from ..domain import classes_of
from ..losses import BinaryCrossEntropy, CrossEntropy
from .probabilities import inner_labels, predict_proba

CURVATURES = "exact", "gauss_newton", "cross_entropy", "absolute_gradient", "absolute", "constant"
LARGEST = 0.25  # of p (1 - p)
PROBES = 200  # random rows at which a loss must not curve down to count as convex


def convex(loss):
    """Whether a loss curves upwards wherever it is probed.

    >>> from reflosses import BinaryFocal
    >>> convex(CrossEntropy()), convex(BinaryFocal())
    (True, False)
    """
    random = np.random.default_rng(0)
    scales = np.geomspace(0.1, 20.0, PROBES)
    if not loss.targets.rows:
        z = np.tile(np.concatenate([scales, -scales]), 2)
        return bool((api.hessian_diagonal(loss, z, np.repeat([0.0, 1.0], 2 * PROBES)) >= 0.0).all())
    n = classes_of(loss, 3)
    z = scales[:, None] * random.standard_normal((PROBES, n))
    least, *_, most = np.linalg.eigvalsh(api.hessian(loss, z, random.integers(0, n, PROBES))).T
    return bool((least >= -1e-9 * most).all())  # of its eigenvalues one is 0, up to rounding


def tempered(loss):
    """Whether a loss has a temperature t2 of its own in the place of softmax."""
    return hasattr(core(loss), "t2")


def automatic(loss):
    """Return the curvature that ``auto`` stands for."""
    if convex(loss):
        return "exact"
    return "gauss_newton" if tempered(loss) else "cross_entropy"


def automatic_scale(loss, classes):
    """Return what brings the curvature of a loss at zero logits to that of cross entropy.

    At z = 0 all p are 1/C and the Gauss-Newton curvature of the bi-tempered loss is

        Σ_i p^(2 t2 - t1) (δ_ij - 1/C)² = C^-(2 t2 - t1) (C - 1)/C,

    that of cross entropy (C - 1)/C², so that the scale is C^(2 t2 - t1 - 1): 6e6 for (0.2, 4) at C = 10,
    where a booster that adds λ = 1 to a curvature of 1e-8 would never move.  Losses with softmax are left
    alone: their size at zero is what their weights say.

    >>> from reflosses import BiTempered
    >>> round(automatic_scale(BiTempered(0.2, 4.0), 10))
    6309573
    """
    if not tempered(loss):
        return 1.0
    z = np.zeros((1, classes)) if loss.targets.rows else np.zeros(1)
    reference = CrossEntropy() if loss.targets.rows else BinaryCrossEntropy()
    return float(api.hessian_diagonal(reference, z, [0]).flat[0] / gauss_newton(loss, z, None).flat[0])


def gauss_newton(loss, z, weight):
    """Return Σ_k η_k ∂²ℓ(z, k)/∂z_j² times the weights of the rows.

    A loss of rows is affine in its labels wherever there is a closed form for η, so that one Hessian at
    the labels η serves.  At η = p that of the bi-tempered loss is, with a_i = p_i^(2 t2 - t1) and escorts π,

        Σ_i a_i (δ_ij - π_j)² = a_j (1 - π_j)² + π_j² (Σ_i a_i - a_j).
    """
    if loss.targets.rows:
        inner = core(loss)
        if hasattr(inner, "curvature_kernel"):
            return api.gradient_and_curvature(inner, z, np.zeros(len(z), dtype=np.int64), weight)[1]
        t = inner_labels(loss, np.asarray(z, dtype=np.float64))
        if t is None:
            raise ValueError(f"{type(loss).__name__} has no gauss_newton curvature: its minimum is at no probabilities")
        return api.hessian_diagonal(inner, z, t, weight=weight, normalized=False)
    positive = predict_proba(loss, z)[:, 1]
    one = api.hessian_diagonal(loss, z, np.ones(z.shape), weight=weight)
    return positive * one + (1.0 - positive) * api.hessian_diagonal(loss, z, np.zeros(z.shape), weight=weight)


def derivatives(loss, kind, z, y, weight, scale):
    """Return gradient and curvature of margins and labels, times the weights of the rows.

    Parameters
    ----------
    loss : NamedTuple
    kind : str
        One of ``CURVATURES``.
    z, y : ndarray
        Margins and labels that fit the loss.
    weight : ndarray or None
        Shape (n,).
    scale : float
        Multiplies the loss.

    Returns
    -------
    gradient, curvature : ndarray
        In the shape and dtype of the margins.
    """
    scaled = weight if scale == 1.0 else np.full(len(z), scale) if weight is None else scale * weight
    if kind in ("exact", "absolute"):
        slope, bend = api.gradient_and_hessian_diagonal(loss, z, y, weight=scaled)
        return slope, bend if kind == "exact" else np.abs(bend, out=bend)
    if kind == "gauss_newton" and hasattr(loss, "curvature_kernel") and y.ndim == 1:
        return api.gradient_and_curvature(loss, z, y, scaled)
    slope = api.gradient(loss, z, y, weight=scaled)
    if kind == "absolute_gradient":
        return slope, np.abs(slope)
    if kind == "gauss_newton":
        return slope, gauss_newton(loss, z, scaled)
    if kind == "cross_entropy":
        reference = CrossEntropy() if loss.targets.rows else BinaryCrossEntropy()
        labels = np.zeros(len(z), dtype=np.int64) if loss.targets.rows else np.zeros(z.shape)
        return slope, api.hessian_diagonal(reference, z, labels, weight=weight)
    bend = np.full_like(slope, LARGEST)
    return slope, bend if weight is None else (bend.T * weight).T.astype(slope.dtype, copy=False)
