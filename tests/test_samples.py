"""The sample models: rebuilt as committed, small, valid, runnable, and with the published counts.

The expected counts are worked out here by hand or from the shapes in the file, not by the tool under test.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import efficiency_cli as eff

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "samples"
SHARED_MODELS = ROOT.parent / "shared" / "data" / "mcu" / "models"
NAMES = sorted(path.stem for path in SAMPLES.glob("*.onnx"))
SIZE_LIMIT = 500_000

# What the symbolic dimensions stand for: BERT on 128 tokens, the decoder on one token after 128 cached ones.
DIMS = {
    "bert_small": {"batch": 1, "sequence": 128},
    "decoder_kv": {"batch": 1, "sequence": 1, "past_sequence_length": 128, "total_sequence_length": 129},
}

# MobileNetV1 x 0.25 on 96x96: stem, then a 3x3 depthwise and a 1x1 convolution at each (plane, in, out)
VWW_BLOCKS = (
    (48, 8, 16), (24, 16, 32), (24, 32, 32), (12, 32, 64), (12, 64, 64), (6, 64, 128),
    *((6, 128, 128),) * 5, (3, 128, 256), (3, 256, 256),
)  # fmt: skip
MACS = {
    "vww_mobilenetv1": 48 * 48 * 8 * 3 * 9 + sum(p * p * (i * 9 + i * o) for p, i, o in VWW_BLOCKS) + 256 * 2,
    "kws_dscnn": 25 * 5 * 64 * (10 * 4) + 4 * 25 * 5 * 64 * (9 + 64) + 64 * 12,
    "ic_resnet8": (
        32 * 32 * 16 * 9 * (3 + 16 + 16)
        + 16 * 16 * 32 * (9 * 16 + 9 * 32 + 16)
        + 8 * 8 * 64 * (9 * 32 + 9 * 64 + 32)
        + 64 * 10
    ),
    "ad_autoencoder": 2 * 640 * 128 + 6 * 128 * 128 + 2 * 128 * 8,
    "mobilenet_v2": 300_774_272,  # torchvision's table: 0.301 GMACs
    "resnet50": 4_089_184_256,  # torchvision's table: 4.09 GMACs
    "bert_small": 4 * (128 * (4 * 512**2 + 2 * 512 * 2048) + 2 * 128**2 * 512) + 512**2,
    "decoder_kv": 6 * (4 * 288**2 + 3 * 288 * 768 + 2 * 129 * 288) + 288 * 32000,
}
# Keras' "total params" of MLPerf Tiny's models: trainable ones and the statistics of batch normalisation
KERAS_TOTALS = {
    "vww_mobilenetv1_float": 221_794,
    "kws_dscnn_float": 24_908,
    "ic_resnet8_float": 78_666,
    "ad_autoencoder_float": 269_992,
}
# Normalised channels: two statistics each are not parameters, two parameters each vanish when it is folded.
NORMALISED = {
    "vww_mobilenetv1": 8 + sum(i + o for _, i, o in VWW_BLOCKS),
    "kws_dscnn": 9 * 64,
    "ic_resnet8": 3 * 16 + 2 * 32 + 2 * 64,
    "ad_autoencoder": 8 * 128 + 8,
}
PARAMETERS = {
    **{name: total - 2 * NORMALISED[name.removesuffix("_float")] for name, total in KERAS_TOTALS.items()},
    **{
        name.replace("_float", "_int8"): total - 4 * NORMALISED[name.removesuffix("_float")]
        for name, total in KERAS_TOTALS.items()
    },
    "mobilenet_v2": 3_504_872,  # torchvision MobileNet_V2_Weights.IMAGENET1K_V1, num_params
    "resnet50": 25_557_032,  # torchvision ResNet50_Weights.IMAGENET1K_V1, num_params
    "bert_small": ((30522 + 512 + 2 + 2) * 512 + 4 * (12 * 512**2 + (4 + 4 + 1 + 4) * 512) + 512 * 512 + 512),
    "decoder_kv": 2 * 32000 * 288 + 6 * (4 * 288**2 + 3 * 288 * 768 + 2 * 288) + 288,
}
# A buffer that enters the arithmetic as a weight does, so that no reader of the graph can tell it from one:
# the decoder's 24 rotary frequencies (48 numbers a head, two of each frequency).
BUFFERS = {"decoder_kv": 48 // 2}
TRAINED = ("weight", "bias", "weight_quantized", "bias_quantized")
STATISTICS = ("running_mean", "running_var")


def load(name: str) -> onnx.ModelProto:
    return onnx.load(SAMPLES / f"{name}.onnx", load_external_data=False)


def network(name: str) -> str:
    """The network that a sample is a float or int8 form of."""
    return name.removesuffix("_float").removesuffix("_int8")


def rebuild(folder: Path, *arguments: str, seed: str = "0") -> None:
    command = [sys.executable, str(SAMPLES / "build.py"), "--out", str(folder), *arguments]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONHASHSEED": seed})


def elements(model: onnx.ModelProto, roles: tuple[str, ...]) -> int:
    """Elements of the initializers whose name ends in one of `roles`."""
    tensors = (t for t in model.graph.initializer if t.name.rpartition(".")[2] in roles)
    return sum(math.prod(tensor.dims) for tensor in tensors)


def bound(name: str) -> onnx.ModelProto:
    """The sample with its symbolic dimensions set and every shape inferred."""
    model, dims = load(name), DIMS.get(name, {})
    for value in [*model.graph.input, *model.graph.output]:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_value = dims[dim.dim_param]
    return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)


def shapes_of(model: onnx.ModelProto) -> dict[str, list[int]]:
    graph = model.graph
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in [*graph.input, *graph.value_info, *graph.output]:
        shapes[value.name] = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    return shapes


def hand_macs(model: onnx.ModelProto, shapes: dict[str, list[int]]) -> int:
    """Output elements times the length of the dot product behind each of them."""
    total = 0
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            left, right = shapes[node.input[0]], shapes[node.input[1]]
            length = math.prod(right[1:]) if node.op_type == "Conv" else left[-1]
            total += math.prod(shapes[node.output[0]]) * length
    return total


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    rebuild(folder)
    return folder


def test_the_hand_calculations_give_the_published_figures() -> None:
    assert [MACS[n] for n in ("vww_mobilenetv1", "kws_dscnn", "ic_resnet8", "ad_autoencoder")] == [
        7_489_664,
        2_656_768,
        12_501_632,
        264_192,
    ]
    assert PARAMETERS["bert_small"] == 28_763_648  # google-research/bert says 28.8 M
    assert MACS["decoder_kv"] == 15_633_792


def test_every_sample_is_committed_and_listed(rebuilt: Path) -> None:
    assert sorted(path.stem for path in rebuilt.glob("*.onnx")) == NAMES
    readme = (SAMPLES / "README.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"{name}.onnx`" not in readme and f"`{name}`" not in readme] == []


@pytest.mark.parametrize("name", NAMES)
def test_rebuilding_gives_the_committed_model(name: str, rebuilt: Path) -> None:
    # Parsed, not raw: another protobuf may order fields differently, and that is no difference.
    assert onnx.load(rebuilt / f"{name}.onnx", load_external_data=False) == load(name)


def test_building_twice_gives_the_same_bytes(rebuilt: Path, tmp_path: Path) -> None:
    rebuild(tmp_path, seed="1")
    different = [n for n in NAMES if (tmp_path / f"{n}.onnx").read_bytes() != (rebuilt / f"{n}.onnx").read_bytes()]
    assert different == []


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_is_small_and_keeps_its_weights_out(name: str) -> None:
    model = load(name)
    assert (SAMPLES / f"{name}.onnx").stat().st_size <= SIZE_LIMIT
    external = [t for t in model.graph.initializer if t.data_location == TensorProto.EXTERNAL]
    assert {e.value for t in external for e in t.external_data if e.key == "location"} == {f"{name}.bin"}
    assert max(len(t.raw_data) for t in model.graph.initializer) <= 1024


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_is_valid_onnx(name: str, tmp_path: Path) -> None:
    model = load(name)
    spans = [{e.key: e.value for e in t.external_data} for t in model.graph.initializer if t.external_data]
    path = tmp_path / f"{name}.onnx"
    path.write_bytes((SAMPLES / path.name).read_bytes())
    with (tmp_path / f"{name}.bin").open("wb") as weights:  # the checker wants the file there; a hole will do
        weights.truncate(max(int(span["offset"]) + int(span["length"]) for span in spans))
    onnx.checker.check_model(path, full_check=True)
    shapes = shapes_of(bound(name))
    if name not in DIMS:
        assert {value for node in model.graph.node for value in node.output} <= set(shapes)
        assert all(min(shape, default=1) > 0 for shape in shapes.values())


@pytest.mark.parametrize("name", NAMES)
def test_external_tensors_lie_end_to_end(name: str) -> None:
    end = 0
    for tensor in load(name).graph.initializer:
        if tensor.external_data:
            place = {entry.key: entry.value for entry in tensor.external_data}
            size = math.prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
            assert (int(place["offset"]), int(place["length"])) == (end, size), tensor.name
            end += size


@pytest.mark.parametrize("name", [n for n in NAMES if n != "decoder_kv"])
def test_macs_from_the_shapes_in_the_file(name: str) -> None:
    model = bound(name)
    assert hand_macs(model, shapes_of(model)) == MACS[network(name)]


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_the_published_ones(name: str) -> None:
    model = load(name)
    assert elements(model, TRAINED) == PARAMETERS[name]
    if name in KERAS_TOTALS:
        assert elements(model, TRAINED + STATISTICS) == KERAS_TOTALS[name]


@pytest.mark.parametrize("name", [n for n in NAMES if n.endswith("_int8")])
def test_int8_networks_are_int8_at_every_border(name: str) -> None:
    graph = load(name).graph
    borders = [value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)]
    assert borders == [TensorProto.INT8, TensorProto.INT8]
    maker = {output: node.op_type for node in graph.node for output in node.output}
    reader = {name: node.op_type for node in graph.node for name in node.input}
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm", "AveragePool", "Reshape", "Softmax"):
            assert maker[node.input[0]] == "DequantizeLinear", node.name
            assert reader[node.output[0]] in ("QuantizeLinear", "Relu"), node.name
    assert "BatchNormalization" not in maker.values()


@pytest.mark.skipif(not SHARED_MODELS.is_dir(), reason="the reference networks are not beside this repository")
@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("vww_mobilenetv1_int8", "mlperf_tiny__vww_mobilenetv1_025_96"),
        ("kws_dscnn_int8", "mlperf_tiny__kws_dscnn"),
        ("ic_resnet8_int8", "mlperf_tiny__ic_resnet8"),
        ("ad_autoencoder_int8", "mlperf_tiny__ad_autoencoder"),
    ],
)
def test_int8_networks_have_the_layers_of_the_published_ones(name: str, reference: str) -> None:
    def layers(model: onnx.ModelProto) -> list[tuple[Any, ...]]:
        made = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        shapes, found = shapes_of(made), []
        for node in made.graph.node:
            if node.op_type in ("Conv", "Gemm", "AveragePool", "Softmax", "Add"):
                values = {a.name: list(a.ints) or a.i for a in node.attribute}
                geometry = [values.get(key) for key in ("strides", "pads", "group", "kernel_shape")]
                if node.op_type == "AveragePool":
                    geometry[1] = None  # zeros, written or not
                found.append((node.op_type, shapes[node.input[1]] if len(node.input) > 2 else None, geometry))
        return sorted(found, key=repr)

    published = onnx.load(SHARED_MODELS / f"{reference}.onnx")
    assert layers(load(name)) == layers(published)


# --- the tool itself ---


@pytest.mark.parametrize("name", NAMES)
def test_the_tool_counts_what_the_hand_counts(name: str) -> None:
    graph = eff.read_model(SAMPLES / f"{name}.onnx", dims=DIMS.get(name, {}))
    totals = eff.estimate(graph).totals
    assert totals.macs == MACS[network(name)]
    assert totals.parameters == PARAMETERS[name] + BUFFERS.get(name, 0)
    if name.endswith("_float"):
        assert totals.auxiliary_parameters >= KERAS_TOTALS[name] - PARAMETERS[name]


# --- execution: onnxruntime, where it is installed ---


def session(folder: Path, name: str, *, show: list[str] | None = None) -> Any:
    """The sample with random weights, ready to run; `show` names inner tensors to return as well."""
    runtime = pytest.importorskip("onnxruntime")
    rebuild(folder, name, "--weights")
    path = folder / f"{name}.onnx"
    model = onnx.load(path, load_external_data=False)
    model.graph.output.extend(onnx.ValueInfoProto(name=value) for value in show or ())
    path.write_bytes(model.SerializeToString())
    return runtime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("name", [n for n in NAMES if n not in DIMS])
def test_a_runtime_executes_it(name: str, tmp_path: Path) -> None:
    ready = session(tmp_path, name)
    (image,) = ready.get_inputs()
    values = np.random.default_rng(0).uniform(-1, 1, image.shape)
    feed = (values * 127).astype(np.int8) if name.endswith("_int8") else values.astype(np.float32)
    (result,) = ready.run(None, {image.name: feed})
    assert list(result.shape) == ready.get_outputs()[0].shape
    assert np.isfinite(result.astype(np.float64)).all()
    assert name.startswith("vww") or len(np.unique(result)) > 1


def test_bert_ignores_padding(tmp_path: Path) -> None:
    ready = session(tmp_path, "bert_small")
    ids = np.arange(100, 108)[None]
    plain = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    padding = np.zeros((1, 3), dtype=np.int64)
    padded = {key: np.concatenate([value, padding], axis=1) for key, value in plain.items()}
    states, pooled = ready.run(None, plain)
    assert (states.shape, pooled.shape) == ((1, 8, 512), (1, 512))
    assert ready.run(None, padded)[0][:, :8] == pytest.approx(states, abs=1e-4)


def decoder_feed(tokens: list[int], cache: list[Any]) -> dict[str, Any]:
    past = cache[0].shape[2]
    names = [f"past_key_values.{layer}.{part}" for layer in range(6) for part in ("key", "value")]
    return {
        "input_ids": np.array([tokens]),
        "attention_mask": np.ones((1, past + len(tokens)), dtype=np.int64),
        "position_ids": np.arange(past, past + len(tokens))[None],
        **dict(zip(names, cache, strict=True)),
    }


def test_the_decoder_continues_from_its_cache(tmp_path: Path) -> None:
    ready = session(tmp_path, "decoder_kv")
    tokens = [1, 500, 7, 31_999, 42, 8, 9, 10, 11, 12, 13, 14]
    empty = [np.zeros((1, 6, 0, 48), dtype=np.float32)] * 12
    at_once, *whole = ready.run(None, decoder_feed(tokens, empty))
    _, *cache = ready.run(None, decoder_feed(tokens[:4], empty))
    continued, *grown = ready.run(None, decoder_feed(tokens[4:], cache))
    assert continued.shape == (1, 8, 32_000)
    assert continued == pytest.approx(at_once[:, 4:], abs=1e-4)
    assert [value.shape for value in grown] == [value.shape for value in whole] == [(1, 6, 12, 48)] * 12


def test_macs_of_the_decoder_from_the_shapes_it_runs_with(tmp_path: Path) -> None:
    # onnx's inference does not follow the cache through computed shapes, a run does.
    model = load("decoder_kv")
    products = [node for node in model.graph.node if node.op_type == "MatMul"]
    inner = {value for node in products for value in (*node.input, *node.output) if value.startswith("/")}
    ready = session(tmp_path, "decoder_kv", show=sorted(inner))
    names = [value.name for value in ready.get_outputs()]
    cache = [np.zeros((1, 6, 128, 48), dtype=np.float32)] * 12
    results = ready.run(None, decoder_feed([5], cache))
    shapes = shapes_of(model) | {n: list(v.shape) for n, v in zip(names, results, strict=True)}
    assert hand_macs(model, shapes) == MACS["decoder_kv"]
