"""How much of a network's weights is zero: elements, and whole output channels. Reads weights on purpose.

A weight is followed from the operator that multiplies with it back to its stored values, through Cast,
Identity, Transpose and DequantizeLinear (a quantised zero is the zero point). Values are read a chunk at
a time, so memory does not grow with the model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from efficiency_cli.errors import UsageError
from efficiency_cli.graph.effective.elements import PACKED_TYPES, Array, unfit, values_of
from efficiency_cli.graph.effective.grid import Grid, Points
from efficiency_cli.graph.model import Graph, Kind, Model, Node
from efficiency_cli.graph.payloads import Payload, payloads_of
from efficiency_cli.graph.source import STDIN

_MICROSOFT = "com.microsoft"


class Zeros(Struct, frozen=True):
    """Of one weight: its elements and output channels, how many are zero, and which channels."""

    elements: int
    zero_elements: int
    channels: int
    dead: frozenset[int]


class _Use(Struct, frozen=True):
    """A weight as an operator takes it: `axes` of its output channels, `zero` its zero point's operand."""

    slot: int
    axes: tuple[int, ...]
    zero: int | None = None


# weights (directions, gates x hidden, …) and those for the state
_GATES = (_Use(1, (0, 1)), _Use(2, (0, 1)))
# (domain, operator) -> where its weights are; Gemm's axis depends on transB
_USES: Mapping[tuple[str, str], tuple[_Use, ...]] = {
    ("", "Conv"): (_Use(1, (0,)),),
    ("", "ConvInteger"): (_Use(1, (0,), 3),),
    ("", "ConvTranspose"): (_Use(1, (1,)),),
    ("", "QLinearConv"): (_Use(3, (0,), 5),),
    ("", "Gemm"): (_Use(1, (1,)),),
    ("", "MatMul"): (_Use(1, (-1,)),),
    ("", "MatMulInteger"): (_Use(1, (-1,), 3),),
    ("", "QLinearMatMul"): (_Use(3, (-1,), 5),),
    **dict.fromkeys([("", "LSTM"), ("", "GRU"), ("", "RNN")], _GATES),
    (_MICROSOFT, "Attention"): (_Use(1, (1,)),),
    (_MICROSOFT, "DynamicQuantizeLSTM"): (_Use(1, (0, 2), 9), _Use(2, (0, 2), 11)),
    (_MICROSOFT, "DynamicQuantizeMatMul"): (_Use(1, (-1,), 3),),
    (_MICROSOFT, "FusedConv"): (_Use(1, (0,)),),
    (_MICROSOFT, "FusedGemm"): (_Use(1, (1,)),),
    (_MICROSOFT, "FusedMatMul"): (_Use(1, (-1,)),),
    (_MICROSOFT, "MatMulIntegerToFloat"): (_Use(1, (-1,), 5),),
    (_MICROSOFT, "QAttention"): (_Use(1, (1,), 7),),
    (_MICROSOFT, "QGemm"): (_Use(3, (1,), 5),),
}
# bounds of memory, far beyond any network's: vocabularies have some 0.3 M entries
_MAX_CHANNELS = 1 << 22
# one a block of 32 weights: those of a weight of 0.5 G elements
_MAX_ZERO_POINTS = 1 << 24
# float32 and float16 by onnx's number
_FLOATS = (1, 10)


