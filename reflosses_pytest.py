"""pytest's plugin of reflosses, apart from the package so that nobody who does not use it pays for importing it."""

from functools import partial

import pytest

GRADES = "A", "B", "C", "D", "F"


def pytest_addoption(parser):
    """Let a run say which grade is good enough."""
    said = "the worst grade that passes the fixture assert_conforms"
    parser.getgroup("reflosses").addoption("--reflosses-grade", choices=GRADES, help=f"{said}, as in the ini file")
    parser.addini("reflosses_grade", f"{said}, A to F", default="B")


@pytest.fixture(scope="session")
def assert_conforms(pytestconfig):
    """Fail unless an implementation of a loss is as good as this run asks: see reflosses.testing.assert_conforms."""
    from reflosses.testing import assert_conforms

    grade = pytestconfig.getoption("reflosses_grade") or pytestconfig.getini("reflosses_grade")
    return partial(assert_conforms, grade=grade)
