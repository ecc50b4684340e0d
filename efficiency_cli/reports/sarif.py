"""A Verdict as SARIF 2.1.0, for GitHub's code scanning and editors: a result for everything that does not pass.

It stands at the budget in the config, which is text; a model is none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from efficiency_cli import __version__
from efficiency_cli.judge.gauge import NAMES
from efficiency_cli.judge.verdict import Finding, Result, Verdict
from efficiency_cli.reports.escape import escaped
from efficiency_cli.reports.github import place_of
from efficiency_cli.reports.verdict_words import accept_of, sentence, why_lines

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_ESTIMATE = "estimate"
_STRICT = "strict"
_LEVEL = {"fail": "error", "warn": "warning", "skip": "error"}


def sarif_of(verdict: Verdict) -> str:
    results = [r for result in verdict.results for r in _of_result(result, verdict)]
    used = list(dict.fromkeys(r["ruleId"] for r in results))
    for result in results:
        result["ruleIndex"] = used.index(result["ruleId"])
    driver = {
        "name": "effcli",
        "version": __version__,
        "semanticVersion": __version__,
        "rules": [{"id": rule, "shortDescription": {"text": _described(rule)}} for rule in used],
    }
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _described(rule: str) -> str:
    if rule == _ESTIMATE:
        return "a model that cannot be estimated"
    if rule == _STRICT:
        return "an estimate that is not complete"
    gauge, relative = NAMES[rule]
    return f"{gauge.doc}, against the baseline" if relative else gauge.doc


def _of_result(result: Result, verdict: Verdict) -> Iterator[dict[str, Any]]:
    name = f"{result.path} on {result.machine}" if result.machine else result.path
    if result.error is not None:
        place = result.error.where[0] if result.error.where else ""
        lines = [f"{name}: {result.error.what}", *result.error.where, result.error.hint]
        yield _result(_ESTIMATE, "error", lines, place, result)
    for finding in result.findings:
        if finding.status in ("fail", "warn") or finding.inconclusive:
            lines = [f"{name}: {sentence(finding)}", *why_lines(finding), *_advice(finding, verdict)]
            yield _result(finding.budget.name, _LEVEL[finding.status], lines, finding.budget.place, result)
    for gap in result.gaps:
        yield _result(_STRICT, "error", [f"{name}: {gap}"], "", result)


def _advice(finding: Finding, verdict: Verdict) -> Iterator[str]:
    accept = accept_of(finding, verdict)
    if accept:
        yield f"to accept: {accept}"
    yield finding.budget.message


def _result(rule: str, level: str, lines: list[str], place: str, result: Result) -> dict[str, Any]:
    text = "\n".join(escaped(line) for line in lines if line)
    # a result is the same one in the next run if it is of the same rule, model and machine
    own = {"effcli/v1": escaped(f"{rule} {result.path} {result.machine}").strip()}
    return {
        "ruleId": rule,
        "level": level,
        "message": {"text": text},
        "locations": [{"physicalLocation": _location(place, result.path)}],
        "partialFingerprints": own,
    }


def _location(place: str, model: str) -> dict[str, Any]:
    found = place_of(place)
    if found is None:
        return {"artifactLocation": {"uri": _uri(model)}}
    path, line, column = found
    return {"artifactLocation": {"uri": _uri(path)}, "region": {"startLine": line, "startColumn": column}}


def _uri(path: str) -> str:
    return quote(PurePath(path).as_posix(), safe="/-._~", errors="backslashreplace")
