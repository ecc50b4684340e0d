"""What is known of one graph's tensors during inference: types, and the values of small ones."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto

from efficiency_cli.graph.shapes.types import TypeInfo

# values of at most this many elements take part in shape arithmetic
MAX_VALUE_ELEMENTS = 4096
STANDARD = ("", "ai.onnx")

Array = np.ndarray[Any, Any]


class Scope:
    """Types and small values of one graph's tensors; lookups fall through to the enclosing graph."""

    def __init__(self, parent: Scope | None = None) -> None:
        self.parent = parent
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.types: dict[str, TypeInfo] = {}
        self.values: dict[str, Array] = {}
        self.bounds: set[str] = set()  # of `values`: those that are upper bounds
        self.children: dict[tuple[int, str], Scope] = {}

    def type_of(self, name: str) -> TypeInfo | None:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.types:
                return scope.types[name]
            scope = scope.parent
        return None

    def value_of(self, name: str) -> Array | None:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.values:
                return scope.values[name]
            if name in scope.types:  # shadowed: an inner tensor without a value hides an outer one
                return None
            scope = scope.parent
        return None

    def is_bound(self, name: str) -> bool:
        """Whether the tensor's value is an upper bound only."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.types or name in scope.values:
                return name in scope.bounds
            scope = scope.parent
        return False


def enter_constants(graph: GraphProto, scope: Scope, symbols: Mapping[str, int]) -> None:
    """Inputs and initializers of `graph`: their types, and the values of small ones."""
    for value in graph.input:
        info = TypeInfo.of(value.type, symbols)
        if info is not None:
            scope.types[value.name] = info
    for tensor in graph.initializer:
        _enter_tensor(scope, tensor.name, tensor)
    for sparse in graph.sparse_initializer:
        scope.types[sparse.values.name] = TypeInfo(sparse.values.data_type, tuple(sparse.dims))


def enter_values(scope: Scope, values: Mapping[str, int]) -> None:
    """Small tensors that are filled with one number, for their name."""
    for name, value in values.items():
        info = scope.types.get(name)
        if info is not None and info.static and info.numel <= MAX_VALUE_ELEMENTS:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(info.elem)
            scope.values[name] = np.full(info.static_shape, value, dtype=dtype)


def enter_constant_node(node: NodeProto, scope: Scope) -> None:
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


def _enter_tensor(scope: Scope, name: str, tensor: TensorProto) -> None:
    shape = tuple(tensor.dims)
    scope.types[name] = TypeInfo(tensor.data_type, shape)
    # text takes no part in shape arithmetic, and sums of it grow
    if tensor.data_location == TensorProto.EXTERNAL or tensor.data_type == TensorProto.STRING:
        return
    if math.prod(shape) > MAX_VALUE_ELEMENTS:
        return
    value = _small_value(tensor)
    if value is not None:
        scope.values[name] = value


def _small_value(tensor: TensorProto) -> Array | None:
    """The elements of a tensor that is inline and whole; None otherwise."""
    try:
        return np.asarray(onnx.numpy_helper.to_array(tensor))
    # numpy has no memory for an axis of 2**62 in a tensor that is empty by another
    except (ValueError, TypeError, KeyError, OverflowError, RuntimeError, MemoryError):
        return None


def attributes_of(node: NodeProto) -> dict[str, Any]:
    """A node's attributes as Python values."""
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute if a.type}


def graphs_of(attribute: AttributeProto) -> Iterator[GraphProto]:
    """The bodies an attribute holds."""
    if attribute.HasField("g"):
        yield attribute.g
    yield from attribute.graphs
