"""The text of a new profile, to be filled in: `effcli hw new`.

It loads as it stands; lint points at every placeholder that is left.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from efficiency_cli.errors import UsageError
from efficiency_cli.hardware.build import ID
from efficiency_cli.hardware.kinds import DTYPES, EFFICIENCY_KEYS
from efficiency_cli.hardware.load import find_profile, load_profile
from efficiency_cli.hardware.profile import FUSIONS

_TEXT = """\
# A machine for effcli. The file's name without .yaml is its id: {id}
# Every number says its value with unit, where it is from, and what kind of number it is:
#   datasheet | measured | derived (computed from the source) | calibrated (fitted to measurements)
# Check it: effcli hw lint {id}.yaml        The format: effcli schema profile
schema_version: 1
# base: cortex-m7                # everything not said here is as in that profile: a board needs its clock and sizes
name: TODO chip and clock
aliases: []                      # other names to find it by
class: mcu                       # mcu | cpu | gpu | npu
description: TODO one line
sources:                         # short key -> document, revision, page or table, address
  doc: "TODO document, revision, page or table, address"

# resolves OP/cycle, B/cycle and cycles below; leave it out if nothing is given in cycles
clock: {{value: 100 MHz, source: doc, kind: datasheet}}

# Dense peaks (never sparse ones) of the whole machine as used, by data type. One MAC = 2 OP.
#   matrix: multiply-accumulate work   vector: everything else (leave out: as matrix)
#   types: {dtypes}
compute:
  int8:
    matrix: {{value: 2 OP/cycle, source: doc, kind: derived, note: "one MAC a cycle"}}
    vector: {{value: 1 OP/cycle, source: doc, kind: derived}}
  float32:
    matrix: {{value: 2 OP/cycle, source: doc, kind: derived}}

# Nearest to the arithmetic first. Sizes in KiB, MiB, GiB; bandwidths in GB/s or B/cycle.
#   holds: what may live here while a network runs
#   kind: memory (filled by the software; what does not fit spills) | cache; by the class unless said
#   port: what the bus to it could carry
memory:
  sram:
    size: {{value: 256 KiB, source: doc, kind: datasheet}}
    bandwidth: {{value: 4 B/cycle, source: doc, kind: derived}}
    holds: [activations]
  flash:
    size: {{value: 1 MiB, source: doc, kind: datasheet}}
    bandwidth: {{value: 2 B/cycle, source: doc, kind: derived}}
    holds: [weights]

# How much of that a software stack reaches. Without efficiencies the estimate is the roofline.
runtime: default                 # the one used when none is named
runtimes:
  default:
    name: TODO name and version
    grade: datasheet             # datasheet | calibrated | measured
    dtype: int8                  # the type it is meant for
    # 1: computing and moving data overlap perfectly (roofline); 0: they add up
    overlap: {{value: 0, source: doc, kind: derived}}
    # base: another              # another runtime of this profile: what is not said here is as there
    # product: X-CUBE-AI         # its name and versions in tables of measurements
    # versions: ["9", "10"]
    # skips: zero-channels       # its converter drops channels whose weights are all zero; padding: products on it
    # dispatch:
    #   kernel: {{value: 1000 cycles, source: doc, kind: measured}}
    #   run: {{value: 20 µs, source: doc, kind: measured}}
    #   classes:
    #     softmax: {{value: 2 µs, source: doc, kind: measured}}
    # scale: {{value: 1.1, source: doc, kind: calibrated}} # factor on all of its times
    # tiles:                     # blocks of a matrix unit: m positions, n output channels, k products
    #   dense: {{m: {{value: 16, source: doc, kind: datasheet}}, n: {{value: 16, source: doc, kind: datasheet}}}}
    # half_sizes:                # products of these sizes reach half the rate of large ones
    #   gemm: {{m: {{value: 8, source: doc, kind: measured}}, n: {{value: 16, source: doc, kind: measured}}}}
    # channel_block: {{value: 16, source: doc, kind: measured}} # other numbers of channels: unblocked-depthwise
    # efficiency:                # fraction of the peak; `memory`: of the bandwidth
    #   dense: {{value: 0.5, source: doc, kind: measured}}
    #   classes: {classes}
    # traffic:                   # fraction of the bandwidth that a class or operator reaches, instead of `memory`
    #   Transpose: {{value: 0.3, source: doc, kind: measured}}
    # fusion: [fold-batchnorm, activation]
    #   patterns: {fusions}
    # interval:                  # factors on the expected time that hold 80 % of runs
    #   lower: {{value: 0.5, source: doc, kind: derived}}
    #   upper: {{value: 3, source: doc, kind: derived}}

# energy:
#   active_power: {{value: 50 mW, source: doc, kind: measured}} # or nJ/cycle, which follows the clock
#   interval: {{lower: {{value: 0.67, source: doc, kind: derived}}, upper: {{value: 2.3, source: doc, kind: derived}}}}
#   static_power: {{value: 1 mW, source: doc, kind: datasheet}}
#   per_op: {{int8: {{value: 5 pJ/OP, source: doc, kind: measured}}}}
#   per_byte: {{sram: {{value: 2 pJ/B, source: doc, kind: measured}}}}
"""


def new_profile_text(id_: str, based_on: str | None = None, hw_dirs: Iterable[str | Path] = ()) -> str:
    """A commented YAML for a profile called `id_`, empty or a copy of `based_on`.

    Raises UsageError for an id that cannot be a file name, ProfileError for an unknown `based_on`.
    """
    if not ID.fullmatch(id_):
        hint = "use letters, digits, '-' and '_': effcli hw new my-board"
        raise UsageError(f"'{id_}' cannot be a profile's id", hint=hint)
    if based_on is None:
        names = (", ".join(values) for values in (DTYPES, EFFICIENCY_KEYS, FUSIONS))
        return _TEXT.format(id=id_, **dict(zip(("dtypes", "classes", "fusions"), names, strict=True)))
    dirs = tuple(hw_dirs)
    original = load_profile(based_on, dirs)
    text = find_profile(based_on, dirs).read_text(encoding="utf-8")
    head = f"# {id_}, begun as a copy of {original.id}: change what differs, and its sources.\n"
    return head + _renamed(text)


def _renamed(text: str) -> str:
    """Without the aliases, which still belong to the original, and with its name to be replaced."""
    text = re.sub(r"(?m)^aliases:.*\n(?:[ -].*\n)*", "", text)
    return re.sub(r"(?m)^name: *[\"']?", lambda m: f"{m[0]}TODO, was ", text, count=1)
