"""Formats, files and streams: whole or not at all, and nothing in the wrong place."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from efficiency_cli.commands.output import OutputOptions, check_writable, emit, say, write_file
from efficiency_cli.commands.values import Target
from efficiency_cli.errors import UsageError

AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def test_several_formats_in_one_run(effcli, vww):
    result = effcli("analyze", vww, "--hw", "cortex-m7", "-f", "table", "-f", "json:r.json", "-f", "csv:r.csv")
    assert result.code == 0
    assert result.out == effcli("analyze", vww, "--hw", "cortex-m7").out
    assert Path("r.json").read_text() == effcli("analyze", vww, "--hw", "cortex-m7", "-f", "json").out
    assert Path("r.csv").read_text() == effcli("analyze", vww, "--hw", "cortex-m7", "-f", "csv").out
    assert sorted(os.listdir()) == ["r.csv", "r.json"]


def test_only_a_file_means_nothing_on_standard_output(effcli, vww):
    result = effcli("analyze", vww, "-f", "json:r.json")
    assert (result.code, result.out, result.err) == (0, "", "")
    assert effcli("analyze", vww, "-f", "json:r.json", "-v").err == "note: wrote r.json\n"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["-f", "jsn"], ["unknown format 'jsn'", "formats: table, csv, json, markdown", "did you mean 'json'?"]),
        (["-f", "json", "-f", "csv"], ["two formats for standard output: json and csv"]),
        (["-f", "json", "-f", "csv:-"], ["two formats for standard output: json and csv"]),
        (["-f", "json:a", "-f", "csv:./a"], ["two formats for ./a: json and csv"]),
        (["-f", "json:"], ["no path after 'json:'", "is a variable in it empty?"]),
        (["-f", "json:none/r.json"], ["the folder", "does not exist", "mkdir -p"]),
        (["-f", "json:folder"], ["it is a folder", "folder/report.json"]),
        (["-f", "json:file/r.json"], ["not a directory"]),
        (["-f", "json:" + "x" * 300], ["file name too long"]),
        (["-f", "json:a\0b"], ["embedded null byte"]),
    ],
)
def test_what_cannot_be_written_stops_before_any_work(effcli, options, says, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    # the model does not exist: the error must be about the output
    result = effcli("analyze", "no-model.onnx", *options)
    assert (result.code, result.out) == (2, "")
    for text in says:
        assert text in result.err
    assert sorted(os.listdir()) == ["file", "folder"]


def test_the_model_is_never_overwritten(effcli, vww, tmp_path):
    model = tmp_path / "m.onnx"
    model.write_bytes(vww.read_bytes())
    (tmp_path / "link.onnx").symlink_to(model)
    for target in ("m.onnx", "link.onnx"):
        result = effcli("analyze", "m.onnx", "-f", f"json:{target}")
        assert result.code == 2
        assert "is read and cannot be written to" in result.err
    assert model.read_bytes() == vww.read_bytes()


@pytest.mark.skipif(AS_ROOT, reason="root may write anywhere")
def test_no_permission(effcli, tmp_path, vww):
    (tmp_path / "locked").mkdir(mode=0o500)
    result = effcli("analyze", vww, "-f", "json:locked/r.json")
    assert result.code == 2
    assert "permission denied" in result.err


def test_a_failed_run_leaves_the_old_file(effcli, bert):
    Path("r.json").write_text("old")
    assert effcli("analyze", bert, "-f", "json:r.json").code == 2
    assert Path("r.json").read_text() == "old"


def test_nothing_is_half_written(monkeypatch):
    Path("r.txt").write_text("old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(UsageError, match=r"cannot write r\.txt: no space left on device"):
        write_file("r.txt", "new")
    assert os.listdir() == ["r.txt"]
    assert Path("r.txt").read_text() == "old"


def test_a_replaced_file_keeps_its_mode_and_a_link_its_target():
    Path("r.txt").write_text("old")
    os.chmod("r.txt", 0o640)
    os.symlink("r.txt", "link")
    write_file("link", "new")
    assert os.path.islink("link")
    assert Path("r.txt").read_text() == "new"
    assert stat.S_IMODE(os.stat("r.txt").st_mode) == 0o640


def test_a_new_file_follows_the_umask():
    before = os.umask(0o027)
    try:
        write_file("r.txt", "new")
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat("r.txt").st_mode) == 0o666 & ~0o027


def test_devices_are_written_to_directly():
    check_writable("/dev/null")
    write_file("/dev/null", "text")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_the_step_summary_is_added_to(effcli, vww, monkeypatch, tmp_path):
    summary = tmp_path / "summary.md"
    summary.write_text("earlier\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    for _ in range(2):
        assert effcli("analyze", vww, "-f", f"markdown:{summary}").code == 0
    assert summary.read_text() == "earlier\n" + 2 * effcli("analyze", vww, "-f", "markdown").out


def test_json_is_ascii_so_any_stream_can_hold_it(effcli, vww):
    assert effcli("analyze", vww, "--hw", "cortex-m7", "-f", "json").out.isascii()


# --- what the stream is ----------------------------------------------------------------------


def options(**changes: object) -> OutputOptions:
    return OutputOptions(**{"targets": (), "color": "auto", "quiet": False, "verbose": 0} | changes)  # type: ignore[arg-type]


class Stream:
    def __init__(self, terminal: bool = True, encoding: str = "utf-8") -> None:
        self.terminal, self.encoding = terminal, encoding

    def isatty(self) -> bool:
        return self.terminal


@pytest.mark.parametrize(
    ("terminal", "color", "environment", "expected"),
    [
        (True, "auto", {}, True),
        (False, "auto", {}, False),
        (True, "auto", {"NO_COLOR": "1"}, False),
        (True, "auto", {"NO_COLOR": ""}, True),
        (False, "auto", {"FORCE_COLOR": "1"}, True),
        (True, "auto", {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        (True, "auto", {"TERM": "dumb"}, False),
        (True, "never", {"FORCE_COLOR": "1"}, False),
        (False, "always", {"NO_COLOR": "1"}, True),
    ],
)
def test_color(monkeypatch, terminal, color, environment, expected):
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout", Stream(terminal))
    assert options(color=color).view(Target("table")).color is expected
    assert options(color=color).view(Target("table", "file")).color is False


def test_width(monkeypatch):
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((77, 20)))
    monkeypatch.setattr("sys.stdout", Stream(terminal=True))
    assert options().view(Target("table")).width == 77
    monkeypatch.setattr("sys.stdout", Stream(terminal=False))
    assert options().view(Target("table")).width is None
    # readline, for one, sets this for all that it starts
    monkeypatch.setenv("COLUMNS", "50")
    assert options().view(Target("table")).width is None
    monkeypatch.setattr("sys.stdout", Stream(terminal=True))
    assert options().view(Target("table", "file")).width is None


@pytest.mark.parametrize(
    ("encoding", "expected"), [("utf-8", True), ("UTF8", True), ("ascii", False), ("cp1252", False)]
)
def test_unicode(monkeypatch, encoding, expected):
    monkeypatch.setattr("sys.stdout", Stream(encoding=encoding))
    assert options().view(Target("table")).unicode is expected
    assert options().view(Target("table", "file")).unicode is True
    assert options().view(Target("markdown")).unicode is True


@pytest.mark.parametrize(
    ("format", "top", "expected"),
    [
        ("table", None, 5),
        ("markdown", None, 5),
        ("csv", None, None),
        ("csv", 3, 3),
        ("table", 0, None),
        ("table", 7, 7),
    ],
)
def test_rows(format, top, expected):
    assert options(top=top).view(Target(format)).top == expected


def test_a_reader_that_has_gone_away_is_no_error_a_full_disk_is(monkeypatch):
    class Broken(Stream):
        error: OSError = BrokenPipeError()

        def write(self, _: str) -> int:
            raise self.error

        def fileno(self) -> int:
            raise OSError

    stream = Broken()
    monkeypatch.setattr("sys.stdout", stream)
    emit("text")
    stream.error = OSError(28, "No space left on device")
    with pytest.raises(UsageError, match="cannot write to standard output: no space left on device"):
        emit("text")


def test_a_closed_standard_output_is_no_error(monkeypatch):
    monkeypatch.setattr("sys.stdout", None)
    emit("text")


def test_each_note_once_and_none_when_quiet(capsys):
    options().notes(["a", "b", "a"])
    options(quiet=True).notes(["c"])
    assert capsys.readouterr().err == "note: a\nnote: b\n"


def test_markdown_and_json_files_of_several_machines(effcli, vww):
    result = effcli("analyze", vww, "--hw", "cortex-m7,a100", "-f", "json:r.json", "-f", "markdown")
    assert result.code == 0
    assert [r["hardware"]["id"] for r in json.loads(Path("r.json").read_text())["results"]] == ["cortex-m7", "a100"]
    assert "a100" in result.out


@pytest.mark.parametrize("start", ["note: ", "FAIL: "])
def test_prose_breaks_between_words_on_a_narrow_terminal(monkeypatch, capsys, start):
    path = "models/" + "a" * 40 + ".onnx"
    line = f"{start}{path} is over the limit, by a good deal"
    say(line)
    assert capsys.readouterr().err == f"{line}\n"
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    say(line)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) > 1
    # a path is never cut
    assert path in "\n".join(lines)
    assert all(len(one) <= 40 for one in lines if path not in one)
    assert " ".join(one.strip() for one in lines) == line


def test_what_is_to_be_copied_is_never_broken(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "20")
    say("hint: write the baseline: effcli check --update-baseline")
    assert capsys.readouterr().err == "hint: write the baseline: effcli check --update-baseline\n"
