"""The memory of one run on one machine, put together: arena, RAM, flash, and every level of memory.

    activations = factor · arena + offset         arena: the plan under what the runtime overwrites
    RAM         = activations + the runtime's own

Without a machine, or with a runtime that says nothing of memory, every buffer has room of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from efficiency_cli.hardware.profile import DEFAULT_MEMORY, MemoryUse
from efficiency_cli.roofline.memory.fit import Level, levels_of
from efficiency_cli.roofline.memory.flash import Flash, flash_of
from efficiency_cli.roofline.memory.live import Block, blocks_of
from efficiency_cli.roofline.memory.order import best_order
from efficiency_cli.roofline.memory.plan import Placed, Plan, planned
from efficiency_cli.roofline.memory.policy import Needs, Policy, needs_of
from efficiency_cli.roofline.network import Kernel, Network

if TYPE_CHECKING:
    from efficiency_cli.roofline.estimate import Estimate
    from efficiency_cli.roofline.memory.what_if import Largest, WhatIf

FILE_ORDER, BEST_ORDER = "file", "best"


class Ram(Struct, frozen=True):
    """Bytes of activations as the runtime reports them, in the interval that holds for 80 % of networks."""

    lower: float
    expected: float
    upper: float


class Footprint(Struct, frozen=True):
    """What a run keeps in memory. `kernels` are in the order run; `saved` is what another order saves at the peak.

    `needs.by_kernel` are bytes of the arena at each kernel, `what_ifs` the same network otherwise.
    """

    kernels: tuple[Kernel, ...]
    order: str
    saved: int
    overwrites: str
    needs: Needs
    plan: Plan
    activations: Ram
    runtime_ram: float
    flash: Flash
    levels: tuple[Level, ...]
    what_ifs: tuple[WhatIf, ...] = ()
    largest: tuple[Largest, ...] = ()

    @property
    def ram(self) -> float:
        """Activations and what the runtime itself keeps in RAM, in bytes."""
        return self.activations.expected + self.runtime_ram

    @property
    def peak(self) -> int:
        """The place, in the schedule, of the kernel that needs most; -1 without kernels."""
        needed = self.needs.by_kernel
        return max(range(len(needed)), key=needed.__getitem__, default=-1)

    @property
    def at_peak(self) -> tuple[Placed, ...]:
        """What is alive at the peak, the largest first."""
        alive = [p for p in self.plan.placed if self.peak < 0 or p.block.first <= self.peak <= p.block.last]
        return tuple(sorted(alive, key=lambda p: (-p.block.size, p.offset)))

    @property
    def fits(self) -> bool | None:
        """Whether there is room for weights and for activations; None where the machine does not say."""
        return _all([level.fits for level in self.levels if level.outermost])


def _all(verdicts: Sequence[bool | None]) -> bool | None:
    if False in verdicts:
        return False
    return True if verdicts and None not in verdicts else None


def footprint_of(estimate: Estimate, order: str = FILE_ORDER) -> Footprint:
    """The memory of an estimate's run; `order` best searches a schedule with a lower peak."""
    network, machine = estimate.network, estimate.machine
    use = machine.runtime.memory if machine else None
    kernels, saved = estimate.kernels, 0
    if order == BEST_ORDER:
        schedule = best_order(network, kernels)
        kernels, saved = schedule.kernels, schedule.saved
    needs = needs_under(network, kernels, use)
    alignment = int(use.alignment.value) if use and use.alignment else 1
    plan = planned(needs.blocks, len(kernels), needs.bound, alignment, needs.gaps)
    activations = activations_of(plan.size, use)
    runtime_ram = use.ram.of(len(kernels), 0) if use and use.ram else 0.0
    flash = flash_of(network, len(kernels), use)
    return Footprint(
        kernels=tuple(kernels),
        order=order,
        saved=saved,
        overwrites=(use or DEFAULT_MEMORY).overwrites,
        needs=needs,
        plan=plan,
        activations=activations,
        runtime_ram=runtime_ram,
        flash=flash,
        levels=levels_of(estimate, kernels, needs.by_kernel, activations.expected, runtime_ram, flash.total),
    )


def needs_under(network: Network, kernels: Sequence[Kernel], use: MemoryUse | None) -> Needs:
    """What the arena must hold at each kernel, under what the runtime overwrites; machines that do alike share it."""
    policy = policy_of(use)
    key = ("needs", id(kernels), policy.overwrites, policy.apart, tuple(sorted(policy.columns.items())))
    found = network.kept.get(key)
    # kept with its kernels: an identity is of one object only as long as that is there
    if not (isinstance(found, _Kept) and found.kernels is kernels):
        blocks: Sequence[Block] = blocks_of(network, kernels)
        network.kept[key] = found = _Kept(kernels, needs_of(network, kernels, blocks, policy))
    return found.needs


class _Kept(Struct, frozen=True):
    kernels: Sequence[Kernel]
    needs: Needs


def policy_of(use: MemoryUse | None) -> Policy:
    """The runtime's policy; every buffer on its own where it says nothing."""
    use = use or DEFAULT_MEMORY
    return Policy(use.overwrites, frozenset(use.apart), {name: c.value for name, c in use.columns.items()})


def activations_of(arena: int, use: MemoryUse | None) -> Ram:
    """factor · arena + offset, and the interval around it. Nothing stays nothing."""
    factor = use.factor.value if use and use.factor else 1.0
    offset = use.offset.value if use and use.offset else 0.0
    expected = factor * arena + offset if arena else 0.0
    low, high = (use.interval.lower.value, use.interval.upper.value) if use and use.interval else (1.0, 1.0)
    return Ram(expected * low, expected, expected * high)
