"""Hypotheses about labels: smoothing in its many conventions, indices from 1, labels squared or normalised."""

import numpy as np

from .. import model as m
from ..model import settings
from .hypothesis import GIT, UNIT, at, within


def relabelled(f):
    """Return a change after which labels go through f before anything else."""
    return lambda model, *numbers: model._replace(labels=(lambda y: f(y, *numbers), *model.labels))


def instead(f):
    """Return a change after which labels go through f and no smoothing of the loss."""
    return lambda model, *numbers: model._replace(labels=(lambda y: f(y, *numbers),))


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
