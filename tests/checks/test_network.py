"""Ports, addresses, proxies, names."""

import ssl
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tasks.checks.facts import Context, hosts, port_choices
from tasks.checks.finding import Finding, Level
from tasks.checks.network import address, authorities, container_proxies, low_ports, names, ports, proxies
from tasks.core.errors import BadInput
from tasks.facts.trust import Trust
from tasks.settings.schema import Settings
from tests.checks.given import WELL, engine, environ, levels, one, settings
from tests.facts.docker_info import ROOTLESS

NGINX, OTHER = "nginx (process 812)", "the container k3d-other-serverlb"


def reported(taken: Mapping[int, str], own: frozenset[int] = frozenset()) -> dict[int, tuple[str, str]]:
    """Level and text by port."""
    found = ports(replace(WELL, taken=taken, own=own))
    return {int(each.what.split()[1].rstrip(":")): (each.level.value, each.what) for each in found}


def test_free_ports() -> None:
    assert [text for _level, text in reported({}).values()] == [
        "http 80: free",
        "https 443: free",
        "API 6550: free",
        "registry 5050: free",
    ]


def test_a_taken_port_is_reported_with_its_holder_and_what_is_used_instead() -> None:
    found = reported({80: NGINX, 443: OTHER, 8443: NGINX, 5050: NGINX})
    assert found[80] == ("warning", f"http 80 is in use by {NGINX}; 8080 will be used")
    assert found[443] == ("warning", f"https 443 is in use by {OTHER}; any free port will be used")
    assert found[6550] == ("ok", "API 6550: free")
    assert found[5050][1].endswith("any free port will be used")


def test_our_own_ports_are_not_taken() -> None:
    found = reported({80: "the container k3d-openframe-dev-server-0", 6550: OTHER}, frozenset({80}))
    assert found[80] == ("ok", "http 80: used by this cluster")
    assert found[6550][0] == "warning"


def test_how_a_port_is_freed() -> None:
    by = {each.what.split()[0]: each for each in ports(replace(WELL, taken={80: NGINX, 443: OTHER}))}
    assert by["https"].fix == "`docker stop k3d-other-serverlb`"
    assert NGINX in by["http"].fix
    assert all(each.remedy is None for each in by.values())


def test_ports_that_are_not_published_are_not_configured() -> None:
    bare = Settings.model_validate({"cluster": {"ports": {"http": None, "https": None}}, "registries": {"push": False}})
    assert port_choices(bare) == (("API", 6550, 6551),)
    assert list(ports(replace(WELL, taken=None))) == []


@pytest.mark.parametrize(
    ("info", "chosen", "start", "expected"),
    [
        ({}, (80, 443), 1024, []),
        (ROOTLESS, (80, 443, 6550), 1024, ["warning"]),
        (ROOTLESS, (80, 443, 6550), 80, []),
        (ROOTLESS, (8080, 8443, 6550), 1024, []),
        (ROOTLESS, None, 1024, []),
    ],
)
def test_low_ports(info: dict[str, Any], chosen: tuple[int, ...] | None, start: int, expected: list[str]) -> None:
    facts = replace(WELL, engine=engine(**info), chosen=chosen, low_port_start=start)
    found = list(low_ports(facts))
    assert levels(found) == expected
    if found:
        assert "ip_unprivileged_port_start=80`" in one(found).fix


@pytest.mark.parametrize(
    ("ip", "can", "expected", "why"),
    [
        ("127.0.0.1", True, [], ""),
        ("127.0.0.1", None, [], ""),
        ("10.1.2.3", False, ["problem"], "not an address of this machine"),
        ("0.0.0.0", True, ["ok"], ""),
    ],
)
def test_the_bind_address(ip: str, can: bool | None, expected: list[str], why: str) -> None:
    found = list(address(replace(WELL, settings=settings(bind_address=ip), bindable=can)))
    assert levels(found) == expected
    assert all(why in each.why for each in found)


def test_an_existing_cluster_publishes_nothing_here() -> None:
    facts = replace(WELL, settings=settings(bind_address="0.0.0.0"), context=Context(name="c", version="v1.33.1"))
    assert list(address(facts)) == []


PROXY = "http://me:secret@proxy:3128"


