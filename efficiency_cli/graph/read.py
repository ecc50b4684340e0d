"""Bytes to Model: the home of onnx's protobuf.

Payload-free parsing, structural checks, inlining of functions, shapes (in `shapes`), and the
conversion to the plain data of `model.py`.
"""

from __future__ import annotations

from collections import ChainMap, Counter
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any

from google.protobuf.message import DecodeError
from msgspec.structs import replace
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, ValueInfoProto

from efficiency_cli.errors import ModelError, UsageError
from efficiency_cli.graph import binding, shapes
from efficiency_cli.graph.constants import classify
from efficiency_cli.graph.model import Attribute, Graph, Kind, Model, Node, Tensor
from efficiency_cli.graph.parts import check_parts
from efficiency_cli.graph.shapes.scope import graphs_of
from efficiency_cli.graph.source import open_bytes, what_else
from efficiency_cli.graph.structure import (
    DTYPES,
    check_amount,
    check_graph,
    check_text,
    complete_header,
    constant_names,
    inlined,
    names_checked,
)
from efficiency_cli.graph.wire import WireError, strip_payloads

# values of constants kept for cost rules (trip counts, lengths)
MAX_TENSOR_VALUE = 64


def read_model(
    path: str,
    *,
    dims: Mapping[str, int] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    batch: int | None = None,
    propose: binding.Propose | None = None,
) -> Model:
    """The network in the ONNX file `path` ('-': standard input), every tensor with a static shape.

    `dims` sets symbolic dimensions by name, unnamed ones as 'INPUT[AXIS]'; `shapes` whole inputs;
    `batch` the first axis of every input; `propose` gives sizes for what the graph declares. Weights are
    not read. Raises ModelError for what is not a
    usable model, MissingDimension when a dimension must be given, UsageError for a wrong name.
    """
    request = binding.Request(dims or {}, shapes or {}, batch)
    proto, file_bytes = load(path)
    if propose is not None:
        with names_checked(proto):
            interface = interface_of(proto.graph)
            request = binding.with_sizes(request, interface, propose(interface))
    return build(proto, path, file_bytes, request)


def interface_of(graph: GraphProto) -> binding.Interface:
    """What the graph declares of its inputs and outputs, and its nodes, as plain data."""
    constants = constant_names(graph)
    uses = tuple(binding.Use(n.op_type, tuple(n.input), tuple(n.output)) for n in graph.node)
    inputs = {v.name: _dims(v) for v in graph.input if v.name not in constants}
    return binding.Interface(inputs, {v.name: _dims(v) for v in graph.output}, uses)


def _dims(value: ValueInfoProto) -> Sequence[binding.Declared] | None:
    declared = _declared(value)
    return declared if isinstance(declared, list) else None


def load(path: str) -> tuple[ModelProto, int]:
    """The parsed model without large payloads, and the file's size in bytes."""
    with open_bytes(path) as source:
        size = len(source)
        other = what_else(source)
        if other is not None:
            raise ModelError(f"{path} is not an ONNX model: it is {other[0]}", hint=other[1].replace("FILE", path))
        try:
            kept = strip_payloads(source)
            check_parts(kept)
        except WireError as error:
            raise ModelError(
                f"{path} is not a complete ONNX model: {error}",
                where=f"{path}: byte {error.offset:,} of {size:,}",
                hint="download or export the file again",
            ) from error
    try:
        model = ModelProto.FromString(kept)
    except DecodeError as error:
        raise ModelError(
            f"{path} is not an ONNX model: its protobuf cannot be decoded",
            hint=f"check that the file is an ONNX model: python -m onnx.checker {path}",
        ) from error
    if not model.HasField("graph"):
        raise ModelError(f"{path} holds no graph", hint="a ModelProto is needed; export the model again")
    return model, size


def build(model: ModelProto, path: str, file_bytes: int, request: binding.Request) -> Model:
    """A Model from a parsed proto, which is changed on the way."""
    with names_checked(model):
        built = _built(model, path, file_bytes, request)
        check_text(_names(built.graph))
    return built


def _names(graph: Graph) -> Iterator[str]:
    yield graph.name
    yield from graph.tensors
    for node in graph.nodes:
        yield from (node.name, node.op, node.domain)
        for body in node.graphs.values():
            yield from _names(body)


