"""Small snapshots for tests: kernels of one node each, times in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from efficiency_cli.judge.snapshot import (
    Coverage,
    Energy,
    HardwarePart,
    Kernel,
    Latency,
    ModelPart,
    Node,
    Snapshot,
    Tensor,
    Totals,
    Unmodelled,
)

BOARD = HardwarePart("board", "bare", "int8", "datasheet", "bare metal", "abc")


def latency(ms: float) -> Latency:
    """Bound half, lower 0.8 and upper twice what is expected."""
    return Latency(ms / 2e3, 0.8 * ms / 1e3, ms / 1e3, 2 * ms / 1e3)


def kernel(name: str, ms: float | None = None, op: str = "Conv", macs: int = 1000, **more: Any) -> Kernel:
    fields: dict[str, Any] = {"nodes": (name,), "peak_live_bytes": macs, "weight_bytes_read": macs // 10, **more}
    return Kernel(name, op, macs, 2 * macs, macs, time_s=latency(ms) if ms is not None else None, **fields)


def snapshot(
    kernels: Sequence[Kernel],
    *,
    path: str = "model.onnx",
    hardware: HardwarePart | None = BOARD,
    run_ms: float = 0.0,
    nodes: Sequence[Node] = (),
    unmodelled: int = 0,
    **totals: Any,
) -> Snapshot:
    """The totals are the kernels' sums, and `run_ms` that belong to none of them."""
    ms = sum(k.time_s.expected * 1e3 for k in kernels if k.time_s) + run_ms
    macs = sum(k.macs for k in kernels)
    found: dict[str, Any] = {
        "macs": macs,
        "flops": 2 * macs,
        "parameters": macs // 10,
        "weight_bytes": sum(k.weight_bytes_read for k in kernels),
        "peak_activation_bytes": max((k.peak_live_bytes for k in kernels), default=0),
        "bytes_moved": sum(k.bytes_moved for k in kernels),
        "kernels": len(kernels),
        "latency_s": latency(ms) if hardware else None,
        "energy_j": ms / 1e4 if hardware else None,
        "energy_interval_j": Energy(ms / 2e4, ms / 1e4, ms / 5e3) if hardware else None,
    }
    share = 1 - unmodelled / 10
    return Snapshot(
        model=ModelPart(path),
        totals=Totals(**found | totals),
        coverage=Coverage(share, 1.0, (Unmodelled("my.domain", "Fold", unmodelled),) if unmodelled else ()),
        kernels=tuple(kernels),
        hardware=hardware,
        nodes=tuple(nodes),
    )


def tensor(name: str, shape: tuple[int, ...] = (1, 8), dtype: str = "float32", kind: str = "activation") -> Tensor:
    return Tensor(name, shape, dtype, kind)


def node(name: str, op: str, inputs: Sequence[str | Tensor], outputs: Sequence[str | Tensor], ops: int = 100) -> Node:
    def tensors(names: Sequence[str | Tensor]) -> tuple[Tensor, ...]:
        return tuple(n if isinstance(n, Tensor) else tensor(n) for n in names)

    return Node(name, op, inputs=tensors(inputs), outputs=tensors(outputs), ops=ops)


def chain(*ops: str, prefix: str = "", names: Sequence[str] = (), width: int = 8) -> list[Node]:
    """Nodes one after the other, called PREFIX+OP_index unless named; tensors after the nodes."""
    found, last = [], tensor("x", (1, width), kind="input")
    for k, op in enumerate(ops):
        name = names[k] if names else f"{prefix}{op}_{k}"
        out = tensor(f"{name}:0", (1, width))
        found.append(node(name, op, [last], [out]))
        last = out
    return found
