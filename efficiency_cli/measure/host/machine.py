"""What this machine is: processor, caches, cores, memory, versions. Read from the system, nothing is measured.

Whatever the system does not say is left out; nothing here fails.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

_CPUINFO = Path("/proc/cpuinfo")
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_MEMINFO = Path("/proc/meminfo")
# instruction sets that matrix libraries choose kernels by, widest first
_INSTRUCTIONS = (
    *("amx_tile", "avx512_fp16", "avx512_vnni", "avx512f", "avx_vnni", "avx2", "avx", "sse4_1"),
    *("sme", "i8mm", "sve2", "sve", "asimddp", "asimd"),
)
_MARKETING = re.compile(r"\((?:R|TM|tm|r)\)|\bCPU\b|\bProcessor\b|@.*$")
_PREFIXES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class Cache(Struct, frozen=True):
    """`size` in bytes, and how many cores share it."""

    level: int
    size: int
    shared_by: int


class Host(Struct, frozen=True):
    """This machine. `cores` are those this process may use; `clock_hz` is None where nothing states it."""

    cpu: str
    vendor: str
    family: str
    cores: int
    caches: tuple[Cache, ...]
    instructions: tuple[str, ...]
    memory_bytes: int
    clock_hz: float | None
    system: str
    virtual: bool
    versions: Mapping[str, str]

    @property
    def slug(self) -> str:
        """The processor's name as the id of a profile: "AMD EPYC 7763 64-Core Processor" -> amd-epyc-7763-64-core.

        A name without a number, as virtual machines have, is followed by family and model.
        """
        plain = _MARKETING.sub(" ", self.cpu)
        if not re.search("[0-9]{3}", plain):
            plain = f"{plain} {self.family.partition(' stepping')[0]}"
        return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-") or "this-machine"

    @property
    def described(self) -> str:
        """In a few words, without anything that names the computer or its user."""
        caches = ", ".join(f"L{c.level} {c.size / (1 << 20):g} MiB" for c in self.caches if c.level > 1)
        parts = [self.cpu, self.family, f"{self.cores} cores", caches, ", ".join(self.instructions[:2])]
        parts += ["virtual machine"] if self.virtual else []
        return ", ".join(p for p in parts if p)


def this_machine() -> Host:
    """The machine that this runs on, and the versions of what measures."""
    first = _first_processor()
    flags = set((first.get("flags") or first.get("Features") or "").split())
    return Host(
        cpu=_name(first),
        vendor=first.get("vendor_id", ""),
        family=_family(first),
        cores=_cores(),
        caches=tuple(_caches()),
        instructions=tuple(i for i in _INSTRUCTIONS if i in flags),
        memory_bytes=_memory("MemTotal"),
        clock_hz=_clock(first),
        system=f"{platform.system()} {platform.machine()}",
        virtual="hypervisor" in flags,
        versions=_versions(),
    )


def free_bytes() -> int:
    """Bytes of memory that a program may take; 2^63 where the system does not say."""
    return _memory("MemAvailable") or 1 << 63


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _first_processor() -> dict[str, str]:
    """The fields that /proc/cpuinfo has of the first processor."""
    found: dict[str, str] = {}
    for line in _text(_CPUINFO).split("\n\n")[0].splitlines():
        key, colon, value = line.partition(":")
        if colon:
            found[key.strip()] = value.strip()
    return found


def _name(first: Mapping[str, str]) -> str:
    return " ".join(
        (first.get("model name") or first.get("Model") or platform.processor() or platform.machine()).split()
    )


def _family(first: Mapping[str, str]) -> str:
    """Family, model and stepping: virtual machines hide the rest of the name."""
    numbers = [first.get(k, "") for k in ("cpu family", "model", "stepping")]
    return f"family {numbers[0]} model {numbers[1]} stepping {numbers[2]}" if all(numbers) else ""


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _caches() -> list[Cache]:
    """Data and unified caches of the first core, nearest first."""
    found = []
    for index in sorted(_CACHES.glob("index*")):
        size = re.fullmatch(r"([0-9]+)([KMG]?)", _text(index / "size").strip())
        level = _text(index / "level").strip()
        if size is None or not level.isdigit() or _text(index / "type").strip() == "Instruction":
            continue
        found.append(Cache(int(level), int(size[1]) * _PREFIXES.get(size[2], 1), _sharing(index)))
    return sorted(found, key=lambda c: c.level)


def _sharing(index: Path) -> int:
    """Cores in a list like 0-3,8."""
    count = 0
    for part in _text(index / "shared_cpu_list").strip().split(","):
        first, _, last = part.partition("-")
        if first.isdigit():
            count += int(last or first) - int(first) + 1
    return max(count, 1)


def _memory(key: str) -> int:
    found = re.search(rf"^{key}:\s+([0-9]+) kB", _text(_MEMINFO), re.MULTILINE)
    return int(found[1]) << 10 if found else 0


def _clock(first: Mapping[str, str]) -> float | None:
    """The clock that a name ends in ("@ 2.90GHz"): the current one goes up and down."""
    stated = re.search(r"@\s*([0-9.]+)\s*GHz", first.get("model name", ""))
    return float(stated[1]) * 1e9 if stated else None


def _versions() -> dict[str, str]:
    from importlib import metadata

    found = {"python": platform.python_version()}
    for package in ("onnxruntime", "numpy"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
