"""The only YAML reader: accepts what kubectl and Helm accept, and reads it to the same JSON values.

Both read through sigs.k8s.io/yaml, which is go-yaml v2 followed by a conversion to JSON. PyYAML's own loaders
differ: they fail at a plain `=` or an impossible date, and read 10:30 as a number of base 60. Therefore
PyYAML's parser (libyaml if available) only delivers events here; scalars, keys, tags and merges
are interpreted as in go-yaml v2 (source: `resolve.go` and `decode.go` of go.yaml.in/yaml/v2, `yaml.go` of
sigs.k8s.io/yaml).
"""

import base64
import binascii
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

try:
    from yaml import CBaseLoader as Base  # libyaml reads large CRDs ten times as fast
except ImportError:
    from yaml import BaseLoader as Base  # type: ignore[assignment]

MOST_DEPTH, MOST_VALUES = 200, 2_000_000
"""Far above any manifest: the deepest schemas of well-known CRDs nest a third of this. Expanded aliases are counted,
too: nine lines of them can produce a thousand million values."""

_TAG = "tag:yaml.org,2002:"
NO_TYPE = frozenset({None, "!", *(f"{_TAG}{kind}" for kind in ("str", "seq", "map"))})
"""Tags that do not change the type of a value."""
_WORDS: Final[Mapping[str, bool | float | None]] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
_NUMBER_BEGINS = frozenset("+-.0123456789")
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_NO_TEXT = re.compile(r"[-+.]?[0-9]|[-+]?\.|(?:y|n|yes|no|on|off|true|false|null|~|)$", re.IGNORECASE)
"""Prefixes of plain scalars that some YAML reader does not read as a string."""
_BASES = (16, 2, 8, 10)
_MOST_DIGITS = 400
"""A longer token is no number in Go either: its value is out of range."""
_AS_TEXT = 1e21
"""From here on Go writes a whole float with an exponent (encoding/json)."""
_TABS = re.compile(r" *\t")
_SEPARATOR = re.compile(r"^---[ \t]*(?:#.*)?\r?\n", re.MULTILINE)


class YamlError(ValueError):
    """A text that cannot be parsed: `reason`, and where; `number` counts documents and `line` lines, both from 1."""

    def __init__(self, reason: str, *, number: int = 1, line: int = 1) -> None:
        super().__init__(f"document {number}, line {line}: {reason}")
        self.reason, self.number, self.line = reason, number, line


@dataclass(frozen=True, kw_only=True)
class Document:
    """One document: a JSON value, its number (including empty ones), and the line on which it starts."""

    value: Any
    number: int
    line: int


def scalar(text: str) -> Any:  # noqa: ANN401 - text, flag, number or None
    """The value of a plain scalar (go-yaml v2: `resolve`). Dates and times are strings once they become JSON."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_BEGINS or len(text) > _MOST_DIGITS:
        return text
    plain = text if text[0] == "." else text.replace("_", "")
    match = _INTEGER.match(plain)
    if match is not None:
        digits, base = next((each, base) for each, base in zip(match.groups()[1:], _BASES, strict=True) if each)
        value = -int(digits, base) if match[1] == "-" else int(digits, base)
        if -(2**63) <= value < (2**63 if match[1] == "+" else 2**64):
            return value
    if _FLOAT.match(plain) is not None and math.isfinite(number := float(plain)):
        return int(number) if number.is_integer() and abs(number) < _AS_TEXT else number
    return text


def documents(text: str, *, unique: bool = False, plain: Callable[[str], Any] = scalar) -> Iterator[Document]:
    """All documents of a text, empty ones with the value None. Raises `YamlError`.

    For a duplicate key the last value counts, as with kubectl and Helm; `unique` rejects it.
    `plain` converts scalars without quotes and tags.
    """
    builder = _Builder(unique=unique, plain=plain)
    try:
        for event in _parse(text):
            if builder.take(event):
                yield Document(value=builder.root, number=builder.number, line=builder.begun)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else builder.line
        reason = error.problem or "it is no YAML"
        if "cannot start any token" in reason and _TABS.match(text.splitlines()[line - 1]):
            reason = "it is indented by a tab, where YAML allows blanks only"
        raise YamlError(reason, number=builder.number + builder.between, line=line) from None
    except yaml.reader.ReaderError as error:
        sign = error.character if isinstance(error.character, str) else chr(error.character)
        line = text.count("\n", 0, max(text.find(sign), 0)) + 1
        reason = f"YAML does not allow the character U+{ord(sign):04X}"
        raise YamlError(reason, number=max(builder.number, 1), line=line) from None
    except (yaml.YAMLError, UnicodeError) as error:
        raise YamlError(str(error), number=max(builder.number, 1), line=builder.line) from None


def load(text: str, *, plain: Callable[[str], Any] = scalar) -> Any:  # noqa: ANN401 - any JSON value
    """The value of a text's only document; None for an empty text. Raises `YamlError`, also for a second document."""
    found = [each for each in documents(text, plain=plain) if each.value is not None]
    if len(found) > 1:
        raise YamlError("it contains more than one document", number=found[1].number, line=found[1].line)
    return found[0].value if found else None


