"""What the first screen says, line by line, before any format makes it text.

Lines and parts hold text as the model spells it: the format that shows them escapes them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from efficiency_cli.quantity import (
    format_bytes,
    format_capacity,
    format_count,
    format_energy,
    format_percent,
    format_time,
    rate_unit,
)
from efficiency_cli.reports.escape import shown
from efficiency_cli.reports.rows import Row

if TYPE_CHECKING:
    from efficiency_cli.reports.view import View
    from efficiency_cli.roofline.conventions import Convention
    from efficiency_cli.roofline.effective import Effective
    from efficiency_cli.roofline.energy import Joules
    from efficiency_cli.roofline.estimate import Estimate
    from efficiency_cli.roofline.latency import Machine
    from efficiency_cli.roofline.memory import Fit
    from efficiency_cli.roofline.phases import Generation

# outputs, data types and operators named in one line; the rest is a number
_MOST_NAMED = 3
# following receptive fields through so many nodes would be most of the time a table takes
LONG_GRAPH = 5_000
_HOW_TO_GET_A_LATENCY = ("name a machine: effcli analyze MODEL --hw cortex-m7", "see: effcli hw list")
_GROUP_NOUN = {"kernel": "kernels", "node": "nodes", "op": "operators", "block": "blocks"}


class Part(Struct, frozen=True):
    """A piece of a line that is kept together; an `extra` one goes first where room is short."""

    text: str
    style: str = ""
    extra: bool = False


class Line(Struct, frozen=True):
    """A label, and parts with `between` them. Without a label it goes on with the line above.

    An `extra` line goes where the screen is short.
    """

    label: str
    parts: tuple[Part, ...]
    between: str = ", "
    extra: bool = False


def header_of(estimate: Estimate) -> Line:
    """The model, and the machine with its runtime and data type."""
    path, machine = estimate.model.path, estimate.machine
    name = "standard input" if path == "-" else path
    if machine is None:
        return Line("", (Part(name, "bold"),))
    profile, runtime = machine.profile, machine.runtime
    told = f"{profile.name}, {runtime.name}, {estimate.dtype}"
    return Line("", (Part(name, "bold"), Part(f"on {profile.id}:", "bold"), Part(told)), " ")


def lines_of(estimate: Estimate, verbose: int = 0) -> list[Line]:
    """The answer first, then what it is made of. Nothing here depends on how it is shown."""
    lines = _latency(estimate)
    if estimate.generation is not None:
        lines.append(_phase(estimate.generation))
    lines.append(_work(estimate))
    if estimate.convention is not None:
        lines.extend(_convention(estimate.convention, verbose))
    if estimate.effective is not None:
        lines.append(_effective(estimate.effective))
    if estimate.share is not None:
        lines.append(_limits(estimate))
    lines.append(_memory(estimate))
    if estimate.totals.kv_cache_bytes:
        growth = f"{format_bytes(estimate.totals.kv_cache_bytes_per_token)} a token"
        cache = Part(f"KV cache {format_bytes(estimate.totals.kv_cache_bytes)} after the run")
        # who asks for a phase asks for the cache
        lines.append(Line("", (cache, Part(growth)), extra=estimate.generation is None))
    if estimate.energy is not None:
        lines.append(_energy(estimate.energy, estimate.batch))
    lines.append(_model(estimate))
    lines.append(_activations(estimate))
    fields = _receptive(estimate, verbose)
    if fields:
        lines.append(Line("Receptive", fields, extra=True))
    if verbose:
        lines.extend(_details(estimate))
    return lines


def notes_of(estimate: Estimate) -> list[str]:
    """What was assumed and what is odd, each as one safe line."""
    return [shown(text) for text in (*estimate.assumptions, *estimate.notes)]


# --- the lines ---------------------------------------------------------------------------------


def _latency(estimate: Estimate) -> list[Line]:
    times, machine = estimate.latency, estimate.machine
    if times is None or machine is None:
        return [Line("Latency", tuple(map(Part, _HOW_TO_GET_A_LATENCY)), "; ")]
    interval = _interval(format_time(times.lower_s), format_time(times.upper_s))
    parts = [Part(format_time(times.expected_s), "bold"), Part(interval)]
    rate = estimate.throughput_per_s
    if rate is not None:
        batch = f" in batches of {estimate.batch}" if estimate.batch > 1 else ""
        parts.append(Part(f"{format_count(rate)} {_what_is_made(estimate)}/s{batch}", extra=True))
    bound = Part(f"bound {format_time(times.bound_s)}")
    trust = (Part("80 % of runs"), bound, *_trust(machine, estimate.dtype))
    return [Line("Latency", tuple(parts), "   "), Line("", trust, "; ")]


def _what_is_made(estimate: Estimate) -> str:
    """What one run makes, an element of the batch."""
    generation = estimate.generation
    return "tokens" if generation is not None and generation.phase == "decode" else "inferences"


def _phase(generation: Generation) -> Line:
    """Which phase of a decoder this is, and the times of both."""
    parts = [Part(generation.told)]
    for label, times in (("first token", generation.ttft), ("each further token", generation.tpot)):
        if times is not None:
            parts.append(Part(f"{label} {format_time(times.expected_s)}"))
    return Line("Phase", tuple(parts), "; ")


def _trust(machine: Machine, dtype: str) -> list[Part]:
    """How far to trust the times: what they rest on."""
    runtime = machine.runtime
    fitted = runtime.calibration
    if fitted is None:
        return [Part("datasheet, not calibrated" if runtime.grade == "datasheet" else runtime.grade)]
    counts = f"{round(fitted.measurements)} measurements of {round(fitted.models)} models"
    held_out = fitted.held_out_error
    error = Part("nothing held out" if held_out is None else f"held-out error {format_percent(held_out)}")
    if runtime.dtype not in (None, dtype):
        return [Part(f"{runtime.grade} in {runtime.dtype}, not in {dtype}", "bad")]
    return [Part(f"{runtime.grade} on {counts}"), error]


def _interval(lower: str, upper: str) -> str:
    """ "14.9 – 40.8 ms": the unit once where both have the same."""
    number, _, unit = lower.partition(" ")
    return f"{number if upper.endswith(f' {unit}') else lower} – {upper}"


def _work(estimate: Estimate) -> Line:
    totals = estimate.totals
    parts = [
        Part(f"{format_count(totals.macs)} MACs"),
        Part(f"{format_count(totals.ops)} OPs"),
        Part(f"{format_bytes(totals.bytes_moved)} moved"),
    ]
    if totals.arithmetic_intensity is not None:
        ridge = estimate.ridge_point
        beside = f" (ridge {format_count(ridge)})" if ridge is not None else ""
        parts.append(Part(f"{format_count(totals.arithmetic_intensity)} OPs/B{beside}"))
    return Line("Work", tuple(parts))


def _convention(found: Convention, verbose: int) -> list[Line]:
    """The totals as another tool would print them; for -v what it counts otherwise, and where that is from."""
    macs = [Part(f"{format_count(found.macs)} MACs")] if found.macs is not None else []
    flops = Part(f"{format_count(found.flops)} FLOPs")
    parts = (*macs, flops, Part(f"{format_count(found.parameters)} parameters"))
    if not verbose:
        return [Line(found.name, (*parts, Part("how: -v", extra=True)))]
    return [
        Line(found.name, parts),
        *(Line("", (Part(f"- {said}"),)) for said in (*found.differences, f"source: {found.source}")),
    ]


def _effective(found: Effective) -> Line:
    """What is left where zero weights are skipped."""
    count = len(found.unread)
    unread = [Part(f"weights of {count:,} nodes not read, as {found.unread[0]}", "bad")] if count else []
    if not found.elements:
        return Line("Effective", (*unread,) or (Part("there are no weights to read"),), "; ")
    share = _percent(found.zero_elements, found.elements)
    parts = (
        Part(f"{format_count(found.macs)} MACs without all-zero channels"),
        Part(f"{found.zero_channels:,} of {found.channels:,} are"),
        Part(f"{format_count(found.macs_nonzero)} without zero weights"),
        Part(f"{share} of weights are zero"),
    )
    return Line("Effective", (*parts, *unread), "; ")


def _limits(estimate: Estimate) -> Line:
    share = estimate.share
    assert share is not None
    shares = {"compute": share.compute, "memory": share.memory, "overhead": share.overhead}
    parts = [Part(f"{name} {format_percent(part)}", name) for name, part in shares.items()]
    return Line("Limited by", (*parts, Part(_winner(shares))), "  ")


def _winner(shares: Mapping[str, float]) -> str:
    """What takes most of a run, and by how much it leads the next."""
    first, second, _ = sorted(shares, key=lambda name: shares[name], reverse=True)
    if not shares[second]:
        return f"{first}-bound"
    return f"{first}-bound, {_ratio(shares[first] / shares[second])} over {second}"


def _ratio(value: float) -> str:
    return f"{value:.1f}×" if value < 10 else f"{format_count(round(value))}×"


def _memory(estimate: Estimate) -> Line:
    totals, fit = estimate.totals, estimate.fit
    weights, peak = totals.weight_bytes, totals.peak_activation_bytes
    at = Part(f"peak at {totals.peak_activation_at}", extra=True)
    if fit is None or not fit.activations_level:
        parts = [
            Part(f"weights {format_capacity(weights)}"),
            Part(f"activations {format_capacity(peak)} peak"),
        ]
    elif fit.weights_level == fit.activations_level:
        need = f"{fit.weights_level} {_of(weights + peak, fit.weights_capacity)}"
        activations = Part(f"activations {format_capacity(peak)} peak", extra=True)
        parts = [Part(need), *_verdict(fit, weights, peak), activations]
    else:
        parts = [
            Part(f"{fit.weights_level} {_of(weights, fit.weights_capacity)}"),
            Part(f"{fit.activations_level} {_of(peak, fit.activations_capacity)} peak"),
            *_verdict(fit, weights, peak),
        ]
    return Line("Memory", (*parts, *([at] if totals.peak_activation_at else [])), "  ")


def _of(need: int, capacity: float | None) -> str:
    return f"{format_capacity(need)} of {format_capacity(capacity)}" if capacity else format_capacity(need)


def _verdict(fit: Fit, weights: int, peak: int) -> list[Part]:
    """Whether it fits, and by how much it does not."""
    if fit.fits is not False:
        return [Part("fits", "good") if fit.fits else Part("capacity not stated")]
    if fit.weights_level == fit.activations_level:
        needs = [(fit.weights_level, weights + peak, fit.weights_capacity)]
    else:
        needs = [
            (fit.weights_level, weights, fit.weights_capacity),
            (fit.activations_level, peak, fit.activations_capacity),
        ]
    short = [
        Part(f"{level} {format_capacity(need - room)} short", "bad")
        for level, need, room in needs
        if room is not None and need > room
    ]
    return [Part("does not fit:", "bad"), *short]


def _energy(energy: Joules, batch: int) -> Line:
    """Joules with their interval; in a batch those of an inference too."""
    parts = [
        Part(f"{format_energy(energy.expected_j)} a run" if batch > 1 else format_energy(energy.expected_j)),
        Part(_interval(format_energy(energy.lower_j), format_energy(energy.upper_j))),
    ]
    if batch > 1:
        parts.append(Part(f"{format_energy(energy.expected_j / batch)} an inference", extra=True))
    return Line("Energy", tuple(parts), "   ", extra=True)


def _model(estimate: Estimate) -> Line:
    model, totals = estimate.model, estimate.totals
    sizes = sorted(totals.weight_bytes_by_dtype.items(), key=lambda pair: -pair[1])
    by_type = [f"{dtype} {format_bytes(size)}" for dtype, size in sizes[:_MOST_NAMED]]
    one_type = f" {sizes[0][0]}" if len(sizes) == 1 else ""
    opsets = " ".join(f"{domain} {version}".strip() for domain, version in model.opset.items())
    parts = (
        Part(f"{format_count(totals.parameters)} parameters"),
        Part(f"weights {format_bytes(totals.weight_bytes)}{one_type}"),
        *([Part(f"as {', '.join(by_type)}", extra=True)] if len(by_type) > 1 else []),
        Part(f"file {format_bytes(model.file_bytes)}", extra=True),
        Part(f"opset {opsets}", extra=True),
    )
    return Line("Model", parts, extra=True)


def _activations(estimate: Estimate) -> Line:
    totals = estimate.totals
    parts = (
        Part(f"{format_count(totals.activation_elements)} elements"),
        Part(f"{format_bytes(totals.activation_bytes)}"),
        Part(f"{totals.kernels:,} kernel calls"),
        Part(f"{len(estimate.network.nodes):,} nodes", extra=True),
    )
    return Line("Activations", parts, extra=True)


def _receptive(estimate: Estimate, verbose: int) -> tuple[Part, ...]:
    """What one position of the outputs sees of the input; below what reads all of it, too."""
    if len(estimate.network.nodes) > LONG_GRAPH and not verbose:
        return (Part("shown with -v: it takes a second in a graph this long"),)
    outputs = [o for o in estimate.model.graph.outputs if o in estimate.receptive_fields]
    parts = []
    for name in outputs[:_MOST_NAMED]:
        field = estimate.receptive_fields[name]
        parts.append(Part(f"{_extent(field.size)} at {name}"))
        if field.unbounded_by:
            parts.append(Part(f"{_extent(field.bounded_size)} below {field.unbounded_by}", extra=True))
    more = len(outputs) - _MOST_NAMED
    return (*parts, *([Part(f"{more} more outputs", extra=True)] if more > 0 else []))


def _extent(size: Sequence[float]) -> str:
    return " × ".join(f"{extent:.0f}" if math.isfinite(extent) else "all" for extent in size)


def coverage_of(estimate: Estimate) -> Line:
    """How much of the network the figures stand for, and what they leave out."""
    coverage, kernels = estimate.coverage, estimate.kernels
    known = sum(k.modelled for k in kernels)
    parts = [
        Part(f"{known:,} of {len(kernels):,} kernels"),
        Part(f"{format_percent(coverage.bytes)} of bytes"),
    ]
    if coverage.unmodelled:
        named = [f"{u.domain}::{u.op}" if u.domain else u.op for u in coverage.unmodelled[:_MOST_NAMED]]
        more = len(coverage.unmodelled) - len(named)
        rest = [f"{more} more"] if more else []
        parts.append(Part(f"operations not counted: {', '.join([*named, *rest])}", "bad"))
    if coverage.unknown_shapes:
        count = len(coverage.unknown_shapes)
        parts.append(Part(f"{count:,} tensors without a shape, as {coverage.unknown_shapes[0]}", "bad"))
    return Line("Coverage", tuple(parts))


def _details(estimate: Estimate) -> list[Line]:
    """For -v: the machine's own numbers, and operations by type."""
    by_type = estimate.totals.ops_by_dtype.items()
    lines = [Line("By type", tuple(Part(f"{dtype} {format_count(ops)} OPs") for dtype, ops in by_type))]
    machine = estimate.machine
    if machine is None:
        return lines
    peak, used = machine.profile.peak(estimate.dtype)
    levels = [Part(f"{m.name} {format_count(m.bytes_per_s, 'B/s')}") for m in machine.profile.memory]
    lines.append(Line("Machine", (Part(f"{used} peak {format_count(peak, rate_unit(used))}"), *levels)))
    runtime = machine.runtime
    costs = (
        Part(f"{runtime.id}"),
        Part(f"overlap {format_percent(machine.overlap)}"),
        *(Part(f"with {level} {format_percent(own)}") for level, own in machine.overlaps.items()),
        Part(f"{format_time(runtime.kernel_s)} a kernel"),
        Part(f"{format_time(runtime.run_s)} a run"),
    )
    return [*lines, Line("Runtime", costs)]


def title_of(estimate: Estimate, rows: Sequence[Row], found: int, view: View) -> str:
    """What the table shows, and which part of the whole that is."""
    noun = _GROUP_NOUN[view.group]
    if estimate.latency is not None:
        whole = estimate.latency.expected_s
        part = sum(r.time.expected_s for r in rows if r.time)
        return f"Where the time goes ({len(rows):,} of {found:,} {noun}, {_percent(part, whole)})"
    macs = _percent(sum(r.macs for r in rows), estimate.totals.macs)
    return f"Where the work is ({len(rows):,} of {found:,} {noun}, {macs} of MACs)"


def _percent(part: float, whole: float) -> str:
    return format_percent(part / whole) if whole else "0.0 %"
