"""Columns of text in the width there is: dropped by priority, long names shortened from the left.

Plain text, without colours; `table.py` is the screen of an Estimate.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from msgspec import Struct

from efficiency_cli.reports.escape import shown, signs

INDENT = "  "
_GAP = "  "
# a column that may be shortened keeps at least so many characters
_LEAST = 12


class Column(Struct, frozen=True):
    """Where room is short columns with the highest `drop` go first (0: never); a `shrinks` one loses its heads."""

    title: str
    cells: Sequence[str]
    right: bool = False
    drop: int = 0
    shrinks: bool = False


def grid(columns: Sequence[Column], width: int | None, unicode: bool = True) -> list[str]:
    """Titles and one line a row, each at most `width` cells wide (None: no limit) where columns can be spared."""
    texts = [[shown(signs(t, unicode), unicode) for t in (c.title, *c.cells)] for c in columns]
    widths = [max(map(cell_width, cells)) for cells in texts]
    kept = _kept(columns, widths, width)
    widths = _shrunk(columns, widths, kept, width)
    lines = []
    for row in zip(*(texts[k] for k in kept), strict=True):
        cells = [
            _padded(_tail(text, widths[k], unicode), widths[k], columns[k].right)
            for k, text in zip(kept, row, strict=True)
        ]
        lines.append((INDENT + _GAP.join(cells)).rstrip())
    return lines


def _needed(widths: Sequence[int], kept: Sequence[int]) -> int:
    return len(INDENT) + sum(widths[k] for k in kept) + len(_GAP) * (len(kept) - 1)


def _kept(columns: Sequence[Column], widths: Sequence[int], width: int | None) -> list[int]:
    """The columns there is room for, when those that shrink do."""
    least = [min(w, _least(c)) if c.shrinks else w for c, w in zip(columns, widths, strict=True)]
    kept = list(range(len(columns)))
    for k in sorted(kept, key=lambda k: -columns[k].drop):
        if width is None or _needed(least, kept) <= width or not columns[k].drop:
            break
        kept.remove(k)
    return kept


def _least(column: Column) -> int:
    """Cells of a column that was shortened as far as it may: its title stays whole."""
    return max(_LEAST, cell_width(column.title))


def _shrunk(columns: Sequence[Column], widths: Sequence[int], kept: Sequence[int], width: int | None) -> list[int]:
    """Cells for each column: what is missing is taken from the widest that shrinks, one at a time."""
    found = list(widths)
    while width is not None and _needed(found, kept) > width:
        able = [k for k in kept if columns[k].shrinks and found[k] > _least(columns[k])]
        if not able:
            break
        found[max(able, key=lambda k: found[k])] -= 1
    return found


def _padded(text: str, width: int, right: bool) -> str:
    gap = " " * (width - cell_width(text))
    return gap + text if right else text + gap


def _tail(text: str, width: int, unicode: bool) -> str:
    """`text` in `width` cells: its tail behind an ellipsis where it is longer."""
    if cell_width(text) <= width:
        return text
    mark = signs("…", unicode)
    while text and cell_width(text) > width - len(mark):
        text = text[1:]
    return mark + text


def cell_width(text: str) -> int:
    """Cells of a terminal that the text takes: two for wide characters, none for combining ones."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def _cells(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def flowed(label: str, parts: Sequence[str], width: int | None, label_width: int) -> list[str]:
    """A labelled line of parts, over as many lines as they need."""
    between = "   "
    rows = [""]
    room = None if width is None else width - len(INDENT) - label_width
    for part in parts:
        if rows[-1] and room is not None and cell_width(rows[-1] + between + part) > room:
            rows.append(part)
        else:
            rows[-1] += (between if rows[-1] else "") + part
    heads = [label, *[""] * (len(rows) - 1)]
    return [f"{INDENT}{head:<{label_width}}{row}".rstrip() for head, row in zip(heads, rows, strict=True)]
