"""Profiles from files: YAML to a tree, lookup by id, alias or path, globs, overrides.

The only importer of yaml for hardware. Scalars stay text (YAML's own typing reads 010 as 8 and
1.2e9 as text), anchors and tags are refused, size and depth are bounded: a file may be hostile.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence, Set
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import yaml

from efficiency_cli.errors import EffcliError, ProfileError, UsageError, suggest
from efficiency_cli.hardware import tree
from efficiency_cli.hardware.build import ID, build_profile
from efficiency_cli.hardware.inherit import with_base
from efficiency_cli.hardware.override import apply_overrides
from efficiency_cli.hardware.profile import Profile
from efficiency_cli.hardware.tree import Place


def _events_of(text: str) -> Any:
    """PyYAML's event parser: libyaml's, or the same events more slowly where it was built without."""
    try:
        from yaml import _yaml
    except ImportError:
        return _PythonEvents(text)
    return _yaml.CParser(text)


class _PythonEvents(yaml.reader.Reader, yaml.scanner.Scanner, yaml.parser.Parser):
    def __init__(self, text: str) -> None:
        yaml.reader.Reader.__init__(self, text)
        yaml.scanner.Scanner.__init__(self)
        yaml.parser.Parser.__init__(self)


# the largest shipped profile is 30 kB and 6 levels deep
MAX_BYTES = 1 << 20
MAX_DEPTH = 32
# the mappings that are open within a runtime: the profile, its runtimes, the runtime
_RUNTIME_DEPTH = 3
# more than half of the shipped files, and nothing that a list of machines tells; none has to be there
_RUNTIME_DETAILS = frozenset(
    ("dispatch", "efficiency", "traffic", "tiles", "half_sizes", "fusion", "memory", "interval", "calibration", "scale")
)


class UnreadableProfileError(ProfileError):
    """One mistake after which nothing more of a file can be read."""

    def __init__(self, place: Place, message: str) -> None:
        name = Path(place.file).stem
        hint = "mend the file, then: effcli hw lint FILE"
        super().__init__(f"profile '{name}' cannot be read", where=f"{place}: {message}", hint=hint)
        self.place = place
        self.message = message


def load_profile(
    name_or_path: str | Path, hw_dirs: Iterable[str | Path] = (), overrides: Sequence[str] = ()
) -> Profile:
    """The profile with this id or alias (case ignored) or in this .yaml file.

    `hw_dirs` are searched before the shipped profiles. `overrides` are texts such as
    "memory.dram.bandwidth=2x" (see `override.py`). Raises ProfileError with every mistake.
    """
    dirs = tuple(hw_dirs)
    path = find_profile(str(name_or_path), dirs)
    root = whole_tree(path, dirs)
    apply_overrides(root, overrides)
    profile, mistakes = build_profile(root, path.stem, str(path))
    if profile is None:
        raise _wrong_file(path, mistakes)
    return profile


def load_summary(id_: str, hw_dirs: Iterable[str | Path] = ()) -> Profile:
    """As `load_profile`, with the names and grade of the default runtime alone: what a list of all machines needs.

    That takes a third of the time. Mistakes in what is left out are for `lint` and for who uses it.
    """
    dirs = tuple(hw_dirs)
    path = find_profile(id_, dirs)
    root = whole_tree(path, dirs, details=False)
    runtimes, default = tree.find(root, "runtimes"), tree.find(root, "runtime")
    if isinstance(runtimes, tree.Mapping) and isinstance(default, tree.Scalar) and default.text in runtimes.entries:
        for name in [n for n in runtimes.entries if n != default.text]:
            del runtimes.entries[name]
    profile, mistakes = build_profile(root, path.stem, str(path))
    if profile is None:
        raise _wrong_file(path, mistakes)
    return profile


def _wrong_file(path: Path, mistakes: Sequence[tuple[Place, str]]) -> EffcliError:
    where = [f"{place}: {message}" for place, message in mistakes]
    count = f"{len(mistakes)} mistakes" if len(mistakes) > 1 else "a mistake"
    if all(place.line == 0 for place, _ in mistakes):
        what = f"{count} in what --set makes of '{path.stem}'"
        return UsageError(what, where=where, hint="as in: --set clock=600MHz")
    hint = "see the format: effcli schema profile"
    return ProfileError(f"profile '{path.stem}' has {count}", where=where, hint=hint)


def profiles(pattern: str = "*", hw_dirs: Iterable[str | Path] = ()) -> list[Profile]:
    """Profiles matching a comma list of ids, aliases, paths, globs of ids, or `all`; in that order, once."""
    dirs = tuple(hw_dirs)
    found: dict[Path, Profile] = {}
    for part in (p.strip() for p in pattern.split(",") if p.strip()):
        for path in _matching(part, dirs):
            if path not in found:
                found[path] = load_profile(path, dirs)
    return list(found.values())


def _matching(part: str, dirs: tuple[str | Path, ...]) -> list[Path]:
    wanted = "*" if part.lower() == "all" else part.lower()
    if not any(sign in wanted for sign in "*?["):
        return [find_profile(part, dirs)]
    files = _files(dirs)
    matching = [path for id_, path in files.items() if fnmatchcase(id_.lower(), wanted)]
    if not matching:
        raise ProfileError(f"no hardware matches '{part}'", hint="list them: effcli hw list")
    return matching


def profile_ids(hw_dirs: Iterable[str | Path] = ()) -> list[str]:
    """Ids of all profiles, sorted."""
    return list(_files(hw_dirs))


@cache
def shipped_dir() -> Path:
    """Where the shipped profiles are: inside the wheel, or the repository's top-level folder."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "hardware_profiles"
    return inside if inside.is_dir() else package.parent / "hardware_profiles"


