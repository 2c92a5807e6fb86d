"""``reflosses audit``: implementations of the losses, everybody's or one."""

import click
import numpy as np

from ..losses import LOSSES
from ..spelling import parse, snake
from .mistakes import loss_named, sentence
from .report import outputs, progress, publish

DTYPES = "float16", "bfloat16", "float32", "float64"
SECONDS = "How many seconds one call of TARGET may take."


@click.command()
@click.argument("target", required=False)
@click.option("--as", "text", metavar="LOSS", help="What TARGET computes, as in 'sigmoid_focal(gamma=2)'.")
@click.option("--framework", metavar="NAME", help="Whose arrays TARGET takes: numpy, torch, jax, keras, tensorflow, …")
@click.option("--args", "arguments", metavar="NAMES", help="TARGET's arguments in order, as in 'y_true, y_pred'.")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), default=20.0, show_default=True, help=SECONDS)
@click.option("--dtype", "dtypes", type=click.Choice(DTYPES), multiple=True, help="Only these; may be repeated.")
@click.option("--system", "only", multiple=True, help="Only implementations of these, such as torch; may be repeated.")
@outputs
def audit(target, text, framework, arguments, timeout, dtypes, only, grade, **files):
    """Compare implementations of the losses with certified results.

    Without TARGET, every implementation found on this machine: this library's, NumPy's and SciPy's
    formulas, scikit-learn, torch, optax, keras, LightGBM, XGBoost and published code; with --as, those
    of one loss.  With TARGET,
    written module:callable, that function, called as callable(logits, labels): one value for
    every row, or values and gradient.

    The exit status is 0 for an audit that was made, whatever it found; 1 if --grade is given and
    not met, or this library itself misses its promise; 2 for a target that cannot be audited.
    """
    if target is None:
        report = audit_all(dtypes, text and loss_named(text, name_only), only)
    elif text is None:
        raise sentence(f"say which loss {target} computes: --as LOSS, one of {', '.join(map(snake, LOSSES))}")
    else:
        options = {"framework": framework, "arguments": arguments, "timeout": timeout}
        report = audit_target(target, loss_named(text), dtypes or None, options)
    publish(report, grade, **files)


def name_only(text):
    """Return the class of the loss that a text names, whatever its parameters."""
    return type(parse(text))


def audit_all(dtypes, loss_class, only):
    """Return the report on the implementations found; its versions have None for systems that are not there."""
    from ..audit.report import Report
    from ..audit.rivals import DTYPES, IMPLEMENTATIONS, version
    from ..audit.survey import survey

    dtypes = [t for t in DTYPES if not dtypes or np.dtype(t).name in dtypes]
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
    return Report(tuple(verdicts), systems)


def audit_target(target, loss, dtypes, options):
    """Return the report on a callable."""
    from ..audit.door import audit
    from ..audit.target import TargetError

    try:
        with progress(None, target):
            return audit(target, loss, dtypes=dtypes, **options)
    except (TargetError, ValueError) as error:
        raise sentence(str(error)) from None
