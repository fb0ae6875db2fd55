"""The origin of a value, for tables and errors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tasks.core.errors import BadInput
from tasks.core.redact import MASK, conceal, conceal_found, conceal_proxy, without_logins
from tasks.settings.node_filters import Filtered, split

if TYPE_CHECKING:
    from tasks.settings.schema import Settings

DEFAULT, FILE, PROFILE, ENVIRONMENT, OPTION = "default", "file", "profile", "environment", "option"
"""The layers, each overriding the previous one."""

Path = tuple[str, ...]
"""Names from the root of the tree to a place in it; a list item has its number or its name."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The source of a value."""

    layer: str
    name: str
    """The file, the variable or the option."""
    line: int | None = None

    @property
    def short(self) -> str:
        """For tables: `config/ci.yaml:7`, `K3D_AGENTS`, `--set`."""
        return f"{self.name}:{self.line}" if self.line else self.name

    @property
    def place(self) -> str:
        """For errors: `config/ci.yaml, line 7`, `the variable K3D_AGENTS`, `--set`."""
        if self.layer == ENVIRONMENT:
            return f"the variable {self.name}"
        return f"{self.name}, line {self.line}" if self.line else self.name


BUILT_IN = Origin(layer=DEFAULT, name="default")


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Values of one source, as written."""

    data: Any
    origin: Origin
    lines: Mapping[Path, int] = field(default_factory=dict)
    inside: Path = ()
    """In a file: the names below which the data is."""

    def at(self, path: Path) -> Origin:
        """The origin of a place, with the line of its name, or of the surrounding one."""
        whole = (*self.inside, *path)
        for length in range(len(whole), -1, -1):
            if (line := self.lines.get(whole[:length])) is not None:
                return replace(self.origin, line=line)
        return self.origin


def dotted(path: Path) -> str:
    r"""A path in the syntax of `--set`: a dot inside a name is written `\.`."""
    return ".".join(name.replace("\\", "\\\\").replace(".", "\\.") for name in path)


def parts(text: str) -> Path:
    r"""The inverse of `dotted`. `\.` is a dot inside a name."""
    found, escaped = [""], False
    for sign in text:
        if escaped or sign not in ".\\":
            found[-1] += sign
            escaped = False
        elif sign == "\\":
            escaped = True
        else:
            found.append("")
    return tuple(found)


_LONGEST = 60
_SECRET_NAME = re.compile(
    r"(password|passwd|passphrase|pwd|token|credentials?|(?<!existing)secret|(api|private|secret|access|signing)[-_]?key|vpn-auth)$",
    re.IGNORECASE,
)
_PROXY_NAME = re.compile(r"(https?|all|ftp)_proxy", re.IGNORECASE)
_SENSITIVE = re.compile(r"pass|pwd|secret|token|key|cred|auth|login|cookie|datastore-endpoint", re.IGNORECASE)
"""Names of variables whose values are not shown; broader than for settings, since users choose them."""
_TOKEN = re.compile(r"[A-Za-z0-9+/_=-]{24,}")
_NAMED = re.compile(r"([^\s=]+)(=|\s+)(.*)", re.DOTALL)


def conceal_values(settings: Settings) -> None:
    """Conceal values with secret names: in the nodes' environment and in arguments, also logins of proxies there; and
    in releases' values and arguments of builds.
    """
    given = [split(text).value.partition("=")[::2] for text in settings.cluster.env]
    args = settings.cluster.args
    if any(texts for _part, texts in args):
        from tasks.settings.k3s_arguments import arguments_of

        parts = [part for part, _texts in args]
        given += [(each.name, each.value or "") for part in parts for each in arguments_of(settings.cluster, part)]
    given += [item for step in settings.steps for item in step.env.items()]
    for name, value in given:
        if _SECRET_NAME.search(name):
            conceal(value)
        elif _PROXY_NAME.search(name):
            conceal_proxy(value)
    for release in settings.helm.releases:
        conceal_named(release.values)
    for build in settings.builds:
        conceal_named(build.args)
    for address in (settings.network.proxy.http, settings.network.proxy.https):
        conceal_proxy(address or "")


def conceal_named(value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Conceal values with secret names within a value, unless they may be common words."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            if isinstance(part, str) and may_be_secret(str(name)):
                conceal_found(part)
            conceal_named(part)
    elif isinstance(value, list | tuple):
        for part in value:
            conceal_named(part)


def masked(path: Path, value: Any) -> Any:  # noqa: ANN401 - any JSON value, and the same kind comes back
    """The value with possible secrets replaced by `***`: values of the nodes' environment, logins in addresses,
    and strings under a name such as `password`. The tree itself contains only the sources of secrets.
    """
    if isinstance(value, dict):
        return {name: masked((*path, name), inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        shown = [masked(path, inner) for inner in value]
        if path[:2] == ("cluster", "args"):  # a flag's value may be the next item
            hide = [False, *(_names_secret(text) and "=" not in str(text) for text in value)]
            shown = [MASK if hidden else text for text, hidden in zip(shown, hide, strict=False)]
        return shown
    if isinstance(value, str) and path[:2] in (("cluster", "env"), ("cluster", "args")):
        found = split(value)
        name, sign, _ = match.groups() if (match := _NAMED.match(found.value)) else ("", "", "")
        if sign and (path[1] == "env" or _names_secret(name)):
            return Filtered(f"{name}{sign}{MASK}", found.filters).text
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return value
    if path[:2] == ("network", "proxy") and isinstance(value, str) and "://" not in value and "@" in value:
        return f"{MASK}@{value.rpartition('@')[2]}"
    if path and _SECRET_NAME.search(path[-1]) and path[0] != "secrets" and value != "":
        return MASK
    return without_logins(value) if isinstance(value, str) else value


def shown_option(text: str) -> str:
    """A `--set path=value` for display: with `***` for a value that may contain a secret."""
    from tasks.core import yaml

    name, _, value = text.partition("=")
    path = parts(name.strip())
    try:
        found = yaml.load(value)
    except yaml.YamlError:
        return f"{name}={MASK}"
    return text if masked(path[:-1], {path[-1]: found}) == {path[-1]: found} else f"{name}={MASK}"


def concealed(name: str, value: str) -> str:
    """A variable's or an argument's value for display: no secret by its name, no login, no token."""
    if _SENSITIVE.search(name) or _TOKEN.fullmatch(value):
        return MASK
    return printable(without_logins(value))


_WORDS = r"(?:password|passwd|passphrase|pwd|token|credentials?|secret|(?:api|private|secret|access|signing)[-_]?key)"
_ASSIGNED = re.compile(
    _WORDS + r"""["']?\s*[:=]\s*["']?[^\s"'{}\[\],]|-----BEGIN [A-Z ]*PRIVATE KEY|\bBearer \S""",
    re.IGNORECASE,
)
"""A line that assigns a secret, by the name before the sign: `--db-password=x`, `"token": "x"`."""
_PUBLIC = re.compile(
    r"(secret|secrets|key|token|credentials?)[-_]?(name|ref|names|refs|path|file|ttl|seconds)$|secrets$|"
    r"^(imagePull|configMap|automountServiceAccount)|^(secret|key)$|publickey$",
    re.IGNORECASE,
)
"""Names with such a word that mean the location of a secret, or its lifetime."""


def may_be_secret(name: str, line: str = "") -> bool:
    """Whether a field's value may be secret by its name, or a line of text by its assignment."""
    if _SECRET_NAME.search(name) and not _PUBLIC.search(name):
        return True
    return bool(line) and _ASSIGNED.search(line) is not None


