"""Fusion on graphs that real exporters wrote: work that no pattern changes, and what onnxruntime itself makes of them.

Skipped where ../shared is absent; the comparison with onnxruntime where that is not installed.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from fusion_table import row_of
from model_table import MODELS, read, table
from onnx import TensorProto, helper

import efficiency_cli as eff
from efficiency_cli.graph.execution import VIEWS
from efficiency_cli.graph.patterns import PATTERNS, SETS, expanded
from efficiency_cli.roofline.estimate import count
from efficiency_cli.roofline.network import Network

SAMPLES = Path(__file__).parents[1] / "samples"
present = pytest.mark.skipif(not table(), reason="needs ../shared/models")
# one of each kind: exporters, families, quantisations, what onnxruntime's tools wrote, control flow
KINDS = """bert_base.ts17dyn bert_base.hf_cpu bert_base.dynq_s8 bert_base.ortopt vit_tiny_patch16_224.dynamo
    vit_tiny_patch16_224.qdq_u8s8_pc vit_tiny_patch16_224.qop_u8s8_pc swin_t.dynamo gpt2_small4.past_dyn
    gpt2_small4.past_ortopt llama_15m.nocache_ts17dyn llama_15m.past_nb4_sym32 llama_15m.hfgen_cuda_prefill
    efficientnet_b0.ts14 efficientnet_b0.ort_all mobilenet_v2.ort_extended mobilenet_v2.fp16_ort mobilevit_s.dynamo
    deeplabv3_mobilenet_v3_large.ts13 vww_mobilenetv1_025.nhwc_ts13 kws_dscnn.qdq_u16s8 resnet18.ts13_bn
    shufflenet_v2_x1_0.dynamo lstm_lm.dynq_s8 gru_bi.ts14 tcn.ts13 unet_small.dynamo
    fasterrcnn_mnv3_320.ts13""".split()
LISTS = [*((name,) for name in (*PATTERNS, *SETS)), tuple(PATTERNS)]


def network(name: str) -> Network:
    return count(read(f"{name}.onnx"))


def kernels(name: str, *patterns: str) -> int:
    """Launches, without the reorderings of blocked layouts that only onnxruntime's own graphs hold."""
    return sum(not k.op.startswith("Reorder") for k in network(name).kernels(patterns))


# patterns that decide which nodes run, and not only which run together
DECIDING = frozenset({"qdq-units", "qdq-unsigned", "qdq-nhwc"})


def check(found: Network) -> None:
    macs = sum(k.macs for k in found.kernels(()))
    for patterns in LISTS:
        alone = found.kernels(expanded(patterns) & DECIDING)
        ops, moved = (sum(getattr(k, what) for k in alone) for what in ("ops", "bytes_moved"))
        nodes = Counter(n for k in alone for n in k.nodes)
        assert set(nodes.values()) <= {1}
        fused = found.kernels(patterns)
        assert (sum(k.macs for k in fused), sum(k.ops for k in fused)) == (macs, ops), patterns
        assert len(fused) <= len(alone), patterns
        assert sum(k.bytes_moved for k in fused) <= moved, patterns
        # each node in one kernel at most: what is in none is a Transpose or a Cast that the runtime spares
        named = Counter(n for k in fused for n in k.nodes)
        assert named <= nodes, patterns


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.onnx")), ids=lambda p: p.stem)
def test_the_work_of_a_sample_is_the_same_however_it_is_fused(path: Path) -> None:
    cache = {"past_sequence_length": 128, "total_sequence_length": 129}
    dims = {"bert_small": {"sequence": 128}, "decoder_kv": {"sequence": 1, **cache}}
    model = eff.read_model(str(path), dims=dims.get(path.stem, {}))
    check(count(model))


@present
@pytest.mark.parametrize("name", KINDS)
def test_the_work_of_an_export_is_the_same_however_it_is_fused(name: str) -> None:
    check(network(name))


# --- one network, raw and as onnxruntime's optimisers wrote it ---


@present
@pytest.mark.parametrize(
    ("optimised", "raw", "off"),
    [
        # the runtime's own graphs, reorderings between layouts left out
        ("resnet50.ort_all", "resnet50.dynamo", 0),
        ("resnet50.ort_extended", "resnet50.dynamo", 0),
        ("mobilenet_v2.ort_all", "mobilenet_v2.ts17", 0),
        ("mobilenet_v2.ort_extended", "mobilenet_v2.ts17", 0),
        ("efficientnet_b0.ort_all", "efficientnet_b0.dynamo", 0),
        ("lstm_lm.ort_all", "lstm_lm.ts14", 0),
        # quantised: operators with quantised forms against Q/DQ around the plain ones
        ("resnet50.qop_u8s8_pc", "resnet50.qdq_u8s8_pc", 0),
        ("mobilenet_v2.qop_u8u8", "mobilenet_v2.qdq_u8s8_pc", 0),
        # its transformer optimiser: 25 layer normalisations, 12 GELUs
        ("vit_tiny.ortopt", "vit_tiny_patch16_224.dynamo", 1),
    ],
)
def test_the_optimised_and_the_raw_graph_have_the_same_kernels(optimised: str, raw: str, off: int) -> None:
    one, other = kernels(optimised, "onnxruntime"), kernels(raw, "onnxruntime")
    assert abs(one - other) <= off
    # and that is the patterns' doing
    assert kernels(raw) > other or "lstm" in raw or "q" in raw.partition(".")[2]


