"""Attention: QKᵀ and AV from the true query, key and value lengths.

batch · query heads · queries · keys · (head size + value head size) MACs; keys are past and new ones. A
score costs 1 for the scale, 5 for softmax, 1 a mask or bias, 3 for a soft cap (divide, tanh, multiply).
Causal and windowed attention count dense; `valid_macs` leaves out what a causal mask hides. The KV
cache is the node's own operands: read in full and written anew; where past and present are one buffer
only its new positions are written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from msgspec import Struct

from efficiency_cli.costs import MICROSOFT, CostError, Op, Work, cost
from efficiency_cli.costs.normalization import RMS, SOFTMAX
from efficiency_cli.costs.quantization import narrow_type
from efficiency_cli.costs.rotary import ROTARY, rotary_rows
from efficiency_cli.graph.model import DType, OpClass, Shape, Tensor

_SOFTCAP = 3


class _Heads(Struct, frozen=True):
    """The sizes of one attention; `new` positions are appended to the cache, `keys` counts all of them."""

    batch: int
    heads: int
    kv_heads: int
    queries: int
    new: int
    keys: int
    size: int
    value_size: int

    def __post_init__(self) -> None:
        if self.kv_heads < 1 or self.heads % self.kv_heads:
            raise CostError(f"{self.heads} query heads cannot share {self.kv_heads} key heads")

    @property
    def scores(self) -> int:
        return self.batch * self.heads * self.queries * self.keys

    @property
    def causal_scores(self) -> int:
        """Without those behind a causal mask: the last query sees every key, each one before it one less."""
        seen = min(self.queries, self.keys)
        hidden = seen * (seen - 1) // 2
        rows = self.queries - max(self.queries - self.keys, 0)
        return self.batch * self.heads * (rows * self.keys - hidden)

    @property
    def macs(self) -> int:
        return self.scores * (self.size + self.value_size)

    @property
    def variant(self) -> str:
        """One query a sequence shares the keys it reads with no other, so nothing hides how slowly they come."""
        return "decode-attention" if self.queries == 1 else ""

    @property
    def products(self) -> str:
        scores = f"{self.batch}·{self.heads}·{self.queries}·{self.keys} scores"
        return f"{scores} × ({self.size} + {self.value_size})"


class _Cache(Struct, frozen=True):
    """Where a node keeps its KV cache: operand slots and the output slots that continue them."""

    past: tuple[int, ...]
    present: tuple[int, ...]

    def length(self, op: Op, new: int) -> int:
        """Positions attended to: what is in the present cache, else past + new."""
        past = op.get(self.past[0])
        if past is None:
            return new
        present = _output(op, self.present[0])
        if present is not None and present.shape is not None:
            return present.shape[-2]
        return op.shape(self.past[0])[-2] + new

    def traffic(self, op: Op, new: int, keys: int) -> tuple[dict[int, int], dict[int, int]]:
        """Bytes read and written by slot, where past and present are one buffer; empty otherwise."""
        reads: dict[int, int] = {}
        writes: dict[int, int] = {}
        for slot, out in zip(self.past, self.present, strict=True):
            past, present = op.get(slot), _output(op, out)
            if past is None or present is None or past.shape is None or past.shape != present.shape:
                continue
            capacity = max(past.shape[-2], 1)
            reads[slot] = past.bytes * min(keys, capacity) // capacity
            writes[out] = present.bytes * min(new, capacity) // capacity
        return reads, writes


def _output(op: Op, slot: int) -> Tensor | None:
    return op.outputs[slot] if slot < len(op.outputs) else None


def _constant(op: Op, slot: int) -> int | None:
    """The value of a one-element constant operand."""
    tensor = op.get(slot)
    return int(tensor.value[0]) if tensor is not None and tensor.value else None


def _present(op: Op, *slots: int) -> int:
    return sum(op.has(slot) for slot in slots)


def _attend(
    op: Op,
    heads: _Heads,
    cache: _Cache | None = None,
    *,
    masks: int = 0,
    causal: bool = False,
    macs: int = 0,
    extra: int = 0,
    dtype: DType | None = None,
    tables: Mapping[int, int] | None = None,
    formula: str = "",
    note: str = "",
) -> Work:
    """`masks` operations a score (and one for a causal mask), `extra` others, and `macs` of projections beside
    the attention itself.

    `tables` are bytes read of operands that are only looked up in.
    """
    each = 1 + SOFTMAX + masks + causal + (_SOFTCAP if op.attr("softcap", 0.0) else 0)
    reads, writes = cache.traffic(op, heads.new, heads.keys) if cache else ({}, {})
    return op.work(
        macs=macs + heads.macs,
        other=each * heads.scores + extra,
        op_class=OpClass.ATTENTION,
        dtype=dtype,
        touched={**reads, **(tables or {})},
        written=writes,
        formula=f"{formula}{heads.products} = {macs + heads.macs:,} MACs",
        note=note,
        valid_macs=macs + heads.causal_scores * (heads.size + heads.value_size) if causal else None,
        variant=heads.variant,
    )


def _split(hidden: int, heads: int) -> int:
    """Size of one of `heads` heads in a `hidden` axis."""
    if heads < 1 or hidden % heads:
        raise CostError(f"{hidden} features cannot be split into {heads} heads")
    return hidden // heads


def _unpacked(shape: Shape, heads: int) -> tuple[int, int, int, int]:
    """(batch, heads, length, head size) of a (B, H, S, D) or (B, S, H·D) operand."""
    if len(shape) == 4:
        return shape[0], shape[1], shape[2], shape[3]
    if len(shape) != 3:
        raise CostError(f"an operand {shape} of attention must have rank 3 or 4")
    return shape[0], heads, shape[1], _split(shape[2], heads)


@cost("Attention")
def attention(op: Op) -> Work:
    """Operands (B, H, S, D), or (B, S, H·D) with q_num_heads and kv_num_heads; cache in slots 4 and 5.

    Where nonpad_kv_seqlen (slot 6) is known, keys and values are a block of which only so much is used.
    """
    q_heads, kv_heads = op.attr("q_num_heads", 0), op.attr("kv_num_heads", 0)
    batch, heads, queries, size = _unpacked(op.shape(0), q_heads)
    _, kv_heads, new, key_size = _unpacked(op.shape(1), kv_heads)
    value_size = _unpacked(op.shape(2), kv_heads)[3]
    if size != key_size:
        raise CostError(f"queries of {size} features meet keys of {key_size}")
    cache = _Cache((4, 5), (1, 2))
    keys = cache.length(op, new)
    tables: dict[int, int] = {}
    used = _constant(op, 6)
    if used is not None and 0 < used < new and not op.has(4):
        keys, tables = used, {slot: op.input(slot).bytes * used // new for slot in (1, 2)}
    sizes = _Heads(batch, heads, kv_heads, queries, new, keys, size, value_size)
    causal = op.attr("is_causal", 0) == 1
    return _attend(op, sizes, cache, masks=_present(op, 3), causal=causal, tables=tables)


@cost("ai.onnx.preview::FlexAttention")
def flex_attention(op: Op) -> Work:
    """As Attention without a mask. What score_mod and prob_mod do is ignored, and noted."""
    (batch, heads, queries, size), (_, kv_heads, keys, _) = op.shape(0), op.shape(1)
    note = "score_mod and prob_mod uncounted" if op.node.graphs else ""
    return _attend(op, _Heads(batch, heads, kv_heads, queries, keys, keys, size, op.shape(2)[-1]), note=note)


@cost(f"{MICROSOFT}::MultiHeadAttention")
def multi_head_attention(op: Op) -> Work:
    """Query (B, S, H·D) or packed (B, S, H, 3, D); key (B, L, H·D), packed (B, L, H, 2, D) or cached
    (B, H, L, D). 1 an element of query, key and value for the projections' bias (slot 3)."""
    return _multi_head(op, _Cache((6, 7), (1, 2)), masks=(4, 5), bias=3, length=8)


