"""Every graph that real exporters wrote analyses, with the MACs that PyTorch counts (skipped where they are absent).

`python tests/model_table.py` prints what is held here as a table.
"""

from __future__ import annotations

import re
from functools import cache

import pytest
from model_table import MACS_DIFFER, MODELS, Row, row_of, table

import efficiency_cli as eff

# BatchNorms of a family whose convolutions have no bias: folded, a scale and a shift become one
FOLDED = {"resnet18": 20, "resnet50": 53, "mobilenet_v2": 52, "shufflenet_v2_x1_0": 56, "ghostnet_100": 80}
# the same where a bias was there already
FOLDED_INTO_BIAS = {"vww_mobilenetv1_025": 27, "kws_dscnn": 9, "ic_resnet8": 7}
# how a file is quantised, or its numbers narrowed
NARROWED = r"\.(qdq|qop|dynq|past_dynq|fp16|past_fp16|past_nb|nb4|static128_nb4)"


@cache
def counted(name: str) -> Row:
    return row_of(name, eff.load_profile("cortex-m7"))


def names(pattern: str = "") -> list[object]:
    found = [name for name in sorted(table()) if re.search(pattern, name)]
    return list(found) or [pytest.param("", marks=pytest.mark.skip("needs ../shared/models"))]


@pytest.mark.skipif(not table(), reason="needs ../shared/models")
def test_the_table_and_the_folder_agree() -> None:
    assert sorted(path.name for path in MODELS.glob("*.onnx")) == sorted(table())
    assert len(table()) == 183


@pytest.mark.parametrize("name", names())
def test_a_real_export(name: str) -> None:
    row = counted(name)
    assert row.macs == row.expected_macs + MACS_DIFFER.get(name, (0, ""))[0]
    result = row.estimate
    assert (result.coverage.unmodelled, result.coverage.unknown_shapes) == ((), ())
    assert result.latency is not None
    assert 0 < result.latency.bound_s <= result.latency.expected_s


@pytest.mark.parametrize("name", names())
def test_parameters_are_pytorch_s_but_for_named_differences(name: str) -> None:
    row = counted(name)
    assert row.parameters == row.expected_parameters or row.parameters_why


@pytest.mark.parametrize(
    "name", names(rf"^({'|'.join(FOLDED)}|{'|'.join(FOLDED_INTO_BIAS)})\.(ts1[1-7]|qdq|qop)(?!_bn)")
)
def test_what_folding_leaves_of_the_parameters(name: str) -> None:
    """A BatchNorm of C channels has 2 C parameters, and 2 C + 1 buffers."""
    family = name.partition(".")[0]
    norms = FOLDED.get(family) or FOLDED_INTO_BIAS[family]
    channels = (int(table()[name]["buffers"]) - norms) // 2
    row = counted(name)
    lost = channels if family in FOLDED else 2 * channels
    assert row.parameters == row.expected_parameters - lost


@pytest.mark.parametrize("name", names(NARROWED))
def test_narrow_numbers_change_no_macs(name: str) -> None:
    """Q/DQ, QOperator, dynamic, 4- and 8-bit and half-precision versions: the MACs of the float one."""
    family = re.sub(NARROWED + r".*", "", name)
    inputs = table()[name]["inputs"]
    same = [n for n in table() if n.partition(".")[0] in _kin(family) and table()[n]["inputs"] == inputs]
    plain = [n for n in same if not re.search(NARROWED + r"|hfgen|gqa|ort_all|nchwc", n)]
    assert plain, f"no float version of {name}"
    assert {counted(n).macs for n in plain} == {counted(name).macs}


def _kin(family: str) -> tuple[str, ...]:
    return {"vit_tiny": ("vit_tiny", "vit_tiny_patch16_224")}.get(family, (family,))
