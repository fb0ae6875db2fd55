"""The catalogue of known causes, in the YAML files of this package, and how a text is matched against it.

Each file has `causes:`, in the order in which they are tried, and may have `fragments:`, texts that its patterns
and messages include as `${name}`. An entry of `causes:` has the fields of `Rule`. An entry with `for_each:` has
`causes:` of its own, which are repeated for each of its mappings; their values are included as `${name}`, too.
Files are read only after a failure.
"""

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tasks.core import yaml
from tasks.core.errors import Diagnosis
from tasks.core.redact import redact

COMMANDS = ("k3d", "docker", "node", "helm", "api", "images", "network", "programs")
"""Files with causes of commands that fail, in the order in which they are tried: the specific before the general."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\r(?=\n)")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_SIZE = 200_000
"""Characters of output that are searched, from the end: where it failed."""
_LINE = 3000
"""Characters of one line that are searched: half from its start, half from its end."""
_LONGEST = 300
"""Characters of one captured part, or of one line, that a message repeats."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One known cause.

    `what`, `why` and `fix` are templates: they may use the named groups of the patterns, values from the caller, and
    `{line}`, the line in which the pattern was found.
    """

    id: str
    """Short and stable: callers and tests identify a cause by it."""
    what: str
    why: str = ""
    fix: str
    where: tuple[str, ...] = ()
    """Where it is looked for: names of programs, `node` for a node's log, the reason of a pod's state or of
    an event. Empty: anywhere."""
    patterns: tuple[str, ...] = ()
    """Regular expressions, matched line by line, case-sensitive; the first match counts."""
    codes: tuple[int, ...] = ()
    """Exit codes (negative: signals) that suffice if no pattern matches. A rule without patterns and codes
    matches any text."""
    transient: bool = False
    """Whether a retry, or waiting, may help."""
    last: bool = False
    """Tried after all others: a timeout, which may hide another cause."""
    otherwise: Mapping[str, str] = field(default_factory=dict)
    """Defaults for groups that a pattern has not captured; may use `{line}`."""
    examples: tuple[Mapping[str, Any], ...] = ()
    """Real outputs, for tests: `text`, its `source`, `program` and `code`, and substrings of the message, `says`."""

    def filled(self, captured: Mapping[str, str | None], line: str = "") -> Diagnosis:
        """The diagnosis, with its texts filled in."""
        parts = {name: short(value) for name, value in captured.items() if value and value.strip()}
        whole = {"line": short(line)}
        values = _Parts({**{name: text.format_map(whole) for name, text in self.otherwise.items()}, **parts, **whole})
        return Diagnosis(
            cause=self.id,
            what=self.what.format_map(values),
            why=self.why.format_map(values),
            fix=self.fix.format_map(values),
            transient=self.transient,
            details=parts,
        )


class _Parts(dict[str, str]):
    """Values of a template; a missing one becomes "…": reporting an error must not fail."""

    def __missing__(self, _name: str) -> str:
        return "…"


@functools.cache
def rules(name: str) -> tuple[Rule, ...]:
    """The causes of one file, in order."""
    found = list(_rules(_document(name)["causes"], fragments(name)))
    return tuple(sorted(found, key=lambda rule: rule.last))


@functools.cache
def catalogue() -> tuple[Rule, ...]:
    """All causes of failed commands, in the order in which they are tried."""
    return tuple(sorted((rule for name in COMMANDS for rule in rules(name)), key=lambda rule: rule.last))


def fragments(name: str) -> Mapping[str, str]:
    """Texts that several causes of one file include."""
    found: Mapping[str, str] = _document(name).get("fragments") or {}
    return found


@functools.cache
def _document(name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = yaml.load(Path(__file__).with_name(f"{name}.yaml").read_text(encoding="utf-8"))
    return found


def _rules(entries: Iterable[Mapping[str, Any]], included: Mapping[str, str]) -> Iterator[Rule]:
    for entry in entries:
        if "for_each" in entry:
            for number, values in enumerate(entry["for_each"]):
                for rule in _rules(entry["causes"], {**included, **values}):
                    yield rule if number == 0 else replace(rule, examples=())
        else:
            yield Rule(**{key: _including(value, included) for key, value in entry.items()})


def _including(value: Any, included: Mapping[str, str]) -> Any:  # noqa: ANN401 - a JSON value
    if isinstance(value, list):
        return tuple(_including(each, included) for each in value)
    if isinstance(value, str):
        for name, text in included.items():
            value = value.replace(f"${{{name}}}", text)
    return value


def recognise(
    causes: Iterable[Rule],
    text: str,
    *,
    where: str = "",
    code: int | None = None,
    given: Mapping[str, str] = MappingProxyType({}),
) -> Diagnosis | None:
    """The first cause that matches this text and exit code; `text` must be `clean`.

    `where`: the program, or other source that rules name; "" matches all rules. `given` are values for the
    message besides those that a pattern captures.
    """
    for rule in causes:
        if where and rule.where and where not in rule.where:
            continue
        for pattern in rule.patterns:
            match = _compiled(pattern).search(text)
            if match is not None:
                return rule.filled({**given, **match.groupdict()}, _line_of(text, match.start()))
        if (code is not None and code in rule.codes) or not (rule.patterns or rule.codes):
            return rule.filled(given)
    return None


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Compiled on first use: a successful launch needs none of them."""
    return re.compile(pattern, re.MULTILINE)


def _line_of(text: str, position: int) -> str:
    start = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    return text[start : end if end >= 0 else len(text)]


def clean(text: str) -> str:
    """A program's output prepared for matching: its end, without colours, control characters and secrets."""
    text = _CONTROL.sub("", _COLOURS.sub("", redact(text)[-_SIZE:]))
    return "\n".join(map(_bounded, text.splitlines()))


def _bounded(line: str) -> str:
    """A line shortened in the middle: matching must not take long."""
    return line if len(line) <= _LINE else f"{line[: _LINE // 2]} … {line[-_LINE // 2 :]}"


def short(text: str, longest: int = _LONGEST) -> str:
    """One line of at most `longest` characters."""
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


_PAGE = {
    "docker": "Docker and the engine",
    "k3d": "k3d",
    "node": "Nodes",
    "images": "Registries and images",
    "network": "Network",
    "api": "The Kubernetes API",
    "helm": "Helm",
    "pods": "Pods",
    "scheduling": "Scheduling",
    "programs": "Any program",
}
_HEAD = """# Known causes of failure

A failure is reported with its cause if one of these is recognised in the output of a program, in a node's log, or in
the status and events of pods.
"again" marks transient causes: the failed step is retried a few times with growing pauses, and a wait
for a pod continues.
Parts in braces come from the program's own output.

This page is generated from the YAML files in `tasks/diagnose`; a test compares the two.
"""


def markdown() -> str:
    """The page docs/reference/causes.md."""
    return _HEAD + "".join(_section(title, rules(name)) for name, title in _PAGE.items())


def _section(title: str, causes: Iterable[Rule]) -> str:
    rows = [f"\n## {title}\n", "| id | what happened | again | what to do |", "| --- | --- | --- | --- |"]
    rows += dict.fromkeys(
        f"| `{rule.id}` | {_cell(rule.what)} | {'again' if rule.transient else ''} | {_cell(rule.fix)} |"
        for rule in causes
    )
    return "\n".join(rows) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
