from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from rf_networks import Net, alexnet_v2, inception_v2, mobilenet_v1, resnet_v1, vgg_16, vgg_a
from work import calls_of

from efficiency_cli.graph.model import DType, Graph, Kind, Node, Tensor
from efficiency_cli.graph.receptive_field import Field, output_fields, receptive_fields

SHARED = Path(__file__).parents[3] / "shared"
INF = math.inf


def field(net: Net, name: str) -> Field:
    return receptive_fields(net.graph(name))[name]


# --- published values ----------------------------------------------------------------------------

# https://github.com/google-research/receptive_field/blob/master/receptive_field/RECEPTIVE_FIELD_TABLE.md
# end-point: size, effective stride, and effective padding at 224 and 321 pixels
PUBLISHED: dict[str, tuple[Callable[[int], Graph], str]] = {
    "alexnet_v2": (
        alexnet_v2,
        """conv1 11 4 0 0; pool1 19 8 0 0; conv2 51 8 16 16; conv3 99 16 32 32; conv4 131 16 48 48
        conv5 163 16 64 64; pool5 195 32 64 64""",
    ),
    "vgg_a": (
        vgg_a,
        """conv1_1 3 1 1 1; pool1 4 2 1 1; conv2_1 8 2 3 3; pool2 10 4 3 3; conv3_1 18 4 7 7
        conv3_2 26 4 11 11; pool3 30 8 11 11; conv4_1 46 8 19 19; conv4_2 62 8 27 27; pool4 70 16 27 27
        conv5_1 102 16 43 43; conv5_2 134 16 59 59; pool5 150 32 59 59""",
    ),
    "vgg_16": (
        vgg_16,
        """conv1_1 3 1 1 1; pool1 6 2 2 2; conv2_1 10 2 4 4; pool2 16 4 6 6; conv3_1 24 4 10 10
        conv3_2 32 4 14 14; pool3 44 8 18 18; conv4_1 60 8 26 26; conv4_2 76 8 34 34; pool4 100 16 42 42
        conv5_1 132 16 58 58; conv5_2 164 16 74 74; pool5 212 32 90 90""",
    ),
    "inception_v2": (
        inception_v2,
        """Conv2d_1a_7x7 7 2 2 3; MaxPool_2a_3x3 11 4 2 5; Conv2d_2b_1x1 11 4 2 5; Conv2d_2c_3x3 19 4 6 9
        MaxPool_3a_3x3 27 8 6 13; Mixed_3b 59 8 22 29; Mixed_3c 91 8 38 45; Mixed_4a 123 16 46 61
        Mixed_4b 187 16 78 93; Mixed_4c 251 16 110 125; Mixed_4d 315 16 142 157; Mixed_4e 379 16 174 189
        Mixed_5a 443 32 190 221; Mixed_5b 571 32 254 285; Mixed_5c 699 32 318 349""",
    ),
    "mobilenet_v1": (
        mobilenet_v1,
        """Conv2d_0 3 2 0 1; Conv2d_1_pointwise 7 2 2 3; Conv2d_2_pointwise 11 4 2 5
        Conv2d_3_pointwise 19 4 6 9; Conv2d_4_pointwise 27 8 6 13; Conv2d_5_pointwise 43 8 14 21
        Conv2d_6_pointwise 59 16 14 29; Conv2d_7_pointwise 91 16 30 45; Conv2d_8_pointwise 123 16 46 61
        Conv2d_9_pointwise 155 16 62 77; Conv2d_10_pointwise 187 16 78 93; Conv2d_11_pointwise 219 16 94 109
        Conv2d_12_pointwise 251 32 94 125; Conv2d_13_pointwise 315 32 126 157""",
    ),
    "resnet_v1_50": (
        lambda size: resnet_v1(size, (3, 4, 6, 3)),
        "block1 35 8 15 17; block2 99 16 47 49; block3 291 32 143 145; block4 483 32 239 241",
    ),
    "resnet_v1_101": (
        lambda size: resnet_v1(size, (3, 4, 23, 3)),
        "block1 35 8 15 17; block2 99 16 47 49; block3 835 32 415 417; block4 1027 32 511 513",
    ),
    "resnet_v1_152": (
        lambda size: resnet_v1(size, (3, 8, 36, 3)),
        "block1 35 8 15 17; block2 163 16 79 81; block3 1315 32 655 657; block4 1507 32 751 753",
    ),
    "resnet_v1_200": (
        lambda size: resnet_v1(size, (3, 24, 36, 3)),
        "block1 35 8 15 17; block2 419 16 207 209; block3 1571 32 783 785; block4 1763 32 879 881",
    ),
}


@pytest.mark.parametrize("size", [224, 321])
@pytest.mark.parametrize("network", PUBLISHED)
def test_published_sizes_strides_and_paddings_of_every_end_point(network: str, size: int) -> None:
    build, table = PUBLISHED[network]
    fields = receptive_fields(build(size))
    found = {}
    expected = {}
    for row in table.replace("\n", ";").split(";"):
        name, extent, stride, *paddings = row.split()
        padding = int(paddings[0 if size == 224 else 1])
        expected[name] = ((int(extent),) * 2, (int(stride),) * 2, (padding,) * 2)
        found[name] = (fields[name].size, fields[name].stride, fields[name].padding)
    assert found == expected


def test_centre_as_in_the_readme_of_the_published_library() -> None:
    # "the feature at position [0, 2] is centered at [37, 101]": −1482 + (3039 − 1)/2 = 37, 37 + 2 · 32 = 101
    f = Field((3039,), (32,), (-1482 + (3039 - 1) / 2,), (1482,), (3039,))
    assert [f.start[0] + i * f.stride[0] for i in (0, 2)] == [37, 101]
    for build, _ in PUBLISHED.values():
        for f in receptive_fields(build(224)).values():
            assert f.start[0] == -f.padding[0] + (f.size[0] - 1) / 2


