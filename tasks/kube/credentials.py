"""How a kubeconfig's user logs in to the API: certificates, tokens, and the answers of its credential plugin."""

from __future__ import annotations

import base64
import binascii
import json
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from tasks.clients.kubeconfig import file_of_user
from tasks.core import yaml
from tasks.core.redact import conceal, conceal_found
from tasks.kube.client import ApiError, explained
from tasks.process.command import Command, CommandFailed, DeadlinePassed, ProgramMissing
from tasks.process.login import PATIENCE, cache_of, forget, original
from tasks.process.programs import Programs
from tasks.process.runner import CannotStart
from tasks.settings.origin import conceal_named, may_be_secret

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
_TOKEN = re.compile(r"[!-~]+")
"""What a header can hold (RFC 6750, 2.1)."""
_API = "client.authentication.k8s.io/"
_MODES = {f"{_API}v1": "", f"{_API}v1beta1": "IfAvailable"}
"""Supported versions of a plugin's answer, and the `interactiveMode` without which it is invalid, or its default
(client-go: `tools/clientcmd/api/v1/defaults.go`)."""
_EXTENSION = f"{_API}exec"
"""The extension of a cluster that is passed to plugins (client-go: `tools/clientcmd/client_config.go`)."""
_FAILED = "Unable to connect to the server: getting credentials: "
"""The beginning of kubectl's message about a plugin (client-go: `plugin/pkg/client/auth/exec/exec.go`)."""
_MARGIN = 60.0
"""Seconds before its expiry, at most, from which on a plugin's answer is no longer used."""


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


class Source(Protocol):
    """Where the login of a request comes from. Thread-safe."""

    def current(self) -> Login:
        """The login to use now. Raises `ApiError`."""

    def renewed(self, rejected: Login) -> Login:
        """The login to use after the API has rejected one: the same if there is no other. Raises `ApiError`."""


def credentials(kubeconfig: str) -> Credentials | None:
    """Credentials of the current context; None for what is left to kubectl, which also reports what is invalid.

    That is: auth providers, passwords, impersonation, proxies, certificate files, and plugins that need a terminal.
    """
    _name, cluster, _user, user = _context(kubeconfig)
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
    if (token and not _TOKEN.fullmatch(token)) or (file and not (_read(Path(file)) or token)):
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


def conceal_login(kubeconfig: str) -> None:
    """Conceal the tokens and passwords of a kubeconfig's user, and secrets among a plugin's arguments and variables."""
    *_names, user = _context(kubeconfig)
    conceal(str(user.get("token") or ""))
    conceal_found(str(user.get("password") or ""))
    conceal(_read(Path(str(user.get("tokenFile") or "/dev/null"))))
    plugin = user.get("exec") or {}
    named = {str(each.get("name")): str(each.get("value")) for each in plugin.get("env") or ()}
    conceal_named({**named, **dict(str(text).lstrip("-").partition("=")[::2] for text in plugin.get("args") or ())})
    for option, value in zip(plugin.get("args") or (), (plugin.get("args") or ())[1:], strict=False):
        if str(option).startswith("--") and may_be_secret(str(option)):
            conceal_found(str(value))


def rejected(kubeconfig: str, environ: Mapping[str, str]) -> ApiError:
    """The error for the user's own login if the API does not accept it: whose it is, in which file, and what to do."""
    context, _cluster, name, user = _context(kubeconfig)
    again = f"kubectl --context {context} get namespaces shows whether it works"
    if user.get("exec"):
        program = original(user["exec"])[0]
        what, fix = f"what its credential plugin {program} returns", f"log in again with what {program} belongs to"
    elif user.get("tokenFile"):
        what, fix = f"the token in {user['tokenFile']}", "write a valid token to that file"
    elif user.get("token"):
        what, fix = "its token", f"put a valid one there: kubectl config set-credentials {name} --token TOKEN"
    else:
        what, fix = "its login", "renew it there"
    file = file_of_user(environ, name)
    place = f" in {file}" if file is not None else ""
    return ApiError(401, f"the API does not accept the login of the context '{context}'").amend(
        why=f"{what} has expired, was revoked, or belongs to another cluster (user '{name}'{place})",
        fix=f"{fix}; {again}",
        cause="api-login",
    )


def _context(kubeconfig: str) -> tuple[str, Mapping[str, Any], str, Mapping[str, Any]]:
    """The current context's name, its cluster, the name of its user, and that user; each is empty if there is none."""
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


def _read(file: Path) -> str:
    """The token in a file; empty if there is none."""
    try:
        text = file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
    return text if _TOKEN.fullmatch(text) else ""


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


def source(access: Credentials, kubeconfig: Path, programs: Programs) -> Source:
    """Where the login comes from."""
    if access.plugin is not None:
        return _Answers(access.plugin, kubeconfig, programs)
    return Given(access)


