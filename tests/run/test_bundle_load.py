"""A launch from a bundle: what it lacks is told at once, caches ask nobody, and nothing is pulled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from tasks import cluster
from tasks.clients.bundle import Bundle, File, Image, Lock
from tasks.engine.graph import fitted
from tasks.facts.facts import Facts
from tasks.facts.registries import Registry
from tasks.k3d.ports import choosers
from tasks.k3d.registry_container import fits
from tasks.kube.objects import digest
from tasks.run import images
from tasks.run.bundle_load import Lacking, refuse_lacking
from tasks.run.charts import chart_of
from tests import given
from tests.programs import FakePrograms

RELEASE = {"name": "web", "namespace": "web", "chart": "shop/web", "version": "1.0.0"}


class Fake:
    """A bundle of which only the lock matters."""

    path = Path("/x/bundle.tar")

    def __init__(self, lock: Lock) -> None:
        self.lock = lock


def bundled(folder: Path, **changes: Any) -> Facts:
    """Facts with a bundle that holds all that they need."""
    chosen = given.settings(helm={"repositories": {"shop": "https://charts.example"}, "releases": [RELEASE]})
    facts = given.facts(folder, FakePrograms(answers={}), settings=chosen, images={"rancher/k3s:v1": False}, **changes)
    lock = Lock(
        platform="linux/amd64",
        target="linux-amd64",
        images={
            "rancher/k3s:v1": Image(digest="", manifest="", engine=True),
            "docker.io/shop/web:1": Image(digest="", manifest="", node=True),
        },
        charts={chart_of(facts, facts.releases[0]).id: File(name="web", file="web-1.0.0.tgz", digest="")},
        releases={
            digest(images.system_key(facts)): (),
            digest(images.key_of(facts, facts.releases[0])): ("docker.io/shop/web:1",),
        },
    )
    return replace(facts, bundle=cast("Bundle", Fake(lock)))


def without(facts: Facts, **changes: Any) -> Facts:
    assert facts.bundle is not None
    return replace(facts, bundle=cast("Bundle", Fake(replace(facts.bundle.lock, **changes))))


def test_what_it_lacks_is_one_error_that_names_it(tmp_path: Path) -> None:
    facts = bundled(tmp_path)
    refuse_lacking(facts)
    with pytest.raises(Lacking) as caught:
        refuse_lacking(without(facts, images={}, releases={}, charts={}))
    for each in ("the image rancher/k3s:v1", "the chart shop/web 1.0.0", "the images of the system of"):
        assert each in caught.value.why
    only = without(facts, images={"rancher/k3s:v1": Image(digest="", manifest="", engine=True)})
    with pytest.raises(Lacking, match="does not hold all") as caught:
        refuse_lacking(only)
    assert "the image docker.io/shop/web:1 of web" in caught.value.why


def test_images_of_nodes_are_in_the_caches_before_the_cluster_is_made(tmp_path: Path) -> None:
    facts = bundled(tmp_path)
    steps = given.by_name(fitted(cluster.steps(facts, choosers(facts))))
    assert "bundle: images of docker.io" in steps["cluster: create"].needs
    assert steps["bundle: images of docker.io"].needs == ("registry: cache of docker.io",)
    assert images.fetch_steps(facts) == []
    assert not [step.name for step in steps.values() if step.name.startswith("prepull") and "cache" in str(step.needs)]


def registry(**changes: Any) -> Registry:
    return Registry(name="k3d-c", id="1", upstream="docker.io", port=5000, networks=("bridge",), **changes)


@pytest.mark.parametrize(
    ("there", "bundle", "required", "expected"),
    [
        (registry(loaded=True), True, False, True),
        (registry(loaded=True), False, False, True),
        (registry(loaded=True), False, True, False),
        (registry(), True, False, False),
        (replace(registry(), networks=("k3d-of-another",)), True, False, True),
        (registry(), False, False, True),
    ],
    ids=["loaded", "an up without it", "invoke registry", "it would ask", "others pull through it", "no bundle"],
)
def test_a_cache_asks_nobody_with_a_bundle(
    tmp_path: Path, there: Registry, bundle: bool, required: bool, expected: bool
) -> None:
    facts = bundled(tmp_path)
    facts = facts if bundle else replace(facts, bundle=None)
    assert fits(facts, there, facts.settings.registries.caches[0], required=required) is expected
