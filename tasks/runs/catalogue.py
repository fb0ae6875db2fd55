"""Recorded runs on disk: finding one, reading its record and the logs of its steps."""

import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tasks.core.errors import BadInput
from tasks.core.files import file_name
from tasks.core.paths import expanded, log_folder, run_name
from tasks.core.redact import clean, redact
from tasks.core.units import MIB
from tasks.engine.record import RunRecord

LATEST, PREVIOUS = "latest", "previous"
_NAME = re.compile(r"\d{8}T\d{6}\.\d{3}Z-(?P<task>.+?)(-\d+)?")
"""The format of `tasks.core.paths.run_name`; a number follows if two runs started in the same millisecond."""
_OLDEST = 500
"""Runs in a history."""
_ALL_LOGS = 400_000
"""Bytes of all logs together in a report: a page of 500 steps stays below 1 MB."""
_ONE_LOG = 8000
_FAILED_LOG = 16_000
"""For a step that failed, whose output is what users look for."""
_LEAST_LOG = 400
_LARGEST = 64 * MIB
"""A larger file is not a record."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A record on disk."""

    name: str
    path: Path

    @property
    def logs(self) -> Path:
        """The folder of the steps' logs."""
        return self.path.with_name(self.name)


@dataclass(frozen=True, kw_only=True)
class Log:
    """A step's log; long ones without the middle."""

    path: str
    command: str = ""
    """The first command, in pasteable form; empty for a step that started none."""
    lines: tuple[str, ...] = ()
    left_out: int = 0
    """Bytes of the omitted middle."""

    def after_command(self, last: int | None = None) -> tuple[str, ...]:
        """Its lines without the command if that is the first; `last`: only that many from the end."""
        first = bool(self.command) and self.lines[:1] == (f"$ {self.command}",)
        lines = self.lines[first:]
        return lines if last is None else lines[-last:]


def find(log_dir: Path, given: str) -> Recorded:
    """The run for a name or path: `latest`, a task, a run's name or its prefix, a file or folder.

    Raises `BadInput` if there is none, or more than one.
    """
    if "/" in given or given.endswith(".json"):
        return _at(expanded(given))
    names = run_names(log_dir)
    if not names:
        raise BadInput(
            f"no run is recorded below {log_dir}",
            why="every task that acts writes its record there",
            fix="invoke up; or set DEPLOY_LOG_DIR to the folder with the records",
        )
    if given in ("", LATEST):
        return _latest(log_dir, names)
    of_task = [name for name in names if _task(name) == given]
    beginning = [name for name in names if name.startswith(given)]
    if given in names:
        return _named(log_dir, given)
    if of_task:
        return _named(log_dir, of_task[-1])
    if len(beginning) == 1:
        return _named(log_dir, beginning[0])
    if beginning:
        raise BadInput(
            f"{len(beginning)} runs begin with '{given}'",
            why=f"among them {beginning[0]} and {beginning[-1]}",
            fix="use more of the name",
        )
    near = difflib.get_close_matches(given, {*names, *map(_task, names)}, n=1)
    raise BadInput(
        f"no run is called '{given}'",
        why=f"the newest is {names[-1]}",
        fix=f"did you mean '{near[0]}'?" if near else "invoke report --history lists them",
    )


def before(log_dir: Path, run: RunRecord) -> Recorded:
    """The previous launch for a comparison: of the same task and engine. Raises `BadInput`."""
    for name in reversed(run_names(log_dir)):
        if name >= run.name or _task(name) != run.task:
            continue
        found = _named(log_dir, name)
        other = _readable(found)
        if other is not None and other.engine == run.engine and other.mostly_ran == run.mostly_ran:
            return found
    raise BadInput(
        f"no run of '{run.task}' on {run.engine} before {run.name} is recorded below {log_dir}",
        why="runs that found nearly everything done are not compared with launches, nor with failed ones",
        fix="name the other run: invoke report --history lists them",
    )


