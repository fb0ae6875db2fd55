"""The health endpoints of an API server."""

import re
from dataclasses import dataclass

from tasks.kube.client import Api, ApiError

_PLAIN = ("/api", "/apis", "/healthz", "/healthz/etcd", "/readyz")
_HOOKS = ("start-apiserver-admission-initializer", "start-kube-apiserver-admission-initializer")
"""The admission hook's name today, and its name before 1.30 (measured on 1.30 to 1.36)."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """The state of one health endpoint: ok, failing, or not offered, which is no failure."""

    name: str
    state: str
    detail: str = ""


def endpoints(api: Api) -> list[Endpoint]:
    """Query all of them. A server that does not answer fails each."""
    try:
        verbose = api.raw("/readyz?verbose")[1]
    except ApiError as error:
        return [Endpoint(name=path, state="failing", detail=error.why or error.what) for path in _PLAIN]
    offered = set(re.findall(r"\[[+-]\](?:poststarthook/)?(\S+)", verbose))
    hooks = [f"/healthz/poststarthook/{hook}" for hook in _HOOKS if hook in offered] or [
        f"/healthz/poststarthook/{_HOOKS[0]}"
    ]
    return [_query(api, path) for path in (*_PLAIN, *hooks)]


def _query(api: Api, path: str) -> Endpoint:
    try:
        code, text = api.raw(path)
    except ApiError as error:
        return Endpoint(name=path, state="failing", detail=error.why or error.what)
    if code == 200:
        return Endpoint(name=path, state="ok")
    if code in (403, 404):
        return Endpoint(name=path, state="not offered", detail=f"HTTP {code}")
    failed = re.findall(r"\[-\](\S+) failed", text)
    return Endpoint(name=path, state="failing", detail=", ".join(failed) or f"HTTP {code}")
