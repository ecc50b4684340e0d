"""What spills is what is alive under the runtime's own use of memory, on a board with a second memory."""

from __future__ import annotations

from pathlib import Path

import efficiency_cli as eff

VWW = Path(__file__).resolve().parents[2] / "samples" / "vww_mobilenetv1_int8.onnx"
# bytes alive at the peak of the network: every buffer on its own, and results written over operands
PLAIN, OVERLAPPING = 55_296, 37_248


def spilled(runtime: str, kib: int) -> int:
    board = eff.load_profile("stm32f746", overrides=[f"memory.sram.size={kib}KiB"])
    return sum(t.spilled_bytes for t in eff.estimate(eff.read_model(str(VWW)), board, runtime=runtime).times)


def test_a_runtime_that_overwrites_spills_later() -> None:
    assert OVERLAPPING < 40 * 1024 < PLAIN
    assert spilled("x-cube-ai", 40) == 0
    assert spilled("plumerai", 40) > 0
    assert spilled("x-cube-ai", 24) > 0


def test_nothing_spills_where_everything_fits() -> None:
    assert spilled("plumerai", 54) == 0


def test_spilling_takes_time() -> None:
    model = eff.read_model(str(VWW))
    small, large = (eff.load_profile("stm32f746", overrides=[f"memory.sram.size={k}KiB"]) for k in (16, 320))
    times = [eff.estimate(model, board, runtime="plumerai").latency for board in (small, large)]
    assert times[0] is not None
    assert times[1] is not None
    assert times[0].expected_s > times[1].expected_s
    assert times[0].bound_s == times[1].bound_s
