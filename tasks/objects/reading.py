"""YAML and JSON files as JSON values, with errors that name the place."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class Document:
    """One document of a file."""

    value: Any
    source: str
    number: int
    """Counts from 1, empty documents too."""
    line: int

    @property
    def place(self) -> str:
        """For messages."""
        return f"{self.source}, document {self.number} (line {self.line})"


def read_text(path: Path, meaning: str) -> str:
    """A file's text. Raises `BadInput` that says what the file is for."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        why = error.strerror or type(error).__name__
    except UnicodeDecodeError as error:
        why = f"it is not UTF-8 at byte {error.start}"
    raise BadInput(f"cannot read {path}", why=f"{why}; it is {meaning}", fix="correct the path or the file")


def documents(text: str, source: str) -> list[Document]:
    """The documents that are not empty, as JSON values. `source` names the file, and by .json its format.

    Raises `BadInput` with the document's number and the line.
    """
    found = _json(text, source) if source.lower().endswith(".json") else _yaml(text, source)
    return [each for each in found if each.value is not None]


def plain(value: Any, place: str) -> Any:  # noqa: ANN401 - any JSON value, and the same kind comes back
    """A value with texts as keys. Raises `BadInput` if JSON cannot hold it."""
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
        raise ValueError(f"{value} is no number in JSON")
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= sign <= "\udfff" for sign in value):
            raise ValueError("a text holds half a character (an unpaired surrogate)")
        return value
    if value is None or isinstance(value, bool | int | float):
        return value
    raise ValueError(f"JSON has no {type(value).__name__}; put the value in quotes")


def _key(name: object) -> str:
    """A mapping's key as a text, true and 1 as JSON writes them."""
    if isinstance(name, str):
        return name
    if isinstance(name, bool | int | float):
        return json.dumps(name)
    raise ValueError(f"the key {name!r} is no text")


def _json(text: str, source: str) -> Iterator[Document]:
    if not text.strip():
        return
    try:
        value = json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise _broken(source, 1, error.lineno, error.msg) from None
    except (ValueError, RecursionError) as error:
        raise _broken(source, 1, 1, str(error)) from None
    yield Document(value=plain(value, source), source=source, number=1, line=1)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key '{twice}' stands twice in one mapping")
    return found


def _yaml(text: str, source: str) -> Iterator[Document]:
    import yaml

    from tasks.objects.bounds import Excess, refuse_excess
    from tasks.objects.loader import Loader, settle_keys

    number, line = 1, 1
    try:
        refuse_excess(text)
        loader = Loader(text)
        try:
            while loader.check_node():
                node = loader.get_node()
                assert node is not None  # check_node said so
                line = node.start_mark.line + 1
                settle_keys(loader, node)
                document = loader.construct_document(node)
                place = f"{source}, document {number} (line {line})"
                yield Document(value=plain(document, place), source=source, number=number, line=line)
                number += 1
        finally:
            loader.dispose()
    except Excess as error:
        raise _broken(source, error.number, error.line, error.reason) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _broken(source, number, mark.line + 1 if mark else line, error.problem or "") from None
    except yaml.reader.ReaderError as error:
        sign = error.character if isinstance(error.character, str) else chr(error.character)
        line = text.count("\n", 0, max(text.find(sign), 0)) + 1
        raise _broken(source, number, line, f"YAML does not allow the character U+{ord(sign):04X}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _broken(source, number, line, str(error)) from None


def _broken(source: str, number: int, line: int, reason: str) -> BadInput:
    return BadInput(
        f"{source}, document {number}: line {line} cannot be read",
        why=reason or "it is neither YAML nor JSON",
        fix="correct the file, then run the task again",
    )
