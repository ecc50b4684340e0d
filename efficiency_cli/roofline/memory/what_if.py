"""The same network otherwise: in int8, on smaller images, one at a time; and the largest batch or context that fits.

Everything is computed by estimating the changed network; nothing is scaled by a factor. What cannot be changed (a
network whose layers are bound to one size) is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import Struct

from efficiency_cli.errors import EffcliError
from efficiency_cli.graph.model import DType, Model, Tensor
from efficiency_cli.graph.retype import Types, retyped
from efficiency_cli.roofline.memory.fit import Level

if TYPE_CHECKING:
    from efficiency_cli.roofline.estimate import Estimate

# image sizes that networks for small devices are published in
SIZES = (96, 128, 160, 192, 224)
# estimates that a search for the largest size may take
MOST_TRIALS = 20
# beyond it, a size is as good as unlimited
LARGEST = 1 << 24
# how the operators begin that a quantised network has
_QUANTIZED = ("QuantizeLinear", "DequantizeLinear", "QLinear", "QGemm")

Changed = Mapping[str, object]


class WhatIf(Struct, frozen=True):
    """The network with one change: bytes of RAM and of flash, and whether they fit."""

    change: str
    ram: float
    flash: float
    fits: bool | None


class Largest(Struct, frozen=True):
    """The largest size of a kind (batch, context) for which weights and activations fit the level."""

    what: str
    value: int
    need: float
    level: str
    room: float


class Needed(Struct, frozen=True):
    """What a changed network needs."""

    ram: float
    flash: float
    fits: bool | None
    levels: tuple[Level, ...]


def what_ifs(
    model: Model, need_of: Callable[[Model], Needed], reread: Callable[[Changed], Model] | None, batch: int
) -> Iterator[WhatIf]:
    """The changes that make the network smaller and that it can take.

    `need_of` estimates a model on the machine; `reread` reads the file again with a batch or with shapes
    (None: it cannot be read again).
    """
    narrow = as_int8(model)
    if narrow is not None:
        with suppress(EffcliError):  # an operator that has no such type
            yield _what_if("as int8", need_of(narrow))
    if reread is None:
        return
    if batch > 1:
        with suppress(EffcliError):
            yield _what_if("at batch 1", need_of(reread({"batch": 1})))
    yield from _smaller_images(model, need_of, reread)


def _what_if(change: str, needed: Needed) -> WhatIf:
    return WhatIf(change, needed.ram, needed.flash, needed.fits)


def _smaller_images(
    model: Model, need_of: Callable[[Model], Needed], reread: Callable[[Changed], Model]
) -> Iterator[WhatIf]:
    """The largest usual size below the network's own at which it fits; the smallest where none fits or nobody says."""
    images = {n: s for n in model.graph.inputs if (s := _image(model.graph.tensors[n])) is not None}
    side = min((shape[-1] for shape in images.values()), default=0)
    last: WhatIf | None = None
    for size in reversed([size for size in SIZES if size < side]):
        shapes = {name: (*shape[:2], size, size) for name, shape in images.items()}
        with suppress(EffcliError):
            last = _what_if(f"at {size}x{size}", need_of(reread({"shapes": shapes})))
            if last.fits:
                break
    if last is not None:
        yield last


def _image(tensor: Tensor) -> tuple[int, ...] | None:
    """The shape of a square image with channels first; None for what is no image."""
    shape = tensor.shape
    square = shape is not None and len(shape) == 4 and shape[2] == shape[3]
    return shape if square and shape is not None and 0 < shape[1] <= 4 else None


def as_int8(model: Model) -> Model | None:
    """The model as if quantised to 8 bits; None where it is already, or where nothing it computes is a float."""
    graph = model.graph
    if any(node.op.startswith(_QUANTIZED) for node in graph.nodes):
        return None
    wide = (t for t in graph.tensors.values() if not t.is_constant and t.numel > 1)
    if not any(t.dtype is not None and t.dtype.is_float and t.dtype.bits > DType.INT8.bits for t in wide):
        return None
    return retyped(model, Types(DType.INT8, DType.INT8))


def shared_level(estimate: Estimate) -> Level | None:
    """The memory that keeps weights and activations alike, where the machine has one."""
    if estimate.machine is None:
        return None
    last = estimate.machine.profile.memory[-1]
    both = "weights" in last.holds and "activations" in last.holds
    return Level(last.name, last.size_bytes, last.holds, 0.0, 0.0, True, None) if both else None


def largest(what: str, need_at: Callable[[int], float | None], room: float, level: str) -> Largest | None:
    """The largest size at which the need is within `room`.

    `need_at` gives None for a size that the network does not take. None where even 1 does not fit, or all sizes
    need the same. What grows evenly takes four estimates; after MOST_TRIALS the largest size known to fit is given.
    """
    first = need_at(1)
    if first is None or first > room:
        return None
    points = {1: first}  # size -> need
    low, high = 1, 0
    while len(points) < MOST_TRIALS and (not high or high - low > 1):
        guess = _guess(points, low, high, room)
        need = need_at(guess) if guess <= LARGEST else None
        if need is None or (len(points) == 1 and need == first):
            break
        points[guess] = need
        if need <= room:
            low = guess
        else:
            high = guess
    return Largest(what, low, points[low], level, room) if len(points) > 1 else None


def _guess(points: Mapping[int, float], low: int, high: int, room: float) -> int:
    """Where a straight line through the two sizes nearest to the end reaches the room; every other time the middle."""
    if len(points) == 1:
        return 2 * low
    if high and len(points) % 2:
        return (low + high) // 2
    other = high or max(size for size in points if size < low)
    slope = (points[other] - points[low]) / (other - low)
    guess = low + int((room - points[low]) / slope) if slope > 0 else 2 * low
    return min(max(guess, low + 1), high - 1 if high else LARGEST + 1)
