"""Networks for the tests of receptive fields: a builder of graphs, and the TF-Slim models of the published table."""

from __future__ import annotations

import math
from collections.abc import Iterable

from efficiency_cli.graph.model import Attribute, DType, Graph, Kind, Node, Shape, Tensor


class Net:
    """A graph that grows by one node a call; every call returns the name of what the node makes."""

    def __init__(self, **inputs: Shape | None) -> None:
        self.inputs = tuple(inputs)
        self.tensors = {n: Tensor(n, s, DType.FLOAT32, Kind.INPUT) for n, s in inputs.items()}
        self.nodes: list[Node] = []

    def graph(self, *outputs: str) -> Graph:
        return Graph("g", tuple(self.nodes), self.tensors, self.inputs, outputs)

    def shape(self, name: str) -> Shape:
        shape = self.tensors[name].shape
        assert shape is not None
        return shape

    def constant(self, shape: Shape, value: Iterable[float] | None = None) -> str:
        name = f"c{len(self.tensors)}"
        dtype = DType.FLOAT32 if value is None or any(isinstance(v, float) for v in value) else DType.INT64
        self.tensors[name] = Tensor(name, shape, dtype, Kind.CONSTANT, None if value is None else tuple(value))
        return name

    def numbers(self, *values: float) -> str:
        return self.constant((len(values),), values)

    def add(
        self,
        key: str,
        inputs: Iterable[str],
        shape: Shape | None,
        *,
        name: str = "",
        more: Iterable[Shape | None] = (),
        **attributes: Attribute,
    ) -> str:
        """A node called after its first output; `more` are the shapes of further outputs."""
        domain, _, op = key.rpartition("::")
        name = name or f"{op}{len(self.nodes)}"
        outputs = [name]
        self.tensors[name] = Tensor(name, shape, DType.FLOAT32)
        for k, other in enumerate(more, 1):
            outputs.append(f"{name}.{k}")
            self.tensors[outputs[-1]] = Tensor(outputs[-1], other, DType.FLOAT32)
        self.nodes.append(Node(name, op, domain, tuple(inputs), tuple(outputs), attributes))
        return name

    def same(self, op: str, *inputs: str, name: str = "", **attributes: Attribute) -> str:
        """An elementwise node."""
        return self.add(op, inputs, self.shape(inputs[0]), name=name, **attributes)

    def conv(
        self,
        x: str,
        kernel: int,
        stride: int = 1,
        *,
        channels: int = 8,
        dilation: int = 1,
        pads: tuple[int, int] = (0, 0),
        auto: str = "",
        depthwise: bool = False,
        op: str = "Conv",
        name: str = "",
    ) -> str:
        """A convolution (or pooling: `op`) with the same kernel, stride and pads along every spatial axis."""
        batch, before, *lengths = self.shape(x)
        rank = len(lengths)
        attributes: dict[str, Attribute] = {"kernel_shape": (kernel,) * rank, "strides": (stride,) * rank}
        if dilation != 1:
            attributes["dilations"] = (dilation,) * rank
        if auto:
            attributes["auto_pad"] = auto
        else:
            attributes["pads"] = (pads[0],) * rank + (pads[1],) * rank
        reach = (kernel - 1) * dilation + 1
        out = [-(-n // stride) if auto.startswith("SAME") else (n + sum(pads) - reach) // stride + 1 for n in lengths]
        if op != "Conv":
            return self.add(op, [x], (batch, before, *out), name=name, **attributes)
        group = before if depthwise else 1
        after = before if depthwise else channels
        weight = self.constant((after, before // group, *(kernel,) * rank))
        return self.add("Conv", [x, weight], (batch, after, *out), name=name, group=group, **attributes)

    def pool(self, x: str, kernel: int, stride: int, *, auto: str = "", op: str = "MaxPool", name: str = "") -> str:
        return self.conv(x, kernel, stride, auto=auto, op=op, name=name)

    def concat(self, *parts: str, axis: int = 1, name: str = "") -> str:
        shape = list(self.shape(parts[0]))
        shape[axis] = sum(self.shape(part)[axis] for part in parts)
        return self.add("Concat", parts, tuple(shape), name=name, axis=axis)

    def reshape(self, x: str, *shape: int) -> str:
        assert math.prod(shape) == math.prod(self.shape(x))
        return self.add("Reshape", [x, self.numbers(*shape)], shape)

    def transpose(self, x: str, *order: int) -> str:
        return self.add("Transpose", [x], tuple(self.shape(x)[k] for k in order), perm=order)


# --- TF-Slim, as in google-research/receptive_field -----------------------------------------------


def alexnet_v2(size: int) -> Graph:
    net = Net(image=(1, 3, size, size))
    x = net.conv("image", 11, 4, name="conv1")
    x = net.pool(x, 3, 2, name="pool1")
    x = net.conv(x, 5, auto="SAME_UPPER", name="conv2")
    x = net.pool(x, 3, 2, name="pool2")
    for layer in ("conv3", "conv4", "conv5"):
        x = net.conv(x, 3, auto="SAME_UPPER", name=layer)
    return net.graph(net.pool(x, 3, 2, name="pool5"))


def vgg(size: int, repeats: tuple[int, ...]) -> Graph:
    net = Net(image=(1, 3, size, size))
    x = "image"
    for block, count in enumerate(repeats, 1):
        for layer in range(1, count + 1):
            x = net.conv(x, 3, auto="SAME_UPPER", name=f"conv{block}_{layer}")
        x = net.pool(x, 2, 2, name=f"pool{block}")
    return net.graph(x)


def vgg_a(size: int) -> Graph:
    return vgg(size, (1, 1, 2, 2, 2))


def vgg_16(size: int) -> Graph:
    return vgg(size, (2, 2, 3, 3, 3))


def mobilenet_v1(size: int) -> Graph:
    net = Net(image=(1, 3, size, size))
    x = net.conv("image", 3, 2, auto="SAME_UPPER", name="Conv2d_0")
    for layer, stride in enumerate((1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1), 1):
        x = net.conv(x, 3, stride, auto="SAME_UPPER", depthwise=True)
        x = net.conv(x, 1, name=f"Conv2d_{layer}_pointwise")
    return net.graph(x)


def resnet_v1(size: int, units: tuple[int, ...]) -> Graph:
    """Slim's: a stage strides in its last unit, a strided k × k convolution is padded apart and evenly."""
    net = Net(image=(1, 3, size, size))
    x = _padded_conv(net, "image", 7, 2)
    x = net.pool(x, 3, 2, auto="SAME_UPPER")
    for block, count in enumerate(units, 1):
        for unit in range(1, count + 1):
            stride = 2 if unit == count and block < len(units) else 1
            name = f"block{block}" if unit == count else ""
            x = _bottleneck(net, x, stride, first=unit == 1, name=name)
    return net.graph(x)


def _padded_conv(net: Net, x: str, kernel: int, stride: int) -> str:
    if stride == 1:
        return net.conv(x, kernel, auto="SAME_UPPER")
    before, after = (kernel - 1) // 2, kernel - 1 - (kernel - 1) // 2
    n, c, h, w = net.shape(x)
    pads = net.numbers(0, 0, before, before, 0, 0, after, after)
    return net.conv(net.add("Pad", [x, pads], (n, c, h + kernel - 1, w + kernel - 1)), kernel, stride)


def _bottleneck(net: Net, x: str, stride: int, *, first: bool, name: str) -> str:
    shortcut = net.conv(x, 1, stride) if first else net.pool(x, 1, stride) if stride > 1 else x
    y = net.conv(x, 1, channels=4)
    y = net.conv(_padded_conv(net, y, 3, stride), 1)
    return net.same("Relu", net.same("Add", shortcut, y), name=name)


def inception_v2(size: int) -> Graph:
    net = Net(image=(1, 3, size, size))
    x = net.conv("image", 7, 2, auto="SAME_UPPER", name="Conv2d_1a_7x7")
    x = net.pool(x, 3, 2, auto="SAME_UPPER", name="MaxPool_2a_3x3")
    x = net.conv(x, 1, name="Conv2d_2b_1x1")
    x = net.conv(x, 3, auto="SAME_UPPER", name="Conv2d_2c_3x3")
    x = net.pool(x, 3, 2, auto="SAME_UPPER", name="MaxPool_3a_3x3")
    for layer in "3b 3c 4a 4b 4c 4d 4e 5a 5b 5c".split():
        x = (_reduction if layer in ("4a", "5a") else _mixed)(net, x, f"Mixed_{layer}")
    return net.graph(x)


def _mixed(net: Net, x: str, name: str) -> str:
    def conv(y: str, kernel: int) -> str:
        return net.conv(y, kernel, auto="SAME_UPPER")

    pooled = net.pool(x, 3, 1, auto="SAME_UPPER", op="AveragePool")
    branches = conv(x, 1), conv(conv(x, 1), 3), conv(conv(conv(x, 1), 3), 3), conv(pooled, 1)
    return net.concat(*branches, name=name)


def _reduction(net: Net, x: str, name: str) -> str:
    short = net.conv(net.conv(x, 1), 3, 2, auto="SAME_UPPER")
    long = net.conv(net.conv(net.conv(x, 1), 3, auto="SAME_UPPER"), 3, 2, auto="SAME_UPPER")
    return net.concat(short, long, net.pool(x, 3, 2, auto="SAME_UPPER"), name=name)
