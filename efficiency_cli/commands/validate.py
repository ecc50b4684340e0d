"""`effcli validate`: estimates beside measurements, and how far off they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from efficiency_cli.commands import options, values
from efficiency_cli.commands.options import HardwareOptions
from efficiency_cli.commands.output import OutputOptions, say
from efficiency_cli.commands.progress import Progress
from efficiency_cli.errors import ExitCode, Inconclusive, UsageError, did_you_mean

if TYPE_CHECKING:
    from efficiency_cli.measure.validate import Validation

# the words of `measure.validate`, which is not imported for a help text; a test compares them
GROUPS = ("device", "runtime", "family", "hardware", "core", "product", "version", "precision", "model")
DEFAULT_GROUPS = ("runtime",)
# with -v
MORE_GROUPS = ("device", "family")
JOINT = "+"
# what can be left out of a fit, and how near that stays to the profiles
HELD_OUT = ("family",)
PRIORS = ("shipped", "free")
# reasons named in an error
_MOST_NAMED = 5


class ModelsFolder(values.Folder):
    def parse(self, text: str) -> str:
        if not Path(text).is_dir():
            raise ValueError(
                f"'{values.short(text)}' is not a folder\ngive the folder of the models that the table names"
            )
        return text


class _Groups(values.Value):
    """A column, or several joined: product, product+core."""

    name = "COLUMN[+COLUMN]"

    def parse(self, text: str) -> str:
        parts = text.lower().split(JOINT)
        for part in parts:
            if part not in GROUPS:
                close = "" if "," in part else did_you_mean(part, GROUPS)
                hint = close or "joined: --by product+core; a table each: --by product --by core"
                raise ValueError(f"'{values.short(part)}' is not one of {', '.join(GROUPS)}\n{hint}")
        return JOINT.join(dict.fromkeys(parts))

    def candidates(self, ctx: click.Context) -> Iterable[str]:  # noqa: ARG002
        return GROUPS


class _Percent(values.Value):
    """15% or 0.15 -> 0.15."""

    name = "PERCENT"

    def parse(self, text: str) -> float:
        from efficiency_cli import quantity

        try:
            fraction = quantity.parse(text, "fraction")
        except ValueError:
            fraction = -1.0
        if fraction < 0 or (fraction > 1 and "%" not in text):
            close = f"did you mean '{text}%'? " if re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,4})?", text) else ""
            raise ValueError(f"'{values.short(text)}' is not a percentage\n{close}as in: --max-error 15%")
        return fraction


@click.command()
@click.argument("runs", type=values.File())
@options.option(
    "--models", type=ModelsFolder(), help="Where the models are, if not beside the table or in its models/."
)
@options.hardware
@options.option(
    "--by",
    type=_Groups(),
    multiple=True,
    help=f"Tables of errors by {', '.join(GROUPS)}, or several joined by +. Repeatable; runtime unless given.",
)
@options.option(
    "--hold-out",
    type=values.OneOf(*HELD_OUT),
    help="Estimates of fits to all other families of networks, not the profiles' own.",
)
@options.option(
    "--prior",
    type=values.OneOf(*PRIORS),
    help="For --hold-out, how near to the profiles' own ratios: free (the default) says next to nothing of them.",
)
@options.option("--max-error", type=_Percent(), help="Exit with 1 when the mean error is larger, as in 15%.")
@options.top
@options.plain_output
def command(
    runs: str,
    models: str | None,
    hardware: HardwareOptions,
    by: Sequence[str],
    hold_out: str | None,
    prior: str | None,
    max_error: float | None,
    top: int | None,
    output: OutputOptions,
) -> int:
    """Set estimates beside measurements: error, rank, interval.

    RUNS is a table of measurements, CSV or JSON (effcli help validation). Each row's machine and runtime
    are found by its device or core, runtime and version, or are those of --hw and --runtime; a row
    without a machine is told with the reason.

    \b
    effcli validate runs.csv
    effcli validate runs.csv --by product+core --by family --top 20
    effcli validate runs.csv --hw ./my-board.yaml --max-error 15%
    effcli validate runs.csv --hold-out family --by product
    effcli validate runs.csv -f markdown:accuracy.md -f json:accuracy.json
    """
    from efficiency_cli.reports.validation import formats, notes_of, text_of

    output = output._replace(top=top)
    targets = output.checked(formats, inputs=[runs, *hardware.hw])
    groups = tuple(dict.fromkeys(by)) or (*DEFAULT_GROUPS, *(MORE_GROUPS if output.verbose else ()))
    refit = _refit(hold_out, prior, hardware)
    found = _validation(runs, models, hardware, groups, output, refit)
    output.write(targets, lambda t: text_of(t.format, found, runs, groups, output.view(t)))
    output.notes(notes_of(found))
    return _judged(found, runs, max_error)


def _refit(hold_out: str | None, prior: str | None, hardware: HardwareOptions) -> str | None:
    """The prior of the fits that leave families out; None without any."""
    if hold_out is None:
        if prior is not None:
            raise UsageError("--prior is for fits that leave something out", hint="add: --hold-out family")
        return None
    if hardware.overlap is not None:
        raise UsageError("--overlap does not reach a fit", hint="leave it out, or put it in the profile")
    return prior or "free"


def _validation(
    runs: str,
    models: str | None,
    hardware: HardwareOptions,
    by: Sequence[str],
    output: OutputOptions,
    refit: str | None,
) -> Validation:
    from efficiency_cli.measure.place import place
    from efficiency_cli.measure.runs import read_runs
    from efficiency_cli.measure.validate import validate

    placed, unplaced = place(
        read_runs(runs, models),
        hw=hardware.hw,
        runtime=hardware.runtime,
        hw_dirs=hardware.hw_dirs,
        overrides=hardware.overrides,
    )
    if refit is not None:
        from efficiency_cli.measure.calibrate import left_out

        with Progress("leaving families out", quiet=output.quiet) as progress:
            return left_out(placed, unplaced, free=refit == "free", by=by, progress=progress)
    with Progress("estimating", quiet=output.quiet) as progress:
        return validate(placed, unplaced, by=by, overlap=hardware.overlap, progress=progress)


def _judged(found: Validation, runs: str, max_error: float | None) -> int:
    """The exit code: 1 with a line where the mean error is above the limit. Raises Inconclusive without any row."""
    from efficiency_cli.quantity import format_percent
    from efficiency_cli.reports.validation import reasons_of

    if found.overall is None:
        reasons = reasons_of(found)
        more = [f"and {len(reasons) - _MOST_NAMED} more reasons"] if len(reasons) > _MOST_NAMED else []
        modelless = all(one.run.path is None for one in found.unplaced)
        machine = "name the machine and the runtime of all rows: --hw ID --runtime NAME"
        raise Inconclusive(
            f"no measurement in {runs} has an estimate",
            where=[*(f"{n:,}: {reason}" for n, reason in reasons[:_MOST_NAMED]), *more],
            hint="say where the models are: --models DIR" if modelless else machine,
        )
    if max_error is None or found.overall.mape <= max_error:
        return ExitCode.OK
    mean, limit = format_percent(found.overall.mape), format_percent(max_error)
    say(f"FAIL: the mean error of {found.overall.n:,} measurements is {mean}, above --max-error {limit}")
    return ExitCode.FINDING
