"""Model + machine -> Estimate: totals, times with their interval, what was assumed and not modelled.

The one result type of the tool: every report renders an Estimate, `to_dict` (in `report_data`) is the
one way to plain data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from efficiency_cli.costs.control_flow import Choices
from efficiency_cli.graph.fusion import DEFAULT_PATTERNS, expanded
from efficiency_cli.graph.model import Model
from efficiency_cli.graph.receptive_field import Field, receptive_fields
from efficiency_cli.hardware.profile import Profile
from efficiency_cli.roofline.energy import Joules, energy_interval, kernel_energy
from efficiency_cli.roofline.latency import KernelTime, Machine, Timer, Times, open_s, outside_calibration
from efficiency_cli.roofline.memory import Fit, LiveSet, fit
from efficiency_cli.roofline.network import Kernel, Network
from efficiency_cli.roofline.phases import Generation
from efficiency_cli.roofline.skipping import padding_ops, skipped_ops
from efficiency_cli.roofline.totals import Coverage, Totals, counted

if TYPE_CHECKING:
    from efficiency_cli.roofline.conventions import Convention
    from efficiency_cli.roofline.effective import Effective
    from efficiency_cli.roofline.memory.footprint import Footprint
    from efficiency_cli.roofline.report_format import Report

# index arithmetic runs beside the network's own and is not worth a note
_INDEX_TYPES = frozenset({"int64", "int32", "bool", "string"})
# sizes that depend on data are told one by one up to this many
SHOWN_SIZES = 3
# of the expected time: less for sizes that data decide is not told
_LEAST_TOLD = 0.01


class TimeShare(Struct, frozen=True):
    """Fractions of the expected time; their sum is 1."""

    compute: float
    memory: float
    overhead: float


class Estimate(Struct, frozen=True, eq=False, dict=True):
    """What one run of a network is, and costs on a machine where one was given.

    Without hardware `machine`, `latency`, `share`, `fit` and `energy_j` are None and `times` is empty.
    """

    network: Network
    totals: Totals
    coverage: Coverage
    kernels: tuple[Kernel, ...]
    live: LiveSet
    assumptions: tuple[str, ...]
    machine: Machine | None = None
    times: tuple[KernelTime, ...] = ()
    latency: Times | None = None
    share: TimeShare | None = None
    fit: Fit | None = None
    energies: tuple[float | None, ...] = ()
    batch: int = 1
    notes: tuple[str, ...] = ()
    generation: Generation | None = None
    effective: Effective | None = None
    convention: Convention | None = None
    memory: Footprint | None = None

    @property
    def model(self) -> Model:
        return self.network.model

    @property
    def energy_j(self) -> float | None:
        """Joules of one run; None where the profile has no energy figures."""
        known = [e for e in self.energies if e is not None]
        return sum(known) if known and len(known) == len(self.energies) else None

    @property
    def energy(self) -> Joules | None:
        """Joules of one run with the interval that 80 % of runs are in; None where `energy_j` is."""
        joules, machine = self.energy_j, self.machine
        if joules is None or machine is None or machine.profile.energy is None or self.latency is None:
            return None
        return energy_interval(machine.profile.energy, joules, self.latency)

    @property
    def patterns(self) -> frozenset[str]:
        """What was put into one kernel, by the names of `graph.patterns`."""
        return _patterns(self.network, self.machine)

    @property
    def throughput_per_s(self) -> float | None:
        """Inferences a second, one run after the other: batch / expected latency."""
        if self.latency is None or not self.latency.expected_s:
            return None
        return self.batch / self.latency.expected_s

    @property
    def pipelined_throughput_per_s(self) -> float | None:
        """The steady-state bound when kernels of successive runs overlap: batch / the slowest kernel."""
        slowest = max((t.times.expected_s for t in self.times), default=0.0)
        return self.batch / slowest if slowest else None

    @property
    def ridge_point(self) -> float | None:
        """Peak OP/s over bandwidth, in OP/B, for the type most operations run in."""
        if self.machine is None:
            return None
        return self.machine.profile.ridge_point(self.dtype)

    @cached_property
    def dtype(self) -> str:
        """The type that most operations run in."""
        by_type = self.totals.ops_by_dtype
        return max(by_type, key=lambda t: by_type[t], default="float32")

    @cached_property
    def receptive_fields(self) -> Mapping[str, Field]:
        """By tensor of the outermost graph."""
        return receptive_fields(self.model.graph)

    @cached_property
    def output_fields(self) -> Mapping[str, Field]:
        """By graph output."""
        fields = self.receptive_fields
        return {n: fields[n] for n in self.model.graph.outputs if n in fields}

    def to_dict(self) -> Report:
        """The JSON report as plain data (`effcli schema report`)."""
        from efficiency_cli.roofline.report_data import report_of  # it imports this module's types

        return report_of(self)


# the networks asked for last, the latest first: a network keeps its model alive, so there must be an end to them
_RECENT: list[Network] = []
_MOST_RECENT = 8


def count(model: Model, choices: Choices | None = None) -> Network:
    """The model with its work counted; counted once for as long as it is among the last few that were asked for."""
    wanted = choices or Choices()
    found = next((n for n in _RECENT if n.model is model and n.choices == wanted), None)
    if found is None:
        found = Network(model, wanted)
    else:
        _RECENT.remove(found)
    _RECENT.insert(0, found)
    del _RECENT[_MOST_RECENT:]
    return found


def estimate(
    model: Model | Network,
    profile: Profile | None = None,
    *,
    runtime: str | None = None,
    overlap: float | None = None,
    choices: Choices | None = None,
) -> Estimate:
    """Estimate one run of `model` on `profile` (None: counts only).

    `runtime` names one of the profile's software stacks, `overlap` (0 … 1) replaces the runtime's,
    `choices` say how control flow, padding and causal masks count.
    Raises ProfileError for an unknown runtime, CostError for a node that contradicts its operator.
    """
    network = model if isinstance(model, Network) else count(model, choices)
    machine = Machine.of(profile, runtime, overlap) if profile is not None else None
    known = counted(network, _patterns(network, machine))
    base = Estimate(
        network=network,
        totals=known.totals,
        coverage=known.coverage,
        kernels=known.kernels,
        live=known.live,
        assumptions=_assumed(network),
        notes=(*network.model.notes, *network.notes),
        batch=batch_of(network.model),
    )
    return base if machine is None else _timed(base, machine)


def _patterns(network: Network, machine: Machine | None) -> frozenset[str]:
    """What runs as one kernel: as was asked for, else as the machine's runtime does."""
    own = machine.runtime.fusion if machine is not None else DEFAULT_PATTERNS
    return expanded(own if network.choices.fusion is None else network.choices.fusion)


