"""Formulas of the losses in algebraically equal ways: tables from which ``variants`` puts implementations together.

Every way is right in exact arithmetic; in floating point some lose digits, overflow or give nan where
p is next to 0 or 1.  Nothing here comes from the library's own kernels or from the diagnosis.  ``xp`` is
the namespace of arrays, as in the array API: NumPy, PyTorch, jax.numpy, or NumPy over mpmath's numbers.
"""

from functools import reduce
from importlib import import_module
from operator import mul
from types import SimpleNamespace

import numpy as np
from scipy import special

DIGITS = 60  # of mpmath's numbers


# Namespaces -----------------------------------------------------------------------------------


def numpy_like(name):
    """Return a namespace with the functions of a framework that are not called as NumPy's are."""
    if name == "numpy":
        own = {"log_softmax": special.log_softmax, "softmax": special.softmax, "sigmoid": special.expit}
        own["softplus"] = lambda x: -special.log_expit(-x)
        return SimpleNamespace(top=_top, cast=_cast, traced=False, **_shared(np), **own)
    if name == "torch":
        torch = import_module("torch")
        own = {"log_softmax": torch.log_softmax, "softmax": torch.softmax, "sigmoid": torch.sigmoid}
        own["softplus"] = torch.nn.functional.softplus
        return SimpleNamespace(top=_torch_top, cast=lambda x, z: x.to(z.dtype), traced=False, **_shared(torch), **own)
    if name == "jax":
        numpy, nn = import_module("jax.numpy"), import_module("jax.nn")
        own = {"log_softmax": nn.log_softmax, "softmax": nn.softmax, "sigmoid": nn.sigmoid, "softplus": nn.softplus}
        return SimpleNamespace(top=_top, cast=_cast, traced=True, **_shared(numpy), **own)
    return _many_digits()


SHARED = "exp", "log", "log1p", "tanh", "sqrt", "logaddexp", "where", "stack", "arange", "asarray", "eye"
LIKE = "zeros_like", "ones_like"


def _shared(module):
    return {name: getattr(module, name) for name in SHARED + LIKE}


def _top(z):
    return z.max(axis=-1, keepdims=True)


def _torch_top(z):
    return z.amax(-1, keepdim=True)


def _cast(x, z):
    return x.astype(z.dtype)


def _many_digits():
    """Return NumPy's functions for arrays of mpmath's numbers."""
    mpmath = import_module("mpmath")

    def each(f, n=1):
        return np.frompyfunc(f, n, 1)

    one, made = mpmath.mpf(1), _shared(np)
    made |= {name: each(getattr(mpmath, name)) for name in ("exp", "log", "log1p", "tanh", "sqrt")}
    made["asarray"] = lambda x, dtype=None: each(lambda v: mpmath.mpf(float(v)))(np.asarray(x))
    made["eye"] = lambda n, dtype=None: np.eye(n)
    made["logaddexp"] = each(lambda a, b: max(a, b) + mpmath.log1p(mpmath.exp(-abs(a - b))), 2)
    made["sigmoid"] = each(lambda x: one / (one + mpmath.exp(-x)))
    made["softplus"] = each(lambda x: max(x, 0) + mpmath.log1p(mpmath.exp(-abs(x))))

    def log_softmax(z, axis):
        top = z.max(axis=axis, keepdims=True)
        return z - top - made["log"](made["exp"](z - top).sum(axis=axis, keepdims=True))

    made["log_softmax"], made["softmax"] = log_softmax, lambda z, axis: made["exp"](log_softmax(z, axis))
    return SimpleNamespace(top=_top, cast=_cast, traced=False, **made)


# Shares of rows, and their logarithms ----------------------------------------------------------


def total(x):
    return x.sum(axis=-1, keepdims=True)


def shifted(xp, z):
    gap = z - xp.top(z)
    return gap - xp.log(total(xp.exp(gap)))


def by_log_sum_exp(xp, z):
    top = xp.top(z)
    return z - (top + xp.log(total(xp.exp(z - top))))


def of_ratio(xp, z):
    return xp.log(ratio(xp, z))


def unshifted(xp, z):
    return z - xp.log(total(xp.exp(z)))


def of_differences(xp, z):
    return -xp.log(xp.exp(z[..., None, :] - z[..., :, None]).sum(axis=-1))


def with_log1p(xp, z):
    gap = z - xp.top(z)
    return gap - xp.log1p(total(xp.exp(gap)) - 1)


LOG_SHARES = {
    "log p by a shift": shifted,
    "z - log Σ exp": by_log_sum_exp,
    "log of a ratio": of_ratio,
    "no shift": unshifted,
    "differences of logits": of_differences,
    "log1p of the sum": with_log1p,
    "the framework's log_softmax": lambda xp, z: xp.log_softmax(z, -1),
}


def ratio(xp, z):
    e = xp.exp(z - xp.top(z))
    return e / total(e)


SHARES = {
    "p as a ratio": ratio,
    "p = exp(log p)": lambda xp, z: xp.exp(shifted(xp, z)),
    "p = 1/Σ exp of differences": lambda xp, z: 1 / xp.exp(z[..., None, :] - z[..., :, None]).sum(axis=-1),
    "the framework's softmax": lambda xp, z: xp.softmax(z, -1),
}


# Of single logits ------------------------------------------------------------------------------

