"""Protobuf to plain data: names, order, functions, kinds, attributes, and models that are refused."""

from __future__ import annotations

import contextlib
from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper
from onnx_text import graph_of, parse, read

from efficiency_cli.errors import MissingDimension, ModelError, UsageError
from efficiency_cli.graph.binding import Request
from efficiency_cli.graph.model import DType, Graph, Kind, Model
from efficiency_cli.graph.read import build, read_model
from efficiency_cli.graph.structure import MAX_NODES

RELUS = "g (float[2] x) => (float[2] y) { a = Relu(x)  b = Relu(a)  y = Relu(b) }"


def built(proto: ModelProto) -> Model:
    return build(proto, "m.onnx", 0, Request())


def refusal(proto: ModelProto) -> ModelError:
    with pytest.raises(ModelError) as caught:
        built(proto)
    return caught.value


def named_relus(names: list[str]) -> ModelProto:
    proto = parse(RELUS)
    for node, name in zip(proto.graph.node, names, strict=True):
        node.name = name
    return proto


def node_names(graph: Graph) -> list[str]:
    return [n for node in graph.nodes for n in (node.name, *(m for b in node.graphs.values() for m in node_names(b)))]


# --- names ---


def test_unnamed_nodes_are_called_after_operator_and_position() -> None:
    assert node_names(built(named_relus(["", "mine", ""])).graph) == ["Relu_0", "mine", "Relu_2"]


def test_a_repeated_name_gets_a_number() -> None:
    assert node_names(built(named_relus(["n", "n", "n"])).graph) == ["n", "n#2", "n#3"]


@settings(deadline=None)
@given(st.lists(st.sampled_from(["", "n", "n#2", "n#2#2", "Relu_0", "Relu_1"]), min_size=3, max_size=3))
def test_names_are_unique_whatever_the_file_says(names: list[str]) -> None:
    given_names = node_names(built(named_relus(names)).graph)
    assert len(set(given_names)) == 3
    assert all(new.startswith(old) for old, new in zip(names, given_names, strict=True))


def test_names_are_unique_across_bodies() -> None:
    graph = graph_of(IF)
    assert len(set(node_names(graph))) == len(node_names(graph)) == 3


IF = """g (bool c, float[2] x) => (float[2] y) {
    y = If (c) <then_branch = t () => (float[2] p) { p = Relu(x) }, else_branch = e () => (float[2] q) { q = Neg(x) }>
}"""


# --- order ---


@settings(deadline=None)
@given(st.permutations(range(4)))
def test_any_order_of_the_nodes_is_made_runnable(order: list[int]) -> None:
    proto = parse("g (float[2] x) => (float[2] y) { a = Relu(x)  b = Neg(a)  c = Abs(a)  y = Add(b, c) }")
    nodes = list(proto.graph.node)
    shuffled = [NodeProto.FromString(nodes[k].SerializeToString()) for k in order]
    del proto.graph.node[:]
    proto.graph.node.extend(shuffled)
    model = built(proto)
    ops = [node.op for node in model.graph.nodes]
    assert ops[0] == "Relu"
    assert ops[-1] == "Add"
    runnable = order[0] == 0 and order[-1] == 3
    assert bool(model.notes) is not runnable
    assert not runnable or ops == [["Relu", "Neg", "Abs", "Add"][k] for k in order]


def test_a_body_may_be_out_of_order_too() -> None:
    proto = parse(IF.replace("p = Relu(x)", "p = Relu(a) a = Neg(x)"))
    model = built(proto)
    assert [node.op for node in model.graph.nodes[0].graphs["then_branch"].nodes] == ["Neg", "Relu"]
    assert model.notes == ("the nodes of graph 't' are not in topological order; sorted",)


@pytest.mark.parametrize(
    "nodes",
    ["a = Relu(b)  b = Relu(a)  y = Add(x, a)", "y = Add(y, x)"],
    ids=["two nodes", "one node"],
)
def test_cycles_are_refused(nodes: str) -> None:
    error = refusal(parse(f"g (float[2] x) => (float[2] y) {{ {nodes} }}"))
    assert error.what == "the graph has a cycle"


def test_a_cycle_through_a_captured_tensor_is_refused() -> None:
    assert refusal(parse(IF.replace("p = Relu(x)", "p = Relu(y)"))).what == "the graph has a cycle"


