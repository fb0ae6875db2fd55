"""Errors for users: each says what happened, why, and what to do."""

import contextlib
import errno
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

OK, FAILED, BAD_INPUT, STOPPED, ABSENT, DRIFTED, NO_ENGINE, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 130


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What happened, why, and what to do about it."""

    what: str
    why: str = ""
    fix: str = ""
    cause: str = ""
    """The id of the known cause (docs/reference/causes.md); "" if none was recognised."""
    transient: bool = False
    """Whether waiting, or a retry, may help."""
    details: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Details of it, such as the port."""

    @property
    def reason(self) -> str:
        """What and why in one line."""
        return f"{self.what}: {self.why}" if self.why else self.what


class LaunchError(Exception):
    """The base of all expected errors; shown without a traceback.

    `status` is the exit code of the task; `exit_code` that of the failed command, if there is one;
    `transient` means that a retry may help.
    """

    status = FAILED

    def __init__(
        self,
        what: str,
        *,
        why: str = "",
        fix: str = "",
        exit_code: int | None = None,
        transient: bool = False,
        cause: str = "",
    ) -> None:
        super().__init__(what)
        self.diagnosis = Diagnosis(what=what, why=why, fix=fix, transient=transient, cause=cause)
        self.exit_code = exit_code

    @classmethod
    def of(cls, diagnosis: Diagnosis, *, exit_code: int | None = None) -> Self:
        """An error with this diagnosis."""
        error = cls(diagnosis.what, exit_code=exit_code)
        error.diagnosis = diagnosis
        return error

    def amend(self, **changes: Any) -> Self:
        """Change parts of the diagnosis; returns the error itself."""
        self.diagnosis = replace(self.diagnosis, **changes)
        return self

    def explain(self, cause: Diagnosis) -> Self:
        """Add a recognised cause: it becomes the reason; `what` stays."""
        self.diagnosis = replace(cause, what=self.what, why=cause.reason)
        return self

    @property
    def what(self) -> str:
        """What happened."""
        return self.diagnosis.what

    @property
    def why(self) -> str:
        """Why it happened, as far as known."""
        return self.diagnosis.why

    @property
    def fix(self) -> str:
        """What to do about it."""
        return self.diagnosis.fix

    @property
    def cause(self) -> str:
        """The id of the known cause, or ""."""
        return self.diagnosis.cause

    @property
    def transient(self) -> bool:
        """Whether a retry may help."""
        return self.diagnosis.transient

    def __str__(self) -> str:
        lines = [self.what]
        if self.why:
            lines.append(f"  why: {self.why}")
        if self.fix:
            lines.append(f"  do:  {self.fix}")
        return "\n".join(lines)


_FOLDERS = "DEPLOY_LOG_DIR, XDG_STATE_HOME and XDG_CACHE_HOME name folders elsewhere"
_SYSTEM = {
    errno.ENOSPC: ("the disk is full", f"free space on that disk; {_FOLDERS}"),
    errno.EDQUOT: ("your quota on that disk is used up", f"remove files of yours there; {_FOLDERS}"),
    errno.EROFS: ("its file system is read-only", f"mount it for writing; {_FOLDERS}"),
    errno.EACCES: ("your user has no access to it", f"let your user read and write it; {_FOLDERS}"),
    errno.EFBIG: (
        "a file would be larger than this shell permits",
        "raise the limit of this shell: ulimit -f unlimited",
    ),
    errno.EIO: ("its disk reports an error", f"check that disk, such as with dmesg; {_FOLDERS}"),
    errno.ESTALE: ("the server of its network file system has forgotten it", f"mount it again; {_FOLDERS}"),
    errno.EMFILE: ("this process may not open more files", "raise the limit of this shell: ulimit -n 4096"),
    errno.ENFILE: ("this machine has no more open files", "end other programs, or raise the sysctl fs.file-max"),
}


def of_system(error: BaseException) -> LaunchError | None:
    """The expected error for one of the operating system that is no bug; None for others."""
    if not isinstance(error, OSError) or error.errno not in _SYSTEM:
        return None
    why, fix = _SYSTEM[error.errno]
    return LaunchError(f"{error.filename or 'a file'}: {error.strerror}", why=why, fix=fix)


_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG})


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns an error of the disk into one about the file that is being written, with temporary files beside it.

    Raises `LaunchError`; other errors pass.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK:
            raise
        reason = error.strerror or str(error)
        elsewhere = error.filename is not None and path.parent not in Path(str(error.filename)).parents
        raise LaunchError(
            f"{path} cannot be written",
            why=f"{error.filename}: {reason}" if elsewhere else reason,
            fix="choose a file in a writable folder, on a disk with enough space",
        ) from None


class PlanError(LaunchError):
    """The plan cannot run as it is written: a cycle, an unknown need, a name used twice."""

    status = BAD_INPUT


class BadInput(LaunchError):
    """A setting, a file or an option is not valid."""

    status = BAD_INPUT


class ClusterStopped(LaunchError):
    """The cluster exists, but its nodes are stopped."""

    status = STOPPED


class ClusterAbsent(LaunchError):
    """Something that the task needs does not exist; the message names the task that creates it."""

    status = ABSENT


class Drifted(LaunchError):
    """What exists differs from what is configured, and cannot be changed in place."""

    status = DRIFTED


class NoEngine(LaunchError):
    """No Docker engine answers, or it is one that is not supported."""

    status = NO_ENGINE


class Interrupted(LaunchError):
    """The user pressed Ctrl-C, or the process was asked to terminate."""

    status = INTERRUPTED


def attempt(what: str, act: Callable[[], object]) -> tuple[str, ...]:
    """Call `act`; returns a one-line note if it failed, nothing on success. `what` says what is lost in that case."""
    try:
        act()
    except Exception as error:  # noqa: BLE001 - no error of it may fail the launch
        return (f"{what}: {first_line(error)}",)
    return ()


def some(names: Sequence[str], most: int = 3) -> str:
    """The first few names, and the number of the others."""
    if len(names) <= most + 1:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"


def first_line(error: BaseException) -> str:
    """An error's message without its reasons; its type if it has none."""
    return str(error).split("\n", 1)[0] or type(error).__name__
