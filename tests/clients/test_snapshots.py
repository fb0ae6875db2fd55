"""Manifests of snapshots: written, read without trust, and journals of what is not finished."""

import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.clients.snapshots import Manifest, Restore, SavedNode, Store, check_name, parse
from tasks.core.errors import BadInput


def node(place: str, name: str = "") -> SavedNode:
    role = place.partition("-")[0]
    return SavedNode(place=place, role=role, node=name or f"k3d-dev-{place}", volume=f"v-{place}", bytes=5)


SAVED = Manifest(
    format=1,
    name="one",
    id="0123456789abcdef",
    cluster="dev",
    created="2026-11-27T12:00:00+00:00",
    arch="x86_64",
    image="rancher/k3s:v1.33.13-k3s1",
    servers=1,
    agents=1,
    token="a-token",
    config="cluster.servers=1",
    nodes=(node("server-0"), node("agent-0")),
)


def test_a_manifest_is_kept_with_mode_0600_in_a_folder_of_0700(tmp_path: Path) -> None:
    store = Store(tmp_path / "snapshots")
    store.put(SAVED)
    assert store.get("one") == SAVED
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(store.path("one").stat().st_mode) == 0o600
    assert store.named_volumes() == {"v-server-0", "v-agent-0"}
    assert "a-token" not in repr(SAVED)


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "-x", "x" * 64, "a b"])
def test_names_are_plain(name: str) -> None:
    with pytest.raises(BadInput):
        check_name(name)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"format": 2}, "later version"),
        ({"name": "../one"}, "manifest"),
        ({"id": "x"}, "manifest"),
        ({"token": 3}, "manifest"),
        ({"agents": 2}, "manifest"),
        ({"agents": True}, "manifest"),
        ({"more": 1}, "manifest"),
        ({"nodes": [{**vars(node("server-0")), "volume": "/etc"}, vars(node("agent-0"))]}, "manifest"),
        ({"nodes": [{**vars(node("server-0")), "place": "../x"}, vars(node("agent-0"))]}, "manifest"),
        ({"nodes": 5}, "manifest"),
    ],
)
def test_a_manifest_is_not_trusted(change: dict[str, Any], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        parse(json.dumps({**json.loads(SAVED.text()), **change}), "it")


def test_a_journal_is_abandoned_when_nobody_holds_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.journal("a1", volumes=["v1"], paused=["n"]):
        assert list(store.abandoned()) == []
    (found,) = store.abandoned()
    assert (found.name, found.volumes, found.paused) == ("a1", ("v1",), ("n",))


def test_agents_that_were_added_are_made_as_k3d_numbers_them() -> None:
    more = replace(SAVED, agents=2, nodes=(*SAVED.nodes, node("agent-1-0")))
    chosen = [(where, each.place) for where, each in Restore(manifest=more, id="ff" * 8).chosen()]
    assert chosen == [("server:0", "server-0"), ("agent:0", "agent-0"), ("agent:1", "agent-1-0")]
