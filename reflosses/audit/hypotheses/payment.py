"""Hypotheses about what a class pays: other losses, focus, α and γ, an ε in the logarithm."""

import numpy as np

from ...domain import is_loss, parameters
from ...losses import LOSSES, ClassificationMAE, SparseLSR
from .. import model as m
from ..model import Shares, settings
from .hypothesis import GIT, UNIT, at, within
from .labels import relabelled
from .tempered import payments


def paying(f):
    """Return a change of what a class pays; f(shares, labels, weights, *numbers)."""
    return lambda model, *numbers: model._replace(pay=lambda s, t, w: f(s, t, w, *numbers))


def _sigmoids(z):
    q, c = 1 / (1 + (-z).exp()), 1 / (1 + z.exp())
    return Shares(q, c, q.log(), c.log(), z)


def _of_both(s, t, w, gamma):
    """The focal loss of every class against the rest."""
    return (s.log_q * s.c**gamma * -t + s.log_c * s.q**gamma * -(1 - t)) * w


def payment(loss):
    """Return the hypotheses about the formula."""
    found = settings(loss)
    gamma, alpha = found.get("gamma"), found.get("alpha")
    made = [
        at(
            "squared-error",
            "as Σ (p - y)², the Brier score",
            paying(lambda s, t, w: (s.q - t) ** 2 * w),
        ),
        at("absolute-error", "as Σ |p - y|", paying(lambda s, t, w: m.absolute(s, t, w))),
        at(
            "divergence",
            "plus Σ y log y: the divergence, not the cross entropy",
            lambda model: model._replace(pay=lambda s, t, w: model.pay(s, t, w) + t * np.log(np.where(t > 0, t, 1))),
            kind="convention",
        ),
        at(
            "generalised",
            "as the generalised cross entropy (1 - p^q)/q, q = {0:.6g}",
            paying(lambda s, t, w, q: (s.q**q - 1) * (-t * w / q)),
            starts=((0.7,),),
            cost=2.2,
            legal=lambda q: abs(q) > 1e-3,
        ),
        at(
            "poly",
            "plus ε (1 - p), ε = {0:.6g}",
            lambda model, e: model._replace(pay=lambda s, t, w: model.pay(s, t, w) + (t * w) * s.c * e),
            starts=((1.0,),),
            cost=2.5,
            legal=lambda e: abs(e) > 1e-9,
        ),
        at(
            "focus-added",
            "with a focus (1 - p)^γ, γ = {0:.6g}",
            lambda model, g: model._replace(pay=lambda s, t, w: model.pay(s, t, w) * (s.c * t).sum() ** g),
            starts=((2.0,), (0.5,)),
            cost=2.0,
            legal=lambda g: abs(g) > 1e-9,
        ),
        at(
            "epsilon-added",
            "with ε = {0:.3g} added inside of the logarithm",
            lambda model, e: _with_epsilon(model, lambda q: q + e),
            starts=((1e-2,), (1e-4,)),
            cost=2.0,
            link=GIT + "pytorch/pytorch/issues/103316",
            legal=lambda e: 1e-12 < abs(e) < 0.5,
        ),
        at(
            "clip-visible",
            "with probabilities clipped to [ε, 1 - ε], ε = {0:.3g}",
            lambda model, e: _with_epsilon(model, lambda q: q.clip(e, 1 - e)),
            starts=((0.05,), (0.2,)),
            cost=2.0,
            legal=lambda e: 1e-6 < e < 0.5,
        ),
    ]
    if not isinstance(loss, ClassificationMAE):  # of which it is the half
        made.append(
            at(
                "probability-not-log",
                "as 1 - p of the label, without a logarithm",
                paying(lambda s, t, w: (t * w) * s.c),
            )
        )
    if loss.targets.rows:
        made.append(
            at(
                "binary-of-softmax",
                "with -log(1 - p) added for every class that is not the label's",
                paying(lambda s, t, w: _of_both(s, t, w, gamma or 0)),
            )
        )
    if gamma is not None:
        made += _of_focal(loss, gamma, alpha)
    if isinstance(loss, SparseLSR):
        made += _of_sparse_smoothing(loss.smoothing)
    return made + payments(loss) + _other_losses(loss)


