"""Receptive fields against the sets of inputs that outputs really read, found position by position."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st
from rf_networks import Net

from efficiency_cli.graph.receptive_field import receptive_fields

# what an output position reads of the layer below, borders apart
Reads = Callable[[int], frozenset[int]]

_UPSAMPLING = ("transposed", "repeat", "resize")
LENGTH = 3000  # long enough for every network below to have outputs, and even
POSITIONS = range(120, 120 + 2 * 3**3)  # two periods of three upsamplings by at most 3


@dataclass(frozen=True)
class Layer:
    """A layer of a 1-D network: how it is written as a node, and by definition what it reads."""

    kind: str
    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    pad: int = 0
    mode: str = ""
    branches: tuple[tuple[Layer, ...], ...] = ()

    def reads(self, j: int) -> frozenset[int]:
        taps = [t * self.dilation for t in range(self.kernel)]
        if self.kind == "window":
            return frozenset(j * self.stride - self.pad + t for t in taps)
        if self.kind == "transposed":  # input i adds to the outputs i·stride + tap − pad
            near = range(j // self.stride - 2 * max(taps) - 9, j // self.stride + self.pad + 9)
            return frozenset(i for i in near for t in taps if i * self.stride + t - self.pad == j)
        if self.kind == "repeat":
            return frozenset({j // self.stride})
        x = (j + Fraction(1, 2)) / self.stride - Fraction(1, 2)  # half_pixel
        if self.mode == "nearest":
            return frozenset({math.ceil(x - Fraction(1, 2))})
        reach = {"linear": 1, "cubic": 2}[self.mode]
        around = range(math.floor(x) - 3, math.floor(x) + 4)
        if x.denominator == 1:
            return frozenset({int(x)})
        return frozenset(i for i in around if abs(i - x) < reach)


def windows(*, keep: bool = False, dilations: int = 3) -> st.SearchStrategy[Layer]:
    """Convolutions and poolings; with `keep`, those that can be padded to keep the length, off centre as well."""

    def layer(kernel: int, stride: int, dilation: int, pad: float) -> Layer:
        reach = (kernel - 1) * dilation
        return Layer("window", kernel, 1 if keep else stride, dilation, round(pad * reach))

    return st.builds(
        layer, st.integers(1, 5), st.integers(1, 3), st.integers(1, dilations), st.floats(0, 1, allow_nan=False)
    )


branched = st.builds(
    lambda parts: Layer("branches", branches=tuple(tuple(p) for p in parts)),
    st.lists(st.lists(windows(keep=True), max_size=2), min_size=2, max_size=3),
)
upsampled = st.one_of(
    st.builds(
        lambda s, extra, p: Layer("transposed", s + extra, s, 1, p),
        st.integers(2, 3),
        st.integers(0, 3),
        st.integers(0, 2),
    ),
    st.builds(lambda s: Layer("repeat", stride=s), st.integers(2, 3)),
    st.builds(
        lambda s, m: Layer("resize", stride=s, mode=m),
        st.integers(2, 3),
        st.sampled_from(["nearest", "linear", "cubic"]),
    ),
)


def _nested(layers: Iterable[Layer]) -> Iterator[Layer]:
    for layer in layers:
        yield layer
        for branch in layer.branches:
            yield from _nested(branch)


def _is_exact(layers: list[Layer]) -> bool:
    """Three upsamplings at most, for time; and no dilated kernel over cubic interpolation: it may hit none but the
    outputs at whole positions, which read one input where their neighbours read four."""
    found = list(_nested(layers))
    cubic, dilated = any(x.mode == "cubic" for x in found), any(x.dilation > 1 for x in found)
    return sum(x.kind in _UPSAMPLING for x in found) <= 3 and not (cubic and dilated)


networks = st.lists(st.one_of(windows(), windows(), branched, upsampled), min_size=1, max_size=6).filter(_is_exact)


def build(net: Net, x: str, layers: tuple[Layer, ...]) -> str:
    for layer in layers:
        x = _node(net, x, layer)
    return x


def _node(net: Net, x: str, layer: Layer) -> str:
    _, channels, length = net.shape(x)
    if layer.kind == "branches":
        parts = [build(net, x, branch) for branch in layer.branches]
        return net.same("Sum", *parts)
    if layer.kind == "window":
        reach = (layer.kernel - 1) * layer.dilation
        pads = (layer.pad, reach - layer.pad)
        return net.conv(x, layer.kernel, layer.stride, dilation=layer.dilation, pads=pads)
    if layer.kind == "transposed":
        after = (length - 1) * layer.stride + (layer.kernel - 1) * layer.dilation + 1 - layer.pad
        weight = net.constant((channels, 8, layer.kernel))
        operands, stride = [x, weight], (layer.stride,)
        return net.add(
            "ConvTranspose", operands, (1, 8, after), strides=stride, dilations=(layer.dilation,), pads=(layer.pad, 0)
        )
    scales = net.numbers(1.0, 1.0, float(layer.stride))
    shape = (1, channels, length * layer.stride)
    if layer.kind == "repeat":
        attributes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return net.add("Resize", [x, "", scales], shape, **attributes)
    return net.add("Resize", [x, "", scales], shape, mode=layer.mode)


def truth(layers: tuple[Layer, ...]) -> Reads:
    """The inputs that an output of all the layers reads."""
    if not layers:
        return lambda j: frozenset({j})
    below, top = truth(layers[:-1]), layers[-1]
    if top.kind == "branches":
        paths = [truth((*layers[:-1], *branch)) for branch in top.branches]
        return cache(lambda j: frozenset().union(*(path(j) for path in paths)))
    return cache(lambda j: frozenset().union(*(below(i) for i in top.reads(j))))


def measured(layers: tuple[Layer, ...]) -> tuple[int, list[tuple[int, int]]]:
    """The widest extent, and the ends of each output's reads."""
    reads = truth(layers)
    ends = [(min(found), max(found)) for j in POSITIONS if (found := reads(j))]
    return max((high - low + 1 for low, high in ends), default=0), ends


@settings(max_examples=150, deadline=None)
@given(networks)
def test_size_stride_and_place_are_those_of_the_inputs_read(layers: list[Layer]) -> None:
    net = Net(x=(1, 8, LENGTH))
    layers = [Layer("window"), *layers]  # a 1 × 1 convolution makes the axis spatial
    x = build(net, "x", tuple(layers))
    field = receptive_fields(net.graph(x))[x]
    size, ends = measured(tuple(layers))
    assert field.size == (size,)
    ups = math.prod(layer.stride for layer in layers if layer.kind in _UPSAMPLING)
    assert ends[ups][0] - ends[0][0] == ups * field.stride[0]  # a whole number of patterns further on
    first = truth(tuple(layers))(0)
    assert field.start == ((min(first) + max(first)) / 2,)
    assert field.padding == (-min(first),)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            windows(), st.builds(Layer, st.just("transposed"), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))
        ),
        min_size=1,
        max_size=4,
    )
)
def test_no_output_reads_more_even_with_holes(layers: list[Layer]) -> None:
    """Transposed convolutions of any kernel, stride and dilation leave outputs that read nothing."""
    net = Net(x=(1, 8, LENGTH))
    x = build(net, "x", tuple(layers))
    (size,) = receptive_fields(net.graph(x))[x].size
    widest, _ = measured(tuple(layers))
    assert widest <= size <= widest + 60
