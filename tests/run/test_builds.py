"""Steps of builds: what they call, what needs them, and that no secret is seen."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.clients.docker_build import Builder
from tasks.core.errors import BadInput, LaunchError
from tasks.core.redact import redact
from tasks.facts.builds import BuildState
from tasks.facts.cluster import Presence
from tasks.facts.facts import Facts, Live
from tasks.facts.registries import Registry
from tasks.k3d.ports import Choosers
from tasks.kube.objects import key
from tasks.process.command import CommandFailed
from tasks.run import builds
from tasks.run.desired import desired_objects
from tasks.run.difference import changes
from tasks.run.images import known, remember
from tasks.run.releases import values_of
from tasks.settings.derived import PUSH_REGISTRY, build_name, install_name, push_name
from tests import given
from tests.given import act, by_name
from tests.programs import Answer, FakePrograms, visible

PUSH = Registry(name="k3d-openframe-registry", id="1", upstream="push", port=5055, networks=())
CHOOSERS = Choosers(next_ports=lambda ports, _reported: ports, free_port=lambda desired: desired or 5055)
IMAGE = "k3d-openframe-registry:5000/shop/api:sha256-0123456789abcdef"
CHART = {"name": "api", "namespace": "shop"}
VALUES = {"image": {"repository": "${repository:api}", "tag": "${tag:api}"}, "other": "${image:api}"}
CLASSIC_FAILS = """Sending build context to Docker daemon  3.072kB
Step 1/3 : FROM busybox
 ---> 0d0c06e43bca
Step 2/3 : ARG A
Step 3/3 : RUN make
 ---> Running in 1
make: *** No rule to make target 'all'.  Stop.
"""
BUILDKIT_FAILS = """#6 [2/2] RUN make
#6 0.1 make: *** No rule to make target 'all'.  Stop.
#6 ERROR: process "/bin/sh -c make" did not complete successfully: exit code: 2
------
 > [2/2] RUN make:
------
Dockerfile:4
--------------------
   4 | >>> RUN make
