"""What goes into an export: bounded files, without what may be secret."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import BadInput, LaunchError
from tasks.core.redact import redact
from tasks.kube.concealing import conceal_cluster, without_secrets
from tasks.run.export import Export
from tests.given_live import FakeApi

CANARY = "canary-4711-Abcdef"


def secret(name: str, **data: str) -> dict[str, Any]:
    packed = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    meta = {"name": name, "namespace": "apps"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "Opaque", "data": packed}


@pytest.mark.parametrize(
    "text",
    [
        f"password: {CANARY}",
        f'{{"token": "{CANARY} and more {CANARY}"}}',
        f'msg="connecting with password=\\"{CANARY}\\" now"',
        f"--api-key={CANARY} --verbose",
        f"Authorization: Bearer {CANARY}",
        f"-----BEGIN RSA PRIVATE KEY-----\n{CANARY.replace('-', '')}\n-----END RSA PRIVATE KEY-----",
        f"https://user:{CANARY}@example.org/",
    ],
)
def test_what_a_line_assigns_to_a_secret_is_masked(text: str, tmp_path: Path) -> None:
    Export(tmp_path).write("a/b.log", f"before\n{text}\nafter\n")
    written = (tmp_path / "a" / "b.log").read_text()
    assert CANARY.replace("-", "") not in written.replace("-", "")
    assert written.startswith("before\n")
    assert written.endswith("after\n")


@pytest.mark.parametrize("text", ['secret "db" not found', "DB_TOKEN: <set to the key 'token' in secret 'db'>"])
def test_a_cause_is_not_masked(text: str, tmp_path: Path) -> None:
    Export(tmp_path).write("log", text)
    assert (tmp_path / "log").read_text() == text


def test_an_object_is_written_without_its_secrets_and_they_are_masked_elsewhere() -> None:
    pod = {
        "metadata": {"name": "app", "managedFields": [{}], "annotations": {"note": "x" * 50_000}},
        "spec": {
            "containers": [
                {
                    "env": [{"name": "DB_PASSWORD", "value": CANARY}, {"name": "HOST", "value": "db"}],
                    "args": [f"--token={CANARY}"],
                }
            ],
            "imagePullSecrets": [{"name": "pull"}],
            "automountServiceAccountToken": False,
        },
    }
    found = without_secrets(pod)
    assert CANARY not in json.dumps(found)
    assert found["spec"]["containers"][0]["env"] == [
        {"name": "DB_PASSWORD", "value": "***"},
        {"name": "HOST", "value": "db"},
    ]
    assert found["spec"]["imagePullSecrets"] == [{"name": "pull"}]
    assert found["spec"]["automountServiceAccountToken"] is False
    assert "managedFields" not in found["metadata"]
    assert len(found["metadata"]["annotations"]["note"]) < 25_000
    assert redact(f"it says {CANARY}") == "it says ***"
    assert without_secrets(secret("db", key=CANARY))["data"] == {"key": f"*** ({len(CANARY)} bytes)"}


@pytest.mark.parametrize("namespaces", [None, ("apps",)])
def test_values_of_secrets_are_masked_also_parts_of_a_file(namespaces: tuple[str, ...] | None, tmp_path: Path) -> None:
    login = {"auths": {"example.org": {"auth": f"{CANARY}-2"}}}
    conf = f"host=db\nauth = {CANARY}-1\n"
    api = FakeApi(secret("one", **{"note": CANARY, "app.conf": conf, ".dockerconfigjson": json.dumps(login)}))
    conceal_cluster(api, namespaces)
    for each in (CANARY, f"{CANARY}-1", f"{CANARY}-2"):
        assert redact(f"says {each}.") in ("says ***.", "says ***-1.", "says ***-2.")
    assert redact("host=db") == "host=db"


def test_files_are_bounded_each_and_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.run.export.WHOLE", 10_000)
    export = Export(tmp_path / "new")
    export.write("long", "first\n" + "x" * 20_000 + "\nlast", 4000)
    text = (tmp_path / "new" / "long").read_text()
    assert len(text) < 4100
    assert text.startswith("first")
    assert text.endswith("last")
    export.write("../../outside/..", "y" * 5000)
    export.write("more", "z" * 5000)
    assert export.missing == ["more: the export would be larger than 0.0 MiB"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new"]
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "new" / "long").stat().st_mode & 0o777 == 0o600


def test_a_folder_that_is_not_empty_or_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(BadInput, match="is not empty"):
        Export(tmp_path)
    with pytest.raises(BadInput, match="cannot be written") as caught:
        Export(tmp_path / "file")
    assert "a file" in caught.value.why
    assert (tmp_path / "file").read_text() == "mine"


def test_what_cannot_be_read_is_noted_and_no_failure(tmp_path: Path) -> None:
    export = Export(tmp_path)

    def read() -> None:
        raise LaunchError("it does not answer", why="nothing listens")

    with export.collecting("the API"):
        read()
    assert export.missing == ["the API: it does not answer: nothing listens"]
