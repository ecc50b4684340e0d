"""The same network otherwise: in int8, on smaller images, one at a time; and the largest batch or context that fits.

Everything is computed by estimating the changed network; nothing is scaled by a factor. What cannot be changed (a
network whose layers are bound to one size) is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from efficiency_cli.errors import EffcliError
from efficiency_cli.graph.model import DType, Graph, Kind, Model, Tensor
from efficiency_cli.roofline.memory.fit import Level

if TYPE_CHECKING:
    from efficiency_cli.roofline.estimate import Estimate

# image sizes that networks for small devices are published in
SIZES = (96, 128, 160, 192, 224)
# estimates that a search for the largest size may take
MOST_TRIALS = 12
# beyond it, a size is as good as unlimited
LARGEST = 1 << 24

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
    """The largest usual size below the network's own at which it fits; else the smallest."""
    images = {n: s for n in model.graph.inputs if (s := _image(model.graph.tensors[n])) is not None}
    side = min((shape[-1] for shape in images.values()), default=0)
    smaller = [size for size in SIZES if size < side]
    last: WhatIf | None = None
    for size in reversed(smaller):
        shapes = {name: (*shape[:2], size, size) for name, shape in images.items()}
        with suppress(EffcliError):
            last = _what_if(f"at {size}x{size}", need_of(reread({"shapes": shapes})))
            if last.fits is not False:
                break
    if last is not None:
        yield last


def _image(tensor: Tensor) -> tuple[int, ...] | None:
    """The shape of a square image with channels first; None for what is no image."""
    shape = tensor.shape
    square = shape is not None and len(shape) == 4 and shape[2] == shape[3]
    return shape if square and shape is not None and 0 < shape[1] <= 4 else None


def as_int8(model: Model) -> Model | None:
    """The model with its floats in 8 bits and its biases in 32; None where nothing it computes is a float."""
    graph = model.graph
    floats = [t for n, t in graph.tensors.items() if not t.is_constant and _is_wide(t)]
    quantized = any(node.op in ("QuantizeLinear", "DequantizeLinear") for node in graph.nodes)
    if quantized or not any(t.numel > 1 for t in floats):
        return None
    return replace(model, graph=_narrowed(graph))


def _narrowed(graph: Graph) -> Graph:
    biases = {
        node.inputs[2] for node in graph.nodes if node.op in ("Conv", "ConvTranspose", "Gemm") and _has_bias(node)
    }
    tensors = {n: _narrow(t, wide=n in biases) for n, t in graph.tensors.items()}
    nodes = tuple(
        replace(node, graphs={name: _narrowed(body) for name, body in node.graphs.items()}) if node.graphs else node
        for node in graph.nodes
    )
    return replace(graph, nodes=nodes, tensors=tensors)


def _has_bias(node: object) -> bool:
    inputs: tuple[str, ...] = getattr(node, "inputs", ())
    return len(inputs) > 2 and bool(inputs[2])


def _narrow(tensor: Tensor, *, wide: bool) -> Tensor:
    if not _is_wide(tensor):
        return tensor
    bias = wide and tensor.kind in (Kind.WEIGHT, Kind.CONSTANT)
    return replace(tensor, dtype=DType.INT32 if bias else DType.INT8)


def _is_wide(tensor: Tensor) -> bool:
    return tensor.dtype is not None and tensor.dtype.is_float and tensor.dtype.bits > 8


def shared_level(estimate: Estimate) -> Level | None:
    """The memory that keeps weights and activations alike, where the machine has one."""
    if estimate.machine is None:
        return None
    last = estimate.machine.profile.memory[-1]
    both = "weights" in last.holds and "activations" in last.holds
    return Level(last.name, last.size_bytes, last.holds, 0.0, 0.0, True, None) if both else None


def largest(what: str, need_at: Callable[[int], float | None], room: float, level: str) -> Largest | None:
    """The largest size at which the need is within `room`, by a secant between one that fits and one that does not.

    `need_at` gives None for a size that the network does not take. None where even 1 does not fit, or all sizes
    need the same. After MOST_TRIALS the largest size known to fit is given.
    """
    low, first = 1, need_at(1)
    if first is None or first > room:
        return None
    need_low = first
    high, need_high, trials = 0, 0.0, 1
    while trials < MOST_TRIALS and (not high or high - low > 1):
        guess = 2 * low if not high else _between(low, need_low, high, need_high, room)
        if not high and trials > 1:
            # memory grows about evenly: aim a little beyond where it should end
            guess = max(guess, min(LARGEST, int(low * room / max(need_low, 1.0))))
        if guess > LARGEST:
            break
        need = need_at(guess)
        trials += 1
        if need is None or (trials == 2 and need == first):
            return None
        if need <= room:
            low, need_low = guess, need
        else:
            high, need_high = guess, need
    return Largest(what, low, need_low, level, room)


def _between(low: int, need_low: float, high: int, need_high: float, room: float) -> int:
    """Where a straight line through both ends reaches the room, inside them; the middle where that is no help."""
    slope = (need_high - need_low) / (high - low)
    guess = low + int((room - need_low) / slope) if slope > 0 else (low + high) // 2
    return min(max(guess, low + 1), high - 1)
