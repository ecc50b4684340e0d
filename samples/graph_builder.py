"""Writes one ONNX graph: nodes named as PyTorch's exporter names them, weights kept out of the file.

Weights become external data in `<sample>.bin`, which is not shipped: a tool that estimates costs needs their
shapes and types alone. Not a general exporter: it knows what the samples need.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

INLINE_BYTES = 1024  # constants up to this size stay in the file, as exporters keep small tensors inline
IR_VERSION = 8  # read by every onnxruntime since 1.10

Dims = Sequence[int | str]


class Builder:
    """Collects the nodes, tensors and interface of one model."""

    def __init__(self, name: str, opset: int = 17) -> None:
        self.name = name
        self.opset = opset
        self._graph = onnx.GraphProto(name=name)
        self._names: Counter[str] = Counter()
        self._known: set[str] = set()
        self._fills: list[tuple[TensorProto, float | None]] = []
        self._offset = 0

    def input(self, name: str, dims: Dims, dtype: int = TensorProto.FLOAT) -> str:
        """Declare a graph input; a text dimension is symbolic."""
        self._graph.input.append(helper.make_tensor_value_info(name, dtype, dims))
        return name

    def output(self, name: str, value: str, dims: Dims, dtype: int = TensorProto.FLOAT) -> None:
        """Declare `value` a graph output, under the name `name` everywhere."""
        for node in self._graph.node:
            for names in (node.input, node.output):
                names[:] = [name if known == value else known for known in names]
        self._graph.output.append(helper.make_tensor_value_info(name, dtype, dims))

    def op(self, kind: str, inputs: Sequence[str], scope: str = "", **attributes: Any) -> str:
        """Append a node `scope/kind` (numbered when the name is taken) and return its output's name."""
        path = f"{scope}/{kind}"
        count = self._names[path]
        self._names[path] += 1
        node_name = f"{path}_{count}" if count else path
        result = f"{node_name}_output_0"
        self._graph.node.append(helper.make_node(kind, list(inputs), [result], name=node_name, **attributes))
        return result

    def constant(self, name: str, value: Any, dtype: Any = np.int64) -> str:
        """A small tensor with its values in the file; asking again for the same name returns the first."""
        if name not in self._known:
            self._known.add(name)
            self._graph.initializer.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def weight(self, name: str, shape: Sequence[int], dtype: int = TensorProto.FLOAT, fill: float | None = None) -> str:
        """A trained tensor. Absent external data, unless it is small and starts as one value (`fill`).

        `fill` None means random values when `write_weights` is asked for them.
        """
        storage = helper.tensor_dtype_to_np_dtype(dtype)
        length = math.prod(shape) * storage.itemsize
        if fill is not None and length <= INLINE_BYTES:
            return self.constant(name, np.full(shape, fill), storage)
        tensor = TensorProto(name=name, data_type=dtype, dims=shape, data_location=TensorProto.EXTERNAL)
        for key, value in (("location", f"{self.name}.bin"), ("offset", self._offset), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))
        self._offset += length
        self._fills.append((tensor, fill))
        self._graph.initializer.append(tensor)
        return name

    def model(self) -> onnx.ModelProto:
        """The finished model; the same bytes for the same calls."""
        return helper.make_model(
            self._graph,
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", self.opset)],
            producer_name="effcli samples",
        )

    def write(self, folder: Path) -> Path:
        """Write `<sample>.onnx` into `folder` and return its path."""
        path = folder / f"{self.name}.onnx"
        path.write_bytes(self.model().SerializeToString(deterministic=True))
        return path

    def write_weights(self, folder: Path) -> Path:
        """Write the `<sample>.bin` that the model refers to: random, untrained, finite values."""
        path = folder / f"{self.name}.bin"
        with path.open("wb") as stream:
            for tensor, fill in self._fills:
                stream.write(_values(tensor, fill).tobytes())
        return path


def module_path(name: str) -> str:
    """`layer1.0.conv1` -> `/layer1/layer1.0/conv1`: how PyTorch's exporter spells a module's place."""
    parts: list[str] = []
    for part in name.split("."):
        parts.append(f"{parts[-1]}.{part}" if part.isdigit() and parts else part)
    return "/" + "/".join(parts)


def _values(tensor: TensorProto, fill: float | None) -> np.ndarray[Any, Any]:
    """Uniform values whose variance is 1/fan-in, so that activations neither die out nor overflow."""
    storage: np.dtype[Any] = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    shape = tuple(int(size) for size in tensor.dims)
    if fill is not None:
        return np.full(shape, fill, dtype=storage)
    random = np.random.default_rng(zlib.crc32(tensor.name.encode()))
    if np.issubdtype(storage, np.integer):
        return random.integers(-127, 128, size=shape, dtype=storage)
    edge = math.sqrt(3 / math.prod(shape[1:]))
    return random.uniform(-edge, edge, size=shape).astype(storage)
