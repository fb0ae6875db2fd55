"""The user's own steps: their needs, what waits for them, and when they are skipped."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks import up
from tasks.clients.docker_build import Builder
from tasks.core.errors import BadInput
from tasks.engine.step import Report, Step
from tasks.facts.builds import BuildState
from tasks.facts.cluster import Presence
from tasks.facts.facts import Facts
from tasks.k3d.ports import choosers
from tasks.kube.objects import key
from tasks.run import apply, builds, own_steps
from tasks.run.desired import marker_key, marker_keys
from tasks.run.own_command import fingerprint, marker, refuse_unset
from tasks.settings import derived
from tasks.settings.needs import references
from tests import given
from tests.given_live import FakeApi, Object, created, obj, reached, stored

RELEASES: list[dict[str, Any]] = [
    {"name": "db", "namespace": "data", "chart": "./c"},
    {"name": "api", "namespace": "apps", "chart": "./c", "wait": False},
]
CRD = """
apiVersion: v1
kind: ConfigMap
metadata: {name: mine, namespace: data}
"""
CANARY = "canary-of-a-secret"


def facts(folder: Path, *steps: dict[str, Any], **changes: Any) -> Facts:
    whole = [{"name": f"s{number}", "command": ["x"], **each} for number, each in enumerate(steps)]
    (folder / "mine.yaml").write_text(CRD)
    (folder / "c").mkdir(exist_ok=True)
    (folder / "c" / "Chart.yaml").write_text("apiVersion: v2\nname: c\nversion: 1.0.0\n")
    chosen = given.settings(
        namespaces=["data"],
        secrets=[],
        steps=whole,
        helm={"releases": [{**each, "chart": str(folder / "c")} for each in RELEASES]},
        manifests={"files": ["mine.yaml"], "quota": {"enabled": False}, "network_policies": False},
    )
    return replace(given.facts(folder, settings=chosen, **changes), root=folder)


def plan(given_facts: Facts) -> dict[str, Step]:
    stub = replace(
        given_facts, settings=given_facts.settings.model_copy(update={"manifests": _files_only(given_facts)})
    )
    return given.by_name(up.steps(stub, choosers(stub)))


def _files_only(given_facts: Facts) -> Any:
    return given_facts.settings.manifests.model_copy(update={"storage_class": False, "node_local_dns": False})


DB, API = RELEASES


def test_each_reference_becomes_the_steps_that_it_stands_for(tmp_path: Path) -> None:
    made = facts(
        tmp_path,
        {"needs": ["release:db", "mine.yaml", "secrets"]},
        {"needs": ["api", "s0"], "before": ["health"], "wait": True},
        {"needs": []},
        {"before": ["cluster"]},
    )
    found = plan(made)
    db, api = made.releases
    assert {derived.ready_name(db), derived.manifests_name(())} <= given.above(list(found.values()), "steps: s0")
    assert {derived.install_name(api), "steps: s0"} <= set(found["steps: s1"].needs)
    assert "steps: s1" in given.above(list(found.values()), derived.SYSTEM_READY)
    assert found["steps: s2"].needs == ()
    assert "steps: s3" in given.above(list(found.values()), derived.CREATE_CLUSTER)
    assert (found["steps: s0"].kind, found["steps: s1"].kind, found["steps: s1"].wait) == (derived.OWN, None, True)


def test_one_that_says_nothing_needs_the_cluster(tmp_path: Path) -> None:
    found = plan(facts(tmp_path, {}))
    assert set(found["steps: s0"].needs) == {derived.CREATE_CLUSTER, derived.API_READY}
    assert "steps: s0" in given.above(list(found.values()), "cluster: switch your kubeconfig to it")
    assert "steps: s0" in found["cluster: watch the nodes"].until


def remembered(made: Facts, number: int = 0) -> Object:
    own = made.settings.steps[number]
    reached(made, FakeApi(*made.live.objects.values() if made.live else ()))
    return recorded_state(made, own)


def recorded_state(made: Facts, own: Any) -> Object:
    needs = references(made.settings).needs[own.name]
    return marker(made, own, fingerprint(made, own, needs), needs)


def running(folder: Path, *steps: dict[str, Any], objects: tuple[Object, ...] = (), **more: Any) -> Facts:
    there = {marker_key(facts(folder, *steps), each["data"]["step"]): each for each in objects}
    return facts(folder, *steps, presence=Presence.RUNNING, live=given.live(objects=there, **more))


def skipped(made: Facts, *known: Step) -> list[bool]:
    return [step.skip is not None for step in own_steps.steps(made, known)]


def test_it_is_skipped_while_its_inputs_are_what_the_cluster_remembers(tmp_path: Path) -> None:
    (tmp_path / "sql").mkdir()
    file = tmp_path / "sql" / "a.sql"
    file.write_text("one")
    for inputs in (["sql"], ["sql/*.sql"], ["**/*.sql"], ["sql/a.sql"], [str(tmp_path / "sql" / "*")]):
        file.write_text("one")
        step = {"inputs": [*inputs, {"version": 1}]}
        mark = remembered(running(tmp_path, step))
        assert marker_keys(running(tmp_path, step), ("steps",)) == [marker_key(running(tmp_path, step), "s0")]
        assert skipped(running(tmp_path, step, objects=(mark,))) == [True]
        assert skipped(running(tmp_path, step)) == [False]
        assert skipped(facts(tmp_path, step)) == [False]
        for other in ({"command": ["y"]}, {"env": {"A": "b"}}, {"inputs": [*inputs, {"version": 2}]}):
            assert skipped(running(tmp_path, {**step, **other}, objects=(mark,))) == [False]
        file.write_text("two")
        assert skipped(running(tmp_path, step, objects=(mark,))) == [False]


def test_what_its_command_names_is_an_input_and_a_secret_is_none(tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_text("echo")
    step = {"command": ["bash", "run.sh"], "inputs": [], "secrets": {"T": {"env": "TOKEN"}}}
    made = [facts(tmp_path, step, environ={"TOKEN": value}) for value in ("a-secret", "another")]
    assert len({fingerprint(each, each.settings.steps[0], ()) for each in made}) == 1
    hidden = [facts(tmp_path, {**step, "env": {"DB_PASSWORD": value}}) for value in ("a", "b")]
    assert len({fingerprint(each, each.settings.steps[0], ()) for each in hidden}) == 1
    before = fingerprint(made[0], made[0].settings.steps[0], ())
    (tmp_path / "run.sh").write_text("echo 2")
    assert fingerprint(made[0], made[0].settings.steps[0], ()) != before


@pytest.mark.parametrize(("inputs", "counts"), [(["."], False), (["**/*"], False), ([".git/HEAD"], True)])
def test_what_tools_write_beside_an_input_is_none(tmp_path: Path, inputs: list[str], counts: bool) -> None:
    (tmp_path / "smoke").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text("1")
    made = facts(tmp_path, {"inputs": inputs})
    made = replace(made, settings=made.settings.model_copy(update={"log_dir": str(tmp_path / "logs")}))
    before = fingerprint(made, made.settings.steps[0], ())
    for written in ("smoke/__pycache__/a.pyc", "logs/runs/a.log"):
        (tmp_path / written).parent.mkdir(parents=True)
        (tmp_path / written).write_text("x")
    (tmp_path / ".git" / "HEAD").write_text("2")
    assert (fingerprint(made, made.settings.steps[0], ()) != before) is counts


@pytest.mark.parametrize("inputs", [["deploy"], ["deploy/*"]])
def test_where_a_link_among_inputs_leads_to_counts(tmp_path: Path, inputs: list[str]) -> None:
    for name in ("deploy", "one", "two"):
        (tmp_path / name).mkdir()
    made = facts(tmp_path, {"inputs": inputs})
    marks = set()
    for name in ("one", "two", "nowhere"):
        (tmp_path / "deploy" / "current").unlink(missing_ok=True)
        (tmp_path / "deploy" / "current").symlink_to(tmp_path / name)
        marks.add(fingerprint(made, made.settings.steps[0], ()))
    assert len(marks) == 3


def test_an_input_that_may_not_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    made = facts(tmp_path, {"inputs": ["private/a.sql"]})
    monkeypatch.setattr(Path, "exists", refused)
    with pytest.raises(BadInput, match=r"private/a.sql is an input of steps.s0") as caught:
        fingerprint(made, made.settings.steps[0], ())
    assert caught.value.why == "Permission denied"


@pytest.mark.parametrize("name", ["missing.sql", "~nobody-here/x"])
def test_an_input_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput) as caught:
        own_steps.steps(facts(tmp_path, {"inputs": [name]}), ())
    assert "steps.s0" in caught.value.what
    assert skipped(facts(tmp_path, {"inputs": ["none/*.sql"]})) == [False]


def test_it_runs_again_when_what_it_needs_changes(tmp_path: Path) -> None:
    step = {"inputs": [], "needs": ["release:db"]}
    first, second = (stored(name="db", namespace="data", version=str(number)) for number in (1, 2))
    made = running(tmp_path, step)
    reached(made, FakeApi(first))
    own = made.settings.steps[0]
    mark = recorded_state(made, own)
    from tasks.kube.releases import releases

    def then(*objects: Object) -> Facts:
        return running(tmp_path, step, objects=(mark,), releases=releases(FakeApi(*objects)))

    install = Step(name=derived.install_name(made.releases[0]), task="helm")
    idle = replace(install, skip="unchanged")
    assert skipped(then(first), idle) == [True]
    assert skipped(then(first), install) == [False]
    assert skipped(then(second), idle) == [False]  # upgraded in a launch that ended before this step


def test_one_that_needs_a_step_that_runs_again_runs_too(tmp_path: Path) -> None:
    both: tuple[dict[str, Any], ...] = (
        {"inputs": []},
        {"inputs": [], "needs": ["s0"]},
        {"needs": ["s0"]},
        {"inputs": [], "needs": ["s2"]},
    )
    made = running(tmp_path, *both)
    seed = remembered(made)
    reached(made, FakeApi(seed))
    smoke = recorded_state(made, made.settings.steps[1])
    last = recorded_state(made, made.settings.steps[3])

    def found(*objects: Object) -> dict[str, bool]:
        return {each.name: each.skip is None for each in own_steps.steps(running(tmp_path, *both, objects=objects), ())}

    names = [derived.own_name(each) for each in made.settings.steps]
    assert [found(seed, smoke, last)[name] for name in names] == [False, False, True, False]
    assert [found(smoke, last)[name] for name in names] == [True, True, True, False]
    later = {**seed, "data": {**seed["data"], "ended": "2026-01-01"}}
    assert [found(later, smoke, last)[name] for name in names] == [False, True, True, False]
    assert own_steps.each_time(made) == {"steps: s2"}


def test_what_has_ended_well_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remaining: list[Object] = []
    monkeypatch.setattr(apply, "applying", lambda _facts, objects: lambda _context: remaining.extend(objects))
    monkeypatch.setattr(own_steps, "run_own", lambda _facts, own, _context: Report(skipped=own.name == "s1"))
    made = running(tmp_path, {"inputs": []}, {"inputs": [], "unless": ["x"]}, {}, {"inputs": [], "needs": []})
    reached(made, FakeApi())
    found = own_steps.steps(made, ())
    assert [step.name for step in found][-2:] == ["steps: s3", "steps: s3 is remembered"]
    for step in found[:-1]:
        given.act(step)
    assert [each["data"]["step"] for each in remaining] == ["s0", "s1"]
    given.act(found[-1])
    assert [each["data"]["step"] for each in remaining] == ["s0", "s1", "s3"]


def test_steps_of_down_come_before_the_nodes_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two: tuple[dict[str, Any], ...] = ({"when": "down", "needs": ["s1"]}, {"when": "down"}, {})
    monkeypatch.setattr("tasks.run.gather.connect", lambda _facts: None)
    nodes = Step(name="down: nodes", task="down")
    found = own_steps.before_removal(running(tmp_path, *two), [nodes])
    assert [step.name for step in found] == ["steps: s1", "steps: s0", "down: nodes"]
    assert found[1].needs == ("steps: s1",)
    assert set(found[2].needs) == {"steps: s0", "steps: s1"}
    absent = own_steps.before_removal(facts(tmp_path, *two), [nodes])
    assert [step.skip for step in absent][:2] == ["the cluster does not run"] * 2
    assert all(step.notes for step in absent[:2])
    assert not any(step.startswith("steps: s0") for step in plan(running(tmp_path, *two)))


def test_a_foreign_cluster_remembers_each_environment_for_itself(tmp_path: Path) -> None:
    one, other = (facts(tmp_path, {"inputs": []}, engine="existing", environment=name) for name in ("a", "b"))
    assert marker_key(one, "s0") != marker_key(other, "s0")
    assert marker_key(one, "s0").namespace == "default"


def test_there_it_is_in_a_namespace_that_existed_before_since_a_login_may_be_limited_to_it(tmp_path: Path) -> None:
    spaces = [created(obj("Namespace", "data"), "a"), obj("Namespace", "apps")]
    there = given.live(objects={key(each): each for each in spaces})
    made = facts(tmp_path, {"inputs": []}, engine="existing", environment="a", live=there)
    assert marker_key(made, "s0").namespace == "apps"


def test_a_secret_that_is_not_set_is_told_before_anything_starts(tmp_path: Path) -> None:
    made = facts(tmp_path, {"secrets": {"T": {"env": "NOT_SET"}}})
    with pytest.raises(BadInput, match="lacks its secret T"):
        refuse_unset(made, own_steps.steps(made, ()))
    refuse_unset(made, [])


def test_one_that_uses_an_image_needs_its_push_and_runs_again_with_another(tmp_path: Path) -> None:
    steps: list[dict[str, Any]] = [
        {"name": "a", "command": ["x"], "inputs": [], "env": {"IMAGE": "${image:web}"}},
        {"name": "b", "command": ["x"], "inputs": [], "needs": ["build:web"]},
        {"name": "c", "command": ["x"], "before": ["build:web"]},
    ]
    chosen = given.settings(builds=[{"name": "web", "context": "."}], steps=steps)
    build = chosen.builds[0]

    def made(tag: str, **state: Any) -> Facts:
        image = BuildState(
            build=build,
            repository="registry:5000/web",
            context=tmp_path,
            dockerfile=tmp_path / "Dockerfile",
            inputs="",
            bases=(),
            builder=Builder.BUILDX,
            tag=tag,
            **state,
        )
        return replace(given.facts(tmp_path, settings=chosen, builds=(image,)), root=tmp_path)

    new = made("1")
    found = {step.name: step for step in own_steps.with_own(new, builds.steps(new))}
    assert derived.push_name(build) in found["steps: a"].needs
    assert found["steps: b"].needs == (derived.push_name(build),)
    assert "steps: c" in found[derived.build_name(build)].needs
    needs = references(chosen).needs
    for number, name in enumerate("ab"):
        own = chosen.steps[number]
        one, other = (fingerprint(made(tag), own, needs[name]) for tag in "12")
        assert one != other
