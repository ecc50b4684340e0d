"""--fusion: kernels as another runtime would make them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from efficiency_cli.commands.fusing import patterns_of
from efficiency_cli.errors import UsageError
from efficiency_cli.graph.patterns import PATTERNS, SETS

VWW = Path(__file__).parents[2] / "samples" / "vww_mobilenetv1_int8.onnx"
# 27 convolutions with their activations, pooling, the classifier and Softmax
FUSED, ALONE = 30, 30 + 27


def report(effcli: Any, *more: object) -> Any:
    result = effcli("analyze", VWW, "-f", "json", *more)
    assert result.code == 0
    return json.loads(result.out)


def test_none_makes_each_node_a_kernel(effcli: Any) -> None:
    usual, alone = report(effcli), report(effcli, "--fusion", "none")
    assert usual["totals"]["kernels"] == FUSED
    assert alone["totals"]["kernels"] == ALONE
    assert alone["totals"]["ops"] == usual["totals"]["ops"]
    assert alone["totals"]["bytes_moved"] > usual["totals"]["bytes_moved"]
    assert "each node is a kernel, as asked (--fusion)" in alone["assumptions"]


def test_the_report_says_what_was_fused(effcli: Any) -> None:
    own = report(effcli, "--hw", "cortex-m7")
    assert own["hardware"]["fusion"] == ["fold-batchnorm", "bias", "activation", "pad", "qdq"]
    other = report(effcli, "--hw", "cortex-m7", "--fusion", "onnxruntime")
    assert set(other["hardware"]["fusion"]) == set(SETS["onnxruntime"])
    assert "nodes are grouped into kernels as onnxruntime does, as asked (--fusion)" in other["assumptions"]
    assert "the runtime x-cube-ai was calibrated with its own kernels, not with these" in other["assumptions"]
    assert report(effcli, "--hw", "cortex-m7", "--fusion", "none")["hardware"]["fusion"] == []
    # asked for what it does anyway
    same = report(effcli, "--hw", "cortex-m7", "--fusion", "plumerai")
    assert same["totals"]["latency_s"] == own["totals"]["latency_s"]
    assert not any("calibrated with its own" in a for a in same["assumptions"])


def test_more_kernels_take_longer(effcli: Any) -> None:
    own, alone = report(effcli, "--hw", "cortex-m7"), report(effcli, "--hw", "cortex-m7", "--fusion", "none")
    assert alone["totals"]["latency_s"]["expected"] > own["totals"]["latency_s"]["expected"]
    assert alone["totals"]["latency_s"]["bound"] >= own["totals"]["latency_s"]["bound"]


def test_explain_tells_of_the_kernel_that_was_asked_for(effcli: Any) -> None:
    alone = effcli("explain", VWW, "#3", "--fusion", "none")
    assert (alone.code, "Kernel #3: /blocks/blocks.0/Relu (Relu)" in alone.out) == (0, True)
    assert "each node is a kernel" in alone.err


def test_the_environment(effcli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EFFCLI_FUSION", "none")
    assert report(effcli)["totals"]["kernels"] == ALONE


def test_help_names_every_pattern_and_set(effcli: Any) -> None:
    words = set(re.findall(r"[a-z-]+", effcli("help", "fusion").out))
    assert {*PATTERNS, *SETS} <= words


def test_names() -> None:
    assert patterns_of("none") == ()
    for name, patterns in SETS.items():
        assert set(patterns_of(name)) == set(patterns) <= set(PATTERNS)
    assert set(patterns_of("plumerai")) == {"fold-batchnorm", "bias", "activation", "pad", "qdq"}
    assert set(patterns_of("rtx-4090:pytorch")) == {"bias", "pad", "pointwise", "movement"}


@pytest.mark.parametrize(
    ("word", "what", "hint"),
    [
        ("onxruntime", "no runtime is called 'onxruntime'", "did you mean 'onnxruntime'?"),
        ("pytorch", "'pytorch' does not fuse the same on all machines", "say which: a10:pytorch"),
        ("nowhere:plumerai", "no runtime is called 'nowhere:plumerai'", "plumerai"),
        ("", "no runtime is called ''", "none"),
    ],
)
def test_a_word_that_names_none(effcli: Any, word: str, what: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        patterns_of(word)
    assert what in caught.value.what
    assert hint in str(caught.value.hint)
    result = effcli("analyze", VWW, "--fusion", word)
    assert (result.code, result.out) == (2, "")
    assert what in result.err
