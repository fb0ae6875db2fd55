"""`invoke snapshot`: save, list, delete, export and import the state of a cluster."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tasks.core.errors import BadInput
from tasks.core.paths import expanded, output_file
from tasks.core.units import megabytes
from tasks.run.task import check_format, task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.clients.snapshots import Manifest
    from tasks.run.session import Session


@task(
    "profile",
    "set",
    "engine",
    "wait_lock",
    help={
        "save": "save the cluster under this name",
        "replace": "with --save or --import: replace the snapshot of that name",
        "delete": "delete this snapshot",
        "export": "write this snapshot into a file (--file)",
        "import_": "import a snapshot from this file; under its name, or that of --name",
        "file": "with --export: the file",
        "name": "with --import: another name",
        "format": "list: text or json",
    },
    values=dict.fromkeys(("save", "delete", "export"), "tasks.run.completion:snapshots"),
)
def snapshot(
    session: Session,
    save: str = "",
    delete: str = "",
    export: str = "",
    import_: str = "",
    replace: bool = False,
    file: str = "",
    name: str = "",
    format: str = "text",  # noqa: A002 - the option's name
) -> int:
    """Save the cluster's state for `up --snapshot NAME`; without an option, list all snapshots."""
    check_format(format)
    options = {"--save": save, "--delete": delete, "--export": export, "--import": import_}
    given = [name for name, value in options.items() if value]
    if len(given) > 1:
        raise BadInput(f"{' and '.join(given)} cannot be combined", why="each is done alone", fix="use one")
    if replace and not (save or import_):
        raise BadInput("--replace has no meaning here", why="only --save and --import write a snapshot", fix="omit it")
    if not session.options.owns_cluster:
        raise BadInput(
            "--engine existing has no meaning for `snapshot`",
            why="the nodes of that cluster are not managed by this project",
            fix="omit --engine",
        )
    if save:
        return _save(session, save, replace=replace)
    if delete:
        return _delete(session, delete)
    if export or import_:
        from tasks.run import snapshot_files

        if session.options.engine == "rehearsal":
            raise BadInput("a rehearsed snapshot has no data", why="it contains nothing real", fix="omit --engine")
        if import_:
            return snapshot_files.import_file(session, expanded(import_).absolute(), name, replace_old=replace)
        if not file:
            raise BadInput("--export needs --file FILE", why="the snapshot is written to it", fix="add it")
        return snapshot_files.export(session, export, output_file(file))
    return _list(session, as_json=format == "json")


def _save(session: Session, name: str, *, replace: bool) -> int:
    from tasks.clients.snapshots import check_name
    from tasks.run.gather import gather
    from tasks.run.session import bounds
    from tasks.run.snapshot_save import Saving, require_savable, save_steps
    from tasks.run.snapshots import name_locked, new_id, refuse_existing, settle, store

    found = store(session)
    check_name(name)
    with session.locked(), name_locked(found, name, "snapshot --save"):
        old = found.find(name)
        refuse_existing(found, old, replace=replace)
        session.open_logs()
        facts = gather(session, ("helm",), refuse=False)
        require_savable(facts)
        saving = Saving(facts=facts, name=name, id=new_id(), old=old, store=found)
        with found.journal(saving.id, volumes=saving.volumes, paused=saving.to_pause) as journal:
            try:
                session.run(save_steps(saving), bounds(facts), facts=facts)
            finally:
                settle(facts.programs, found, journal)
    return 0


def _delete(session: Session, name: str) -> int:
    from tasks.run.snapshots import clear, name_locked, settle, store
    from tasks.view.console import out

    found = store(session)
    manifest = found.get(name)
    programs = session.programs()
    with name_locked(found, name, "snapshot --delete"):
        clear(programs, found)
        engine = manifest.engine or found.engine
        with found.journal(manifest.id, volumes=[node.volume for node in manifest.nodes], engine=engine) as journal:
            found.path(name).unlink(missing_ok=True)
            if engine == found.engine:
                settle(programs, found, journal)
    if session.rehearsal is not None:
        session.rehearsal.leave()
    later = "" if engine == found.engine else f" Its data will be deleted by the next call that uses {engine}."
    out([f"The snapshot '{name}' is deleted.{later}"])
    return 0


def _list(session: Session, *, as_json: bool) -> int:
    from tasks.k3d.recorded import changed
    from tasks.run.gather import gather
    from tasks.run.snapshots import clear, lost_volumes, store
    from tasks.view.console import out, table, width_of

    found = store(session)
    facts = gather(session, (), refuse=False)
    clear(facts.programs, found)
    rows = [
        (each, changed(facts.settings, facts.shape, each.config), lost_volumes(facts.programs, each))
        for each in found.all()
    ]
    if as_json:
        out([json.dumps([_document(*row) for row in rows], indent=1)])
        return 0
    cells = [
        [
            each.name,
            each.cluster,
            _age(each.created),
            megabytes(each.bytes) if not lost else "not on this engine",
            each.kubernetes,
            f"{each.servers} + {each.agents}",
            ", ".join(sorted(name.partition("/")[2] for name in each.releases))
            or ("none" if each.images else "unknown"),  # stopped nodes do not report them
            "; ".join(differs) or "none",
        ]
        for each, differs, lost in rows
    ]
    head = ("snapshot", "cluster", "age", "size", "Kubernetes", "nodes", "releases", "settings that differ")
    out(table(cells, head=head, width=width_of(sys.stdout), whole=(0, 1)) if cells else ["There are no snapshots."])
    return 0


def _document(each: Manifest, differs: Sequence[str], lost: Sequence[str]) -> dict[str, object]:
    """Nothing secret: no token and no configuration."""
    return {
        "name": each.name,
        "cluster": each.cluster,
        "created": each.created,
        "bytes": each.bytes,
        "kubernetes": each.kubernetes,
        "image": each.image,
        "servers": each.servers,
        "agents": each.agents,
        "releases": dict(each.releases),
        "images": list(each.images),
        "ports": dict(each.ports),
        "differs": list(differs),
        "lost": list(lost),
    }


def _age(created: str) -> str:
    try:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(created)).total_seconds()
    except (ValueError, TypeError):
        return "unknown"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"
