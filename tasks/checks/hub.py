"""How many pulls Docker Hub still allows from here, as it tells by itself: asking costs none of them."""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote

from tasks.checks.facts import Hub
from tasks.errors import LaunchError
from tasks.objects.secret_source import login_text

if TYPE_CHECKING:
    from tasks.settings.tree import Settings
    from tasks.setup.opening import Response

HUB = "docker.io"
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
    from tasks.setup.opening import open_address

    return lambda url, headers, method: open_address(url, headers, environ, _PATIENCE, method)
