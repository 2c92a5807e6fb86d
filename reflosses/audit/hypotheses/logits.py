"""Hypotheses about logits and the shares that are made of them."""

import numpy as np

from .. import model as m
from ..model import Shares
from .hypothesis import GIT, at
from .tempered import transfers


def bent(f):
    return lambda model, *numbers: model._replace(logits=(*model.logits, lambda z, y: f(z, y, *numbers)))


def _probabilities(z, y):
    return m.softmax(z).q


def _sigmoid_of_single(z, y):
    return m.softmax(z).q * np.array([0.0, 1.0])


def _sigmoids(z, y):
    return 1 / (1 + (-z).exp())


def _undivided(t):
    return lambda r, x: r._replace(gradient=r.gradient * t, hessian=r.hessian * t * t)


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
            "temperature",
            "of logits divided by {0:.6g}, and derivatives that are not divided by it",
            lambda model, t: bent(lambda z, y: z / t)(model)._replace(answers=(*model.answers, _undivided(t))),
            starts=((2.0,), (0.5,)),
            cost=2.1,
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
            legal=lambda k: 1e-9 < abs(k) < 100,
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
    return transfers(loss) + made


def _given_single(z):
    p = z.times_matrix([[0, 0], [-1, 1]]) + np.array([1.0, 0.0])
    return Shares(p, 1 - p, p.log(), (1 - p).log(), z)
