"""The options that several commands share, in groups; each group reaches the command as one object.

    @options.model          adds --dim --shape --batch --dtype …   and passes  sizes: ModelOptions
    @options.stored_model   the same without --dtype and the like
    @options.counting       adds --count --branch --trip --ops …     and passes  counting: CountingOptions
    @options.choosing       those of them that change the counts, passed under the same name
    @options.phase          adds --phase --context                   and passes  phase: PhaseOptions
    @options.memory         adds --memory --order                    and passes  memory: MemoryOptions
    @options.hardware       adds --hw --runtime --set …       and passes  hardware: HardwareOptions
    @options.output(...)    adds --format --color -q -v       and passes  output: OutputOptions

Every option has an environment twin: --hw-dir is EFFCLI_HW_DIR. Lists are split at commas there.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from efficiency_cli.commands import as_if, fusing, values
from efficiency_cli.commands.declare import gathered
from efficiency_cli.commands.declare import option as option  # commands take it from here
from efficiency_cli.commands.output import OutputOptions
from efficiency_cli.errors import MissingDimension, UsageError, did_you_mean

if TYPE_CHECKING:
    from efficiency_cli.costs.control_flow import Choices
    from efficiency_cli.graph.binding import Propose
    from efficiency_cli.graph.model import Model
    from efficiency_cli.hardware.profile import Profile
    from efficiency_cli.roofline.phases import Phase

# loops named in an error
_MOST_NAMED = 10
# the words of `reports.view`, which is not imported for a help text; a test compares them
GROUPS = ("kernel", "node", "op", "block")
SORTS = ("time", "macs", "bytes", "order")


def merged(option_name: str, pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Name -> value; the same name with two values is refused."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if found.setdefault(name, value) != value:
            raise UsageError(f"{option_name} gives '{name}' two values", hint="keep one of them")
    return found


class ModelOptions(NamedTuple):
    """Sizes of what a model leaves open, and types in place of those it has."""

    dims: Sequence[tuple[str, int]]
    shapes: Sequence[tuple[str, tuple[int, ...]]]
    batch: int | None
    dtype: str | None = None
    weight_bits: str | None = None
    activation_bits: str | None = None

    def read(self, path: str, propose: Propose | None = None) -> Model:
        """The model at `path` ('-': standard input) in these sizes and types, and the sizes that `propose` gives."""
        from efficiency_cli.graph.read import read_model
        from efficiency_cli.graph.retype import retyped

        dims: Mapping[str, int] = merged("--dim", self.dims)
        shapes: Mapping[str, Sequence[int]] = merged("--shape", self.shapes)
        try:
            found = read_model(path, dims=dims, shapes=shapes, batch=self.batch, propose=propose)
        except MissingDimension as error:
            raise MissingDimension(error.what, where=error.where, hint=again(error.hint, path)) from error
        return retyped(found, as_if.types_of(self.dtype, self.weight_bits, self.activation_bits))


def again(hint: str, path: str) -> str:
    """The command that was given, with the options that `hint` adds to a bare one."""
    arguments = click.get_current_context().obj
    # the path may hold anything, also something like an option
    start = 0 if hint.startswith("effcli analyze MODEL ") else len("effcli analyze ") + len(path)
    added = re.search(r" --(?:dim|shape|context) .*", hint[start:], re.DOTALL)
    return f"effcli {shlex.join(arguments)}{added[0]}" if arguments and added else hint


dims = option(
    "--dim",
    "dims",
    type=values.Dim(),
    multiple=True,
    help="Value of a symbolic dimension; an unnamed one is INPUT[AXIS]=N. Repeatable.",
)
shapes = option("--shape", "shapes", type=values.Shape(), multiple=True, help="Shape of an input. Repeatable.")
_SIZES = [dims, shapes, option("--batch", type=values.Size(), help="The first axis of every input.")]
model = gathered("sizes", ModelOptions, [*_SIZES, *as_if.TYPES])
# where the model is run, or was: it is what it is
stored_model = gathered("sizes", ModelOptions, _SIZES)


class CountingOptions(NamedTuple):
    """How padding, control flow and operators of one's own count."""

    counted: str
    branch: str
    trips: Sequence[tuple[str, int]]
    ops: str | None
    effective: bool = False
    convention: str | None = None
    fusion: str | None = None

    def choices(self, model: Model) -> Choices:
        """What was asked for. Raises UsageError for a --trip that names no loop of `model`, ConfigError for a
        wrong file of --ops, UsageError for a --fusion that names no runtime.
        """
        from msgspec.structs import replace

        from efficiency_cli.costs.control_flow import Choices, loops_of

        trips: dict[str, int] = merged("--trip", self.trips)
        loops = list(loops_of(model.graph)) if trips else []
        for name in trips:
            if name not in loops:
                raise _no_loop(name, loops)
        found = Choices(self.counted, self.branch, trips)
        if self.ops is not None:
            from efficiency_cli.config.operators import read_operators

            found = replace(found, rules=read_operators(self.ops), rules_from=self.ops)
        if self.fusion is not None:
            found = replace(found, fusion=fusing.patterns_of(self.fusion), fusion_from=self.fusion)
        return found