# --- single operators, by hand ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "size", "stride", "padding"),
    [
        ({"kernel": 3}, 3, 1, 0),
        ({"kernel": 3, "pads": (1, 1)}, 3, 1, 1),
        ({"kernel": 5, "stride": 2, "pads": (2, 2)}, 5, 2, 2),
        ({"kernel": 3, "dilation": 4, "pads": (4, 4)}, 1 + (3 - 1) * 4, 1, 4),
        ({"kernel": 4, "stride": 3, "pads": (2, 0)}, 4, 3, 2),
        ({"kernel": 3, "auto": "SAME_UPPER"}, 3, 1, 1),
        ({"kernel": 3, "stride": 2, "auto": "SAME_UPPER"}, 3, 2, 0),  # 32 → 16: pads 15·2 + 3 − 32 = 1, at the end
        ({"kernel": 3, "stride": 2, "auto": "SAME_LOWER"}, 3, 2, 1),
        ({"kernel": 4, "auto": "SAME_UPPER"}, 4, 1, 1),
        ({"kernel": 4, "auto": "SAME_LOWER"}, 4, 1, 2),
        ({"kernel": 2, "stride": 2, "auto": "VALID"}, 2, 2, 0),
        ({"kernel": 3, "stride": 2, "op": "MaxPool"}, 3, 2, 0),
        ({"kernel": 3, "stride": 2, "op": "AveragePool", "pads": (1, 1)}, 3, 2, 1),
        ({"kernel": 2, "stride": 2, "op": "LpPool"}, 2, 2, 0),
        ({"kernel": 3, "depthwise": True}, 3, 1, 0),
        ({"kernel": 1}, 1, 1, 0),
    ],
)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_one_window(rank: int, arguments: dict[str, object], size: int, stride: int, padding: int) -> None:
    net = Net(x=(2, 4) + (32,) * rank)
    f = field(net, net.conv("x", **arguments))  # type: ignore[arg-type]
    assert (f.size, f.stride, f.padding) == ((size,) * rank, (stride,) * rank, (padding,) * rank)
    assert f.start == ((size - 1) / 2 - padding,) * rank
    assert (f.bounded_size, f.unbounded_by, f.input) == (f.size, "", "x")


def test_two_layers_by_the_formula() -> None:
    net = Net(x=(1, 3, 64, 64))
    x = net.conv("x", 7, 2, pads=(3, 3))
    x = net.conv(x, 3, 2, op="MaxPool", pads=(1, 1))
    x = net.conv(x, 3, dilation=2)
    f = field(net, x)
    assert f.size == (1 + (7 - 1) + (3 - 1) * 2 + (3 - 1) * 2 * (2 * 2),) * 2
    assert f.stride == (2 * 2,) * 2
    assert f.padding == (3 + 1 * 2,) * 2


@pytest.mark.parametrize(
    ("key", "slots", "attributes"),
    [
        ("ConvInteger", [1], {}),
        ("com.microsoft::FusedConv", [1], {"activation": "Relu"}),
        ("com.microsoft.nchwc::Conv", [1], {}),
        ("QLinearConv", [3], {}),
    ],
)
def test_fused_and_quantised_convolutions(key: str, slots: list[int], attributes: dict[str, str]) -> None:
    net = Net(x=(1, 4, 32, 32))
    operands = ["x", *[net.constant(()) for _ in range(slots[0] - 1)], net.constant((8, 4, 5, 3))]
    f = field(net, net.add(key, operands, (1, 8, 16, 30), strides=(2, 1), pads=(2, 0, 1, 0), **attributes))
    assert (f.size, f.stride, f.padding) == ((5, 3), (2, 1), (2, 0))


@pytest.mark.parametrize(
    ("key", "weight", "attributes"),
    [
        ("com.microsoft::NhwcConv", 1, {}),
        ("com.microsoft::NhwcFusedConv", 1, {}),
        ("com.ms.internal.nhwc::Conv", 1, {}),
        ("com.microsoft::QLinearConv", 3, {"channels_last": 1}),
    ],
)
def test_channels_last_convolutions(key: str, weight: int, attributes: dict[str, int]) -> None:
    net = Net(x=(1, 32, 32, 4))
    operands = ["x", *[net.constant(()) for _ in range(weight - 1)], net.constant((8, 4, 5, 3))]
    f = field(net, net.add(key, operands, (1, 16, 30, 8), strides=(2, 1), pads=(2, 0, 1, 0), **attributes))
    assert (f.size, f.stride, f.padding) == ((5, 3), (2, 1), (2, 0))


def test_channels_last_through_transposition() -> None:
    net = Net(x=(1, 32, 24, 3))
    x = net.transpose("x", 0, 3, 1, 2)
    x = net.add("Conv", [x, net.constant((8, 3, 5, 3))], (1, 8, 28, 22))
    f = field(net, net.transpose(x, 0, 3, 2, 1))  # the result's axes do not matter: those of the input are named
    assert f.size == (5, 3)


@pytest.mark.parametrize("key", ["com.microsoft::QLinearAveragePool", "com.microsoft.nchwc::MaxPool"])
def test_pools_of_other_domains(key: str) -> None:
    net = Net(x=(1, 8, 16, 16))
    assert field(net, net.add(key, ["x"], (1, 8, 8, 8), kernel_shape=(2, 2), strides=(2, 2))).size == (2, 2)


def test_fused_addition_counts_as_a_branch() -> None:
    net = Net(x=(1, 8, 16, 16))
    wide = net.conv("x", 5, pads=(2, 2))
    f = field(net, net.add("com.microsoft::FusedConv", ["x", net.constant((8, 8, 1, 1)), "", wide], (1, 8, 16, 16)))
    assert f.size == (5, 5)


