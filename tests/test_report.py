"""The report of an audit: what it says, and that its page, its JSON and its XML say the same."""

import json
import re
import subprocess
import sys
from dataclasses import FrozenInstanceError
from html.parser import HTMLParser
from io import StringIO
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console
from scipy import special

import reflosses
from reflosses import BinaryCrossEntropy, CrossEntropy
from reflosses.audit import diagnose
from reflosses.audit.findings import Finding
from reflosses.audit.grades import GRADES
from reflosses.audit.page import plot
from reflosses.audit.report import Report
from reflosses.audit.scatter import log_odds
from reflosses.audit.table import table
from reflosses.audit.target import TargetError
from reflosses.audit.truth import batches


def right(z, y):
    if z.shape != y.shape:
        raise ValueError("a label for every logit")
    return (1 - y) * np.maximum(z, 0) + y * np.maximum(-z, 0) + np.log1p(np.exp(-np.abs(z)))


def naive(logits, labels):
    p = 1 / (1 + np.exp(-logits))
    return -(labels * np.log(p) + (1 - labels) * np.log(1 - p))


class Doubled:
    """A loss as an object."""

    def __call__(self, logits, labels):
        return 2 * right(logits, labels)


@pytest.fixture(scope="module")
def report():
    return reflosses.audit(naive, BinaryCrossEntropy())


# The door -------------------------------------------------------------------------------------


def test_a_call_grades_functions_objects_and_names(report, monkeypatch):
    monkeypatch.setattr(diagnose, "SECONDS", 0.1)  # there is no cause to be found
    assert report.grade == "D"
    assert reflosses.audit(Doubled(), BinaryCrossEntropy(), dtypes=["float32"]).grade == "F"
    named = reflosses.audit("scipy.special:xlogy", "binary_cross_entropy", dtypes=[np.float64])
    assert (named.grade, [x.dtype for x in named.verdicts]) == ("F", ["float64"])
    good = reflosses.audit(right, BinaryCrossEntropy())
    assert good.grade <= "B" and not good.findings and "finding" in repr(good)


@pytest.mark.parametrize(
    "loss, options, words",
    [
        (BinaryCrossEntropy(-1.0), {}, "pos_weight must lie in"),
        ("focal", {}, "choose from"),
        (BinaryCrossEntropy(), {"framework": "fortran"}, "choose from numpy, torch"),
        (BinaryCrossEntropy(), {"dtypes": ["int32"]}, "float32, float64, got int32"),
        (BinaryCrossEntropy(), {"dtypes": []}, "float32, float64, got none"),
    ],
)
def test_a_mistake_in_the_call_is_one_sentence(loss, options, words):
    with pytest.raises(ValueError, match=re.escape(words)) as error:
        reflosses.audit(right, loss, **options)
    assert "\n" not in str(error.value)


def test_a_bad_target_is_one_sentence():
    with pytest.raises(TargetError, match="returns NoneType"):
        reflosses.audit(lambda z, y: None, BinaryCrossEntropy())


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8")


def test_the_package_is_light_until_it_is_called():
    heavy = "{'flint', 'rich', 'jinja2', 'ml_dtypes', 'hypothesis'}"
    found = python(f"import sys, reflosses; reflosses.audit; print(sorted({heavy} & set(sys.modules)))")
    assert found.stdout.strip() == "[]", found.stderr
    found = python(
        "import reflosses, reflosses.audit.points as p; print(callable(reflosses.audit), p is reflosses.audit.points)"
    )
    assert found.stdout.strip() == "True True", found.stderr


def test_a_missing_extra_is_named():
    found = python(
        "import sys; sys.modules['flint'] = None; import reflosses; reflosses.audit(abs, reflosses.CrossEntropy())"
    )
    said = found.stderr.strip().splitlines()[-1]
    assert said.endswith("the audit needs flint, which is not installed: pip install 'reflosses[audit]'")


