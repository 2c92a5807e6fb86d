"""What an audit hands back: a ``Report``, which reads as sentences, a page, JSON or JUnit's XML."""

import json
from dataclasses import dataclass, field
from html import escape

import numpy as np

from ..spelling import snake, spelled
from .grades import GRADES
from .judge import FAR, STABLE
from .sentences import findings, paragraph, ulps, where


@dataclass(frozen=True, eq=False)
class Report:
    """What was found about an implementation of a loss, or about several.

    ``print`` tells it in sentences, a notebook shows the page.

    Parameters
    ----------
    verdicts : tuple of Verdict
        One for every implementation, loss and dtype; ``reflosses.audit.judge`` describes them.
    versions : dict
        Package → version of what was audited and of what judged it, None for what was not found.

    Examples
    --------
    >>> import reflosses
    >>> report = reflosses.audit(lambda z, y: (1 - y) * z, reflosses.BinaryCrossEntropy(), dtypes=["float64"])
    >>> report.grade
    'F'
    """

    verdicts: tuple
    versions: dict = field(default_factory=dict)

    @property
    def grade(self):
        """The worst grade, "A" to "F", of all dtypes."""
        return max(x.grade for x in self.verdicts)

    @property
    def groups(self):
        """What is wrong with which implementation, each a ``reflosses.audit.sentences.Group``."""
        return findings(self.verdicts)

    @property
    def findings(self):
        """Everything that is wrong, each a ``Finding``: what explains most comes first."""
        return tuple(finding for group in self.groups for finding in group.findings)

    def __str__(self):
        found = [_titled(self.verdicts), *(paragraph(i, x) for i, x in enumerate(self.findings, 1)), _errors(self)]
        return "\n\n".join(found)

    def __repr__(self):
        names = ", ".join(dict.fromkeys(f"{x.system} {x.name}".strip() for x in self.verdicts))
        return f"<Report: {names}, grade {self.grade}, {_counted(len(self.findings), 'finding')}>"

    def to_json(self):
        """Return everything as JSON: every number exactly, in hexadecimal, and as people read it."""
        return json.dumps(as_json(self.verdicts, self.versions), indent=1, allow_nan=False)

    def to_html(self):
        """Return one page without any other file: grade, findings, plots of the errors, a table, versions."""
        from .page import page

        return page(self)

    def to_junit(self, grade="B"):
        """Return JUnit's XML: a test for every dtype, which fails if its grade is worse than the one given."""
        from .junit import junit

        return junit(self, grade)

    def _repr_html_(self):
        """Return the page in a frame, so that its style and the notebook's do not meet."""
        return f'<iframe srcdoc="{escape(self.to_html())}" style="width: 100%; height: 40em; border: 0"></iframe>'


# Sentences --------------------------------------------------------------------------------------


def _titled(verdicts):
    """Return who was audited as what, and the grades."""
    names = dict.fromkeys(f"{x.system} {x.name}".strip() for x in verdicts)
    losses = dict.fromkeys(spelled(x.loss) for x in verdicts)
    grades: dict = {}
    for x in verdicts:
        grades.setdefault(x.grade, []).append(x.dtype)
    said = [f"Grade {grade} in {_listed(grades[grade])}: {GRADES[grade]}." for grade in sorted(grades, reverse=True)]
    return f"{_listed(names)} as {_listed(losses)}\n" + "\n".join(said)


def _errors(report):
    """Return the worst error of every dtype and verb."""
    said = ["Worst errors, in ulps of the certified results:"]
    for verdict in report.verdicts:
        for verb, found in verdict.measured.items():
            place = where(found.worst, verdict.loss)
            said.append(f"   {verdict.dtype:<9}{verb:<9}{ulps(found.worst.ulps):>8}   at {place}")
    return "\n".join(said)


def _listed(names):
    """Return names as a sentence has them.

    >>> _listed(["a", "b", "c"])
    'a, b and c'
    """
    *most, last = dict.fromkeys(names)
    return f"{', '.join(most)} and {last}" if most else last


def _counted(n, what):
    return f"{n or 'no'} {what}{'s' * (n != 1)}"


# JSON -------------------------------------------------------------------------------------------


def as_json(verdicts, versions):
    """Return everything that was found, for ``json.dumps``; what is not finite is a string."""
    return {
        "systems": versions,
        "grades": GRADES,
        "thresholds": {"backward_stable_ulps": STABLE, "wrong_by_far": FAR},
        "promise_kept": not any(x.broken for x in verdicts),
        "verdicts": [_verdict(x) for x in verdicts],
        "findings": [_finding(group.head, x) for group in findings(verdicts) for x in group.findings],
    }


def _finding(head, x):
    return {
        "about": head,
        "kind": x.kind,
        "name": x.name,
        "sentence": x.sentence,
        "link": x.link,
        "explained": x.explained,
        "ulps": _number(x.ulps),
        "example": x.example and _worst(x.example),
        "paste": list(x.snippet),
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
        "ulps": _number(worst.ulps),
    }


def _number(x):
    return x if np.isfinite(x) else str(x)


def _numbers(x):
    """Return numbers as JSON has them, and exactly, in hexadecimal."""
    x = np.asarray(x)
    if x.dtype.kind in "iu":
        return {"float": x.tolist()}
    flat = x.astype(np.float64)
    values = [_number(v) for v in flat.ravel().tolist()]
    exact = [v.hex() for v in flat.ravel().tolist()]
    return {"float": values, "hex": exact} if x.ndim else {"float": values[0], "hex": exact[0]}
