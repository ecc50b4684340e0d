"""Networks of timm as float16 ONNX graphs without weights, at the batch of a table of throughputs.

    pip install torch timm onnx onnxscript
    python samples/gpu/export_timm.py benchmark-infer-amp-nchw-pt240-cu124-rtx4090-dynamo.csv graphs/ [NAME ...]

The tables are in `results/` of github huggingface/pytorch-image-models. Nothing is downloaded but what pip installs:
weights are random and are not kept.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
from pathlib import Path

import timm
import torch

# larger ones take gigabytes of memory to export and add no kind of layer
MOST_PARAMETERS_M = 400.0
OPSET = 23  # the first with an Attention operator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", help="only these networks")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    with args.table.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if not args.names or row["model"] in args.names]
    for row in rows:
        path = args.folder / f"{row['model']}.onnx"
        if float(row["param_count"]) <= MOST_PARAMETERS_M and not path.exists():
            try:
                export(row["model"], int(row["infer_img_size"]), int(row["infer_batch_size"]), path)
            except Exception as error:
                print(f"{row['model']}: left out, {type(error).__name__}: {str(error).splitlines()[0][:100]}")
            else:
                print(path)


def export(name: str, size: int, batch: int, path: Path) -> None:
    """Writes `path`; weights go to a file beside it that is deleted."""
    network = timm.create_model(name, pretrained=False)
    if network.default_cfg["input_size"][-1] != size:
        with contextlib.suppress(TypeError):  # most networks take any size and do not ask for it
            network = timm.create_model(name, pretrained=False, img_size=size)
    images = torch.zeros(1, 3, size, size, dtype=torch.half).expand(batch, 3, size, size)
    with torch.no_grad():
        program = torch.onnx.export(
            network.eval().half(), (images,), dynamo=True, opset_version=OPSET, optimize=False, verbose=False
        )
    if program is None:
        raise RuntimeError("the exporter returned nothing")
    program.save(str(path), external_data=True)
    path.with_name(path.name + ".data").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
