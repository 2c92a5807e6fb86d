"""``reflosses plot``: curves of a loss in a file."""

import click

from ..plots import OVER, VERBS, family
from ..spelling import parse_values, snake
from .mistakes import loss_named, sentence

FORMATS = ".png", ".svg", ".pdf"
MOST_CLASSES = 10_000  # whose curves fit into memory


@click.command()
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
    from ..plots import plot

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
