"""The user's folders of this project: state and cache, as XDG and the systems have them, logs, and tasks in Python."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import re
import shlex
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tasks.core.errors import BadInput
from tasks.core.files import file_name, sha256

_EFFECTIVE = os.access in os.supports_effective_ids
_PROJECT = "openframe"
_PRIVATE = 0o700
_ELSEWHERE = "name a folder of your own in DEPLOY_LOG_DIR"
_OWN = re.compile(r"(?:\.?latest\.json|runs\Z|rehearsal\Z|bench(?:-results)?\Z|\.?\d{8}T\d{6}\.\d{3}Z-)")
"""How names begin in a log folder, and in its `runs`."""
_DEFAULT = "openframe-deployment-logs"
BENCHMARK_LOG = "cluster_setup_benchmark.log"
OWN_TASKS = "own_tasks"


@dataclass(frozen=True, kw_only=True)
class ClusterPaths:
    """Paths of the private files of one cluster."""

    state: Path
    """Mode 0700; of this cluster alone."""
    cache: Path
    """Charts and indexes; outlives clusters."""
    access: str = "kubeconfig"
    """Name of the private kubeconfig."""

    @property
    def images(self) -> Path:
        """Names of the images that earlier launches of this user needed: no cache, and not purged with one."""
        return self.state.parent.parent / "images"

    def repositories(self, addresses: Mapping[str, str]) -> Path:
        """Helm's file of repositories and their indexes: for this cluster and these addresses (by name) alone.

        Helm calls an index by the repository's name, which may mean another address elsewhere.
        """
        key = sha256(repr((self.state.name, sorted(addresses.items()))), 16)
        return self.cache / "repositories" / key

    @property
    def kubeconfig(self) -> Path:
        """The private kubeconfig: every kubectl and helm call uses it."""
        return self.state / self.access

    @property
    def engine(self) -> Path:
        """Says which engine the cluster is on: another one may have one of this name, too."""
        return self.state / "engine"

    @property
    def deferral(self) -> Path:
        """Is there while the start of metrics-server is deferred: what a launch that was killed has left of it."""
        return self.state / "deferral"

    @property
    def k3d_config(self) -> Path:
        """The generated k3d configuration."""
        return self.state / "k3d.yaml"

    @property
    def complete(self) -> Path:
        """Holds the id of the server-0 whose creation was recorded as complete."""
        return self.state / "complete"


def home(environ: Mapping[str, str]) -> Path:
    """The user's home folder: HOME, else that of the account. Raises `BadInput` where there is none."""
    try:
        return Path(environ.get("HOME") or Path.home())
    except RuntimeError:
        raise BadInput(
            "this user has no home folder", why="HOME is not set, and the system knows no such account", fix="set HOME"
        ) from None


def config_home(environ: Mapping[str, str]) -> Path:
    """Where programs keep the user's configuration: XDG_CONFIG_HOME, else ~/.config."""
    given = environ.get("XDG_CONFIG_HOME", "")
    return Path(given) if given.startswith("/") else home(environ) / ".config"


def state_folder(environ: Mapping[str, str]) -> Path:
    """For what must survive: below XDG_STATE_HOME, else where the system keeps such."""
    return _below(environ, "XDG_STATE_HOME")


def cache_folder(environ: Mapping[str, str]) -> Path:
    """For what can be fetched again: below XDG_CACHE_HOME, else where the system keeps such."""
    return _below(environ, "XDG_CACHE_HOME")


def user_name() -> str:
    """Of the account that this process runs under; its number where it has no name."""
    return _name_of(os.geteuid())


