"""`effcli analyze`: one model, on one machine, on several or on none."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from efficiency_cli.commands import options, values
from efficiency_cli.commands.asked import Asked
from efficiency_cli.commands.options import CountingOptions, HardwareOptions, MemoryOptions, ModelOptions, PhaseOptions
from efficiency_cli.commands.output import OutputOptions
from efficiency_cli.errors import EffcliError, ExitCode, Inconclusive, ProfileError

if TYPE_CHECKING:
    from efficiency_cli.hardware.profile import Profile
    from efficiency_cli.roofline.estimate import Estimate
    from efficiency_cli.roofline.network import Network
    from efficiency_cli.roofline.phases import Phase

# names told for each thing that is not known
_MOST_NAMED = 5


@click.command()
@click.argument("model", type=values.File())
@options.model
@options.counting
@options.phase
@options.memory
@options.hardware
@options.output
@options.strict
def command(
    model: str,
    sizes: ModelOptions,
    counting: CountingOptions,
    phase: PhaseOptions,
    memory: MemoryOptions,
    hardware: HardwareOptions,
    output: OutputOptions,
    strict: bool,
) -> int:
    """Estimate a model on a machine; show where the time goes.

    MODEL is an ONNX file, or - for standard input. Its weights are not read. Without --hw, what the
    model computes and holds is counted; with several machines, there is one estimate for each.

    \b
    effcli analyze model.onnx --hw cortex-m7
    effcli analyze model.onnx --hw a100 --dim batch=8 --dim sequence=128
    effcli analyze model.onnx --hw 'cortex-m*' -f json:report.json -f table
    """
    from efficiency_cli import reports

    targets = output.checked(reports.formats, inputs=[model, *hardware.hw])
    machines = with_runtime(hardware.profiles(), hardware.runtime, output)
    estimates = _estimates(model, Asked(sizes, counting, phase), machines, hardware, memory)
    output.write(targets, lambda t: reports.render(t.format, estimates, output.view(t), command="analyze"))
    output.notes(note for e in estimates for note in reports.notes_of(e))
    if strict:
        require_complete(estimates[0])
    return ExitCode.OK


def _estimates(
    path: str, asked: Asked, machines: Sequence[Profile], hardware: HardwareOptions, memory: MemoryOptions
) -> list[Estimate]:
    """One estimate a machine; one without machine when none was named. The model is read once."""
    from msgspec.structs import replace

    phase = asked.phase.chosen()
    network = asked.counted(path, phase)
    estimates = [replace(e, **asked.beside(network)) for e in _on_each(network, machines, hardware)]
    if memory.wanted:
        from efficiency_cli.commands.footprints import with_memory

        estimates = [with_memory(e, path, asked, phase, memory.order or "file") for e in estimates]
    return estimates if phase is None else _of_phase(path, asked, phase, estimates, machines, hardware)


def _on_each(network: Network, machines: Sequence[Profile], hardware: HardwareOptions) -> list[Estimate]:
    from efficiency_cli.roofline.estimate import estimate

    if not machines:
        return [estimate(network)]
    return [estimate(network, m, runtime=hardware.runtime, overlap=hardware.overlap) for m in machines]


def _of_phase(
    path: str,
    asked: Asked,
    phase: Phase,
    estimates: Sequence[Estimate],
    machines: Sequence[Profile],
    hardware: HardwareOptions,
) -> list[Estimate]:
    """The estimates with their phase, and the other phase's time where the file can run in it too."""
    from efficiency_cli.roofline.phases import generating

    others: Sequence[Estimate | None] = [None] * len(estimates)
    # standard input cannot be read twice
    if machines and path != "-":
        with suppress(EffcliError):  # a file of one phase, or sizes that were given for this one
            others = _on_each(asked.counted(path, phase.other), machines, hardware)
    return [generating(e, phase, other) for e, other in zip(estimates, others, strict=True)]


def with_runtime(machines: Sequence[Profile], runtime: str | None, output: OutputOptions) -> list[Profile]:
    """Of several machines those that have `runtime`; the others are named."""
    if runtime is None or len(machines) < 2:
        return list(machines)
    having = [m for m in machines if runtime.lower() in (r.id.lower() for r in m.runtimes)]
    if not having:
        known = dict.fromkeys(r.id for m in machines for r in m.runtimes)
        raise ProfileError(
            f"none of the {len(machines)} machines has the runtime '{runtime}'",
            where=f"they have: {', '.join(known)}",
            hint="choose one of these: --runtime NAME",
        )
    left_out = [m.id for m in machines if m not in having]
    if left_out:
        output.notes([f"without runtime '{runtime}', left out: {', '.join(left_out)}"])
    return having


def gaps_of(estimate: Estimate) -> list[str]:
    """Operators without a rule, unknown shapes and assumed dimensions, a line each."""
    gaps = [
        f"not modelled: {u.domain}::{u.op}" if u.domain else f"not modelled: {u.op}"
        for u in estimate.coverage.unmodelled
    ]
    unknown = estimate.coverage.unknown_shapes
    if unknown:
        more = f" and {len(unknown) - _MOST_NAMED} more" if len(unknown) > _MOST_NAMED else ""
        gaps.append(f"shape unknown: {', '.join(unknown[:_MOST_NAMED])}{more}")
    return [*gaps, *estimate.model.assumptions]


def require_complete(estimate: Estimate) -> None:
    """Raise Inconclusive for what `gaps_of` tells."""
    gaps = gaps_of(estimate)
    if gaps:
        raise Inconclusive(
            "the estimate is not complete, and --strict was given",
            where=gaps,
            hint="give every size with --dim NAME=N, or leave out --strict",
        )
