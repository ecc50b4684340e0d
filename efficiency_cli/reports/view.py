"""What of an Estimate to show, and on what: the choices every format is rendered with."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Group = Literal["kernel", "node", "op", "block"]
Sort = Literal["time", "macs", "bytes", "order"]
GROUPS: tuple[Group, ...] = ("kernel", "node", "op", "block")
SORTS: tuple[Sort, ...] = ("time", "macs", "bytes", "order")


class View(Struct, frozen=True):
    """`top` rows (None: all) of `group`s, by `sort`; on a terminal of `width` columns (None: no limit).

    `unicode` False keeps to ASCII; `verbose` adds lines, `terminal` is whether a person looks on.
    """

    top: int | None = 5
    group: Group = "kernel"
    sort: Sort = "time"
    width: int | None = None
    color: bool = False
    unicode: bool = True
    verbose: int = 0
    terminal: bool = False
