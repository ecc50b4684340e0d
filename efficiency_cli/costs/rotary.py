"""Rotary position embeddings on their own; attention operators that turn their heads use the same count."""

from __future__ import annotations

import math

from efficiency_cli.costs import MICROSOFT, CostError, Op, Work, cost
from efficiency_cli.graph.model import Tensor

ROTARY = 3  # an element: x·cos + x'·sin


@cost("RotaryEmbedding")
def rotary_embedding(op: Op) -> Work:
    """3 a rotated element (two products, a sum); of the tables the rows of the positions are read."""
    return _rotary(op, tables=(1, 2))


@cost(f"{MICROSOFT}::RotaryEmbedding")
def rotary_embedding_positions(op: Op) -> Work:
    """As RotaryEmbedding; the positions are operand 1, the tables 2 and 3."""
    return _rotary(op, tables=(2, 3))


def _rotary(op: Op, tables: tuple[int, int]) -> Work:
    x, partial, heads = op.shape(), op.attr("rotary_embedding_dim", 0), op.attr("num_heads", 0)
    if len(x) not in (3, 4):
        raise CostError(f"operand {x} must have rank 3 or 4")
    size = x[3] if len(x) == 4 else (x[2] // heads if heads > 0 else 0)
    elements = math.prod(x)
    rotated = elements * partial // size if partial and size else elements
    positions = x[0] * (x[2] if len(x) == 4 else x[1])
    return op.work(other=ROTARY * rotated, touched=rotary_rows(op, tables, positions))


def rotary_rows(op: Op, tables: tuple[int, int], positions: int) -> dict[int, int]:
    """Bytes read of the cos and sin `tables` (operand slots): a row a position, at most all of them."""
    present = ((slot, op.get(slot)) for slot in tables)
    return {slot: min(t.bytes, positions * _row_bytes(t)) for slot, t in present if t is not None}


def _row_bytes(table: Tensor) -> int:
    rows = math.prod(table.shape[:-1]) if table.shape else 0
    return table.bytes // rows if rows else 0


@cost(f"{MICROSOFT}::GemmaRotaryEmbedding")
def rotary_embedding_gemma(op: Op) -> Work:
    """sin and cos of the embedding (2 an element), then 3 an element of query and key."""
    return op.work(other=2 * math.prod(op.shape()) + ROTARY * (math.prod(op.shape(1)) + math.prod(op.shape(3))))
