"""How a kubeconfig is written: under kubectl's own lock, and whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.core.errors import LaunchError
from tasks.core.files import sweep, unfinished
from tasks.core.lock import take

if TYPE_CHECKING:
    from yaml import SafeDumper, ScalarNode

_PATIENCE = 10.0
"""Seconds that another program may hold kubectl's lock; it needs milliseconds."""


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """The lock of kubectl itself: FILE.lock, made exclusively (client-go: `clientcmd.lockFile`).

    One that a killed run of ours has left is nobody's: it is removed.
    """
    lock = path.with_name(f"{path.name}.lock")
    end = time.monotonic() + _PATIENCE
    if not _may_lock(path):
        yield  # nor may kubectl: it refuses to write there; see `itself`
        return
    while (own := _taken(lock)) is None:
        if sweep(path.parent):
            continue
        if time.monotonic() >= end:
            raise LaunchError(
                f"your kubeconfig {path} is locked by another program",
                why=f"{lock} is there since more than {_PATIENCE:g} s: kubectl makes it while it writes",
                fix=f"if no kubectl runs it was left behind by one that died: rm {shlex.quote(str(lock))}",
                transient=True,
            ) from None
        time.sleep(0.05)
    try:
        yield
    finally:
        for each in (lock, own):
            with contextlib.suppress(OSError):
                each.unlink()


def _may_lock(path: Path) -> bool:
    """Whether a file can be made beside it; where the file alone may be written there is no kubectl's lock."""
    return os.access(path.parent, os.W_OK) or not os.access(path, os.W_OK)


@contextlib.contextmanager
def itself(path: Path) -> Iterator[None]:
    """A lock on the file itself, for one that is written in place: seen through whatever folder it is mounted into.

    A file that is not there, or whose file system has no locks, is not locked.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield
        return
    try:
        with contextlib.suppress(OSError):
            take(handle, _PATIENCE)
        yield
    finally:
        os.close(handle)


def _taken(lock: Path) -> Path | None:
    """Make the lock with a second name that says whose it is; the second name, or None if the lock is there."""
    handle, own = unfinished(lock)
    os.close(handle)
    try:
        lock.hardlink_to(own)
    except FileExistsError:
        own.unlink()
        return None
    except OSError:  # a file system without links
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL, 0))
        except FileExistsError:
            own.unlink()
            return None
        except BaseException:
            own.unlink()
            raise
    return own


_TAGS = frozenset({None, "!", *(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))})
_FLAGS = frozenset({"true", "false"})
_NO_TEXT = re.compile(r"[-+.]?[0-9]|[-+]?\.|(?:y|n|yes|no|on|off|true|false|null|~|)$", re.IGNORECASE)
"""How plain scalars begin that some reader of YAML takes for something else than a text."""


class Written(str):
    """A plain scalar that some reader takes for more than a text, as it was written."""

    __slots__ = ()


def load(text: str) -> Any:  # noqa: ANN401 - any YAML document
    """One document; raises `YamlError`, also for a tag that would be lost when it is written again."""
    from tasks.core import yaml

    for event in yaml.events(text):
        if getattr(event, "tag", None) not in _TAGS:
            raise yaml.YamlError(f"the tag {event.tag} is not known here", line=event.start_mark.line + 1)
    return yaml.load(text, plain=_plain)


def dump(document: Any) -> str:  # noqa: ANN401 - any YAML document
    """The text of a document, in its order."""
    import yaml

    text: str = yaml.dump(document, Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=2**20)
    return text


@cache
def _dumper() -> type[SafeDumper]:
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    Dumper.add_representer(Written, _write)
    Dumper.add_representer(str, _quote)
    return Dumper


def _plain(text: str) -> Any:  # noqa: ANN401 - nothing, a flag, or a scalar as it was written
    from tasks.core.yaml import scalar

    value = scalar(text)
    if value is None or text.lower() in _FLAGS:
        return value
    return Written(text) if _NO_TEXT.match(text) else text


def _write(dumper: SafeDumper, data: Written) -> ScalarNode:
    import yaml

    resolver: Any = dumper
    tag = resolver.resolve(yaml.ScalarNode, str(data), (True, False))  # the one that lets it stand without quotes
    node: ScalarNode = dumper.represent_scalar(tag, str(data))
    return node


def _quote(dumper: SafeDumper, data: str) -> ScalarNode:
    style = "'" if _NO_TEXT.match(data) else None
    node: ScalarNode = dumper.represent_scalar("tag:yaml.org,2002:str", data, style=style)
    return node
