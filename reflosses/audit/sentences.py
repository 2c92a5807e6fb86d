"""What an audit found, in sentences, with lines to paste into Python."""

import re
import textwrap
from typing import NamedTuple

import numpy as np

from ..spelling import spelled
from .findings import Finding, importance
from .frameworks import keras_backend
from .lines import lines
from .literals import array

AT_THE_END = r"(: this is|, as in) \S+$"  # a link, which is shown below
CAUSES = "convention", "mistake"  # kinds of findings that explain numbers
NAMES = {"gradient": "gradient", "hessian_diagonal": "Hessian"}
WIDTH = 100  # of a paragraph
FRAMEWORKS = "torch", "jax", "keras", "lightgbm", "xgboost"  # that a line to paste may make arrays of
SHOWN = 3  # logits of a row in a sentence
PASTE = "import numpy as np; from reflosses.audit.rivals import run"  # what lines about a system come after
PASTED = 20  # logits of a row in a line to paste


class Group(NamedTuple):
    """What is said about one implementation of one class of losses: who, and everything that is wrong with it."""

    head: str
    findings: tuple


def findings(verdicts):
    """Return a ``Group`` for every implementation of a class of losses that has something wrong with it."""
    together = {}
    for line in lines(verdicts):
        together.setdefault(line.key[:3], []).extend(line.verdicts)
    found = [Group(_head(group), _explained(group) + _accuracy(group) + _promise(group)) for group in together.values()]
    return [group for group in found if group.findings]


def _head(group):
    """Return which implementation of which loss, and its grade where it is worst."""
    worst = _worst(group)
    name = f"{worst.system} {worst.name}".strip()
    return f"{name}, {spelled(worst.loss)} in {worst.dtype}, grade {worst.grade}"


def _worst(group):
    return max(group, key=lambda x: (x.grade, sum(map(bool, x.example.values()))))


def _explained(group):
    """Return what the diagnosis found in any dtype and setting, said once, where it explains most; causes first.

    What one dtype explains is not unknown in another, where digits are lost as well.
    """
    best: dict = {}
    for verdict in sorted(group, key=lambda x: x.grade, reverse=True):
        for finding in verdict.findings:
            key = finding.kind, finding.name
            if key not in best or best[key].explained < finding.explained:
                best[key] = _shown_by(finding, verdict)
    known = [x for x in best.values() if x.name != "unknown"]
    told = known if any(x.kind in CAUSES for x in known) else best.values()
    return tuple(sorted(told, key=importance))


def _shown_by(finding, verdict):
    """Return a finding about numbers with an example that shows it, unless it has its own lines to paste."""
    said = whole(re.sub(AT_THE_END, "", finding.sentence) if finding.link else finding.sentence)
    example = finding.example or next(filter(None, verdict.example.values()), None)
    if example is not None and finding.name != "clip":  # the worst is seldom the simplest
        example = verdict.example.get(example.verb) or example
    diagnosed = finding.example or finding.ulps or finding.name == "unknown"  # others are about other calls
    if finding.snippet or example is None or not diagnosed:
        return finding._replace(sentence=said, snippet=_named(finding.snippet, verdict))
    said = f"{said} In {verdict.dtype}, {fact(example)}."
    return finding._replace(sentence=said, example=example, snippet=tuple(paste(verdict, [example])))


def _accuracy(group):
    """Return what is wrong where and by how much, unless a diagnosis has said it."""
    worst = _worst(group)
    if worst.grade <= "B" or any(x.kind in (*CAUSES, "accuracy") for x in _explained(group)):
        return ()
    clips = [x.clip.example for x in group if x.clip][:1]
    examples = [x for x in worst.example.values() if x]
    pasted = tuple(paste(worst, [*examples, *clips]))
    return (Finding("accuracy", "digits", sentence(group, worst), example=next(iter(examples), None), snippet=pasted),)


