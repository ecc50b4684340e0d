"""The cases of the micro-benchmark: chains of one operator in the sizes that networks have, and small blocks.

Operators that reshape their input come in pairs or with what brings its shape back, so that chains can be long; what
a chain has besides its operator is fitted with it. Blocks are networks in small: they are not fitted, the fit is judged
by them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from msgspec import Struct

from efficiency_cli.graph.assemble import Assembled
from efficiency_cli.graph.model import DType
from efficiency_cli.measure.host.builder import Builder

# multiply–accumulates and bytes that one chain is to have: some 0.3 ms on one core
_WORK, _BYTES = 12e6, 4e6
_LONGEST, _SHORTEST = 16, 2
# weights of one chain: they need not fit any cache, but memory is not free
_MOST_WEIGHTS = 48 << 20


class Case(Struct, frozen=True):
    """One small network. `quick`: part of the grid in any case; `block`: judged, not fitted."""

    name: str
    make: Callable[[], Assembled]
    quick: bool = False
    block: bool = False


def cases(quick: bool = False) -> list[Case]:
    """The grid, in an order that is always the same."""
    found = [case for part in _PARTS for case in part()]
    return [c for c in found if c.quick] if quick else found


def _length(macs: float, moved: float, weights: float = 0.0) -> int:
    """How often to repeat something that computes and moves so much."""
    wanted = min(_WORK / max(macs, 1), _BYTES / max(moved, 1))
    most = _MOST_WEIGHTS / weights if weights else _LONGEST
    return max(1, min(_LONGEST, int(most), max(_SHORTEST, round(wanted))))


def _chain(step: Callable[[Builder, str], str], count: int, *dims: int, dtype: DType = DType.FLOAT32) -> Assembled:
    builder = Builder()
    x = builder.input(*dims, dtype=dtype)
    for _ in range(count):
        x = step(builder, x)
    return builder.built(x)


# --- convolutions ------------------------------------------------------------------------------


def _convolutions() -> Iterator[Case]:
    sizes = [
        *((16, 112), (32, 56), (64, 56), (24, 28), (64, 28), (128, 28), (96, 14), (128, 14), (256, 14), (160, 7)),
        *((256, 7), (512, 7), (64, 14), (32, 112), (48, 56)),
    ]
    for k, (c, hw) in enumerate(sizes):
        yield Case(f"conv3x3 {c}x{hw}", _conv(c, hw, 3), quick=k % 3 == 1)
    for kernel, c, hw in ((5, 32, 28), (5, 64, 14), (7, 32, 28), (7, 64, 14), (5, 16, 56)):
        yield Case(f"conv{kernel}x{kernel} {c}x{hw}", _conv(c, hw, kernel))
    for c, hw in ((32, 56), (64, 28), (128, 28), (256, 14)):
        yield Case(f"conv3x3 dilated {c}x{hw}", _conv(c, hw, 3, dilation=2))
    for c, hw in ((32, 112), (64, 56), (128, 28), (256, 14)):
        yield Case(f"conv3x3/2 {c}x{hw}", _strided(c, hw), quick=hw == 56)


def _conv(c: int, hw: int, kernel: int, dilation: int = 1) -> Callable[[], Assembled]:
    weights = c * c * kernel**2
    count = _length(weights * hw * hw, 0, 4 * weights)

    def step(b: Builder, x: str) -> str:
        return b.same("Relu", b.conv(x, c, kernel, dilation=dilation))

    return lambda: _chain(step, count, 1, c, hw, hw)


def _strided(c: int, hw: int) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        x = b.input(1, c, hw, hw)
        for factor in (1, 2, 2):
            x = b.same("Relu", b.conv(x, c * factor, 3, stride=2))
        return b.built(x)

    return make


def _pointwise() -> Iterator[Case]:
    sizes = [
        *((16, 96, 112), (24, 144, 56), (64, 256, 56), (32, 192, 28), (128, 512, 28), (64, 384, 14), (256, 1024, 14)),
        *((96, 576, 14), (160, 960, 7), (512, 2048, 7), (320, 1280, 7), (40, 120, 28), (16, 64, 56), (80, 184, 14)),
        *((128, 128, 28), (256, 256, 14), (512, 512, 7), (64, 64, 112), (8, 48, 56)),
    ]
    for k, (c, d, hw) in enumerate(sizes):
        yield Case(f"conv1x1 {c}-{d}x{hw}", _pairs(c, d, hw), quick=k % 3 == 1)


def _pairs(c: int, d: int, hw: int) -> Callable[[], Assembled]:
    weights = c * d
    count = max(1, _length(2 * weights * hw * hw, 0, 8 * weights) // 2)

    def step(b: Builder, x: str) -> str:
        return b.conv(b.same("Relu", b.conv(x, d, 1)), c, 1)

    return lambda: _chain(step, count, 1, c, hw, hw)


def _depthwise() -> Iterator[Case]:
    sizes = [
        *((3, 32, 112), (3, 96, 56), (3, 144, 56), (3, 192, 28), (3, 384, 14), (3, 576, 14), (3, 960, 7), (5, 72, 28)),
        *((5, 240, 14), (5, 672, 7), (7, 96, 28), (7, 192, 14), (3, 64, 56), (3, 128, 28), (3, 512, 14), (3, 16, 112)),
    ]
    for k, (kernel, c, hw) in enumerate(sizes):
        yield Case(f"depthwise{kernel}x{kernel} {c}x{hw}", _grouped(c, hw, kernel, c), quick=k % 4 == 1)
    for kernel, c, hw in ((3, 36, 28), (3, 100, 14), (5, 20, 56), (3, 58, 28)):
        yield Case(f"depthwise{kernel}x{kernel} unblocked {c}x{hw}", _grouped(c, hw, kernel, c))


def _grouped(c: int, hw: int, kernel: int, group: int) -> Callable[[], Assembled]:
    weights = c * (c // group) * kernel**2
    # depthwise products are slow: their chains are as long as those of ten times the work
    count = _length(weights * hw * hw * (10 if group == c else 3), 8 * c * hw * hw, 4 * weights)

    def step(b: Builder, x: str) -> str:
        return b.same("Relu", b.conv(x, c, kernel, group=group))

    return lambda: _chain(step, count, 1, c, hw, hw)


def _groups() -> Iterator[Case]:
    sizes = ((32, 128, 56), (32, 256, 28), (32, 512, 14), (4, 128, 28), (4, 256, 14), (2, 128, 28), (8, 256, 14))
    for group, c, hw in sizes:
        yield Case(f"grouped{group} {c}x{hw}", _grouped(c, hw, 3, group), quick=c == 256)


def _first_layers() -> Iterator[Case]:
    sizes = [(3, 32, 224, 2, 3), (7, 64, 224, 2, 3), (3, 16, 96, 2, 3), (3, 64, 64, 1, 3), (3, 16, 32, 1, 1)]
    sizes += [(16, 192, 224, 16, 3), (5, 32, 128, 2, 1), (4, 96, 224, 4, 3), (3, 24, 160, 2, 3)]
    for kernel, c, hw, stride, channels in sizes:
        yield Case(f"first{kernel}x{kernel} {channels}-{c}x{hw}", _first(kernel, c, hw, stride, channels), hw == 224)


def _first(kernel: int, c: int, hw: int, stride: int, channels: int) -> Callable[[], Assembled]:
    macs = c * channels * kernel**2 * (hw // stride) ** 2

    def make() -> Assembled:
        b = Builder()
        x = b.input(1, channels, hw, hw)
        parts = [b.global_pool(b.conv(x, c, kernel, stride=stride)) for _ in range(_length(macs, 0))]
        return b.built(*parts)

    return make


def _other_convolutions() -> Iterator[Case]:
    for c, size in ((64, 1000), (128, 250), (256, 64), (32, 4000)):
        yield Case(f"conv1d {c}x{size}", _any_axes(c, (size,), 3), quick=c == 128)
    for c, dims in ((32, (8, 28, 28)), (64, (4, 14, 14)), (64, (8, 28, 28)), (128, (2, 14, 14))):
        yield Case(f"conv3d {c}x{dims[0]}x{dims[1]}", _any_axes(c, dims, 3), quick=c == 64)
    for c, hw in ((32, 56), (64, 28), (128, 14), (64, 14)):
        yield Case(f"transposed {c}x{hw}", _transposed(c, hw), quick=c == 64)


def _any_axes(c: int, size: tuple[int, ...], kernel: int) -> Callable[[], Assembled]:
    weights = c * c * kernel ** len(size)
    count = _length(weights * math.prod(size), 0, 4 * weights)

    def step(b: Builder, x: str) -> str:
        return b.same("Relu", b.conv(x, c, kernel))

    return lambda: _chain(step, count, 1, c, *size)


def _transposed(c: int, hw: int) -> Callable[[], Assembled]:
    def step(b: Builder, x: str) -> str:
        return b.pool(b.conv(x, c, 2, stride=2, transposed=True), "MaxPool", 2, 2)

    return lambda: _chain(step, _length(4 * c * c * hw * hw, 0), 1, c, hw, hw)


# --- products ----------------------------------------------------------------------------------


def _products() -> Iterator[Case]:
    widths = ((64, 256), (128, 512), (256, 1024), (384, 1536), (768, 3072), (512, 512), (1024, 1024))
    for rows in (1, 4, 16, 64, 128, 197, 512):
        for k, (depth, width) in enumerate(widths):
            if rows * depth * width <= 4e8:
                yield Case(f"gemm {rows}x{depth}x{width}", _gemm(rows, depth, width), quick=(k + rows) % 5 == 1)
    for depth, width in ((2048, 1000), (1280, 1000), (4096, 1024), (256, 10)):
        yield Case(f"gemv {depth}x{width}", _gemm(1, depth, width))


def _gemm(rows: int, depth: int, width: int) -> Callable[[], Assembled]:
    weights = depth * width
    count = max(1, _length(2 * rows * weights, 0, 8 * weights) // 2)

    def step(b: Builder, x: str) -> str:
        return b.dense(b.dense(x, width), depth)

    return lambda: _chain(step, count, rows, depth)


def _attention_products() -> Iterator[Case]:
    for heads, tokens, width in ((12, 64, 64), (12, 128, 64), (3, 197, 64), (12, 197, 64), (8, 49, 32), (6, 256, 32)):
        yield Case(f"scores {heads}x{tokens}x{width}", _scores(heads, tokens, tokens, width), quick=tokens == 128)
    for heads, tokens, width in ((12, 128, 64), (12, 512, 64), (6, 256, 64), (16, 1024, 64)):
        yield Case(f"decode {heads}x{tokens}x{width}", _scores(heads, 1, tokens, width), quick=tokens == 512)


def _scores(heads: int, queries: int, keys: int, width: int) -> Callable[[], Assembled]:
    count = _length(2 * heads * queries * keys * width, 8 * heads * keys * width)

    def make() -> Assembled:
        b = Builder()
        x = b.input(1, heads, queries, width)
        for _ in range(count):
            key, value = b.input(1, heads, width, keys), b.input(1, heads, keys, width)
            x = b.matmul(b.matmul(x, key), value)
        return b.built(x)

    return make


# --- what is not products ----------------------------------------------------------------------

_SIZES = (1_000, 30_000, 300_000, 1_500_000)
_UNARY = (
    *("Relu", "Sigmoid", "Tanh", "Erf", "Exp", "Sqrt", "Neg", "Abs", "Reciprocal", "LeakyRelu", "HardSigmoid"),
    *("HardSwish", "Elu", "Softplus", "Log", "Floor", "Sin", "Cos", "Gelu", "Swish", "Pow", "Clip", "Cast", "Not"),
)
_BINARY = ("Add", "Mul", "Sub", "Div", "Min", "Max", "Where", "PRelu", "Equal")


def _elementwise() -> Iterator[Case]:
    for op in (*_UNARY, *_BINARY):
        for size in _SIZES:
            yield Case(f"{op} {size}", _pointwise_chain(op, size), quick=size == 30_000)
    for op in ("Add", "Mul"):
        for c, hw in ((64, 56), (256, 14)):
            yield Case(f"{op} channels {c}x{hw}", _by_channel(op, c, hw), quick=hw == 56)


def _pointwise_chain(op: str, size: int) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        count = _length(0, 8 * size)
        x = b.input(1, size)
        other = b.input(1, size) if op in _BINARY else ""
        results = []
        for _ in range(count):
            x = _applied(b, op, x, other)
            # alternating with another keeps runtimes from joining or dropping what repeats
            if op in ("Relu", "Abs", "Neg", "Clip", "Floor", "Not", "Equal"):
                results.append(x)
                x = b.same("Sub", x, b.input(1, size)) if op not in ("Not", "Equal") else b.input(1, size)
        return b.built(x, *results) if results and results[-1] != x else b.built(x)

    return make


def _applied(b: Builder, op: str, x: str, other: str) -> str:
    number = {"Pow": 1.5, "Clip": 0.0}
    match op:
        case "Gelu":
            return b.gelu(x)
        case "Swish":
            return b.silu(x)
        case "Pow":
            return b.same(op, x, b.constant([number[op]], (), DType.FLOAT32))
        case "Clip":
            low, high = (b.constant([v], (), DType.FLOAT32) for v in (-1.0, 6.0))
            return b.same(op, x, low, high)
        case "Cast":
            return b.same(op, b.same(op, x, to=6), to=1)  # to int32 and back
        case "Not":
            return b.same(op, b.same("Greater", x, b.constant([0.0], (), DType.FLOAT32)))
        case "Where":
            return b.same(op, b.same("Greater", x, b.constant([0.0], (), DType.FLOAT32)), x, other)
        case "PRelu":
            return b.same(op, x, b.weight(b.shapes[x][-1]))
    return b.same(op, x, other) if other else b.same(op, x)


def _by_channel(op: str, c: int, hw: int) -> Callable[[], Assembled]:
    def step(b: Builder, x: str) -> str:
        return b.same(op, x, b.weight(1, c, 1, 1))

    return lambda: _chain(step, _length(0, 8 * c * hw * hw), 1, c, hw, hw)


def _rows() -> Iterator[Case]:
    for rows, width in ((1, 768), (64, 256), (128, 768), (197, 192), (512, 1024)):
        for op in ("LayerNormalization", "SkipLayerNormalization", "Softmax", "RMSNormalization"):
            yield Case(f"{op} {rows}x{width}", _row_chain(op, rows, width), quick=rows == 128)
        for op in ("ReduceMean", "ReduceSum", "ReduceMax"):
            yield Case(f"{op} {rows}x{width}", _row_chain(op, rows, width), quick=rows == 128)
    for heads, tokens in ((12, 128), (3, 197), (12, 512)):
        yield Case(f"Softmax {heads}x{tokens}x{tokens}", _row_chain("Softmax", heads * tokens, tokens))
    for c, hw in ((32, 56), (256, 14)):
        yield Case(f"InstanceNormalization {c}x{hw}", _instance(c, hw), quick=hw == 56)


def _row_chain(op: str, rows: int, width: int) -> Callable[[], Assembled]:
    def step(b: Builder, x: str) -> str:
        match op:
            case "LayerNormalization":
                return b.norm(x)
            case "SkipLayerNormalization":
                return b.norm(b.same("Add", x, b.input(rows, width)))
            case "Softmax":
                return b.same("Softmax", x, axis=-1)
            case "RMSNormalization":
                two, least = (b.constant([v], (), DType.FLOAT32) for v in (2.0, 1e-5))
                mean = b.op("ReduceMean", [b.same("Pow", x, two)], (rows, 1), axes=(-1,))
                return b.same("Mul", b.same("Div", x, b.same("Sqrt", b.same("Add", mean, least))), b.weight(width))
        axes = [b.constant([-1])] if op == "ReduceSum" else []
        given: dict[str, tuple[int, ...]] = {} if op == "ReduceSum" else {"axes": (-1,)}
        return b.same("Sub", x, b.op(op, [x, *axes], (rows, 1), keepdims=1, **given))

    return lambda: _chain(step, _length(0, 16 * rows * width), rows, width)


def _instance(c: int, hw: int) -> Callable[[], Assembled]:
    def step(b: Builder, x: str) -> str:
        return b.same("InstanceNormalization", x, b.weight(c), b.weight(c))

    return lambda: _chain(step, _length(0, 16 * c * hw * hw), 1, c, hw, hw)


def _pools() -> Iterator[Case]:
    for c, hw in ((64, 112), (64, 56), (192, 28), (480, 14)):
        yield Case(f"MaxPool3 {c}x{hw}", _pooled("MaxPool", c, hw, 3, 1, 1), quick=hw == 56)
        yield Case(f"AveragePool3 {c}x{hw}", _pooled("AveragePool", c, hw, 3, 1, 1))
        yield Case(f"MaxPool2 {c}x{hw}", _pooled("MaxPool", c, hw, 2, 2, 0))
        yield Case(f"GlobalAveragePool {c}x{hw}", _globally(c, hw), quick=hw == 56)


def _pooled(op: str, c: int, hw: int, kernel: int, stride: int, pad: int) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        x = b.input(1, c, hw, hw)
        for _ in range(_length(0, 8 * c * hw * hw) if stride == 1 else 2):
            x = b.pool(x, op, kernel, stride, pad)
        return b.built(x)

    return make


def _globally(c: int, hw: int) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        inputs = [b.input(1, c, hw, hw) for _ in range(_length(0, 4 * c * hw * hw))]
        return b.built(*(b.global_pool(x) for x in inputs))

    return make


def _movements() -> Iterator[Case]:
    for tokens, heads, width in ((128, 12, 64), (197, 3, 64), (512, 12, 64)):
        size = (1, tokens, heads, width)
        yield Case(f"Transpose heads {tokens}x{heads}", _transposes(size, (0, 2, 1, 3)), quick=tokens == 128)
    for c, hw in ((64, 56), (256, 14), (128, 28)):
        yield Case(f"Transpose last {c}x{hw}", _transposes((1, c, hw * hw), (0, 2, 1)), quick=hw == 56)
        yield Case(f"Transpose shuffle {c}x{hw}", _transposes((1, 2, c // 2, hw * hw), (0, 2, 1, 3)))
        yield Case(f"Transpose windows {c}x{hw}", _transposes((1, c, hw // 7, 7, hw // 7, 7), (0, 2, 4, 3, 5, 1)))
    for c, hw in ((64, 56), (256, 14), (24, 28)):
        yield Case(f"Concat {c}x{hw}", _concats(c, hw), quick=hw == 56)
        yield Case(f"Split {c}x{hw}", _splits(c, hw), quick=hw == 56)
        yield Case(f"Slice {c}x{hw}", _slices(c, hw), quick=hw == 56)
        yield Case(f"Pad {c}x{hw}", _pads(c, hw), quick=hw == 56)
        yield Case(f"Resize nearest {c}x{hw}", _resizes(c, hw, "nearest"), quick=hw == 56)
        yield Case(f"Resize linear {c}x{hw}", _resizes(c, hw, "linear"))
    for rows, width in ((16, 64), (128, 768), (512, 256)):
        yield Case(f"Gather {rows}x{width}", _gathers(rows, width), quick=rows == 128)
        yield Case(f"Expand {rows}x{width}", _expands(rows, width))


def _transposes(size: tuple[int, ...], perm: tuple[int, ...]) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        x = b.input(*size)
        for _ in range(_length(0, 8 * math.prod(size))):
            # a Transpose behind a Transpose would be one
            x = b.same("Neg", b.reshape(b.transpose(x, *perm), *size))
        return b.built(x)

    return make


def _concats(c: int, hw: int) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        count = _length(0, 16 * c * hw * hw)
        return b.built(*(b.concat(b.input(1, c, hw, hw), b.input(1, c, hw, hw)) for _ in range(count)))

    return make


def _splits(c: int, hw: int) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        found = []
        for _ in range(_length(0, 8 * c * hw * hw)):
            found += b.ops("Split", [b.input(1, c, hw, hw)], [(1, c // 2, hw, hw)] * 2, axis=1)
        return b.built(*found)

    return make


def _slices(c: int, hw: int) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        found = []
        for _ in range(_length(0, 8 * c * hw * hw)):
            x = b.input(1, c, hw, hw)
            arguments = [b.constant([v]) for v in (1, hw, 2, 1)]  # from, to, axis, step
            found.append(b.op("Slice", [x, *arguments], (1, c, hw - 1, hw)))
        return b.built(*found)

    return make


def _pads(c: int, hw: int) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        found = []
        for _ in range(_length(0, 8 * c * hw * hw)):
            pads = b.constant([0, 0, 1, 1, 0, 0, 1, 1])
            found.append(b.op("Pad", [b.input(1, c, hw, hw), pads], (1, c, hw + 2, hw + 2)))
        return b.built(*found)

    return make


def _resizes(c: int, hw: int, mode: str) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        found = []
        for _ in range(_length(0, 40 * c * hw * hw)):
            scales = b.constant([1, 1, 2, 2], dtype=DType.FLOAT32)
            x = b.input(1, c, hw, hw)
            found.append(b.op("Resize", [x, "", scales], (1, c, 2 * hw, 2 * hw), mode=mode))
        return b.built(*found)

    return make


def _gathers(rows: int, width: int) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        count = _length(0, 8 * rows * width)
        ids = b.input(1, rows, dtype=DType.INT64)
        return b.built(*(b.op("Gather", [b.weight(2000, width), ids], (1, rows, width)) for _ in range(count)))

    return make


def _expands(rows: int, width: int) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        count = _length(0, 4 * rows * width)
        dims = [b.constant([rows, width]) for _ in range(count)]
        return b.built(*(b.op("Expand", [b.input(1, width), d], (rows, width)) for d in dims))

    return make


def _recurrent() -> Iterator[Case]:
    sizes = ((32, 1, 64, 64), (32, 1, 256, 256), (64, 1, 128, 128), (16, 8, 128, 128), (8, 1, 512, 512))
    for steps, batch, width, hidden in sizes:
        for op, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1)):
            make = _unrolled(op, gates, steps, batch, width, hidden)
            yield Case(f"{op} {steps}x{batch}x{width}x{hidden}", make, quick=width == 256)


def _unrolled(op: str, gates: int, steps: int, batch: int, width: int, hidden: int) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        x = b.input(steps, batch, width)
        for _ in range(_length(gates * steps * batch * hidden * (width + hidden), 0) // 2 + 1):
            operands = [x, b.weight(1, gates * hidden, width), b.weight(1, gates * hidden, hidden)]
            operands.append(b.weight(1, 2 * gates * hidden))
            y = b.op(op, operands, (steps, 1, batch, hidden), hidden_size=hidden)
            x = b.reshape(y, steps, batch, hidden)
        return b.built(x)

    return make


# --- eight bits --------------------------------------------------------------------------------


def _narrow() -> Iterator[Case]:
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
    for rows, depth, width in ((1, 256, 256), (1, 1024, 1000), (16, 384, 384), (128, 768, 768), (197, 192, 768)):
        yield Case(f"int8 gemm {rows}x{depth}x{width}", _narrow_gemm(rows, depth, width), quick=rows == 128)
    for op in ("Add", "Mul", "Concat", "AveragePool", "GlobalAveragePool", "Softmax", "Sigmoid", "Borders"):
        for c, hw in ((64, 28), (128, 14), (256, 28)):
            yield Case(f"int8 {op} {c}x{hw}", _narrow_op(op, c, hw), quick=hw == 14)
    for rows, depth, width in ((1, 768, 768), (16, 512, 512), (128, 768, 3072), (1, 2048, 512)):
        yield Case(f"dynamic int8 {rows}x{depth}x{width}", _dynamic(rows, depth, width), quick=rows == 128)
        yield Case(f"int4 {rows}x{depth}x{width}", _packed(rows, depth, width), quick=rows == 128)


def _narrow_chain(c: int, hw: int, kernel: int, group: int) -> Callable[[], Assembled]:
    weights = c * (c // group) * kernel**2
    count = _length(weights * hw * hw / (1 if group > 1 else 3), 0, weights)

    def make() -> Assembled:
        b = Builder()
        x = b.quantized(b.input(1, c, hw, hw))
        for _ in range(count):
            x = b.narrow_conv(x, c, kernel, group=group)
        return b.built(x)

    return make


def _narrow_pairs(c: int, d: int, hw: int) -> Callable[[], Assembled]:
    count = max(1, _length(2 * c * d * hw * hw / 3, 0, 2 * c * d) // 2)

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
    count = max(1, _length(2 * rows * depth * width / 3, 0, 2 * depth * width) // 2)

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
        for _ in range(_length(0, 8 * c * hw * hw)):
            match op:
                case "Add" | "Mul":
                    x = b.quantized(b.same(op, x, other))
                case "Concat":
                    results.append(b.quantized(b.concat(x, b.quantized(b.input(1, c, hw, hw)))))
                case "AveragePool":
                    x = b.quantized(b.pool(x, op, 3, 1, 1))
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
        for _ in range(max(1, _length(2 * rows * depth * width / 3, 0, 2 * depth * width) // 2)):
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
        for _ in range(max(1, _length(2 * rows * depth * width, 0, depth * width) // 2)):
            x = product(b, product(b, x, width), depth)
        return b.built(x)

    return make


# --- blocks ------------------------------------------------------------------------------------


def _blocks() -> Iterator[Case]:
    for c, hw in ((64, 56), (128, 28), (256, 14)):
        yield Case(f"residual {c}x{hw}", _residual(c, hw), quick=True, block=True)
        yield Case(f"bottleneck {c}x{hw}", _bottleneck(c, hw), quick=hw == 28, block=True)
    for c, hw in ((24, 56), (64, 14), (160, 7)):
        yield Case(f"inverted {c}x{hw}", _inverted(c, hw), quick=True, block=True)
        yield Case(f"excited {c}x{hw}", _inverted(c, hw, excited=True), quick=hw == 14, block=True)
    for tokens, width, heads in ((64, 128, 4), (128, 256, 4), (197, 192, 3), (128, 768, 12)):
        yield Case(f"transformer {tokens}x{width}", _transformer(tokens, width, heads), tokens == 128, block=True)
    for c, hw in ((16, 32), (64, 28)):
        yield Case(f"dense {c}x{hw}", _densely(c, hw), quick=hw == 28, block=True)
        yield Case(f"int8 residual {c}x{hw}", _narrow_residual(c, hw), quick=True, block=True)
    for c, hw in ((32, 28), (96, 14)):
        yield Case(f"int8 separable {c}x{hw}", _narrow_separable(c, hw), quick=hw == 14, block=True)


def _times(count: int, step: Callable[[Builder, str], str], *dims: int) -> Callable[[], Assembled]:
    return lambda: _chain(step, count, *dims)


def _residual(c: int, hw: int) -> Callable[[], Assembled]:
    def step(b: Builder, x: str) -> str:
        inner = b.conv(b.same("Relu", b.conv(x, c, 3)), c, 3)
        return b.same("Relu", b.same("Add", inner, x))

    return _times(2, step, 1, c, hw, hw)


def _bottleneck(c: int, hw: int) -> Callable[[], Assembled]:
    def step(b: Builder, x: str) -> str:
        inner = b.same("Relu", b.conv(b.same("Relu", b.conv(x, c, 1)), c, 3))
        return b.same("Relu", b.same("Add", b.conv(inner, 4 * c, 1), x))

    return _times(2, step, 1, 4 * c, hw, hw)


def _inverted(c: int, hw: int, excited: bool = False) -> Callable[[], Assembled]:
    def step(b: Builder, x: str) -> str:
        wide = b.same("Relu", b.conv(x, 6 * c, 1))
        wide = b.same("Relu", b.conv(wide, 6 * c, 3, group=6 * c))
        if excited:
            gate = b.conv(b.same("Relu", b.conv(b.global_pool(wide), c, 1)), 6 * c, 1)
            wide = b.same("Mul", wide, b.same("Sigmoid", gate))
        return b.same("Add", b.conv(wide, c, 1), x)

    return _times(3, step, 1, c, hw, hw)


def _transformer(tokens: int, width: int, heads: int) -> Callable[[], Assembled]:
    def step(b: Builder, x: str) -> str:
        x = b.same("Add", x, b.attention(b.norm(x), heads))
        return b.same("Add", x, b.feed_forward(b.norm(x)))

    return _times(2, step, 1, tokens, width)


def _densely(c: int, hw: int) -> Callable[[], Assembled]:
    def step(b: Builder, x: str) -> str:
        return b.concat(x, b.same("Relu", b.conv(b.same("Relu", b.conv(x, 4 * c, 1)), c, 3)))

    return _times(4, step, 1, c, hw, hw)


def _narrow_residual(c: int, hw: int) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        x = b.quantized(b.input(1, c, hw, hw))
        for _ in range(3):
            inner = b.narrow_conv(b.narrow_conv(x, c, 3), c, 3)
            x = b.quantized(b.same("Add", inner, x))
        return b.built(x)

    return make


def _narrow_separable(c: int, hw: int) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        x = b.quantized(b.input(1, c, hw, hw))
        for _ in range(4):
            x = b.narrow_conv(b.narrow_conv(x, c, 3, group=c), c, 1)
        return b.built(b.quantized(b.global_pool(x)))

    return make


_PARTS: tuple[Callable[[], Iterator[Case]], ...] = (
    _convolutions,
    _pointwise,
    _depthwise,
    _groups,
    _first_layers,
    _other_convolutions,
    _products,
    _attention_products,
    _elementwise,
    _rows,
    _pools,
    _movements,
    _recurrent,
    _narrow,
    _blocks,
)
