"""What the cases of the micro-benchmark are made of: a name, a small network, how long it should be."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from efficiency_cli.graph.assemble import Assembled
from efficiency_cli.graph.model import DType
from efficiency_cli.measure.host.builder import Builder

# multiply–accumulates and bytes that one chain is to have: some 0.3 ms on one core
_WORK, _BYTES = 12e6, 4e6
_LONGEST, _SHORTEST = 16, 2
# weights of one chain: they need not fit any cache, but memory is not free
_MOST_WEIGHTS = 48 << 20


class Case(Struct, frozen=True):
    """One small network. `quick`: part of the grid in any case; `block`: judged, not fitted."""

    name: str
    make: Callable[[], Assembled]
    quick: bool = False
    block: bool = False


def length(macs: float, moved: float, weights: float = 0.0) -> int:
    """How often to repeat something that computes and moves so much."""
    wanted = min(_WORK / max(macs, 1), _BYTES / max(moved, 1))
    most = _MOST_WEIGHTS / weights if weights else _LONGEST
    return max(1, min(_LONGEST, int(most), max(_SHORTEST, round(wanted))))


def chain(step: Callable[[Builder, str], str], count: int, *dims: int, dtype: DType = DType.FLOAT32) -> Assembled:
    builder = Builder()
    x = builder.input(*dims, dtype=dtype)
    for _ in range(count):
        x = step(builder, x)
    return builder.built(x)
