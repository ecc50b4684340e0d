"""Small networks of any operators, with operands and attributes that mostly do not fit."""

from __future__ import annotations

import random
from collections.abc import Sequence

import onnx
from fuzz_values import CONTRIB, DOMAINS, INTS, SIZES, TYPES, int_tensor, random_attribute, schemas
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper


def invented(rng: random.Random) -> ModelProto:
    """One to five nodes of any operators, with operands and attributes that mostly do not fit."""
    graph = GraphProto(name="invented")
    names: list[str] = []
    rank = rng.choice((0, 1, 2, 3, 4, 4, 5))
    for k in range(rng.randint(1, 4)):
        names.append(f"x{k}")
        graph.input.append(_random_value(rng, names[-1], rank))
    for k in range(rng.randint(0, 4)):
        names.append(f"w{k}")
        graph.initializer.append(_random_tensor(rng, names[-1], rank))
    for k in range(rng.randint(1, 5)):
        node = _random_node(rng, names)
        node.output[:] = [f"y{k}_{i}" for i in range(rng.choice((0, 1, 1, 1, 1, 2, 3, 6)))]
        names.extend(node.output)
        graph.node.append(node)
    for name in rng.sample(names, rng.randint(1, min(3, len(names)))):
        graph.output.add(name=name)
    opset = rng.choice((onnx.defs.onnx_opset_version(), rng.randint(1, 26)))
    domains = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in DOMAINS[2:])]
    return helper.make_model(graph, opset_imports=domains)


def _random_node(rng: random.Random, names: Sequence[str]) -> NodeProto:
    schema = rng.choice(schemas())
    microsoft = rng.random() < 0.2
    op, domain = (rng.choice(CONTRIB), "com.microsoft") if microsoft else (schema.name, schema.domain)
    count = rng.choice((0, 1, 2, 3, 4, 6, 9)) if microsoft or rng.random() < 0.2 else schema.min_input
    if not microsoft and rng.random() < 0.5:
        count = rng.randint(schema.min_input, min(schema.max_input, schema.min_input + 4))
    node = helper.make_node(op, [rng.choice((*names, *names, *names, "")) for _ in range(count)], [], domain=domain)
    attributes = _MICROSOFT_ATTRIBUTES if microsoft else tuple(schema.attributes)
    for name in rng.sample(attributes, min(len(attributes), rng.randrange(5))):
        node.attribute.append(_fitting_attribute(rng, name, None if microsoft else schema))
    return node


_MICROSOFT_ATTRIBUTES = tuple(
    """num_heads kv_num_heads N K bits block_size axis transA transB channels_last kernel_shape strides pads k group
    qkv_hidden_sizes activation quantize_axis gather_axis groups interleaved unidirectional local_window_size""".split()
)


def _fitting_attribute(rng: random.Random, name: str, schema: onnx.defs.OpSchema | None) -> AttributeProto:
    """Mostly of the type that the operator wants, seldom of a value that it does."""
    if schema is None or rng.random() < 0.15:
        return random_attribute(rng, name)
    wanted = schema.attributes[name].type.value
    if wanted == AttributeProto.INTS:
        return helper.make_attribute(name, _small_ints(rng), attr_type=AttributeProto.INTS)
    if wanted == AttributeProto.INT:
        return helper.make_attribute(name, rng.choice((0, 1, 1, 2, 3, -1, rng.choice(INTS))))
    if wanted == AttributeProto.GRAPH:
        body = GraphProto(name="body", node=[_random_node(rng, ["x0"])])
        body.node[0].output[:] = ["b"]
        body.input.extend(ValueInfoProto(name=f"b{k}") for k in range(rng.randrange(4)))
        body.output.extend([ValueInfoProto(name="b")] * rng.randrange(3))
        return helper.make_attribute(name, body)
    return random_attribute(rng, name)


def _small_ints(rng: random.Random) -> list[int]:
    return [rng.choice((0, 1, 1, 2, 2, 3, -1, rng.choice(INTS))) for _ in range(rng.choice((0, 1, 2, 2, 3, 4, 4, 8)))]


def _random_dims(rng: random.Random, rank: int) -> list[int]:
    if rng.random() < 0.3:
        rank = rng.randrange(7)
    return [rng.choice((1, 2, 3, 4, 8, 8, 16, rng.choice(SIZES) if rng.random() < 0.2 else 0)) for _ in range(rank)]


def _random_value(rng: random.Random, name: str, rank: int) -> ValueInfoProto:
    value = helper.make_tensor_value_info(name, rng.choice((1, 1, 1, *TYPES)), _random_dims(rng, rank))
    if rng.random() < 0.1:
        value.type.tensor_type.ClearField("shape")
    return value


def _random_tensor(rng: random.Random, name: str, rank: int) -> TensorProto:
    kind = rng.randrange(3)
    if kind == 0:
        return int_tensor(name, _small_ints(rng))
    if kind == 1:
        return TensorProto(name=name, data_type=TensorProto.INT64, int64_data=[rng.choice(INTS)])
    return TensorProto(name=name, data_type=rng.choice((1, 1, *TYPES)), dims=_random_dims(rng, rank))
