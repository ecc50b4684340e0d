"""Every graph that real exporters wrote analyses, with the MACs that PyTorch counts (skipped where they are absent)."""

from __future__ import annotations

import csv
import json
from functools import cache
from pathlib import Path

import onnx
import pytest

import efficiency_cli as eff

MODELS = Path(__file__).resolve().parents[2] / "shared" / "models"
TOLERANCE = 0.005
# tokens in the cache where a row of the table does not say (the other decoders' rows do)
PAST = 128

# The exporter computed the first step on its own: the product with the initial state, which is zero, is gone.
NAMED = {"rnn_tanh.dynamo.onnx": -64 * 64}


def gpt2(tokens: int, keys: int) -> int:
    """4 layers of 768, 8,000 words: projections and feed-forward 12·d² a token, scores and their use 2·d a pair."""
    return tokens * (4 * 12 * 768**2 + 8000 * 768) + 4 * 2 * tokens * keys * 768


def llama(tokens: int, keys: int) -> int:
    """6 layers of 288 with a gated feed-forward of 768, 32,000 words."""
    return tokens * (6 * (4 * 288**2 + 3 * 288 * 768) + 32000 * 288) + 6 * 2 * tokens * keys * 288


# the table has no count for these: by hand
BY_HAND = {
    **{f"gpt2_small4.hfgen{kind}_prefill.onnx": gpt2(128, 128) for kind in ("", "_cpu", "_cuda")},
    **{f"gpt2_small4.hfgen{kind}_decode.onnx": gpt2(1, PAST + 1) for kind in ("", "_cpu", "_cuda")},
    **{f"llama_15m.hfgen{kind}_prefill.onnx": llama(128, 128) for kind in ("", "_cpu", "_cuda")},
    **{f"llama_15m.hfgen{kind}_decode.onnx": llama(1, PAST + 1) for kind in ("", "_cpu", "_cuda")},
    "llama_15m.gqa_nb4.onnx": llama(1, PAST + 1),
}


@cache
def table() -> dict[str, dict[str, str]]:
    path = MODELS / "reference.csv"
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def read(name: str) -> eff.Model:
    """The model with its inputs as the table was made with, by position."""
    path = MODELS / name
    graph = onnx.load(path, load_external_data=False).graph
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in stored]
    if "decode" in name or "gqa" in name:  # their rows repeat the prefill's inputs
        return eff.read_model(str(path), dims={"s16": PAST})
    shapes = [shape for _, shape in json.loads(table()[name]["inputs"])]
    return eff.read_model(str(path), shapes={v.name: s for v, s in zip(inputs, shapes, strict=True)})


@pytest.mark.skipif(not table(), reason="needs ../shared/models")
def test_the_table_and_the_folder_agree() -> None:
    assert sorted(path.name for path in MODELS.glob("*.onnx")) == sorted(table())
    assert len(table()) == 183


@pytest.mark.parametrize(
    "name", sorted(table()) or [pytest.param("", marks=pytest.mark.skip("needs ../shared/models"))]
)
def test_a_real_export(name: str) -> None:
    result = eff.estimate(read(name), eff.load_profile("cortex-m7"))
    expected = BY_HAND.get(name) or int(float(table()[name]["macs_flopcounter"])) + NAMED.get(name, 0)
    assert result.totals.macs == pytest.approx(expected, rel=TOLERANCE if name not in NAMED else 0)
    assert (result.coverage.unmodelled, result.coverage.unknown_shapes) == ((), ())
    assert result.latency is not None
    assert 0 < result.latency.bound_s <= result.latency.expected_s
