"""The config format as JSON Schema, for editors: `effcli schema config`.

Derived from the annotations of `format.py`, as loading is.
"""

from __future__ import annotations

from typing import Any

from efficiency_cli.config.format import Config
from efficiency_cli.hardware.fields import Record
from efficiency_cli.hardware.schema import DIALECT, schema_of


def config_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of `effcli.yaml`, and of `[tool.effcli]`.

    It cannot say everything that loading checks: that a unit is one of its metric stays with `effcli check`.
    """
    return {"$schema": DIALECT, "title": "effcli config", **schema_of(Record(Config))}
