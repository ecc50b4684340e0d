"""Mutation fuzzing at length, kept out of CI: `python tests/fuzz/run.py --inputs 20000 --seed 1`.

Prints the figures and every finding once, with the label SEED/NUMBER that brings it back:
`--seed SEED --first NUMBER --inputs 1`, or `--write MODEL.onnx` with these to have the file.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fuzz_bombs import all_bombs
from fuzz_mutations import mutant
from fuzz_parent import Summary, run_bombs, run_mutants


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--bombs", nargs="*", metavar="NAME", help="these bombs (all of them without a name) instead")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write input --first of --seed and run nothing")
    options = parser.parse_args()
    if options.write is not None:
        options.write.write_bytes(mutant(options.seed, options.first))
        return 0
    if options.bombs is not None:
        summary = run_bombs(options.bombs or list(all_bombs()), _progress)
    else:
        summary = run_mutants(options.seed, options.first, options.inputs, _progress)
    _show(summary)
    return 1 if summary.findings else 0


def _progress(summary: Summary) -> None:
    labels = ", ".join(f.label for f in summary.findings[-3:])
    ends = f" (the last: {labels})" if labels else ""
    say = f"{summary.inputs:,} inputs, {len(summary.findings)} findings{ends}, {summary.wall_s:,.0f} s"
    print(say, file=sys.stderr, flush=True)


def _show(summary: Summary) -> None:
    seen: dict[tuple[str, ...], list[str]] = {}
    details: dict[tuple[str, ...], str] = {}
    for finding in summary.findings:
        # the same place in the program is the same finding
        places = tuple(line.strip() for line in finding.details.splitlines() if line.strip().startswith("File "))[-3:]
        key = places or (finding.what,)
        seen.setdefault(key, []).append(finding.label)
        details.setdefault(key, f"{finding.what}\n{finding.details}")
    for key, labels in seen.items():
        print(f"=== {len(labels)} × (inputs {', '.join(labels[:8])})\n{details[key]}\n")
    print(summary.text())


if __name__ == "__main__":
    sys.exit(main())
