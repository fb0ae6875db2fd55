"""The simulated docker: images, networks, volumes, and contents of containers; its output."""

import io
import json
import re
import sqlite3
import tarfile
from binascii import b2a_base64
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from tasks.clients.docker_build import LABEL
from tasks.core.imageref import parse
from tasks.rehearsal import engine
from tasks.rehearsal.engine import Container, Document, fake_digest
from tasks.rehearsal.folder import MARK
from tasks.rehearsal.program import Call, Commands, Exit, Given
from tasks.settings.derived import DATA, IDENTITY, NODE_KUBECONFIG

_LIMITED = (
    "toomanyrequests: You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit"
)
KILOBYTES = 131_072
"""Paths of a node's volume and a registry's."""
_ACTION = re.compile(r"\{\{(json )?(\.[\w.]*)\}\}")


def daemon_error(text: str) -> Exit:
    """An error that the engine reports."""
    return Exit(1, f"Error response from daemon: {text}")


def for_each(call: Call, refs: Iterable[str], act: Callable[[Document, str], str]) -> None:
    """Apply a function to each; prints its name to stdout, or the error to stderr. Raises `Exit`."""
    wrong = []
    with call.engine.change() as doc:
        for ref in refs:
            why = act(doc, ref)
            if why:
                wrong.append(daemon_error(why).text)
            else:
                call.say(ref)
    if wrong:
        raise Exit(1, "\n".join(wrong))


def find(doc: Document, ref: str) -> Container:
    """A container by name or id. Raises `Exit`."""
    container = engine.find(doc, ref)
    if container is None:
        raise daemon_error(f"No such container: {ref}")
    return container


def render(template: str, row: Mapping[str, Any]) -> str:
    """A row rendered by a Go template of fields, with `json` or without."""

    def fill(match: re.Match[str]) -> str:
        value: Any = row
        for name in filter(None, match[2].split(".")):
            value = value[name]
        return json.dumps(value) if match[1] else str(value)

    return _ACTION.sub(fill, template)


def show(call: Call, given: Given, kind: str, rows: Mapping[str, Mapping[str, Any] | None]) -> None:
    """Existing objects to stdout, errors for missing ones to stderr. Raises `Exit`."""
    found = [row for row in rows.values() if row is not None]
    if not given.get("format"):
        call.say(json.dumps(found))
    for row in found if given.get("format") else ():
        call.say(render(given.get("format"), row))
    missing = [daemon_error(f"No such {kind}: {name}").text for name, row in rows.items() if row is None]
    if missing:
        raise Exit(1, "\n".join(missing))


def labels(given: Given) -> dict[str, str]:
    """The values of `--label KEY=VALUE`."""
    return dict(row.partition("=")[::2] for row in given.all("label"))


def filters(given: Given) -> dict[str, list[str]]:
    """The values of `--filter KEY=VALUE`, by key."""
    found: dict[str, list[str]] = {}
    for key, _, value in (row.partition("=") for row in given.all("filter")):
        found.setdefault(key, []).append(value)
    return found


def fits(labels: Mapping[str, str], filters: Iterable[str]) -> bool:
    """Whether labels match all filters of the form `KEY` or `KEY=VALUE`."""
    return all(
        labels.get(key) == value if sign else key in labels for key, sign, value in (f.partition("=") for f in filters)
    )


# -- images -----------------------------------------------------------------------------------------------


def pull(call: Call, ref: str, say: Callable[[str], None], platform: str = "") -> None:
    """Pull an image, through a cache if its name is that of one. Raises `Exit`."""
    image, doc = parse(ref), call.engine.read()
    registry = engine.registry_of(doc, ref, call.now())
    if registry is None and _is_published(doc, ref):  # a registry that is not rehearsed has every image
        raise daemon_error(f'Get "http://{image.registry}/v2/": dial tcp {image.registry}: connect: connection refused')
    cached_for = engine.upstream(registry) if registry is not None else ""
    origin = image._replace(registry=cached_for) if cached_for else image
    names = (origin.listed, origin.full, ref)
    if call.faults.strike("pull-rate-limited", *names):
        raise daemon_error(_LIMITED)
    if call.faults.strike("image-missing", *names):
        raise daemon_error(f"manifest for {image.listed} not found: manifest unknown: manifest unknown")
    say(f"{image.version}: Pulling from {image.repository}")
    call.checkpoint()
    if call.faults.strike("pull-stalls", *names):
        call.pause(3600.0)
    call.wait("pull cached" if registry is not None and origin.full in registry["holds"] else "pull", *names)
    if call.faults.strike("disk-full", *names):
        raise Exit(1, "failed to register layer: write /usr/bin/k3s: no space left on device")
    with call.engine.change() as doc:
        engine.add_image(doc, ref, origin.listed)["architecture"] = platform.partition("/")[2].partition("/")[0]
        cache = engine.registry_of(doc, ref, call.now())
        if cache is not None and cached_for:  # the cache has it now
            engine.hold(cache, origin.full)
    say(f"Status: Downloaded newer image for {image.listed}")


