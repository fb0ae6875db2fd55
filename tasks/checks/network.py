"""Ports, the bind address, proxies and names."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from tasks.checks.facts import Facts
from tasks.checks.finding import Finding, Level
from tasks.settings.tree import Settings

_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not bound
Wish = tuple[str, int, int | None]
"""What for, the port, and the one to take instead."""


def wishes(settings: Settings) -> tuple[Wish, ...]:
    """Ports that are published on the host, as configured."""
    ports, registries = settings.cluster.ports, settings.registries
    found: list[Wish] = []
    if ports.http is not None:
        found.append(("http", ports.http, ports.http_fallback))
    if ports.https is not None:
        found.append(("https", ports.https, ports.https_fallback))
    found.append(("API", ports.api, ports.api_fallback))
    if registries.push:
        found.append(("registry", registries.port, None))
    return tuple(found)


def ports(facts: Facts) -> Iterator[Finding]:
    """Each wish: free, our own, or held by whom, and what will be used instead."""
    if facts.taken is None:
        return
    for purpose, wish, fallback in wishes(facts.settings):
        if wish in facts.own:
            yield Finding(check="ports", level=Level.OK, what=f"{purpose} {wish}: ours already")
        elif wish not in facts.taken:
            yield Finding(check="ports", level=Level.OK, what=f"{purpose} {wish}: free")
        else:
            free = fallback is not None and (fallback not in facts.taken or fallback in facts.own)
            instead = str(fallback) if free else "any free port"
            holder = facts.taken[wish]
            name = holder.removeprefix("the container ")
            yield Finding(
                check="ports",
                level=Level.WARNING,
                what=f"{purpose} {wish} is held by {holder}; {instead} will be used",
                why="whoever expects the usual port will not find the cluster there",
                fix=f"`docker stop {name}`" if name != holder else f"end {holder}, or choose another port",
            )


def low_ports(facts: Facts) -> Iterator[Finding]:
    """A rootless engine is an ordinary user, and may not publish low ports."""
    engine = facts.engine
    if engine is None or not engine.rootless or facts.chosen is None:
        return
    low = sorted(port for port in facts.chosen if port < facts.low_port_start)
    if low:
        named = " and ".join(map(str, low))
        yield Finding(
            check="low ports",
            level=Level.WARNING,
            what=f"a rootless engine may not publish {named}",
            why=f"on this machine low ports end at {facts.low_port_start - 1}, unless rootlesskit has been given the "
            "right by setcap, which does not show",
            fix=f"`sudo sysctl -w net.ipv4.ip_unprivileged_port_start={low[0]}`, or "
            "`--set cluster.ports.http=8080 --set cluster.ports.https=8443`",
        )


def address(facts: Facts) -> Iterator[Finding]:
    """The address that ports are published at."""
    wish = facts.settings.cluster.bind_address
    if facts.bindable is False:
        yield Finding(
            check="address",
            level=Level.PROBLEM,
            what=f"ports cannot be published at {wish}",
            why="it is no address of this machine",
            fix="IP=127.0.0.1, or IP=0.0.0.0 to be reached from other machines too",
        )
    elif wish in _EVERYWHERE and facts.context is None:
        yield Finding(
            check="address",
            level=Level.OK,
            what=f"ports are published at {wish}: other machines reach them, past the rules of most firewalls",
        )


def proxies(facts: Facts) -> Iterator[Finding]:
    """Programs here must not ask a proxy for what runs here, and the engine pulls images by itself."""
    found = {name for name in _PROXIES if _either(facts.environ, name)}
    if not found:
        yield Finding(check="proxies", level=Level.OK, what="none in the environment")
        return
    told = ", ".join(name for name in _PROXIES if name in found)
    given = [part.strip() for part in _either(facts.environ, "NO_PROXY").split(",") if part.strip()]
    missing = [host for host in _local(facts.settings) if not _covered(host, given)]
    if missing:
        value = ",".join([*given, *missing])
        yield Finding(
            check="proxies",
            level=Level.WARNING,
            what=f"{told} set, and NO_PROXY lacks {', '.join(missing)}",
            why="programs would ask the proxy for the cluster, which it cannot reach",
            fix=f"`export NO_PROXY={value} no_proxy={value}`",
        )
    else:
        yield Finding(check="proxies", level=Level.OK, what=f"{told} set; what runs here is left out by NO_PROXY")
    if facts.engine is not None and not facts.engine.proxied:
        yield Finding(
            check="proxies",
            level=Level.WARNING,
            what=f"{told} set here, but the engine has no proxy",
            why="the engine pulls the images, and does not see this environment",
            fix="give it one: https://docs.docker.com/engine/daemon/proxy/",
        )


def names(facts: Facts) -> Iterator[Finding]:
    """Hosts that images and charts come from."""
    if facts.unresolved is None:
        return
    if any(_either(facts.environ, name) for name in _PROXIES):
        yield Finding(check="DNS", level=Level.OK, what="a proxy resolves the names")
    elif facts.unresolved:
        first = next(iter(facts.unresolved.values()))
        yield Finding(
            check="DNS",
            level=Level.WARNING,
            what=f"not resolved: {', '.join(facts.unresolved)}",
            why=f"{first}; what is not cached yet cannot be fetched",
            fix=f"`getent hosts {next(iter(facts.unresolved))}`, `resolvectl status`, /etc/resolv.conf",
        )
    else:
        yield Finding(check="DNS", level=Level.OK, what=f"{len(hosts(facts.settings))} hosts resolve")


def hosts(settings: Settings) -> tuple[str, ...]:
    """Upstream registries, and the chart repositories that a release uses."""
    urls = [cache.url or f"https://{cache.upstream}" for cache in settings.registries.caches]
    used = {release.chart.split("/", 1)[0] for release in settings.helm.releases if release.enabled}
    if settings.ingress.controller == "ingress-nginx":
        used.add("ingress-nginx")
    urls += [url for name, url in settings.helm.repositories.items() if name in used]
    urls += [each.chart for each in settings.helm.releases if each.enabled and each.chart.startswith("oci://")]
    found = (urlsplit(url).hostname for url in urls)
    return tuple(dict.fromkeys(name for name in found if name))


def _either(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name) or environ.get(name.lower()) or ""


def _local(settings: Settings) -> list[str]:
    """What must not go through a proxy."""
    own = ["localhost", "127.0.0.1", settings.cluster.bind_address, settings.cluster.domain]
    return [name for name in dict.fromkeys(own) if name not in _EVERYWHERE]


def _covered(host: str, given: list[str]) -> bool:
    """Whether NO_PROXY leaves a host out: by name, by a domain above it, by a network, or with all others."""
    for entry in given:
        domain = entry.lstrip("*").lstrip(".")
        if entry in ("*", host) or (domain and f".{host}".endswith(f".{domain}")):
            return True
        if "/" in entry and _ip(host) and _ip(entry.split("/")[0]):
            network = ipaddress.ip_network(entry, strict=False)
            if ipaddress.ip_address(host) in network:
                return True
    return False


def _ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