def read(found: Recorded) -> RunRecord:
    """The run in a record. Raises `BadInput`."""
    return RunRecord.from_json(_document(found.path), found.name)


def every(log_dir: Path) -> list[RunRecord]:
    """All recorded runs, the oldest first; other files are skipped."""
    runs = (_readable(_named(log_dir, name)) for name in run_names(log_dir)[-_OLDEST:])
    return [run for run in runs if run is not None]


def _readable(found: Recorded) -> RunRecord | None:
    try:
        return read(found)
    except BadInput:
        return None


def run_names(log_dir: Path) -> list[str]:
    """The names of all records, the oldest first. Raises `BadInput` for a foreign folder."""
    runs = log_dir / "runs"
    if not runs.is_dir():
        return []
    log_folder(log_folder(log_dir) / "runs")
    return sorted(path.stem for path in runs.glob("*.json") if _NAME.fullmatch(path.stem))


def _task(name: str) -> str:
    match = _NAME.fullmatch(name)
    return match["task"] if match else ""


def _named(log_dir: Path, name: str) -> Recorded:
    return Recorded(name=name, path=log_dir / "runs" / f"{name}.json")


def _latest(log_dir: Path, names: list[str]) -> Recorded:
    """The run that latest.json is a copy of; the newest, if that is unknown."""
    try:
        document = _document(log_dir / "latest.json")
        name = run_name(document["task"], datetime.fromisoformat(document["started"]))
    except (BadInput, KeyError, TypeError, ValueError):
        return _named(log_dir, names[-1])
    return _named(log_dir, name if name in names else names[-1])


def _at(path: Path) -> Recorded:
    """A record by its own path, or by that of its logs' folder."""
    if path.is_dir():
        path = path.with_name(f"{path.name}.json")
    return Recorded(name=path.name.removesuffix(".json"), path=path.absolute())


def _document(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    try:
        if path.stat().st_size > _LARGEST or not path.is_file():
            raise BadInput(f"{path} is not a record of a run", why="it is too large, or no file", fix="choose another")
        return json.loads(redact(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise BadInput(
            f"{path} cannot be read", why=error.strerror or str(error), fix="invoke report --history lists the runs"
        ) from None
    except (ValueError, RecursionError) as error:
        raise BadInput(
            f"{path} is not a record of a run", why=f"it is no JSON: {error}", fix="choose another"
        ) from None


def logs_of(found: Recorded, run: RunRecord) -> dict[str, Log]:
    """The logs by step; steps without output have none."""
    paths = {row.name: found.logs / f"{file_name(row.name)}.log" for row in run.results}
    paths = {name: path for name, path in paths.items() if path.is_file() and not path.is_symlink()}
    share = max(_LEAST_LOG, min(_ONE_LOG, _ALL_LOGS // max(1, len(paths))))
    failed = {row.name for row in run.failed}
    return {name: _log(path, _FAILED_LOG if name in failed else share) for name, path in paths.items()}


def _log(path: Path, most: int) -> Log:
    """A log's beginning and its end, together at most that many bytes; the first command is at its beginning."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            if size <= most:
                raw, left_out = file.read(), 0
            else:
                head = file.read(most // 4)
                file.seek(size - most * 3 // 4)
                raw, left_out = head + "\n⋯\n".encode() + file.read(), size - most
    except OSError as error:
        return Log(path=str(path), lines=(f"it cannot be read: {error.strerror or error}",))
    lines = tuple(_lines(redact(raw.decode("utf-8", "replace"))))
    command = next((text[2:] for text in lines if text.startswith("$ ")), "")
    return Log(path=clean(str(path)), command=command, lines=lines, left_out=left_out)


def _lines(text: str) -> Iterator[str]:
    """Without control characters, and as on a terminal: after a carriage return, the last text."""
    for each in text.split("\n"):
        yield clean(each.rstrip("\r").rsplit("\r", 1)[-1]).rstrip()
