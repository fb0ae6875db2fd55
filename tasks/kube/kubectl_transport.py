"""Requests to the Kubernetes API by one kubectl each: for logins, proxies and certificates that need it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from tasks.core.redact import bare_address
from tasks.kube.client import READ, WRITE, Api, ApiError, NoAnswer, explained, proxy_of
from tasks.process.command import Command, CommandFailed, DeadlinePassed
from tasks.process.programs import Programs

_ERROR = re.compile(r"^(?:error: |Unable to connect to the server: |The connection to the server ).*", re.MULTILINE)
"""The line with kubectl's error; advice and a URL may follow it (kubectl: `util.CheckErr`)."""


class KubectlApi(Api):
    """Reads, and requests with at most one effect, through one kubectl each."""

    def __init__(self, programs: Programs, kubeconfig: Path, *, whose: Callable[[], ApiError] | None = None) -> None:
        self._programs, self._kubeconfig, self._whose = programs, kubeconfig, whose

    def raw(self, path: str) -> tuple[int, str]:
        """Status and text; kubectl reports the status only in words."""
        from tasks.clients import kubectl

        return self._answer(kubectl.raw(self._kubeconfig, path, deadline=READ + 3))

    def send(self, method: str, path: str, body: str) -> tuple[int, str]:
        """POST, PUT or DELETE with a JSON body; status and text."""
        from tasks.clients import kubectl

        return self._answer(kubectl.send(self._kubeconfig, method, path, body, deadline=WRITE + 3))

    def _answer(self, command: Command) -> tuple[int, str]:
        try:
            return 200, self._programs.run(command, quiet=True).out
        except DeadlinePassed as error:
            message = error.tail()[-1] if error.tail() else ""  # such as a credential plugin that waits for the user
            raise NoAnswer(0, f"the API does not answer: {error.what}", message) from error
        except CommandFailed as error:
            stderr = error.done.err
            code = _status(stderr)
            if code == 401 and self._whose is not None:
                raise self._whose() from error
            if code is not None:
                return code, stderr
            found = _ERROR.search(stderr)
            last = found[0] if found else error.last_line()
            raise self._by_proxy(explained(ApiError(0, f"the API does not answer: {last}"), stderr)) from error

    def _by_proxy(self, error: ApiError) -> ApiError:
        """The same; where kubectl asks by a proxy with that, of which it says nothing when it is refused there."""
        from tasks.core import yaml

        try:
            cluster = yaml.load(self._kubeconfig.read_text(encoding="utf-8"))["clusters"][0]["cluster"]
        except (OSError, LookupError, TypeError):
            return error
        given = bare_address(str(cluster.get("proxy-url") or ""))
        proxy = given or proxy_of(str(cluster.get("server") or ""), self._programs.env)
        if not proxy:
            return error
        source = "the kubeconfig's proxy-url" if given else "HTTPS_PROXY"
        return error.amend(
            why=f"kubectl reaches it by the proxy {proxy} ({source}). {error.why}",
            fix=f"see that this proxy runs and reaches the API, or take it away; {error.fix}",
        )


_REASONS = {
    "BadRequest": 400,
    "Unauthorized": 401,
    "Forbidden": 403,
    "NotFound": 404,
    "MethodNotAllowed": 405,
    "AlreadyExists": 409,
    "Conflict": 409,
    "Gone": 410,
    "Expired": 410,
    "Invalid": 422,
    "TooManyRequests": 429,
    "InternalError": 500,
    "ServiceUnavailable": 503,
    "Timeout": 504,
}
"""The API's reason for each status (apimachinery: `StatusReason`)."""


def _status(stderr: str) -> int | None:
    """The HTTP status for kubectl's stderr; None if the API did not answer."""
    if "You must be logged in to the server" in stderr:
        return 401
    if re.search(r'^The \S+ ".*" is invalid', stderr, re.MULTILINE):
        return 422
    reason = re.search(r"^Error from server \((\w+)\)", stderr, re.MULTILINE)
    return _REASONS.get(reason[1]) if reason else None
