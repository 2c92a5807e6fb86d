"""What the examples share beside the network: options, progress and tables."""

import argparse
import contextlib
import io
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent / "examples.md"


def options(description, arguments):
    """Return the options of an example: ``quick`` and ``folder``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="one seed and few epochs, to see that it runs")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the pictures go")
    return parser.parse_args(arguments)


@contextlib.contextmanager
def progress(count):
    """Give a function to be called after each of ``count`` steps, and show how far they are."""
    columns = *Progress.get_default_columns()[:-1], MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("epochs", total=count)
        yield lambda: bar.advance(task)


def spread(accuracies):
    """Return accuracies as text: their mean and their standard deviation, in per cent."""
    mean = f"{100 * np.mean(accuracies):.1f}"
    return f"{mean} ± {100 * np.std(accuracies, ddof=1):.1f}" if len(accuracies) > 1 else mean


def table(head, rows):
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def save(figure, path):
    """Write a figure as a PNG of 64 colours, a fraction of what all its shades would take."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=80)
    Image.open(drawn).convert("RGB").quantize(64).save(path, optimize=True)


def publish(name, text):
    """Put a table into its place on the page of examples, between two comments with its name."""
    begin, end = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
    before, found, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    if not found or end not in rest:
        raise ValueError(f"{PAGE.name} has no place for {name}")
    PAGE.write_text(before + begin + "\n" + text + "\n" + rest[rest.index(end) :], encoding="utf-8")
