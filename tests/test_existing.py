"""A cluster that somebody else made: asked for by its context's name, never the current one, and no engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.errors import BadInput
from tasks.survey import survey
from tests.given_engine import Machine
from tests.given_live import FakeApi, node
from tests.programs import Answer

FLAT = "apiVersion: v1\nkind: Config\ncurrent-context: team\n"
VIEW = "kubectl config view --minify --flatten --raw --context=team --output=yaml"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return there(Machine(tmp_path, monkeypatch))


def there(machine: Machine) -> Machine:
    machine.api = FakeApi(node("a"), node("b"))
    machine.fails["kubectl config view"] = Answer(out=FLAT)
    return machine


def test_its_context_becomes_a_private_kubeconfig(machine: Machine) -> None:
    session = machine.session(engine="existing", context="team")
    found = survey(session, ("namespaces", "health"))
    (call,) = machine.programs.told("kubectl config")
    assert call.line == VIEW
    assert call.quiet, "it holds the user's credentials"
    assert session.folders.kubeconfig.read_text() == FLAT
    assert session.folders.kubeconfig.stat().st_mode & 0o777 == 0o600
    assert "context-" in session.folders.state.name
    assert (found.engine, found.standing.name, found.host) == ("existing", "team", None)
    assert found.live is not None
    assert found.live.nodes == ("a", "b")


def test_no_engine_is_asked(machine: Machine) -> None:
    session = machine.session(engine="existing", context="team")
    survey(session, ("namespaces",))
    assert not any(line.startswith("docker") for line in machine.programs.lines)
    assert (session.system["docker"], session.system["k3d"], session.system["k3s_image"]) == (None, None, None)
    assert session.system["kubectl"] == "v1.33.13"


@pytest.mark.parametrize(("names", "listed"), [("dev\nprod\n", "dev, prod"), ("", "there are none")])
def test_a_context_that_is_not_there_is_told_with_those_that_are(machine: Machine, names: str, listed: str) -> None:
    machine.fails |= {
        "kubectl config view": Answer(code=1, err="error: cannot locate context team\n"),
        "kubectl config get-contexts": Answer(out=names),
    }
    with pytest.raises(BadInput, match="your kubeconfig has no context 'team'") as caught:
        survey(machine.session(engine="existing", context="team"), ("namespaces",))
    assert caught.value.status == 2
    assert "cannot locate context team" in caught.value.why
    assert listed in caught.value.fix


@pytest.mark.parametrize(("sections", "concurrency"), [({}, None), ({"pool": {"concurrency": 7}}, 7)])
def test_this_machine_decides_how_much_runs_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sections: dict[str, Any], concurrency: int | None
) -> None:
    machine = there(Machine(tmp_path, monkeypatch, **sections))
    found = survey(machine.session(engine="existing", context="team"), ()).shape
    assert found.concurrency == concurrency or (concurrency is None and found.concurrency >= 2)
    assert found.agents == 0


def test_values_of_secrets_are_read_only_where_they_are_put_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = there(Machine(tmp_path, monkeypatch, secrets=[{"name": "s", "values": {"k": {"command": ["vault"]}}}]))
    machine.fails["vault"] = Answer(out="a-long-value")
    session = machine.session(engine="existing", context="team")
    assert survey(session, ("manifests",)).secrets == ()
    assert len(survey(session, ("secrets",)).secrets) == 1
    assert len(machine.programs.told("vault")) == 1
