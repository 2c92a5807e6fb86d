"""Hypotheses about what is done to right results of a row before they are returned."""

import ml_dtypes
import numpy as np

from .. import model as m
from ..model import settings
from .hypothesis import GIT, at
from .slopes import slopes

LN2 = np.log(2.0)


def mapped(f):
    """Return a change after which a result goes through f(result, context, *numbers)."""
    return lambda model, *numbers: model._replace(
        answers=(*model.answers, lambda result, context: f(result, context, *numbers))
    )


def scaled(result, k):
    return result._replace(value=result.value * k, gradient=result.gradient * k, hessian=result.hessian * k)


FACTORS = (  # what a constant factor may be: name, phrase, the factor of C, link
    ("negated", "with the opposite sign", lambda n: -1.0),
    ("log-base-2", "times 1/ln 2 = 1.4427: a logarithm of base 2", lambda n: 1 / LN2),
    ("log-base-10", "times 1/ln 10 = 0.43429: a logarithm of base 10", lambda n: 1 / np.log(10.0)),
    ("log-base-classes", "divided by log C: a logarithm of base C", lambda n: 1 / np.log(n)),
    ("doubled", "times 2", lambda n: 2.0),
    ("halved", "times 1/2", lambda n: 0.5),
    ("mean-over-classes", "divided by C: averaged over the classes", lambda n: 1 / n),
    ("times-classes", "times C", lambda n: float(n)),
    ("k-over-k-minus-1", "times C/(C - 1)", lambda n: n / (n - 1)),
    ("k-minus-1-over-k", "times (C - 1)/C", lambda n: (n - 1) / n),
)


def factor(k):
    """Return a map that multiplies everything by k(C)."""
    return mapped(lambda r, x: scaled(r, k(x.inputs.classes)))


def on(verb, f):
    """Return a change of one result alone; f(result, context, *numbers) is that result."""
    return mapped(lambda r, x, *numbers: r._replace(**{verb: f(r, x, *numbers)}))


def chained(r, x):
    p = x.p[:, 1] if x.inputs.single else x.p
    return r.gradient * p * (1 - p)


def residual(r, x):
    """Return p - y of the labels as they were given."""
    y = m.label_rows(x.inputs)
    return x.own(x.p - y)


def of_scores(r, x):
    """Return what y - p and p (1 - p) are where the score itself is taken for p, as boosters' objectives do."""
    z = x.inputs.logits
    return r._replace(gradient=z - x.own(m.label_rows(x.inputs)), hessian=z * (1 - z))


def _cut_off(p):
    return (p.astype(np.float32).view(np.uint32) & 0xFFFF0000).view(np.float32)


ROUNDINGS = (  # what 16 bits make of a probability
    ("rounded to bfloat16", lambda p: p.astype(ml_dtypes.bfloat16)),
    ("cut off to bfloat16", _cut_off),
    ("rounded to float16", lambda p: p.astype(np.float16)),
)


def in_half(rounding):
    """Return Σ y p - y with p in 16 bits: rounded before the label is subtracted, where p near 1 has few digits."""

    def gradient(r, x):
        total = x.rows.sum(axis=1, keepdims=True)
        return x.own(rounding(np.ascontiguousarray(x.p)).astype(np.float64) * total - x.rows)

    return gradient


def answers(loss):
    """Return the hypotheses about answers."""
    found = settings(loss)

    made = [at(name, phrase, factor(k), cost=1.2) for name, phrase, k in FACTORS]
    made += [
        at(
            "half-precision",
            f"with p {said} before the label is subtracted",
            on("gradient", in_half(rounding)),
            link=GIT + "linkedin/Liger-Kernel/pull/1329",
        )
        for said, rounding in ROUNDINGS
    ]
    made += [
        at(
            "factor",
            "times {0:.6g}",
            mapped(lambda r, x, k: scaled(r, k)),
            starts=((1.5,),),
            cost=3.0,
            legal=lambda k: abs(k) > 1e-9,
        ),
        at(
            "offset",
            "plus {0:.6g}",
            on("value", lambda r, x, k: r.value + k),
            starts=((0.5,),),
            cost=3.0,
            legal=lambda k: abs(k) > 1e-9,
        ),
        at(
            "offset-entropy",
            "minus the entropy of the labels",
            on("value", lambda r, x: r.value + _entropy(x)),
            kind="convention",
        ),
        at(
            "gradient-zero",
            "with a gradient of 0",
            on("gradient", lambda r, x: r.gradient * 0),
            link=GIT + "microsoft/DirectML/issues/739",
        ),
        at("chain-rule-twice", "with one factor p (1 - p) too many in the gradient", on("gradient", chained)),
        at(
            "gradient-of-cross-entropy",
            "with p - y for a gradient, that of unweighted cross entropy",
            on("gradient", residual),
        ),
        at(
            "takes-probabilities",
            "with z - y for a gradient: the score is taken for a probability",
            mapped(of_scores),
        ),
        at(
            "label-not-subtracted",
            "with p for a gradient: the label is not subtracted",
            on("gradient", lambda r, x: x.own(x.p)),
        ),
        at(
            "labels-sum-dropped",
            "with softmax - y for a gradient, which forgets Σ y where labels do not sum to 1",
            on("gradient", lambda r, x: x.own(x.p - x.rows)),
            link=GIT + "NVIDIA-NeMo/Automodel/pull/2428",
        ),
        at("gradient-negated", "with the opposite sign of the gradient", on("gradient", lambda r, x: -r.gradient)),
        at(
            "gradient-absolute", "with the absolute value of the gradient", on("gradient", lambda r, x: abs(r.gradient))
        ),
        at(
            "gradient-of-label-only",
            "with a gradient in the label's class alone",
            on("gradient", lambda r, x: np.where(x.own(x.rows) > 0, r.gradient, 0)),
        ),
        at(
            "gradient-factor",
            "with {0:.6g} times the gradient",
            on("gradient", lambda r, x, k: r.gradient * k),
            starts=((2.0,), (0.5,)),
            cost=2.4,
            legal=lambda k: abs(k) > 1e-9,
        ),
        at(
            "gradient-over-classes",
            "with the gradient divided by C",
            on("gradient", lambda r, x: r.gradient / x.inputs.classes),
        ),
        at(
            "gradient-over-batch",
            "with the gradient divided by the number of rows, as of the mean",
            on("gradient", lambda r, x: r.gradient / len(x.inputs.logits)),
            cost=1.3,
        ),
        at(
            "value-over-batch",
            "divided by the number of rows",
            mapped(lambda r, x: scaled(r, 1 / len(x.inputs.logits))),
            cost=1.3,
        ),
        *(
            at(
                "epsilon-in-gradient",
                f"with {said} in the gradient alone, ε = {{0:.3g}}",
                on("gradient", lambda r, x, e, floor=floor: r.gradient * _spread(x) / floor(_spread(x), e)),
                starts=((0.05,), (1e-3,)),
                link=GIT + "pytorch/pytorch/issues/103316",
                cost=2.2,
                legal=lambda e: 1e-12 < e < 1,
            )
            for said, floor in (("max(p (1 - p), ε) as a divisor", np.maximum), ("p (1 - p) + ε as a divisor", np.add))
        ),
        at("value-zero", "as 0", on("value", lambda r, x: r.value * 0), cost=1.5),
    ]
    gamma = found.get("gamma")
    if gamma is not None:
        made.append(at("gamma-as-factor", "times γ", mapped(lambda r, x: scaled(r, gamma)), cost=1.5))
    return slopes(loss) + made + curvatures()


