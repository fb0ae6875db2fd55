"""The cluster's entry in the user's kubeconfig: merged when the API answers, switched to when all is well."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.clients.kubeconfig import merge, private, switch
from tasks.facts.cluster import Presence
from tasks.facts.facts import Facts
from tasks.k3d import kubeconfig
from tasks.settings.schema import Settings
from tests.given import act, facts, live, settings

ADMIN = private(
    "clusters: [{name: default, cluster: {server: x, certificate-authority-data: QUJD}}]\n"
    "users: [{name: default, user: {client-key-data: S0VZ}}]\n",
    "openframe-dev",
    "https://127.0.0.1:6550",
)
THEIRS = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "prod", "cluster": {"server": "https://prod"}}],
    "users": [{"name": "me", "user": {"token": "t"}}],
    "contexts": [{"name": "prod", "context": {"cluster": "prod", "user": "me"}}],
    "current-context": "prod",
}


def given(folder: Path, *, runs: bool = False, chosen: Settings | None = None, **more: Any) -> Facts:
    """the facts with the private kubeconfig of its cluster, as after `read its kubeconfig`."""
    presence = Presence.RUNNING if runs else Presence.ABSENT
    result = facts(folder, presence=presence, settings=chosen, **more)
    result.paths.state.mkdir(parents=True, exist_ok=True)
    result.paths.kubeconfig.write_text(ADMIN, encoding="utf-8")
    return result


def mine(folder: Path) -> Path:
    path = folder / ".kube" / "config"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(THEIRS), encoding="utf-8")
    return path


def skips(result: Facts) -> tuple[str | None, str | None]:
    merging, switching = kubeconfig.steps(result, ())
    return merging.skip, switching.skip


def test_what_they_do(tmp_path: Path) -> None:
    path = mine(tmp_path)
    merging, switching = kubeconfig.steps(given(tmp_path), ())
    assert act(merging).why == str(path)
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert document["current-context"] == "prod"  # not before everything has ended well
    assert [row["name"] for row in document["contexts"]] == ["prod", "k3d-openframe-dev"]
    assert document["clusters"][1]["cluster"]["server"] == "https://127.0.0.1:6550"
    assert not act(switching).skipped
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert document["current-context"] == "k3d-openframe-dev"
    assert document["users"][0] == THEIRS["users"][0]
    assert (act(merging).skipped, act(switching).skipped) == (True, True)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (None, None)),
        ({"switch": False}, (None, "kubeconfig.switch is false")),
        ({"merge": False}, ("kubeconfig.merge is false",) * 2),
        ({"merge": False, "switch": False}, ("kubeconfig.merge is false",) * 2),
    ],
)
def test_both_can_be_omitted(tmp_path: Path, options: dict[str, bool], expected: tuple[str | None, str | None]) -> None:
    assert skips(given(tmp_path, chosen=settings(kubeconfig=options))) == expected


def test_on_a_cluster_that_runs_only_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = mine(tmp_path)
    assert skips(facts(tmp_path, presence=Presence.RUNNING, live=live())) == (None, None)
    assert skips(given(tmp_path, runs=True)) == (None, None)
    merge(path, ADMIN.replace("6550", "6999"))  # of another cluster of that name
    result = given(tmp_path, runs=True)
    assert skips(result) == (None, None)
    act(kubeconfig.steps(result, ())[0])
    assert skips(given(tmp_path, runs=True)) == (f"{path} has it", None)
    switch(path, "k3d-openframe-dev")
    assert skips(given(tmp_path, runs=True)) == (f"{path} has it", "it is the current context")
    off = given(tmp_path, runs=True, chosen=settings(kubeconfig={"switch": False}))
    assert skips(off)[1] == "kubeconfig.switch is false"
    monkeypatch.setattr("tasks.clients.kubeconfig.unwritable", lambda *_: "Read-only file system")
    steps = kubeconfig.steps(given(tmp_path, runs=True), ())  # it need not be written
    assert [step.skip for step in steps] == [f"{path} has it", "it is the current context"]
    assert kubeconfig.warnings(steps) == []


def _refused(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """A kubeconfig that is mounted by itself: rename gives EBUSY; read-only: opening gives EROFS."""

    def replace_(self: Path, _target: Path) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(self))

    opened = os.open

    def open_(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if code and str(path).endswith("/config") and flags & (os.O_RDWR | os.O_WRONLY):
            raise OSError(code, os.strerror(code), str(path))
        return opened(path, flags, *more, **named)

    monkeypatch.setattr(Path, "replace", replace_)
    monkeypatch.setattr(os, "open", open_)


def test_a_file_that_can_be_written_but_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = mine(tmp_path)
    _refused(monkeypatch, 0)
    for step in kubeconfig.steps(given(tmp_path), ()):
        assert not act(step).skipped
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert document["current-context"] == "k3d-openframe-dev"
    assert document["users"][0] == THEIRS["users"][0]


def test_a_file_that_is_read_only_does_not_end_the_launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = mine(tmp_path)
    before = path.read_text(encoding="utf-8")
    _refused(monkeypatch, errno.EROFS)
    result = given(tmp_path)
    report = act(kubeconfig.steps(result, ())[0])
    assert report.skipped
    assert f"export KUBECONFIG={result.paths.kubeconfig}" in report.why
    assert path.read_text(encoding="utf-8") == before


@pytest.mark.parametrize("runs", [False, True])
def test_a_read_only_file_is_named_before_any_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: bool) -> None:
    mine(tmp_path)
    monkeypatch.setattr("tasks.clients.kubeconfig.unwritable", lambda *_: "Read-only file system")
    result = given(tmp_path, runs=runs)
    steps = kubeconfig.steps(result, ())
    reported = f"{tmp_path}/.kube/config cannot be written (Read-only file system): export KUBECONFIG="
    assert [step.skip for step in steps] == [f"{reported}{result.paths.kubeconfig}"] * 2
    assert steps[0].notes == (steps[0].skip,), "and again at the end"
    assert kubeconfig.warnings(steps) == [f"warning: {steps[0].skip}"]


@pytest.mark.parametrize(("text", "output"), [("a: [", "did not find"), ("- a\n", "a list"), (None, "it is a folder")])
def test_another_file_stays_and_does_not_end_the_launch(tmp_path: Path, text: str | None, output: str) -> None:
    good = kubeconfig.steps(given(tmp_path), ())  # planned before it was broken
    path = tmp_path / ".kube" / "config"
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    if text is None:
        path.mkdir()
    else:
        path.write_text(text)
    for step in good:
        report = act(step)
        assert report.skipped
        assert "it is not a kubeconfig" in report.why
        assert output in report.why
    steps = kubeconfig.steps(given(tmp_path), ())
    assert all("it is not a kubeconfig" in str(step.skip) and output in str(step.skip) for step in steps)
    assert len(kubeconfig.warnings(steps)) == 1
    assert path.is_dir() or path.read_text() == text


def test_an_entry_of_a_cluster_elsewhere_is_neither_replaced_nor_made_current(tmp_path: Path) -> None:
    """k3d on another machine calls its cluster the same."""
    path = mine(tmp_path)
    theirs = {"name": "k3d-openframe-dev", "cluster": {"server": "https://me:t@10.0.0.5:6443", "x": "y"}}
    path.write_text(yaml.safe_dump({**THEIRS, "clusters": [theirs]}), encoding="utf-8")
    before = path.read_text(encoding="utf-8")
    output = "its k3d-openframe-dev is another cluster's, https://10.0.0.5:6443"
    merging, switching = kubeconfig.steps(given(tmp_path), ())
    assert merging.skip == switching.skip
    assert merging.skip is not None
    assert output in merging.skip
    path.unlink()
    steps = kubeconfig.steps(given(tmp_path), ())
    path.write_text(before, encoding="utf-8")
    for step in steps:  # it has come since
        assert output in act(step).why
    assert path.read_text(encoding="utf-8") == before
