"""Gives every dimension of a model's inputs a number, or says which ones lack one.

Works on plain data (names and declared dims), not on protobuf. `shapes.py` applies the result.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct, field

from efficiency_cli.errors import MissingDimension, ModelError, UsageError, did_you_mean

# a dimension as declared: a number, a symbol, or None where there is neither
Declared = int | str | None

# a tensor with more elements than this cannot be addressed
MAX_ELEMENTS = 2**63 - 1
# nor does anything run tensors of more axes (numpy's limit)
MAX_RANK = 64
# what the command in the error message suggests for a dimension that must be given
EXAMPLE_SIZE = 128
# dimensions told in one error; decoders' caches have one or two dozen inputs with a symbol each
MOST_MISSING = 30


class Use(Struct, frozen=True):
    """A node of the outermost graph, before anything is known of its tensors."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Interface(Struct, frozen=True):
    """What a graph declares of its inputs and outputs (None: no shape), and the nodes between them."""

    inputs: Mapping[str, Sequence[Declared] | None]
    outputs: Mapping[str, Sequence[Declared] | None]
    nodes: tuple[Use, ...]


class Proposal(Struct, frozen=True):
    """What someone who knows the kind of network makes of its inputs: `sizes` of axes, as 'INPUT[AXIS]'; `defaults`
    for axes that the user may set otherwise; `values` that whole inputs are filled with; and `needed` axes, which
    only the user can know, with what they are.
    """

    sizes: Mapping[str, int]
    defaults: Mapping[str, int] = field(default_factory=dict)
    values: Mapping[str, int] = field(default_factory=dict)
    needed: Mapping[str, str] = field(default_factory=dict)


# asked for what a graph declares
Propose = Callable[[Interface], Proposal]


class Request(Struct, frozen=True):
    """What the user asked for: `dims` by symbol or 'INPUT[AXIS]', whole `shapes`, a `batch`; and `values` that
    inputs are filled with.
    """

    dims: Mapping[str, int] = field(default_factory=dict)
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    batch: int | None = None
    values: Mapping[str, int] = field(default_factory=dict)


class Binding(Struct, frozen=True):
    """`shapes` by input; `symbols` by name; what was assumed; and which `dims` keys were not used yet."""

    shapes: Mapping[str, tuple[int, ...]]
    symbols: Mapping[str, int]
    assumptions: tuple[str, ...]
    unused: Mapping[str, int]


def with_sizes(request: Request, interface: Interface, proposed: Proposal) -> Request:
    """The request with what is proposed put in.

    Raises UsageError where it says otherwise itself, MissingDimension where it does not say what is needed.
    """
    needed: dict[str, int] = {}
    for key, what in proposed.needed.items():
        symbol, given = _given(request, interface, key)
        if not given:
            raise MissingDimension(
                f"dimension '{symbol or key}' needs a value: it is {what}",
                hint=f"effcli analyze MODEL --dim {_quoted(f'{symbol or key}=N')}",
            )
        # it is no batch, whatever --batch says
        needed[key] = given[0]
    for key, size in proposed.sizes.items():
        symbol, given = _given(request, interface, key)
        for other in given:
            if other != size:
                what = f"the phase needs '{symbol or key}' = {size:,}, and {other:,} is given for it"
                raise UsageError(what, hint="leave out that --dim or --shape, or --phase")
    defaults = {k: v for k, v in proposed.defaults.items() if not _given(request, interface, k)[1]}
    dims = {**defaults, **request.dims, **needed, **proposed.sizes}
    return Request(dims, request.shapes, request.batch, proposed.values)


def _given(request: Request, interface: Interface, key: str) -> tuple[Declared, list[int]]:
    """The declared size of an axis 'INPUT[AXIS]', and what the request says of it."""
    tensor, _, axis = key[:-1].rpartition("[")
    symbol = (interface.inputs[tensor] or ())[int(axis)]
    shape = request.shapes.get(tensor, ())
    names = [key, symbol] if isinstance(symbol, str) else [key]
    given = [request.dims[name] for name in names if name in request.dims]
    return symbol, given + ([shape[int(axis)]] if int(axis) < len(shape) else [])


