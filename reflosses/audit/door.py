"""The way into an audit from Python, the command line and tests: a target and a loss in, a ``Report`` out."""

import platform
from importlib import metadata

import ml_dtypes  # noqa: F401  so that NumPy knows bfloat16 by its name
import numpy as np

from ..api import prepare
from ..spelling import parse
from ..version import __version__
from .child import examine
from .frames import FRAMES
from .report import Report
from .rivals import version

DTYPES = "float32", "float64"  # asked for unless others are named
EVERY = "float16", "bfloat16", *DTYPES


def audit(target, loss, *, framework=None, arguments=None, dtypes=None, timeout=20.0):
    """Return the ``Report`` on a target, as described at ``reflosses.audit``."""
    loss = parse(loss) if isinstance(loss, str) else loss
    prepare(loss)  # refuses illegal parameters
    if framework not in (None, *FRAMES):
        raise ValueError(f"there is no framework {framework!r}; choose from {', '.join(filter(None, FRAMES))}")
    names = None if arguments is None else [name.strip() for name in arguments.split(",")]
    verdicts = examine(target, loss, chosen(dtypes), framework, names, timeout)
    if isinstance(target, str):
        verdicts = [x._replace(name=target.replace(":", ".")) for x in verdicts]
    return Report(tuple(verdicts), versions(framework))


def chosen(dtypes):
    """Return dtypes by their names, if they are legal ones; float32 and float64 for None."""
    names = [np.dtype(x).name for x in (DTYPES if dtypes is None else dtypes)]
    if not names or set(names) - set(EVERY):
        raise ValueError(f"dtypes must be some of {', '.join(EVERY)}, got {', '.join(names) or 'none'}")
    return names


def versions(*frameworks):
    """Return what judged, and the frameworks that were judged, with their versions."""
    found = {"reflosses": __version__, "python": platform.python_version(), "numpy": np.__version__}
    found["python-flint"] = metadata.version("python-flint")
    return found | {name: version(name) for name in frameworks if name and name not in found}
