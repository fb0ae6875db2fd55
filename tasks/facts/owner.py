"""Who owns a cluster: a label on its nodes, written when they are made.

Users of one engine have the same cluster names by default, and each other's nodes in reach. The owner is a user (uid)
of a machine (/etc/machine-id): the same from every clone and shell. A container whose engine is outside of it has the
machine id of an image, or none; there, and where a system has none, the state folder counts instead. OPENFRAME_OWNER
names an owner that several users or job containers share.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlencode

from tasks.core.digest import sha256
from tasks.core.files import MACHINE, unfinished
from tasks.core.paths import user_name
from tasks.facts import endpoint

_MACHINE_ID = re.compile(r"[0-9a-f]{32}")
_IDENTITY = "identity"
"""A file of the state folder."""


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A user, or a name that users share."""

    id: str
    name: str
    """For people: `alice@laptop`."""

    @property
    def label(self) -> str:
        """As a label's value."""
        return urlencode({"id": self.id, "name": self.name})


def read(label: str) -> Owner | None:
    """The owner that a label names; None where it names none."""
    fields = parse_qs(label)
    found = fields.get("id", [""])[0]
    return Owner(id=found, name=fields.get("name", ["somebody"])[0]) if found else None


def owner(environ: Mapping[str, str], state: Path, given: str | None = None) -> Owner:
    """Whose clusters this process makes. `given`: setting cluster.owner; `state`: the user's state folder."""
    if given:
        return Owner(id=sha256(f"name\n{given}", 16), name=given)
    name = f"{user_name()}@{socket.gethostname()}"
    return Owner(id=sha256(f"user\n{os.geteuid()}\n{_place(environ, state)}", 16), name=name)


def _place(environ: Mapping[str, str], state: Path) -> str:
    if not (endpoint.contained(environ) and endpoint.outside(environ, endpoint.endpoint(environ))):
        with contextlib.suppress(OSError):
            text = MACHINE.read_text().strip()
            if _MACHINE_ID.fullmatch(text):
                return text
    return _identity(state)


def _identity(state: Path) -> str:
    """A number of the state folder, created at its first use; where it cannot be stored, the machine's name."""
    path = state / _IDENTITY
    with contextlib.suppress(OSError):
        return path.read_text().strip()
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, fresh = unfinished(path)
        try:
            with os.fdopen(handle, "w") as file:
                file.write(os.urandom(16).hex())
            with contextlib.suppress(FileExistsError):  # another run has made it meanwhile
                path.hardlink_to(fresh)
        finally:
            fresh.unlink()
        return path.read_text().strip()
    except OSError:
        return socket.gethostname()
