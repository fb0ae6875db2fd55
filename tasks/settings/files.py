"""Settings files: parsed as strictly as manifests, with limits, and with the line of each name.

invoke.yaml has invoke's own keys at the top level, the settings below `openframe`. invoke reads the same file: it uses
`timeouts` and `tasks` at the top level itself, lets every INVOKE_… variable override existing keys, and shows a
traceback for an unsuitable file or variable (seen with invoke 3.0.3). One name of ours separates the two.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path as File
from typing import Any

from tasks.core.documents import documents, read_text
from tasks.core.errors import BadInput
from tasks.core.redact import conceal_logins
from tasks.core.yaml import NO_TYPE, events, scalar
from tasks.settings.origin import FILE, Layer, Origin, Path, Problem, nearest, quoted, refusal

MOST_BYTES, MOST_DEPTH, MOST_VALUES = 1_000_000, 60, 50_000
"""Far above any hand-written settings. An alias counts as often as its target."""

_LETTERS = frozenset("yYnN")
"""With other tags PyYAML creates values that JSON cannot represent, or raises errors of its own."""

NAME = "invoke.yaml"
OURS, PROFILE = "openframe", "profile"
INVOKES = frozenset({"debug", "run", "runners", "sudo", "tasks", "timeouts"})
"""The top level of invoke's own configuration (docs: invoke, default configuration values)."""
_OTHERS = ("invoke.yml", "invoke.json", "invoke.py")
_TOP = f"it must be a mapping: {OURS}, {PROFILE}, and invoke's own names"
_PREFIX = f"INVOKE_{OURS.upper()}_"

Report = Callable[[Problem], None]


@dataclass(frozen=True, kw_only=True)
class Read:
    """The only document of a file, and the line of each name in it."""

    data: Any
    lines: dict[Path, int]


def read(path: File, shown: str, meaning: str) -> Read:
    """Read a file; None for an empty one. Raises `BadInput` with the file, and the line if possible."""
    if path.exists() and not path.is_file():
        raise BadInput(f"{shown} is not a file", why=f"it is {meaning}", fix="correct the path")
    return parsed(read_text(path, meaning), shown)


def parsed(text: str, source: str) -> Read:
    """A text's only document. Raises `BadInput` if it is too large, nested too deeply, or invalid YAML.

    Logins in it are concealed before it can appear in a message.
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
            f"{source} contains {len(found)} documents",
            why="settings are one document: the others would be ignored",
            fix="put everything into one document, and remove the lines with ---",
        )
    return Read(data=found[0].value if found else None, lines=scan.lines)


def _plain(text: str) -> Any:  # noqa: ANN401 - a JSON value
    """As kubectl reads it, except y and n: in settings they are usually names, not booleans."""
    return text if text in _LETTERS else scalar(text)


def _bounded(value: Any, scan: _Scan) -> None:  # noqa: ANN401 - any JSON value
    """Checks what the parser's events do not show: JSON's depth, and numbers that are too large.

    Conceals logins that were hidden in the text by an escape or a line break.
    """
    waiting = [(value, 0)]
    while waiting:
        each, depth = waiting.pop()
        if depth > MOST_DEPTH:
            raise scan.refused(f"it is nested more than {MOST_DEPTH} deep")
        if isinstance(each, int) and abs(each) >= 2**64:
            raise scan.refused("it contains a whole number of more than 64 bits", fix="put it in quotes, or correct it")
        if isinstance(each, str) and "://" in each:
            conceal_logins(each)
        inner = each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
        waiting += [(one, depth + 1) for one in inner]


@dataclass
class _Level:
    """One open mapping or sequence."""

    path: Path
    mapping: bool
    anchor: str | None
    begun: int
    """The number of values counted before it."""
    name: str | None = None
    """In a mapping: the name of the next value; None if a name comes next."""
    number: int = 0


@dataclass
class _Scan:
    """Checks the parser's events before anything is built: neither depth nor aliases can exhaust the machine."""

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
            if getattr(event, "tag", None) not in NO_TYPE:
                raise self.refused(
                    f"the tag {event.tag} has no use in settings", line, fix="write the value without a tag"
                )
            if isinstance(event, yaml.CollectionStartEvent):
                self._open(event, isinstance(event, yaml.MappingStartEvent), line)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._close()
            elif isinstance(event, yaml.AliasEvent):
                if event.anchor in {level.anchor for level in self._levels}:
                    raise self.refused(f"*{event.anchor} refers to a value that contains it", line, fix="write it out")
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
        """The path of the next value."""
        if not self._levels:
            return ()
        level = self._levels[-1]
        return (*level.path, level.name or "" if level.mapping else str(level.number))


@dataclass(frozen=True, kw_only=True)
class Found:
    """The project's part of invoke.yaml."""

    layer: Layer
    profile: tuple[str, Origin] | None


def look(root: File, ours: Collection[str], report: Report) -> Found:
    """Read the file, if there is one; `ours`: names of settings.

    Raises `BadInput` if it cannot be read at all; every other fault is reported.
    """
    path, origin = root / NAME, Origin(layer=FILE, name=NAME)
    if not path.exists():
        for other in _OTHERS:
            if (root / other).exists():
                why = f"settings are read only from {NAME}"
                raise BadInput(f"there is {other}, but no {NAME}", why=why, fix=f"rename it to {NAME}")
        return Found(layer=Layer(data=None, origin=origin), profile=None)
    found = read(path, NAME, "the configuration of the project")
    top = Layer(data=found.data, origin=origin, lines=found.lines)
    if found.data is None:
        return Found(layer=Layer(data=None, origin=origin), profile=None)
    if not isinstance(found.data, dict):
        report(Problem(origin=origin, what=f"all of it is {quoted((), found.data)}", why=_TOP))
        return Found(layer=Layer(data=None, origin=origin), profile=None)
    for name in found.data:
        _check(name, found.data[name], top, ours, report)
    given = found.data.get(OURS)
    below = dict(given) if isinstance(given, dict) else given
    profile = _profile(top, below, report)
    return Found(layer=Layer(data=below, origin=origin, lines=found.lines, inside=(OURS,)), profile=profile)


