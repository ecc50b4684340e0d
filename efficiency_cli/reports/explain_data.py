"""An Explanation as plain data: what `effcli explain -f json` writes.

The node and the kernel are those of the JSON report, under the same names, with more beside them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from efficiency_cli.roofline.report_data import report_of

if TYPE_CHECKING:
    from efficiency_cli.roofline.around import Touched
    from efficiency_cli.roofline.effective import NodeEffective
    from efficiency_cli.roofline.explain import Explanation, KernelPart
    from efficiency_cli.roofline.terms import Term


def data_of(explanation: Explanation) -> dict[str, Any]:
    """Plain data: the node and the kernel as in a report, with more; the terms of both."""
    report = report_of(explanation.estimate, "explain")
    kernel, dense, generation = explanation.kernel, explanation.dense, explanation.estimate.generation
    node = {
        **report["nodes"][explanation.index],
        "formula": explanation.formula or None,
        "dense_macs": dense.macs,
        "valid_macs": dense.valid_macs if dense.valid_macs is not None else dense.macs,
        "op_class": explanation.counted.work.op_class.value,
        "compute_dtype": explanation.counted.compute_dtype,
        "modelled": explanation.counted.work.modelled,
        "rule": explanation.rule,
        "convention": list(explanation.convention),
        "touched": {
            "inputs": [_touched(t) for t in explanation.inputs],
            "outputs": [_touched(t) for t in explanation.outputs],
        },
        "made_by": list(explanation.made_by),
        "used_by": list(explanation.used_by),
        "as_counted_by": _beside(explanation),
        "effective": _effective(explanation.effective),
        "bodies": [
            {"path": b.path, "repeat": b.repeat, "nodes": b.nodes, "macs": b.macs, "ops": b.ops}
            for b in explanation.bodies
        ],
    }
    return {
        "schema_version": report["schema_version"],
        "tool": report["tool"],
        "command": report["command"],
        "model": report["model"],
        "hardware": report["hardware"],
        "phase": generation.phase if generation is not None else None,
        "context": generation.context if generation is not None else None,
        "node": node,
        "kernel": {**report["kernels"][kernel.kernel.index], **_kernel_data(kernel)} if kernel else None,
        "terms": [_term_data(t, explanation) for t in (*explanation.terms, *(kernel.terms if kernel else ()))],
    }


def _beside(explanation: Explanation) -> dict[str, Any] | None:
    """The node as another tool counts it; `why` says why that is nothing."""
    count, whole = explanation.beside, explanation.estimate.convention
    if count is None or whole is None:
        return None
    return {"name": whole.name, "macs": count.macs, "flops": count.flops, "why": count.why or None}


def _effective(found: NodeEffective | None) -> dict[str, Any] | None:
    if found is None:
        return None
    zeros = found.zeros
    return {
        "macs": found.macs,
        "macs_nonzero": found.macs_nonzero,
        "channels": zeros.channels if zeros is not None else None,
        "zero_channels": len(zeros.dead) if zeros is not None else None,
        "elements": zeros.elements if zeros is not None else None,
        "zero_elements": zeros.zero_elements if zeros is not None else None,
        "unread": found.unread or None,
    }


def _touched(one: Touched) -> dict[str, Any] | None:
    if one.tensor is None:
        return None
    return {
        "name": one.tensor.name,
        "stored_bytes": one.tensor.bytes,
        "bytes": one.bytes,
        "memory": one.memory,
        "why": one.why,
        "inside_kernel": one.inside,
    }


def _kernel_data(part: KernelPart) -> dict[str, Any]:
    return {
        "crossings": [
            {"symbol": c.symbol, "name": c.tensor.name, "bytes": c.bytes, "why": c.why} for c in part.crossings
        ],
        "internal": [t.name for t in part.internal],
        "absorbed": [{"name": a.name, "op": a.op, "why": a.why} for a in part.absorbed],
    }


def _term_data(term: Term, explanation: Explanation) -> dict[str, Any]:
    machine = explanation.estimate.machine
    sources = machine.profile.sources if machine is not None else {}
    operands = [
        {
            "symbol": o.symbol,
            "value": o.value,
            "unit": o.unit,
            "said": o.said,
            "key": o.key or None,
            "text": o.text or None,
            "kind": o.kind or None,
            "source": sources.get(o.source, o.source) or None,
            "note": o.note or None,
        }
        for o in term.operands
    ]
    return {
        "name": term.name,
        "unit": term.unit,
        "value": term.value,
        "expression": term.expression,
        "numbers": term.filled,
        "operands": operands,
    }
