"""Which machine and runtime each row of a table ran on; a row that has none is told with the reason.

The machine is found by device, else by core, and runs at the row's clock; the runtime by its name and version in
the table. What is taken for something else than written is said in `assumption`, never silently.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from efficiency_cli.errors import EffcliError, ProfileError, did_you_mean
from efficiency_cli.hardware.load import load_profile, profile_ids, profiles
from efficiency_cli.hardware.profile import Profile, Runtime
from efficiency_cli.measure.runs import Run

# what makers of boards put around the chip's name
_BOARD = re.compile(r"(?:(?:nucleo|disco|ek)-)?(.+?)(?:-(?:disco|dk))?(?:-[qp])?")
# STM32 and four more signs name the chip; pins, flash, package and temperature follow (ST's ordering codes)
_STM32 = re.compile(r"(stm32[a-z][a-z0-9]{3})[a-z][a-z0-9]{0,5}")
# how tables spell the types that a network computes in
PRECISIONS: Mapping[str, tuple[str, ...]] = {
    "int8": ("int8", "uint8", "i8", "u8", "s8", "q8", "w8a8", "8bit"),
    "int16": ("int16", "uint16", "i16", "s16", "w16a16"),
    "float16": ("float16", "fp16", "f16", "half"),
    "bfloat16": ("bfloat16", "bf16"),
    "float32": ("float32", "fp32", "f32", "float", "single", "tf32"),
    "float64": ("float64", "fp64", "f64", "double"),
}
_MEANT = {spelled: dtype for dtype, words in PRECISIONS.items() for spelled in words}
# runtimes and machines named in a reason
_MOST_NAMED = 8


class Placed(Struct, frozen=True):
    """A run with its machine, at the run's clock, and the id of its runtime.

    `assumption` says what was taken for something else, as in "version 7.2 read as 7.1"; '' where nothing was.
    """

    run: Run
    profile: Profile
    runtime: str
    assumption: str


class Unplaced(Struct, frozen=True):
    """A run that no estimate can be set beside, and why, with the next step."""

    run: Run
    reason: str


class _UnplacedError(Exception):
    """The reason why a run has no machine or no runtime."""


def place(
    runs: Iterable[Run],
    *,
    hw: Sequence[str] = (),
    runtime: str | None = None,
    hw_dirs: Sequence[str | Path] = (),
    overrides: Sequence[str] = (),
) -> tuple[list[Placed], list[Unplaced]]:
    """Each run on its machine, in order, and those without one.

    One machine in `hw` is that of all runs, several are those to choose from; `runtime` is that of all runs;
    `overrides` are as in `load_profile`. Raises ProfileError for hardware that is unknown, and for a `runtime`
    that no machine has.
    """
    machines = _Machines(hw, hw_dirs, overrides)
    placed: list[Placed] = []
    unplaced: list[Unplaced] = []
    for run in runs:
        try:
            placed.append(_placed(run, machines, runtime))
        except _UnplacedError as error:
            unplaced.append(Unplaced(run, str(error)))
    if runtime is not None and unplaced and not placed:
        machines.check_runtime(runtime)
    return placed, unplaced


def _placed(run: Run, machines: _Machines, runtime: str | None) -> Placed:
    profile = machines.of(run)
    chosen, told = _runtime(profile, run) if runtime is None else (_named(profile, runtime), "")
    clocked, ignored = machines.at_clock(profile, run.clock_hz)
    forced = machines.forced(run)
    return Placed(run, clocked, chosen.id, "; ".join(filter(None, (forced, told, ignored))))


def dtype_meant(precision: str) -> str:
    """The element type that a table's word for a precision means: "fp32" is float32; '' for other words."""
    return _MEANT.get(precision.lower().replace("-", "").replace("_", ""), "")


def slug(text: str) -> str:
    """ "Cortex-M0+" -> "cortex-m0plus", "nRF5340 DK" -> "nrf5340-dk"."""
    spelled = text.lower().replace("+", "plus ") if text.rstrip().endswith("+") else text.lower()
    return re.sub(r"[^a-z0-9]+", "-", spelled).strip("-")


