"""A pull-through cache asked over HTTP for an image before anybody needs it (distribution: HTTP API v2)."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from tasks.core.errors import LaunchError
from tasks.core.imageref import Reference
from tasks.core.units import megabytes
from tasks.engine.step import Context, Stopped

_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
_PIECE = 1 << 20
_AT_ONCE = 3
"""Layers of one image at once, as Docker and containerd have it."""
_NOT_YET = 0.05
"""Seconds between two questions to a registry that has just been started."""
_WORTH_TELLING = 100_000
"""Bytes: manifests alone are no progress."""
_ASKED = 3.0
"""Seconds that a cache has to say whether it reaches its upstream."""
_SILENCE = 60.0
"""Seconds without a byte after which the cache is given up: it asks its upstream meanwhile."""


def answers(port: int, context: Context, seconds: float) -> bool:
    """Wait until a registry that was started answers; False if it does not within those seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            return _ask(port, "GET", "/v2/", seconds).status < 500
        except (OSError, http.client.HTTPException):
            context.wait(_NOT_YET)
    return False


def _ask(
    port: int, method: str, path: str, seconds: float, headers: Mapping[str, str] = MappingProxyType({})
) -> http.client.HTTPResponse:
    """An answer's status and headers. Raises OSError, `HTTPException`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request(method, quote(path, safe="/:"), headers=dict(headers))
        with connection.getresponse() as response:
            return response
    finally:
        connection.close()


def fault(port: int, repository: str) -> str:
    """What keeps a cache from bringing new layers, in a few words; "" if nothing does.

    Asked for a layer that nobody has, a cache asks its upstream: where that answers, it says 404
    (distribution: `registry/proxy/proxyblobstore.go`).
    """
    try:
        status = _ask(port, "GET", f"/v2/{repository}/blobs/sha256:{'0' * 64}", _ASKED).status
    except TimeoutError:
        return f"its upstream has not answered for {_ASKED:g} s"
    except (OSError, http.client.HTTPException):
        return "it does not run"
    return f"it cannot ask its upstream, and answers {status}" if status >= 500 else ""


def digest(port: int, image: Reference, seconds: float) -> str | None:
    """The digest of what a tag stands for in the registry at 127.0.0.1:`port`; "" if it has none, None if it is silent.

    For a digest that its upstream does not have a cache answers 500 (seen with registry:2).
    """
    headers = {"Accept": ", ".join((*_INDEXES, *_MANIFESTS))}
    try:
        answer = _ask(port, "HEAD", f"/v2/{image.repository}/manifests/{image.version}", seconds, headers)
    except (OSError, http.client.HTTPException):
        return None
    if answer.status == 200:
        return answer.getheader("Docker-Content-Digest") or ""
    return "" if answer.status in (401, 403, 404, 500) else None


class NotFetched(LaunchError):
    """A cache could not bring an image: whoever needs it asks again, and is told why."""


def layers(port: int, image: Reference, arch: str, context: Context) -> dict[str, int]:
    """Compressed bytes of an image's layers by their digests, as a registry tells. Raises `NotFetched`."""
    counter = _Counter(context, time.monotonic() + _ASKED, silence=_ASKED)  # it only tells, so it may not keep waiting
    return {str(each["digest"]): int(each.get("size", 0)) for each in _manifest(port, image, arch, counter)["layers"]}


def fetch(port: int, image: Reference, arch: str, context: Context) -> int:
    """Read an image through the cache at 127.0.0.1:`port`, so that it keeps it; bytes read. Raises `NotFetched`."""
    end = time.monotonic() + context.deadline
    counter = _Counter(context, end)
    manifest = _manifest(port, image, arch, counter)
    parts = (manifest["config"], *manifest["layers"])
    blobs = [str(each["digest"]) for each in parts]
    counter.whole = counter.total + sum(each.get("size", 0) for each in parts)
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        for done in [pool.submit(_read, port, image, f"blobs/{digest}", (), counter) for digest in blobs]:
            done.result()
    return counter.total


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """What a tag stands for now: its own document, and the manifest for one architecture (the same where it is one)."""

    top: bytes
    manifest: bytes


