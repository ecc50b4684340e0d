"""What only moves: transposes, joins, parts, borders, look-ups, resizing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from efficiency_cli.graph.assemble import Assembled
from efficiency_cli.graph.model import DType
from efficiency_cli.measure.host.builder import Builder
from efficiency_cli.measure.host.grid.case import Case, length


def cases() -> Iterator[Case]:
    yield from _transposes()
    yield from _joins()
    yield from _resizes()
    yield from _look_ups()


def _transposes() -> Iterator[Case]:
    for tokens, heads, width in ((128, 12, 64), (197, 3, 64), (512, 12, 64), (16, 6, 48), (1, 12, 64)):
        size = (1, tokens, heads, width)
        yield Case(f"Transpose heads {tokens}x{heads}", _transposed(size, (0, 2, 1, 3)), quick=tokens == 128)
        yield Case(f"Transpose keys {tokens}x{heads}", _transposed(size, (0, 2, 3, 1)), quick=tokens == 512)
    for c, hw in ((64, 56), (256, 14), (128, 28), (24, 28)):
        yield Case(f"Transpose last {c}x{hw}", _transposed((1, c, hw * hw), (0, 2, 1)), quick=hw == 56)
        yield Case(f"Transpose shuffle {c}x{hw}", _transposed((1, 2, c // 2, hw * hw), (0, 2, 1, 3)))
        yield Case(f"Transpose windows {c}x{hw}", _transposed((1, c, hw // 7, 7, hw // 7, 7), (0, 2, 4, 3, 5, 1)))
        yield Case(f"Transpose tiles {c}x{hw}", _transposed((1, hw // 7, 7, hw // 7, 7, c), (0, 1, 3, 2, 4, 5)))


def _joins() -> Iterator[Case]:
    for c, hw in ((64, 56), (256, 14), (24, 28), (16, 14), (16, 48)):
        yield Case(f"Concat {c}x{hw}", _concats(c, hw), quick=hw == 56)
        yield Case(f"Split {c}x{hw}", _splits(c, hw), quick=hw == 56)
        yield Case(f"Slice {c}x{hw}", _slices(c, hw), quick=hw == 56)
        yield Case(f"Pad {c}x{hw}", _pads(c, hw), quick=hw == 56)
    for heads, tokens, width in ((12, 128, 64), (6, 128, 48), (12, 512, 64), (6, 16, 48), (4, 8, 16)):
        yield Case(f"Concat cache {heads}x{tokens}x{width}", _grown(heads, tokens, width), quick=heads == 6)
    for rows, width in ((128, 768), (197, 192), (1, 768), (16, 64)):
        yield Case(f"Split columns {rows}x{width}", _thirds(rows, width), quick=rows == 128)


def _resizes() -> Iterator[Case]:
    for c, hw in ((64, 56), (256, 14), (24, 28), (3, 64), (16, 7)):
        yield Case(f"Resize nearest {c}x{hw}", _resized(c, hw, "nearest"), quick=hw == 56)
        yield Case(f"Resize linear {c}x{hw}", _resized(c, hw, "linear"))
    for c, hw in ((1, 64), (3, 32), (16, 14)):
        yield Case(f"Resize cubic {c}x{hw}", _resized(c, hw, "cubic"))


def _look_ups() -> Iterator[Case]:
    for rows, width in ((1, 64), (16, 64), (128, 768), (512, 256)):
        yield Case(f"Gather {rows}x{width}", _gathers(rows, width), quick=rows == 128)
        yield Case(f"Expand {rows}x{width}", _expands(rows, width))


def _grown(heads: int, tokens: int, width: int) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        found = []
        for _ in range(length(0, 8 * heads * tokens * width)):
            parts = b.input(1, heads, tokens, width), b.input(1, heads, 1, width)
            found.append(b.concat(*parts, axis=2))
        return b.built(*found)

    return make


def _thirds(rows: int, width: int) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        found = []
        for _ in range(length(0, 24 * rows * width)):
            x = b.input(1, rows, 3 * width)
            # a number of parts belongs to later operator sets
            parts = b.ops("Split", [x, b.constant([width] * 3)], [(1, rows, width)] * 3, axis=2)
            found += parts
        return b.built(*found)

    return make


def _transposed(size: tuple[int, ...], perm: tuple[int, ...]) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        # side by side: in a chain they would cancel or be one
        return b.built(*(b.transpose(b.input(*size), *perm) for _ in range(length(0, 8 * math.prod(size)))))

    return make


def _concats(c: int, hw: int) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        count = length(0, 16 * c * hw * hw)
        return b.built(*(b.concat(b.input(1, c, hw, hw), b.input(1, c, hw, hw)) for _ in range(count)))

    return make


def _splits(c: int, hw: int) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        found = []
        for _ in range(length(0, 8 * c * hw * hw)):
            found += b.ops("Split", [b.input(1, c, hw, hw)], [(1, c // 2, hw, hw)] * 2, axis=1)
        return b.built(*found)

    return make


def _slices(c: int, hw: int) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        found = []
        for _ in range(length(0, 8 * c * hw * hw)):
            x = b.input(1, c, hw, hw)
            arguments = [b.constant([v]) for v in (1, hw, 2, 1)]  # from, to, axis, step
            found.append(b.op("Slice", [x, *arguments], (1, c, hw - 1, hw)))
        return b.built(*found)

    return make


def _pads(c: int, hw: int) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        found = []
        for _ in range(length(0, 8 * c * hw * hw)):
            pads = b.constant([0, 0, 1, 1, 0, 0, 1, 1])
            found.append(b.op("Pad", [b.input(1, c, hw, hw), pads], (1, c, hw + 2, hw + 2)))
        return b.built(*found)

    return make


def _resized(c: int, hw: int, mode: str) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        found = []
        for _ in range(length(0, 40 * c * hw * hw)):
            scales = b.constant([1, 1, 2, 2], dtype=DType.FLOAT32)
            x = b.input(1, c, hw, hw)
            found.append(b.op("Resize", [x, "", scales], (1, c, 2 * hw, 2 * hw), mode=mode))
        return b.built(*found)

    return make


def _gathers(rows: int, width: int) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        count = length(0, 8 * rows * width)
        ids = b.input(1, rows, dtype=DType.INT64)
        return b.built(*(b.op("Gather", [b.weight(2000, width), ids], (1, rows, width)) for _ in range(count)))

    return make


def _expands(rows: int, width: int) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        count = length(0, 4 * rows * width)
        dims = [b.constant([rows, width]) for _ in range(count)]
        return b.built(*(b.op("Expand", [b.input(1, width), d], (rows, width)) for d in dims))

    return make
