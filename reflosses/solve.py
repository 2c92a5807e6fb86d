"""The minimum of a linear objective, by SciPy; and, where values have no more digits to tell it, by gradients."""

import math

import numpy as np
from scipy.optimize import minimize
from scipy.sparse.linalg import LinearOperator, minres

from .domain import classes_of
from .risk import sloped

__all__ = ["solve", "steepness"]

SOLVERS = {"trust-krylov": "trust-krylov", "lbfgs": "L-BFGS-B"}
WIDEST = 1e8  # a trust region's radius: none that a coefficient needs, and its square is far from overflow
FINEST = 1e-6  # of a gradient, below which values hardly tell a better point
PATIENCE = 20  # steps of a trust region without effect; it has shrunk to 4^-20, a millionth of a millionth
RESIDUAL = 1e-8  # of the linear equations of a last step, relative to their matrix and what is left
NOISE = 1e-12  # relative: by how much the value may rise in a last step, many times its rounding


def solve(objective, start, *, solver="trust-krylov", max_iter=1000, tol=1e-6, unit=1.0):
    """Minimise an objective divided by its unit.

    A trust region compares values, in which a step near the minimum drowns: it changes them by about the
    square of the gradient, and they have 16 digits.  So last steps of Newton's, one at least, are judged by
    the gradient.

    Parameters
    ----------
    objective : LinearObjective
        Or anything else that has its ``fun``, ``jac`` and, for the trust region, ``hessp``.
    start : ndarray
    solver : {"trust-krylov", "lbfgs"}
    max_iter : int
        At least 1.
    tol : float
        Of the gradient, over the unit: of its length for the trust region, of its largest entry for L-BFGS.
    unit : float

    Returns
    -------
    scipy.optimize.OptimizeResult

    Raises
    ------
    ValueError
        For another solver, ``max_iter`` or ``tol``.
    """
    if solver not in SOLVERS:
        raise ValueError(f"solver must be one of {', '.join(SOLVERS)}, got {solver!r}")
    if not (max_iter >= 1 and tol > 0.0):
        raise ValueError(f"max_iter must be at least 1 and tol above 0, got {max_iter!r} and {tol!r}")

    def fun(w):
        return objective.fun(w) / unit

    def jac(w):
        return objective.jac(w) / unit

    def hessp(w, v):
        return objective.hessp(w, v) / unit

    options = {"maxiter": int(max_iter), "gtol": tol}
    if solver == "lbfgs":
        options |= {"ftol": 64 * np.finfo(float).eps, "maxls": 50}
        return minimize(fun, start, jac=jac, method=SOLVERS[solver], options=options)
    options |= {"gtol": max(tol, FINEST), "max_trust_radius": WIDEST}
    with np.errstate(invalid="ignore", over="ignore"):  # in trlib, where a trust region has shrunk to nothing
        result = minimize(
            fun, start, jac=jac, hessp=hessp, method=SOLVERS[solver], options=options, callback=_until_stuck()
        )
    return _settled(result, fun, jac, hessp, max_iter, tol)


def _until_stuck():
    """Return a callback that stops a trust region whose steps have no effect any more."""
    last, idle = None, 0

    def callback(intermediate_result):
        nonlocal last, idle
        idle = idle + 1 if last is not None and np.array_equal(intermediate_result.x, last) else 0
        last = intermediate_result.x
        if idle == PATIENCE:
            raise StopIteration

    return callback


def _settled(result, fun, jac, hessp, max_iter, tol):
    """Return the result of a trust region after as many steps of Newton's as at least halve the gradient."""
    size = np.linalg.norm(result.jac)
    while result.nit < max_iter:
        hessian = LinearOperator(2 * result.x.shape, matvec=lambda v: hessp(result.x, v), dtype=np.float64)
        step, _ = minres(hessian, -result.jac, rtol=RESIDUAL)
        x = result.x + step
        value, slope = fun(x), jac(x)
        if not (np.linalg.norm(slope) < 0.5 * size and value <= result.fun + NOISE * max(1.0, abs(result.fun))):
            break
        result.update(x=x, fun=value, jac=slope, nit=result.nit + 1)
        size = np.linalg.norm(slope)
        if size <= tol:
            break
    result.success = bool(size <= tol)
    if result.success:
        result.message = "Optimization terminated successfully."
    return result


def steepness(loss, classes):
    """Return the largest slope of a loss where all logits are equal, as a multiple of cross entropy's.

    Bi-tempered losses may be a thousand times flatter there: no tolerance would be right for both.

    Examples
    --------
    >>> from reflosses import BiTempered, CrossEntropy
    >>> steepness(CrossEntropy(), 10), round(steepness(BiTempered(0.2, 4.0), 10), 6)
    (1.0, 0.000158)
    """
    if loss.targets.rows:
        classes = classes_of(loss, classes)
        logits, labels, usual = np.zeros((classes, classes)), np.arange(classes), 1.0 - 1.0 / classes
    else:
        logits, labels, usual = np.zeros(2), np.array([0.0, 1.0]), 0.5
    own = float(np.abs(sloped(loss, logits, labels)[1]).max())
    return own / usual if 0.0 < own < math.inf else 1.0
