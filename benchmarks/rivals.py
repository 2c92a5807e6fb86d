"""What other libraries do for the same logits and labels: forward and backward, ready to be timed.

Each maker takes (loss, logits, labels, threads) and returns {verb: callable} with everything that
can be prepared outside the clock already done: tensors made, functions compiled, buffers allocated.
A callable for ``value_and_gradient`` returns both, so that its error can be told beside its time.
"""

import importlib.util
from functools import partial

import numpy as np

from reflosses import (
    BinaryCrossEntropy,
    BinaryFocal,
    BiTempered,
    BiTemperedBinary,
    CategoricalFocal,
    ClassificationMAE,
    CrossEntropy,
    LabelSmoothing,
    OtherClassesSmoothing,
    SigmoidFocal,
    SparseLSR,
)


def _torch(loss, logits, labels, threads):
    """PyTorch: forward of the sum and backward."""
    import torch
    from torch.nn import functional

    torch.set_num_threads(threads)
    z = torch.from_numpy(logits.copy()).requires_grad_()
    y = torch.from_numpy(labels)

    def focal(z, y):  # torchvision.ops.sigmoid_focal_loss
        p = torch.sigmoid(z)
        entropy = functional.binary_cross_entropy_with_logits(z, y, reduction="none")
        weighted = entropy * (1 - (p * y + (1 - p) * (1 - y))) ** loss.gamma
        return ((loss.alpha * y + (1 - loss.alpha) * (1 - y)) * weighted).sum()

    def of_label(z, y):
        return functional.log_softmax(z, dim=-1).gather(1, y[:, None])

    def categorical_focal(z, y):
        log_p = of_label(z, y)
        return -((1 - log_p.exp()) ** loss.gamma * log_p).sum()

    forward = {
        CategoricalFocal: categorical_focal,
        BinaryFocal: focal,
        ClassificationMAE: lambda z, y: 2 * (1 - of_label(z, y).exp()).sum(),
        CrossEntropy: lambda z, y: functional.cross_entropy(z, y, reduction="sum"),
        LabelSmoothing: lambda z, y: functional.cross_entropy(z, y, label_smoothing=loss.smoothing, reduction="sum"),
        BinaryCrossEntropy: lambda z, y: functional.binary_cross_entropy_with_logits(z, y, reduction="sum"),
        SigmoidFocal: focal,
    }[type(loss)]

    return {"value_and_gradient": _backward(forward, z, y)}


def _backward(forward, z, y):
    def value_and_gradient():
        z.grad = None
        value = forward(z, y)
        value.backward()
        return value, z.grad

    return value_and_gradient


def _published(loss, logits, labels, threads):
    """The PyTorch code that was published with SparseLSR: dense rows of smoothed labels, and sparse smoothing."""
    import torch
    from torch.nn import functional

    torch.set_num_threads(threads)
    z = torch.from_numpy(logits.copy()).requires_grad_()
    y = torch.from_numpy(labels)
    n = logits.shape[-1]

    def dense(z, y):
        rows = functional.one_hot(y, n).to(z.dtype) * (1 - loss.smoothing) + loss.smoothing / n
        return -(rows * functional.log_softmax(z, dim=-1)).sum(dim=-1).sum()

    def sparse(z, y):  # its second term with the sign of the paper
        log_p = functional.log_softmax(z, dim=-1).gather(1, y[:, None])
        beside = torch.log(torch.clamp(1 - log_p.exp(), min=1e-7) / (n - 1))
        return -((1 - loss.smoothing + loss.smoothing / n) * log_p + loss.smoothing * (n - 1) / n * beside).sum()

    return {"value_and_gradient": _backward({LabelSmoothing: dense, SparseLSR: sparse}[type(loss)], z, y)}


def _jax(loss, logits, labels, threads):
    """JAX: jit of value_and_grad of optax's losses; XLA takes all cores."""
    import jax
    import optax

    jax.config.update("jax_enable_x64", True)
    n = logits.shape[-1]
    forward = {
        CrossEntropy: optax.softmax_cross_entropy_with_integer_labels,
        LabelSmoothing: lambda z, y: optax.softmax_cross_entropy(
            z, optax.smooth_labels(jax.nn.one_hot(y, n, dtype=z.dtype), loss.smoothing)
        ),
        BinaryCrossEntropy: optax.sigmoid_binary_cross_entropy,
        SigmoidFocal: lambda z, y: optax.sigmoid_focal_loss(z, y, alpha=loss.alpha, gamma=loss.gamma),
    }[type(loss)]
    compiled = jax.jit(jax.value_and_grad(lambda z, y: forward(z, y).sum()))
    z, y = jax.numpy.asarray(logits), jax.numpy.asarray(labels)
    return {"value_and_gradient": lambda: jax.block_until_ready(compiled(z, y))}


def _sklearn(loss, logits, labels, threads):
    """scikit-learn: the Cython losses of its boosting and linear models, results preallocated."""
    from sklearn._loss import HalfBinomialLoss, HalfMultinomialLoss

    if type(loss) is CrossEntropy:
        peer = HalfMultinomialLoss(n_classes=logits.shape[1])
    elif type(loss) is BinaryCrossEntropy:
        peer = HalfBinomialLoss()
    else:
        return {}
    y = labels.astype(logits.dtype)
    value, gradient, hessian = np.empty(len(y), logits.dtype), np.empty_like(logits), np.empty_like(logits)
    return {
        "value_and_gradient": lambda: peer.loss_gradient(
            y, logits, loss_out=value, gradient_out=gradient, n_threads=threads
        ),
        "gradient_and_hessian_diagonal": lambda: peer.gradient_hessian(
            y, logits, gradient_out=gradient, hessian_out=hessian, n_threads=threads
        ),
    }


def _google(loss, logits, labels, threads, iterations):
    """The published bi-tempered losses under jit, which take rows of probabilities and some iterations."""
    import jax
    from jax_bitempered_loss.loss import bi_tempered_binary_logistic_loss, bi_tempered_logistic_loss

    smoothing, inner = (loss.smoothing, loss.loss) if type(loss) is OtherClassesSmoothing else (0.0, loss)
    if type(inner) not in (BiTempered, BiTemperedBinary):
        return {}
    published = bi_tempered_logistic_loss if loss.targets.rows else bi_tempered_binary_logistic_loss

    def forward(z, y):
        return published(z, y, inner.t1, inner.t2, smoothing, iterations).sum()

    compiled, wide = jax.jit(jax.value_and_grad(forward)), logits.dtype == np.float64
    with jax.enable_x64(wide):
        z, y = jax.numpy.asarray(logits), jax.numpy.asarray(labels)
        y = jax.nn.one_hot(y, logits.shape[-1], dtype=logits.dtype) if loss.targets.rows else y

    def value_and_gradient():
        with jax.enable_x64(wide):
            return jax.block_until_ready(compiled(z, y))

    return {"value_and_gradient": value_and_gradient}


MODULES = {
    "torch": ("torch", _torch),
    "torch, published code": ("torch", _published),
    "jax": ("optax", _jax),
    "scikit-learn": ("sklearn", _sklearn),
    "jax-bitempered, 5 iterations": ("jax_bitempered_loss", partial(_google, iterations=5)),
    "jax-bitempered, 20 iterations": ("jax_bitempered_loss", partial(_google, iterations=20)),
}
RIVALS = {name: maker for name, (module, maker) in MODULES.items() if importlib.util.find_spec(module)}
