"""One estimate as far as judging needs it: made from an Estimate, or read back from a saved JSON report.

The names are those of the JSON report (`roofline/report_format.py`), of which this is a part: a baseline and
any report of `analyze` are read by the same declarations. Nothing is judged here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta, Struct, field

from efficiency_cli.errors import UsageError
from efficiency_cli.hardware.profile import numbers
from efficiency_cli.roofline.report_data import memory_needs
from efficiency_cli.roofline.report_format import SCHEMA_VERSION

if TYPE_CHECKING:
    from efficiency_cli.graph.model import Graph
    from efficiency_cli.roofline.estimate import Estimate
    from efficiency_cli.roofline.latency import KernelTime, Machine, Times

# the report of a network of 50,000 nodes, the most that are read, is 60 MB
MAX_BYTES = 1 << 28
# hexadecimal digits: two profiles of one machine differ in them but for once in 10^14
_DIGEST = 12

Count = Annotated[int, Meta(ge=0)]
Amount = Annotated[float, Meta(ge=0)]


class Latency(Struct, frozen=True):
    """Seconds: the textbook bound, and the expected time in its 80 % interval."""

    bound: Amount
    lower: Amount
    expected: Amount
    upper: Amount


class Energy(Struct, frozen=True):
    """Joules: what is expected, in its 80 % interval."""

    lower: Amount
    expected: Amount
    upper: Amount


class Totals(Struct, frozen=True):
    """Sums of one run; None for what needs a machine, or one that says so."""

    macs: Count
    flops: Count
    parameters: Count
    weight_bytes: Count
    peak_activation_bytes: Count
    bytes_moved: Count
    kernels: Count
    peak_activation_at: str = ""
    kv_cache_bytes: Count = 0
    batch: Count = 1
    ram_bytes: Count | None = None
    flash_bytes: Count | None = None
    latency_s: Latency | None = None
    energy_j: Amount | None = None
    energy_interval_j: Energy | None = None


class Unmodelled(Struct, frozen=True):
    """An operator without a cost rule."""

    domain: str
    op: str
    count: Count


class Coverage(Struct, frozen=True):
    """Which part of the nodes, and of their bytes, has a cost rule."""

    nodes: Amount
    bytes: Amount
    unmodelled: tuple[Unmodelled, ...] = ()
    unknown_shapes: tuple[str, ...] = ()


class ModelPart(Struct, frozen=True):
    """The file, and the sizes it was read with."""

    path: str
    dims: Mapping[str, int] = field(default_factory=dict)


class HardwarePart(Struct, frozen=True):
    """The machine; `profile` is a digest of the numbers it was timed with, in baselines."""

    id: str
    runtime: str
    dtype: str = ""
    grade: str = ""
    runtime_name: str = ""
    profile: str = ""


class Tensor(Struct, frozen=True):
    name: str
    shape: tuple[int, ...] | None = None
    dtype: str | None = None
    kind: str = "activation"

    @property
    def told(self) -> str:
        """ "int8[1x8x24x24]"; a question mark for what is not known."""
        shape = "x".join(map(str, self.shape)) if self.shape is not None else "?"
        return f"{self.dtype or '?'}[{shape}]"


class Node(Struct, frozen=True):
    name: str
    op: str
    domain: str = ""
    path: str = "graph"
    inputs: tuple[Tensor | None, ...] = ()
    outputs: tuple[Tensor | None, ...] = ()
    macs: Count = 0
    ops: Count = 0
    parameters: Count = 0
    bytes_moved: Count = 0


class Kernel(Struct, frozen=True):
    """What is dispatched at once, for all its repeats. Times are None without a machine."""

    name: str
    op: str
    macs: Count
    ops: Count
    bytes_moved: Count
    nodes: tuple[str, ...] = ()
    dtype: str | None = None
    weight_bytes_read: Count = 0
    peak_live_bytes: Count = 0
    time_s: Latency | None = None
    bound: str | None = None
    energy_j: Amount | None = None


class Snapshot(Struct, frozen=True):
    """One model, counted, and timed where there was a machine. `asked` are sizes that no symbol has (--batch)."""

    model: ModelPart
    totals: Totals
    coverage: Coverage
    kernels: tuple[Kernel, ...]
    hardware: HardwarePart | None = None
    assumptions: tuple[str, ...] = ()
    nodes: tuple[Node, ...] = ()
    asked: str = ""

    @property
    def machine(self) -> str:
        """ "cortex-m7"; "" without one."""
        return self.hardware.id if self.hardware else ""


def snapshot_of(estimate: Estimate, *, nodes: bool = False, asked: str = "") -> Snapshot:
    """`estimate`, with its nodes where they are wanted; linear in kernels (and nodes)."""
    machine, found = estimate.machine, estimate.coverage
    return Snapshot(
        model=ModelPart(estimate.model.path, dict(estimate.model.dims)),
        totals=_totals(estimate),
        coverage=Coverage(
            found.nodes,
            found.bytes,
            tuple(Unmodelled(u.domain, u.op, len(u.nodes)) for u in found.unmodelled),
            found.unknown_shapes,
        ),
        kernels=_kernels(estimate),
        hardware=HardwarePart(
            machine.profile.id,
            machine.runtime.id,
            estimate.dtype,
            machine.runtime.grade,
            machine.runtime.name,
            profile_digest(machine),
        )
        if machine
        else None,
        assumptions=estimate.assumptions,
        nodes=_nodes(estimate) if nodes else (),
        asked=asked,
    )


def profile_digest(machine: Machine) -> str:
    """A few letters that change when a number changes that the machine is timed with."""
    others = tuple(f"runtimes.{r.id}." for r in machine.profile.runtimes if r.id != machine.runtime.id)
    told = [f"{key}={number.value!r}" for key, number in numbers(machine.profile) if not key.startswith(others)]
    return hashlib.sha256("\n".join([*told, f"overlap={machine.overlap!r}"]).encode()).hexdigest()[:_DIGEST]


def _totals(estimate: Estimate) -> Totals:
    t, energy = estimate.totals, estimate.energy
    ram, flash = memory_needs(estimate)
    return Totals(
        macs=t.macs,
        flops=t.flops,
        parameters=t.parameters,
        weight_bytes=t.weight_bytes,
        peak_activation_bytes=t.peak_activation_bytes,
        bytes_moved=t.bytes_moved,
        kernels=t.kernels,
        peak_activation_at=t.peak_activation_at,
        kv_cache_bytes=t.kv_cache_bytes,
        batch=estimate.batch,
        ram_bytes=ram,
        flash_bytes=flash,
        latency_s=_latency(estimate.latency),
        energy_j=estimate.energy_j,
        energy_interval_j=Energy(energy.lower_j, energy.expected_j, energy.upper_j) if energy else None,
    )


def _latency(times: Times | None) -> Latency | None:
    return Latency(times.bound_s, times.lower_s, times.expected_s, times.upper_s) if times else None


def _kernels(estimate: Estimate) -> tuple[Kernel, ...]:
    count = len(estimate.kernels)
    times: Sequence[KernelTime | None] = estimate.times or (None,) * count
    energies = estimate.energies or (None,) * count
    return tuple(
        Kernel(
            name=k.name,
            op=k.op,
            macs=k.macs,
            ops=k.ops,
            bytes_moved=k.bytes_moved,
            nodes=k.nodes,
            dtype=k.dtype.value if k.dtype is not None else None,
            weight_bytes_read=k.weight_bytes,
            peak_live_bytes=live,
            time_s=_latency(time.times) if time else None,
            bound=time.bound_by if time else None,
            energy_j=energy,
        )
        for k, time, energy, live in zip(estimate.kernels, times, energies, estimate.live.by_kernel, strict=True)
    )


def _nodes(estimate: Estimate) -> tuple[Node, ...]:
    from efficiency_cli.roofline.report_data import parameters_of

    return tuple(
        Node(
            name=counted.node.name,
            op=counted.node.op,
            domain=counted.node.domain,
            path=counted.path,
            inputs=_tensors(counted.node.inputs, counted.graph),
            outputs=_tensors(counted.node.outputs, counted.graph),
            macs=counted.macs,
            ops=counted.ops,
            parameters=parameters_of(counted),
            bytes_moved=counted.bytes_moved,
        )
        for counted in estimate.network.nodes
    )


def _tensors(names: Sequence[str], graph: Graph) -> tuple[Tensor | None, ...]:
    found: list[Tensor | None] = []
    for name in names:
        tensor = graph.tensors.get(name) if name else None
        if tensor is None:
            found.append(None)
        else:
            dtype = tensor.dtype.value if tensor.dtype is not None else None
            found.append(Tensor(name, tensor.shape, dtype, tensor.kind.value))
    return tuple(found)


# --- saved reports -----------------------------------------------------------------------------


class Tool(Struct, frozen=True):
    """The program that wrote a report."""

    name: str = ""
    version: str = ""


class Saved(Struct, frozen=True):
    """The estimates of a saved report, and the version of effcli that wrote it."""

    version: str
    snapshots: tuple[Snapshot, ...]


class _Head(Struct, frozen=True):
    """What tells one report from several, and both from something else."""

    schema_version: Annotated[int, Meta(ge=1)]
    results: msgspec.Raw = msgspec.Raw()
    tool: Tool = Tool()


def read_saved(path: str) -> Saved:
    """The estimates in a JSON report of `analyze`, or in a baseline. Raises UsageError with the place."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"cannot read {path}: {reason}", hint="check the path") from error
    if len(data) > MAX_BYTES:
        raise UsageError(f"cannot read {path}: it is larger than 256 MiB", hint="give a report of effcli")
    return parse_saved(data, path)


def parse_saved(data: bytes, path: str) -> Saved:
    """As `read_saved`, of the bytes of a file called `path`."""
    hint = "write one: effcli analyze MODEL --hw ID -f json:report.json"
    try:
        head = msgspec.json.decode(data, type=_Head)
        if head.schema_version > SCHEMA_VERSION:
            what = f"{path} was written by a newer effcli (schema_version {head.schema_version})"
            raise UsageError(what, hint="update effcli: pip install --upgrade effcli")
        if bytes(head.results) in (b"", b"null"):
            return Saved(head.tool.version, (msgspec.json.decode(data, type=Snapshot),))
        return Saved(head.tool.version, msgspec.json.decode(head.results, type=tuple[Snapshot, ...]))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is not a JSON report of effcli", where=str(error), hint=hint) from error


def to_plain(snapshot: Snapshot) -> dict[str, Any]:
    """Plain data under the names of the JSON report."""
    plain: dict[str, Any] = msgspec.to_builtins(snapshot)
    return plain
