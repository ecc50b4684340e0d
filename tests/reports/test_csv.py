"""CSV reads back with the sums it was written from; no cell runs."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from estimates import HOSTILE, VWW, hostile, sample

from efficiency_cli.reports import GROUPS, View, render

ALL = View(top=None, sort="order")


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("group", GROUPS)
def test_numbers_survive(group: str) -> None:
    estimate = sample(VWW, "cortex-m7")
    rows = read(render("csv", [estimate], View(top=None, group=group)))
    assert sum(int(r["macs"]) for r in rows) == 7_489_664
    assert sum(int(r["ops"]) for r in rows) == estimate.totals.ops
    expected = sum(t.times.expected_s for t in estimate.times)
    assert sum(float(r["time_s"]) for r in rows) == pytest.approx(expected)


def test_kernels_are_exact() -> None:
    estimate = sample(VWW, "cortex-m7")
    rows = read(render("csv", [estimate], ALL))
    assert [r["name"] for r in rows] == [k.name for k in estimate.kernels]
    assert [float(r["time_s"]) for r in rows] == [t.times.expected_s for t in estimate.times]
    assert [int(r["bytes_moved"]) for r in rows] == [k.bytes_moved for k in estimate.kernels]


def test_without_a_machine_times_are_empty() -> None:
    rows = read(render("csv", [sample(VWW)], ALL))
    assert {(r["hardware"], r["time_s"], r["bound"]) for r in rows} == {("", "", "")}


def test_several_machines_share_one_header() -> None:
    rows = read(render("csv", [sample(VWW, "cortex-m7"), sample(VWW, "rtx-4090")], ALL))
    assert {r["hardware"] for r in rows} == {"cortex-m7", "rtx-4090"}
    assert sum(int(r["macs"]) for r in rows) == 2 * 7_489_664


def test_hostile_names_neither_run_nor_break_lines(tmp_path: Path) -> None:
    text = render("csv", [hostile(tmp_path)], ALL)
    rows = read(text)
    assert len(rows) == len(HOSTILE) + 1
    assert len(text.splitlines()) == len(rows) + 1
    for row in rows:
        for key in ("name", "op", "model"):
            assert not row[key].startswith(("=", "+", "-", "@", "\t", "\r"))
            assert row[key].isprintable()
    names = [r["name"] for r in rows]
    assert "'=cmd()" in names
    assert HOSTILE[-1] in names
    assert 'quote","comma' in names


def test_only_the_rows_asked_for() -> None:
    rows = read(render("csv", [sample(VWW, "cortex-m7")], View(top=2)))
    assert len(rows) == 2
