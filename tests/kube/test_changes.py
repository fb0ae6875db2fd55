"""What differs of an object, by field; and that no secret is in it."""

from typing import Any

import pytest

from tasks.core.redact import conceal
from tasks.kube.changes import FieldChange, field_changes


def config(**data: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data}


def pod(*containers: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": list(containers)}}


def changes_of(before: Any, after: Any) -> dict[str, tuple[str | None, str | None]]:
    return {each.path: (each.before, each.after) for each in field_changes(before, after)}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (config(a="1"), config(a="1"), {}),
        (
            config(a="1", b="x"),
            config(a="2", c="y"),
            {"data.a": ("1", "2"), "data.b": ("x", None), "data.c": (None, "y")},
        ),
        (
            pod({"name": "b", "image": "b:1"}, {"name": "a", "image": "a:1"}),
            pod({"name": "a", "image": "a:2"}, {"name": "b", "image": "b:1"}),
            {"spec.containers[a].image": ("a:1", "a:2")},
        ),
        (
            pod({"name": "a", "ports": [{"containerPort": 80, "protocol": "TCP"}]}),
            pod({"name": "a", "ports": [{"containerPort": 80, "protocol": "TCP", "hostPort": 81}]}),
            {"spec.containers[a].ports[80/TCP].hostPort": (None, "81")},
        ),
        (
            pod({"name": "a", "args": ["-v"]}),
            pod({"name": "a", "args": ["-v", "-x"]}),
            {"spec.containers[a].args": ('["-v"]', '["-v", "-x"]')},
        ),
        (
            pod({"name": "a"}),
            pod({"name": "a", "resources": {"limits": {"cpu": "1"}}}),
            {"spec.containers[a].resources.limits.cpu": (None, "1")},
        ),
    ],
)
def test_fields_are_told_apart_by_name(before: Any, after: Any, expected: dict[str, Any]) -> None:
    assert changes_of(before, after) == expected


def test_what_the_server_writes_is_no_difference() -> None:
    after = config(a="1")
    after["metadata"] |= {
        "resourceVersion": "7",
        "managedFields": [{}],
        "annotations": {"openframe.dev/fingerprint": "x"},
    }
    assert changes_of(config(a="1"), after) == {}


SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({**SECRET, "data": {"a": "b25l"}}, {**SECRET, "data": {"a": "dHdv"}}),
        (config(db_password="one"), config(db_password="two")),
        (config(**{"app.conf": "x=1\npassword: one\n"}), config(**{"app.conf": "x=1\npassword: two\n"})),
        (config(url="http://me:onetwothree@h/"), config(url="http://me:threetwoone@h/")),
        (config(a="the-old-one"), config(a="known-to-be-secret")),  # so the one before was, too
        (
            pod({"name": "a", "env": [{"name": "API_TOKEN", "value": "one"}]}),
            pod({"name": "a", "env": [{"name": "API_TOKEN", "value": "two"}]}),
        ),
        (pod({"name": "a", "args": ["--password=one"]}), pod({"name": "a", "args": ["--password=two"]})),
    ],
)
def test_a_secret_is_only_said_to_have_changed(monkeypatch: pytest.MonkeyPatch, before: Any, after: Any) -> None:
    monkeypatch.setattr("tasks.core.redact._values", ())
    conceal("known-to-be-secret")
    (found,) = field_changes(before, after)
    assert found == FieldChange(path=found.path, before=None, after=None, secret=True)


@pytest.mark.parametrize("name", ["secretName", "tokenTTL", "automountServiceAccountToken", "keys", "secretKeyRef"])
def test_what_only_names_a_secret_is_shown(name: str) -> None:
    assert changes_of(config(**{name: "one"}), config(**{name: "two"})) == {f"data.{name}": ("one", "two")}