def test_blocked_layout_with_reorders() -> None:
    net = Net(x=(1, 32, 32, 8))
    x = net.add("com.microsoft.nchwc::ReorderInput", ["x"], (1, 8, 32, 32), channels_last=1)
    x = net.add("com.microsoft.nchwc::Conv", [x, net.constant((16, 8, 3, 5))], (1, 16, 30, 28))
    x = net.add("com.microsoft.nchwc::ReorderOutput", [x], (1, 30, 28, 12), channels_last=1, channels=12)
    assert field(net, x).size == (3, 5)


# --- transposed convolution, resizing ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("kernel", "stride", "pads", "out", "size", "start"),
    [
        (2, 2, (0, 0), 32, 1, 0),  # every output reads one input
        (4, 2, (1, 1), 32, 2, -0.5),  # output 0 reads inputs −1 and 0
        (3, 2, (1, 0), 32, 2, 0),  # even outputs read 1, odd ones 2
        (3, 1, (1, 1), 16, 3, 0),
        (3, 3, (0, 0), 48, 1, 0),
        (5, 2, (2, 1), 32, 3, 0),  # even outputs read 3: taps 0, 2, 4
    ],
)
def test_transposed_convolution(
    kernel: int, stride: int, pads: tuple[int, int], out: int, size: int, start: float
) -> None:
    net = Net(x=(1, 4, 16))
    f = field(
        net,
        net.add("ConvTranspose", ["x", net.constant((4, 8, kernel))], (1, 8, out), strides=(stride,), pads=pads),
    )
    assert (f.size, f.stride, f.start) == ((size,), (1 / stride,), (start,))


def test_transposed_convolution_padded_to_a_shape() -> None:
    # total padding (16 − 1)·2 + 4 − 32 = 2, one at each end: as pads (1, 1)
    net = Net(x=(1, 4, 16))
    weight = net.constant((4, 8, 4))
    given = field(net, net.add("ConvTranspose", ["x", weight], (1, 8, 32), strides=(2,), output_shape=(32,)))
    auto = field(net, net.add("ConvTranspose", ["x", weight], (1, 8, 32), strides=(2,), auto_pad="SAME_UPPER"))
    assert given.start == auto.start == (-0.5,)


def test_stride_returns_after_upsampling() -> None:
    net = Net(x=(1, 4, 32, 32))
    x = net.conv("x", 3, 2, pads=(1, 1))  # size 3, stride 2
    x = net.add("ConvTranspose", [x, net.constant((8, 8, 2, 2))], (1, 8, 32, 32), strides=(2, 2))
    x = net.conv(x, 3, pads=(1, 1))  # reads 3 positions, which lie in 2 of stride 2: 3 + 2
    f = field(net, x)
    assert (f.size, f.stride) == ((5, 5), (1, 1))


@pytest.mark.parametrize(
    ("mode", "where", "factor", "attributes", "size", "start"),
    [
        ("nearest", "asymmetric", 2, {"nearest_mode": "floor"}, 1, 0),
        ("nearest", "half_pixel", 2, {}, 1, 0),
        ("linear", "half_pixel", 2, {}, 2, -0.5),  # output 0 lies at −0.25
        ("linear", "asymmetric", 2, {}, 2, 0),  # output 0 lies at 0 and reads that alone
        ("cubic", "half_pixel", 2, {}, 4, -0.5),
        ("linear", "half_pixel", 0.5, {}, 2, 0.5),  # output 0 lies at 0.5
        ("nearest", "half_pixel", 0.5, {}, 1, 0),
        ("linear", "half_pixel", 0.25, {}, 2, 1.5),
        ("linear", "half_pixel", 0.25, {"antialias": 1}, 8, 1.5),  # all nearer than 4 to 1.5: −2 … 5
        ("cubic", "half_pixel", 0.5, {"antialias": 1}, 8, 0.5),  # all nearer than 4 to 0.5: −3 … 4
        ("linear", "pytorch_half_pixel", 2, {}, 2, -0.5),
        ("nearest", "tf_half_pixel_for_nn", 2, {"nearest_mode": "floor"}, 1, 0),
    ],
)
def test_resize(
    mode: str, where: str, factor: float, attributes: dict[str, str | int], size: int, start: float
) -> None:
    net = Net(x=(1, 4, 16, 16))
    scales = net.numbers(1.0, 1.0, float(factor), 1.0)
    f = field(
        net,
        net.conv(
            net.add(
                "Resize",
                ["x", "", scales],
                (1, 4, int(16 * factor), 16),
                mode=mode,
                coordinate_transformation_mode=where,
                **attributes,
            ),
            1,
        ),
    )
    assert (f.size, f.stride, f.start) == ((size, 1), (1 / factor, 1), (start, 0))


def test_resize_with_corners_aligned() -> None:
    # 9 → 17 keeps the ends: output j lies at j · (9 − 1)/(17 − 1) = j/2
    net = Net(x=(1, 4, 9, 9))
    sizes = net.numbers(1, 4, 17, 17)
    f = field(
        net,
        net.add(
            "Resize",
            ["x", "", "", sizes],
            (1, 4, 17, 17),
            mode="linear",
            coordinate_transformation_mode="align_corners",
        ),
    )
    assert (f.size, f.stride, f.start) == ((2, 2), (0.5, 0.5), (0, 0))


def test_upsample_and_its_scales() -> None:
    net = Net(x=(1, 4, 16, 16))
    f = field(net, net.add("Upsample", ["x"], (1, 4, 48, 16), scales=(1.0, 1.0, 3.0, 1.0)))
    assert (f.size, f.stride) == ((1,), (1 / 3,))  # along the one axis that it moves


