"""The table on the terminal: the first screen of a person. The only importer of rich.

Everything is plain `Text`, laid out here to the given width and never cut where none is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from typing import TYPE_CHECKING

from efficiency_cli.reports.columns import NAME_TITLE, Column, columns_of, fused_suffix
from efficiency_cli.reports.escape import shown, signs
from efficiency_cli.reports.rows import Row, ordered, rows_of
from efficiency_cli.reports.summary import Line, Part, coverage_of, header_of, lines_of, title_of

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from efficiency_cli.reports.view import View
    from efficiency_cli.roofline.estimate import Estimate

_INDENT = 2
_LABEL = 13
_GAP = 2
# a node's name keeps at least this many characters before columns are dropped for it
_LEAST_NAME = 20
# lines of the first screen with its five rows; more rows may make it longer
_SCREEN = 24
_ROWS = 5
# rich wants a width: one that no line reaches
_UNLIMITED = 1_000_000
_STYLES = {
    "bold": "bold",
    "good": "green",
    "bad": "bold red",
    "label": "dim",
    "compute": "cyan",
    "memory": "magenta",
    "overhead": "yellow",
}


def render(estimates: Sequence[Estimate], view: View, command: str) -> str:  # noqa: ARG001
    """The first screen of every estimate, an empty line between them."""
    return "\n".join(_Screen(view).of(e) for e in estimates)


class _Screen:
    """One estimate, laid out for one view."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.width = view.width or _UNLIMITED
        # the console takes half of rich's time to import, and plain text does without
        self.console = _console() if view.color else None

    def of(self, estimate: Estimate) -> str:
        view = self.view
        rows = ordered(rows_of(estimate, view.group), view.sort)
        chosen = rows if view.top is None else rows[: view.top]
        head = [*self._laid_out(header_of(estimate), label=0), self._text("")]
        last = self._laid_out(coverage_of(estimate))
        if chosen:
            title = Line("", (Part(title_of(estimate, chosen, len(rows), view)),))
            last = [self._text(""), *self._laid_out(title, label=0), *self._table(estimate, chosen), *last]
        room = _SCREEN - len(head) - len(last) + max(len(chosen) - _ROWS, 0)
        lines = [*head, *self._summary(estimate, room), *last, *self._memory(estimate)]
        return "".join(f"{text.rstrip()}\n" for text in map(self._printed, lines))

    def _printed(self, line: Text) -> str:
        if self.console is None:
            return line.plain
        with self.console.capture() as captured:
            self.console.print(line, soft_wrap=True, end="")
        return captured.get()

    def _safe(self, text: str) -> str:
        return shown(signs(text, self.view.unicode), self.view.unicode)

    def _text(self, text: str, style: str = "") -> Text:
        return self._made(self._safe(text), style)

    def _made(self, text: str, style: str = "") -> Text:
        from rich.text import Text

        return Text(text, style=_STYLES.get(style, ""))

    # --- lines -----------------------------------------------------------------------------

    def _summary(self, estimate: Estimate, room: int) -> list[Text]:
        """The summary in `room` lines: extra lines go from the last, unless more was asked for."""
        lines = [(line, self._laid_out(line)) for line in lines_of(estimate, self.view.verbose)]
        for k in range(len(lines) - 1, -1, -1):
            if self.view.verbose or sum(len(rows) for _, rows in lines) <= room:
                break
            if lines[k][0].extra:
                del lines[k]
        return [row for _, rows in lines for row in rows]

    def _laid_out(self, line: Line, label: int = _LABEL) -> list[Text]:
        """The parts over as many lines as they need, each kept together where it fits."""
        indent = " " * _INDENT
        found = []
        for k, row in enumerate(self._wrapped(line, self.width - _INDENT - label)):
            start = f"{line.label if not k else '':<{label}}"
            found.append(self._text(indent if label or k else "").append_text(self._text(start, "label")))
            found[-1].append_text(row)
        return found

    def _wrapped(self, line: Line, room: int) -> list[Text]:
        mark = line.between.rstrip()
        room -= len(mark)
        rows = [self._text("")]
        for part in _kept(line, room):
            text = self._text(part.text, part.style)
            if rows[-1] and rows[-1].cell_len + len(line.between) + text.cell_len > room:
                rows[-1].append(mark)
                rows.append(self._text(""))
            elif rows[-1]:
                rows[-1].append(line.between)
            first, *others = self._broken(text, room)
            rows[-1].append_text(first)
            rows.extend(others)
        return rows

    def _broken(self, text: Text, room: int) -> list[Text]:
        """A part that is longer than a line, at its spaces; a word that is longer loses its head."""
        if text.cell_len <= room:
            return [text]
        rows: list[Text] = []
        for word in text.plain.split(" "):
            piece = text.blank_copy(self._tail(word, room))
            if rows and rows[-1].cell_len + 1 + piece.cell_len <= room:
                rows[-1].append(" ").append_text(piece)
            else:
                rows.append(piece)
        return rows

    def _tail(self, text: str, room: int) -> str:
        """`text` in `room` cells: its tail behind an ellipsis where it is longer."""
        from rich.cells import cell_len

        if cell_len(text) <= room:
            return text
        gap = signs("…", self.view.unicode)
        while text and cell_len(text) > room - len(gap):
            # wide characters take two cells, so at least half of the excess can go at once
            text = text[max(1, (cell_len(text) - room + len(gap)) // 2) :]
        return gap + text

    def _memory(self, estimate: Estimate) -> list[Text]:
        """The section of --memory: lines, the chart, what is alive at the peak."""
        footprint = estimate.memory
        if footprint is None:
            return []
        from efficiency_cli.reports import memory

        title = Line("", (Part(memory.title_of(footprint)),))
        found = [self._text(""), *self._laid_out(title, label=0)]
        for line in memory.lines_of(footprint, estimate.totals.kv_cache_bytes):
            found += self._laid_out(line)
        bars = memory.bars_of(footprint, self.view.width, self.view.unicode)
        if bars is not None:
            found += [self._made(line) for line in ("", *bars.rows, bars.axis)]
        alive = footprint.at_peak if self.view.top is None else footprint.at_peak[: self.view.top]
        if alive:
            told = f"Alive at the peak ({len(alive):,} of {len(footprint.at_peak):,} buffers)"
            found += [self._text(""), *self._laid_out(Line("", (Part(told),)), label=0)]
            found += self._grid(memory.PLAN_TITLES, memory.plan_rows(alive))
        return found

    def _grid(self, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[Text]:
        """Columns as wide as their widest cells; the first, a name, gives way."""
        cells = [[self._text(c).plain for c in row] for row in (titles, *rows)]
        widths = [max(len(row[k]) for row in cells) for k in range(len(titles))]
        widths[0] = max(min(widths[0], self.width - _INDENT - sum(widths[1:]) - _GAP * (len(titles) - 1)), 4)
        lines = []
        for row in cells:
            rest = "".join(f"{' ' * _GAP}{c:>{w}}" for c, w in zip(row[1:], widths[1:], strict=True))
            lines.append(self._made(f"{' ' * _INDENT}{self._tail(row[0], widths[0]):<{widths[0]}}{rest}"))
        lines[0].style = _STYLES["label"]
        return lines

    # --- table -----------------------------------------------------------------------------
    # rich's own tables take 0.7 ms a row: half a minute for all kernels of a large network

    def _table(self, estimate: Estimate, rows: Sequence[Row]) -> list[Text]:
        """Titles, then a line a row; every column as wide as its widest cell."""
        group = self.view.group
        columns, room = self._fitted(columns_of(estimate, group), rows)
        names = [self._text(NAME_TITLE[group]), *(self._name(r, room) for r in rows)]
        table = [(names, False)]
        for column in columns:
            cells = [self._text(column.title)]
            for row in rows:
                said = column.cell(row)
                cells.append(self._text(said, said if column.styled else ""))
            table.append((cells, column.right))
        widths = [max(c.cell_len for c in cells) for cells, _ in table]
        lines = [self._text("") for _ in names]
        for (cells, right), width in zip(table, widths, strict=True):
            for line, cell in zip(lines, cells, strict=True):
                gap = " " * (_GAP if line else _INDENT)
                pad = " " * (width - cell.cell_len)
                line.append(gap + pad if right else gap).append_text(cell).append("" if right else pad)
        lines[0].style = _STYLES["label"]
        return lines

    def _fitted(self, columns: list[Column], rows: Sequence[Row]) -> tuple[list[Column], int]:
        """The columns there is room for, and the cells left for names."""
        widths = {c.title: self._widest(c.title, *map(c.cell, rows)) + _GAP for c in columns}
        wanted = min(_LEAST_NAME, self._widest(NAME_TITLE[self.view.group], *(r.name for r in rows)))
        for column in sorted(columns, key=lambda c: -c.drop):
            if _INDENT + wanted + sum(widths[c.title] for c in columns) <= self.width or not column.drop:
                break
            columns = [c for c in columns if c is not column]
        return columns, self.width - _INDENT - sum(widths[c.title] for c in columns)

    def _widest(self, *texts: str) -> int:
        from rich.cells import cell_len

        return max(cell_len(self._safe(t)) for t in texts)

    def _name(self, row: Row, room: int) -> Text:
        """The name, what is fused into it where there is room, its tail where there is not."""
        name, suffix = self._text(row.name), self._text(fused_suffix(row), "label")
        if name.cell_len > room:
            return self._made(self._tail(name.plain, room))
        return name.append_text(suffix) if name.cell_len + suffix.cell_len <= room else name


def _kept(line: Line, room: int) -> list[Part]:
    """All parts where they fit into one line; else without the extra ones, from the last."""
    parts = list(line.parts)
    for part in reversed(line.parts):
        if sum(len(p.text) for p in parts) + len(line.between) * (len(parts) - 1) <= room:
            break
        if part.extra:
            parts.remove(part)
    return parts


def painted(parts: Sequence[tuple[str, str]]) -> str:
    """Pieces of a line that is laid out and escaped, each in its style ("" for none), with a terminal's colours."""
    from rich.text import Text

    line = Text()
    for text, style in parts:
        line.append(text, _STYLES.get(style, ""))
    console = _console()
    with console.capture() as captured:
        console.print(line, soft_wrap=True, end="")
    return captured.get()


def _console() -> Console:
    """A colored console that asks nothing of the environment, cuts nothing and has no markup."""
    from rich.console import Console

    return Console(
        file=StringIO(),
        width=_UNLIMITED,
        height=_UNLIMITED,
        color_system="standard",
        force_terminal=True,
        legacy_windows=False,
        markup=False,
        emoji=False,
        highlight=False,
        _environ={},
    )
