"""The stand-in for docker: containers made, started, stopped, changed and removed, files in them, and commands."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from pathlib import Path

from tasks.rehearsal import containers, images, lifecycle, volumes
from tasks.rehearsal.docker import daemon_error, found
from tasks.rehearsal.docker_resources import pull
from tasks.rehearsal.flags import size
from tasks.rehearsal.folder import MARK
from tasks.rehearsal.program import Exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.rehearsal.containers import Container, Document
    from tasks.rehearsal.flags import Parsed
    from tasks.rehearsal.program import Call

_KUBECONFIG = "/output/kubeconfig.yaml"
"""Where k3d has k3s write it."""
_KILOBYTES = 131_072
"""What a registry's volume holds."""


def _make(call: Call, given: Parsed) -> str:
    """Make a container; its id. Raises `Exit`."""
    ref, *words = given.args
    if images.find(call.engine.read(), ref) is None:
        call.warn(f"Unable to find image '{ref}' locally")
        try:
            pull(call, ref, shown=False)
        except Exit as end:
            raise Exit(125, f"docker: {end.text}") from None
    name = given.get("name") or f"rehearsed_{containers.identity()[:8]}"
    with call.engine.change() as doc:
        refused = lifecycle.create_refused(call, doc, name, ref)
        if refused:
            raise Exit(125, f"docker: Error response from daemon: {refused}")
        made = containers.make(
            doc,
            name,
            ref,
            call.now(),
            labels=dict(row.partition("=")[::2] for row in given.all("label")),
            env=[*_variables(given.all("env-file")), *given.all("env")],
            cmd=words,
            ports=dict(_published(row) for row in given.all("publish")),
            binds=given.all("volume"),
            networks=[given.get("network") or "bridge"],
            restart=given.get("restart") or "no",
        )
        for bind in made["binds"]:
            source = bind.split(":")[0]
            if "/" not in source:
                doc["volumes"].setdefault(source, {"created": call.now(), "labels": {}})
        return str(made["id"])


def _variables(paths: list[str]) -> list[str]:
    """Of env files. Raises `Exit`."""
    rows: list[str] = []
    for path in paths:
        try:
            rows += Path(path).read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise Exit(125, f"docker: open {path}: {(error.strerror or '').lower()}") from None
    return [row for row in rows if row.strip() and not row.startswith("#")]


def _published(row: str) -> tuple[str, list[dict[str, str]]]:
    *address, host, inside = row.split(":")
    port = inside if "/" in inside else f"{inside}/tcp"
    return port, [{"HostIp": address[0] if address else "", "HostPort": host}]


def _create(call: Call, given: Parsed) -> None:
    call.say(_make(call, given))


def _run(call: Call, given: Parsed) -> None:
    if given.on("rm"):
        volumes.run(call, given)
        return
    made = _make(call, given)
    call.checkpoint()
    with call.engine.change() as doc:
        why = lifecycle.start(call, doc, doc["containers"][made], call.now())
    if why:
        raise Exit(125, f"docker: Error response from daemon: {why}")
    call.wait("registry start", given.get("name"))
    call.say(made)


def _each(call: Call, given: Parsed, act: Callable[[Document, Container], str], *, forced: bool = False) -> None:
    """Do something to each container; names on stdout, what was wrong on stderr. Raises `Exit`.

    `forced`: a container that does not exist is no failure.
    """
    wrong, failed = [], False
    with call.engine.change() as doc:
        for ref in given.args:
            container = containers.find(doc, ref)
            why = f"No such container: {ref}" if container is None else act(doc, container)
            if why:
                wrong.append(f"Error response from daemon: {why}")
                failed = failed or container is not None or not forced
            else:
                call.say(ref)
    if failed:
        raise Exit(1, "\n".join(wrong))
    for each in wrong:
        call.warn(each)


def _start(call: Call, given: Parsed) -> None:
    call.checkpoint()
    _each(call, given, lambda doc, each: lifecycle.start(call, doc, each, call.now()))
    if any("registry" in ref for ref in given.args):
        call.wait("registry start", *given.args)


def _stop(call: Call, given: Parsed) -> None:
    call.checkpoint()
    call.wait("stop", *given.args)

    def act(_doc: Document, each: Container) -> str:
        lifecycle.stop(call, each, call.now())
        return ""

    _each(call, given, act)


def _freeze(call: Call, given: Parsed, *, on: bool) -> None:
    def act(_doc: Document, each: Container) -> str:
        if not containers.running(each, call.now()):
            return f"container {each['id']} is not running"
        if bool(each.get("paused")) is on:
            return f"Container {each['id']} is {'already' if on else 'not'} paused"
        each["paused"] = on
        each["resumed"] = 0.0 if on else call.now()
        return ""

    _each(call, given, act)


def _pause(call: Call, given: Parsed) -> None:
    _freeze(call, given, on=True)


def _unpause(call: Call, given: Parsed) -> None:
    _freeze(call, given, on=False)


