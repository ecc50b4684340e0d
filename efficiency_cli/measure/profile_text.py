"""Fitted runtimes -> the YAML of a profile that changes them and stands on the one they are of for all else.

Also what else has to be written for that: runtimes that stand on a fitted one keep what they had.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from efficiency_cli import quantity
from efficiency_cli.errors import ProfileError, UsageError
from efficiency_cli.hardware.build import ID
from efficiency_cli.hardware.load import base_path, profile_of
from efficiency_cli.hardware.profile import DEFAULT_INTERVAL, Calibration, Profile, Quantity, Runtime
from efficiency_cli.measure.calibration import SOURCE, Fitted

_SUFFIXES = (".yaml", ".yml")
# what a profile without a number of its own has
_WITHOUT: Mapping[str, Quantity] = {
    key: Quantity(value, text, "as shipped: nothing is said", "derived")
    for key, value, text in (
        ("scale", 1.0, "1"),
        ("efficiency", 1.0, "1"),
        ("lower", DEFAULT_INTERVAL[0], f"{DEFAULT_INTERVAL[0]:g}"),
        ("upper", DEFAULT_INTERVAL[1], f"{DEFAULT_INTERVAL[1]:g}"),
    )
}


def check_place(path: Path, profile: Profile) -> None:
    """Raise UsageError where a profile in the file `path` could not stand on `profile`."""
    if path.suffix not in _SUFFIXES or not ID.fullmatch(path.stem):
        raise UsageError(f"'{path.name}' is no name for a profile", hint="use letters and digits, as in: my-board.yaml")
    base = Path(profile.path)
    try:
        found = base_path(base.stem, path)
    except ProfileError:
        found = None
    if found is not None and found.exists() and found.samefile(base) and not (path.exists() and path.samefile(base)):
        return
    if path.stem.lower() == base.stem.lower():
        what = f"{path} would stand on itself"
        raise UsageError(what, hint=f"choose another name: -o {base.parent / f'{base.stem}-calibrated.yaml'}")
    if found is not None:
        what = f"{path} would stand on {found}, the calibration is of {base}"
        raise UsageError(what, hint="write it to another folder")
    what = f"{path} would stand on '{base.stem}', which is not there"
    raise UsageError(what, hint=f"write it beside it: -o {base.parent / path.name}")


def profile_text(path: Path, fitted: Sequence[Fitted], source: str, name: str = "") -> str:
    """What the file `path` shall hold: these runtimes of one profile.

    `source` says which measurements, in a few words. `check_place` has been called.
    """
    new = {one.runtime.id: one.applied_to(one.runtime) for one in fitted}
    was = fitted[0].profile
    before = {id_: was.runtime(id_) for id_ in new}
    text = _text(path.stem, fitted, new, before, source, name)
    now = profile_of(text, path)
    # a fitted one that stands on another must say all that it has …
    whole = {id_ for id_, r in new.items() if _numbers(r) != _numbers(now.runtime(id_))}
    before |= {id_: _bare(new[id_]) for id_ in whole}
    # … and others that stand on a fitted one what they had
    kept = [r for r in was.runtimes if r.id not in new and _numbers(r) != _numbers(now.runtime(r.id))]
    before |= {r.id: now.runtime(r.id) for r in kept}
    if whole or kept:
        all_of = {**new, **{r.id: _completed(r, now) for r in (*kept, *(new[id_] for id_ in whole))}}
        text = _text(path.stem, fitted, all_of, before, source, name)
        profile_of(text, path)
    return text


def _bare(runtime: Runtime) -> Runtime:
    """Without all that a calibration changes."""
    return Runtime(runtime.id, runtime.name, "", runtime.overlap)


def _numbers(runtime: Runtime) -> list[tuple[str, float, str]]:
    """What a calibration changes; times as written, whatever the clock."""
    found = {"scale": runtime.scale_factor} | dict(zip(("lower", "upper"), runtime.interval_factors, strict=True))
    found |= {f"of {k}": q.value for k, q in runtime.efficiency.items()}
    times = {"kernel": runtime.dispatch.kernel, "run": runtime.dispatch.run, **runtime.dispatch.classes}
    written = {k: quantity.split(q.text) for k, q in times.items() if q}
    numbers = [(k, v, "") for k, v in found.items()] + [(k, v, unit) for k, (v, unit) in written.items()]
    rests_on = runtime.calibration
    error = -1.0 if rests_on is None or rests_on.held_out_error is None else rests_on.held_out_error
    numbers += [("calibration", v, "") for v in (rests_on.measurements, rests_on.models, error)] if rests_on else []
    return [(runtime.grade, 0.0, ""), *sorted((k, float(f"{v:.9g}"), unit) for k, v, unit in numbers)]


def _completed(runtime: Runtime, now: Profile) -> Runtime:
    """With the efficiencies that it has in `now`, because it stands on a fitted one, and had not."""
    added = dict.fromkeys(now.runtime(runtime.id).efficiency, _WITHOUT["efficiency"])
    return replace(runtime, efficiency={**added, **runtime.efficiency})


def _text(
    id_: str,
    fitted: Sequence[Fitted],
    new: Mapping[str, Runtime],
    before: Mapping[str, Runtime],
    source: str,
    name: str,
) -> str:
    """The runtimes `new`, of each what is not as in `before`."""
    was = fitted[0].profile
    lines = [
        f"# {id_}: {was.id} with what effcli calibrate fitted; all else is as there.",
        "schema_version: 1",
        f"base: {Path(was.path).stem}",
        f"name: {quoted(name or _name(fitted))}",
        "sources:",
        f"  {SOURCE}: {quoted(source)}",
        *_clock(fitted),
        f"runtime: {_default(fitted)}",
        "runtimes:",
    ]
    for runtime in new.values():
        own = any(runtime.id == one.runtime.id for one in fitted)
        lines += [f"  {runtime.id}:" + ("" if own else "  # stands on a fitted one, and is as it was")]
        lines += _runtime(runtime, before[runtime.id])
    return "\n".join(lines) + "\n"


def _default(fitted: Sequence[Fitted]) -> str:
    """The profile's own, where that was fitted, else the one with most measurements."""
    default = fitted[0].profile.default_runtime
    return max(fitted, key=lambda one: (one.runtime.id == default, len(one.cases))).runtime.id