class Given:
    """The login of the kubeconfig itself, and the token of a file, which may be replaced at any time.

    Like client-go, a token that could be read once is used if the file cannot be read any more; unlike it, the file
    is read for every request, not once a minute (client-go: `transport/token_source.go`).
    """

    def __init__(self, access: Credentials) -> None:
        self._file, self._login = access.token_file, access.login

    def current(self) -> Login:
        """See `Source`."""
        token = _read(self._file) if self._file is not None else ""
        if token and token != self._login.token:
            conceal(token)
            self._login = self._login._replace(token=token)
        return self._login

    def renewed(self, rejected: Login) -> Login:  # noqa: ARG002
        """Another one only if the file has a new token by now."""
        return self.current()


class _Answers:
    """The answers of a plugin. It is run again before an answer expires, and after the API has rejected one.

    Concurrent requests wait for one run (client-go: `plugin/pkg/client/auth/exec/exec.go`), and fail with it.
    """

    def __init__(self, plugin: Plugin, kubeconfig: Path, programs: Programs) -> None:
        self._plugin, self._cache = plugin, cache_of(kubeconfig)
        self._programs = programs.with_env(plugin.env)
        self._name = original({"command": plugin.argv[0], "args": plugin.argv[1:]})[0]
        self._lock = threading.Lock()
        self._login: Login | None = None
        self._until = 0.0
        self._failed: tuple[float, str] = (0.0, "")
        """When it failed last, and how."""

    def current(self) -> Login:
        begin = time.monotonic()
        with self._lock:
            return self._login if self._login is not None and time.time() < self._until else self._ask(begin)

    def renewed(self, rejected: Login) -> Login:
        begin = time.monotonic()
        with self._lock:
            if self._login is not None and self._login != rejected:
                return self._login
            forget(self._cache)
            return self._ask(begin)

    def _ask(self, begin: float) -> Login:
        at, words = self._failed
        if at < begin:  # otherwise it failed while this request waited for it
            try:
                self._login, self._until = self._answer(self._run())
            except ValueError as wrong:
                words = str(wrong)
                self._failed = (time.monotonic(), words)
            else:
                return self._login
        error = explained(ApiError(0, f"the credential plugin {self._name} gives no login", transient=False), words)
        if self._plugin.hint and words.endswith("not found"):
            error.amend(fix=f"{self._plugin.hint}; {error.fix}")
        raise error

    def _run(self) -> str:
        """What it writes. Raises `ValueError` with the words of kubectl, or of the plugin."""
        command = Command(argv=self._plugin.argv, deadline=PATIENCE, secret=True)
        try:
            return self._programs.run(command, quiet=True).out
        except ProgramMissing:
            raise ValueError(f"{_FAILED}exec: executable {self._name} not found") from None
        except CannotStart as error:
            raise ValueError(f"{_FAILED}exec: {error.what}: {error.why}") from None
        except DeadlinePassed as error:
            last = f"; it wrote: {error.tail()[-1]}" if error.tail() else ""
            raise ValueError(f"{_FAILED}{self._name} has not ended within {PATIENCE:g} s{last}") from None
        except CommandFailed as error:
            failed = f"exec: executable {self._name} failed with exit code {error.exit_code}"
            raise ValueError(f"{error.done.err.rstrip()}\n{_FAILED}{failed}") from None

    def _answer(self, text: str) -> tuple[Login, float]:
        """The login in an ExecCredential, and until when it is used. Raises `ValueError` in the words of client-go."""
        try:
            found = json.loads(text)
            version, status = found["apiVersion"], found.get("status") or {}
            given = [str(status.get(name) or "") for name in ("token", "clientCertificateData", "clientKeyData")]
            expiry = status.get("expirationTimestamp")
            left = datetime.fromisoformat(expiry).timestamp() - time.time() if expiry else float("inf")
        except (ValueError, LookupError, TypeError, AttributeError):
            raise ValueError(f"{_FAILED}decoding stdout: {self._name} wrote no valid ExecCredential") from None
        if version != self._plugin.version:
            wrong = f"is configured to use API version {self._plugin.version}, plugin returned version {version}"
            raise ValueError(f"{_FAILED}exec plugin {wrong}")
        token, certificate, key = given
        if not any(given) or bool(certificate) != bool(key) or (token and not _TOKEN.fullmatch(token)):
            raise ValueError(f"{_FAILED}exec plugin didn't return a token or cert/key pair ({self._name})")
        for secret in (token, key):
            conceal(secret)
        # at least a second: a plugin whose clock is wrong is not run for every request
        return Login(token, certificate.encode(), key.encode()), time.time() + max(1.0, left - min(_MARGIN, left / 4))
