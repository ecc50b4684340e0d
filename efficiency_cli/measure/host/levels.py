"""How fast this machine reads its memories, by where the data are: products of one row, whose weights are all new.

The nearest cache is measured by copies that fit into it. How much of the last cache a program has to itself, on a
machine that it shares, only the measurement can tell.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from msgspec import Struct

from efficiency_cli.graph.assemble import Assembled
from efficiency_cli.measure.host.builder import Builder
from efficiency_cli.measure.host.machine import Host, free_bytes
from efficiency_cli.measure.host.timing import quantile

# a product of one row by so many squared weights of four bytes
_WIDTH = 1024
_LAYER = 4 * _WIDTH**2
# layers of the chains that are timed: 8 MiB to 512 MiB of weights, and no more than this part of what is free
_LAYERS = (2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128)
_QUICK_LAYERS = (2, 8, 16, 32, 64)
_OF_FREE = 0.1
# seconds for a size, runs of it, and what of the times counts
_SECONDS, _FEWEST = 0.25, 5
_QUANTILE = 0.2
# two levels are told apart when one is so much faster
_APART = 1.15
_DEFAULT_NEAR = 1 << 20
# a copy of this part of a cache reads and writes within it
_OF_CACHE = 4


class Level(Struct, frozen=True):
    """`size` in bytes, `rate` in B/s. `weights`: whether they may be there when a run begins."""

    name: str
    size: int
    rate: float
    weights: bool = True


# a network -> what runs it once
Runner = Callable[[Assembled], Callable[[], object]]


def chain_of(layers: int) -> Assembled:
    """A product of one row after the other."""
    b = Builder()
    x = b.input(1, _WIDTH)
    for _ in range(layers):
        x = b.dense(x, _WIDTH, bias=False)
    return b.built(x)


def levels(host: Host, runner: Runner, quick: bool = False) -> list[Level]:
    """The levels of this machine, nearest first: the cache of a core, a shared one where it shows, memory."""
    near = next((c.size for c in host.caches if c.level == 2), 0) or _DEFAULT_NEAR
    most = _OF_FREE * free_bytes()
    sizes = [n for n in (_QUICK_LAYERS if quick else _LAYERS) if n * _LAYER <= most]
    rates = {n * _LAYER: n * _LAYER / _seconds(runner(chain_of(n))) for n in sizes if n * _LAYER > near}
    found = [Level("l2", near, copy_rate(near // _OF_CACHE))]
    shared = shared_level(rates)
    if shared is not None:
        found.append(shared)
    memory = rates[max(rates)] if rates else found[0].rate
    return [*found, Level("memory", host.memory_bytes or 1 << 34, min(memory, found[-1].rate))]


def shared_level(rates: dict[int, float]) -> Level | None:
    """From bytes -> B/s: how far the faster rate reaches; None where all sizes are read alike."""
    if len(rates) < 2:
        return None
    quick, slow = max(rates.values()), rates[max(rates)]
    if quick < _APART * slow:
        return None
    middle = (quick * slow) ** 0.5
    size = max(bytes_ for bytes_, rate in rates.items() if rate >= middle)
    within = [rate for bytes_, rate in rates.items() if bytes_ <= size]
    return Level("l3", size, quantile(within, 0.5))


def copy_rate(size: int) -> float:
    """Bytes read and written a second by copies of `size` bytes, at best."""
    source = np.ones(max(size // 8, 1))
    target = np.empty_like(source)
    return 2 * source.nbytes / _seconds(lambda: np.copyto(target, source))


def _seconds(run: Callable[[], object]) -> float:
    """A low quantile of the times of a run."""
    seconds: list[float] = []
    start = time.perf_counter()
    while len(seconds) < _FEWEST or time.perf_counter() - start < _SECONDS:
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return quantile(seconds, _QUANTILE)
