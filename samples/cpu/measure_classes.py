"""How much of a core's peak onnxruntime reaches with each class of operator: one thread, float32, on this machine.

    pip install 'effcli[measure]'
    python samples/cpu/measure_classes.py PEAK_GFLOPS      # of one core, say from cpufp's FMA kernel

Each case alternates with one reference product and is given as a fraction of it, from the shortest times of both: a
busy machine tells in both. The best the reference did in the whole run is given as a fraction of the peak.
Element-wise and normalising operators are given in operations a second too, as `effcli help counting` counts them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

ROUNDS = 40
# long enough that the clock's resolution and the call do not count
SHORTEST_S = 2e-3

Shape = tuple[int, ...]
# class, operator, its attributes, shapes of the input and the constants
CASES: list[tuple[str, str, dict[str, object], Shape, list[Shape]]] = [
    ("convolution", "Conv", {"pads": [1] * 4}, (1, 64, 56, 56), [(64, 64, 3, 3)]),
    ("convolution", "Conv", {"pads": [1] * 4}, (1, 128, 28, 28), [(128, 128, 3, 3)]),
    ("convolution", "Conv", {"pads": [1] * 4}, (1, 256, 14, 14), [(256, 256, 3, 3)]),
    ("pointwise", "Conv", {}, (1, 64, 56, 56), [(256, 64, 1, 1)]),
    ("pointwise", "Conv", {}, (1, 512, 28, 28), [(128, 512, 1, 1)]),
    ("pointwise", "Conv", {}, (1, 256, 14, 14), [(1024, 256, 1, 1)]),
    ("grouped", "Conv", {"pads": [1] * 4, "group": 32}, (1, 256, 28, 28), [(256, 8, 3, 3)]),
    ("grouped", "Conv", {"pads": [1] * 4, "group": 4}, (1, 256, 28, 28), [(256, 64, 3, 3)]),
    ("first-layer", "Conv", {"pads": [3] * 4, "strides": [2, 2]}, (1, 3, 224, 224), [(64, 3, 7, 7)]),
    ("depthwise", "Conv", {"pads": [1] * 4, "group": 96}, (1, 96, 56, 56), [(96, 1, 3, 3)]),
    ("depthwise", "Conv", {"pads": [1] * 4, "group": 384}, (1, 384, 14, 14), [(384, 1, 3, 3)]),
    ("gemm", "MatMul", {}, (128, 768), [(768, 3072)]),
    ("gemm", "MatMul", {}, (512, 1024), [(1024, 1024)]),
    ("gemv", "MatMul", {}, (1, 1024), [(1024, 1024)]),
]
# as above, and operations an element of the result
MOVING: list[tuple[str, str, dict[str, object], Shape, list[Shape], int]] = [
    ("elementwise", "Relu", {}, (1, 256, 56, 56), [], 1),
    ("elementwise", "Sigmoid", {}, (1, 256, 56, 56), [], 4),
    ("elementwise", "Erf", {}, (128, 3072), [], 0),
    ("softmax", "Softmax", {"axis": -1}, (12, 128, 128), [], 5),
    ("normalization", "LayerNormalization", {"axis": -1}, (128, 768), [(768,), (768,)], 7),
    ("pooling", "MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4}, (1, 64, 112, 112), [], 9),
    ("movement", "Transpose", {"perm": [0, 2, 1, 3]}, (1, 128, 12, 64), [], 0),
]


def session(op: str, attributes: dict[str, object], shape: Shape, constants: Sequence[Shape]):
    """A model of one node, on one thread."""
    generator = np.random.default_rng(0)
    weights = [generator.standard_normal(s, dtype=np.float32) for s in constants]
    names = [f"w{k}" for k in range(len(weights))]
    graph = helper.make_graph(
        [helper.make_node(op, ["x", *names], ["y"], **attributes)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(w, n) for w, n in zip(weights, names, strict=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    made = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    values = generator.standard_normal(shape, dtype=np.float32)
    return lambda: made.run(None, {"x": values})


def seconds(run, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - start) / repeats


def best_beside(run, reference) -> tuple[float, float]:
    """Shortest times of `run` and of `reference`, taken in turn."""
    run()
    repeats = max(1, round(SHORTEST_S / max(seconds(run, 3), 1e-7)))
    pairs = [(seconds(run, repeats), seconds(reference, 1)) for _ in range(ROUNDS)]
    return min(a for a, _ in pairs), min(b for _, b in pairs)


def macs_of(op: str, attributes: dict[str, object], shape: Shape, weights: Shape) -> int:
    if op == "MatMul":
        return shape[0] * weights[0] * weights[1]
    stride = attributes.get("strides", [1, 1])
    out = (shape[2] // stride[0]) * (shape[3] // stride[1])  # all cases keep the size but for their stride
    return int(out * np.prod(weights))


def main() -> None:
    peak = float(sys.argv[1]) * 1e9
    product = session("MatMul", {}, (512, 512), [(512, 512)])
    rates = []
    for op_class, op, attributes, shape, constants in CASES:
        ops = 2 * macs_of(op, attributes, shape, constants[0])
        took, beside = best_beside(session(op, attributes, shape, constants), product)
        rates.append(2 * 512**3 / beside)
        print(f"{op_class:12} {op} {shape} {constants[0]}".ljust(62), f"{ops / took / rates[-1]:6.3f} of the reference")
    for op_class, op, attributes, shape, constants, ops_each in MOVING:
        took, beside = best_beside(session(op, attributes, shape, constants), product)
        rates.append(2 * 512**3 / beside)
        elements = int(np.prod(shape)) // (4 if op == "MaxPool" else 1)
        ops = f", {elements * ops_each / took / rates[-1]:6.3f} of the reference" if ops_each else ""
        moved = 4 * (int(np.prod(shape)) + elements)
        print(f"{op_class:12} {op} {shape}".ljust(62), f"{moved / took / 1e9:6.2f} GB/s read and written{ops}")
    print(f"reference product: {max(rates) / peak:.3f} of the peak")


if __name__ == "__main__":
    main()
