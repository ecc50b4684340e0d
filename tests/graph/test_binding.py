"""Every input dimension gets a number, and what was assumed or is missing is said."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from efficiency_cli.errors import EffcliError, MissingDimension, ModelError, UsageError
from efficiency_cli.graph.binding import MOST_MISSING, Binding, Declared, Request, bind, reject_unused

Inputs = Mapping[str, Sequence[Declared] | None]
IMAGE: Inputs = {"x": ["batch", 3, "height", "width"]}
TEXT: Inputs = {"ids": ["batch", "sequence"], "mask": ["batch", "sequence"]}


def bound(inputs: Inputs, **request: object) -> Binding:
    return bind(inputs, Request(**request), "m.onnx")  # type: ignore[arg-type]


def refusal(inputs: Inputs, **request: object) -> EffcliError:
    with pytest.raises(EffcliError) as caught:
        bound(inputs, **request)
    return caught.value


# --- values ---


def test_a_static_shape_stays() -> None:
    assert bound({"x": [1, 3, 8, 8], "scalar": []}) == Binding({"x": (1, 3, 8, 8), "scalar": ()}, {}, (), {})


def test_named_dimensions() -> None:
    result = bound(IMAGE, dims={"batch": 4, "height": 32, "width": 48})
    assert result == Binding({"x": (4, 3, 32, 48)}, {"batch": 4, "height": 32, "width": 48}, (), {})


def test_one_name_fills_every_input() -> None:
    result = bound(TEXT, dims={"sequence": 128, "batch": 2})
    assert result.shapes == {"ids": (2, 128), "mask": (2, 128)}


def test_unnamed_dimensions_are_set_by_position() -> None:
    result = bound({"x": [None, 3, None]}, dims={"x[0]": 2, "x[2]": 5})
    assert (result.shapes, result.unused) == ({"x": (2, 3, 5)}, {})


def test_a_position_overrides_a_declared_number() -> None:
    assert bound({"x": [1, 3, 224, 224]}, dims={"x[2]": 160}).shapes == {"x": (1, 3, 160, 224)}


def test_a_shape_teaches_the_symbols_of_other_inputs() -> None:
    result = bound(TEXT, shapes={"ids": (2, 64)})
    assert result == Binding({"ids": (2, 64), "mask": (2, 64)}, {"batch": 2, "sequence": 64}, (), {})


def test_a_batch_is_the_first_axis_of_every_input() -> None:
    result = bound({"x": ["N", 3], "y": [1, 2], "z": [None, 2], "scalar": []}, batch=8)
    assert result.shapes == {"x": (8, 3), "y": (8, 2), "z": (8, 2), "scalar": ()}
    assert (result.symbols, result.assumptions) == ({"N": 8}, ())


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"batch": 8, "dims": {"batch": 4}}, "--batch makes axis 0 of 'ids' 8, --dim makes 'batch' 4"),
        ({"shapes": {"ids": (2, 9)}, "dims": {"sequence": 4}}, "--shape makes axis 1 of 'ids' 9, --dim makes"),
    ],
)
def test_two_sizes_for_one_dimension(request_: dict[str, object], says: str) -> None:
    assert refusal(TEXT, **request_).what.startswith(says)


def test_the_same_size_twice_is_no_conflict() -> None:
    result = bound(TEXT, batch=4, shapes={"ids": (4, 9)}, dims={"batch": 4, "sequence": 9})
    assert result.shapes == {"ids": (4, 9), "mask": (4, 9)}


def test_a_position_is_exempt_from_the_batch() -> None:
    assert bound(TEXT, batch=4, dims={"mask[0]": 1, "sequence": 9}).shapes == {"ids": (4, 9), "mask": (1, 9)}


@pytest.mark.parametrize("symbol", ["a\nb", " ", " a", "a\x00"])
def test_a_symbol_that_cannot_be_typed_is_asked_for_by_position(symbol: str) -> None:
    assert refusal({"x": [1, symbol]}).hint.endswith(" --dim 'x[1]=128'")


def test_a_shape_for_an_input_that_declares_none() -> None:
    assert bound({"x": None}, shapes={"x": (4, 16)}).shapes == {"x": (4, 16)}


def test_zero_is_a_size() -> None:
    assert bound({"past": [1, "p"]}, dims={"p": 0}).shapes == {"past": (1, 0)}


# --- assumptions ---


def test_a_symbolic_first_axis_is_one_and_said_so() -> None:
    result = bound(TEXT, dims={"sequence": 16})
    assert result.shapes == {"ids": (1, 16), "mask": (1, 16)}
    assert result.assumptions == ("dimension 'batch' is symbolic, 1 assumed; set it with --dim batch=N",)
    assert result.symbols["batch"] == 1


def test_an_unnamed_first_axis_is_one_for_each_input() -> None:
    result = bound({"x": [None, 2], "y": [None, 2]})
    assert [note.split("'")[1] for note in result.assumptions] == ["x[0]", "y[0]"]


@pytest.mark.parametrize("order", [("x", "y"), ("y", "x")])
def test_a_name_on_a_first_axis_is_one_on_every_axis(order: tuple[str, ...]) -> None:
    inputs = {"x": ["n", 4], "y": [4, "n"]}
    result = bound({name: inputs[name] for name in order})
    assert result.shapes == {"x": (1, 4), "y": (4, 1)}
    assert len(result.assumptions) == 1


# --- what is missing ---


def test_the_hint_is_the_command_that_helps() -> None:
    error = refusal(IMAGE)
    assert isinstance(error, MissingDimension)
    assert error.what == "dimensions need a value before this model can be counted"
    assert error.where == ("dimension 'height' of input 'x' (axis 2)", "dimension 'width' of input 'x' (axis 3)")
    assert error.hint == "effcli analyze m.onnx --dim height=128 --dim width=128"


@pytest.mark.parametrize(
    "inputs",
    [IMAGE, TEXT, {"x": [1, None, None]}, {"x": None}, {"odd name": [1, "it's"], "a;b": [1, None]}],
    ids=["image", "text", "unnamed", "no shape", "hostile"],
)
def test_following_the_hint_is_enough(inputs: Inputs) -> None:
    words = shlex.split(refusal(inputs).hint)
    dims, shapes = {}, {}
    assert words[:3] == ["effcli", "analyze", "m.onnx"]
    for option, value in zip(words[3::2], words[4::2], strict=True):
        name, _, size = value.rpartition("=")
        if option == "--dim":
            dims[name] = int(size)
        else:
            assert option == "--shape"
            shapes[name] = tuple(map(int, size.split("x")))
    result = bound(inputs, dims=dims, shapes=shapes)
    assert result.unused == {}
    assert all(d > 0 for shape in result.shapes.values() for d in shape)


def test_many_missing_dimensions_are_told_in_parts() -> None:
    error = refusal({f"x{k}": [1, f"d{k}"] for k in range(1000)})
    assert len(error.where) == MOST_MISSING + 1
    assert error.where[-1] == f"and {1000 - MOST_MISSING} more"
    assert error.hint.count(" --dim ") == MOST_MISSING


def test_a_path_with_a_space_is_quoted_in_the_hint() -> None:
    with pytest.raises(MissingDimension) as caught:
        bind({"x": [1, "n"]}, Request(), "my model.onnx")
    assert shlex.split(caught.value.hint)[2] == "my model.onnx"


# --- mistakes ---


def test_a_shape_of_an_unknown_input() -> None:
    error = refusal(TEXT, shapes={"id": (1, 2)})
    assert isinstance(error, UsageError)
    assert (error.what, error.hint) == ("the model has no input 'id'", "did you mean 'ids'?")
    assert error.where == ("inputs: ids, mask",)


def test_a_shape_of_another_rank() -> None:
    error = refusal(IMAGE, shapes={"x": (3, 224)})
    assert (error.what, error.hint) == (
        "--shape gives 'x' 2 axes, the model declares 4",
        "write --shape x=batchx3xheightxwidth",
    )


@pytest.mark.parametrize(
    "request_",
    [{"dims": {"batch": -1}}, {"shapes": {"x": (1, -3, 2, 2)}}, {"batch": -2}],
    ids=["dim", "shape", "batch"],
)
def test_negative_sizes(request_: dict[str, object]) -> None:
    error = refusal(IMAGE, **request_)
    assert isinstance(error, UsageError)
    assert "is negative" in error.what


def test_a_negative_dimension_in_the_file() -> None:
    error = refusal({"x": [1, -5]})
    assert isinstance(error, ModelError)
    assert error.what == "input 'x' has the negative dimension -5"
    assert bound({"x": [1, -5]}, dims={"x[1]": 5}).shapes == {"x": (1, 5)}


def test_more_elements_than_can_be_addressed() -> None:
    assert bound({"x": [2**31, 2**31]}).shapes == {"x": (2**31, 2**31)}
    assert "more elements than can be addressed" in refusal({"x": [2**32, 2**31]}).what


def test_a_misspelt_symbol_is_refused_and_a_position_left_to_the_caller() -> None:
    assert bound(TEXT, dims={"sequence": 4, "inner[1]": 2}).unused == {"inner[1]": 2}
    with pytest.raises(UsageError) as caught:
        bound(TEXT, dims={"seqence": 3})
    assert caught.value.hint == "did you mean 'sequence'?"
    with pytest.raises(UsageError) as caught:
        reject_unused({"seqence": 3}, ["batch", "sequence"])
    assert caught.value.hint == "did you mean 'sequence'?"
    with pytest.raises(UsageError, match="no dimension 'n'") as caught:
        reject_unused({"n": 3}, [])
    assert caught.value.where == ("the model has no symbolic dimension",)
    reject_unused({}, [])


# --- laws ---

dims = st.one_of(st.integers(0, 9), st.sampled_from(["a", "b"]), st.none())
inputs_ = st.dictionaries(st.sampled_from(["x", "y"]), st.lists(dims, max_size=4), min_size=1)


@settings(deadline=None)
@given(inputs_, st.fixed_dictionaries({"a": st.integers(0, 9), "b": st.integers(0, 9)}))
def test_numbers_stay_names_are_looked_up_positions_fill(inputs: Inputs, values: dict[str, int]) -> None:
    positions = {f"{n}[{k}]": 7 for n, shape in inputs.items() for k, d in enumerate(shape or ()) if d is None}
    names = {d for shape in inputs.values() for d in shape or () if isinstance(d, str)}
    result = bound(inputs, dims={n: v for n, v in values.items() if n in names} | positions)
    expected = {n: tuple(values.get(d, 7) if not isinstance(d, int) else d for d in s) for n, s in inputs.items()}  # type: ignore
    assert (result.shapes, result.assumptions) == (expected, ())


@settings(deadline=None)
@given(inputs_, st.dictionaries(st.sampled_from(["a", "b", "x[0]", "y[1]"]), st.integers(-2, 9)))
def test_anything_else_is_an_error_for_the_user(inputs: Inputs, values: dict[str, int]) -> None:
    try:
        result = bound(inputs, dims=values)
    except EffcliError:
        return
    assert [len(result.shapes[n]) for n in inputs] == [len(s or ()) for s in inputs.values()]
    assert all(d >= 0 for shape in result.shapes.values() for d in shape)
