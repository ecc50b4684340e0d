"""A model with its work counted: nodes, kernels and totals that no machine has a say in.

Counting is done once a model and kept; estimating it on many machines only reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from msgspec import Struct
from msgspec.structs import replace

from efficiency_cli.costs import Product, Reread, Work, work_of
from efficiency_cli.costs.control_flow import Body, Choices, bodies_of
from efficiency_cli.costs.matmul import packed_variant
from efficiency_cli.graph.constants import Stored, stored_constants
from efficiency_cli.graph.execution import Execution, compute_type, execution_of, narrow_bytes
from efficiency_cli.graph.fusion import (
    DEFAULT_PATTERNS,
    Group,
    Inserted,
    arranged,
    expanded,
    groups_of,
    inserted_nodes,
    kernels_of,
)
from efficiency_cli.graph.model import MAC_CLASSES, DType, Graph, Model, Node, OpClass
from efficiency_cli.roofline.labels import op_label


class CountedNode(Struct, frozen=True):
    """One node, what it does in one run of its graph, and how often that graph runs.

    `absorbed` says why it costs nothing of its own ('' when it does). `path` leads through If, Loop
    and Scan bodies; `kernel_nodes` of the kernels name it.
    """

    node: Node
    graph: Graph
    work: Work
    dtype: DType | None
    absorbed: str
    path: str
    repeat: int

    @property
    def macs(self) -> int:
        return 0 if self.absorbed else self.work.macs * self.repeat

    @property
    def ops(self) -> int:
        return 0 if self.absorbed else self.work.ops * self.repeat

    @property
    def compute_dtype(self) -> str:
        """The type its operations count under: signed, since machines have one rate for both signs."""
        return compute_type(self.dtype).value if self.dtype else "float32"

    @property
    def bytes_moved(self) -> int:
        """Bytes the node alone touches, before any fusion with its neighbours."""
        if self.absorbed:
            return 0
        return (sum(self.work.reads.values()) + sum(self.work.writes.values())) * self.repeat


class Kernel(Struct, frozen=True):
    """What is dispatched at once; all counts are for `repeat` runs together.

    `reads` and `writes` are the activations crossing its boundary: a tensor's key in the whole model
    -> bytes in one run. `weights` are the constants it reads, by their name in its graph. `variant`,
    `product` and `reread` are those of the node that decides its class. `unsigned`: it computes in integers, and
    with unsigned weights. `at_most`: data decide the size of something it works on, and the counts are for the largest.
    """

    index: int
    name: str
    nodes: tuple[str, ...]
    ops_named: tuple[str, ...]
    op: str
    op_class: OpClass
    dtype: DType | None
    macs: int
    ops: int
    weight_bytes: int
    read_bytes: int
    written_bytes: int
    weights: Mapping[str, int]
    reads: Mapping[str, int]
    writes: Mapping[str, int]
    repeat: int
    modelled: bool
    variant: str = ""
    product: Product | None = None
    reread: Reread | None = None
    unsigned: bool = False
    at_most: bool = False

    @property
    def operator(self) -> str:
        """The operator that it runs, or that its nodes together are: `op` without what tells its kind apart."""
        return self.op.partition(" ")[0]

    @property
    def bytes_moved(self) -> int:
        return self.weight_bytes + self.read_bytes + self.written_bytes

    @property
    def arithmetic_intensity(self) -> float | None:
        """OPs a byte moved; None where nothing moves."""
        return self.ops / self.bytes_moved if self.bytes_moved else None

    @property
    def unit(self) -> str:
        """The part of a machine that does the work: 'matrix' for MACs, 'vector' for all else."""
        return "matrix" if self.op_class in MAC_CLASSES else "vector"


class Scope(Struct, frozen=True):
    """One graph in the flattened model: its bodies follow in `inner`, by node index."""

    graph: Graph
    execution: Execution
    works: tuple[Work, ...]
    path: str
    repeat: int
    keys: Mapping[str, str]  # captured tensor -> its key in the whole model
    inner: Mapping[int, tuple[Scope, ...]]
    at_most: bool = False  # whether data decide the size of any of its tensors


class Network:
    """A counted model. `kernels(patterns)` groups its nodes as a runtime with those patterns does."""

    def __init__(self, model: Model, choices: Choices | None = None) -> None:
        self.model = model
        self.choices = choices or Choices()
        self.notes: list[str] = []
        self._noted: set[str] = set()
        self.kept: dict[object, object] = {}  # what machines share: `totals.counted`, `memory.footprint.needs_under`
        self._grouped: dict[frozenset[str], tuple[Kernel, ...]] = {}
        self._known: _Known = {}
        self._weights: dict[int, int] = {}  # by the identity of a body, which the model keeps alive

    @cached_property
    def root(self) -> Scope:
        """The outermost graph, with the graphs of its bodies inside."""
        return self._scope(self.model.graph, "graph", 1, {})

    def _scope(self, graph: Graph, path: str, repeat: int, keys: Mapping[str, str]) -> Scope:
        execution = execution_of(graph)
        resolve = execution.resolve
        inner: dict[int, tuple[Scope, ...]] = {}
        outer: dict[str, str] = {}
        for k, node in enumerate(graph.nodes):
            if node.graphs:
                # once for all bodies: a graph may hold thousands
                outer = outer or {n: keys.get(resolve(n)) or f"{path}:{resolve(n)}" for n in graph.tensors}
                inner[k] = tuple(
                    self._scope(b.graph, f"{path}/{node.name}.{b.label}", repeat * b.repeat, outer)
                    for b in self._bodies(node, graph)
                )
        works = tuple(self._work(node, graph) for node in graph.nodes)
        captured = {n: keys[n] for n in graph.captured if n in keys}
        at_most = any(t.bounded for t in graph.tensors.values())
        return Scope(graph, execution, works, path, repeat, captured, inner, at_most)

    def _work(self, node: Node, graph: Graph) -> Work:
        work = self.dense_work(node, graph)
        return work.valid if self.choices.count == "valid" else work

    def dense_work(self, node: Node, graph: Graph) -> Work:
        """The node's work with padded taps and masked scores, whatever was chosen."""
        return work_of(node, graph, self.choices.rules)

    def _bodies(self, node: Node, graph: Graph) -> list[Body]:
        bodies = bodies_of(node, graph, self.choices, self._weight)
        new = dict.fromkeys(b.note for b in bodies if b.note and b.note not in self._noted)
        self._noted.update(new)
        self.notes.extend(new)
        return bodies

    def _weight(self, graph: Graph) -> int:
        """What a branch costs, to compare branches: operations and bytes of what runs in it, as often as it runs."""
        if id(graph) not in self._weights:
            absorbed = execution_of(graph).absorbed
            running = (node for k, node in enumerate(graph.nodes) if k not in absorbed)
            self._weights[id(graph)] = sum(self._weight_of(node, graph) for node in running)
        return self._weights[id(graph)]

    def _weight_of(self, node: Node, graph: Graph) -> int:
        if node.graphs:
            bodies = bodies_of(node, graph, self.choices, self._weight)
            return sum(body.repeat * self._weight(body.graph) for body in bodies)
        work = self.dense_work(node, graph)
        return work.ops + sum(work.reads.values()) + sum(work.writes.values())

    def key_of(self, name: str) -> str:
        """The key, in the kernels' reads and writes, of a tensor of the outermost graph."""
        return key_in(self.root, self.root.execution.resolve(name))

    @cached_property
    def nodes(self) -> tuple[CountedNode, ...]:
        """Every node in the order it runs, bodies after the node that holds them."""
        found: list[CountedNode] = []
        _each_node(self.root, found)
        return tuple(found)

    def kernels(self, patterns: Iterable[str] = DEFAULT_PATTERNS) -> tuple[Kernel, ...]:
        """The kernels of one run, in order."""
        key = expanded(patterns)
        if key not in self._grouped:
            builder = _KernelBuilder(key, self._known)
            builder.add(self.root)
            self._grouped[key] = tuple(builder.kernels)
        return self._grouped[key]

    @cached_property
    def activations(self) -> tuple[int, int]:
        """Elements and bytes of the inputs and of all that kernels of the usual patterns write."""
        graph = self.model.graph
        inputs = [graph.tensors[i] for i in graph.inputs]
        elements, size = _activations(self.root)
        return elements + sum(t.numel for t in inputs), size + sum(t.bytes for t in inputs)

    @cached_property
    def stored(self) -> list[Stored]:
        """The constants that the network uses, each once."""
        used, _ = stored_constants(self.model.graph)
        return used


