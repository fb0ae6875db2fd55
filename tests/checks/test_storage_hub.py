"""What Docker Hub tells of its limit, asked without spending any of it."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.checks.facts import Hub
from tasks.checks.storage import hub
from tasks.core.errors import LaunchError
from tasks.settings.schema import Settings

LOGIN = Settings.model_validate(
    {"registries": {"caches": [{"upstream": "docker.io", "username_env": "HUB_USER", "password_env": "HUB_TOKEN"}]}}
)


class Site:
    """Docker Hub and its token service."""

    def __init__(self, headers: Mapping[str, str], status: int = 200, token: str = '{"token": "t0"}') -> None:
        self.headers, self.status, self.token = headers, status, token
        self.asked: list[tuple[str, str, dict[str, str]]] = []

    def __call__(self, url: str, headers: Mapping[str, str], method: str) -> Any:
        self.asked.append((method, url, dict(headers)))
        if "auth.docker.io" in url:
            body = io.BytesIO(self.token.encode())
            return SimpleNamespace(status=200, headers={}, read=body.read, close=lambda: None)
        return SimpleNamespace(status=self.status, headers=self.headers, close=lambda: None)


LEFT = {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "76;w=21600", "docker-ratelimit-source": "192.0.2.1"}


@pytest.mark.parametrize(
    ("headers", "status", "found"),
    [
        (LEFT, 200, Hub(limit=100, remaining=76, hours=6.0, account=False)),
        (
            {"ratelimit-limit": "10", "ratelimit-remaining": "0"},
            200,
            Hub(limit=10, remaining=0, hours=None, account=False),
        ),
        ({}, 429, Hub(limit=None, remaining=0, hours=None, account=False)),
        ({}, 200, None),
        ({"ratelimit-remaining": "many"}, 200, None),
        ({}, 401, None),
    ],
)
def test_what_it_tells(headers: Mapping[str, str], status: int, found: Hub | None) -> None:
    site = Site(headers, status)
    assert hub(Settings(), {}, site) == found
    assert [method for method, _, _ in site.asked] == ["GET", "HEAD"]  # a GET of a manifest would be a pull
    assert site.asked[1][2] == {"Authorization": "Bearer t0"}


def test_of_the_account_that_the_cache_uses() -> None:
    site = Site(LEFT)
    found = hub(LOGIN, {"HUB_USER": "me", "HUB_TOKEN": "p@ss"}, site)
    assert found is not None
    assert found.account
    assert site.asked[0][1].startswith("https://me:p%40ss@auth.docker.io/")
    assert "@" not in site.asked[1][1]
    half = Site(LEFT)
    assert hub(LOGIN, {"HUB_USER": "me"}, half) == Hub(limit=100, remaining=76, hours=6.0, account=False)


@pytest.mark.parametrize("token", ["", "[]", "{}", "<html>", json.dumps({"access": 1})])
def test_answers_of_somebody_else(token: str) -> None:
    assert hub(Settings(), {}, Site(LEFT, token=token)) is None


@pytest.mark.parametrize("error", [OSError("no route"), LaunchError("refused"), ValueError("no address")])
def test_no_line(error: Exception) -> None:
    def ask(_url: str, _headers: Mapping[str, str], _method: str) -> Any:
        raise error

    assert hub(Settings(), {}, ask) is None


def test_an_answer_that_never_comes_is_not_waited_for() -> None:
    never = threading.Event()

    def ask(_url: str, _headers: Mapping[str, str], _method: str) -> Any:
        never.wait(5)
        raise OSError

    assert hub(Settings(), {}, ask, seconds=0.01) is None
    never.set()
