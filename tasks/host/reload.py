"""Whether dockerd takes a file, and whether it has taken it: asked, told, and listened for."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

from tasks.core.errors import LaunchError
from tasks.engine.step import Context
from tasks.host.daemon_json import DOWNLOADS, MIRRORS, UPLOADS, get, mirrors, number, plain
from tasks.host.writer import Hands
from tasks.process.command import Command, CommandFailed, DeadlinePassed, Programs

PATIENCE = 10.0
"""Seconds from the signal to the event; a reload needs milliseconds."""
_CANNOT_TELL = ("unknown flag", "flag provided but not defined", "root privileges", "run as root")
"""dockerd before version 23 does not validate."""


class Refused(LaunchError):
    """dockerd would not start with the file."""


class NotReloaded(LaunchError):
    """Docker has not taken the file over."""


class _Heard(Exception):
    """Ends the listening."""

    def __init__(self, attributes: Mapping[str, str]) -> None:
        super().__init__()
        self.attributes = attributes


def validate(programs: Programs, places: Sequence[str], data: bytes, context: Context | None) -> str | None:
    """What dockerd has against a file; None: nothing, or there is no dockerd that can tell."""
    path = next((found for name in places if (found := programs.where(name)) is not None), None)
    if path is None:
        return None
    with tempfile.NamedTemporaryFile(suffix=".json") as file:  # mode 0600
        file.write(data)
        file.flush()
        command = Command(argv=(path, "--validate", f"--config-file={file.name}"), deadline=20.0)
        try:
            programs.run(command, context)
        except CommandFailed as error:
            said = f"{error.done.out}\n{error.done.err}"
            if isinstance(error, DeadlinePassed) or any(text in said for text in _CANNOT_TELL):
                return None
            lines = error.tail()
            return (lines[-1] if lines else error.what).replace(file.name, "it")
        except LaunchError:  # it could not even be started
            return None
    return None


def reload(programs: Programs, hands: Hands, pid: int, text: str, context: Context | None) -> None:
    """Have Docker read the file again, which holds this text. Raises `NotReloaded`.

    The engine tells of a reload by an event with all values in force (moby: `daemon/reload.go`); one that refuses the
    file only logs that, and goes on with the old values. An engine that reads another file tells other values.
    """
    since = time.time()  # as the engine's events are timed: it runs on this machine
    hands.signal(pid)
    told = _listen(programs, since, context)
    if told is None:
        raise NotReloaded(
            f"Docker has not read its daemon.json again within {PATIENCE:g} s",
            why="it refuses the file, or the process that got the signal is another engine's",
            fix="its log tells more: `journalctl --unit docker --lines 20`",
        )
    wrong = differences(told, text)
    if wrong:
        raise NotReloaded(
            "Docker has read another daemon.json than the one that was written",
            why="it tells of " + ", ".join(wrong),
            fix="name the right file in the setting docker.daemon_json",
        )


def differences(told: Mapping[str, str], text: str) -> list[str]:
    """Values of a reload that are not those of the text. What is not told is not compared."""
    found = [
        f"{key} {told[key]}" for key in (DOWNLOADS, UPLOADS) if key in told and told[key] != str(number(text, key))
    ]
    if MIRRORS in told and get(text, MIRRORS) is not None:  # without the key they stay as they were
        have = {plain(each) for each in _list(told[MIRRORS])}
        if have != {plain(each) for each in mirrors(text)}:
            found.append(f"{MIRRORS} {told[MIRRORS]}")
    return found


def _listen(programs: Programs, since: float, context: Context | None) -> Mapping[str, str] | None:
    """The values that the next reload tells; None if there is none in time."""

    def hear(line: str) -> None:
        told = _attributes(line)
        if told is not None:
            raise _Heard(told)

    command = Command(
        argv=(
            *("docker", "events", "--since", f"{since:.6f}", "--until", f"{since + PATIENCE:.6f}"),
            *("--filter", "type=daemon", "--filter", "event=reload", "--format", "{{json .}}"),
        ),
        deadline=PATIENCE + 10.0,
    )
    try:
        programs.run(command, context, listen=hear)
    except _Heard as heard:
        return heard.attributes
    except CommandFailed:
        return None
    return None


def _attributes(line: str) -> dict[str, str] | None:
    try:
        found: Any = json.loads(line)["Actor"]["Attributes"]
    except (ValueError, KeyError, TypeError):
        return None
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else None


def _list(text: str) -> list[str]:
    try:
        found = json.loads(text)
    except ValueError:
        return []
    return [str(each) for each in found] if isinstance(found, list) else []
