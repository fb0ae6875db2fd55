"""All checks, and the facts for them: queried concurrently, or only those that need no process."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from tasks.checks import engine as engine_checks
from tasks.checks import machine, network
from tasks.checks.facts import Context, HostFacts, hosts, port_choices
from tasks.checks.finding import Finding, Level
from tasks.clients import docker
from tasks.clients.kubeconfig import target, unwritable
from tasks.core.errors import BadInput, LaunchError, NoEngine
from tasks.facts import host, ports
from tasks.facts.cluster import Owner, owner_of
from tasks.facts.endpoint import endpoint
from tasks.facts.engine import Engine, engine
from tasks.facts.facts import Facts
from tasks.facts.machine import sizing, system
from tasks.facts.programs import Versions, numbers, versions
from tasks.facts.trust import Trust, trust
from tasks.process.command import Command
from tasks.process.programs import Programs
from tasks.settings.derived import context_name, host_images, k3s_image, kubernetes_minor
from tasks.settings.schema import Settings

Check = Callable[[HostFacts], Iterator[Finding]]
"""Pure: it finds nothing if the facts that it judges were not queried."""

CHECKS: tuple[tuple[str, Check], ...] = (
    ("engine", engine_checks.reachable),
    ("engine", engine_checks.files),
    ("platform", engine_checks.platform),
    ("cgroups", engine_checks.cgroups),
    ("storage", engine_checks.storage),
    ("forwarding", engine_checks.forwarding),
    ("unpacking", engine_checks.unpacking),
    ("cluster", engine_checks.owner),
    ("context", machine.context),
    ("k3d", machine.k3d),
    ("kubectl", machine.kubectl),
    ("helm", machine.helm),
    ("cpus", machine.cpus),
    ("memory", machine.memory),
    ("disk", machine.disk),
    ("images", machine.images),
    ("inotify", machine.inotify),
    ("ports", network.ports),
    ("low ports", network.low_ports),
    ("address", network.address),
    ("proxies", network.proxies),
    ("proxies", network.container_proxies),
    ("authorities", network.authorities),
    ("DNS", network.names),
    ("sudo", machine.sudo),
    ("folders", machine.folders),
    ("kubeconfig", machine.kubeconfig),
)
"""All checks, each with the name for its findings."""


def examine(facts: HostFacts, checks: Sequence[tuple[str, Check]] = CHECKS) -> list[Finding]:
    """The findings of all checks."""
    return [replace(finding, check=name) for name, check in checks for finding in check(facts)]


def problems(findings: Sequence[Finding]) -> list[Finding]:
    """The findings that would stop a launch."""
    return [finding for finding in findings if finding.level is Level.PROBLEM]


_SYSTEMD = Path("/run/systemd/system")
_LIST = replace(docker.published(), deadline=20.0)


def gather(
    settings: Settings,
    environ: Mapping[str, str],
    programs: Programs,
    *,
    state: Path,
    owner: Owner,
    minimum: Mapping[str, str | None],
    k3d_version: str,
    folders: BadInput | None,
    online: bool,
) -> HostFacts:
    """All facts, for `doctor`.

    `state`: the folder where versions of programs are cached; `minimum` and `k3d_version`: as pinned;
    `online`: whether to resolve names (not in a rehearsal).
    """
    with ThreadPoolExecutor(max_workers=6) as pool:
        queried = pool.submit(_engine, programs)
        listed = pool.submit(_list, programs)
        reported = pool.submit(versions, programs, state)
        names = pool.submit(host.unresolved, hosts(settings) if online else ())
        rights = pool.submit(host.rights, programs)
        trusted = pool.submit(_trusted, environ)
        found, error = queried.result()
        out = listed.result()
    facts = HostFacts(
        settings=settings,
        environ=environ,
        engine=found,
        no_engine=error,
        startable=_SYSTEMD.is_dir() and system() == "linux" and endpoint(environ).default,
        versions=reported.result(),
        minimum=minimum,
        kubernetes=kubernetes_minor(k3s_image(settings)),
        unresolved=names.result(),
        trusted=trusted.result(),
        rights=rights.result(),
        folders=folders,
        unwritable=unwritable(target(environ), context_name(settings.cluster.name))
        if settings.kubeconfig.merge
        else None,
    )
    if found is None:
        return facts
    return _on_engine(replace(facts, missing=_missing(programs, facts, found, k3d_version)), found, out, owner)


def gather_existing(
    settings: Settings,
    environ: Mapping[str, str],
    programs: Programs,
    *,
    state: Path,
    minimum: Mapping[str, str | None],
    context: str,
) -> HostFacts:
    """Facts for an existing cluster, behind a context of the user's kubeconfig: no engine is queried."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        reported = pool.submit(versions, programs, state)
        names = pool.submit(host.unresolved, hosts(settings))
        queried = pool.submit(server, programs, context)
        version, found = reported.result(), queried.result()
    minor = numbers(found.version)
    return HostFacts(
        settings=settings,
        environ=environ,
        versions=version,
        minimum=minimum,
        kubernetes=minor[1] if len(minor) > 1 else None,
        unresolved=names.result(),
        context=found,
    )


