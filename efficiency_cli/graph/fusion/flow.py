"""Who makes and who reads what in a graph as it runs: views and what folded away are looked through."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from efficiency_cli.graph.execution import Execution
from efficiency_cli.graph.model import Graph, Node, Tensor
from efficiency_cli.graph.roles import MICROSOFT, NCHWC

ONNX = ("", MICROSOFT, NCHWC)


# operators that patterns look into, and the operands without which a damaged file has them
_OPERANDS = {"MatMul": 2, "FusedMatMul": 2, "Mul": 2, "Div": 2, "Transpose": 1, "Cast": 1, "Expand": 1, "Softmax": 1}


def is_complete(node: Node) -> bool:
    """Whether the node has a result and the operands that its operator must have."""
    count = _OPERANDS.get(node.op, 0)
    given = len(node.inputs) >= count and all(node.inputs[:count])
    return given and bool(node.outputs) and bool(node.outputs[0])


class Flow:
    """The nodes of `graph` that run, and the tensors between them."""

    def __init__(self, graph: Graph, execution: Execution) -> None:
        self.graph = graph
        self.execution = execution
        self.maker: dict[str, int] = {}
        for k, node in enumerate(graph.nodes):
            if k not in execution.absorbed:
                self.maker.update((execution.resolve(o), k) for o in node.outputs if o)

    def resolve(self, name: str) -> str:
        return self.execution.resolve(name)

    def tensor(self, name: str) -> Tensor:
        return self.graph.tensors[name]

    def made_by(self, name: str) -> int | None:
        """The node without bodies that makes the tensor as its first output, None when there is none that runs."""
        k = self.maker.get(self.resolve(name)) if name else None
        if k is None:
            return None
        node = self.graph.nodes[k]
        known = node.domain in ONNX and not node.graphs and is_complete(node)
        return k if known and self.resolve(node.outputs[0]) == self.resolve(name) else None

    def node_before(self, name: str, ops: Collection[str]) -> tuple[int, Node] | None:
        """What makes the tensor, when it is one of these operators."""
        k = self.made_by(name)
        return None if k is None or self.graph.nodes[k].op not in ops else (k, self.graph.nodes[k])

    def readers(self, name: str) -> Collection[int]:
        return self.execution.readers.get(self.resolve(name), ())

    def only_read_by(self, name: str, nodes: Collection[int]) -> bool:
        """Whether these nodes alone read the tensor, and it does not leave the graph."""
        return self.resolve(name) not in self.execution.leaving and all(k in nodes for k in self.readers(name))

    def scalar(self, name: str) -> bool:
        """Whether the operand is a constant of one element."""
        tensor = self.graph.tensors.get(name)
        return self.constant(name) and tensor is not None and tensor.shape is not None and tensor.numel == 1

    def constant(self, name: str) -> bool:
        tensor = self.graph.tensors.get(name)
        return tensor is not None and self.execution.is_constant(tensor)

    def operands(self, nodes: Collection[int]) -> Iterator[str]:
        """What the nodes read that none of them makes, each once."""
        own = {self.resolve(o) for k in nodes for o in self.graph.nodes[k].outputs if o}
        names = (i for k in sorted(nodes) for i in self.graph.nodes[k].inputs if i and self.resolve(i) not in own)
        yield from dict.fromkeys(names)