def test_scale_of_a_third_is_read_through_its_float() -> None:
    net = Net(x=(1, 4, 15))
    f = field(net, net.add("Resize", ["x", "", net.numbers(1.0, 1.0, 0.3333333432674408)], (1, 4, 5), mode="linear"))
    assert (f.size, f.stride, f.start) == ((1,), (3,), (1,))  # output j lies at 3j + 1: one whole position


def test_pattern_too_long_to_repeat_is_right_to_a_pixel() -> None:
    net = Net(x=(1, 4, 300))
    f = field(net, net.add("Resize", ["x", "", "", net.numbers(1, 4, 299)], (1, 4, 299), mode="linear"))
    assert f.stride == (300 / 299,)
    assert 2 <= f.size[0] <= 3


# --- movement ------------------------------------------------------------------------------------------


def test_pad_shifts_and_does_not_widen() -> None:
    net = Net(x=(1, 4, 16, 16))
    x = net.add("Pad", ["x", net.numbers(0, 0, 3, 1, 0, 0, 0, 1)], (1, 4, 19, 18))
    assert field(net, net.conv(x, 3)).padding == (3, 1)
    net = Net(x=(1, 4, 16, 16))
    x = net.add("Pad", ["x"], (1, 4, 19, 18), pads=(0, 0, 3, 1, 0, 0, 0, 1))
    assert field(net, net.conv(x, 3)).padding == (3, 1)
    net = Net(x=(1, 4, 16, 16))
    x = net.add("Pad", ["x", net.numbers(3, 0), "", net.numbers(2)], (1, 4, 19, 16))
    assert field(net, net.conv(x, 3)).padding == (3, 0)


def test_slice_starts_and_strides() -> None:
    net = Net(x=(1, 4, 32, 32))
    x = net.conv("x", 3)
    operands = [x, *(net.numbers(v) for v in (5, 29, 2, 2))]
    f = field(net, net.add("Slice", operands, (1, 8, 12, 30)))
    assert (f.size, f.stride, f.padding) == ((3, 3), (2, 1), (-5, 0))
    assert f.start == (5 + 1, 1)


def test_space_to_depth_sees_its_block() -> None:
    net = Net(x=(1, 3, 32, 32))
    x = net.add("SpaceToDepth", ["x"], (1, 12, 16, 16), blocksize=2)
    assert (field(net, x).size, field(net, x).stride) == ((2, 2), (2, 2))
    f = field(net, net.conv(x, 3))
    assert (f.size, f.stride) == ((3 * 2,) * 2, (2, 2))


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space_makes_positions_that_see_the_same(mode: str) -> None:
    net = Net(x=(1, 8, 16, 16))
    x = net.add("DepthToSpace", [net.conv("x", 3)], (1, 2, 28, 28), blocksize=2, mode=mode)
    assert (field(net, x).size, field(net, x).stride) == ((3, 3), (0.5, 0.5))
    f = field(net, net.conv(x, 3))
    assert (f.size, f.stride) == ((3 + 1,) * 2, (0.5, 0.5))  # 3 positions lie in 2 of before


def test_pixel_shuffle_by_reshape() -> None:
    net = Net(x=(1, 8, 16, 16))
    x = net.conv("x", 3)
    x = net.reshape(x, 1, 2, 2, 2, 14, 14)
    x = net.reshape(net.transpose(x, 0, 1, 4, 2, 5, 3), 1, 2, 28, 28)
    f = field(net, net.conv(x, 3))
    assert (f.size, f.stride) == ((3 + 1,) * 2, (0.5, 0.5))


def test_pixel_unshuffle_by_reshape_is_widened_by_the_convolution() -> None:
    net = Net(x=(1, 3, 32, 32))
    x = net.conv("x", 3, channels=8, pads=(1, 1))
    x = net.reshape(x, 1, 8, 16, 2, 16, 2)
    x = net.reshape(net.transpose(x, 0, 3, 5, 1, 2, 4), 1, 32, 16, 16)
    f = field(net, net.conv(x, 3))
    assert (f.size, f.stride) == ((3 * 2 + 2,) * 2, (2, 2))


def test_focus_by_strided_slices() -> None:
    net = Net(x=(1, 3, 32, 32))
    parts = [
        net.add(
            "Slice", ["x", net.numbers(r, c), net.numbers(32, 32), net.numbers(2, 3), net.numbers(2, 2)], (1, 3, 16, 16)
        )
        for r in (0, 1)
        for c in (0, 1)
    ]
    f = field(net, net.conv(net.concat(*parts), 3))
    assert (f.size, f.stride) == ((3 * 2,) * 2, (2, 2))


def test_one_dimensional_convolution_on_an_axis_put_in() -> None:
    net = Net(x=(2, 4, 100))
    x = net.add("Unsqueeze", ["x", net.numbers(2)], (2, 4, 1, 100))
    x = net.add("Conv", [x, net.constant((8, 4, 1, 9))], (2, 8, 1, 92), strides=(1, 1))
    x = net.add("Squeeze", [x, net.numbers(2)], (2, 8, 92))
    assert field(net, net.conv(x, 3)).size == (9 + 2,)


def test_split_and_channel_shuffle() -> None:
    net = Net(x=(1, 4, 16, 16))
    x = net.conv("x", 3, pads=(1, 1))
    left = net.add("Split", [x], (1, 4, 16, 16), more=[(1, 4, 16, 16)], axis=1)
    right = net.conv(f"{left}.1", 3, channels=4, pads=(1, 1))
    x = net.reshape(net.concat(left, right), 1, 2, 4, 16, 16)
    f = field(net, net.reshape(net.transpose(x, 0, 2, 1, 3, 4), 1, 8, 16, 16))
    assert f.size == (5, 5)


