"""Gives every tensor a static shape, or leaves a named gap.

First onnx's own inference over the whole model, which settles static graphs in milliseconds. Where
it leaves gaps, a walk in topological order follows: shape arithmetic is folded with onnx's reference
operators, one node at a time goes through onnx's inference with the folded values, com.microsoft
operators through `contrib_shapes`, data-dependent shapes get their upper bound.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
from msgspec import Struct
from msgspec.structs import replace
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TypeProto

from efficiency_cli.errors import ModelError
from efficiency_cli.graph.shapes import bounds, contrib, sequences
from efficiency_cli.graph.shapes.types import Call, Dim, TypeInfo
from efficiency_cli.graph.shapes.values import FOLDABLE, fold

# values of at most this many elements take part in shape arithmetic
MAX_VALUE_ELEMENTS = 4096
# a Loop of more trips than this is a `while` in disguise (PyTorch writes INT64_MAX)
MAX_TRIPS = 2**31 - 1

# operands whose values decide an output's shape: operator -> slots
_SHAPE_OPERANDS: dict[str, tuple[int, ...]] = {
    "Reshape": (1,),
    "Expand": (1,),
    "Tile": (1, 2),
    "Slice": (1, 2, 3, 4),
    "Pad": (1, 3),
    "Resize": (1, 2, 3),
    "Upsample": (1,),
    "Range": (0, 1, 2),
    "ConstantOfShape": (0,),
    "TopK": (1,),
    "OneHot": (1,),
    "Split": (1,),
    "Unsqueeze": (1,),
    "Squeeze": (1,),
    "Loop": (0,),
    "If": (0,),
    "NonMaxSuppression": (2,),
    "MaxUnpool": (2,),
    "AffineGrid": (1,),
    "Col2Im": (1, 2),
    "CenterCropPad": (1,),
    "DFT": (1, 2),
    "STFT": (1, 3),
    "MelWeightMatrix": (0, 1),
    "BlackmanWindow": (0,),
    "HannWindow": (0,),
    "HammingWindow": (0,),
    "RandomUniform": (),
    "SplitToSequence": (1,),
    "SequenceAt": (1,),
    "GroupQueryAttention": (6,),
    **dict.fromkeys(
        ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"), (1,)
    ),
    **dict.fromkeys(("ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"), (1,)),
}


class Scope:
    """Types and small values of one graph's tensors; lookups fall through to the enclosing graph."""

    def __init__(self, parent: Scope | None = None) -> None:
        self.parent = parent
        self.types: dict[str, TypeInfo] = {}
        self.values: dict[str, np.ndarray[Any, Any]] = {}
        self.children: dict[tuple[int, str], Scope] = {}

    def type_of(self, name: str) -> TypeInfo | None:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.types:
                return scope.types[name]
            scope = scope.parent
        return None

    def value_of(self, name: str) -> np.ndarray[Any, Any] | None:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.values:
                return scope.values[name]
            if name in scope.types:  # shadowed: an inner tensor without a value hides an outer one
                return None
            scope = scope.parent
        return None


class Inferred(Struct, frozen=True):
    """The result: the outermost scope, and oddities worth telling."""

    scope: Scope
    notes: tuple[str, ...]


def infer(
    model: ModelProto,
    shapes: Mapping[str, tuple[int, ...]],
    symbols: Mapping[str, int],
    sizes: Mapping[str, int],
) -> Inferred:
    """Shapes of every tensor of `model`, whose inputs have the static `shapes`.

    `symbols` are dimension names with their values, `sizes` are 'TENSOR[AXIS]' settings for
    data-dependent dimensions. `model` is changed in place (declared shapes of computed tensors go).
    Raises ModelError where the graph contradicts its operators.
    """
    walker = _Walker(model, symbols, sizes)
    walker.declare_inputs(shapes)
    declared = walker.take_declared(model.graph)
    scope = Scope()
    walker.enter_constants(model.graph, scope)
    walker.enter_inferred(model, scope)
    walker.walk(model.graph, scope, declared)
    return Inferred(scope, tuple(dict.fromkeys(walker.notes)))


