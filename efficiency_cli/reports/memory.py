"""Memory, as asked for with --memory: what it takes, where it fits, the schedule as bars, what is alive at the peak.

Lines and cells hold text as the model spells it: the format that shows them escapes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from msgspec import Struct

from efficiency_cli.quantity import format_capacity, format_percent, format_time
from efficiency_cli.reports.summary import Line, Part

if TYPE_CHECKING:
    from efficiency_cli.roofline.memory.fit import Level
    from efficiency_cli.roofline.memory.footprint import Footprint
    from efficiency_cli.roofline.memory.plan import Placed

# rows of the chart, and columns of it where nothing limits them
CHART_ROWS = 6
CHART_COLUMNS = 120
# no bar is wider, however few there are
_WIDEST_BAR = 4
_BLOCKS = " ▁▂▃▄▅▆▇█"
_AXIS = 10
# what lies over what, in words
_SHARING = {
    "none": "nothing overwritten",
    "elementwise": "element-wise results over operands",
    "depthwise": "element-wise and depthwise results over operands",
    "overlap": "results over operands where rows allow",
}


class Bars(Struct, frozen=True):
    """The chart: a line a row, top first; then the axis with the peak marked."""

    rows: tuple[str, ...]
    axis: str


def title_of(footprint: Footprint) -> str:
    """What the section is about."""
    return f"Memory over the schedule ({len(footprint.kernels):,} kernels, {_order(footprint)})"


def _order(footprint: Footprint) -> str:
    if footprint.order == "file":
        return "in the file's order"
    if not footprint.saved:
        return "best order: no better than the file's"
    whole = max(footprint.needs.bound + footprint.saved, 1)
    share = format_percent(footprint.saved / whole)
    return f"best order: {format_capacity(footprint.saved)}, {share} less at the peak"


def lines_of(footprint: Footprint, cache_bytes: int = 0) -> Iterator[Line]:
    """RAM (of it `cache_bytes` a key/value cache), flash, every level, and what would change that."""
    yield _ram(footprint, cache_bytes)
    yield _arena(footprint)
    yield _flash(footprint)
    for level in footprint.levels:
        yield _level(level)
    for what in footprint.what_ifs:
        fits = [] if what.fits is None else [Part("fits", "good") if what.fits else Part("does not fit", "bad")]
        needs = (Part(f"RAM {format_capacity(what.ram)}"), Part(f"flash {format_capacity(what.flash)}"))
        yield Line(f"{what.change[:1].upper()}{what.change[1:]}", (*needs, *fits))
    if footprint.largest:
        sizes = [Part(f"{found.what} {found.value:,}") for found in footprint.largest]
        yield Line("Largest", (*sizes, Part(f"that fits {footprint.largest[0].level}")))


def _ram(footprint: Footprint, cache_bytes: int) -> Line:
    ram, runtime = footprint.activations, footprint.runtime_ram
    parts = [Part(format_capacity(footprint.ram), "bold")]
    if ram.upper > ram.lower:
        low, high = format_capacity(ram.lower + runtime), format_capacity(ram.upper + runtime)
        parts.append(Part(f"{low} – {high} for 80 % of networks"))
    if runtime:
        parts.append(Part(f"{format_capacity(runtime)} of it the runtime's own"))
    if cache_bytes:
        parts.append(Part(f"KV cache {format_capacity(cache_bytes)} after the run"))
    if footprint.ram:
        parts.append(Part(f"fits {format_capacity(smallest_power_of_two(footprint.ram))}", extra=True))
    return Line("RAM", tuple(parts))


def smallest_power_of_two(size: float) -> int:
    """The smallest power of two of at least `size` bytes: sizes that memories come in."""
    return 1 << max(int(-(-size // 1)) - 1, 0).bit_length()


def _arena(footprint: Footprint) -> Line:
    plan = footprint.plan
    over = plan.size - plan.bound
    bound = (
        f"{format_percent(over / plan.bound)} over the least possible" if over and plan.bound else "the least possible"
    )
    parts = [Part(format_capacity(plan.size)), Part(bound), Part(f"{len(plan.placed):,} buffers")]
    parts.append(Part(_SHARING[footprint.overwrites], extra=True))
    if footprint.peak >= 0:
        parts.append(Part(f"peak at {footprint.kernels[footprint.peak].name}"))
    return Line("Arena", tuple(parts))


def _flash(footprint: Footprint) -> Line:
    flash = footprint.flash
    named = [(f"{dtype} weights", size) for dtype, size in flash.weights.items()]
    named += [("biases", flash.biases), ("constants", flash.constants), ("scales", flash.scales)]
    parts = [Part(f"{name} {format_capacity(size)}", extra=size < flash.total / 100) for name, size in named if size]
    code = [Part(f"code {format_capacity(flash.code)}")] if flash.code else []
    return Line("Stored", (Part(format_capacity(flash.total), "bold"), *parts, *code))


def _level(level: Level) -> Line:
    needs = format_capacity(level.need)
    if level.size is None:
        return Line(level.name, (Part(needs), Part("size not stated")))
    parts = [Part(f"{needs} of {format_capacity(level.size)}")]
    if level.fits:
        return Line(level.name, (*parts, Part("fits", "good")))
    parts.append(Part(f"{format_capacity(level.short)} short", "bad"))
    if level.kernels_over:
        kernels = f"{level.kernels_over:,} kernels" if level.kernels_over > 1 else "1 kernel"
        parts.append(Part(f"{kernels} over it, first {level.first_kernel}"))
    if level.cost_s:
        parts.append(Part(f"{format_time(level.cost_s)} for what spills"))
    return Line(level.name, tuple(parts))


def bars_of(footprint: Footprint, width: int | None, unicode: bool) -> Bars | None:
    """Bytes needed at each kernel as bars of `width` columns at most; None without kernels.

    Where there are more kernels than columns, a bar is the largest of its kernels.
    """
    needed = footprint.needs.by_kernel
    room = (min(width, CHART_COLUMNS) if width else CHART_COLUMNS) - _AXIS - 2
    if not needed or room < 1 or not max(needed):
        return None
    heights, wide = _columns(needed, room)
    top = max(needed)
    rows = []
    for row in range(CHART_ROWS, 0, -1):
        label = format_capacity(top) if row == CHART_ROWS else format_capacity(top / 2) if row * 2 == CHART_ROWS else ""
        bars = "".join(_cell(h / top * CHART_ROWS - (row - 1), row == 1, unicode) * wide for h in heights)
        rows.append(f"{label:>{_AXIS}} {'│' if unicode else '|'}{bars}".rstrip())
    peak = heights.index(top) * wide
    return Bars(tuple(rows), _axis(len(heights) * wide, peak, unicode))


def _columns(needed: Sequence[int], room: int) -> tuple[list[int], int]:
    count = len(needed)
    if count <= room:
        return list(needed), min(room // count, _WIDEST_BAR)
    edges = [k * count // room for k in range(room + 1)]
    return [max(needed[a:b]) for a, b in pairwise(edges)], 1


def _cell(filled: float, lowest: bool, unicode: bool) -> str:
    """How much of one row a bar fills; on the lowest one something is never shown as nothing."""
    some = lowest and filled > 0
    if not unicode:
        return "#" if filled >= 0.5 else "." if some else " "
    return _BLOCKS[min(max(round(filled * 8), int(some)), 8)]


def _axis(columns: int, peak: int, unicode: bool) -> str:
    line, mark, corner = ("─", "▲", "└") if unicode else ("-", "^", "+")
    return f"{'':{_AXIS}} {corner}{line * peak}{mark}{line * (columns - peak - 1)}"


PLAN_TITLES = ("buffer", "kind", "offset", "size", "alive at kernels")


def plan_rows(placed: Sequence[Placed]) -> list[tuple[str, ...]]:
    """Cells of the plan's table; bytes are exact, to be set beside a runtime's own table."""
    return [
        (p.block.name, p.block.kind, f"{p.offset:,}", f"{p.block.size:,}", _span(p.block.first, p.block.last))
        for p in placed
    ]


def _span(first: int, last: int) -> str:
    return f"{first} – {last}" if last > first else f"{first}"
