"""Inputs for a network, made from its graph: shapes as bound, types as declared, values that a run accepts.

Indices stay inside the tables they look up, lengths are the whole of what they measure, masks let all through.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from efficiency_cli.errors import ModelError
from efficiency_cli.graph.model import DType, Graph, Model, Node, Tensor

# operators that hand values on: an index may pass through them before it is looked up
_PASSING = frozenset(
    "Cast Reshape Unsqueeze Squeeze Identity Flatten Expand Transpose Slice Concat Add Sub Clip Where".split()
)
# operator -> operand that holds indices, and the table that they look up
_LOOKED_UP = {"Gather": (1, 0), "GatherElements": (1, 0), "GatherND": (1, 0), "Embedding": (1, 0)}
_EMBEDDING = {"EmbedLayerNormalization": {0: 2, 1: 4}}
# steps that an index is followed through
_MOST_STEPS = 12
# com.microsoft operators with a cache: the operand that holds lengths (of all tokens, less one) and the total
_LENGTHS = {"GroupQueryAttention": (5, 6)}


def inputs_of(model: Model, *, seed: int = 0) -> dict[str, Any]:
    """An array for every input of the model. Raises ModelError for an input whose shape or type is not known."""
    generator = np.random.default_rng(seed)
    uses = _readers(model.graph)
    return {name: _array(model.graph, uses, name, generator) for name in model.graph.inputs}


def _array(graph: Graph, uses: Mapping[str, list[tuple[Node, int]]], name: str, generator: Any) -> Any:
    tensor = graph.tensors[name]
    if tensor.shape is None or tensor.dtype is None or tensor.parts is not None:
        raise ModelError(
            f"no values can be made for the input '{name}'",
            where="it is a list or has no known shape",
            hint=f"give its shape: --shape '{name}=1x3x224x224'",
        )
    dtype = tensor.dtype
    if dtype.is_float:
        values = generator.uniform(-1, 1, tensor.shape)
        values = np.where(np.abs(values) < 0.01, 0.01, values)
        return _floats(values, dtype, name)
    if dtype is DType.BOOL:
        return np.ones(tensor.shape, bool)
    if dtype is DType.STRING:
        return np.full(tensor.shape, "a", object)
    if dtype.bits < 8:
        raise _unfit(name, dtype)
    return _integers(graph, uses, tensor, generator)


def _floats(values: Any, dtype: DType, name: str) -> Any:
    if dtype not in (DType.FLOAT16, DType.FLOAT32, DType.FLOAT64):
        raise _unfit(name, dtype)
    return np.asarray(values, dtype.value)


def _unfit(name: str, dtype: DType) -> ModelError:
    hint = "measure the model with float32 inputs"
    return ModelError(f"the input '{name}' is {dtype.value}, which numpy has no values of", hint=hint)


def _integers(graph: Graph, uses: Mapping[str, list[tuple[Node, int]]], tensor: Tensor, generator: Any) -> Any:
    shape, dtype = tensor.shape or (), tensor.dtype.value if tensor.dtype else "int64"
    bounds = list(_bounds(graph, uses, tensor.name))
    fixed = [value for kind, value in bounds if kind == "value"]
    if fixed:
        return np.full(shape, fixed[0], dtype)
    tables = [value for kind, value in bounds if kind == "table"]
    if tables:
        return generator.integers(0, max(1, min(tables)), shape).astype(dtype)
    if tensor.dtype is not None and tensor.dtype.is_narrow_integer:
        return generator.integers(0, 127, shape).astype(dtype)
    return np.full(shape, 1, dtype)


def _readers(graph: Graph) -> dict[str, list[tuple[Node, int]]]:
    found: dict[str, list[tuple[Node, int]]] = {}
    for node in graph.nodes:
        for slot, name in enumerate(node.inputs):
            if name:
                found.setdefault(name, []).append((node, slot))
    return found


def _bounds(graph: Graph, uses: Mapping[str, list[tuple[Node, int]]], start: str) -> Iterator[tuple[str, int]]:
    """What limits the values of an integer tensor: ("table", rows) that it looks up, or the one ("value", n) fit."""
    seen, pending = {start}, [(start, 0)]
    while pending:
        name, steps = pending.pop()
        for node, slot in uses.get(name, ()):
            yield from _bound(graph, node, slot)
            if node.op in _PASSING and steps < _MOST_STEPS:
                new = [o for o in node.outputs if o and o not in seen]
                seen.update(new)
                pending += [(o, steps + 1) for o in new]


def _bound(graph: Graph, node: Node, slot: int) -> Iterator[tuple[str, int]]:
    indices, table = _LOOKED_UP.get(node.op, (-1, -1))
    if slot == indices:
        shape = graph.tensors[node.inputs[table]].shape
        axis = node.attributes.get("axis", 0)
        if shape and isinstance(axis, int) and -len(shape) <= axis < len(shape):
            yield "table", shape[axis]
    if slot in _EMBEDDING.get(node.op, {}):
        shape = graph.tensors[node.inputs[_EMBEDDING[node.op][slot]]].shape
        if shape:
            yield "table", shape[0]
    if node.op in _LENGTHS and slot in _LENGTHS[node.op]:
        yield "value", _tokens(graph, node) - (slot == _LENGTHS[node.op][0])


def _tokens(graph: Graph, node: Node) -> int:
    """Tokens that attention with a cache sees: those it holds and the new ones."""
    query, past = graph.tensors[node.inputs[0]].shape, None
    if len(node.inputs) > 3 and node.inputs[3]:
        past = graph.tensors[node.inputs[3]].shape
    return (query[1] if query and len(query) > 1 else 1) + (past[2] if past and len(past) > 2 else 0)