def _promise(group):
    """Return what the library owes and does not keep."""
    broken = [x for x in group if x.broken]
    if not broken:
        return ()
    counts = ", ".join(f"{x.broken} in {x.dtype} of {spelled(x.loss)}" for x in broken)
    said = f"{broken[0].system} breaks its promise of accuracy: {counts}."
    pasted = tuple(line for x in broken for line in paste(x, [x.worst_broken]))
    return (Finding("behaviour", "promise", said, example=broken[0].worst_broken, snippet=pasted),)


def paragraph(i, finding):
    """Return a finding with its number, its link and its lines to paste."""
    unbroken = {"break_long_words": False, "break_on_hyphens": False}
    said = textwrap.fill(finding.sentence, WIDTH, initial_indent=f"{i}. ", subsequent_indent="   ", **unbroken)
    link = f"\n   {finding.link}" if finding.link and finding.link not in finding.sentence else ""
    return said + link + "".join(f"\n       {line}" for line in finding.snippet)


def whole(said):
    """Return what is said with a capital letter, unless it begins with a name of code, and a full stop.

    >>> whole("it clips"), whole("cross_entropy is not scaled.")
    ('It clips.', 'cross_entropy is not scaled.')
    """
    first = said[:1].upper() if said.split()[0].isalpha() else said[:1]
    return first + said[1:] + "." * (not said.endswith("."))


def sentence(group, verdict):
    """Return what is wrong with an implementation: where, and by how much."""
    facts = [said for said in map(fact, filter(None, verdict.example.values())) if said]
    clipped = [x for x in group if x.clip]
    if clipped:
        epsilon, example = clipped[0].clip
        facts.append(f"values level off as if probabilities were clipped at {epsilon:.1g}: {fact(example)}")
    if any(x.single for x in group):
        facts.append("float64 results have the precision of float32")
    return f"In {verdict.dtype}, {'; '.join(facts)}."


def fact(worst):
    """Return what one result is, what it should be, and where."""
    name = f"{NAMES[worst.verb]}{list(worst.entry)}" if worst.entry else f"the {NAMES.get(worst.verb, worst.verb)}"
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
        y = np.eye(len(z), dtype=z.dtype)[y] if verdict.one_hot and y.ndim == 0 else y
        logits = array(z if worst.logits.ndim == 0 else z[None], verdict.framework)
        labels = array(y[None], verdict.framework)
        call = f'run("{verdict.system} {verdict.name}", "{spelled(verdict.loss)}", {logits}, {labels})'
        made.append(call if verdict.system else verdict.line.format(target=verdict.name, z=logits, y=labels))
    return [*_imports(verdict, made), *dict.fromkeys(made)] if made else []


def _named(snippet, verdict):
    """Return the lines of a probe with the target's name in its place, after what they need."""
    if not any("{target}" in line for line in snippet):
        return snippet
    made = tuple(line.replace("{target}", verdict.name) for line in snippet)
    return (*_imports(verdict, made), *made)


def _imports(verdict, made):
    """Return what the lines about a target need before them, if it is not one of the systems."""
    module = verdict.name.rpartition(".")[0]
    framework = [name for name in FRAMEWORKS if any(f"{name}." in line for line in made)]
    wanted = ["ml_dtypes"] * any('.astype("bfloat16")' in line for line in made)  # NumPy has it by the name then
    names = ["numpy as np", *wanted, *framework, *[module] * bool(module)]
    settings = {"KERAS_BACKEND": keras_backend()} if "keras" in framework else {}
    if verdict.dtype == "float64" and "jax" in (*framework, *settings.values()):
        settings["JAX_ENABLE_X64"] = "1"
    before = [f'import os; os.environ["{name}"] = "{value}"' for name, value in settings.items()]
    return [] if verdict.system else [*before, f"import {', '.join(names)}"]


# Numbers --------------------------------------------------------------------------------------


def ulps(error):
    """Return an error as a reader needs it.

    >>> ulps(0.5), ulps(1234.5), ulps(2.1e7), ulps(float("inf"))
    ('0.50', '1234', '2e7', 'inf')
    """
    if error < 1e4 or np.isinf(error):
        return f"{error:.2f}" if error < 100 else f"{error:.0f}"
    mantissa, exponent = f"{error:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}"


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
