"""SARIF holds to a schema of the part of SARIF 2.1.0 that is written, with nothing beside it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from verdicts import hostile, verdict

from efficiency_cli.judge.verdict import Verdict
from efficiency_cli.reports.sarif import sarif_of

jsonschema = pytest.importorskip("jsonschema")


def exactly(required: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


TEXT = {"type": "string", "minLength": 1}
MESSAGE = exactly("text", text=TEXT)
# sections 3.13, 3.14, 3.19, 3.27 to 3.30 and 3.49 of the specification
SCHEMA = exactly(
    "version runs",
    **{
        "$schema": {"type": "string", "format": "uri"},
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "items": exactly(
                "tool results",
                tool=exactly(
                    "driver",
                    driver=exactly(
                        "name",
                        name=TEXT,
                        version=TEXT,
                        semanticVersion={"pattern": r"^\d+\.\d+\.\d+"},
                        rules={
                            "type": "array",
                            "uniqueItems": True,
                            "items": exactly("id", id=TEXT, shortDescription=MESSAGE),
                        },
                    ),
                ),
                columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                results={
                    "type": "array",
                    "items": exactly(
                        "message",
                        ruleId=TEXT,
                        ruleIndex={"type": "integer", "minimum": 0},
                        level={"enum": ["none", "note", "warning", "error"]},
                        message=MESSAGE,
                        locations={
                            "type": "array",
                            "minItems": 1,
                            "items": exactly(
                                "physicalLocation",
                                physicalLocation=exactly(
                                    "artifactLocation",
                                    artifactLocation=exactly("uri", uri={"type": "string", "pattern": r"^[!-~]+$"}),
                                    region=exactly(
                                        "startLine",
                                        startLine={"type": "integer", "minimum": 1},
                                        startColumn={"type": "integer", "minimum": 1},
                                    ),
                                ),
                            ),
                        },
                        partialFingerprints={"type": "object", "additionalProperties": TEXT},
                    ),
                },
            ),
        },
    },
)


@pytest.mark.parametrize("found", [verdict(), hostile(), Verdict(())], ids=["all", "hostile", "none"])
def test_it_holds_to_the_schema(found):
    text = sarif_of(found)
    assert text.isascii()
    log = json.loads(text)
    jsonschema.validate(log, SCHEMA)
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert all(rules[r["ruleIndex"]]["id"] == r["ruleId"] for r in run["results"])
    assert len({r["id"] for r in rules}) == len(rules)


def test_what_fails_warns_or_cannot_be_judged_is_a_result():
    results = json.loads(sarif_of(verdict()))["runs"][0]["results"]
    assert [(r["ruleId"], r["level"]) for r in results] == [
        ("latency", "error"),
        ("flash", "warning"),
        ("latency_increase", "error"),
        ("energy_increase", "warning"),
        ("latency_increase", "error"),
        ("strict", "error"),
        ("estimate", "error"),
    ]
    place = results[0]["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "ci/effcli.yaml"}, "region": {"startLine": 9, "startColumn": 7}}
    assert results[-1]["locations"][0]["physicalLocation"]["region"]["startLine"] == 20
    assert results[0]["message"]["text"].startswith("models/a.onnx on board: latency is 9.00 ms")


def test_fingerprints_tell_results_apart_and_stay_when_figures_change():
    found = json.loads(sarif_of(verdict()))["runs"][0]["results"]
    prints = [r["partialFingerprints"]["effcli/v1"] for r in found]
    assert len(set(prints)) == len(prints)
    assert not any(c in " ".join(prints) for c in ("9.00", "ms"))
