"""The comparison modes: the scripts that this project replaced, as commands in stages."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.benchmark.variants import Workspace
from tasks.clients import docker, helm
from tasks.core.files import file_name, write_whole
from tasks.facts.facts import Facts
from tasks.k3d.arguments import needs_cgroup_v1
from tasks.process.command import Command, duration
from tasks.settings import k3s_arguments as k3s
from tasks.settings.k3s_arguments import where
from tasks.settings.node_filters import split
from tasks.settings.schema import Release


@dataclass(frozen=True, kw_only=True)
class Call:
    """One command, with a name for results."""

    name: str
    command: Command


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Commands that the staged mode runs concurrently."""

    name: str
    calls: tuple[Call, ...]


def stages(workspace: Workspace, facts: Facts) -> tuple[Stage, ...]:
    """All stages; writes the files that they read. Existing registries are left unchanged."""
    from tasks.run.desired import namespace_names

    wait = facts.settings.timeouts.command
    namespaces = [
        Call(
            name=f"namespace {name}",
            command=Command(argv=("kubectl", "create", "namespace", name), deadline=wait),
        )
        for name in namespace_names(facts)
    ]
    found = [
        Stage(name="images", calls=tuple(_pulls(facts))),
        Stage(name="registries", calls=tuple(_registries(facts))),
        create(workspace, facts),
        Stage(name="namespaces", calls=tuple(namespaces)),
        Stage(name="secrets", calls=tuple(_objects(workspace, facts.secrets, wait))),
        *_resources(workspace, facts, wait),
        *_repositories(facts),
        *_releases(workspace, facts),
    ]
    return tuple(stage for stage in found if stage.calls)


def create(workspace: Workspace, facts: Facts, *, bare: bool = False) -> Stage:
    """`k3d cluster create` with its defaults. `bare`: without the load balancer, the minimum."""
    settings, shape = facts.settings, facts.shape
    registries = workspace.files / "registries.yaml"
    write_whole(registries, shape.registries_yaml)
    argv = [
        *("k3d", "cluster", "create", settings.cluster.name, "--image", shape.image),
        *("--servers", str(settings.cluster.servers), "--agents", str(shape.agents)),
        *(("--api-port", f"127.0.0.1:{facts.ports.api}") if facts.ports is not None else ()),
        *("--timeout", duration(settings.cluster.timeout)),
        *(("--no-lb",) if bare else ()),
        *(part for name in shape.registries for part in ("--registry-use", name)),
        *(("--registry-config", str(registries)) if shape.registries_yaml else ()),
        *_labels(facts),
        *_arguments(facts),
    ]
    command = Command(argv=tuple(argv), deadline=settings.cluster.timeout + 60)
    return Stage(name="cluster", calls=(Call(name="cluster create", command=command),))


def _labels(facts: Facts) -> Iterator[str]:
    """Labels by which bench recognises its own cluster for removal: they cost nothing."""
    filters = ["server:*", *(["agent:*"] if facts.shape.agents else [])]
    for name, value in ((docker.OURS, facts.settings.cluster.name), (docker.OWNER, facts.shape.owner)):
        if value:
            yield from ("--runtime-label", _on_nodes(f"{name}={value}", filters))


