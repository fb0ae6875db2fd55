"""The nodes' registries.yaml: what the template says first, what is generated after it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.core.errors import BadInput
from tasks.core.redact import redact
from tasks.k3d.registries_yaml import TEMPLATE, registries_yaml

ROOT = Path(__file__).parents[2]
CACHES = {"docker.io": ["http://cache-docker:5000"], "ghcr.io": ["http://cache-ghcr:5000"]}


def rendered(tmp_path: Path, template: str, mirrors: dict[str, list[str]] | None = None, **more: Any) -> Any:
    path = tmp_path / "registries.yaml"
    path.write_text(template)
    return yaml.safe_load(registries_yaml(path, mirrors or {}, **more))


def endpoints(found: Any) -> dict[str, list[str]]:
    return {name: mirror["endpoint"] for name, mirror in found["mirrors"].items()}


def test_the_template_of_the_project_adds_nothing() -> None:
    text = registries_yaml(ROOT / TEMPLATE, CACHES)
    assert endpoints(yaml.safe_load(text)) == CACHES
    assert text == registries_yaml(ROOT / TEMPLATE, dict(reversed(CACHES.items())))
    assert text.endswith("\n")  # k3d takes text without a line's end for the name of a file
    assert "$" not in text


def test_the_example_in_the_template_is_one_that_is_accepted(tmp_path: Path) -> None:
    comment = [line.removeprefix("#") for line in (ROOT / TEMPLATE).read_text().splitlines()]
    example = "\n".join(line for line in comment if line.startswith("   "))
    found = rendered(tmp_path, example, CACHES)
    assert endpoints(found) == {**CACHES, "registry.example.com": ["https://registry.example.com"]}
    assert found["configs"] == {"registry.example.com": {"tls": {"ca_file": "/etc/ssl/certs/example.pem"}}}


@pytest.mark.parametrize(
    ("template", "docker"),
    [
        ("mirrors: {docker.io: {endpoint: [http://own]}}", ["http://own", "http://cache-docker:5000"]),
        ("mirrors: {docker.io: {endpoint: [http://b, http://a]}}", ["http://b", "http://a", "http://cache-docker:5000"]),
        ("mirrors: {docker.io: {endpoint: ['http://cache-docker:5000', http://z]}}", ["http://cache-docker:5000", "http://z"]),
        ("mirrors: {docker.io: {endpoint: null}}", ["http://cache-docker:5000"]),
        ("mirrors: {docker.io: }", ["http://cache-docker:5000"]),
        ("mirrors: null", ["http://cache-docker:5000"]),
        ("", ["http://cache-docker:5000"]),
        ("# nothing\n---\n", ["http://cache-docker:5000"]),
    ],
)  # fmt: skip
def test_endpoints_of_the_template_come_first_and_each_once(tmp_path: Path, template: str, docker: list[str]) -> None:
    assert endpoints(rendered(tmp_path, template, CACHES)) == {**CACHES, "docker.io": docker}


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    template = (
        "mirrors:\n  docker.io: {rewrite: {'^library/(.*)': 'proxy/$1'}}\n  '*': \n  quay.io: {endpoint: []}\n"
        "configs:\n  r.test:5000: {tls: {insecure_skip_verify: true}}\n  other: \n"
    )
    found = rendered(tmp_path, template, CACHES)
    assert found["mirrors"]["docker.io"] == {
        "endpoint": CACHES["docker.io"],
        "rewrite": {"^library/(.*)": "proxy/$1"},
    }
    assert found["mirrors"]["*"] == found["mirrors"]["quay.io"] == {}
    assert found["configs"] == {"r.test:5000": {"tls": {"insecure_skip_verify": True}}, "other": {}}


def test_the_push_registry_by_the_names_that_images_have(tmp_path: Path) -> None:
    inside = ["http://k3d-r:5000"]
    assert endpoints(rendered(tmp_path, "", push="k3d-r")) == {"k3d-r:5000": inside}
    assert endpoints(rendered(tmp_path, "", push="k3d-r", port=5050)) == {
        "k3d-r:5000": inside,
        "k3d-r:5050": inside,
        "localhost:5050": inside,
        "127.0.0.1:5050": inside,
    }
    assert list(rendered(tmp_path, "", push="k3d-r", port=5000)["mirrors"]) == [
        "127.0.0.1:5000",
        "k3d-r:5000",
        "localhost:5000",
    ]
    assert rendered(tmp_path, "", port=5050) == {}


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("- a", "one document, a mapping"),
        ("mirrors: {}\n---\nconfigs: {}", "one document"),
        ("mirrors: [docker.io]", "mirrors must be a mapping"),
        ("mirrors: {docker.io: http://x}", "mirrors must be a mapping of mappings"),
        ("configs: {r: [x]}", "configs must be a mapping of mappings"),
        ("mirror: {}", "k3s knows no mirror; it knows auths and configs and mirrors"),
        ("mirrors: {docker.io: {endpoints: [x]}}", "k3s knows no mirrors.docker.io.endpoints; it knows endpoint and"),
        ("mirrors: {docker.io: {endpoint: http://x}}", "mirrors.docker.io.endpoint must be a list"),
        ("mirrors: {docker.io: {endpoint: [{a: b}]}}", "mirrors.docker.io.endpoint must be a list"),
        ("mirrors: {docker.io: {endpoint: ['']}}", "mirrors.docker.io.endpoint must be a list"),
        ("mirrors: {docker.io: {rewrite: [a]}}", "mirrors.docker.io.rewrite must be a mapping"),
        ("mirrors: {docker.io: {rewrite: {a: 1}}}", "mirrors.docker.io.rewrite must be a mapping"),
    ],
)
def test_a_template_that_k3s_would_refuse_or_pass_over_is_told(tmp_path: Path, template: str, why: str) -> None:
    with pytest.raises(BadInput, match=r"registries\.yaml is not a valid registries\.yaml") as error:
        rendered(tmp_path, template, CACHES)
    assert why in error.value.why
    assert "example" in error.value.fix


def test_a_template_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="document 1: line 2"):
        rendered(tmp_path, "mirrors: {}\nmirrors: {}")
    with pytest.raises(BadInput, match="cannot read") as error:
        registries_yaml(tmp_path / "nowhere.yaml", {})
    assert "template" in error.value.why


def test_a_login_that_stands_there_is_masked(tmp_path: Path) -> None:
    template = (
        "configs: {r: {auth: {username: me, password: canary-1}}, s: {auth: {identity_token: canary-2}}, t: {auth: }}\n"
        "auths: {u: {auth: canary-3, password: 12345678}}\n"
    )
    found = rendered(tmp_path, template)
    assert found["configs"]["r"] == {"auth": {"username": "me", "password": "canary-1"}}
    assert redact("me canary-1 canary-2 canary-3 12345678") == "me *** *** *** ***"
