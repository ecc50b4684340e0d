"""Damaged models, reproducibly: `mutant(seed, index)` is the same bytes wherever the same models are there.

Three ways: bytes of a real file are changed, a parsed file is changed where ONNX has meaning, or a
small network of any operator is invented. Nothing here knows what the program should answer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fuzz_inventions import invented
from fuzz_seeds import any_seed
from fuzz_values import (
    CONTRIB,
    DOMAINS,
    FLOATS,
    INTS,
    NAMES,
    TYPES,
    int_tensor,
    random_attribute,
    schema_attributes,
    schemas,
    some_ints,
)
from google.protobuf.message import DecodeError, EncodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TypeProto, ValueInfoProto, helper


def mutant(seed: int, index: int) -> bytes:
    """Input number `index` of the run that `seed` names."""
    rng = random.Random(f"{seed}/{index}")
    kind = rng.random()
    if kind < 0.3:
        return bytes(invented(rng).SerializeToString())
    data = any_seed(rng)
    if kind < 0.55:
        return of_bytes(rng, data, any_seed(rng))
    data = of_structure(rng, data)
    return of_bytes(rng, data, data) if rng.random() < 0.05 else data


# --- bytes -------------------------------------------------------------------------------------


def of_bytes(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """One to six changes that know nothing of ONNX; some put in parts of `other`."""
    buffer = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        if not buffer:
            break
        at = rng.randrange(len(buffer))
        end = min(len(buffer), at + int(2 ** rng.uniform(0, 12)))
        change = rng.randrange(8)
        if change == 0:
            buffer[at] ^= 1 << rng.randrange(8)
        elif change == 1:
            buffer[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif change == 2:
            buffer[at:at] = rng.randbytes(rng.randint(1, 20))
        elif change == 3:
            del buffer[at:end]
        elif change == 4:
            del buffer[at:]
        elif change == 5:
            start = rng.randrange(len(other)) if other else 0
            buffer[at:end] = other[start : start + end - at]
        elif change == 6:  # what may be a length or a size: a long number
            buffer[at : at + 1] = b"\xff" * rng.randint(1, 9) + bytes([rng.randrange(128)])
        else:
            buffer[at:at] = buffer[at:end] * rng.randint(1, 4)
    return bytes(buffer)


# --- structure ---------------------------------------------------------------------------------


def of_structure(rng: random.Random, data: bytes) -> bytes:
    """One to five changes to what the file says; the bytes as they are where it cannot be parsed."""
    try:
        model = ModelProto.FromString(data)
    except DecodeError:
        return data
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
        change = rng.choice(_CHANGES)
        try:
            change(rng, model)
        except (ValueError, TypeError, IndexError, DecodeError, EncodeError):
            continue  # a change that this model, or protobuf, does not admit
    try:
        return bytes(model.SerializeToString())
    except (ValueError, EncodeError):
        return data


def _one_of(rng: random.Random, some: Sequence[Any]) -> Any:
    """As rng.choice, but of nothing it draws nothing: hypothesis must see the same draws again."""
    if not some:
        raise IndexError("nothing to choose from")
    return rng.choice(some)


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)


def _graph(rng: random.Random, model: ModelProto) -> GraphProto:
    return rng.choice(list(_graphs(model.graph)))


def _node(rng: random.Random, model: ModelProto) -> NodeProto:
    nodes = [n for g in _graphs(model.graph) for n in g.node] + [n for f in model.functions for n in f.node]
    return _one_of(rng, nodes)


def _tensors(rng: random.Random, model: ModelProto) -> TensorProto:
    graph = _graph(rng, model)
    inner = [a.t for n in graph.node for a in n.attribute if a.HasField("t")]
    return _one_of(rng, [*graph.initializer, *(s.values for s in graph.sparse_initializer), *inner])


def _value(rng: random.Random, model: ModelProto) -> ValueInfoProto:
    graph = _graph(rng, model)
    return _one_of(rng, [*graph.input, *graph.input, *graph.output, *graph.value_info])


def _known_names(graph: GraphProto) -> list[str]:
    made = [o for n in graph.node for o in n.output]
    return [*made, *(t.name for t in graph.initializer), *(v.name for v in graph.input)]


def _change_attribute(rng: random.Random, model: ModelProto) -> None:
    node = _node(rng, model)
    index = rng.randrange(len(node.attribute))
    attribute = node.attribute[index]
    change = rng.randrange(6)
    if change == 0:
        del node.attribute[index]
    elif change == 1:
        attribute.CopyFrom(random_attribute(rng, attribute.name))
    elif change == 2:
        attribute.type = rng.choice(AttributeProto.AttributeType.values())
    elif change == 3:
        node.attribute.append(attribute)
    elif attribute.ints:
        attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(INTS)
    else:
        attribute.i = rng.choice(INTS)


def _add_attribute(rng: random.Random, model: ModelProto) -> None:
    node = _node(rng, model)
    schema = schema_attributes(node.op_type)
    name = rng.choice(schema) if schema else rng.choice(NAMES)
    kept = [a for a in node.attribute if a.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, random_attribute(rng, name)])


def _change_dims(rng: random.Random, model: ModelProto) -> None:
    value = _value(rng, model)
    dims = value.type.tensor_type.shape.dim
    change = rng.randrange(7)
    if change == 0:
        value.type.tensor_type.ClearField("shape")
    elif change == 1:
        dims.add().dim_value = rng.choice(INTS)
    elif change == 2:
        del dims[rng.randrange(len(dims))]
    elif change == 3:
        _one_of(rng, dims).dim_param = rng.choice((*NAMES, "N", "batch", "9" * 30, "-3"))
    elif change == 4:
        _one_of(rng, dims).Clear()
    else:
        _one_of(rng, dims).dim_value = rng.choice(INTS)


def _change_type(rng: random.Random, model: ModelProto) -> None:
    value = _value(rng, model)
    change = rng.randrange(5)
    if change == 0:
        inner = TypeProto()
        inner.CopyFrom(value.type)
        value.type.sequence_type.elem_type.CopyFrom(inner)
    elif change == 1:
        inner = TypeProto()
        inner.CopyFrom(value.type)
        value.type.optional_type.elem_type.CopyFrom(inner)
    elif change == 2:
        value.type.map_type.key_type = rng.choice(TYPES)
    else:
        value.type.tensor_type.elem_type = rng.choice((*TYPES, 99, -1))


def _change_tensor(rng: random.Random, model: ModelProto) -> None:
    tensor = _tensors(rng, model)
    change = rng.randrange(8)
    if change == 0:
        tensor.data_type = rng.choice((*TYPES, 99, -5))
    elif change == 1:
        tensor.dims.append(rng.choice(INTS))
    elif change == 2:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(INTS)
    elif change == 3:
        del tensor.dims[rng.randrange(len(tensor.dims))]
    elif change == 4:
        tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data))]
    elif change == 5:
        tensor.raw_data = rng.randbytes(rng.choice((1, 8, 64)))
    elif change == 6:
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=rng.choice(NAMES))
    else:
        tensor.CopyFrom(int_tensor(tensor.name, some_ints(rng)))


def _change_operands(rng: random.Random, model: ModelProto) -> None:
    node = _node(rng, model)
    names = rng.choice((node.input, node.input, node.output))
    change = rng.randrange(7)
    if change == 0:
        del names[rng.randrange(len(names))]
    elif change == 1:
        names.append(_one_of(rng, names))
    elif change == 2:
        names[rng.randrange(len(names))] = ""
    elif change == 3:
        a, b = rng.randrange(len(names)), rng.randrange(len(names))
        names[a], names[b] = names[b], names[a]
    elif change == 4:
        names[rng.randrange(len(names))] = rng.choice(NAMES)
    elif change == 5:
        del names[:]
    else:
        names[rng.randrange(len(names))] = _one_of(rng, _known_names(model.graph))


def _give_constant(rng: random.Random, model: ModelProto) -> None:
    """An operand becomes an integer constant: a shape, axes, sizes, repeats, a trip count."""
    node = _node(rng, model)
    slot = rng.randrange(max(len(node.input), 1) + 1)
    while len(node.input) <= slot:
        node.input.append("")
    name = f"hostile{rng.randrange(10**9)}"
    tensor = int_tensor(name, some_ints(rng))
    if len(tensor.int64_data) == 1 and rng.random() < 0.5:
        del tensor.dims[:]
    if rng.random() < 0.3:
        tensor = helper.make_tensor(name, TensorProto.FLOAT, [2], [rng.choice(FLOATS), rng.choice(FLOATS)])
    model.graph.initializer.append(tensor)
    node.input[slot] = name


def _change_nodes(rng: random.Random, model: ModelProto) -> None:
    graph = _graph(rng, model)
    nodes = [NodeProto.FromString(n.SerializeToString()) for n in graph.node]
    change = rng.randrange(5)
    at = rng.randrange(len(nodes))
    if change == 0:
        rng.shuffle(nodes)
    elif change == 1:
        del nodes[at]
    elif change == 2:
        nodes.insert(rng.randrange(len(nodes)), nodes[at])
    elif change == 3:
        copy = NodeProto.FromString(nodes[at].SerializeToString())
        copy.output[:] = [f"{o}'" for o in copy.output]
        nodes.insert(at + 1, copy)
    else:
        nodes.reverse()
    del graph.node[:]
    graph.node.extend(nodes)


def _change_operator(rng: random.Random, model: ModelProto) -> None:
    node = _node(rng, model)
    if rng.random() < 0.5:
        node.op_type = rng.choice(schemas()).name
    elif rng.random() < 0.5:
        node.op_type, node.domain = rng.choice(CONTRIB), "com.microsoft"
    else:
        node.domain = rng.choice(DOMAINS)


def _change_names(rng: random.Random, model: ModelProto) -> None:
    change = rng.randrange(6)
    if change == 0:
        _node(rng, model).name = rng.choice(NAMES)
    elif change == 1:
        nodes = _graph(rng, model).node
        _one_of(rng, nodes).name = _one_of(rng, nodes).name
    elif change == 2:
        _value(rng, model).name = rng.choice((*NAMES, *_known_names(model.graph)[:20]))
    elif change == 3:
        _tensors(rng, model).name = rng.choice((*NAMES, *_known_names(model.graph)[:20]))
    elif change == 4:
        _graph(rng, model).name = rng.choice(NAMES)
    else:
        _node(rng, model).op_type = rng.choice(NAMES)


def _change_header(rng: random.Random, model: ModelProto) -> None:
    change = rng.randrange(4)
    if change == 0:
        _one_of(rng, model.opset_import).version = rng.choice((*range(-1, 30), 999, 2**40))
    elif change == 1:
        model.opset_import.add(domain=rng.choice(DOMAINS), version=rng.choice((0, 1, 7, 13, 21, 999)))
    elif change == 2:
        model.ir_version = rng.choice(INTS)
    else:
        del model.opset_import[:]


def _change_outputs(rng: random.Random, model: ModelProto) -> None:
    graph = _graph(rng, model)
    change = rng.randrange(5)
    if change == 0:
        del graph.output[rng.randrange(len(graph.output))]
    elif change == 1:
        graph.output.add().name = _one_of(rng, _known_names(graph))
    elif change == 2:
        del graph.input[rng.randrange(len(graph.input))]
    elif change == 3:
        graph.input.append(_one_of(rng, [*graph.input, *graph.output]))
    else:
        del graph.output[:]


def _wrap(rng: random.Random, model: ModelProto) -> None:
    """A node moves into the body of an If, Loop or Scan, up to five deep."""
    graph = model.graph
    at = rng.randrange(len(graph.node))
    node = NodeProto.FromString(graph.node[at].SerializeToString())
    for level in range(rng.choice((1, 1, 2, 5))):
        node = _control_node(rng, node, f"w{rng.randrange(10**6)}_{level}", graph)
    graph.node[at].CopyFrom(node)


def _control_node(rng: random.Random, inner: NodeProto, tag: str, graph: GraphProto) -> NodeProto:
    outputs = list(inner.output)
    renamed = NodeProto.FromString(inner.SerializeToString())
    renamed.output[:] = [o and f"{o}/{tag}" for o in outputs]
    results = [ValueInfoProto(name=o) for o in renamed.output if o]
    kind = rng.choice(("If", "Loop", "Scan"))
    first = rng.choice(_known_names(graph) or [""])
    if kind == "If":
        body = GraphProto(name=tag, node=[renamed], output=results)
        return helper.make_node("If", [first], outputs, then_branch=body, else_branch=body)
    if kind == "Scan":
        body = GraphProto(name=tag, node=[renamed], input=[ValueInfoProto(name=f"s{tag}")], output=results)
        return helper.make_node("Scan", [first], outputs, body=body, num_scan_inputs=rng.choice((0, 1, 1, 2, 2**40)))
    trips = int_tensor(f"trips{tag}", [rng.choice(INTS)])
    graph.initializer.append(trips)
    head = [ValueInfoProto(name=f"i{tag}"), ValueInfoProto(name=f"c{tag}")]
    carried = [ValueInfoProto(name=f"v{tag}{k}") for k in range(rng.randrange(3))]
    body = GraphProto(name=tag, node=[renamed], input=[*head, *carried], output=[head[1], *results])
    operands = [trips.name, "", *(first for _ in carried)]
    return helper.make_node("Loop", operands, outputs, body=body)


def _to_function(rng: random.Random, model: ModelProto) -> None:
    """A node becomes a call of a model-local function that holds it."""
    node = _one_of(rng, model.graph.node)
    body = NodeProto.FromString(node.SerializeToString())
    name = f"F{rng.randrange(10)}"
    if rng.random() < 0.1:
        body.op_type, body.domain = name, "local"
    inputs = [i for i in dict.fromkeys(body.input) if i]
    outputs = [o for o in body.output if o]
    function = helper.make_function("local", name, inputs, outputs, [body], model.opset_import)
    model.functions.append(function)
    if rng.random() < 0.8:
        model.opset_import.add(domain="local", version=1)
    node.CopyFrom(helper.make_node(name, inputs, outputs, domain="local"))


_CHANGES: tuple[Callable[[random.Random, ModelProto], None], ...] = (
    *(_change_attribute, _add_attribute, _change_dims, _change_type, _change_tensor, _change_operands) * 2,
    *(_give_constant, _change_operator) * 2,
    _change_nodes,
    _change_names,
    _change_header,
    _change_outputs,
    _wrap,
    _to_function,
)