@cost(f"{MICROSOFT}::DecoderMaskedMultiHeadAttention")
def decoder_attention(op: Op) -> Work:
    """As MultiHeadAttention for one new position; the bias is operand 10."""
    return _multi_head(op, _Cache((5, 6), (1, 2)), masks=(3, 4), bias=10, length=7)


def _multi_head(op: Op, cache: _Cache, masks: tuple[int, ...], bias: int, length: int) -> Work:
    heads = op.attr("num_heads", 0)
    batch, queries, size, new, value_size = _query_key_value(op, heads)
    past = _constant(op, length)
    keys = past + new if past is not None and op.has(cache.past[0]) else cache.length(op, new)
    biased = sum(math.prod(op.shape(slot)) for slot in (0, 1, 2) if op.has(slot)) if op.has(bias) else 0
    causal = op.attr("unidirectional", 0) == 1
    sizes = _Heads(batch, heads, heads, queries, new, keys, size, value_size)
    return _attend(op, sizes, cache, masks=_present(op, *masks), causal=causal, extra=biased)


def _query_key_value(op: Op, heads: int) -> tuple[int, int, int, int, int]:
    """(batch, queries, head size, new keys, value head size)."""
    q = op.shape(0)
    if len(q) == 5:
        return q[0], q[1], q[4], q[1], q[4]
    if not op.has(1):
        width = _split(q[2], 3 * heads)
        return q[0], q[1], width, q[1], width
    k, size = op.shape(1), _split(q[2], heads)
    if len(k) == 5:
        return q[0], q[1], size, k[1], k[4]
    return q[0], q[1], size, k[2] if len(k) == 4 else k[1], _unpacked(op.shape(2), heads)[3]


