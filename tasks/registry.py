"""The push registry and the pull-through caches: shared by all clusters of this engine."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.acting import run, running
from tasks.engine.step import Action, Context, Report, Retry, Step
from tasks.errors import BadInput
from tasks.lock import held
from tasks.objects.registries import TEMPLATE, registries_yaml
from tasks.prepull import step_name
from tasks.settings.tree import Cache, Settings
from tasks.situation import Situation
from tasks.tools import docker
from tasks.tools.program import CommandFailed
from tasks.tools.secret import conceal

TASK = "registry"
PUSH = "push"
Making = Callable[[Context, int], None]
"""Makes a container that publishes the port given."""


@dataclass(frozen=True, kw_only=True)
class Registry:
    """One registry container of ours that exists."""

    name: str
    upstream: str
    """The registry it stands before, or `push`."""
    running: bool
    port: int | None
    networks: tuple[str, ...]

    @property
    def clusters(self) -> tuple[str, ...]:
        """Names of the clusters whose network it is in."""
        return tuple(n.removeprefix("k3d-") for n in self.networks if n.startswith("k3d-"))


def read(inspected: Sequence[Mapping[str, Any]]) -> dict[str, Registry]:
    """Registries by container name."""
    found = {}
    for each in inspected:
        labels = each["Config"].get("Labels") or {}
        name = each["Name"].lstrip("/")
        bound = (each["HostConfig"].get("PortBindings") or {}).get("5000/tcp") or [{}]
        port = str(bound[0].get("HostPort") or labels.get("k3s.registry.port.external", ""))
        found[name] = Registry(
            name=name,
            upstream=labels.get(docker.CACHE_LABEL, PUSH),
            running=bool(each["State"].get("Running")),
            port=int(port) if port.isdigit() else None,
            networks=tuple(sorted(each["NetworkSettings"].get("Networks") or ())),
        )
    return found


def upstream_url(cache: Cache) -> str:
    """Where a cache asks."""
    return cache.url or f"https://{cache.upstream}"


def cache_name(cache: Cache) -> str:
    """The container of a cache.

    One that asks elsewhere than usual is another container: a cache is never rebuilt under a cluster.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", cache.upstream.lower()).strip("-")
    usual = {f"https://{cache.upstream}", "https://registry-1.docker.io" if cache.upstream == "docker.io" else ""}
    url = upstream_url(cache).rstrip("/")
    own = url not in usual or cache.username_env or cache.password_env
    mark = f"-{hashlib.sha256(f'{url} {cache.username_env}'.encode()).hexdigest()[:6]}" if own else ""
    return f"k3d-openframe-cache-{slug}{mark}"


def push_name(settings: Settings) -> str:
    """The container of the push registry."""
    return f"k3d-{settings.registries.name}"


def wanted(settings: Settings) -> dict[str, Cache | None]:
    """Containers to be there, each with the cache it is; None: the push registry."""
    registries = settings.registries
    push: dict[str, Cache | None] = {push_name(settings): None} if registries.push else {}
    return {**push, **{cache_name(cache): cache for cache in registries.caches}}


def used(settings: Settings) -> tuple[str, ...]:
    """As k3d's `registries.use` wants them: the push registry first, since k3d tells clients of the first one."""
    return tuple(f"{name}:5000" for name in wanted(settings))


def mirrors(settings: Settings) -> dict[str, list[str]]:
    """For each upstream the cache that nodes ask first."""
    return {cache.upstream: [f"http://{cache_name(cache)}:5000"] for cache in settings.registries.caches}


def nodes_file(settings: Settings, root: Path, port: int) -> str:
    """The nodes' registries.yaml, where the push registry is published at `port`. Raises `BadInput`."""
    push = push_name(settings) if settings.registries.push else None
    return registries_yaml(root / TEMPLATE, mirrors(settings), push=push, port=port)


def steps(situation: Situation, free_port: Callable[[int | None], int]) -> list[Step]:
    """What is missing is made, what is stopped is started. `free_port`: a port near a wish, each once."""
    settings = situation.settings
    found: list[Step] = []
    for name, cache in wanted(settings).items():
        there: Registry | None = situation.registries.get(name)
        what = f"registry: {'push' if cache is None else f'cache of {cache.upstream}'}"
        if there is not None and there.running:
            found.append(Step(name=what, task=TASK, skip=f"{name} runs at 127.0.0.1:{there.port}"))
        elif there is not None:
            found.append(
                Step(
                    name=what,
                    task=TASK,
                    action=running(situation.programs, docker.start([name])),
                    why=f"{name} is stopped",
                    expected=0.4,
                )
            )
        else:
            found.append(_made(situation, what, name, cache, free_port))
    return found


