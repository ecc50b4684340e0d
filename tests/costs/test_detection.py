from __future__ import annotations

from one_node import t, work

from efficiency_cli.graph.model import OpClass


def test_suppression_is_bounded_by_the_boxes_it_may_keep():
    boxes, scores = (1, 1000, 4), (1, 80, 1000)
    out = t((8000, 3), "int64")
    free = work("NonMaxSuppression", [boxes, scores], [out])
    assert free.ops == 80 * (1000 + 1000 * 10 + 13 * 1000 * 999 // 2)
    limited = work("NonMaxSuppression", [boxes, scores, t((1,), "int64", (100,))], [out])
    assert limited.ops == 80 * (1000 + 1000 * 10 + 13 * 100 * 99 // 2)
    assert "data" in limited.note


def test_roi_align_samples_bilinearly():
    operands = [(1, 256, 50, 50), (100, 4), t((100,), "int64")]
    result = work("RoiAlign", operands, [(100, 256, 7, 7)], sampling_ratio=2)
    assert result.ops == 100 * 256 * 7 * 7 * 4 * 8
    assert result.op_class is OpClass.POOLING
    assert work("RoiAlign", operands, [(100, 256, 7, 7)]).ops == result.ops


def test_roi_align_never_reads_more_than_the_map():
    operands = [(1, 256, 50, 50), (100, 4), t((100,), "int64")]
    assert work("RoiAlign", operands, [(100, 256, 7, 7)]).reads["i0"] == 256 * 50 * 50 * 4
    few = work("RoiAlign", [(1, 256, 50, 50), (1, 4), t((1,), "int64")], [(1, 256, 2, 2)], sampling_ratio=1)
    assert few.reads["i0"] == 256 * 4 * 4 * 4


def test_roi_pool_and_crops():
    assert work("MaxRoiPool", [(1, 8, 10, 10), (5, 5)], [(5, 8, 2, 2)]).ops == 5 * 8 * 10 * 10
    crops = [(1, 8, 10, 10), (5, 4), t((5,), "int32"), t((2,), "int32")]
    assert work("com.microsoft::CropAndResize", crops, [(5, 8, 4, 4)]).ops == 7 * 5 * 8 * 4 * 4
