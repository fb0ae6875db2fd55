"""The container of one registry: its configuration and creation."""

import contextlib
import json
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tasks.clients import docker
from tasks.core.errors import BadInput, LaunchError
from tasks.core.files import private_file
from tasks.core.lock import held
from tasks.core.redact import conceal
from tasks.diagnose.command import run_command
from tasks.engine.step import Action, Context, Report
from tasks.facts.cluster import ContainerState, last_words, owner_of
from tasks.facts.facts import AUTHORITIES, Facts, Network
from tasks.facts.registries import Registry, read
from tasks.facts.secrets import login_text
from tasks.k3d.networks import join, named, start_container
from tasks.process.command import CommandFailed, Completed
from tasks.settings.derived import upstream_url
from tasks.settings.schema import Cache

Making = Callable[[Context, int], str]
"""Creates a container that publishes the given port; returns its id."""
_STARTS = 5.0
"""Seconds that a registry may need until it answers; it takes 0.3 (measured)."""
_CONFIGURATION = "/etc/docker/registry/config.yml"
"""Path in the image registry:2, if a container does not show it."""

_EXPIRY = "/var/lib/registry/scheduler-state.json"
"""When a cache removes its content (distribution: `registry/proxy/scheduler`)."""
_MADE, _PAUSE = 15.0, 0.3
"""Seconds after which another user's container that was never started counts as abandoned; the polling interval."""
_AFTERWARDS = 120.0
"""Seconds more than `k3d cluster create` may take."""
_AGAIN = frozenset({"port-taken", "name-taken"})
"""Another launch has taken the port, or creates the same registry."""


def lock(clusters: Path) -> Path:
    """Locked exclusively by `--purge`, and shared by registry creations. No cluster can have this name."""
    return clusters / ".registries.lock"


def labels(cache: Cache | None, network: Network | None = None) -> dict[str, str]:
    """Labels of a registry that this project sets."""
    if cache is None:
        return {docker.CACHE_LABEL: docker.PUSH}
    mark = {docker.NETWORK_LABEL: network.mark} if network is not None and network.mark else {}
    return {docker.CACHE_LABEL: cache.upstream, "openframe.upstream": upstream_url(cache), **mark}


def fits(facts: Facts, there: Registry, cache: Cache | None, *, required: bool = False) -> bool:
    """Whether a registry has the configured proxies and certificate authorities; foreign ones always do,
    and so does one created by another user while clusters pull through it.

    With a bundle a cache uses no upstream, unless clusters of others pull through it. One filled from a bundle
    stays as it is for launches without one; `required` (`invoke registry`) connects it to its upstream again.
    """
    others = set(there.clusters) - {facts.name}
    theirs = there.owner not in ("", facts.shape.owner)
    if cache is None or not there.ours or (theirs and others):
        return True
    if there.loaded:
        return facts.bundle is not None or not required
    if facts.bundle is not None and not others:
        return False
    network = facts.shape.network
    given = network.environment().items()
    return there.network == network.mark and all(there.environment.get(name) == value for name, value in given)


def _creating(facts: Facts, name: str, cache: Cache | None) -> Making:
    """Started at once, or created first if files must be copied in: its login, its certificate authorities."""
    asks = cache is not None and facts.bundle is None
    network = facts.shape.network if asks else Network()
    login = asks and cache is not None and bool(cache.username_env or cache.password_env)
    owned = {docker.OWNER: facts.shape.owner} if facts.shape.owner else {}

    loaded = {docker.BUNDLE_LABEL: "true"} if cache is not None and not asks else {}

    def make(context: Context, chosen: int) -> str:
        configured = configuration(cache, facts.environ) if cache is not None and login else ""
        with contextlib.ExitStack() as files:

            def private(text: str, suffix: str, mode: int = 0o600) -> str:
                return files.enter_context(
                    private_file(facts.paths.state.parent, name, text.encode(), suffix=suffix, mode=mode)
                )

            variables = "".join(f"{key}={value}\n" for key, value in network.environment().items())
            spec = docker.RegistrySpec(
                name=name,
                image=facts.settings.registries.image,
                port=chosen,
                volume=name,
                labels={**labels(cache, network), **owned, **loaded},
                upstream=None if cache is None or login or not asks else upstream_url(cache),
                env_file=private(variables, ".env") if variables else None,
                platform=facts.platform,
            )
            if not (login or network.authorities):
                return run_command(facts.programs, docker.run_registry(spec), context).out.strip()
            made = run_command(facts.programs, docker.create_registry(spec), context).out.strip()
            if configured:
                found = docker.inspected(facts.programs.run(docker.inspect([name]), context).out)
                copy = docker.copy_in(private(configured, ".yml"), name, _configured_by(found))
                run_command(facts.programs, copy, context)
            if network.authorities:
                copy = docker.copy_in(private(network.authorities, ".pem", 0o644), name, AUTHORITIES)
                run_command(facts.programs, copy, context)
        run_command(facts.programs, docker.start([name]), context)
        return made

    return make