def _no_loop(name: str, loops: Sequence[str]) -> UsageError:
    what = f"--trip: the model has no Loop '{values.short(name)}'"
    if not loops:
        return UsageError(what, where="it has no loops at all", hint="leave out --trip")
    many = f" and {len(loops) - _MOST_NAMED} more" if len(loops) > _MOST_NAMED else ""
    where = f"its loops: {', '.join(loops[:_MOST_NAMED])}{many}"
    return UsageError(what, where=where, hint=did_you_mean(name, loops) or "name one of these: --trip NAME=N")


count = option(
    "--count",
    "counted",
    type=values.OneOf("dense", "valid"),
    default="dense",
    show_default=True,
    help="Products with padding and behind causal masks: dense counts them, valid does not.",
)
branch = option(
    "--branch",
    type=values.OneOf("max", "then", "else"),
    default="max",
    show_default=True,
    help="The branch of an If that counts, where no constant decides; max is the costliest.",
)
ops = option(
    "--ops",
    type=values.File(),
    metavar="FILE",
    help="Costs of your own operators, in YAML; see: effcli help counting.",
)
_CHOICES = [
    count,
    branch,
    option("--trip", "trips", type=values.Trip(), multiple=True, help="How often a Loop runs. Repeatable."),
    ops,
]
# for commands that show no counts of another kind beside the usual ones
choosing = gathered("counting", CountingOptions, _CHOICES)
counting = gathered(
    "counting",
    CountingOptions,
    [
        *_CHOICES[:-1],
        option(
            "--convention",
            type=values.OneOf("onnx-tool", "fvcore", "calflops"),
            help="Show beside the totals those that another tool would print; see: effcli help conventions.",
        ),
        option(
            "--effective",
            is_flag=True,
            help="Read the weights; count what is left without all-zero channels and zero elements.",
        ),
        fusing.FUSION,
        _CHOICES[-1],
    ],
)


class HardwareOptions(NamedTuple):
    """Which machines, and as what."""

    hw: Sequence[str]
    runtime: str | None
    hw_dirs: Sequence[str]
    overrides: Sequence[str]
    overlap: float | None

    def profiles(self) -> list[Profile]:
        """The machines asked for, each once; none without --hw."""
        if not self.hw:
            self._refuse_without_machine()
            return []
        from efficiency_cli.hardware.load import load_profile

        found: dict[str, Profile] = {}
        for profile in (p for text in self.hw for p in self._named(text)):
            if profile.path not in found:
                changed = self.overrides and load_profile(profile.path, self.hw_dirs, self.overrides)
                found[profile.path] = changed or profile
        if not found:
            raise UsageError("--hw names no machine", hint="list them: effcli hw list")
        return list(found.values())

    def _named(self, text: str) -> list[Profile]:
        from pathlib import Path

        from efficiency_cli.hardware.load import load_profile, profiles

        # a path may hold a comma
        return [load_profile(text)] if Path(text).is_file() else profiles(text, self.hw_dirs)

    def _refuse_without_machine(self) -> None:
        given = {"--runtime": self.runtime, "--set": self.overrides, "--overlap": self.overlap}
        for name, value in given.items():
            if value is not None and value != ():
                hint = "name one: --hw ID; list them: effcli hw list"
                raise UsageError(f"{name} needs a machine", hint=hint)


