"""Is this a graph at all: header, operands, order, cycles, functions. Works on onnx's protobuf."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import onnx
import onnx.inliner
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto

from efficiency_cli.errors import ModelError
from efficiency_cli.graph import binding
from efficiency_cli.graph.model import DType
from efficiency_cli.graph.shapes.scope import graphs_of

# a model of more nodes than this, functions inlined, is refused: real ones stay under 40,000, and these take seconds
MAX_NODES = 40_000
# what functions expand to, in bytes: as much as a file may hold without its weights
MAX_EXPANDED_BYTES = 64 * 2**20
# functions inside each other; exporters stop at a handful
MAX_FUNCTION_DEPTH = 100
MAX_CONSTANTS = 200_000
# bodies of If, Loop and Scan: each costs as much as several nodes, and exported networks have some dozens
MAX_BODIES = 10_000
DTYPES: dict[int, DType] = {
    number: DType(name.lower())
    for name, number in TensorProto.DataType.items()
    if name.lower() in DType.__members__.values()
} | {TensorProto.FLOAT: DType.FLOAT32, TensorProto.DOUBLE: DType.FLOAT64}


def check_text(names: Iterable[str]) -> None:
    """Refuse names that are not text. Joining is the fastest way to ask whether all are."""
    try:
        "".join(names)
    except TypeError:
        raise ModelError(
            "the model holds names that are not UTF-8 text", hint="the model is damaged; export it again"
        ) from None


@contextmanager
def names_checked(model: ModelProto) -> Iterator[None]:
    """Where something fails on names that are not UTF-8, which protobuf hands on as bytes, that is what is told."""
    try:
        yield
    except (TypeError, AttributeError, UnicodeError):
        check_text(_names_in(model))
        raise


def _names_in(model: ModelProto) -> Iterator[str]:
    """Every name that decides how the model is read."""
    yield from (o.domain for o in model.opset_import)
    yield from _names_in_graph(model.graph)
    for function in model.functions:
        yield from (function.domain, function.name, *function.input, *function.output)
        yield from _names_in_nodes(function.node)


def _names_in_graph(graph: GraphProto) -> Iterator[str]:
    yield graph.name
    yield from (t.name for t in graph.initializer)
    for value in (*graph.input, *graph.output, *graph.value_info):
        yield value.name
        yield from (d.dim_param for d in value.type.tensor_type.shape.dim)
    yield from _names_in_nodes(graph.node)


def _names_in_nodes(nodes: Iterable[NodeProto]) -> Iterator[str]:
    for node in nodes:
        yield from (node.op_type, node.domain, node.name, *node.input, *node.output)
        for attribute in node.attribute:
            yield attribute.name
            for body in graphs_of(attribute):
                yield from _names_in_graph(body)


def complete_header(model: ModelProto, notes: list[str]) -> None:
    newest = onnx.defs.onnx_opset_version()
    if not any(o.domain in ("", "ai.onnx") for o in model.opset_import):
        if not model.opset_import:
            notes.append(f"the model imports no opset; read as opset {newest}")
        model.opset_import.add(domain="", version=newest)
    if model.ir_version < 1:
        notes.append("the model states no ir_version")
    elif model.ir_version > onnx.IR_VERSION:
        notes.append(f"ir_version {model.ir_version} is newer than the installed onnx knows ({onnx.IR_VERSION})")
    _check_initializers(model.graph)


def _check_initializers(graph: GraphProto) -> None:
    for tensor in (*graph.initializer, *(s.values for s in graph.sparse_initializer)):
        if tensor.data_type not in DTYPES:
            raise ModelError(
                f"initializer '{tensor.name}' has the unknown data type {tensor.data_type}",
                hint="the model is damaged or newer than the installed onnx: pip install -U onnx",
            )
        if len(tensor.dims) > binding.MAX_RANK:
            raise ModelError(
                f"initializer '{tensor.name}' has {len(tensor.dims):,} axes",
                where=f"at most {binding.MAX_RANK} are analysed",
                hint="the model is damaged; export it again",
            )
        if any(d < 0 for d in tensor.dims) or math.prod(tensor.dims) > binding.MAX_ELEMENTS:
            raise ModelError(
                f"initializer '{tensor.name}' has impossible dimensions",
                where=f"shape {'x'.join(map(str, tensor.dims))}",
                hint="the model is damaged; export it again",
            )


def inlined(model: ModelProto) -> ModelProto:
    """The model without model-local functions; recursion and explosive nesting are refused."""
    if not model.functions:
        return model
    nodes, size = _Expansion(model.functions).of_nodes(model.graph.node)
    if nodes > MAX_NODES or size > MAX_EXPANDED_BYTES:
        raise ModelError(
            f"the model's functions expand to {nodes:,} nodes",
            where=f"{size:,} bytes" if size > MAX_EXPANDED_BYTES else (),
            hint=f"at most {MAX_NODES:,} are analysed",
        )
    try:
        return onnx.inliner.inline_local_functions(model)
    except Exception as error:  # the inliner raises RuntimeError and pybind types alike
        raise ModelError("the model's functions cannot be inlined", where=str(error).splitlines()[0]) from error


class _Expansion:
    """How many nodes and bytes remain once every function call is replaced by the function's body."""

    def __init__(self, functions: Iterable[FunctionProto]) -> None:
        self.functions = {(f.domain, f.name, f.overload): f for f in functions}
        self.sizes: dict[tuple[str, str, str], tuple[int, int]] = {}
        self.open: list[tuple[str, str, str]] = []

    def of_nodes(self, nodes: Iterable[NodeProto]) -> tuple[int, int]:
        count = size = 0
        for node in nodes:
            inner_count, inner_size = self._of_node(node)
            count += inner_count
            size += inner_size
        return count, size

    def _of_node(self, node: NodeProto) -> tuple[int, int]:
        key = (node.domain, node.op_type, node.overload)
        count = size = 0
        for attribute in node.attribute:
            for body in graphs_of(attribute):
                inner_count, inner_size = self.of_nodes(body.node)
                count += inner_count
                size += inner_size
        if key not in self.functions:
            return 1 + count, node.ByteSize() + size
        if key not in self.sizes:
            if key in self.open:
                chain = " → ".join(f"{d}::{n}" for d, n, _ in [*self.open, key])
                raise ModelError("a function of the model calls itself", where=chain)
            if len(self.open) >= MAX_FUNCTION_DEPTH:
                raise ModelError(
                    f"the model's functions call each other more than {MAX_FUNCTION_DEPTH} deep",
                    hint="inline some of them: onnx.inliner.inline_local_functions(model)",
                )
            self.open.append(key)
            self.sizes[key] = self.of_nodes(self.functions[key].node)
            self.open.pop()
        return self.sizes[key][0] + count, self.sizes[key][1] + size