def _is_published(doc: Document, ref: str) -> bool:
    """Whether the registry of an image is a published port of a container, running or not."""
    host, _, port = parse(ref).registry.partition(":")
    known = (str(number) for each in doc["containers"].values() for _, _, number in engine.published(each))
    return f"{host}:" in engine.LOOPBACK and port in known


def _pull(call: Call, given: Given) -> None:
    pull(call, given.args[0], call.say, given.get("platform") or call.environ.get("DOCKER_DEFAULT_PLATFORM", ""))


def _build(call: Call, given: Given) -> None:
    """Nothing is built: only the image exists afterwards."""
    name = labels(given).get(LABEL, "")
    call.checkpoint()
    call.wait("build", name)
    with call.engine.change() as doc:
        for ref in given.all("tag"):
            engine.add_image(doc, ref, parse(ref).full)["build"] = name
    call.warn("#1 naming to " + " ".join(given.all("tag")))


def _push(call: Call, given: Given) -> None:
    ref, doc = given.args[0], call.engine.read()
    call.wait("push", doc["images"][engine.find_image(doc, ref)]["build"])
    with call.engine.change() as doc:
        registry = engine.registry_of(doc, ref, call.now())
        if registry is not None:
            engine.hold(registry, ref)
        elif parse(ref).registry.startswith(engine.LOOPBACK):
            raise Exit(1, f'Get "http://{parse(ref).registry}/v2/": dial tcp: connect: connection refused')
        else:
            doc["pushed"].append(parse(ref).full)
    call.say(f"{parse(ref).version}: digest: sha256:{fake_digest(ref)} size: 1234")


def _manifest(call: Call, given: Given) -> None:
    if parse(given.args[0]).full not in call.engine.read()["pushed"]:
        raise Exit(1, "manifest unknown")
    call.say("{}")


def _tag(call: Call, given: Given) -> None:
    source, name = given.args
    with call.engine.change() as doc:
        key = engine.find_image(doc, source)
        if key is None:  # another launch has untagged it meanwhile
            raise daemon_error(f"No such image: {parse(source).listed}")
        engine.tag_image(doc, key, name)


def _untag(call: Call, given: Given) -> None:
    """`docker rmi`: an image without a name is removed."""

    def act(doc: Document, ref: str) -> str:
        listed, key = parse(ref).listed, engine.find_image(doc, ref)
        if key is None:
            return f"No such image: {listed}"
        rest = doc["images"][key]["tags"] = [tag for tag in doc["images"][key]["tags"] if tag != listed]
        if not rest:
            del doc["images"][key]
        return ""

    for_each(call, given.args, act)


def _inspect_images(call: Call, given: Given) -> None:
    doc = call.engine.read()
    found = {ref: engine.find_image(doc, ref) for ref in given.args}
    show(call, given, "image", {ref: _inspected(doc, key) for ref, key in found.items()})


def _inspected(doc: Document, key: str | None) -> dict[str, Any] | None:
    if key is None:
        return None
    image = doc["images"][key]
    names = {"RepoTags": image["tags"], "RepoDigests": image["digests"]}
    return {"Id": key, **names, "Os": "linux", "Architecture": image["architecture"]}


# -- networks and volumes ---------------------------------------------------------------------------------


def _inspect_networks(call: Call, given: Given) -> None:
    doc, now = call.engine.read(), call.now()
    found: dict[str, dict[str, Any] | None] = dict.fromkeys(given.args)
    for name in found.keys() & doc["networks"].keys():
        members = {
            each["id"]: {"Name": each["name"]}
            for each in doc["containers"].values()
            if name in each["networks"] and engine.running(each, now)
        }
        net = doc["networks"][name]
        found[name] = {"Name": name, "Id": net["id"], "Containers": members, "Labels": net["labels"]}
    show(call, given, "network", found)


def _disconnect(call: Call, given: Given) -> None:
    name, ref = given.args
    with call.engine.change() as doc:
        del find(doc, ref)["networks"][name]


def _connect(call: Call, given: Given) -> None:
    name, ref = given.args
    with call.engine.change() as doc:
        container = find(doc, ref)
        if name not in container["networks"]:
            engine.connect(doc, container, name)


def _remove_network(call: Call, given: Given) -> None:
    name = given.args[0]
    with call.engine.change() as doc:
        del doc["networks"][name]
    call.say(name)


def _create_volume(call: Call, given: Given) -> None:
    with call.engine.change() as doc:
        doc["volumes"].setdefault(given.args[0], labels(given))
    call.say(given.args[0])


def _list_volumes(call: Call, given: Given) -> None:
    for name, own in sorted(call.engine.read()["volumes"].items()):
        if fits(own, filters(given).get("label", ())):
            row = {"Name": name, "Labels": ",".join(f"{key}={value}" for key, value in own.items())}
            call.say(render(given.get("format") or "{{.Name}}", row))


