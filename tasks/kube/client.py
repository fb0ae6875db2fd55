"""The API of a cluster: protocols, errors and responses. `tasks.kube.transport` opens a connection."""

from __future__ import annotations

import base64
import binascii
import json
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable
from urllib.parse import urlsplit

from tasks.core.errors import LaunchError

READ = 32.0
"""Timeout of a read in seconds: kubectl's own for discovery (client-go: `defaultTimeout`)."""
WRITE = 65.0
"""Timeout of a write in seconds: the server ends one after 60 s (kube-apiserver: `--request-timeout`), in
which it may call several admission webhooks, each for up to 30 s."""


class ApiError(LaunchError):
    """The API rejected a request, or did not answer. `code` is the HTTP status; 0: no response."""

    def __init__(self, code: int, what: str, why: str = "", *, transient: bool | None = None) -> None:
        super().__init__(
            what,
            why=why,
            fix="invoke health shows whether the API is healthy",
            transient=transient if transient is not None else code in (0, 429) or code >= 500,
        )
        self.code = code


class NoAnswer(ApiError):
    """A request was sent, but timed out: whether the server has processed it is unknown."""


class Busy(ApiError):
    """The API has not processed a request, and says after how many seconds to retry (`Retry-After`)."""

    def __init__(self, code: int, what: str, why: str, seconds: float) -> None:
        super().__init__(code, what, why, transient=True)
        self.seconds = seconds


_E = TypeVar("_E", bound=ApiError)


def explained(error: _E, words: str) -> _E:
    """The same error with its known cause, if any. `words` is kubectl's message for it: patterns match that."""
    from tasks.diagnose.rules import clean, recognise, rules

    causes = (*rules("api"), *rules("images"), *rules("network"))
    found = recognise(causes, clean(words), where="kubectl", code=1)
    return error if found is None else error.explain(found)


class Api(Protocol):
    """Read access to a cluster's API."""

    def get(self, path: str) -> Any:  # noqa: ANN401 - any JSON document
        """A JSON document; raises `ApiError`."""
        code, text = self.raw(path)
        return content(path, code, text)

    def raw(self, path: str) -> tuple[int, str]:
        """Status and text, whatever the status; raises `ApiError` only if there is no response, or a `Retry-After`."""


@runtime_checkable
class Sender(Api, Protocol):
    """An API that also creates, replaces and deletes single objects; each request has at most one effect."""

    def send(self, method: str, path: str, body: str) -> tuple[int, str]:
        """POST, PUT or DELETE with a JSON body; status and text. Raises as `raw` does."""


@runtime_checkable
class Direct(Api, Protocol):
    """An API that applies objects and watches for changes without a process."""

    def patch(self, path: str, body: str) -> tuple[int, str]:
        """Server-side apply of one object to its path, query included; status and text. Raises as `raw` does."""

    def watch(self, path: str) -> Stream:
        """The lines of a watch, as they arrive. Raises `ApiError` if it is rejected, or there is no response."""


class Stream(Protocol):
    """Lines that arrive one by one until the server, or `close`, ends the stream."""

    def __iter__(self) -> Iterator[str]:
        """Each line; ends with the connection, without an error."""

    def close(self) -> None:
        """End the stream; from any thread."""


_CLUSTER = frozenset(
    [
        "server",
        "certificate-authority-data",
        "tls-server-name",
        "insecure-skip-tls-verify",
        "extensions",
        "disable-compression",
    ]
)
_USER = frozenset({"client-certificate-data", "client-key-data", "token", "tokenFile", "exec", "extensions"})
"""Fields of a kubeconfig that are supported here; anything else is left to kubectl."""
TOKEN = re.compile(r"[!-~]+")
"""What a header can hold (RFC 6750, 2.1)."""
_API = "client.authentication.k8s.io/"
_MODES = {f"{_API}v1": "", f"{_API}v1beta1": "IfAvailable"}
"""Supported versions of a plugin's answer, and the `interactiveMode` without which it is invalid, or its default
(client-go: `tools/clientcmd/api/v1/defaults.go`)."""
_EXTENSION = f"{_API}exec"
"""The extension of a cluster that is passed to plugins (client-go: `tools/clientcmd/client_config.go`)."""


