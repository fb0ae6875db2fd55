"""Names of images as Docker reads and lists them (distribution: `reference`), and digests that are none."""

from __future__ import annotations

import re
import zlib

from tasks.core.imageref import HUB, parse

_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_DOMAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::\d+)?")
_TAG = re.compile(r"[\w][\w.-]{0,127}")


class Bad(Exception):
    """A text that is no image's name; the text is Docker's."""


def parts(ref: str) -> tuple[str, str, str, str]:
    """Registry (empty: Docker Hub), repository, tag, digest. Raises `Bad`."""
    rest, at, digest = ref.partition("@")
    head, slash, last = rest.rpartition("/")
    last, colon, tag = last.partition(":")
    path = f"{head}{slash}{last}"
    first, slash, more = path.partition("/")
    domain = ""
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        domain, path = first, more
    if not path or (domain and not _DOMAIN.fullmatch(domain)) or (colon and not _TAG.fullmatch(tag)):
        raise Bad("invalid reference format")
    if at and not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise Bad("invalid reference format")
    if path != path.lower():
        whole = path if "/" in path else f"library/{path}"
        raise Bad(f"invalid reference format: repository name ({whole}) must be lowercase")
    if not all(_COMPONENT.fullmatch(each) for each in path.split("/")):
        raise Bad("invalid reference format")
    found = parse(ref)
    name = found.name if found.registry == HUB else found.repository
    return "" if found.registry == HUB else found.registry, name, found.tag, found.digest


def name(ref: str) -> str:
    """As Docker lists the repository: without its own registry's name."""
    parts(ref)
    return parse(ref).name


def short(ref: str) -> str:
    """As Docker lists an image: `registry:2` for `docker.io/library/registry:2`."""
    parts(ref)
    return parse(ref).listed


def full(ref: str) -> str:
    """With everything that Docker leaves out."""
    parts(ref)
    return parse(ref).full


def upstream(ref: str, registry: str) -> str:
    """What an image that is pulled through a cache is called at the registry that the cache stands before."""
    _, path, tag, digest = parts(ref)
    return short(f"{registry}/{path}" + (f"@{digest}" if digest else f":{tag}"))


def made_up(text: str) -> str:
    """64 digits for a name: the same each time, and no digest of anything (hashlib would cost 5 ms)."""
    return "".join(f"{zlib.crc32(f'{number}{text}'.encode()):08x}" for number in range(8))
