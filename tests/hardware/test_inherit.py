"""`base:` hands down what a profile, or one of its runtimes, does not say; what cannot be followed is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from efficiency_cli.errors import ProfileError
from efficiency_cli.hardware.lint import lint
from efficiency_cli.hardware.load import load_profile, profiles, shipped_dir

BOARD = """\
base: cortex-m7
name: My board
sources: {mine: "my board's data sheet, page 3"}
clock: {value: 216 MHz, source: mine, kind: datasheet}
memory:
  sram:
    size: {value: 320 KiB, source: mine, kind: datasheet}
"""


def written(folder: Path, text: str, name: str = "my-board") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


def refused(folder: Path, text: str) -> str:
    with pytest.raises(ProfileError) as caught:
        load_profile(written(folder, text))
    return " ".join((caught.value.what, *caught.value.where))


def test_a_board_is_its_core_but_for_what_it_says(tmp_path: Path) -> None:
    core, board = load_profile("cortex-m7"), load_profile(written(tmp_path, BOARD))
    assert (board.id, board.name, board.base, board.aliases) == ("my-board", "My board", "cortex-m7", ())
    sram, was = board.memory[0], core.memory[0]
    assert sram.size_bytes == 320 * 1024
    assert sram.holds == was.holds
    # the bandwidth is counted in cycles: it follows the board's clock
    assert sram.bytes_per_s / was.bytes_per_s == pytest.approx(216e6 / 480e6)
    assert board.peak("int8")[0] / core.peak("int8")[0] == pytest.approx(216e6 / 480e6)
    assert board.runtime().efficiency == core.runtime().efficiency
    assert set(board.sources) == {*core.sources, "mine"}


def test_the_order_of_the_base_is_kept_and_new_levels_come_last(tmp_path: Path) -> None:
    more = "  sdram:\n    bandwidth: {value: 0.1 GB/s, source: mine, kind: measured}\n    holds: [activations]\n"
    board = load_profile(written(tmp_path, BOARD + more))
    assert [m.name for m in board.memory] == ["sram", "flash", "sdram"]


def test_a_number_is_replaced_as_a_whole(tmp_path: Path) -> None:
    assert "missing key 'source' in clock" in refused(tmp_path, "base: cortex-m7\nclock: {value: 1 MHz}\n")


def test_a_runtime_stands_on_another(tmp_path: Path) -> None:
    text = (
        BOARD + "runtimes:\n  old:\n    base: x-cube-ai\n    name: Old\n"
        "    scale: {value: 1.5, source: mine, kind: measured}\n"
    )
    board = load_profile(written(tmp_path, text))
    old, new = board.runtime("old"), board.runtime("x-cube-ai")
    assert (old.name, old.scale_factor, new.scale_factor) == ("Old", 1.5, 1)
    assert old.efficiency == new.efficiency
    assert old.fusion == new.fusion


def test_a_variant_of_a_runtime_follows_what_a_board_changes(tmp_path: Path) -> None:
    text = BOARD + (
        "runtimes:\n"
        "  old: {base: x-cube-ai, name: Old}\n"
        "  x-cube-ai:\n    efficiency:\n      dense: {value: 0.25, source: mine, kind: measured}\n"
    )
    board = load_profile(written(tmp_path, text))
    assert board.runtime("old").efficiency_of("dense") == 0.25
    assert board.runtime("old").efficiency_of("pooling") == load_profile("cortex-m7").runtime().efficiency_of("pooling")


def test_overrides_work_on_what_is_handed_down(tmp_path: Path) -> None:
    path = written(tmp_path, BOARD)
    changed = load_profile(path, overrides=["memory.flash.size=4MiB", "clock=100MHz"])
    assert changed.memory[1].size_bytes == 4 << 20
    assert changed.clock is not None
    assert changed.clock.value == 100e6
    assert load_profile(path).memory[1].size_bytes == 2 << 20


def test_ones_own_version_of_a_shipped_profile_stands_on_the_shipped_one(tmp_path: Path) -> None:
    written(tmp_path, "base: cortex-m7\nname: Mine\n", "cortex-m7")
    mine = load_profile("cortex-m7", [tmp_path])
    assert (mine.name, mine.path) == ("Mine", str(tmp_path / "cortex-m7.yaml"))
    assert mine.peak("int8") == load_profile("cortex-m7").peak("int8")


def test_bases_beside_the_file_and_in_folders_are_found(tmp_path: Path) -> None:
    written(tmp_path, BOARD)
    path = written(tmp_path, "base: my-board\nname: Twice\n", "twice")
    assert load_profile(path).memory[0].size_bytes == 320 * 1024
    assert [p.name for p in profiles("twice", [tmp_path])] == ["Twice"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("base: cortex-m9\n", "my-board.yaml:1:7: base 'cortex-m9': unknown hardware 'cortex-m9'"),
        ("base: ../cortex-m7\n", "'../cortex-m7' is not the id of a profile"),
        ("base: /etc/passwd\n", "is not the id of a profile"),
        ("base: [cortex-m7]\n", "base must be text"),
        ("base: broken\n", "base 'broken': profile 'broken' cannot be read"),
        ("base: other\n", "base 'my-board' leads back to this profile"),
        ("base: cortex-m7\nruntimes: {a: {base: b}}\n", "runtime 'a' stands on 'b', which is not there"),
        ("base: cortex-m7\nruntimes: {a: {base: b}, b: {base: a}}\n", "the base of runtime 'b' leads back to it"),
        ("base: cortex-m7\nruntimes: {a: {base: a}}\n", "the base of runtime 'a' leads back to it"),
        ("base: cortex-m7\nruntimes: [a]\n", "runtimes must be a mapping"),
        ("base: cortex-m7\nmemory: fast\n", "memory must be a mapping"),
    ],
)
def test_what_cannot_be_followed(tmp_path: Path, text: str, said: str) -> None:
    written(tmp_path, "base: my-board\n", "other")
    written(tmp_path, "a: [", "broken")
    assert said in refused(tmp_path, text)


def test_a_long_chain_is_refused(tmp_path: Path) -> None:
    for k in range(8):
        written(tmp_path, f"base: b{k + 1}\n" if k < 7 else "base: cortex-m7\n", f"b{k}")
    with pytest.raises(ProfileError, match="stands on nothing") as caught:
        load_profile(tmp_path / "b0.yaml")
    assert "more than 5 profiles" in caught.value.where[0]


def test_lint_tells_only_of_the_files_own_doubts(tmp_path: Path) -> None:
    doubtful = (shipped_dir() / "cortex-m7.yaml").read_text().replace("value: 2 MiB", "value: 2 MB")
    written(tmp_path, doubtful, "doubtful")
    assert any("thousands" in f.message for f in lint(tmp_path / "doubtful.yaml"))
    path = written(tmp_path, "base: doubtful\nname: Board\n")
    assert lint(path) == []
    path = written(tmp_path, BOARD.replace("320 KiB", "320 kB").replace("cortex-m7", "doubtful"))
    assert [(f.line, "thousands" in f.message) for f in lint(path)] == [(7, True)]
    missing = lint(written(tmp_path, "base: nowhere\n"))
    assert [(f.level, f.line) for f in missing] == [("error", 1)]