def behind(no_proxy: str) -> dict[str, str]:
    return {"HTTPS_PROXY": PROXY, "NO_PROXY": no_proxy}


@pytest.mark.parametrize(
    ("given", "cluster", "missing"),
    [
        ({}, {}, None),
        ({"HTTPS_PROXY": ""}, {}, None),
        ({"HTTPS_PROXY": PROXY}, {}, "localhost,127.0.0.1"),
        ({"https_proxy": PROXY, "no_proxy": "localhost"}, {}, "localhost,127.0.0.1"),
        ({"ALL_PROXY": PROXY, "NO_PROXY": "localhost, 127.0.0.1"}, {}, ""),
        (behind("*"), {}, ""),
        (behind("localhost,127.0.0.0/8"), {}, ""),
        (behind("localhost,127.0.0.1"), {"domain": "dev.example.org"}, "localhost,127.0.0.1,dev.example.org"),
        (behind("localhost,127.0.0.1,.example.org"), {"domain": "dev.example.org"}, ""),
        (behind("localhost,127.0.0.1,*.example.org"), {"domain": "dev.example.org"}, ""),
        (
            behind("localhost,127.0.0.1,ample.org"),
            {"domain": "a.example.org"},
            "localhost,127.0.0.1,ample.org,a.example.org",
        ),
        (behind("localhost,127.0.0.1"), {"bind_address": "0.0.0.0"}, ""),
        (behind("localhost,127.0.0.1"), {"bind_address": "10.1.2.3"}, "localhost,127.0.0.1,10.1.2.3"),
    ],
)
def test_proxies(given: dict[str, str], cluster: dict[str, Any], missing: str | None) -> None:
    host = engine(HttpsProxy="http://proxy:3128")
    facts = replace(WELL, engine=host, environ=environ(**given), settings=settings(**cluster))
    found = one(proxies(facts))
    assert found.level.value == ("warning" if missing else "ok")
    assert ("none" in found.what) is (missing is None)
    if missing:
        assert found.fix == f"`export NO_PROXY={missing} no_proxy={missing}`"
    assert "secret" not in f"{found}"


def found_with(**given: str) -> list[Finding]:
    """Findings of proxies behind an engine that has one."""
    given = {**behind("localhost,127.0.0.1"), **given}
    return list(proxies(replace(WELL, engine=engine(HttpsProxy="http://proxy:3128"), environ=environ(**given))))


@pytest.mark.parametrize(
    ("given", "what", "fix"),
    [
        (
            {"NO_PROXY": "localhost 127.0.0.0/8"},
            "kubectl and helm do not read",
            "export NO_PROXY=localhost,127.0.0.0/8 ",
        ),
        ({"NO_PROXY": "localhost,127.0.0.0/8:443,127.0.0.1"}, "helm do not read", "127.0.0.0/8,127.0.0.1 "),
        ({"NO_PROXY": "localhost,127.0.0.1,10.0.0.0/"}, "'10.0.0.0/' cannot be read", "NO_PROXY=localhost,127.0.0.1 "),
        (
            {"NO_PROXY": "localhost;127.0.0.1;http://u:secret@x"},
            "'http://***@x' cannot",
            "NO_PROXY=localhost,127.0.0.1 ",
        ),
        ({"HTTP_PROXY": "me:secret@:1"}, "HTTP_PROXY names no proxy", "unset it"),
        ({"HTTPS_PROXY": "socks5://me:secret@p"}, "socks5://***@p:1080 is a proxy of type socks5", "HTTPS_PROXY"),
        ({"http_proxy": "p:1", "HTTP_PROXY": "p:2"}, "HTTP_PROXY and http_proxy have different", "unset HTTP_PROXY"),
    ],
)
def test_variables_that_programs_read_in_another_way(given: dict[str, str], what: str, fix: str) -> None:
    found = [each for each in found_with(**given) if each.level is Level.WARNING]
    assert what in one(found).what
    assert fix in one(found).fix
    assert "secret" not in f"{found}"


def test_all_proxy_is_not_read_by_the_programs_of_a_launch() -> None:
    given = environ(ALL_PROXY=PROXY, NO_PROXY="localhost,127.0.0.1")
    assert "helm do not read" in one(proxies(replace(WELL, engine=None, environ=given))).what


