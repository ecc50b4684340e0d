"""Starts `fuzz_child.py`, again when an input has killed it, and collects what was found."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHILD = Path(__file__).with_name("fuzz_child.py")
# what no input may take
MAX_S = 10.0
MAX_BYTES = 10**9
# the child stops itself after MAX_S of processor time; this is for code that does not listen, on a busy machine too
SILENCE_S = 120.0


@dataclass
class Finding:
    """An input that ended in something else than a result or an error for its user."""

    label: str
    what: str
    details: str = ""


@dataclass
class Summary:
    """What a run saw."""

    outcomes: Counter[str] = field(default_factory=Counter)
    by_label: dict[str, tuple[str, str]] = field(default_factory=dict)
    commands: int = 0
    findings: list[Finding] = field(default_factory=list)
    worst_s: tuple[float, str] = (0.0, "")
    worst_bytes: tuple[int, str] = (0, "")
    wall_s: float = 0.0

    @property
    def inputs(self) -> int:
        return sum(self.outcomes.values())

    def add(self, label: str, said: dict[str, Any]) -> None:
        self.outcomes[said["name"]] += 1
        self.by_label[label] = (said["name"], said["what"])
        self.commands += said["commands"]
        self.worst_s = max(self.worst_s, (said["cpu_s"], label))
        self.worst_bytes = max(self.worst_bytes, (said["bytes"], label))
        if said["trouble"]:
            self.findings.append(Finding(label, said["trouble"].strip().splitlines()[-1], said["trouble"]))
        elif said["cpu_s"] > MAX_S:
            self.findings.append(Finding(label, f"{said['cpu_s']:.1f} s of processor time"))
        if said["bytes"] > MAX_BYTES:
            self.findings.append(Finding(label, f"{said['bytes'] / 1e6:,.0f} MB of memory"))

    def text(self) -> str:
        outcomes = ", ".join(f"{n:,} {name}" for name, n in self.outcomes.most_common())
        return (
            f"{self.inputs:,} inputs, {self.commands:,} commands, in {self.wall_s:,.0f} s: {outcomes}\n"
            f"worst time {self.worst_s[0]:.2f} s (input {self.worst_s[1]}), "
            f"worst memory {self.worst_bytes[0] / 1e6:,.0f} MB (input {self.worst_bytes[1]})\n"
            f"{len(self.findings)} findings"
        )


def run_mutants(seed: int, first: int, count: int, progress: Callable[[Summary], None] | None = None) -> Summary:
    """`count` mutants of the run `seed`, in children of up to 500 each."""
    summary = Summary()
    start = time.monotonic()
    index = first
    while index < first + count:
        batch = min(500, first + count - index)
        index += _child([str(seed), str(index), str(batch)], batch, summary)
        summary.wall_s = time.monotonic() - start
        if progress is not None:
            progress(summary)
    return summary


def run_bombs(names: Sequence[str], progress: Callable[[Summary], None] | None = None) -> Summary:
    """Each named bomb in a child of its own, so that the memory of one is not another's."""
    summary = Summary()
    start = time.monotonic()
    for name in names:
        _child(["bomb", name], 1, summary)
        summary.wall_s = time.monotonic() - start
        if progress is not None:
            progress(summary)
    return summary


def run_together(kind: str, names: Sequence[str]) -> Summary:
    """Bombs (`kind` "bomb") by their names or files ("file") by their paths, in one child where none kills it."""
    summary = Summary()
    left = list(names)
    while left:
        del left[: _child([kind, *left], len(left), summary)]
    return summary


def _child(arguments: Sequence[str], expected: int, summary: Summary) -> int:
    """One child until it has done all of `expected`, died or gone silent; how many inputs it dealt with."""
    done, label = 0, ""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen([sys.executable, str(CHILD), *arguments], stdout=subprocess.PIPE, stderr=errors)
        with process:
            for line in _lines(process):
                said = json.loads(line)
                if "begin" in said:
                    label = said["begin"]
                else:
                    summary.add(label, said)
                    done += 1
                    label = ""
            silent = process.poll() is None and done < expected
            if silent:
                process.kill()
            code = process.wait()
        if done >= expected and code == 0:
            return done
        errors.seek(0)
        details = errors.read().decode("utf-8", "replace")[-3000:]
    what = f"nothing heard for {SILENCE_S:.0f} s" if silent else f"the process died with code {code}"
    summary.outcomes["dead"] += 1
    summary.findings.append(Finding(label or f"the one after {done} of {arguments}", what, details))
    return done + 1


def _lines(process: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """The child's lines, until it ends or says nothing for SILENCE_S."""
    assert process.stdout is not None
    descriptor, rest = process.stdout.fileno(), b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while selector.select(SILENCE_S):
            part = os.read(descriptor, 1 << 16)
            if not part:
                process.wait()
                return
            *lines, rest = (rest + part).split(b"\n")
            yield from lines
