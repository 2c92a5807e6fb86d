"""A report as one page of HTML, with plots of the errors over the logits."""

import math
import re
from importlib.resources import files
from typing import NamedTuple

import ml_dtypes
import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from ..spelling import spelled
from .grades import GOOD, GRADES
from .sentences import PASTE, findings, share, ulps, where

WIDTH, HEIGHT = 440.0, 250.0  # of a plot, in its own units
LEFT, RIGHT, TOP, BOTTOM = 46.0, 12.0, 16.0, 34.0  # margins
FARTHEST = 1e4  # log-odds; what lies beyond is drawn at the edge
LEAST = 0.1  # ulps, drawn at the bottom with all that is less
TICKS = -1000, -100, -10, -1, 0, 1, 10, 100, 1000
STEP = 1.25  # units of the plot: points nearer to each other than this are drawn as one


class Plot(NamedTuple):
    """A plot, in units of its own: the marks of the axes, and points as the path of each kind."""

    title: str
    across: list  # (x, label)
    up: list  # (y, label)
    limit: float  # y of the error that earns the best grade
    paths: dict  # kind → what SVG draws
    worst: tuple  # x, y, text


def page(report):
    """Return the page of a report."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["whole_numbers"] = whole_numbers
    template = environment.from_string(files(__package__).joinpath("page.html").read_text(encoding="utf-8"))
    names = dict.fromkeys(f"{x.system} {x.name}".strip() for x in report.verdicts)
    return template.render(
        title=", ".join(names) if len(names) < 4 else f"{len(names)} implementations",
        losses=list(dict.fromkeys(spelled(x.loss) for x in report.verdicts)),
        grade=report.grade,
        grades=GRADES,
        several=len(names) > 1,
        paste=PASTE,
        groups=report.groups,
        plots=[plot(x, verb, len(names) > 1) for x in shown(report.verdicts) for verb in x.measured],
        rows=[row(x, verb, m) for x in report.verdicts for verb, m in x.measured.items()],
        versions=report.versions,
        size=(WIDTH, HEIGHT),
        frame=(LEFT, TOP, WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM),
    )


def whole_numbers(text):
    """Return a sentence whose numbers are not broken at the end of a line, after the e- of an exponent."""
    return Markup(re.sub(r"-?\d[\d.]*e-\d+", r'<span class="whole">\g<0></span>', str(escape(text))))


def shown(verdicts):
    """Return the verdicts whose errors are drawn: those with something wrong, or all of a few."""
    return verdicts if len(verdicts) <= 4 else [x for x in verdicts if findings([x])]


def row(verdict, verb, measured):
    """Return a line of the table."""
    return {
        "name": f"{verdict.system} {verdict.name}".strip(),
        "loss": spelled(verdict.loss),
        "dtype": verdict.dtype,
        "verb": verb,
        "worst": ulps(measured.worst.ulps),
        "where": where(measured.worst, verdict.loss),
        "off": share(measured.off, measured.results),
        "nonfinite": measured.nonfinite,
        "results": measured.results,
        "grade": verdict.grade,
    }


def plot(verdict, verb, named=False):
    """Return the plot of a verb's errors over the log-odds of what they are about; its title may name the verdict."""
    name = f"{verdict.system} {verdict.name}, ".lstrip() if named else ""
    measured = verdict.measured[verb]
    odds, error = measured.scatter.T
    lost = 1 / float(ml_dtypes.finfo(verdict.dtype).eps)  # ulps: more leave no digit of the result
    x, y = _across(odds), _up(error, lost)
    kinds = {"good": error <= GOOD, "off": (error > GOOD) & (error < lost), "lost": ~(error < lost)}
    top = np.argmax(error)
    step = 2 if lost < 1e9 else 4
    decades = range(0, int(math.log10(lost)) + 1, step)
    return Plot(
        f"{name}{verb} in {verdict.dtype}",
        [(float(_across(np.array(float(tick)))), f"{tick}".replace("-", "−")) for tick in TICKS],
        [*((float(_up(np.array(10.0**n), lost)), _power(n)) for n in decades), (TOP + STEP, "lost")],
        float(_up(np.array(float(GOOD)), lost)),
        {kind: _path(x[chosen], y[chosen]) for kind, chosen in kinds.items()},
        (float(x[top]), float(y[top]), f"{ulps(measured.worst.ulps)} ulps at {where(measured.worst, verdict.loss)}"),
    )


def _across(odds):
    """Return x of log-odds: evenly near 0, by magnitude far from it."""
    far = math.asinh(FARTHEST)
    share = np.arcsinh(np.clip(odds, -FARTHEST, FARTHEST)) / far
    return LEFT + (WIDTH - LEFT - RIGHT) * (1 + share) / 2


def _up(error, lost):
    """Return y of errors in ulps, by magnitude; at the top are those that leave no digit."""
    with np.errstate(invalid="ignore"):
        share = np.log(np.clip(error, LEAST, lost) / LEAST) / math.log(lost / LEAST)
    room = HEIGHT - TOP - BOTTOM - 14  # a band above the decades
    return np.where(error < lost, HEIGHT - BOTTOM - room * share, TOP + STEP)


def _power(n):
    return "1" if n == 0 else "10" + str(n).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _path(x, y):
    """Return points as a path of dots, one for all that look the same."""
    dots = dict.fromkeys(zip(np.round(x / STEP), np.round(y / STEP), strict=True))
    return "".join(f"M{a * STEP:g} {b * STEP:g}h0" for a, b in dots)
