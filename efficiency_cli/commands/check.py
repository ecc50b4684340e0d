"""`effcli check`: estimates held against budgets and a baseline; the gate of a CI."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

from efficiency_cli.commands import options, values
from efficiency_cli.commands.gate.setting import Setting
from efficiency_cli.commands.options import CountingOptions, HardwareOptions, ModelOptions, PhaseOptions
from efficiency_cli.commands.output import OutputOptions, check_writable, say, write_file
from efficiency_cli.errors import EffcliError, ExitCode, Inconclusive, UsageError

if TYPE_CHECKING:
    from efficiency_cli.commands.gate.jobs import Gate
    from efficiency_cli.judge.snapshot import Snapshot
    from efficiency_cli.judge.verdict import Verdict

# the words of `judge.gauge`, which is not imported for a help text; a test compares them
ON = ("bound", "lower", "expected", "upper")
HEADROOM = 0.1
# failures and errors told on standard error: standard output has all
_MOST_TOLD = 10


class _Limit(values.Value):
    """METRIC=LIMIT -> Budget."""

    name = "METRIC=LIMIT"

    def __init__(self, option: str) -> None:
        self.option = option

    def parse(self, text: str) -> object:
        from efficiency_cli.judge.budget import parse_budget

        return parse_budget(text, "min" if self.option == "--min" else "max", self.option)

    def candidates(self, ctx: click.Context) -> Iterable[str]:  # noqa: ARG002
        from efficiency_cli.judge.gauge import NAMES

        return [f"{name}=" for name in NAMES]


class _Headroom(values.Value):
    """10% -> 0.1."""

    name = "PERCENT"

    def parse(self, text: str) -> float:
        from efficiency_cli import quantity

        try:
            fraction = quantity.parse(text, "fraction")
        except ValueError:
            fraction = -1.0
        if fraction < 0 or "%" not in text:
            raise ValueError(f"'{values.short(text)}' is not a percentage\nas in: --headroom 10%")
        return fraction


config_options = [
    options.option(
        "-c", "--config", type=values.File(), metavar="FILE", help="The config; else the nearest effcli.yaml."
    ),
    options.option("--no-config", is_flag=True, help="Without any config."),
]


@click.command()
@click.argument("models", nargs=-1, type=values.File(), metavar="[MODEL]...")
@options.option(
    "--max",
    "most",
    type=_Limit("--max"),
    multiple=True,
    help="A metric's most, as in latency=15ms. Repeatable.",
)
@options.option(
    "--min", "least", type=_Limit("--min"), multiple=True, help="A metric's least, as in throughput=60/s. Repeatable."
)
@options.option("--on", type=values.OneOf(*ON), help="Judge this of the interval; expected unless given.")
@options.option("--baseline", type=values.File(), metavar="FILE", help="Estimates that were accepted.")
@options.option("--update-baseline", is_flag=True, help="Accept the estimates: write them to the baseline.")
@options.option("--init", is_flag=True, help="Write a first effcli.yaml with the estimates of MODEL and headroom.")
@options.option("--headroom", type=_Headroom(), help="For --init: between estimate and limit; 10% unless given.")
@options.option("--exit-zero", is_flag=True, help="Exit with 0 where a budget is exceeded.")
@config_options[0]
@config_options[1]
@options.model
@options.choosing
@options.phase
@options.hardware
@options.strict
@options.plain_output
def command(
    models: Sequence[str],
    most: Sequence[object],
    least: Sequence[object],
    on: str | None,
    baseline: str | None,
    update_baseline: bool,
    init: bool,
    headroom: float | None,
    exit_zero: bool,
    config: str | None,
    no_config: bool,
    sizes: ModelOptions,
    counting: CountingOptions,
    phase: PhaseOptions,
    hardware: HardwareOptions,
    strict: bool,
    output: OutputOptions,
) -> int:
    """Judge models against budgets and a baseline.

    Budgets are in effcli.yaml (effcli help config), or given with --max and --min. Exits with 1 when
    one is exceeded, and with 3 when one cannot be judged. See: effcli help checking.

    \b
    effcli check                                          all models of the effcli.yaml
    effcli check model.onnx --hw cortex-m7 --max latency=15ms --max peak_ram=256KiB
    effcli check --update-baseline                        accept the estimates of today
    effcli check -f table -f junit:effcli.xml -f markdown:"$GITHUB_STEP_SUMMARY"
    effcli check --init model.onnx --hw cortex-m7         write a first effcli.yaml
    """
    from efficiency_cli.commands.gate.jobs import Gate
    from efficiency_cli.reports.verdict import formats, text_of

    setting = Setting(sizes, counting, phase, hardware)
    gate = Gate(
        models=tuple(models),
        limits=(*most, *least),  # type: ignore[arg-type]  # click knows no types
        on=on or "",
        setting=setting,
        strict=strict,
    )
    targets = output.checked(formats, inputs=[*models, *hardware.hw])
    if init:
        return _init(gate, config, headroom, output)
    if headroom is not None:
        raise UsageError("--headroom is for --init", hint="write a first config: effcli check --init MODEL --hw ID")
    found = gate.read(config, no_config, baseline, update_baseline)
    if update_baseline:
        check_writable(found.baseline_path, inputs=models)
    verdict = found.verdict(quiet=output.quiet)
    output.write(targets, lambda t: text_of(t.format, verdict, output.view(t)))
    output.notes(_notes(verdict))
    if update_baseline:
        _update(found, verdict, output)
    return _ended(verdict, exit_zero)


def _notes(verdict: Verdict) -> Iterable[str]:
    for result in verdict.results:
        yield from result.notes
        if result.snapshot is not None:
            yield from result.snapshot.assumptions


def _update(gate: Gate, verdict: Verdict, output: OutputOptions) -> None:
    """Writes the baseline, unless something could not be estimated: it would be missing from it."""
    from efficiency_cli.judge.baseline import updated
    from efficiency_cli.reports.baseline import baseline_text

    shots: list[Snapshot] = [r.snapshot for r in verdict.results if r.snapshot is not None]
    if any(r.error is not None for r in verdict.results):
        output.notes([f"{gate.baseline_path} is left as it is: not everything could be estimated"])
        return
    old = gate.baseline.entries if gate.baseline else ()
    entries = updated(old, shots, gate.baseline_path, keep=bool(gate.models))
    write_file(gate.baseline_path, baseline_text(entries))
    output.notes([f"wrote {gate.baseline_path}: {len(entries):,} estimate{'s'[: len(entries) != 1]}"])


def _ended(verdict: Verdict, exit_zero: bool) -> int:
    """The exit code, with what it is for on standard error. Raises what ends in 2 and 3."""
    from efficiency_cli.reports.verdict_words import sentence

    failed = [(r, f) for r in verdict.results for f in r.findings if f.status == "fail"]
    for result, finding in failed[:_MOST_TOLD]:
        machine = f" on {result.machine}" if result.machine else ""
        say(f"FAIL: {result.path}{machine}: {sentence(finding)}")
    if len(failed) > _MOST_TOLD:
        say(f"FAIL: and {len(failed) - _MOST_TOLD:,} more")
    errors = [r.error for r in verdict.results if r.error is not None]
    if verdict.code == ExitCode.ERROR:
        raise _joined([e for e in errors if e.exit_code == ExitCode.ERROR] or errors)
    if verdict.code == ExitCode.INCONCLUSIVE:
        raise _inconclusive(verdict, errors)
    return ExitCode.OK if exit_zero else verdict.code


def _joined(errors: Sequence[EffcliError]) -> EffcliError:
    """One error as it is; several as one."""
    if len(errors) == 1:
        return errors[0]
    where = [line for e in errors[:_MOST_TOLD] for line in (e.what, *(f"  {place}" for place in e.where[:1]))]
    more = [f"and {len(errors) - _MOST_TOLD:,} more"] if len(errors) > _MOST_TOLD else []
    return EffcliError(f"{len(errors):,} models could not be checked", where=[*where, *more], hint=errors[0].hint)


def _inconclusive(verdict: Verdict, errors: Sequence[EffcliError]) -> EffcliError:
    """Everything that could not be judged, in one error."""
    unjudged = list(_unjudged(verdict))
    if not unjudged and len(errors) == 1:
        return errors[0]
    told = [*(f"{': '.join(e.where[:1])}: {e.what}".lstrip(": ") for e in errors), *unjudged]
    more = [f"and {len(told) - _MOST_TOLD:,} more"] if len(told) > _MOST_TOLD else []
    what = f"inconclusive: {len(told):,} of what was to be judged could not be"
    hint = _how_to_judge(verdict) if unjudged else errors[0].hint
    return Inconclusive(what, where=[*told[:_MOST_TOLD], *more], hint=hint)


def _unjudged(verdict: Verdict) -> Iterable[str]:
    for result in verdict.results:
        machine = f" on {result.machine}" if result.machine else ""
        for finding in result.findings:
            if finding.inconclusive:
                yield f"{result.path}{machine}: {finding.budget.name}: {finding.skipped}"
        for gap in result.gaps:
            yield f"{result.path}{machine}: {gap}"


def _how_to_judge(verdict: Verdict) -> str:
    if any(f.inconclusive and f.budget.relative for f in verdict.findings):
        return "write the baseline, and commit it: effcli check --update-baseline"
    if any(r.gaps for r in verdict.results):
        return "give rules for operators: --ops FILE; sizes: --dim NAME=N; or leave out --strict"
    machines = [r.machine for r in verdict.results if any(f.inconclusive for f in r.findings)]
    if machines and all(machines):
        return f"leave it out, or write a profile that has it: effcli hw new my-board --from {machines[0]}"
    return "name a machine: --hw ID, or hardware: ID in the config; list them: effcli hw list"


def _init(gate: Gate, config: str | None, headroom: float | None, output: OutputOptions) -> int:
    """Writes a first config."""
    import os

    from efficiency_cli.config.file import NAME
    from efficiency_cli.config.template import config_text

    path = config or NAME
    if os.path.exists(path):
        raise UsageError(f"{path} is there already", hint="check against it: effcli check; or write another: -c FILE")
    check_writable(path, inputs=gate.models)
    shots = gate.shots_for_init()
    room = HEADROOM if headroom is None else headroom
    text, count = config_text(shots, gate.limits, path, room)
    write_file(path, text)
    output.notes([f"wrote {path}: {count} budgets with {room:.0%} headroom; next: effcli check"])
    return ExitCode.OK
