"""Objects in a cluster that is not this project's: nothing that is there is taken over."""

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.kube.apply import Refused
from tasks.kube.client import Api, ApiError
from tasks.kube.kubectl_transport import KubectlApi
from tasks.kube.objects import Resources, key
from tasks.kube.ownership import Foreign, created_by
from tasks.run.foreign_objects import create_or_update, delete
from tests import given
from tests.given_direct import DirectApi, refusal
from tests.given_live import Object, created, obj
from tests.programs import Answer, Call, FakePrograms

MAP = obj("ConfigMap", "m", "one", data={"a": "1"})
PLACE = "/api/v1/namespaces/one/configmaps/m"
BARE = obj("ConfigMap", "m", "one", data={"theirs": "2"})
THEIRS = obj("ConfigMap", "m", "one", metadata={"uid": "x", "managedFields": [{"manager": "kubectl"}]})


def put(folder: Path, api: Api, expected: Object = MAP, **changes: Any) -> str:
    return create_or_update(given.facts(folder, engine="existing", **changes), api, Resources(api), expected)


def test_what_is_not_there_is_created_with_the_proof(tmp_path: Path) -> None:
    api = DirectApi()
    assert put(tmp_path, api) == "created"
    ((method, path, _body),) = api.sent
    assert (method, path.partition("?")[0]) == ("POST", "/api/v1/namespaces/one/configmaps")
    assert created_by(api.objects[key(MAP)]) == "me.dev"


@pytest.mark.parametrize("there", [THEIRS, BARE, created(MAP, "bob.dev")])
def test_what_this_environment_did_not_create_is_refused_and_not_touched(tmp_path: Path, there: Object) -> None:
    api = DirectApi(there)
    with pytest.raises(Foreign, match="configmap/m is in the cluster"):
        put(tmp_path, api)
    assert (api.sent, api.patched, api.objects[key(MAP)]) == ([], [], there)


def test_one_that_somebody_makes_at_the_same_moment_is_refused(tmp_path: Path) -> None:
    api = DirectApi(THEIRS)
    api.answers[PLACE] = (404, "not found")
    api.changes[PLACE, 2] = api.answers.clear
    with pytest.raises(Foreign, match="configmap/m"):
        put(tmp_path, api)
    assert [method for method, _, _ in api.sent] == ["POST"]
    assert api.objects[key(MAP)] == THEIRS


def test_one_of_ours_is_updated_by_its_uid_and_gives_up_what_is_no_longer_configured(tmp_path: Path) -> None:
    api = DirectApi()
    put(tmp_path, api)
    assert put(tmp_path, api, {**MAP, "data": {"b": "2"}}) == "applied"
    ((_path, sent),) = api.patched
    assert sent["metadata"]["uid"] == "uid of ConfigMap m"
    assert [method for method, _, _ in api.sent] == ["POST", "PUT"], "its fields are given to apply first, once"
    assert created_by(api.objects[key(MAP)]) == "me.dev"
    put(tmp_path, api, {**MAP, "data": {"c": "3"}})
    assert [method for method, _, _ in api.sent] == ["POST", "PUT"]


def test_a_refusal_of_the_api_is_told(tmp_path: Path) -> None:
    api = DirectApi()
    api.refused["/api/v1/namespaces/one/configmaps"] = [refusal(403, "exceeded quota", "Forbidden")]
    with pytest.raises(Refused, match="exceeded quota"):
        put(tmp_path, api)


def test_a_kind_that_is_not_served_yet_may_be_later(tmp_path: Path) -> None:
    with pytest.raises(ApiError) as caught:
        put(tmp_path, DirectApi(), {"apiVersion": "no.example/v1", "kind": "No", "metadata": {"name": "n"}})
    assert caught.value.transient


def kubectl(there: Object | None, *, second: Object | None = None) -> FakePrograms:
    kinds = json.dumps({"resources": [{"name": "configmaps", "kind": "ConfigMap", "namespaced": True}]})
    missing = Answer(code=1, err='Error from server (NotFound): configmaps "m" not found\n')
    answers = [missing if each is None else Answer(out=json.dumps(each)) for each in (there, second or there)]
    exists = Answer(code=1, err='Error from server (AlreadyExists): configmaps "m" already exists\n')

    def answer(call: Call) -> Answer:
        line = call.line
        if " get --raw /api/v1/namespaces" in line:
            return answers.pop(0)
        if " get --raw" in line:
            return Answer(out=kinds)
        return exists if " create " in line and second is not None else Answer(out="{}")

    return FakePrograms(answers={"": answer})


def through(folder: Path, programs: FakePrograms) -> tuple[str, list[str]]:
    api = KubectlApi(programs, folder / "kubeconfig")
    how = put(folder, api, programs=programs)
    return how, [" ".join(line.split()[3:5]) for line in programs.lines if " get --raw" not in line]


def test_through_kubectl_it_is_the_same(tmp_path: Path) -> None:
    assert through(tmp_path, kubectl(None)) == ("created", ["create --raw"])
    assert through(tmp_path, kubectl(created(MAP))) == ("applied", ["replace --raw", "apply --server-side"])
    with pytest.raises(Foreign):
        through(tmp_path, kubectl(THEIRS))
    programs = kubectl(None, second=THEIRS)
    with pytest.raises(Foreign):
        through(tmp_path, programs)


def test_the_object_that_was_looked_at_is_deleted_and_no_later_one(tmp_path: Path) -> None:
    api = DirectApi(created(MAP))
    resources = Resources(api)
    assert not delete(api, resources, key(MAP), "another")
    assert key(MAP) in api.objects
    assert delete(api, resources, key(MAP), "uid of ConfigMap m")
    assert key(MAP) not in api.objects
    assert delete(api, resources, key(MAP), "uid of ConfigMap m"), "it is gone"
    assert {body["propagationPolicy"] for _, _, body in api.sent} == {"Background"}
    api.refused[PLACE] = [refusal(403, "no", "Forbidden")]
    with pytest.raises(Refused):
        delete(api, resources, key(MAP), "x")
