"""Valid spellings of single values: booleans, numbers, sizes and lists of words."""

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path

from tasks.core.redact import login_of
from tasks.core.units import GIB, MIB, memory_bytes
from tasks.settings.node_filters import fault, split

_TRUE = frozenset({"true", "yes", "on", "1", "y", "t"})
_FALSE = frozenset({"false", "no", "off", "0", "n", "f"})
_WHOLE = re.compile(r"[-+]?[0-9]{1,18}(\.0{1,18})?")
_NUMBER = re.compile(r"[-+]?([0-9]{1,18}(\.[0-9]{0,18})?|\.[0-9]{1,18})")
_AMOUNT = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|h|m|s)")
_DURATION = re.compile(rf"(?:{_AMOUNT.pattern})+")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_LEAST, _MOST = 6 * MIB, 64 * 1024 * GIB


def as_bool(value: object) -> object:
    """True and false in any of their usual spellings. Raises ValueError for anything else."""
    text = str(value).strip().lower() if isinstance(value, str | bool) or value in (0, 1) else ""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("must be true or false (also yes/no, on/off, 1/0)")


def as_whole(value: object) -> object:
    """A whole number, also as a string of digits; not true, which Python equates with 1.

    Raises ValueError without a text: the caller reports it with the range.
    """
    text = str(value) if isinstance(value, bool | str) else None
    if text is None:
        return value
    if not _WHOLE.fullmatch(text.strip()):
        raise ValueError
    return int(text.strip().partition(".")[0])


def as_number(value: object) -> object:
    """A number in the usual notation, without exponent, `nan` or `inf`. Raises ValueError without a text."""
    text = str(value) if isinstance(value, bool | str) else None
    if text is None:
        return value
    if not _NUMBER.fullmatch(text.strip()):
        raise ValueError
    return float(text)


def as_seconds(value: object) -> object:
    """A number of seconds, also as a duration in Go's notation, which Helm and kubectl take: 5m, 1h30m, 90s."""
    text = value.strip() if isinstance(value, str) else ""
    if not _DURATION.fullmatch(text):
        return as_number(value)
    return sum(float(number) * _UNITS[unit] for number, unit in _AMOUNT.findall(text))


def as_memory(value: object) -> object:
    """A valid size: Docker, and so k3d, rejects less than 6 MiB. Raises ValueError."""
    if isinstance(value, str):
        text = value.strip()
    elif isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**63:
        text = f"{value:.15g}"
    else:
        raise ValueError("must be a size such as 512M or 1.5G (2G is 2 GiB)")
    if not _LEAST <= memory_bytes(text) <= _MOST:
        raise ValueError("must be at least 6M (Docker rejects less) and at most 64T")
    return text


def as_amount(value: object) -> object:
    """A string; in YAML a quantity such as 2 is a number."""
    return (
        str(value) if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**63 else value
    )


def amount(value: str) -> str:
    """A Kubernetes quantity. Raises ValueError."""
    from tasks.core.units import quantity

    number = quantity(value)
    if number is None or not 0 <= number < 2**63:
        raise ValueError("must be an amount such as 500m, 2, 512Mi or 16Gi")
    return value


def as_choice(value: object) -> object:
    """One of several words: to YAML, `off` without quotes is false."""
    return "off" if value is False else value


def as_words(value: object) -> object:
    """A list, or one string with blanks (or commas) between the words."""
    if isinstance(value, str):
        return tuple(word for word in re.split(r"[\s,]+", value) if word)
    return value


def as_texts(value: object) -> object:
    """A list, or one string as the only item."""
    return (value,) if isinstance(value, str) else value