def bind(inputs: Mapping[str, Sequence[Declared] | None], request: Request, path: str) -> Binding:
    """Resolve every declared dimension of `inputs` (None: no declared shape at all).

    A symbolic first axis that nobody set is 1 and noted as an assumption. Raises UsageError for a
    shape of an input that does not exist, MissingDimension for any other dimension without a value,
    ModelError for negative or absurd dimensions.
    """
    _check_names(inputs, request)
    binder = _Binder(request)
    declared = {name: binder.replaced(name, dims) for name, dims in inputs.items()}
    # one pass to learn the symbols that a --shape or --batch fixes, one to use them
    binder.learn(declared, inputs)
    binder.assume(declared)
    shapes = {name: binder.resolve(name, dims) for name, dims in declared.items()}
    symbols = [d for dims in inputs.values() for d in dims or () if isinstance(d, str)]
    # 'TENSOR[AXIS]' may name a tensor inside the graph: that is checked once shapes are known
    unknown = {k: v for k, v in request.dims.items() if k not in binder.used and not k.endswith("]")}
    reject_unused(unknown, list(dict.fromkeys(symbols)))
    if binder.missing:
        raise _missing(binder.missing, path)
    for name, shape in shapes.items():
        _check_size(name, shape)
    unused = {k: v for k, v in request.dims.items() if k not in binder.used}
    return Binding(shapes, binder.symbols, tuple(binder.assumptions), unused)


class _Binder:
    def __init__(self, request: Request) -> None:
        self.request = request
        self.symbols: dict[str, int] = {}
        self.used: set[str] = set()
        self.assumptions: list[str] = []
        self.missing: dict[str, str] = {}  # key for --dim -> how it is shown

    def replaced(self, name: str, dims: Sequence[Declared] | None) -> Sequence[Declared] | None:
        """The declared dims with --shape, --batch and INPUT[AXIS]=N put in."""
        given = self.request.shapes.get(name)
        if given is not None:
            if dims is not None and len(dims) != len(given):
                raise UsageError(
                    f"--shape gives '{name}' {len(given)} axes, the model declares {len(dims)}",
                    hint=f"write --shape {name}={'x'.join(str(d or 'N') for d in dims)}",
                )
            for axis, (dim, size) in enumerate(zip(dims or (), given, strict=False)):
                self._check_symbol(dim, int(size), f"--shape makes axis {axis} of '{name}' {size}")
            return [int(d) for d in given]
        if dims is None:
            return None
        result = list(dims)
        if self.request.batch is not None and result:
            if f"{name}[0]" not in self.request.dims:
                self._check_symbol(
                    result[0], self.request.batch, f"--batch makes axis 0 of '{name}' {self.request.batch}"
                )
            result[0] = self.request.batch
        for axis in range(len(result)):
            key = f"{name}[{axis}]"
            if key in self.request.dims:
                self.used.add(key)
                result[axis] = self.request.dims[key]
        return result

    def _check_symbol(self, dim: Declared, size: int, says: str) -> None:
        """Raise UsageError where --dim gives the same dimension another size."""
        given = self.request.dims.get(dim, size) if isinstance(dim, str) else size
        if given != size:
            raise UsageError(f"{says}, --dim makes '{dim}' {given}", hint="keep one of the two")

    def learn(
        self,
        declared: Mapping[str, Sequence[Declared] | None],
        original: Mapping[str, Sequence[Declared] | None],
    ) -> None:
        for name, dims in original.items():
            for before, now in zip(dims or (), declared[name] or (), strict=False):
                if isinstance(before, str) and before:
                    if before in self.request.dims:
                        self.used.add(before)
                        self.symbols[before] = self.request.dims[before]
                    elif isinstance(now, int):
                        self.symbols.setdefault(before, now)

    def assume(self, declared: Mapping[str, Sequence[Declared] | None]) -> None:
        """A first axis that nobody set is 1, and its symbol with it, on whichever axis that stands."""
        for name, dims in declared.items():
            first = dims[0] if dims else 0
            if isinstance(first, int) or first in self.symbols:
                continue
            key = _key(name, 0, first)
            self.assumptions.append(f"dimension '{key}' is symbolic, 1 assumed; set it with --dim {key}=N")
            if first:
                self.symbols[first] = 1

    def resolve(self, name: str, dims: Sequence[Declared] | None) -> tuple[int, ...]:
        if dims is None:
            self.missing[f"{name}[…]"] = f"input '{name}' declares no shape"
            return ()
        return tuple(self._dim(name, axis, d) for axis, d in enumerate(dims))

    def _dim(self, name: str, axis: int, dim: Declared) -> int:
        if isinstance(dim, int):
            if dim < 0:
                raise ModelError(
                    f"input '{name}' has the negative dimension {dim}",
                    where=f"axis {axis}",
                    hint=f"set it: --dim '{name}[{axis}]=N', or export the model again",
                )
            return dim
        if dim and dim in self.symbols:
            return self.symbols[dim]
        key = _key(name, axis, dim)
        if axis == 0:
            return 1  # assumed and noted before
        if key not in self.missing:
            label = f"dimension '{dim}'" if dim else "an unnamed dimension"
            self.missing[key] = f"{label} of input '{name}' (axis {axis})"
        return 1


