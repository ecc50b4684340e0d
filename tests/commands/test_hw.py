"""`effcli hw list | show | lint | new`: arguments to exit code, standard output and standard error."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest

SHIPPED = sorted(p.stem for p in (Path(__file__).resolve().parents[2] / "hardware_profiles").glob("*.yaml"))


def ids(text: str) -> list[str]:
    return [line.split()[0] for line in text.splitlines()[1:]]


# --- list ----------------------------------------------------------------------------------------


def test_list_has_a_line_a_machine(effcli):
    result = effcli("hw", "list")
    assert (result.code, result.err) == (0, "")
    assert ids(result.out) == SHIPPED

    assert re.search(r"^cortex-m7 .* 1\.92 GOP/s int8 .* x-cube-ai +\w+$", result.out, re.MULTILINE)


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["cortex-m*"], [i for i in SHIPPED if i.startswith("cortex-m")]),
        (["CORTEX-M7"], ["cortex-m7"]),
        (["stm32h7"], ["cortex-m7"]),
        (["a100", "h100"], ["a100", "h100"]),
        (["a100,h100"], ["a100", "h100"]),
        (["all"], SHIPPED),
    ],
)
def test_list_takes_patterns(effcli, patterns, expected):
    assert ids(effcli("hw", "list", *patterns).out) == expected


def test_list_drops_columns_on_a_narrow_terminal(effcli, monkeypatch):
    monkeypatch.setattr("efficiency_cli.commands.output._width", lambda: 80)
    text = effcli("hw", "list").out
    assert ids(text) == SHIPPED
    assert max(map(len, text.splitlines())) <= 80
    assert text.split()[:3] == ["id", "peak", "bandwidth"]


def test_list_by_class(effcli):
    rows = json.loads(effcli("hw", "list", "-f", "json").out)["hardware"]
    for name in ("mcu", "cpu", "gpu", "npu"):
        expected = [r["id"] for r in rows if r["class"] == name]
        assert ids(effcli("hw", "list", name).out) == expected
        assert expected


def test_list_in_base_units(effcli):
    m7 = json.loads(effcli("hw", "list", "cortex-m7", "-f", "json").out)["hardware"][0]
    assert m7["peak_ops_per_s"] == 4 * 480e6
    assert m7["memory_bytes"] == 2 * 1024**2
    rows = list(csv.DictReader(io.StringIO(effcli("hw", "list", "-f", "csv").out)))
    assert [r["id"] for r in rows] == SHIPPED
    assert effcli("hw", "list", "-f", "markdown").out.splitlines()[1].startswith("| --- |")


def test_list_of_nothing(effcli):
    result = effcli("hw", "list", "cortex-m8x")
    assert (result.code, result.out) == (2, "")
    assert "no hardware matches 'cortex-m8x'" in result.err
    assert "did you mean 'cortex-m85'?" in result.err


def test_one_broken_profile_hides_no_other(effcli, tmp_path):
    boards = tmp_path / "boards"
    boards.mkdir()
    (boards / "broken.yaml").write_text("name: [x\n")
    effcli("hw", "new", "mine", "-o", boards, "--from", "a100")
    result = effcli("hw", "list", "--hw-dir", "boards")
    assert result.code == 2
    assert ids(result.out) == sorted([*SHIPPED, "mine"])
    assert "broken.yaml:2:1: not YAML" in result.err


# --- show ----------------------------------------------------------------------------------------


def test_show_has_every_number_and_its_source(effcli):
    data = json.loads(effcli("hw", "show", "cortex-m7", "-f", "json").out)
    text = effcli("hw", "show", "STM32H7").out
    assert data["schema_version"] == 1
    clock = next(n for n in data["numbers"] if n["key"] == "clock")
    assert (clock["value"], clock["text"], clock["kind"]) == (480e6, "480 MHz", "datasheet")
    assert clock["source"] in data["sources"]
    for number in data["numbers"]:
        assert re.search(
            rf"^{re.escape(number['key'])} +{re.escape(number['text'])}( = .+)? +{number['kind']} ", text, re.MULTILINE
        )
    for runtime in data["runtimes"]:
        assert f"  {runtime['id']}" in text
    for source in data["sources"]:
        assert f"  {source}: " in text


def test_show_says_what_cycles_are(effcli):
    text = effcli("hw", "show", "cortex-m7").out
    # 480 MHz: 4 operations and 4 bytes a cycle
    assert re.search(r"^compute.int8.matrix +4 OP/cycle = 1\.92 GOP/s +derived", text, re.MULTILINE)
    assert re.search(r"^memory.sram.bandwidth +4 B/cycle = 1\.92 GB/s +derived", text, re.MULTILINE)


def test_show_what_set_makes_of_it(effcli):
    def number(*options: str) -> float:
        data = json.loads(effcli("hw", "show", "cortex-m7", "-f", "json", *options).out)
        return next(n["value"] for n in data["numbers"] if n["key"] == "compute.int8.matrix")

    assert number() == 4 * 480e6
    assert number("--set", "clock=600 MHz") == 4 * 600e6


@pytest.mark.parametrize("format", ["table", "csv", "markdown", "json"])
@pytest.mark.parametrize("machine", SHIPPED)
def test_show_every_machine_in_every_format(effcli, machine, format):
    result = effcli("hw", "show", machine, "-f", format)
    assert (result.code, result.err) == (0, "")
    assert "compute." in result.out


def test_show_what_is_not_there(effcli):
    assert "missing argument ID" in effcli("hw", "show").err
    result = effcli("hw", "show", "cortexm7")
    assert result.code == 2
    assert "did you mean 'cortex-m7'?" in result.err


def test_hostile_profile_text_is_escaped(effcli, tmp_path):
    effcli("hw", "new", "mine")
    text = (tmp_path / "mine.yaml").read_text().replace("TODO one line", r'"\e[31m =cmd() <b>"')
    (tmp_path / "mine.yaml").write_text(text)
    assert "\x1b" not in effcli("hw", "show", "./mine.yaml").out
    assert "<b>" not in effcli("hw", "show", "./mine.yaml", "-f", "markdown").out


# --- lint ----------------------------------------------------------------------------------------


def test_lint_exit_codes(effcli, tmp_path):
    good = effcli("hw", "lint", "a100")
    assert (good.code, good.out) == (0, "")
    assert good.err == "note: profiles 1, errors 0, warnings 0\n"
    effcli("hw", "new", "mine")
    doubtful = effcli("hw", "lint", "mine.yaml")
    assert doubtful.code == 1
    assert re.match(r"mine.yaml:\d+:\d+: warning: name is still a placeholder\n", doubtful.out)
    (tmp_path / "bad.yaml").write_text("schema_version: 1\nclas: mcu\n")
    wrong = effcli("hw", "lint", "mine.yaml", "bad.yaml")
    assert wrong.code == 2
    assert "bad.yaml:2:1: error: unknown key" in wrong.out
    assert "mine.yaml:" in wrong.out


def test_lint_formats(effcli, tmp_path):
    (tmp_path / "bad.yaml").write_text("name: [x\n")
    found = json.loads(effcli("hw", "lint", "bad.yaml", "-f", "json").out)["findings"]
    assert [(f["file"], f["line"], f["column"], f["level"]) for f in found] == [("bad.yaml", 2, 1, "error")]
    assert effcli("hw", "lint", "a100", "-f", "csv").out == "file,line,column,level,message\n"


def test_lint_takes_folders_globs_and_commas(effcli, tmp_path):
    boards = tmp_path / "boards"
    boards.mkdir()
    nothing = effcli("hw", "lint", "boards")
    assert nothing.code == 2
    assert "there is no profile in 'boards'" in nothing.err
    effcli("hw", "new", "one", "-o", "boards")
    effcli("hw", "new", "two", "-o", "boards")
    assert "profiles 2," in effcli("hw", "lint", "boards").err
    assert "profiles 2," in effcli("hw", "lint", "a100,h100").err
    assert "profiles 2," in effcli("hw", "lint", "one,two", "--hw-dir", "boards").err
    several = len([i for i in SHIPPED if i.startswith("cortex")])
    assert f"profiles {several}," in effcli("hw", "lint", "cortex*").err
    assert f"profiles {len(SHIPPED)}," in effcli("hw", "lint").err


def test_lint_of_what_is_not_there(effcli):
    for name in ("zz*", "nope", "nope.yaml"):
        result = effcli("hw", "lint", name)
        assert (result.code, result.out) == (2, "")
        assert result.err.startswith("error: ")


# --- new -----------------------------------------------------------------------------------------


def test_new_loads_and_is_found(effcli, tmp_path, vww):
    result = effcli("hw", "new", "my-board")
    assert (result.code, result.out) == (0, "")
    assert "effcli hw lint my-board.yaml" in result.err
    assert effcli("analyze", vww, "--hw", "my-board.yaml").code == 0
    assert effcli("analyze", vww, "--hw", "my-board", "--hw-dir", tmp_path).code == 0


def test_new_does_not_overwrite(effcli, tmp_path):
    (tmp_path / "mine.yaml").write_text("mine")
    result = effcli("hw", "new", "mine")
    assert result.code == 2
    assert "mine.yaml exists" in result.err
    assert (tmp_path / "mine.yaml").read_text() == "mine"
    assert effcli("hw", "new", "mine", "--force").code == 0
    assert (tmp_path / "mine.yaml").read_text().startswith("# A machine")


def test_new_goes_where_it_is_told(effcli, tmp_path):
    printed = effcli("hw", "new", "mine", "-o", "-")
    assert printed.out.startswith("# A machine")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "boards").mkdir()
    effcli("hw", "new", "mine", "-o", "boards", "--from", "A100")
    assert (tmp_path / "boards" / "mine.yaml").read_text().startswith("# mine, begun as a copy of a100")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["../mine"], "'../mine' cannot be a profile's id"),
        (["a b"], "'a b' cannot be a profile's id"),
        ([""], "cannot be a profile's id"),
        (["mine", "-o", "other.yaml"], "as in: effcli hw new mine -o mine.yaml"),
        (["mine", "-o", "none/mine.yaml"], "mkdir -p"),
        (["mine", "--from", "a1000"], "did you mean 'a100'?"),
        ([], "missing argument ID"),
    ],
)
def test_new_refuses(effcli, arguments, says, tmp_path):
    result = effcli("hw", "new", *arguments)
    assert (result.code, result.out) == (2, "")
    assert says in result.err
    assert list(tmp_path.iterdir()) == []