def resolve(port: int, image: Reference, arch: str, context: Context) -> Resolved:
    """Ask for the manifests of an image. Raises `NotFetched`."""
    return _resolve(port, image, arch, _Counter(context, time.monotonic() + context.deadline))


def _resolve(port: int, image: Reference, arch: str, counter: _Counter) -> Resolved:
    top = _read(port, image, f"manifests/{image.version}", (*_INDEXES, *_MANIFESTS), counter)
    found = _parsed(top, image)
    if "manifests" not in found:
        return Resolved(top=top, manifest=top)
    manifest = _read(port, image, f"manifests/{_of_platform(found, arch, image)}", _MANIFESTS, counter)
    _parsed(manifest, image)
    return Resolved(top=top, manifest=manifest)


def blob(port: int, image: Reference, digest: str, context: Context, sink: Callable[[bytes], object]) -> None:
    """Read a layer or a configuration through a registry. Raises `NotFetched`, `Stopped`."""
    counter = _Counter(context, time.monotonic() + context.deadline, told=False)
    _read(port, image, f"blobs/{digest}", (), counter, sink)


def _manifest(port: int, image: Reference, arch: str, counter: _Counter) -> Mapping[str, Any]:
    """Of the image for this machine's architecture."""
    return _parsed(_resolve(port, image, arch, counter).manifest, image)


class _Counter:
    """Counts bytes for the views, and ends a download that is not wanted any more."""

    def __init__(self, context: Context, end: float, *, silence: float = _SILENCE, told: bool = True) -> None:
        self._context, self._end, self.silence, self._told = context, end, silence, told
        self.total = 0
        self.whole = 0
        """Bytes of the whole image, once its manifest is read."""

    def ending(self, connection: http.client.HTTPConnection) -> Callable[[], None]:
        """Break a connection when the download is not wanted any more; the returned function takes that back."""
        connection.connect()
        line = connection.sock

        def shut() -> None:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

        return self._context.cancelled.call(shut)

    def check(self) -> None:
        """Raises `Stopped` when the download is not wanted any more."""
        if self._context.cancelled.is_set():
            raise Stopped(self._context.step)

    def add(self, count: int) -> None:
        self.check()
        if time.monotonic() > self._end:
            raise NotFetched(f"the cache did not bring it within {self._context.deadline:g} s")
        self.total += count
        if self._told and self.total >= _WORTH_TELLING:
            self._context.say(megabytes(self.total, self.whole or None))


def _of_platform(index: Mapping[str, Any], arch: str, image: Reference) -> str:
    for each in index["manifests"]:
        platform = each.get("platform") or {}
        if platform.get("os") == "linux" and platform.get("architecture") == arch:
            return str(each["digest"])
    raise NotFetched(f"{image.repository} has no image for linux/{arch}")


def _parsed(text: bytes, image: Reference) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        raise NotFetched(f"the cache's manifest of {image.repository} is no JSON") from None
    if not isinstance(found, dict) or not ("manifests" in found or "layers" in found):
        raise NotFetched(f"the cache's manifest of {image.repository} is of an unknown form")
    return found


def _read(
    port: int,
    image: Reference,
    what: str,
    accepted: tuple[str, ...],
    counter: _Counter,
    sink: Callable[[bytes], object] | None = None,
) -> bytes:
    """The content of a manifest; that of a blob goes to the sink."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=counter.silence)
    forget: Callable[[], None] = lambda: None  # noqa: E731 - there is nothing to take back yet
    try:
        forget = counter.ending(connection)
        headers = {"Accept": ", ".join(accepted)} if accepted else {}
        connection.request("GET", quote(f"/v2/{image.repository}/{what}", safe="/:"), headers=headers)
        with connection.getresponse() as response:
            if response.status != 200:
                kind = what.partition("/")[0]
                raise NotFetched(f"the cache answered {response.status} to {kind} of {image.repository}")
            pieces = []
            while piece := response.read(_PIECE):
                counter.add(len(piece))
                if accepted:
                    pieces.append(piece)
                elif sink is not None:
                    sink(piece)
        counter.check()
    except (OSError, http.client.HTTPException) as error:
        counter.check()
        raise NotFetched(f"the cache at 127.0.0.1:{port} does not answer", why=str(error)) from None
    finally:
        forget()
        connection.close()
    return b"".join(pieces)
