"""Schedules with a lower peak: a beam search over the orders in which kernels can run.

Step by step, all ways to go on from the best partial schedules are looked at; of those that ran the same kernels only
the one with the lower peak is kept. Bodies of If, Loop and Scan run as one step. How wide the beam is follows from
the size of the graph, so the time is bounded and the same graph gives the same order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set

from msgspec import Struct

from efficiency_cli.roofline.memory.bodies import Held, held_by_bodies
from efficiency_cli.roofline.memory.live import Block, alive, blocks_of
from efficiency_cli.roofline.network import Kernel, Network

# steps that are looked at, some 8 µs each, and the widest beam
BUDGET = 250_000
WIDEST = 2_000


class Schedule(Struct, frozen=True):
    """Kernels in the order found, and the live set's peak in the file's order and in this one."""

    kernels: tuple[Kernel, ...]
    peak_before: int
    peak: int

    @property
    def saved(self) -> int:
        return self.peak_before - self.peak


def best_order(network: Network, kernels: Sequence[Kernel]) -> Schedule:
    """The order with the lowest peak that the search finds; the given one where nothing is lower."""
    blocks = blocks_of(network, kernels)
    before = max(alive(blocks, len(kernels)), default=0)
    outputs = {network.key_of(name) for name in network.model.graph.outputs}
    steps = _Steps(kernels, blocks, held_by_bodies(network, kernels), outputs)
    order = _Search(steps).run() if before > steps.least() else None
    if order is None:
        return Schedule(tuple(kernels), before, before)
    found = tuple(kernels[k] for step in order for k in steps.kernels[step])
    after = max(alive(blocks_of(network, found), len(found)), default=0)
    return Schedule(found, before, after) if after < before else Schedule(tuple(kernels), before, before)


class _Steps:
    """What can be moved: single kernels, and bodies as a whole; who needs whom, and which blocks each touches."""

    def __init__(
        self, kernels: Sequence[Kernel], blocks: Sequence[Block], held: Sequence[Held], outputs: Set[str]
    ) -> None:
        outermost = _outermost(held)
        self.kernels: list[range] = []
        step_of: list[int] = []
        k = 0
        while k < len(kernels):
            end = outermost.get(k, k) + 1
            step_of += [len(self.kernels)] * (end - k)
            self.kernels.append(range(k, end))
            k = end
        block_of = {key: n for n, b in enumerate(blocks) for key in (b.key, *b.also)}
        self.size = [b.size for b in blocks]
        # an input may be handed out as it is
        self.stays = [b.kind == "output" or not outputs.isdisjoint((b.key, *b.also)) for b in blocks]
        self.there = [b.kind == "input" for b in blocks]
        touched: list[set[int]] = [set() for _ in self.kernels]
        made_by: dict[str, int] = {}
        needs: list[set[str]] = [set() for _ in self.kernels]
        for k, kernel in enumerate(kernels):
            step = step_of[k]
            made_by.update(dict.fromkeys(kernel.writes, step))
            needs[step].update(kernel.reads)
            touched[step].update(block_of[key] for key in (*kernel.writes, *kernel.reads) if key in block_of)
        for body in held:
            if body.first >= 0:
                step = step_of[body.first]
                handed = (*body.throughout, *(inner for _, inner in body.same))
                needs[step].update(handed)
                touched[step].update(block_of[key] for key in (*handed, *body.gathered) if key in block_of)
                for outer in (*body.gathered, *(outer for outer, _ in body.same)):
                    made_by.setdefault(outer, step)
        self.inner = self._private(blocks, touched)
        self.touched = [sorted(t) for t in touched]
        self.touching: list[list[int]] = [[] for _ in blocks]
        for step, found in enumerate(self.touched):
            for n in found:
                self.touching[n].append(step)
        self.before = [
            {made_by[key] for key in keys if key in made_by and made_by[key] != step} for step, keys in enumerate(needs)
        ]
        self.after: list[list[int]] = [[] for _ in self.kernels]
        for step, earlier in enumerate(self.before):
            for other in earlier:
                self.after[other].append(step)

    def _private(self, blocks: Sequence[Block], touched: list[set[int]]) -> list[int]:
        """The peak of the blocks that live within each step of several kernels; they are taken out of `touched`."""
        inner = [0] * len(self.kernels)
        users: dict[int, int] = {}
        for found in touched:
            for n in found:
                users[n] = users.get(n, 0) + 1
        for step, span in enumerate(self.kernels):
            if len(span) > 1:
                own = {n for n in touched[step] if users[n] == 1 and not self.stays[n] and not self.there[n]}
                inner[step] = max(alive((blocks[n] for n in own), span.stop))
                touched[step] -= own
        return inner

    def least(self) -> int:
        """A peak that no order gets under: what the most demanding step touches."""
        return max((sum(self.size[n] for n in t) + i for t, i in zip(self.touched, self.inner, strict=True)), default=0)


def _outermost(held: Iterable[Held]) -> dict[int, int]:
    """First kernel -> last kernel of every body that is in no other."""
    spans = sorted({(b.first, -b.last) for b in held if b.first >= 0})
    found: dict[int, int] = {}
    end = -1
    for first, last in spans:
        if first > end:
            found[first] = end = -last
    return found


class _State:
    __slots__ = ("back", "done", "live", "peak", "ready", "step")

    def __init__(
        self, done: int, live: int, peak: int, ready: tuple[int, ...], back: _State | None = None, step: int = -1
    ) -> None:
        self.done, self.live, self.peak, self.ready, self.back, self.step = done, live, peak, ready, back, step


class _Search:
    def __init__(self, steps: _Steps) -> None:
        self.steps = steps
        self.looked_at = 0

    def run(self) -> list[int] | None:
        steps = self.steps
        live = sum(size for size, there in zip(steps.size, steps.there, strict=True) if there)
        ready = tuple(s for s, earlier in enumerate(steps.before) if not earlier)
        beam = [_State(0, live, live, ready)]
        for done in range(len(steps.kernels)):
            found: dict[int, _State] = {}
            for state in beam:
                self._go_on(state, found)
            if not found:
                return None  # steps that wait for each other: a body's results are read by what it needs
            beam = sorted(found.values(), key=lambda s: (s.peak, s.live, s.step))[: self._width(done, len(beam))]
        return self._path(beam[0])

    def _width(self, done: int, last: int) -> int:
        """As many states as the rest of the budget lasts for, by what each of the last ones cost."""
        each = max(self.looked_at / (done + 1) / last, 1.0)
        rest = max(BUDGET - self.looked_at, 0) / (len(self.steps.kernels) - done)
        return max(1, min(WIDEST, int(rest / each)))

    def _go_on(self, state: _State, found: dict[int, _State]) -> None:
        """All ways to go on; only the first that frees at least what it takes, under the peak: it can do no harm."""
        ways = []
        # beyond the budget the rest runs as the file has it
        for step in state.ready if self.looked_at < 2 * BUDGET else state.ready[:1]:
            self.looked_at += 1
            grown, freed = self._change(state, step)
            room = state.live + grown + self.steps.inner[step]
            if grown <= freed and room <= state.peak:
                ways = [(step, room, grown - freed)]
                break
            ways.append((step, room, grown - freed))
        for step, room, change in ways:
            self._enter(state, step, max(state.peak, room), state.live + change, found)

    def _change(self, state: _State, step: int) -> tuple[int, int]:
        """Bytes that come alive with the step, and bytes that nobody needs after it."""
        steps, done = self.steps, state.done
        after = done | (1 << step)
        grown = freed = 0
        for n in steps.touched[step]:
            touching = steps.touching[n]
            if not steps.there[n] and not any(done >> other & 1 for other in touching):
                grown += steps.size[n]
            if not steps.stays[n] and all(after >> other & 1 for other in touching):
                freed += steps.size[n]
        return grown, freed

    def _enter(self, state: _State, step: int, peak: int, live: int, found: dict[int, _State]) -> None:
        steps, after = self.steps, state.done | (1 << step)
        known = found.get(after)
        if known is None or (peak, live) < (known.peak, known.live):
            opened = [s for s in steps.after[step] if all(after >> b & 1 for b in steps.before[s])]
            ready = tuple(sorted({*state.ready, *opened} - {step}))
            found[after] = _State(after, live, peak, ready, state, step)

    @staticmethod
    def _path(state: _State) -> list[int]:
        order: list[int] = []
        at: _State | None = state
        while at is not None and at.step >= 0:
            order.append(at.step)
            at = at.back
        return order[::-1]