def _each_node(scope: Scope, found: list[CountedNode]) -> None:
    for k, node in enumerate(scope.graph.nodes):
        work = scope.works[k]
        dtype = scope.execution.dtype.get(k) or work.dtype
        absorbed = scope.execution.absorbed.get(k, "")
        found.append(CountedNode(node, scope.graph, work, dtype, absorbed, scope.path, scope.repeat))
        for inner in scope.inner.get(k, ()):
            _each_node(inner, found)


# a graph by its identity, the nodes of a kernel, and what they are together -> the kernel, wherever it is among others
_Known = dict[tuple[int, tuple[int, ...], str, bool], Kernel]


class _KernelBuilder:
    """`known` are kernels that other patterns group alike: most patterns agree on most kernels."""

    def __init__(self, patterns: frozenset[str], known: _Known) -> None:
        self.patterns = patterns
        self.known = known
        self.kernels: list[Kernel] = []

    def add(self, counted: Scope) -> None:
        scope = counted
        execution = arranged(scope.graph, scope.execution, self.patterns)
        if execution is not scope.execution:
            scope = replace(scope, execution=execution)
        inserted = inserted_nodes(scope.graph, execution, self.patterns)
        for group in groups_of(scope.graph, execution, self.patterns):
            while inserted and inserted[0].before <= max(group.nodes):
                self.kernels.append(_inserted(len(self.kernels), scope, inserted.pop(0)))
            inner = scope.inner.get(group.nodes[0])
            if inner is not None:
                for body in inner:
                    self.add(body)
            elif not all(scope.works[k].view for k in group.nodes):
                self.kernels.append(self._kernel(scope, group, shared=scope is counted))
        self.kernels.extend(_inserted(len(self.kernels) + k, scope, one) for k, one in enumerate(inserted))

    def _kernel(self, scope: Scope, group: Group, *, shared: bool) -> Kernel:
        index = len(self.kernels)
        if not shared:
            return _kernel(index, scope, group)
        key = id(scope), tuple(group.nodes), _whole(group), group.members[0].op == "Add"
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = _kernel(index, scope, group)
        return found if found.index == index else replace(found, index=index)