def readable(text: str) -> tuple[list[Any], list[YamlError]]:
    """The values of all documents that can be parsed, and an error for each one that cannot.

    Documents are split at their separator lines, like kubectl does: an invalid document does not affect the others.
    """
    try:
        return [each.value for each in documents(text) if each.value is not None], []
    except YamlError:
        values: list[Any] = []
        errors: list[YamlError] = []
    ends = [(match.start(), match.end()) for match in _SEPARATOR.finditer(text)]
    number = line = begin = 0
    for end, after in [*ends, (len(text), len(text))]:
        part = text[begin:end]
        number += bool(number or part.strip())  # a separator may precede the first document
        try:
            for each in documents(part):
                values += [each.value] if each.value is not None else []
                break  # kubectl also ignores what follows a document's end
        except YamlError as error:
            errors.append(YamlError(error.reason, number=number, line=line + error.line))
        line += text.count("\n", begin, after)
        begin = after
    return values, errors


def dump(document: Any, *, sort_keys: bool = False) -> str:  # noqa: ANN401 - any JSON value
    """The text of a document, in its order; a string that some reader takes for a number or a boolean is quoted."""
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=sort_keys, allow_unicode=True, width=2**20)
    return text


class _Dumper(yaml.SafeDumper):
    """PyYAML's writer, with more quotes: it recognises fewer numbers than readers in Go."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        """Every value is written out in its place."""
        return True


def _text(dumper: _Dumper, data: str) -> yaml.ScalarNode:
    style = "'" if _NO_TEXT.match(data) else None
    return dumper.represent_scalar(f"{_TAG}str", data, style=style)


_Dumper.add_representer(str, _text)


def events(text: str) -> Iterator[Any]:
    """The parser's events up to the first error, which `documents` reports: for callers that need lines or tags.

    libyaml's time grows with the square of the depth, so parsing ends here if the nesting is too deep.
    """
    depth = 0
    try:
        for event in _parse(text):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MOST_DEPTH:
                return
            yield event
    except (yaml.YAMLError, UnicodeError):
        return


class Parser(Base):
    """PyYAML's parser; without libyaml, with libyaml's more permissive rule for tabs."""

    def scan_to_next_token(self: Any) -> None:
        """Blanks, tabs, comments and line breaks (libyaml: `yaml_parser_scan_to_next_token`)."""
        while True:
            tabs = self.flow_level or not self.allow_simple_key
            while self.peek() == " " or (tabs and self.peek() == "\t"):
                self.forward()
            if self.peek() == "#":
                while self.peek() not in "\0\r\n\x85\u2028\u2029":
                    self.forward()
            if not self.scan_line_break():
                return
            if not self.flow_level:
                self.allow_simple_key = True


def _parse(text: str) -> Iterator[Any]:
    text = text.removeprefix("\ufeff")
    parser = Parser(text if text.endswith("\n") else f"{text}\n")  # go-yaml: a block text always ends with a line end
    try:
        while parser.check_event():
            yield parser.get_event()
    finally:
        parser.dispose()


@dataclass
class _Level:
    """An open mapping or sequence."""

    value: Any
    anchor: str | None
    begun: int
    """The number of values counted before it."""
    mapping: bool
    keyed: bool = False
    """A key whose value follows."""
    key: str = ""
    merging: bool = False
    """The key is `<<`."""
    names: set[str] = field(default_factory=set)


class _Builder:
    """Builds values from events, without recursion: depth and size are limited before they exhaust the machine."""

    def __init__(self, *, unique: bool, plain: Callable[[str], Any]) -> None:
        self.unique, self.plain = unique, plain
        self.root: Any = None
        self.number = self.line = self.begun = 0
        self.between = 1
        """1 while no document is open: an error then belongs to the next one."""
        self._count = 0
        self._levels: list[_Level] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._known: dict[str, Any] = {}

    def take(self, event: Any) -> bool:  # noqa: ANN401 - PyYAML's events have no common type
        """Process one event; true when a document is complete."""
        kind = event.__class__
        if kind is yaml.ScalarEvent:
            self._mark(event)
            self._count += 1
            value, text = self._scalar(event), event.value
            if event.anchor is not None:
                self._anchors[event.anchor] = (value, 1)
            self._put(value, merge=text == "<<" and (event.implicit[0] or event.tag == f"{_TAG}merge"))
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            self._open(event, mapping=kind is yaml.MappingStartEvent)
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            self._close()
        elif kind is yaml.AliasEvent:
            self._mark(event)
            self._alias(str(event.anchor))
        elif kind is yaml.DocumentStartEvent:
            self.number, self.between, self.root = self.number + 1, 0, None
            self.begun = 0
            self._anchors.clear()
        elif kind is yaml.DocumentEndEvent:
            self.between = 1
            return True
        if self._count > MOST_VALUES:
            raise self._error(f"it contains more than {MOST_VALUES} values, including those repeated by aliases")
        return False

    def _mark(self, event: Any) -> None:  # noqa: ANN401
        self.line = event.start_mark.line + 1
        if not self.begun:
            self.begun = self.line

    def _error(self, reason: str) -> YamlError:
        return YamlError(reason, number=self.number, line=self.line)

    def _open(self, event: Any, *, mapping: bool) -> None:  # noqa: ANN401
        self._mark(event)
        if len(self._levels) >= MOST_DEPTH:
            raise self._error(f"it is nested more than {MOST_DEPTH} deep")
        value: Any = {} if mapping else []
        self._levels.append(_Level(value, event.anchor, self._count, mapping))
        self._count += 1
        if event.anchor is not None:
            self._anchors.pop(event.anchor, None)

    def _close(self) -> None:
        level = self._levels.pop()
        if level.anchor is not None:
            self._anchors[level.anchor] = (level.value, self._count - level.begun)
        self._put(level.value)

    def _alias(self, anchor: str) -> None:
        if anchor not in self._anchors:
            if any(level.anchor == anchor for level in self._levels):
                raise self._error(f"the anchor '{anchor}' contains itself")
            raise self._error(f"there is no anchor '{anchor}' before this alias")
        value, size = self._anchors[anchor]
        self._count += size
        if self._count <= MOST_VALUES:
            self._put(_copied(value))

    def _put(self, value: Any, *, merge: bool = False) -> None:  # noqa: ANN401 - a JSON value
        level = self._levels[-1] if self._levels else None
        if level is None:
            self.root = self._finite(value)
        elif not level.mapping:
            level.value.append(self._finite(value))
        elif not level.keyed:
            level.keyed, level.merging = True, merge
            level.key = "<<" if merge else self._key(level, value)
        else:
            level.keyed = False
            if level.merging:
                self._merge(level.value, value)
            else:
                level.value[level.key] = self._finite(value)

    def _key(self, level: _Level, value: Any) -> str:  # noqa: ANN401
        """A key as a JSON string (sigs.k8s.io/yaml: `convertToJSONableObject`)."""
        if isinstance(value, bool):
            name = "true" if value else "false"
        elif isinstance(value, str):
            name = value
        elif isinstance(value, int | float):
            name = str(value) if math.isfinite(value) else f"{value}".replace("inf", ".inf").replace("nan", ".nan")
        else:
            raise self._error("a key is not a string")
        if self.unique:
            if name in level.names:
                raise self._error(f"the key '{name}' is given twice in one mapping")
            level.names.add(name)
        return name

    def _merge(self, into: dict[str, Any], value: Any) -> None:  # noqa: ANN401
        """`<<`: later keys override its values; in a list the first one wins."""
        parts = value if isinstance(value, list) else [value]
        if not all(isinstance(each, dict) for each in parts):
            raise self._error("<< takes a mapping, or a list of mappings")
        for each in reversed(parts):
            into.update(each)

    def _finite(self, value: Any) -> Any:  # noqa: ANN401
        if isinstance(value, float) and not math.isfinite(value):
            raise self._error(f"{value} is not a number in JSON")
        return value

    def _scalar(self, event: Any) -> Any:  # noqa: ANN401
        text: str = event.value
        tag: str | None = event.tag
        if tag is None or tag == "!":
            if not event.implicit[0] or tag == "!":
                return text
            if text not in self._known:
                self._known[text] = self.plain(text)
            return self._known[text]
        return self._tagged(text, tag.removeprefix(_TAG))

    def _tagged(self, text: str, tag: str) -> Any:  # noqa: ANN401
        if tag == "binary":
            try:
                return base64.b64decode("".join(text.split()), validate=True).decode("utf-8", "replace")
            except binascii.Error:
                raise self._error("a value tagged !!binary is not base64") from None
        value = scalar(text)
        if tag == "float" and isinstance(value, int | float) and not isinstance(value, bool):
            return value
        kinds: Mapping[str, Any] = {"bool": bool, "int": int, "float": float, "null": type(None)}
        if tag not in kinds:
            return text  # strings, dates, and unknown tags
        if type(value) is not kinds[tag] or (tag == "int" and _INTEGER.match(text.replace("_", "")) is None):
            raise self._error(f"a value tagged !!{tag} is not valid")
        return value


def _copied(value: Any) -> Any:  # noqa: ANN401 - a JSON value, no deeper than MOST_DEPTH
    if isinstance(value, dict):
        return {name: _copied(inner) for name, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list) else value
