"""The section of --memory: lines, the chart at any width, what is alive at the peak."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from estimates import HOSTILE, VWW, hostile, sample
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from efficiency_cli.hardware.profile import DEFAULT_MEMORY
from efficiency_cli.reports import memory, render
from efficiency_cli.reports.view import View
from efficiency_cli.roofline.estimate import Estimate
from efficiency_cli.roofline.memory.flash import Flash
from efficiency_cli.roofline.memory.footprint import Footprint, Ram, footprint_of
from efficiency_cli.roofline.memory.live import Block
from efficiency_cli.roofline.memory.plan import Plan, planned
from efficiency_cli.roofline.memory.policy import Needs

# 48 x 48 in 8 channels become 16
PEAK = 48 * 48 * (8 + 16)


def with_memory(estimate: Estimate, order: str = "file") -> Estimate:
    return replace(estimate, memory=footprint_of(estimate, order))


def text(estimate: Estimate, **view: object) -> str:
    return render("table", [with_memory(estimate)], View(**view), "analyze")  # type: ignore[arg-type]


def section(shown: str) -> list[str]:
    lines = shown.splitlines()
    return lines[next(k for k, line in enumerate(lines) if line.startswith("Memory over the schedule")) :]


def footprint(needed: list[int]) -> Footprint:
    """One that only has what the chart shows."""
    none = Plan(0, 0, ())
    flash = Flash({}, 0, 0, 0, 0.0, 0)
    needs = Needs((), (), tuple(needed))
    return Footprint((), "file", 0, DEFAULT_MEMORY.overwrites, needs, none, Ram(0, 0, 0), 0.0, flash, ())


def test_the_first_screen_is_the_same_without() -> None:
    plain = render("table", [sample(VWW, "cortex-m7")], View(), "analyze")
    assert text(sample(VWW, "cortex-m7")).startswith(plain)
    assert "over the schedule" not in plain


def test_what_is_told() -> None:
    shown = "\n".join(section(text(sample(VWW, "cortex-m7"))))
    for said in (
        "RAM",
        "Arena",
        "36.4 KiB",
        "Stored",
        "int8 weights 203 KiB",
        "biases 10.7 KiB",
        "sram",
        "flash",
        "fits",
    ):
        assert said in shown, said
    assert "peak at /blocks/blocks.0/pointwise/Conv" in shown


def test_without_a_machine_every_buffer_is_on_its_own() -> None:
    shown = "\n".join(section(text(sample(VWW))))
    assert "54.0 KiB, the least possible" in shown
    assert "nothing overwritten" in shown


@pytest.mark.parametrize("width", [40, 60, 80, 140, None])
@pytest.mark.parametrize("unicode", [True, False])
def test_no_line_is_longer_than_the_terminal(width: int | None, unicode: bool) -> None:
    lines = section(text(sample(VWW, "cortex-m7"), width=width, unicode=unicode))
    assert width is None or max(map(len, lines)) <= max(width, 60)
    if not unicode:
        assert all(line.isascii() for line in lines)


def test_the_peak_is_marked_below_its_bar() -> None:
    lines = section(text(sample(VWW, "cortex-m7"), width=80))
    rows = [line for line in lines if "│" in line]
    axis = next(line for line in lines if "▲" in line)
    assert len(rows) == memory.CHART_ROWS
    assert rows[0][axis.index("▲")] == "█"
    assert "36.4 KiB" in rows[0]
    assert "18.2 KiB" in rows[memory.CHART_ROWS // 2]


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=500), st.integers(20, 200), st.booleans())
def test_any_schedule_has_bars_that_fit(needed: list[int], width: int, unicode: bool) -> None:
    bars = memory.bars_of(footprint(needed), width, unicode)
    if not max(needed):
        assert bars is None
        return
    assert bars is not None
    assert all(len(row) <= width for row in (*bars.rows, bars.axis))
    peak = bars.axis.index("▲" if unicode else "^")
    assert bars.rows[0][peak] == ("█" if unicode else "#")
    assert bars.axis.count("▲" if unicode else "^") == 1


def test_a_bar_of_many_kernels_is_the_largest_of_them() -> None:
    needed = [1] * 1000
    needed[777] = 100
    bars = memory.bars_of(footprint(needed), 60, unicode=False)
    assert bars is not None
    assert bars.rows[0].count("#") == 1


def test_a_little_is_not_shown_as_nothing() -> None:
    for unicode, sign in ((True, "▁"), (False, ".")):
        bars = memory.bars_of(footprint([1000, 1, 0]), 20, unicode)
        assert bars is not None
        wide = (20 - 12) // 3
        assert bars.rows[-1].endswith(sign * wide)


def test_nothing_to_show() -> None:
    assert memory.bars_of(footprint([]), 80, unicode=True) is None
    assert memory.bars_of(footprint([5]), 8, unicode=True) is None


def test_names_are_shown_escaped(tmp_path: Path) -> None:
    shown = text(hostile(tmp_path), top=None)
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert all(len(line) < 1000 for line in shown.splitlines())
    assert len(HOSTILE[-1]) == 10_000


@pytest.mark.parametrize(("size", "room"), [(1, 1), (2, 2), (3, 4), (1024, 1024), (1025, 2048), (100.5, 128)])
def test_the_memory_to_buy(size: float, room: int) -> None:
    assert memory.smallest_power_of_two(size) == room


def test_the_plan_as_rows() -> None:
    plan = planned([Block("graph:a", 2000, 0, 3, "input")], 4, 2000)
    assert memory.plan_rows(plan.placed) == [("a", "input", "0", "2,000", "0 – 3")]


def test_markdown_has_the_section_and_lets_no_name_act(tmp_path: Path) -> None:
    shown = render("markdown", [with_memory(sample(VWW, "cortex-m7"))], View(), "analyze")
    assert "**Memory over the schedule (30 kernels, in the file's order)**" in shown
    assert "| **RAM** |" in shown
    assert "▲" in shown
    assert "| buffer | kind | offset | size | alive at kernels |" in shown
    hostile_text = render("markdown", [with_memory(hostile(tmp_path))], View(), "analyze")
    assert "<script>" not in hostile_text
    assert hostile_text.count("</details>") == 2
    assert "over the schedule" not in render("markdown", [sample(VWW)], View(), "analyze")


# --- JSON ---


def part(estimate: Estimate) -> dict[str, object]:
    return json.loads(render("json", [estimate], View(), "analyze"))["memory"]


def test_json_has_every_buffer() -> None:
    found = part(with_memory(sample(VWW)))
    assert found["arena_bytes"] == found["bound_bytes"] == found["ram_bytes"] == PEAK
    assert found["peak_at"] == "/blocks/blocks.0/pointwise/Conv"
    buffers = found["buffers"]
    assert isinstance(buffers, list)
    for b in buffers:
        assert 0 <= b["offset"] <= b["offset"] + b["size"] <= PEAK
        assert 0 <= b["first"] <= b["last"] < 30
    # the input, what every kernel but the last makes, and the output
    assert len(buffers) == 1 + 29 + 1
    at = found["peak_step"]
    assert sum(b["size"] for b in buffers if b["first"] <= at <= b["last"]) == PEAK


def test_json_says_null_where_memory_was_not_asked_for() -> None:
    assert part(sample(VWW)) is None


def test_the_same_input_gives_the_same_plan() -> None:
    first, second = (part(with_memory(sample(VWW, "cortex-m7"), "best")) for _ in range(2))
    assert first == second
