"""Energy of a run in joules.

active power · time                                        where a machine's power while inferring is known
Σ OPs · J/OP(type) + Σ bytes · J/B(level) + static · time  where the energies of single acts are known
"""

from __future__ import annotations

from efficiency_cli.hardware.profile import Energy, fallbacks
from efficiency_cli.roofline.latency import KernelTime


def kernel_energy(energy: Energy | None, time: KernelTime) -> float | None:
    """Joules of one kernel; None where the profile has no figures for it."""
    if energy is None:
        return None
    seconds = time.times.expected_s
    if energy.active_power is not None:
        return energy.active_power.value * seconds
    if not energy.per_op:
        return None
    static = energy.static_power.value * seconds if energy.static_power else 0.0
    return static + time.kernel.ops * _per_op(energy, time.dtype) + _moved(energy, time)


def _per_op(energy: Energy, dtype: str) -> float:
    """Joules an operation in the nearest type with a figure."""
    found = next((energy.per_op[t] for t in fallbacks(dtype) if t in energy.per_op), None)
    return found.value if found else 0.0


def _moved(energy: Energy, time: KernelTime) -> float:
    kernel = time.kernel
    weights = energy.per_byte.get(time.weight_level)
    activations = energy.per_byte.get(time.activation_level)
    total = kernel.weight_bytes * weights.value if weights else 0.0
    return total + ((kernel.read_bytes + kernel.written_bytes) * activations.value if activations else 0.0)