def _built(model: ModelProto, path: str, file_bytes: int, request: binding.Request) -> Model:
    notes: list[str] = []
    complete_header(model, notes)
    stored = check_amount(model.graph)
    if model.functions:
        model = inlined(model)
        check_amount(model.graph)
    check_graph(model.graph, None, notes)
    constants = constant_names(model.graph)
    inputs = {v.name: _declared(v) for v in model.graph.input if v.name not in constants}
    bound = binding.bind({n: d for n, d in inputs.items() if d != _NOT_A_TENSOR}, request, path)
    sizes = {k: v for k, v in bound.unused.items() if k.endswith("]")}
    inferred = shapes.infer(model, bound.shapes, bound.symbols, sizes, request.values)
    _check_sizes({k: v for k, v in sizes.items() if k not in inferred.applied}, inferred.scope, inputs)
    static = all(isinstance(d, int) for dims in inputs.values() if isinstance(dims, list) for d in dims)
    graph = classify(_Builder().graph(model.graph, inferred.scope, {}), static=static)
    return Model(
        graph=graph,
        path=path,
        file_bytes=file_bytes,
        ir_version=model.ir_version,
        opset={("" if o.domain == "ai.onnx" else o.domain): o.version for o in model.opset_import},
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        dims=dict(bound.symbols),
        assumptions=bound.assumptions,
        notes=(*notes, *inferred.notes),
        stored_nodes=stored,
    )


def _check_sizes(unused: Mapping[str, int], scope: shapes.Scope, inputs: Mapping[str, Any]) -> None:
    """Refuse a 'TENSOR[AXIS]' of --dim that names no tensor, no axis of it, or one that is known otherwise."""
    symbols = [d for dims in inputs.values() if isinstance(dims, list) for d in dims if isinstance(d, str) and d]
    for key, size in unused.items():
        name, _, axis = key[:-1].rpartition("[")
        info = scope.type_of(name)
        if info is None or not axis.isdecimal():
            binding.reject_unused({key: size}, list(dict.fromkeys(symbols)))
        elif info.shape is not None and int(axis) >= len(info.shape):
            where = f"its shape is {info.text()}"
            raise UsageError(f"--dim {key}: '{name}' has {len(info.shape)} axes", where=where, hint=f"leave out {key}")
        elif info.shape is not None and (known := info.shape[int(axis)]) != size:
            where = f"it is {known}, which follows from the inputs and constants"
            raise UsageError(f"--dim {key}: this axis is not open", where=where, hint=f"leave out {key}={size}")


# --- protobuf to plain data --------------------------------------------------------------------

_NOT_A_TENSOR = "not a tensor"


def _declared(value: ValueInfoProto) -> list[binding.Declared] | str | None:
    """An input's declared dims; None without a shape; _NOT_A_TENSOR for sequences and maps."""
    type_proto = value.type
    while type_proto.WhichOneof("value") == "optional_type":
        type_proto = type_proto.optional_type.elem_type
    kind = type_proto.WhichOneof("value")
    if kind not in ("tensor_type", "sparse_tensor_type"):
        return _NOT_A_TENSOR
    tensor = getattr(type_proto, kind)
    if not tensor.HasField("shape"):
        return None
    return [_declared_dim(dim) for dim in tensor.shape.dim]


def _declared_dim(dim: Any) -> binding.Declared:
    which = dim.WhichOneof("value")
    if which == "dim_value":
        return int(dim.dim_value)
    name = dim.dim_param if which else ""
    # PyTorch's exporter writes the sizes it could prove as symbols: a dim_param of "48" is 48
    return int(name) if name.isdecimal() and len(name) < 19 else name or None


