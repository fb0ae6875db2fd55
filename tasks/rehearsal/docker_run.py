"""`docker run`, `create`, `start`, `stop`, `kill`, `restart`, `rm`, `update` and `wait`: containers by hand."""

from __future__ import annotations

from pathlib import Path

from tasks.core.units import memory_bytes
from tasks.rehearsal import containers, starting
from tasks.rehearsal.call import Exit
from tasks.rehearsal.docker import Command, daemon
from tasks.rehearsal.docker_networks import labelled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.rehearsal.call import Call
    from tasks.rehearsal.containers import Container, Document
    from tasks.rehearsal.flags import Given

_MAKING = (
    "name=s restart=s publish,p=l volume,v=l label,l=l env,e=l env-file=l network=s entrypoint=s detach,d rm "
    "interactive,i tty,t memory,m=s memory-swap=s cpus=s hostname,h=s privileged user,u=s workdir,w=s pull=s init "
    "tmpfs=l add-host=l platform=s"
)


def size(text: str) -> int:
    """Bytes of 512m. Raises `ValueError`."""
    try:
        return memory_bytes(text)
    except ValueError:
        raise ValueError(f"invalid size: '{text}'") from None


def _make(call: Call, given: Given) -> tuple[Document, Container]:
    """A container of the engine's document, which is being changed. Raises `Exit`."""
    from tasks.rehearsal.docker_images import pull

    ref, *words = given.args
    if starting.image(call.engine.read(), ref) is None:
        call.warn(f"Unable to find image '{ref}' locally")
        try:
            pull(call, ref, told=False)
        except Exit as end:
            raise Exit(125, f"docker: {end.text}\n\nRun 'docker run --help' for more information") from None
    there = call.engine.read()
    name = given.get("name") or f"rehearsed_{containers.identity()[:8]}"
    refused = starting.create_refused(call, there, name, ref)
    if refused:
        raise Exit(
            125, f"docker: Error response from daemon: {refused}\n\nRun 'docker run --help' for more information"
        )
    with call.engine.change() as doc:
        made = containers.make(
            doc,
            name,
            ref,
            call.now(),
            labels=labelled(given.all("label")),
            env=[*_rows(given.all("env-file")), *given.all("env")],
            cmd=words,
            ports=dict(_published(given.all("publish"))),
            binds=given.all("volume"),
            networks=[given.get("network") or "bridge"],
            restart=given.get("restart") or "no",
        )
        for bind in made["binds"]:
            source = bind.split(":")[0]
            if "/" not in source:
                doc["volumes"].setdefault(source, {"created": call.now(), "labels": {}})
        return doc, made


def _rows(paths: list[str]) -> list[str]:
    """Variables of env files. Raises `Exit`."""
    found = []
    for path in paths:
        try:
            rows = Path(path).read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise Exit(125, f"docker: open {path}: {(error.strerror or '').lower()}") from None
        found += [row for row in rows if row.strip() and not row.startswith("#")]
    return found


def _refused(why: str) -> Exit:
    return Exit(125, f"docker: Error response from daemon: {why}\n\nRun 'docker run --help' for more information")


def _published(rows: list[str]) -> list[tuple[str, list[dict[str, str]]]]:
    found = []
    for row in rows:
        *address, host, inside = row.split(":")
        port = inside if "/" in inside else f"{inside}/tcp"
        found.append((port, [{"HostIp": address[0] if address else "", "HostPort": host}]))
    return found


def _create(call: Call, given: Given) -> None:
    _, made = _make(call, given)
    call.say(made["id"])


def _run(call: Call, given: Given) -> None:
    _, made = _make(call, given)
    call.middle()
    with call.engine.change() as doc:
        why = starting.start(call, doc, doc["containers"][made["id"]], call.now())
    if why:
        raise _refused(why)
    call.wait("registry start", made["name"])
    call.say(made["id"])


