"""A baseline: what estimates were when someone accepted them, for budgets on the change since.

The file is written by `check --update-baseline` and belongs into version control. It is a JSON report with what
judging needs and no more; a report of `analyze` serves as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import PurePath

from msgspec import Struct
from msgspec.structs import replace

from efficiency_cli.judge.snapshot import HardwarePart, Kernel, ModelPart, Snapshot, read_saved

FILE = "effcli-baseline.json"


class Baseline(Struct, frozen=True):
    """The estimates of a file at `path`, and the version of effcli that wrote it."""

    path: str
    entries: tuple[Snapshot, ...]
    version: str = ""

    def of(self, snapshot: Snapshot) -> Snapshot | None:
        """The same model on the same machine in the same sizes, or None.

        Paths are those from the file's folder, or from the current one; where none is the same, a file of the
        same name is taken if there is only one.
        """
        alike = [e for e in self.entries if _setting(e) == _setting(snapshot)]
        wanted = os.path.abspath(snapshot.model.path)
        for folder in (os.path.dirname(os.path.abspath(self.path)), os.getcwd()):
            for entry in alike:
                if os.path.normpath(os.path.join(folder, entry.model.path)) == wanted:
                    return entry
        named = [e for e in alike if PurePath(e.model.path).name == PurePath(wanted).name]
        return named[0] if len(named) == 1 else None

    def why_not(self, snapshot: Snapshot) -> str:
        """Why `of` gives None: the model is unknown, or known otherwise."""
        name = PurePath(snapshot.model.path).name
        others = [e for e in self.entries if PurePath(e.model.path).name == name]
        if not others:
            return "the model is not in the baseline"
        told = dict.fromkeys(_told(e) for e in others)
        return f"the baseline has it {' and '.join(told)}"


def _setting(snapshot: Snapshot) -> tuple[object, ...]:
    hardware = snapshot.hardware
    machine = (hardware.id, hardware.runtime) if hardware else ("", "")
    return *machine, tuple(sorted(snapshot.model.dims.items())), snapshot.asked


def _told(entry: Snapshot) -> str:
    parts = [f"on {entry.hardware.id} with {entry.hardware.runtime}"] if entry.hardware else ["without a machine"]
    parts += [f"{name}={size}" for name, size in sorted(entry.model.dims.items())]
    return ", ".join([*parts, *([entry.asked] if entry.asked else [])])


def read_baseline(path: str) -> Baseline:
    """Raises UsageError for a file that cannot be read or is not a report."""
    saved = read_saved(path)
    return Baseline(path, saved.snapshots, saved.version)


def updated(old: Sequence[Snapshot], new: Iterable[Snapshot], path: str, keep: bool) -> tuple[Snapshot, ...]:
    """The entries of the file at `path` with `new` in place of what they stand for; the others only if `keep`."""
    fresh = [stored(s, path) for s in new]
    keys = {(_place(s), _setting(s)) for s in fresh}
    kept = [e for e in old if keep and (_place(e), _setting(e)) not in keys]
    return tuple(sorted((*kept, *fresh), key=lambda e: (_place(e), repr(_setting(e)))))


def _place(entry: Snapshot) -> str:
    return PurePath(entry.model.path).as_posix()


def stored(snapshot: Snapshot, path: str) -> Snapshot:
    """What a baseline at `path` keeps of a snapshot: no nodes, and the model's path from there."""
    folder = os.path.dirname(os.path.abspath(path))
    try:
        place = os.path.relpath(os.path.abspath(snapshot.model.path), folder)
    except ValueError:  # on another drive
        place = os.path.abspath(snapshot.model.path)
    return replace(
        snapshot,
        model=ModelPart(PurePath(place).as_posix(), snapshot.model.dims),
        kernels=tuple(map(_stored_kernel, snapshot.kernels)),
        nodes=(),
    )


def _stored_kernel(kernel: Kernel) -> Kernel:
    return replace(kernel, nodes=())


def other_profile(before: HardwarePart | None, now: HardwarePart | None) -> bool:
    """Whether the machine's numbers have changed since: then a change need not be the model's."""
    return bool(before and now and before.profile and now.profile and before.profile != now.profile)
