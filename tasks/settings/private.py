"""How a value is shown, in tables and in errors: never one that may be a secret."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from tasks.settings.node_filters import Filtered, split
from tasks.settings.origin import Path
from tasks.tools.secret import MASK, conceal, conceal_proxy, without_logins

if TYPE_CHECKING:
    from tasks.settings.tree import Settings

_LONGEST = 60
_SECRET_NAME = re.compile(
    r"(password|passwd|passphrase|pwd|token|credentials?|(?<!existing)secret|(api|private|secret|access|signing)[-_]?key|vpn-auth)$",
    re.IGNORECASE,
)
_PROXY_NAME = re.compile(r"(https?|all|ftp)_proxy", re.IGNORECASE)
_SENSITIVE = re.compile(r"pass|pwd|secret|token|key|cred|auth|login|cookie|datastore-endpoint", re.IGNORECASE)
"""Names of variables whose values are not shown; more than names of settings, since anybody chooses them."""
_TOKEN = re.compile(r"[A-Za-z0-9+/_=-]{24,}")
_NAMED = re.compile(r"([^\s=]+)(=|\s+)(.*)", re.DOTALL)


def conceal_values(settings: Settings) -> None:
    """Conceal what is secret by its name: in the nodes' environment and in arguments; logins of proxies there, too."""
    from tasks.settings.k3s_arguments import arguments_of  # `invoke --list` needs only the rest of this module

    args = settings.cluster.args
    given = [split(text).value.partition("=")[::2] for text in settings.cluster.env]
    given += [
        (each.name, each.value or "")
        for part in type(args).model_fields
        for each in arguments_of(settings.cluster, part)
    ]
    for name, value in given:
        if _SECRET_NAME.search(name):
            conceal(value)
        elif _PROXY_NAME.search(name):
            conceal_proxy(value)
    for address in (settings.network.proxy.http, settings.network.proxy.https):
        conceal_proxy(address or "")


def masked(path: Path, value: Any) -> Any:  # noqa: ANN401 - any JSON value, and the same kind comes back
    """The value with what may be secret replaced by `***`: values of the nodes' environment, logins in addresses,
    and texts under a name such as `password`. The tree itself holds only the sources of secrets.
    """
    if isinstance(value, dict):
        return {name: masked((*path, name), inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        shown = [masked(path, inner) for inner in value]
        if path[:2] == ("cluster", "args"):  # a flag's value may be the next text
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


def concealed(name: str, value: str) -> str:
    """A variable's or an argument's value as it may be shown: no secret by its name, no login, no token."""
    if _SENSITIVE.search(name) or _TOKEN.fullmatch(value):
        return MASK
    return printable(without_logins(value))


def _names_secret(name: object) -> bool:
    return isinstance(name, str) and _SECRET_NAME.search(split(name).value.strip()) is not None


def told(path: Path, value: Any) -> str:  # noqa: ANN401 - any JSON value
    """A value in an error: short, on one line, in quotes where it is a text."""
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    if path[-1:] in (("username_env",), ("password_env",)) or (path[:1] == ("secrets",) and "values" in path):
        return "(not shown)"  # it may be the secret itself
    safe = masked(path, value)
    if isinstance(safe, str):
        text = printable(safe)
        return f"'{text[:_LONGEST]}…'" if len(text) > _LONGEST else f"'{text}'"
    text = as_text(safe)
    return f"{text[:_LONGEST]}…" if len(text) > _LONGEST else text


def printable(text: str) -> str:
    """The text on one line, with escapes for what would move a cursor or cannot be written."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def as_text(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """A value in a table: a text as it is, everything else as JSON writes it."""
    if isinstance(value, str):
        return value if value.strip() == value != "" else json.dumps(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except ValueError:  # a number of thousands of digits
        return "a number that is too large"
