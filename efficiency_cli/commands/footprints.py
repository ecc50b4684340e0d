"""What --memory and --order ask for: the memory of each estimate, and of the same network otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from efficiency_cli.commands.asked import Asked

if TYPE_CHECKING:
    from efficiency_cli.graph.model import Model
    from efficiency_cli.roofline.estimate import Estimate
    from efficiency_cli.roofline.memory.footprint import Footprint
    from efficiency_cli.roofline.memory.what_if import Largest, Needed
    from efficiency_cli.roofline.phases import Phase

# one who runs out of room has the choice of both
BATCH, CONTEXT = "batch", "context"


def with_memory(estimate: Estimate, path: str, asked: Asked, phase: Phase | None, order: str) -> Estimate:
    """The estimate with its footprint."""
    from msgspec.structs import replace

    return replace(estimate, memory=_Otherwise(estimate, path, asked, phase, order).footprint())


class _Otherwise:
    """Estimates of one network on one machine, as it is and changed."""

    def __init__(self, estimate: Estimate, path: str, asked: Asked, phase: Phase | None, order: str) -> None:
        self.estimate, self.path, self.asked, self.phase, self.order = estimate, path, asked, phase, order

    def footprint(self) -> Footprint:
        from msgspec.structs import replace

        from efficiency_cli.roofline.memory.footprint import footprint_of
        from efficiency_cli.roofline.memory.what_if import what_ifs

        found = footprint_of(self.estimate, self.order)
        # standard input cannot be read twice
        reread = None if self.path == "-" else self.read
        # what fits needs no advice
        changes = () if found.fits else what_ifs(self.estimate.model, self.need_of, reread, self.estimate.batch)
        return replace(found, what_ifs=tuple(changes), largest=tuple(self.largest()) if reread else ())

    def read(self, change: Mapping[str, Any]) -> Model:
        """The file again, with another batch or other shapes."""
        from efficiency_cli.roofline.phases import Phase

        sizes = self.asked.sizes
        if "batch" in change:
            sizes = sizes._replace(batch=change["batch"])
        if "shapes" in change:
            kept = [pair for pair in sizes.shapes if pair[0] not in change["shapes"]]
            sizes = sizes._replace(shapes=[*kept, *change["shapes"].items()])
        phase = self.phase
        if phase is not None:
            phase = Phase(phase.name, change.get("context", phase.context))
        return sizes.read(self.path, phase.sizes if phase else None)

    def need_of(self, model: Model) -> Needed:
        """What a changed network needs on the same machine, in the file's order."""
        from efficiency_cli.roofline.estimate import estimate
        from efficiency_cli.roofline.memory.footprint import footprint_of
        from efficiency_cli.roofline.memory.what_if import Needed

        machine = self.estimate.machine
        result = estimate(
            model,
            machine.profile if machine else None,
            runtime=machine.runtime.id if machine else None,
            overlap=machine.overlap if machine else None,
            choices=self.asked.counting.choices(model),
        )
        found = footprint_of(result)
        return Needed(found.ram, found.flash.total, found.fits, found.levels)

    def largest(self) -> list[Largest]:
        """The largest batch, and in a phase the largest context, for machines that hold all in one memory."""
        from efficiency_cli.roofline.memory.what_if import largest, shared_level

        level = shared_level(self.estimate)
        if level is None or level.size is None:
            return []
        kinds = [BATCH, CONTEXT] if self.phase is not None else [BATCH]
        found = [largest(kind, self._need_at(kind, level.name), level.size, level.name) for kind in kinds]
        return [size for size in found if size is not None]

    def _need_at(self, kind: str, level: str) -> Callable[[int], float | None]:
        from efficiency_cli.errors import EffcliError

        def need(size: int) -> float | None:
            try:
                levels = self.need_of(self.read({kind: size})).levels
            except EffcliError:
                return None
            return next(found.need for found in levels if found.name == level)

        return need
