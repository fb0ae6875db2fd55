"""References of images by their parts, and as Docker lists them."""

import pytest

from tasks.core.imageref import Reference, parse

DIGEST = "sha256:" + "a1" * 32


@pytest.mark.parametrize(
    ("ref", "parts", "full"),
    [
        ("registry", ("docker.io", "library/registry", "latest", ""), "docker.io/library/registry:latest"),
        (" a/b:1", ("docker.io", "a/b", "1", ""), "docker.io/a/b:1"),
        ("Host/a", ("Host", "a", "latest", ""), "Host/a:latest"),
        (f"h:5000/a/b:1@{DIGEST}", ("h:5000", "a/b", "1", DIGEST), f"h:5000/a/b@{DIGEST}"),
        (f"localhost/a@{DIGEST}", ("localhost", "a", "", DIGEST), f"localhost/a@{DIGEST}"),
    ],
)
def test_a_reference_has_registry_repository_and_version(ref: str, parts: tuple[str, str, str, str], full: str) -> None:
    found = parse(ref)
    assert found == Reference(*parts)
    assert found.full == full
    assert found.version == (found.digest or found.tag)


@pytest.mark.parametrize(
    ("ref", "listed"),
    [
        ("registry", "registry:latest"),
        ("registry:2", "registry:2"),
        ("docker.io/registry:2", "registry:2"),
        ("docker.io/library/registry:2", "registry:2"),
        ("index.docker.io/library/registry:2", "registry:2"),
        ("index.docker.io/rancher/k3s:v1", "rancher/k3s:v1"),
        ("library/registry", "registry:latest"),
        ("docker.io/rancher/k3s:v1.32.3-k3s1", "rancher/k3s:v1.32.3-k3s1"),
        ("docker.io/library/a/b:1", "library/a/b:1"),
        ("library/a/b:1", "library/a/b:1"),
        ("registry-1.docker.io/library/x:1", "registry-1.docker.io/library/x:1"),
        ("ghcr.io/k3d-io/k3d-tools:5.9.0", "ghcr.io/k3d-io/k3d-tools:5.9.0"),
        ("ghcr.io/library/x", "ghcr.io/library/x:latest"),
        ("localhost:5000/a", "localhost:5000/a:latest"),
        ("localhost:5000/a:b", "localhost:5000/a:b"),
        ("localhost/a", "localhost/a:latest"),
        ("docker.io.example.org/a:1", "docker.io.example.org/a:1"),
        ("docker.io", "docker.io:latest"),
        (f"docker.io/library/x@{DIGEST}", f"x@{DIGEST}"),
        (f"localhost:5000/x@{DIGEST}", f"localhost:5000/x@{DIGEST}"),
    ],
)
def test_references_as_docker_lists_them(ref: str, listed: str) -> None:
    assert parse(ref).listed == listed
