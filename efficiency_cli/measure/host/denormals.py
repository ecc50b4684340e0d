"""Numbers too small for full precision as zeros, while a network runs whose weights are invented.

Processors take a hundred times as long for them, and invented weights make more of them than learnt ones. onnxruntime
has a setting of its own, which the first session of a process decides for good (and without it sets back what is here):
both are needed.
"""

from __future__ import annotations

import contextlib
import ctypes
import platform
import sys
from collections.abc import Iterator, Mapping
from types import MappingProxyType

# for onnxruntime's sessions
DENORMALS_ARE_ZERO: Mapping[str, str] = MappingProxyType({"session.set_denormal_as_zero": "1"})
# fenv_t of glibc: on x86 MXCSR is behind the 28 bytes of the x87, on ARM FPCR is the first word
_SIZE = 64
_X86, _ARM = ("x86_64", "AMD64"), ("aarch64", "arm64")
# flush results to zero (bit 15) and take operands as zero (bit 6); ARM does both with bit 24
_CONTROL = {**dict.fromkeys(_X86, (28, 1 << 15 | 1 << 6)), **dict.fromkeys(_ARM, (0, 1 << 24))}


@contextlib.contextmanager
def denormals_are_zero() -> Iterator[None]:
    """For this thread and those that it starts meanwhile; where the system is none of those known, nothing changes."""
    place = _CONTROL.get(platform.machine())
    library = _library() if place is not None else None
    if place is None or library is None:
        yield
        return
    before = (ctypes.c_ubyte * _SIZE)()
    library.fegetenv(before)
    offset, bits = place
    changed = (ctypes.c_ubyte * _SIZE)(*before)
    word = ctypes.c_uint32.from_buffer(changed, offset)
    word.value |= bits
    library.fesetenv(changed)
    try:
        yield
    finally:
        library.fesetenv(before)


def _library() -> ctypes.CDLL | None:
    """The C library's mathematics, with fegetenv and fesetenv; None where there is none."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        library = ctypes.CDLL("libm.so.6")
        library.fegetenv, library.fesetenv  # noqa: B018
    except (OSError, AttributeError):
        return None
    return library
