"""The screen of what would change."""

from typing import Any

import pytest

from tasks.kube.changes import CHANGE, CREATE, DELETE, Change, FieldChange
from tasks.run.difference import Changes, ReleaseChange
from tasks.view.changes import document, text
from tasks.view.console import cells

FIELDS = (
    FieldChange(path="spec.replicas", before="3", after="1"),
    FieldChange(path="data.token", before=None, after=None, secret=True),
    FieldChange(path="data.conf", before="one\ntwo\n", after="one\nthree\n"),
)
FOUND = Changes(
    cluster="dev",
    presence="running",
    settings=("cluster.args: kubelet max-pods: none → 120",),
    steps=(("registry: push", "it is missing"),),
    objects=(
        Change(what="a/deployment/web", action=CHANGE, fields=FIELDS),
        Change(what="a/configmap/c", action=CREATE),
    ),
    releases=(
        ReleaseChange(
            release="db in a", action=CHANGE, why="its values", objects=(Change(what="a/service/db", action=DELETE),)
        ),
        ReleaseChange(release="mq in a", action=CREATE, why="shop/mq 1", fault="no chart"),
    ),
)


def shown(found: Changes, **more: Any) -> str:
    return "\n".join(each.text for each in text(found, **more))


def test_everything_is_named_and_counted() -> None:
    assert shown(FOUND).split("\n") == [
        "~ cluster dev",
        "  ~ cluster.args: kubelet max-pods: none → 120",
        "  ~ registry: push: it is missing",
        "",
        "objects",
        "  ~ a/deployment/web",
        "      spec.replicas: 3 → 1",
        "      data.token: changed (its value is not shown)",
        "      data.conf:",
        "          one",
        "        - two",
        "        + three",
        "  + a/configmap/c",
        "",
        "~ release db in a: its values",
        "    - a/service/db",
        "",
        "+ release mq in a: shop/mq 1",
        "    what would change is unknown: no chart",
        "",
        "differences: 1 cluster setting; objects: 1 to create, 1 to change, 1 to delete; 2 releases; 1 other step",
    ]


@pytest.mark.parametrize("width", [24, 80, 160])
def test_no_line_is_wider_than_the_screen(width: int) -> None:
    long = Change(
        what="n/configmap/c", action=CHANGE, fields=(FieldChange(path="data.a", before="x" * 300, after="y y " * 80),)
    )
    lines = text(Changes(cluster="dev", presence="running", objects=(long,), releases=FOUND.releases), width=width)
    assert max(cells(each.text) for each in lines) <= width


def test_nothing_differs() -> None:
    none = Changes(cluster="dev", presence="running")
    assert (none.any, shown(none)) == (False, "✓ no differences: everything is as configured")
    for presence, todo in (("stopped", "start"), ("paused", "resume")):
        found = Changes(cluster="dev", presence=presence)
        assert found.any
        assert shown(found).startswith(f"~ cluster dev: {presence}; its differences are visible only when it runs")
        assert f"differences: cluster to {todo}" in shown(found)
    again = shown(Changes(cluster="dev", presence="recreated", settings=("cluster.servers: 1 → 3",)))
    assert again.startswith("-/+ cluster dev: it would be removed")
    assert again.endswith("differences: cluster to recreate; 1 cluster setting")


def test_as_data_secrets_are_null() -> None:
    fields = document(FOUND)["objects"][0]["fields"]
    assert fields[0] == {"path": "spec.replicas", "before": "3", "after": "1", "secret": False}
    assert fields[1] == {"path": "data.token", "before": None, "after": None, "secret": True}
