"""The default settings: every object of base resources and default releases is accepted by a real API server.

JETSTACK_REPOSITORY names another address of that chart repository, for machines that do not reach the usual one.
"""

import json
import os
import subprocess

import pytest
import yaml

from tasks.settings.schema import Settings
from tests.real.conftest import Make
from tests.real.project import Project, run
from tests.real.world import World

CLUSTER = "default-one"


@pytest.fixture(scope="module")
def project(here: World, make: Make) -> Project:
    settings = {} if here.caches is None else {"registries": {"caches": list(here.caches)}}
    result = make(CLUSTER, settings)
    for task in ("cluster", "namespaces", "manifests"):
        done = result.invoke(task, "--set", "cluster.agents=0", "--set", "helm.releases=[]")
        assert done.code == 0, done.text
    return result


def test_base_resources_of_the_default_settings_stand(project: Project) -> None:
    expected = len(Settings().namespaces)
    for kind in ("networkpolicies", "resourcequotas", "limitranges"):
        assert len(project.objects(kind)) == expected


@pytest.mark.parametrize("number", range(len(Settings().helm.releases)))
def test_every_object_of_the_default_releases_is_accepted(project: Project, number: int) -> None:
    settings = Settings()
    release = settings.helm.releases[number]
    repository, chart = release.chart.split("/")
    url = os.environ.get(f"{repository.upper()}_REPOSITORY", settings.helm.repositories[repository])
    folder = project.folder / "charts"
    folder.mkdir(exist_ok=True)
    pulled = subprocess.run(
        ["helm", "pull", chart, "--repo", url, "--version", str(release.version), "--destination", str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, **project.environ},
        check=False,
    )
    if pulled.returncode:
        pytest.skip(f"{release.chart} {release.version} cannot be fetched here: {pulled.stderr.strip()}")
    values = project.folder / "values.yaml"
    values.write_text(yaml.safe_dump(json.loads(json.dumps(release.values))))
    archive = next(folder.glob(f"{chart}-*.tgz"))
    rendered = run(
        "helm", "template", release.name, str(archive), "--namespace", release.namespace, "--values", str(values),
        "--include-crds", "--kube-version", settings.cluster.kubernetes_version,
    )  # fmt: skip
    run("kubectl", "--kubeconfig", str(project.kubeconfig), "create", "namespace", release.namespace)
    objects = project.folder / "objects.yaml"
    objects.write_text(rendered)
    accepted = project.kubectl("apply", "--server-side", "--dry-run=server", "--filename", str(objects))
    desired = [each for each in yaml.safe_load_all(rendered) if each]
    assert len(accepted.splitlines()) == len(desired) > 0
