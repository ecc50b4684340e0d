"""What makes a plan valid, for tests of planners and policies."""

from __future__ import annotations

from collections.abc import Iterator

from efficiency_cli.roofline.memory.plan import NO_GAPS, Gaps, Placed, Plan


def clashes(plan: Plan, gaps: Gaps = NO_GAPS) -> list[tuple[str, str]]:
    """Blocks that are alive together and lie over each other further than `gaps` allow."""
    return [(a.block.key, b.block.key) for a, b in met(plan) if not (_below(a, b, gaps) or _below(b, a, gaps))]


def met(plan: Plan) -> Iterator[tuple[Placed, Placed]]:
    """Every two blocks that are alive together."""
    alive: list[Placed] = []
    for placed in sorted(plan.placed, key=lambda p: p.block.first):
        alive = [other for other in alive if other.block.last >= placed.block.first]
        yield from ((placed, other) for other in alive)
        alive.append(placed)


def _below(low: Placed, high: Placed, gaps: Gaps) -> bool:
    return low.offset + gaps.get((low.block.key, high.block.key), low.block.size) <= high.offset
