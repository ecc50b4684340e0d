"""Doubts about a profile: is the peak a sparse one, is GB meant as GiB, can this be?

Loading says what is wrong; lint adds what is probably wrong or not said. `effcli hw lint` shows both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from efficiency_cli.hardware.build import build_profile
from efficiency_cli.hardware.inherit import InheritanceError
from efficiency_cli.hardware.load import UnreadableProfileError, find_profile, read_tree, shipped_dir, whole_tree
from efficiency_cli.hardware.profile import HOLDS, Profile, numbers
from efficiency_cli.hardware.tree import Node, Place, Scalar, Sequence, find
from efficiency_cli.quantity import has_binary_prefix

# OP/B; a core with software floating point is at 0.008, an accelerator behind USB at 10,000
PLAUSIBLE_RIDGE = (0.005, 20_000.0)
# dense int8 is twice dense 16-bit float on the GPUs we know; four times is how a sparse peak looks
MOST_INT8_TO_FLOAT16 = 3.0
# an interval narrower than this needs measurements behind it
NARROWEST_UNCALIBRATED = 2.0
# what `template.py` writes where a person must put something
PLACEHOLDER = "TODO"

_SPARSE = re.compile(r"spars", re.IGNORECASE)
_DENSE = re.compile(r"\bdense\b|without sparsity", re.IGNORECASE)


class Finding(NamedTuple):
    """One mistake ("error") or doubt ("warning") at a place in a file."""

    level: str
    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.level}: {self.message}"


Doubt = tuple[str, str]  # dotted path of the number or key, message


def lint(path_or_profile: str | Path | Profile, hw_dirs: Iterable[str | Path] = ()) -> list[Finding]:
    """Every mistake and doubt of a profile (path, id or alias), in file order.

    Raises ProfileError only when there is no such file.
    """
    dirs = tuple(hw_dirs)
    if isinstance(path_or_profile, Profile):
        path = Path(path_or_profile.path)
    else:
        path = find_profile(str(path_or_profile), dirs)
    try:
        own, root = read_tree(path), whole_tree(path, dirs)
    except (UnreadableProfileError, InheritanceError) as error:
        return [_finding("error", error.place, error.message)]
    profile, mistakes = build_profile(root, path.stem, str(path))
    found = [_finding("error", place, message) for place, message in mistakes]
    found += _clashes(path, own, dirs)
    if profile is not None:
        doubts = [_finding("warning", _place(root, where), message) for where, message in _doubts(profile)]
        # a doubt about what a base says is told there
        found += [doubt for doubt in doubts if doubt.file == str(path)]
    return sorted(found, key=lambda f: (f.line, f.column, f.message))


def _finding(level: str, place: Place, message: str) -> Finding:
    return Finding(level, place.file, place.line, place.column, message)


def _place(root: Node, dotted: str) -> Place:
    """The place of a number's value, or of the nearest thing above it that is written."""
    node, path = root, dotted.split(".")
    for key in (*path, "value"):
        below = find(node, key)
        if below is None:
            break
        node = below
    return node.place


def _doubts(profile: Profile) -> Iterator[Doubt]:
    rules: tuple[Callable[[Profile], Iterator[Doubt]], ...] = (
        _placeholders,
        _sparse_peaks,
        _peak_ratios,
        _decimal_sizes,
        _binary_bandwidths,
        _growing_bandwidths,
        _ports,
        _ridge_points,
        _intervals,
        _unused_sources,
    )
    for rule in rules:
        yield from rule(profile)


def _placeholders(profile: Profile) -> Iterator[Doubt]:
    for key, text in (("name", profile.name), ("description", profile.description)):
        if PLACEHOLDER in text:
            yield key, f"{key} is still a placeholder"
    for key, text in profile.sources.items():
        if PLACEHOLDER in text:
            yield f"sources.{key}", f"source '{key}' is still a placeholder: say which document and page"


def _sparse_peaks(profile: Profile) -> Iterator[Doubt]:
    for path, number in numbers(profile.compute, "compute"):
        said = f"{number.note} {profile.sources.get(number.source, number.source)}"
        if _SPARSE.search(said) and not _DENSE.search(said):
            yield path, f"{path} speaks of sparsity: give the dense peak (if it is, say 'dense' in the note)"


def _peak_ratios(profile: Profile) -> Iterator[Doubt]:
    int8 = profile.compute.get("int8")
    half = profile.compute.get("float16") or profile.compute.get("bfloat16")
    if int8 and half and not _DENSE.search(int8.matrix.note):
        ratio = int8.matrix.value / half.matrix.value
        if ratio > MOST_INT8_TO_FLOAT16:
            message = f"int8 peak is {ratio:.1f} times the 16-bit one: a sparse one? (if not, note 'dense')"
            yield "compute.int8.matrix", message


