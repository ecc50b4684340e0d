"""Rows of plain data as table, csv, json or markdown: what the commands about machines print.

No rich here: `effcli hw list` must be there at once.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from efficiency_cli.reports.escape import csv_cell, escaped, markdown_text, shown, signs

if TYPE_CHECKING:
    from efficiency_cli.reports import View

Value = str | int | float | None
Row = Mapping[str, Value]
SCHEMA_VERSION = 1
# between columns
_GAP = "  "


class Listing(NamedTuple):
    """A table twice: `cells` for reading (with `heads`), `rows` for programs, in base units."""

    heads: Sequence[str]
    cells: Sequence[Sequence[str]]
    rows: Sequence[Row]
    # numbers are set flush right
    right: frozenset[str] = frozenset()
    # left out on a narrow terminal, the first one first
    spare: Sequence[str] = ()


def render(format: str, listing: Listing, key: str, view: View) -> str:
    """`listing` in one of `formats()`; `key` names the rows in JSON."""
    if format == "json":
        return as_json({key: list(listing.rows)})
    plain: dict[str, Callable[[Listing, View], str]] = {"table": _table, "csv": _csv, "markdown": _markdown}
    return plain[format](listing, view)


def formats() -> tuple[str, ...]:
    return "table", "csv", "json", "markdown"


def as_json(data: Mapping[str, object]) -> str:
    """One object with the version of its format; ASCII, so that any terminal or file can hold it."""
    return json.dumps({"schema_version": SCHEMA_VERSION, **data}, indent=2, allow_nan=False) + "\n"


def _table(listing: Listing, view: View) -> str:
    columns = {head: [head, *cells] for head, *cells in zip(listing.heads, *listing.cells, strict=True)}
    aligned = {head: _aligned(texts, head in listing.right, view.unicode) for head, texts in columns.items()}
    for head in listing.spare:
        if view.width is not None and sum(len(c[0]) + len(_GAP) for c in aligned.values()) > view.width:
            del aligned[head]
    return "".join(f"{_GAP.join(row).rstrip()}\n" for row in zip(*aligned.values(), strict=True))


def _aligned(texts: Sequence[str], right: bool, unicode: bool) -> list[str]:
    safe = [shown(signs(text, unicode), unicode) for text in texts]
    width = max(map(len, safe))
    return [text.rjust(width) if right else text.ljust(width) for text in safe]


def _csv(listing: Listing, view: View) -> str:  # noqa: ARG001
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    rows = listing.rows
    writer.writerow(rows[0] if rows else listing.heads)
    for row in rows:
        writer.writerow(csv_cell(v) if isinstance(v, str) else v for v in row.values())
    return text.getvalue()


def _markdown(listing: Listing, view: View) -> str:  # noqa: ARG001
    rule = ["---:" if head in listing.right else "---" for head in listing.heads]
    rows = [[markdown_text(text) for text in row] for row in (listing.heads, *listing.cells)]
    return "".join(f"| {' | '.join(row)} |\n" for row in (rows[0], rule, *rows[1:]))


def paragraph(lines: Sequence[str], format: str, unicode: bool) -> str:
    """Lines of text around a table, the first one leading: the others indented, or a Markdown list."""
    if format == "markdown":
        head, *others = [markdown_text(line) for line in lines if line]
        return "".join([f"**{head}**\n", *(f"- {line}\n" for line in others)])
    head, *others = [escaped(signs(line, unicode), unicode) for line in lines if line]
    return "".join([f"{head}\n", *(f"  {line}\n" for line in others)])
