"""What differs goes in by server-side apply: without a process or by kubectl, also by an API that was silent."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.core import redact
from tasks.core.errors import ClusterAbsent
from tasks.engine.step import Cancel, State, Step, Stopped
from tasks.kube.apply import Refused
from tasks.kube.client import WRITE, ApiError
from tasks.kube.objects import finish
from tasks.run.apply import ApiLost, api_back, apply_step, applying, difference
from tests import given
from tests.given import facts, settings
from tests.given_direct import DirectApi, refusal
from tests.given_live import FakeApi, Object, holding, obj, ran, reached
from tests.programs import Answer, FakePrograms, context

ONE = finish(obj("ConfigMap", "one", "platform", data={"a": "1"}))
TWO = finish(obj("ConfigMap", "two", "platform", data={"a": "1"}))
SPACE = obj("Namespace", "platform")
CANARY = "canary-4711-of-a-secret"
ONE_KEPT, TWO_KEPT, THREE_KEPT = (
    finish(obj("ConfigMap", name, "a", data={"k": CANARY})) for name in ("one", "two", "three")
)
AT_TWO = "/api/v1/namespaces/a/configmaps/two"
BUSY = refusal(503, "the server is currently unable to handle the request", "ServiceUnavailable")
INVALID = refusal(422, 'ConfigMap "two" is invalid: data[k]: Too long: may not be more than 1 bytes', "Invalid")


def without_live(folder: Path, programs: FakePrograms, **more: Any) -> Step:
    """For an API that only kubectl can write to."""
    facts = given.facts(folder, programs)
    reached(facts, FakeApi())
    return apply_step(facts, "apply", "task", [ONE, TWO], needs=(), **more)


@pytest.mark.parametrize(
    ("expected", "there", "applied", "why"),
    [
        ([ONE, TWO], [], [ONE, TWO], "platform/configmap/one: missing; platform/configmap/two: missing"),
        ([ONE, TWO], [ONE], [TWO], "platform/configmap/two: missing"),
        ([ONE, TWO], [ONE, {**TWO, "data": {"a": "2"}}], [TWO], "platform/configmap/two: changed: data.a"),
        ([ONE, TWO], [ONE, TWO], [], "all 2 are as configured"),
        ([], [ONE], [], "nothing is configured"),
        ([ONE], [obj("ConfigMap", "one", "platform", deleting=True)], [ONE], "one: it is being deleted"),
        (
            [ONE, TWO],
            [ONE, TWO, obj("Namespace", "platform", deleting=True)],
            [ONE, TWO],
            "platform/configmap/one: its namespace is being deleted",
        ),
        ([ONE], [ONE, SPACE], [], "all 1 are as configured"),
    ],
)
def test_only_what_is_missing_or_changed_goes_in(
    tmp_path: Path, expected: list[dict[str, Any]], there: list[dict[str, Any]], applied: list[dict[str, Any]], why: str
) -> None:
    found = difference(given.facts(tmp_path, live=holding(there)), expected)
    assert list(found.objects) == applied
    assert why in found.why


def test_who_held_what_of_an_object_is_told_when_it_is_as_configured_again(tmp_path: Path) -> None:
    edited = {"manager": "kubectl-edit", "fieldsV1": {"f:data": {"f:a": {}}}}
    there = {**TWO, "data": {"a": "2"}, "metadata": {**TWO["metadata"], "managedFields": [edited]}}
    programs = FakePrograms(answers={"kubectl": ""})
    facts = given.facts(tmp_path, programs, live=holding([there]))
    reached(facts, FakeApi())
    report = given.act(apply_step(facts, "apply", "manifests", [ONE, TWO], needs=()))
    output = "manifests: data.a of configmap/two in platform, owned by kubectl-edit, is set to the configured value"
    assert report.notes == (output,)


def test_where_no_cluster_can_be_asked_everything_goes_in(tmp_path: Path) -> None:
    facts = given.facts(tmp_path)
    assert difference(facts, [ONE, TWO]).why == "2 to apply"
    assert difference(facts, []).why == "nothing is configured"


def test_many_reasons_are_shortened(tmp_path: Path) -> None:
    expected = [finish(obj("ConfigMap", f"m{n}", "platform")) for n in range(5)]
    assert difference(given.facts(tmp_path, live=holding([])), expected).why.endswith("m2: missing; and 2 more")


def test_a_step_without_anything_to_do_is_skipped_with_the_reason(tmp_path: Path) -> None:
    facts = given.facts(tmp_path, live=holding([ONE]))
    step = apply_step(facts, "apply", "task", [ONE], needs=("a",))
    assert (step.skip, step.needs) == ("all 1 are as configured", ("a",))


def test_where_only_kubectl_can_write_each_object_is_its_stdin(tmp_path: Path) -> None:
    programs = FakePrograms(answers={"kubectl": ""})
    given.act(without_live(tmp_path, programs))
    folder = tmp_path / "clusters" / "openframe-dev"
    apply = f"kubectl --kubeconfig {folder}/kubeconfig apply --server-side --force-conflicts"
    assert programs.lines == [f"{apply} --field-manager=openframe --filename -"] * 2
    assert ['"name": "one"' in (each.command.stdin or "") for each in programs.calls] == [True, False]
    assert {(each.command.deadline, each.quiet) for each in programs.calls} == {(WRITE, True)}, "webhooks, secrets"


@pytest.mark.parametrize(
    ("err", "times"),
    [
        ("The connection to the server 127.0.0.1:6550 was refused - did you specify the right host or port?", 2),
        ("error: error validating data: unknown field", 1),
    ],
)
def test_only_transient_ones_are_retried(tmp_path: Path, err: str, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = FakePrograms(answers={"kubectl": [Answer(err=err, code=1), Answer()]})
    step = without_live(tmp_path, programs)
    assert step.retry.attempts == 5
    monkeypatch.setattr("tasks.engine.step.Retry.pause", lambda *_: 0.0)
    result = ran([step])["apply"]
    assert len(programs.calls) == (3 if times == 2 else 1)
    assert result.state is (State.RAN if times == 2 else State.FAILED)
    if result.error is not None:
        assert result.exit_code == 1


class Kept:
    """A cluster that can be written to, and the log of the step that does it."""

    def __init__(self, folder: Path, *objects: Object) -> None:
        self.logs = folder / "logs"
        self.logs.mkdir()
        self.programs = FakePrograms(otherwise=Answer(), log_dir=self.logs)
        self.facts = given.facts(folder, self.programs)
        self.api = DirectApi(*objects)
        reached(self.facts, self.api)

    def step(self, expected: Sequence[Object], **more: Any) -> Step:
        return apply_step(self.facts, "apply", "task", expected, needs=(), **more)

    @property
    def log(self) -> str:
        (file,) = self.logs.iterdir()
        return file.read_text()


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def test_the_log_holds_names_and_nothing_of_what_is_in_them(kept: Kept) -> None:
    hidden = finish(obj("Secret", "s", "a", type="Opaque", data={"k": CANARY}))
    given.act(kept.step([ONE_KEPT, hidden, finish(obj("Namespace", "a"))]))
    assert kept.log == "namespace/a applied\na/secret/s applied\na/configmap/one applied\n"
    assert [sent for _path, sent in kept.api.patched][1:] == [hidden, ONE_KEPT]
    assert kept.programs.calls == [], "without a process"


def test_one_that_is_refused_stops_those_after_it(kept: Kept) -> None:
    kept.api.refused[AT_TWO] = [INVALID]
    with pytest.raises(Refused) as caught:
        given.act(kept.step([ONE_KEPT, TWO_KEPT, THREE_KEPT]))
    assert kept.api.names == ["ConfigMap/one", "ConfigMap/two"]
    assert kept.log == (
        "a/configmap/one applied\n"
        'Error from server (Invalid): ConfigMap "two" is invalid: data[k]: Too long: may not be more than 1 bytes\n'
    )
    assert caught.value.what.startswith("the API has rejected a/configmap/two: ")
    assert caught.value.why.startswith("ConfigMap two is not valid")
    assert caught.value.fix
    assert not caught.value.transient


@pytest.mark.parametrize(
    ("answers", "state", "sent"),
    [
        ([BUSY], State.RAN, ["one", "two", "one", "two"]),
        ([BUSY, refusal(409, "the object has been modified", "Conflict")], State.RAN, ["one", "two"] * 3),
        ([INVALID], State.FAILED, ["one", "two"]),
        ([BUSY] * 9, State.FAILED, ["one", "two"] * 5),
    ],
)
def test_only_what_can_pass_is_tried_again_without_a_process(
    kept: Kept, answers: list[tuple[int, str]], state: State, sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.engine.step.Retry.pause", lambda *_: 0.0)
    kept.api.refused[AT_TWO] = list(answers)
    assert ran([kept.step([ONE_KEPT, TWO_KEPT])])["apply"].state is state
    assert kept.api.names == [f"ConfigMap/{name}" for name in sent]


def test_an_api_that_is_gone_is_told_and_the_log_has_what_went_in(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    patch = kept.api.patch

    def dies(path: str, body: str) -> tuple[int, str]:
        if kept.api.patched:
            raise ApiError(0, "the API at 127.0.0.1:6550 does not answer", "Connection refused")
        return patch(path, body)

    monkeypatch.setattr(kept.api, "patch", dies)
    with pytest.raises(ApiError, match="does not answer") as caught:
        given.act(kept.step([ONE_KEPT, TWO_KEPT]))
    assert caught.value.transient
    assert kept.log == "a/configmap/one applied\n"


def test_it_ends_between_two_objects_when_it_is_cancelled(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    step, patch = context("apply"), kept.api.patch

    def cancels(path: str, body: str) -> tuple[int, str]:
        step.cancelled.set()
        return patch(path, body)

    monkeypatch.setattr(kept.api, "patch", cancels)
    with pytest.raises(Stopped):
        kept.step([ONE_KEPT, TWO_KEPT]).action(step)
    assert kept.api.names == ["ConfigMap/one"]
    assert kept.log == "a/configmap/one applied\n"


def test_what_the_api_repeats_of_a_secret_is_in_no_log_and_no_error(kept: Kept) -> None:
    redact.conceal(CANARY)
    kept.api.refused[AT_TWO] = [refusal(403, f'admission webhook "w" denied the request: {CANARY}', "Forbidden")]
    with pytest.raises(Refused) as caught:
        given.act(kept.step([ONE_KEPT, TWO_KEPT]))
    assert CANARY not in f"{kept.log} {caught.value} {caught.value.args}"


def test_without_a_kubeconfig_there_is_no_cluster(tmp_path: Path) -> None:
    with pytest.raises(ClusterAbsent, match="there is no kubeconfig"):
        applying(given.facts(tmp_path), [ONE_KEPT])(context())


class Api:
    """Becomes ready after a number of polls."""

    def __init__(self, silent: int) -> None:
        self.silent, self.commands = silent, 0

    def get(self, path: str) -> None:
        raise AssertionError(path)

    def raw(self, path: str) -> tuple[int, str]:
        assert path == "/readyz"
        self.commands += 1
        return (200, "ok") if self.commands > self.silent else (503, "not yet")


def test_another_one_waits_until_it_is_back(tmp_path: Path) -> None:
    api = Api(2)
    api_back(facts(tmp_path, FakePrograms(), _api=[api]), context())
    assert api.commands == 0, "a first attempt asks nothing"
    api_back(facts(tmp_path, FakePrograms(), _api=[api]), replace(context(), attempt=2))
    assert api.commands == 3


@pytest.mark.parametrize(
    ("ended", "why"),
    [({"k3d-a-server-0": "the node has ended with code 137"}, "ended with code 137"), ({}, "are running")],
)
def test_one_that_does_not_come_back(tmp_path: Path, ended: dict[str, str], why: str) -> None:
    given = facts(tmp_path, FakePrograms(), settings=settings(timeouts={"api": 0.05}), _api=[Api(10**6)])
    given.outputs.ended.update(ended)
    with pytest.raises(ApiLost) as caught:
        api_back(given, replace(context(), attempt=2))
    assert "not back within 0.05 s" in caught.value.what
    assert why in caught.value.why
    assert "k3d-openframe-dev-server-0" in caught.value.fix
    assert not caught.value.transient


def test_it_ends_when_the_step_is_stopped(tmp_path: Path) -> None:
    cancelled = Cancel()
    cancelled.set()
    with pytest.raises(Stopped):
        api_back(facts(tmp_path, FakePrograms(), _api=[Api(10**6)]), replace(context(), attempt=2, cancelled=cancelled))