SOFTPLUS = {
    "max(z, 0) + log1p": lambda xp, z: xp.where(z > 0, z, xp.zeros_like(z)) + xp.log1p(xp.exp(-abs(z))),
    "logaddexp": lambda xp, z: xp.logaddexp(xp.zeros_like(z), z),
    "log1p(exp)": lambda xp, z: xp.log1p(xp.exp(z)),
    "log(1 + exp)": lambda xp, z: xp.log(1 + xp.exp(z)),
    "-log of a sigmoid": lambda xp, z: -xp.log(1 / (1 + xp.exp(z))),
    "(z + |z|)/2 + log1p": lambda xp, z: (z + abs(z)) / 2 + xp.log1p(xp.exp(-abs(z))),
    "the framework's softplus": lambda xp, z: xp.softplus(z),
}
SIGMOID = {
    "1/(1 + exp(-z))": lambda xp, z: 1 / (1 + xp.exp(-z)),
    "exp/(1 + exp)": lambda xp, z: xp.exp(z) / (1 + xp.exp(z)),
    "by tanh": lambda xp, z: (1 + xp.tanh(z / 2)) / 2,
    "exp(-softplus(-z))": lambda xp, z: xp.exp(-xp.logaddexp(xp.zeros_like(z), -z)),
    "by the sign": lambda xp, z: xp.where(z > 0, xp.ones_like(z), xp.exp(-abs(z))) / (1 + xp.exp(-abs(z))),
    "the framework's sigmoid": lambda xp, z: xp.sigmoid(z),
}


def entropies(softplus, sigmoid):
    """Return binary cross entropy (z, y, w) in ways that rest on some softplus and sigmoid."""

    def of_two_classes(xp, z, y, w):
        s = xp.log_softmax(xp.stack([xp.zeros_like(z), z], -1), -1)
        return -((1 - y) * s[..., 0] + w * y * s[..., 1])

    def of_p(xp, z, y, w):
        p = sigmoid(xp, z)
        return -(w * y * xp.log(p) + (1 - y) * xp.log(1 - p))

    def with_log1p(xp, z, y, w):
        p = sigmoid(xp, z)
        return -(w * y * xp.log(p) + (1 - y) * xp.log1p(-p))

    return {
        "two softplus": lambda xp, z, y, w: w * y * softplus(xp, -z) + (1 - y) * softplus(xp, z),
        "softplus - yz": lambda xp, z, y, w: (1 + (w - 1) * y) * softplus(xp, z) - w * y * z,
        "(1 - y) z + softplus": lambda xp, z, y, w: (1 - y) * z + (1 + (w - 1) * y) * softplus(xp, -z),
        "logarithms of p and 1 - p": of_p,
        "log p and log1p(-p)": with_log1p,
        "a softmax of two": of_two_classes,
    }


def residuals(sigmoid):
    """Return the derivative of binary cross entropy in ways that rest on some sigmoid."""
    return {
        "(1 - y) p - w y (1 - p)": lambda xp, z, y, w: (1 - y) * sigmoid(xp, z) - w * y * (1 - sigmoid(xp, z)),
        "1 - p as σ(-z)": lambda xp, z, y, w: (1 - y) * sigmoid(xp, z) - w * y * sigmoid(xp, -z),
        "p (1 + (w - 1) y) - w y": lambda xp, z, y, w: sigmoid(xp, z) * (1 + (w - 1) * y) - w * y,
    }


# Powers ----------------------------------------------------------------------------------------


def powers(gamma):
    """Return c^γ in ways that suit γ; of some, c = 1 - q is given, and q."""
    made = {
        "power": lambda xp, c, q: c**gamma,
        "exp of a logarithm": lambda xp, c, q: xp.exp(gamma * xp.log(c)),
        "exp of log1p": lambda xp, c, q: xp.exp(gamma * xp.log1p(-q)),
        "squared root": lambda xp, c, q: xp.sqrt(c**gamma) ** 2,
    }
    if gamma == int(gamma) and gamma > 0:
        made["product"] = lambda xp, c, q: reduce(mul, [c] * int(gamma))
    return made


# What a row pays -------------------------------------------------------------------------------


def kept(xp, t, x):
    """Return t x, 0 where t is."""
    return xp.where(t == 0, xp.zeros_like(x), t * x)


PRODUCTS = {
    "summed": lambda xp, t, x: (t * x).sum(axis=-1),
    "summed where there is mass": lambda xp, t, x: kept(xp, t, x).sum(axis=-1),
    "as a product of vectors": lambda xp, t, x: (t[..., None, :] @ x[..., :, None])[..., 0, 0],
}


def off_diagonal(xp, n, like):
    return 1 - xp.eye(n, dtype=like.dtype)


def row_gradients(xp, p, s):
    """Return the gradient of Σ F(log p) from s = F' in ways."""
    return {
        "s - p Σ s": lambda: s - p * total(s),
        "s (1 - p) - p Σ of others": lambda: s * (1 - p) - p * (total(s) - s),
        "a product with the Jacobian": lambda: (
            s[..., None, :] @ (xp.eye(p.shape[-1], dtype=p.dtype) - p[..., None, :])
        )[..., 0, :],
        "pairs": lambda: s * (p @ off_diagonal(xp, p.shape[-1], p)) - p * (s @ off_diagonal(xp, p.shape[-1], p)),
    }
