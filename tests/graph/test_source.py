"""What is opened as a model, and what is refused with a next step."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import onnx
import pytest
from onnx import GraphProto, ModelProto

from efficiency_cli.errors import ModelError
from efficiency_cli.graph.read import load
from efficiency_cli.graph.source import FileBytes, open_bytes
from efficiency_cli.graph.wire import WireError

MODEL = ModelProto(ir_version=9, graph=GraphProto(name="g")).SerializeToString()


def refusal(path: Path | str) -> ModelError:
    with pytest.raises(ModelError) as caught:
        load(str(path))
    return caught.value


class Stdin:
    """Stands in for sys.stdin."""

    def __init__(self, buffer: object, *, terminal: bool = False) -> None:
        self.buffer = buffer
        self.isatty = lambda: terminal


# --- paths ---


def test_a_missing_file_suggests_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "mobilenet.onnx").write_bytes(MODEL)
    error = refusal(tmp_path / "mobilnet.onnx")
    assert error.what == f"cannot read the model {tmp_path / 'mobilnet.onnx'}: not found"
    assert error.hint == "did you mean 'mobilenet.onnx'?"
    assert refusal(tmp_path / "nothing-like-it").hint == "check the path"
    assert refusal(tmp_path / "no" / "such" / "folder").hint == "check the path"


def test_a_directory_names_a_model_in_it(tmp_path: Path) -> None:
    assert refusal(tmp_path).what == f"{tmp_path} is a directory"
    assert refusal(tmp_path).hint == "name an .onnx file"
    for name in ("b.onnx", "a.onnx", "0.txt"):
        (tmp_path / name).write_bytes(MODEL)
    assert refusal(tmp_path).hint == f"name a file in it: effcli analyze {tmp_path / 'a.onnx'}"


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.touch()
    assert refusal(path).what == f"{path} is empty"


def test_a_named_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert "is not a regular file" in refusal(tmp_path / "fifo").what


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="needs a device file")
def test_a_device_is_refused() -> None:
    assert "is not a regular file" in refusal("/dev/null").what


@pytest.mark.skipif(os.geteuid() == 0, reason="everything is readable for root")
def test_an_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(MODEL)
    path.chmod(0)
    assert "ermission denied" in refusal(path).what


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000], ids=["a zero byte", "too long"])
def test_impossible_names(path: str) -> None:
    assert refusal(path).what.startswith("cannot read the model")


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(MODEL)
    (tmp_path / "link").symlink_to("m.onnx")
    assert load(str(tmp_path / "link"))[1] == len(MODEL)
    (tmp_path / "dangling").symlink_to("gone")
    assert "not found" in refusal(tmp_path / "dangling").what


# --- standard input ---


def test_standard_input_from_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.write(writing, MODEL)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        monkeypatch.setattr(sys, "stdin", Stdin(pipe))
        proto, size = load("-")
    assert (proto.graph.name, size) == ("g", len(MODEL))


def test_standard_input_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(MODEL)
    with (tmp_path / "m.onnx").open("rb") as file:
        monkeypatch.setattr(sys, "stdin", Stdin(file))
        assert load("-")[1] == len(MODEL)


def test_standard_input_that_is_no_file_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Stdin(io.BytesIO(MODEL)))
    assert load("-")[1] == len(MODEL)


@pytest.mark.parametrize(
    ("stdin", "message"),
    [
        (Stdin(io.BytesIO(b"")), "standard input is empty"),
        (Stdin(io.BytesIO(MODEL), terminal=True), "standard input is a terminal"),
    ],
    ids=["empty", "terminal"],
)
def test_standard_input_without_a_model(monkeypatch: pytest.MonkeyPatch, stdin: Stdin, message: str) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    assert refusal("-").what == message


# --- what is not a model ---

TEXT_FORMAT = "ir_version: 9\ngraph { name: 'g' }\n"


@pytest.mark.parametrize(
    ("head", "what", "hint"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a Git LFS pointer", "git lfs pull"),
        (b"\x1f\x8b\x08\0", "gzip-compressed", "gunzip"),
        (b"PK\x03\x04data.pkl", "a zip archive", "torch.onnx.export"),
        (b"\x1c\0\0\0TFL3", "a TensorFlow Lite model", "--tflite"),
        (b"\x1c\0\0\0ORTM", "onnxruntime's own format", ".onnx file"),
        ("{}".encode("utf-16"), "UTF-16 text", "name an .onnx file"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "--keras"),
        (b"<!DOCTYPE html>\n<html>", "a text file", "name an .onnx file"),
        (TEXT_FORMAT.encode(), "text format", "textproto"),
    ],
    ids="LFS gzip zip tflite ort utf16 hdf5 text textproto".split(),
)
def test_other_formats_are_named(tmp_path: Path, head: bytes, what: str, hint: str) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(head + b"\n" * 100 if head.startswith(b"<") else head)
    error = refusal(path)
    assert error.what.startswith(f"{path} is not an ONNX model: it is ")
    assert what in error.what
    assert hint in error.hint
    assert "FILE" not in error.hint


def test_the_command_for_the_text_format_works(tmp_path: Path) -> None:
    path = tmp_path / "m.textproto"
    path.write_text(TEXT_FORMAT)
    assert onnx.load(path, format="textproto").graph.name == "g"  # what the hint runs


def test_a_file_that_ends_early_says_where(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(MODEL[:-1])
    error = refusal(path)
    assert error.what.startswith(f"{path} is not a complete ONNX model: a part claims 3 bytes where 2 are left")
    assert error.where == (f"{path}: byte 2 of {len(MODEL) - 1}",)


def test_protobuf_of_another_message(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    # field 1 is ir_version, a number, in a model; here it is text, which parsers keep as unknown
    path.write_bytes(onnx.OperatorSetIdProto(domain="x", version=1).SerializeToString())
    assert refusal(path).what == f"{path} holds no graph"


# --- the window over a file ---


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        source = FileBytes(file.fileno(), 20)
        assert source.slice(2, 5) == b"234"
        with pytest.raises(WireError, match="became shorter"):
            source.byte(10)
        with pytest.raises(WireError, match="became shorter"):
            source.slice(5, 15)


def test_any_slice_of_a_file_in_any_order(tmp_path: Path) -> None:
    data = bytes(range(200))
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    with open_bytes(str(path)) as source:
        source.WINDOW = 16  # type: ignore[misc]
        for start, end in [(190, 200), (0, 3), (10, 90), (12, 14), (12, 30), (50, 50)]:
            assert source.byte(start) == data[start]
            assert source.slice(start, end) == data[start:end]
