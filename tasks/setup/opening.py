"""Opening an address: proxies, redirects and a mirror's credentials, on top of urllib.

Certificates are always verified; who has an authority of their own names it in SSL_CERT_FILE (OpenSSL).
"""

from __future__ import annotations

import base64
import functools
import ssl
import urllib.request
from collections.abc import Mapping
from http.client import HTTPMessage, HTTPResponse
from typing import IO
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit, urlunsplit

from tasks.errors import BadInput, LaunchError
from tasks.setup.address import shown
from tasks.tools.secret import conceal

Response = HTTPResponse | HTTPError
"""Both have `status`, `headers`, `read1` or `read`, and `close`."""
_AGENT = "openframe-setup"


def open_address(
    url: str, headers: Mapping[str, str], environ: Mapping[str, str], patience: float, method: str = "GET"
) -> Response:
    """The answer, whatever its status. `patience`: seconds for connecting and for each read.

    Raises `LaunchError` for what is refused here, OSError and http.client.HTTPException for what fails.
    """
    try:
        response: Response = _opener(environ).open(_request(url, headers, method), timeout=patience)
    except HTTPError as error:
        return error
    return response


def _request(url: str, headers: Mapping[str, str], method: str) -> urllib.request.Request:
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(  # noqa: S310 - the opener below knows http and https only
        urlunsplit(parts._replace(netloc=host)), headers={"User-Agent": _AGENT, **headers}, method=method
    )
    if user:
        name, _, password = user.partition(":")
        if password:
            conceal(unquote(password))
        token = base64.b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()
        # "unredirected": a mirror's credentials are not for the host that it sends us to
        request.add_unredirected_header("Authorization", f"Basic {token}")
    return request


def _opener(environ: Mapping[str, str]) -> urllib.request.OpenerDirector:
    """Without urllib's handlers for files and FTP: no redirect can lead there."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        _Proxies(environ),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=_trust()),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener


@functools.cache
def _trust() -> ssl.SSLContext:
    """The system's authorities; reading them costs 30 ms, so once."""
    return ssl.create_default_context()


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to other hosts (GitHub's downloads lie elsewhere), but never from https to http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if old.scheme == "https" and new.scheme != "https":
            raise LaunchError(
                f"{shown(req.full_url)} sends on to {shown(newurl)}, without encryption",
                why="whoever is on the line could hand out another program with another checksum",
                fix="use a mirror that stays with https",
            )
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is None:
            return None
        following.remove_header("Proxy-authorization")  # set again where the next host is asked through the proxy
        authorization = req.unredirected_hdrs.get("Authorization")
        if authorization and (old.scheme, old.netloc) == (new.scheme, new.netloc):
            following.add_unredirected_header("Authorization", authorization)
        return following


class _Proxies(urllib.request.ProxyHandler):
    """The proxies that the given environment names; urllib's own handler looks at this process's."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._no = _variable(environ, "no_proxy")
        every = _variable(environ, "all_proxy")
        named = {scheme: _variable(environ, f"{scheme}_proxy") or every for scheme in ("http", "https")}
        super().__init__({scheme: proxy for scheme, proxy in named.items() if proxy})

    def proxy_open(self, req: urllib.request.Request, proxy: str, type: str) -> object:  # noqa: A002 - urllib's own name
        """None where urllib is to go on as it would without a proxy, or with the one that is set then."""
        bypass = urllib.request.proxy_bypass_environment  # type: ignore[attr-defined]  # not in typeshed
        if req.host and bypass(req.host, {"no": self._no}):
            return None
        scheme, there, _ = proxy.partition("://")
        if there and scheme.lower() not in ("http", "https"):
            raise BadInput(
                f"the proxy {shown(proxy)} is of a kind that is not supported: {scheme}",
                why="downloads here go through proxies of HTTP only",
                fix="name one in HTTPS_PROXY, or the hosts to be reached without one in NO_PROXY",
            )
        return super().proxy_open(req, proxy, type)


def _variable(environ: Mapping[str, str], name: str) -> str:
    """Lower case first, as curl does. HTTP_PROXY is not read in a CGI script, where a client could set it."""
    if name in environ:
        return environ[name]
    if name == "http_proxy" and "REQUEST_METHOD" in environ:
        return ""
    return environ.get(name.upper(), "")
