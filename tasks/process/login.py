"""Runs the login program of a kubeconfig once for all kubectl and Helm processes of a launch, and caches its answer.

Each process would run it (client-go: `plugin/pkg/client/auth/exec` caches its answer within one process only), and it
takes a second if it queries a cloud, or waits for a person's confirmation. kubectl starts this file as a program, by
its path and without this project's packages, so it imports the standard library only, and has no `sh`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

_WITHOUT_EXPIRY = 30.0
"""Seconds for which an answer without a time of expiry is used."""
_BEFORE = 60.0
"""Seconds before its expiry from which on an answer is no longer used."""


def cached_logins(text: str, file: Path, environ: Mapping[str, str]) -> str:
    """The kubeconfig `text` with its login programs started through this module; `file`: the cache of the answer.

    A program that is missing is left unchanged: kubectl's message says how to install it.
    """
    import shutil

    from tasks.core import yaml

    document, changed = yaml.load(text) or {}, False
    for row in document.get("users") or ():
        login = (row.get("user") or {}).get("exec") or {}
        command = shutil.which(str(login.get("command") or ""), path=environ.get("PATH"))
        if command is not None:
            login["args"] = ["-I", "-S", __file__, str(file), command, *(login.get("args") or ())]
            login["command"], changed = sys.executable, True
    return json.dumps(document) if changed else text


def main(file: str, argv: Sequence[str]) -> int:
    """Print the answer of a login program; its exit code. Concurrent calls wait for the first.

    The cache has mode 0600, and is emptied when the program fails.
    """
    with open(file, "a+", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600)) as cache:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(cache, fcntl.LOCK_EX)
        cache.seek(0)
        until, _, answer = cache.read().partition("\n")
        if not answer or float(until) < time.time():
            # the program that kubectl would start; it may use the terminal
            done = subprocess.run(argv, stdout=subprocess.PIPE, encoding="utf-8", check=False)  # noqa: S603
            answer, end = done.stdout, _end(done.stdout) if done.returncode == 0 else None
            cache.seek(0)
            cache.truncate()
            cache.write(f"{end}\n{answer}" if end is not None else "")
            if done.returncode:
                sys.stderr.write(f"{argv[0]} ended with code {done.returncode}\n")
                return done.returncode
    sys.stdout.write(answer)
    return 0


def _end(answer: str) -> float | None:
    """Until when an answer is used, in seconds of the epoch; None if it is no ExecCredential with a valid expiry."""
    with contextlib.suppress(ValueError, LookupError, TypeError, AttributeError):
        expiry = json.loads(answer)["status"].get("expirationTimestamp")
        return datetime.fromisoformat(expiry).timestamp() - _BEFORE if expiry else time.time() + _WITHOUT_EXPIRY
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
