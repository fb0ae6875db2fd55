"""A pull-through cache queried over HTTP before an image is needed (distribution: HTTP API v2)."""

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
"""Concurrent layers of one image, as in Docker and containerd."""
_NOT_YET = 0.05
"""Seconds between two requests to a registry that has just been started."""
_WORTH_TELLING = 100_000
"""Bytes: manifests alone are not shown as progress."""
_ASKED = 3.0
"""Seconds for a cache to report whether it reaches its upstream."""
_SILENCE = 60.0
"""Seconds without a byte after which a download fails: the cache may be waiting for its upstream."""


def answers(port: int, context: Context, seconds: float) -> bool:
    """Wait until a started registry answers; False if it does not within those seconds."""
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
    """A response's status and headers. Raises OSError, `HTTPException`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request(method, quote(path, safe="/:"), headers=dict(headers))
        with connection.getresponse() as response:
            return response
    finally:
        connection.close()


def fault(port: int, repository: str) -> str:
    """Why a cache cannot fetch new layers, in a few words; "" if it can.

    For a layer that does not exist, a cache queries its upstream: if that answers, the status is 404
    (distribution: `registry/proxy/proxyblobstore.go`).
    """
    try:
        status = _ask(port, "GET", f"/v2/{repository}/blobs/sha256:{'0' * 64}", _ASKED).status
    except TimeoutError:
        return f"its upstream has not answered for {_ASKED:g} s"
    except (OSError, http.client.HTTPException):
        return "it is not running"
    return f"it cannot reach its upstream, and answers {status}" if status >= 500 else ""


def digest(port: int, image: Reference, seconds: float) -> str | None:
    """The digest of a tag in the registry at 127.0.0.1:`port`; "" if it does not exist, None without a response.

    A cache answers 500 for a digest that its upstream does not have (seen with registry:2).
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
    """A cache could not fetch an image: whoever needs it tries again, and gets the reason."""


def layers(port: int, image: Reference, arch: str, context: Context) -> dict[str, int]:
    """Compressed bytes of an image's layers by digest, as reported by the registry. Raises `NotFetched`."""
    counter = _Counter(context, time.monotonic() + _ASKED, silence=_ASKED)  # informational: it must not take long
    return {str(each["digest"]): int(each.get("size", 0)) for each in _manifest(port, image, arch, counter)["layers"]}


def fetch(port: int, image: Reference, arch: str, context: Context) -> int:
    """Pull an image through the cache at 127.0.0.1:`port`, which then stores it; returns bytes. Raises `NotFetched`."""
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
    """The current target of a tag: its own document, and the manifest for one architecture (may be the same)."""

    top: bytes
    manifest: bytes


def resolve(port: int, image: Reference, arch: str, context: Context) -> Resolved:
    """Request the manifests of an image. Raises `NotFetched`."""
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
    counter = _Counter(context, time.monotonic() + context.deadline, shown=False)
    _read(port, image, f"blobs/{digest}", (), counter, sink)


def _manifest(port: int, image: Reference, arch: str, counter: _Counter) -> Mapping[str, Any]:
    """The manifest for this machine's architecture."""
    return _parsed(_resolve(port, image, arch, counter).manifest, image)


class _Counter:
    """Counts bytes for the views, and cancels a download that is no longer needed."""

    def __init__(self, context: Context, end: float, *, silence: float = _SILENCE, shown: bool = True) -> None:
        self._context, self._end, self.silence, self._shown = context, end, silence, shown
        self.total = 0
        self.whole = 0
        """Bytes of the whole image, once its manifest is known."""

    def closing_when_cancelled(self, connection: http.client.HTTPConnection) -> Callable[[], None]:
        """Close a connection when the download is cancelled; the returned function removes that."""
        connection.connect()
        line = connection.sock

        def shut() -> None:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

        return self._context.cancelled.call(shut)

    def check(self) -> None:
        """Raises `Stopped` when the download is cancelled."""
        if self._context.cancelled.is_set():
            raise Stopped(self._context.step)

    def add(self, count: int) -> None:
        self.check()
        if time.monotonic() > self._end:
            raise NotFetched(f"the cache did not deliver it within {self._context.deadline:g} s")
        self.total += count
        if self._shown and self.total >= _WORTH_TELLING:
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
        raise NotFetched(f"the cache's manifest of {image.repository} is not JSON") from None
    if not isinstance(found, dict) or not ("manifests" in found or "layers" in found):
        raise NotFetched(f"the cache's manifest of {image.repository} has an unknown format")
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
    forget: Callable[[], None] = lambda: None  # noqa: E731 - nothing to remove yet
    try:
        forget = counter.closing_when_cancelled(connection)
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
