"""Shape rules of single operators: bounds of data-dependent ones, and onnxruntime's contrib operators.

Expected shapes are those of onnxruntime's docs/ContribOperators.md.
"""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from efficiency_cli.errors import ModelError
from efficiency_cli.graph.binding import Request
from efficiency_cli.graph.model import Tensor
from efficiency_cli.graph.read import build
from efficiency_cli.graph.shapes import bounds, contrib

MS = "com.microsoft"
Spec = str | np.ndarray  # "float[2,3]", "" for an omitted operand, or the values of a constant


def outputs(key: str, operands: list[Spec], count: int, opset: int = 17, **attributes: object) -> list[Tensor]:
    """What one operator makes: 'NonZero', 'com.microsoft::Gelu'."""
    domain, _, op = key.rpartition("::")
    inputs, constants = [], []
    for k, spec in enumerate(operands):
        if isinstance(spec, np.ndarray):
            constants.append(numpy_helper.from_array(spec, f"i{k}"))
        elif spec:
            name, _, dims = spec.removesuffix("]").partition("[")
            elem = TensorProto.DataType.Value(name.upper())
            inputs.append(helper.make_tensor_value_info(f"i{k}", elem, [int(d) for d in dims.split(",") if d]))
    names = ["" if isinstance(spec, str) and not spec else f"i{k}" for k, spec in enumerate(operands)]
    made = [f"o{k}" for k in range(count)]
    node = helper.make_node(op, names, made, domain=domain, **attributes)
    results = [helper.make_empty_tensor_value_info(name) for name in made]
    for result in results:
        result.type.tensor_type.elem_type = TensorProto.FLOAT
    graph = helper.make_graph([node], "g", inputs, results, constants)
    imports = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else ())]
    graph_made = build(helper.make_model(graph, opset_imports=imports), "m", 0, Request()).graph
    return [graph_made.tensors[name] for name in made]


def shapes(key: str, operands: list[Spec], count: int = 1, **attributes: object) -> list[tuple[int, ...] | None]:
    return [tensor.shape for tensor in outputs(key, operands, count, **attributes)]


