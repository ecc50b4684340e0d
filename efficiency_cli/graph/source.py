"""Opens a model file (or standard input) as bytes without reading them, and recognises what is not one."""

from __future__ import annotations

import mmap
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
from efficiency_cli.graph.wire import Buffer

STDIN = "-"


@contextmanager
def open_bytes(path: str) -> Iterator[Buffer]:
    """The file's bytes, memory-mapped; '-' is standard input (spooled to disk when it is a pipe).

    Raises ModelError for a missing, empty or unreadable file or a directory.
    """
    with _open(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            raise ModelError(f"{_shown(path)} is empty", hint="export the model again")
        # not closed by hand: an error on its way up may still hold slices of it
        yield memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


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
        yield source  # type: ignore[misc]
        return
    with tempfile.TemporaryFile() as spool:
        shutil.copyfileobj(source, spool)
        spool.flush()
        yield spool  # type: ignore[misc]


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


def what_else(buffer: Buffer) -> tuple[str, str] | None:
    """(what the bytes are, what to do) when they are a known format other than ONNX."""
    head = bytes(buffer[:64])
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
        if b"ir_version" in bytes(buffer[:4096]):
            return (
                "an ONNX model in protobuf's text format",
                "convert it: python -c \"import onnx; onnx.save(onnx.load('FILE', format='textproto'), 'model.onnx')\"",
            )
        return "a text file", "name an .onnx file"
    return None


def _is_text(head: bytes) -> bool:
    return bool(head) and all(b in b"\t\n\r" or 0x20 <= b < 0x7F for b in head)
