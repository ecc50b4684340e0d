"""What a command line asks about a model, whatever the machine: its sizes, its phase, and how it counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from efficiency_cli.commands.options import CountingOptions, ModelOptions, PhaseOptions

if TYPE_CHECKING:
    from efficiency_cli.roofline.network import Network
    from efficiency_cli.roofline.phases import Phase


class Asked(NamedTuple):
    """What was asked about the model, whatever the machine."""

    sizes: ModelOptions
    counting: CountingOptions
    phase: PhaseOptions

    def counted(self, path: str, phase: Phase | None) -> Network:
        """The model at `path`, in the sizes of `phase` where there is one."""
        from efficiency_cli.roofline.estimate import count

        model = self.sizes.read(path, phase.sizes if phase else None)
        return count(model, self.counting.choices(model))

    def beside(self, network: Network) -> dict[str, object]:
        """Fields of an Estimate with counts of another kind, that were asked for beside the usual ones."""
        found: dict[str, object] = {}
        if self.counting.convention is not None:
            from efficiency_cli.roofline.conventions import as_counted_by

            found["convention"] = as_counted_by(self.counting.convention, network)
        if self.counting.effective:
            from efficiency_cli.roofline.effective import effective

            found["effective"] = effective(network)
        return found
