"""The Kubernetes API through kubectl, where a kubeconfig needs more than certificates."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tasks.clients import kubectl
from tasks.kube.client import READ, WRITE, ApiError, NoAnswer, content, explained
from tasks.process.command import Command, CommandFailed, DeadlinePassed
from tasks.process.programs import Programs

_ERROR = re.compile(r"^(?:error: |Unable to connect to the server: |The connection to the server ).*", re.MULTILINE)
"""The line with kubectl's error; advice, and an address to read on, may follow it (kubectl: `util.CheckErr`)."""


class KubectlApi:
    """Reads, and requests with at most one effect, by one kubectl each."""

    def __init__(self, programs: Programs, kubeconfig: Path) -> None:
        self._programs, self._kubeconfig = programs, kubeconfig

    def get(self, path: str) -> Any:  # noqa: ANN401 - any JSON document
        """A JSON document; raises `ApiError`."""
        code, text = self.raw(path)
        return content(path, code, text)

    def raw(self, path: str) -> tuple[int, str]:
        """Status and text; kubectl reports the status only in words."""
        return self._answer(kubectl.raw(self._kubeconfig, path, deadline=READ + 3))

    def send(self, method: str, path: str, body: str) -> tuple[int, str]:
        """POST, PUT or DELETE with a JSON body; status and text."""
        return self._answer(kubectl.send(self._kubeconfig, method, path, body, deadline=WRITE + 3))

    def _answer(self, command: Command) -> tuple[int, str]:
        try:
            return 200, self._programs.run(command, quiet=True).out
        except DeadlinePassed as error:
            raise NoAnswer(0, f"the API does not answer: {error.what}") from error
        except CommandFailed as error:
            stderr = error.done.err
            code = _status(stderr)
            if code is not None:
                return code, stderr
            found = _ERROR.search(stderr)
            last = found[0] if found else error.tail()[-1] if error.tail() else error.what
            raise explained(ApiError(0, f"the API does not answer: {last}"), stderr) from error


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
"""Words of the API for a status (apimachinery: `StatusReason`)."""


def _status(stderr: str) -> int | None:
    """The HTTP status that kubectl's stderr stands for; None if the API did not answer."""
    if "You must be logged in to the server" in stderr:
        return 401
    if re.search(r'^The \S+ ".*" is invalid', stderr, re.MULTILINE):
        return 422
    reason = re.search(r"^Error from server \((\w+)\)", stderr, re.MULTILINE)
    return _REASONS.get(reason[1]) if reason else None
