"""Loading is strict: each kind of mistake, at its place, and nothing else escapes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from efficiency_cli.errors import EffcliError, ProfileError, UsageError
from efficiency_cli.hardware import load
from efficiency_cli.hardware.build import build_profile
from efficiency_cli.hardware.load import load_profile, load_summary, parse_tree, profile_ids, profiles

GOOD = """\
schema_version: 1
name: Board
aliases: [my-board]
class: mcu
sources:
  ds: "data sheet 1"
clock: {value: 100 MHz, source: ds, kind: datasheet}
compute:
  int8:
    matrix: {value: 4 OP/cycle, source: ds, kind: derived, note: two MACs}
    vector: {value: 100 MOP/s, source: ds, kind: datasheet}
memory:
  sram:
    size: {value: 256 KiB, source: ds, kind: datasheet}
    bandwidth: {value: 4 B/cycle, source: ds, kind: derived}
    holds: [activations, weights]
runtime: fast
runtimes:
  fast:
    name: Fast 1
    grade: datasheet
    dtype: int8
    overlap: {value: 0, source: ds, kind: derived}
    dispatch:
      kernel: {value: 1000 cycles, source: ds, kind: derived}
    efficiency:
      dense: {value: 50 %, source: ds, kind: derived}
    fusion: [activation]
energy:
  per_byte:
    sram: {value: 1 pJ/B, source: ds, kind: derived}