# Sentences ------------------------------------------------------------------------------------


def test_a_report_cannot_be_changed(report):
    with pytest.raises(FrozenInstanceError):
        report.verdicts = ()


def test_the_sentences_say_what_where_and_by_how_much(report):
    said = str(report)
    assert said.startswith("naive as binary_cross_entropy\nGrade D in float32 and float64: " + GRADES["D"])
    assert "1. " in said and "Worst errors, in ulps" in said
    assert all(line in said for finding in report.findings for line in finding.snippet)
    assert max(map(len, said.splitlines())) <= 120


def test_what_is_pasted_is_what_was_found(report):
    finding = next(x for x in report.findings if x.snippet)
    with np.errstate(all="ignore"):
        computed = eval(finding.snippet[-1], {"np": np, "naive": naive})
    assert computed[0] == pytest.approx(finding.example.computed, nan_ok=True)
    assert finding.example.computed != pytest.approx(finding.example.truth, rel=1e-5)


def test_what_several_dtypes_have_in_common_is_said_once(report):
    """Where it explains most, causes before other findings, and no digits beside a cause."""
    first, second = report.verdicts
    less = Finding("mistake", "clip", "It clips.", explained=0.5)
    more, other = less._replace(explained=0.9), Finding("behaviour", "prints", "It prints.")
    unknown = less._replace(name="unknown")
    both = Report((first._replace(findings=(other, less, unknown)), second._replace(findings=(more,))))
    assert both.findings == (more, other)
    assert [x.kind for x in Report((first._replace(findings=(other,)),)).findings] == ["behaviour", "accuracy"]
    (shown,) = Report((first._replace(findings=(less._replace(sentence="it clips", ulps=1.0),)),)).findings
    assert shown.sentence.startswith("It clips. In float32, the value is ") and shown.snippet[0] == "import numpy as np"


# The page -------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Checks that tags are closed in order, and keeps attributes and text."""

    VOID = {"meta", "br", "link", "img"}

    def __init__(self, text):
        super().__init__()
        self.open, self.attributes, self.text = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.attributes += [(tag, *x) for x in attributes]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.attributes += [(tag, *x) for x in attributes]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)


def test_the_page_is_whole_and_needs_no_other(report):
    page = Page(report.to_html())
    assert not [x for x in page.attributes if x[1] in ("src", "srcset") or x[0] == "link"]
    assert "@import" not in report.to_html() and "url(" not in report.to_html()
    text = " ".join(page.text)
    finding = next(x for x in report.findings if x.snippet)
    for said in (GRADES["D"], "audited as binary_cross_entropy", "value in float32", *finding.snippet, np.__version__):
        assert said in text
    assert finding.sentence.replace(" ", "") in "".join(page.text).replace(" ", "")


def test_a_page_of_nothing_wrong_says_so():
    page = reflosses.audit(right, BinaryCrossEntropy(), dtypes=["float32"]).to_html()
    assert "None. Every result" in page and "<ol>" not in page


def test_names_cannot_break_the_page():
    naive.__name__, kept = "<script>alert(1)</script>", naive.__name__
    try:
        page = reflosses.audit(naive, BinaryCrossEntropy(), dtypes=["float32"]).to_html()
    finally:
        naive.__name__ = kept
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return np.dot([0.2126, 0.7152, 0.0722], linear)


def test_every_colour_can_be_read_in_both_themes(report):
    """WCAG's contrast: at least 4.5 between text and its ground, 3 for dots."""
    style = report.to_html().partition("<style>")[2].partition("</style>")[0]
    light, dark = (dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in style.split("prefers-color-scheme: dark"))
    assert light.keys() == dark.keys() and light != dark
    for theme in light, dark:
        for ground, *names in (("paper", "ink", "faint", *GRADES), ("raised", "ink")):
            for name in names:
                low, high = sorted(luminance(theme[x]) for x in (ground, name))
                assert (high + 0.05) / (low + 0.05) >= 4.5, name
        for name in ("good", "off", "lost"):
            low, high = sorted(luminance(theme[x]) for x in ("paper", name))
            assert (high + 0.05) / (low + 0.05) >= 3, name
    assert not re.search(r"(fill|stroke|color|background): #", style.split("body {")[1]), "every colour is one of these"