def _device_slugs(device: str) -> list[str]:
    """What a board may be known as, the most exact first: NUCLEO-L4R5ZI-P, NUCLEO-L4R5ZI, L4R5ZI, STM32L4R5."""
    whole = slug(device)
    found = [whole, re.sub(r"-[qp]$", "", whole)]
    board = _BOARD.fullmatch(whole)
    if board is not None:
        found += [board[1], f"stm32{board[1]}"]
    found += [chip[1] for text in list(found) if (chip := _STM32.fullmatch(text))]
    return [text for text in dict.fromkeys(found) if text]


# --- machines ----------------------------------------------------------------------------------


class _Machines:
    """The profiles to choose from, by everything they are called, each loaded once a clock."""

    def __init__(self, hw: Sequence[str], hw_dirs: Sequence[str | Path], overrides: Sequence[str]) -> None:
        self.hw_dirs = tuple(hw_dirs)
        self.overrides = tuple(overrides)
        self.unread: list[str] = []
        self.ids = frozenset(profile_ids(self.hw_dirs))
        self.all = _asked(hw, self.hw_dirs) if hw else self._known()
        self.single = self.all[0] if hw and len(self.all) == 1 else None
        self.by_name: dict[str, Profile] = {}
        for profile in self.all:
            self.by_name.setdefault(slug(profile.id), profile)
        for profile in self.all:
            for alias in profile.aliases:
                self.by_name.setdefault(slug(alias), profile)
        self.clocked: dict[tuple[str, float | None], Profile] = {}

    def _known(self) -> list[Profile]:
        """All that can be read: a broken file hides no other."""
        found = []
        for id_ in profile_ids(self.hw_dirs):
            try:
                found.append(load_profile(id_, self.hw_dirs))
            except ProfileError as error:
                self.unread.append(error.what)
        return found

    def of(self, run: Run) -> Profile:
        """By device, else by core; or the only one that was asked for."""
        if self.single is not None:
            return self.single
        names = [*_device_slugs(run.device), slug(run.core)]
        found = next((self.by_name[name] for name in names if name in self.by_name), None)
        if found is None:
            raise _UnplacedError(self._unknown(run))
        return found

    def forced(self, run: Run) -> str:
        """What to tell of a row whose core is another machine than the only one that was asked for; '' if it is not."""
        core = slug(run.core)
        if self.single is None or core not in self.ids:
            return ""
        own = f"-{self.single.id}-{slug(self.single.name)}-{self.single.base}-"
        return "" if f"-{core}-" in own else f"core '{run.core}': {self.single.id} taken, as --hw says"

    def _unknown(self, run: Run) -> str:
        written = [f"{what} '{text}'" for what, text in (("device", run.device), ("core", run.core)) if text]
        if not written:
            return "the row names neither a device nor a core: name one with --hw ID"
        unread = f" ({'; '.join(self.unread)})" if self.unread else ""
        return f"no machine for {', '.join(written)}{unread}: name one with --hw ID, or describe it: effcli hw new"

    def at_clock(self, profile: Profile, clock_hz: float | None) -> tuple[Profile, str]:
        """The profile at the row's clock, and what to tell where it has none to change."""
        told = ""
        if clock_hz is not None and profile.clock is None:
            told, clock_hz = f"{profile.id} is described without a clock: that of the row is not used", None
        if clock_hz is not None and profile.clock is not None and clock_hz == profile.clock.value:
            clock_hz = None
        key = (profile.path, clock_hz)
        if key not in self.clocked:
            clock = [f"clock={clock_hz!r} Hz"] if clock_hz is not None else []
            changes = [*clock, *self.overrides]
            self.clocked[key] = load_profile(profile.path, self.hw_dirs, changes) if changes else profile
        return self.clocked[key], told

    def check_runtime(self, name: str) -> None:
        """Raise ProfileError where none of the machines has it."""
        if self.single is not None:
            self.single.runtime(name)
        known = dict.fromkeys(r.id for profile in self.all for r in profile.runtimes)
        if name.lower() not in (id_.lower() for id_ in known):
            raise ProfileError(
                f"no machine has the runtime '{name}'",
                where=f"they have: {', '.join(known)}",
                hint=did_you_mean(name, known) or "see those of a machine: effcli hw show ID",
            )


def _asked(hw: Sequence[str], hw_dirs: Sequence[str | Path]) -> list[Profile]:
    found: dict[str, Profile] = {}
    for text in hw:
        # a path may hold a comma
        for profile in [load_profile(text, hw_dirs)] if Path(text).is_file() else profiles(text, hw_dirs):
            found.setdefault(profile.path, profile)
    if not found:
        raise ProfileError("--hw names no machine", hint="list them: effcli hw list")
    return list(found.values())


