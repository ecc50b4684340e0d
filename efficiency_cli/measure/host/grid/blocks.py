"""Blocks of real networks. They are not fitted: the fit is judged by them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from efficiency_cli.graph.assemble import Assembled
from efficiency_cli.measure.host.builder import Builder
from efficiency_cli.measure.host.grid.case import Case, chain


def cases() -> Iterator[Case]:
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
    return lambda: chain(step, count, *dims)


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
