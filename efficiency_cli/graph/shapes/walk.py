"""The walk over a graph's nodes that gives every output a type, see the package's docstring."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
from msgspec.structs import replace
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, TypeProto

from efficiency_cli.errors import ModelError
from efficiency_cli.graph.binding import MAX_RANK
from efficiency_cli.graph.shapes import alike, bounds, contrib, hazards, sequences
from efficiency_cli.graph.shapes.control_flow import VISITORS
from efficiency_cli.graph.shapes.needs import needed_values, shape_operands
from efficiency_cli.graph.shapes.scope import (
    MAX_VALUE_ELEMENTS,
    STANDARD,
    Array,
    Scope,
    attributes_of,
    enter_constant_node,
)
from efficiency_cli.graph.shapes.types import Call, TypeInfo
from efficiency_cli.graph.shapes.values import FOLDABLE, fold

_MAX_OPSET = 2**31 - 1
# what exceptions of onnx's C++ become, and text that is none
_OF_CPP = (RuntimeError, ValueError, IndexError, OverflowError, UnicodeDecodeError)
# with static operands onnx infers these, unless the output's size comes out below 1
_WINDOWED = frozenset({"Conv", "ConvInteger", "QLinearConv", "MaxPool", "AveragePool", "LpPool"})


class Walker:
    """One inference over one model; `notes` collects oddities worth telling."""

    def __init__(self, model: ModelProto, symbols: Mapping[str, int], sizes: Mapping[str, int]) -> None:
        self.model = model
        self.symbols = symbols
        self.sizes = sizes
        self.applied: set[str] = set()  # of `sizes`: those that said something that was not known
        self.notes: list[str] = []
        self.visits = 0
        self.known: dict[Hashable, Sequence[TypeInfo | None]] = {}  # outputs of nodes like one that was met
        self.bounded_values = False
        # a version of more than 32 bits is one that onnx knows no operators of
        versions = {o.domain: max(0, min(o.version, _MAX_OPSET)) for o in model.opset_import}
        self.opsets = {("" if domain == "ai.onnx" else domain): v for domain, v in versions.items()}
        newest = onnx.defs.onnx_opset_version()
        if self.opsets.get("", newest) > newest:
            self.notes.append(f"opset {self.opsets['']} is newer than the installed onnx knows; read as opset {newest}")
            self.opsets[""] = newest
        self.opsets.setdefault("", newest)
        self.imports = [onnx.helper.make_opsetid(d, v) for d, v in self.opsets.items()]

    # --- before the walk -------------------------------------------------------------------

    def declare_inputs(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Write the bound shapes into the graph's inputs."""
        for value in self.model.graph.input:
            if value.name in shapes:
                tensor = _tensor_type(value.type)
                if tensor is not None:
                    del tensor.shape.dim[:]
                    tensor.shape.SetInParent()
                    for size in shapes[value.name]:
                        tensor.shape.dim.add().dim_value = size

    def take_declared(self, graph: GraphProto) -> dict[str, TypeInfo]:
        """Remove what the file says of computed tensors (it can be stale); return it, bound.

        It is used again only where nothing better is known.
        """
        declared = {}
        for value in (*graph.value_info, *graph.output):
            info = TypeInfo.of(value.type, self.symbols)
            if info is not None:
                declared[value.name] = info
        del graph.value_info[:]
        for value in graph.output:
            tensor = _tensor_type(value.type)
            if tensor is not None:
                tensor.ClearField("shape")
        return declared

    def enter_inferred(self, model: ModelProto, scope: Scope) -> None:
        """onnx's inference over the whole model; silently nothing where it refuses the model or would not end."""
        if hazards.in_graph(model.graph):
            return
        try:
            result = onnx.shape_inference.infer_shapes(model, data_prop=False)
        except (onnx.shape_inference.InferenceError, *_OF_CPP):
            return
        for value in (*result.graph.value_info, *result.graph.output):
            info = TypeInfo.of(value.type, self.symbols)
            # onnx keeps only what the elements of a list have in common: the walk knows each
            if info is not None and info.static and not info.sequence and len(info.static_shape) <= MAX_RANK:
                scope.types.setdefault(value.name, info)

    # --- the walk --------------------------------------------------------------------------

    def walk(self, graph: GraphProto, scope: Scope, declared: Mapping[str, TypeInfo]) -> None:
        needed = needed_values(graph)
        for index, node in enumerate(graph.node):
            self.visits += 1
            self._visit(index, node, scope, declared)
            if node.op_type in FOLDABLE and any(o in needed for o in node.output):
                with _blamed_on(node, scope):
                    self._fold(node, scope)

    def _visit(self, index: int, node: NodeProto, scope: Scope, declared: Mapping[str, TypeInfo]) -> None:
        control = VISITORS.get(node.op_type) if node.domain in STANDARD else None
        if control is not None:
            with _blamed_on(node, scope):
                control(self, index, node, scope)
            return
        if node.op_type == "Constant" and node.domain in STANDARD:
            with _blamed_on(node, scope):
                enter_constant_node(node, scope)
        if all(_settled(scope.types.get(o)) for o in node.output if o):
            return
        operands = [scope.type_of(i) if i else None for i in node.input]
        outputs = self._outputs(node, operands, scope)
        bounded = any(o is not None and o.bounded for o in operands) or self._by_a_bound(node, scope)
        for slot, name in enumerate(node.output):
            if not name:
                continue
            info = outputs[slot] if slot < len(outputs) else None
            info = _merged(info, declared.get(name))
            if info is None:
                continue
            info = self.sized(name, info)
            if bounded and not info.bounded:
                info = info.as_bounded()
            scope.types[name] = info

    def _by_a_bound(self, node: NodeProto, scope: Scope) -> bool:
        """Whether a value that decides the node's shape comes from one that is an upper bound."""
        return self.bounded_values and any(scope.is_bound(name) for name in shape_operands(node))

    def sized(self, name: str, info: TypeInfo) -> TypeInfo:
        """Apply `--dim TENSOR[AXIS]=N` to a tensor inside the graph; refuse one of too many axes."""
        if info.shape is not None and len(info.shape) > MAX_RANK:
            raise ModelError(
                f"tensor '{name}' has {len(info.shape):,} axes",
                where=f"at most {MAX_RANK} are analysed",
                hint="check the model: python -m onnx.checker MODEL",
            )
        if not self.sizes or info.shape is None:
            return info
        given = {
            axis: size for axis in range(len(info.shape)) if (size := self.sizes.get(f"{name}[{axis}]")) is not None
        }
        # what follows from the operands is not for the user to say; an upper bound is
        open_axes = {axis: n for axis, n in given.items() if info.bounded or info.shape[axis] is None}
        if not open_axes:
            return info
        self.applied.update(f"{name}[{axis}]" for axis in open_axes)
        dims = tuple(open_axes.get(axis, d) for axis, d in enumerate(info.shape))
        return TypeInfo(info.elem, dims, sequence=info.sequence)

    def _outputs(self, node: NodeProto, operands: Sequence[TypeInfo | None], scope: Scope) -> Sequence[TypeInfo | None]:
        values = [scope.value_of(i) if i else None for i in node.input]
        key = alike.key_of(node, operands, values)
        found = self.known.get(key) if key is not None else None
        if found is None:
            found = self._new_outputs(node, operands, values, scope)
            if key is not None:
                self.known[key] = found
        return found

    def _new_outputs(
        self, node: NodeProto, operands: Sequence[TypeInfo | None], values: Sequence[Array | None], scope: Scope
    ) -> Sequence[TypeInfo | None]:
        call = Call(attributes_of(node), operands, values, len(node.output))
        rule = contrib.rule_for(node.domain, node.op_type) or sequences.rule_for(node.domain, node.op_type)
        if rule is not None:
            return _ruled(rule, call, node, scope)
        standard = contrib.standard_twin(node.domain, node.op_type)
        inferred = self._infer_node(_renamed(node, standard) if standard else node, operands, values)
        bound = bounds.bound_for(node.op_type)
        if bound is None or all(_settled(i) for i in inferred if i is not None):
            return inferred
        return _ruled(bound, replace(call, inferred=inferred), node, scope)

    def _infer_node(
        self, node: NodeProto, operands: Sequence[TypeInfo | None], values: Sequence[Array | None]
    ) -> list[TypeInfo | None]:
        """One node through onnx's own inference, with the small values that are known."""
        schema = _schema(node.op_type, "" if node.domain in STANDARD else node.domain, self.version(node))
        hazard = hazards.in_node(node)
        if hazard is not None:
            raise _contradiction(node, operands, hazard)
        if schema is None or any(o is None for o, i in zip(operands, node.input, strict=False) if i):
            return [None] * len(node.output)
        try:
            types = {i: o.proto() for i, o in zip(node.input, operands, strict=False) if i and o is not None}
        except (TypeError, ValueError) as error:  # a rule of ours took it from the attributes
            raise _contradiction(node, operands, "one of them is of a type or size that does not exist") from error
        # a twin may have fewer operands than the node
        data = {i: _tensor_of(v) for i, v in zip(node.input, values, strict=False) if v is not None}
        try:
            result = onnx.shape_inference.infer_node_outputs(schema, node, types, data, opset_imports=self.imports)
        except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError) as error:
            if all(o is None or o.static for o in operands):
                raise _contradiction(node, operands, error) from error
            return [None] * len(node.output)
        except _OF_CPP:
            return [None] * len(node.output)
        static = all(o is None or o.static for o in operands)
        if static and node.op_type in _WINDOWED and not _known_output(node, result):
            raise _contradiction(node, operands, "the window is larger than the padded input")
        return [TypeInfo.of(result[o], self.symbols) if o in result else None for o in node.output]

    def version(self, node: NodeProto) -> int:
        """The opset the node belongs to."""
        domain = "" if node.domain in STANDARD else node.domain
        return int(self.opsets.get(domain, 1))

    def _fold(self, node: NodeProto, scope: Scope) -> None:
        """Compute the node's outputs where they are small and all operands' values are known."""
        infos = [scope.types.get(o) for o in node.output if o]
        if any(i is None or not i.static or i.numel > MAX_VALUE_ELEMENTS for i in infos):
            return
        if node.op_type in ("Shape", "Size"):
            operand = scope.type_of(node.input[0])
            if operand is not None and operand.static and not operand.sequence:
                scope.values[node.output[0]] = _shape_value(node, operand)
                if operand.bounded:
                    self._mark(node, scope)
            return
        values = [scope.value_of(i) if i else None for i in node.input]
        if any(v is None and i for v, i in zip(values, node.input, strict=True)):
            return
        results = fold(node, values, self.version(node))
        for name, result in zip(node.output, results, strict=False):
            if name and result is not None and result.size <= MAX_VALUE_ELEMENTS:
                scope.values[name] = result
        if self.bounded_values and any(scope.is_bound(i) for i in node.input):
            self._mark(node, scope)

    def _mark(self, node: NodeProto, scope: Scope) -> None:
        """What the node computes is no more than a bound."""
        self.bounded_values = True
        scope.bounds.update(o for o in node.output if o)


