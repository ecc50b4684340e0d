from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_node import t, work

from efficiency_cli.costs import CostError
from efficiency_cli.graph.model import DType, OpClass

MS = "com.microsoft::"
I32, I64 = "int32", "int64"


def test_onnx_attention_on_four_axes():
    q, k = (2, 4, 8, 16), (2, 4, 12, 16)
    result = work("Attention", [q, k, k], [q])
    assert result.macs == 2 * 4 * 8 * 12 * (16 + 16)
    assert result.op_class is OpClass.ATTENTION
    assert result.formula == "2·4·8·12 scores × (16 + 16) = 24,576 MACs"
    # scale and softmax
    assert result.ops == 2 * result.macs + 2 * 4 * 8 * 12 * (1 + 5)


def test_onnx_attention_on_three_axes_is_the_same():
    split = work("Attention", [(2, 4, 8, 16), (2, 2, 12, 16), (2, 2, 12, 16)], [(2, 4, 8, 16)])
    packed = work(
        "Attention",
        [(2, 8, 4 * 16), (2, 12, 2 * 16), (2, 12, 2 * 16)],
        [(2, 8, 4 * 16)],
        q_num_heads=4,
        kv_num_heads=2,
    )
    assert packed.macs == split.macs == 2 * 4 * 8 * 12 * 32


def test_value_heads_may_have_another_size():
    result = work("Attention", [(1, 4, 8, 16), (1, 4, 12, 16), (1, 4, 12, 24)], [(1, 4, 8, 24)])
    assert result.macs == 4 * 8 * 12 * (16 + 24)


def test_decode_with_a_cache_attends_to_past_and_new():
    past, present = (1, 2, 10, 16), (1, 2, 11, 16)
    inputs = [(1, 1, 64), (1, 1, 32), (1, 1, 32), None, past, past]
    result = work("Attention", inputs, [(1, 1, 64), present, present], q_num_heads=4, kv_num_heads=2, is_causal=1)
    assert result.macs == 4 * 1 * 11 * (16 + 16)
    assert result.reads["i4"] == result.reads["i5"] == 2 * 10 * 16 * 4
    assert result.writes["o1"] == result.writes["o2"] == 2 * 11 * 16 * 4


def test_one_new_position_is_a_kind_of_its_own():
    past, present = (3, 2, 10, 16), (3, 2, 11, 16)
    inputs = [(3, 1, 64), (3, 1, 32), (3, 1, 32), None, past, past]
    one = work("Attention", inputs, [(3, 1, 64), present, present], q_num_heads=4, kv_num_heads=2)
    assert one.variant == "decode-attention"
    two = work("Attention", [(3, 4, 2, 16), (3, 4, 12, 16), (3, 4, 12, 16)], [(3, 4, 2, 16)])
    assert two.variant == ""


@pytest.mark.parametrize(
    ("mask", "attributes", "each"),
    [(None, {}, 0), ((8, 12), {}, 1), (None, {"is_causal": 1}, 1), (None, {"softcap": 50.0}, 3)],
)
def test_masks_and_caps_cost_by_the_score(mask, attributes, each):
    q, k = (2, 4, 8, 16), (2, 4, 12, 16)
    plain = work("Attention", [q, k, k], [q])
    result = work("Attention", [q, k, k, mask], [q], **attributes)
    assert result.macs == plain.macs
    assert result.ops - plain.ops == each * 2 * 4 * 8 * 12


@pytest.mark.parametrize(
    "operands",
    [
        [(2, 8, 64), (2, 12, 64), (2, 12, 64)],
        [(2, 8, 64), (2, 12, 4, 2, 16)],
        [(2, 8, 64), (2, 4, 12, 16), (2, 4, 12, 16)],
    ],
    ids=["apart", "packed KV", "cached KV"],
)
def test_multi_head_attention_in_each_layout(operands):
    assert work(f"{MS}MultiHeadAttention", operands, [(2, 8, 64)], num_heads=4).macs == 2 * 4 * 8 * 12 * 32


def test_multi_head_attention_packed_in_one():
    result = work(f"{MS}MultiHeadAttention", [(2, 8, 4, 3, 16)], [(2, 8, 64)], num_heads=4)
    assert result.macs == 2 * 4 * 8 * 8 * 32


def test_the_bias_of_the_projections_is_added_to_each_element():
    operands = [(2, 8, 64), (2, 12, 64), (2, 12, 64)]
    plain = work(f"{MS}MultiHeadAttention", operands, [(2, 8, 64)], num_heads=4)
    biased = work(f"{MS}MultiHeadAttention", [*operands, (192,)], [(2, 8, 64)], num_heads=4)
    assert biased.ops - plain.ops == 2 * (8 + 12 + 12) * 64


def _gqa(past, present, total=None, query=(1, 1, 64), **attributes):
    kv = (1, query[1], 32)
    length = t((), I32, (total,) if total else None)
    inputs = [query, kv, kv, past, past, t((1,), I32), length]
    return work(
        f"{MS}GroupQueryAttention",
        inputs,
        [query, present, present],
        num_heads=4,
        kv_num_heads=2,
        **attributes,
    )


def test_group_query_attention_decode():
    result = _gqa((1, 2, 10, 16), (1, 2, 11, 16))
    assert result.macs == 4 * 1 * 11 * 32
    assert result.reads["i3"] == 2 * 10 * 16 * 4
    assert result.writes["o1"] == 2 * 11 * 16 * 4


