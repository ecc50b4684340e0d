"""Rebuilds the Llama-3 graphs in this folder: `python samples/llm/build_llama.py [--out DIR]`.

Shapes and types are those of llama.cpp's F16 and Q4_K_M files, weights are external data that does not exist.
A block is a model-local function, called once a layer: the files stay small, a reader sees every node.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, helper

OPSET, IR_VERSION = 23, 11  # RMSNormalization came with opset 23
MICROSOFT, LOCAL = "com.microsoft", "llama"
GROUP = 32  # weights that share a scale: those of a Q4_K block of 256 come in eights of 32
POSITIONS = 8192  # what Llama 3 was trained on: rows of its rotary tables

Dims = Sequence[int | str]


class Size(NamedTuple):
    """Of the published config.json of Meta-Llama-3-8B and -70B."""

    layers: int
    width: int
    heads: int
    inner: int
    key_heads: int = 8
    words: int = 128_256

    @property
    def head(self) -> int:
        return self.width // self.heads


SIZES = {"8b": Size(32, 4096, 32, 14_336), "70b": Size(80, 8192, 64, 28_672)}


class Weights(NamedTuple):
    """Bits a weight, by tensor; 16 is float16, fewer are packed in groups with a float16 scale.

    A group of 32 with such a scale takes half a bit a weight: 4 bits are 4.5 as in Q4_K, 5 are 5.5 as in Q5_K,
    6 are 6.5 where Q6_K has 6.5625.
    """

    usual: int
    value: int
    down: int
    head: int

    @staticmethod
    def of(quantised: bool, size: Size, layer: int) -> Weights:
        """As llama.cpp's `llama_tensor_get_type` chooses for Q4_K_M: six bits for the output, for the value and
        down projections of every third layer and of the first and last eighth; five for the values of a 70B else.
        """
        if not quantised:
            return Weights(16, 16, 16, 16)
        eighth = size.layers // 8
        more = layer < eighth or layer >= 7 * size.layers // 8 or (layer - eighth) % 3 == 2
        return Weights(4, 6 if more else 5 if size.layers == 80 else 4, 6 if more else 4, 6)


class Graph:
    """Collects one file: tensors without bytes, nodes, functions."""

    def __init__(self, name: str, size: Size, quantised: bool) -> None:
        self.size = size
        self.quantised = quantised
        self.proto = GraphProto(name=name)
        self.functions: dict[str, FunctionProto] = {}

    def weight(self, name: str, dims: Sequence[int], dtype: int = TensorProto.FLOAT16) -> str:
        """A tensor in a file of its own that is not there."""
        tensor = TensorProto(name=name, data_type=dtype, dims=dims, data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value=name)
        self.proto.initializer.append(tensor)
        return name

    def matrix(self, name: str, inputs: int, outputs: int, bits: int) -> list[str]:
        """The operands of a product with a weight: (K, N), or packed (N, groups, bytes) and scales."""
        if bits == 16:
            return [self.weight(name, (inputs, outputs))]
        groups = inputs // GROUP
        packed = self.weight(name, (outputs, groups, GROUP * bits // 8), TensorProto.UINT8)
        return [packed, self.weight(f"{name}.scale", (outputs, groups))]

    def block(self, layer: int) -> list[str]:
        """The weights of a layer, in the order in which `block` takes them."""
        size, bits = self.size, Weights.of(self.quantised, self.size, layer)
        keys = size.key_heads * size.head
        shapes = {
            "q": (size.width, size.width, bits.usual),
            "k": (size.width, keys, bits.usual),
            "v": (size.width, keys, bits.value),
            "o": (size.width, size.width, bits.usual),
            "gate": (size.width, size.inner, bits.usual),
            "up": (size.width, size.inner, bits.usual),
            "down": (size.inner, size.width, bits.down),
        }
        names = [self.weight(f"{layer}.{n}", (size.width,)) for n in ("norm1", "norm2")]
        return names + [w for n, shape in shapes.items() for w in self.matrix(f"{layer}.{n}", *shape)]


def product(x: str, operands: Sequence[str], result: str, name: str, sizes: tuple[int, int, int]) -> NodeProto:
    """x · W for a weight of (inputs, outputs, bits)."""
    inputs, outputs, bits = sizes
    if bits == 16:
        return helper.make_node("MatMul", [x, *operands], [result], name=name)
    packing = {"K": inputs, "N": outputs, "bits": bits, "block_size": GROUP}
    return helper.make_node("MatMulNBits", [x, *operands], [result], name=name, domain=MICROSOFT, **packing)


def block(size: Size, bits: Weights) -> FunctionProto:
    """RMSNorm, attention on a cache of which past and present are one buffer, RMSNorm, SwiGLU; both added to x."""
    keys, packed = size.key_heads * size.head, bits.usual != 16
    taken = [w for n in ("q", "k", "v", "o", "gate", "up", "down") for w in ([n, f"{n}_s"] if packed else [n])]

    def linear(x: str, n: str, result: str, inputs: int, outputs: int, width: int = bits.usual) -> NodeProto:
        return product(x, [n, f"{n}_s"] if packed else [n], result, n, (inputs, outputs, width))

    attention = helper.make_node(
        "GroupQueryAttention",
        ["xq", "xk", "xv", "past_k", "past_v", "last", "total", "cos", "sin"],
        ["attended", "present_k", "present_v"],
        name="attention",
        domain=MICROSOFT,
        num_heads=size.heads,
        kv_num_heads=size.key_heads,
        do_rotary=1,
    )
    nodes = [
        helper.make_node("RMSNormalization", ["x", "norm1"], ["x1"], name="norm1", epsilon=1e-5),
        linear("x1", "q", "xq", size.width, size.width),
        linear("x1", "k", "xk", size.width, keys),
        linear("x1", "v", "xv", size.width, keys, bits.value),
        attention,
        linear("attended", "o", "xo", size.width, size.width),
        helper.make_node("Add", ["x", "xo"], ["h"], name="add1"),
        helper.make_node("RMSNormalization", ["h", "norm2"], ["h1"], name="norm2", epsilon=1e-5),
        linear("h1", "gate", "g", size.width, size.inner),
        helper.make_node("Sigmoid", ["g"], ["s"], name="sigmoid"),
        helper.make_node("Mul", ["g", "s"], ["silu"], name="silu"),
        linear("h1", "up", "u", size.width, size.inner),
        helper.make_node("Mul", ["silu", "u"], ["gated"], name="gated"),
        linear("gated", "down", "d", size.inner, size.width, bits.down),
        helper.make_node("Add", ["h", "d"], ["y"], name="add2"),
    ]
    state = ["x", "past_k", "past_v", "last", "total", "cos", "sin"]
    return helper.make_function(
        LOCAL,
        f"block_v{bits.value}_d{bits.down}",
        [*state, "norm1", "norm2", *taken],
        ["y", "present_k", "present_v"],
        nodes,
        [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)],
    )


def embedding(graph: Graph) -> NodeProto:
    """The rows of the tokens; packed like the matrices in a quantised file."""
    size = graph.size
    table = (size.words, size.width)
    if not graph.quantised:
        return helper.make_node("Gather", [graph.weight("embed", table), "input_ids"], ["x0"], name="embed")
    rows = graph.weight("embed", table, TensorProto.UINT4)
    scales = graph.weight("embed.scale", (size.words, size.width // GROUP))
    axes = {"gather_axis": 0, "quantize_axis": 1, "block_size": GROUP}
    return helper.make_node(
        "GatherBlockQuantized", [rows, "input_ids", scales], ["x0"], name="embed", domain=MICROSOFT, **axes
    )


def lengths(graph: Graph) -> Iterator[NodeProto]:
    """From the mask, as onnxruntime-genai's model builder does: the last position, and how many there are."""
    for name, values, dims in (("one", [1], [1]), ("axis", [1], [])):
        graph.proto.initializer.append(helper.make_tensor(name, TensorProto.INT64, dims, values))
    yield helper.make_node("ReduceSum", ["attention_mask", "one"], ["sum"], name="sum")
    yield helper.make_node("Sub", ["sum", "one"], ["last64"], name="last")
    yield helper.make_node("Cast", ["last64"], ["last"], name="last32", to=TensorProto.INT32)
    yield helper.make_node("Shape", ["attention_mask"], ["sizes"], name="sizes")
    yield helper.make_node("Gather", ["sizes", "axis"], ["total64"], name="total", axis=0)
    yield helper.make_node("Cast", ["total64"], ["total"], name="total32", to=TensorProto.INT32)


