"""The target of a launch: who creates the cluster, and how to reach its API and the registries without a program.

The backend of a rehearsal is `tasks.rehearsal.backend`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from tasks.core.imageref import Reference
from tasks.engine.step import Action, Context, Report
from tasks.kube.client import Api
from tasks.process.programs import Programs
from tasks.settings.derived import NEEDS_CLUSTER, PARTS


class Backend(Protocol):
    """A value of `--engine`."""

    name: str
    owns_cluster: bool
    """Whether this project creates and removes the cluster. If not, the cluster is foreign: only what this project
    created in it is changed or removed."""
    rehearsed: bool
    """Whether nothing real is created."""
    parts: tuple[str, ...]
    """Available parts of a launch."""
    needs_programs: tuple[str, ...]
    """Programs that are downloaded if they are missing."""

    def api(self, kubeconfig: Path, programs: Programs) -> Api:
        """The API of a private kubeconfig."""

    def server_answers(self, host: str, port: int) -> bool:
        """Whether an API server answers there."""

    def http_status(self, address: str, port: int, host: str, path: str) -> int:
        """The response status of a published HTTP port for a host name; 0 without a response."""

    def registry_answers(self, port: int, context: Context, seconds: float) -> bool:
        """Wait until a started registry answers; False if it does not within those seconds."""

    def cache_fault(self, port: int, image: Reference) -> str:
        """Why a cache cannot fetch missing layers; "" if it can."""

    def digest(self, port: int, image: Reference) -> str | None:
        """The digest of a tag in a registry; empty if there is none, None without a response."""

    def layers(self, port: int, image: Reference, arch: str, context: Context) -> dict[str, int]:
        """Bytes of an image's layers by digest. Raises `tasks.clients.registry_http.NotFetched`."""

    def fetch(self, port: int, image: Reference, arch: str, context: Context) -> int:
        """Fetch an image into a cache; returns bytes. Raises `tasks.clients.registry_http.NotFetched`."""

    def own(self, key: tuple[str, str], act: Action, context: Context) -> Report | None:
        """Run a `step` or a `build` of the user, by its name. A rehearsal only simulates the time."""


class Network:
    """Access to the cluster's API and the registries over this machine's network."""

    rehearsed = False
    owns_cluster = True

    def api(self, kubeconfig: Path, programs: Programs) -> Api:
        """Over HTTPS, or through kubectl."""
        from tasks.kube.transport import open_api

        return open_api(kubeconfig, programs, not self.owns_cluster)

    def server_answers(self, host: str, port: int) -> bool:
        """By a TLS handshake."""
        from tasks.kube.client import port_answers

        return port_answers(host, port)

    def http_status(self, address: str, port: int, host: str, path: str) -> int:
        """By a GET of 2 s at most, without a proxy."""
        import http.client

        connection = http.client.HTTPConnection(address, port, timeout=2.0)
        try:
            connection.request("GET", path, headers={"Host": host} if host else {})
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def registry_answers(self, port: int, context: Context, seconds: float) -> bool:
        """By the registry's own `/v2/`."""
        from tasks.clients.registry_http import answers

        return answers(port, context, seconds)

    def cache_fault(self, port: int, image: Reference) -> str:
        """By requesting a layer that does not exist."""
        from tasks.clients.registry_http import fault

        return fault(port, image.repository)

    def digest(self, port: int, image: Reference) -> str | None:
        """By a HEAD of 1.5 s at most: a cache queries its upstream."""
        from tasks.clients.registry_http import digest

        return digest(port, image, 1.5)

    def layers(self, port: int, image: Reference, arch: str, context: Context) -> dict[str, int]:
        """From its manifest."""
        from tasks.clients.registry_http import layers

        return layers(port, image, arch, context)

    def fetch(self, port: int, image: Reference, arch: str, context: Context) -> int:
        """By reading manifests and layers through it."""
        from tasks.clients.registry_http import fetch

        return fetch(port, image, arch, context)

    def own(self, key: tuple[str, str], act: Action, context: Context) -> Report | None:
        """By running it."""
        del key
        return act(context)


class K3d(Network):
    """A k3d cluster on a Docker engine, created by this project."""

    name = "k3d"
    owns_cluster = True
    parts: tuple[str, ...] = PARTS
    needs_programs: tuple[str, ...] = ("k3d", "kubectl", "helm")


class Existing(Network):
    """An existing cluster, from a context of the user's kubeconfig."""

    name = "existing"
    owns_cluster = False
    parts: tuple[str, ...] = tuple(part for part in PARTS if part in NEEDS_CLUSTER or part == "build")
    needs_programs: tuple[str, ...] = ("kubectl", "helm")


BACKENDS: Mapping[str, type[K3d | Existing]] = {"k3d": K3d, "existing": Existing}
"""Backends that create real things, by name."""
