"""`effcli schema`: what other programs check against is what the commands write."""

from __future__ import annotations

import json

import pytest

jsonschema = pytest.importorskip("jsonschema")


@pytest.mark.parametrize("what", ["profile", "report"])
def test_a_schema_is_a_schema(effcli, what):
    schema = json.loads(effcli("schema", what).out)
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("hardware", [[], ["--hw", "cortex-m7"], ["--hw", "cortex-m7,a100"]])
def test_the_report_agrees_with_its_schema(effcli, vww, hardware):
    schema = json.loads(effcli("schema", "report").out)
    jsonschema.validate(json.loads(effcli("analyze", vww, "-f", "json", *hardware).out), schema)


def test_of_what(effcli):
    assert "missing argument" in effcli("schema").err
    result = effcli("schema", "reprt")
    assert result.code == 2
    assert "did you mean 'report'?" in result.err
