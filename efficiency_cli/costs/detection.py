"""Regions and boxes: non-maximum suppression and pooling of regions of interest."""

from __future__ import annotations

import math

from efficiency_cli.costs import MICROSOFT, Op, Work, cost
from efficiency_cli.graph.model import OpClass

# overlap of two boxes: 4 min/max, 2 sides, 2 clamps, area, union (2), divide, compare
_OVERLAP = 13
_BILINEAR = 7  # 4 products and 3 sums of the corners
_ADAPTIVE_SAMPLES = 2  # taken for sampling_ratio = 0, which adapts to the size of each region


@cost("NonMaxSuppression")
def suppression(op: Op) -> Work:
    """For each image and class: a threshold (n comparisons), a sort (n·⌈log₂ n⌉), and the overlaps of the
    k boxes that can be kept, 13·k·(k − 1)/2.

    What a run costs depends on the data; boxes that are dropped cost more, early thresholds save most of it.
    """
    scores = op.shape(1)
    images, classes, boxes = scores[0], scores[1], scores[2]
    limit = op.get(2)
    kept = min(boxes, max(0, int(limit.value[0]))) if limit is not None and limit.value else boxes
    each = boxes + boxes * max(boxes - 1, 0).bit_length() + _OVERLAP * (kept * (kept - 1) // 2)
    note = "depends on data: overlaps of all boxes that can be kept"
    return op.work(other=images * classes * each, note=note)


@cost("RoiAlign")
def roi_align(op: Op) -> Work:
    """sampling_ratio² samples an output, 7 each by bilinear interpolation and 1 to average or compare.

    sampling_ratio = 0 adapts to the region and is taken as 2. Reads at most four elements a sample.
    """
    ratio = op.attr("sampling_ratio", 0) or _ADAPTIVE_SAMPLES
    samples = ratio * ratio * op.elements()
    x = op.input()
    each = -(-x.bytes // max(x.numel, 1))
    touched = {0: min(x.bytes, 4 * samples * each)}
    return op.work(other=samples * (_BILINEAR + 1), op_class=OpClass.POOLING, touched=touched)


@cost("MaxRoiPool")
def roi_pool(op: Op) -> Work:
    """One comparison an element of each region, which is taken as the whole map: an upper bound."""
    x, regions = op.shape(), op.shape(1)[0]
    other = regions * math.prod(x[1:])
    return op.work(other=other, op_class=OpClass.POOLING, note="upper bound: regions as large as the map")


@cost(f"{MICROSOFT}::CropAndResize")
def crop_and_resize(op: Op) -> Work:
    """7 an output: bilinear interpolation; 0 for mode = nearest."""
    each = 0 if op.attr("mode", "bilinear") == "nearest" else _BILINEAR
    return op.work(other=each * op.elements())