"""


def line(text: str) -> int:
    return 1 + next(i for i, written in enumerate(GOOD.splitlines()) if text in written)


def place(old: str, new: str, at: str) -> str:
    """`line:column` of `at` in the line where `old` was replaced by `new`."""
    written = next(w for w in GOOD.splitlines() if old.splitlines()[0] in w)
    return f"{line(old.splitlines()[0])}:{written.replace(old, new).index(at) + 1}"


def write(folder: Path, text: str | bytes, name: str = "board.yaml") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def mistakes(folder: Path, text: str | bytes) -> list[str]:
    path = write(folder, text)
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    return [where.removeprefix(f"{path}:") for where in caught.value.where]


def test_the_good_profile_loads(tmp_path: Path) -> None:
    profile = load_profile(write(tmp_path, GOOD))
    assert (profile.id, profile.name, profile.machine_class) == ("board", "Board", "mcu")
    assert profile.peak("int8") == (4 * 100e6, "int8")
    assert profile.peak("int8", "vector") == (100e6, "int8")
    assert profile.memory[0].size_bytes == 256 * 1024
    assert profile.memory[0].bytes_per_s == 4 * 100e6
    assert profile.runtime().kernel_s == 1000 / 100e6
    assert profile.runtime().efficiency_of("dense") == 0.5
    assert profile.compute["int8"].matrix.note == "two MACs"


# what is replaced, by what, where the mistake is shown, and what is said
MISTAKES = [
    ("vector:", "vectr:", "vectr", "unknown key in compute.int8: 'vectr'; did you mean 'vector'?"),
    ("class: mcu", "class: mcv", "mcv", "class: unknown value 'mcv'; did you mean 'mcu'?"),
    ("class: mcu", "class: [mcu]", "[mcu]", "class must be text"),
    ("name: Board", "name:", ":", "name is empty"),
    ("schema_version: 1", "schema_version: 2", "2", "schema_version: unknown value '2'; known: 1"),
    ("int8:", "int9:", "int9", "unknown key in compute: 'int9'; did you mean 'int8'?"),
    ("100 MHz", "100", "100", "clock: a unit is required in '100': write '480 MHz'"),
    ("100 MHz", "fast", "fast", "clock: 'fast' is not a number with a unit such as '480 MHz'"),
    ("100 MHz", "0 Hz", "0 Hz", "clock: '0 Hz' is zero"),
    ("100 MOP/s", "100 MB", "100", "compute.int8.vector: 'MB' is a unit of bytes, not of rate, in"),
    ("100 MOP/s", "100 XOP/s", "100", "compute.int8.vector: unknown unit 'XOP/s' in '100 XOP/s'"),
    ("100 MOP/s", "-1 OP/s", "-1", "compute.int8.vector: '-1 OP/s' is negative"),
    ("100 MOP/s", "1e999 OP/s", "1e999", "compute.int8.vector: '1e999 OP/s' is not a finite number"),
    ("50 %", "120 %", "120", "runtimes.fast.efficiency.dense: '120 %' is above 1"),
    ("overlap: {value: 0", "overlap: {value: 1.5", "1.5", "runtimes.fast.overlap: '1.5' is above 1"),
    ("{value: 0, ", "{", "{", "missing key 'value' in runtimes.fast.overlap"),
    ("100 MHz, source: ds", "100 MHz", "{", "missing key 'source' in clock"),
    ("100 MHz, source: ds", "100 MHz, source: dx", "dx", "clock: unknown source 'dx'; known: ds"),
    ("{value: 50 %, source: ds, kind: derived}", "0.5", "0.5", "must be a mapping {value: …,"),
    ("note: two", "not: two", "not", "unknown key in compute.int8.matrix: 'not'; did you mean 'note'?"),
    ("kind: derived, note", "kind: guessed, note", "guessed", "compute.int8.matrix.kind: unknown value"),
    ("runtime: fast", "runtime: fats", "fats", "unknown default runtime 'fats'; did you mean 'fast'?"),
    ("dtype: int8", "dtype: int16", "int16", "runtimes.fast.dtype: no entry under compute for 'int16'"),
    ("[activation]", "[activations]", "activations", "runtimes.fast.fusion[0]: unknown value 'activations'"),
    ("[activation]", "activation", "activation", "runtimes.fast.fusion must be a list"),
    ("[activations, weights]", "[weights]", "", "no level of memory holds activations"),
    ("sram: {value: 1 pJ", "dram: {value: 1 pJ", "dram", "energy.per_byte: unknown memory level 'dram'"),
    ("fast:", "fa st:", "fa st", "'fa st' is not a name in runtimes"),
    ("class: mcu", "name: again", "name", "duplicate key 'name' in the profile, first on line 2"),
    ("class: mcu", "class: *x", "*x", "aliases (*name) are not accepted"),
    ("class: mcu", "class: &x mcu", "&x", "anchors (&name) are not accepted"),
    ("class: mcu", "class: !!str mcu", "!!str", "tags (!name) are not accepted"),
    ("class: mcu", "class: mcu\x07", "\x07", "a control character is not allowed"),
]


@pytest.mark.parametrize(("old", "new", "at", "message"), MISTAKES)
def test_each_mistake_is_named_at_its_place(tmp_path: Path, old: str, new: str, at: str, message: str) -> None:
    assert GOOD.count(old) >= 1
    found = mistakes(tmp_path, GOOD.replace(old, new, 1))
    matching = [f for f in found if message in f]
    assert matching, found
    if at and at != ":":
        assert matching[0].startswith(f"{place(old, new, at)}: "), matching


def test_a_missing_key_is_shown_where_its_mapping_begins(tmp_path: Path) -> None:
    found = mistakes(tmp_path, GOOD.replace("    grade: datasheet\n", ""))
    assert found == [f"{line('    name: Fast 1')}:5: missing key 'grade' in runtimes.fast"]


def test_cycles_need_a_clock(tmp_path: Path) -> None:
    found = mistakes(tmp_path, GOOD.replace("clock: {value: 100 MHz, source: ds, kind: datasheet}\n", ""))
    assert [f.split(": ", 1)[1] for f in found] == [
        "compute.int8.matrix: '4 OP/cycle' is counted in cycles and no clock is given",
        "memory.sram.bandwidth: '4 B/cycle' is counted in cycles and no clock is given",
        "runtimes.fast.dispatch.kernel: '1000 cycles' is counted in cycles and no clock is given",
    ]


def test_all_mistakes_are_told_at_once_in_file_order(tmp_path: Path) -> None:
    text = GOOD.replace("class: mcu", "class: mcv").replace("vector:", "vectr:").replace("50 %", "2")
    found = mistakes(tmp_path, text.replace("runtime: fast", "runtime: slow"))
    assert [int(f.split(":")[0]) for f in found] == [
        line("class: mcu"),
        line("vector:"),
        line("runtime: fast"),
        line("50 %"),
    ]


def test_a_wrong_clock_is_told_once(tmp_path: Path) -> None:
    assert len(mistakes(tmp_path, GOOD.replace("100 MHz", "100 GB"))) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1:1: the file is empty"),
        ("name: x\n\tclass: mcu\n", "2:1: not YAML: "),
        ("name: {x\n", "2:1: not YAML: "),
        ("? [a]\n: b\n", "1:3: a key must be plain text"),
        ("[1, 2]\n", "1:1: the profile must be a mapping"),
        (b"name: \xff\n", "1:7: the file is not UTF-8 text"),
        ("a: " + "[" * 40 + "]" * 40, "1:35: nested deeper than 32 levels"),
        ("[" * 200_000, "1:33: nested deeper than 32 levels"),
        ("#" * ((1 << 20) + 1), "1:1: the file is larger than 1 MiB"),
    ],
)
def test_what_is_no_plain_yaml_document(tmp_path: Path, text: str | bytes, expected: str) -> None:
    found = mistakes(tmp_path, text)
    assert found[0].startswith(expected)


def test_a_second_document_is_shown_where_it_begins(tmp_path: Path) -> None:
    assert mistakes(tmp_path, "a: b\n---\nc: d\n")[0].startswith("3:1: ")


def test_a_hundred_thousand_mistakes_end_early(tmp_path: Path) -> None:
    found = mistakes(tmp_path, "".join(f"k{i}: v\n" for i in range(100_000)))
    assert len(found) == 101
    assert found[-1].endswith("stopped after 100 mistakes")


def test_the_slow_parser_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = [mistakes(tmp_path, GOOD.replace(old, new, 1)) for old, new, _, _ in MISTAKES]
    monkeypatch.setattr(load, "_events_of", load._PythonEvents)
    assert [mistakes(tmp_path, GOOD.replace(old, new, 1)) for old, new, _, _ in MISTAKES] == fast


yaml_like = st.text(alphabet="ab:{}[],-?&*!#|>'\"%@` \n\t\x00é1", max_size=60)


@settings(max_examples=300, deadline=None)
@given(yaml_like | st.text(max_size=40))
@example("? \n? ")
@example("{a: {}, a}")
@example("%YAML 9.9\n---\n")
@example("a: |\n  x\n b")
def test_any_text_is_a_tree_or_a_profile_error(text: str) -> None:
    try:
        root = parse_tree(text.encode("utf-8", "surrogatepass"), "x.yaml")
    except ProfileError:
        return
    profile, found = build_profile(root, "x", "x.yaml")
    assert profile is None
    assert found


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_profile_is_never_a_crash(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(GOOD)))
    cut = data.draw(st.integers(0, 30))
    text = GOOD[:at] + data.draw(yaml_like) + GOOD[at + cut :]
    try:
        root = parse_tree(text.encode(), "x.yaml")
    except ProfileError:
        return
    profile, found = build_profile(root, "x", "x.yaml")
    assert (profile is None) == bool(found)


def test_lookup_by_id_alias_and_path(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    for name in ("board", "BOARD", "my-board", "My-Board", str(path), path):
        assert load_profile(name, [tmp_path]).id == "board"


def test_a_users_profile_hides_a_shipped_one(tmp_path: Path) -> None:
    write(tmp_path, GOOD, "cortex-m7.yaml")
    assert load_profile("cortex-m7", [tmp_path]).name == "Board"
    assert load_profile("cortex-m7").name != "Board"


def test_an_unknown_name_suggests_a_known_one() -> None:
    with pytest.raises(ProfileError) as caught:
        load_profile("cortx-m7")
    assert caught.value.hint == "did you mean 'cortex-m7'? list them: effcli hw list"


def test_an_unreadable_neighbour_is_told_beside_an_unknown_name(tmp_path: Path) -> None:
    path = write(tmp_path, "a: [", "broken.yaml")
    with pytest.raises(ProfileError) as caught:
        load_profile("no-such-thing", [tmp_path])
    assert caught.value.where[0].startswith(f"not read: {path}:")


@pytest.mark.parametrize("name", ["missing.yaml", "./", "a/b"])
def test_a_path_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(ProfileError, match="cannot read profile"):
        load_profile(os.path.join(tmp_path, name))


def test_a_missing_folder_is_told() -> None:
    with pytest.raises(ProfileError, match="does not exist"):
        profile_ids(["/no/such/folder"])


def test_patterns() -> None:
    everything = [p.id for p in profiles("all")]
    assert everything == profile_ids() == sorted(everything)
    assert [p.id for p in profiles()] == everything
    assert [p.id for p in profiles("h100, 4090,H100-sxm")] == ["h100", "rtx-4090"]
    cores = [p.id for p in profiles("cortex-m*")]
    assert cores == [i for i in everything if i.startswith("cortex-m")]
    assert len(cores) >= 6
    with pytest.raises(ProfileError, match="no hardware matches"):
        profiles("nothing-like-*")


def test_an_unknown_runtime_suggests_a_known_one() -> None:
    with pytest.raises(ProfileError) as caught:
        load_profile("cortex-m7").runtime("x-cube")
    assert caught.value.hint == "did you mean 'x-cube-ai'?"


def test_errors_are_errors_of_the_tool(tmp_path: Path) -> None:
    with pytest.raises(EffcliError):
        load_profile(write(tmp_path, "a: b"))
    with pytest.raises(UsageError):
        load_profile(write(tmp_path, GOOD), overrides=["clock=3 GB"])


# --- summaries ---------------------------------------------------------------------------------


@pytest.mark.parametrize("id_", profile_ids())
def test_a_summary_tells_what_the_whole_profile_tells(id_: str) -> None:
    whole, summary = load_profile(id_), load_summary(id_)
    own, told = whole.runtime(), summary.runtime()
    assert replace(summary, runtimes=()) == replace(whole, runtimes=())
    assert (told.id, told.name, told.grade, told.dtype) == (own.id, own.name, own.grade, own.dtype)


def test_a_summary_passes_over_what_it_leaves_out_and_nothing_else(tmp_path: Path) -> None:
    for old, new in (("{value: 50 %,", "{value: [1, {2: 3}],"), ("{value: 1000 cycles,", "{value: 1 apple,")):
        path = write(tmp_path, GOOD.replace(old, new))
        with pytest.raises(ProfileError):
            load_profile(path)
        assert load_summary(str(path)).runtime().name == "Fast 1"
    for old, new in (("value: 4 OP/cycle", "value: 4 apples"), ("grade: datasheet", "grade: good")):
        with pytest.raises(ProfileError):
            load_summary(str(write(tmp_path, GOOD.replace(old, new))))
    # a file that is no YAML is none in what is left out either
    with pytest.raises(ProfileError):
        load_summary(str(write(tmp_path, GOOD.replace("{value: 50 %,", "{value: 50 %,,"))))
