"""How long things take in a rehearsal: seconds by key, from times.json, else from the table below.

A key is a word or two, and mostly what it is about: `pull rancher/k3s:v1.35.5-k3s1`. Where a key with that is missing,
the one without it counts (`pull`), then the table. Upper and lower case are the same. `scale` multiplies all of them;
0: nothing takes any time.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.rehearsal.folder import Folder

KEYS: Mapping[str, tuple[float, str]] = {
    "docker": (0.0, "any other command of docker"),
    "pull": (4.0, "`docker pull IMAGE`; through a cache the image counts by its upstream's name"),
    "pull cached": (1.0, "`docker pull IMAGE` through a cache that has it"),
    "build": (10.0, "`docker build` of the build NAME"),
    "push": (1.0, "`docker push` of the build NAME"),
    "fetch": (3.0, "a cache told to bring IMAGE; 0 where it has it"),
    "registry start": (0.4, "`docker run` or `docker start` of a registry"),
    "stop": (1.0, "`docker stop`, `k3d cluster stop`"),
    "rm": (0.8, "`docker rm --force` of what runs"),
    "create prepare": (1.6, "from k3d's start until server-0's container starts"),
    "server answers": (3.0, "from the container's start until its port speaks"),
    "api ready": (0.4, "from there until /readyz is 200"),
    "nodes ready": (5.0, "from there until a node that is registered is Ready"),
    "server joins": (5.0, "each further server, from its container's start until k3d sees it up"),
    "agent starts": (3.6, "from server-0's container's start until the agents' containers start"),
    "agent registers": (1.0, "from an agent's container's start until it is registered"),
    "loadbalancer": (6.0, "from the load balancer's container's start until k3d sees it up"),
    "create returns": (9.3, "`k3d cluster create` as a whole; never before all that it waits for"),
    "start returns": (7.0, "`k3d cluster start` as a whole, likewise"),
    "add agent": (4.0, "`k3d node create` as a whole, likewise"),
    "delete": (1.5, "`k3d cluster delete`"),
    "system ready": (8.0, "from the API's readiness until NAME of kube-system (coredns, …) is available"),
    "controllers": (4.0, "from the API's readiness until controllers work: quotas are counted, namespaces emptied"),
    "crd established": (0.2, "from a definition's creation until its kind is served"),
    "namespace gone": (4.0, "from a namespace's deletion until nothing of it is left"),
    "workload ready": (3.0, "from NAMESPACE/NAME's creation until its pods are ready; what belongs to no release"),
    "job done": (2.0, "from a Job's creation until it is complete"),
    "kubectl": (0.08, "any command of kubectl"),
    "repo update": (1.0, "`helm repo update`"),
    "chart pull": (1.0, "`helm pull NAME` (repository/chart, or oci://…)"),
    "template": (0.2, "`helm template NAME`"),
    "install": (1.0, "`helm upgrade` of NAMESPACE/NAME as a whole"),
    "uninstall": (0.8, "`helm uninstall` of NAMESPACE/NAME"),
    "rollback": (1.0, "`helm rollback` of NAMESPACE/NAME"),
    "step": (1.0, "the command of the user's own step NAME"),
    "release ready": (5.0, "from the end of NAMESPACE/NAME's installation until its workloads are available"),
}
"""Seconds by default, and what they are."""


class Times:
    """What a times.json says, over the table."""

    __slots__ = ("_given", "scale")

    def __init__(self, document: Mapping[str, float]) -> None:
        self._given = {str(key).lower(): float(value) for key, value in document.items()}
        self.scale = self._given.get("scale", 1.0)

    @classmethod
    def of(cls, folder: Folder) -> Times:
        """Those of a rehearsal."""
        return cls(folder.read("times.json"))

    def seconds(self, key: str, *names: str) -> float:
        """Scaled seconds of a key of the table, about the first of these names that is known."""
        for name in names:
            found = self._given.get(f"{key} {name}".lower())
            if found is not None:
                return found * self.scale
        return self._given.get(key.lower(), KEYS[key][0]) * self.scale

    def wait(self, seconds: float) -> None:
        """Seconds that are scaled already."""
        if seconds > 0:
            time.sleep(seconds)


def stamp(moment: float, digits: int = 9) -> str:
    """A moment as engines write it: RFC 3339 in UTC, with so many digits of a second."""
    nano = round(moment * 1e9)
    whole, rest = divmod(nano, 10**9)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    return f"{text}.{rest:09d}"[: len(text) + 1 + digits] + "Z" if digits else f"{text}Z"
