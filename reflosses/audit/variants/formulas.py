"""A loss as a function of logits and labels, with a way chosen for every step of it.

``formula`` returns ``f(z, y)``, which returns values or, for NumPy, values and gradient, or the diagonal
of the Hessian as well.
"""

import numpy as np

from ... import losses as l
from . import ways
from .ways import kept, total


def formula(loss, xp, x, slopes):
    """Return a loss in the namespace ``xp`` in ways that ``x`` chooses; with ``slopes``, perhaps its derivatives.

    Parameters
    ----------
    loss : NamedTuple
    xp : namespace
        As ``ways.numpy_like`` returns it.
    x : Choice
    slopes : bool

    Returns
    -------
    callable
        Of logits or probabilities (n,) or (n, C) and labels; raises ValueError if labels do not fit.
    """
    made = FORMULAS[type(loss)](loss, xp, x)
    verbs = x.of({"values": 1, "values and gradient": 2, "and the Hessian": 3}) if slopes else 1

    def function(z, y):
        found = [verb() for verb in made(z, y)[:verbs]]
        return tuple(found) if len(found) > 1 else found[0]

    return function


# Rows -----------------------------------------------------------------------------------------


def rows(xp, z, y):
    """Return labels as rows of masses in the dtype of the logits."""
    if y.ndim == z.ndim:
        return xp.cast(y, z)
    if not xp.traced and len(y) and (y.min() < 0 or y.max() >= z.shape[-1]):
        raise ValueError("a label that is no class")
    return xp.cast(y[:, None] == xp.arange(z.shape[-1]), z)


def inside(loss):
    """Return the function of labels that a smoothing is."""

    def smooth(xp, y):
        n, s = y.shape[-1], getattr(loss, "smoothing", 0.0)
        if isinstance(loss, l.LabelSmoothing):
            return y * (1 - s) + s / n
        if isinstance(loss, l.OtherClassesSmoothing):
            return y * (1 - s * n / (n - 1)) + s / (n - 1)
        if isinstance(loss, l.SoftLabelSmoothing):
            less = y - s / total(xp.cast(y > 0, y))
            return xp.where(less > 0, less, xp.zeros_like(y)) + s / n
        return y

    return lambda xp, y: [(1.0, smooth(xp, y))]


def mixture(loss):
    """Return a smoothing as a sum of two losses, of the labels and of all classes alike."""
    s = loss.smoothing

    def parts(xp, y):
        n = y.shape[-1]
        share = s / n if isinstance(loss, l.LabelSmoothing) else s / (n - 1)
        less = s if isinstance(loss, l.LabelSmoothing) else s * n / (n - 1)
        return [(1 - less, y), (share, xp.ones_like(y))]

    return parts


def entropy_of_rows(loss, xp, x):
    """Cross entropy, weighted and smoothed."""
    ways_of_labels = {"smoothing inside of the labels": inside(loss)}
    if isinstance(loss, l.LabelSmoothing | l.OtherClassesSmoothing):
        ways_of_labels["a mixture of two losses"] = mixture(loss)
    if isinstance(loss, l.CrossEntropy):
        ways_of_labels = {"one-hot": inside(loss), "gathered": None}
    parts = x.of(ways_of_labels)
    log_p, product, share = x.of(ways.LOG_SHARES), x.of(ways.PRODUCTS), x.of(ways.SHARES)
    name = x.among(*GRADIENTS)
    weight = getattr(loss, "loss", loss).class_weight

    def weights(z):
        return 1.0 if weight is None else xp.asarray(weight, dtype=z.dtype)

    def gathered(z, y):
        if y.ndim != 1:
            raise ValueError("labels are classes")
        y = xp.cast(y, xp.arange(1))
        found = log_p(xp, z)[xp.arange(len(y)), y]
        return -found if weight is None else -found * weights(z)[y]

    def answers(z, y):
        t = rows(xp, z, y)
        made = [(a, mass * weights(z)) for a, mass in (parts or inside(loss))(xp, t)]
        masses = sum(a * mass for a, mass in made)

        def value():
            if parts is None:
                return gathered(z, y)
            return sum(a * product(xp, mass, -log_p(xp, z)) for a, mass in made)

        def hessian():
            p = share(xp, z)
            return p * (1 - p) * total(masses)

        return value, lambda: ways.row_gradients(xp, share(xp, z), -masses)[name](), hessian

    return answers


GRADIENTS = "s - p Σ s", "s (1 - p) - p Σ of others", "a product with the Jacobian", "pairs"


