"""Opens a model file (or standard input) as bytes without reading them, and recognises what is not one."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from efficiency_cli.errors import ModelError, did_you_mean
from efficiency_cli.graph.wire import Source, WireError

STDIN = "-"


class FileBytes:
    """A wire.Source over an open file that holds one window of it at a time.

    Not a memory map: the kernel maps neighbouring megabytes of each page that is touched, and a scan
    over a file of weights would count nearly all of them as its memory.
    """

    WINDOW = 1 << 16

    def __init__(self, fileno: int, size: int) -> None:
        self.fileno = fileno
        self.size = size
        self.start = self.end = 0
        self.window = b""

    def __len__(self) -> int:
        return self.size

    def byte(self, pos: int) -> int:
        if not self.start <= pos < self.end:
            self.window = os.pread(self.fileno, self.WINDOW, pos)
            self.start, self.end = pos, pos + len(self.window)
            if not self.window:
                raise WireError("the file became shorter while it was read", pos)
        return self.window[pos - self.start]

    def slice(self, start: int, end: int) -> bytes:
        if self.start <= start and end <= self.end:
            return self.window[start - self.start : end - self.start]
        data = b""
        while len(data) < end - start:
            part = os.pread(self.fileno, end - start - len(data), start + len(data))
            if not part:
                raise WireError("the file became shorter while it was read", start + len(data))
            data += part
        return data


@contextmanager
def open_bytes(path: str) -> Iterator[FileBytes]:
    """The file's bytes; '-' is standard input (spooled to disk when it is a pipe).

    Raises ModelError for a missing, empty or unreadable file or a directory.
    """
    with _open(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            raise ModelError(f"{_shown(path)} is empty", hint="export the model again")
        yield FileBytes(file.fileno(), size)


@contextmanager
def _open(path: str) -> Iterator[BinaryIO]:
    if path == STDIN:
        with _standard_input() as file:
            yield file
        return
    target = Path(path)
    try:
        mode = target.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ModelError(f"{path} is a directory", hint=_inside_hint(target))
        if not stat.S_ISREG(mode):
            raise ModelError(f"{path} is not a regular file", hint="pipe it in instead: effcli analyze - < FILE")
        file = target.open("rb")
    except (OSError, ValueError) as error:
        reason = "not found" if isinstance(error, FileNotFoundError) else str(error)
        raise ModelError(f"cannot read the model {path}: {reason}", hint=_missing_hint(target)) from error
    with file:
        yield file


@contextmanager
def _standard_input() -> Iterator[BinaryIO]:
    source = sys.stdin.buffer
    if sys.stdin.isatty():
        raise ModelError("standard input is a terminal", hint="pipe a model in: effcli analyze - < model.onnx")
    try:
        regular = stat.S_ISREG(os.fstat(source.fileno()).st_mode)
    except (OSError, ValueError):  # not a real file: a test's stand-in, say
        regular = False
    if regular:
        yield source
        return
    with tempfile.TemporaryFile() as spool:
        shutil.copyfileobj(source, spool)
        spool.flush()
        yield spool


def _shown(path: str) -> str:
    return "standard input" if path == STDIN else path


def _missing_hint(target: Path) -> str:
    try:
        nearby = [p.name for p in target.parent.iterdir()][:1000]
    except OSError:
        return "check the path"
    return did_you_mean(target.name, nearby) or "check the path"


def _inside_hint(folder: Path) -> str:
    try:
        inside = sorted(p for p in folder.iterdir() if p.suffix == ".onnx")
    except OSError:
        inside = []
    return f"name a file in it: effcli analyze {inside[0]}" if inside else "name an .onnx file"


def what_else(source: Source) -> tuple[str, str] | None:
    """(what the bytes are, what to do) when they are a known format other than ONNX."""
    head = source.slice(0, min(64, len(source)))
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the model itself", "fetch it: git lfs pull"
    if head.startswith(b"\x1f\x8b"):
        return "gzip-compressed", "unpack it: gunzip FILE"
    if head.startswith(b"PK\x03\x04"):
        return "a zip archive (PyTorch checkpoints are such)", "export to ONNX: torch.onnx.export(…)"
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite model", "convert it: python -m tf2onnx.convert --tflite FILE --output model.onnx"
    if head[4:8] == b"ORTM":
        return "in onnxruntime's own format", "use the .onnx file it was made from"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16 text", "name an .onnx file"
    if head.startswith(b"\x89HDF"):
        return "an HDF5 file (Keras)", "convert it: python -m tf2onnx.convert --keras FILE --output model.onnx"
    if _is_text(head):
        if b"ir_version" in source.slice(0, min(4096, len(source))):
            return (
                "an ONNX model in protobuf's text format",
                "convert it: python -c \"import onnx; onnx.save(onnx.load('FILE', format='textproto'), 'model.onnx')\"",
            )
        return "a text file", "name an .onnx file"
    return None


def _is_text(head: bytes) -> bool:
    return bool(head) and all(b in b"\t\n\r" or 0x20 <= b < 0x7F for b in head)
