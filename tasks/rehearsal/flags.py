"""Flags as programs written in Go read them (spf13/pflag), and their words for what is wrong with one.

A table of flags is a text of words: `all,a` is a flag with a short form that takes no value; `filter=s` takes one;
`label=l` may be given several times. Kinds: `s` text, `l` list, `i` whole number, `f` number, `d` duration, `o` text
that is left out or given after `=`.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_DURATION = re.compile(r"[-+]?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|ms|s|m|h))+|0")
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class Wrong(Exception):
    """A flag that is not known, lacks its value, or has one of another kind; the text is pflag's."""


class Given:
    """What was given: by long names."""

    def __init__(self) -> None:
        self.values: dict[str, list[str]] = {}
        self.args: list[str] = []

    def on(self, name: str) -> bool:
        """A flag without a value."""
        return self.values.get(name, ["false"])[-1] not in ("false", "0", "f", "F", "FALSE", "False")

    def get(self, name: str, otherwise: str = "") -> str:
        """The last value."""
        return self.values.get(name, [otherwise])[-1]

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


def read(args: Sequence[str], known: Mapping[str, tuple[str, str]], *, mixed: bool = True) -> Given:
    """Flags and arguments. Without `mixed` everything after the first argument is one. Raises `Wrong`."""
    given = Given()
    rest = list(args)
    while rest:
        word = rest.pop(0)
        if word == "--":
            given.args += rest
            break
        if not word.startswith("-") or word == "-":
            given.args.append(word)
            if not mixed:
                given.args += rest
                break
        elif word.startswith("--"):
            _long(word[2:], rest, known, given)
        else:
            _short(word[1:], rest, known, given)
    return given


def _long(text: str, rest: list[str], known: Mapping[str, tuple[str, str]], given: Given) -> None:
    name, sign, value = text.partition("=")
    if len(name) < 2 or name not in known:  # one letter is a short form
        if name == "help":
            raise Wrong("pflag: help requested")
        raise Wrong(f"unknown flag: --{name}")
    _, kind = known[name]
    if not sign:
        if kind in ("", "o"):
            value = "true"
        elif rest:
            value = rest.pop(0)
        else:
            raise Wrong(f"flag needs an argument: --{name}")
    _keep(name, kind, value, f"--{name}", known, given)


def _short(text: str, rest: list[str], known: Mapping[str, tuple[str, str]], given: Given) -> None:
    while text:
        letter, text = text[0], text[1:]
        if letter not in known:
            if letter == "h":
                raise Wrong("pflag: help requested")
            raise Wrong(f"unknown shorthand flag: '{letter}' in -{letter}{text}")
        name, kind = known[letter]
        shown = f"-{letter}, --{name}"
        if not kind and not text.startswith("="):
            _keep(name, kind, "true", shown, known, given)
            continue
        if text:
            value, text = text.removeprefix("="), ""
        elif rest:
            value = rest.pop(0)
        else:
            raise Wrong(f"flag needs an argument: '{letter}' in -{letter}")
        _keep(name, kind, value, shown, known, given)


def _keep(name: str, kind: str, value: str, shown: str, known: Mapping[str, tuple[str, str]], given: Given) -> None:
    long, _ = known[name]
    why = refusal(kind, value)
    if why:
        raise Wrong(f'invalid argument "{value}" for "{shown}" flag: {why}')
    given.values.setdefault(long, []).append(value)


def refusal(kind: str, value: str) -> str:
    """Why a value is none of its kind, as Go says it; empty if it is one."""
    if kind == "i" and not re.fullmatch(r"[-+]?\d+", value):
        return f'strconv.ParseInt: parsing "{value}": invalid syntax'
    if kind == "f" and not re.fullmatch(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?", value):
        return f'strconv.ParseFloat: parsing "{value}": invalid syntax'
    if kind == "d" and not _DURATION.fullmatch(value):
        unit = "missing unit in duration" if re.fullmatch(r"[-+]?\d+\.?\d*", value) else "invalid duration"
        return f'time: {unit} "{value}"'
    if kind == "" and value not in ("true", "false", "1", "0", "t", "f", "T", "F", "TRUE", "FALSE", "True", "False"):
        return f'strconv.ParseBool: parsing "{value}": invalid syntax'
    return ""


def seconds(text: str) -> float:
    """Seconds of a duration; 0 for none."""
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
