"""A table of measurements (RUNS): one `Run` a row, every mistake told with its row and column.

CSV or JSON with the columns of `effcli help validation`, and what `validate` and `measure` write.
Which machine a run was on is the business of `place.py`.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from msgspec import Struct, field

from efficiency_cli import quantity
from efficiency_cli.measure.rows import Mistakes, RawRow, read_rows, written

# where models are looked for beside a table
MODELS_FOLDER = "models"
# column -> factor to the base unit; a column without a factor has a unit in each cell
_LATENCY: Mapping[str, float | None] = {
    "latency_ms": 1e-3,
    "latency_us": 1e-6,
    "latency_ns": 1e-9,
    "latency_s": 1.0,
    "measured_s": 1.0,
    "measured_ms": 1e-3,
    "latency": None,
}
_CLOCK: Mapping[str, float | None] = {
    "clock_mhz": 1e6,
    "clock_ghz": 1e9,
    "clock_khz": 1e3,
    "clock_hz": 1.0,
    "clock": None,
}
_ENERGY: Mapping[str, float | None] = {
    "energy_uj": 1e-6,
    "energy_mj": 1e-3,
    "energy_j": 1.0,
    "measured_energy_j": 1.0,
    "energy": None,
}
# a row of our own reports names the runtime as the table did (`product`) besides the profile's
_TEXTS = {
    "family": ("family",),
    "device": ("device",),
    "core": ("core",),
    "runtime": ("product", "runtime"),
    "version": ("version",),
    "precision": ("precision",),
    "note": ("note",),
    "source": ("source",),
}
# of our own reports: the profile's id, for rows that name no device
_PROFILE = "hardware"
_COLUMNS = (
    "onnx",
    _PROFILE,
    "threads",
    "dims",
    *_LATENCY,
    *_CLOCK,
    *_ENERGY,
    *(n for names in _TEXTS.values() for n in names),
)
# remarks are as good under another name
_MEANT_EXACTLY = tuple(n for n in _COLUMNS if n not in ("note", "source"))
# how alike an unknown column and a known one are where a slip of the finger is meant (difflib ratio)
_SLIP = 0.85
_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?")
# a cycle of the fastest clocks, and a quarter of a year
PLAUSIBLE_S = (1e-10, 1e7)
# columns named in a message
_MOST_COLUMNS = 20
# no number in a table is longer
_LONGEST = 60
_DIM = re.compile(r"([^=;,\s]+(?:\[[0-9]+\])?)\s*=\s*([0-9]{1,18})")


class Run(Struct, frozen=True):
    """One measurement of one model. `place` ("runs.csv:17") is for messages, `path` the model's file if it is there.

    `device`, `core`, `runtime`, `version` and `precision` are as written, '' where nothing is; times are in
    seconds, energy in joules. `family` is the model's file stem unless given.
    """

    place: str
    onnx: str
    path: str | None
    family: str
    device: str
    core: str
    clock_hz: float | None
    runtime: str
    version: str
    precision: str
    measured_s: float
    energy_j: float | None = None
    threads: int | None = None
    dims: Mapping[str, int] = field(default_factory=dict)
    note: str = ""
    source: str = ""


def implausible(seconds: float) -> str:
    """What is wrong with a measured time that no run of a network can take; '' where it may be one."""
    shortest, longest = PLAUSIBLE_S
    if shortest <= seconds <= longest:
        return ""
    return f"{seconds:g} s is no time of a network: is the unit right?"


def read_runs(path: str, models: str | None = None) -> list[Run]:
    """The rows of the table at `path`, models looked for beside it, in its models/ and in the folder `models`.

    Raises UsageError with every mistake.
    """
    mistakes = Mistakes(path)
    rows = read_rows(path, mistakes)
    _check_columns(rows, mistakes)
    mistakes.check()
    find = cache(_Finder(path, models).find)
    runs = [_Row(row, mistakes).run(find) for row in rows]
    mistakes.check()
    return [run for run in runs if run is not None]


def _check_columns(rows: list[RawRow], mistakes: Mistakes) -> None:
    """What is wrong with the columns as such is said once, not for every row."""
    columns = list(dict.fromkeys(name for row in rows for name in row.cells))
    place = mistakes.path
    if "onnx" not in columns:
        mistakes.add(place, f"there is no column 'onnx' with the model's file{_meant('onnx', columns)}")
    if not any(name in columns for name in _LATENCY):
        named = ", ".join(n for n in _LATENCY if n.startswith("latency"))
        mistakes.add(place, f"there is no column with the time: one of {named}{_meant('latency_ms', columns)}")
    for group, what in ((_LATENCY, "time"), (_CLOCK, "clock"), (_ENERGY, "energy")):
        given = [name for name in columns if name in group]
        if len(given) > 1 and any(len([n for n in given if _filled(r, n)]) > 1 for r in rows):
            mistakes.add(place, f"the {what} is given more than once: {', '.join(given)}")
    for name in columns:
        close = difflib.get_close_matches(name, _MEANT_EXACTLY, n=1, cutoff=_SLIP)
        # the plural is a word of its own: `cores` may count them
        if name not in _COLUMNS and close and close[0] not in columns and name != f"{close[0]}s":
            mistakes.add(place, f"unknown column '{name}': did you mean '{close[0]}'?")


def _filled(row: RawRow, name: str) -> bool:
    return row.cells.get(name) not in (None, "")


def _meant(wanted: str, columns: list[str]) -> str:
    close = difflib.get_close_matches(wanted, columns, n=1)
    shown = ", ".join(columns[:_MOST_COLUMNS]) + (", …" if len(columns) > _MOST_COLUMNS else "")
    return f"; is it '{close[0]}'?" if close else f"; there are: {shown or 'none'}"


class _Row:
    """Reads one row's cells; a wrong one is told and read as missing."""

    def __init__(self, row: RawRow, mistakes: Mistakes) -> None:
        self.row = row
        self.mistakes = mistakes
        self.wrong = False

    def run(self, find: Callable[[str], str | None]) -> Run | None:
        """The row read, its model's file found by `find`; None where something is wrong."""
        onnx = written(self.row.cells, ("onnx",))
        if not onnx:
            self.refuse("onnx", "no model is named")
        texts = {name: written(self.row.cells, columns) for name, columns in _TEXTS.items()}
        texts["family"] = texts["family"] or stem(onnx)
        if not texts["device"] and not texts["core"]:
            texts["device"] = written(self.row.cells, (_PROFILE,))
        measured = self.measure(_LATENCY, "time")
        if measured is None and not self.wrong:
            self.refuse(self._column(_LATENCY), "no time is given")
        elif measured is not None and implausible(measured):
            self.refuse(self._column(_LATENCY), implausible(measured))
        clock_hz, energy_j = self.measure(_CLOCK, "frequency"), self.measure(_ENERGY, "energy")
        threads, dims = self.threads(), self.dims()
        if self.wrong or measured is None:
            return None
        return Run(
            place=self.row.place,
            onnx=onnx,
            path=find(onnx),
            clock_hz=clock_hz,
            measured_s=measured,
            energy_j=energy_j,
            threads=threads,
            dims=dims,
            **texts,
        )

    def refuse(self, column: str, message: str) -> None:
        self.wrong = True
        self.mistakes.add(self.row.place, f"{column}: {message}")

    def _column(self, group: Mapping[str, float | None]) -> str:
        return next((name for name in group if name in self.row.cells), next(iter(group)))

    def measure(self, columns: Mapping[str, float | None], dimension: str) -> float | None:
        """The value in base units of the first of `columns` that is filled; None without one."""
        for name, factor in columns.items():
            if _filled(self.row, name):
                cell = self.row.cells[name]
                value = self._number(name, cell) if factor is not None else self._with_unit(name, cell, dimension)
                return None if value is None else self._positive(name, cell, value * (factor or 1.0))
        return None

    def _number(self, name: str, cell: Any) -> float | None:
        if isinstance(cell, int | float) and not isinstance(cell, bool):
            return float(cell) if abs(cell) < 1e300 else math.inf
        text = self._decimal(cell)
        if not _NUMBER.fullmatch(text):
            self.refuse(name, f"'{_short(cell)}' is not a number")
            return None
        return float(text)

    def _with_unit(self, name: str, cell: Any, dimension: str) -> float | None:
        try:
            return quantity.parse(self._decimal(cell), dimension)
        except ValueError as error:
            self.refuse(name, str(error))
            return None

    def _decimal(self, cell: Any) -> str:
        text = str(cell) if isinstance(cell, str | int | float) and not isinstance(cell, bool) else "?"
        text = text.strip()[:_LONGEST]
        return text.replace(",", ".", 1) if self.row.decimal_comma and "." not in text else text

    def _positive(self, name: str, cell: Any, value: float) -> float | None:
        if not 0 < value < math.inf:
            self.refuse(name, f"'{_short(cell)}' is not above 0" if value <= 0 else f"'{_short(cell)}' is too large")
            return None
        return value

    def threads(self) -> int | None:
        text = written(self.row.cells, ("threads",))
        if not text:
            return None
        if not re.fullmatch(r"[0-9]{1,6}(?:\.0)?", text) or float(text) < 1:
            self.refuse("threads", f"'{_short(text)}' is not a whole number above 0")
            return None
        return int(float(text))

    def dims(self) -> dict[str, int]:
        """An object in JSON; in CSV "batch=1 sequence=128", with spaces, commas or semicolons."""
        cell = self.row.cells.get("dims")
        if isinstance(cell, dict):
            wrong = [k for k, v in cell.items() if not isinstance(v, int) or isinstance(v, bool) or v < 0]
            if wrong:
                self.refuse("dims", f"'{_short(wrong[0])}' is not a whole number")
            return {} if wrong else dict(cell)
        text = written(self.row.cells, ("dims",))
        if _DIM.sub("", text).strip(" ,;"):
            self.refuse("dims", f"'{_short(text)}' is not NAME=N, as in: batch=1 sequence=128")
        return {name: int(size) for name, size in _DIM.findall(text)}


def stem(onnx: str) -> str:
    """The model's file name without folders and suffix, whichever system wrote it."""
    return PurePosixPath(onnx.replace("\\", "/")).stem


def _short(cell: Any) -> str:
    text = str(cell)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


class _Finder:
    """Finds the file that a table means. A relative path never leads out of the folder it is looked for in."""

    def __init__(self, table: str, models: str | None) -> None:
        beside = Path(table).parent
        self.given = Path(models) if models else None
        self.folders = [*([self.given] if self.given else []), beside, beside / MODELS_FOLDER]

    def find(self, onnx: str) -> str | None:
        """A path that is absolute, or below one of the folders; of any other only the file's name in --models."""
        name = onnx if "/" in onnx else onnx.replace("\\", "/")
        written_path = Path(name)
        if written_path.is_absolute() and _is_file(written_path):
            return name
        elsewhere = written_path.is_absolute() or ".." in written_path.parts or bool(PureWindowsPath(onnx).drive)
        if not elsewhere:
            found = (folder / written_path for folder in self.folders)
        else:
            # of a table that was written on another machine, or in another folder
            found = (folder / written_path.name for folder in [self.given] if folder is not None)
        return next((str(path) for path in found if _is_file(path)), None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
