"""The JSON report, declared: what other programs build on.

Types only. `report_data` fills them, `reports/schema.py` turns them into JSON Schema; the names and
their meaning are said here and nowhere else. Changes are additive; anything else raises SCHEMA_VERSION.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from msgspec import Meta

from efficiency_cli.roofline.memory.report_format import MemoryPart

SCHEMA_VERSION = 1

Count = Annotated[int, Meta(ge=0)]
Bytes = Annotated[int, Meta(ge=0, description="bytes")]
Seconds = Annotated[float, Meta(ge=0, description="seconds")]
Fraction = Annotated[float, Meta(ge=0, description="0 … 1")]
Bound = Literal["compute", "memory", "overhead"]
Extent = Annotated[int | None, Meta(description="elements along one axis; null: all of it")]


class Tool(TypedDict):
    """The program that wrote the report."""

    name: str
    version: str


class ModelPart(TypedDict):
    """The file, and the sizes it was read with."""

    path: str
    file_bytes: Bytes
    opset: dict[str, int]
    ir_version: int
    producer: str
    nodes: Annotated[Count, Meta(description="with functions inlined and bodies of If, Loop and Scan")]
    dims: dict[str, int]
    inputs: list[TensorPart]
    outputs: list[TensorPart]


class TensorPart(TypedDict):
    """One tensor; shape and dtype are null where they could not be known."""

    name: str
    shape: list[int] | None
    dtype: str | None
    kind: Literal["input", "output", "activation", "weight", "constant"]


class Source(TypedDict):
    """One number of the profile: value in SI base units, as written, and where it is from."""

    key: str
    value: float
    text: str
    source: str
    kind: Literal["datasheet", "measured", "derived", "calibrated"]
    note: str


class CalibrationPart(TypedDict):
    """What the runtime's numbers were fitted to."""

    measurements: float
    models: float
    held_out_error: Fraction | None
    source: str


HardwarePart = TypedDict(
    "HardwarePart",
    {
        "id": str,
        "name": str,
        "class": Literal["mcu", "cpu", "gpu", "npu"],
        "runtime": str,
        "runtime_name": str,
        "dtype": Annotated[str, Meta(description="the type that most operations run in")],
        "grade": Annotated[
            Literal["datasheet", "calibrated", "measured"], Meta(description="how far to trust the times")
        ],
        "overlap": Annotated[
            Fraction, Meta(description="1: compute and memory overlap; 0: they add up; levels may have their own")
        ],
        "fusion": Annotated[
            list[str], Meta(description="what ran as one kernel, by pattern: the runtime's own, or --fusion's")
        ],
        "ridge_point": Annotated[float | None, Meta(description="peak OP/s over bandwidth, OP/B")],
        "calibration": CalibrationPart | None,
        "provenance": Annotated[list[Source], Meta(description="every number of the profile")],
    },
)


class Latency(TypedDict):
    """Seconds: the textbook roofline, and the expected time in its 80 % interval."""

    bound: Seconds
    lower: Seconds
    expected: Seconds
    upper: Seconds


class EnergyInterval(TypedDict):
    """Joules: the expected energy in its 80 % interval."""

    lower: Annotated[float, Meta(ge=0)]
    expected: Annotated[float, Meta(ge=0)]
    upper: Annotated[float, Meta(ge=0)]


class Share(TypedDict):
    """Fractions of the expected time; their sum is 1."""

    compute: Fraction
    memory: Fraction
    overhead: Fraction


class FieldPart(TypedDict):
    """What one position of a tensor sees of an input, one number an axis, in input positions.

    Position i sees `size` positions around start + i * stride; null: all of them, because of the node
    `unbounded_by`. Of such an axis the other numbers, and `bounded_size`, are those below that node.
    """

    input: str
    size: list[Extent]
    stride: list[float]
    start: list[float]
    padding: list[float]
    bounded_size: list[int]
    unbounded_by: str | None


class TotalsPart(TypedDict):
    """Sums of one run. What needs a machine is null without one."""

    macs: Count
    flops: Count
    ops: Count
    ops_by_dtype: dict[str, int]
    parameters: Annotated[Count, Meta(description="elements of the weights, each once")]
    auxiliary_parameters: Annotated[Count, Meta(description="shapes, axes, scales, zero points")]
    weight_bytes: Bytes
    weight_bytes_by_dtype: dict[str, int]
    activation_elements: Count
    activation_bytes: Bytes
    peak_activation_bytes: Annotated[Bytes, Meta(description="most bytes of activations alive at once")]
    peak_activation_at: Annotated[str, Meta(description="the kernel at which that is")]
    ram_bytes: Annotated[int | None, Meta(description="with weights where both share one memory")]
    flash_bytes: Annotated[int | None, Meta(description="null where weights share the RAM")]
    fits: Annotated[bool | None, Meta(description="null where the machine does not say how much it has")]
    bytes_moved: Bytes
    weight_bytes_read: Bytes
    activation_bytes_read: Bytes
    activation_bytes_written: Bytes
    arithmetic_intensity: Annotated[float | None, Meta(description="OPs a byte moved")]
    kernels: Annotated[Count, Meta(description="launches of one run; a kernel in a loop counts at each turn")]
    batch: Count
    latency_s: Latency | None
    run_overhead_s: Annotated[float | None, Meta(description="part of the latency that belongs to no kernel")]
    throughput_per_s: Annotated[float | None, Meta(description="inferences: batch / expected latency")]
    throughput_pipelined_per_s: Annotated[
        float | None, Meta(description="steady state when successive runs overlap: batch / slowest kernel")
    ]
    energy_j: float | None
    energy_interval_j: Annotated[EnergyInterval | None, Meta(description="null where energy_j is")]
    time_share: Share | None
    receptive_field: Annotated[
        dict[str, list[Extent]], Meta(description="by output: input elements one output element depends on")
    ]
    receptive_field_geometry: Annotated[dict[str, FieldPart], Meta(description="by output")]
    kv_cache_bytes: Bytes
    kv_cache_bytes_per_token: Annotated[
        int, Meta(ge=0, description="bytes by which the cache grows with each position")
    ]
    phase: Annotated[str | None, Meta(description="prefill or decode, where it was asked for")]
    context: Annotated[int | None, Meta(description="positions: new ones in prefill, in the cache in decode")]
    ttft_s: Annotated[Latency | None, Meta(description="time to first token: prefill of the context")]
    effective: Annotated[EffectivePart | None, Meta(description="null where weights were not read")]
    convention: Annotated[ConventionPart | None, Meta(description="null where none was asked for")]
    tpot_s: Annotated[Latency | None, Meta(description="time per output token: decode at the context")]


