"""MobileNetV2 and ResNet-50 with the module layout of torchvision, at 224×224, 1000 classes.

Sources: torchvision/models/mobilenetv2.py and resnet.py ("v1.5": the stride of a bottleneck sits on its 3×3).
"""

from __future__ import annotations

from layers import Feature, FloatLayers

# expansion t, output channels c, repeats n, first stride s: table 2 of arXiv:1801.04381
INVERTED_RESIDUALS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
# width of the bottleneck, blocks, first stride: the 50-layer column of table 1 of arXiv:1512.03385
BOTTLENECK_STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))


def mobilenet_v2(net: FloatLayers) -> None:
    """MobileNetV2 at width 1.0."""
    x = net.input((3, 224, 224))
    x = net.conv(x, "features.0.0", 32, (3, 3), stride=2, norm="features.0.1", activation="Relu6")
    index = 1
    for expansion, channels, repeats, first_stride in INVERTED_RESIDUALS:
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            x = _inverted_residual(net, x, f"features.{index}", expansion, channels, stride)
            index += 1
    x = net.conv(x, f"features.{index}.0", 1280, (1, 1), norm=f"features.{index}.1", activation="Relu6")
    x = net.flatten(net.global_average_pool(x))
    net.output(net.dense(x, "classifier.1", 1000))


def _inverted_residual(net: FloatLayers, x: Feature, name: str, expansion: int, channels: int, stride: int) -> Feature:
    """1×1 expand, 3×3 depthwise, 1×1 project without activation; a shortcut when nothing changes shape."""
    y, step = x, 0
    if expansion != 1:
        y = net.conv(
            y,
            f"{name}.conv.{step}.0",
            x.shape[0] * expansion,
            (1, 1),
            norm=f"{name}.conv.{step}.1",
            activation="Relu6",
        )
        step += 1
    y = net.conv(
        y,
        f"{name}.conv.{step}.0",
        y.shape[0],
        (3, 3),
        stride=stride,
        groups=y.shape[0],
        norm=f"{name}.conv.{step}.1",
        activation="Relu6",
    )
    y = net.conv(y, f"{name}.conv.{step + 1}", channels, (1, 1), norm=f"{name}.conv.{step + 2}")
    return net.add(x, y, f"/features/{name}") if stride == 1 and x.shape == y.shape else y


def resnet50(net: FloatLayers) -> None:
    """ResNet-50."""
    x = net.input((3, 224, 224))
    x = net.conv(x, "conv1", 64, (7, 7), stride=2, norm="bn1", activation="Relu")
    x = net.max_pool(x, "/maxpool", kernel=3, stride=2)
    for stage, (width, blocks, first_stride) in enumerate(BOTTLENECK_STAGES, start=1):
        for block in range(blocks):
            stride = first_stride if block == 0 else 1
            x = _bottleneck(net, x, f"layer{stage}.{block}", width, stride)
    x = net.flatten(net.global_average_pool(x, "/avgpool"))
    net.output(net.dense(x, "fc", 1000))


def _bottleneck(net: FloatLayers, x: Feature, name: str, width: int, stride: int) -> Feature:
    """1×1 reduce, 3×3, 1×1 to four times the width; a projected shortcut where the shape changes."""
    y = net.conv(x, f"{name}.conv1", width, (1, 1), norm=f"{name}.bn1", activation="Relu")
    y = net.conv(y, f"{name}.conv2", width, (3, 3), stride=stride, norm=f"{name}.bn2", activation="Relu")
    y = net.conv(y, f"{name}.conv3", 4 * width, (1, 1), norm=f"{name}.bn3")
    if x.shape != y.shape:
        x = net.conv(x, f"{name}.downsample.0", 4 * width, (1, 1), stride=stride, norm=f"{name}.downsample.1")
    return net.add(y, x, f"/{name.split('.')[0]}/{name}", activation="Relu")
