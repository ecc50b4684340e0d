"""Which config file holds, and what it says: the nearest `effcli.yaml`, or `[tool.effcli]` in a pyproject.toml.

Searched from the current folder up to the repository's root, never merged. Every mistake is told with its place.
Paths in it are from its own folder.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from efficiency_cli.config.format import Config, Entry
from efficiency_cli.config.toml_tree import TomlError, tool_table
from efficiency_cli.errors import ConfigError, UsageError
from efficiency_cli.hardware.build import build_record
from efficiency_cli.hardware.load import MAX_BYTES, UnreadableProfileError, parse_tree
from efficiency_cli.hardware.tree import Node, Place
from efficiency_cli.judge.budget import Budget
from efficiency_cli.judge.gauge import ON

NAME = "effcli.yaml"
PYPROJECT = "pyproject.toml"
# looks like a config, and is not read: a typing slip that must not pass in silence
_ALMOST = ("effcli.yml", ".effcli.yaml", ".effcli.yml")
_REPOSITORY = (".git", ".hg", ".svn")
_SEE = "see the format: effcli help config"


class ConfigFile(Struct, frozen=True):
    """A config and the file it came from; `notes` are worth telling."""

    path: str
    config: Config
    notes: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        return os.path.dirname(self.path)

    def resolved(self, name: str) -> str:
        """A path of the file, from the current folder."""
        return os.path.normpath(os.path.join(self.folder, name))

    def machines(self, entry: Entry) -> tuple[str, ...]:
        """The machines of an entry, paths made relative to the current folder."""
        return tuple(self._machine(name) for name in entry.hardware or self.config.hardware)

    def _machine(self, name: str) -> str:
        is_path = name.endswith((".yaml", ".yml")) or "/" in name
        return self.resolved(name) if is_path and "," not in name else name

    def files(self, entry: Entry) -> list[str]:
        """The models an entry names, sorted; none where a glob matches nothing."""
        pattern = os.path.join(glob.escape(self.folder), entry.path.text)
        if not glob.has_magic(entry.path.text):
            return [self.resolved(entry.path.text)]
        return sorted(os.path.normpath(p) for p in glob.glob(pattern, recursive=True) if os.path.isfile(p))


def find_config(start: str = ".") -> tuple[str, tuple[str, ...]] | None:
    """The nearest config from the folder `start` upwards, as a path from the current folder; with notes."""
    for folder in _upwards(Path(start).absolute()):
        path, notes = _in_folder(folder)
        if path is not None:
            return os.path.relpath(path), notes
    return None


def _upwards(folder: Path) -> list[Path]:
    """`folder` and those above it up to the repository's root; alone where there is no repository."""
    found = [folder, *folder.parents]
    for k, one in enumerate(found):
        if any((one / mark).exists() for mark in _REPOSITORY):
            return found[: k + 1]
    return [folder]


def _in_folder(folder: Path) -> tuple[Path | None, tuple[str, ...]]:
    own, project = folder / NAME, folder / PYPROJECT
    shared = project.is_file() and _has_table(project)
    if own.is_file():
        notes = (f"[tool.effcli] in {os.path.relpath(project)} is not used: {NAME} beside it is",) if shared else ()
        return own, notes
    if shared:
        return project, ()
    for name in _ALMOST:
        if (folder / name).is_file():
            what = f"{os.path.relpath(folder / name)} is not read"
            raise ConfigError(what, hint=f"rename it: mv {os.path.relpath(folder / name)} {NAME}")
    return None, ()


