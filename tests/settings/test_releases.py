"""The releases that are wanted, in an order that their needs allow."""

from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import BadInput
from tasks.settings.rules import releases
from tasks.settings.schema import Release, Settings
from tests.settings.project import project, refused, resolved


def release(name: str, *needs: str, namespace: str = "n", **more: Any) -> dict[str, Any]:
    return {"name": name, "namespace": namespace, "chart": "./c", "needs": needs, **more}


def order(*given: dict[str, Any], **settings: Any) -> list[str]:
    result = Settings.model_validate({"helm": {"releases": given}, **settings})
    return [f"{each.namespace}/{each.name}" for each in releases(result)]


def test_each_comes_after_what_it_needs_and_else_as_configured() -> None:
    found = order(release("d", "b", "c"), release("b", "a"), release("z"), release("a"), release("c", "a"))
    assert found.index("n/a") < found.index("n/b") < found.index("n/d")
    assert found.index("n/c") < found.index("n/d")
    assert found[:2] == ["n/z", "n/a"]
    assert order(*(release(name) for name in "zyx")) == ["n/z", "n/y", "n/x"]


def test_what_is_not_enabled_is_left_out() -> None:
    assert order(release("a", enabled=False), release("b")) == ["n/b"]
    assert order() == []


def test_needs_are_told_by_the_name_alone_where_it_is_enough() -> None:
    given = [release("a"), release("b", namespace="m"), release("b"), release("c", "n/a", "m/b", "a")]
    result = releases(Settings.model_validate({"helm": {"releases": given}}))
    assert result[-1].needs == ("a", "m/b")


@pytest.mark.parametrize(
    ("given", "reported"),
    [
        ([release("a", "b"), release("b", "c"), release("c", "a")], "ring: a → b → c → a"),
        ([release("a", "bb"), release("bbb")], "did you mean bbb?"),
        ([release("a", "b"), release("b", enabled=False)], "that release is not enabled"),
        ([release("a", "b"), release("b", namespace="m"), release("b")], "write m/b or n/b"),
        ([release("a", "step:own")], "steps.own.before"),
        ([release("a"), release("a")], "goes to namespace 'n'"),
    ],
)
def test_needs_that_cannot_be_met(tmp_path: Path, given: list[dict[str, Any]], reported: str) -> None:
    with pytest.raises(BadInput) as caught:
        order(*given, steps=[{"name": "own", "command": ["x"]}])
    message = str(caught.value)
    if "ring" in reported:  # where it begins does not matter
        assert "→" in message
        assert {"a", "b", "c"} <= set(message.replace(",", "").split())
    else:
        assert reported in message
    import json

    assert refused(tmp_path, f"helm.releases={json.dumps(given)}").what.startswith(("--set", "2 settings"))


@pytest.mark.parametrize(
    ("needs", "reported"),
    [
        ("cert-manger", "did you mean cert-manager?"),
        ("off", "that release is not enabled"),
        ("two", "write m/two or n/two"),
    ],
)
def test_impossible_needs_of_manifests_are_found_before_a_start(tmp_path: Path, needs: str, reported: str) -> None:
    given = [release("cert-manager"), release("off", enabled=False), release("two", namespace="m"), release("two")]
    settings = {"helm": {"releases": given}, "manifests": {"files": ["a.yaml", {"path": "b.yaml", "needs": needs}]}}
    with pytest.raises(BadInput, match=r"manifests\.files\.1\.needs") as caught:
        releases(Settings.model_validate(settings))
    assert reported in str(caught.value)
    project(tmp_path, mine=f"manifests:\n  files:\n  - a.yaml\n  - path: b.yaml\n    needs: [{needs}]\n")
    if needs == "cert-manger":
        with pytest.raises(BadInput, match=r"line 5: manifests\.files\.b\\\.yaml\.needs names 'cert-manger'"):
            resolved(tmp_path, profile="mine")


def test_one_name_in_two_namespaces_is_two_releases() -> None:
    assert order(release("a"), release("a", namespace="m")) == ["n/a", "m/a"]


def test_the_ingress_controller_is_a_release() -> None:
    found = releases(Settings.model_validate({"ingress": {"controller": "ingress-nginx"}}))
    added = found[-1]
    assert (added.namespace, added.name, added.chart) == (
        "ingress-nginx",
        "ingress-nginx",
        "ingress-nginx/ingress-nginx",
    )
    assert added.version is not None
    needing = order(release("a", "ingress-nginx"), ingress={"controller": "ingress-nginx"})
    assert needing == ["ingress-nginx/ingress-nginx", "n/a"]
    assert order(ingress={"controller": "none"}) == order(ingress={"controller": "traefik"}) == []


@pytest.mark.parametrize(
    "chart", ["ingress-nginx/ingress-nginx", "./charts/ingress-nginx/", "oci://x.io/ingress-nginx"]
)
def test_a_configured_release_of_its_chart_is_taken_instead(chart: str) -> None:
    own = {"name": "mine", "namespace": "n", "chart": chart}
    assert order(own, ingress={"controller": "ingress-nginx"}) == ["n/mine"]
    assert order({**own, "enabled": False}, ingress={"controller": "ingress-nginx"}) == []


def test_what_stands_in_the_way_of_the_ingress_controller(tmp_path: Path) -> None:
    desired = "ingress.controller=ingress-nginx"
    error = refused(tmp_path, desired, "helm.repositories.ingress-nginx=null")
    assert error.what == "--set: ingress.controller is 'ingress-nginx'"
    assert "helm.repositories.ingress-nginx" in error.fix
    other = "helm.releases.ingress-nginx={namespace: ingress-nginx, chart: ./other}"
    assert "another chart" in refused(tmp_path, desired, other).why


def test_releases_are_the_trees_own() -> None:
    settings = Settings()
    assert releases(settings) == settings.helm.releases
    assert isinstance(releases(settings)[0], Release)
