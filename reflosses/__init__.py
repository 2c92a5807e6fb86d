"""Reference classification losses: exact values, gradients and Hessians, without a framework."""

from . import audit, boosting, objectives
from .api import (
    gradient,
    gradient_and_hessian_diagonal,
    hessian,
    hessian_diagonal,
    hessian_vector_product,
    parameter_gradient,
    value,
    value_and_gradient,
)
from .domain import Targets
from .losses import *  # noqa: F403
from .losses import LOSSES
from .losses import __all__ as _losses
from .risk import scipy_objective
from .threads import set_thread_count, thread_count
from .transfer import (
    exp_t,
    log_sigmoid,
    log_softmax,
    log_t,
    sigmoid,
    softmax,
    tempered_normalization,
    tempered_sigmoid,
    tempered_softmax,
)
from .version import __version__

__all__ = [
    *_losses,
    "LOSSES",
    "Targets",
    "__version__",
    "audit",
    "boosting",
    "exp_t",
    "gradient",
    "gradient_and_hessian_diagonal",
    "hessian",
    "hessian_diagonal",
    "hessian_vector_product",
    "log_sigmoid",
    "log_softmax",
    "log_t",
    "objectives",
    "parameter_gradient",
    "scipy_objective",
    "set_thread_count",
    "sigmoid",
    "softmax",
    "tempered_normalization",
    "tempered_sigmoid",
    "tempered_softmax",
    "thread_count",
    "value",
    "value_and_gradient",
]