def curvatures():
    """Return the hypotheses about the diagonal of the Hessian."""
    link = GIT + "dmlc/xgboost/issues/5769"

    def hessian(name, phrase, f, **more):
        return at(name, phrase, on("hessian", f), **{"link": link, **more})

    return [
        hessian("hessian-doubled", "with twice the Hessian", lambda r, x: 2 * r.hessian),
        hessian("hessian-halved", "with half the Hessian", lambda r, x: r.hessian / 2),
        hessian(
            "hessian-k-over-k-minus-1",
            "with C/(C - 1) times the Hessian",
            lambda r, x: r.hessian * x.inputs.classes / (x.inputs.classes - 1),
            cost=1.1,
            link=GIT + "lightgbm-org/LightGBM/issues/6043",
        ),
        hessian("hessian-absolute-gradient", "with |gradient| for a Hessian", lambda r, x: abs(r.gradient)),
        hessian(
            "hessian-absolute-residual",
            "with |p - y| for a Hessian",
            lambda r, x: abs(residual(r, x)),
            cost=1.1,
            link=GIT + "dmlc/xgboost/pull/12537",
        ),
        hessian(
            "hessian-of-gradient",
            "with g (1 - g) of the gradient g for a Hessian",
            lambda r, x: r.gradient * (1 - r.gradient),
        ),
        hessian(
            "hessian-of-gradient",
            "with |g| (1 - |g|) of the gradient g for a Hessian",
            lambda r, x: abs(r.gradient) * (1 - abs(r.gradient)),
        ),
        hessian("hessian-squared-gradient", "with the squared gradient for a Hessian", lambda r, x: r.gradient**2),
        hessian("hessian-one", "with a Hessian of 1", lambda r, x: r.hessian * 0 + 1),
        hessian("hessian-zero", "with a Hessian of 0", lambda r, x: r.hessian * 0),
        hessian(
            "hessian-of-cross-entropy", "with p (1 - p) for a Hessian, that of cross entropy", lambda r, x: _spread(x)
        ),
        hessian("hessian-of-p", "with p for a Hessian", lambda r, x: x.own(x.p)),
        hessian("hessian-negated", "with the opposite sign of the Hessian", lambda r, x: -r.hessian),
        hessian("hessian-absolute", "with the absolute value of the Hessian", lambda r, x: abs(r.hessian)),
        hessian(
            "hessian-chain-rule-missing",
            "with the second derivative in the probability in place of that in the logit",
            lambda r, x: _curvature_in_p(r, x),
        ),
        hessian(
            "hessian-half-chained",
            "with a Hessian that lacks the term of the gradient: only (p (1 - p))² ℓ''(p)",
            lambda r, x: _curvature_in_p(r, x) * _spread(x) ** 2,
        ),
        hessian(
            "hessian-factor",
            "with {0:.6g} times the Hessian",
            lambda r, x, k: r.hessian * k,
            starts=((2.0,),),
            cost=2.4,
            legal=lambda k: abs(k) > 1e-9,
        ),
        hessian(
            "hessian-floor",
            "with a Hessian of at least {0:.6g}",
            lambda r, x, k: np.maximum(r.hessian, k),
            starts=((0.1,), (0.02,)),
            cost=2.5,
            legal=lambda k: k > 0,
        ),
    ]


def _curvature_in_p(r, x):
    p = x.own(x.p)
    v = p * (1 - p)
    return (r.hessian - r.gradient * (1 - 2 * p)) / v**2


def _spread(x):
    p = x.own(x.p)
    return p * (1 - p)


def _entropy(x):
    y = x.rows
    return (y * np.log(np.where(y > 0, y, 1))).sum(axis=1)
