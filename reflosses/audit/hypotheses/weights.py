"""Hypotheses about weights of classes, α and ``pos_weight``."""

import numpy as np

from ..model import settings
from .hypothesis import GIT, at, within


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
