"""Causes that lie between this machine and another one, in the words of Go's net packages."""

from __future__ import annotations

import pytest

from tests.causes.told import Case, check

_HUB = 'Error response from daemon: Get "https://registry-1.docker.io/v2/": '

CASES = [
    Case(
        program="docker",
        cause="dns",
        text=f"{_HUB}dial tcp: lookup registry-1.docker.io on 127.0.0.53:53: no such host",
        says=("registry-1.docker.io", "127.0.0.53:53"),
        transient=True,
    ),
    Case(
        program="docker",
        cause="dns",
        text=f"{_HUB}dial tcp: lookup registry-1.docker.io on 127.0.0.53:53: server misbehaving",
        transient=True,
    ),
    Case(
        program="helm",
        cause="dns",
        text='Error: looks like "https://charts.jetstack.io" is not a valid chart repository or cannot be reached: Get '
        '"https://charts.jetstack.io/index.yaml": dial tcp: lookup charts.jetstack.io on 10.0.0.2:53: read udp '
        "10.0.0.9:51234->10.0.0.2:53: i/o timeout",
        says=("charts.jetstack.io",),
        transient=True,
    ),
    Case(
        program="docker",
        cause="proxy",
        text=f"{_HUB}proxyconnect tcp: dial tcp 10.0.0.1:3128: connect: connection refused",
        says=("the proxy 10.0.0.1:3128", "HTTPS_PROXY"),
    ),
    Case(
        program="docker",
        cause="proxy",
        text=f"{_HUB}proxyconnect tcp: dial tcp: lookup proxy.corp on 127.0.0.53:53: no such host",
        says=("the proxy proxy.corp",),
    ),
    Case(
        program="helm",
        cause="proxy",
        text='Error: Get "https://charts.jetstack.io/index.yaml": Proxy Authentication Required',
    ),
    Case(
        program="docker",
        cause="tls-trust",
        text=f"{_HUB}tls: failed to verify certificate: x509: certificate signed by unknown authority",
        says=("certificate authority",),
    ),
    Case(
        program="helm",
        cause="clock",
        text='Error: Get "https://charts.jetstack.io/index.yaml": tls: failed to verify certificate: x509: certificate '
        "has expired or is not yet valid: current time 2019-01-01T00:00:12Z is before 2025-03-01T00:00:00Z",
        says=("2019-01-01", "date -u"),
    ),
    Case(
        program="docker",
        cause="network-timeout",
        text=f"{_HUB}net/http: TLS handshake timeout",
        transient=True,
    ),
    Case(
        program="docker",
        cause="network-timeout",
        text=f"{_HUB}net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting "
        "headers)",
        transient=True,
    ),
    Case(
        program="docker",
        cause="network-timeout",
        text=f"{_HUB}dial tcp 54.236.113.205:443: i/o timeout",
        says=("timeouts.pull",),
        transient=True,
    ),
    Case(
        program="docker",
        cause="network-lost",
        text="error pulling image configuration: download failed after attempts=6: read tcp "
        "10.0.0.9:5->104.18.0.1:443: "
        "read: connection reset by peer",
        transient=True,
    ),
    Case(program="docker", cause="network-lost", text="unexpected EOF", transient=True),
    Case(
        program="docker",
        cause="network-lost",
        text=f"{_HUB}EOF",
        transient=True,
    ),
    Case(  # the pull-through cache is not up yet
        program="docker",
        cause="network-lost",
        text='Error response from daemon: Get "http://127.0.0.1:5051/v2/": dial tcp 127.0.0.1:5051: connect: '
        "connection "
        "refused",
        transient=True,
    ),
    Case(
        program="docker",
        cause="remote-busy",
        text="Error response from daemon: received unexpected HTTP status: 503 Service Unavailable",
        says=("503 Service Unavailable",),
        transient=True,
    ),
    Case(  # mittwald/kubernetes-secret-generator#109
        program="helm",
        cause="remote-busy",
        text='...Unable to get an update from the "mittwald" chart repository (https://helm.mittwald.de):\n'
        "\tfailed to fetch https://helm.mittwald.de/index.yaml : 503 Service Unavailable\n"
        "Error: failed to update the following repositories: [https://helm.mittwald.de]\n",
        transient=True,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_the_line_does(case: Case) -> None:
    check(case)
