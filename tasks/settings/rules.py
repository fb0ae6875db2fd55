"""Rules between settings, which no single value shows. And the releases, which follow from several."""

import re
from collections.abc import Callable, Iterator, Mapping

from tasks.settings import valid
from tasks.settings.derived import cache_slug, on_push_registry, push_container
from tasks.settings.merge import Node, named, origin_at
from tasks.settings.needs import enabled_releases, ordered, release_findings
from tasks.settings.needs import findings as of_references
from tasks.settings.node_filters import FORM, fault, split
from tasks.settings.origin import BUILT_IN, DEFAULT, Finding, Origin, Path, Problem, dotted, quoted, refusal
from tasks.settings.schema import Release, Secret, Settings
from tasks.settings.schema_parts import OwnStep
from tasks.settings.types import SecretSource, place_of
from tasks.settings.valid import amount, host_ports

__all__ = ["problems", "releases"]

_VARIABLE = re.compile(r"[^\s=]+=")
_DROP_IN_SINCE = 32
"""The minor version of k3s from which kubelets read drop-in files (docs: k3s, kubelet configuration)."""

Place = tuple[str | int, ...]


def releases(settings: Settings) -> tuple[Release, ...]:
    """The releases to install, each after its needs. Raises `BadInput` if needs cannot be met.

    With `ingress.controller: ingress-nginx` its release is included.
    """
    found = list(release_findings(settings))
    if found:
        raise refusal([_problem(each, tuple(map(str, each.path)), BUILT_IN) for each in found])
    return ordered(enabled_releases(settings))


def problems(settings: Settings, merged: Node) -> list[Problem]:
    """All violated rules, each with the layer that has set the value."""
    found = [*_ports(settings), *_registries(settings), *_cluster(settings), *_on_nodes(settings)]
    found += [*_texts(settings), *release_findings(settings), *_builds(settings), *of_references(settings)]
    return [_located(each, settings, merged) for each in found]


def _located(finding: Finding, settings: Settings, merged: Node) -> Problem:
    origin = origin_at(merged, finding.path)
    if origin.layer == DEFAULT and finding.other:
        origin = origin_at(merged, finding.other)
    return _problem(finding, named(merged, finding.path, place_of(type(settings))), origin)


def _problem(finding: Finding, path: Path, origin: Origin) -> Problem:
    return Problem(origin=origin, what=f"{dotted(path)} {finding.text}", why=finding.why, fix=finding.fix)


def _ports(settings: Settings) -> Iterator[Finding]:
    """Equal desired ports: one of them could never be published."""
    ports = settings.cluster.ports
    first: dict[int, tuple[str | int, ...]] = {}
    desired: list[tuple[tuple[str | int, ...], int | None]] = [
        (("cluster", "ports", name), getattr(ports, name)) for name in ("http", "https", "api")
    ]
    if settings.registries.push:
        desired.append((("registries", "port"), settings.registries.port))
    for number, text in enumerate(ports.extra):
        if "/udp" not in text and "/sctp" not in text:
            desired += [(("cluster", "ports", "extra", number), port) for port in host_ports(text)[:1000]]
    for path, port in desired:
        if port is None:
            continue
        before = first.setdefault(port, path)
        if before != path:
            text = f"and {dotted(tuple(map(str, before)))} are both {port}"
            yield Finding(path=path, text=text, why="a port is published once", fix="choose another one", other=before)


def _registries(settings: Settings) -> Iterator[Finding]:
    first: dict[str, int] = {}
    for number, cache in enumerate(settings.registries.caches):
        path = ("registries", "caches", number)
        before = first.setdefault(cache_slug(cache), number)
        if before != number:
            why = (
                f"{settings.registries.caches[before].upstream} has a cache already, and both would have one container"
            )
            yield Finding(path=(*path, "upstream"), text=f"is '{cache.upstream}'", why=why, fix="remove one")
        if (cache.username_env is None) != (cache.password_env is None):
            missing = "username_env" if cache.username_env is None else "password_env"
            yield Finding(
                path=path, text=f"has no {missing}", why="a login is a user name and a password", fix="name both"
            )


def _builds(settings: Settings) -> Iterator[Finding]:
    """Enabled builds that are invalid."""
    first: dict[str, int] = {}
    for number, build in enumerate(settings.builds):
        if not build.enabled:
            continue
        path = ("builds", number)
        if first.setdefault(build.name, number) != number:
            why = "another build has that name"
            yield Finding(path=(*path, "name"), text=f"is '{build.name}'", why=why, fix="rename one, or disable it")
        host, _, rest = build.repository.partition("/")
        if host.partition(":")[0] == push_container(settings):
            why = "nodes use that name of the push registry, but docker on this machine cannot"
            yield Finding(path=(*path, "image"), text=f"is '{build.repository}'", why=why, fix=f"write {rest}")
        if on_push_registry(build) and not settings.registries.push:
            yield Finding(
                path=(*path, "image"),
                text=f"is '{build.repository}'",
                why="it names no registry, and registries.push is false: nodes could not pull it",
                fix="use one that you can push to, such as ghcr.io/me/api, or set registries.push",
            )


