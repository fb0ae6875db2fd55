"""From a server's first answer to an API that is ready."""

import json
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.clients.docker import OWNER
from tasks.core.errors import BadInput, LaunchError
from tasks.engine.step import Cancel, Context, Stopped
from tasks.facts.facts import Facts, Ports
from tasks.k3d.create import first_answer, wait_api_ready
from tasks.k3d.kubeconfig import fetch_kubeconfig
from tasks.kube import client, transport, wait
from tasks.process.command import CommandFailed
from tests.facts.inspected import container
from tests.given import facts
from tests.given_engine import ME, OTHER
from tests.programs import Answer, FakePrograms, context, tarred

WRITTEN = """apiVersion: v1
kind: Config
clusters: [{name: default, cluster: {server: "https://127.0.0.1:6443", certificate-authority-data: QUJD}}]
users: [{name: default, user: {client-certificate-data: REVG, client-key-data: S0VZ}}]
contexts: [{name: default, context: {cluster: default, user: default}}]
current-context: default
"""
INSPECT = "docker container inspect k3d-openframe-dev-server-0"
SERVER = container("server-0", "server")
COPY = f"docker cp {SERVER['Id']}:/output/kubeconfig.yaml -"


def archive(text: str, **header: Any) -> bytes:
    """As `docker cp … -` writes it."""
    return tarred({"kubeconfig.yaml": text}, **header)


def programs(*answers: Answer | bytes) -> FakePrograms:
    copies = [Answer(raw=a) if isinstance(a, bytes) else a for a in answers]
    return FakePrograms(answers={INSPECT: json.dumps([SERVER]), COPY: copies})


def test_the_private_kubeconfig(tmp_path: Path) -> None:
    fake = programs(archive(WRITTEN))
    given = facts(tmp_path, fake, ports=Ports(http=None, https=None, api=6550, early=7550))
    fetch_kubeconfig(given, context())
    document = yaml.safe_load(given.paths.kubeconfig.read_text(encoding="utf-8"))
    (cluster,), (user,), (entry,) = document["clusters"], document["users"], document["contexts"]
    assert cluster["cluster"]["server"] == "https://127.0.0.1:7550"
    assert cluster["cluster"]["certificate-authority-data"] == "QUJD"
    assert user["user"]["client-key-data"] == "S0VZ"
    assert (cluster["name"], entry["name"], document["current-context"]) == ("k3d-openframe-dev",) * 3
    assert stat.S_IMODE(given.paths.kubeconfig.stat().st_mode) == 0o600
    assert fake.lines == [INSPECT, COPY]
    assert all(call.quiet for call in fake.calls), "the admin's key is not for the log"


def test_an_archive_is_no_text(tmp_path: Path) -> None:
    """A number that does not fit is written as bytes that are no UTF-8 (GNU tar)."""
    given = facts(tmp_path, programs(archive(WRITTEN, uid=1 << 24)))
    fetch_kubeconfig(given, None)
    assert "S0VZ" in given.paths.kubeconfig.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("result", "answered"),
    [
        (True, archive("")),
        (True, archive("apiVersion: v1\n")),
        (True, Answer(code=1, err="Error response from daemon: Could not find the file /output/kubeconfig.yaml in x")),
        (True, Answer(code=1, err="Error: No such container:path: k3d-openframe-dev-server-0:/output/kubeconfig.yaml")),
        (False, archive(WRITTEN)),
    ],
    ids=["empty", "begun", "missing", "missing-20.10", "no-server-yet"],
)
def test_what_is_not_written_yet_is_asked_for_again(tmp_path: Path, result: bool, answered: Answer | bytes) -> None:
    fake = programs(*([answered] if result else []), archive(WRITTEN))
    if not result:
        fake.answers[INSPECT] = [Answer(out="[]\n", err="No such container", code=1), json.dumps([SERVER])]
    given = facts(tmp_path, fake)
    with pytest.raises(LaunchError, match="has not written its kubeconfig yet") as caught:
        fetch_kubeconfig(given, context())
    assert caught.value.transient
    assert not given.paths.kubeconfig.exists()
    fetch_kubeconfig(given, context(), port=6999)
    assert "https://127.0.0.1:6999" in given.paths.kubeconfig.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("theirs", "output"),
    [
        (container("server-0", "server", ours=False), "that this project did not create"),
        (container("server-0", "server", labels={OWNER: OTHER}), "belongs to alice@laptop"),
    ],
    ids=["by-hand", "another-user"],
)
def test_a_cluster_of_the_same_name_that_another_has_made_meanwhile_is_not_entered(
    tmp_path: Path, theirs: dict[str, Any], output: str
) -> None:
    """Else all that a launch puts in would go there: with --keep-going even after our own creation has failed."""
    fake = FakePrograms(answers={INSPECT: json.dumps([theirs]), "docker cp": Answer(raw=archive(WRITTEN))})
    given = facts(tmp_path, fake)
    given = replace(given, shape=replace(given.shape, owner=ME.label))
    with pytest.raises(BadInput, match=output):
        fetch_kubeconfig(given, context())
    assert not given.paths.kubeconfig.exists()
    assert fake.lines == [INSPECT]


def test_another_failure_of_the_copy_is_told(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="permission denied"):
        fetch_kubeconfig(facts(tmp_path, programs(Answer(code=1, err="permission denied"))), context())


def test_the_api_is_opened_anew_with_a_new_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = facts(tmp_path, programs(archive(WRITTEN)))
    monkeypatch.setattr(transport, "open_api", lambda *_: object())
    fetch_kubeconfig(given, None)
    first = given.api()
    assert given.api() is first
    fetch_kubeconfig(given, None)
    assert given.api() is not first


def test_the_first_answer_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probed: list[tuple[str, int]] = []

    def answers(host: str, port: int) -> bool:
        probed.append((host, port))
        given.outputs.ports = Ports(http=None, https=None, api=6551)  # chosen anew meanwhile
        return len(probed) > 2

    monkeypatch.setattr(client, "port_answers", answers)
    given = facts(tmp_path)
    first_answer(given, context())
    assert probed == [("127.0.0.1", 6550), ("127.0.0.1", 6551), ("127.0.0.1", 6551)]


@pytest.mark.parametrize("wait_for", [first_answer, wait_api_ready])
def test_a_wait_ends_with_its_deadline_or_when_it_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_for: Callable[[Facts, Context], None]
) -> None:
    probed: list[object] = []

    def third(*given: object) -> bool:
        probed.append(given)
        return len(probed) > 2

    monkeypatch.setattr(client, "port_answers", third)
    monkeypatch.setattr(wait, "ready", third)
    monkeypatch.setattr(transport, "open_api", lambda *_: object())
    given = facts(tmp_path)
    given.paths.state.mkdir(parents=True)
    given.paths.kubeconfig.write_text(WRITTEN, encoding="utf-8")
    wait_for(given, context())
    assert len(probed) == 3
    probed.clear()
    with pytest.raises(LaunchError):
        wait_for(given, context(deadline=0.0))
    cancelled = Cancel()
    cancelled.set()
    probed.clear()
    with pytest.raises(Stopped):
        wait_for(given, context(cancelled=cancelled))
