"""Rewrites the table of measurements in this folder: `python samples/llm/llama_runs.py [--out DIR]`.

Tokens a second of llama.cpp on one GPU, as published, become seconds at the sizes of the graphs beside it:
one row is one run of a graph, so that `effcli validate samples/llm/runs.csv` can set its estimate beside it.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

# `llama-bench -p 512,1024,4096,8192 -n 512,1024,4096,8192`, llama.cpp of May 2024
SOURCE = "github XiongjieDai/GPU-Benchmarks-on-LLM-Inference@aa72e0ec86c3, README.md"
TOKENS = (512, 1024, 4096, 8192)
# (device, graph) -> tokens a second of generating (tg) and of a prompt (pp), by TOKENS
PUBLISHED: Mapping[tuple[str, str], tuple[tuple[float, ...], tuple[float, ...]]] = {
    ("rtx-4090", "8b_q4_k_m"): ((130.58, 127.74, 119.44, 110.66), (7138.99, 6898.71, 5265.68, 4039.68)),
    ("rtx-4090", "8b_f16"): ((54.84, 54.34, 52.63, 50.88), (9382.00, 9056.26, 6531.36, 4744.18)),
    ("apple-m2-ultra", "8b_q4_k_m"): ((78.81, 76.28, 64.58, 54.13), (994.04, 1023.89, 979.47, 913.55)),
    ("apple-m2-ultra", "8b_f16"): ((36.90, 36.25, 33.67, 30.68), (1175.40, 1202.74, 1194.21, 1103.44)),
    ("apple-m2-ultra", "70b_q4_k_m"): ((12.48, 12.13, 10.75, 9.34), (118.79, 117.76, 109.53, 108.57)),
    ("apple-m2-ultra", "70b_f16"): ((4.76, 4.71, 4.48, 4.23), (147.58, 145.82, 133.75, 135.15)),
}
COLUMNS = ("onnx", "family", "device", "runtime", "precision", "latency_ms", "dims", "note", "source")


def rows() -> Iterator[dict[str, str]]:
    """One row a figure.

    `-n N` generates N tokens from nothing, so that its mean time is that of a token with N/2 positions: a
    token's time grows evenly with what is in the cache. `-p N` runs N new positions on an empty cache.
    """
    for (device, graph), (generated, prompted) in PUBLISHED.items():
        size, _, precision = graph.partition("_")
        shared = {"family": f"llama3-{size}", "device": device, "runtime": "llama.cpp", "precision": precision.upper()}
        for tokens, rate in zip(TOKENS, generated, strict=True):
            yield _row(graph, f"tg {tokens}", 1 / rate, new=1, total=tokens // 2) | shared
        for tokens, rate in zip(TOKENS, prompted, strict=True):
            yield _row(graph, f"pp {tokens}", tokens / rate, new=tokens, total=tokens) | shared


def _row(graph: str, note: str, seconds: float, new: int, total: int) -> dict[str, str]:
    return {
        "onnx": f"llama3_{graph}.onnx",
        "latency_ms": f"{seconds * 1e3:.6g}",
        "dims": f"batch=1 new={new} cache={total} total={total}",
        "note": note,
        "source": SOURCE,
    }


def write(folder: Path) -> Path:
    """The table; the same bytes every time."""
    path = folder / "runs.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows())
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="where to write it")
    print(write(parser.parse_args().out))


if __name__ == "__main__":
    main()
