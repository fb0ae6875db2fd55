"""Every program call of a launch as data: `calls.yaml`, and how it is held against what was called.

What differs from one launch to another stands there as `<a-word>`: ports, folders, ids, images, charts. A test that
watches a launch has words put in place of the values (`put`); one that makes the calls has it the other way (`fill`).
"""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tasks.process.command import Completed

_FILE = Path(__file__).with_suffix(".yaml")
_WORD = re.compile(r"<([a-z0-9-]+)>")
_INVENTED = (
    (re.compile(r"\S+/\.chart\.openframe-[0-9]+-[a-z0-9_-]+"), "<downloads>"),
    (re.compile(r"(?<=openframe\.dev/fingerprint=)[0-9a-f]{16}\.[0-9]+-[0-9]+$"), "<fingerprint>"),
    (re.compile(r"^[0-9]{10}\.[0-9]+$"), "<moment>"),
    (re.compile(r"openframe-lease-[0-9a-f]{12}$"), "<lease>"),
    (re.compile(r"(?<=openframe\.lease=).+$"), "<lease-label>"),
)
"""What nobody can know before."""
_ID = re.compile(r"[0-9a-f]{64}")


ENDLESS = ("events", "logs")
"""Commands of docker that end when somebody ends them."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One call."""

    step: str
    """The step that runs it; `before`: it runs before there are steps."""
    argv: tuple[str, ...]
    stdin: str | None = None
    ok: tuple[int, ...] = (0,)
    """Exit codes that are no failure."""
    gives: str = ""
    """What its stdout is (see `kind`); not looked at where it is empty."""
    looks: bool = False
    """It only reads, so it may be repeated."""
    sometimes: bool = False
    """Whether it runs depends on the timing of others."""
    helm: int = 0
    """The only major version of Helm that it is for; 0: all."""

    @property
    def line(self) -> str:
        """As one reads it. Words at its end are in their own order: programs take several things in any."""
        end = len(self.argv)
        while end and _WORD.fullmatch(self.argv[end - 1]):
            end -= 1
        return " ".join([*map(shlex.quote, self.argv[:end]), *sorted(self.argv[end:])])


def kind(done: Completed) -> str:
    """Of what kind a stdout is: nothing, tar, json, rows (of JSON), id, text."""
    text = done.out.strip()
    if not text:
        return "nothing"
    if done.raw[257:262] == b"ustar":
        return "tar"
    if _ID.fullmatch(text):
        return "id"
    if _is_json(text):
        return "json"
    return "rows" if all(map(_is_json, text.splitlines())) else "text"


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except ValueError:
        return False


@cache
def _document() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(_FILE.read_text())
    return found


def rows(task: str, helm: int = 4) -> list[Row]:
    """Of `up` or `down`, with this major version of Helm, in an order in which one can make them."""
    found = [
        Row(**{**row, "argv": tuple(shlex.split(row["argv"])), "ok": tuple(row.get("ok", (0,)))})
        for row in _document()[task]
    ]
    return [row for row in found if row.helm in (0, helm)]


def files() -> dict[str, Any]:
    """What files that they name hold, by name in the cluster's own folder."""
    found: dict[str, Any] = _document()["files"]
    return found


def put(value: Any, words: Mapping[str, str]) -> Any:
    """The same with words in place of values: the longest first, since one may be part of another."""
    if isinstance(value, str):
        for word, known in sorted(words.items(), key=lambda item: -len(item[1])):
            value = value.replace(known, f"<{word}>")
        for pattern, instead in _INVENTED:
            value = pattern.sub(instead, value)
        return value
    return _each(value, lambda inner: put(inner, words))


def fill(value: Any, words: Mapping[str, str]) -> Any:
    """The same with values in place of words. Raises `KeyError` for a word that has none."""
    if isinstance(value, str):
        return _WORD.sub(lambda found: words[found[1]], value)
    return _each(value, lambda inner: fill(inner, words))


def _each(value: Any, change: Any) -> Any:
    if isinstance(value, Mapping):
        return {change(key): change(inner) for key, inner in value.items()}
    return [change(inner) for inner in value] if isinstance(value, list) else value
