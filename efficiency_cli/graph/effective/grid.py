"""Which cell of a coarser grid each element of a tensor is in: its channel, or the block of its zero point.

Elements come in the order in which they are stored, a chunk at a time.
"""

from __future__ import annotations

import math

import numpy as np
from msgspec import Struct

from efficiency_cli.graph.effective.elements import Array


class Grid(Struct, frozen=True):
    """Cells of a smaller grid over a tensor: `sizes` of it (1 along axes it does not have), `blocks` in each cell."""

    dims: tuple[int, ...]
    sizes: tuple[int, ...]
    blocks: tuple[int, ...]

    @property
    def cells(self) -> int:
        return math.prod(self.sizes)

    @property
    def run(self) -> int:
        """So many elements, one after the other, are in one cell."""
        last = max((axis for axis, size in enumerate(self.sizes) if size > 1), default=0)
        return math.prod(self.dims[last + 1 :]) * (self.blocks[last] if self._even(last) else 1)

    def _even(self, axis: int) -> bool:
        return self.dims[axis] % self.blocks[axis] == 0

    def runs(self, start: int, count: int) -> tuple[Array, Array]:
        """Of `count` elements from `start` on: where each run begins among them, and its cell."""
        places = np.arange(start // self.run * self.run, start + count, self.run)
        return np.maximum(places - start, 0), self._cells(places)

    def _cells(self, places: Array) -> Array:
        found = np.zeros(places.size, dtype=np.int64)
        for axis, size in enumerate(self.sizes):
            if size > 1:
                along = places // math.prod(self.dims[axis + 1 :])
                along = along % self.dims[axis] if axis else along
                found = found * size + (along // self.blocks[axis] if self.blocks[axis] > 1 else along)
        return found

    def sums(self, start: int, flags: Array) -> Array:
        """How many of `flags`, those of the elements from `start` on, are set in each cell."""
        if self.run == 1 and self.cells == self.dims[-1]:
            before = start % self.cells
            rows = np.pad(flags, (before, -(before + flags.size) % self.cells)).reshape(-1, self.cells)
            return np.asarray(rows.sum(axis=0, dtype=np.int64))
        begins, cells = self.runs(start, flags.size)
        each = np.add.reduceat(flags, begins, dtype=np.int64) if self.run > 1 else flags
        return np.bincount(cells, weights=each, minlength=self.cells).astype(np.int64)


class Points(Struct, frozen=True):
    """What stands for zero: one number, or one for each cell of a grid."""

    values: Array
    grid: Grid | None = None

    def at(self, start: int, count: int) -> Array:
        """Those of `count` elements from `start` on."""
        if self.grid is None:
            return self.values[:1]
        begins, cells = self.grid.runs(start, count)
        return np.repeat(self.values[cells], np.diff(begins, append=count))
