"""One row of a comparison: the answers to one model on one machine, without its nodes and kernels.

Plain data that crosses processes and goes into a line of JSON as it is; the names, and what they mean, are those of
the report (`roofline/report_format.py`), so that one reader serves both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct, field

from efficiency_cli.roofline.estimate import Estimate
from efficiency_cli.roofline.report_data import memory_needs
from efficiency_cli.roofline.report_format import Bytes, Count, Fraction, Seconds


class RowModel(Struct, frozen=True):
    """The file, under the name it was asked for by."""

    path: str
    file_bytes: Bytes = 0
    dims: dict[str, int] = field(default_factory=dict)


class RowHardware(Struct, frozen=True):
    """The machine and what runs on it; `dtype` is the type that most operations run in."""

    id: str
    name: str
    machine_class: str = field(name="class")
    runtime: str
    runtime_name: str
    dtype: str
    grade: str


class RowLatency(Struct, frozen=True):
    """Seconds: the textbook bound, and the expected time in its 80 % interval."""

    bound: Seconds
    lower: Seconds
    expected: Seconds
    upper: Seconds


class RowEnergy(Struct, frozen=True):
    """Joules: the expected energy in its 80 % interval."""

    lower: Annotated[float, Meta(ge=0)]
    expected: Annotated[float, Meta(ge=0)]
    upper: Annotated[float, Meta(ge=0)]


class RowShare(Struct, frozen=True):
    """Fractions of the expected time; their sum is 1."""

    compute: Fraction
    memory: Fraction
    overhead: Fraction

    @property
    def largest(self) -> str:
        """compute, memory or overhead: what takes most."""
        return max(("compute", "memory", "overhead"), key=lambda name: float(getattr(self, name)))


class RowTotals(Struct, frozen=True):
    """Sums of one run."""

    macs: Count
    flops: Count
    ops: Count
    parameters: Count
    weight_bytes: Bytes
    peak_activation_bytes: Bytes
    ram_bytes: int | None
    flash_bytes: int | None
    fits: bool | None
    bytes_moved: Bytes
    arithmetic_intensity: float | None
    kernels: Count
    batch: Count
    latency_s: RowLatency
    throughput_per_s: float | None
    energy_j: float | None
    energy_interval_j: RowEnergy | None
    time_share: RowShare
    kv_cache_bytes: Bytes


class RowCoverage(Struct, frozen=True):
    """Which part of the nodes, and of their bytes, has a cost rule."""

    nodes: Fraction
    bytes: Fraction


class Full(Struct, frozen=True):
    """A memory that is too small."""

    level: str
    need_bytes: float
    capacity_bytes: float


class Row(Struct, frozen=True):
    """One model on one machine; or why there is no estimate, then without a machine.

    `batch` and `as_if` are what was asked for: null and "" where the model's own were taken.
    """

    model: RowModel
    hardware: RowHardware | None = None
    batch: int | None = None
    as_if: Annotated[str, Meta(description="the types asked for: int8, or int4/float16 (weights/activations)")] = ""
    totals: RowTotals | None = None
    coverage: RowCoverage | None = None
    too_small: Annotated[tuple[Full, ...], Meta(description="memories that the model does not fit")] = ()
    assumptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    error: str | None = None

    @property
    def latency(self) -> RowLatency | None:
        return self.totals.latency_s if self.totals else None

    @property
    def fits(self) -> bool | None:
        return self.totals.fits if self.totals else None


def row_of(estimate: Estimate, batch: int | None = None, as_if: str = "", path: str | None = None) -> Row:
    """The row of an estimate on a machine; `path` is shown for the model's own."""
    model, coverage = estimate.model, estimate.coverage
    return Row(
        model=RowModel(model.path if path is None else path, model.file_bytes, dict(model.dims)),
        hardware=_hardware(estimate),
        batch=batch,
        as_if=as_if,
        totals=_totals(estimate),
        coverage=RowCoverage(coverage.nodes, coverage.bytes),
        too_small=tuple(_too_small(estimate)),
        assumptions=estimate.assumptions,
        notes=estimate.notes,
    )


def _hardware(estimate: Estimate) -> RowHardware:
    assert estimate.machine is not None
    profile, runtime = estimate.machine.profile, estimate.machine.runtime
    return RowHardware(
        id=profile.id,
        name=profile.name,
        machine_class=profile.machine_class,
        runtime=runtime.id,
        runtime_name=runtime.name,
        dtype=estimate.dtype,
        grade=runtime.grade,
    )


def _totals(estimate: Estimate) -> RowTotals:
    totals, times, share, energy = estimate.totals, estimate.latency, estimate.share, estimate.energy
    assert times is not None
    assert share is not None
    ram, flash = memory_needs(estimate)
    return RowTotals(
        macs=totals.macs,
        flops=totals.flops,
        ops=totals.ops,
        parameters=totals.parameters,
        weight_bytes=totals.weight_bytes,
        peak_activation_bytes=totals.peak_activation_bytes,
        ram_bytes=ram,
        flash_bytes=flash,
        fits=estimate.fit.fits if estimate.fit else None,
        bytes_moved=totals.bytes_moved,
        arithmetic_intensity=totals.arithmetic_intensity,
        kernels=totals.kernels,
        batch=estimate.batch,
        latency_s=RowLatency(times.bound_s, times.lower_s, times.expected_s, times.upper_s),
        throughput_per_s=estimate.throughput_per_s,
        energy_j=estimate.energy_j,
        energy_interval_j=RowEnergy(energy.lower_j, energy.expected_j, energy.upper_j) if energy else None,
        time_share=RowShare(share.compute, share.memory, share.overhead),
        kv_cache_bytes=totals.kv_cache_bytes,
    )


def _too_small(estimate: Estimate) -> Sequence[Full]:
    """The memories of `Estimate.fit` that need more than they have."""
    fit = estimate.fit
    if fit is None or fit.fits is not False:
        return ()
    ram, flash = memory_needs(estimate)
    needs = ((fit.activations_level, ram, fit.activations_capacity), (fit.weights_level, flash, fit.weights_capacity))
    return [Full(name, need, room) for name, need, room in needs if need is not None and room and need > room]
