"""Receptive fields: how much of the input each tensor sees, with its stride, centre and padding.

Follows every axis of every graph input through the operators (`layout`), composing the windows that operators
move along it (`window`). Says nothing of channels or batches: only axes along which some convolution, pooling,
resize or the like moves are reported, whatever their position (NCHW, NHWC, 1-D to 3-D).

Conventions, after Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks"
(Distill, 2019, https://distill.pub/2019/computing-receptive-fields): where paths meet, the largest counts;
paths that are not aligned count as the hull of both. Padding counts as input. The size is the field's extent,
holes of dilated kernels included; where it differs from output to output (after upsampling) it is the largest.
Statistics of normalisation operators do not count as seeing; a gate or mean that the graph spells out does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache

from msgspec import Struct
from msgspec.structs import replace

from efficiency_cli.graph.model import Graph
from efficiency_cli.graph.receptive_field.layout import Axis, Layout, Source, carries, length_of
from efficiency_cli.graph.receptive_field.walk import Trace, trace
from efficiency_cli.graph.receptive_field.window import Window


class Field(Struct, frozen=True, gc=False):
    """What one position of a tensor sees of a graph input, one number a spatial axis, in input positions.

    Position i sees `size` positions around start + i·stride. Along a padded convolution the first of them
    lies at −padding: start = (size − 1)/2 − padding. Where `size` is infinite, stride, start and padding are
    those of the bounded path, as is `bounded_size`: the largest path free of global operators, or what such an
    operator was given where there is none. So after a global pooling, `bounded_size` is the field below it.
    """

    size: tuple[float, ...]  # inf behind an operator that reads a whole axis
    stride: tuple[float, ...]  # effective stride; a fraction after upsampling
    start: tuple[float, ...]  # centre of the first position's field
    padding: tuple[float, ...]  # effective padding
    bounded_size: tuple[float, ...]
    unbounded_by: str = ""  # the first node that made a size infinite
    input: str = ""  # the graph input it is of: of several, the one with most spatial axes, then the largest


def receptive_fields(graph: Graph) -> Mapping[str, Field]:
    """The field of every tensor that a path from a graph input reaches, by name.

    Empty for networks in which no window moves. Tensors without a shape, and what depends on them alone,
    have no field. Linear in the nodes; odd nodes never raise.
    """
    found = trace(graph)
    fields: dict[int, Field | None] = {}  # layouts are shared by all tensors that elementwise operators make
    result: dict[str, Field] = {}
    for name, layout in found.layouts.items():
        key = id(layout)
        if key not in fields:
            fields[key] = _field(layout, found)
        field = fields[key]
        if field is not None:
            result[name] = field
    return result


def output_fields(graph: Graph) -> Mapping[str, Field]:
    """The fields of the graph's outputs."""
    fields = receptive_fields(graph)
    return {name: fields[name] for name in graph.outputs if name in fields}


def _field(layout: Layout, found: Trace) -> Field | None:
    """The field of the input that the layout follows best; None where no spatial axis reaches it."""
    windows = _spatial_windows(layout, found.touched)
    if not windows:
        return None
    by_input: dict[str, list[Source]] = {}
    for source in sorted(windows):
        by_input.setdefault(found.inputs[source], []).append(source)
    name = next(iter(by_input))
    if len(by_input) > 1:
        name = max(by_input, key=lambda n: (len(by_input[n]), math.prod(windows[s].size for s in by_input[n])))
    sources = by_input[name]
    sizes, strides, starts, paddings = zip(*(_figures(windows[s]) for s in sources), strict=True)
    unbounded = [layout.unbounded[s].by for s in sources if s in layout.unbounded]
    seen = sizes
    if unbounded:
        seen = tuple(math.inf if s in layout.unbounded else size for s, size in zip(sources, sizes, strict=True))
    return Field(seen, strides, starts, paddings, sizes, unbounded[0] if unbounded else "", name)


def _spatial_windows(layout: Layout, touched: set[Source]) -> dict[Source, Window]:
    """The window of each input axis that is spatial."""
    result: dict[Source, Window] = {}
    several: set[Source] = set()
    for axis in layout.axes:
        for k, atom in enumerate(axis):
            for source, window in atom.windows.items():
                if source in touched:
                    several.update((source,) if source in result else ())
                    result[source] = _stretched(window, axis[k + 1 :]) if k + 1 < len(axis) else window
    for source, window in layout.loose.items():
        if source in touched:
            result.setdefault(source, window)
    for source in several:
        result[source] = layout.window(source) or result[source]
    return result


def _stretched(window: Window, inner: Axis) -> Window:
    """The window where positions of `inner`, which follow no input, lie between those that move it."""
    positions = length_of(inner)
    return replace(window, pitch=window.stride / positions) if positions > 1 and not carries(inner) else window


@lru_cache(maxsize=4096)
def _figures(window: Window) -> tuple[float, float, float, float]:
    """Size, stride, centre and padding, whole numbers as int."""
    low, high = window.first
    figures = (window.size, window.stride, (low + high) / 2, -low)
    size, stride, start, padding = (int(v) if v == int(v) else v for v in figures)
    return size, stride, start, padding
