"""Nodes and kernels find their partners by name, then by structure; nothing is paired twice."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snapshots import chain, kernel, node, snapshot, tensor

from efficiency_cli.judge import align


def test_the_same_network_is_itself():
    nodes = chain("Conv", "Relu", "Conv", "Relu", "Gemm")
    assert align.nodes(nodes, nodes) == {k: k for k in range(5)}


def test_names_are_found_wherever_they_stand():
    before = chain("Conv", "Relu", "Gemm", names=["a/conv", "a/relu", "fc"])
    after = [before[2], before[0], before[1]]
    assert align.nodes(before, after) == {0: 1, 1: 2, 2: 0}


def test_a_name_with_another_operator_is_another_node():
    before, after = chain("Conv", names=["layer"]), chain("MatMul", names=["layer"])
    assert align.nodes(before, after) == {}


def test_running_numbers_shift_where_a_node_is_put_in_between():
    """Conv_0 Relu_1 Conv_2 becomes Conv_0 Conv_1 Relu_2 Conv_3: the wires say which is which."""
    before = [
        node("Conv_0", "Conv", [tensor("x", (1, 3), kind="input")], [tensor("a", (1, 16))]),
        node("Relu_1", "Relu", [tensor("a", (1, 16))], [tensor("b", (1, 16))]),
        node("Conv_2", "Conv", [tensor("b", (1, 16))], [tensor("y", (1, 32))]),
    ]
    after = [
        node("Conv_0", "Conv", [tensor("x", (1, 3), kind="input")], [tensor("p", (1, 8))]),
        node("Conv_1", "Conv", [tensor("p", (1, 8))], [tensor("q", (1, 16))]),
        node("Relu_2", "Relu", [tensor("q", (1, 16))], [tensor("r", (1, 16))]),
        node("Conv_3", "Conv", [tensor("r", (1, 16))], [tensor("y", (1, 32))]),
    ]
    pairs = align.nodes(before, after)
    assert pairs[1] == 2
    assert pairs[2] == 3
    assert len(pairs) == 3


def test_a_renamed_network_is_paired_along_its_wires():
    before = chain("Conv", "Relu", "Conv", "Relu", prefix="main/")
    after = chain("Conv", "Relu", "Conv", "Relu", names=["w", "x1", "y1", "z1"])
    assert align.nodes(before, after) == {k: k for k in range(4)}


def test_quantisation_is_looked_through():
    before = chain("Conv", "Relu", "Conv", prefix="a/")
    after = chain(
        *("QuantizeLinear", "DequantizeLinear", "Conv", "Relu", "QuantizeLinear", "DequantizeLinear", "Conv"),
        prefix="b/",
    )
    assert align.nodes(before, after) == {0: 2, 1: 3, 2: 6}


@pytest.mark.parametrize(
    ("op", "base"),
    [
        *(("QLinearConv", "Conv"), ("FusedConv", "Conv"), ("ConvInteger", "Conv"), ("NhwcFusedConv", "Conv")),
        *(("QLinearMatMul", "MatMul"), ("MatMulIntegerToFloat", "MatMul"), ("MatMulNBits", "MatMul")),
        *(("QGemm", "Gemm"), ("DynamicQuantizeMatMul", "MatMul"), ("QLinearAdd", "Add"), ("QAttention", "Attention")),
        *(("Conv", "Conv"), ("Gemm", "Gemm"), ("QuickGelu", "QuickGelu"), ("ConvTranspose", "ConvTranspose")),
        *(("Transpose", "Transpose"), ("QuantizeLinear", "QuantizeLinear"), ("QMoE", "QMoE")),
    ],
)
def test_forms_of_an_operator(op, base):
    assert align.family(op) == base


def test_a_quantised_operator_is_found_behind_its_scales():
    """QLinearConv has the scale and zero point of x before its weight."""
    x, y = tensor("x", kind="input"), tensor("y")
    scale = tensor("s", (), kind="constant")
    before = [
        node("a", "Conv", [x, tensor("w", kind="weight")], [y]),
        node("b", "Add", [y, tensor("r")], ["z"]),
    ]
    after = [
        node("p", "QLinearConv", [x, scale, scale, tensor("w8", dtype="int8", kind="weight")], [y]),
        node("q", "QLinearAdd", [y, scale, scale, tensor("r")], ["z"]),
    ]
    assert align.nodes(before, after) == {0: 0, 1: 1}


def test_the_operands_of_a_sum_may_stand_the_other_way_round():
    def block(prefix, swapped):
        x = tensor("x", (1, 8), kind="input")
        long, short = tensor(f"{prefix}l", (1, 16)), tensor(f"{prefix}s", (1, 16))
        mid = tensor(f"{prefix}m", (1, 4))
        return [
            node(f"{prefix}.first", "Conv", [x], [mid]),
            node(f"{prefix}.second", "Conv", [mid], [long]),
            node(f"{prefix}.short", "Conv", [x], [short]),
            node(f"{prefix}.sum", "Add", [short, long] if swapped else [long, short], [tensor("y", (1, 16))]),
            node(f"{prefix}.out", "Softmax", [tensor("y", (1, 16))], ["z"]),
        ]

    assert align.nodes(block("a", False), block("b", True)) == {0: 0, 1: 1, 2: 2, 3: 3, 4: 4}


def test_two_branches_alike_are_told_apart_by_where_they_go():
    def network(first, second):
        x = tensor("x", kind="input")
        return [
            node(first, "Conv", [x, tensor("w1")], ["a"]),
            node(second, "Conv", [x, tensor("w2")], ["b"]),
            node("left", "Relu", ["a"], ["c"]),
            node("right", "Tanh", ["b"], ["d"]),
        ]

    before, after = network("p", "q"), network("q2", "p2")
    assert align.nodes(before, after) == {0: 0, 1: 1, 2: 2, 3: 3}


def test_a_loop_of_wires_ends():
    """No network is like that, and no report has to be one."""
    nodes = [node("a", "Cast", ["y"], ["x"]), node("b", "Cast", ["x"], ["y"]), node("c", "Relu", ["x"], ["z"])]
    assert align.nodes(nodes, nodes) == {0: 0, 1: 1, 2: 2}


@given(st.lists(st.sampled_from(["Conv", "Relu", "Add", "Cast"]), max_size=30), st.integers(0, 2**32))
def test_nothing_is_paired_twice_and_only_with_its_own_operator(ops, seed):
    before = chain(*ops)
    shuffled = list(ops)
    random.Random(seed).shuffle(shuffled)
    after = chain(*shuffled, prefix="n/")
    pairs = align.nodes(before, after)
    assert len(set(pairs.values())) == len(pairs)
    assert all(before[i].op == after[j].op for i, j in pairs.items())


def test_kernels_of_reports_without_nodes_are_paired_by_name_and_order():
    before = snapshot([kernel("a"), kernel("b"), kernel("old")])
    after = snapshot([kernel("new", macs=7), kernel("b"), kernel("a", macs=5)])
    assert align.kernels(before, after) == {0: 2, 1: 1, 2: 0}


def test_kernels_that_share_their_nodes_are_the_same_whatever_they_are_called():
    nodes = chain("Conv", "Relu", "Conv", names=["c1", "r1", "c2"])
    before = snapshot([kernel("c1", nodes=("c1", "r1")), kernel("c2")], nodes=nodes)
    after = snapshot([kernel("r1", op="Relu", nodes=("r1",)), kernel("c1"), kernel("c2")], nodes=nodes)
    # c1 has the operations as r1 has here, and stands first
    assert align.kernels(before, after)[1] == 2
    assert len(align.kernels(before, after)) == 2


def test_ten_thousand_nodes_that_are_all_renamed_take_a_moment():
    ops = ["Conv", "Relu"] * 5_000
    assert len(align.nodes(chain(*ops, prefix="a/"), chain(*ops, prefix="b/"))) == 10_000
