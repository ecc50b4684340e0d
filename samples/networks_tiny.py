"""The four networks of MLPerf Tiny, written once and exported in float and in int8.

Source: github.com/mlcommons/tiny, benchmark/training/*/ (the Keras definitions), inputs here channels first.
"""

from __future__ import annotations

from layers import Layers

# output channels and stride of the depthwise convolution in MobileNetV1's thirteen blocks, at width 0.25
MOBILENET_V1_CHANNELS = (16, 32, 32, 64, 64, 128, 128, 128, 128, 128, 128, 256, 256)
MOBILENET_V1_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)


def vww_mobilenetv1(net: Layers) -> None:
    """Visual wake words: MobileNetV1 α = 0.25 on 96×96×3, person or not."""
    x = net.input((3, 96, 96))
    x = net.conv(x, "stem.conv", 8, (3, 3), stride=2, norm="stem.bn", activation="Relu")
    for index, (channels, stride) in enumerate(zip(MOBILENET_V1_CHANNELS, MOBILENET_V1_STRIDES, strict=True)):
        block = f"blocks.{index}"
        x = net.conv(
            x,
            f"{block}.depthwise",
            x.shape[0],
            (3, 3),
            stride=stride,
            groups=x.shape[0],
            norm=f"{block}.depthwise_bn",
            activation="Relu",
        )
        x = net.conv(x, f"{block}.pointwise", channels, (1, 1), norm=f"{block}.pointwise_bn", activation="Relu")
    x = net.flatten(net.average_pool(x))
    net.output(net.softmax(net.dense(x, "fc", 2)))


def kws_dscnn(net: Layers) -> None:
    """Keyword spotting: DS-CNN on 49 frames of 10 MFCCs, 12 classes."""
    x = net.input((1, 49, 10))
    x = net.conv(x, "stem.conv", 64, (10, 4), stride=2, norm="stem.bn", activation="Relu")
    for index in range(4):
        block = f"blocks.{index}"
        x = net.conv(
            x,
            f"{block}.depthwise",
            64,
            (3, 3),
            groups=64,
            norm=f"{block}.depthwise_bn",
            activation="Relu",
        )
        x = net.conv(x, f"{block}.pointwise", 64, (1, 1), norm=f"{block}.pointwise_bn", activation="Relu")
    x = net.flatten(net.average_pool(x))
    net.output(net.softmax(net.dense(x, "fc", 12)))


def ic_resnet8(net: Layers) -> None:
    """Image classification: a ResNet of three stacks on 32×32×3, its shortcuts not normalised."""
    x = net.input((3, 32, 32))
    x = net.conv(x, "stem.conv", 16, (3, 3), norm="stem.bn", activation="Relu")
    for index, (channels, stride) in enumerate(((16, 1), (32, 2), (64, 2))):
        stack = f"stacks.{index}"
        y = net.conv(x, f"{stack}.conv1", channels, (3, 3), stride=stride, norm=f"{stack}.bn1", activation="Relu")
        y = net.conv(y, f"{stack}.conv2", channels, (3, 3), norm=f"{stack}.bn2")
        if stride != 1:
            x = net.conv(x, f"{stack}.shortcut", channels, (1, 1), stride=stride)
        x = net.add(x, y, f"/stacks/{stack}", activation="Relu")
    x = net.flatten(net.average_pool(x))
    net.output(net.softmax(net.dense(x, "fc", 10)))


def ad_autoencoder(net: Layers) -> None:
    """Anomaly detection: a dense auto-encoder on 5 frames of 128 mel bins; its error is the score."""
    x = net.input((640,))
    for index, units in enumerate((128, 128, 128, 128, 8, 128, 128, 128, 128)):
        x = net.dense(x, f"layers.{index}.dense", units, norm=f"layers.{index}.bn", activation="Relu")
    net.output(net.dense(x, "reconstruction", 640))
