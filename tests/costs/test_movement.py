from __future__ import annotations

import math

import pytest
from one_node import t, work

from efficiency_cli.graph.model import OpClass

I64 = "int64"


@pytest.mark.parametrize(
    ("key", "inputs", "output"),
    [
        ("Reshape", [(2, 6), t((2,), I64)], (3, 4)),
        ("Squeeze", [(1, 6), t((1,), I64)], (6,)),
        ("Unsqueeze", [(6,), t((1,), I64)], (1, 6)),
        ("Flatten", [(2, 3, 4)], (2, 12)),
        ("Identity", [(2, 6)], (2, 6)),
        ("Dropout", [(2, 6)], (2, 6)),
        ("Dropout", [(2, 6), t(()), t((), "bool", (0,))], (2, 6)),
        ("BitCast", [(2, 6)], t((2, 6), "int32")),
        ("Constant", [], (2, 6)),
        ("SequenceAt", [(2, 6), t((), I64)], (2, 6)),
    ],
)
def test_views_cost_nothing(key, inputs, output):
    result = work(key, inputs, [output])
    assert result.view
    assert result.modelled
    assert (result.macs, result.ops, result.reads, result.writes) == (0, 0, {}, {})


@pytest.mark.parametrize(
    ("key", "inputs", "output", "attributes"),
    [
        ("Transpose", [(2, 6)], (6, 2), {"perm": (1, 0)}),
        ("Concat", [(2, 6), (3, 6)], (5, 6), {"axis": 0}),
        ("Pad", [(2, 6), t((4,), I64)], (4, 8), {}),
        ("Expand", [(1, 6), t((2,), I64)], (4, 6), {}),
        ("Tile", [(2, 6), t((2,), I64)], (4, 6), {}),
        ("DepthToSpace", [(1, 8, 2, 2)], (1, 2, 4, 4), {"blocksize": 2}),
        ("Cast", [t((2, 6), "float16")], (2, 6), {"to": 1}),
        ("ConstantOfShape", [t((2,), I64)], (2, 6), {}),
        ("com.microsoft.nchwc::ReorderInput", [(1, 8, 4, 4)], (1, 8, 4, 4), {}),
    ],
)
def test_movement_touches_all_and_computes_nothing(key, inputs, output, attributes):
    result = work(key, inputs, [output], **attributes)
    assert (result.macs, result.ops, result.op_class, result.view) == (0, 0, OpClass.MOVEMENT, False)
    data = {f"i{k}": 4 * math.prod(shape) for k, shape in enumerate(inputs) if isinstance(shape, tuple)}
    assert data.items() <= result.reads.items()
    assert result.writes == {"o0": 4 * math.prod(output)}


def test_split_writes_every_part():
    result = work("Split", [(6, 4)], [(2, 4), (4, 4)])
    assert (result.reads, result.writes) == ({"i0": 24 * 4}, {"o0": 8 * 4, "o1": 16 * 4})


def test_slice_reads_what_it_outputs():
    ends = [t((1,), I64)] * 2
    result = work("Slice", [(1000, 64), *ends], [(10, 64)])
    assert result.reads == {"i0": 10 * 64 * 4, "i1": 8, "i2": 8}
    assert result.writes == {"o0": 10 * 64 * 4}


def test_gather_reads_its_rows_and_indices_not_the_table():
    result = work("Gather", [(30522, 768), t((1, 128), I64)], [(1, 128, 768)])
    assert result.reads == {"i0": 128 * 768 * 4, "i1": 128 * 8}


def test_block_quantised_table_is_read_packed():
    # 100 rows of 32 4-bit elements, one scale a row
    operands = [t((100, 16), "uint8"), t((1, 5), I64), (100, 1)]
    result = work("com.microsoft::GatherBlockQuantized", operands, [(1, 5, 32)], bits=4)
    assert result.reads == {"i0": 5 * 16, "i1": 5 * 8, "i2": 5 * 4}
    assert result.ops == 2 * 5 * 32


def test_a_table_of_four_bit_elements_is_the_same():
    operands = [t((100, 32), "uint4"), t((1, 5), I64), (100, 1)]
    result = work("com.microsoft::GatherBlockQuantized", operands, [(1, 5, 32)])
    assert result.reads == {"i0": 5 * 16, "i1": 5 * 8, "i2": 5 * 4}


@pytest.mark.parametrize("key", ["Shape", "Size"])
def test_shape_reads_nothing(key):
    result = work(key, [(1000, 1000)], [t((2,), I64)])
    assert (result.ops, result.reads, result.writes) == (0, {"i0": 0}, {"o0": 16})


def test_scatter_copies_and_a_reduction_adds():
    operands = [(10, 4), t((3, 4), I64), (3, 4)]
    assert work("ScatterElements", operands, [(10, 4)]).ops == 0
    result = work("ScatterElements", operands, [(10, 4)], reduction="add")
    assert result.ops == 3 * 4
    assert result.writes == {"o0": 10 * 4 * 4}


def test_a_cache_is_updated_in_place():
    cache, update = (1, 8, 4096, 64), (1, 8, 1, 64)
    result = work("TensorScatter", [cache, update, t((1,), I64)], [cache])
    assert result.reads == {"i0": 0, "i1": 8 * 64 * 4, "i2": 8}
    assert result.writes == {"o0": 8 * 64 * 4}


def test_dropout_in_training_computes():
    result = work("Dropout", [(2, 6), t(()), t((), "bool", (1,))], [(2, 6), t((2, 6), "bool")])
    assert (result.view, result.ops) == (False, 2 * 2 * 6)


def test_non_zero_and_range_compute_a_little():
    assert work("NonZero", [(4, 5)], [t((2, 20), I64)]).ops == 4 * 5
    assert work("Range", [t((), I64)] * 3, [t((100,), I64)]).ops == 100


@pytest.mark.parametrize(
    ("shape", "perm", "variant"),
    [
        ((1, 128, 12, 64), (0, 2, 1, 3), ""),  # rows of 64 stay
        ((1, 128, 12, 64), (0, 2, 3, 1), ""),  # one axis moves behind the others
        ((2, 3, 4, 5), (3, 0, 1, 2), ""),  # the last moves before them
        ((1, 64, 784), (0, 2, 1), ""),
        ((6, 1, 5, 1), (2, 1, 0, 3), ""),  # axes of one element are nothing
        ((4, 5, 6), (2, 1, 0), "general-transpose"),
        ((1, 64, 8, 7, 8, 7), (0, 2, 4, 3, 5, 1), "general-transpose"),  # channels-last windows
        ((2, 3, 4, 5), (2, 3, 0, 1), ""),  # two blocks change places
    ],
)
def test_transposes_that_copy_no_rows_are_told_apart(shape, perm, variant):
    result = work("Transpose", [shape], [tuple(shape[p] for p in perm)], perm=perm)
    assert result.variant == variant
    assert result.ops == 0


@pytest.mark.parametrize(("mode", "variant"), [("nearest", ""), ("linear", "linear-resize"), ("cubic", "cubic-resize")])
def test_ways_of_resizing_are_told_apart(mode, variant):
    assert work("Resize", [(1, 3, 8, 8)], [(1, 3, 16, 16)], mode=mode).variant == variant