def brief(facts: Facts, found: Engine, *, reported: Versions, minimum: Mapping[str, str | None]) -> HostFacts:
    """Facts that need no process, before a cluster is created; `reported`: the known versions of programs."""
    chosen = facts.ports
    return HostFacts(
        settings=facts.settings,
        environ=facts.environ,
        engine=found,
        versions=reported,
        minimum=minimum,
        fetched=True,
        kubernetes=kubernetes_minor(facts.shape.image),
        agents=facts.shape.agents,
        disk=host.disk(found),
        inotify=host.inotify(found),
        low_port_start=ports.low_port_start(),
        chosen=tuple(port for port in (chosen.http, chosen.https, chosen.api) if port) if chosen else None,
        bindable=_bindable(facts.settings, found),
    )


def server(programs: Programs, name: str) -> Context:
    """The API server's version, through the user's own kubeconfig."""
    argv = ("kubectl", "--context", name, "--request-timeout=5s", "version", "--output=json")
    try:
        done = programs.run(Command(argv=argv, deadline=15.0, ok=(0, 1)))
    except LaunchError as error:
        return Context(name=name, version=None, error=error.what)
    try:
        return Context(name=name, version=json.loads(done.out)["serverVersion"]["gitVersion"])
    except (ValueError, KeyError, TypeError):
        lines = done.err.strip().splitlines()
        return Context(name=name, version=None, error=lines[-1] if lines else "kubectl reported no version of a server")


def _engine(programs: Programs) -> tuple[Engine | None, NoEngine | None]:
    try:
        return engine(programs), None
    except NoEngine as error:
        return None, error


def _trusted(environ: Mapping[str, str]) -> Trust | LaunchError:
    try:
        return trust(environ)
    except LaunchError as error:
        return error


def _list(programs: Programs) -> str:
    """Containers with their ports; empty if no engine answers, which another check reports."""
    try:
        return programs.run(_LIST).out
    except LaunchError:
        return ""


def _missing(programs: Programs, facts: HostFacts, found: Engine, k3d_version: str) -> tuple[str, ...] | None:
    """Missing images of a launch; None if the engine does not report them."""
    version = facts.versions.k3d if facts.versions is not None else None
    refs = host_images(facts.settings, facts.environ, version or k3d_version)
    try:
        there = docker.platforms(programs.run(docker.images(refs)).out, refs)
    except LaunchError:
        return None
    return tuple(ref for ref in refs if ref not in there or not docker.fits(there[ref], found.platform))


def _on_engine(facts: HostFacts, found: Engine, out: str, mine: Owner) -> HostFacts:
    """With the facts that need an engine."""
    settings = facts.settings
    sized = sizing(found.cpus, found.memory_bytes)
    nodes = [
        each for each in ports.holders(out).values() if each.labels.get(docker.CLUSTER_LABEL) == settings.cluster.name
    ]
    other = _other_owner(nodes, mine)
    own, busy = _holders(settings, out, foreign=bool(other))
    used = [fallback if first in busy and first not in own else first for _, first, fallback in port_choices(settings)]
    return replace(
        facts,
        agents=settings.cluster.agents if settings.cluster.agents is not None else sized.agents,
        other_owner=other,
        cluster_exists=bool(nodes),
        disk=host.disk(found),
        inotify=host.inotify(found),
        unpigz=host.unpigz(found),
        low_port_start=ports.low_port_start(),
        chosen=tuple(port for port in used if port is not None),
        bindable=_bindable(settings, found),
        taken=busy,
        own=own,
    )


def _other_owner(nodes: Iterable[ports.Holder], mine: Owner) -> str:
    """Who else owns the cluster of these nodes; "" for nobody, or if one of them is this owner's."""
    owners = [each for node in nodes if (each := owner_of(node.labels.get(docker.OWNER, ""))) is not None]
    return "" if any(each.id == mine.id for each in owners) else next((each.name for each in owners), "")


def _holders(settings: Settings, out: str, *, foreign: bool) -> tuple[frozenset[int], dict[int, str]]:
    """Ports of this cluster and the shared registries, and all ports in use, with their users."""
    held = ports.holders(out)
    labels = {} if foreign else {docker.CLUSTER_LABEL: settings.cluster.name, docker.OURS: settings.cluster.name}
    own = {
        port
        for port, holder in held.items()
        if docker.CACHE_LABEL in holder.labels or any(holder.labels.get(key) == name for key, name in labels.items())
    }
    chosen = {port for _, first, fallback in port_choices(settings) for port in (first, fallback) if port is not None}
    busy = {port: f"the container {held[port].container}" for port in chosen if port in held}
    return frozenset(own), busy | _listening(settings.cluster.bind_address, chosen - busy.keys())


def _listening(address: str, free: Collection[int]) -> dict[int, str]:
    """The ports that a program of this machine uses, and which program."""
    found = {port for port in free if ports.taken(address, port)}
    who = ports.listening(found) if found else {}
    return {port: who.get(port, "a program that cannot be identified") for port in found}


def _bindable(settings: Settings, found: Engine) -> bool | None:
    """None if ports are published on another machine, or by one that forwards them."""
    return ports.bindable(settings.cluster.bind_address) if found.here else None
