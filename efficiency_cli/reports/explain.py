"""An Explanation as text, Markdown or JSON, for `effcli explain`; not one of the formats of an Estimate.

Text and Markdown are the same sections of lines. Arithmetic is printed so that it can be pasted into a
calculator; each term's result has seven digits, and is rounded for reading behind that.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from efficiency_cli.quantity import format_count, format_energy, format_percent, format_time
from efficiency_cli.reports.escape import escaped, markdown_code, shown, signs
from efficiency_cli.reports.explain_data import data_of
from efficiency_cli.reports.prose import Line, broken, wrapped
from efficiency_cli.roofline.latency import outside_calibration
from efficiency_cli.roofline.terms import Operand, Term, written

if TYPE_CHECKING:
    from efficiency_cli.graph.model import Tensor
    from efficiency_cli.graph.receptive_field import Field
    from efficiency_cli.reports.view import View
    from efficiency_cli.roofline.around import Touched
    from efficiency_cli.roofline.conventions import NodeCount
    from efficiency_cli.roofline.effective import NodeEffective
    from efficiency_cli.roofline.explain import Explanation, KernelPart
    from efficiency_cli.roofline.latency import Machine

# prose is wrapped to this, names never are
WIDTH = 80
# of nodes, kernels and tensors that lists in text name; JSON has all
_MOST = 12
Section = tuple[str, list[Line]]


def formats() -> tuple[str, ...]:
    return "table", "json", "markdown"


def text_of(format: str, explanations: Sequence[Explanation], view: View) -> str:
    """The explanations in one of `formats`."""
    if format == "json":
        return _json(explanations)
    if format == "markdown":
        return "\n".join(_markdown(e) for e in explanations)
    width = min(WIDTH, view.width or WIDTH)
    return "\n".join(_table(e, width, view.unicode) for e in explanations)


def _json(explanations: Sequence[Explanation]) -> str:
    parts = [data_of(e) for e in explanations]
    head = {k: parts[0][k] for k in ("schema_version", "tool", "command")}
    data = parts[0] if len(parts) == 1 else {**head, "results": parts}
    return json.dumps(data, indent=2, allow_nan=False) + "\n"


def _table(explanation: Explanation, width: int, unicode: bool) -> str:
    parts = [_title(explanation)]
    for title, lines in _sections(explanation):
        parts += ["", title, *(f"  {line}".rstrip() for line in broken(lines, width - 2))]
    return "".join(f"{escaped(signs(line, unicode), unicode)}\n" for line in parts)


def _markdown(explanation: Explanation) -> str:
    """Code blocks: nothing acts in them, and their fence is longer than any run of backticks inside."""
    parts = [f"### {markdown_code(_title(explanation))}"]
    for title, lines in _sections(explanation):
        body = "\n".join(escaped(line) for line in broken(lines, WIDTH - 2))
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", body)), default=0))
        parts += ["", f"#### {markdown_code(title)}", "", f"{fence}text", body, fence]
    return "\n".join(parts) + "\n"


# --- text --------------------------------------------------------------------------------------


def _title(explanation: Explanation) -> str:
    estimate = explanation.estimate
    node, machine = explanation.counted.node, estimate.machine
    on = f" on {machine.profile.id} ({machine.runtime.id})" if machine is not None else ""
    phase = f"; {estimate.generation.told}" if estimate.generation is not None else ""
    return f"{shown(node.name)} ({shown(node.key)}) in {shown(estimate.model.path)}{on}{phase}"


def _sections(explanation: Explanation) -> Iterator[Section]:
    if explanation.kernel is not None and explanation.kernel.time is not None:
        yield "Result", list(_result(explanation, explanation.kernel))
    yield "Operands", list(_operands(explanation))
    yield "Work", list(_work(explanation))
    if explanation.beside is not None and explanation.estimate.convention is not None:
        yield explanation.estimate.convention.name, list(_convention(explanation.beside, explanation))
    if explanation.bodies:
        yield "Bodies", [_body(b.path, b.repeat, b.nodes, b.macs, b.ops) for b in explanation.bodies]
    if explanation.fields:
        yield "Receptive field", [line for name, f in explanation.fields.items() for line in _field(name, f)]
    if explanation.kernel is None:
        yield "Kernel", list(_without_kernel(explanation))
        return
    kernel = explanation.kernel.kernel
    yield f"Kernel #{kernel.index}: {shown(kernel.name)} ({shown(kernel.op)})", list(_kernel(explanation.kernel))
    yield from _machine(explanation, explanation.kernel)


def _operands(explanation: Explanation) -> Iterator[Line]:
    sides = (("input", explanation.inputs), ("output", explanation.outputs))
    for side, touched in sides:
        for one in touched:
            yield from _operand(f"{side} {one.slot}", one)


def _operand(label: str, one: Touched) -> Iterator[Line]:
    if one.tensor is None:
        yield f"{label}  omitted"
        return
    yield f"{label}  {shown(one.tensor.name)}"
    yield f"    {_described(one.tensor)}, {one.tensor.bytes:,} B"
    if one.why:
        moved = f"touches {one.bytes:,} B: " if one.bytes else ""
        yield from wrapped(f"    {moved}{shown(one.why)}", "    ")
    if one.memory != one.tensor.name:
        yield f"    in memory: {shown(one.memory)}"
    if one.inside:
        yield "    stays inside its kernel"


def _described(tensor: Tensor) -> str:
    dtype = tensor.dtype.value if tensor.dtype is not None else "unknown type"
    bounded = ", at most" if tensor.bounded else ""
    return f"{dtype} {_shape(tensor)}{bounded}, {tensor.kind.value}"


def _shape(tensor: Tensor) -> str:
    if tensor.shape is None:
        return "of unknown shape"
    return "×".join(map(str, tensor.shape)) or "scalar"


def _work(explanation: Explanation) -> Iterator[Line]:
    counted, dense, work = explanation.counted, explanation.dense, explanation.counted.work
    if counted.absorbed:
        yield from wrapped(f"nothing of its own: {shown(counted.absorbed)}")
        yield f"on its own it would be {dense.macs:,} MACs, {dense.ops:,} OPs"
    if explanation.formula:
        yield from wrapped(f"formula     {shown(explanation.formula)}")
    yield f"MACs        {counted.macs:,}{_of_repeats(work.macs, counted.repeat)}"
    if dense.valid_macs is not None:
        what = "counted dense" if work.macs == dense.macs else "and so counted"
        yield f"valid MACs  {dense.valid_macs:,} not on padding or behind a mask; {what}"
    if explanation.estimate.effective is not None and counted.macs:
        yield from wrapped(f"effective   {_effective(explanation.effective)}")
    yield f"OPs         {counted.ops:,}"
    for term in explanation.terms if not counted.absorbed else ():
        yield from _term(term)
    for operand in _counts(explanation):
        yield from wrapped(f"    {operand.symbol}: {operand.said}", "        ")
    yield f"parameters  {explanation.parameters:,}"
    yield f"computes in {counted.compute_dtype}, class {work.op_class.value}"
    if work.note:
        yield from wrapped(f"note        {shown(work.note)}")
    if not work.modelled:
        yield "no cost rule: its operations are not counted, its bytes are"
        yield "            give it one: --ops FILE; see: effcli help counting"
    first, *others = explanation.convention or ("",)
    yield from wrapped(f"convention  {escaped(first)}")
    for paragraph in others:
        yield from wrapped(f"            {escaped(paragraph)}")
    yield f"rule        {explanation.rule}"


def _effective(found: NodeEffective | None) -> str:
    """What is left of the MACs without zero weights."""
    if found is None:
        return "all of them: it multiplies by no stored weight"
    if found.zeros is None:
        return f"not known: {shown(found.unread)}"
    dead, zeros = len(found.zeros.dead), found.zeros
    return (
        f"{found.macs:,} MACs without channels that are all zero ({dead:,} of {zeros.channels:,} of its weight are) or "
        f"constant for that; {found.macs_nonzero:,} without zero weights ({zeros.zero_elements:,} of "
        f"{zeros.elements:,} are)"
    )


def _convention(node: NodeCount, explanation: Explanation) -> Iterator[Line]:
    """This node and the whole network as another tool counts them, and what that tool does otherwise."""
    whole = explanation.estimate.convention
    assert whole is not None
    yield from wrapped(f"node        {node.why or _as_counted(node.macs, node.flops)}")
    yield f"network     {_as_counted(whole.macs, whole.flops)}, {whole.parameters:,} parameters"
    for difference in (*whole.differences, f"source: {whole.source}"):
        yield from wrapped(f"- {shown(difference)}", "  ")


def _as_counted(macs: int | None, flops: int) -> str:
    return f"{flops:,} FLOPs" if macs is None else f"{macs:,} MACs, {flops:,} FLOPs"


def _counts(explanation: Explanation) -> Iterator[Operand]:
    """What the node's own terms start from, each once."""
    found = {o.symbol: o for t in explanation.terms for o in t.operands if o.value}
    yield from found.values()


