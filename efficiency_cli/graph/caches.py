"""Which inputs and outputs of a decoder are its key/value cache, and which carry tokens and masks.

By the names that exporters in use give them (optimum, PyTorch, onnxruntime and its model builder), else by
what the graph does with them: a cache is continued by a Concat or an attention operator whose result leaves
the graph; tokens look rows up in a table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from efficiency_cli.graph.binding import Declared, Interface
from efficiency_cli.graph.model import Graph, Tensor

_CACHE = re.compile(r"(^|[._/])(past|present|cache|kv_?cache|k_cache|v_cache|key_cache|value_cache)", re.I)
_KEY_OR_VALUE = re.compile(r"key|value|kv|(^|[._/])[kv]([._/]|$)", re.I)
# what a layer without attention carries on: it does not grow with the context
_STATE = re.compile(r"conv|recurrent|state|ssm", re.I)
# keys and values of an encoder's output, which every step reads and none extends
_CROSS = re.compile(r"(^|[._/])(encoder|cross)([._/]|$)", re.I)
# operators that append to a cache, or write into it -> the operands in which they take it
_CONTINUED_BY = {
    **dict.fromkeys(("Concat", "ScatterElements", "ScatterND", "TensorScatter"), (0,)),
    "Attention": (4, 5),
    "GroupQueryAttention": (3, 4),
    "MultiHeadAttention": (6, 7),
    "DecoderMaskedMultiHeadAttention": (5, 6),
}
# batch, heads, positions, features of a head; Bloom and Falcon have batch and heads in one axis, keys
# transposed, StarCoder both heads and keys beside values in one
_CACHE_RANK, _MERGED_RANK = 4, 3
_LENGTH = re.compile(r"past|seq|len|context|cache|time|position", re.I)

_TOKENS = ("input_ids", "inputs_embeds", "hidden_states", "position_ids", "token_type_ids", "cache_position")
_EMBEDDED = ("inputs_embeds", "hidden_states")
# of a network with an encoder: the plain names are the encoder's
_DECODER = "decoder_"
# inputs that hold one number: positions after the run, the last of them, and those before the run
_TOTAL_VALUES = ("total_sequence_length", "total_seq_len", "total_seqlen", "nonpad_kv_seqlen")
_LAST_VALUES = ("seqlens_k",)
_PAST_VALUES = ("past_sequence_length", "past_seq_len")
_FLAGS = ("use_cache_branch",)


class _Use(Protocol):
    """A node, of a file or of a Graph."""

    @property
    def op(self) -> str: ...
    @property
    def inputs(self) -> tuple[str, ...]: ...
    @property
    def outputs(self) -> tuple[str, ...]: ...


def is_cache(name: str, rank: int) -> bool:
    """Whether an input or output of this name and rank is a key/value cache by its name."""
    if _STATE.search(name) or not _CACHE.search(name):
        return False
    return rank >= _CACHE_RANK or (rank == _MERGED_RANK and _KEY_OR_VALUE.search(name) is not None)


def is_cross(name: str) -> bool:
    """Whether a cache is that of an encoder's output."""
    return _CROSS.search(name) is not None


class Axes(Struct, frozen=True):
    """Axes of a decoder's inputs, as (input, axis), by what their size is; and inputs that hold one number."""

    tokens: tuple[tuple[str, int], ...]  # new positions
    past: tuple[tuple[str, int], ...]  # positions in the cache
    total: tuple[tuple[str, int], ...]  # both together
    buffers: tuple[tuple[str, int], ...]  # room for positions: past and present are one block
    heads: tuple[tuple[str, int], ...]  # batch and heads in one
    total_values: tuple[str, ...]
    last_values: tuple[str, ...]
    past_values: tuple[str, ...]
    flags: tuple[str, ...]  # whether there is a cache to go on from
    keeps_cache: bool  # whether a cache leaves the graph


