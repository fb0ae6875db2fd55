"""The dockerd that runs on this machine: its process, and the arguments that it was started with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tasks.tune.hands import Kept

PROC = Path("/proc")
_NAME = "dockerd"
_KEYS = {
    "registry-mirror": "registry-mirrors",
    "max-concurrent-downloads": "max-concurrent-downloads",
    "max-concurrent-uploads": "max-concurrent-uploads",
}
"""Arguments by their names, and the keys of daemon.json that say the same."""
_FORGOTTEN = frozenset({"max-concurrent-downloads", "max-concurrent-uploads", "max-download-attempts", "feature"})
"""Arguments that a reload sets back to Docker's defaults (moby: `daemon/reload.go`)."""

Read = Callable[[Path], Kept | None]
"""A file; None if it is not there, or cannot be seen."""


@dataclass(frozen=True, kw_only=True)
class Running:
    """A process."""

    pid: int
    user: int
    argv: tuple[str, ...]

    def option(self, name: str) -> str | None:
        """The value of an option, written as `--name value` or `--name=value`; the last one."""
        found = None
        for place, part in enumerate(self.argv):
            if part.startswith(f"--{name}="):
                found = part.partition("=")[2]
            elif part == f"--{name}" and place + 1 < len(self.argv):
                found = self.argv[place + 1]
        return found

    @property
    def given(self) -> frozenset[str]:
        """Keys of ours that are arguments already."""
        return frozenset(key for name, key in _KEYS.items() if self._has(name))

    @property
    def forgotten(self) -> tuple[str, ...]:
        """Arguments that a reload would undo."""
        return tuple(sorted(name for name in _FORGOTTEN if self._has(name)))

    def _has(self, name: str) -> bool:
        return any(part == f"--{name}" or part.startswith(f"--{name}=") for part in self.argv)


def by_pidfile(files: Iterable[Path], user: int, read: Read, proc: Path = PROC) -> Running | None:
    """The process that the first of these files names, if that is a dockerd of this user."""
    for file in files:
        kept = read(file)
        text = kept.data.decode("ascii", "replace").strip() if kept is not None else ""
        found = process(int(text), user, read, proc) if text.isdecimal() and len(text) < 12 else None
        if found is not None:
            return found
    return None


def by_name(user: int, read: Read, proc: Path = PROC) -> Running | None:
    """The only dockerd of this user in this container or on this machine; None where there are several, or none.

    Those inside of containers show as well, with a number of their own there (man 5 proc: NSpid).
    """
    found = []
    for folder in proc.glob("[0-9]*"):
        try:
            status = (folder / "status").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        rows = dict(row.partition(":")[::2] for row in status.splitlines())
        if rows.get("Name", "").strip() == _NAME and len(rows.get("NSpid", "1").split()) == 1:
            found.append(process(int(folder.name), user, read, proc))
    there = [each for each in found if each is not None]
    return there[0] if len(there) == 1 else None


def process(pid: int, user: int, read: Read, proc: Path = PROC) -> Running | None:
    """A process, if it is a dockerd of this user: a number in a file may be another one's by now."""
    try:
        owner = (proc / str(pid)).stat().st_uid
    except OSError:
        return None
    line = read(proc / str(pid) / "cmdline")
    argv = tuple(line.data.decode("utf-8", "surrogateescape").split("\0"))[:-1] if line is not None else ()
    if owner != user or not argv or Path(argv[0]).name != _NAME:
        return None
    return Running(pid=pid, user=owner, argv=argv)
