"""Reading the conformance vectors: YAML to ONNX models and expected integers.

Knows onnx and PyYAML and nothing of the tool under test, so that any tool can use it. README.md in this
folder describes the format.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import yaml
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, helper, parser

FOLDER = Path(__file__).parent
REQUIRED = ("macs", "flops", "parameters")
BYTES = ("node_bytes", "bytes_moved")
EXPECTED = (*REQUIRED, *BYTES, "auxiliary_parameters", "weight_bytes", "valid_macs", "kv_cache_bytes")
SETTINGS = ("dims", "branch", "trips")
FLAGS = ("flops_by_type", "lower_bound", "not_modelled", "batch_assumed", "opaque")


@dataclass(frozen=True)
class Vector:
    """One model and what a counter must say of it. `expressions` are the hand calculations by key."""

    name: str
    family: str
    why: str
    source: Mapping[str, Any]
    expressions: Mapping[str, str]

    @property
    def expected(self) -> dict[str, int]:
        return {key: evaluate(text) for key, text in self.expressions.items()}

    @property
    def flops_by_type(self) -> dict[str, int]:
        return {key: evaluate(str(text)) for key, text in self.source.get("flops_by_type", {}).items()}

    @property
    def settings(self) -> dict[str, Any]:
        """Values of symbolic dimensions, the branch of an If, the trips of Loops."""
        return {key: self.source[key] for key in SETTINGS if key in self.source}

    @property
    def flags(self) -> dict[str, Any]:
        """What a tool should also report: a lower bound, operators it has no rule for, an assumed batch."""
        return {key: self.source[key] for key in FLAGS if key in self.source and key != "flops_by_type"}

    def model(self) -> ModelProto:
        """The ONNX model; weights that are only declared are filled in."""
        text = self.source.get("model")
        return parse(text) if text else from_nodes(self.source["nodes"])


# --- expressions -------------------------------------------------------------------------------

_OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}


def evaluate(text: str) -> int:
    """An expression of integers with + - * / and brackets; a division must come out even."""
    try:
        return _value(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ZeroDivisionError) as error:
        raise ValueError(f"not an expression: {text!r}") from error


def _value(node: ast.AST) -> int:
    match node:
        case ast.Constant(value=int(number)) if not isinstance(number, bool):
            return number
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _value(left), _value(right)
            if isinstance(op, ast.Div):
                quotient, rest = divmod(a, b)
                if rest:
                    raise ValueError(f"{a} / {b} does not come out even")
                return quotient
            if type(op) in _OPERATORS:
                return _OPERATORS[type(op)](a, b)
    raise ValueError(f"only integers, + - * / and brackets may be used: {ast.unparse(node)!r}")


# --- files -------------------------------------------------------------------------------------


def load(folder: Path = FOLDER) -> list[Vector]:
    """Every vector of every YAML file, in the files' order."""
    return [vector for path in sorted(folder.glob("*.yaml")) for vector in _of_file(path)]


def _of_file(path: Path) -> Iterator[Vector]:
    for entry in yaml.safe_load(path.read_text(encoding="utf-8")):
        known = {"name", "why", "model", "nodes", *EXPECTED, *SETTINGS, *FLAGS}
        if unknown := entry.keys() - known:
            raise ValueError(f"{path.name}: {entry.get('name')}: unknown keys {sorted(unknown)}")
        expressions = {key: str(entry[key]) for key in EXPECTED if key in entry}
        yield Vector(entry["name"], path.stem, entry["why"], entry, expressions)


# --- models ------------------------------------------------------------------------------------

_BITS = {
    **dict.fromkeys(("DOUBLE", "INT64", "UINT64", "COMPLEX64"), 64),
    **dict.fromkeys(("FLOAT", "INT32", "UINT32"), 32),
    **dict.fromkeys(("FLOAT16", "BFLOAT16", "INT16", "UINT16"), 16),
    **dict.fromkeys(("FLOAT4E2M1", "INT4", "UINT4"), 4),
    **dict.fromkeys(("INT2", "UINT2"), 2),
    "COMPLEX128": 128,
}
# 1.0 in little-endian bytes; weights of other types are filled with zeros
_ONE = {"FLOAT": b"\0\0\x80\x3f", "DOUBLE": b"\0\0\0\0\0\0\xf0\x3f", "FLOAT16": b"\0\x3c", "BFLOAT16": b"\x80\x3f"}


def parse(text: str) -> ModelProto:
    """onnx's text format, with one addition: a tensor that is declared in a graph's <…> list, and that no node
    makes, is a weight. Weights of float types are filled with 1, others with 0."""
    model = parser.parse_model(text)
    _fill(model.graph)
    return model


def _fill(graph: GraphProto) -> None:
    made = {name for node in graph.node for name in node.output}
    declared = [v for v in graph.value_info if v.name not in made]
    kept = [v for v in graph.value_info if v.name in made]
    for value in declared:
        tensor = value.type.tensor_type
        graph.initializer.append(weight(value.name, tensor.elem_type, [d.dim_value for d in tensor.shape.dim]))
    del graph.value_info[:]
    graph.value_info.extend(kept)
    for node in graph.node:
        for attribute in node.attribute:
            for body in _bodies(attribute):
                _fill(body)


def _bodies(attribute: AttributeProto) -> Iterator[GraphProto]:
    if attribute.type == AttributeProto.GRAPH:
        yield attribute.g


def weight(name: str, data_type: int, shape: list[int]) -> TensorProto:
    """An initializer of ones (float types) or zeros."""
    kind = TensorProto.DataType.Name(data_type)
    count = math.prod(shape)
    raw = _ONE[kind] * count if kind in _ONE else bytes((count * _BITS.get(kind, 8) + 7) // 8)
    return TensorProto(name=name, data_type=data_type, dims=shape, raw_data=raw)


def from_nodes(spec: Mapping[str, Any]) -> ModelProto:
    """A model from the list of nodes that README.md describes, for what the text format cannot say."""
    graph = GraphProto(name="graph")
    for text in spec["inputs"]:
        graph.input.append(_typed(text))
    for text in spec["outputs"]:
        graph.output.append(_typed(text))
    for text in spec.get("weights", ()):
        tensor = _typed(text)
        graph.initializer.append(_weight_of(tensor))
    for entry in spec.get("sparse_weights", ()):
        graph.sparse_initializer.append(_sparse(entry["tensor"], entry["stored"]))
    for node in spec["nodes"]:
        made = helper.make_node(
            node["op"],
            node["inputs"],
            node["outputs"],
            name=node.get("name", ""),
            domain=node.get("domain", ""),
            **node.get("attributes", {}),
        )
        graph.node.append(made)
    opsets = [helper.make_opsetid(domain, version) for domain, version in spec["opset"].items()]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def _typed(text: str) -> onnx.ValueInfoProto:
    """'float[1,3] x' as onnx's text format writes it."""
    return parser.parse_graph(f"g ({text}) => () {{}}").input[0]


def _weight_of(value: onnx.ValueInfoProto) -> TensorProto:
    tensor = value.type.tensor_type
    return weight(value.name, tensor.elem_type, [d.dim_value for d in tensor.shape.dim])


def _sparse(text: str, stored: int) -> onnx.SparseTensorProto:
    """A sparse weight whose first `stored` elements are not zero."""
    value = _typed(text)
    tensor = value.type.tensor_type
    indices = helper.make_tensor("indices", TensorProto.INT64, [stored], list(range(stored)))
    return helper.make_sparse_tensor(
        weight(value.name, tensor.elem_type, [stored]), indices, [d.dim_value for d in tensor.shape.dim]
    )