class _Builder:
    """Turns a graph and its inferred scope into Graph, Node and Tensor; names nodes uniquely."""

    def __init__(self) -> None:
        self.names: Counter[str] = Counter()
        self.position = 0

    def graph(self, proto: GraphProto, scope: shapes.Scope, outer: MutableMapping[str, Tensor]) -> Graph:
        constants = constant_names(proto)
        constants.update(o for n in proto.node if _is_constant(n) for o in n.output)
        inputs = tuple(v.name for v in proto.input if v.name not in constants)
        outputs = tuple(v.name for v in proto.output)
        tensors: dict[str, Tensor] = {}
        captured: set[str] = set()

        def tensor(name: str) -> None:
            if not name or name in tensors:
                return
            if name not in scope.types and name in outer:
                tensors[name] = outer[name]
                captured.add(name)
                return
            kind = Kind.CONSTANT if name in constants else Kind.ACTIVATION
            tensors[name] = _tensor(name, kind, scope)

        for name in (*sorted(constants), *inputs):
            tensor(name)
        nodes: list[Node] = []
        for index, node in enumerate(proto.node):
            for name in (*node.input, *node.output):
                tensor(name)
            nodes.append(self._node(index, node, scope, tensors, outer, captured))
        for name in outputs:
            tensor(name)
        _mark(tensors, inputs, Kind.INPUT)
        _mark(tensors, outputs, Kind.OUTPUT)
        return Graph(proto.name, tuple(nodes), tensors, inputs, outputs, frozenset(captured))

    def _node(
        self,
        index: int,
        proto: NodeProto,
        scope: shapes.Scope,
        tensors: dict[str, Tensor],
        outer: MutableMapping[str, Tensor],
        captured: set[str],
    ) -> Node:
        name = self._unique(proto.name or f"{proto.op_type}_{self.position}")
        self.position += 1
        bodies: dict[str, Graph] = {}
        for attribute in proto.attribute:
            for graph in graphs_of(attribute):
                child = scope.children.get((index, attribute.name), shapes.Scope(parent=scope))
                body = self.graph(graph, child, ChainMap(tensors, outer))
                bodies[attribute.name] = body
                for inner in sorted(body.captured):
                    if inner not in tensors:
                        tensors[inner] = body.tensors[inner]
                        captured.add(inner)
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        attributes = {a.name: v for a in proto.attribute if (v := _attribute(a)) is not None}
        return Node(name, proto.op_type, domain, tuple(proto.input), tuple(proto.output), attributes, bodies)

    def _unique(self, name: str) -> str:
        self.names[name] += 1
        while (count := self.names[name]) > 1:
            name = f"{name}#{count}"  # which may be taken as well
            self.names[name] += 1
        return name


def _is_constant(node: NodeProto) -> bool:
    return node.op_type == "Constant" and node.domain in ("", "ai.onnx")


def _mark(tensors: dict[str, Tensor], names: Sequence[str], kind: Kind) -> None:
    for name in names:
        if tensors[name].kind is Kind.ACTIVATION:
            tensors[name] = replace(tensors[name], kind=kind)


def _tensor(name: str, kind: Kind, scope: shapes.Scope) -> Tensor:
    info = scope.type_of(name)
    if info is None:
        return Tensor(name, None, None, kind)
    shape = info.static_shape if info.static else None
    if info.sequence and info.elements is not None and all(e.static for e in info.elements):
        # a list counts as one block of all its elements
        shape = (sum(e.numel for e in info.elements),)
    value = scope.value_of(name)
    plain: tuple[Any, ...] | None = None
    if value is not None and value.size <= MAX_TENSOR_VALUE and value.dtype.kind in "iufb":
        plain = tuple(value.ravel().tolist())
    parts = len(info.elements) if info.sequence and info.elements is not None and not info.bounded else None
    return Tensor(name, shape, DTYPES.get(info.elem), kind, plain, info.bounded, parts)


def _attribute(attribute: AttributeProto) -> Attribute | None:
    """Numbers, strings and lists of them; None for tensors, graphs and types."""
    match attribute.type:
        case AttributeProto.INT:
            return int(attribute.i)
        case AttributeProto.FLOAT:
            return float(attribute.f)
        case AttributeProto.STRING:
            return str(attribute.s.decode("utf-8", "replace"))
        case AttributeProto.INTS:
            return tuple(attribute.ints)
        case AttributeProto.FLOATS:
            return tuple(attribute.floats)
        case AttributeProto.STRINGS:
            return tuple(s.decode("utf-8", "replace") for s in attribute.strings)
    return None