def _key(name: str, axis: int, dim: str | None) -> str:
    """What --dim takes for an axis: its symbol, unless that is missing or cannot be typed."""
    return dim if dim and dim.isprintable() and dim == dim.strip() else f"{name}[{axis}]"


def _check_names(inputs: Mapping[str, Sequence[Declared] | None], request: Request) -> None:
    for name in request.shapes:
        if name not in inputs:
            known = ", ".join(inputs) or "none"
            raise UsageError(
                f"the model has no input '{name}'",
                where=f"inputs: {known}",
                hint=did_you_mean(name, inputs) or "name one of the inputs above in --shape",
            )
    values = [*request.dims.items(), *((n, d) for n, s in request.shapes.items() for d in s)]
    if request.batch is not None:
        values.append(("batch", request.batch))
    for name, value in values:
        if value < 0:
            raise UsageError(f"the size {value} of '{name}' is negative", hint="give a size of 0 or more")


def _missing(missing: Mapping[str, str], path: str) -> MissingDimension:
    flags = []
    for key in list(missing)[:MOST_MISSING]:
        if key.endswith("[…]"):
            flags.append(f"--shape {_quoted(key[:-3] + '=1x' + str(EXAMPLE_SIZE))}")
        else:
            flags.append(f"--dim {_quoted(f'{key}={EXAMPLE_SIZE}')}")
    many = "dimensions need" if len(missing) > 1 else "a dimension needs"
    where = list(missing.values())[:MOST_MISSING]
    more = [f"and {len(missing) - len(where):,} more"] if len(missing) > len(where) else []
    return MissingDimension(
        f"{many} a value before this model can be counted",
        where=(*where, *more),
        hint=f"effcli analyze {_quoted(path)} {' '.join(flags)}",
    )


def _quoted(text: str) -> str:
    return text if re.fullmatch(r"[\w./=:@%+,-]+", text) else "'" + text.replace("'", "'\\''") + "'"


def _check_size(name: str, shape: Sequence[int]) -> None:
    if len(shape) > MAX_RANK:
        raise ModelError(
            f"input '{name}' has {len(shape):,} axes",
            where=f"at most {MAX_RANK} are analysed",
            hint="check the declared shape, or set another one with --shape",
        )
    elements = 1
    for dim in shape:
        elements *= dim
        if elements > MAX_ELEMENTS:
            raise ModelError(
                f"input '{name}' has more elements than can be addressed",
                where=f"shape {'x'.join(map(str, shape))}",
                hint="check the declared shape, or set a smaller one with --shape",
            )


def reject_unused(unused: Mapping[str, int], known: Sequence[str]) -> None:
    """Raise UsageError when a --dim names nothing in the model."""
    for name in unused:
        where = f"dimensions: {', '.join(known)}" if known else "the model has no symbolic dimension"
        raise UsageError(
            f"the model has no dimension '{name}'",
            where=where,
            hint=did_you_mean(name, known) or "use a name above, or INPUT[AXIS]=N for an unnamed one",
        )
