"""Every tensor gets a static shape: shape arithmetic, bodies, declared shapes; or it stays a named gap.

`float[] y` in onnx's text form is a tensor without a declared shape. Rules of single operators: test_shape_rules.py.
"""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import NodeProto, helper
from onnx_text import graph_of, parse, read

from efficiency_cli.errors import UsageError
from efficiency_cli.graph.model import DType, Model, Tensor
from efficiency_cli.graph.shapes import walk
from efficiency_cli.graph.shapes.needs import needed_values
from efficiency_cli.graph.shapes.values import FOLDABLE, fold

FOREVER = 2**63 - 1  # PyTorch's trip count of a `while`


def tensor_of(text: str, name: str = "y", opset: int = 17, **request: object) -> Tensor:
    return graph_of(text, opset, **request).tensors[name]


def shape_of(text: str, name: str = "y", opset: int = 17, **request: object) -> tuple[int, ...] | None:
    return tensor_of(text, name, opset, **request).shape


class TestArithmetic:
    """Shapes that other nodes compute, of a 2 x 3 x 8 x 10 input with symbolic axes."""

    CONSTANTS = """int64 zero = {0}, int64 two = {2}, int64[1] first = {0}, int64[1] rest = {-1}, int64[1] lo = {1},
        int64[1] hi = {3}, float[1] half = {0.5}, int64[1] three = {3}, float[1] k = {1}, int64[2] twice = {2, 2},
        int64[1] last = {10}, int64[4] ones = {1, 1, 1, 1}"""

    @pytest.mark.parametrize(
        ("nodes", "expected"),
        [
            ("y = Expand(k, s)", (2, 3, 8, 10)),
            ("t = Shape<start = 1, end = -1>(x) y = ConstantOfShape(t)", (3, 8)),
            ("n = Size(x) y = Range(zero, n, two)", (2 * 3 * 8 * 10 // 2,)),
            ("n = ReduceProd<keepdims = 0>(s) y = Range(two, n, two)", (2 * 3 * 8 * 10 // 2 - 1,)),
            ("y = Flatten<axis = 2>(x)", (2 * 3, 8 * 10)),
            ("b = Gather(s, first) t = Concat<axis = 0>(b, rest) y = Reshape(x, t)", (2, 3 * 8 * 10)),
            ("b = Slice(s, lo, hi) t = Concat<axis = 0>(last, b, rest) y = Reshape(x, t)", (10, 3, 8, 2)),
            ("f = Cast<to = 1>(s) h = Mul(f, half) t = Cast<to = 7>(h) y = ConstantOfShape(t)", (1, 1, 4, 5)),
            ("c = Equal(s, three) t = Where(c, lo, s) y = ConstantOfShape(t)", (2, 1, 8, 10)),
            ("y = Tile(x, s)", (2 * 2, 3 * 3, 8 * 8, 10 * 10)),
            ("a, b = Split(s, twice) t = Concat<axis = 0>(b, a) y = Reshape(x, t)", (8, 10, 2, 3)),
            ("p = Sub(s, s) q = Concat<axis = 0>(s, p) y = Pad(x, q)", (4, 6, 16, 20)),
            ("a = Gather(s, first) v, i = TopK(x, a) y = Identity(v)", (2, 3, 8, 2)),
            ("u = Unsqueeze(s, first) m = Squeeze(u, first) y = Expand(k, m)", (2, 3, 8, 10)),
            ("d = Add(s, s) y = Resize(x, , , d)", (4, 6, 16, 20)),
            ("z = Sub(s, s) y = Slice(x, z, ones)", (1, 1, 1, 1)),
            ("n = ReduceMax<keepdims = 0>(s) y = OneHot(twice, n, twice)", (2, 10)),
        ],
    )
    def test_is_folded(self, nodes: str, expected: tuple[int, ...]) -> None:
        text = f"g (float[a, b, c, d] x) => (float[] y) <{self.CONSTANTS}> {{ s = Shape(x) {nodes} }}"
        assert shape_of(text, shapes={"x": (2, 3, 8, 10)}) == expected

    @settings(max_examples=20, deadline=None)
    @given(batch=st.integers(1, 9), length=st.integers(1, 9), heads=st.sampled_from([1, 2, 4]))
    def test_splitting_heads_follows_the_input(self, batch: int, length: int, heads: int) -> None:
        text = f"""g (float[b, t, 16] x) => (float[] y)
            <int64[2] sizes = {{{heads}, {16 // heads}}}, int64[1] zero = {{0}}, int64[1] two = {{2}}> {{
            s = Shape(x)  d = Slice(s, zero, two)  t = Concat<axis = 0>(d, sizes)  r = Reshape(x, t)
            y = Transpose<perm = [0, 2, 1, 3]>(r)
        }}"""
        assert shape_of(text, dims={"b": batch, "t": length}) == (batch, heads, length, 16 // heads)

    def test_only_what_a_shape_depends_on_is_computed(self) -> None:
        text = """g (float[2, 3] x) => (float[] y, int64[] z) <int64[1] one = {1}> {
            s = Shape(x)  t = Concat<axis = 0>(s, one)  y = Reshape(x, t)  z = Add(s, one)
        }"""
        assert needed_values(parse(text).graph) == {"t", "s", "one"}
        graph = graph_of(text)
        assert (graph.tensors["t"].value, graph.tensors["z"].value) == ((2, 3, 1), None)

    @pytest.mark.parametrize(
        "nodes",
        [
            "y = Range(zero, huge, one)",
            "y = ConstantOfShape(dims)",
            "k = ConstantOfShape(dims) y = Neg(k)",
            "y = Expand(one, dims)",
            "y = Tile(ones, dims)",
            "k = ConstantOfShape<value = int64[1] {1}>(dims) y = ConstantOfShape(k)",
        ],
    )
    def test_nothing_large_is_computed(self, nodes: str) -> None:
        text = f"""g (float[2] x) => (float[] y) <int64 zero = {{0}}, int64 huge = {{{2**40}}}, int64 one = {{1}},
            int64[1] dims = {{{2**40}}}, int64[1] ones = {{1}}> {{ {nodes} }}"""
        tracemalloc.start()
        try:
            graph = graph_of(text)
            assert tracemalloc.get_traced_memory()[1] < 10e6
        finally:
            tracemalloc.stop()
        assert all(t.value is None for t in graph.tensors.values() if t.numel > 64)
        assert graph.tensors["y"].shape == (None if "(k)" in nodes and "Neg" not in nodes else (2**40,))

    def test_a_large_operand_of_a_shape_is_not_even_tried(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tried: list[str] = []
        monkeypatch.setattr(walk, "fold", lambda node, *_: tried.extend(node.output) or [None])
        shape_of(
            """g (float[2] x) => (float[] y) <int64[1] few = {2}, int64[1] many = {100000}> {
                a = ConstantOfShape<value = int64[1] {1}>(few)  y = Reshape(x, a)
                b = ConstantOfShape<value = int64[1] {1}>(many)  z = Reshape(x, b)
            }"""
        )
        assert tried == ["a"]

    def test_constants_of_every_form(self) -> None:
        forms = {
            "value_int = 5": (),
            "value_ints = [1, 2, 3]": (3,),
            "value_float = 1.0": (),
            "value_floats = [1.0, 2.0]": (2,),
            'value_string = "a"': (),
            'value_strings = ["a", "b"]': (2,),
            "value = int64[2, 1] {4, 5}": (2, 1),
        }
        for form, expected in forms.items():
            tensor = tensor_of(f"g (float[1] x) => (float[] y) {{ y = Constant<{form}>() }}")
            assert tensor.shape == expected, form
            assert tensor.dtype is not None
            assert (tensor.value is None) == (tensor.dtype is DType.STRING), form


class TestAlike:
    """Nodes alike are inferred once, and only nodes alike."""

    def test_a_repeated_block_is_inferred_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        inferred: list[str] = []
        infer = walk.onnx.shape_inference.infer_node_outputs

        def counting(schema: object, node: NodeProto, *rest: object, **more: object) -> object:
            inferred.append(node.op_type)
            return infer(schema, node, *rest, **more)

        monkeypatch.setattr(walk.onnx.shape_inference, "infer_node_outputs", counting)
        blocks = " ".join(f"s{k} = Shape(x{k}) r{k} = Reshape(x{k}, s{k}) x{k + 1} = Relu(r{k})" for k in range(20))
        graph = graph_of(f"g (float[n, 3] x0) => (float[] x20) {{ {blocks} }}", dims={"n": 2})
        assert graph.tensors["x20"].shape == (2, 3)
        assert sorted(inferred) == ["Relu", "Reshape"]

    @pytest.mark.parametrize(
        ("first", "second", "shapes"),
        [
            ("Reshape(x, a)", "Reshape(x, b)", ((2, 12), (3, 8))),  # values
            ("Transpose<perm = [1, 0, 2]>(r)", "Transpose<perm = [2, 1, 0]>(r)", ((3, 2, 4), (4, 3, 2))),
            ("Concat<axis = 0>(r, r)", "Concat<axis = 0>(r, r, r)", ((4, 3, 4), (6, 3, 4))),
            ("Slice(r, one, two, one)", "Slice(r, one, two, , one)", ((2, 1, 4), (1, 3, 4))),  # what is left out
            ("Cast<to = 7>(r)", "Cast<to = 10>(r)", ((2, 3, 4), (2, 3, 4))),
        ],
    )
    def test_what_differs_is_told_apart(
        self, first: str, second: str, shapes: tuple[tuple[int, ...], tuple[int, ...]]
    ) -> None:
        text = f"""g (float[n, 12] x) => (float[] y, float[] z)
            <int64[2] a = {{2, 12}}, int64[2] b = {{3, 8}}, int64[3] c = {{2, 3, 4}}, int64[1] one = {{1}},
             int64[1] two = {{2}}> {{ r = Reshape(x, c) y = {first} z = {second} }}"""
        graph = graph_of(text, dims={"n": 2})
        assert (graph.tensors["y"].shape, graph.tensors["z"].shape) == shapes
        if "Cast" in first:
            assert (graph.tensors["y"].dtype, graph.tensors["z"].dtype) == (DType.INT64, DType.FLOAT16)


class TestDeclared:
    """What the file says of computed tensors counts only where inference knows nothing."""

    def test_a_stale_shape_is_ignored(self) -> None:
        proto_text = "g (float[2,3] x) => (float[9,9] y) <float[7,7] r> { r = Relu(x) y = Neg(r) }"
        assert (shape_of(proto_text, "r"), shape_of(proto_text)) == ((2, 3), (2, 3))

    def test_a_declared_shape_fills_a_gap(self) -> None:
        text = "g (float[n,3] x) => (float[] y) <float[n,5] r> { r = custom.Thing(x) y = Relu(r) }"
        assert shape_of(text, dims={"n": 4}) == (4, 5)

    def test_a_gap_stays_named(self) -> None:
        text = "g (float[2,3] x) => (float[] y) { r = custom.Thing(x) y = Relu(r) }"
        assert (shape_of(text, "r"), shape_of(text)) == (None, None)

    def test_an_unknown_target_leaves_a_gap(self) -> None:
        assert shape_of("g (float[2,3] x, int64[2] t) => (float[] y) { y = Reshape(x, t) }") is None


class TestIf:
    TEXT = """g ({given}float[2] x) => (float[] y) {constant} {{
        y = If (c) <then_branch = t () => (float[] p) {{ p = Relu(x) }},
                    else_branch = e () => (float[] q) {{ q = Concat<axis = 0>(x, x) }}>
    }}"""

    def test_the_larger_branch_bounds_the_result(self) -> None:
        tensor = tensor_of(self.TEXT.format(given="bool c, ", constant=""))
        assert (tensor.shape, tensor.bounded) == ((4,), True)

    @pytest.mark.parametrize(("condition", "expected"), [(1, (2,)), (0, (4,))])
    def test_a_constant_condition_decides(self, condition: int, expected: tuple[int, ...]) -> None:
        tensor = tensor_of(self.TEXT.format(given="", constant=f"<bool c = {{{condition}}}>"))
        assert (tensor.shape, tensor.bounded) == (expected, False)

    def test_equal_branches_are_exact(self) -> None:
        text = self.TEXT.replace("Concat<axis = 0>(x, x)", "Neg(x)")
        tensor = tensor_of(text.format(given="bool c, ", constant=""))
        assert (tensor.shape, tensor.bounded) == ((2,), False)

    def test_a_size_from_around_is_known_inside(self) -> None:
        text = """g (bool c, float[n, 6] x) => (float[] y) <int64[1] rest = {-1}, int64[1] zero = {0}> {
            s = Shape(x)  d = Gather(s, zero)  t = Concat<axis = 0>(rest, d)
            y = If (c) <then_branch = u () => (float[] p) { p = Reshape(x, t) },
                        else_branch = e () => (float[] q) { q = Transpose(x) }>
        }"""
        assert shape_of(text, dims={"n": 4}) == (6, 4)


class TestLoop:
    TEXT = """g (float[2] x{given}) => (float[] y, float[] s) {constant} {{
        y, s = Loop (n, , x) <body = b (int64 i, bool c, float[] v) => (bool d, float[] w, float[] o) {{
            d = Identity(c)  w = {step}  o = Neg(v)
        }}>
    }}"""

    @pytest.mark.parametrize(
        ("trips", "length", "bounded"), [(5, 5, False), (0, 0, False), (FOREVER, 1, True), (-1, 1, True)]
    )
    def test_a_scanned_output_has_a_slice_a_trip(self, trips: int, length: int, bounded: bool) -> None:
        text = self.TEXT.format(given="", constant=f"<int64 n = {{{trips}}}>", step="Relu(v)")
        assert shape_of(text) == (2,)
        scanned = tensor_of(text, "s")
        assert (scanned.shape, scanned.bounded) == ((length, 2), bounded)

    def test_unknown_trips_count_one_and_are_flagged(self) -> None:
        scanned = tensor_of(self.TEXT.format(given=", int64 n", constant="", step="Relu(v)"), "s")
        assert (scanned.shape, scanned.bounded) == ((1, 2), True)

    @pytest.mark.parametrize("trips", [0, 1, 2, 7, 10**6])
    def test_a_value_that_grows_by_the_same_each_trip(self, trips: int) -> None:
        text = self.TEXT.format(given="", constant=f"<int64 n = {{{trips}}}>", step="Concat<axis = 0>(v, x)")
        tensor = tensor_of(text)
        assert (tensor.shape, tensor.bounded) == ((2 + trips * 2,), False)
        inside = graph_of(text).nodes[0].graphs["body"].tensors["v"]
        assert (inside.shape, inside.bounded) == ((2 + max(trips - 1, 0) * 2,), trips > 1)
        notes = [n for n in read(text).notes if "carries changes size: each trip counts as the largest" in n]
        assert len(notes) == (trips > 1)

    @pytest.mark.parametrize(
        ("given", "constant", "step", "size"),
        [
            # of the second trip, as far as it is followed
            ("", "<int64 n = {9}>", "Concat<axis = 0>(v, v)", 2 * 2 * 2),
            (", int64 n", "", "Concat<axis = 0>(v, x)", 2 + 2 + 2),
        ],
    )
    def test_a_value_that_grows_otherwise_is_flagged(self, given: str, constant: str, step: str, size: int) -> None:
        tensor = tensor_of(self.TEXT.format(given=given, constant=constant, step=step))
        assert (tensor.shape, tensor.bounded) == ((size,), True)

    @pytest.mark.parametrize(("trips", "size"), [(0, None), (1, 3), (5, 5 * 3)])
    def test_a_list_that_grows(self, trips: int, size: int | None) -> None:
        text = f"""g (float[3,4] x) => (float[] y) <int64 n = {{{trips}}}> {{
            s = SequenceEmpty<dtype = 1>()
            t = Loop(n, , s) <body = b (int64 i, bool c, seq(float) v) => (bool d, seq(float) w) {{
                d = Identity(c)  w = SequenceInsert(v, x)
            }}>
            y = ConcatFromSequence<axis = 0>(t)
        }}"""
        assert shape_of(text) == (None if size is None else (size, 4))

    def test_the_body_has_the_shapes_of_what_enters_it(self) -> None:
        body = graph_of(self.TEXT.format(given=", int64 n", constant="", step="Relu(v)")).nodes[0].graphs["body"]
        assert {n: t.shape for n, t in body.tensors.items()} == {
            "i": (), "c": (), "d": (), **dict.fromkeys("vwo", (2,)),
        }  # fmt: skip


class TestScan:
    TEXT = """g (float[4,2] a, float[7,5,3] x) => (float[] y, float[] s) {{
        y, s = Scan<num_scan_inputs = 1 {axes}, body = b (float[] v, float[] e) => (float[] w, float[] o) {{
            w = Relu(v)  o = Flatten<axis = 0>(e)
        }}> (a, x)
    }}"""

    @pytest.mark.parametrize(
        ("axes", "expected"),
        [
            ("", (7, 1, 5 * 3)),
            (", scan_input_axes = [1]", (5, 1, 7 * 3)),
            (", scan_input_axes = [-1], scan_output_axes = [-1]", (1, 7 * 5, 3)),
            (", scan_output_axes = [1]", (1, 7, 5 * 3)),
        ],
    )
    def test_axes(self, axes: str, expected: tuple[int, ...]) -> None:
        text = self.TEXT.format(axes=axes)
        assert (shape_of(text), shape_of(text, "s")) == ((4, 2), expected)

    def test_opset_8_has_a_batch_axis(self) -> None:
        text = """g (float[5,4,2] a, float[5,7,3] x) => (float[] y, float[] s) {
            y, s = Scan<num_scan_inputs = 1, body = b (float[] v, float[] e) => (float[] w, float[] o) {
                w = Relu(v)  o = Neg(e)
            }> (, a, x)
        }"""
        assert (shape_of(text, "y", 8), shape_of(text, "s", 8)) == ((5, 4, 2), (5, 7, 3))


class TestBoundsInValues:
    """A size taken from an upper bound is one."""

    TEXT = """g (float[6] x, float[2, 3] z) => (float[] y) <int64[1] two = {{2}}, int64[1] rest = {{-1}}> {{
        found = NonZero(x) shape = Shape(found) {nodes}
    }}"""

    @pytest.mark.parametrize(
        ("nodes", "expected", "bounded"),
        [
            ("y = ConstantOfShape(shape)", (1, 6), True),
            ("more = Add(shape, two) y = ConstantOfShape(more)", (1 + 2, 6 + 2), True),
            ("n = Gather(shape, one) flat = Unsqueeze(n, zero) y = Expand(x1, flat)", (6,), True),
            # the value is an operand like others, the shape does not hang on it
            ("more = Add(shape, two) y = Cast<to = 1>(more)", (2,), False),
            ("y = ConstantOfShape(two)", (2,), False),
        ],
    )
    def test_a_size_that_depends_on_data(self, nodes: str, expected: tuple[int, ...], bounded: bool) -> None:
        text = self.TEXT.format(nodes=nodes).replace(
            "=> (float[] y) <",
            """=> (float[] y) <int64 one = {1},
            int64[1] zero = {0}, float[1] x1 = {0.5}, """,
        )
        tensor = tensor_of(text)
        assert (tensor.shape, tensor.bounded) == (expected, bounded)

    def test_trips_that_are_a_bound(self) -> None:
        text = """g (float[6] x) => (float[] s) <int64 one = {1}> {
            found = NonZero(x) shape = Shape(found) n = Gather(shape, one)
            s = Loop(n, ) <body = b (int64 i, bool c) => (bool d, float[] o) { d = Identity(c) o = Relu(x) }>
        }"""
        tensor = tensor_of(text, "s")
        assert (tensor.shape, tensor.bounded) == ((6, 6), True)


class TestSizesThatAreGiven:
    """--dim TENSOR[AXIS] of a tensor inside the graph."""

    TEXT = "g (float[6] x, float[3, k] z) => (float[] y) { n = NonZero(x) t = Transpose(n) y = Relu(z) }"

    def given(self, **dims: int) -> Model:
        return read(self.TEXT, dims={"k": 4, **dims})

    def test_what_depends_on_data_is_set(self) -> None:
        tensors = self.given(**{"n[1]": 5}).graph.tensors
        assert (tensors["n"].shape, tensors["n"].bounded, tensors["t"].shape) == ((1, 5), False, (5, 1))

    @pytest.mark.parametrize(
        ("key", "size", "told"),
        [
            ("y[1]", 5, "y[1]: this axis is not open"),
            ("y[2]", 5, "'y' has 2 axes"),
            ("x[1]", 5, "'x' has 1 axes"),
            ("w[0]", 5, "no dimension 'w[0]'"),
            ("y[a]", 5, "no dimension 'y[a]'"),
        ],
    )
    def test_what_follows_from_the_rest_is_not(self, key: str, size: int, told: str) -> None:
        with pytest.raises(UsageError) as caught:
            self.given(**{key: size})
        assert told in caught.value.what

    def test_saying_what_is_so_is_no_mistake(self) -> None:
        assert self.given(**{"y[1]": 4}).graph.tensors["y"].shape == (3, 4)


class TestLists:
    """Sequences: each element apart where it is known."""

    @pytest.mark.parametrize(
        ("nodes", "expected", "bounded"),
        [
            ("q = SequenceConstruct(x, x, z) y = ConcatFromSequence<axis = 0>(q)", (10 + 10 + 2, 3), False),
            ("q = SequenceConstruct(x, x) y = ConcatFromSequence<axis = -1, new_axis = 1>(q)", (10, 3, 2), False),
            ("q = SequenceConstruct(x, x) y = ConcatFromSequence<axis = 0, new_axis = 1>(q)", (2, 10, 3), False),
            (
                "e = SequenceEmpty() q = SequenceInsert(e, x) r = SequenceInsert(q, z, zero) y = SequenceAt(r, zero)",
                (2, 3), False,
            ),
            ("q = SequenceConstruct(x, z) r = SequenceErase(q, zero) y = SequenceAt(r, zero)", (2, 3), False),
            ("q = SequenceConstruct(x, z) y = SequenceAt(q, last)", (2, 3), False),
            ("q = SequenceConstruct(x, z) y = SequenceAt(q, k)", (10, 3), True),
            ("q = SequenceConstruct(x, x) y = SequenceAt(q, k)", (10, 3), False),
            ("q = SplitToSequence<axis = 0>(x, four) y = SequenceAt(q, last)", (10 - 2 * 4, 3), False),
            ("q = SplitToSequence<axis = 0>(x, parts) y = SequenceAt(q, last)", (7, 3), False),
            ("q = SplitToSequence<axis = 0, keepdims = 0>(x) y = SequenceAt(q, zero)", (3,), False),
            ("q = SplitToSequence<axis = 0, keepdims = 0>(x) y = ConcatFromSequence<axis = 0>(q)", (30,), False),
            ("q = SplitToSequence<axis = 1>(x) y = ConcatFromSequence<axis = 0>(q)", (3 * 10, 1), False),
            ("q = SplitToSequence<axis = 0>(x, k) y = SequenceAt(q, zero)", (10, 3), True),
            ("q = SequenceConstruct(x, z) y = SequenceLength(q)", (), False),
        ],
    )  # fmt: skip
    def test_elements(self, nodes: str, expected: tuple[int, ...], bounded: bool) -> None:
        text = f"""g (float[10, 3] x, float[2, 3] z, int64 k) => (float[] y) <int64 zero = {{0}}, int64 last = {{-1}},
            int64 four = {{4}}, int64[2] parts = {{3, 7}}> {{ {nodes} }}"""
        tensor = tensor_of(text)
        assert (tensor.shape, tensor.bounded) == (expected, bounded)

    def test_a_list_is_one_block_of_its_elements(self) -> None:
        text = "g (float[10, 3] x, float[2, 3] z) => (int64 y) { q = SequenceConstruct(x, z) y = SequenceLength(q) }"
        assert tensor_of(text, "q").bytes == 4 * (10 * 3 + 2 * 3)

    def test_a_mapped_body_sees_one_element(self) -> None:
        text = """g (float[4, 3] x) => (float[] y) {
            q = SequenceConstruct(x, x)
            m = SequenceMap<body = b (float[] v) => (float[] w) { w = Transpose(v) }>(q)
            y = ConcatFromSequence<axis = 0>(m)
        }"""
        assert shape_of(text, "y", 18) == (3 + 3, 4)


class TestOpsets:
    def test_an_operator_newer_than_the_opset_is_read_as_it_is(self) -> None:
        # exporters do write such files
        assert shape_of("g (float[2,3,8] x) => (float[] y) { y = Gelu(x) }", opset=13) == (2, 3, 8)

    @pytest.mark.parametrize(("opset", "nodes"), [(12, "y = Squeeze<axes = [0]>(x)"), (13, "y = Squeeze(x, zero)")])
    def test_the_form_of_the_opset(self, opset: int, nodes: str) -> None:
        text = f"g (float[1,3] x) => (float[] y) <int64[1] zero = {{0}}> {{ {nodes} }}"
        assert shape_of(text, opset=opset) == (3,)

    def test_an_opset_from_the_future_is_read_as_the_newest(self) -> None:
        model = read("g (float[2,3] x) => (float[] y) { y = Relu(x) }", 999)
        assert model.graph.tensors["y"].shape == (2, 3)


class TestValues:
    """The reference operators behind shape arithmetic."""

    @pytest.mark.parametrize(
        ("op", "operands", "attributes", "expected"),
        [
            ("Add", [[1, 2], [3, 4]], {}, [4, 6]),
            ("Div", [[7, -7], [2, 2]], {}, [3, -3]),
            ("Gather", [[5, 6, 7], [2, 0]], {"axis": 0}, [7, 5]),
            ("Concat", [[1], [2, 3]], {"axis": 0}, [1, 2, 3]),
            ("Range", [0, 7, 3], {}, [0, 3, 6]),
            ("Slice", [[1, 2, 3, 4], [-2], [100]], {}, [3, 4]),
            ("ReduceProd", [[2, 3, 4]], {"keepdims": 0}, 24),
            ("Where", [[True, False], [1, 1], [2, 2]], {}, [1, 2]),
        ],
    )
    def test_fold(self, op: str, operands: list[object], attributes: dict[str, int], expected: object) -> None:
        node = helper.make_node(op, [f"i{k}" for k in range(len(operands))], ["y"], **attributes)
        (result,) = fold(node, [np.asarray(o) for o in operands], 17)
        assert result is not None
        assert result.tolist() == expected

    @pytest.mark.parametrize(
        ("op", "operands"),
        [("Reshape", [[1, 2, 3], [2, 2]]), ("Gather", [[1], [9]]), ("Add", [[1, 2], [1, 2, 3]]), ("Size", [[1], [2]])],
    )
    def test_what_the_operator_refuses_is_unknown(self, op: str, operands: list[list[int]]) -> None:
        node = helper.make_node(op, ["a", "b"], ["y"])
        assert fold(node, [np.asarray(o) for o in operands], 17) == [None]

    @pytest.mark.parametrize("op", sorted(FOLDABLE))
    def test_every_listed_operator_exists(self, op: str) -> None:
        from onnx.reference.ops._op_list import load_op

        assert load_op("", op, 17).__name__.startswith(op)
