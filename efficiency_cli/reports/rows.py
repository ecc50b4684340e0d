"""The table behind every text format: what kernels, nodes, operators or blocks do and take.

Grouping never loses anything: operations and times of the rows sum to those of the kernels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from efficiency_cli.reports.view import Group, Sort

if TYPE_CHECKING:
    from efficiency_cli.roofline.estimate import Estimate
    from efficiency_cli.roofline.network import CountedNode

# blocks are named as deep as leaves no more of them than this
MOST_BLOCKS = 20
# and never deeper than this, however many parts a name has
_DEEPEST = 12


class RowTime(Struct, frozen=True):
    """Seconds that a row takes of a run. The parts overlap: they may sum to more than `expected_s`."""

    bound_s: float
    lower_s: float
    expected_s: float
    upper_s: float
    compute_s: float
    memory_s: float
    overhead_s: float

    @property
    def bound_by(self) -> str:
        """The longest of the parts."""
        if self.overhead_s > max(self.compute_s, self.memory_s):
            return "overhead"
        return "compute" if self.compute_s >= self.memory_s and self.compute_s else "memory"

    def scaled(self, factor: float) -> RowTime:
        return RowTime(*(factor * part for part in self._parts))

    @property
    def _parts(self) -> tuple[float, ...]:
        return (
            self.bound_s,
            self.lower_s,
            self.expected_s,
            self.upper_s,
            self.compute_s,
            self.memory_s,
            self.overhead_s,
        )

    @staticmethod
    def total(times: Iterable[RowTime]) -> RowTime:
        return RowTime(*map(sum, zip(*(t._parts for t in times), strict=True)))


class Row(Struct, frozen=True):
    """One kernel, node, operator or block. `count` is how many kernels (or nodes) it stands for.

    `fused` are operators that run in the kernel besides the one that names it. `bytes_moved` of a node
    is what it would touch alone; of all else, what crosses the borders of its kernels. Where not all of
    it is `modelled`, its operations are more than those counted.
    """

    index: int
    name: str
    op: str
    fused: tuple[str, ...]
    count: int
    macs: int
    ops: int
    bytes_moved: int
    dtype: str
    op_class: str
    modelled: bool
    time: RowTime | None
    energy_j: float | None
    peak_live_bytes: int | None

    @property
    def arithmetic_intensity(self) -> float | None:
        return self.ops / self.bytes_moved if self.bytes_moved else None


def rows_of(estimate: Estimate, group: Group) -> list[Row]:
    """The rows of `estimate` in the order they run."""
    kernels = _kernel_rows(estimate)
    if group == "kernel":
        return kernels
    if group == "node":
        return _node_rows(estimate, kernels)
    key = (lambda row: row.op) if group == "op" else _block_key([r.name for r in kernels])
    return _grouped(kernels, key)


def ordered(rows: Sequence[Row], by: Sort) -> list[Row]:
    """Largest first; "time" is by MACs where there are no times. Ties stay in the order they run."""
    if by == "order":
        return list(rows)
    return sorted(rows, key=_SIZES[by], reverse=True)


def _by_time(row: Row) -> tuple[float, ...]:
    return (row.time.expected_s,) if row.time else _by_macs(row)


def _by_macs(row: Row) -> tuple[float, ...]:
    return row.macs, row.ops, row.bytes_moved


def _by_bytes(row: Row) -> tuple[float, ...]:
    return (row.bytes_moved,)


_SIZES: dict[Sort, Callable[[Row], tuple[float, ...]]] = {
    "time": _by_time,
    "macs": _by_macs,
    "bytes": _by_bytes,
}


def _kernel_rows(estimate: Estimate) -> list[Row]:
    found = []
    for k, kernel in enumerate(estimate.kernels):
        time = estimate.times[k] if estimate.times else None
        found.append(
            Row(
                index=kernel.index,
                name=kernel.name,
                op=kernel.op,
                fused=_fused(kernel.nodes, kernel.ops_named, kernel.name),
                count=1,
                macs=kernel.macs,
                ops=kernel.ops,
                bytes_moved=kernel.bytes_moved,
                dtype=kernel.dtype.value if kernel.dtype is not None else "",
                op_class=kernel.op_class.value,
                modelled=kernel.modelled,
                time=RowTime(
                    time.times.bound_s,
                    time.times.lower_s,
                    time.times.expected_s,
                    time.times.upper_s,
                    time.compute_s,
                    time.memory_s,
                    time.overhead_s,
                )
                if time
                else None,
                energy_j=estimate.energies[k] if estimate.energies else None,
                peak_live_bytes=estimate.live.by_kernel[k],
            )
        )
    return found


def _fused(nodes: Sequence[str], ops: Sequence[str], name: str) -> tuple[str, ...]:
    return tuple(op for node, op in zip(nodes, ops, strict=True) if node != name)


def _node_rows(estimate: Estimate, kernels: Sequence[Row]) -> list[Row]:
    """Nodes that run. A kernel's time is split by operations where it computes, else by bytes."""
    counted = {c.node.name: c for c in estimate.network.nodes}
    found: list[Row] = []
    for kernel, row in zip(estimate.kernels, kernels, strict=True):
        members = [counted[name] for name in kernel.nodes]
        for node, share in zip(members, _shares(members, row), strict=True):
            found.append(_node_row(len(found), node, row, share))
    return found


