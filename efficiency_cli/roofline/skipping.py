"""Operations that a runtime does not do: taps on padding, and channels whose weights are all zero.

Only for runtimes whose profile says so. Zero channels are the one thing a time needs weights for: these are read
once a network, and only where that is quick; else the dense count stands and the estimate says so.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence

from efficiency_cli.errors import EffcliError
from efficiency_cli.graph.model import OpClass
from efficiency_cli.roofline.effective import Effective, effective
from efficiency_cli.roofline.network import Kernel, Network

# such runtimes are those of microcontrollers, whose networks are far smaller
MOST_WEIGHT_BYTES = 64 << 20
MOST_NODES = 5_000

_READ: weakref.WeakKeyDictionary[Network, Effective | str] = weakref.WeakKeyDictionary()


def skipped_ops(network: Network, kernels: Sequence[Kernel]) -> tuple[Mapping[int, int], list[str]]:
    """Kernel index -> operations not done in one run (2 a MAC), and what the user should know about it."""
    found = _effective(network)
    if isinstance(found, str):
        return {}, [f"all-zero channels are not left out, as the runtime would: {found}"]
    dense = {n.node.name: n.macs for n in network.nodes if n.node.name in found.nodes}
    left = {name: 2 * (macs - found.nodes[name].macs) for name, macs in dense.items()}
    skipped = {k.index: sum(left.get(name, 0) for name in k.nodes) for k in kernels}
    skipped = {index: ops for index, ops in skipped.items() if ops}
    if not skipped:
        return {}, []
    macs = sum(skipped.values()) // 2
    return skipped, [f"{macs:,} MACs with all-zero channels are left out of the time, as the runtime drops them"]


def padding_ops(network: Network, kernels: Sequence[Kernel]) -> Mapping[int, int]:
    """Kernel index -> operations (2 a MAC) of convolutions on taps outside their input."""
    left = {
        n.node.name: 2 * (n.work.macs - n.work.valid_macs) * n.repeat
        for n in network.nodes
        if n.work.valid_macs is not None and n.work.op_class in (OpClass.DENSE, OpClass.DEPTHWISE)
    }
    skipped = {k.index: sum(left.get(name, 0) for name in k.nodes) for k in kernels} if left else {}
    return {index: ops for index, ops in skipped.items() if ops}


def _effective(network: Network) -> Effective | str:
    """What remains of the network without zero channels, or why that is not known."""
    if network not in _READ:
        _READ[network] = _read(network)
    return _READ[network]


def _read(network: Network) -> Effective | str:
    size = sum(s.bytes for s in network.stored)
    if size > MOST_WEIGHT_BYTES:
        return f"the weights are larger than {MOST_WEIGHT_BYTES >> 20} MiB"
    if len(network.nodes) > MOST_NODES:
        return f"there are more than {MOST_NODES:,} nodes"
    try:
        return effective(network)
    except EffcliError as error:
        return error.what
