from __future__ import annotations

import pytest
from one_node import t, work

MS = "com.microsoft::"
TABLE, POSITIONS = (512, 8), t((2, 7), "int64")


@pytest.mark.parametrize(
    ("x", "attributes", "rotated"),
    [
        ((2, 4, 7, 16), {}, 2 * 4 * 7 * 16),
        ((2, 7, 64), {"num_heads": 4}, 2 * 7 * 64),
        ((2, 4, 7, 16), {"rotary_embedding_dim": 8}, 2 * 4 * 7 * 8),
        ((2, 7, 64), {"num_heads": 4, "rotary_embedding_dim": 8}, 2 * 7 * 4 * 8),
    ],
)
def test_three_operations_a_rotated_element_and_a_table_row_a_position(x, attributes, rotated):
    onnx = work("RotaryEmbedding", [x, TABLE, TABLE, POSITIONS], [x], **attributes)
    microsoft = work(f"{MS}RotaryEmbedding", [x, POSITIONS, TABLE, TABLE], [x], **attributes)
    assert onnx.ops == microsoft.ops == 3 * rotated
    assert onnx.reads["i1"] == onnx.reads["i2"] == microsoft.reads["i2"] == microsoft.reads["i3"] == 2 * 7 * 8 * 4


def test_a_short_table_is_read_once():
    assert work("RotaryEmbedding", [(2, 4, 7, 16), (2, 7, 8), (2, 7, 8)], [(2, 4, 7, 16)]).reads["i1"] == 2 * 7 * 8 * 4
    assert work("RotaryEmbedding", [(2, 4, 7, 16), (3, 8), (3, 8)], [(2, 4, 7, 16)]).reads["i1"] == 3 * 8 * 4


def test_gemma_rotates_query_and_key():
    state = (1, 4, 7, 16)
    assert (
        work(f"{MS}GemmaRotaryEmbedding", [(1, 7, 16), *[state] * 4], [state, state]).ops == 2 * 7 * 16 + 6 * 4 * 7 * 16
    )
