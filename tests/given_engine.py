"""An engine from a script: containers that k3d and docker add, start and remove; registries; a given API."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.clients.docker import PUSH
from tasks.core.units import memory_bytes
from tasks.engine.step import Context, Step, Stopped
from tasks.facts.cluster import MARKER, Owner, owner
from tasks.facts.facts import Facts, Shape
from tasks.facts.registries import Registry
from tasks.k3d.recorded import remembered
from tasks.run.registries import steps
from tasks.settings.derived import k3s_image, registries_in_use, registry_containers
from tasks.settings.schema import Settings
from tests import given
from tests.facts import inspected
from tests.facts.docker_info import LINUX
from tests.facts.inspected import NO_FILE_20, container, registry
from tests.given import FakeSession, settings
from tests.given_live import FakeApi, deployment, node
from tests.programs import Answer, Call, FakePrograms, tarred

GIB = 1024**3
ME = owner({}, Path("/nowhere"), "the tests")
"""The user: named, since who owns what by default is the machine's and the engine's matter (`tests.conftest`)."""
OWNER = ME.label
OTHER = Owner(id="0" * 16, name="alice@laptop").label
INFO = {**LINUX, "CgroupVersion": "2", "NCPU": 4, "MemTotal": 8 * GIB, "Name": "elsewhere"}
"""Two agents' worth; not on this machine, so that its own disk and cgroups say nothing."""
KUBECONFIG = {
    "apiVersion": "v1",
    "clusters": [
        {"name": "default", "cluster": {"server": "https://127.0.0.1:6443", "certificate-authority-data": "eA=="}}
    ],
    "users": [{"name": "default", "user": {"client-certificate-data": "eA==", "client-key-data": "eA=="}}],
    "contexts": [{"name": "default", "context": {"cluster": "default", "user": "default"}}],
    "current-context": "default",
}
ACTING = (
    "k3d cluster",
    "k3d node",
    "kubectl --kubeconfig",
    "helm upgrade",
    "helm pull",
    "helm repo",
    "docker pull",
    "docker run",
    "docker rm",
    "docker start",
    "docker stop",
    "docker pause",
    "docker unpause",
    "docker update",
    "docker network rm",
    "docker network connect",
    "docker network disconnect",
    "docker volume create",
    "docker volume rm",
)
"""How commands begin that change something."""
SMALL: Mapping[str, Any] = {
    "namespaces": ["platform"],
    "secrets": [],
    "helm": {"releases": []},
    "registries": {"push": False, "caches": []},
    "manifests": {
        "storage_class": False,
        "network_policies": False,
        "node_local_dns": False,
        "quota": {"enabled": False},
    },
}
"""A launch of few steps: a cluster with one namespace."""
PUSHED, HUB = "k3d-openframe-registry", "k3d-openframe-cache-docker-io"
GHCR = "k3d-openframe-cache-ghcr-io"
ABSENT = Answer(out="[]\n", err="Error: No such container: x", code=1)
ONLY_PUSH = settings(registries={"caches": []})
ONLY_GHCR = settings(registries={"push": False, "caches": [{"upstream": "ghcr.io"}]})


