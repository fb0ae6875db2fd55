"""The state of a container as `docker container inspect` tells it, read in one place."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Any

from tasks.clients import docker
from tasks.core.errors import LaunchError
from tasks.process.command import Programs

_SETTLED = 10.0
"""Seconds after which Docker itself counts a start as a success (moby: `restartmanager`)."""
_RESTARTS = 2
"""Restarts by the engine of which the last is younger than that: it keeps ending. One alone may have helped."""
_TELLING = re.compile(r"^(?:panic|fatal|error)\b|\blevel=(?:fatal|panic|error)\b|\b(?:FATAL|ERROR|ERRO|FATA)\b")
_MESSAGE = re.compile(r'\bmsg="((?:[^"\\]|\\.)*)"')


class ContainerState(Enum):
    """What a container does."""

    CREATED = "was never started"
    RUNNING = "runs"
    PAUSED = "is paused"
    LOOPING = "keeps ending"
    """The engine starts it again after each end; between two of them it may run for a moment."""
    STOPPED = "is stopped"


def state(inspected: Mapping[str, Any], now: float | None = None) -> ContainerState:
    """What one container of `docker container inspect` does. `now`: seconds of the epoch."""
    told = inspected["State"]
    if told.get("Status") == "created":
        return ContainerState.CREATED
    if told.get("Restarting"):
        return ContainerState.LOOPING
    if not told.get("Running"):
        return ContainerState.STOPPED
    if told.get("Paused"):
        return ContainerState.PAUSED
    again = int(inspected.get("RestartCount") or 0) >= _RESTARTS
    young = _age(told, time.time() if now is None else now) < _SETTLED
    return ContainerState.LOOPING if again and young else ContainerState.RUNNING


def last_words(programs: Programs, name: str) -> str:
    """The line of a container's log that says most about its end; empty where there is none."""
    try:
        done = programs.run(docker.logs(name), quiet=True)
    except LaunchError:
        return ""
    return telling_line(done.out + done.err)


def telling_line(log: str) -> str:
    """The last line that names a failure, without what surrounds its message; else the last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    found = next((line for line in reversed(lines) if _TELLING.search(line)), lines[-1] if lines else "")
    message = _MESSAGE.search(found)
    return (message[1] if message else found)[:200]


def _age(told: Mapping[str, Any], now: float) -> float:
    """Seconds since its last start; many where that does not show."""
    try:
        return abs(now - datetime.fromisoformat(str(told["StartedAt"])).timestamp())
    except (KeyError, ValueError):
        return float("inf")