class EffectivePart(TypedDict):
    """What the weights' zeros leave, where weights were read. MACs of weights that were not count in full."""

    macs: Annotated[Count, Meta(description="without all-zero output channels, and channels constant for that")]
    macs_nonzero: Annotated[Count, Meta(description="without products with a single zero weight")]
    channels: Count
    zero_channels: Count
    elements: Count
    zero_elements: Count
    unread: Annotated[list[str], Meta(description="nodes whose weight was not read, each with the reason")]


class ConventionPart(TypedDict):
    """Totals as another tool counts them; null where it has no such figure."""

    name: str
    macs: int | None
    flops: Count
    parameters: Count
    differences: Annotated[list[str], Meta(description="what it counts otherwise, and what is assumed of it")]
    source: Annotated[str, Meta(description="where its rules were read: a repository at a commit, and the files")]


class UnmodelledPart(TypedDict):
    """An operator without a cost rule: its bytes count, its operations do not."""

    domain: str
    op: str
    count: Count
    nodes: list[str]


class CoveragePart(TypedDict):
    """Which part of the nodes, and of their bytes, has a cost rule."""

    nodes: Fraction
    bytes: Fraction
    unmodelled: list[UnmodelledPart]
    unknown_shapes: Annotated[list[str], Meta(description="tensors without a shape: they count as empty")]


class NodePart(TypedDict):
    """One node of the model. Its counts are its own, before fusion, for all its repeats."""

    name: str
    op: str
    domain: str
    path: Annotated[str, Meta(description="'graph', or through bodies of If, Loop and Scan")]
    inputs: Annotated[list[TensorPart | None], Meta(description="null for an operand left out")]
    outputs: list[TensorPart | None]
    macs: Count
    flops: Count
    ops: Count
    parameters: Annotated[Count, Meta(description="of weights as the node gets them; a shared one at each")]
    bytes_moved: Annotated[Bytes, Meta(description="by itself, before fusion into its kernel")]
    kernel: Annotated[int | None, Meta(description="null where it costs nothing, or runs as its bodies")]
    repeat: Count
    absorbed: Annotated[str | None, Meta(description="why it costs nothing of its own")]
    receptive_field: Annotated[list[Extent] | None, Meta(description="of its first output")]
    receptive_field_geometry: FieldPart | None


class KernelPart(TypedDict):
    """What is dispatched at once; for all its repeats. Times are null without a machine."""

    index: int
    name: Annotated[str, Meta(description="the node with most of the work")]
    nodes: list[str]
    op: str
    op_class: str
    dtype: str | None
    macs: Count
    flops: Count
    ops: Count
    bytes_moved: Bytes
    weight_bytes_read: Bytes
    activation_bytes_read: Bytes
    activation_bytes_written: Bytes
    arithmetic_intensity: float | None
    repeat: Count
    modelled: bool
    time_s: Latency | None
    compute_s: float | None
    memory_s: float | None
    weight_s: Annotated[float | None, Meta(description="the part of memory_s that reads weights")]
    activation_s: Annotated[float | None, Meta(description="the part of memory_s that moves activations")]
    overhead_s: float | None
    bound: Bound | None
    margin: Annotated[float | None, Meta(description="longer over shorter of compute and memory; null when one is 0")]
    weight_level: Annotated[str | None, Meta(description="the memory its weights come from")]
    activation_level: Annotated[str | None, Meta(description="the memory its activations are in")]
    peak_dtype: Annotated[str | None, Meta(description="the type whose peak it is timed with")]
    energy_j: float | None
    peak_live_bytes: Annotated[Bytes, Meta(description="activations alive while it runs")]


class Report(TypedDict):
    """One model, counted, and timed where a machine was given."""

    schema_version: Annotated[int, Meta(ge=1)]
    tool: Tool
    command: str
    model: ModelPart
    hardware: HardwarePart | None
    totals: TotalsPart
    coverage: CoveragePart
    assumptions: Annotated[list[str], Meta(description="values chosen where the model or profile gave none")]
    notes: list[str]
    nodes: list[NodePart]
    kernels: list[KernelPart]
    memory: Annotated[MemoryPart | None, Meta(description="null where it was not asked for (--memory)")]


class Results(TypedDict):
    """Several reports, in the order asked for."""

    schema_version: Annotated[int, Meta(ge=1)]
    tool: Tool
    command: str
    results: list[Report]
