"""What a model can make the program open and take: nothing outside its own folder, and little.

Models are ../shared/edge (skipped where absent) and hostile ones made here, whose weights are said to be elsewhere.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from onnx import GraphProto, ModelProto, TensorProto, helper

import efficiency_cli

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes and links are POSIX")

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
EDGE = ROOT.parent / "shared" / "edge"
# limits for what is corrupt; of processor time: a busy machine is no fault of theirs
LIMIT_S = 5.0
LIMIT_BYTES = 400 * 10**6
SECRET = b"\x00\x00\x80\x3f" * 8  # eight ones
READING = ("open", "os.listdir", "os.scandir", "ctypes.dlopen")
KEPT_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT")


def run(child: str, models: Sequence[Path], home: Path) -> dict[str, dict[str, Any]]:
    """What the child said of each model, by its name."""
    process = subprocess.run(
        [sys.executable, str(HERE / child), *map(str, models)],
        cwd=home,
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    said = [json.loads(line) for line in process.stdout.splitlines()]
    return {Path(s["model"]).name: s for s in said}


def environment(home: Path) -> dict[str, str]:
    """Nothing of the user's own, and no byte code written."""
    kept = {k: os.environ[k] for k in KEPT_ENVIRONMENT if k in os.environ}
    return kept | {"HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(ROOT)}


def python_and_profiles() -> tuple[Path, ...]:
    """Where Python and its packages are, this package, and the profiles."""
    paths = {
        sys.prefix,
        sys.base_prefix,
        *sysconfig.get_paths().values(),
        *(p for p in sys.path if "site-packages" in p),
    }
    own = Path(efficiency_cli.__file__).resolve().parent
    return (*(Path(p).resolve() for p in paths), own, ROOT / "hardware_profiles", ROOT / "efficiency_cli")


def outside(opened: str, model: Path, home: Path) -> bool:
    """Whether a path that was opened is none of the model's folder, Python's or the profiles'."""
    real = Path(os.path.realpath(os.path.join(home, opened)))
    # `home` is where the program looks for its user's settings: it is empty
    allowed = (*python_and_profiles(), model.resolve().parent, home.resolve())
    return not any(real.is_relative_to(a) for a in allowed)


# --- ../shared/edge ---


@cache
def kinds() -> Mapping[str, str]:
    path = EDGE / "expected.json"
    return {e["file"]: e["kind"] for e in json.loads(path.read_text("utf-8"))} if path.is_file() else {}


needs_edge = pytest.mark.skipif(not kinds(), reason="needs ../shared/edge")


@needs_edge
def test_corrupt_models_are_refused_soon_and_in_little_memory(tmp_path: Path) -> None:
    corrupt = [EDGE / name for name, kind in kinds().items() if kind == "corrupt"]
    found = run("measured_child.py", corrupt, tmp_path)
    assert len(found) == len(corrupt)
    for name, said in found.items():
        assert said["exit"] == 2, name
        assert said["cpu_s"] <= LIMIT_S, name
        assert said["bytes"] <= LIMIT_BYTES, name
        assert said["told"].startswith("error: "), name
        assert "Traceback" not in said["told"], name


@needs_edge
def test_edge_models_open_nothing_but_themselves(tmp_path: Path) -> None:
    found = run("audited_child.py", [EDGE / name for name in kinds()], tmp_path)
    assert found.keys() == kinds().keys()
    for name, said in found.items():
        check_events(said, EDGE / name, tmp_path)
        if kinds()[name] == "corrupt":
            assert said["exits"] == [2, 2], name


def check_events(said: Mapping[str, Any], model: Path, home: Path) -> None:
    for event, path, writes in said["events"]:
        assert event in READING, (model.name, event, path)
        assert not writes, (model.name, path)
        # a library without a name is the program itself; modules are looked for where the interpreter is told to
        if path and not (event == "os.listdir" and path in (str(ROOT), str(HERE), *sys.path)):
            assert not outside(path, model, home), (model.name, event, path)
    assert str(model) in {path for _, path, _ in said["events"]}


# --- weights that are said to be elsewhere ---


def external(location: str, **entries: str) -> TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[8], data_location=TensorProto.EXTERNAL)
    for key, text in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=text)
    return tensor


def as_initializer(tensor: TensorProto) -> GraphProto:
    return _graph([helper.make_node("Mul", ["x", "w"], ["y"])], [tensor])


def as_constant(tensor: TensorProto) -> GraphProto:
    constant = helper.make_node("Constant", [], ["w"])
    constant.attribute.add(name="value", type=4).t.CopyFrom(tensor)
    return _graph([constant, helper.make_node("Mul", ["x", "w"], ["y"])], [])


def as_shape(tensor: TensorProto) -> GraphProto:
    """Of a tensor whose values decide a shape."""
    tensor.data_type = TensorProto.INT64
    return _graph([helper.make_node("Reshape", ["x", "w"], ["y"])], [tensor])


def in_a_body(tensor: TensorProto) -> GraphProto:
    condition = TensorProto(name="c", data_type=TensorProto.BOOL, int32_data=[1])
    body = GraphProto(name="b", node=[helper.make_node("Mul", ["x", "w"], ["z"])], initializer=[tensor])
    body.output.add(name="z")
    return _graph([helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body)], [condition])


def _graph(nodes: Sequence[Any], weights: Sequence[TensorProto]) -> GraphProto:
    graph = GraphProto(name="g", node=nodes, initializer=weights)
    graph.input.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, [8]))
    graph.output.add(name="y")
    return graph


def model_of(graph: GraphProto) -> bytes:
    model = ModelProto(ir_version=10, graph=graph, opset_import=[helper.make_opsetid("", 21)])
    return bytes(model.SerializeToString())


