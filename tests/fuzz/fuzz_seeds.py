"""The sound models that are damaged: samples, conformance vectors, and what lies beside the repository."""

from __future__ import annotations

import random
import sys
from functools import cache
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
SHARED = ROOT.parent / "shared"
# larger files take longer and teach nothing new
MAX_BYTES = 100_000
# this often a seed is one of at most SMALL_BYTES
SMALL_OFTEN, SMALL_BYTES = 0.8, 20_000


@cache
def seeds() -> tuple[bytes, ...]:
    """Every seed, in an order that depends on nothing but which there are."""
    folders = [ROOT / "samples", SHARED / "edge", SHARED / "models", SHARED / "data" / "mcu" / "models"]
    files = [f for folder in folders if folder.is_dir() for f in sorted(folder.glob("*.onnx"))]
    read = [f.read_bytes() for f in files if f.stat().st_size <= MAX_BYTES]
    return (*read, *_conformance_vectors())


def _conformance_vectors() -> list[bytes]:
    sys.path.append(str(TESTS / "conformance"))
    from conformance_vectors import load

    return [vector.model().SerializeToString(deterministic=True) for vector in load()]


@cache
def small_seeds() -> tuple[bytes, ...]:
    return tuple(s for s in seeds() if len(s) <= SMALL_BYTES)


def any_seed(rng: random.Random) -> bytes:
    return rng.choice(small_seeds() if rng.random() < SMALL_OFTEN else seeds())
