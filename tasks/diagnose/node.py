"""Why a node exited, read from its log. The decisive line is often far above the end."""

import re
from dataclasses import replace
from typing import NamedTuple

from tasks.core.errors import LaunchError
from tasks.diagnose.rules import clean, recognise, rules, short

_START = re.compile(r"^(?:INFO\[\d+\] )?Starting k3s ")
"""Written at each start: Docker keeps the log of all of them."""
_FATAL = re.compile(
    r"level=(?:fatal|panic)\b|^(?:FATA|PANI)\[\d+\]|^F\d{4} |^panic: |^fatal error: "
    r"|(?:level=error msg=|^ERRO\[\d+\] )\"?(?:Shutdown request received: |(?:kubelet|[\w-]*apiserver|[\w-]*scheduler"
    r"|[\w-]*controller-manager|kube-proxy|containerd|etcd) exited)"
    r"|^Incorrect Usage|^exec "
)
"""Last lines of k3s, or of a component without which k3s exits. Newer k3s logs them as
errors, `Shutdown request received: "kubelet exited: …"`, and exits with code 0 (k3s: `pkg/signals/signals.go`)."""
_ERROR = re.compile(r"^E\d{4} |^Error: |level=error\b|\"command failed\"|snapshotter cannot be enabled")
"""Lines worth showing if no last line is found."""
_MESSAGE = re.compile(r"\bmsg=\"((?:[^\"\\]|\\.)*)\"")
_ESCAPED = re.compile(r"\\(.)")
"""Go's quoting; a line break within a message becomes a blank, so that it stays one line."""
_ENOUGH = 3
"""Lines that a message repeats if the cause is unknown."""


class _Line(NamedTuple):
    text: str
    fatal: bool
    error: bool


def is_last(line: str) -> bool:
    """Whether a node's log line says that k3s, or a component without which it exits, has exited."""
    return _FATAL.search(line) is not None


def is_first(line: str) -> bool:
    """Whether it is the first line of k3s after a start."""
    return _START.search(_read(line).text) is not None


def killed_silently(node: str) -> LaunchError:
    """k3s has vanished from a container that still runs, and its log does not say why."""
    return LaunchError(
        f"the node {node} has ended: its k3s was killed",
        why="it is no longer among the container's processes and has written no last line, as when the memory "
        "runs out, or a user kills it; the container still runs without it (k3d's entrypoint waits forever)",
        fix=f"check whether memory ran out (`dmesg`, `docker stats`, docker logs {node}); then `invoke down` "
        "and `invoke up`",
        cause="node-killed",
        exit_code=137,
    )


def node_death(node: str, code: int, restarting: bool, logs: str) -> LaunchError:
    """Why a node exited: `code` is its container's exit code, `logs` the end of its log.

    `transient` of the error: whether it may recover without help; an unknown cause may.
    """
    lines = _last_run([_read(line) for line in clean(logs).splitlines() if line.strip()])
    fatal = [line.text for line in lines if line.fatal]
    errors = [line.text for line in lines if line.error and not line.fatal]
    again = ", repeatedly" if restarting else ""
    for group, its_code in ((fatal, None), (errors, None), ([], code)):
        found = recognise(rules("node"), "\n".join(reversed(group)), where="node", code=its_code)
        if found is not None:
            what = f"the node {node} has ended{again}: {found.what}"
            return LaunchError.of(replace(found, what=what, fix=found.fix.replace("NODE", node)), exit_code=code)
    telling = fatal[-1:] or errors[-_ENOUGH:] or [line.text for line in lines[-_ENOUGH:]]
    return LaunchError(
        f"the node {node} has ended with code {code}{again}",
        why="its log says: " + " / ".join(short(line) for line in telling) if telling else "its log is empty",
        fix=f"docker logs {node}",
        transient=True,
        exit_code=code,
    )


def _last_run(lines: list[_Line]) -> list[_Line]:
    """The lines since the last start of k3s, if one of them says why it exited; otherwise all."""
    starts = [number for number, line in enumerate(lines) if _START.search(line.text)]
    last = lines[starts[-1] :] if starts else lines
    return last if any(line.fatal for line in last) else lines


def _read(line: str) -> _Line:
    """A line's message, unquoted (its logger quotes once or twice), and its weight."""
    text, message = line, _MESSAGE.search(line)
    if message is not None:
        text = message[1]
        for _ in range(2):
            text = _ESCAPED.sub(lambda found: " " if found[1] in "ntr" else found[1], text)
    return _Line(text, is_last(line), _ERROR.search(line) is not None)
