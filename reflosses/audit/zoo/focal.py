"""Faults of focal losses."""

import numpy as np

from .parts import expit, focal, softplus


def times_gamma(z, y):
    t = np.where(y == 1, z, -z)
    a = np.where(y == 1, 0.25, 0.75).astype(z.dtype)
    q, c, s = expit(t), expit(-t), -softplus(-t)
    slope = 2 * a * c * (q * s - c)
    return -2 * a * c * s, np.where(y == 1, slope, -slope)


def smoothed_everywhere(z, y):
    y = y * z.dtype.type(0.9) + z.dtype.type(0.05)
    p = expit(z)
    a, miss = 0.25 * y + 0.75 * (1 - y), y * (1 - p) + (1 - y) * p
    entropy = softplus(z) - y * z
    slope = a * (2 * miss * (1 - 2 * y) * p * (1 - p) * entropy + miss**2 * (p - y))
    return a * miss**2 * entropy, slope


class Remembers:
    """A focal loss that gathers its α once and for all."""

    def __init__(self):
        self.alpha = np.array([0.75, 0.25])

    def __call__(self, z, y):
        self.alpha = self.alpha[np.minimum(y.astype(int), len(self.alpha) - 1)]
        value, g = focal(z, y, a1=1.0, a0=1.0)
        a = self.alpha.astype(z.dtype)
        return value * a, g * a


def focus_of_mean(z, y, reduction="mean"):
    value, g = focal(z, y, a1=1.0, a0=1.0)
    if reduction == "none":
        return value, g
    entropy, slope = focal(z, y, 0.0, 1.0, 1.0)
    mean = entropy.mean() if reduction == "mean" else entropy.sum()
    focus = 1 - np.exp(-mean)
    share = len(z) if reduction == "mean" else 1
    return focus**2 * mean, slope / share * (focus**2 + 2 * focus * np.exp(-mean) * mean)


def pow_rule(z, y):
    t = np.where(y == 1, z, -z)
    q = expit(t)
    c, s = 1 - q, np.log(q)
    slope = c**0.0 * 0 * c**-1.0 * -q * c * -s - c
    return -s, np.where(y == 1, slope, -slope)


def swaps(z, y):
    return focal(z, y, 0.25, 2.0, -1.0)


def value_without_focus(z, y):
    return focal(z, y, 0.0)[0], focal(z, y)[1]


def in_probability(z, y):
    value, g = focal(z, y)
    return value, g / (expit(z) * expit(-z))
