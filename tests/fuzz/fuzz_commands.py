"""What is done with each input: command lines of the real program, in this process, and what is expected of them.

Any answer is right that is a result or an error for the user; this knows nothing of numbers.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from msgspec import Struct

from efficiency_cli import cli
from efficiency_cli.errors import EffcliError, ExitCode, MissingDimension, UsageError

PROFILES = Path(__file__).resolve().parents[2] / "hardware_profiles"
# by path: looking an id up reads many files
MACHINES = tuple(str(PROFILES / f"{name}.yaml") for name in ("cortex-m7", "rtx-4090", "a100", "cortex-m0plus"))
# each input is analysed in one of these ways as well
WAYS = tuple(
    shlex.split(line)
    for line in """
    --effective
    --effective -f json --count valid
    -vv --group node --top all
    --group op --sort bytes -f markdown
    --group block --sort macs -f csv
    --count valid --branch else -f json
    --branch then --convention onnx-tool
    --convention fvcore -f json
    --convention calflops --strict
    --batch 3 -f json
    --batch 0
    --dim N=2 --dim batch=4
    --shape x=1x3x224x224
    --phase prefill --context 16
    --phase decode --context 16 -f json
    --overlap none --set clock=1MHz
    --color always
    """.strip().splitlines()
)
# an error is a few lines that can be read
_MOST_LINES, _LONGEST_LINE = 40, 4000


class Outcome(Struct, frozen=True):
    """How the analysis ended: `name` is 'exit 0' or 'exit 2 ModelError', `what` the error's lines."""

    name: str
    what: str
    commands: int


def outcome_of(path: str, rng: random.Random, ways: int) -> Outcome:
    """What the program makes of the file; raises whatever it would have called a bug of its own.

    `ways`: in how many of WAYS it is analysed besides.
    """
    machine = rng.choice(MACHINES)
    plain = ["analyze", path, "--hw", machine, "-f", "json"]
    text, error = _run(plain)
    sizes: list[str] = []
    if isinstance(error, MissingDimension):
        sizes = _sizes(error.hint)
        text, error = _run([*plain, *sizes])
        if all(name == name.strip() for name in _named_in(sizes)):
            assert not isinstance(error, UsageError | click.ClickException), f"the hint itself is refused: {error}"
    commands = list(_more(path, machine, sizes, rng, ways))
    if error is None and ways:
        commands += [["explain", path, name, *sizes] for name in _some_nodes(text, rng)]
    for command in commands:
        _run(command)
    if error is None:
        return Outcome("exit 0", "", 1 + len(commands))
    what = "\n".join([str(error), *getattr(error, "where", ())])
    return Outcome(f"exit {_code(error)} {type(error).__name__}", what, 1 + len(commands))


def _more(path: str, machine: str, sizes: Sequence[str], rng: random.Random, ways: int) -> Iterator[list[str]]:
    for way in rng.sample(WAYS, ways):
        on = ["--hw", machine] if "--set" in way or rng.random() < 0.5 else []
        yield ["analyze", path, *way, *on, *sizes]


def _sizes(hint: str) -> list[str]:
    """The options that the hint of a missing dimension adds; they must be there and must be readable."""
    found = re.search(r" --(?:dim|shape|context) .*", hint, re.DOTALL)
    assert found, f"no option in the hint: {hint}"
    return shlex.split(found[0])


def _named_in(sizes: Sequence[str]) -> list[str]:
    """The tensors and symbols in those options; one that begins or ends with spaces cannot be typed."""
    return [option.rpartition("=")[0].partition("[")[0] for option in sizes if not option.startswith("--")]


def _some_nodes(report: str, rng: random.Random) -> Iterator[str]:
    rows = json.loads(report)
    names = [n["name"] for r in rows.get("results", [rows]) for n in r.get("nodes", [])]
    if names and rng.random() < 0.5:
        yield rng.choice([rng.choice(names), "#0", "Conv"])


def _run(command: Sequence[str]) -> tuple[str, Exception | None]:
    """Standard output, and the error that the program would tell; any other exception goes through."""
    out, told = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    error: Exception | None = None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(told):
        try:
            code = cli._run(list(command))
            assert code in (ExitCode.OK, ExitCode.FINDING), f"exit {code} without an error"
        except EffcliError as raised:
            error = raised
            cli._show(raised)
        except click.ClickException as raised:
            error = raised
    text = _text(out)
    _check(text, coloured="always" in command)
    _check(_text(told), coloured=False)
    _check_error(error, text)
    return text, error


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode("utf-8")


def _check(text: str, *, coloured: bool) -> None:
    """Nothing that a terminal would obey comes from a model."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text) if coloured else text
    bad = [line for line in plain.split("\n") if not line.isprintable()]
    assert not bad, f"unprintable in the output: {bad[0][:200]!a}"


def _check_error(error: Exception | None, text: str) -> None:
    if isinstance(error, EffcliError):
        assert error.what, "an error that says nothing"
        assert not text or _code(error) == ExitCode.INCONCLUSIVE, "half a result beside an error"
        assert len(error.where) <= _MOST_LINES, f"an error of {len(error.where)} lines"


def _code(error: Exception) -> int:
    return int(error.exit_code) if isinstance(error, EffcliError) else int(ExitCode.ERROR)