_VALUE = re.compile(
    rf"""({_WORDS}(?:\\?["']|&\#3[49];)?[ \t]*[:=][ \t]*|--(?:\w[\w-]{{0,40}}-)?{_WORDS}[ \t]+(?!-)|\bBearer )"""
    r"""(?!<set |(?:true|false|null)\b)(\\"(?:\\{3}"|[^"\\\n]|\\[^"])*\\"|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|"""
    r"""(?:[^\s"'{}\[\],\\]|\\[^\s"])+)""",
    re.IGNORECASE,
)
"""`_ASSIGNED` up to the end of the value, also in HTML and after an option.

kubectl prints `<set to the key …>` for a variable from a Secret.
"""
_FORMS = {
    "eyJ": re.compile(r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]+"),  # a JSON Web Token
    "gh": re.compile(r"\bgh[pousr]_\w{20,}|\bgithub_pat_\w{20,}"),
    "glpat-": re.compile(r"\bglpat-[\w-]{16,}"),
    "xox": re.compile(r"\bxox[abprs]-[\w-]{10,}"),
    "AKIA": re.compile(r"\bAKIA[0-9A-Z]{16}\b"),
}
"""Secrets that are recognised by their form, each with a text in it: searching that first is cheap."""
_PRIVATE_KEY = re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----[^-]*")
_PARTS = ("pass", "pwd", "token", "credential", "secret", "key", "bearer")
"""Each line that `_VALUE` may match has one of these: checking them first takes a tenth of the time."""


def without_assigned(text: str) -> str:
    """The text with `***` for assignments to names of secrets, for private keys and well-known tokens."""
    text = _PRIVATE_KEY.sub(rf"-----BEGIN \1-----{MASK}", text)
    for part, form in _FORMS.items():
        text = form.sub(MASK, text) if part in text else text
    lines = text.split("\n")
    for number, low in enumerate(text.lower().split("\n")):
        if any(part in low for part in _PARTS):
            lines[number] = _VALUE.sub(_masked_value, lines[number])
    return "\n".join(lines)


