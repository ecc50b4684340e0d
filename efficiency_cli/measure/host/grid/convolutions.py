"""Convolutions: dense, pointwise, depthwise, grouped, of first layers, of one and three axes, transposed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from efficiency_cli.graph.assemble import Assembled
from efficiency_cli.measure.host.builder import Builder
from efficiency_cli.measure.host.grid.case import Case, chain, length


def cases() -> Iterator[Case]:
    yield from _unprepared()
    yield from _dense()
    yield from _pointwise()
    yield from _depthwise()
    yield from _groups()
    yield from _first_layers()
    yield from _other_axes()
    yield from _transposes()


def _unprepared() -> Iterator[Case]:
    """Weights that are no constants: no runtime brings them into a layout of its own beforehand."""
    for kernel, c, hw in ((3, 64, 28), (3, 128, 14), (3, 16, 32), (3, 32, 56), (1, 64, 56), (1, 128, 28), (1, 256, 14)):
        yield Case(f"given conv{kernel}x{kernel} {c}x{hw}", _given(c, hw, kernel, 1), quick=c == 128)
    for c, hw in ((64, 11), (32, 56), (384, 14), (16, 48)):
        yield Case(f"given depthwise {c}x{hw}", _given(c, hw, 3, c), quick=hw == 56)
    for kernel, c, hw in ((3, 16, 96), (7, 64, 224), (3, 32, 224)):
        yield Case(f"given first{kernel}x{kernel} {c}x{hw}", _given_first(c, hw, kernel))


def _given(c: int, hw: int, kernel: int, group: int) -> Callable[[], Assembled]:
    weights = c * (c // group) * kernel**2
    count = length(weights * hw * hw * (10 if group > 1 else 1), 0, 4 * weights)

    def step(b: Builder, x: str) -> str:
        return b.same("Relu", b.conv(x, c, kernel, group=group, given=True))

    return lambda: chain(step, count, 1, c, hw, hw)


def _given_first(c: int, hw: int, kernel: int) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        return b.built(b.conv(b.input(1, 3, hw, hw), c, kernel, stride=2, given=True))

    return make


def _dense() -> Iterator[Case]:
    sizes = [
        *((16, 112), (32, 56), (64, 56), (24, 28), (64, 28), (128, 28), (96, 14), (128, 14), (256, 14), (160, 7)),
        *((256, 7), (512, 7), (64, 14), (32, 112), (48, 56)),
    ]
    for k, (c, hw) in enumerate(sizes):
        yield Case(f"conv3x3 {c}x{hw}", _conv(c, hw, 3), quick=k % 3 == 1)
    for c, hw in ((16, 8), (16, 32), (32, 16), (64, 8), (128, 4), (256, 4), (64, 3)):
        yield Case(f"conv3x3 {c}x{hw}", _conv(c, hw, 3), quick=hw == 16)
    for kernel, c, hw in ((5, 32, 28), (5, 64, 14), (7, 32, 28), (7, 64, 14), (5, 16, 56)):
        yield Case(f"conv{kernel}x{kernel} {c}x{hw}", _conv(c, hw, kernel))
    for c, hw in ((32, 56), (64, 28), (128, 28), (256, 14)):
        yield Case(f"conv3x3 dilated {c}x{hw}", _conv(c, hw, 3, dilation=2))
    for c, hw in ((40, 28), (58, 28), (100, 14), (20, 56), (12, 32)):
        yield Case(f"conv3x3 {c}x{hw}", _conv(c, hw, 3))
    for c, hw in ((32, 112), (64, 56), (128, 28), (256, 14)):
        yield Case(f"conv3x3/2 {c}x{hw}", _strided(c, hw), quick=hw == 56)


def _conv(c: int, hw: int, kernel: int, dilation: int = 1) -> Callable[[], Assembled]:
    weights = c * c * kernel**2
    count = length(weights * hw * hw, 0, 4 * weights)

    def step(b: Builder, x: str) -> str:
        return b.same("Relu", b.conv(x, c, kernel, dilation=dilation))

    return lambda: chain(step, count, 1, c, hw, hw)


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
        *((128, 128, 28), (256, 256, 14), (512, 512, 7), (64, 64, 112), (8, 48, 56), (58, 58, 28), (116, 116, 14)),
        *((24, 88, 28), (232, 232, 7), (72, 20, 28), (768, 768, 7), (960, 160, 1), (256, 64, 1), (96, 24, 1)),
        *((64, 64, 11), (32, 64, 6), (16, 32, 24), (128, 256, 3), (256, 256, 3), (8, 16, 48), (128, 128, 6)),
    ]
    for k, (c, d, hw) in enumerate(sizes):
        yield Case(f"conv1x1 {c}-{d}x{hw}", _pairs(c, d, hw), quick=k % 3 == 1)


def _pairs(c: int, d: int, hw: int) -> Callable[[], Assembled]:
    weights = c * d
    count = max(1, length(2 * weights * hw * hw, 0, 8 * weights) // 2)

    def step(b: Builder, x: str) -> str:
        return b.conv(b.same("Relu", b.conv(x, d, 1)), c, 1)

    return lambda: chain(step, count, 1, c, hw, hw)


def _depthwise() -> Iterator[Case]:
    sizes = [
        *((3, 32, 112), (3, 96, 56), (3, 144, 56), (3, 192, 28), (3, 384, 14), (3, 576, 14), (3, 960, 7), (5, 72, 28)),
        *(
            (3, 64, 11),
            (3, 32, 24),
            (3, 128, 6),
            (3, 256, 3),
            (3, 16, 48),
            (5, 240, 14),
            (5, 672, 7),
            (7, 96, 28),
            (7, 192, 14),
            (3, 64, 56),
            (3, 128, 28),
            (3, 512, 14),
            (3, 16, 112),
        ),
    ]
    for k, (kernel, c, hw) in enumerate(sizes):
        yield Case(f"depthwise{kernel}x{kernel} {c}x{hw}", _grouped(c, hw, kernel, c), quick=k % 4 == 1)
    for kernel, c, hw in ((3, 36, 28), (3, 100, 14), (5, 20, 56), (3, 58, 28), (3, 8, 112), (3, 232 + 4, 7)):
        yield Case(f"depthwise{kernel}x{kernel} unblocked {c}x{hw}", _grouped(c, hw, kernel, c))


def _grouped(c: int, hw: int, kernel: int, group: int) -> Callable[[], Assembled]:
    weights = c * (c // group) * kernel**2
    # depthwise products are slow: their chains are as long as those of ten times the work
    count = length(weights * hw * hw * (10 if group == c else 3), 8 * c * hw * hw, 4 * weights)

    def step(b: Builder, x: str) -> str:
        return b.same("Relu", b.conv(x, c, kernel, group=group))

    return lambda: chain(step, count, 1, c, hw, hw)


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
        parts = [b.global_pool(b.conv(x, c, kernel, stride=stride)) for _ in range(length(macs, 0))]
        return b.built(*parts)

    return make


def _other_axes() -> Iterator[Case]:
    for c, size in ((64, 1000), (128, 250), (256, 64), (32, 4000)):
        yield Case(f"conv1d {c}x{size}", _any_axes(c, (size,), 3), quick=c == 128)
    for c, dims in ((32, (8, 28, 28)), (64, (4, 14, 14)), (64, (8, 28, 28)), (128, (2, 14, 14))):
        yield Case(f"conv3d {c}x{dims[0]}x{dims[1]}", _any_axes(c, dims, 3), quick=c == 64)

    for c, dims in ((64, (8, 28, 28)), (128, (4, 14, 14))):
        yield Case(f"conv1x1x1 {c}x{dims[0]}x{dims[1]}", _any_axes(c, dims, 1))
        yield Case(f"depthwise3d {c}x{dims[0]}x{dims[1]}", _any_axes(c, dims, 3, c), quick=c == 64)
    for c, size in ((64, 400), (256, 128), (512, 50)):
        yield Case(f"depthwise1d {c}x{size}", _any_axes(c, (size,), 5, c), quick=c == 256)
        yield Case(f"conv1x1 1d {c}x{size}", _any_axes(c, (size,), 1))


def _any_axes(c: int, size: tuple[int, ...], kernel: int, group: int = 1) -> Callable[[], Assembled]:
    weights = c * (c // group) * kernel ** len(size)
    count = length(weights * math.prod(size) * (10 if group > 1 else 1), 0, 4 * weights)

    def step(b: Builder, x: str) -> str:
        return b.same("Relu", b.conv(x, c, kernel, group=group))

    return lambda: chain(step, count, 1, c, *size)


def _transposes() -> Iterator[Case]:
    for c, hw in ((32, 56), (64, 28), (128, 14), (64, 14)):
        yield Case(f"transposed {c}x{hw}", _transposed(c, hw), quick=c == 64)
    for c, d, hw, kernel, stride in ((64, 32, 28, 4, 2), (32, 8, 56, 3, 2), (32, 1, 64, 9, 4), (128, 64, 14, 4, 2)):
        yield Case(f"transposed{kernel}/{stride} {c}-{d}x{hw}", _upsampled(c, d, hw, kernel, stride), quick=d == 8)


def _upsampled(c: int, d: int, hw: int, kernel: int, stride: int) -> Callable[[], Assembled]:
    def make() -> Assembled:
        b = Builder()
        return b.built(b.conv(b.input(1, c, hw, hw), d, kernel, stride=stride, transposed=True))

    return make


def _transposed(c: int, hw: int) -> Callable[[], Assembled]:
    def step(b: Builder, x: str) -> str:
        return b.pool(b.conv(x, c, 2, stride=2, transposed=True), "MaxPool", 2, 2)

    return lambda: chain(step, length(4 * c * c * hw * hw, 0), 1, c, hw, hw)
