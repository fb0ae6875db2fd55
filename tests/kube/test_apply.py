"""Server-side apply without a process: the path, the order, what is not taken and why."""

import json
import random
from typing import Any
from urllib.parse import parse_qs

import pytest
import yaml

from tasks.core import redact
from tasks.kube.apply import Refused, ordered, put, split, stream
from tasks.kube.client import ApiError, explained
from tasks.kube.objects import Resources
from tests.given_direct import DirectApi, refusal
from tests.given_live import obj

SERVED = {
    "/apis/networking.k8s.io/v1": {
        "resources": [
            {"name": "ingresses/status", "kind": "Ingress", "namespaced": True},
            {"name": "ingresses", "kind": "Ingress", "namespaced": True},
            {"name": "networkpolicies", "kind": "NetworkPolicy", "namespaced": True},
        ]
    },
    "/apis/example.com/v1beta1": {"resources": [{"name": "widgetry", "kind": "Widget", "namespaced": True}]},
    "/apis/example.com/v1": {"resources": [{"name": "halls", "kind": "Hall", "namespaced": False}]},
}
MAP = obj("ConfigMap", "m", "a", data={"k": "v"})
AT_MAP = "/api/v1/namespaces/a/configmaps/m"


def custom(api_version: str, kind: str, name: str, namespace: str | None = None) -> dict[str, Any]:
    metadata = {"name": name} if namespace is None else {"name": name, "namespace": namespace}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


def apply(api: DirectApi, thing: dict[str, Any]) -> None:
    put(api, Resources(api), thing, json.dumps(thing))


@pytest.mark.parametrize(
    ("thing", "place"),
    [
        (MAP, AT_MAP),
        (obj("ConfigMap", "m"), "/api/v1/namespaces/default/configmaps/m"),
        (obj("Namespace", "a"), "/api/v1/namespaces/a"),
        (obj("NetworkPolicy", "p", "a"), "/apis/networking.k8s.io/v1/namespaces/a/networkpolicies/p"),
        (obj("StorageClass", "fast"), "/apis/storage.k8s.io/v1/storageclasses/fast"),
        (obj("StorageClass", "fast", "a"), "/apis/storage.k8s.io/v1/storageclasses/fast"),
        (custom("networking.k8s.io/v1", "Ingress", "i", "a"), "/apis/networking.k8s.io/v1/namespaces/a/ingresses/i"),
        (custom("example.com/v1beta1", "Widget", "w", "a"), "/apis/example.com/v1beta1/namespaces/a/widgetry/w"),
        (custom("example.com/v1", "Hall", "h"), "/apis/example.com/v1/halls/h"),
    ],
)
def test_an_object_goes_where_its_kind_lives(thing: dict[str, Any], place: str) -> None:
    api = DirectApi(answers=SERVED)
    apply(api, thing)
    ((path, sent),) = api.patched
    where, _, query = path.partition("?")
    assert where == place
    assert sent == thing
    assert parse_qs(query) == {"fieldManager": ["openframe"], "force": ["true"], "fieldValidation": ["Strict"]}


# -- what the API says -------------------------------------------------------------------------------

# as Kubernetes 1.33 answers; the catalogue proves its own examples
INVALID = 'Deployment.apps "m" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0'
SCHEMA = (
    "failed to create typed patch object (a/m; apps/v1, Kind=Deployment): .spec.replica: field not declared in schema"
)
TWICE = (
    "failed to create typed patch object (a/m; apps/v1, Kind=Deployment): "
    '.spec.template.spec.containers[name="c"].env: duplicate entries for key [name="A"]'
)
ENDING = 'configmaps "m" is forbidden: unable to create new content in namespace a because it is being terminated'


JOB = 'Job.batch "once" is invalid: spec.template: Invalid value:'
CLAIM = 'PersistentVolumeClaim "v" is invalid: spec: Forbidden: spec is immutable after creation'


