"""Writes small networks layer by layer: each method adds what it is called and gives the tensor it makes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from efficiency_cli.graph.assemble import Assembled, Layer, Value, assemble
from efficiency_cli.graph.model import Attribute, DType, Shape
from efficiency_cli.graph.roles import MICROSOFT

# of quantised tensors
_SCALE = 0.02
_MIDDLE = 128


class Builder:
    """A network in the making. Tensors are known by name; their shapes are kept beside."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self.inputs: list[Value] = []
        self.constants: list[Value] = []
        self.shapes: dict[str, Shape] = {}
        self.count = 0

    def built(self, *outputs: str) -> Assembled:
        return assemble(self.layers, self.inputs, self.constants, outputs)

    def _name(self, kind: str) -> str:
        self.count += 1
        return f"{kind}{self.count}"

    def input(self, *dims: int, dtype: DType = DType.FLOAT32) -> str:
        name = self._name("x")
        self.inputs.append(Value(name, dims, dtype))
        self.shapes[name] = dims
        return name

    def weight(self, *dims: int, dtype: DType = DType.FLOAT32) -> str:
        name = self._name("w")
        self.constants.append(Value(name, dims, dtype))
        self.shapes[name] = dims
        return name

    def constant(self, values: Sequence[float], dims: Shape | None = None, dtype: DType = DType.INT64) -> str:
        name = self._name("c")
        self.constants.append(Value(name, (len(values),) if dims is None else dims, dtype, tuple(values)))
        return name

    def op(self, op: str, inputs: Sequence[str], shape: Shape, **attributes: Attribute) -> str:
        """Any operator with one output of this shape."""
        return self.ops(op, inputs, [shape], **attributes)[0]

    def ops(self, op: str, inputs: Sequence[str], shapes: Sequence[Shape], **attributes: Attribute) -> list[str]:
        return self._layer(op, inputs, shapes, "", attributes)

    def microsoft(self, op: str, inputs: Sequence[str], shape: Shape, **attributes: Attribute) -> str:
        """An operator that is onnxruntime's own."""
        return self.microsofts(op, inputs, [shape], **attributes)[0]

    def microsofts(self, op: str, inputs: Sequence[str], shapes: Sequence[Shape], **attributes: Attribute) -> list[str]:
        return self._layer(op, inputs, shapes, MICROSOFT, attributes)

    def same(self, op: str, *inputs: str, **attributes: Attribute) -> str:
        """An operator whose result has the shape of its first operand."""
        return self.op(op, inputs, self.shapes[inputs[0]], **attributes)

    def _layer(
        self,
        op: str,
        inputs: Sequence[str],
        shapes: Sequence[Shape],
        domain: str,
        attributes: Mapping[str, Attribute],
    ) -> list[str]:
        names = [self._name("t") for _ in shapes]
        self.layers.append(Layer(op, tuple(inputs), tuple(names), attributes, domain))
        self.shapes.update(zip(names, shapes, strict=True))
        return names

    # --- layers ------------------------------------------------------------------------------

    def conv(
        self,
        x: str,
        channels: int,
        kernel: int,
        *,
        stride: int = 1,
        group: int = 1,
        bias: bool = True,
        dilation: int = 1,
        transposed: bool = False,
        given: bool = False,
    ) -> str:
        """A convolution over all axes behind the first two, padded so that its stride alone makes it smaller.

        `given`: its weights are an input of the network, not constants.
        """
        n, c, *space = self.shapes[x]
        axes = len(space)
        pad = dilation * (kernel - 1) // 2 if not transposed else 0
        dims = (c, channels // group) if transposed else (channels, c // group)
        weight = (self.input if given else self.weight)(*dims, *[kernel] * axes)
        biases = [self.weight(channels)] if bias and not given else []
        if transposed:
            out = [(s - 1) * stride + kernel for s in space]
        else:
            out = [(s + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1 for s in space]
        attributes: Mapping[str, Attribute] = {
            "kernel_shape": (kernel,) * axes,
            "pads": (pad,) * (2 * axes),
            "strides": (stride,) * axes,
            "dilations": (dilation,) * axes,
            "group": group,
        }
        op = "ConvTranspose" if transposed else "Conv"
        return self.op(op, [x, weight, *biases], (n, channels, *out), **attributes)

    def dense(self, x: str, width: int, bias: bool = True) -> str:
        """x · W + b along the last axis."""
        shape = self.shapes[x]
        found = self.op("MatMul", [x, self.weight(shape[-1], width)], (*shape[:-1], width))
        return self.same("Add", found, self.weight(width)) if bias else found

    def matmul(self, a: str, b: str) -> str:
        return self.op("MatMul", [a, b], (*self.shapes[a][:-1], self.shapes[b][-1]))

    def transpose(self, x: str, *perm: int) -> str:
        shape = self.shapes[x]
        return self.op("Transpose", [x], tuple(shape[p] for p in perm), perm=perm)

    def reshape(self, x: str, *dims: int) -> str:
        return self.op("Reshape", [x, self.constant(dims)], dims)

    def pool(self, x: str, op: str, kernel: int, stride: int, pad: int = 0) -> str:
        n, c, *space = self.shapes[x]
        out = [(s + 2 * pad - kernel) // stride + 1 for s in space]
        attributes = {"kernel_shape": (kernel,) * 2, "strides": (stride,) * 2, "pads": (pad,) * 4}
        return self.op(op, [x], (n, c, *out), **attributes)

    def global_pool(self, x: str) -> str:
        n, c, *space = self.shapes[x]
        return self.op("GlobalAveragePool", [x], (n, c, *[1] * len(space)))

    def concat(self, *parts: str, axis: int = 1) -> str:
        shape = list(self.shapes[parts[0]])
        shape[axis] = sum(self.shapes[p][axis] for p in parts)
        return self.op("Concat", parts, tuple(shape), axis=axis)

    def norm(self, x: str) -> str:
        width = self.shapes[x][-1]
        return self.same("LayerNormalization", x, self.weight(width), self.weight(width), axis=-1)

    def gelu(self, x: str) -> str:
        """As exporters write it."""
        root, one, half = (self.constant([v], (), DType.FLOAT32) for v in (math.sqrt(2), 1.0, 0.5))
        inner = self.same("Add", self.same("Erf", self.same("Div", x, root)), one)
        return self.same("Mul", self.same("Mul", x, inner), half)

    def silu(self, x: str) -> str:
        return self.same("Mul", x, self.same("Sigmoid", x))

    # --- blocks ------------------------------------------------------------------------------

    def attention(self, x: str, heads: int) -> str:
        """Self-attention of (1, tokens, width) with its four projections."""
        _, tokens, width = self.shapes[x]
        head = width // heads
        q, k, v = (self.reshape(self.dense(x, width), 1, tokens, heads, head) for _ in range(3))
        scores = self.matmul(self.transpose(q, 0, 2, 1, 3), self.transpose(k, 0, 2, 3, 1))
        scaled = self.same("Mul", scores, self.constant([head**-0.5], (), DType.FLOAT32))
        mixed = self.matmul(self.same("Softmax", scaled, axis=-1), self.transpose(v, 0, 2, 1, 3))
        return self.dense(self.reshape(self.transpose(mixed, 0, 2, 1, 3), 1, tokens, width), width)

    def feed_forward(self, x: str, factor: int = 4) -> str:
        width = self.shapes[x][-1]
        return self.dense(self.gelu(self.dense(x, factor * width)), width)

    # --- eight bits --------------------------------------------------------------------------

    def _quantization(self, dtype: DType) -> tuple[str, str]:
        middle = _MIDDLE if dtype is DType.UINT8 else 0
        return self.constant([_SCALE], (), DType.FLOAT32), self.constant([middle], (), dtype)

    def quantized(self, x: str, dtype: DType = DType.UINT8) -> str:
        """Through eight bits and back."""
        scale, zero = self._quantization(dtype)
        return self.same("DequantizeLinear", self.same("QuantizeLinear", x, scale, zero), scale, zero)

    def narrow_weight(self, *dims: int, dtype: DType = DType.INT8) -> str:
        """A weight of eight bits, with one scale, as float32."""
        scale, zero = self._quantization(dtype)
        weight = self.weight(*dims, dtype=dtype)
        return self.op("DequantizeLinear", [weight, scale, zero], dims)

    def narrow_bias(self, channels: int) -> str:
        scale = self.constant([_SCALE * _SCALE], (), DType.FLOAT32)
        zero = self.constant([0], (), DType.INT32)
        return self.op("DequantizeLinear", [self.weight(channels, dtype=DType.INT32), scale, zero], (channels,))

    def narrow_conv(
        self, x: str, channels: int, kernel: int, *, stride: int = 1, group: int = 1, dtype: DType = DType.INT8
    ) -> str:
        """A convolution of eight bits in Q/DQ form; `x` and the result are float32, `dtype` is that of the weights."""
        n, c, h, w = self.shapes[x]
        pad = (kernel - 1) // 2
        weight = self.narrow_weight(channels, c // group, kernel, kernel, dtype=dtype)
        shape = (n, channels, (h + 2 * pad - kernel) // stride + 1, (w + 2 * pad - kernel) // stride + 1)
        attributes: Mapping[str, Attribute] = {
            "kernel_shape": (kernel,) * 2,
            "pads": (pad,) * 4,
            "strides": (stride,) * 2,
            "group": group,
        }
        return self.quantized(self.op("Conv", [x, weight, self.narrow_bias(channels)], shape, **attributes))

    def narrow_dense(self, x: str, width: int, dtype: DType = DType.INT8) -> str:
        rows, depth = self.shapes[x]
        weight = self.narrow_weight(depth, width, dtype=dtype)
        return self.quantized(self.op("Gemm", [x, weight, self.narrow_bias(width)], (rows, width)))
