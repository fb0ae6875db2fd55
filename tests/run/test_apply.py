"""What differs goes in by server-side apply, and nothing else does; through kubectl where the API needs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.engine.step import State, Step
from tasks.kube.client import WRITE
from tasks.kube.objects import finish
from tasks.run.apply import apply_step, difference
from tests import given
from tests.given_live import FakeApi, holding, obj, ran, reached
from tests.programs import Answer, FakePrograms

ONE = finish(obj("ConfigMap", "one", "platform", data={"a": "1"}))
TWO = finish(obj("ConfigMap", "two", "platform", data={"a": "1"}))
SPACE = obj("Namespace", "platform")


def without_live(folder: Path, programs: FakePrograms, **more: Any) -> Step:
    """For an API that only kubectl can write to."""
    facts = given.facts(folder, programs)
    reached(facts, FakeApi())
    return apply_step(facts, "apply", "task", [ONE, TWO], needs=(), **more)


@pytest.mark.parametrize(
    ("wanted", "there", "applied", "why"),
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
    tmp_path: Path, wanted: list[dict[str, Any]], there: list[dict[str, Any]], applied: list[dict[str, Any]], why: str
) -> None:
    found = difference(given.facts(tmp_path, live=holding(there)), wanted)
    assert list(found.objects) == applied
    assert why in found.why


def test_who_held_what_of_an_object_is_told_when_it_is_as_configured_again(tmp_path: Path) -> None:
    edited = {"manager": "kubectl-edit", "fieldsV1": {"f:data": {"f:a": {}}}}
    there = {**TWO, "data": {"a": "2"}, "metadata": {**TWO["metadata"], "managedFields": [edited]}}
    programs = FakePrograms(answers={"kubectl": ""})
    facts = given.facts(tmp_path, programs, live=holding([there]))
    reached(facts, FakeApi())
    report = given.act(apply_step(facts, "apply", "manifests", [ONE, TWO], needs=()))
    said = "manifests: data.a of configmap/two in platform, held by kubectl-edit, is set to the configured value"
    assert report.notes == (said,)


def test_where_no_cluster_can_be_asked_everything_goes_in(tmp_path: Path) -> None:
    facts = given.facts(tmp_path)
    assert difference(facts, [ONE, TWO]).why == "2 to apply"
    assert difference(facts, []).why == "nothing is configured"


def test_many_reasons_are_shortened(tmp_path: Path) -> None:
    wanted = [finish(obj("ConfigMap", f"m{n}", "platform")) for n in range(5)]
    assert difference(given.facts(tmp_path, live=holding([])), wanted).why.endswith("m2: missing; and 2 more")


def test_values_of_secrets_are_in_no_reason(tmp_path: Path) -> None:
    wanted = finish(obj("Secret", "s", "platform", type="Opaque", data={"k": "Y2FuYXJ5"}))
    live = holding([{**wanted, "data": {"k": "b3RoZXI="}}])
    assert difference(given.facts(tmp_path, live=live), [wanted]).why == "platform/secret/s: changed: data.k"


def test_a_step_without_anything_to_do_is_skipped_with_the_reason(tmp_path: Path) -> None:
    facts = given.facts(tmp_path, live=holding([ONE]))
    step = apply_step(facts, "apply", "task", [ONE], needs=("a",))
    assert (step.skip, step.needs) == ("all 1 are as configured", ("a",))


def test_kubectl_gets_the_objects_on_stdin_and_a_kubeconfig_of_ours(tmp_path: Path) -> None:
    programs = FakePrograms(answers={"kubectl": ""})
    report = given.act(without_live(tmp_path, programs))
    (call,) = programs.calls
    folder = tmp_path / "clusters" / "openframe-dev"
    assert call.line == (
        f"kubectl --kubeconfig {folder}/kubeconfig apply --server-side --force-conflicts"
        " --field-manager=openframe --filename -"
    )
    text = call.command.stdin or ""
    assert text.count("---\n") == 2
    assert '"name": "one"' in text
    assert call.command.deadline == 60.0 + 2 * WRITE, "a webhook may hold up each of them"
    assert call.context is not None, "without it the command has no log and cannot be stopped"
    assert report.exit_code == 0


@pytest.mark.parametrize("secret", [False, True])
def test_what_kubectl_says_of_secrets_is_not_logged(tmp_path: Path, secret: bool) -> None:
    programs = FakePrograms(answers={"kubectl": ""})
    given.act(without_live(tmp_path, programs, secret=secret))
    assert programs.calls[0].quiet is secret


@pytest.mark.parametrize(
    ("err", "times"),
    [
        ("The connection to the server 127.0.0.1:6550 was refused - did you specify the right host or port?", 2),
        ("error: error validating data: unknown field", 1),
    ],
)
def test_only_what_can_pass_is_tried_again(
    tmp_path: Path, err: str, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = FakePrograms(answers={"kubectl": [Answer(err=err, code=1), Answer()]})
    step = without_live(tmp_path, programs)
    assert step.retry.attempts == 5
    monkeypatch.setattr("tasks.engine.step.Retry.pause", lambda *_: 0.0)
    result = ran([step])["apply"]
    assert len(programs.calls) == times
    assert result.state is (State.RAN if times == 2 else State.FAILED)
    if result.error is not None:
        assert result.exit_code == 1
