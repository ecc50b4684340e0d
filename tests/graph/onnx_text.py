"""Models written in onnx's text form, read without a file.

A tensor that is declared between < > and that no node makes is a weight without payload, as the reader
leaves it: `<float[8,3,3,3] w> { y = Conv(x, w) }`.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx.parser
from onnx import GraphProto, ModelProto, TensorProto

from efficiency_cli.graph.binding import Request
from efficiency_cli.graph.model import Graph, Model, Node
from efficiency_cli.graph.read import build

HEADER = '<ir_version: 10, opset_import: ["" : {opset}, "com.microsoft" : 1, "custom" : 1]>\n'


def parse(text: str, opset: int = 17) -> ModelProto:
    """`text` is a graph, followed by functions where there are some; or a whole model with its own header."""
    text = text.strip()
    model = onnx.parser.parse_model(text if text.startswith("<") else HEADER.format(opset=opset) + text)
    for graph in _graphs(model.graph):
        _declare_weights(graph)
    return model


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)


def _declare_weights(graph: GraphProto) -> None:
    made = {o for node in graph.node for o in node.output} | {t.name for t in graph.initializer}
    for value in graph.value_info:
        if value.name not in made:
            tensor = value.type.tensor_type
            dims = [d.dim_value for d in tensor.shape.dim]
            graph.initializer.append(
                TensorProto(name=value.name, dims=dims, data_type=tensor.elem_type, data_location=TensorProto.EXTERNAL)
            )


def read(text: str, opset: int = 17, **request: object) -> Model:
    """The Model of `text`; `request` as in binding.Request: dims, shapes, batch."""
    return build(parse(text, opset), "m.onnx", 0, Request(**request))  # type: ignore[arg-type]


def graph_of(text: str, opset: int = 17, **request: object) -> Graph:
    return read(text, opset, **request).graph


def named(graph: Graph, name: str) -> Node:
    """The node called `name`, or that makes the tensor `name`."""
    return next(node for node in graph.nodes if node.name == name or name in node.outputs)
