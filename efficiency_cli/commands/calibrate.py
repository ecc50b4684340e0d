"""`effcli calibrate`: a profile fitted to measurements, and how far off it is on networks it has not seen."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from efficiency_cli.commands import options, values
from efficiency_cli.commands.declare import gathered
from efficiency_cli.commands.options import ModelOptions
from efficiency_cli.commands.output import OutputOptions, check_writable, write_file
from efficiency_cli.commands.progress import Progress
from efficiency_cli.commands.this_machine import HOST_OPTIONS, HostOptions, calibrate_this_machine
from efficiency_cli.commands.validate import PRIORS, ModelsFolder
from efficiency_cli.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from efficiency_cli.hardware.profile import Profile
    from efficiency_cli.measure.calibrate import Calibration
    from efficiency_cli.measure.place import Placed, Unplaced
    from efficiency_cli.measure.runs import Run

# the only setting that a measurement, not a machine, may have of its own
_SETTABLE = "clock"
# digits of a file's hash that the profile keeps, and reasons named in an error
_HASH_DIGITS = 12
_MOST_NAMED = 5


class _Measured(values.Value):
    """MODEL=TIME -> (path, seconds, the time as written)."""

    name = "MODEL=TIME"
    # a path may hold a comma
    envvar_list_splitter = "\n"

    def parse(self, text: str) -> tuple[str, float, str]:
        from efficiency_cli import quantity
        from efficiency_cli.measure.runs import implausible

        path, equals, time = text.rpartition("=")
        if not equals or not path.strip():
            raise ValueError(f"'{values.short(text)}' is not MODEL=TIME\nas in: --measured model.onnx=12.3ms")
        try:
            seconds = quantity.parse(time.strip(), "time")
        except ValueError as error:
            raise ValueError(f"{error}\nas in: --measured model.onnx=12.3ms") from None
        if not 0 < seconds < math.inf:
            raise ValueError(f"'{values.short(time)}' is not above 0\nas in: --measured model.onnx=12.3ms")
        if implausible(seconds):
            raise ValueError(f"{implausible(seconds)}\nas in: --measured model.onnx=12.3ms")
        return path.strip(), seconds, time.strip()


class _Machines(NamedTuple):
    """Which machines, as what."""

    hw: Sequence[str]
    runtime: str | None
    hw_dirs: Sequence[str]
    overrides: Sequence[str]


class _Target(NamedTuple):
    """Where the profile goes, and under which name; `path` None writes nothing."""

    path: str | None
    name: str | None
    force: bool

    def files(self, machines: Sequence[Profile]) -> dict[str, str]:
        """The file to write for each of `machines`, by the profile's path. Raises UsageError before any work."""
        if self.path is None:
            return {}
        from efficiency_cli.measure.profile_text import check_place

        folder = Path(self.path).is_dir() or self.path.endswith(("/", "\\"))
        if len(machines) > 1 and (not folder or self.name is not None):
            ids = ", ".join(m.id for m in machines[:_MOST_NAMED])
            what = f"these measurements are of {len(machines)} machines: {ids}"
            hint = f"name a folder, for a file each: -o {Path(self.path).with_suffix('')}/; or one machine: --hw ID"
            raise UsageError(what, hint="leave out --name" if folder else hint)
        found: dict[str, str] = {}
        for machine in machines:
            path = str(Path(self.path) / f"{machine.id}-calibrated.yaml") if folder else self.path
            if path in found.values():
                raise UsageError(f"two machines are called '{machine.id}'", hint="calibrate one at a time: --hw PATH")
            found[machine.path] = path
            check_writable(path)
            check_place(Path(path), machine)
            if Path(path).exists() and not self.force:
                raise UsageError(f"{path} exists", hint="choose another: -o PATH, or overwrite it: --force")
        return found


