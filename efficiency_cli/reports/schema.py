"""The JSON report as JSON Schema, for editors and other programs: `effcli schema report`.

Derived from the declarations of `roofline/report_format.py`; nothing is said here a second time.
"""

from __future__ import annotations

from typing import Any

import msgspec

from efficiency_cli.roofline.report_format import Report, Results

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def report_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of what `-f json` writes: one report, or several under `results`."""
    schemas, components = msgspec.json.schema_components([Report, Results], ref_template="#/$defs/{name}")
    return {"$schema": _DIALECT, "title": "effcli report", "anyOf": list(schemas), "$defs": components}