def _timed(base: Estimate, machine: Machine) -> Estimate:
    profile, totals = machine.profile, base.totals
    timer = Timer(machine, totals.weight_bytes, base.dtype, totals.weight_bytes_read)
    # for networks of another type than the runtime's a wide interval is stated anyway: no weights are read for them
    skips = machine.runtime.skips == "zero-channels" and not outside_calibration(machine, base.dtype)
    skipped, told = skipped_ops(base.network, base.kernels) if skips else ({}, [])
    if machine.runtime.skips == "padding":
        skipped = padding_ops(base.network, base.kernels)
    alive = _alive(base, machine)
    times = tuple(timer.time(k, live, skipped.get(k.index, 0)) for k, live in zip(base.kernels, alive, strict=True))
    latency = timer.total(times)
    return replace(
        base,
        machine=machine,
        times=times,
        latency=latency,
        share=_share(times, machine, latency),
        fit=fit(profile, totals.weight_bytes, totals.peak_activation_bytes),
        energies=tuple(kernel_energy(profile.energy, t) for t in times),
        assumptions=(
            *base.assumptions,
            *told,
            *_substituted(times),
            *_refused(base.network, machine),
            *_uncalibrated(machine, base.dtype),
            *_open(times, latency),
        ),
    )


def _alive(base: Estimate, machine: Machine) -> Sequence[int]:
    """Bytes alive at each kernel: with what the runtime overwrites in place, where some could spill otherwise."""
    profile = machine.profile
    nearest = next((m for m in profile.memory if "activations" in m.holds), None)
    live = base.live.by_kernel
    if nearest is None or nearest.size_bytes is None or profile.is_cache(nearest):
        return live
    if max(live, default=0) <= nearest.size_bytes:
        return live
    from efficiency_cli.roofline.memory.footprint import needs_under  # rarely needed

    return needs_under(base.network, base.kernels, machine.runtime.memory).by_kernel


def _share(times: Sequence[KernelTime], machine: Machine, latency: Times) -> TimeShare:
    """Who takes the expected time: of what overlaps, all of it goes to the longer part."""
    compute = memory = 0.0
    for t in times:
        longer, hidden = t.compute_s >= t.memory_s, 1 - t.overlap
        compute += t.compute_s if longer else hidden * t.compute_s
        memory += hidden * t.memory_s if longer else t.memory_s
    total = latency.expected_s or 1.0
    overhead = sum(t.overhead_s for t in times) + machine.runtime.scale_factor * machine.runtime.run_s
    return TimeShare(compute / total, memory / total, overhead / total)


