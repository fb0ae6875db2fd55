"""The content of a bundle, and a launch from one: what no machine could load, or it lacks, is reported at once."""

import gzip
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from tasks import cluster
from tasks.clients import registry_http
from tasks.clients.bundle import Bundle, File, Image, Lock
from tasks.clients.bundle_archives import Writer
from tasks.clients.registry_http import NotFetched, Resolved
from tasks.core.errors import BadInput, LaunchError
from tasks.engine.graph import fitted
from tasks.engine.step import Context, Report
from tasks.facts.cluster import ClusterState, Presence
from tasks.facts.facts import Facts
from tasks.facts.programs import read_pins
from tasks.facts.registries import Registry
from tasks.k3d.ports import choosers
from tasks.k3d.registry_container import fits
from tasks.kube.objects import digest as key_digest
from tasks.run import bundle_save, images
from tasks.run.bundle_load import Lacking, refuse_lacking
from tasks.run.bundle_save import opened, save_steps
from tasks.run.bundle_sources import Found, SaveOptions
from tasks.run.charts import chart_of
from tasks.settings.derived import cache_container
from tests import given
from tests.checks.given import engine
from tests.given_live import FakeApi, obj, reached
from tests.programs import Call, FakePrograms, context, tarred

IMAGE = "rancher/k3s:v1"
LAYER, CONFIG = b"layer", b"{}"
GZIP = gzip.compress(LAYER, mtime=0)
RELEASE = {"name": "web", "namespace": "web", "chart": "shop/web", "version": "1.0.0"}


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


MANIFEST = json.dumps(
    {
        "config": {"digest": digest(CONFIG), "size": len(CONFIG)},
        "layers": [{"digest": digest(LAYER), "size": len(LAYER)}],
    }
).encode()


@pytest.fixture
def facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Facts:
    """One image, for which a cache answers; images of the system are remembered."""

    def blob(_port: int, _image: Any, name: str, _context: Context, sink: Callable[[bytes], object]) -> None:
        sink(LAYER if name == digest(LAYER) else CONFIG)

    monkeypatch.setattr("tasks.clients.registry_http.resolve", lambda *_: Resolved(top=MANIFEST, manifest=MANIFEST))
    monkeypatch.setattr("tasks.clients.registry_http.blob", blob)
    chosen = given.settings(helm={"releases": []})
    cache = Registry(
        name=cache_container(chosen.registries.caches[0]), id="1", upstream="docker.io", port=1, networks=()
    )
    found = given.facts(
        tmp_path,
        FakePrograms(answers={}),
        settings=chosen,
        images={IMAGE: True},
        registries={cache.name: cache},
        cluster=ClusterState(name="x", presence=Presence.ABSENT),
    )
    remaining = found.paths.images / key_digest(f"nodes {images.system_key(found)}")
    remaining.parent.mkdir(parents=True)
    remaining.write_text('["rancher/mirrored-pause:3.6"]')
    return found


def wish(path: Path, **changes: Any) -> SaveOptions:
    pins = read_pins(given.ROOT)
    return SaveOptions(
        **{"path": path, "platform": "linux/amd64", "settings": b"{}", "pins": pins, "state": path.parent, **changes}
    )


def found_images(facts: Facts, chosen: SaveOptions) -> Found:
    found = Found(chosen.path.parent)
    bundle_save._find(facts, chosen, found, context())
    return found


def test_images_of_the_engine_and_of_nodes_are_found_and_written_once(facts: Facts, tmp_path: Path) -> None:
    path = tmp_path / "bundle.tar"
    found = found_images(facts, wish(path))
    assert (found.images[IMAGE].engine, found.images[IMAGE].node) == (True, False)
    pause = found.images["rancher/mirrored-pause:3.6"]
    assert (pause.engine, pause.node) == (False, True)
    report = bundle_save._write(wish(path), found, context())
    assert "images" in report.why
    with Bundle(path) as bundle:
        bundle.verify()
        assert bundle.lock.images[IMAGE].manifest == digest(MANIFEST)
        unchanged = bundle_save._write(wish(path, old=bundle), found, context())
    assert unchanged.skipped
    assert unchanged.why.startswith("unchanged")


