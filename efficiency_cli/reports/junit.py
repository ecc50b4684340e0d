"""A Verdict as JUnit XML, in the dialect that Jenkins' and GitLab's readers share: a suite a model and machine,
a test case a budget. No times and no dates: the same verdict has the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from efficiency_cli.judge.verdict import Finding, Result, Verdict
from efficiency_cli.reports.escape import escaped
from efficiency_cli.reports.verdict_words import accept_of, limit_of, machine_of, sentence, value_of, why_lines

_NAME = "effcli check"


def junit_of(verdict: Verdict) -> str:
    return "".join(f"{line}\n" for line in _document(verdict))


def _document(verdict: Verdict) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    sums = _sums(verdict.results)
    # Jenkins' schema has no `skipped` here
    del sums["skipped"]
    yield f"<testsuites {_attributes({'name': _NAME, **sums})}>"
    for result in verdict.results:
        yield from _suite(result, verdict)
    yield "</testsuites>"


def _sums(results: tuple[Result, ...]) -> dict[str, str]:
    findings = [f for r in results for f in r.findings]
    errors = sum(r.error is not None for r in results)
    gaps = sum(bool(r.gaps) for r in results)
    return {
        "tests": str(len(findings) + errors + gaps),
        "failures": str(sum(f.status == "fail" for f in findings)),
        "errors": str(errors + gaps + sum(f.inconclusive for f in findings)),
        "skipped": str(sum(f.status == "skip" and not f.inconclusive for f in findings)),
    }


def _suite(result: Result, verdict: Verdict) -> Iterator[str]:
    name = f"{result.path} on {result.machine}" if result.machine else result.path
    sums = _sums((result,))
    yield f"  <testsuite {_attributes({'name': name, **sums})}>"
    if result.snapshot is not None:
        yield "    <properties>"
        told = {"config": verdict.config, "baseline": verdict.baseline, "machine": machine_of(result)}
        for key, value in told.items():
            if value:
                yield f"      <property {_attributes({'name': key, 'value': value})}/>"
        yield "    </properties>"
    for finding in result.findings:
        yield from _case(finding, name, verdict)
    if result.error is not None:
        lines = [*result.error.where, *([f"hint: {result.error.hint}"] if result.error.hint else [])]
        yield from _error_case("estimate", name, result.error.what, lines)
    if result.gaps:
        yield from _error_case("strict", name, "inconclusive", list(result.gaps))
    yield "  </testsuite>"


def _case(finding: Finding, suite: str, verdict: Verdict) -> Iterator[str]:
    budget = finding.budget
    attributes = {"name": f"{budget.name} {limit_of(finding)}", "classname": suite}
    told = sentence(finding)
    if finding.status == "pass":
        yield f"    <testcase {_attributes(attributes)}/>"
        return
    yield f"    <testcase {_attributes(attributes)}>"
    if finding.status == "skip":
        kind = "error" if finding.inconclusive else "skipped"
        extra = {"type": "inconclusive"} if finding.inconclusive else {}
        yield f"      <{kind} {_attributes({'message': told, **extra})}/>"
    elif finding.status == "fail":
        lines = list(_lines(finding, verdict))
        yield f"      <failure {_attributes({'message': told, 'type': budget.name})}>{_text(lines)}</failure>"
    else:
        # JUnit has no warnings: what is allowed passes, and says so
        yield f"      <system-out>{_text([f'WARN: {told}', *_lines(finding, verdict)])}</system-out>"
    yield "    </testcase>"


def _error_case(name: str, suite: str, what: str, lines: list[str]) -> Iterator[str]:
    yield f"    <testcase {_attributes({'name': name, 'classname': suite})}>"
    yield f"      <error {_attributes({'message': what, 'type': name})}>{_text(lines)}</error>"
    yield "    </testcase>"


def _lines(finding: Finding, verdict: Verdict) -> Iterator[str]:
    yield f"{finding.budget.name}: {value_of(finding)}, limit {limit_of(finding)} ({finding.budget.place})"
    yield from why_lines(finding)
    accept = accept_of(finding, verdict)
    if accept:
        yield f"to accept: {accept}"
    if finding.budget.message:
        yield finding.budget.message


def _attributes(pairs: dict[str, str]) -> str:
    return " ".join(f"{name}={quoteattr(escaped(value))}" for name, value in pairs.items())


def _text(lines: list[str]) -> str:
    """XML has no way to hold control characters: they are shown, as everywhere."""
    return escape("\n".join(escaped(line) for line in lines))
