"""Hypotheses about derivatives that were written by hand: a term of a product or a factor of a chain goes wrong."""

import numpy as np

from .. import model as m
from ..model import Inputs, evaluate, settings
from .hypothesis import GIT, at

LINK = GIT + "rahowa/catboost_focal_loss/issues/2"


def of_model(f):
    """Return a change of the gradient to f(model, result, context), which may evaluate the model otherwise."""
    return lambda model: model._replace(
        answers=(*model.answers, lambda r, x: r._replace(gradient=f(model._replace(answers=()), r, x)))
    )


def slopes(loss):
    """Return the hypotheses about gradients in the terms and factors that they are made of."""
    made = [
        at(
            "chain-rule-missing",
            "with the derivative in the probability in place of that in the logit",
            of_model(in_probability),
            link=LINK,
        )
    ]
    if loss.targets.rows:
        made.append(
            at(
                "jacobian-diagonal-only",
                "with p (1 - p) for the whole Jacobian of the softmax: its other entries are missing",
                of_model(lambda model, r, x: in_probability(model, r, x) * x.p * (1 - x.p)),
            )
        )
    found = settings(loss)
    if found.get("class_weight") is not None or found.get("pos_weight", 1) != 1:
        made += _weighted(loss)
    if "gamma" in found and found["gamma"] != 0:
        made += _focused(m.focal_of(loss), found["gamma"])
    return made


def in_probability(model, r, x):
    """Return dℓ/dp, where every probability moves by itself."""
    p = x.own(x.p)
    return evaluate(model._replace(shares=m.given, logits=()), Inputs(p, x.inputs.labels)).gradient


def _weighted(loss):
    def with_weights(f):
        def gradient(model, r, x):
            y = m.label_rows(x.inputs)
            for change in model.labels:
                y = change(y)
            return x.own(f(x.p, y, np.broadcast_to(model.weights(y), y.shape)))

        return of_model(gradient)

    made = [
        at(
            "labels-sum-dropped",
            "with p - w y for a gradient: the weight multiplies the label, and p is not multiplied by Σ w y",
            with_weights(lambda p, y, w: p - w * y),
            link=GIT + "NVIDIA-NeMo/Automodel/pull/2428",
        ),
        at(
            "weight-on-p-only",
            "with w p - y for a gradient: the weight multiplies the probability alone",
            with_weights(lambda p, y, w: p * (w * y).sum(axis=1, keepdims=True) - y),
        ),
    ]
    if loss.targets.rows:
        made.append(
            at(
                "weight-of-every-class",
                "with every p - y times the weight of its own class, in place of the label's",
                with_weights(lambda p, y, w: w * (p - y)),
            )
        )
    return made


def _focused(focal, gamma):
    """The gradient is focus x slope of the logarithm + slope of the focus x logarithm."""

    def parts(f):
        def gradient(model, r, x):
            still = evaluate(model._replace(pay=focal(gamma, m.detached)), x.inputs).gradient
            c = ((1 - x.p) * m.label_rows(x.inputs)).sum(axis=1)
            return f(still, r.gradient - still, c if x.inputs.single else c[:, None])

        return of_model(gradient)

    terms = (
        ("negated", "with the opposite sign of the term of γ in the gradient", lambda a, b, c: a - b),
        ("without-gamma", "without the factor γ in the second term of the gradient", lambda a, b, c: a + b / gamma),
        ("alone", "with the term of γ alone for a gradient", lambda a, b, c: b),
        ("exponent", "with (1 - p)^γ, not (1 - p)^(γ-1), in the term of γ in the gradient", lambda a, b, c: a + b * c),
        (
            "exponent",
            "with (1 - p)^(γ-2), not (1 - p)^(γ-1), in the term of γ in the gradient",
            lambda a, b, c: a + b / c,
        ),
    )
    return [at(f"focus-term-{name}", phrase, parts(f)) for name, phrase, f in terms]
