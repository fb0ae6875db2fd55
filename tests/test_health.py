"""Nodes, endpoints and system services: waited for until they are well, skipped where the facts say that they are."""

import json
from pathlib import Path
from typing import Any

import pytest

from tasks import health
from tasks.facts.cluster import Presence
from tasks.facts.facts import Facts
from tasks.health import ENDPOINTS, NODES, expected_nodes, system_refs, well
from tasks.kube.client import ApiError
from tasks.kube.wait import NotInTime
from tasks.run.components import IN_USE
from tasks.settings.derived import SYSTEM_READY
from tests import given
from tests.given_live import FakeApi, Object, acted, deployment, eager, job, named, node, obj, reached
from tests.programs import FakePrograms

DNS = deployment("coredns", "kube-system")
WELL: dict[str, Any] = {
    "nodes": ("agent-0", "server-0"),
    "served": ("/api", "/readyz"),
    "system": {"deployment/coredns": ""},
}
LIST = "/api/v1/nodes"
SERVER = "k3d-openframe-dev-server-0"
LOST = node("k3d-openframe-dev-agent-0", ready=False)
LOST["status"]["conditions"][0]["message"] = "Kubelet stopped posting node status."


def of(folder: Path, *objects: Object, **changes: Any) -> tuple[Facts, FakeApi]:
    """A new cluster of a server and an agent."""
    facts = given.facts(folder, **{"presence": Presence.RUNNING, "live": None, **changes})
    return facts, reached(facts, FakeApi(*objects))


def agents(count: int) -> Any:
    return given.settings(cluster={"agents": count})


def test_where_all_is_well_nothing_is_waited_for(tmp_path: Path) -> None:
    facts = given.facts(tmp_path, presence=Presence.RUNNING, live=given.live(**WELL))
    assert [(step.name, step.skip) for step in health.steps(facts)] == [
        (NODES, "all 2 are ready"),
        (ENDPOINTS, "2 answer"),
        (SYSTEM_READY, "1 workload ready"),
        (IN_USE, "all existing ones are ready"),
    ]


@pytest.mark.parametrize(
    ("changes", "waits"),
    [
        ({"nodes": ("server-0",)}, {NODES}),
        ({"nodes_unready": ("agent-1",)}, {NODES}),
        ({"nodes": ()}, {NODES}),
        ({"failing": ("/readyz: etcd",)}, {ENDPOINTS}),
        ({"system": {}}, {SYSTEM_READY}),
        ({"system": {"deployment/coredns": "0 of 1"}}, {SYSTEM_READY}),
        ({"system": {"deployment/coredns": "", "daemonset/node-local-dns": "0 of 1"}}, {SYSTEM_READY}),
        ({"system": {"deployment/coredns": "", "job/helm-install-traefik": "it is not done"}}, set()),
    ],
)
def test_only_what_is_not_well_is_waited_for(tmp_path: Path, changes: dict[str, Any], waits: set[str]) -> None:
    facts = given.facts(tmp_path, presence=Presence.RUNNING, live=given.live(**{**WELL, **changes}))
    assert {step.name for step in health.steps(facts) if step.skip is None} == waits


def test_agents_that_are_added_now_are_waited_for(tmp_path: Path) -> None:
    live = given.live(**WELL)
    facts = given.facts(tmp_path, presence=Presence.RUNNING, live=live, settings=agents(2))
    assert expected_nodes(facts) == 3
    assert NODES not in well(facts)


def test_more_nodes_than_configured_must_be_well_too(tmp_path: Path) -> None:
    facts = given.facts(tmp_path, presence=Presence.RUNNING, settings=agents(0))
    assert expected_nodes(facts) == 2


@pytest.mark.parametrize(
    ("sections", "engine"),
    [({"cluster": {"args": {"k3s": ["disable=coredns"]}}}, "k3d"), ({}, "existing")],
)
def test_coredns_is_not_missed_where_it_need_not_be(tmp_path: Path, sections: dict[str, Any], engine: str) -> None:
    settings = given.settings(**sections)
    live = given.live(**{**WELL, "system": {}})
    facts = given.facts(tmp_path, presence=Presence.RUNNING, live=live, settings=settings, engine=engine)
    assert SYSTEM_READY in well(facts)
    result, _api = of(tmp_path, deployment("kube-dns", "kube-system"), settings=settings, engine=engine)
    assert acted(named(health.steps(result))[SYSTEM_READY]).why == "1 workload"