# --- damaged graphs ---


def test_an_operand_that_nothing_makes() -> None:
    error = refusal(parse("g (float[2] x) => (float[2] y) { y = Add(x, ghost) }"))
    assert error.what == "node 'y' (Add) reads 'ghost', which nothing makes"


def test_an_operand_that_nothing_makes_in_a_body() -> None:
    assert "reads 'ghost'" in refusal(parse(IF.replace("Neg(x)", "Neg(ghost)"))).what


def test_a_branch_does_not_see_into_the_other() -> None:
    assert "reads 'p'" in refusal(parse(IF.replace("Neg(x)", "Neg(p)"))).what


def test_an_output_that_nothing_makes() -> None:
    assert refusal(parse("g (float[2] x) => (float[2] z) { y = Relu(x) }")).what == (
        "graph output 'z' is made by no node"
    )


@pytest.mark.parametrize("side", ["input", "output"])
def test_inputs_and_outputs_have_names(side: str) -> None:
    proto = parse(RELUS)
    proto.graph.initializer.append(TensorProto(data_type=1, dims=[2]))
    getattr(proto.graph, side).append(onnx.ValueInfoProto())
    assert refusal(proto).what == "an input or output of graph 'g' has no name"


@pytest.mark.parametrize("where", ["graph", "body"])
@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (TensorProto(name="w", data_type=999, dims=[2]), "unknown data type 999"),
        (TensorProto(name="w", data_type=0, dims=[2]), "unknown data type 0"),
        (TensorProto(name="w", data_type=1, dims=[-2]), "impossible dimensions"),
        (TensorProto(name="w", data_type=1, dims=[2**40, 2**40]), "impossible dimensions"),
    ],
    ids=["type 999", "no type", "negative", "huge"],
)
def test_impossible_initializers(where: str, tensor: TensorProto, message: str) -> None:
    proto = parse(IF)
    graph = proto.graph if where == "graph" else proto.graph.node[0].attribute[0].g
    graph.initializer.append(tensor)
    assert message in refusal(proto).what


def test_an_operator_that_contradicts_its_operands() -> None:
    with pytest.raises(ModelError, match=r"node 'y' \(MatMul\) contradicts its operands") as caught:
        graph_of("g (float[2,3] x) => (float[2,4] y) <float[5,4] w> { y = MatMul(x, w) }")
    assert caught.value.where[0] == "operands: 2x3, 5x4"


def test_a_control_node_without_its_body() -> None:
    proto = parse(IF)
    del proto.graph.node[0].attribute[1:]
    assert "has no else_branch" in refusal(proto).what


# --- header ---


def test_the_header() -> None:
    proto = parse(RELUS)
    proto.producer_name, proto.producer_version = "pytorch", "2.4"
    model = built(proto)
    assert (model.ir_version, model.producer) == (10, "pytorch 2.4")
    assert model.opset == {"": 17, "com.microsoft": 1, "custom": 1}
    assert (model.notes, model.assumptions, model.stored_nodes) == ((), (), 3)


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (lambda m: m.opset_import.__delitem__(slice(None)), "the model imports no opset; read as opset"),
        (lambda m: setattr(m.opset_import[0], "version", 999), "opset 999 is newer than the installed onnx knows"),
        (lambda m: m.ClearField("ir_version"), "the model states no ir_version"),
        (lambda m: setattr(m, "ir_version", 99), "ir_version 99 is newer than the installed onnx knows"),
    ],
    ids=["no opset", "opset 999", "no ir_version", "ir_version 99"],
)
def test_an_odd_header_is_noted_and_the_model_read(change, note: str) -> None:  # type: ignore[no-untyped-def]
    proto = parse(RELUS)
    change(proto)
    model = built(proto)
    assert [n for n in model.notes if n.startswith(note)] == list(model.notes) != []
    assert model.graph.tensors["y"].shape == (2,)


def test_the_default_domain_may_be_spelled_out() -> None:
    proto = parse(RELUS)
    proto.opset_import[0].domain = "ai.onnx"
    proto.graph.node[0].domain = "ai.onnx"
    model = built(proto)
    assert {node.domain for node in model.graph.nodes} == {""}
    assert model.opset[""] == 17


NOT_UTF8 = b"\xff\xfe"