def build(name: str, size: Size, quantised: bool) -> ModelProto:
    """One decoder; logits of the last position alone, as llama.cpp computes them."""
    graph = Graph(name, size, quantised)
    proto = graph.proto
    cache: Dims = ("batch", size.key_heads, "cache", size.head)
    proto.input.append(helper.make_tensor_value_info("input_ids", TensorProto.INT64, ("batch", "new")))
    proto.input.append(helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ("batch", "total")))
    tables = [graph.weight(n, (POSITIONS, size.head // 2)) for n in ("cos", "sin")]
    proto.node.extend([embedding(graph), *lengths(graph)])
    presents = []
    for layer in range(size.layers):
        bits = Weights.of(quantised, size, layer)
        function = graph.functions.setdefault(f"{bits}", block(size, bits))
        past = [f"past_key_values.{layer}.{part}" for part in ("key", "value")]
        present = [f"present.{layer}.{part}" for part in ("key", "value")]
        proto.input.extend(helper.make_tensor_value_info(n, TensorProto.FLOAT16, cache) for n in past)
        presents += [helper.make_tensor_value_info(n, TensorProto.FLOAT16, cache) for n in present]
        operands = [f"x{layer}", *past, "last", "total", *tables, *graph.block(layer)]
        outputs = [f"x{layer + 1}", *present]
        proto.node.append(helper.make_node(function.name, operands, outputs, name=f"{layer}", domain=LOCAL))
    end = f"x{size.layers}"
    bits = Weights.of(quantised, size, 0).head
    proto.initializer.append(helper.make_tensor("end", TensorProto.INT64, [], [-1]))
    proto.node.append(helper.make_node("Gather", [end, "end"], ["newest"], name="newest", axis=1))
    norm = graph.weight("norm", (size.width,))
    proto.node.append(helper.make_node("RMSNormalization", ["newest", norm], ["normed"], name="norm", epsilon=1e-5))
    head = graph.matrix("lm_head", size.width, size.words, bits)
    proto.node.append(product("normed", head, "logits", "lm_head", (size.width, size.words, bits)))
    proto.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT16, ("batch", size.words)))
    proto.output.extend(presents)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1), helper.make_opsetid(LOCAL, 1)]
    functions = list(graph.functions.values())
    return helper.make_model(
        proto, functions=functions, ir_version=IR_VERSION, opset_imports=opsets, producer_name="effcli samples"
    )


MODELS = {
    f"llama3_{name}_{kind}": (size, kind == "q4_k_m") for name, size in SIZES.items() for kind in ("f16", "q4_k_m")
}


def write(folder: Path) -> Iterator[Path]:
    """All graphs; the same bytes every time."""
    for name, (size, quantised) in MODELS.items():
        path = folder / f"{name}.onnx"
        path.write_bytes(build(name, size, quantised).SerializeToString(deterministic=True))
        yield path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="where to write them")
    for path in write(parser.parse_args().out):
        print(f"{path}  {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
