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
from collections.abc import Mapping, Sequence

from msgspec import Struct

from efficiency_cli.graph.model import Graph
from efficiency_cli.graph.receptive_field.layout import Layout, Source
from efficiency_cli.graph.receptive_field.walk import Trace, trace
from efficiency_cli.graph.receptive_field.window import Window


class Field(Struct, frozen=True):
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


def last_bounded(graph: Graph) -> tuple[str, Field] | None:
    """The tensor with the largest field that is finite along every axis, and that field.

    Of several the last: where a classifier pools globally, the tensor that it pools.
    """
    best: tuple[str, Field] | None = None
    for name, field in receptive_fields(graph).items():
        finite = math.inf not in field.size
        if finite and (best is None or math.prod(field.size) >= math.prod(best[1].size)):
            best = name, field
    return best


def _field(layout: Layout, found: Trace) -> Field | None:
    """The field of the input that the layout follows best; None where no spatial axis reaches it."""
    by_input: dict[str, dict[Source, Window]] = {}
    for source in sorted(found.touched.intersection(layout.sources())):
        window = layout.window(source)
        if window is not None:
            by_input.setdefault(found.inputs[source], {})[source] = window
    if not by_input:
        return None
    name = max(by_input, key=lambda n: (len(by_input[n]), math.prod(w.size for w in by_input[n].values())))
    return _of_windows(by_input[name], layout, name)


def _of_windows(windows: Mapping[Source, Window], layout: Layout, name: str) -> Field:
    unbounded = [layout.unbounded[s].by for s in windows if s in layout.unbounded]
    firsts = [w.first for w in windows.values()]
    sizes = _plain([w.size for w in windows.values()])
    return Field(
        size=tuple(math.inf if s in layout.unbounded else size for s, size in zip(windows, sizes, strict=True)),
        stride=_plain([w.stride for w in windows.values()]),
        start=_plain([(low + high) / 2 for low, high in firsts]),
        padding=_plain([-low for low, _ in firsts]),
        bounded_size=sizes,
        unbounded_by=unbounded[0] if unbounded else "",
        input=name,
    )


def _plain(values: Sequence[float]) -> tuple[float, ...]:
    """Whole numbers as int."""
    return tuple(v if isinstance(v, int) else int(v) if v.is_integer() else v for v in values)
