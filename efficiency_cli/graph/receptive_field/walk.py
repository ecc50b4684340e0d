"""One pass over the nodes: the layout of every tensor, and which input axes are spatial.

The rules are in `spatial`, `blocks`, `resampling`, `movement` and `mixing`. An operator without one is
elementwise if all that it reads stretches to what it makes, and else may read anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from efficiency_cli.graph.model import Graph, Node, Tensor
from efficiency_cli.graph.receptive_field import blocks, mixing, movement, resampling, spatial  # noqa: F401  (they register rules)
from efficiency_cli.graph.receptive_field.call import MICROSOFT, NCHWC, NHWC, RULES, Call, OddNodeError, Outputs, rule
from efficiency_cli.graph.receptive_field.layout import Layout, Source, length_of, of_input, scrambled
from efficiency_cli.graph.receptive_field.merge import broadcasts, merged
from efficiency_cli.graph.receptive_field.window import TooFarError

# bodies of If within bodies of If; deeper ones count as operators that may read anything
_DEEPEST = 30

_KNOWN_DOMAINS = ("", MICROSOFT, NHWC, NCHWC)

# outputs that say nothing of the values: sizes, noise of the same shape
_BLIND = frozenset(
    """Shape Size ConstantOfShape RandomNormalLike RandomUniformLike EyeLike Range Constant RandomNormal
    RandomUniform""".split()
)

# results that look elementwise and are not: what is read, or where to, is data
_SCATTERED = frozenset(
    """GatherElements GatherND ScatterElements ScatterND Scatter TensorScatter ReverseSequence Compress NonZero
    Unique NonMaxSuppression Col2Im DFT AffineGrid Loop Scan SequenceMap Multinomial Det LinearAttention
    PackedAttention PackedMultiHeadAttention PagedAttention Rfft Irfft Inverse MoE QMoE""".split()
)


class Trace(Struct, frozen=True):
    """The layouts by tensor, the input axes that windows move along, and which input each axis is of."""

    layouts: Mapping[str, Layout]
    touched: set[Source]
    inputs: Sequence[str]


def trace(graph: Graph) -> Trace:
    """Follow every axis of every graph input through the outermost graph."""
    inputs: list[str] = []
    known: dict[str, Layout] = {}
    if not _has_windows(graph):
        return Trace(known, set(), inputs)
    for name in graph.inputs:
        tensor = graph.tensors.get(name)
        if tensor is not None and tensor.shape is not None and not tensor.is_constant:
            known[name] = of_input(tensor.shape, len(inputs))
            inputs.extend([name] * len(tensor.shape))
    touched: set[Source] = set()
    _follow(graph, known, touched, 0)
    return Trace(known, touched, inputs)


# what can make an axis spatial; a network without any has no receptive field, and need not be followed
_MOVING = frozenset(
    key for key, found in RULES.items() if found.__module__ in (spatial.__name__, resampling.__name__, blocks.__name__)
)


def _has_windows(graph: Graph, depth: int = 0) -> bool:
    if any(node.key in _MOVING for node in graph.nodes):
        return True
    bodies = (body for node in graph.nodes for body in node.graphs.values())
    return depth < _DEEPEST and any(_has_windows(body, depth + 1) for body in bodies)


def _follow(graph: Graph, known: dict[str, Layout], touched: set[Source], depth: int) -> None:
    """Add the layouts of all that the graph's nodes make to `known`."""
    tensors = graph.tensors
    for node in graph.nodes:
        if node.op in _BLIND:
            continue
        if node.graphs:
            outputs = _bodies(node, tensors, known, touched, depth)
        else:
            layouts = [known.get(name) for name in node.inputs]
            if layouts.count(None) == len(layouts):
                continue
            if _keeps(node, layouts, tensors):
                known[node.outputs[0]] = layouts[0]  # type: ignore[assignment]
                continue
            outputs = _outputs(Call(node, tensors, layouts, touched))
        for name, layout in zip(node.outputs, outputs, strict=False):
            if layout is not None and _fits(tensors.get(name), layout):
                known[name] = layout  # noqa: PERF403  (a comprehension would not be read better)


