"""The wheel works on its own: the program starts, and finds its profiles inside."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "samples" / "vww_mobilenetv1_int8.onnx"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    # no isolation: hatchling is a development dependency, and the index is not asked again
    _run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)], cwd=out)
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`effcli` of a fresh environment that holds the wheel; what it depends on is borrowed from this one."""
    home = tmp_path_factory.mktemp("fresh")
    _run([sys.executable, "-m", "venv", str(home)], cwd=home)
    python = home / "bin" / "python"
    _run([str(python), "-m", "pip", "install", "-q", "--no-deps", "--no-index", str(wheel)], cwd=home)
    site = next(home.glob("lib/python*/site-packages"))
    borrowed = [p for p in sys.path if p.endswith("site-packages")]
    # after its own packages, and without the .pth files that would bring an editable install along
    (site / "borrowed.pth").write_text("\n".join(borrowed) + "\n", encoding="utf-8")
    return home / "bin" / "effcli"


def _run(command: Sequence[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
    return result


def test_the_wheel_holds_package_profiles_and_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    shipped = {f"efficiency_cli/hardware_profiles/{p.name}" for p in (ROOT / "hardware_profiles").glob("*.yaml")}
    modules = {str(p.relative_to(ROOT)) for p in (ROOT / "efficiency_cli").rglob("*.py")}
    topics = {str(p.relative_to(ROOT)) for p in (ROOT / "efficiency_cli").rglob("*.md")}
    assert shipped
    assert topics
    assert shipped | modules | topics | {"efficiency_cli/py.typed"} <= names
    assert any(n.endswith("licenses/LICENSE") for n in names)
    assert not any(n.startswith(("tests/", "samples/")) for n in names)


def test_analyze_from_the_wheel(program: Path, tmp_path: Path) -> None:
    result = _run([str(program), "analyze", str(SAMPLE), "--hw", "cortex-m7"], cwd=tmp_path)
    assert "7.49 M MACs" in result.stdout
    assert "Latency" in result.stdout


def test_profiles_come_from_inside_the_wheel(program: Path, tmp_path: Path) -> None:
    listed = _run([str(program), "hw", "list"], cwd=tmp_path).stdout
    assert [line.split()[0] for line in listed.splitlines()[1:]] == sorted(
        p.stem for p in (ROOT / "hardware_profiles").glob("*.yaml")
    )
    code = "import efficiency_cli.hardware.load as l; print(l.shipped_dir())"
    folder = _run([str(program.parent / "python"), "-c", code], cwd=tmp_path).stdout
    assert folder.startswith(str(program.parent.parent))


def test_an_editable_install_finds_the_top_level_folder(tmp_path: Path) -> None:
    code = "import efficiency_cli.hardware.load as l; print(l.shipped_dir())"
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"]
    assert Path(_run(command, cwd=tmp_path).stdout.strip()) == ROOT / "hardware_profiles"
