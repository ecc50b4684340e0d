"""How an operator goes through an operand row by row: when each row was read for the last time.

Rows are those of channels-last images (or positions of signals) one image after the other, and the rows of a
matrix. An operator that reads its operand in another order has no window.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from msgspec import Struct

from efficiency_cli.graph.model import Node, Shape, Tensor

# operator -> axis of its rows; those with `strides` and `pads` slide over them
_SLIDING = frozenset(
    """Conv FusedConv ConvInteger QLinearConv NhwcConv NhwcFusedConv MaxPool AveragePool LpPool QLinearAveragePool
    NhwcMaxPool""".split()
)
_LAST = frozenset({"NhwcConv", "NhwcFusedConv", "NhwcMaxPool"})  # channels last
_PADDING = frozenset({"Pad"})
_PRODUCTS = frozenset(
    """MatMul Gemm FusedMatMul FusedGemm MatMulInteger QLinearMatMul QGemm MatMulNBits MatMulIntegerToFloat
    DynamicQuantizeMatMul""".split()
)
_RESIZING = frozenset({"Resize", "Upsample"})


class Window(Struct, frozen=True):
    """`images` of `rows_in` rows become as many of `rows_out`.

    Row i of a result reads the rows from i·stride − pad on, `reach` of them.
    """

    images: int
    rows_in: int
    rows_out: int
    stride: float = 1.0
    pad: float = 0.0
    reach: int = 1

    def first_row(self, row: int) -> int:
        """The first row, of all images, that row `row` of the result and those behind it read."""
        image, within = divmod(row, self.rows_out)
        start = math.floor(within * self.stride - self.pad)
        return image * self.rows_in + min(max(start, 0), self.rows_in)

    def end_row(self, row: int) -> int:
        """One behind the last row that row `row` of the result and those before it read."""
        image, within = divmod(row, self.rows_out)
        end = math.ceil(within * self.stride - self.pad) + self.reach
        return image * self.rows_in + min(max(end, 0), self.rows_in)

    def bends(self) -> Iterator[int]:
        """Rows of the result between which `first_row` and `end_row` grow evenly."""
        ends = {0, self.rows_out - 1}
        for reached in (0, self.rows_in, -self.reach, self.rows_in - self.reach):
            near = math.floor((reached + self.pad) / self.stride) if self.stride else 0
            ends.update(k for k in range(near - 2, near + 3) if 0 <= k < self.rows_out)
        for image in {0, self.images - 1}:
            yield from (image * self.rows_out + k for k in sorted(ends))


def window_of(nodes: Sequence[Node], source: Tensor, target: Tensor) -> Window | None:
    """The window of a kernel's nodes, in their order, over its operand; None where it is read in another order."""
    if not source.shape or not target.shape:
        return None
    for node in nodes:
        if node.op in _SLIDING:
            return _sliding(node, nodes, source.shape, target.shape)
        if node.op in _PRODUCTS:
            return None if node.attributes.get("transA") else _rows_of_product(source.shape, target.shape)
        if node.op in _RESIZING or (node.op in _PADDING and len(nodes) == 1):
            return _scaled(node, source.shape, target.shape)
    return None


class Gaps(Struct, frozen=True):
    """Bytes by which a result has to be off its operand so that no row is overwritten before its last use.

    It begins `below` bytes before the operand does, and is written forwards; or ends `above` bytes behind the
    operand's end, and is written backwards, last row first.
    """

    below: int
    above: int


def gaps_of(window: Window, operand_bytes: int, result_bytes: int) -> Gaps:
    """The least of both, at least 0, with `in` and `out` the bytes of a row of operand and result.

    below = max over rows i of (i + 1)·out − first_row(i)·in
    above = max over rows i of (rows − i)·out − (rows of the operand − end_row(i))·in
    """
    rows_in, rows_out = window.images * window.rows_in, window.images * window.rows_out
    row_in, row_out = operand_bytes / rows_in, result_bytes / rows_out
    bends = list(window.bends())
    below = max((k + 1) * row_out - row_in * window.first_row(k) for k in bends)
    above = max((rows_out - k) * row_out - row_in * (rows_in - window.end_row(k)) for k in bends)
    return Gaps(max(0, math.ceil(below)), max(0, math.ceil(above)))


def _sliding(node: Node, nodes: Sequence[Node], source: Shape, target: Shape) -> Window | None:
    axis = 1 if node.op in _LAST else 2
    if not len(source) == len(target) > axis or source[0] != target[0]:
        return None
    stride = _nth(node.attributes.get("strides"), 0, 1)
    rows_in, rows_out = source[axis], target[axis]
    pad = _nth(node.attributes.get("pads"), 0, 0)
    ends = node.attributes.get("pads")
    behind = _nth(ends, len(ends) // 2, 0) if isinstance(ends, tuple) else pad
    taps = _nth(node.attributes.get("kernel_shape"), 0, 0)
    # a convolution may leave its taps to its weight: what the rows leave room for is no less
    taps = taps or max(rows_in + pad + behind - (rows_out - 1) * stride, 1)
    taps = (taps - 1) * _nth(node.attributes.get("dilations"), 0, 1) + 1
    if str(node.attributes.get("auto_pad", "")).startswith("SAME"):
        total = max((rows_out - 1) * stride + taps - rows_in, 0)
        pad = total // 2 if node.attributes.get("auto_pad") == "SAME_UPPER" else total - total // 2
    # what a Pad in the same kernel puts before the rows, and what behind, is in an operand: take the worse for each
    padded = max((rows_out - 1) * stride + taps - rows_in - pad, 0) if any(o.op in _PADDING for o in nodes) else 0
    return Window(source[0], rows_in, rows_out, stride, pad + padded, taps + padded)


def _nth(value: object, place: int, default: int) -> int:
    return int(value[place]) if isinstance(value, tuple) and len(value) > place else default


def _rows_of_product(source: Shape, target: Shape) -> Window | None:
    rows = math.prod(source[:-1])
    return Window(1, rows, rows) if rows and math.prod(target[:-1]) == rows else None


def _scaled(node: Node, source: Shape, target: Shape) -> Window | None:
    """Padding moves rows by what is put before them, resizing spreads them."""
    axis = 2
    if not len(source) == len(target) > axis or source[:1] != target[:1] or not target[axis]:
        return None
    rows_in, rows_out = source[axis], target[axis]
    if node.op in _PADDING:
        # as much before the rows as behind them at most
        more = max(rows_out - rows_in, 0)
        return Window(source[0], rows_in, rows_out, 1.0, float(more), 1 + more)
    # interpolation looks a row back and two ahead
    return Window(source[0], rows_in, rows_out, rows_in / rows_out, 1.0, 4)
