"""One context of the user's files by itself: the same as kubectl makes of it, or left to kubectl."""

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.clients import kubectl
from tasks.clients.kubeconfig import file_of_user
from tasks.clients.kubeconfig_context import of_context, rooted

DATA = base64.b64encode(b"CA").decode()
ONE = f"""
apiVersion: v1
kind: Config
current-context: other
clusters:
- {{name: c, cluster: {{server: "https://127.0.0.1:1", certificate-authority: ca.pem, tls-server-name: kubernetes}}}}
- {{name: with-data, cluster: {{server: "https://127.0.0.1:1", certificate-authority-data: {DATA}}}}}
users:
- {{name: certificates, user: {{client-certificate: ../x/c.pem, client-key: keys/k.pem}}}}
- {{name: by-token, user: {{token: "12345678"}}}}
- {{name: doubled, user: {{token: u}}}}
- name: by-plugin
  user: {{exec: {{command: ./bin/login, args: ["1", "y"], env: [{{name: A, value: "1"}}],
    apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, provideClusterInfo: true}}}}
contexts:
- {{name: dev, context: {{cluster: c, user: certificates, namespace: apps}}}}
- {{name: other, context: {{cluster: with-data, user: by-token}}}}
- {{name: no-user, context: {{cluster: c, user: nobody}}}}
- {{name: no-cluster, context: {{cluster: nowhere, user: by-token}}}}
- {{name: twice, context: {{cluster: c, user: by-token}}}}
"""
TWO = """
contexts:
- {name: staging, context: {cluster: with-data, user: by-plugin}}
- {name: twice, context: {cluster: with-data, user: by-token}}
- {name: doubled, context: {cluster: c, user: doubled}}
users:
- {name: by-file, user: {tokenFile: t}}
- {name: doubled, user: {token: t}}
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    for name in ("a", "b", "x", "a/keys"):
        (tmp_path / name).mkdir()
    for name, text in {"a/one": ONE, "b/two": TWO, "a/ca.pem": "CA", "x/c.pem": "CERT", "a/keys/k.pem": "KEY"}.items():
        (tmp_path / name).write_text(text)
    return {"KUBECONFIG": os.pathsep.join(str(tmp_path / each) for each in ("a/one", "absent", "b/two"))}


def comparable(text: str) -> Any:
    """Without what means nothing: empty values, and the order of keys."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(each) for key, each in value.items() if each not in (None, "", False, {}, [])}
        return [plain(each) for each in value] if isinstance(value, list) else value

    return plain(yaml.safe_load(text))


@pytest.mark.parametrize("name", ["dev", "other", "staging"])
def test_it_is_what_kubectl_makes_of_it(environ: dict[str, str], name: str) -> None:
    program = shutil.which("kubectl")
    found = of_context(environ, name)
    assert found is not None
    if program is None:
        pytest.skip("there is no kubectl")
    argv = [program, *kubectl.flattened(name).argv[1:]]
    done = subprocess.run(argv, env={**os.environ, **environ}, check=True, capture_output=True, text=True, timeout=60)
    assert comparable(found) == comparable(done.stdout)


@pytest.mark.parametrize("name", ["absent", "no-user", "no-cluster", "twice", "doubled"])
def test_what_is_missing_or_there_twice_is_kubectls(environ: dict[str, str], name: str) -> None:
    assert of_context(environ, name) is None


@pytest.mark.parametrize("damage", ["missing", "both"])
def test_certificates_that_kubectl_refuses_are_kubectls(environ: dict[str, str], damage: str) -> None:
    file = Path(environ["KUBECONFIG"].split(os.pathsep)[0])
    if damage == "missing":
        (file.parent / "ca.pem").unlink()
    else:
        both = f"certificate-authority: ca.pem, certificate-authority-data: {DATA}"
        file.write_text(ONE.replace("certificate-authority: ca.pem", both))
    assert of_context(environ, "dev") is None


def test_paths_are_those_of_the_file_that_has_the_user(environ: dict[str, str], tmp_path: Path) -> None:
    assert file_of_user(environ, "by-file") == tmp_path / "b" / "two"
    assert file_of_user(environ, "nobody") is None
    found = of_context(environ, "staging")
    assert found is not None
    assert json.loads(rooted(found, environ))["users"][0]["user"]["exec"]["command"] == f"{tmp_path}/a/bin/login"
