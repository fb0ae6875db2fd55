"""A rehearsal is accurate: the same steps in the same states as for real, and the same objects in the end.

A rehearsal makes charts up from their names: one Deployment with a Service. So the chart here is such a one. How long
launches take there is a matter of measurements (docs/performance.md), not of a test.
"""

import json
import re
from typing import Any

import pytest

from tasks.rehearsal.objects import BUILT_IN
from tests.real.conftest import Make
from tests.real.project import Project
from tests.real.world import World
from tests.rehearsal.played import objects

_CHART = {
    "Chart.yaml": "{apiVersion: v2, name: plain, version: 0.1.0}\n",
    "templates/all.yaml": """\
apiVersion: v1
kind: Service
metadata: {name: "{{ .Release.Name }}-plain"}
spec:
  selector: {app.kubernetes.io/instance: "{{ .Release.Name }}"}
  ports: [{name: http, port: 80, targetPort: 5000}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: "{{ .Release.Name }}-plain"}
spec:
  selector: {matchLabels: {app.kubernetes.io/instance: "{{ .Release.Name }}"}}
  template:
    metadata: {labels: {app.kubernetes.io/instance: "{{ .Release.Name }}"}}
    spec:
      containers:
        - {name: plain, image: "{{ .Values.image }}"}
""",
}
_GENERATED = (
    (re.compile(r"-[a-z0-9]{8,10}-[a-z0-9]{5}$"), "-*"),
    (re.compile(r"-[a-z0-9]{8,10}$"), "-*"),
    (re.compile(r"-[a-z0-9]{5}$"), "-*"),
)
"""What controllers add to the names of what they make."""
_NAMED_BY_CONTROLLERS = ("Pod", "ReplicaSet", "EndpointSlice")
_PASSING = ("Event", "Lease")


def _place(kind: str, where: str, name: str) -> str:
    if kind in _NAMED_BY_CONTROLLERS:
        name = next((p.sub(sign, name) for p, sign in _GENERATED if p.search(name)), name)
    return f"{kind} {where}/{name}"


def _real(project: Project, namespaces: list[str]) -> list[str]:
    plurals = {f"{plural}.{v.partition('/')[0]}" if "/" in v else plural: kind for v, kind, plural, _ in BUILT_IN}
    served = set(project.kubectl("api-resources", "--verbs=list", "--output=name").split())
    expected = sorted(name for name, kind in plurals.items() if name in served and kind not in _PASSING)
    found: list[dict[str, Any]] = json.loads(
        project.kubectl("get", ",".join(expected), "--all-namespaces", "--output=json")
    )["items"]
    return sorted(
        _place(each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"])
        for each in found
        if _counts(each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"], namespaces)
    )


def _rehearsed(project: Project, namespaces: list[str]) -> list[str]:
    kinds = objects(project.logs / "rehearsal", project.cluster)
    rows = [
        (bucket.rpartition(" ")[2], *place.partition("/")[::2]) for bucket, places in kinds.items() for place in places
    ]
    return sorted(
        _place(kind, where, name)
        for kind, where, name in rows
        if kind not in _PASSING and _counts(kind, where, name, namespaces)
    )


def _counts(kind: str, where: str, name: str, namespaces: list[str]) -> bool:
    """Everything in the configured namespaces; of what has no namespace those, and the nodes."""
    return where in namespaces or kind == "Node" or (kind == "Namespace" and name in namespaces)


@pytest.fixture
def project(make: Make, here: World) -> Project:
    releases: list[dict[str, Any]] = [
        {"name": "one", "namespace": "shop", "chart": "./charts/plain"},
        {"name": "two", "namespace": "tools", "chart": "./charts/plain", "needs": ["one"]},
    ]
    result = make("fidelity", here.settings(releases, namespaces=["shop", "tools", "empty"], cluster={"agents": 1}))
    for name, text in _CHART.items():
        path = result.root / "charts" / "plain" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (result.root / "charts" / "plain" / "values.yaml").write_text(f"image: {here.image}\n")
    return result


def test_the_same_steps_in_the_same_states_and_the_same_objects(project: Project) -> None:
    namespaces = ["shop", "tools", "empty"]
    for task in ("up", "down", "up"):  # so that images and caches are there, whatever this machine had
        done = project.invoke(task)
        assert done.code == 0, done.text
    states, objects = project.states(), _real(project, namespaces)
    beside = project.invoke("rehearse", "--time-scale", "0", CLUSTER_NAME="beside")  # the first of two, as for real
    assert beside.code == 0, beside.text
    done = project.invoke("rehearse", "--time-scale", "0")
    assert done.code == 0, done.text
    assert project.states() == states
    assert _rehearsed(project, namespaces) == objects