def axes_of(interface: Interface) -> Axes:
    """What the inputs' axes are. All parts are empty for a network that is no decoder."""
    shapes = {name: dims for name, dims in interface.inputs.items() if dims is not None}
    present = {name: dims or () for name, dims in interface.outputs.items()}
    continued = continued_by(interface.nodes, interface.outputs)
    caches = [n for n, dims in shapes.items() if _takes(n, len(dims), continued) and not is_cross(n)]
    past: list[tuple[str, int]] = []
    buffers: list[tuple[str, int]] = []
    for name in caches:
        axis = _length_axis(shapes[name])
        one_block = _is_buffer(shapes[name], axis, continued.get(name), present)
        (buffers if one_block else past).append((name, axis))
    masks = list(_masks(shapes, caches))
    symbols = {shapes[n][axis] for n, axis in past if isinstance(shapes[n][axis], str)}
    # some files mask what is in the cache alone
    behind = [(n, axis) for n, axis in masks if shapes[n][axis] in symbols]
    tokens = [*_tokens(shapes, caches, interface.nodes), *_rows_of_masks(shapes, masks)]
    return Axes(
        tokens=tuple(tokens),
        past=(*past, *behind),
        total=tuple(place for place in masks if place not in behind),
        buffers=tuple(buffers),
        heads=tuple(_merged_heads(shapes, caches, {n for n, _ in tokens})),
        total_values=_called(shapes, _TOTAL_VALUES),
        last_values=_called(shapes, _LAST_VALUES),
        past_values=_called(shapes, _PAST_VALUES),
        flags=_called(shapes, _FLAGS),
        keeps_cache=bool(continued) or any(is_cache(n, len(dims)) and not is_cross(n) for n, dims in present.items()),
    )


Shapes = Mapping[str, Sequence[Declared]]


def _takes(name: str, rank: int, continued: Mapping[str, tuple[str, str]]) -> bool:
    return is_cache(name, rank) or (name in continued and rank >= _CACHE_RANK)


def _called(shapes: Shapes, names: Sequence[str]) -> tuple[str, ...]:
    """Inputs of one number, or one for each sequence, by their last name."""
    return tuple(n for n, dims in shapes.items() if _last(n) in names and len(dims) <= 1)


def _last(name: str) -> str:
    return re.split(r"[./]", name)[-1]


def _of_decoder(shapes: Shapes) -> set[str]:
    """The inputs without those of an encoder."""
    lasts = {n: _last(n) for n in shapes}
    named = {last for last in lasts.values() if last.startswith(_DECODER)}
    # what another input is called with 'decoder_' before it is the encoder's
    return {n for n, last in lasts.items() if last in named or not ("encoder" in n.lower() or _DECODER + last in named)}


def _tokens(shapes: Shapes, caches: Sequence[str], nodes: Iterable[_Use]) -> Iterator[tuple[str, int]]:
    """Inputs of new positions: by name, else those that look rows up in a table."""
    decoders = _of_decoder(shapes).difference(caches)
    names = [n for n in shapes if n in decoders and shapes[n]]
    found = [n for n in names if _last(n).removeprefix(_DECODER) in _TOKENS]
    if not found:
        looked_up = {n.inputs[1] for n in nodes if n.op == "Gather" and len(n.inputs) > 1}
        found = [n for n in names if n in looked_up and len(shapes[n]) == 2]
    for name in found:
        embedded = _last(name).removeprefix(_DECODER) in _EMBEDDED
        yield name, len(shapes[name]) - (2 if embedded else 1)


def _masks(shapes: Shapes, caches: Sequence[str]) -> Iterator[tuple[str, int]]:
    """The axis of a mask along which the positions are that can be seen."""
    decoders = _of_decoder(shapes).difference(caches)
    for name in shapes:
        if "mask" in _last(name) and name in decoders and len(shapes[name]) > 1:
            yield name, len(shapes[name]) - 1