@contextmanager
def _blamed_on(node: NodeProto, scope: Scope) -> Iterator[None]:
    """What our own code raises over an impossible rank, size or attribute is the model's mistake."""
    try:
        yield
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        operands = [scope.type_of(i) if i else None for i in node.input]
        raise _contradiction(node, operands, f"they or its attributes do not go together: {error}") from error


def _ruled(
    rule: Callable[[Call], Sequence[TypeInfo | None]], call: Call, node: NodeProto, scope: Scope
) -> Sequence[TypeInfo | None]:
    with _blamed_on(node, scope):
        found = rule(call)
        dims = [d for info in found if info is not None for d in info.shape or ()]
        if not all(d is None or isinstance(d, int | np.integer) for d in dims):
            raise TypeError("an attribute makes a size that is no whole number")
        return found


@lru_cache(maxsize=4096)
def _schema(op: str, domain: str, version: int) -> Any:
    try:
        return onnx.defs.get_schema(op, version, domain)
    except onnx.defs.SchemaError:
        pass
    try:  # an operator newer than the declared opset: real exporters do write such files
        return onnx.defs.get_schema(op, domain)
    except onnx.defs.SchemaError:
        return None


def _renamed(node: NodeProto, op: str) -> NodeProto:
    """The node as its twin of ai.onnx, without attributes that one does not have."""
    twin = NodeProto()
    twin.CopyFrom(node)
    twin.op_type, twin.domain = op, ""
    schema = _schema(op, "", onnx.defs.onnx_opset_version())
    known = [a for a in node.attribute if a.name in schema.attributes]
    del twin.attribute[:]
    twin.attribute.extend(known)
    # a fused twin has more operands than the plain one (FusedConv's Z): inference ignores them
    del twin.input[schema.max_input :]
    return twin