def _name(fitted: Sequence[Fitted]) -> str:
    """That of what it stands on, and the clock where that is another."""
    profile = fitted[0].profile
    clock = _own_clock(fitted)
    return f"{profile.name}, calibrated" + (f" at {_hertz(clock)}" if clock else "")


def _own_clock(fitted: Sequence[Fitted]) -> Quantity | None:
    """The clock of the measurements, where they all had one and it is not the profile's."""
    clocks = {c.placed.profile.clock for one in fitted for c in one.cases}
    (clock,) = clocks if len(clocks) == 1 else (None,)
    return clock if clock is not None and clock.source == "--set" else None


def _hertz(clock: Quantity) -> str:
    return f"{clock.value / 1e6:.12g} MHz"


def _clock(fitted: Sequence[Fitted]) -> list[str]:
    clock = _own_clock(fitted)
    if clock is None:
        return []
    return [f"clock: {{value: {_hertz(clock)}, source: {SOURCE}, kind: measured, note: that of the measurements}}"]


def _runtime(now: Runtime, was: Runtime) -> Iterator[str]:
    """What is not as it was of grade, scale, efficiency, dispatch, interval and calibration."""
    if now.grade != was.grade or now.calibration != was.calibration:
        yield f"    grade: {now.grade}"
    if now.scale != was.scale:
        yield f"    scale: {_number(now.scale or _WITHOUT['scale'])}"
    yield from _numbers_below("    efficiency:", now.efficiency, was.efficiency)
    times = {k: q for k, q in (("kernel", now.dispatch.kernel), ("run", now.dispatch.run)) if q}
    before = {"kernel": was.dispatch.kernel, "run": was.dispatch.run}
    dispatch = [
        *_numbers_below("", times, before),
        *_numbers_below("      classes:", now.dispatch.classes, was.dispatch.classes),
    ]
    yield from ["    dispatch:", *dispatch] if dispatch else []
    if now.interval != was.interval:
        low, high = (now.interval.lower, now.interval.upper) if now.interval else (None, None)
        interval = {"lower": low or _WITHOUT["lower"], "upper": high or _WITHOUT["upper"]}
        yield from _numbers_below("    interval:", interval, {})
    if now.calibration is not None and now.calibration != was.calibration:
        yield from _calibration(now.calibration)


def _numbers_below(
    head: str, now: Mapping[str, Quantity], was: Mapping[str, Quantity] | Mapping[str, Quantity | None]
) -> list[str]:
    """The numbers that are not as they were, two columns right of `head`."""
    indent = " " * (len(head) - len(head.lstrip()) + 2 if head else 6)
    lines = [f"{indent}{name}: {_number(number)}" for name, number in now.items() if number != was.get(name)]
    return [head, *lines] if lines and head else lines


def _calibration(found: Calibration) -> Iterator[str]:
    yield "    calibration:"
    yield f"      measurements: {found.measurements:.12g}"
    yield f"      models: {found.models:.12g}"
    if found.held_out_error is not None:
        yield f"      held_out_error: {found.held_out_error:.12g}"
    yield f"      source: {_source(found.source)}"


def _number(number: Quantity) -> str:
    note = f", note: {quoted(number.note)}" if number.note else ""
    return f"{{value: {number.text}, source: {_source(number.source)}, kind: {number.kind}{note}}}"


def _source(text: str) -> str:
    """A key of `sources` as it is, all else in quotes."""
    return text if re.fullmatch(r"[\w.-]+", text) else quoted(text)


def quoted(text: str) -> str:
    """A YAML text in double quotes, on one line; signs that YAML has no room for are question marks."""
    escaped = re.sub(r'[\\"]', lambda m: "\\" + m[0], text)
    return '"' + re.sub(r"[^\x20-\x7e\u00a0-\u2027\u202a-\ud7ff]", "?", escaped) + '"'
