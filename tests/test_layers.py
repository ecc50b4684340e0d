"""Imports point down only, and each heavy library has one home (read from the source, nothing is imported)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "efficiency_cli"

# lowest first; what stands together on a line may be imported by all lines below it
LAYERS = (
    ("errors", "quantity"),
    ("graph",),
    ("costs", "hardware"),
    ("roofline",),
    ("judge",),
    ("measure", "config"),
    ("reports",),
    ("commands",),
    ("cli", "__main__"),
)
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}
# parts of one level that may import each other
SAME_LEVEL = {("quantity", "errors"), ("errors", "quantity"), ("__main__", "cli")}

# library -> the only modules (or packages) that import it
HOMES = {
    "onnx": ("graph.read", "graph.structure", "graph.shapes", "graph.assemble"),
    "google": ("graph.read", "graph.structure", "graph.shapes"),
    "numpy": ("graph.shapes", "graph.effective", "measure"),
    "rich": ("reports.table",),
    "click": ("cli", "commands"),
    "yaml": ("hardware.load", "hardware.tree", "config"),
    "onnxruntime": ("measure",),
    "scipy": ("measure",),
    "distributed": ("judge.cluster",),
}


def modules() -> Iterator[tuple[str, Path]]:
    """Name below the package ("graph.read") and file of every module."""
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT / PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        # the package itself is the front door: it imports names of every layer on first use
        if name:
            yield name, path


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, inside functions and for type checking too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            assert node.module
            # `from efficiency_cli import quantity` imports the module, `… import __version__` a name
            if node.module == PACKAGE:
                yield from (f"{PACKAGE}.{alias.name}" for alias in node.names)
            else:
                yield node.module


MODULES = dict(modules())


def part_of(name: str) -> str:
    return name.split(".")[0]


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_down(name):
    own = part_of(name)
    assert own in LEVEL, f"'{own}' is in no layer: add it to LAYERS"
    for imported in imports(MODULES[name]):
        package, _, rest = imported.partition(".")
        other = part_of(rest)
        if package != PACKAGE or not rest or rest == "__version__" or other == own or (own, other) in SAME_LEVEL:
            continue
        assert LEVEL[other] < LEVEL[own], f"{name} imports {imported}, which is not below it"


@pytest.mark.parametrize("library", HOMES)
def test_a_library_has_one_home(library):
    for name, path in MODULES.items():
        if any(imported.split(".")[0] == library for imported in imports(path)):
            homes = HOMES[library]
            assert name in homes or name.startswith(tuple(f"{h}." for h in homes)), f"{name} imports {library}"


def test_the_rules_bite():
    """The libraries are found where they live, so that the tests above can fail."""
    for library, home in (
        ("onnx", "graph.read"),
        ("rich", "reports.table"),
        ("click", "cli"),
        ("yaml", "hardware.load"),
    ):
        assert any(imported.split(".")[0] == library for imported in imports(MODULES[home]))
    assert f"{PACKAGE}.reports.escape" in set(imports(MODULES["commands.output"]))
    assert LEVEL["graph"] < LEVEL["roofline"] < LEVEL["cli"]
