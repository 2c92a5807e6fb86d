"""One row of logits: its tempered softmax without cancellation, and what follows from it.

p_i = exp_t(z_i - λ), with the λ that makes them sum to 1.  With β = t - 1, the largest logit z_m,
x_i = z_m - z_i and μ = λ - z_m >= 0,

    p_i = [1 + β (μ + x_i)]_+^(-1/β),

softmax at β = 0.  Let S = Σ p_i and b_i = 1 + β (μ + x_i), so that dS/dμ = -Σ p_i/b_i =: -T.

The normaliser.  G = S^(-β) is a power mean of the affine functions b_i of μ: rising and concave for
β > 0, falling and convex for β < 0.  At μ = 0 it is left of its value 1, and Newton's method for
G = 1 comes from there without ever passing the solution: a tangent of a concave function lies above
it, one of a convex function below it.  No bracket is needed, and nearly affine functions need few
steps.  The step is

    δ = (S/T) (S^β - 1)/β,

and S - 1 is the sum of the other classes minus 1 - p_m, which is an expm1: the smallest μ, that of
the most confident row, is as exact as any other.  A last sweep in twice the precision corrects μ.

Derivatives.  du_i = dz_i - dλ and Σ dp_i = 0 give dλ = Σ π_i dz_i with the escort probabilities
π_i = p_i^t/Σ p_k^t.  A row loss that is a sum over classes of F(u) therefore has, with B = Σ F' and
r_i = t p_i^(2t-1)/Σ p_k^t,

    ∇ℓ  = (I - π 1ᵀ) F',        ∇²ℓ = (I - π 1ᵀ) diag(F'' - B r) (I - 1 πᵀ):

the formulas of ``rows`` with π in the place of p and F'' - B r in that of F''.  In t itself,
∂u_i/∂t = τ_i - Σ π_k τ_k with τ_i = v_i² N(β v_i), v = μ + x and N(w) = ((1 + w) log(1 + w) - w)/w².

At the edge of a finite support (t < 1) p is continuous, and derivatives are those of the outside: 0.
"""

import math

import numpy as np

from . import single, special
from .dispatch import by_precision
from .rows import argmax, total_parts
from .special import inline, mass_times, two_sum

SWEEPS = 100  # far more than the worst row found needs
GOOD = 2.0**-28  # a step this small, relative to μ, is squared by the last sweep


@by_precision(lambda loss, v, v_low, beta, beta_low: single.log_tempered(v, v_low, beta, beta_low))
def log_tempered(loss, v, v_low, beta, beta_low):
    """Return log p as high + low, and 1 + β v, as exactly as the loss's precision asks."""
    return special.log_tempered(v, v_low, beta, beta_low)


@by_precision(lambda loss, log_x, low, a, a_low: single.power(log_x, low, a, a_low))
def power(loss, log_x, low, a, a_low):
    """Return x^a from log x = log_x + low, as exactly as the loss's precision asks."""
    return special.power(log_x, low, a, a_low)


@by_precision(lambda loss, x, low: (single.exp(x), 0.0))
def exp_parts(loss, x, low):
    """Return exp(x + low) as high + low, as exactly as the loss's precision asks."""
    return special.exp_parts(x, low)


@by_precision(lambda loss, x, low: single.exp(x))
def exp_sum(loss, x, low):
    """Return exp(x + low), as exactly as the loss's precision asks."""
    return special.exp_sum(x, low)


@by_precision(lambda loss, x, low: single.expm1(x))
def expm1(loss, x, low):
    """Return exp(x + low) - 1, as exactly as the loss's precision asks."""
    return special.expm1(x, low)


@by_precision(lambda loss, x, low: (single.expm1(x), 0.0))
def expm1_parts(loss, x, low):
    """Return exp(x + low) - 1 as high + low, as exactly as the loss's precision asks."""
    return special.expm1_parts(x, low)


@by_precision(lambda loss, log_x, low, a, total, total_low: single.power(log_x, low, a, 0.0) / total)
def share_of_power(loss, log_x, low, a, total, total_low):
    """Return x^a/(total + total_low), as exactly as the loss's precision asks."""
    return special.quotient(*special.power_within(log_x, low, a), total, total_low)