def as_scalar(value: object) -> object:
    """A string, also for a YAML number or boolean: variables are always strings."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) and abs(value) < 2**63 else value


PORT_SUFFIXES = ("direct", "proxy")
"""Suffixes after the nodes of a port: on the node itself, or through the load balancer."""
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*")
_HOST_PORT = re.compile(r"([a-z0-9.-]+)(?::([0-9]{1,5}))?")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]*")
_IMAGE_REPOSITORY = re.compile(
    r"(?:(?=[^/]*[.:]|localhost/)[A-Za-z0-9.-]+(?::[0-9]{1,5})?/)?[a-z0-9]+(?:(?:\.|__?|-+|/)[a-z0-9]+)*"
)
_URL = re.compile(r"https?://(?:[^\s/@]*@)?[A-Za-z0-9\[][^\s/@]*(/\S*)?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TOKEN = re.compile(r"gh[a-z]_[A-Za-z0-9]{20,}|github_pat_\w+|glpat\w+")
_LABEL_NAME = re.compile(r"(?=.{1,63}\Z)[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_PORT = re.compile(
    r"(?:(?:(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|\[[0-9a-fA-F:]+\]):)?([0-9]{1,5})(?:-([0-9]{1,5}))?:)?"
    r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(?:tcp|udp|sctp))?"
)
SYSTEM_NAMESPACES = frozenset({"kube-system", "kube-public", "kube-node-lease"})


def _like(pattern: re.Pattern[str] | str, must: str) -> Callable[[str], str]:
    """A check that the whole string matches. It raises ValueError."""
    known = re.compile(pattern)

    def check(value: str) -> str:
        if not known.fullmatch(value):
            raise ValueError(must)
        return value

    return check


dns_label = _like(
    r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?",
    "must consist of a-z, 0-9 and -, begin and end with a letter or digit, at most 63 long",
)
"""A name valid in Kubernetes and in Docker's network names (RFC 1123 label)."""
host = _like(_HOST, "must be a DNS name in lower case, such as localhost or dev.example.com")
"""A DNS name in lower case, as required by an Ingress (RFC 1123 subdomain)."""
owner = _like(
    r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}", "must be 1 to 63 letters, digits, -, _, . and @, the first a letter or digit"
)
"""The owner of a cluster, as a label's value."""
repository = _like(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", "must be a repository's name of letters, digits, -, _ and .")
"""The name of a chart repository: the part before the slash of repository/chart."""
platform = _like(r"[a-z0-9]+/[a-z0-9_]+(/[a-z0-9]+)?", "must be one platform such as linux/amd64 or linux/arm64")
"""An operating system and an architecture, optionally with a variant, in image notation. Never a list."""
secret_id = _like(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", "must consist of letters, digits, -, _ and .")
"""The id of a secret in a Dockerfile: it must not contain another field of docker's option."""
kubernetes_version = _like(
    r"v?1\.[0-9]{1,3}\.[0-9]{1,3}(-rc[0-9]{1,2})?([+-]k3s[0-9]{1,2})?",
    "must be a full version such as v1.35.5 or v1.35.5-k3s1",
)
"""A version that names a k3s image."""
label_value = _like(
    r"(?=.{0,63}\Z)([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?",
    "must consist of letters, digits, -, _ and ., at most 63 long",
)
"""A valid label value in Kubernetes."""


def one_line(value: str) -> str:
    """A non-empty string of one line without control characters."""
    if not value.strip():
        raise ValueError("must not be empty")
    if not value.isprintable():
        raise ValueError("must be one line without control characters")
    return value


def argument(value: str) -> str:
    """A program's argument: without NUL, which is impossible there."""
    if "\0" in value:
        raise ValueError("must not contain a NUL character")
    return value


def folder(value: str) -> str:
    """A folder's path; `~` is the user's home, `~user` that of another one."""
    if value != "~" and not (value.startswith("~") and "/" in value):
        return value
    try:
        return str(Path(value).expanduser())
    except RuntimeError:
        raise ValueError("must not begin with ~: there is no home folder of that user") from None


def file(value: str) -> str:
    """A file's absolute path, since root may change the file; `~` is the user's home."""
    path = folder(value)
    if not path.startswith("/") or path.endswith("/"):
        raise ValueError("must be a file's whole path, such as /etc/docker/daemon.json")
    return path


def release_name(value: str) -> str:
    """A valid release name in Helm: a DNS name of at most 53 characters (source: helm, chartutil/validate_name)."""
    if len(value) > 53 or not _HOST.fullmatch(value):
        raise ValueError("must consist of a-z, 0-9, - and ., begin and end with a letter or digit, at most 53 long")
    return value


def own_namespace(value: str) -> str:
    """Not one of Kubernetes' own: this project's quotas and policies would stop the system's pods there."""
    if value in SYSTEM_NAMESPACES:
        raise ValueError("must not be one of Kubernetes' own: quotas and policies would stop the system's pods there")
    return value


def ipv4(value: str) -> str:
    """An address that ports can be bound to. k3d's port mappings use IPv4 here."""
    try:
        address = ipaddress.IPv4Address(value.strip())
    except ValueError:
        raise ValueError("must be an IPv4 address such as 127.0.0.1, or 0.0.0.0 for all") from None
    if address.is_multicast or address.is_reserved:
        raise ValueError("must be an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all")
    return str(address)


def subnet(value: str) -> str:
    """A network that Docker can create, or `auto` for k3d's own choice."""
    if value == "auto":
        return value
    try:
        return str(ipaddress.ip_network(value))
    except ValueError:
        raise ValueError("must be a network such as 172.28.0.0/16 (no host bits set), or auto") from None


def image(value: str) -> str:
    """An image reference. Never an option of docker."""
    if not _IMAGE.fullmatch(value) or len(value) > 500:
        raise ValueError("must be an image such as docker.io/rancher/k3s:v1.35.5-k3s1")
    return value


def node_image(value: str) -> str:
    """The image of nodes: not one of the words that k3d replaces by a version of its own choice (k3d: `--image`)."""
    if value in ("latest", "stable"):
        raise ValueError("must be an image such as rancher/k3s:v1.35.5-k3s1, or null for cluster.kubernetes_version")
    return image(value)


def secret_type(value: object) -> object:
    """The type of a Secret, with or without the prefix that Kubernetes' own ones have."""
    return value.removeprefix("kubernetes.io/") if isinstance(value, str) else value


def image_repository(value: str) -> str:
    """An image without a tag: optionally a registry, then a path in lower case (distribution: `reference`)."""
    match = _IMAGE_REPOSITORY.fullmatch(value)
    if match is None or len(value) > 200:
        raise ValueError("must be an image without a tag, in lower case, such as shop/api or ghcr.io/me/api")
    return value


def registry_host(value: str) -> str:
    """A registry in an image reference: a name and optionally a port, no scheme and no path."""
    match = _HOST_PORT.fullmatch(value)
    if match is None or not _HOST.fullmatch(match[1]) or int(match[2] or 1) not in range(1, 65536):
        raise ValueError("must be a registry's name such as docker.io or registry.example.com:5000, without https://")
    return value


def http_url(value: str) -> str:
    """An address of a server."""
    if any(sign in login_of(value.partition("://")[2]) for sign in "/?#@"):
        raise ValueError("must have no / ? # or @ in its login: write them as %2F %3F %23 %40")
    if not _URL.fullmatch(value) or not value.isprintable():
        raise ValueError("must be an address that starts with http:// or https://")
    return value


def public_url(value: str) -> str:
    """An address without a login, which would be visible in `docker inspect`."""
    if "@" in http_url(value).split("/")[2]:
        raise ValueError("must contain no login: set the variables that have it (username_env, password_env)")
    return value


def proxy(value: str) -> str:
    """The address of a proxy."""
    from tasks.core import proxies  # 6 ms

    try:
        proxies.proxy(value)
    except ValueError as error:
        raise ValueError(f"must be a proxy's address such as http://proxy:3128: {error}") from None
    return value


def hosts(value: object) -> object:
    """A list, or one string in the format of NO_PROXY."""
    if not isinstance(value, str):
        return value
    from tasks.core import proxies  # 6 ms

    return proxies.parted(value)


def excluded(value: str) -> str:
    """An entry of NO_PROXY: a host, an address or a network that is contacted without a proxy."""
    from tasks.core import proxies

    found = proxies.no_proxy(value)
    if found.unread or not found.text or re.search(r"[\s,;]", value):
        raise ValueError("must be a name, an address, a network such as 10.0.0.0/8, or * for all")
    return value


def variable(value: str) -> str:
    """The name of an environment variable; a token in its place is a common mistake."""
    if not _VARIABLE.fullmatch(value) or _TOKEN.fullmatch(value):
        raise ValueError("must be the name of a variable, such as GITHUB_TOKEN_CLASSIC, never the secret itself")
    return value


def label_key(value: str) -> str:
    """A valid label key in Kubernetes: optionally a DNS name and a slash, then a name."""
    prefix, slash, name = value.rpartition("/")
    if not _LABEL_NAME.fullmatch(name) or (slash and not _HOST.fullmatch(prefix)):
        raise ValueError("must be a label such as role or example.com/role")
    return value


def port_mapping(value: str) -> str:
    """A port in k3d's format (docs: k3d, exposing services)."""
    match = _PORT.fullmatch(split(value).value)
    if (
        match is None
        or fault(value, PORT_SUFFIXES)
        or any(int(text) not in range(65536) for text in match.groups() if text)
    ):
        raise ValueError("must be written as k3d does, such as 30000:30000@server:0:direct")
    return value


def host_ports(mapping: str) -> range:
    """The host's ports of a mapping; empty if k3d chooses one."""
    match = _PORT.fullmatch(split(mapping).value)
    if match is None or match[1] is None or match[1] == "0":
        return range(0)
    return range(int(match[1]), int(match[2] or match[1]) + 1)
