"""From settings and the machine to a situation: the facts that plans are made from, asked side by side."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tasks import prepull, registry
from tasks.cluster.answer import fetch_kubeconfig
from tasks.cluster.config import Ports, Shape, balanced
from tasks.errors import BadInput, ClusterAbsent, ClusterStopped, LaunchError
from tasks.facts.standing import Presence, Standing, standing
from tasks.launch import NEEDS_CLUSTER, Choosers
from tasks.objects.secret_source import reader
from tasks.objects.secrets import secrets as wanted_secrets
from tasks.session import Session
from tasks.settings.rules import releases
from tasks.settings.tree import Settings
from tasks.situation import Situation
from tasks.tools import docker, helm, k3d
from tasks.tools.program import Command, Programs
from tasks.wanted import wanted_keys

if TYPE_CHECKING:
    from tasks.facts.engine import Engine


def survey(session: Session, parts: Collection[str]) -> Situation:
    """Ask the engine, and, where the cluster runs, its API. Raises `NoEngine`, `BadInput`."""
    if session.options.engine == "existing":
        return _existing(session, parts)
    from tasks.facts.engine import engine
    from tasks.facts.sizing import size
    from tasks.facts.versions import versions

    settings: Settings = session.settings
    programs = session.programs()
    known = session.folders.complete.read_text().strip() if session.folders.complete.exists() else None
    with ThreadPoolExecutor(max_workers=5) as pool:
        machine = pool.submit(engine, programs)
        found = pool.submit(standing, programs, settings.cluster.name, known)
        shared = pool.submit(_registries, programs)
        told = pool.submit(versions, programs, session.state)
        host = machine.result()  # NoEngine comes before what follows from it
        stands, kept, version = found.result(), shared.result(), told.result()
    sized = size(host.cpus, host.memory_bytes)
    agents = settings.cluster.agents if settings.cluster.agents is not None else sized.agents
    concurrency = settings.pool.concurrency or sized.concurrency
    refs = prepull.images(settings, session.environ, version.k3d or "")
    there = docker.present(programs.run(docker.images(refs)).out, refs) if refs else frozenset()
    session.system.update(
        cpus=host.cpus,
        memory_gib=round(host.memory_bytes / 1024**3, 1),
        arch=host.arch,
        os=host.os,
        docker=host.version,
        k3d=version.k3d,
        kubectl=version.kubectl,
        helm=version.helm,
        k3s_image=prepull.k3s_image(settings),
    )
    shape = Shape(
        image=prepull.k3s_image(settings),
        agents=agents,
        concurrency=concurrency,
        parallel_pulls=settings.pool.downloads if session.resolved.above_default("pool.downloads") else None,
        registries=registry.used(settings),
        registries_yaml=registry.nodes_file(settings, session.root, _push_port(settings, kept)),
    )
    situation = Situation(
        settings=settings,
        root=session.root,
        environ=session.environ,
        programs=programs,
        k3d_programs=replace(programs, env=_k3d_environment(session, settings)),
        helm_programs=programs.with_env(helm.environment(session.folders.cache)),
        folders=session.folders,
        host=host,
        standing=stands,
        shape=shape,
        ports=_ports(programs, settings, stands, host),
        images={ref: ref in there for ref in refs},
        registries=kept,
        releases=releases(settings),
        helm_major=_major(version.helm),
        **_secrets(session, parts),
    )
    refuse_foreign(situation)
    if NEEDS_CLUSTER & set(parts) and stands.presence is Presence.RUNNING:
        return with_live(situation, parts)
    return situation


def _k3d_environment(session: Session, settings: Settings) -> dict[str, str]:
    """K3D_IMAGE_… from the settings, where another layer than the environment set them."""
    own = {
        "K3D_IMAGE_TOOLS": settings.cluster.tools_image,
        "K3D_IMAGE_LOADBALANCER": settings.cluster.loadbalancer_image,
    }
    given = {key: value for key, value in own.items() if value}
    return k3d.environment({**session.environ, **given}, session.folders.state)


def _registries(programs: Programs) -> dict[str, registry.Registry]:
    ids = programs.run(docker.containers("k3d.role=registry")).out.split()
    return registry.read(docker.inspected(programs.run(docker.inspect(ids)).out)) if ids else {}


def _push_port(settings: Settings, kept: dict[str, registry.Registry]) -> int:
    """The host port of the push registry: by it, too, images are named. A new one gets the wish, if it is free."""
    found = kept.get(registry.push_name(settings))
    return found.port if found is not None and found.port is not None else settings.registries.port


def _major(version: str | None) -> int:
    digits = (version or "").lstrip("v").split(".")[0]
    return int(digits) if digits.isdigit() else 4


def _secrets(session: Session, parts: Collection[str]) -> dict[str, Any]:
    """Values are read only where secrets are put in: a task that needs none asks for none."""
    if "secrets" not in parts:
        return {}
    programs = session.programs()

    def output(argv: Sequence[str]) -> str:
        program = str(session.root / argv[0]) if "/" in argv[0] else argv[0]
        command = Command(argv=(program, *argv[1:]), cwd=session.root, deadline=session.settings.timeouts.command)
        return programs.run(command, quiet=True).out

    made, left_out = wanted_secrets(session.settings, session.environ, reader(session.root), output)
    return {"secrets": tuple(made), "secrets_left_out": tuple((each.name, each.why) for each in left_out)}


def refuse_foreign(situation: Situation) -> None:
    """A cluster of this name that this project did not make is never touched."""
    if situation.standing.presence is not Presence.FOREIGN:
        return
    raise BadInput(
        f"there is a k3d cluster '{situation.name}' that this project did not make",
        why=f"its nodes lack the label {docker.OURS}: it may hold somebody's work",
        fix=f"choose another name (CLUSTER_NAME=…), or delete it yourself: k3d cluster delete {situation.name}",
    )


def require_running(situation: Situation) -> None:
    """Single tasks work in a cluster that runs, and never make one. Raises `ClusterAbsent`, `ClusterStopped`."""
    presence = situation.standing.presence
    if situation.engine == "existing" or presence is Presence.RUNNING:
        return
    if presence is Presence.STOPPED:
        raise ClusterStopped(
            f"the cluster '{situation.name}' is stopped",
            why="nodes that do not run: "
            + ", ".join(node.name for node in situation.standing.nodes if not node.running),
            fix="invoke cluster starts it; invoke up starts it and does the rest",
        )
    absent = presence is Presence.ABSENT
    raise ClusterAbsent(
        f"there is no cluster '{situation.name}'" + ("" if absent else " whose creation was completed"),
        why="this task works in a cluster that runs, and never makes one",
        fix="invoke cluster makes it; invoke up makes it and does the rest",
    )


def with_live(situation: Situation, parts: Collection[str]) -> Situation:
    """The same with what is in the cluster. Raises `LaunchError` for an API that does not answer."""
    from tasks.facts.live import look
    from tasks.tools.kubeapi import ready

    if situation.engine != "existing" and not _reachable(situation):
        fetch_kubeconfig(situation, None, port=_first_api(situation.standing))
        if not _patient(lambda: ready(situation.api())):
            raise _silent(situation)
    interesting = [(release.namespace, release.name) for release in situation.releases]
    return replace(situation, live=look(situation.api(), wanted_keys(situation, parts), interesting))


def _reachable(situation: Situation) -> bool:
    """Whether the private kubeconfig of an earlier run is still right."""
    from tasks.tools.kubeapi import credentials, ready

    path = situation.folders.kubeconfig
    if not path.exists():
        return False
    access = credentials(path.read_text())
    port = _first_api(situation.standing)
    return access is not None and access.server.endswith(f":{port}") and ready(situation.api())


def _patient(look: Any, seconds: float = 10.0) -> bool:  # noqa: ANN401 - a question without arguments
    """An API that was started a moment ago needs a little; one that is dead never answers."""
    import time

    end = time.monotonic() + seconds
    while not look():
        if time.monotonic() > end:
            return False
        time.sleep(0.25)
    return True


def _first_api(stands: Standing) -> int | None:
    return stands.port(6443, first_server=True)


def _silent(situation: Situation) -> LaunchError:
    from tasks.causes.node_death import is_last, node_death

    first = situation.standing.first
    if first is not None:
        done = situation.programs.run(docker.logs(first.name), quiet=True)
        if any(is_last(line) for line in (done.out + done.err).splitlines()):
            return node_death(first.name, 1, False, done.out + done.err)
    return LaunchError(
        f"the cluster '{situation.name}' runs, but its API does not answer",
        why=f"nothing answered at 127.0.0.1:{_first_api(situation.standing)} within 10 s",
        fix=f"docker logs k3d-{situation.name}-server-0; `invoke down --stop` and `invoke up` start it again",
    )


def _ports(programs: Programs, settings: Settings, stands: Standing, host: Engine) -> Ports:
    """Ports of the cluster that is there, or the wishes that are free, else their fallbacks, else any."""
    if stands.of("server"):
        api = stands.port(6443) or settings.cluster.ports.api
        early = stands.port(6443, first_server=True)
        return Ports(
            http=stands.port(80), https=stands.port(443), api=api, early=early if early and early != api else None
        )
    return choose_ports(programs, settings, frozenset(), host)


def choose_ports(programs: Programs, settings: Settings, refused: frozenset[int], host: Engine | None) -> Ports:
    """Each wish, else its fallback, else any free port; none twice, and none that the engine has refused."""
    from tasks.facts.ports import choose, docker_ports, low_port_start, taken

    lowest = low_port_start() if host is not None and host.rootless else 0
    wishes, address = settings.cluster.ports, settings.cluster.bind_address
    published = docker_ports(programs.run(docker.published()).out)
    used = set(refused)

    def busy(port: int) -> bool:
        return port in used or port in published or port < lowest or taken(address, port)

    def pick(wish: int, fallback: int | None) -> int:
        port = choose(wish, fallback, busy)
        used.add(port)
        return port

    http = pick(wishes.http, wishes.http_fallback) if wishes.http is not None else None
    https = pick(wishes.https, wishes.https_fallback) if wishes.https is not None else None
    api = pick(wishes.api, wishes.api_fallback)
    early = pick(api + 1000, None) if balanced(settings) else None
    return Ports(http=http, https=https, api=api, early=early)


def choosers(situation: Situation) -> Choosers:
    """Port choices for plans."""
    from tasks.facts.ports import choose, docker_ports, taken

    settings, programs = situation.settings, situation.programs
    given: set[int] = set()

    def again(ports: Ports, told: int | None) -> Ports:
        """The engine has refused one of these: the one that it told of, and those that are seen to be taken."""
        tried = {port for port in (ports.http, ports.https, ports.api, ports.early) if port is not None}
        published = docker_ports(programs.run(docker.published()).out)
        refused = frozenset(port for port in tried if port == told or port in published or _hidden(port))
        return choose_ports(programs, settings, refused, situation.host)

    def _hidden(port: int) -> bool:
        return taken(settings.cluster.bind_address, port)

    def free_port(wish: int | None) -> int:
        published = docker_ports(programs.run(docker.published()).out)
        port = choose(
            wish or settings.registries.port + 1,
            None,
            lambda p: p in given or p in published or taken("127.0.0.1", p),
        )
        given.add(port)
        return port

    return Choosers(next_ports=again, free_port=free_port)


def _existing(session: Session, parts: Collection[str]) -> Situation:
    """A cluster that somebody else made: its context becomes a private kubeconfig, nothing else is asked."""
    from tasks.facts.machine import machine
    from tasks.facts.sizing import size
    from tasks.facts.versions import versions
    from tasks.tools import kubectl
    from tasks.tools.kubeconfig import write_private
    from tasks.tools.program import CommandFailed

    settings: Settings = session.settings
    programs = session.programs()
    context = str(session.options.context)
    try:
        flat = programs.run(kubectl.flattened(context), quiet=True).out
    except CommandFailed as error:
        names = programs.run(kubectl.contexts()).out.split()
        raise BadInput(
            f"your kubeconfig has no context '{context}'",
            why=error.tail()[-1] if error.tail() else error.what,
            fix=f"use one of: {', '.join(names) or 'there are none'}",
        ) from None
    write_private(session.folders.kubeconfig, flat)
    here, version = machine(), versions(programs, session.state)
    sized = size(here.cpus, here.memory_bytes)
    session.system.update(
        cpus=here.cpus,
        memory_gib=round(here.memory_bytes / 1024**3, 1),
        arch=here.arch,
        os=here.os,
        docker=None,
        k3d=None,
        kubectl=version.kubectl,
        helm=version.helm,
        k3s_image=None,
    )
    situation = Situation(
        settings=settings,
        root=session.root,
        environ=session.environ,
        programs=programs,
        k3d_programs=programs,
        helm_programs=programs.with_env(helm.environment(session.folders.cache)),
        folders=session.folders,
        engine="existing",
        standing=Standing(name=context, presence=Presence.RUNNING),
        shape=Shape(image="", agents=0, concurrency=settings.pool.concurrency or sized.concurrency),
        releases=releases(settings),
        helm_major=_major(version.helm),
        **_secrets(session, parts),
    )
    return with_live(situation, parts)