@inline
def expm1_over(x):
    """Return (e^x - 1)/x."""
    return single.expm1(x) / x if x != 0.0 else 1.0


@inline
def rough_share(v, beta):
    """Return p and p/b of a class at the distance v from the normaliser, good to 2^-35."""
    log_p, _, b = single.log_tempered(v, 0.0, beta, 0.0)
    inside = log_p > -math.inf
    p = single.exp(log_p) if inside else 0.0
    return p, p / b if inside else 0.0


@inline
def newton_step(mu, beta, others, slope):
    """Return the step from μ where the classes but the largest have Σ p = others and Σ p/b = slope."""
    log_p, _, b = single.log_tempered(mu, 0.0, beta, 0.0)
    short = -single.expm1(log_p)
    excess = others - short
    above = excess > 0.0
    log_s = single.log1p(excess if above else -excess / (1.0 + excess))
    log_s = log_s if above else -log_s
    return (1.0 + excess) / (slope + (1.0 - short) / b) * log_s * expm1_over(beta * log_s)


@inline
def last_step(loss, mu, beta, beta_low, others, low, slope):
    """Return μ as high + low from sums as exact as the loss's precision asks: Σ p = others + low, Σ p/b = slope."""
    log_p, log_low, b = log_tempered(loss, mu, 0.0, beta, beta_low)
    minus_short, short_low = expm1_parts(loss, log_p, log_low)
    excess, error = two_sum(others, minus_short)
    return two_sum(mu, (excess + (error + short_low + low)) / (slope + (1.0 + minus_short) / b))


@inline
def rough_step(x, m, mu, beta):
    """Return Newton's step from μ, from sums good to 2^-35."""
    others, slope = 0.0, 0.0
    for k in range(len(x)):
        p, p_over_b = rough_share(mu + x[k], beta)
        others += 0.0 if k == m else p
        slope += 0.0 if k == m else p_over_b
    return newton_step(mu, beta, others, slope)


@inline
def share_at(loss, x, x_low, mu, mu_low, beta, beta_low):
    """Return log p as high + low, and 1 + β v, of a class at the distance x + x_low from the largest."""
    v, low = two_sum(mu, x)
    v_low = low + (mu_low + x_low) if v < math.inf else 0.0
    return log_tempered(loss, v, v_low, beta, beta_low)


@inline
def normalization(loss, x, x_low, m, beta, beta_low, p, p_low):
    """Return μ as high + low; p and p_low are room to work in."""
    mu = 0.0
    for _ in range(SWEEPS):
        step = rough_step(x, m, mu, beta)
        mu = max(mu + step, 0.0)
        if not abs(step) > GOOD * mu:
            break
    slope = 0.0
    for k in range(x.size):
        log_p, log_low, b = share_at(loss, x[k], x_low[k], mu, 0.0, beta, beta_low)
        p[k], p_low[k] = exp_parts(loss, log_p, log_low)
        slope += p[k] / b if p[k] > 0.0 and k != m else 0.0
    p[m], p_low[m] = 0.0, 0.0
    others, low = total_parts(loss, p)
    return last_step(loss, mu, beta, beta_low, others, low + total_parts(loss, p_low)[0], slope)


@inline
def distance(largest, z):
    """Return how far a logit is below the largest, as high + low."""
    high, low = two_sum(np.float64(largest), -np.float64(z))
    return high, low if abs(high) < math.inf else 0.0


@inline
def open_row(loss, t, z, u, q, c, x, x_low):
    """Fill u + c = log p and q = p; return the largest class, or -1 for a row of nan; x and x_low are room."""
    m = argmax(z)
    largest, infinite = np.float64(z[m]), 0
    beta, beta_low = two_sum(t, -1.0)
    for k in range(z.size):
        infinite += 1 if z[k] == math.inf else 0
    if not largest > -math.inf or infinite > 1:
        return -1
    for k in range(z.size):
        x[k], x_low[k] = distance(largest, z[k])
    x[m], x_low[m] = 0.0, 0.0
    log_p, log_low = u, c
    mu, mu_low = normalization(loss, x, x_low, m, beta, beta_low, u, c)
    for k in range(z.size):
        log_p[k], log_low[k], _ = share_at(loss, x[k], x_low[k], mu, mu_low, beta, beta_low)
        q[k] = exp_sum(loss, log_p[k], log_low[k])
    return m


