"""``reflosses vectors``: audits of programs in any language, through files."""

import click

from .audit import DTYPES
from .mistakes import loss_named, sentence
from .report import outputs, publish


@click.group()
def vectors():
    """Audit a program in any language: inputs and certified results in files, and a judge of its results."""


@vectors.command("export")
@click.option("--loss", "text", metavar="LOSS", required=True, help="As in 'sigmoid_focal(gamma=2)'.")
@click.option("--out", "folder", metavar="DIR", required=True, type=click.Path(file_okay=False), help="Made if needed.")
@click.option("--dtype", "dtypes", type=click.Choice(DTYPES), multiple=True, help="Only these; may be repeated.")
def export_vectors(text, folder, dtypes):
    """Write inputs of LOSS and their certified results into DIR.

    The same arrays are in vectors.npz, .safetensors, .json and .txt; manifest.json has their
    SHA-256.  docs/vectors.md says what they mean.
    """
    from ..audit.exchange import export

    try:
        for path in export(loss_named(text), folder, dtypes or None):
            click.echo(path)
    except ValueError as error:
        raise sentence(str(error)) from None
    except OSError as error:
        raise sentence(f"cannot write into {folder}: {error.strerror}") from None


@vectors.command("check")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False))
@click.argument("results", type=click.Path(dir_okay=False))
@outputs
def check_vectors(folder, results, grade, **files):
    """Judge RESULTS, a file in one of the forms of DIR, which any program computed from its inputs.

    The exit status is 0 for results that were judged, whatever was found; 1 if --grade is given
    and not met; 2 for files that cannot be judged.
    """
    from ..audit.exchange import check
    from ..audit.formats import VectorsError

    try:
        report = check(folder, results)
    except VectorsError as error:
        raise sentence(str(error)) from None
    publish(report, grade, **files)
