"""Audit everybody's losses: ``python tools/state_of_losses.py`` writes the tables of docs/state_of_losses.md.

It takes half an hour.  With ``--as cross_entropy``, which may be repeated, only those tables are made
again.  Keras is audited twice, on both backends: a process has one.
"""

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from reflosses.audit.examples import Worst
from reflosses.audit.rivals import IMPLEMENTATIONS
from reflosses.audit.sentences import ulps, where
from reflosses.spelling import parse, snake

PAGE = Path(__file__).resolve().parent.parent / "docs" / "state_of_losses.md"
BEGIN, END = "<!-- written by tools/state_of_losses.py -->", "<!-- to here -->"
OURS = "reflosses", "numpy", "scipy"  # the library, and formulas that nobody publishes
BACKENDS = "jax", "torch"  # of Keras
RIVALS = [x for x in IMPLEMENTATIONS if x.system not in OURS]
LOSSES = list(dict.fromkeys(snake(x.loss) for x in RIVALS))
HEAD = "| implementation | float32 | float64 | worst error, ulp | at | what is wrong | thread |\n" + "|---" * 7 + "|"
VERBS = {"value": "value", "gradient": "gradient", "hessian_diagonal": "Hessian"}
GIT = "https://github.com/"
OWN = {  # whose threads are a system's own
    "fastai": "fastai/",
    "google": "google/",
    "keras": "keras-team/",
    "lightgbm": "lightgbm-org/",
    "optax": "google-deepmind/",
    "sklearn": "scikit-learn/",
    "torch": "pytorch/",
    "xgboost": "dmlc/",
}
KNOWN = {  # (system, finding) -> where it was met, if the finding itself does not tell
    ("google", "nan-at-saturation"): "google/bi-tempered-loss/issues/13",
    ("keras", "clip"): "keras-team/keras/issues/17634",
    ("lightgbm", "hessian-k-over-k-minus-1"): "lightgbm-org/LightGBM/issues/6043",
    ("xgboost", "digits-lost"): "dmlc/xgboost/issues/2955",
    ("xgboost", "probability-minus-one"): "dmlc/xgboost/issues/2955",
}


def named(x, backend=None):
    """Return how a row is called: an ``Implementation`` or a verdict, on a backend if it is Keras."""
    system, name = (x["system"], x["name"]) if isinstance(x, dict) else (x.system, x.name)
    return f"{system} {name}" + (f" on {backend}" if system == "keras" else "")


def expected(loss):
    """Return the rows that the table of a loss has, in order, if everything is installed."""
    mine = [x for x in RIVALS if snake(x.loss) == loss]
    return [named(x, b) for b in BACKENDS for x in mine if x.system == "keras" or b == BACKENDS[0]]