def _masked_value(match: re.Match[str]) -> str:
    """In the quotes of the value, or of its name, so that JSON stays JSON."""
    quote = next((sign for sign in ('\\"', '"', "'") if match[2].startswith(sign)), "")
    named = re.search(r'(\\?")[ \t]*:', match[1])
    quote = quote or (named[1] if named else "")
    return f"{match[1]}{quote}{MASK}{quote}"


def _names_secret(name: object) -> bool:
    return isinstance(name, str) and _SECRET_NAME.search(split(name).value.strip()) is not None


def quoted(path: Path, value: Any) -> str:  # noqa: ANN401 - any JSON value
    """A value in an error: short, on one line, in quotes if it is a string."""
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    if path[-1:] in (("username_env",), ("password_env",)) or _is_source(path):
        return "(not shown)"  # it may be the secret itself
    safe = masked(path, value)
    if isinstance(safe, str):
        text = printable(safe)
        return f"'{text[:_LONGEST]}…'" if len(text) > _LONGEST else f"'{text}'"
    text = as_text(safe)
    return f"{text[:_LONGEST]}…" if len(text) > _LONGEST else text


def _is_source(path: Path) -> bool:
    """Whether the place is a secret's source; by mistake it may contain the secret itself."""
    return (path[:1] == ("secrets",) and "values" in path) or path[2:3] == ("secrets",)


def printable(text: str) -> str:
    """The text on one line, with escapes for control characters and unencodable ones."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def as_text(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """A value in a table: a string unchanged, everything else as JSON."""
    if isinstance(value, str):
        return value if value.strip() == value != "" else json.dumps(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except ValueError:  # a number of thousands of digits
        return "a number that is too large"


_SHOWN = 8
_LIST = "docs/reference/settings.md lists all settings, `invoke config` the effective ones"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One unusable value."""

    origin: Origin
    what: str
    why: str
    fix: str = ""
    enough: bool = False
    """Whether the fix alone is enough."""

    @property
    def line(self) -> str:
        """In one line, among others."""
        rest = self.fix if self.enough else "; ".join(part for part in (self.why, self.fix) if part)
        return f"{self.origin.place}: {self.what}: {rest}"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A violated rule and its place: list items by number."""

    path: tuple[str | int, ...]
    text: str
    """Continues after the path."""
    why: str
    fix: str = ""
    other: tuple[str | int, ...] = ()
    """The second place of a conflict: reported if only that one has been set."""


def refusal(problems: Sequence[Problem]) -> BadInput:
    """One error for all problems; the first few are listed."""
    unique = list(dict.fromkeys(problems))
    first = unique[0]
    if len(unique) == 1:
        what, fix = f"{first.origin.place}: {first.what}", first.fix or f"correct it; {_LIST}"
        return BadInput(printable(what), why=printable(first.why), fix=printable(fix))
    lines = [printable(each.line) for each in unique[:_SHOWN]]
    if len(unique) > _SHOWN:
        lines.append(f"and {len(unique) - _SHOWN} more")
    return BadInput(f"{len(unique)} settings cannot be used", why="\n".join(lines), fix=f"correct them; {_LIST}")


def nearest(name: str, names: Iterable[str], likeness: float = 0.6) -> str | None:
    """The name that was probably intended; `likeness` from 0 to 1, as in difflib."""
    from difflib import get_close_matches

    known = {each.lower(): each for each in names}
    for spelling in (name[:100].lower(), name[:100].lower().replace("-", "_")):
        if found := get_close_matches(spelling, known, n=1, cutoff=likeness):
            return known[found[0]]
    return None


Everywhere = Iterable[tuple[Path, str | None]]
"""All paths of the tree, each with its variable."""


def unknown(origin: Origin, path: Path, siblings: Sequence[str], everywhere: Everywhere = ()) -> Problem:
    """An unknown name, with the one that was probably intended."""
    inside, better = dotted(path[:-1]), _meant(path, siblings, everywhere)
    where = f"'{inside}' has" if inside else "there are"
    return Problem(
        origin=origin,
        what=f"there is no setting '{dotted(path)[:80]}'",
        why=f"{where} {', '.join(siblings)}",
        fix=f"did you mean {better}?" if better else "",
        enough=better is not None,
    )


def _meant(path: Path, siblings: Sequence[str], everywhere: Everywhere) -> str | None:
    """A similar sibling name; else the variable, or the end of another path; else a near match."""
    name, rows = path[-1].replace("-", "_"), [(dotted(each), variable) for each, variable in everywhere]
    if alike := nearest(name, siblings, 0.75):
        return dotted((*path[:-1], alike))
    last = [(text, text.rpartition(".")[2]) for text, _ in rows]
    same = [text for text, variable in rows if variable == name] + [text for text, own in last if own == name]
    same += [text for text, own in last if name in own.split("_")]
    if same:
        beside = f"{dotted(path[:-1])}."
        return next((text for text in same if text.startswith(beside)), same[0])
    if alike := nearest(name, siblings):
        return dotted((*path[:-1], alike))
    return nearest(dotted(path), [text for text, _ in rows])
