"""The elementary functions of the losses as a textbook writes them, for any type of number.

Nothing here is clever: no shifts, no clamps, no rearrangements.  Floats, python-flint balls and
power series, the oracle's tape variables and symbolic expressions all pass through, as long as
they have ``exp`` and ``log`` methods.  Precision is the number's business, not the formula's.
"""

import math


def exp(x):
    """Return e^x."""
    return x.exp() if hasattr(x, "exp") else math.exp(x)


def log(x):
    """Return the natural logarithm of x."""
    return x.log() if hasattr(x, "log") else math.log(x)


def power(x, a):
    """Return x^a for x > 0 and any real a, or 0 for x = 0 < a."""
    if x == 0 and a > 0:
        return x
    return x.power(a) if hasattr(x, "power") else exp(a * log(x))


def log_t(u, t):
    """Return (u^(1-t) - 1)/(1-t), the tempered logarithm of u >= 0: log u at t = 1, and there its slope in t."""
    if u == 0:
        return -1 / (1 - t) if t < 1 else -math.inf * t  # falls with t even there
    if t == 1:
        return log(u) * (1 + (1 - t) * log(u) / 2)
    return (power(u, 1 - t) - 1) / (1 - t)


def exp_t(u, t):
    """Return [1 + (1-t) u]_+^(1/(1-t)), the tempered exponential: e^u at t = 1, and there its slope in t."""
    if u == -math.inf:
        return 0
    if t == 1:
        return exp(u) * (1 + (t - 1) * u * u / 2)
    base = 1 + (1 - t) * u
    if base <= 0:
        return 0 if t < 1 else math.inf
    return power(base, 1 / (1 - t))


def tempered_normalization(z, t):
    """Return the λ with Σ_i exp_t(z_i - λ) = 1; it is not below max z."""

    def excess(x, z, t):
        return sum(exp_t(z_i - x, t) for z_i in z) - 1

    def slope(x, z, t):
        return -sum(p if p == 0 else power(p, t) for p in (exp_t(z_i - x, t) for z_i in z))

    return root(excess, slope, (z, t), max(z))


def root(f, slope, arguments, low):
    """Return where f(x, *arguments), falling and convex, is 0: by Newton's method, which never passes it, from low."""
    if hasattr(low, "falling_root"):
        return low.falling_root(f, slope, arguments)
    x = low
    while (further := x - f(x, *arguments) / slope(x, *arguments)) > x:
        x = further
    return x


def tempered_softmax(z, t):
    """Return exp_t(z_i - λ) for every i."""
    normalization = tempered_normalization(z, t)
    return [exp_t(z_i - normalization, t) for z_i in z]


def tempered_stretch(p, t):
    """Return (b log b - b + 1)/(t - 1)², b = p^(1-t), by which u rises with t at a fixed λ: log(p)²/2 at t = 1."""
    if t == 1:
        return log(p) * log(p) / 2
    b = power(p, 1 - t)
    return (b * log(b) - b + 1) / ((t - 1) * (t - 1))


def sigmoid(z):
    """Return 1/(1 + e^-z)."""
    return 1 / (1 + exp(-z))


def softmax(z):
    """Return e^z_i / Σ_k e^z_k for every i."""
    e = [exp(x) for x in z]
    total = sum(e)
    return [x / total for x in e]


def shares(x):
    """Return x_i / Σ_k x_k for every i."""
    total = sum(x)
    return [x_i / total for x_i in x]


def clip(p, end):
    """Return p, brought into [end, 1 - end]; 1 - p is exact where the upper end asks for it, 1 - end is not."""
    return end if p < end else 1 - end if 1 - p < end else p


def ends_of_clip(p, end):
    """Return how far p is from the two ends of a clip, relative to them; nothing if there is no clip."""
    return [abs(p - end) / end, abs(1 - p - end) / end] if end > 0 else []


def rests(x):
    """Return Σ_{k≠i} x_k for every i, without a subtraction."""
    before, after = [0], [0]
    for first, last in zip(x, reversed(x)):
        before.append(before[-1] + first)
        after.append(after[-1] + last)
    return [a + b for a, b in zip(before[:-1], reversed(after[:-1]))]


