"""How much of a network's weights is zero: elements, and whole output channels. Reads weights on purpose.

A weight is followed from the operator that multiplies with it back to its stored values, through Cast,
Identity, Transpose and DequantizeLinear (a quantised zero is the zero point). Values are read a chunk at
a time, so memory does not grow with the model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from efficiency_cli.errors import UsageError
from efficiency_cli.graph.model import Graph, Model, Node
from efficiency_cli.graph.payloads import Payload, chunks, payloads_of
from efficiency_cli.graph.source import STDIN

Array = np.ndarray


class Zeros(Struct, frozen=True):
    """Of one node's weight: its elements and output channels, how many are zero, and which channels."""

    elements: int
    zero_elements: int
    channels: int
    dead: frozenset[int]


class _Use(Struct, frozen=True):
    """A weight as an operator takes it: `axis` of its output channels, `zero` its zero point's operand."""

    slot: int
    axis: int
    zero: int | None = None


# (domain, operator) -> where its weight is; Gemm's axis depends on transB
_USES: Mapping[tuple[str, str], _Use] = {
    ("", "Conv"): _Use(1, 0),
    ("", "ConvInteger"): _Use(1, 0, 3),
    ("", "QLinearConv"): _Use(3, 0, 5),
    ("", "Gemm"): _Use(1, 1),
    ("", "MatMul"): _Use(1, -1),
    ("", "MatMulInteger"): _Use(1, -1, 3),
    ("", "QLinearMatMul"): _Use(3, -1, 5),
    ("com.microsoft", "FusedConv"): _Use(1, 0),
    ("com.microsoft", "FusedGemm"): _Use(1, 1),
    ("com.microsoft", "QGemm"): _Use(3, 1, 5),
}
# element types in a file, by onnx's number; 4-bit ones two a byte
_NUMPY = {1: "<f4", 2: "u1", 3: "i1", 4: "<u2", 5: "<i2", 6: "<i4", 10: "<f2", 11: "<f8", 12: "<u4", 16: "<u2"}
_UINT4, _INT4, _BFLOAT16 = 21, 22, 16
_BFLOAT16_WITHOUT_SIGN = 0x7FFF
# bounds of memory, far beyond any network's: vocabularies have some 0.3 M entries
_MAX_CHANNELS = 1 << 22
_MAX_PACKED_BYTES = 1 << 26
# a zero point a channel; more are no zero points
_MAX_ZERO_POINTS = 1 << 20


