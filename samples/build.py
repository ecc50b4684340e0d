"""Rebuilds the sample models in this folder: `python samples/build.py [NAME ...] [--out DIR] [--weights]`.

Needs onnx alone and writes the same bytes every time. `--weights` also writes `<name>.bin` with random,
untrained values, so that a runtime can execute the models; effcli itself never needs them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from graph_builder import Builder
from layers import FloatLayers, Int8Layers, half_padding
from networks_text import bert_small, decoder_kv
from networks_tiny import ad_autoencoder, ic_resnet8, kws_dscnn, vww_mobilenetv1
from networks_vision import mobilenet_v2, resnet50

SAMPLES: dict[str, Callable[[Builder], None]] = {
    "vww_mobilenetv1_float": lambda b: vww_mobilenetv1(FloatLayers(b)),
    "vww_mobilenetv1_int8": lambda b: vww_mobilenetv1(Int8Layers(b)),
    "kws_dscnn_float": lambda b: kws_dscnn(FloatLayers(b)),
    "kws_dscnn_int8": lambda b: kws_dscnn(Int8Layers(b)),
    "ic_resnet8_float": lambda b: ic_resnet8(FloatLayers(b)),
    "ic_resnet8_int8": lambda b: ic_resnet8(Int8Layers(b)),
    "ad_autoencoder_float": lambda b: ad_autoencoder(FloatLayers(b)),
    "ad_autoencoder_int8": lambda b: ad_autoencoder(Int8Layers(b)),
    "mobilenet_v2": lambda b: mobilenet_v2(FloatLayers(b, half_padding, bias=False)),
    "resnet50": lambda b: resnet50(FloatLayers(b, half_padding, bias=False)),
    "bert_small": bert_small,
    "decoder_kv": decoder_kv,
}
# 17 brought LayerNormalization; since 18 a reduction takes its axes as an input, as newer exports write it
DEFAULT_OPSET, OPSETS = 17, {"decoder_kv": 18}


def build(name: str) -> Builder:
    """Build one sample in memory. Raises KeyError for an unknown name."""
    builder = Builder(name, OPSETS.get(name, DEFAULT_OPSET))
    SAMPLES[name](builder)
    return builder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which samples, of {', '.join(SAMPLES)}")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="where to write them")
    parser.add_argument("--weights", action="store_true", help="also write random weights beside them")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(SAMPLES))
    if unknown:
        parser.error(f"unknown sample {', '.join(unknown)}")
    for name in options.names or SAMPLES:
        builder = build(name)
        paths = [builder.write(options.out)]
        if options.weights:
            paths.append(builder.write_weights(options.out))
        for path in paths:
            print(f"{path}  {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