class Login(NamedTuple):
    """What authenticates a request: a token, or a certificate and its key as PEM, or both."""

    token: str = ""
    certificate: bytes = b""
    key: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """A credential plugin, to be run without a terminal."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    """With KUBERNETES_EXEC_INFO."""
    version: str
    hint: str = ""
    """How to install it."""


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """A cluster's address, the authorities of its certificate (the system's, if empty), and a user's login."""

    server: str
    ca: bytes
    certificate: bytes = b""
    key: bytes = field(default=b"", repr=False)
    token: str = field(default="", repr=False)
    token_file: Path | None = None
    plugin: Plugin | None = None
    name: str = ""
    """The name that the server's certificate must have; the address's own, if empty."""
    insecure: bool = False
    """Whether the user has switched off the verification of the server."""

    @property
    def login(self) -> Login:
        """The login that the kubeconfig itself has."""
        return Login(self.token, self.certificate, self.key)


def credentials(kubeconfig: str) -> Credentials | None:
    """Credentials of the current context; None for what is left to kubectl, which also reports what is invalid.

    That is: auth providers, passwords, impersonation, proxies, certificate files, and plugins that need a terminal.
    """
    _name, cluster, _user, user = context_of(kubeconfig)
    server, insecure = str(cluster.get("server", "")), bool(cluster.get("insecure-skip-tls-verify"))
    if not server.startswith("https://") or _more(cluster, _CLUSTER) or _more(user, _USER):
        return None
    try:
        ca, certificate, key = (
            base64.b64decode("".join(str(part).split()), validate=True)
            for part in (
                cluster.get("certificate-authority-data") or "",
                user.get("client-certificate-data") or "",
                user.get("client-key-data") or "",
            )
        )
    except binascii.Error:
        return None
    token, file = str(user.get("token") or ""), str(user.get("tokenFile") or "")
    plugin = _plugin(user["exec"], cluster) if user.get("exec") else None
    if (token and not TOKEN.fullmatch(token)) or (file and not (read_token(Path(file)) or token)):
        return None
    if bool(certificate) != bool(key) or bool(user.get("exec")) != (plugin is not None) or (insecure and ca):
        return None
    if bool(plugin) == bool(certificate or token or file):  # no login, or a plugin that client-go would not run
        return None
    return Credentials(
        server=server,
        ca=ca,
        certificate=certificate,
        key=key,
        token=token,
        token_file=Path(file) if file else None,
        plugin=plugin,
        name=str(cluster.get("tls-server-name") or ""),
        insecure=insecure,
    )


def context_of(kubeconfig: str) -> tuple[str, Mapping[str, Any], str, Mapping[str, Any]]:
    """The current context's name, its cluster, the name of its user, and that user; each is empty if there is none."""
    from tasks.core import yaml

    try:
        document = yaml.load(kubeconfig)
    except yaml.YamlError:
        document = None
    if not isinstance(document, Mapping):
        return "", {}, "", {}
    name = str(document.get("current-context") or "")
    context = _named(document, "contexts", "context", name)
    cluster, user = str(context.get("cluster") or ""), str(context.get("user") or "")
    return name, _named(document, "clusters", "cluster", cluster), user, _named(document, "users", "user", user)


def _more(part: Mapping[str, Any], known: frozenset[str]) -> bool:
    return any(value for name, value in part.items() if name not in known)


def _named(document: Mapping[str, Any], rows: str, kind: str, name: str) -> Mapping[str, Any]:
    found = [row for row in document.get(rows) or () if row.get("name") == name]
    part: Mapping[str, Any] = (found[0].get(kind) if found else None) or {}
    return part


def read_token(file: Path) -> str:
    """The token in a file; empty if there is none."""
    try:
        text = file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
    return text if TOKEN.fullmatch(text) else ""


def _plugin(given: Mapping[str, Any], cluster: Mapping[str, Any]) -> Plugin | None:
    """A user's plugin; None if it is invalid, or `interactiveMode` is Always: kubectl reports both."""
    version, env = str(given.get("apiVersion")), given.get("env") or ()
    mode = given.get("interactiveMode") or _MODES.get(version)
    if version not in _MODES or mode not in ("Never", "IfAvailable") or not given.get("command"):
        return None
    spec: dict[str, Any] = {"interactive": False}
    if given.get("provideClusterInfo"):
        spec["cluster"] = {name: value for name, value in cluster.items() if value and name != "extensions"}
        more = [each.get("extension") for each in cluster.get("extensions") or () if each.get("name") == _EXTENSION]
        if more:
            spec["cluster"]["config"] = more[0]
    info = json.dumps({"kind": "ExecCredential", "apiVersion": version, "spec": spec})
    return Plugin(
        argv=(str(given["command"]), *map(str, given.get("args") or ())),
        env={**{str(row["name"]): str(row.get("value") or "") for row in env}, "KUBERNETES_EXEC_INFO": info},
        version=version,
        hint=" ".join(str(given.get("installHint") or "").split()),
    )


