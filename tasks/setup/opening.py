"""Opening an address: proxies, redirects and a mirror's credentials, on top of urllib.

Certificates are always verified, by the authorities of `trust`.
"""

from __future__ import annotations

import base64
import urllib.request
from collections.abc import Mapping
from http.client import HTTPMessage, HTTPResponse
from typing import IO
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit, urlunsplit

from tasks.core import proxies
from tasks.errors import BadInput, LaunchError
from tasks.setup.address import shown
from tasks.setup.trust import trust
from tasks.tools.secret import conceal

Response = HTTPResponse | HTTPError
"""Both have `status`, `headers`, `read1` or `read`, and `close`."""
_AGENT = "openframe-setup"
_PORTS = {"http": 80, "https": 443}
_NAME_ONE = "name one in HTTPS_PROXY, such as http://proxy:3128, or the hosts to be reached without one in NO_PROXY"


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
        urllib.request.HTTPSHandler(context=trust(environ).context),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener


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
        self._read = proxies.read(environ)
        both = {"http": self._read.http, "https": self._read.https}
        # one that cannot be read is still asked for: `proxy_open` says what is wrong with it
        super().__init__({scheme: each.url if each is not None else "http://unread" for scheme, each in both.items()})

    def proxy_open(self, req: urllib.request.Request, proxy: str, type: str) -> object:  # noqa: A002 - urllib's own name
        """None where urllib is to go on as it would without a proxy, or with the one that is set then."""
        there = urlsplit(f"//{req.host}")
        if self._read.excluded.covers(there.hostname or "", there.port or _PORTS.get(type)):
            return None
        fault = self._read.fault(type)
        if fault is not None:
            raise BadInput(f"{fault[0]} names no proxy", why=fault[1], fix=_NAME_ONE)
        chosen = self._read.of(type, there.hostname or "", there.port)
        if chosen is None:
            return None
        if not chosen.web:
            raise BadInput(
                f"the proxy {chosen.shown} is of a kind that is not supported: {chosen.scheme}",
                why="downloads here go through proxies of HTTP only",
                fix=_NAME_ONE,
            )
        return super().proxy_open(req, proxy, type)
