"""Which kernel of the estimate is which of those that onnxruntime ran: by the names that its rewrites leave.

A rewritten node keeps the name of one it was made from, or of the tensor it makes, with something before or behind
it. What has no name of ours is the next kernel in order that makes such a result, or nobody's: layout reorders,
copies, views that the estimate does not have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from efficiency_cli.graph.model import Graph
from efficiency_cli.measure.host.profile_run import KernelRun
from efficiency_cli.roofline.latency import KernelTime

_BEFORE = re.compile(r"^(?:fused |nhwc_|reorder_|reshape_)", re.IGNORECASE)
_BEHIND = re.compile(
    r"(?:_token_\d+|_nchwc|_nhwc|_new_reshape|/duplicated|_duplicated|_quant|_\d+|/"
    r"|/?(?:MatMulAdd|LayerNorm|MatMulScale|MatMulTranspose|SkipLayerNorm|SkipLayerNormalization|Gelu|BiasGelu|FastGelu"
    r"|QuickGelu|Attention|SimplifiedLayerNorm|EmbedLayerNorm|ConvActivation|GemmActivation|MatMulBnFusion|BiasSoftmax"
    r"|MatMulActivation|MatMulInteger|DynamicQuantizeMatMul|MatMulIntegerToFloat|Reshape|Conv\w*|GemmTranspose)Fusion)$"
)
# shortening a name ends here
_MOST_STEPS = 8
# kernels looked ahead for one that makes a result of the same shape
_AHEAD = 12


class Pair(Struct, frozen=True):
    """A kernel of the estimate (None: it has no such) and those that onnxruntime ran for it, in seconds together."""

    estimate: KernelTime | None
    runs: tuple[KernelRun, ...]

    @property
    def measured_s(self) -> float:
        return sum(r.seconds for r in self.runs)

    @property
    def difference_s(self) -> float:
        """Estimate less measurement."""
        return (self.estimate.times.expected_s if self.estimate else 0.0) - self.measured_s


def paired(runs: Sequence[KernelRun], times: Sequence[KernelTime], graph: Graph) -> list[Pair]:
    """All kernels of both, the estimate's in order; first those of its own that it does not have at all."""
    homes = _homes(runs, times, graph)
    by_home: dict[int, list[KernelRun]] = {}
    for run, home in zip(runs, homes, strict=True):
        by_home.setdefault(-1 if home is None else home, []).append(run)
    alone = _by_op(by_home.pop(-1, []))
    return [*alone, *(Pair(t, tuple(by_home.get(k, ()))) for k, t in enumerate(times))]


def _by_op(runs: Sequence[KernelRun]) -> list[Pair]:
    """What the estimate does not have, together by operator."""
    found: dict[str, list[KernelRun]] = {}
    for run in runs:
        found.setdefault(run.op, []).append(run)
    return [Pair(None, tuple(these)) for these in found.values()]


def _homes(runs: Sequence[KernelRun], times: Sequence[KernelTime], graph: Graph) -> list[int | None]:
    names = _names(times, graph)
    homes = [_named(run.name, names) for run in runs]
    taken = {h for h in homes if h is not None}
    last = -1
    for k, run in enumerate(runs):
        home = homes[k]
        if home is None:
            home = homes[k] = _next_alike(run, last, times, taken, graph)
        if home is not None:
            taken.add(home)
            last = max(last, home)
    return homes


def _names(times: Sequence[KernelTime], graph: Graph) -> Mapping[str, int]:
    """Kernel by node and by tensor that a node of it makes."""
    of_node = {name: k for k, t in enumerate(times) for name in t.kernel.nodes}
    found: dict[str, int] = {}
    for node in graph.nodes:
        if node.name in of_node:
            found.update((o, of_node[node.name]) for o in node.outputs if o)
    return {**found, **of_node}


def _named(name: str, names: Mapping[str, int]) -> int | None:
    return next((names[candidate] for candidate in _candidates(name) if candidate in names), None)


def _candidates(name: str) -> Iterator[str]:
    """The name, and what is left of it when what rewrites add is taken off, one after the other."""
    for _ in range(_MOST_STEPS):
        yield name
        yield _BEFORE.sub("", name)
        shorter = _BEHIND.sub("", name)
        if shorter == name:
            return
        name = shorter


def _next_alike(run: KernelRun, last: int, times: Sequence[KernelTime], taken: set[int], graph: Graph) -> int | None:
    """The next kernel that nobody has yet, makes a result of this shape and is of this operator."""
    for k in range(last + 1, min(last + 1 + _AHEAD, len(times))):
        kernel = times[k].kernel
        if k in taken or not (run.op in kernel.ops_named or run.op in kernel.op or len(kernel.nodes) > 2):
            continue
        shapes = {
            "x".join(map(str, t.shape))
            for key in kernel.writes
            if (t := graph.tensors.get(key.rpartition(":")[2])) is not None and t.shape is not None
        }
        if any(made.rpartition(" ")[2] in shapes for made in run.outputs):
            return k
    return None