@pytest.mark.parametrize(
    ("said", "shown", "field"),
    [
        (
            f'{JOB} core.PodTemplateSpec{{Spec:core.PodSpec{{Command:[]string{{"echo }}"}}}}}}: field is immutable',
            f"{JOB} …: field is immutable",
            "spec.template of Job once",
        ),
        (
            f'{CLAIM}\n  core.PersistentVolumeClaimSpec{{\n- \ts"storage": {{i: resource.int64Amount{{1}}}},\n  }}\n',
            CLAIM,
            "spec of PersistentVolumeClaim v",
        ),
    ],
)
def test_values_of_thousands_of_characters_are_left_out(said: str, shown: str, field: str) -> None:
    api = DirectApi()
    api.refused[AT_MAP] = [refusal(422, said, "Invalid")]
    with pytest.raises(Refused) as caught:
        apply(api, MAP)
    assert caught.value.message == shown
    found = explained(caught.value, caught.value.text)
    assert found.why.startswith(f"{field} cannot be changed after creation: ")


@pytest.mark.parametrize(
    ("code", "reason", "output", "transient", "why"),
    [
        (422, "Invalid", INVALID, False, "Deployment m is not valid"),
        (500, "", SCHEMA, False, "there is no field .spec.replica"),
        (500, "", TWICE, False, 'a list has two entries with name="A"'),
        (403, "Forbidden", ENDING, True, "the namespace a is being deleted"),
        (503, "ServiceUnavailable", "apiserver not ready", True, "the API cannot answer at the moment"),
    ],
)
def test_a_rejected_object_is_named_and_why(code: int, reason: str, output: str, transient: bool, why: str) -> None:
    """Known causes match kubectl's messages, so its wording is used."""
    api = DirectApi()
    api.refused[AT_MAP] = [refusal(code, output, reason)]
    with pytest.raises(Refused) as caught:
        apply(api, MAP)
    error = caught.value
    assert error.what == str(error).splitlines()[0] == f"the API has rejected a/configmap/m: {output}"
    assert error.text == (f"Error from server ({reason}): {output}" if reason else f"Error from server: {output}")
    assert error.code == (422 if code == 500 else code), "a schema that does not fit is the object's fault"
    found = explained(error, error.text)
    assert found is error
    assert why in error.why
    assert error.fix
    assert error.transient is transient


@pytest.mark.parametrize(
    ("code", "transient"),
    [(400, False), (403, False), (404, False), (408, True), (409, True), (415, False), (422, False), (429, True)]
    + [(code, True) for code in (500, 502, 503, 504)],
)
def test_without_a_known_cause_the_status_tells_whether_it_can_pass(code: int, transient: bool) -> None:
    api = DirectApi()
    api.refused[AT_MAP] = [refusal(code, "something of its own", "Other")]
    with pytest.raises(Refused) as caught:
        apply(api, MAP)
    found = explained(caught.value, caught.value.text)
    assert (found.transient, found.why) == (transient, "")
    assert found.fix


@pytest.mark.parametrize(
    ("answer", "output"),
    [
        ((502, "<html>bad gateway</html>\n"), "<html>bad gateway</html>"),
        ((500, ""), "it gave no message"),
        ((500, "[]"), "[]"),
        ((500, '{"kind": "Status"}'), '{"kind": "Status"}'),
        ((204, ""), "it gave no message"),
        ((400, "x" * 1000), "x" * 300),
    ],
)
def test_an_answer_that_is_no_status_is_repeated_in_short(answer: tuple[int, str], output: str) -> None:
    api = DirectApi()
    api.refused[AT_MAP] = [answer]
    with pytest.raises(Refused) as caught:
        apply(api, MAP)
    assert caught.value.what == f"the API has rejected a/configmap/m: {output}"
    assert caught.value.text == f"Error from server: {output}"