@pytest.mark.parametrize("name", ["Relu", "middle", "theop", "input", "symbol", "custom", "graphname"])
def test_names_that_are_not_text_are_refused(name: str) -> None:
    proto = parse(
        """graphname (float[symbol] input) => (float[symbol] y) {
            [theop] middle = Relu(input)  y = custom.F(middle)
        }"""
    )
    data = proto.SerializeToString()
    assert name.encode() in data
    damaged = ModelProto.FromString(data.replace(name.encode(), NOT_UTF8 + name.encode()[2:]))
    assert refusal(damaged).what == "the model holds names that are not UTF-8 text"


# --- inputs, kinds, values ---


def test_initializers_that_are_inputs_too_are_weights() -> None:
    proto = parse("g (float[1,3] x, float[3,2] w) => (float[1,2] y) { y = MatMul(x, w) }")
    proto.graph.initializer.append(TensorProto(name="w", data_type=1, dims=[3, 2], data_location=TensorProto.EXTERNAL))
    graph = built(proto).graph
    assert (graph.inputs, graph.tensors["w"].kind) == (("x",), Kind.WEIGHT)


def test_the_kinds_of_tensors() -> None:
    graph = graph_of(
        """g (float[1,3,4,4] x) => (float[1,12,4] y) <float[4,3,1,1] w, int64[3] s = {1, 12, 4}, float[2] unused> {
            c = Conv(x, w)  k = Constant<value_float = 2.0>()  d = Concat<axis=1>(c, c, c)
            e = Pow(d, k)  f = Flatten<axis=2>(e)  y = Reshape(f, s)
        }"""
    )
    kinds = {name: tensor.kind.value for name, tensor in graph.tensors.items()}
    assert kinds == {
        "x": "input", "w": "weight", "s": "constant", "unused": "constant", "k": "constant",
        **dict.fromkeys("cdef", "activation"), "y": "output",
    }  # fmt: skip


def test_an_input_handed_on_is_an_input() -> None:
    graph = graph_of("g (float[2] x) => (float[2] x, float[2] y) { y = Relu(x) }")
    assert (graph.tensors["x"].kind, graph.outputs) == (Kind.INPUT, ("x", "y"))


