"""Markdown for a pull request: the summary, the kernels in a fold, nothing from the model acts."""

from __future__ import annotations

import re
from pathlib import Path

from estimates import HOSTILE, VWW, hostile, sample

from efficiency_cli.reports import View, render


def cells(line: str) -> int:
    return len(re.findall(r"(?<!\\)\|", line)) - 1


def test_the_summary_says_what_the_table_says() -> None:
    text = render("markdown", [sample(VWW, "cortex-m7")], View())
    assert "7.49 M MACs" in text
    assert "| **Latency** | " in text
    assert "calibrated on" in text
    assert "| **Coverage** | 30 of 30 kernels" in text


def test_every_table_row_has_as_many_cells_as_its_header(tmp_path: Path) -> None:
    text = render("markdown", [hostile(tmp_path)], View(top=None))
    summary, kernels = text.split("<details>")
    assert {cells(line) for line in summary.splitlines() if line.startswith("|")} == {2}
    rows = [line for line in kernels.splitlines() if line.startswith("|")]
    assert {cells(line) for line in rows} == {7}
    assert len(rows) == 2 + len(HOSTILE) + 1


def test_nothing_hostile_acts(tmp_path: Path) -> None:
    text = render("markdown", [hostile(tmp_path)], View(top=None))
    tags = set(re.findall(r"</?[a-z]+>|<!-- -->", text))
    assert tags <= {"<code>", "</code>", "<details>", "</details>", "<summary>", "</summary>", "<br>", "<!-- -->"}
    assert text.count("<details>") == text.count("</details>") == 1
    assert text.count("<code>") == text.count("</code>")
    assert "<" not in re.sub(r"</?[a-z]+>|<!-- -->", "", text)
    assert not re.search(r"[`\[\]\x1b\u202e]|https?://|www\.", text)


def test_what_was_assumed_is_in_it(tmp_path: Path) -> None:
    text = render("markdown", [hostile(tmp_path)], View())
    assert "- note: dimension &#" not in text
    assert "- note: dimension 'in&#92;x1b&#91;31mred&#91;0&#93;' is symbolic, 1 assumed" in text


def test_a_long_table_stays_within_a_step_summary(tmp_path: Path) -> None:
    estimate = hostile(tmp_path)
    assert len(render("markdown", [estimate], View(top=None)).encode()) < 2**20
