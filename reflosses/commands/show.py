"""``reflosses list``, ``show`` and ``eval``: what the losses are, and what they are at a point."""

import click
import numpy as np

from .. import api
from ..domain import REAL, parameters, predictions
from ..losses import LOSSES
from ..spelling import find, snake, spelled
from .mistakes import loss_named, sentence


@click.command("list")
def list_losses():
    """List the losses, their parameters and their domains."""
    for loss in LOSSES:
        fields = (f"{x.name} in {x.interval}{' or none' if x.optional else ''}" for x in parameters(loss))
        click.echo(f"{spelled(loss(), defaults=True):<60} {'; '.join(fields)}")


@click.command()
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


@click.command("eval")
@click.argument("text", metavar="LOSS")
@click.option("--logits", required=True, help="Numbers with commas: one row, or single logits; or probabilities.")
@click.option("--labels", required=True, help="A class, a row of probabilities, or a label for every logit.")
def evaluate(text, logits, labels):
    """Print value, gradient and Hessian diagonal of LOSS, the certified digits beside them."""
    from flint import ctx

    from ..oracle import certify

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


def numbers(text, name):
    """Return the numbers of a text with commas or blanks as an array."""
    try:
        return np.array([float(part) for part in text.strip("[]() ").replace(",", " ").split()])
    except ValueError:
        raise sentence(f"{name} must be numbers with commas between them, got {text!r}") from None
