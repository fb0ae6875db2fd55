"""Arguments and output formats of programs written in Go: flags (spf13/pflag), durations, and `--format` templates.

A table of flags is a text of words: `all,a` is a flag with a short form that takes no value; `filter=s` takes one;
`label=l` may be given several times; `wait=o` has one only after a `=`.
"""

from __future__ import annotations

import json
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    Table = Mapping[str, tuple[str, str]]

_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_ACTION = re.compile(r"\{\{(.*?)\}\}")


class UsageError(Exception):
    """A flag that is unknown or lacks its value, in pflag's words; or a template that is not understood."""


class Parsed:
    """Values of flags by their long names, and arguments."""

    def __init__(self) -> None:
        self.values: dict[str, list[str]] = {}
        self.args: list[str] = []

    def on(self, name: str) -> bool:
        """Whether a flag without a value is set."""
        return self.values.get(name, ["false"])[-1].lower() not in ("false", "0", "f")

    def get(self, name: str, default: str = "") -> str:
        """The last value."""
        return self.values.get(name, [default])[-1]

    def all(self, name: str) -> list[str]:
        """Every value."""
        return self.values.get(name, [])


def table(text: str) -> dict[str, tuple[str, str]]:
    """Long name and kind by each name, long or short."""
    found: dict[str, tuple[str, str]] = {}
    for word in text.split():
        names, _, kind = word.partition("=")
        long, _, short = names.partition(",")
        found[long] = (long, kind)
        if short:
            found[short] = (long, kind)
    return found


def parse(args: Sequence[str], text: str, *, mixed: bool = True) -> Parsed:
    """Flags and arguments, by a table. Raises `UsageError`.

    Without `mixed` everything after the first argument is an argument.
    """
    known, parsed, rest = table(text), Parsed(), list(args)
    while rest:
        word = rest.pop(0)
        if word == "--":
            parsed.args += rest
            break
        if word.startswith("--"):
            _long(word[2:], rest, known, parsed)
        elif word.startswith("-") and word != "-":
            _short(word[1:], rest, known, parsed)
        else:
            parsed.args.append(word)
            if not mixed:
                parsed.args += rest
                break
    return parsed


def _long(text: str, rest: list[str], known: Table, parsed: Parsed) -> None:
    name, sign, value = text.partition("=")
    if len(name) < 2 or name not in known:  # one letter is a short form
        raise UsageError(f"unknown flag: --{name}")
    long, kind = known[name]
    if not sign:
        if kind in ("", "o"):
            value = "true"
        elif rest:
            value = rest.pop(0)
        else:
            raise UsageError(f"flag needs an argument: --{name}")
    parsed.values.setdefault(long, []).append(value)


def _short(text: str, rest: list[str], known: Table, parsed: Parsed) -> None:
    while text:
        letter, text = text[0], text[1:]
        if letter not in known:
            raise UsageError(f"unknown shorthand flag: '{letter}' in -{letter}{text}")
        long, kind = known[letter]
        value = "true"
        if kind or text.startswith("="):
            value, text = text.removeprefix("="), ""
            if not value:
                if not rest:
                    raise UsageError(f"flag needs an argument: '{letter}' in -{letter}")
                value = rest.pop(0)
        parsed.values.setdefault(long, []).append(value)


def seconds(text: str) -> float:
    """Seconds of a duration; 0 for none."""
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def size(text: str) -> int:
    """Bytes of 512m, as Docker reads it. Raises `ValueError`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([bkmg]?)b?", text.lower())
    if match is None:
        raise ValueError(f"invalid size: '{text}'")
    return int(float(match[1]) * 1024 ** "bkmg".index(match[2] or "b"))


def compact(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """JSON as Go writes it: without blanks, and with <, > and & escaped."""
    plain = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return plain.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def render(template: str, value: Mapping[str, Any]) -> str:
    """A row by a Go template of fields, `json` and text between them; `json` alone is all of it.

    Raises `UsageError` for a field that does not exist, and for any other function.
    """

    def fill(match: re.Match[str]) -> str:
        *functions, path = match[1].split() or [""]
        if functions not in ([], ["json"]) or not path.startswith("."):
            raise UsageError(f'template parsing error: template: :1: function "{match[1].strip()}" not defined')
        found: Any = value
        for name in filter(None, path.split(".")):
            if not isinstance(found, dict) or name not in found:
                raise UsageError(f"failed to execute template: can't evaluate field {name} at <{path}>")
            found = found[name]
        if functions:
            return compact(found)
        return str(found).lower() if isinstance(found, bool) else str(found)

    if template == "json":
        return compact(value)
    return _ACTION.sub(fill, template.replace("\\t", "\t").replace("\\n", "\n"))
