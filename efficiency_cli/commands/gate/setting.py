"""Models on machines as Snapshots, for the commands that judge them: `check` and `diff`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from efficiency_cli.commands.asked import Asked
from efficiency_cli.commands.options import CountingOptions, HardwareOptions, ModelOptions, PhaseOptions

if TYPE_CHECKING:
    from efficiency_cli.hardware.profile import Profile
    from efficiency_cli.judge.snapshot import Snapshot
    from efficiency_cli.roofline.estimate import Estimate

_NONE: Mapping[str, int] = {}
Shots = list[tuple["Snapshot", "Estimate"]]


class Setting(NamedTuple):
    """What is asked of a model, and on which machines. `common` are sizes for those models that have them."""

    sizes: ModelOptions
    counting: CountingOptions
    phase: PhaseOptions
    hardware: HardwareOptions
    common: Mapping[str, int] = _NONE

    def shots(self, path: str, *, nodes: bool = False) -> Shots:
        """The model at `path` on each machine, once without any where none was named."""
        from efficiency_cli.judge.snapshot import snapshot_of
        from efficiency_cli.roofline.estimate import estimate

        machines: Sequence[Profile | None] = self.hardware.profiles() or (None,)
        phase = self.phase.chosen()
        network = Asked(self._sizes_for(path), self.counting, self.phase).counted(path, phase)
        told = self.told
        found = []
        for machine in machines:
            one = estimate(network, machine, runtime=self.hardware.runtime, overlap=self.hardware.overlap)
            found.append((snapshot_of(one, nodes=nodes, asked=told), one))
        return found

    def _sizes_for(self, path: str) -> ModelOptions:
        """With those of the common sizes that this model has, unless they were given."""
        if not self.common:
            return self.sizes
        from efficiency_cli.graph import read

        declared = read.interface_of(read.load(path)[0].graph).inputs
        symbols = {d for axes in declared.values() for d in axes or () if isinstance(d, str)}
        given = {name for name, _ in self.sizes.dims}
        added = [
            (name, size)
            for name, size in self.common.items()
            if name not in given and (name in symbols or name.partition("[")[0] in declared)
        ]
        return self.sizes._replace(dims=(*self.sizes.dims, *added))

    @property
    def told(self) -> str:
        """What was asked beyond symbolic dimensions, as it would be typed: part of what a baseline entry is of."""
        sizes, counting = self.sizes, self.counting
        parts: list[tuple[str, object]] = [
            ("--batch", sizes.batch),
            *(("--shape", f"{name}={'x'.join(map(str, shape))}") for name, shape in sizes.shapes),
            ("--dtype", sizes.dtype),
            ("--weight-bits", sizes.weight_bits),
            ("--activation-bits", sizes.activation_bits),
            ("--phase", self.phase.phase),
            ("--context", self.phase.context),
            ("--count", counting.counted if counting.counted != "dense" else None),
            ("--branch", counting.branch if counting.branch != "max" else None),
            *(("--trip", f"{name}={count}") for name, count in counting.trips),
        ]
        return " ".join(f"{name} {value}" for name, value in parts if value is not None)
