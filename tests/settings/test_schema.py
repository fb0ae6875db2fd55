"""The tree has every variable that users know, with its default."""

from tasks.settings.schema import Release, Settings
from tasks.settings.types import Kind, fields, places

VARIABLES = {
    "CLUSTER_NAME": "openframe-dev",
    "K8S_VERSION": "v1.35.5",
    "K3S_IMAGE": None,
    "NAMESPACES": (
        "platform",
        "openframe-datasources",
        "openframe-microservices",
        "integrated-tools-datasources",
        "integrated-tools",
        "client-tools",
    ),
    "IP": "127.0.0.1",
    "DOMAIN": "localhost",
    "K3D_RESOURCE_OPTIMIZATION": True,
    "K3D_MEMORY_LIMIT_SERVER": "2G",
    "K3D_MEMORY_LIMIT_AGENT": "1.5G",
    "K3D_CPU_LIMIT_SERVER": 2,
    "K3D_CPU_LIMIT_AGENT": 1,
    "K3D_CONCURRENT_DOWNLOADS": 3,
    "K3D_AGENTS": None,
    "CONCURRENCY_LEVEL": None,
    "DEPLOY_LOG_DIR": "/tmp/openframe-deployment-logs",
    "SILENT": False,
    "OPENFRAME_PROFILE": None,
    "OPENFRAME_OWNER": None,
    "K3D_IMAGE_LOADBALANCER": None,
    "K3D_IMAGE_TOOLS": None,
}


def test_variables_and_their_defaults() -> None:
    assert {shape.env: shape.default for _, shape in places(Settings) if shape.env is not None} == VARIABLES
    (secret,) = Settings().secrets
    assert secret.values["password"].env == "GITHUB_TOKEN_CLASSIC"
    assert (secret.name, secret.registry, secret.type) == ("github-pat-secret", "ghcr.io", "dockerconfigjson")


def test_durations_are_seconds_and_every_place_says_what_it_must_be() -> None:
    for path, shape in places(Settings):
        assert shape.expected, path
        assert shape.meaning, path
    timed = {".".join(path) for path, shape in places(Settings) if shape.unit == "seconds"}
    assert timed == {f"timeouts.{name}" for name in ("command", "pull", "api", "health")} | {"cluster.timeout"}


def test_kinds_of_places() -> None:
    kinds = {".".join(path): shape.kind for path, shape in places(Settings)}
    assert kinds["helm.releases"] is kinds["secrets"] is kinds["registries.caches"] is Kind.ITEMS
    assert kinds["helm.repositories"] is kinds["cluster.server_labels"] is Kind.TABLE
    assert kinds["cluster.kubelet_config"] is fields(Release)["values"].kind is Kind.FREE
    assert kinds["namespaces"] is kinds["cluster.env"] is Kind.LEAF


def test_no_variable_and_no_path_stands_twice() -> None:
    found = list(places(Settings))
    variables = [shape.env for _, shape in found if shape.env is not None]
    assert len(set(variables)) == len(variables)
    assert len({path for path, _ in found}) == len(found)
