"""Convolutions in every layout, type and fused form.

Taps that fall on padding count, as in published tables. Layout, stride, dilation and auto_pad
matter only through the output's shape.
"""

from __future__ import annotations

import math

from msgspec import Struct

from efficiency_cli.costs import MICROSOFT, CostError, Op, Product, Work, cost
from efficiency_cli.costs.elementwise import SILU, activation_ops
from efficiency_cli.costs.quantization import REQUANTIZE, narrow_type
from efficiency_cli.graph.model import OpClass, Shape

# wider kernels do not exist; a hostile one must not be looped over
MAX_TAPS = 1 << 16
# images have at most these many channels: too few to fill a vector of them
FIRST_LAYER_CHANNELS = 4
NCHWC = "com.microsoft.nchwc"  # onnxruntime's layout with channels in blocks of 8 or 16
NHWC = "com.ms.internal.nhwc"  # its channels-last copies of ai.onnx operators


class _Taps(Struct, frozen=True):
    """The products of a convolution: `positions` take `fan`/`group` channels · Π`kernel` each.

    Positions are outputs and the fan input channels; the other way round when transposed.
    """

    positions: Shape
    fan: int
    group: int
    kernel: Shape
    depthwise: bool
    noun: str = "outputs"
    spatial: int = 0  # Π over the axes of outputs, and of the
    inside: int | None = None  # (output, tap) pairs that are not on padding; None where that is unknown
    channels: int = 0  # of the positions; 0 where that is unknown

    @property
    def macs(self) -> int:
        return self.count * (self.fan // self.group) * math.prod(self.kernel)

    @property
    def valid_macs(self) -> int | None:
        """MACs without those on padding; None where there are none such or it is unknown."""
        if self.inside is None or not self.spatial:
            return None
        valid = self.count // self.spatial * (self.fan // self.group) * self.inside
        return valid if valid < self.macs else None

    @property
    def count(self) -> int:
        return math.prod(self.positions)

    @property
    def op_class(self) -> OpClass:
        return OpClass.DEPTHWISE if self.depthwise else OpClass.DENSE

    @property
    def transposed(self) -> bool:
        return self.noun == "inputs"

    @property
    def product(self) -> Product | None:
        """As a matrix unit sees it: the positions in rows, the taps of one group's channels summed."""
        if not self.channels:
            return None
        own, fan, taps = self.channels // self.group, self.fan // self.group, math.prod(self.kernel)
        n, k = (fan * taps, own) if self.transposed else (own, fan * taps)
        return Product(self.group, self.count // self.channels, n, k)

    @property
    def variant(self) -> str:
        axes = f"-{len(self.kernel)}d" if len(self.kernel) in (1, 3) else ""
        if self.depthwise:
            return f"depthwise{axes}" if axes else ""
        if self.transposed:
            return "transposed"
        if self.group > 1:
            return "grouped"
        if math.prod(self.kernel) == 1:
            return "pointwise"
        if axes:
            return f"convolution{axes}"
        return "first-layer" if self.fan <= FIRST_LAYER_CHANNELS else "convolution"

    @property
    def formula(self) -> str:
        positions, kernel = "·".join(map(str, self.positions)), "·".join(map(str, self.kernel))
        return f"{positions} {self.noun} × {self.fan}/{self.group} · {kernel} taps = {self.macs:,} MACs"


def _forward(op: Op, weight: int = 1, *, channels_last: bool = False) -> _Taps:
    """N·Cout·Πout · Cin/g · Πk, with the weight (Cout, Cin/g, k…) in slot `weight`."""
    w, x, out = op.shape(weight), op.shape(), op.out_shape()
    if len(w) < 3 or not len(w) == len(x) == len(out):
        raise CostError(f"ranks of input {x}, weight {w} and output {out} differ or are below 3")
    group = _group(op, w[0])
    channels = x[-1] if channels_last else x[1]
    if channels != w[1] * group:
        raise CostError(f"{channels} input channels, but weight {w} takes {w[1]} in each of {group} groups")
    spatial = (x[1:-1], out[1:-1]) if channels_last else (x[2:], out[2:])
    inside = _inside(op, *spatial, w[2:])
    outputs, depthwise = math.prod(spatial[1]), group > 1 and w[1] == 1
    return _Taps(out, channels, group, w[2:], depthwise, spatial=outputs, inside=inside, channels=w[0])


def _inside(op: Op, sizes: Shape, outputs: Shape, kernel: Shape) -> int | None:
    """Π over the axes of the number of (output, tap) pairs inside the input; None where it cannot be told."""
    rank = len(kernel)
    strides, dilations = op.ints("strides") or (1,) * rank, op.ints("dilations") or (1,) * rank
    pads = op.ints("pads") or (0,) * (2 * rank)
    auto = op.attr("auto_pad", "NOTSET")
    if not len(strides) == len(dilations) == len(pads) // 2 == rank or min(strides) < 1 or max(kernel) > MAX_TAPS:
        return None
    total = 1
    for size, out, k, stride, dilation, begin in zip(sizes, outputs, kernel, strides, dilations, pads, strict=False):
        if auto.startswith("SAME"):
            padding = max((out - 1) * stride + (k - 1) * dilation + 1 - size, 0)
            begin = padding // 2 if auto == "SAME_UPPER" else padding - padding // 2
        elif auto == "VALID":
            begin = 0
        total *= sum(_reached(size, out, stride, begin - tap * dilation) for tap in range(k))
    return total


def _reached(size: int, outputs: int, stride: int, shift: int) -> int:
    """Outputs o < `outputs` with 0 ≤ o·stride − shift < size."""
    first = max(-(-shift // stride), 0)
    last = min((size - 1 + shift) // stride, outputs - 1)
    return max(last - first + 1, 0)


def _transposed(op: Op, *, channels_last: bool = False) -> _Taps:
    """in_elements · Cout/g · Πk, with the weight (Cin, Cout/g, k…)."""
    w, x = op.shape(1), op.shape()
    if len(w) < 3 or len(w) != len(x):
        raise CostError(f"ranks of input {x} and weight {w} differ or are below 3")
    group = _group(op, w[0])
    if (x[-1] if channels_last else x[1]) != w[0]:
        raise CostError(f"input {x} and weight {w} differ in channels")
    return _Taps(x, w[1] * group, group, w[2:], depthwise=1 < group == w[0], noun="inputs", channels=w[0])


def _group(op: Op, channels: int) -> int:
    group = op.attr("group", 1)
    if group < 1 or channels % group:
        raise CostError(f"{channels} channels cannot be split into {group} groups")
    return group


def _work(op: Op, taps: _Taps, other: int, *, narrow: tuple[int, int] | None = None) -> Work:
    dtype = narrow_type(op.input(narrow[0]), op.input(narrow[1])) if narrow else None
    return op.work(
        macs=taps.macs,
        other=other,
        op_class=taps.op_class,
        dtype=dtype,
        formula=taps.formula,
        valid_macs=taps.valid_macs,
        product=taps.product,
        variant=taps.variant,
    )


def _fused(op: Op, taps: _Taps) -> Work:
    """One operation an output for a bias (slot 2), one for a fused Add (slot 3), then the activation."""
    each = op.has(2) + op.has(3) + activation_ops(op.attr("activation", ""))
    return _work(op, taps, each * taps.count)


@cost("Conv", f"{MICROSOFT}::FusedConv")
def convolution(op: Op) -> Work:
    """N·Cout·Πout · Cin/g · Πk MACs; an output costs 1 for a bias, 1 for a fused Add, then its activation."""
    return _fused(op, _forward(op))


@cost(f"{MICROSOFT}::NhwcConv", f"{MICROSOFT}::NhwcFusedConv", f"{NHWC}::Conv")
def convolution_channels_last(op: Op) -> Work:
    """As Conv; activations are (N, …, C), the weight stays (Cout, Cin/g, k…)."""
    return _fused(op, _forward(op, channels_last=True))


@cost(f"{NCHWC}::Conv")
def convolution_blocked(op: Op) -> Work:
    """As Conv; the zeros that fill up a last block of channels count, because they are computed.

    The weight says how many channels there are: activations may be in either layout.
    """
    w, out = op.shape(1), op.out_shape()
    if len(w) != 4 or len(out) != 4:
        raise CostError(f"weight {w} and output {out} must both have rank 4")
    group = _group(op, w[0])
    positions = (out[0], w[0], *out[2:])
    taps = _Taps(positions, w[1] * group, group, w[2:], depthwise=group > 1 and w[1] == 1, channels=w[0])
    return _fused(op, taps)


@cost("ConvInteger")
def convolution_integer(op: Op) -> Work:
    """As Conv on 8-bit operands into int32; taking off the zero points is ignored (it folds into a bias)."""
    return _work(op, _forward(op), 0, narrow=(0, 1))


@cost("QLinearConv", f"{MICROSOFT}::QLinearConv", f"{NHWC}::QLinearConv")
def convolution_quantized(op: Op) -> Work:
    """As Conv on narrow integers; an output costs 2 to requantise and 1 for a bias.

    The operands' zero points fold into the bias; rounding and saturating are part of the store.
    """
    last = op.node.domain == NHWC or op.attr("channels_last", 0) == 1
    taps = _forward(op, 3, channels_last=last)
    return _work(op, taps, (REQUANTIZE + op.has(8)) * taps.count, narrow=(0, 3))


@cost("ConvTranspose", f"{NHWC}::ConvTranspose")
def convolution_transposed(op: Op) -> Work:
    """in_elements · Cout/g · Πk MACs, 1 an output for a bias; products that are cropped away count."""
    taps = _transposed(op, channels_last=op.node.domain == NHWC)
    return _work(op, taps, op.elements() if op.has(2) else 0)


@cost(f"{MICROSOFT}::ConvTransposeWithDynamicPads")
def convolution_transposed_dynamic(op: Op) -> Work:
    """As ConvTranspose; the pads are operand 2, the bias operand 3."""
    return _work(op, _transposed(op), op.elements() if op.has(3) else 0)


@cost("DeformConv")
def convolution_deformable(op: Op) -> Work:
    """As Conv, plus the sampling: at each output position, tap and input channel 2ᵈ products and 2ᵈ − 1 sums
    (linear interpolation in d dimensions), 1 for a mask; 1 an output for a bias.

    Ignored: the positions and weights of the corners, which all channels share.
    """
    taps = _forward(op)
    corners = 2 ** len(taps.kernel)
    samples = taps.positions[0] * math.prod(taps.positions[2:]) * math.prod(taps.kernel) * taps.fan
    other = samples * (2 * corners - 1 + op.has(4)) + op.has(3) * taps.count
    return _work(op, taps, other)


@cost("CausalConvWithState", f"{MICROSOFT}::CausalConvWithState")
def convolution_causal(op: Op) -> Work:
    """N·C·L·k MACs of a depthwise 1-D convolution (weight (C, 1, k)); 1 an output for a bias, 5 for SiLU.

    The carried state is read and written as its own bytes; joining it to the input is not counted.
    """
    x, w = op.shape(), op.shape(1)
    if len(x) != 3 or len(w) != 3 or x[1] != w[0]:
        raise CostError(f"input {x} must be (batch, channels, length), weight {w} (channels, 1, k)")
    taps = _Taps(x, w[0], w[0], w[2:], depthwise=True, channels=w[0])
    silu = op.attr("activation", "none").lower() in ("silu", "swish")
    return _work(op, taps, (op.has(2) + SILU * silu) * taps.count)
