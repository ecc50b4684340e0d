"""A Diff as text: the screen and the Markdown of `effcli diff`, and the one place that knows its other formats."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from efficiency_cli.judge.diff import Diff, Field, KernelChange, NodeChange, Tolerance, Total
from efficiency_cli.judge.gauge import Gauge
from efficiency_cli.judge.snapshot import Snapshot
from efficiency_cli.quantity import format_percent
from efficiency_cli.reports.escape import markdown_code, markdown_text, shown, signs
from efficiency_cli.reports.grid import INDENT, Column, grid
from efficiency_cli.reports.verdict_words import signed_percent

if TYPE_CHECKING:
    from efficiency_cli.reports.view import View

FORMATS = ("table", "json", "csv", "markdown")
# GitHub cuts a step's summary at 1 MiB
_MOST_ROWS = 1000
# changed things of a node told in one cell
_MOST_FIELDS = 3
# operators told of nodes that are new, or gone
_MOST_OPERATORS = 8


def formats() -> tuple[str, ...]:
    return FORMATS


def text_of(format: str, found: Diff, tolerances: Sequence[Tolerance], view: View) -> str:
    """The difference in one of `formats`."""
    if format == "json":
        from efficiency_cli.reports.diff_data import json_of

        return json_of(found, tolerances)
    if format == "csv":
        from efficiency_cli.reports.diff_data import csv_of

        return csv_of(found, view.top)
    lines = _markdown(found, view) if format == "markdown" else _screen(found, view)
    return "".join(f"{line}\n" for line in lines)


# --- words -------------------------------------------------------------------------------------


def side_of(snapshot: Snapshot) -> str:
    """ "model.onnx on cortex-m7: X-CUBE-AI 9 to 10, int8"."""
    hardware = snapshot.hardware
    if hardware is None:
        return snapshot.model.path
    told = ", ".join(filter(None, (hardware.runtime_name or hardware.runtime, hardware.dtype)))
    return f"{snapshot.model.path} on {hardware.id}: {told}"


def change_of(gauge: Gauge, change: float) -> str:
    """ "-36.6 ms", "+12"; "" for none."""
    return f"{'-' if change < 0 else '+'}{gauge.shown(abs(change))}" if change else ""


def _percent_of(total: Total) -> str:
    if total.worse is None:
        return ""
    return signed_percent(-total.worse if total.gauge.more_is_better else total.worse)


def _total_columns(totals: Sequence[Total]) -> list[Column]:
    def cell(total: Total, value: float | None) -> str:
        return "unknown" if value is None else total.gauge.shown(value)

    return [
        Column("", [t.gauge.name for t in totals]),
        Column("before", [cell(t, t.before) for t in totals], right=True),
        Column("after", [cell(t, t.after) for t in totals], right=True),
        Column("change", [_percent_of(t) for t in totals], right=True),
        Column("", [change_of(t.gauge, t.change or 0.0) for t in totals], right=True, drop=1),
    ]


def _differing(found: Diff) -> tuple[list[Total], list[Total]]:
    """Totals that changed, and those that did not."""
    changed = [t for t in found.totals if t.before != t.after]
    return changed, [t for t in found.totals if t not in changed]


def _name(change: KernelChange) -> str:
    if change.before is None or change.after is None or change.before.name == change.after.name:
        return change.either.name
    return f"{change.before.name} → {change.after.name}"


def _operator(change: KernelChange) -> str:
    """The operator, and its data type where that changed."""
    before, after = change.before, change.after
    if before is None or after is None:
        return change.either.op
    op = after.op if before.op == after.op else f"{before.op} → {after.op}"
    return op if before.dtype == after.dtype else f"{op}, {before.dtype} → {after.dtype}"


def _kernel_columns(rows: Sequence[tuple[KernelChange, float]], gauge: Gauge, found: Diff) -> list[Column]:
    total = found.total(gauge.name)
    whole = total.change if total and total.change else 0.0
    sizes = [k.part(gauge, found.on) for k, _ in rows]
    was = ["new" if k.before is None else gauge.shown(b) for (k, _), (b, _) in zip(rows, sizes, strict=True)]
    now = ["gone" if k.after is None else gauge.shown(a) for (k, _), (_, a) in zip(rows, sizes, strict=True)]
    return [
        Column("kernel", [_name(k) for k, _ in rows], shrinks=True),
        Column("operator", [_operator(k) for k, _ in rows], drop=3),
        Column("before", was, right=True, drop=2),
        Column("after", now, right=True, drop=2),
        Column("change", [change_of(gauge, c) for _, c in rows], right=True),
        Column("share", [format_percent(c / whole) if whole else "" for _, c in rows], right=True, drop=1),
    ]


def _attribution_title(gauge: Gauge, shown_rows: int, every: int) -> str:
    told = f"{shown_rows:,} of {every:,}" if shown_rows < every else f"{every:,}"
    return f"Where the change of {gauge.name} comes from ({told} kernel{'s'[: every != 1]} that changed)"


def _remainder(found: Diff, gauge: Gauge, rest: Sequence[tuple[KernelChange, float]]) -> list[tuple[str, str]]:
    """What the rows do not show, so that all of it adds up to the total's change."""
    lines = []
    if rest:
        lines.append(
            (f"{len(rest):,} more kernel{'s'[: len(rest) != 1]}", change_of(gauge, sum(c for _, c in rest)) or "±0")
        )
    outside = found.outside(gauge)
    if outside:
        # kernels that a runtime adds to a quantised network are no work of the network's
        reason = "conversions that the runtime adds" if gauge.name == "flops" else "starting a run, of no kernel"
        lines.append((reason, change_of(gauge, outside)))
    return lines


