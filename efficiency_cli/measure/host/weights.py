"""Weights for a network that came without them: random, in memory, in the places its file says they have.

Their values do not change how long a run takes, as long as none is denormal and none makes a run fail: scales are
positive, zero points and indices are zero, and sums of products keep their size from layer to layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import Struct

from efficiency_cli.errors import ModelError
from efficiency_cli.graph.model import DType, Graph, Model, Node
from efficiency_cli.graph.payloads import Payload, payloads_of
from efficiency_cli.graph.roles import AUXILIARY

# random numbers are drawn once and repeated: enough that no cache line is like its neighbours
_PATTERN = 1 << 20
# from where in it one tensor begins to where the next one does
_STEP = 9973
# random values keep away from zero, so that no product is denormal
_LEAST = 0.05
# operands that normalise or scale what is normalised: operator -> slots around one
_AROUND_ONE = {
    "BatchNormalization": (1, 4),
    "LayerNormalization": (1,),
    "InstanceNormalization": (1,),
    "GroupNormalization": (1,),
    "RMSNormalization": (1,),
    "SimplifiedLayerNormalization": (1,),
    "SkipLayerNormalization": (2,),
    "SkipSimplifiedLayerNormalization": (2,),
    "EmbedLayerNormalization": (5,),
    "Div": (1,),
    "Mul": (0, 1),
    "Pow": (1,),
}
_SCALE = 0.02


class Absent(Struct, frozen=True):
    """A constant whose values are in a file that is not there: `size` bytes at `start` of `location`."""

    name: str
    location: str
    start: int
    size: int
    dims: tuple[int, ...]
    dtype: DType | None


def absent_weights(path: str, model: Model) -> list[Absent]:
    """The constants of the model at `path` whose external data are missing. Raises ModelError as `payloads_of`."""
    tensors = _tensors(model.graph)
    return [_absent(p, tensors.get(p.name)) for p in payloads_of(path).values() if p.location]


def _tensors(graph: Graph) -> dict[str, DType | None]:
    found: dict[str, DType | None] = {}
    for each in _graphs(graph):
        for name, tensor in each.tensors.items():
            found.setdefault(name, tensor.dtype)
    return found


def _graphs(graph: Graph) -> Iterator[Graph]:
    yield graph
    for node in graph.nodes:
        for body in node.graphs.values():
            yield from _graphs(body)


def _absent(payload: Payload, dtype: DType | None) -> Absent:
    size = payload.end - payload.start
    if size <= 0 and dtype is not None:
        size = -(-math.prod(payload.dims) * dtype.bits // 8)
    return Absent(payload.name, payload.location, payload.start, size, payload.dims, dtype)


def random_files(absent: Sequence[Absent], model: Model, *, most_bytes: int) -> dict[str, Any]:
    """The missing files as arrays of bytes, by location. The same for the same model.

    Raises ModelError where they would take more than `most_bytes`.
    """
    lengths: dict[str, int] = {}
    for one in absent:
        lengths[one.location] = max(lengths.get(one.location, 0), one.start + one.size)
    total = sum(lengths.values())
    if total > most_bytes:
        raise ModelError(
            f"the weights take {total / 2**30:,.1f} GiB, and {most_bytes / 2**30:,.1f} GiB of memory are free",
            hint="measure a smaller model, or on a machine with more memory",
        )
    generator = np.random.default_rng(0)
    drawn = generator.uniform(_LEAST, 1, _PATTERN) * generator.choice((-1.0, 1.0), _PATTERN)
    pattern = drawn.astype(np.float32)
    files = {location: np.zeros(length, np.uint8) for location, length in lengths.items()}
    uses, scales = _uses(model.graph), dict(_bias_scales(model.graph))
    for k, one in enumerate(absent):
        if one.name in scales and one.dtype is not None:
            values = _stored(np.full(math.prod(one.dims), scales[one.name], np.float32), one.dtype)
        else:
            # no two tensors alike: onnxruntime keeps equal ones once, and once is in a cache
            values = _values(one, uses.get(one.name, ()), np.roll(pattern, k * _STEP))
        if values is not None:
            files[one.location][one.start : one.start + one.size] = values[: one.size]
    return files


def _uses(graph: Graph) -> Mapping[str, list[tuple[Node, int]]]:
    found: dict[str, list[tuple[Node, int]]] = {}
    for each in _graphs(graph):
        for node in each.nodes:
            for slot, name in enumerate(node.inputs):
                found.setdefault(name, []).append((node, slot))
    return found


def _bias_scales(graph: Graph) -> Iterator[tuple[str, float]]:
    """The scales of quantised biases: input scale · weight scale, or onnxruntime keeps the product in float32."""
    made_by = {output: node for node in graph.nodes for output in node.outputs}
    for node in graph.nodes:
        around = [made_by.get(name) for name in node.inputs[:3]]
        if len(around) < 3 or any(n is None or n.op != "DequantizeLinear" for n in around):
            continue
        data, weight, bias = (graph.tensors[n.inputs[1]] for n in around if n is not None)
        if data.value:
            yield bias.name, float(data.value[0]) * float((weight.value or (_SCALE,))[0])


def _values(one: Absent, uses: Sequence[tuple[Node, int]], pattern: Any) -> Any:
    """The bytes of one constant; None where zeros are right: indices, shapes, zero points."""
    dtype, count = one.dtype, math.prod(one.dims)
    describes = any(slot in AUXILIARY.get((node.domain, node.op), ()) for node, slot in uses)
    if dtype is None or dtype is DType.STRING or not count:
        return None
    if dtype is DType.BOOL:
        return np.ones(count, np.uint8)
    if not dtype.is_float:
        return None if describes or dtype.bits > 16 else _integers(one, pattern)
    floats = np.resize(pattern, count)
    node = uses[0][0] if uses else None
    if any(slot in _AROUND_ONE.get(n.op, ()) for n, slot in uses):
        floats = 1 + 0.1 * floats
    elif describes:
        floats = np.full(count, 0.0 if node is not None and node.op == "BatchNormalization" else _SCALE, np.float32)
    elif len(one.dims) > 1:
        floats = floats * math.sqrt(3 / _fan_in(one.dims, node))
    else:
        floats = 0.1 * floats
    return _stored(floats, dtype)


def _fan_in(dims: Sequence[int], node: Node | None) -> int:
    """Products that are summed for one result."""
    by_rows = len(dims) > 2 or (node is not None and node.op == "Gather")
    return max(1, math.prod(dims[1:]) if by_rows else dims[-2])


def _integers(one: Absent, pattern: Any) -> Any:
    middle = 128 if one.dtype is DType.UINT8 else 0
    return np.resize((pattern * 100 + middle).astype(np.int16).astype(np.uint8), one.size)


def _stored(floats: Any, dtype: DType) -> Any:
    if dtype is DType.BFLOAT16:
        found = (floats.view(np.uint32) >> 16).astype(np.uint16)
    elif dtype in (DType.FLOAT16, DType.FLOAT32, DType.FLOAT64):
        found = floats.astype(dtype.value)
    else:  # eight bits and fewer: any pattern of the lower ones is a number
        return (np.abs(floats) * 50).astype(np.uint8)
    return found.view(np.uint8)