def _substituted(times: Sequence[KernelTime]) -> list[str]:
    """Types that the machine has no peak for, and whose peak stands in."""
    pairs = {(t.dtype, t.peak_dtype) for t in times if t.kernel.ops}
    return [
        f"the profile has no {wanted} peak: timed as {used}"
        for wanted, used in sorted(pairs)
        if used != wanted and wanted not in _INDEX_TYPES
    ]


def _refused(network: Network, machine: Machine) -> list[str]:
    """Kernels that are not those which the runtime was fitted with."""
    if _patterns(network, machine) == expanded(machine.runtime.fusion) or not machine.runtime.is_fitted:
        return []
    return [f"the runtime {machine.runtime.id} was calibrated with its own kernels, not with these"]


def _uncalibrated(machine: Machine, dtype: str) -> list[str]:
    if not outside_calibration(machine, dtype):
        return []
    calibrated = machine.runtime.dtype
    return [f"the runtime is calibrated on {calibrated} networks, this one is {dtype}: a wide interval is stated"]


def _open(times: Sequence[KernelTime], latency: Times) -> list[str]:
    """How much of the time is for the largest that sizes can be."""
    share = open_s(times) / latency.expected_s if latency.expected_s else 0.0
    if share < _LEAST_TOLD:
        return []
    said = "of the expected time is for sizes that depend on data, at their most; `lower` is without it"
    return [f"{100 * share:.0f} % {said}"]


def _assumed(network: Network) -> tuple[str, ...]:
    """What was assumed of the network on any machine; kept."""
    found = network.kept.get(_assumed)
    if not isinstance(found, tuple):
        of_counts = (*_chosen(network), *_generated(network), *_data_dependent(network))
        found = network.kept[_assumed] = (*network.model.assumptions, *of_counts)
    return found


def _chosen(network: Network) -> list[str]:
    """What the user decided about counting; what that meant for a node is among the network's notes."""
    choices = network.choices
    found = []
    if choices.count == "valid":
        found.append("products with padding and behind causal masks are left out, as asked (valid)")
    if choices.fusion is not None:
        by = (
            f"nodes are grouped into kernels as {choices.fusion_from} does"
            if choices.fusion
            else "each node is a kernel"
        )
        found.append(f"{by}, as asked (--fusion)")
    given = Counter(n.node.key for n in network.nodes if (n.node.domain, n.node.op) in choices.rules)
    for key, nodes in sorted(given.items()):
        count = f"{nodes:,} nodes" if nodes > 1 else "1 node"
        found.append(f"{key} ({count}) counts as {choices.rules_from or 'the given rules'} says")
    return found


def _generated(network: Network) -> list[str]:
    count = sum(s.parameters for s in network.stored if s.generated)
    return [f"{count:,} parameters are generated by the graph, not stored in the file"] if count else []


def _data_dependent(network: Network) -> list[str]:
    """Sizes that only a run decides, counted at the most they can be; what follows from them is not listed."""
    found = []
    for counted_node in network.nodes:
        node, tensors = counted_node.node, counted_node.graph.tensors
        if node.graphs or any(i and tensors[i].bounded for i in node.inputs):
            continue  # a body's trips are told elsewhere
        found += [(node.op, tensors[o]) for o in node.outputs if o and tensors[o].bounded]
    shown = [
        f"the size of '{t.name}' ({op}) depends on data, {'x'.join(map(str, t.shape or ()))} counted; "
        f"set it with --dim '{t.name}[AXIS]=N'"
        for op, t in found[:SHOWN_SIZES]
    ]
    more = len(found) - SHOWN_SIZES
    return [*shown, f"{more} more sizes depend on data"] if more > 0 else shown


def batch_of(model: Model) -> int:
    """Inferences in one run: the first axis of the first input, where that is a batch.

    It is one when a symbol was bound, or when the rank is 2, 4 or 5; a static input of rank 3 may have time
    first, one of rank 1 has nothing else.
    """
    graph = model.graph
    if not graph.inputs:
        return 1
    shape = graph.tensors[graph.inputs[0]].shape
    if not shape or (len(shape) not in (2, 4, 5) and not model.dims):
        return 1
    return max(shape[0], 1)