class _Walker:
    def __init__(self, model: ModelProto, symbols: Mapping[str, int], sizes: Mapping[str, int]) -> None:
        self.model = model
        self.symbols = symbols
        self.sizes = sizes
        self.notes: list[str] = []
        self.opsets = {("" if o.domain == "ai.onnx" else o.domain): o.version for o in model.opset_import}
        newest = onnx.defs.onnx_opset_version()
        if self.opsets.get("", newest) > newest:
            self.notes.append(
                f"opset {self.opsets['']} is newer than the installed onnx knows; read as opset {newest}"
            )
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

    def enter_constants(self, graph: GraphProto, scope: Scope) -> None:
        """Initializers and inputs: their types, and the values of small ones."""
        for value in graph.input:
            info = TypeInfo.of(value.type, self.symbols)
            if info is not None:
                scope.types[value.name] = info
        for tensor in graph.initializer:
            _enter_tensor(scope, tensor.name, tensor)
        for sparse in graph.sparse_initializer:
            scope.types[sparse.values.name] = TypeInfo(sparse.values.data_type, tuple(sparse.dims))

    def enter_inferred(self, model: ModelProto, scope: Scope) -> None:
        """onnx's inference over the whole model; silently nothing where it refuses the model."""
        try:
            result = onnx.shape_inference.infer_shapes(model, data_prop=False)
        except (onnx.shape_inference.InferenceError, ValueError, RuntimeError, UnicodeDecodeError):
            return
        for value in (*result.graph.value_info, *result.graph.output):
            info = TypeInfo.of(value.type, self.symbols)
            if info is not None and info.static:
                scope.types.setdefault(value.name, info)

    # --- the walk --------------------------------------------------------------------------

    def walk(self, graph: GraphProto, scope: Scope, declared: Mapping[str, TypeInfo]) -> None:
        needed = _needed_values(graph)
        for index, node in enumerate(graph.node):
            self._visit(index, node, scope, declared)
            if node.op_type in FOLDABLE and any(o in needed for o in node.output):
                self._fold(node, scope)

    def _visit(self, index: int, node: NodeProto, scope: Scope, declared: Mapping[str, TypeInfo]) -> None:
        control = _CONTROL.get(node.op_type) if node.domain in _STANDARD else None
        if control is not None:
            control(self, index, node, scope)
            return
        if node.op_type == "Constant" and node.domain in _STANDARD:
            _enter_constant_node(node, scope)
        if all(_settled(scope.types.get(o)) for o in node.output if o):
            return
        operands = [scope.type_of(i) if i else None for i in node.input]
        outputs = self._outputs(node, operands, scope)
        bounded = any(o is not None and o.bounded for o in operands)
        for slot, name in enumerate(node.output):
            if not name:
                continue
            info = outputs[slot] if slot < len(outputs) else None
            info = _merged(info, declared.get(name))
            if info is None:
                continue
            info = self._sized(name, info)
            if bounded and not info.bounded:
                info = info.as_bounded()
            scope.types[name] = info

    def _sized(self, name: str, info: TypeInfo) -> TypeInfo:
        """Apply `--dim TENSOR[AXIS]=N` to a tensor inside the graph."""
        if not self.sizes or info.shape is None:
            return info
        dims = tuple(self.sizes.get(f"{name}[{axis}]", d) for axis, d in enumerate(info.shape))
        return info if dims == info.shape else TypeInfo(info.elem, dims, sequence=info.sequence)

    def _outputs(
        self, node: NodeProto, operands: Sequence[TypeInfo | None], scope: Scope
    ) -> Sequence[TypeInfo | None]:
        attributes = _attributes(node)
        values = [scope.value_of(i) if i else None for i in node.input]
        call = Call(attributes, operands, values, len(node.output))
        rule = contrib.rule_for(node.domain, node.op_type) or sequences.rule_for(node.domain, node.op_type)
        if rule is not None:
            return rule(call)
        standard = contrib.standard_twin(node.domain, node.op_type)
        inferred = self._infer_node(_renamed(node, standard) if standard else node, operands, scope)
        bound = bounds.bound_for(node.op_type)
        if bound is None or all(_settled(i) for i in inferred if i is not None):
            return inferred
        return bound(replace(call, inferred=inferred))

    def _infer_node(
        self, node: NodeProto, operands: Sequence[TypeInfo | None], scope: Scope
    ) -> list[TypeInfo | None]:
        """One node through onnx's own inference, with the small values that are known."""
        schema = _schema(node.op_type, "" if node.domain in _STANDARD else node.domain, self._version(node))
        if schema is None or any(o is None for o, i in zip(operands, node.input, strict=False) if i):
            return [None] * len(node.output)
        types = {i: o.proto() for i, o in zip(node.input, operands, strict=False) if i and o is not None}
        data = {}
        for name in node.input:
            value = scope.value_of(name) if name else None
            if value is not None and name not in data:
                data[name] = _tensor_of(value)
        try:
            result = onnx.shape_inference.infer_node_outputs(
                schema, node, types, data, opset_imports=self.imports
            )
        except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError) as error:
            if all(o is None or o.static for o in operands):
                raise _contradiction(node, operands, error) from error
            return [None] * len(node.output)
        except (RuntimeError, ValueError, UnicodeDecodeError):
            return [None] * len(node.output)
        if node.op_type in _WINDOWED and not _known_output(node, result):
            if all(o is None or o.static for o in operands):
                raise _contradiction(node, operands, "the window is larger than the padded input")
        return [TypeInfo.of(result[o], self.symbols) if o in result else None for o in node.output]

    def _version(self, node: NodeProto) -> int:
        domain = "" if node.domain in _STANDARD else node.domain
        return self.opsets.get(domain, 1)

    def _fold(self, node: NodeProto, scope: Scope) -> None:
        """Compute the node's outputs where they are small and all operands' values are known."""
        infos = [scope.types.get(o) for o in node.output if o]
        if any(i is None or not i.static or i.numel > MAX_VALUE_ELEMENTS for i in infos):
            return
        if node.op_type in ("Shape", "Size"):
            operand = scope.type_of(node.input[0])
            if operand is not None and operand.static and not operand.sequence:
                scope.values[node.output[0]] = _shape_value(node, operand)
            return
        values = [scope.value_of(i) if i else None for i in node.input]
        if any(v is None and i for v, i in zip(values, node.input, strict=True)):
            return
        results = fold(node, values, self._version(node))
        for name, result in zip(node.output, results, strict=False):
            if name and result is not None and result.size <= MAX_VALUE_ELEMENTS:
                scope.values[name] = result

    # --- control flow ----------------------------------------------------------------------

    def _enter_body(self, index: int, name: str, graph: GraphProto, scope: Scope) -> Scope:
        child = Scope(parent=scope)
        scope.children[index, name] = child
        self.enter_constants(graph, child)
        return child

    def _walk_body(self, graph: GraphProto, child: Scope) -> list[TypeInfo | None]:
        declared = {}
        for value in (*graph.value_info, *graph.output):
            info = TypeInfo.of(value.type, self.symbols)
            if info is not None:
                declared[value.name] = info
        self.walk(graph, child, declared)
        return [child.type_of(o.name) for o in graph.output]

    def visit_if(self, index: int, node: NodeProto, scope: Scope) -> None:
        """Both branches are inferred; a constant condition decides which one's outputs count."""
        bodies = _bodies(node, ("then_branch", "else_branch"))
        results = {}
        for name, graph in bodies.items():
            results[name] = self._walk_body(graph, self._enter_body(index, name, graph, scope))
        condition = scope.value_of(node.input[0]) if node.input else None
        chosen = list(results.values())
        if condition is not None and condition.size:
            chosen = [results["then_branch" if bool(condition.flat[0]) else "else_branch"]]
        for slot, name in enumerate(node.output):
            infos = [r[slot] for r in chosen if slot < len(r)]
            info = _larger(infos)
            if name and info is not None:
                scope.types[name] = info

    def visit_loop(self, index: int, node: NodeProto, scope: Scope) -> None:
        """Carried values keep their shape; scan outputs get one slice a trip (1 where unknown)."""
        body = _bodies(node, ("body",))["body"]
        trips = trip_count(scope.value_of(node.input[0]) if node.input and node.input[0] else None)
        carried = [scope.type_of(i) if i else None for i in node.input[2:]]
        head: list[TypeInfo | None] = [TypeInfo(TensorProto.INT64, ()), TypeInfo(TensorProto.BOOL, ())]
        outputs = self._body_outputs(index, "body", body, scope, head + carried)
        after = outputs[1 : 1 + len(carried)]
        if any(a is not None and b is not None and a.shape != b.shape for a, b in zip(carried, after, strict=False)):
            # the value grows or changes: one more round with the larger shapes, flagged as a bound
            carried = [_larger([a, b]) for a, b in zip(carried, after, strict=False)]
            outputs = self._body_outputs(index, "body", body, scope, head + carried)
            after = [i.as_bounded() if i else None for i in outputs[1 : 1 + len(carried)]]
        scanned = [_stacked(i, trips) for i in outputs[1 + len(carried) :]]
        self._set_outputs(node, scope, [*after, *scanned])

    def visit_scan(self, index: int, node: NodeProto, scope: Scope) -> None:
        """State variables first, then the scanned inputs with their scan axis (0 by default) removed."""
        body = _bodies(node, ("body",))["body"]
        attributes = _attributes(node)
        count = int(attributes.get("num_scan_inputs", 1))
        # opset 8 had a leading sequence_lens operand and a batch axis
        names = node.input[1:] if self._version(node) < 9 else node.input
        infos = [scope.type_of(i) if i else None for i in names]
        states, scanned = infos[: len(infos) - count], infos[len(infos) - count :]
        axes = list(attributes.get("scan_input_axes", [0] * count))
        length = next((_axis(s, a) for s, a in zip(scanned, axes, strict=False) if s is not None), None)
        slices = [_without_axis(s, a) for s, a in zip(scanned, axes, strict=False)]
        outputs = self._body_outputs(index, "body", body, scope, states + slices)
        out_axes = list(attributes.get("scan_output_axes", []))
        stacked = [
            _stacked(info, length, out_axes[k] if k < len(out_axes) else 0)
            for k, info in enumerate(outputs[len(states) :])
        ]
        self._set_outputs(node, scope, [*outputs[: len(states)], *stacked])

    def visit_sequence_map(self, index: int, node: NodeProto, scope: Scope) -> None:
        body = _bodies(node, ("body",))["body"]
        infos = [scope.type_of(i) if i else None for i in node.input]
        elements = [i.element() if i is not None and i.sequence else i for i in infos]
        outputs = self._body_outputs(index, "body", body, scope, elements)
        elements = infos[0].elements if infos and infos[0] is not None else None
        count = len(elements) if elements is not None else None
        self._set_outputs(node, scope, [i.as_sequence(count) if i else None for i in outputs])

    def _body_outputs(
        self, index: int, name: str, body: GraphProto, scope: Scope, operands: Sequence[TypeInfo | None]
    ) -> list[TypeInfo | None]:
        child = self._enter_body(index, name, body, scope)
        for value, info in zip(body.input, operands, strict=False):
            if info is not None:
                child.types[value.name] = info
        return self._walk_body(body, child)

    def _set_outputs(self, node: NodeProto, scope: Scope, infos: Iterable[TypeInfo | None]) -> None:
        for name, info in zip(node.output, infos, strict=False):
            if name and info is not None:
                scope.types[name] = self._sized(name, info)


