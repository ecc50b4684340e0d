"""Denormal numbers count as zero inside, and as before outside."""

from __future__ import annotations

import platform
import sys

import numpy as np
import pytest

from efficiency_cli.measure.host.denormals import denormals_are_zero

TINY, HALF = np.float32(2e-38), np.float32(0.25)


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or platform.machine() not in ("x86_64", "aarch64"),
    reason="only there the floating-point environment is known",
)
def test_inside_and_outside():
    assert TINY * HALF > 0
    with denormals_are_zero():
        assert TINY * HALF == 0
        with denormals_are_zero():
            assert TINY * HALF == 0
        assert TINY * HALF == 0
    assert TINY * HALF > 0


def test_an_error_ends_it():
    with pytest.raises(ZeroDivisionError), denormals_are_zero():
        raise ZeroDivisionError
    assert TINY * HALF > 0


def test_an_unknown_processor_changes_nothing(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with denormals_are_zero():
        assert TINY * HALF > 0
