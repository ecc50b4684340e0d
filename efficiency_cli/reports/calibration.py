"""A Calibration as table, Markdown or JSON, for `effcli calibrate`: how good it is, what moved, what was written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from efficiency_cli.quantity import format_time
from efficiency_cli.reports.calibration_data import data_of, runtime_data
from efficiency_cli.reports.escape import escaped, markdown_code, markdown_text, signs
from efficiency_cli.reports.grid import INDENT, Column, flowed, grid
from efficiency_cli.reports.validation import (
    extent_of,
    figures_table,
    group_columns,
    percent,
    reason_lines,
    reasons_of,
    rows_text,
    signed,
    title_lines,
    without_title,
    wrapped,
)

if TYPE_CHECKING:
    from efficiency_cli.measure.calibrate import Calibration
    from efficiency_cli.measure.calibration import Fitted
    from efficiency_cli.measure.validate import Result, Summary
    from efficiency_cli.measure.why import Remark
    from efficiency_cli.reports.calibration_format import FittedParameter
    from efficiency_cli.reports.view import View

_LABEL = 11
# above this, what was fitted is hard to tell apart (Belsley, Kuh and Welsch, Regression Diagnostics, 1980)
_CONDITION = 30
_STAGES = (("before", "profile as it was"), ("after", "with the fit"), ("left_out", "family left out"))
# what people call the parts of a fit
_PART = {
    "dense": "dense MACs",
    "vector": "element-wise work",
    "memory": "moving data",
    "kernel": "starting kernels",
    "run": "starting a run",
}


def formats() -> tuple[str, ...]:
    return "table", "json", "markdown"


def text_of(format: str, found: Calibration, runs: Sequence[str], written: Mapping[str, str], view: View) -> str:
    """The calibration to `runs` in one of `formats`; `written` is the new file by the path of the profile below it."""
    if format == "json":
        return json.dumps(data_of(found, runs, written), indent=2, allow_nan=False) + "\n"
    lines = _markdown(found, runs, view) if format == "markdown" else _table(found, runs, written, view)
    return "".join(f"{line}\n" for line in lines)


def notes_of(found: Calibration) -> list[str]:
    """What a person must know of the rows: repeats, and those that could not be judged or not be reached."""
    notes = []
    if found.repeats:
        notes.append(f"{rows_text(found.repeats)}: a repeat of another, to the digit: used once")
    if found.alone and found.unseen.results:
        said = "no other family of networks was measured with this runtime: not in 'family left out'"
        notes.append(f"{rows_text(len(found.alone))}: {said}")
    if found.bounded:
        said = "measured faster than the profile's peaks allow: are clock and peaks right?"
        notes.append(f"{rows_text(len(found.bounded))}: {said}")
    for fast, slow in found.contradictions:
        what = f"{escaped(fast.run.onnx)} on {fast.profile.id} with {fast.runtime}"
        times = f"{format_time(fast.run.measured_s)} and {format_time(slow.run.measured_s)}"
        notes.append(f"{what} was measured at {times}: is one of them wrong?")
    return notes


# --- the table ---------------------------------------------------------------------------------


def _table(found: Calibration, runs: Sequence[str], written: Mapping[str, str], view: View) -> Iterator[str]:
    yield from title_lines(", ".join(runs), extent_of(found.before), view)
    yield ""
    yield from grid(_stage_columns(found), view.width, view.unicode)
    if not found.unseen.results:
        yield from flowed("", ["no family could be left out: these are of one"], view.width, 0)
    yield ""
    yield from _fitted(found, view)
    families = found.judged.groups("family")
    if found.unseen.results:
        yield ""
        yield from grid(group_columns("family left out", families), view.width, view.unicode)
    rows = _worst(found, view.top)
    yield from ("", _worst_title(found, len(rows)))
    yield from grid(_worst_columns(rows), view.width, view.unicode)
    if found.before.unplaced:
        yield from ("", without_title(found.before))
        yield from reason_lines(found.before, view)
    yield ""
    yield from _use(found, written, view)


def _stages(found: Calibration) -> list[tuple[str, Summary]]:
    validations = {"before": found.before, "after": found.after, "left_out": found.unseen}
    return [(title, whole) for key, title in _STAGES if (whole := validations[key].overall) is not None]


def _stage_columns(found: Calibration) -> list[Column]:
    stages = _stages(found)
    _, *columns = group_columns("", [whole for _, whole in stages])
    return [Column("error", [title for title, _ in stages]), *(c for c in columns if c.title != "rank")]


def _fitted(found: Calibration, view: View) -> Iterator[str]:
    """The runtimes; the ratios of each, those shared with another once."""
    if len(found.fitted) > 1:
        yield from grid(_runtime_columns(found.fitted), view.width, view.unicode)
    seen: set[str] = set()
    for one in found.fitted:
        share = one.cases[0].share
        if len(found.fitted) > 1 and (share in seen or (len(seen) > 1 and not view.verbose)):
            continue
        seen.add(share)
        if len(found.fitted) > 1:
            yield ""
        yield from _parameters(one, view)
    more = len({one.cases[0].share for one in found.fitted} - seen)
    if more:
        yield from ("", f"{INDENT}{more:,} more of these, one for each runtime: -v")
    fit = found.fit
    if not any(one.moved for one in found.fitted):
        return
    told = "hard to tell apart" if fit.condition > _CONDITION else "1 is best, 30 hard to tell apart"
    yield from flowed("Condition", [f"{fit.condition:.3g}", told], view.width, _LABEL)


def _runtime_columns(fitted: Sequence[Fitted]) -> list[Column]:
    data = [runtime_data(one) for one in fitted]
    scales = [d["parameters"][0] for d in data]
    return [
        Column("machine", [d["hardware"] for d in data], shrinks=True),
        Column("runtime", [d["runtime"] for d in data], shrinks=True),
        Column("n", [str(d["measurements"]) for d in data], right=True),
        Column("models", [str(d["models"]) for d in data], right=True, drop=3),
        Column("scale was", [s["was"] for s in scales], right=True, drop=2),
        Column("is", [s["now"] for s in scales], right=True),
        Column("sd", [percent(s["sd"]) for s in scales], right=True, drop=1),
        Column("left out", [percent(d["held_out_error"]) for d in data], right=True),
        Column("interval", [_interval(d["interval"]) for d in data], right=True, drop=4),
    ]


def _interval(factors: Sequence[float]) -> str:
    return " – ".join(f"{f:.2f}" for f in factors)


def _parameters(one: Fitted, view: View) -> Iterator[str]:
    data = runtime_data(one)
    moved = [p for p in data["parameters"] if not p["refused"]]
    head = f"{data['hardware']}, {data['runtime']}"
    yield from grid(_parameter_columns(head, moved), view.width, view.unicode)
    for refused in dict.fromkeys(p["refused"] for p in data["parameters"] if p["refused"]):
        names = ", ".join(_part(p["name"]) for p in data["parameters"] if p["refused"] == refused)
        yield from wrapped(f"{INDENT}{'Not fitted':<{_LABEL}}", f"{names}: {refused}", view.width)
    if len(moved) == len(data["parameters"]) == 1:
        said = "all else: for ratios, measure networks of 3 families"
        yield from wrapped(f"{INDENT}{'Not fitted':<{_LABEL}}", said, view.width)
    yield from flowed("Interval", [_signs(f"{_interval(data['interval'])} of the estimate", view)], view.width, _LABEL)


def _parameter_columns(head: str, parameters: Sequence[FittedParameter]) -> list[Column]:
    return [
        Column(head, [_part(p["name"]) for p in parameters]),
        Column("costs", [f"{p['factor']:.3g} x" for p in parameters], right=True),
        Column("sd", [percent(p["sd"]) for p in parameters], right=True, drop=1),
        Column("was", [p["was"] for p in parameters], right=True, drop=2),
        Column("is", [p["now"] for p in parameters], right=True, drop=2),
    ]


def _part(name: str) -> str:
    return _PART.get(name, name)


def _worst(found: Calibration, top: int | None) -> list[tuple[Result, Remark]]:
    """The furthest off first, whatever the sign."""
    pairs = list(zip(found.judged.results, found.remarks, strict=True))
    return sorted(pairs, key=lambda p: -abs(p[0].error))[:top]


def _worst_title(found: Calibration, shown_rows: int) -> str:
    how = "with their family left out" if found.unseen.results else "with the fit"
    return f"Furthest off {how}, {shown_rows:,} of {len(found.judged.results):,}"


def _worst_columns(rows: Sequence[tuple[Result, Remark]]) -> list[Column]:
    runs = [r.placed.run for r, _ in rows]
    return [
        Column("model", [r.onnx for r in runs], shrinks=True),
        Column("machine", [r.placed.profile.id for r, _ in rows], drop=3, shrinks=True),
        Column("runtime", [r.placed.runtime for r, _ in rows], drop=4, shrinks=True),
        Column("measured", [format_time(r.measured_s) for r in runs], right=True, drop=2),
        Column("estimate", [format_time(r.latency.expected_s) for r, _ in rows], right=True, drop=2),
        Column("error", [signed(r.error) for r, _ in rows], right=True),
        Column("most of its time", [_why(w) for _, w in rows], drop=1),
    ]


def _why(remark: Remark) -> str:
    told = f"{_part(remark.part)} {percent(remark.share)}"
    if remark.most is not None:
        told += f", {percent(remark.most)} at most in others"
    if remark.longer is not None:
        length = f"{remark.longer:.1f} x the longest" if remark.longer > 1 else f"{remark.longer:.2g} x the shortest"
        told += f", {length} of others"
    return told


def _use(found: Calibration, written: Mapping[str, str], view: View) -> Iterator[str]:
    files = list(dict.fromkeys(written[one.profile.path] for one in found.fitted if one.profile.path in written))
    for path in files:
        yield from flowed("Written", [escaped(path, view.unicode)], view.width, _LABEL)
    if files:
        named = files[0] if "/" in files[0] or "\\" in files[0] else f"./{files[0]}"
        yield from flowed("Use it", [f"effcli analyze MODEL --hw {escaped(named, view.unicode)}"], view.width, _LABEL)
    else:
        many = len({one.profile.path for one in found.fitted}) > 1
        where = "a folder, for a file a machine: -o profiles/" if many else "-o my-board.yaml"
        yield from flowed("Written", ["nothing; to keep it:", where], view.width, _LABEL)


def _signs(text: str, view: View) -> str:
    return signs(text, view.unicode)


# --- Markdown ----------------------------------------------------------------------------------


def _markdown(found: Calibration, runs: Sequence[str], view: View) -> Iterator[str]:
    yield from figures_table("estimates", [_named(title, whole) for title, whole in _stages(found)])
    yield ""
    named = ", ".join(map(markdown_code, runs))
    yield f"{named}: {markdown_text(extent_of(found.before))}. Error = estimate / measurement - 1."
    yield ""
    for one in found.fitted:
        data = runtime_data(one)
        yield f"| {markdown_text(data['hardware'])}, {markdown_text(data['runtime'])} | costs | sd | was | is |"
        yield "|---|---:|---:|---:|---:|"
        for p in data["parameters"]:
            cells = (f"{p['factor']:.3g} x", percent(p["sd"]), p["was"], p["now"])
            shown = cells if not p["refused"] else ("stays", "", p["was"], p["now"])
            yield f"| {_part(p['name'])} | {' | '.join(shown)} |"
        yield ""
    yield from figures_table("family", found.judged.groups("family"))
    yield ""
    yield from _folded_rows(found, view)
    if found.before.unplaced:
        yield from (f"<details><summary>{without_title(found.before)}</summary>", "")
        yield from (f"- {n:,}: {markdown_text(reason)}" for n, reason in reasons_of(found.before))
        yield from ("", "</details>")


def _named(title: str, whole: Summary) -> Summary:
    from msgspec.structs import replace

    return replace(whole, by="stage", key=title)


def _folded_rows(found: Calibration, view: View) -> Iterator[str]:
    rows = _worst(found, view.top)
    columns = _worst_columns(rows)
    yield from (f"<details><summary>{_worst_title(found, len(rows))}</summary>", "")
    yield f"| {' | '.join(c.title for c in columns)} |"
    yield f"|{'|'.join('---:' if c.right else '---' for c in columns)}|"
    for name, *cells in zip(*(c.cells for c in columns), strict=True):
        yield f"| {' | '.join([markdown_code(name), *map(markdown_text, cells)])} |"
    yield from ("", "</details>", "")
