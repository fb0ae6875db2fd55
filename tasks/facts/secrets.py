"""The configured secrets as objects. A value is concealed before anything else is done with it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tasks.core.errors import BadInput
from tasks.core.imageref import HUB_HOSTS
from tasks.core.redact import conceal
from tasks.facts.secret_source import Empty, Sources, sources, value_of
from tasks.kube.objects import finish
from tasks.process.programs import Programs

if TYPE_CHECKING:
    from tasks.settings.schema import Secret, Settings

_TYPES = {
    "Opaque": "Opaque",
    "dockerconfigjson": "kubernetes.io/dockerconfigjson",
    "tls": "kubernetes.io/tls",
    "basic-auth": "kubernetes.io/basic-auth",
}
_KEYS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "dockerconfigjson": (frozenset({"password"}), frozenset({"username"})),
    "tls": (frozenset({"tls.crt", "tls.key"}), frozenset({"ca.crt"})),
    "basic-auth": (frozenset({"password"}), frozenset({"username"})),
}
"""Keys that must be there, and others that may, by type (Kubernetes: types of Secret)."""
_KEY = re.compile(r"(?!\.\.|\.\Z)[-._a-zA-Z0-9]{1,253}")
"""No `.`, and nothing that begins with `..`: a key becomes the name of a file (Kubernetes: IsConfigMapKey)."""
_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_DOCKER_HUB_KEY = "https://index.docker.io/v1/"
"""Under this key alone every client finds the login for Docker Hub (source: kubernetes, credentialprovider)."""


class Skipped(NamedTuple):
    """A secret that is left out, and why; one that exists stays as it is."""

    name: str
    """With its namespaces, where the settings name them: others may have a secret of the same name."""
    why: str


def read_secrets(
    settings: Settings, environ: Mapping[str, str], root: Path, programs: Programs, parts: Collection[str]
) -> tuple[list[dict[str, Any]], list[Skipped]]:
    """As `secret_objects`, from files and commands of this machine, paths seen from `root`; nothing for other parts."""
    if "secrets" not in parts and not ("steps" in parts and settings.steps):
        return [], []

    return secret_objects(settings, sources(environ, root, programs, settings.timeouts.command))


def secret_objects(settings: Settings, given: Sources) -> tuple[list[dict[str, Any]], list[Skipped]]:
    """One object for each secret and namespace, and what is left out because a source of it is empty.

    Every value is concealed as soon as it is read; each source is read once. Raises `BadInput` for a
    source that is missing or fails, for keys that do not fit the type, and for a name used twice.
    """
    objects: list[dict[str, Any]] = []
    skipped: list[Skipped] = []
    seen: set[tuple[str, str]] = set()
    for secret in settings.secrets:
        namespaces = list(dict.fromkeys(settings.namespaces if secret.namespaces is None else secret.namespaces))
        _check(secret, namespaces, seen)
        shown = f"{secret.name} in {', '.join(namespaces)}" if secret.namespaces else secret.name
        if not namespaces:
            skipped.append(Skipped(shown, "it has no namespace to go to"))
            continue
        try:
            data = _data(secret, partial(_value, secret, given))
        except Empty as empty:
            skipped.append(Skipped(shown, f"{empty}; an existing secret stays"))
            continue
        objects += [_object(secret, namespace, data) for namespace in namespaces]
    return objects, skipped


def _value(secret: Secret, given: Sources, key: str) -> bytes:
    return value_of(secret.values[key], given, f"the value '{key}' of secret '{secret.name}'", "secrets")


def _check(secret: Secret, namespaces: Sequence[str], seen: set[tuple[str, str]]) -> None:
    """Raise `BadInput` for what Kubernetes would refuse, before any source is read."""
    if not _NAME.fullmatch(secret.name):
        raise _refused(secret, "a name consists of a-z, 0-9, - and ., at most 253", "choose another name")
    for namespace in namespaces:
        if (namespace, secret.name) in seen:
            raise _refused(secret, f"another one of that name goes to namespace '{namespace}'", "rename one of them")
        seen.add((namespace, secret.name))
    given = set(secret.values)
    if secret.type not in _KEYS:
        odd = sorted(key for key in given if not _KEY.fullmatch(key))
        if odd or not given:
            why = f"'{odd[0]}' is no key: those are letters, digits, -, _ and ." if odd else "it has no values"
            raise _refused(secret, why, "give it a source for each key under `values`")
        return
    if secret.type == "dockerconfigjson" and not secret.registry.strip():
        raise _refused(secret, "it names no registry", "set its `registry`")
    needed, more = _KEYS[secret.type]
    missing, unknown = sorted(needed - given), sorted(given - needed - more)
    if missing or unknown:
        why = f"it has no value '{missing[0]}'" if missing else f"'{unknown[0]}' is no key of this type"
        keys = ", ".join(sorted(needed)) + f" (and may have {', '.join(sorted(more))})"
        raise _refused(secret, why, f"the type {secret.type} takes {keys}")


def _data(secret: Secret, value: Callable[[str], bytes]) -> dict[str, bytes]:
    """The values by their keys in the cluster."""
    if secret.type not in ("dockerconfigjson", "basic-auth"):
        return {key: value(key) for key in sorted(secret.values)}
    password = value("password")
    username = value("username") if "username" in secret.values else secret.username.encode()
    if secret.type == "basic-auth":
        return {
            "username": _one_line(secret, "user name", username),
            "password": _one_line(secret, "password", password),
        }
    if b":" in username:
        raise _refused(secret, "its user name holds a colon, which ends it in a login", "correct the user name")
    name, token = _login(secret, "user name", username), _login(secret, "password", password)
    return {".dockerconfigjson": docker_config(secret.registry, name, token)}


def docker_config(registry: str, username: str, password: str) -> bytes:
    """A login as Docker's config.json holds it (Kubernetes: Docker config Secrets). Concealed, as is its `auth`."""
    both = f"{username}:{password}"
    auth = base64.b64encode(both.encode()).decode()
    name = _DOCKER_HUB_KEY if registry in HUB_HOSTS else registry
    text = json.dumps({"auths": {name: {"username": username, "password": password, "auth": auth}}}, sort_keys=True)
    for each in (both, text, json.dumps(password)[1:-1]):  # each with its base64 form: that of `both` is `auth`
        conceal(each)
    return text.encode()


