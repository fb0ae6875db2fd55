"""The user's folders of this project: state and cache (XDG or the system's convention), logs, own tasks in Python."""

import contextlib
import errno
import os
import pwd
import re
import shlex
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tasks.core.errors import BadInput, writing
from tasks.core.files import file_name, prefix, sha256

_EFFECTIVE = os.access in os.supports_effective_ids
_PROJECT = "openframe"
_PRIVATE = 0o700
_ELSEWHERE = "name a folder of your own in DEPLOY_LOG_DIR"
_OWN = re.compile(r"(?:\.?latest\.json|runs\Z|rehearsal\Z|bench(?:-results)?\Z|\.?\d{8}T\d{6}\.\d{3}Z-)")
"""Prefixes of names in a log folder, and in its `runs`."""
_STORED = {
    "XDG_STATE_HOME": "the state of clusters is stored there",
    "XDG_CACHE_HOME": "downloaded charts and indexes are stored there",
}
_DEFAULT = "openframe-deployment-logs"
BENCHMARK_LOG = "cluster_setup_benchmark.log"
OWN_TASKS = "own_tasks"


@dataclass(frozen=True, kw_only=True)
class ClusterPaths:
    """Paths of the private files of one cluster."""

    state: Path
    """Mode 0700; for this cluster only."""
    cache: Path
    """Charts and indexes; survives clusters."""
    access: str = "kubeconfig"
    """File name of the private kubeconfig."""

    @property
    def images(self) -> Path:
        """Images that earlier launches of this user needed: not a cache, and not purged with one."""
        return self.state.parent.parent / "images"

    def repositories(self, addresses: Mapping[str, str]) -> Path:
        """Helm's repository file and indexes: specific to this cluster and these addresses (by name).

        Helm names an index after the repository, and another cluster may use that name for another address.
        """
        key = sha256(repr((self.state.name, sorted(addresses.items()))), 16)
        return self.cache / "repositories" / key

    @property
    def kubeconfig(self) -> Path:
        """The private kubeconfig: every kubectl and helm call uses it."""
        return self.state / self.access

    @property
    def engine(self) -> Path:
        """Records the engine of the cluster: another engine may have a cluster of this name, too."""
        return self.state / "engine"

    @property
    def deferral(self) -> Path:
        """Exists while the start of metrics-server is deferred: a marker for cleaning up after a killed launch."""
        return self.state / "deferral"

    @property
    def k3d_config(self) -> Path:
        """The generated k3d configuration."""
        return self.state / "k3d.yaml"

    @property
    def complete(self) -> Path:
        """Contains the id of the server-0 whose creation was recorded as complete."""
        return self.state / "complete"


def home(environ: Mapping[str, str]) -> Path:
    """The user's home folder: HOME, else that of the account. Raises `BadInput` if there is none."""
    try:
        return Path(environ.get("HOME") or Path.home())
    except RuntimeError:
        raise BadInput(
            "this user has no home folder", why="HOME is not set, and the system has no such account", fix="set HOME"
        ) from None


def expanded(text: str | Path) -> Path:
    """A path with `~` and `~user` filled in. Raises `BadInput` for an unknown user."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise BadInput(
            f"the path {text} cannot be used",
            why="there is no home folder of that user",
            fix="correct it; a file whose name begins with ~ is ./~…",
        ) from None


def output_file(text: str) -> Path:
    """The absolute path of a file to write: where a link leads to, so that the link stays. Raises `BadInput`."""
    path = expanded(text).absolute()
    return path.resolve() if path.is_symlink() else path


@contextlib.contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """A folder for temporary files beside a file that is to be written, removed afterwards. Raises `LaunchError`."""
    with contextlib.ExitStack() as stack:
        with writing(path):
            name = stack.enter_context(tempfile.TemporaryDirectory(dir=path.parent, prefix=prefix(path.name)))
        yield Path(name)


def config_home(environ: Mapping[str, str]) -> Path:
    """The user's configuration folder: XDG_CONFIG_HOME, else ~/.config."""
    given = environ.get("XDG_CONFIG_HOME", "")
    return Path(given) if given.startswith("/") else home(environ) / ".config"


def state_folder(environ: Mapping[str, str]) -> Path:
    """Persistent data: below XDG_STATE_HOME, else in the system's usual place."""
    return _below(environ, "XDG_STATE_HOME")


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Data that can be downloaded again: below XDG_CACHE_HOME, else in the system's usual place."""
    return _below(environ, "XDG_CACHE_HOME")


def user_name() -> str:
    """The account of this process; its number if it has no name."""
    return _name_of(os.geteuid())


def _is_at_home(path: Path) -> bool:
    """Whether a folder is below the user's home: modes and owners of other folders are never to be changed."""
    return home(os.environ) in path.parents


