"""Doubts: one test a rule, and its twin that must not be doubted."""

from __future__ import annotations

from pathlib import Path

import pytest

from efficiency_cli.errors import ProfileError
from efficiency_cli.hardware.lint import lint
from efficiency_cli.hardware.load import load_profile

BASE = """\
schema_version: 1
name: Board
aliases: [some-board]
class: gpu
sources:
  ds: "data sheet, dense figures"
  cal: "16 runs"
compute:
  int8:
    matrix: {value: 200 TOP/s, source: ds, kind: datasheet}
  float16:
    matrix: {value: 100 TFLOP/s, source: ds, kind: datasheet}
memory:
  l2:
    size: {value: 4 MiB, source: ds, kind: datasheet}
    bandwidth: {value: 5 TB/s, source: ds, kind: datasheet}
    holds: [weights, activations]
  dram:
    size: {value: 16 GiB, source: ds, kind: datasheet}
    bandwidth: {value: 1 TB/s, source: ds, kind: datasheet}
    holds: [weights, activations]
runtime: fast
runtimes:
  fast:
    name: Fast 1
    grade: calibrated
    overlap: {value: 1, source: ds, kind: derived}
    interval:
      lower: {value: 0.9, source: ds, kind: calibrated}
      upper: {value: 1.2, source: ds, kind: calibrated}
    calibration: {measurements: 16, models: 4, held_out_error: 11 %, source: cal}
"""


def findings(folder: Path, text: str) -> list[str]:
    path = folder / "board.yaml"
    path.write_text(text, encoding="utf-8")
    return [str(f).removeprefix(f"{path}:") for f in lint(path)]


def at(text: str) -> str:
    """`line:column` of a text of BASE."""
    row, written = next((i, w) for i, w in enumerate(BASE.splitlines(), 1) if text in w)
    return f"{row}:{written.index(text) + 1}"


def test_a_good_profile_has_no_findings(tmp_path: Path) -> None:
    assert findings(tmp_path, BASE) == []


DOUBTS = [
    (
        "200 TOP/s, source: ds",
        '200 TOP/s, source: "with sparsity"',
        "200 TOP/s",
        "compute.int8.matrix speaks of",
    ),
    ("200 TOP/s", "400 TOP/s", "200 TOP/s", "int8 peak is 4.0 times the 16-bit one: a sparse one?"),
    ("16 GiB", "16 GB", "16 GiB", "size '16 GB' counts in thousands: is it 16 GiB?"),
    ("1 TB/s", "1 TiB/s", "1 TB/s", "bandwidth '1 TiB/s': data sheets give GB/s (decimal)"),
    ("value: 5 TB/s", "value: 500 GB/s", "1 TB/s", "'dram' is faster than 'l2' before it"),
    (
        "    bandwidth: {value: 1 TB/s, source: ds, kind: datasheet}\n",
        "    bandwidth: {value: 1 TB/s, source: ds, kind: datasheet}\n"
        "    port: {value: 0.9 TB/s, source: ds, kind: derived}\n",
        "1 TB/s",
        "bandwidth '1 TB/s' is above that of its port, '0.9 TB/s'",
    ),
    ("{value: 1 TB/s", "{value: 1 MB/s", "100 TFLOP/s", "ridge point of float16 is 1e+08 OP/B"),
    ("data sheet, dense figures", "TODO", '"data sheet', "source 'ds' is still a placeholder"),
    ("name: Board", "name: TODO", "Board", "name is still a placeholder"),
    ("source: cal}", "source: 16 runs}", '"16 runs"', "source 'cal' is not used by any number"),
    (
        "grade: calibrated",
        "grade: datasheet",
        "lower: ",
        "interval of 'fast' is narrow",
    ),
]


@pytest.mark.parametrize(("old", "new", "where", "message"), DOUBTS)
def test_each_doubt_is_told_at_its_place(tmp_path: Path, old: str, new: str, where: str, message: str) -> None:
    found = findings(tmp_path, BASE.replace(old, new, 1))
    assert f"{at(where)}: warning: {message}" in "\n".join(found)


NO_DOUBTS = [
    ("200 TOP/s, source: ds, kind: datasheet", "400 TOP/s, source: ds, kind: datasheet, note: dense"),
    (
        "200 TOP/s, source: ds, kind: datasheet",
        "200 TOP/s, source: ds, kind: derived, note: dense (not sparse)",
    ),
    ("16 GiB, source: ds, kind: datasheet", "16 GB, source: ds, kind: datasheet, note: decimal"),
]


@pytest.mark.parametrize(("old", "new"), NO_DOUBTS)
def test_a_note_settles_a_doubt(tmp_path: Path, old: str, new: str) -> None:
    assert findings(tmp_path, BASE.replace(old, new, 1)) == []


def test_a_calibrated_runtime_names_its_interval_and_measurements(tmp_path: Path) -> None:
    text = BASE[: BASE.index("    interval:")].replace('  cal: "16 runs"\n', "")
    told = "\n".join(findings(tmp_path, text))
    assert "runtime 'fast' is calibrated and has no interval" in told
    assert "runtime 'fast' is calibrated without `calibration`: fitted to what?" in told


def test_mistakes_are_findings_too(tmp_path: Path) -> None:
    found = findings(tmp_path, BASE.replace("class: gpu", "class: gpx").replace("16 GiB", "16 GiX"))
    assert [f.split(": ")[1] for f in found] == ["error", "error"]
    assert findings(tmp_path, "a: [")[0].split(": ")[1] == "error"


@pytest.mark.parametrize(
    ("alias", "clash"),
    [
        ("cortex-m7", "the id of"),
        ("STM32H743", "an alias in"),
        ("board", "the id of 'board' itself"),
        ("some-board, some-board", "given twice"),
    ],
)
def test_an_alias_belongs_to_one_profile(tmp_path: Path, alias: str, clash: str) -> None:
    found = findings(tmp_path, BASE.replace("[some-board]", f"[{alias}]"))
    assert len(found) == 1
    assert found[0].startswith("3:")
    assert "error: alias" in found[0]
    assert clash in found[0]


def test_lint_takes_a_profile_an_id_or_a_path(tmp_path: Path) -> None:
    assert lint(load_profile("h100")) == lint("h100") == []
    with pytest.raises(ProfileError):
        lint(tmp_path / "missing.yaml")
