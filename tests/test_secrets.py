"""Secrets: in each of their namespaces, in no log; one without a value is left out, and an existing one stays."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tasks import secrets
from tasks.engine.step import State
from tasks.facts.secrets import read_secrets
from tasks.settings.derived import NAMESPACES, SECRETS
from tasks.settings.schema import Settings
from tests import given
from tests.given_direct import DirectApi, refusal
from tests.given_live import FakeApi, ran, reached
from tests.programs import Answer, FakePrograms, visible

CANARY = "canary-4711-in-a-secret"


def of(folder: Path, programs: FakePrograms | None = None, *, environ: dict[str, str], **secret: Any) -> Any:
    """The facts's part of one secret `s` in namespaces `one` and `two`."""
    settings = given.settings(namespaces=["one", "two"], secrets=[{"name": "s", **secret}] if secret else [])
    return given.facts(folder, programs, settings=settings, **read(settings, programs, environ))


def read(settings: Settings, programs: FakePrograms | None = None, environ: Mapping[str, str] | None = None) -> Any:
    """The facts about secrets."""
    found, left_out = read_secrets(settings, environ or {}, given.ROOT, programs or FakePrograms(), {"secrets"})
    return {"secrets": tuple(found), "secrets_left_out": tuple(left_out)}


def test_one_step_for_all_namespaces(tmp_path: Path) -> None:
    programs = FakePrograms(answers={"kubectl": ""})
    facts = of(tmp_path, programs, environ={"PASSWORD": CANARY}, values={"k": {"env": "PASSWORD"}})
    reached(facts, FakeApi())
    (step,) = secrets.steps(facts)
    assert step.name == SECRETS
    assert NAMESPACES in step.needs
    given.act(step)
    assert [(each.command.stdin or "").count('"kind": "Secret"') for each in programs.calls] == [1, 1]
    assert all(each.quiet for each in programs.calls)
    assert CANARY not in visible(programs.calls)


def test_what_kubectl_repeats_of_a_secret_is_told_to_nobody(tmp_path: Path) -> None:
    programs = FakePrograms(answers={"kubectl": Answer(code=1, out=CANARY, err=f"error: invalid value {CANARY}")})
    facts = of(tmp_path, programs, environ={"PASSWORD": CANARY}, values={"k": {"env": "PASSWORD"}})
    reached(facts, FakeApi())
    result = ran(secrets.steps(facts))[SECRETS]
    assert result.state is State.FAILED
    assert CANARY not in f"{result.why} {result.error}"


def test_without_a_process_they_reach_the_api_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    programs = FakePrograms(otherwise=Answer(), log_dir=tmp_path / "logs")
    facts = of(tmp_path, programs, environ={"PASSWORD": CANARY}, values={"k": {"env": "PASSWORD"}})
    api = reached(facts, DirectApi())
    result = ran(secrets.steps(facts))[SECRETS]
    assert result.state is State.RAN
    assert programs.calls == []
    assert [sent["data"]["k"] for _path, sent in api.patched] == [base64.b64encode(CANARY.encode()).decode()] * 2
    (log,) = (tmp_path / "logs").iterdir()
    assert log.read_text() == "one/secret/s applied\ntwo/secret/s applied\n"


def test_what_the_api_repeats_of_a_secret_is_told_to_nobody(tmp_path: Path) -> None:
    facts = of(tmp_path, environ={"PASSWORD": CANARY}, values={"k": {"env": "PASSWORD"}})
    api = reached(facts, DirectApi())
    output = f"{CANARY} / {base64.b64encode(CANARY.encode()).decode()} !"
    api.refused["/api/v1/namespaces/one/secrets/s"] = [refusal(422, output, "Invalid")]
    result = ran(secrets.steps(facts))[SECRETS]
    assert result.state is State.FAILED
    assert "*** / *** !" in f"{result.error}"
    assert CANARY not in f"{result.why} {result.error}"


@pytest.mark.parametrize(
    ("environ", "why"),
    [({}, "PASSWORD is not set"), ({"PASSWORD": ""}, "PASSWORD is empty"), ({"PASSWORD": " "}, "PASSWORD is empty")],
)
def test_one_without_a_value_is_skipped_if_it_exists(tmp_path: Path, environ: dict[str, str], why: str) -> None:
    (step,) = secrets.steps(of(tmp_path, environ=environ, values={"k": {"env": "PASSWORD"}}))
    assert (step.name, step.skip) == ("secrets: leave out s", f"{why}; an existing secret stays")


def test_one_that_is_left_out_stops_no_other(tmp_path: Path) -> None:
    settings = given.settings(
        namespaces=["one"],
        secrets=[{"name": "apply", "values": {"k": {"env": "A"}}}, {"name": "b", "values": {"k": {"env": "B"}}}],
    )
    steps = secrets.steps(given.facts(tmp_path, settings=settings, **read(settings, environ={"B": "value-of-b"})))
    assert [(step.name, step.skip is None) for step in steps] == [("secrets: leave out apply", False), (SECRETS, True)]


def test_values_are_read_only_where_secrets_are_put_in() -> None:
    programs = FakePrograms(answers={"pass": CANARY})
    settings = given.settings(secrets=[{"name": "s", "values": {"k": {"command": ["pass", "show"]}}}])
    assert read_secrets(settings, {}, given.ROOT, programs, {"manifests", "helm"}) == ([], [])
    assert programs.calls == []
    assert len(read(settings, programs)["secrets"]) == 6
    assert [(call.line, call.quiet) for call in programs.calls] == [("pass show", True)]


@pytest.mark.parametrize(("argv", "program"), [(["./bin/give", "it"], "bin/give"), (["give", "it"], "give")])
def test_a_command_runs_in_the_projects_folder(argv: list[str], program: str) -> None:
    programs = FakePrograms(otherwise=Answer(out=CANARY))
    settings = given.settings(secrets=[{"name": "s", "values": {"k": {"command": argv}}}], timeouts={"command": 9})
    read(settings, programs)
    (command,) = programs.commands
    assert command.argv == (str(given.ROOT / program) if "/" in program else program, "it")
    assert command.cwd == given.ROOT
    assert command.deadline == 9
