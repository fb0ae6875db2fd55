"""`docker pull`, `tag`, `rmi`, `images` and `image inspect`."""

from __future__ import annotations

from tasks.core.units import MB
from tasks.rehearsal import containers, refs, starting
from tasks.rehearsal.call import Exit
from tasks.rehearsal.docker import Command, daemon
from tasks.rehearsal.docker_show import show
from tasks.rehearsal.formatting import render
from tasks.rehearsal.registry_contents import holds, upstream
from tasks.rehearsal.times import stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tasks.rehearsal.call import Call
    from tasks.rehearsal.containers import Document
    from tasks.rehearsal.flags import Given

_LIMITED = (
    "toomanyrequests: You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit"
)
_LOOPBACK = ("127.0.0.1:", "localhost:")


def pull(call: Call, ref: str, *, told: bool = True, platform: str = "") -> None:
    """Bring an image, as `docker pull` does. Raises `Exit`."""
    say = call.say if told else call.warn
    try:
        domain, path, tag, digest = refs.parts(ref)
    except refs.Bad as bad:
        raise Exit(1, str(bad)) from None
    origin, cached = _origin(call, ref, domain)
    if call.faults.strike("pull-rate-limited", origin, ref):
        raise daemon(_LIMITED)
    if call.faults.strike("image-missing", origin, ref):
        raise daemon(f"manifest for {refs.short(ref)} not found: manifest unknown: manifest unknown")
    shown = path if domain else refs.full(ref).removeprefix("docker.io/").rpartition(":")[0].partition("@")[0]
    say(f"{tag or digest}: Pulling from {shown}")
    call.middle()
    if call.faults.strike("pull-stalls", origin, ref):
        say(f"{refs.made_up(origin)[:12]}: Pulling fs layer")
        call.times.wait(3600.0)
    call.wait("pull cached" if cached else "pull", refs.short(origin), refs.full(origin), ref)
    if call.faults.strike("disk-full", origin, ref):
        raise Exit(1, "failed to register layer: write /usr/bin/k3s: no space left on device")
    with call.engine.change() as doc:
        had = starting.image(doc, ref) is not None
        made = starting.add_image(doc, ref, refs.short(origin), call.now())
        made["architecture"] = platform.partition("/")[2].partition("/")[0]
        _kept(call, doc, ref, domain)
    say(f"Digest: {str(made['digests'][-1]).partition('@')[2]}")  # type: ignore[index]
    word = "Image is up to date" if had else "Downloaded newer image"
    say(f"Status: {word} for {refs.short(ref)}")
    say(refs.full(ref))


def _origin(call: Call, ref: str, domain: str) -> tuple[str, bool]:
    """What an image is called at its own registry, and whether a cache in between has it. Raises `Exit`."""
    if not domain.startswith(_LOOPBACK):
        return ref, False
    port = int(domain.partition(":")[2])
    doc = call.engine.read()
    registry = containers.holder(doc, port, call.now())
    if registry is None:
        if not any(port == each for known in doc["containers"].values() for _, _, each in containers.published(known)):
            return ref, False  # a registry of this machine that is not rehearsed: it has what is asked for
        refused = f"dial tcp 127.0.0.1:{port}: connect: connection refused"
        raise daemon(f'Get "http://{domain}/v2/": {refused}')
    behind = upstream(registry)
    if not behind:
        return ref, holds(registry, ref)
    origin = refs.upstream(ref, behind)
    return origin, holds(registry, origin)


def _kept(call: Call, doc: Document, ref: str, domain: str) -> None:
    """What came through a cache is in it."""
    if domain.startswith(_LOOPBACK):
        registry = containers.holder(doc, int(domain.partition(":")[2]), call.now())
        behind = upstream(registry) if registry is not None else ""
        if registry is not None and behind and not holds(registry, refs.upstream(ref, behind)):
            registry.setdefault("holds", []).append(refs.full(refs.upstream(ref, behind)))


