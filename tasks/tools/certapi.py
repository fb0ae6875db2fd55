"""The Kubernetes API without a process: reads by HTTPS with the admin's certificate.

A kubectl that only reads costs 0.05 to 0.1 s of a processor (measured); a launch asks hundreds of times.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import ssl
import tempfile
import weakref
from collections import deque
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tasks.tools.kubeapi import ApiError, Credentials, content

_TIMEOUT = 5.0
"""Seconds for one answer of an API on this machine."""
_KEPT = 8
"""Connections that are kept while nobody uses them."""


class CertApi:
    """Reads with a client certificate, by connections that are kept; never by a proxy. Thread-safe.

    Raises `ValueError` or `ssl.SSLError` for certificates that cannot be used.
    """

    def __init__(self, access: Credentials, timeout: float = _TIMEOUT) -> None:
        address = urlsplit(access.server)
        self._host, self._port = address.hostname or "127.0.0.1", address.port or 443
        self._prefix = address.path.rstrip("/")
        self._timeout = timeout
        self._tls = _trust(access)
        self._kept: deque[http.client.HTTPSConnection] = deque()
        weakref.finalize(self, _close, self._kept)

    def get(self, path: str) -> Any:  # noqa: ANN401 - any JSON document
        """A JSON document; raises `ApiError`."""
        code, text = self.raw(path)
        return content(path, code, text)

    def raw(self, path: str) -> tuple[int, str]:
        """Status and text. A kept connection that has died meanwhile is made again, once."""
        with contextlib.suppress(IndexError, OSError, http.client.HTTPException):
            return self._ask(self._kept.pop(), path)
        try:
            return self._ask(
                http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout, context=self._tls), path
            )
        except ssl.SSLCertVerificationError as error:
            raise ApiError(
                0,
                f"what answers at {self._host}:{self._port} is not this cluster's API",
                f"its certificate is not what the kubeconfig asks for: {error.verify_message}",
                transient=False,
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise ApiError(
                0, f"the API at {self._host}:{self._port} does not answer", str(error) or type(error).__name__
            ) from error

    def _ask(self, connection: http.client.HTTPSConnection, path: str) -> tuple[int, str]:
        try:
            connection.request("GET", self._prefix + path, headers={"Accept": "application/json"})
            response = connection.getresponse()
            text = response.read().decode("utf-8", "replace")
        except BaseException:
            connection.close()
            raise
        if len(self._kept) < _KEPT:
            self._kept.append(connection)
        else:
            connection.close()
        return response.status, text


def _trust(access: Credentials) -> ssl.SSLContext:
    tls = ssl.create_default_context(cadata=access.ca.decode("ascii"))
    # as kubectl has it: an authority that is not a root is one, and an old cluster's certificates, which lack what
    # RFC 5280 wants of them, are good (Python 3.13 changed both defaults; kubernetes-client/python#2394)
    tls.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
    # openssl takes a chain from files only: they live for the length of one call, mode 0600
    with tempfile.TemporaryDirectory() as folder:
        pair = Path(folder) / "pair.pem"
        handle = os.open(pair, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(access.certificate.rstrip() + b"\n" + access.key)
        tls.load_cert_chain(pair, password="")  # never ask the terminal for one
    return tls


def _close(kept: deque[http.client.HTTPSConnection]) -> None:
    while kept:
        kept.pop().close()
