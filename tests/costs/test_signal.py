from __future__ import annotations

import pytest
from one_node import t, work


@pytest.mark.parametrize(
    ("x", "output", "attributes", "ops"),
    [
        ((3, 256, 2), (3, 256, 2), {}, 3 * 5 * 256 * 8),
        ((3, 256, 1), (3, 256, 2), {}, 3 * 5 * 256 * 8 // 2),
        ((3, 256, 1), (3, 129, 2), {"onesided": 1}, 3 * 5 * 256 * 8 // 2),
        ((3, 256, 8, 2), (3, 256, 8, 2), {"axis": 1}, 3 * 8 * 5 * 256 * 8),
        ((1, 100, 2), (1, 100, 2), {}, 5 * 100 * 7),
    ],
)
def test_dft(x, output, attributes, ops):
    assert work("DFT", [x], [output], **attributes).ops == ops


def test_dft_of_a_given_length_and_axis():
    operands = [(3, 8, 200, 2), t((), "int64", (256,)), t((), "int64", (2,))]
    assert work("DFT", operands, [(3, 8, 256, 2)]).ops == 3 * 8 * 5 * 256 * 8


def test_stft_windows_and_transforms_each_frame():
    operands = [(1, 16000, 1), t((), "int64"), (400,)]
    result = work("STFT", operands, [(1, 98, 201, 2)])
    assert result.ops == 98 * (5 * 400 * 9 // 2 + 400)


@pytest.mark.parametrize(("op", "each"), [("HannWindow", 4), ("HammingWindow", 4), ("BlackmanWindow", 8)])
def test_windows(op, each):
    assert work(op, [t((), "int64")], [(400,)]).ops == each * 400


def test_mel_weights():
    assert work("MelWeightMatrix", [t((), "int64")] * 5, [(201, 80)]).ops == 6 * 201 * 80


def test_real_transforms_both_ways():
    there = work("com.microsoft::Rfft", [(3, 256)], [(3, 129, 2)], signal_ndim=1)
    back = work("com.microsoft::Irfft", [(3, 129, 2)], [(3, 256)], signal_ndim=1)
    assert there.ops == back.ops == 3 * 5 * 256 * 8 // 2
