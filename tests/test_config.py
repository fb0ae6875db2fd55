"""`invoke config`: the effective configuration, and the source of each value."""

import json
from pathlib import Path

import pytest

from tasks.config import config
from tasks.core.errors import BadInput
from tasks.run.session import Session
from tasks.run.task import Options, begin
from tests import given
from tests.given import call


@pytest.fixture
def session(tmp_path: Path) -> Session:
    environ = {"HOME": str(tmp_path), "CLUSTER_NAME": "mine"}
    options = Options(task="config", sets=("cluster.agents=3", "helm.releases=[]"))
    return begin(options, given.ROOT, environ)


def test_text_tells_each_value_and_who_set_it(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(config, session, format="text", only="") == 0
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()[2:]}
    assert rows["cluster.agents"][:2] == ["3", "--set"]
    assert rows["cluster.name"][0] == "mine"
    assert "CLUSTER_NAME" in " ".join(rows["cluster.name"])
    assert rows["cluster.servers"] == ["1", "default"]


def test_json_is_one_document(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(config, session, format="json", only="cluster.a") == 0
    reported = json.loads(capsys.readouterr().out)
    assert reported["settings"]["cluster.agents"]["value"] == 3
    assert all(path.startswith("cluster.a") for path in reported["settings"])


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_path_that_does_not_exist_is_bad_input(session: Session, form: str) -> None:
    with pytest.raises(BadInput, match=r"no setting begins with 'cluster\.wings'"):
        call(config, session, format=form, only="cluster.wings")


def test_another_format_is_bad_input(session: Session) -> None:
    with pytest.raises(BadInput, match="--format is 'yaml'"):
        call(config, session, format="yaml", only="")
