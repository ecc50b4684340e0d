"""Models made for measuring: weights that weigh, graphs that are long."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

ROOT = Path(__file__).parents[2]
OPSET = [helper.make_opsetid("", 17)]


def resnet50_with_weights(path: Path) -> None:
    """The ResNet-50 sample with its 102 MB of weights inside the file."""
    model = onnx.load(ROOT / "samples" / "resnet50.onnx", load_external_data=False)
    values = np.random.default_rng(0)
    for tensor in model.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            del tensor.external_data[:]
            tensor.ClearField("data_location")
            tensor.raw_data = values.standard_normal(int(np.prod(tensor.dims)), dtype=np.float32).tobytes()
    path.write_bytes(model.SerializeToString())


def matmuls(path: Path, *, weights: bool, layers: int = 18, size: int = 5000) -> None:
    """`layers` square products; with weights 100 MB each, 1.8 GB in one file, zeros that the disk need not hold."""
    nodes = [helper.make_node("MatMul", [f"x{k}", f"w{k}"], [f"x{k + 1}"], f"mm{k}") for k in range(layers)]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, size]) for n in ("x0", f"x{layers}")]
    model = helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:]), opset_imports=OPSET)
    for k in range(layers):
        tensor = model.graph.initializer.add(name=f"w{k}", data_type=TensorProto.FLOAT, dims=[size, size])
        if not weights:
            tensor.data_location = TensorProto.EXTERNAL
        else:
            tensor.raw_data = bytes(4 * size * size)
    path.write_bytes(model.SerializeToString())


def chain(path: Path, nodes: int) -> None:
    """Blocks of Conv, Relu, MaxPool and a residual Add."""
    graph = onnx.GraphProto(name="g")
    last = "x"
    for k in range(nodes // 4):
        for name, dims in ((f"w{k}", [16, 16, 3, 3]), (f"b{k}", [16])):
            graph.initializer.add(name=name, data_type=TensorProto.FLOAT, dims=dims, data_location=TensorProto.EXTERNAL)
        graph.node.extend(
            [
                helper.make_node("Conv", [last, f"w{k}", f"b{k}"], [f"c{k}"], f"/{k}/conv", pads=[1] * 4),
                helper.make_node("Relu", [f"c{k}"], [f"r{k}"], f"/{k}/relu"),
                helper.make_node("MaxPool", [f"r{k}"], [f"p{k}"], f"/{k}/pool", kernel_shape=[3, 3], pads=[1] * 4),
                helper.make_node("Add", [f"p{k}", last], [f"a{k}"], f"/{k}/add"),
            ]
        )
        last = f"a{k}"
    graph.input.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16, 16, 16]))
    graph.output.append(helper.make_tensor_value_info(last, TensorProto.FLOAT, [1, 16, 16, 16]))
    path.write_bytes(helper.make_model(graph, opset_imports=OPSET).SerializeToString())