def _pull(call: Call, given: Given) -> None:
    pull(call, given.args[0], platform=given.get("platform") or call.environ.get("DOCKER_DEFAULT_PLATFORM", ""))


def _tag(call: Call, given: Given) -> None:
    source, name = given.args
    with call.engine.change() as doc:
        found = starting.image(doc, source)
        if found is None:
            raise daemon(f"No such image: {refs.short(source)}")
        for each in doc["images"].values():
            each["tags"] = [tag for tag in each["tags"] if tag != refs.short(name)]
        doc["images"][found]["tags"].append(refs.short(name))


def _remove(call: Call, given: Given) -> None:
    missing = []
    with call.engine.change() as doc:
        for ref in given.args:
            found = starting.image(doc, ref)
            if found is None:
                missing.append(f"Error response from daemon: No such image: {refs.short(ref)}")
                continue
            image = doc["images"][found]
            image["tags"] = [tag for tag in image["tags"] if tag != refs.short(ref) and found != ref]
            call.say(f"Untagged: {refs.short(ref)}")
            if not image["tags"]:
                used = next((each for each in doc["containers"].values() if refs.short(each["image"]) == ref), None)
                if used is not None and not given.on("force"):
                    image["tags"].append(refs.short(ref))
                    told = f"container {used['id'][:12]} is using its referenced image {found[7:19]}"
                    missing.append(
                        "Error response from daemon: conflict: unable to remove repository reference "
                        f'"{ref}" (must force) - {told}'
                    )
                    continue
                del doc["images"][found]
                call.say(f"Deleted: {found}")
    if missing:
        raise Exit(1, "\n".join(missing))


def _list(call: Call, given: Given) -> None:
    doc = call.engine.read()
    rows = [
        {
            "Repository": tag.rpartition(":")[0],
            "Tag": tag.rpartition(":")[2],
            "ID": key if given.on("no-trunc") else key[7:19],
            "Size": f"{image['size'] / MB:.1f}MB",
            "CreatedSince": "3 weeks ago",
        }
        for key, image in doc["images"].items()
        for tag in image["tags"]
    ]
    template = "{{json .}}" if given.get("format") == "json" else given.get("format")
    for row in rows:
        if given.on("quiet"):
            call.say(row["ID"])
        elif template:
            call.say(render(template, row, "*formatter.imageContext"))
        else:
            call.say("   ".join(row.values()))


def inspected(doc: Document, ref: str) -> dict[str, Any] | None:
    """An image in full; None if the engine does not have it."""
    found = starting.image(doc, ref)
    if found is None:
        return None
    image = doc["images"][found]
    return {
        "Id": found,
        "RepoTags": image["tags"],
        "RepoDigests": image["digests"],
        "Created": stamp(image["created"]),
        "Size": image["size"],
        "Os": "linux",
        "Architecture": image.get("architecture", ""),
    }


def _inspect(call: Call, given: Given) -> None:
    doc = call.engine.read()
    found = [(ref, inspected(doc, ref)) for ref in given.args]
    missing = [f"Error response from daemon: No such image: {ref}" for ref, image in found if image is None]
    show(call, given, [image for _, image in found if image is not None], missing, "image.InspectResponse")


COMMANDS = {
    "pull": Command("pull [OPTIONS] NAME[:TAG|@DIGEST]", "all-tags,a platform=s quiet,q", _pull, least=1, most=1),
    "tag": Command("tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", "", _tag, least=2, most=2),
    "rmi": Command("rmi [OPTIONS] IMAGE [IMAGE...]", "force,f no-prune platform=l", _remove, least=1),
    "images": Command(
        "images [OPTIONS] [REPOSITORY[:TAG]]", "all,a digests filter,f=l format=s no-trunc quiet,q", _list, most=1
    ),
    "image inspect": Command("image inspect [OPTIONS] IMAGE [IMAGE...]", "format,f=s platform=s", _inspect, least=1),
}