def node_counts(found: Diff) -> str:
    """ "120 the same, 30 changed, 8 new, 2 gone"."""
    new = sum(n.before is None for n in found.nodes)
    gone = sum(n.after is None for n in found.nodes)
    parts = [(found.same, "the same"), (len(found.nodes) - new - gone, "changed"), (new, "new"), (gone, "gone")]
    return ", ".join(f"{count:,} {word}" for count, word in parts if count)


def _by_operator(found: Diff) -> list[str]:
    """ "new: 89 DequantizeLinear, 30 QuantizeLinear", and what is gone."""
    lines = []
    for word, nodes in (
        ("new", [n.after for n in found.nodes if n.before is None]),
        ("gone", [n.before for n in found.nodes if n.after is None]),
    ):
        counts = Counter(n.op for n in nodes if n).most_common()
        more = [f"{sum(c for _, c in counts[_MOST_OPERATORS:]):,} others"] if len(counts) > _MOST_OPERATORS else []
        if counts:
            lines.append(f"{word}: {', '.join([*(f'{c:,} {op}' for op, c in counts[:_MOST_OPERATORS]), *more])}")
    return lines


def _node_columns(nodes: Sequence[NodeChange], most: int = _MOST_FIELDS) -> list[Column]:
    return [
        Column("node", [n.either.name for n in nodes], shrinks=True),
        Column("operator", [n.either.op for n in nodes], drop=1),
        Column("what", [what_of(n, most) for n in nodes], shrinks=True),
    ]


def what_of(change: NodeChange, most: int = _MOST_FIELDS) -> str:
    """What changed of a node, in one line that tells the first `most` things."""
    if change.before is None:
        return "new"
    if change.after is None:
        return "gone"
    told = [_field(f) for f in change.fields[:most]]
    more = len(change.fields) - most
    return "; ".join([*told, *([f"{more} more"] if more > 0 and most > 1 else [])])


def _field(field: Field) -> str:
    """ "output 1x64 → 1x96", "input 1 float32 → int8": of a tensor only what changed."""
    (was, shape), (now, other) = (_parts(t) for t in (field.before, field.after))
    if shape and other and was == now:
        return f"{field.name} {shape} → {other}"
    if shape and shape == other:
        return f"{field.name} {was} → {now}"
    return f"{field.name} {field.before} → {field.after}"


def _parts(told: str) -> tuple[str, str]:
    """Type and shape of "int8[1x8]"; no shape where it is no tensor."""
    dtype, bracket, shape = told.partition("[")
    return (dtype, shape.removesuffix("]")) if bracket else (told, "")


# --- the screen --------------------------------------------------------------------------------