@cost(f"{MICROSOFT}::GroupQueryAttention")
def group_query_attention(op: Op) -> Work:
    """`num_heads` query heads on `kv_num_heads` key heads; query alone may hold all three. Always causal
    unless causal = 0.

    do_rotary costs 3 and a norm of the heads 4 an element of query and key.
    """
    heads, kv_heads = op.attr("num_heads", 0), op.attr("kv_num_heads", 0)
    batch, queries, hidden = _rank3(op.shape(0))
    size = _split(hidden, heads) if op.has(1) else _split(hidden, heads + 2 * kv_heads)
    new = _key_length(op.shape(1)) if op.has(1) else queries
    cache = _Cache((3, 4), (1, 2))
    keys = _constant(op, 6) or cache.length(op, new)
    turned = batch * (queries * heads + new * kv_heads) * size
    extra = turned * (ROTARY * op.attr("do_rotary", 0) + (RMS + 1) * op.has(14))
    causal = op.attr("causal", 1) == 1
    sizes = _Heads(batch, heads, kv_heads, queries, new, keys, size, size)
    tables = rotary_rows(op, (7, 8), batch * new)
    return _attend(op, sizes, cache, masks=int(op.has(10)), causal=causal, extra=extra, tables=tables)


def _rank3(shape: Shape) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise CostError(f"query {shape} must be (batch, sequence, features)")
    return shape[0], shape[1], shape[2]


def _key_length(shape: Shape) -> int:
    return shape[2] if len(shape) == 4 else shape[1]


@cost(f"{MICROSOFT}::Attention", f"{MICROSOFT}::DecoderMaskedSelfAttention")
def projected_attention(op: Op) -> Work:
    """The projection of the input to Q, K and V, batch · S · I · (Q + K + V) MACs, then attention.

    1 a projected element for the bias; the cache (2, B, H, L, D) is operand 4.
    """
    cache = _Cache((4,), (1,))
    return _projected(op, cache, masks=(3, 5), length=_constant(op, 6))


@cost(f"{MICROSOFT}::QAttention")
def projected_attention_quantized(op: Op) -> Work:
    """As Attention with the projection in narrow integers, whose type stands for the node, though the
    attention itself is done in float. 1 a projected element to scale it; the cache is operand 8."""
    narrow = narrow_type(op.input(0), op.input(1))
    return _projected(op, _Cache((8,), (1,)), masks=(5,), length=None, scales=1, dtype=narrow)