def _cluster(settings: Settings) -> Iterator[Finding]:
    names = settings.namespaces
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        yield Finding(path=("namespaces",), text=f"names '{name}' twice", why="each is one namespace", fix="remove one")
    cluster = settings.cluster
    minor = int(cluster.kubernetes_version.split(".")[1])
    if cluster.kubelet_config and cluster.image is None and minor < _DROP_IN_SINCE:
        yield Finding(
            path=("cluster", "kubelet_config"),
            text="has fields",
            why=f"cluster.kubernetes_version is {cluster.kubernetes_version}, and k3s reads them from 1.32 on",
            fix="use cluster.args.kubelet, or a later version",
        )


def _on_nodes(settings: Settings) -> Iterator[Finding]:
    """Values with node filters. Messages repeat only the nodes: the values may contain a password."""
    cluster, why, fix = settings.cluster, f"nodes are named as {FORM}", "write \\@ for an @ of the value"
    for name, texts in (("volumes", cluster.volumes), ("env", cluster.env)):
        for number, text in enumerate(texts):
            if wrong := fault(text):
                yield Finding(path=("cluster", name, number), text=wrong, why=why, fix=fix)
            elif name == "env" and not _VARIABLE.match(split(text).value):
                yield Finding(path=("cluster", name, number), text="is not NAME=value", why="a node gets variables")
    for part, texts in cluster.args:
        if not texts:
            continue
        from tasks.settings.k3s_arguments import faults  # most settings give none

        place = ("cluster", "args", part)
        for number, text in enumerate(texts):
            if wrong := fault(text):
                yield Finding(path=(*place, number), text=wrong, why=why, fix=fix)
        for wrong in faults(part, texts):
            yield Finding(path=place, text=wrong, why="k3s would exit with an error", fix="see `k3s server --help`")


def _texts(settings: Settings) -> Iterator[Finding]:
    """Invalid strings."""
    yield from _checked(("cluster", "domain"), settings.cluster.domain, valid.host)
    quota = settings.manifests.quota
    for name in type(quota).model_fields:
        if isinstance(text := getattr(quota, name), str):
            yield from _checked(("manifests", "quota", name), text, amount)
    for number, secret in enumerate(settings.secrets):
        yield from _of_secret(("secrets", number), secret)
    for number, build in enumerate(settings.builds):
        yield from _of_sources(("builds", number, "secrets"), build.secrets)
        for name in build.secrets:
            yield from _checked(("builds", number, "secrets", name), name, valid.secret_id)
    for number, step in enumerate(settings.steps):
        yield from _of_step(("steps", number), step)


def _of_secret(path: Place, secret: Secret) -> Iterator[Finding]:
    yield from _checked((*path, "name"), secret.name, valid.host)
    yield from _checked((*path, "registry"), secret.registry, valid.one_line)
    yield from _checked((*path, "username"), secret.username, valid.one_line)
    yield from _of_sources((*path, "values"), secret.values)


def _of_step(path: Place, step: OwnStep) -> Iterator[Finding]:
    yield from _of_sources((*path, "secrets"), step.secrets)
    for name in step.secrets:
        yield from _checked((*path, "secrets", name), name, valid.variable)
        if name in step.env:
            yield Finding(path=(*path, "env", name), text="is a secret, too", why="a variable has one value")
    if step.when == "down" and step.inputs is not None:
        why = "earlier runs do not matter when the cluster is removed"
        yield Finding(path=(*path, "inputs"), text="and `when: down` cannot be combined", why=why)


def _of_sources(path: Place, values: Mapping[str, SecretSource]) -> Iterator[Finding]:
    """Sources of secrets, by key."""
    for key, source in values.items():
        place = (*path, key)
        given = [name for name in type(source).model_fields if getattr(source, name) is not None]
        if len(given) != 1:
            text = f"has {len(given)} sources" + (f" ({', '.join(given)})" if given else "")
            yield Finding(path=place, text=text, why="a value comes from exactly one: env, file or command")
        if source.env is not None:
            yield from _checked((*place, "env"), source.env, valid.variable)
        if source.file is not None:
            yield from _checked((*place, "file"), source.file, valid.one_line)
        if source.command is not None:
            for number, each in enumerate(source.command):
                yield from _checked((*place, "command", number), each, valid.argument)
            if not source.command:
                yield Finding(
                    path=(*place, "command"), text="is an empty list", why="it names a program, then its arguments"
                )


def _checked(path: Place, text: str, check: Callable[[str], str]) -> Iterator[Finding]:
    try:
        check(text)
    except ValueError as error:
        yield Finding(path=path, text=f"is {quoted(tuple(map(str, path)), text)}", why=f"it {error}")
