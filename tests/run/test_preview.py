"""What applying objects and installing releases would make of those that are there."""

import base64
import json
from pathlib import Path
from typing import Any

from tasks.kube.concealing import conceal_values
from tasks.kube.objects import key
from tasks.run.charts import chart_of
from tasks.run.preview import Comparison, _without
from tests import given
from tests.given_direct import DirectApi, refusal
from tests.given_live import eager, holding, manifest, obj, reached, release
from tests.programs import FakePrograms
from tests.test_helm import configured, live, of


def secret(name: str, value: str) -> dict[str, Any]:
    return obj("Secret", name, "a", data={"value": base64.b64encode(value.encode()).decode()})


def test_a_secret_is_known_again_in_what_is_no_secret(tmp_path: Path) -> None:
    before = [secret("s", "the-Old-one-1"), obj("ConfigMap", "c", "a", data={"url": "x the-Old-one-1", "size": "1"})]
    after = [secret("s", "a-New-one-22"), obj("ConfigMap", "c", "a", data={"url": "x a-New-one-22", "size": "2"})]
    facts = given.facts(tmp_path, live=holding(before))
    api = reached(facts, DirectApi(*before))
    changes = [each.change() for each in Comparison(facts).objects(after)]
    reported = {
        field.path: (field.before, field.after) for each in changes if each is not None for field in each.fields
    }
    assert reported == {"data.value": (None, None), "data.url": (None, None), "data.size": ("1", "2")}
    assert api.objects[key(after[1])] == before[1], "nothing is changed"


def test_what_the_api_would_refuse_is_told_with_its_words(tmp_path: Path) -> None:
    rows = [{"name": "x", "default": 1, "size": "1"}, {"port": 80, "protocol": "TCP"}]
    before = obj("ConfigMap", "c", "a", rows=rows, immutable=True)
    facts = given.facts(tmp_path, live=holding([before]))
    api = reached(facts, DirectApi(before))
    api.refused["/api/v1/namespaces/a/configmaps/c"] = [refusal(422, "field is immutable", "Invalid")]
    (preview,) = Comparison(facts).objects(
        [obj("ConfigMap", "c", "a", rows=[{"name": "x", "size": "2"}, {"port": 80}])]
    )
    change = preview.change()
    assert change is not None
    assert change.note == "the API rejects it: field is immutable"
    assert len(change.fields) == 1, "what the server has added stays"
    assert [(each.before, each.after) for each in change.fields] == [("1", "2")]


def test_objects_of_a_release_that_would_come_change_and_go(tmp_path: Path) -> None:
    settings = configured({"values": {"password": "hidden-in-values"}})
    same, old, missing = (obj("ConfigMap", name, "web", data={"n": "1"}) for name in ("same", "old", "gone"))
    remaining = obj("ConfigMap", "kept", "web")
    remaining["metadata"]["annotations"] = {"helm.sh/resource-policy": "keep"}
    marks = {"meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": "web"}
    for each in (same, old, missing, remaining):
        each["metadata"] |= {
            "labels": {"app.kubernetes.io/managed-by": "Helm"},
            "annotations": {**each["metadata"].get("annotations", {}), **marks},
        }
    expected = [same, {**old, "data": {"n": "2"}}, obj("ConfigMap", "new", data={"x": "hidden-in-values"})]
    rendered = json.dumps({"manifest": manifest(*expected)})
    programs = FakePrograms(answers={"helm upgrade": rendered})
    installed = release("before", objects=(same, old, missing, remaining), server_side=True)
    facts = of(tmp_path, settings, programs, live=live(installed))
    reached(facts, DirectApi(same, old, missing, remaining))
    (only,) = facts.releases
    previews = Comparison(facts).release(only, installed, chart_of(facts, only), eager())
    changes = {change.what: change.action for each in previews if (change := each.change()) is not None}
    assert changes == {"web/configmap/old": "change", "web/configmap/new": "create", "web/configmap/gone": "delete"}
    assert [each.line.count("--dry-run=server") for each in programs.calls] == [1]


def test_values_that_are_secret_by_name_are_concealed() -> None:
    from tasks.core.redact import redact

    conceal_values({"db": [{"adminPassword": "abcdefgh"}], "name": "visible"})
    assert redact("abcdefgh visible") == "*** visible"


def test_helm_by_the_client_takes_away_what_its_last_revision_had() -> None:
    before = {"a": 1, "rows": [{"name": "x", "v": 1, "w": 1}, {"name": "y"}]}
    desired = {"rows": [{"name": "x", "v": 1}]}
    after = {"a": 1, "server": 1, "rows": [{"name": "x", "v": 1, "w": 1}, {"name": "y"}, {"name": "sidecar"}]}
    assert _without(after, before, desired) == {"server": 1, "rows": [{"name": "x", "v": 1}, {"name": "sidecar"}]}
