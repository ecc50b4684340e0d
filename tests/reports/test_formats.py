"""Formats are found, not listed; finding them loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from estimates import VWW, hostile, sample

from efficiency_cli.errors import UsageError
from efficiency_cli.reports import View, formats, notes_of, render


def test_the_formats_there_are() -> None:
    assert formats()[0] == "table"
    assert set(formats()) >= {"table", "json", "csv", "markdown"}
    assert not {"escape", "rows", "view", "schema", "summary", "columns"} & set(formats())


def test_finding_them_loads_nothing_heavy() -> None:
    program = (
        "import sys; from efficiency_cli.reports import formats; formats();"
        "print(*{m.split('.')[0] for m in sys.modules} & {'onnx', 'numpy', 'rich', 'click', 'yaml'})"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


def test_an_unknown_format_suggests_one() -> None:
    with pytest.raises(UsageError) as raised:
        render("jsn", [sample(VWW)], View())
    assert "json" in raised.value.hint


@pytest.mark.parametrize("format", formats())
def test_every_format_says_the_same_twice(format: str) -> None:
    estimate = sample(VWW, "cortex-m7")
    assert render(format, [estimate], View()) == render(format, [estimate], View())
    assert render(format, [estimate], View()).endswith("\n")


def test_notes_are_single_safe_lines(tmp_path: Path) -> None:
    notes = notes_of(hostile(tmp_path))
    # the axis stands for its symbol, which cannot be typed
    assert any("in\\x1b[31mred[0]" in note for note in notes)
    assert all(note.isprintable() for note in notes)