def _each(call: Call, given: Given, act: Callable[[Document, Container], str], *, forced: bool = False) -> None:
    """Do something to each; names on stdout, what was wrong on stderr. Raises `Exit`."""
    wrong, failed = [], False
    with call.engine.change() as doc:
        for ref in given.args:
            container = containers.find(doc, ref)
            if container is None:
                wrong.append(f"Error response from daemon: No such container: {ref}")
                failed = failed or not forced
                continue
            why = act(doc, container)
            if why:
                wrong.append(f"Error response from daemon: {why}")
                failed = True
            else:
                call.say(ref)
    if failed:
        raise Exit(1, "\n".join(wrong))
    for each in wrong:
        call.warn(each)


def _start(call: Call, given: Given) -> None:
    call.middle()
    _each(call, given, lambda doc, each: starting.start(call, doc, each, call.now()))
    if any("registry" in ref for ref in given.args):
        call.wait("registry start", *given.args)


def _stop(call: Call, given: Given) -> None:
    call.middle()
    call.wait("stop", *given.args)

    def act(_doc: Document, each: Container) -> str:
        starting.stop(call, each, call.now())
        return ""

    _each(call, given, act)


def _kill(call: Call, given: Given) -> None:
    def act(_doc: Document, each: Container) -> str:
        if not containers.running(each, call.now()):
            return f"cannot kill container: {each['name']}: container {each['id']} is not running"
        starting.stop(call, each, call.now(), 137)
        return ""

    _each(call, given, act)


def _restart(call: Call, given: Given) -> None:
    def act(doc: Document, each: Container) -> str:
        starting.stop(call, each, call.now())
        return starting.start(call, doc, each, call.now())

    call.wait("stop", *given.args)
    _each(call, given, act)


def _remove(call: Call, given: Given) -> None:
    force = given.on("force")
    call.middle()
    if force:
        call.wait("rm", *given.args)

    def act(doc: Document, each: Container) -> str:
        if containers.running(each, call.now()) and not force:
            told = "container is running: stop the container before removing or force remove"
            return f'cannot remove container "{each["name"]}": {told}'
        starting.remove(call, doc, each, call.now())
        return ""

    _each(call, given, act, forced=force)


def _update(call: Call, given: Given) -> None:
    try:
        cpus = round(float(given.get("cpus") or 0) * 1e9)
        memory, swap = (size(given.get(name)) if given.get(name) else 0 for name in ("memory", "memory-swap"))
    except ValueError as error:
        raise Exit(125, f"invalid argument: {error}") from None

    def act(_doc: Document, each: Container) -> str:
        if cpus:
            each["cpus"] = cpus
        if memory:
            each["memory"], each["swap"] = memory, swap or 2 * memory
        return ""

    _each(call, given, act)


def _wait(call: Call, given: Given) -> None:
    for ref in given.args:
        while True:
            container = containers.find(call.engine.read(), ref)
            if container is None:
                raise daemon(f"No such container: {ref}")
            if not containers.running(container, call.now()):
                call.say(str(containers.status(container, call.now())["ExitCode"]))
                break
            call.times.wait(0.05)


_MANY = "CONTAINER [CONTAINER...]"
COMMANDS = {
    "run": Command("run [OPTIONS] IMAGE [COMMAND] [ARG...]", _MAKING, _run, least=1, mixed=False),
    "create": Command("create [OPTIONS] IMAGE [COMMAND] [ARG...]", _MAKING, _create, least=1, mixed=False),
    "start": Command(f"start [OPTIONS] {_MANY}", "attach,a interactive,i", _start, least=1),
    "stop": Command(f"stop [OPTIONS] {_MANY}", "signal,s=s timeout,t=i time=i", _stop, least=1),
    "kill": Command(f"kill [OPTIONS] {_MANY}", "signal,s=s", _kill, least=1),
    "restart": Command(f"restart [OPTIONS] {_MANY}", "signal,s=s timeout,t=i time=i", _restart, least=1),
    "rm": Command(f"rm [OPTIONS] {_MANY}", "force,f link,l volumes,v", _remove, least=1),
    "update": Command(
        f"update [OPTIONS] {_MANY}",
        "cpus=f memory,m=s memory-swap=s cpu-shares,c=i cpu-period=i cpu-quota=i pids-limit=i restart=s",
        _update,
        least=1,
    ),
    "wait": Command(f"wait {_MANY}", "", _wait, least=1),
}
