"""A launch waits for components that something of it uses; what still starts is a note, and no drift."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tasks import health, up
from tasks.engine.step import Report
from tasks.facts.backend import K3d
from tasks.facts.cluster import Presence
from tasks.facts.facts import Facts
from tasks.kube.components import Use
from tasks.kube.wait import NotInTime
from tasks.run import components
from tasks.run.components import IN_USE
from tasks.settings.derived import SYSTEM_READY
from tasks.settings.schema import Settings
from tasks.status import judge
from tests import given
from tests.given import launch
from tests.given_live import FakeApi, Object, acted, deployment, named, obj, reached
from tests.test_up import choosers

DNS = deployment("coredns", "kube-system")
LATE = deployment("metrics-server", "kube-system", ready=False)
READY = deployment("metrics-server", "kube-system")
SCALED = obj("HorizontalPodAutoscaler", "shop", "platform", spec={})
ACTIVE = {**SCALED, "status": {"conditions": [{"type": "ScalingActive", "status": "True"}]}}
SERVED = obj("APIService", "v1beta1.metrics.k8s.io", status={"conditions": [{"type": "Available", "status": "True"}]})
NOTE = "still starting, and not used: metrics-server; `invoke health` waits for it"
STARTING: Mapping[str, str] = {"deployment/coredns": "", "deployment/metrics-server": "0 of 1"}


class Answers(K3d):
    """A published port that answers with these statuses in turn."""

    def __init__(self, *statuses: int) -> None:
        self.statuses, self.commands = list(statuses), list[tuple[Any, ...]]()

    def http_status(self, address: str, port: int, host: str, path: str) -> int:
        self.commands.append((address, port, host, path))
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]


def of(folder: Path, *objects: Object, **changes: Any) -> tuple[Facts, FakeApi]:
    facts = given.facts(folder, **{"presence": Presence.RUNNING, "live": None, **changes})
    return facts, reached(facts, FakeApi(*objects))


def act(facts: Facts, deadline: float = 20.0) -> Report:
    return acted(named(health.steps(facts))[IN_USE], deadline=deadline)


def test_what_nothing_uses_is_a_note(tmp_path: Path) -> None:
    facts, _api = of(tmp_path, DNS, LATE)
    assert act(facts).notes == (NOTE,)


def test_what_an_autoscaler_uses_is_waited_for(tmp_path: Path) -> None:
    facts, api = of(tmp_path, DNS, LATE, SCALED)
    api.at("/apis/batch/v1/namespaces/kube-system/jobs", 3, READY, SERVED)
    api.at("/apis/autoscaling/v2/horizontalpodautoscalers", 4, ACTIVE)
    report = act(facts)
    assert report.why.startswith("metrics-server for horizontalpodautoscaler/shop")
    assert report.notes == ()


def test_an_autoscaler_without_figures_fails_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.run.components._AUTOSCALES", 0)
    facts, _api = of(tmp_path, DNS, READY, SERVED, SCALED)
    (note,) = act(facts).notes
    assert note == "horizontalpodautoscaler/shop has no metrics yet: its controller has not processed it yet"


def test_what_is_disabled_is_not_waited_for(tmp_path: Path) -> None:
    off = given.settings(cluster={"args": {"k3s": ["disable=metrics-server"]}})
    facts, _api = of(tmp_path, DNS, SCALED, settings=off)
    assert act(facts).why == "none is used"


OLD = {**DNS, "metadata": {**DNS["metadata"], "creationTimestamp": "2025-01-01T00:00:00Z"}}
SHOP = obj("Ingress", "shop", "platform", spec={})


def test_what_the_cluster_does_not_run_is_a_note_and_no_failure(tmp_path: Path) -> None:
    """k3s skips a packaged manifest that has a `.skip` file beside it."""
    facts, _api = of(tmp_path, OLD, SCALED, SHOP)
    assert act(facts).notes == (
        "horizontalpodautoscaler/shop needs metrics-server, which is not installed in this cluster",
        "ingress/shop needs traefik, which is not installed in this cluster",
    )


@pytest.mark.parametrize(
    "there",
    [
        (OLD, obj("Job", "helm-install-traefik", "kube-system", spec={"completions": 1})),
        (DNS,),
        (),
    ],
)
def test_what_may_come_is_waited_for(tmp_path: Path, there: tuple[Object, ...]) -> None:
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    recent = (
        {**each, "metadata": {**each["metadata"], "creationTimestamp": now}} if each is DNS else each for each in there
    )
    facts, _api = of(tmp_path, *recent, SHOP)
    with pytest.raises(NotInTime):
        act(facts, deadline=0.2)


def test_an_ingress_is_waited_for_until_it_answers(tmp_path: Path) -> None:
    shop = obj("Ingress", "shop", "platform", spec={"ingressClassName": "nginx", "rules": [{"host": "*.example.org"}]})
    nginx = obj("IngressClass", "nginx", spec={"controller": "k8s.io/ingress-nginx"})
    reach = Answers(0, 503, 404, 200)
    facts, _api = of(tmp_path, DNS, shop, nginx, backend=reach)
    assert act(facts).notes == ()
    assert len(reach.commands) == 4
    assert reach.commands[0][2:] == ("any.example.org", "/")


@pytest.mark.parametrize(("status", "notes"), [({}, 1), ({"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}}, 0)])
def test_an_answer_404_counts_once_the_controller_knows_the_ingress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: dict[str, Any], notes: int
) -> None:
    monkeypatch.setattr("tasks.run.components._ANSWERS", 0)
    shop = obj("Ingress", "shop", "platform", spec={"ingressClassName": "nginx"}, status=status)
    nginx = obj("IngressClass", "nginx", spec={"controller": "k8s.io/ingress-nginx"})
    facts, _api = of(tmp_path, DNS, shop, nginx, backend=Answers(404))
    assert len(act(facts).notes) == notes


@pytest.mark.parametrize(("wait_for", "waits"), [("needed", False), ("all", True), ("metrics-server", True)])
def test_a_setting_names_more(tmp_path: Path, wait_for: str, waits: bool) -> None:
    settings = given.settings(health={"wait_for": wait_for})
    assert components.waited_for(given.facts(tmp_path, settings=settings))("metrics-server") is waits


def test_the_task_health_waits_for_everything(tmp_path: Path) -> None:
    live = given.live(nodes=("agent-0", "server-0"), system=STARTING)
    facts = given.facts(tmp_path, presence=Presence.RUNNING, live=live)
    steps = named(launch(facts, ("health",), choosers()))
    assert IN_USE not in steps
    assert steps[SYSTEM_READY].skip is None


@pytest.mark.parametrize(
    ("use", "skip", "state"),
    [
        (Use(), "nothing uses what is still starting", "ok"),
        (Use(needed={"metrics-server": "horizontalpodautoscaler/shop"}), None, "starting"),
    ],
)
def test_what_still_starts_is_no_drift(tmp_path: Path, use: Use, skip: str | None, state: str) -> None:
    live = given.live(nodes=("agent-0", "server-0"), system=STARTING, use=use)
    facts = given.facts(tmp_path, presence=Presence.RUNNING, live=live)
    step = named(health.steps(facts))[IN_USE]
    assert (step.skip, step.notes) == (skip, (NOTE,) if skip else ())
    session = given.session(tmp_path, settings=facts.settings, task="status")
    rows = {row.what: row.state for row in judge(facts, session.name)[0]}
    assert rows["component metrics-server"] == "starting"
    if state == "ok":
        assert rows[SYSTEM_READY] == "ok"


@pytest.mark.parametrize(
    "changes",
    [
        {"health": {"wait_for": ["metrics-server"]}},
        {"health": {"wait_for": ["all"]}},
        {"cluster": {"args": {"k3s": ["disable=metrics-server"]}}},
    ],
)
def test_metrics_server_is_not_deferred_if_it_is_awaited_or_absent(tmp_path: Path, changes: dict[str, Any]) -> None:
    facts = given.facts(tmp_path, settings=Settings.model_validate(changes))
    assert components.DEFER not in named(up.steps(facts, choosers()))


@pytest.mark.parametrize(
    ("left", "presence"), [(True, Presence.RUNNING), (True, Presence.STOPPED), (False, Presence.RUNNING)]
)
def test_what_a_killed_launch_deferred_is_started_by_the_next(tmp_path: Path, left: bool, presence: Presence) -> None:
    facts = given.facts(tmp_path, presence=presence)
    if left:
        facts.paths.deferral.parent.mkdir(parents=True, exist_ok=True)
        facts.paths.deferral.touch()
    steps = named(up.steps(facts, choosers()))
    assert components.DEFER not in steps
    assert (components.RELEASE in steps) is left


@pytest.mark.parametrize(
    ("unable", "ended", "left"), [(None, True, False), (None, False, True), ("no such policies", True, False)]
)
def test_a_deferral_is_remembered_until_it_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unable: str | None, ended: bool, left: bool
) -> None:
    facts = given.facts(tmp_path)
    facts.paths.state.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(components, "_late", lambda *_: [])
    monkeypatch.setattr("tasks.facts.facts.Facts.api", lambda _: None)
    monkeypatch.setattr("tasks.kube.components.defer", lambda _: unable)
    monkeypatch.setattr("tasks.kube.components.end_deferral", lambda _: ended)
    steps = named(up.steps(facts, choosers()))
    given.act(steps[components.DEFER])
    assert facts.paths.deferral.exists() is (unable is None)
    given.act(steps[components.RELEASE])
    assert facts.paths.deferral.exists() is left
