"""A table of measurements as raw rows: CSV or JSON text to cells by column, each row with its place.

What the columns mean is the business of `runs.py`. Files may be hostile: their size and rows are bounded.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from efficiency_cli.errors import UsageError

# the largest public tables of measurements are a few thousand rows of 200 bytes
MAX_BYTES = 32 << 20
MAX_ROWS = 100_000
# mistakes told one by one
MOST_TOLD = 20
# separators of columns; the one that the header has most of is meant
_SEPARATORS = ",;\t"
# under these our own reports, and those of others, keep their rows
_LISTS = ("results", "runs")
_HINT = "the format of a table of measurements: effcli help validation"


class RawRow(Struct, frozen=True):
    """Cells by the column's name in lower case with '_' for what is no letter or digit; `place` is for messages."""

    place: str
    cells: Mapping[str, Any]
    # a comma is the decimal sign where a semicolon separates columns
    decimal_comma: bool = False


class Mistakes:
    """Collects what is wrong with one file."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.found: list[str] = []

    def add(self, place: str, message: str) -> None:
        self.found.append(f"{place}: {message}")

    def check(self) -> None:
        """Raise UsageError with the mistakes so far, if there are any."""
        if not self.found:
            return
        more = len(self.found) - MOST_TOLD
        told = [*self.found[:MOST_TOLD], *([f"and {more:,} more"] if more > 0 else [])]
        count = f"{len(self.found):,} mistakes" if len(self.found) > 1 else "a mistake"
        raise UsageError(f"the measurements in {self.path} have {count}", where=told, hint=_HINT)


def read_rows(path: str, mistakes: Mistakes) -> list[RawRow]:
    """The rows of the file, at least one. Raises UsageError for what is no table of rows."""
    text = _text(path)
    found = _json_rows(path, text) if text.lstrip()[:1] in ("{", "[") else _csv_rows(path, text, mistakes)
    rows: list[RawRow] = []
    for row in found:
        rows.append(row)
        if len(rows) > MAX_ROWS:
            raise UsageError(f"{path} has more than {MAX_ROWS:,} rows", hint="split the file")
    mistakes.check()
    if not rows:
        raise UsageError(f"{path} has no measurements", where="there is no row below the header", hint=_HINT)
    return rows


def column_name(written: str) -> str:
    """ "Latency (ms)" -> "latency_ms"."""
    return re.sub(r"[^a-z0-9]+", "_", written.lower().replace("µ", "u").replace("μ", "u")).strip("_")


def _text(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise UsageError(f"cannot read the measurements, {path}: {reason}", hint="check the path") from error
    if len(data) > MAX_BYTES:
        raise UsageError(f"{path} is larger than {MAX_BYTES >> 20} MiB", hint="split the file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        hint = "save it as CSV in UTF-8"
        raise UsageError(f"{path} is not UTF-8 text", where=f"{path}:{line}", hint=hint) from None
    if "\0" in text:
        raise UsageError(f"{path} is not a table of measurements", where="it holds binary data", hint=_HINT)
    if not text.strip():
        raise UsageError(f"{path} is empty", hint=_HINT)
    return text


# --- CSV ---------------------------------------------------------------------------------------


def _csv_rows(path: str, text: str, mistakes: Mistakes) -> Iterator[RawRow]:
    lines = _records(path, text)
    first, header = next(lines, (1, [""]))
    if header[0].lower().startswith("sep="):
        # written by spreadsheets, for spreadsheets
        first, header = next(lines, (first, [""]))
    names = [column_name(cell) for cell in header]
    for name in sorted({n for n in names if n and names.count(n) > 1}):
        mistakes.add(f"{path}:{first}", f"column '{name}' is there twice")
    comma = _separator(text) == ";"
    for number, cells in lines:
        if any(cell.strip() for cell in cells[len(names) :]):
            mistakes.add(f"{path}:{number}", f"{len(cells)} cells under {len(names)} columns: quote cells with commas")
        else:
            row = {name: cell.strip() for name, cell in zip(names, cells, strict=False) if name}
            yield RawRow(f"{path}:{number}", row, comma)


def _records(path: str, text: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every line that is not empty."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_separator(text), skipinitialspace=True)
    end = 0
    try:
        for cells in reader:
            # a quoted cell may hold line breaks: the row begins after the end of the last one
            start, end = end + 1, reader.line_num
            if any(cell.strip() for cell in cells):
                yield start, cells
    except csv.Error as error:
        place = f"{path}:{end + 1}"
        raise UsageError(f"{path} cannot be read as CSV", where=f"{place}: {error}", hint=_HINT) from error


def _separator(text: str) -> str:
    lines = [line for line in text[: 1 << 16].splitlines() if line.strip()]
    first = lines[0].strip() if lines else ""
    if first.lower().startswith("sep=") and len(first) > 4 and first[4] in _SEPARATORS:
        return first[4]
    return max(_SEPARATORS, key=first.count)


# --- JSON --------------------------------------------------------------------------------------


def _json_rows(path: str, text: str) -> Iterator[RawRow]:
    for number, row in enumerate(_listed(path, _decoded(path, text)), start=1):
        place = f"{path}: row {number}"
        if not isinstance(row, dict):
            raise UsageError(f"{path} is not a list of measurements", where=f"{place} is not an object", hint=_HINT)
        yield RawRow(place, {column_name(str(k)): v for k, v in _flat(row).items()})


def _decoded(path: str, text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        reason = str(error).rstrip(".")
        raise UsageError(f"{path} cannot be read as JSON", where=reason[:1].lower() + reason[1:], hint=_HINT) from error


def _listed(path: str, data: Any) -> Sequence[Any]:
    if isinstance(data, list):
        return data
    for name in _LISTS:
        if isinstance(data.get(name), list):
            found: list[Any] = data[name]
            return found
    if "onnx" in data or "model" in data:
        return [data]
    keys = ", ".join(_LISTS)
    where = f"a list of objects, or an object with one of: {keys}"
    raise UsageError(f"{path} holds no measurements", where=where, hint=_HINT)


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of ours with what is nested brought up: the model's path and sizes, the machine's id."""
    flat = {k: v for k, v in row.items() if not isinstance(v, dict) or k == "dims"}
    model, hardware = row.get("model"), row.get("hardware")
    if isinstance(model, dict):
        _default(flat, "onnx", model.get("path"))
        _default(flat, "dims", model.get("dims"))
    if isinstance(hardware, dict):
        _default(flat, "hardware", hardware.get("id"))
        _default(flat, "runtime", hardware.get("runtime"))
    return flat


def _default(row: dict[str, Any], key: str, value: Any) -> None:
    if row.get(key) is None:
        row[key] = value


def written(cells: Mapping[str, Any], names: Iterable[str]) -> str:
    """The first of the columns `names` that says something, as text; '' for none."""
    for name in names:
        value = cells.get(name)
        if value is not None and str(value).strip():
            return str(value).strip()
    return ""
