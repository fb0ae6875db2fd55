"""Runs the login program of a kubeconfig once for all kubectl and Helm processes of a launch, and caches its answer.

Each process would run it (client-go: `plugin/pkg/client/auth/exec` caches its answer within one process only), and it
takes a second if it queries a cloud, or waits for a person's confirmation. kubectl starts this file as a program, by
its path and without this project's packages, so it imports the standard library only, and has no `sh`.
"""

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
from typing import Any

_WITHOUT_EXPIRY = 30.0
"""Seconds for which an answer without a time of expiry is used."""
_BEFORE = 60.0
"""Seconds before its expiry from which on an answer is no longer used."""
PATIENCE = 30.0
"""Seconds in which a login program must end: it cannot ask, since it has no terminal."""


def cache_of(kubeconfig: Path) -> Path:
    """The cache of the answer that a private kubeconfig's login program gave."""
    return Path(f"{kubeconfig}.login")


def forget(file: Path) -> None:
    """Empty a cache, since the API has rejected its answer."""
    with contextlib.suppress(OSError):
        os.truncate(file, 0)


def original(login: Mapping[str, Any]) -> list[str]:
    """The command of a login, as it was before `cached_logins`."""
    args = [str(each) for each in login.get("args") or ()]
    return args[4:] if args[2:3] == [__file__] else [str(login.get("command") or ""), *args]


def cached_logins(text: str, kubeconfig: Path, environ: Mapping[str, str]) -> str:
    """The text of a private kubeconfig with its login programs started through this module.

    A program that is missing is left unchanged: kubectl's message says how to install it.
    """
    import shutil

    from tasks.core import yaml

    document, changed = yaml.load(text) or {}, False
    for row in document.get("users") or ():
        login = (row.get("user") or {}).get("exec") or {}
        command = shutil.which(str(login.get("command") or ""), path=environ.get("PATH"))
        if command is not None:
            login["args"] = ["-I", "-S", __file__, str(cache_of(kubeconfig)), command, *(login.get("args") or ())]
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
            cache.seek(0)
            cache.truncate()
            try:  # some seconds later than the light client, whose message is better, and that ends its children, too
                done = subprocess.run(argv, stdout=subprocess.PIPE, encoding="utf-8", check=False, timeout=PATIENCE + 2)  # noqa: S603
            except subprocess.TimeoutExpired:
                sys.stderr.write(f"{argv[0]} was still running after {PATIENCE + 2:g} s, and ended with code 124\n")
                return 124
            if done.returncode:
                sys.stderr.write(f"{argv[0]} ended with code {done.returncode}\n")
                return done.returncode
            answer, end = done.stdout, _end(done.stdout)
            cache.write(f"{end}\n{answer}" if end is not None else "")
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
