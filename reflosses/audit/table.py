"""What an audit found, as a table in colours."""

from rich.markup import escape
from rich.table import Table

from ..spelling import snake
from .grades import GRADES
from .judge import VERBS
from .lines import lines
from .sentences import share, ulps, where

HEADS = {"value": "value", "gradient": "gradient", "hessian_diagonal": "Hessian"}
COLOURS = {"A": "green", "B": "green", "C": "yellow", "D": "red", "F": "bold red"}


def table(verdicts):
    """Return the table: implementation × loss × dtype."""
    made = Table(title="Errors in ulps of the certified results", caption=legend(verdicts), caption_justify="left")
    verbs = [verb for verb in VERBS if verb != VERBS[-1] or any(verb in x.measured for x in verdicts)]
    for name, justify in (
        ("implementation", "left"),
        ("dtype", "left"),
        *((HEADS[verb], "right") for verb in verbs),
        ("worst at", "left"),
        ("> 4 ulp", "right"),
        ("digits", "right"),
        ("not finite", "right"),
        ("grade", "center"),
    ):
        made.add_column(name, justify=justify, no_wrap=True)
    before = None
    for line in lines(verdicts):
        system, name, loss, dtype = line.key
        if loss is not before:
            made.add_section()
            made.add_row(f"[bold]{snake(loss)}[/bold]")
        before = loss
        grade = line.worst.grade
        found = [line.worst_of(verb) for verb in verbs]
        worst, setting = max((x for x in found if x), key=lambda x: x[0].ulps)
        made.add_row(
            escape(f"  {system} {name}"),
            dtype,
            *("-" if x is None else ulps(x[0].ulps) for x in found),
            escape(where(worst, setting)),
            share(line.total("off"), line.total("results")),
            share(line.total("off", "real"), line.total("results", "real")),
            str(line.total("nonfinite") or ""),
            f"[{COLOURS[grade]}]{grade}[/]",
        )
    return made


def legend(verdicts):
    """Return what the columns mean, and the grades that there are."""
    grades = "\n".join(f"{grade}: {GRADES[grade]}" for grade in sorted({x.grade for x in verdicts}))
    return (
        "value, gradient, Hessian: the worst error; > 4 ulp: the share of results off by more, of all and of those on "
        f"the logits of a real classifier of digits\n{grades}"
    )
