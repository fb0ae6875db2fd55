"""What a known cause is, and how one is recognised in what a program wrote."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from types import MappingProxyType

from tasks.core.redact import redact
from tasks.process.command import CommandFailed, DeadlinePassed

_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\r(?=\n)")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_SIZE = 200_000
"""Characters of output that are looked at, from the end: where it failed."""
_LINE = 3000
"""Characters of one line that are searched: half from its start, half from its end."""
_LONGEST = 300
"""Characters of one captured part, or of one line, that a message repeats."""


@dataclass(frozen=True, kw_only=True)
class Cause:
    """One known cause.

    `what`, `why` and `fix` are templates: they may use the named groups of the patterns, and `{line}`, the
    line in which the pattern was found. What a pattern has not captured comes from `otherwise` (there, only
    `{line}` may be used).
    """

    id: str
    """Short and stable: callers and tests know a cause by it."""
    programs: tuple[str, ...]
    """Names of programs that may fail of it; none: any program."""
    patterns: tuple[str, ...] = ()
    """Regular expressions, matched line by line, case and all; the first that is found counts."""
    codes: tuple[int, ...] = ()
    """Exit codes (negative: signals) that say it by themselves, where no pattern is found."""
    what: str
    why: str = ""
    fix: str
    transient: bool = False
    """Whether doing the same again may help."""
    otherwise: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, kw_only=True)
class Found:
    """A cause that was recognised, with its texts filled in."""

    id: str
    what: str
    why: str
    fix: str
    transient: bool
    details: Mapping[str, str]
    """What the pattern has captured, such as the port."""

    @property
    def reason(self) -> str:
        """What and why in one line."""
        return f"{self.what}: {self.why}" if self.why else self.what


def clean(text: str) -> str:
    """A program's output as it is searched: its end, without colours, control characters and secrets."""
    text = _CONTROL.sub("", _COLOURS.sub("", redact(text)[-_SIZE:]))
    return "\n".join(map(_bounded, text.splitlines()))


def _bounded(line: str) -> str:
    """A line without the middle of what no program means to be read: searching must not take long."""
    return line if len(line) <= _LINE else f"{line[: _LINE // 2]} … {line[-_LINE // 2 :]}"


def recognise(causes: Iterable[Cause], text: str, *, program: str = "", code: int | None = None) -> Found | None:
    """The first cause that this program, this output and this exit code fit; `text` must be `clean`."""
    for cause in causes:
        if program and cause.programs and program not in cause.programs:
            continue
        for pattern in cause.patterns:
            match = _compiled(pattern).search(text)
            if match is not None:
                return _filled(cause, match.groupdict(), _line_of(text, match.start()))
        if code is not None and code in cause.codes:
            return _filled(cause, {}, "")
    return None


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Compiled when it is first looked for: a launch that goes well needs none of them."""
    return re.compile(pattern, re.MULTILINE)


def _line_of(text: str, position: int) -> str:
    start = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    return text[start : end if end >= 0 else len(text)]


class _Parts(dict[str, str]):
    """Parts of a message; one that is missing leaves a gap: an error must not fail while it is told."""

    def __missing__(self, _name: str) -> str:
        return "…"


def _filled(cause: Cause, groups: Mapping[str, str | None], line: str) -> Found:
    captured = {name: short(value) for name, value in groups.items() if value and value.strip()}
    whole = {"line": short(line)}
    values = _Parts({**{name: text.format_map(whole) for name, text in cause.otherwise.items()}, **captured, **whole})
    return Found(
        id=cause.id,
        what=cause.what.format_map(values),
        why=cause.why.format_map(values),
        fix=cause.fix.format_map(values),
        transient=cause.transient,
        details=MappingProxyType(captured),
    )


def short(text: str, longest: int = _LONGEST) -> str:
    """One line of at most that many characters."""
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


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
    from tasks.diagnose import api, docker, helm, images, k3d, network, node_rules, program

    return (
        *k3d.CAUSES,
        *docker.CAUSES,
        *node_rules.CAUSES,
        *helm.CAUSES,
        *api.CAUSES,
        *images.CAUSES,
        *network.CAUSES,
        *program.CAUSES,
        *k3d.TIMEOUTS,
        *helm.TIMEOUTS,
    )


def explain(error: CommandFailed, program: str) -> KnownFailure | KnownDeadline:
    """The same failure with `why`, `fix`, `transient` and `cause` of the first cause that fits it.

    `program` is its name or path. Without a known cause the error says what it said before.
    """
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


_HEAD = """# Known causes of failure

A failure is told with its cause where one of these is recognised in what a program wrote, or in a node's log.
"again" marks those that may pass: a step that fails of one is tried again with growing pauses, a few times.
Parts in braces come from the program's own words.

This page is written from `tasks/diagnose`; a test compares the two.
"""


def markdown() -> str:
    """The whole page."""
    from tasks.diagnose import api, docker, helm, images, k3d, network, node_rules, program

    parts = (
        ("Docker and the engine", docker.CAUSES),
        ("k3d", (*k3d.CAUSES, *k3d.TIMEOUTS)),
        ("Nodes", node_rules.CAUSES),
        ("Registries and images", images.CAUSES),
        ("Network", network.CAUSES),
        ("The Kubernetes API", api.CAUSES),
        ("Helm", (*helm.CAUSES, *helm.TIMEOUTS)),
        ("Any program", program.CAUSES),
    )
    return _HEAD + "".join(_part(title, causes) for title, causes in parts)


def _part(title: str, causes: Iterable[Cause]) -> str:
    rows = [f"\n## {title}\n", "| id | what happened | again | what to do |", "| --- | --- | --- | --- |"]
    rows += [
        f"| `{cause.id}` | {_cell(cause.what)} | {'again' if cause.transient else ''} | {_cell(cause.fix)} |"
        for cause in causes
    ]
    return "\n".join(rows) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
