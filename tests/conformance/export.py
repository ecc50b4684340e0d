"""Write every conformance vector as an .onnx file, and what a counter must say of them as expected.json.

python tests/conformance/export.py OUT
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import onnx
from conformance_vectors import Vector, load


def export(folder: Path) -> int:
    """Fill `folder` (made where it is not there); the number of vectors written."""
    vectors = load()
    entries = [_write(vector, folder) for vector in vectors]
    document = {"format": 1, "vectors": entries}
    (folder / "expected.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return len(vectors)


def _write(vector: Vector, folder: Path) -> dict[str, Any]:
    file = Path(vector.family) / f"{vector.name}.onnx"
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    onnx.save(vector.model(), folder / file)
    return {
        "name": vector.name,
        "family": vector.family,
        "file": file.as_posix(),
        "why": vector.why,
        "settings": vector.settings,
        "flags": vector.flags,
        "expected": vector.expected,
        "flops_by_type": vector.flops_by_type,
        "calculation": dict(vector.expressions),
    }


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        sys.stderr.write("usage: python tests/conformance/export.py OUT\n")
        return 2
    count = export(Path(arguments[0]))
    sys.stdout.write(f"{count} models and expected.json in {arguments[0]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
