"""What a user waits for: whole commands, as ratios to a process that only imports the libraries.

Run with `pytest tests/benchmarks --benchmark-only -q`. The limits are the project's own; a figure over one fails.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import networks
import pytest
from costs import IMPORTS, LIGHT_IMPORTS, Cost, costs, effcli

# as asked, on a machine that does nothing else; the ratios are for others
MOST_S_OF_20000_NODES = 3
MOST_S_TO_START = 0.25


def record(benchmark: Any, measured: Cost, **figures: float) -> None:
    """Put the process's figures beside the name in pytest-benchmark's table and file."""
    benchmark.extra_info.update({"seconds": measured.seconds, "peak_kb": measured.peak_kb, **figures})
    benchmark.pedantic(lambda: None, rounds=1)
    shown = "  ".join(f"{name} {value:.2f}" for name, value in figures.items())
    print(f"\n{benchmark.name}: {measured.seconds:.3f} s, {measured.peak_kb / 1000:.1f} MB  {shown}")


def test_resnet50_of_102_mb(benchmark: Any, folder: Path) -> None:
    model = folder / "resnet50.onnx"
    networks.resnet50_with_weights(model)
    base, ours = costs(IMPORTS, effcli("analyze", model, "--hw", "cortex-m7"))
    times, memory = ours.seconds / base.seconds, ours.peak_kb / base.peak_kb
    record(benchmark, ours, times_imports=times, memory_of_imports=memory)
    assert times <= 1.6
    assert memory <= 1.6


def test_weights_of_1800_mb_cost_nothing(benchmark: Any, folder: Path) -> None:
    light, heavy = folder / "light.onnx", folder / "heavy.onnx"
    networks.matmuls(light, weights=False)
    networks.matmuls(heavy, weights=True)
    without, ours = costs(effcli("analyze", light), effcli("analyze", heavy))
    heavy.unlink()
    times, memory = ours.seconds / without.seconds, ours.peak_kb / without.peak_kb
    record(benchmark, ours, times_without=times, memory_without=memory)
    assert times <= 1.2
    assert memory <= 1.2


def test_graphs_of_20000_and_40000_nodes(benchmark: Any, folder: Path) -> None:
    small, large = folder / "20000.onnx", folder / "40000.onnx"
    networks.chain(small, 20_000)
    networks.chain(large, 40_000)
    commands = [effcli("analyze", model, "--hw", "cortex-m7") for model in (small, large)]
    base, one, two = costs(IMPORTS, *commands, rounds=6)
    times = one.seconds / base.seconds
    record(benchmark, one, times_imports=times, large_to_small=two.seconds / one.seconds)
    assert one.seconds <= MOST_S_OF_20000_NODES
    assert two.seconds / one.seconds <= 2.3


@pytest.mark.parametrize("arguments", [("--help",), ("hw", "list")], ids=["help", "hw-list"])
def test_start_up(benchmark: Any, arguments: tuple[str, ...]) -> None:
    base, ours = costs(LIGHT_IMPORTS, effcli(*arguments), rounds=20)
    times = ours.seconds / base.seconds
    record(benchmark, ours, times_light_imports=times)
    assert ours.seconds <= MOST_S_TO_START
