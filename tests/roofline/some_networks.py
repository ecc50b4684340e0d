"""Random small networks of convolutions, sums, activations, views and the like, for laws."""

from __future__ import annotations

from hypothesis import strategies as st
from onnx_text import read

from efficiency_cli.graph.model import Model

_CONSTANTS = "float[8,8,1,1] w, float[8,1,1] b, float[8] v, float lo = {0}, float hi = {6}"
_STEPS = [
    "Conv({a}, w)", "Relu({a})", "Sigmoid({a})", "Add({a}, {b})", "Mul({a}, {b})", "Add({a}, b)", "Exp({a})",
    "Clip({a}, lo, hi)", "MaxPool<kernel_shape = [1, 1]>({a})", "Identity({a})",
    "BatchNormalization({a}, v, v, v, v)", "custom.Thing({a}, {b})",
]  # fmt: skip


@st.composite
def models(draw: st.DrawFn) -> Model:
    """Up to ten nodes, each reading tensors before it; what nobody reads leaves the graph."""
    names, text = ["x", "z"], ""
    for k in range(draw(st.integers(1, 10))):
        step = draw(st.sampled_from(_STEPS))
        a, b = draw(st.sampled_from(names[-3:])), draw(st.sampled_from(names))
        text += f" t{k} = {step.format(a=a, b=b)}"
        names.append(f"t{k}")
    read_by_others = {
        name for name in names if any(f"{before}{name}{after}" in text for before in "( " for after in "),")
    }
    outputs = [n for n in names[2:] if n not in read_by_others] + draw(st.lists(st.sampled_from(names[2:]), max_size=1))
    declared = ", ".join(f"float[1,8,4,4] {n}" for n in dict.fromkeys(outputs))
    inner = "".join(f", float[1,8,4,4] {n}" for n in names[2:] if n not in outputs)
    return read(f"g (float[1,8,4,4] x, float[1,8,4,4] z) => ({declared}) <{_CONSTANTS}{inner}> {{ {text} }}")
