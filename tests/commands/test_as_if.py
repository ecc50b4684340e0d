"""--dtype, --weight-bits and --activation-bits on the command line."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from efficiency_cli.commands import as_if
from efficiency_cli.graph import retype

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
FLOAT = SAMPLES / "ad_autoencoder_float.onnx"
# 640-128-128-128-128-8-128-128-128-128-640, as samples/README.md has it
LAYERS = (640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640)
WEIGHTS = sum(a * b for a, b in pairwise(LAYERS))


def totals(effcli, *arguments):
    return json.loads(effcli("analyze", FLOAT, "-f", "json", *arguments).out)["totals"]


def test_the_words_are_those_of_the_graph():
    assert tuple(t.value for t in retype.CHOICES) == as_if.NAMES
    assert tuple(int(b) for b in as_if.BITS) == tuple(retype.TYPE_OF_BITS)
    assert set(as_if._SHORT.values()) <= set(as_if.NAMES)


@pytest.mark.parametrize(
    ("options", "weight_bits", "vector_bytes", "statistic_bytes", "dtype"),
    [
        (["--dtype", "int8"], 8, 4, 1, "int8"),
        (["--dtype", "FP16"], 16, 2, 2, "float16"),
        (["--weight-bits", "4"], 4, 4, 4, "float32"),
        (["--weight-bits", "4", "--activation-bits", "16"], 4, 2, 2, "float16"),
        (["--dtype", "bf16", "--weight-bits", "8"], 8, 2, 2, "bfloat16"),
        (["--dtype", "bf16", "--weight-bits", "16"], 16, 2, 2, "bfloat16"),
    ],
)
def test_weights_and_arithmetic(effcli, options, weight_bits, vector_bytes, statistic_bytes, dtype):
    stored, found = totals(effcli), totals(effcli, *options)
    assert found["macs"] == stored["macs"] == WEIGHTS
    vectors, statistics = stored["parameters"] - WEIGHTS, stored["auxiliary_parameters"]
    expected = WEIGHTS * weight_bits // 8 + vectors * vector_bytes + statistics * statistic_bytes
    assert found["weight_bytes"] == expected
    assert set(found["ops_by_dtype"]) == {dtype}


def test_it_is_told(effcli):
    result = effcli("analyze", FLOAT, "--dtype", "int8", "--hw", "cortex-m7")
    assert "note: counted as if in other types than stored: weights int8, activations int8\n" in result.err
    assert "int8" in result.out.splitlines()[0]


def test_no_such_type(effcli):
    result = effcli("analyze", FLOAT, "--dtype", "int9")
    assert result.code == 2
    assert "--dtype: 'int9' is not a type that a network can be taken in" in result.err
    assert "did you mean" in result.err
    assert effcli("analyze", FLOAT, "--weight-bits", "5").code == 2


def test_one_node_too(effcli):
    found = json.loads(effcli("explain", FLOAT, "#0", "--hw", "a100", "--dtype", "int8", "-f", "json").out)
    assert '"int8"' in json.dumps(found)