def _remove_volumes(call: Call, given: Given) -> None:
    def act(doc: Document, name: str) -> str:
        if any(bind.split(":")[0] == name for each in doc["containers"].values() for bind in each["binds"]):
            return f"remove {name}: volume is in use"
        doc["volumes"].pop(name, None)
        call.folder.volume(name).unlink(missing_ok=True)
        return ""

    for_each(call, given.args, act)


# -- contents of volumes and containers --------------------------------------------------------------------


def data_volume(container: Container) -> str:
    """The volume with a node's data: an anonymous one unless another is mounted there."""
    named = (bind.split(":")[0] for bind in container["binds"] if bind.split(":")[1:2] == [DATA])
    return next(named, str(container["id"]))


def copy_database(source: Path, target: Path) -> None:
    """The objects of a cluster, if there are any."""
    if source.exists():
        with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
            old.backup(new)


def _kubeconfig(folder: Path, server: str) -> str:
    """As written by k3s, with a mark for rehearsed clusters, and invalid certificates."""
    pem = f"-----BEGIN CERTIFICATE-----\nREHEARSAL of {server}\n-----END CERTIFICATE-----\n"
    text = b2a_base64(pem.encode(), newline=False).decode()
    mark = {"name": MARK, "extension": {"folder": str(folder)}}
    at = {"server": "https://127.0.0.1:6443", "certificate-authority-data": text, "extensions": [mark]}
    user = {"client-certificate-data": text, "client-key-data": text}
    clusters, users = f"- name: default\n  cluster: {json.dumps(at)}", f"- name: default\n  user: {json.dumps(user)}"
    return f"apiVersion: v1\nkind: Config\nclusters:\n{clusters}\nusers:\n{users}\n"


def _copy(call: Call, given: Given) -> None:
    """`docker cp` of a file into a container, or from one as an archive to stdout. Raises `Exit`."""
    source, target = given.args
    if source.startswith("/"):
        ref, _, path = target.partition(":")
        text = Path(source).read_text(encoding="utf-8", errors="surrogateescape")
        with call.engine.change() as doc:
            find(doc, ref)["files"][path] = text
        return
    ref, _, path = source.partition(":")
    container = find(call.engine.read(), ref)
    found = container["files"].get(path)
    if path == NODE_KUBECONFIG and engine.reached(container, "apiserver", call.now()):
        found = _kubeconfig(call.folder.root, container["name"])
    elif path == f"{IDENTITY}/password":
        found = f"{container['id']}\n"
    if found is None:
        raise daemon_error(f"Could not find the file {path} in container {ref}")
    data, made = found.encode(errors="surrogateescape"), io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        info = tarfile.TarInfo(path.rpartition("/")[2])
        info.size, info.mode, info.mtime = len(data), 0o600, int(call.now())
        archive.addfile(info, io.BytesIO(data))
    call.write(made.getvalue())


def _exec(call: Call, given: Given) -> None:
    """The commands that the tasks run in nodes and registries."""
    ref, *words = given.args
    container = find(call.engine.read(), ref)
    if not engine.running(container, call.now()):
        raise daemon_error(f"container {container['id']} is not running")
    if words[0] == "du":
        call.say(f"{KILOBYTES}\t{words[-1]}")
    elif words[0] == "wget":
        held = len(container["holds"])
        counts = {"Requests": 10 * held, "Hits": 9 * held, "Misses": held, "BytesPulled": held, "BytesPushed": 9 * held}
        call.say(json.dumps({"registry": {"proxy": {"blobs": counts, "manifests": counts}}}))
    elif words[:2] == ["sh", "-c"] and "crictl pull" in words[2]:
        call.say("\n".join(words[4:]))
    else:
        raise Exit(127, f'OCI runtime exec failed: exec: "{words[0]}": executable file not found in $PATH')


COMMANDS: Commands = {
    "build": (
        _build,
        "tag=,t file=,f label= target= platform= build-arg= secret= cache-from= progress= load",
        1,
    ),
    "push": (_push, "quiet,q", 1),
    "manifest inspect": (_manifest, "insecure", 1),
    "pull": (_pull, "platform= quiet,q", 1),
    "tag": (_tag, "", 2),
    "rmi": (_untag, "no-prune", 1),
    "image inspect": (_inspect_images, "format=,f", 1),
    "network inspect": (_inspect_networks, "format=,f", 1),
    "network connect": (_connect, "", 2),
    "network disconnect": (_disconnect, "force,f", 2),
    "network rm": (_remove_network, "", 1),
    "volume create": (_create_volume, "label=", 1),
    "volume ls": (_list_volumes, "filter=,f format= quiet,q", 0),
    "volume rm": (_remove_volumes, "force,f", 1),
    "cp": (_copy, "", 2),
    "exec": (_exec, "", 2),
}
