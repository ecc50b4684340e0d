"""fvcore's FlopCountAnalysis: multiply-adds of PyTorch's calls. See `conventions` for what this is."""

from __future__ import annotations

from efficiency_cli.costs import Op
from efficiency_cli.roofline.conventions.tool import FREE, NORMALIZATIONS, RECURRENT, Counts, Tool, affine_norm

_DIFFERENCES = (
    "its FLOPs are multiply-adds: one each, and one an operation of what else it counts",
    "counted as PyTorch modules: what an export folds or writes out (a BatchNorm in a Conv, a LayerNorm in "
    "primitive operators) is counted as it stands in the file",
    "attention counts as matrix products; for scaled_dot_product_attention it has no rule, and the file does "
    "not say which was used",
)


def _rule(op: Op, macs: int) -> Counts | None:
    found = _flops(op, macs)
    return None if found is None else (None, found)


def _flops(op: Op, macs: int) -> int | None:
    name = op.node.op
    if name in RECURRENT:
        return None
    if macs:
        return macs
    if name == "BatchNormalization":
        return 2 * op.input().numel
    if name in NORMALIZATIONS:
        return affine_norm(op)
    if name in ("Resize", "Upsample"):
        each = {"nearest": 1, "linear": 4}.get(op.attr("mode", "nearest"), 0)
        return each * op.elements() if len(op.out_shape()) == 4 else None
    if name == "GlobalAveragePool":
        return op.input().numel if len(op.shape()) == 4 else None
    if name == "GridSample":
        return 4 * op.elements()
    return 0 if name in FREE else None


TOOL = Tool(
    name="fvcore",
    source="facebookresearch/fvcore at 3378afe, fvcore/nn/flop_count.py and jit_handles.py",
    rule=_rule,
    differences=_DIFFERENCES,
    has_macs=False,
)
