"""Proxy variables: one parser for checks, downloads, and started programs.

How other programs read them: Go (golang.org/x/net/http/httpproxy: docker, k3d, kubectl, helm, k3s) splits NO_PROXY at
commas only, reads upper case before lower case, and no ALL_PROXY; curl splits it at commas and blanks, supports
networks since 7.86, and reads lower case first; Python's urllib does not support networks. Here commas, blanks, `;` and
line ends separate entries, and lower case takes precedence. Programs get NO_PROXY in the form that all of them read
alike.
"""

import functools
import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
NO_PROXY = "NO_PROXY"
LOOPBACK = ("localhost", "127.0.0.0/8", "::1")
_PORTS = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}
"""Proxy schemes that some program supports, and the default port of each."""
_HOST = re.compile(r"[^\W_](?:[\w-]*\w)?(?:\.[^\W_](?:[\w-]*\w)?)*", re.UNICODE)
_GO = re.compile(r"[^\s;]*")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """The address of a proxy."""

    scheme: str
    host: str
    """Lower case; an IPv6 address without brackets."""
    port: int
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def shown(self) -> str:
        """The address for display: `***@` in place of a login."""
        return f"{self.scheme}://{'***@' if self.user or self.password else ''}{self.place}"

    @property
    def url(self) -> str:
        """The address with its login, in the form that every program reads."""
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@" if self.user or self.password else ""
        return f"{self.scheme}://{login}{self.place}"

    @property
    def place(self) -> str:
        """Host and port."""
        return f"{bracketed(self.host)}:{self.port}"

    @property
    def web(self) -> bool:
        """Whether it is an HTTP proxy, not SOCKS."""
        return self.scheme in ("http", "https")

    @property
    def loopback(self) -> bool:
        """Whether it is on loopback, which in a container means the container itself."""
        found = address(self.host)
        return self.host == "localhost" or (found is not None and found.is_loopback)


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """One host, address or network; `port` None: any port."""

    text: str
    """In the form that every program reads alike."""
    network: Network | None = None
    domain: str = ""
    port: int | None = None

    def covers(self, host: str, port: int | None) -> bool:
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            found = address(host)
            return found is not None and found.version == self.network.version and found in self.network
        return f".{host}".endswith(f".{self.domain}")


@dataclass(frozen=True, kw_only=True)
class Excluded:
    """Hosts that are contacted without a proxy."""

    entries: tuple[_Entry, ...] = ()
    everything: bool = False
    unread: tuple[str, ...] = ()
    """Entries that are no host, address or network; they are ignored."""
    plain: bool = True
    """Written for programs in Go: separated by commas only, networks with a prefix and without a port."""

    @property
    def text(self) -> str:
        """The entries in the form that all programs read alike."""
        return "*" if self.everything else ",".join(dict.fromkeys(entry.text for entry in self.entries))

    def covers(self, host: str, port: int | None = None) -> bool:
        """Whether a host (without brackets) is contacted without a proxy; without a port: at every port."""
        name = host.strip("[]").rstrip(".").lower()
        return self.everything or any(entry.covers(name, port) for entry in self.entries)


@dataclass(frozen=True, kw_only=True)
class Proxies:
    """The proxies in the variables of an environment."""

    http: Proxy | None = None
    """For http:// addresses."""
    https: Proxy | None = None
    excluded: Excluded = Excluded()
    named: tuple[str, ...] = ()
    """Variables that name a proxy, in upper case, valid or not."""
    faults: Mapping[str, str] = field(default_factory=dict)
    """By variable what is wrong with a proxy's address, without its login."""

    def of(self, scheme: str, host: str, port: int | None = None) -> Proxy | None:
        """The proxy for a host; None: no proxy."""
        chosen = self.https if scheme == "https" else self.http
        return None if chosen is None or self.excluded.covers(host, port) else chosen

    def fault(self, scheme: str) -> tuple[str, str] | None:
        """The variable whose proxy for such addresses is invalid, and what is wrong with it."""
        for name in (f"{scheme.upper()}_PROXY", "ALL_PROXY"):
            if name in self.named:
                return (name, self.faults[name]) if name in self.faults else None
        return None


def read(environ: Mapping[str, str]) -> Proxies:
    """The proxies of an environment. Invalid values are among `faults` and `unread`."""
    given = {name: value for name in VARIABLES if (value := variable(environ, name))}
    found: dict[str, Proxy] = {}
    faults: dict[str, str] = {}
    for name, value in given.items():
        try:
            found[name] = proxy(value)
        except ValueError as error:
            faults[name] = str(error)
    every = found.get("ALL_PROXY")
    return Proxies(
        http=found.get("HTTP_PROXY") if "HTTP_PROXY" in given else every,
        https=found.get("HTTPS_PROXY") if "HTTPS_PROXY" in given else every,
        excluded=no_proxy(variable(environ, NO_PROXY)),
        named=tuple(given),
        faults=faults,
    )


def variable(environ: Mapping[str, str], name: str) -> str:
    """A proxy variable, lower case first, like curl; without surrounding blanks and quotes.

    HTTP_PROXY is ignored in a CGI script, where a client could set it.
    """
    if name.lower() in environ:
        return _bare(environ[name.lower()])
    if name == "HTTP_PROXY" and "REQUEST_METHOD" in environ:
        return ""
    return _bare(environ.get(name, ""))


