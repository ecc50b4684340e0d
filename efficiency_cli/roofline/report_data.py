"""Estimate -> plain data: the one way, from which all machine formats derive.

Values are exact and in SI base units; names are as the model spells them. No text is made here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from efficiency_cli import __version__
from efficiency_cli.graph.model import Graph, Kind, Tensor
from efficiency_cli.graph.patterns import PATTERNS
from efficiency_cli.graph.roles import parameter_count
from efficiency_cli.hardware.profile import Quantity, numbers
from efficiency_cli.roofline.energy import Joules
from efficiency_cli.roofline.latency import KernelTime, Machine, Times
from efficiency_cli.roofline.memory import Fit
from efficiency_cli.roofline.memory.report_data import memory_part
from efficiency_cli.roofline.network import CountedNode, Kernel
from efficiency_cli.roofline.report_format import (
    SCHEMA_VERSION,
    Bound,
    CalibrationPart,
    ConventionPart,
    CoveragePart,
    EffectivePart,
    EnergyInterval,
    FieldPart,
    HardwarePart,
    KernelPart,
    Latency,
    ModelPart,
    NodePart,
    Report,
    Results,
    Source,
    TensorPart,
    Tool,
    TotalsPart,
)

if TYPE_CHECKING:
    from efficiency_cli.graph.receptive_field import Field
    from efficiency_cli.roofline.conventions import Convention
    from efficiency_cli.roofline.effective import Effective
    from efficiency_cli.roofline.estimate import Estimate

# what `graph.execution` says of a node that runs before the network does
_FOLDED = "constant"


def report_of(estimate: Estimate, command: str = "analyze") -> Report:
    """The JSON report of one estimate; linear in nodes."""
    kernels = [_kernel(estimate, k) for k in range(len(estimate.kernels))]
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": _tool(),
        "command": command,
        "model": _model(estimate),
        "hardware": _hardware(estimate) if estimate.machine is not None else None,
        "totals": _totals(estimate),
        "coverage": _coverage(estimate),
        "assumptions": list(estimate.assumptions),
        "notes": list(estimate.notes),
        "nodes": _nodes(estimate),
        "kernels": kernels,
        "memory": memory_part(estimate.memory),
    }


def reports_of(estimates: Sequence[Estimate], command: str = "analyze") -> Report | Results:
    """One report as it is; several under `results`."""
    reports = [report_of(e, command) for e in estimates]
    if len(reports) == 1:
        return reports[0]
    return {"schema_version": SCHEMA_VERSION, "tool": _tool(), "command": command, "results": reports}


def _tool() -> Tool:
    return {"name": "effcli", "version": __version__}


def _model(estimate: Estimate) -> ModelPart:
    model = estimate.model
    tensors = model.graph.tensors
    return {
        "path": model.path,
        "file_bytes": model.file_bytes,
        "opset": dict(model.opset),
        "ir_version": model.ir_version,
        "producer": model.producer,
        "nodes": len(estimate.network.nodes),
        "dims": dict(model.dims),
        "inputs": [_tensor(tensors[i]) for i in model.graph.inputs],
        "outputs": [_tensor(tensors[o]) for o in model.graph.outputs],
    }


def _tensor(tensor: Tensor) -> TensorPart:
    return {
        "name": tensor.name,
        "shape": list(tensor.shape) if tensor.shape is not None else None,
        "dtype": tensor.dtype.value if tensor.dtype is not None else None,
        "kind": tensor.kind.value,
    }


def _hardware(estimate: Estimate) -> HardwarePart:
    machine = estimate.machine
    assert machine is not None
    profile, runtime = machine.profile, machine.runtime
    return cast(
        HardwarePart,
        {
            "id": profile.id,
            "name": profile.name,
            "class": profile.machine_class,
            "runtime": runtime.id,
            "runtime_name": runtime.name,
            "dtype": estimate.dtype,
            "grade": runtime.grade,
            "overlap": machine.overlap,
            "fusion": [pattern for pattern in PATTERNS if pattern in estimate.patterns],
            "ridge_point": _finite(estimate.ridge_point),
            "calibration": _calibration(machine),
            "provenance": _provenance(machine),
        },
    )


def _calibration(machine: Machine) -> CalibrationPart | None:
    found = machine.runtime.calibration
    if found is None:
        return None
    return {
        "measurements": found.measurements,
        "models": found.models,
        "held_out_error": found.held_out_error,
        "source": found.source,
    }


def _provenance(machine: Machine) -> list[Source]:
    """The profile's numbers without those of the runtimes that were not chosen."""
    profile, chosen = machine.profile, f"runtimes.{machine.runtime.id}."
    return [
        _source(key, number, profile.sources)
        for key, number in numbers(profile)
        if not key.startswith("runtimes.") or key.startswith(chosen)
    ]