def _inserted(index: int, scope: Scope, one: Inserted) -> Kernel:
    """The kernel of a node that the runtime adds: it has none of the network's nodes."""
    graph = Graph(one.node.name, (one.node,), one.tensors, (one.source,), one.node.outputs)
    source = {} if graph.tensors[one.source].is_constant else {one.source: key_in(scope, one.source)}
    alone = Scope(graph, execution_of(graph), (work_of(one.node, graph),), scope.path, scope.repeat, source, {})
    (group,) = groups_of(graph, alone.execution, frozenset())
    return replace(_kernel(index, alone, group), nodes=(), ops_named=())


# the class of operators that are written as several nodes
_WHOLE = {
    "Attention": OpClass.ATTENTION,
    "LayerNormalization": OpClass.NORMALIZATION,
    "RMSNormalization": OpClass.NORMALIZATION,
    "Softmax": OpClass.SOFTMAX,
}
# products that may have their weights in fewer bits than they compute in
_PRODUCTS = frozenset({"gemm", "gemv"})
# and those that stay element-wise
_ACTIVATIONS = frozenset({"Gelu", "QuickGelu", "Swish", "HardSwish"})


def _whole(fused: Group) -> str:
    """The operator that several of its nodes are."""
    return fused.whole or next((m.op for m in fused.members if len(m.nodes) > 1 and m.op in _WHOLE), "")


def _kernel(index: int, scope: Scope, fused: Group) -> Kernel:
    group = tuple(fused.nodes)
    works = [scope.works[k] for k in group]
    nodes = [scope.graph.nodes[k] for k in group]
    # the node with most MACs names the kernel and its class; without MACs the one with most operations
    anchor = max(range(len(group)), key=lambda j: (works[j].macs, works[j].ops, -j)) if len(group) > 1 else 0
    weights, reads, writes = _boundary(scope, nodes, works, group)
    dtype = scope.execution.dtype.get(group[anchor]) or works[anchor].dtype
    op_class, variant = works[anchor].op_class, works[anchor].variant
    label = op_label(nodes[anchor], scope.graph, op_class)
    whole = _whole(fused)
    if whole in _ACTIVATIONS and not works[anchor].macs:
        label = whole
    elif whole in _WHOLE:
        label, op_class = whole, _WHOLE[whole]
        # one query position, as in `costs.attention`
        variant = "decode-attention" if whole == "Attention" and variant in ("gemv", "batched-gemv") else ""
    if op_class is OpClass.NORMALIZATION and fused.members[0].op == "Add":
        # the sum and its normalisation, as runtimes call it
        label = f"Skip{label}"
    integer = dtype is not None and dtype.is_narrow_integer
    stored = _stored_type(scope, weights) if integer or variant in _PRODUCTS else None
    if stored is not None and not integer:
        variant = packed_variant(variant, stored.bits)
    return Kernel(
        index=index,
        name=nodes[anchor].name,
        nodes=tuple(n.name for n in nodes),
        ops_named=tuple(n.op for n in nodes),
        op=label,
        op_class=op_class,
        dtype=compute_type(dtype) if dtype is not None else None,
        macs=sum(w.macs for w in works) * scope.repeat,
        ops=sum(w.ops for w in works) * scope.repeat,
        weight_bytes=sum(weights.values()) * scope.repeat,
        read_bytes=sum(reads.values()) * scope.repeat,
        written_bytes=sum(writes.values()) * scope.repeat,
        weights=weights,
        reads=reads,
        writes=writes,
        repeat=scope.repeat,
        modelled=all(w.modelled for w in works),
        variant=variant,
        product=works[anchor].product,
        reread=works[anchor].reread,
        unsigned=integer and stored is not None and compute_type(stored) is not stored,
        at_most=scope.at_most
        and any(scope.graph.tensors[n].bounded for node in nodes for n in (*node.inputs, *node.outputs) if n),
    )


