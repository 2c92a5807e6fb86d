"""A loss as a pipeline of replaceable stages: what a hypothesis changes one stage of.

A row of logits z with labels y goes through

    labels -> weights -> logits -> shares -> pay -> answer

and every stage is a function.  A single logit is the row [0, z] with the labels [1 - y, y], so that α
and ``pos_weight`` are weights of classes and sigmoid losses need nothing of their own.  Derivatives
follow from the value by ``jets``.  Hypotheses compose because they replace or extend stages.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..domain import REAL, is_loss, predictions
from ..losses import (
    BinaryCrossEntropy,
    BinaryFocal,
    BinaryLabelSmoothing,
    BinaryProbabilityCrossEntropy,
    BiTempered,
    BiTemperedBinary,
    CategoricalFocal,
    ClassificationMAE,
    CrossEntropy,
    LabelSmoothing,
    OtherClassesSmoothing,
    ProbabilityCrossEntropy,
    RescaledProbabilityCrossEntropy,
    SigmoidFocal,
    SoftLabelSmoothing,
    SparseLSR,
)
from .jets import Jet, seeded


class Inputs(NamedTuple):
    """Rows as an implementation was given them: logits (n, C) or (n,), classes or label masses."""

    logits: np.ndarray
    labels: np.ndarray

    @property
    def single(self):
        return self.logits.ndim == 1

    @property
    def classes(self):
        return 2 if self.single else self.logits.shape[1]


class Result(NamedTuple):
    """Value (n,), gradient and Hessian diagonal in the shape of the logits, and Σ |terms| of the value."""

    value: np.ndarray
    gradient: np.ndarray
    hessian: np.ndarray
    size: np.ndarray


class Shares(NamedTuple):
    """Probabilities q, 1 - q, their logarithms, and the logits they were made of."""

    q: Any
    c: Any
    log_q: Any
    log_c: Any
    z: Any


class Model(NamedTuple):
    """The stages.  Each is a tuple of functions applied in order, or one function."""

    labels: tuple = ()  # Y -> Y
    weights: Callable = lambda y: np.ones(y.shape[-1])  # Y -> one a class, or one a label mass
    logits: tuple = ()  # z, Y -> z
    shares: Callable = lambda z: softmax(z)
    pay: Callable = lambda s, t, w: (t * w) * -s.log_q  # shares, labels, weights -> what each class pays
    terms: Callable = lambda s, t, paid: abs(paid)  # what a class's payment is a sum of: it may cancel
    answers: tuple = ()  # Result, context -> Result
    dtype: Any = np.float64


class Context(NamedTuple):
    """What a map of answers may look at: the inputs, the labels as rows, the probabilities."""

    inputs: Inputs
    rows: np.ndarray
    p: np.ndarray

    def own(self, x):
        """Return what belongs to the logits that there are: of a single logit, the second class's."""
        return x[:, 1] if self.inputs.single else x


def softmax(z):
    """Return shares whose complements are sums: nothing is subtracted."""
    n = z.v.shape[-1]
    top = z.v.max(axis=-1, keepdims=True)
    e = (z - np.where(np.isfinite(top), top, 0)).exp()
    total = e.sum()
    rest = e.times_matrix(1 - np.eye(n))
    log_total = total.log()
    return Shares(e / total, rest / total, z - top - log_total, rest.log() - log_total, z)


def exp_t(u, t):
    """Return the tempered exponential of an array or a jet."""
    if t == 1:
        return u.exp() if isinstance(u, Jet) else np.exp(u)
    return positive(u * (1 - t) + 1.0, 1 / (1 - t))


def log_t(u, t):
    """Return the tempered logarithm of an array or a jet."""
    if t == 1:
        return u.log() if isinstance(u, Jet) else np.log(u)
    return (positive(u, 1 - t) - 1.0) * (1 / (1 - t))


def positive(x, a):
    """Return x^a, without slopes where x is not positive: there it is 0, or infinite for a < 0."""
    v = x.v if isinstance(x, Jet) else x
    inside = v > 0
    safe = np.where(inside, v, 1.0)
    power = safe**a * inside
    if a < 0:
        power = np.where(inside, power, np.inf)
    if not isinstance(x, Jet):
        return power
    slope = a * power / safe * inside
    return x.chain(power, slope, (a - 1) * slope / safe)


