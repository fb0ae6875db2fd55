"""The configured secrets as objects, each value from a variable, a file or a command's output, and concealed at once.

Errors here are never chained to their cause: what a command wrote before it failed may be half of the
secret, and a failure is shown with its chain.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import json
import os
import re
import stat
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tasks.core.errors import BadInput
from tasks.core.imageref import HUB_HOSTS
from tasks.core.redact import conceal, redact
from tasks.kube.objects import finish
from tasks.process.command import Command, CommandFailed, DeadlinePassed, ProgramMissing
from tasks.process.programs import Programs

if TYPE_CHECKING:
    from tasks.settings.schema import Secret, Settings
    from tasks.settings.types import SecretSource


ReadFile = Callable[[str], bytes]
"""The content of a file; raises OSError."""
RunCommand = Callable[[Sequence[str]], bytes]
"""A command's stdout; raises `CommandFailed`, `ProgramMissing`."""

_KINDS = ("env", "file", "command")
_LARGEST = 1 << 20
"""Bytes: the API server accepts no larger Secret (Kubernetes: Secrets, size limit)."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where values are read from."""

    environ: Mapping[str, str] = field(repr=False)
    read_file: ReadFile
    run_command: RunCommand


def sources(environ: Mapping[str, str], root: Path, programs: Programs, seconds: float) -> Sources:
    """The sources on this machine: paths are relative to `root`, a command has that many seconds."""

    def output(argv: Sequence[str]) -> bytes:
        program = str(root / argv[0]) if "/" in argv[0] else argv[0]
        return programs.run(Command(argv=(program, *argv[1:]), cwd=root, deadline=seconds), quiet=True).raw

    return Sources(environ=environ, read_file=reader(root), run_command=output)


class Empty(Exception):
    """A source exists, but is empty; the text names the source."""


def reader(root: Path) -> ReadFile:
    """Reads files of secrets, with paths relative to `root`.

    It never blocks: a pipe or a device is rejected, and so is a file that is too large for a Secret.
    """

    def read(name: str) -> bytes:
        try:
            path = root / Path(name).expanduser()
        except RuntimeError:
            raise FileNotFoundError(errno.ENOENT, "there is no home folder of that user") from None
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                content = file.read(_LARGEST + 1)
        finally:
            os.close(descriptor)
        if len(content) > _LARGEST:
            raise OSError(errno.EFBIG, "it is larger than 1 MiB, the limit of a Secret")
        return content

    return read


def value_of(source: SecretSource, given: Sources, what: str, place: str) -> bytes:
    """A value. A line end is removed if a file or a command yields a single line.

    `what` it is and the `place` of its setting are for errors. Raises `Empty` for a source without a value, `BadInput`
    for one that cannot be read.
    """
    named = [kind for kind in _KINDS if getattr(source, kind) is not None]
    try:
        if len(named) != 1:
            raise _Unreadable(f"it has {len(named)} sources ({', '.join(named) or 'none'})", "name exactly one")
        if not getattr(source, named[0]):
            raise _Unreadable(f"its {named[0]} is empty", "name one")
        if source.env:
            if source.env not in given.environ:
                raise Empty(f"{source.env} is not set")
            return _concealed(given.environ[source.env].encode("utf-8", "surrogateescape"), source.env)
        if source.file:
            return _concealed(_trimmed(_read(source.file, given.read_file)), f"the file {source.file}")
        assert source.command
        return _concealed(_trimmed(_run(source.command, given.run_command)), f"the output of {source.command[0]}")
    except _Unreadable as error:
        why, fix = error.args
    raise BadInput(f"{what} cannot be read", why=why, fix=f"{fix} (settings: {place})")


class _Unreadable(Exception):
    """Why a source cannot be read, and what to do."""


def _concealed(value: bytes, where: str) -> bytes:
    if not value.strip():
        raise Empty(f"{where} is empty")
    # binary data appears in base64 only
    conceal(value.decode() if _is_text(value) else base64.b64encode(value).decode())
    return value


def _trimmed(value: bytes) -> bytes:
    """A single line without its end, like the shell's `$(…)`.

    Several lines stay unchanged, as in kubectl: without its last newline OpenSSH rejects a key,
    and PEM blocks can no longer be concatenated. So does binary data.
    """
    line = value.rstrip(b"\r\n")
    return value if b"\n" in line or not _is_text(value) else line


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _read(name: str, read_file: ReadFile) -> bytes:
    try:
        return read_file(name)
    except OSError as error:
        why = error.strerror or type(error).__name__
    except ValueError:
        why = "no file can have that name"
    raise _Unreadable(f"{name}: {why}", "create the file, or remove the secret")


def _run(command: Sequence[str], run_command: RunCommand) -> bytes:
    try:
        output = run_command(command)
    except CommandFailed as error:
        why = _how(command[0], error)
    except ProgramMissing as error:
        why = error.what
    else:
        return output
    raise _Unreadable(why, "run that command manually, or remove the secret")


