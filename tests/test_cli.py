"""The program around the commands: every kind of error to its text and exit code, in one place."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

import efficiency_cli
from efficiency_cli import cli as program
from efficiency_cli.cli import main
from efficiency_cli.costs import CostError
from efficiency_cli.errors import (
    ConfigError,
    EffcliError,
    Inconclusive,
    MissingDimension,
    ModelError,
    ProfileError,
    UsageError,
)

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "samples" / "vww_mobilenetv1_int8.onnx"


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Makes the command `boom` one that raises `error`."""

    @click.command()
    @click.option("--debug", is_flag=True, expose_value=False)
    def boom() -> None:
        raise error

    monkeypatch.setattr(program.cli, "get_command", lambda _, name: boom if name == "boom" else None)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("w"), 2),
        (ModelError("w"), 2),
        (MissingDimension("w"), 2),
        (ProfileError("w"), 2),
        (ConfigError("w"), 2),
        (CostError("w"), 2),
        (EffcliError("w"), 2),
        (Inconclusive("w"), 3),
        (click.UsageError("W."), 2),
    ],
)
def test_an_error_for_the_user(monkeypatch, capsys, error, code):
    raising(monkeypatch, error)
    assert main(["boom"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0] == "error: w"


def test_the_shape_of_an_error(monkeypatch, capsys):
    raising(monkeypatch, UsageError("it happened", where=["here", "", "and there"], hint="do this"))
    assert main(["boom"]) == 2
    assert capsys.readouterr().err == "error: it happened\n  here\n  and there\nhint: do this\n"


def test_text_in_an_error_is_escaped_and_of_bounded_length(monkeypatch, capsys):
    raising(monkeypatch, ModelError("a\x1b[2J\nb" + "x" * 100_000, where="\u202eright", hint="\x07bell"))
    main(["boom"])
    err = capsys.readouterr().err
    assert "\\x1b[2J\\x0ab" in err
    assert "\\u202eright" in err
    assert "\\x07bell" in err
    assert len(err) < 3000


def test_a_bug_is_exit_4_and_says_where_to_report_it(monkeypatch, capsys):
    raising(monkeypatch, KeyError("x"))
    assert main(["boom"]) == 4
    err = capsys.readouterr().err
    assert "error: unexpected KeyError: 'x'" in err
    assert efficiency_cli.__version__ in err
    assert "report" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("error", [KeyError("x"), UsageError("w")])
def test_debug_shows_where_it_happened(monkeypatch, capsys, error):
    raising(monkeypatch, error)
    main(["boom", "--debug"])
    assert capsys.readouterr().err.startswith("Traceback")
    monkeypatch.setenv("EFFCLI_DEBUG", "1")
    main(["boom"])
    assert capsys.readouterr().err.startswith("Traceback")
    monkeypatch.setenv("EFFCLI_DEBUG", "0")
    main(["boom"])
    assert not capsys.readouterr().err.startswith("Traceback")


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (KeyboardInterrupt(), 130, "error: interrupted"),
        (click.Abort(), 130, "error: interrupted"),
        (MemoryError(), 2, "error: out of memory"),
        (RecursionError("maximum recursion depth exceeded"), 2, "error: nested too deeply"),
        (PermissionError(13, "Permission denied", "/x"), 2, "error: /x: permission denied"),
        (OSError("odd"), 2, "error: odd"),
    ],
)
def test_what_is_nobodys_fault(monkeypatch, capsys, error, code, says):
    raising(monkeypatch, error)
    assert main(["boom"]) == code
    err = capsys.readouterr().err
    assert err.startswith(says)
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["analyse", "x.onnx"], ["no such command 'analyse'", "did you mean 'analyze'?"]),
        (["hw", "lst"], ["no such command 'lst'", "did you mean 'list'?", "effcli hw --help"]),
        (["model.onnx"], ["'model.onnx' is not a command", "effcli analyze model.onnx"]),
        (["--versoin"], ["no such option '--versoin'", "did you mean '--version'?"]),
        (["analyze", "--forma", "json"], ["no such option '--forma'", "did you mean '--format'?"]),
        (["hw", "list", "--hwdir", "x"], ["did you mean '--hw-dir'?", "effcli hw list --help"]),
        (["options"], ["no such command 'options'"]),
        (["analyze", "x", "--top"], ["option '--top' requires an argument", "--help"]),
    ],
)
def test_words_that_are_not_known(capsys, arguments, says):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    for text in says:
        assert text in err


@pytest.mark.parametrize("arguments", [[], ["hw"]])
def test_without_a_command_help_on_standard_error_and_exit_2(capsys, arguments):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Usage: effcli")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["-h"], ["hw", "-h"], ["analyze", "--help"], ["hw", "new", "--help"]]
)
def test_help_is_on_standard_output(capsys, arguments):
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Usage: effcli")
    assert err == ""


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"effcli {efficiency_cli.__version__}\n"


