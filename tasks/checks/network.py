"""Checks of ports, the bind address, proxies and DNS."""

from collections.abc import Iterator

from tasks.checks.facts import HostFacts, hosts, port_choices
from tasks.checks.finding import Finding, ok, problem, warning
from tasks.core import proxies as variables
from tasks.core.errors import LaunchError, some
from tasks.core.redact import without_logins
from tasks.facts import network as containers
from tasks.settings.origin import printable
from tasks.settings.schema import Settings

_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not bound


def ports(facts: HostFacts) -> Iterator[Finding]:
    """Each configured port: free, in use by this cluster, or by something else, and its replacement."""
    if facts.taken is None:
        return
    for purpose, port, fallback in port_choices(facts.settings):
        if port in facts.own:
            yield ok(f"{purpose} {port}: used by this cluster")
        elif port not in facts.taken:
            yield ok(f"{purpose} {port}: free")
        else:
            free = fallback is not None and (fallback not in facts.taken or fallback in facts.own)
            instead = str(fallback) if free else "any free port"
            holder = facts.taken[port]
            name = holder.removeprefix("the container ")
            yield warning(
                f"{purpose} {port} is in use by {holder}; {instead} will be used",
                why="clients that expect the usual port will not find the cluster there",
                fix=f"`docker stop {name}`" if name != holder else f"stop {holder}, or choose another port",
            )


def low_ports(facts: HostFacts) -> Iterator[Finding]:
    """A rootless engine is an ordinary user, and may not publish low ports."""
    engine = facts.engine
    if engine is None or not engine.rootless or facts.chosen is None:
        return
    low = sorted(port for port in facts.chosen if port < facts.low_port_start)
    if low:
        named = " and ".join(map(str, low))
        yield warning(
            f"a rootless engine may not publish {named}",
            why=f"on this machine low ports end at {facts.low_port_start - 1}, unless rootlesskit has been granted the "
            "capability by setcap, which is not visible",
            fix=f"`sudo sysctl -w net.ipv4.ip_unprivileged_port_start={low[0]}`, or "
            "`--set cluster.ports.http=8080 --set cluster.ports.https=8443`",
        )


def address(facts: HostFacts) -> Iterator[Finding]:
    """The address that ports are published at."""
    bind = facts.settings.cluster.bind_address
    if facts.bindable is False:
        yield problem(
            f"ports cannot be published at {bind}",
            why="it is not an address of this machine",
            fix="IP=127.0.0.1, or IP=0.0.0.0 to make it reachable from other machines",
        )
    elif bind in _EVERYWHERE and facts.context is None:
        yield ok(
            f"ports are published at {bind}: other machines can reach them, bypassing the rules of most firewalls",
        )


def proxies(facts: HostFacts) -> Iterator[Finding]:
    """Programs here must not use a proxy for local services, and the engine pulls images itself."""
    found = variables.read(facts.environ)
    if not found.named:
        yield ok("none in the environment")
        return
    named = ", ".join(found.named)
    if found.named == ("ALL_PROXY",):
        named += " (docker, k3d, kubectl and helm do not read it)"
    excluded = found.excluded
    missing = [host for host in _local(facts.settings) if not excluded.covers(host)]
    value = ",".join(filter(None, [excluded.text, *missing]))
    export = f"`export NO_PROXY={value} no_proxy={value}`"
    if missing:
        yield warning(
            f"{named} set, and NO_PROXY lacks {', '.join(missing)}",
            why="programs would contact the cluster through the proxy, which cannot reach it",
            fix=export,
        )
    elif not found.faults:
        yield ok(f"{named} set; NO_PROXY covers what runs here")
    if excluded.unread or not excluded.plain:
        yield _odd(excluded, export)
    yield from _unfit_proxies(facts, found)
    if facts.engine is not None and not facts.engine.proxy:
        yield warning(
            f"{named} set here, but the engine has no proxy",
            why="the engine pulls the images, and does not see this environment",
            fix="configure one: https://docs.docker.com/engine/daemon/proxy/",
        )


