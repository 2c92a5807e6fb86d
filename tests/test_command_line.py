"""The command line: what it prints, and that it never answers a mistake with a traceback."""

import json
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from reflosses.__main__ import main
from reflosses.audit.grades import GRADES
from reflosses.losses import LOSSES
from reflosses.spelling import find, parse, snake, spelled

TARGETS = """
import numpy as np

def right(z, y):
    t = np.where(y == 1, z, -z)
    q = np.exp(np.minimum(t, 0)) / (1 + np.exp(-np.abs(t)))
    c = np.exp(np.minimum(-t, 0)) / (1 + np.exp(-np.abs(t)))
    s = np.minimum(t, 0) - np.log1p(np.exp(-np.abs(t)))
    a = np.where(y == 1, 0.25, 0.75).astype(z.dtype)
    slope = a * c**2 * (2 * q * s - c)
    return -a * c**2 * s, np.where(y == 1, slope, -slope)

def swapped(z, y):
    return right(-z, 1 - y)[0]

def nothing(z, y):
    pass

def raises(z, y):
    raise RuntimeError("no\\nluck")
"""


def reflosses(*arguments):
    return CliRunner().invoke(main, list(arguments))


def python(*arguments, **options):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, encoding="utf-8", **options)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A current directory with a module of targets in it."""
    (tmp_path / "strangers.py").write_text(TARGETS)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("strangers", None)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_is_listed_and_shown(loss):
    assert spelled(loss(), defaults=True) in reflosses("list").output
    shown = reflosses("show", snake(loss)).output
    assert shown == reflosses("show", loss.__name__).output
    for part in ("Definition", "Derivation", "Accuracy", "References", "Parameters", "Targets", *loss._fields):
        assert part in shown


def test_eval_shows_the_certified_digits():
    result = reflosses("eval", "cross_entropy", "--logits", "20,0,0", "--labels", "0")
    assert result.exit_code == 0
    assert "4.1223072363804" in result.output and "-4.1223072278836" in result.output
    assert result.output.count("gradient[") == 3 and result.output.count("hessian_diagonal[") == 3


@pytest.mark.parametrize(
    "loss, logits, labels, shown",
    [
        ("sigmoid_focal(gamma=2, alpha=none)", "-1, 2.5", "1", "gradient[1]"),
        ("BinaryCrossEntropy", "[0]", "0.25", "0.693147180559945"),
        ("label_smoothing(cross_entropy, 0.2)", "1 2", "0.5 0.5", "0.8132616875182228"),
        ("cross_entropy((1, 2))", "-inf, 2", "1", "value"),
    ],
)
def test_eval_takes_every_kind_of_labels(loss, logits, labels, shown):
    result = reflosses("eval", loss, "--logits", logits, "--labels", labels)
    assert result.exit_code == 0, result.output
    assert shown in result.output


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("show", "focal"), "choose from bi_tempered"),
        (("show", ""), "choose from"),
        (("eval", "sigmoid_focal(gamma=-1)", "--logits", "0", "--labels", "0"), "gamma must lie in"),
        (("eval", "sigmoid_focal(gama=1)", "--logits", "0", "--labels", "0"), "no parameter 'gama'"),
        (("eval", "sigmoid_focal(1, 2, 3)", "--logits", "0", "--labels", "0"), "it has gamma, alpha"),
        (("eval", "sigmoid_focal(", "--logits", "0", "--labels", "0"), "cannot read"),
        (("eval", "3", "--logits", "0", "--labels", "0"), "is no loss"),
        (("eval", "sigmoid_focal(gamma=1+x)", "--logits", "0", "--labels", "0"), "expected a number"),
        (("eval", "cross_entropy", "--logits", "a,b", "--labels", "0"), "logits must be numbers"),
        (("eval", "cross_entropy", "--logits", "1,2", "--labels", "7"), "must be in [0, 2)"),
        (("eval", "sigmoid_focal", "--logits", "1,2", "--labels", "0,1,1"), "labels"),
        (("eval", "cross_entropy", "--logits", "nan,2", "--labels", "1"), "no certified answer"),
        (("audit", "strangers:right"), "--as LOSS"),
        (("audit", "strangers:right", "--as", "sigmoid_focal", "--framework", "fortran"), "choose from numpy, torch"),
        (("audit", "strangers:right", "--as", "sigmoid_focal", "--timeout", "0"), "0.0 is not in the range x>0"),
        (("audit", "strangers:right", "--as", "sigmoid_focal", "--html", "none/a.html"), "cannot write none/a.html"),
        (("audit", "strangers:right", "--as", "focal"), "choose from"),
        (("audit", "strangers", "--as", "sigmoid_focal"), "module:callable"),
        (("audit", "nobody:f", "--as", "sigmoid_focal"), "cannot import 'nobody'"),
        (("audit", "strangers:nobody", "--as", "sigmoid_focal"), "has no 'nobody'"),
        (("audit", "strangers:nothing", "--as", "sigmoid_focal"), "returns NoneType"),
        (("audit", "strangers:raises", "--as", "sigmoid_focal"), "RuntimeError: no luck"),
        (("audit", "--system", "fortran"), "choose from"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_status_2(folder, arguments, words):
    result = reflosses(*arguments)
    assert result.exit_code == 2, result.output
    said = result.stderr.strip().splitlines()[-1]
    assert said.startswith("Error: ") and words in said
    assert "Traceback" not in result.output


def test_a_correct_target_is_not_accused(folder):
    result = reflosses("audit", "strangers:right", "--as", "sigmoid_focal(gamma=2, alpha=0.25)")
    assert result.exit_code == 0, result.output
    assert "should be" not in result.stdout and "│   B   │" in result.stdout
    assert "match" not in result.stdout  # no other function either


def test_arguments_in_another_order_and_a_framework_are_told(folder):
    (folder / "swapped_arguments.py").write_text(
        "from strangers import right\n\n\ndef f(a, b):\n    return right(b, a)\n"
    )
    options = "--as", "sigmoid_focal", "--framework", "numpy", "--dtype", "float64", "--grade"
    assert reflosses("audit", "swapped_arguments:f", *options, "B", "--args", "y_true, y_pred").exit_code == 0
    assert reflosses("audit", "swapped_arguments:f", *options, "B", "--args", "y_pred, y_true").exit_code == 1


def test_a_target_that_ends_its_process_is_one_sentence(folder):
    (folder / "ends.py").write_text("import os\n\n\ndef f(z, y):\n    os._exit(3)\n")
    result = reflosses("audit", "ends:f", "--as", "sigmoid_focal")
    assert result.exit_code == 2 and "ends the process" in result.stderr.splitlines()[-1]


def test_a_wrong_target_is_found_and_written_down(folder):
    options = "--as", "sigmoid_focal", "--dtype", "float64", "--json", "found.json"
    result = reflosses("audit", "strangers:swapped", *options)
    assert result.exit_code == 0, result.output
    assert "grade F" in result.stdout and "strangers.swapped(np.float64([" in result.stdout
    assert GRADES["F"] in result.stdout
    (verdict,) = json.loads((folder / "found.json").read_text())["verdicts"]
    assert verdict["grade"] == "F" and set(verdict["all"]) == {"value"}


def test_every_form_of_a_report_is_written(folder):
    files = "--html", "found.html", "--junit", "found.xml", "--json", "found.json"
    result = reflosses("audit", "strangers:swapped", "--as", "sigmoid_focal", *files, "--timeout", "60")
    assert result.exit_code == 0, result.output
    assert (folder / "found.html").read_text().startswith("<!DOCTYPE html>")
    assert ElementTree.parse(folder / "found.xml").getroot()[0].get("failures") == "2"
    assert len(json.loads((folder / "found.json").read_text())["verdicts"]) == 2
    assert reflosses("audit", "strangers:swapped", "--as", "sigmoid_focal", "--html", ".").exit_code == 2


@pytest.mark.parametrize("grade, status", [("A", 1), ("D", 1), ("F", 0)])
def test_the_grade_that_is_asked_for_decides_the_exit_status(folder, grade, status):
    options = "--as", "sigmoid_focal", "--dtype", "float32", "--grade", grade, "--junit", "found.xml"
    assert reflosses("audit", "strangers:swapped", *options).exit_code == status
    assert ("<failure" in (folder / "found.xml").read_text()) == bool(status)


def test_the_audit_of_what_is_installed_runs(tmp_path):
    path = tmp_path / "found.json"
    command = ["-m", "reflosses", "audit", "--as", "sigmoid_focal", "--system", "scipy", "--system", "numpy"]
    result = python(*command, "--dtype", "float32", "--json", str(path))
    assert result.returncode == 0, result.stderr
    assert 'run("numpy (1 - p)^γ log p"' in result.stdout
    assert "4 of 4 audited" in result.stderr
    found = json.loads(path.read_text())
    assert {x["system"] for x in found["verdicts"]} == {"numpy", "scipy"} and found["promise_kept"]


def test_a_missing_extra_is_one_sentence():
    result = python("-c", "import sys; sys.modules['rich'] = None; import reflosses.__main__")
    assert result.returncode != 0
    advice = "the command line needs rich, which is not installed: pip install 'reflosses[audit]'"
    assert result.stderr.strip() == advice


def test_importing_the_package_imports_none_of_this():
    names = "{'click', 'rich', 'flint', 'jinja2', 'reflosses.audit.judge', 'reflosses.oracle', 'reflosses.__main__'}"
    result = python("-c", f"import sys, reflosses; print({names} & set(sys.modules))")
    assert result.stdout.strip() == "set()", result.stderr


@pytest.mark.parametrize("loss", [loss(*setting) for loss in LOSSES for setting in loss.settings])
def test_spelling_is_read_back(loss):
    for text in spelled(loss), spelled(loss, defaults=True):
        assert parse(text) == loss and spelled(parse(text)) == spelled(loss)
    assert find(type(loss).__name__.upper()) is type(loss)
