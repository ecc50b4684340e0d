"""`effcli diff`: what changed between two models, or two saved reports, and what it costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

from efficiency_cli.commands import options, values
from efficiency_cli.commands.gate.setting import Setting
from efficiency_cli.commands.options import CountingOptions, HardwareOptions, ModelOptions, PhaseOptions
from efficiency_cli.commands.output import OutputOptions, say
from efficiency_cli.errors import ExitCode, Inconclusive, UsageError

if TYPE_CHECKING:
    from efficiency_cli.judge.diff import Diff, Tolerance
    from efficiency_cli.judge.snapshot import Snapshot

# as `judge.gauge` has them, which is not imported for a help text; a test compares them
ON = ("bound", "lower", "expected", "upper")


class _Tolerance(values.Value):
    """METRIC=5% or METRIC=2ms."""

    name = "METRIC=LIMIT"

    def parse(self, text: str) -> object:
        from efficiency_cli.judge.diff import parse_tolerance

        return parse_tolerance(text)

    def candidates(self, ctx: click.Context) -> Iterable[str]:  # noqa: ARG002
        from efficiency_cli.judge.gauge import GAUGES

        return [f"{name}=" for name in GAUGES]


@click.command()
@click.argument("before", type=values.File())
@click.argument("after", type=values.File())
@options.option(
    "--fail-on",
    "tolerances",
    type=_Tolerance(),
    multiple=True,
    help="Exit with 1 when a metric is worse by more: latency=5%, peak_ram=1KiB. Repeatable.",
)
@options.option("--on", type=values.OneOf(*ON), help="Judge this of the interval; expected unless given.")
@options.option("--exit-zero", is_flag=True, help="Exit with 0 where a budget is exceeded.")
@options.model
@options.choosing
@options.phase
@options.hardware
@options.top
@options.plain_output
def command(
    before: str,
    after: str,
    tolerances: Sequence[object],
    on: str | None,
    exit_zero: bool,
    sizes: ModelOptions,
    counting: CountingOptions,
    phase: PhaseOptions,
    hardware: HardwareOptions,
    top: int | None,
    output: OutputOptions,
) -> int:
    """Show what changed between two models, and what it costs.

    BEFORE and AFTER are ONNX files, or reports saved with analyze -f json, or baselines. Nodes are
    paired by name, then by structure; the change of the latency is attributed to kernels.

    \b
    effcli diff float.onnx int8.onnx --hw cortex-m7
    effcli diff main.onnx branch.onnx --hw a100 --fail-on latency=5% --fail-on parameters=0%
    effcli diff effcli-baseline.json model.onnx -f markdown:comment.md
    """
    from efficiency_cli.judge import diff as judged
    from efficiency_cli.reports.diff import formats, text_of

    output = output._replace(top=top)
    targets = output.checked(formats, inputs=[before, after, *hardware.hw])
    setting = Setting(sizes, counting, phase, hardware)
    ours, theirs = _both(before, after, setting)
    found = judged.diff(ours, theirs, on or "expected")  # type: ignore[arg-type]
    limits: Sequence[Tolerance] = tolerances  # type: ignore[assignment]
    output.write(targets, lambda t: text_of(t.format, found, limits, output.view(t)))
    output.notes(_notes(found))
    return ExitCode.OK if _judged(found, limits) == ExitCode.OK or exit_zero else ExitCode.FINDING


def _both(before: str, after: str, setting: Setting) -> tuple[Snapshot, Snapshot]:
    """Both sides; a model beside a report is put on the report's machine, unless one was named."""
    is_report = {path: _is_report(path) for path in (before, after)}
    saved: dict[str, Snapshot] = {}
    for path, other in ((before, after), (after, before)):
        if is_report[path]:
            saved[path] = _saved(path, "" if is_report[other] else other, setting.hardware.hw)
    if saved and not setting.hardware.hw:
        hardware = next(iter(saved.values())).hardware
        if hardware is not None:
            runtime = setting.hardware.runtime or hardware.runtime
            setting = setting._replace(hardware=setting.hardware._replace(hw=(hardware.id,), runtime=runtime))
    ours, theirs = (saved[path] if is_report[path] else _estimated(path, setting) for path in (before, after))
    return ours, theirs


def _is_report(path: str) -> bool:
    """Whether a file is JSON, and no model: what is neither is for the model's reader to say."""
    if path == "-":
        raise UsageError("diff reads two files, not standard input", hint="save it first: cat > model.onnx")
    try:
        with open(path, "rb") as file:
            return file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")
    except OSError:
        return False


def _saved(path: str, other: str, hw: Sequence[str]) -> Snapshot:
    """The one estimate of a report; of several the one on the machine asked for, or of the `other` file's name."""
    from pathlib import PurePath

    from efficiency_cli.judge.snapshot import read_saved

    found = list(read_saved(path).snapshots)
    if len(found) > 1 and hw:
        found = [s for s in found if s.machine.lower() in (name.lower() for name in hw)] or found
    if len(found) > 1 and other:
        found = [s for s in found if PurePath(s.model.path).name == PurePath(other).name] or found
    if len(found) == 1:
        return found[0]
    told = [f"{s.model.path}{f' on {s.machine}' if s.machine else ''}" for s in found]
    what = f"{path} holds {len(found):,} estimates, and diff compares two"
    raise UsageError(what, where=told[:10], hint="name the machine: --hw ID, or save each in a file of its own")


def _estimated(path: str, setting: Setting) -> Snapshot:
    shots = setting.shots(path, nodes=True)
    if len(shots) > 1:
        told = ", ".join(s.machine for s, _ in shots[:5])
        raise UsageError(f"diff takes one machine, --hw names {len(shots):,}: {told}", hint="name one: --hw ID")
    return shots[0][0]


def _notes(found: Diff) -> Iterable[str]:
    if found.machines_differ:
        ours, theirs = (s.hardware for s in (found.before, found.after))
        told = [f"{h.id} with {h.runtime}" if h else "no machine" for h in (ours, theirs)]
        yield f"not on the same machine: {told[0]}, and {told[1]}"
    for snapshot in (found.before, found.after):
        yield from snapshot.assumptions


def _judged(found: Diff, tolerances: Sequence[Tolerance]) -> int:
    """The exit code, with what it is for on standard error. Raises Inconclusive for what cannot be judged."""
    from efficiency_cli.reports.verdict_words import signed_percent

    failed, unknown = 0, []
    for tolerance in tolerances:
        total = found.total(tolerance.name)
        exceeded = tolerance.exceeded(total) if total else None
        if exceeded is None or total is None or total.before is None or total.after is None:
            unknown.append(f"{tolerance.name} is not known of both")
        elif exceeded:
            failed += 1
            worse = total.worse or 0.0
            change = signed_percent(-worse if total.gauge.more_is_better else worse)
            sides = f"{total.gauge.shown(total.before)} before, {total.gauge.shown(total.after)} after"
            say(f"FAIL: {tolerance.name}: {sides}: {change}; {tolerance.text} is allowed")
    if unknown:
        raise Inconclusive(
            f"inconclusive: {len(unknown)} of {len(tolerances)} limits could not be judged",
            where=unknown,
            hint="name a machine: --hw ID; list them: effcli hw list",
        )
    return ExitCode.FINDING if failed else ExitCode.OK