# with static operands onnx infers these, unless the output's size comes out below 1
_WINDOWED = frozenset({"Conv", "ConvInteger", "QLinearConv", "MaxPool", "AveragePool", "LpPool"})
_STANDARD = ("", "ai.onnx")
_CONTROL = {
    "If": _Walker.visit_if,
    "Loop": _Walker.visit_loop,
    "Scan": _Walker.visit_scan,
    "SequenceMap": _Walker.visit_sequence_map,
}


def trip_count(value: np.ndarray[Any, Any] | None) -> int | None:
    """A Loop's trips when its operand says a real count; None for an unknown or unlimited one."""
    if value is None or value.size != 1:
        return None
    trips = int(value.flat[0])
    return trips if 0 <= trips <= MAX_TRIPS else None


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


def _needed_values(graph: GraphProto) -> set[str]:
    """Tensors whose values some shape depends on, found backwards through shape arithmetic."""
    needed: set[str] = set()
    for node in reversed(graph.node):
        slots = _SHAPE_OPERANDS.get(node.op_type)
        if slots is not None:
            needed.update(node.input[s] for s in slots if s < len(node.input))
        if node.op_type in FOLDABLE and node.op_type != "Shape" and any(o in needed for o in node.output):
            needed.update(node.input)
        for attribute in node.attribute:
            for body in _graphs_of(attribute):
                needed.update(_captured_needs(body))
    needed.discard("")
    return needed


