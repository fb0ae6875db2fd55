"""Leases on the registries that all clusters of an engine share: for launches that use them, and for removals.

A file lock is limited to one user and one machine; an engine has several users, and job containers, too. All of
them see the engine, so each creates a volume there, with a label and no content, then looks for those of others:

- a launch records its use, waits for the end of removals, then checks that its registries exist, and creates its
    cluster; from then on they are in that cluster's network, where everyone sees them;
- a removal is recorded, and continues only if there is no use: of two that start at once, one sees the other.

A lease is over when its process has ended, if that can be seen from here, or when its time is over.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode

from tasks.clients import docker
from tasks.core.errors import LaunchError
from tasks.core.files import place
from tasks.engine.step import Context
from tasks.process.programs import Programs

USE, REMOVAL = "use", "removal"
_REMOVING = 180.0
"""Seconds that a removal may take."""
_PAUSE = 0.3


@dataclass(frozen=True, kw_only=True)
class Lease:
    """One lease recorded on the engine."""

    volume: str
    kind: str
    who: str
    """For display: what it is and whose."""
    place: str
    """The scope of its process id."""
    pid: int
    until: float
    """Seconds of the epoch."""

    @property
    def label(self) -> str:
        """As a label's value."""
        fields = {"kind": self.kind, "who": self.who, "place": self.place, "pid": self.pid, "until": round(self.until)}
        return urlencode(fields)

    @property
    def over(self) -> bool:
        """Whether its holder is gone."""
        import psutil

        gone = self.place == place() and not psutil.pid_exists(self.pid)
        return gone or time.time() > self.until


def read(out: str) -> list[Lease]:
    """Leases in the output of `docker.leases`."""
    found = []
    for line in out.splitlines():
        row = json.loads(line)
        labels = dict(part.partition("=")[::2] for part in str(row.get("Labels", "")).split(","))
        given = {key: values[0] for key, values in parse_qs(labels.get(docker.LEASE, "")).items()}
        with contextlib.suppress(KeyError, ValueError):
            lease = Lease(
                volume=str(row["Name"]),
                kind=given["kind"],
                who=given["who"],
                place=given["place"],
                pid=int(given["pid"]),
                until=float(given["until"]),
            )
            found.append(lease)
    return found


class Leases:
    """Leases of one process on one engine."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs
        self._use: Lease | None = None

    def use(self, who: str, seconds: float, context: Context) -> None:
        """Record that the registries are about to be used, and wait for the end of removals. Raises `LaunchError`."""
        if self._use is None:
            self._use = self._write(USE, who, seconds, context)
        end = time.monotonic() + min(_REMOVING, context.deadline)
        while removals := [each for each in self._others(context) if each.kind == REMOVAL]:
            if time.monotonic() >= end:
                raise LaunchError(
                    f"the shared registries are being removed: {removals[0].who}",
                    why=f"that has not ended within {min(_REMOVING, context.deadline):g} s",
                    fix=f"wait for it; if no removal runs any more: docker volume rm {removals[0].volume}",
                    transient=True,
                )
            context.say(f"waiting for {removals[0].who}")
            context.wait(_PAUSE)

    @contextlib.contextmanager
    def removal(self, who: str, context: Context) -> Iterator[None]:
        """Record that the registries are being removed, unless they are about to be used. Raises `LaunchError`."""
        mine = self._write(REMOVAL, who, _REMOVING, context)
        try:
            self.refuse_users(context)
            yield
        finally:
            self._drop([mine])

    def refuse_users(self, context: Context | None = None) -> None:
        """Raises `LaunchError` if they are about to be used."""
        users = [each for each in self._others(context) if each.kind == USE]
        if users:
            raise LaunchError(
                f"the registries are about to be used: {users[0].who}",
                why="its nodes will pull through them, and the launch would fail without",
                fix=f"wait until it has ended; if it was killed: docker volume rm {users[0].volume}",
            )

    def close(self) -> None:
        """Remove this process's leases."""
        if self._use is not None:
            self._drop([self._use])
            self._use = None

    def _write(self, kind: str, who: str, seconds: float, context: Context) -> Lease:
        name = f"openframe-lease-{os.urandom(6).hex()}"
        lease = Lease(volume=name, kind=kind, who=who, place=place(), pid=os.getpid(), until=time.time() + seconds)
        self._programs.run(docker.create_volume(name, {docker.LEASE: lease.label}), context)
        return lease

    def _others(self, context: Context | None) -> list[Lease]:
        """Leases of other holders; abandoned ones are removed."""
        own = self._use.volume if self._use is not None else ""
        found = [each for each in read(self._programs.run(docker.leases(), context).out) if each.volume != own]
        over = [each for each in found if each.over]
        if over:
            self._drop(over)
        return [each for each in found if each not in over]

    def _drop(self, leases: list[Lease]) -> None:
        with contextlib.suppress(LaunchError):  # it expires with its process, or with its time
            self._programs.run(docker.remove_volumes([each.volume for each in leases]))
