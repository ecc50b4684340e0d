from __future__ import annotations

import pytest
from one_node import t, work

from efficiency_cli.costs import CostError
from efficiency_cli.graph.model import DType

MOE = "com.microsoft::MoE"
WEIGHTS = [(6, 32), (6, 4), (4, 64, 32), None, (4, 32, 64)]  # 6 tokens, 4 experts, 32 features, 64 inside


def test_macs_of_the_experts_a_token_takes():
    assert work(MOE, WEIGHTS, [(6, 32)], k=2).macs == 6 * 2 * (64 * 32 + 32 * 64)


def test_separate_and_fused_gate_are_the_same_work():
    separate = work(MOE, [*WEIGHTS, None, (4, 64, 32)], [(6, 32)], k=1, activation_type="silu")
    fused = [(6, 32), (6, 4), (4, 128, 32), None, (4, 32, 64)]
    packed = work(MOE, fused, [(6, 32)], k=1, activation_type="swiglu", swiglu_fusion=1)
    assert separate.macs == packed.macs == 6 * (128 * 32 + 32 * 64)
    assert separate.ops == packed.ops


def test_other_operations():
    result = work(MOE, [*WEIGHTS[:3], (4, 64), WEIGHTS[4], (4, 32)], [(6, 32)], k=2, activation_type="relu")
    # biases of 64 and 32, relu of 64, and weighting and adding 32 results
    assert result.ops - 2 * result.macs == 6 * 2 * (64 + 32 + 64 + 2 * 32)


def test_only_the_experts_in_use_are_read():
    result = work(MOE, [(1, 32), (1, 4), *WEIGHTS[2:]], [(1, 32)], k=2)
    assert result.reads["i2"] == 4 * 64 * 32 * 4 * 2 // 4
    assert work(MOE, WEIGHTS, [(6, 32)], k=2).reads["i2"] == 4 * 64 * 32 * 4


def test_packed_experts_count_as_unpacked():
    packed = [(6, 32), (6, 4), t((4, 64, 16), "uint8"), (4, 64), None, t((4, 32, 32), "uint8"), (4, 32)]
    result = work("com.microsoft::QMoE", packed, [(6, 32)], k=2)
    assert result.macs == 6 * 2 * (64 * 32 + 32 * 64)
    assert result.dtype is DType.FLOAT32
    assert result.reads["i2"] == 4 * 64 * 16


def test_wrong_ranks():
    with pytest.raises(CostError, match="experts' weights"):
        work(MOE, [(6, 32), (6, 4), (64, 32), None, (32, 64)], [(6, 32)])
