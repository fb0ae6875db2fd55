"""What may be shown of a text: everything shown, logged or recorded passes `redact`, single lines also `clean`."""

import base64
import json
import re
import threading
from urllib.parse import quote, unquote, urlsplit, urlunsplit

MASK = "***"
_SHORTEST = 4
"""Shorter values are not masked: they would mask half of every text, and protect nothing."""
WORTH_HIDING = 8
"""Values that only happen to be stored with secrets are not masked below this length: `admin` and `true` are common."""
_LINE = 16
"""A single line of a value is masked from this length on: shorter ones are common words."""
_LONE = 8
"""A user name without a password may be a token: it is masked as a word from this length on. Shorter ones are names."""
_ADDRESS = re.compile(r"""://((?:[^\s"<>\\/:@,;]*:(?!\d+[,;'`|}])[^\s"<>\\/@]*@)?[^\s"'<>`\\{}|^,;]{1,2000})""")
"""What follows the scheme of an address. The login ends at the last `@` of its host part (RFC 3986, 3.2.1).

Its password may contain characters that end an address elsewhere, but no comma, semicolon or the like after a port.
"""
_PARAMETER = re.compile(
    r"([?&;](?:[\w.-]{0,60}(?:password|passwd|pwd|passphrase|secret|token|credential|(?:api|access)_?key|signature)|sig)=)"
    r"([^\s\"'<>`\\&;,#\]\)}]+)",
    re.IGNORECASE,
)
"""A parameter of an address whose name suggests a secret: `?private_token=…`, `?user=…&password=…`."""
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,20})\Z")
_NAMES_ONLY = frozenset({"ssh", "git+ssh", "ssh+git", "sftp"})
"""Schemes whose user without a password is an account's name, never a token."""
_NO_PASSWORDS = frozenset({"x-oauth-basic", "x-token-auth", "x-access-token", "oauth2", "token"})
"""If the password is one of these, the token is the user name."""
_TOKEN = re.compile(r"gh[a-z]_\w{20,}|github_pat_\w+|glpat-\S+|\S{32,}")

_CONTROL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])")
"""Control sequences as in ECMA-48: CSI, OSC with its terminator, and the two-byte ones."""

_lock = threading.Lock()
_values: tuple[str, ...] = ()
"""The longest first: one value may be part of another."""


def conceal(value: str) -> None:
    """Mask this value in everything that passes `redact` from now on.

    Also its base64, JSON and URL encodings.
    """
    global _values  # noqa: PLW0603 - the one registry of this process; it only grows
    forms = {form for text in (value, value.strip()) for form in _forms(text)}
    forms |= {line for line in value.splitlines() if len(line) > _LINE}
    with _lock:
        found = {*_values, *(form for form in forms if len(form) >= _SHORTEST)}
        _values = tuple(sorted(found, key=lambda form: (-len(form), form)))


def conceal_found(value: str) -> None:
    """Conceal a value found where secrets are stored, unless it may be a common word: `admin`, `postgres`."""
    if len(value) >= WORTH_HIDING and not (value.isalpha() and value.islower()):
        conceal(value)


def conceal_logins(text: str) -> None:
    """Conceal the logins of all addresses in a text, as written and without percent-encoding.

    A password, and with its user name the encoding of Basic authentication; a user name without a password;
    and secrets among parameters.
    """
    if "://" in text and "=" in text:
        for match in _PARAMETER.finditer(text):
            if len(match[2]) >= _LONE and "$" not in match[2] and "{" not in match[2]:
                conceal(match[2])
                conceal(unquote(match[2]))
    if "@" in text:
        for match in _ADDRESS.finditer(text):
            _conceal_login(login_of(match[1]), _scheme(match))


def conceal_proxy(text: str) -> None:
    """Conceal the login of a proxy's address, which may lack its scheme, and has no path: all before its last `@`."""
    _conceal_login(text.rpartition("://")[2].rpartition("@")[0], "http")


def _conceal_login(login: str, scheme: str) -> None:
    user, colon, password = login.partition(":")
    if not login or MASK in login or "${" in login:
        return
    found = [password, login] if colon and password and password not in _NO_PASSWORDS else []
    alone = not found and scheme not in _NAMES_ONLY and len(user) >= _LONE
    if alone or _TOKEN.fullmatch(unquote(user)):
        found.append(user)
    for value in found:
        conceal(value)
        conceal(unquote(value))


def redact(text: str) -> str:
    """The text with every concealed value masked, the longest first, and without the logins of addresses."""
    for value in _values:
        text = text.replace(value, MASK)
    return without_logins(text)


def without_logins(text: str) -> str:
    """The text with `***@` for the login of each address in it, and `***` for secrets among their parameters."""
    if "://" not in text:
        return text
    if "=" in text:
        text = _PARAMETER.sub(rf"\1{MASK}", text)
    if "@" not in text:
        return text
    done, begin = [], 0
    while match := _ADDRESS.search(text, begin):  # one after another: an address may contain another one
        login = login_of(match[1])
        name_alone = ":" not in login and _scheme(match) in _NAMES_ONLY
        shown = login if not login or name_alone or login.endswith(f":{MASK}") else MASK
        done += [text[begin : match.start(1)], shown]
        begin = match.start(1) + len(login)
    return "".join([*done, text[begin:]])


def login_of(rest: str) -> str:
    """The login of an address, given the part after `://`; empty if there is none.

    Also if the password contains a `/`, `?` or `#` that had to be percent-encoded: what follows the colon
    is no port then.
    """
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in host:
        return host.rpartition("@")[0]
    name, _, more = host.partition(":")
    if more and "@" in rest and not more.isdigit() and "[" not in name and "$" not in more:
        return rest.rpartition("@")[0]
    return ""


def bare_address(url: str) -> str:
    """The address without user, password, query and fragment: those of mirrors and redirects contain secrets."""
    try:
        parts = urlsplit(url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    except ValueError:
        return "an address that cannot be read"


def _scheme(match: re.Match[str]) -> str:
    before = _SCHEME.search(match.string, max(0, match.start() - 21), match.start())
    return before[1].lower() if before else ""


def _forms(value: str) -> set[str]:
    raw = value.encode("utf-8", "surrogateescape")
    go = json.dumps(value, ensure_ascii=False)[1:-1]  # Go's encoder also escapes what means something in HTML
    for sign in "<>&":
        go = go.replace(sign, f"\\u{ord(sign):04x}")
    return {
        value,
        go,
        base64.b64encode(raw).decode(),
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        quote(raw, safe=""),
        quote(raw),
    }


def clean(text: str) -> str:
    """One line without control characters: what a program wrote must not move the cursor or forge a line."""
    text = _CONTROL.sub("", text.replace("\t", "  "))
    return "".join(c if c.isprintable() or c == " " else " " for c in text)
