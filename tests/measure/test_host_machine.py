"""What the system says of a machine, from files as systems have them."""

from __future__ import annotations

import pytest

from efficiency_cli.measure.host import machine
from efficiency_cli.measure.host.machine import Cache, Host, this_machine


def host(cpu, family=""):
    return Host(cpu, "", family, 2, (), (), 0, None, "Linux", False, {})


@pytest.mark.parametrize(
    ("cpu", "slug"),
    [
        ("AMD EPYC 7763 64-Core Processor", "amd-epyc-7763-64-core"),
        ("Intel(R) Xeon(R) Gold 6248R CPU @ 3.00GHz", "intel-xeon-gold-6248r"),
        ("", "this-machine"),
    ],
)
def test_the_name_of_a_profile(cpu, slug):
    assert host(cpu).slug == slug


def test_a_name_without_number_is_followed_by_the_family():
    assert host("Intel(R) Xeon(R) Processor", "family 6 model 207 stepping 2").slug == "intel-xeon-family-6-model-207"


def test_what_linux_says(monkeypatch, tmp_path):
    info = tmp_path / "cpuinfo"
    info.write_text(
        "processor : 0\nmodel name : Some CPU 123 @ 2.50GHz\nflags : fpu avx2 avx512f hypervisor\n\nprocessor : 1\n"
    )
    index = tmp_path / "cache" / "index2"
    index.mkdir(parents=True)
    for name, text in (("size", "2048K"), ("level", "2"), ("type", "Unified"), ("shared_cpu_list", "0-3,8")):
        (index / name).write_text(text + "\n")
    memory = tmp_path / "meminfo"
    memory.write_text("MemTotal:  1024 kB\nMemAvailable:  512 kB\n")
    monkeypatch.setattr(machine, "_CPUINFO", info)
    monkeypatch.setattr(machine, "_CACHES", tmp_path / "cache")
    monkeypatch.setattr(machine, "_MEMINFO", memory)
    found = this_machine()
    assert found.cpu == "Some CPU 123 @ 2.50GHz"
    assert found.clock_hz == 2.5e9
    assert found.caches == (Cache(2, 2 << 20, 5),)
    assert found.instructions == ("avx512f", "avx2")
    assert found.virtual
    assert (found.memory_bytes, machine.free_bytes()) == (1 << 20, 512 << 10)


def test_a_system_that_says_nothing(monkeypatch, tmp_path):
    for name in ("_CPUINFO", "_CACHES", "_MEMINFO"):
        monkeypatch.setattr(machine, name, tmp_path / "none")
    found = this_machine()
    assert found.cores >= 1
    assert found.caches == ()
    assert machine.free_bytes() == 1 << 63
