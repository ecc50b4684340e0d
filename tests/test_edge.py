"""Small odd, corrupt and hand-counted models: right, or one clear error, and never slow (skipped where absent)."""

from __future__ import annotations

import json
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import efficiency_cli as eff
from efficiency_cli.errors import EffcliError, MissingDimension

EDGE = Path(__file__).resolve().parents[2] / "shared" / "edge"
# seconds of processor time: a busy machine is no fault of a model; the slowest takes one
LIMIT_S = 5.0

# sizes that an entry's text gives but its `bindings` do not
REQUESTS: dict[str, dict[str, Any]] = {
    "ms_matmulnbits_zp_gidx.onnx": {"dims": {"s": 4}},
    "dim_unknown_rank.onnx": {"shapes": {"x": (4, 16)}},
}
# counts that an entry leaves open
MACS = {
    "dim_unknown_rank.onnx": 4 * 16 * 8,
    "loop_while_only.onnx": 4096,  # an iteration
    "loop_int64max_trip.onnx": 4096,
}
# 128 weights made by ConstantOfShape: parameters here, none stored in the file
GENERATED = {"w_constantofshape.onnx": 128}


@cache
def entries() -> dict[str, dict[str, Any]]:
    path = EDGE / "expected.json"
    if not path.is_file():
        return {}
    return {entry["file"]: entry for entry in json.loads(path.read_text(encoding="utf-8"))}


def of_kind(kind: str) -> list[Any]:
    found = [name for name, entry in entries().items() if entry["kind"] == kind]
    return found or [pytest.param("", marks=pytest.mark.skip("needs ../shared/edge"))]


def analysed(name: str) -> eff.Estimate:
    request = REQUESTS.get(name) or {"dims": entries()[name]["bindings"] or {}}
    start = time.process_time()
    try:
        return eff.estimate(eff.read_model(str(EDGE / name), **request), eff.load_profile("cortex-m7"))
    finally:
        assert time.process_time() - start < LIMIT_S


@pytest.mark.parametrize("name", of_kind("valid"))
def test_valid(name: str) -> None:
    totals, entry = analysed(name).totals, entries()[name]
    expected = entry["macs"] if entry["macs"] is not None else MACS.get(name)
    assert expected is None or totals.macs == expected
    if entry["params"] is not None:
        parameters = GENERATED.get(name, entry["params"])
        assert parameters in (totals.parameters, totals.parameters + totals.auxiliary_parameters)


@pytest.mark.parametrize("name", of_kind("odd"))
def test_odd(name: str) -> None:
    try:
        result = analysed(name)
    except EffcliError as error:
        message = error.what
    else:
        macs = entries()[name]["macs"]
        message = "counted" if macs is None or result.totals.macs == macs else f"{result.totals.macs} MACs"
    assert message
    assert not message.endswith("MACs")


@pytest.mark.parametrize("name", of_kind("corrupt"))
def test_corrupt(name: str) -> None:
    with pytest.raises(EffcliError) as caught:
        analysed(name)
    what = caught.value.what
    assert what
    assert what[0].islower() or what[0] in "'/-0123456789" or what.startswith(str(EDGE))
    assert not what.endswith(".")


@pytest.mark.skipif(not entries(), reason="needs ../shared/edge")
def test_an_input_of_unknown_rank_needs_a_shape() -> None:
    with pytest.raises(MissingDimension) as caught:
        eff.read_model(str(EDGE / "dim_unknown_rank.onnx"))
    assert "--shape x=" in caught.value.hint


@pytest.mark.skipif(not entries(), reason="needs ../shared/edge")
@pytest.mark.parametrize("name", ["loop_while_only.onnx", "loop_int64max_trip.onnx"])
def test_an_endless_loop_is_a_lower_bound(name: str) -> None:
    assert [note for note in analysed(name).notes if note.endswith("1 counted: a lower bound")] != []


@pytest.mark.skipif(not entries(), reason="needs ../shared/edge")
def test_an_unknown_operator_is_named() -> None:
    coverage = analysed("custom_domain.onnx").coverage
    assert coverage.unmodelled
    assert coverage.nodes < 1
