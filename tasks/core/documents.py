"""YAML and JSON files as JSON values, with errors that give the location."""

import codecs
import contextlib
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.core.errors import BadInput

_BLANK = re.compile(r"\s*")
_TEMPLATE = "`{{ }}` is template syntax: it becomes YAML only when a program (Helm, for a chart) renders it"


@dataclass(frozen=True, kw_only=True)
class Document:
    """One document of a file."""

    value: Any
    source: str
    number: int
    """Counts from 1, including empty documents."""
    line: int

    @property
    def place(self) -> str:
        """The location for messages."""
        return f"{self.source}, document {self.number} (line {self.line})"


def read_text(path: Path, meaning: str) -> str:
    """A file's text. Raises `BadInput` with `meaning`, which says what the file is for."""
    try:
        content = path.read_bytes()
        wide = content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # as Windows shells write files
        text = content.decode("utf-16" if wide else "utf-8-sig")
        return text.replace("\r\n", "\n").replace("\r", "\n")
    except OSError as error:
        why = error.strerror or type(error).__name__
    except UnicodeDecodeError as error:
        why = f"it is not {'UTF-16' if wide else 'UTF-8'} at byte {error.start}"
    raise BadInput(f"cannot read {path}", why=f"{why}; it is {meaning}", fix="correct the path or the file")


def documents(
    text: str, source: str, *, unique: bool = False, plain: Callable[[str], Any] | None = None
) -> list[Document]:
    """The non-empty documents, as JSON values. Raises `BadInput` with the document's number and the line.

    `source` is the file's name, and its format (.json). `unique`: a duplicate key is an error; otherwise the last
    one counts, as with kubectl and Helm. `plain` converts YAML's unquoted scalars, if not as
    kubectl does.
    """
    if source.lower().endswith(".json"):
        found = _json(text, source, unique=unique)
    else:
        try:
            found = _yaml(text, source, unique=unique, plain=plain)
        except BadInput:
            found = []
            if text.lstrip().startswith("{"):
                with contextlib.suppress(BadInput):  # concatenated JSON values are not YAML, but kubectl accepts them
                    found = _json(text, source, unique=unique)
            if not found:
                raise
    return [each for each in found if each.value is not None]


def checked(value: Any, place: str) -> Any:  # noqa: ANN401 - any JSON value, and the same kind comes back
    """A value with strings as keys. Raises `BadInput` if it cannot be represented in JSON."""
    try:
        return _plain(value)
    except RecursionError:
        reason = "it contains itself, or is nested too deeply"
    except ValueError as error:
        reason = str(error)
    raise BadInput(f"{place} cannot be sent to the cluster", why=reason, fix="write it as plain YAML or JSON")


def _plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        return _unique([(_key(name), _plain(inner)) for name, inner in value.items()])
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a number in JSON")
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= sign <= "\udfff" for sign in value):
            raise ValueError("a string contains half a character (an unpaired surrogate)")
        return value
    if value is None or isinstance(value, bool | int | float):
        return value
    raise ValueError(f"JSON has no {type(value).__name__}; put the value in quotes")


def _key(name: object) -> str:
    """A mapping's key as a string, true and 1 as JSON writes them."""
    if isinstance(name, str):
        return name
    if isinstance(name, bool | int | float):
        return json.dumps(name)
    raise ValueError(f"the key {name!r} is not a string")


def _json(text: str, source: str, *, unique: bool) -> list[Document]:
    """Concatenated JSON values, as kubectl accepts them."""
    decoder = json.JSONDecoder(object_pairs_hook=_unique if unique else None)
    found: list[Document] = []
    place = 0
    while blank := _BLANK.match(text, place):
        place = blank.end()
        if place == len(text):
            break
        line = text.count("\n", 0, place) + 1
        try:
            value, place = decoder.raw_decode(text, place)
        except json.JSONDecodeError as error:
            raise _broken(source, len(found) + 1, error.lineno, error.msg) from None
        except (ValueError, RecursionError) as error:
            raise _broken(source, len(found) + 1, line, str(error)) from None
        found.append(Document(value=checked(value, source), source=source, number=len(found) + 1, line=line))
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key '{twice}' is given twice in one mapping")
    return found


def _yaml(text: str, source: str, *, unique: bool, plain: Callable[[str], Any] | None) -> list[Document]:
    from tasks.core import yaml

    try:
        return [
            Document(value=each.value, source=source, number=each.number, line=each.line)
            for each in yaml.documents(text, unique=unique, plain=plain or yaml.scalar)
        ]
    except yaml.YamlError as error:
        lines = text.split("\n")
        template = "{{" in "".join(lines[max(0, error.line - 2) : error.line])
        reason = f"{error.reason}; {_TEMPLATE}" if template else error.reason
        raise _broken(source, error.number, error.line, reason) from None


def _broken(source: str, number: int, line: int, reason: str) -> BadInput:
    return BadInput(
        f"{source}, document {number}: line {line} cannot be read",
        why=reason or "it is neither YAML nor JSON",
        fix="correct the file, then run the task again",
    )
