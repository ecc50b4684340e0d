"""Machines and runs for the tests of tables: profiles as YAML in a folder, rows without a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from efficiency_cli.measure.runs import Run

RUNTIME = """\
  {id}:
    name: {name}
    grade: datasheet
    dtype: {dtype}
    overlap: {{value: 1, source: s, kind: derived}}
    interval:
      lower: {{value: 0.8, source: s, kind: derived}}
      upper: {{value: 1.25, source: s, kind: derived}}
"""


def runtime(id_: str, *, name: str = "", product: str = "", versions: tuple[str, ...] = (), dtype: str = "int8") -> str:
    text = RUNTIME.format(id=id_, name=name or id_.title(), dtype=dtype)
    text += f"    product: {product}\n" if product else ""
    return text + (f"    versions: [{', '.join(map(repr, versions))}]\n" if versions else "")


def machine(
    folder: Path,
    id_: str,
    runtimes: str,
    *,
    default: str = "",
    aliases: str = "",
    clock: str = "100 MHz",
    energy: str = "",
) -> Path:
    """One operation a cycle and 4 bytes a cycle, whatever the type."""
    first = default or runtimes.split(":")[0].strip()
    ticks = f"clock: {{value: {clock}, source: s, kind: derived}}\n" if clock else ""
    peak, bandwidth = ("1 OP/cycle", "4 B/cycle") if clock else ("100 MOP/s", "400 MB/s")
    text = f"""\
schema_version: 1
name: {id_} for tests
aliases: [{aliases}]
class: mcu
sources: {{s: "round numbers for tests, page 1"}}
{ticks}compute:
  int8:
    matrix: {{value: {peak}, source: s, kind: derived}}
  float32:
    matrix: {{value: {peak}, source: s, kind: derived}}
memory:
  ram:
    bandwidth: {{value: {bandwidth}, source: s, kind: derived}}
    holds: [weights, activations]
runtime: {first}
runtimes:
{runtimes}{energy}"""
    path = folder / f"{id_}.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def a_run(**given: Any) -> Run:
    """A run of net.onnx in 10 ms, but for what is given."""
    usual: dict[str, Any] = {
        "place": "runs.csv:2",
        "onnx": "net.onnx",
        "path": None,
        "family": "net",
        "device": "",
        "core": "",
        "clock_hz": None,
        "runtime": "",
        "version": "",
        "precision": "",
        "measured_s": 0.01,
    }
    return Run(**{**usual, **given})
