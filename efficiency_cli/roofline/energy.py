"""Energy of a run in joules, and the interval that 80 % of runs are in.

active power · time                                        where a machine's power while inferring is known
Σ OPs · J/OP(type) + Σ bytes · J/B(level) + static · time  where the energies of single acts are known
"""

from __future__ import annotations

import math

from msgspec import Struct

from efficiency_cli.hardware.profile import Energy, fallbacks
from efficiency_cli.roofline.latency import KernelTime, Times


class Joules(Struct, frozen=True):
    """The expected energy in its 80 % interval."""

    lower_j: float
    expected_j: float
    upper_j: float


def energy_interval(energy: Energy, expected_j: float, times: Times) -> Joules:
    """`expected_j` between what the profile's factors and the interval of `times` leave open.

    Power and time err independently, so their factors' logarithms add as squares: ln²f = ln²power + ln²time.
    Where acts are summed, time matters as far as static power goes.
    """
    by_time = _time_share(energy, expected_j, times)
    low, high = energy.interval_factors
    return Joules(
        expected_j * _both(low, 1 - by_time + by_time * _ratio(times.lower_s, times.expected_s)),
        expected_j,
        expected_j / _both(1 / high, 1 / (1 - by_time + by_time * _ratio(times.upper_s, times.expected_s))),
    )


def _time_share(energy: Energy, expected_j: float, times: Times) -> float:
    """The fraction of the energy that grows with the time."""
    if energy.active_power is not None:
        return 1.0
    static = energy.static_power.value * times.expected_s if energy.static_power else 0.0
    return min(_ratio(static, expected_j), 1.0)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 1.0


def _both(one: float, other: float) -> float:
    """The factor below 1 of two independent ones."""
    return math.exp(-math.hypot(math.log(one), math.log(other))) if min(one, other) > 0 else 0.0


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