def _made(
    situation: Situation, what: str, name: str, cache: Cache | None, free_port: Callable[[int | None], int]
) -> Step:
    settings = situation.settings
    login = cache is not None and bool(cache.username_env or cache.password_env)
    make = _with_login(situation, name, cache) if cache is not None and login else _fresh(situation, name, cache)
    wish = settings.registries.port if cache is None else None
    return Step(
        name=what,
        task=TASK,
        action=_making(situation, name, cache, lambda: free_port(wish), make),
        needs=(step_name(settings.registries.image),),
        retry=Retry(attempts=3, first=0.1),
        why="it is missing" + ("; its login goes in as a file, never as an argument" if login else ""),
        expected=0.6,
    )


def labels(cache: Cache | None) -> dict[str, str]:
    """Our own labels of a registry."""
    if cache is None:
        return {docker.CACHE_LABEL: PUSH}
    return {docker.CACHE_LABEL: cache.upstream, "openframe.upstream": upstream_url(cache)}


def _fresh(situation: Situation, name: str, cache: Cache | None) -> Making:
    def make(context: Context, chosen: int) -> None:
        command = docker.run_registry(
            name,
            situation.settings.registries.image,
            port=chosen,
            volume=name,
            labels=labels(cache),
            upstream=None if cache is None else upstream_url(cache),
        )
        run(situation.programs, command, context)

    return make


def _with_login(situation: Situation, name: str, cache: Cache) -> Making:
    def make(context: Context, chosen: int) -> None:
        from tasks.engine.folder import write_whole

        command = docker.create_registry(
            name, situation.settings.registries.image, port=chosen, volume=name, labels=labels(cache)
        )
        run(situation.programs, command, context)
        path: Path = situation.folders.state / f"{name}.yml"
        try:
            write_whole(path, configuration(cache, situation.environ))
            situation.programs.run(docker.copy_in(str(path), name, "/etc/docker/registry/config.yml"), context)
        finally:
            path.unlink(missing_ok=True)
        run(situation.programs, docker.start([name]), context)

    return make


def _making(situation: Situation, name: str, cache: Cache | None, port: Callable[[], int], make: Making) -> Action:
    """Make one container. Launches of two clusters may want it at the same moment: one makes it, the other finds it."""

    def act(context: Context) -> Report | None:
        with held(situation.folders.state.parent / "registries.lock", "registry", context.deadline):
            found = docker.inspected(situation.programs.run(docker.inspect([name]), context).out)
            if found and found[0]["State"].get("Running"):
                return Report(why=f"{name} was made by another launch meanwhile", skipped=True)
            if found:  # made, but it could not be started: its port was taken
                situation.programs.run(docker.remove([name]), context)
            chosen = port()
            situation.programs.run(docker.create_volume(name, labels(cache)), context)
            try:
                make(context, chosen)
            except CommandFailed as error:
                error.transient = error.transient or getattr(error, "cause", "") == "port-taken"
                raise
        if cache is None:
            situation.handover.push_port = chosen
        return Report(why=f"{name} at 127.0.0.1:{chosen}", exit_code=0)

    return act


def configuration(cache: Cache, environ: Mapping[str, str]) -> str:
    """The configuration of distribution for a cache with a login (docs: distribution, `proxy`)."""
    import yaml

    login = {}
    for key, variable in (("username", cache.username_env), ("password", cache.password_env)):
        if not variable:
            continue
        value = environ.get(variable, "")
        if not value:
            raise BadInput(
                f"the cache of {cache.upstream} has no {key}: {variable} is empty",
                why="registries.caches names that variable for the upstream's login",
                fix=f"set {variable}, or take {key}_env out of the cache's settings",
            )
        conceal(value)
        login[key] = value
    text: str = yaml.safe_dump(
        {
            "version": 0.1,
            "storage": {"filesystem": {"rootdirectory": "/var/lib/registry"}},
            "http": {"addr": ":5000"},
            "proxy": {"remoteurl": upstream_url(cache), **login},
        }
    )
    return text
