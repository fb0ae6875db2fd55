"""`invoke docker-tune`, and the first step of a launch where `docker.tune` is auto: Docker's daemon.json."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.core.errors import LaunchError, NoEngine
from tasks.core.imageref import HUB
from tasks.core.lock import held
from tasks.engine.step import Action, Bounds, Context, Report, Step
from tasks.run.task import task
from tasks.settings.derived import cache_container, cache_name

if TYPE_CHECKING:
    from tasks.facts.engine import Engine
    from tasks.facts.facts import Facts
    from tasks.facts.registries import Registry
    from tasks.host.daemon_json import Desired
    from tasks.host.tune import Work
    from tasks.run.session import Session
    from tasks.settings.schema import Settings

TASK = "docker-tune"
FILE, MIRROR, UNDO = "docker-tune: daemon.json", "docker-tune: mirror of Docker Hub", "docker-tune: undo"
UNMIRROR = "docker-tune: no mirror any more"


@task("profile", "set", help={"undo": "restore the original file"})
def docker_tune(session: Session, undo: bool = False) -> int:
    """Merge parallel downloads and a mirror of Docker Hub into Docker's daemon.json."""
    session = _with_logs_of_its_own(session)
    session.open_logs()
    step = _undoing(session) if undo else _tuning(session)
    session.run([step], Bounds(work=1))
    return 0


def steps(facts: Facts) -> list[Step]:
    """The steps in `up`: one before all others, and one for a mirror whose cache does not exist yet."""
    if facts.settings.docker.tune != "auto" or facts.host is None or facts.backend.rehearsed:
        return []  # a rehearsal does not touch the real Docker
    try:
        return _automatic(facts, facts.host)
    except LaunchError as error:  # a launch continues without it
        return [Step(name=FILE, task=TASK, skip=error.what)]


def first(plan_: Sequence[Step]) -> list[Step]:
    """The same plan, in which everything waits for that step, unless it is skipped."""
    if not any(step.name == FILE and step.skip is None for step in plan_):
        return list(plan_)
    return [step if step.needs or step.name == FILE else replace(step, needs=(FILE,)) for step in plan_]


def unmirrored(facts: Facts) -> list[Step]:
    """When the caches are removed: remove the mirror from Docker, or a later program on that port could serve as it."""
    from tasks.host.daemon import locate, runs_elsewhere
    from tasks.host.daemon_json import DOWNLOADS, MIRRORS, UPLOADS, Desired
    from tasks.host.tune import recorded, work_at
    from tasks.host.writer import NoRights, reader

    host, look = facts.host, reader(facts.programs)
    if host is None or runs_elsewhere(host) or facts.backend.rehearsed:
        return []
    place = locate(host, facts.environ, facts.settings.docker.daemon_json, look)
    record = recorded(place.file, look)
    if record is None or MIRRORS not in record.changes:
        return []
    try:
        work = work_at(place, facts.programs)
    except NoRights as error:
        return [Step(name=UNMIRROR, task=TASK, skip=f"{error.what}; `invoke docker-tune --undo`, as root, does it")]
    ours = {key: each.set for key, each in record.changes.items()}
    desired = Desired(downloads=ours.get(DOWNLOADS), uploads=ours.get(UPLOADS))
    act = _action(work, lambda: desired, _lock(facts.paths.state.parent))
    return [_step(UNMIRROR, act, f"{place.file} names {record.changes[MIRRORS].set}")]


def _automatic(facts: Facts, host: Engine) -> list[Step]:
    from tasks.facts.registries import port_of
    from tasks.host.daemon import elsewhere, locate, runs_elsewhere
    from tasks.host.daemon_json import MIRRORS
    from tasks.host.tune import plan, recorded, settled, work_at
    from tasks.host.writer import reader

    settings, look = facts.settings, reader(facts.programs)
    if runs_elsewhere(host):
        raise elsewhere(host, _desired(settings, None))
    place = locate(host, facts.environ, settings.docker.daemon_json, look)
    state, record = look(place.file), recorded(place.file, look)
    cache = _cache(settings)
    there = facts.registries.get(cache) if cache is not None else None
    late = cache is not None and (there is None or not there.started)
    desired = _desired(settings, there.port if there is not None and not late else None)
    if late and record is not None and MIRRORS in record.changes:  # until the new cache's address is known
        desired = replace(desired, mirror=record.changes[MIRRORS].set)
    made = plan(place, state, record, desired)
    done = settled(state, record, made)
    found = [Step(name=FILE, task=TASK, skip="; ".join((f"{place.file} is as configured", *made.left)))]
    if done and not late:
        return found
    work = work_at(place, facts.programs)
    lock = _lock(facts.paths.state.parent)
    if not done:
        found = [_step(FILE, _unless_untouched(_action(work, lambda: desired, lock)), "; ".join(made.messages))]
    if late and cache is not None:
        name = cache

        def then() -> Desired:
            return _desired(settings, port_of(facts, name))

        step = _step(MIRROR, _unless_untouched(_action(work, then, lock)), "the address of the cache that was made")
        hub = next(each for each in settings.registries.caches if each.upstream == HUB)
        found.append(replace(step, needs=(cache_name(hub),)))
    return found


