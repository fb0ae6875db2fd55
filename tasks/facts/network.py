"""Network access of caches and nodes: their proxies, and the certificate authorities that they trust.

Their programs are written in Go: they read HTTP_PROXY, HTTPS_PROXY and NO_PROXY, and trust every PEM file in
/etc/ssl/certs beside the bundle of their image (Go: crypto/x509, root_linux.go; k3s: "Configuring an HTTP proxy").
"""

import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path

from tasks.core.errors import BadInput
from tasks.facts.facts import Network
from tasks.facts.trust import FILES
from tasks.settings.schema import Settings

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\s.*?-----END CERTIFICATE-----", re.DOTALL)
_DER = b"\x30\x82"
"""The beginning of a binary certificate (X.690: a sequence of more than 255 bytes)."""


def network(settings: Settings, environ: Mapping[str, str], root: Path) -> Network:
    """As configured; unset values come from the environment if that is configured.

    Raises `BadInput` for files without certificates, and for a proxy that a container cannot reach.
    """
    given = settings.network
    if given.from_environment is False and not (given.ca or given.proxy.http or given.proxy.https):
        return Network()
    found = proxies(settings, environ)
    files = [(name, "network.ca") for name in given.ca]
    if not files and given.from_environment:
        files = [(value, name) for name in FILES if (value := environ.get(name, "").strip())][:1]
    certificates = [each for name, place in files for each in _certificates(root, name, place)]
    text = "".join(f"{each}\n" for each in dict.fromkeys(certificates))
    return Network(http=found.http, https=found.https, direct=found.direct, authorities=text)


def proxies(settings: Settings, environ: Mapping[str, str]) -> Network:
    """Only the proxies. Raises `BadInput` for one that a container cannot reach, or that is invalid."""
    from tasks.core.proxies import no_proxy, proxy, read  # 6 ms, and most launches have none

    given = settings.network.proxy
    there = read(environ if settings.network.from_environment else {})
    for name, fault in there.faults.items():
        if getattr(given, name.partition("_")[0].lower(), None) is None:
            raise BadInput(f"{name} names no proxy", why=fault, fix=f"correct it, unset it, or {_SET}")
    chosen = {}
    for scheme, written, inherited in (("http", given.http, there.http), ("https", given.https, there.https)):
        found = proxy(written) if written is not None else inherited
        if found is not None and found.loopback:
            raise BadInput(
                f"caches and nodes cannot reach the proxy {found.shown}",
                why="in a container, loopback means the container itself",
                fix=f"let the proxy listen on Docker's bridge, too (usually 172.17.0.1), and {_SET}",
            )
        chosen[scheme] = found
    read_direct = no_proxy(",".join(given.no_proxy)) if given.no_proxy else there.excluded
    direct = ("*",) if read_direct.everything else tuple(filter(None, read_direct.text.split(",")))
    return Network(http=chosen["http"], https=chosen["https"], direct=direct)


_SET = "set it in network.proxy.http and network.proxy.https"


def _certificates(root: Path, name: str, place: str) -> list[str]:
    """The certificates of a file, in PEM form. Raises `BadInput`; other content of the file is ignored."""
    fix = f"correct {place}: a file of certificates in PEM or DER form, such as company-ca.crt"
    try:
        data = _content(root / Path(name).expanduser())
    except (OSError, RuntimeError, ValueError) as error:
        why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise BadInput(f"{place} names {name}, which cannot be read", why=why, fix=fix) from None
    text = ssl.DER_cert_to_PEM_cert(data) if data.startswith(_DER) else data.decode("utf-8", "replace")
    found = [re.sub(r"\r\n?", "\n", each) for each in _CERTIFICATE.findall(text)]
    try:
        if not found:
            raise ValueError("it contains no certificate")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata="\n".join(found))
    except (ssl.SSLError, ValueError) as error:
        why = "a certificate in it cannot be read" if isinstance(error, ssl.SSLError) else str(error)
        raise BadInput(f"{place} names {name}, which contains no certificate authority", why=why, fix=fix) from None
    return found


def _content(path: Path) -> bytes:
    """The content of a file, or of all files of a folder."""
    if not path.is_dir():
        return path.read_bytes()
    return b"".join(each.read_bytes() for each in sorted(path.iterdir()) if each.is_file())