@click.command()
@options.option("--runs", "tables", type=values.File(), multiple=True, help="A table of measurements. Repeatable.")
@options.option("--measured", type=_Measured(), multiple=True, help="One measurement, on --hw. Repeatable.")
@options.option("--models", type=ModelsFolder(), help="Where the models of --runs are, if not beside it or in models/.")
@gathered(
    "machines",
    _Machines,
    [
        options.option(
            "--hw",
            type=values.Hardware(),
            multiple=True,
            help="Machine of all measurements; several: those to choose from by device and core.",
        ),
        options.option("--runtime", type=values.Runtime(), help="Software stack of all measurements."),
        options.hw_dirs,
        options.option(
            "--set",
            "overrides",
            type=values.Setting(),
            multiple=True,
            help="clock=216MHz: the clock of the measurements that do not say.",
        ),
    ],
)
@options.stored_model
@options.option(
    "--prior",
    type=values.OneOf(*PRIORS),
    default="shipped",
    show_default=True,
    help="How near to the profile's own ratios: free says next to nothing of them.",
)
@gathered(
    "target",
    _Target,
    [
        options.option("-o", "--output", "path", type=values.File(), help="The profile's file; several: a folder."),
        options.option("--name", help="What the profile calls itself."),
        options.option("--force", is_flag=True, help="Overwrite the file."),
    ],
)
@gathered("this_machine", HostOptions, HOST_OPTIONS)
@options.option("--top", type=values.Top(), help="How many rows; 5 unless given, in tables for reading.")
@options.plain_output
def command(
    tables: Sequence[str],
    measured: Sequence[tuple[str, float, str]],
    models: str | None,
    machines: _Machines,
    sizes: ModelOptions,
    prior: str,
    target: _Target,
    this_machine: HostOptions,
    top: int | None,
    output: OutputOptions,
) -> int:
    """Fit a profile to measurements.

    One measurement moves the scale of a runtime's times; more families of networks tell the costs of
    depthwise work, of bytes, of kernels apart. What they cannot tell stays as it is. The errors told
    are of families left out of the fit (effcli help calibration).

    \b
    effcli calibrate --hw cortex-m7 --measured net.onnx=12.3ms -o my-board.yaml
    effcli calibrate --hw cortex-m7 --runs runs.csv -o my-board.yaml
    effcli analyze net.onnx --hw ./my-board.yaml
    effcli calibrate --host -o this-machine.yaml    measures this machine itself
    """
    from efficiency_cli.measure.calibrate import calibrate
    from efficiency_cli.reports.calibration import formats, notes_of, text_of
    from efficiency_cli.reports.validation import notes_of as assumptions_of

    output = output._replace(top=top)
    if this_machine.host:
        given = {"--runs": tables, "--measured": measured, "--hw": machines.hw, "--runtime": machines.runtime}
        this_machine.check([*(name for name, value in given.items() if value), *(["--name"] if target.name else [])])
        return calibrate_this_machine(this_machine, target.path, target.force, sizes, output)
    this_machine.check_absent()
    targets = output.checked(formats, inputs=[*tables, *(path for path, *_ in measured), *machines.hw])
    runs = _runs(tables, measured, models, machines, sizes)
    placed, unplaced = _placed(runs, machines, keeping=target.path is not None)
    profiles = list({p.profile.path: p.profile for p in placed}.values())
    files = target.files(profiles)
    with Progress("leaving families out", quiet=output.quiet) as progress:
        found = calibrate(placed, unplaced, free=prior == "free", progress=progress)
    named = [*tables, *(f"{path}={time}" for path, _, time in measured)]
    _write(found, files, _source(found, tables, len(measured), prior), target.name)
    output.write(targets, lambda t: text_of(t.format, found, named, files, output.view(t)))
    output.notes([*notes_of(found), *assumptions_of(found.before)])
    return ExitCode.OK


