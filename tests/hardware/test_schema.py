"""The JSON Schema says what the loader accepts, and the loader what the schema says."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from efficiency_cli.graph.model import DType, OpClass
from efficiency_cli.hardware.kinds import (
    ATTENTION_VARIANTS,
    DENSE_VARIANTS,
    DTYPES,
    EFFICIENCY_KEYS,
    KIND_PATTERN,
    OP_CLASSES,
    SAME_PEAK,
)
from efficiency_cli.hardware.load import profile_ids, shipped_dir
from efficiency_cli.hardware.schema import profile_schema

VALIDATOR = jsonschema.Draft202012Validator(profile_schema())


def plain(name: str) -> Any:
    return yaml.safe_load((shipped_dir() / f"{name}.yaml").read_text(encoding="utf-8"))


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(profile_schema())


@pytest.mark.parametrize("name", profile_ids())
def test_shipped_profiles_satisfy_the_schema(name: str) -> None:
    assert [e.message for e in VALIDATOR.iter_errors(plain(name))] == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("class",), "toaster"),
        (("schema_version",), 2),
        (("extra",), 1),
        (("compute", "int9"), {}),
        (("compute", "int8", "matrix", "kind"), "guess"),
        (("runtimes", "x-cube-ai", "fusion"), ["everything"]),
        (("memory",), {}),
        (("clock",), "480 MHz"),
    ],
)
def test_what_loading_refuses_the_schema_refuses(path: tuple[str, ...], value: object) -> None:
    data = copy.deepcopy(plain("cortex-m7"))
    node = data
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    assert list(VALIDATOR.iter_errors(data))


@pytest.mark.parametrize(
    ("change", "fine"),
    [
        ({"memory": {"sram": {"size": {"value": "1 MiB", "source": "ds", "kind": "datasheet"}}}}, True),
        ({"runtimes": {"plumerai": {"scale": 2}}}, False),
        ({"memory": {"sram": {"sise": {}}}}, False),
        ({"class": "toaster"}, False),
    ],
)
def test_below_a_base_parts_may_be_left_out_and_must_be_right(change: dict[str, Any], fine: bool) -> None:
    data = {"schema_version": 1, "base": "cortex-m7", "sources": {"ds": "a data sheet"}, **change}
    assert (not list(VALIDATOR.iter_errors(data))) is fine
    del data["base"]
    assert list(VALIDATOR.iter_errors(data))


def test_every_key_is_described() -> None:
    runtime = profile_schema()["else"]["properties"]["runtimes"]["additionalProperties"]
    assert all("description" in p for p in runtime["properties"].values())
    assert [set(one["required"]) for one in runtime["anyOf"]] == [{"base"}, {"name", "grade", "overlap"}]


def test_element_types_and_operator_classes_are_the_graphs() -> None:
    known = {*DTYPES, *SAME_PEAK}
    assert {str(d) for d in DType} - known == {"string"}
    assert set(OP_CLASSES) == {str(c) for c in OpClass}
    assert set(EFFICIENCY_KEYS) == {
        *(*OP_CLASSES, *DENSE_VARIANTS, *ATTENTION_VARIANTS, "memory"),
        *("depthwise-1d", "depthwise-3d", "unblocked-depthwise", "unblocked-grouped"),
        *("unblocked-convolution", "unblocked-pointwise", "unblocked-first-layer"),
        *("general-transpose", "linear-resize", "cubic-resize"),
    }


@pytest.mark.parametrize(
    "kind", ["uint8-convolution", "uint4-gemm", "int8-Softmax", "packed8-gemv", "unblocked-depthwise"]
)
def test_kinds_of_types_and_operators(kind: str) -> None:
    assert re.fullmatch(KIND_PATTERN, kind)


@pytest.mark.parametrize("kind", ["ufloat32-gemm", "uint8-", "uint8", "uuint8-gemm", "gemms"])
def test_no_kind(kind: str) -> None:
    assert not re.fullmatch(KIND_PATTERN, kind)


def test_the_folder_is_the_repositorys() -> None:
    assert shipped_dir() == Path(__file__).resolve().parents[2] / "hardware_profiles"