class Machine:
    """What is on the engine, and the programs that tell of it and change it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **sections: Any) -> None:
        self.folder = folder
        self.settings: Settings = given.settings(**{**SMALL, **sections})
        self.containers: list[dict[str, Any]] = []
        self.complete = True
        self.owner = OWNER
        """The owner in the label of created nodes."""
        self.images = True
        self.image_architecture = "amd64"
        self.api = FakeApi(deployment("coredns", "kube-system"))
        self.fails: dict[str, Answer] = {}
        """Answers that win over the script, by the beginning of a command line."""
        self.programs = FakePrograms(answers={"": self._answer}, env={"PATH": "/nowhere"}, otherwise=Answer())
        monkeypatch.setattr("tasks.facts.cluster.owner", lambda *_: ME)
        monkeypatch.setattr("tasks.kube.transport.open_api", lambda *_: self.api)
        monkeypatch.setattr("tasks.kube.client.port_answers", lambda *_: bool(self.containers))
        monkeypatch.setattr("tasks.clients.registry_http.answers", lambda *_: True)
        monkeypatch.setattr("tasks.facts.ports.taken", lambda *_: False)
        monkeypatch.setattr("tasks.facts.ports.low_port_start", lambda: 0)
        monkeypatch.setattr("tasks.engine.step.Context.wait", _soon)
        monkeypatch.setattr("tasks.engine.step.Retry.pause", lambda *_: 0.0)

    # -- what is there ----------------------------------------------------------------------------

    def shape(self, settings: Settings | None = None) -> Shape:
        chosen = settings or self.settings
        agents = 2 if chosen.cluster.agents is None else chosen.cluster.agents
        return Shape(image=k3s_image(chosen), agents=agents, concurrency=2, registries=registries_in_use(chosen))

    def make(
        self, *, running: bool = True, ours: bool = True, settings: Settings | None = None, agents: int = 2
    ) -> None:
        """A cluster as a launch leaves it, created with these settings; its API knows its nodes."""
        chosen = settings or self.settings
        state = "running" if running else "exited"
        label = {
            "openframe.config": remembered(chosen, self.shape(chosen)),
            "openframe.owner": self.owner if ours else "",
        }
        ports = {
            f"{inside}/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(host)}]
            for inside, host in ((80, chosen.cluster.ports.http), (443, chosen.cluster.ports.https))
        }
        api = {"6443/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(chosen.cluster.ports.api)}]}
        cluster = chosen.cluster.name
        for name in ("server-0", *(f"agent-{number}" for number in range(agents))):
            server = name == "server-0"
            more: dict[str, Any] = {"labels": label, "ports": {**ports, **api} if server else {}, "cluster": cluster}
            role = "server" if server else "agent"
            more |= _limits(chosen, role)
            self.containers.append(container(name, role, state=state, ours=ours, **more))
            self.api.put(node(f"k3d-{cluster}-{name}"))

    def put_registries(self) -> None:
        """Those that are configured, running."""
        network = f"k3d-{self.settings.cluster.name}"
        for number, name in enumerate(registry_containers(self.settings)):
            self.containers.append(registry(name, str(5050 + number), networks=("bridge", network)))

    def session(self, task: str = "up", **options: Any) -> FakeSession:
        return given.session(self.folder, self.programs, settings=self.settings, task=task, **options)

    # -- what was done ----------------------------------------------------------------------------

    @property
    def acted(self) -> list[str]:
        """Commands that change something."""
        return [line for line in self.programs.lines if line.startswith(ACTING)]

    def records(self) -> dict[str, dict[str, Any]]:
        """Records by file name; latest.json among them."""
        folder = self.folder / "openframe-logs"
        files = [*(folder / "runs").glob("*.json"), *folder.glob("latest.json")]
        return {file.name: json.loads(file.read_text()) for file in files}

    def latest(self) -> dict[str, Any]:
        return self.records()["latest.json"]

    def states(self) -> dict[str, str]:
        """How each step of the last run ended."""
        return {step["name"]: step["state"] for step in self.latest()["steps"]}

    # -- the script -------------------------------------------------------------------------------

    def _answer(self, call: Call) -> Answer | str:
        line, argv = call.line, call.command.argv
        failing = max((key for key in self.fails if line.startswith(key)), key=len, default=None)
        if failing is not None:
            return self.fails[failing]
        found = max((key for key in _SCRIPT if line.startswith(key)), key=len, default=None)
        return _SCRIPT[found](self, argv, call) if found is not None else ""

    def _named(self, names: tuple[str, ...]) -> list[dict[str, Any]]:
        return [each for each in self.containers if each["Id"] in names or each["Name"].lstrip("/") in names]

    def _ids(self, argv: tuple[str, ...], _call: Call) -> str:
        labels = [part.removeprefix("label=").partition("=") for part in argv if part.startswith("label=")]
        return "\n".join(
            each["Id"]
            for each in self.containers
            if all(each["Config"]["Labels"].get(key) == value for key, _sign, value in labels)
        )

    def _inspect(self, argv: tuple[str, ...], _call: Call) -> Answer:
        found = self._named(argv[3:])
        return Answer(out=json.dumps(found), code=0 if found else 1)

    def _images(self, argv: tuple[str, ...], _call: Call) -> str:
        from tasks.core.imageref import parse

        listed = json.dumps([parse(ref).listed for ref in argv[5:]])
        return f'{listed}[]"linux""{self.image_architecture}"' if self.images else ""

    def _copy(self, argv: tuple[str, ...], _call: Call) -> Answer:
        if argv[-1] != "-":
            self.complete = True
            return Answer()
        there = self._named((argv[2].partition(":")[0],))
        if not there or (argv[2].endswith(MARKER) and not self.complete):
            return Answer(code=1, err=NO_FILE_20)
        if argv[2].endswith(MARKER):
            return Answer(out=MARKER)
        return Answer(raw=tarred({"kubeconfig.yaml": yaml.safe_dump(KUBECONFIG)}))

    def _events(self, _argv: tuple[str, ...], call: Call) -> Answer:
        assert call.context is not None
        call.context.cancelled.wait(20)
        return Answer(code=-15)

    def _create(self, argv: tuple[str, ...], _call: Call) -> str:
        config = json.loads(Path(argv[-1]).read_text())
        assert config["metadata"]["name"] == self.settings.cluster.name
        self.complete = False
        self.make(agents=config.get("agents", 0))
        return ""

    def _start(self, _argv: tuple[str, ...], _call: Call) -> str:
        for each in self.containers:
            each["State"] = {**each["State"], "Status": "running", "Running": True}
        return ""

    def _stop(self, argv: tuple[str, ...], _call: Call) -> str:
        for each in self._named(argv):
            each["State"] = {**each["State"], "Status": "exited", "Running": False}
        return ""

    def _freeze(self, argv: tuple[str, ...], _call: Call) -> str:
        on = argv[1] == "pause"
        for each in self._named(argv):
            each["State"] = {**each["State"], "Status": "paused" if on else "running", "Paused": on}
        return ""

    def _remove(self, argv: tuple[str, ...], _call: Call) -> str:
        missing = self._named(argv)
        self.containers = [each for each in self.containers if each not in missing]
        return ""

    def _apply(self, _argv: tuple[str, ...], call: Call) -> str:
        self.api.put(*(json.loads(line) for line in (call.command.stdin or "").splitlines() if line != "---"))
        return ""


def _limits(settings: Settings, role: str) -> dict[str, int]:
    """As a launch sets them at its end."""
    limits = settings.cluster.limits
    cpus, size = (
        (limits.server_cpus, limits.server_memory) if role == "server" else (limits.agent_cpus, limits.agent_memory)
    )
    return {"cpus": round(cpus * 1e9), "memory": memory_bytes(size)}


def _soon(context: Context, _seconds: float) -> None:
    """A pause that is none, but notices the end as one does."""
    if context.cancelled.wait(0.001):
        raise Stopped(context.step)


_SCRIPT: Mapping[str, Any] = {
    "docker info": lambda *_: json.dumps(INFO),
    "docker ps --all": Machine._ids,
    "docker container inspect": Machine._inspect,
    "docker image inspect": Machine._images,
    "docker cp": Machine._copy,
    "docker events": Machine._events,
    "docker stop": Machine._stop,
    "docker pause": Machine._freeze,
    "docker unpause": Machine._freeze,
    "docker rm": Machine._remove,
    "docker network inspect": lambda *_: Answer(code=1),
    "k3d version": lambda *_: "k3d version v5.9.0\n",
    "k3d cluster create": Machine._create,
    "k3d cluster start": Machine._start,
    "kubectl version": lambda *_: json.dumps({"clientVersion": {"gitVersion": "v1.33.13"}}),
    "kubectl --kubeconfig": Machine._apply,
    "helm version": lambda *_: "v4.1.4\n",
}


def id_of(name: str = PUSHED) -> str:
    """The id of its container."""
    return str(inspected.registry(name)["Id"])


def there(name: str = PUSHED, **changes: Any) -> Registry:
    """A running one of this project, in the network of the tests' cluster."""
    given = {
        "id": id_of(name),
        "upstream": PUSH,
        "port": 5050,
        "networks": ("bridge", "k3d-openframe-dev"),
    }
    return Registry(**{"name": name, **given, **changes})


def ports(*numbers: int) -> Any:
    left = list(numbers)
    requested: list[int | None] = []

    def free(desired: int | None) -> int:
        requested.append(desired)
        return left.pop(0) if left else 5999

    free.requested = requested  # type: ignore[attr-defined]
    return free


def engine(**answers: Any) -> FakePrograms:
    """Docker without such a container, which creates what is requested."""
    return FakePrograms(answers={"docker": "", "docker container inspect": ABSENT, **answers})


def only(given: Facts, free: Any = None) -> Step:
    (step,) = steps(given, free or ports())
    return step
