"""Matrix products: M·N·K multiply–accumulates a matrix, times the broadcast batch.

Float, integer, weight-only quantised and fused forms; Einsum is in einsum.py, mixtures of experts in
experts.py, attention's own products in attention.py.
"""

from __future__ import annotations

import math

from msgspec import Struct

from efficiency_cli.costs import MICROSOFT, CostError, Op, Product, Work, cost
from efficiency_cli.costs.elementwise import GELU_TANH, activation_ops
from efficiency_cli.costs.quantization import DYNAMIC_QUANTIZE, REQUANTIZE, narrow_type
from efficiency_cli.graph.model import DType, OpClass, Shape

# bits of weights that are a byte each; fewer are put together and share kernels
_BYTE = 8


class _Product(Struct, frozen=True):
    """`batch` independent products of (m, k) by (k, n); `shared`: all by the same matrix, so that rows add up."""

    batch: Shape
    m: int
    n: int
    k: int
    shared: bool = False

    @property
    def outputs(self) -> int:
        return math.prod(self.batch) * self.m * self.n

    @property
    def macs(self) -> int:
        return self.outputs * self.k

    @property
    def shape(self) -> Product:
        count = math.prod(self.batch)
        return Product(1, count * self.m, self.n, self.k) if self.shared else Product(count, self.m, self.n, self.k)

    @property
    def variant(self) -> str:
        shape = self.shape
        if shape.m == 1 or shape.n == 1:
            return "gemv" if shape.count == 1 else "batched-gemv"
        return "gemm" if shape.count == 1 else "batched-gemm"

    @property
    def formula(self) -> str:
        batch = "".join(f"{size}·" for size in self.batch if size != 1)
        return f"{batch}{self.m}·{self.n} outputs × {self.k} = {self.macs:,} MACs"


class _Packed(_Product, frozen=True):
    """A product by a matrix of `bits` a weight. Row by row it is limited by reading, as any other is."""

    bits: int = 4

    @property
    def variant(self) -> str:
        return packed_variant("gemv" if self.m == 1 else "gemm", self.bits)


def packed_variant(variant: str, bits: int) -> str:
    """The variant of a product whose weights are unpacked on the way: eight bits take other kernels than fewer."""
    return f"packed{'8' if bits == _BYTE else ''}-{variant}"


def _product(a: Shape, b: Shape) -> _Product:
    """numpy.matmul's rules: a 1-D operand is a row on the left and a column on the right."""
    if not a or not b:
        raise CostError("a matrix product of a scalar")
    left = a if len(a) > 1 else (1, *a)
    right = b if len(b) > 1 else (*b, 1)
    if left[-1] != right[-2]:
        raise CostError(f"inner dimensions differ: {a} × {b}")
    return _Product(_broadcast(left[:-2], right[:-2]), left[-2], right[-1], left[-1], shared=len(right) == 2)


