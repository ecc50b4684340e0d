"""The layers that the convolutional samples are made of, once in float and once in int8 Q/DQ form.

A network is written once against `Layers`; the subclass it is given decides how each layer is exported.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from graph_builder import Builder, module_path
from onnx import TensorProto

Padding = Callable[[int, int, int], tuple[int, int]]


@dataclass(frozen=True)
class Grid:
    """The int8 grid of a tensor: real = (stored − zero_point) · scale; both live in named initializers."""

    scale: float
    scale_name: str
    zero_point_name: str


@dataclass(frozen=True)
class Feature:
    """A tensor inside the network, its shape without the batch axis; in int8 networks the stored int8 one."""

    name: str
    shape: tuple[int, ...]
    grid: Grid | None = None


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME: output = ceil(size / stride), the odd pixel goes to the end."""
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def half_padding(_size: int, kernel: int, _stride: int) -> tuple[int, int]:
    """PyTorch's usual padding = kernel // 2 on both sides."""
    return kernel // 2, kernel // 2


@dataclass(frozen=True)
class Window:
    """Where a kernel is placed on a plane: ONNX attributes and the plane that comes out."""

    kernel: tuple[int, int]
    stride: int
    pads: tuple[int, int, int, int]
    plane: tuple[int, int]

    @classmethod
    def over(cls, plane: tuple[int, ...], kernel: tuple[int, int], stride: int, padding: Padding) -> Window:
        (top, bottom), (left, right) = (padding(n, k, stride) for n, k in zip(plane, kernel, strict=True))
        height = (plane[0] + top + bottom - kernel[0]) // stride + 1
        width = (plane[1] + left + right - kernel[1]) // stride + 1
        return cls(kernel, stride, (top, left, bottom, right), (height, width))

    def attributes(self) -> dict[str, Any]:
        return {"kernel_shape": self.kernel, "pads": self.pads, "strides": (self.stride, self.stride)}


class Layers(ABC):
    """What a network asks for. `norm` names the batch normalisation's module; empty for none."""

    def __init__(self, builder: Builder, padding: Padding = same_padding) -> None:
        self.builder = builder
        self.padding = padding

    @abstractmethod
    def input(self, shape: tuple[int, ...]) -> Feature: ...

    @abstractmethod
    def output(self, x: Feature) -> None: ...

    @abstractmethod
    def conv(
        self,
        x: Feature,
        name: str,
        channels: int,
        kernel: tuple[int, int],
        *,
        stride: int = 1,
        groups: int = 1,
        norm: str = "",
        activation: str = "",
    ) -> Feature: ...

    @abstractmethod
    def dense(self, x: Feature, name: str, units: int, *, norm: str = "", activation: str = "") -> Feature: ...

    @abstractmethod
    def add(self, x: Feature, y: Feature, scope: str = "", *, activation: str = "") -> Feature: ...

    @abstractmethod
    def average_pool(self, x: Feature) -> Feature:
        """Average over the whole plane, as a pool with a kernel of that size."""

    @abstractmethod
    def flatten(self, x: Feature) -> Feature: ...

    @abstractmethod
    def softmax(self, x: Feature) -> Feature: ...

    def activate(self, value: str, scope: str, activation: str) -> str:
        """Append `activation` ("Relu", "Relu6" or none) to a real-valued tensor."""
        if activation == "Relu6":
            low = self.builder.constant("relu6_min", 0, np.float32)
            high = self.builder.constant("relu6_max", 6, np.float32)
            return self.builder.op("Clip", [value, low, high], scope)
        return self.builder.op(activation, [value], scope) if activation else value


