"""Runs the program on models one after the other and says, as a JSON line each, what each process took.

    python measured_child.py MODEL …

A small process of its own: the memory of a process counts that of its parent before it became another program.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile


def main(models: list[str]) -> None:
    for model in models:
        with tempfile.TemporaryFile() as errors, open(os.devnull, "wb") as nothing:
            command = [sys.executable, "-m", "efficiency_cli", "analyze", model, "--hw", "cortex-m7", "-f", "json"]
            actions = [
                (os.POSIX_SPAWN_DUP2, nothing.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, errors.fileno(), 2),
            ]
            _, status, usage = os.wait4(os.posix_spawn(sys.executable, command, os.environ, file_actions=actions), 0)
            errors.seek(0)
            said = {
                "model": model,
                "exit": os.waitstatus_to_exitcode(status),
                "cpu_s": usage.ru_utime + usage.ru_stime,
                # kilobytes on Linux, bytes on macOS
                "bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
                "told": errors.read().decode("utf-8", "replace"),
            }
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
