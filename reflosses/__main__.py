"""The command line: ``reflosses audit | list | show | eval | plot``."""

import contextlib
import json
import sys

import numpy as np

from . import api
from .domain import REAL, parameters, predictions
from .losses import LOSSES
from .plots import OVER, VERBS, family
from .spelling import find, parse, parse_values, snake, spelled
from .version import __version__

try:
    import click
    import flint  # noqa: F401  the oracle's arithmetic
    import ml_dtypes  # noqa: F401
    import rich  # noqa: F401
except ModuleNotFoundError as error:
    sys.exit(f"the command line needs {error.name}, which is not installed: pip install 'reflosses[audit]'")

DTYPES = "float16", "bfloat16", "float32", "float64"
PASTE = "import numpy as np; from reflosses.audit.rivals import run"
FORMATS = ".png", ".svg", ".pdf"
MOST_CLASSES = 10_000  # whose curves fit into memory
BROKEN = 1  # exit status: the library itself misses its promise


def sentence(message):
    """Return the error that ends a command with one sentence and exit status 2."""
    return click.UsageError(message)


def loss_named(text, read=parse):
    """Return the loss, or with ``find`` the class, that a text names."""
    try:
        return read(text)
    except ValueError as error:
        raise sentence(str(error)) from None


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main():
    """Reference classification losses, and an audit of everybody's."""


@main.command()
@click.argument("target", required=False)
@click.option("--as", "text", metavar="LOSS", help="What TARGET computes, as in 'sigmoid_focal(gamma=2)'.")
@click.option("--json", "path", type=click.Path(dir_okay=False, writable=True), help="Write all that is found here.")
@click.option("--dtype", "dtypes", type=click.Choice(DTYPES), multiple=True, help="Only these; may be repeated.")
@click.option("--system", "only", multiple=True, help="Only implementations of these, such as torch; may be repeated.")
def audit(target, text, path, dtypes, only):
    """Compare implementations of the losses with certified results.

    Without TARGET, every implementation found on this machine: this library's, NumPy's and SciPy's
    formulas, scikit-learn, torch, optax and keras; with --as, those of one loss.  With TARGET,
    written module:callable, that function, called as callable(logits, labels): one value for
    every row, or values and gradient, from NumPy, torch or jax.

    The exit status is 1 if this library itself misses its promise, and 2 for a target that cannot
    be audited.
    """
    from .audit.report import as_json
    from .audit.rivals import DTYPES

    chosen = [t for t in DTYPES if not dtypes or np.dtype(t).name in dtypes]
    if target is None:
        verdicts, systems = audit_all(chosen, text and loss_named(text, name_only), only)
    else:
        verdicts, systems = audit_target(target, text, chosen), {}
    report(verdicts, systems)
    if path:
        with open(path, "w", encoding="utf-8") as file:
            json.dump(as_json(verdicts, systems), file, indent=1, allow_nan=False)
    if any(x.broken for x in verdicts):
        sys.exit(BROKEN)


def name_only(text):
    """Return the class of the loss that a text names, whatever its parameters."""
    return type(parse(text))


def audit_all(dtypes, loss_class, only):
    """Return the verdicts on the implementations found, and system → version or None for all systems."""
    from .audit.rivals import IMPLEMENTATIONS, version
    from .audit.survey import survey

    names = list(dict.fromkeys(x.system for x in IMPLEMENTATIONS))
    unknown = [name for name in only if name not in names]
    if unknown:
        raise sentence(f"there is no system {unknown[0]!r}; choose from {', '.join(names)}")
    systems = {name: version(name) for name in names if not only or name in only}
    work = [
        (x, loss, dtype)
        for x in IMPLEMENTATIONS
        if systems.get(x.system) and loss_class in (None, x.loss)
        for loss, dtype in x.cases(dtypes)
    ]
    if not work:
        raise sentence("nothing to audit: no such implementation is installed")

    def left_out(implementation, error):
        name = f"{implementation.system} {implementation.name}"
        click.echo(f"{name} is left out: it raises {type(error).__name__}: {str(error)[:200]}", err=True)

    with progress(len(work)) as advance:
        verdicts = []
        for verdict in survey(work, left_out):
            verdicts.append(verdict)
            advance(f"{verdict.system} {verdict.name}")
    return verdicts, systems


