"""What a login may do in a foreign cluster: a missing permission ends a run before it changes anything.

Logins of operators are often limited to some namespaces. The API reports all rules of a namespace at once, but for
objects of the whole cluster only single ones (Kubernetes: SelfSubjectRulesReview, SelfSubjectAccessReview).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tasks.core.errors import BadInput, some
from tasks.engine.step import Step
from tasks.facts.facts import Facts
from tasks.facts.objects import group_of
from tasks.kube.client import Api, ApiError, Sender
from tasks.kube.drift import same
from tasks.kube.objects import Resources, is_namespace, key
from tasks.run.desired import contents, desired_namespaces, is_foreign
from tasks.settings.derived import install_name

if TYPE_CHECKING:
    from tasks.run.inventory import Scope

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubject{}reviews"
_STORAGE = ("get", "list", "create", "update", "delete")
"""What Helm does with the Secrets of a release (Helm: `pkg/storage/driver/secrets.go`)."""


class Right(NamedTuple):
    """To do one thing with objects of one kind."""

    verb: str
    group: str
    resource: str
    namespace: str
    """Empty for the whole cluster."""

    @property
    def shown(self) -> str:
        """As `kubectl auth can-i` takes it."""
        name = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{self.verb} {name}" + (f" -n {self.namespace}" if self.namespace else "")


def refuse_forbidden(facts: Facts, parts: Collection[str], steps: Sequence[Step]) -> None:
    """Raises `BadInput` with the permissions that this login lacks for objects and releases that a plan changes.

    What charts contain is only known when they are rendered.
    """
    api, running = facts.api(), {step.name for step in steps if step.skip is None}
    if not running:
        return  # nothing to do: no object is compared once more
    homes = {release.namespace for release in facts.releases if install_name(release) in running}
    _refuse(facts, [*_for_objects(facts, Resources(api), parts, homes), *_for_releases(sorted(homes))])


def refuse_removal(facts: Facts, scope: Scope) -> None:
    """The same for what `down` removes: it does not begin what it may not finish."""
    resources = Resources(facts.api())
    targets = (*scope.custom, *scope.objects, *scope.definitions, *scope.namespaces)
    keys = [each.key for each in targets]
    keys += [ref for release in scope.releases for ref in release.objects if ref not in release.kept]
    wanted = [*_for_releases(release.namespace for release in scope.releases)]
    for each in keys:
        where = resources.find(each.api_version, each.kind)
        if where is not None:
            place = (each.namespace or "default") if where[1] else ""
            wanted.append(Right("delete", group_of(each.api_version), where[0], place))
    _refuse(facts, wanted)


def _refuse(facts: Facts, wanted: Iterable[Right]) -> None:
    distinct = dict.fromkeys(wanted)
    lacking = missing(facts.api(), distinct) if distinct else []
    if lacking:
        raise BadInput(
            f"this login may not do what is needed in the cluster of context '{facts.cluster.name}'",
            why=f"it lacks: {some([each.shown for each in lacking])}",
            fix=f"ask for these permissions (kubectl auth can-i {lacking[0].shown}), use a context that has them, or "
            "change the settings. Nothing was changed",
        )


def _for_objects(facts: Facts, resources: Resources, parts: Collection[str], homes: Collection[str]) -> Iterator[Right]:
    objects = contents(facts, parts)
    used = None if "namespaces" in parts else {*homes, *(each["metadata"].get("namespace") for each in objects)}
    for each in (*desired_namespaces(facts, used), *objects):
        there = facts.live.objects.get(key(each)) if facts.live is not None else None
        if there is not None and same(each, there) is None:
            continue
        if is_namespace(each) and is_foreign(facts, each["metadata"]["name"]):
            continue  # it is not changed
        where = resources.find(each["apiVersion"], each["kind"])
        if where is None:
            continue  # its CRD is applied first
        place = (each["metadata"].get("namespace") or "default") if where[1] else ""
        for verb in ("create",) if there is None else ("patch", "update"):
            yield Right(verb, group_of(each["apiVersion"]), where[0], place)


def _for_releases(namespaces: Iterable[str]) -> Iterator[Right]:
    yield from (Right(verb, "", "secrets", each) for each in namespaces for verb in _STORAGE)


def missing(api: Api, wanted: Iterable[Right]) -> list[Right]:
    """Those that the login lacks. What the API does not report counts as granted."""
    if _may(api, Right("*", "*", "*", "")):
        return []
    rules: dict[str, list[Mapping[str, Any]] | None] = {}
    lacking = []
    for each in wanted:
        if each.namespace and each.namespace not in rules:
            rules[each.namespace] = _rules(api, each.namespace)
        known = rules.get(each.namespace)
        if not (any(_grants(rule, each) for rule in known) if known is not None else _may(api, each)):
            lacking.append(each)
    return lacking


def _grants(rule: Mapping[str, Any], right: Right) -> bool:
    if rule.get("resourceNames") and right.verb == "create":
        return False
    wanted = (("apiGroups", right.group), ("resources", right.resource), ("verbs", right.verb))
    return all({value, "*"} & set(rule.get(part) or ()) for part, value in wanted)


def _rules(api: Api, namespace: str) -> list[Mapping[str, Any]] | None:
    """All rules of a namespace; None if an authoriser does not list its own."""
    status = _review(api, "rules", {"namespace": namespace})
    return None if status is None or status.get("incomplete") else list(status.get("resourceRules") or ())


def _may(api: Api, right: Right) -> bool:
    verb, group, resource, namespace = right
    asked = {"verb": verb, "group": group, "resource": resource, "namespace": namespace}
    status = _review(api, "access", {"resourceAttributes": asked})
    return status is None or bool(status.get("allowed"))


def _review(api: Api, kind: str, spec: Mapping[str, Any]) -> Mapping[str, Any] | None:
    assert isinstance(api, Sender)
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": f"SelfSubject{kind.capitalize()}Review",
        "spec": spec,
    }
    try:
        code, text = api.send("POST", _REVIEWS.format(kind), json.dumps(body))
        found = json.loads(text) if code in (200, 201) else {}
    except (ApiError, ValueError):
        return None
    status: Mapping[str, Any] | None = found.get("status")
    return status
