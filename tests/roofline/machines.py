"""Machines and kernels of round numbers, built without YAML and without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import strategies as st

from efficiency_cli.graph.model import DType, OpClass
from efficiency_cli.hardware.profile import (
    Dispatch,
    Energy,
    Interval,
    MemoryLevel,
    Peaks,
    Profile,
    Quantity,
    Runtime,
)
from efficiency_cli.roofline.latency import Machine
from efficiency_cli.roofline.network import Kernel

BOTH = ("weights", "activations")


def q(value: float) -> Quantity:
    return Quantity(value, f"{value:g}", "test", "derived")


def level(
    name: str,
    bandwidth: float,
    size: float | None = None,
    holds: Sequence[str] = BOTH,
    overlap: float | None = None,
) -> MemoryLevel:
    own = q(overlap) if overlap is not None else None
    return MemoryLevel(name, q(bandwidth), tuple(holds), q(size) if size is not None else None, overlap=own)


def profile(
    *,
    peaks: Mapping[str, float | tuple[float, float]] | None = None,
    memory: Sequence[MemoryLevel] = (),
    overlap: float = 1.0,
    kernel_s: float = 0.0,
    run_s: float = 0.0,
    efficiency: Mapping[str, float] | None = None,
    fusion: Sequence[str] = ("bias", "activation", "add", "pad"),
    interval: tuple[float, float] | None = None,
    energy: Energy | None = None,
) -> Profile:
    """`peaks`: by type, one number, or a matrix and a vector peak."""
    compute = {
        dtype: Peaks(q(peak)) if isinstance(peak, float | int) else Peaks(q(peak[0]), q(peak[1]))
        for dtype, peak in (peaks or {"float32": 100.0}).items()
    }
    runtime = Runtime(
        id="plain",
        name="Plain 1",
        grade="datasheet",
        overlap=q(overlap),
        dispatch=Dispatch(q(kernel_s), q(run_s)),
        efficiency={name: q(value) for name, value in (efficiency or {}).items()},
        fusion=tuple(fusion),
        interval=Interval(q(interval[0]), q(interval[1])) if interval else None,
    )
    return Profile(
        id="test",
        path="test.yaml",
        schema_version="1",
        name="Test",
        machine_class="cpu",
        sources={},
        compute=compute,
        memory=tuple(memory) or (level("ram", 10.0),),
        default_runtime="plain",
        runtimes=(runtime,),
        energy=energy,
    )


def kernel(
    *,
    ops: int = 0,
    macs: int = 0,
    weights: int = 0,
    read: int = 0,
    written: int = 0,
    op_class: OpClass = OpClass.DENSE,
    dtype: DType | None = DType.FLOAT32,
    repeat: int = 1,
    name: str = "k",
    reads: Mapping[str, int] | None = None,
    writes: Mapping[str, int] | None = None,
) -> Kernel:
    """Counts are those of all repeats together, as everywhere."""
    return Kernel(
        index=0,
        name=name,
        nodes=(name,),
        ops_named=("Op",),
        op="Op",
        op_class=op_class,
        dtype=dtype,
        macs=macs,
        ops=ops,
        weight_bytes=weights,
        read_bytes=read,
        written_bytes=written,
        weights={},
        reads=reads or {},
        writes=writes or {},
        repeat=repeat,
        modelled=True,
    )


sizes = st.integers(0, 10**9)
kernels = st.builds(
    kernel,
    ops=sizes,
    weights=sizes,
    read=sizes,
    written=sizes,
    op_class=st.sampled_from(list(OpClass)),
    dtype=st.sampled_from([None, DType.FLOAT32, DType.INT8, DType.UINT8, DType.FLOAT16, DType.INT64]),
    repeat=st.integers(1, 5),
)

rates = st.floats(1e3, 1e15)
fractions = st.floats(0.01, 1.0)
efficiencies = st.dictionaries(st.sampled_from([*(c.value for c in OpClass), "memory"]), fractions)


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    """Any machine of one to three memory levels, nearest and smallest first."""
    limits = sorted(draw(st.lists(st.integers(1, 10**10), min_size=0, max_size=2)))
    own = st.one_of(st.none(), st.floats(0, 1))
    memory = [level(f"m{k}", draw(rates), size, overlap=draw(own)) for k, size in enumerate(limits)]
    last = draw(st.one_of(st.none(), st.integers(10**6, 10**11)))
    memory.append(level("last", draw(rates), last, overlap=draw(own)))
    peak = st.one_of(rates, st.tuples(rates, rates))
    return profile(
        peaks=draw(st.dictionaries(st.sampled_from(["float32", "float16", "int8", "int16"]), peak, min_size=1)),
        memory=memory,
        overlap=draw(st.floats(0, 1)),
        kernel_s=draw(st.floats(0, 1e-3)),
        run_s=draw(st.floats(0, 1e-3)),
        efficiency=draw(efficiencies),
        interval=draw(st.one_of(st.none(), st.tuples(fractions, st.floats(1.0, 10.0)))),
    )


def machine(given: Profile, overlap: float | None = None) -> Machine:
    return Machine.of(given, None, overlap)