PLACES = {"initializer": as_initializer, "constant": as_constant, "shape": as_shape, "body": in_a_body}


def locations(secret: Path) -> dict[str, TensorProto]:
    """Ways to say that the weights are in `secret`, which lies beside the model's folder, or in something odd."""
    written = {
        "parent": "../secret.bin",
        "parent_of_sub": "sub/../../secret.bin",
        "many_parents": "/".join([".."] * 30) + str(secret),
        "absolute": str(secret),
        "double_slash": "/" + str(secret),
        "link": "link.bin",
        "link_to_a_folder": "linked/secret.bin",
        "link_to_a_link": "chain.bin",
        "link_to_itself": "circle.bin",
        "dot_parent": "./../secret.bin",
        "case": "SUB/../../SECRET.BIN",
        "case_of_a_link": "LINK.bin",
        "backslashes": "..\\secret.bin",
        "drive": "C:\\secret.bin",
        "percent": "%2e%2e/secret.bin",
        "url": secret.as_uri(),
        "home": "~/secret.bin",
        "variable": "$HOME/secret.bin",
        "environ": "/proc/self/environ",
        "cwd": "/proc/self/cwd/../secret.bin",
        "zero": "/dev/zero",
        "pipe": "pipe",
        "folder": "sub",
        "itself": ".",
        "nothing": "",
        "nul": "weights.bin\x00../../secret.bin",
        "line": "weights.bin\n../secret.bin",
        "long": "a/" * 5000 + "secret.bin",
        "twice": "weights.bin",
    }
    found = {name: external(text) for name, text in written.items()}
    found["twice"].external_data.add(key="location", value="../secret.bin")
    found["far"] = external("weights.bin", offset=str(2**62), length=str(2**62))
    found["negative"] = external("weights.bin", offset="-32", length="-1")
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A model's folder beside a secret, with links to it."""
    top = tmp_path_factory.mktemp("confined")
    folder, secret = top / "models", top / "secret.bin"
    (folder / "sub").mkdir(parents=True)
    (top / "home").mkdir()
    secret.write_bytes(SECRET)
    (top / "home" / "secret.bin").symlink_to(secret)
    (folder / "weights.bin").write_bytes(SECRET)
    (folder / "link.bin").symlink_to(secret)
    (folder / "chain.bin").symlink_to("link.bin")
    (folder / "circle.bin").symlink_to("circle.bin")
    (folder / "linked").symlink_to(top)
    os.mkfifo(folder / "pipe")
    for name, tensor in locations(secret).items():
        for place, graph in PLACES.items():
            copy = TensorProto.FromString(tensor.SerializeToString())
            (folder / f"{name}-{place}.onnx").write_bytes(model_of(graph(copy)))
    yield folder
    shutil.rmtree(top)


def test_weights_elsewhere_are_never_opened(folder: Path) -> None:
    models, home = sorted(folder.glob("*.onnx")), folder.parent / "home"
    assert len(models) == len(locations(folder / "secret.bin")) * len(PLACES) >= 100
    for name, said in run("audited_child.py", models, home).items():
        check_events(said, folder / name, home)
        opened = {os.path.realpath(os.path.join(home, path)) for _, path, _ in said["events"]}
        assert str(folder.parent / "secret.bin") not in opened, name
        # 2 where the file itself is refused, 0 where its weights are "not there": never a bug
        assert set(said["exits"]) <= {0, 2}, name


@pytest.mark.parametrize("name", ["parent", "absolute", "link", "link_to_a_folder", "many_parents", "dot_parent"])
def test_reading_weights_outside_is_refused_by_name(folder: Path, name: str) -> None:
    command = [sys.executable, "-m", "efficiency_cli", "analyze", f"{name}-initializer.onnx", "--effective"]
    done = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "error: the weights of 'w' are said to be outside the model's folder" in done.stderr
    assert done.stdout == ""


def test_weights_beside_the_model_are_read(tmp_path: Path) -> None:
    """Twin: the honest file of external data is opened, by --effective alone."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    tensor = external("weights.bin")
    tensor.dims[:] = [8, 1]
    model = tmp_path / "model.onnx"
    model.write_bytes(model_of(_graph(nodes, [tensor])))
    (tmp_path / "weights.bin").write_bytes(SECRET)
    said = run("audited_child.py", [model], tmp_path)["model.onnx"]
    opened = [Path(path).name for event, path, _ in said["events"] if event == "open"]
    assert said["exits"] == [0, 0]
    assert "weights.bin" in opened


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_nothing_below_python_opens_them_either(folder: Path, tmp_path: Path) -> None:
    """The same through the system's own calls: what onnx's C++ opens is no event of Python's."""
    log, home = tmp_path / "log", folder.parent / "home"
    models = sorted(folder.glob("*-initializer.onnx"))
    tracing = [
        "strace",
        "-f",
        "-qq",
        "-s",
        "9999",
        "-e",
        "trace=open,openat,openat2,creat,execve,connect",
        "-o",
        str(log),
    ]
    command = [*tracing, sys.executable, str(HERE / "audited_child.py"), *map(str, models)]
    done = subprocess.run(command, cwd=home, env=environment(home), capture_output=True, text=True, timeout=600)
    if done.returncode != 0 and "ptrace" in done.stderr:
        pytest.skip("tracing is not allowed here")
    assert done.returncode == 0, done.stderr
    lines = log.read_text("utf-8", "replace").splitlines()
    assert sum(str(m) in line for m in models for line in lines) >= len(models)
    assert [line for line in lines if re.search(r'secret\.bin"|"/proc/self/|"/dev/zero|connect\(', line)] == []
