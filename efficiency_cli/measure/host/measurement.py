"""One network measured on this machine, with what its time may be set beside.

`measure` runs it; an estimate is put beside it where a profile was named. No output here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from efficiency_cli.errors import ModelError
from efficiency_cli.graph.model import Model
from efficiency_cli.measure.host.counterparts import Pair, paired
from efficiency_cli.measure.host.denormals import DENORMALS_ARE_ZERO, denormals_are_zero
from efficiency_cli.measure.host.inputs import inputs_of
from efficiency_cli.measure.host.machine import Host, free_bytes
from efficiency_cli.measure.host.profile_run import KernelRun, kernel_runs
from efficiency_cli.measure.host.session import CPU, Session, Settings, version
from efficiency_cli.measure.host.timing import MANY_OUTLIERS, Timed, Wanted, timed
from efficiency_cli.measure.host.weights import absent_weights, random_files
from efficiency_cli.roofline.estimate import Estimate

# runs of the profiler, for which onnxruntime keeps a million events
_PROFILED_RUNS, _MOST_EVENTS = 12, 900_000
# of the memory that is free, weights may take this much: onnxruntime copies them into the layout it wants
_FREE_FOR_WEIGHTS = 0.45
# from so much of the time on, other programs are worth a warning
_BUSY = 0.05
# the profiler only adds to a network's own: what it keeps from a run of this much is worth a warning
_LONG_S = 1.0

Progress = Callable[[str, int, int], None]


class How(Struct, frozen=True):
    """What `effcli measure` was asked for besides the network."""

    settings: Settings = Settings()
    wanted: Wanted = Wanted()
    random_weights: bool = False
    kernels: bool = True


class Measurement(Struct, frozen=True):
    """The times of one network. `kernels` are onnxruntime's own, empty where none were asked for.

    `drawn_bytes` are weights that were invented. `estimate` has times where a machine was named.
    """

    model: Model
    host: Host
    settings: Settings
    timed: Timed
    runtime_version: str
    kernels: tuple[KernelRun, ...] = ()
    drawn_bytes: int = 0
    estimate: Estimate | None = None

    @property
    def measured_s(self) -> float:
        return self.timed.median_s

    @property
    def threads(self) -> int:
        """As many as onnxruntime takes by itself where none were asked for: one a core."""
        return self.settings.threads or self.host.cores

    @property
    def error(self) -> float | None:
        """Estimate / measurement − 1."""
        if self.estimate is None or self.estimate.latency is None:
            return None
        return self.estimate.latency.expected_s / self.measured_s - 1

    @property
    def pairs(self) -> list[Pair]:
        """The kernels of estimate and measurement beside each other; none without both."""
        if self.estimate is None or self.estimate.machine is None or not self.kernels:
            return []
        return paired(self.kernels, self.estimate.times, self.model.graph)


def measure(model: Model, host: Host, how: How, progress: Progress | None = None) -> Measurement:
    """Runs `model` on this machine.

    Raises UsageError without onnxruntime, ModelError where it refuses the model or where weights are missing and
    none are to be invented.
    """
    absent = absent_weights(model.path, model)
    if absent and not how.random_weights:
        raise ModelError(
            f"{model.path} has no weights: {len(absent):,} tensors are in {absent[0].location}, which is not there",
            hint=f"fetch that file, or invent weights: effcli measure {model.path} --random-weights",
        )
    most = int(_FREE_FOR_WEIGHTS * free_bytes())
    files = random_files(absent, model, most_bytes=most) if absent else {}
    with denormals_are_zero() if files else contextlib.nullcontext():
        found, kernels = _timed(model, files, how, progress)
    return Measurement(
        model=model,
        host=host,
        settings=how.settings,
        timed=found,
        runtime_version=version(),
        kernels=tuple(kernels),
        drawn_bytes=sum(len(f) for f in files.values()),
    )


def _timed(
    model: Model, files: dict[str, object], how: How, progress: Progress | None
) -> tuple[Timed, Sequence[KernelRun]]:
    feeds = inputs_of(model)
    settings = replace(how.settings, config={**how.settings.config, **DENORMALS_ARE_ZERO}) if files else how.settings
    session = Session(model.path, settings, files=files, name=model.path)
    run = session.runner(feeds)
    found = timed(run, how.wanted, progress=_told(progress, "measuring"))
    del session, run
    if not how.kernels or found.interrupted:
        return found, ()
    return found, _profiled(model, settings, files, feeds, found, progress)


def _told(progress: Progress | None, what: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, of: progress(what, done, of)


def _profiled(
    model: Model,
    settings: Settings,
    files: dict[str, object],
    feeds: dict[str, object],
    found: Timed,
    progress: Progress | None,
) -> Sequence[KernelRun]:
    """The kernels of some more runs under the profiler; none when the user had enough."""
    session = Session(model.path, settings, files=files, name=model.path, profiled=True)
    try:
        run = session.runner(feeds)
        runs = max(2, min(_PROFILED_RUNS, _MOST_EVENTS // max(1, len(model.graph.nodes))))
        if found.median_s > _LONG_S:
            runs = 2
        timed(run, Wanted(runs=runs, warmup=0), progress=_told(progress, "profiling"))
        return kernel_runs(session.profile(), found.median_s, skip=1)
    except KeyboardInterrupt:
        return ()
    finally:
        session.close()


def notes_of(measurement: Measurement) -> list[str]:
    """What a reader of the time should know, each with the next step."""
    found = measurement.timed
    notes = []
    if found.interrupted:
        notes.append(f"interrupted: {len(found.seconds):,} runs were made; run it again for more")
    if measurement.drawn_bytes:
        notes.append("weights were invented; numbers too small for full precision count as zero")
    alone = measurement.settings.threads == 1 and measurement.settings.provider == CPU
    if alone and found.taken_away > _BUSY:
        share = f"{found.taken_away:.0%}"
        notes.append(f"the processor was away for {share} of the time: close other programs and measure again")
    elif found.disturbed:
        count = f"{found.disturbed:,} of {len(found.steady):,} runs"
        notes.append(f"{count} are left out: another program ran meanwhile")
    if len(found.counted) >= 10 and found.outliers > MANY_OUTLIERS * len(found.counted):
        count = f"{found.outliers:,} of {len(found.counted):,} runs"
        notes.append(f"{count} were much slower than the others: close other programs, or ask for more --runs")
    if found.warmup >= len(found.seconds) // 2 > 1:
        notes.append("the times had not settled: ask for more --warmup")
    return notes


class Measured(Struct, frozen=True):
    """The networks that were measured; those that were not, with the reason; how many Ctrl-C left."""

    results: tuple[Measurement, ...]
    failed: tuple[tuple[str, str], ...] = ()
    skipped: int = 0

    @property
    def interrupted(self) -> bool:
        return self.skipped > 0 or any(m.timed.interrupted for m in self.results)