def _restart(call: Call, given: Parsed) -> None:
    def act(doc: Document, each: Container) -> str:
        lifecycle.stop(call, each, call.now())
        return lifecycle.start(call, doc, each, call.now())

    call.wait("stop", *given.args)
    _each(call, given, act)


def _remove(call: Call, given: Parsed) -> None:
    force = given.on("force")
    call.checkpoint()
    if force:
        call.wait("rm", *given.args)

    def act(doc: Document, each: Container) -> str:
        if containers.running(each, call.now()) and not force:
            return f'cannot remove container "{each["name"]}": container is running: stop it or force remove'
        lifecycle.remove(call, doc, each, call.now())
        return ""

    _each(call, given, act, forced=force)


def _update(call: Call, given: Parsed) -> None:
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


# -- files and commands in containers ---------------------------------------------------------------------


def kubeconfig(call: Call, container: Container) -> str:
    """As k3s writes it, but with a mark that this cluster is rehearsed, and certificates that are none."""

    def pem(kind: str, text: str) -> str:
        made = f"-----BEGIN {kind}-----\nREHEARSAL {text} of {container['name']}\n-----END {kind}-----\n"
        return base64.b64encode(made.encode()).decode()

    return (
        "apiVersion: v1\n"
        "clusters:\n"
        "- cluster:\n"
        f"    certificate-authority-data: {pem('CERTIFICATE', 'authority')}\n"
        "    extensions:\n"
        f"    - extension: {{folder: {json.dumps(str(call.folder.root))}}}\n"
        f"      name: {MARK}\n"
        "    server: https://127.0.0.1:6443\n"
        "  name: default\n"
        "contexts:\n"
        "- context:\n"
        "    cluster: default\n"
        "    user: default\n"
        "  name: default\n"
        "current-context: default\n"
        "kind: Config\n"
        "users:\n"
        "- name: default\n"
        "  user:\n"
        f"    client-certificate-data: {pem('CERTIFICATE', 'admin')}\n"
        f"    client-key-data: {pem('EC PRIVATE KEY', 'admin')}\n"
    )


def _file(call: Call, container: Container, path: str) -> str | None:
    if path == _KUBECONFIG and container["labels"].get("k3d.role") == "server":
        begun = any(containers.reached(container, mark, call.now()) for mark in ("apiserver", "answers"))
        return kubeconfig(call, container) if begun or container["lives"][1:] else None
    if path == volumes.PASSWORD:
        return f"{container['id']}\n"
    text = container["files"].get(path)
    return None if text is None else str(text["text"])


def _copy(call: Call, given: Parsed) -> None:
    source, target = given.args
    if ":" in source and not source.startswith("/"):
        ref, _, path = source.partition(":")
        _copy_out(call, ref, path, target)
    elif ":" in target:
        ref, _, path = target.partition(":")
        _copy_in(call, source, ref, path)
    else:
        raise Exit(1, "must specify at least one container source")


def _copy_out(call: Call, ref: str, path: str, target: str) -> None:
    text = _file(call, found(call.engine.read(), ref), path)
    if text is None:
        raise daemon_error(f"Could not find the file {path} in container {ref}")
    data = text.encode()
    if target != "-":
        Path(target).write_bytes(data)
        return
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        info = tarfile.TarInfo(path.rpartition("/")[2])
        info.size, info.mode, info.mtime = len(data), 0o600, int(call.now())
        archive.addfile(info, io.BytesIO(data))
    call.write(made.getvalue())


def _copy_in(call: Call, source: str, ref: str, path: str) -> None:
    try:
        text = Path(source).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise Exit(1, f"lstat {source}: {(error.strerror or '').lower()}") from None
    with call.engine.change() as doc:
        found(doc, ref)["files"][path] = {"text": text}


def _exec(call: Call, given: Parsed) -> None:
    """Those commands that the tasks run in nodes and registries."""
    ref, *words = given.args
    container = found(call.engine.read(), ref)
    if not containers.running(container, call.now()):
        raise daemon_error(f"container {container['id']} is not running")
    if words[0] == "du":
        call.say(f"{_KILOBYTES}\t{words[-1]}")
    elif words[0] == "wget" and container["labels"].get("k3d.role") == "registry":
        held = len(container.get("holds", ()))
        counts = {"Requests": 10 * held, "Hits": 9 * held, "Misses": held, "BytesPulled": held, "BytesPushed": 9 * held}
        call.say(json.dumps({"registry": {"proxy": {"blobs": counts, "manifests": counts}}}))
    elif words[:2] == ["sh", "-c"] and len(words) > 4 and "crictl pull" in words[2]:
        call.say("\n".join(words[4:]))
    elif words[0] not in ("true", "sync"):
        raise Exit(127, f'OCI runtime exec failed: exec: "{words[0]}": executable file not found in $PATH')


COMMANDS = {
    "run": _run,
    "create": _create,
    "start": _start,
    "stop": _stop,
    "pause": _pause,
    "unpause": _unpause,
    "restart": _restart,
    "rm": _remove,
    "update": _update,
    "cp": _copy,
    "exec": _exec,
}
