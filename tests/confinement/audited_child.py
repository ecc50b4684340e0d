"""Analyses models one after the other and says, as a JSON line each, the exit code and everything that was opened.

    python audited_child.py MODEL …

Python's audit hook sees what Python opens, lists, starts or connects to; what C++ opens, `strace` would see.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from efficiency_cli import cli

WATCHED = ("open", "os.", "subprocess.", "socket.", "shutil.", "urllib.", "ctypes.dlopen", "tempfile.")
HARMLESS = ("os.putenv", "os.unsetenv")
COMMANDS = (["--hw", "cortex-m7", "-f", "json"], ["--effective", "-q"])


def main(models: list[str]) -> None:
    events: list[tuple[str, str, bool]] = []
    listening = False

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if listening and event.startswith(WATCHED) and event not in HARMLESS:
            events.append((event, _path(arguments), _writes(event, arguments)))

    sys.addaudithook(hook)
    for model in models:
        codes = []
        for command in COMMANDS:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                listening = True
                codes.append(cli.main(["analyze", model, *command]))
                listening = False
        print(json.dumps({"model": model, "exits": codes, "events": events}), flush=True)
        events.clear()


def _path(arguments: tuple[object, ...]) -> str:
    first = arguments[0] if arguments else ""
    return os.fsdecode(first) if isinstance(first, str | bytes | os.PathLike) else ""


def _writes(event: str, arguments: tuple[object, ...]) -> bool:
    if event != "open":
        return False
    _, mode, flags = (*arguments, None, None)[:3]
    by_flags = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC) != 0
    return by_flags or (isinstance(mode, str) and any(c in mode for c in "wax+"))


if __name__ == "__main__":
    main(sys.argv[1:])
