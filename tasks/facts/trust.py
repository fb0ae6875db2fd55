"""Trusted certificate authorities: those named by variables, else this system's, else the bundle of certifi.

Python from python.org on a Mac has none until its script "Install Certificates" has run, and a minimal container has
none at all: then the system's own bundle is searched for in the usual places.
"""

import contextlib
import functools
import re
import ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.core.errors import BadInput

FILES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Variables that name a bundle, in order of precedence (OpenSSL and Go; requests; curl)."""
FOLDERS = "SSL_CERT_DIR"
"""Folders of certificates by their hashes, separated by `:` (OpenSSL, Go)."""
SYSTEM = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""The usual places of system bundles (Go: crypto/x509, root_linux.go); the last one: macOS, Alpine, the BSDs."""
_HASHED = re.compile(r"[0-9a-f]{8}\.\d+")
_STRICT = getattr(ssl, "VERIFY_X509_STRICT", 0)
_BEHIND = "behind a company proxy set SSL_CERT_FILE to a file with its certificate authority in PEM form"
_SCRIPT = f"/Applications/Python {sys.version_info[0]}.{sys.version_info[1]}/Install Certificates.command"
_KEYCHAIN = "`security find-certificate -a -p /Library/Keychains/System.keychain` prints those installed on a Mac"


@dataclass(frozen=True, kw_only=True)
class Trust:
    """The effective authorities."""

    context: ssl.SSLContext
    source: str
    """Their source, for display; empty: there are none."""
    own: bool
    """Whether Python has them itself, or a variable names them."""

    @property
    def fix(self) -> str:
        """Advice for an untrusted certificate."""
        if self.source:
            return _BEHIND + (f" ({_KEYCHAIN})" if sys.platform == "darwin" else "")
        install = f"run `{_SCRIPT}`" if sys.platform == "darwin" else "install the system's package ca-certificates"
        return f"{install}; {_BEHIND}"


def trust(environ: Mapping[str, str]) -> Trust:
    """The authorities for an environment. Raises `BadInput` for a variable without any."""
    return _trust(*((environ.get(name) or "").strip() for name in (*FILES, FOLDERS)))


@functools.cache
def _trust(*given: str) -> Trust:
    """Loading takes 30 ms, so it is cached."""
    *bundles, folders = given
    named = next(((name, value) for name, value in zip(FILES, bundles, strict=True) if value), None)
    if named is not None or folders:
        return _named(named, folders)
    paths = ssl.get_default_verify_paths()
    context, loaded = _first(paths.openssl_cafile, paths.openssl_capath)
    if loaded:
        return Trust(context=context, source=" and ".join(loaded), own=True)
    for path in filter(None, (*SYSTEM, _certifi())):
        context, loaded = _first(path)
        if loaded:
            return Trust(context=context, source=path, own=False)
    return Trust(context=_empty(), source="", own=False)


def _named(named: tuple[str, str] | None, folders: str) -> Trust:
    """As in OpenSSL: a bundle replaces Python's own file, folders its own folder."""
    paths = ssl.get_default_verify_paths()
    chosen: dict[str, str] = {}
    if named is not None:
        chosen[_expanded(named[1])] = named[0]
    elif paths.openssl_cafile:
        chosen[paths.openssl_cafile] = ""
    chosen |= {_expanded(path): FOLDERS for path in folders.split(":") if path} or {paths.openssl_capath: ""}
    context, loaded = _empty(), list[str]()
    for path, name in chosen.items():
        try:
            _load(context, path)
            loaded.append(path)
        except (OSError, ValueError) as error:
            if name in FILES:
                raise _nothing(name, path, error) from None
    if folders and not any(chosen[path] == FOLDERS for path in loaded):
        raise _nothing(FOLDERS, folders, ValueError())
    return Trust(context=context, source=" and ".join(path for path in loaded if chosen[path]), own=True)


def _nothing(name: str, path: str, error: Exception) -> BadInput:
    reason = isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and error.strerror
    return BadInput(
        f"{name} names {path}, which contains no certificate authority",
        why=str(reason) if reason else "it contains no certificate in PEM form",
        fix=f"correct {name}, or unset it: then the authorities of this system are used",
    )


def _first(*paths: str) -> tuple[ssl.SSLContext, list[str]]:
    """A context with the authorities of those paths that have any, and these paths."""
    context, loaded = _empty(), []
    for path in paths:
        try:
            _load(context, path)
            loaded.append(path)
        except (OSError, ValueError):
            continue
    return context, loaded


def _empty() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # it verifies certificates and names
    # Python 3.13 rejects authorities that lack fields required by RFC 5280; companies' do, and curl and Go accept them
    context.verify_flags &= ~_STRICT
    return context


def _load(context: ssl.SSLContext, path: str) -> None:
    """Trust the certificates of a bundle or a folder. Raises OSError, or ValueError if there are none."""
    if not Path(path).is_dir():
        before = context.cert_store_stats()["x509"]
        context.load_verify_locations(cafile=path)
        if context.cert_store_stats()["x509"] == before and not _marked(path):
            raise ValueError("no certificate")
        return
    files = sorted(Path(path).iterdir())
    if any(_HASHED.fullmatch(each.name) for each in files):
        context.load_verify_locations(capath=path)
        return
    loaded = False
    for each in files:  # OpenSSL reads only files named by hash, Go reads all
        if each.is_file() and _marked(str(each)):
            context.load_verify_locations(cafile=str(each))
            loaded = True
    if not loaded:
        raise ValueError("no certificate")


def _marked(path: str) -> bool:
    return b"-----BEGIN CERTIFICATE-----" in Path(path).read_bytes()


def _expanded(path: str) -> str:
    with contextlib.suppress(RuntimeError):  # there is no such user: it is reported as missing
        return str(Path(path).expanduser())
    return path


def _certifi() -> str:
    try:
        import certifi
    except ImportError:
        return ""
    return certifi.where()
