"""One run of the program that a kubeconfig names for its login, for all kubectls and Helms of a launch.

Each of them would run it (client-go: `plugin/pkg/client/auth/exec` keeps its answer within one process alone), and it
takes a second where it asks a cloud, or wants somebody to confirm.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

_UNTOLD = 30.0
"""Seconds that an answer without a time of expiry is used."""
_BEFORE = 60.0
"""Seconds before its expiry from which on an answer is asked for again."""
_KEEPING = f"""\
import contextlib, fcntl, json, os, subprocess, sys, time
from datetime import datetime
file, *argv = sys.argv[1:]
with open(file, "a+", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600)) as kept:
    with contextlib.suppress(OSError):
        fcntl.flock(kept, fcntl.LOCK_EX)
    kept.seek(0)
    until, _, answer = kept.read().partition("\\n")
    if not answer or float(until) < time.time():
        done = subprocess.run(argv, stdout=subprocess.PIPE, encoding="utf-8")
        answer, until = done.stdout, 0.0
        if done.returncode == 0:
            with contextlib.suppress(ValueError, LookupError, TypeError, AttributeError):
                expiry = json.loads(answer)["status"].get("expirationTimestamp")
                until = datetime.fromisoformat(expiry).timestamp() - {_BEFORE} if expiry else time.time() + {_UNTOLD}
        kept.seek(0)
        kept.truncate()
        kept.write(f"{{until}}\\n{{answer}}" if until else "")
        if done.returncode:
            print(argv[0], "ended with code", done.returncode, file=sys.stderr)
            sys.exit(done.returncode)
    sys.stdout.write(answer)
"""
"""Keeps the answer in a file of mode 0600 while it is good; whoever comes meanwhile waits for the first."""


def logging_in_once(text: str, file: Path, environ: Mapping[str, str]) -> str:
    """A kubeconfig whose programs for logins are run through `_KEEPING`; `file`: where their answers are kept.

    One that is not there is left as it is: kubectl says how it is installed.
    """
    from tasks.core import yaml

    document, changed = yaml.load(text) or {}, False
    for row in document.get("users") or ():
        login = (row.get("user") or {}).get("exec") or {}
        command = shutil.which(str(login.get("command") or ""), path=environ.get("PATH"))
        if command is not None:
            login["args"] = ["-I", "-S", "-c", _KEEPING, str(file), command, *(login.get("args") or ())]
            login["command"], changed = sys.executable, True
    return json.dumps(document) if changed else text
