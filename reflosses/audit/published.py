"""Formulas as papers' repositories and small libraries publish them, in the framework and the arithmetic of each.

The packages are not needed: each formula is stated here as its source computes it, operation by
operation, since that is what decides where digits are lost.  ``reflosses.compat`` has the same
conventions without the rounding; a test holds the two together.
"""

SPARSE_LSR = "https://github.com/Decadz/Sparse-Label-Smoothing-Regularization"  # loss_functions.py
INCENDIO = "https://github.com/hdmamin/incendio"  # incendio/losses.py
GOOGLE = "https://github.com/google/bi-tempered-loss"  # jax/loss.py
FASTAI = "https://docs.fast.ai/losses.html"
ROUNDS = 5  # of Google's normaliser, if nobody asks for more


def torchvision_focal(loss):
    """torchvision.ops.sigmoid_focal_loss: cross entropy times a power of 1 - p_t."""
    import torch

    def formula(z, y):
        p = torch.sigmoid(z)
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="none")
        p_t = p * y + (1 - p) * (1 - y)
        focal = entropy * (1 - p_t) ** loss.gamma
        return focal if loss.alpha is None else (loss.alpha * y + (1 - loss.alpha) * (1 - y)) * focal

    return formula


def fastai_smoothing(loss):
    """fastai's LabelSmoothingCrossEntropy: the negative log-likelihood blended with the mean of all classes'."""
    import torch

    def formula(z, y):
        log_p = torch.nn.functional.log_softmax(z, dim=-1)
        own = torch.nn.functional.nll_loss(log_p, y, reduction="none")
        return -log_p.sum(dim=-1) * loss.smoothing / z.shape[1] + (1 - loss.smoothing) * own

    return formula


def fastai_focal(loss):
    """fastai's FocalLoss: the focus is a power of 1 - e^-s, s the cross entropy."""
    import torch

    def formula(z, y):
        entropy = torch.nn.functional.cross_entropy(z, y, reduction="none")
        return (1 - torch.exp(-entropy)) ** loss.gamma * entropy

    return formula


def sparse_lsr(loss):
    """SparseLSRLoss of the repository, which adds the second term where the paper subtracts it; as (n,), not (n, 1)."""
    import torch

    def formula(z, y):
        n, s = torch.tensor(z.shape[1]), loss.smoothing
        log_p = torch.nn.functional.log_softmax(z, dim=1).gather(1, y[:, None])[:, 0]
        rest = torch.clamp(1 - torch.exp(log_p), min=1e-7) / (n - 1)
        return s * (n - 1) / n * torch.log(rest) - (1 - s + s / n) * log_p

    return formula


def lsr(loss):
    """LSRLoss of the same repository."""
    import torch

    def formula(z, y):
        n, s = torch.tensor(z.shape[1]), loss.smoothing
        labels = torch.nn.functional.one_hot(y, z.shape[1]) * (1 - s) + s / n
        return -(labels * torch.nn.functional.log_softmax(z, dim=1)).sum(dim=1)

    return formula


def incendio_soft(loss):
    """incendio's soft_label_cross_entropy_with_logits, labels smoothed by smooth_soft_labels."""
    import torch

    def formula(z, y):
        share = loss.smoothing / (y > 0).sum(-1, keepdim=True).float()
        labels = torch.clamp_min(y - share, 0) + loss.smoothing / y.shape[-1]
        return -(labels * torch.nn.functional.log_softmax(z, dim=-1)).sum(-1)

    return formula


def incendio_absolute(loss):
    """incendio's classification_mae_with_logits."""
    import torch

    return lambda z, y: (torch.softmax(z, dim=-1) - y).abs().sum(-1)


def bi_tempered(loss):
    """Google's bi_tempered_logistic_loss in JAX, for t2 >= 1, with its five rounds and its own gradient."""
    import jax
    from jax import numpy as jnp

    t1, t2 = loss.t1, loss.t2

    def log_t(u, t):
        return jnp.log(u) if t == 1 else (jnp.power(u, 1 - t) - 1) / (1 - t)

    def exp_t(u, t):
        return jnp.exp(u) if t == 1 else jnp.power(jnp.maximum(1 + (1 - t) * u, 0), 1 / (1 - t))

    def total(x):
        return jnp.sum(exp_t(x, t2), axis=-1, keepdims=True)

    def probabilities(z):
        if t2 == 1:
            return jnp.exp(z - jax.scipy.special.logsumexp(z, axis=-1, keepdims=True))
        top = jnp.max(z, axis=-1, keepdims=True)
        x = shrunk = z - top
        for _ in range(ROUNDS):
            shrunk = x * jnp.power(total(shrunk), 1 - t2)
        return exp_t(z - (top - log_t(1 / total(shrunk), t2)), t2)

    def both(z, y):
        p = probabilities(z)
        if t1 == t2 == 1:
            value = jnp.sum(y * (jnp.log(y + 1e-15) - jax.nn.log_softmax(z)), axis=-1)
        else:
            own = y * (log_t(y + 1e-10, t1) - log_t(p, t1))
            value = jnp.sum(own - (jnp.power(y, 2 - t1) - jnp.power(p, 2 - t1)) / (2 - t1), axis=-1)
        delta, escort = (p - y) * jnp.power(p, t2 - t1), jnp.power(p, t2)
        escort = escort / jnp.sum(escort, axis=-1, keepdims=True)
        return value, delta - escort * jnp.sum(delta, axis=-1, keepdims=True)

    @jax.custom_vjp
    def formula(z, y):
        return both(z, y)[0]

    formula.defvjp(both, lambda slopes, up: (up[..., None] * slopes, None))
    return formula


def bi_tempered_binary(loss):
    """The same of the logits [0, z] and the labels [1 - y, y]."""
    from jax import numpy as jnp

    of_rows = bi_tempered(loss)
    return lambda z, y: of_rows(jnp.stack([jnp.zeros_like(z), z], axis=-1), jnp.stack([1 - y, y], axis=-1))
