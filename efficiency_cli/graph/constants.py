"""Which tensors are constants when the network runs, and which of those are parameters.

A node whose operands are all constant is computed once, before the network runs: its outputs are
constants too (a weight that goes through Cast, Transpose or DequantizeLinear stays a weight).
A constant is a parameter (Kind.WEIGHT) when some node that does run uses it as one, see `roles.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Set

from msgspec import Struct
from msgspec.structs import replace

from efficiency_cli.graph.model import DType, Graph, Kind, Node, Tensor
from efficiency_cli.graph.roles import is_parameter, parameter_count

# operators whose result is new at every run, whatever their operands
_NOT_FOLDED = frozenset(
    """RandomNormal RandomUniform RandomNormalLike RandomUniformLike Bernoulli Multinomial
    If Loop Scan SequenceMap""".split()
)


def is_folded(node: Node, graph: Graph) -> bool:
    """Whether the node runs before the network does: all it makes is constant."""
    return bool(node.outputs) and all(graph.tensors[o].is_constant for o in node.outputs if o)


def classify(graph: Graph, *, static: bool = False) -> Graph:
    """The graph (and its bodies) with Kind.CONSTANT and Kind.WEIGHT set on every constant.

    `static`: the file declares every size, so Shape and Size of any tensor are constants as well.
    """
    return _with_weights(_with_constants(graph, set(), static), frozenset())


def _with_constants(graph: Graph, outer: set[str], static: bool) -> Graph:
    constant = {n for n, t in graph.tensors.items() if t.kind is Kind.CONSTANT} | (outer & graph.captured)
    nodes = []
    for node in graph.nodes:
        if node.graphs:
            # only what a body captures is looked up: the sets around it can be large, and the bodies many
            known = {a: {c for c in g.captured if c in constant or c in outer} for a, g in node.graphs.items()}
            bodies = {a: _with_constants(g, known[a], static) for a, g in node.graphs.items()}
            node = replace(node, graphs=bodies)
        elif _folds(node, graph, constant, static):
            constant.update(o for o in node.outputs if o)
        nodes.append(node)
    tensors = {n: replace(t, kind=Kind.CONSTANT) if n in constant else t for n, t in graph.tensors.items()}
    return replace(graph, nodes=tuple(nodes), tensors=tensors)


def _folds(node: Node, graph: Graph, constant: set[str], static: bool) -> bool:
    if node.op in _NOT_FOLDED or (node.op, node.domain) == ("Constant", ""):
        return False
    if static and node.op in ("Shape", "Size") and node.domain == "":
        operand = graph.tensors.get(node.inputs[0]) if node.inputs else None
        return operand is not None and operand.shape is not None and not operand.bounded
    operands = [i for i in node.inputs if i]
    return bool(operands) and all(i in constant for i in operands)


def _parameters_used(graph: Graph) -> set[str]:
    """The constants of `graph` that nodes which run use as parameters, back to the stored ones."""
    used: set[str] = set()
    for node in graph.nodes:
        if node.graphs:
            for body in node.graphs.values():
                used |= _parameters_used(body) & body.captured
        elif not is_folded(node, graph):
            used.update(_parameter_operands(node, graph))
    # a folded node passes the role on to its own operands
    for node in reversed(graph.nodes):
        if not node.graphs and is_folded(node, graph) and any(o in used for o in node.outputs):
            used.update(_parameter_operands(node, graph))
    return used


def _parameter_operands(node: Node, graph: Graph) -> Iterator[str]:
    for slot, name in enumerate(node.inputs):
        tensor = graph.tensors.get(name)
        if tensor is None or not tensor.is_constant or tensor.shape is None or tensor.dtype is None:
            continue
        if is_parameter(node.domain, node.op, slot, tensor.shape, tensor.dtype):
            yield name


def _with_weights(graph: Graph, outer: Set[str]) -> Graph:
    """`outer`: the parameters of the graph around this one."""
    used = _parameters_used(graph) | (outer & graph.captured)
    tensors = {
        n: replace(t, kind=Kind.WEIGHT) if n in used and t.kind is Kind.CONSTANT else t
        for n, t in graph.tensors.items()
    }
    nodes = tuple(
        replace(node, graphs={a: _with_weights(g, used) for a, g in node.graphs.items()}) if node.graphs else node
        for node in graph.nodes
    )
    return replace(graph, nodes=nodes, tensors=tensors)


class Stored(Struct, frozen=True):
    """One constant of the model: its elements as parameters (or auxiliary), its stored bytes."""

    tensor: Tensor
    parameters: int
    auxiliary: int
    bytes: int
    dtype: DType | None
    generated: bool  # made by ConstantOfShape and the like, not stored in the file


def stored_constants(graph: Graph) -> tuple[list[Stored], list[str]]:
    """Every constant that the network uses, once; and the names of those that nothing uses."""
    found: list[Stored] = []
    unused: list[str] = []
    _collect(graph, found, unused)
    return found, unused


def _collect(graph: Graph, found: list[Stored], unused: list[str]) -> dict[str, int]:
    """Add what `graph` and its bodies store; the parameters in those weights it only captures."""
    counts: dict[str, int] = {}
    read: set[str] = set(graph.outputs)
    made: dict[str, Node] = {}
    for node in graph.nodes:
        read.update(node.inputs)
        made.update(dict.fromkeys(node.outputs, node))
        for slot, name in enumerate(node.inputs):
            tensor = graph.tensors.get(name)
            if tensor is not None and tensor.kind is Kind.WEIGHT and tensor.shape is not None:
                count = parameter_count(node.domain, node.op, slot, tensor.shape, node.attributes, tensor.dtype)
                counts[name] = max(counts.get(name, 0), count)
        for body in node.graphs.values():
            for name, count in _collect(body, found, unused).items():
                counts[name] = max(counts.get(name, 0), count)
            read.update(body.captured)
    for name, tensor in graph.tensors.items():
        if not tensor.is_constant or name in graph.captured or not name:
            continue
        maker = made.get(name)
        generated = maker is not None and maker.op != "Constant"
        if maker and generated and (_has_weight_operand(maker, graph) or tensor.kind is Kind.CONSTANT):
            continue  # derived from a stored constant, which counts
        if name not in read:
            unused.append(name)
            continue
        weight = tensor.kind is Kind.WEIGHT
        elements = counts.get(name, tensor.numel) if weight else tensor.numel
        found.append(
            Stored(
                tensor=tensor,
                parameters=elements if weight else 0,
                auxiliary=0 if weight else elements,
                bytes=0 if generated else tensor.bytes,
                dtype=tensor.dtype,
                generated=generated,
            )
        )
    return {name: count for name, count in counts.items() if name in graph.captured}


def _has_weight_operand(node: Node, graph: Graph) -> bool:
    return any(i and graph.tensors[i].kind is Kind.WEIGHT for i in node.inputs)