def check_amount(graph: GraphProto) -> int:
    """The nodes of the graph and its bodies; refuses more nodes, bodies or constants than are analysed."""
    graphs = list(_with_bodies(graph))
    nodes = sum(len(g.node) for g in graphs)
    constants = sum(len(g.initializer) + len(g.sparse_initializer) for g in graphs)
    limits = ((nodes, MAX_NODES, "nodes"), (len(graphs) - 1, MAX_BODIES, "bodies of nodes"))
    for count, most, what in (*limits, (constants, MAX_CONSTANTS, "constants")):
        if count > most:
            raise ModelError(f"the model has {count:,} {what}", hint=f"at most {most:,} are analysed")
    return nodes


def _with_bodies(graph: GraphProto) -> Iterator[GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for body in graphs_of(attribute):
                yield from _with_bodies(body)


class Names:
    """The names known in a graph and in those around it, without a copy of theirs in each."""

    __slots__ = ("around", "own")

    def __init__(self, own: set[str], around: Names | None = None) -> None:
        self.own = own
        self.around = around

    def __contains__(self, name: str) -> bool:
        names: Names | None = self
        while names is not None:
            if name in names.own:
                return True
            names = names.around
        return False


def check_graph(graph: GraphProto, outer: Names | None, notes: list[str]) -> None:
    """Every operand has one producer, no cycle, nodes in a runnable order (sorted where they are not)."""
    if not all(v.name for v in (*graph.input, *graph.output)):
        raise ModelError(
            f"an input or output of graph '{graph.name}' has no name", hint="the model is damaged; export it again"
        )
    _drop_idle(graph, notes)
    known = Names(constant_names(graph) | {v.name for v in graph.input}, outer)
    produced = {o for node in graph.node for o in node.output if o}
    available = Names(set(known.own), outer)
    in_order = True
    taken = set(available.own)  # by what is made here, or read from around it
    for node in graph.node:
        for name in _needs(node):
            if name in available:
                taken.add(name)
                continue
            if name not in produced:
                raise ModelError(
                    f"node '{node.name or ', '.join(node.output)}' ({node.op_type}) reads '{name}', "
                    "which nothing makes",
                    hint="the model is damaged; export it again",
                )
            in_order = False
        made = [o for o in node.output if o]
        if not taken.isdisjoint(made) or len(set(made)) < len(made):
            raise ModelError(
                f"node '{node.name or ', '.join(made)}' ({node.op_type}) makes a tensor that is there already",
                hint="the model is damaged; export it again",
            )
        available.own.update(made)
        taken.update(made)
    if not in_order:
        _sort(graph, known)
        notes.append(f"the nodes of graph '{graph.name}' are not in topological order; sorted")
    for output in graph.output:
        if output.name not in available:
            raise ModelError(
                f"graph output '{output.name}' is made by no node",
                hint="the model is damaged; export it again",
            )
    for node in graph.node:
        for attribute in node.attribute:
            for body in graphs_of(attribute):
                _check_initializers(body)
                check_graph(body, available, notes)


def _drop_idle(graph: GraphProto, notes: list[str]) -> None:
    """Nodes that name no output do nothing for the network."""
    idle = [k for k, node in enumerate(graph.node) if not any(node.output)]
    for k in reversed(idle):
        del graph.node[k]
    if idle:
        notes.append(f"{len(idle):,} nodes of graph '{graph.name}' have no output; left out")


def _needs(node: NodeProto) -> Iterator[str]:
    """The tensors a node reads, those its bodies capture included."""
    yield from (i for i in node.input if i)
    for attribute in node.attribute:
        for body in graphs_of(attribute):
            yield from _captures(body)


def _captures(graph: GraphProto) -> set[str]:
    own = constant_names(graph) | {v.name for v in graph.input}
    own.update(o for node in graph.node for o in node.output)
    used = {name for node in graph.node for name in _needs(node)}
    used.update(o.name for o in graph.output)
    return used - own


def _sort(graph: GraphProto, known: Names) -> None:
    """Kahn's algorithm, stable; raises ModelError on a cycle."""
    producer = {o: k for k, node in enumerate(graph.node) for o in node.output if o}
    waiting = [{producer[n] for n in _needs(node) if n in producer and n not in known} for node in graph.node]
    users: dict[int, list[int]] = {}
    for k, needs in enumerate(waiting):
        for p in needs:
            users.setdefault(p, []).append(k)
    ready = [k for k, needs in enumerate(waiting) if not needs]
    order: list[int] = []
    while len(order) < len(ready):
        k = ready[len(order)]
        order.append(k)
        for user in users.get(k, ()):
            waiting[user].discard(k)
            if not waiting[user]:
                ready.append(user)
    if len(order) < len(graph.node):
        stuck = next(node for k, node in enumerate(graph.node) if waiting[k])
        raise ModelError(
            "the graph has a cycle",
            where=f"through node '{stuck.name or ', '.join(stuck.output)}' ({stuck.op_type})",
        )
    nodes = [graph.node[k] for k in order]
    copies = [NodeProto.FromString(n.SerializeToString()) for n in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def constant_names(graph: GraphProto) -> set[str]:
    return {t.name for t in graph.initializer} | {s.values.name for s in graph.sparse_initializer}