def _stored_type(scope: Scope, weights: Iterable[str]) -> DType | None:
    """The narrow integers that a matrix among these constants is stored in; None where none is."""
    tensors = (scope.graph.tensors[name] for name in weights)
    return next((t.dtype for t in tensors if t.dtype is not None and t.dtype.is_narrow_integer and t.rank > 1), None)


def _boundary(
    scope: Scope, nodes: Sequence[Node], works: Sequence[Work], group: tuple[int, ...]
) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    """Bytes of weights read, and of activations read and written, by tensor, across the kernel's border."""
    final, tensors, beside = scope.execution.alias, scope.graph.tensors, scope.execution.beside
    made = {final.get(o, o) for node in nodes for o in node.outputs if o} if len(group) > 1 else frozenset()
    weights: dict[str, int] = {}
    reads: dict[str, int] = {}
    for k, work in zip(group, works, strict=True):
        for name, touched in work.reads.items():
            source = scope.execution.source(k, name)
            if source in made or not touched:
                continue
            size = touched if source == name else narrow_bytes(tensors[source], tensors[name], touched)
            if scope.execution.is_constant(tensors[source]):
                weights[source] = max(size, weights.get(source, 0))
                for scale in beside.get(source, ()):
                    weights[scale] = tensors[scale].bytes
            else:
                key = key_in(scope, source)
                # parts of a tensor add up to no more than the whole
                known = reads.get(key, 0)
                reads[key] = max(size, known, min(size + known, tensors[source].bytes))
    return weights, reads, _written(scope, nodes, works, group)


def _written(scope: Scope, nodes: Sequence[Node], works: Sequence[Work], group: tuple[int, ...]) -> dict[str, int]:
    """What leaves the kernel: all it makes except what only its own nodes read."""
    final, tensors = scope.execution.alias, scope.graph.tensors
    inside = {final.get(i, i) for node in nodes for i in node.inputs if i} if len(group) > 1 else frozenset()
    members = frozenset(group)
    writes: dict[str, int] = {}
    for work in works:
        for name, touched in work.writes.items():
            target = final.get(name, name)
            if touched and (target not in inside or _read_elsewhere(scope, members, target)):
                size = touched if target == name else narrow_bytes(tensors[target], tensors[name], touched)
                writes[key_in(scope, target)] = size
    return writes


def _read_elsewhere(scope: Scope, group: frozenset[int], name: str) -> bool:
    execution = scope.execution
    return name in execution.leaving or any(k not in group for k in execution.readers.get(name, ()))


def _activations(scope: Scope) -> tuple[int, int]:
    elements = size = 0
    prefix = f"{scope.path}:"
    for group in kernels_of(scope.graph, scope.execution, DEFAULT_PATTERNS):
        for body in scope.inner.get(group[0], ()):
            inner_elements, inner_size = _activations(body)
            elements, size = elements + inner_elements, size + inner_size
        nodes, works = [scope.graph.nodes[k] for k in group], [scope.works[k] for k in group]
        for key, written in _written(scope, nodes, works, group).items():
            dtype = scope.graph.tensors[key.removeprefix(prefix)].dtype
            size += written * scope.repeat
            elements += written * 8 // dtype.bits * scope.repeat if dtype is not None else 0
    return elements, size


def key_in(scope: Scope, name: str) -> str:
    """The key of a tensor of `scope` (no alias) in the whole model."""
    return scope.keys.get(name) or f"{scope.path}:{name}"
