"""Matrix products from one row to many, those of attention, and recurrent layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from efficiency_cli.graph.assemble import Assembled
from efficiency_cli.graph.model import DType
from efficiency_cli.measure.host.builder import Builder
from efficiency_cli.measure.host.grid.case import Case, chain, length

# bytes of weights that are more than caches hold
_STREAMED = 384 << 20


def cases() -> Iterator[Case]:
    yield from _products()
    yield from _attention_products()
    yield from _recurrent()


def _products() -> Iterator[Case]:
    widths = ((64, 256), (128, 512), (256, 1024), (384, 1536), (768, 3072), (512, 512), (1024, 1024))
    for rows in (1, 4, 16, 64, 128, 197, 512):
        for k, (depth, width) in enumerate(widths):
            if rows * depth * width <= 4e8:
                yield Case(f"gemm {rows}x{depth}x{width}", _gemm(rows, depth, width), quick=(k + rows) % 5 == 1)
    for rows, depth, width in ((2, 768, 3072), (8, 512, 512), (32, 768, 768), (3136, 96, 288), (784, 192, 768)):
        yield Case(f"gemm {rows}x{depth}x{width}", _gemm(rows, depth, width))
    for depth, width in ((2048, 1000), (1280, 1000), (4096, 1024), (256, 10), (288, 32_000), (768, 8000)):
        yield Case(f"gemv {depth}x{width}", _classifier(1, depth, width), quick=depth == 2048)
    yield Case("gemv 9216x4096", _classifier(1, 9216, 4096))
    yield Case("gemm 128x768x8000", _classifier(128, 768, 8000))
    for rows, depth, width in ((1, 768, 3072), (4, 1024, 1024), (16, 768, 3072), (64, 768, 768), (128, 768, 3072)):
        yield Case(f"streamed gemm {rows}x{depth}x{width}", _streamed(rows, depth, width), quick=rows in (16, 128))


def _gemm(rows: int, depth: int, width: int) -> Callable[[], Assembled]:
    weights = depth * width
    return _pairs(rows, depth, width, max(1, length(2 * rows * weights, 0, 8 * weights) // 2))


def _streamed(rows: int, depth: int, width: int) -> Callable[[], Assembled]:
    """Products whose weights no cache keeps from one run to the next: they come from memory."""
    return _pairs(rows, depth, width, max(1, _STREAMED // (8 * depth * width)))


def _pairs(rows: int, depth: int, width: int, count: int) -> Callable[[], Assembled]:
    """`count` times a product to `width` and one back."""
    return lambda: chain(lambda b, x: b.dense(b.dense(x, width), depth), count, rows, depth)


def _classifier(rows: int, depth: int, width: int) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        return b.built(b.dense(b.input(rows, depth), width))

    return make


def _attention_products() -> Iterator[Case]:
    for heads, tokens, width in (
        (12, 64, 64),
        (12, 128, 64),
        (3, 197, 64),
        (12, 197, 64),
        (8, 49, 32),
        (6, 256, 32),
        (192, 49, 32),
    ):
        yield Case(f"scores {heads}x{tokens}x{width}", _scores(heads, tokens, tokens, width), quick=tokens == 128)
    for heads, tokens, width in ((12, 128, 64), (3, 197, 64), (6, 48, 48), (8, 512, 32)):
        yield Case(f"attention {heads}x{tokens}x{width}", _attention(heads, tokens, width), quick=tokens == 128)
        yield Case(f"cached attention {heads}x{tokens}x{width}", _cached(heads, tokens, width), quick=tokens == 128)
    for heads, tokens, width in ((12, 128, 64), (12, 512, 64), (6, 256, 64), (16, 1024, 64)):
        yield Case(f"decode {heads}x{tokens}x{width}", _scores(heads, 1, tokens, width), quick=tokens == 512)


def _attention(heads: int, tokens: int, width: int) -> Callable[[], Assembled]:
    """One operator from queries, keys and values to their mix."""
    size = (1, tokens, heads * width)

    def step(b: Builder, x: str) -> str:
        return b.microsoft("MultiHeadAttention", [x, b.input(*size), b.input(*size)], size, num_heads=heads)

    return lambda: chain(step, length(2 * heads * tokens**2 * width, 0), *size)


def _cached(heads: int, past: int, width: int) -> Callable[[], Assembled]:
    """One new position on keys and values that are kept."""
    new, kept, grown = (1, 1, heads * width), (1, heads, past, width), (1, heads, past + 1, width)

    def make() -> Assembled:
        b = Builder()
        lengths, total = b.input(1, dtype=DType.INT32), b.input(dtype=DType.INT32)
        x, results = b.input(*new), []
        for _ in range(length(0, 8 * heads * past * width)):
            operands = [x, b.input(*new), b.input(*new), b.input(*kept), b.input(*kept), lengths, total]
            shapes = [new, grown, grown]
            x, *caches = b.microsofts("GroupQueryAttention", operands, shapes, num_heads=heads, kv_num_heads=heads)
            results += caches
        return b.built(x, *results)

    return make


def _scores(heads: int, queries: int, keys: int, width: int) -> Callable[[], Assembled]:
    count = length(2 * heads * queries * keys * width, 8 * heads * keys * width)

    def make() -> Assembled:
        b = Builder()
        x = b.input(1, heads, queries, width)
        for _ in range(count):
            key, value = b.input(1, heads, width, keys), b.input(1, heads, keys, width)
            x = b.matmul(b.matmul(x, key), value)
        return b.built(x)

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
        for _ in range(length(gates * steps * batch * hidden * (width + hidden), 0) // 2 + 1):
            operands = [x, b.weight(1, gates * hidden, width), b.weight(1, gates * hidden, hidden)]
            operands.append(b.weight(1, 2 * gates * hidden))
            y = b.op(op, operands, (steps, 1, batch, hidden), hidden_size=hidden)
            x = b.reshape(y, steps, batch, hidden)
        return b.built(x)

    return make
