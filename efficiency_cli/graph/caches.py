"""Which inputs and outputs of a decoder are its key/value cache, and which carry tokens and masks.

By the names that exporters in use give them (optimum, PyTorch, onnxruntime's tools), else by what the
graph does with them: a cache is continued by a Concat or an attention operator whose result leaves the
graph; tokens look rows up in a table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

from efficiency_cli.graph.binding import Declared, Interface
from efficiency_cli.graph.model import Graph, Tensor

_CACHE = re.compile(r"(^|[._/])(past|present|cache|kv_?cache|k_cache|v_cache|key_cache|value_cache)", re.I)
_TOKENS = ("input_ids", "decoder_input_ids", "inputs_embeds", "position_ids", "token_type_ids", "cache_position")
# operators that append to a cache -> the operands in which they take it
_CONTINUED_BY = {
    "Concat": (0,),
    "Attention": (4, 5),
    "GroupQueryAttention": (3, 4),
    "MultiHeadAttention": (6, 7),
    "DecoderMaskedMultiHeadAttention": (5, 6),
}
# batch, heads, positions, features of a head
_CACHE_RANK = 4


def is_cache(name: str, rank: int) -> bool:
    """Whether an input or output of this name and rank is a cache by its name."""
    return rank >= _CACHE_RANK and _CACHE.search(name) is not None


class Axes(Struct, frozen=True):
    """Axes of a decoder's inputs, as (input, axis), by what their size is."""

    tokens: tuple[tuple[str, int], ...]  # new positions
    past: tuple[tuple[str, int], ...]  # positions in the cache
    total: tuple[tuple[str, int], ...]  # both together
    keeps_cache: bool  # whether a cache leaves the graph


def axes_of(interface: Interface) -> Axes:
    """What the inputs' axes are. All parts are empty for a network that is no decoder."""
    tokens: list[tuple[str, int]] = []
    past: list[tuple[str, int]] = []
    total: list[tuple[str, int]] = []
    continued, looked_up = _continued(interface), _looked_up(interface)
    for name, dims in interface.inputs.items():
        if dims is None:
            continue
        last = re.split(r"[./]", name)[-1]
        if is_cache(name, len(dims)) or (name in continued and len(dims) >= _CACHE_RANK):
            past.append((name, _length_axis(dims)))
        elif "mask" in last and len(dims) in (2, 4):
            total.append((name, len(dims) - 1))
            tokens.extend([(name, 2)] if len(dims) == _CACHE_RANK else [])
        elif dims and (last in _TOKENS or (name in looked_up and len(dims) == 2)):
            tokens.append((name, 1 if last == "inputs_embeds" else len(dims) - 1))
    keeps = any(dims is not None and is_cache(name, len(dims)) for name, dims in interface.outputs.items())
    return Axes(tuple(tokens), tuple(past), tuple(total), keeps or bool(continued))


def _continued(interface: Interface) -> set[str]:
    """Inputs that a node appends to, whose result leaves the graph."""
    return {
        node.inputs[slot]
        for node in interface.nodes
        for slot in _CONTINUED_BY.get(node.op, ())
        if slot < len(node.inputs) and any(o in interface.outputs for o in node.outputs)
    }


def _looked_up(interface: Interface) -> set[str]:
    return {n.inputs[1] for n in interface.nodes if n.op == "Gather" and len(n.inputs) > 1}


def _length_axis(dims: Sequence[Declared]) -> int:
    """The only open axis behind the batch; where that does not tell, the last but one."""
    open_axes = [axis for axis, dim in enumerate(dims) if axis and not isinstance(dim, int)]
    return open_axes[0] if len(open_axes) == 1 else len(dims) - 2


def cache_bytes(graph: Graph) -> tuple[int, int]:
    """Bytes of the cache after the run (else of the one that is read), and of one more position in it."""
    tensors: Mapping[str, Tensor] = graph.tensors
    before = [tensors[n] for n in graph.inputs if is_cache(n, tensors[n].rank)]
    after = [tensors[n] for n in graph.outputs if is_cache(n, tensors[n].rank)]
    held = after or before
    pairs = zip(after, before, strict=True) if len(after) == len(before) else ((t, t) for t in held)
    return sum(t.bytes for t in held), sum(_a_position(new, old) for new, old in pairs)


def _a_position(new: Tensor, old: Tensor) -> int:
    """Bytes of one position of a cache that grows from `old` to `new`."""
    shape = new.shape or ()
    grown = [axis for axis, size in enumerate(old.shape or ()) if len(shape) > axis and shape[axis] != size]
    positions = shape[grown[0] if grown else len(shape) - 2]
    return new.bytes // positions if positions else 0
