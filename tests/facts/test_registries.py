"""Registry containers, as the engine reports them; pulls that fail in a node behind a cache."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import Diagnosis
from tasks.core.imageref import Reference
from tasks.diagnose.pods import diagnose_pull
from tasks.facts.cluster import ContainerState
from tasks.facts.registries import Registry, explain_pull, read
from tests.facts import inspected
from tests.given import facts, settings
from tests.given_engine import GHCR, ONLY_GHCR, there
from tests.programs import FakePrograms


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (inspected.registry(), there(networks=("bridge",))),
        (inspected.registry(state="exited"), there(networks=("bridge",), state=ContainerState.STOPPED)),
        (inspected.registry(state="restarting"), there(networks=("bridge",), state=ContainerState.LOOPING)),
        (inspected.registry(state="created"), there(networks=("bridge",), state=ContainerState.CREATED)),
        (
            inspected.registry(GHCR, "5053", labels={"openframe.cache": "ghcr.io"}, networks=("k3d-b", "k3d-a")),
            there(GHCR, upstream="ghcr.io", port=5053, networks=("k3d-a", "k3d-b")),
        ),
        (inspected.registry(ports={}), there(networks=("bridge",))),  # then k3d's label tells the port
        (inspected.registry(ports=None, port="random"), there(networks=("bridge",), port=None)),
        (inspected.registry("k3d-theirs", ours=False), there("k3d-theirs", networks=("bridge",), ours=False)),
    ],
)
def test_reading(given: dict[str, Any], expected: Registry) -> None:
    assert read([given]) == {expected.name: expected}


@pytest.mark.parametrize(
    ("networks", "expected"), [((), ()), (("bridge", "lab"), ()), (("bridge", "k3d-a", "k3d-b-2"), ("a", "b-2"))]
)
def test_clusters_that_are_attached(networks: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert there(networks=networks).clusters == expected


CLOSED = "failed to copy: unexpected status code http://c:5000/v2/a/b: 500 Internal Server Error"


class FakeBackend:
    def __init__(self, fault: str, digest: str | None = "") -> None:
        self.fault, self.kept = fault, digest
        self.requests: list[tuple[int, str]] = []

    def cache_fault(self, port: int, image: Reference) -> str:
        self.requests.append((port, image.repository))
        return self.fault

    def digest(self, port: int, image: Reference) -> str | None:
        self.requests.append((port, image.repository))
        return self.kept


def explained(
    tmp_path: Path, found: Diagnosis, backend: FakeBackend, chosen: Any = ONLY_GHCR, *, loaded: bool = False
) -> Diagnosis:
    remaining = {GHCR: there(GHCR, upstream="ghcr.io", port=5053, loaded=loaded)}
    given = facts(tmp_path, FakePrograms(), settings=chosen, registries=remaining)
    return explain_pull(replace(given, backend=backend), found)  # type: ignore[arg-type]


def test_a_cache_that_cannot_bring_it_is_the_cause(tmp_path: Path) -> None:
    backend = FakeBackend("it cannot reach its upstream, and answers 500")
    found = explained(tmp_path, diagnose_pull("pod a/b", "ghcr.io/shop/web:1", CLOSED), backend)
    assert backend.requests == [(5053, "shop/web")]
    assert not found.transient
    assert found.what == "pod a/b cannot pull ghcr.io/shop/web:1"
    assert GHCR in found.why
    assert "answers 500: https://ghcr.io" in found.why
    assert "registries.caches" in found.fix
    assert f"docker logs {GHCR}" in found.fix


@pytest.mark.parametrize("digest", ["sha256:1", None], ids=["it has it", "it is silent"])
def test_one_that_can_leaves_it_as_it_is(digest: str | None, tmp_path: Path) -> None:
    found = diagnose_pull("pod a/b", "ghcr.io/shop/web:1", CLOSED)
    assert explained(tmp_path, found, FakeBackend("", digest)) is found


@pytest.mark.parametrize("image", ["ghcr.io/shop/web:9", "ghcr.io/shop/web:1@sha256:" + "0" * 64])
def test_an_image_that_the_caches_upstream_does_not_have_will_never_come(image: str, tmp_path: Path) -> None:
    """The node bypasses the cache then, and reports the error from there: no name server, say, behind a mirror."""
    refused = "dial tcp 172.18.0.9:5000: connect: connection refused"
    for output in (CLOSED, refused, "dial tcp: lookup ghcr.io on 172.18.0.1:53: no such host"):
        found = explained(tmp_path, diagnose_pull("pod a/b", image, output), FakeBackend("", ""))
        assert (found.cause, found.transient) == ("image-missing", False)
        assert "https://ghcr.io" in found.why
        assert "correct the name" in found.fix


def test_a_cache_that_was_filled_from_a_bundle_is_the_cause_for_what_the_bundle_did_not_have(tmp_path: Path) -> None:
    no_line = diagnose_pull("pod a/b", "ghcr.io/shop/web:1", "dial tcp: lookup ghcr.io on 172.18.0.1:53: no such host")
    found = explained(tmp_path, no_line, FakeBackend(""), loaded=True)
    assert "was filled from a bundle" in found.why
    assert "`invoke registry`" in found.fix
    assert not found.transient
    assert explained(tmp_path, no_line, FakeBackend("", digest="sha256:1"), loaded=True) is no_line


@pytest.mark.parametrize(
    ("found", "chosen"),
    [
        (diagnose_pull("pod a/b", "ghcr.io/shop/web:1", "429 Too Many Requests"), ONLY_GHCR),
        (diagnose_pull("pod a/b", "quay.io/shop/web:1", CLOSED), ONLY_GHCR),
        (diagnose_pull("pod a/b", "ghcr.io/shop/web:1", CLOSED), settings(registries={"push": False, "caches": []})),
        (Diagnosis(cause="crash", what="it crashes"), ONLY_GHCR),
    ],
    ids=["its registry refuses", "no cache for it", "no cache at all", "no pull"],
)
def test_what_no_cache_has_to_do_with(tmp_path: Path, found: Diagnosis, chosen: Any) -> None:
    backend = FakeBackend("it does not run")
    assert explained(tmp_path, found, backend, chosen) is found
    assert backend.requests == []