def _how(name: str, error: CommandFailed) -> str:
    """How a command failed: the last line of its stderr, with its stdout masked."""
    if isinstance(error, DeadlinePassed):
        return error.what
    conceal(error.done.out)
    lines = [line.strip() for line in redact(error.done.err).splitlines() if line.strip()]
    return f"{name} ended with code {error.done.code}" + (f": {lines[-1][:200]}" if lines else "")


_KEYS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "dockerconfigjson": (frozenset({"password"}), frozenset({"username"})),
    "tls": (frozenset({"tls.crt", "tls.key"}), frozenset({"ca.crt"})),
    "basic-auth": (frozenset({"password"}), frozenset({"username"})),
    "ssh-auth": (frozenset({"ssh-privatekey"}), frozenset({"known_hosts"})),
}
"""Required and optional keys by type (Kubernetes: types of Secret)."""
_WHOLE = ".dockerconfigjson"
"""Instead of the keys of its type: a whole file such as ~/.docker/config.json."""
_KEY = re.compile(r"(?!\.\.|\.\Z)[-._a-zA-Z0-9]{1,253}")
"""Not `.`, and no prefix `..`: a key becomes a file name (Kubernetes: IsConfigMapKey)."""
_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_DOCKER_HUB_KEY = "https://index.docker.io/v1/"
"""The only key under which every client finds the login for Docker Hub (source: kubernetes, credentialprovider)."""


class Skipped(NamedTuple):
    """A skipped secret, and the reason; an existing one stays unchanged."""

    name: str
    """With its namespaces, if configured: other secrets may have the same name."""
    why: str


def read_secrets(
    settings: Settings, environ: Mapping[str, str], root: Path, programs: Programs, parts: Collection[str]
) -> tuple[list[dict[str, Any]], list[Skipped]]:
    """Like `secret_objects`, with files and commands of this machine, paths relative to `root`; empty for others."""
    if "secrets" not in parts and not ("steps" in parts and settings.steps):
        return [], []

    return secret_objects(settings, sources(environ, root, programs, settings.timeouts.command))


def secret_objects(settings: Settings, given: Sources) -> tuple[list[dict[str, Any]], list[Skipped]]:
    """One object for each secret and namespace, and those skipped because a source is empty.

    Every value is concealed as soon as it is read; each source is read once. Raises `BadInput` for a
    source that is missing or fails, for keys that do not fit the type, and for a duplicate name.
    """
    objects: list[dict[str, Any]] = []
    skipped: list[Skipped] = []
    seen: set[tuple[str, str]] = set()
    for secret in settings.secrets:
        namespaces = list(dict.fromkeys(settings.namespaces if secret.namespaces is None else secret.namespaces))
        _check(secret, namespaces, seen)
        shown = f"{secret.name} in {', '.join(namespaces)}" if secret.namespaces else secret.name
        if not namespaces:
            skipped.append(Skipped(shown, "it has no namespace"))
            continue
        try:
            data = _data(secret, partial(_value, secret, given))
        except Empty as empty:
            skipped.append(Skipped(shown, f"{empty}; an existing secret stays"))
            continue
        if (size := sum(map(len, data.values()))) > _LARGEST:
            raise _refused(secret, f"its values have {size} bytes, and a Secret holds {_LARGEST} at most", "split it")
        objects += [_object(secret, namespace, data) for namespace in namespaces]
    return objects, skipped


def _value(secret: Secret, given: Sources, key: str) -> bytes:
    return value_of(secret.values[key], given, f"the value '{key}' of secret '{secret.name}'", "secrets")


def _check(secret: Secret, namespaces: Sequence[str], seen: set[tuple[str, str]]) -> None:
    """Raise `BadInput` for what Kubernetes would reject, before any source is read."""
    if not _NAME.fullmatch(secret.name):
        raise _refused(secret, "a name consists of a-z, 0-9, - and ., at most 253", "choose another name")
    for namespace in namespaces:
        if (namespace, secret.name) in seen:
            raise _refused(secret, f"another one of that name goes to namespace '{namespace}'", "rename one of them")
        seen.add((namespace, secret.name))
    given = set(secret.values)
    if secret.type == "dockerconfigjson" and given == {_WHOLE}:
        return
    if secret.type not in _KEYS:
        odd = sorted(key for key in given if not _KEY.fullmatch(key))
        if odd or not given:
            why = (
                f"'{odd[0]}' is not a valid key: allowed are letters, digits, -, _ and ." if odd else "it has no values"
            )
            raise _refused(secret, why, "give it a source for each key under `values`")
        return
    if secret.type == "dockerconfigjson" and not secret.registry.strip():
        raise _refused(secret, "it names no registry", "set its `registry`")
    needed, more = _KEYS[secret.type]
    missing, unknown = sorted(needed - given), sorted(given - needed - more)
    if missing or unknown:
        why = f"it has no value '{missing[0]}'" if missing else f"'{unknown[0]}' is not a key of this type"
        keys = ", ".join(sorted(needed)) + f" (and may have {', '.join(sorted(more))})"
        raise _refused(secret, why, f"the type {secret.type} takes {keys}")