def proxy(text: str) -> Proxy:
    """Parse a proxy's address, which may lack its scheme (http then). Raises ValueError, without the login."""
    text = _bare(text)
    scheme, there, rest = text.partition("://")
    scheme, rest = (scheme.lower(), rest) if there else ("http", text)
    if scheme not in _PORTS:
        raise ValueError(f"'{scheme[:20]}' is not a proxy scheme; supported are {', '.join(_PORTS)}")
    login, _, place = rest.rpartition("@")  # there is no path: all before the last @ is the login
    place = re.split(r"[/?#]", place, maxsplit=1)[0]
    user, _, password = login.partition(":")
    host, port = _parted(place.lower())
    if host is None or not (_HOST.fullmatch(host) or address(host)):
        shown = f"{scheme}://{'***@' if login else ''}{place}"
        raise ValueError(f"'{shown[:80]}' has no host and port: a proxy is written http://host:port")
    return Proxy(
        scheme=scheme,
        host=host,
        port=_PORTS[scheme] if port is None else port,
        user=unquote(user),
        password=unquote(password),
    )


@functools.lru_cache(maxsize=64)
def no_proxy(text: str) -> Excluded:
    """Parse NO_PROXY as users write it: commas, blanks, `;`, line ends; names, addresses, networks, ports."""
    entries: list[_Entry] = []
    unread: list[str] = []
    words = parted(text)
    for word in words:
        entry = _entry(word.lower()) if word != "*" else None
        if entry is not None:
            entries.append(entry)
        elif word != "*":
            unread.append(word)
    parts = [part.strip() for part in text.split(",")]
    plain = all(_GO.fullmatch(part) for part in parts) and not any(":" in word.partition("/")[2] for word in words)
    return Excluded(entries=tuple(entries), everything="*" in words, unread=tuple(unread), plain=plain)


def parted(text: str) -> tuple[str, ...]:
    """The entries of a NO_PROXY."""
    return tuple(filter(None, map(_bare, re.split(r"[\s,;]+", _bare(text)))))


def for_programs(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables that must change so that every program reads what is read here.

    NO_PROXY separated by commas; if both spellings of a variable differ, both get the value that takes precedence.
    """
    changed: dict[str, str] = {}
    for name in (*VARIABLES, NO_PROXY):
        spelled = [each for each in (name, name.lower()) if each in environ]
        wanted = variable(environ, name)
        if name == NO_PROXY:
            excluded = no_proxy(wanted)
            wanted = ",".join(filter(None, [excluded.text, *excluded.unread]))
        changed.update({each: wanted for each in spelled if environ[each] != wanted})
    return changed


def differing(environ: Mapping[str, str]) -> Iterator[str]:
    """Variables whose two spellings differ: programs in Go read upper case first, curl lower case."""
    for name in (*VARIABLES, NO_PROXY):
        lower, upper = environ.get(name.lower()), environ.get(name)
        if lower is not None and upper is not None and _bare(lower) != _bare(upper):
            yield name


def address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An IP address; an IPv4-mapped IPv6 address becomes IPv4. None for a name."""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, ipaddress.IPv6Address) else found


def bracketed(host: str) -> str:
    """A host in front of a port: an IPv6 address gets brackets."""
    return f"[{host}]" if ":" in host else host


def _bare(text: str) -> str:
    """Without surrounding blanks, line ends and quotes, which env files leave there."""
    return text.strip().strip("\"'").strip()


def _entry(word: str) -> _Entry | None:
    """One entry, in lower case. None if it is invalid: an address with a scheme, `10.0.0.0/`, `10.0.0.1-9`."""
    if "/" in word:
        return _network(word)
    host, port = _parted(word)
    if host is None:
        return None
    ending = "" if port is None else f":{port}"
    found = address(host)
    if found is not None:
        text = f"{bracketed(str(found)) if ending else found}{ending}"
        return _Entry(text=text, network=ipaddress.ip_network(found), port=port)
    domain = host.removeprefix("*").removeprefix(".").rstrip(".")
    if host.startswith("*") and not host.startswith("*."):
        return None
    if domain.rpartition(".")[2].isdigit() or not _HOST.fullmatch(domain):  # no name ends in a number (RFC 3696, 2)
        return None
    return _Entry(text=f"{domain}{ending}", domain=domain, port=port)


def _network(word: str) -> _Entry | None:
    """`10.0.0.0/8`, optionally with a port, or in brackets; host bits may be set, the prefix may be a mask."""
    head, _, prefix = word.partition("/")
    prefix, colon, port = prefix.partition(":")
    if colon and not _is_port(port):
        return None
    if head.startswith("[") and head.endswith("]"):
        head = head[1:-1]
    try:
        network = ipaddress.ip_network(f"{head}/{prefix.rstrip(']')}", strict=False) if prefix else None
    except ValueError:
        network = None
    if network is None:
        return None
    return _Entry(text=str(network), network=network, port=int(port) if colon else None)


def _parted(text: str) -> tuple[str | None, int | None]:
    """Host and port of `host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address; no host if it is invalid."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")) or address(host) is None:
            return None, None
        port = rest[1:] if rest else None
    elif address(text) is not None:
        return text, None
    else:
        host, colon, after = text.partition(":")
        port = after if colon else None
    if not host or (port is not None and not _is_port(port)):
        return None, None
    return host, int(port) if port is not None else None


def _is_port(text: str) -> bool:
    return text.isdecimal() and text.isascii() and 0 < int(text[:6]) < 65536 and len(text) < 7
