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
    """Return x^a for x > 0, any real a."""
    return exp(a * log(x))


def sigmoid(z):
    """Return 1/(1 + e^-z)."""
    return 1 / (1 + exp(-z))


def softmax(z):
    """Return e^z_i / Σ_k e^z_k for every i."""
    e = [exp(x) for x in z]
    total = sum(e)
    return [x / total for x in e]