def _data(secret: Secret, value: Callable[[str], bytes]) -> dict[str, bytes]:
    """The values by their keys in the cluster."""
    if secret.type not in ("dockerconfigjson", "basic-auth"):
        found = {key: value(key) for key in sorted(secret.values)}
        if secret.type == "tls":
            _check_pair(secret, found["tls.crt"], found["tls.key"])
        return found
    if _WHOLE in secret.values:
        return {_WHOLE: _whole_config(secret, value(_WHOLE))}
    password = value("password")
    username = value("username") if "username" in secret.values else secret.username.encode()
    if secret.type == "basic-auth":
        return {
            "username": _one_line(secret, "user name", username),
            "password": _one_line(secret, "password", password),
        }
    if b":" in username:
        raise _refused(secret, "its user name contains a colon, which would end it in a login", "correct the user name")
    name, token = _login(secret, "user name", username), _login(secret, "password", password)
    return {_WHOLE: docker_config(secret.registry, name, token)}


def _check_pair(secret: Secret, certificate: bytes, key: bytes) -> None:
    """Raises `BadInput` for what no ingress or client can load: the API server accepts anything."""
    certificates, keys = b"CERTIFICATE-----", b"PRIVATE KEY-----"
    if certificates not in certificate and keys in certificate and certificates in key:
        raise _refused(secret, "its tls.crt holds the key, and its tls.key the certificate", "swap their sources")
    for name, value, needed in (("tls.crt", certificate, certificates), ("tls.key", key, keys)):
        if needed not in value:
            why = f"its {name} is not PEM text with a line -----BEGIN … {needed.decode()}"
            raise _refused(secret, why, "convert it: openssl x509, openssl pkey or openssl pkcs12, with -out FILE")
    if b"ENCRYPTED" in key:
        why = "its tls.key is encrypted, and nothing in a cluster has the passphrase"
        raise _refused(secret, why, "decrypt it: openssl pkey -in FILE -out FILE")


def _whole_config(secret: Secret, value: bytes) -> bytes:
    """A file such as ~/.docker/config.json with a login. Raises `BadInput`, which does not contain it."""
    logins: Mapping[str, Any] | None = None
    with contextlib.suppress(ValueError, KeyError, TypeError):
        logins = dict(json.loads(value)["auths"])
    if logins is None:
        raise _refused(secret, "its value is no JSON text with `auths`, as docker login writes it", "correct it")
    found = [each for each in logins.values() if isinstance(each, dict) and each.keys() & {"auth", "password"}]
    for text in (str(each.get(name) or "") for each in found for name in ("auth", "password", "identitytoken")):
        conceal(text)
        with contextlib.suppress(ValueError):  # it need not be base64
            conceal(base64.b64decode(text).decode().partition(":")[2])
    if not found:
        why = "it has no login: docker keeps them in the credential helper of this machine, which nodes cannot ask"
        raise _refused(secret, why, "give `registry`, `username` and `password` instead")
    return value


def docker_config(registry: str, username: str, password: str) -> bytes:
    """A login as in Docker's config.json (Kubernetes: Docker config Secrets). Concealed, as is its `auth`."""
    both = f"{username}:{password}"
    auth = base64.b64encode(both.encode()).decode()
    name = _DOCKER_HUB_KEY if registry in HUB_HOSTS else registry
    text = json.dumps({"auths": {name: {"username": username, "password": password, "auth": auth}}}, sort_keys=True)
    for each in (both, text, json.dumps(password)[1:-1]):  # each with its base64 form: that of `both` is `auth`
        conceal(each)
    return text.encode()


def _one_line(secret: Secret, what: str, value: bytes) -> bytes:
    """A text without its line end; blanks may be intended, and binary data stays unchanged."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return value
    line = text.rstrip("\r\n")
    if not line.isprintable():
        raise _not_one_line(secret, what)
    return line.encode()


def _login(secret: Secret, what: str, value: bytes) -> str:
    """A text for a registry. Raises `BadInput`, which does not contain the value."""
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
    why = f"its {what} contains a line break or another non-printing character, which a login must not"
    return _refused(secret, why, "correct the source: one line, without anything before or after it")


def _object(secret: Secret, namespace: str, data: Mapping[str, bytes]) -> dict[str, Any]:
    return finish(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": secret.name, "namespace": namespace},
            "type": secret.type if secret.type == "Opaque" else f"kubernetes.io/{secret.type}",
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        }
    )


def _refused(secret: Secret, why: str, fix: str) -> BadInput:
    return BadInput(f"the secret '{secret.name}' cannot be created", why=why, fix=f"{fix} (settings: secrets)")


def login_text(value: str) -> str:
    """A registry's user name or password without surrounding blanks, line ends, and byte order mark.

    None of these can be intended there; editors, `echo` and Windows files add them. Raises ValueError, which does
    not repeat the value, for a line break or other non-printing character, except in a JSON object: Google's key files.
    """
    text = value.strip().strip("\ufeff").strip()
    if not text.isprintable() and not (text.startswith("{") and text.endswith("}")):
        raise ValueError("contains a line break or another non-printing character")
    return text
