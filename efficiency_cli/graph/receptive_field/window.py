"""Which interval of input positions an output position reads: the algebra of one axis.

A Window is that map, exact also where it differs from output to output (after upsampling), so long
as it repeats. Operators give Windows, and composing them gives receptive fields.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate

from msgspec import Struct

# a pattern that repeats later than this is replaced by its straight line, right to within a pixel;
# an audio decoder upsamples by 256 = 8 · 8 · 2 · 2
MAX_PERIOD = 256

_NOTHING = (math.inf, -math.inf)  # what an output that reads no input position has as low and high


class Window(Struct, frozen=True, gc=False):
    """Output q·period + p reads the inputs from q·advance + lows[p] to q·advance + highs[p], both included.

    Only the hull is kept: the holes of a dilated kernel lie inside. A phase that reads nothing
    (a transposed convolution whose stride exceeds its kernel) has low inf and high -inf.
    """

    period: int
    advance: float
    lows: tuple[float, ...]
    highs: tuple[float, ...]
    pitch: float = 0  # stride along the factor that moves, where the axis is a product of several; else 0

    @property
    def size(self) -> float:
        """Positions read by the output that reads most, holes included: max(high − low) + 1."""
        return max(0, *(h - low + 1 for low, h in zip(self.lows, self.highs, strict=True)))

    @property
    def stride(self) -> float:
        """Input positions that the window moves by an output position, on average.

        On an axis that is a product of several (the tokens of a picture), by a position of the factor that moves it.
        """
        stride = self.pitch or self.advance / self.period
        return int(stride) if stride == int(stride) else stride

    @property
    def first(self) -> tuple[float, float]:
        """Low and high of output 0; moved back from the next output that reads anything if 0 does not."""
        for phase, (low, high) in enumerate(zip(self.lows, self.highs, strict=True)):
            if low <= high:
                return low - phase * self.stride, high - phase * self.stride
        return 0, 0

    def low(self, index: float) -> float:
        if self.period == 1:
            return self.advance * index + self.lows[0]
        turn, phase = divmod(int(index), self.period)
        return turn * self.advance + self.lows[phase]

    def high(self, index: float) -> float:
        if self.period == 1:
            return self.advance * index + self.highs[0]
        turn, phase = divmod(int(index), self.period)
        return turn * self.advance + self.highs[phase]

    def shifted(self, low: float, high: float) -> Window:
        """The window with `low` added to its lows and `high` to its highs."""
        if not low and not high:
            return self
        lows, highs = tuple(v + low for v in self.lows), tuple(v + high for v in self.highs)
        return Window(self.period, self.advance, lows, highs, self.pitch)

    def straight(self) -> Window:
        """The line through the middle of a repeating pattern, as wide as its widest window."""
        if self.period == 1:
            return self
        slope = self.advance / self.period
        middles = [
            (low + high) / 2 - phase * slope
            for phase, (low, high) in enumerate(zip(self.lows, self.highs, strict=True))
            if low <= high
        ]
        middle = sum(middles) / len(middles) if middles else 0.0
        reach = (max(self.size, 1) - 1) / 2
        return Window(1, slope, (middle - reach,), (middle + reach,), self.pitch)


IDENTITY = Window(1, 1, (0,), (0,))

# positions further apart than this are no picture's: floats would no longer tell neighbours apart
_FARTHEST = 2**53


class TooFarError(ValueError):
    """Strides and kernels of the network multiply to more than can be counted exactly."""


def compose(field: Window, step: Window) -> Window:
    """The field of a tensor whose positions read by `step` those of a tensor that has `field`."""
    if field.period == 1:
        a, low, high = field.advance, field.lows[0], field.highs[0]
        if step.period == 1:
            low, high = a * step.lows[0] + low, a * step.highs[0] + high
            if not (-_FARTHEST < low <= high < _FARTHEST and a * step.advance < _FARTHEST):
                raise TooFarError
            return Window(1, a * step.advance, (low,), (high,), field.pitch and field.pitch * step.stride)
        lows, highs = tuple(a * v + low for v in step.lows), tuple(a * v + high for v in step.highs)
        return Window(step.period, a * step.advance, lows, highs, field.pitch * step.stride)
    if not _is_whole(step):
        return compose(field.straight(), step)
    advance = int(step.advance)
    repeat = field.period // math.gcd(field.period, advance)
    period = step.period * repeat
    if period > MAX_PERIOD:
        return compose(field.straight(), step)
    return _composed(field, step, period, field.advance * (advance * repeat // field.period))


@lru_cache(maxsize=1024)  # pictures are upsampled alike along both axes
def _composed(field: Window, step: Window, period: int, advance: float) -> Window:
    """`period` outputs of `step` after `field`, which repeats; step's positions are whole numbers."""
    runs = _monotone(field)
    spans = []
    for j in range(period):
        low, high = step.low(j), step.high(j)
        over = field if low == high else runs
        span = (over.low(low), over.high(high)) if low <= high else _NOTHING
        spans.append(span if span[0] <= span[1] else _NOTHING)
    lows, highs = tuple(s[0] for s in spans), tuple(s[1] for s in spans)
    return simplified(Window(period, advance, lows, highs, field.pitch * step.stride))


