"""What an audit found, as a table, as sentences and as JSON."""

from typing import NamedTuple

import numpy as np
from rich.table import Table

from ..losses import LOSSES
from ..spelling import snake, spelled
from .judge import FAR, GRADES, STABLE, VERBS
from .rivals import IMPLEMENTATIONS

COLOURS = {"A": "green", "B": "green", "C": "yellow", "D": "red", "F": "bold red"}
SHOWN = 3  # logits of a row in the table
PASTED = 20  # logits of a row in a line to paste


class Line(NamedTuple):
    """The verdicts on one implementation of one class of losses in one dtype: one line of the table."""

    verdicts: list

    @property
    def key(self):
        first = self.verdicts[0]
        return first.system, first.name, type(first.loss), first.dtype

    @property
    def worst(self):
        """Return the verdict that decides the grade."""
        return max(self.verdicts, key=lambda x: (x.grade, x.broken, _error(x)))

    def worst_of(self, verb):
        """Return the worst measured error of a verb and the loss it belongs to, or None."""
        found = [(x.measured[verb].worst, x.loss) for x in self.verdicts if verb in x.measured]
        return max(found, key=lambda x: x[0].ulps, default=None)

    def total(self, what, where="measured"):
        return sum(getattr(m, what) for x in self.verdicts for m in getattr(x, where).values())


def _error(verdict):
    return max(x.worst.ulps for x in verdict.measured.values())


def lines(verdicts):
    """Return the lines of the table, by loss, then in the order of the list of implementations."""
    together = {}
    for verdict in verdicts:
        together.setdefault(Line([verdict]).key, []).append(verdict)
    order = [(x.system, x.name) for x in IMPLEMENTATIONS]

    def place(line):
        system, name, loss, _ = line.key
        known = (system, name) in order
        return LOSSES.index(loss) if loss in LOSSES else len(LOSSES), order.index((system, name)) if known else -1

    return sorted((Line(x) for x in together.values()), key=place)


