"""Quotas are in force when their use is counted: pods of a namespace are refused before (kubernetes#73698).

The controller that counts is one of the last to start: seconds after the API answers (measured: 3 to 5). In a namespace
without pods there is nothing to count, so that is written at once; from then on admission counts.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from tasks.core.units import quantity
from tasks.engine.step import Context, Report, Step
from tasks.facts.facts import Facts

if TYPE_CHECKING:
    from tasks.kube.client import Api, Direct

Place = tuple[str, str]
"""Namespace and name."""
_LIST = "/api/v1/resourcequotas"
_COUNTED_BY_PODS = ("pods", "requests.", "limits.", "cpu", "memory")
"""How the names of what pods use begin: of these a namespace without pods uses nothing."""
_COUNTED_BY_CLAIMS = "requests.storage"
"""But this is of volumes, which may be there without a pod."""


def counted_step(
    facts: Facts, name: str, quotas: Sequence[Mapping[str, Any]], *, needs: tuple[str, ...], skip: str | None
) -> Step:
    """One wait for all of them."""
    return Step(
        name=name,
        task="manifests",
        action=partial(_counting, facts, quotas),
        needs=needs,
        wait=True,
        deadline=facts.settings.timeouts.command,
        skip=skip,
        why="pods of a namespace are refused before",
        expected=0.2,
    )


def _place(obj: Mapping[str, Any]) -> Place:
    return obj["metadata"].get("namespace") or "default", obj["metadata"]["name"]


def _counting(facts: Facts, quotas: Sequence[Mapping[str, Any]], context: Context) -> Report | None:
    from tasks.kube.wait import watch

    left = {_place(each) for each in quotas}
    wanted = frozenset(left)
    written = _written(facts, quotas)

    def counted(api: Api) -> bool | None:
        left.clear()
        left.update(wanted - {_place(item) for item in api.get(_LIST)["items"] if _is_counted(item)})
        context.say(f"{len(wanted) - len(left)} of {len(wanted)} quotas")
        return None if left else True

    def telling() -> str:
        return "not counted yet: " + ", ".join(f"{namespace}/{name}" for namespace, name in sorted(left))

    watch(facts.watched(), counted, context, telling=telling)
    return Report(why=f"{len(written)} of {len(wanted)} are of namespaces without pods" if written else "")


def _is_counted(quota: Mapping[str, Any]) -> bool:
    status = quota.get("status") or {}
    hard = quota["spec"].get("hard") or {}
    return _same(status.get("hard") or {}, hard) and set(hard) <= set(status.get("used") or {})


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return {name: quantity(text) for name, text in one.items()} == {
        name: quantity(text) for name, text in other.items()
    }


def _written(facts: Facts, quotas: Sequence[Mapping[str, Any]]) -> list[Place]:
    """Those whose use is written by us. What is not, the controller counts, as it always does.

    In a cluster of somebody else it has long begun, and all its pods are too many to be read.
    """
    from tasks.kube.client import ApiError, Direct

    api, found = facts.api(), list[Place]()
    if isinstance(api, Direct) and facts.owns_cluster:
        with contextlib.suppress(ApiError):
            found.extend(_write(api, quotas))
    return found


def _only_pods(quota: Mapping[str, Any]) -> bool:
    spec = quota["spec"]
    names = [str(each) for each in spec.get("hard") or {}]
    counted = all(each.startswith(_COUNTED_BY_PODS) and each != _COUNTED_BY_CLAIMS for each in names)
    return counted and not spec.get("scopes") and not spec.get("scopeSelector")


def _write(api: Direct, quotas: Sequence[Mapping[str, Any]]) -> Iterator[Place]:
    """Say of namespaces without pods that nothing is used; those of which the API says something are left alone."""
    busy = {item["metadata"]["namespace"] for item in api.get("/api/v1/pods")["items"]}
    known = {_place(item) for item in api.get(_LIST)["items"] if (item.get("status") or {}).get("used")}
    for quota in quotas:
        namespace, name = _place(quota)
        hard = quota["spec"].get("hard") or {}
        if namespace in busy or (namespace, name) in known or not _only_pods(quota):
            continue
        body = {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": name, "namespace": namespace},
            "status": {"hard": hard, "used": dict.fromkeys(hard, "0")},
        }
        path = f"/api/v1/namespaces/{namespace}/resourcequotas/{name}/status?fieldManager=openframe&force=true"
        code, _ = api.patch(path, json.dumps(body))
        if code == 200:
            yield namespace, name