def test_group_query_attention_prefill():
    result = _gqa(None, (1, 2, 128, 16), query=(1, 128, 64))
    assert result.macs == 4 * 128 * 128 * 32


def test_a_cache_that_is_one_buffer_is_written_where_it_is_new():
    buffer = (1, 2, 4096, 16)
    result = _gqa(buffer, buffer, total=11)
    assert result.macs == 4 * 1 * 11 * 32
    assert result.reads["i3"] == 2 * 11 * 16 * 4
    assert result.writes["o1"] == 2 * 1 * 16 * 4


def test_group_query_attention_packed_and_rotating():
    inputs = [(1, 7, (4 + 2 * 2) * 16), None, None, None, None, t((1,), I32), t((), I32), (512, 8), (512, 8)]
    sizes = {"num_heads": 4, "kv_num_heads": 2}
    still = work(f"{MS}GroupQueryAttention", inputs, [(1, 7, 64)], **sizes)
    turned = work(f"{MS}GroupQueryAttention", inputs, [(1, 7, 64)], do_rotary=1, **sizes)
    assert still.macs == turned.macs == 4 * 7 * 7 * 32
    assert turned.ops - still.ops == 3 * 7 * (4 + 2) * 16
    assert turned.reads["i7"] == turned.reads["i8"] == 7 * 8 * 4


def test_attention_with_its_projection():
    result = work(f"{MS}Attention", [(2, 128, 768), (768, 2304), (2304,)], [(2, 128, 768)], num_heads=12)
    projection, attention = 2 * 128 * 768 * 2304, 2 * 12 * 128 * 128 * (64 + 64)
    assert result.macs == projection + attention
    assert result.ops == 2 * result.macs + 2 * 128 * 2304 + 2 * 12 * 128 * 128 * 6


def test_attention_with_its_projection_and_past():
    past, present = (2, 1, 12, 10, 64), (2, 1, 12, 11, 64)
    inputs = [(1, 1, 768), (768, 2304), None, None, past]
    result = work(f"{MS}Attention", inputs, [(1, 1, 768), present], num_heads=12)
    assert result.macs == 768 * 2304 + 12 * 11 * (64 + 64)


def test_quantised_attention_projects_in_int8():
    u8, s8 = t((1, 8, 32), "uint8"), t((32, 96), "int8")
    inputs = [u8, s8, (96,), (), ()]
    result = work(f"{MS}QAttention", inputs, [(1, 8, 32)], num_heads=2)
    assert result.macs == 8 * 32 * 96 + 2 * 8 * 8 * (16 + 16)
    assert result.dtype is DType.INT8


def test_packed_attention_is_an_upper_bound():
    offsets, lengths = t((2, 8), I32), t((3,), I32)
    result = work(f"{MS}PackedAttention", [(13, 32), (32, 96), (96,), offsets, lengths], [(13, 32)], num_heads=2)
    assert result.macs == 13 * 32 * 96 + 2 * 2 * 8 * 8 * (16 + 16)
    assert "upper bound" in result.note
    inputs = [(13, 32), (13, 32), (13, 32), None, offsets, lengths]
    multi = work(f"{MS}PackedMultiHeadAttention", inputs, [(13, 32)], num_heads=2)
    assert multi.macs == 2 * 2 * 8 * 8 * (16 + 16)


@pytest.mark.parametrize(
    ("rule", "passes", "decay"),
    [("linear", 2 + 4, 0), ("gated", 2 + 4, 2), ("delta", 4 + 4, 0), ("gated_delta", 4 + 4, 2)],
)
def test_linear_attention(rule, passes, decay):
    # 4 query heads and 2 key heads of 8, value heads of 6, 5 positions
    inputs = [(1, 5, 4 * 8), (1, 5, 2 * 8), (1, 5, 2 * 6)]
    result = work("LinearAttention", inputs, [(1, 5, 4 * 6)], q_num_heads=4, kv_num_heads=2, update_rule=rule)
    assert result.macs == 5 * 8 * 6 * passes
    assert result.ops - 2 * result.macs == 5 * 8 * 6 * decay


@pytest.mark.parametrize(
    ("key", "inputs", "attributes", "complaint"),
    [
        ("Attention", [(1, 3, 8, 16), (1, 2, 8, 16), (1, 2, 8, 16)], {}, "cannot share"),
        ("Attention", [(1, 2, 8, 16), (1, 2, 8, 12), (1, 2, 8, 16)], {}, "meet keys"),
        ("Attention", [(1, 8, 32), (1, 8, 32), (1, 8, 32)], {}, "heads"),
        ("Attention", [(8, 32), (8, 32), (8, 32)], {}, "rank 3 or 4"),
        (f"{MS}Attention", [(1, 8, 32), (31, 96)], {"num_heads": 2}, "does not take"),
    ],
)
def test_contradictions(key, inputs, attributes, complaint):
    with pytest.raises(CostError, match=complaint):
        work(key, inputs, [(1, 8, 32)], **attributes)


SIZES = st.integers(1, 8)


@given(SIZES, SIZES, SIZES, SIZES, SIZES)
def test_equals_its_two_products(batch, heads, queries, keys, size):
    q, k = (batch, heads, queries, size), (batch, heads, keys, size)
    first = work("MatMul", [q, (batch, heads, size, keys)], [(batch, heads, queries, keys)]).macs
    second = work("MatMul", [(batch, heads, queries, keys), k], [q]).macs
    assert work("Attention", [q, k, k], [q]).macs == first + second