def normaliser(z, t):
    """Return λ of an array of rows, Σ exp_t(z - λ) = 1, by Newton's method: from below, as the sum is convex."""
    found = z.max(axis=-1, keepdims=True)
    for _ in range(100):
        q = exp_t(z - found, t)
        excess = q.sum(axis=-1, keepdims=True) - 1
        found = found + excess / positive(q, t).sum(axis=-1, keepdims=True)
        if (excess <= 1e-15).all():
            break
    return found


def normalised(z, found, t):
    """Return exp_t(z - λ) with λ's slopes by the implicit function theorem: exact after two rounds."""
    for _ in range(3):
        q = exp_t(z - found, t)
        found = (q.sum() - q.v.sum(axis=-1, keepdims=True)) / positive(q, t).sum() + found
    return exp_t(z - found, t)


def shares_of(q, z):
    """Return shares of probabilities, whose complements are sums."""
    c = q.times_matrix(1 - np.eye(q.v.shape[-1]))
    return Shares(q, c, q.log(), c.log(), z)


def tempered_softmax(t):
    return softmax if t == 1 else lambda z: shares_of(normalised(z, normaliser(z.v, t), t), z)


def given(z):
    """Return probabilities that are the predictions themselves."""
    if z.v.shape[-1] == 2 and (z.v[:, 0] == 0).all() and (z.v[:, 1] <= 1).all():  # a single one, as [0, p]
        p = z.times_matrix([[0, 0], [-1, 1]]) + np.array([1.0, 0.0])
        return Shares(p, 1 - p, p.log(), (1 - p).log(), z)
    return Shares(z, 1 - z, z.log(), (1 - z).log(), z)


def rescaled(z):
    return given(z / z.sum())


def label_rows(inputs):
    """Return labels as rows of masses."""
    y = inputs.labels
    if inputs.single:
        return np.stack([1 - y, y], axis=1).astype(np.float64)
    return y.astype(np.float64) if y.ndim == 2 else (y[:, None] == np.arange(inputs.classes)) * 1.0


def evaluate(model, inputs):
    """Return the ``Result`` of a model at some inputs."""
    with np.errstate(all="ignore"):
        z = inputs.logits.astype(model.dtype)
        single = inputs.single
        rows = np.stack([np.zeros_like(z), z], axis=1) if single else z
        y = plain = label_rows(inputs)
        for change in model.labels:
            y = change(y)
        w = np.broadcast_to(model.weights(y), y.shape)
        jet = seeded(rows, [1] if single else range(rows.shape[1]))
        for bend in model.logits:
            jet = bend(jet, plain)
        shares = model.shares(jet)
        paid = model.pay(shares, y.astype(model.dtype), w.astype(model.dtype))
        paid = type(paid)(*(np.where((y == 0) & ~np.isfinite(x), 0, x) for x in (paid.v, paid.d, paid.h)))
        total = paid.sum()
        value, d, h = total.v[:, 0], total.d[:, :, 0], total.h[:, :, 0]
        gradient, hessian = (d[0], h[0]) if single else (d.T, h.T)
        result = Result(value, gradient, hessian, np.nan_to_num(model.terms(shares.q.v, y, paid.v)).sum(axis=1))
        context = Context(inputs, y * w, shares.q.v)
        for change in model.answers:
            result = change(result, context)
        return result


# What a loss of the library is, as a model ---------------------------------------------------


def uniform(s):
    return lambda y: y * (1 - s) + s / y.shape[-1]


def others(s):
    return lambda y: y * (1 - s * y.shape[-1] / (y.shape[-1] - 1)) + s / (y.shape[-1] - 1)


def of_nonzero(s):
    return lambda y: np.maximum(y - s / np.maximum((y > 0).sum(-1, keepdims=True), 1), 0) + s / y.shape[-1]


def constant(w):
    return lambda y: np.asarray(w, np.float64)


def balance(alpha):
    return constant((1.0, 1.0) if alpha is None else (1 - alpha, alpha))


def focal(gamma, focus=lambda q, c, gamma: c**gamma):
    """The focal loss of every class; the focus may be another function of q, 1 - q and γ."""
    return lambda s, t, w: (t * w) * (focus(s.q, s.c, gamma) * -s.log_q)


def blended_focal(gamma, focus=lambda q, c, gamma: c**gamma):
    """The focal loss of labels between 0 and 1: focus, α and cross entropy are each blended."""

    def pay(s, t, w):
        found = focus((s.q * t).sum(), (s.c * t).sum(), gamma)
        return (s.log_q * -t) * found * (t * w).sum(axis=-1, keepdims=True)

    return pay


