"""The facts that checks judge: all that can be asked, side by side, or only what costs no process."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.checks.facts import Context, Disk, HostFacts, Inotify, Rights, kubernetes_minor
from tasks.checks.network import hosts, wishes
from tasks.checks.storage import hub
from tasks.clients import docker
from tasks.clients.kubeconfig import target, unwritable
from tasks.core.errors import BadInput, LaunchError, NoEngine
from tasks.facts import ports
from tasks.facts.endpoint import endpoint
from tasks.facts.engine import Engine, engine
from tasks.facts.machine import size, system
from tasks.facts.owner import Owner
from tasks.facts.owner import read as owner_of
from tasks.facts.programs import Versions, numbers, versions
from tasks.host.programs import Pins, read
from tasks.process.command import Command, Programs
from tasks.settings.derived import k3s_image

if TYPE_CHECKING:
    from tasks.facts.facts import Facts
    from tasks.host.trust import Trust
    from tasks.run.session import Session
    from tasks.settings.schema import Settings

_INOTIFY = Path("/proc/sys/fs/inotify")
_RESOLVE_S = 3.0
"""Seconds for all names together: a resolver that takes longer is as good as none."""
_SERVICES = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SUDO = Command(argv=("sudo", "-n", "true"), deadline=5.0, ok=(0, 1))


def disk(host: Engine) -> Disk | None:
    """Room where the engine keeps its data; None where that is not on this machine."""
    if not host.here or not host.root_dir:
        return None
    try:
        found = os.statvfs(host.root_dir)
    except OSError:
        return None
    return Disk(total=found.f_blocks * found.f_frsize, free=found.f_bavail * found.f_frsize)


def inotify(host: Engine, folder: Path = _INOTIFY) -> Inotify | None:
    """Limits of this kernel, if it is the engine's too."""
    if not host.here:
        return None
    try:
        return Inotify(
            instances=int((folder / "max_user_instances").read_text()),
            watches=int((folder / "max_user_watches").read_text()),
        )
    except (OSError, ValueError):
        return None


def unpigz(host: Engine, path: str = _SERVICES) -> bool | None:
    """Whether an engine on this machine finds it: services get a PATH of their own (man 5 systemd.exec)."""
    if not host.here:
        return None
    return shutil.which("unpigz", path=f"{path}:{os.environ.get('PATH', '')}") is not None


def rights(programs: Programs) -> Rights:
    """Whether something can be run as root without being asked for a password."""
    if os.geteuid() == 0:
        return Rights(root=True, sudo=None)
    if programs.where("sudo") is None:
        return Rights(root=False, sudo=None)
    try:
        return Rights(root=False, sudo=programs.run(_SUDO).code == 0)
    except LaunchError:
        return Rights(root=False, sudo=False)


def unresolved(names: Collection[str], seconds: float = _RESOLVE_S) -> dict[str, str]:
    """Those names that have no address, with the resolver's words.

    The resolver cannot be interrupted: its threads are left behind, and end by themselves.
    """
    answers: dict[str, str] = {}

    def ask(name: str) -> None:
        try:
            socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM)
            answers[name] = ""
        except (OSError, UnicodeError) as error:
            answers[name] = str(getattr(error, "strerror", None) or error)

    threads = {name: threading.Thread(target=ask, args=(name,), daemon=True) for name in names}
    for thread in threads.values():
        thread.start()
    end = time.monotonic() + seconds
    for thread in threads.values():
        thread.join(max(0.0, end - time.monotonic()))
    late = f"no answer within {seconds:g} s"
    return {name: error for name in names if (error := answers.get(name, late))}


def server(programs: Programs, name: str) -> Context:
    """The API server's version, by the user's own kubeconfig."""
    argv = ("kubectl", "--context", name, "--request-timeout=5s", "version", "--output=json")
    try:
        done = programs.run(Command(argv=argv, deadline=15.0, ok=(0, 1)))
    except LaunchError as error:
        return Context(name=name, version=None, error=error.what)
    try:
        return Context(name=name, version=json.loads(done.out)["serverVersion"]["gitVersion"])
    except (ValueError, KeyError, TypeError):
        said = done.err.strip().splitlines()
        return Context(name=name, version=None, error=said[-1] if said else "kubectl told no version of a server")


_SYSTEMD = Path("/run/systemd/system")
_LIST = replace(docker.published(), deadline=20.0)


def gather(session: Session) -> HostFacts:
    """Everything, for `doctor`."""
    settings: Settings = session.settings
    programs = session.programs()
    if session.options.engine == "existing":
        return _existing(session, settings, programs)
    with ThreadPoolExecutor(max_workers=6) as pool:
        left = pool.submit(hub, settings, session.environ) if session.rehearsal is None else None
        asked = pool.submit(_engine, programs)
        listed = pool.submit(_list, programs)
        told = pool.submit(versions, programs, session.state)
        asks = () if session.rehearsal is not None else hosts(settings)  # a rehearsal asks nobody
        names = pool.submit(unresolved, asks)
        may = pool.submit(rights, programs)
        trusted = pool.submit(_trusted, session.environ)
        found, error = asked.result()
        out = listed.result()
    facts = HostFacts(
        settings=settings,
        environ=session.environ,
        engine=found,
        no_engine=error,
        startable=_SYSTEMD.is_dir() and system() == "linux" and endpoint(session.environ).default,
        versions=told.result(),
        pins=_pins(session),
        kubernetes=kubernetes_minor(k3s_image(settings)),
        unresolved=names.result(),
        trusted=trusted.result(),
        rights=may.result(),
        folders=_folders(session),
        unwritable=unwritable(target(session.environ)) if settings.kubeconfig.merge else None,
        hub=left.result() if left is not None else None,
    )
    if found is None:
        return facts
    return _on_engine(replace(facts, missing=_missing(session, programs, facts)), found, out, session.owner)