def check_own(path: Path, variable: str) -> None:
    """Raises `BadInput` for a file or folder of the user (see `variable`) that cannot be used or created.

    A run as root, with sudo and the user's own HOME, leaves such files.
    """
    if os.pathsep in str(path) and variable == "XDG_STATE_HOME":
        raise BadInput(
            f"the path {path} has a '{os.pathsep}'",
            why="it cannot be mounted into a node, nor named in KUBECONFIG, where this sign parts two paths",
            fix=f"set {variable} to another folder",
        )
    there = next(each for each in (path, *path.parents) if os.path.lexists(each))
    if there != path and not there.is_dir():
        reason = os.strerror(errno.ENOTDIR)
    elif not os.access(there, os.R_OK | os.W_OK | os.X_OK if there.is_dir() else os.R_OK, effective_ids=_EFFECTIVE):
        reason = os.strerror(errno.EACCES)
    else:
        return
    owner, theirs = _owner(there), there == path or _is_at_home(there)
    root = "; a run as root may have made it" if theirs and owner == _name_of(0) else ""
    own = f'take ownership: sudo chown -R "$(id -u):$(id -g)" {shlex.quote(str(there))}; or '
    raise BadInput(
        f"{there} cannot be used: {reason}" if theirs else f"{path} cannot be created: {there}: {reason}",
        why=f"{'it' if theirs else there} belongs to {owner}{root}" if owner else _STORED[variable],
        fix=(own if reason == os.strerror(errno.EACCES) and theirs else "") + f"set {variable} to another folder",
    )


def _owner(path: Path) -> str:
    """Name of the other user who owns it, or an unreadable parent folder; empty if it is the current user's."""
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
    """A variable that is not an absolute path counts as unset (XDG Base Directory Specification)."""
    given = environ.get(variable, "")
    if given.startswith("/"):
        return Path(given) / _PROJECT
    from platformdirs import user_cache_path, user_state_path

    return user_state_path(_PROJECT) if variable == "XDG_STATE_HOME" else user_cache_path(_PROJECT)


def log_folder(path: Path) -> Path:
    """The folder for logs and records, created with mode 0700 if it is missing; returns its absolute path.

    A folder of this user that others may enter gets mode 0700, but only if it is certainly a log folder
    (see `_surely_logs`): DEPLOY_LOG_DIR=/tmp, set by root, must not
    close /tmp. Raises `BadInput` for a link, a file, another user's folder, or one that cannot be used.
    """
    path = path.absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=_PRIVATE)
        _close(path)
    except OSError as error:
        raise _unusable(path, error) from None
    return path


def default_folder(path: Path) -> Path:
    """The default log folder, with the user's name appended if the first one belongs to another user."""
    try:
        taken = path.lstat().st_uid != os.geteuid()
    except OSError:
        return path
    return path.with_name(f"{path.name}-{file_name(user_name())}") if taken else path


def run_folder(log_dir: Path, task: str, started: datetime) -> Path:
    """A new folder `runs/<UTC time>-<task>` with a unique name, for the logs of one run's steps.

    The run's record is beside it, with `.json` appended. Raises `BadInput` as `log_folder` does.
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
    raise _unusable(runs / stem, OSError("999 runs have started in the same millisecond"))


def run_name(task: str, started: datetime) -> str:
    """`20261124T023100.123Z-up`: sorts by time as text does, and is valid on every file system."""
    moment = started.astimezone(UTC)
    return f"{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03d}Z-{file_name(task)}"


def _close(path: Path) -> None:
    """Check and change the mode through the same open handle, so that both apply to the same folder."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        found = os.fstat(handle)
        if found.st_uid != os.geteuid():
            raise BadInput(
                f"the log folder {path} belongs to another user (uid {found.st_uid})",
                why="the owner of a folder can read or replace the logs and records in it",
                fix=_ELSEWHERE,
            )
        mode = stat.S_IMODE(found.st_mode)
        if mode & 0o077 and not _surely_logs(path):
            raise BadInput(
                f"other users may enter the log folder {path} (mode {mode:04o})",
                why="logs need mode 0700, and this folder has other contents that such a mode would make inaccessible",
                fix=_ELSEWHERE + (f", or close this one with `chmod 700 {path}`" if _is_at_home(path) else ""),
            )
        if mode != _PRIVATE:
            os.fchmod(handle, _PRIVATE)
    finally:
        os.close(handle)


def _surely_logs(path: Path) -> bool:
    """Whether it has the default name, contains nothing else, or contains a benchmark log.

    Other names prove nothing: source folders, and other programs' run folders, may have them.
    """
    if path.name.startswith(_DEFAULT):
        return True
    names = {entry.name for entry in path.iterdir()}
    return BENCHMARK_LOG in names or all(_OWN.match(name) for name in names)


def _unusable(path: Path, error: OSError) -> BadInput:
    if path.is_symlink():
        return BadInput(
            f"the log folder {path} is a symbolic link",
            why="the owner of its folder can redirect a link",
            fix=f"remove the link, or {_ELSEWHERE}",
        )
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return BadInput(
            f"the log folder {path} cannot be created",
            why="a file exists at that path, or at a part of it",
            fix=f"remove the file, or {_ELSEWHERE}",
        )
    return BadInput(
        f"the log folder {path} cannot be used", why=error.strerror or str(error), fix=f"correct that, or {_ELSEWHERE}"
    )


def own_tasks(root: Path) -> Path | None:
    """The user's module of tasks and steps beside tasks.py; None if there is none."""
    found = (root / f"{OWN_TASKS}.py", root / OWN_TASKS / "__init__.py")
    return next((each for each in found if each.is_file()), None)
