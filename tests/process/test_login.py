"""A program for a login is run once for many kubectls, and again when its answer is no longer good."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.process.login import cache_of, cached_logins, forget, original


def written(folder: Path, *, expiry: str | None = None, code: int = 0, wait: int = 0) -> tuple[dict[str, Any], Path]:
    """What a kubeconfig says of the login afterwards, and the file of answers."""
    status = {"token": "s3cr3t", **({"expirationTimestamp": expiry} if expiry else {})}
    (folder / "answer").write_text(json.dumps({"kind": "ExecCredential", "status": status}))
    program = folder / "login"
    ask = f"exec sleep {wait}\n" if wait else ""
    program.write_text(f'#!/bin/sh\n{ask}echo "$1" >> {folder}/runs\ncat {folder}/answer\necho said >&2\nexit {code}\n')
    program.chmod(0o755)
    login = {"command": "login", "args": ["get-token"], "env": [{"name": "A", "value": "b"}]}
    text = json.dumps({"users": [{"name": "u", "user": {"exec": login}}]})
    environ = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    document = json.loads(cached_logins(text, folder / "kept", environ))
    found: dict[str, Any] = document["users"][0]["user"]["exec"]
    assert found["env"] == login["env"]
    assert original(found) == [str(folder / "login"), "get-token"]
    return found, cache_of(folder / "kept")


def run(login: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [login["command"], *login["args"]], check=False, capture_output=True, text=True, timeout=20, umask=0
    )


def later(seconds: float) -> str:
    return f"{datetime.now(UTC) + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"


@pytest.mark.parametrize(("expiry", "runs"), [(None, 1), (3600.0, 1), (30.0, 3), (-10.0, 3), ("tomorrow", 3)])
def test_it_is_run_once_while_its_answer_is_good(tmp_path: Path, expiry: float | str | None, runs: int) -> None:
    login, cache = written(tmp_path, expiry=later(expiry) if isinstance(expiry, float) else expiry)
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(run, login) for _ in range(3)]
    assert {each.result().stdout for each in answers} == {(tmp_path / "answer").read_text()}
    assert (tmp_path / "runs").read_text().split() == ["get-token"] * runs
    assert cache.stat().st_mode & 0o777 == 0o600


def test_an_answer_that_the_api_rejects_is_forgotten(tmp_path: Path) -> None:
    login, cache = written(tmp_path)
    forget(cache)  # there is none yet
    for _ in range(2):
        run(login)
        forget(cache)
    assert len((tmp_path / "runs").read_text().split()) == 2


def test_one_that_waits_for_somebody_is_ended(tmp_path: Path) -> None:
    login, cache = written(tmp_path, wait=20)
    slow = Path(login["args"][2]).read_text().replace("PATIENCE = 30.0", "PATIENCE = -1.7")
    (tmp_path / "login.py").write_text(slow)
    login["args"][2] = str(tmp_path / "login.py")
    done = run(login)
    assert (done.returncode, done.stdout) == (124, "")
    assert f"{tmp_path}/login was still running after 0.3 s, and ended with code 124\n" in done.stderr
    assert cache.read_text() == ""


def test_a_failure_is_the_programs_own_and_is_not_kept(tmp_path: Path) -> None:
    login, cache = written(tmp_path, code=3)
    for _ in range(2):
        done = run(login)
        assert (done.returncode, done.stderr) == (3, f"said\n{tmp_path}/login ended with code 3\n")
    assert cache.read_text() == ""
    assert len((tmp_path / "runs").read_text().split()) == 2


def test_one_that_is_not_there_is_kubectls_to_tell(tmp_path: Path) -> None:
    text = json.dumps({"users": [{"name": "u", "user": {"exec": {"command": "aws-nope"}}}]})
    assert cached_logins(text, tmp_path / "kept", {"PATH": "/nowhere"}) == text
    assert sys.executable not in text