--------------------
ERROR: failed to solve: process "/bin/sh -c make" did not complete successfully: exit code: 2
"""


def build_facts(
    folder: Path, programs: FakePrograms | None = None, build: dict[str, Any] | None = None, **more: Any
) -> Facts:
    (folder / "ctx").mkdir(exist_ok=True)
    (folder / "ctx" / "Dockerfile").write_text("# a comment\nFROM busybox\nARG A\nRUN make\n")
    (folder / "chart").mkdir(exist_ok=True)
    (folder / "chart" / "Chart.yaml").write_text("apiVersion: v2\nname: api\nversion: 0.1.0\n")
    chart = {**CHART, "chart": str(folder / "chart")}
    settings = given.settings(
        builds=[{"name": "api", "image": "shop/api", "context": "ctx", **(build or {})}],
        helm={"releases": [{**chart, "values": VALUES}, {**chart, "name": "web", "values": {}}]},
        registries={"caches": []},
    )
    (own,) = settings.builds
    repository = own.repository if "." in own.repository else f"k3d-openframe-registry:5000/{own.repository}"
    state = BuildState(
        build=own,
        repository=repository,
        context=folder / "ctx",
        dockerfile=folder / "ctx" / "Dockerfile",
        inputs="0" * 64,
        bases=("busybox",),
        builder=more.pop("builder", Builder.BUILDX),
        tag="sha256-0123456789abcdef",
        **more.pop("state", {}),
    )
    return given.facts(
        folder,
        programs,
        **{"settings": settings, "builds": (state,), "registries": {PUSH.name: PUSH}, **more},
    )


def steps(facts: Facts) -> dict[str, Any]:
    return {step.name: step for step in builds.steps(facts)}


def test_a_release_that_uses_an_image_needs_its_push_without_being_told(tmp_path: Path) -> None:
    facts = build_facts(tmp_path)
    plan = by_name(given.launch(facts, ("helm", "cluster"), CHOOSERS))
    api, web = facts.releases
    assert values_of(facts, api) == {
        "image": {"repository": IMAGE.rpartition(":")[0], "tag": IMAGE[-23:]},
        "other": IMAGE,
    }
    assert push_name(facts.builds[0].build) in plan[install_name(api)].needs
    assert push_name(facts.builds[0].build) not in plan[install_name(web)].needs
    alone = {step.name for step in given.launch(facts, ("helm",), CHOOSERS)}
    assert {"build: api", "build: push api"} <= alone
    build = plan[build_name(facts.builds[0].build)]
    assert build.needs == ()
    assert build.kind == "build"
    assert {build.name, PUSH_REGISTRY} == set(plan[push_name(facts.builds[0].build)].needs)


def test_images_to_build_and_push_are_differences(tmp_path: Path) -> None:
    facts = replace(build_facts(tmp_path, presence=Presence.RUNNING), releases=(), live=Live(objects={}, releases={}))
    objects = {key(each): each for each in desired_objects(facts, facts.backend.parts)}
    facts = replace(facts, live=Live(objects=objects, releases={}))
    found = changes(facts, builds.steps(facts))
    assert found.steps == tuple((step.name, step.why) for step in builds.steps(facts))
    assert [name for name, _ in found.steps] == ["build: api", "build: push api"]
    done = replace(facts.builds[0], built=True, pushed=True)
    assert not changes(facts, builds.steps(replace(facts, builds=(done,)))).any


def test_an_image_is_no_other_one_whose_name_is_longer(tmp_path: Path) -> None:
    facts = build_facts(tmp_path)
    repository = facts.builds[0].repository
    assert [bool(builds.pushed(facts, {"a": f"{repository}{more}"})) for more in ("", ":1", "2", "-x", "/x")] == [
        True, True, False, False, False
    ]  # fmt: skip


def test_manifests_use_images_too(tmp_path: Path) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"containers": [{"image": "${image:api}"}]},
    }
    (tmp_path / "pod.json").write_text(json.dumps(pod))
    facts = build_facts(tmp_path)
    settings = facts.settings.model_copy(
        update={"manifests": given.settings(manifests={"files": [str(tmp_path / "pod.json")]}).manifests}
    )
    facts = replace(facts, settings=settings)
    plan = by_name(given.launch(facts, ("helm", "cluster"), CHOOSERS))
    assert "build: push api" in plan["manifests: yours"].needs


@pytest.mark.parametrize("name", ["image:apo", "tag:web", "repository:"])
def test_a_placeholder_of_no_build_is_refused(tmp_path: Path, name: str) -> None:
    facts = build_facts(tmp_path)
    release = facts.releases[0].model_copy(update={"values": {"a": f"${{{name}}}"}})
    with pytest.raises(BadInput, match="is not a build"):
        values_of(facts, release)
    shells = "${image:-nginx} ${tag:0:7} ${tag:7} ${repository:?none}"
    literal = facts.releases[0].model_copy(update={"values": {"b": "$${image:api}", "c": shells}})
    assert values_of(facts, literal) == {"b": "${image:api}", "c": shells}


@pytest.mark.parametrize(("state", "active"), [({}, 2), ({"built": True}, 1), ({"pushed": True}, 0)])
def test_what_is_there_is_not_made_again(tmp_path: Path, state: dict[str, bool], active: int) -> None:
    assert sum(step.skip is None for step in steps(build_facts(tmp_path, state=state)).values()) == active


def test_what_docker_is_told(tmp_path: Path) -> None:
    programs = FakePrograms(otherwise=Answer())
    build = {"target": "prod", "args": {"B": "2", "A": "1"}, "platform": "linux/arm64", "cache_from": ["ghcr.io/a/b:c"]}
    act(steps(build_facts(tmp_path, programs, build))["build: api"])
    command = programs.commands[0]
    assert command.env == {"DOCKER_BUILDKIT": "1"}
    assert command.argv == (
        "docker", "build", "--tag", IMAGE, "--file", str(tmp_path / "ctx/Dockerfile"), "--label", "openframe.build=api",
        "--target", "prod", "--platform", "linux/arm64", "--build-arg", "A=1", "--build-arg", "B=2",
        "--cache-from", "ghcr.io/a/b:c", "--progress", "plain", "--load", str(tmp_path / "ctx"),
    )  # fmt: skip


def test_files_that_were_changed_while_it_was_built_are_told(tmp_path: Path) -> None:
    (note,) = act(steps(build_facts(tmp_path, FakePrograms(otherwise=Answer())))["build: api"]).notes
    assert "the sources of the build 'api' could not be recorded: its files were changed meanwhile" in note


def test_it_is_pushed_by_the_port_of_this_machine_under_no_name_that_stays(tmp_path: Path) -> None:
    programs = FakePrograms(otherwise=Answer())
    act(steps(build_facts(tmp_path, programs))["build: push api"])
    local = IMAGE.replace("k3d-openframe-registry:5000", "127.0.0.1:5055")
    assert programs.lines == [f"docker tag {IMAGE} {local}", f"docker push {local}", f"docker rmi --no-prune {local}"]


def test_without_the_push_registry_it_says_what_starts_it(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="the push registry is not running"):
        act(steps(build_facts(tmp_path, FakePrograms(otherwise=Answer()), registries={}))["build: push api"])


@pytest.mark.parametrize(("image", "waits"), [("127.0.0.1:5050/api", True), ("ghcr.io/me/api", False)])
def test_an_image_of_a_local_port_waits_for_the_push_registry(tmp_path: Path, image: str, waits: bool) -> None:
    assert (PUSH_REGISTRY in steps(build_facts(tmp_path, build={"image": image}))["build: push api"].needs) is waits


def test_another_registry_gets_it_under_its_own_name(tmp_path: Path) -> None:
    programs = FakePrograms(otherwise=Answer())
    facts = build_facts(tmp_path, programs, {"image": "ghcr.io/me/api"})
    push = steps(facts)["build: push api"]
    assert push.needs == ("build: api",)
    act(push)
    assert programs.lines == [f"docker push {facts.builds[0].image}"]


@pytest.mark.parametrize(
    ("builder", "out", "err", "line"),
    [
        (Builder.CLASSIC, CLASSIC_FAILS, "DEPRECATED: The legacy builder is old\n     more\n\nit returned 2\n", 4),
        (Builder.BUILDX, "", BUILDKIT_FAILS, 4),
        (Builder.BUILDX, "", BUILDKIT_FAILS.replace("Dockerfile:4\n", ""), 4),
    ],
)
def test_a_failed_build_names_its_last_lines(tmp_path: Path, builder: Builder, out: str, err: str, line: int) -> None:
    programs = FakePrograms(answers={"docker build": Answer(code=1, out=out, err=err)}, otherwise=Answer())
    with pytest.raises(CommandFailed) as caught:
        act(steps(build_facts(tmp_path, programs, builder=builder))["build: api"])
    assert caught.value.what.startswith(f"the build of 'api' failed at Dockerfile:{line}: ")
    assert any("No rule to make target" in row for row in caught.value.tail())
    assert "DEPRECATED" not in "\n".join(caught.value.tail())


def test_an_old_buildkit_fails_at_here_documents(tmp_path: Path) -> None:
    err = "ERROR: failed to solve: rpc error: code = Unknown desc = failed to solve with frontend dockerfile.v0: "
    err += "failed to create LLB definition: dockerfile parse error line 3: unknown instruction: HELLO\n"
    facts = build_facts(tmp_path, FakePrograms(answers={"docker build": Answer(code=1, err=err)}, otherwise=Answer()))
    facts.builds[0].dockerfile.write_text("FROM a\nCOPY <<EOF /x\nhello\nEOF\n")
    with pytest.raises(CommandFailed) as caught:
        act(steps(facts)["build: api"])
    assert (
        caught.value.what
        == "the build of 'api' failed: ERROR: dockerfile parse error line 3: unknown instruction: HELLO"
    )
    assert "# syntax=docker/dockerfile:1" in caught.value.fix


def test_a_base_that_is_another_builds_image_is_told(tmp_path: Path) -> None:
    err = "pull access denied for shop/base, repository does not exist or may require 'docker login'"
    facts = build_facts(tmp_path, FakePrograms(answers={"docker build": Answer(code=1, err=err)}, otherwise=Answer()))
    (state,) = facts.builds
    base = replace(state, build=state.build.model_copy(update={"name": "base", "image": "shop/base"}))
    facts = replace(facts, builds=(replace(state, bases=("shop/base",)), base))
    with pytest.raises(CommandFailed) as caught:
        act(steps(facts)["build: api"])
    assert "your build 'base'" in caught.value.why
    assert "`target`" in caught.value.fix


def test_a_secret_is_in_a_file_while_it_is_built_and_nowhere_else(tmp_path: Path) -> None:
    files: dict[str, bytes] = {}

    def build(call: Any) -> Answer:
        option = call.command.argv[call.command.argv.index("--secret") + 1]
        path = Path(option.partition("src=")[2])
        files[str(path)] = path.read_bytes()
        assert path.stat().st_mode & 0o777 == 0o600
        return Answer(err="#5 0.1 the token is canary-token-1\n", code=1)

    programs = FakePrograms(answers={"docker build": build}, otherwise=Answer())
    facts = build_facts(
        tmp_path,
        programs,
        {"secrets": {"npm": {"env": "TOKEN"}}},
        environ={"HOME": str(tmp_path), "TOKEN": "canary-token-1"},
    )
    with pytest.raises(CommandFailed) as caught:
        act(steps(facts)["build: api"])
    assert list(files.values()) == [b"canary-token-1"]
    assert not Path(next(iter(files))).exists()
    assert "canary" not in visible(programs.calls)
    assert "canary" not in redact(f"{caught.value}\n{caught.value.tail()}")


def test_a_secret_without_a_value_is_told(tmp_path: Path) -> None:
    facts = build_facts(tmp_path, FakePrograms(otherwise=Answer()), {"secrets": {"npm": {"env": "TOKEN"}}})
    with pytest.raises(BadInput, match="secret 'npm' of the build 'api' has no value") as caught:
        act(steps(facts)["build: api"])
    assert caught.value.why == "TOKEN is not set"


def test_no_cache_is_asked_for_what_is_built(tmp_path: Path) -> None:
    facts = build_facts(tmp_path)
    pod = {"spec": {"containers": [{"image": IMAGE}, {"image": "docker.io/library/redis:7"}]}}
    remember(facts, "key", [pod])
    assert known(facts, "key") == ("docker.io/library/redis:7",)
    assert facts.builds_image(IMAGE)
    assert not facts.builds_image(IMAGE.replace("shop/api", "shop/api2"))
