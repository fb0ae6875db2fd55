"""Nothing in the tree can be changed, and everything that reads it still can."""

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from tasks.settings.schema import Settings
from tasks.settings.types import frozen, thawed

VALUES = {"a": [1, {"b": [2]}], "c": {"d": 3}}


def settings() -> Settings:
    release = {"name": "a", "namespace": "a", "chart": "./a", "values": VALUES}
    return Settings.model_validate({"helm": {"releases": [release]}, "cluster": {"kubelet_config": VALUES}})


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.cluster.server_labels.update(a="b"),
        lambda s: s.cluster.server_labels.pop("role"),
        lambda s: s.cluster.server_labels.__setitem__("role", "x"),
        lambda s: s.cluster.kubelet_config["c"].clear(),
        lambda s: s.helm.repositories.__delitem__("grafana"),
        lambda s: s.helm.repositories.__ior__({"a": "b"}),
        lambda s: s.helm.repositories.setdefault("a", "b"),
        lambda s: s.helm.repositories.popitem(),
        lambda s: s.helm.releases[0].values["a"].append(2),
        lambda s: s.helm.releases[0].values["a"][1]["b"].sort(),
        lambda s: s.helm.releases[0].values["a"].__setitem__(0, 2),
        lambda s: s.helm.releases[0].values["a"].__iadd__([2]),
        lambda s: s.secrets[0].values.clear(),
    ],
)
def test_mappings_and_lists_refuse_to_be_changed(change: Callable[[Settings], object]) -> None:
    result = settings()
    before = result.model_dump()
    with pytest.raises(TypeError, match="settings are immutable"):
        change(result)
    assert result.model_dump() == before


def test_fields_refuse_to_be_changed() -> None:
    with pytest.raises(ValidationError):
        setattr(settings().cluster, "name", "other")  # noqa: B010 - written plainly, mypy refuses it too


def test_they_are_read_like_any_others() -> None:
    values = settings().helm.releases[0].values
    assert values == VALUES
    assert json.loads(json.dumps(values)) == VALUES
    assert isinstance(values["a"], list)
    assert {**values, "e": 1}["e"] == (values | {"e": 1})["e"] == 1
    assert settings().model_dump()["helm"]["releases"][0]["values"] == VALUES


@pytest.mark.parametrize("make", [thawed, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_copies_can_be_changed(make: Callable[[Any], Any]) -> None:
    given = frozen(VALUES)
    result = make(given)
    result["a"][1]["b"].append(9)
    result["c"]["x"] = 1
    assert given == VALUES
    assert type(result) is dict
    assert type(result["a"]) is list