def _files(hw_dirs: Iterable[str | Path]) -> dict[str, Path]:
    """Id -> file, sorted by id; a user's folder hides a shipped profile of the same id."""
    found: dict[str, Path] = {}
    for folder in (*map(Path, hw_dirs), shipped_dir()):
        if not folder.is_dir():
            what = f"hardware folder '{folder}' does not exist"
            raise ProfileError(what, hint="give another: --hw-dir DIR")
        for name in sorted(n for n in os.listdir(folder) if n.endswith(".yaml")):
            found.setdefault(name.removesuffix(".yaml"), folder / name)
    return dict(sorted(found.items()))


def find_profile(name: str, hw_dirs: Iterable[str | Path] = ()) -> Path:
    """The file of an id, alias or path. Raises ProfileError with a did-you-mean."""
    if name.endswith((".yaml", ".yml")) or "/" in name or "\\" in name:
        return Path(name)
    dirs = tuple(hw_dirs)
    direct = _spelled_so(name, dirs)
    if direct is not None:
        return direct
    files = _files(dirs)
    by_id = {id_.lower(): path for id_, path in files.items()}
    if name.lower() in by_id:
        return by_id[name.lower()]
    by_alias, unread = _aliases(files.values())
    if name.lower() in by_alias:
        return by_alias[name.lower()]
    close = suggest(name, [*by_id, *by_alias])
    did_you_mean = f"did you mean '{close}'? " if close else ""
    hint = f"{did_you_mean}list them: effcli hw list"
    raise ProfileError(f"unknown hardware '{name}'", where=unread, hint=hint)


def _spelled_so(name: str, hw_dirs: tuple[str | Path, ...]) -> Path | None:
    """The file of exactly this id, without a look at all the others."""
    folders = (*map(Path, hw_dirs), shipped_dir())
    if not ID.fullmatch(name) or not all(folder.is_dir() for folder in folders):
        return None
    return next((path for folder in folders if (path := folder / f"{name}.yaml").is_file()), None)


