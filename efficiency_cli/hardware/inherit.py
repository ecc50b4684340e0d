"""`base:` in a profile: everything it does not say is as in another profile, or as in another of its runtimes.

Trees are merged before anything is checked: mappings key by key, a number (value, source, kind), a calibration
(measurements, source …) or a list as a whole. Places stay those of the file a key was written in. What other keys
mean is not known here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from efficiency_cli.errors import ProfileError
from efficiency_cli.hardware.tree import Mapping, Node, Place, Scalar, find

# a board stands on a core; further steps are a person's own variants of it
MAX_DEPTH = 5
# not handed down: other names of the base itself
_OWN = ("aliases",)

# the id of a base, and the file that names it -> its file, and what is in it
Read = Callable[[str, Path], tuple[Path, Node]]


class InheritanceError(ProfileError):
    """A `base` that cannot be followed; nothing of the profile is known without it."""

    def __init__(self, place: Place, message: str) -> None:
        name = Path(place.file).stem
        hint = "list the machines there are: effcli hw list"
        super().__init__(f"profile '{name}' stands on nothing", where=f"{place}: {message}", hint=hint)
        self.place = place
        self.message = message


def with_base(root: Node, path: Path, read: Read) -> Node:
    """`root` with what its bases say below it, and its runtimes with what theirs do.

    `read` finds and reads a profile. Raises InheritanceError for a base that is not there, or leads back.
    """
    return _runtimes_based(_profile_based(root, read, (path,)))


def _profile_based(root: Node, read: Read, chain: tuple[Path, ...]) -> Node:
    written = find(root, "base")
    if not isinstance(root, Mapping) or not isinstance(written, Scalar):
        return root
    path, below = _followed(written, chain[-1], read)
    if path.resolve() in [p.resolve() for p in chain]:
        raise InheritanceError(written.place, f"base '{_shown(written)}' leads back to this profile")
    if len(chain) >= MAX_DEPTH:
        raise InheritanceError(written.place, f"more than {MAX_DEPTH} profiles stand on each other")
    below = _profile_based(below, read, (*chain, path))
    return _merged(root, _without(below, ("base", *_OWN)))


def _followed(written: Scalar, asking: Path, read: Read) -> tuple[Path, Node]:
    try:
        return read(written.text, asking)
    except ProfileError as error:
        where = f"; {error.where[0]}" if error.where else ""
        raise InheritanceError(written.place, f"base '{_shown(written)}': {error.what}{where}") from error


def _shown(written: Scalar) -> str:
    return written.text if len(written.text) <= 60 else written.text[:59] + "…"


def _without(node: Node, names: tuple[str, ...]) -> Node:
    if not isinstance(node, Mapping):
        return node
    return Mapping(node.place, {k: v for k, v in node.entries.items() if k not in names}, node.repeated)


def _merged(own: Node | None, below: Node) -> Node:
    """`own` over `below`; new mappings throughout, so that changing the result changes neither."""
    if own is None:
        return _copied(below)
    if not isinstance(own, Mapping) or not isinstance(below, Mapping) or _is_one_piece(own) or _is_one_piece(below):
        return own
    entries = {key: (written, _merged(own.get(key), node)) for key, (written, node) in below.entries.items()}
    # a key that is written here is named where it is written here
    entries |= {key: (written, entries[key][1] if key in entries else n) for key, (written, n) in own.entries.items()}
    return Mapping(own.place, entries, own.repeated)


def _copied(node: Node) -> Node:
    # a number is only ever replaced as a whole
    if not isinstance(node, Mapping) or "value" in node.entries:
        return node
    return Mapping(node.place, {k: (w, _copied(n)) for k, (w, n) in node.entries.items()}, node.repeated)


def _is_one_piece(node: Mapping) -> bool:
    """What is true together only: a value and its source, measurements and the error of their fit."""
    return "value" in node.entries or "measurements" in node.entries


def _runtimes_based(root: Node) -> Node:
    runtimes = find(root, "runtimes")
    if not isinstance(root, Mapping) or not isinstance(runtimes, Mapping):
        return root
    based = {
        key: (written, _runtime_based(node, key, runtimes, (key,))) for key, (written, node) in runtimes.entries.items()
    }
    entries = dict(root.entries)
    entries["runtimes"] = (entries["runtimes"][0], Mapping(runtimes.place, based, runtimes.repeated))
    return Mapping(root.place, entries, root.repeated)


def _runtime_based(node: Node, key: str, runtimes: Mapping, chain: tuple[str, ...]) -> Node:
    written = find(node, "base")
    if not isinstance(node, Mapping) or not isinstance(written, Scalar):
        return node
    below = runtimes.get(written.text)
    if below is None:
        raise InheritanceError(written.place, f"runtime '{key}' stands on '{_shown(written)}', which is not there")
    if written.text in chain or len(chain) >= MAX_DEPTH:
        raise InheritanceError(written.place, f"the base of runtime '{key}' leads back to it")
    below = _runtime_based(below, written.text, runtimes, (*chain, written.text))
    return _merged(node, _without(below, ("base",)))
