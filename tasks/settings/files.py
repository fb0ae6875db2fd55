"""Files of settings: read as strictly as manifests are, bounded, and with the line of each name."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path as File
from typing import Any

from tasks.core.documents import documents, read_text
from tasks.core.errors import BadInput
from tasks.core.redact import conceal_logins
from tasks.core.yaml import events, scalar
from tasks.settings.origin import Path

MOST_BYTES, MOST_DEPTH, MOST_VALUES = 1_000_000, 60, 50_000
"""Far above any settings that a person writes. An alias counts as often as what it stands for."""

_LETTERS = frozenset("yYnN")
_TAGS = frozenset({None, "!", *(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))})
"""With others PyYAML makes values that JSON cannot hold, or fails on an odd one with an error of its own."""


@dataclass(frozen=True, kw_only=True)
class Read:
    """The one document of a file, and the line of each name in it."""

    data: Any
    lines: dict[Path, int]


def read(path: File, shown: str, meaning: str) -> Read:
    """Read a file; an empty one holds None. Raises `BadInput` that names the file, and where it can the line."""
    if path.exists() and not path.is_file():
        raise BadInput(f"{shown} is no file", why=f"it is {meaning}", fix="correct the path")
    return parsed(read_text(path, meaning), shown)


def parsed(text: str, source: str) -> Read:
    """A text's only document. Raises `BadInput` for what is too large, nested too deeply, or no YAML.

    Logins in it are concealed before anything can be said of it.
    """
    scan = _Scan(source)
    conceal_logins(text[:MOST_BYTES])
    if len(text) > MOST_BYTES:
        raise scan.refused(f"it has {len(text)} characters; at most {MOST_BYTES} are read")
    if any("\ud800" <= sign <= "\udfff" for sign in text):
        raise scan.refused("it is not UTF-8", fix="save it as UTF-8")
    if not source.lower().endswith(".json"):
        scan.run(text)
    found = documents(text, source, unique=True, plain=_plain)
    for each in found:
        _bounded(each.value, scan)
    if len(found) > 1:
        raise BadInput(
            f"{source} holds {len(found)} documents",
            why="settings are one document: the others would be passed over",
            fix="put all into one document, and take out the lines with ---",
        )
    return Read(data=found[0].value if found else None, lines=scan.lines)


def _plain(text: str) -> Any:  # noqa: ANN401 - a JSON value
    """As kubectl reads it, but for y and n: in settings they are names more often than flags."""
    return text if text in _LETTERS else scalar(text)


def _bounded(value: Any, scan: _Scan) -> None:  # noqa: ANN401 - any JSON value
    """What the parser's events do not show: JSON's depth, and numbers that no program of ours can take.

    Logins that an escape or a line's end had hidden in the text are concealed.
    """
    waiting = [(value, 0)]
    while waiting:
        each, depth = waiting.pop()
        if depth > MOST_DEPTH:
            raise scan.refused(f"it is nested more than {MOST_DEPTH} deep")
        if isinstance(each, int) and abs(each) >= 2**64:
            raise scan.refused("it holds a whole number of more than 64 bits", fix="put it in quotes, or correct it")
        if isinstance(each, str) and "://" in each:
            conceal_logins(each)
        inner = each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
        waiting += [(one, depth + 1) for one in inner]


@dataclass
class _Level:
    """One mapping or sequence that is open."""

    path: Path
    mapping: bool
    anchor: str | None
    begun: int
    """How many values had been counted before it."""
    name: str | None = None
    """In a mapping: the name whose value comes next; None where a name comes next."""
    number: int = 0


@dataclass
class _Scan:
    """A look at the parser's events, before anything is built: neither depth nor aliases can exhaust the machine."""

    source: str
    lines: dict[Path, int] = field(default_factory=dict)
    _levels: list[_Level] = field(default_factory=list)
    _sizes: dict[str, int] = field(default_factory=dict)
    _count: int = 0

    def refused(self, why: str, line: int | None = None, fix: str = "make it smaller and flatter") -> BadInput:
        place = f"{self.source}, line {line}" if line else self.source
        return BadInput(f"{place} cannot be used", why=why, fix=fix)

    def run(self, text: str) -> None:
        import yaml

        for event in events(text):
            line = event.start_mark.line + 1
            if getattr(event, "tag", None) not in _TAGS:
                raise self.refused(
                    f"the tag {event.tag} has no use in settings", line, fix="write the value without a tag"
                )
            if isinstance(event, yaml.CollectionStartEvent):
                self._open(event, isinstance(event, yaml.MappingStartEvent), line)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._close()
            elif isinstance(event, yaml.AliasEvent):
                if event.anchor in {level.anchor for level in self._levels}:
                    raise self.refused(f"*{event.anchor} stands inside of what it stands for", line, fix="write it out")
                self._alias(str(event.anchor), line)
            elif isinstance(event, yaml.ScalarEvent):
                self._scalar(event, line)

    def _open(self, event: Any, mapping: bool, line: int) -> None:  # noqa: ANN401 - PyYAML's events have no common type
        if len(self._levels) >= MOST_DEPTH:
            raise self.refused(f"it is nested more than {MOST_DEPTH} deep", line)
        path = self._path()
        begun = self._count
        self._value(1, line)
        self._levels.append(_Level(path, mapping, event.anchor, begun))

    def _close(self) -> None:
        level = self._levels.pop()
        if level.anchor is not None:
            self._sizes[level.anchor] = self._count - level.begun

    def _alias(self, anchor: str, line: int) -> None:
        level = self._levels[-1] if self._levels else None
        if level is not None and level.mapping and level.name is None:
            level.name = ""  # a name that is an alias: it has no line of its own
            return
        self._value(self._sizes.get(anchor, 1), line)

    def _scalar(self, event: Any, line: int) -> None:  # noqa: ANN401 - as above
        level = self._levels[-1] if self._levels else None
        if level is not None and level.mapping and level.name is None:
            level.name = str(event.value)
            self.lines.setdefault((*level.path, level.name), line)
            return
        self._value(1, line)

    def _value(self, size: int, line: int) -> None:
        self._count += size
        if self._count > MOST_VALUES:
            raise self.refused(f"it holds more than {MOST_VALUES} values, counting what aliases repeat", line)
        if self._levels:
            level = self._levels[-1]
            if not level.mapping:
                self.lines.setdefault((*level.path, str(level.number)), line)
            level.name, level.number = None, level.number + 1

    def _path(self) -> Path:
        """Where the value that comes next stands."""
        if not self._levels:
            return ()
        level = self._levels[-1]
        return (*level.path, level.name or "" if level.mapping else str(level.number))
