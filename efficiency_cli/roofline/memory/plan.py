"""Offsets of blocks in one arena: greedy by size into the best-fitting gap, as microcontroller runtimes do.

    Y. Pisarchyk, J. Lee: Efficient Memory Management for Deep Neural Net Inference (2020): greedy by size and by
    breadth are within a few per cent of the live set's peak; TensorFlow Lite Micro's planner is the former.

No order of placing wins everywhere, so a few are tried and the smallest arena is kept. What may lie over what is
given as `gaps`: where a result may begin below an operand that it overwrites.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from efficiency_cli.roofline.memory.live import Block, alive

# what trying another order may cost in all, in pairs of blocks that are compared: some 4 µs each
BUDGET = 400_000
# what placing a block costs beside the pairs, in pairs
_BLOCK_COST = 5


class Placed(Struct, frozen=True):
    """A block and where it begins in the arena."""

    block: Block
    offset: int

    @property
    def end(self) -> int:
        return self.offset + self.block.size


class Plan(Struct, frozen=True):
    """An arena: its size, every block's offset, and the bound under which no plan gets."""

    size: int
    bound: int
    placed: tuple[Placed, ...]
    alignment: int = 1

    @property
    def over_bound(self) -> float:
        """Arena over bound; 1 where it is reached."""
        return self.size / self.bound if self.bound else 1.0


# (key of the lower block, key of the upper one) -> bytes by which the lower must begin before the upper
Gaps = Mapping[tuple[str, str], int]
NO_GAPS: Gaps = {}


def planned(blocks: Sequence[Block], kernels: int, bound: int, alignment: int = 1, gaps: Gaps = NO_GAPS) -> Plan:
    """The smallest arena of a few orders of placing; `kernels` is the schedule's length.

    O(n · conflicts) for n blocks and each order, as many orders as BUDGET lasts for; where it does not last for one,
    O(n · log n) as an allocator at run time.
    """
    bound = aligned(bound, alignment)
    best = _place_in_time(blocks, alignment)
    each = _pairs(blocks, kernels) + _BLOCK_COST * len(blocks)
    rounded = [replace(b, size=aligned(b.size, alignment)) for b in blocks] if alignment > 1 and not gaps else blocks
    ends = bound if rounded is blocks else max(alive(rounded, kernels), default=0)
    for tried, order in enumerate(_orders(blocks, kernels, ends)):
        if _size(best) <= bound or (tried + 1) * each > BUDGET:
            break
        found = _place(order, kernels, alignment, gaps)
        best = min(best, found, key=_size)
    return Plan(_size(best), bound, tuple(sorted(best, key=lambda p: (p.block.first, p.offset))), alignment)


