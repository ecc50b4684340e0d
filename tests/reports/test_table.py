"""The first screen: it fits, it answers, nothing hostile acts, a pipe loses nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from estimates import HOSTILE, MOBILENET, VWW, hostile, sample
from rich.cells import cell_len

from efficiency_cli.hardware.load import profile_ids
from efficiency_cli.quantity import format_bytes, format_time
from efficiency_cli.reports import GROUPS, View, render

SAMPLES = [VWW, MOBILENET, "resnet50.onnx", "kws_dscnn_float.onnx", "ad_autoencoder_int8.onnx"]


def lines(text: str) -> list[str]:
    assert text.endswith("\n")
    return text[:-1].split("\n")


@pytest.mark.parametrize("width", [60, 80, 140, None])
@pytest.mark.parametrize("hardware", ["cortex-m7", "rtx-4090", None])
@pytest.mark.parametrize("model", SAMPLES)
def test_the_first_screen_fits(model: str, hardware: str | None, width: int | None) -> None:
    drawn = lines(render("table", [sample(model, hardware)], View(width=width)))
    assert len(drawn) <= 24
    assert all(cell_len(line) <= (width or 10_000) for line in drawn)
    assert not any(line.endswith(" ") for line in drawn)


@pytest.mark.parametrize("hardware", profile_ids())
def test_it_fits_on_every_machine(hardware: str) -> None:
    for model in ("resnet50.onnx", VWW):
        drawn = lines(render("table", [sample(model, hardware)], View(width=60)))
        assert len(drawn) <= 24
        assert max(map(cell_len, drawn)) <= 60


@pytest.mark.parametrize("width", [1, 10, 20, 40, 60, 100])
@pytest.mark.parametrize("unicode", [True, False])
@pytest.mark.parametrize("group", GROUPS)
def test_hostile_names_stay_within_any_width_that_holds_the_columns(
    tmp_path: Path, width: int, unicode: bool, group: str
) -> None:
    text = render("table", [hostile(tmp_path)], View(top=None, width=width, unicode=unicode, group=group))
    assert "\x1b" not in text
    if width >= 40:
        assert max(cell_len(line) for line in lines(text)) <= width
    if not unicode:
        assert text.isascii()


def test_the_answer_comes_first() -> None:
    estimate = sample(VWW, "cortex-m7")
    header, _, latency, trust, work, *_ = lines(render("table", [estimate], View()))
    assert header.startswith(estimate.model.path + " on cortex-m7: Cortex-M7")
    assert header.endswith(", int8")
    assert "X-CUBE-AI" in header
    assert latency.split("   ")[0].strip() == "Latency"
    assert format_time(estimate.latency.expected_s) in latency
    assert format_time(estimate.latency.upper_s) in latency
    assert "inferences/s" in latency
    assert "80 % of runs" in trust
    assert f"bound {format_time(estimate.latency.bound_s)}" in trust
    assert "7.49 M MACs" in work


def test_how_far_to_trust_it() -> None:
    assert "calibrated on" in render("table", [sample(VWW, "cortex-m7")], View())
    assert "calibrated in int8, not in float32" in render(
        "table", [sample("vww_mobilenetv1_float.onnx", "cortex-m7")], View()
    )
    assert "datasheet, not calibrated" in render("table", [sample(VWW, "rtx-4090")], View())


def test_a_decoder_says_how_large_its_cache_is() -> None:
    dims = {"batch": 1, "sequence": 1, "past_sequence_length": 127, "total_sequence_length": 128}
    estimate = sample("decoder_kv.onnx", "rtx-4090", tuple(dims.items()))
    assert estimate.totals.kv_cache_bytes > 0
    for width in (60, 80, 140):
        text = render("table", [estimate], View(width=width))
        assert len(lines(text)) <= 24
    assert f"KV cache {format_bytes(estimate.totals.kv_cache_bytes)}" in text


def test_what_limits_it_agrees_with_the_shares() -> None:
    for hardware in ("cortex-m7", "rtx-4090"):
        estimate = sample(VWW, hardware)
        share = estimate.share
        shares = {"compute": share.compute, "memory": share.memory, "overhead": share.overhead}
        winner = max(shares, key=lambda name: shares[name])
        assert f"{winner}-bound" in render("table", [estimate], View())


def test_memory_says_what_is_short() -> None:
    # 25.6 M float32 parameters are 97.7 MiB, 95.7 MiB more than the 2 MiB of flash
    text = render("table", [sample("resnet50.onnx", "cortex-m7")], View())
    assert "flash 97.7 MiB of 2.00 MiB" in text
    assert "does not fit:  flash 95.7 MiB short" in text
    assert "fits" in render("table", [sample(VWW, "cortex-m7")], View())


def test_without_a_machine_it_counts_and_says_how_to_get_a_latency() -> None:
    text = render("table", [sample(VWW)], View())
    assert "effcli analyze MODEL --hw cortex-m7" in text
    assert "effcli hw list" in text
    assert "7.49 M MACs" in text
    assert "% of MACs)" in text
    assert "limited by" not in text


def test_the_top_rows_and_their_share() -> None:
    estimate = sample(VWW, "cortex-m7")
    text = render("table", [estimate], View(top=3))
    assert f"(3 of {len(estimate.kernels)} kernels, " in text
    assert text.count("Conv depthwise") + text.count("Conv pointwise") == 3
    everything = render("table", [estimate], View(top=None))
    assert f"({len(estimate.kernels)} of {len(estimate.kernels)} kernels, 100 %)" in everything


def test_a_pipe_loses_nothing(tmp_path: Path) -> None:
    text = render("table", [sample(VWW, "cortex-m7")], View(top=None))
    for kernel in sample(VWW).kernels:
        assert kernel.name in text
    assert "…" not in text
    hostile_text = render("table", [hostile(tmp_path)], View(top=None))
    # only a name longer than any line of text is shortened
    assert hostile_text.count("…") == 1


def test_a_narrow_terminal_keeps_the_tails_and_the_times() -> None:
    text = render("table", [sample(VWW, "cortex-m7")], View(width=60))
    assert re.search(r"…\S*/depthwise/Conv +\S+ k +\S+ ms", text)
    assert "moved" not in text.split("Where the time goes")[1]
    assert "moved" in render("table", [sample(VWW, "cortex-m7")], View()).split("Where the time goes")[1]


def test_color_only_where_asked() -> None:
    plain = render("table", [sample(VWW, "cortex-m7")], View(width=80))
    colored = render("table", [sample(VWW, "cortex-m7")], View(width=80, color=True))
    assert "\x1b" not in plain
    assert "\x1b[" in colored
    assert re.sub(r"\x1b\[[\d;]*m", "", colored) == plain


def test_color_is_ours_alone(tmp_path: Path) -> None:
    colored = render("table", [hostile(tmp_path)], View(top=None, color=True))
    assert set(re.findall(r"\x1b\[[\d;]*.", colored)) <= {f"\x1b[{k}m" for k in (0, 1, 2, "1;31", 32, 33, 35, 36)}
    for name in HOSTILE[:2]:
        assert name in colored


def test_the_environment_has_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    before = render("table", [sample(VWW, "cortex-m7")], View(width=100))
    for name, value in {"FORCE_COLOR": "1", "COLUMNS": "20", "LINES": "3", "TERM": "dumb"}.items():
        monkeypatch.setenv(name, value)
    assert render("table", [sample(VWW, "cortex-m7")], View(width=100)) == before


def test_what_is_not_counted_is_said(tmp_path: Path) -> None:
    text = render("table", [hostile(tmp_path)], View())
    assert "20 of 21 kernels" in text
    assert "operations not counted: [b]dom\\x1b|::=Op()" in text


def test_several_machines_one_after_the_other() -> None:
    estimates = [sample(VWW, "cortex-m7"), sample(VWW, "rtx-4090")]
    together = render("table", estimates, View())
    assert together == "\n".join(render("table", [e], View()) for e in estimates)


def test_verbose_adds_the_machine() -> None:
    text = render("table", [sample(VWW, "cortex-m7")], View(verbose=1, width=60))
    # 4 OP/cycle at 480 MHz
    assert "int8 peak 1.92 GOP/s" in text
    assert "x-cube-ai" in text
