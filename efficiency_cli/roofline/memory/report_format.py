"""The `memory` object of the JSON report, declared: types only, as `roofline.report_format` is for the rest."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from msgspec import Meta

Bytes = Annotated[int, Meta(ge=0, description="bytes")]
Rounded = Annotated[float, Meta(ge=0, description="bytes")]


class RamPart(TypedDict):
    """Bytes of activations as the runtime would report them, and the interval for 80 % of networks."""

    lower: Rounded
    expected: Rounded
    upper: Rounded


class FlashPart(TypedDict):
    """Bytes stored, by what they are."""

    weights: Annotated[dict[str, int], Meta(description="by data type")]
    biases: Bytes
    constants: Annotated[int, Meta(ge=0, description="data that is computed with or handed out, as anchors")]
    scales: Annotated[int, Meta(ge=0, description="scales and zero points; 0 where the runtime counts them as code")]
    code: Rounded
    total: Rounded


class LevelPart(TypedDict):
    """One level of the machine's memory, nearest first."""

    name: str
    size: Annotated[float | None, Meta(description="bytes; null where it is not stated")]
    weights: Rounded
    activations: Rounded
    fits: bool | None
    short_bytes: Rounded
    first_kernel: Annotated[str | None, Meta(description="the first, in the order run, that goes over it")]
    kernels_over: int
    spilled_bytes: Annotated[float, Meta(ge=0, description="the most that any kernel has beyond it")]
    spill_s: Annotated[float | None, Meta(description="the time that takes, where the time model says")]


class WhatIfPart(TypedDict):
    """The network with one change, estimated anew."""

    change: str
    ram_bytes: Rounded
    flash_bytes: Rounded
    fits: bool | None


class LargestPart(TypedDict):
    """The largest batch or context for which weights and activations fit."""

    what: Literal["batch", "context"]
    value: int
    bytes: Rounded
    level: str
    level_bytes: Rounded


class StepPart(TypedDict):
    """One kernel in the order run: its index among the report's kernels, and the arena it needs."""

    kernel: int
    bytes: Bytes


class BufferPart(TypedDict):
    """One buffer of the plan: bytes from `offset` on, taken while the steps `first` to `last` run."""

    name: str
    kind: Literal["input", "output", "activation", "scratch"]
    offset: Bytes
    size: Bytes
    first: int
    last: int
    also: Annotated[list[str], Meta(description="other tensors in the same bytes")]


class OverlapPart(TypedDict):
    """A result that may lie over an operand: it begins `below` bytes before it, or ends `above` behind its end."""

    operand: str
    result: str
    below: Bytes
    above: Bytes


class MemoryPart(TypedDict):
    """What a run keeps in memory: the arena's plan, RAM, flash and where that fits."""

    order: Literal["file", "best"]
    saved_bytes: Annotated[int, Meta(ge=0, description="what the order saves of the live set's peak")]
    overwrites: Literal["none", "elementwise", "depthwise", "overlap"]
    alignment: int
    arena_bytes: Bytes
    bound_bytes: Annotated[int, Meta(ge=0, description="the most that one kernel needs: no plan is smaller")]
    peak_step: Annotated[int | None, Meta(description="in `steps`; null without kernels")]
    peak_at: str | None
    activation_bytes: RamPart
    runtime_bytes: Rounded
    ram_bytes: Rounded
    flash: FlashPart
    fits: bool | None
    levels: list[LevelPart]
    what_if: list[WhatIfPart]
    largest: list[LargestPart]
    steps: list[StepPart]
    buffers: list[BufferPart]
    overlaps: list[OverlapPart]
