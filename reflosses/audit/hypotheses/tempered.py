"""Hypotheses about the bi-tempered loss: its normaliser, its two temperatures, the parts of its divergence."""

from .. import model as m
from ..jets import Jet
from ..model import settings
from .hypothesis import GIT, at, within

GOOGLE = GIT + "google/bi-tempered-loss"
ROUNDS = 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30, 50


def rounds(z, t, n):
    """Return the normaliser after n of the published rounds, as an array or as a jet: whatever z is."""
    top = _of_row(z, "max")
    x = shrunk = z - top
    for _ in range(n):
        shrunk = x * _total(shrunk, t) ** (1 - t)
    return (1 - _total(shrunk, t) ** (t - 1)) * (1 / (1 - t)) + top


def _of_row(x, which):
    """Return the sum or the largest of every row, of an array or a jet."""
    return getattr(x, which)() if isinstance(x, Jet) else getattr(x, which)(axis=-1, keepdims=True)


def _total(x, t):
    return _of_row(m.exp_t(x, t), "sum")


def _as_if_normalised(probabilities):
    """Probabilities from anywhere, with the slopes of a tempered softmax that has them: the published gradient."""

    def shares(z, t):
        around = z - z.v + m.log_t(probabilities(z.v, t), t)
        return m.shares_of(m.normalised(around, 0.0, t), z)

    return shares


def _after(n):
    """The probabilities after n rounds."""
    return lambda z, t: m.exp_t(z - rounds(z, t, n), t)


def _differentiated(probabilities):
    """The same with the slopes of what was computed, as autograd has them."""
    return lambda z, t: m.shares_of(probabilities(z, t), z)


def _divided(z, t):
    """exp_t2 of z divided by its sum, where a normaliser belongs inside."""
    e = m.exp_t(z, t)
    return e / _of_row(e, "sum")


def _divided_from_the_top(z, t):
    return _divided(z - _of_row(z, "max"), t)


SLOPES = (_as_if_normalised, ""), (_differentiated, ", differentiated by autograd")


def _averaged(weights):
    """The slope of the normaliser as another average than that of the escort probabilities."""

    def shares(z, t):
        normaliser = m.normaliser(z.v, t)
        w = weights(m.exp_t(z.v - normaliser, t))
        moved = ((z - z.v) * w).sum()
        return m.shares_of(m.exp_t(z - (moved + normaliser), t), z)

    return shares


def transfers(loss):
    """Return the hypotheses about the tempered softmax."""
    t = settings(loss).get("t2")
    if t is None or t == 1:
        return []

    def of(name, phrase, shares, **more):
        return at(name, phrase, lambda model, *x: model._replace(shares=lambda z: shares(z, *(x or (t,)))), **more)

    made = [
        of(
            "normaliser-unconverged",
            f"with a normaliser after {n} of the published rounds{said}",
            slopes(_after(n)),
            cost=1.3,
            link=GOOGLE,
        )
        for n in ROUNDS
        for slopes, said in SLOPES
    ]
    made += [
        of("divided-by-its-sum", f"with {what} divided by its sum for probabilities{said}", slopes(divided))
        for what, divided in (("exp_t2(z - max z)", _divided_from_the_top), ("exp_t2(z)", _divided))
        for slopes, said in SLOPES
    ]
    return made + [
        of("softmax-not-tempered", "with the softmax, which is t2 = 1", lambda z, _: m.softmax(z)),
        of(
            "t2",
            "with t2 = {0:.6g}",
            lambda z, x: m.tempered_softmax(x)(z),
            starts=((1.5,), (0.7,), (t + 0.5,)),
            cost=1.8,
            legal=within(0, 20),
        ),
        of(
            "normaliser-detached",
            "without the derivative of the normaliser, as if it were detached",
            _averaged(lambda q: 0.0),
        ),
        of(
            "escort-missing",
            "with probabilities in place of the escort probabilities in the gradient",
            _averaged(lambda q: q),
        ),
        of(
            "escort-missing",
            "with 1/C in place of the escort probabilities",
            _averaged(lambda q: q * 0 + 1 / q.shape[-1]),
        ),
    ]


def payments(loss):
    """Return the hypotheses about the divergence."""
    found = settings(loss)
    t1, t2 = found.get("t1"), found.get("t2")
    if t1 is None or t1 >= 2:
        return []

    def of(name, phrase, pay, **more):
        return at(name, phrase, lambda model, *x: model._replace(pay=pay(*x)), **more)

    made = [
        of("t1", "with t1 = {0:.6g}", m.divergence, starts=((0.5,), (1.3,)), cost=1.8, legal=within(-2, 1.99)),
        of(
            "second-part-missing",
            "without the part (y^(2-t1) - p^(2-t1))/(2 - t1)",
            lambda: m.divergence(t1, second=0.0),
        ),
        of(
            "second-part-negated",
            "with the opposite sign of (y^(2-t1) - p^(2-t1))/(2 - t1)",
            lambda: m.divergence(t1, second=-1.0),
        ),
        of(
            "second-part-not-divided",
            "with y^(2-t1) - p^(2-t1), not divided by 2 - t1",
            lambda: m.divergence(t1, second=2 - t1),
        ),
        of("first-part-missing", "without the part y (log_t1 y - log_t1 p)", lambda: m.divergence(t1, first=0.0)),
        of(
            "labels-part-missing",
            "without what labels alone give, y log_t1 y - y^(2-t1)/(2 - t1)",
            lambda: lambda s, y, w: (m.log_t(s.q, t1) * -y + m.positive(s.q, 2 - t1) * (1 / (2 - t1))) * w,
            kind="convention",
        ),
        *(
            of(
                name,
                f"with ε = {{0:.3g}} added {where}",
                lambda e, part=part: m.divergence(t1, **{part: e}),
                starts=((1e-2,), (1e-6,)),
                cost=1.9,
                legal=lambda e: 1e-14 < abs(e) < 0.5,
                link=link,
            )
            for name, where, part, link in (
                ("epsilon-added", "inside of log_t1 p", "in_p", None),
                ("epsilon-in-labels", "to labels inside of log_t1 y", "in_y", GOOGLE),
            )
        ),
    ]
    if t1 != 1:
        made.append(of("log-not-tempered", "with the logarithm, which is t1 = 1", lambda: m.divergence(1.0)))
    if t1 != t2 < 2:
        made.append(
            at(
                "temperatures-swapped",
                f"with t1 = {t2:g} and t2 = {t1:g}, which are exchanged",
                lambda model: model._replace(shares=m.tempered_softmax(t1), pay=m.divergence(t2)),
            )
        )
    return made