def _configured_by(inspected: Sequence[Mapping[str, Any]]) -> str:
    """The configuration file in a registry's command: version 3 of distribution has another path than version 2."""
    words = [word for each in inspected for word in each.get("Args") or () if word.endswith((".yml", ".yaml"))]
    return words[-1] if words else _CONFIGURATION


def ensured(
    facts: Facts,
    name: str,
    cache: Cache | None,
    port: Callable[[], int],
    *,
    network: str | None,
    required: bool = True,
) -> Action:
    """Create or start one container, and connect it to the network. Raises `LaunchError`, `BadInput`.

    `port`: returns a free one. `required`: one that keeps exiting is a failure, not a note.

    Launches of two clusters may need it at the same moment: one creates it, the other finds it. One with outdated
    proxies or certificate authorities is recreated with its port, its networks and its content.
    """
    make = _creating(facts, name, cache)
    clusters = facts.paths.state.parent
    replaced: list[Registry] = []

    def fresh(context: Context) -> int:
        chosen = replaced[0].port if replaced and context.attempt == 1 else None
        chosen = port() if chosen is None else chosen
        run_command(facts.programs, docker.create_volume(name, labels(cache)), context)
        try:
            facts.outputs.registry_ids[name] = make(context, chosen)
        except CommandFailed as error:
            error.amend(transient=error.transient or error.cause in _AGAIN)
            raise
        return chosen

    def act(context: Context) -> Report | None:
        mended = ""
        with contextlib.ExitStack() as locks:
            locks.enter_context(held(lock(clusters), "registry", context.deadline, shared=True))
            locks.enter_context(held(clusters / f".{name}.lock", "registry", context.deadline))
            found = _settled(facts, name, context)
            if found is not None and not found.started:
                _remove_dead(facts, found, context)
                found = None
            elif found is not None and not fits(facts, found, cache, required=required):
                run_command(facts.programs, docker.remove([name]), context)  # its named volume stays
                replaced.append(found)
                found = None
            if found is not None and not found.running:
                mended = _revive(facts, found, context)
            chosen = fresh(context) if found is None else found.port
            before = {each for one in replaced for each in named(one.networks)}
            joins = {network} if network is not None and (found is None or network not in found.networks) else set()
            for each in sorted(joins | (before if found is None else set())):
                join(facts, each, name, context, make=each == network)
        notes: tuple[str, ...] = ()
        if chosen is not None:
            facts.outputs.registry_ports[name] = chosen
            if (found is None or not found.running) and not facts.backend.registry_answers(chosen, context, _STARTS):
                notes = _not_up(facts, name, context, required=required)
        if found is None:
            return Report(why=f"{name} at 127.0.0.1:{chosen}", exit_code=0, notes=notes)
        if found.running:
            return Report(why=f"{name} runs at 127.0.0.1:{chosen}", skipped=not joins)
        return Report(why="; ".join(filter(None, (f"{name} at 127.0.0.1:{chosen}, started", mended))), notes=notes)

    return act


def _settled(facts: Facts, name: str, context: Context) -> Registry | None:
    """The current container; waits for one that another user is creating. Raises `LaunchError` if it is no registry."""
    end = time.monotonic() + _MADE
    while True:
        inspected = docker.inspected(facts.programs.run(docker.inspect([name]), context).out)
        for each in inspected:
            _refuse_other(name, each["Config"].get("Labels") or {})
        found = read(inspected).get(name)
        others = found is not None and found.owner not in ("", facts.shape.owner)
        if found is None or found.started or not others or time.monotonic() >= end:
            return found
        context.wait(_PAUSE)


def _refuse_other(name: str, labels: Mapping[str, str]) -> None:
    if labels.get("k3d.role") != "registry":
        raise LaunchError(
            f"a container '{name}' exists that is no registry",
            why="the registry needs that name, and k3d only connects containers that have its label k3d.role=registry",
            fix=f"rename it (docker rename {name} OTHER), or choose another registries.name",
        )


