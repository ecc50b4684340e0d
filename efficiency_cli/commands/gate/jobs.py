"""What `effcli check` has to judge: models, machines and budgets, from the command line and the config."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from efficiency_cli import __version__
from efficiency_cli.commands.gate.setting import Setting
from efficiency_cli.commands.options import PhaseOptions
from efficiency_cli.commands.progress import Progress
from efficiency_cli.config.file import NAME, ConfigFile, find_config, matching, read_config
from efficiency_cli.errors import EffcliError, Inconclusive, UsageError
from efficiency_cli.judge.baseline import FILE, Baseline, other_profile, read_baseline
from efficiency_cli.judge.budget import Budget
from efficiency_cli.judge.verdict import Result, Verdict, judge

if TYPE_CHECKING:
    from efficiency_cli.config.format import Entry
    from efficiency_cli.judge.snapshot import Snapshot
    from efficiency_cli.roofline.estimate import Estimate

_PASTE = """\
version: 1
hardware: {hardware}
models:
  - path: {path}
    budgets:
      latency: 20 ms        # your limits: none is made up here
      peak_ram: 256 KiB"""


class Job(NamedTuple):
    """One model to estimate and judge; `error` where the config names what there is not."""

    path: str
    setting: Setting
    budgets: tuple[Budget, ...]
    error: EffcliError | None = None


class Gate(NamedTuple):
    """The command line; after `read` with its jobs and the baseline."""

    models: tuple[str, ...]
    limits: tuple[Budget, ...]
    on: str
    setting: Setting
    strict: bool = False
    jobs: tuple[Job, ...] = ()
    config: ConfigFile | None = None
    baseline_path: str = ""
    baseline: Baseline | None = None
    accepting: bool = False

    def read(self, config: str | None, no_config: bool, baseline: str | None, accepting: bool) -> Gate:
        """With the config and the baseline. Raises UsageError and ConfigError; without any budget as well."""
        file = _config_file(config, no_config)
        path = self._baseline_path(file, baseline)
        must_exist = baseline is not None and not accepting
        known = read_baseline(path) if path and (must_exist or os.path.exists(path)) else None
        jobs = tuple(self._jobs(file))
        if not any(job.budgets or job.error for job in jobs) and not accepting:
            raise self._no_budget(file)
        if accepting and not path:
            path = os.path.join(file.folder, FILE) if file else FILE
        return self._replace(jobs=jobs, config=file, baseline_path=path, baseline=known, accepting=accepting)

    def _baseline_path(self, file: ConfigFile | None, given: str | None) -> str:
        if given is not None:
            return given
        return file.resolved(file.config.baseline) if file and file.config.baseline else ""

    # --- jobs ------------------------------------------------------------------------------

    def _jobs(self, file: ConfigFile | None) -> Iterator[Job]:
        if not self.models:
            if file is None:
                raise self._no_budget(None)
            for entry in file.config.models:
                yield from self._of_entry(file, entry)
            return
        paths, missing = _expanded(self.models)
        yield from (Job(name, self.setting, (), error) for name, error in missing)
        entries = matching(file, paths) if file is not None else {}
        for path in paths:
            found = entries.get(path, [])
            for entry in found:
                assert file is not None
                yield self._job(path, file, entry)
            if not found:
                yield self._job(path, file, None)

    def _of_entry(self, file: ConfigFile, entry: Entry) -> Iterator[Job]:
        paths = file.files(entry)
        for path in paths:
            yield self._job(path, file, entry)
        if not paths:
            what = f"'{entry.path.text}' matches nothing"
            error = Inconclusive(what, where=str(entry.path.place), hint="mend the pattern, or remove the entry")
            yield Job(entry.path.text, self.setting, (), error)

    def _job(self, path: str, file: ConfigFile | None, entry: Entry | None) -> Job:
        budgets = self._budgets(entry.budgets if entry else ())
        return Job(path, self._setting(file, entry), budgets)

    def _budgets(self, written: Sequence[Budget]) -> tuple[Budget, ...]:
        """Those of the config, replaced by those of the same name and side on the command line; judged --on."""
        from msgspec import structs

        given = {(b.name, b.side): b for b in self.limits}
        both = [b for b in written if (b.name, b.side) not in given] + list(given.values())
        if not self.on:
            return tuple(both)
        for budget in both:
            known = budget.gauge.intervals
            if known and self.on not in known:
                raise UsageError(f"{budget.gauge.name} has no {self.on}", hint=f"judge it --on {' or '.join(known)}")
        return tuple(structs.replace(b, on=self.on) for b in both)

    def _setting(self, file: ConfigFile | None, entry: Entry | None) -> Setting:
        """The command line's, and where that says nothing the config's."""
        if file is None:
            return self.setting
        config, given = file.config, self.setting
        hw = tuple(given.hardware.hw) or (file.machines(entry) if entry else _default_machines(file))
        runtime = given.hardware.runtime or (entry.runtime if entry else "") or config.runtime or None
        found = given._replace(hardware=given.hardware._replace(hw=hw, runtime=runtime), common=dict(config.dims))
        if entry is None:
            return found
        named = {name for name, _ in given.sizes.dims}
        dims = (*given.sizes.dims, *((n, s) for n, s in entry.dims.items() if n not in named))
        batch = given.sizes.batch if given.sizes.batch is not None else entry.batch
        phase = given.phase if given.phase.phase else PhaseOptions.given(entry.phase or None, entry.context)
        return found._replace(sizes=given.sizes._replace(dims=dims, batch=batch), phase=phase)

    def _no_budget(self, file: ConfigFile | None) -> UsageError:
        model = self.models[0] if self.models else "model.onnx"
        hardware = ",".join(self.setting.hardware.hw) or "cortex-m7"
        what = f"{file.path} has no budget for what is to be judged" if file else f"no budget, and no {NAME} is found"
        where = ["", *_PASTE.format(path=model, hardware=hardware).splitlines(), ""]
        told = [f"paste this into {file.path if file else NAME}, with limits of your own:", *where[1:-1]]
        hint = f"let the estimates of today be written: effcli check --init {model} --hw {hardware}"
        return UsageError(what, where=told, hint=hint)

    # --- judging ---------------------------------------------------------------------------

    def verdict(self, quiet: bool = False) -> Verdict:
        """All jobs, done and judged; what goes wrong with one does not stop the others."""
        results: list[Result] = []
        with Progress("checking", quiet=quiet) as progress:
            for k, job in enumerate(self.jobs):
                progress(k, len(self.jobs))
                results += self._results(job)
        path = self.baseline_path if self.baseline else ""
        return Verdict(tuple(results), self.config.path if self.config else "", path)

    def _results(self, job: Job) -> list[Result]:
        if job.error is not None:
            return [Result(job.path, "", error=job.error)]
        try:
            shots = job.setting.shots(job.path)
        except EffcliError as error:
            return [Result(job.path, "", error=error)]
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            return [Result(job.path, "", error=EffcliError(f"{job.path}: {reason}", hint="check the path"))]
        return [self._result(job, shot, estimate) for shot, estimate in shots]

    def _result(self, job: Job, shot: Snapshot, estimate: Estimate) -> Result:
        before = self.baseline.of(shot) if self.baseline else None
        why_not = self._why_not(shot)
        findings = judge(shot, job.budgets, before, without_baseline=why_not, accepting=self.accepting)
        return Result(
            job.path,
            shot.machine,
            findings,
            shot,
            before,
            gaps=tuple(_gaps(estimate)) if self.strict else (),
            notes=tuple(self._notes(job, shot, before)),
        )

    def _why_not(self, shot: Snapshot) -> str:
        if self.baseline is not None:
            return self.baseline.why_not(shot)
        return f"there is no {self.baseline_path}" if self.baseline_path else "no baseline is named"

    def _notes(self, job: Job, shot: Snapshot, before: Snapshot | None) -> Iterator[str]:
        if before is not None and other_profile(before.hardware, shot.hardware):
            yield f"the profile of {shot.machine} has changed since the baseline: a change need not be the model's"
        if self.baseline is not None and self.baseline.version not in ("", __version__):
            yield (
                f"the baseline is of effcli {self.baseline.version}, this is {__version__}: a change need not be the "
                "model's"
            )
        named = {b.name for b in job.budgets}
        for budget in job.budgets:
            if budget.relative and budget.gauge.name not in named:
                yield f"{budget.name} alone lets many small steps pass: set a limit for {budget.gauge.name} as well"
        if shot.coverage.unmodelled:
            count = sum(u.count for u in shot.coverage.unmodelled)
            yield f"{shot.model.path}: {count:,} nodes have no cost rule, and count as memory traffic only"

    # --- a first config --------------------------------------------------------------------

    def shots_for_init(self) -> list[tuple[dict[str, object], Snapshot]]:
        """The estimates of every model on every machine, each with the keys of a config that ask for it.

        Raises UsageError for what a config cannot say.
        """
        if not self.models:
            raise UsageError("--init needs a model", hint="name it: effcli check --init MODEL --hw ID")
        given = self.setting
        unsaid = {
            "--set": given.hardware.overrides,
            "--overlap": given.hardware.overlap is not None,
            "--shape": given.sizes.shapes,
            "--dtype": given.sizes.dtype,
            "--weight-bits": given.sizes.weight_bits,
            "--activation-bits": given.sizes.activation_bits,
            "--trip": given.counting.trips,
            "--ops": given.counting.ops,
        }
        for name, value in unsaid.items():
            if value:
                raise UsageError(f"a config cannot say {name}", hint="leave it out, and give it to each effcli check")
        paths, missing = _expanded(self.models)
        for _, error in missing:
            raise error
        return [(_keys(given, shot, estimate), shot) for path in paths for shot, estimate in given.shots(path)]


def _keys(given: Setting, shot: Snapshot, estimate: Estimate) -> dict[str, object]:
    """What of an entry asks for this estimate; a profile that is not shipped is named by its file."""
    from efficiency_cli.hardware.load import shipped_dir

    sizes, phase = given.sizes, given.phase
    machine = shot.machine
    if estimate.machine is not None and Path(estimate.machine.profile.path).parent.resolve() != shipped_dir().resolve():
        machine = estimate.machine.profile.path
    return {
        "hardware": machine,
        "runtime": given.hardware.runtime,
        "dims": dict(sizes.dims),
        "batch": sizes.batch,
        "phase": phase.phase,
        "context": phase.context,
    }


def _config_file(config: str | None, no_config: bool) -> ConfigFile | None:
    if no_config:
        if config is not None:
            raise UsageError("--config and --no-config contradict each other", hint="keep one of them")
        return None
    if config is not None:
        return read_config(config)
    found = find_config()
    return read_config(*found) if found else None


def _default_machines(file: ConfigFile) -> tuple[str, ...]:
    from efficiency_cli.config.format import Entry, Placed
    from efficiency_cli.hardware.tree import Place

    return file.machines(Entry(Placed("", Place(file.path))))


def _expanded(models: Sequence[str]) -> tuple[list[str], list[tuple[str, EffcliError]]]:
    """The files of paths and globs, each once; and the patterns that match nothing."""
    found: list[str] = []
    missing: list[tuple[str, EffcliError]] = []
    for name in models:
        if os.path.exists(name) or not glob.has_magic(name):
            found.append(name)
            continue
        matches = sorted(p for p in glob.glob(name, recursive=True) if os.path.isfile(p))
        found += matches
        if not matches:
            missing.append(
                (name, Inconclusive(f"'{name}' matches nothing", hint="mend the pattern: ls shows the files"))
            )
    return list(dict.fromkeys(found)), missing


def _gaps(estimate: Estimate) -> Iterator[str]:
    """What makes an estimate inconclusive under --strict."""
    from efficiency_cli.commands.analyze import gaps_of

    yield from gaps_of(estimate)