def focal_of(loss):
    """Return which of the two a focal loss is."""
    return focal if loss.targets.rows else blended_focal


def detached(q, c, gamma):
    """A focus that autograd does not see."""
    return (c**gamma).still()


def absolute(s, t, w):
    return abs(s.q - t)


def own_part(y, t1, added=0.0):
    """Return y log_t y, which is 0 where y is."""
    return np.where(y > 0, log_t(np.where(y > 0, y, 1.0) + added, t1) * y, 0.0)


def divergence(t1, first=1.0, second=1.0, in_p=0.0, in_y=0.0):
    """What a class pays of the bi-tempered loss: its parts by their factors, and an ε in a logarithm."""

    def pay(s, y, w):
        own = own_part(y, t1, in_y) - log_t(s.q + in_p, t1) * y
        other = (positive(y, 2 - t1) - positive(s.q, 2 - t1)) * (1 / (2 - t1))
        return (own * first - other * second) * w

    return pay


def divergence_terms(t1):
    def terms(q, y, paid):
        own = abs(own_part(y, t1)) + np.where(y > 0, y * abs(log_t(q, t1)), 0.0)
        return own + (positive(y, 2 - t1) + positive(q, 2 - t1)) / (2 - t1)

    return terms


def bi_tempered(x):
    """The bi-tempered loss; where labels of 0 cost infinitely much there is nothing to compare."""
    if x.t1 >= 2:
        return None
    return Model(shares=tempered_softmax(x.t2), pay=divergence(x.t1), terms=divergence_terms(x.t1))


def sparse_smoothing(s):
    def pay(shares, t, w):
        n = t.shape[-1]
        kept, lost = 1 - s + s / n, s * (n - 1) / n
        return (t * w) * (shares.log_q * -kept - (shares.log_c - np.log(n - 1)) * lost)

    return pay


def clipped(epsilon, added=0.0):
    """Cross entropy of probabilities clipped to [ε, 1 - ε], with a added inside of the logarithm."""
    return lambda s, t, w: (t * w) * -(s.q.clip(epsilon, 1 - epsilon) + added).log()


SMOOTHINGS = {
    LabelSmoothing: uniform,
    OtherClassesSmoothing: others,
    SoftLabelSmoothing: of_nonzero,
    BinaryLabelSmoothing: uniform,
}


def _ones(w):
    return Model() if w is None else Model(weights=constant(w))


PLAIN = {
    CrossEntropy: lambda x: _ones(x.class_weight),
    BinaryCrossEntropy: lambda x: Model(weights=constant((1.0, x.pos_weight))),
    CategoricalFocal: lambda x: _ones(x.alpha)._replace(pay=focal(x.gamma)),
    SigmoidFocal: lambda x: Model(weights=balance(x.alpha), pay=blended_focal(x.gamma)),
    BinaryFocal: lambda x: Model(weights=balance(x.alpha), pay=blended_focal(x.gamma)),
    ClassificationMAE: lambda x: Model(pay=absolute),
    BiTempered: bi_tempered,
    BiTemperedBinary: bi_tempered,
    SparseLSR: lambda x: Model(pay=sparse_smoothing(x.smoothing)),
    ProbabilityCrossEntropy: lambda x: Model(shares=given, pay=clipped(x.epsilon)),
    RescaledProbabilityCrossEntropy: lambda x: Model(shares=rescaled, pay=clipped(x.epsilon)),
    BinaryProbabilityCrossEntropy: lambda x: Model(shares=given, pay=clipped(x.epsilon, x.added)),
}


def modelled(loss):
    """Return the model of a loss; of one that has no stages, None."""
    if type(loss) in SMOOTHINGS:
        inner = modelled(loss.loss)
        return inner and inner._replace(labels=(SMOOTHINGS[type(loss)](loss.smoothing), *inner.labels))
    return PLAIN[type(loss)](loss) if type(loss) in PLAIN else None


def takes_logits(loss):
    return predictions(loss) == REAL


def innermost(loss):
    """Return the loss whose labels others change."""
    inner = [x for x in loss if is_loss(x)]
    return innermost(inner[0]) if inner else loss


def settings(loss):
    """Return the parameters of a loss and of the losses within it, by name."""
    found: dict = {}
    for name, x in loss._asdict().items():
        found.update(settings(x) if is_loss(x) else {name: x})
    return found
