"""One launch: the comparison modes' commands, or a real `invoke up`, with the times of its steps."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tasks.bench.busy import busy
from tasks.bench.commands import Act, Stage
from tasks.bench.place import Place
from tasks.errors import LaunchError
from tasks.tools.program import Command, CommandFailed, Programs

_LONGEST = 7200.0
"""Seconds of one launch."""
Spans = dict[str, tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Launched:
    """How one launch went; seconds from its start."""

    wall_s: float
    busy_s: float
    spans: Spans = field(default_factory=dict)
    path: tuple[str, ...] = ()
    """The critical path, by names of steps."""


def timed(act: Callable[[], tuple[Spans, tuple[str, ...]]]) -> Launched:
    """Do it, and take its time."""
    worked, begin = busy(), time.monotonic()
    spans, path = act()
    wall = time.monotonic() - begin
    return Launched(wall_s=wall, busy_s=busy() - worked, spans=spans, path=path)


def drive(programs: Programs, stages: Sequence[Stage], *, together: bool) -> tuple[Spans, tuple[str, ...]]:
    """The commands of all stages, one at a time, or those of a stage together. Raises `LaunchError`."""
    begin = time.monotonic()
    spans: Spans = {}

    def run(act: Act) -> None:
        start = time.monotonic() - begin
        programs.run(act.command)
        spans[act.name] = (start, time.monotonic() - begin)

    if not together:
        for act in (act for stage in stages for act in stage.acts):
            run(act)
        return spans, tuple(spans)
    path = []
    widest = max(len(stage.acts) for stage in stages)
    with ThreadPoolExecutor(max_workers=widest) as pool:
        for stage in stages:
            for done in [pool.submit(run, act) for act in stage.acts]:
                done.result()
            path.append(max((act.name for act in stage.acts), key=lambda name: spans[name][1]))
    return spans, tuple(path)


def task(place: Place, *words: str) -> Command:
    """A task of this project as a process of its own."""
    options = (*place.chosen, *(() if words[0] == "rehearse" else place.engine))  # that one has its own
    return Command(argv=(sys.executable, "-m", "invoke", *words, *options), cwd=place.session.root, deadline=_LONGEST)


def up(place: Place, programs: Programs) -> tuple[Spans, tuple[str, ...]]:
    """A whole launch by the graph. Raises `LaunchError`."""
    try:
        programs.run(task(place, "rehearse", *place.asked) if place.asked else task(place, "up"))
    except CommandFailed as error:
        raise LaunchError("`invoke up` has failed", why="\n".join(error.tail()), fix="run it by hand") from None
    return recorded(place)


def recorded(place: Place) -> tuple[Spans, tuple[str, ...]]:
    """Times and critical path of the last launch, by its record."""
    path = place.folder / "logs" / "latest.json"
    try:
        made: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}, ()
    spans = {
        step["name"]: (float(step["start_s"]), float(step["end_s"]))
        for step in made["steps"]
        if step["state"] == "ran" and step["start_s"] is not None
    }
    return spans, tuple(name for name in made["critical_path"] if name in spans)