def _shares(members: Sequence[CountedNode], row: Row) -> list[float]:
    """Each node's part of its kernel; what neither computes nor moves takes equal parts."""
    computes = row.time is not None and row.time.compute_s >= row.time.memory_s
    for sizes in ([n.ops for n in members] if computes else [], [n.bytes_moved for n in members]):
        if sum(sizes):
            return [size / sum(sizes) for size in sizes]
    return [1 / len(members)] * len(members)


def _node_row(index: int, counted: CountedNode, kernel: Row, share: float) -> Row:
    return Row(
        index=index,
        name=counted.node.name,
        op=counted.node.key,
        fused=(),
        count=1,
        macs=counted.macs,
        ops=counted.ops,
        bytes_moved=counted.bytes_moved,
        dtype=counted.dtype.value if counted.dtype is not None else "",
        op_class=counted.work.op_class.value,
        modelled=counted.work.modelled,
        time=kernel.time.scaled(share) if kernel.time else None,
        energy_j=kernel.energy_j * share if kernel.energy_j is not None else None,
        peak_live_bytes=None,
    )


def _grouped(rows: Sequence[Row], key: Callable[[Row], str]) -> list[Row]:
    groups: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return [_merged(index, name, members) for index, (name, members) in enumerate(groups.items())]


def _merged(index: int, name: str, rows: Sequence[Row]) -> Row:
    times = [r.time for r in rows if r.time]
    energies = [r.energy_j for r in rows if r.energy_j is not None]
    largest = max(rows, key=_by_time)
    return Row(
        index=index,
        name=name,
        op=largest.op,
        fused=(),
        count=len(rows),
        macs=sum(r.macs for r in rows),
        ops=sum(r.ops for r in rows),
        bytes_moved=sum(r.bytes_moved for r in rows),
        dtype=largest.dtype,
        op_class=largest.op_class,
        modelled=all(r.modelled for r in rows),
        time=RowTime.total(times) if times else None,
        energy_j=sum(energies) if len(energies) == len(rows) else None,
        peak_live_bytes=max((r.peak_live_bytes for r in rows if r.peak_live_bytes is not None), default=None),
    )


def _block_key(names: Sequence[str]) -> Callable[[Row], str]:
    """Names cut to their leading parts: as many as leave at most MOST_BLOCKS groups."""
    paths = {name: _blocks(name) for name in names}
    deepest = max((len(p) for p in paths.values()), default=0)
    depth = next((d for d in range(deepest, 1, -1) if len({p[:d] for p in paths.values()}) <= MOST_BLOCKS), 1)
    return lambda row: "/".join(paths[row.name][:depth]) or "(no block)"


def _blocks(name: str) -> tuple[str, ...]:
    """What a node is inside of: "/layer1/layer1.0/conv1/Conv" -> layer1, layer1.0, conv1."""
    parts = [p for p in name.split("/" if "/" in name else ".") if p]
    return tuple(parts[:-1][:_DEEPEST])