def _captured_needs(graph: GraphProto) -> set[str]:
    """What a body may need from around it: any of its own needs, and its outputs' (a carried size)."""
    return _needed_values(graph) | {o.name for o in graph.output}


def _graphs_of(attribute: AttributeProto) -> Iterator[GraphProto]:
    if attribute.type == AttributeProto.GRAPH:
        yield attribute.g
    elif attribute.type == AttributeProto.GRAPHS:
        yield from attribute.graphs


def _attributes(node: NodeProto) -> dict[str, Any]:
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute if a.type}


def _bodies(node: NodeProto, names: Sequence[str]) -> dict[str, GraphProto]:
    found = {a.name: a.g for a in node.attribute if a.type == AttributeProto.GRAPH}
    for name in names:
        if name not in found:
            raise ModelError(
                f"node '{node.name or node.output[:1]}' ({node.op_type}) has no {name}",
                hint="the model is damaged; export it again",
            )
    return {name: found[name] for name in names}


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


def _larger(infos: Sequence[TypeInfo | None]) -> TypeInfo | None:
    """The type with most elements; flagged as a bound where the candidates differ."""
    known = [i for i in infos if i is not None]
    if not known:
        return None
    best = max(known, key=lambda i: (i.static, i.numel))
    same = all(i.shape == best.shape for i in known)
    return best if same else best.as_bounded()


