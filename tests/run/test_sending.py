"""Objects that the API cannot take yet: sent again until it can, while something may still bring what they need."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.engine.scheduler import Run
from tasks.engine.step import Bounds, Context, Report, Result, State, Step
from tasks.kube.client import ApiError, Busy, NoAnswer
from tasks.kube.objects import finish
from tasks.run.apply import apply_step
from tasks.run.sending import NotYet, TooSlow
from tasks.settings.derived import SYSTEM_READY
from tests import given
from tests.given_direct import DirectApi, refusal
from tests.given_live import FakeApi, Object, obj, reached
from tests.programs import Answer, Call, FakePrograms

MAP, LATER = (finish(obj("ConfigMap", name, "a", data={"k": "v"})) for name in ("map", "later"))
AT_MAP = "/api/v1/namespaces/a/configmaps/map"
WIDGETS = {"resources": [{"name": "widgets", "kind": "Widget", "namespaced": True}]}
GROUP = "/apis/example.com/v1"


def widget(name: str = "w", version: str = "example.com/v1", kind: str = "Widget") -> Object:
    return finish({"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "a"}})


def webhook(output: str) -> tuple[int, str]:
    """How the API says that it could not query one (Kubernetes 1.33)."""
    text = 'failed calling webhook "w.example.com": failed to call webhook: Post "https://w.a.svc:443/?timeout=10s"'
    return refusal(500, f"Internal error occurred: {text}: {output}", "InternalError")


NOT_UP = [
    webhook("dial tcp 10.43.0.9:443: connect: connection refused"),
    webhook('no endpoints available for service "w"'),
    webhook("tls: failed to verify certificate: x509: certificate signed by unknown authority"),
    webhook("context deadline exceeded"),
    refusal(500, 'Internal error occurred: failed calling webhook "w": failed to call webhook: 404 page not found', ""),
    refusal(500, 'failed calling webhook "w": failed to call webhook: the server is currently unable to handle it', ""),
    refusal(500, "conversion webhook for example.com/v1, Kind=Widget failed: Post: connect: connection refused", ""),
    refusal(404, 'namespaces "a" not found', "NotFound"),
]
ENDING = 'configmaps "map" is forbidden: unable to create new content in namespace a because it is being terminated'


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.run.sending._PAUSES", (0.01, 0.02))
    monkeypatch.setattr("tasks.run.sending._LOOKS", (0.0, 0.01))


class Launch:
    """A launch in which a step installs something while another one applies objects."""

    def __init__(
        self,
        folder: Path,
        api: FakeApi | None = None,
        *,
        grace: float = 0.3,
        engine: str = "k3d",
        releases: tuple[Object, ...] = (),
        **answers: Any,
    ) -> None:
        self.programs = FakePrograms(otherwise=Answer(), **answers)
        result = given.settings(timeouts={"command": grace}, helm={"releases": [*releases]})
        self.facts = given.facts(
            folder, self.programs, settings=result, engine=engine, environment="e" if engine == "existing" else ""
        )
        self.api = reached(self.facts, api or DirectApi())

    def apply(
        self,
        *wanted: Object,
        coming: Callable[[Context], Report | None] | None = None,
        name: str = "helm: install x",
        more_to_come: bool = False,
        **more: Any,
    ) -> dict[str, Result]:
        own = apply_step(self.facts, "own", "t", wanted, needs=(), more_to_come=more_to_come)
        steps = [own]
        if coming is not None:
            steps = [replace(own, awaits=(name,), wait=True), Step(name=name, task="helm", action=coming)]
        return {each.name: each for each in Run(steps, Bounds(work=1), **more).execute()}


def pauses(seconds: float, then: Callable[[], object] = lambda: None) -> Callable[[Context], Report | None]:
    """Something that is being installed for so long, and what it brings."""

    def act(context: Context) -> Report | None:
        context.wait(seconds)
        then()
        return None

    return act


def brings(api: FakeApi, group: str = GROUP, kinds: Object = WIDGETS) -> Callable[[Context], Report | None]:
    """A release, or another step, whose CRDs are served when it is done."""
    return pauses(0.15, lambda: api.answers.update({group: kinds}))


def test_a_kind_that_a_release_brings_is_waited_for_and_holds_nothing_up(tmp_path: Path) -> None:
    api = DirectApi()
    done = Launch(tmp_path, api).apply(widget(), widget("v"), MAP, coming=brings(api))["own"]
    assert done.state is State.RAN
    assert api.names[0] == "ConfigMap/map"
    assert sorted(api.names) == ["ConfigMap/map", "Widget/v", "Widget/w"], "each is sent once"
    assert done.why.startswith("3 applied, a/widget/")


@pytest.mark.parametrize("answer", NOT_UP)
def test_a_webhook_that_is_not_up_is_waited_for_and_holds_nothing_up(tmp_path: Path, answer: tuple[int, str]) -> None:
    api = DirectApi()
    api.refused[AT_MAP] = [answer] * 3
    secret = finish(obj("Secret", "s", "a", type="Opaque"))
    deployment = finish(obj("Deployment", "d", "a"))
    done = Launch(tmp_path, api).apply(MAP, secret, deployment, coming=pauses(0.1))["own"]
    assert done.state is State.RAN
    assert api.names == ["Secret/s", "ConfigMap/map", "Deployment/d", *["ConfigMap/map"] * 3]


def test_of_a_kind_that_is_not_taken_one_at_a_time_is_tried(tmp_path: Path) -> None:
    api = DirectApi()
    api.refused[AT_MAP] = [NOT_UP[0]] * 2
    Launch(tmp_path, api).apply(MAP, LATER)
    assert api.names == ["ConfigMap/map", "ConfigMap/later", "ConfigMap/map", "ConfigMap/map"]


@pytest.mark.parametrize(("look", "coming", "more"), [(12, lambda _c: None, False), (5, None, True)])
def test_what_comes_a_little_after_the_release_or_by_other_manifests_is_waited_for_too(
    tmp_path: Path, look: int, coming: Any, more: bool
) -> None:
    api = DirectApi()
    api.changes[GROUP, look] = lambda: api.answers.update({GROUP: WIDGETS})
    done = Launch(tmp_path, api, grace=5).apply(widget(), coming=coming, more_to_come=more)["own"]
    assert done.state is State.RAN


@pytest.mark.parametrize(
    ("grace", "soon", "ends"),
    [
        (60, 0.1, lambda _c: None),  # a kind has less time than a webhook
        (0.2, 60, lambda _c: None),
        (0.2, 60, lambda _c: (_ for _ in ()).throw(ApiError(400, "no"))),
    ],
)
def test_the_wait_is_bounded_also_where_the_release_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grace: float, soon: float, ends: Any
) -> None:
    monkeypatch.setattr("tasks.run.sending._SOON", soon)
    done = Launch(tmp_path, grace=grace).apply(widget(), coming=ends, keep_going=True)["own"]
    assert isinstance(done.error, NotYet)
    assert done.seconds < 5


@pytest.mark.parametrize(
    ("thing", "coming", "fix"),
    [
        (widget(), None, "crds.enabled"),
        (widget(version="v1", kind="ConfigMapp"), "helm: install x", "kubectl api-resources"),
        (widget(version="apps/v1beta1", kind="Deployment"), "helm: install x", "Deployment of apps/v1"),
        (widget(version="networking.k8s.io/v1", kind="Ingres"), "helm: install x", "kubectl api-resources"),
        (widget(), SYSTEM_READY, "crds.enabled"),
    ],
)
def test_a_kind_that_nothing_brings_is_named_now(tmp_path: Path, thing: Object, coming: str | None, fix: str) -> None:
    groups = [{"name": "apps", "versions": [{"groupVersion": "apps/v1"}]}]
    api = DirectApi(answers={"/apis": {"groups": groups}})
    action = None if coming is None else pauses(30)
    done = Launch(tmp_path, api, grace=60).apply(thing, MAP, coming=action, name=coming or "")["own"]
    assert done.seconds < 3
    assert isinstance(done.error, NotYet)
    assert f"nothing serves {thing['kind']} of {thing['apiVersion']}" in done.error.why
    assert fix in done.error.fix
    assert api.names == ["ConfigMap/map"], "the others are applied"


def test_what_k3s_itself_installs_is_waited_for(tmp_path: Path) -> None:
    api, route = DirectApi(), widget(version="traefik.io/v1alpha1", kind="IngressRoute")
    rows = [{"name": "ingressroutes", "kind": "IngressRoute", "namespaced": True}]
    system = brings(api, "/apis/traefik.io/v1alpha1", {"resources": rows})
    assert Launch(tmp_path, api).apply(route, coming=system, name=SYSTEM_READY)["own"].state is State.RAN


def test_a_webhook_without_a_release_has_its_time_too(tmp_path: Path) -> None:
    """As after `down --stop`: its pods start again with the cluster."""
    api = DirectApi()
    api.refused[AT_MAP] = [NOT_UP[0]] * 4
    assert Launch(tmp_path, api, grace=5).apply(MAP)["own"].state is State.RAN


GOING = 200, json.dumps({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["example.com/held"]}})
"""The API takes what is applied to an object that is being deleted, and lets it vanish all the same."""


@pytest.mark.parametrize("answer", [GOING, refusal(403, ENDING, "Forbidden")])
def test_what_is_being_deleted_is_made_when_it_is_gone(tmp_path: Path, answer: tuple[int, str]) -> None:
    api, other = DirectApi(), finish(obj("ConfigMap", "other", "b"))
    api.refused[AT_MAP] = [answer] * 3
    done = Launch(tmp_path, api, grace=5).apply(MAP, other)["own"]
    assert done.state is State.RAN
    assert api.names == ["ConfigMap/map", "ConfigMap/other", *["ConfigMap/map"] * 3], "it holds up nothing of its kind"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (NOT_UP[0], ["w.example.com"]),
        (GOING, ["a/configmap/map is being deleted", "example.com/held"]),
    ],
    ids=["a webhook", "a finalizer"],
)
def test_what_does_not_pass_is_told_in_the_end(tmp_path: Path, answer: tuple[int, str], words: list[str]) -> None:
    api = DirectApi()
    api.refused[AT_MAP] = [answer] * 1000
    done = Launch(tmp_path, api, grace=0.2).apply(MAP)["own"]
    assert isinstance(done.error, NotYet)
    assert [word for word in words if word not in done.error.why] == []
    assert done.attempts == 1


@pytest.mark.parametrize(
    ("answer", "reported"),
    [
        (refusal(403, 'admission webhook "w" denied the request: no', "Forbidden"), "denied"),
        (refusal(422, 'ConfigMap "map" is invalid: data: Invalid value: "x"', "Invalid"), "Invalid value"),
    ],
    ids=["denied", "of a kind that Kubernetes defines itself"],
)
def test_what_is_wrong_with_an_object_is_told_at_once(tmp_path: Path, answer: tuple[int, str], reported: str) -> None:
    api = DirectApi()
    api.refused[AT_MAP] = [answer]
    done = Launch(tmp_path, api).apply(MAP, coming=pauses(30))["own"]
    assert done.seconds < 3
    assert reported in str(done.error)


# -- an object that the definition in the cluster does not allow, and the one of the next revision does ----

NOT_VALID = [
    refusal(
        422, 'Widget.example.com "w" is invalid: spec.op: Unsupported value: "~": supported values: "="', "Invalid"
    ),
    refusal(
        500,
        "failed to create typed patch object (a/w; example.com/v1, Kind=Widget): .spec.b: field not declared in schema",
    ),
    refusal(400, 'Widget in version "v1" cannot be handled as a Widget: strict decoding error: unknown field "spec.b"'),
]
RELEASE = {"name": "x", "namespace": "b", "chart": "./x"}
AT_WIDGET, STEP = f"{GROUP}/namespaces/a/widgets/w", "helm: install x in b"


def defined(release: str | None = "x") -> DirectApi:
    """An API that serves widgets, by a definition of this release."""
    marks = {"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": "b"} if release else {}
    place = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.com"
    return DirectApi(answers={GROUP: WIDGETS, place: {"metadata": {"annotations": marks}}})


@pytest.mark.parametrize("release", ["x", None])
@pytest.mark.parametrize("answer", NOT_VALID)
def test_a_definition_of_a_release_is_awaited(tmp_path: Path, answer: tuple[int, str], release: str | None) -> None:
    api = defined(release)
    api.refused[AT_WIDGET] = [answer] * 100
    launch = Launch(tmp_path, api, releases=(RELEASE,))
    done = launch.apply(widget(), widget("v"), MAP, coming=pauses(0.15, api.refused.clear), name=STEP)["own"]
    assert done.state is State.RAN, done.error
    assert {"Widget/v", "ConfigMap/map"} <= set(api.names[:3]), "it holds nothing up"
    assert api.names.count("Widget/v") == 1


@pytest.mark.parametrize(("release", "step"), [("x", "helm: install y in b"), ("other", STEP), ("x", None)])
def test_invalid_objects_of_an_unchanged_definition_are_refused(tmp_path: Path, release: str, step: str | None) -> None:
    api = defined(release)
    api.refused[AT_WIDGET] = [NOT_VALID[0]] * 100
    launch = Launch(tmp_path, api, grace=60, releases=(RELEASE,))
    done = launch.apply(widget(), coming=pauses(30) if step else None, name=step or "")["own"]
    assert done.seconds < 2
    assert "Widget w is not valid" in str(getattr(done.error, "why", ""))


def test_it_is_not_valid_for_good_when_the_release_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.run.sending._TAKEN_UP", 0.1)
    api = defined()
    api.refused[AT_WIDGET] = [NOT_VALID[0]] * 1000
    done = Launch(tmp_path, api, grace=60, releases=(RELEASE,)).apply(widget(), coming=pauses(0.2), name=STEP)["own"]
    assert isinstance(done.error, NotYet)
    assert 0.2 < done.seconds < 5, "while the release is on its way, and a little longer"


# -- an API that answers slowly ----------------------------------------------------------------------


class SlowApi(DirectApi):
    """Does not answer a write in time; does it all the same, or not."""

    def __init__(self, *, does: bool, error: ApiError | None = None, times: int = 1) -> None:
        super().__init__()
        self.does, self.error, self.times, self.count = does, error, times, 0

    def patch(self, path: str, body: str) -> tuple[int, str]:
        self.count += 1
        if self.count > self.times:
            return super().patch(path, body)
        if self.does:
            super().patch(path, body)
        if self.error is not None:
            raise self.error
        return refusal(504, "request did not complete within the allotted timeout", "Timeout")


@pytest.mark.parametrize("does", [True, False])
@pytest.mark.parametrize("error", [NoAnswer(0, "the API has not answered within 65 s"), None])
def test_a_write_without_an_answer_is_looked_up_not_resent(tmp_path: Path, error: ApiError | None, does: bool) -> None:
    api = SlowApi(does=does, error=error)
    done = Launch(tmp_path, api).apply(MAP)["own"]
    assert (api.count, done.attempts) == (1, 1)
    if does:
        assert done.state is State.RAN
    else:
        assert isinstance(done.error, TooSlow)
        assert "validatingwebhookconfigurations" in done.error.fix


def test_a_write_that_the_api_has_put_off_is_sent_again_when_it_says(tmp_path: Path) -> None:
    api = SlowApi(does=False, error=Busy(429, "busy", "", 0.01), times=3)
    assert Launch(tmp_path, api).apply(MAP)["own"].state is State.RAN
    assert api.count == 4


def test_in_a_cluster_that_exists_already_it_is_the_same(tmp_path: Path) -> None:
    api = DirectApi(answers={AT_WIDGET: refusal(500, "conversion webhook for example.com/v1, Kind=Widget failed: no")})
    launch = Launch(tmp_path, api, engine="existing")

    def coming(context: Context) -> Report | None:
        context.wait(0.1)
        api.answers[GROUP] = WIDGETS
        context.wait(0.1)
        api.answers[AT_WIDGET] = (404, "{}")
        return None

    done = launch.apply(widget(), MAP, coming=coming)["own"]
    assert done.state is State.RAN, done.error
    assert launch.programs.commands == []


# -- through kubectl ---------------------------------------------------------------------------------

NO_KIND = (
    'resource mapping not found for name: "w" namespace: "a" from "STDIN": no matches for kind "Widget" in version '
    '"example.com/v1"\nensure CRDs are installed first\n'
)


def is_widget(call: Call) -> bool:
    return '"kind": "Widget"' in (call.command.stdin or "")


@pytest.mark.parametrize(
    ("output", "served"),
    [(NO_KIND, {}), ('The Widget "w" is invalid: spec.op: Unsupported value: "~"\n', {GROUP: WIDGETS})],
    ids=["is not there", "is not as it will be"],
)
def test_kubectl_is_asked_again_where_a_definition(tmp_path: Path, output: str, served: dict[str, Object]) -> None:
    api = FakeApi(MAP, answers=served)
    left = [Answer(err=output, code=1)] * 2
    launch = Launch(
        tmp_path, api, answers={"kubectl": lambda call: left.pop() if is_widget(call) and left else Answer()}
    )
    assert launch.apply(widget(), MAP, coming=pauses(0.2))["own"].state is State.RAN
    assert [is_widget(each) for each in launch.programs.calls] == [False, True, True, True]


@pytest.mark.parametrize(("there", "state"), [([MAP], State.RAN), ([], State.FAILED)])
def test_a_write_of_kubectl_that_timed_out_is_looked_for(tmp_path: Path, there: list[Object], state: State) -> None:
    late = Answer(err="Error from server (Timeout): request did not complete within requested timeout\n", code=1)
    launch = Launch(tmp_path, FakeApi(*there), answers={"kubectl": late})
    assert launch.apply(MAP)["own"].state is state
    assert len(launch.programs.commands) == 1
