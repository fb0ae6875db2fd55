"""The user's folders of this project, as XDG and the systems have them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_PROJECT = "openframe"


def state_folder(environ: Mapping[str, str]) -> Path:
    """For what must survive: below XDG_STATE_HOME, else where the system keeps such."""
    return _below(environ, "XDG_STATE_HOME")


def cache_folder(environ: Mapping[str, str]) -> Path:
    """For what can be fetched again: below XDG_CACHE_HOME, else where the system keeps such."""
    return _below(environ, "XDG_CACHE_HOME")


def _below(environ: Mapping[str, str], variable: str) -> Path:
    """A variable that is no absolute path counts as not set (XDG Base Directory Specification)."""
    given = environ.get(variable, "")
    if given.startswith("/"):
        return Path(given) / _PROJECT
    from platformdirs import user_cache_path, user_state_path

    return user_state_path(_PROJECT) if variable == "XDG_STATE_HOME" else user_cache_path(_PROJECT)