def _is_at_home(path: Path) -> bool:
    """Whether a folder is below the user's own: modes and owners of others are nobody's to change for this."""
    return home(os.environ) in path.parents


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
    own = f'give it to yourself: sudo chown -R "$(id -u):$(id -g)" {shlex.quote(str(there))}; or '
    raise BadInput(
        f"{there} cannot be used: {reason}",
        why=f"it belongs to {owner}{root}" if owner else "what this project remembers of clusters lies there",
        fix=(own if reason == os.strerror(errno.EACCES) and (there == path or _is_at_home(there)) else "")
        + f"set {variable} to another folder",
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


def log_folder(path: Path) -> Path:
    """The folder for logs and records, made with mode 0700 if it is missing; its absolute path.

    A folder of this user's that others may enter is closed to them, but only where it is surely a log folder
    (see `_surely_logs`): DEPLOY_LOG_DIR=/tmp, set by root, must not
    close /tmp. Raises `BadInput` for a link, a file, someone else's folder, or one that cannot be used.
    """
    path = path.expanduser().absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=_PRIVATE)
        _close(path)
    except OSError as error:
        raise _unusable(path, error) from None
    return path


def default_folder(path: Path) -> Path:
    """The default log folder, or that with the user's name behind where the first is another user's."""
    try:
        taken = path.lstat().st_uid != os.geteuid()
    except OSError:
        return path
    return path.with_name(f"{path.name}-{file_name(user_name())}") if taken else path


def run_folder(log_dir: Path, task: str, started: datetime) -> Path:
    """A new folder `runs/<UTC time>-<task>` for the logs of one run's steps, whose name no other run has.

    The run's record lies beside it, with `.json` added. Raises `BadInput` as `log_folder` does.
    """
    runs = log_folder(log_dir / "runs")
    stem = run_name(task, started)
    for count in range(1, 1000):
        path = runs / (stem if count == 1 else f"{stem}-{count}")
        if path.with_name(f"{path.name}.json").exists():
            continue
        try:
            path.mkdir(mode=_PRIVATE)
        except FileExistsError:
            continue
        except OSError as error:
            raise _unusable(path, error) from None
        return path
    raise _unusable(runs / stem, OSError("999 runs have begun in the same millisecond"))


def run_name(task: str, started: datetime) -> str:
    """`20261124T023100.123Z-up`: sorts by time as text does, and is valid on every file system."""
    moment = started.astimezone(UTC)
    return f"{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03d}Z-{file_name(task)}"


def _close(path: Path) -> None:
    """Check through an open handle, so that what was checked is what gets its mode changed."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        found = os.fstat(handle)
        if found.st_uid != os.geteuid():
            raise BadInput(
                f"the log folder {path} belongs to another user (uid {found.st_uid})",
                why="logs and records may be read or replaced by whoever owns their folder",
                fix=_ELSEWHERE,
            )
        mode = stat.S_IMODE(found.st_mode)
        if mode & 0o077 and not _surely_logs(path):
            raise BadInput(
                f"others may enter the log folder {path} (mode {mode:04o})",
                why="logs need mode 0700, and this folder holds other things that such a mode would close off",
                fix=_ELSEWHERE + (f", or close this one with `chmod 700 {path}`" if _is_at_home(path) else ""),
            )
        if mode != _PRIVATE:
            os.fchmod(handle, _PRIVATE)
    finally:
        os.close(handle)


def _surely_logs(path: Path) -> bool:
    """Whether it has the name of the default one, holds nothing else, or a benchmark log.

    Other names prove nothing: there are folders of sources, and of other programs' runs, that are called so.
    """
    if path.name.startswith(_DEFAULT):
        return True
    names = {entry.name for entry in path.iterdir()}
    return BENCHMARK_LOG in names or all(_OWN.match(name) for name in names)


def _unusable(path: Path, error: OSError) -> BadInput:
    if path.is_symlink():
        return BadInput(
            f"the log folder {path} is a symbolic link",
            why="a link can be pointed elsewhere by whoever owns the folder it is in",
            fix=f"remove the link, or {_ELSEWHERE}",
        )
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return BadInput(
            f"the log folder {path} cannot be made",
            why="there is a file at that path, or at a part of it",
            fix=f"remove the file, or {_ELSEWHERE}",
        )
    return BadInput(
        f"the log folder {path} cannot be used", why=error.strerror or str(error), fix=f"repair that, or {_ELSEWHERE}"
    )


def own_tasks(root: Path) -> Path | None:
    """The user's module of tasks and steps beside tasks.py; None where there is none."""
    found = (root / f"{OWN_TASKS}.py", root / OWN_TASKS / "__init__.py")
    return next((each for each in found if each.is_file()), None)