def _settled(info: TypeInfo | None) -> bool:
    return info is not None and info.static


def _merged(inferred: TypeInfo | None, declared: TypeInfo | None) -> TypeInfo | None:
    """Inference first; where it has gaps and the ranks agree, what the file declares fills them."""
    if inferred is None or inferred.shape is None:
        if inferred is not None and declared is not None and declared.elem != inferred.elem:
            return TypeInfo(inferred.elem, declared.shape, sequence=inferred.sequence)
        return declared or inferred
    if inferred.static or declared is None or declared.shape is None:
        return inferred
    if len(declared.shape) != len(inferred.shape):
        return inferred
    dims = tuple(a if a is not None else b for a, b in zip(inferred.shape, declared.shape, strict=True))
    return TypeInfo(inferred.elem, dims, bounded=inferred.bounded, sequence=inferred.sequence)


def _tensor_type(type_proto: TypeProto) -> Any:
    """The (possibly optional) tensor type inside, or None for sequences, maps and the like."""
    kind = type_proto.WhichOneof("value")
    if kind == "tensor_type":
        return type_proto.tensor_type
    if kind == "optional_type":
        return _tensor_type(type_proto.optional_type.elem_type)
    if kind == "sparse_tensor_type":
        return type_proto.sparse_tensor_type
    return None


def _shape_value(node: NodeProto, operand: TypeInfo) -> Array:
    dims = operand.static_shape
    if node.op_type == "Size":
        return np.asarray(math.prod(dims), dtype=np.int64)
    attributes = attributes_of(node)
    return np.asarray(dims[attributes.get("start", 0) : attributes.get("end", len(dims))], dtype=np.int64)


def _tensor_of(value: Array) -> TensorProto:
    return onnx.numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape))


def _known_output(node: NodeProto, result: Mapping[str, TypeProto]) -> bool:
    info = TypeInfo.of(result[node.output[0]], {}) if node.output and node.output[0] in result else None
    return info is not None and info.static


def _contradiction(node: NodeProto, operands: Sequence[TypeInfo | None], error: object) -> ModelError:
    shapes = ", ".join(o.text() if o is not None else "-" for o in operands)
    reason = str(error).strip().splitlines()[0].removeprefix("[ShapeInferenceError] ")
    return ModelError(
        f"node '{node.name or ', '.join(node.output)}' ({node.op_type}) contradicts its operands",
        where=(f"operands: {shapes}", reason),
        hint="check the model with `python -m onnx.checker`, or other sizes with --dim or --shape",
    )