class Weights:
    """The weights of one model, read when asked for; each is counted once."""

    def __init__(self, model: Model) -> None:
        """Raises UsageError for standard input, ModelError for data outside the model's folder."""
        if model.path == STDIN:
            raise UsageError("--effective reads weights, which needs a file", hint="name the file, not -")
        self.path = model.path
        self.payloads = payloads_of(model.path)
        self.known: dict[tuple[object, ...], Zeros | str] = {}

    def zeros(self, node: Node, graph: Graph) -> Zeros | str | None:
        """What is zero of the node's weight; why that is not known; None for a node without one."""
        use = _USES.get((node.domain, node.op))
        if use is None or use.slot >= len(node.inputs) or not node.inputs[use.slot]:
            return None
        tensor = graph.tensors[node.inputs[use.slot]]
        if not tensor.is_constant or not tensor.shape:
            return None
        axis = use.axis % len(tensor.shape)
        if node.op.endswith("Gemm") and node.attributes.get("transB", 0):
            axis = 0
        zero = node.inputs[use.zero] if use.zero is not None and use.zero < len(node.inputs) else ""
        found = _Stored(tensor.name, axis, zero, axis).followed(graph)
        if isinstance(found, str):
            return found
        key = (found.name, found.axis, found.zero, found.zero_axis)
        if key not in self.known:
            self.known[key] = self._counted(found)
        return self.known[key]

    def _counted(self, stored: _Stored) -> Zeros | str:
        payload = self.payloads.get(stored.name)
        if payload is None:
            return f"'{stored.name}' is computed"
        reason = payload.missing or _unfit(payload)
        if reason:
            return f"'{stored.name}': {reason}"
        if max(stored.axis, stored.zero_axis) >= len(payload.dims) or payload.dims[stored.axis] > _MAX_CHANNELS:
            return f"'{stored.name}': its shape is not that of a weight"
        zero = self._zero_point(stored)
        if isinstance(zero, str):
            return zero
        per_channel = np.zeros(payload.dims[stored.axis], dtype=np.int64)
        inner = math.prod(payload.dims[stored.axis + 1 :])
        inner_zero = math.prod(payload.dims[stored.zero_axis + 1 :])
        if zero.size not in (1, payload.dims[stored.zero_axis]):
            return f"'{stored.name}': its zero points do not fit it"
        start = 0
        for values in self._values(payload):
            places = np.arange(start, start + values.size)
            expected = zero[0] if zero.size == 1 else zero[places // inner_zero % zero.size]
            live = places[values != expected] // inner % per_channel.size
            per_channel += np.bincount(live, minlength=per_channel.size)
            start += values.size
        elements = math.prod(payload.dims)
        if start != elements:
            return f"'{stored.name}': {start:,} values where its shape has {elements:,}"
        dead = frozenset(np.flatnonzero(per_channel == 0).tolist())
        return Zeros(elements, elements - int(per_channel.sum()), per_channel.size, dead)

    def _zero_point(self, stored: _Stored) -> Array | str:
        if not stored.zero:
            return np.zeros(1, dtype=np.int64)
        payload = self.payloads.get(stored.zero)
        if payload is None or payload.missing or _unfit(payload, scalar=True):
            return f"'{stored.name}': its zero point is not known"
        if math.prod(payload.dims) > _MAX_ZERO_POINTS:
            return f"'{stored.name}': its zero points are too many"
        count = math.prod(payload.dims)
        values = np.concatenate([np.zeros(0, dtype=np.int64), *self._values(payload)]).astype(np.int64)
        return values if values.size == max(count, 1) else f"'{stored.name}': its zero point is not known"

    def _values(self, payload: Payload) -> Iterator[Array]:
        """The elements, a chunk at a time, as numbers that compare with a zero point."""
        if payload.packed:
            yield _unpacked(b"".join(chunks(payload, self.path)), payload)
            return
        left = math.prod(payload.dims)
        for data in chunks(payload, self.path):
            values = _decoded(data, payload.data_type)[:left]
            left -= values.size
            yield values


class _Stored(Struct, frozen=True):
    """A tensor on the way back to its stored values; axes are those of this tensor."""

    name: str
    axis: int
    zero: str
    zero_axis: int

    def followed(self, graph: Graph) -> _Stored | str:
        """The stored tensor behind this one, or why there is none."""
        makers = {o: n for n in graph.nodes for o in n.outputs}
        stored = self
        while (maker := makers.get(stored.name)) is not None and maker.op != "Constant":
            before = stored._before(maker, graph)
            if isinstance(before, str):
                return before
            stored = before
        return stored

    def _before(self, maker: Node, graph: Graph) -> _Stored | str:
        source = maker.inputs[0] if maker.inputs else ""
        if maker.op in ("Cast", "Identity"):
            return replace(self, name=source)
        if maker.op == "Transpose":
            rank = graph.tensors[self.name].rank
            perm = maker.attributes.get("perm")
            order = perm if isinstance(perm, tuple) and len(perm) == rank else tuple(range(rank))[::-1]
            return replace(self, name=source, axis=int(order[self.axis]), zero_axis=int(order[self.zero_axis]))
        if maker.op == "DequantizeLinear" and not maker.attributes.get("block_size", 0) and not self.zero:
            rank = max(graph.tensors[self.name].rank, 1)
            axis = maker.attributes.get("axis", 1)
            along = int(axis) % rank if isinstance(axis, int) and rank > 1 else 0
            zero = maker.inputs[2] if len(maker.inputs) > 2 else ""
            return replace(self, name=source, zero=zero, zero_axis=along)
        return f"'{self.name}' is computed by {maker.op}"


def _unfit(payload: Payload, scalar: bool = False) -> str:
    """Why a payload cannot be read as its shape says; '' when it can."""
    if not payload.dims and not scalar:
        return "it is a scalar"
    if payload.data_type not in (*_NUMPY, _UINT4, _INT4):
        return "its data type is not read"
    if not math.prod(payload.dims):
        return "it is empty"
    if payload.packed:
        fits = payload.size <= min(10 * math.prod(payload.dims), _MAX_PACKED_BYTES)
        return "" if fits else "its values are not stored as raw data"
    bits = 4 if payload.data_type in (_UINT4, _INT4) else 8 * np.dtype(_NUMPY[payload.data_type]).itemsize
    expected = (math.prod(payload.dims) * bits + 7) // 8
    return "" if payload.size == expected else f"{payload.size:,} bytes where its shape needs {expected:,}"


def _decoded(data: bytes, data_type: int) -> Array:
    if data_type in (_UINT4, _INT4):
        both = np.frombuffer(data, dtype=np.uint8)
        values = np.stack((both & 15, both >> 4), axis=1).ravel().astype(np.int8)
        return np.where(values > 7, values - 16, values) if data_type == _INT4 else values
    values = np.frombuffer(data, dtype=_NUMPY[data_type])
    return values & _BFLOAT16_WITHOUT_SIGN if data_type == _BFLOAT16 else values


def _unpacked(data: bytes, payload: Payload) -> Array:
    """Numbers of variable length, of which the low 32 bits count: seven bits a byte, the last below 128."""
    raw = np.frombuffer(data, dtype=np.uint8)
    ends = np.flatnonzero(raw < 0x80)
    starts = np.concatenate(([0], ends[:-1] + 1)) if ends.size else ends
    values = np.zeros(ends.size, dtype=np.uint64)
    for k in range(5):
        at = np.minimum(starts + k, max(raw.size - 1, 0))
        part = np.where(starts + k <= ends, raw[at] & 0x7F, 0).astype(np.uint64)
        values |= part << np.uint64(7 * k)
    low = values.astype(np.uint32)
    if payload.data_type in (_UINT4, _INT4):  # two elements a number
        return _decoded(low.astype(np.uint8).tobytes(), payload.data_type)[: math.prod(payload.dims)]
    dtype = np.dtype(_NUMPY[payload.data_type])
    width = np.dtype(f"u{min(dtype.itemsize, 4)}")
    return _decoded(low.astype(width).tobytes(), payload.data_type)
