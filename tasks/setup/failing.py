"""What failures of a download mean: whether trying again may help, and what to do."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Mapping
from urllib.error import URLError

from tasks.errors import LaunchError
from tasks.setup.address import shown
from tasks.setup.trust import trust

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that the same request may not meet again (RFC 9110, 6585, 8470)."""
_TIMES = frozenset({9, 10})
"""OpenSSL's codes of a certificate that is not valid yet, and of one that is no more."""
_MIRROR = "set {setting} to a mirror that this machine reaches, or put {program} on the PATH"


class Reach:
    """Of one download: its words for errors. `other` says what can be done instead."""

    def __init__(self, program: str, setting: str) -> None:
        self.other = _MIRROR.format(program=program, setting=setting)

    def refused(self, url: str, status: int) -> LaunchError:
        """The server answered with a status that is no file."""
        why = {
            401: "the server wants to know who asks",
            403: "the server lets nobody, or not you, have it",
            404: "the server has no such file",
            407: "the proxy wants to know who asks",
            429: "the server has had too many requests from this address",
        }.get(status, "")
        if not why:
            kinds = {
                3: "the server sends on without end, or to where nothing can be fetched",
                4: "the server does not take the request",
                5: "the server is in trouble",
            }
            why = kinds.get(status // 100, "that comes with no file")
        return LaunchError(
            f"{shown(url)} answered with status {status}",
            why=why,
            fix=self.other,
            transient=status in _PASSING,
        )

    def broken(self, url: str, error: BaseException, environ: Mapping[str, str] | None = None) -> LaunchError:
        """The line failed: no name, no connection, no trust, or no end. `environ`: what the request was made with."""
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, LaunchError):
            return reason
        if isinstance(reason, ssl.SSLCertVerificationError):
            return self._untrusted(url, reason, environ or {})
        if isinstance(reason, UnicodeError | ValueError | http.client.InvalidURL):
            return LaunchError(
                f"{shown(url)} is no address that can be asked",
                why=type(reason).__name__,  # its text may repeat a password
                fix=self.other,
            )
        if isinstance(reason, socket.gaierror):
            unknown = reason.errno == socket.EAI_NONAME
            return LaunchError(
                f"the name {_host(url)} cannot be resolved",
                why=reason.strerror or str(reason),
                fix=f"look at the network and HTTPS_PROXY; or {self.other}",
                transient=not unknown,
            )
        text = str(reason) or type(reason).__name__
        told = "Tunnel connection failed: 4" in text
        return LaunchError(
            f"the connection to {_host(url)} failed" + (" at the proxy" if told else ""),
            why=text,
            fix=f"look at the network, HTTPS_PROXY and NO_PROXY; or {self.other}",
            transient=not told,
        )

    def _untrusted(self, url: str, error: ssl.SSLCertVerificationError, environ: Mapping[str, str]) -> LaunchError:
        """A certificate that could not be verified: by the time, by the authorities that there are, or by its name."""
        why = getattr(error, "verify_message", "") or str(error)
        what = f"the certificate of {_host(url)} is not trusted"
        if getattr(error, "verify_code", 0) in _TIMES:
            return LaunchError(what, why=why, fix=f"see that this machine's clock is right (`date`); or {self.other}")
        try:
            found = trust(environ)
        except LaunchError as wrong:
            return wrong
        named = found.source or "nothing: Python has no authorities of its own here, and the system shows none"
        return LaunchError(what, why=f"{why}; authorities were read from {named}", fix=f"{found.fix}; or {self.other}")

    def silent(self, url: str, seconds: float) -> LaunchError:
        """Nothing came for too long."""
        return LaunchError(
            f"{_host(url)} has sent nothing for {seconds:g} s",
            why="the server hangs, or something on the way swallows what it sends",
            fix=f"try again: what has come is kept; or {self.other}",
            transient=True,
        )

    def late(self, url: str, seconds: float) -> LaunchError:
        """The deadline passed."""
        return LaunchError(
            f"{shown(url)} did not come within {seconds:g} s",
            why="the deadline of a download has passed (timeouts.pull)",
            fix=f"run it again: it goes on from where it was; or {self.other}",
        )


def _host(url: str) -> str:
    return shown(url).partition("://")[2].partition("/")[0]