# --- runtimes ----------------------------------------------------------------------------------


def _named(profile: Profile, name: str) -> Runtime:
    try:
        return profile.runtime(name)
    except EffcliError as error:
        raise _UnplacedError(f"{error.what}; {', '.join(error.where)}") from error


def _runtime(profile: Profile, run: Run) -> tuple[Runtime, str]:
    """The runtime that the row means, and what was assumed."""
    if not run.runtime:
        default = profile.runtime()
        return default, f"no runtime given: {default.id}, the default of {profile.id}"
    wanted = slug(run.runtime)
    exact = _of_precision([r for r in profile.runtimes if wanted in (slug(r.product or r.id), slug(r.id))], run)
    if exact:
        return _of_version(exact, profile, run)
    near = [r for r in profile.runtimes if not r.product and _begins(wanted, r)]
    if not near:
        raise _UnplacedError(_no_runtime(profile, run))
    chosen, told = _of_version(near, profile, run)
    return chosen, "; ".join(filter(None, (f"runtime '{run.runtime}' read as {chosen.id}", told)))


def _of_precision(candidates: list[Runtime], run: Run) -> list[Runtime]:
    """Those meant for the row's type, where there are any."""
    dtype = dtype_meant(run.precision)
    return [r for r in candidates if r.dtype == dtype] or candidates


def _begins(wanted: str, runtime: Runtime) -> bool:
    """Whether the id or the name of a runtime begins with these words: TFLM for tflm-cmsis-nn."""
    return bool(wanted) and any(f"{slug(text)}-".startswith(f"{wanted}-") for text in (runtime.id, runtime.name))


def _no_runtime(profile: Profile, run: Run) -> str:
    known = list(dict.fromkeys(r.product or r.id for r in profile.runtimes))
    more = ", …" if len(known) > _MOST_NAMED else ""
    ids = f"it has {', '.join(known[:_MOST_NAMED])}{more}"
    return f"{profile.id} has no runtime '{run.runtime}', {ids}: choose one for all rows with --runtime NAME"


def _of_version(candidates: Sequence[Runtime], profile: Profile, run: Run) -> tuple[Runtime, str]:
    """Of runtimes of one product that of the row's version (longest prefix), else any version's, else the nearest."""
    version = _version(run.version)
    stated = [(r, v) for r in candidates for v in map(_version, r.versions) if v]
    for length in range(len(version), 0, -1):
        for runtime, prefix in stated:
            if prefix == version[:length]:
                return runtime, ""
    general = [r for r in candidates if not r.versions]
    if general:
        return _default_of(general, profile), ""
    numbers = _numbers(version)
    if not numbers or not stated:
        chosen = _default_of(candidates, profile)
        given = f"version '{run.version}'" if run.version else "no version given"
        return chosen, f"{given}: {chosen.id} assumed"
    # between two as near, the older
    chosen, prefix = min(stated, key=lambda s: (_distance(numbers, _numbers(s[1])), _numbers(s[1])))
    return chosen, f"version {run.version} read as {'.'.join(prefix)}"


def _default_of(candidates: Sequence[Runtime], profile: Profile) -> Runtime:
    return next((r for r in candidates if r.id == profile.default_runtime), candidates[0])


def _version(text: str) -> tuple[str, ...]:
    """ "v0.5/reference" -> ("0", "5", "reference"), "2023.05" -> ("2023", "5")."""
    parts = re.findall(r"[0-9]+|[a-z]+", text.lower())
    if len(parts) > 1 and parts[0] in ("v", "version") and parts[1].isdigit():
        parts = parts[1:]
    return tuple(str(int(p)) if p.isdigit() and len(p) < 20 else p for p in parts)


def _numbers(version: Sequence[str]) -> tuple[int, ...]:
    return tuple(int(p) for p in version if p.isdigit() and len(p) < 20)


def _distance(wanted: Sequence[int], stated: Sequence[int]) -> tuple[int, ...]:
    """How far a version is from one that a profile states, the leading number first."""
    return tuple(abs(a - b) for a, b in zip(wanted, stated, strict=False)) or (1 << 62,)