def _arguments(facts: Facts) -> Iterator[str]:
    """Configured arguments, labels that charts may need, and what nodes need to start; nothing else that `up` adds."""
    cluster, agents = facts.settings.cluster, facts.shape.agents
    own = [
        (f"--{flag}={each.text}", where(part, each))
        for part, (flag, _) in k3s.COMPONENTS.items()
        for each in k3s.parsed(part, getattr(cluster.args, part))
    ]
    own += [(f"--{each.text}", where("k3s", each)) for each in k3s.arguments_of(cluster, "k3s")]
    if facts.settings.ingress.controller != "traefik":
        own.append(("--disable=traefik", k3s.SERVERS))
    if needs_cgroup_v1(cluster, facts.shape):  # without it no node starts, which k3d reports after its whole timeout
        flag, usual = k3s.COMPONENTS["kubelet"]
        own.append((f"--{flag}={k3s.FAIL_CGROUP_V1}=false", usual))
    for text, filters in own:
        yield from ("--k3s-arg", _on_nodes(text, [each for each in filters if agents or not each.startswith("agent")]))
    labels = [f"{key}={value}@server:*" for key, value in cluster.server_labels.items()]
    labels += [f"{key}={value}@agent:*" for key, value in cluster.agent_labels.items() if agents]
    for label in labels:
        yield from ("--k3s-node-label", label)
    for volume in cluster.volumes:
        yield from ("--volume", _on_nodes(*split(volume)))
    for each in cluster.env:
        found = split(each)
        yield from ("--env", _on_nodes(found.value, found.filters or ("all:*",)))


def _on_nodes(value: str, filters: Sequence[str]) -> str:
    """In k3d's command line syntax: an `@` in the value is escaped with a backslash."""
    escaped = value.replace("@", r"\@")
    return f"{escaped}@{';'.join(filters)}" if filters else escaped


def _pulls(facts: Facts) -> Iterator[Call]:
    for image in facts.images:
        yield Call(name=f"pull {image}", command=docker.pull(image, facts.settings.timeouts.pull, facts.platform))


def _registries(facts: Facts) -> Iterator[Call]:
    """The missing registries; those with logins or proxies, unfit for a command line, were created before."""
    from tasks.k3d.ports import choosers
    from tasks.k3d.registry_container import labels
    from tasks.settings.derived import registry_containers, upstream_url

    settings, free_port = facts.settings, choosers(facts).free_port
    for name, cache in registry_containers(settings).items():
        private = cache is not None and (cache.username_env or cache.password_env or facts.shape.network.mark)
        if name in facts.registries or private:
            continue
        spec = docker.RegistrySpec(
            name=name,
            image=settings.registries.image,
            port=free_port(settings.registries.port if cache is None else None),
            volume=name,
            labels=labels(cache),
            upstream=None if cache is None else upstream_url(cache),
            platform=facts.platform,
        )
        yield Call(name=f"registry {name}", command=docker.run_registry(spec))


def _objects(workspace: Workspace, objects: Sequence[dict[str, Any]], deadline: float) -> Iterator[Call]:
    """One kubectl per object, read from a file: a secret is never an argument."""
    from tasks.kube.apply import line, ordered

    for each in ordered(objects):
        metadata = each["metadata"]
        where = f" in {metadata['namespace']}" if metadata.get("namespace") else ""
        name = f"{each['kind'].lower()} {metadata['name']}{where}"
        path = workspace.files / f"{file_name(name)}.json"
        write_whole(path, line(each) + "\n")
        command = Command(argv=("kubectl", "apply", "--filename", str(path)), deadline=deadline)
        yield Call(name=name, command=command)


def _resources(workspace: Workspace, facts: Facts, deadline: float) -> Iterator[Stage]:
    """Base resources; then the user's CRDs, which must be served before their objects."""
    from tasks.kube.apply import split
    from tasks.run.desired import base_objects, user_objects

    crds, rest = split(user_objects(facts))
    served = [
        Call(
            name=f"wait for {crd['metadata']['name']}",
            command=Command(
                argv=("kubectl", "wait", "--for=condition=Established", f"crd/{crd['metadata']['name']}"),
                deadline=deadline,
            ),
        )
        for crd in crds
    ]
    yield Stage(name="base resources", calls=tuple(_objects(workspace, base_objects(facts), deadline)))
    yield Stage(name="CRDs", calls=tuple(_objects(workspace, crds, deadline)))
    yield Stage(name="CRDs served", calls=tuple(served))
    yield Stage(name="manifests", calls=tuple(_objects(workspace, rest, deadline)))


