"""effcli: how fast will this network run on that machine, what holds it back, and will it fit?

    import efficiency_cli as eff
    model = eff.read_model("model.onnx", dims={"batch": 8})
    machine = eff.load_profile("cortex-m7")
    result = eff.estimate(model, machine)
    result.latency.expected_s, result.totals.macs, result.kernels
    table = eff.compare([model], eff.profiles("cortex-m*"))

Names are imported on first use: `effcli --help` starts without onnx.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from efficiency_cli.errors import EffcliError, ExitCode
    from efficiency_cli.graph.model import Graph, Model, Node, Tensor
    from efficiency_cli.graph.read import read_model
    from efficiency_cli.graph.retype import Types
    from efficiency_cli.hardware.load import load_profile, profiles
    from efficiency_cli.hardware.profile import Profile
    from efficiency_cli.judge.compare import Comparison, compare
    from efficiency_cli.roofline.estimate import Estimate, estimate

__version__ = "0.1.0"

_HOME = {
    "Comparison": "judge.compare",
    "EffcliError": "errors",
    "ExitCode": "errors",
    "Estimate": "roofline.estimate",
    "Graph": "graph.model",
    "Model": "graph.model",
    "Node": "graph.model",
    "Profile": "hardware.profile",
    "Tensor": "graph.model",
    "Types": "graph.retype",
    "compare": "judge.compare",
    "estimate": "roofline.estimate",
    "load_profile": "hardware.load",
    "profiles": "hardware.load",
    "read_model": "graph.read",
}

__all__ = [
    "Comparison",
    "EffcliError",
    "Estimate",
    "ExitCode",
    "Graph",
    "Model",
    "Node",
    "Profile",
    "Tensor",
    "Types",
    "__version__",
    "compare",
    "estimate",
    "load_profile",
    "profiles",
    "read_model",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