# --- in a process of its own ---------------------------------------------------------------------


def effcli(arguments: str, **settings: object) -> subprocess.CompletedProcess[bytes]:
    """`arguments` through a shell that reports the program's own exit code, not that of `head`."""
    command = f"set -o pipefail; '{sys.executable}' -m efficiency_cli {arguments}"
    return subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, timeout=60, **settings)  # type: ignore[call-overload,no-any-return]


posix = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")


@posix
@pytest.mark.parametrize(
    "arguments", ["--help", "hw list", "help method", f"analyze '{MODEL}' --top all", f"analyze '{MODEL}' -f json"]
)
def test_a_reader_that_goes_away_is_no_error(arguments):
    for reader in ("head -1", "true"):
        run = effcli(f"{arguments} | {reader}")
        assert (run.returncode, run.stderr) == (0, b"")


@posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", ["--help", "hw list", f"analyze '{MODEL}'"])
def test_a_full_disk_is_an_error(arguments):
    run = effcli(f"{arguments} > /dev/full")
    assert run.returncode == 2
    assert run.stderr.startswith(b"error: ")
    assert b"no space left on device" in run.stderr
    assert b"Exception" not in run.stderr


@posix
def test_closed_streams_are_no_error():
    assert effcli("hw list >&-").returncode == 0
    assert effcli("nope 2>&-").returncode == 2


@posix
def test_standard_input_as_a_file_and_as_a_pipe():
    expected = effcli(f"analyze '{MODEL}' -f json").stdout.replace(str(MODEL).encode(), b"-")
    assert effcli(f"analyze - -f json < '{MODEL}'").stdout == expected
    piped = subprocess.run(
        [sys.executable, "-m", "efficiency_cli", "analyze", "-", "-f", "json"],
        cwd=ROOT,
        input=MODEL.read_bytes(),
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert piped.stdout == expected
    empty = effcli("analyze - < /dev/null")
    assert (empty.returncode, empty.stdout) == (2, b"")


@posix
def test_a_stream_without_unicode_gets_ascii_tables_and_data_as_it_is():
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
    for arguments in (f"analyze '{MODEL}' --hw cortex-m7", "hw show a100", "hw list", "--help"):
        run = effcli(arguments, env=ascii_only)
        assert (run.returncode, run.stderr) == (0, b"")
        assert run.stdout.isascii()
        assert b"\\x" not in run.stdout
    for format in ("json", "csv", "markdown"):
        arguments = f"analyze '{MODEL}' --hw cortex-m7 -f {format}"
        assert effcli(arguments, env=ascii_only).stdout == effcli(arguments).stdout


@posix
def test_no_colour_in_a_pipe_and_colour_when_asked():
    plain = effcli(f"analyze '{MODEL}' --hw cortex-m7").stdout
    assert b"\x1b" not in plain
    assert b"\x1b[" in effcli(f"analyze '{MODEL}' --hw cortex-m7 --color always").stdout
    assert b"\x1b[" in effcli(f"analyze '{MODEL}' --hw cortex-m7", env={**os.environ, "FORCE_COLOR": "1"}).stdout


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
def test_a_narrow_terminal_gets_narrow_tables_a_pipe_whole_names():
    narrow = on_terminal(["analyze", str(MODEL), "--hw", "cortex-m7"], COLUMNS="60", NO_COLOR="1")
    table = narrow.split("Where the time goes")[1]
    assert max(map(len, table.splitlines())) <= 60
    wide = effcli(f"analyze '{MODEL}' --hw cortex-m7", env={**os.environ, "COLUMNS": "60"})
    assert b"/blocks/blocks.2/depthwise/Conv" in wide.stdout


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
def test_colour_on_a_terminal():
    arguments = ["analyze", str(MODEL), "--hw", "cortex-m7"]
    assert "\x1b[" in on_terminal(arguments, TERM="xterm")
    assert "\x1b[" not in on_terminal(arguments, TERM="xterm", NO_COLOR="1")
    assert "\x1b[" not in on_terminal([*arguments, "--color", "never"], TERM="xterm")


def on_terminal(arguments: list[str], **environment: str) -> str:
    """What a terminal would be sent."""
    ours, theirs = os.openpty()
    clean = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TERM")}
    command = [sys.executable, "-m", "efficiency_cli", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=theirs, env={**clean, "TERM": "xterm", **environment})
    os.close(theirs)
    received = b""
    # Linux says EIO where the other end is closed
    with os.fdopen(ours, "rb", buffering=0) as stream, contextlib.suppress(OSError):
        while part := stream.read(4096):
            received += part
    assert process.wait(timeout=60) == 0
    return received.decode().replace("\r\n", "\n")