def _keeps(node: Node, layouts: Sequence[Layout | None], tensors: Mapping[str, Tensor]) -> bool:
    """Whether the node is elementwise in its first operand alone: most are, and pass its layout on."""
    if layouts[0] is None or len(layouts) - layouts.count(None) != 1 or len(node.outputs) != 1:
        return False
    if node.key in RULES or node.op in _SCATTERED or node.domain not in _KNOWN_DOMAINS:
        return False
    result = tensors.get(node.outputs[0])
    return result is not None and result.value is None and result.shape == tensors[node.inputs[0]].shape


def _outputs(call: Call) -> Outputs:
    try:
        return RULES.get(call.node.key, _without_rule)(call)
    except (OddNodeError, TooFarError):
        return ()


def _fits(tensor: Tensor | None, layout: Layout) -> bool:
    """Whether the tensor is one to follow, and the rule's result one of its shape."""
    if tensor is None or tensor.shape is None or tensor.value is not None:
        return False
    if len(tensor.shape) != len(layout.axes):
        return False
    for axis, length in zip(layout.axes, tensor.shape, strict=True):
        if (axis[0].length if len(axis) == 1 else length_of(axis)) != length:
            return False
    return True


def _without_rule(call: Call) -> Outputs:
    if call.node.op in _SCATTERED or call.node.domain not in _KNOWN_DOMAINS:
        return call.mixed()
    slots = range(len(call.node.outputs))
    return [_elementwise(call, slot) if call.is_known(slot) else None for slot in slots]


def _elementwise(call: Call, slot: int) -> Layout:
    shape, tracked = call.out_shape(slot), call.tracked
    parts = [
        layout if broadcasts(layout.shape, shape) else scrambled([layout], shape, call.node.name) for layout in tracked
    ]
    return merged(parts, shape, call.node.name)


@rule("DynamicQuantizeLinear")
def quantize_dynamic(call: Call) -> Outputs:
    """The scale is a statistic of all values and, as those of normalisation, does not count as seeing."""
    return [call.layout()]


# --- bodies --------------------------------------------------------------------------------------


def _bodies(
    node: Node, tensors: Mapping[str, Tensor], known: Mapping[str, Layout], touched: set[Source], depth: int
) -> Outputs:
    """If: what either branch sees. Loops may read anything they are given, and their windows are not followed."""
    if node.op == "If" and depth < _DEEPEST:
        return _branches(node, tensors, known, touched, depth)
    names = [*node.inputs, *(name for body in node.graphs.values() for name in sorted(body.captured))]
    layouts = [known[name] for name in names if name in known]
    return Call(node, tensors, layouts, touched).mixed() if layouts else ()


def _branches(
    node: Node, tensors: Mapping[str, Tensor], known: Mapping[str, Layout], touched: set[Source], depth: int
) -> Outputs:
    results = []
    for body in node.graphs.values():
        inner = {n: known[n] for n in body.captured if n in known and _fits(body.tensors.get(n), known[n])}
        _follow(body, inner, touched, depth + 1)
        results.append([inner.get(name) for name in body.outputs])
    return [_either(node, tensors, name, [r[k] for r in results if k < len(r)]) for k, name in enumerate(node.outputs)]


def _either(node: Node, tensors: Mapping[str, Tensor], name: str, layouts: Iterable[Layout | None]) -> Layout | None:
    tensor = tensors.get(name)
    found = [layout for layout in layouts if layout is not None]
    if not found or tensor is None or tensor.shape is None:
        return None
    shape = tensor.shape
    fitting = [f if f.shape == shape else scrambled([f], shape, node.name) for f in found]
    return merged(fitting, shape, node.name)
