"""Every fault names the layer, the value and what is valid, and never shows what may be a secret."""

from pathlib import Path

import pytest

from tests.settings.project import project, refused

TOKEN = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        ("cluster:\n  agnets: 2\n", ["line 2", "'cluster.agnets'", "did you mean cluster.agents?"]),
        ("cluster:\n  bind-address: 1.2.3.4\n", ["did you mean cluster.bind_address?"]),
        ("agents: 2\n", ["line 1", "did you mean cluster.agents?"]),
        ("cluster:\n  memory: 2G\n", ["did you mean cluster.limits.server_memory?"]),
        ("K3D_AGENTS: 2\n", ["did you mean cluster.agents?"]),
        ("cluster:\n  qqqqqq: 2\n", ["'cluster' has name, kubernetes_version"]),
        ("cluster:\n  agents: many\n", ["line 2", "cluster.agents is 'many'", "a whole number from 0 to 64, or null"]),
        ("cluster:\n  agents: 65\n", ["is 65", "from 0 to 64"]),
        ("cluster:\n  agents: -1\n", ["is -1", "from 0 to 64"]),
        ("cluster:\n  agents: true\n", ["is true", "a whole number"]),
        ("cluster:\n  agents: 1.5\n", ["is 1.5", "a whole number"]),
        ("cluster:\n  agents: [1]\n", ["is a list", "a whole number"]),
        ("cluster:\n  servers: null\n", ["is null", "from 1 to 9"]),
        ("cluster:\n  name: Dev\n", ["'Dev'", "a-z, 0-9 and -"]),
        (f"cluster:\n  name: {'a' * 33}\n", ["at most 32 characters"]),
        ("cluster:\n  name: 12\n", ["is 12", "put it in quotes"]),
        ("cluster:\n  kubernetes_version: 1.32\n", ["put it in quotes"]),
        ("cluster:\n  kubernetes_version: '1.32'\n", ["a full version such as v1.35.5"]),
        ("cluster:\n  image: --privileged\n", ["must be an image"]),
        ("cluster:\n  image: latest\n", ["must be an image such as rancher/k3s", "cluster.kubernetes_version"]),
        ("cluster:\n\tagents: 1\n", ["line 2", "indented by a tab"]),
        ("cluster:\n  bind_address: localhost\n", ["127.0.0.1, or 0.0.0.0 for all"]),
        ("cluster:\n  subnet: 172.28.0.1/16\n", ["no host bits"]),
        ("cluster:\n  limits:\n    server_memory: 1M\n", ["line 3", "at least 6M"]),
        ("cluster:\n  limits:\n    server_cpus: .inf\n", ["not a number in JSON"]),
        ("cluster:\n  limits: {agent_cpus: 0}\n", ["from 0.01 to 1024"]),
        ("cluster:\n  server_labels: {'a b': c}\n", ["has the name 'a b'", "example.com/role"]),
        ("cluster:\n  server_labels: {gpu: yes}\n", ["is true", "must be a text"]),
        ("cluster:\n  ports:\n    extra: ['x']\n", ["cluster.ports.extra.0 is 'x'", "30000:30000"]),
        ("cluster:\n  args:\n    kubelet: v=4\n", ["a list of texts"]),
        ("timeouts: {pull: 5x}\n", ["is '5x'", "a duration such as 5m"]),
        ("timeouts: {pull: 25h}\n", ["at most 86400"]),
        ("timeouts: {pull: 0}\n", ["more than 0 and at most 86400"]),
        ("docker: {tune: maybe}\n", ["off or auto"]),
        ("ingress: {controller: traefick}\n", ["did you mean traefik?"]),
        ("namespaces: [a, kube-system]\n", ["namespaces.1 is 'kube-system'", "Kubernetes' own"]),
        ("namespaces: [a, A]\n", ["namespaces.1 is 'A'"]),
        ("manifests: {quota: {requests_cpu: much}}\n", ["an amount such as 500m"]),
        ("helm: {repositories: {x: ftp://x}}\n", ["helm.repositories.x is 'ftp://x'", "http:// or https://"]),
        ("registries: {caches: {https://ghcr.io: {}}}\n", ["without https://"]),
        ("registries: {caches: {x.io: {url: https://u:p@x.io}}}\n", ["***@x.io", "username_env"]),
        ("helm: {releases: [{name: x}]}\n", ["helm.releases.x has no namespace and no chart"]),
        ("secrets: [{}]\n", ["secrets.0 is an empty mapping", "with name, type"]),
        ("secrets: [{type: tls}]\n", ["secrets.0 has no name"]),
        (
            "secrets: {x: {values: {a: hunter2}}}\n",
            ["(not shown)", "{env: NAME}, {file: PATH} or {command: [PROGRAM]}"],
        ),
        ("secrets: {x: {values: {a: {evn: X}}}}\n", ["did you mean secrets.x.values.a.env?"]),
        ("secrets: {x: {values: {a: {command: []}}}}\n", ["is an empty list", "it names a program"]),
        ("profile: other\n", ["line 1", "a profile cannot choose another one"]),
        ("openframe: {}\n", ["are at the top level"]),
        ("- a\n", ["all of it is a list", "must be a mapping"]),
        ("cluster: {\n", ["config/mine.yaml", "line 2"]),
        ("cluster: {name: a, name: b}\n", ["'name' is given twice"]),
        ("a: 1\n---\nb: 2\n", ["contains 2 documents"]),
        ("a: " + "[" * 100, ["nested more than 60 deep"]),
        ("a: !!python/name:os.system x\n", ["tag"]),
    ],
)
def test_faults_of_a_profile(tmp_path: Path, text: str, reported: list[str]) -> None:
    error = str(refused(project(tmp_path, mine=text), profile="mine"))
    assert "config/mine.yaml" in error
    for part in reported:
        assert part in error


