"""Plain data to a small ONNX model: what `measure` builds to time single operators. Its weights are not in it.

Weights are said to be in a file beside the model, one after the other; who runs the model says what is in there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from msgspec import Struct, field
from onnx import ModelProto, TensorProto, helper

from efficiency_cli.graph import read
from efficiency_cli.graph.binding import Request
from efficiency_cli.graph.model import Attribute, DType, Model
from efficiency_cli.graph.roles import MICROSOFT
from efficiency_cli.graph.structure import DTYPES

# the file that weights are said to be in
WEIGHTS = "weights.bin"
# recent enough for all that is built, and known to every onnxruntime that is supported
OPSET, IR_VERSION = 17, 8
_NUMBERS = {dtype: number for number, dtype in DTYPES.items()}


class Layer(Struct, frozen=True):
    """One node."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    domain: str = ""


class Value(Struct, frozen=True):
    """A tensor with its shape. `values` of a constant are in the model; a weight has none."""

    name: str
    dims: tuple[int, ...]
    dtype: DType = DType.FLOAT32
    values: tuple[float, ...] | None = None

    @property
    def size(self) -> int:
        return -(-math.prod(self.dims) * self.dtype.bits // 8)


class Assembled(Struct, frozen=True):
    """The file's bytes and what `read_model` makes of them; where the weights are in WEIGHTS, by name."""

    data: bytes
    model: Model
    places: Mapping[str, int]
    weights: tuple[Value, ...]


def assemble(
    layers: Sequence[Layer],
    inputs: Sequence[Value],
    constants: Sequence[Value],
    outputs: Sequence[str],
    name: str = "g",
) -> Assembled:
    """The model of these nodes. The shapes of its outputs are left to inference."""
    places: dict[str, int] = {}
    tensors, end = [], 0
    for constant in constants:
        if constant.values is None:
            tensors.append(_elsewhere(constant, end))
            places[constant.name] = end
            end += constant.size
        else:
            number = _NUMBERS[constant.dtype]
            tensors.append(helper.make_tensor(constant.name, number, constant.dims, constant.values))
    graph = helper.make_graph(
        [helper.make_node(n.op, n.inputs, n.outputs, domain=n.domain, **n.attributes) for n in layers],
        name,
        [helper.make_tensor_value_info(v.name, _NUMBERS[v.dtype], v.dims) for v in inputs],
        [helper.make_empty_tensor_value_info(output) for output in outputs],
        tensors,
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
    data = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString()
    # reading changes the protobuf it is given
    model = read.build(ModelProto.FromString(data), name, len(data), Request())
    return Assembled(data, model, places, tuple(c for c in constants if c.values is None))


def _elsewhere(weight: Value, start: int) -> TensorProto:
    tensor = TensorProto(name=weight.name, dims=weight.dims, data_type=_NUMBERS[weight.dtype])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", WEIGHTS), ("offset", start), ("length", weight.size)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor
