"""The state of the losses: its page has a row for every implementation that there is, and can be made again."""

import re

import pytest
import state_of_losses as tool

from reflosses.audit.grades import GRADES
from reflosses.audit.rivals import version

PAGE = tool.PAGE.read_text(encoding="utf-8")


def test_the_page_has_a_table_of_every_loss_and_no_other():
    assert list(tool.sections(PAGE)) == tool.LOSSES


@pytest.mark.parametrize("loss", tool.LOSSES)
def test_no_row_is_missing_or_stale(loss):
    section = tool.sections(PAGE)[loss]
    rows = tool.rows_of(section)
    assert [row[0] for row in rows] == tool.expected(loss)
    assert f"`reflosses audit --as {loss} --system SYSTEM`" in section
    assert re.search(r"Audited on \d{4}-\d\d-\d\d: ", section)
    for name, single, double, errors, place, said, _ in rows:
        assert f"{name.split()[0]} " in section.partition("Audited on")[2].partition("\n")[0], "its version"
        assert set(GRADES) >= {single, double} - {"–"} and single != "–"
        assert re.match(r"(value|gradient|Hessian) \S+", errors) and place.startswith("z = ")
        assert ("should be" in said) == (max({single, double} - {"–"}) > "B"), name


def test_the_summary_counts_the_rows():
    made = tool.sections(PAGE)
    assert tool.counted(made) in PAGE
    assert sum(len(tool.rows_of(x)) for x in made.values()) == sum(len(tool.expected(x)) for x in tool.LOSSES)


def test_a_row_is_made_again():
    if version("sklearn") is None:
        pytest.skip("scikit-learn is not installed")
    (made,) = tool.rows_of(tool.table("binary_cross_entropy", ("sklearn",)))
    (known,) = (x for x in tool.rows_of(tool.sections(PAGE)["binary_cross_entropy"]) if x[0] == made[0])
    assert made[:2] == known[:2] == ["sklearn HalfBinomialLoss", "A"]
    assert "should be 9.237" in made[5]


def test_links_say_whose_they_are():
    finding = {"name": "probability-minus-one", "link": f"{tool.GIT}pytorch/pytorch/issues/195678"}
    assert tool.thread("torch", finding) == f"[pytorch/pytorch#195678]({finding['link']})"
    assert tool.thread("optax", finding) == f"the same in [pytorch/pytorch#195678]({finding['link']})"
    assert tool.thread("xgboost", finding).startswith("[dmlc/xgboost#2955]")
    assert tool.thread("optax", {"name": "digits-lost", "link": None}) == ""
