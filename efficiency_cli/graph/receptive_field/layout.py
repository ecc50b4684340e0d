"""Where the axes of a tensor come from: which input axes each depends on, through which window.

A Layout follows an input's axes through transposition, reshaping, reduction and broadcasting. An axis of a
tensor is a product of Atoms (a reshape merges and splits them); an input axis may be carried by several.
Operators that move along an axis are not here but in `rules`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

from msgspec import Struct
from msgspec.structs import replace

from efficiency_cli.graph.receptive_field.window import (
    IDENTITY,
    MAX_PERIOD,
    Window,
    compose,
    hull,
    simplified,
    sliding,
    summed,
)

# an input axis: its number among all axes of all graph inputs
Source = int
Windows = Mapping[Source, Window]
_NONE: Windows = {}


class Atom(Struct, frozen=True, gc=False):
    """A factor of an axis. Where several atoms carry one source, the windows at their indices add up."""

    length: int
    windows: Windows = _NONE


Axis = tuple[Atom, ...]


class Reach(Struct, frozen=True, gc=False):
    """That a source is read in full: the node that did it first; `local` if another path is bounded."""

    by: str
    local: bool


class Layout(Struct, frozen=True, gc=False):
    """A tensor's axes; `loose`: sources that no axis follows any more; `unbounded`: those read in full."""

    axes: tuple[Axis, ...]
    loose: Windows
    unbounded: Mapping[Source, Reach]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(length_of(axis) for axis in self.axes)

    def sources(self) -> Iterator[Source]:
        """Every source once or more, in no order."""
        yield from self.loose
        for axis in self.axes:
            for atom in axis:
                yield from atom.windows

    def window(self, source: Source) -> Window | None:
        """The window of one source as seen from the whole tensor, see `summed`."""
        windows = [atom.windows[source] for axis in self.axes for atom in axis if source in atom.windows]
        if windows:
            return summed(windows)
        return self.loose.get(source)

    def with_axis(self, axis: int, atoms: Axis) -> Layout:
        return replace(self, axes=(*self.axes[:axis], atoms, *self.axes[axis + 1 :]))


@lru_cache(maxsize=4096)
def free(length: int) -> Axis:
    """An axis that depends on no input axis, such as the channels that a convolution makes."""
    return (Atom(length),)


def length_of(axis: Axis) -> int:
    return axis[0].length if len(axis) == 1 else math.prod(atom.length for atom in axis)


def carries(axis: Axis) -> bool:
    return any(atom.windows for atom in axis)


def of_input(shape: Sequence[int], first: Source) -> Layout:
    """A graph input: every axis is its own source, read position by position."""
    return Layout(tuple((Atom(n, {first + k: IDENTITY}),) for k, n in enumerate(shape)), {}, {})


# --- one axis ------------------------------------------------------------------------------------


def split(atom: Atom, outer: int) -> tuple[Atom, Atom]:
    """Index i = a·inner + b as the two atoms a (of length `outer`) and b."""
    inner = atom.length // outer
    coarse, fine = {}, {}
    for source, window in atom.windows.items():
        w = window if window.period == 1 or inner % window.period == 0 else window.straight()
        w = replace(w, pitch=0) if w.pitch else w
        coarse[source] = Window(1, w.advance * inner / w.period, (0,), (0,))
        fine[source] = _shortened(w, inner)
    whole = {s: replace(w, advance=int(w.advance)) if w.advance == int(w.advance) else w for s, w in coarse.items()}
    return Atom(outer, {s: w for s, w in whole.items() if w.advance}), Atom(inner, fine)


def _shortened(window: Window, length: int) -> Window:
    """The same map on the indices below `length`, straight if it is there."""
    if window.period == 1 or length > window.period or length < 2:
        return window
    step = window.lows[1] - window.lows[0]
    lows, highs = window.lows[:length], window.highs[:length]
    if all(v[i] - v[i - 1] == step for v in (lows, highs) for i in range(1, length)):
        return Window(1, step, lows[:1], highs[:1])
    return window


def fused(axis: Axis) -> tuple[Atom, Windows]:
    """The axis as one atom, and the windows of factors of length 1, which no index follows."""
    if len(axis) == 1:
        return axis[0], _NONE
    kept = [atom for atom in axis if atom.length != 1]
    loose = {s: w for atom in axis if atom.length == 1 for s, w in atom.windows.items()}
    if not kept:
        return Atom(1), loose
    result = kept[0]
    for atom in kept[1:]:
        result = _joined(result, atom)
    return result, {s: w for s, w in loose.items() if s not in result.windows}


