"""Rebuilds the two models of this project: `python samples/ci-project/build.py`. Needs onnx alone.

`models/keyword.onnx` is the MLPerf Tiny keyword spotting network in int8, as `samples/kws_dscnn_int8.onnx`;
`pull-request/keyword.onnx` is what someone proposes: the last block wider, 96 channels in place of 64.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from graph_builder import Builder  # noqa: E402
from layers import Int8Layers  # noqa: E402

# output channels of the four blocks
MODELS = {"models": (64, 64, 64, 64), "pull-request": (64, 64, 96, 96)}


def keyword(net: Int8Layers, widths: tuple[int, ...]) -> None:
    """DS-CNN on 49 frames of 10 MFCCs, 12 classes."""
    x = net.input((1, 49, 10))
    x = net.conv(x, "stem.conv", 64, (10, 4), stride=2, norm="stem.bn", activation="Relu")
    for index, width in enumerate(widths):
        block, before = f"blocks.{index}", x.shape[0]
        depthwise, pointwise = f"{block}.depthwise", f"{block}.pointwise"
        x = net.conv(x, depthwise, before, (3, 3), groups=before, norm=f"{depthwise}_bn", activation="Relu")
        x = net.conv(x, pointwise, width, (1, 1), norm=f"{pointwise}_bn", activation="Relu")
    x = net.flatten(net.average_pool(x))
    net.output(net.softmax(net.dense(x, "fc", 12)))


def main() -> None:
    for folder, widths in MODELS.items():
        builder = Builder("keyword", 17)
        keyword(Int8Layers(builder), widths)
        (HERE / folder).mkdir(exist_ok=True)
        path = builder.write(HERE / folder)
        print(f"{path}  {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
