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
    return x if x == 0 and a > 0 else exp(a * log(x))


def sigmoid(z):
    """Return 1/(1 + e^-z)."""
    return 1 / (1 + exp(-z))


def softmax(z):
    """Return e^z_i / Σ_k e^z_k for every i."""
    e = [exp(x) for x in z]
    total = sum(e)
    return [x / total for x in e]


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
