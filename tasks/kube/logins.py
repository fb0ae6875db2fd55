"""Logins of the user's own contexts: tokens in files, credential plugins, and what is reported of a rejected one."""

import json
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from tasks.clients.kubeconfig import file_of_user
from tasks.core.redact import conceal, conceal_found
from tasks.kube.client import TOKEN, ApiError, Credentials, Login, Plugin, context_of, explained, read_token
from tasks.process.command import Command, CommandFailed, DeadlinePassed, ProgramMissing
from tasks.process.login import PATIENCE, cache_of, forget, original
from tasks.process.programs import Programs
from tasks.process.runner import CannotStart
from tasks.settings.origin import conceal_named, may_be_secret

_FAILED = "Unable to connect to the server: getting credentials: "
"""The beginning of kubectl's message about a plugin (client-go: `plugin/pkg/client/auth/exec/exec.go`)."""
_MARGIN = 60.0
"""Seconds before its expiry, at most, from which on a plugin's answer is no longer used."""


def conceal_login(kubeconfig: str) -> None:
    """Conceal the tokens and passwords of a kubeconfig's user, and secrets among a plugin's arguments and variables."""
    *_names, user = context_of(kubeconfig)
    conceal(str(user.get("token") or ""))
    conceal_found(str(user.get("password") or ""))
    conceal(read_token(Path(str(user.get("tokenFile") or "/dev/null"))))
    plugin = user.get("exec") or {}
    named = {str(each.get("name")): str(each.get("value")) for each in plugin.get("env") or ()}
    conceal_named({**named, **dict(str(text).lstrip("-").partition("=")[::2] for text in plugin.get("args") or ())})
    for option, value in zip(plugin.get("args") or (), (plugin.get("args") or ())[1:], strict=False):
        if str(option).startswith("--") and may_be_secret(str(option)):
            conceal_found(str(value))


def rejected(kubeconfig: str, environ: Mapping[str, str]) -> ApiError:
    """The error for the user's own login if the API does not accept it: whose it is, in which file, and what to do."""
    context, _cluster, name, user = context_of(kubeconfig)
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


def source(access: Credentials | None, kubeconfig: Path, programs: Programs) -> "Given | Answers | None":
    """Where the login comes from; None: kubectl has to find it."""
    if access is not None and access.plugin is not None:
        return Answers(access.plugin, kubeconfig, programs)
    return Given(access) if access is not None else None


class Given:
    """The login of the kubeconfig itself, and the token of a file, which may be replaced at any time.

    Like client-go, a token that could be read once is used if the file cannot be read any more; unlike it, the file
    is read for every request, not once a minute (client-go: `transport/token_source.go`).
    """

    def __init__(self, access: Credentials) -> None:
        self._file, self._login = access.token_file, access.login

    def current(self) -> Login:
        """See `Source`."""
        token = read_token(self._file) if self._file is not None else ""
        if token and token != self._login.token:
            conceal(token)
            self._login = self._login._replace(token=token)
        return self._login

    def renewed(self, rejected: Login) -> Login:  # noqa: ARG002
        """Another one only if the file has a new token by now."""
        return self.current()


class Answers:
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
        """The answer, if it is still good. Raises `ApiError`, as `renewed` does."""
        begin = time.monotonic()
        with self._lock:
            return self._login if self._login is not None and time.time() < self._until else self._ask(begin)

    def renewed(self, rejected: Login) -> Login:
        """Another answer; kubectl and Helm do not use the rejected one either."""
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
        if not any(given) or bool(certificate) != bool(key) or (token and not TOKEN.fullmatch(token)):
            raise ValueError(f"{_FAILED}exec plugin didn't return a token or cert/key pair ({self._name})")
        for secret in (token, key):
            conceal(secret)
        # at least a second: a plugin whose clock is wrong is not run for every request
        return Login(token, certificate.encode(), key.encode()), time.time() + max(1.0, left - min(_MARGIN, left / 4))
