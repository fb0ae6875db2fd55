"""The user's folders of this project, as XDG and the systems have them."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import shlex
from collections.abc import Mapping
from pathlib import Path

from tasks.core.errors import BadInput

_EFFECTIVE = os.access in os.supports_effective_ids
_PROJECT = "openframe"


def state_folder(environ: Mapping[str, str]) -> Path:
    """For what must survive: below XDG_STATE_HOME, else where the system keeps such."""
    return _below(environ, "XDG_STATE_HOME")


def cache_folder(environ: Mapping[str, str]) -> Path:
    """For what can be fetched again: below XDG_CACHE_HOME, else where the system keeps such."""
    return _below(environ, "XDG_CACHE_HOME")


def user_name() -> str:
    """Of the account that this process runs under; its number where it has no name."""
    return _name_of(os.geteuid())


def check_own(path: Path, variable: str) -> None:
    """Raises `BadInput` for a file or folder below the user's (see `variable`) that cannot be used, or not be made.

    A run as root, by sudo with the user's own HOME, leaves such.
    """
    there = next(each for each in (path, *path.parents) if os.path.lexists(each))
    if there != path and not there.is_dir():
        reason = os.strerror(errno.ENOTDIR)
    elif not os.access(there, os.R_OK | os.W_OK | os.X_OK if there.is_dir() else os.R_OK, effective_ids=_EFFECTIVE):
        reason = os.strerror(errno.EACCES)
    else:
        return
    owner = _owner(there)
    root = "; a run as root may have made it" if owner == _name_of(0) else ""
    raise BadInput(
        f"{there} cannot be used: {reason}",
        why=f"it belongs to {owner}{root}" if owner else "what this project remembers of clusters lies there",
        fix=f'give it to yourself: sudo chown -R "$(id -u):$(id -g)" {shlex.quote(str(there))}; '
        f"or set {variable} to another folder",
    )


def _owner(path: Path) -> str:
    """Name of another user who owns it, or a folder above that may not be looked into; empty where it is our own."""
    for each in (path, *path.parents):
        with contextlib.suppress(OSError):
            found = each.stat().st_uid
            return "" if found == os.geteuid() else _name_of(found)
    return ""


def _name_of(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _below(environ: Mapping[str, str], variable: str) -> Path:
    """A variable that is no absolute path counts as not set (XDG Base Directory Specification)."""
    given = environ.get(variable, "")
    if given.startswith("/"):
        return Path(given) / _PROJECT
    from platformdirs import user_cache_path, user_state_path

    return user_state_path(_PROJECT) if variable == "XDG_STATE_HOME" else user_cache_path(_PROJECT)