class PhaseOptions(NamedTuple):
    """Which phase of a decoder, with how many tokens."""

    phase: str | None
    context: int | None

    @classmethod
    def given(cls, phase: str | None, context: int | None) -> PhaseOptions:
        """Raises UsageError for a context of no phase."""
        if context is not None and phase is None:
            raise UsageError("--context needs a phase", hint="name one: --phase prefill, or --phase decode")
        return cls(phase, context)

    def chosen(self) -> Phase | None:
        from efficiency_cli.roofline.phases import Phase

        return Phase(self.phase, self.context) if self.phase else None


phase = gathered(
    "phase",
    PhaseOptions.given,
    [
        option(
            "--phase",
            type=values.OneOf("prefill", "decode"),
            help="Sizes of a decoder with a key/value cache: all of the context at once, or one token after it; "
            "see: effcli help decoders.",
        ),
        option("--context", type=values.Size("--context 128"), help="Tokens of the context, for --phase."),
    ],
)


class MemoryOptions(NamedTuple):
    """Whether memory is told in full, and in which order kernels run for that."""

    memory: bool
    order: str | None

    @property
    def wanted(self) -> bool:
        return self.memory or self.order is not None


memory = gathered(
    "memory",
    MemoryOptions,
    [
        option("--memory", is_flag=True, help="Show the memory over the schedule: a plan, what fits, what would."),
        option(
            "--order",
            type=values.OneOf("file", "best"),
            help="Order in which kernels run, for --memory: best searches one with a lower peak.",
        ),
    ],
)

debug = option("--debug", is_flag=True, expose_value=False, help="Show a traceback when something fails.")
hw_dirs = option(
    "--hw-dir",
    "hw_dirs",
    type=values.Folder(),
    multiple=True,
    help="A folder of profiles, searched before the shipped ones. Repeatable.",
)

overrides = option(
    "--set",
    "overrides",
    type=values.Setting(),
    multiple=True,
    help="Change a number of the machine: clock=600MHz, memory.dram.bandwidth=2x. Repeatable.",
)

hardware = gathered(
    "hardware",
    HardwareOptions,
    [
        option(
            "--hw",
            type=values.Hardware(),
            multiple=True,
            help="Machine: an id, alias, glob, path or `all`. Repeatable; commas allowed.",
        ),
        option(
            "--runtime",
            type=values.Runtime(),
            help="Software stack of the machine; the profile's own unless given.",
        ),
        hw_dirs,
        overrides,
        option(
            "--overlap",
            type=values.Overlap(),
            help="How far computing and moving data overlap: full is the roofline, none adds them.",
        ),
    ],
)


_TARGETS = option(
    "-f",
    "--format",
    "targets",
    type=values.Format(),
    multiple=True,
    help="Output format, and its file. Repeatable; at most one without a file.",
)

_TALK = [
    option(
        "--color",
        type=values.OneOf("auto", "always", "never"),
        default="auto",
        show_default=True,
        help="Colour; auto is on a terminal, and follows NO_COLOR and FORCE_COLOR.",
    ),
    option("-q", "--quiet", is_flag=True, help="No notes on standard error."),
    option("-v", "--verbose", count=True, help="More detail; -vv for all of it."),
    debug,
]

top = option("--top", type=values.Top(), help="How many rows; a few unless given, in tables for reading.")
_ROWS = [
    top,
    option("--group", type=values.OneOf(*GROUPS), default="kernel", show_default=True, help="What a row is."),
    option("--sort", type=values.OneOf(*SORTS), default="time", show_default=True, help="Order rows by."),
]

output = gathered("output", OutputOptions, [_TARGETS, *_ROWS, *_TALK])
plain_output = gathered("output", OutputOptions, [_TARGETS, *_TALK])


def strict(function: Callable[..., Any]) -> Callable[..., Any]:
    """--strict: what is not known or was assumed makes the exit code 3."""
    text = "Exit with 3 when an operator is not modelled, or a size unknown or assumed."
    return option("--strict", is_flag=True, help=text)(function)