def _screen(found: Diff, view: View) -> Iterator[str]:
    yield from _wrapped(f"before  {side_of(found.before)}", view)
    yield from _wrapped(f"after   {side_of(found.after)}", view)
    yield ""
    changed, same = _differing(found)
    if changed:
        yield from grid(_total_columns(changed), view.width, view.unicode)
    if same:
        yield from _wrapped(f"the same: {', '.join(t.gauge.name for t in same)}", view, INDENT)
    yield from _screen_kernels(found, view)
    if found.nodes or found.same:
        yield ""
        yield from _wrapped(f"Nodes: {node_counts(found)}", view)
    for line in _by_operator(found):
        yield from _wrapped(line, view, INDENT)
    changed_nodes = _changed(found)
    rows = changed_nodes[: view.top]
    if rows:
        # a cell that is too long would lose its beginning
        yield from grid(_node_columns(rows, _MOST_FIELDS if view.width is None else 1), view.width, view.unicode)
    if len(rows) < len(changed_nodes):
        yield from _wrapped(f"{len(changed_nodes) - len(rows):,} more: --top all", view, INDENT)


def _changed(found: Diff) -> list[NodeChange]:
    """Nodes that are there before and after, the largest first."""
    both = [n for n in found.nodes if n.before is not None and n.after is not None]
    return sorted(both, key=lambda n: -max(side.ops for side in (n.before, n.after) if side))


def _screen_kernels(found: Diff, view: View) -> Iterator[str]:
    gauge = found.explained
    rows = found.attribution(gauge) if gauge else []
    if gauge is None or not rows:
        return
    kept = rows[: view.top]
    yield ""
    yield from _wrapped(_attribution_title(gauge, len(kept), len(rows)), view)
    yield from grid(_kernel_columns(kept, gauge, found), view.width, view.unicode)
    for label, change in _remainder(found, gauge, rows[len(kept) :]):
        yield from _wrapped(f"and {label}: {change}", view, INDENT)


def _wrapped(text: str, view: View, indent: str = "") -> list[str]:
    safe = shown(signs(text, view.unicode), view.unicode)
    if view.width is None:
        return [indent + safe]
    return textwrap.wrap(
        safe,
        view.width,
        initial_indent=indent,
        subsequent_indent=indent + INDENT,
        break_on_hyphens=False,
        break_long_words=False,
    )


# --- Markdown ----------------------------------------------------------------------------------


def _markdown(found: Diff, view: View) -> Iterator[str]:
    yield f"### {markdown_code(found.before.model.path)} → {markdown_code(found.after.model.path)}"
    yield ""
    if found.before.hardware or found.after.hardware:
        sides = dict.fromkeys(side_of(s).removeprefix(s.model.path).strip() for s in (found.before, found.after))
        yield markdown_text(" → ".join(sides))
        yield ""
    changed, same = _differing(found)
    if changed:
        yield from _rows(_total_columns(changed), code=False)
        yield ""
    if same:
        yield f"The same: {', '.join(markdown_text(t.gauge.name) for t in same)}."
        yield ""
    yield from _markdown_kernels(found, view)
    if found.nodes:
        yield f"<details><summary>Nodes: {node_counts(found)}</summary>"
        yield ""
        yield from (f"- {markdown_text(line)}" for line in _by_operator(found))
        yield ""
        rows = _changed(found)[: _MOST_ROWS if view.top is None else view.top]
        if rows:
            yield from _rows(_node_columns(rows), code=True)
        yield ""
        yield "</details>"


def _markdown_kernels(found: Diff, view: View) -> Iterator[str]:
    gauge = found.explained
    rows = found.attribution(gauge) if gauge else []
    if gauge is None or not rows:
        return
    kept = rows[: _MOST_ROWS if view.top is None else view.top]
    yield f"<details open><summary>{markdown_text(_attribution_title(gauge, len(kept), len(rows)))}</summary>"
    yield ""
    yield from _rows(_kernel_columns(kept, gauge, found), code=True)
    yield ""
    for label, change in _remainder(found, gauge, rows[len(kept) :]):
        yield f"- {markdown_text(f'{label}: {change}')}"
    yield ""
    yield "</details>"
    yield ""


def _rows(columns: Sequence[Column], code: bool) -> Iterator[str]:
    """A table; its first column is what the model wrote, where `code`."""
    others = columns[1:]
    yield f"| {' | '.join(c.title for c in columns)} |"
    yield f"|---|{'|'.join('---:' if c.right else '---' for c in others)}|"
    for name, *cells in zip(*(c.cells for c in columns), strict=True):
        head = markdown_code(name) if code else markdown_text(name)
        yield f"| {' | '.join([head, *map(markdown_text, cells)])} |"