def y_of(path):
    return [float(dot.split()[1].removesuffix("h0")) for dot in path.split("M")[1:]]


def test_a_plot_shows_every_kind_of_error(report):
    verdict = report.verdicts[0]
    drawn = plot(verdict, "value")
    error = verdict.measured["value"].scatter[:, 1]
    assert len(error) == verdict.measured["value"].results
    assert {kind: bool(path) for kind, path in drawn.paths.items()} == {
        "good": bool((error <= 4).any()),
        "off": bool(((error > 4) & (error < 2**23)).any()),
        "lost": bool((error >= 2**23).any()),
    }
    assert drawn.limit > min(y_of(drawn.paths["good"])) - 2 and max(y_of(drawn.paths["off"])) > drawn.limit - 6
    assert drawn.up[0][0] > drawn.limit > drawn.up[-1][0], "large errors are above small ones"
    assert [x for x, _ in drawn.across] == sorted(x for x, _ in drawn.across)


@pytest.mark.parametrize("loss", [BinaryCrossEntropy(), CrossEntropy((0.5, 2.0, 1.0)), reflosses.SparseLSR()])
def test_errors_are_drawn_over_log_odds(loss):
    for batch in batches(loss, np.float64):
        if batch.logits.ndim == 2 and batch.logits.shape[1] > 10:
            continue
        for verb in "value", "gradient":
            odds = log_odds(batch, verb)
            assert odds.shape == batch.shape(verb) and not np.isnan(odds).any()
    z = np.array([[1.0, 2.0, 50.0], [0.0, 0.0, 0.0]])
    row = type("Row", (), {"logits": z, "labels": np.array([2, 0]), "loss": CrossEntropy()})
    p = special.softmax(z, axis=1)
    assert log_odds(row, "gradient")[:, :2] == pytest.approx(special.logit(p[:, :2]))
    assert log_odds(row, "value") == pytest.approx([50 - np.logaddexp(1, 2), -np.log(2)])


def test_a_notebook_shows_the_page_in_a_frame(report):
    ((tag, name, page), *_) = Page(report._repr_html_()).attributes
    assert (tag, name) == ("iframe", "srcdoc") and page == report.to_html()


# JSON and XML ---------------------------------------------------------------------------------


def test_the_json_has_the_findings(report):
    found = json.loads(report.to_json(), parse_constant=pytest.fail)
    assert [x["sentence"] for x in found["findings"]] == [x.sentence for x in report.findings]
    assert [x["paste"] for x in found["findings"]] == [list(x.snippet) for x in report.findings]
    assert [x["grade"] for x in found["verdicts"]] == ["D", "D"]


def test_the_xml_fails_what_is_worse_than_wanted(report):
    suites = ElementTree.fromstring(report.to_junit().encode())
    assert [x.get("failures") for x in suites] == ["2"] and len(suites.findall(".//failure")) == 2
    assert report.findings[0].snippet[0] in suites.find(".//failure").text
    assert "<failure" not in report.to_junit(grade="D")


def test_the_xml_survives_what_xml_cannot_hold(report):
    example = report.verdicts[0]._replace(name="\x00\x1b[31m")
    assert ElementTree.fromstring(Report((example,)).to_junit().encode()) is not None


def test_the_table_shows_names_as_they_are(report):
    console = Console(width=200, file=StringIO())
    console.print(table([report.verdicts[0]._replace(name="[red]a[/nothing]")]))
    assert "[red]a[/nothing]" in console.file.getvalue()