def audit_target(target, text, dtypes):
    """Return the verdicts on a callable."""
    from .audit.judge import judge
    from .audit.target import TargetError, load, recognise

    if text is None:
        raise sentence(f"say which loss {target} computes: --as LOSS, one of {', '.join(map(snake, LOSSES))}")
    loss = loss_named(text)
    try:
        implementation = recognise(load(target), loss, target.replace(":", "."))
    except TargetError as error:
        raise sentence(str(error)) from None
    cases = [dtype for dtype in dtypes if dtype in implementation.dtypes]
    if not cases:
        raise sentence("a target is audited in float32 and float64")
    verdicts = []
    with progress(len(cases)) as advance:
        for dtype in cases:
            try:
                verdicts.append(judge(implementation, loss, dtype))
            except Exception as error:
                text = " ".join(str(error).split())[:200]
                raise sentence(f"the target raises {type(error).__name__} in {np.dtype(dtype)}: {text}") from None
            advance(target)
    return verdicts


@contextlib.contextmanager
def progress(count):
    """Show how far the work is, on stderr: a bar on a terminal, else a line for every tenth of it."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    done = 0
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=count)

        def advance(name):
            nonlocal done
            done += 1
            bar.update(task, advance=1, description=name)
            if not console.is_terminal and done * 10 // count > (done - 1) * 10 // count:
                click.echo(f"{done} of {count} audited", err=True)

        yield advance


def report(verdicts, systems):
    """Print the table, what is missing, and the findings."""
    from rich.console import Console

    from .audit.report import findings, table

    console = Console(width=None if sys.stdout.isatty() else 160, soft_wrap=False)
    console.print(table(verdicts))
    if systems:
        present = ", ".join(f"{name} {version}" for name, version in systems.items() if version)
        absent = ", ".join(name for name, version in systems.items() if not version)
        click.echo(f"\nAudited: {present}." + (f" Not found: {absent}." if absent else ""))
    found = findings(verdicts)
    if not found:
        return
    own = any(x.system for x in verdicts)
    click.echo(
        "\nFindings"
        + (", to be pasted after: import numpy as np; from reflosses.audit.rivals import run" if own else "")
    )
    for said, lines in found:
        click.echo(f"\n- {said}")
        for line in lines:
            click.echo(f"    {line}")


@main.command("list")
def list_losses():
    """List the losses, their parameters and their domains."""
    for loss in LOSSES:
        fields = (f"{x.name} in {x.interval}{' or none' if x.optional else ''}" for x in parameters(loss))
        click.echo(f"{spelled(loss(), defaults=True):<60} {'; '.join(fields)}")


@main.command()
@click.argument("name", metavar="LOSS")
def show(name):
    """Show the formula, derivation, accuracy, references and parameters of LOSS."""
    from inspect import getdoc

    loss = loss_named(name.partition("(")[0], find)
    click.echo(f"{loss.__name__}, {snake(loss)}\n\n{getdoc(loss)}\n\nParameters\n----------")
    for x in parameters(loss):
        default = loss._field_defaults.get(x.name)
        notes = ["optional"] * x.optional + ["one number a class"] * x.per_class
        click.echo(f"{x.name} in {x.interval}, default {default}" + "".join(f", {note}" for note in notes))
    nested = [name for name in loss._fields if name not in {x.name for x in parameters(loss)}]
    for name in nested:
        click.echo(f"{name}: a loss, default {spelled(loss._field_defaults[name])}")
    click.echo(f"\nTargets\n-------\n{loss.targets.value}")
    taken = predictions(loss())
    click.echo(f"\nPredictions\n-----------\n{'logits' if taken == REAL else f'probabilities, in {taken}'}")


@main.command("eval")
@click.argument("text", metavar="LOSS")
@click.option("--logits", required=True, help="Numbers with commas: one row, or single logits; or probabilities.")
@click.option("--labels", required=True, help="A class, a row of probabilities, or a label for every logit.")
def evaluate(text, logits, labels):
    """Print value, gradient and Hessian diagonal of LOSS, the certified digits beside them."""
    from flint import ctx

    from .oracle import certify

    loss = loss_named(text)
    z, y = numbers(logits, "logits"), numbers(labels, "labels")
    if loss.targets.rows:
        whole = len(y) == 1 and y[0] == np.floor(y[0])
        y = int(y[0]) if whole and len(z) > 1 else y
        points, names = [(z, y)], [f"[{i}]" for i in range(len(z))]
    else:
        y = np.broadcast_to(y, z.shape) if len(y) == 1 else y
        points, names = list(zip(z, y, strict=False)), None
    try:
        results = {verb: getattr(api, verb)(loss, z, y) for verb in ("value", "gradient", "hessian_diagonal")}
        certified = {verb: [x for point in points for x in certify(loss, *point, verb)] for verb in results}
    except (ValueError, TypeError) as error:
        raise sentence(str(error)) from None
    click.echo(f"{spelled(loss)}\n{'':<22}{'computed':<26}certified")
    with ctx.workprec(128):
        for verb, computed in results.items():
            for i, (x, truth) in enumerate(zip(np.ravel(computed), certified[verb], strict=True)):
                index = "" if np.ndim(computed) == 0 else names[i] if names else f"[{i}]"
                click.echo(f"{verb + index:<22}{float(x)!r:<26}{truth.str(25, radius=False)}")


@main.command()
@click.argument("text", metavar="LOSS")
@click.option(
    "--parameter",
    "given",
    multiple=True,
    metavar="NAME=VALUES",
    help="Values with commas, as in gamma=0,1,2,5; all combinations if repeated.",
)
@click.option("--what", type=click.Choice(tuple(VERBS)), multiple=True, default=["value"], help="May be repeated.")
@click.option("--over", type=click.Choice(OVER), default=OVER[0], show_default=True)
@click.option("--classes", type=click.IntRange(2, MOST_CLASSES), help="Of a loss of rows; 10 unless it says otherwise.")
@click.option("--out", type=click.Path(dir_okay=False, writable=True), help="A .png, .svg or .pdf file; else LOSS.png.")
def plot(text, given, what, over, classes, out):
    """Draw the value of LOSS or its derivatives for a family of parameters.

    A name without parentheses, and without --parameter, stands for the loss at the values of its
    first parameter at which it is tested.  One panel shows y = 1, or the label's class among
    equal others; the other one y = 0, or another class than the label's.
    """
    from .plots import plot

    loss = loss_named(text)
    out = out or f"{snake(type(loss))}.png"
    if not out.endswith(FORMATS):
        raise sentence(f"the name of the file must end in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}, got {out!r}")
    try:
        losses = [loss] if given or "(" in text else family(loss)
        for parameter in given:
            name, equals, values = parameter.partition("=")
            values = parse_values(values) if equals else None
            losses = [member for loss in losses for member in family(loss, name.strip(), values)]
        plot(losses, what, over=over, classes=classes).savefig(out, dpi=120)
    except (ValueError, TypeError, ModuleNotFoundError) as error:
        raise sentence(str(error)) from None
    except OSError as error:
        raise sentence(f"cannot write {out}: {error.strerror}") from None
    click.echo(out)


def numbers(text, name):
    """Return the numbers of a text with commas or blanks as an array."""
    try:
        return np.array([float(part) for part in text.strip("[]() ").replace(",", " ").split()])
    except ValueError:
        raise sentence(f"{name} must be numbers with commas between them, got {text!r}") from None


if __name__ == "__main__":
    main(prog_name="reflosses")
