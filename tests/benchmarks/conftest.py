"""A place for the models that benchmarks make."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A place for large models; emptied at the end."""
    path = tmp_path_factory.mktemp("models")
    yield path
    for file in path.glob("*.onnx"):
        file.unlink()