def _joined(coarse: Atom, fine: Atom) -> Atom:
    """Index i = a·inner + b: the window at a plus the window at b."""
    inner, windows = fine.length, {}
    several = coarse.windows and fine.windows and coarse.windows.keys() != fine.windows.keys()
    for source in {**coarse.windows, **fine.windows}:
        a, b = coarse.windows.get(source), fine.windows.get(source)
        window = _added(a, b, inner)
        if several and (a is None or b is None):
            window = replace(window, pitch=(a or b or window).stride)
        windows[source] = window
    return Atom(coarse.length * inner, windows)


def _added(coarse: Window | None, fine: Window | None, inner: int) -> Window:
    coarse = coarse or Window(1, 0, (0,), (0,))
    fine = fine or Window(1, 0, (0,), (0,))
    if coarse.period == fine.period == 1 and coarse.advance == fine.advance * inner:
        return fine.shifted(coarse.lows[0], coarse.highs[0])
    if inner * coarse.period > MAX_PERIOD:
        slope = coarse.stride / inner if coarse.advance else 0
        return replace(summed([coarse, fine]), advance=slope)
    lows, highs = [], []
    for i in range(inner * coarse.period):
        a, b = divmod(i, inner)
        lows.append(coarse.low(a) + fine.low(b))
        highs.append(coarse.high(a) + fine.high(b))
    return simplified(Window(len(lows), coarse.advance, tuple(lows), tuple(highs)))


def moved(atom: Atom, step: Window, length: int) -> Atom:
    """The atom after an operator whose outputs read it by `step`."""
    if not atom.windows:
        return free(length)[0]
    return Atom(length, {s: compose(w, step) for s, w in atom.windows.items()})


# --- reshaping -----------------------------------------------------------------------------------


def reshaped(layout: Layout, shape: Sequence[int]) -> Layout:
    """The same elements in C order under another shape.

    Axes merge and split by whole factors. Where they do not (6·4 as 4·6), the axes concerned end up in one of
    the new ones: sizes stay right, and so does that a later reduction over it reads everything.
    """
    atoms = [atom for axis in layout.axes for atom in axis]
    groups = _regrouped(atoms, shape)
    if groups is None:
        groups = _in_blocks(atoms, shape)
    return replace(layout, axes=tuple(groups))


def _regrouped(atoms: Sequence[Atom], shape: Sequence[int]) -> list[Axis] | None:
    queue = list(reversed(atoms))
    groups: list[Axis] = []
    for length in shape:
        group: list[Atom] = []
        need = length
        while need != 1 or (length == 1 and not group and queue and queue[-1].length == 1):
            if not queue or not need:
                return None
            atom = queue.pop()
            if atom.length and need % atom.length == 0:
                group.append(atom)
                need //= atom.length
            elif atom.length % need == 0:
                outer, inner = split(atom, need)
                group.append(outer)
                queue.append(inner)
                need = 1
            else:
                return None
        groups.append(tuple(group))
    if any(atom.length != 1 for atom in queue):
        return None
    if queue and groups:
        groups[-1] = (*groups[-1], *reversed(queue))
    return groups


def _in_blocks(atoms: Sequence[Atom], shape: Sequence[int]) -> list[Axis]:
    """Regrouped where the boundaries of both sides agree; in between, all windows on the longest axis."""
    groups: list[Axis] = []
    left = list(atoms)
    wanted = list(shape)
    while wanted:
        block, dims = _next_block(left, wanted)
        del left[: len(block)], wanted[: len(dims)]
        part = _regrouped(block, dims)
        if part is None:
            windows = {s: w for atom in block for s, w in atom.windows.items()}
            longest = max(range(len(dims)), key=lambda k: dims[k])
            part = [(Atom(n, windows),) if k == longest else free(n) for k, n in enumerate(dims)]
        groups.extend(part)
    return groups


def _next_block(atoms: Sequence[Atom], dims: Sequence[int]) -> tuple[list[Atom], list[int]]:
    """The shortest heads of both lists with equal products; all of both if there are none."""
    i = j = 1
    while i <= len(atoms) and j <= len(dims):
        have, want = math.prod(a.length for a in atoms[:i]), math.prod(dims[:j])
        if have == want and want:
            return list(atoms[:i]), list(dims[:j])
        if have < want:
            i += 1
        else:
            j += 1
    return list(atoms), list(dims)


def permuted(layout: Layout, order: Sequence[int]) -> Layout:
    return replace(layout, axes=tuple(layout.axes[axis] for axis in order))


