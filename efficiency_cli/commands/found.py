"""Models named on a command line: files, folders and globs become the files they hold, each once, in order."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator

from efficiency_cli.errors import Inconclusive

SUFFIX = ".onnx"
_GLOB = "*?["


def models(words: Iterable[str]) -> list[str]:
    """The files: as named, those in a folder and below it, those a glob matches, sorted by name.

    Raises Inconclusive for a folder or a glob that holds none. A file that is not there is left for its reader.
    """
    found: dict[str, None] = {}
    for word in words:
        here = list(_of(word))
        if not here:
            what = f"no {SUFFIX} file is in '{word}'" if os.path.isdir(word) else f"no file matches '{word}'"
            raise Inconclusive(what, hint="give other models: effcli compare MODEL... --hw ID")
        found.update(dict.fromkeys(here))
    return list(found)


def _of(word: str) -> Iterator[str]:
    if os.path.isdir(word):
        yield from _below(word)
    elif os.path.exists(word) or not any(sign in word for sign in _GLOB):
        yield word
    else:
        for path in sorted(glob.glob(word, recursive=True)):
            if os.path.isfile(path):
                yield path


def _below(folder: str) -> Iterator[str]:
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        names = sorted(name for name in files if name.endswith(SUFFIX) and not name.startswith("."))
        yield from (os.path.join(where, name) for name in names)
