"""``python -m reflosses.audit.variants``: audit correct implementations and print who is accused."""

import sys
import time

import click

from ..door import EVERY
from . import accusations, examined, variant


@click.command()
@click.argument("count", default=1000)
@click.argument("first", default=0)
@click.option("--dtype", type=click.Choice(EVERY), help="Of those in NumPy and PyTorch, which draw their own.")
def main(count, first, dtype):
    """Audit COUNT correct implementations from number FIRST on; the exit status tells whether any is accused."""
    begun, grades, accused = time.monotonic(), dict.fromkeys("ABCDF", 0), 0
    for number in range(first, first + count):
        drawn = variant(number)
        drawn = drawn.asked_in(dtype) if dtype else drawn
        verdict = examined(drawn)
        found = accusations(verdict)
        grades[verdict.grade] += 1
        accused += bool(found)
        for said in found:
            click.echo(f"{drawn}\n    grade {verdict.grade}: {said}")
    said = ", ".join(f"{n} {grade}" for grade, n in grades.items() if n)
    seconds = time.monotonic() - begun
    click.echo(f"{count} correct implementations, {accused} accused, in {seconds:.0f} s: {said}")
    sys.exit(bool(accused))


if __name__ == "__main__":
    main()