def _of_repeats(once: int, repeat: int) -> str:
    return f"  ({once:,} in each of {repeat:,} runs)" if repeat != 1 else ""


def _body(path: str, repeat: int, nodes: int, macs: int, ops: int) -> str:
    return f"{shown(path)}: {repeat:,} runs, {nodes:,} nodes, in all {macs:,} MACs, {ops:,} OPs"


def _field(name: str, field: Field) -> Iterator[Line]:
    """Extents by axis, and their geometry."""
    yield f"{_extent(field.size)} at {shown(name)}, of {shown(field.input)}"
    yield f"    stride {_numbers(field.stride)}, start {_numbers(field.start)}, padding {_numbers(field.padding)}"
    if field.unbounded_by:
        yield f"    all of it through {shown(field.unbounded_by)}; {_extent(field.bounded_size)} below that"


def _extent(size: Sequence[float]) -> str:
    return "×".join(f"{math.ceil(s)}" if math.isfinite(s) else "all" for s in size)


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{v:g}" for v in values)


def _without_kernel(explanation: Explanation) -> Iterator[Line]:
    if explanation.bodies:
        yield "none: its bodies' nodes are kernels of their own"
    elif explanation.counted.absorbed:
        yield "none of its own"
    else:
        yield "none: nothing is computed or moved"
    for words, kernels in (
        ("its input is made in", explanation.made_by),
        ("its output is used in", explanation.used_by),
    ):
        if kernels:
            more = f" and {len(kernels) - _MOST} more" if len(kernels) > _MOST else ""
            yield f"{words} {', '.join(f'#{k}' for k in kernels[:_MOST])}{more}"
    if explanation.made_by or explanation.used_by:
        first = (*explanation.made_by, *explanation.used_by)[0]
        path = shown(shlex.quote(explanation.estimate.model.path))
        yield f"see: effcli explain {path} '#{first}'"