def table(verdicts):
    """Return the table: implementation × loss × dtype."""
    made = Table(title="Errors in ulps of the certified results", caption=legend(), caption_justify="left")
    for name, justify in (
        ("implementation", "left"),
        ("dtype", "left"),
        ("value", "right"),
        ("gradient", "right"),
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
        found = [line.worst_of(verb) for verb in VERBS]
        worst, setting = max((x for x in found if x), key=lambda x: x[0].ulps)
        made.add_row(
            f"  {system} {name}",
            dtype,
            *("-" if x is None else ulps(x[0].ulps) for x in found),
            where(worst, setting),
            share(line.total("off"), line.total("results")),
            share(line.total("off", "real"), line.total("results", "real")),
            str(line.total("nonfinite") or ""),
            f"[{COLOURS[grade]}]{grade}[/]",
        )
    return made


def legend():
    grades = "\n".join(f"{grade}: {meaning}" for grade, meaning in GRADES.items())
    return (
        "value, gradient: the worst error; > 4 ulp: the share of results off by more, of all and of those on "
        f"the logits of a real classifier of digits\n{grades}"
    )


def ulps(error):
    """Return an error for the table."""
    return f"{error:.2f}" if error < 100 else f"{error:.0f}" if error < 1e4 else f"{error:.0e}".replace("e+0", "e")


def share(off, count):
    """Return a share for the table; nothing for 0."""
    if not off:
        return ""
    return f"{100 * off / count:.0f} %" if off >= 0.01 * count else "< 1 %"


def where(worst, loss):
    """Return an input for the table: its first logits, the label, and the parameters if not the defaults."""
    z, y = worst.logits, worst.labels
    shown = _shown(z)
    label = _plain(y) if np.ndim(y) == 0 else "soft"
    setting = ", ".join(map(_setting, _changed(loss)))
    return f"{shown}, y={label}" + (f" ({setting})" if setting else "")


def _changed(loss):
    """Return the parameters of a loss, those of losses within it included, that are not the defaults."""
    changed = [x for name, x in loss._asdict().items() if x != loss._field_defaults.get(name)]
    return [y for x in changed for y in (_changed(x) if hasattr(x, "_fields") else [x])]


def _setting(x):
    if x is None:
        return "none"
    return f"({', '.join(f'{w:g}' for w in x)})" if hasattr(x, "__len__") else f"{x:g}"


def _shown(z):
    """Return a logit, or the first ones of a row and how many there are."""
    if z.ndim == 0:
        return _plain(z)
    rest = f", … {len(z)}" if len(z) > SHOWN else ""
    return f"[{', '.join(f'{float(x):.4g}' for x in z[:SHOWN])}{rest}]"


def _plain(x):
    return f"{float(x):.5g}"


# Findings -----------------------------------------------------------------------------------


def findings(verdicts):
    """Return a sentence and lines to paste for every implementation of a loss that is not A or B."""
    together = {}
    for line in lines(verdicts):
        together.setdefault(line.key[:3], []).extend(line.verdicts)
    found = []
    for group in together.values():
        verdict = max(group, key=lambda x: (x.grade, sum(map(bool, x.example.values()))))
        if verdict.grade > "B":
            clips = [line for x in group if x.clip for line in paste(x, [x.clip.example])][:1]
            found.append((sentence(group, verdict), [*paste(verdict), *clips]))
        broken = [x for x in group if x.broken]
        if broken:
            found.append((promise(broken), [line for x in broken for line in paste(x, [x.worst_broken])]))
    return found


def promise(broken):
    """Return what the library owes and does not keep."""
    counts = ", ".join(f"{x.broken} in {x.dtype} of {spelled(x.loss)}" for x in broken)
    return f"{broken[0].system} breaks its promise of accuracy: {counts}"


def sentence(group, verdict):
    """Return what is wrong with an implementation: where, and by how much."""
    facts = [said for said in map(_fact, filter(None, verdict.example.values())) if said]
    clipped = [x for x in group if x.clip]
    if clipped:
        epsilon, example = clipped[0].clip
        facts.append(f"values level off as if probabilities were clipped at {epsilon:.1g}: {_fact(example)}")
    if any(x.single for x in group):
        facts.append("float64 results have the precision of float32")
    head = f"{verdict.system} {verdict.name}".strip()
    return f"{head}, {spelled(verdict.loss)} in {verdict.dtype}, grade {verdict.grade}: {'; '.join(facts)}."


def _fact(worst):
    name = "the value" if worst.verb == "value" else f"gradient{list(worst.entry) if worst.entry else ''}"
    label = f"y = {_plain(worst.labels)}" if np.ndim(worst.labels) == 0 else "soft labels"
    computed, truth = apart(worst.computed, worst.truth)
    return f"{name} is {computed} and should be {truth} at z = {_shown(worst.logits)}, {label}"


def apart(a, b):
    """Return two numbers with as many digits as show that they differ, and one more.

    >>> apart(9.800347, 9.801347)
    ('9.8003', '9.8013')
    """
    digits = next((n for n in range(3, 17) if f"{a:.{n}g}" != f"{b:.{n}g}"), 16)
    return f"{a:.{digits + 1}g}", f"{b:.{digits + 1}g}"


def paste(verdict, examples=None):
    """Return lines to paste into Python that show what a sentence says."""
    made = []
    for worst in filter(None, examples or verdict.example.values()):
        z, y = np.atleast_1d(worst.logits), np.asarray(worst.labels)
        if len(z) > PASTED:
            continue
        logits = f"np.{verdict.dtype}({_literal(z if worst.logits.ndim == 0 else z[None])})"
        labels = f"np.array([{int(y)}])" if y.dtype.kind == "i" else f"np.{verdict.dtype}({_literal(y[None])})"
        if verdict.one_hot and y.ndim == 0:
            labels = f"np.eye({len(z)}, dtype=np.{verdict.dtype})[[{int(y)}]]"
        logits, labels = verdict.argument.format(logits), verdict.argument.format(labels)
        call = f'run("{verdict.system} {verdict.name}", "{spelled(verdict.loss)}", '
        made.append(f"{call if verdict.system else verdict.name + '('}{logits}, {labels})")
    return list(dict.fromkeys(made))


def _literal(x):
    """Return an array as nested lists of the shortest numbers that read back the same."""
    if x.ndim:
        return f"[{', '.join(map(_literal, x))}]"
    if np.isfinite(x):
        text = str(x)
        return text[:-2] if text.endswith(".0") else text
    return {"inf": "np.inf", "-inf": "-np.inf"}.get(str(x), "np.nan")


# JSON ---------------------------------------------------------------------------------------


def as_json(verdicts, systems):
    """Return everything that was found, for ``json.dumps``; what is not finite is a string."""
    return {
        "systems": systems,
        "grades": GRADES,
        "thresholds": {"backward_stable_ulps": STABLE, "wrong_by_far": FAR},
        "promise_kept": not any(x.broken for x in verdicts),
        "verdicts": [_verdict(x) for x in verdicts],
        "findings": [{"sentence": said, "paste": lines} for said, lines in findings(verdicts)],
    }


def _verdict(x):
    return {
        "system": x.system,
        "name": x.name,
        "loss": snake(type(x.loss)),
        "parameters": spelled(x.loss),
        "dtype": x.dtype,
        "grade": x.grade,
        "broken_promises": x.broken,
        "clip": x.clip and x.clip.epsilon,
        "single_precision": x.single,
        "all": {verb: _measured(m) for verb, m in x.measured.items()},
        "real": {verb: _measured(m) for verb, m in x.real.items()},
        "example": {verb: _worst(worst) for verb, worst in x.example.items() if worst},
    }


def _measured(m):
    return {
        "worst": _worst(m.worst),
        "count": m.results,
        "off_by_more_than_4_ulp": m.off,
        "share_off": m.share_off,
        "not_finite": m.nonfinite,
    }


def _worst(worst):
    return {
        "group": worst.group,
        "logits": _numbers(worst.logits),
        "labels": _numbers(worst.labels),
        "index": list(worst.entry),
        "computed": _numbers(worst.computed),
        "truth": _numbers(worst.truth),
        "ulps": worst.ulps if np.isfinite(worst.ulps) else str(worst.ulps),
    }


def _numbers(x):
    """Return numbers as JSON has them, and exactly, in hexadecimal."""
    x = np.asarray(x)
    if x.dtype.kind in "iu":
        return {"float": x.tolist()}
    flat = x.astype(np.float64)
    values = [v if np.isfinite(v) else str(v) for v in flat.ravel().tolist()]
    exact = [v.hex() for v in flat.ravel().tolist()]
    return {"float": values, "hex": exact} if x.ndim else {"float": values[0], "hex": exact[0]}
