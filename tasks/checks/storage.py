"""What a launch will bring, against the room and the pulls that are left: said before, not when half of it is there."""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote

from tasks.checks.capacity import EVICTION
from tasks.checks.facts import HostFacts, Hub
from tasks.checks.finding import Finding, Level
from tasks.core.errors import LaunchError
from tasks.core.imageref import HUB, parse
from tasks.core.units import MIB, gib
from tasks.facts.secrets import login_text

if TYPE_CHECKING:
    from tasks.host.transfer import Response
    from tasks.settings.schema import Settings

_REPOSITORY = "ratelimitpreview/test"
"""Docker's own, made to be asked for this (docs: Docker Hub, pull usage and limits)."""
_TOKEN = f"auth.docker.io/token?service=registry.docker.io&scope=repository:{_REPOSITORY}:pull"
_MANIFEST = f"https://registry-1.docker.io/v2/{_REPOSITORY}/manifests/latest"
_PATIENCE = 3.0
_ALL = 5.0
"""Seconds for both questions together: a name that does not resolve has no time-out of its own."""
_FIGURE = re.compile(r"(\d+)(?:;w=(\d+))?")
_LARGEST = 1_000_000
Ask = Callable[[str, Mapping[str, str], str], "Response"]
"""Address, headers, method."""


def hub(settings: Settings, environ: Mapping[str, str], ask: Ask | None = None, seconds: float = _ALL) -> Hub | None:
    """What it tells: of the account that the cache of docker.io uses, else of this address. None: it does not tell."""
    told: list[Hub | None] = []

    def work() -> None:
        try:
            told.append(_asked(_login(settings, environ), ask or _by_network(environ)))
        except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException, LaunchError):
            return

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    return told[0] if told else None


def _asked(login: str, ask: Ask) -> Hub | None:
    answer = ask(f"https://{login}{_TOKEN}", {}, "GET")
    try:
        token = str(json.loads(answer.read(_LARGEST))["token"])
    finally:
        answer.close()
    head = ask(_MANIFEST, {"Authorization": f"Bearer {token}"}, "HEAD")  # only GET is counted as a pull
    try:
        limit, remaining = (
            _FIGURE.match(head.headers.get(f"ratelimit-{name}") or "") for name in ("limit", "remaining")
        )
        if head.status == http.HTTPStatus.TOO_MANY_REQUESTS:
            return Hub(limit=int(limit[1]) if limit else None, remaining=0, hours=None, account=bool(login))
    finally:
        head.close()
    if remaining is None:  # a paid account, or a mirror in between
        return None
    hours = int(remaining[2]) / 3600 if remaining[2] else None
    return Hub(limit=int(limit[1]) if limit else None, remaining=int(remaining[1]), hours=hours, account=bool(login))


def _login(settings: Settings, environ: Mapping[str, str]) -> str:
    cache = next((each for each in settings.registries.caches if each.upstream == HUB), None)
    if cache is None or cache.username_env is None or cache.password_env is None:
        return ""
    name, password = (login_text(environ.get(each, "")) for each in (cache.username_env, cache.password_env))
    return f"{quote(name, safe='')}:{quote(password, safe='')}@" if name and password else ""


def _by_network(environ: Mapping[str, str]) -> Ask:
    from tasks.host.transfer import open_address

    return lambda url, headers, method: open_address(url, headers, environ, _PATIENCE, method)


K3S, OTHER = 250 * MIB, 60 * MIB
"""Bytes on the engine's disk: the node image, and one of the small ones (registry, proxy, tools)."""
NODE = 300 * MIB
"""k3s unpacks its own programs in each node (k3s: `/var/lib/rancher/k3s/data`)."""
SYSTEM = 900 * MIB
"""Images of k3s's own pods in all nodes together, unpacked and packed, and in the caches."""
RELEASE = 500 * MIB
"""Images of one chart: a few of some 60 MiB each, packed and unpacked, in a node and in a cache."""
SYSTEM_PULLS, RELEASE_PULLS = 8, 2
"""Pulls from Docker Hub: k3s's pods have rancher/… images; a chart may have some, or none."""


def room(facts: HostFacts) -> Iterator[Finding]:
    """Disk against the images to come."""
    if facts.missing is None or facts.disk is None or facts.engine is None:
        return
    need = _bytes(facts)
    left = facts.disk.free - need
    what = f"about {gib(need)}: {_count(facts)}"
    if left < EVICTION * facts.disk.total:
        yield Finding(
            check="images",
            level=Level.WARNING,
            what=f"{what}; {gib(facts.disk.free)} are free",
            why="the launch would leave less than 5 % of the disk, and k3s evicts pods there",
            fix="`docker system df` shows what takes the room, `docker image prune` removes images that nothing uses",
        )
    else:
        yield Finding(check="images", level=Level.OK, what=what)


def pulls(facts: HostFacts) -> Iterator[Finding]:
    """Docker Hub's remaining pulls against those to come."""
    found = facts.hub
    if found is None or facts.missing is None:
        return
    need = _pulls(facts)
    whole = f" of {found.limit}" if found.limit is not None else ""
    whose = "your account" if found.account else "this address"
    what = f"{found.remaining}{whole} pulls left for {whose}; this launch needs up to {need}"
    if found.remaining >= need:
        yield Finding(check="Docker Hub", level=Level.OK, what=what)
        return
    wait = f"; they are counted over {found.hours:g} hours" if found.hours else ""
    yield Finding(
        check="Docker Hub",
        level=Level.WARNING,
        what=what,
        why=f"Docker Hub answers 429 to all others{wait}. What a cache has already is not counted",
        fix="wait; or `docker login`, and for the cache username_env and password_env of registries.caches.docker\\.io",
    )


def _bytes(facts: HostFacts) -> int:
    assert facts.missing is not None
    need = sum(K3S if image == facts.missing[0] and "k3s" in image else OTHER for image in facts.missing)
    if facts.stands:
        return need
    return need + _nodes(facts) * NODE + SYSTEM + _releases(facts.settings) * RELEASE


def _pulls(facts: HostFacts) -> int:
    assert facts.missing is not None
    need = sum(parse(image).registry == HUB for image in facts.missing)
    return need if facts.stands else need + SYSTEM_PULLS + RELEASE_PULLS * _releases(facts.settings)


def _count(facts: HostFacts) -> str:
    assert facts.missing is not None
    pulled = f"{len(facts.missing)} image{'' if len(facts.missing) == 1 else 's'} to pull"
    if facts.stands:
        return f"{pulled}, and the cluster has its own"
    releases = _releases(facts.settings)
    return f"{pulled}, and those of {_nodes(facts)} nodes and {releases} release{'' if releases == 1 else 's'}"


def _nodes(facts: HostFacts) -> int:
    return facts.settings.cluster.servers + facts.agents


def _releases(settings: Settings) -> int:
    from tasks.settings.releases import wanted

    return len(wanted(settings))