def _runs(
    tables: Sequence[str],
    measured: Sequence[tuple[str, float, str]],
    models: str | None,
    machines: _Machines,
    sizes: ModelOptions,
) -> list[Run]:
    """All measurements. Raises UsageError without any."""
    from efficiency_cli.measure.runs import read_runs

    if not tables and not measured:
        hint = "give some: --runs runs.csv, or --measured model.onnx=12.3ms"
        raise UsageError("there is nothing to calibrate to", hint=hint)
    if measured and not machines.hw:
        raise UsageError("--measured needs a machine", hint="name one: --hw ID; list them: effcli hw list")
    if not measured and (sizes.dims or sizes.shapes or sizes.batch is not None):
        hint = "write them in the table's column dims; see: effcli help validation"
        raise UsageError("--dim, --shape and --batch are for models of --measured", hint=hint)
    runs = [run for table in tables for run in read_runs(table, models)]
    return runs + [_run(path, seconds, time, sizes) for path, seconds, time in measured]


def _run(path: str, seconds: float, time: str, sizes: ModelOptions) -> Run:
    from efficiency_cli.measure.runs import Run, stem

    graph = sizes.read(path).graph
    shapes = {name: graph.tensors[name].shape or () for name in graph.inputs}
    axes = {f"{name}[{axis}]": size for name, shape in shapes.items() for axis, size in enumerate(shape)}
    given = bool(sizes.shapes) or sizes.batch is not None
    return Run(
        place=f"--measured {path}={time}",
        onnx=path,
        path=path,
        family=stem(path),
        device="",
        core="",
        clock_hz=None,
        runtime="",
        version="",
        precision="",
        measured_s=seconds,
        dims=axes if given else dict(sizes.dims),
    )


def _placed(runs: Sequence[Run], machines: _Machines, *, keeping: bool) -> tuple[list[Placed], list[Unplaced]]:
    """The runs on their machines. Raises UsageError where none has one, and for what a profile would not keep."""
    from efficiency_cli.measure.place import place

    other = [text for text in machines.overrides if text.partition("=")[0].strip() != _SETTABLE]
    if other and keeping:
        what = f"--set {values.short(other[0])}: the profile that is written would not have it"
        raise UsageError(what, hint="write it in a profile of your own first: effcli hw new my-board --from ID")
    placed, unplaced = place(
        runs, hw=machines.hw, runtime=machines.runtime, hw_dirs=machines.hw_dirs, overrides=machines.overrides
    )
    if not placed:
        reasons = list(dict.fromkeys(u.reason for u in unplaced))
        hint = "name the machine and the runtime of all rows: --hw ID --runtime NAME"
        raise UsageError("no measurement has a machine", where=reasons[:_MOST_NAMED], hint=hint)
    return placed, unplaced


def _source(found: Calibration, tables: Sequence[str], measured: int, prior: str) -> str:
    """What the profile's numbers rest on, without paths or times: the same measurements give the same bytes."""
    runs = [r.placed.run for r in found.before.results]
    told = [
        f"{Path(t).name} (sha256 {_hash(t)}, {_counted(sum(r.place.startswith(f'{t}:') for r in runs), 'row')})"
        for t in tables
    ]
    told += [f"--measured ({measured})"] if measured else []
    models = len({r.path for r in runs})
    extent = f"{_counted(len(runs), 'measurement')} of {_counted(models, 'model')}"
    extent += f" in {_counted(len(found.families), 'family', 'families')}"
    whole = found.unseen.overall
    error = f"families left out one at a time: mean error {whole.mape:.1%}" if whole else "no family could be left out"
    return f"effcli calibrate --prior {prior} over {', '.join(told)}: {extent}; {error}"


def _counted(n: int, one: str, many: str = "") -> str:
    return f"{n} {one if n == 1 else many or f'{one}s'}"


def _hash(table: str) -> str:
    return hashlib.sha256(Path(table).read_bytes()).hexdigest()[:_HASH_DIGITS]


def _write(found: Calibration, files: Mapping[str, str], source: str, name: str | None) -> None:
    """All profiles, or none where one cannot be made."""
    from efficiency_cli.measure.profile_text import profile_text

    texts = {
        path: profile_text(Path(path), [one for one in found.fitted if one.profile.path == of], source, name or "")
        for of, path in files.items()
        if any(one.profile.path == of for one in found.fitted)
    }
    for path, text in texts.items():
        write_file(path, text)
