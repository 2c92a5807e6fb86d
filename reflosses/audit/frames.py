"""Calling a target as its framework has it: a ``Call`` in NumPy arrays in, an ``Answer`` out."""

import sys
from importlib.util import find_spec

import ml_dtypes
import numpy as np

from .call import Answer, AnswerError
from .frameworks import KERAS_BACKENDS, keras_backend, keras_module


def numbers(x):
    """Return an answer as an array of real numbers."""
    try:
        array = _of_tensor(x.detach().cpu()) if hasattr(x, "detach") else np.asarray(x)
    except Exception:
        array = np.array(None)
    if array.dtype.kind not in "fiub" and array.dtype.name != "bfloat16":
        kind = f"an array of {array.dtype}" if isinstance(x, np.ndarray) else type(x).__name__
        raise AnswerError(f"the target returns {kind}, not numbers")
    return array


def _of_tensor(x):
    """Return a torch tensor as an array; NumPy knows no bfloat16 of torch's."""
    if str(x.dtype) != "torch.bfloat16":
        return np.asarray(x)
    return np.asarray(x.float()).astype(ml_dtypes.bfloat16)


def _tensor(x):
    """Return an array as a torch tensor that shares its memory."""
    import torch

    if x.dtype != ml_dtypes.bfloat16:
        return torch.from_numpy(x)
    return torch.from_numpy(x.view(np.uint16)).view(torch.bfloat16)


def plain(function, call, named):
    """NumPy: values, (values, gradient) or (values, gradient, Hessian diagonal)."""
    answer = function(call.logits, call.labels, **named)
    if isinstance(answer, tuple | list) and len(answer) in (2, 3):
        return Answer(*(None if x is None else numbers(x) for x in answer))
    return Answer(numbers(answer))


def boosting(function, call, named):
    """A boosting objective: (gradient, Hessian diagonal) of raw scores."""
    gradient, hessian = function(call.logits, call.labels, **named)
    return Answer(None, numbers(gradient).reshape(call.logits.shape), numbers(hessian).reshape(call.logits.shape))


class Labels(np.ndarray):
    """Labels that also answer what objectives ask a booster's data set."""

    def get_label(self):
        return np.asarray(self)

    def get_weight(self):
        return None

    def num_row(self):
        return len(self)

    num_data = num_row


def by_scores(function, call, named):
    """An objective of (scores, data set) or, as in scikit-learn's interface, of (labels, scores)."""
    labels = np.asarray(call.labels)
    labels = labels if labels.dtype.kind == "f" else labels.astype(np.float32)  # as both keep all labels
    labels = labels.view(Labels)
    return boosting(function, call._replace(labels=labels), named)


def _upstream(call, value, ones):
    return ones if call.upstream is None else call.upstream


def by_torch(function, call, named):
    """PyTorch, differentiated by autograd."""
    import torch

    dtype = _tensor(call.logits[:0]).dtype
    named = {k: _tensor(np.asarray(v, np.float64)).to(dtype) if _many(v) else v for k, v in named.items()}
    with torch.enable_grad():
        logits = _tensor(call.logits).requires_grad_()
        value = function(logits, _tensor(call.labels), **named)
        if not hasattr(value, "requires_grad"):
            raise AnswerError(f"the target returns {type(value).__name__}, not a tensor")
        if not value.requires_grad:
            return Answer(numbers(value))
        up = None if call.upstream is None else _tensor(np.asarray(call.upstream, np.float64)).to(value.dtype)
        up = torch.ones_like(value) if up is None else up.reshape(value.shape)
        (gradient,) = torch.autograd.grad(value, logits, up)
    return Answer(numbers(value), numbers(gradient))


def _many(x):
    return isinstance(x, tuple | list | np.ndarray)


def by_jax(function, call, named):
    """JAX, differentiated by vjp."""
    import jax

    named = {k: jax.numpy.asarray(np.asarray(v, call.logits.dtype)) if _many(v) else v for k, v in named.items()}
    with jax.enable_x64(call.logits.dtype == np.float64):
        labels = jax.numpy.asarray(call.labels)
        value, pullback = jax.vjp(lambda z: function(z, labels, **named), jax.numpy.asarray(call.logits))
        up = jax.numpy.ones_like(value)
        up = up if call.upstream is None else jax.numpy.asarray(call.upstream, value.dtype).reshape(value.shape)
        return Answer(np.asarray(value), np.asarray(pullback(up)[0]))


def by_keras(function, call, named):
    """Keras, differentiated by its backend."""
    backend = keras_module().backend.backend()
    return {"torch": by_torch, "jax": by_jax, "tensorflow": by_tensorflow}[backend](function, call, named)


def by_tensorflow(function, call, named):
    """TensorFlow, differentiated by a tape."""
    import tensorflow

    named = {k: np.asarray(v, call.logits.dtype) if _many(v) else v for k, v in named.items()}
    logits = tensorflow.Variable(call.logits)
    with tensorflow.GradientTape() as tape:
        value = function(logits, tensorflow.constant(call.labels), **named)
    if not tensorflow.is_tensor(value):
        raise AnswerError(f"the target returns {type(value).__name__}, not a tensor")
    up = tensorflow.ones_like(value)
    up = up if call.upstream is None else tensorflow.reshape(tensorflow.constant(call.upstream, value.dtype), up.shape)
    gradient = tape.gradient(value, logits, up)
    return Answer(numbers(value), None if gradient is None else numbers(tensorflow.convert_to_tensor(gradient)))


PACKAGES = "torch", "jax", "keras", "tensorflow"  # without which nothing of theirs runs


def missing(framework):
    """Return in a sentence what has to be installed for a framework, or None."""
    if framework in PACKAGES and find_spec(framework) is None:
        return f"{framework} is not installed: pip install {framework}"
    if framework == "keras" and keras_backend() is None:
        return f"Keras needs a backend, one of {', '.join(KERAS_BACKENDS)}: KERAS_BACKEND names it"
    return None


FRAMES = {
    None: plain,
    "numpy": plain,
    "torch": by_torch,
    "jax": by_jax,
    "keras": by_keras,
    "tensorflow": by_tensorflow,
    "lightgbm": by_scores,
    "xgboost": by_scores,
}


def detected(function, z, y, named):
    """Return the framework that a target's answer to arrays shows; if it takes none, torch's if it is loaded."""
    try:
        answer = function(z.copy(), y.copy(), **named)
    except Exception:
        if "torch" not in sys.modules:
            raise
        import torch

        named = {k: torch.tensor(np.asarray(v), dtype=torch.float32) if _many(v) else v for k, v in named.items()}
        function(torch.from_numpy(z.copy()), torch.from_numpy(y.copy()), **named)
        return "torch"
    kind = type(answer).__module__.partition(".")[0]
    return {"torch": "torch", "jax": "jax", "jaxlib": "jax", "tensorflow": "tensorflow"}.get(kind, "numpy")
