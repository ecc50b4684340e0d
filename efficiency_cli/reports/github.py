"""A Verdict as workflow commands: GitHub shows them as annotations on the lines of the config.

`::error file=…,line=…,title=…::message`. A percent sign and line ends are written as GitHub wants, so that no text
of a model can end a command or begin one.
"""

from __future__ import annotations

from collections.abc import Iterator

from efficiency_cli.judge.verdict import Finding, Result, Verdict
from efficiency_cli.reports.escape import escaped
from efficiency_cli.reports.verdict_words import accept_of, counts_of, sentence, why_lines


def annotations_of(verdict: Verdict) -> str:
    """A line for everything that does not pass, and one for the whole."""
    lines = [line for result in verdict.results for line in _of_result(result, verdict)]
    lines.append(_command("notice", {"title": "effcli check"}, [counts_of(verdict)]))
    return "".join(f"{line}\n" for line in lines)


def _of_result(result: Result, verdict: Verdict) -> Iterator[str]:
    name = f"{result.path} on {result.machine}" if result.machine else result.path
    if result.error is not None:
        properties = {**_file(result.error.where[0] if result.error.where else ""), "title": result.path}
        yield _command("error", properties, [result.error.what, *result.error.where, result.error.hint])
    for finding in result.findings:
        kind = _kind(finding)
        if kind:
            yield _command(
                kind,
                {**_file(finding.budget.place), "title": f"{finding.budget.name} of {name}"},
                [sentence(finding), *why_lines(finding), _accept(finding, verdict), finding.budget.message],
            )
    for gap in result.gaps:
        yield _command("error", {"title": f"inconclusive: {name}"}, [gap])


def _kind(finding: Finding) -> str:
    if finding.status == "fail" or finding.inconclusive:
        return "error"
    return "warning" if finding.status == "warn" else ""


def _accept(finding: Finding, verdict: Verdict) -> str:
    accept = accept_of(finding, verdict)
    return f"to accept: {accept}" if accept else ""


def place_of(place: str) -> tuple[str, int, int] | None:
    """File, line and column of "effcli.yaml:9:7"; None for what is no place in a file."""
    parts = place.split(": ", 1)[0].rsplit(":", 2)
    if len(parts) == 3 and parts[1].isdecimal() and parts[2].isdecimal():
        return parts[0], int(parts[1]), int(parts[2])
    return None


def _file(place: str) -> dict[str, str]:
    found = place_of(place)
    return {"file": found[0], "line": str(found[1]), "col": str(found[2])} if found else {}


def _command(kind: str, properties: dict[str, str], lines: list[str]) -> str:
    told = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    message = "%0A".join(_data(line) for line in lines if line)
    return f"::{kind} {told}::{message}"


def _data(text: str) -> str:
    # `escaped` leaves no line end to write as %0D or %0A
    return escaped(text).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
