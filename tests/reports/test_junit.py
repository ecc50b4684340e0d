"""JUnit XML holds to what Jenkins' junit-10.xsd (xunit-plugin) says, written down here as a table, and to what
GitLab's reader takes: names, class names, failures with text.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from verdicts import hostile, verdict

from efficiency_cli.judge.verdict import Verdict
from efficiency_cli.reports.junit import junit_of

# element -> attributes that must be there, that may be there, and elements that may be inside
XSD = {
    "testsuites": (set(), {"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors"},
        {"group", "time", "skipped", "timestamp", "hostname", "id", "package", "file", "log", "url"},
        {"testsuite", "properties", "testcase", "system-out", "system-err"},
    ),
    "properties": (set(), set(), {"property"}),
    "property": ({"name", "value"}, set(), set()),
    "testcase": (
        {"name"},
        {"time", "classname", "group"},
        {"skipped", "error", "failure", "system-out", "system-err"},
    ),
    "failure": (set(), {"type", "message"}, set()),
    "error": (set(), {"type", "message"}, set()),
    "skipped": (set(), {"type", "message"}, set()),
    "system-out": (set(), set(), set()),
}
MIXED = {"failure", "error", "skipped", "system-out"}


def check(element: ET.Element) -> None:
    required, optional, inside = XSD[element.tag]
    assert required <= set(element.attrib) <= required | optional, element.tag
    assert {child.tag for child in element} <= inside, element.tag
    assert element.tag in MIXED or not (element.text or "").strip()
    for child in element:
        assert not (child.tail or "").strip()
        check(child)


@pytest.mark.parametrize("found", [verdict(), hostile(), Verdict(())], ids=["all", "hostile", "none"])
def test_it_holds_to_the_schema(found):
    root = ET.fromstring(junit_of(found))
    assert root.tag == "testsuites"
    check(root)


def test_the_table_bites():
    root = ET.fromstring(junit_of(verdict()))
    root.set("skipped", "1")
    with pytest.raises(AssertionError):
        check(root)


@pytest.mark.parametrize("found", [verdict(), hostile()], ids=["all", "hostile"])
def test_sums_are_those_of_the_cases(found):
    root = ET.fromstring(junit_of(found))
    for suite in root:
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.get(name)) == len(suite.findall(f"testcase/{tag}")), (suite.get("name"), tag)
        assert int(suite.get("tests")) == len(suite.findall("testcase"))
    for name in ("tests", "failures", "errors"):
        assert int(root.get(name)) == sum(int(suite.get(name)) for suite in root)


def test_a_failure_says_how_much_why_and_what_to_do():
    root = ET.fromstring(junit_of(verdict()))
    failure = root.find("testsuite/testcase/failure")
    assert failure.get("message") == "latency is 9.00 ms, 1.00 ms over (12.5 %); at most 8ms is allowed"
    assert "/conv (Conv): 4.00 ms → 6.00 ms (+2.00 ms)" in failure.text
    assert "to accept: raise it to 9.00 ms at ci/effcli.yaml:9:7" in failure.text
    assert "ask first" in failure.text
    assert "WARN: flash" in root.find("testsuite/testcase/system-out").text


def test_hostile_text_is_shown_and_never_acts():
    text = junit_of(hostile())
    assert all(c.isprintable() or c == "\n" for c in text)
    root = ET.fromstring(text)
    shown = root.find("testsuite").get("name")
    assert shown.startswith("\\x1b[31m\\x0a::error::x ]]>|</code><script>@someone #1 \\u202e")
    assert not list(root.iter("script"))


def test_the_same_verdict_has_the_same_bytes():
    assert junit_of(verdict()) == junit_of(verdict())
    assert "time" not in junit_of(verdict())
