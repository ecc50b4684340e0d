"""Footprint -> plain data, as `roofline.report_data` does for an Estimate."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from efficiency_cli.roofline.memory.report_format import BufferPart, FlashPart, LevelPart, MemoryPart

if TYPE_CHECKING:
    from efficiency_cli.roofline.memory.fit import Level
    from efficiency_cli.roofline.memory.flash import Flash
    from efficiency_cli.roofline.memory.footprint import Footprint


def memory_part(footprint: Footprint | None) -> MemoryPart | None:
    """The report's `memory`; None where it was not asked for."""
    if footprint is None:
        return None
    plan, needs, peak = footprint.plan, footprint.needs, footprint.peak
    ram = footprint.activations
    return cast(
        MemoryPart,
        {
            "order": footprint.order,
            "saved_bytes": footprint.saved,
            "overwrites": footprint.overwrites,
            "alignment": plan.alignment,
            "arena_bytes": plan.size,
            "bound_bytes": plan.bound,
            "peak_step": peak if peak >= 0 else None,
            "peak_at": footprint.kernels[peak].name if peak >= 0 else None,
            "activation_bytes": {"lower": ram.lower, "expected": ram.expected, "upper": ram.upper},
            "runtime_bytes": footprint.runtime_ram,
            "ram_bytes": footprint.ram,
            "flash": _flash(footprint.flash),
            "fits": footprint.fits,
            "levels": [_level(level) for level in footprint.levels],
            "what_if": [
                {"change": w.change, "ram_bytes": w.ram, "flash_bytes": w.flash, "fits": w.fits}
                for w in footprint.what_ifs
            ],
            "largest": [
                {"what": g.what, "value": g.value, "bytes": g.need, "level": g.level, "level_bytes": g.room}
                for g in footprint.largest
            ],
            "steps": [
                {"kernel": k.index, "bytes": size} for k, size in zip(footprint.kernels, needs.by_kernel, strict=True)
            ],
            "buffers": _buffers(footprint),
            "overlaps": [
                {"operand": o.operand, "result": o.result, "below": o.below, "above": o.above} for o in needs.overlaps
            ],
        },
    )


def _flash(flash: Flash) -> FlashPart:
    return {
        "weights": dict(flash.weights),
        "biases": flash.biases,
        "constants": flash.constants,
        "scales": flash.scales,
        "code": flash.code,
        "total": flash.total,
    }


def _level(level: Level) -> LevelPart:
    return {
        "name": level.name,
        "size": level.size,
        "weights": level.weights,
        "activations": level.activations,
        "fits": level.fits,
        "short_bytes": level.short,
        "first_kernel": level.first_kernel or None,
        "kernels_over": level.kernels_over,
        "spilled_bytes": level.spilled,
        "spill_s": level.cost_s,
    }


def _buffers(footprint: Footprint) -> list[BufferPart]:
    return [
        cast(
            BufferPart,
            {
                "name": p.block.key,
                "kind": p.block.kind,
                "offset": p.offset,
                "size": p.block.size,
                "first": p.block.first,
                "last": p.block.last,
                "also": list(p.block.also),
            },
        )
        for p in footprint.plan.placed
    ]