class Weights:
    """The weights of one model, read when asked for; each is counted once."""

    def __init__(self, model: Model) -> None:
        """Raises UsageError for standard input, ModelError for data outside the model's folder."""
        if model.path == STDIN:
            raise UsageError("--effective reads weights, which needs a file", hint="name the file, not -")
        self.path = model.path
        self.payloads = payloads_of(model.path)
        self.known: dict[tuple[object, ...], Zeros | str] = {}
        # by the identity of a graph, which the model keeps alive
        self.makers: dict[int, dict[str, Node]] = {}

    def zeros(self, node: Node, graph: Graph) -> tuple[Zeros, ...] | str | None:
        """What is zero of the node's weights; why that is not known; None for a node without one."""
        if (node.domain, node.op) == (_MICROSOFT, "MatMulNBits"):
            found = [self._of_blob(node, graph)]
        else:
            uses = _USES.get((node.domain, node.op), ())
            given = [u for u in uses if u.slot < len(node.inputs) and node.inputs[u.slot]]
            used = [u for u in given if graph.tensors[node.inputs[u.slot]].is_constant]
            if len(used) < max(len(uses), 1):
                return _not_read(node, graph)
            found = [self._of_use(use, node, graph) for use in used]
        reasons = [f for f in found if isinstance(f, str)]
        return reasons[0] if reasons else tuple(f for f in found if isinstance(f, Zeros))

    def _of_use(self, use: _Use, node: Node, graph: Graph) -> Zeros | str:
        tensor = graph.tensors[node.inputs[use.slot]]
        rank = tensor.rank
        if not rank or max(use.axes) >= rank:
            return f"'{tensor.name}': its shape is not that of a weight"
        axes = tuple(axis % rank for axis in use.axes)
        if (node.op.endswith("Gemm") or node.op == "FusedMatMul") and node.attributes.get("transB", 0):
            axes = (rank - 2 if rank > 1 else 0,)
        if node.op == "ConvTranspose" and node.attributes.get("group", 1) != 1:
            return f"'{tensor.name}': weights of a grouped ConvTranspose are not read"
        zero = node.inputs[use.zero] if use.zero is not None and use.zero < len(node.inputs) else ""
        if id(graph) not in self.makers:
            self.makers[id(graph)] = {o: n for n in graph.nodes for o in n.outputs}
        found = _Stored(tensor.name, axes, zero, axes).followed(graph, self.makers[id(graph)])
        return found if isinstance(found, str) else self._known(found)

    def _known(self, stored: _Stored) -> Zeros | str:
        key = (stored.name, stored.axes, stored.zero, stored.zero_axes, stored.block)
        if key not in self.known:
            self.known[key] = self._counted(stored)
        return self.known[key]

    def _counted(self, stored: _Stored) -> Zeros | str:
        payload = self._payload(stored.name)
        if isinstance(payload, str):
            return payload
        dims = payload.dims
        channels = math.prod(dims[a] for a in stored.axes if a < len(dims))
        if max(*stored.axes, *stored.zero_axes, 0) >= len(dims) or channels > _MAX_CHANNELS:
            return f"'{stored.name}': its shape is not that of a weight"
        points = self._points(stored, dims)
        return points if isinstance(points, str) else self._counted_in(payload, dims, stored.axes, points)

    def _payload(self, name: str) -> Payload | str:
        payload = self.payloads.get(name)
        if payload is None:
            return f"'{name}' is computed"
        reason = payload.missing or unfit(payload)
        return f"'{name}': {reason}" if reason else payload

    def _counted_in(
        self, payload: Payload, dims: tuple[int, ...], axes: tuple[int, ...], points: Points, width: int = 0
    ) -> Zeros | str:
        """Of values in `dims`, of which those of a row of the first axis count that are below `width` (0: all)."""
        channel = Grid(dims, tuple(d if k in axes else 1 for k, d in enumerate(dims)), (1,) * len(dims))
        row = math.prod(dims[1:])
        live = np.zeros(channel.cells, dtype=np.int64)
        start = 0
        for values in values_of(payload, self.path):
            differ = values != points.at(start, values.size)
            if width and width < row:
                differ &= np.arange(start, start + values.size) % row < width
            live += channel.sums(start, differ)
            start += values.size
        if start != math.prod(dims):
            return f"'{payload.name}': {start:,} values where its shape has {math.prod(dims):,}"
        count = dims[0] * width if width else start
        return Zeros(count, count - int(live.sum()), live.size, frozenset(np.flatnonzero(live == 0).tolist()))

    # --- zero points -----------------------------------------------------------------------

    def _points(self, stored: _Stored, dims: tuple[int, ...]) -> Points | str:
        """One zero point, one a channel or one a block."""
        if not stored.zero:
            return Points(np.zeros(1, dtype=np.int8))
        values = self._values(stored.zero)
        if isinstance(values, str):
            return f"'{stored.name}': {values}"
        sizes = tuple(d if k in stored.zero_axes else 1 for k, d in enumerate(dims))
        blocks = (1,) * len(dims)
        if stored.block:
            axis = stored.zero_axes[0]
            blocks = tuple(stored.block if k == axis else 1 for k in range(len(dims)))
            sizes = tuple(-(-d // b) for d, b in zip(dims, blocks, strict=True))
        # of recurrent weights also one a direction
        for grid in (Grid(dims, sizes, blocks), Grid(dims, (*dims[:1], *(1,) * (len(dims) - 1)), blocks)):
            if values.size == grid.cells and (grid.sizes == sizes or len(stored.zero_axes) > 1):
                return Points(values, grid)
        return Points(values) if values.size == 1 else f"'{stored.name}': its zero points do not fit it"

    def _values(self, name: str, packed_type: int = 0) -> Array | str:
        """All elements of a small tensor."""
        payload = self.payloads.get(name)
        if payload is None or payload.missing or unfit(payload, scalar=True):
            return "its zero point is not known"
        if math.prod(payload.dims) > _MAX_ZERO_POINTS:
            return "its zero points are too many"
        if packed_type:
            if payload.packed or payload.data_type not in (PACKED_TYPES[8], *_FLOATS):
                return "its zero point is not known"
            payload = _repacked(payload, packed_type) if payload.data_type == PACKED_TYPES[8] else payload
        values = np.concatenate([np.zeros(0, dtype=np.int8), *values_of(payload, self.path)])
        return values if values.size == max(math.prod(payload.dims), 1) else "its zero point is not known"

    # --- MatMulNBits -----------------------------------------------------------------------

    def _of_blob(self, node: Node, graph: Graph) -> Zeros | str | None:
        """B of MatMulNBits: (N, blocks, bytes of a block); a row of K, in blocks, is an output channel."""
        name = node.inputs[1] if len(node.inputs) > 1 else ""
        if not name or not graph.tensors[name].is_constant:
            return None
        width, rows, bits, block = (_whole(node, a, d) for a, d in (("K", 0), ("N", 0), ("bits", 4), ("block_size", 0)))
        payload = self._payload(name)
        if isinstance(payload, str):
            return payload
        if bits not in PACKED_TYPES or min(width, rows, block) < 1 or rows > _MAX_CHANNELS:
            return f"'{name}': its format is not read"
        dims = (rows, -(-width // block), block)
        if payload.packed or payload.data_type != PACKED_TYPES[8] or payload.size * 8 != math.prod(dims) * bits:
            return f"'{name}': {payload.size:,} bytes where its shape needs {math.prod(dims) * bits // 8:,}"
        points = self._blob_points(node, dims, bits)
        if isinstance(points, str):
            return f"'{name}': {points}"
        return self._counted_in(_repacked(payload, PACKED_TYPES[bits]), dims, (0,), points, width)

    def _blob_points(self, node: Node, dims: tuple[int, int, int], bits: int) -> Points | str:
        """A zero point a block; those of a row fill whole bytes. Without any, half of the range."""
        rows, blocks, _ = dims
        zero = node.inputs[3] if len(node.inputs) > 3 else ""
        if not zero:
            return Points(np.full(1, 1 << (bits - 1), dtype=np.int16))
        values = self._values(zero, PACKED_TYPES[bits])
        if isinstance(values, str):
            return values
        if values.size % rows or values.size // rows < blocks:
            return "its zero points do not fit it"
        grid = Grid(dims, (rows, blocks, 1), (1, 1, 1))
        return Points(values.reshape(rows, -1)[:, :blocks].ravel(), grid)


def _repacked(payload: Payload, data_type: int) -> Payload:
    """Bytes as what is packed into them."""
    bits = next(b for b, found in PACKED_TYPES.items() if found == data_type)
    return replace(payload, data_type=data_type, dims=(payload.size * 8 // bits,))


def _whole(node: Node, name: str, default: int) -> int:
    value = node.attributes.get(name, default)
    return value if isinstance(value, int) else 0


def _not_read(node: Node, graph: Graph) -> str | None:
    """Of an operator whose weights are not known here, or are where they are not expected."""
    for name in node.inputs:
        if name and graph.tensors[name].kind is Kind.WEIGHT and graph.tensors[name].rank > 1:
            return f"'{name}': weights of {node.key} are not read there"
    return None


class _Stored(Struct, frozen=True):
    """A tensor on the way back to its stored values; axes are those of this tensor.

    Its zero points are one for each element of `zero_axes`, or for each `block` along the one there is.
    """

    name: str
    axes: tuple[int, ...]
    zero: str
    zero_axes: tuple[int, ...]
    block: int = 0

    def followed(self, graph: Graph, makers: Mapping[str, Node]) -> _Stored | str:
        """The stored tensor behind this one, or why there is none."""
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
        if maker.op == "Transpose" and not self.block:
            rank = graph.tensors[self.name].rank
            perm = maker.attributes.get("perm")
            order = perm if isinstance(perm, tuple) and len(perm) == rank else tuple(range(rank))[::-1]
            axes, zero_axes = (tuple(int(order[a]) for a in found) for found in (self.axes, self.zero_axes))
            return replace(self, name=source, axes=axes, zero_axes=zero_axes)
        if maker.op == "DequantizeLinear" and not self.zero:
            rank = max(graph.tensors[self.name].rank, 1)
            axis = maker.attributes.get("axis", 1)
            along = int(axis) % rank if isinstance(axis, int) and rank > 1 else 0
            zero = maker.inputs[2] if len(maker.inputs) > 2 else ""
            block = max(_whole(maker, "block_size", 0), 0) if zero else 0
            return replace(self, name=source, zero=zero, zero_axes=(along,), block=block)
        return f"'{self.name}' is computed by {maker.op}"


def together(parts: Sequence[Zeros]) -> Zeros:
    """The weights of one node as one; channels are numbered on."""
    return Zeros(
        elements=sum(z.elements for z in parts),
        zero_elements=sum(z.zero_elements for z in parts),
        channels=sum(z.channels for z in parts),
        dead=frozenset(_numbered_on(parts)),
    )


def _numbered_on(parts: Sequence[Zeros]) -> Iterator[int]:
    start = 0
    for part in parts:
        yield from (start + channel for channel in part.dead)
        start += part.channels