def test_values_of_small_constants_are_kept() -> None:
    proto = parse("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    for name, size in (("small", 64), ("large", 65)):
        proto.graph.initializer.append(helper.make_tensor(name, TensorProto.INT32, [size], range(size)))
    tensors = built(proto).graph.tensors
    assert (tensors["small"].value, tensors["large"].value) == (tuple(range(64)), None)


@pytest.mark.parametrize("number", [n for n in TensorProto.DataType.values() if n])
def test_every_data_type_of_onnx_is_known(number: int) -> None:
    proto = parse("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    tensor = TensorProto(name="w", data_type=number, dims=[16], data_location=TensorProto.EXTERNAL)
    proto.graph.initializer.append(tensor)
    dtype = built(proto).graph.tensors["w"].dtype
    expected = {"FLOAT": "float32", "DOUBLE": "float64"}
    name = TensorProto.DataType.Name(number)
    assert dtype is not None
    assert dtype.value == expected.get(name, name.lower())


@pytest.mark.parametrize(
    ("dtype", "size"),
    [("int4", 3), ("float6e2m3", 4), ("uint2", 2), ("float16", 10), ("bool", 5), ("float64", 40)],
)
def test_bytes_of_packed_and_wide_types(dtype: str, size: int) -> None:
    # 5 elements: 20 bits, 10 bits, 80 bits …, rounded up to bytes
    tensor = graph_of("g (float[5] x) => (float[5] y) { y = Relu(x) }").tensors["x"]
    assert type(tensor)("t", tensor.shape, DType(dtype)).bytes == size


def test_symbolic_dimensions() -> None:
    text = "g (float[N, T, 8] x) => (float[N, T, 8] y) { y = Relu(x) }"
    model = read(text, dims={"T": 5})
    assert model.graph.tensors["y"].shape == (1, 5, 8)
    assert model.dims == {"N": 1, "T": 5}
    assert model.assumptions == ("dimension 'N' is symbolic, 1 assumed; set it with --dim N=N",)
    assert read(text, batch=3, shapes={"x": (3, 4, 8)}).graph.tensors["y"].shape == (3, 4, 8)
    with pytest.raises(MissingDimension, match="a dimension needs a value"):
        read(text)
    with pytest.raises(UsageError, match="the model has no dimension 'S'"):
        read(text, dims={"T": 5, "S": 5})


def test_a_symbol_that_is_a_number_is_that_number() -> None:
    proto = parse("g (float[1, T] x) => (float[1, T] y) { y = Relu(x) }")
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "48"
    model = built(proto)
    assert (model.graph.tensors["y"].shape, dict(model.dims)) == ((1, 48), {})


def test_a_data_dependent_size_can_be_set() -> None:
    text = "g (float[4, 4] x) => (int64[2, n] y) { i = NonZero(x)  y = Neg(i) }"
    assert graph_of(text).tensors["y"].shape == (2, 16)
    tensor = graph_of(text, dims={"i[1]": 3}).tensors["y"]
    assert (tensor.shape, tensor.bounded) == ((2, 3), False)
    with pytest.raises(UsageError, match=r"no dimension 'ghost\[1\]'"):
        graph_of(text, dims={"ghost[1]": 3})


def test_sparse_initializers_are_weights() -> None:
    proto = parse("g (float[2,3] x) => (float[2,4] y) <float[3,4] w> { y = MatMul(x, w) }")
    del proto.graph.initializer[:]
    values = TensorProto(name="w", data_type=1, dims=[5], data_location=TensorProto.EXTERNAL)
    proto.graph.sparse_initializer.append(onnx.SparseTensorProto(values=values, dims=[3, 4]))
    weight = built(proto).graph.tensors["w"]
    assert (weight.shape, weight.kind) == ((3, 4), Kind.WEIGHT)


# --- attributes ---


def test_attributes_become_plain_values() -> None:
    proto = parse(RELUS)
    node = proto.graph.node[0]
    values = {"i": -3, "f": 0.5, "s": "text", "is": [1, 2], "fs": [0.5, 1.5], "ss": ["a", "b"]}
    node.attribute.extend(helper.make_attribute(name, value) for name, value in values.items())
    node.attribute.append(AttributeProto(name="raw", type=AttributeProto.STRING, s=b"\xff\x1b"))
    node.attribute.append(AttributeProto(name="tensor", type=AttributeProto.TENSOR, t=TensorProto(dims=[1])))
    node.domain, node.op_type = "custom", "Thing"
    attributes = built(proto).graph.nodes[0].attributes
    assert attributes == {
        "i": -3, "f": 0.5, "s": "text", "is": (1, 2), "fs": (0.5, 1.5), "ss": ("a", "b"), "raw": "\ufffd\x1b",
    }  # fmt: skip


# --- bodies ---


def test_a_body_names_what_it_captures() -> None:
    graph = graph_of(IF)
    (node,) = graph.nodes
    assert {name: body.captured for name, body in node.graphs.items()} == {
        "then_branch": {"x"},
        "else_branch": {"x"},
    }
    inner, outer = node.graphs["then_branch"].tensors["x"], graph.tensors["x"]
    assert (inner.shape, inner.dtype) == (outer.shape, outer.dtype) == ((2,), DType.FLOAT32)
    assert graph.captured == frozenset()


def test_a_capture_passes_through_the_bodies_between() -> None:
    inner = IF[IF.index("y = If") : IF.rindex("}")].replace("y =", "z =")
    text = f"""g (bool c, float[2] x) => (float[2] y) {{
        y = If (c) <then_branch = o () => (float[2] z) {{ {inner} }},
                    else_branch = r () => (float[2] w) {{ w = Abs(x) }}>
    }}"""
    outer = graph_of(text).nodes[0].graphs["then_branch"]
    assert outer.captured == {"c", "x"}
    assert outer.nodes[0].graphs["else_branch"].captured == {"x"}
    assert outer.tensors["x"].shape == (2,)


def test_a_body_may_shadow_a_name() -> None:
    text = """g (bool c, float[2] x) => (float[3] y) {
        y = If (c) <then_branch = t () => (float[3] p) <float[3] x> { p = Relu(x) },
                    else_branch = e () => (float[3] q) <float[3] v> { q = Relu(v) }>
    }"""
    body = graph_of(text).nodes[0].graphs["then_branch"]
    assert (body.tensors["x"].shape, body.captured) == ((3,), frozenset())


# --- functions ---

FUNCTIONS = """
g (float[2] x) => (float[2] y) { y = custom.twice(x) }
<domain: "custom", opset_import: ["" : 17, "custom" : 1]> twice (a) => (b) { m = custom.once(a)  b = custom.once(m) }
<domain: "custom", opset_import: ["" : 17]> once (a) => (b) { b = Relu(a) }
"""


def test_functions_are_inlined() -> None:
    model = read(FUNCTIONS)
    assert [node.op for node in model.graph.nodes] == ["Relu", "Relu"]
    assert len(set(node_names(model.graph))) == 2
    assert model.stored_nodes == 1


def test_an_overload_is_the_one_named() -> None:
    proto = parse(FUNCTIONS)
    once = proto.functions[1]
    other = onnx.FunctionProto.FromString(once.SerializeToString())
    other.overload, other.node[0].op_type = "second", "Neg"
    proto.functions.append(other)
    proto.functions[0].node[1].overload = "second"
    assert [node.op for node in built(proto).graph.nodes] == ["Relu", "Neg"]


def test_a_function_with_attributes_of_its_call() -> None:
    text = """g (float[2] x) => (float[2] y) { y = custom.leaky <slope = 0.25> (x) }
    <domain: "custom", opset_import: ["" : 17]> leaky <slope> (a) => (b) {
        b = LeakyRelu <alpha: float = @slope> (a)
    }"""
    (node,) = graph_of(text).nodes
    assert (node.op, node.attributes["alpha"]) == ("LeakyRelu", 0.25)


@pytest.mark.parametrize(
    ("change", "chain"),
    [
        (("Relu(a)", "custom.once(a)"), "custom::twice → custom::once → custom::once"),
        (("Relu(a)", "custom.twice(a)"), "custom::twice → custom::once → custom::twice"),
    ],
    ids=["itself", "each other"],
)
def test_recursive_functions_are_refused(change: tuple[str, str], chain: str) -> None:
    error = refusal(parse(FUNCTIONS.replace(*change)))
    assert (error.what, error.where) == ("a function of the model calls itself", (chain,))


def doubling(levels: int) -> str:
    """Function f0 is a Relu, each next one calls the one before twice: 2^levels nodes."""
    header = '<domain: "custom", opset_import: ["" : 17, "custom" : 1]>'
    functions = [f"{header} f0 (a) => (b) {{ b = Relu(a) }}"]
    functions += [
        f"{header} f{k} (a) => (b) {{ m = custom.f{k - 1}(a)  b = custom.f{k - 1}(m) }}" for k in range(1, levels + 1)
    ]
    return "\n".join([f"g (float[2] x) => (float[2] y) {{ y = custom.f{levels}(x) }}", *functions])


def test_functions_that_explode_are_refused_before_they_do() -> None:
    assert len(graph_of(doubling(5)).nodes) == 2**5
    error = refusal(parse(doubling(60)))
    assert error.what == f"the model's functions expand to {2**60:,} nodes"
    assert error.hint == f"at most {MAX_NODES:,} are analysed"


# --- files ---


def test_a_model_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(parse(RELUS), path)
    model = read_model(str(path))
    assert (model.path, model.file_bytes) == (str(path), path.stat().st_size)
    assert model.graph == built(parse(RELUS)).graph


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 3000), st.integers(0, 255))
def test_a_damaged_byte_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, at: int, value: int) -> None:
    data = bytearray(parse(FUNCTIONS + doubling(2).partition("\n")[2]).SerializeToString())
    data[at % len(data)] = value
    path = tmp_path_factory.mktemp("damaged") / "m.onnx"
    path.write_bytes(data)
    with contextlib.suppress(ModelError, UsageError):  # anything else fails the test
        assert read_model(str(path)).path == str(path)


def test_external_data_is_never_opened(tmp_path: Path) -> None:
    proto = parse("g (float[2,3] x) => (float[2,4] y) <float[3,4] w> { y = MatMul(x, w) }")
    weight = proto.graph.initializer[0]
    for name in ("absent.bin", "/etc/passwd", "../../secret"):
        weight.ClearField("external_data")
        weight.external_data.add(key="location", value=name)
        (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
        assert read_model(str(tmp_path / "m.onnx")).graph.tensors["w"].shape == (3, 4)