def _projected(
    op: Op,
    cache: _Cache,
    masks: tuple[int, ...],
    length: int | None,
    scales: int = 0,
    dtype: DType | None = None,
) -> Work:
    batch, sequence, features = _rank3(op.shape(0))
    macs, size, value_size = _projection(op, batch * sequence, features)
    keys = length + sequence if length is not None else cache.length(op, sequence)
    heads = op.attr("num_heads", 0)
    width = op.shape(1)[1]
    extra = batch * sequence * width * (op.has(2) + scales + ROTARY * op.attr("do_rotary", 0))
    sizes = _Heads(batch, heads, heads, sequence, sequence, keys, size, value_size)
    causal = op.attr("unidirectional", 0) == 1
    formula = f"{batch * sequence}·{width} × {features} (projection) + "
    masked = _present(op, *masks)
    return _attend(op, sizes, cache, masks=masked, causal=causal, macs=macs, extra=extra, dtype=dtype, formula=formula)


def _projection(op: Op, tokens: int, features: int) -> tuple[int, int, int]:
    """(MACs, head size, value head size) of the merged weight (features, Q + K + V)."""
    weight, heads = op.shape(1), op.attr("num_heads", 0)
    if len(weight) != 2 or weight[0] != features:
        raise CostError(f"weight {weight} does not take {features} features")
    sizes = op.ints("qkv_hidden_sizes") or (weight[1] // 3,) * 3
    return tokens * features * weight[1], _split(sizes[0], heads), _split(sizes[-1], heads)


@cost(f"{MICROSOFT}::PackedAttention")
def packed_attention(op: Op) -> Work:
    """As com.microsoft Attention on tokens without padding. Every sequence is taken at the full length
    of `token_offset` (batch, length): an upper bound."""
    tokens, features = op.shape(0)
    macs, size, value_size = _projection(op, tokens, features)
    width = op.shape(1)[1]
    extra = tokens * width * op.has(2)
    formula = f"{tokens}·{width} × {features} (projection) + "
    sizes = _packed(op, 3, size, value_size)
    return _attend(op, sizes, masks=_present(op, 5), macs=macs, extra=extra, formula=formula, note=_BOUND)


@cost(f"{MICROSOFT}::PackedMultiHeadAttention")
def packed_multi_head_attention(op: Op) -> Work:
    """As MultiHeadAttention on tokens without padding; full lengths, an upper bound."""
    q, heads = op.shape(0), op.attr("num_heads", 0)
    if len(q) == 4:
        size = value_size = q[3]
    else:
        size, value_size = _split(q[1], heads), _split(op.shape(2)[1], heads)
    width = heads * (2 * size + value_size)
    extra = q[0] * width * op.has(3)
    return _attend(op, _packed(op, 4, size, value_size), masks=_present(op, 6), extra=extra, note=_BOUND)


_BOUND = "upper bound: every sequence taken at full length"


def _packed(op: Op, offsets: int, size: int, value_size: int) -> _Heads:
    batch, length = op.shape(offsets)
    heads = op.attr("num_heads", 0)
    return _Heads(batch, heads, heads, length, length, length, size, value_size)


@cost("LinearAttention", f"{MICROSOFT}::LinearAttention")
def linear_attention(op: Op) -> Work:
    """A recurrent state S of d_k · d_v a key head. At each position and state element: 1 MAC to add k ⊗ v,
    1 more for Sᵀk in the delta rules, 1 a query head for Sᵀq; with a decay 1 operation.

    Ignored: the exponential of the decay, β, and the scale. The state is read and written once a run.
    """
    batch, length, hidden = _rank3(op.shape(0))
    heads, kv_heads = op.attr("q_num_heads", 0), op.attr("kv_num_heads", 0)
    state = _split(hidden, heads) * _split(op.shape(2)[2], kv_heads)
    rule = op.attr("update_rule", "gated_delta")
    passes = kv_heads * (2 if "delta" in rule else 1) + max(heads, kv_heads)
    macs = batch * length * state * passes
    decay = batch * length * state * kv_heads * ("gated" in rule)
    formula = f"{batch}·{length} positions × {state} state × {passes} = {macs:,} MACs"
    return op.work(macs=macs, other=decay, op_class=OpClass.ATTENTION, formula=formula)
