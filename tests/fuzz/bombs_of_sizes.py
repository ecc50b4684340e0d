"""Bombs of one or a few nodes: huge sizes, ranks, numbers, and values that are folded."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from fuzz_bombs import BOMBS, FLOAT, INT64, MANY, NODES, STRING, bomb, chain, ints, model, node, scalar, value
from onnx import GraphProto, TensorProto, ValueInfoProto


def _operand_bomb(name: str, op: str, operands: Sequence[TensorProto], *, first: str = "x", opset: int = 21) -> None:
    def build() -> bytes:
        inputs = ([first] if first else []) + [t.name for t in operands]
        return model([node(op, inputs)], weights=operands, opset=opset)

    BOMBS[name] = build


_operand_bomb("range_10_12", "Range", [scalar("a", 0), scalar("b", 10**12), scalar("c", 1)], first="")
_operand_bomb("tile_2_40", "Tile", [ints("r", [2**40, 2**20])])
_operand_bomb("constant_of_shape_2_60", "ConstantOfShape", [ints("s", [2**30, 2**30])], first="")
_operand_bomb("constant_of_shape_overflows", "ConstantOfShape", [ints("s", [2**62] * 20)], first="")
_operand_bomb("constant_of_shape_10_5600", "ConstantOfShape", [ints("s", [2**62] * 300)], first="")
_operand_bomb("expand_2_62", "Expand", [ints("s", [2**62, 2, 3])])
_operand_bomb("expand_rank_4096", "Expand", [ints("s", [1] * 4096)])
_operand_bomb("reshape_rank_4096", "Reshape", [ints("s", [6] + [1] * 4095)])
_operand_bomb("pad_2_62", "Pad", [ints("p", [2**62] * 4)])
_operand_bomb("one_hot_2_62", "OneHot", [scalar("d", 2**62), ints("v", [0, 1])])
_operand_bomb("top_k_2_62", "TopK", [ints("k", [2**62])])
_operand_bomb("split_to_sequence_1", "SplitToSequence", [scalar("s", 1)])
_operand_bomb("hann_window_2_62", "HannWindow", [scalar("n", 2**62)], first="")


@bomb
def resize_to_2_62() -> bytes:
    return model([node("Resize", ["x", "", "", "s"])], weights=[ints("s", [2**62, 2**62])])


@bomb
def split_into_10_9() -> bytes:
    return model([node("Split", num_outputs=10**9)], inputs=[value("x", [2**31])])


@bomb
def split_into_100_000_names() -> bytes:
    outputs = [f"y{k}" for k in range(MANY)]
    return model([node("Split", ["x"], outputs, num_outputs=MANY)], inputs=[value("x", [MANY])], outputs=outputs[:1])


@bomb
def split_to_sequence_of_2_62() -> bytes:
    return model([node("SplitToSequence", keepdims=0)], inputs=[value("x", [2**62])])


@bomb
def window_of_2_62() -> bytes:
    nodes = [node("Conv", ["x", "w"], kernel_shape=[2**40] * 2, pads=[2**62] * 4, dilations=[2**62] * 2)]
    return model(nodes, inputs=[value("x", [1, 3, 8, 8]), value("w", [4, 3, 2**20, 2**20])])


@bomb
def pool_of_2_40() -> bytes:
    pads = [2**40] * 4
    return model([node("AveragePool", kernel_shape=[2**40] * 2, pads=pads)], inputs=[value("x", [1, 3, 8, 8])])


@bomb
def pool_of_many_axes() -> bytes:
    rank = 5000
    return model([node("MaxPool", kernel_shape=[1] * rank)], inputs=[value("x", [1] * (rank + 2))])


@bomb
def products_beyond_floats() -> bytes:
    """A Gemm chain whose count is more than a double holds, by trips of nested Loops."""
    inner = node("Relu", ["x"], ["y0"])
    for k in range(30):
        head = [value(f"i{k}", [], INT64), value(f"c{k}", [], TensorProto.BOOL)]
        body = GraphProto(name=f"b{k}", node=[inner], input=head)
        body.output.extend([ValueInfoProto(name=f"c{k}"), ValueInfoProto(name=f"y{k}")])
        inner = node("Loop", ["n"], [f"y{k + 1}"], body=body)
    return model([inner], outputs=["y30"], weights=[scalar("n", 2**31 - 1)])


@bomb
def scan_of_2_40_inputs() -> bytes:
    body = GraphProto(name="b", node=[node("Relu", ["s"], ["t"])], input=[value("s")], output=[value("t")])
    return model([node("Scan", body=body, num_scan_inputs=2**40)])


@bomb
def axis_2_62() -> bytes:
    return model([node(op, ["x"], [op], axis=2**62) for op in ("Flatten", "Softmax", "Split", "ArgMax")], outputs=[])


@bomb
def input_of_rank_100_000() -> bytes:
    return model(chain("Relu", 100), inputs=[value("x", [1] * MANY)])


@bomb
def initializer_of_rank_million() -> bytes:
    return model([node("Relu", ["w"])], weights=[TensorProto(name="w", data_type=FLOAT, dims=[2] * 10**6)])


@bomb
def rank_doubled_40_times() -> bytes:
    names = [*(f"{k}" for k in range(40)), "y"]
    nodes = [node("Gather", [a, a], [b]) for a, b in zip(["x", *names], names, strict=False)]
    return model(nodes, inputs=[value("x", [1, 1], INT64)])


@bomb
def rank_raised_10_000_times() -> bytes:
    return model(chain("Unsqueeze", 10_000, ["a"]), weights=[ints("a", [0])])


@bomb
def rank_raised_by_64_each() -> bytes:
    return model(chain("Unsqueeze", 5000, ["a"]), weights=[ints("a", list(range(64)))])


@bomb
def rank_4096_in_40_000_nodes() -> bytes:
    nodes = [node("Reshape", ["x", "s"], ["0"]), *(node("Relu", ["0"], [f"r{k}"]) for k in range(NODES))]
    return model(nodes, outputs=["r0"], weights=[ints("s", [6] + [1] * 4095)])


@bomb
def strings_doubled_40_times() -> bytes:
    text = TensorProto(name="s", data_type=STRING, dims=[1], string_data=[b"ab" * 100])
    names = ["s", *(str(k) for k in range(40))]
    nodes = [node("Add", [a, a], [b]) for a, b in pairwise(names)]
    return model([*nodes, node("Reshape", ["x", "39"])], weights=[text])


@bomb
def strings_formatted() -> bytes:
    text = TensorProto(name="s", data_type=STRING, dims=[1], string_data=[b"%2000000000d"])
    nodes = [node("Mod", ["s", "n"], ["m"]), node("Reshape", ["x", "m"])]
    return model(nodes, weights=[text, ints("n", [7])])


@bomb
def strings_repeated() -> bytes:
    text = TensorProto(name="s", data_type=STRING, dims=[1], string_data=[b"ab"])
    nodes = [node("Mul", ["s", "n"], ["m"]), node("Reshape", ["x", "m"])]
    return model(nodes, weights=[text, ints("n", [2**33])])


@bomb
def folds_of_4096_elements() -> bytes:
    """Shape arithmetic as large as is done, many times over."""
    nodes = [node("Add", ["v" if k == 0 else f"v{k - 1}", "v"], [f"v{k}"]) for k in range(5000)]
    nodes += [node("Gather", ["v4999", "i"], ["s"]), node("Reshape", ["x", "s"])]
    return model(nodes, weights=[ints("v", [0] * 4096), ints("i", [0, 1])])


@bomb
def one_hot_sums_of_constants() -> bytes:
    nodes = [node("OneHot", ["i", "d", "v"], ["o"]), node("ReduceSum", ["o"], ["r"], keepdims=0)]
    return model(
        [*nodes, node("Reshape", ["x", "r"])], weights=[ints("i", [1] * 64), scalar("d", 64), ints("v", [0, 1])]
    )
