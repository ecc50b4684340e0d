"""What computes without products: element by element, row by row, pools."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from efficiency_cli.graph.assemble import Assembled
from efficiency_cli.graph.model import DType
from efficiency_cli.measure.host.builder import Builder
from efficiency_cli.measure.host.grid.case import Case, chain, length

_SIZES = (1_000, 30_000, 300_000, 1_500_000)
_UNARY = (
    *("Relu", "Sigmoid", "Tanh", "Erf", "Exp", "Sqrt", "Neg", "Abs", "Reciprocal", "LeakyRelu", "HardSigmoid"),
    *("HardSwish", "Elu", "Softplus", "Log", "Floor", "Sin", "Cos", "Gelu", "Swish", "Pow", "Clip", "Cast", "Not"),
)
_BINARY = ("Add", "Mul", "Sub", "Div", "Min", "Max", "Where", "PRelu", "Equal")


def cases() -> Iterator[Case]:
    yield from _elementwise()
    yield from _rows()
    yield from _pools()


def _elementwise() -> Iterator[Case]:
    for op in (*_UNARY, *_BINARY):
        for size in _SIZES:
            yield Case(f"{op} {size}", _pointwise_chain(op, size), quick=size == 30_000)
    for op in ("Add", "Mul", "PRelu", "BatchNormalization"):
        for c, hw in ((64, 56), (256, 14), (16, 28)):
            yield Case(f"{op} channels {c}x{hw}", _by_channel(op, c, hw), quick=hw == 56)
    for op in ("Add", "Mul"):
        for rows, width in ((128, 768), (197, 192), (1, 768)):
            yield Case(f"{op} columns {rows}x{width}", _by_column(op, rows, width), quick=rows == 128)


def _pointwise_chain(op: str, size: int) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        count = length(0, 8 * size)
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
    match op:
        case "Gelu":
            return b.gelu(x)
        case "Swish":
            return b.silu(x)
        case "Pow":
            # a square, as normalisations have it: runtimes tell it from other powers
            return b.same(op, x, b.constant([2.0], (), DType.FLOAT32))
        case "Clip":
            low, high = (b.constant([v], (), DType.FLOAT32) for v in (-1.0, 6.0))
            return b.same(op, x, low, high)
        case "Cast":
            return b.same(op, b.same(op, x, to=6), to=1)  # to int32 and back
        case "Not":
            return b.same(op, b.same("Greater", x, b.constant([0.0], (), DType.FLOAT32)))
        case "Where":
            # masks are regular: a condition that no branch predictor can follow would be slower
            return b.same(op, b.same("Greater", x, b.constant([-1e30], (), DType.FLOAT32)), x, other)
        case "PRelu":
            return b.same(op, x, b.weight(b.shapes[x][-1]))
    return b.same(op, x, other) if other else b.same(op, x)


def _by_channel(op: str, c: int, hw: int) -> Callable[[], Assembled]:
    def step(b: Builder, x: str) -> str:
        if op == "BatchNormalization":
            # behind a Neg: behind anything else it might be a part of that
            return b.same(op, b.same("Neg", x), *(b.weight(c) for _ in range(4)))
        return b.same(op, x, b.weight(c, 1, 1) if op == "PRelu" else b.weight(1, c, 1, 1))

    return lambda: chain(step, length(0, 8 * c * hw * hw), 1, c, hw, hw)


def _by_column(op: str, rows: int, width: int) -> Callable[[], Assembled]:
    def step(b: Builder, x: str) -> str:
        return b.same(op, x, b.weight(width))

    return lambda: chain(step, length(0, 8 * rows * width), rows, width)


def _rows() -> Iterator[Case]:
    for rows, width in ((1, 768), (64, 256), (128, 768), (197, 192), (512, 1024)):
        for op in ("FastGelu", "BiasGelu", "QuickGelu", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization"):
            yield Case(f"com.microsoft {op} {rows}x{width}", _own(op, rows, width), quick=rows == 128)
        for op in ("LayerNormalization", "Softmax", "RMSNormalization"):
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
            case "Softmax":
                return b.same("Softmax", x, axis=-1)
            case "RMSNormalization":
                two, least = (b.constant([v], (), DType.FLOAT32) for v in (2.0, 1e-5))
                mean = b.op("ReduceMean", [b.same("Pow", x, two)], (rows, 1), axes=(-1,))
                return b.same("Mul", b.same("Div", x, b.same("Sqrt", b.same("Add", mean, least))), b.weight(width))
        axes = [b.constant([-1])] if op == "ReduceSum" else []
        given: dict[str, tuple[int, ...]] = {} if op == "ReduceSum" else {"axes": (-1,)}
        return b.same("Sub", x, b.op(op, [x, *axes], (rows, 1), keepdims=1, **given))

    return lambda: chain(step, length(0, 16 * rows * width), rows, width)


def _own(op: str, rows: int, width: int) -> Callable[[], Assembled]:
    """Operators that onnxruntime has besides the standard's."""

    def step(b: Builder, x: str) -> str:
        match op:
            case "BiasGelu":
                return b.microsoft(op, [x, b.weight(width)], (1, rows, width))
            case "SkipLayerNormalization":
                operands = [x, b.input(1, rows, width), b.weight(width), b.weight(width), b.weight(width)]
                return b.microsoft(op, operands, (1, rows, width))
            case "SkipSimplifiedLayerNormalization":
                return b.microsoft(op, [x, b.input(1, rows, width), b.weight(width)], (1, rows, width))
        return b.microsoft(op, [x], (1, rows, width))

    return lambda: chain(step, length(0, 8 * rows * width), 1, rows, width)


