"""Timings of a micro-benchmark that was interrupted: kept beside the profile to be, for the next run to go on with."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec
from msgspec import Struct

from efficiency_cli.errors import UsageError
from efficiency_cli.measure.host.levels import Level
from efficiency_cli.measure.host.machine import Host
from efficiency_cli.measure.host.microbench import Timing

SUFFIX = ".partial"


class Settings(Struct, frozen=True):
    """What must be the same for timings to go together."""

    cpu: str
    threads: int
    quick: bool
    versions: dict[str, str]


class _Head(Struct, frozen=True):
    settings: Settings
    levels: list[Level]


class Kept:
    """The file PROFILE.partial: a line with the settings and memory levels, then one for each timing."""

    def __init__(self, profile: str, host: Host, threads: int, quick: bool) -> None:
        self.path = Path(f"{profile}{SUFFIX}")
        self.settings = Settings(host.cpu, threads, quick, dict(host.versions))
        self.levels: list[Level] = []
        self.timings: list[Timing] = []
        self._read()

    def _read(self) -> None:
        """What is there already, if it is of the same settings; half a line at the end is left out."""
        try:
            lines = self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return
        except OSError as error:
            raise UsageError(f"{self.path} cannot be read: {error.strerror}", hint=f"rm {self.path}") from None
        with contextlib.suppress(msgspec.DecodeError):
            head = msgspec.json.decode(lines[0] if lines else b"", type=_Head)
            if head.settings != self.settings:
                return
            self.levels = head.levels
            for line in lines[1:]:
                self.timings.append(msgspec.json.decode(line, type=Timing))

    def begin(self, levels: list[Level]) -> None:
        """Start the file, with what is known so far."""
        self.levels = levels
        lines = [msgspec.json.encode(_Head(self.settings, levels)), *map(msgspec.json.encode, self.timings)]
        try:
            self.path.write_bytes(b"".join(line + b"\n" for line in lines))
        except OSError as error:
            hint = "choose a place that can be written to: -o PATH"
            raise UsageError(f"{self.path} cannot be written: {error.strerror}", hint=hint) from None

    def keep(self, timing: Timing) -> None:
        self.timings.append(timing)
        with self.path.open("ab") as file:
            file.write(msgspec.json.encode(timing) + b"\n")

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