def _rows_of_masks(shapes: Shapes, masks: Iterable[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    """(batch, 1, new, total) or (batch, new, total)."""
    for name, axis in masks:
        if axis > 1 and shapes[name][axis - 1] != 1:
            yield name, axis - 1


def _merged_heads(shapes: Shapes, caches: Iterable[str], tokens: set[str]) -> Iterator[tuple[str, int]]:
    """The first axis of caches of rank 3 where it is not the batch that the tokens have."""
    batches = {shapes[n][0] for n in tokens}
    for name in caches:
        if len(shapes[name]) == _MERGED_RANK and not isinstance(shapes[name][0], int):
            yield from () if shapes[name][0] in batches else [(name, 0)]


def _is_buffer(
    dims: Sequence[Declared], axis: int, continued: tuple[str, str] | None, present: Mapping[str, Sequence[Declared]]
) -> bool:
    """Whether the cache that leaves has the size of the one that comes: a block in which positions are written."""
    if continued is not None and continued[1] == "Concat":
        return False
    size = dims[axis]
    names = [continued[0]] if continued is not None else [n for n, d in present.items() if is_cache(n, len(d))]
    # a symbol that both have may be a mere mistake, where no operator is known that writes into the block
    known = isinstance(size, int) or (continued is not None and size is not None)
    return known and any(len(present[n]) == len(dims) and present[n][axis] == size for n in names)


def _length_axis(dims: Sequence[Declared]) -> int:
    """The open axis with the name of a length, or the only one behind the batch; else the last but one."""
    open_axes = [axis for axis, dim in enumerate(dims) if not isinstance(dim, int)]
    named = [axis for axis in open_axes if _LENGTH.search(str(dims[axis] or ""))]
    behind = [axis for axis in open_axes if axis]
    if len(named) == 1:
        return named[0]
    return behind[0] if len(behind) == 1 else len(dims) - 2


def continued_by(nodes: Iterable[_Use], outputs: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Of tensors that a node appends to: the output of the graph that comes of it, and the node's operator."""
    leaving = set(outputs)
    found: dict[str, tuple[str, str]] = {}
    for node in nodes:
        for k, slot in enumerate(_CONTINUED_BY.get(node.op, ())):
            # an attention gives its caches behind its result
            place = k + ("Attention" in node.op)
            if slot < len(node.inputs) and place < len(node.outputs) and node.outputs[place] in leaving:
                found.setdefault(node.inputs[slot], (node.outputs[place], node.op))
    return found


def cache_bytes(graph: Graph) -> tuple[int, int]:
    """Bytes of the cache after the run (else of the one that is read), and of one more position in it."""
    tensors: Mapping[str, Tensor] = graph.tensors
    continued = continued_by(graph.nodes, graph.outputs)
    before = [n for n in graph.inputs if _takes(n, tensors[n].rank, continued)]
    made = {continued[n][0] for n in before if n in continued}
    after = [n for n in graph.outputs if n in made or is_cache(n, tensors[n].rank)]
    size = grows = 0
    for cross in (False, True):
        old = [tensors[n] for n in before if is_cross(n) == cross]
        # an encoder's cache leaves the graph where it is made, and not again
        held = [tensors[n] for n in after if is_cross(n) == cross] or old
        size += sum(t.bytes for t in held)
        if not cross:
            pairs = zip(held, old, strict=True) if len(held) == len(old) else ((t, t) for t in held)
            grows += sum(_a_position(new, earlier) for new, earlier in pairs)
    return size, grows


def _a_position(new: Tensor, old: Tensor) -> int:
    """Bytes of one position of a cache that grows from `old` to `new`."""
    shape = new.shape or ()
    grown = [axis for axis, size in enumerate(old.shape or ()) if len(shape) > axis and shape[axis] != size]
    positions = shape[grown[0] if grown else len(shape) - 2] if len(shape) > 1 else 0
    return new.bytes // positions if positions else 0
