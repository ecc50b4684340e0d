"""`effcli measure`: run networks on this machine and set the estimate beside what it took."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from efficiency_cli.commands import options, values
from efficiency_cli.commands.options import HardwareOptions, ModelOptions
from efficiency_cli.commands.output import OutputOptions, say
from efficiency_cli.commands.progress import Progress
from efficiency_cli.commands.values import STDOUT, Target
from efficiency_cli.errors import EffcliError, ExitCode, UsageError

if TYPE_CHECKING:
    from efficiency_cli.hardware.profile import Profile
    from efficiency_cli.measure.host.measurement import How, Measured, Measurement


class _Warmup(values.Value):
    """A whole number, 0 as well."""

    name = "N"

    def parse(self, text: str) -> int:
        if not text.isdecimal() or len(text) > 9:
            raise ValueError(f"'{values.short(text)}' is not a whole number\nas in: --warmup 3")
        return int(text)


@click.command()
@click.argument("models", metavar="MODEL...", type=values.File(), nargs=-1, required=True)
@options.stored_model
@options.option(
    "--provider", metavar="NAME", help="onnxruntime's execution provider, as in cpu or cuda; cpu if not given."
)
@options.option("--threads", type=values.Size("--threads 1"), help="Threads of one run; one a core if not given.")
@options.option("--runs", type=values.Size("--runs 100"), help="How many runs; until the median is known if not given.")
@options.option("--warmup", type=_Warmup(), help="First runs to leave out; found from the times if not given.")
@options.option(
    "--random-weights", is_flag=True, help="Invent the weights that are not there: they do not change the time."
)
@options.option("--no-kernels", is_flag=True, help="Only whole networks: no second run under the profiler.")
@options.hardware
@options.option("--top", type=values.Top(), help="How many kernels; 5 unless given, in tables for reading.")
@options.plain_output
def command(
    models: Sequence[str],
    sizes: ModelOptions,
    provider: str | None,
    threads: int | None,
    runs: int | None,
    warmup: int | None,
    random_weights: bool,
    no_kernels: bool,
    hardware: HardwareOptions,
    top: int | None,
    output: OutputOptions,
) -> int:
    """Run models here; set the estimate beside the time.

    The time of a MODEL on this machine with onnxruntime, in all and by kernel, and where an estimate for
    --hw is furthest off. The JSON is a table of measurements that validate and calibrate read. Ctrl-C keeps
    what was measured.

    \b
    effcli measure model.onnx --threads 1 --hw ./this-machine.yaml
    effcli measure model.onnx --random-weights --dim sequence=128
    effcli measure models/*.onnx --no-kernels -f json:runs.json
    """
    from efficiency_cli.measure.host.machine import this_machine
    from efficiency_cli.measure.host.measurement import How, notes_of
    from efficiency_cli.measure.host.session import Settings, library, provider_named
    from efficiency_cli.measure.host.timing import Wanted
    from efficiency_cli.reports.measurement import formats, text_of

    library()
    output = output._replace(top=top)
    targets = output.checked(formats, inputs=[*models, *hardware.hw])
    how = How(
        settings=Settings(provider=provider_named(provider), threads=threads or 0),
        wanted=Wanted(runs, warmup),
        random_weights=random_weights,
        kernels=not no_kernels,
    )
    host = this_machine()
    measured = _measured(models, sizes, how, _machine(hardware), hardware, output)
    if measured.results:
        output.write(targets, lambda t: text_of(t.format, measured, host, output.view(t), _folder(t)))
    many = len(measured.results) > 1
    notes = ((m.model.path, note) for m in measured.results for note in notes_of(m))
    output.notes(f"{path}: {note}" if many else note for path, note in notes)
    return _exit_code(measured)


def _machine(hardware: HardwareOptions) -> Profile | None:
    found = hardware.profiles()
    if len(found) > 1:
        names = ", ".join(p.id for p in found)
        raise UsageError(f"{len(found)} machines are named: {names}", hint="this is one machine: name one --hw ID")
    return found[0] if found else None


def _folder(target: Target) -> str | None:
    return None if target.path == STDOUT else os.path.dirname(target.path) or os.curdir


def _measured(
    models: Sequence[str],
    sizes: ModelOptions,
    how: How,
    machine: Profile | None,
    hardware: HardwareOptions,
    output: OutputOptions,
) -> Measured:
    """All of `models`. One that cannot be measured ends a run of one, and is told in a run of several."""
    from efficiency_cli.measure.host.measurement import Measured

    results: list[Measurement] = []
    failed: list[tuple[str, str]] = []
    left = len(models)
    for path in models:
        left -= 1
        try:
            results.append(_measure(path, sizes, how, machine, hardware, output))
        except EffcliError as error:
            if len(models) == 1:
                raise
            failed.append((path, ": ".join([error.what, *error.where])))
        except KeyboardInterrupt:
            if not results:
                raise
            left += 1
            break
        if results and results[-1].timed.interrupted:
            break
    return Measured(tuple(results), tuple(failed), left)


def _measure(
    path: str,
    sizes: ModelOptions,
    how: How,
    machine: Profile | None,
    hardware: HardwareOptions,
    output: OutputOptions,
) -> Measurement:
    from msgspec.structs import replace

    from efficiency_cli.measure.host.machine import this_machine
    from efficiency_cli.measure.host.measurement import measure
    from efficiency_cli.roofline.estimate import estimate

    if path == "-":
        raise UsageError("a model to measure is read more than once", hint="name its file instead of -")
    model = sizes.read(path)
    beside = estimate(model, machine, runtime=hardware.runtime, overlap=hardware.overlap)
    with Progress("measuring", quiet=output.quiet) as progress:

        def told(what: str, done: int, of: int) -> None:
            progress.what = what
            progress(done, of)

        found = measure(model, this_machine(), how, told)
    return replace(found, estimate=beside)


def _exit_code(measured: Measured) -> int:
    """Raises UsageError with the models that were not measured, after the others were written."""
    if measured.interrupted:
        say("error: interrupted: what was measured is kept")
        return ExitCode.INTERRUPTED
    if measured.failed:
        many = len(measured.failed) + len(measured.results)
        where = [reason for _, reason in measured.failed]
        hint = f"measure one alone to see more: effcli measure {measured.failed[0][0]}"
        raise UsageError(f"{len(where):,} of {many:,} models were not measured", where=where, hint=hint)
    return ExitCode.OK
