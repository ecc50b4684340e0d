"""GitHub's annotations, Markdown, bench, CSV and the screen of a verdict: complete, and safe whatever a model wrote."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
from verdicts import HOSTILE, hostile, verdict

from efficiency_cli.judge.verdict import Verdict
from efficiency_cli.reports.bench import bench_of
from efficiency_cli.reports.github import annotations_of
from efficiency_cli.reports.grid import cell_width
from efficiency_cli.reports.verdict import FORMATS, text_of
from efficiency_cli.reports.view import View

COMMAND = re.compile(r"::(error|warning|notice) [a-z]+=[^,:\n]*(,[a-z]+=[^,:\n]*)*::[^\n]*")


@pytest.mark.parametrize("found", [verdict(), hostile()], ids=["all", "hostile"])
def test_every_line_is_one_workflow_command(found):
    lines = annotations_of(found).splitlines()
    assert all(COMMAND.fullmatch(line) for line in lines)
    kinds = [line.split(" ")[0] for line in lines]
    assert kinds == ["::error", "::warning", "::error", "::warning", "::error", "::error", "::error", "::notice"]


def test_a_percent_sign_is_written_as_github_wants():
    first = annotations_of(verdict()).splitlines()[0]
    place = "::error file=ci/effcli.yaml,line=9,col=7"
    assert first.startswith(f"{place},title=latency of models/a.onnx on board::latency is")
    assert "(12.5 %25)" in first
    assert re.search(r"%(?!25|0A|3A|2C)", first) is None


def test_markdown_shows_what_failed_and_folds_the_rest():
    text = text_of("markdown", verdict(), View())
    assert text.startswith("### ❌ effcli check: 1 could not be checked, 2 failed, 2 warned, 2 skipped, 1 passed\n")
    assert "| ❌ FAIL | latency | **9.00 ms** | &lt;= 8ms | 1.00 ms over (12.5 %) |" in text
    assert text.count("<details") == text.count("</details>")


def test_markdown_of_what_passes_is_one_fold():
    whole = verdict()
    quiet = Verdict(tuple(r for r in whole.results[:1]))
    from msgspec.structs import replace

    passing = replace(quiet.results[0], findings=quiet.results[0].findings[2:3], before=None)
    text = text_of("markdown", Verdict((passing,)), View())
    assert text.startswith("### ✅ effcli check: 1 passed\n")
    assert "<details><summary>1 that pass" in text


def test_hostile_text_does_nothing_in_markdown():
    text = text_of("markdown", hostile(), View())
    assert "<script" not in text
    assert "@someone" not in re.sub(r"<code>.*?</code>", "", text)
    assert "\x1b" not in text
    # no text leaves its cell or its code
    assert text.count("<code>") == text.count("</code>")
    table_rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert {line.count("|") for line in table_rows} <= {4, 5, 6}


def test_bench_is_what_the_action_reads():
    rows = json.loads(bench_of(verdict()))
    assert rows[0] == {
        "name": "models/a.onnx on board: latency",
        "unit": "s",
        "value": pytest.approx(0.009),
        "range": "7.20 ms - 18.0 ms",
    }
    assert len({r["name"] for r in rows}) == len(rows)
    assert not any("throughput" in r["name"] or "coverage" in r["name"] for r in rows)
    assert json.loads(bench_of(Verdict(()))) == []
    assert bench_of(hostile()).isascii()


def test_csv_has_a_line_a_budget():
    rows = list(csv.DictReader(io.StringIO(text_of("csv", verdict(), View()))))
    assert [(r["name"], r["status"]) for r in rows] == [
        ("latency", "fail"),
        ("flash", "warn"),
        ("throughput", "pass"),
        ("latency_increase", "fail"),
        ("energy_increase", "warn"),
        ("latency_increase", "skip"),
        ("macs_increase", "skip"),
        ("", "error"),
    ]


@pytest.mark.parametrize("found", [verdict(), hostile()], ids=["all", "hostile"])
@pytest.mark.parametrize("format", FORMATS)
def test_no_control_character_gets_out(found, format):
    text = text_of(format, found, View())
    assert all(c.isprintable() or c == "\n" for c in text)
    assert HOSTILE not in text


@pytest.mark.parametrize("width", [60, 80, 140])
def test_a_screen_keeps_to_its_width(width):
    lines = text_of("table", verdict(), View(width=width)).splitlines()
    assert max(map(cell_width, lines)) <= width
    words = {line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "}
    assert {"FAIL", "WARN", "PASS", "SKIP", "ERROR"} <= words


def test_a_screen_in_ascii_and_in_colour():
    assert text_of("table", verdict(), View(unicode=False)).isascii()
    coloured = text_of("table", verdict(), View(color=True))
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == text_of("table", verdict(), View())
    assert "\x1b[" in coloured