def _kernel(part: KernelPart) -> Iterator[Line]:
    kernel = part.kernel
    yield from _named(
        "nodes", [f"{shown(n)} ({shown(o)})" for n, o in zip(kernel.nodes, kernel.ops_named, strict=True)]
    )
    dtype = f" in {kernel.dtype.value}" if kernel.dtype is not None else ""
    runs = f", {kernel.repeat:,} runs" if kernel.repeat != 1 else ""
    yield f"runs as {kernel.op_class.value}{dtype}{runs}"
    if not kernel.modelled:
        yield "holds operators without a cost rule: their operations are not counted"
    yield "what crosses its border in one run"
    for crossing in part.crossings:
        yield f"  {crossing.symbol:<11} {crossing.bytes:>13,} B  {shown(crossing.tensor.name)}"
        yield from wrapped(f"      {_described(crossing.tensor)}: {shown(crossing.why)}", "        ")
    yield from _named("stays inside", [shown(t.name) for t in part.internal])
    yield from _named("absorbed", [f"{shown(a.name)} ({shown(a.op)}): {shown(a.why)}" for a in part.absorbed])
    for term in part.terms[:4]:
        yield from _term(term)


def _named(label: str, names: Sequence[str]) -> Iterator[Line]:
    if names:
        yield label
    for name in names[:_MOST]:
        yield from wrapped(f"  {name}", "      ")
    if len(names) > _MOST:
        yield f"  and {len(names) - _MOST} more"


def _machine(explanation: Explanation, part: KernelPart) -> Iterator[Section]:
    machine, time = explanation.estimate.machine, part.time
    if machine is None or time is None:
        yield "Time", ["no machine was named: --hw ID; list them: effcli hw list"]
        return
    terms = part.terms[4:]
    yield "Numbers of the machine", list(_machine_numbers(terms))
    yield "Time", [line for term in terms for line in _term(term)]
    keys = dict.fromkeys(o.source for t in terms for o in t.operands if o.source in machine.profile.sources)
    found = [line for key in keys for line in wrapped(f"{key}: {escaped(machine.profile.sources[key])}", "    ")]
    if found:
        yield "Sources", found