def _is_whole(step: Window) -> bool:
    return all(isinstance(v, int) or v.is_integer() or math.isinf(v) for v in (step.advance, *step.lows, *step.highs))


def _monotone(window: Window) -> Window:
    """Lows and highs that never fall: the hull of a run of outputs is then that of its two ends.

    Changes only patterns in which an output reads less than its neighbours on either side: those with holes (a
    transposed convolution that is dilated, or strides further than its kernel) and cubic interpolation at whole
    positions. What a dilated kernel reads of these may come out too wide, never too narrow.
    """
    later = min(window.lows) + window.advance
    lows = list(accumulate(reversed(window.lows), min, initial=later))[:0:-1]
    earlier = max(window.highs) - window.advance
    highs = list(accumulate(window.highs, max, initial=earlier))[1:]
    return Window(window.period, window.advance, tuple(lows), tuple(highs))


def simplified(window: Window) -> Window:
    """The same map with its shortest period."""
    for period in range(1, window.period // 2 + 1):
        if window.period % period == 0 and _repeats(window, period):
            advance = window.advance * period / window.period
            advance = int(advance) if advance == int(advance) else advance
            return Window(period, advance, window.lows[:period], window.highs[:period], window.pitch)
    return window


def _repeats(window: Window, period: int) -> bool:
    step = window.advance * period / window.period
    later = range(period, window.period)
    return all(v[i] == v[i - period] + step for v in (window.lows, window.highs) for i in later)


def hull(a: Window, b: Window) -> Window:
    """The smallest window that holds both.

    That is the larger of the two where they are aligned. Where their strides differ they drift apart, and
    the larger one stands for both.
    """
    if a == b:
        return a
    if not math.isclose(a.advance * b.period, b.advance * a.period):
        return a if a.size >= b.size else b
    if a.period == b.period == 1:
        return Window(1, a.advance, (min(a.lows[0], b.lows[0]),), (max(a.highs[0], b.highs[0]),), a.pitch)
    return _hull_of_patterns(a, b)


@lru_cache(maxsize=1024)
def _hull_of_patterns(a: Window, b: Window) -> Window:
    period = math.lcm(a.period, b.period)
    if period > MAX_PERIOD:
        return hull(a.straight(), b.straight())
    lows = tuple(min(a.low(j), b.low(j)) for j in range(period))
    highs = tuple(max(a.high(j), b.high(j)) for j in range(period))
    return simplified(Window(period, a.advance * (period // a.period), lows, highs, a.pitch))


@lru_cache(maxsize=4096)
def sliding(kernel: int, stride: int = 1, dilation: int = 1, pad: int = 0) -> Window:
    """Output j of a convolution or pooling reads j·stride − pad … + (kernel − 1)·dilation."""
    return Window(1, stride, (-pad,), ((kernel - 1) * dilation - pad,))


@lru_cache(maxsize=1024)
def transposed(kernel: int, stride: int = 1, dilation: int = 1, pad: int = 0) -> Window:
    """Output j of a transposed convolution reads every i with j = i·stride − pad + tap·dilation."""
    reach = (kernel - 1) * dilation
    if stride > MAX_PERIOD or kernel > MAX_PERIOD:
        return Window(1, 1 / stride, ((pad - reach) / stride,), (pad / stride,))
    spans = []
    for phase in range(stride):
        reads = [
            (phase + pad - tap) // stride for tap in range(0, reach + 1, dilation) if (phase + pad - tap) % stride == 0
        ]
        spans.append((min(reads), max(reads)) if reads else _NOTHING)
    return simplified(Window(stride, 1, tuple(s[0] for s in spans), tuple(s[1] for s in spans)))


class Grid(Struct, frozen=True, gc=False):
    """Output j of a resize lies at the input position slope·j + shift; `taps` are read around it."""

    slope: Fraction
    shift: Fraction
    taps: str  # floor, ceil, round_prefer_floor, round_prefer_ceil, linear, cubic
    antialias: bool = False


@lru_cache(maxsize=1024)
def resampled(grid: Grid) -> Window:
    """The window of a resize; taps of weight zero (at whole positions) are not read."""
    period, advance = grid.slope.denominator, grid.slope.numerator
    if grid.antialias and grid.slope > 1 and grid.taps in _SUPPORT:
        taps = _widened(_SUPPORT[grid.taps] * grid.slope)
    else:
        taps = _TAPS[grid.taps]
    if period > MAX_PERIOD:
        low, high = taps(Fraction(1, 2))
        x, reach = float(grid.shift), (high - low) / 2
        return Window(1, float(grid.slope), (x - reach,), (x + reach,))
    spans = [taps(grid.slope * phase + grid.shift) for phase in range(period)]
    return simplified(Window(period, advance, tuple(s[0] for s in spans), tuple(s[1] for s in spans)))


Taps = Callable[[Fraction], tuple[int, int]]


def _both(index: int) -> tuple[int, int]:
    return index, index


def _cubic(x: Fraction) -> tuple[int, int]:
    return _both(int(x)) if x.denominator == 1 else (math.floor(x) - 1, math.floor(x) + 2)


def _widened(support: Fraction) -> Taps:
    """A filter that shrinks reads every position nearer than `support`."""
    return lambda x: (math.floor(x - support) + 1, math.ceil(x + support) - 1)


_TAPS: dict[str, Taps] = {
    "floor": lambda x: _both(math.floor(x)),
    "ceil": lambda x: _both(math.ceil(x)),
    "round_prefer_floor": lambda x: _both(math.ceil(x - Fraction(1, 2))),
    "round_prefer_ceil": lambda x: _both(math.floor(x + Fraction(1, 2))),
    "linear": lambda x: (math.floor(x), math.ceil(x)),
    "cubic": _cubic,
}
_SUPPORT = {"linear": 1, "cubic": 2}


def summed(windows: Sequence[Window]) -> Window:
    """One straight window for a field that depends on several indices: the sum of theirs.

    As wide as they are together, at the first output, with the finest stride of them.
    """
    if len(windows) == 1 and windows[0].period == 1:
        return windows[0]
    size = sum(w.size - 1 for w in windows) + 1
    centre = sum(sum(w.first) / 2 for w in windows)
    strides = [w.stride for w in windows if w.stride > 0]
    low, high = centre - (size - 1) / 2, centre + (size - 1) / 2
    return Window(1, min(strides, default=0), (low,), (high,))
