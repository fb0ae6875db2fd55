"""Which objects of a namespace belong to what this project created, and which are somebody else's."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from tasks.kube.ownership import created_by
from tasks.kube.resources import Key

Item = Mapping[str, Any]
_IN_EVERY_NAMESPACE = frozenset(
    {
        ("ServiceAccount", "default"),
        ("ConfigMap", "kube-root-ca.crt"),
        ("ConfigMap", "openshift-service-ca.crt"),
        ("ConfigMap", "istio-ca-root-cert"),
    }
)
"""What Kubernetes, OpenShift and Istio put into each namespace."""


def belonging(items: Mapping[Key, Item], environment: str, known: Collection[Key], uids: Collection[str]) -> set[Key]:
    """Keys of what this project created in these namespaces, and of what was made for it: by owner references, and by
    the controllers that set none.

    `known`: objects of this project's releases, of any version of their group. `uids`: of what is known to belong to
    it, here or outside.
    """
    alike = {_versionless(key) for key in known}
    found = {
        key
        for key, item in items.items()
        if created_by(item) == environment
        or _versionless(key) in alike
        or (key.kind, key.name) in _IN_EVERY_NAMESPACE
        or not {str(item["metadata"].get("uid")), *(str(each.get("uid")) for each in _references(item))}.isdisjoint(
            uids
        )
    }
    by_uid = {str(item["metadata"].get("uid")): key for key, item in items.items()}
    owners = {key: set(_owners(key, item, items, by_uid)) for key, item in items.items()}
    while more := {key for key, of in owners.items() if key not in found and of & found}:
        found |= more
    return found


def strangers(items: Mapping[Key, Item], own: Collection[Key]) -> dict[str, list[str]]:
    """By namespace: what does not belong to this project. What belongs to another one of them is left out."""
    by_uid = {str(item["metadata"].get("uid")): key for key, item in items.items()}
    found: dict[str, list[str]] = {}
    for key, item in items.items():
        if key in own or any(of in items and of not in own for of in _owners(key, item, items, by_uid)):
            continue
        found.setdefault(key.namespace or "", []).append(f"{key.kind.lower()} {key.name}")
    return found


def _versionless(key: Key) -> tuple[str, str, str | None, str]:
    return (key.api_version.rpartition("/")[0], key.kind, key.namespace, key.name)


def _references(item: Item) -> Collection[Mapping[str, Any]]:
    found: Collection[Mapping[str, Any]] = item["metadata"].get("ownerReferences") or ()
    return found


def _owners(key: Key, item: Item, items: Mapping[Key, Item], by_uid: Mapping[str, Key]) -> Iterator[Key]:
    for each in _references(item):
        if str(each.get("uid")) in by_uid:
            yield by_uid[str(each["uid"])]
    if key.kind == "Endpoints":  # of the Service of the same name
        yield Key("v1", "Service", key.namespace, key.name)
    if key.kind == "PersistentVolumeClaim":
        yield from (other for other, each in items.items() if _claims(other, each, key))
    if key.kind == "Secret":
        account = (item["metadata"].get("annotations") or {}).get("kubernetes.io/service-account.name")
        if account:
            yield Key("v1", "ServiceAccount", key.namespace, account)
    if key.kind == "Lease":  # client-go names the holder by its host, which is the pod's name, and an id
        holder = str((item.get("spec") or {}).get("holderIdentity") or "")
        yield from (Key("v1", "Pod", key.namespace, name) for name in {holder, holder.partition("_")[0]} if name)


def _claims(other: Key, item: Item, claim: Key) -> bool:
    """Whether a claim is one of a StatefulSet's, which Kubernetes gives no owner (Kubernetes: StatefulSet, storage)."""
    if (other.kind, other.namespace) != ("StatefulSet", claim.namespace):
        return False
    templates = (item.get("spec") or {}).get("volumeClaimTemplates") or ()
    names = (re.escape(f"{each['metadata']['name']}-{other.name}-") for each in templates)
    return any(re.fullmatch(f"{name}[0-9]+", claim.name) for name in names)
