"""Eight bits: quantised products, element-wise operators, what dynamic and block-wise quantisation write."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from efficiency_cli.graph.assemble import Assembled
from efficiency_cli.graph.model import DType
from efficiency_cli.measure.host.builder import Builder
from efficiency_cli.measure.host.grid.case import Case, length


def cases() -> Iterator[Case]:
    yield from _convolutions()
    yield from _products()
    yield from _others()


def _convolutions() -> Iterator[Case]:
    for k, (c, hw) in enumerate(((16, 32), (32, 56), (64, 56), (64, 28), (128, 28), (256, 14), (512, 7), (24, 14))):
        yield Case(f"int8 conv3x3 {c}x{hw}", _narrow_chain(c, hw, 3, 1), quick=k % 3 == 1)
    for k, (c, d, hw) in enumerate(
        ((16, 96, 56), (64, 256, 28), (128, 512, 14), (96, 576, 14), (160, 960, 7), (64, 64, 24))
    ):
        yield Case(f"int8 conv1x1 {c}-{d}x{hw}", _narrow_pairs(c, d, hw), quick=k % 3 == 1)
    for k, (c, hw) in enumerate(((32, 56), (96, 28), (144, 28), (384, 14), (960, 7), (64, 24))):
        yield Case(f"int8 depthwise {c}x{hw}", _narrow_chain(c, hw, 3, c), quick=k % 3 == 1)
    for c, hw in ((32, 224), (16, 96), (64, 112)):
        yield Case(f"int8 first {c}x{hw}", _narrow_first(c, hw), quick=hw == 224)


def _products() -> Iterator[Case]:
    for rows, depth, width in ((1, 256, 256), (1, 1024, 1000), (16, 384, 384), (128, 768, 768), (197, 192, 768)):
        yield Case(f"int8 gemm {rows}x{depth}x{width}", _narrow_gemm(rows, depth, width), quick=rows == 128)
    for rows, depth, width in (
        (1, 768, 768),
        (16, 512, 512),
        (128, 768, 3072),
        (1, 2048, 512),
        (1, 288, 768),
        (197, 192, 768),
    ):
        yield Case(f"dynamic int8 {rows}x{depth}x{width}", _dynamic(rows, depth, width), quick=rows == 128)
        yield Case(f"int4 {rows}x{depth}x{width}", _packed(rows, depth, width), quick=rows == 128)


def _others() -> Iterator[Case]:
    for op in (
        "Add",
        "Mul",
        "MaxPool",
        "Transpose",
        "Concat",
        "AveragePool",
        "GlobalAveragePool",
        "Softmax",
        "Sigmoid",
        "Borders",
    ):
        for c, hw in ((64, 28), (128, 14), (256, 28), (64, 7), (16, 8)):
            yield Case(f"int8 {op} {c}x{hw}", _narrow_op(op, c, hw), quick=hw == 14)


def _narrow_chain(c: int, hw: int, kernel: int, group: int) -> Callable[[], Assembled]:
    weights = c * (c // group) * kernel**2
    count = length(weights * hw * hw / (1 if group > 1 else 3), 0, weights)

    def make() -> Assembled:
        b = Builder()
        x = b.quantized(b.input(1, c, hw, hw))
        for _ in range(count):
            x = b.narrow_conv(x, c, kernel, group=group)
        return b.built(x)

    return make


def _narrow_pairs(c: int, d: int, hw: int) -> Callable[[], Assembled]:
    count = max(1, length(2 * c * d * hw * hw / 3, 0, 2 * c * d) // 2)

    def make() -> Assembled:
        b = Builder()
        x = b.quantized(b.input(1, c, hw, hw))
        for _ in range(count):
            x = b.narrow_conv(b.narrow_conv(x, d, 1), c, 1)
        return b.built(x)

    return make


def _narrow_first(c: int, hw: int) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        x = b.quantized(b.input(1, 3, hw, hw))
        return b.built(*(b.narrow_conv(x, c, 3, stride=2) for _ in range(2)))

    return make


def _narrow_gemm(rows: int, depth: int, width: int) -> Callable[[], Assembled]:
    count = max(1, length(2 * rows * depth * width / 3, 0, 2 * depth * width) // 2)

    def make() -> Assembled:
        b = Builder()
        x = b.quantized(b.input(rows, depth))
        for _ in range(count):
            x = b.narrow_dense(b.narrow_dense(x, width), depth)
        return b.built(x)

    return make


def _narrow_op(op: str, c: int, hw: int) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        x = b.quantized(b.input(1, c, hw, hw))
        other = b.quantized(b.input(1, c, hw, hw))
        results = []
        for _ in range(length(0, 8 * c * hw * hw)):
            match op:
                case "Add" | "Mul":
                    x = b.quantized(b.same(op, x, other))
                case "Concat":
                    results.append(b.quantized(b.concat(x, b.quantized(b.input(1, c, hw, hw)))))
                case "AveragePool" | "MaxPool":
                    x = b.quantized(b.pool(x, op, 3, 1, 1))
                case "Transpose":
                    moved = b.transpose(b.quantized(b.input(1, c, hw, hw)), 0, 2, 3, 1)
                    results.append(b.quantized(moved))
                case "GlobalAveragePool":
                    results.append(b.quantized(b.global_pool(b.quantized(b.input(1, c, hw, hw)))))
                case "Softmax":
                    x = b.quantized(b.same(op, x, axis=-1))
                case "Sigmoid":
                    x = b.quantized(b.same(op, x))
                case "Borders":
                    x = b.quantized(b.same("Erf", x))
        return b.built(*(results or [x]))

    return make


def _dynamic(rows: int, depth: int, width: int) -> Callable[[], Assembled]:
    """Weights of eight bits, activations quantised on the way, as dynamic quantisation writes it."""

    def product(b: Builder, x: str, columns: int) -> str:
        lines, deep = b.shapes[x]
        q, scale, zero = b.ops("DynamicQuantizeLinear", [x], [(lines, deep), (), ()])
        operands = [q, b.weight(deep, columns, dtype=DType.INT8), zero, b.constant([0], (), DType.INT8)]
        found = b.same("Cast", b.op("MatMulInteger", operands, (lines, columns)), to=1)
        factor = b.op("Mul", [scale, b.constant([0.02], (), DType.FLOAT32)], ())
        return b.same("Mul", found, factor)

    def make() -> Assembled:
        b = Builder()
        x = b.input(rows, depth)
        for _ in range(max(1, length(2 * rows * depth * width / 3, 0, 2 * depth * width) // 2)):
            x = product(b, product(b, x, width), depth)
        return b.built(x)

    return make


def _packed(rows: int, depth: int, width: int, block: int = 32) -> Callable[[], Assembled]:
    def product(b: Builder, x: str, columns: int) -> str:
        lines, deep = b.shapes[x]
        weight = b.weight(columns, deep // block, block // 2, dtype=DType.UINT8)
        scales = b.weight(columns * (deep // block))
        attributes = {"K": deep, "N": columns, "bits": 4, "block_size": block}
        return b.microsoft("MatMulNBits", [x, weight, scales], (lines, columns), **attributes)

    def make() -> Assembled:
        b = Builder()
        x = b.input(rows, depth)
        for _ in range(max(1, length(2 * rows * depth * width, 0, depth * width) // 2)):
            x = product(b, product(b, x, width), depth)
        return b.built(x)

    return make
