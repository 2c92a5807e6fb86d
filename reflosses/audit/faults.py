"""The kill matrix: every fault that shipped, under our audit and under the checks that people use.

``python -m reflosses.audit.faults`` prints fault × detector; ``--markdown`` writes docs/kill_matrix.md.
A check whose framework is missing is reported as absent, not as a miss.
"""

import inspect
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np

from ..api import value_and_gradient
from ..spelling import spelled
from .limits import judge_target
from .target import TargetError, recognise
from .zoo import FAULTS

PAGE = Path(__file__).parents[2] / "docs" / "kill_matrix.md"
DETECTORS = "audit", "named", "gradcheck", "check_grads", "allclose 1e-5", "allclose 1e-2", "fixed vectors"
PROMISED = {"A", "B"}


class Kill(NamedTuple):
    """What became of one fault: the grade, the findings' names, and which detectors saw it."""

    fault: tuple
    grade: str
    found: tuple
    seen: dict


def kill(fault):
    """Audit a fault and try the usual checks on it."""
    function = fault.function() if inspect.isclass(fault.function) else fault.function
    dtype = np.float64 if fault.kind == "dtype" else np.float32
    try:
        verdict = judge_target(recognise(function, fault.loss, fault.kind, "numpy"), fault.loss, dtype)
        grade, found = verdict.grade, tuple(x.name for x in verdict.findings)
    except TargetError as error:
        grade, found = "-", ("raises" if " raises " in str(error) else "refused",)
    named = bool(set(found) & set(fault.names) - {"unknown"})
    seen = {"audit": grade not in PROMISED or named, "named": named}  # advice about something else is no catch
    for name, detector in USUAL.items():
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            fresh = fault.function() if inspect.isclass(fault.function) else fault.function
            try:
                seen[name] = detector(fresh, fault.loss)
            except Exception:  # a check that cannot even call it has seen it
                seen[name] = True
    return Kill(fault, grade, found, seen)


def normals(loss, dtype):
    random = np.random.default_rng(0)
    if loss.targets.rows:
        return random.standard_normal((8, 3)).astype(dtype), random.integers(0, 3, 8)
    return random.standard_normal(8).astype(dtype), (np.arange(8) % 2).astype(dtype)


def called(function, z, y):
    """Return unreduced value and gradient, however the function is told so."""
    named = {"reduction": "none"} if "reduction" in inspect.signature(function).parameters else {}
    return function(z.copy(), y.copy(), **named)[:2]


def close(tolerance):
    def detector(function, loss):
        z, y = normals(loss, np.float32)
        found, wanted = called(function, z, y), value_and_gradient(loss, z, y)
        return not all(np.allclose(a, b, rtol=tolerance, atol=tolerance) for a, b in zip(found, wanted))

    return detector


def fixed(function, loss):
    """Values of random normals to 1e-3 and nothing else, as the node tests of ONNX compare them."""
    z, y = normals(loss, np.float32)
    return not np.allclose(called(function, z, y)[0], value_and_gradient(loss, z, y)[0], rtol=1e-3, atol=1e-7)


def gradcheck(function, loss):
    """torch.autograd.gradcheck of the function with its own gradient."""
    if find_spec("torch") is None:
        return None
    import torch

    z, y = normals(loss, np.float64)

    class Loss(torch.autograd.Function):
        @staticmethod
        def forward(context, logits):
            context.save_for_backward(logits)
            return torch.from_numpy(np.asarray(called(function, logits.detach().numpy(), y)[0], np.float64))

        @staticmethod
        def backward(context, upstream):
            (logits,) = context.saved_tensors
            g = torch.from_numpy(np.array(called(function, logits.detach().numpy(), y)[1], np.float64))
            return g * (upstream if g.ndim == 1 else upstream[:, None])

    try:
        torch.autograd.gradcheck(Loss.apply, torch.from_numpy(z).requires_grad_())
    except Exception:
        return True
    return False


def check_grads(function, loss):
    """jax.test_util.check_grads of the function with its own gradient."""
    if find_spec("jax") is None:
        return None
    import jax
    from jax.test_util import check_grads

    z, y = normals(loss, np.float64)

    @jax.custom_vjp
    def total(logits):
        shape = jax.ShapeDtypeStruct(z.shape[:1], np.float64)
        return jax.pure_callback(lambda x: np.asarray(called(function, np.array(x), y)[0], np.float64), shape, logits)

    def backward(logits, upstream):
        shape = jax.ShapeDtypeStruct(z.shape, np.float64)
        g = jax.pure_callback(lambda x: np.asarray(called(function, np.array(x), y)[1], np.float64), shape, logits)
        return (g * (upstream if g.ndim == 1 else upstream[:, None]),)

    total.defvjp(lambda x: (total(x), x), backward)
    with jax.enable_x64(True):
        try:
            check_grads(total, (jax.numpy.asarray(z),), order=1, modes=["rev"])
        except Exception:
            return True
    return False


USUAL = {
    "gradcheck": gradcheck,
    "check_grads": check_grads,
    "allclose 1e-5": close(1e-5),
    "allclose 1e-2": close(1e-2),
    "fixed vectors": fixed,
}


def page(kills):
    """Return the matrix as Markdown."""
    words = {True: "yes", False: "no", None: "absent"}
    counts = {d: sum(x.seen[d] is True for x in kills) for d in DETECTORS}
    lines = [
        "# The kill matrix",
        "",
        "Written by `python -m reflosses.audit.faults --markdown`: faults that shipped, in plain NumPy as "
        "`reflosses.audit.zoo` has them, and who sees them. The usual checks run on the unreduced loss of "
        "random normals with an upstream gradient of their own.",
        "",
        "Seen, of " + f"{len(kills)}: " + ", ".join(f"{d} {n}" for d, n in counts.items()) + ".",
        "",
        f"| fault | loss | grade | {' | '.join(DETECTORS)} | findings |",
        "|" + "---|" * (len(DETECTORS) + 4),
    ]
    for x in kills:
        cells = [words[x.seen[d]] for d in DETECTORS]
        lines.append(
            f"| [{x.fault.kind}]({x.fault.link}) | {spelled(x.fault.loss)} | {x.grade} | {' | '.join(cells)} | "
            f"{', '.join(x.found)} |"
        )
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--markdown", is_flag=True, help="Write the page of the documentation as well.")
def main(markdown):
    """Audit every fault of the zoo, and print who sees it: the kill matrix."""
    kills = []
    for fault in FAULTS:
        kills.append(kill(fault))
        last = kills[-1]
        click.echo(f"{last.grade} {last.seen} {fault.kind}: {', '.join(last.found)}")
    text = page(kills)
    click.echo(text, nl=False)
    if markdown:
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
