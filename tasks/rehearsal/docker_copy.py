"""`docker cp` and `docker exec`."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from pathlib import Path

from tasks.rehearsal import containers
from tasks.rehearsal.call import Exit
from tasks.rehearsal.docker import Command, daemon
from tasks.rehearsal.place import MARK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tasks.rehearsal.call import Call
    from tasks.rehearsal.containers import Container
    from tasks.rehearsal.flags import Given

_KUBECONFIG = "/output/kubeconfig.yaml"
"""Where k3d has k3s write it."""
_SIZE = 131_072
"""Kilobytes that a registry keeps."""


def kubeconfig(call: Call, container: Container) -> str:
    """As k3s writes it, but with a sign that this cluster is rehearsed, and certificates that are none."""

    def pem(kind: str, text: str) -> str:
        made = f"-----BEGIN {kind}-----\nREHEARSAL {text} of {container['name']}\n-----END {kind}-----\n"
        return base64.b64encode(made.encode()).decode()

    folder = json.dumps(str(call.place.folder))
    return (
        "apiVersion: v1\n"
        "clusters:\n"
        "- cluster:\n"
        f"    certificate-authority-data: {pem('CERTIFICATE', 'authority')}\n"
        "    extensions:\n"
        f"    - extension: {{folder: {folder}}}\n"
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
    found = container["files"].get(path)
    return None if found is None else str(found["text"])


def _copy(call: Call, given: Given) -> None:
    source, target = given.args
    if ":" in source and not source.startswith("/"):
        ref, _, path = source.partition(":")
        _out(call, ref, path, target)
    elif ":" in target:
        ref, _, path = target.partition(":")
        _in(call, source, ref, path)
    else:
        raise Exit(1, "must specify at least one container source")


def _out(call: Call, ref: str, path: str, target: str) -> None:
    container = containers.find(call.engine.read(), ref)
    if container is None:
        raise daemon(f"No such container: {ref}")
    text = _file(call, container, path)
    if text is None:
        raise daemon(f"Could not find the file {path} in container {ref}")
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


def _in(call: Call, source: str, ref: str, path: str) -> None:
    try:
        text = Path(source).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise Exit(1, f"lstat {source}: {(error.strerror or '').lower()}") from None
    with call.engine.change() as doc:
        container = containers.find(doc, ref)
        if container is None:
            raise daemon(f"No such container: {ref}")
        container["files"][path] = {"text": text}


def _exec(call: Call, given: Given) -> None:
    ref, *words = given.args
    container = containers.find(call.engine.read(), ref)
    if container is None:
        raise daemon(f"No such container: {ref}")
    if not containers.running(container, call.now()):
        raise daemon(f"container {container['id']} is not running")
    if words[0] == "du":
        call.say(f"{_SIZE}\t{words[-1]}")
    elif words[0] == "wget" and container["labels"].get("k3d.role") == "registry":
        held = len(container.get("holds", ()))
        numbers = {
            "Requests": 10 * held,
            "Hits": 9 * held,
            "Misses": held,
            "BytesPulled": held,
            "BytesPushed": 9 * held,
        }
        call.say(json.dumps({"registry": {"proxy": {"blobs": numbers, "manifests": numbers}}}))
    elif words[:2] == ["sh", "-c"] and len(words) > 4 and "crictl pull" in words[2]:
        call.say("\n".join(words[4:]))
    elif words[0] not in ("true", "sync"):
        why = f'exec: "{words[0]}": executable file not found in $PATH'
        raise Exit(127, f"OCI runtime exec failed: exec failed: unable to start container process: {why}")


COMMANDS = {
    "cp": Command(
        "cp [OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-", "archive,a follow-link,L quiet,q", _copy, least=2, most=2
    ),
    "exec": Command(
        "exec [OPTIONS] CONTAINER COMMAND [ARG...]",
        "detach,d env,e=l interactive,i tty,t user,u=s",
        _exec,
        least=2,
        mixed=False,
    ),
}
