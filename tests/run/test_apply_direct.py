"""Objects put in without a process: in their order, each told by its name alone, until one is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tasks.core import redact
from tasks.core.errors import ClusterAbsent
from tasks.engine.step import State, Step, Stopped
from tasks.kube.apply import Refused
from tasks.kube.client import ApiError
from tasks.kube.objects import finish
from tasks.run.apply import apply_step, applying
from tests import given
from tests.given_direct import DirectApi, refusal
from tests.given_live import Object, obj, ran, reached
from tests.programs import Answer, FakePrograms

CANARY = "canary-4711-of-a-secret"
ONE, TWO, THREE = (finish(obj("ConfigMap", name, "a", data={"k": CANARY})) for name in ("one", "two", "three"))
AT_TWO = "/api/v1/namespaces/a/configmaps/two"
BUSY = refusal(503, "the server is currently unable to handle the request", "ServiceUnavailable")
INVALID = refusal(422, 'ConfigMap "two" is invalid: data[k]: Too long: may not be more than 1 bytes', "Invalid")


class Kept:
    """A cluster that can be written to, and the log of the step that does it."""

    def __init__(self, folder: Path, *objects: Object) -> None:
        self.logs = folder / "logs"
        self.logs.mkdir()
        self.programs = FakePrograms(otherwise=Answer(), log_dir=self.logs)
        self.facts = given.facts(folder, self.programs)
        self.api = DirectApi(*objects)
        reached(self.facts, self.api)

    def step(self, wanted: Sequence[Object], **more: Any) -> Step:
        return apply_step(self.facts, "apply", "task", wanted, needs=(), **more)

    @property
    def log(self) -> str:
        (file,) = self.logs.iterdir()
        return file.read_text()


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    monkeypatch.setattr("tasks.core.redact._values", ())  # words that other tests have concealed
    return Kept(tmp_path)


@pytest.mark.parametrize("is_secret", [False, True])
def test_the_log_holds_names_and_nothing_of_what_is_in_them(kept: Kept, is_secret: bool) -> None:
    hidden = finish(obj("Secret", "s", "a", type="Opaque", data={"k": CANARY}))
    given.act(kept.step([ONE, hidden, finish(obj("Namespace", "a"))], secret=is_secret))
    assert kept.log == "namespace/a applied\na/secret/s applied\na/configmap/one applied\n"
    assert [sent for _path, sent in kept.api.patched][1:] == [hidden, ONE]
    assert kept.programs.calls == [], "without a process"


def test_one_that_is_refused_stops_those_after_it(kept: Kept) -> None:
    kept.api.refused[AT_TWO] = [INVALID]
    with pytest.raises(Refused) as caught:
        given.act(kept.step([ONE, TWO, THREE]))
    assert kept.api.names == ["ConfigMap/one", "ConfigMap/two"]
    assert kept.log == (
        "a/configmap/one applied\n"
        'Error from server (Invalid): ConfigMap "two" is invalid: data[k]: Too long: may not be more than 1 bytes\n'
    )
    assert caught.value.what.startswith("the API has not taken a/configmap/two: ")
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
def test_only_what_can_pass_is_tried_again(
    kept: Kept, answers: list[tuple[int, str]], state: State, sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.engine.step.Retry.pause", lambda *_: 0.0)
    kept.api.refused[AT_TWO] = list(answers)
    assert ran([kept.step([ONE, TWO])])["apply"].state is state
    assert kept.api.names == [f"ConfigMap/{name}" for name in sent]


def test_an_api_that_is_gone_is_told_and_the_log_has_what_went_in(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    patch = kept.api.patch

    def dies(path: str, body: str) -> tuple[int, str]:
        if kept.api.patched:
            raise ApiError(0, "the API at 127.0.0.1:6550 does not answer", "Connection refused")
        return patch(path, body)

    monkeypatch.setattr(kept.api, "patch", dies)
    with pytest.raises(ApiError, match="does not answer") as caught:
        given.act(kept.step([ONE, TWO]))
    assert caught.value.transient
    assert kept.log == "a/configmap/one applied\n"


def test_it_ends_between_two_objects_when_it_is_cancelled(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    context, patch = given.context("apply"), kept.api.patch

    def cancels(path: str, body: str) -> tuple[int, str]:
        context.cancelled.set()
        return patch(path, body)

    monkeypatch.setattr(kept.api, "patch", cancels)
    with pytest.raises(Stopped):
        kept.step([ONE, TWO]).action(context)
    assert kept.api.names == ["ConfigMap/one"]
    assert kept.log == "a/configmap/one applied\n"


def test_what_the_api_repeats_of_a_secret_is_in_no_log_and_no_error(kept: Kept) -> None:
    redact.conceal(CANARY)
    kept.api.refused[AT_TWO] = [refusal(403, f'admission webhook "w" denied the request: {CANARY}', "Forbidden")]
    with pytest.raises(Refused) as caught:
        given.act(kept.step([ONE, TWO], secret=True))
    assert CANARY not in f"{kept.log} {caught.value} {caught.value.args}"


def test_without_a_kubeconfig_there_is_no_cluster(tmp_path: Path) -> None:
    with pytest.raises(ClusterAbsent, match="there is no kubeconfig"):
        applying(given.facts(tmp_path), [ONE])(given.context())
