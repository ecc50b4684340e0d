"""The JSON Schema says what loading accepts, and refuses what it can of what loading refuses."""

from __future__ import annotations

import jsonschema
import pytest
import yaml
from test_config_file import GOOD, MISTAKES

from efficiency_cli.config.schema import config_schema
from efficiency_cli.judge.gauge import NAMES

VALIDATOR = jsonschema.Draft202012Validator(config_schema())
# what only loading can tell: units of a metric, two places at once, a repeated key
UNSAID = ("version: 2", "context: 5", "latency: 15}", "on: bound", ">= 5 %")


def plain(text):
    """As an editor with YAML 1.2 reads it: there `on` is a word, in 1.1 it is true."""
    return yaml.load(text, Loader=yaml.BaseLoader)  # builds nothing but texts


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(config_schema())


def test_a_config_satisfies_it():
    assert [e.message for e in VALIDATOR.iter_errors(plain(GOOD))] == []


@pytest.mark.parametrize("line", [m[0] for m in MISTAKES if not any(u in m[0] for u in UNSAID)])
def test_what_loading_refuses(line):
    assert list(VALIDATOR.iter_errors(plain(f"version: 1\n{line}\n")))


def test_every_metric_is_described():
    budgets = config_schema()["properties"]["models"]["items"]["properties"]["budgets"]["properties"]
    assert set(budgets) == set(NAMES)
    assert all("unit" in b["description"] for b in budgets.values())


def test_every_key_is_described():
    schema = config_schema()
    for properties in (schema["properties"], schema["properties"]["models"]["items"]["properties"]):
        assert all("description" in p for p in properties.values())