def container_proxies(facts: HostFacts) -> Iterator[Finding]:
    """Caches and nodes: Docker does not pass its own proxy on to containers, and they do not see this environment."""
    engine = facts.engine
    if engine is None:
        return
    try:
        chosen = containers.proxies(facts.settings, facts.environ)
    except LaunchError as error:
        yield problem(error.what, why=error.why, fix=error.fix)
        return
    used = [f"{scheme} by {each.shown}" for scheme, each in (("http", chosen.http), ("https", chosen.https)) if each]
    here = variables.read(facts.environ)
    there = engine.proxy or next((each.shown for each in (here.https, here.http) if each is not None), "")
    if used:
        yield ok(f"caches and nodes: {', '.join(used)}")
    elif there:
        whose = "the engine has a proxy" if engine.proxy else "there is a proxy in the environment"
        yield warning(
            f"{whose} ({there}), and the caches and nodes have none",
            why="they pull images themselves, and see neither the engine's settings nor this environment",
            fix="`--set network.from_environment=true` uses HTTPS_PROXY and NO_PROXY; or set network.proxy.https",
        )


def _odd(excluded: variables.Excluded, export: str) -> Finding:
    """NO_PROXY with invalid entries, or separated by something other than commas."""
    if excluded.unread:
        shown = some([f"'{printable(without_logins(word))[:60]}'" for word in excluded.unread], 5)
        what = f"NO_PROXY: {shown} cannot be read, and is ignored"
        why = "an entry is a name, an address, a network such as 10.0.0.0/8, or one of them and a port"
    else:
        what = "NO_PROXY is written in a form that docker, k3d, kubectl and helm do not read"
        why = "they need commas between entries, and no port after a network; a launch converts it, a shell does not"
    return warning(what, why=why, fix=export)


def _unfit_proxies(facts: HostFacts, found: variables.Proxies) -> Iterator[Finding]:
    """Variables that name no proxy, or one that not all programs support."""
    for name, fault in found.faults.items():
        yield warning(
            f"{name} names no proxy",
            why=printable(fault),
            fix=f"`export {name}=http://proxy:3128`, or unset it",
        )
    socks = next((each for each in (found.https, found.http) if each is not None and not each.web), None)
    if socks is not None:
        yield warning(
            f"{socks.shown} is a proxy of type {socks.scheme}",
            why="helm and kubectl use it; downloads of k3d, kubectl and helm support HTTP proxies only",
            fix="set HTTPS_PROXY to one, or put these programs on the PATH",
        )
    for name in variables.differing(facts.environ):
        yield warning(
            f"{name} and {name.lower()} have different values",
            why=f"curl reads {name.lower()} first, docker and helm {name}; launches pass {name.lower()} to all of them",
            fix=f"unset one of them: `unset {name}`",
        )


def authorities(facts: HostFacts) -> Iterator[Finding]:
    """The certificate authorities for downloads."""
    found = facts.trusted
    if isinstance(found, LaunchError):
        yield warning(found.what, why=found.why, fix=found.fix)
    elif found is not None and not found.source:
        yield warning(
            "there are no certificate authorities",
            why="no certificate can be verified, so nothing can be downloaded",
            fix=found.fix,
        )
    elif found is not None:
        none = "" if found.own else "; Python itself has none here"
        yield ok(f"read from {found.source}{none}")


def names(facts: HostFacts) -> Iterator[Finding]:
    """Hosts for images and charts."""
    if facts.unresolved is None:
        return
    if variables.read(facts.environ).named:
        yield ok("a proxy resolves the names")
    elif facts.unresolved:
        first = next(iter(facts.unresolved.values()))
        yield warning(
            f"not resolved: {', '.join(facts.unresolved)}",
            why=f"{first}; anything not cached yet cannot be downloaded",
            fix=f"`getent hosts {next(iter(facts.unresolved))}`, `resolvectl status`, /etc/resolv.conf",
        )
    else:
        yield ok(f"{len(hosts(facts.settings))} hosts resolve")


def _local(settings: Settings) -> list[str]:
    """What must not go through a proxy."""
    own = ["localhost", "127.0.0.1", settings.cluster.bind_address, settings.cluster.domain]
    return [name for name in dict.fromkeys(own) if name not in _EVERYWHERE]
