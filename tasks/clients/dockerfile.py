"""Dockerfiles and .dockerignore files, as docker parses them (docs: Dockerfile reference; moby/patternmatcher)."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

_ESCAPE = re.compile(r"#\s*escape\s*=\s*([\\`])\s*", re.IGNORECASE)
_DIRECTIVE = re.compile(r"#\s*(?:syntax|escape|check)\s*=.*", re.IGNORECASE)
_WORD = re.compile(r"""(?:\d*<<-?[ \t]*)?(?:"(?:\\.|[^"\\])*"|'[^']*'|\\.|[^\s"'\\])+""")
_HEREDOC = re.compile(r"""\d*<<(-?)[ \t]*(?:"([^"<]+)"|'([^'<]+)'|([^\s<"']+))""")
"""A word of its own (BuildKit: `parser.ParseHeredoc`): neither a bit shift nor `<<<` starts one."""
_HEREDOCS = ("RUN", "COPY", "ADD")
"""Instructions that may contain here-documents."""
_BUILDKIT = frozenset(
    {"--mount", "--network", "--security", "--chmod", "--link", "--parents", "--exclude", "--checksum"}
)
"""Options of these that the classic builder does not know (docs: Dockerfile reference)."""
_FROM = re.compile(r"(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?\s*", re.IGNORECASE)
_ARG = re.compile(r"(\w+)(?:=(\"[^\"]*\"|'[^']*'|\S*))?")
_GROUP = re.compile(r"((?:\\.|[^\\\]])+)\]")
"""The inside of `[…]`, and its end."""
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::([-+])([^}]*))?\})")


class Instruction(NamedTuple):
    """One instruction of a Dockerfile."""

    line: int
    """The number of its first line."""
    name: str
    """In upper case."""
    rest: str
    heredoc: bool = False
    """Whether here-documents follow it."""

    def __str__(self) -> str:
        return f"{self.name} {self.rest}".strip()


def instructions(text: str) -> list[Instruction]:
    """The instructions of a Dockerfile in order; invalid ones are left for docker to report."""
    lines = _rows(text)
    escape = next((match[1] for row in _head(lines) if (match := _ESCAPE.fullmatch(row.strip()))), "\\")
    found: list[Instruction] = []
    number = 0
    while number < len(lines):
        first, whole = 0, ""
        while number < len(lines):
            row = lines[number]
            number += 1
            if row.lstrip().startswith("#") or (whole and not row.strip()):
                continue
            first = first or number
            body = row.rstrip()
            if not body.endswith(escape) or body.endswith(2 * escape):
                whole += body
                break
            whole += body.removesuffix(escape)
        words = whole.split(maxsplit=1)
        if not words:
            continue
        each, end = Instruction(first, words[0].upper(), "".join(words[1:]).strip()), number
        words = _WORD.findall(each.rest) if _performed(each).name in _HEREDOCS else []
        for match in filter(None, map(_HEREDOC.fullmatch, words)):
            rows = (row.lstrip("\t") if match[1] else row for row in lines[number:])
            length = next((count for count, row in enumerate(rows, 1) if row == match[match.lastindex or 0]), 0)
            number += length  # without its terminator it is none
        found.append(each._replace(heredoc=number > end))
    return found


def buildkit_feature(text: str) -> str:
    """The first part of a Dockerfile that only BuildKit supports, with its line; "" if there is none."""
    for each in instructions(text):
        done = _performed(each)
        if done.name not in _HEREDOCS:
            continue
        if each.heredoc:
            return f"here-documents (line {each.line})"
        for option in _options(done.rest)[0]:
            if (name := option.partition("=")[0]) in _BUILDKIT:
                return f"{done.name} {name} (line {each.line})"
    return ""


def _rows(text: str) -> list[str]:
    """The lines of a file as docker splits them: `str.splitlines` knows more ends of lines."""
    return [row.removesuffix("\r") for row in text.removeprefix("\ufeff").split("\n")]


def _performed(each: Instruction) -> Instruction:
    """What an ONBUILD performs in a later stage of the same Dockerfile; other instructions as they are."""
    if each.name != "ONBUILD":
        return each
    name, _, rest = each.rest.partition(" ")
    return Instruction(each.line, name.upper(), rest.strip())


def _options(rest: str) -> tuple[list[str], list[str]]:
    """The options of an instruction, and the words after them, which may look like options of a program."""
    words = rest.split()
    count = next((at for at, word in enumerate(words) if not word.startswith("--")), len(words))
    return words[:count], words[count:]


def _mounts(options: Iterable[str]) -> list[dict[str, str]]:
    """The fields of each `--mount` of a RUN."""
    found = [each.removeprefix("--mount=").split(",") for each in options if each.startswith("--mount=")]
    return [{name.lower(): value for name, _, value in (part.partition("=") for part in parts)} for parts in found]


def _head(lines: Sequence[str]) -> Iterator[str]:
    """The parser directives: comments before anything else."""
    for row in lines:
        if not _DIRECTIVE.fullmatch(row.strip()):
            return
        yield row


def bases(text: str, args: Mapping[str, str]) -> tuple[str, ...]:
    """The images that a Dockerfile starts from or copies from, without duplicates; `args` override defaults of ARGs."""
    values: dict[str, str] = {}
    stages: list[str] = []
    found: list[str] = []
    for each in instructions(text):
        if each.name == "ARG" and not stages:
            for name, default in _ARG.findall(each.rest):
                values[name] = args.get(name, _filled(default.strip("\"'"), values))
        elif each.name == "FROM" and (match := _FROM.fullmatch(each.rest)):
            found.append(_filled(match[1], values))
            found = found if found[-1].lower() not in stages else found[:-1]
            stages.append((match[2] or "").lower())
        else:
            options, _ = _options(_performed(each).rest)
            others = [option.removeprefix("--from=") for option in options if option.startswith("--from=")]
            others += [mount["from"] for mount in _mounts(options) if "from" in mount]
            found += [name for name in others if not name.isdigit() and name.lower() not in stages]
    return tuple(dict.fromkeys(each for each in found if each and each != "scratch" and "$" not in each))