def _decimal_sizes(profile: Profile) -> Iterator[Doubt]:
    for level in profile.memory:
        if level.size and not has_binary_prefix(level.size.text) and "decimal" not in level.size.note:
            text = level.size.text
            message = f"size '{text}' counts in thousands: is it {text[:-1]}iB? (if not, note 'decimal')"
            yield f"memory.{level.name}.size", message


def _binary_bandwidths(profile: Profile) -> Iterator[Doubt]:
    for level in profile.memory:
        if has_binary_prefix(level.bandwidth.text):
            message = f"bandwidth '{level.bandwidth.text}': data sheets give GB/s (decimal)"
            yield f"memory.{level.name}.bandwidth", message


def _growing_bandwidths(profile: Profile) -> Iterator[Doubt]:
    for what in HOLDS:
        for near, far in pairwise(level for level in profile.memory if what in level.holds):
            if far.bytes_per_s > near.bytes_per_s:
                message = f"'{far.name}' is faster than '{near.name}' before it: order levels nearest first"
                yield f"memory.{far.name}.bandwidth", message


def _ports(profile: Profile) -> Iterator[Doubt]:
    for level in profile.memory:
        if level.port is not None and level.bytes_per_s > level.port.value:
            message = f"bandwidth '{level.bandwidth.text}' is above that of its port, '{level.port.text}'"
            yield f"memory.{level.name}.bandwidth", message


def _ridge_points(profile: Profile) -> Iterator[Doubt]:
    low, high = PLAUSIBLE_RIDGE
    for dtype in profile.compute:
        ridge = profile.ridge_point(dtype)
        if not low <= ridge <= high:
            message = f"ridge point of {dtype} is {ridge:.3g} OP/B: check the units of peak and bandwidth"
            yield f"compute.{dtype}.matrix", message


def _intervals(profile: Profile) -> Iterator[Doubt]:
    for runtime in profile.runtimes:
        where = f"runtimes.{runtime.id}"
        calibrated = runtime.is_fitted
        if calibrated and runtime.interval is None:
            yield where, f"runtime '{runtime.id}' is {runtime.grade} and has no interval"
        if calibrated and runtime.calibration is None:
            yield where, f"runtime '{runtime.id}' is {runtime.grade} without `calibration`: fitted to what?"
        lower, upper = runtime.interval_factors
        if runtime.grade == "datasheet" and upper / lower < NARROWEST_UNCALIBRATED:
            yield f"{where}.interval", f"interval of '{runtime.id}' is narrow for figures from data sheets"


def _unused_sources(profile: Profile) -> Iterator[Doubt]:
    used = {number.source for _, number in numbers(profile)}
    used |= {r.calibration.source for r in profile.runtimes if r.calibration}
    for key in profile.sources:
        if key not in used:
            yield f"sources.{key}", f"source '{key}' is not used by any number"


def _clashes(path: Path, root: Node, dirs: tuple[str | Path, ...]) -> Iterator[Finding]:
    """Aliases that are also the id or an alias of another profile."""
    own = find(root, "aliases")
    if not isinstance(own, Sequence):
        return
    taken = _names_of_others(path, (path.parent, *map(Path, dirs), shipped_dir()))
    seen = {path.stem.lower(): f"the id of '{path.stem}' itself"}
    for item in own.items:
        if isinstance(item, Scalar):
            name = item.text.lower()
            clash = taken.get(name) or seen.get(name)
            if clash:
                yield _finding("error", item.place, f"alias '{item.text}' is also {clash}")
            seen[name] = "given twice"


def _names_of_others(path: Path, folders: Iterable[Path]) -> dict[str, str]:
    names: dict[str, str] = {}
    # the same id elsewhere is the user's own version of this profile, not another one
    others = {f.stem: f for folder in folders for f in sorted(folder.glob("*.yaml")) if f.stem != path.stem}
    for file in others.values():
        names[file.stem.lower()] = f"the id of {file}"
        for alias in _aliases_in(file):
            names.setdefault(alias.lower(), f"an alias in {file}")
    return names


def _aliases_in(file: Path) -> list[str]:
    try:
        node = find(read_tree(file), "aliases")
    except UnreadableProfileError:
        return []
    items = node.items if isinstance(node, Sequence) else []
    return [item.text for item in items if isinstance(item, Scalar)]