def test_nodes_are_waited_for_until_all_are_ready(tmp_path: Path) -> None:
    facts, api = of(tmp_path, node("server-0"))
    api.at(LIST, 2, node("agent-0", ready=False))
    api.at(LIST, 3, node("agent-0"))
    said: list[str] = []
    report = acted(named(health.steps(facts))[NODES], said=said)
    assert said == ["1 of 2 nodes", "1 of 2 nodes", "2 of 2 nodes"]
    assert report.why == "2 nodes"


def test_on_a_cluster_of_somebody_else_all_nodes_that_it_has_are_waited_for(tmp_path: Path) -> None:
    facts, api = of(tmp_path, node("a"), node("b", ready=False), node("c"), engine="existing")
    api.at(LIST, 3, node("b"))
    said: list[str] = []
    named(health.steps(facts))[NODES].action(eager(said=said))
    assert said == ["2 of 3 nodes", "2 of 3 nodes", "3 of 3 nodes"]


@pytest.mark.parametrize(
    ("step", "objects", "answers", "why"),
    [
        (
            NODES,
            [node(SERVER), node("k3d-openframe-dev-agent-0", ready=False)],
            {},
            "k3d-openframe-dev-agent-0: its kubelet has not reported yet",
        ),
        (NODES, [node(SERVER)], {}, "k3d-openframe-dev-agent-0: it is not registered"),
        (ENDPOINTS, [], {"/readyz": (500, "[-]etcd failed: reason withheld")}, "/readyz: etcd"),
        (ENDPOINTS, [], {"/healthz": ApiError(0, "the API does not answer", "refused")}, "/healthz: refused"),
        (SYSTEM_READY, [], {}, "deployment/coredns: it does not exist"),
        (SYSTEM_READY, [DNS, job("helm-install-traefik", done=False)], {}, "job/helm-install-traefik: it is not done"),
    ],
)
def test_what_is_unhealthy_at_the_deadline_is_named(
    tmp_path: Path, step: str, objects: list[Object], answers: dict[str, Any], why: str
) -> None:
    facts, api = of(tmp_path, *objects)
    api.answers.update(answers)
    with pytest.raises(NotInTime) as caught:
        named(health.steps(facts, everything=True))[step].action(eager(deadline=0))
    assert caught.value.why == why
    assert caught.value.fix


@pytest.mark.parametrize(
    ("there", "what", "fix"),
    [
        ((node(SERVER),), "agent-0: it is not registered", "docker restart k3d-openframe-dev-agent-0"),
        (
            (node(SERVER), LOST),
            "agent-0: Kubelet stopped posting node status.",
            "docker logs k3d-openframe-dev-agent-0",
        ),
        ((), "server-0: it is not registered", "docker restart"),
    ],
)
def test_a_missing_node_and_its_container(tmp_path: Path, there: tuple[Object, ...], what: str, fix: str) -> None:
    nodes = [given.node("server-0"), given.node("agent-0", role="agent")]
    facts, _api = of(tmp_path, *there, cluster=given.cluster_state(Presence.RUNNING, *nodes))
    with pytest.raises(NotInTime) as caught:
        named(health.steps(facts))[NODES].action(eager(deadline=0))
    assert what in caught.value.why
    assert fix in caught.value.fix


def test_a_node_whose_container_was_removed_by_hand(tmp_path: Path) -> None:
    cluster = given.cluster_state(Presence.RUNNING, given.node("server-0"))
    facts, _api = of(tmp_path, node(SERVER), LOST, cluster=cluster)
    with pytest.raises(NotInTime) as caught:
        named(health.steps(facts))[NODES].action(eager(deadline=0))
    assert caught.value.fix == (
        "its container is gone: kubectl delete node k3d-openframe-dev-agent-0 --context k3d-openframe-dev"
    )


def test_endpoints_that_a_server_does_not_offer_are_no_failure(tmp_path: Path) -> None:
    facts, api = of(tmp_path)
    api.answers["/healthz/etcd"] = (404, "not found")
    assert acted(named(health.steps(facts))[ENDPOINTS]).why == "5 answer"


def test_endpoints_are_asked_until_none_fails(tmp_path: Path) -> None:
    facts, api = of(tmp_path)
    api.answers["/readyz"] = (500, "[-]etcd failed")
    api.changes["/readyz", 3] = api.answers.clear
    named(health.steps(facts))[ENDPOINTS].action(eager())
    assert api.requests.count("/readyz") == 3