def of_shares(pay, slope):
    """Return a maker of losses that are Σ pay(p, 1 - p, log p) over classes; slope is pay' in log p."""

    def make(loss, xp, x):
        log_p, share, gradient = x.of(ways.LOG_SHARES), x.of(ways.SHARES), x.among(*GRADIENTS)
        parts = pay(loss, xp, x)

        def answers(z, y):
            t, p, s = rows(xp, z, y), share(xp, z), log_p(xp, z)
            return (
                lambda: parts(t, p, 1 - p, s),
                lambda: ways.row_gradients(xp, p, slope(loss, xp, t, p, 1 - p, s))[gradient](),
            )

        return answers

    return make


def focal_pay(loss, xp, x):
    power, product = x.of(ways.powers(loss.gamma)), x.of(ways.PRODUCTS)
    return lambda t, p, c, s: product(xp, weighed(loss, xp, t), -power(xp, c, p) * s)


def weighed(loss, xp, t):
    return t if loss.alpha is None else t * xp.asarray(loss.alpha, dtype=t.dtype)


def focal_slope(loss, xp, t, p, c, s):
    g = loss.gamma
    return weighed(loss, xp, t) * ((g * p * c ** (g - 1) * s if g else 0.0) - c**g)


def distance(loss, xp, x):
    def doubled(t, p, c, s):
        if ((t != 0) & (t != 1)).any():
            raise ValueError("labels are classes")
        return 2 * (t * c).sum(axis=-1)

    plain = {"Σ |p - y|": lambda t, p, c, s: abs(p - t).sum(axis=-1)}
    return x.of(plain if xp.traced else plain | {"2 (1 - p)": doubled})


def distance_slope(loss, xp, t, p, c, s):
    return xp.where(p < t, -p, p)


def kept_and_lost(loss, n):
    return 1 - loss.smoothing + loss.smoothing / n, loss.smoothing * (n - 1) / n


def sparse_pay(loss, xp, x):
    log_c = x.of({"log(1 - p)": lambda p: xp.log(1 - p), "log1p(-p)": lambda p: xp.log1p(-p)})

    def pay(t, p, c, s):
        n = t.shape[-1]
        keeps, loses = kept_and_lost(loss, n)
        return kept(xp, t, -keeps * s - loses * (log_c(p) - float(np.log(n - 1)))).sum(axis=-1)

    return pay


def sparse_slope(loss, xp, t, p, c, s):
    keeps, loses = kept_and_lost(loss, t.shape[-1])
    return t * (loses * p / c - keeps)


def tempered(loss, xp, x):
    """The bi-tempered loss, 1 < t2, its normaliser found by bisection in float64."""
    t1, t2 = loss.t1, loss.t2
    inward = x.of({"bisected": lambda low, high: (low + high) / 2, "cut at a third": lambda a, b: a + (b - a) / 3})

    def exp_t(u):
        return (1 + (1 - t2) * u) ** (1 / (1 - t2))

    def log_t1(u):
        return (u ** (1 - t1) - 1) / (1 - t1)

    def shares(z):
        top, n = z.max(axis=1, keepdims=True), z.shape[1]
        low, high = np.zeros_like(top), np.full_like(top, -(((1 / n) ** (1 - t2) - 1) / (1 - t2)))
        for _ in range(200):
            middle = inward(low, high)
            above = exp_t(z - top - middle).sum(axis=1, keepdims=True) > 1
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        return exp_t(z - top - low)

    def answers(z, y):
        t, p = rows(xp, z, y).astype(np.float64), shares(z.astype(np.float64))
        near = np.where(t == 0, 0, t * (log_t1(np.where(t == 0, 1, t)) - log_t1(p)))
        value = (near - (t ** (2 - t1) - p ** (2 - t1)) / (2 - t1)).sum(axis=1)
        delta, escort = (p - t) * p ** (t2 - t1), p**t2 / total(p**t2)
        return (
            lambda: value.astype(z.dtype),
            lambda: (delta - escort * total(delta)).astype(z.dtype),
        )

    return answers


# Single logits ----------------------------------------------------------------------------------


def columns(xp, z, y):
    """Return labels in the dtype of the logits."""
    if y.shape != z.shape:
        raise ValueError("a label for every logit")
    return xp.cast(y, z)


def entropy_of_single(loss, xp, x):
    """Binary cross entropy, weighted and smoothed."""
    w, s = getattr(loss, "loss", loss).pos_weight, getattr(loss, "smoothing", 0.0)
    sigmoid = x.of(ways.SIGMOID)
    entropy, residual = x.of(ways.entropies(x.of(ways.SOFTPLUS), sigmoid)), x.of(ways.residuals(sigmoid))
    mixed = bool(s) and x.of({"smoothing inside of the labels": False, "a mixture of two losses": True})

    def answers(z, y):
        y = columns(xp, z, y)
        t = y * (1 - s) + s / 2

        def value():
            if mixed:
                return (1 - s) * entropy(xp, z, y, w) + s * entropy(xp, z, xp.zeros_like(y) + 0.5, w)
            return entropy(xp, z, t, w)

        def hessian():
            p = sigmoid(xp, z)
            return p * (1 - p) * (1 + (w - 1) * t)

        return value, lambda: residual(xp, z, t, w), hessian

    return answers


