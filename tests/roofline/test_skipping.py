"""A runtime that drops all-zero channels: what it does not compute takes no time, and it is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from machines import profile, q
from msgspec.structs import replace
from onnx import TensorProto, helper, numpy_helper

from efficiency_cli.graph.read import read_model
from efficiency_cli.hardware.profile import Profile
from efficiency_cli.roofline import skipping
from efficiency_cli.roofline.estimate import estimate

# two convolutions of 8 channels on 4x4 pixels; of the first one's channels 3 are zero
DENSE_1 = 4 * 4 * 8 * 2 * 9
DENSE_2 = 4 * 4 * 8 * 8
LEFT_1 = 4 * 4 * 5 * 2 * 9
LEFT_2 = 4 * 4 * 8 * 5


def network(path: Path, zero: tuple[int, ...]) -> Path:
    rng = np.random.default_rng(1)
    first = rng.normal(1, 0.1, (8, 2, 3, 3)).astype(np.float32)
    first[list(zero)] = 0
    second = rng.normal(1, 0.1, (8, 8, 1, 1)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w1"], ["a"], "one", pads=[1, 1, 1, 1]),
            helper.make_node("Conv", ["a", "w2"], ["y"], "two"),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8, 4, 4])],
        [numpy_helper.from_array(first, "w1"), numpy_helper.from_array(second, "w2")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def skipping_machine(**numbers: object) -> Profile:
    plain = profile(**numbers)  # type: ignore[arg-type]
    return replace(plain, runtimes=(replace(plain.runtimes[0], skips="zero-channels"),))


def test_products_with_zero_channels_take_no_time(tmp_path: Path) -> None:
    result = estimate(read_model(network(tmp_path / "m.onnx", (0, 3, 7))), skipping_machine())
    # a peak of 100 OP/s
    assert [t.compute_s for t in result.times] == pytest.approx([2 * LEFT_1 / 100, 2 * LEFT_2 / 100])
    assert [t.skipped_ops for t in result.times] == [2 * (DENSE_1 - LEFT_1), 2 * (DENSE_2 - LEFT_2)]
    # what is counted stays
    assert result.totals.macs == DENSE_1 + DENSE_2
    (told,) = (a for a in result.assumptions if "all-zero" in a)
    assert told.startswith(f"{DENSE_1 + DENSE_2 - LEFT_1 - LEFT_2:,} MACs")
    for t in result.times:
        assert t.times.bound_s <= t.times.lower_s <= t.times.expected_s <= t.times.upper_s


def test_nothing_is_said_where_nothing_is_zero(tmp_path: Path) -> None:
    model = read_model(network(tmp_path / "m.onnx", ()))
    result = estimate(model, skipping_machine())
    assert result.latency == estimate(model, profile()).latency
    assert not result.assumptions


def test_other_runtimes_compute_them(tmp_path: Path) -> None:
    result = estimate(read_model(network(tmp_path / "m.onnx", (0,))), profile())
    assert result.times[0].skipped_ops == 0


def test_large_or_missing_weights_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = network(tmp_path / "m.onnx", (0, 3, 7))
    monkeypatch.setattr(skipping, "MOST_WEIGHT_BYTES", 100)
    result = estimate(read_model(path), skipping_machine())
    assert result.times[0].skipped_ops == 0
    assert any("are not left out" in a and "larger than" in a for a in result.assumptions)


def test_graphs_of_many_nodes_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = network(tmp_path / "m.onnx", (0, 3, 7))
    monkeypatch.setattr(skipping, "MOST_NODES", 1)
    assert any("more than 1 nodes" in a for a in estimate(read_model(path), skipping_machine()).assumptions)


def test_networks_of_another_type_are_not_read(tmp_path: Path) -> None:
    machine = skipping_machine()
    fitted = replace(machine.runtimes[0], dtype="int8", grade="calibrated")
    result = estimate(read_model(network(tmp_path / "m.onnx", (0, 3, 7))), replace(machine, runtimes=(fitted,)))
    assert all(t.skipped_ops == 0 for t in result.times)


def test_a_scale_works_on_what_is_left(tmp_path: Path) -> None:
    model = read_model(network(tmp_path / "m.onnx", (0, 3, 7)))
    machine = skipping_machine(overlap=0.0)
    twice = replace(machine, runtimes=(replace(machine.runtimes[0], scale=q(2)),))
    once, double = estimate(model, machine).latency, estimate(model, twice).latency
    assert once is not None
    assert double is not None
    assert double.expected_s == pytest.approx(2 * once.expected_s)