def test_a_layer_that_breaks_off_is_fetched_anew(facts: Facts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.run.bundle_save._PAUSE", 0.0)
    whole, requested = registry_http.blob, list[str]()

    def breaking(port: int, image: Any, name: str, context: Context, sink: Callable[[bytes], object]) -> None:
        requested.append(name)
        if requested.count(name) < 3:
            sink(b"la")
            raise NotFetched("the cache does not answer")
        whole(port, image, name, context, sink)

    monkeypatch.setattr("tasks.clients.registry_http.blob", breaking)
    path = tmp_path / "bundle.tar"
    bundle_save._write(wish(path), found_images(facts, wish(path)), context())
    with Bundle(path) as bundle:
        bundle.verify()


@pytest.mark.parametrize(
    ("layer", "kind", "packed"),
    [
        (LAYER, "gzip", lambda data: gzip.decompress(data) == LAYER),
        (GZIP, "gzip", lambda data: data == GZIP),  # Docker's containerd image store
        (b"\x28\xb5\x2f\xfdx", "zstd", lambda data: data == b"\x28\xb5\x2f\xfdx"),
    ],
)
def test_an_image_that_only_the_engine_has(
    facts: Facts, tmp_path: Path, layer: bytes, kind: str, packed: Callable[[bytes], bool]
) -> None:
    name = "registry.example.com/own:1"
    programs = FakePrograms(answers={"docker save": saving({"config": CONFIG, "layer": layer})})
    found = found_images(
        replace(facts, programs=programs, images={name: True}, host=engine()), wish(tmp_path / "bundle.tar")
    )
    assert found.images[name].engine
    _, content = found.blobs[found.images[name].manifest]
    assert callable(content)
    (part,) = json.loads(b"".join(content(context())))["layers"]
    size, content = found.blobs[part["digest"]]
    assert callable(content)
    data = b"".join(content(context()))
    assert packed(data)
    assert (part["mediaType"].rpartition(".")[2], part["size"], size) == (f"tar+{kind}", len(data), len(data))


def test_an_image_of_which_the_engine_has_a_part_only(facts: Facts, tmp_path: Path) -> None:
    name = "registry.example.com/own:1"
    programs = FakePrograms(answers={"docker save": saving({"config": CONFIG})})
    with pytest.raises(LaunchError, match="has only a part of it") as caught:
        found_images(
            replace(facts, programs=programs, images={name: True}, host=engine()), wish(tmp_path / "bundle.tar")
        )
    assert caught.value.fix == f"docker pull --platform linux/amd64 {name}"


def saving(files: dict[str, bytes]) -> Callable[[Call], str]:
    """`docker save --output FILE` of an image of one layer, with these files of it."""

    def save(requested: Call) -> str:
        listed = json.dumps([{"Config": "config", "RepoTags": None, "Layers": ["layer"]}]).encode()
        Path(requested.command.argv[3]).write_bytes(tarred({"manifest.json": listed, **files}))
        return ""

    return save


def test_what_no_machine_could_load_is_refused(facts: Facts, tmp_path: Path) -> None:
    chosen = wish(tmp_path / "b", exclude=("*",), add=())
    assert found_images(facts, chosen).images == {}
    typo = wish(tmp_path / "b", exclude=("typo/*",))
    assert bundle_save._find(facts, typo, Found(tmp_path), context()).notes == ("--exclude 'typo/*' matches no image",)
    for name, reported in (
        ("ours.example/web:1", "there is no cache for ours.example"),
        (f"{IMAGE}@sha256:{'0' * 64}", "accepts an image by digest only from a registry"),
    ):
        with pytest.raises(LaunchError, match="cannot be bundled") as caught:
            bundle_save._image(facts, chosen, Found(tmp_path), name, "@" in name, True, context())
        assert reported in caught.value.what
    with pytest.raises(BadInput, match="is not an image"):
        bundle_save._image(facts, chosen, Found(tmp_path), "No Image", False, True, context())


def test_an_image_that_no_registry_has_is_named(facts: Facts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any) -> Resolved:
        raise NotFetched("the cache answered 404 to manifests of no/such")

    monkeypatch.setattr("tasks.clients.registry_http.resolve", missing)
    with pytest.raises(LaunchError, match=r"no/such:1 cannot be bundled: the cache answered 404") as caught:
        bundle_save._image(facts, wish(tmp_path / "b"), Found(tmp_path), "no/such:1", False, True, context())
    assert "--exclude 'no/such:1'" in caught.value.fix


def test_late_images_of_a_running_cluster_are_in_it_though_no_node_has_them_yet(facts: Facts, tmp_path: Path) -> None:
    late = obj("Deployment", "late", "kube-system", spec={"template": {"spec": {"containers": [{"image": "late:1"}]}}})
    names = ["docker.io/rancher/mirrored-pause:3.6", "docker.io/library/dns:1"]  # as containerd spells them
    listed = json.dumps({"images": [{"repoTags": [name]} for name in names]})
    programs = FakePrograms(answers={"docker exec": listed})
    running = replace(facts, programs=programs, cluster=given.cluster_state(Presence.RUNNING))
    there = obj("Deployment", "dns", "kube-system", spec={"template": {"spec": {"containers": [{"image": "dns:1"}]}}})
    reached(running, FakeApi(late, there))
    (system,) = found_images(running, wish(tmp_path / "b")).releases.values()
    assert system == ("dns:1", "late:1", "rancher/mirrored-pause:3.6")


def test_images_of_a_system_that_nobody_has_seen_are_not_guessed(facts: Facts, tmp_path: Path) -> None:
    for each in facts.paths.images.iterdir():
        each.unlink()
    with pytest.raises(LaunchError, match="is not known yet"):
        found_images(facts, wish(tmp_path / "b"))


def test_a_file_that_is_no_bundle_is_not_overwritten_and_a_damaged_one_is(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(BadInput, match="cannot be used as a bundle"):
        opened(tmp_path / "mine")
    assert opened(tmp_path / "none") is None
    content = b"content"
    lock = Lock(platform="linux/amd64", target="linux-amd64", images={}, blobs={digest(content): len(content)})
    with (tmp_path / "a").open("wb") as file:
        Writer(lock, file).put(digest(content), [content])
    whole = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(whole.replace(content, b"Content"))
    assert opened(tmp_path / "a") is None


def test_a_full_disk_is_one_beside_the_file(facts: Facts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Report:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tasks.run.bundle_save.programs", full)
    steps = {step.name: step for step in save_steps(facts, wish(tmp_path / "b"), tmp_path)}
    for _ in range(2):  # it is tried again
        with pytest.raises(LaunchError, match=f"{tmp_path}/b cannot be written") as caught:
            steps[bundle_save.PROGRAM_FILES].action(context())
    assert caught.value.why == "No space left on device"


def test_one_step_writes_when_all_is_found(facts: Facts, tmp_path: Path) -> None:
    steps = {step.name: step for step in save_steps(facts, wish(tmp_path / "b.tar"), tmp_path)}
    assert set(steps["bundle: write b.tar"].needs) == {"bundle: find images", "bundle: programs", "bundle: wheels"}


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
            key_digest(images.system_key(facts)): (),
            key_digest(images.key_of(facts, facts.releases[0])): ("docker.io/shop/web:1",),
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
    for each in ("the image rancher/k3s:v1", "the chart shop/web 1.0.0", "the system images of"):
        assert each in caught.value.why
    only = without(facts, images={"rancher/k3s:v1": Image(digest="", manifest="", engine=True)})
    with pytest.raises(Lacking, match="does not contain everything") as caught:
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