def magnitudes_against_rest(p, c, f1, f2):
    """Return Σ |terms| of the derivatives of Σ_i φ_i(x_i), x_i the log-odds, from |φ'_i| and |φ''_i|.

    With a^i_k = p_k/c_i, c = 1 - p, the terms are those of φ'_i (e_i - a^i) and of
    φ''_i (e_i - a^i)(e_i - a^i)ᵀ - φ'_i (diag(a^i) - a^i a^iᵀ).
    """
    n = range(len(p))
    slopes = [0 if c[i] == 0 else f1[i] / c[i] for i in n]  # no rest, no shares
    bends = [0 if c[i] == 0 else f2[i] / c[i] for i in n]
    both = [0 if c[i] == 0 else (f1[i] + f2[i]) / (c[i] * c[i]) for i in n]
    slopes_of_others, both_of_others = rests(slopes), rests(both)
    diagonal = [f2[k] + p[k] * (p[k] * both_of_others[k] + slopes_of_others[k]) for k in n]

    def entry(j, k):
        without = sum(both[i] for i in n if i != j and i != k)
        return diagonal[k] if j == k else p[j] * p[k] * without + bends[j] * p[k] + bends[k] * p[j]

    return {
        "gradient": [f1[k] + p[k] * slopes_of_others[k] for k in n],
        "hessian_diagonal": diagonal,
        "hessian": lambda: [entry(j, k) for j in n for k in n],
    }


def magnitudes_of_changed(inner, in_label, in_parameter):
    """Return the magnitudes of a loss whose labels are changed, from those of the loss within it.

    ``in_label`` and ``in_parameter`` are the changed labels' absolute slopes, one a class or, for
    losses of single logits, one.
    """
    slopes = inner["label_gradient"]
    if not isinstance(slopes, list):
        own, of_parameter = in_label * slopes, in_parameter * slopes
    else:
        own = [slope * factor for slope, factor in zip(slopes, in_label)]
        of_parameter = sum(slope * factor for slope, factor in zip(slopes, in_parameter))
    return {**inner, "label_gradient": own, "parameter_gradient": [*inner["parameter_gradient"], of_parameter]}


def tempered_divergence(y, p, t):
    """Return y (log_t y - log_t p) - (y^(2-t) - p^(2-t))/(2 - t), what a class pays under the bi-tempered loss."""
    if p == 0 and t >= 2:
        return y * math.inf
    return y * (log_t(y, t) - log_t(p, t)) - (log_t(y, t - 1) - log_t(p, t - 1))


def tempered_supports(z, t):
    """Return how far every class is from the edge of the support of the tempered softmax."""
    normalization = tempered_normalization(z, t)
    return [abs(1 + (1 - t) * (z_i - normalization)) if z_i > -math.inf else 1 for z_i in z]


def bi_tempered_magnitudes(z, y, t1, t):
    """Return Σ |terms| of the bi-tempered loss and of its derivatives, t being the second temperature."""
    n, p = range(len(z)), tempered_softmax(z, t)
    seen, c = {i for i in n if p[i] != 0}, rests(p)
    apart = [c[i] if y[i] == 1 else p[i] + y[i] for i in n]
    f1 = [apart[i] * power(p[i], t - t1) if i in seen else 0 for i in n]
    bend = [power(p[i], 2 * t - t1 - 1) * (p[i] + abs(t - t1) * apart[i]) if i in seen else 0 for i in n]
    escort = [power(p[i], t) if i in seen else 0 for i in n]
    mass, pull = sum(escort), sum(f1)
    e = [escort[i] / mass for i in n]
    f2 = [bend[i] + pull * t * power(p[i], 2 * t - 1) / mass if i in seen else 0 for i in n]
    rest, f1_of_others, f2_of_others = rests(e), rests(f1), rests(f2)
    diagonal = [f2[i] * rest[i] * rest[i] + e[i] * e[i] * f2_of_others[i] for i in n]
    smallest = 2.0**-1022  # below it F' is a multiple of the smallest number

    def entry(i, j):
        without = sum(f2[k] for k in n if k != i and k != j)
        return e[i] * e[j] * without + f2[i] * rest[i] * e[j] + f2[j] * rest[j] * e[i]

    def paid(i):
        if y[i] == 0 or y[i] == 1 or p[i] == 0:
            return tempered_divergence(y[i], p[i], t1)
        return sum(abs(y[i] * log_t(x, t1)) + abs(log_t(x, t1 - 1)) for x in (y[i], p[i]))

    def logs(i):
        return 1 - log(p[i]) - (0 if y[i] == 0 else log(y[i]))

    return {
        "value": lambda: sum(paid(i) for i in n),
        "gradient": [f1[i] * rest[i] + e[i] * f1_of_others[i] for i in n],
        "hessian_diagonal": diagonal,
        "hessian": lambda: [diagonal[i] if i == j else entry(i, j) for i in n for j in n],
        "label_gradient": [abs(log_t(p[i], t1)) + (abs(log_t(y[i], t1)) if y[i] > 0 else 0) for i in n],
        "parameter_gradient": [
            sum(paid(i) * logs(i) for i in seen),
            sum((f1[i] + e[i] * pull + smallest) * tempered_stretch(p[i], t) for i in seen),
        ],
    }
