"""Whether a need fits a machine: weights and activations in the levels that hold them."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from efficiency_cli.hardware.profile import MemoryLevel, Profile


class Fit(Struct, frozen=True):
    """Need against capacity: None where the machine does not say or says there is no bound."""

    weights_level: str
    weights_capacity: float | None
    activations_level: str
    activations_capacity: float | None
    fits: bool | None


def fit(profile: Profile, weight_bytes: int, activation_bytes: int) -> Fit:
    """Whether the network fits the machine: weights in the largest level for weights, activations likewise.

    Where one level holds both, their sum must fit it.
    """
    weights = _largest(profile.memory, "weights")
    activations = _largest(profile.memory, "activations")
    if weights is None or activations is None:
        return Fit("", None, "", None, None)
    if weights.name == activations.name:
        need, room = weight_bytes + activation_bytes, weights.size_bytes
        fits = None if room is None else need <= room
        return Fit(weights.name, room, activations.name, room, fits)
    verdicts = [
        _verdict(weight_bytes, weights.size_bytes),
        _verdict(activation_bytes, activations.size_bytes),
    ]
    fits = False if False in verdicts else None if None in verdicts else True
    return Fit(weights.name, weights.size_bytes, activations.name, activations.size_bytes, fits)


def _verdict(need: int, room: float | None) -> bool | None:
    return None if room is None else need <= room


def _largest(levels: Sequence[MemoryLevel], what: str) -> MemoryLevel | None:
    """The level with most room for `what`; one without a stated size counts as the largest."""
    holding = [m for m in levels if what in m.holds]
    return max(holding, key=lambda m: float("inf") if m.size_bytes is None else m.size_bytes, default=None)
