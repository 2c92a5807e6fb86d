"""What the commands that judge have in common: progress, what is printed, which files, which exit status."""

import contextlib
import sys

import click
from rich.console import Console
from rich.progress import Progress

from ..audit.grades import GRADES
from .mistakes import sentence

BROKEN = 1  # exit status: a grade that was asked for is missed, or the library misses its own promise


def outputs(command):
    """Give a command that reports the options that say where to, and which grade is good enough."""
    file = click.Path(dir_okay=False, writable=True)
    for option in (
        click.option("--junit", type=file, help="Write JUnit's XML here, a test for each dtype."),
        click.option("--json", type=file, help="Write all that is found here."),
        click.option("--html", type=file, help="Write one page with plots here."),
        click.option("--grade", type=click.Choice(tuple(GRADES)), help="End with exit status 1 if the grade is worse."),
    ):
        command = option(command)
    return command


@contextlib.contextmanager
def progress(count, name=""):
    """Show how far the work is, on stderr: a bar on a terminal, else a line for every tenth of it.

    With None in place of the number of steps, nobody knows: the bar moves until the work is done.
    """
    console = Console(stderr=True)
    done = 0
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=count)

        def advance(name):
            nonlocal done
            done += 1
            bar.update(task, advance=1, description=name)
            if not console.is_terminal and done * 10 // count > (done - 1) * 10 // count:
                click.echo(f"{done} of {count} audited", err=True)

        yield advance


def publish(report, grade, html, json, junit):
    """Print the table, what is missing and the findings, write the files, and end with the status that is due."""
    from ..audit.sentences import PASTE, paragraph
    from ..audit.table import table

    console = Console(width=None if sys.stdout.isatty() else 160, soft_wrap=False)
    console.print(table(report.verdicts))
    surveyed = any(x.system for x in report.verdicts)
    if surveyed:
        present = ", ".join(f"{name} {version}" for name, version in report.versions.items() if version)
        absent = ", ".join(name for name, version in report.versions.items() if not version)
        click.echo(f"\nAudited: {present}." + (f" Not found: {absent}." if absent else ""))
    if report.groups:
        click.echo("\nFindings" + (f", to be pasted after: {PASTE}" if surveyed else ""))
    for group in report.groups:
        paragraphs = (paragraph(i, finding) for i, finding in enumerate(group.findings, 1))
        click.echo("\n\n".join([f"\n{group.head}", *paragraphs]))
    for path, written in (html, report.to_html), (json, report.to_json), (junit, lambda: report.to_junit(grade or "B")):
        if path:
            save(path, written())
    if any(x.broken for x in report.verdicts) or report.grade > (grade or max(GRADES)):
        sys.exit(BROKEN)


def save(path, text):
    """Write a file, or end with one sentence."""
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise sentence(f"cannot write {path}: {error.strerror}") from None
