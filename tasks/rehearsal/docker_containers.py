"""The stand-in for docker: containers made, started, stopped, changed and removed."""

from __future__ import annotations

from pathlib import Path

from tasks.core.units import memory_bytes
from tasks.rehearsal import engine, lifecycle
from tasks.rehearsal.docker_resources import KILOBYTES, copy_database, daemon_error, data_volume, for_each, labels, pull
from tasks.rehearsal.program import Exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.rehearsal.engine import Container, Document
    from tasks.rehearsal.program import Call, Commands, Given

_FREE = 100_000_000
"""Kilobytes of the disk that are free."""


def _create(call: Call, given: Given) -> None:
    call.say(_make(call, given))


def _run(call: Call, given: Given) -> None:
    if given.on("rm"):
        _copy_volume(call, given)
        return
    made = _make(call, given)
    call.checkpoint()
    with call.engine.change() as doc:
        why = lifecycle.start(call, doc, doc["containers"][made], call.now())
    if why:
        raise Exit(125, f"docker: {daemon_error(why).text}")
    call.wait("registry start", given.get("name"))
    call.say(made)


def _copy_volume(call: Call, given: Given) -> None:
    """`docker run --rm` of a snapshot: sizes, a save or a restore (`tasks.clients.volumes`). Raises `Exit`."""
    mounts = {target: source for source, target, *_ in (row.split(":") for row in given.all("volume"))}
    if "/from/000" in mounts:
        call.say("\n".join([*(str(KILOBYTES) for _ in mounts), str(_FREE)]))
        return
    source, target = mounts.get("/from", ""), mounts.get("/to/data") or mounts.get("/to", "")
    if not source or not target:
        raise Exit(125, "docker: this container is not rehearsed")
    call.wait("registry start")
    servers = (each for each in call.engine.read()["containers"].values() if each["name"].endswith("-server-0"))
    cluster = next((each["labels"]["k3d.cluster"] for each in servers if data_volume(each) == source), None)
    saved = call.folder.volume(source) if cluster is None else call.folder.cluster(cluster)
    copy_database(saved, call.folder.volume(target))
    call.say(str(KILOBYTES))


def _make(call: Call, given: Given) -> str:
    """Make a container; its id. Raises `Exit`."""
    ref, *words = given.args
    if engine.find_image(call.engine.read(), ref) is None:
        try:
            pull(call, ref, call.warn)
        except Exit as end:
            raise Exit(125, f"docker: {end.text}") from None
    name = given.get("name") or f"rehearsed_{engine.identity()[:8]}"
    files = (Path(path).read_text(encoding="utf-8").splitlines() for path in given.all("env-file"))
    ports: dict[str, list[dict[str, str]]] = {}
    for *address, host, inside in (row.split(":") for row in given.all("publish")):
        ports[f"{inside}/tcp"] = [{"HostIp": "".join(address), "HostPort": host}]
    with call.engine.change() as doc:
        refused = lifecycle.create_refused(call, doc, name, ref)
        if refused:
            raise Exit(125, f"docker: {daemon_error(refused).text}")
        made = engine.make(
            doc,
            name,
            ref,
            call.now(),
            labels=labels(given),
            env=[*(row for rows in files for row in rows), *given.all("env")],
            cmd=words,
            ports=ports,
            binds=given.all("volume"),
        )
        return str(made["id"])


def _each(call: Call, given: Given, act: Callable[[Document, Container], str], *, forced: bool = False) -> None:
    """Do something to each container; one that does not exist is no failure where it is `forced`. Raises `Exit`."""

    def found(doc: Document, ref: str) -> str:
        container = engine.find(doc, ref)
        if container is None:
            return "" if forced else f"No such container: {ref}"
        return act(doc, container)

    for_each(call, given.args, found)


def _start(call: Call, given: Given) -> None:
    call.checkpoint()
    _each(call, given, lambda doc, each: lifecycle.start(call, doc, each, call.now()))
    if any("registry" in ref for ref in given.args):
        call.wait("registry start", *given.args)


def _stop(call: Call, given: Given) -> None:
    call.checkpoint()
    call.wait("stop", *given.args)
    _each(call, given, lambda _, each: lifecycle.stop(call, each, call.now()))


def _restart(call: Call, given: Given) -> None:
    def act(doc: Document, each: Container) -> str:
        lifecycle.stop(call, each, call.now())
        return lifecycle.start(call, doc, each, call.now())

    call.wait("stop", *given.args)
    _each(call, given, act)


def _pause(call: Call, given: Given) -> None:
    """`docker pause` and `docker unpause`."""
    on = call.args[0] == "pause"

    def act(_doc: Document, each: Container) -> str:
        if not engine.running(each, call.now()):
            return f"container {each['id']} is not running"
        each["paused"], each["resumed"] = on, 0.0 if on else call.now()
        return ""

    _each(call, given, act)


def _remove(call: Call, given: Given) -> None:
    force = given.on("force")
    call.checkpoint()
    if force:
        call.wait("rm", *given.args)

    def act(doc: Document, each: Container) -> str:
        if engine.running(each, call.now()) and not force:
            return f'cannot remove container "{each["name"]}": container is running: stop it or force remove'
        lifecycle.remove(call, doc, each)
        return ""

    _each(call, given, act, forced=force)


def _update(call: Call, given: Given) -> None:
    limits = {"cpus": round(float(given.get("cpus") or 0) * 1e9), "memory": memory_bytes(given.get("memory") or "0")}
    _each(call, given, lambda _, each: each.update({key: value for key, value in limits.items() if value}) or "")


_MAKING = (
    "name= restart= publish=,p volume=,v label=,l env=,e env-file= network= detach,d rm interactive,i tty,t "
    "user=,u platform= pull= entrypoint="
)
COMMANDS: Commands = {
    "run": (_run, _MAKING, 1),
    "create": (_create, _MAKING, 1),
    "start": (_start, "", 1),
    "stop": (_stop, "timeout=,t", 1),
    "pause": (_pause, "", 1),
    "unpause": (_pause, "", 1),
    "restart": (_restart, "timeout=,t", 1),
    "rm": (_remove, "force,f volumes,v", 1),
    "update": (_update, "cpus= memory=,m memory-swap=", 1),
}
