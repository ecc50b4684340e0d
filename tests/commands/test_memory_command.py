"""`effcli analyze --memory` and `--order`: arguments to what is printed."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

SAMPLES = Path(__file__).resolve().parents[2] / "samples"


def memory(effcli, *arguments):
    result = effcli("analyze", *arguments, "-f", "json")
    assert result.code == 0, result.err
    return json.loads(result.out)["memory"]


def test_memory_is_told_when_asked_for(effcli, vww):
    assert "Memory over the schedule" in effcli("analyze", vww, "--memory").out
    assert "Memory over the schedule" not in effcli("analyze", vww).out
    assert memory(effcli, vww) is None


def test_what_does_not_fit_says_by_how_much_and_what_would(effcli):
    small = ("--hw", "cortex-m7", "--set", "memory.sram.size=100KiB", "--memory")
    result = effcli("analyze", SAMPLES / "vww_mobilenetv1_float.onnx", *small)
    assert result.code == 0
    assert "short" in result.out
    assert "first " in result.out
    assert "As int8" in result.out
    found = memory(effcli, SAMPLES / "vww_mobilenetv1_float.onnx", *small)
    assert found["fits"] is False
    (sram,) = [level for level in found["levels"] if level["name"] == "sram"]
    assert sram["short_bytes"] == sram["activations"] - 100 * 1024 > 0
    assert sram["kernels_over"] > 0
    int8 = found["what_if"][0]
    assert int8["change"] == "as int8"
    assert int8["fits"] is True
    assert int8["ram_bytes"] < found["ram_bytes"] / 2


def test_smaller_images_and_batches_are_read_again(effcli):
    found = memory(
        effcli,
        *(SAMPLES / "mobilenet_v2.onnx", "--batch", "8", "--hw", "cortex-m7", "--runtime", "tflm-cmsis-nn", "--memory"),
    )
    changes = {w["change"]: w for w in found["what_if"]}
    assert {"as int8", "at batch 1", "at 96x96"} <= set(changes)
    assert changes["at batch 1"]["ram_bytes"] < found["ram_bytes"] / 7
    # 224 x 224 to 96 x 96, to within the last odd row
    assert changes["at 96x96"]["ram_bytes"] == pytest.approx(found["ram_bytes"] * (96 / 224) ** 2, rel=0.02)


def test_standard_input_cannot_be_read_again(effcli, vww, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(vww.read_bytes())))
    found = memory(effcli, "-", "--memory")
    assert found["arena_bytes"] == 48 * 48 * (8 + 16)
    assert found["what_if"] == []


def test_a_server_s_largest_batch_and_context(effcli):
    decoder = SAMPLES / "decoder_kv.onnx"
    asked = (decoder, "--phase", "decode", "--context", "512", "--hw", "a100", "--memory", "--dim", "batch=1")
    found = memory(effcli, *asked)
    largest = {g["what"]: g for g in found["largest"]}
    assert set(largest) == {"context"} or set(largest) == {"batch", "context"}
    context = largest["context"]
    assert context["bytes"] <= context["level_bytes"]
    # the next one does not fit, by the estimate itself
    name, room = context["level"], context["level_bytes"]
    for size, fits in ((context["value"], True), (context["value"] + 1, False)):
        again = memory(effcli, decoder, "--phase", "decode", "--context", str(size), "--hw", "a100", "--memory")
        (level,) = [lv for lv in again["levels"] if lv["name"] == name]
        assert (level["weights"] + level["activations"] <= room) is fits


def test_the_best_order_is_asked_for_with_memory(effcli, vww):
    assert "best order: no better than the file's" in effcli("analyze", vww, "--order", "best").out
    assert memory(effcli, vww, "--order", "best")["order"] == "best"
    assert memory(effcli, vww, "--memory")["order"] == "file"


def test_an_unknown_order(effcli, vww):
    result = effcli("analyze", vww, "--order", "bset")
    assert result.code == 2
    assert "best" in result.err


def test_several_machines(effcli, vww):
    result = effcli("analyze", vww, "--hw", "cortex-m7,a100", "--memory")
    assert result.out.count("Memory over the schedule") == 2