def one(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


class TestBounds:
    """Data-dependent sizes are their upper bound, and flagged."""

    @pytest.mark.parametrize(
        ("op", "operands", "attributes", "expected"),
        [
            ("NonZero", ["float[2,3,8]"], {}, [(3, 2 * 3 * 8)]),
            ("NonMaxSuppression", ["float[2,50,4]", "float[2,3,50]", one(7)], {}, [(2 * 3 * 7, 3)]),
            ("NonMaxSuppression", ["float[2,50,4]", "float[2,3,50]", one(99)], {}, [(2 * 3 * 50, 3)]),
            ("NonMaxSuppression", ["float[2,50,4]", "float[2,3,50]"], {}, [(2 * 3 * 50, 3)]),
            ("NonMaxSuppression", ["float[2,50,4]", "float[2,3,50]", "int64[1]"], {}, [(2 * 3 * 50, 3)]),
            ("Compress", ["float[2,3,8]", "bool[2]"], {"axis": 1}, [(2, 2, 8)]),
            ("Compress", ["float[2,3,8]", "bool[9]"], {"axis": -2}, [(2, 3, 8)]),
            ("Compress", ["float[2,3,8]", "bool[9]"], {}, [(2 * 3 * 8,)]),
            ("Unique", ["float[2,3,8]"], {}, [(48,), (48,), (48,), (48,)]),
            ("Unique", ["float[2,3,8]"], {"axis": 1}, [(2, 3, 8), (3,), (3,), (3,)]),
            ("TopK", ["float[2,3,8]", "int64[1]"], {}, [(2, 3, 8), (2, 3, 8)]),
            ("Slice", ["float[2,3,8]", "int64[1]", "int64[1]"], {}, [(2, 3, 8)]),
            ("Slice", ["float[2,3,8]", "int64[1]", "int64[1]", one(1)], {}, [(2, 3, 8)]),
        ],
    )
    def test_the_most_there_can_be(
        self, op: str, operands: list[Spec], attributes: dict[str, int], expected: list[tuple[int, ...]]
    ) -> None:
        made = outputs(op, operands, len(expected), **attributes)
        assert [t.shape for t in made] == expected
        assert all(t.bounded for t in made)

    @pytest.mark.parametrize(
        ("op", "operands", "expected"),
        [
            ("TopK", ["float[2,3,8]", one(5)], (2, 3, 5)),
            ("Slice", ["float[2,3,8]", one(1), one(2**62), one(2)], (2, 3, 7)),
            ("Slice", ["float[2,3,8]", one(-1), one(-(2**62)), one(2), one(-2)], (2, 3, 4)),
        ],
    )
    def test_known_sizes_are_exact(self, op: str, operands: list[Spec], expected: tuple[int, ...]) -> None:
        made = outputs(op, operands, 2 if op == "TopK" else 1)[0]
        assert (made.shape, made.bounded) == (expected, False)

    def test_what_follows_a_bound_is_one(self) -> None:
        from onnx_text import graph_of

        graph = graph_of("g (float[4] x) => (int64[] y) { i = NonZero(x)  t = Transpose(i)  y = Neg(t) }")
        assert {n: t.bounded for n, t in graph.tensors.items()} == {"x": False, "i": True, "t": True, "y": True}

    def test_every_rule_is_for_an_operator_of_onnx(self) -> None:
        import onnx

        assert all(onnx.defs.has(op) for op in bounds._BOUNDS)


X, W = "float[2,5,64]", "float[64]"
Q, S, Z = "uint8[1,4,6,6]", "float[]", "uint8[]"
PAST = "float[2,4,7,16]"


class TestContrib:
    @pytest.mark.parametrize("op", "BiasGelu FastGelu Gelu QuickGelu BiasSoftmax SimplifiedLayerNormalization".split())
    def test_like_the_first_operand(self, op: str) -> None:
        assert shapes(f"{MS}::{op}", [X, W]) == [(2, 5, 64)]

    @pytest.mark.parametrize(
        ("op", "operands", "attributes", "expected"),
        [
            ("SkipLayerNormalization", [X, X, W], {}, [(2, 5, 64), (2, 5, 1), (2, 5, 1), (2, 5, 64)]),
            ("SkipSimplifiedLayerNormalization", [X, X, W], {}, [(2, 5, 64)]),
            ("QLinearAdd", ["uint8[2,1,4]", S, Z, "uint8[3,1]", S, Z, S, Z], {}, [(2, 3, 4)]),
            ("QLinearMul", ["uint8[4]", S, Z, "uint8[3,1]", S, Z, S, Z], {}, [(3, 4)]),
            ("QLinearConcat", [S, Z, "uint8[2,3]", S, Z, "uint8[2,5]", S, Z], {"axis": 1}, [(2, 3 + 5)]),
            ("QLinearConcat", [S, Z, "uint8[2,3]", S, Z, "uint8[4,3]", S, Z], {"axis": -2}, [(2 + 4, 3)]),
            ("QLinearGlobalAveragePool", [Q, S, Z, S, Z], {}, [(1, 4, 1, 1)]),
            ("QLinearGlobalAveragePool", ["uint8[1,6,6,4]", S, Z, S, Z], {"channels_last": 1}, [(1, 1, 1, 4)]),
            ("QLinearAveragePool", [Q, S, Z, S, Z], {"kernel_shape": [3, 3]}, [(1, 4, 6 - 2, 6 - 2)]),
            ("QLinearAveragePool", [Q, S, Z, S, Z], {"kernel_shape": [2, 3], "strides": [2, 2]}, [(1, 4, 3, 2)]),
            (
                "QLinearAveragePool", [Q, S, Z, S, Z],
                {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}, [(1, 4, 3, 3)],
            ),
            (
                "QLinearAveragePool", [Q, S, Z, S, Z],
                {"kernel_shape": [3, 3], "pads": [1, 0, 1, 0]}, [(1, 4, 6, 4)],
            ),
            (
                "QLinearAveragePool", ["uint8[1,7,7,4]", S, Z, S, Z],
                {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER", "channels_last": 1},
                [(1, 4, 4, 4)],
            ),
            ("NhwcFusedConv", ["float16[1,6,6,4]", "float16[8,4,3,3]"], {"pads": [1, 1, 1, 1]}, [(1, 6, 6, 8)]),
            ("QGemm", ["uint8[3,5]", S, Z, "int8[5,7]", S, Z, "int32[7]", S, Z], {}, [(3, 7)]),
            ("QGemm", ["uint8[5,3]", S, Z, "int8[7,5]", S, Z], {"transA": 1, "transB": 1}, [(3, 7)]),
            ("FusedMatMul", ["float[2,5,3]", "float[2,7,5]"], {"transA": 1, "transB": 1}, [(2, 3, 7)]),
            ("FusedMatMul", ["float[2,3,5]", "float[5,7]"], {}, [(2, 3, 7)]),
            ("MatMulIntegerToFloat", ["uint8[2,3,5]", "int8[5,7]", S, S], {}, [(2, 3, 7)]),
            ("DynamicQuantizeMatMul", ["float[3,5]", "int8[5,7]", S], {}, [(3, 7)]),
            ("MatMulNBits", [X, "uint8[96,2,16]", "float[192]"], {"N": 96, "K": 64, "bits": 4}, [(2, 5, 96)]),
            ("Attention", [X, "float[64,192]", "float[192]"], {"num_heads": 4}, [(2, 5, 64), (2, 2, 4, 5, 16)]),
            (
                "Attention", [X, "float[64,192]", "float[192]", "", "float[2,2,4,7,16]"],
                {"num_heads": 4}, [(2, 5, 64), (2, 2, 4, 7 + 5, 16)],
            ),
            (
                "Attention", [X, "float[64,160]", "float[160]"],
                {"num_heads": 4, "qkv_hidden_sizes": [64, 64, 32]}, [(2, 5, 32)],
            ),
            (
                "MultiHeadAttention", [X, "float[2,9,64]", "float[2,9,64]"],
                {"num_heads": 4}, [(2, 5, 64), (2, 4, 9, 16)],
            ),
            ("MultiHeadAttention", [X, "float[2,9,64]", "float[2,9,32]"], {"num_heads": 4}, [(2, 5, 32)]),
            ("MultiHeadAttention", ["float[2,5,4,3,16]"], {"num_heads": 4}, [(2, 5, 64)]),
            ("MultiHeadAttention", [X, "float[2,9,4,2,16]"], {"num_heads": 4}, [(2, 5, 64), (2, 4, 9, 16)]),
            (
                "MultiHeadAttention", [X, X, X, "", "", "", PAST, PAST],
                {"num_heads": 4}, [(2, 5, 64), (2, 4, 7 + 5, 16), (2, 4, 7 + 5, 16)],
            ),
            (
                "GroupQueryAttention", [X, "float[2,5,32]", "float[2,5,32]", "float[2,2,7,16]", "float[2,2,7,16]"],
                {"num_heads": 4, "kv_num_heads": 2}, [(2, 5, 64), (2, 2, 7 + 5, 16)],
            ),
            (
                "GroupQueryAttention",
                [X, "float[2,5,32]", "float[2,5,32]", "float[2,2,99,16]", "float[2,2,99,16]", "", np.int32([12])],
                {"num_heads": 4, "kv_num_heads": 2}, [(2, 5, 64), (2, 2, 99, 16)],
            ),
            (
                "GroupQueryAttention", ["float[2,5,128]", "", ""],
                {"num_heads": 4, "kv_num_heads": 2}, [(2, 5, 4 * (128 // (4 + 2 + 2)))],
            ),
            (
                "EmbedLayerNormalization",
                ["int32[2,5]", "int32[2,5]", "float[99,64]", "float[40,64]", "float[2,64]", W, W],
                {}, [(2, 5, 64), (2,), (2, 5, 64)],
            ),
            (
                "DynamicQuantizeLSTM", ["float[7,2,10]", "int8[1,10,48]", "int8[1,12,48]"],
                {"hidden_size": 12}, [(7, 1, 2, 12), (1, 2, 12), (1, 2, 12)],
            ),
            ("GatherBlockQuantized", ["uint8[99,32]", "int64[2,5]", "float[99,4]"], {"bits": 4}, [(2, 5, 64)]),
            ("GatherBlockQuantized", ["uint4[99,64]", "int64[2,5]", "float[99,4]"], {"bits": 4}, [(2, 5, 64)]),
            ("BiasSplitGelu", [X, W], {}, [(2, 5, 32)]),
            ("FusedConv", ["float[1,4,6,6]", "float[8,4,3,3]"], {"activation": "Relu"}, [(1, 8, 4, 4)]),
            ("FusedConv", ["float[1,4,6,6]", "float[8,4,3,3]", "float[8]", "float[1,8,4,4]"], {}, [(1, 8, 4, 4)]),
            ("FusedGemm", ["float[3,5]", "float[7,5]"], {"transB": 1, "activation": "Relu"}, [(3, 7)]),
            ("Inverse", ["float[3,3]"], {}, [(3, 3)]),
        ],
    )  # fmt: skip
    def test_shapes(self, op: str, operands: list[Spec], attributes: dict[str, object], expected: list[object]) -> None:
        assert shapes(f"{MS}::{op}", operands, len(expected), **attributes) == expected

    @pytest.mark.parametrize(
        ("op", "attributes", "expected"),
        [
            ("ReorderInput", {}, (1, 6, 8, 10)),
            ("ReorderInput", {"channels_last": 1}, (1, 10, 6, 8)),
            ("ReorderOutput", {"channels": 5}, (1, 5, 8, 10)),
            ("ReorderOutput", {"channels": 5, "channels_last": 1}, (1, 8, 10, 5)),
        ],
    )
    def test_the_blocked_layout_is_logical_nchw(self, op: str, attributes: dict[str, int], expected: object) -> None:
        assert shapes(f"{MS}.nchwc::{op}", ["float[1,6,8,10]"], **attributes) == [expected]

    def test_types_follow_the_operator(self) -> None:
        types = {
            "QGemm": outputs(f"{MS}::QGemm", ["uint8[3,5]", S, Z, "int8[5,7]", S, Z], 1),
            "quantised QGemm": outputs(f"{MS}::QGemm", ["uint8[3,5]", S, Z, "int8[5,7]", S, Z, "int32[7]", S, Z], 1),
            "float": outputs(f"{MS}::MatMulIntegerToFloat", ["uint8[3,5]", "int8[5,7]", S, S], 1),
            "half": outputs(f"{MS}::SkipLayerNormalization", ["float16[2,64]", "float16[2,64]", "float16[64]"], 1),
        }
        assert {name: made[0].dtype.value for name, made in types.items() if made[0].dtype} == {
            "QGemm": "float32", "quantised QGemm": "uint8", "float": "float32", "half": "float16",
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("op", "operands"),
        [
            ("MultiHeadAttention", ["float[64]"]),
            ("GroupQueryAttention", ["float[1,64]", "float[1,1,32]", "float[1,1,32]"]),
            ("QGemm", ["uint8[3]", S, Z, "int8[5]", S, Z]),
            ("QLinearConcat", [S, Z, "uint8[2,3]", S, Z, "uint8[2]", S, Z]),
        ],
    )
    def test_impossible_ranks_are_the_model_s_mistake(self, op: str, operands: list[Spec]) -> None:
        with pytest.raises(ModelError, match="contradicts its operands"):
            shapes(f"{MS}::{op}", operands, axis=1)

    def test_an_operator_without_a_rule_is_a_gap(self) -> None:
        assert contrib.rule_for(MS, "Thing") is None
        assert shapes(f"{MS}::Thing", [X]) == [None]

    def test_rules_are_for_their_domain_only(self) -> None:
        assert contrib.rule_for("", "FusedMatMul") is None
        assert contrib.rule_for("custom", "Attention") is None
        assert contrib.rule_for(f"{MS}.nchwc", "ReorderInput") is not None
