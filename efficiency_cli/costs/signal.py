"""Fourier transforms, windows and mel filters.

A transform of N complex points counts 5·N·⌈log₂ N⌉ operations (radix 2), half of that for real ones,
whatever the algorithm: the usual convention of FFT benchmarks (FFTW's "mflops").
"""

from __future__ import annotations

import math

from efficiency_cli.costs import MICROSOFT, CostError, Op, Work, cost

# operations an element of the window functions
_WINDOWS = {
    "HannWindow": 4,  # angle, cos, scale, subtract
    "HammingWindow": 4,  # the same
    "BlackmanWindow": 8,  # two cosines with angle and scale, a sum and a difference
}


def fourier_ops(points: int, *, real: bool) -> int:
    """5·N·⌈log₂ N⌉, or half of it for real input."""
    count = 5 * points * max(points - 1, 0).bit_length()
    return count // 2 if real else count


def _value(op: Op, slot: int, default: int) -> int:
    tensor = op.get(slot)
    return int(tensor.value[0]) if tensor is not None and tensor.value else default


@cost("DFT")
def dft(op: Op) -> Work:
    """One transform along `axis` for each other index; the last axis holds the real and imaginary part.

    The length is operand 1, else the axis's own. `onesided` halves the output, not the work on real input.
    """
    x = op.shape()
    if len(x) < 2:
        raise CostError(f"input {x} must have rank 2 at least")
    axis = _value(op, 2, op.attr("axis", 1 if "axis" in op.node.attributes else -2))
    if not -len(x) <= axis < len(x):
        raise CostError(f"axis {axis} is outside the input {x}")
    points = _value(op, 1, x[axis])
    transforms = math.prod(x) // max(x[axis] * x[-1], 1)
    return op.work(other=transforms * fourier_ops(points, real=x[-1] == 1))


@cost("STFT")
def stft(op: Op) -> Work:
    """One transform a frame, and 1 a point for the window; frames are the output's axis 1."""
    x, out = op.shape(), op.out_shape()
    if len(out) != 4:
        raise CostError(f"output {out} must be (batch, frames, bins, 2)")
    window = op.shape(2)[0] if op.has(2) else 0
    bins = out[2] if not op.attr("onesided", 1) else 2 * (out[2] - 1)
    points = _value(op, 3, window or bins)
    real = len(x) == 2 or x[-1] == 1
    frame = fourier_ops(points, real=real) + points * op.has(2)
    return op.work(other=out[0] * out[1] * frame)


@cost(f"{MICROSOFT}::Rfft", f"{MICROSOFT}::Irfft")
def real_dft(op: Op) -> Work:
    """Transforms over the last `signal_ndim` axes of real data (the longer operand or result): half of a
    complex one."""
    inverse = op.node.op == "Irfft"
    real = op.out_shape() if inverse else op.shape()
    axes = real[len(real) - op.attr("signal_ndim", 1) :]
    points = math.prod(axes)
    return op.work(other=math.prod(real) // max(points, 1) * fourier_ops(points, real=True))


@cost(*_WINDOWS)
def window(op: Op) -> Work:
    """The table's operations an element: cosines, their angles and weights."""
    return op.work(other=_WINDOWS[op.node.op] * op.elements())


@cost("MelWeightMatrix")
def mel_weights(op: Op) -> Work:
    """6 an element: two slopes (subtract, divide), their minimum and zero."""
    return op.work(other=6 * op.elements())
