"""Causes that lie between this machine and another one: name lookup, proxy, TLS, a line that breaks."""

from __future__ import annotations

from tasks.diagnose.diagnosis import Cause

CAUSES = (
    Cause(
        id="proxy",
        programs=(),
        patterns=(
            r"proxyconnect tcp: dial tcp: lookup (?P<proxy>[\w.-]+).*no such host",
            r"proxyconnect tcp: dial tcp (?P<proxy>[\w.\[\]:-]+): connect: connection refused",
            r"Proxy Authentication Required",
            r"proxyconnect tcp: tls: first record does not look like a TLS handshake",
        ),
        what="the proxy {proxy} cannot be used",
        why="{line}",
        fix="correct HTTPS_PROXY and HTTP_PROXY, for caches and nodes network.proxy; the engine has settings of its "
        "own (Docker Desktop: Settings, Resources, Proxies; else a systemd drop-in). `invoke doctor` shows all three",
        otherwise={"proxy": "that is set"},
    ),
    Cause(
        id="tls-trust",
        programs=(),
        patterns=(
            r"x509: certificate signed by unknown authority",
            r"x509: certificate is not trusted",
            r"x509: certificate is valid for (?P<names>[^\n]+), not (?P<host>\S+)",
            r"certificate relies on legacy Common Name field",
        ),
        what="the other end's certificate is not trusted here",
        why="{line}",
        fix="behind a proxy that opens TLS: name its certificate authority in network.ca for caches and nodes, in "
        "SSL_CERT_FILE for programs here, and add it to the engine's machine and restart the engine; else see that the "
        "address is the right one",
    ),
    Cause(
        id="clock",
        programs=(),
        patterns=(
            r"certificate has expired or is not yet valid: (?P<reason>.+)",
            r"certificate has expired or is not yet valid",
        ),
        what="a certificate is out of its time",
        why="{reason}",
        fix="see that this machine's clock is right (date -u); in a virtual machine it may stand still while it sleeps",
        otherwise={"reason": "it has expired, or this machine's clock is wrong"},
    ),
    Cause(
        id="dns",
        programs=(),
        patterns=(
            (
                r"lookup (?P<host>[\w.-]+)(?: on (?P<server>[\w.:\[\]]+))?: "
                r".*(?:no such host|server misbehaving|i/o timeout|connection refused)"
            ),
            r"lookup (?P<host>[\w.-]+): Temporary failure in name resolution",
            r"[Tt]emporary failure in name resolution",
        ),
        what="the name {host} is not found",
        why="the name server {server} gives no address for it: no network, a VPN, or a wrong name",
        fix="see that the network is up (getent hosts {host}); the engine may use another name server than you: "
        "`dns` in daemon.json",
        transient=True,
        otherwise={"host": "that is asked for", "server": "in use"},
    ),
    Cause(
        id="remote-busy",
        programs=(),
        patterns=(
            r"(?:unexpected (?:HTTP )?status|status code|failed to fetch).*\b(?P<status>50[0234]\b[^\n\"]{0,40})",
            r"received unexpected HTTP status: (?P<status>50[0234][^\n]{0,40})",
        ),
        what="the other end has a fault of its own",
        why="it answered: {status}",
        fix="run it again; if it stays so, look at its status page, or use a mirror",
        transient=True,
    ),
    Cause(
        id="network-timeout",
        programs=(),
        patterns=(
            r"TLS handshake timeout",
            r"dial tcp (?P<host>\S+): i/o timeout",
            r"read tcp .*i/o timeout",
            r"Client\.Timeout exceeded while awaiting headers",
            r"Client\.Timeout or context cancellation while reading body",
            r"request canceled while waiting for connection",
            r"connect: connection timed out",
        ),
        what="the other end does not answer in time",
        why="{line}",
        fix="run it again; on a slow line fewer downloads at once help (K3D_CONCURRENT_DOWNLOADS), "
        "and timeouts.pull is a setting",
        transient=True,
    ),
    Cause(
        id="network-lost",
        programs=(),
        patterns=(
            r"connection reset by peer",
            r"unexpected EOF",
            r"broken pipe",
            r"(?:connect: )?network is unreachable",
            r"no route to host",
            r"http2: client connection lost",
            r"stream error: stream ID \d+",
            r"use of closed network connection",
            r"dial tcp (?P<host>\S+): connect: connection refused",
            r": EOF$",
        ),
        what="the connection was lost",
        why="{line}",
        fix="run it again; if it stays so, see that the network is up, and `invoke doctor` for proxies and DNS",
        transient=True,
    ),
)
