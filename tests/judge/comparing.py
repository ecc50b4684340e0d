"""Small models for comparisons: chains of matrix products, whose times differ by their number."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx.parser

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "samples"


def chain(path: Path, products: int, width: int = 8) -> Path:
    """`products` products of (1, width) by (width, width), one after the other."""
    lines = "".join(f"x{k + 1} = MatMul(x{k}, w)\n" for k in range(products))
    text = f"""<ir_version: 10, opset_import: ["" : 17]>
    g (float[1,{width}] x0) => (float[1,{width}] x{products}) <float[{width},{width}] w> {{ {lines} }}"""
    model = onnx.parser.parse_model(text)
    weight = onnx.TensorProto(name="w", dims=[width, width], data_type=1, raw_data=bytes(4 * width * width))
    model.graph.initializer.append(weight)
    path.write_bytes(model.SerializeToString())
    return path


def chains(folder: Path, count: int) -> list[str]:
    """`count` different files, in order."""
    folder.mkdir(exist_ok=True)
    return [str(chain(folder / f"m{k:04}.onnx", 1 + k % 5)) for k in range(count)]
