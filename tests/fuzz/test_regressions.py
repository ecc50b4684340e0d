"""What fuzzing found, each as the smallest model that shows it: a crash, a hang or a traceback once.

They run in a process of their own, because some crashed onnx; each with several command lines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from fuzz_bombs import INT64, STRING, ints, model, node, scalar, value
from fuzz_parent import run_together
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TypeProto, ValueInfoProto

Outcome = tuple[str, str]
RESULT = "exit 0", ""


def refused(what: str) -> Outcome:
    return "exit 2 ModelError", what


def uncounted(what: str) -> Outcome:
    return "exit 2 CostError", what


def one(
    op: str, inputs: Sequence[str] = ("x",), *operands: TensorProto, shape: Sequence[int] = (2, 3), **attributes: Any
) -> bytes:
    """One node of `op` over an input x and constants."""
    return model([node(op, inputs, **attributes)], inputs=[value("x", shape)], weights=operands, opset=23)


def of_no_type(op: str, **attributes: Any) -> bytes:
    """`op` reads what an unknown operator makes."""
    return model([node("Unknown", ["x"], ["a"], domain="f"), node(op, ["a"], **attributes)])


def microsoft(op: str, inputs: Sequence[str], *shapes: Sequence[int], **attributes: Any) -> bytes:
    names = sorted({i for i in inputs if i})
    given = [value(n, s) for n, s in zip(names, shapes, strict=True)]
    return model([node(op, inputs, domain="com.microsoft", **attributes)], inputs=given)


def changed(data: bytes, change: Callable[[ModelProto], object]) -> bytes:
    proto = ModelProto.FromString(data)
    change(proto)
    return bytes(proto.SerializeToString())


def of_opset(version: int) -> bytes:
    proto = ModelProto.FromString(of_no_type("Relu"))
    for entry in proto.opset_import:
        entry.version = version
    return bytes(proto.SerializeToString())


def body(op: str = "Relu") -> GraphProto:
    return GraphProto(name="b", node=[node(op, ["s"], ["t"])], input=[value("s")], output=[value("t")])


def renaming() -> GraphProto:
    return GraphProto(name="b", node=[node("Identity", ["x"], ["x"])], output=[ValueInfoProto(name="x")])


def with_symbols(*names: str) -> bytes:
    return model([node("Relu", ["x"])], inputs=[value("x", [1, *names])])


def nested(op: str, depth: int) -> bytes:
    names = ["x", *(str(k) for k in range(depth - 1)), "y"]
    return model([node(op, [a], [b]) for a, b in pairwise(names)])


def doubling_ranks(times: int) -> bytes:
    names = ["x", *(str(k) for k in range(times - 1)), "y"]
    nodes = [node("Gather", [a, a], [b]) for a, b in pairwise(names)]
    return model(nodes, inputs=[value("x", [1, 1], INT64)])


def text(*strings: bytes) -> TensorProto:
    return TensorProto(name="s", data_type=STRING, dims=[len(strings)], string_data=strings)


def damaged_constant() -> NodeProto:
    constant = node("Constant", [], ["s"])
    constant.attribute.append(AttributeProto(name="value_strings", type=AttributeProto.INT, i=3))
    return constant


def idle() -> NodeProto:
    return NodeProto(op_type="Unsqueeze", input=["x", "x"])


CASES: dict[str, tuple[bytes, Outcome]] = {
    # onnx's inference did not end
    "einsum_of_odd_characters": (one("Einsum", equation="%s{0}"), refused("contradicts its operands")),
    "einsum_of_two_lines": (one("Einsum", equation="a\nb"), refused("contradicts its operands")),
    "einsum_of_one_dot": (one("Einsum", equation="ab.->a"), refused("contradicts its operands")),
    "split_into_a_billion": (one("Split", num_outputs=10**9), refused("contradicts its operands")),
    # it wrote past the end where there were fewer parts, for ever where there were more
    "split_into_fewer_than_it_makes": (
        model([node("Split", ["x"], ["y", "a", "b"], num_outputs=1)]),
        refused("num_outputs is 1 where there are 3"),
    ),
    # it doubled the rank with every node
    "gather_of_itself": (doubling_ranks(40), refused("axes")),
    # it wrote or read where it should not: the process died
    "gathernd_of_negative_batch": (
        one("GatherND", ["x", "i"], TensorProto(name="i", data_type=INT64, dims=[1, 1], int64_data=[0]), batch_dims=-3),
        refused("contradicts its operands"),
    ),
    "layernorm_axis_beyond_32_bits": (
        one("LayerNormalization", ["x", "x"], axis=2**63 - 1),
        refused("contradicts its operands"),
    ),
    "rmsnorm_axis_beyond_32_bits": (
        one("RMSNormalization", ["x", "x"], axis=2**63 - 1),
        refused("contradicts its operands"),
    ),
    "regex_of_no_type": (of_no_type("RegexFullMatch", pattern="a"), RESULT),
    "eyelike_of_no_type": (of_no_type("EyeLike"), RESULT),
    "label_encoder_of_no_type": (of_no_type("LabelEncoder"), RESULT),
    "optional_50_deep": (nested("Optional", 50), RESULT),
    # numpy filled memory with text
    "text_with_a_width": (
        model(
            [node("Mod", ["s", "n"], ["m"]), node("Reshape", ["x", "m"])],
            weights=[text(b"%2000000000d"), ints("n", [7])],
        ),
        refused("contradicts its operands"),
    ),
    # numpy had no memory for an axis of a tensor without elements
    "empty_and_long": (
        model(
            [node("Relu", ["x"]), node("Neg", ["w"], ["z"])],
            weights=[TensorProto(name="w", data_type=TensorProto.UINT4, dims=[2**62, 2, 0])],
        ),
        RESULT,
    ),
    # following views to where they start did not end
    "view_of_itself": (
        model([node("Reshape", ["x", "s"], ["x"])], outputs=["x"], weights=[ints("s", [6])]),
        refused("makes a tensor that is there already"),
    ),
    "view_of_what_is_around": (
        model(
            [node("If", ["c"], ["y"], then_branch=renaming(), else_branch=renaming())],
            inputs=[value("x"), value("c", [], TensorProto.BOOL)],
        ),
        refused("makes a tensor that is there already"),
    ),
    "made_twice": (
        model(
            [node("Identity", ["x"], ["a"]), node("Identity", ["a"], ["b"]), node("Relu", ["b"], ["a"])], outputs=["a"]
        ),
        refused("makes a tensor that is there already"),
    ),
    "made_twice_at_once": (
        model([node("Split", ["x"], ["y", "y"], num_outputs=2)]),
        refused("makes a tensor that is there already"),
    ),
    # our own code raised what was no error for a user
    "weight_that_is_left_out": (
        changed(one("MatMul", ["x", ""]), lambda m: m.graph.input[0].type.sequence_type.elem_type.Clear()),
        RESULT,
    ),
    "shape_of_nothing": (one("Shape", []), refused("contradicts its operands")),
    "scan_of_too_many": (one("Scan", body=body(), num_scan_inputs=2**40), refused("num_scan_inputs")),
    "scan_of_none": (one("Scan", body=body(), num_scan_inputs=0), refused("num_scan_inputs")),
    "constant_of_another_type": (
        model([damaged_constant(), node("Reshape", ["x", "s"])]),
        refused("contradicts its operands"),
    ),
    "opset_of_40_bits": (
        of_opset(2**40),
        RESULT,
    ),
    "opset_below_0": (
        of_opset(-(2**40)),
        RESULT,
    ),
    "type_of_32_bits": (
        model([node("SequenceEmpty", [], ["s"], dtype=2**31), node("Identity", ["s"], ["n"]), node("Relu")]),
        refused("contradicts its operands"),
    ),
    "size_of_a_fraction": (
        model(
            [
                node("Attention", ["x", "x", "x"], ["a"], domain="com.microsoft", qkv_hidden_sizes=[2.0, 2.0, 2.0]),
                node("Relu", ["a"]),
            ],
            inputs=[value("x", [2, 3, 4])],
        ),
        refused("contradicts its operands"),
    ),
    "frame_of_no_size": (
        model([node("STFT", ["x", "s"])], inputs=[value("x", [2, 8, 1])], weights=[ints("s", [])]),
        RESULT,
    ),
    "symbol_that_is_no_text": (
        with_symbols("symbol", "other").replace(b"symbol", b"symb\x80l"),
        refused("not UTF-8"),
    ),
    "size_beyond_64_bits": (
        model(
            [
                node(
                    "MatMulNBits",
                    ["x", "w", "s"],
                    ["a"],
                    domain="com.microsoft",
                    K=3,
                    N=2**63 - 1,
                    bits=4,
                    block_size=16,
                ),
                node("Concat", ["a", "a"], ["b"], axis=1),
                node("BiasSplitGelu", ["b", "b"], ["c"], domain="com.microsoft"),
                node("Relu", ["b"]),
            ],
            weights=[TensorProto(name="w", data_type=TensorProto.UINT8, dims=[1]), ints("s", [1])],
        ),
        refused(""),
    ),
    "node_without_output": (model([idle(), node("Relu")]), RESULT),
    "attention_of_rank_1": (
        microsoft("Attention", ["a", "b", "c"], [2], [4], [4], num_heads=1),
        refused("contradicts its operands"),
    ),
    "grouped_attention_of_rank_2": (
        microsoft("GroupQueryAttention", ["q", "k", "v"], [1, 32], [1, 64], [1, 32], num_heads=4, kv_num_heads=2),
        refused("contradicts its operands"),
    ),
    "layernorm_without_operand": (
        microsoft("SkipLayerNormalization", ["", "x", "x"], [8, 2]),
        uncounted("operand 0 is missing"),
    ),
    "matmulnbits_without_operands": (microsoft("MatMulNBits", []), uncounted("operand 0 is missing")),
    "boxes_of_rank_0": (
        model([node("NonMaxSuppression", ["b", "s"])], inputs=[value("b", []), value("s", [1, 80, 100])]),
        refused("contradicts its operands"),
    ),
    "output_without_name": (changed(one("Relu"), lambda m: m.graph.output.add()), refused("has no name")),
    "names_that_are_no_text": (one("Relu").replace(b"Relu", b"R\xffl\xfe"), refused("not UTF-8")),
    "names_that_are_taken": (
        model([node("Relu", ["x"], [f"y{k}"], name=n) for k, n in enumerate(["n#2", "n", "n", "n#2"])], outputs=["y0"]),
        RESULT,
    ),
    "recurrent_of_no_rank": (
        model(
            [node("Unknown", ["x"], ["u"], domain="f"), node("RNN", ["s", "w", "u"], ["a"]), node("Relu")],
            weights=[scalar("s", 1), ints("w", [1, 2])],
        ),
        RESULT,
    ),
    # a hint that could not be typed
    "symbol_of_two_lines": (with_symbols("a\nb"), RESULT),
    "symbol_of_a_space": (with_symbols(" "), RESULT),
    "symbol_like_an_option": (with_symbols("--dim x"), RESULT),
    "sequence_as_input": (
        changed(one("Relu"), lambda m: m.graph.input[0].type.sequence_type.elem_type.CopyFrom(TypeProto())),
        RESULT,
    ),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    folder = tmp_path_factory.mktemp("regressions")
    paths = [folder / f"{name}.onnx" for name in CASES]
    for path in paths:
        path.write_bytes(CASES[path.stem][0])
    summary = run_together("file", list(map(str, paths)))
    found = {Path(label).stem: outcome for label, outcome in summary.by_label.items()}
    return found | {Path(f.label).stem: ("bug", f"{f.what}\n{f.details}") for f in summary.findings}


@pytest.mark.parametrize("name", CASES)
def test_it_stays_mended(name: str, outcomes: dict[str, Outcome]) -> None:
    (outcome, what), (expected, part) = outcomes[name], CASES[name][1]
    assert outcome == expected, what
    assert part in what
