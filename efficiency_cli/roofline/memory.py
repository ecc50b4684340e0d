"""How much memory a run needs: live activations over the schedule, weights, and whether they fit.

The live set counts every tensor from the kernel that makes it to the last one that reads it; inputs live
from the start, outputs to the end; nothing is overwritten in place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from efficiency_cli.graph.model import Graph, Tensor
from efficiency_cli.hardware.profile import MemoryLevel, Profile
from efficiency_cli.roofline.network import Kernel, Network


class LiveSet(Struct, frozen=True):
    """Live activation bytes while each kernel runs; the largest of them and where."""

    by_kernel: tuple[int, ...]
    peak_bytes: int
    peak_at: str


class Fit(Struct, frozen=True):
    """Need against capacity: None where the machine does not say or says there is no bound."""

    weights_level: str
    weights_capacity: float | None
    activations_level: str
    activations_capacity: float | None
    fits: bool | None


def live_set(network: Network, kernels: Sequence[Kernel]) -> LiveSet:
    """The bytes alive at each kernel: O(kernels + tensors)."""
    sizes = _sizes(kernels)
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for k, kernel in enumerate(kernels):
        for key in kernel.writes:
            first.setdefault(key, k)
            last.setdefault(key, k)
        for key in kernel.reads:
            # made by no kernel: an input (see below), or what a body is handed when it starts
            first.setdefault(key, k)
            last[key] = k
    graph = network.model.graph
    _count_unread_inputs(network, graph, sizes, first, last)
    end = len(kernels) - 1
    for name in graph.outputs:
        key = network.key_of(name)
        if key in last:
            last[key] = end
    by_kernel = _sweep(sizes, first, last, len(kernels))
    if not by_kernel:
        return LiveSet((), sum(graph.tensors[i].bytes for i in graph.inputs), "")
    peak = max(range(len(by_kernel)), key=by_kernel.__getitem__)
    return LiveSet(tuple(by_kernel), by_kernel[peak], kernels[peak].name)


def _sizes(kernels: Sequence[Kernel]) -> dict[str, int]:
    """Bytes of each tensor: what its maker writes, or the most that anyone reads of it."""
    sizes: dict[str, int] = {}
    for kernel in kernels:
        for key, size in (*kernel.reads.items(), *kernel.writes.items()):
            sizes[key] = max(size, sizes.get(key, 0))
    return sizes


def _count_unread_inputs(
    network: Network, graph: Graph, sizes: dict[str, int], first: dict[str, int], last: dict[str, int]
) -> None:
    """Inputs take their whole size from the start, also where a kernel reads only a part or none of them."""
    for name in graph.inputs:
        tensor: Tensor = graph.tensors[name]
        key = network.key_of(name)
        sizes[key] = max(tensor.bytes, sizes.get(key, 0))
        first[key] = 0
        last.setdefault(key, 0)


def _sweep(sizes: Mapping[str, int], first: Mapping[str, int], last: Mapping[str, int], count: int) -> list[int]:
    change = [0] * (count + 1)
    for key, start in first.items():
        change[start] += sizes[key]
        change[last[key] + 1 if last[key] + 1 <= count else count] -= sizes[key]
    live, total = [], 0
    for k in range(count):
        total += change[k]
        live.append(total)
    return live


def fit(profile: Profile, weight_bytes: int, activation_bytes: int) -> Fit:
    """Whether the network fits the machine: weights in the largest level for weights, activations likewise.

    Where one level holds both, their sum must fit it.
    """
    weights = _largest(profile.memory, "weights")
    activations = _largest(profile.memory, "activations")
    if weights is None or activations is None:
        return Fit("", None, "", None, None)
    if weights.name == activations.name:
        need, room = weight_bytes + activation_bytes, weights.size_bytes
        fits = None if room is None else need <= room
        return Fit(weights.name, room, activations.name, room, fits)
    verdicts = [
        _verdict(weight_bytes, weights.size_bytes),
        _verdict(activation_bytes, activations.size_bytes),
    ]
    fits = False if False in verdicts else None if None in verdicts else True
    return Fit(weights.name, weights.size_bytes, activations.name, activations.size_bytes, fits)


def _verdict(need: int, room: float | None) -> bool | None:
    return None if room is None else need <= room


def _largest(levels: Sequence[MemoryLevel], what: str) -> MemoryLevel | None:
    """The level with most room for `what`; one without a stated size counts as the largest."""
    holding = [m for m in levels if what in m.holds]
    return max(holding, key=lambda m: float("inf") if m.size_bytes is None else m.size_bytes, default=None)
