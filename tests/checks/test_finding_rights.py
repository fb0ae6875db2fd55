"""sudo is told, and asked for only where something needs it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.checks.facts import Rights
from tasks.checks.finding import folders, kubeconfig, sudo
from tasks.core.errors import BadInput
from tasks.settings.schema import Settings
from tests.checks.given import WELL, one


@pytest.mark.parametrize(
    ("rights", "tune", "level", "told"),
    [
        (Rights(root=True, sudo=None), "auto", "ok", "you are root"),
        (Rights(root=False, sudo=True), "auto", "ok", "without a password"),
        (Rights(root=False, sudo=False), "off", "ok", "asks for a password"),
        (Rights(root=False, sudo=None), "off", "ok", "there is none"),
        (Rights(root=False, sudo=False), "auto", "warning", "docker.tune is auto"),
    ],
)
def test_sudo(rights: Rights, tune: str, level: str, told: str) -> None:
    facts = replace(WELL, rights=rights, settings=Settings.model_validate({"docker": {"tune": tune}}))
    found = one(sudo(facts))
    assert found.level.value == level
    assert told in found.what


def test_rights_that_were_not_asked_are_not_judged() -> None:
    assert list(sudo(replace(WELL, rights=None))) == []


@pytest.mark.parametrize(("fault", "found"), [(None, []), ("", []), ("Read-only file system", ["warning"])])
def test_a_kubeconfig_that_cannot_be_written(fault: str | None, found: list[str]) -> None:
    assert [each.level.value for each in kubeconfig(replace(WELL, unwritable=fault))] == found


def test_folders_that_cannot_be_used() -> None:
    error = BadInput("/state cannot be used: Permission denied", why="it belongs to root", fix="sudo chown")
    found = one(folders(replace(WELL, folders=error)))
    assert (found.level.value, found.what) == ("problem", "/state cannot be used: Permission denied")
    assert list(folders(WELL)) == []
