"""Counts of one run that no machine has a say in, beyond which nodes a runtime launches together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from msgspec import Struct
from msgspec.structs import replace

from efficiency_cli.graph.caches import cache_bytes
from efficiency_cli.graph.model import Graph
from efficiency_cli.roofline.memory import LiveSet, live_set
from efficiency_cli.roofline.network import Kernel, Network


class Totals(Struct, frozen=True):
    """Counts of one run. Bytes moved are those that cross kernel borders."""

    macs: int
    ops: int
    ops_by_dtype: Mapping[str, int]
    parameters: int
    auxiliary_parameters: int
    weight_bytes: int
    weight_bytes_by_dtype: Mapping[str, int]
    activation_elements: int
    activation_bytes: int
    kv_cache_bytes: int
    kv_cache_bytes_per_token: int
    peak_activation_bytes: int = 0
    peak_activation_at: str = ""
    weight_bytes_read: int = 0
    activation_bytes_read: int = 0
    activation_bytes_written: int = 0
    kernels: int = 0

    @property
    def flops(self) -> int:
        """The same count as `ops`, under its floating-point name."""
        return self.ops

    @property
    def bytes_moved(self) -> int:
        return self.weight_bytes_read + self.activation_bytes_read + self.activation_bytes_written

    @property
    def arithmetic_intensity(self) -> float | None:
        """OPs a byte moved; None where nothing moves."""
        return self.ops / self.bytes_moved if self.bytes_moved else None


class Unmodelled(Struct, frozen=True):
    """An operator without a cost rule: its bytes count, its operations do not."""

    domain: str
    op: str
    nodes: tuple[str, ...]


class Coverage(Struct, frozen=True):
    """Which part of the nodes that run, and of their bytes, has a cost rule; and tensors without a shape."""

    nodes: float
    bytes: float
    unmodelled: tuple[Unmodelled, ...]
    unknown_shapes: tuple[str, ...]

    @property
    def complete(self) -> bool:
        return not self.unmodelled and not self.unknown_shapes


def totals_of(network: Network, kernels: Sequence[Kernel], live: LiveSet) -> Totals:
    """Sums over the kernels, and over the constants each once."""
    return replace(
        _of_nodes(network)[0],
        peak_activation_bytes=live.peak_bytes,
        peak_activation_at=live.peak_at,
        weight_bytes_read=sum(k.weight_bytes for k in kernels),
        activation_bytes_read=sum(k.read_bytes for k in kernels),
        activation_bytes_written=sum(k.written_bytes for k in kernels),
        kernels=sum(k.repeat for k in kernels),
    )


def _of_nodes(network: Network) -> tuple[Totals, Coverage]:
    """What does not depend on which nodes are one kernel; kept. What does is nothing yet."""
    found = network.kept.get(_of_nodes)
    if found is None:
        found = network.kept[_of_nodes] = (_sums(network), coverage_of(network))
    return cast("tuple[Totals, Coverage]", found)


def _sums(network: Network) -> Totals:
    by_dtype: Counter[str] = Counter()
    for node in network.nodes:
        if node.ops:
            by_dtype[node.compute_dtype] += node.ops
    stored = network.stored
    stored_bytes: Counter[str] = Counter()
    for constant in stored:
        if constant.dtype is not None and constant.bytes:
            stored_bytes[constant.dtype.value] += constant.bytes
    elements, size = network.activations
    cache, a_token = cache_bytes(network.model.graph)
    return Totals(
        macs=sum(node.macs for node in network.nodes),
        ops=sum(node.ops for node in network.nodes),
        ops_by_dtype=dict(sorted(by_dtype.items())),
        parameters=sum(s.parameters for s in stored),
        auxiliary_parameters=sum(s.auxiliary for s in stored),
        weight_bytes=sum(stored_bytes.values()),
        weight_bytes_by_dtype=dict(sorted(stored_bytes.items())),
        activation_elements=elements,
        activation_bytes=size,
        kv_cache_bytes=cache,
        kv_cache_bytes_per_token=a_token,
    )


def coverage_of(network: Network) -> Coverage:
    """What has a cost rule among the nodes that run."""
    running = [n for n in network.nodes if not n.absorbed]
    missing = [n for n in running if not n.work.modelled]
    by_key: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for counted in missing:
        by_key[counted.node.domain, counted.node.op].append(counted.node.name)
    moved = sum(n.bytes_moved for n in running)
    uncounted = sum(n.bytes_moved for n in missing)
    return Coverage(
        nodes=1 - len(missing) / len(running) if running else 1.0,
        bytes=1 - uncounted / moved if moved else 1.0,
        unmodelled=tuple(Unmodelled(d, o, tuple(names)) for (d, o), names in sorted(by_key.items())),
        unknown_shapes=tuple(_unknown_shapes(network.model.graph)),
    )


def _unknown_shapes(graph: Graph) -> Iterator[str]:
    yield from (n for n, t in graph.tensors.items() if t.shape is None and n not in graph.captured)
    for node in graph.nodes:
        for body in node.graphs.values():
            yield from _unknown_shapes(body)


class Counted(Struct, frozen=True):
    """A network as a runtime with certain fusion patterns runs it, counted."""

    kernels: tuple[Kernel, ...]
    totals: Totals
    coverage: Coverage
    live: LiveSet


def counted(network: Network, patterns: frozenset[str]) -> Counted:
    """The network's counts under these patterns; kept, so that many machines share them."""
    found = network.kept.get(patterns)
    if not isinstance(found, Counted):
        kernels = network.kernels(patterns)
        live = live_set(network, kernels)
        found = Counted(kernels, totals_of(network, kernels, live), _of_nodes(network)[1], live)
        network.kept[patterns] = found
    return found