@inline
def complement(loss, log_p, low, q):
    """Return 1 - p, uncancelled."""
    return -expm1(loss, log_p, low) if log_p > -0.3 else 1.0 - q


@inline
def bend_of_row(loss, t, log_p, low, escort, slopes, bend):
    """Return F'' - B r of a class, from its F'' and B = Σ F' of the row."""
    return bend - mass_times(escort, slopes * (t * power(loss, log_p, low, *two_sum(t, -1.0))))


@inline
def close_terms(loss, t, m, u, q, c, f1, f2):
    """Turn log p into the escort probabilities q = π and c = 1 - π, and F'' into F'' - B r where there is one."""
    slopes = 0.0
    if f1 is not None:
        slopes, lost = total_parts(loss, f1)
        slopes += lost
    for k in range(u.size):
        q[k] = power(loss, u[k], c[k], t, 0.0)
    everything, everything_low = total_parts(loss, q)
    q[m] = 0.0
    high, low = total_parts(loss, q)
    for k in range(u.size):
        q[k] = share_of_power(loss, u[k], c[k], t, everything, everything_low)
        if f2 is not None:
            f2[k] = bend_of_row(loss, t, u[k], c[k], q[k], slopes, f2[k])
        c[k] = (high + low) / everything if k == m else 1.0 - q[k]


@inline
def shift(t, log_p, low):
    """Return μ = (p^(-β) - 1)/β, β = t - 1, how far the normaliser is above the logit of a class."""
    beta, beta_low = two_sum(t, -1.0)
    if abs(beta * log_p) < 2.0**-60:
        return -log_p - low
    return special.expm1(*special.power_parts(log_p, low, -beta, -beta_low)) / beta


@inline
def stretch(t, log_p, low):
    """Return τ = ((1 + w) log(1 + w) - w)/β² of w = p^(-β) - 1, β = t - 1."""
    beta, beta_low = two_sum(t, -1.0)
    if log_p == -math.inf:  # outside of a support nothing moves
        return 0.0 if t < 1.0 else math.inf
    a, a_low = special.power_parts(log_p, low, -beta, -beta_low)  # log(1 + w)
    if abs(a) < 1.0:  # (e^a (a - 1) + 1)/a² · log² p
        total, term = 0.0, 1.0
        for k in range(20):
            total += term / (k + 2.0)
            term *= a / (k + 1.0)
        return log_p * log_p * total
    return (special.exp_sum(a, a_low) * (a - 1.0) + 1.0) / (beta * beta)


@inline
def pair(z, t):
    """Return log p of the likelier of two classes whose logits are |z| apart, and of the other, as high + low each."""
    beta, beta_low = two_sum(t, -1.0)
    far, mu = abs(z), 0.0
    for _ in range(SWEEPS):
        step = rough_step((0.0, far), 0, mu, beta)
        mu = max(mu + step, 0.0)
        if not abs(step) > GOOD * mu:
            break
    v, low = two_sum(mu, far)
    log_p, log_low, b = special.log_tempered(v, low if v < math.inf else 0.0, beta, beta_low)
    other, other_low = special.exp_parts(log_p, log_low)
    log_m, log_m_low, b_m = special.log_tempered(mu, 0.0, beta, beta_low)
    minus_short, short_low = special.expm1_parts(log_m, log_m_low)
    slope = (1.0 + minus_short) / b_m + (other / b if other > 0.0 else 0.0)
    excess, error = two_sum(other, minus_short)
    mu, mu_low = two_sum(mu, (excess + (error + short_low + other_low)) / slope)
    v, low = two_sum(mu, far)
    log_p, log_low, _ = special.log_tempered(v, low + mu_low if v < math.inf else 0.0, beta, beta_low)
    return *special.log_tempered(mu, mu_low, beta, beta_low)[:2], log_p, log_low


@inline
def sides(z, log_m, low_m, log_o, low_o):
    """Return log p as high + low, p and 1 - p, of class 0 and of class 1, from log p of the likelier and the other."""
    p = special.exp_sum(log_o, low_o)
    likelier, other = (log_m, low_m, 1.0 - p, p), (log_o, low_o, p, 1.0 - p)
    return (other, likelier) if z >= 0.0 else (likelier, other)