def test_embedded_tokens_under_a_convolution() -> None:
    net = Net(tokens=(1, 50))
    x = net.add("Gather", [net.constant((1000, 16)), "tokens"], (1, 50, 16))
    f = field(net, net.conv(net.transpose(x, 0, 2, 1), 5))
    assert (f.size, f.input) == ((5,), "tokens")


def test_short_time_fourier_transform() -> None:
    net = Net(audio=(1, 16000, 1))
    operands = ["audio", net.constant((), (160,)), net.constant((400,)), net.constant((), (400,))]
    x = net.add("STFT", operands, (1, 98, 201, 2))
    assert (field(net, x).size, field(net, x).stride) == ((400,), (160,))
    x = net.transpose(x, 0, 2, 1, 3)
    x = net.add("Slice", [x, *(net.numbers(v) for v in (0, 1, 3))], (1, 201, 98, 1))
    assert field(net, net.conv(net.reshape(x, 1, 201, 98), 3)).size == (400 + 2 * 160,)


# --- branches --------------------------------------------------------------------------------------


def test_the_largest_path_counts() -> None:
    net = Net(x=(1, 8, 32, 32))
    small, large = net.conv("x", 3, pads=(1, 1)), net.conv("x", 7, pads=(3, 3))
    for joined in (net.same("Add", small, large), net.same("Mul", large, small), net.concat(small, large)):
        assert (field(net, joined).size, field(net, joined).padding) == ((7, 7), (3, 3))


def test_paths_out_of_line_count_as_their_hull() -> None:
    net = Net(x=(1, 8, 32))
    left, right = net.conv("x", 5, pads=(4, 0)), net.conv("x", 3, pads=(0, 2))
    f = field(net, net.same("Add", left, right))  # −4 … 0 and 0 … 2
    assert (f.size, f.padding, f.start) == ((7,), (4,), (-1,))


def test_a_graph_with_2_to_the_60_paths() -> None:
    net = Net(x=(1, 8, 32))
    x = "x"
    for _ in range(60):
        x = net.same("Add", net.conv(x, 3, pads=(1, 1)), net.conv(x, 5, pads=(2, 2)))
    assert field(net, x).size == (1 + 60 * 4,)
    assert calls_of(lambda: field(net, x)) < 100_000  # one path after the other would not end


def test_two_inputs_the_larger_is_reported() -> None:
    net = Net(a=(1, 8, 32), b=(1, 8, 32))
    x = net.same("Add", net.conv("a", 3, pads=(1, 1)), net.conv("b", 9, pads=(4, 4)))
    assert (field(net, x).size, field(net, x).input) == ((9,), "b")


