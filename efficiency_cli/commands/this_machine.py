"""`effcli calibrate --host`: the profile of the machine that this runs on, from a micro-benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from efficiency_cli.commands import options, values
from efficiency_cli.commands.options import ModelOptions
from efficiency_cli.commands.output import OutputOptions, check_writable, write_file
from efficiency_cli.commands.progress import Progress
from efficiency_cli.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from efficiency_cli.measure.host.calibrate_host import Anchor
    from efficiency_cli.measure.host.kept import Kept
    from efficiency_cli.measure.host.levels import Level
    from efficiency_cli.measure.host.machine import Host


class HostOptions(NamedTuple):
    """What a calibration of this machine is asked for."""

    host: bool
    quick: bool
    threads: int | None
    anchors: Sequence[str]

    def check(self, others: Sequence[str]) -> None:
        """Raises UsageError for options of a fit to somebody's measurements."""
        if others:
            what = f"--host measures by itself: {', '.join(others)} cannot be given as well"
            raise UsageError(what, hint="leave it out, or leave out --host")

    def check_absent(self) -> None:
        """Raises UsageError for options that have a meaning with --host only."""
        given = {"--quick": self.quick, "--threads": self.threads, "--anchor": self.anchors}
        alone = [name for name, value in given.items() if value]
        if alone:
            raise UsageError(f"{', '.join(alone)} can be given with --host only", hint="effcli help calibration")


HOST_OPTIONS = [
    options.option("--host", is_flag=True, help="Calibrate this machine itself, with a micro-benchmark of minutes."),
    options.option("--quick", is_flag=True, help="With --host: under a minute, with a wider interval."),
    options.option("--threads", type=values.Size("--threads 1"), help="Threads of one run; one a core if not given."),
    options.option(
        "--anchor",
        "anchors",
        type=values.File(),
        multiple=True,
        help="With --host: a whole network that is run as well and moves the scale of all times. Repeatable.",
    ),
]


def calibrate_this_machine(
    asked: HostOptions, path: str | None, force: bool, sizes: ModelOptions, output: OutputOptions
) -> int:
    """Runs the micro-benchmark, fits, writes the profile and says how good it is.

    Ctrl-C keeps the timings so far beside the profile; the same command goes on with them.
    """
    from efficiency_cli.measure.host.calibrate_host import fit_machine
    from efficiency_cli.measure.host.host_profile import About
    from efficiency_cli.measure.host.kept import Kept
    from efficiency_cli.measure.host.machine import this_machine
    from efficiency_cli.measure.host.session import library
    from efficiency_cli.reports.host_calibration import formats, text_of

    library()
    host = this_machine()
    file = _file(path, host, force)
    targets = output.checked(formats, inputs=list(asked.anchors))
    threads = asked.threads or host.cores
    kept = Kept(str(file), host, threads, asked.quick)
    try:
        levels = _timed(kept, host, threads, asked.quick, output)
        anchors = [_anchor(model, sizes, threads, output) for model in asked.anchors]
    except KeyboardInterrupt:
        _say_kept(kept, output)
        raise
    about = About(file.stem, host, threads, _bench(asked.quick, len(kept.timings)))
    with Progress("fitting", quiet=output.quiet) as progress:
        progress(0, 1)
        found = fit_machine(about, levels, kept.timings, file, anchors)
    write_file(str(file), found.text)
    kept.remove()
    output.write(targets, lambda t: text_of(t.format, about, found, str(file), output.view(t)))
    output.notes([f"use it: effcli analyze MODEL --hw ./{file}" if not file.is_absolute() else f"use it: --hw {file}"])
    return ExitCode.OK


def _file(path: str | None, host: Host, force: bool) -> Path:
    """Where the profile goes: -o, or named after the processor in this folder. Raises UsageError where it may not."""
    from efficiency_cli.hardware.build import ID

    file = Path(path or f"{host.slug}.yaml")
    if file.is_dir() or (path or "").endswith(("/", "\\")):
        file = file / f"{host.slug}.yaml"
    if file.suffix not in (".yaml", ".yml") or not ID.fullmatch(file.stem):
        raise UsageError(f"'{file.name}' is no name for a profile", hint="use letters and digits: -o this-machine.yaml")
    check_writable(str(file))
    if file.exists() and not force:
        raise UsageError(f"{file} exists", hint="choose another: -o PATH, or overwrite it: --force")
    return file


def _timed(kept: Kept, host: Host, threads: int, quick: bool, output: OutputOptions) -> list[Level]:
    """The memory levels; all timings are in `kept` afterwards."""
    from efficiency_cli.measure.host.levels import levels
    from efficiency_cli.measure.host.microbench import Bench, bench

    near = next((c.size for c in host.caches if c.level == 2), 0)
    machine = Bench(threads, near)
    if not kept.levels:
        with Progress("measuring memory", quiet=output.quiet) as progress:
            progress(0, 1)
            kept.begin(levels(host, machine.runner, quick))
    with Progress("timing", quiet=output.quiet) as progress:
        bench(machine, quick=quick, done=tuple(kept.timings), keep=kept.keep, progress=progress)
    return kept.levels


def _anchor(path: str, sizes: ModelOptions, threads: int, output: OutputOptions) -> Anchor:
    """A whole network's time here. Weights that are not there are invented."""
    from efficiency_cli.measure.host.calibrate_host import Anchor
    from efficiency_cli.measure.host.machine import this_machine
    from efficiency_cli.measure.host.measurement import How, measure
    from efficiency_cli.measure.host.session import Settings

    how = How(settings=Settings(threads=threads), random_weights=True, kernels=False)
    model = sizes.read(path)
    with Progress(f"measuring {Path(path).name}", quiet=output.quiet) as progress:
        found = measure(model, this_machine(), how, lambda _, done, of: progress(done, of))
    return Anchor(model, found.measured_s)


def _bench(quick: bool, timings: int) -> str:
    return f"effcli calibrate --host{' --quick' if quick else ''}: {timings:,} timings of a micro-benchmark"


def _say_kept(kept: Kept, output: OutputOptions) -> None:
    if kept.timings:
        output.notes([f"{len(kept.timings):,} timings are kept in {kept.path}: the same command goes on with them"])
