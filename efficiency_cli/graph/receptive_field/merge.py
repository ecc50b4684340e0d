"""Where the paths of a network meet: layouts that are added, concatenated or multiplied become one.

Along each axis the result is the hull of the operands' windows: the largest path where paths are aligned, as
they are in the networks people build. A path free of global operators takes precedence over one that is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from msgspec.structs import replace

from efficiency_cli.graph.receptive_field.layout import (
    Atom,
    Axis,
    Layout,
    Reach,
    Source,
    Windows,
    carries,
    free,
    fused,
    hulls,
    length_of,
    reduced,
    scrambled,
    shifted,
    split,
)
from efficiency_cli.graph.receptive_field.window import Window, hull


def merged(layouts: Sequence[Layout], shape: Sequence[int], by: str) -> Layout:
    """The layout of `shape` whose every element reads its like in each operand, after broadcasting.

    A source that two operands carry on different axes (the scores of an attention) can follow neither, and
    is read in full by the node `by`.
    """
    if all(layout is layouts[0] for layout in layouts) and layouts[0].shape == tuple(shape):
        return layouts[0]
    plain = _plainly(layouts, shape)
    if plain is not None:
        return plain
    unbounded = _reaches(layouts)
    if unbounded:
        layouts = _local_paths(layouts)
    layouts = [_broadcast(layout, shape, by) for layout in layouts]
    layouts = _factored_alike(layouts, shape)
    if _disagree(layouts):
        layouts = _without_disagreement(layouts, by)
        unbounded = _reaches(layouts)
    layouts = [_gathered(layout) for layout in layouts]
    axes = tuple(_axis([layout.axes[k] for layout in layouts]) for k in range(len(shape)))
    return _with_loose(axes, layouts, unbounded)


def _plainly(layouts: Sequence[Layout], shape: Sequence[int]) -> Layout | None:
    """The result where operands differ in their windows alone, as the two sides of a residual block do."""
    first = layouts[0]
    carried = [source for axis in first.axes for atom in axis for source in atom.windows]
    if len(carried) != len(set(carried)) or first.shape != tuple(shape):
        return None
    for layout in layouts[1:]:
        if layout.unbounded is not first.unbounded or layout.loose is not first.loose:
            return None
        if len(layout.axes) != len(shape) or not all(map(_alike_but_windows, layout.axes, first.axes)):
            return None
    axes = tuple(_axis(column) for column in zip(*(layout.axes for layout in layouts), strict=True))
    return Layout(axes, first.loose, first.unbounded)


def _alike_but_windows(a: Axis, b: Axis) -> bool:
    if a is b:
        return True
    if not len(a) == len(b) == 1:
        return False
    return a[0].length == b[0].length and a[0].windows.keys() == b[0].windows.keys()


def _reaches(layouts: Sequence[Layout]) -> dict[Source, Reach]:
    """What any operand reads in full; local if some operand has a bounded path from that source."""
    result: dict[Source, Reach] = {}
    for layout in layouts:
        for source, reach in layout.unbounded.items():
            local = any(_is_local(other, source) for other in layouts)
            result.setdefault(source, Reach(reach.by, local))
    return result


def _is_local(layout: Layout, source: Source) -> bool:
    reach = layout.unbounded.get(source)
    if reach is not None:
        return reach.local
    return layout.window(source) is not None


def _local_paths(layouts: Sequence[Layout]) -> list[Layout]:
    """Without the windows of paths behind a global operator, wherever another operand has a local one."""
    local = {s for layout in layouts for s in layout.sources() if _is_local(layout, s)}
    return [_without(layout, {s for s in local if not _is_local(layout, s)}) for layout in layouts]


def _without(layout: Layout, sources: set[Source]) -> Layout:
    if sources.isdisjoint(layout.sources()):
        return layout
    axes = tuple(tuple(_stripped(atom, sources) for atom in axis) for axis in layout.axes)
    return replace(layout, axes=axes, loose={s: w for s, w in layout.loose.items() if s not in sources})


def _stripped(atom: Atom, sources: set[Source]) -> Atom:
    if sources.isdisjoint(atom.windows):
        return atom
    return Atom(atom.length, {s: w for s, w in atom.windows.items() if s not in sources})


def _broadcast(layout: Layout, shape: Sequence[int], by: str) -> Layout:
    """The layout with as many axes as `shape`; axes of length 1 that stretch become free, their windows loose.

    So do the windows of factors of length 1, which no index follows.
    """
    missing = len(shape) - len(layout.axes)
    if missing < 0:
        return scrambled([layout], shape, by)
    loose = layout.loose
    axes: list[Axis] = [free(n) for n in shape[:missing]]
    for axis, length in zip(layout.axes, shape[missing:], strict=True):
        stretched = length_of(axis) != length
        if stretched or (len(axis) > 1 and any(atom.length == 1 for atom in axis)):
            lost = [atom for atom in axis if stretched or atom.length == 1]
            loose = {**loose, **{s: w for atom in lost for s, w in atom.windows.items()}}
            axis = () if stretched else tuple(atom for atom in axis if atom.length != 1)
        axes.append(axis or free(length))
    return Layout(tuple(axes), loose, layout.unbounded)


# --- factors -------------------------------------------------------------------------------------


def _factored_alike(layouts: Sequence[Layout], shape: Sequence[int]) -> list[Layout]:
    """The layouts with each axis as the same product of atoms in all."""
    columns = [_alike([layout.axes[k] for layout in layouts]) for k in range(len(shape))]
    return [replace(layout, axes=tuple(column[i] for column in columns)) for i, layout in enumerate(layouts)]


def _alike(axes: Sequence[Axis]) -> Sequence[Axis]:
    lengths = [[atom.length for atom in axis] for axis in axes]
    if all(one == lengths[0] for one in lengths):
        return axes
    if not any(carries(axis) for axis in axes):
        return [free(length_of(axes[0]))] * len(axes)
    if any(len(axis) == 1 and any(w.period > 1 for w in axis[0].windows.values()) for axis in axes):
        return [(fused(axis)[0],) for axis in axes]  # a pattern along the whole axis, which split parts lose
    bounds = sorted({b for axis in axes if carries(axis) for b in _bounds(axis)})
    if all(b and a and b % a == 0 for a, b in pairwise(bounds)):
        sizes = [b // a for a, b in pairwise(bounds)][::-1]
        return [_refined(axis, sizes) if carries(axis) else tuple(Atom(n) for n in sizes) for axis in axes]
    atoms = [fused(axis)[0] for axis in axes]
    largest = max(atoms, key=_size)
    return [(a if a is largest else Atom(a.length),) for a in atoms]


def _bounds(axis: Axis) -> Iterator[int]:
    """The products of the last atoms: 1, the last length, that of the last two, …"""
    product = 1
    yield product
    for atom in reversed(axis):
        product *= atom.length
        yield product


def _refined(axis: Axis, sizes: Sequence[int]) -> Axis:
    """The axis split further, into atoms of `sizes`; its own boundaries are among theirs."""
    result: list[Atom] = []
    queue = list(reversed(axis))
    for size in sizes:
        atom = queue.pop()
        if atom.length != size:
            atom, rest = split(atom, size)
            queue.append(rest)
        result.append(atom)
    return tuple(result)


def _size(atom: Atom) -> float:
    return max((w.size for w in atom.windows.values()), default=-1)


# --- sources carried by different axes ---------------------------------------------------------


def _disagree(layouts: Sequence[Layout]) -> bool:
    """Whether a source lies on different atoms in two layouts: a cheap test first."""
    first = [atom.windows.keys() for axis in layouts[0].axes for atom in axis]
    for layout in layouts[1:]:
        others = [atom.windows.keys() for axis in layout.axes for atom in axis]
        if others != first:
            return True
    return False


def _places(layout: Layout) -> dict[Source, set[tuple[int, int]]]:
    result: dict[Source, set[tuple[int, int]]] = {}
    for k, axis in enumerate(layout.axes):
        for i, atom in enumerate(axis):
            for source in atom.windows:
                result.setdefault(source, set()).add((k, i))
    return result


def _without_disagreement(layouts: Sequence[Layout], by: str) -> list[Layout]:
    """Each layout with the sources that others carry elsewhere taken off the places not shared by all."""
    places = [_places(layout) for layout in layouts]
    shared: dict[Source, set[tuple[int, int]]] = {}
    for own in places:
        for source, where in own.items():
            shared[source] = shared[source] & where if source in shared else where
    result = []
    for layout, own in zip(layouts, places, strict=True):
        for source, where in own.items():
            for place in sorted(where - shared[source]):
                layout = _taken_off(layout, source, place, by)
        result.append(layout)
    return result


def _taken_off(layout: Layout, source: Source, place: tuple[int, int], by: str) -> Layout:
    """One source no longer follows one atom: whatever its index, it reads what all indices read."""
    k, i = place
    atom = layout.axes[k][i]
    alone = replace(layout, axes=(*layout.axes, (Atom(atom.length, {source: atom.windows[source]}),)))
    axis = tuple(_stripped(a, {source}) if j == i else a for j, a in enumerate(layout.axes[k]))
    rest = reduced(alone.with_axis(k, axis), [len(layout.axes)], by, whole=False)
    return replace(rest, axes=rest.axes[:-1])


# --- hulls ---------------------------------------------------------------------------------------


def _gathered(layout: Layout) -> Layout:
    """For sources that several atoms carry, all extent at the first of them: hulls atom by atom are then exact."""
    carried = [source for axis in layout.axes for atom in axis for source in atom.windows]
    if len(carried) == len(set(carried)):
        return layout
    several = {source for source in carried if carried.count(source) > 1}
    axes = [list(axis) for axis in layout.axes]
    for source in several:
        places = [(k, i) for k, axis in enumerate(axes) for i, atom in enumerate(axis) if source in atom.windows]
        windows = [axes[k][i].windows[source] for k, i in places]
        if any(w.period > 1 for w in windows):
            continue
        low, high = sum(w.lows[0] for w in windows), sum(w.highs[0] for w in windows)
        for number, ((k, i), w) in enumerate(zip(places, windows, strict=True)):
            span = (0, 0) if number else (low, high)
            atom, w = axes[k][i], w.shifted(span[0] - w.lows[0], span[1] - w.highs[0])
            axes[k][i] = Atom(atom.length, {**atom.windows, source: w})
    return replace(layout, axes=tuple(tuple(axis) for axis in axes))


def _axis(axes: Sequence[Axis]) -> Axis:
    if all(axis is axes[0] for axis in axes):
        return axes[0]
    if len(axes[0]) == 1:
        return (_atom([axis[0] for axis in axes]),)
    return tuple(_atom(atoms) for atoms in zip(*axes, strict=True))


def _atom(atoms: Sequence[Atom]) -> Atom:
    windows = [atom.windows for atom in atoms if atom.windows]
    if not windows or all(w is windows[0] or w == windows[0] for w in windows):
        return next((atom for atom in atoms if atom.windows), atoms[0])
    return Atom(atoms[0].length, hulls(windows))


def _with_loose(axes: tuple[Axis, ...], layouts: Sequence[Layout], unbounded: Mapping[Source, Reach]) -> Layout:
    """The result; a loose window that is wider than the carried one lends it its width."""
    loose: dict[Source, Window] = {}
    for layout in layouts:
        for source, window in layout.loose.items():
            loose[source] = hull(loose[source], window) if source in loose else window
    result = Layout(axes, loose, unbounded)
    carried = {s for axis in axes for atom in axis for s in atom.windows}
    if carried.isdisjoint(loose):
        return result
    for source in sorted(carried & loose.keys()):
        found = result.window(source)
        if found is not None and loose[source].size > found.size:
            result = _lent(result, source, (loose[source].size - found.size) / 2)
    return replace(result, loose={s: w for s, w in loose.items() if s not in carried})


def _lent(layout: Layout, source: Source, reach: float) -> Layout:
    for k, axis in enumerate(layout.axes):
        for i, atom in enumerate(axis):
            if source in atom.windows:
                wide: Windows = {**atom.windows, source: atom.windows[source].shifted(-reach, reach)}
                return layout.with_axis(k, (*axis[:i], Atom(atom.length, wide), *axis[i + 1 :]))
    return layout


# --- concatenation -------------------------------------------------------------------------------


def joined(pieces: Sequence[tuple[Layout, int]], axis: int, shape: Sequence[int], by: str) -> Layout:
    """Pieces, each with its offset, side by side along `axis`.

    Along it, the windows are those of the piece that sees most (of several, the longest): the pieces of a
    rolled picture stay in line, and a token put in front moves the others on.
    """
    sizes = [max((_size(atom) for atom in layout.axes[axis]), default=-1) for layout, _ in pieces]
    lengths = [length_of(layout.axes[axis]) for layout, _ in pieces]
    main = max(range(len(pieces)), key=lambda k: (sizes[k], lengths[k], -k))
    result = []
    for k, (layout, offset) in enumerate(pieces):
        if k == main and sizes[k] >= 0:
            atom, loose = fused(layout.axes[axis])
            layout = replace(layout, loose={**layout.loose, **loose})
            result.append(layout.with_axis(axis, (shifted(atom, offset, shape[axis]),)))
        else:
            hidden = {s: w for atom in layout.axes[axis] for s in atom.windows if (w := layout.window(s))}
            bare = layout.with_axis(axis, free(shape[axis]))
            result.append(replace(bare, loose={**bare.loose, **hidden}))
    return merged(result, shape, by)


def broadcasts(shape: Sequence[int], to: Sequence[int]) -> bool:
    """Whether numpy's rules stretch `shape` to `to`."""
    if len(shape) > len(to):
        return False
    return all(a in (1, b) for a, b in zip(reversed(shape), reversed(to), strict=False))