def _one_line(secret: Secret, what: str, value: bytes) -> bytes:
    """A text without the end of its line; blanks may be meant, and bytes that are no text stay as they are."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return value
    line = text.rstrip("\r\n")
    if not line.isprintable():
        raise _not_one_line(secret, what)
    return line.encode()


def _login(secret: Secret, what: str, value: bytes) -> str:
    """A text for a registry. Raises `BadInput`; neither its text nor its context holds the value."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = None
    if text is None:
        raise _refused(secret, "its user name or password is not UTF-8 text", "correct the source")
    try:
        return login_text(text)
    except ValueError:
        pass
    raise _not_one_line(secret, what)


def _not_one_line(secret: Secret, what: str) -> BadInput:
    why = f"its {what} holds a line break or another sign that does not print, and no login may"
    return _refused(secret, why, "correct the source: one line, without anything pasted before or behind it")


def _object(secret: Secret, namespace: str, data: Mapping[str, bytes]) -> dict[str, Any]:
    return finish(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": secret.name, "namespace": namespace},
            "type": _TYPES[secret.type],
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        }
    )


def _refused(secret: Secret, why: str, fix: str) -> BadInput:
    return BadInput(f"the secret '{secret.name}' cannot be made", why=why, fix=f"{fix} (settings: secrets)")


def login_text(value: str) -> str:
    """A user name or a password of a registry without what surrounds it: blanks, line ends, a byte order mark.

    None of these can be meant there; editors, `echo` and files of Windows add them. Raises ValueError, which does
    not repeat the value, for a line break or another control character inside: no HTTP login may hold one (RFC 7617).
    """
    text = value.strip().strip("\ufeff").strip()
    if not text.isprintable():
        raise ValueError("holds a line break or another sign that does not print")
    return text
