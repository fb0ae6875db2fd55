"""The first known cause of a command that failed."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import PurePath
from types import MappingProxyType
from typing import TYPE_CHECKING

from tasks.tools.program import CommandFailed, DeadlinePassed

if TYPE_CHECKING:
    from tasks.causes.cause import Cause, Found

_NOTHING: Mapping[str, str] = MappingProxyType({})


class KnownFailure(CommandFailed):
    """A command that failed, with the id of its cause, or "" if none is known."""

    cause: str = ""
    details: Mapping[str, str] = _NOTHING
    """What the cause's pattern has captured, such as the port."""


class KnownDeadline(DeadlinePassed):
    """The same of a command whose deadline has passed."""

    cause: str = ""
    details: Mapping[str, str] = _NOTHING


@functools.cache
def catalogue() -> tuple[Cause, ...]:
    """All causes of commands, in the order in which they are looked for: the telling ones before the general."""
    from tasks.causes import api, docker, helm, image, k3d, network, node, program

    return (
        *k3d.CAUSES,
        *docker.CAUSES,
        *node.CAUSES,
        *helm.CAUSES,
        *api.CAUSES,
        *image.CAUSES,
        *network.CAUSES,
        *program.CAUSES,
        *k3d.TIMEOUTS,
        *helm.TIMEOUTS,
    )


def explain(error: CommandFailed, program: str) -> KnownFailure | KnownDeadline:
    """The same failure with `why`, `fix`, `transient` and `cause` of the first cause that fits it.

    `program` is its name or path. Without a known cause the error says what it said before.
    """
    from tasks.causes.cause import clean, recognise

    late = isinstance(error, DeadlinePassed)
    done = error.done
    text = clean(done.err if done.quiet else f"{done.out}\n{done.err}")  # a message may repeat what it is found in
    name = PurePath(program).name.removesuffix(".exe")
    found = recognise(catalogue(), text, program=name, code=None if late else done.code)
    return _with(error, found)


def _with(error: CommandFailed, found: Found | None) -> KnownFailure | KnownDeadline:
    told: KnownFailure | KnownDeadline
    if isinstance(error, DeadlinePassed):
        told = KnownDeadline(error.done, error.done.command.deadline)
        told.what, told.args = error.what, error.args
    else:
        told = KnownFailure(error.done)
    told.why, told.fix, told.transient = error.why, error.fix, error.transient
    if found is not None:
        told.cause, told.details = found.id, found.details
        told.why, told.fix, told.transient = found.reason, found.fix, found.transient
    return told
