"""A line on standard error that says how far a long job is: on a terminal only, and after a second."""

from __future__ import annotations

import sys
import time
from types import TracebackType

# nobody needs to be told about less; a line a tenth of a second is enough for an eye
_AFTER_S = 1.0
_EVERY_S = 0.1
_WIDTH = 24


class Progress:
    """`with Progress("estimating") as progress: progress(done, of)`; the line is gone afterwards."""

    def __init__(self, what: str, *, quiet: bool = False) -> None:
        self.what = what
        self.wanted = not quiet and sys.stderr is not None and sys.stderr.isatty()
        self.next_s = time.monotonic() + _AFTER_S
        self.shown = False

    def __enter__(self) -> Progress:
        return self

    def __call__(self, done: int, of: int) -> None:
        if self.wanted and time.monotonic() >= self.next_s:
            self.next_s = time.monotonic() + _EVERY_S
            full = _WIDTH * done // max(of, 1)
            self._write(f"\r{self.what} [{'#' * full}{'.' * (_WIDTH - full)}] {done:,} of {of:,}")
            self.shown = True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.shown:
            # erase to the end of the line
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