@pytest.mark.parametrize(
    ("variable", "text", "reported"),
    [
        ("K3D_AGENTS", "many", "cluster.agents is 'many'"),
        ("K3D_AGENTS", "2.5", "a whole number from 0 to 64"),
        ("SILENT", "maybe", "true or false"),
        ("IP", "::1", "an IPv4 address"),
        ("NAMESPACES", "a b_c", "namespaces.1 is 'b_c'"),
        ("DEPLOY_LOG_DIR", "/tmp/\x1b[31m", "'/tmp/\\x1b[31m'"),
        ("DOMAIN", "\udcff", "cluster.domain is '\\udcff'"),
        ("CLUSTER_NAME", "x" * 500, "…'"),
    ],
)
def test_faults_of_variables(tmp_path: Path, variable: str, text: str, reported: str) -> None:
    error = refused(tmp_path, environ={variable: text})
    assert f"the variable {variable}" in error.what
    assert reported in f"{error.what}\n{error.why}"
    assert f"{error.what}{error.why}{error.fix}".isprintable()


@pytest.mark.parametrize(
    ("option", "reported"),
    [
        ("cluster.agents", "'cluster.agents' has no value"),
        ("=1", "'' is not a setting"),
        ("cluster..agents=1", "'cluster..agents' is not a setting"),
        ("cluster.agents.x=1", "cluster.agents is a mapping"),
        ("cluster=1", "cluster is 1"),
        ("cluster.agents=[1", "the value of 'cluster.agents' cannot be read"),
        ("cluster.kubelet_config=@", "must be a mapping"),
        ("helm.releases.cert-manager.values.hosts[0].name=x", "a part of a list has no name here"),
        ("helm.releases.cert-manager.values.l={a,b}", "braces make a mapping here, not a list"),
        ("namespaces.0=a", "namespaces is a mapping"),
        (".".join("a" * 100) + "=1", "too long"),
        ("a\nb=1", "is not a setting"),
    ],
)
def test_faults_of_options(tmp_path: Path, option: str, reported: str) -> None:
    error = refused(tmp_path, option)
    assert error.what.startswith("--set: ")
    assert reported in str(error)


def test_all_faults_are_told_at_once_and_each_once(tmp_path: Path) -> None:
    project(tmp_path, "openframe:\n  cluster: {agents: x, servers: 0}\n", mine="registries: {port: 0}\n")
    error = refused(tmp_path, "silent=maybe", environ={"SILENT": "perhaps"}, profile="mine")
    assert error.what == "5 settings cannot be used"
    lines = error.why.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "invoke.yaml, line 2",
        "invoke.yaml, line 2",
        "config/mine.yaml, line 1",
        "the variable SILENT",
        "--set",
    ]


def test_of_very_many_faults_the_first_few_are_told(tmp_path: Path) -> None:
    error = refused(tmp_path, *(f"odd{number}=1" for number in range(30)))
    assert error.what == "30 settings cannot be used"
    assert error.why.splitlines()[-1] == "and 22 more"


@pytest.mark.parametrize(
    "text",
    [
        f"secrets: {{x: {{values: {{password: {TOKEN}}}}}}}",
        f"secrets: {{x: {{values: {{password: {{env: {TOKEN}}}}}}}}}",
        f"secrets: {{x: {{values: {{password: {{env: '{TOKEN} '}}}}}}}}",
        f"secrets: {{x: {{values: {{password: [{TOKEN}]}}}}}}",
        f"secrets: {{x: {{password: {TOKEN}}}}}",
        f"registries: {{caches: {{x.io: {{url: 'https://me:{TOKEN}@x.io'}}}}}}",
        f"registries: {{caches: {{x.io: {{password_env: {TOKEN}, username_env: A}}}}}}",
        f"helm: {{repositories: {{x: 'ftp://me:{TOKEN}@x.io'}}}}",
        f"cluster: {{env: {{TOKEN: {TOKEN}}}}}",
        f'cluster: {{env: ["A={TOKEN}\\n"]}}',
    ],
)
def test_what_may_be_a_secret_is_not_told(tmp_path: Path, text: str) -> None:
    assert TOKEN not in str(refused(project(tmp_path, mine=text), profile="mine"))