def _source(key: str, number: Quantity, sources: Mapping[str, str]) -> Source:
    return cast(
        Source,
        {
            "key": key,
            "value": number.value,
            "text": number.text,
            "source": sources.get(number.source, number.source),
            "kind": number.kind,
            "note": number.note,
        },
    )


def _totals(estimate: Estimate) -> TotalsPart:
    t = estimate.totals
    ram, flash = memory_needs(estimate)
    share, generation = estimate.share, estimate.generation
    fields = {o: f for o in estimate.model.graph.outputs if (f := estimate.receptive_fields.get(o))}
    return {
        "macs": t.macs,
        "flops": t.flops,
        "ops": t.ops,
        "ops_by_dtype": dict(t.ops_by_dtype),
        "parameters": t.parameters,
        "auxiliary_parameters": t.auxiliary_parameters,
        "weight_bytes": t.weight_bytes,
        "weight_bytes_by_dtype": dict(t.weight_bytes_by_dtype),
        "activation_elements": t.activation_elements,
        "activation_bytes": t.activation_bytes,
        "peak_activation_bytes": t.peak_activation_bytes,
        "peak_activation_at": t.peak_activation_at,
        "ram_bytes": ram,
        "flash_bytes": flash,
        "fits": estimate.fit.fits if estimate.fit else None,
        "bytes_moved": t.bytes_moved,
        "weight_bytes_read": t.weight_bytes_read,
        "activation_bytes_read": t.activation_bytes_read,
        "activation_bytes_written": t.activation_bytes_written,
        "arithmetic_intensity": t.arithmetic_intensity,
        "kernels": t.kernels,
        "batch": estimate.batch,
        "latency_s": _latency(estimate.latency) if estimate.latency else None,
        "run_overhead_s": estimate.machine.runtime.run_s if estimate.machine else None,
        "throughput_per_s": _finite(estimate.throughput_per_s),
        "throughput_pipelined_per_s": _finite(estimate.pipelined_throughput_per_s),
        "energy_j": estimate.energy_j,
        "energy_interval_j": _joules(estimate.energy),
        "time_share": (
            {"compute": share.compute, "memory": share.memory, "overhead": share.overhead} if share else None
        ),
        "receptive_field": {name: _extents(f.size) for name, f in fields.items()},
        "receptive_field_geometry": {name: _geometry(f) for name, f in fields.items()},
        "kv_cache_bytes": t.kv_cache_bytes,
        "kv_cache_bytes_per_token": t.kv_cache_bytes_per_token,
        "effective": _effective(estimate.effective) if estimate.effective else None,
        "convention": _convention(estimate.convention) if estimate.convention else None,
        "phase": generation.phase if generation else None,
        "context": generation.context if generation else None,
        "ttft_s": _latency(generation.ttft) if generation and generation.ttft else None,
        "tpot_s": _latency(generation.tpot) if generation and generation.tpot else None,
    }


def _effective(found: Effective) -> EffectivePart:
    return {
        "macs": found.macs,
        "macs_nonzero": found.macs_nonzero,
        "channels": found.channels,
        "zero_channels": found.zero_channels,
        "elements": found.elements,
        "zero_elements": found.zero_elements,
        "unread": list(found.unread),
    }


def _convention(found: Convention) -> ConventionPart:
    return {
        "name": found.name,
        "macs": found.macs,
        "flops": found.flops,
        "parameters": found.parameters,
        "differences": list(found.differences),
        "source": found.source,
    }


def shares_one_memory(fit: Fit) -> bool:
    """Whether weights and activations live in the same memory."""
    return fit.weights_level == fit.activations_level


def memory_needs(estimate: Estimate) -> tuple[int | None, int | None]:
    """Bytes of RAM and of flash; (None, None) without a machine.

    RAM holds the activations' peak, and the weights where the machine keeps both in one memory; it
    then has no flash.
    """
    fit, totals = estimate.fit, estimate.totals
    if fit is None or not fit.activations_level:
        return None, None
    if shares_one_memory(fit):
        return totals.peak_activation_bytes + totals.weight_bytes, None
    return totals.peak_activation_bytes, totals.weight_bytes


def _joules(energy: Joules | None) -> EnergyInterval | None:
    if energy is None:
        return None
    return {"lower": energy.lower_j, "expected": energy.expected_j, "upper": energy.upper_j}


def _latency(times: Times) -> Latency:
    return {
        "bound": times.bound_s,
        "lower": times.lower_s,
        "expected": times.expected_s,
        "upper": times.upper_s,
    }


def _extents(size: Sequence[float]) -> list[int | None]:
    return [math.ceil(extent) if math.isfinite(extent) else None for extent in size]