# --- reading a whole axis ------------------------------------------------------------------------


def reduced(layout: Layout, axes: Iterable[int], by: str, *, whole: bool = True) -> Layout:
    """The axes after an operator that reads each in full: length 1, following nothing.

    A source that a coarser factor still carries is only widened (space-to-depth, windows of an attention).
    Otherwise it is unbounded by the node `by`. With `whole` false, an axis of length 1 is no widening.
    """
    gone = set(axes)
    if not any(carries(layout.axes[axis]) for axis in gone):
        return replace(layout, axes=tuple(() if k in gone else a for k, a in enumerate(layout.axes)))
    removed = [atom for axis in gone for atom in layout.axes[axis]]
    kept = [list(() if k in gone else axis) for k, axis in enumerate(layout.axes)]
    loose, unbounded = dict(layout.loose), dict(layout.unbounded)
    for source in {s: None for atom in removed for s in atom.windows}:
        parts = [atom for atom in removed if source in atom.windows]
        trivial = all(p.length == 1 for p in parts)
        coarsest = max((p.windows[source].stride for p in parts if p.length > 1), default=0)
        others = [(k, i) for k, axis in enumerate(kept) for i, atom in enumerate(axis) if source in atom.windows]
        coarser = [(k, i) for k, i in others if kept[k][i].length > 1 and kept[k][i].windows[source].stride > coarsest]
        if coarser or (others and trivial):
            k, i = (coarser or others)[0]
            kept[k][i] = _widened(kept[k][i], source, parts)
            continue
        if whole or not trivial:
            unbounded[source] = Reach(layout.unbounded[source].by if source in unbounded else by, False)
        if not others:
            loose[source] = summed([p.windows[source] for p in parts])
    return Layout(tuple(tuple(axis) for axis in kept), loose, unbounded)


def _widened(atom: Atom, source: Source, parts: Sequence[Atom]) -> Atom:
    low = high = 0.0
    for part in parts:
        window = part.windows[source]
        indices = {0, part.length - 1, *range(min(part.length, window.period))}
        low += min(window.low(i) for i in indices)
        high += max(window.high(i) for i in indices)
    low, high = (int(v) if v == int(v) else v for v in (low, high))
    return Atom(atom.length, {**atom.windows, source: atom.windows[source].shifted(low, high)})


def spread(layout: Layout, axes: Iterable[int], by: str) -> Layout:
    """The axes after an operator of which every output reads all of them (softmax, attention, recurrence)."""
    unbounded = dict(layout.unbounded)
    for axis in axes:
        for atom in layout.axes[axis]:
            for source in atom.windows:
                first = unbounded[source].by if source in unbounded else by
                unbounded[source] = Reach(first, False)
    return replace(layout, unbounded=unbounded) if unbounded else layout


def scrambled(layouts: Iterable[Layout], shape: Sequence[int], by: str) -> Layout:
    """An output that may read anything of its operands."""
    loose: dict[Source, Window] = {}
    unbounded: dict[Source, Reach] = {}
    for layout in layouts:
        for source in layout.sources():
            window = layout.window(source)
            if window is not None and (source not in loose or loose[source].size < window.size):
                loose[source] = window
            first = layout.unbounded[source].by if source in layout.unbounded else by
            unbounded.setdefault(source, Reach(first, False))
    return Layout(tuple(free(n) for n in shape), loose, unbounded)


def picked(layout: Layout, axis: int, index: int) -> Layout:
    """One position of an axis, which goes: its windows are those at the index."""
    atom, loose = fused(layout.axes[axis])
    here = {s: _placed(w, index) for s, w in atom.windows.items() if not _carried(layout, s, axis)}
    return replace(layout.with_axis(axis, ()), loose={**layout.loose, **loose, **here})


def _placed(window: Window, index: int) -> Window:
    return Window(1, window.stride, (window.low(index),), (window.high(index),))


def _carried(layout: Layout, source: Source, axis: int) -> bool:
    return any(source in a.windows for k, other in enumerate(layout.axes) if k != axis for a in other)


def shifted(atom: Atom, offset: int, length: int) -> Atom:
    """The atom `offset` positions into an axis of `length`."""
    return moved(atom, sliding(1, 1, 1, offset), length)


def hulls(windows: Sequence[Windows]) -> Windows:
    """The hull of each source's windows."""
    result = dict(windows[0])
    for other in windows[1:]:
        for source, window in other.items():
            result[source] = hull(result[source], window) if source in result else window
    return result
