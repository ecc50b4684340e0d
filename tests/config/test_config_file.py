"""The config: found, read strictly, every mistake with its place; YAML and TOML alike."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from efficiency_cli.config.file import find_config, matching, read_config
from efficiency_cli.errors import ConfigError, UsageError

GOOD = """\
version: 1
hardware: cortex-m7
dims: {batch: 1, sequence: 128}
baseline: base.json
models:
  - path: models/*.onnx
    hardware: [cortex-m7, ./boards/mine.yaml]
    budgets:
      latency: 15 ms
      throughput: ">= 60 /s"
      flash: {max: 1 MiB, level: warn}
      peak_ram: {min: 1 KiB, max: 256 KiB, message: "Ask Ada"}
      latency_increase: 5 %
    on: upper
    message: "Ask the audio team"
"""
TOML = """\
[project]
name = "x"

[tool.effcli]
version = 1
hardware = "cortex-m7"
baseline = "base.json"
dims = {batch = 1, sequence = 128}

[[tool.effcli.models]]
path = "models/*.onnx"
hardware = ["cortex-m7", "./boards/mine.yaml"]
on = "upper"
message = "Ask the audio team"

[tool.effcli.models.budgets]
latency = "15 ms"
throughput = ">= 60 /s"
flash = {max = "1 MiB", level = "warn"}
peak_ram = {min = "1 KiB", max = "256 KiB", message = "Ask Ada"}
latency_increase = "5 %"
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(text, name="effcli.yaml"):
    with open(name, "w", encoding="utf-8") as file:
        file.write(text)
    return name


def mistakes(text, name="effcli.yaml"):
    with pytest.raises(ConfigError) as error:
        read_config(write(text, name))
    return list(error.value.where)


@pytest.mark.parametrize(("text", "name"), [(GOOD, "effcli.yaml"), (TOML, "pyproject.toml")])
def test_a_config(text, name):
    config = read_config(write(text, name)).config
    assert (config.hardware, config.dims, config.baseline) == (
        ("cortex-m7",),
        {"batch": 1, "sequence": 128},
        "base.json",
    )
    (entry,) = config.models
    assert entry.hardware == ("cortex-m7", "./boards/mine.yaml")
    found = {(b.name, b.side): b for b in entry.budgets}
    assert found["latency", "max"].limit == 0.015
    assert found["throughput", "min"].limit == 60
    assert found["flash", "max"].level == "warn"
    assert (found["peak_ram", "min"].limit, found["peak_ram", "max"].limit) == (1024, 256 * 1024)
    assert found["latency_increase", "max"].limit == 0.05
    # the entry's own, unless a budget has one
    assert {b.on for b in entry.budgets} == {"upper"}
    assert found["latency", "max"].message == "Ask the audio team"
    assert found["peak_ram", "max"].message == "Ask Ada"


def test_budgets_know_their_places():
    (entry,) = read_config(write(GOOD)).config.models
    assert [b.place for b in entry.budgets] == [
        *("effcli.yaml:9:7", "effcli.yaml:10:7", "effcli.yaml:11:7", "effcli.yaml:12:7", "effcli.yaml:12:7"),
        "effcli.yaml:13:7",
    ]
    (entry,) = read_config(write(TOML, "pyproject.toml")).config.models
    assert [b.place.split(":")[1] for b in entry.budgets] == ["17", "18", "19", "20", "20", "21"]


MISTAKES = [
    ("hardwear: a", "2:1", "unknown key in the config: 'hardwear'; did you mean 'hardware'?"),
    ("version: 2", "2:1", "duplicate key 'version' in the config, first on line 1"),
    ("dims: {batch: x}", "2:15", "dims.batch: 'x' is not a whole number above 0"),
    ("dims: {batch: 0}", "2:15", "is not a whole number above 0"),
    ("dims: {batch: [1]}", "2:15", "must be a whole number"),
    ("dims: 3", "2:7", "dims must be a mapping"),
    ("hardware: []", "2:11", "hardware is empty"),
    ("hardware: {a: b}", "2:11", "hardware must be text"),
    ("baseline: ''", "2:11", "baseline is empty"),
    ("models: a.onnx", "2:9", "models must be a list"),
    ("models: [{budgets: {latency: 1 ms}}]", "2:10", "missing key 'path' in models[0]"),
    ("models: [{path: a, on: uper}]", "2:24", "models[0].on: unknown value 'uper'; did you mean 'upper'?"),
    ("models: [{path: a, batch: -1}]", "2:27", "is not a whole number above 0"),
    ("models: [{path: a, phase: encode}]", "2:27", "unknown value 'encode'; did you mean 'decode'?"),
    ("models: [{path: a, context: 5}]", "2:17", "context needs a phase"),
    ("models: [{path: a, budgets: {}}]", "2:29", "models[0].budgets is empty"),
    ("models: [{path: a, budgets: {latncy: 1 ms}}]", "2:30", "did you mean 'latency'?"),
    ("models: [{path: a, budgets: {latency: 15}}]", "2:39", "a unit is required in '15': write '15 ms'"),
    ("models: [{path: a, budgets: {latency: [1 ms]}}]", "2:39", "must be a limit with its unit"),
    ("models: [{path: a, budgets: {latency: {level: warn}}}]", "2:39", "has neither max nor min"),
    ("models: [{path: a, budgets: {latency: {max: 1 ms, levl: warn}}}]", "2:51", "did you mean 'level'?"),
    ("models: [{path: a, budgets: {latency: {max: 1 ms, level: no}}}]", "2:58", "unknown value 'no'"),
    ("models: [{path: a, on: bound, budgets: {energy: 1 J}}]", "2:41", "energy has no bound: judge it on lower"),
    ("models: [{path: a, budgets: {latency_increase: '>= 5 %'}}]", "2:48", "has a most, not a least"),
]


@pytest.mark.parametrize(("line", "place", "said"), MISTAKES, ids=[m[0] for m in MISTAKES])
def test_a_mistake_and_its_place(line, place, said):
    (told,) = mistakes(f"version: 1\n{line}\n")
    assert told.startswith(f"effcli.yaml:{place}: ")
    assert said in told


def test_all_mistakes_are_told_at_once():
    found = mistakes("version: 2\nhardwear: a\nmodels:\n  - path: a\n    budgets: {latency: 15, flsh: 1 MiB}\n")
    assert [line.split(": ")[0] for line in found] == [
        *("effcli.yaml:1:10", "effcli.yaml:2:1", "effcli.yaml:5:24", "effcli.yaml:5:28")
    ]


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ('latency = "15 ms"', 'latncy = "15 ms"', 17, "did you mean 'latency'?"),
        ('latency = "15 ms"', "latency = 15", 17, "a unit is required"),
        ('on = "upper"', 'on = "uper"', 13, "did you mean 'upper'?"),
        ('level = "warn"', 'levl = "warn"', 19, "did you mean 'level'?"),
        ("version = 1", "version = true", 5, "unknown value 'true'"),
    ],
)
def test_mistakes_in_a_pyproject(old, new, line, said):
    (told,) = mistakes(TOML.replace(old, new), "pyproject.toml")
    assert told.startswith(f"pyproject.toml:{line}:")
    assert said in told


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "effcli.yaml:1:1: the file is empty"),
        ("- a\n", "the config must be a mapping"),
        ("version: 1\n\tmodels: []\n", "effcli.yaml:2:1: not YAML"),
        ("a: &x 1\nb: *x\n", "anchors"),
        ("version: 1\n---\nversion: 1\n", "a file is a single YAML document"),
        ("version: \x01\n", "a control character"),
        ("a: " + "[" * 100 + "]" * 100, "nested deeper"),
    ],
)
def test_what_is_no_config(text, said):
    assert said in mistakes(text)[0]


def test_a_limit_without_quotes_is_explained():
    with pytest.raises(ConfigError) as error:
        read_config(
            write("version: 1\nmodels:\n  - path: a\n    budgets:\n      throughput: >= 60 /s\n      macs: 3\n")
        )
    assert "in quotes" in error.value.hint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.effcli\nversion = 1\n", "pyproject.toml:1:13: not TOML"),
        ("[tool.other]\nx = 1\n", ""),
    ],
)
def test_what_is_no_pyproject(text, said):
    with pytest.raises(ConfigError) as error:
        read_config(write(text, "pyproject.toml"))
    assert "".join(error.value.where).startswith(said)


def test_a_named_file_must_exist():
    with pytest.raises(UsageError, match=r"cannot read the config nowhere\.yaml"):
        read_config("nowhere.yaml")


# --- which file --------------------------------------------------------------------------------


def test_the_nearest_wins_and_nothing_is_merged(tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert find_config() is None
    write("version: 1\n", "../../effcli.yaml")
    assert find_config() == ("../../effcli.yaml", ())
    write("[tool.effcli]\nversion = 1\n", "../pyproject.toml")
    assert find_config() == ("../pyproject.toml", ())
    write("[tool.other]\n", "pyproject.toml")
    assert find_config() == ("../pyproject.toml", ())
    write("version: 1\n")
    assert find_config() == ("effcli.yaml", ())


def test_not_above_the_repository_and_not_outside_of_one(tmp_path, monkeypatch):
    inside = tmp_path / "repo" / "sub"
    inside.mkdir(parents=True)
    write("version: 1\n")
    monkeypatch.chdir(inside)
    assert find_config() is None
    (tmp_path / "repo" / ".git").mkdir()
    assert find_config() is None
    (tmp_path / ".git").mkdir()
    assert find_config() is None


def test_a_pyproject_beside_a_config_is_told():
    write("version: 1\n")
    write("[tool.effcli]\nversion = 1\n", "pyproject.toml")
    path, notes = find_config()
    assert path == "effcli.yaml"
    assert notes == ("[tool.effcli] in pyproject.toml is not used: effcli.yaml beside it is",)


def test_a_name_that_is_almost_right_does_not_pass_in_silence():
    write("version: 1\n", "effcli.yml")
    with pytest.raises(ConfigError, match=r"effcli\.yml is not read") as error:
        find_config()
    assert error.value.hint == "rename it: mv effcli.yml effcli.yaml"


def test_a_broken_pyproject_of_others_is_not_ours():
    write("this is [ no toml\n", "pyproject.toml")
    assert find_config() is None
    write("[tool.effcli]\nthis is [ no toml\n", "pyproject.toml")
    assert find_config() is not None


# --- paths -------------------------------------------------------------------------------------


def test_paths_are_from_the_folder_of_the_file(tmp_path):
    (tmp_path / "ci" / "models").mkdir(parents=True)
    for name in ("b.onnx", "a.onnx"):
        (tmp_path / "ci" / "models" / name).touch()
    write(GOOD, "ci/effcli.yaml")
    file = read_config("ci/effcli.yaml")
    (entry,) = file.config.models
    assert file.files(entry) == ["ci/models/a.onnx", "ci/models/b.onnx"]
    assert file.machines(entry) == ("cortex-m7", "ci/boards/mine.yaml")
    assert file.resolved(file.config.baseline) == "ci/base.json"
    found = matching(file, [str(tmp_path / "ci" / "models" / "a.onnx"), "other.onnx"])
    assert [len(entries) for entries in found.values()] == [1, 0]


def test_a_folder_with_signs_of_a_glob(tmp_path):
    (tmp_path / "a[1]" / "models").mkdir(parents=True)
    (tmp_path / "a[1]" / "models" / "m.onnx").touch()
    write(GOOD, "a[1]/effcli.yaml")
    file = read_config("a[1]/effcli.yaml")
    assert file.files(file.config.models[0]) == ["a[1]/models/m.onnx"]


def test_a_glob_that_matches_nothing_and_a_file_that_is_not_there():
    file = read_config(write("version: 1\nmodels: [{path: 'no/*.onnx'}, {path: no.onnx}]\n"))
    assert [file.files(e) for e in file.config.models] == [[], ["no.onnx"]]


# --- whatever is in a file ---------------------------------------------------------------------

PLAIN = "version models path budgets latency max level on hardware dims 1 15 ms warn [ ] { } : , - # ' \" = . & *"
WORDS = st.sampled_from(
    [
        *PLAIN.split(),
        *(" ", "\n", "\t", "\n  ", "\n  - ", ": ", " = ", "\x00", "é"),
        *("[tool.effcli]\n", "[[tool.effcli.models]]\n"),
    ]
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.text(max_size=200), st.lists(WORDS, max_size=40).map("".join)), st.sampled_from(["yaml", "toml"]))
def test_any_text_is_a_config_or_an_error_for_the_user(text, suffix):
    with open(f"any.{suffix}", "w", encoding="utf-8", errors="replace", newline="") as file:
        file.write(text)
    with contextlib.suppress(ConfigError):
        read_config(f"any.{suffix}")


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_any_bytes_are_a_config_or_an_error_for_the_user(data):
    for name in ("any.yaml", "any.toml"):
        with open(name, "wb") as file:
            file.write(data)
        with contextlib.suppress(ConfigError):
            read_config(name)