def test_both_branches_of_if() -> None:
    net = Net(c=(), x=(1, 8, 32))
    bodies = {}
    for branch, kernel in (("then_branch", 3), ("else_branch", 7)):
        inner = Net()
        inner.tensors["x"] = net.tensors["x"]
        out = inner.conv("x", kernel, pads=(kernel // 2,) * 2, name=branch)
        bodies[branch] = Graph(branch, tuple(inner.nodes), inner.tensors, (), (out,), frozenset({"x"}))
    net.tensors["y"] = Tensor("y", (1, 8, 32), DType.FLOAT32)
    net.nodes.append(Node("if", "If", "", ("c",), ("y",), {}, bodies))
    assert field(net, "y").size == (7,)


# --- global operators --------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["GlobalAveragePool", "GlobalMaxPool", "com.microsoft::QLinearGlobalAveragePool"])
def test_global_pooling_is_unbounded_and_names_itself(key: str) -> None:
    net = Net(x=(1, 3, 32, 32))
    pooled = net.add(key, [net.conv("x", 5, 2)], (1, 8, 1, 1), name="pool")
    flat = net.add("Flatten", [pooled], (1, 8))
    f = field(net, net.add("Gemm", [flat, net.constant((8, 10))], (1, 10)))
    assert (f.size, f.unbounded_by) == ((INF, INF), "pool")
    assert (f.bounded_size, f.stride) == ((5, 5), (2, 2))


def test_mean_over_one_axis_bounds_the_other() -> None:
    net = Net(x=(1, 3, 32, 32))
    x = net.add("ReduceMean", [net.conv("x", 3)], (1, 8, 1, 30), axes=(2,), keepdims=1)
    f = field(net, x)
    assert (f.size, f.bounded_size) == ((INF, 3), (3, 3))


def test_squeeze_and_excitation_keeps_the_bounded_path() -> None:
    net = Net(x=(1, 8, 32, 32))
    x = net.conv("x", 3, pads=(1, 1))
    gate = net.same("Sigmoid", net.conv(net.add("GlobalAveragePool", [x], (1, 8, 1, 1), name="squeeze"), 1))
    x = net.conv(net.add("Mul", [x, gate], (1, 8, 32, 32)), 3, 2)
    f = field(net, x)
    assert (f.size, f.unbounded_by) == ((INF, INF), "squeeze")
    assert (f.bounded_size, f.stride, f.padding) == ((5, 5), (2, 2), (1, 1))


def test_a_gate_of_two_means_is_still_no_bounded_path() -> None:
    net = Net(x=(1, 8, 32, 32))
    pools = ("GlobalAveragePool", "GlobalMaxPool")
    first, second = (net.add(op, [net.conv("x", 9)], (1, 8, 1, 1)) for op in pools)
    gate = net.same("Add", first, second)
    f = field(net, net.add("Mul", [net.conv("x", 3, pads=(1, 1)), gate], (1, 8, 32, 32)))
    assert (f.size, f.bounded_size) == ((INF, INF), (3, 3))


def test_a_product_over_positions_is_unbounded_and_one_over_channels_is_not() -> None:
    net = Net(x=(1, 3, 32, 32))
    x = net.conv("x", 3, channels=8)
    flat = net.reshape(x, 1, 8 * 30 * 30)
    f = field(net, net.add("MatMul", [flat, net.constant((7200, 10))], (1, 10), name="fc"))
    assert (f.size, f.unbounded_by, f.bounded_size) == ((INF, INF), "fc", (3, 3))
    last = net.transpose(x, 0, 2, 3, 1)
    assert field(net, net.add("MatMul", [last, net.constant((8, 16))], (1, 30, 30, 16))).size == (3, 3)


def test_a_classifier_on_one_position_is_a_convolution() -> None:
    net = Net(x=(1, 3, 32, 32))
    x = net.add("Flatten", [net.conv("x", 32)], (1, 8))
    assert field(net, net.add("Gemm", [x, net.constant((8, 10))], (1, 10))).size == (32, 32)


def test_softmax_along_positions_and_along_channels() -> None:
    net = Net(x=(1, 8, 32, 32))
    x = net.conv("x", 3)
    assert field(net, net.same("Softmax", x, axis=1)).size == (3, 3)
    assert field(net, net.same("Softmax", x, axis=-1)).size == (3, INF)


def test_recurrence_over_time_and_einsum() -> None:
    net = Net(x=(1, 8, 32))
    x = net.transpose(net.conv("x", 3), 2, 0, 1)
    y = net.add(
        "GRU", [x, net.constant((1, 12, 8)), net.constant((1, 12, 4))], (30, 1, 1, 4), name="gru", hidden_size=4
    )
    assert (field(net, y).size, field(net, y).unbounded_by) == ((INF,), "gru")
    e = net.add("Einsum", [x, net.constant((8, 16))], (30, 1, 16), equation="tbc,cd->tbd")
    assert field(net, e).size == (3,)
    e = net.add("Einsum", [x, net.constant((30, 16))], (1, 8, 16), equation="tbc,td->bcd")
    assert field(net, e).size == (INF,)


def test_sampling_where_data_says_is_unbounded() -> None:
    net = Net(x=(1, 8, 32, 32))
    x = net.conv("x", 3)
    y = net.add("GridSample", [x, net.constant((1, 10, 10, 2))], (1, 8, 10, 10), name="grid")
    assert (field(net, y).size, field(net, y).unbounded_by) == ((INF, INF), "grid")


@pytest.mark.parametrize("op", ["InstanceNormalization", "GroupNormalization", "LayerNormalization"])
def test_statistics_of_normalisation_do_not_count(op: str) -> None:
    net = Net(x=(1, 8, 32, 32))
    x = net.conv("x", 3)
    assert field(net, net.same(op, x, net.constant((8,)), net.constant((8,)))).size == (3, 3)


def test_scale_of_dynamic_quantisation_does_not_count() -> None:
    net = Net(x=(1, 8, 32, 32))
    x = net.conv("x", 3)
    q = net.add("DynamicQuantizeLinear", [x], net.shape(x), more=[(), ()])
    assert field(net, net.add("Mul", [q, f"{q}.1"], net.shape(x))).size == (3, 3)


# --- attention -----------------------------------------------------------------------------------------


def _attention(net: Net, tokens: str) -> str:
    """softmax(x · xᵀ) · x over the last axis but one."""
    *batch, length, width = net.shape(tokens)
    order = (*range(len(batch)), len(batch) + 1, len(batch))
    scores = net.add("MatMul", [tokens, net.transpose(tokens, *order)], (*batch, length, length))
    return net.add("MatMul", [net.same("Softmax", scores, axis=-1), tokens], (*batch, length, width))


def _patches(net: Net) -> str:
    """16 × 16 patches of a 64 × 48 picture as 4 · 3 tokens."""
    x = net.conv("image", 16, 16)
    return net.transpose(net.reshape(x, 1, 8, 12), 0, 2, 1)


def test_tokens_of_a_vision_transformer_keep_their_field() -> None:
    net = Net(image=(1, 3, 64, 48))
    f = field(net, _patches(net))
    assert (f.size, f.stride, f.start) == ((16, 16), (16, 16), (7.5, 7.5))


def test_attention_over_all_tokens_is_unbounded() -> None:
    net = Net(image=(1, 3, 64, 48))
    tokens = _patches(net)
    scores = _attention(net, tokens)
    f = field(net, net.same("Add", tokens, scores))
    assert f.size == (INF, INF)
    assert (f.bounded_size, f.stride) == ((16, 16), (16, 16))


def test_a_class_token_in_front_moves_the_others_on() -> None:
    net = Net(image=(1, 3, 64, 48))
    tokens = net.concat(net.constant((1, 1, 8)), _patches(net), axis=1)
    back = net.add("Slice", [tokens, *(net.numbers(v) for v in (1, 13, 1))], (1, 12, 8))
    x = net.reshape(net.transpose(back, 0, 2, 1), 1, 8, 4, 3)
    f = field(net, net.conv(x, 3))
    assert (f.size, f.stride, f.start) == ((48, 48), (16, 16), (23.5, 23.5))


def test_attention_in_windows_sees_its_window_and_the_neighbours_when_shifted() -> None:
    net = Net(x=(1, 32, 8))  # a line of 32 in windows of 4
    x = net.transpose(net.conv(net.transpose("x", 0, 2, 1), 1), 0, 2, 1)
    y = net.same("Add", x, net.reshape(_attention(net, net.reshape(x, 8, 4, 8)), 1, 32, 8))
    f = field(net, y)
    assert (f.size, f.stride) == ((4,), (1,))
    rolled = net.concat(_part(net, y, 2, 32), _part(net, y, 0, 2), axis=1)
    z = net.reshape(_attention(net, net.reshape(rolled, 8, 4, 8)), 1, 32, 8)
    z = net.same("Add", y, net.concat(_part(net, z, 30, 32), _part(net, z, 0, 30), axis=1))
    assert field(net, z).size == (8,)  # a window across the border of two, each seen whole


def _part(net: Net, x: str, start: int, end: int) -> str:
    return net.add("Slice", [x, *(net.numbers(v) for v in (start, end, 1))], (1, end - start, 8))


def test_attention_operators() -> None:
    net = Net(image=(1, 3, 64, 48))
    tokens = _patches(net)
    for key in ("Attention", "com.microsoft::MultiHeadAttention", "com.microsoft::GroupQueryAttention"):
        f = field(net, net.add(key, [tokens, tokens, tokens], (1, 12, 8), name=key))
        assert (f.size, f.unbounded_by) == ((INF, INF), key)


# --- what has no field, and odd graphs -------------------------------------------------------------------


def test_a_network_without_windows_has_no_field() -> None:
    net = Net(x=(1, 16))
    assert not receptive_fields(net.graph(net.add("Gemm", ["x", net.constant((16, 8))], (1, 8))))


def test_constants_and_shapes_have_no_field() -> None:
    net = Net(x=(1, 3, 16, 16))
    x = net.conv("x", 3)
    size = net.add("Shape", [x], (4,))
    fields = receptive_fields(net.graph(x))
    assert set(fields) == {"x", x}
    assert size not in fields
    assert fields["x"].size == fields["x"].stride == (1, 1)


def test_output_fields_are_those_of_the_outputs() -> None:
    net = Net(x=(1, 3, 16, 16))
    a = net.conv("x", 3)
    b = net.conv(a, 3)
    assert {n: f.size for n, f in output_fields(net.graph(a, b)).items()} == {a: (3, 3), b: (5, 5)}


def test_unknown_shapes_end_the_field_and_not_the_analysis() -> None:
    net = Net(x=(1, 3, 16, 16), y=None)
    known = net.conv("x", 3)
    lost = net.add("Mystery", [known], None)
    after = net.add("Relu", [lost], (1, 8, 14, 14))
    fields = receptive_fields(net.graph(known, after))
    assert known in fields
    assert lost not in fields
    assert after not in fields


def test_an_unknown_operator_may_read_anything() -> None:
    net = Net(x=(1, 3, 16, 16))
    x = net.add("my.domain::Fold", [net.conv("x", 3)], (1, 8, 14, 14), name="fold")
    assert (field(net, x).size, field(net, x).unbounded_by) == ((INF, INF), "fold")


ODD = [
    ("Conv", ["x"], (1, 8, 14, 14), {}),
    ("Conv", ["x", "w"], (1, 8, 14, 14), {"kernel_shape": (3,)}),
    ("Conv", ["x", "w"], (1, 8, 14, 14), {"strides": (0, 0)}),
    ("Conv", ["x", "w"], (1, 8, 14, 14), {"strides": (2**70, 1)}),
    ("Conv", ["x", "w"], (1, 8, 14, 14), {"pads": (1, 1)}),
    ("Conv", ["x", "w"], (1, 8, 14, 14), {"pads": "1"}),
    ("Conv", ["x", "w"], (1, 8, 14), {}),
    ("Conv", ["x", "w"], None, {}),
    ("ConvTranspose", ["x", "w"], (1, 8, 14, 14), {"strides": (-1, 1)}),
    ("ConvTranspose", ["x", "w"], (1, 8, 14, 14), {"strides": (2**40, 2**40)}),
    ("MaxPool", ["x"], (1, 3, 14, 14), {}),
    ("MaxPool", ["x"], (1, 3, 14, 14), {"kernel_shape": (3, "a")}),
    ("GlobalAveragePool", ["x"], (1, 3), {}),
    ("Transpose", ["x"], (1, 3, 16, 16), {"perm": (0, 0, 1, 2)}),
    ("Transpose", ["x"], (1, 3, 16, 16), {"perm": (0, 9, 1, 2)}),
    ("Reshape", ["x"], (7, 11), {}),
    ("Reshape", ["x"], (), {}),
    ("Reshape", ["x"], (0, 16), {}),
    ("Concat", ["x", "x"], (1, 6, 16, 16), {"axis": 9}),
    ("Concat", ["x", "w"], (), {}),
    ("Slice", ["x"], (1, 3, 4, 4), {"starts": (1,), "ends": (2,)}),
    ("Slice", ["x", "i", "i", "i", "i"], (1, 3, 16, 4), {}),
    ("Split", ["x"], (1, 3, 16, 16), {"axis": 7}),
    ("Gather", ["x", "i"], (1, 1, 16, 16), {"axis": 1}),
    ("Gather", ["x", "x"], (1, 1, 16, 16), {"axis": 1}),
    ("Gather", ["x"], (1, 1, 16, 16), {}),
    ("Resize", ["x"], (1, 3, 0, 16), {}),
    ("Resize", ["x", "", "s"], (1, 3, 32, 32), {}),
    ("Resize", ["x"], (1, 3, 32, 32), {"mode": "unheard", "nearest_mode": "of"}),
    ("Resize", ["x"], (1, 3, 32, 32), {"coordinate_transformation_mode": "tf_crop_and_resize"}),
    ("SpaceToDepth", ["x"], (1, 3, 16, 16), {"blocksize": 0}),
    ("DepthToSpace", ["x"], (1, 3, 16, 16), {"blocksize": 3}),
    ("MatMul", ["x", "x"], (1, 3, 16), {}),
    ("MatMul", ["x"], (1, 3, 16, 16), {}),
    ("Gemm", ["x", "w"], (3,), {"transA": 1}),
    ("Einsum", ["x"], (1, 3), {"equation": "ab->ab"}),
    ("Einsum", ["x"], (1, 3), {"equation": "aaaa->aa"}),
    ("ReduceMean", ["x"], (1,), {"axes": (9,)}),
    ("ReduceMean", ["x"], (1, 3, 1, 1), {"axes": ("a",)}),
    ("Softmax", ["x"], (1, 3, 16, 16), {"axis": "last"}),
    ("TopK", ["x"], (1, 3), {}),
    ("LSTM", ["x"], (1, 3), {}),
    ("Attention", ["x"], (3,), {}),
    ("Tile", ["x"], (1, 3, 16, 24), {}),
    ("Tile", ["x"], (3, 16), {}),
    ("Expand", ["x"], (5, 5), {}),
    ("Pad", ["x"], (1, 3), {"pads": (1,)}),
    ("CenterCropPad", ["x"], (1, 3, 20, 7), {}),
    ("STFT", ["x"], (1, 3, 20, 2), {}),
    ("Loop", ["x"], (1, 3, 16, 16), {}),
    ("If", ["x"], (1, 3, 16, 16), {}),
    ("Relu", ["x", "x"], (4, 5), {}),
    ("Relu", ["", "x"], (1, 3, 16, 16), {}),
    ("Relu", [], (1,), {}),
]


@pytest.mark.parametrize("case", ODD, ids=lambda case: f"{case[0]}-{case[3]}")
def test_odd_nodes_never_raise(case: tuple[str, list[str], tuple[int, ...] | None, dict[str, object]]) -> None:
    op, inputs, shape, attributes = case
    net = Net(x=(1, 3, 16, 16))
    net.tensors["w"] = Tensor("w", (8, 3, 3, 3), DType.FLOAT32, Kind.WEIGHT)
    net.tensors["i"] = Tensor("i", (2,), DType.INT64, Kind.CONSTANT, (0, 99))
    net.tensors["s"] = Tensor("s", (4,), DType.FLOAT32, Kind.CONSTANT, (1.0, 1.0, math.inf, -2.0))
    odd = net.add(op, inputs, shape, more=[shape], **attributes)  # type: ignore[arg-type]
    for name in (odd, f"{odd}.1"):
        if shape is not None and len(shape) == 4:
            net.conv(net.same("Add", name, "x"), 3)
    receptive_fields(net.graph(odd))


def test_a_chain_that_multiplies_beyond_counting_has_no_field_at_its_end() -> None:
    net = Net(x=(1, 8, 1))
    for layer in range(5000):
        net.add("Conv", [net.nodes[-1].outputs[0] if layer else "x", net.constant((8, 8, 3))], (1, 8, 1), strides=(2,))
    fields = receptive_fields(net.graph(net.nodes[-1].name))
    assert net.nodes[10].name in fields
    assert net.nodes[-1].name not in fields


# --- scale ------------------------------------------------------------------------------------------------


def test_work_is_linear_in_nodes() -> None:
    def calls(blocks: int) -> int:
        net = Net(x=(1, 8, 64, 64))
        x = net.conv("x", 3, pads=(1, 1))
        for _ in range(blocks):
            y = net.same("Relu", net.conv(x, 3, pads=(1, 1)))
            x = net.same("Relu", net.same("Add", x, net.conv(y, 3, pads=(1, 1))))
        graph = net.graph(x)
        assert receptive_fields(graph)[x].size == (1 + 2 * (1 + 2 * blocks),) * 2
        return calls_of(lambda: receptive_fields(graph))

    assert calls(2000) <= 5.1 * calls(400)


# --- real models ---------------------------------------------------------------------------------------------

needs_models = pytest.mark.skipif(not (SHARED / "models").is_dir(), reason="no ../shared")

# torchvision's ResNet-50 strides in its 3 × 3 convolutions, which gives 427 where TF-Slim's has 483
REAL = {
    "resnet18.ts13": (435, 32),
    "resnet18.dynamo": (435, 32),
    "resnet18.ts7": (435, 32),
    "resnet50.ts17": (427, 32),
    "resnet50.ort_all": (427, 32),
    "resnet50.qdq_u8s8_pc": (427, 32),
    "resnet50.qop_u8s8_pc": (427, 32),
    "mobilenet_v2.ts13": (491, 32),
    "mobilenet_v2.ort_all": (491, 32),
    "mobilenet_v2.qop_u8u8": (491, 32),
    "mobilenetv1_100.dynamo": (315, 32),
    "alexnet.dynamo": (195, 32),
    "vit_tiny_patch16_224.ts17": (16, 16),
    "kws_dscnn.nhwc_ts13": None,
}


@needs_models
@pytest.mark.parametrize("name", [n for n, v in REAL.items() if v])
def test_real_models(name: str) -> None:
    from efficiency_cli.graph.read import read_model

    expected = REAL[name]
    assert expected is not None
    (f,) = output_fields(read_model(str(SHARED / "models" / f"{name}.onnx")).graph).values()
    assert f.size == (INF, INF)
    assert (f.bounded_size, f.stride) == ((expected[0],) * 2, (expected[1],) * 2)


@needs_models
def test_every_export_of_a_network_has_the_same_field() -> None:
    from efficiency_cli.graph.read import read_model

    for family in ("kws_dscnn", "ic_resnet8", "vww_mobilenetv1_025", "unet_small", "swin_t", "tcn", "densenet121"):
        found = {}
        for path in sorted((SHARED / "models").glob(f"{family}.*.onnx")):
            if "dynhw" in path.name:
                continue
            (f,) = output_fields(read_model(str(path)).graph).values()
            found[path.name] = (f.size, f.bounded_size, f.stride)
        assert len(set(found.values())) == 1, found
