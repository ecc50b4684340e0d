"""Whether a need fits a machine: weights and activations in the levels that hold them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from efficiency_cli.hardware.profile import MemoryLevel, Profile
from efficiency_cli.roofline.latency import Timer
from efficiency_cli.roofline.network import Kernel

if TYPE_CHECKING:
    from efficiency_cli.roofline.estimate import Estimate


class Fit(Struct, frozen=True):
    """Need against capacity: None where the machine does not say or says there is no bound."""

    weights_level: str
    weights_capacity: float | None
    activations_level: str
    activations_capacity: float | None
    fits: bool | None


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


class Level(Struct, frozen=True):
    """One level of memory, what of the network would be in it, and what does not fit.

    `weights` and `activations` are bytes; `outermost` is the last level that holds them. `first_kernel` is the
    first, in the order run, whose bytes go over it, `spilled` the most bytes that any kernel has beyond it, and
    `kernels_over` how many have. `cost_s` is the time that this takes; None where times do not say.
    """

    name: str
    size: float | None
    holds: tuple[str, ...]
    weights: float
    activations: float
    outermost: bool
    fits: bool | None
    first_kernel: str = ""
    kernels_over: int = 0
    spilled: float = 0.0
    cost_s: float | None = None

    @property
    def need(self) -> float:
        return self.weights + self.activations

    @property
    def short(self) -> float:
        """Bytes that are missing; 0 where it fits or where that is not known."""
        return max(self.need - self.size, 0.0) if self.size is not None else 0.0


def levels_of(
    estimate: Estimate,
    kernels: Sequence[Kernel],
    needed: Sequence[int],
    activations: float,
    runtime_ram: float,
    flash: float,
) -> tuple[Level, ...]:
    """Every level of the machine, nearest first; none without a machine.

    `needed` are the arena's bytes at each kernel; the RAM of the runtime and what `activations` are more than the
    arena are there all the time.
    """
    machine = estimate.machine
    if machine is None:
        return ()
    found = []
    last = {what: level.name for level in machine.profile.memory for what in level.holds}
    inner = [level.name for level in machine.profile.memory if level.name != last.get("activations")]
    fixed = runtime_ram + activations - max(needed, default=0)
    costs = spill_costs(estimate)
    for level in machine.profile.memory:
        # what a level further out keeps is no burden to the last one for activations
        kept = "weights" in level.holds and level.name in (last["weights"], *inner)
        weights = flash if kept else 0.0
        ram = activations + runtime_ram if "activations" in level.holds else 0.0
        room = level.size_bytes
        over: list[tuple[float, str]] = []
        if room is not None and ram:
            need = ((weights + fixed + bytes_ - room, k.name) for bytes_, k in zip(needed, kernels, strict=True))
            over = [(excess, name) for excess, name in need if excess > 0]
        found.append(
            Level(
                name=level.name,
                size=room,
                holds=level.holds,
                weights=weights,
                activations=ram,
                outermost=level.name in last.values(),
                fits=None if room is None else weights + ram <= room,
                first_kernel=over[0][1] if over else "",
                kernels_over=len(over),
                spilled=max((excess for excess, _ in over), default=0.0),
                cost_s=costs.get(level.name),
            )
        )
    return tuple(found)


def spill_costs(estimate: Estimate) -> dict[str, float]:
    """Seconds that spilling takes, by the level that is full: what kernels take more than with room for all."""
    machine = estimate.machine
    spilling = [t for t in estimate.times if t.spilled_bytes]
    if machine is None or not spilling:
        return {}
    timer = Timer(machine, estimate.totals.weight_bytes, estimate.dtype, estimate.totals.weight_bytes_read)
    costs: dict[str, float] = {}
    for t in spilling:
        roomy = timer.time(t.kernel, 0, t.skipped_ops)
        more = t.times.expected_s - roomy.times.expected_s
        costs[t.activation_level] = costs.get(t.activation_level, 0.0) + more
    return costs