def of_containers(given: dict[str, Any], info: dict[str, Any], **found: str) -> Finding:
    chosen = Settings.model_validate({"network": given})
    return one(container_proxies(replace(WELL, settings=chosen, engine=engine(**info), environ=environ(**found))))


def test_an_engine_with_a_proxy_hands_it_on_to_no_cache() -> None:
    engines = {"HttpsProxy": "http://me:secret@proxy:3128"}
    found = of_containers({}, engines)
    assert found.level is Level.WARNING
    assert "the engine has a proxy (http://***@proxy:3128)" in found.what
    assert "network.from_environment=true" in found.fix
    assert "in the environment (http://***@proxy:3128)" in of_containers({}, {}, HTTPS_PROXY=PROXY).what
    assert list(container_proxies(WELL)) == []
    assert list(container_proxies(replace(WELL, engine=None, environ=environ(HTTPS_PROXY=PROXY)))) == []


def test_caches_that_have_a_proxy() -> None:
    found = of_containers({"proxy": {"https": PROXY}}, {"HttpsProxy": "http://proxy:3128"})
    assert (found.level, found.what) == (Level.OK, "caches and nodes: https by http://***@proxy:3128")
    assert of_containers({"from_environment": True}, {}, HTTPS_PROXY=PROXY).level is Level.OK
    loop = of_containers({"from_environment": True}, {}, HTTPS_PROXY="http://me:secret@localhost:3128")
    assert loop.level is Level.PROBLEM
    assert "secret" not in f"{loop}"


def test_authorities() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    own, none = (Trust(context=context, source=source, own=bool(source)) for source in ("/etc/x.pem", ""))
    assert one(authorities(replace(WELL, trusted=own))).what == "read from /etc/x.pem"
    assert "Python itself has none" in one(authorities(replace(WELL, trusted=replace(own, own=False)))).what
    assert one(authorities(replace(WELL, trusted=none))).level is Level.WARNING
    wrong = BadInput("SSL_CERT_FILE names /x", why="it is empty", fix="correct it")
    assert one(authorities(replace(WELL, trusted=wrong))).what == "SSL_CERT_FILE names /x"
    assert list(authorities(WELL)) == []


def test_an_engine_without_a_proxy_pulls_nothing_where_one_is_needed() -> None:
    given = behind("localhost,127.0.0.1")
    found = list(proxies(replace(WELL, environ=given)))
    assert levels(found) == ["ok", "warning"]
    assert "the engine has no proxy" in found[1].what
    assert levels(proxies(replace(WELL, environ=given, engine=None))) == ["ok"]


def test_names() -> None:
    assert one(names(WELL)).what == f"{len(hosts(Settings()))} hosts resolve"
    lost = replace(WELL, unresolved={"ghcr.io": "Name or service not known"})
    found = one(names(lost))
    assert (found.level.value, found.what) == ("warning", "not resolved: ghcr.io")
    assert "Name or service not known" in found.why
    assert one(names(replace(lost, environ=environ(HTTPS_PROXY=PROXY)))).level.value == "ok"
    assert list(names(replace(WELL, unresolved=None))) == []


def test_hosts_are_those_that_something_is_fetched_from() -> None:
    assert hosts(Settings()) == (
        "registry-1.docker.io",
        "ghcr.io",
        "quay.io",
        "registry.k8s.io",
        "charts.jetstack.io",
    )
    nginx = Settings.model_validate({"ingress": {"controller": "ingress-nginx"}})
    assert hosts(nginx)[-1] == "kubernetes.github.io"
    own = Settings.model_validate(
        {
            "registries": {"caches": [{"upstream": "docker.io", "url": "http://mirror.lan:5000"}]},
            "helm": {
                "releases": [
                    {"name": "a", "namespace": "a", "chart": "oci://ghcr.io/a/b"},
                    {"name": "b", "namespace": "a", "chart": "./charts/b"},
                    {"name": "d", "namespace": "a", "chart": "oci://k3d-openframe-registry:5050/charts/d"},
                    {"name": "c", "namespace": "a", "chart": "grafana/loki", "enabled": False},
                ]
            },
        }
    )
    assert hosts(own) == ("mirror.lan", "ghcr.io")
