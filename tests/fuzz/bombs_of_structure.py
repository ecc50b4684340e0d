"""Bombs of many nodes, or of bodies, functions and lists inside each other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from fuzz_bombs import FLOAT, INT64, MANY, NODES, bomb, chain, model, node, scalar, value
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper


@bomb
def ifs_nested_30_deep() -> bytes:
    inner = node("Relu", ["x"], ["y0"])
    for k in range(30):
        body = GraphProto(name=f"b{k}", node=[inner], output=[ValueInfoProto(name=f"y{k}")])
        other = GraphProto(name=f"e{k}", node=[node("Neg", ["x"], ["z"])], output=[ValueInfoProto(name="z")])
        inner = node("If", ["c"], [f"y{k + 1}"], then_branch=body, else_branch=other)
    return model([inner], inputs=[value("x"), value("c", [], TensorProto.BOOL)], outputs=["y30"])


def _growing_loops(depth: int, nodes: Sequence[NodeProto], last: str) -> bytes:
    """Loops in each other whose carried value gets longer at every trip, around `nodes`."""
    inner, result = list(nodes), last
    for k in range(depth):
        head = [value(f"i{k}", [], INT64), value(f"c{k}", [], TensorProto.BOOL), ValueInfoProto(name=f"v{k}")]
        grow = node("Concat", [f"v{k}", result], [f"g{k}"], axis=0)
        body = GraphProto(name=f"b{k}", node=[*inner, grow], input=head)
        body.output.extend([ValueInfoProto(name=f"c{k}"), ValueInfoProto(name=f"g{k}")])
        inner, result = [node("Loop", ["n", "", "x"], [f"y{k}"], body=body)], f"y{k}"
    return model(inner, outputs=[result], weights=[scalar("n", 3)])


@bomb
def growing_loops_nested_25_deep() -> bytes:
    return _growing_loops(25, [node("Relu", ["x"], ["r"])], "r")


@bomb
def growing_loops_around_20_000_nodes() -> bytes:
    names = ["v0", *(f"m{k}" for k in range(20_000))]
    return _growing_loops(6, [node("Relu", [a], [b]) for a, b in pairwise(names)], "x")


def _ifs(count: int) -> bytes:
    def branch(k: int, op: str) -> GraphProto:
        return GraphProto(name=op, node=[node(op, [f"{k}"], [f"{op}{k}"])], output=[ValueInfoProto(name=f"{op}{k}")])

    def one(k: int) -> NodeProto:
        return node("If", ["c"], [f"{k + 1}"], then_branch=branch(k, "Relu"), else_branch=branch(k, "Neg"))

    inputs = [value("0"), value("c", [], TensorProto.BOOL)]
    return model((one(k) for k in range(count)), inputs=inputs, outputs=[str(count)])


@bomb
def ifs_beside_each_other_5_000() -> bytes:
    return _ifs(5_000)


@bomb
def ifs_beside_each_other_20_000() -> bytes:
    return _ifs(20_000)


@bomb
def functions_with_ifs_10_000() -> bytes:
    """Bodies that are there only once the calls of a function are put in."""
    proto = ModelProto.FromString(_ifs(1))
    proto.functions.append(helper.make_function("f", "F", ["0", "c"], ["1"], proto.graph.node, proto.opset_import))
    calls = [node("F", [f"{k}", "c"], [f"{k + 1}"], domain="f") for k in range(10_000)]
    del proto.graph.node[:]
    proto.graph.node.extend(calls)
    proto.graph.output[0].name = "10000"
    return bytes(proto.SerializeToString())


def _functions(bodies: dict[str, list[NodeProto]], call: str) -> bytes:
    proto = ModelProto.FromString(model([node(call, domain="f")]))
    imports = proto.opset_import
    for name, nodes in bodies.items():
        proto.functions.append(helper.make_function("f", name, ["x"], ["y"], nodes, imports))
    return bytes(proto.SerializeToString())


def _doubling(times: int) -> bytes:
    """Functions that each call the one before twice."""
    bodies = {"F0": [node("Relu")]}
    for k in range(1, times):
        calls = (("x", "m"), ("m", "y"))
        bodies[f"F{k}"] = [node(f"F{k - 1}", [a], [b], domain="f") for a, b in calls]
    return _functions(bodies, f"F{times - 1}")


@bomb
def functions_doubling_60_times() -> bytes:
    return _doubling(60)


@bomb
def functions_doubling_18_times() -> bytes:
    return _doubling(18)


@bomb
def functions_called_10_000_deep() -> bytes:
    calls = {f"F{k}": [node(f"F{k - 1}", domain="f")] for k in range(1, 10_000)}
    return _functions({"F0": [node("Relu")], **calls}, "F9999")


@bomb
def functions_calling_each_other() -> bytes:
    return _functions({"A": [node("B", domain="f")], "B": [node("A", domain="f")]}, "A")


@bomb
def functions_with_long_lists() -> bytes:
    """A short call, copied with a long attribute each time."""
    calls = {"F1": chain("F0", 20_000, domain="f")}
    return _functions({"F0": [node("Relu", a=[2**60] * 3000)], **calls}, "F1")


@bomb
def optionals_nested_40_000_deep() -> bytes:
    return model(chain("Optional", NODES))


@bomb
def sequences_nested_1000_deep() -> bytes:
    return model(chain("SequenceConstruct", 1000))


@bomb
def sequences_nested_40_000_deep() -> bytes:
    return model(chain("SequenceConstruct", NODES))


@bomb
def identities_40_000() -> bytes:
    return model(chain("Identity", NODES))


@bomb
def views_between_quantised_operators() -> bytes:
    scale = TensorProto(name="s", data_type=FLOAT, float_data=[0.1])
    zero = TensorProto(name="z", data_type=TensorProto.INT8, int32_data=[0])
    nodes = [node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["0"])]
    for k in range(20_000):
        nodes.append(node("Identity", [str(k)], [str(k + 1)]))
        nodes.append(node("Relu", [str(k + 1)], [f"r{k}"]))
    nodes.append(node("QuantizeLinear", ["20000", "s", "z"]))
    return model(nodes, weights=[scale, zero])


@bomb
def quantised_operators_20_000() -> bytes:
    scale = TensorProto(name="s", data_type=FLOAT, float_data=[0.1])
    zero = TensorProto(name="z", data_type=TensorProto.INT8, int32_data=[0])
    nodes, last = [], "x"
    for k in range(10_000):
        nodes.append(node("QuantizeLinear", [last, "s", "z"], [f"q{k}"]))
        nodes.append(node("DequantizeLinear", [f"q{k}", "s", "z"], [f"d{k}"]))
        nodes.append(node("Relu", [f"d{k}"], [f"r{k}"]))
        last = f"r{k}"
    return model(nodes, outputs=[last, *(f"r{k}" for k in range(9999))], weights=[scale, zero])


@bomb
def elementwise_40_000() -> bytes:
    return model(chain("Relu", NODES))


@bomb
def elementwise_490_000() -> bytes:
    return model(chain("Relu", 490_000))


@bomb
def convolutions_20_000() -> bytes:
    weight = TensorProto(name="w", data_type=FLOAT, dims=[4, 4, 3, 3])
    return model(chain("Conv", 20_000, ["w"], pads=[1, 1, 1, 1]), inputs=[value("x", [1, 4, 8, 8])], weights=[weight])


@bomb
def residuals_20_000() -> bytes:
    nodes, last = [], "x"
    for k in range(10_000):
        nodes += [node("Relu", [last], [f"r{k}"]), node("Add", [last, f"r{k}"], [f"a{k}"])]
        last = f"a{k}"
    return model(nodes, outputs=[last])


@bomb
def dense_connections() -> bytes:
    """Every node reads all before it: 2,000 nodes, two million edges."""
    nodes = [node("Sum", ["x", *(str(j) for j in range(k))], [str(k)]) for k in range(2000)]
    return model(nodes, outputs=["1999"])


@bomb
def growing_concatenations() -> bytes:
    nodes = [node("Concat", ["x" if k == 0 else str(k - 1)] * 2, [str(k)], axis=0) for k in range(1000)]
    return model(nodes, outputs=["999"])


@bomb
def chain_backwards_40_000() -> bytes:
    return model(reversed(chain("Relu", NODES)))


@bomb
def cycle_of_40_000() -> bytes:
    return model(chain("Add", NODES, ["y"]))


@bomb
def concat_of_100_000() -> bytes:
    return model([node("Concat", ["x"] * MANY, axis=0)])


@bomb
def sum_of_100_000_inputs() -> bytes:
    names = [f"x{k}" for k in range(MANY)]
    return model([node("Sum", names)], inputs=[value(n) for n in names])


@bomb
def one_tensor_read_40_000_times() -> bytes:
    return model((node("Relu", ["x"], [f"y{k}"]) for k in range(NODES)), outputs=[f"y{k}" for k in range(NODES)])


@bomb
def sequence_of_100_000() -> bytes:
    nodes = [node("SequenceConstruct", ["x"] * MANY, ["s"]), node("ConcatFromSequence", ["s"], axis=0)]
    return model(nodes)


@bomb
def sequence_inserted_10_000_times() -> bytes:
    nodes = [node("SequenceEmpty", [], ["s"])]
    nodes += [node("SequenceInsert", ["s" if k == 0 else f"s{k - 1}", "x"], [f"s{k}"]) for k in range(10_000)]
    return model([*nodes, node("ConcatFromSequence", ["s9999"], axis=0)])


@bomb
def einsum_of_100_000_letters() -> bytes:
    return model([node("Einsum", equation="ij" * 50_000 + "->i")])


@bomb
def einsum_of_10_000_operands() -> bytes:
    return model([node("Einsum", ["x"] * 10_000, equation=",".join(["ij"] * 10_000) + "->ij")])


@bomb
def einsum_of_all_letters() -> bytes:
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return model([node("Einsum", equation=f"{letters}->{letters[::-1]}")], inputs=[value("x", [2] * 52)])


@bomb
def same_name_40_000_times() -> bytes:
    return model(node("Relu", ["x"], ["y" if k == 0 else f"y{k}"], name="n") for k in range(NODES))


@bomb
def names_that_are_taken() -> bytes:
    """x, x#2, x#2#2 …: making the last x unique tries them all."""
    names = ["x" + "#2" * k for k in range(3000)]
    nodes = [node("Relu", ["x"], [f"y{k}"], name=n) for k, n in enumerate([*names, "x"])]
    return model(nodes, outputs=["y0"])


@bomb
def dimensions_100_000() -> bytes:
    return model([node("Relu", ["x0"])], inputs=[value(f"x{k}", [f"d{k}", f"e{k}"]) for k in range(MANY)])


@bomb
def opsets_100_000() -> bytes:
    proto = ModelProto.FromString(model([node("Relu")]))
    for k in range(MANY):
        proto.opset_import.add(domain=f"d{k}", version=1)
    return bytes(proto.SerializeToString())


@bomb
def missing_tensors_100_000() -> bytes:
    return model([node("Sum", [f"m{k}" for k in range(MANY)])])
