"""Prefill and decode: the sizes a decoder's two phases run at, and what they make of its times.

    prefill with a context of N    N new positions, an empty cache      its latency: time to first token
    decode with a context of N     1 new position, N in the cache       its latency: time per output token

Reads nothing: it answers the reader's question for sizes, and holds what was estimated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from efficiency_cli.errors import MissingDimension, UsageError
from efficiency_cli.graph.binding import EXAMPLE_SIZE, Interface, Proposal
from efficiency_cli.graph.caches import Axes, axes_of
from efficiency_cli.roofline.latency import Times

if TYPE_CHECKING:
    from efficiency_cli.roofline.estimate import Estimate

PREFILL, DECODE = "prefill", "decode"


class PhaseError(UsageError):
    """The network cannot run in the phase asked for."""


class Generation(Struct, frozen=True):
    """The phase that an estimate is of, and the times of both where the network can run in both."""

    phase: str
    context: int
    ttft: Times | None = None
    tpot: Times | None = None

    @property
    def told(self) -> str:
        """The sizes in words."""
        if self.phase == PREFILL:
            return f"prefill: {self.context:,} new positions, an empty cache"
        return f"decode: 1 new position, {self.context:,} in the cache"


def generating(this: Estimate, phase: Phase, other: Estimate | None) -> Estimate:
    """`this` estimate of `phase`, with the times of it and of the `other` phase (None: it cannot run)."""
    own, theirs = this.latency, other.latency if other is not None else None
    ttft, tpot = (own, theirs) if phase.name == PREFILL else (theirs, own)
    return replace(this, generation=Generation(phase.name, phase.context or 0, ttft, tpot))


class Phase:
    """Sizes of a phase, asked for by the reader: `sizes(interface)`.

    Without a `context` that of a file with fixed sizes is taken; `context` holds it afterwards.
    """

    def __init__(self, name: str, context: int | None = None) -> None:
        self.name = name
        self.context = context

    @property
    def other(self) -> Phase:
        """The other phase, with the same context."""
        return Phase(DECODE if self.name == PREFILL else PREFILL, self.context)

    def sizes(self, interface: Interface) -> Proposal:
        """The sizes of the open axes, and the values of inputs that say how long the cache is.

        Raises PhaseError for what is no decoder, or has fixed sizes of another phase or context, and
        MissingDimension where no context is given.
        """
        axes = axes_of(interface)
        self._check(axes)
        context = self._context(interface, axes)
        new, past = (context, 0) if self.name == PREFILL else (1, context)
        rooms = [self._room(interface, place, new + past) for place in axes.buffers]
        wanted = [(axes.tokens, new), (axes.past, past), (axes.total, new + past)]
        found: dict[str, int] = {}
        for places, size in wanted:
            for name, axis in places:
                declared = _declared(interface, name, axis)
                if not isinstance(declared, int):
                    found[f"{name}[{axis}]"] = size
                # what masks a whole block is as long as it
                elif declared != size and not (places is axes.total and declared in rooms):
                    raise self._fixed(f"{name}[{axis}]", declared, size)
        open_rooms = [(n, a) for n, a in axes.buffers if not isinstance(_declared(interface, n, a), int)]
        return Proposal(
            sizes=found,
            defaults={f"{name}[{axis}]": new + past for name, axis in open_rooms},
            needed={f"{name}[{axis}]": "batch x heads" for name, axis in axes.heads},
            values={
                **dict.fromkeys(axes.total_values, new + past),
                **dict.fromkeys(axes.last_values, new + past - 1),
                **dict.fromkeys(axes.past_values, past),
                **dict.fromkeys(axes.flags, int(self.name == DECODE)),
            },
        )

    def _room(self, interface: Interface, place: tuple[str, int], needed: int) -> int:
        """Positions in a block that cache and new positions share."""
        room = _declared(interface, *place)
        if isinstance(room, int) and room < needed:
            raise PhaseError(
                f"--phase {self.name} with a context of {self.context:,} needs room for {needed:,} positions",
                where=f"{place[0]}[{place[1]}] has room for {room:,}",
                hint=f"give a smaller context: --context {max(room - (self.name == DECODE), 1)}",
            )
        return room if isinstance(room, int) else needed

    def _check(self, axes: Axes) -> None:
        if not axes.past and not axes.buffers and not axes.keeps_cache:
            raise PhaseError(
                f"--phase {self.name} needs a decoder with a key/value cache",
                where="no input is called past_key_values.* or the like, and no output present.*",
                hint="leave out --phase; sizes are set with --dim NAME=N",
            )
        if not axes.tokens:
            raise PhaseError(
                f"--phase {self.name}: no input of tokens is known",
                where="none is called input_ids or inputs_embeds, or looks rows up in a table",
                hint="leave out --phase; sizes are set with --dim NAME=N",
            )
        if self.name == DECODE and not axes.past and not axes.buffers:
            raise PhaseError(
                "--phase decode needs a cache to go on from, which this file does not take",
                hint="analyse the file exported for decoding, or: --phase prefill",
            )

    def _context(self, interface: Interface, axes: Axes) -> int:
        if self.context is None:
            places = axes.tokens if self.name == PREFILL else axes.past
            fixed = [d for place in places if isinstance(d := _declared(interface, *place), int)]
            if not fixed:
                raise MissingDimension(
                    f"--phase {self.name} needs the number of tokens: --context N",
                    hint=f"effcli analyze MODEL --phase {self.name} --context {EXAMPLE_SIZE}",
                )
            self.context = fixed[0]
        return self.context

    def _fixed(self, key: str, declared: int, wanted: int) -> PhaseError:
        return PhaseError(
            f"--phase {self.name} with a context of {self.context:,} needs {key} = {wanted:,}",
            where=f"the file has it fixed at {declared:,}",
            hint="export it with dynamic axes, or give the phase and context it was exported for",
        )


def _declared(interface: Interface, name: str, axis: int) -> int | str | None:
    dims: Sequence[int | str | None] = interface.inputs[name] or ()
    return dims[axis] if axis < len(dims) else None
