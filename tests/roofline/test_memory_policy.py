"""How far a result may lie over its operand: by simulation of every write; and what each policy makes of networks."""

from __future__ import annotations

from pathlib import Path

import pytest
from arenas import clashes
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_text import read

import efficiency_cli as eff
from efficiency_cli.roofline.memory.live import blocks_of
from efficiency_cli.roofline.memory.plan import planned
from efficiency_cli.roofline.memory.policy import Needs, Policy, needs_of
from efficiency_cli.roofline.memory.window import Gaps, Window, gaps_of
from efficiency_cli.roofline.network import Network

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
F = 4  # bytes of a float32


def needs(text: str, overwrites: str, **policy: object) -> Needs:
    network = Network(read(text))
    kernels = network.kernels(frozenset())
    return needs_of(network, kernels, blocks_of(network, kernels), Policy(overwrites, **policy))  # type: ignore[arg-type]


# --- windows ---


@st.composite
def windows(draw: st.DrawFn) -> Window:
    taps, stride, pad = draw(st.integers(1, 5)), draw(st.integers(1, 3)), draw(st.integers(0, 3))
    rows_in = draw(st.integers(1, 12))
    rows_out = max((rows_in + 2 * pad - taps) // stride + 1, 1)
    return Window(draw(st.integers(1, 3)), rows_in, rows_out, stride, pad, taps)


def survives(window: Window, row_in: int, row_out: int, start: int, *, forwards: bool) -> bool:
    """Whether every row of the operand, from byte 0 on, is whole whenever a row of the result is computed from it.

    The result begins at byte `start`; its rows are written one after the other, each before the next is read.
    """
    rows = window.images * window.rows_out
    spoiled: set[int] = set()
    for row in range(rows) if forwards else range(rows - 1, -1, -1):
        image, within = divmod(row, window.rows_out)
        first = within * int(window.stride) - int(window.pad)
        read_rows = [image * window.rows_in + r for r in range(first, first + window.reach) if 0 <= r < window.rows_in]
        # a row is written while it is computed: what it writes must not be what it still reads
        spoiled.update(range(start + row * row_out, start + (row + 1) * row_out))
        if any(byte in spoiled for r in read_rows for byte in range(r * row_in, (r + 1) * row_in)):
            return False
    return True


@settings(max_examples=300, deadline=None)
@given(windows(), st.integers(1, 6), st.integers(1, 6))
def test_no_row_is_overwritten_before_its_last_use(window: Window, row_in: int, row_out: int) -> None:
    operand, result = window.images * window.rows_in * row_in, window.images * window.rows_out * row_out
    gaps = gaps_of(window, operand, result)
    assert survives(window, row_in, row_out, -gaps.below, forwards=True)
    assert survives(window, row_in, row_out, operand + gaps.above - result, forwards=False)


@pytest.mark.parametrize(
    ("window", "row_in", "row_out", "below", "above"),
    [
        # 1 x 1, equal rows: a row lies where its operand's does but for itself
        (Window(1, 8, 8), 4, 4, 4, 4),
        # 3 x 3 with padding: one row more is still needed
        (Window(1, 8, 8, 1, 1, 3), 4, 4, 8, 8),
        # twice the channels: at the last row, 8 rows of 8 are written and 7 rows of 4 read
        (Window(1, 8, 8), 4, 8, 8 * 8 - 7 * 4, 8 * 8 - 7 * 4),
        # stride 2: the operand is ahead after the first row
        (Window(1, 8, 4, 2, 0, 3), 4, 4, 4, 4),
    ],
)
def test_gaps_by_hand(window: Window, row_in: int, row_out: int, below: int, above: int) -> None:
    assert gaps_of(window, window.rows_in * row_in, window.rows_out * row_out) == Gaps(below, above)


# --- policies ---

CHAIN = "g (float[10] x) => (float[] y) { a = Exp(x)  b = Neg(a)  y = Abs(b) }"


def test_element_wise_results_lie_over_operands_that_die() -> None:
    assert needs(CHAIN, "none").by_kernel == (20 * F, 20 * F, 20 * F)
    assert needs(CHAIN, "elementwise").by_kernel == (10 * F, 10 * F, 10 * F)


def test_an_operand_that_is_read_again_is_not_overwritten() -> None:
    text = "g (float[10] x) => (float[] y) { a = Exp(x)  b = Neg(a)  y = Add(b, a) }"
    # x a | a b, both needed | y over one of them
    assert needs(text, "elementwise").by_kernel == (10 * F, 20 * F, 20 * F)


def test_an_output_is_not_overwritten() -> None:
    text = "g (float[10] x) => (float[] a, float[] y) { a = Exp(x)  y = Neg(a) }"
    assert needs(text, "overlap").by_kernel == (10 * F, 20 * F)


def test_a_broadcast_operand_has_room_of_its_own() -> None:
    text = "g (float[10] x, float[1] z) => (float[] y) { a = Exp(z)  y = Add(x, a) }"
    # x z a | y over x, and a
    assert needs(text, "elementwise").by_kernel == (11 * F, 11 * F)


def test_a_product_needs_all_of_its_operand() -> None:
    text = "g (float[1,10] x) => (float[] y) <float[10,20] w> { y = MatMul(x, w) }"
    assert needs(text, "overlap").by_kernel == (30 * F,)


def test_only_the_rows_of_a_product_s_first_operand_can_go() -> None:
    text = "g (float[4,4] a, float[4,4] b) => (float[] y) { y = MatMul(a, b) }"
    # y may lie over a but for a row; all of b is read for every row
    assert needs(text, "overlap").by_kernel == ((16 + 16 + 4) * F,)


def test_a_result_lies_over_one_operand_alone() -> None:
    text = "g (float[10] a, float[10] b) => (float[] y, float[] z) { y = Add(a, b)  z = Neg(y) }"
    found = needs(text, "overlap")
    assert [(o.operand, o.result) for o in found.overlaps] == [("graph:a", "graph:y")]
    assert found.by_kernel == (20 * F, 20 * F)


def test_interpolation_is_not_element_by_element() -> None:
    text = """g (float[1,4,8,8] x) => (float[] y) <float[4] s = {1, 1, 2, 2}> { y = Resize(x, , s) }"""
    small = 4 * 8 * 8 * F
    assert needs(text, "elementwise").by_kernel == (5 * small,)
    # row 15, the last, still reads row 6 of 8
    assert 4 * small < needs(text, "overlap").by_kernel[0] < 5 * small


def test_a_pointwise_convolution_overlaps_but_for_a_row() -> None:
    text = "g (float[1,8,16,16] x) => (float[] y) <float[8,8,1,1] w> { y = Conv(x, w) }"
    image, row = 8 * 16 * 16 * F, 8 * 16 * F
    assert needs(text, "elementwise").by_kernel == (2 * image,)
    assert needs(text, "overlap").by_kernel == (image + row,)
    assert needs(text, "overlap", apart=frozenset({"pointwise"})).by_kernel == (2 * image,)


def test_a_depthwise_convolution_in_place_needs_a_channel() -> None:
    text = """g (float[1,8,16,16] x) => (float[] y) <float[8,1,3,3] w> {
        y = Conv<group = 8, pads = [1, 1, 1, 1]>(x, w)
    }"""
    image = 8 * 16 * 16 * F
    assert needs(text, "elementwise").by_kernel == (2 * image,)
    assert needs(text, "depthwise").by_kernel == (image + image // 8,)
    # two rows of eight channels
    assert needs(text, "overlap").by_kernel == (image + 2 * 8 * 16 * F,)


def test_a_growing_convolution_is_written_backwards_or_off_its_operand() -> None:
    text = "g (float[1,4,16,16] x) => (float[] y) <float[8,4,1,1] w> { y = Conv(x, w) }"
    small, row = 4 * 16 * 16 * F, 4 * 16 * F
    # y is 2·small; when its last row is written, the 15 rows before it of x may be gone
    assert needs(text, "overlap").by_kernel == (2 * small + row,)


def test_a_cache_is_written_in_place() -> None:
    text = """g (float[64,8] past, int64[1,1] at, float[1,8] new) => (float[64,8] present) {
        present = ScatterND(past, at, new)
    }"""
    cache, rest = 64 * 8 * F, 8 + 8 * F
    assert needs(text, "none").by_kernel == (2 * cache + rest,)
    assert needs(text, "elementwise").by_kernel == (cache + rest,)


def test_scratch_is_there_while_its_kernel_runs() -> None:
    text = """g (float[1,8,16,16] x) => (float[] y) <float[4,8,3,3] w> {
        c = Conv<pads = [1, 1, 1, 1]>(x, w)  y = Exp(c)
    }"""
    image = 16 * 16 * F
    # two columns of 8·3·3 operands in 16 bits
    assert needs(text, "none", columns={"convolution": 2}).by_kernel == (12 * image + 2 * 8 * 9 * 2, 8 * image)


@pytest.mark.parametrize(
    ("overwrites", "peak"),
    [
        # 48 x 48 in 8 channels become 16, with room for both
        ("none", 48 * 48 * 8 + 48 * 48 * 16),
        ("elementwise", 48 * 48 * 8 + 48 * 48 * 16),
        # the result, and a row of the operand
        ("overlap", 48 * 48 * 16 + 48 * 8),
    ],
)
def test_visual_wake_words(overwrites: str, peak: int) -> None:
    network = Network(eff.read_model(str(SAMPLES / "vww_mobilenetv1_int8.onnx")))
    kernels = network.kernels()
    found = needs_of(network, kernels, blocks_of(network, kernels), Policy(overwrites))
    assert found.bound == peak
    plan = planned(found.blocks, len(kernels), found.bound, 1, found.gaps)
    assert plan.size == peak
    assert clashes(plan, found.gaps) == []
