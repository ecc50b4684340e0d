"""Nodes that onnxruntime adds to a network with Q/DQ: Transposes around integer convolutions, copies of dequantisation.

Its integer convolutions read and write images channels last, and what they hand to each other stays so; each reader in
floating point has a DequantizeLinear of its own. Compared with the graphs that it writes; its optimiser weighs where a
Transpose goes, and this is the outcome where one chain of such operators meets others, not that weighing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

from efficiency_cli.graph.execution import VIEW, Execution, has_ends
from efficiency_cli.graph.fusion.operators import POINTWISE
from efficiency_cli.graph.model import Graph, Node, Tensor
from efficiency_cli.graph.roles import MICROSOFT

_LEAST_RANK = 3
_CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear"})
_SPARED = frozenset({"Cast", "Transpose"})
# operators that take either layout, when all they read is in it
_EITHER = (
    POINTWISE
    | _CONVERSIONS
    | frozenset(
        """Pad Concat Split AveragePool MaxPool GlobalAveragePool QLinearAdd QLinearMul QLinearSigmoid QLinearLeakyRelu
        QLinearAveragePool QLinearGlobalAveragePool QLinearConcat""".split()
    )
)


class Inserted(Struct, frozen=True):
    """A node and its tensors that run right before node `before` of the graph (behind the last where it is their
    number). It reads `source`, a tensor of the graph and no alias."""

    node: Node
    source: str
    tensors: Mapping[str, Tensor]
    before: int


def inserted_nodes(graph: Graph, execution: Execution, patterns: frozenset[str]) -> list[Inserted]:
    """What the runtime runs beside the nodes of `graph`, in order."""
    if "qdq-units" not in patterns:
        return []
    found = list(_copies(graph, execution))
    if "qdq-nhwc" in patterns:
        found += _Borders(graph, execution).run()
    return sorted(found, key=lambda one: one.before)


def _copies(graph: Graph, execution: Execution) -> Iterator[Inserted]:
    """A DequantizeLinear for every reader in floating point but the first."""
    running = _dequantized(graph, execution)
    seen: set[str] = set(graph.outputs)
    spared: dict[str, str] = {}  # what a node that is spared makes -> what it reads
    for k, node in enumerate(graph.nodes if running else ()):
        absorbed = execution.absorbed.get(k, VIEW) != VIEW
        if absorbed and node.op in _SPARED and has_ends(node):
            spared[node.outputs[0]] = spared.get(node.inputs[0], node.inputs[0])
        if absorbed or k in execution.dtype or node.graphs:
            continue
        for slot, name in enumerate(spared.get(i, i) for i in node.inputs):
            if name in running and name in seen:
                source = execution.resolve(running[name].inputs[0])
                yield _converted(graph, running[name], source, f"for {node.name} {slot}", k)
            seen.add(name)


def _dequantized(graph: Graph, execution: Execution) -> dict[str, Node]:
    """The DequantizeLinears that run, by what they make."""
    return {
        node.outputs[0]: node
        for k, node in enumerate(graph.nodes)
        if node.op == "DequantizeLinear" and k not in execution.absorbed and has_ends(node)
    }


def _converted(graph: Graph, like: Node, source: str, suffix: str, before: int) -> Inserted:
    """A Q or DQ as `like`, of `source`."""
    result = graph.tensors[like.outputs[0]]
    name = f"{result.name}/{suffix}"
    inputs = (source, *like.inputs[1:])
    tensors = {i: graph.tensors[i] for i in inputs if i}
    node = Node(name, like.op, like.domain, inputs, (name,), like.attributes)
    return Inserted(node, source, {**tensors, name: _like(result, name, result.shape)}, before)


def _like(tensor: Tensor, name: str, shape: tuple[int, ...] | None) -> Tensor:
    return Tensor(name, shape, tensor.dtype)


class _Borders:
    """Which images are channels last, node by node, and the Transposes where one is needed in the other layout."""

    def __init__(self, graph: Graph, execution: Execution) -> None:
        self.graph = graph
        self.execution = execution
        self.dequantized = _dequantized(graph, execution)
        self.last: set[str] = set()  # tensors that are written channels last
        self.turned: set[str] = set()  # and those that are there in the other layout as well
        self.found: list[Inserted] = []

    def run(self) -> list[Inserted]:
        if not any(self._is_integer_convolution(k, node) for k, node in enumerate(self.graph.nodes)):
            return []  # nothing is channels last
        for k, node in enumerate(self.graph.nodes):
            if k in self.execution.absorbed or node.graphs:
                continue
            images = list(dict.fromkeys(self._images(k, node)))
            whole = all(self._same_image(k, i) for i in node.inputs if i)
            if self._is_integer_convolution(k, node):
                self._turn(images[:1], k, wanted=True)
                self._written(node)
            elif images and whole and self._takes_either(node):
                self._either(k, node, images)
            elif node.op != "Transpose" or not whole:  # two Transposes are one
                self._turn(images, k, wanted=False)
        self._turn(sorted(self.execution.leaving), len(self.graph.nodes), wanted=False)
        return self.found

    def _images(self, k: int, node: Node) -> Iterator[str]:
        """What the node reads of images, as it stands in memory."""
        for name in node.inputs:
            source = self.execution.source(k, name) if name else ""
            tensor = self.graph.tensors.get(source)
            if tensor is not None and tensor.rank >= _LEAST_RANK and not self.execution.is_constant(tensor):
                yield source

    def _same_image(self, k: int, name: str) -> bool:
        """Whether the operand is no other view of the image."""
        tensors = self.graph.tensors
        source = self.execution.source(k, name)
        return source not in self.last or tensors[source].shape == tensors[name].shape

    def _is_integer_convolution(self, k: int, node: Node) -> bool:
        integer = node.op == "QLinearConv" or (node.op == "Conv" and k in self.execution.dtype)
        result = self.graph.tensors.get(node.outputs[0]) if node.outputs else None
        return integer and result is not None and result.rank >= _LEAST_RANK

    def _takes_either(self, node: Node) -> bool:
        return node.op in _EITHER and node.domain in ("", MICROSOFT)

    def _either(self, k: int, node: Node, images: list[str]) -> None:
        ends_here = node.op == "DequantizeLinear" and not self._leads_on(node)
        if ends_here or not all(name in self.last for name in images):
            self._turn(images, k, wanted=False)
        else:
            self._written(node)

    def _leads_on(self, node: Node) -> bool:
        """Whether what reads the result takes either layout too, so that the Transpose goes past it."""
        readers = self.execution.readers.get(self.execution.resolve(node.outputs[0]), ())
        return bool(readers) and all(self._takes_either(self.graph.nodes[k]) for k in readers)

    def _written(self, node: Node) -> None:
        self.last.update(self.execution.resolve(o) for o in node.outputs if o)

    def _turn(self, names: list[str], before: int, *, wanted: bool) -> None:
        for name in names:
            if (name in self.last) is not wanted and name not in self.turned:
                self.turned.add(name)
                self.found.append(self._transpose(name, before, to_last=wanted))
                if not wanted:
                    self.found.extend(self._quantised_again(name, before))

    def _transpose(self, name: str, before: int, *, to_last: bool) -> Inserted:
        tensor = self.graph.tensors[name]
        axes = tuple(range(tensor.rank))
        order = (0, *axes[2:], 1) if to_last else (0, axes[-1], *axes[1:-1])
        shape = tensor.shape or ()
        there = tuple(shape[axis] for axis in (0, *axes[2:], 1)) if shape else None
        layouts = (tensor.shape, there) if to_last else (there, tensor.shape)
        result = f"{name}/channels {'last' if to_last else 'first'}"
        node = Node(result, "Transpose", "", (name,), (result,), {"perm": order})
        tensors = {n: _like(tensor, n, s) for n, s in zip((name, result), layouts, strict=True)}
        return Inserted(node, name, tensors, before)

    def _quantised_again(self, name: str, before: int) -> Iterator[Inserted]:
        """A Transpose that went past a DequantizeLinear stands between a Q and a DQ of its own afterwards."""
        like = self.dequantized.get(name)
        if like is None:
            return
        narrow = self.graph.tensors[self.execution.resolve(like.inputs[0])]
        again = f"{name}/again"
        inputs = (name, *like.inputs[1:])
        tensors = {i: self.graph.tensors[i] for i in inputs if i} | {again: _like(narrow, again, narrow.shape)}
        yield Inserted(Node(again, "QuantizeLinear", "", inputs, (again,), like.attributes), name, tensors, before)
        yield _converted(self.graph, like, narrow.name, "once more", before)
