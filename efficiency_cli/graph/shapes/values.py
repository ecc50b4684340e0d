"""Computes the values of shape arithmetic with onnx's reference operators, one node at a time.

Only operators on a short list are run, on small operands: a model cannot make this slow.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from onnx import NodeProto

FOLDABLE = frozenset(
    """Abs Add And ArgMax ArgMin Cast CastLike Ceil Clip Concat ConstantOfShape CumSum Div Equal Expand Flatten
    Floor Gather GatherElements GatherND Greater GreaterOrEqual Identity Less LessOrEqual Max Min Mod Mul Neg
    NonZero Not OneHot Or Pow Range Reciprocal ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Reshape Round
    ScatterElements ScatterND Shape Sign Size Slice Split Sqrt Squeeze Sub Sum Tile TopK
    Transpose Trilu Unsqueeze Where Xor
    """.split()
)

_RUN_PARAMS: dict[str, Any] = {
    "log": lambda *_: None,
    "verbose": 0,
    "opsets": {},
    "evaluator_cls": None,
    "new_ops": None,
    "existing_functions": None,
}


def fold(
    node: NodeProto, operands: Sequence[np.ndarray[Any, Any] | None], version: int
) -> list[np.ndarray[Any, Any] | None]:
    """The node's output values; all None where the reference operator refuses the operands."""
    nothing: list[np.ndarray[Any, Any] | None] = [None] * len(node.output)
    operator = _operator(node.op_type, version)
    if operator is None:
        return nothing
    try:
        with np.errstate(all="ignore"):
            results = operator(node, _RUN_PARAMS | {"opsets": {"": version}}).run(*operands)
    except Exception:  # the reference operators raise whatever numpy raises; a gap is reported by name
        return nothing
    return [np.asarray(r) if isinstance(r, np.ndarray | np.generic) and _is_number(r) else None for r in results]


def _is_number(value: np.ndarray[Any, Any] | np.generic) -> bool:
    """Not text or Python objects, whose size is not that of their array."""
    return value.dtype.kind not in "OUSV"


@lru_cache(maxsize=1024)
def _operator(op: str, version: int) -> Any:
    from onnx.reference.ops._op_list import load_op

    try:
        return load_op("", op, version)
    except Exception:  # an operator or version this onnx has no reference for
        return None