def focal_of_single(loss, xp, x):
    """Sigmoid focal loss: of the true class, of both parts, or blended, which soft labels need."""
    g, alpha = loss.gamma, loss.alpha
    sigmoid, softplus, power = x.of(ways.SIGMOID), x.of(ways.SOFTPLUS), x.of(ways.powers(loss.gamma))
    entropy = ways.entropies(softplus, sigmoid)["two softplus"]
    plus, minus = (1.0, 1.0) if alpha is None else (alpha, 1 - alpha)

    def blended(z, y):
        p = sigmoid(xp, z)
        share = p * y + (1 - p) * (1 - y)
        return (plus * y + minus * (1 - y)) * power(xp, 1 - share, share) * entropy(xp, z, y, 1.0)

    def of_parts(z, y):
        p, c = sigmoid(xp, z), sigmoid(xp, -z)
        positive, negative = power(xp, c, p) * softplus(xp, -z), power(xp, p, c) * softplus(xp, z)
        return plus * y * positive + minus * (1 - y) * negative

    def of_the_true_class(z, y):
        t, a = xp.where(y == 1, z, -z), xp.where(y == 1, plus + 0 * y, minus + 0 * y)
        return a * power(xp, sigmoid(xp, -t), sigmoid(xp, t)) * softplus(xp, -t)

    table = {"blended": blended}
    if isinstance(loss, l.SigmoidFocal):
        table |= {"two parts": of_parts, "of the true class": of_the_true_class}
    value = x.of(table)

    def slope(z, y):
        p, c = sigmoid(xp, z), sigmoid(xp, -z)
        miss, a = y * c + (1 - y) * p, plus * y + minus * (1 - y)
        focus = g * miss ** (g - 1) * (1 - 2 * y) * p * c * entropy(xp, z, y, 1.0) if g else 0.0
        return a * (focus + miss**g * (p - y))

    def answers(z, y):
        y = columns(xp, z, y)
        return lambda: value(z, y), lambda: slope(z, y)

    return answers


# Probabilities ------------------------------------------------------------------------------------


def entropy_of_probabilities(loss, xp, x):
    """Cross entropy of rows of probabilities, clipped; rescaled first if the loss says so."""
    product, clipped = x.of(ways.PRODUCTS), clips(loss, xp, x)
    scale = x.of(
        {"rescaled": lambda p: p / total(p), "rescaled by a product": lambda p: p * (1 / total(p))}
        if isinstance(loss, l.RescaledProbabilityCrossEntropy)
        else {"as given": lambda p: p}
    )

    def answers(p, y):
        t = rows(xp, p, y)
        return (lambda: -product(xp, t, xp.log(clipped(scale(p)))),)

    return answers


def clips(loss, xp, x):
    low, high = loss.epsilon, 1 - loss.epsilon
    by_choice = {
        "clipped": lambda p: p.clip(low, high),
        "clipped by where": lambda p: xp.where(p < low, low + 0 * p, xp.where(p > high, high + 0 * p, p)),
    }
    return x.of(by_choice) if loss.epsilon else lambda p: p


def entropy_of_single_probabilities(loss, xp, x):
    clipped, added = clips(loss, xp, x), loss.added

    def answers(p, y):
        y, q = columns(xp, p, y), clipped(p)
        return (lambda: -(kept(xp, y, xp.log(q + added)) + kept(xp, 1 - y, xp.log(1 - q + added))),)

    return answers


FORMULAS = {
    l.CrossEntropy: entropy_of_rows,
    l.LabelSmoothing: entropy_of_rows,
    l.OtherClassesSmoothing: entropy_of_rows,
    l.SoftLabelSmoothing: entropy_of_rows,
    l.CategoricalFocal: of_shares(focal_pay, focal_slope),
    l.ClassificationMAE: of_shares(distance, distance_slope),
    l.SparseLSR: of_shares(sparse_pay, sparse_slope),
    l.BiTempered: tempered,
    l.BinaryCrossEntropy: entropy_of_single,
    l.BinaryLabelSmoothing: entropy_of_single,
    l.SigmoidFocal: focal_of_single,
    l.BinaryFocal: focal_of_single,
    l.ProbabilityCrossEntropy: entropy_of_probabilities,
    l.RescaledProbabilityCrossEntropy: entropy_of_probabilities,
    l.BinaryProbabilityCrossEntropy: entropy_of_single_probabilities,
}