def content(path: str, code: int, text: str) -> Any:  # noqa: ANN401 - any JSON document
    """The body of a response; raises `ApiError` for a status other than 200, with the server's message."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if code != 200:
        message = found.get("message", "") if isinstance(found, dict) else _plain_text(text)
        error = ApiError(code, f"the API answered {code} to {path}", str(message))
        if code in (401, 403):
            # kubectl's message begins with it
            prefix = f"Error from server ({'Unauthorized' if code == 401 else 'Forbidden'}): "
            error = explained(error, prefix + str(message).removeprefix(prefix))
        raise error
    if found is None:
        raise ApiError(code, f"the API's response to {path} is no JSON", _plain_text(text))
    return found


def _plain_text(text: str) -> str:
    """The text of a response that is not JSON, shortened."""
    page = "it is a web page: of a proxy, a captive portal, or another server at that address"
    return page if text.lstrip().startswith("<") else text.strip()[:200]


def permitted(api: Api, path: str) -> list[Any] | None:
    """The items of a list; None if they may not be read."""
    try:
        return list(api.get(path)["items"] or ())
    except ApiError as error:
        if error.code == 403:
            return None
        raise


def port_answers(host: str, port: int, timeout: float = 1.0) -> bool:
    """Whether a TLS handshake succeeds there, with any server."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without the system's authorities: loading them takes 15 ms
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), timeout=timeout) as plain, tls.wrap_socket(plain):
            return True
    except (OSError, ValueError):
        return False


def proxy_of(server: str, environ: Mapping[str, str]) -> str:
    """The proxy that an environment names for an API's address, without its login; empty: none. Never for loopback."""
    if not any(name.lower().endswith("s_proxy") for name in environ):
        return ""
    from tasks.core.proxies import LOOPBACK, no_proxy, read

    address = urlsplit(server)
    host = address.hostname or "localhost"
    found = None if no_proxy(",".join(LOOPBACK)).covers(host) else read(environ).of("https", host, address.port or 443)
    return found.shown if found else ""


def ready(api: Api) -> bool:
    """Whether /readyz is 200. No response means no; raises `ApiError` if waiting does not help.

    That is a certificate that cannot be verified, or credentials that the API rejects.
    """
    try:
        code, text = api.raw("/readyz")
    except ApiError as error:
        if error.transient:
            return False
        raise
    if code == 401 or (code == 403 and "system:anonymous" in text):
        content("/readyz", code, text)
    return code in (200, 403)  # without permission for /readyz the API answers nevertheless


class RetryingApi:
    """The same API with reads that are retried while it is busy: for gathering facts by single reads."""

    def __init__(self, api: Api, limit: float = 60.0, sleep: Callable[[float], None] = time.sleep) -> None:
        self._api, self._limit, self._sleep = api, limit, sleep

    def get(self, path: str) -> Any:  # noqa: ANN401 - any JSON document
        """A JSON document; raises `ApiError` at the latest after `limit` seconds and one more response."""
        end, pause = time.monotonic() + self._limit, 0.5
        while True:
            try:
                return self._api.get(path)
            except ApiError as error:
                wait = max(pause, error.seconds) if isinstance(error, Busy) else pause
                if not _passes(error, path) or time.monotonic() + wait > end:
                    raise
            self._sleep(wait)
            pause = min(8.0, pause * 2)

    def raw(self, path: str) -> tuple[int, str]:
        """As for `get`, any status."""
        return self._api.raw(path)


_DISCOVERY = re.compile(r"/apis/([^/?]+/[^/?]+)")
_BUILT_IN = re.compile(
    r"[^./]+(?:/.*)?|(?:admissionregistration|apiextensions|apiregistration|authentication|authorization|certificates|"
    r"coordination|discovery|events|flowcontrol\.apiserver|networking|node|rbac\.authorization|resource|scheduling|"
    r"storage|storagemigration)\.k8s\.io/.*"
)
"""Versions of the built-in API groups: no CRD adds a kind to them."""


def built_in(api_version: str) -> bool:
    """Whether an API group is built in: no CRD adds a kind to it."""
    return _BUILT_IN.fullmatch(api_version) is not None


def _passes(error: ApiError, path: str) -> bool:
    """Whether a retry may help. An unavailable group may be an aggregated API whose server does not run yet."""
    if error.code == 503 and (group := _DISCOVERY.fullmatch(path)) and not built_in(group[1]):
        return False
    return isinstance(error, NoAnswer | Busy) or error.code in (429, 502, 503, 504)
