"""Facts of a machine without any warning, and of those that differ."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from tasks.checks.facts import HostFacts
from tasks.checks.finding import Finding, Level
from tasks.facts.endpoint import Endpoint
from tasks.facts.engine import Engine, read
from tasks.facts.host import Disk, Inotify, Rights
from tasks.facts.programs import Versions
from tasks.settings.schema import Settings
from tests.facts.docker_info import HERE, LINUX
from tests.programs import Answer

GIB = 1024**3
INFO: dict[str, Any] = {**LINUX, "CgroupVersion": "2", "NCPU": 8, "MemTotal": 16 * GIB, "Name": "elsewhere"}
ANSWERS: Mapping[str, Answer] = {
    "docker info": Answer(out=json.dumps(INFO)),
    "docker ps": Answer(),
    "k3d": Answer(out="k3d version v5.9.0\nk3s version v1.35.5-k3s1 (default)\n"),
    "kubectl": Answer(out=json.dumps({"clientVersion": {"gitVersion": "v1.35.5"}})),
    "helm": Answer(out="v4.3.1+g0b8d9b4\n"),
    "sudo": Answer(),
}
"""Of the programs of a machine without any warning."""


def settings(**cluster: Any) -> Settings:
    """The defaults with another cluster."""
    return Settings.model_validate({"cluster": cluster})


def engine(**changes: Any) -> Engine:
    """An engine on this machine with 8 CPUs and 16 GiB."""
    result = read({**LINUX, "CgroupVersion": "2", "NCPU": 8, "MemTotal": 16 * GIB, **changes}, Endpoint(), HERE)
    return replace(result, here=True)


WELL = HostFacts(
    settings=Settings(),
    engine=engine(),
    versions=Versions(k3d="v5.9.0", kubectl="v1.35.5", helm="v4.3.1"),
    minimum={"k3d": "5.7.0", "kubectl": "1.22.0", "helm": "3.13.0"},
    kubernetes=35,
    agents=4,
    disk=Disk(total=200 * GIB, free=100 * GIB),
    inotify=Inotify(instances=1024, watches=1048576),
    unpigz=True,
    chosen=(80, 443, 6550),
    bindable=True,
    taken={},
    unresolved={},
    rights=Rights(root=False, sudo=True),
)


def levels(found: Iterable[Finding]) -> list[str]:
    """What came out, in short."""
    return [each.level.value for each in found]


def one(found: Iterable[Finding]) -> Finding:
    """The only finding."""
    (finding,) = found
    if finding.level in (Level.WARNING, Level.PROBLEM):
        assert finding.why
        assert finding.fix
    return finding


def environ(**given: str) -> Mapping[str, str]:
    """An environment."""
    return given
