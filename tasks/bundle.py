"""`invoke bundle save|load|list FILE`: everything that a launch needs, in one file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.core.errors import BadInput
from tasks.core.files import sweep
from tasks.core.paths import folder_beside, output_file
from tasks.core.redact import redact
from tasks.core.units import megabytes
from tasks.engine.graph import fitted
from tasks.run.task import check_format, task

if TYPE_CHECKING:
    from tasks.clients.bundle import Bundle
    from tasks.run.session import Session

_PARTS = ("prepull", "registry", "cluster", "manifests", "helm")


@task(
    "profile",
    "set",
    "keep_going",
    "wait_lock",
    help={
        "action": "save, load or list",
        "file": "the bundle",
        "images": "save: additional image; can be repeated",
        "exclude": "save: exclude images by pattern (`*/name:*`); can be repeated",
        "platform": "save: for another machine, such as linux/arm64 (default: the engine's)",
        "format": "list: text or json",
        "settings": "list: print the settings that it was saved with, without secrets",
    },
    values={"action": ("save", "load", "list")},
)
def bundle(
    session: Session,
    action: str,
    file: str,
    images: list[str] = [],  # noqa: B006 - invoke takes a list for what can be given again
    exclude: list[str] = [],  # noqa: B006
    platform: str = "",
    format: str = "text",  # noqa: A002 - the option's name
    settings: bool = False,
) -> int:
    """Save everything that a launch needs into one file, load it on another machine, or list it."""
    path = output_file(file)
    check_format(format)
    if action == "save":
        return _save(session, path, tuple(images), tuple(exclude), platform)
    if action == "load":
        return _load(session, path)
    if action == "list":
        return _list(path, as_json=format == "json", settings=settings)
    raise BadInput(f"bundle cannot {action}", why="the actions are save, load and list", fix="invoke bundle save FILE")


def _save(session: Session, path: Path, add: tuple[str, ...], exclude: tuple[str, ...], platform: str) -> int:
    from contextlib import closing, nullcontext

    from tasks import registry
    from tasks.facts.programs import read_pins
    from tasks.run.bundle_save import check_image, opened, save_steps
    from tasks.run.bundle_sources import SaveOptions
    from tasks.run.gather import gather
    from tasks.run.session import bounds
    from tasks.settings.merge import as_json

    for each in add:
        check_image(each)
    if not path.parent.is_dir():
        raise BadInput(f"the folder {path.parent} does not exist", why="the bundle goes there", fix="create it first")
    old = opened(path)
    with closing(old) if old is not None else nullcontext(), session.locked():
        session.open_logs()
        session.ensure_programs()
        facts = gather(session, _PARTS, refuse=False)
        options = SaveOptions(
            path=path,
            platform=_platform(platform or facts.platform),
            settings=redact(as_json(session.resolved, "")).encode(),
            pins=read_pins(session.root),
            state=session.state,
            old=old,
            add=add,
            exclude=exclude,
        )
        sweep(path.parent)
        with folder_beside(path) as folder:
            steps = [*registry.steps(facts), *save_steps(facts, options, folder)]
            session.run(fitted(steps), bounds(facts), facts=facts)
    return 0


def _platform(text: str) -> str:
    if text.split("/", maxsplit=1)[0] != "linux" or text.split("/")[1:2] not in (["amd64"], ["arm64"], ["arm"]):
        raise BadInput(
            f"--platform is '{text}'", why="nodes run Linux", fix="use linux/amd64, linux/arm64 or linux/arm"
        )
    return text


def _load(session: Session, path: Path) -> int:
    from tasks.run.bundle_load import load_steps, opened, refuse_lacking
    from tasks.run.gather import gather
    from tasks.run.session import bounds

    with opened(path) as found, session.locked():
        session.bundle = found
        session.open_logs()
        session.ensure_programs()
        facts = gather(session, _PARTS[:2], refuse=False)
        refuse_lacking(facts, charts=False)
        session.run(fitted(load_steps(facts)), bounds(facts), facts=facts)
    return 0


def _list(path: Path, *, as_json: bool, settings: bool) -> int:
    from tasks.clients.bundle import Bundle
    from tasks.view.console import out, table, width_of

    with Bundle(path) as found:
        if settings:
            out([found.read(found.lock.settings).decode()])
        elif as_json:
            out([found.lock.text().decode().rstrip()])
        else:
            out([f"{found.lock.platform}, {found.lock.digest}", ""])
            out(table(_rows(found), head=("what", "name", "size", "digest"), width=width_of(sys.stdout)))
    return 0


def _rows(found: Bundle) -> list[list[str]]:
    lock = found.lock

    def row(what: str, name: str, digests: list[str]) -> list[str]:
        return [what, name, megabytes(sum(lock.blobs[each] for each in set(digests))), digests[0][:19]]

    rows = [row("image", name, [each.digest, *found.parts(each)]) for name, each in lock.images.items()]
    rows += [row("chart", each.name, [each.digest]) for each in lock.charts.values()]
    rows += [row("program", each.name, [each.digest]) for each in lock.programs.values()]
    return rows + [row("wheel", name, [digest]) for name, digest in lock.wheels.items()]