def _instance(c: int, hw: int) -> Callable[[], Assembled]:
    def step(b: Builder, x: str) -> str:
        return b.same("InstanceNormalization", x, b.weight(c), b.weight(c))

    return lambda: chain(step, length(0, 16 * c * hw * hw), 1, c, hw, hw)


def _pools() -> Iterator[Case]:
    for c, hw in ((64, 112), (64, 56), (192, 28), (480, 14), (16, 14), (64, 8)):
        yield Case(f"MaxPool3 {c}x{hw}", _pooled("MaxPool", c, hw, 3, 1, 1), quick=hw == 56)
        yield Case(f"AveragePool3 {c}x{hw}", _pooled("AveragePool", c, hw, 3, 1, 1))
        yield Case(f"MaxPool2 {c}x{hw}", _pooled("MaxPool", c, hw, 2, 2, 0))
        yield Case(f"GlobalAveragePool {c}x{hw}", _globally(c, hw), quick=hw == 56)
        yield Case(f"ReduceMean spatial {c}x{hw}", _averaged(c, hw), quick=hw == 56)
    for c, size in ((32, 1000), (64, 250), (16, 64)):
        yield Case(f"MaxPool 1d {c}x{size}", _pooled_line(c, size))


def _pooled(op: str, c: int, hw: int, kernel: int, stride: int, pad: int) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        x = b.input(1, c, hw, hw)
        for _ in range(length(0, 8 * c * hw * hw) if stride == 1 else 2):
            x = b.pool(x, op, kernel, stride, pad)
        return b.built(x)

    return make


def _pooled_line(c: int, size: int) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        found = []
        for _ in range(length(0, 8 * c * size)):
            x = b.input(1, c, size)
            found.append(b.op("MaxPool", [x], (1, c, size // 4), kernel_shape=(4,), strides=(4,)))
        return b.built(*found)

    return make


def _averaged(c: int, hw: int) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        inputs = [b.input(1, c, hw, hw) for _ in range(length(0, 4 * c * hw * hw))]
        return b.built(*(b.op("ReduceMean", [x], (1, c), axes=(2, 3), keepdims=0) for x in inputs))

    return make


def _globally(c: int, hw: int) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        inputs = [b.input(1, c, hw, hw) for _ in range(length(0, 4 * c * hw * hw))]
        return b.built(*(b.global_pool(x) for x in inputs))

    return make
