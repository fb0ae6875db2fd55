"""Charts of OCI registries: by HTTP or TLS, from the push registry, with Helm's own logins."""

import sys
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import BadInput
from tasks.settings.derived import PUSH_REGISTRY
from tests import given
from tests.given_engine import there
from tests.programs import Answer
from tests.run.test_charts import of, planned, pulling, release, run


def oci(folder: Path, chart: str, **changes: Any) -> list[str]:
    """The calls that fetch an OCI chart, without generated names."""
    facts, programs = of(folder, **changes)
    run(planned(facts, release(chart, "1.0.0")))
    return [line.split(" --destination")[0] for line in programs.lines]


@pytest.mark.parametrize(
    ("host", "plain"),
    [
        ("localhost:5050", True),
        ("127.0.0.1:5050", True),
        ("127.8.9.10", True),
        ("[::1]:5050", True),
        ("registry.localhost:5050", True),
        ("registry.lan:5000", True),
        ("registry.lan", False),
        ("ghcr.io", False),
        ("localhost.example.com", False),
    ],
)
def test_registries_on_loopback_and_named_ones_are_queried_by_http(host: str, plain: bool, tmp_path: Path) -> None:
    settings = given.settings(helm={"releases": [], "plain_http": ["registry.lan:5000"]})
    line = f"helm pull oci://{host}/charts/app --version 1.0.0"
    assert oci(tmp_path, f"oci://{host}/charts/app", settings=settings) == [line + " --plain-http" * plain]


def test_a_registry_on_loopback_that_speaks_tls_is_asked_by_it(tmp_path: Path) -> None:
    facts, programs = of(tmp_path)
    refusal = Answer(
        code=1, err='Error: GET "http://localhost:5/v2/app/manifests/1": response status code 400: Bad Request'
    )
    programs.answers["helm pull"] = [refusal, pulling]
    run(planned(facts, release("oci://localhost:5/app", "1.0.0")))
    assert ["--plain-http" in line for line in programs.lines] == [True, False]


def test_the_push_registry_by_its_name_is_asked_where_it_is_published(tmp_path: Path) -> None:
    """Containers know that name, this machine does not."""
    name = "k3d-openframe-registry"
    lines = oci(tmp_path, f"oci://{name}:5050/charts/app", registries={name: there(name, port=5051)})
    assert lines == ["helm pull oci://127.0.0.1:5051/charts/app --version 1.0.0 --plain-http"]


@pytest.mark.parametrize(
    ("chart", "needs"),
    [
        ("oci://localhost:5050/charts/app", (PUSH_REGISTRY,)),
        ("oci://k3d-openframe-registry:5000/charts/app", (PUSH_REGISTRY,)),
        ("oci://localhost:5000/charts/app", ()),
        ("oci://ghcr.io/o/app", ()),
    ],
)
def test_only_a_chart_of_the_push_registry_waits_for_it(chart: str, needs: tuple[str, ...], tmp_path: Path) -> None:
    (step,) = planned(of(tmp_path)[0], release(chart, "1.0.0")).values()
    assert step.needs == needs


def test_a_chart_of_a_registry_of_this_machine_is_fetched_again(tmp_path: Path) -> None:
    """One version is pushed again and again there."""
    for _launch in range(2):
        assert oci(tmp_path, "oci://localhost:5050/charts/app")
    assert oci(tmp_path, "oci://ghcr.io/o/app")
    assert oci(tmp_path, "oci://ghcr.io/o/app") == []


@pytest.mark.parametrize(
    ("environ", "place"),
    [
        ({"HOME": "{}"}, ".config/helm/registry/config.json"),
        ({"HOME": "{}", "XDG_CONFIG_HOME": "{}/xdg"}, "xdg/helm/registry/config.json"),
        ({"HOME": "{}", "HELM_CONFIG_HOME": "{}/own"}, "own/registry/config.json"),
        ({"HOME": "{}", "HELM_REGISTRY_CONFIG": "{}/mine.json"}, "mine.json"),
        ({}, None),
    ],
)
def test_logins_of_helm_are_used_where_helm_keeps_them(
    environ: dict[str, str], place: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    there = {name: value.format(tmp_path) for name, value in environ.items()}
    line = "helm pull oci://ghcr.io/o/app --version 1.0.0"
    assert oci(tmp_path, "oci://ghcr.io/o/app", environ=there) == [line], "a file that is not there is not named"
    if place is not None:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text("{}")
        (login,) = oci(tmp_path, "oci://ghcr.io/o/app2", environ=there)
        assert login.endswith(f" --registry-config {tmp_path / place}")


def test_a_file_of_logins_can_be_named(tmp_path: Path) -> None:
    settings = given.settings(helm={"releases": [], "registry_config": "logins.json"})
    with pytest.raises(BadInput, match="file of logins to OCI registries does not exist"):
        oci(tmp_path, "oci://ghcr.io/o/app", settings=settings, root=tmp_path)
    (tmp_path / "logins.json").write_text("{}")
    (line,) = oci(tmp_path, "oci://ghcr.io/o/app", settings=settings, root=tmp_path)
    assert line.endswith(f" --registry-config {tmp_path / 'logins.json'}")