def _broadcast(a: Shape, b: Shape) -> Shape:
    rank = max(len(a), len(b))
    pairs = zip((1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b, strict=True)
    sizes = []
    for x, y in pairs:
        if x != y and 1 not in (x, y):
            raise CostError(f"batch dimensions {a} and {b} do not broadcast")
        sizes.append(y if x == 1 else x)
    return tuple(sizes)


def _transposed(op: Op, shape: Shape, which: str) -> Shape:
    """`shape` after transBatch`which` (first axis moves behind the batch) and trans`which`."""
    if len(shape) > 2 and op.attr(f"transBatch{which}", 0):
        shape = (*shape[1:-1], shape[0], shape[-1])
    if len(shape) > 1 and op.attr(f"trans{which}", 0):
        shape = (*shape[:-2], shape[-1], shape[-2])
    return shape


def _work(op: Op, product: _Product, each: int = 0, *, dtype: DType | None = None, extra: int = 0) -> Work:
    """`each` other operations an output, and `extra` ones."""
    return op.work(
        macs=product.macs,
        other=each * product.outputs + extra,
        op_class=OpClass.DENSE,
        dtype=dtype,
        formula=product.formula,
        product=product.shape,
        variant=product.variant,
    )


@cost("MatMul")
def matmul(op: Op) -> Work:
    """batch · M·N·K MACs after broadcasting; 1-D operands as in numpy.matmul."""
    return _work(op, _product(op.shape(), op.shape(1)))


@cost(
    f"{MICROSOFT}::FusedMatMul",
    f"{MICROSOFT}::TransposeMatMul",
    f"{MICROSOFT}::FusedMatMulActivation",
)
def fused_matmul(op: Op) -> Work:
    """As MatMul after the transposes; an output costs 1 for an α other than 1, then its activation."""
    product = _product(_transposed(op, op.shape(), "A"), _transposed(op, op.shape(1), "B"))
    each = (op.attr("alpha", 1.0) != 1.0) + activation_ops(op.attr("activation", ""))
    return _work(op, product, each)


@cost("Gemm", f"{MICROSOFT}::FusedGemm")
def gemm(op: Op) -> Work:
    """M·N·K MACs after the transposes; an output costs 1 for C, 1 for each of α, β other than 1, and its
    activation."""
    product = _matrices(op, 0, 1)
    bias = op.has(2) and op.attr("beta", 1.0) != 0.0
    scales = (op.attr("alpha", 1.0) != 1.0) + (bias and op.attr("beta", 1.0) != 1.0)
    return _work(op, product, bias + scales + activation_ops(op.attr("activation", "")))


def _matrices(op: Op, a: int, b: int) -> _Product:
    left, right = op.shape(a), op.shape(b)
    if len(left) != 2 or len(right) != 2:
        raise CostError(f"operands {left} and {right} must be matrices")
    return _product(_transposed(op, left, "A"), _transposed(op, right, "B"))


@cost(f"{MICROSOFT}::GemmFastGelu")
def gemm_fast_gelu(op: Op) -> Work:
    """As MatMul; an output costs 1 for a bias and 9 for Gelu by tanh."""
    return _work(op, _product(op.shape(), op.shape(1)), op.has(2) + GELU_TANH)


@cost("MatMulInteger", f"{MICROSOFT}::MatMulInteger16")
def matmul_integer(op: Op) -> Work:
    """As MatMul on narrow integers into int32; taking off the zero points (sums of rows) is ignored."""
    product = _product(op.shape(), op.shape(1))
    return _work(op, product, dtype=narrow_type(op.input(0), op.input(1)))


@cost(f"{MICROSOFT}::MatMulIntegerToFloat")
def matmul_integer_to_float(op: Op) -> Work:
    """As MatMulInteger; an output costs 1 for its scale and 1 for a bias (slot 6)."""
    product = _product(op.shape(), op.shape(1))
    return _work(op, product, 1 + op.has(6), dtype=narrow_type(op.input(0), op.input(1)))


@cost(f"{MICROSOFT}::DynamicQuantizeMatMul")
def matmul_dynamic(op: Op) -> Work:
    """A is quantised (4 an element, as DynamicQuantizeLinear), multiplied in B's type, scaled (1 an output)
    and given a bias (1, slot 4)."""
    product = _product(op.shape(), op.shape(1))
    quantizing = DYNAMIC_QUANTIZE * math.prod(op.shape())
    return _work(op, product, 1 + op.has(4), dtype=narrow_type(op.input(1)), extra=quantizing)


@cost("QLinearMatMul")
def matmul_quantized(op: Op) -> Work:
    """As MatMul on narrow integers, plus 2 an output to requantise. Operands are in slots 0 and 3."""
    product = _product(op.shape(), op.shape(3))
    return _work(op, product, REQUANTIZE, dtype=narrow_type(op.input(0), op.input(3)))


@cost(f"{MICROSOFT}::QGemm")
def gemm_quantized(op: Op) -> Work:
    """As Gemm on narrow integers (slots 0 and 3); an output costs 1 for C (slot 6) and 2 to requantise.

    Without an output scale (slot 7) it stays in float and costs 1, its scale.
    """
    each = op.has(6) + (REQUANTIZE if op.has(7) else 1)
    return _work(op, _matrices(op, 0, 3), each, dtype=narrow_type(op.input(0), op.input(3)))


@cost(f"{MICROSOFT}::MatMulNBits", f"{MICROSOFT}::MatMulBnb4")
def matmul_packed(op: Op) -> Work:
    """rows · N · K MACs in the activations' type; the weights are read as stored: packed, with their scales.

    Unpacking a weight is ignored, as the DequantizeLinear of a weight is; what it slows down is the machine's
    business (variants packed-gemm, packed8-gemm and those of one row). 1 an output for a bias (slot 5).
    """
    a, n, k = op.shape(), op.attr("N", 0), op.attr("K", 0)
    if n < 1 or k < 1:
        raise CostError("the attributes N and K must be given and positive")
    if not a or a[-1] != k:
        raise CostError(f"operand {a} does not end in K = {k}")
    return _work(op, _Packed((), math.prod(a[:-1]), n, k, bits=op.attr("bits", 4)), op.has(5))


@cost(f"{MICROSOFT}::MatMulFpQ4")
def matmul_blob(op: Op) -> Work:
    """As MatMul with a packed weight whose shape (K, N) is the value of operand 2."""
    a, b = op.shape(), op.input(2).value
    if b is None:
        return op.work(op_class=OpClass.DENSE, note="the weight's shape (operand 2) is not a constant: uncounted")
    return _work(op, _product(a, tuple(int(size) for size in b)))


@cost(f"{MICROSOFT}::GemmFloat8")
def gemm_float8(op: Op) -> Work:
    """As Gemm in 8-bit floats; an output costs 1 for C, 1 for its scale, then its activation."""
    each = op.has(2) + op.has(3) + activation_ops(op.attr("activation", ""))
    return _work(op, _matrices(op, 0, 1), each)


@cost("Det", f"{MICROSOFT}::Inverse")
def factorize(op: Op) -> Work:
    """By LU decomposition: 2n³/3 operations a determinant, 2n³ an inverse, of each (n, n) matrix."""
    x = op.shape()
    if len(x) < 2 or x[-1] != x[-2]:
        raise CostError(f"operand {x} must hold square matrices")
    n, count = x[-1], math.prod(x[:-2])
    cubic = 2 * n**3
    return op.work(other=count * (cubic if op.node.op == "Inverse" else cubic // 3))


@cost(f"{MICROSOFT}::CDist")
def distances(op: Op) -> Work:
    """3 an element of each pair of rows: subtract, square, add."""
    return op.work(other=3 * op.elements() * op.shape()[-1])