@present
def test_attention_by_the_transformer_optimiser() -> None:
    """BERT of 12 layers, each: projections, attention, output, two feed-forward products, GELU, two normalisations."""
    fused = "onnxruntime-transformers"
    assert kernels("bert_base.ortopt", fused) == pytest.approx(kernels("bert_base.static128", fused), rel=0.06)
    # MultiHeadAttention and attention that is written out, in one export of the same exporter
    assert kernels("bert_base.hf_cuda", fused) == kernels("bert_base.hf_cpu", fused)
    ops = Counter(k.op for k in network("bert_base.static128").kernels([fused]))
    assert ops["Attention"] == 12


# --- what onnxruntime itself makes of a raw graph ---

# all that the extended optimisations do; blocked layouts, in which sums join, come later
EXTENDED = tuple(p for p in SETS["onnxruntime"] if p != "conv-add")
# kernels that differ, and why
SAME = {
    "distilbert.static128": 0,
    "gpt2_small4.nocache_static128": 0,
    "resnet18.ts13": 0,
    "googlenet.dynamo": 0,
    "squeezenet1_1.ts13": 0,
    "densenet121.dynamo": 0,
    "mobilenet_v2.dynamo": 0,
    "efficientnet_b0.dynamo": 0,
    "shufflenet_v2_x1_0.dynamo": 0,
    "seresnet50.dynamo": 0,
    "r3d_18.dynamo": 0,
    "unet_small.dynamo": 0,
    "rnn_tanh.dynamo": 0,
    "llama_15m.past_static_s1_p128": 0,
    # onnxruntime pushes a Transpose through the slices behind it: two more in each of 12 blocks
    "vit_tiny_patch16_224.dynamo": 2 * 12,
    "vit_tiny_patch16_224.ts14": 2 * 12,
    "vit_tiny_patch16_224.ts17": 2 * 12,
}


@present
@pytest.mark.parametrize("name", SAME)
def test_onnxruntime_s_own_graph_has_as_many_nodes_as_we_have_kernels(name: str, tmp_path: Path) -> None:
    assert optimised(name, tmp_path) - len(network(name).kernels(EXTENDED)) == SAME[name]


# --- quantised networks: the whole plan ---

STATIC = [name for name in sorted(table()) if ".qdq_" in name or ".qop_" in name]


@present
@pytest.mark.parametrize("file", [*STATIC, "lstm_lm.dynq_s8.onnx"])
def test_a_quantised_network_has_onnxruntime_s_kernels(file: str) -> None:
    """All of them, and of the products as many in integers and in floating point."""
    pytest.importorskip("onnxruntime")
    row = row_of(file)
    assert row.ours == row.own


# by how much ours are more or less than onnxruntime's kernels, and why
DYNAMIC = {
    # Transposes pushed through the slices behind them: two more in each of 12 blocks
    "vit_tiny.dynq_s8.onnx": -2 * 12,
    # as above: one in each of 6 blocks
    "llama_15m.past_dynq_s8.onnx": -6,
}


@present
@pytest.mark.parametrize("file", DYNAMIC)
def test_a_dynamically_quantised_network_has_onnxruntime_s_products(file: str) -> None:
    pytest.importorskip("onnxruntime")
    row = row_of(file)
    assert row.own is not None
    assert (row.ours.integer, row.ours.floating) == (row.own.integer, row.own.floating)
    assert row.ours.all - row.own.all == DYNAMIC[file]


def optimised(name: str, folder: Path) -> int:
    """Nodes, views left out, of the graph that onnxruntime's extended optimisations make, with numbers for weights."""
    ort = pytest.importorskip("onnxruntime")
    model = onnx.load(MODELS / f"{name}.onnx", load_external_data=False)
    stored = [a.t for n in model.graph.node for a in n.attribute if a.HasField("t")]
    for tensor in (*model.graph.initializer, *stored):
        if tensor.data_location == TensorProto.EXTERNAL:
            _fill(tensor)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    onnx.save(model, folder / "raw.onnx")
    ort.InferenceSession(str(folder / "raw.onnx"), options, providers=["CPUExecutionProvider"])
    graph = onnx.load(folder / "optimised.onnx").graph
    return sum(node.op_type not in VIEWS for node in graph.node)


def _fill(tensor: TensorProto) -> None:
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    numbers = np.linspace(0.01, 0.11, int(np.prod(tensor.dims)))
    del tensor.external_data[:]
    tensor.ClearField("data_location")
    tensor.raw_data = (numbers if dtype.kind == "f" else numbers * 40 + 1).astype(dtype).tobytes()
