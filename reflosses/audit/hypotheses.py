"""What may have gone wrong in a loss, as changes of one stage of its model: executable, and free to be combined.

A hypothesis holds numbers to be fitted (none, one or two), where to start looking for them, and
``change``, which makes another ``Model`` of a model.  Its phrase continues "matches <loss> …".
Sources: the conventions of docs/conventions.md, and the threads that ``link`` names; a hypothesis
stands for a mathematical difference, not for a thread.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..domain import is_loss, parameters
from ..losses import LOSSES
from . import model as m
from .jets import Jet
from .model import Shares, settings

GIT = "https://github.com/"


class Hypothesis(NamedTuple):
    """A change of one stage, with its numbers to be fitted."""

    name: str
    stage: str
    phrase: str  # may name its numbers as {0:.4g} and {1:.4g}
    change: Callable  # (model, *numbers) -> model
    starts: tuple = ()  # where to start fitting: a tuple of numbers each
    kind: str = "mistake"
    link: str | None = None
    cost: float = 1.0  # what makes an explanation less simple
    legal: Callable = lambda *numbers: True


def at(name, phrase, change, **more):
    """Return a hypothesis; its stage is that of the family it stands in."""
    return Hypothesis(name, "", phrase, change, **more)


# Labels -------------------------------------------------------------------------------------


def relabelled(f):
    """Return a change after which labels go through f before anything else."""
    return lambda model, *numbers: model._replace(labels=(lambda y: f(y, *numbers), *model.labels))


def instead(f):
    """Return a change after which labels go through f and no smoothing of the loss."""
    return lambda model, *numbers: model._replace(labels=(lambda y: f(y, *numbers),))


UNIT = (0.1,), (0.3,)


def within(low, high):
    return lambda s, *rest: low < s < high


def spread(on, off):
    """Labels that put ``on`` on the class and ``off`` on every other."""
    return lambda y, *s: y * on(y.shape[-1], *s) + (1 - y) * off(y.shape[-1], *s)


CONVENTIONS = (  # name, phrase, what the class keeps, what every other class gets, link
    (
        "smoothing-uniform",
        "with labels y (1 - s) + s/C, s = {0:.6g}",
        lambda n, s: 1 - s + s / n,
        lambda n, s: s / n,
        "",
    ),
    (
        "smoothing-others",
        "with labels y (1 - s C/(C - 1)) + s/(C - 1), s = {0:.6g}: the class keeps 1 - s",
        lambda n, s: 1 - s,
        lambda n, s: s / (n - 1),
        "",
    ),
    (
        "smoothing-keeps-too-much",
        "with labels y (1 - s/C) + s/C, s = {0:.6g}: the class keeps 1 and the row sums to more",
        lambda n, s: 1.0,
        lambda n, s: s / n,
        "ildoonet/pytorch-randaugment/issues/30",
    ),
    (
        "smoothing-loses-mass",
        "with 1 - s on the class and s/C on every other, s = {0:.6g}: the row sums to less than 1",
        lambda n, s: 1 - s,
        lambda n, s: s / n,
        "",
    ),
    (
        "smoothing-added-and-halved",
        "with labels (y + s)/2, s = {0:.6g}",
        lambda n, s: (1 + s) / 2,
        lambda n, s: s / 2,
        "eladhoffer/utils.pytorch/issues/13",
    ),
    (
        "smoothing-off-target-complement",
        "with (1 - s)/C on every class but the label's, which gets 1 - s + s/C, s = {0:.6g}",
        lambda n, s: 1 - s + s / n,
        lambda n, s: (1 - s) / n,
        "paiml/aprender/pull/2199",
    ),
    (
        "smoothing-off-target-complement",
        "with (1 - s)/C on every class but the label's, which gets 1 - s, s = {0:.6g}",
        lambda n, s: 1 - s,
        lambda n, s: (1 - s) / n,
        "paiml/aprender/pull/2199",
    ),
    (
        "smoothing-off-target-complement",
        "with (1 - s)/C on every class but the label's, which gets s, s = {0:.6g}",
        lambda n, s: s,
        lambda n, s: (1 - s) / n,
        "paiml/aprender/pull/2199",
    ),
    ("smoothing-not-binary", "with labels y (1 - s) + s, s = {0:.6g}", lambda n, s: 1.0, lambda n, s: s, ""),
    ("smoothing-only-scales", "with labels y (1 - s), s = {0:.6g}", lambda n, s: 1 - s, lambda n, s: 0.0, ""),
    (
        "smoothing-half",
        "with labels y (1 - s) + s/2 whatever C, s = {0:.6g}",
        lambda n, s: 1 - s / 2,
        lambda n, s: s / 2,
        "",
    ),
    (
        "smoothing-full-others",
        "with 1 - s on the class and s on every other, s = {0:.6g}",
        lambda n, s: 1 - s,
        lambda n, s: s,
        "",
    ),
    (
        "smoothing-uniform-and-others",
        "with 1 - s + s/C on the class and s/(C - 1) on every other, s = {0:.6g}",
        lambda n, s: 1 - s + s / n,
        lambda n, s: s / (n - 1),
        "",
    ),
)


WRONG_NUMBERS_OF_CLASSES = (
    ("C/2, rounded down,", lambda n: max(n // 2, 1)),
    ("C - 1", lambda n: max(n - 1, 1)),
    ("C + 1", lambda n: n + 1),
    ("2 C", lambda n: 2 * n),
)


def labels(loss):
    """Return the hypotheses about labels."""
    s = settings(loss).get("smoothing")
    starts = [(s,)] if s else []
    made = [
        at(
            name,
            phrase,
            instead(spread(on, off)),
            starts=(*starts, *UNIT),
            kind="convention",
            link=GIT + link if link else None,
            cost=1.5,
            legal=within(1e-6, 1),
        )
        for name, phrase, on, off, link in CONVENTIONS
    ]
    made += [
        at(
            "smoothing-number-of-classes",
            "with K = {0:.6g} in place of C in the smoothing",
            lambda model, k: model._replace(labels=(lambda y: y * (1 - s) + s / k,)),
            starts=((2.0,), (6.0,), (30.0,)),
            link=GIT + "NVIDIA/Megatron-LM/issues/7464",
            cost=2.5,
            legal=lambda k: 1 < k < 1e5,
        )
    ] * bool(s)
    made += [
        at(
            "smoothing-number-of-classes",
            f"with {said} in place of C in the smoothing",
            lambda model, k=k: model._replace(labels=(lambda y: y * (1 - s) + s / k(y.shape[-1]),)),
            link=GIT + "NVIDIA/Megatron-LM/issues/7464",
            cost=1.5,
        )
        for said, k in WRONG_NUMBERS_OF_CLASSES
    ] * bool(s)
    made += [at("smoothing-missing", "without its smoothing", instead(lambda y: y))] * bool(s)
    made += [
        at(
            "soft-labels-smoothed-by-nonzero",
            "with labels max(y - α/nnz(y), 0) + α/C, α = {0:.6g}",
            instead(lambda y, a: m.of_nonzero(a)(y)),
            starts=UNIT,
            kind="convention",
            cost=1.8,
            legal=within(1e-6, 1),
        ),
        at(
            "smoothing-on-off",
            "with {0:.6g} on the label's class and {1:.6g} on every other",
            instead(spread(lambda n, a, b: a, lambda n, a, b: b)),
            starts=((0.9, 0.05),),
            cost=3.5,
        ),
        at("labels-flipped", "with the labels 0 and 1 exchanged", relabelled(lambda y: y[:, ::-1])),
        at(
            "index-base-1",
            "with every class taken for the one before it: labels that count from 1",
            relabelled(lambda y: np.roll(y, -1, axis=-1)),
            link=GIT + "mlverse/torch/pull/681",
        ),
        at(
            "index-base-0",
            "with every class taken for the one after it",
            relabelled(lambda y: np.roll(y, 1, axis=-1)),
            link=GIT + "mlverse/torch/pull/681",
        ),
        at(
            "index-clamped",
            "with every class but the first taken for the one before it",
            relabelled(lambda y: np.roll(np.concatenate([y[:, :1] * 0, y[:, 1:]], -1), -1, -1) + _first(y)),
            link=GIT + "mlverse/torch/pull/681",
        ),
        at(
            "labels-hardened",
            "with the largest of the soft labels as the class",
            relabelled(lambda y: (np.arange(y.shape[-1]) == y.argmax(-1)[:, None]) * 1.0),
        ),
        at("labels-normalised", "with labels divided by their sum", relabelled(lambda y: y / y.sum(-1, keepdims=True))),
        at("labels-squared", "with squared labels", relabelled(lambda y: y * y)),
        at(
            "labels-softmax",
            "with the softmax of the labels for labels",
            relabelled(lambda y: np.exp(y) / np.exp(y).sum(-1, keepdims=True)),
        ),
    ]
    return made


def _first(y):
    return y[:, :1] * (np.arange(y.shape[-1]) == 0)


# Weights ------------------------------------------------------------------------------------


def weighing(f):
    return lambda model, *numbers: model._replace(weights=lambda y: f(model.weights(y), y, *numbers))


def pair(f):
    """Weights of the labels 0 and 1."""
    return lambda model, *numbers: model._replace(weights=lambda y: np.array(f(*numbers)))


def weights(loss):
    """Return the hypotheses about weights of classes, α and ``pos_weight`` among them."""
    found = settings(loss)
    alpha, focal = found.get("alpha"), "gamma" in found
    made = []
    if not loss.targets.rows:
        made += _binary_weights(alpha if np.isscalar(alpha) else None, focal, found.get("pos_weight"))
    weight = found.get("class_weight", alpha if np.ndim(alpha) else None)
    if weight is not None:
        made += [
            at("class-weights-ignored", "without the weights of the classes", weighing(lambda w, y: np.ones_like(w))),
            at("class-weights-squared", "with the weights of the classes applied twice", weighing(lambda w, y: w * w)),
            at("class-weights-inverted", "with the weights of the classes inverted", weighing(lambda w, y: 1 / w)),
            at(
                "class-weights-normalised",
                "with class weights divided by their sum",
                weighing(lambda w, y: w / w.sum()),
            ),
            at("class-weights-mean-1", "with class weights divided by their mean", weighing(lambda w, y: w / w.mean())),
            at("class-weights-reversed", "with class weights in reverse order", weighing(lambda w, y: w[::-1])),
            at("class-weights-rooted", "with the square roots of the class weights", weighing(lambda w, y: np.sqrt(w))),
            at(
                "class-weights-shifted",
                "with every class weighted as the one before it",
                weighing(lambda w, y: np.roll(w, 1)),
            ),
            at("class-weights-shifted", "with every class weighted as the next", weighing(lambda w, y: np.roll(w, -1))),
        ]
        if "smoothing" in found:
            made += [_weight_of_label("weights-of-the-label", weight), _fastai(weight, found["smoothing"])]
    return made


def _weight_of_label(name, weight):
    """Weights that multiply the whole row by that of its class, smoothed part and all."""

    def change(model):
        w = np.asarray(weight, np.float64)
        smoothing = model.labels

        def smooth(y):
            total = (y * w).sum(-1, keepdims=True)
            for f in smoothing:
                y = f(y)
            return y * total

        return model._replace(labels=(smooth,), weights=lambda y: np.ones(y.shape[-1]))

    return at(name, "with the row weighted by its class, not each smoothed label by its own", change, kind="convention")


def _fastai(weight, s):
    def change(model):
        w = np.asarray(weight, np.float64)
        return model._replace(
            labels=(lambda y: y * w * (1 - s) + s / y.shape[-1],), weights=lambda y: np.ones(y.shape[-1])
        )

    phrase = "with class weights on the label only, not on the smoothed part, as in fastai"
    return at("weights-before-smoothing", phrase, change, kind="convention", link="https://docs.fast.ai/losses.html")


def _binary_weights(alpha, focal, pos_weight):
    made = [
        at("negatives-missing", "without the part of y = 0", weighing(lambda w, y: w * np.array([0.0, 1.0]))),
        at("positives-missing", "without the part of y = 1", weighing(lambda w, y: w * np.array([1.0, 0.0]))),
    ]
    if focal and alpha is not None:
        link = GIT + "tensorflow/tensorflow/issues/61519"
        made += [
            at("alpha-swapped", f"with α = {alpha:g} on y = 0 and 1 - α on y = 1", pair(lambda: (alpha, 1 - alpha))),
            at("alpha-ignored", "without α", pair(lambda: (1.0, 1.0)), link=link),
            at("alpha-on-both", "with α on both classes", pair(lambda: (alpha, alpha))),
            at("alpha-complement-on-both", "with 1 - α on both classes", pair(lambda: (1 - alpha, 1 - alpha))),
            at("alpha-without-complement", "with α on y = 1 and 1, not 1 - α, on y = 0", pair(lambda: (1.0, alpha))),
            at("alpha-on-negatives-only", "with α on y = 0 and 1 on y = 1", pair(lambda: (alpha, 1.0))),
            at("alpha-complement-only", "with 1 - α on y = 0 and 1 on y = 1", pair(lambda: (1 - alpha, 1.0))),
            at("alpha-as-odds", "with α/(1 - α) on y = 1 and 1 on y = 0", pair(lambda: (1.0, alpha / (1 - alpha)))),
            at("alpha-applied-twice", "with α and 1 - α applied twice", weighing(lambda w, y: w * w)),
            at("alpha-doubled", "with 2α and 2(1 - α)", weighing(lambda w, y: 2 * w)),
        ]
    if focal and alpha is None:
        made += [
            at(
                "alpha-added",
                "with α = {0:.6g} on y = 1 and 1 - α on y = 0",
                pair(lambda a: (1 - a, a)),
                starts=((0.25,), (0.75,)),
                kind="convention",
                cost=1.8,
                legal=within(0, 1),
            )
        ]
    if pos_weight is not None and pos_weight != 1:
        w = pos_weight
        made += [
            at("pos-weight-ignored", "without pos_weight", pair(lambda: (1.0, 1.0))),
            at("pos-weight-on-negatives", "with pos_weight on y = 0", pair(lambda: (w, 1.0))),
            at("pos-weight-on-both", "with pos_weight on both classes", pair(lambda: (w, w))),
            at(
                "pos-weight-normalised",
                "with weights w/(1 + w) and 1/(1 + w)",
                pair(lambda: (1 / (1 + w), w / (1 + w))),
            ),
        ]
    made.append(
        at(
            "weights-of-two",
            "with the weights {1:.6g} of y = 1 and {0:.6g} of y = 0",
            pair(lambda a, b: (a, b)),
            starts=((0.5, 0.5),),
            cost=3.2,
        )
    )
    return made


# Logits -------------------------------------------------------------------------------------


def bent(f):
    return lambda model, *numbers: model._replace(logits=(*model.logits, lambda z, y: f(z, y, *numbers)))


def _probabilities(z, y):
    return m.softmax(z).q


def _sigmoid_of_single(z, y):
    return m.softmax(z).q * np.array([0.0, 1.0])


def _sigmoids(z, y):
    return 1 / (1 + (-z).exp())


def by_shares(f):
    return lambda model, *numbers: model._replace(shares=lambda z: f(z, *numbers))


def _raw(z):
    s = m.softmax(z)
    return s._replace(log_q=z)


def _across(z):
    e = z.exp()
    total = e.across()
    return Shares(e / total, 1 - e / total, z - total.log(), (1 - e / total).log(), z)


def _per_class(z):
    q, c = 1 / (1 + (-z).exp()), 1 / (1 + z.exp())
    return Shares(q, c, q.log(), c.log(), z)


def _with_others(z, mass):
    """A softmax in whose sum there is more than the classes."""
    e = z.exp()
    total = e.sum() + mass
    return Shares(e / total, (total - e) / total, z - total.log(), ((total - e) / total).log(), z)


def _with_lanes(z, mass):
    """A softmax whose classes are filled up to a power of two."""
    n = z.v.shape[-1]
    return _with_others(z, mass * ((1 << (n - 1).bit_length()) - n))


def _without_own(z):
    n = z.v.shape[-1]
    e = z.exp()
    total = e.times_matrix(1 - np.eye(n))
    return Shares(e / total, 1 - e / total, z - total.log(), (1 - e / total).log(), z)


def _of_sigmoids(s, t, w):
    """Binary cross entropy of every class against the rest."""
    z = s.z
    q, c = 1 / (1 + (-z).exp()), 1 / (1 + z.exp())
    return (q.log() * -t + c.log() * -(1 - t)) * w


def logits(loss):
    """Return the hypotheses about logits and what is made of them."""
    if not m.takes_logits(loss):
        return [
            at("rescaled", "of probabilities divided by their sum", by_shares(m.rescaled), kind="convention"),
            at("not-rescaled", "of probabilities as they are given", by_shares(m.given), kind="convention"),
            at(
                "takes-logits",
                "of the softmax of what it is given: it takes logits",
                by_shares(m.softmax),
                kind="convention",
            ),
        ]
    rows = loss.targets.rows
    made = [
        at(
            "temperature",
            "of logits divided by {0:.6g}",
            bent(lambda z, y, t: z / t),
            starts=((2.0,), (0.5,)),
            cost=2.0,
            legal=lambda t: abs(t) > 1e-3,
        ),
        at(
            "softcap",
            "of logits capped as k tanh(z/k), k = {0:.6g}",
            bent(lambda z, y, k: (z / k).tanh() * k),
            starts=((5.0,), (30.0,)),
            cost=2.0,
            legal=lambda k: 0.1 < k < 1e4,
        ),
        at("logits-negated", "of logits with the opposite sign", bent(lambda z, y: -z)),
        at(
            "margin",
            "with {0:.6g} taken from the logit of the label",
            bent(lambda z, y, k: z - y * k),
            starts=((0.3,),),
            cost=2.2,
            legal=lambda k: abs(k) > 1e-9,
        ),
        at("tanh", "of tanh(z)", bent(lambda z, y: z.tanh())),
    ]
    if rows:
        made += [
            at("softmax-twice", "of the softmax of the logits: softmax is applied twice", bent(_probabilities)),
            at("sigmoid-before", "of the sigmoid of the logits", bent(_sigmoids)),
            at("softmax-missing", "without the normaliser: logits are taken for log-probabilities", by_shares(_raw)),
            at(
                "takes-probabilities",
                "of the logits themselves as probabilities: no softmax is applied",
                by_shares(m.given),
            ),
            at(
                "softmax-over-batch",
                "with the softmax over the rows of the batch rather than over the classes",
                by_shares(_across),
                link=GIT + "tensorflow/tensorflow/issues/32231",
            ),
            at("sigmoid-per-class", "with a sigmoid for every class in place of the softmax", by_shares(_per_class)),
            at(
                "binary-per-class",
                "as binary cross entropy summed over the classes",
                lambda model: model._replace(pay=_of_sigmoids),
            ),
            at(
                "tile-padding",
                "with {0:.6g} more in Σ e^z than the classes give, as of padded classes",
                by_shares(_with_others),
                starts=((1.0,), (1e-3,)),
                link=GIT + "unslothai/unsloth/pull/10616",
                cost=2.2,
                legal=lambda x: abs(x) > 1e-9,
            ),
            at(
                "tile-padding",
                "with {0:.6g} more in Σ e^z for every class that is missing to a power of two",
                by_shares(_with_lanes),
                starts=((1.0,), (0.1,)),
                link=GIT + "apple/ml-cross-entropy/pull/59",
                cost=2.2,
                legal=lambda x: abs(x) > 1e-9,
            ),
            at("own-class-not-in-sum", "with the label's class left out of the normaliser", by_shares(_without_own)),
        ]
    else:
        made += [
            at("sigmoid-twice", "of the sigmoid of the logit: sigmoid is applied twice", bent(_sigmoid_of_single)),
            at(
                "takes-probabilities",
                "of the logit itself as a probability: no sigmoid is applied",
                by_shares(_given_single),
            ),
            at(
                "softmax-of-one",
                "as 0: the softmax of a single class is always 1",
                lambda model: model._replace(pay=lambda s, t, w: s.log_q * 0),
                link=GIT + "Project-MONAI/MONAI/issues/2509",
            ),
        ]
    return made


def _given_single(z):
    p = z.times_matrix([[0, 0], [-1, 1]]) + np.array([1.0, 0.0])
    return Shares(p, 1 - p, p.log(), (1 - p).log(), z)


# The loss -----------------------------------------------------------------------------------


def paying(f):
    """Return a change of what a class pays; f(shares, labels, weights, *numbers)."""
    return lambda model, *numbers: model._replace(pay=lambda s, t, w: f(s, t, w, *numbers))


def _focus(f):
    """A blended focal loss whose focus is f(q of the label, 1 - q, *numbers)."""

    def pay(s, t, w, *numbers):
        q, c = (s.q * t).sum(), (s.c * t).sum()
        return (s.log_q * -t) * f(q, c, *numbers) * (t * w).sum(axis=-1, keepdims=True)

    return paying(pay)


def _entropy_with(epsilon, added):
    def pay(s, t, w):
        return (t * w) * -(s.q.clip(epsilon, 1 - epsilon) + added).log()

    return pay


def _still(s):
    return Shares(*(x.still() if isinstance(x, Jet) else x for x in s))


def _detached_focus(gamma):
    """The focus is a weight that autograd does not see."""

    def pay(s, t, w):
        return (s.log_q * -t) * ((s.c * t).sum() ** gamma).still() * (t * w).sum(axis=-1, keepdims=True)

    return paying(pay)


def loss_itself(loss):
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
        at("probability-not-log", "as 1 - p of the label, without a logarithm", paying(lambda s, t, w: (t * w) * s.c)),
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
    if gamma is not None:
        made += [
            at(
                "focus-missing",
                "with γ = 0: without the focus",
                _focus(lambda q, c: c * 0 + 1),
                link=GIT + "davisking/dlib/pull/2552",
            ),
            at(
                "gamma-multiplied",
                "with γ (1 - p), not (1 - p)^γ",
                _focus(lambda q, c: c * gamma),
                link=GIT + "fudannlp16/focal-loss/issues/8",
            ),
            at("focus-on-p", "with the focus p^γ, not (1 - p)^γ", _focus(lambda q, c: q**gamma)),
            at("focus-complement", "with the focus 1 - p^γ", _focus(lambda q, c: 1 - q**gamma)),
            at("focus-detached", "without the derivative of the focus, as if it were detached", _detached_focus(gamma)),
            at(
                "gamma",
                "with γ = {0:.6g}",
                _focus(lambda q, c, g: c**g),
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
                    lambda model: _focus(lambda q, c: c**alpha)(model._replace(weights=m.balance(gamma))),
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
    return made + _other_losses(loss)


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


# Everything ---------------------------------------------------------------------------------


def hypotheses(loss):
    """Return all hypotheses about a loss, those about answers included."""
    from .answers import answers

    families = {"weights": weights, "labels": labels, "logits": logits, "loss": loss_itself, "answers": answers}
    return [x._replace(stage=stage) for stage, family in families.items() for x in family(loss)]