def brief(session: Session, facts: Facts, host: Engine) -> HostFacts:
    """What can be known without asking anybody, before a cluster is made."""
    told = session.system
    chosen = facts.ports
    return HostFacts(
        settings=facts.settings,
        environ=facts.environ,
        engine=host,
        versions=Versions(k3d=told.get("k3d"), kubectl=told.get("kubectl"), helm=told.get("helm")),
        pins=_pins(session),
        fetched=True,
        kubernetes=kubernetes_minor(facts.shape.image),
        agents=facts.shape.agents,
        disk=disk(host),
        inotify=inotify(host),
        low_port_start=ports.low_port_start(),
        chosen=tuple(port for port in (chosen.http, chosen.https, chosen.api) if port) if chosen else None,
        bindable=_bindable(facts.settings, host),
    )


def _engine(programs: Programs) -> tuple[Engine | None, NoEngine | None]:
    try:
        return engine(programs), None
    except NoEngine as error:
        return None, error


def _trusted(environ: Mapping[str, str]) -> Trust | LaunchError:
    from tasks.host.trust import trust

    try:
        return trust(environ)
    except LaunchError as error:
        return error


def _list(programs: Programs) -> str:
    """Containers with their ports; nothing where no engine answers, which is told elsewhere."""
    try:
        return programs.run(_LIST).out
    except LaunchError:
        return ""


def _missing(session: Session, programs: Programs, facts: HostFacts) -> tuple[str, ...] | None:
    """Images of a launch that are not there; None where the engine does not tell."""
    from tasks.settings.derived import host_images

    told = facts.versions.k3d if facts.versions is not None else None
    refs = host_images(facts.settings, session.environ, told or _pins(session).of("k3d").version)
    try:
        found = docker.platforms(programs.run(docker.images(refs)).out, refs)
    except LaunchError:
        return None
    own = facts.engine.platform if facts.engine is not None else ""
    return tuple(ref for ref in refs if ref not in found or not docker.fits(found[ref], own))


def _on_engine(facts: HostFacts, host: Engine, out: str, mine: Owner) -> HostFacts:
    """With what is known only where an engine answers."""
    settings = facts.settings
    sized = size(host.cpus, host.memory_bytes)
    nodes = ports.holders(out).values()
    other = _other(settings, nodes, mine)
    own, busy = _holders(settings, out, foreign=bool(other))
    used = [fallback if wish in busy and wish not in own else wish for _what, wish, fallback in wishes(settings)]
    return replace(
        facts,
        agents=settings.cluster.agents if settings.cluster.agents is not None else sized.agents,
        other_owner=other,
        stands=any(each.labels.get(docker.CLUSTER_LABEL) == settings.cluster.name for each in nodes),
        disk=disk(host),
        inotify=inotify(host),
        unpigz=unpigz(host),
        low_port_start=ports.low_port_start(),
        chosen=tuple(port for port in used if port is not None),
        bindable=_bindable(settings, host),
        taken=busy,
        own=own,
    )


def _other(settings: Settings, nodes: Iterable[ports.Holder], mine: Owner) -> str:
    """Who else owns the cluster of this name."""
    labels = [each.labels for each in nodes if each.labels.get(docker.CLUSTER_LABEL) == settings.cluster.name]
    owners = [found for each in labels if (found := owner_of(each.get(docker.OWNER, ""))) is not None]
    return "" if any(each.id == mine.id for each in owners) else next((each.name for each in owners), "")


def _holders(settings: Settings, out: str, *, foreign: bool = False) -> tuple[frozenset[int], dict[int, str]]:
    """Ports that this cluster and the shared registries hold, and all that anybody holds, with who it is."""
    held = ports.holders(out)
    ours = {} if foreign else {docker.CLUSTER_LABEL: settings.cluster.name, docker.OURS: settings.cluster.name}
    own = {
        port
        for port, holder in held.items()
        if docker.CACHE_LABEL in holder.labels or any(holder.labels.get(key) == name for key, name in ours.items())
    }
    wanted = {port for _what, wish, other in wishes(settings) for port in (wish, other) if port is not None}
    busy = {port: f"the container {held[port].container}" for port in wanted if port in held}
    address = settings.cluster.bind_address
    found = {port for port in wanted - busy.keys() if ports.taken(address, port)}
    who = ports.listening(found) if found else {}
    return frozenset(own), busy | {port: who.get(port, "a program that does not show") for port in found}


def _bindable(settings: Settings, host: Engine) -> bool | None:
    """None where ports are published on another machine, or by one that forwards them."""
    return ports.bindable(settings.cluster.bind_address) if host.here else None


def _folders(session: Session) -> BadInput | None:
    try:
        session.check_folders()
    except BadInput as error:
        return error
    return None


def _pins(session: Session) -> Pins:
    return read(session.root / "config" / "pins.yaml")


def _existing(session: Session, settings: Settings, programs: Programs) -> HostFacts:
    """For a cluster that somebody else made: no engine is asked."""
    name = str(session.options.context)
    with ThreadPoolExecutor(max_workers=4) as pool:
        told = pool.submit(versions, programs, session.state)
        names = pool.submit(unresolved, hosts(settings))
        asked = pool.submit(server, programs, name)
        version, found = told.result(), asked.result()
    minor = numbers(found.version)
    return HostFacts(
        settings=settings,
        environ=session.environ,
        versions=version,
        pins=_pins(session),
        kubernetes=minor[1] if len(minor) > 1 else None,
        unresolved=names.result(),
        context=found,
    )
