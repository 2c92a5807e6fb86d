"""A report as JUnit's XML, which continuous integration shows as tests."""

import re
from xml.etree import ElementTree

from ..spelling import spelled
from .sentences import findings

ILLEGAL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")  # in XML


def junit(report, grade):
    """Return the XML of a report: verdicts are tests, those worse than a grade failed."""
    suites = ElementTree.Element("testsuites", name="reflosses audit")
    suite = ElementTree.SubElement(suites, "testsuite", name="reflosses audit", tests=str(len(report.verdicts)))
    suite.set("failures", str(sum(x.grade > grade for x in report.verdicts)))
    for verdict in report.verdicts:
        name = f"{verdict.system} {verdict.name}".strip()
        title = f"{spelled(verdict.loss)} in {verdict.dtype}"
        case = ElementTree.SubElement(suite, "testcase", classname=name, name=title)
        if verdict.grade > grade:
            said = [x for group in findings([verdict]) for x in group.findings]
            failure = ElementTree.SubElement(case, "failure", type=f"grade {verdict.grade}")
            failure.set("message", f"grade {verdict.grade}, {grade} is wanted")
            failure.text = "\n\n".join("\n".join([x.sentence, *x.snippet]) for x in said)
    ElementTree.indent(suites)
    return ILLEGAL.sub("?", ElementTree.tostring(suites, encoding="unicode", xml_declaration=True)) + "\n"
