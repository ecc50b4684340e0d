"""Kernels of all graphs of ../shared/models: the file's nodes, ours for onnxruntime, and onnxruntime's own graph.

    python tests/fusion_table.py [WORD...]      Markdown on standard output; only names that hold a WORD

Weights are invented, and symbolic sizes stay so, as in a usual run. `test_fusion_exports.py` holds what it says.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import onnx
from model_table import MODELS, read, table
from msgspec import Struct

from efficiency_cli.errors import EffcliError
from efficiency_cli.graph.execution import VIEWS
from efficiency_cli.measure.host.weights import absent_weights, random_files
from efficiency_cli.roofline.estimate import count

_INTEGER = frozenset(
    """QLinearConv QGemm QLinearMatMul MatMulIntegerToFloat DynamicQuantizeMatMul ConvInteger MatMulInteger
    DynamicQuantizeLSTM""".split()
)
_FLOAT = frozenset("Conv Gemm MatMul FusedConv FusedGemm FusedMatMul ConvTranspose MatMulNBits".split())
_MOST_BYTES = 2**32


class Kernels(Struct, frozen=True):
    """How many run, and how many of them are products of integers and of floats."""

    all: int
    integer: int
    floating: int


class Row(Struct, frozen=True):
    """One file; `own` is None where onnxruntime does not take the graph."""

    file: str
    raw: int
    ours: Kernels
    own: Kernels | None

    @property
    def off(self) -> float | None:
        """By which part of onnxruntime's kernels ours are more or less."""
        return None if self.own is None else (self.ours.all - self.own.all) / self.own.all


@cache
def row_of(file: str) -> Row:
    network = count(read(file))
    kernels = network.kernels(["onnxruntime"])
    shown = [k for k in kernels if not k.op.startswith("Reorder")]
    integer = sum(k.macs > 0 and k.dtype is not None and k.dtype.is_integer for k in shown)
    ours = Kernels(len(shown), integer, sum(k.macs > 0 for k in shown) - integer)
    return Row(file, len(network.kernels(())), ours, _own(file))


def _own(file: str) -> Kernels | None:
    """Of the graph that onnxruntime writes with all optimisations, views and reorderings left out."""
    graph = optimised(file)
    if graph is None:
        return None
    ops = [n.op_type for n in graph.node if n.op_type not in VIEWS and not n.op_type.startswith("Reorder")]
    return Kernels(len(ops), sum(op in _INTEGER for op in ops), sum(op in _FLOAT for op in ops))


def optimised(file: str) -> onnx.GraphProto | None:
    """That graph, with invented weights; None where onnxruntime refuses it."""
    import onnxruntime as ort  # not installed everywhere

    model = read(file)
    path = str(MODELS / file)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    absent = absent_weights(path, model)
    files = random_files(absent, model, most_bytes=_MOST_BYTES) if absent else {}
    if files:
        contents = list(files.values())
        options.add_external_initializers_from_files_in_memory(list(files), contents, [len(f) for f in contents])
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "optimised.onnx"
        options.optimized_model_filepath = str(written)
        try:
            ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception:  # its own types, one a cause
            return None
        return onnx.load(written, load_external_data=False).graph


def lines(words: Sequence[str]) -> Iterator[str]:
    """The table in Markdown, and how many models are how close."""
    yield "| file | nodes alone | ours | onnxruntime | off | integer products | theirs | float products | theirs |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    found = []
    for file in sorted(table()):
        if not words or any(word in file for word in words):
            try:
                row = row_of(file)
            except EffcliError as error:
                yield f"| {file} | {error} |"
                continue
            found.append(row)
            yield _line(row)
    compared = [abs(row.off) for row in found if row.off is not None]
    for limit in (0, 0.02, 0.05):
        near = sum(off <= limit for off in compared)
        yield f"\nwithin {limit:.0%}: {near} of {len(compared)} ({near / max(1, len(compared)):.0%})"


def _line(row: Row) -> str:
    if row.own is None or row.off is None:
        return f"| {row.file} | {row.raw} | {row.ours.all} | refused | | {row.ours.integer} | | {row.ours.floating} | |"
    products = f"{row.ours.integer} | {row.own.integer} | {row.ours.floating} | {row.own.floating}"
    return f"| {row.file} | {row.raw} | {row.ours.all} | {row.own.all} | {row.off:+.1%} | {products} |"


if __name__ == "__main__":
    for line in lines(sys.argv[1:]):
        print(line, flush=True)
