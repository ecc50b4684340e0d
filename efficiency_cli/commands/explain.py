"""`effcli explain`: where one number of a report comes from, term by term."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

from efficiency_cli.commands import options, values
from efficiency_cli.commands.asked import Asked
from efficiency_cli.commands.options import CountingOptions, HardwareOptions, ModelOptions, PhaseOptions
from efficiency_cli.commands.output import OutputOptions
from efficiency_cli.errors import ExitCode, UsageError, did_you_mean

if TYPE_CHECKING:
    from efficiency_cli.graph.model import Graph
    from efficiency_cli.roofline.estimate import Estimate

# names told where several nodes match
_MOST_NAMED = 10


@click.command()
@click.argument("model", type=values.File())
@click.argument("node")
@options.model
@options.counting
@options.phase
@options.hardware
@options.plain_output
def command(
    model: str,
    node: str,
    sizes: ModelOptions,
    counting: CountingOptions,
    phase: PhaseOptions,
    hardware: HardwareOptions,
    output: OutputOptions,
) -> int:
    """Show the formula behind one number, with the numbers put in.

    NODE is a node of MODEL, by its name or a part that no other name has, or a kernel by its number in
    a report: '#12'. What it counts is told with its reason; with --hw also how its kernel's time comes
    out: every term, and which line of the profile it is from.

    \b
    effcli explain model.onnx /conv1/Conv
    effcli explain model.onnx /conv1/Conv --hw cortex-m7
    effcli explain model.onnx '#3' --hw a100 -f json
    effcli explain decoder.onnx '#3' --phase decode --context 512
    """
    from efficiency_cli.reports.explain import formats, text_of
    from efficiency_cli.roofline.explain import explain

    targets = output.checked(formats, inputs=[model, *hardware.hw])
    estimates = _estimates(model, Asked(sizes, counting, phase), hardware)
    found = [(e, *find(e, node)) for e in estimates]
    explanations = [explain(e, name) for e, name, _ in found]
    output.write(targets, lambda t: text_of(t.format, explanations, output.view(t)))
    output.notes(note for _, _, note in found if note)
    output.notes(note for e in estimates for note in (*e.assumptions, *e.notes))
    return ExitCode.OK


def _estimates(path: str, asked: Asked, hardware: HardwareOptions) -> list[Estimate]:
    """One estimate a machine, one without where none was named, of the phase that was asked for."""
    from msgspec.structs import replace

    from efficiency_cli.roofline.estimate import estimate
    from efficiency_cli.roofline.phases import generating

    machines = hardware.profiles()
    phase = asked.phase.chosen()
    network = asked.counted(path, phase)
    found = [estimate(network, m, runtime=hardware.runtime, overlap=hardware.overlap) for m in machines]
    beside = asked.beside(network)
    found = [replace(e, **beside) for e in found or [estimate(network)]]
    return found if phase is None else [generating(e, phase, None) for e in found]


def find(estimate: Estimate, wanted: str) -> tuple[str, str]:
    """The name of the node that `wanted` means, and a note where it is not spelled exactly so.

    In this order: a node's name; a kernel's number '#12'; a name as reports show it; a tensor that a
    node makes; the end of one name; a part of one name. Raises UsageError for none and for several.
    """
    from efficiency_cli.reports.escape import shown

    names = [n.node.name for n in estimate.network.nodes]
    if wanted in names:
        return wanted, ""
    kernel = re.fullmatch(r"#([0-9]{1,9})", wanted)
    if kernel is not None:
        return _of_kernel(estimate, int(kernel[1]))
    for candidates in _candidates(estimate, names, wanted):
        if len(candidates) == 1:
            return candidates[0], f"'{values.short(wanted)}' is taken for '{shown(candidates[0])}'"
        if candidates:
            raise _several(wanted, candidates)
    raise _unknown(estimate, names, wanted)


def _of_kernel(estimate: Estimate, index: int) -> tuple[str, str]:
    kernels = estimate.kernels
    if index >= len(kernels):
        last = f"they are #0 to #{len(kernels) - 1}" if kernels else "it has none"
        raise UsageError(
            f"there is no kernel #{index}", where=last, hint=f"number them: {_listing(estimate, 'kernel')}"
        )
    return kernels[index].name, ""


def _candidates(estimate: Estimate, names: Sequence[str], wanted: str) -> Iterable[list[str]]:
    """What `wanted` may mean, the likeliest way first."""
    from efficiency_cli.reports.escape import escaped, shown

    if not wanted:
        return
    yield [n for n in names if wanted in (escaped(n), shown(n))]
    yield [c.node.name for c in estimate.network.nodes if wanted in c.node.outputs]
    ending = [n for n in names if n.endswith(wanted)]
    containing = [n for n in names if wanted in n]
    yield ending if len(ending) == 1 else containing
    yield [n for n in names if wanted.lower() in n.lower()]


def _several(wanted: str, candidates: Sequence[str]) -> UsageError:
    from efficiency_cli.reports.escape import shown

    more = [f"and {len(candidates) - _MOST_NAMED} more"] if len(candidates) > _MOST_NAMED else []
    return UsageError(
        f"'{values.short(wanted)}' is in the names of {len(candidates)} nodes",
        where=[*map(shown, candidates[:_MOST_NAMED]), *more],
        hint="give more of the name, or the number of a kernel: '#12'",
    )


def _unknown(estimate: Estimate, names: Sequence[str], wanted: str) -> UsageError:
    what = f"the model has no node '{values.short(wanted)}'"
    if wanted in set(_every_name(estimate.model.graph)):
        what = f"node '{values.short(wanted)}' is in a branch that is not counted"
        return UsageError(
            what, hint="the costliest branch of an If counts; choose one: --branch then, or --branch else"
        )
    meant = did_you_mean(wanted, names)
    return UsageError(what, hint=meant or f"list them: {_listing(estimate, 'node')}")


def _listing(estimate: Estimate, group: str) -> str:
    return f"effcli analyze {shlex.quote(estimate.model.path)} --group {group} --sort order --top all"


def _every_name(graph: Graph) -> Iterable[str]:
    for node in graph.nodes:
        yield node.name
        for body in node.graphs.values():
            yield from _every_name(body)
