"""Two estimates set beside each other: what changed, and which kernels the change of a total comes from.

Kernels and nodes are those that `align.py` pairs; one without a partner is new, or gone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property

from msgspec import Struct

from efficiency_cli import quantity
from efficiency_cli.judge import align
from efficiency_cli.judge.gauge import DEFAULT_ON, GAUGES, ROUNDING, Gauge, On, worsening
from efficiency_cli.judge.snapshot import Kernel, Node, Snapshot, Tensor


class Total(Struct, frozen=True):
    """One metric before and after; None where an estimate does not have it."""

    gauge: Gauge
    before: float | None
    after: float | None

    @property
    def change(self) -> float | None:
        return self.after - self.before if self.before is not None and self.after is not None else None

    @property
    def worse(self) -> float | None:
        """By which fraction it is worse: negative where it is better."""
        if self.before is None or self.after is None:
            return None
        return worsening(self.gauge, self.before, self.after)


class KernelChange(Struct, frozen=True):
    """A kernel before and after; None where it is new, or gone."""

    before: Kernel | None
    after: Kernel | None

    @property
    def either(self) -> Kernel:
        found = self.after or self.before
        assert found is not None
        return found

    def part(self, gauge: Gauge, on: On = DEFAULT_ON) -> tuple[float, float]:
        """What it adds to a total before and after; 0 where it is not."""
        part = gauge.part
        assert part is not None
        return (part(self.before, on) if self.before else 0.0), (part(self.after, on) if self.after else 0.0)

    def change(self, gauge: Gauge, on: On = DEFAULT_ON) -> float:
        before, after = self.part(gauge, on)
        return after - before


class Field(Struct, frozen=True):
    """Something of a node that changed, in words."""

    name: str
    before: str
    after: str


class NodeChange(Struct, frozen=True):
    """A node before and after, and what of it changed; None where it is new, or gone."""

    before: Node | None
    after: Node | None
    fields: tuple[Field, ...] = ()

    @property
    def either(self) -> Node:
        found = self.after or self.before
        assert found is not None
        return found


# totals that are sums over kernels, in the order in which a change is looked for
ATTRIBUTED = ("latency", "energy", "macs", "flops", "bytes_moved")


class Diff(Struct, frozen=True, dict=True):
    """`after` against `before`. `nodes` are those that changed, `same` is how many did not."""

    before: Snapshot
    after: Snapshot
    kernels: tuple[KernelChange, ...]
    nodes: tuple[NodeChange, ...] = ()
    same: int = 0
    on: On = DEFAULT_ON

    @cached_property
    def totals(self) -> tuple[Total, ...]:
        """All metrics that one of the two has."""
        found = [Total(g, g.of(self.before, self.on), g.of(self.after, self.on)) for g in GAUGES.values()]
        return tuple(t for t in found if t.before is not None or t.after is not None)

    def total(self, name: str) -> Total | None:
        return next((t for t in self.totals if t.gauge.name == name), None)

    @property
    def explained(self) -> Gauge | None:
        """The total whose change is attributed to kernels: the latency, else the first that changed."""
        found = [t for name in ATTRIBUTED if (t := self.total(name)) and t.change is not None]
        chosen = next((t for t in found if t.gauge.name == "latency" or t.change), None)
        return chosen.gauge if chosen else None

    def attribution(self, gauge: Gauge) -> list[tuple[KernelChange, float]]:
        """The kernels with what each adds to the change of a total, the largest first whatever its sign."""
        rows = [(k, k.change(gauge, self.on)) for k in self.kernels]
        return sorted((r for r in rows if r[1]), key=lambda r: -abs(r[1]))

    def outside(self, gauge: Gauge) -> float:
        """The part of the change that belongs to no kernel: what starting a run costs, after less before."""
        (rest_before, before), (rest_after, after) = (self._rest(gauge, s) for s in (self.before, self.after))
        change = rest_after - rest_before
        # sums in another order differ in their last digits
        return change if abs(change) > ROUNDING * max(abs(before), abs(after)) else 0.0

    def _rest(self, gauge: Gauge, snapshot: Snapshot) -> tuple[float, float]:
        """What no kernel adds, and the whole."""
        part, whole = gauge.part, gauge.of(snapshot, self.on)
        assert part is not None
        if whole is None:
            return 0.0, 0.0
        return whole - math.fsum(part(k, self.on) for k in snapshot.kernels), whole

    @property
    def machines_differ(self) -> bool:
        ours, theirs = self.before.hardware, self.after.hardware
        return (ours and (ours.id, ours.runtime)) != (theirs and (theirs.id, theirs.runtime))


def diff(before: Snapshot, after: Snapshot, on: On = DEFAULT_ON) -> Diff:
    """What changed from `before` to `after`. Nodes are compared where both snapshots have them."""
    pairs = align.kernels(before, after)
    changes = list(_nodes(before.nodes, after.nodes)) if before.nodes and after.nodes else []
    told = [c for c in changes if c.before is None or c.after is None or c.fields]
    return Diff(before, after, tuple(_kernels(before, after, pairs)), tuple(told), len(changes) - len(told), on)


def _kernels(before: Snapshot, after: Snapshot, pairs: dict[int, int]) -> Iterator[KernelChange]:
    """In the order after; what is gone at the end."""
    back = {j: i for i, j in pairs.items()}
    for j, kernel in enumerate(after.kernels):
        yield KernelChange(before.kernels[back[j]] if j in back else None, kernel)
    yield from (KernelChange(kernel, None) for i, kernel in enumerate(before.kernels) if i not in pairs)


def _nodes(before: Sequence[Node], after: Sequence[Node]) -> Iterator[NodeChange]:
    pairs = align.nodes(before, after)
    back = {j: i for i, j in pairs.items()}
    for j, node in enumerate(after):
        was = before[back[j]] if j in back else None
        yield NodeChange(was, node, tuple(_fields(was, node)) if was else ())
    yield from (NodeChange(node, None) for i, node in enumerate(before) if i not in pairs)


def _fields(before: Node, after: Node) -> Iterator[Field]:
    if before.name != after.name:
        yield Field("name", before.name, after.name)
    if (before.domain, before.op) != (after.domain, after.op):
        yield Field("operator", before.op, after.op)
    # what it makes tells more than what it gets
    for side, ours, theirs in (("output", before.outputs, after.outputs), ("input", before.inputs, after.inputs)):
        many = max(len(ours), len(theirs)) > 1
        for k in range(max(len(ours), len(theirs))):
            was, now = _told(ours, k), _told(theirs, k)
            if was != now:
                yield Field(f"{side} {k}" if many else side, was, now)
    for name, was_count, now_count in (
        ("MACs", before.macs, after.macs),
        ("OPs", before.ops, after.ops),
        ("parameters", before.parameters, after.parameters),
    ):
        if was_count != now_count:
            yield Field(name, quantity.format_count(was_count), quantity.format_count(now_count))
    if before.bytes_moved != after.bytes_moved:
        yield Field("moved", quantity.format_bytes(before.bytes_moved), quantity.format_bytes(after.bytes_moved))


def _told(tensors: Sequence[Tensor | None], k: int) -> str:
    tensor = tensors[k] if k < len(tensors) else None
    return tensor.told if tensor else "none"


# --- limits ------------------------------------------------------------------------------------


class Tolerance(Struct, frozen=True):
    """How much worse a metric may be: a `share` of what it was, or an `amount` in its unit."""

    name: str
    text: str
    share: float | None = None
    amount: float | None = None

    def exceeded(self, total: Total) -> bool | None:
        """Whether the change is worse than this; None where there is none to judge."""
        if total.worse is None or total.change is None:
            return None
        if self.share is not None:
            return total.worse > self.share + ROUNDING
        worse = -total.change if total.gauge.more_is_better else total.change
        return worse > (self.amount or 0.0) + ROUNDING * abs(total.before or 0.0)


def parse_tolerance(text: str) -> Tolerance:
    """The tolerance of METRIC=5% or METRIC=2ms. Raises ValueError("what[\\nhint]")."""
    from efficiency_cli.errors import did_you_mean

    name, equals, limit = (part.strip() for part in text.partition("="))
    name = name.lower()
    if not equals or not name or not limit:
        raise ValueError(f"'{text}' is not METRIC=LIMIT\nas in: --fail-on latency=5%")
    if name not in GAUGES:
        known = did_you_mean(name, GAUGES) or f"metrics: {', '.join(GAUGES)}"
        raise ValueError(f"unknown metric '{name}'\n{known}")
    relative = limit.endswith("%")
    value = quantity.parse(limit, "fraction" if relative else GAUGES[name].dimension)
    if value < 0:
        raise ValueError(f"'{limit}' is negative\nas in: --fail-on latency=5%")
    return Tolerance(name, limit, share=value) if relative else Tolerance(name, limit, amount=value)