def _tuning(session: Session) -> Step:
    from tasks.facts.engine import engine
    from tasks.host.daemon import elsewhere, locate, runs_elsewhere
    from tasks.host.tune import work_at
    from tasks.host.writer import reader

    settings: Settings = session.settings
    programs = session.programs()
    host = engine(programs)
    session.system.update(cpus=host.cpus, arch=host.arch, os=host.os, docker=host.version)
    cache = _cache(settings)
    there = _registry(session, cache) if cache is not None else None
    desired = _desired(settings, there.port if there is not None and there.started else None)
    if runs_elsewhere(host):
        raise elsewhere(host, desired)
    place = locate(host, session.environ, settings.docker.daemon_json, reader(programs))
    work = work_at(place, programs)
    missing = "the cache of Docker Hub does not exist (invoke registry creates it), so it is not set as a mirror"
    act = _action(work, lambda: desired, _lock(session.state / "clusters"))
    return _step(FILE, act if desired.mirror or cache is None else _saying(act, missing), str(place.file))


def _undoing(session: Session) -> Step:
    """From the record; in the usual places if the engine does not run, or runs elsewhere."""
    from tasks.facts.engine import engine
    from tasks.host.daemon import Place, known, locate, runs_elsewhere
    from tasks.host.tune import record_path, work_at
    from tasks.host.tune import undo as give_back
    from tasks.host.writer import reader

    programs = session.programs()
    look, setting = reader(programs), session.settings.docker.daemon_json
    places = [Place(file=file) for file in known(session.environ, setting)]
    try:
        host = engine(programs)
    except NoEngine:
        host = None
    if host is not None and not runs_elsewhere(host):
        places.insert(0, locate(host, session.environ, setting, look))
    place = next((each for each in places if look(record_path(each.file)) is not None), places[0])
    if look(record_path(place.file)) is None:
        return Step(name=UNDO, task=TASK, skip=f"nothing in {place.file} is this project's")
    work = work_at(place, programs)
    lock = _lock(session.state / "clusters")

    def act(context: Context) -> Report | None:
        with held(lock, TASK, context.deadline):
            return give_back(work.within(context))

    return _step(UNDO, act, str(place.file))


def _step(name: str, action: Action, why: str) -> Step:
    return Step(name=name, task=TASK, action=action, why=why, deadline=120.0, expected=0.5)


def _action(work: Work, desired: Callable[[], Desired], lock: Path) -> Action:
    from tasks.host.tune import tune

    def act(context: Context) -> Report | None:
        with held(lock, TASK, context.deadline):
            return tune(work.within(context), desired())

    return act


def _unless_untouched(action: Action) -> Action:
    """An action whose refusal to change the file does not fail a launch."""
    from tasks.host.tune import Untouched

    def act(context: Context) -> Report | None:
        try:
            return action(context)
        except Untouched as error:
            return Report(why=f"{error.what} ({error.why})", skipped=True)

    return act


def _saying(action: Action, text: str) -> Action:
    def act(context: Context) -> Report | None:
        report = action(context) or Report()
        return replace(report, why="; ".join(filter(None, (report.why, text))))

    return act


def _desired(settings: Settings, port: int | None) -> Desired:
    from tasks.host.daemon_json import Desired

    wanted = settings.docker
    return Desired(
        downloads=wanted.max_concurrent_downloads,
        uploads=wanted.max_concurrent_uploads,
        mirror=f"http://127.0.0.1:{port}" if port is not None and wanted.mirror else None,
    )


def _cache(settings: Settings) -> str | None:
    """The container of the cache that serves as the mirror; None if there is none."""
    caches = (each for each in settings.registries.caches if each.upstream == HUB)
    return next((cache_container(each) for each in caches), None) if settings.docker.mirror else None


def _registry(session: Session, name: str) -> Registry | None:
    from tasks.clients import docker
    from tasks.facts.registries import read

    out = session.programs().run(docker.inspect([name])).out
    return read(docker.inspected(out)).get(name)


def _lock(clusters: Path) -> Path:
    """Only one at a time, per user. No cluster can have this name."""
    return clusters / f".{TASK}.lock"


def _with_logs_of_its_own(session: Session) -> Session:
    """With sudo, the log folder would be created by root, and unusable for the user later: use root's own folder."""
    if os.geteuid() != 0 or session.environ.get("SUDO_UID", "0") == "0":
        return session
    return replace(session, resolved=session.resolved.with_log_dir(str(session.state / "openframe-logs")))