def test_system_services_are_those_that_are_there_and_coredns_in_any_case() -> None:
    api = FakeApi(
        deployment("metrics-server", "kube-system"),
        obj("DaemonSet", "svclb-traefik", "kube-system", status={}),
        job("helm-install-traefik"),
        job("somebody-elses"),
        deployment("web", "default"),
        deployment("traefik", "kube-system", metadata={"annotations": {"meta.helm.sh/release-name": "traefik"}}),
        deployment("cilium", "kube-system", metadata={"annotations": {"meta.helm.sh/release-name": "cilium"}}),
        obj("DaemonSet", "svclb-web", "kube-system", labels={"svccontroller.k3s.cattle.io/svcnamespace": "web"}),
    )
    names = [f"{ref.kind}/{ref.name}" for ref in system_refs(api, frozenset())]
    assert names == [
        "Deployment/coredns",
        "Deployment/metrics-server",
        "Deployment/traefik",
        "DaemonSet/svclb-traefik",
        "Job/helm-install-traefik",
    ]
    assert "Deployment/coredns" not in [f"{ref.kind}/{ref.name}" for ref in system_refs(api, frozenset({"coredns"}))]


def test_what_a_job_installs_is_waited_for_too(tmp_path: Path) -> None:
    facts, api = of(tmp_path, DNS, job("helm-install-traefik", done=False))
    jobs = "/apis/batch/v1/namespaces/kube-system/jobs"
    api.at(jobs, 3, job("helm-install-traefik"), deployment("traefik", "kube-system", ready=False))
    api.at(jobs, 5, deployment("traefik", "kube-system"))
    assert acted(named(health.steps(facts, everything=True))[SYSTEM_READY]).why == "3 workloads"


def lease(name: str, time: str) -> Object:
    return obj("Lease", name, "kube-node-lease", spec={"renewTime": time})


def started(name: str, time: str) -> dict[str, Any]:
    labels = {"k3d.role": name.rpartition("-")[0]}
    return {
        "Id": f"id-of-{name}",
        "Name": f"/k3d-openframe-dev-{name}",
        "Config": {"Labels": labels},
        "State": {"StartedAt": time, "Status": "running"},
    }


def reporting_programs(*inspected: dict[str, Any]) -> FakePrograms:
    ids = "\n".join(each["Id"] for each in inspected)
    return FakePrograms(answers={"docker ps": ids, "docker container inspect": json.dumps(inspected)})


def test_after_a_start_nothing_is_believed_until_the_kubelets_report(tmp_path: Path) -> None:
    """The API shows the state of before: all nodes ready, all pods running."""
    programs = reporting_programs(
        started("server-0", "2026-11-24T02:31:10.123456789Z"), started("agent-0", "2026-11-24T02:31:11.1Z")
    )
    facts = given.facts(tmp_path, programs, presence=Presence.STOPPED)
    first, second = "k3d-openframe-dev-server-0", "k3d-openframe-dev-agent-0"
    api = reached(facts, FakeApi(lease(first, "2026-11-24T02:30:59.999999Z"), lease("gone", "2020-01-01T00:00:00Z")))
    path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    api.at(path, 2, lease(first, "2026-11-24T02:31:14.000001Z"), lease(second, "2026-11-24T02:31:11.000001Z"))
    api.at(path, 3, lease(second, "2026-11-24T02:31:12.500000Z"))
    step = health.reporting(facts)
    said: list[str] = []
    step.action(eager(said=said))
    assert said == ["0 of 2 nodes", "1 of 2 nodes", "2 of 2 nodes"]
    assert sorted(programs.lines[-1].split()[3:]) == ["id-of-agent-0", "id-of-server-0"]
    assert (step.wait, set(step.needs)) == (True, {"cluster: start", "cluster: API ready"})


def test_a_kubelet_that_never_reports_is_named(tmp_path: Path) -> None:
    programs = reporting_programs(started("server-0", "2026-11-24T02:31:10Z"))
    facts = given.facts(tmp_path, programs, presence=Presence.STOPPED)
    reached(facts, FakeApi())
    with pytest.raises(NotInTime) as caught:
        health.reporting(facts).action(eager(deadline=0))
    assert caught.value.why == "no report from: k3d-openframe-dev-server-0"