def _geometry(field: Field) -> FieldPart:
    return {
        "input": field.input,
        "size": _extents(field.size),
        "stride": list(field.stride),
        "start": list(field.start),
        "padding": list(field.padding),
        "bounded_size": [math.ceil(extent) for extent in field.bounded_size],
        "unbounded_by": field.unbounded_by or None,
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _coverage(estimate: Estimate) -> CoveragePart:
    coverage = estimate.coverage
    return {
        "nodes": coverage.nodes,
        "bytes": coverage.bytes,
        "unmodelled": [
            {"domain": u.domain, "op": u.op, "count": len(u.nodes), "nodes": list(u.nodes)} for u in coverage.unmodelled
        ],
        "unknown_shapes": list(coverage.unknown_shapes),
    }


def kernel_of_node(kernels: Sequence[Kernel]) -> dict[str, int]:
    """The index of the kernel that each node runs in, by the node's name."""
    found: dict[str, int] = {}
    for kernel in kernels:
        for name in kernel.nodes:
            found.setdefault(name, kernel.index)
    return found


def _nodes(estimate: Estimate) -> list[NodePart]:
    kernels = kernel_of_node(estimate.kernels)
    fields = estimate.receptive_fields
    root = estimate.model.graph
    found: list[NodePart] = []
    for counted in estimate.network.nodes:
        node, graph = counted.node, counted.graph
        first = node.outputs[0] if node.outputs else ""
        field = fields.get(first) if graph is root else None
        found.append(
            {
                "name": node.name,
                "op": node.op,
                "domain": node.domain,
                "path": counted.path,
                "inputs": _operands(node.inputs, graph),
                "outputs": _operands(node.outputs, graph),
                "macs": counted.macs,
                "flops": counted.ops,
                "ops": counted.ops,
                "parameters": parameters_of(counted),
                "bytes_moved": counted.bytes_moved,
                "kernel": None if counted.absorbed else kernels.get(node.name),
                "repeat": counted.repeat,
                "absorbed": counted.absorbed or None,
                "receptive_field": _extents(field.size) if field is not None else None,
                "receptive_field_geometry": _geometry(field) if field is not None else None,
            }
        )
    return found


def _operands(names: Sequence[str], graph: Graph) -> list[TensorPart | None]:
    return [_tensor(graph.tensors[n]) if n else None for n in names]


def parameters_of(counted: CountedNode) -> int:
    """Elements of the weights as the node gets them (sliced, say); 0 for a node that prepares a weight."""
    if counted.absorbed == _FOLDED:
        return 0
    node, tensors = counted.node, counted.graph.tensors
    counts: dict[str, int] = {}
    for slot, name in enumerate(node.inputs):
        tensor = tensors.get(name)
        if tensor is not None and tensor.kind is Kind.WEIGHT and tensor.shape is not None:
            elements = parameter_count(node.domain, node.op, slot, tensor.shape, node.attributes)
            counts[name] = max(elements, counts.get(name, 0))
    return sum(counts.values())


def _kernel(estimate: Estimate, index: int) -> KernelPart:
    kernel = estimate.kernels[index]
    time = estimate.times[index] if estimate.times else None
    return {
        "index": kernel.index,
        "name": kernel.name,
        "nodes": list(kernel.nodes),
        "op": kernel.op,
        "op_class": kernel.op_class.value,
        "dtype": kernel.dtype.value if kernel.dtype is not None else None,
        "macs": kernel.macs,
        "flops": kernel.ops,
        "ops": kernel.ops,
        "bytes_moved": kernel.bytes_moved,
        "weight_bytes_read": kernel.weight_bytes,
        "activation_bytes_read": kernel.read_bytes,
        "activation_bytes_written": kernel.written_bytes,
        "arithmetic_intensity": kernel.arithmetic_intensity,
        "repeat": kernel.repeat,
        "modelled": kernel.modelled,
        "time_s": _latency(time.times) if time else None,
        "compute_s": time.compute_s if time else None,
        "memory_s": time.memory_s if time else None,
        "weight_s": time.weight_s if time else None,
        "activation_s": time.activation_s if time else None,
        "overhead_s": time.overhead_s if time else None,
        "bound": _bound(time),
        "margin": _finite(time.margin) if time else None,
        "weight_level": (time.weight_level or None) if time else None,
        "activation_level": time.activation_level if time else None,
        "peak_dtype": time.peak_dtype if time else None,
        "energy_j": estimate.energies[index] if estimate.energies else None,
        "peak_live_bytes": estimate.live.by_kernel[index],
    }


def _bound(time: KernelTime | None) -> Bound | None:
    return cast(Bound, time.bound_by) if time else None
