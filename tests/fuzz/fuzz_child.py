"""A process that analyses hostile inputs one after the other and says how each went, as JSON lines.

    python fuzz_child.py SEED FIRST COUNT     mutants FIRST … FIRST + COUNT - 1 of the run SEED
    python fuzz_child.py bomb NAME …          the named bombs
    python fuzz_child.py file PATH …          files, as they are

It limits its own address space, so that what asks for too much fails here and nowhere else. The parent
(`fuzz_parent.py`) watches the clock and notices when it dies.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import json
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fuzz_bombs import all_bombs
from fuzz_commands import WAYS, Outcome, outcome_of
from fuzz_mutations import mutant
from msgspec import to_builtins

from efficiency_cli import cli

CPU_LIMIT_S = 10
ADDRESS_SPACE = 3 * 2**30
# of those in fuzz_commands
WAYS_OF_A_MUTANT = 2


class TooSlow(BaseException):
    """The input took all its processor time; not an Exception, so that no handler swallows it."""


def main(arguments: list[str]) -> None:
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, _too_slow)
    # as the program does, whose commands are run here without its entry point
    gc.set_threshold(cli._OBJECTS_BETWEEN_COLLECTIONS, 50, 50)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        for label, ways, data in _inputs(arguments):
            path.write_bytes(data)
            del data
            _say(begin=label)
            _say(**_watched(str(path), label, ways))


def _inputs(arguments: list[str]) -> Iterator[tuple[str, int, bytes]]:
    kind, *names = arguments
    if kind == "bomb":
        for name in names:
            yield name, 0, all_bombs()[name]()
        return
    if kind == "file":
        for name in names:
            yield name, len(WAYS), Path(name).read_bytes()
        return
    seed, first, count = map(int, arguments)
    for index in range(first, first + count):
        yield f"{seed}/{index}", WAYS_OF_A_MUTANT, mutant(seed, index)


def _watched(path: str, label: str, ways: int) -> dict[str, Any]:
    """One input under the clock; the traceback when it ended in anything but a result or an error for its user."""
    _forget_peak()
    before_s = time.process_time()
    outcome, trouble = Outcome("bug", "", 0), ""
    signal.setitimer(signal.ITIMER_PROF, CPU_LIMIT_S)
    try:
        outcome = outcome_of(path, random.Random(Path(label).name), ways)
    except KeyboardInterrupt:
        raise
    except BaseException:
        trouble = traceback.format_exc()
    signal.setitimer(signal.ITIMER_PROF, 0)
    spent = time.process_time() - before_s
    return {**to_builtins(outcome), "trouble": trouble, "cpu_s": spent, "bytes": _peak_bytes()}


def _too_slow(*_: object) -> None:
    raise TooSlow(f"more than {CPU_LIMIT_S} s of processor time")


def _forget_peak() -> None:
    """Start the kernel's high-water mark anew (Linux; elsewhere it only ever rises)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_bytes() -> int:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _say(**message: Any) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
