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
    """`images` of `rows_in` rows become as many of `rows_out`; row i of a result begins to read at i·stride − pad."""

    images: int
    rows_in: int
    rows_out: int
    stride: float = 1.0
    pad: float = 0.0

    def first_row(self, row: int) -> int:
        """The first row, of all images, that row `row` of the result and those behind it read."""
        image, within = divmod(row, self.rows_out)
        start = math.floor(within * self.stride - self.pad)
        return image * self.rows_in + min(max(start, 0), self.rows_in)

    def bends(self) -> Iterator[int]:
        """Rows of the result between which `first_row` grows evenly."""
        ends = {0, self.rows_out - 1}
        for reached in (0, self.rows_in):
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
            return _rows_of_product(source.shape, target.shape)
        if node.op in _RESIZING or (node.op in _PADDING and len(nodes) == 1):
            return _scaled(node, source.shape, target.shape)
    return None


def gap_of(window: Window, operand_bytes: int, result_bytes: int) -> int:
    """Bytes by which the result must begin below its operand so that no row is overwritten before its last use.

    max over rows i of (i + 1)·row(result) − row(operand)·(first row that row i still reads), at least 0.
    """
    row_in = operand_bytes / (window.images * window.rows_in)
    row_out = result_bytes / (window.images * window.rows_out)
    return max(0, *(math.ceil((k + 1) * row_out - row_in * window.first_row(k)) for k in window.bends()))


def _sliding(node: Node, nodes: Sequence[Node], source: Shape, target: Shape) -> Window | None:
    axis = 1 if node.op in _LAST else 2
    if not len(source) == len(target) > axis or source[0] != target[0]:
        return None
    stride = _nth(node.attributes.get("strides"), 0, 1)
    rows_in, rows_out = source[axis], target[axis]
    pad = _nth(node.attributes.get("pads"), 0, 0)
    if str(node.attributes.get("auto_pad", "")).startswith("SAME"):
        taps = _nth(node.attributes.get("kernel_shape"), 0, 1)
        total = max((rows_out - 1) * stride + taps - rows_in, 0)
        pad = total // 2 if node.attributes.get("auto_pad") == "SAME_UPPER" else total - total // 2
    # a Pad in the same kernel adds to it; how much is before and how much behind is not worth its operand
    padded = any(other.op in _PADDING for other in nodes)
    return Window(source[0], rows_in, rows_out, stride, pad + (stride if padded else 0))


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
        return Window(source[0], rows_in, rows_out, 1.0, float(max(rows_out - rows_in, 0)))
    # interpolation looks one row back
    return Window(source[0], rows_in, rows_out, rows_in / rows_out, 1.0)