def _machine_numbers(terms: Sequence[Term]) -> Iterator[Line]:
    """Every number that is not counted and not a term's result, once."""
    results = {t.name for t in terms}
    found: dict[str, Operand] = {}
    for operand in (o for t in terms for o in t.operands):
        if operand.symbol not in results and operand.said != "counted above":
            found.setdefault(operand.symbol, operand)
    width = max(map(len, found), default=0)
    for operand in found.values():
        yield from _number(operand, width)


def _number(operand: Operand, width: int) -> Iterator[Line]:
    value = f"{operand.text or written(operand.value)}{'' if operand.text else ' ' + operand.unit}".rstrip()
    said = f"  {escaped(operand.said)}" if operand.said else ""
    yield from wrapped(f"{operand.symbol:<{width}}  {escaped(value)}{said}", "    ")
    if operand.key:
        note = f": {escaped(operand.note)}" if operand.note else ""
        yield from wrapped(f"    {escaped(operand.key)} ({operand.kind}, {escaped(operand.source)}){note}", "    ")
    elif operand.source:
        yield f"    given: {operand.source}"


def _term(term: Term) -> Iterator[Line]:
    """name = expression / = numbers / = result."""
    result = f"= {written(term.value)}{f' {term.unit}' if term.unit else ''}{_rounded(term)}"
    if not term.operands:
        yield f"{term.name} {result}"
        return
    yield from wrapped(f"{term.name} = {term.expression}", "    ")
    if term.filled != written(term.value):
        yield from wrapped(f"  = {term.filled}", "    ")
    yield f"  {result}"


_READ: dict[str, Callable[[float], str]] = {"s": format_time, "J": format_energy, "": format_percent}


def _rounded(term: Term) -> str:
    """The result for reading, where that says more than its digits."""
    if isinstance(term.value, int) and term.value < 1000:
        return ""
    read = _READ.get(term.unit)
    return f"  ({read(term.value) if read else format_count(term.value, term.unit)})"


def _result(explanation: Explanation, part: KernelPart) -> Iterator[Line]:
    time, estimate = part.time, explanation.estimate
    assert time is not None
    assert estimate.machine is not None
    times, kernel = time.times, part.kernel
    alone = "alone" if len(kernel.nodes) == 1 else f"with {len(kernel.nodes) - 1} more"
    yield f"kernel #{kernel.index}, in which the node runs {alone}"
    yield f"bound {format_time(times.bound_s)}   expected {format_time(times.expected_s)}"
    yield f"80 % of runs: {format_time(times.lower_s)} to {format_time(times.upper_s)}"
    yield f"limited by {time.bound_by}{_margin(time.bound_by, time.compute_s, time.memory_s, time.overhead_s)}"
    yield from _trust(estimate.machine, estimate.dtype)
    if part.energy_j is not None:
        yield f"energy {format_energy(part.energy_j)}"


def _trust(machine: Machine, dtype: str) -> Iterator[Line]:
    """The runtime's grade and what it rests on; that of another data type says nothing of this network."""
    runtime = machine.runtime
    fit = runtime.calibration
    if outside_calibration(machine, dtype):
        yield f"grade {runtime.grade} in {runtime.dtype}, not in {dtype}"
    elif fit is None:
        yield f"grade {runtime.grade}"
    else:
        held_out = fit.held_out_error
        error = "none" if held_out is None else format_percent(held_out)
        counts = f"{fit.measurements:g} measurements of {fit.models:g} networks"
        yield f"grade {runtime.grade}: {counts}, held-out error {error}"
        yield from wrapped(f"    {escaped(fit.source)}", "    ")


def _margin(winner: str, compute_s: float, memory_s: float, overhead_s: float) -> str:
    """By how much it leads the next, which is named."""
    parts = {"compute": compute_s, "memory": memory_s, "overhead": overhead_s}
    first = parts.pop(winner)
    second = max(parts, key=lambda name: parts[name])
    if not parts[second]:
        return ", nothing else takes time"
    return f": {first / parts[second]:.3g} × {second}"