def test_a_kind_that_is_not_served_yet_may_come() -> None:
    api = DirectApi()
    widget = custom("example.com/v1", "Widget", "w", "a")
    with pytest.raises(Refused) as caught:
        apply(api, widget)
    assert caught.value.transient
    assert 'no matches for kind "Widget" in version "example.com/v1"' in caught.value.text
    assert explained(caught.value, caught.value.text).why.startswith(
        "the API does not serve Widget of example.com/v1 yet"
    )
    assert caught.value.transient
    assert api.patched == []
    resources = Resources(api)
    with pytest.raises(Refused):
        put(api, resources, widget, json.dumps(widget))
    api.answers.update({"/apis/example.com/v1": {"resources": [{"name": "ws", "kind": "Widget", "namespaced": True}]}})
    put(api, resources, widget, json.dumps(widget))
    assert [path.partition("?")[0] for path, _ in api.patched] == ["/apis/example.com/v1/namespaces/a/ws/w"]


@pytest.mark.parametrize("where", ["discovery", "patch"])
def test_no_answer_is_told_as_it_is(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    silent = ApiError(0, "the API at 127.0.0.1:1 does not answer", "refused")
    api = DirectApi(answers={"/api/v1": silent} if where == "discovery" else {})

    def patch(_path: str, _body: str) -> tuple[int, str]:
        raise silent

    monkeypatch.setattr(api, "patch", patch)
    with pytest.raises(ApiError) as caught:
        apply(api, MAP)
    assert caught.value is silent
    assert caught.value.transient


def test_what_the_api_repeats_of_a_secret_is_masked() -> None:
    redact.conceal("canary-4711")
    thing = obj("Secret", "s", "a", stringData={"k": "canary-4711"})
    api = DirectApi()
    output = 'admission webhook "w" denied the request: canary-4711 is no password'
    api.refused["/api/v1/namespaces/a/secrets/s"] = [refusal(403, output, "Forbidden")]
    with pytest.raises(Refused) as caught:
        apply(api, thing)
    reported = explained(caught.value, caught.value.text)
    assert "canary-4711" not in f"{reported} {reported.text} {reported.args} {reported.__cause__}"
    assert "*** is no password" in reported.what


def thing(kind: str, name: str = "a", api_version: str = "v1", **more: Any) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, **more}


CRD = thing("CustomResourceDefinition", api_version="apiextensions.k8s.io/v1")


def test_what_others_need_comes_first_and_webhooks_last() -> None:
    kinds = [
        "Namespace",
        "CustomResourceDefinition",
        "ResourceQuota",
        "ServiceAccount",
        "ClusterRoleBinding",
        "Secret",
        "ConfigMap",
        "Service",
        "Deployment",
        "Certificate",
        "ValidatingWebhookConfiguration",
    ]
    shuffled = [thing(kind) for kind in kinds]
    random.Random(1).shuffle(shuffled)
    assert [each["kind"] for each in ordered(shuffled)] == kinds


def test_crds_are_split_off() -> None:
    own = thing("CustomResourceDefinition", "not-a-crd", "example.com/v1")
    crds, rest = split([thing("Pod"), CRD, own, thing("Namespace")])
    assert crds == [CRD]
    assert [each["kind"] for each in rest] == ["Namespace", "CustomResourceDefinition", "Pod"]
    assert split([]) == ([], [])


ODD = [
    "a: b",
    "---\nkind: Secret",
    'say "x" \\ \t\r\n end',
    "\x00\x1f\x7f\x85\x9f",
    "\u2028\u2029\ufeff",
    "😀 ä 漢",
    "${IP} $(x) {{ y }}",
    "- yes",
    "null",
    "012",
    " ",
]


@pytest.mark.parametrize("text", ODD)
def test_yaml_and_json_readers_see_the_same_values(text: str) -> None:
    given = [thing("ConfigMap", str(n), data={text: text, "n": 1, "t": True, "z": None}) for n in range(3)]
    written = stream(given)
    assert list(yaml.safe_load_all(written)) == given
    assert list(yaml.load_all(written, Loader=yaml.CSafeLoader)) == given
    lines = written.split("\n")
    assert lines[0::2] == ["---", "---", "---", ""]
    assert [json.loads(line) for line in lines[1::2]] == given


def test_what_json_cannot_hold_is_a_bug_and_not_sent() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        stream([thing("ConfigMap", data={"a": float("nan")})])
