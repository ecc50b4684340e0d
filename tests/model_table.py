"""A table of all graphs of ../shared/models beside PyTorch's own counts, with the reason of every difference.

    python tests/model_table.py            Markdown on standard output

`test_models.py` holds what it says.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import onnx
from msgspec import Struct

import efficiency_cli as eff

MODELS = Path(__file__).resolve().parents[2] / "shared" / "models"
# tokens in the cache where a row of the table does not say (the other decoders' rows do)
PAST = 128


def gpt2(tokens: int, keys: int) -> int:
    """4 layers of 768, 8,000 words: projections and feed-forward 12·d² a token, scores and their use 2·d a pair."""
    return tokens * (4 * 12 * 768**2 + 8000 * 768) + 4 * 2 * tokens * keys * 768


def llama(tokens: int, keys: int) -> int:
    """6 layers of 288 with a gated feed-forward of 768, 32,000 words."""
    return tokens * (6 * (4 * 288**2 + 3 * 288 * 768) + 32000 * 288) + 6 * 2 * tokens * keys * 288


# the reference has no count for these: by hand
BY_HAND = {
    **{f"gpt2_small4.hfgen{kind}_prefill.onnx": gpt2(128, 128) for kind in ("", "_cpu", "_cuda")},
    **{f"gpt2_small4.hfgen{kind}_decode.onnx": gpt2(1, PAST + 1) for kind in ("", "_cpu", "_cuda")},
    **{f"llama_15m.hfgen{kind}_prefill.onnx": llama(128, 128) for kind in ("", "_cpu", "_cuda")},
    **{f"llama_15m.hfgen{kind}_decode.onnx": llama(1, PAST + 1) for kind in ("", "_cpu", "_cuda")},
    "llama_15m.gqa_nb4.onnx": llama(1, PAST + 1),
}
# MACs that PyTorch does not count, or that are not in the file
MACS_DIFFER = {
    "rnn_tanh.dynamo.onnx": (-64 * 64, "the first step's product with a zero state is folded away"),
    # channels of the squeezed layers x what is missing to a multiple of 8
    "efficientnet_b0.ort_all.onnx": (
        96 * 4 + 2 * 144 * 2 + 2 * 240 * 6 + 2 * 3 * (480 * 4 + 672 * 4),
        "onnxruntime pads the squeezed channels to blocks of 8",
    ),
}

_STORED_ONCE = "equal tensors are stored once, biases of zero left out"
# why parameters differ: the first pattern that fits the file's name, the least and the most that they may differ by
# in parts of PyTorch's count, and the reason
PARAMETERS_DIFFER = (
    (r"rnn_tanh\.dynamo", (10, 12), "each unrolled step has its copy of the recurrent weight"),
    (r"googlenet\.", (-0.5, -0.49), "the auxiliary classifiers are not exported"),
    (
        r"gpt2.*\.(nb4|ortopt|\w+_(ts14|symshape|ortopt))",
        (0.1, 0.32),
        "tied words stored twice",
    ),
    (r"llama_15m\.nocache_static", (0, 0.003), "rotary tables are computed before the export"),
    (r"llama_15m\.", (-0.0002, 0), "equal norms are stored once; rotary frequencies are no parameters in PyTorch"),
    (r"swin_t\.", (0, 0.011), "position biases are stored as they are added, once for each pair"),
    (r"efficientnet_b0\.ort_all", (0, 0.0001), "padded channels, and BatchNorms folded into convolutions"),
    (r"resnet18\.(ts13_bn|ts7)", (-0.001, 0), f"its new BatchNorms are equal: {_STORED_ONCE}"),
    (r"resnet18\.dynamo_noopt", (0, 0.0000002), "a scalar that PyTorch has as a number"),
    (r"(bert|distilbert|gpt2|vit_tiny|squeezenet|srnet)", (-0.006, 0), _STORED_ONCE),
)
# BatchNorms that are folded: a scale and a shift become one bias
_FOLDED = "BatchNorms are folded into the layer before them"


class Row(Struct, frozen=True):
    """One file: our counts, PyTorch's, and why they differ ('' where they do not)."""

    file: str
    macs: int
    expected_macs: int
    macs_why: str
    parameters: int
    expected_parameters: int
    parameters_why: str
    estimate: eff.Estimate


@cache
def table() -> dict[str, dict[str, str]]:
    path = MODELS / "reference.csv"
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def read(name: str) -> eff.Model:
    """The model with its inputs as the table was made with, by position."""
    path = MODELS / name
    graph = onnx.load(path, load_external_data=False).graph
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in stored]
    if "decode" in name or "gqa" in name:  # their rows repeat the prefill's inputs
        return eff.read_model(str(path), dims={"s16": PAST})
    shapes = [shape for _, shape in json.loads(table()[name]["inputs"])]
    return eff.read_model(str(path), shapes={v.name: s for v, s in zip(inputs, shapes, strict=True)})


def row_of(name: str, machine: eff.Profile | None = None) -> Row:
    """One line of the table, with the estimate that it is of."""
    estimate = eff.estimate(read(name), machine)
    reference = table()[name]
    totals = estimate.totals
    macs = BY_HAND.get(name) or int(float(reference["macs_flopcounter"]))
    parameters = int(reference["params"])
    return Row(
        file=name,
        macs=totals.macs,
        expected_macs=macs,
        macs_why=MACS_DIFFER[name][1] if name in MACS_DIFFER else "",
        parameters=totals.parameters,
        expected_parameters=parameters,
        parameters_why=parameters_why(name, totals.parameters - parameters),
        estimate=estimate,
    )


def parameters_why(name: str, difference: int) -> str:
    """Why the parameters differ from PyTorch's; '' where they do not, or for no known reason."""
    reference = table()[name]
    share = difference / int(reference["params"])
    for pattern, (least, most), reason in PARAMETERS_DIFFER:
        if re.match(pattern, name):
            return reason if difference and least <= share <= most else ""
    # two buffers a channel (and one a BatchNorm): a scale, or a scale and a shift less, and what is stored once
    channels = int(reference["buffers"]) // 2
    folds = difference < 0 and -2 * channels / int(reference["params"]) - 0.0045 <= share
    return f"{_FOLDED}; {_STORED_ONCE}" if folds else ""


def lines() -> Iterator[str]:
    """The table in Markdown."""
    yield "| file | MACs | PyTorch | difference | why | parameters | PyTorch | difference | why |"
    yield "|---|---:|---:|---:|---|---:|---:|---:|---|"
    for name in sorted(table()):
        row = row_of(name)
        macs = f"{row.macs:,} | {row.expected_macs:,} | {row.macs - row.expected_macs:,} | {row.macs_why}"
        less = row.parameters - row.expected_parameters
        parameters = f"{row.parameters:,} | {row.expected_parameters:,} | {less:,} | {row.parameters_why}"
        yield f"| {name} | {macs} | {parameters} |"


if __name__ == "__main__":
    for line in lines():
        print(line)