def _revive(facts: Facts, found: Registry, context: Context) -> str:
    """Start a stopped registry; returns what was repaired for that, if anything.

    A cache whose list of expiry times is truncated, after a full disk or a power cut, does not start until that file is
    removed. No cached content is lost without it: content just does not expire.
    """
    programs, name = facts.programs, found.name
    if found.upstream != docker.PUSH and _cut_off(programs.run(docker.has_file(name, _EXPIRY), context, quiet=True)):
        run_command(programs, docker.stop([name], 0), context)
        with private_file(facts.paths.state.parent, name, b"{}", suffix=".json", mode=0o644) as empty:
            run_command(programs, docker.copy_in(empty, name, _EXPIRY), context)
        start_container(programs, name, found.networks, docker.start([name]), context)
        return "its list of expiry times was truncated and is now empty; its content stays"
    commands = {ContainerState.PAUSED: docker.unpause([name]), ContainerState.LOOPING: docker.restart(name)}
    start_container(programs, name, found.networks, commands.get(found.state, docker.start([name])), context)
    return ""


def _cut_off(copied: Completed) -> bool:
    """Whether an existing file is not valid JSON. `copied`: an archive of it from `docker cp`."""
    if copied.code != 0:
        return False
    try:
        content = docker.extracted(copied.raw)
        document = json.loads(content) if content is not None else {}
    except (tarfile.TarError, IndexError):
        return False  # it could not be read: nothing is known
    except ValueError:
        return True
    return not isinstance(document, dict)


def _not_up(facts: Facts, name: str, context: Context, *, required: bool) -> tuple[str, ...]:
    """A note on a registry that was started and does not answer. A slow one gets none: clients retry.

    Raises `LaunchError` for one that has exited and is `required`; without a cache nodes pull from its upstream.
    """
    found = read(docker.inspected(facts.programs.run(docker.inspect([name]), context).out)).get(name)
    if found is None or found.state in (ContainerState.RUNNING, ContainerState.CREATED):
        return ()
    found = replace(found, last=last_words(facts.programs, name))
    error = LaunchError(
        f"the registry {name} {found.condition}",
        why="it exits as soon as it is started",
        fix=f"docker logs {name} shows more; `invoke registry --purge` removes all of them with their content",
    )
    if required:
        raise error
    return (f"{error.what}: images of {found.upstream} are pulled from there, without it",)


def hold_registries(facts: Facts, context: Context) -> None:
    """Before a cluster is created: protect its registries from removal, and recreate missing ones."""
    from tasks.k3d.registry_lease import Leases
    from tasks.settings.derived import registry_containers

    registries = registry_containers(facts.settings)
    if not registries:
        return
    leases = facts.outputs.leases = facts.outputs.leases or Leases(facts.programs)
    mine = owner_of(facts.shape.owner)
    who = f"the launch of the cluster '{facts.name}'" + (f" by {mine.name}" if mine is not None else "")
    leases.use(who, facts.settings.cluster.timeout + _AFTERWARDS, context)
    there = read(docker.inspected(facts.programs.run(docker.inspect(list(registries)), context).out))
    for name, cache in registries.items():
        known = facts.registries.get(name)
        port = facts.outputs.registry_ports.get(name) or (known.port if known is not None else None)
        if name not in there and port is not None:
            context.say(f"{name} was removed meanwhile: it is recreated")
            ensured(facts, name, cache, partial(int, port), network=None)(context)


def _remove_dead(facts: Facts, found: Registry, context: Context) -> None:
    """Remove one that was created, but could not be started: its port was taken, or its creator was killed."""
    if not found.ours:
        raise LaunchError(
            f"a container '{found.name}' exists that this project did not create, and it has never run",
            why="the registry needs that name, and the container is foreign",
            fix=f"docker start {found.name}, or docker rm {found.name}, or choose another registries.name",
        )
    facts.programs.run(docker.remove([found.name]), context)


def configuration(cache: Cache, environ: Mapping[str, str]) -> str:
    """The configuration of distribution for a cache with a login (docs: distribution, `proxy`)."""
    import yaml

    login = {}
    for key, variable in (("username", cache.username_env), ("password", cache.password_env)):
        if not variable:
            continue
        login[key] = _login_part(cache, key, variable, environ.get(variable, ""))
    text: str = yaml.safe_dump(
        {
            "version": 0.1,
            "storage": {"filesystem": {"rootdirectory": "/var/lib/registry"}},
            "http": {"addr": ":5000", "debug": {"addr": docker.REGISTRY_DEBUG}},
            "proxy": {"remoteurl": upstream_url(cache), **login},
        }
    )
    return text


def _login_part(cache: Cache, key: str, variable: str, given: str) -> str:
    """A user name or a password from a variable, concealed. Raises `BadInput`, which does not contain it."""
    conceal(given)
    try:
        value = login_text(given)
    except ValueError as error:
        wrong = str(error)
    else:
        if value:
            return value
        wrong = "is empty"
    raise BadInput(
        f"the cache of {cache.upstream} has no {key}: {variable} {wrong}",
        why="registries.caches names that variable for the upstream's login",
        fix=f"set {variable}, or remove {key}_env from the cache's settings",
    )