class FloatLayers(Layers):
    """float32; batch normalisation stays a node of its own, so parameters count as in the training framework.

    `bias` says whether a convolution that is followed by batch normalisation has a bias of its own: Keras'
    default is yes, torchvision's networks say no.
    """

    def __init__(self, builder: Builder, padding: Padding = same_padding, *, bias: bool = True) -> None:
        super().__init__(builder, padding)
        self.bias = bias

    def input(self, shape: tuple[int, ...]) -> Feature:
        return Feature(self.builder.input("input", [1, *shape]), shape)

    def output(self, x: Feature) -> None:
        self.builder.output("output", x.name, [1, *x.shape])

    def conv(
        self,
        x: Feature,
        name: str,
        channels: int,
        kernel: tuple[int, int],
        *,
        stride: int = 1,
        groups: int = 1,
        norm: str = "",
        activation: str = "",
    ) -> Feature:
        window = Window.over(x.shape[1:], kernel, stride, self.padding)
        operands = [x.name, self.builder.weight(f"{name}.weight", (channels, x.shape[0] // groups, *kernel))]
        if self.bias or not norm:
            operands.append(self.builder.weight(f"{name}.bias", (channels,), fill=0))
        value = self.builder.op(
            "Conv", operands, module_path(name), dilations=(1, 1), group=groups, **window.attributes()
        )
        value = self._finish(value, name, channels, norm, activation)
        return Feature(value, (channels, *window.plane))

    def dense(self, x: Feature, name: str, units: int, *, norm: str = "", activation: str = "") -> Feature:
        weight = self.builder.weight(f"{name}.weight", (units, *x.shape))
        bias = self.builder.weight(f"{name}.bias", (units,), fill=0)
        value = self.builder.op("Gemm", [x.name, weight, bias], module_path(name), alpha=1.0, beta=1.0, transB=1)
        return Feature(self._finish(value, name, units, norm, activation), (units,))

    def add(self, x: Feature, y: Feature, scope: str = "", *, activation: str = "") -> Feature:
        value = self.builder.op("Add", [x.name, y.name], scope)
        return Feature(self.activate(value, scope, activation), x.shape)

    def average_pool(self, x: Feature) -> Feature:
        channels, *plane = x.shape
        value = self.builder.op("AveragePool", [x.name], kernel_shape=plane, strides=plane)
        return Feature(value, (channels, 1, 1))

    def global_average_pool(self, x: Feature, scope: str = "") -> Feature:
        return Feature(self.builder.op("GlobalAveragePool", [x.name], scope), (x.shape[0], 1, 1))

    def max_pool(self, x: Feature, scope: str, kernel: int, stride: int) -> Feature:
        window = Window.over(x.shape[1:], (kernel, kernel), stride, self.padding)
        value = self.builder.op("MaxPool", [x.name], scope, ceil_mode=0, **window.attributes())
        return Feature(value, (x.shape[0], *window.plane))

    def flatten(self, x: Feature) -> Feature:
        return Feature(self.builder.op("Flatten", [x.name], axis=1), (math.prod(x.shape),))

    def softmax(self, x: Feature) -> Feature:
        return Feature(self.builder.op("Softmax", [x.name], axis=-1), x.shape)

    def _finish(self, value: str, name: str, channels: int, norm: str, activation: str) -> str:
        if norm:
            fills = {"weight": 1, "bias": 0, "running_mean": 0, "running_var": 1}
            operands = [self.builder.weight(f"{norm}.{key}", (channels,), fill=v) for key, v in fills.items()]
            value = self.builder.op(
                "BatchNormalization", [value, *operands], module_path(norm), epsilon=1e-5, momentum=0.9
            )
        return self.activate(value, _parent(name), activation)


class Int8Layers(Layers):
    """int8 in, int8 out, as a TFLite network reads in Q/DQ form.

    Every operator stands between DequantizeLinear and QuantizeLinear. Batch normalisation is folded away.
    Weights are symmetric: one scale a channel for convolutions, one a tensor for dense layers; biases int32
    with scale input × weight. The scales are plausible, not trained.
    """

    ACTIVATION_SCALE = 6 / 255  # a ReLU6-like range on 255 steps
    SOFTMAX_SCALE = 1 / 256  # TFLite prescribes it

    def __init__(self, builder: Builder, padding: Padding = same_padding) -> None:
        super().__init__(builder, padding)
        self._reals: dict[str, str] = {}

    def input(self, shape: tuple[int, ...]) -> Feature:
        name = self.builder.input("input", [1, *shape], TensorProto.INT8)
        return Feature(name, shape, self._grid(name, 1 / 255, -128))

    def output(self, x: Feature) -> None:
        self.builder.output("output", x.name, [1, *x.shape], TensorProto.INT8)

    def conv(
        self,
        x: Feature,
        name: str,
        channels: int,
        kernel: tuple[int, int],
        *,
        stride: int = 1,
        groups: int = 1,
        norm: str = "",  # noqa: ARG002  folded into weight and bias
        activation: str = "",
    ) -> Feature:
        window = Window.over(x.shape[1:], kernel, stride, self.padding)
        shape = (channels, x.shape[0] // groups, *kernel)
        operands = [self._real(x), *self._weight_and_bias(x, name, shape, per_channel=True)]
        value = self.builder.op(
            "Conv", operands, module_path(name), dilations=(1, 1), group=groups, **window.attributes()
        )
        return self._finish(value, name, (channels, *window.plane), activation)

    def dense(
        self,
        x: Feature,
        name: str,
        units: int,
        *,
        norm: str = "",  # noqa: ARG002  folded into weight and bias
        activation: str = "",
    ) -> Feature:
        operands = [self._real(x), *self._weight_and_bias(x, name, (units, *x.shape), per_channel=False)]
        value = self.builder.op("Gemm", operands, module_path(name), alpha=1.0, beta=1.0, transB=1)
        return self._finish(value, name, (units,), activation)

    def add(self, x: Feature, y: Feature, scope: str = "", *, activation: str = "") -> Feature:
        value = self.builder.op("Add", [self._real(x), self._real(y)], scope)
        value = self.activate(value, scope, activation)
        return self._quantized(value, x.shape, self._activation_grid(value, activation))

    def average_pool(self, x: Feature) -> Feature:
        channels, *plane = x.shape
        value = self.builder.op("AveragePool", [self._real(x)], kernel_shape=plane, strides=plane)
        return self._quantized(value, (channels, 1, 1), x.grid)

    def flatten(self, x: Feature) -> Feature:
        shape = self.builder.constant("flat_shape", [1, math.prod(x.shape)])
        value = self.builder.op("Reshape", [self._real(x), shape])
        return self._quantized(value, (math.prod(x.shape),), x.grid)

    def softmax(self, x: Feature) -> Feature:
        value = self.builder.op("Softmax", [self._real(x)], axis=-1)
        return self._quantized(value, x.shape, self._grid(value, self.SOFTMAX_SCALE, -128))

    def _finish(self, value: str, name: str, shape: tuple[int, ...], activation: str) -> Feature:
        value = self.activate(value, _parent(name), activation)
        return self._quantized(value, shape, self._activation_grid(value, activation))

    def _weight_and_bias(self, x: Feature, name: str, shape: tuple[int, ...], *, per_channel: bool) -> tuple[str, str]:
        assert x.grid is not None
        b, channels = self.builder, shape[:1]
        spread = channels if per_channel else ()
        axis = {"axis": 0} if per_channel else {}
        scale = math.sqrt(3 / math.prod(shape[1:])) / 127
        weight, bias = f"{name}.weight", f"{name}.bias"
        weight_operands = [
            b.weight(f"{weight}_quantized", shape, TensorProto.INT8),
            b.constant(f"{weight}_scale", np.full(spread, scale), np.float32),
            b.constant(f"{weight}_zero_point", np.zeros(spread), np.int8),
        ]
        bias_operands = [
            b.weight(f"{bias}_quantized", channels, TensorProto.INT32, fill=0),
            b.constant(f"{bias}_quantized_scale", np.full(spread, scale * x.grid.scale), np.float32),
        ]
        return (
            b.op("DequantizeLinear", weight_operands, f"/{weight}", **axis),
            b.op("DequantizeLinear", bias_operands, f"/{bias}", **axis),
        )

    def _grid(self, name: str, scale: float, zero_point: int) -> Grid:
        scale_name = self.builder.constant(f"{name}_scale", scale, np.float32)
        return Grid(scale, scale_name, self.builder.constant(f"{name}_zero_point", zero_point, np.int8))

    def _activation_grid(self, name: str, activation: str) -> Grid:
        return self._grid(name, self.ACTIVATION_SCALE, -128 if activation else 0)

    def _quantized(self, value: str, shape: tuple[int, ...], grid: Grid | None) -> Feature:
        assert grid is not None
        stored = self.builder.op("QuantizeLinear", [value, grid.scale_name, grid.zero_point_name], value)
        return Feature(stored, shape, grid)

    def _real(self, x: Feature) -> str:
        """The dequantised tensor; made once, read by every consumer."""
        assert x.grid is not None
        if x.name not in self._reals:
            operands = [x.name, x.grid.scale_name, x.grid.zero_point_name]
            scope = x.name.removesuffix("/QuantizeLinear_output_0")
            self._reals[x.name] = self.builder.op("DequantizeLinear", operands, scope)
        return self._reals[x.name]


def _parent(name: str) -> str:
    parent = name.rpartition(".")[0]
    return module_path(parent) if parent else ""