def audited(loss, backend, systems):
    """Return what ``reflosses audit`` finds, as its JSON says it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "found.json"
        only = [part for system in systems for part in ("--system", system)]
        command = [sys.executable, "-m", "reflosses", "audit", "--as", loss, *only, "--json", str(file)]
        subprocess.run(command, env={**os.environ, "KERAS_BACKEND": backend}, stdout=subprocess.DEVNULL, check=True)
        return json.loads(file.read_text())


def table(loss, systems=None):
    """Return the section of a loss: which versions, when, the command, and a row for every implementation."""
    mine = dict.fromkeys(x.system for x in RIVALS if snake(x.loss) == loss and systems in (None, (x.system,)))
    first, second = BACKENDS
    runs = [(first, list(mine)), *[(second, ["keras"])] * ("keras" in mine)]
    rows, versions = [], {}
    for backend, names in runs:
        found = audited(loss, backend, names)
        versions |= {f"{name} {said}": None for name, said in found["systems"].items() if said}
        together = {}
        for verdict in found["verdicts"]:
            together.setdefault(named(verdict, backend), []).append(verdict)
        order = [named(x, backend) for x in RIVALS if snake(x.loss) == loss]
        rows += [row(name, together[name], found["findings"]) for name in order if name in together]
    text = f"## {loss}\n\nAudited on {datetime.date.today()}: {', '.join(versions)}.\n"
    text += f"A row is made again by `reflosses audit --as {loss} --system SYSTEM`, SYSTEM being its first word.\n\n"
    return text + "\n".join([HEAD, *rows]) + "\n"


def row(name, verdicts, findings):
    """Return the line of one implementation: its grades, its largest errors and where, and what they are."""
    grades = {dtype: max((x["grade"] for x in verdicts if x["dtype"] == dtype), default="–") for dtype in DTYPES}
    worst = {}
    for verdict in verdicts:
        for verb, measured in verdict["all"].items():
            made = worst_of(verb, measured["worst"]), verdict
            worst[verb] = max(worst.get(verb, made), made, key=lambda x: x[0].ulps)
    errors = ", ".join(f"{VERBS[verb]} {ulps(x.ulps)}" for verb, (x, _) in worst.items())
    largest, of = max(worst.values(), key=lambda x: x[0].ulps)
    place = where(largest, parse(of["parameters"]))
    mine = [x for x in findings if about(x, verdicts[0])]
    said = " ".join(x["sentence"] for x in mine) or "Nothing: rounding in the last bits."
    links = ", ".join(dict.fromkeys(filter(None, (thread(verdicts[0]["system"], x) for x in mine))))
    cells = (name, *grades.values(), errors, f"z = {place}", said, links)
    return "| " + " | ".join(x.replace("|", "\\|") for x in cells) + " |"


DTYPES = "float32", "float64"


def worst_of(verb, x):
    """Return a worst result as the JSON has it as a ``Worst``."""
    numbers = [np.array(x[part]["float"], dtype=None if isinstance(x[part]["float"], int) else float) for part in PARTS]
    return Worst(verb, x["group"], *numbers, tuple(x["index"]), np.nan, np.nan, float(x["ulps"]))


PARTS = "logits", "labels"


def about(finding, verdict):
    """Whether a finding is about the implementation and the loss of a verdict."""
    rest = finding["about"].removeprefix(f"{verdict['system']} {verdict['name']}, {verdict['loss']}")
    return rest != finding["about"] and rest[0] in " ("


def thread(system, finding):
    """Return a link to where the world met a finding: in this system, or in another."""
    known = KNOWN.get((system, finding["name"]))
    url = f"{GIT}{known}" if known else finding["link"]
    if not url:
        return ""
    short = url.removeprefix(GIT).replace("/issues/", "#").replace("/pull/", "#")
    return f"{'' if short.startswith(OWN.get(system, ' ')) else 'the same in '}[{short}]({url})"


# The page -------------------------------------------------------------------------------------


def sections(page):
    """Return the sections that a page has, by loss."""
    written = page.partition(BEGIN)[2].partition(END)[0]
    return {text.partition("\n")[0]: f"## {text}" for text in re.split("(?m)^## ", written)[1:]}


def rows_of(section):
    """Return the cells of a section's rows."""
    lines = [line[2:-2] for line in section.splitlines() if line.startswith("| ")]
    return [line.split(" | ") for line in lines[1:]]


def counted(made):
    """Return how many rows have which grade, the worse of their dtypes."""
    grades = Counter(max(set(row[1:3]) - {"–"}) for section in made.values() for row in rows_of(section))
    said = ", ".join(f"{grades[x]} {x}" for x in sorted(grades))
    return f"Of {sum(grades.values())} implementations, by the worse of their two grades: {said}.\n"


def main():
    """Audit and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--as", dest="losses", action="append", choices=LOSSES)
    page = PAGE.read_text(encoding="utf-8")
    made = sections(page)
    for loss in parser.parse_args().losses or LOSSES:
        made[loss] = table(loss)
        ordered = {name: made[name].strip() + "\n" for name in LOSSES if name in made}
        written = "\n".join([BEGIN, "", counted(ordered), *ordered.values(), END])
        PAGE.write_text(f"{page.partition(BEGIN)[0]}{written}{page.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
