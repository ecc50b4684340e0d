"""TypeInfo: element type and shape of a tensor (or of a sequence's elements) during inference."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from onnx import TypeProto

Dim = int | None

# longer sequences are described by what their elements have in common
MAX_SEQUENCE = 1024


class TypeInfo(Struct, frozen=True):
    """`elem` is onnx's TensorProto.DataType; `shape` None means unknown rank, a None dim unknown size.

    `bounded`: some dim depends on data and is an upper bound. `sequence`: a list of tensors; `shape`
    then is what they have in common, `elements` each of them where that is known.
    """

    elem: int
    shape: tuple[Dim, ...] | None
    bounded: bool = False
    sequence: bool = False
    elements: tuple[TypeInfo, ...] | None = None

    @property
    def static(self) -> bool:
        return self.shape is not None and None not in self.shape

    @property
    def static_shape(self) -> tuple[int, ...]:
        """The shape of a static type; unknown dims (there are none then) would be 0."""
        return tuple(d or 0 for d in self.shape or ())

    @property
    def numel(self) -> int:
        return math.prod(self.static_shape)

    def as_bounded(self) -> TypeInfo:
        return replace(self, bounded=True)

    def element(self) -> TypeInfo:
        """What any element of a sequence has in common."""
        return replace(self, sequence=False, elements=None)

    def as_sequence(self, count: int | None) -> TypeInfo:
        """A sequence of `count` (None: unknown) tensors like this one."""
        elements = (self,) * count if count is not None and count <= MAX_SEQUENCE else None
        return replace(self, sequence=True, elements=elements)

    @staticmethod
    def sequence_of(elements: Sequence[TypeInfo]) -> TypeInfo:
        """A sequence of just these tensors; differing dims are unknown in what they have in common."""
        if not elements:
            return TypeInfo(0, None, sequence=True, elements=())
        first = elements[0]
        common: tuple[Dim, ...] | None = first.shape
        for other in elements[1:]:
            if common is None or other.shape is None or len(common) != len(other.shape):
                common = None
                break
            common = tuple(x if x == y else None for x, y in zip(common, other.shape, strict=True))
        kept = tuple(elements) if len(elements) <= MAX_SEQUENCE else None
        return TypeInfo(first.elem, common, any(e.bounded for e in elements), True, kept)

    def proto(self) -> TypeProto:
        """The same as protobuf (shared: callers must not change it)."""
        return _proto(self.elem, self.shape, self.sequence)

    def text(self) -> str:
        if self.shape is None:
            return "unknown rank"
        return "x".join("?" if d is None else str(d) for d in self.shape) or "scalar"

    @staticmethod
    def of(type_proto: TypeProto, symbols: Mapping[str, int]) -> TypeInfo | None:
        """Read a protobuf type, its symbolic dims replaced from `symbols`; None for maps and opaque types."""
        kind = type_proto.WhichOneof("value")
        if kind == "sequence_type":
            inner = TypeInfo.of(type_proto.sequence_type.elem_type, symbols)
            return inner.as_sequence(None) if inner is not None else None
        if kind == "optional_type":
            return TypeInfo.of(type_proto.optional_type.elem_type, symbols)
        if kind == "sparse_tensor_type":
            tensor = type_proto.sparse_tensor_type
        elif kind == "tensor_type":
            tensor = type_proto.tensor_type
        else:
            return None
        if not tensor.HasField("shape"):
            return TypeInfo(tensor.elem_type, None)
        dims: list[Dim] = []
        for dim in tensor.shape.dim:
            which = dim.WhichOneof("value")
            if which == "dim_value":
                dims.append(dim.dim_value if dim.dim_value >= 0 else None)
            else:
                dims.append(symbols.get(dim.dim_param) if which else None)
        return TypeInfo(tensor.elem_type, tuple(dims))


@lru_cache(maxsize=8192)
def _proto(elem: int, shape: tuple[Dim, ...] | None, sequence: bool) -> TypeProto:
    result = TypeProto()
    holder = result.sequence_type.elem_type if sequence else result
    tensor = holder.tensor_type
    tensor.elem_type = elem
    if shape is not None:
        tensor.shape.SetInParent()
        for dim in shape:
            added = tensor.shape.dim.add()
            if dim is not None:
                added.dim_value = dim
    return result


class Call(Struct, frozen=True):
    """One node as a shape rule sees it: attributes, operand types, known operand values,
    how many outputs it names, and what onnx inferred for them.
    """

    attributes: Mapping[str, Any]
    operands: Sequence[TypeInfo | None]
    values: Sequence[np.ndarray[Any, Any] | None]
    outputs: int
    inferred: Sequence[TypeInfo | None] = ()

    def get(self, slot: int) -> TypeInfo | None:
        return self.operands[slot] if slot < len(self.operands) else None

    def shape(self, slot: int) -> tuple[int, ...] | None:
        """A static operand shape, else None."""
        info = self.get(slot)
        return info.static_shape if info is not None and info.static else None

    def value(self, slot: int) -> int | None:
        """The first element of a known operand value."""
        value = self.values[slot] if slot < len(self.values) else None
        return int(value.flat[0]) if value is not None and value.size else None

    def attr(self, name: str, default: int) -> int:
        value = self.attributes.get(name, default)
        return value if isinstance(value, int) else default
