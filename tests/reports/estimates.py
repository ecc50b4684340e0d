"""Estimates that the tests of reports draw: the samples, and a model whose every name is an attack."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import onnx
from msgspec.structs import replace
from onnx import TensorProto, helper

from efficiency_cli.graph.read import read_model
from efficiency_cli.hardware.load import load_profile
from efficiency_cli.roofline.estimate import Estimate, estimate

SAMPLES = Path(__file__).parents[2] / "samples"
VWW = "vww_mobilenetv1_int8.onnx"
MOBILENET = "mobilenet_v2.onnx"

HOSTILE = (
    "[/layer/conv]",
    "[bold red]markup[/]",
    "\x1b[31mred",
    "=cmd()",
    "+1+1",
    "-1-1",
    "@SUM(A1)",
    "\t=tab()",
    "\r=return()",
    "two\nlines",
    "\u202egnp.exe",
    "zero\u200bwidth\u2066",
    "a|b`c``d",
    "<script>alert(1)</script>",
    "[text](https://example.org) ![image](x)",
    "@someone www.example.org **bold** _em_ ~~gone~~ \\",
    "</code></details>",
    'quote","comma',
    "層/畳み込み" * 12,
    "n" * 10_000,
)


@cache
def sample(name: str, hardware: str | None = None, dims: tuple[tuple[str, int], ...] = ()) -> Estimate:
    """A sample's estimate; the same object at every call. Its path is as long wherever the project is."""
    profile = load_profile(hardware) if hardware else None
    model = replace(read_model(str(SAMPLES / name), dims=dict(dims)), path=f"samples/{name}")
    return estimate(model, profile)


def hostile(folder: Path, hardware: str | None = "cortex-m7") -> Estimate:
    """A chain of one Relu a hostile name, its tensors named alike, and an unknown operator at its end."""
    tensors = [f"in{HOSTILE[2]}", *(f"t{name}" for name in HOSTILE)]
    nodes = [
        helper.make_node("Relu", [a], [b], name=name) for name, a, b in zip(HOSTILE, tensors, tensors[1:], strict=False)
    ]
    nodes.append(helper.make_node("=Op()", [tensors[-1]], ["=out\x1b[0m"], "unknown", domain="[b]dom\x1b|"))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [value(tensors[0], TensorProto.FLOAT, ["ba\x1b[1mtch", 8])],
        [value("=out\x1b[0m", TensorProto.FLOAT, [1, 8])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("[b]dom\x1b|", 1)]
    path = folder / "mo<b>del`.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())
    onnx.load(path)
    return estimate(read_model(str(path)), load_profile(hardware) if hardware else None)