def _of_focal(loss, gamma, alpha):
    """Return the hypotheses about focus and α."""
    focal = m.focal_of(loss)

    def focus(f):
        return lambda model, g=gamma: model._replace(pay=focal(g, f))

    made = [
        at(
            "focus-missing",
            "with γ = 0: without the focus",
            focus(lambda q, c, g: c * 0 + 1),
            link=GIT + "davisking/dlib/pull/2552",
        ),
        at(
            "gamma-multiplied",
            "with γ (1 - p), not (1 - p)^γ",
            focus(lambda q, c, g: c * g),
            link=GIT + "fudannlp16/focal-loss/issues/8",
        ),
        at("focus-on-p", "with the focus p^γ, not (1 - p)^γ", focus(lambda q, c, g: q**g)),
        at("focus-complement", "with the focus 1 - p^γ", focus(lambda q, c, g: 1 - q**g)),
        at(
            "focus-detached",
            "without the derivative of the focus, as if it were detached",
            focus(m.detached),
        ),
        at(
            "gamma",
            "with γ = {0:.6g}",
            focus(lambda q, c, g: c**g),
            starts=((gamma + 0.5,), (1.0,), (0.3,)),
            cost=1.8,
            legal=within(-3, 50),
        ),
    ]
    if np.isscalar(alpha):
        made += [
            at(
                "alpha-and-gamma-swapped",
                f"with α = {gamma:g} and γ = {alpha:g}, which are exchanged",
                lambda model: model._replace(weights=m.balance(gamma), pay=focal(alpha)),
                link=GIT + "qubvel/segmentation_models/issues/258",
            ),
            at(
                "alpha",
                "with α = {0:.6g}",
                lambda model, a: model._replace(weights=m.balance(a)),
                starts=((alpha,), (0.5,)),
                cost=1.8,
                legal=lambda a: -10 < a < 10,
            ),
        ]
        if not loss.targets.rows:
            made.append(
                at(
                    "smoothed-labels-in-the-focus",
                    "of labels smoothed with s = {0:.6g}, and the smoothed ones in the focus and in α",
                    relabelled(lambda y, s: m.uniform(s)(y)),
                    starts=UNIT,
                    link=GIT + "keras-team/keras-cv/issues/672",
                    cost=1.6,
                    legal=within(1e-6, 1),
                )
            )
    if loss.targets.rows:
        made.append(
            at(
                "focal-per-class",
                "as the sigmoid focal loss summed over the classes",
                paying(lambda s, t, w: _of_both(_sigmoids(s.z), t, w, gamma)),
            )
        )
    return made


def _of_sparse_smoothing(s):
    """Return the hypotheses about the two terms of the sparse label smoothing of LSRLoss."""

    def two(own, rest, spread=True):
        def pay(shares, t, w):
            n = t.shape[-1]
            log_rest = shares.log_c - (np.log(n - 1) if spread else 0.0)
            return (t * w) * (shares.log_q * -own(n) - log_rest * rest(n))

        return paying(pay)

    own, rest = lambda n: 1 - s + s / n, lambda n: s * (n - 1) / n
    return [
        at("second-term-negated", "with the opposite sign of the second term", two(own, lambda n: -rest(n))),
        at("second-term-missing", "without the second term", two(own, lambda n: 0.0)),
        at("second-term-not-spread", "with log(1 - p) in place of log((1 - p)/(C - 1))", two(own, rest, False)),
        at(
            "terms-keep-too-little",
            "with 1 - s and s for the weights of its two terms",
            two(lambda n: 1 - s, lambda n: s),
        ),
        at("terms-exchanged", "with the weights of its two terms exchanged", two(rest, own)),
    ]


def _with_epsilon(model, f):
    def shares(z):
        s = model.shares(z)
        return s._replace(log_q=f(s.q).log(), log_c=f(s.c).log())

    return model._replace(shares=shares)


def _other_losses(loss):
    """Return every loss of the library with the same kind of inputs, at shared and at default parameters."""
    made, own = [], settings(loss)
    for other in LOSSES:
        if other is type(loss) or other.targets.rows != loss.targets.rows:
            continue
        names = [x for x in parameters(other) if x.name in own]
        for shared in ({x.name: own[x.name] for x in names}, {}):
            candidate = other()._replace(**shared)
            if m.takes_logits(candidate) != m.takes_logits(loss) or any(is_loss(x) for x in candidate):
                continue
            model = m.modelled(candidate)
            if model is not None:
                made.append(
                    at(
                        f"another-loss-{other.__name__}",
                        f"as {_called(candidate)}",
                        lambda old, new=model: new,
                        kind="convention",
                        cost=1.6,
                    )
                )
    return made


def _called(loss):
    given = ", ".join(f"{k}={x:g}" for k, x in loss._asdict().items() if np.isscalar(x) and x is not None)
    return f"{type(loss).__name__}({given})"
