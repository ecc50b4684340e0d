"""Lines of which some may be broken at their spaces, once the width is known. For `explain`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from msgspec import Struct


class Prose(Struct, frozen=True):
    """A line that may be broken; what goes on is indented."""

    text: str
    indent: str


Line = str | Prose


def wrapped(line: str, indent: str = "            ") -> Iterator[Line]:
    """`line`, to be broken where it is too long; words are not."""
    yield Prose(line, indent)


def broken(lines: Iterable[Line], width: int) -> Iterator[str]:
    """The lines, prose in `width`."""
    for line in lines:
        if isinstance(line, str):
            yield line
        else:
            # no deeper than a third of a narrow terminal
            indent = line.indent[: max(width // 3, 4)]
            yield from textwrap.wrap(
                line.text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
            )
