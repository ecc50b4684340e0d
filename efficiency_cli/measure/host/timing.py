"""Runs something again and again until its time is known: warm-up, median, interval, what disturbed it.

warm-up     runs before the first from which times stay what they are at the end
disturbed   runs in which the system gave the processor to somebody else (it counts such switches)
median      of the runs that were neither; its 95 % interval is by ranks and assumes no law (Hollander & Wolfe)
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from msgspec import Struct

# without --runs: enough for a median, until it is known so well (machines are noisy in bursts: not before a while),
# or until so long has passed
FEWEST_RUNS, MOST_RUNS = 15, 2000
KNOWN_TO = 0.01
SHORTEST_S, LONGEST_S = 1.0, 5.0
# a run of seconds is not repeated fifteen times
FEWEST_OF_LONG_RUNS = 5
# times of this many runs are compared to find where warming up ended
_WINDOW = 5
# a window is like the end when its median is this close to the end's, in deviations and at least in parts
_ALIKE_DEVIATIONS, _ALIKE = 3.0, 0.02
# of a normal law, the standard deviation over the median absolute deviation
_DEVIATION = 1.4826
# an outlier is this many deviations above the median, and a run is not reliable with more than so many of them
OUTLIER_DEVIATIONS = 5.0
MANY_OUTLIERS = 0.1
# of a normal law 95 % are within
_Z95 = 1.96


class Wanted(Struct, frozen=True):
    """How often to run; None: until the median is known."""

    runs: int | None = None
    warmup: int | None = None
    shortest_s: float = SHORTEST_S
    longest_s: float = LONGEST_S


class Timed(Struct, frozen=True):
    """Seconds of every run in order, how many of the first were warm-up, which were disturbed.

    `cpu_s` is the processor time of this thread in each; `interrupted`: the user ended it early.
    """

    seconds: tuple[float, ...]
    cpu_s: tuple[float, ...]
    switched: tuple[bool, ...]
    warmup: int
    interrupted: bool = False

    @property
    def steady(self) -> list[float]:
        """The runs behind the warm-up."""
        return list(self.seconds[self.warmup :])

    @property
    def counted(self) -> list[float]:
        """Those of them that were not disturbed; all where fewer than FEWEST_OF_LONG_RUNS were not."""
        calm = [s for s, switched in zip(self.steady, self.switched[self.warmup :], strict=True) if not switched]
        return calm if len(calm) >= FEWEST_OF_LONG_RUNS else self.steady

    @property
    def disturbed(self) -> int:
        """Runs that are left out because another program ran meanwhile."""
        return len(self.steady) - len(self.counted)

    @property
    def median_s(self) -> float:
        return quantile(self.counted, 0.5)

    @property
    def median_within_s(self) -> tuple[float, float]:
        """The 95 % interval of the median: the values at ranks n/2 ± 1.96 · √n / 2."""
        values = sorted(self.counted)
        n = len(values)
        half = _Z95 * math.sqrt(n) / 2
        low, high = math.floor(n / 2 - half), math.ceil(n / 2 + half)
        return values[max(low, 0)], values[min(high, n - 1)]

    @property
    def outliers(self) -> int:
        """Counted runs far above the median."""
        values = self.counted
        middle, spread = quantile(values, 0.5), deviation(values)
        return sum(v > middle + OUTLIER_DEVIATIONS * max(spread, _ALIKE * middle) for v in values)

    @property
    def taken_away(self) -> float:
        """Of the time of steady runs on one thread, the part in which this thread did not run."""
        wall, cpu = sum(self.steady), sum(self.cpu_s[self.warmup :])
        return max(0.0, 1 - cpu / wall) if wall else 0.0

    def at(self, q: float) -> float:
        """The quantile of the counted runs."""
        return quantile(self.counted, q)


def quantile(values: Sequence[float], q: float) -> float:
    """With linear interpolation between ranks; of no values 0."""
    ordered = sorted(values)
    if not ordered:
        return 0.0
    place = q * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def deviation(values: Sequence[float]) -> float:
    """A robust standard deviation: 1.4826 · the median absolute deviation."""
    middle = quantile(values, 0.5)
    return _DEVIATION * quantile([abs(v - middle) for v in values], 0.5)


def timed(
    run: Callable[[], object],
    wanted: Wanted | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Timed:
    """Times `run`. Ctrl-C ends it with the runs so far; without any it is raised."""
    wanted = wanted or Wanted()
    seconds: list[float] = []
    cpu: list[float] = []
    switched: list[bool] = []
    interrupted = False
    start = clock()
    try:
        while _more(seconds, wanted, clock() - start):
            switches, used, began = _switches(), time.thread_time(), clock()
            run()
            took = clock() - began
            cpu.append(time.thread_time() - used)
            switched.append(_switches() > switches)
            seconds.append(took)
            if progress is not None:
                progress(len(seconds), _expected(seconds, wanted))
    except KeyboardInterrupt:
        if not seconds:
            raise
        interrupted = True
    n = len(seconds)
    warmup = warmup_of(seconds) if wanted.warmup is None else min(wanted.warmup, n - 1)
    return Timed(tuple(seconds), tuple(cpu[:n]), tuple(switched[:n]), warmup, interrupted)


def _more(seconds: Sequence[float], wanted: Wanted, passed_s: float) -> bool:
    n = len(seconds)
    if wanted.runs is not None:
        return n < wanted.runs + (wanted.warmup if wanted.warmup is not None else _WINDOW)
    warmup = wanted.warmup or 0
    fewest = FEWEST_RUNS if passed_s < wanted.longest_s else FEWEST_OF_LONG_RUNS
    if n < fewest + warmup:
        return True
    if n >= MOST_RUNS + warmup or passed_s >= wanted.longest_s:
        return False
    # looking costs time too: not after every run
    return passed_s < wanted.shortest_s or n % FEWEST_RUNS != 0 or not _known(seconds[warmup:])


def _known(seconds: Sequence[float]) -> bool:
    steady = sorted(seconds[warmup_of(seconds) :])
    half = _Z95 * math.sqrt(len(steady)) / 2
    low, high = math.floor(len(steady) / 2 - half), math.ceil(len(steady) / 2 + half)
    return low > 0 and high < len(steady) and steady[high] - steady[low] < 2 * KNOWN_TO * quantile(steady, 0.5)


def _expected(seconds: Sequence[float], wanted: Wanted) -> int:
    if wanted.runs is not None:
        return wanted.runs + (wanted.warmup if wanted.warmup is not None else _WINDOW)
    by_time = round(wanted.longest_s / max(quantile(seconds[-_WINDOW:], 0.5), 1e-9))
    return max(len(seconds), FEWEST_RUNS, min(by_time, MOST_RUNS))


def warmup_of(seconds: Sequence[float]) -> int:
    """How many of the first runs are unlike the later ones; at most half of them.

    Looked for is the first run from which the median of _WINDOW runs is that of the second half, within its
    deviation; single slow runs later on are no warm-up.
    """
    n = len(seconds)
    if n < 3:
        return 0 if n < 2 or seconds[0] <= seconds[1] * (1 + _ALIKE) else 1
    later = seconds[n // 2 :]
    middle = quantile(later, 0.5)
    room = max(_ALIKE_DEVIATIONS * deviation(later), _ALIKE * middle)
    for k in range(n // 2 + 1):
        window = seconds[k : k + _WINDOW]
        if seconds[k] <= middle + room and quantile(window, 0.5) <= middle + room:
            return k
    return n // 2


def _switches() -> int:
    """How often this thread had to give way to others so far; 0 where the system does not count."""
    try:
        import resource
    except ImportError:
        return 0
    who = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)
    return resource.getrusage(who).ru_nivcsw