def _profile(top: Layer, ours: Any, report: Report) -> tuple[str, Origin] | None:  # noqa: ANN401 - any JSON value
    """`profile` at the top level, or among the settings; removed from them, since it is a layer of its own."""
    given: list[tuple[Any, Path]] = [(top.data[PROFILE], (PROFILE,))] if top.data.get(PROFILE) is not None else []
    if isinstance(ours, dict) and ours.pop(PROFILE, None) is not None:
        given.append((top.data[OURS][PROFILE], (OURS, PROFILE)))
    for value, path in given:
        if not isinstance(value, str):
            why = "it must be a profile's name, or a path"
            report(Problem(origin=top.at(path), what=f"profile is {quoted((), value)}", why=why))
            return None
    if len({value for value, _ in given}) > 1:
        why = f"it is at the top level and below {OURS}, with different values"
        report(Problem(origin=top.at(given[1][1]), what="profile is set twice", why=why, fix="remove one"))
    return (str(given[0][0]), top.at(given[0][1])) if given else None


def _check(name: str, value: Any, top: Layer, ours: Collection[str], report: Report) -> None:  # noqa: ANN401 - any JSON value
    own = isinstance(value, dict) and set(value) - {"command"}
    if name in (OURS, PROFILE) or (name in INVOKES and not (name == "timeouts" and own)):
        return
    what = f"'{name[:80]}' is at the top level"
    if name in ours:
        why = f"the top level belongs to invoke itself (it has a `timeouts`, too); settings are below {OURS}"
        report(Problem(origin=top.at((name,)), what=what, why=why, fix=f"move it below `{OURS}:`"))
        return
    why = f"it is none of {', '.join(sorted({OURS, PROFILE, *INVOKES}))}"
    meant = nearest(name, [OURS, PROFILE, *INVOKES]) or nearest(name, ours)
    fix = "" if meant is None else f"did you mean {meant}?" if meant not in ours else f"did you mean {OURS}.{meant}?"
    report(Problem(origin=top.at((name,)), what=what, why=why, fix=fix))


def check_invoke_yaml(root: File, environ: Mapping[str, str] | None = None) -> None:
    """What invoke would answer with a traceback, as one clear error. Raises `BadInput`.

    Called before invoke reads the file; pydantic is not loaded.
    """
    found = read(root / NAME, NAME, "the configuration of the project")
    top = Layer(data=found.data, origin=Origin(layer=FILE, name=NAME), lines=found.lines)
    problems = []
    if found.data is not None and not isinstance(found.data, dict):
        problems.append(Problem(origin=top.origin, what=f"all of it is {quoted((), found.data)}", why=_TOP))
    for name in INVOKES & set(found.data or ()) if not problems else ():
        if name != "debug" and not isinstance(found.data[name], dict):
            why = "it belongs to invoke, and must be a mapping"
            what = f"{name} is {quoted((), found.data[name])}"
            problems.append(Problem(origin=top.at((name,)), what=what, why=why))
    if problems:
        raise refusal(problems)
    refuse_variables(environ or {})
    _rehearse(root)


def refuse_variables(environ: Mapping[str, str]) -> None:
    """Variables that invoke reads as settings: they would be lost, or crash it. Raises `BadInput`."""
    given = sorted(name for name in environ if name.startswith(_PREFIX))
    if given:
        raise BadInput(
            f"the variable {given[0]} has no effect here",
            why="settings are read once, by their own names: no INVOKE_… variable sets one",
            fix="unset it; use `--set path=value`, or the variables that docs/reference/settings.md lists",
        )


def _rehearse(root: File) -> None:
    """Let invoke read the same sources, and turn its exception into an error."""
    from invoke.config import Config

    try:
        config = Config(project_location=root)
        config.load_project()
        config.load_shell_env()
    except Exception as error:  # noqa: BLE001 - invoke passes on errors of YAML, casting and merging
        why, fix = _reason(error)
        what = f"invoke cannot use {NAME}, or a variable whose name starts with INVOKE_"
        raise BadInput(what, why=why, fix=fix) from None


def _reason(error: Exception) -> tuple[str, str]:
    """The reason and the fix."""
    from invoke.exceptions import AmbiguousEnvVar, UncastableEnvVar

    text = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, AmbiguousEnvVar):
        why = f"invoke derives a variable's name from every name in the file, and two of them give {text.split()[-1]}"
        return why, "put one of them into a profile: invoke does not read those"
    if isinstance(error, TypeError):
        return "invoke reads a name in it as another type than string", "put names such as on, yes and 1 in quotes"
    if isinstance(error, UncastableEnvVar):
        return "such a variable would set a list", "`env | grep ^INVOKE_` shows them: unset it"
    if isinstance(error, UnicodeDecodeError):
        return f"invoke reads it as {error.encoding}: {error}", "save it as UTF-8, and export PYTHONUTF8=1"
    fix = "put dates in quotes; `env | grep ^INVOKE_` shows the variables"
    return f"{type(error).__name__}: {text[:200]}", fix