def _aliases(files: Iterable[Path]) -> tuple[dict[str, Path], list[str]]:
    """Alias -> file, and why some files could not be looked into."""
    found: dict[str, Path] = {}
    unread = []
    for path in files:
        try:
            node = tree.find(read_tree(path), "aliases")
        except ProfileError as error:
            unread.append(f"not read: {error.where[0] if error.where else error.what}")
            continue
        for item in node.items if isinstance(node, tree.Sequence) else ():
            if isinstance(item, tree.Scalar):
                found.setdefault(item.text.lower(), path)
    return found, unread


def whole_tree(
    path: Path, hw_dirs: Iterable[str | Path] = (), data: bytes | None = None, details: bool = True
) -> tree.Node:
    """The YAML of a file with what its `base` says below it. Raises ProfileError.

    A base is an id, looked for in `hw_dirs`, beside the file, and among the shipped profiles. With `data` the file
    need not be there: it is taken to hold that. Without `details` the numbers of runtimes are left out.
    """
    dirs = tuple(hw_dirs)

    def read(name: str, asking: Path) -> tuple[Path, tree.Node]:
        found = base_path(name, asking, dirs)
        return found, _base_tree(found, details)

    own = read_tree(path, details) if data is None else parse_tree(data, str(path), details)
    return with_base(own, path, read)


def base_path(name: str, asking: Path, hw_dirs: Iterable[str | Path] = ()) -> Path:
    """The file that `base: NAME` means in the file `asking`. Raises ProfileError."""
    if not ID.fullmatch(name):
        raise ProfileError(f"'{name}' is not the id of a profile", hint="list them: effcli hw list")
    # a user's own version of a shipped profile stands on the shipped one
    again = name.lower() == asking.stem.lower()
    return find_profile(name) if again else find_profile(name, (*hw_dirs, asking.parent))


def profile_of(text: str, path: Path, hw_dirs: Iterable[str | Path] = ()) -> Profile:
    """The profile that a file at `path` with this text would be. Raises ProfileError as `load_profile` does."""
    profile, mistakes = build_profile(whole_tree(path, hw_dirs, text.encode()), path.stem, str(path))
    if profile is None:
        raise _wrong_file(path, mistakes)
    return profile


def _base_tree(path: Path, details: bool) -> tree.Node:
    """As `read_tree`, and read once a version of the file: many boards stand on one core. Not to be changed."""
    try:
        state = path.stat()
    except OSError:
        return read_tree(path, details)
    return _read_once(path, details, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=32)
def _read_once(path: Path, details: bool, modified_ns: int, size: int) -> tree.Node:  # noqa: ARG001
    return read_tree(path, details)


