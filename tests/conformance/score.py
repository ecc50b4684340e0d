"""Compare a counter's answers with the vectors: which it gets right, by family and by metric.

    python tests/conformance/score.py OUT/expected.json counts.json

`counts.json` is {vector name: {"macs": …, "flops": …}}; what a tool does not answer is "missing", not wrong.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

Answers = dict[str, dict[str, int]]


def score(expected: dict[str, Any], counts: Answers) -> tuple[Counter[tuple[str, str, str]], list[str]]:
    """How often (family, metric, right | wrong | missing), and a line for each wrong answer."""
    tally: Counter[tuple[str, str, str]] = Counter()
    wrong: list[str] = []
    for vector in expected["vectors"]:
        answers = counts.get(vector["name"], {})
        for metric, value in vector["expected"].items():
            found = answers.get(metric)
            verdict = "missing" if found is None else "right" if found == value else "wrong"
            tally[vector["family"], metric, verdict] += 1
            if verdict == "wrong":
                calculation = vector["calculation"][metric]
                wrong.append(f"{vector['name']}: {metric} {found} instead of {calculation} = {value}")
    return tally, wrong


def table(tally: Counter[tuple[str, str, str]]) -> list[str]:
    """One line a family and metric."""
    rows = sorted({(family, metric) for family, metric, _ in tally})
    head = f"{'family':16}{'metric':22}{'right':>7}{'wrong':>7}{'missing':>9}"
    return [head] + [
        f"{f:16}{m:22}{tally[f, m, 'right']:7}{tally[f, m, 'wrong']:7}{tally[f, m, 'missing']:9}" for f, m in rows
    ]


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:
        sys.stderr.write("usage: python tests/conformance/score.py OUT/expected.json counts.json\n")
        return 2
    expected, counts = (json.loads(Path(a).read_text(encoding="utf-8")) for a in arguments)
    tally, wrong = score(expected, counts)
    sys.stdout.write("\n".join([*wrong, "", *table(tally)]).lstrip() + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