def aligned(size: int, alignment: int) -> int:
    """`size` rounded up to whole `alignment`s."""
    return -(-size // alignment) * alignment


def _size(placed: Sequence[Placed]) -> int:
    return max((p.end for p in placed), default=0)


class _Order(Struct, frozen=True):
    """Blocks as they are placed. With `ends`, a block goes to an end of an arena of that size where one is free."""

    blocks: list[Block]
    ends: int = 0


def _orders(blocks: Sequence[Block], kernels: int, ends: int) -> Iterator[_Order]:
    in_time = sorted(blocks, key=lambda b: (b.first, -b.size, b.key))
    yield _Order(sorted(blocks, key=lambda b: (-b.size, b.first, b.key)))
    yield _Order(in_time, ends)
    yield _Order(_by_breadth(blocks, kernels))
    yield _Order(sorted(blocks, key=lambda b: (b.first - b.last, -b.size, b.key)), ends)
    yield _Order(in_time)
    yield _Order(sorted(blocks, key=lambda b: (-b.size * (b.last - b.first + 1), b.first, b.key)))


def _pairs(blocks: Sequence[Block], kernels: int) -> int:
    """How many pairs are alive together: each block meets those alive when it begins."""
    begins, ends = [0] * (kernels + 1), [0] * (kernels + 2)
    for b in blocks:
        begins[b.first] += 1
        ends[b.last + 1] += 1
    total = count = 0
    for k in range(kernels):
        count -= ends[k]
        total += begins[k] * count + begins[k] * (begins[k] - 1) // 2
        count += begins[k]
    return total


def _by_breadth(blocks: Sequence[Block], kernels: int) -> list[Block]:
    """Blocks of the kernel with most bytes alive first, the largest first; then the next kernel's."""
    breadth = [0] * (kernels + 1)
    for b in blocks:
        breadth[b.first] += b.size
        breadth[min(b.last + 1, kernels)] -= b.size
    total = 0
    for k in range(kernels):
        total += breadth[k]
        breadth[k] = total
    widest = _RangeMaximum(breadth[: max(kernels, 1)])
    return sorted(blocks, key=lambda b: (-widest.of(b.first, b.last), -b.size, b.first, b.key))


class _RangeMaximum:
    """The largest of a stretch of numbers, in constant time after O(n · log n)."""

    def __init__(self, values: Sequence[int]) -> None:
        self.rows = [list(values)]
        step = 1
        while 2 * step <= len(values):
            row = self.rows[-1]
            self.rows.append([max(row[k], row[k + step]) for k in range(len(row) - step)])
            step *= 2

    def of(self, first: int, last: int) -> int:
        row = (last - first + 1).bit_length() - 1
        return max(self.rows[row][first], self.rows[row][last - (1 << row) + 1])


class _Timeline:
    """Placed blocks, found by when they are alive."""

    def __init__(self, kernels: int) -> None:
        self.starts: list[tuple[int, int]] = []  # (first kernel, number), sorted
        self.placed: list[Placed] = []
        # blocks that last longer than a kernel, by stretches of 2^level kernels they cover: see `_cover`
        self.covering: list[dict[int, list[int]]] = [{} for _ in range(max(kernels, 1).bit_length() + 1)]

    def add(self, placed: Placed) -> None:
        number = len(self.placed)
        self.placed.append(placed)
        insort(self.starts, (placed.block.first, number))
        for level, stretch in _cover(placed.block.first, placed.block.last):
            self.covering[level].setdefault(stretch, []).append(number)

    def meeting(self, block: Block) -> list[Placed]:
        """Those alive when the block begins, and those that begin while it is alive."""
        found = [n for level, row in enumerate(self.covering) for n in row.get(block.first >> level, ())]
        start = bisect_right(self.starts, (block.first, len(self.placed)))
        end = bisect_right(self.starts, (block.last, len(self.placed)))
        return [self.placed[n] for n in (*found, *(n for _, n in self.starts[start:end]))]


def _cover(first: int, last: int) -> Iterator[tuple[int, int]]:
    """The fewest stretches [s·2^l, (s+1)·2^l) that make up the kernels `first` to `last`."""
    last += 1
    level = 0
    while first < last:
        if first & 1:
            yield level, first
            first += 1
        if last & 1:
            last -= 1
            yield level, last
        first, last, level = first >> 1, last >> 1, level + 1


def _place(order: _Order, kernels: int, alignment: int, gaps: Gaps) -> list[Placed]:
    timeline = _Timeline(kernels)
    for block in order.blocks:
        barred = sorted(r for other in timeline.meeting(block) if (r := _barred(block, other, gaps))[0] < r[1])
        highest = (order.ends - block.size) // alignment * alignment
        offset = _at_an_end(barred, highest) if order.ends else None
        timeline.add(Placed(block, _best_gap(barred, alignment) if offset is None else offset))
    return timeline.placed


def _barred(block: Block, other: Placed, gaps: Gaps) -> tuple[int, int]:
    """Offsets between which the block must not begin: over `other`, more than a gap below or above it allowed."""
    above = other.offset + gaps.get((other.block.key, block.key), other.block.size) if gaps else other.end
    below = gaps.get((block.key, other.block.key), block.size) if gaps else block.size
    return other.offset - below, above


def _at_an_end(barred: Sequence[tuple[int, int]], highest: int) -> int | None:
    """0 where that is free, else the highest offset in the arena; None where both are taken.

    In a chain neighbours lie at opposite ends, and no arena is smaller.
    """
    for offset in (0, highest):
        if offset >= 0 and not any(low < offset < high for low, high in barred):
            return offset
    return None


def _best_gap(barred: Sequence[tuple[int, int]], alignment: int) -> int:
    """The offset in the tightest gap of those that the sorted open ranges leave; else behind all of them."""
    offset, best, tightest = 0, -1, -1
    for low, high in barred:
        if low >= offset:
            room = low - offset
            if best < 0 or room < tightest:
                best, tightest = offset, room
        offset = max(offset, aligned(high, alignment))
    return offset if best < 0 else best


def _place_in_time(blocks: Sequence[Block], alignment: int) -> list[Placed]:
    """As an allocator would at run time: best fit in what is free when each kernel begins."""
    free = _FreeList()
    ending: dict[int, list[Placed]] = {}
    placed: list[Placed] = []
    now = 0
    for block in sorted(blocks, key=lambda b: (b.first, -b.size, b.key)):
        while now < block.first:
            for gone in ending.pop(now, ()):
                free.give(gone.offset, aligned(gone.block.size, alignment))
            now += 1
        found = Placed(block, free.take(aligned(block.size, alignment)))
        placed.append(found)
        ending.setdefault(block.last, []).append(found)
    return placed


class _FreeList:
    """Free stretches of an arena that grows at its end."""

    def __init__(self) -> None:
        self.end = 0
        self.at: dict[int, int] = {}  # offset -> size
        self.until: dict[int, int] = {}  # end -> offset
        self.by_size: list[tuple[int, int]] = []

    def take(self, size: int) -> int:
        place = bisect_right(self.by_size, (size, -1))
        if place < len(self.by_size):
            room, offset = self.by_size[place]
            self._drop(offset, room)
            if room > size:
                self._add(offset + size, room - size)
            return offset
        offset = self.until.get(self.end, self.end)
        if offset < self.end:
            self._drop(offset, self.end - offset)
        self.end = offset + size
        return offset

    def give(self, offset: int, size: int) -> None:
        if offset in self.until:
            start = self.until[offset]
            self._drop(start, offset - start)
            offset, size = start, size + offset - start
        behind = offset + size
        if behind in self.at:
            room = self.at[behind]
            self._drop(behind, room)
            size += room
        self._add(offset, size)

    def _add(self, offset: int, size: int) -> None:
        self.at[offset], self.until[offset + size] = size, offset
        insort(self.by_size, (size, offset))

    def _drop(self, offset: int, size: int) -> None:
        del self.at[offset], self.until[offset + size]
        del self.by_size[bisect_right(self.by_size, (size, offset)) - 1]
