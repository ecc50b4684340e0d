"""Plain frozen data that describe a network: DType, Tensor, Node, Graph, Model.

No protobuf here and no arithmetic beyond element and byte counts. `read.py` builds these,
`costs/` and `roofline/` consume them; nothing changes them on the way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct, field


class DType(StrEnum):
    """Element types under the names that numpy and ml_dtypes use."""

    FLOAT64 = "float64"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    FLOAT8E4M3FN = "float8e4m3fn"
    FLOAT8E4M3FNUZ = "float8e4m3fnuz"
    FLOAT8E5M2 = "float8e5m2"
    FLOAT8E5M2FNUZ = "float8e5m2fnuz"
    FLOAT8E8M0 = "float8e8m0"
    FLOAT6E2M3 = "float6e2m3"
    FLOAT6E3M2 = "float6e3m2"
    FLOAT4E2M1 = "float4e2m1"
    INT64 = "int64"
    INT32 = "int32"
    INT16 = "int16"
    INT8 = "int8"
    INT4 = "int4"
    INT2 = "int2"
    UINT64 = "uint64"
    UINT32 = "uint32"
    UINT16 = "uint16"
    UINT8 = "uint8"
    UINT4 = "uint4"
    UINT2 = "uint2"
    BOOL = "bool"
    COMPLEX64 = "complex64"
    COMPLEX128 = "complex128"
    STRING = "string"

    @property
    def bits(self) -> int:
        """Bits of one stored element; sub-byte types are packed."""
        return _BITS[self]

    @property
    def is_float(self) -> bool:
        return self.value.startswith(("float", "bfloat"))

    @property
    def is_integer(self) -> bool:
        return self.value.startswith(("int", "uint"))

    @property
    def is_narrow_integer(self) -> bool:
        """A type that quantisation stores values in (not an index type): at most 16 bits."""
        return self.is_integer and self.bits <= 16


_BITS: dict[DType, int] = {
    **dict.fromkeys((DType.COMPLEX128,), 128),
    **dict.fromkeys((DType.FLOAT64, DType.INT64, DType.UINT64, DType.COMPLEX64), 64),
    **dict.fromkeys((DType.FLOAT32, DType.INT32, DType.UINT32), 32),
    **dict.fromkeys((DType.FLOAT16, DType.BFLOAT16, DType.INT16, DType.UINT16), 16),
    **dict.fromkeys((DType.FLOAT8E4M3FN, DType.FLOAT8E4M3FNUZ, DType.FLOAT8E5M2), 8),
    **dict.fromkeys((DType.FLOAT8E5M2FNUZ, DType.FLOAT8E8M0, DType.INT8, DType.UINT8, DType.BOOL), 8),
    **dict.fromkeys((DType.FLOAT6E2M3, DType.FLOAT6E3M2), 6),
    **dict.fromkeys((DType.FLOAT4E2M1, DType.INT4, DType.UINT4), 4),
    **dict.fromkeys((DType.INT2, DType.UINT2), 2),
    # a string element is a pointer-sized handle wherever it is stored; its text is not counted
    DType.STRING: 64,
}


class Kind(StrEnum):
    """What role a tensor plays when the network runs."""

    INPUT = "input"
    OUTPUT = "output"
    ACTIVATION = "activation"
    WEIGHT = "weight"  # its elements are parameters
    CONSTANT = "constant"  # shapes, axes, scales, zero points, statistics: auxiliary parameters


class OpClass(StrEnum):
    """Classes of work that machines run at different fractions of their peak."""

    DENSE = "dense"
    DEPTHWISE = "depthwise"
    ATTENTION = "attention"
    RECURRENT = "recurrent"
    ELEMENTWISE = "elementwise"
    POOLING = "pooling"
    NORMALIZATION = "normalization"
    SOFTMAX = "softmax"
    MOVEMENT = "movement"


MAC_CLASSES = frozenset({OpClass.DENSE, OpClass.DEPTHWISE, OpClass.ATTENTION, OpClass.RECURRENT})

# a Loop of more trips than this is a `while` in disguise: PyTorch writes INT64_MAX
MAX_TRIPS = 2**31 - 1

Shape = tuple[int, ...]
Attribute = int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]


class Tensor(Struct, frozen=True):
    """A named value. `shape` is static, or None where it could not be known (a named gap).

    `value` holds the elements of small constants, flattened in C order. `bounded` marks a
    shape that depends on data and is an upper bound. A list of tensors is one block of all its elements;
    `parts` is how many tensors it holds, where that is known.
    """

    name: str
    shape: Shape | None
    dtype: DType | None
    kind: Kind = Kind.ACTIVATION
    value: tuple[float, ...] | tuple[int, ...] | None = None
    bounded: bool = False
    parts: int | None = None

    @property
    def numel(self) -> int:
        """Elements; 0 for an unknown shape (which `coverage` names)."""
        return math.prod(self.shape) if self.shape is not None else 0

    @property
    def bytes(self) -> int:
        """Bytes when stored densely; sub-byte types are packed and rounded up to whole bytes."""
        return (self.numel * (self.dtype.bits if self.dtype else 0) + 7) // 8

    @property
    def rank(self) -> int:
        return len(self.shape) if self.shape is not None else 0

    @property
    def is_constant(self) -> bool:
        return self.kind is Kind.WEIGHT or self.kind is Kind.CONSTANT


class Node(Struct, frozen=True):
    """One operator. `inputs` may hold '' for an omitted optional operand.

    `name` is unique in the model: unnamed nodes are called after their operator and position.
    """

    name: str
    op: str
    domain: str  # '' is ai.onnx
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    graphs: Mapping[str, Graph] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """'Conv', or 'com.microsoft::FusedConv' outside ai.onnx."""
        return f"{self.domain}::{self.op}" if self.domain else self.op


class Graph(Struct, frozen=True):
    """Nodes in an order in which they can run, and every tensor they name.

    A subgraph's `tensors` include what it captures from around it; `captured` names those.
    """

    name: str
    nodes: tuple[Node, ...]
    tensors: Mapping[str, Tensor]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    captured: frozenset[str] = frozenset()

    def inputs_of(self, node: Node) -> tuple[Tensor | None, ...]:
        """The node's operands; None for an omitted one."""
        return tuple(self.tensors[i] if i else None for i in node.inputs)

    def outputs_of(self, node: Node) -> tuple[Tensor | None, ...]:
        return tuple(self.tensors[o] if o else None for o in node.outputs)


class Model(Struct, frozen=True, eq=False, weakref=True):
    """A graph and what is known of the file it came from.

    `assumptions` are values the reader chose (a symbolic batch of 1), `notes` are oddities
    worth telling; both are shown by every report.
    """

    graph: Graph
    path: str
    file_bytes: int
    ir_version: int
    opset: Mapping[str, int]
    producer: str
    dims: Mapping[str, int]
    assumptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    stored_nodes: int = 0  # nodes in the file, before functions are inlined
