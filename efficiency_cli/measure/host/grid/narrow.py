"""Eight bits: quantised products, element-wise operators, what dynamic and block-wise quantisation write."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from efficiency_cli.graph.assemble import Assembled
from efficiency_cli.graph.model import DType
from efficiency_cli.measure.host.builder import Builder
from efficiency_cli.measure.host.grid.case import Case, length


def cases() -> Iterator[Case]:
    yield from _convolutions(DType.INT8)
    yield from _convolutions(DType.UINT8)
    yield from _products()
    yield from _scores()
    yield from _pools()
    yield from _others()


def _convolutions(dtype: DType) -> Iterator[Case]:
    """`dtype` of the weights: activations are unsigned, and both of one kind are another product."""
    bits, few = dtype.value, dtype is DType.UINT8
    for k, (c, hw) in enumerate(((16, 32), (32, 56), (64, 56), (64, 28), (128, 28), (256, 14), (512, 7), (24, 14))):
        if not few or k % 2:
            yield Case(f"{bits} conv3x3 {c}x{hw}", _narrow_chain(c, hw, 3, 1, dtype), quick=k % 3 == 1)
    for k, (c, d, hw) in enumerate(
        ((16, 96, 56), (64, 256, 28), (128, 512, 14), (96, 576, 14), (160, 960, 7), (64, 64, 24))
    ):
        if not few or k % 2 == 0:
            yield Case(f"{bits} conv1x1 {c}-{d}x{hw}", _narrow_pairs(c, d, hw, dtype), quick=k % 3 == 1 + few)
    for k, (c, hw) in enumerate(((32, 56), (96, 28), (144, 28), (384, 14), (960, 7), (64, 24))):
        if not few or k % 2:
            yield Case(f"{bits} depthwise {c}x{hw}", _narrow_chain(c, hw, 3, c, dtype), quick=k % 3 == 1)
    for kernel, c, hw in ((3, 32, 224), (3, 16, 96), (3, 64, 112), (7, 64, 224), (3, 16, 32), (5, 64, 24)):
        yield Case(f"{bits} first{kernel}x{kernel} {c}x{hw}", _narrow_first(c, hw, kernel, dtype), quick=c == 32)


def _products() -> Iterator[Case]:
    for rows, depth, width in ((1, 256, 256), (1, 1024, 1000), (16, 384, 384), (128, 768, 768), (197, 192, 768)):
        yield Case(f"int8 gemm {rows}x{depth}x{width}", _narrow_gemm(rows, depth, width), quick=rows == 128)
    for rows, depth, width in ((1, 1024, 1000), (128, 256, 256)):
        yield Case(f"uint8 gemm {rows}x{depth}x{width}", _narrow_gemm(rows, depth, width, DType.UINT8))
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
    for rows, depth, width in ((1, 768, 768), (1, 288, 768), (16, 512, 512), (128, 512, 512)):
        yield Case(f"int8 weights {rows}x{depth}x{width}", _packed(rows, depth, width, bits=8), quick=rows == 16)


def _scores() -> Iterator[Case]:
    """Products of two activations, as attention has them."""
    for heads, tokens, width in ((3, 197, 64), (12, 128, 64), (8, 49, 32)):
        make = _narrow_scores(heads, tokens, width)
        yield Case(f"int8 scores {heads}x{tokens}x{width}", make, quick=tokens == 128)


def _narrow_scores(heads: int, tokens: int, width: int) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        x = b.quantized(b.input(1, heads, tokens, width))
        for _ in range(length(2 * heads * tokens**2 * width / 3, 0)):
            key = b.quantized(b.input(1, heads, width, tokens))
            value = b.quantized(b.input(1, heads, tokens, width))
            x = b.quantized(b.matmul(b.quantized(b.matmul(x, key)), value))
        return b.built(x)

    return make


def _pools() -> Iterator[Case]:
    """Between convolutions, which have their images channels last."""
    for op in ("MaxPool", "AveragePool", "GlobalAveragePool"):
        for c, hw in ((64, 28), (128, 14), (64, 56), (64, 7), (16, 8)):
            yield Case(f"int8 {op} {c}x{hw}", _narrow_pool(op, c, hw), quick=hw == 14)


def _narrow_pool(op: str, c: int, hw: int) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        x = b.narrow_conv(b.quantized(b.input(1, c, hw, hw)), c, 1)
        results = []
        for _ in range(length(0, 8 * c * hw * hw)):
            if op == "GlobalAveragePool":
                x = b.narrow_conv(x, c, 1)
                results.append(b.quantized(b.global_pool(x)))
            else:
                x = b.narrow_conv(b.quantized(b.pool(x, op, 3, 1, 1)), c, 1)
        return b.built(*(results or [x]))

    return make


def _others() -> Iterator[Case]:
    for op in (
        "Add",
        "Mul",
        "Transpose",
        "Concat",
        "Softmax",
        "Sigmoid",
        "Borders",
    ):
        for c, hw in ((64, 28), (128, 14), (256, 28), (64, 7), (16, 8)):
            yield Case(f"int8 {op} {c}x{hw}", _narrow_op(op, c, hw), quick=hw == 14)


def _narrow_chain(c: int, hw: int, kernel: int, group: int, dtype: DType) -> Callable[[], Assembled]:
    weights = c * (c // group) * kernel**2
    count = length(weights * hw * hw / (1 if group > 1 else 3), 0, weights)

    def make() -> Assembled:
        b = Builder()
        x = b.quantized(b.input(1, c, hw, hw))
        for _ in range(count):
            x = b.narrow_conv(x, c, kernel, group=group, dtype=dtype)
        return b.built(x)

    return make


def _narrow_pairs(c: int, d: int, hw: int, dtype: DType) -> Callable[[], Assembled]:
    count = max(1, length(2 * c * d * hw * hw / 3, 0, 2 * c * d) // 2)

    def make() -> Assembled:
        b = Builder()
        x = b.quantized(b.input(1, c, hw, hw))
        for _ in range(count):
            x = b.narrow_conv(b.narrow_conv(x, d, 1, dtype=dtype), c, 1, dtype=dtype)
        return b.built(x)

    return make


def _narrow_first(c: int, hw: int, kernel: int, dtype: DType) -> Callable[[], Assembled]:
    count = length(3 * c * (kernel * hw / 2) ** 2, 0)

    def make() -> Assembled:
        b = Builder()
        x = b.quantized(b.input(1, 3, hw, hw))
        return b.built(*(b.narrow_conv(x, c, kernel, stride=2, dtype=dtype) for _ in range(count)))

    return make


def _narrow_gemm(rows: int, depth: int, width: int, dtype: DType = DType.INT8) -> Callable[[], Assembled]:
    count = max(1, length(2 * rows * depth * width / 3, 0, 2 * depth * width) // 2)

    def make() -> Assembled:
        b = Builder()
        x = b.quantized(b.input(rows, depth))
        for _ in range(count):
            x = b.narrow_dense(b.narrow_dense(x, width, dtype), depth, dtype)
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
                case "Transpose":
                    moved = b.transpose(b.quantized(b.input(1, c, hw, hw)), 0, 2, 3, 1)
                    results.append(b.quantized(moved))
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


def _packed(rows: int, depth: int, width: int, bits: int = 4, block: int = 32) -> Callable[[], Assembled]:
    def product(b: Builder, x: str, columns: int) -> str:
        lines, deep = b.shapes[x]
        weight = b.weight(columns, deep // block, block * bits // 8, dtype=DType.UINT8)
        scales = b.weight(columns * (deep // block))
        attributes = {"K": deep, "N": columns, "bits": bits, "block_size": block}
        return b.microsoft("MatMulNBits", [x, weight, scales], (lines, columns), **attributes)

    def make() -> Assembled:
        b = Builder()
        x = b.input(rows, depth)
        for _ in range(max(1, length(2 * rows * depth * width, 0, depth * width) // 2)):
            x = product(b, product(b, x, width), depth)
        return b.built(x)

    return make
