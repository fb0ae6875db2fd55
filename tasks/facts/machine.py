"""The usable resources of this machine: CPUs and memory within cgroups and CPU affinity."""

import math
import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.core.units import GIB

CGROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_UNIFIED = ""
"""Key of the one hierarchy of cgroup v2, as /proc/self/cgroup writes it."""
_UNLIMITED = 1 << 60
"""cgroup v1 writes "no limit" as the largest multiple of a page: 2^63 less a page or so."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The usable part of a machine."""

    cpus: int
    memory_bytes: int
    arch: str
    os: str


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of cgroups; None: no limit."""

    cpus: float | None = None
    memory_bytes: int | None = None


def machine() -> Machine:
    """The machine that this process runs on."""
    import psutil

    process = psutil.Process()
    everywhere = psutil.cpu_count() or 1
    # macOS cannot bind a process to processors, and psutil has no such method there
    allowed = len(process.cpu_affinity() or ()) if hasattr(process, "cpu_affinity") else everywhere
    limits = own_limits()
    return Machine(
        cpus=bounded_cpus(allowed or everywhere, limits),
        memory_bytes=bounded_memory(psutil.virtual_memory().total, limits),
        arch=platform.machine(),
        os=_os(),
    )


def system() -> str:
    """linux, wsl (Linux inside Windows) or darwin."""
    if sys.platform == "darwin":
        return "darwin"
    return "wsl" if "microsoft" in platform.release().lower() else "linux"


def bounded_cpus(cpus: int, limits: Limits) -> int:
    """Whole CPUs, at least one."""
    return max(1, cpus if limits.cpus is None else min(cpus, math.floor(limits.cpus)))


def bounded_memory(memory_bytes: int, limits: Limits) -> int:
    """Bytes."""
    return memory_bytes if limits.memory_bytes is None else min(memory_bytes, limits.memory_bytes)


def own_limits(own: Path = _OWN, root: Path = CGROUPS) -> Limits:
    """Limits of the cgroups that this process is in; none where there are no cgroups."""
    try:
        text = own.read_text()
    except OSError:
        return Limits()
    return limits(own_groups(text), root)


def own_groups(text: str) -> dict[str, str]:
    """/proc/self/cgroup as paths by controller; that of cgroup v2 has the empty name (man 7 cgroups)."""
    groups: dict[str, str] = {}
    for line in text.splitlines():
        _number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        groups.update(dict.fromkeys(controllers.split(","), path))
    return groups


def limits(groups: Mapping[str, str], root: Path = CGROUPS) -> Limits:
    """The smallest limits between the visible root and these groups.

    A container sees its own group as the root, so that counts, too. Missing groups
    (paths of another namespace) are skipped.
    """
    cpus: list[float] = []
    memory: list[int] = []
    if (root / "cgroup.controllers").exists():
        for folder in _chain(root, groups.get(_UNIFIED, "/")):
            cpus += _v2_cpus(folder)
            memory += _number(folder / "memory.max")
    else:
        for folder in _chain(root / "cpu", groups.get("cpu", "/")):
            cpus += _v1_cpus(folder)
        for folder in _chain(root / "memory", groups.get("memory", "/")):
            memory += _number(folder / "memory.limit_in_bytes")
    return Limits(cpus=min(cpus, default=None), memory_bytes=min(memory, default=None))


def _chain(root: Path, group: str) -> Iterator[Path]:
    yield root
    folder = root
    for part in group.strip("/").split("/"):
        if part in ("", "..") or not (folder := folder / part).is_dir():
            return
        yield folder


def _v2_cpus(folder: Path) -> list[float]:
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    return [int(quota) / int(period)] if quota.isdigit() and period.isdigit() and int(period) else []


def _v1_cpus(folder: Path) -> list[float]:
    quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    return [int(quota) / int(period)] if quota.isdigit() and period.isdigit() and int(period) else []


def _number(path: Path) -> list[int]:
    text = _read(path)
    return [int(text)] if text.isdigit() and int(text) < _UNLIMITED else []


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _os() -> str:
    if sys.platform == "darwin":
        return f"macOS {platform.mac_ver()[0]}"
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"{platform.system()} {platform.release()}"


MOST_AGENTS = 6
LEAST_CONCURRENCY = 2


@dataclass(frozen=True, kw_only=True)
class Sizing:
    """Defaults of a launch that follow from the machine's size."""

    agents: int
    concurrency: int


def sizing(cpus: int, memory_bytes: int) -> Sizing:
    """Half the CPUs or half the GiB of memory, whichever is less, each rounded down.

    Whole GiB count: a machine sold with 16 GiB reports some 15.6, which are 15, hence 7.
    """
    bearable = min(cpus // 2, memory_bytes // GIB // 2)
    return Sizing(agents=max(1, min(bearable, MOST_AGENTS)), concurrency=max(bearable, LEAST_CONCURRENCY))
