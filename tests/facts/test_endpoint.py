"""Where docker would go, found as docker finds it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tasks.facts.endpoint import SOCKET, Endpoint, endpoint


def context(home: Path, name: str, host: str) -> None:
    folder = home / ".docker" / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    folder.mkdir(parents=True)
    document = {"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": False}}}
    (folder / "meta.json").write_text(json.dumps(document))


def test_docker_host_wins_then_the_variable_then_the_chosen_context(tmp_path: Path) -> None:
    context(tmp_path, "colima", "unix:///home/me/.colima/default/docker.sock")
    context(tmp_path, "box", "ssh://me@box")
    (tmp_path / ".docker" / "config.json").write_text('{"currentContext": "colima"}')
    home = {"HOME": str(tmp_path)}
    chosen = endpoint(home)
    assert chosen == Endpoint(
        host="unix:///home/me/.colima/default/docker.sock", context="colima", source="`docker context use`"
    )
    assert endpoint({**home, "DOCKER_CONTEXT": "box"}) == Endpoint(
        host="ssh://me@box", context="box", source="DOCKER_CONTEXT"
    )
    both = endpoint({**home, "DOCKER_CONTEXT": "box", "DOCKER_HOST": "tcp://1.2.3.4:2375"})
    assert both == Endpoint(host="tcp://1.2.3.4:2375", source="DOCKER_HOST")
    assert endpoint({**home, "DOCKER_CONTEXT": "default"}) == Endpoint()
    assert endpoint({"DOCKER_CONFIG": str(tmp_path / ".docker")}) == chosen


def test_without_any_wish_it_is_the_systems_socket(tmp_path: Path) -> None:
    assert endpoint({"HOME": str(tmp_path)}) == Endpoint(host=SOCKET)
    assert endpoint({"HOME": str(tmp_path)}).default
    assert endpoint({}).host == SOCKET


@pytest.mark.parametrize("text", ["", "no json", "[]", '{"currentContext": 3}', '{"currentContext": "default"}'])
def test_a_strange_file_is_no_wish(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    assert endpoint({"DOCKER_CONFIG": str(tmp_path)}) == Endpoint()


def test_a_context_that_is_not_there_has_no_address(tmp_path: Path) -> None:
    found = endpoint({"HOME": str(tmp_path), "DOCKER_CONTEXT": "nope"})
    assert (found.host, found.context, found.remote) == ("", "nope", False)


@pytest.mark.parametrize(
    ("host", "remote"),
    [
        (SOCKET, False),
        ("unix:///run/user/1000/docker.sock", False),
        ("/var/run/docker.sock", False),
        ("npipe:////./pipe/docker_engine", False),
        ("tcp://127.0.0.1:2375", False),
        ("tcp://localhost:2375", False),
        ("tcp://[::1]:2375", False),
        ("ssh://me@localhost", False),
        ("tcp://docker:2375", True),
        ("tcp://10.0.0.5:2376", True),
        ("ssh://me@box", True),
        ("https://box:2376", True),
        ("box:2375", True),
    ],
)
def test_what_is_another_machine(host: str, remote: bool) -> None:
    assert Endpoint(host=host).remote is remote