def _stacked(info: TypeInfo | None, length: int | None, axis: int = 0) -> TypeInfo | None:
    if info is None or info.shape is None:
        return info
    dims = list(info.shape)
    axis = axis + len(dims) + 1 if axis < 0 else axis
    dims.insert(axis, 1 if length is None else length)
    return TypeInfo(info.elem, tuple(dims), bounded=info.bounded or length is None)


def _axis(info: TypeInfo, axis: int) -> Dim:
    return info.shape[axis] if info.shape and -len(info.shape) <= axis < len(info.shape) else None


def _without_axis(info: TypeInfo | None, axis: int) -> TypeInfo | None:
    if info is None or not info.shape:
        return info
    dims = list(info.shape)
    if -len(dims) <= axis < len(dims):
        del dims[axis]
    return TypeInfo(info.elem, tuple(dims), bounded=info.bounded)


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


def _enter_tensor(scope: Scope, name: str, tensor: TensorProto) -> None:
    shape = tuple(tensor.dims)
    scope.types[name] = TypeInfo(tensor.data_type, shape)
    if tensor.data_location == TensorProto.EXTERNAL or math.prod(shape) > MAX_VALUE_ELEMENTS:
        return
    value = small_value(tensor)
    if value is not None:
        scope.values[name] = value


def small_value(tensor: TensorProto) -> np.ndarray[Any, Any] | None:
    """The elements of a tensor that is inline and whole; None otherwise."""
    try:
        return onnx.numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, OverflowError, RuntimeError):
        return None


def _enter_constant_node(node: NodeProto, scope: Scope) -> None:
    """A Constant's type and value, from whichever attribute holds it."""
    if not node.output or not node.attribute:
        return
    name, attribute = node.output[0], node.attribute[0]
    if attribute.type == AttributeProto.TENSOR:
        _enter_tensor(scope, name, attribute.t)
        return
    if attribute.type == AttributeProto.SPARSE_TENSOR:
        sparse = attribute.sparse_tensor
        scope.types[name] = TypeInfo(sparse.values.data_type, tuple(sparse.dims))
        return
    value = _CONSTANT_VALUES.get(attribute.name)
    if value is None:
        return
    elem, dtype = value
    raw = onnx.helper.get_attribute_value(attribute)
    if dtype is None:
        scope.types[name] = TypeInfo(elem, (len(raw),) if attribute.name.endswith("s") else ())
        return
    array = np.asarray(raw, dtype=dtype)
    scope.types[name] = TypeInfo(elem, array.shape)
    if array.size <= MAX_VALUE_ELEMENTS:
        scope.values[name] = array


_CONSTANT_VALUES: dict[str, tuple[int, Any]] = {
    "value_int": (TensorProto.INT64, np.int64),
    "value_ints": (TensorProto.INT64, np.int64),
    "value_float": (TensorProto.FLOAT, np.float32),
    "value_floats": (TensorProto.FLOAT, np.float32),
    "value_string": (TensorProto.STRING, None),
    "value_strings": (TensorProto.STRING, None),
}


def _shape_value(node: NodeProto, operand: TypeInfo) -> np.ndarray[Any, Any]:
    dims = operand.static_shape
    if node.op_type == "Size":
        return np.asarray(math.prod(dims), dtype=np.int64)
    attributes = _attributes(node)
    return np.asarray(dims[attributes.get("start", 0) : attributes.get("end", len(dims))], dtype=np.int64)


def _tensor_of(value: np.ndarray[Any, Any]) -> TensorProto:
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