def read_tree(path: Path, details: bool = True) -> tree.Node:
    """The YAML of a file with the place of everything; `details` as in `whole_tree`. Raises ProfileError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        hint = "list the profiles there are: effcli hw list"
        raise ProfileError(f"cannot read profile '{path}': {reason}", hint=hint) from error
    return parse_tree(data, str(path), details)


def parse_tree(data: bytes, file: str, details: bool = True) -> tree.Node:
    """YAML text -> tree. Raises UnreadableProfileError for whatever is not one plain YAML document."""
    return _Reader(file, frozenset() if details else _RUNTIME_DETAILS).read(data)


class _Reader:
    """Turns libyaml's events into a tree, without recursion: depth cannot overflow a stack."""

    def __init__(self, file: str, left_out: Set[str]) -> None:
        self.file = file
        self.left_out = left_out  # keys of runtimes

    def read(self, data: bytes) -> tree.Node:
        text = self._text(data)
        try:
            # None comes after the last one
            return self._tree(iter(_events_of(text).get_event, None))
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = self._place(mark) if mark else Place(self.file, 1, 1)
            problem = " ".join(filter(None, (error.context, error.problem)))
            raise UnreadableProfileError(place, f"not YAML: {problem}") from None
        except yaml.reader.ReaderError:
            place = self._control_character(text)
            raise UnreadableProfileError(place, "a control character is not allowed") from None

    def _tree(self, events: Iterator[Any]) -> tree.Node:
        stack: list[_Open] = []
        root: tree.Node | None = None
        for event in events:
            kind = type(event)
            closed: tree.Node
            if kind is yaml.ScalarEvent:
                if event.anchor is not None or event.tag is not None:
                    self._refuse_extras(event)
                mark = event.start_mark
                closed = tree.Scalar(event.value, Place(self.file, mark.line + 1, mark.column + 1))
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                if len(stack) == _RUNTIME_DEPTH and self._is_left_out(stack):
                    _pass_over(events)
                    stack[-1].key = None
                else:
                    self._open(event, stack)
                continue
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                closed = stack.pop().node
            elif kind is yaml.AliasEvent:
                raise UnreadableProfileError(self._place(event.start_mark), "aliases (*name) are not accepted")
            else:
                continue  # where the stream and its documents begin and end
            if stack:
                self._attach(stack[-1], closed)
            elif root is None:
                root = closed
            else:
                raise UnreadableProfileError(closed.place, "a file is a single YAML document")
        if root is None:
            raise UnreadableProfileError(Place(self.file, 1, 1), "the file is empty")
        return root

    def _is_left_out(self, stack: list[_Open]) -> bool:
        top, _, runtime = (entry.key for entry in stack)
        return bool(top and runtime and top.text == "runtimes" and runtime.text in self.left_out)

    def _text(self, data: bytes) -> str:
        if len(data) > MAX_BYTES:
            raise UnreadableProfileError(Place(self.file, 1, 1), "the file is larger than 1 MiB")
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            place = Place(self.file, line, error.start - data.rfind(b"\n", 0, error.start))
            raise UnreadableProfileError(place, "the file is not UTF-8 text") from None

    def _place(self, mark: Any) -> Place:
        return Place(self.file, mark.line + 1, mark.column + 1)

    def _control_character(self, text: str) -> Place:
        # libyaml gives an offset in bytes, PyYAML one in characters: look again
        found = yaml.reader.Reader.NON_PRINTABLE.search(text)
        before = text[: found.start()] if found else ""
        return Place(self.file, before.count("\n") + 1, len(before) - before.rfind("\n"))

    def _refuse_extras(self, event: Any) -> None:
        if event.anchor is not None:
            raise UnreadableProfileError(self._place(event.start_mark), "anchors (&name) are not accepted")
        if event.tag is not None:
            raise UnreadableProfileError(self._place(event.start_mark), "tags (!name) are not accepted")

    def _open(self, event: Any, stack: list[_Open]) -> None:
        self._refuse_extras(event)
        place = self._place(event.start_mark)
        if len(stack) >= MAX_DEPTH:
            raise UnreadableProfileError(place, f"nested deeper than {MAX_DEPTH} levels")
        if type(event) is yaml.MappingStartEvent:
            stack.append(_Open(tree.Mapping(place, {}, [])))
        else:
            stack.append(_Open(tree.Sequence([], place)))

    def _attach(self, parent: _Open, child: tree.Node) -> None:
        node = parent.node
        if isinstance(node, tree.Sequence):
            node.items.append(child)
        elif parent.key is None:
            if not isinstance(child, tree.Scalar):
                raise UnreadableProfileError(child.place, "a key must be plain text")
            parent.key = child
        else:
            if parent.key.text in node.entries:
                node.repeated.append(parent.key)
            else:
                node.entries[parent.key.text] = (parent.key, child)
            parent.key = None


def _pass_over(events: Iterator[Any]) -> None:
    """Takes the rest of a mapping or sequence that has begun."""
    depth = 1
    while depth:
        kind = type(next(events))
        if kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            depth += 1
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            depth -= 1


class _Open:
    """A mapping or sequence being filled, and the key that waits for its value."""

    __slots__ = ("key", "node")

    def __init__(self, node: tree.Mapping | tree.Sequence) -> None:
        self.node = node
        self.key: tree.Scalar | None = None
