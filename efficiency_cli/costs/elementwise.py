"""Operators that do the same few primitive operations at every output element.

A primitive is one of + − × ÷, a comparison, a selection, a rounding, a bit or logic operation, or one
function of C's <math.h> (exp, log, sqrt, pow, erf, tanh, sin …): that some of them are slow is the
machine's business. Sigmoid has no such function and is counted in parts. Casts are in movement.py.
"""

from __future__ import annotations

import math

from efficiency_cli.costs import MICROSOFT, Op, Work, cost

_ONE = """
Neg Abs Sign Reciprocal Ceil Floor Round Sqrt Exp Log Erf Not BitwiseNot IsNaN IsInf Relu ThresholdedRelu
Sin Cos Tan Asin Acos Atan Sinh Cosh Tanh Asinh Acosh Atanh
Add Sub Mul Div Mod Pow BitShift And Or Xor BitwiseAnd BitwiseOr BitwiseXor
Equal Greater GreaterOrEqual Less LessOrEqual
"""

PRIMITIVES: dict[str, int] = {
    **dict.fromkeys(_ONE.split(), 1),
    "LeakyRelu": 2,  # multiply, select
    "PRelu": 2,  # multiply, select
    "Shrink": 2,  # add, select
    "Softsign": 3,  # abs, add, divide
    "Softplus": 3,  # exp, add, log
    "Sigmoid": 4,  # negate, exp, add, reciprocal
    "HardSigmoid": 4,  # multiply, add, max, min
    "Elu": 4,  # exp, subtract, multiply, select
    "Selu": 5,  # Elu and one scale
    "HardSwish": 5,  # HardSigmoid, multiply
    "Mish": 5,  # Softplus, tanh, multiply
    "Celu": 7,  # divide, exp, subtract, multiply, min, max, add
    f"{MICROSOFT}::ScaledSiLU": 6,  # SiLU and one scale
}

SILU = 5  # Sigmoid, multiply
GELU_ERF = 5  # divide, erf, add, multiply, multiply
GELU_TANH = 9  # x·x·x (2), scale, add, scale, tanh, add, multiply, multiply

# names that an `activation` attribute may give (Conv, Gemm, recurrent cells), lower case
_ACTIVATIONS: dict[str, int] = {
    **{name.lower(): ops for name, ops in PRIMITIVES.items()},
    "": 0,
    "none": 0,
    "identity": 0,
    "linear": 0,
    "affine": 2,  # multiply, add
    "scaledtanh": 3,  # scale, tanh, scale
    "clip": 2,  # max, min
    "silu": SILU,
    "swish": SILU,
    "swiglu": SILU,  # the product with the gate is counted where the gate is known
    "relu2": 2,  # relu, square
    "quickgelu": SILU + 1,
    "gelu": GELU_ERF,
    "fastgelu": GELU_TANH,
}


def activation_ops(name: str) -> int:
    """Primitive operations an element of the activation that an attribute names; 1 for an unknown one."""
    return _ACTIVATIONS.get(name.lower(), 1)


@cost(*PRIMITIVES)
def elementwise(op: Op) -> Work:
    """`PRIMITIVES[op]` an output element (after broadcasting); see the table for the parts."""
    return op.work(other=PRIMITIVES[op.node.key] * op.elements())


@cost("Max", "Min", "Sum", "Mean")
def variadic(op: Op) -> Work:
    """operands − 1 an output element; Mean one more, its division."""
    op.input()
    each = sum(t is not None for t in op.inputs) - 1 + (op.node.op == "Mean")
    return op.work(other=each * op.elements())


@cost("Where")
def where(op: Op) -> Work:
    """One selection an output element, in the type of the values (not of the condition)."""
    return op.work(other=op.elements(), dtype=op.input(1).dtype)


@cost("Clip")
def clip(op: Op) -> Work:
    """One comparison a bound: max with the lower, min with the upper."""
    attributes = op.node.attributes
    bounds = (op.has(1) or "min" in attributes) + (op.has(2) or "max" in attributes)
    return op.work(other=bounds * op.elements())


@cost("Swish")
def swish(op: Op) -> Work:
    """x · sigmoid(αx): 5 an element, 6 with an α other than 1."""
    return op.work(other=_swish(op) * op.elements())


@cost(f"{MICROSOFT}::QuickGelu")
def quick_gelu(op: Op) -> Work:
    """x · sigmoid(αx): 6 an element with the usual α = 1.702, 5 with α = 1 (then it is SiLU)."""
    return op.work(other=_swish(op, 1.702) * op.elements())


@cost("SwiGLU")
def swiglu(op: Op) -> Work:
    """Swish(a) · b: one multiplication more than Swish."""
    return op.work(other=(_swish(op) + 1) * op.elements())


def _swish(op: Op, alpha: float = 1.0) -> int:
    return SILU + (op.attr("alpha", alpha) != 1.0)


@cost("Gelu", f"{MICROSOFT}::Gelu")
def gelu(op: Op) -> Work:
    """x/2 · (1 + erf(x/√2)): 5 an element; 9 with approximate = tanh."""
    each = GELU_TANH if op.attr("approximate", "none") == "tanh" else GELU_ERF
    return op.work(other=each * op.elements())


@cost(f"{MICROSOFT}::FastGelu")
def fast_gelu(op: Op) -> Work:
    """x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³))): 9 an element, 10 with a bias."""
    return op.work(other=(GELU_TANH + op.has(1)) * op.elements())


@cost(f"{MICROSOFT}::BiasGelu")
def bias_gelu(op: Op) -> Work:
    """Gelu(x + bias): 6 an element."""
    return op.work(other=(1 + GELU_ERF) * op.elements())


@cost(f"{MICROSOFT}::BiasSplitGelu")
def bias_split_gelu(op: Op) -> Work:
    """left · Gelu(right) of x + bias, x split in halves: one add an input, 6 an output element."""
    return op.work(other=math.prod(op.shape()) + (GELU_ERF + 1) * op.elements())


@cost(f"{MICROSOFT}::BiasAdd")
def bias_add(op: Op) -> Work:
    """x + bias + skip: 2 an element."""
    return op.work(other=2 * op.elements())


@cost(f"{MICROSOFT}::ComplexMul", f"{MICROSOFT}::ComplexMulConj")
def complex_multiply(op: Op) -> Work:
    """4 multiplications and 2 additions a complex number, which is two output elements: 3 each."""
    return op.work(other=3 * op.elements())