def _repositories(facts: Facts) -> Iterator[Stage]:
    """The repositories that releases use, as in `up`: others may be unreachable."""
    settings = facts.settings
    used = {release.chart.partition("/")[0] for release in facts.releases}
    deadline = settings.timeouts.pull
    urls = sorted((name, url) for name, url in settings.helm.repositories.items() if name in used)
    adds = [
        Call(name=f"repo add {name}", command=_helm("repo", "add", name, url, deadline=deadline)) for name, url in urls
    ]
    updates = [Call(name=f"repo update {name}", command=helm.update((name,), 4, deadline)) for name, _ in urls]
    yield Stage(name="repositories added", calls=tuple(adds))
    yield Stage(name="repositories updated", calls=tuple(updates))


def _helm(*words: str, deadline: float, cwd: Path | None = None) -> Command:
    return Command(argv=("helm", *words), deadline=deadline, cwd=cwd)


def _releases(workspace: Workspace, facts: Facts) -> Iterator[Stage]:
    """By levels of needs: a stage has the releases whose needs are all in earlier stages."""
    from tasks.settings.needs import named_releases

    level: dict[tuple[str, str], int] = {}
    for release in facts.releases:  # each after its needs
        needed = [each for need in release.needs for each in named_releases(need, facts.releases)]
        level[release.namespace, release.name] = 1 + max(
            (level[each.namespace, each.name] for each in needed), default=0
        )
    for number in sorted(set(level.values())):
        here = [each for each in facts.releases if level[each.namespace, each.name] == number]
        calls = tuple(_release(workspace, facts, each) for each in here)
        yield Stage(name=f"releases, level {number}" if len(set(level.values())) > 1 else "releases", calls=calls)


def _release(workspace: Workspace, facts: Facts, release: Release) -> Call:
    from tasks.kube.apply import line
    from tasks.run.charts import chart_of, source_of
    from tasks.run.releases import values_of

    reference, options = release.chart, tuple[str, ...]()
    if reference.startswith("oci://"):
        reference, options = source_of(facts, chart_of(facts, release))
    values = workspace.files / f"values-{file_name(f'{release.namespace}-{release.name}')}.json"
    write_whole(values, line(values_of(facts, release)) + "\n")
    command = _helm(
        *("upgrade", "--install", release.name, reference, "--namespace", release.namespace),
        *options,
        *(("--version", release.version) if release.version else ()),
        *("--values", str(values)),
        *(("--wait",) if release.wait else ()),
        *("--timeout", duration(release.timeout)),
        deadline=release.timeout + 30,
        cwd=facts.root,
    )
    return Call(name=f"release {release.name} in {release.namespace}", command=command)


_SHOWN = ("HELM_", "K3D_", "KUBECONFIG", "XDG_", "TMPDIR", "OPENFRAME_REHEARSAL")


def script(stages: Sequence[Stage], environ: Mapping[str, str], *, together: bool) -> list[str]:
    """Lines of bash; `together`: the commands of a stage concurrently, each awaited by its own pid."""
    return [
        "#!/usr/bin/env bash",
        "set -euo pipefail",
        *(f"export {key}={shlex.quote(environ[key])}" for key in sorted(environ) if key.startswith(_SHOWN)),
        f"export PATH={shlex.quote(environ.get('PATH', ''))}",
        *(line for stage in stages for line in _stage(stage, together=together)),
    ]


def _stage(stage: Stage, *, together: bool) -> Iterator[str]:
    yield f"# {stage.name}"
    if not together:
        yield from (_line(call) for call in stage.calls)
        return
    yield "pids=()"
    for call in stage.calls:
        yield f"{_line(call)} & pids+=($!)"
    yield 'for pid in "${pids[@]}"; do wait "$pid"; done'


def _line(call: Call) -> str:
    text = call.command.paste()
    return f"({text}) >/dev/null" if call.command.cwd is not None else f"{text} >/dev/null"
