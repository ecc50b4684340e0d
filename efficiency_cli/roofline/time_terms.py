"""A kernel's time and energy as terms. See `terms` for what these are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from efficiency_cli import quantity
from efficiency_cli.costs import Reread
from efficiency_cli.hardware.kinds import first_of, kinds_of
from efficiency_cli.hardware.profile import DEFAULT_INTERVAL, Energy, MemoryLevel, Quantity, Runtime, fallbacks
from efficiency_cli.roofline.estimate import Estimate
from efficiency_cli.roofline.latency import KernelTime, Machine, Timer, is_unblocked, outside_calibration
from efficiency_cli.roofline.terms import SYMBOL, Operand, Term

# unit a profile counts in clock cycles -> the dimension it is read in
_PER_CYCLE = {"OP/s": "rate_per_cycle", "B/s": "bandwidth_per_cycle", "W": "energy_per_cycle", "s": "cycles"}


def time_terms(estimate: Estimate, index: int, work: Iterable[Term]) -> tuple[Term, ...]:
    """How the time and the energy of kernel `index` come out; () without a machine.

    `work` are the kernel's `work_terms`.
    """
    if estimate.machine is None or estimate.latency is None:
        return ()
    builder = _Builder(estimate, estimate.machine, estimate.times[index], work)
    builder.compute()
    builder.memory()
    builder.times()
    builder.energy(estimate.energies[index])
    builder.share(estimate.latency.expected_s)
    return tuple(builder.terms)


class _Builder:
    """Collects the terms in order; `of` are the numbers that later ones may use."""

    def __init__(self, estimate: Estimate, machine: Machine, time: KernelTime, work: Iterable[Term]) -> None:
        self.machine = machine
        self.time = time
        totals = estimate.totals
        self.timer = Timer(machine, totals.weight_bytes, estimate.dtype, totals.weight_bytes_read)
        self.network_dtype = estimate.dtype
        self.terms: list[Term] = []
        self.of: dict[str, Operand] = {t.name: t.as_operand("counted above") for t in work}

    def add(self, name: str, unit: str, value: float, expression: str) -> None:
        used = dict.fromkeys(SYMBOL.findall(expression))
        operands = tuple(self.of[s] for s in used if s in self.of)
        self.terms.append(Term(name, unit, value, expression, operands))
        self.of[name] = Operand(name, value, unit)

    def number(self, symbol: str, unit: str, key: str, found: Quantity, said: str) -> None:
        """A number of the profile; one counted in clock cycles is a term with the clock."""
        clock, per_cycle = self.machine.profile.clock, _in_cycles(found, unit)
        if clock is None or per_cycle is None:
            self.of[symbol] = _from_profile(symbol, found.value, unit, key, found, said)
            return
        self.of["clock"] = _from_profile("clock", clock.value, "Hz", "clock", clock, "")
        inner = f"{symbol}_cycles" if unit == "s" else f"{symbol}_per_cycle"
        counted = {"s": "cycles", "W": "J/cycle"}.get(unit) or f"{unit.removesuffix('/s')}/cycle"
        self.of[inner] = _from_profile(inner, per_cycle, counted, key, found, said)
        self.add(symbol, unit, found.value, f"{inner} {'/' if unit == 's' else '*'} clock")

    def optional(self, symbol: str, key: str, found: Quantity | None, said: str, otherwise: float) -> None:
        """A plain number of the profile, or what holds where the profile has none."""
        if found is None:
            self.of[symbol] = Operand(symbol, otherwise, "", f"{said}: the profile has none, so {otherwise:g}")
        else:
            self.of[symbol] = _from_profile(symbol, found.value, "", key, found, said)

    @property
    def runtime_key(self) -> str:
        return f"runtimes.{self.machine.runtime.id}"

    def compute(self) -> None:
        time, profile = self.time, self.machine.profile
        kernel, peaks = time.kernel, profile.compute[time.peak_dtype]
        unit = kernel.unit if peaks.of(kernel.unit) is not None else "matrix"
        found = peaks.of(unit)
        assert found is not None
        said = f"{unit} operations in {time.peak_dtype}"
        if time.peak_dtype != time.dtype:
            said += f", as there is no peak for {time.dtype}"
        self.number("peak", "OP/s", f"compute.{time.peak_dtype}.{unit}", found, said)
        self._scale()
        known = first_of(self.machine.runtime.efficiency, self.kinds)
        self._efficiency("efficiency", known or kernel.op_class.value)
        share = "peak * efficiency"
        if time.tile_use != 1:
            share += " * tile_use"
            self.of["tile_use"] = Operand("tile_use", time.tile_use, "", "the rest fills up the last blocks")
        if time.size_use != 1:
            share += " * size_use"
            said = "small products are slower: Π size / (size + half size)"
            self.of["size_use"] = Operand("size_use", time.size_use, "", said)
        done = "ops"
        if time.skipped_ops:
            said = "products with all-zero channels, which the runtime drops"
            if self.machine.runtime.skips == "padding":
                said = "products with padding, which the runtime leaves out"
            done = "(ops - skipped_ops)"
            self.of["skipped_ops"] = Operand("skipped_ops", time.skipped_ops, "OP", said)
        self.add("compute_s", "s", time.compute_s, f"{self.scaled}{done} / ({share})")

    def _scale(self) -> None:
        found = self.machine.runtime.scale
        if found is not None:
            said = "on all times of this runtime"
            self.of["scale"] = _from_profile("scale", found.value, "", f"{self.runtime_key}.scale", found, said)

    @property
    def scaled(self) -> str:
        return "scale * " if "scale" in self.of else ""

    @property
    def kinds(self) -> tuple[str, ...]:
        """What the runtime may tell this kernel apart by, the finest first."""
        kernel = self.time.kernel
        apart = is_unblocked(kernel, self.machine.runtime), kernel.unsigned
        return kinds_of(kernel.op_class.value, kernel.variant, kernel.operator, self.time.dtype, *apart)

    def _traffic(self) -> None:
        runtime = self.machine.runtime
        known = first_of(runtime.traffic, self.kinds)
        if not known:
            self._efficiency("memory_efficiency", "memory")
            return
        key, said = f"{self.runtime_key}.traffic.{known}", f"of the bandwidths, operators of class {known}"
        self.optional("memory_efficiency", key, runtime.traffic[known], said, 1)

    def _efficiency(self, symbol: str, of: str) -> None:
        found = self.machine.runtime.efficiency.get(of)
        said = "of the bandwidths" if of == "memory" else f"of the peak, operators of class {of}"
        self.optional(symbol, f"{self.runtime_key}.efficiency.{of}", found, said, 1)

    def memory(self) -> None:
        time, kernel = self.time, self.time.kernel
        self._traffic()
        parts = []
        if kernel.weight_bytes:
            self._weight_bandwidth()
            expression = "weight_bytes / (weight_bandwidth * memory_efficiency)"
            if time.reread_level and kernel.reread is not None:
                expression = self._rereading(kernel.reread)
            self.add("weight_s", "s", time.weight_s, f"{self.scaled}{expression}")
            parts.append("weight_s")
        if kernel.read_bytes + kernel.written_bytes:
            self._bandwidth("activation_bandwidth", time.activation_level, self._activation_reason())
            expression = "(read_bytes + written_bytes) / (activation_bandwidth * memory_efficiency)"
            if time.spilled_bytes:
                expression = self._spilling()
            self.add("activation_s", "s", time.activation_s, f"{self.scaled}{expression}")
            parts.append("activation_s")
        self.add("memory_s", "s", time.memory_s, " + ".join(parts) or "0")

    def _rereading(self, reread: Reread) -> str:
        self.of["reread_bytes"] = Operand(
            "reread_bytes", reread.bytes, "B", "weights of the state, larger than a cache"
        )
        self.of["rereads"] = Operand("rereads", reread.times * self.time.kernel.repeat, "", "steps after the first")
        self._bandwidth("reread_bandwidth", self.time.reread_level, "the nearest level that holds them")
        again = "rereads * reread_bytes / reread_bandwidth"
        return f"(weight_bytes / weight_bandwidth + {again}) / memory_efficiency"

    def _spilling(self) -> str:
        spilled, level = self.time.spilled_bytes, self.time.spill_level
        said = f"more is alive than {self.time.activation_level} holds"
        self.of["spilled_bytes"] = Operand("spilled_bytes", spilled, "B", said)
        self._bandwidth("spill_bandwidth", level, "the next one, for what spills")
        near = "(read_bytes + written_bytes - spilled_bytes) / activation_bandwidth"
        return f"({near} + spilled_bytes / spill_bandwidth) / memory_efficiency"

    def _weight_bandwidth(self) -> None:
        level, cost = self.timer.weight_level, self.timer.weight_cost
        if cost * level.bytes_per_s == 1:
            self._bandwidth("weight_bandwidth", level.name, self._weight_reason())
            return
        said = f"{level.name} for what of the weights it holds, the next level for the rest"
        self.of["weight_bandwidth"] = Operand("weight_bandwidth", 1 / cost, "B/s", said)

    def _bandwidth(self, symbol: str, name: str, reason: str) -> None:
        level = self.machine.profile.memory_level(name)
        assert level is not None
        self.number(symbol, "B/s", f"memory.{name}.bandwidth", level.bandwidth, f"{name}: {reason}")

    def _weight_reason(self) -> str:
        level, (stored, read) = self.timer.weight_level, self.timer.weights_kept
        if self.machine.profile.is_cache(level) and read < stored:
            return _holds(level, read, "what a run reads of the weights")
        return _holds(level, stored, "the network's weights")

    def _activation_reason(self) -> str:
        kernel = self.time.kernel
        level = self.machine.profile.memory_level(self.time.activation_level)
        assert level is not None
        need = kernel.read_bytes + kernel.written_bytes
        need += kernel.weight_bytes if "weights" in level.holds else 0
        return _holds(level, need // max(kernel.repeat, 1), "what this kernel works on")

    def times(self) -> None:
        time, machine, runtime = self.time, self.machine, self.machine.runtime
        self.of["repeat"] = Operand("repeat", time.kernel.repeat, "", "runs of this kernel")
        key, found = self._dispatch(runtime)
        if found is not None:
            self.number("dispatch", "s", f"{self.runtime_key}.dispatch.{key}", found, "to start a kernel")
        self.add("overhead_s", "s", time.overhead_s, f"{self.scaled}dispatch * repeat" if found is not None else "0")
        self._overlap()
        sum_s = "max(compute_s, memory_s) + (1 - overlap) * min(compute_s, memory_s) + overhead_s"
        if time.kernel.at_most:
            self.add("expected_s", "s", time.times.expected_s, sum_s)
            self.add("bound_s", "s", 0.0, "0")
        elif time.times.expected_s == time.times.bound_s and machine.runtime.scale_factor < 1:
            self.add("bound_s", "s", time.times.bound_s, self._bound())
            self.add("expected_s", "s", time.times.expected_s, f"max(bound_s, {sum_s})")
        else:
            self.add("expected_s", "s", time.times.expected_s, sum_s)
            self.add("bound_s", "s", time.times.bound_s, self._bound())
        self._interval()
        # where data decide a size, the counts are for the largest, and the least is to start the kernel
        lower = "overhead_s * interval_lower" if time.kernel.at_most else "max(bound_s, expected_s * interval_lower)"
        self.add("lower_s", "s", time.times.lower_s, lower)
        self.add("upper_s", "s", time.times.upper_s, "expected_s * interval_upper")

    def _dispatch(self, runtime: Runtime) -> tuple[str, Quantity | None]:
        name = first_of(runtime.dispatch.classes, self.kinds)
        return (f"classes.{name}", runtime.dispatch.classes[name]) if name else ("kernel", runtime.dispatch.kernel)

    def _overlap(self) -> None:
        """The runtime's or the user's; where levels of memory have their own, their mean."""
        overlap, found, said = self.machine.overlap, self.machine.runtime.overlap, "of computing and moving data"
        if not self.machine.overlaps and found.value != overlap:
            self.of["overlap"] = Operand("overlap", overlap, "", said, source="--overlap")
        elif self.time.overlap == overlap or not self.time.memory_s:
            self.of["overlap"] = _from_profile("overlap", overlap, "", f"{self.runtime_key}.overlap", found, said)
        else:
            self._mean_overlap()

    def _mean_overlap(self) -> None:
        time, parts = self.time, []
        if "weight_s" in self.of:
            apart = bool(time.reread_level) or len(self.timer.weight_parts) > 1
            self._part_overlap("weight_overlap", time.weight_level, time.weight_overlap if apart else None)
            parts.append("weight_overlap * weight_s")
        if "activation_s" in self.of:
            apart = bool(time.spilled_bytes)
            self._part_overlap("activation_overlap", time.activation_level, time.activation_overlap if apart else None)
            parts.append("activation_overlap * activation_s")
        self.add("overlap", "", time.overlap, f"({' + '.join(parts)}) / memory_s")

    def _part_overlap(self, symbol: str, name: str, mean: float | None) -> None:
        """That of the level `name`, or the `mean` of it and others."""
        if mean is not None:
            said = f"of computing and reading from {name} and others, by the seconds of each"
            self.of[symbol] = Operand(symbol, mean, "", said)
            return
        level, runtime = self.machine.profile.memory_level(name), self.machine.runtime
        own = level.overlap if level is not None else None
        key = f"memory.{name}.overlap" if own is not None else f"{self.runtime_key}.overlap"
        found, said = own or runtime.overlap, f"of computing and reading from {name}"
        self.of[symbol] = _from_profile(symbol, found.value, "", key, found, said)

    def _bound(self) -> str:
        parts = []
        if "weight_s" in self.of:
            parts.append("weight_bytes / weight_bandwidth")
        if "activation_s" in self.of:
            parts.append("(read_bytes + written_bytes) / activation_bandwidth")
        done = "(ops - skipped_ops)" if "skipped_ops" in self.of else "ops"
        return f"max({done} / peak, {' + '.join(parts) or '0'})"

    def _interval(self) -> None:
        runtime = self.machine.runtime
        given = runtime.interval
        wide = outside_calibration(self.machine, self.network_dtype)
        for side, used in (("lower", self.timer.low), ("upper", self.timer.high)):
            symbol = f"interval_{side}"
            found = (given.lower if side == "lower" else given.upper) if given is not None else None
            if found is not None and found.value == used:
                said = "80 % of runs are within"
                self.of[symbol] = _from_profile(symbol, used, "", f"{self.runtime_key}.interval.{side}", found, said)
            elif wide:
                said = f"calibrated in {runtime.dtype}, this network is {self.network_dtype}: the wide default"
                self.of[symbol] = Operand(symbol, used, "", said)
            else:
                low, high = DEFAULT_INTERVAL
                said = f"the profile has no interval: {low:g} to {high:g} without a calibration"
                self.of[symbol] = Operand(symbol, used, "", said)

    def energy(self, value: float | None) -> None:
        energy = self.machine.profile.energy
        if energy is None or value is None:
            return
        if energy.active_power is not None:
            self.number("active_power", "W", "energy.active_power", energy.active_power, "while inferring")
            self.add("energy_j", "J", value, "active_power * expected_s")
        else:
            self.add("energy_j", "J", value, " + ".join(self._acts(energy)))

    def _acts(self, energy: Energy) -> Iterator[str]:
        time = self.time
        if energy.static_power is not None:
            self.number("static_power", "W", "energy.static_power", energy.static_power, "whatever it does")
            yield "static_power * expected_s"
        dtype = next((t for t in fallbacks(time.dtype) if t in energy.per_op), "")
        if dtype:
            self.number("op_energy", "J/OP", f"energy.per_op.{dtype}", energy.per_op[dtype], f"in {dtype}")
            yield "ops * op_energy"
        moved = {
            "weight_energy": (time.weight_level, "weight_bytes"),
            "activation_energy": (time.activation_level, "(read_bytes + written_bytes)"),
        }
        for symbol, (level, what) in moved.items():
            found = energy.per_byte.get(level)
            if found is not None:
                self.number(symbol, "J/B", f"energy.per_byte.{level}", found, f"from and to {level}")
                yield f"{what} * {symbol}"

    def share(self, latency_s: float) -> None:
        """Of the network's expected time."""
        if latency_s:
            self.of["latency_s"] = Operand("latency_s", latency_s, "s", "expected, of the whole network")
            self.add("share", "", self.time.times.expected_s / latency_s, "expected_s / latency_s")


def _holds(level: MemoryLevel, need: int, what: str) -> str:
    if level.size_bytes is None:
        return f"takes all of {what}, {need:,} B"
    verb = "holds" if need <= level.size_bytes else "the last there is, too small for"
    return f"{verb} {what}, {need:,} B of {level.size_bytes:,.0f}"


def _in_cycles(found: Quantity, unit: str) -> float | None:
    """The number where `found` counts in clock cycles, else None."""
    if unit not in _PER_CYCLE or not quantity.split(found.text)[1].endswith(("cycle", "cycles")):
        return None
    return quantity.parse(found.text, _PER_CYCLE[unit])


def _from_profile(symbol: str, value: float, unit: str, key: str, found: Quantity, said: str) -> Operand:
    return Operand(
        symbol=symbol,
        value=value,
        unit=unit,
        said=said,
        key=key,
        text=found.text,
        kind=found.kind,
        source=found.source,
        note=found.note,
    )