def _has_table(path: Path) -> bool:
    """Whether a pyproject.toml means us; what is not TOML is not ours to complain about."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1).decode("utf-8", "replace")
    except OSError:
        return False
    return "effcli" in text and len(text) <= MAX_BYTES and _told_table(text, str(path))


def _told_table(text: str, path: str) -> bool:
    try:
        return tool_table(text, path) is not None
    except (TomlError, RecursionError):
        # broken, and [tool.effcli] may be in it: reading it will say where
        return "[tool.effcli" in text


def read_config(path: str, notes: tuple[str, ...] = ()) -> ConfigFile:
    """Raises UsageError for a file there is not, ConfigError with every mistake."""
    root = _tree(path)
    config, mistakes = build_record(root, Config, "the config")
    if config is not None:
        config, mistakes = _filled(config)
    if mistakes or config is None:
        count = f"{len(mistakes)} mistakes" if len(mistakes) > 1 else "a mistake"
        where = [f"{place}: {message}" for place, message in mistakes]
        raise ConfigError(f"{path} has {count}", where=where, hint=_SEE)
    return ConfigFile(path, config, notes)


def _tree(path: str) -> Node:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"cannot read the config {path}: {reason}", hint="write one: effcli check --init") from error
    return _toml(data, path) if path.endswith(".toml") else _yaml(data, path)


def _yaml(data: bytes, path: str) -> Node:
    try:
        return parse_tree(data, path)
    except UnreadableProfileError as error:
        sign = _unquoted(data, error.place)
        hint = f'put a limit that begins with {sign} in quotes: "{sign} 60 /s"' if sign else _SEE
        raise ConfigError(f"{path} cannot be read", where=error.where, hint=hint) from error


def _unquoted(data: bytes, place: Place) -> str:
    """The sign of a limit without quotes, which means something else to YAML."""
    lines = data.decode("utf-8", "replace").splitlines()
    for line in lines[max(place.line - 2, 0) : place.line]:
        _, _, value = line.partition(":")
        if value.strip().startswith((">=", ">")):
            return ">="
    return ""


def _toml(data: bytes, path: str) -> Node:
    try:
        text = data[: MAX_BYTES + 1].decode("utf-8")
        found = tool_table(text, path)
    except UnicodeDecodeError:
        raise ConfigError(f"{path} cannot be read", where=f"{path}: not UTF-8 text", hint=_SEE) from None
    except RecursionError:
        raise ConfigError(f"{path} cannot be read", where=f"{path}: nested too deeply", hint=_SEE) from None
    except TomlError as error:
        raise ConfigError(f"{path} cannot be read", where=f"{error.place}: {error.message}", hint=_SEE) from None
    if found is None:
        raise ConfigError(f"{path} has no [tool.effcli]", hint=f"add the table, or write a {NAME}: effcli help config")
    return found


def _filled(config: Config) -> tuple[Config | None, list[tuple[Place, str]]]:
    """Budgets with the `on` and `message` of their entry, and what needs two places to be wrong."""
    mistakes: list[tuple[Place, str]] = []
    entries = []
    for entry in config.models:
        budgets = tuple(_of_entry(b, entry) for b in entry.budgets)
        for budget in budgets:
            known = budget.gauge.intervals
            if known and budget.on not in known:
                told = f"{budget.gauge.name} has no {budget.on}: judge it on {', '.join(known)}"
                mistakes.append((_place(budget), told))
        if (entry.context is not None) and not entry.phase:
            mistakes.append((entry.path.place, "context needs a phase: prefill or decode"))
        entries.append(replace(entry, budgets=budgets))
    return (None if mistakes else replace(config, models=tuple(entries))), mistakes


def _of_entry(budget: Budget, entry: Entry) -> Budget:
    on = budget.on or entry.on
    assert on in ON
    return replace(budget, on=on, message=budget.message or entry.message)


def _place(budget: Budget) -> Place:
    file, line, column = budget.place.rsplit(":", 2)
    return Place(file, int(line), int(column))


def matching(file: ConfigFile, models: Sequence[str]) -> dict[str, list[Entry]]:
    """Each of `models` -> the entries that name it, as the same file however it is spelled."""
    named: dict[str, list[Entry]] = {}
    for entry in file.config.models:
        for path in file.files(entry):
            named.setdefault(os.path.realpath(path), []).append(entry)
    return {model: named.get(os.path.realpath(model), []) for model in models}