def copied(text: str) -> tuple[str, ...] | None:
    """The parts of its context that a Dockerfile copies or mounts, as patterns; None: unknown, so all of it.

    Copies by ONBUILD instructions of a base image are not visible here.
    """
    found: list[str] = []
    for each in map(_performed, instructions(text)):
        options, words = _options(each.rest)
        if any(set(option) & set("\"'") for option in options):
            return None
        if each.name in ("COPY", "ADD") and not any(option.startswith("--from=") for option in options):
            given = _sources(words)
            if given is None:
                return None
            found += given
        elif each.name == "RUN":
            for fields in _mounts(options):
                if fields.get("type", "bind").lower() == "bind" and "from" not in fields:
                    found.append(fields.get("source") or fields.get("src") or ".")
    return None if any("$" in name for name in found) else tuple(posixpath.normpath(f"/{name}")[1:] for name in found)


def _sources(words: list[str]) -> list[str] | None:
    """The sources of a COPY or an ADD in the context; None if they cannot be determined."""
    plain = " ".join(words)
    if plain.startswith("["):
        try:
            words = [str(each) for each in json.loads(plain)]
        except (ValueError, TypeError):
            return None
    elif '"' in plain or "'" in plain:
        return None
    return [
        name for name in words[:-1] if not name.startswith("<<") and "://" not in name and not name.startswith("git@")
    ]


def only(patterns: Sequence[str], left_out: Ignored) -> Ignored:
    """The same rules, also excluding everything outside of these patterns."""
    made = [_pattern(each) for each in patterns]
    if any(not each.text for each in made):
        return left_out

    def out(path: str, folder: bool) -> bool:
        if not any(each.matches.fullmatch(path) or (folder and _may_be_below(each.text, path)) for each in made):
            return True
        return left_out(path, folder)

    return out


def _filled(text: str, values: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        given = values.get(match[1] or match[2], "" if match[3] else None)
        if given is None:  # predefined by docker, such as TARGETARCH
            return match[0]
        if match[3] == "+":
            return str(match[4]) if given else ""
        return given or str(match[4] or "")

    return _VARIABLE.sub(value, text)


Ignored = Callable[[str, bool], bool]
"""Whether a path, relative to the context, is excluded; for a folder (True): with everything in it."""


class _Pattern(NamedTuple):
    text: str
    matches: re.Pattern[str]
    """Matches the path itself, and everything in it."""
    again: bool
    """It starts with `!`: matches are included again."""


def ignored(text: str) -> Ignored:
    """The exclusions of a .dockerignore: of the patterns that match a path, or a parent folder, the last one counts."""
    patterns = [_pattern(each) for each in _lines(text)]
    if not any(each.again for each in patterns):
        if not patterns:
            return lambda _path, _folder: False
        one = re.compile("|".join(f"(?:{each.matches.pattern})" for each in patterns))
        return lambda path, _folder: one.fullmatch(path) is not None

    def left_out(path: str, folder: bool) -> bool:
        out = False
        for each in patterns:
            if each.again == out and each.matches.fullmatch(path):
                out = not each.again
        return out and not (folder and any(each.again and _may_be_below(each.text, path) for each in patterns))

    return left_out


def _lines(text: str) -> Iterator[str]:
    for line in _rows(text):
        row = line.strip()
        if line.startswith("#") or not row:
            continue
        sign, name = ("!", row[1:].strip()) if row[0] == "!" else ("", row)
        if name:
            yield sign + posixpath.normpath(name).lstrip("/")


def _may_be_below(pattern: str, folder: str) -> bool:
    """Whether something in a folder may match: not if the parts without wildcards name other folders."""
    for wanted, there in zip(pattern.split("/"), folder.split("/"), strict=False):
        if set(wanted) & set("*?[\\"):
            return True
        if wanted != there:
            return False
    return True


def _pattern(text: str) -> _Pattern:
    again = text.startswith("!")
    name = text.removeprefix("!")
    if re.match(r"\*\*(?!/)", name) and not set(name[2:]) & set("*?[]\\"):
        return _compiled(name, f".*{re.escape(name[2:])}", again=again)  # docker compares the end of the path only
    regex, at = "", 0
    while at < len(name):
        sign = name[at]
        at += 1
        if name.startswith("*", at) and sign == "*":
            at += 1
            if name.startswith("/", at):
                at += 1
            regex += ".*" if at == len(name) else "(?:.*/)?"
        elif sign == "*":
            regex += "[^/]*"
        elif sign == "?":
            regex += "[^/]"
        elif sign == "\\" and at < len(name):
            regex += re.escape(name[at])
            at += 1
        elif sign == "[" and (group := _GROUP.match(name, at)):
            regex += f"[{group[1]}]"
            at = group.end()
        else:
            regex += re.escape(sign)
    return _compiled(name, regex, again=again)


def _compiled(name: str, regex: str, *, again: bool) -> _Pattern:
    try:
        made = re.compile(f"(?:{regex})(?:/.*)?", re.DOTALL)
    except re.error:  # docker reports what is wrong with it
        made = re.compile(f"{re.escape(name)}(?:/.*)?")
    return _Pattern(name, made, again)
