"""The steps that fetch k3d, kubectl and helm where they are missing or too old."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.engine.step import Bounds, Retry, Step
from tasks.host.programs import Found, Need, need

if TYPE_CHECKING:
    from tasks.host.programs import Pins
    from tasks.host.published import Target
    from tasks.run.session import Session

TASK = "tools"
AT_ONCE = 3


def fetch_plan(session: Session) -> list[Step]:
    """A step for each program of the engine, skipped where nothing is missing. Starts no download.

    Raises `BadInput` for wrong pins, `LaunchError` where nothing is published for this machine.
    """
    names = session.backend.needs_programs
    if not names:
        return []
    from tasks.host.programs import read
    from tasks.host.published import target

    pins = read(session.root / "config" / "pins.yaml")
    found = _found(session, names)
    needs = {name: need(pins.of(name), found[name]) for name in names}
    machine = os.uname()
    here = target(machine.sysname, machine.machine) if any(each.fetch for each in needs.values()) else None
    return _steps(session, pins, needs, here)


def tools(session: Session) -> int:
    """Fetch what is missing, and nothing else: `make tools`."""
    session.open_logs()
    session.run(fetch_plan(session), Bounds(work=AT_ONCE), acts=False)
    return 0


def _found(session: Session, names: Sequence[str]) -> dict[str, Found | None]:
    """The programs that are there, with the versions that they tell."""
    programs = session.programs()
    paths = {name: path for name in names if (path := programs.where(name)) is not None}
    if not paths:
        return dict.fromkeys(names)
    from tasks.facts.programs import versions

    told = versions(programs, session.state)
    return {
        name: Found(
            path=paths[name],
            version=getattr(told, name),
            ours=Path(paths[name]).parent == programs.folder,
        )
        if name in paths
        else None
        for name in names
    }


def _steps(session: Session, pins: Pins, needs: Mapping[str, Need], here: Target | None) -> list[Step]:
    skipped = {
        name: Step(name=_name(name), task=TASK, action=lambda _context: None, skip=each.why)
        for name, each in needs.items()
        if here is None or not each.fetch
    }
    if here is None or len(skipped) == len(needs):
        return list(skipped.values())
    from tasks.host.programs import Fetch, mark
    from tasks.host.published import asset

    folder = session.root / ".tools" / "bin"
    made = []
    for name, each in needs.items():
        if name in skipped:
            made.append(skipped[name])
            continue
        file = asset(name, pins.of(name).version, here, session.settings.tools)
        plain = "; by http without encryption, so neither file nor checksum is proof against forgery"
        made.append(
            Step(
                name=_name(name),
                task=TASK,
                kind="download",
                action=Fetch(
                    asset=file,
                    folder=folder,
                    downloads=folder.parent / "downloads",
                    environ=session.environ,
                    before=mark(folder / name),
                ),
                deadline=session.settings.timeouts.pull,
                retry=Retry(attempts=4, first=1.0, cap=8.0),
                why=each.why + (plain if file.url.startswith("http://") else ""),
                expected=10.0,
            )
        )
    return made


def _name(program: str) -> str:
    return f"tools: {program}"
